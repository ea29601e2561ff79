r"""Search at test time, measured on m samples a problem: what N draws are worth, by whoever picks one of them.

The N draws are a random subset of a problem's m samples, without replacement; averaged over subsets this is unbiased
for N independent draws, at every N up to m. With returns ordered by what the picker likes, the largest of the subset
is the i-th with probability

.. math:: w_i=\binom{i-1}{N-1}\Big/\binom mN,\qquad w_m=\frac Nm,\quad w_{i-1}=w_i\,\frac{i-N}{i-1},

so that no subset needs to be drawn:

=======================  =========================================================================================
``pass@k``               1 - C(m-c,k)/C(m,k) for c right ones of m: the largest of N labels
``best-of-N (oracle)``   sum of w_i R_i, R sorted: the largest true return
``best-of-N (score)``    sum of w_i R_i, sorted by score; equal scores share the mean of their R (ties at random)
``majority vote``        the answer that most of the N give, ties at random; over all C(m,N) subsets where they are
                         few, else over a seeded number of them that is told
``score-weighted vote``  the same, each vote weighing its score (turned into a probability)
=======================  =========================================================================================

A trace is right if it is correct within the budget. Traces of unknown return are no samples, except that what was cut
off, is over budget or gives no answer is a draw that casts no vote. If traces were cut off below the budget the
estimate leaves them out and the interval also spans both extremes (all of them failed, all solved at the next token).

**Cost.** N draws take N times the mean tokens of a trace, at most H each. The FLOP model is a forward pass of a dense
model with its cache, 2 a parameter and token, attention over the context left out; a verifier reads every token once:
``2 params tokens + 2 verifier_params tokens``, its part where scores pick. Wall time is something else: draws run in
parallel.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llm_validation.calibration import probabilities
from llm_validation.moments import Interval, bootstrap_mean
from llm_validation.traces import TraceError, Traces

__all__ = ["CurvePoint", "best_of_n_values", "curve_notes", "curves", "kept_of_draws", "usual_counts"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Percentage of problems that must have N samples for N to be on the curve.
_ENOUGH = 80
#: Work on the votes of one N, problems x subsets x (draws + answers): up to it all subsets are taken where they are
#: enumerated, or drawn ones up to so many a problem, but at least a few.
_WORK, _MOST, _LEAST = 2**22, 1024, 16
#: Entries (problems x subsets x draws or answers) worked on at once.
_CHUNK = 2**22


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The value of one method at N draws, over ``problems`` problems with at least N samples."""

    method: str
    N: int
    value: Interval
    unit: str  # "probability" or "tokens"
    tokens: float  # mean tokens spent at N; NaN if not known
    flops: float  # NaN without the parameters
    problems: int
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


def _tables(problem: Ints, columns: Sequence[Floats]) -> Iterator[tuple[Ints, list[Floats]]]:
    """Problems with equally many samples m, together: their numbers (x,) and every column as (x, m)."""
    order = np.argsort(problem, kind="stable")
    numbers, start, count = np.unique(problem[order], return_index=True, return_counts=True)
    sorted_columns = [column[order] for column in columns]
    for m in np.unique(count):
        mine = np.flatnonzero(count == m)
        places = start[mine][:, None] + np.arange(m)
        yield numbers[mine], [column[places] for column in sorted_columns]


def _weights(m: int, counts: Sequence[int]) -> Floats:
    """w_i, (m, len(counts)): probability that the i-th smallest is the largest of N of m; NaN where N > m."""
    weights = np.full((m, len(counts)), math.nan)
    i = np.arange(2, m + 1)[::-1]  # m..2
    for column, N in enumerate(counts):
        if m >= N:
            factors = np.append(1.0, np.maximum(i - N, 0) / (i - 1))
            weights[:, column] = (N / m * np.cumprod(factors))[::-1]
    return weights


