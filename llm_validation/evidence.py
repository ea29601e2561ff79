r"""What is known of J(VB) - J(VF) at budget H and n training traces: each piece of evidence with its interval.

VB is best-of-N from the base under a verifier, VF the clone of an expert. Each is known in one of two ways:

=======  =======================================  ================================================================
side     measured                                 bounded (:mod:`llm_validation.bands`)
=======  =======================================  ================================================================
VB       best-of-N under the scores in the file   best-of-N with the true return, above; less
                                                  :math:`N\varepsilon_{ver}`, below (at the best N' <= N)
VF       traces of the clone itself               the expert's value :math:`\pm` ``vf-upper``
=======  =======================================  ================================================================

The expert is outside (its traces are given) or the best one of the ball of radius kappa around the base, whose value is
at most :math:`E_x\mu_x+\sqrt\kappa\,\sigma_x` (``chi2-expert``) and at least that of the base. For any
:math:`\lambda>0`, :math:`\sigma_x\le(\sigma_x^2/\lambda+\lambda)/2`: with :math:`\lambda_x` from one half of a
problem's samples and the unbiased variance of the other half this bounds it from above in expectation, term by term.

The difference of values without the bands is a mean over problems, paired where both sides have the same ones; its
interval is the studentised bootstrap's. Bands are added outside of it. Traces of unknown return (cut off below the
budget, unlabelled, right but of unknown length) are taken as failed and at their best: of all combinations the widest
interval is kept. A contrast is formed only where at least 95% of the base's problems have samples enough for it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llm_validation.bands import best_of_n_loss, cloning_band, expert_sd, verifier_error
from llm_validation.learning_curves import LearningCurves, predict
from llm_validation.moments import Interval, Moments, bootstrap_mean, problem_moments
from llm_validation.test_time import best_of_n_values
from llm_validation.traces import Traces

__all__ = [
    "Contrast",
    "Evidence",
    "Part",
    "Question",
    "Sampled",
    "bounds_and_measurements",
    "from_curves",
    "sampled",
    "value_bands",
]

Floats = NDArray[np.float64]
Kind = Literal["theorem", "estimate", "assumption"]


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a conclusion rests on."""

    says: str
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is asked of the traces of a base model.

    ``n`` training traces; ``N`` draws at deployment; ``kappa`` of the ball in which the cloned expert lies, unless
    ``expert`` traces (of an outside expert) or traces of the ``cloned`` model itself are given; complexities in nats,
    None if not known; ``level`` of all evidence together.
    """

    n: int
    N: int
    kappa: float = 1.0
    log_policies: float | None = None
    log_verifiers: float | None = None
    expert: Traces | None = None
    cloned: Traces | None = None
    curves: LearningCurves | None = None
    seed: int = 0
    level: float = 0.95

    @property
    def own_expert(self) -> bool:
        """Whether VF clones traces that come from the base."""
        return self.expert is None and self.cloned is None


@dataclass(frozen=True, slots=True)
class Evidence:
    """J(VB) - J(VF), tokens, within [low, high]; ``estimate`` where there is one."""

    name: str
    low: float
    high: float
    estimate: float
    parts: tuple[Part, ...]
    note: str = ""

    @property
    def verdict(self) -> Literal["clone", "verify"] | None:
        """The side on which all of the interval lies."""
        return "verify" if self.low > 0.0 else "clone" if self.high < 0.0 else None


@dataclass(frozen=True, slots=True)
class Contrast:
    """Best of N minus VF's expert (or clone), at infinite n: the interval that sampling leaves; tokens."""

    N: int
    difference: Interval


@dataclass(frozen=True, slots=True)
class _Side:
    """Values by problem, and the names of the problems."""

    names: tuple[str, ...]
    values: Floats


def _means(traces: Traces, horizon: int) -> tuple[_Side, Moments]:
    found = problem_moments(traces.problem, traces.returns(horizon))
    return _Side(tuple(traces.problems[i] for i in found.problem), found.mean), found


def _best(traces: Traces, horizon: int, N: int, by: Literal["oracle", "score"]) -> _Side:
    numbers, values = best_of_n_values(traces, horizon, N, by)
    return _Side(tuple(traces.problems[i] for i in numbers), values)


