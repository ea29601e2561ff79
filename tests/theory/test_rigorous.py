"""Numbers against Arb: a float64 result outside a 40-bit ball is wrong, not rounded. And the special functions."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import flint
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from strategies import checked, checked_slowly
from theory.notation import LN2, SYMBOLS
from theory.registry import theorem, theorems
from theory.rigorous import precision
from theory.special import (
    InformationBound,
    MeanReciprocalCount,
    information_bound_of,
    information_levels,
    mean_reciprocal_of,
)
from theory.theorem import Theorem

#: Random points of each statement at which the float must lie in the ball.
POINTS = 200
#: The statements whose numbers are sums over levels or depend on M at any size.
LARGE = ("vf-lower", "vf-lower-truncated", "vf-upper", "gap-regret", "gap-ball", "gap-free")

_with_numbers = pytest.mark.parametrize(
    "statement", [t for t in theorems().values() if t.formulas is not None], ids=lambda t: t.label
)


def _draw(rng: np.random.Generator) -> dict[str, float]:
    """A value for every symbol; those of one setting go together (sigma <= sqrt(mu (H - mu)), rho >= sigma, ...)."""
    H = float(rng.integers(2, 400))
    mu = H * float(rng.uniform(0.05, 0.95))
    sigma = math.sqrt(mu * (H - mu)) * float(rng.uniform(0.01, 0.99))
    rho = min(sigma * float(rng.choice([1.0, rng.uniform(1.0, 3.0)])), H / 2.0)
    n = float(rng.integers(1, 10 ** int(rng.integers(1, 4))))
    log2_M = float(rng.choice([rng.integers(1, 12), rng.uniform(1.0, 80.0), 512.0]))
    eta, V = float(rng.uniform(0.0, 0.49)), float(rng.integers(2, 9))
    epsilon = float(rng.choice([rng.uniform(0.0, min(1.0, sigma / rho)), math.sqrt(log2_M * LN2 / (2.0 * n))]))
    c = float(rng.choice([1.0 / V, rng.uniform(0.02, 1.0) / (1.0 + epsilon**2)]))
    return {
        "H": H,
        "n": n,
        "log2_M": log2_M,
        "mu": mu,
        "sigma": sigma,
        "rho": rho,
        "epsilon": epsilon,
        "c": c,
        "delta": float(rng.uniform(0.001, 1.0)),
        "epsilon_ver": H * float(rng.uniform(0.0, 0.3)),
        "N": float(rng.integers(1, 50)),
        "R_min": mu * float(rng.uniform(0.0, 1.0)),
        "symmetric": float(rng.integers(0, 2)),
        "psi": float(rng.uniform(0.0, 1.0)),
        "K": float(rng.integers(-1, int(n) + 1)),
        "eta": eta,
        "p_e": float(rng.uniform(0.01, 1.0)),
        "V": V,
        "ell": float(rng.integers(1, 6)),
        "gamma": float(rng.uniform(-3.0, 6.0)),
    }


def _point(statement: Theorem, rng: np.random.Generator) -> dict[str, float]:
    """A point with all that the statement needs, and each other symbol it takes with probability 1/2."""
    drawn = _draw(rng)
    left_out = {name for name in statement.optional if name != "epsilon" and rng.integers(2)}
    names = [name for name in (*statement.required, *statement.optional) if name not in left_out]
    return {name: drawn[name] for name in names}


@_with_numbers
def test_float_lies_in_the_ball(statement: Theorem) -> None:
    """At 200 random points where the assumptions hold, float64 lies in the ball at 40 bits, which is narrow."""
    rng = np.random.default_rng(len(SYMBOLS))
    seen = 0
    for _ in range(60 * POINTS):
        point = _point(statement, rng)
        try:
            found = statement.evaluate(**point)
        except ValueError:
            continue  # beyond floating point, or neither of two symbols given
        if not found.assumptions_hold or "clipped" in found.extras:
            continue
        ball = statement.enclose(**point)
        assert ball.contains(flint.arb(found.value)), (point, found.value, ball)
        seen += 1
        if seen == POINTS:
            break
    assert seen == POINTS


_large = pytest.mark.parametrize("label", LARGE)


@_large
@pytest.mark.parametrize("epsilon", [0.05, 0.2])
def test_float_lies_in_the_ball_at_any_size(label: str, epsilon: float) -> None:
    """M = 2^4096, n = 10^5: the same, in less than three seconds."""
    statement = theorem(label)
    drawn = {"H": 10**5, "n": 10**5, "log2_M": 4096, "sigma": 2e4, "epsilon": epsilon, "rho": 2e4}
    point = {name: drawn[name] for name in (*statement.required, "epsilon", "rho") if name in statement.parameters}
    start = time.perf_counter()
    found, ball = statement.evaluate(**point), statement.enclose(**point)
    assert time.perf_counter() - start < 3.0
    assert ball.contains(flint.arb(found.value))
    assert float(ball.rad()) < 1e-6 * max(drawn["H"], abs(found.value))


@pytest.mark.parametrize("label", LARGE)
def test_wrong_number_is_outside_the_ball(label: str) -> None:
    """A relative error of 1e-8 is seen at 40 bits; at 200 bits the ball is narrower than 1e-40."""
    statement = theorem(label)
    drawn = {"H": 128, "n": 128, "log2_M": 64, "sigma": 64, "epsilon": 0.4, "rho": 64}
    point = {name: drawn[name] for name in (*statement.required, "epsilon", "rho") if name in statement.parameters}
    value = statement.evaluate(**point).value
    assert not statement.enclose(**point).contains(flint.arb(value * (1.0 + 1e-8)))
    assert float(statement.enclose(bits=200, **point).rad()) < 1e-40


def test_default_arguments_are_exact() -> None:
    """Where c or psi is left out the ball is that of p_s or psi_M(2^-n) itself: narrower than a rounding of either."""
    wide = {"H": 30, "n": 50, "log2_M": 6, "sigma": 9, "epsilon": 0.25}
    for label in ("gap-regret", "gap-ball"):
        names = theorem(label).parameters
        ball = theorem(label).enclose(bits=300, **{name: value for name, value in wide.items() if name in names})
        assert float(ball.rad()) < 1e-70


def _levels(n: int, epsilon: Fraction) -> tuple[list[Fraction], list[Fraction]]:
    """pmf of Bin(n, (1 + epsilon)/2) and likelihood ratios, in fractions."""
    up = (1 + epsilon) / 2
    pmf = [math.comb(n, k) * up**k * (1 - up) ** (n - k) for k in range(n + 1)]
    return pmf, [(1 + epsilon) ** k * (1 - epsilon) ** (n - k) for k in range(n + 1)]


@checked
@given(n=st.integers(1, 40), log2_M=st.integers(1, 90), numerator=st.integers(0, 64), data=st.data())
def test_information_bound_is_its_sums(n: int, log2_M: int, numerator: int, data: st.DataObject) -> None:
    """Float and ball of B_K equal the root of the kept sum plus the tail, both in fractions, for every K."""
    epsilon = Fraction(numerator, 64)
    pmf, ratio = _levels(n, epsilon)
    K = data.draw(st.integers(-1, n))
    kept = sum((b * r for b, r in zip(pmf[: K + 1], ratio, strict=False)), Fraction(0)) / 2**log2_M
    tail = sum(pmf[K + 1 :], Fraction(0))
    number = InformationBound.number(float(n), log2_M * LN2, float(epsilon), float(K))
    assert number == pytest.approx(math.sqrt(kept) + float(tail), rel=1e-11)
    with precision(200):
        size = log2_M * flint.arb.const_log2()
        ball = InformationBound.ball(flint.arb(n), size, flint.arb(float(epsilon)), flint.arb(K))
        exact = (flint.arb(flint.fmpq(kept.numerator, kept.denominator))).sqrt()
        exact += flint.arb(flint.fmpq(tail.numerator, tail.denominator))
        assert ball.overlaps(exact)
        assert float(ball.rad()) < 1e-45


def test_information_bound_of_writes_out_the_sums() -> None:
    """The definition, summed by sympy at n = 6, epsilon = 1/3, K = 4, is what Arb encloses."""
    values = sympy.Integer(6), 5 * sympy.log(2), sympy.Rational(1, 3), sympy.Integer(4)
    exact = information_bound_of(*values).rhs.doit().evalf(40)
    with precision(120):
        third = flint.arb(flint.fmpq(1, 3))
        ball = InformationBound.ball(flint.arb(6), 5 * flint.arb.const_log2(), third, flint.arb(4))
        assert abs(ball - flint.arb(str(exact))) < 1e-30


@checked_slowly
@given(n=st.integers(1, 2000), log2_M=st.floats(1.0, 300.0), epsilon=st.floats(0.0, 1.0))
def test_levels_are_each_their_own_bound(n: int, log2_M: float, epsilon: float) -> None:
    """The array of all B_K starts with 1 (nothing kept) and agrees with the balls at a few K."""
    levels = information_levels(n, log2_M * LN2, epsilon)
    assert levels.shape == (n + 2,)
    assert levels[0] == 1.0
    for K in {0, n // 2, (n * 3) // 4, n}:
        if math.isfinite(levels[K + 1]):
            with precision(60):
                size = flint.arb(log2_M) * flint.arb.const_log2()
                ball = InformationBound.ball(flint.arb(n), size, flint.arb(epsilon), flint.arb(K))
                assert levels[K + 1] == pytest.approx(float(ball.mid()), rel=1e-11)


def test_number_of_levels_that_is_not_whole_is_refused() -> None:
    """Arb's recurrence needs whole n and K."""
    with pytest.raises(ArithmeticError, match="no whole number"):
        InformationBound.ball(flint.arb("4.5"), flint.arb(1), flint.arb("0.5"), flint.arb(2))