def _block_means(values: Floats, keys: Floats) -> Floats:
    """Values (x, m) in increasing order of the keys, those of equal keys in a row replaced by their mean."""
    order = np.argsort(keys, axis=1, kind="stable")
    values, keys = (np.take_along_axis(a, order, axis=1) for a in (values, keys))
    first = np.ones(keys.shape, dtype=bool)
    first[:, 1:] = keys[:, 1:] != keys[:, :-1]
    block = first.cumsum().reshape(keys.shape) - 1
    means = np.bincount(block.ravel(), weights=values.ravel()) / np.bincount(block.ravel())
    return np.asarray(means[block])


def kept_of_draws(problem: Ints, values: Floats, keys: Floats, counts: Sequence[int]) -> tuple[Ints, Floats]:
    """Of every problem E[value of the draw with the largest key of N], (X, len(counts)); NaN where N > m."""
    numbers: list[Ints] = []
    found: list[Floats] = []
    for mine, (rows, by) in _tables(problem, [values, keys]):
        numbers.append(mine)
        ordered = np.sort(rows, axis=1) if keys is values else _block_means(rows, by)
        found.append(ordered @ _weights(rows.shape[1], counts))
    return _sorted(numbers, found, len(counts))


def _sorted(numbers: Sequence[Ints], found: Sequence[Floats], width: int) -> tuple[Ints, Floats]:
    if not numbers:
        return np.zeros(0, dtype=np.int64), np.zeros((0, width))
    stacked = np.concatenate(list(numbers))
    order = np.argsort(stacked)
    return stacked[order], np.concatenate(list(found))[order]


def best_of_n_values(
    traces: Traces, horizon: int, N: int, by: Literal["oracle", "score"] = "oracle"
) -> tuple[Ints, Floats]:
    """Numbers of the problems with at least N samples, increasing, and E[R] of the draw that is kept of N, tokens.

    Samples are traces of known return, and of known score if ``by`` is "score". Raises :class:`TraceError` if N < 1.
    """
    if N < 1:
        raise TraceError(f"N = {N}: expected at least 1")
    returns = traces.returns(horizon)
    usable = np.isfinite(returns)
    if by == "score":
        usable &= np.isfinite(traces.score)
    values = returns[usable]
    keys = traces.score[usable] if by == "score" else values
    numbers, found = kept_of_draws(traces.problem[usable], values, keys, [N])
    enough = np.isfinite(found[:, 0])
    return numbers[enough], found[enough, 0]


