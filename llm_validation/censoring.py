r"""What traces that were cut off could change: bounds on the estimates over everything they might have become.

A trace cut off after t tokens, below the budget H and without a correct answer, has an unknown return in
:math:`[0,b]`, :math:`b=H-t`: it failed, or was solved at the next token at best (b = H where t is not known). Of
problem x with m samples, k of them censored, let K be the sum of known returns. Over the box :math:`\prod[0,b_i]`:

* the mean is least with all at 0 and largest with all at :math:`b_i`;
* the sample variance is convex, so largest at a vertex. With total T, a vertex is best only if no exchange gains: those
  at :math:`b_i` have :math:`b_i\ge2T/(m+1)`, those at 0 have :math:`b_j\le2T/(m-1)`. If then :math:`b_j>b_i`,
  exchanging the two gains :math:`(b_j-b_i)[b_i+b_j-(2T+b_j-b_i)/m]>0` for m >= 3 (for m = 2 the larger alone is best).
  So the largest j of the :math:`b_i` are at :math:`b_i`, the others at 0, for one of j = 0..k: exact;
* it is least at :math:`\min(b_i,a)`, a the mean of all: :math:`\min_a\sum_{known}(R-a)^2+\sum_{b_i<a}(b_i-a)^2`, a
  convex function of a, quadratic between neighbouring :math:`b_i`: exact;
* the share of samples at or above their mean, the plug-in of c(0), lies between the known returns at or above the
  largest mean and all that can reach the smallest one: valid, not attained. Only problems whose known returns vary
  count.

Each extreme is a mean over problems with an interval. What the uncut traces would have given lies, with probability
``level``, between the low end of the lower extreme and the high end of the upper one. Leaving censored traces out is
none of these: they are the long ones. Where traces pile up at one length that is not marked, the same is computed as
if those had been cut off.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.moments import Interval, bootstrap_mean, problem_moments
from llm_validation.quality import at_a_cap
from llm_validation.traces import Traces

__all__ = ["Bounds", "Censoring", "Scenario", "censored", "variance_range"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate at its lower and at its upper extreme; with censored traces left out; each with its interval."""

    lower: Interval
    upper: Interval
    left_out: Interval

    @property
    def low(self) -> float:
        """The low end at the lower extreme."""
        return self.lower.low

    @property
    def high(self) -> float:
        """The high end at the upper extreme."""
        return self.upper.high

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        parts = {name: getattr(self, name).as_dict() for name in ("lower", "upper", "left_out")}
        return {"low": self.low, "high": self.high, **parts}


@dataclass(frozen=True, slots=True)
class Scenario:
    """Which traces are taken as cut off, how many they are, in how many problems, and the bounds by quantity."""

    name: str
    censored: int
    share: float  # of the traces whose return is known or bounded
    problems: int
    bounds: dict[str, Bounds]  # mu [tokens], sigma2 [tokens^2], sigma [tokens], s, c0

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        plain = {name: getattr(self, name) for name in ("name", "censored", "share", "problems")}
        return {**plain, "bounds": {name: bounds.as_dict() for name, bounds in self.bounds.items()}}


@dataclass(frozen=True, slots=True)
class Censoring:
    """Traces cut off without a correct answer, those of them below the budget, and the scenarios."""

    traces: int
    cut_off: int
    scenarios: tuple[Scenario, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "traces": self.traces,
            "cut_off": self.cut_off,
            "share": self.cut_off / max(self.traces, 1),
            "scenarios": [scenario.as_dict() for scenario in self.scenarios],
        }


def censored(traces: Traces, horizon: int, seed: int) -> Censoring | None:
    """Bounds on the estimates of one run at budget ``horizon``; None if no trace was cut off, or seems to be."""
    cut = int((traces.truncated & (traces.correct != 1.0)).sum())
    silent = at_a_cap(traces) & ~traces.truncated & (traces.correct != 1.0)
    if not cut and not silent.any():
        return None
    versions = [("marked as cut off", traces)]
    if silent.any():
        name = "those piled at the longest length too" if cut else "those piled at the longest length"
        versions.append((name, dataclasses.replace(traces, truncated=traces.truncated | silent)))
    found = [_scenario(name, version, horizon, seed) for name, version in versions]
    return Censoring(traces.size, cut, tuple(scenario for scenario in found if scenario is not None))


def _scenario(name: str, traces: Traces, horizon: int, seed: int) -> Scenario | None:
    """None where every return is known: nothing was cut off below the budget."""
    versions = traces.extremes(horizon)
    if len(versions) == 1:
        return None
    failed, solved = (version.returns(horizon) for version in versions)
    known = np.isfinite(failed)
    problem, failed, solved = traces.problem[known], failed[known], solved[known]
    unknown = np.isnan(traces.returns(horizon)[known])
    bounds = _bounds(problem, failed, solved, unknown, float(horizon), seed)
    share = float(unknown.mean()) if unknown.size else math.nan
    return Scenario(name, int(unknown.sum()), share, int(np.unique(problem[unknown]).size), bounds)


def _bounds(
    problem: Ints, failed: Floats, solved: Floats, unknown: NDArray[np.bool_], H: float, seed: int
) -> dict[str, Bounds]:
    least, most = problem_moments(problem, failed), problem_moments(problem, solved)
    known = problem_moments(problem, np.where(unknown, math.nan, failed))
    low, high = variance_range(problem, failed, solved)
    c = _share_range(problem, failed, solved, unknown)
    mu = _extremes(least.mean, most.mean, known.mean, H, seed)
    sigma2 = _extremes(
        low[least.known_spread], high[least.known_spread], known.variance[known.known_spread], H**2 / 4.0, seed
    )
    sigma = _mapped(sigma2, math.sqrt)
    return {
        "mu": mu,
        "sigma2": sigma2,
        "sigma": sigma,
        "s": _mapped(sigma, lambda x: x / H),
        "c0": _extremes(*c, 1.0, seed),
    }