_UNPAIRED = "unpaired: other problems"
#: Share of the problems of the base that a contrast must be about.
_NEARLY_ALL = 0.95
#: Share of the error that the bound on the expert's sd takes.
_OF_SD = 0.1
#: Share of traces that must have a score where best-of-N under scores is measured.
_SCORED = 0.99
#: Least scale of sigma_x: a share of the mean variance of other problems, which is taken as at least this of H^2.
_LEAST_SCALE, _FLOOR = 0.3, 1e-6


def _ball_expert(traces: Traces, horizon: int, kappa: float) -> _Side:
    """Per problem an upper bound, in expectation, on the value of the best expert of the ball.

    lambda_x comes from one half of a problem's samples, sigma_x^2 from the other, and the other way round.
    """
    side, found = _means(traces, horizon)
    halves = _halves(traces, horizon)
    known = found.known_spread & np.logical_and(*(np.isin(found.problem, half.problem) for half in halves))
    if not known.any():
        return _Side((), np.zeros(0))
    variance = found.variance[known]
    spread = (variance.sum() - variance) / max(variance.size - 1, 1)  # of the other problems
    gain = np.zeros(variance.size)
    first, second = (half.variance[np.isin(half.problem, found.problem[known])] for half in halves)
    for one, other in ((first, second), (second, first)):
        scale = np.sqrt(one + _LEAST_SCALE * np.maximum(spread, _FLOOR * horizon**2))
        gain += math.sqrt(kappa) * 0.25 * (other / scale + scale)
    names = tuple(name for name, usable in zip(side.names, known, strict=True) if usable)
    return _Side(names, found.mean[known] + gain)


def _halves(traces: Traces, horizon: int) -> list[Moments]:
    """Moments of the even and of the odd samples of each problem that has two of each at least."""
    returns = traces.returns(horizon)
    known = np.flatnonzero(np.isfinite(returns))
    order = known[np.argsort(traces.problem[known], kind="stable")]
    _, start, count = np.unique(traces.problem[order], return_index=True, return_counts=True)
    place = np.arange(order.size) - np.repeat(start, count)
    enough = np.repeat(count >= 4, count)
    return [
        problem_moments(traces.problem[mine], returns[mine])
        for mine in (order[enough & (place % 2 == parity)] for parity in (0, 1))
    ]


def _difference(first: _Side, second: _Side, horizon: int, level: float, seed: int) -> Interval:
    """Interval of E first - E second: paired over the problems of both, else each on its own."""
    place = {name: i for i, name in enumerate(second.names)}
    pairs = [(i, place[name]) for i, name in enumerate(first.names) if name in place]
    if len(pairs) >= max(2.0, _NEARLY_ALL * len(first.names)):
        rows, columns = np.array(pairs).T
        return bootstrap_mean(
            first.values[rows] - second.values[columns], seed, level, -float(horizon), float(horizon) * 2.0
        )
    half = 1.0 - (1.0 - level) / 2.0
    a, b = (bootstrap_mean(side.values, seed, half, 0.0, float(horizon)) for side in (first, second))
    return Interval(a.estimate - b.estimate, a.low - b.high, a.high - b.low, level, _UNPAIRED)


def _widest(found: Sequence[Interval]) -> Interval:
    """The union of intervals; the estimate of the first."""
    if len(found) == 1:
        return found[0]
    low, high = min(i.low for i in found), max(i.high for i in found)
    return dataclasses.replace(found[0], low=low, high=high)


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """All that the traces say of both sides at one budget; what depends on n is added to it."""

    horizon: int
    contrasts: tuple[Contrast, ...]  # VB bounded: best of N' <= N with the true return
    scored: Contrast | None  # VB measured: under the scores
    sigma_e: float  # of VF's expert: at most, tokens


def _candidates(N: int) -> list[int]:
    """N itself, and the powers of two below it."""
    return sorted({N, *(2**k for k in range(N.bit_length()) if 2**k <= N)})


