"""Quality of a verifier's scores: what is known of them comes out, and intervals cover it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from llm_validation.calibration import probabilities
from llm_validation.traces import Group, Traces
from llm_validation.verifier_quality import VerifierQuality, auroc, verifier_quality

H = 20


def made(problem: Any, **columns: Any) -> Traces:
    """Traces of one run; without columns all are wrong, of one token, without a score."""
    size = len(problem)
    fields: dict[str, Any] = {
        "problem": np.asarray(problem, dtype=np.int64),
        "problems": tuple(f"p{i}" for i in range(int(max(problem)) + 1)),
        "group": np.zeros(size, dtype=np.int64),
        "groups": (Group("m", ""),),
        "correct": np.zeros(size),
        "tokens": np.ones(size),
        "truncated": np.zeros(size, dtype=bool),
        "score": np.full(size, math.nan),
    }
    for name, column in columns.items():
        fields[name] = np.asarray(column, dtype=bool if name == "truncated" else np.float64)
    return Traces(**fields)


def judged(traces: Traces, horizon: int = H, seed: int = 0) -> VerifierQuality:
    found = verifier_quality(traces, horizon, seed)
    assert found is not None
    return found


def calibrated(problems: int, m: int, seed: int) -> Traces:
    """Labels drawn from the scores themselves, which differ between and within problems."""
    rng = np.random.default_rng(seed)
    problem = np.repeat(np.arange(problems), m)
    score = 1 / (1 + np.exp(-rng.normal(size=problems)[problem] - rng.normal(size=problem.size)))
    correct = (rng.random(problem.size) < score).astype(float)
    return made(problem, score=score, correct=correct, tokens=rng.integers(1, H + 1, problem.size))


def test_the_error_is_what_the_definition_says() -> None:
    """|score (H - tokens + 1)^+ - R|, averaged in a problem, then over problems; a trace over budget errs by 0."""
    traces = made(
        [0, 0, 0, 1], score=[0.5, 1.0, 0.25, 0.9], correct=[1, 1, 0, 0], tokens=[H, H + 5, H - 3, 1]
    )  # errors .5, 0, 1 and 18
    found = judged(traces)
    assert found.epsilon_ver.estimate == pytest.approx((1.5 / 3 + 18) / 2)
    assert found.epsilon_share.estimate == pytest.approx(found.epsilon_ver.estimate / H)
    assert found.brier.estimate == pytest.approx(((0.25 + 0 + 0.0625) / 3 + 0.81) / 2)
    bare = judged(dataclasses.replace(traces, tokens=np.full(4, math.nan)), 1)
    assert bare.epsilon_ver.estimate == pytest.approx(((0.5 + 0 + 0.25) / 3 + 0.9) / 2)
    assert bare.length is None


def test_a_perfect_verifier_has_no_error() -> None:
    """The label itself as the score: no error, order 1, calibrated, never over-optimised."""
    traces = calibrated(40, 16, 0)
    found = judged(dataclasses.replace(traces, score=traces.correct))
    assert found.epsilon_ver.estimate == found.brier.estimate == found.ece == 0.0
    assert found.auroc.estimate == found.auroc_within.estimate == 1.0
    assert found.over_optimisation is not None
    assert not found.over_optimisation.is_seen


scores = st.lists(st.sampled_from([0.1, 0.2, 0.7]), min_size=2, max_size=12)


@given(score=scores, data=st.data())
@settings(max_examples=60, deadline=None)
def test_auroc_counts_pairs(score: list[float], data: st.DataObject) -> None:
    """The share of pairs, right above wrong, ties half: over all traces, and within each problem."""
    size = len(score)
    right = data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    problem = data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))

    def area(places: list[int]) -> float:
        pairs = [(score[i], score[j]) for i, j in itertools.product(places, places) if right[i] > right[j]]
        return float(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])) if pairs else math.nan

    found = judged(made(problem, score=score, correct=right))
    np.testing.assert_allclose(found.auroc.estimate, area(list(range(size))), atol=1e-12)
    within = [a for x in range(3) if math.isfinite(a := area([i for i in range(size) if problem[i] == x]))]
    assert found.both_labels == len(within)
    np.testing.assert_allclose(found.auroc_within.estimate, np.mean(within) if within else math.nan, atol=1e-12)


def test_the_interval_of_auroc_covers() -> None:
    """Scores and labels that share what is hard in a problem: 300 repeats of 30 problems with 8 samples."""

    def drawn(rng: np.random.Generator, problems: int) -> tuple[Any, Any, Any]:
        ease, problem = rng.normal(size=problems), np.repeat(np.arange(problems), 8)
        right = (rng.random(problem.size) < 1 / (1 + np.exp(-2 * ease[problem]))).astype(float)
        return problem, right + 0.5 * ease[problem] + rng.normal(size=problem.size), right

    rng = np.random.default_rng(1)
    problem, score, right = drawn(rng, 100_000)
    truth = roc_auc_score(right, score)
    assert auroc(problem, score, right, 0).estimate == pytest.approx(truth, abs=1e-12)
    hits = sum(i.low <= truth <= i.high for repeat in range(300) for i in (auroc(*drawn(rng, 30), seed=repeat),))
    assert hits / 300 >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / 300)
    problem, score, right = drawn(rng, 30)
    within_one = auroc(np.arange(problem.size), score, right, 0)  # as if all traces were independent
    assert within_one.width < auroc(problem, score, right, 0).width


def test_order_between_problems_is_no_order_within() -> None:
    """A score that tells easy problems from hard ones orders all traces, and no two of one problem."""
    rng = np.random.default_rng(2)
    rate = rng.choice([0.1, 0.9], size=100)
    problem = np.repeat(np.arange(100), 10)
    correct = (rng.random(1000) < rate[problem]).astype(float)
    found = judged(made(problem, correct=correct, score=rate[problem]))
    assert found.auroc.low > 0.8
    assert found.auroc_within.estimate == 0.5


def test_one_label_leaves_the_order_unknown() -> None:
    """All wrong: NaN in [0, 1], and a note."""
    found = judged(made([0, 0, 1], score=[0.1, 0.2, 0.3]))
    assert math.isnan(found.auroc.estimate)
    assert (found.auroc.low, found.auroc.high) == (0.0, 1.0)
    assert math.isnan(found.auroc_within.estimate)
    assert any("right and wrong" in note for note in found.notes)


def test_calibrated_scores_show_the_error_of_noise_only() -> None:
    """ECE of calibrated scores, over 60 repeats, is on average what noise alone gives; of halved ones it is more."""
    found = [judged(calibrated(30, 10, seed)) for seed in range(60)]
    ratio = np.mean([q.ece for q in found]) / np.mean([q.ece_if_calibrated for q in found])
    assert ratio == pytest.approx(1.0, abs=0.15)
    traces = calibrated(30, 10, 0)
    halved = judged(dataclasses.replace(traces, score=traces.score / 2))
    assert halved.ece > 3 * halved.ece_if_calibrated


def test_bins_hold_equally_many_and_ties_stay_together() -> None:
    """Ten bins of 30 traces; a score with three values has three bins at most."""
    bins = judged(calibrated(30, 10, 1)).bins
    assert [b.count for b in bins] == [30] * 10
    assert all(a.score < b.score for a, b in itertools.pairwise(bins))
    coarse = judged(made([0] * 10, score=[0.1] * 5 + [0.4] * 2 + [0.8] * 3, correct=[0, 1] * 5)).bins
    assert [(b.count, b.score, b.right) for b in coarse] == [
        (5, pytest.approx(0.1), 0.4),
        (2, pytest.approx(0.4), 0.5),
        (3, pytest.approx(0.8), pytest.approx(2 / 3)),
    ]


def test_logits_become_the_probabilities_behind_them() -> None:
    """Isotonic regression recovers them but for its noise, from labels of other problems only."""
    traces = calibrated(400, 8, 3)
    logits = dataclasses.replace(traces, score=np.log(traces.score / (1 - traces.score)) * 3 + 7)
    found = probabilities(logits, 0)
    assert found.is_fitted
    assert np.abs(found.values - traces.score).mean() < 0.03
    raw, fitted = judged(traces), judged(logits)
    assert "isotonic" in fitted.how
    assert fitted.epsilon_ver.estimate == pytest.approx(raw.epsilon_ver.estimate, rel=0.05)
    assert fitted.auroc == raw.auroc
    flipped = dataclasses.replace(logits, correct=np.where(traces.problem == 5, 1 - traces.correct, traces.correct))
    np.testing.assert_array_equal(
        probabilities(flipped, 0).values[traces.problem == 5], found.values[traces.problem == 5]
    )


def test_every_problem_weighs_the_same_in_the_fit() -> None:
    """Ninety wrong traces of one problem and a right one of another, of one score: one half."""
    traces = made([0] * 90 + [1, 2], score=[5.0] * 92, correct=[0] * 90 + [1, 0])
    assert probabilities(traces, 0).values[-1] == pytest.approx(0.5)


def test_one_problem_fits_no_probabilities() -> None:
    """Nothing else to fit on: unknown, not made up; order is still known."""
    found = judged(made([0, 0], score=[-2, 5], correct=[0, 1]))
    assert math.isnan(found.epsilon_ver.estimate)
    assert math.isnan(found.ece)
    assert found.bins == ()
    assert found.auroc.estimate == 1.0


def exploited(seed: int, share: float) -> Traces:
    """A score that is good, but for a share of wrong traces that it scores above all: search finds them."""
    rng = np.random.default_rng(seed)
    problem = np.repeat(np.arange(100), 64)
    correct = (rng.random(problem.size) < 0.4).astype(float)
    score = 0.5 * correct + 0.4 * rng.random(problem.size)
    score = np.where((correct == 0) & (rng.random(problem.size) < share), 1.0, score)
    return made(problem, correct=correct, score=score)


def test_over_optimisation_is_seen_where_it_is() -> None:
    """Return rises, then falls: the peak lies between, and its loss is beyond doubt; without exploits there is none."""
    found = judged(exploited(0, 0.02)).over_optimisation
    assert found is not None
    assert found.N == (1, 2, 4, 8, 16, 32, 64)
    assert 1 < found.peak < 64
    assert found.is_seen
    assert found.value[0].estimate < max(v.estimate for v in found.value) > found.value[-1].estimate
    honest = judged(exploited(0, 0.0)).over_optimisation
    assert honest is not None
    assert not honest.is_seen


def test_a_peak_of_noise_is_not_called_over_optimisation() -> None:
    """Scores that mean nothing: over 200 repeats a loss is claimed in at most 2.5%, within 4 standard errors."""
    claimed, losses = 0, []
    for seed in range(200):
        rng = np.random.default_rng([seed, 1])
        problem = np.repeat(np.arange(40), 16)
        correct = (rng.random(640) < rng.random(40)[problem]).astype(float)
        found = judged(made(problem, correct=correct, score=rng.random(640)), seed=seed).over_optimisation
        assert found is not None
        claimed += found.is_seen
        losses += [] if found.loss is None else [found.loss.estimate]
    assert claimed / 200 <= 0.025 + 4 * math.sqrt(0.025 * 0.975 / 200)
    assert abs(np.mean(losses)) <= 4 * np.std(losses) / math.sqrt(len(losses))  # not chosen for being large


def test_too_few_problems_tell_nothing_of_over_optimisation() -> None:
    """Seven problems, or one sample each."""
    assert judged(calibrated(7, 8, 0)).over_optimisation is None
    assert judged(calibrated(50, 1, 0)).over_optimisation is None


def test_length_is_told_from_correctness() -> None:
    """Wrong traces are longer and score less: correlated within problems, not within labels; a score of length is."""
    rng = np.random.default_rng(4)
    problem = np.repeat(np.arange(80), 16)
    correct = (rng.random(problem.size) < 0.5).astype(float)
    tokens = np.where(correct == 1, 2, 8) + rng.integers(0, 8, problem.size)
    found = judged(made(problem, correct=correct, tokens=tokens, score=(correct + rng.random(problem.size)) / 2))
    assert found.length is not None
    assert found.length_same_label is not None
    assert found.length.high < -0.3
    assert found.length_same_label.low <= 0 <= found.length_same_label.high
    longer = judged(made(problem, correct=correct, tokens=tokens, score=tokens / 30))
    assert longer.length_same_label is not None
    assert longer.length_same_label.estimate == pytest.approx(1.0)


def test_what_has_no_score_or_no_return_is_left_out_and_told() -> None:
    """No scores, nothing to say; some scores, those; a trace cut off below the budget is of unknown return."""
    assert verifier_quality(made([0, 1]), H, 0) is None
    traces = made(
        [0, 0, 1, 1], score=[0.5, math.nan, 0.5, 0.5], correct=[1, 1, 0, math.nan], tokens=[1, 1, 3, H],
        truncated=[False, False, True, True],
    )  # fmt: skip
    found = judged(traces)
    assert (found.traces, found.problems) == (2, 2)
    assert found.brier.estimate == 0.25
    assert [b.right for b in found.bins] == [0.5]
    assert "1 traces of known return have no score and are left out" in found.notes
    assert "1 scored traces are of unknown return and are left out" in found.notes


def test_it_is_plain_data() -> None:
    """JSON takes it as it is."""
    data = judged(calibrated(20, 8, 0)).as_dict()
    assert json.loads(json.dumps(data, allow_nan=False)).keys() == data.keys()
    assert data["over_optimisation"]["is_seen"] in (True, False)
