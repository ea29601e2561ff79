"""The decision: what bounds, measurements and curves may conclude, and what they may not."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from llm_validation.decision import Anticoncentrated, decide
from llm_validation.evidence import Question, bounds_and_measurements, sampled, value_bands
from llm_validation.learning_curves import LearningCurves
from llm_validation.traces import Group, Traces

H = 32


def traces_of(returns: np.ndarray, horizon: int = H, score: np.ndarray | None = None, names: str = "problem") -> Traces:
    """Traces with the returns (X, m) given."""
    X, m = returns.shape
    flat = returns.reshape(-1).astype(float)
    return Traces(
        problem=np.repeat(np.arange(X), m),
        problems=tuple(f"{names} {i}" for i in range(X)),
        group=np.zeros(X * m, dtype=np.int64),
        groups=(Group("model", ""),),
        correct=(flat > 0).astype(float),
        tokens=np.where(flat > 0, horizon - flat + 1.0, float(horizon)),
        truncated=np.zeros(X * m, dtype=bool),
        score=np.full(X * m, math.nan) if score is None else score.reshape(-1).astype(float),
    )


def coin(p: float, X: int = 100, m: int = 16, seed: int = 0) -> np.ndarray:
    """Returns H with probability p, else 0."""
    return H * (np.random.default_rng(seed).random((X, m)) < p)


def test_nothing_known_of_learning_decides_nothing() -> None:
    """Without class sizes, scores or curves the verdict is undecided, and it says what would settle it."""
    found = decide(traces_of(coin(0.3)), H, Question(n=10_000, N=16))
    assert found.verdict == "undecided"
    assert not found.evidence
    assert any("--log-policies" in wanted for wanted in found.would_settle)


@pytest.mark.parametrize("n", [10, 1_000, 10**6, 10**9])
def test_clones_of_the_base_itself_never_win_by_bounds(n: int) -> None:
    """With an expert of the ball no n and no class gives clone (garbling), even where VB's search is one draw."""
    for N in (1, 16):
        found = decide(traces_of(coin(0.3)), H, Question(n, N, log_policies=1.0, log_verifiers=1.0), brief=True)
        assert found.verdict != "clone"


def test_a_learnable_verifier_and_many_traces_verify() -> None:
    """Small classes, 10^6 traces, kappa = .25: best of 16 beats every expert of the ball."""
    question = Question(10**6, 16, kappa=0.25, log_policies=20.0, log_verifiers=20.0)
    found = decide(traces_of(coin(0.3)), H, question)
    assert found.verdict == "verify"
    assert {part.kind for part in found.parts} == {"theorem", "estimate", "assumption"}


def test_a_far_better_expert_and_one_draw_clone() -> None:
    """An outside expert that nearly always solves, small classes: VB with one draw has no chance."""
    question = Question(10**6, 1, log_policies=20.0, log_verifiers=20.0, expert=traces_of(coin(0.95, seed=1)))
    assert decide(traces_of(coin(0.3)), H, question, brief=True).verdict == "clone"


def test_n_star_is_where_the_bounds_begin_to_decide() -> None:
    """At n* they decide, at 0.97 n* they do not."""
    traces, question = traces_of(coin(0.3)), Question(100, 16, kappa=0.25, log_policies=20.0, log_verifiers=20.0)
    found = decide(traces, H, question)
    assert found.verdict == "undecided"
    assert found.n_star is not None
    assert found.n_star > 100
    at = [
        decide(traces, H, dataclasses.replace(question, n=n), brief=True).verdict
        for n in (found.n_star, int(0.97 * found.n_star))
    ]
    assert at == ["verify", "undecided"]


def test_larger_classes_widen_the_bounds() -> None:
    """Both ends move outwards with the size of either class."""
    base, expert = traces_of(coin(0.3)), traces_of(coin(0.6, seed=1))
    small = Question(50_000, 4, log_policies=5.0, log_verifiers=5.0, expert=expert)
    found = sampled(base, H, small, 0.95)
    assert found is not None
    inner = bounds_and_measurements(found, small, small.n)[0]
    for change in ({"log_policies": 50.0}, {"log_verifiers": 50.0}):
        outer = bounds_and_measurements(found, dataclasses.replace(small, **change), small.n)[0]
        assert outer.low < inner.low or outer.high > inner.high
        assert outer.low <= inner.low
        assert outer.high >= inner.high


