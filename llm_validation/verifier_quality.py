r"""How good a verifier's scores are: for the return, for the choice between samples, as probabilities, under search.

* **Error.** With :math:`\hat R=p\,(H-\text{tokens}+1)^+`, p the probability that the score gives
  (:mod:`llm_validation.calibration`): :math:`\varepsilon_{ver}=E_xE|\hat R-R|`, tokens. A probability that is not 0 or
  1 errs even where it is calibrated: by 2p(1-p) of the tokens left, in expectation.
* **Order.** AUROC = P(score of a right trace > that of a wrong one) + P(equal)/2, over all traces and within problems,
  averaged over problems that have both. Best-of-N compares traces of one problem: the second is what it needs. The
  first is a ratio of sums over problems; its interval is that of the mean of its linearisation, problem x counting
  A + X times the sum over its traces of (placement - A)/number of traces of that label (Obuchowski 1997).
* **Calibration.** Bins of equally many traces; ECE is the mean absolute distance of the bins' shares of right traces to
  their mean scores. It is biased upwards: a calibrated score has a positive ECE too, from noise alone. That value is
  beside it, :math:`\sum_b(n_b/n)\sqrt{2v_b/\pi}` with v_b the variance of the share of independent labels. Brier score.
* **Over-optimisation.** True return of best-of-N against N under the score. A peak before the largest N may be noise,
  and the largest of noisy means is biased: the peak is chosen on one half of the problems, and on the other half the
  return at the largest N less that at the peak gets its interval.
* **Length.** Spearman's correlation of score and tokens within problems, and within problems among traces of the same
  label, where length tells nothing of correctness: a hint that style is scored.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.calibration import probabilities
from llm_validation.moments import Interval, bootstrap_mean
from llm_validation.test_time import best_of_n_values, usual_counts
from llm_validation.traces import Traces

__all__ = ["Bin", "OverOptimisation", "VerifierQuality", "auroc", "verifier_quality"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BINS = 10
#: Problems with samples enough that the halves of over-optimisation need, together.
_LEAST_PROBLEMS = 8


@dataclass(frozen=True, slots=True)
class Bin:
    """Traces of similar scores: how many, their mean probability and the share that is right."""

    count: int
    score: float
    right: float


@dataclass(frozen=True, slots=True)
class OverOptimisation:
    """True return, tokens, of best-of-N under the score, over ``problems`` problems that have all N samples."""

    N: tuple[int, ...]
    value: tuple[Interval, ...]
    problems: int
    peak: int  # N, chosen on half of the problems
    loss: Interval | None  # value at the largest N - value at the peak on the other half; None if that is the peak

    @property
    def is_seen(self) -> bool:
        """Whether search beyond the peak surely loses return."""
        return self.loss is not None and self.loss.high < 0.0


@dataclass(frozen=True, slots=True)
class VerifierQuality:
    """Quality of one run's scores at budget H; ``traces`` have a score and a known return."""

    H: int
    traces: int
    problems: int
    how: str  # the scores became probabilities
    epsilon_ver: Interval  # tokens
    epsilon_share: Interval  # of H
    auroc: Interval
    auroc_within: Interval
    both_labels: int  # problems with right and wrong traces
    bins: tuple[Bin, ...]
    ece: float
    ece_if_calibrated: float
    brier: Interval
    over_optimisation: OverOptimisation | None
    length: Interval | None  # Spearman within problems
    length_same_label: Interval | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        data = dataclasses.asdict(self)
        if self.over_optimisation is not None:
            data["over_optimisation"]["is_seen"] = self.over_optimisation.is_seen
        return data


