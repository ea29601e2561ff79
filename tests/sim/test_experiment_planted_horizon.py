"""Regrets and gaps of the planted task against the horizon: one program for all of them, bounds, exponents."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import numpy as np
import pytest

from sim.cells import EpsilonRule
from sim.experiments import planted
from sim.experiments.command import Result, run_experiment
from sim.experiments.planted import drawn_traces, epsilon_at
from sim.experiments.planted_horizon import BASES, EXPERIMENT, PlantedHorizonSettings
from sim.rollout import rollout_traces
from theory.planted import mixture_law

pytestmark = pytest.mark.usefixtures("quick_to_compile")

SMALL = PlantedHorizonSettings(horizon="8..128x2", rule="n=2*H", V=10, prompts=3, log2_M=5, seeds=48)


@pytest.fixture(scope="module")
def result(quick_to_compile: None) -> Result:
    return run_experiment(EXPERIMENT, SMALL)


def test_no_bound_is_violated(result: Result) -> None:
    """vf-upper and vb-upper are proven in every cell, for every learner, and kept."""
    assert result.exit_code == 0
    assert not result.violations
    assert len(result.measured) == len(BASES) * len(SMALL.horizons)
    for _, row in result.measured:
        regrets = {m.method: m for m in row if m.quantity == "regret"}
        for name in ("vf-class-mle", "vf-rejection", "vb-erm-top-c", "vb-erm-best-of-n"):
            upper = regrets[name].upper
            assert upper is not None
            assert upper.proven
            assert upper.label.startswith("vf-upper" if name.startswith("vf") else "vb-upper")
        lower = regrets["vb-erm-ball"].lower
        assert lower is not None
        assert (lower.proven, lower.bound) == (True, 0.0)


def test_all_cells_run_one_program(result: Result) -> None:
    """Bases, horizons and numbers of traces are data: nothing is compiled for one of them."""
    compiled = rollout_traces._cache_size()  # type: ignore[attr-defined]
    longer = dataclasses.replace(SMALL, horizon="24,56,128", rule="n=5", seeds=3)
    run_experiment(EXPERIMENT, longer)
    assert rollout_traces._cache_size() == compiled  # type: ignore[attr-defined]


def test_uniform_tokens_tell_of_the_gold_only_by_when_they_solve(result: Result) -> None:
    """At the capacity's expert the VF regret is 1 to 3 times the codebook's closed form, at every horizon; on the
    mixture, whose tokens tell, nothing is left of it at the largest."""
    ratios = {base: np.array(rows)[:, 1] for base, rows in result.summary["regret_over_prediction"].items()}
    assert ratios["uniform"].min() > 1.0
    assert ratios["uniform"].max() < 3.0
    assert ratios["mixture"][0] > 1.0
    assert abs(ratios["mixture"][-1]) < 0.1


def test_exponent_is_that_of_the_prediction(result: Result) -> None:
    """Uniform base: the interval of the VF regret's exponent contains that of sigma sqrt(L/(8n)) on the same points."""
    row = next(r for r in result.summary["exponents"] if (r["base"], r["gap"]) == ("uniform", "vf_regret"))
    assert row["horizons"] == len(SMALL.horizons)
    assert row["ci_low"] <= row["predicted"] <= row["ci_high"]
    found = [
        (cell["horizon"], m)
        for cell, found in result.measured
        for m in found
        if cell["base"] == "uniform" and m.quantity == "vf_regret"
    ]
    H = np.array([horizon for horizon, _ in found], dtype=np.float64)
    weights = np.array([1.0 / (m.se**2 + (1e-9 * horizon) ** 2) for horizon, m in found])
    for values, fitted in (([m.mean for _, m in found], "exponent"), ([m.prediction for _, m in found], "predicted")):
        slope = np.polyfit(np.log(H), np.log(values), 1, w=np.sqrt(weights))[0]
        assert row[fitted] == pytest.approx(slope, rel=1e-6)


def test_laws_are_those_of_each_horizon(result: Result) -> None:
    """Tables are as long as the largest horizon; mean and spread are ``planted-law``'s at the cell's own."""
    for cell, row in result.measured:
        law = mixture_law((0, 1), SMALL.V, BASES[cell["base"]], (0.5, 0.5), cell["horizon"])
        known = {(m.quantity, m.method): m.exact for m in row if m.samples is None}
        assert math.isclose(known["J", "base"], law.mean_return, rel_tol=1e-10)
        assert math.isclose(known["sigma", "base"], law.sd_return, rel_tol=1e-10)
        assert math.isclose(known["solve_rate", "base"], law.solve_rate, rel_tol=1e-10)