@checked
@given(M=st.integers(1, 40), q=st.fractions(Fraction(1, 50), Fraction(1), max_denominator=50))
def test_mean_reciprocal_count_is_an_expectation(M: int, q: Fraction) -> None:
    """Float and ball of psi_M(q) equal E[1/(1 + Bin(M - 1, q))] in fractions, q = 1 included."""
    exact = sum(
        (Fraction(math.comb(M - 1, j), 1 + j) * q**j * (1 - q) ** (M - 1 - j) for j in range(M)),
        Fraction(0),
    )
    number = MeanReciprocalCount.number(math.log(M), math.log(q))
    assert number == pytest.approx(float(exact), rel=1e-12)
    with precision(160):
        size, log_q = flint.arb(M).log(), flint.arb(flint.fmpq(q.numerator, q.denominator)).log()
        ball = MeanReciprocalCount.ball(size, log_q)
        assert ball.contains(flint.fmpq(exact.numerator, exact.denominator))
        assert float(ball.rad()) < 1e-30


@pytest.mark.parametrize(("log2_M", "n"), [(4096, 10**5), (4096, 4096), (4096, 100), (1, 10**5), (1, 1)])
def test_mean_reciprocal_count_at_any_size(log2_M: int, n: int) -> None:
    """psi_M(2^-n) lies in the ball and in [0, 1] where neither M nor 2^-n is a double."""
    number = MeanReciprocalCount.number(log2_M * LN2, -n * LN2)
    with precision(40):
        ball = MeanReciprocalCount.ball(log2_M * flint.arb.const_log2(), -n * flint.arb.const_log2())
        assert ball.contains(flint.arb(number)) or (number == 0.0 and ball < 1e-300)
    assert 0.0 <= number <= 1.0


def test_mean_reciprocal_of_writes_out_the_closed_form() -> None:
    """The definition at M = 8, q = 1/4 is (1 - (3/4)^8)/2."""
    written = mean_reciprocal_of(sympy.log(8), -2 * sympy.log(2)).rhs
    assert sympy.simplify(written - (1 - sympy.Rational(3, 4) ** 8) / 2) == 0


def test_special_functions_are_set_in_latex() -> None:
    """B_K and psi_M by their letters, also under a power."""
    n, size, epsilon, K = sympy.symbols("n L varepsilon K")
    assert sympy.latex(InformationBound(n, size, epsilon, K)).startswith("B_{K}")
    assert sympy.latex(InformationBound(n, size, epsilon, K) ** 2).endswith("^{2}")
    assert sympy.latex(MeanReciprocalCount(size, -n)).startswith(r"\psi_")