def verifier_quality(traces: Traces, horizon: int, seed: int) -> VerifierQuality | None:
    """Quality of the scores of one run; None where no trace of known return has one."""
    returns = traces.returns(horizon)
    usable = np.isfinite(returns) & np.isfinite(traces.score)
    if not usable.any():
        return None
    found = probabilities(traces, seed)
    mine, p, R = traces.where(usable), found.values[usable], returns[usable]
    problem, right = mine.problem, np.nan_to_num(mine.correct)  # cut off at the budget: return 0, whatever the label
    left = np.maximum(horizon - mine.tokens + 1.0, 0.0) if traces.has_tokens else np.ones(mine.size)
    error = _by_problem(problem, np.abs(p * left - R))
    epsilon = bootstrap_mean(error, seed, low=0.0, high=float(horizon))
    within = _within(problem, mine.score, right)
    bins, ece, floor = _calibration(p, right)
    brier = _by_problem(problem, (p - right) ** 2)
    return VerifierQuality(
        H=horizon,
        traces=mine.size,
        problems=int(np.unique(problem).size),
        how=found.how,
        epsilon_ver=epsilon,
        epsilon_share=epsilon.mapped(lambda x: x / horizon),
        auroc=auroc(problem, mine.score, right, seed),
        auroc_within=bootstrap_mean(within, seed, low=0.0, high=1.0),
        both_labels=within.size,
        bins=bins,
        ece=ece,
        ece_if_calibrated=floor,
        brier=bootstrap_mean(brier, seed, low=0.0, high=1.0),
        over_optimisation=_over_optimisation(mine, horizon, seed),
        length=_length(mine, np.zeros(mine.size), seed),
        length_same_label=_length(mine, right, seed),
        notes=_notes(traces, returns, found.how, within.size),
    )


def _notes(traces: Traces, returns: Floats, how: str, both: int) -> tuple[str, ...]:
    notes = [how]
    if unscored := int((np.isfinite(returns) & ~np.isfinite(traces.score)).sum()):
        notes.append(f"{unscored} traces of known return have no score and are left out")
    if unknown := int((~np.isfinite(returns) & np.isfinite(traces.score)).sum()):
        notes.append(f"{unknown} scored traces are of unknown return and are left out")
    if not both:
        notes.append("no problem has right and wrong traces: AUROC within problems is not known")
    notes.append("ECE is biased upwards by noise in the bins; its value for a calibrated score is beside it")
    return tuple(notes)


def _by_problem(problem: Ints, values: Floats) -> Floats:
    """Mean of each problem over its finite values, (X,); problems without any are left out."""
    known = np.isfinite(values)
    _, inverse, count = np.unique(problem[known], return_inverse=True, return_counts=True)
    return np.bincount(inverse, weights=values[known], minlength=count.size) / count


def _ranks(group: Ints, values: Floats) -> Floats:
    """Rank of every entry within its group, from 1, ties sharing their mean."""
    order = np.lexsort((values, group))
    ordered_group, ordered = group[order], values[order]
    starts = np.ones(order.size, dtype=bool)
    starts[1:] = ordered_group[1:] != ordered_group[:-1]
    first = np.flatnonzero(starts)[starts.cumsum() - 1]  # where the entry's group begins
    ties = starts.copy()
    ties[1:] |= ordered[1:] != ordered[:-1]
    block = ties.cumsum() - 1
    middle = np.flatnonzero(ties) + (np.bincount(block) - 1) / 2.0
    ranks = np.empty(order.size)
    ranks[order] = middle[block] - first + 1.0
    return ranks


def _within(problem: Ints, score: Floats, right: Floats) -> Floats:
    """AUROC of each problem that has right and wrong traces."""
    numbers, inverse = np.unique(problem, return_inverse=True)
    ranks = _ranks(inverse, score)
    sums, positive = (
        np.bincount(inverse, weights=w, minlength=numbers.size).astype(np.float64) for w in (ranks * right, right)
    )
    negative = np.bincount(inverse, minlength=numbers.size) - positive
    both = (positive > 0) & (negative > 0)
    area = (sums - positive * (positive + 1.0) / 2.0)[both] / (positive * negative)[both]
    return np.asarray(area)


