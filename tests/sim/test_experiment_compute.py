"""One long trace against many short ones: closed forms, simulation, and what a learned verifier makes of it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from sim.experiments.command import Result, run_experiment
from sim.experiments.compute import (
    BASE,
    CLONE,
    CLONE_VERIFIED,
    ERM,
    EXPERIMENT,
    VERIFIED,
    ComputeSettings,
    best_length,
    budget_left,
    constant_hazard_length,
    cost,
    mixture_of,
    traces_at,
)
from sim.experiments.experiment import Measurement
from sim.experiments.planted import cyclic_prompts
from sim.rollout import rollout_traces
from sim.store import Output
from sim.tasks.planted import Planted, solve_times
from sim.training.best_of_n import best_of_n_density
from sim.training.planted_class import MapClass
from sim.training.planted_parallel import Declarations

pytestmark = pytest.mark.usefixtures("quick_to_compile")

SMALL = ComputeSettings(
    seeds=64, horizon="256", lengths="4..256x2", gamma=-0.35, spreads=(0.0, 0.7, 1.4), n=4, label_length=32, V=5, ell=3,
    prompts=2, log2_M=3, d_model=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def result() -> Result:
    return run_experiment(EXPERIMENT, SMALL)


@pytest.fixture(scope="module")
def geometric() -> Result:
    """Golds of one token: a trace solves at a constant rate given its gamma."""
    settings = dataclasses.replace(
        SMALL, ell=1, gamma=-4.0, spreads=(0.0, 1.5), lengths="1..256x2", learners="base,base-verified"
    )
    return run_experiment(EXPERIMENT, settings)


def curve(result: Result, mixture: str, accounting: str, method: str, quantity: str = "solved") -> dict[int, float]:
    return {
        cell["length"]: m.mean
        for cell, row in result.measured
        if (cell["mixture"], cell["accounting"]) == (mixture, accounting)
        for m in row
        if (m.quantity, m.method) == (quantity, method)
    }


def picked(result: Result, method: str, quantity: str = "solved") -> list[Measurement]:
    return [m for _, row in result.measured for m in row if (m.quantity, m.method) == (quantity, method)]


MIXTURES = ("homogeneous", "gamma +- 0.7", "gamma +- 1.4")


def test_nothing_is_violated(result: Result) -> None:
    assert result.exit_code == 0
    assert not result.violations
    assert len(result.measured) == 3 * 2 * 7


@pytest.mark.parametrize("d", [1, 64, 768])
@pytest.mark.parametrize("h", [1, 2, 100, 4096])
def test_cost_counts_every_multiplication(d: int, h: int) -> None:
    """Token by token: 12 d^2 weights, scores and mixing over all that came before; up to the last half token of it."""
    flops = sum(2 * 12 * d * d + 2 * (2 * t * d) for t in range(h)) / (24 * d * d)
    assert float(cost("flops", h, 12 * d)) == pytest.approx(flops + h / (12 * d), rel=1e-12)
    assert float(cost("tokens", h, 12 * d)) == h


@pytest.mark.parametrize("accounting", ["tokens", "flops"])
@pytest.mark.parametrize("h", [3, 7, 64, 255, 256])
def test_traces_fill_the_budget(accounting: str, h: int) -> None:
    """N of them fit, N + 1 do not; of the longest there is one."""
    N = traces_at(accounting, 256, h, 96)
    each, budget = float(cost(accounting, h, 96)), float(cost(accounting, 256, 96))
    assert N * each <= budget * (1 + 1e-12) < (N + 1) * each
    assert N == 1 or h < 256


def test_one_trace_needs_no_choice(result: Result) -> None:
    """At h = B the chance is that of one trace, whoever verifies, at both accountings."""
    for mixture in MIXTURES:
        for accounting in ("tokens", "flops"):
            at = {name: curve(result, mixture, accounting, name)[256] for name in (BASE, VERIFIED, ERM)}
            assert at[VERIFIED] == pytest.approx(at[BASE], rel=1e-12)
            assert at[ERM] == pytest.approx(at[BASE], rel=1e-12)
            clones = [curve(result, mixture, accounting, name)[256] for name in (CLONE, CLONE_VERIFIED)]
            assert clones[0] == pytest.approx(clones[1], rel=1e-12)
            assert clones[0] > at[BASE]


def test_mixtures_have_one_mean_return(result: Result) -> None:
    """J of one trace of B tokens is the mean return of the task, and the same for all mixtures; sigma grows."""
    means = [curve(result, mixture, "tokens", VERIFIED, "J")[256] for mixture in MIXTURES]
    assert means == pytest.approx([SMALL.task.moments()[0]] * 3, rel=1e-9)
    sigmas = list(result.summary["heterogeneity"].values())
    assert sigmas == sorted(sigmas)
    assert sigmas[-1] > 1.1 * sigmas[0]
    for spread, sigma in zip(SMALL.spreads, sigmas, strict=True):
        assert mixture_of(SMALL, spread).moments() == pytest.approx((means[0], sigma), rel=1e-9)


def test_constant_rates_do_not_care(geometric: Result) -> None:
    """Golds of one token, one gamma: at equal tokens every length that divides B solves equally often."""
    values = [*curve(geometric, "homogeneous", "tokens", VERIFIED).values()]
    assert len(values) == 9
    assert values == pytest.approx([values[0]] * 9, rel=1e-12)
    rate = curve(geometric, "homogeneous", "tokens", BASE)[1]
    assert values[0] == pytest.approx(1 - (1 - rate) ** 256, rel=1e-12)
    flops = [*curve(geometric, "homogeneous", "flops", VERIFIED).values()]
    assert flops[0] > flops[-1] + 0.05


def test_heterogeneity_wants_many_draws(geometric: Result) -> None:
    """The same with two gammas: E S^N > (E S)^N, so that shorter is strictly better (Jensen)."""
    values = [*curve(geometric, "gamma +- 1.5", "tokens", VERIFIED).values()]
    assert all(short > long + 1e-6 for short, long in itertools.pairwise(values))


def test_more_of_the_same_is_no_worse(result: Result) -> None:
    """At one length more traces solve more (equal FLOPs give more of them); alone, longer ones do."""
    for mixture in MIXTURES:
        for method in (VERIFIED, CLONE_VERIFIED):
            tokens, flops = (curve(result, mixture, a, method) for a in ("tokens", "flops"))
            assert all(flops[h] >= tokens[h] - 1e-12 for h in tokens)
            assert flops[16] > tokens[16] + 1e-3 or mixture != "homogeneous"
        alone = [*curve(result, mixture, "tokens", BASE).values()]
        assert alone == sorted(alone)
        most = curve(result, mixture, "tokens", VERIFIED)
        assert all(value <= most[h] + 1e-12 for h, value in curve(result, mixture, "tokens", ERM).items())


def test_attention_shortens_the_best_trace(result: Result) -> None:
    """Homogeneous: one trace at equal tokens, near the predicted length at equal FLOPs; heterogeneous: shorter."""
    rows = {(row["mixture"], row["method"]): row for row in result.summary["best"]}
    assert rows["homogeneous", VERIFIED]["tokens"]["length"] == 256
    predicted = result.summary["best_length_of_constant_hazard"]
    assert predicted == pytest.approx(2 + math.sqrt(4 + 2 * 96))
    assert 0.5 * predicted <= rows["homogeneous", VERIFIED]["flops"]["length"] <= 2 * predicted
    assert rows["gamma +- 1.4", VERIFIED]["tokens"]["length"] < 256
    assert rows["gamma +- 1.4", VERIFIED]["shift"] <= 1.0


@pytest.mark.parametrize(("ell", "scale"), [(2, 96), (6, 9216)])
def test_the_predicted_length_maximises(ell: int, scale: int) -> None:
    """No neighbour on a fine grid solves more at a small constant rate after ell - 1 wasted tokens."""
    h = np.linspace(ell, 2000, 200_000)
    value = (h - ell + 1) / cost("flops", h, scale)
    assert h[value.argmax()] == pytest.approx(constant_hazard_length(ell, scale), rel=1e-2)


def test_best_length_is_the_shortest_of_the_best() -> None:
    assert best_length([1, 2, 4], [0.5, 0.7, 0.7]) == 2
    assert best_length([1, 2, 4], [0.5, 0.4, 0.7]) == 4


def test_budget_left_is_that_of_restarts() -> None:
    """Enumerated: which trace solves and when; what had been spent before the solving token is gone."""
    masses, B, scale = np.array([0.1, 0.0, 0.3]), 10, 20
    for accounting in ("tokens", "flops"):
        budget, each = (float(cost(accounting, h, scale)) for h in (B, 3))
        N = traces_at(accounting, B, 3, scale)
        left = sum(
            0.6**m * p * (budget - m * each - float(cost(accounting, t, scale)))
            for m in range(N)
            for t, p in enumerate(masses)
        )
        assert budget_left(masses, accounting, B, N, scale) == pytest.approx(left, rel=1e-12)
        assert N >= 3


def test_the_clone_is_the_policy_of_the_ball() -> None:
    """The reweighted law is that of the executed policy, gamma redrawn."""
    settings = dataclasses.replace(SMALL, horizon="24", lengths="6,24", spreads=(1.0,), learners="clone-ball")
    result = run_experiment(EXPERIMENT, settings)
    law = mixture_of(settings, 1.0).build().expert(settings.strength**2).law()
    for cell, row in result.measured:
        solved = next(m for m in row if m.quantity == "solved")
        assert solved.exact == pytest.approx(float(law[: cell["length"]].sum(axis=0).mean()), rel=1e-10)


def small_class() -> MapClass:
    config = Planted(
        V=3, ell=2, H=12, gammas=(-0.3, 1.0), weights=(0.6, 0.4), M=None, truth=1, prompts=((0, 1), (2, 0), (1, 1))
    )
    return MapClass(config)


@pytest.mark.parametrize("N", [1, 2, 5])
def test_kept_traces_are_those_of_the_search(N: int) -> None:
    """All pairs of golds, several lengths: the law under best-of-N's density, solve time by solve time summed."""
    pairs = small_class().pairs("truth")
    for h, found in zip((2, 5, 12), Declarations.of(pairs, (2, 5, 12)), strict=True):
        said = pairs.declared(h, h)
        np.testing.assert_allclose(np.vstack([found.law, found.never]), said.law, rtol=0, atol=1e-14)
        with jax.enable_x64(True):
            density = np.asarray(best_of_n_density(said.law, float(N)))
        law = pairs.searched(density[..., None], h)[..., 0]
        np.testing.assert_allclose(found.kept(N), 1.0 - law[-1], rtol=0, atol=1e-13)


