"""Where heterogeneity arises: the parts are those of the martingale of rewards, and add up exactly."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_validation.decomposition import decomposition, variance_by_step
from llm_validation.moments import problem_moments
from llm_validation.traces import Group, Traces
from theory.heterogeneity import decompose
from theory.planted import solve_time_law

H = 12


def made(problem: Any, tokens: Any, correct: Any = None, truncated: Any = None) -> Traces:
    """Traces of one run; all are right unless said otherwise."""
    problem = np.asarray(problem, dtype=np.int64)
    return Traces(
        problem=problem,
        problems=tuple(map(str, range(int(problem.max(initial=0)) + 1))),
        group=np.zeros(problem.size, dtype=np.int64),
        groups=(Group("m", "r"),),
        correct=np.ones(problem.size) if correct is None else np.asarray(correct, dtype=np.float64),
        tokens=np.asarray(tokens, dtype=np.float64),
        truncated=np.zeros(problem.size, dtype=bool) if truncated is None else np.asarray(truncated, dtype=bool),
        score=np.full(problem.size, math.nan),
    )


def martingale_parts(times: list[float], horizon: int) -> list[float]:
    """E Var(M_h | r_1..r_{h-1}) for h = 1..H under the empirical law, M_h a mean over traces of equal rewards."""
    rewards = [tuple(int(h >= t) for h in range(1, horizon + 1)) for t in times]
    returns = [sum(row) for row in rewards]

    def conditional(h: int) -> list[float]:
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for row, value in zip(rewards, returns, strict=True):
            groups[row[:h]].append(value)
        return [sum(groups[row[:h]]) / len(groups[row[:h]]) for row in rewards]

    levels = [conditional(h) for h in range(horizon + 1)]
    return [
        sum((a - b) ** 2 for a, b in zip(levels[h], levels[h - 1], strict=True)) / len(times)
        for h in range(1, horizon + 1)
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.integers(1, H).map(float), st.just(math.inf)), min_size=1, max_size=9))
def test_terms_are_the_increments_of_the_martingale(times: list[float]) -> None:
    """Step by step, for any traces; the sum is the plug-in variance; another problem's traces do not matter."""
    problem = np.array([7] * len(times) + [9, 9, 9])
    number, solved, step, term = variance_by_step(problem, np.array([*times, 1.0, 5.0, math.inf]), H)
    mine = number == 7
    found = np.zeros(H)
    found[step[mine].astype(int) - 1] = term[mine]
    np.testing.assert_allclose(found, martingale_parts(times, H), atol=1e-12)
    returns = [max(H - t + 1.0, 0.0) for t in times]
    assert term[mine].sum() == pytest.approx(np.var(returns), abs=1e-12)
    assert solved[mine].sum() == sum(map(math.isfinite, times))
    np.testing.assert_array_equal(number[~mine], [9, 9])


@pytest.mark.parametrize("horizon", [2, 7, 10, 37])
def test_parts_add_up_to_the_unbiased_variance(horizon: int) -> None:
    """Over problems of unequal sizes; pieces cover 1..H; shares add up to 1, traces to all of them."""
    rng = np.random.default_rng(horizon)
    problem = np.append(np.repeat(np.arange(30), rng.integers(2, 7, 30)), 30)
    tokens = rng.integers(1, horizon + 4, problem.size).astype(float)
    correct = (rng.random(problem.size) < 0.7).astype(float)
    traces = made(problem, tokens, correct)
    found = decomposition(traces, horizon, 0)
    assert found is not None
    assert found.problems == 30
    moments = problem_moments(problem, traces.returns(horizon))
    total = moments.variance[moments.known_spread].mean()
    assert found.total.estimate == pytest.approx(total, rel=1e-12)
    assert sum(part.variance.estimate for part in found.parts) == pytest.approx(total, rel=1e-12)
    assert sum(part.share.estimate for part in found.parts) == pytest.approx(1.0)
    solved = sum(part.solved.estimate for part in found.parts)
    assert solved + found.never.estimate == pytest.approx(1.0)
    assert [part.after for part in found.parts] == [0, *[part.until for part in found.parts[:-1]]]
    assert found.parts[-1].until == horizon
    json.dumps(found.as_dict())


