"""The heterogeneity dial on the planted task: what is held fixed, what moves, and what is claimed of it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from sim.experiments.command import Result, run_experiment
from sim.experiments.experiment import Measurement
from sim.experiments.heterogeneity import EXPERIMENT, HeterogeneitySettings, trend
from sim.experiments.planted import GAPS, cyclic_prompts, judged, learners_at
from sim.tasks.planted import Planted
from sim.training.planted_learners import CLASS_LEARNERS
from sim.verdict import Side
from theory.verifier_free import VF_UPPER

pytestmark = pytest.mark.usefixtures("quick_to_compile")

SMALL = HeterogeneitySettings(horizon="16", rule="n=48", V=5, points=5, seeds=48, learners=",".join(CLASS_LEARNERS))


@pytest.fixture(scope="module")
def result(quick_to_compile: None) -> Result:
    return run_experiment(EXPERIMENT, SMALL)


def column(result: Result, quantity: str, method: str | None = None) -> list[Measurement]:
    return [
        m for _, row in result.measured for m in row if m.quantity == quantity and method in (None, m.method)
    ]  # fmt: skip


def test_no_bound_is_violated(result: Result) -> None:
    """Every regret with a bound has it proven at every point, and keeps it."""
    assert result.exit_code == 0
    assert not result.violations
    for name in ("vf-class-mle", "vf-rejection", "vb-erm-top-c", "vb-erm-best-of-n"):
        found = column(result, "regret", name)
        assert len(found) == SMALL.points
        assert all(m.upper is not None and m.upper.proven for m in found)
    assert all(m.lower is not None and m.lower.proven for m in column(result, "regret", "vb-erm-ball"))
    assert all(m.upper is not None and m.upper.proven for m in column(result, "verifier_error"))
    for gap in ("vf_regret", "ball_gap", "free_gap"):
        assert all(m.upper is not None and m.upper.proven for m in column(result, gap))


def test_the_free_gap_is_bounded_by_the_ball_that_top_c_lies_in(result: Result) -> None:
    """A density of at most 1/c has chi-squared 1/c - 1: mu + sigma sqrt(1/c - 1), at most H, and vf-upper under it."""
    below_H = 0
    for cell, row in result.measured:
        found = EXPERIMENT.instance(SMALL, cell)
        (mu, sigma), (best, spread) = found.moments, found.expert_moments
        most = min(mu + sigma * math.sqrt(1.0 / found.kept - 1.0), SMALL.H)
        cloned = VF_UPPER.evaluate(H=SMALL.H, n=SMALL.n, log2_M=math.log2(math.factorial(SMALL.V)), sigma=spread)
        upper = next(m.upper for m in row if m.quantity == "free_gap")
        assert upper is not None
        assert upper.bound == pytest.approx(most - best + cloned.value, rel=1e-9)
        below_H += most < SMALL.H
    assert below_H


def test_the_dial_moves_sigma_and_keeps_the_mean(result: Result) -> None:
    """The axis is the exact spread of the base; its mean is that of uniform tokens at every point."""
    for cell, row in result.measured:
        spread = next(m for m in row if (m.quantity, m.method) == ("sigma", "base"))
        assert math.isclose(spread.exact, cell["sigma"], rel_tol=1e-9)
    means = [m.exact for m in column(result, "J", "base")]
    np.testing.assert_allclose(means, means[0], rtol=1e-9)
    sigma = [cell["sigma"] for cell, _ in result.measured]
    assert sigma == sorted(sigma)
    assert sigma[-1] > 1.2 * sigma[0]
    assert result.summary["dial"][0]["gammas"] == pytest.approx([0.0, 0.0], abs=1e-3)


def test_lower_bounds_of_the_codebook_are_predictions_only(result: Result) -> None:
    """``vf-lower`` and the gap theorems are drawn and never counted: no measurement of a gap has a lower bound."""
    for gap in GAPS:
        assert all(m.lower is None for m in column(result, gap))
    predicted = column(result, "vf_regret")
    L = math.log(math.factorial(SMALL.V))
    for (cell, _), m in zip(result.measured, predicted, strict=True):
        assert m.prediction_label == "vf-lower, closed form"
        assert math.isclose(m.prediction, cell["sigma"] * math.sqrt(L / (8 * SMALL.n)), rel_tol=1e-9)


def test_gaps_are_differences_of_the_values(result: Result) -> None:
    """Trial by trial; the ball gap is the VF regret where the verifier is right."""
    for _, row in result.measured:
        values = {m.method: m.samples for m in row if m.quantity == "J" and m.samples is not None}
        for gap in ("ball_gap", "free_gap", "equal_draws_gap"):
            found = next(m for m in row if m.quantity == gap)
            minuend, subtrahend = GAPS[gap]
            assert found.samples is not None
            np.testing.assert_array_equal(found.samples, values[minuend] - values[subtrahend])
        best = next(m.exact for m in row if (m.quantity, m.method) == ("J", "expert"))
        regret = next(m for m in row if m.quantity == "vf_regret")
        assert regret.samples is not None
        np.testing.assert_array_equal(regret.samples, best - values["vf-class-mle"])


def test_a_spread_base_gives_the_gold_away(result: Result) -> None:
    """At the least spread cloning rarely finds the map, at the largest always: its regret falls to nothing."""
    hits = [m.mean for m in column(result, "hit", "vf-class-mle")]
    regret = column(result, "vf_regret")
    assert hits[0] < 0.6
    assert hits[-1] == pytest.approx(1.0)
    assert regret[0].mean > 5.0 * regret[0].se > 0.0
    assert abs(regret[-1].mean) < 1e-9 * SMALL.H
    assert result.summary["trends"]["vf_regret"]["slope_interval"][1] < 0.0


def test_a_cell_is_the_same_in_any_company() -> None:
    """Measured alone, and with fewer data sets, every number is that of the whole run."""
    cells = EXPERIMENT.cells(SMALL)
    together = EXPERIMENT.measure(SMALL, cells[1:3])
    few = dataclasses.replace(SMALL, seeds=7)
    alone = EXPERIMENT.measure(few, cells[2:3])[0]
    for name, values in alone.items():
        np.testing.assert_allclose(values, together[1][name][:7], rtol=1e-12, atol=1e-12)


def test_asking_for_fewer_learners_changes_no_number(result: Result) -> None:
    """The learners named are reported, with the numbers that they have among all."""
    one = dataclasses.replace(SMALL, learners="vb-erm-top-c, vf-rejection")
    cell = EXPERIMENT.cells(one)[3]
    samples = EXPERIMENT.measure(one, [cell])[0]
    assert {name for name in samples if name.startswith("J ")} == {"J vf-rejection", "J vb-erm-top-c"}
    for m in result.measured[3][1]:
        if m.quantity == "J" and f"J {m.method}" in samples and m.samples is not None:
            np.testing.assert_array_equal(m.samples, samples[f"J {m.method}"])
    assert {m.quantity for m in EXPERIMENT.judge(one, cell, samples)} >= {"regret", "equal_draws_gap", "hit"}


def test_trainers_without_a_class_lose_what_the_mixture_hides() -> None:
    """Counting tokens clones the average over gamma: at the largest spread worth no more than the base."""
    settings = dataclasses.replace(SMALL, learners="vf-count-mle", points=3, seeds=32)
    first, *_, last = run_experiment(EXPERIMENT, settings).measured
    for (_, row), near in ((first, "expert"), (last, "base")):
        exact = {m.method: m.exact for m in row if m.quantity == "J" and m.samples is None}
        value = next(m for m in row if (m.quantity, m.method) == ("J", "vf-count-mle"))
        away = {"expert": "base", "base": "expert"}[near]
        assert abs(value.mean - exact[near]) < 0.5 * abs(value.mean - exact[away])
        assert next(m for m in row if (m.quantity, m.method) == ("regret", "vf-count-mle")).upper is None


def rejection_bound(prompts: tuple[tuple[int, ...], ...], n: int) -> tuple[Side, float, float]:
    """The side, and what it would be if every base trace were solved."""
    config = Planted(V=4, ell=2, H=12, gammas=(0.5,), weights=(1.0,), M=None, prompts=prompts)
    found = learners_at(config, 12, 0.3, 4)
    samples = {"J vf-rejection": np.linspace(2.0, 3.0, 4)}
    regret = next(m for m in judged(found, samples, n) if m.quantity == "regret")
    own, sigma = found.solved_moments
    all_solved = VF_UPPER.evaluate(H=12, n=n, log2_M=math.log2(24), sigma=sigma).value
    assert regret.upper is not None
    return regret.upper, found.expert_moments[0] - own + all_solved, found.expert_moments[0] - own + 12.0


def test_rejection_is_bounded_where_prompts_are_solved_equally_often() -> None:
    """``vf-upper`` averaged over the number kept: above its value at n, at most H; not claimed for unequal prompts."""
    equal, at_n, at_most = rejection_bound(cyclic_prompts(4, 2, 4), 200)
    assert equal.proven
    assert at_n < equal.bound < at_most
    few, _, most = rejection_bound(cyclic_prompts(4, 2, 4), 1)
    assert few.bound == pytest.approx(most)
    unequal, *_ = rejection_bound(((0, 0), (0, 1)), 200)
    assert not unequal.proven


def test_trend_of_lines_and_ties() -> None:
    """A line has its slope and rank 1, a constant has neither, noise below rounding is none."""
    x = np.array([1.0, 2.0, 4.0, 7.0])
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, 64))
    noise -= noise.mean(axis=1, keepdims=True)
    line = trend(x, 3.0 - 2.0 * x[:, None] + 0.01 * noise, 0, 1e-9)
    assert line["slope"] == pytest.approx(-2.0)
    assert line["rank"] == pytest.approx(-1.0)
    low, high = line["slope_interval"]
    assert low < -2.0 < high
    assert high - low < 0.01
    assert (line["smallest_at"], line["largest_at"]) == (7.0, 1.0)
    flat = trend(x, np.full((4, 64), 5.0) + 1e-13 * x[:, None], 0, 1e-9)
    assert flat["rank"] == flat["slope"] == 0.0
    bent = trend(x, np.array([[1.0], [3.0], [2.0], [4.0]]) + np.zeros((4, 8)), 0, 1e-9)
    assert bent["rank"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"horizon": "8,16"}, "--horizon 8,16"),
        ({"horizon": "1"}, "--horizon 1"),
        ({"horizon": "zero"}, "--horizon zero"),
        ({"rule": "n=20000"}, "--rule n=20000"),
        ({"rule": "H"}, "--rule H"),
        ({"epsilon": "optimal"}, "--epsilon optimal"),
        ({"epsilon": "2"}, "--epsilon 2"),
        ({"learners": "vf-bayes"}, "--learners vf-bayes"),
        ({"N": 0}, "--N 0"),
        ({"points": 2}, "points 2"),
        ({"V": 9}, "V 9"),
        ({"seeds": 2**17}, "--seeds 131072"),
    ],
)
def test_bad_settings_are_one_line(fields: dict[str, object], named: str) -> None:
    """A setting out of range raises one line that names it."""
    with pytest.raises(ValueError, match=named.replace("*", ".")) as caught:
        dataclasses.replace(SMALL, **fields)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
