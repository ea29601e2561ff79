r"""Clone, verify, or undecided: from all evidence on J(VB) - J(VF), with its reasons and what would settle it.

The level is shared: of e pieces of evidence each is taken at :math:`1-\alpha/e`, so that with probability
:math:`1-\alpha` (over traces; bounds on learners hold in expectation over their training data) none is wrong. The
decision is what some piece says, if none says the other. Where VF clones traces of the base itself ``clone`` is no
possible outcome of bounds: at equal base draws VF is a garbling of what VB sees (``garbling``).

The prediction (:func:`llm_validation.bands.predicted_gap`) is a theorem on the mirrored codebook only. Alone it decides
nothing unless ``trust_prediction``: then it counts as evidence that rests on the assumption that the policy class is as
hard to clone as the codebook.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from llm_validation.bands import Prediction, predicted_gap
from llm_validation.evidence import Evidence, Part, Question, Sampled, bounds_and_measurements, from_curves, sampled
from llm_validation.reasons import reasons
from llm_validation.traces import Traces

__all__ = ["Anticoncentrated", "Decision", "decide"]

Verdict = Literal["clone", "verify", "undecided"]

#: The grid of n on which the crossover is sought, and of complexities, nats.
LARGEST_N, COMPLEXITIES = 2**40, tuple(2.0**k for k in range(1, 15))
#: Radii kappa tried, each twice the one before.
_DOUBLINGS = 8


@dataclass(frozen=True, slots=True)
class Anticoncentrated:
    """Lower confidence bounds on sigma (tokens) and on every problem's c at epsilon up to ``largest``."""

    sigma: float
    c: float
    largest: float


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict at one budget, with all that it rests on."""

    H: int
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    reasons: tuple[str, ...]
    would_settle: tuple[str, ...]
    parts: tuple[Part, ...]
    n_star: int | None  # smallest n from which on the bounds decide
    largest_log_class: float | None  # nats of both classes up to which the bounds decide at n
    farthest_kappa: float | None = None  # kappa up to which the bounds say verify
    prediction: Prediction | None = None
    sampled: Sampled | None = None
    sensitivity: tuple[tuple[int, str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "verdict": self.verdict,
            "H": self.H,
            "evidence": [
                {**{f.name: getattr(e, f.name) for f in dataclasses.fields(e) if f.name != "parts"}, "says": e.verdict}
                for e in self.evidence
            ],
            "reasons": list(self.reasons),
            "would_settle": list(self.would_settle),
            "parts": [{"says": part.says, "kind": part.kind} for part in self.parts],
            "n_star": self.n_star,
            "largest_log_class": self.largest_log_class,
            "farthest_kappa": self.farthest_kappa,
            "prediction": None
            if self.prediction is None
            else {"gap": self.prediction.gap, **dataclasses.asdict(self.prediction)},
            "sensitivity": [{"H": H, "verdict": verdict, "why": why} for H, verdict, why in self.sensitivity],
        }


def decide(
    base: Traces,
    horizon: int,
    question: Question,
    anti: Sequence[Anticoncentrated] = (),
    trust_prediction: bool = False,
    brief: bool = False,
) -> Decision:
    """The decision for one run at budget ``horizon``. ``brief``: without n*, the largest class, what would settle."""
    predicted = _predicted(horizon, question, anti)
    found, evidence, no_curve, level = _evidence(base, horizon, question)
    if predicted is not None:
        evidence.append(_as_evidence(predicted))
    counted = [e for e in evidence if trust_prediction or e.name != "prediction"]
    said = {e.verdict for e in counted if e.verdict is not None}
    verdict: Verdict = next(iter(said)) if len(said) == 1 else "undecided"
    unit = "tokens" if horizon > 1 else "answers"
    length = float(np.nanmean(base.tokens)) if base.has_tokens else math.nan
    lines = reasons(counted, evidence, question, found, length, unit)
    if no_curve:
        lines.append(f"learning curves are not used: {no_curve}")
    if predicted is None and question.own_expert and question.log_policies and question.log_verifiers and not brief:
        lines.append("no prediction: at no margin epsilon > 0 is every problem's c certified to be positive")
    decisive = [e for e in counted if e.verdict == verdict] or counted
    parts = tuple(dict.fromkeys(part for e in decisive for part in e.parts))
    n_star = largest = farthest = None
    if found is not None and not brief:
        n_star, largest = _n_star(found, question), _largest_class(found, question)
        farthest = _farthest(base, horizon, question, level) if verdict == "verify" else None
    if farthest is not None:
        lines.append(
            f"the bounds say verify for experts up to kappa = {farthest:g}, of those tried (each twice the last)"
        )
    settle = () if brief or verdict != "undecided" else tuple(_would_settle(found, question, n_star, largest))
    return Decision(
        horizon, verdict, tuple(evidence), tuple(lines), settle, parts, n_star, largest, farthest, predicted, found
    )


def _evidence(base: Traces, horizon: int, question: Question) -> tuple[Sampled | None, list[Evidence], str, float]:
    """What the traces say, all evidence at its share of the level, why curves are not used, and that level."""
    curves, why_not = None, ""
    if question.curves is not None:
        curves, why_not = from_curves(question.curves, horizon, question.n, question.seed, question.level)
    pieces = (question.log_verifiers is not None) + bool(np.isfinite(base.score).any()) + (curves is not None)
    level = 1.0 - (1.0 - question.level) / max(pieces, 1)
    found = sampled(base, horizon, question, level)
    evidence = bounds_and_measurements(found, question, question.n) if found is not None else []
    if question.curves is not None and curves is not None:
        again, why_not = from_curves(question.curves, horizon, question.n, question.seed, level)
        evidence += [again] if again is not None else []
    return found, evidence, why_not, level


def _predicted(horizon: int, question: Question, anti: Sequence[Anticoncentrated]) -> Prediction | None:
    """The best of the predictions for the margins at which anti-concentration is certified."""
    if not question.own_expert or question.log_policies is None or question.log_verifiers is None:
        return None
    radius, sizes = math.sqrt(question.kappa), (question.log_policies, question.log_verifiers)
    tried = [predicted_gap(horizon, question.n, a.sigma, a.c, min(a.largest, radius), *sizes) for a in anti]
    return max((p for p in tried if p is not None), key=lambda p: (p.inside, p.gap), default=None)


def _as_evidence(predicted: Prediction) -> Evidence:
    parts = (
        Part("the policy class is as hard to clone as the mirrored codebook", "assumption"),
        Part(
            "all problems have at least the sigma and c certified for those sampled, each at level 0.95", "assumption"
        ),
        Part(f"there VF loses at least {predicted.gain:.3g} tokens (vf-lower)", "theorem"),
        Part(f"top-c loses at most {predicted.loss:.3g} tokens (vb-upper-top-c)", "theorem"),
    )
    low = predicted.gap if predicted.inside else -math.inf
    return Evidence("prediction", low, math.inf, math.nan, parts, "a theorem on the codebook only")


def _says(found: Sampled, question: Question, n: int) -> str | None:
    """What the evidence that depends on n says there."""
    verdicts = {e.verdict for e in bounds_and_measurements(found, question, n) if e.name != "measured"} - {None}
    return verdicts.pop() if len(verdicts) == 1 else None


def _n_star(found: Sampled, question: Question) -> int | None:
    """The smallest n from which on the bounds decide, to 1%; None if they do at no n up to 2^40."""
    low, high = 1, LARGEST_N
    says = _says(found, question, high)
    if says is None:
        return None
    while high > low + max(1, low // 100):  # the bands shrink in n
        middle = int(math.sqrt(low * high)) if high > 2 * low else (low + high) // 2
        low, high = (low, middle) if _says(found, question, middle) == says else (middle, high)
    return high


def _farthest(base: Traces, horizon: int, question: Question, level: float) -> float | None:
    """The largest kappa of those tried, doubling, up to which the bounds say verify; None if the expert is outside."""
    if not question.own_expert:
        return None
    farthest = None
    for kappa in (question.kappa * 2.0**k for k in range(_DOUBLINGS)):
        other = dataclasses.replace(question, kappa=kappa)
        found = sampled(base, horizon, other, level)
        if found is None or _says(found, other, question.n) != "verify":
            break
        farthest = kappa
    return farthest


def _largest_class(found: Sampled, question: Question) -> float | None:
    """The largest size of both classes, nats, at which the bounds decide at the n asked for; None if none does."""
    decided = [
        size
        for size in COMPLEXITIES
        if _says(found, dataclasses.replace(question, log_policies=size, log_verifiers=size), question.n)
    ]
    return max(decided, default=None)


def _would_settle(found: Sampled | None, question: Question, n_star: int | None, largest: float | None) -> list[str]:
    if found is None:
        return [f"at least two problems with {max(question.N, 2)} labelled samples each"]
    wanted = []
    if question.log_verifiers is None or question.log_policies is None:
        reach = f"; up to {largest:g} nats each the bounds would decide at n = {question.n}" if largest else ""
        wanted.append(f"sizes of the classes (--log-policies, --log-verifiers){reach}")
    if question.curves is None:
        wanted.append("learning curves of both recipes on this task (--curves)")
    if question.cloned is None:
        wanted.append("traces of the cloned model (--cloned) beside verifier scores of the base's traces")
    if n_star is not None and n_star > question.n:
        wanted.append(f"n of {n_star} training traces or more, from which on the bounds decide")
    top = found.contrasts[-1].difference
    if top.low <= 0.0 <= top.high and top.estimate != 0.0 and math.isfinite(top.width):
        factor = max(math.ceil((0.5 * top.width / abs(top.estimate)) ** 2), 2)
        wanted.append(f"about {factor} times as many problems: sampling alone leaves the sign of the difference open")
    return wanted