def auroc(problem: Ints, score: Floats, right: Floats, seed: int, level: float = 0.95) -> Interval:
    """AUROC over all traces (N,), its interval over problems; NaN in [0, 1] where one label is missing.

    The sum of the linearisation over problems has mean A exactly; its studentised bootstrap is first-order correct.
    """
    everyone = np.zeros(problem.size, dtype=np.int64)
    positive = right == 1.0
    P, N = int(positive.sum()), int((~positive).sum())
    if P == 0 or N == 0:
        return Interval(math.nan, 0.0, 1.0, level, "one label only")
    overall = _ranks(everyone, score)
    own = np.empty(problem.size)
    for label in (True, False):
        own[positive == label] = _ranks(everyone[positive == label], score[positive == label])
    below = overall - own  # traces of the other label below, ties half
    area = float(below[positive].sum() / (P * N))
    placement = np.where(positive, (below / N - area) / P, (1.0 - below / P - area) / N)
    numbers, inverse = np.unique(problem, return_inverse=True)
    influence = np.bincount(inverse, weights=numbers.size * placement, minlength=numbers.size)
    found = bootstrap_mean(np.asarray(area + influence, dtype=np.float64), seed, level, 0.0, 1.0)
    return dataclasses.replace(found, estimate=area, method=f"linearised AUROC: {found.method}")


def _calibration(p: Floats, right: Floats) -> tuple[tuple[Bin, ...], float, float]:
    """Bins of equally many traces by p, ECE, and the ECE that noise alone gives a calibrated score."""
    known = np.isfinite(p)
    p, right = p[known], right[known]
    if not p.size:
        return (), math.nan, math.nan
    order = np.argsort(p, kind="stable")
    edges = np.unique(np.searchsorted(p[order], p[order][np.arange(1, _BINS) * p.size // _BINS]))  # ties stay together
    bins, ece, floor = [], 0.0, 0.0
    for part in np.split(order, edges[edges > 0]):
        mean, share = float(p[part].mean()), float(right[part].mean())
        weight = part.size / p.size
        variance = float((p[part] * (1.0 - p[part])).mean()) / part.size
        bins.append(Bin(int(part.size), mean, share))
        ece += weight * abs(share - mean)
        floor += weight * math.sqrt(2.0 * variance / math.pi)
    return tuple(bins), ece, floor


def _over_optimisation(mine: Traces, horizon: int, seed: int) -> OverOptimisation | None:
    """None where too few problems have two samples or more."""
    counts = usual_counts(mine.problem)
    if len(counts) < 2:
        return None
    columns = [best_of_n_values(mine, horizon, N, "score") for N in counts]
    numbers = columns[-1][0]
    if numbers.size < _LEAST_PROBLEMS:
        return None
    values = np.stack([column[np.isin(mine_, numbers)] for mine_, column in columns], axis=1)
    order = np.random.default_rng([seed, 0x0F7]).permutation(numbers.size)
    choosing, judging = np.split(order, [numbers.size // 2])
    peak = int(values[choosing].mean(axis=0).argmax())
    loss = None
    if peak < len(counts) - 1:
        lost = values[judging, -1] - values[judging, peak]
        loss = bootstrap_mean(lost, seed, low=-float(horizon), high=float(horizon))
    means = tuple(bootstrap_mean(column, seed, low=0.0, high=float(horizon)) for column in values.T)
    return OverOptimisation(tuple(counts), means, int(numbers.size), counts[peak], loss)


def _length(mine: Traces, label: Floats, seed: int) -> Interval | None:
    """Spearman of score and tokens within traces of one problem and label, averaged by problem, then over problems.

    Of sets of three traces or more in which both vary; None where there is no such set.
    """
    known = np.isfinite(mine.tokens)
    key = 2 * mine.problem[known] + label[known].astype(np.int64)
    keys, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    ranks = [_ranks(inverse, column[known]) for column in (mine.score, mine.tokens)]
    a, b = (r - (count[inverse] + 1.0) / 2.0 for r in ranks)
    cross, first, second = (np.bincount(inverse, weights=w, minlength=count.size) for w in (a * b, a * a, b * b))
    usable = (count >= 3) & (first > 0.0) & (second > 0.0)
    if not usable.any():
        return None
    by_problem = _by_problem(keys[usable] // 2, cross[usable] / np.sqrt(first[usable] * second[usable]))
    return bootstrap_mean(by_problem, seed, low=-1.0, high=1.0)
