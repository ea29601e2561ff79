r"""What a pilot tells of larger runs: the variances that decide the width of an interval over X problems.

**Means over problems.** Of problem x with m samples an unbiased :math:`y_x` of what is asked: the mean return, the
unbiased variance :math:`s_x^2`, or the difference of two runs' means. The mean of y over X problems has the variance
:math:`(B+W_m)/X`, B the variance *between* problems of what y estimates and W that of sampling within one,

.. math:: W_m=\frac{E_x\sigma_x^2}m\ \text{(mean)},\qquad
   W_m=\frac{E_x\kappa_{4,x}}m+\frac{2E_x\sigma_x^4}{m-1}=E_x\frac{\mu_4-\frac{m-3}{m-1}\sigma^4}m\ \text{(variance)}.

All are estimated without bias: the k-statistic for :math:`\kappa_4`, :math:`\frac{m-1}{m+1}(s^4-k_4/m)` for
:math:`\sigma^4`, B as the variance over problems of y less the mean W of the pilot's own samples (cut at 0). Entries of
a model beyond the first are those of resampled problems of the pilot: how far it may be off. The studentised bootstrap
is wider than Student's interval for few problems and skewed y; by how much is simulated with resampled y of the pilot
(:class:`Stretch`).

**Anti-concentration.** The interval of :func:`llm_validation.concentration.mean_concentration` averages bounds of
single problems, which stay apart however many problems there are: at m samples its width falls with X to a floor,
:math:`E_x(\bar c_x-\underline c_x)+2\alpha`. Floor and slope come from simulated problems: a problem of the pilot, its
law drawn from the posterior of a Dirichlet process (m new samples by Polya's urn) with the pooled returns as its mean
and the mass a that gives the pilot's ratio of variances, :math:`a=E_x\sigma_x^2/B`. That prior is an assumption.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_validation.concentration import concentration
from llm_validation.moments import Moments, bootstrap_mean, problem_moments
from llm_validation.traces import TraceError, Traces

__all__ = ["FEWEST_PROBLEMS", "Stretch", "Variances", "of_concentration", "of_difference", "of_mean", "of_variance"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Of the bootstrap over the pilot's problems; blocks into which many problems are put for it.
_RESAMPLES, _BLOCKS = 500, 500
#: Level of the bounds of one problem in the interval of the mean of c, and problems simulated for it.
_PER_PROBLEM, _SIMULATED, _ENTRIES, _FEWEST = 0.01, 400, 25_600, 50
#: Problems below which no interval is planned; numbers of them and repeats of the simulation of its width.
FEWEST_PROBLEMS = 5
_NUMBERS, _REPEATS = (5, 7, 10, 14, 20, 40, 100), 20


@dataclass(frozen=True, slots=True, eq=False)
class Variances:
    """What decides the width at m samples of a problem: as estimated (entry 0), then resampled; (1 + B,) each.

    The half-width over X problems is :math:`t\\sqrt{variance/(share\\,X)}`, ``share`` of the problems counting; twice
    that and ``floor`` is the width. ``centre``: the mean of y. ``values``: y itself, (P,), for its skewness; empty
    where nothing is known of that.
    """

    variance: Floats
    centre: Floats
    floor: Floats
    share: Floats
    values: Floats

    @classmethod
    def without_floor(cls, variance: Floats, centre: Floats, values: Floats) -> Variances:
        """All problems count, and the width goes to 0."""
        return cls(variance, centre, np.zeros_like(variance), np.ones_like(variance), values)


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Mean width of the studentised bootstrap over that of Student's interval, at numbers of problems (G,)."""

    problems: Floats
    ratio: Floats

    @classmethod
    def of(cls, values: Floats, level: float, seed: int) -> Stretch:
        """For values like ``values`` (P,): resampled ones; normal scores where there are fewer than three or none vary.

        Falling towards 1, by steps where the simulation does not show it.
        """
        if values.size < 3 or float(np.ptp(values)) <= 0.0:
            return _of_normal(level)
        return cls._simulated(values, level, seed)

    @classmethod
    def _simulated(cls, values: Floats, level: float, seed: int) -> Stretch:
        from scipy.special import stdtrit

        rng = np.random.default_rng([seed, 0x57E7])
        ratios = []
        for X in _NUMBERS:
            widths, spreads = np.zeros(_REPEATS), np.zeros(_REPEATS)
            for repeat in range(_REPEATS):
                drawn = values[rng.integers(0, values.size, X)]
                spread = float(drawn.std(ddof=1))
                if spread > 1e-9 * float(np.abs(values).max()):
                    widths[repeat], spreads[repeat] = bootstrap_mean(drawn, repeat, level).width, spread
            t = float(stdtrit(X - 1.0, 0.5 + level / 2.0))
            ratios.append(widths.sum() / max(2.0 * t * spreads.sum() / X**0.5, 1e-300))
        return cls(np.array(_NUMBERS, dtype=np.float64), np.maximum(np.minimum.accumulate(ratios), 1.0))

    def at(self, problems: Floats) -> Floats:
        """The ratio at each number; beyond the grid its distance from 1 falls as one over the number."""
        inside = np.interp(np.log(problems), np.log(self.problems), self.ratio)
        beyond = 1.0 + (self.ratio[-1] - 1.0) * self.problems[-1] / np.maximum(problems, self.problems[-1])
        return np.where(problems > self.problems[-1], beyond, inside)


