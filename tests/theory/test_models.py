"""Givens are definitions, not wishes: on random finite laws every given and every step of a derivation holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import assume, given
from hypothesis import strategies as st

from strategies import HORIZON, checked, chi2_ball_experts, kappas, return_laws, symmetric_laws
from theory import anti_concentration, chi2_ball
from theory.derivations import anti_concentration as anti_proof
from theory.derivations import chi2_ball as ball_proof
from theory.laws import ReturnLaw
from theory.lemmas import holds_on
from theory.proof import Derivation, Step
from theory.symbols import H, letter, s

Values = dict[sympy.Basic, Any]


def assert_holds(proof: Derivation, values: Values, masses: Any, without: tuple[str, ...] = ()) -> int:
    """Every given and step whose letters have values holds; returns how many were computed.

    ``without`` names assumptions and cases that this instance does not satisfy: what rests on them is left out too.
    """
    left_out = set(without)
    computed = 0
    for fact in (*proof.givens, *proof.steps):
        grounds = fact.rule.cites if isinstance(fact, Step) else ()
        if fact.name in left_out or left_out & set(grounds):
            left_out.add(fact.name)
            continue
        try:
            held = holds_on(fact.relation, values, masses)
        except KeyError:
            left_out.add(fact.name)  # another claim's letters
            continue
        assert held, f"{proof.label}: {fact.name}: {fact.relation}"
        computed += 1
    return computed


@checked
@given(data=st.data(), law=return_laws(), kappa=kappas())
def test_chi2_expert_step_by_step(data: st.DataObject, law: ReturnLaw, kappa: float) -> None:
    """The value of any policy of the ball, and the best policy by its threshold."""
    policy = data.draw(chi2_ball_experts(law, kappa))
    density = policy / law.probabilities
    divergence = float(law.probabilities @ (density - 1) ** 2)
    assume(kappa > 0.01)
    best = chi2_ball.optimal_expert(law, kappa)
    top = law.probabilities[-1]
    assume((1 + kappa) * top < 0.99)
    kept = best > 1e-9
    assume(kept.sum() >= 2)
    ratio, values = best / law.probabilities, law.values
    first, last = np.flatnonzero(kept)[[0, -1]]
    slope = (ratio[last] - ratio[first]) / (values[last] - values[first])
    threshold = values[last] - ratio[last] / slope
    found: Values = {
        ball_proof.mu: law.mean,
        ball_proof.sigma: law.sd,
        ball_proof.epsilon: math.sqrt(kappa),
        chi2_ball.R: values,
        chi2_ball.u: density,
        chi2_ball.J: float(policy @ values),
        chi2_ball.CHI2: max(divergence, 0.0),
        chi2_ball.R_MIN: float(values[0]),
        ball_proof.t: threshold,
        chi2_ball.D: np.maximum(values - threshold, 0.0),
        ball_proof.Z: 1 / slope,
        chi2_ball.J_BEST: float(best @ values),
    }
    assert assert_holds(ball_proof.CHI2_EXPERT_PROOF, found, {"b": law.probabilities}, ("untruncated",)) > 15


@checked
@given(data=st.data(), law=return_laws(), kappa=kappas())
def test_expert_heterogeneity_step_by_step(data: st.DataObject, law: ReturnLaw, kappa: float) -> None:
    """The chain from the moments of the return to the expert's spread."""
    policy = data.draw(chi2_ball_experts(law, kappa))
    change = policy / law.probabilities - 1
    sign = 1.0 if law.mean <= HORIZON / 2 else -1.0
    deviation = sign * (law.values - law.mean)
    mean = float(policy @ law.values)
    fourth = float(law.probabilities @ deviation**4)
    epsilon = math.sqrt(kappa)
    found: Values = {
        ball_proof.X: deviation,
        ball_proof.g: change,
        ball_proof.sigma: law.sd,
        ball_proof.epsilon: epsilon,
        ball_proof.d: abs(HORIZON / 2 - law.mean),
        ball_proof.V: max(fourth - law.sd**4, 0.0),
        chi2_ball.CHI2: float(law.probabilities @ change**2),
        chi2_ball.SIGMA_E: math.sqrt(max(float(policy @ (law.values - mean) ** 2), 0.0)),
        H: HORIZON,
    }
    near = law.sd >= HORIZON * epsilon
    case = "far" if near else "near"
    assert assert_holds(ball_proof.EXPERT_HETEROGENEITY_PROOF, found, {"b": law.probabilities}, (case,)) > 25


@checked
@given(law=return_laws(), share=st.floats(0.0, 1.0))
def test_heterogeneity_implies_anti_concentration_step_by_step(law: ReturnLaw, share: float) -> None:
    """(a) and (b): indicators, shares of the horizon, Bhatia-Davis, the product that is cancelled."""
    relative, mean = law.sd / HORIZON, law.mean / HORIZON
    epsilon = share * anti_concentration.largest_guaranteed_epsilon(relative)
    above = (law.values >= (law.mean + epsilon * law.sd) * (1 - 1e-12)).astype(float)
    least = anti_concentration.smallest_mass(relative)
    assume(abs(1 - least - mean) > 1e-9)
    found: Values = {
        letter("epsilon"): epsilon,
        s: relative,
        H: HORIZON,
        anti_proof.m: mean,
        anti_proof.v: math.sqrt(max(1 - 4 * relative**2, 0.0)),
        anti_proof.k: 1 - least - mean,
        anti_proof.f: (law.values - law.mean) / law.sd,
        anti_proof.Y: law.values / HORIZON,
        anti_proof.ABOVE: above,
        anti_proof.FULL: (law.values == HORIZON).astype(float),
        anti_concentration.C: float(law.probabilities @ above),
    }
    assert found[anti_proof.k] > 0  # the extreme mean was left to its own case
    assert assert_holds(anti_proof.ANTI_CONCENTRATION_PROOF, found, {"b": law.probabilities}, ("extreme",)) > 20


@checked
@given(law=symmetric_laws(), epsilon=st.floats(0.01, 0.99))
def test_symmetric_anti_concentration_step_by_step(law: ReturnLaw, epsilon: float) -> None:
    """(c): the layers of X^2 and the two halves of a symmetric event."""
    relative, deviation = law.sd / HORIZON, (law.values - law.mean) / HORIZON
    reach = epsilon * relative
    assume(np.min(np.abs(np.abs(deviation) - reach)) > 1e-9)
    above, below = (deviation >= reach).astype(float), (-deviation >= reach).astype(float)
    found: Values = {
        letter("epsilon"): epsilon,
        s: relative,
        anti_proof.m: 0.5,
        anti_proof.X: deviation,
        anti_proof.ABOVE: above,
        anti_proof.MIRRORED: below,
        anti_proof.EITHER: np.maximum(above, below),
        anti_concentration.C: float(law.probabilities @ above),
        anti_concentration.CURVATURE: 1 - 4 * relative**2 * epsilon**2,
    }
    assert (
        assert_holds(
            anti_proof.ANTI_CONCENTRATION_PROOF, found, {"b": law.probabilities}, ("reach", "generic", "extreme")
        )
        > 15
    )


def test_a_false_given_is_caught() -> None:
    """With sigma 10% too small the same assertion fails: it can."""
    law = ReturnLaw.of([0, 12], [0.25, 0.75])
    values: Values = {chi2_ball.R: law.values, ball_proof.mu: law.mean, ball_proof.sigma: 0.9 * law.sd}
    with pytest.raises(AssertionError, match="variance"):
        assert_holds(ball_proof.CHI2_EXPERT_PROOF, values, {"b": law.probabilities})
