"""Numbers from expressions: float64, sympy's own fifty digits and Arb agree at rational points."""

from __future__ import annotations

from fractions import Fraction

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from strategies import checked_slowly
from theory.expectation import Mean
from theory.formula import Formula, Special
from theory.registry import theorems
from theory.rigorous import enclosure, positive_on_box, precision
from theory.symbols import LETTERS, L, letter, s


def _closed(expression: sympy.Expr) -> bool:
    """No sum, no integral, no expectation, no function without a closed form, no letter that stands for one."""
    known = {*LETTERS.values(), L, s}
    opaque = (sympy.Sum, sympy.Integral, Mean, Special, sympy.KroneckerDelta)
    return bool(expression.free_symbols) and expression.free_symbols <= known and not expression.has(*opaque)


SIDES = [
    (f"{t.label}-{claim.name}", claim.relation.rhs)
    for t in theorems().values()
    for claim in t.claims
    if _closed(claim.relation.rhs)
]


@pytest.mark.parametrize("side", [side for _, side in SIDES], ids=[name for name, _ in SIDES])
@checked_slowly
@given(seed=st.integers(0, 2**16))
def test_compiled_side_is_the_symbolic_one(side: sympy.Expr, seed: int) -> None:
    """At a rational point float64 agrees with fifty digits to 1e-9, and Arb's ball at 40 bits holds both."""
    letters = sorted(side.free_symbols, key=str)
    point = {}
    for i, symbol in enumerate(letters):
        number = (seed // 97**i) % 97
        point[symbol.name] = float(2 + number % 7) if symbol.is_integer else float(Fraction(number + 3, 256))
    exact = side.subs({symbol: sympy.Rational(point[symbol.name]) for symbol in letters}).evalf(50)
    if not exact.is_real:
        return  # outside the claim's domain (a root of a negative number)
    assert Formula(side).at(point) == pytest.approx(float(exact), rel=1e-9, abs=1e-12)
    with precision(120):
        tight = enclosure(side, point, 120)
        assert abs(float(tight.mid()) - float(exact)) <= 1e-12 * (1 + abs(float(exact)))


def test_missing_letter_is_named() -> None:
    """A point without sigma gives KeyError: sigma, from both."""
    formula = Formula(letter("sigma") + letter("mu"))
    with pytest.raises(KeyError, match="sigma"):
        formula.at({"mu": 1.0})
    with pytest.raises(KeyError, match="sigma"):
        formula.enclose({"mu": 1.0}, 60)


def test_small_numbers_keep_their_digits() -> None:
    """log(1 + x) and exp(x) - 1 are compiled to log1p and expm1."""
    epsilon = letter("epsilon")
    assert Formula(sympy.log(1 + epsilon)).at({"epsilon": 1e-18}) == 1e-18
    assert Formula(sympy.exp(epsilon) - 1).at({"epsilon": 1e-18}) == pytest.approx(1e-18, rel=1e-15)


def test_ball_is_as_tight_as_asked() -> None:
    """The radius shrinks with the bits; the ball at 30 bits holds the one at 300."""
    formula = Formula(sympy.sqrt(letter("sigma")) + sympy.exp(-letter("mu")))
    point = {"sigma": 2.0, "mu": 0.5}
    coarse, fine = formula.enclose(point, 30), formula.enclose(point, 300)
    assert float(fine.rad()) < 1e-80 < float(coarse.rad())
    with precision(400):
        assert coarse.contains(fine)


def test_division_by_a_ball_around_zero_is_refused() -> None:
    """1/sigma at sigma = 0 has no finite enclosure."""
    with pytest.raises(ArithmeticError, match="no finite enclosure"):
        Formula(1 / letter("sigma")).enclose({"sigma": 0.0}, 53)


def test_bisection_proves_and_gives_up() -> None:
    """x (1 - x) + 1/100 > 0 on [0, 1] is proved; x (1 - x) >= 0, which touches 0, cannot be proved > 0."""
    x = sympy.Symbol("x", real=True)
    box = {x: (sympy.Integer(0), sympy.Integer(1))}
    assert positive_on_box(x * (1 - x) + sympy.Rational(1, 100), box)
    assert not positive_on_box(x * (1 - x), box)