def drawn(config: Planted, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    task = config.build()
    with jax.enable_x64(True):
        outcomes, traces = rollout_traces(task.mdp, task.base, jax.random.key(5), np.arange(count), 0)
        del outcomes
        first = np.asarray(traces.tokens)
        other = np.asarray(rollout_traces(task.mdp, task.base, jax.random.key(6), np.arange(count), 1)[1].tokens)
    hidden = np.random.default_rng(7).random(count) < config.weights[0]  # first states 0 and 1 are gammas of prompt 0
    return np.where(hidden[:, None], first, other), config.golds()[0]


def test_simulation_keeps_solved_traces_as_often() -> None:
    """Tokens rolled out, N at a time: kept by the true gold, and by a wrong one, ties by coins; 5 standard errors."""
    config = Planted(
        V=3, ell=2, H=10, gammas=(-1.0, 0.8), weights=(0.7, 0.3), M=None, truth=0, prompts=((0, 1), (2, 0))
    )
    members, N, sets = MapClass(config), 3, 4000
    tokens, gold = drawn(config, N * sets)
    (found,) = Declarations.of(members.pairs("truth"), (10,))
    solved = (solve_times(tokens, np.broadcast_to(gold, (N * sets, 2))) > 0).reshape(sets, N)
    rng = np.random.default_rng(8)
    for number, other in enumerate(members.golds[0]):
        time = solve_times(tokens, np.broadcast_to(other, (N * sets, 2)))
        late = np.where(time > 0, time, 99).reshape(sets, N) + rng.random((sets, N))
        kept = solved[np.arange(sets), late.argmin(axis=1)]
        exact = float(found.kept(N)[members.pair[0, number]])
        assert abs(kept.mean() - exact) <= 5 * math.sqrt(exact * (1 - exact) / sets)
        wrong = float(np.mean((time > 0) != solved.reshape(-1)))
        error = float(found.error[members.pair[0, number]])
        assert abs(wrong - error) <= 5 * math.sqrt(max(error * (1 - error), 1e-12) / (N * sets))
    alone = float(solved.mean())
    assert abs(solved.any(axis=1).mean() - (1 - (1 - alone) ** N)) <= 5 * math.sqrt(0.25 / sets)


def test_the_true_verifier_is_a_member() -> None:
    """The truth's own gold keeps a solved trace whenever there is one, is never wrong, and beats every other gold."""
    members = small_class()
    law = np.concatenate([members.laws(12, 12)[:-1].sum(axis=0)])
    (found,) = Declarations.of(members.pairs("truth"), (12,))
    kept = found.kept(4)
    for x, truth in enumerate(members.truth):
        pair = members.pair[x]
        alone = law[members.pattern[x, truth]]
        assert kept[pair[truth]] == pytest.approx(1 - (1 - alone) ** 4, rel=1e-12)
        assert found.error[pair[truth]] == pytest.approx(0.0, abs=1e-15)
        assert (kept[pair] <= kept[pair[truth]] + 1e-12).all()


def test_more_labels_make_a_better_verifier() -> None:
    """With 64 labelled traces ERM keeps nearly what the truth does, with one far less, and errs more."""
    few, many = (
        run_experiment(EXPERIMENT, dataclasses.replace(SMALL, n=n, spreads=(0.7,), lengths="16")) for n in (1, 64)
    )
    place = "gamma +- 0.7", "tokens"
    best = curve(many, *place, VERIFIED)[16]
    assert curve(many, *place, ERM)[16] == pytest.approx(best, abs=1e-3)
    assert curve(few, *place, ERM)[16] < best - 0.2
    assert curve(few, *place, ERM, "verifier_error")[16] > curve(many, *place, ERM, "verifier_error")[16]


def test_bounds_speak_and_could_fail(result: Result) -> None:
    """chi2-expert above the clones, valid somewhere and tight within a fifth; a ball of half the radius is exceeded."""
    for method in (CLONE, CLONE_VERIFIED):
        sides = [(m.mean, m.upper) for m in picked(result, method)]
        assert all(side is not None and side.proven for _, side in sides)
        assert any(side.valid and mean > 0.8 * side.bound for mean, side in sides if side is not None)
    smaller = dataclasses.replace(SMALL, epsilon="0.25")
    cell, row = result.measured[6]
    less = EXPERIMENT.judge(smaller, cell, EXPERIMENT.measure(smaller, [cell])[0])
    bound = next(m.upper for m in less if m.method == CLONE)
    assert bound is not None
    assert next(m.mean for m in row if m.method == CLONE) > bound.bound


def test_the_search_is_bounded_from_below(result: Result) -> None:
    """vb-upper-best-of-n with the measured error: proven everywhere, says something somewhere, and holds."""
    found = picked(result, ERM)
    assert all(m.lower is not None and m.lower.proven for m in found)
    assert any(m.lower is not None and m.lower.valid and m.lower.bound > 0.3 for m in found)
    assert all(m.lower is not None and m.mean >= m.lower.bound - 1e-9 for m in found)


def test_impossible_results_are_told(result: Result) -> None:
    """A learned verifier above the true one, and FLOPs that buy less than tokens, are violations."""

    def changed(row: list[Measurement]) -> list[Measurement]:
        return [
            dataclasses.replace(m, exact=0.5 * m.exact) if (m.quantity, m.method) == ("solved", VERIFIED) else m
            for m in row
        ]

    worse = [(cell, changed(row) if cell["accounting"] == "flops" else row) for cell, row in result.measured]
    claims = EXPERIMENT.violated(EXPERIMENT.summarise(SMALL, worse))
    assert any("learned verifier" in claim for claim in claims)
    assert any("at equal tokens" in claim for claim in claims)
    assert EXPERIMENT.violated(result.summary) == []


def test_a_cell_has_its_numbers_in_any_company(result: Result) -> None:
    """Alone: the same samples; of another seed: others."""
    place = 9
    cell, row = result.measured[place]
    (alone,) = EXPERIMENT.measure(SMALL, [cell])
    (before,) = (m.samples for m in row if (m.quantity, m.method) == ("solved", ERM))
    assert before is not None
    assert np.array_equal(alone["solved"], before)
    other = dataclasses.replace(SMALL, seed=1)
    (moved,) = EXPERIMENT.measure(other, [EXPERIMENT.cells(other)[place]])
    assert not np.array_equal(moved["solved"], before)


def test_what_is_exact_needs_no_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods without data: shards without rows are written, and read again they give the same table."""
    settings = dataclasses.replace(SMALL, learners="base,base-verified", spreads=(0.0,))
    tables = []
    for resume in (False, True):
        tables.append(run_experiment(EXPERIMENT, settings, Output.open(tmp_path / "o", {}, resume)).table())
        monkeypatch.setattr(EXPERIMENT, "measure", None)
    assert set(tables[0]["method"].to_pylist()) == {BASE, VERIFIED, "N"}
    assert str(tables[0].to_pylist()) == str(tables[1].to_pylist())  # NaN is not itself
    monkeypatch.undo()
    lines = EXPERIMENT.lines(settings, run_experiment(EXPERIMENT, settings).measured)
    assert sum("best at tokens" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"horizon": "8..16"}, "--horizon 8..16"),
        ({"horizon": "2"}, "--horizon 2"),
        ({"lengths": "a"}, "lengths a"),
        ({"epsilon": "capacity:1"}, "--epsilon capacity:1"),
        ({"learners": "vb-ball"}, "--learners vb-ball"),
        ({"log2_M": 0}, "--log2-M 0"),
        ({"seeds": 1}, "--seeds 1"),
        ({"seeds": 2**21, "n": 8}, "--seeds 2097152"),
        ({"ell": 6}, "ell 6"),
        ({"spreads": (-1.0,)}, "spreads"),
        ({"spreads": (1.0, 1.0)}, "spreads"),
        ({"d_model": 0}, "d_model 0"),
    ],
)
def test_bad_settings_are_one_line(fields: dict[str, Any], named: str) -> None:
    """A setting out of range raises one line that names it."""
    with pytest.raises(ValueError, match=named) as caught:
        dataclasses.replace(SMALL, **fields)
    assert "\n" not in str(caught.value)


def test_prompts_have_one_law() -> None:
    """Different tokens in every gold: what is said of the mean over prompts is said of each."""
    words = cyclic_prompts(SMALL.V, SMALL.ell, SMALL.prompts)
    assert all(len(set(word)) == SMALL.ell for word in words)
    laws = SMALL.task.solve_time_laws()
    assert all(np.array_equal(law.masses, laws[0].masses) for law in laws)