def test_cells_do_not_depend_on_the_largest_horizon() -> None:
    """A horizon measured alone has the numbers that it has beside larger ones."""
    one = dataclasses.replace(SMALL, horizon="16", seeds=12)
    many = dataclasses.replace(SMALL, horizon="8,16,128", seeds=12)
    for base in (0, 1):
        alone = EXPERIMENT.measure(one, [EXPERIMENT.cells(one)[base]])[0]
        beside = EXPERIMENT.measure(many, [EXPERIMENT.cells(many)[3 * base + 1]])[0]
        assert alone.keys() == beside.keys()
        for name, values in alone.items():
            np.testing.assert_allclose(values, beside[name], rtol=1e-9, atol=1e-9)


def test_a_trace_is_the_same_in_any_data_set_size() -> None:
    """The first traces of a data set do not depend on how many follow; no two data sets share theirs."""
    task = dataclasses.replace(SMALL, horizon="32").task("uniform").build()
    policy = np.broadcast_to(task.base, (32, *task.base.shape))
    with jax.enable_x64(True):
        few, many = (drawn_traces(task, policy, jax.random.key(5), n, 6, 32) for n in (3, 8))
    assert few.tokens.shape == (18, 32)
    np.testing.assert_array_equal(few.tokens.reshape(6, 3, 32), many.tokens.reshape(6, 8, 32)[:, :3])
    np.testing.assert_array_equal(few.prompts.reshape(6, 3), many.prompts.reshape(6, 8)[:, :3])
    np.testing.assert_array_equal(many.trials, np.repeat(np.arange(6), 8))
    assert len({tuple(word) for word in many.tokens.tolist()}) == 48
    assert set(many.prompts.tolist()) == set(range(SMALL.prompts))


def test_expert_and_base_traces_are_drawn_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two streams of a cell have keys of their own."""
    keys = []

    def recorded(task: Any, policy: Any, key: Any, *sizes: int) -> Any:
        keys.append(jax.random.key_data(key).tolist())
        return drawn_traces(task, policy, key, *sizes)

    monkeypatch.setattr(planted, "drawn_traces", recorded)
    one = dataclasses.replace(SMALL, horizon="8,128", seeds=2)
    EXPERIMENT.measure(one, [EXPERIMENT.cells(one)[0]])
    assert len(keys) == 2
    assert keys[0] != keys[1]


def test_prompts_have_one_law() -> None:
    """Golds of different tokens: every c, sigma and solve rate is the same, as the bounds need."""
    task = SMALL.task("mixture")
    assert all(len(set(gold)) == SMALL.ell for gold in task.golds().tolist())
    assert len({tuple(word) for word in task.words.tolist()}) == SMALL.prompts


@pytest.mark.parametrize(
    ("rule", "n", "expected"),
    [("0.5", 7, 0.5), ("capacity:1", 64, math.sqrt(5 * math.log(2) / 64)), ("capacity:2", 1, 1.0)],
)
def test_expert_follows_the_rule(rule: str, n: int, expected: float) -> None:
    """A number, or the root of A log M / n, at most 1."""
    assert epsilon_at(EpsilonRule.parse(rule), n, 32) == pytest.approx(expected)


def test_few_horizons_have_no_exponent() -> None:
    """Fewer than five: null, with the reason."""
    few = dataclasses.replace(SMALL, horizon="8,16", instance="uniform", seeds=4, learners="vf-class-mle,vb-erm-ball")
    rows = run_experiment(EXPERIMENT, few).summary["exponents"]
    assert [row["exponent"] for row in rows] == [None] * 3
    assert all("fewer than 5" in row["reason"] for row in rows)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"horizon": "1..8"}, "--horizon 1..8"),
        ({"horizon": "16..8192x2"}, "--horizon 16..8192x2"),
        ({"horizon": "none"}, "--horizon none"),
        ({"rule": "n=H^3"}, "--rule n=H.3"),
        ({"instance": "codebook"}, "--instance codebook"),
        ({"log2_M": 13}, "--log2-M 13"),
        ({"epsilon": "optimal"}, "--epsilon optimal"),
        ({"learners": "vf-count-mle"}, "--learners vf-count-mle"),
        ({"N": 0}, "--N 0"),
        ({"prompts": 11}, "prompts 11"),
    ],
)
def test_bad_settings_are_one_line(fields: dict[str, object], named: str) -> None:
    """A setting out of range raises one line that names it."""
    with pytest.raises(ValueError, match=named) as caught:
        dataclasses.replace(SMALL, **fields)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