@functools.cache
def _of_normal(level: float) -> Stretch:
    from scipy.special import ndtri

    return Stretch._simulated(ndtri((np.arange(100) + 0.5) / 100), level, 0)


Found = tuple[dict[int, Variances], tuple[str, ...]]  # by number of samples; notes


@dataclass(frozen=True, slots=True, eq=False)
class _Problems:
    """Of P problems: y; its sampling variance in the pilot; what W_m is made of, (P,) each."""

    y: Floats
    noise: Floats
    parts: tuple[Floats, ...]
    within: Callable[[Sequence[Floats], int], Floats]  # W_m from means of the parts over problems
    runs: float = 1.0  # independent runs that vary alike, of which y is one

    def variances(self, options: Sequence[int], seed: int, note: str) -> Found:
        """At each number of samples."""
        block = np.arange(self.y.size) % _BLOCKS
        weights = _resampled(int(block.max()) + 1, np.random.default_rng([seed, 0x914A]))
        columns = [np.ones_like(self.y), self.y, self.y**2, self.noise, *self.parts]
        count, *sums = (weights @ np.bincount(block, weights=column) for column in columns)
        mean, square, noise, *parts = (total / count for total in sums)
        between = (square - mean**2) * count / (count - 1.0) - noise
        found = {
            m: Variances.without_floor(
                self.runs * (np.maximum(between, 0.0) + np.maximum(self.within(parts, m), 0.0)), mean, self.y
            )
            for m in options
        }
        hidden = ("no spread between problems is seen beyond the pilot's noise: taken as 0",) * bool(between[0] <= 0.0)
        return found, (note, *hidden)


def _resampled(size: int, rng: np.random.Generator) -> Floats:
    """(1 + B, size): ones, then how often each of ``size`` blocks is drawn."""
    drawn = rng.multinomial(size, np.full(size, 1.0 / size), size=_RESAMPLES)
    return np.concatenate([np.ones((1, size)), drawn])


def _enough(count: int, samples: int) -> None:
    if count < 2:
        raise TraceError(
            f"the pilot has {count} problems with at least {samples} samples of known return each, expected 2"
        )


def _moments(pilot: Traces, horizon: int) -> Moments:
    return problem_moments(pilot.problem, pilot.returns(horizon))


def of_mean(pilot: Traces, horizon: int, options: Sequence[int], seed: int, runs: int = 1) -> Found:
    """For the mean return; for ``runs`` = 2 the difference of two runs that vary alike and independently.

    Raises :class:`TraceError` if fewer than two problems have two samples.
    """
    found = _moments(pilot, horizon)
    usable = found.known_spread
    _enough(int(usable.sum()), 2)
    spread = found.variance[usable]
    problems = _Problems(
        found.mean[usable], spread / found.samples[usable], (spread,), lambda p, m: p[0] / m, float(runs)
    )
    return problems.variances(options, seed, f"variances estimated from {spread.size} problems of the pilot")


def of_difference(pilot: Traces, second: Traces, horizon: int, options: Sequence[int], seed: int) -> Found:
    """For the difference of mean returns, second minus first, from pilots of both runs.

    Raises :class:`TraceError` if fewer than two problems have two samples in both.
    """
    one, two = _moments(pilot, horizon), _moments(second, horizon)
    place = {second.problems[x]: i for i, x in enumerate(two.problem) if two.known_spread[i]}
    names = [pilot.problems[x] if usable else None for x, usable in zip(one.problem, one.known_spread, strict=True)]
    pairs = [(i, place[name]) for i, name in enumerate(names) if name in place]
    if len(pairs) < 2:
        raise TraceError(f"the pilots share {len(pairs)} problems with at least 2 samples in both, expected 2")
    a, b = np.array(pairs).T
    noise = one.variance[a] / one.samples[a] + two.variance[b] / two.samples[b]
    spread = one.variance[a] + two.variance[b]
    problems = _Problems(two.mean[b] - one.mean[a], noise, (spread,), lambda p, m: p[0] / m)
    return problems.variances(options, seed, f"variances estimated from {a.size} problems that both pilots have")


def of_variance(pilot: Traces, horizon: int, options: Sequence[int], seed: int) -> Found:
    """For the mean variance. Raises :class:`TraceError` if fewer than two problems have four samples."""
    found = _moments(pilot, horizon)
    usable = found.samples >= 4
    _enough(int(usable.sum()), 4)
    k4 = _fourth_cumulant(pilot.problem, pilot.returns(horizon), found)[usable]
    m, k2 = found.samples[usable].astype(np.float64), found.variance[usable]
    fourth = (m - 1.0) / (m + 1.0) * (k2**2 - k4 / m)  # unbiased for sigma^4
    noise = k4 / m + 2.0 * fourth / (m - 1.0)
    problems = _Problems(k2, noise, (k4, fourth), lambda p, m: p[0] / m + 2.0 * p[1] / (m - 1.0))
    note = f"variances estimated from {k2.size} problems of the pilot with at least 4 samples"
    return problems.variances(options, seed, note)


