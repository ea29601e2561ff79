"""Traces that were cut off: what they could change is bounded exactly, and the truth lies inside."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_validation.censoring import censored, variance_range
from llm_validation.reading import read_traces
from llm_validation.traces import Group, Traces

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def made(problem: Any, correct: Any, tokens: Any, truncated: Any) -> Traces:
    """Traces of one run."""
    problem = np.asarray(problem, dtype=np.int64)
    return Traces(
        problem=problem,
        problems=tuple(map(str, range(int(problem.max(initial=0)) + 1))),
        group=np.zeros(problem.size, dtype=np.int64),
        groups=(Group("m", "r"),),
        correct=np.asarray(correct, dtype=np.float64),
        tokens=np.asarray(tokens, dtype=np.float64),
        truncated=np.asarray(truncated, dtype=bool),
        score=np.full(problem.size, math.nan),
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 9), max_size=4),
    st.lists(st.integers(1, 12), max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_variances_over_the_box_are_exact(known: list[int], b: list[int], seed: int) -> None:
    """The largest over all vertices, the least over a fine grid of the level, whatever the order of the traces."""
    size = len(known) + len(b)
    if size < 2:
        return
    failed, solved = np.array([*known, *[0] * len(b)], dtype=float), np.array([*known, *b], dtype=float)
    order = np.random.default_rng(seed).permutation(size)
    problem = np.append(np.full(size, 3), [5, 5, 7])
    low, high = variance_range(
        problem, np.append(failed[order], [1.0, 4.0, 2.0]), np.append(solved[order], [1.0, 4.0, 2.0])
    )
    assert (low[1], high[1]) == (4.5, 4.5)
    assert np.isnan(low[2])
    vertices = [np.var([*known, *np.multiply(pick, b)], ddof=1) for pick in itertools.product((0, 1), repeat=len(b))]
    assert high[0] == pytest.approx(max(vertices), abs=1e-9)
    level = np.linspace(0.0, 12.0, 1201)
    values = np.concatenate([np.outer(known, np.ones(level.size)), np.minimum(np.outer(b, np.ones(level.size)), level)])
    least = values.reshape(size, level.size).var(axis=0, ddof=1).min()
    assert least - 0.01 <= low[0] <= least + 1e-9


def test_no_completion_leaves_the_bounds() -> None:
    """Random returns of the censored traces: mean, variance and share at or above the mean stay inside."""
    rng = np.random.default_rng(0)
    problem = np.repeat(np.arange(30), 6)
    correct, tokens = rng.integers(0, 2, 180).astype(float), rng.integers(1, 60, 180).astype(float)
    cut = rng.random(180) < 0.3
    correct[cut] = 0.0
    traces = made(problem, correct, tokens, cut)
    found = censored(traces, 64, 0)
    assert found is not None
    scenario = found.scenarios[0]
    assert (scenario.censored, found.cut_off) == (cut.sum(), cut.sum())
    assert scenario.problems == np.unique(problem[cut]).size
    known = traces.returns(64).reshape(30, 6)
    varies = np.nanmax(known, axis=1) > np.nanmin(known, axis=1)
    for _ in range(200):
        solved = np.where(rng.random(180) < 0.5, np.floor(rng.random(180) * (64 - tokens + 1)), 64 - tokens)
        returns = np.where(cut, solved * (rng.random(180) < 0.7), traces.returns(64)).reshape(30, 6)
        share = (returns >= returns.mean(axis=1, keepdims=True) - 1e-9).mean(axis=1)[varies].mean()
        for name, value in (
            ("mu", returns.mean(axis=1).mean()),
            ("sigma2", returns.var(axis=1, ddof=1).mean()),
            ("c0", share),
        ):
            bounds = scenario.bounds[name]
            assert bounds.lower.estimate - 1e-9 <= value <= bounds.upper.estimate + 1e-9


def test_the_share_above_the_mean_is_bounded_by_both_means() -> None:
    """Returns 4, 6, 10 and one in [0, 12]: the mean lies in [5, 8], so 10 is at or above it and 4 is not."""
    traces = made([0] * 4, [1, 1, 1, 0], [17, 15, 11, 8], [0, 0, 0, 1])
    found = censored(traces, 20, 0)
    assert found is not None
    bounds = found.scenarios[0].bounds["c0"]
    assert (bounds.lower.estimate, bounds.upper.estimate) == (0.25, 0.75)
    for last in range(13):
        returns = np.array([4.0, 6.0, 10.0, last])
        assert 0.25 <= (returns >= returns.mean()).mean() <= 0.75
    assert bounds.left_out.estimate == pytest.approx(1 / 3)


def test_bounds_cover_what_the_uncut_traces_would_have_shown() -> None:
    """Geometric solve times cut off at 20 of 64 tokens: mean and variance lie inside in 97% of 150 repeats or more."""
    H, cap = 64, 20
    rng = np.random.default_rng(1)
    hits, biased = np.zeros(2), 0
    for repeat in range(150):
        rate = rng.uniform(0.02, 0.08, 60)
        times = rng.geometric(np.repeat(rate, 8)).astype(float)
        cut = times > cap
        traces = made(np.repeat(np.arange(60), 8), ~cut, np.where(cut, cap, times), cut)
        support = np.arange(1, H + 1)
        # The population of problems is that of rates: its means, by quadrature.
        grid = np.linspace(0.02, 0.08, 2001)[:, None]
        law = grid * (1 - grid) ** (support - 1)
        mean = law @ (H - support + 1.0)
        square = law @ (H - support + 1.0) ** 2
        truth = (mean.mean(), (square - mean**2).mean())
        found = censored(traces, H, repeat)
        assert found is not None
        bounds = found.scenarios[0].bounds
        hits += [bounds[name].low <= t <= bounds[name].high for name, t in zip(("mu", "sigma2"), truth, strict=True)]
        biased += bounds["mu"].left_out.low > truth[0]
    assert (hits >= 0.97 * 150).all()
    assert biased > 140  # leaving them out is no estimate


def test_cut_off_at_the_budget_is_known() -> None:
    """What was cut off at H or later has return 0: counted, no scenario. Nothing cut off: None."""
    problem, tokens = [0, 0, 1, 1], [3.0, 8.0, 5.0, 9.0]
    found = censored(made(problem, [1, 0, 1, 0], tokens, [0, 1, 0, 1]), 8, 0)
    assert found is not None
    assert (found.cut_off, found.scenarios) == (2, ())
    assert censored(made(problem, [1, 0, 1, 0], tokens, [0, 0, 0, 0]), 8, 0) is None
    assert censored(made(problem, [1, 1, 1, 0], tokens, [1, 0, 0, 0]), 8, 0) is None


def test_traces_piled_at_one_length_are_a_second_scenario() -> None:
    """Wrong ones at the longest length, not marked: taken as cut off beside those that are, at budgets above it."""
    problem = np.repeat([0, 1, 2], 4)
    tokens = np.array([3, 9, 9, 9, 4, 9, 9, 5, 6, 2, 9, 9.0])
    correct = np.array([1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0.0])
    marked = np.zeros(12, dtype=bool)
    marked[[1, 5]] = True
    traces = made(problem, correct, tokens, marked)
    found = censored(traces, 20, 0)
    assert found is not None
    assert [scenario.censored for scenario in found.scenarios] == [2, 6]
    first, second = (scenario.bounds["mu"] for scenario in found.scenarios)
    assert first.lower.estimate == second.lower.estimate
    assert second.upper.estimate - first.upper.estimate == pytest.approx(4 * 11 / 12)
    silent = censored(dataclasses.replace(traces, truncated=np.zeros(12, dtype=bool)), 20, 0)
    assert silent is not None
    assert (silent.cut_off, [scenario.censored for scenario in silent.scenarios]) == (0, [6])
    assert censored(dataclasses.replace(traces, truncated=np.zeros(12, dtype=bool)), 9, 0) is not None


def test_unknown_lengths_may_have_been_solved_at_once() -> None:
    """A cut trace without tokens has a return in [0, H]; without any tokens H = 1 and it is 0 or 1."""
    with_tokens = censored(made([0, 0], [1, 0], [5.0, math.nan], [0, 1]), 8, 0)
    assert with_tokens is not None
    assert with_tokens.scenarios[0].bounds["mu"].upper.estimate == pytest.approx((4 + 8) / 2)
    bare = censored(made([0, 0], [1, 0], [math.nan] * 2, [0, 1]), 1, 0)
    assert bare is not None
    bounds = bare.scenarios[0].bounds
    assert (bounds["mu"].lower.estimate, bounds["mu"].upper.estimate) == (0.5, 1.0)
    assert (bounds["sigma2"].lower.estimate, bounds["sigma2"].upper.estimate) == (0.0, 0.5)


def test_the_result_is_plain_data() -> None:
    """JSON takes it; ends of the bounds are those of the extremes' intervals."""
    found = censored(made([0, 0, 1, 1], [1, 0, 1, 0], [3, 4, 5, 6], [0, 1, 0, 0]), 8, 0)
    assert found is not None
    plain = json.loads(json.dumps(found.as_dict()))
    bounds = plain["scenarios"][0]["bounds"]["mu"]
    assert bounds["low"] == bounds["lower"]["low"] <= bounds["upper"]["high"] == bounds["high"]
    assert plain["share"] == 0.25


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")
def test_runs_at_a_cap_are_bounded_above_it() -> None:
    """Of the real runs some pile up at a cap: at twice that budget the mean return is known within bounds only."""
    traces = read_traces([DATA / "epoch_otis_aime_samples.parquet"])
    widths = []
    for _, mine in traces.by_group():
        if not mine.has_tokens:
            continue
        found = censored(mine, 2 * mine.longest, 0)
        if found is not None and found.scenarios:
            bounds = found.scenarios[-1].bounds["mu"]
            assert bounds.lower.estimate < bounds.upper.estimate
            widths.append((bounds.upper.estimate - bounds.lower.estimate) / mine.longest)
    assert len(widths) >= 2