def test_steps_lie_in_their_piece() -> None:
    """A problem that solves at h or never has all its variance in the piece of h."""
    for horizon in (10, 23, 100):
        for h in range(1, horizon + 1, 3):
            found = decomposition(made([0, 0, 0], [h, h, 1.0], [1, 1, 0]), horizon, 0)
            assert found is not None
            (holder,) = [part for part in found.parts if part.variance.estimate > 0.0]
            assert holder.after < h <= holder.until
            assert holder.variance.estimate == pytest.approx((horizon - h + 1) ** 2 / 3)


def by_theory(masses: np.ndarray) -> np.ndarray:
    """Terms of the identity for T of the given masses: a process of two states, unsolved and solved."""
    survival = 1.0 - np.append(0.0, np.cumsum(masses)[:-1])
    hazard = masses / survival
    policy = [np.array([[1.0 - p, p], [1.0, 0.0]]) for p in hazard]
    moves, rewards = np.array([[0, 1], [1, 1]]), np.array([[0.0, 1.0], [1.0, 1.0]])
    size = len(masses)
    return np.asarray(decompose(np.array([1.0, 0.0]), policy, [moves] * size, [rewards] * size).by_actions)


def test_intervals_cover_the_exact_parts() -> None:
    """Planted problems of two gammas, 40 samples each: parts of the exact law lie in their intervals mostly."""
    horizon, pieces = 60, 10
    laws = [solve_time_law((0, 1, 2), 6, g, horizon) for g in (1.0, 3.0)]
    exact = np.array([by_theory(law.masses) for law in laws]).reshape(2, pieces, -1).sum(axis=2)
    np.testing.assert_allclose(exact.sum(axis=1), [law.sd_return**2 for law in laws], rtol=1e-9)
    truth = exact.mean(axis=0)
    rng, hits, repeats = np.random.default_rng(0), 0, 60
    for repeat in range(repeats):
        kind = rng.integers(0, 2, 80)
        times = np.concatenate(
            [
                rng.choice(
                    np.append(np.arange(1.0, horizon + 1), math.inf), 40, p=np.append(laws[k].masses, laws[k].never)
                )
                for k in kind
            ]
        )
        found = decomposition(
            made(np.repeat(np.arange(80), 40), np.where(times < math.inf, times, 1.0), times < math.inf),
            horizon,
            repeat,
        )
        assert found is not None
        hits += sum(p.variance.low <= t <= p.variance.high for p, t in zip(found.parts, truth, strict=True))
        shares = truth / truth.sum()
        hits += sum(p.share.low <= t <= p.share.high for p, t in zip(found.parts, shares, strict=True))
    assert hits / (2 * pieces * repeats) >= 0.91


def test_there_is_none_without_tokens_or_samples() -> None:
    """No tokens, H = 1, one trace a problem, or all of them cut off: None."""
    assert decomposition(made([0, 0], [math.nan, math.nan]), 1, 0) is None
    assert decomposition(made([0, 0], [1, 2]), 1, 0) is None
    assert decomposition(made([0, 1], [1, 2]), 5, 0) is None
    assert decomposition(made([0, 0], [1, 2], [0, 0], [1, 1]), 5, 0) is None


def test_a_run_without_variance_has_no_shares() -> None:
    """All solve at one step: every part is 0, shares are not known."""
    found = decomposition(made([0, 0, 1, 1], [3, 3, 4, 4]), 10, 0)
    assert found is not None
    assert found.total.estimate == 0.0
    assert all(math.isnan(part.share.estimate) for part in found.parts)