def test_contradicting_evidence_decides_nothing() -> None:
    """Scores that lose to the clone beside curves that say verify: undecided, and it says so."""
    n = np.array([100.0, 1000.0] * 2)
    curves = LearningCurves(
        method=("VF", "VF", "VB", "VB"), n=n, H=np.full(4, H), J=np.array([5.0, 5.0, 30.0, 30.0]), se=np.full(4, 0.1)
    )
    wrong_way = np.random.default_rng(2).random((100, 16))
    base = traces_of(coin(0.3), score=wrong_way)
    question = Question(1000, 4, cloned=traces_of(coin(0.9, seed=1)), curves=curves)
    found = decide(base, H, question, brief=True)
    assert {e.verdict for e in found.evidence} == {"clone", "verify"}
    assert found.verdict == "undecided"
    assert any("contradict" in reason for reason in found.reasons)


def test_scores_against_a_clone_are_measured() -> None:
    """A verifier that knows the truth makes best-of-4 beat an equally good clone; a verifier that guesses does not."""
    right = coin(0.4)
    question = Question(1000, 4, cloned=traces_of(coin(0.4, seed=1)))
    assert decide(traces_of(right, score=right), H, question, brief=True).verdict == "verify"
    blind = np.random.default_rng(3).random(right.shape)
    assert decide(traces_of(right, score=blind), H, question, brief=True).verdict == "undecided"


def test_the_prediction_counts_only_when_trusted() -> None:
    """A positive gap on the codebook is shown, and decides only with trust_prediction."""
    question = Question(10_000, 1, log_policies=40.0, log_verifiers=22.0)
    anti = [Anticoncentrated(sigma=15.0, c=0.4, largest=1.0)]
    traces = traces_of(coin(0.5))
    shown = decide(traces, H, question, anti, brief=True)
    assert shown.prediction is not None
    assert shown.prediction.gap > 0.0
    assert shown.verdict == "undecided"
    assert decide(traces, H, question, anti, trust_prediction=True, brief=True).verdict == "verify"


def test_cut_off_traces_are_tried_both_ways() -> None:
    """A trace cut off below the budget is failed in one version and solved at its next token in the other."""
    traces = dataclasses.replace(
        traces_of(np.array([[10.0, 0.0, 0.0]])),
        tokens=np.array([23.0, 20.0, 32.0]),
        truncated=np.array([False, True, True]),
    )
    failed, solved = (version.returns(H) for version in traces.extremes(H))
    assert failed.tolist() == [10.0, 0.0, 0.0]
    assert solved.tolist() == [10.0, 12.0, 0.0]


def test_censoring_can_take_a_decision_back() -> None:
    """What a sure difference decides, a third of traces cut off early leaves open."""
    right = coin(0.4, m=32)
    base = traces_of(right, score=right)
    rival = traces_of(coin(0.6, m=32, seed=1))
    question = Question(1000, 4, cloned=rival)
    assert decide(base, H, question, brief=True).verdict == "verify"
    cut = (np.arange(rival.size) % 3 == 0) & (rival.correct == 0.0)
    short = dataclasses.replace(rival, truncated=cut, tokens=np.where(cut, 1.0, rival.tokens))
    wide = decide(base, H, dataclasses.replace(question, cloned=short), brief=True)
    narrow = decide(base, H, question, brief=True)
    assert wide.evidence[0].low < narrow.evidence[0].low


def test_bands_of_values_hold_the_truth_at_infinite_n() -> None:
    """As n grows VF's band closes on [mu, mu + sigma sqrt(kappa)] and VB's lower edge on best-of-N."""
    base, question = traces_of(coin(0.3, X=400)), Question(100, 16, 0.25, 5.0, 5.0)
    found = sampled(base, H, question, 0.95)
    assert found is not None
    first, last = value_bands(base, found, question, [100, 10**12])
    assert first["vf_low"] <= last["vf_low"] <= 0.3 * H <= last["vf_high"] <= first["vf_high"]
    assert first["vb_low"] <= last["vb_low"] <= H * (1 - 0.7**16) <= last["vb_high"] + 0.01 * H


