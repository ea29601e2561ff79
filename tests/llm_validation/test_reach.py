"""What lies within reach of search: divergences, the ball's best value on samples, and what is certified."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_validation.concentration import concentration
from llm_validation.reach import C0, Margin, best_of_divergence, best_within, optimum_of_samples, reach
from llm_validation.traces import Group, Traces
from llm_validation.trials.population import pool
from theory.chi2_ball import chi2_divergence, optimal_expert
from theory.laws import ReturnLaw


def made(problem: Any, tokens: Any, correct: Any) -> Traces:
    """Traces of one run."""
    problem = np.asarray(problem, dtype=np.int64)
    return Traces(
        problem=problem,
        problems=tuple(map(str, range(int(problem.max(initial=0)) + 1))),
        group=np.zeros(problem.size, dtype=np.int64),
        groups=(Group("m", "r"),),
        correct=np.asarray(correct, dtype=np.float64),
        tokens=np.asarray(tokens, dtype=np.float64),
        truncated=np.zeros(problem.size, dtype=bool),
        score=np.full(problem.size, math.nan),
    )


def with_returns(problem: Any, returns: Any, horizon: int) -> Traces:
    """Traces of given whole returns."""
    returns = np.asarray(returns, dtype=np.float64)
    return made(problem, np.where(returns > 0, horizon - returns + 1, 1.0), returns > 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 12))
def test_atoms_make_best_of_n_no_farther(weights: list[int], N: int) -> None:
    """chi^2 of the largest of N draws, from the law's distribution function, is at most N^2/(2N - 1) - 1."""
    law = np.array(weights) / sum(weights)
    below = np.append(0.0, np.cumsum(law))
    below[-1] = 1.0
    assert chi2_divergence(np.diff(below**N), law) <= best_of_divergence(N) + 1e-9


def test_without_atoms_the_divergence_is_attained() -> None:
    """A fine grid comes within 1% of it."""
    law = np.full(20_000, 1 / 20_000)
    below = np.append(0.0, np.cumsum(law))
    for N in (2, 3, 10):
        assert chi2_divergence(np.diff(below**N), law) == pytest.approx(best_of_divergence(N), rel=0.01)
    assert best_of_divergence(1) == 0.0


def test_best_within_is_the_largest() -> None:
    """Its divergence is at most kappa, that of one more draw is not; kappa may be a divergence itself."""
    for kappa in (0.01, 0.3, 1 / 3, 1.0, 16 / 7 - 1, 4.0, 100.0, *map(best_of_divergence, range(2, 40))):
        N = best_within(kappa)
        assert best_of_divergence(N) <= kappa * (1 + 1e-9)
        assert best_of_divergence(N + 1) > kappa * (1 + 1e-9)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=12),
    st.sampled_from([0.01, 0.25, 1.0, 1.5, 2.0, 3.0, 4.0, 11.0, 40.0]),
)
def test_the_optimum_is_that_of_the_theory(returns: list[int], kappa: float) -> None:
    """On the empirical law, against the masses of theory.chi2_ball and against the dual over a grid of t."""
    rows = np.sort(np.array(returns, dtype=float))
    law = ReturnLaw.of(rows, np.full(rows.size, 1 / rows.size))
    value = optimum_of_samples(rows[None], kappa)[0]
    assert value == pytest.approx(optimal_expert(law, kappa) @ law.values, abs=1e-7)
    t = np.linspace(-30.0, rows[-1], 4001)
    dual = t + np.sqrt((1 + kappa) * (np.maximum(rows - t[:, None], 0.0) ** 2).mean(axis=1))
    assert value <= dual.min() + 1e-7


