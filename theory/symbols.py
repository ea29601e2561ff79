r"""The letters of the statements as sympy symbols, with the signs that their domains in :mod:`theory.notation` imply.

One fact, one place: a claim, a derivation and a compiled number all speak of these objects. Beside the
parameters stand the quantities derived from them: :math:`L=\log M` (nats), :math:`M=e^L`, :math:`s=\sigma/H`.
"""

from __future__ import annotations

import sympy

from theory.notation import SYMBOLS, Symbol

__all__ = ["DERIVED_LATEX", "LETTERS", "H", "L", "M", "N", "latex_of", "letter", "s"]


def _assumptions(symbol: Symbol) -> dict[str, bool]:
    signs = {"positive": True} if symbol.low > 0 or (symbol.low == 0 and symbol.open_low) else {"real": True}
    if symbol.low == 0 and not symbol.open_low:
        signs = {"nonnegative": True}
    return signs | ({"integer": True} if symbol.integer else {})


#: sympy symbol of every parameter, by its name in code.
LETTERS: dict[str, sympy.Symbol] = {name: sympy.Symbol(name, **_assumptions(it)) for name, it in SYMBOLS.items()}

#: log M, nats, and M itself: a class has at least two members wherever these are used.
L = sympy.Symbol("L", positive=True)
M = sympy.Symbol("M", positive=True, integer=True)
#: relative heterogeneity sigma/H <= 1/2.
s = sympy.Symbol("s", nonnegative=True)

H, N = LETTERS["H"], LETTERS["N"]

DERIVED_LATEX = {"L": "L", "M": "M", "s": "s"}


def letter(name: str) -> sympy.Symbol:
    """The sympy symbol of the parameter called ``name`` in code. Raises ``KeyError`` if there is none."""
    return LETTERS[name]


def latex_of() -> dict[sympy.Symbol, str]:
    """How each letter is set in LaTeX."""
    return {symbol: SYMBOLS[name].latex for name, symbol in LETTERS.items()}
