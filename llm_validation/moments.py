r"""Means and spreads of the return, per problem and over problems, with intervals.

Problem x has m_x labelled samples with returns R. Unbiased: :math:`\hat\mu_x`, the mean, and :math:`\hat\sigma^2_x`,
the sum of squared deviations over m_x - 1 (none where m_x < 2). Over problems: :math:`\mu=E_x\mu_x` and
:math:`\sigma^2=E_x\sigma^2_x`, the heterogeneity of the base; each problem counts once, however often it was sampled.
What varies *between* problems, Var_x of mu_x, is not heterogeneity; it is estimated beside it without the noise of the
means, :math:`\widehat{Var}(\hat\mu_x)-E\,\hat\sigma_x^2/m_x`.

**Intervals** speak of the population that problems are drawn from. Estimates of different problems are independent with
one mean whatever m_x, so that the studentised bootstrap over problems (:math:`t^*=(\bar y^*-\bar y)/se^*`) needs no
model of what happens within one: sampling noise is in the y_x. Resampling samples within problems as well would count
that noise twice. It is first-order correct for skewed y_x, and for few problems its quantiles widen as Student's do.
With fewer than 5 problems they are Student's: resamples of two values have one mean, or no spread. Where y_x are nearly
all alike many resamples show no spread; their t* is infinite, and an end whose quantile is infinite is that of any law
on the range of y_x with so many draws (:func:`llm_validation.sample_bounds.mean_below`).
Beyond 4,096 problems with skewness :math:`|\hat\gamma|\le\sqrt X/20` its quantiles are taken from their expansion,
:math:`z-\hat\gamma(2z^2+1)/6\sqrt X` (Hall 1992, 2.5), which leaves :math:`O(\hat\gamma^2/X)`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "Moments", "bootstrap_mean", "moments", "problem_moments"]

Floats = NDArray[np.float64]

RESAMPLES = 2000
#: Problems below which there are too few different resamples for a bootstrap.
_FEW = 5
#: Problems beyond which the bootstrap's quantiles are taken from their expansion, and skewness/sqrt(X) up to which.
_MANY, _SMALL = 4096, 0.05
#: Entries (resamples x problems) worked on at once, and problems up to which resamples are kept for the next estimate.
_CHUNK, _KEPT = 8_000_000, 2048


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the interval that covers what it estimates with probability ``level``."""

    estimate: float
    low: float
    high: float
    level: float = 0.95
    method: str = ""

    @property
    def width(self) -> float:
        """high - low."""
        return self.high - self.low

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)

    def mapped(self, f: Callable[[float], float]) -> Interval:
        """The interval of an increasing function of what is estimated."""
        return Interval(float(f(self.estimate)), float(f(self.low)), float(f(self.high)), self.level, self.method)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Of X problems, (X,) each: numbers of the problems, samples with a known return, mean and unbiased variance."""

    problem: NDArray[np.int64]
    samples: NDArray[np.int64]
    mean: Floats  # tokens
    variance: Floats  # tokens^2, NaN where there is one sample only

    @property
    def known_spread(self) -> NDArray[np.bool_]:
        """Problems with at least two samples."""
        return self.samples >= 2

    @property
    def between(self) -> float:
        """Var_x mu_x without the noise of the means, tokens^2; at least 0. NaN for fewer than two problems."""
        usable = self.known_spread
        if usable.sum() < 2:
            return math.nan
        noise = float((self.variance[usable] / self.samples[usable]).mean())
        return max(float(self.mean[usable].var(ddof=1)) - noise, 0.0)


def problem_moments(problem: NDArray[np.int64], returns: Floats) -> Moments:
    """Moments of every problem that has a sample of known return; ``returns`` (N,) are NaN where unknown."""
    known = np.isfinite(returns)
    numbers, inverse = np.unique(problem[known], return_inverse=True)
    values = returns[known]
    count = np.bincount(inverse, minlength=numbers.size)
    mean = np.bincount(inverse, weights=values, minlength=numbers.size) / np.maximum(count, 1)
    squares = np.bincount(inverse, weights=(values - mean[inverse]) ** 2, minlength=numbers.size)
    variance = np.where(count >= 2, squares / np.maximum(count - 1, 1), math.nan)
    return Moments(numbers, count, mean, variance)


def bootstrap_mean(
    values: Floats, seed: int, level: float = 0.95, low: float = -math.inf, high: float = math.inf
) -> Interval:
    """Mean of independent ``values`` (X,) with its studentised bootstrap interval, cut to [low, high].

    Where the values do not vary, or there are fewer than two, nothing is known of their spread: the interval is all of
    [low, high], or the point itself if that is an end of it that no value can leave.
    """
    size = values.size
    if size == 0:
        return Interval(math.nan, low, high, level, "no values")
    mean = float(values.mean())
    se = float(values.std(ddof=1)) / math.sqrt(size) if size > 1 else 0.0
    if se <= 1e-12 * max(abs(mean), 1e-300):
        # The rule of three: what was not seen in X problems has probability at most 1 - alpha^(1/X).
        unseen = 1.0 - (1.0 - level) ** (1.0 / size)
        reach = [mean + unseen * (edge - mean) if math.isfinite(edge) else edge for edge in (low, high)]
        return Interval(mean, reach[0], reach[1], level, "no spread seen")
    tail = (1.0 - level) / 2.0
    if size < _FEW:
        return _student(mean, se, size, level, low, high)
    skewness = float(((values - mean) / se) @ ((values - mean) / se) ** 2) / size**2.5
    if size > _MANY and abs(skewness) <= _SMALL * math.sqrt(size):
        z = NormalDist().inv_cdf(1.0 - tail)
        shift = skewness * (2.0 * z**2 + 1.0) / (6.0 * math.sqrt(size))
        bottom, top = -z - shift, z - shift
        method = "bootstrap-t over problems, its expansion"
    else:
        bottom, top = _resampled(values, mean, se, seed, tail)
        method = "bootstrap-t over problems"
    ends = [mean - top * se, mean - bottom * se]
    if not all(map(math.isfinite, ends)):
        ends = [e if math.isfinite(e) else x for e, x in zip(ends, _bounded(mean, size, tail, low, high), strict=True)]
        method += ", bound of a bounded mean where resamples show no spread"
    return Interval(mean, max(ends[0], low), min(ends[1], high), level, method)


def _bounded(mean: float, size: int, tail: float, low: float, high: float) -> tuple[float, float]:
    """Bounds, each at ``tail``, on the mean of any law on [low, high] from the mean of ``size`` draws."""
    from llm_validation.sample_bounds import mean_below

    if not math.isfinite(high - low):
        return low, high
    share = np.array([(high - mean) / (high - low), (mean - low) / (high - low)])
    below = mean_below(np.clip(share, 0.0, 1.0), size, tail)
    return high - float(below[0]) * (high - low), low + float(below[1]) * (high - low)


def _student(mean: float, se: float, size: int, level: float, low: float, high: float) -> Interval:
    from scipy.special import stdtrit

    reach = float(stdtrit(size - 1, (1.0 + level) / 2.0)) * se
    return Interval(
        mean, max(mean - reach, low), min(mean + reach, high), level, "Student's t, approximate: very few problems"
    )


def _resampled(values: Floats, mean: float, se: float, seed: int, tail: float) -> tuple[float, float]:
    """Quantiles of (mean* - mean)/se* at ``tail`` and 1 - ``tail``, from resamples."""
    size = values.size
    z = (values - mean) / (se * math.sqrt(size))
    columns = np.stack([z, z**2], axis=1)
    if size <= _KEPT:
        sums = _draws(size, seed) @ columns
    else:
        rng = np.random.default_rng([seed, 0xB007])
        sums = np.concatenate([weights @ part for weights, part in _large_draws(rng, columns)])
    first, second = sums.T
    spread = np.sqrt(np.maximum(second - first**2 / size, 0.0) / (size - 1.0))
    alike = spread <= 1e-7 / math.sqrt(size)  # but for rounding, resamples of one value: their ratio is infinite
    ratios = np.sort(np.where(alike, np.copysign(math.inf, first), first / np.where(alike, 1.0, spread)))
    ratios /= math.sqrt(size)
    last = ratios.size - 1
    return float(ratios[math.floor(tail * last)]), float(ratios[math.ceil((1.0 - tail) * last)])


@lru_cache(maxsize=8)
def _draws(size: int, seed: int) -> Floats:
    """How often each of ``size`` values is in each resample, (RESAMPLES, size): the same for all that is estimated."""
    return _counts(np.random.default_rng([seed, 0xB007]), size, RESAMPLES)


def _counts(rng: np.random.Generator, size: int, resamples: int) -> Floats:
    drawn = rng.integers(0, size, size=(resamples, size)) + size * np.arange(resamples)[:, None]
    return np.bincount(drawn.reshape(-1), minlength=resamples * size).reshape(resamples, size).astype(np.float64)


def _large_draws(rng: np.random.Generator, columns: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Resamples in pieces, each with the rows (., 2) that it counts: equal ones are drawn together if many."""
    size = len(columns)
    first, index, counts = np.unique(columns[:, 0], return_index=True, return_counts=True)
    together = 4 * first.size <= size
    step = max(1, _CHUNK // (first.size if together else size))
    for done in range(0, RESAMPLES, step):
        number = min(step, RESAMPLES - done)
        if together:
            yield rng.multinomial(size, counts / size, size=number).astype(np.float64), columns[index]
        else:
            yield _counts(rng, size, number), columns


def moments(found: Moments, horizon: int, seed: int, level: float = 0.95) -> dict[str, Interval]:
    """Intervals for mu (tokens), sigma^2 (tokens^2), sigma (tokens) and s = sigma/H over problems."""
    mean = bootstrap_mean(found.mean, seed, level, 0.0, float(horizon))
    variance = bootstrap_mean(found.variance[found.known_spread], seed, level, 0.0, horizon**2 / 4.0)
    sigma = variance.mapped(math.sqrt)
    return {"mu": mean, "sigma2": variance, "sigma": sigma, "s": sigma.mapped(lambda x: x / horizon)}