def usual_counts(problem: Ints) -> list[int]:
    """N = 1, 2, 4, .. up to the samples that 80% of the problems have; ``problem`` (N,) of the samples."""
    if not problem.size:
        return []
    have = np.sort(np.unique(problem, return_counts=True)[1])[::-1]
    most = int(have[-(-have.size * _ENOUGH // 100) - 1])
    return [2**k for k in range(int(math.log2(most)) + 1)]


def _is_right(traces: Traces, horizon: int) -> Floats:
    """1 where correct within the budget, 0 where not, NaN where it is not known; tokens not known are within."""
    right = np.where(traces.tokens > horizon, 0.0, traces.correct)
    cut = traces.truncated & (traces.correct != 1.0)
    return np.where(cut, np.where(traces.tokens >= horizon, 0.0, math.nan), right)


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    """Values by problem (X, K) for each of K counts, NaN where a problem has too few samples."""

    method: str
    unit: str
    numbers: Ints
    values: Floats
    notes: tuple[str, ...]  # (K,)
    is_scored: bool = False


def _picked(traces: Traces, horizon: int, counts: Sequence[int]) -> list[_Curve]:
    """Every curve on which one trace is kept."""
    right, returns = _is_right(traces, horizon), traces.returns(horizon)
    scored = bool(np.isfinite(traces.score).any())
    wanted: list[tuple[str, Floats, Floats | None, str]] = [("pass@k", right, None, "probability")]
    if horizon > 1:
        wanted.append(("best-of-N (oracle)", returns, None, "tokens"))
    if scored:
        wanted.append(("best-of-N (score)", right, traces.score, "probability"))
    if scored and horizon > 1:
        wanted.append(("best-of-N (score)", returns, traces.score, "tokens"))
    curves = []
    for method, values, score, unit in wanted:
        usable = np.isfinite(values) if score is None else np.isfinite(values) & np.isfinite(score)
        kept = values[usable]
        keys = kept if score is None else score[usable]
        numbers, found = kept_of_draws(traces.problem[usable], kept, keys, counts)
        curves.append(_Curve(method, unit, numbers, found, ("",) * len(counts), score is not None))
    return curves


def _votes(traces: Traces, horizon: int, counts: Sequence[int], seed: int) -> list[_Curve]:
    """Majority and, where there are scores, score-weighted vote; none without answers."""
    if traces.answer is None or not counts:
        return []
    ballots = [("majority vote", np.ones(traces.size), False)]
    if np.isfinite(traces.score).any():
        ballots.append(("score-weighted vote", probabilities(traces, seed).values, True))
    cut = traces.truncated & (traces.correct != 1.0)
    names: dict[Any, int] = {None: -1}
    code = np.array([names.setdefault(name, len(names) - 1) for name in traces.answer.tolist()], dtype=np.int64)
    code = np.where(cut | (traces.tokens > horizon), -1, code)
    drawn = np.isfinite(traces.correct) | cut
    rng = np.random.default_rng([seed, 0x707E])
    curves = []
    for method, weight, is_scored in ballots:
        usable = drawn & np.isfinite(weight)
        columns = [code[usable].astype(np.float64), np.nan_to_num(traces.correct[usable]), weight[usable]]
        parts, numbers = [], []
        subsets = [0] * len(counts)
        total = np.unique(traces.problem[usable]).size
        for mine, rows in _tables(traces.problem[usable], columns):
            table = _Ballots.of(rows, rng)
            values = np.full((mine.size, len(counts)), math.nan)
            for k, N in enumerate(counts):
                if N == 1:
                    values[:, k] = table.single()
                elif table.m >= N:
                    chosen, exact = _subsets(table.m, N, total * (N + table.right.shape[1]), rng)
                    values[:, k] = table.elected(chosen)
                    subsets[k] = max(subsets[k], 0 if exact else len(chosen))
            parts.append(values)
            numbers.append(mine)
        notes = tuple(f"at most {number} random subsets a problem" if number else "" for number in subsets)
        curves.append(_Curve(method, "probability", *_sorted(numbers, parts, len(counts)), notes, is_scored))
    return curves


def _subsets(m: int, N: int, work: int, rng: np.random.Generator) -> tuple[Ints, bool]:
    """Subsets (S, N) of the places 0..m-1, and whether they are all there are; ``work`` of one subset."""
    affordable = max(_WORK // work, _LEAST)
    log_number = math.lgamma(m + 1) - math.lgamma(N + 1) - math.lgamma(m - N + 1)
    if log_number < 30.0 and math.comb(m, N) <= affordable:
        return np.array(list(itertools.combinations(range(m), N)), dtype=np.int64), True
    return np.argsort(rng.random((min(affordable, _MOST), m)), axis=1)[:, :N], False


@dataclass(frozen=True, slots=True, eq=False)
class _Ballots:
    """Answers (x, m) as 0..A-1, -1 for none; the weight of each vote; the share of labels that call an answer right."""

    answer: Ints
    weight: Floats
    right: Floats  # (x, A)

    @property
    def m(self) -> int:
        return int(self.answer.shape[1])

    @classmethod
    def of(cls, rows: Sequence[Floats], rng: np.random.Generator) -> _Ballots:
        """Samples of a problem are shuffled, so that subsets drawn for all problems are independent between them."""
        code, correct, weight = rows
        shuffled = rng.permuted(np.tile(np.arange(code.shape[1]), (len(code), 1)), axis=1)
        code, correct, weight = (np.take_along_axis(a, shuffled, axis=1) for a in (code, correct, weight))
        order = np.argsort(code, axis=1, kind="stable")
        ordered = np.take_along_axis(code, order, axis=1)
        step = np.zeros(code.shape, dtype=np.int64)
        step[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        rank = step.cumsum(axis=1) - (ordered[:, :1] < 0)  # the first of those with no vote is -1
        answer = np.empty_like(rank)
        np.put_along_axis(answer, order, rank, axis=1)
        size = int(answer.max(initial=0)) + 1
        voted = answer >= 0
        place = (answer + size * np.arange(len(answer))[:, None])[voted]
        votes = np.bincount(place, minlength=size * len(answer))
        rights = np.bincount(place, weights=correct[voted], minlength=size * len(answer))
        return cls(answer, weight, (rights / np.maximum(votes, 1)).reshape(len(answer), size))

    def single(self) -> Floats:
        """P(right) of the answer of one draw, (x,)."""
        right = np.take_along_axis(self.right, np.maximum(self.answer, 0), axis=1)
        return np.asarray(np.where(self.answer >= 0, right, 0.0).mean(axis=1))

    def elected(self, subsets: Ints) -> Floats:
        """P(the elected answer is right) of each problem, (x,), over the subsets (S, N); 0 where nobody votes."""
        A = self.right.shape[1]
        found = np.empty(len(self.answer))
        step = max(1, _CHUNK // (len(subsets) * max(A + 1, subsets.shape[1])))
        for start in range(0, len(found), step):
            rows = slice(start, start + step)
            answer = self.answer[rows][:, subsets] + 1  # (x, S, N), 0 for no vote
            x, S, _ = answer.shape
            place = (answer + (A + 1) * np.arange(x * S).reshape(x, S, 1)).ravel()
            weight = self.weight[rows][:, subsets].ravel()
            length = x * S * (A + 1)
            sums = np.bincount(place, weights=weight, minlength=length).reshape(x, S, A + 1)[:, :, 1:]
            heard = sums > 0.0
            if not (weight > 0.0).all():
                heard = np.bincount(place, minlength=length).reshape(x, S, A + 1)[:, :, 1:] > 0
            top = sums.max(axis=2, keepdims=True)
            tied = heard & (sums >= top - 1e-9 * np.abs(top))
            share = (tied * self.right[rows][:, None, :]).sum(axis=2) / np.maximum(tied.sum(axis=2), 1)
            found[rows] = share.mean(axis=1)
        return found


def curves(
    traces: Traces,
    horizon: int,
    seed: int,
    params: float | None = None,
    verifier_params: float | None = None,
    counts: Sequence[int] | None = None,
) -> list[CurvePoint]:
    """All curves of one run at budget ``horizon``, methods in turn, N increasing.

    ``counts``: the N, default 1, 2, 4, .. up to the samples that 80% of the problems have. A problem with fewer than N
    samples is left out at N. ``params`` and ``verifier_params``: of the FLOP model; without the second the FLOPs of
    methods with scores are not known. Raises :class:`TraceError` if one of ``counts`` is less than 1.
    """
    if counts is not None and min(counts, default=1) < 1:
        raise TraceError(f"N = {min(counts)}: expected at least 1")
    chosen = sorted(set(counts)) if counts is not None else _counts(traces, horizon)
    versions = [_picked(version, horizon, chosen) for version in (traces, *_both(traces, horizon))]
    spent = _tokens(traces, horizon)
    points = []
    for found in [*zip(*versions, strict=True), *((curve,) for curve in _votes(traces, horizon, chosen, seed))]:
        points += _points(found, chosen, spent, horizon, seed, (params, verifier_params))
    return points


def _counts(traces: Traces, horizon: int) -> list[int]:
    return usual_counts(traces.problem[np.isfinite(_is_right(traces, horizon))])


def _both(traces: Traces, horizon: int) -> tuple[Traces, ...]:
    found = traces.extremes(horizon)
    return found if len(found) > 1 else ()


def _tokens(traces: Traces, horizon: int) -> Floats:
    """Mean tokens that a trace of each problem spends, by number of the problem; NaN where none is known."""
    known = np.isfinite(traces.tokens)
    problem, size = traces.problem[known], len(traces.problems)
    sums = np.bincount(problem, weights=np.minimum(traces.tokens[known], horizon), minlength=size)
    number = np.bincount(problem, minlength=size)
    return np.where(number > 0, sums / np.maximum(number, 1), math.nan)


def _points(
    found: Sequence[_Curve],
    counts: Sequence[int],
    spent: Floats,
    horizon: int,
    seed: int,
    params: tuple[float | None, float | None],
) -> list[CurvePoint]:
    """Points of one curve, given as measured and at its extremes."""
    curve, points = found[0], []
    top = float(horizon) if curve.unit == "tokens" else 1.0
    for k, N in enumerate(counts):
        intervals = []
        for version in found:
            values = version.values[:, k]
            known = np.isfinite(values)
            if known.any():
                intervals.append(bootstrap_mean(values[known], seed, low=0.0, high=top))
        usable = np.isfinite(curve.values[:, k])
        if not usable.any():
            continue
        tokens = N * _mean(spent[curve.numbers[usable]])
        weight = _weight(params, curve.is_scored)
        note = curve.notes[k] if len(found) == 1 else "cut-off traces left out; the interval spans both extremes"
        points.append(
            CurvePoint(
                curve.method, N, _spanned(intervals), curve.unit, tokens, weight * tokens, int(usable.sum()), note
            )
        )
    return points


def _spanned(found: Sequence[Interval]) -> Interval:
    """The first estimate with the union of all intervals."""
    low, high = min(i.low for i in found), max(i.high for i in found)
    method = found[0].method + (", and both extremes of what was cut off" if len(found) > 1 else "")
    return dataclasses.replace(found[0], low=low, high=high, method=method)


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _weight(params: tuple[float | None, float | None], is_scored: bool) -> float:
    """FLOPs a token; NaN where the parameters are not given."""
    model, verifier = (math.nan if p is None else p for p in params)
    return 2.0 * model + (2.0 * verifier if is_scored else 0.0)


def curve_notes(traces: Traces, horizon: int) -> tuple[str, ...]:
    """What was left out of the curves of one run, or assumed, in words."""
    notes = []
    right = _is_right(traces, horizon)
    numbers, have = np.unique(traces.problem[np.isfinite(right)], return_counts=True)
    counts = usual_counts(traces.problem[np.isfinite(right)])
    if counts and (short := int((have < counts[-1]).sum())):
        notes.append(f"{short} of {numbers.size} problems have fewer than {counts[-1]} samples and end before")
    if traces.answer is None:
        notes.append("no answers given (column answer): no votes")
    else:
        notes += _answer_notes(traces)
    if np.isfinite(traces.score).any():
        known = np.isfinite(right)
        unscored = int((known & ~np.isfinite(traces.score)).sum())
        if unscored:
            notes.append(f"{unscored} labelled traces without a score are no samples where scores pick")
    return tuple(notes)


def _answer_notes(traces: Traces) -> list[str]:
    """On answers that are missing, or that the labels contradict."""
    assert traces.answer is not None
    labelled = np.isfinite(traces.correct)
    given = np.array([name is not None for name in traces.answer], dtype=bool)
    notes = []
    if (missing := int((labelled & ~given).sum())) > 0:
        notes.append(f"{missing} labelled traces give no answer: they cast no vote")
    names: dict[tuple[int, Any], int] = {}
    keep = labelled & given
    pairs = zip(traces.problem[keep].tolist(), traces.answer[keep].tolist(), strict=True)
    code = np.array([names.setdefault(pair, len(names)) for pair in pairs], dtype=np.int64)
    share = np.bincount(code, weights=traces.correct[keep]) / np.maximum(np.bincount(code), 1)
    if (mixed := int(((share > 0.0) & (share < 1.0)).sum())) > 0:
        notes.append(f"{mixed} of {len(names)} answers are called right and wrong: they count as the share of right")
    return notes
