from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sim.cells import SweepConfig
from sim.learners.learner import learners
from sim.verdict import Side, bounds_of, wrong_sides
from theory.chi2_ball import optimal_expert

CELL = SweepConfig.checked("100").cells()[0]
NOISE = np.random.default_rng(0).standard_normal(256)


@pytest.mark.parametrize(("shift", "count"), [(-6.0, 1), (-4.0, 0), (4.0, 0), (6.0, 0)])
def test_five_standard_errors_below_a_lower_bound_is_a_violation(shift: float, count: int) -> None:
    """A mean 6 standard errors below is one, 4 below is none, and above never is."""
    centred = (NOISE - NOISE.mean()) / NOISE.std(ddof=1)
    samples = 20.0 + centred + shift / 16.0
    found = wrong_sides(CELL, "x", samples, (10.0, 20.4), Side("t", 20.0, True, True), None)
    assert len([v for v in found if v.resolved]) == count


def test_an_upper_bound_is_checked_on_its_own_side() -> None:
    """Above an upper bound by more than the slack is a violation; below is none."""
    samples = 5.0 + 0.01 * NOISE
    side = Side("t", 4.0, True, True)
    assert len(wrong_sides(CELL, "x", samples, (4.9, 6.0), None, side)) == 1
    assert wrong_sides(CELL, "x", samples, (4.9, 6.0), side, None) == []


def test_a_bound_that_is_not_proven_here_is_not_checked() -> None:
    """Where assumptions fail or the theorem does not speak of the instance, nothing is counted."""
    assert wrong_sides(CELL, "x", NOISE, (-9.0, 9.0), Side("t", 50.0, False, False), None) == []


def test_what_rare_events_could_explain_is_unresolved() -> None:
    """256 equal trials cannot contradict a bound that an event of probability 1e-8 would meet, and it is said."""
    found = wrong_sides(CELL, "x", np.zeros(256), (0.0, 50.0), Side("t", 5e-7, True, True), None)
    assert [v.resolved for v in found] == [False]
    far = wrong_sides(CELL, "x", np.zeros(256), (0.0, 50.0), Side("t", 10.0, True, True), None)
    assert [v.resolved for v in far] == [True]


def test_rounding_is_forgiven_and_no_more() -> None:
    """Exact values may miss a bound by 1e-9 H."""
    side = Side("t", 1.0, True, True)
    within, beyond = (np.full(8, 1.0 - x * CELL.H) for x in (0.9e-9, 1.1e-9))
    assert wrong_sides(CELL, "x", within, (0.0, 1.0), side, None) == []
    assert len(wrong_sides(CELL, "x", beyond, (0.0, 1.0), side, None)) == 1


@pytest.mark.parametrize("law", ["two-point", "uniform"])
def test_minimax_bounds_speak_of_their_family_only(law: str) -> None:
    """The VF lower bound is proven on the mirrored instances; without mirrored hypotheses it is a prediction."""
    cell = SweepConfig.checked("64", law=law, log2_M=16).cells()[0]
    assert bounds_of(cell).vf_lower.proven
    assert not cell.vf_lower.speaks_of(dataclasses.replace(cell.described, signs=None))


@pytest.mark.parametrize(("law", "epsilon"), [("two-point", "0.3"), ("uniform", "0.4")])
def test_the_expert_is_the_balls_best(law: str, epsilon: str) -> None:
    """The value every regret is measured from is that of the optimal policy of the chi-squared ball."""
    cell = SweepConfig.checked("7", law=law, log2_M=4, epsilon=epsilon).cells()[0]
    best = optimal_expert(cell.return_law, cell.kappa) @ cell.return_law.values
    assert cell.expert_value == pytest.approx(best, rel=1e-12)


def test_every_learner_names_bounds_that_exist() -> None:
    """No learner points to a bound that is not evaluated."""
    fields = {field.name for field in dataclasses.fields(bounds_of(CELL))}
    assert all({x.lower, x.upper} <= {*fields, None} for x in learners().values())


def test_a_theorem_that_does_not_speak_is_neither_proven_nor_valid() -> None:
    """Whatever its assumptions, a bound outside its family counts for nothing."""
    evaluation = CELL.vf_lower.evaluate(H=100, n=100, log2_M=64, sigma=50, rho=50, epsilon=0.5)
    spoken, silent = (Side.of(evaluation, speaks) for speaks in (True, False))
    assert (spoken.proven, spoken.valid) == (True, True)
    assert (silent.proven, silent.valid) == (False, False)


@pytest.mark.parametrize("s", [0.49, 0.45, 0.4, 0.35, 0.3, 0.2])
def test_lower_bounds_hold_at_the_largest_epsilon(s: float) -> None:
    """At epsilon = sigma/rho = 1, however it is rounded, every horizon well below log2 M has a valid VF lower bound."""
    for cell in SweepConfig.checked("1..40", law="symmetric-two-point", s=s).cells():
        assert cell.epsilon <= 1.0
        assert bounds_of(cell).vf_lower.bound == pytest.approx(cell.sigma, rel=1e-3)
        assert bounds_of(cell).vf_lower.valid