def test_too_few_samples_are_said() -> None:
    """With one problem nothing is concluded, and it says what is missing."""
    found = decide(traces_of(coin(0.3, X=1)), H, Question(10**6, 8, log_policies=2.0, log_verifiers=2.0))
    assert found.verdict == "undecided"
    assert found.would_settle == ("at least two problems with 8 labelled samples each",)


def test_the_decision_is_plain_data() -> None:
    """as_dict holds only what JSON can."""
    import json

    from llm_validation.diagnosis import plain

    found = decide(traces_of(coin(0.3)), H, Question(10**5, 16, log_policies=20.0, log_verifiers=20.0))
    text = json.dumps(plain(found.as_dict()), allow_nan=False)
    assert json.loads(text)["verdict"] == found.verdict


def test_best_of_fewer_draws_bounds_nothing_from_above() -> None:
    """With 31 draws the contrast is that of 31, and where only 16 samples are there no upper end is claimed."""
    expert = traces_of(coin(0.68, m=64, seed=1))
    question = Question(10**7, 31, log_policies=10.0, log_verifiers=10.0, expert=expert)
    rare = coin(0.05, X=200, m=64)
    assert decide(traces_of(rare), H, question, brief=True).verdict != "clone"
    few = decide(traces_of(coin(0.05, X=200, m=16)), H, dataclasses.replace(question, N=64), brief=True)
    assert few.verdict == "undecided"
    assert all(math.isinf(e.high) for e in few.evidence)


def test_problems_of_few_samples_are_not_left_out() -> None:
    """Where 40% of the problems have too few samples for N draws no contrast is formed at that N."""
    returns = coin(0.5, m=16)
    traces = traces_of(returns)
    keep = (traces.problem >= 40) | (np.arange(traces.size) % 16 < 2)
    found = sampled(traces.where(keep), H, Question(10**6, 8, kappa=1.0), 0.95)
    assert found is None or max(c.N for c in found.contrasts) <= 2


def test_what_is_missing_is_taken_both_ways() -> None:
    """Lengths or labels that are missing only where a clone is right or wrong cannot make a sure verdict."""
    right = coin(0.4)
    base = traces_of(right, score=right)
    clone = traces_of(coin(0.9, seed=1))
    gone = (np.arange(clone.size) % 3 > 0) & (clone.correct == 1.0)
    question = Question(1000, 2, cloned=dataclasses.replace(clone, tokens=np.where(gone, math.nan, clone.tokens)))
    assert decide(base, H, question, brief=True).verdict != "verify"
    failures = (np.arange(clone.size) % 20 > 0) & (clone.correct == 0.0)
    nameless = dataclasses.replace(traces_of(coin(0.5, seed=2)), score=np.full(1600, math.nan))
    hidden = dataclasses.replace(
        nameless, correct=np.where(failures & (nameless.correct == 0.0), math.nan, nameless.correct)
    )
    assert decide(base, H, dataclasses.replace(question, cloned=hidden), brief=True).verdict != "clone"


def test_scores_of_some_traces_only_are_not_used() -> None:
    """Where a fifth of the traces has no score best-of-N under scores is not measured."""
    right = coin(0.4)
    score = np.where((right == 0) & (np.arange(right.size).reshape(right.shape) % 5 == 0), math.nan, right)
    found = decide(traces_of(right, score=score), H, Question(1000, 4, cloned=traces_of(coin(0.4, seed=1))), brief=True)
    assert not found.evidence


def test_other_problems_are_an_assumption() -> None:
    """Two files of other problems are compared unpaired, and it says that they are taken for one population."""
    expert = traces_of(coin(0.9, seed=1), names="other")
    question = Question(10**6, 1, log_policies=5.0, log_verifiers=5.0, expert=expert)
    found = decide(traces_of(coin(0.2)), H, question, brief=True)
    assert any("one population" in part.says for part in found.parts)


def test_the_bound_on_the_ball_is_not_too_low() -> None:
    """Two problems of 8 samples, p = .05: the estimate of mu + sigma sqrt(kappa) is above it on average."""
    from llm_validation.evidence import _ball_expert

    rng = np.random.default_rng(8)
    truth = 0.05 + math.sqrt(0.05 * 0.95)
    found = [
        _ball_expert(traces_of(1 * (rng.random((2, 8)) < 0.05), horizon=1), 1, 1.0).values.mean() for _ in range(3000)
    ]
    assert np.mean(found) >= truth - 3.0 * np.std(found) / math.sqrt(3000)
