"""``chi2-expert`` and ``expert-heterogeneity``: the ball, its best policy, and how far an expert's spread can move."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize

from strategies import (
    HORIZON,
    ROUNDING,
    Masses,
    best_ball_value,
    checked,
    checked_slowly,
    chi2_ball_experts,
    kappas,
    return_laws,
    shares,
    symmetric_laws,
    two_point_laws,
)
from theory.chi2_ball import CHI2_EXPERT, EXPERT_HETEROGENEITY, chi2_divergence, optimal_expert
from theory.laws import ReturnLaw, two_point
from theory.theorem import Evaluation


def _value(law: ReturnLaw, masses: Masses) -> float:
    return math.fsum(masses * law.values)


def _variance(law: ReturnLaw, masses: Masses) -> float:
    mean = _value(law, masses)
    return math.fsum(masses * (law.values - mean) ** 2)


def _divergence(law: ReturnLaw, masses: Masses) -> float:
    """E_b[(d pi/d pi_b)^2] - 1, not the form the package uses."""
    return math.fsum(masses**2 / law.probabilities) - 1.0


def _evaluated(law: ReturnLaw, kappa: float) -> Evaluation:
    return CHI2_EXPERT.evaluate(mu=law.mean, sigma=law.sd, kappa=kappa, H=HORIZON, R_min=law.values[0])


def _spread(law: ReturnLaw, kappa: float) -> Evaluation:
    return EXPERT_HETEROGENEITY.evaluate(H=HORIZON, sigma=law.sd, kappa=kappa)


@checked
@given(law=return_laws(), kappa=kappas(), data=st.data())
def test_every_policy_in_the_ball_obeys_chi2_expert(law: ReturnLaw, kappa: float, data: st.DataObject) -> None:
    """Upper: J(pi) <= mu + sigma sqrt(kappa) for every policy in the ball, its boundary included."""
    expert = data.draw(chi2_ball_experts(law, kappa))
    assert _value(law, expert) <= _evaluated(law, kappa).value + ROUNDING * HORIZON


@checked
@given(law=return_laws(), kappa=kappas(), data=st.data())
def test_no_policy_in_the_ball_beats_the_optimal_expert(law: ReturnLaw, kappa: float, data: st.DataObject) -> None:
    """Upper: J(pi) <= J(optimal expert) for every policy in the ball."""
    expert = data.draw(chi2_ball_experts(law, kappa))
    assert _value(law, expert) <= _value(law, optimal_expert(law, kappa)) + ROUNDING * HORIZON


@checked
@given(law=return_laws(), kappa=kappas())
def test_optimal_expert_lies_in_the_ball(law: ReturnLaw, kappa: float) -> None:
    """chi^2(optimal expert || base) <= kappa."""
    assert _divergence(law, optimal_expert(law, kappa)) <= kappa + 1e-8 * (1.0 + kappa)


@checked
@given(law=return_laws(), kappa=kappas())
def test_optimal_expert_is_a_policy(law: ReturnLaw, kappa: float) -> None:
    """Its masses are nonnegative and sum to 1."""
    expert = optimal_expert(law, kappa)
    assert expert.min() >= 0.0
    assert math.fsum(expert) == pytest.approx(1.0, abs=1e-12)


@checked
@given(law=return_laws(), kappa=kappas())
def test_optimal_expert_equals_bisection_on_its_threshold(law: ReturnLaw, kappa: float) -> None:
    """Tight: its value is that of p (r - t)^+ with t found by bisection, no truncation level known."""
    assert _value(law, optimal_expert(law, kappa)) == pytest.approx(best_ball_value(law, kappa), rel=1e-7)


@checked_slowly
@given(law=return_laws(max_size=4), kappa=st.floats(0.01, 5.0))
def test_optimal_expert_equals_a_general_optimiser(law: ReturnLaw, kappa: float) -> None:
    """Tight: sequential quadratic programming over all policies in the ball finds the same value."""
    base = law.probabilities
    found = minimize(
        lambda q: -float(q @ law.values),
        base,
        jac=lambda q: -law.values,
        bounds=[(0.0, 1.0)] * base.size,
        constraints=[
            {"type": "eq", "fun": lambda q: q.sum() - 1.0, "jac": lambda q: np.ones_like(q)},
            {
                "type": "ineq",
                "fun": lambda q: kappa - np.sum((q - base) ** 2 / base),
                "jac": lambda q: -2.0 * (q - base) / base,
            },
        ],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assume(found.success)
    assert _value(law, optimal_expert(law, kappa)) == pytest.approx(-found.fun, rel=1e-5, abs=1e-5)


@checked
@given(law=return_laws(), share=shares())
def test_chi2_expert_is_attained_where_nothing_is_truncated(law: ReturnLaw, share: float) -> None:
    """Tight: J(optimal expert) = mu + sigma sqrt(kappa) for sqrt(kappa) (mu - R_min) <= sigma."""
    kappa = (share * law.sd / (law.mean - law.values[0])) ** 2
    assume(kappa == 0.0 or kappa > 1e-6)
    assert _value(law, optimal_expert(law, kappa)) == pytest.approx(_evaluated(law, kappa).value, rel=1e-8)


@checked
@given(law=return_laws(min_size=3), excess=st.floats(1.05, 20.0))
def test_chi2_expert_is_strict_where_something_is_truncated(law: ReturnLaw, excess: float) -> None:
    """Upper, not tight: with sqrt(kappa) (mu - R_min) > sigma the best expert stays below mu + sigma sqrt(kappa)."""
    kappa = (excess * law.sd / (law.mean - law.values[0])) ** 2
    assert best_ball_value(law, kappa) < _evaluated(law, kappa).value - 1e-12


@checked
@given(law=return_laws(), share=st.floats(0.01, 20.0))
def test_truncation_is_announced(law: ReturnLaw, share: float) -> None:
    """The condition on truncation fails exactly where the optimal untruncated mass of R_min would be negative."""
    assume(abs(share - 1.0) > 1e-6)
    kappa = (share * law.sd / (law.mean - law.values[0])) ** 2
    condition = next(c for c in _evaluated(law, kappa).conditions if c.name.startswith("no truncation"))
    assert condition.holds == (1.0 + math.sqrt(kappa) * (law.values[0] - law.mean) / law.sd >= 0.0)


@checked
@given(law=return_laws(), factor=st.one_of(st.just(1.0), st.floats(1.0, 10.0)))
def test_large_ball_reaches_the_largest_return(law: ReturnLaw, factor: float) -> None:
    """Tight: J(optimal expert) = R_max for kappa >= 1/P(R = R_max) - 1."""
    kappa = factor * (1.0 / law.probabilities[-1] - 1.0)
    assert _value(law, optimal_expert(law, kappa)) == pytest.approx(law.values[-1], rel=1e-9)


@checked
@given(law=return_laws(), share=st.floats(0.0, 0.99))
def test_small_ball_misses_the_largest_return(law: ReturnLaw, share: float) -> None:
    """For kappa < 1/P(R = R_max) - 1 the value is below R_max."""
    kappa = share * (1.0 / law.probabilities[-1] - 1.0)
    assume(kappa == 0.0 or kappa > 1e-6)
    assert _value(law, optimal_expert(law, kappa)) < law.values[-1]


@checked
@given(law=return_laws())
def test_ball_of_radius_zero_is_the_base(law: ReturnLaw) -> None:
    """At kappa = 0 the only policy is the base."""
    np.testing.assert_array_equal(optimal_expert(law, 0.0), law.probabilities)


@pytest.mark.parametrize("kappa", [1e-20, 1e-16, 1e-14, 1e-10])
def test_tiny_ball_attains_the_bound_to_rounding(kappa: float) -> None:
    """Tight: on the law {0, H} with equal masses the best expert moves by sqrt(kappa)/2, however small kappa is."""
    moved = optimal_expert(two_point(HORIZON), kappa) - 0.5
    np.testing.assert_allclose(moved, [-math.sqrt(kappa) / 2, math.sqrt(kappa) / 2], rtol=1e-5, atol=1e-15)


def test_negative_radius_is_refused() -> None:
    """kappa < 0 raises ValueError that names it."""
    with pytest.raises(ValueError, match=r"kappa = -0\.5"):
        optimal_expert(two_point(HORIZON), -0.5)


@checked
@given(law=return_laws(), kappa=kappas(), data=st.data())
def test_divergence_equals_its_second_moment_form(law: ReturnLaw, kappa: float, data: st.DataObject) -> None:
    """chi^2(pi || pi_b) = E_b[(d pi/d pi_b)^2] - 1."""
    expert = data.draw(chi2_ball_experts(law, kappa))
    expected = _divergence(law, expert)
    assert chi2_divergence(expert, law.probabilities) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@checked
@given(law=st.one_of(return_laws(), two_point_laws()), kappa=kappas(), data=st.data())
def test_heterogeneity_of_an_expert_is_bounded_above(law: ReturnLaw, kappa: float, data: st.DataObject) -> None:
    """Upper: sigma_e^2 <= the square of the evaluated bound, for every expert in the ball."""
    expert = data.draw(chi2_ball_experts(law, kappa))
    assert _variance(law, expert) <= _spread(law, kappa).value ** 2 + ROUNDING * HORIZON**2


@checked
@given(law=st.one_of(return_laws(), two_point_laws()), kappa=kappas(), data=st.data())
def test_heterogeneity_of_an_expert_is_bounded_below(law: ReturnLaw, kappa: float, data: st.DataObject) -> None:
    """Lower: sigma_e^2 >= the square of the evaluated lower side, for every expert in the ball."""
    expert = data.draw(chi2_ball_experts(law, kappa))
    assert _variance(law, expert) >= _spread(law, kappa).extras["lower"] ** 2 - ROUNDING * HORIZON**2


@checked
@given(law=st.one_of(return_laws(), two_point_laws()), kappa=kappas(), data=st.data())
def test_heterogeneity_moves_by_at_most_half_the_budget(law: ReturnLaw, kappa: float, data: st.DataObject) -> None:
    """Upper: |sigma_e - sigma_b| <= H min(sqrt(kappa), 1/2)."""
    expert = data.draw(chi2_ball_experts(law, kappa))
    moved = abs(math.sqrt(_variance(law, expert)) - law.sd)
    assert moved <= HORIZON * min(math.sqrt(kappa), 0.5) + 1e-6


@checked
@given(law=two_point_laws(), share=st.floats(0.01, 1.0))
def test_two_point_laws_attain_the_lower_side(law: ReturnLaw, share: float) -> None:
    """Tight: on {0, H}, mass moved towards the likelier end has sigma_e equal to the lower side."""
    likelier = int(np.argmax(law.probabilities))
    step = share * law.probabilities[1 - likelier]
    expert = law.probabilities - step
    expert[likelier] = law.probabilities[likelier] + step
    lower = _spread(law, _divergence(law, expert)).extras["lower"]
    assert lower**2 == pytest.approx(_variance(law, expert), rel=1e-6, abs=1e-7 * HORIZON**2)


@checked
@given(law=symmetric_laws(), kappa=kappas())
def test_evaluated_spread_is_at_most_half_the_budget(law: ReturnLaw, kappa: float) -> None:
    """No law on [0, H] has a larger sd than H/2, and the bound does not claim one."""
    assert _spread(law, kappa).value <= HORIZON / 2
