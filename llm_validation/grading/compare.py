r"""Comparison of two answers in LaTeX, in this process: it can take for ever, and is run in a worker.

``math-verify`` parses both and compares values. Before it, what MATH does not count as part of an answer is taken away
from both: per cent signs, so that 12.5\% is 12.5 as 50\% is 50. Decimals are equal if they are to 12 places.

The canonical spelling of an answer is that of its parsed expression, computed, decimals as fractions, sums and products
expanded and sorted. Equal spellings are equal answers; equal answers may still be spelt differently (roots in a
denominator), and then do not vote together.
"""

from __future__ import annotations

import logging
import re
import warnings
from functools import cache
from typing import Any

__all__ = ["canonical", "compared", "ready"]

#: Places of decimals that must agree.
_PLACES = 12
#: Characters of a canonical spelling at most.
_LONGEST = 200
_PER_CENT = re.compile(r"\\?%")


@cache
def ready() -> tuple[Any, Any]:
    """math-verify's parse and verify, silent and without time limits of their own (these need a main thread)."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from math_verify import parse, verify
    return parse, verify


def _parsed(text: str) -> list[Any]:
    parse, _ = ready()
    plain = _PER_CENT.sub("", text).strip().strip("$").strip()
    found: list[Any] = parse(f"${plain}$", parsing_timeout=None)
    return found


def compared(expected: str, answer: str) -> tuple[bool, str | None, str]:
    """Whether they are equal, the canonical spelling of ``answer``, and why it could not be compared ("" if it was)."""
    _, verify = ready()
    wanted, given = _parsed(expected), _parsed(answer)
    if not given:
        return False, None, "unparsable"
    if not wanted:
        raise ValueError(f"expected answer {expected[:80]!r}: cannot be read")
    spelt = canonical(given)
    equal = bool(verify(wanted, given, float_rounding=_PLACES, timeout_seconds=None))
    return equal or (spelt == canonical(wanted) and len(spelt) < _LONGEST), spelt, ""


def canonical(parsed: list[Any]) -> str:
    """One spelling of what was parsed."""
    import sympy

    found = parsed[0]
    if isinstance(found, sympy.Basic):
        exact = found.replace(lambda part: part.is_Float, lambda part: sympy.Rational(str(part)))
        done = exact.doit()
        return str(sympy.expand(done) if isinstance(done, sympy.Expr) else done)[:_LONGEST]
    return " ".join(str(found).split())[:_LONGEST]