@pytest.mark.parametrize("kappa", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("law", [(0.5, 0.3, 0.2), (0.05, 0.15, 0.8), (0.9, 0.05, 0.05)])
def test_samples_give_too_little_and_the_upper_side_too_much(kappa: float, law: tuple[float, ...]) -> None:
    """All samples of size 4 on three returns: E of the plug-in is at most J, E of the upper side at least."""
    values, m = np.array([0.0, 3.0, 10.0]), 4
    picks = np.array(list(itertools.product(range(3), repeat=m)))
    weight = np.prod(np.array(law)[picks], axis=1)
    rows = np.sort(values[picks], axis=1)
    exact = ReturnLaw.of(values, law)
    best = float(optimal_expert(exact, kappa) @ exact.values)
    assert weight @ optimum_of_samples(rows, kappa) <= best + 1e-9
    for scale in (0.5, exact.sd, 9.0):
        above = rows.mean(axis=1) + math.sqrt(kappa) / 2 * (rows.var(axis=1, ddof=1) / scale + scale)
        assert weight @ above >= best - 1e-9


def test_intervals_cover_what_the_laws_give() -> None:
    """Planted problems of known law: value of the ball, share with c >= c0, share met, in 30 repeats of 40."""
    base, X, m = pool("wide", 256), 60, 24
    H, kappas, repeats = base.horizon, (0.25, 1.0), 30
    laws = [ReturnLaw.of(base.returns, row) for row in base.law]
    truth = [float(np.mean([optimal_expert(law, kappa) @ law.values for law in laws])) for kappa in kappas]
    varies = base.varies(m)
    wide = (base.concentration(np.array([0.5]))[0] >= C0) @ varies / varies.sum()
    hits = np.zeros(3)
    for repeat in range(repeats):
        _, returns = base.drawn(np.random.default_rng(repeat), X, m)
        found = reach(with_returns(np.repeat(np.arange(X), m), returns.reshape(-1), H), H, repeat, kappas)
        assert found is not None
        hits[:2] += [b.value.low <= t <= b.value.high for b, t in zip(found.balls, truth, strict=True)]
        share = next(margin.share for margin in found.margins if margin.epsilon == 0.5)
        hits[2] += share.low <= wide <= share.high
        assert found.balls[0].value.estimate <= found.balls[1].value.estimate
    assert (hits >= 27).all()


def test_two_answers_are_met_where_the_solve_rate_is_large_enough() -> None:
    """H = 1, solve rates 0.8, 0.4 and 0.02: success is met from 1/p - 1 on; bounds say so for half a 1,000 samples."""
    rng = np.random.default_rng(0)
    rates = np.repeat([0.8, 0.4, 0.02], 20)
    returns = rng.random((60, 500)) < rates[:, None]
    found = reach(made(np.repeat(np.arange(60), 500), np.full(30_000, math.nan), returns.reshape(-1)), 1, 0)
    assert found is not None
    assert [ball.best_of for ball in found.balls] == [1, 3, 9]
    assert [ball.top for ball in found.balls] == [0.8, 0.5, 0.2]
    met = found.balls[1].met  # kappa = 1: p >= 1/2
    assert met.estimate == pytest.approx(1 / 3)
    assert met.low < 1 / 3 < met.high < 0.6
    assert found.balls[2].met.estimate == pytest.approx(2 / 3)  # kappa = 4: p >= 1/5
    low, middle, high = (
        quartiles[0] for quartiles in (found.best_seen.low, found.best_seen.plug_in, found.best_seen.high)
    )
    assert low <= 0.25 + 0.05
    assert low < middle < high
    assert middle == pytest.approx(0.25, abs=0.1)


def test_a_problem_that_is_never_solved_has_no_upper_bound() -> None:
    """kappa is bounded from below by what the samples could miss, and by nothing from above."""
    for horizon, tokens in ((1, math.nan), (8, 3.0)):
        found = reach(made([0] * 10 + [1] * 10, [tokens] * 20, [0] * 20), horizon, 0)
        assert found is not None
        assert found.best_seen.plug_in == found.best_seen.high == (math.inf,) * 3
        assert found.best_seen.low[0] == pytest.approx(1 / (1 - 0.01 ** (1 / 10)) - 1)
        assert found.certified is None
        assert all(math.isnan(margin.share.estimate) for margin in found.margins)


def test_a_margin_is_certified_where_all_problems_are_wide() -> None:
    """R = 0 or H with probability one half, 300 samples: c(1/2) = 1/2 is at least c0 for every problem."""
    rng = np.random.default_rng(1)
    returns = 16 * rng.integers(0, 2, (50, 300))
    traces = with_returns(np.repeat(np.arange(50), 300), returns.reshape(-1), 16)
    found = reach(traces, 16, 0)
    assert found is not None
    assert found.certified == 0.5
    shares = {margin.epsilon: margin.share for margin in found.margins}
    assert shares[0.5].low > 0.9
    assert shares[1.5].low == 0.0
    given = concentration(traces.problem, returns.reshape(-1) / 16, 1, np.array([0.5, 2.0]), 0.01)
    again = reach(traces, 16, 0, bounds=given)
    assert again is not None
    assert [margin.epsilon for margin in again.margins] == [0.5, 2.0]
    assert (again.certified, again.margins[0]) == (0.5, Margin(0.5, shares[0.5]))
    returns[0] = 16
    returns[0, :2] = 0
    narrow = reach(with_returns(np.repeat(np.arange(50), 300), returns.reshape(-1), 16), 16, 0)
    assert narrow is not None
    assert narrow.certified is None


def test_there_is_none_without_pairs_and_kappa_is_positive() -> None:
    """One trace a problem: None. kappa = 0 is no ball. The result is plain data."""
    assert reach(made([0, 1], [1, 2], [1, 0]), 4, 0) is None
    assert reach(made([0, 0], [1, 2], [math.nan] * 2), 4, 0) is None
    with pytest.raises(ValueError, match="kappas"):
        reach(made([0, 0], [1, 2], [1, 0]), 4, 0, (0.0,))
    found = reach(made([0, 0, 1], [1, 2, 2], [1, 0, 1]), 4, 0)
    assert found is not None
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["balls"][0]["value"]["low"] <= plain["balls"][0]["value"]["estimate"]
    assert plain["problems"] == 2


def test_a_share_may_be_off_by_the_bounds_that_fail() -> None:
    """All 400 problems are certified: the interval of their share ends at 1% below what resampling gives."""
    returns = np.tile([0, 8], (400, 100))
    found = reach(with_returns(np.repeat(np.arange(400), 200), returns.reshape(-1), 8), 8, 0, (1.0,))
    assert found is not None
    share = found.margins[0].share
    assert share.estimate == share.high == 1.0
    assert share.low == pytest.approx(0.05 ** (1 / 400) - 0.01, abs=1e-9)