def sampled(base: Traces, horizon: int, question: Question, level: float) -> Sampled | None:
    """Contrasts of best-of-N' with the expert or clone, at ``level`` together; None where no problem has N draws."""
    other = question.cloned or question.expert
    bases = base.completions(horizon)
    others = [_means(version, horizon)[0] for version in other.completions(horizon)] if other is not None else []
    experts = others or [_ball_expert(version, horizon, question.kappa) for version in bases]
    experts = [side for side in experts if side.values.size >= 2]

    wanted = _NEARLY_ALL * max(np.unique(base.problem).size, 2)
    if other is None:
        experts = [side for side in experts if side.values.size >= wanted]

    def contrast(N: int, by: Literal["oracle", "score"], at: float) -> Contrast | None:
        sides = [side for version in bases if (side := _best(version, horizon, N, by)).values.size >= wanted]
        found = [
            _difference(side, expert, horizon, at, question.seed) for side, expert in itertools.product(sides, experts)
        ]
        return Contrast(N, _widest(found)) if found else None

    counts = _candidates(question.N)
    of_sd, level = 1.0 - _OF_SD * (1.0 - level), 1.0 - (1.0 - _OF_SD) * (1.0 - level)  # both together at level
    each = 1.0 - (1.0 - level) / len(counts)
    contrasts = [c for N in counts if (c := contrast(N, "oracle", each)) is not None]
    if not contrasts:
        return None
    labelled = np.isfinite(base.correct)
    has_scores = bool(labelled.any()) and float(np.isfinite(base.score[labelled]).mean()) >= _SCORED
    scored = contrast(question.N, "score", level) if has_scores else None
    return Sampled(horizon, tuple(contrasts), scored, _sd_of_expert(bases, horizon, question, of_sd))


def _sd_of_expert(bases: Sequence[Traces], horizon: int, question: Question, level: float) -> float:
    """Root mean square sd of VF's expert, its upper confidence bound, tokens.

    Where a share q of the traces is of unknown return the variance is at most 5 q H^2/4 above that of either version: a
    mixture has (1-q) s_1^2 + q s_2^2 + q (1-q) (m_1 - m_2)^2.
    """
    if question.cloned is not None:
        return 0.0
    versions = question.expert.completions(horizon) if question.expert is not None else bases
    top = 0.0
    for version in versions:
        found = _means(version, horizon)[1]
        variance = bootstrap_mean(found.variance[found.known_spread], question.seed, level, 0.0, horizon**2 / 4.0)
        top = max(top, variance.high)
    if len(versions) > 1:
        apart = versions[0].returns(horizon) != versions[1].returns(horizon)
        top = min(top + 1.25 * float(apart.mean()) * horizon**2, horizon**2 / 4.0)
    sd = math.sqrt(top)
    return sd if question.expert is not None else expert_sd(horizon, sd, question.kappa)


def bounds_and_measurements(found: Sampled, question: Question, n: int) -> list[Evidence]:
    """The evidence from traces at ``n``: with VB bounded, and with VB measured where there are scores."""
    H = found.horizon
    band, of_vf = _cloning(found, question, n)
    evidence = []
    if question.log_verifiers is not None:
        error = verifier_error(H, n, question.log_verifiers)
        low, at = max((c.difference.low - best_of_n_loss(H, c.N, error), c.N) for c in found.contrasts)
        parts: tuple[Part, ...] = (
            Part(f"the verifier's error is at most {error:.3g} tokens at n = {n} (verifier-erm)", "theorem"),
            Part(f"best-of-{at} loses at most N times that to the best of the draws", "theorem"),
            Part(
                f"the true return is one of a class of {question.log_verifiers:g} nats; labels are right", "assumption"
            ),
        )
        evidence.append(_evidence("bounds", found.contrasts[-1], low, band, parts, of_vf, question))
    if found.scored is not None:
        parts = (Part(f"best-of-{found.scored.N} under the given scores, measured on the traces", "estimate"),)
        name = "measured" if question.cloned is not None else "scores against bounds"
        evidence.append(_evidence(name, found.scored, found.scored.difference.low, band, parts, of_vf, question))
    return evidence


def _evidence(
    name: str, top: Contrast, low: float, band: float, parts: Sequence[Part], others: Sequence[Part], question: Question
) -> Evidence:
    """``low`` and the high end of ``top``, with the clone's band outside."""
    is_open = question.own_expert or top.N != question.N  # best of fewer draws bounds nothing from above
    high = math.inf if is_open else top.difference.high + band
    sampled_part = Part(f"best-of-{top.N} minus VF's side, over problems: {top.difference.method}", "estimate")
    rests: tuple[Part, ...] = (
        Part("no kind of problem that is too rare to be seen here (under 3 in their number) turns it", "assumption"),
    )
    if top.difference.method == _UNPAIRED:
        rests += (Part("both files sample their problems from one population: they hold other problems", "assumption"),)
    return Evidence(name, low - band, high, top.difference.estimate, (*parts, *others, sampled_part, *rests))


