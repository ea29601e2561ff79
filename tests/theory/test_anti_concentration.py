"""``anti-concentration``: how often the base beats its own mean by a margin, decided in exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import (
    HORIZON,
    ROUNDING,
    checked,
    exact_mean,
    exact_tail,
    exact_variance,
    return_laws,
    symmetric_laws,
    two_point_laws,
)
from theory.anti_concentration import ANTI_CONCENTRATION, cantelli, largest_guaranteed_epsilon, smallest_mass
from theory.laws import ReturnLaw

_epsilons = st.fractions(0, 6, max_denominator=60)
_just_below_one = Fraction(10**9 - 1, 10**9)


def _share_of_guaranteed(law: ReturnLaw, share: Fraction) -> Fraction:
    """An epsilon below p_s/s by more than rounding, p_s/s from the textbook root and not from the package."""
    s = math.sqrt(exact_variance(law)) / HORIZON
    return Fraction((1.0 - math.sqrt(max(1.0 - 4.0 * s * s, 0.0))) / (2.0 * s)) * share * _just_below_one


@checked
@given(law=return_laws(), epsilon=_epsilons)
def test_cantelli_bounds_the_tail(law: ReturnLaw, epsilon: Fraction) -> None:
    """(a) Upper: c(epsilon) <= 1/(1 + epsilon^2) for every law."""
    upper = ANTI_CONCENTRATION.evaluate(H=HORIZON, sigma=law.sd, epsilon=float(epsilon)).extras["upper"]
    assert float(exact_tail(law, epsilon)) <= upper + ROUNDING


@checked
@given(law=two_point_laws())
def test_two_point_laws_attain_cantelli(law: ReturnLaw) -> None:
    """(a) Tight: on {0, H} with P(H) = p and epsilon = sqrt((1-p)/p), c = p = 1/(1 + epsilon^2)."""
    p = float(exact_mean(law)) / HORIZON
    assert cantelli(math.sqrt((1.0 - p) / p)) == pytest.approx(p, rel=1e-12)
    assert law.anti_concentration(math.sqrt((1.0 - p) / p)) == pytest.approx(p, rel=1e-12)


@checked
@given(
    law=st.one_of(return_laws(), two_point_laws(), symmetric_laws()),
    share=st.one_of(st.just(Fraction(1)), st.fractions(0, 1, max_denominator=50)),
)
def test_heterogeneity_implies_anti_concentration(law: ReturnLaw, share: Fraction) -> None:
    """(b) Lower: c(epsilon) >= p_s for every epsilon <= p_s/s and every law."""
    epsilon = _share_of_guaranteed(law, share)
    bound = ANTI_CONCENTRATION.evaluate(H=HORIZON, sigma=law.sd, epsilon=float(epsilon))
    assert bound.valid
    assert float(exact_tail(law, epsilon)) >= bound.value - ROUNDING


@checked
@given(up=st.fractions(Fraction(51, 100), Fraction(99, 100), max_denominator=100))
def test_heterogeneity_range_is_the_largest(up: Fraction) -> None:
    """(b) Tight: on {0, H} with mean (1 - p_s) H, c = 1 - p_s up to epsilon = p_s/s and 0 just beyond."""
    law = ReturnLaw.of([0, HORIZON], [float(1 - up), float(up)])
    edge = Fraction(largest_guaranteed_epsilon(law.sd / HORIZON))
    tails = exact_tail(law, edge * (1 - Fraction(1, 10**6))), exact_tail(law, edge * (1 + Fraction(1, 10**6)))
    assert tails == (up, 0)


def test_beyond_its_range_nothing_is_claimed() -> None:
    """(b) Beyond epsilon = p_s/s the value is 0, and the evaluation is not valid."""
    s = 0.4
    beyond = ANTI_CONCENTRATION.evaluate(H=HORIZON, sigma=s * HORIZON, epsilon=largest_guaranteed_epsilon(s) * 1.001)
    assert (beyond.value, beyond.valid) == (0.0, False)


@checked
@given(
    up=st.fractions(Fraction(1, 100), Fraction(1, 2), max_denominator=100), share=st.fractions(0, 1, max_denominator=9)
)
def test_two_point_laws_attain_heterogeneity_bound(up: Fraction, share: Fraction) -> None:
    """(b) Tight: on {0, H} with P(H) = p <= 1/2, c(epsilon) = p = p_s wherever (b) speaks."""
    law = ReturnLaw.of([0, HORIZON], [float(1 - up), float(up)])
    epsilon = _share_of_guaranteed(law, share)
    bound = ANTI_CONCENTRATION.evaluate(H=HORIZON, sigma=law.sd, epsilon=float(epsilon))
    assert float(exact_tail(law, epsilon)) == pytest.approx(bound.value, rel=1e-9)


@checked
@given(law=symmetric_laws(), epsilon=st.fractions(0, Fraction(59, 60), max_denominator=60))
def test_symmetric_laws_have_more(law: ReturnLaw, epsilon: Fraction) -> None:
    """(c) Lower: c(epsilon) >= 2 s^2 (1 - epsilon^2)/(1 - 4 s^2 epsilon^2) for symmetric laws, epsilon < 1."""
    bound = ANTI_CONCENTRATION.evaluate(H=HORIZON, sigma=law.sd, epsilon=float(epsilon), symmetric=1)
    assert float(exact_tail(law, epsilon)) >= bound.value - ROUNDING


@checked
@given(weight=st.integers(1, 50), centre=st.integers(0, 50))
def test_three_point_laws_attain_the_symmetric_bound(weight: int, centre: int) -> None:
    """(c) Tight: on {0, H/2, H} just above epsilon = 0, c is P(H) = 2 s^2, the bound at epsilon = 0."""
    total = 2 * weight + centre
    law = ReturnLaw.of([0, HORIZON // 2, HORIZON], [weight / total, centre / total, weight / total])
    bound = ANTI_CONCENTRATION.evaluate(H=HORIZON, sigma=law.sd, epsilon=0.0, symmetric=1)
    assert float(exact_tail(law, Fraction(1, 10**6))) == pytest.approx(bound.value, rel=1e-12)


def test_symmetric_bound_needs_symmetry() -> None:
    """(c) is false without symmetry: on {0, H} with P(H) = 9/10 and epsilon = 1/2, c = 0 below the symmetric bound."""
    law = ReturnLaw.of([0, HORIZON], [0.1, 0.9])
    bound = ANTI_CONCENTRATION.evaluate(H=HORIZON, sigma=law.sd, epsilon=0.5, symmetric=1)
    assert exact_tail(law, Fraction(1, 2)) == 0 < bound.value


@checked
@given(denominator=st.integers(2, 60), data=st.data())
def test_single_token_budget_is_covered(denominator: int, data: st.DataObject) -> None:
    """Lower at H = 1: R in {0, 1} has c(epsilon) >= p_s for epsilon <= p_s/s."""
    up = Fraction(data.draw(st.integers(1, denominator - 1)), denominator)
    law = ReturnLaw.of([0, 1], [float(1 - up), float(up)])
    epsilon = Fraction(float(min(up, 1 - up)) / law.sd) * _just_below_one
    bound = ANTI_CONCENTRATION.evaluate(H=1, sigma=law.sd, epsilon=float(epsilon))
    assert float(exact_tail(law, epsilon)) >= bound.value - ROUNDING


@checked
@given(s=st.floats(1e-9, 0.5))
def test_smallest_mass_is_at_least_the_square(s: float) -> None:
    """p_s >= s^2: p_s solves p (1 - p) = s^2, and keeps its digits at small s."""
    p = smallest_mass(s)
    assert p >= s * s
    assert p * (1.0 - p) == pytest.approx(s * s, rel=1e-9)


def test_without_epsilon_the_largest_guaranteed_one_is_reported() -> None:
    """Asked without epsilon, the evaluation reports epsilon = p_s/s and the value p_s there."""
    answer = ANTI_CONCENTRATION.evaluate(H=10, sigma=4)
    assert answer.extras["epsilon"] == pytest.approx(0.2 / 0.4, rel=1e-12)
    assert answer.value == pytest.approx(0.2, rel=1e-12)