def _extremes(low: Floats, high: Floats, left_out: Floats, top: float, seed: int) -> Bounds:
    lower, upper, without = (bootstrap_mean(values, seed, LEVEL, 0.0, top) for values in (low, high, left_out))
    return Bounds(lower, upper, without)


def _mapped(bounds: Bounds, f: Any) -> Bounds:
    parts = (bounds.lower, bounds.upper, bounds.left_out)
    return Bounds(*(part.mapped(f) if math.isfinite(part.estimate) else part for part in parts))


def _starts(problem: Ints) -> tuple[Ints, Ints]:
    """First place and number of samples of each problem, for an ascending ``problem``."""
    _, start, count = np.unique(problem, return_index=True, return_counts=True)
    return start, count


def _sums_within(values: Floats, start: Ints, count: Ints) -> Floats:
    """Cumulative sums that begin anew with every problem; exact for whole numbers."""
    total = np.cumsum(values)
    return np.asarray(total - np.repeat(total[start] - values[start], count))


def variance_range(problem: Ints, failed: Floats, solved: Floats) -> tuple[Floats, Floats]:
    """Least and largest unbiased sample variance of each problem, (X,) in the order of their numbers.

    ``problem``, ``failed`` and ``solved`` (N,): the returns lie anywhere in [failed, solved], where failed is 0 unless
    they are equal. NaN for problems with one sample.
    """
    if not problem.size:
        return np.zeros(0), np.zeros(0)
    free = solved - failed  # b of the censored, 0 of the others
    order = np.lexsort((-free, problem))
    x, base, b = problem[order], failed[order], free[order]
    start, m = _starts(x)
    censored = b > 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = 1.0 / np.where(m > 1, m - 1.0, math.nan)
    known, squares = np.add.reduceat(base, start), np.add.reduceat(base**2, start)
    most = _largest(b, start, m, known, squares)
    count = m - np.add.reduceat(censored.astype(np.int64), start)
    least = _smallest(b, start, m, count, known, squares)
    return np.maximum(least, 0.0) * scale, np.maximum(most, 0.0) * scale


def _largest(b: Floats, start: Ints, m: Ints, known: Floats, squares: Floats) -> Floats:
    """Largest sum of squared deviations: of the b, in decreasing order, those up to some place are added."""
    total = np.repeat(known, m) + _sums_within(b, start, m)
    second = np.repeat(squares, m) + _sums_within(b**2, start, m)
    spread = second - total**2 / np.repeat(m, m)
    return np.asarray(np.maximum(np.maximum.reduceat(spread, start), squares - known**2 / m))


def _smallest(b: Floats, start: Ints, m: Ints, count: Ints, known: Floats, squares: Floats) -> Floats:
    """Least sum of squared deviations from some a, where the censored lie at min(b, a); ``count`` are known."""
    # In increasing order of b: uncensored ones first (b = 0, at none of the places below), then the censored.
    row = np.repeat(np.arange(m.size), m)
    place = np.arange(b.size) - start[row]
    rising = b[start[row] + m[row] - 1 - place]
    below, below2 = _sums_within(rising, start, m), _sums_within(rising**2, start, m)  # of those up to this place
    number = np.maximum(place + 1, count[row])  # that are known or at their b, once this one is at its b
    following = np.append(rising[1:], 0.0)
    following = np.where(place == m[row] - 1, math.inf, following)

    def deviation(n: Ints, first: Floats, second: Floats, low: Floats, high: Floats) -> Floats:
        """Least n a^2 - 2 a first + second over a in [low, high]."""
        a = np.clip(first / np.maximum(n, 1), low, high)
        return np.asarray(n * a**2 - 2.0 * a * first + second)

    inner = deviation(number, known[row] + below, squares[row] + below2, rising, following)
    inner = np.where(place >= count[row], inner, math.inf)
    smallest_b = np.where(count < m, rising[np.minimum(start + count, start + m - 1)], math.inf)
    none = deviation(count, known, squares, np.zeros(m.size), smallest_b)
    return np.minimum(np.minimum.reduceat(inner, start), none)


def _share_range(
    problem: Ints, failed: Floats, solved: Floats, unknown: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats]:
    """Bounds on the share of samples at or above their mean, and that of the known ones; of problems that vary."""
    numbers, x = np.unique(problem, return_inverse=True)
    size, count = numbers.size, np.bincount(x)
    slack = 1e-9 * max(float(solved.max(initial=0.0)), 1.0)

    def mean(values: Floats, use: NDArray[np.bool_]) -> Floats:
        total = np.bincount(x[use], weights=values[use], minlength=size)
        return np.asarray(total / np.maximum(np.bincount(x[use], minlength=size), 1))

    everything = np.ones(problem.size, dtype=bool)
    smallest, largest, of_known = mean(failed, everything), mean(solved, everything), mean(failed, ~unknown)
    apart = np.bincount(x[~unknown], weights=abs(failed - of_known[x])[~unknown], minlength=size)
    varies = apart > slack
    surely = np.bincount(x, weights=~unknown & (failed >= largest[x] - slack), minlength=size) / count
    possibly = np.bincount(x, weights=solved >= smallest[x] - slack, minlength=size) / count
    plain = mean((failed >= of_known[x] - slack).astype(np.float64), ~unknown)
    return surely[varies], possibly[varies], plain[varies]
