r"""Anti-concentration :math:`c_x(\varepsilon)=P(R\ge\mu_x+\varepsilon\sigma_x)` of sampled problems, with valid bounds.

The threshold is estimated from the same samples, so that the share of samples above it, the plug-in, has no binomial
error, and the smallest plug-in over problems is biased towards 0: with 200 problems the smallest of 200 noisy shares is
far below the smallest of the shares. What is valid:

* **Band.** With k(t) of m samples at or above t, :math:`l(k)\le P(R\ge t)\le u(k)` for all t at once with probability
  :math:`1-\alpha`, l and u the Clopper-Pearson bounds at level :math:`\alpha/2m`: the count changes at m places only.
* **Threshold.** For every law, every a and :math:`\lambda>0`,

  .. math:: \mu+\varepsilon\sigma\le E\Bigl[R+\frac{(R-a)^2}{2\lambda}\Bigr]+\frac{\varepsilon^2\lambda}2,

  as :math:`\sigma^2\le E(R-a)^2` and :math:`\varepsilon\sigma\le\sigma^2/2\lambda+\varepsilon^2\lambda/2`. Over
  the laws of the band with :math:`P(R\ge t)\le q` the right side is largest where P(R >= .) is u above
  :math:`a-\lambda`, capped at q from t on, and l below. If even that is under t, no such law has its threshold at t or
  above. So :math:`c(\varepsilon)` is at least the smallest q for which some t is not excluded.
* **Other side.** :math:`\mu+\varepsilon\sigma\ge\mu`, at least the mean of the band's lower edge, t say, so that
  :math:`c(\varepsilon)\le u(k(t))`; and Cantelli's :math:`1/(1+\varepsilon^2)`, whatever the samples.

At level :math:`\alpha/X` for each of X problems all bounds hold at once, and so does the smallest one for the minimum
over problems. A problem whose samples are all equal shows no spread: it is counted apart, never as c = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_validation.moments import Interval, bootstrap_mean

__all__ = ["Concentration", "band", "concentration", "least_concentration", "mean_concentration"]

Floats = NDArray[np.float64]

#: Share of problems whose own bound may fail in the interval of the mean.
_PER_PROBLEM = 0.01
#: Entries (problems x samples x grid) worked on at once.
_CHUNK = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Concentration:
    """Of X problems at each of E values of epsilon: plug-in, lower and upper bound, (E, X), probabilities.

    ``varies`` (X,): the samples of a problem are not all equal; entries of the others are NaN.
    """

    epsilon: Floats  # (E,)
    problem: NDArray[np.int64]  # (X,)
    varies: NDArray[np.bool_]  # (X,)
    plug_in: Floats
    low: Floats
    high: Floats


def band(m: int, alpha: float) -> tuple[Floats, Floats]:
    """l(k) and u(k), k = 0..m: bounds on P(R >= t) that hold for all t at once with probability 1 - alpha."""
    from scipy.special import betaincinv

    level, k = alpha / (2.0 * m), np.arange(m + 1)
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), m - k + 1, level), 0.0)
    high = np.where(k < m, betaincinv(k + 1, np.maximum(m - k, 1), 1.0 - level), 1.0)
    return low, high


def concentration(
    problem: NDArray[np.int64], returns: Floats, horizon: int, epsilon: Floats, alpha: float
) -> Concentration:
    """Bounds for every problem that has two samples of known return, each band at level ``alpha``.

    ``returns`` (N,) in [0, horizon], NaN where unknown; ``epsilon`` (E,) at least 0.
    """
    known = np.isfinite(returns)
    order = np.lexsort((returns[known], problem[known]))
    values = returns[known][order]
    numbers, start, count = np.unique(problem[known][order], return_index=True, return_counts=True)
    usable = count >= 2
    numbers, start, count = numbers[usable], start[usable], count[usable]
    shape = (epsilon.size, numbers.size)
    plug_in, low, high = (np.full(shape, math.nan) for _ in range(3))
    varies = np.zeros(numbers.size, dtype=bool)
    for m in np.unique(count):
        same = np.flatnonzero(count == m)
        step = max(1, _CHUNK // (int(m) * 512))
        for piece in np.split(same, range(step, same.size, step)):
            rows = values[start[piece][:, None] + np.arange(m)]  # (x, m), ascending
            varies[piece] = rows[:, -1] > rows[:, 0]
            for i, e in enumerate(epsilon):
                plug_in[i, piece], low[i, piece], high[i, piece] = _bounds(rows, float(horizon), float(e), alpha)
    for table in (plug_in, low, high):
        table[:, ~varies] = math.nan
    return Concentration(np.asarray(epsilon, dtype=np.float64), numbers, varies, plug_in, low, high)


def _bounds(rows: Floats, H: float, epsilon: float, alpha: float) -> tuple[Floats, Floats, Floats]:
    """Plug-in, lower and upper bound of c(epsilon) of each row of sorted returns, (x,) each."""
    m, slack = rows.shape[1], 1e-9 * H  # rounding: towards the weaker bound
    law = _Band.of(rows, H, alpha)
    threshold = rows.mean(axis=1) + epsilon * rows.std(axis=1, ddof=1)
    plug_in = (rows >= threshold[:, None] - slack).mean(axis=1)
    least = (law.low * np.diff(law.edges, axis=1)).sum(axis=1)
    above = (rows >= least[:, None] - slack).sum(axis=1)
    c_high = np.minimum(band(m, alpha)[1][above], 1.0 / (1.0 + epsilon**2))
    return plug_in, _least_share(law, rows, H, epsilon), c_high


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    """Edges (x, m + 2) of the intervals on which the band is constant, and its bounds there, (m + 1,) each."""

    edges: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, rows: Floats, H: float, alpha: float) -> _Band:
        m = rows.shape[1]
        low, high = band(m, alpha)
        edges = np.concatenate([np.zeros((len(rows), 1)), rows, np.full((len(rows), 1), H)], axis=1)
        above = m - np.arange(m + 1)  # samples at or above t in (edges[j], edges[j + 1]]
        return cls(edges, low[above], high[above])


#: Steps of bisection for the share above the threshold, towards the largest threshold, and towards (a, lambda).
_HALVINGS, _STEPS, _SWEEPS = 12, 12, 4


def _least_share(law: _Band, rows: Floats, H: float, epsilon: float) -> Floats:
    """The smallest q for which a law of the band has P(R >= mu + epsilon sigma) <= q, (x,): a lower bound on it.

    For a given q the largest threshold t is where t = T(q, t), T increasing in t: the iteration from H falls towards it
    and bounds it from above at every step. A law is possible there if the band lets P(R >= t) be q.
    """
    levels = law.low[::-1]  # l(k), k = 0..m
    centre, spread = rows.mean(axis=1), rows.std(axis=1)

    def is_possible(q: Floats) -> NDArray[np.bool_]:
        t = np.full(len(rows), H)
        for step in range(_STEPS):
            found = _largest_threshold(law, t, q, epsilon, centre, spread)
            if step == 0:
                over = found > H * (1.0 + 1e-9)
            t = np.minimum(t, found)
        count = np.where(over, 0, (rows >= t[:, None] * (1.0 - 1e-9)).sum(axis=1))
        return np.asarray(levels[count] <= q)

    impossible, possible = np.zeros(len(rows)), np.ones(len(rows))
    nothing = is_possible(impossible)
    for _ in range(_HALVINGS):
        q = 0.5 * (impossible + possible)
        met = is_possible(q)
        possible, impossible = np.where(met, q, possible), np.where(met, impossible, q)
    return np.where(nothing, 0.0, impossible)


def _largest_threshold(
    law: _Band, place: Floats, share: Floats, epsilon: float, centre: Floats, spread: Floats
) -> Floats:
    """A bound on mu + epsilon sigma over the laws of the band with P(R >= place) <= share, (x,).

    It holds for every (a, lambda); they start at the samples' moments and move to those of the law that attains it.
    """
    a, scale = centre, np.maximum(spread / max(epsilon, 1e-3), 1e-9 * law.edges[:, -1])
    best = np.full(len(a), math.inf)
    edges = np.sort(np.concatenate([law.edges, place[:, None]], axis=1), axis=1)
    capped = edges[:, :-1] >= place[:, None]
    j = np.arange(capped.shape[1]) - capped  # which interval of the band
    high = np.where(capped, np.minimum(law.high[j], share[:, None]), law.high[j])
    low = np.minimum(law.low[j], high)
    for _ in range(_SWEEPS):
        turn = np.maximum(a - scale, 0.0)[:, None]
        upper, lower = np.maximum(edges, turn), np.minimum(edges, turn)
        above, below = (_integrals(part, weight) for part, weight in ((upper, high), (lower, low)))
        first, second = above[0] + below[0], above[1] + below[1]  # E R and E R^2 of the law that attains the bound
        bound = first + (second - 2.0 * a * first + a * a) / (2.0 * scale) + epsilon**2 * scale / 2.0
        best = np.minimum(best, bound)
        a, scale = first, np.sqrt(np.maximum(second - first**2, 1e-12)) / max(epsilon, 1e-3)
        scale = np.maximum(scale, 1e-9 * law.edges[:, -1])
    return best


def _integrals(edges: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Integrals of the weight and of twice t times it over the intervals between ``edges``, (x,) each."""
    return (weight * np.diff(edges, axis=1)).sum(axis=1), (weight * np.diff(edges**2, axis=1)).sum(axis=1)


