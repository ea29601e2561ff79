r"""Two runs on the same problems: how much better the second one is, problem by problem.

Of a problem x that both runs were sampled on, with returns R and R' of the first and of the second run:

* :math:`d_x=\hat\mu'_x-\hat\mu_x`, tokens; likewise the difference of unbiased variances (where both runs have two
  samples) and of shares solved within the budget (R > 0);
* :math:`\hat p_x`, the share of pairs of one sample of each run in which the second return is larger, ties counted
  half: the Mann-Whitney statistic over the product of the sample sizes, unbiased for
  :math:`P(R'>R)+P(R'=R)/2`. Its mean over problems is the *probability of improvement*.

All are independent over problems, so that the studentised bootstrap over problems gives the intervals; what problems
have in common (some are hard for both runs) cancels in the difference. Problems are matched by name.

**Censored traces.** A trace cut off below the budget has a return between 0 and what it had left. Then every quantity
of a problem has a least and a largest value, and the interval goes from the lower end for the least values to the upper
end for the largest: it covers whatever the cut traces would have returned. The estimate is the middle of the two. With
a centre m free, the least sum of squares is :math:`\min_m\sum_i\mathrm{dist}(m,[l_i,h_i])^2`, and no sum of squares
is above :math:`\min_m\sum_i\max(|m-l_i|,|m-h_i|)^2`; both are convex in m. Other traces of unknown return are left
out, and counted.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.moments import Interval, bootstrap_mean
from llm_validation.traces import TraceError, Traces

__all__ = ["Comparison", "compare"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_RESAMPLES = 2000
#: Entries drawn at once.
_CHUNK = 4_000_000
#: Halvings of the bracket of a minimum over the centre, relative to the budget.
_GOLDEN, _STEPS = (math.sqrt(5.0) - 1.0) / 2.0, 60


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Second run minus first at budget ``H``, over the problems that both have; intervals at one level each.

    ``positive`` and ``negative``: shares of resamples of problems in which the mean difference of returns is above and
    below 0, whatever the censored traces would have returned; the rest are undecided.
    """

    H: int
    problems: tuple[str, ...]  # shared, (X,)
    only_first: int  # problems with a usable trace in the first run only
    only_second: int
    censored: int  # traces of shared problems cut off below the budget, of both runs
    left_out: int  # traces of either run whose return is unknown for another reason
    difference: Floats  # (X,) of mean returns, tokens
    better: Floats  # (X,) estimates of P(R' > R) + P(R' = R)/2
    mean: Interval  # of the mean return, tokens
    variance: Interval  # of sigma^2, tokens^2; NaN where fewer than one problem has two samples in both
    solved: Interval  # of the share solved within the budget
    improvement: Interval  # probability of improvement
    positive: float
    negative: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        intervals = {name: getattr(self, name).as_dict() for name in ("mean", "variance", "solved", "improvement")}
        counts = {name: getattr(self, name) for name in ("only_first", "only_second", "censored", "left_out")}
        return {
            "H": self.H,
            "problems": len(self.problems),
            **counts,
            **intervals,
            "positive": self.positive,
            "negative": self.negative,
            "per_problem": {
                "name": list(self.problems),
                "difference": self.difference.tolist(),
                "better": self.better.tolist(),
            },
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Usable traces of one run: number of the problem among X, least and largest return; (N,) each."""

    problem: Integers
    low: Floats
    high: Floats
    X: int

    @property
    def count(self) -> Integers:
        """Samples of each problem, (X,)."""
        return np.bincount(self.problem, minlength=self.X)

    def mean(self, values: Floats) -> Floats:
        """Mean over each problem's samples, (X,)."""
        return np.bincount(self.problem, weights=values, minlength=self.X) / self.count

    def share(self, holds: NDArray[np.bool_]) -> Floats:
        """Share of each problem's samples for which something holds, (X,)."""
        return self.mean(holds.astype(np.float64))


def compare(first: Traces, second: Traces, horizon: int, seed: int = 0, level: float = 0.95) -> Comparison:
    """Compare two runs at budget ``horizon``; each ``Traces`` holds one run, problems are matched by name.

    Raises :class:`TraceError` if one holds several runs, or fewer than two problems have a usable trace in both.
    """
    bounds = [_bounds(_one_run(traces, which), horizon) for traces, which in ((first, "first"), (second, "second"))]
    usable = [~np.isnan(low) for low, _ in bounds]
    present = [
        [traces.problems[i] for i in np.unique(traces.problem[known])]
        for traces, known in zip((first, second), usable, strict=True)
    ]
    also = set(present[1])
    shared = tuple(name for name in present[0] if name in also)
    if len(shared) < 2:
        raise TraceError(
            f"the runs share {len(shared)} problems with a known return in both "
            f"({len(present[0])} in the first, {len(present[1])} in the second), expected at least 2"
        )
    runs = [_run(t, b, shared) for t, b in zip((first, second), bounds, strict=True)]
    sides = _Sides(*runs)
    low, high = sides.mean()
    better = sides.improvement()
    H = float(horizon)
    positive, negative = _signs(low, high, seed)
    return Comparison(
        H=horizon,
        problems=shared,
        only_first=len(present[0]) - len(shared),
        only_second=len(present[1]) - len(shared),
        censored=sum(int((run.high > run.low).sum()) for run in runs),
        left_out=sum(int((~known).sum()) for known in usable),
        difference=0.5 * (low + high),
        better=0.5 * (better[0] + better[1]),
        mean=_interval((low, high), seed, level, (-H, H)),
        variance=_interval(sides.variance(H), seed, level, (-0.25 * H * H, 0.25 * H * H)),
        solved=_interval(sides.solved(), seed, level, (-1.0, 1.0)),
        improvement=_interval(better, seed, level, (0.0, 1.0)),
        positive=positive,
        negative=negative,
    )


def _one_run(traces: Traces, which: str) -> Traces:
    count = np.unique(traces.group).size
    if count > 1:
        raise TraceError(f"the {which} traces hold {count} runs, expected one")
    return traces


def _bounds(traces: Traces, horizon: int) -> tuple[Floats, Floats]:
    """Least and largest return of each trace, (N,); NaN where it is not known and the trace was not cut off."""
    low = traces.returns(horizon)
    cut = np.isnan(low) & traces.truncated & (traces.correct != 1.0)
    spent = np.where(np.isnan(traces.tokens), 0.0, traces.tokens)  # a cut trace could solve at the next token
    high = np.where(cut, np.maximum(horizon - spent, 0.0), low)
    return np.where(cut, 0.0, low), high


def _run(traces: Traces, bounds: tuple[Floats, Floats], shared: tuple[str, ...]) -> _Run:
    place = {name: i for i, name in enumerate(shared)}
    number = np.array([place.get(name, -1) for name in traces.problems], dtype=np.int64)[traces.problem]
    keep = (number >= 0) & ~np.isnan(bounds[0])
    return _Run(number[keep], bounds[0][keep], bounds[1][keep], len(shared))


@dataclass(frozen=True, slots=True)
class _Sides:
    """Both runs; every method gives the least and the largest value of a quantity by problem, (X,) each."""

    first: _Run
    second: _Run

    def mean(self) -> tuple[Floats, Floats]:
        a, b = self.first, self.second
        return b.mean(b.low) - a.mean(a.high), b.mean(b.high) - a.mean(a.low)

    def solved(self) -> tuple[Floats, Floats]:
        a, b = self.first, self.second
        one, two = ((run.share(run.low > 0.0), run.share(run.high > 0.0)) for run in (a, b))
        return two[0] - one[1], two[1] - one[0]

    def variance(self, H: float) -> tuple[Floats, Floats]:
        both = (self.first.count >= 2) & (self.second.count >= 2)
        one, two = (_variances(run, H) for run in (self.first, self.second))
        return (two[0] - one[1])[both], (two[1] - one[0])[both]

    def improvement(self) -> tuple[Floats, Floats]:
        a, b = self.first, self.second
        return _mann_whitney(a, a.high, b, b.low), _mann_whitney(a, a.low, b, b.high)


def _variances(run: _Run, H: float) -> tuple[Floats, Floats]:
    """Least and largest unbiased variance of each problem, (X,); NaN for one sample."""
    freedom = np.where(run.count >= 2, run.count - 1.0, math.nan)
    centred = run.low - run.mean(run.low)[run.problem]
    known = np.bincount(run.problem, weights=centred**2, minlength=run.X) / freedom
    open_ = np.bincount(run.problem, weights=run.high > run.low, minlength=run.X) > 0
    if not open_.any():
        return known, known
    mine = open_[run.problem]
    place = np.cumsum(open_) - 1
    part = _Run(place[run.problem[mine]], run.low[mine], run.high[mine], int(open_.sum()))
    low, high = known.copy(), known.copy()
    low[open_] = _least(part, H, lambda m, r: np.maximum(np.maximum(r.low - m, m - r.high), 0.0)) / freedom[open_]
    high[open_] = _least(part, H, lambda m, r: np.maximum(np.abs(m - r.low), np.abs(m - r.high))) / freedom[open_]
    return low, high


def _least(run: _Run, H: float, distance: Callable[[Floats, _Run], Floats]) -> Floats:
    """min over m in [0, H] of the sum of squared distances of each problem's samples, (X,); golden section."""

    def total(m: Floats) -> Floats:
        return np.asarray(np.bincount(run.problem, weights=distance(m[run.problem], run) ** 2, minlength=run.X))

    left, right = np.zeros(run.X), np.full(run.X, H)
    for _ in range(_STEPS):
        a, b = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
        lower = total(a) <= total(b)
        left, right = np.where(lower, left, a), np.where(lower, b, right)
    return total(0.5 * (left + right))


def _mann_whitney(first: _Run, a: Floats, second: _Run, b: Floats) -> Floats:
    """Share of pairs of each problem with b > a, ties half, (X,): by the ranks of both runs' samples together."""
    problem = np.concatenate([first.problem, second.problem])
    values, of_second = np.concatenate([a, b]), np.repeat([False, True], [a.size, b.size])
    order = np.lexsort((values, problem))
    x, v = problem[order], values[order]
    new = np.append(True, (x[1:] != x[:-1]) | (v[1:] != v[:-1]))
    edges = np.append(np.flatnonzero(new), x.size)
    tied = np.cumsum(new) - 1
    rank = 0.5 * (edges[tied] + edges[tied + 1] + 1.0)  # from 1, over all problems
    count = first.count + second.count
    rank -= (np.cumsum(count) - count)[x]
    mine = of_second[order]
    total = np.bincount(x[mine], weights=rank[mine], minlength=first.X)
    m = second.count
    return np.asarray((total - 0.5 * m * (m + 1.0)) / (first.count * m), dtype=np.float64)


def _interval(values: tuple[Floats, Floats], seed: int, level: float, ends: tuple[float, float]) -> Interval:
    """Interval of the mean of what lies between the two (X,) of ``values``."""
    low, high = values
    found = bootstrap_mean(low, seed, level, *ends)
    if np.array_equal(low, high):
        return found
    top = bootstrap_mean(high, seed, level, *ends)
    middle = 0.5 * (found.estimate + top.estimate)
    return dataclasses.replace(
        found, estimate=middle, high=top.high, method=f"{top.method}; from least to largest values of censored traces"
    )


def _signs(low: Floats, high: Floats, seed: int) -> tuple[float, float]:
    """Shares of resamples with a mean of ``low`` above 0, and of ``high`` below."""
    rng = np.random.default_rng([seed, 0x9A1D])
    above = below = 0
    step = max(1, _CHUNK // low.size)
    for begin in range(0, _RESAMPLES, step):
        drawn = rng.integers(0, low.size, size=(min(step, _RESAMPLES - begin), low.size))
        above += int((low[drawn].mean(axis=1) > 0.0).sum())
        below += int((high[drawn].mean(axis=1) < 0.0).sum())
    return above / _RESAMPLES, below / _RESAMPLES