def _cloning(found: Sampled, question: Question, n: int) -> tuple[float, tuple[Part, ...]]:
    """VF's band, tokens, and what it rests on."""
    H = found.horizon
    if question.cloned is not None:
        return 0.0, (Part("the clone's value, measured on its traces", "estimate"),)
    expert: tuple[Part, ...] = (Part("the expert's value, measured on its traces", "estimate"),)
    if question.expert is None:
        away = f"chi^2 at most {question.kappa:g}"
        expert = (
            Part(f"no expert with {away} from the base is worth more than mu + sqrt(kappa) sigma", "theorem"),
            Part(
                f"VF's expert has {away} from the base (cloning only solved traces is farther: 1/p - 1)", "assumption"
            ),
        )
    if question.log_policies is None:
        return float(H), (
            *expert,
            Part("nothing is known of the policy class: VF's band is all of [0, H]", "assumption"),
        )
    band = cloning_band(H, n, question.log_policies, found.sigma_e)
    return band, (
        *expert,
        Part(f"cloning ends within {band:.3g} tokens of its expert at n = {n} (vf-upper)", "theorem"),
        Part(f"the expert is in a class of {question.log_policies:g} nats", "assumption"),
    )


def from_curves(curves: LearningCurves, horizon: int, n: int, seed: int, level: float) -> tuple[Evidence | None, str]:
    """Evidence of learning curves at ``n``, or None and why there is none."""
    each = 1.0 - (1.0 - level) / 2.0
    sides: dict[str, Any] = {m: predict(curves, m, float(n), horizon, seed, each) for m in ("VB", "VF")}
    for method, side in sides.items():
        if side is None:
            return None, f"the curves hold no {method} at H = {horizon}"
        if side.how == "refused":
            return None, f"{method}: " + "; ".join(side.reasons)
    vb, vf = sides["VB"], sides["VF"]
    kinds: dict[str, Kind] = {"measured": "estimate", "between": "estimate"}
    parts = tuple(
        Part(f"{method} at n = {n}: {side.how} on its learning curve", kinds.get(side.how, "assumption"))
        for method, side in sides.items()
    )
    if curves.freedom is None or np.isinf(curves.freedom).any():
        parts += (Part("se holds the chance of training, not only that of evaluation", "assumption"),)
    return Evidence("curves", vb.low - vf.high, vb.high - vf.low, vb.estimate - vf.estimate, parts), ""


def value_bands(base: Traces, found: Sampled, question: Question, ns: Sequence[int]) -> list[dict[str, float]]:
    """J(VF) and J(VB) at each n, tokens: intervals of sampling at ``question.level``, bands of learning around them.

    Where a class size is not known its band is all of [0, H]. The upper end of VB is best-of-N with the true return.
    """
    H, seed, level = found.horizon, question.seed, question.level
    bases = base.completions(H)
    draws = [
        (c.N, _widest([_interval(_best(version, H, c.N, "oracle"), H, level, seed) for version in bases]))
        for c in found.contrasts
    ]
    rows = []
    expert = _expert_interval(bases, H, question)
    for n in ns:
        band, _ = _cloning(found, question, n)
        row = {"n": float(n), "vf_low": max(expert.low - band, 0.0), "vf_high": min(expert.high + band, float(H))}
        low = 0.0
        if question.log_verifiers is not None:
            error = verifier_error(H, n, question.log_verifiers)
            low = max(0.0, *(best.low - best_of_n_loss(H, N, error) for N, best in draws))
        rows.append({**row, "vb_low": low, "vb_high": draws[-1][1].high if draws[-1][0] == question.N else float(H)})
    return rows


def _interval(side: _Side, horizon: int, level: float, seed: int) -> Interval:
    return bootstrap_mean(side.values, seed, level, 0.0, float(horizon))


def _expert_interval(bases: Sequence[Traces], horizon: int, question: Question) -> Interval:
    """The value of VF's expert (or clone); of the ball's, from the base's value to the bound on it."""
    level, seed, other = question.level, question.seed, question.cloned or question.expert
    if other is not None:
        versions = other.completions(horizon)
        return _widest([_interval(_means(version, horizon)[0], horizon, level, seed) for version in versions])
    low = _widest([_interval(_means(version, horizon)[0], horizon, level, seed) for version in bases])
    tops = [
        bootstrap_mean(_ball_expert(v, horizon, question.kappa).values, seed, level, 0.0, 2.0 * horizon) for v in bases
    ]
    top = _widest(tops)
    return Interval(min(top.estimate, float(horizon)), low.low, min(top.high, float(horizon)), level, top.method)