def _fourth_cumulant(problem: Integers, returns: Floats, found: Moments) -> Floats:
    """The k-statistic k4 of each problem, (P,); NaN for fewer than four samples."""
    known = np.isfinite(returns)
    place = np.searchsorted(found.problem, problem[known])
    centred = returns[known] - found.mean[place]
    s2, s4 = (np.bincount(place, weights=centred**k, minlength=found.problem.size) for k in (2, 4))
    n = np.where(found.samples >= 4, found.samples, np.nan)
    return np.asarray((n * (n + 1.0) * s4 - 3.0 * (n - 1.0) * s2**2) / ((n - 1.0) * (n - 2.0) * (n - 3.0)))


def of_concentration(pilot: Traces, horizon: int, epsilon: float, options: Sequence[int], seed: int) -> Found:
    """For the mean of c(epsilon), by simulation.

    Raises :class:`TraceError` if fewer than two problems have two samples, or no problem's samples vary.
    """
    found = _moments(pilot, horizon)
    _enough(int(found.known_spread.sum()), 2)
    within = float(found.variance[found.known_spread].mean())
    if within <= 0.0:
        raise TraceError("the pilot shows no spread within problems: nothing can be planned for c")
    mass = min(max(within / max(found.between, 1e-12 * within), 1e-3), 1e6)
    urn = _Urn.of(pilot, horizon, mass)
    models = {m: _simulated(urn, m, horizon, epsilon, np.random.default_rng([seed, 0xC0, m])) for m in options}
    return models, (
        f"c({epsilon:g}) by simulation from {urn.count.size} problems of the pilot, their laws drawn from the "
        f"posterior of a Dirichlet process of mass {mass:.3g} (an assumption)",
        "bounds of single problems stay apart however many problems there are: each number of samples has a floor",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Urn:
    """Returns of the pilot by problem: ``values`` from ``start`` on, ``count`` of them; mass of the pooled law."""

    values: Floats
    start: Integers
    count: Integers
    mass: float

    @classmethod
    def of(cls, pilot: Traces, horizon: int, mass: float) -> _Urn:
        returns = pilot.returns(horizon)
        known = np.isfinite(returns)
        order = np.argsort(pilot.problem[known], kind="stable")
        _, start, count = np.unique(pilot.problem[known][order], return_index=True, return_counts=True)
        return cls(returns[known][order], start.astype(np.int64), count.astype(np.int64), mass)

    def observed(self, x: Integers, u: Floats) -> Floats:
        """Samples of the problems ``x`` at the fractions ``u`` of their counts."""
        return self.values[self.start[x] + np.minimum((u * self.count[x]).astype(np.int64), self.count[x] - 1)]

    def draw(self, x: Integers, m: int, rng: np.random.Generator) -> Floats:
        """m further samples of each of the problems ``x`` (S,), (S, m): own, pooled, or one of those drawn before."""
        drawn, rows, own_mass = np.zeros((x.size, m)), np.arange(x.size), self.count[x]
        for j in range(m):
            u = rng.random(x.size) * (own_mass + self.mass + j)
            own = self.observed(x, u / own_mass)
            pooled = self.observed(rng.integers(0, self.count.size, x.size), rng.random(x.size))
            again = drawn[rows, np.clip((u - own_mass - self.mass).astype(np.int64), 0, max(j - 1, 0))]
            drawn[:, j] = np.where(u < own_mass, own, np.where(u < own_mass + self.mass, pooled, again))
        return drawn


def _simulated(urn: _Urn, m: int, horizon: int, epsilon: float, rng: np.random.Generator) -> Variances:
    total, P = max(min(_SIMULATED, _ENTRIES // m), _FEWEST), urn.count.size
    source = np.arange(total) % P if total >= P else rng.choice(P, size=total, replace=False)
    rows = urn.draw(source, m, rng)
    number = np.repeat(np.arange(total), m)
    found = concentration(number, rows.reshape(-1), horizon, np.array([epsilon]), _PER_PROBLEM)
    low, high = (np.nan_to_num(table[0]) for table in (found.low, found.high))
    columns = [np.ones(total), found.varies.astype(np.float64), low, high, low**2, high**2]
    _, cluster = np.unique(source, return_inverse=True)  # problems of the pilot are what may have been others
    weights = _resampled(int(cluster.max()) + 1, rng)
    count, varies, *sums = (weights @ np.bincount(cluster, weights=column) for column in columns)
    bottom, top, bottom2, top2 = (part / np.maximum(varies, 1.0) for part in sums)
    sd = np.sqrt(np.maximum(bottom2 - bottom**2, 0.0)) + np.sqrt(np.maximum(top2 - top**2, 0.0))
    return Variances((0.5 * sd) ** 2, top, top - bottom + 2.0 * _PER_PROBLEM, varies / count, high[found.varies])
