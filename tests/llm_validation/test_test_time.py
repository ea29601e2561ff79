"""Curves of search at test time: the formulas are the averages over all subsets."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_validation.test_time import CurvePoint, best_of_n_values, curve_notes, curves, usual_counts
from llm_validation.traces import Group, TraceError, Traces

H = 10


def made(problem: Sequence[int], **columns: Any) -> Traces:
    """Traces of one run; without columns all are wrong, of one token."""
    size = len(problem)
    fields: dict[str, Any] = {
        "problem": np.array(problem, dtype=np.int64),
        "problems": tuple(f"p{i}" for i in range(max(problem) + 1)),
        "group": np.zeros(size, dtype=np.int64),
        "groups": (Group("m", ""),),
        "correct": np.zeros(size),
        "tokens": np.ones(size),
        "truncated": np.zeros(size, dtype=bool),
        "score": np.full(size, math.nan),
    }
    for name, column in columns.items():
        kind = bool if name == "truncated" else object if name in ("text", "answer") else np.float64
        fields[name] = np.array(column, dtype=kind)
    return Traces(**fields)


def over_subsets(m: int, N: int, value: Callable[[tuple[int, ...]], float]) -> float:
    """The mean of ``value`` over all subsets of N of m places."""
    return float(np.mean([value(chosen) for chosen in itertools.combinations(range(m), N)]))


def at(points: Sequence[CurvePoint], method: str, N: int, unit: str = "probability") -> CurvePoint:
    (found,) = [p for p in points if (p.method, p.N, p.unit) == (method, N, unit)]
    return found


labels = st.lists(st.integers(0, 1), min_size=1, max_size=7)


@given(correct=labels, data=st.data())
@settings(max_examples=60, deadline=None)
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(correct: list[int], data: st.DataObject) -> None:
    """And 1 - C(m-c,k)/C(m,k)."""
    m, c = len(correct), sum(correct)
    k = data.draw(st.integers(1, m))
    points = curves(made([0] * m, correct=correct), H, 0, counts=[k])
    expected = over_subsets(m, k, lambda chosen: max(correct[i] for i in chosen))
    assert at(points, "pass@k", k).value.estimate == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx(1.0 - math.comb(m - c, k) / math.comb(m, k), abs=1e-12)


@given(correct=labels, data=st.data())
@settings(max_examples=60, deadline=None)
def test_best_of_n_is_the_mean_over_subsets(correct: list[int], data: st.DataObject) -> None:
    """Largest return by the oracle; by the score the mean return of those with the largest score of the subset."""
    m = len(correct)
    N = data.draw(st.integers(1, m))
    tokens = data.draw(st.lists(st.integers(1, H + 2), min_size=m, max_size=m))
    score = data.draw(st.lists(st.sampled_from([-1.0, 0.25, 3.0]), min_size=m, max_size=m))
    traces = made([0] * m, correct=correct, tokens=tokens, score=score)
    returns = [c * max(H - t + 1, 0) for c, t in zip(correct, tokens, strict=True)]

    def kept(chosen: tuple[int, ...]) -> float:
        top = max(score[i] for i in chosen)
        return float(np.mean([returns[i] for i in chosen if score[i] == top]))

    (_, best), (_, scored) = (best_of_n_values(traces, H, N, by) for by in ("oracle", "score"))
    assert best[0] == pytest.approx(over_subsets(m, N, lambda s: max(returns[i] for i in s)), abs=1e-9)
    assert scored[0] == pytest.approx(over_subsets(m, N, kept), abs=1e-9)
    points = curves(traces, H, 0, counts=[N])
    assert at(points, "best-of-N (oracle)", N, "tokens").value.estimate == pytest.approx(best[0])
    assert at(points, "best-of-N (score)", N, "tokens").value.estimate == pytest.approx(scored[0])


@given(answer=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=7), data=st.data())
@settings(max_examples=60, deadline=None)
def test_votes_are_the_mean_over_subsets(answer: list[str | None], data: st.DataObject) -> None:
    """The heaviest answer, ties at random; a is right, b half of the time, and who gives none casts no vote."""
    m = len(answer)
    N = data.draw(st.integers(1, m))
    score = data.draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=m, max_size=m))
    seen = 0
    correct = []
    for name in answer:
        seen += name == "b"
        correct.append(float(name == "a" or (name == "b" and seen % 2 == 1)))
    right = {
        name: np.mean([c for c, n in zip(correct, answer, strict=True) if n == name]) for name in set(answer) - {None}
    }

    def elected(weight: Sequence[float]) -> Callable[[tuple[int, ...]], float]:
        def value(chosen: tuple[int, ...]) -> float:
            votes = {n: sum(weight[i] for i in chosen if answer[i] == n) for n in {answer[i] for i in chosen} - {None}}
            winners = [right[n] for n, v in votes.items() if v == max(votes.values())]
            return float(np.mean(winners)) if winners else 0.0

        return value

    points = curves(made([0] * m, correct=correct, score=score, answer=answer), H, 0, counts=[N])
    majority, weighted = at(points, "majority vote", N), at(points, "score-weighted vote", N)
    assert majority.value.estimate == pytest.approx(over_subsets(m, N, elected([1.0] * m)), abs=1e-9)
    assert weighted.value.estimate == pytest.approx(over_subsets(m, N, elected(score)), abs=1e-9)
    assert majority.note == ""


def test_subsets_are_drawn_where_there_are_too_many() -> None:
    """16 of 40: over a thousand seeded subsets a problem, which is told, within 4 of their standard errors of exact."""
    counts = {"a": 17, "b": 12, "c": 11}
    answer = [name for name, number in counts.items() for _ in range(number)]
    traces = made([0] * 40 + [1] * 40, correct=[float(name == "a") for name in answer] * 2, answer=answer * 2)
    (point,) = (p for p in curves(traces, H, 0, counts=[16]) if p.method == "majority vote")
    exact = 0.0
    for a in range(17):
        for b in range(13):
            c = 16 - a - b
            if 0 <= c <= 11:
                ways = math.comb(17, a) * math.comb(12, b) * math.comb(11, c)
                top = max(a, b, c)
                exact += ways * (a == top) / [a, b, c].count(top)
    exact /= math.comb(40, 16)
    assert "1024 random subsets" in point.note
    assert point.value.estimate == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 2048))
    assert point.value.method != "no spread seen"  # equal problems, but subsets of their own
    assert point.value != at(curves(traces, H, 1, counts=[16]), "majority vote", 16).value


def test_sums_of_scores_tie_up_to_rounding() -> None:
    """0.1 + 0.2 is as heavy as 0.3."""
    traces = made([0, 0, 0], correct=[1, 1, 0], answer=["a", "a", "b"], score=[0.1, 0.2, 0.3])
    assert at(curves(traces, H, 0, counts=[3]), "score-weighted vote", 3).value.estimate == 0.5


def test_traces_without_a_score_are_no_samples_where_scores_pick() -> None:
    """Two of three are scored: the pair of them is the only subset, and there is none of three."""
    traces = made([0, 0, 0], correct=[1, 0, 1], score=[0.2, 0.3, math.nan])
    assert best_of_n_values(traces, H, 2, "score")[1].tolist() == [0.0]
    assert best_of_n_values(traces, H, 3, "score")[1].size == 0
    points = curves(traces, H, 0, counts=[2, 3])
    assert [p.N for p in points if p.method == "best-of-N (score)" and p.unit == "tokens"] == [2]
    assert "1 labelled traces without a score are no samples where scores pick" in curve_notes(traces, H)


def test_problems_are_sorted_and_those_with_fewer_samples_are_left_out() -> None:
    """Problem 2 comes first in the file and has one sample; problem 1 has an unlabelled third one."""
    traces = made(
        [2, 0, 1, 1, 0, 1, 0],
        correct=[1, 1, 0, 1, 0, math.nan, 0],
        tokens=[1, 2, 1, 4, 1, 1, 1],
    )
    numbers, values = best_of_n_values(traces, H, 2)
    np.testing.assert_array_equal(numbers, [0, 1])
    np.testing.assert_allclose(values, [9 * 2 / 3, 7.0])
    assert usual_counts(traces.problem[np.isfinite(traces.correct)]) == [1]
    points = curves(traces, H, 0, counts=[1, 3])
    assert [at(points, "pass@k", N).problems for N in (1, 3)] == [3, 1]
    assert any(p.N == 3 for p in points)
    assert not any(p.N == 4 for p in curves(traces, H, 0, counts=[4]))


def test_counts_go_up_to_what_four_fifths_have() -> None:
    """Eight of ten problems have 9 samples, two have 2: N = 1, 2, 4, 8; one more of the short ones and it ends at 2."""
    long, short = [i for i in range(8) for _ in range(9)], [i for i in (8, 9) for _ in range(2)]
    assert usual_counts(np.array(long + short)) == [1, 2, 4, 8]
    assert usual_counts(np.array([*long[9:], *short, 0, 0])) == [1, 2]
    points = curves(made(long + short), 1, 0)
    assert [p.N for p in points] == [1, 2, 4, 8]
    assert [p.problems for p in points] == [10, 10, 8, 8]
    assert "2 of 10 problems have fewer than 8 samples and end before" in curve_notes(made(long + short), 1)


def test_cost_is_draws_times_tokens() -> None:
    """N times the mean over problems of the mean tokens, at most H each; the verifier reads what it scores."""
    traces = made([0, 0, 1, 1], tokens=[2, 4, 20, math.nan], score=[0.1, 0.2, 0.3, 0.4])
    points = curves(traces, H, 0, params=3.0, verifier_params=0.5)
    oracle, scored = at(points, "best-of-N (oracle)", 2, "tokens"), at(points, "best-of-N (score)", 2, "tokens")
    assert oracle.tokens == scored.tokens == 2 * (3 + 10) / 2
    assert (oracle.flops, scored.flops) == (2 * 3 * 13, 2 * 3 * 13 + 2 * 0.5 * 13)
    unknown = curves(traces, H, 0, params=3.0)
    assert math.isnan(at(unknown, "best-of-N (score)", 2, "tokens").flops)
    assert at(unknown, "pass@k", 2).flops == 2 * 3 * 13
    bare = dataclasses.replace(traces, tokens=np.full(4, math.nan))
    assert all(math.isnan(p.tokens) and math.isnan(p.flops) for p in curves(bare, 1, 0, params=3.0))


def test_without_tokens_only_labels_are_kept() -> None:
    """At H = 1 every curve is a probability, and best-of-N by the oracle is pass@k."""
    traces = made([0, 0, 1, 1], correct=[1, 0, 0, 0], score=[1, 2, 3, 4], tokens=[math.nan] * 4)
    points = curves(traces, 1, 0)
    assert {p.unit for p in points} == {"probability"}
    assert {p.method for p in points} == {"pass@k", "best-of-N (score)"}
    assert at(points, "best-of-N (score)", 2).value.estimate == 0.0
    assert at(points, "pass@k", 2).value.estimate == best_of_n_values(traces, 1, 2)[1].mean() == 0.5


def test_cut_off_traces_span_both_extremes() -> None:
    """Left out of the estimate; failed and solved-next in the interval; a draw without a vote; known above the cut."""
    problem = np.repeat(np.arange(30), 4)
    correct, cut = np.tile([1.0, 0.0, 0.0, 0.0], 30), np.tile([False, False, False, True], 30)
    answer = np.where(correct == 1.0, "a", "b")
    traces = made(problem, correct=correct, truncated=cut, tokens=np.full(120, 4.0), answer=answer)
    point = at(curves(traces, H, 0), "pass@k", 1)
    assert point.value.estimate == pytest.approx(1 / 3)
    assert point.value.low <= 1 / 4
    assert point.value.high >= 1 / 2
    assert "both extremes" in point.note
    tokens = at(curves(traces, H, 0), "best-of-N (oracle)", 1, "tokens").value
    assert tokens.low <= 7 / 4
    assert tokens.high >= 7 / 4 + 6 / 4
    known = at(curves(traces, 4, 0), "pass@k", 1)
    assert known.note == ""
    assert known.value.estimate == 0.25
    pairs = {(0, 1): 0.5, (0, 2): 0.5, (0, 3): 1.0, (1, 2): 0.0, (1, 3): 0.0, (2, 3): 0.0}
    votes = curves(traces, H, 0)
    assert at(votes, "majority vote", 1).value.estimate == 0.25
    assert at(votes, "majority vote", 2).value.estimate == pytest.approx(sum(pairs.values()) / 6)
    lost = dataclasses.replace(traces, tokens=np.where(cut, math.nan, 4.0))
    failed, solved = (version.returns(H)[cut] for version in lost.extremes(H))
    assert set(failed) == {0.0}
    assert set(solved) == {float(H)}


def test_traces_over_budget_are_not_right() -> None:
    """A correct answer after H tokens solves nothing and casts no vote."""
    traces = made([0, 0], correct=[1, 0], tokens=[H + 1, 1], answer=["a", "b"])
    points = curves(traces, H, 0)
    assert at(points, "pass@k", 2).value.estimate == 0.0
    assert at(points, "majority vote", 2).value.estimate == 0.0
    assert at(curves(traces, H + 1, 0), "majority vote", 2).value.estimate == 0.5


def test_scores_that_are_no_probabilities_weigh_as_what_they_predict() -> None:
    """Logits vote as well as the probabilities they stand for: a vote of raw negative scores would elect the worst."""
    rng = np.random.default_rng(0)
    problem = np.repeat(np.arange(200), 5)
    correct = (rng.random(1000) < 0.6).astype(float)
    logit = np.where(correct == 1.0, -3.0, -4.0) + 0.3 * rng.normal(size=1000)
    answer = np.where(correct == 1.0, "a", "b")
    points = curves(made(problem, correct=correct, score=logit, answer=answer), H, 0)
    assert at(points, "score-weighted vote", 4).value.low > at(points, "majority vote", 4).value.high


def test_nothing_is_said_of_votes_without_answers() -> None:
    """No answers, no vote, and a note; answers that labels contradict, or that are missing, are told."""
    traces = made([0, 0, 1, 1], correct=[1, 0, 1, 1], tokens=[1, 2, 3, 4])
    assert {p.method for p in curves(traces, H, 0)} == {"pass@k", "best-of-N (oracle)"}
    assert any("no votes" in note for note in curve_notes(traces, H))
    odd = dataclasses.replace(traces, answer=np.array(["a", "a", "a", None], dtype=object))
    notes = curve_notes(odd, H)
    assert "1 labelled traces give no answer: they cast no vote" in notes
    assert "1 of 2 answers are called right and wrong: they count as the share of right" in notes


def test_impossible_counts_are_refused() -> None:
    """N = 0 keeps nothing."""
    with pytest.raises(TraceError, match="N = 0"):
        curves(made([0]), H, 0, counts=[0])
    with pytest.raises(TraceError, match="N = 0"):
        best_of_n_values(made([0]), H, 0)
    assert curves(made([0], correct=[math.nan]), H, 0) == []
    assert best_of_n_values(made([0], correct=[math.nan]), H, 1)[0].size == 0


def test_large_sets_of_samples_are_exact() -> None:
    """pass@k at m = 2,000, where binomials overflow a float."""
    correct = np.zeros(2000)
    correct[:3] = 1.0
    point = at(curves(made([0] * 2000, correct=correct), H, 0, counts=[1000]), "pass@k", 1000)
    assert point.value.estimate == pytest.approx(1 - math.comb(1997, 1000) / math.comb(2000, 1000), rel=1e-9)
