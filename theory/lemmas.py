r"""The textbook lemmas that derivations may use: at most fourteen, each stated precisely and tested on its own.

A lemma is a template: ``conclude`` builds its premises and its conclusion for given arguments, in the symbols of
:mod:`theory.expectation`. ``trial`` draws a random instance that satisfies the hypotheses, computes both sides of *that very
template* by enumeration (whole numbers and fractions wherever no root is taken), and says whether it held. A constant
changed in a template makes its trial fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import sympy

from theory.expectation import Random, mean, value_on
from theory.proof import Lemma
from theory.relation import Relation, geq, leq

__all__ = ["LEMMAS", "MOST", "holds_on"]

#: No more textbook lemmas than this.
MOST = 14

#: Relative rounding forgiven where a template takes roots.
_ROUNDING = 1e-12

Concluded = tuple[tuple[Relation, ...], Relation]


def holds_on(relation: Relation, values: Mapping[sympy.Basic, Any], masses: Mapping[str, Any]) -> bool:
    """``relation`` computed on a finite space, pointwise where it varies; exact unless a root or a log is taken."""
    left, right = (value_on(side, values, masses) for side in (relation.lhs, relation.rhs))
    gap = np.asarray(right - left if relation.op != ">=" else left - right, dtype=object).reshape(-1)
    scale = max(1, *(abs(v) for v in np.asarray(left, dtype=object).reshape(-1)))
    exact = all(isinstance(v, int | Fraction) for v in gap)
    slack = 0 if exact else _ROUNDING * float(scale)
    return all(abs(v) <= slack if relation.op == "=" else v >= -slack for v in gap)


def _masses(rng: np.random.Generator, size: int) -> list[Fraction]:
    weights = [int(w) for w in rng.integers(1, 10, size)]
    return [Fraction(w, sum(weights)) for w in weights]


def _integers(rng: np.random.Generator, *shape: int, low: int = -6, high: int = 7) -> Any:
    drawn = rng.integers(low, high, shape)
    return np.vectorize(int, otypes=[object])(drawn)


def _cauchy_schwarz(space: str, a: sympy.Expr, b: sympy.Expr) -> Concluded:
    return (), leq(mean(space, a * b), sympy.sqrt(mean(space, a**2)) * sympy.sqrt(mean(space, b**2)))


def _cauchy_schwarz_trial(rng: Any) -> bool:
    a, b = Random("A"), Random("B")
    size = int(rng.integers(1, 5))
    left = _integers(rng, size)
    right = left * int(rng.integers(-2, 3)) if rng.integers(3) == 0 else _integers(rng, size)
    return holds_on(_cauchy_schwarz("b", a, b)[1], {a: left, b: right}, {"b": _masses(rng, size)})


def _positivity(space: str, f: sympy.Expr) -> Concluded:
    return (geq(f, 0),), geq(mean(space, f), 0)


def _positivity_trial(rng: Any) -> bool:
    f = Random("f")
    size = int(rng.integers(1, 5))
    drawn = _integers(rng, size, low=0)
    premises, conclusion = _positivity("b", f)
    space = {"b": _masses(rng, size)}
    return all(holds_on(p, {f: drawn}, space) for p in premises) and holds_on(conclusion, {f: drawn}, space)


LEMMAS: Mapping[str, Lemma] = MappingProxyType(
    {
        lemma.label: lemma
        for lemma in (
            Lemma(
                "cauchy-schwarz",
                r"E[AB]\le\sqrt{E[A^2]}\sqrt{E[B^2]} for square-integrable A, B on one space",
                _cauchy_schwarz,
                _cauchy_schwarz_trial,
            ),
            Lemma(
                "positivity",
                r"f\ge0 pointwise implies E[f]\ge0",
                _positivity,
                _positivity_trial,
            ),
        )
    }
)