def least_concentration(found: Concentration) -> Floats:
    """Lower bounds (E,) on the smallest c over the problems that vary, for ``found`` at level alpha over all of them.

    ``found`` is to be computed at alpha/X; 0 where a bound says nothing; NaN if no problem varies.
    """
    if not found.varies.any():
        return np.full(found.epsilon.size, math.nan)
    return np.asarray(found.low[:, found.varies].min(axis=1))


def mean_concentration(found: Concentration, seed: int, level: float = 0.95) -> list[Interval]:
    """E_x c_x at each epsilon over problems that vary, for ``found`` at level 0.01 a problem.

    A problem's bounds fail with probability at most 0.01, which moves a mean by at most 0.01. The estimate is the mean
    plug-in: biased where samples are few, but the interval is not.
    """
    intervals = []
    for row in range(found.epsilon.size):
        plug_in, low, high = (table[row, found.varies] for table in (found.plug_in, found.low, found.high))
        bottom = bootstrap_mean(low, seed, level, 0.0, 1.0).low - _PER_PROBLEM
        top = bootstrap_mean(high, seed, level, 0.0, 1.0).high + _PER_PROBLEM
        estimate = float(plug_in.mean()) if plug_in.size else math.nan
        intervals.append(Interval(estimate, max(bottom, 0.0), min(top, 1.0), level, "bands of problems, averaged"))
    return intervals
