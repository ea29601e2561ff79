"""Two runs on the same problems: matched by name, compared pair by pair, censored traces left open."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_validation.paired import Comparison, _Run, _variances, compare
from llm_validation.traces import Group, TraceError, Traces

H = 10


def run(names: list[str], returns: list[float], cut: dict[int, int] | None = None) -> Traces:
    """One run whose traces have ``returns`` at budget H; ``cut``: trace -> tokens at which it was cut off."""
    order = list(dict.fromkeys(names))
    value = np.array(returns, dtype=float)
    tokens = np.where(value > 0, H + 1 - value, H)
    truncated = np.zeros(value.size, dtype=bool)
    for place, at in (cut or {}).items():
        tokens[place], truncated[place] = at, True
    return Traces(
        problem=np.array([order.index(name) for name in names], dtype=np.int64),
        problems=tuple(order),
        group=np.zeros(value.size, dtype=np.int64),
        groups=(Group("m", ""),),
        correct=np.where(np.isnan(value), math.nan, (value > 0) * 1.0),
        tokens=tokens,
        truncated=truncated,
        score=np.full(value.size, math.nan),
    )


samples = st.lists(st.integers(0, H), min_size=1, max_size=5)


@given(st.lists(st.tuples(samples, samples), min_size=2, max_size=5))
def test_every_pair_counts_once(pairs: list[tuple[list[int], list[int]]]) -> None:
    """Differences of means and shares of improvement are those over all pairs of samples of each problem."""
    names = [[f"p{i}" for i, pair in enumerate(pairs) for _ in pair[side]] for side in (0, 1)]
    values = [[float(v) for pair in pairs for v in pair[side]] for side in (0, 1)]
    found = compare(run(names[0], values[0]), run(names[1], values[1]), H)
    for i, (a, b) in enumerate(pairs):
        better = np.mean([(v > u) + 0.5 * (v == u) for u, v in itertools.product(a, b)])
        assert found.difference[i] == pytest.approx(np.mean(b) - np.mean(a), abs=1e-12)
        assert found.better[i] == pytest.approx(better, abs=1e-12)
    solved = [np.mean(np.array(b) > 0) - np.mean(np.array(a) > 0) for a, b in pairs]
    spread = [np.var(b, ddof=1) - np.var(a, ddof=1) for a, b in pairs if min(len(a), len(b)) > 1]
    assert found.solved.estimate == pytest.approx(np.mean(solved), abs=1e-12)
    assert found.mean.estimate == pytest.approx(found.difference.mean())
    assert found.improvement.estimate == pytest.approx(found.better.mean())
    if spread:
        assert found.variance.estimate == pytest.approx(np.mean(spread), abs=1e-9)
    else:
        assert math.isnan(found.variance.estimate)


def test_problems_are_matched_by_name() -> None:
    """Order and numbers of problems do not matter; those of one run only, or without a known return, are counted."""
    first = run(["a", "a", "b", "c", "c", "d"], [1, 3, 5, 7, 7, 2])
    second = run(["c", "x", "b", "a", "y", "d"], [9, 1, 6, 2, 0, math.nan])
    found = compare(first, second, H)
    assert found.problems == ("a", "b", "c")
    np.testing.assert_array_equal(found.difference, [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(found.better, [0.5, 1.0, 1.0])
    assert (found.only_first, found.only_second, found.left_out, found.censored) == (1, 2, 1, 0)


def test_the_other_way_round_is_the_negative() -> None:
    """Exchanging the runs negates differences and turns the probability of improvement into its complement."""
    rng = np.random.default_rng(0)
    names = [f"p{i}" for i in range(12) for _ in range(4)]
    one, two = (run(names, list(rng.integers(0, H + 1, 48).astype(float))) for _ in range(2))
    there, back = compare(one, two, H), compare(two, one, H)
    for name in ("mean", "variance", "solved"):
        assert getattr(there, name).estimate == pytest.approx(-getattr(back, name).estimate, abs=1e-12)
    assert there.improvement.estimate == pytest.approx(1.0 - back.improvement.estimate)
    assert (there.positive, there.negative) == (back.negative, back.positive)


def test_shares_of_resamples() -> None:
    """A second run that is better on every problem is better in every resample; equal runs never differ."""
    names = ["a", "b", "c", "d"]
    one, two = run(names, [1, 2, 3, 4]), run(names, [2, 4, 9, 5])
    assert (compare(one, two, H).positive, compare(one, two, H).negative) == (1.0, 0.0)
    assert (compare(one, one, H).positive, compare(one, one, H).negative) == (0.0, 0.0)
    mixed = compare(one, run(names, [2, 3, 4, 0]), H)
    exact = np.mean([sum(draw) > 0 for draw in itertools.product([1.0, 1.0, 1.0, -4.0], repeat=4)])
    assert mixed.positive == pytest.approx(exact, abs=0.05)


def test_intervals_cover_and_pairing_narrows_them() -> None:
    """Problems whose difficulty both runs share: 95% intervals of all four quantities miss within 4 standard errors."""
    rng, repeats, X, m = np.random.default_rng(4), 250, 40, 4
    names = [f"p{i}" for i in range(X) for _ in range(m)]
    hits, widths, alone = np.zeros(4), 0.0, 0.0
    # R is 0 or uniform on 1..10, solved with probability p in the first run and p(1 + g)/2 + .1 in the second.
    gain, square = np.arange(1.0, 11.0).mean(), (np.arange(1.0, 11.0) ** 2).mean()
    a, b = 2.0, 1.0
    p1, p2 = a / (a + b), a * (a + 1) / ((a + b) * (a + b + 1))
    q1, q2, pq = 0.5 * p1 + 0.1, 0.25 * p2 + 0.1 * p1 + 0.01, 0.5 * p2 + 0.1 * p1
    both_solved = 0.5  # of two uniform draws, ties half
    truth = [
        (q1 - p1) * gain,
        (q1 - p1) * square - (q2 - p2) * gain**2,
        q1 - p1,
        q1 - pq + 0.5 * (1 - p1 - q1 + pq) + both_solved * pq,
    ]
    for repeat in range(repeats):
        p = np.repeat(rng.beta(a, b, X), m)
        one, two = ((rng.random(X * m) < q) * rng.integers(1, 11, X * m) for q in (p, 0.5 * p + 0.1))
        found = compare(run(names, list(one.astype(float))), run(names, list(two.astype(float))), H, repeat)
        ends = [found.mean, found.variance, found.solved, found.improvement]
        hits += [e.low <= t <= e.high for e, t in zip(ends, truth, strict=True)]
        widths += found.mean.width
        each = [v.reshape(X, m).mean(axis=1).std(ddof=1) / math.sqrt(X) for v in (one, two)]
        alone += 2 * 1.96 * math.hypot(*each)
    assert (hits / repeats >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / repeats)).all(), hits / repeats
    assert widths < 0.97 * alone


def test_censored_traces_are_neither_failed_nor_solved() -> None:
    """The interval holds the estimate of every completion of the traces that were cut off, of all four quantities."""
    names = ["a", "a", "a", "b", "b", "c", "c", "d", "d"]
    returns = [3.0, 0.0, 6.0, 1.0, 9.0, 2.0, 2.0, 5.0, 0.0]
    other = run(names, [4.0, 4.0, 0.0, 2.0, 8.0, 1.0, 3.0, 7.0, 0.0])
    cut = {1: 4, 8: 7}
    found = compare(run(names, returns, cut), other, H)
    back = compare(other, run(names, returns, cut), H)
    assert found.censored == 2
    for u, v in itertools.product(range(7), range(4)):
        full = [3.0, u, 6.0, 1.0, 9.0, 2.0, 2.0, 5.0, v]
        there = compare(run(names, full), other, H)
        for name in ("mean", "variance", "solved", "improvement"):
            value, open_ = getattr(there, name), getattr(found, name)
            assert open_.low <= value.estimate <= open_.high
        assert back.mean.low <= -there.mean.estimate <= back.mean.high
    least, most = (compare(run(names, [*returns[:1], u, *returns[2:8], v]), other, H) for u, v in ((6, 3), (0, 0)))
    assert found.mean.low == least.mean.low
    assert found.mean.high == most.mean.high
    assert found.mean.low < most.mean.low
    traces = [np.array([3.0, 0.0, 6.0]), np.array([1.0, 9.0]), np.array([2.0, 2.0]), np.array([5.0, 0.0])]
    tops = [np.array([3.0, 6.0, 6.0]), traces[1], traces[2], np.array([5.0, 3.0])]
    bounds = [_variances(_Run(np.zeros(u.size, int), u, t, 1), float(H)) for u, t in zip(traces, tops, strict=True)]
    spread = np.mean(
        [np.var([4, 4, 0], ddof=1), np.var([2, 8], ddof=1), np.var([1, 3], ddof=1), np.var([7, 0], ddof=1)]
    )
    assert found.variance.estimate == pytest.approx(spread - np.mean([0.5 * (u + v) for u, v in bounds]))
    assert "censored" in found.mean.method


@given(
    st.lists(st.integers(0, H), min_size=1, max_size=4), st.lists(st.integers(1, H), min_size=1, max_size=2), st.data()
)
def test_variances_of_censored_samples(known: list[int], tops: list[int], data: st.DataObject) -> None:
    """No completion has a variance outside of the bounds, and the least one is attained."""
    low = np.array([*known, *[0] * len(tops)], dtype=float)
    high = np.array([*known, *tops], dtype=float)
    (least,), (most,) = _variances(_Run(np.zeros(low.size, dtype=np.int64), low, high, 1), float(H))
    share = data.draw(st.lists(st.floats(0.0, 1.0), min_size=len(tops), max_size=len(tops)))
    vertices = itertools.product(*[(0.0, t) for t in tops])
    for free in [[s * t for s, t in zip(share, tops, strict=True)], *map(list, vertices)]:
        assert least - 1e-9 <= np.var([*known, *free], ddof=1) <= most + 1e-9
    centre = np.mean(known)
    for _ in range(200):
        centre = np.mean(np.clip(centre, low, high))
    assert least == pytest.approx(np.var(np.clip(centre, low, high), ddof=1), abs=1e-6)


def test_a_trace_cut_off_at_the_budget_has_failed_there() -> None:
    """Cut at H or later: the return at H is 0, nothing is left open."""
    names = ["a", "b", "c"]
    found = compare(run(names, [1.0, 2.0, 0.0], {2: H}), run(names, [2.0, 2.0, 4.0]), H)
    assert found.censored == 0
    assert found.difference[2] == 4.0


def test_only_two_runs_with_shared_problems_can_be_compared() -> None:
    """Fewer than two shared problems, or several runs on one side: one line says so."""
    one, other = run(["a", "b"], [1.0, 2.0]), run(["b", "c"], [1.0, 2.0])
    with pytest.raises(TraceError, match=r"^the runs share 1 problems .* expected at least 2$"):
        compare(one, other, H)
    two = Traces(
        problem=one.problem,
        problems=one.problems,
        group=np.array([0, 1]),
        groups=(Group("m", "1"), Group("m", "2")),
        correct=one.correct,
        tokens=one.tokens,
        truncated=one.truncated,
        score=one.score,
    )
    with pytest.raises(TraceError, match="the second traces hold 2 runs, expected one"):
        compare(one, two, H)


def test_a_comparison_is_plain_data() -> None:
    """as_dict is JSON with the four intervals and both columns by problem; the seed decides the rest."""
    names = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"]
    one, two = run(names, [1, 2, 3, 4, 0, 5, 6, 7, 1, 1]), run(names, [2, 2, 5, 0, 1, 5, 9, 7, 3, 1])

    def found(seed: int) -> Comparison:
        return compare(one, two, H, seed)

    data = json.loads(json.dumps(found(0).as_dict()))
    assert data["per_problem"]["name"] == ["a", "b", "c", "d", "e"]
    assert data["mean"]["estimate"] == pytest.approx(np.mean(data["per_problem"]["difference"]))
    assert data == found(0).as_dict() != found(1).as_dict()
