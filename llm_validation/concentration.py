r"""Anti-concentration :math:`c_x(\varepsilon)=P(R\ge\mu_x+\varepsilon\sigma_x)` of sampled problems, with valid bounds.

The threshold is estimated from the same samples, so that the share of samples above it, the plug-in, has no binomial
error, and the smallest plug-in over problems is biased towards 0: with 200 problems the smallest of 200 noisy shares is
far below the smallest of the shares. What is valid (:mod:`llm_validation.sample_bounds` has the parts):

* **One place.** :math:`t^*=\mu+\varepsilon\sigma` is a number, it is not drawn. Where :math:`t^*\le T` with probability
  :math:`1-\alpha_T`, and l(k) is the Clopper-Pearson bound at level :math:`\alpha_c`, :math:`c(\varepsilon)\ge l(k(T))`
  with probability :math:`1-\alpha_T-\alpha_c`, k(t) the number of samples at or above t: it is at most k(t*), and at
  that one place the bound holds.
* **Threshold by a band.** For every law, every a and :math:`\lambda>0`,

  .. math:: \mu+\varepsilon\sigma\le E\Bigl[R+\frac{(R-a)^2}{2\lambda}\Bigr]+\frac{\varepsilon^2\lambda}2,

  as :math:`\sigma^2\le E(R-a)^2` and :math:`\varepsilon\sigma\le\sigma^2/2\lambda+\varepsilon^2\lambda/2`. Over
  the laws between bounds l and u on all :math:`P(R\ge t)` the right side is largest where P(R >= .) is u above
  :math:`a-\lambda` and l below. A law with :math:`c(\varepsilon)\le q` has moreover :math:`P(R\ge t)\le q` from
  :math:`t^*` on. Let e be the place from which on the bound of one place admits q. Putting the mass in [w, t*) at w
  gives a threshold less w of :math:`f(w)=\mu_w+\varepsilon\sigma_w-w`, f(t*) = 0. Where f < 0 the place w is
  :math:`z>\varepsilon` standard deviations above the mean and at most :math:`1/(1+z^2)` of the mass is there or above
  (Cantelli), so that :math:`f'\le(1+\varepsilon z)/(1+z^2)-1<0`: f cannot come from below 0 to 0 at t*. So some law
  with :math:`P(R\ge t)\le q` above e has its threshold at e or above, and c is at least the smallest q for which the
  bound under that cap reaches e.
* **Threshold by moments.** With :math:`g_a(R)=R+(\varepsilon/H)(R-a)^2`, a the centre of the one cell of a grid that
  holds :math:`\mu`, :math:`\mu+(\varepsilon/H)\sigma^2\le E\,g_a\le U_a`, the bound of a mean. Over :math:`\mu` in the
  cell that limits :math:`\mu+\varepsilon\sigma`. Only the cell of the truth has to hold, so that no error is shared
  among cells; a cell whose U_a lies below it is excluded. It is close where R is nearly 0 or H.
* **Other side.** :math:`t^*\ge\mu`, and :math:`c(\varepsilon)\le u(k(T))` with T below the mean; and Cantelli's
  :math:`1/(1+\varepsilon^2)`, whatever the samples.

The larger lower bound is kept; the parts share the level. A lower and an upper bound fail with probability at most
alpha each.

**Minimum over problems.** :math:`\min_xc_x` is the c of one problem. If each bound fails with probability at most
alpha, so does the smallest of them: above the minimum it would be above the c of that problem, too. Nothing has to be
shared among problems. A problem whose samples are all equal shows no spread: it is counted apart, never as c = 1. So
which problem is the least depends on the samples, and a bound must hold *given* that the samples vary:
:func:`firmness`. For all problems to have their own bounds at once, take alpha/X.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from llm_validation.moments import Interval, bootstrap_mean
from llm_validation.sample_bounds import band, mean_below, share_above, shares_above

__all__ = [
    "Concentration",
    "band",
    "concentration",
    "firmness",
    "least_concentration",
    "lower_quantile",
    "mean_concentration",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Share of problems whose own bound may fail in the interval of the mean, and in the quantile.
_PER_PROBLEM = 0.01
#: Share of alpha that is spent; what is left makes bounds hold given that samples vary.
_SPENT = 0.8
#: Of that: bounds of the band from above and from below, of the moments, and of the share at the threshold.
_UPPER, _LOWER, _MOMENTS, _SHARE = 0.32, 0.08, 0.3, 0.3
#: Entries (problems x samples, problems x cells) worked on at once.
_CHUNK = 2_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Concentration:
    """Of X problems at each of E values of epsilon: plug-in, lower and upper bound, (E, X), probabilities.

    ``varies`` (X,): the samples of a problem are not all equal; entries of the others are NaN. ``firm`` (X,): so many
    samples differ from the most frequent one that the lower bound holds given that the samples vary.
    """

    epsilon: Floats  # (E,)
    problem: Ints  # (X,)
    varies: NDArray[np.bool_]  # (X,)
    plug_in: Floats
    low: Floats
    high: Floats
    firm: NDArray[np.bool_]  # (X,)

    def take(self, which: NDArray[np.bool_] | Ints) -> Concentration:
        """The problems ``which``: a mask (X,), or indices."""
        changed = {name: getattr(self, name)[which] for name in ("problem", "varies", "firm")}
        tables = {name: getattr(self, name)[:, which] for name in ("plug_in", "low", "high")}
        return dataclasses.replace(self, **changed, **tables)

    @property
    def low_if_varying(self) -> Floats:
        """Lower bounds (E, V) of the V problems that vary, each at level alpha given that it does; 0 unless firm."""
        return np.where(self.firm, self.low, 0.0)[:, self.varies]


def concentration(problem: Ints, returns: Floats, horizon: float, epsilon: Floats, alpha: float) -> Concentration:
    """Bounds for every problem that has two samples of known return; each side fails with probability <= ``alpha``.

    A side holds at each epsilon. ``returns`` (N,) in [0, horizon], NaN where unknown; ``epsilon`` (E,) in [0, inf).
    """
    known = np.isfinite(returns)
    order = np.lexsort((returns[known], problem[known]))
    values = returns[known][order]
    numbers, start, count = np.unique(problem[known][order], return_index=True, return_counts=True)
    usable = count >= 2
    numbers, start, count = numbers[usable], start[usable], count[usable]
    plug_in, low, high = (np.full((len(epsilon), numbers.size), math.nan) for _ in range(3))
    apart = np.zeros(numbers.size, dtype=np.int64)
    least = np.zeros(numbers.size, dtype=np.int64)
    for m in np.unique(count).tolist():
        same = np.flatnonzero(count == m)
        least[same] = firmness(m, alpha)
        step = max(1, _CHUNK // max(m, 64))
        for piece in np.split(same, range(step, same.size, step)):
            rows = values[start[piece][:, None] + np.arange(m)]  # (x, m), ascending
            apart[piece] = m - _largest_tie(rows)
            varied = piece[apart[piece] > 0]
            if varied.size:
                found = _bounds(rows[apart[piece] > 0], float(horizon), np.asarray(epsilon), alpha)
                plug_in[:, varied], low[:, varied], high[:, varied] = found
    return Concentration(np.asarray(epsilon, dtype=np.float64), numbers, apart > 0, plug_in, low, high, apart >= least)


def _largest_tie(rows: Floats) -> Ints:
    """How often the most frequent value of each ascending row (x, m) occurs, (x,)."""
    m = rows.shape[1]
    place = np.arange(m)
    begins = np.concatenate([np.ones((len(rows), 1), dtype=bool), np.diff(rows, axis=1) > 0.0], axis=1)
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    return np.asarray((place - first + 1).max(axis=1))


@lru_cache(maxsize=4096)
def firmness(m: int, alpha: float) -> int:
    r"""Samples of m that must differ from the most frequent one for a bound at level alpha given that samples vary.

    A bound fails with probability at most :math:`0.8\alpha`; given that samples vary that must be at most alpha. Let
    all values but the most probable one have probability pi together. At least r samples differ from the most frequent
    one only if K >= r differ from that value, :math:`K\sim\mathrm{Bin}(m,\pi)`, and samples vary with probability at
    least :math:`v(\pi)=1-(1-\pi)^{m-1}`, as :math:`\sum p_i^m\le(\max p_i)^{m-1}`. So failing with r samples apart has,
    given that they vary, probability at most :math:`\min(0.8\alpha,P(K\ge r))/v(\pi)`. With :math:`v(\pi_0)=0.8` it is
    at most alpha from :math:`\pi_0` on. Below, :math:`P(K\ge r)/v(\pi)` increases in pi: both vanish at 0, and the
    ratio of their derivatives is proportional to :math:`\pi^{r-1}(1-\pi)^{2-r}`, increasing for r >= 2. So the least r
    >= 2 with :math:`P(\mathrm{Bin}(m,\pi_0)\ge r)\le0.8\alpha` serves; m + 1 where there is none.
    """
    from scipy.special import bdtrc

    rare = 1.0 - (1.0 - _SPENT) ** (1.0 / (m - 1.0))
    r = np.arange(2, m + 1)
    serves = bdtrc(r - 1.0, m, rare) <= _SPENT * alpha
    return int(r[serves][0]) if serves.any() else m + 1


def _bounds(rows: Floats, H: float, epsilon: Floats, alpha: float) -> tuple[Floats, Floats, Floats]:
    """Plug-in, lower and upper bound of c of each row of sorted returns (x, m), (E, x) each."""
    m, slack, spent = rows.shape[1], 1e-9 * H, _SPENT * alpha  # rounding: towards the weaker bound
    mean, sd = rows.mean(axis=1), rows.std(axis=1)
    law = _Band.of(rows, H, shares_above(m, spent * _LOWER), 1.0 - shares_above(m, spent * _UPPER)[::-1])
    levels = np.append(share_above(m, spent * _SHARE), 1.0)
    top = 1.0 - share_above(m, spent / 2.0)[::-1]
    bottom = H - H * mean_below(1.0 - mean / H, m, spent / 4.0)
    bottom = np.maximum(bottom, _mean_of_edge(rows, H, shares_above(m, spent / 4.0)))
    beside = top[_at_or_above(rows, bottom - slack)]
    plug_in, low, high = (np.empty((epsilon.size, len(rows))) for _ in range(3))
    for i, e in enumerate(epsilon.tolist()):
        plug_in[i] = (rows >= (mean + e * sd * math.sqrt(m / (m - 1.0)))[:, None] - slack).mean(axis=1)
        direct = _threshold_by_moments(mean / H, (rows**2).mean(axis=1) / H**2, m, e, spent * _MOMENTS)
        low[i] = np.maximum(levels[_at_or_above(rows, H * direct + slack)], _least_share(law, levels, e, mean, sd))
        high[i] = np.minimum(beside, 1.0 / (1.0 + e**2))
    return plug_in, low, high


def _at_or_above(rows: Floats, place: Floats) -> Ints:
    """Number of entries of each ascending row at or above its ``place`` (x,)."""
    return np.asarray((rows >= place[:, None]).sum(axis=1))


def _mean_of_edge(rows: Floats, H: float, levels: Floats) -> Floats:
    """Mean of the law whose P(R >= t) is ``levels`` (m + 1,) of the number of samples there, (x,)."""
    m = rows.shape[1]
    lengths = np.diff(rows, axis=1, prepend=0.0)
    return np.asarray(lengths @ levels[m - np.arange(m)])


#: Cells of the grid of means.
_CELLS = 64


def _threshold_by_moments(first: Floats, second: Floats, m: int, epsilon: float, beta: float) -> Floats:
    """Upper bound on mu + epsilon sigma at level ``beta`` from averages of R and R^2 of m samples, (x,); H = 1."""
    if epsilon == 0.0:
        return mean_below(first, m, beta)
    edges = np.arange(_CELLS + 1.0) / _CELLS
    low, high = edges[:-1], edges[1:]
    a = 0.5 * (low + high)
    turn = np.clip(a - 0.5 / epsilon, 0.0, 1.0)  # where g_a is least
    least, most = turn + epsilon * (turn - a) ** 2, np.maximum(epsilon * a**2, 1.0 + epsilon * (1.0 - a) ** 2)
    found = np.empty(first.size)
    step = _CHUNK // _CELLS
    widest = np.clip(0.5, low, high)
    widest = np.sqrt(widest * (1.0 - widest))  # of sd over the cell: sigma^2 <= mu (1 - mu)
    for start in range(0, first.size, step):
        one, two = first[start : start + step, None], second[start : start + step, None]
        average = one + epsilon * (two - 2.0 * a * one + a * a)
        bound = least + (most - least) * mean_below((average - least) / (most - least), m, beta)
        sd = np.minimum(np.sqrt(np.maximum(bound - low, 0.0) / epsilon), widest)
        # High - then mu <= bound - epsilon sigma^2 - and sigma at its most: both increase to sigma = 1/2.
        reach = np.minimum(high, bound - epsilon * sd**2) + epsilon * sd
        found[start : start + step] = np.where(bound >= low, reach, 0.0).max(axis=1)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    """The laws with l <= P(R >= t) <= u for x rows at once, constant between edges (x, m + 2).

    Interval j lies between edge j and j + 1; m - j samples are at or above any t of it. ``under`` and ``over``
    (2, x, m + 2): integrals of l and of u from 0 to each edge, times 1 and times 2t.
    """

    edges: Floats
    low: Floats  # (m + 1,) of interval j
    high: Floats
    under: Floats
    over: Floats

    @classmethod
    def of(cls, rows: Floats, H: float, low: Floats, high: Floats) -> _Band:
        x = len(rows)
        edges = np.concatenate([np.zeros((x, 1)), rows, np.full((x, 1), H)], axis=1)
        low, high = low[::-1], high[::-1]
        under, over = np.zeros((2, x, edges.shape[1])), np.zeros((2, x, edges.shape[1]))
        for power, (below, above) in enumerate(zip(under, over, strict=True), 1):
            lengths = np.diff(edges**power, axis=1)
            np.cumsum(lengths * low, axis=1, out=below[:, 1:])
            np.cumsum(lengths * high, axis=1, out=above[:, 1:])
        return cls(edges, low, high, under, over)

    def at(self, table: Floats, place: Ints) -> Floats:
        """The entry ``place`` (x,) of each row of a table (x, m + 2)."""
        return np.asarray(table.reshape(-1)[np.arange(place.size) * table.shape[1] + place])

    def interval(self, place: Floats) -> Ints:
        """Number of the interval that holds ``place`` (x,)."""
        first, last = np.zeros(place.size, dtype=np.int64), np.full(place.size, self.low.size - 1)
        for _ in range(int(self.low.size).bit_length()):
            middle = (first + last + 1) // 2
            past = self.at(self.edges, middle) <= place
            first, last = np.where(past, middle, first), np.where(past, last, np.maximum(middle - 1, first))
        return first

    def moments(self, turn: Floats, cap: Ints, share: Floats) -> tuple[Floats, Floats]:
        """E R and E R^2 of the law that is l up to ``turn`` and u from there, at most ``share`` from edge ``cap`` on.

        All are (x,); ``cap`` are numbers of edges.
        """
        last = self.low.size
        i = self.interval(turn)
        met = np.maximum(np.searchsorted(-self.high, -share), cap)  # first interval whose u is at most the share
        place, flat, start = self.at(self.edges, cap), self.at(self.edges, met), self.at(self.edges, i)
        free, capped = turn < place, np.maximum(turn, place) < flat
        j = np.where(free, np.minimum(cap, last - 1), i)
        before, begins = self.at(self.edges, j), np.maximum(turn, place)
        low, high, above = self.low[i], self.high[i], self.high[j]
        parts = []
        for power in (1, 2):
            under, over = self.under[power - 1], self.over[power - 1]
            into, at_j, end = turn**power - start**power, self.at(over, j), over[:, -1]
            first = self.at(under, i) + low * into
            second = np.where(free, self.at(over, cap) - self.at(over, i) - high * into, 0.0)
            flat_part = share * (flat**power - begins**power) + end - self.at(over, met)
            rest = end - at_j - above * (begins**power - before**power)
            parts.append(first + second + np.where(capped, flat_part, rest))
        return parts[0], parts[1]


#: Improvements of (a, lambda) for one cap, and halvings between two levels of the share.
_SWEEPS, _HALVINGS = 2, 3


def _least_share(law: _Band, levels: Floats, epsilon: float, mean: Floats, sd: Floats) -> Floats:
    """The smallest q whose cap lets the threshold reach the place from which on ``levels`` (m + 2,) admit it, (x,).

    Between two levels, l(k) <= q < l(k + 1), that place is the edge number m - k, and the threshold increases in q.
    """
    size, m = mean.size, law.low.size - 1
    H, row = law.edges[:, -1], np.arange(size)
    floor = 1e-6 * H
    state = [mean, np.maximum(sd / max(epsilon, 1e-3), floor)]

    def reaches(cap: Ints, share: Floats) -> NDArray[np.bool_]:
        best = np.full(size, math.inf)
        for _ in range(_SWEEPS if epsilon > 0.0 else 1):
            a, scale = state
            turn = np.maximum(a - scale, 0.0) if epsilon > 0.0 else np.zeros(size)
            first, second = law.moments(turn, cap, share)
            if epsilon == 0.0:
                best = first
                break
            bound = first + (second - 2.0 * a * first + a * a) / (2.0 * scale) + epsilon**2 * scale / 2.0
            best = np.minimum(best, bound)
            # The moments of the law that attains the bound give a lower one, until both meet.
            state[:] = [first, np.maximum(np.sqrt(np.maximum(second - first**2, 0.0)) / epsilon, floor)]
        return np.asarray(best > law.edges[row, cap] - 1e-9 * H)

    below, k = np.full(size, -1), np.full(size, m)  # the first that reaches lies in (below, k]
    for _ in range(int(m + 1).bit_length()):
        middle = (below + k) // 2
        met = reaches(m - np.maximum(middle, 0), levels[middle + 1])
        open_ = k - below > 1
        k, below = np.where(open_ & met, middle, k), np.where(open_ & ~met, middle, below)
    least, most = levels[k], levels[k + 1]
    sure = reaches(m - k, least)
    for _ in range(_HALVINGS):
        share = 0.5 * (least + most)
        met = sure | reaches(m - k, share)
        least, most = np.where(met, least, share), np.where(met, share, most)
    return np.asarray(least)


def least_concentration(found: Concentration) -> Floats:
    """Lower bounds (E,) on the smallest c over the problems that vary, for ``found`` at level alpha (not alpha/X).

    The bound at one epsilon fails with probability at most alpha. Order the problems by their c. The least of those
    that vary is the first that does, and its bound fails with probability at most alpha given that it varies, whatever
    happened to those before it. 0 where nothing is known, NaN if no problem varies.
    """
    if not found.varies.any():
        return np.full(found.epsilon.size, math.nan)
    return np.asarray(found.low_if_varying.min(axis=1))


def lower_quantile(found: Concentration, q: float = 0.1, level: float = 0.95) -> Floats:
    r"""Lower confidence bounds (E,) on the q-quantile of c over problems that vary, for ``found`` at level 0.01.

    Let :math:`\xi` be that quantile, :math:`P(c\le\xi)\ge q` for a problem from the population of those that vary, and
    L its lower bound, :math:`P(L>c)\le\alpha`. Then :math:`P(L\le\xi)\ge q-\alpha`. Of X such problems the j-th
    smallest L exceeds :math:`\xi` only if fewer than j of them lie at or below it, with probability at most
    :math:`P(\mathrm{Bin}(X,q-\alpha)<j)`. The largest j for which that is at most 1 - ``level`` gives the bound; 0
    where not even the smallest serves (X below :math:`\log(1-level)/\log(1-q+\alpha)`), NaN if no problem varies.
    Raises ``ValueError`` unless 0.01 < q < 1.
    """
    from scipy.special import bdtr

    if not _PER_PROBLEM < q < 1.0:
        raise ValueError(f"q = {q}: expected a number between {_PER_PROBLEM} and 1")
    if not found.varies.any():
        return np.full(found.epsilon.size, math.nan)
    low = np.sort(found.low_if_varying, axis=1)
    size = low.shape[1]
    serves = int((bdtr(np.arange(size), size, q - _PER_PROBLEM) <= 1.0 - level).sum())  # j - 1 = 0, 1, ..
    return np.asarray(low[:, serves - 1] if serves else np.zeros(len(low)))


def mean_concentration(found: Concentration, seed: int, level: float = 0.95) -> list[Interval]:
    """E_x c_x at each epsilon over problems that vary, for ``found`` at level 0.01 a problem.

    Of all problems bounds fail with probability at most 0.01, of those that vary with at most that over their share:
    so much may the mean of the bounds be off. The estimate is the mean plug-in: biased where samples are few, but the
    interval is not.
    """
    intervals = []
    allowed = _PER_PROBLEM / max(float(found.varies.mean()), 1e-300) if found.varies.size else 1.0
    for row in range(found.epsilon.size):
        plug_in, low, high = (table[row, found.varies] for table in (found.plug_in, found.low, found.high))
        bottom = bootstrap_mean(low, seed, level, 0.0, 1.0).low - allowed
        top = bootstrap_mean(high, seed, level, 0.0, 1.0).high + allowed
        estimate = float(plug_in.mean()) if plug_in.size else math.nan
        intervals.append(Interval(estimate, max(bottom, 0.0), min(top, 1.0), level, "bands of problems, averaged"))
    return intervals
