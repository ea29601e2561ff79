r"""What m samples of a law on [0, 1] say for certain: of one share, of all shares at once, and of a mean.

* **One share.** Of k successes in m draws, :func:`share_above` is the Clopper-Pearson lower bound at level beta.
* **All shares at once.** With k(t) of m samples at or above t, :math:`P(R\ge t)\ge l(k(t))` for all t at once with
  probability :math:`1-\beta`. The bounds fail where some :math:`V_{(k)}<l(k)`, :math:`V_{(1)}\le..\le V_{(m)}` ordered
  uniforms (for laws with atoms, at most there). :math:`V_{(k)}` has the law Beta(k, m - k + 1) and l(k) is its quantile
  at one level eta for all k, the largest for which the probability that any fails is beta. That probability is exact:
  the counts below :math:`l(1)\le..\le l(m)` are a Poisson process given its total, whose law on "fewer than k below
  l(k)" goes from one k to the next by a convolution of positive numbers. Beyond 256 samples
  :math:`\eta=\beta/|K|`, by the union over a set K of places; between these the bound of the place below serves.
  Upper bounds are those of the complement, :math:`u(k)=1-l(m-k)`.
* **A mean.** Y in [0, 1] has :math:`f(Y)\le(1-Y)f(0)+Yf(1)` for convex f, so that
  :math:`Ef(\sum Y_i)\le Ef(B)`, :math:`B\sim\mathrm{Bin}(m,EY)`, one Y after the other. Let k be the quantile of B at
  beta and s < k. Markov's inequality for :math:`f(y)=(k-y)^+` gives
  :math:`P(\sum Y_i\le s)\le E(k-B)^+/(k-s)`, which is at most beta where s is at most
  :math:`k-E(k-B)^+/\beta`, the mean of the lowest share beta of B. :func:`mean_below` is the smallest EY at which the
  sum that was seen is not so small. For Y in {0, 1} of mean near 1/2 it costs a factor 2.1 to 2.4 standard errors at
  levels .04 to .02, where the exact test needs 1.75 to 2.05.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["any_below", "band", "mean_below", "share_above", "shares_above"]

Floats = NDArray[np.float64]

#: Samples up to which the probability that a band fails is computed exactly, and the least one that is.
_EXACT, _TINY = 256, 1e-9
#: Places of a band for more samples lie this many standard deviations apart.
_SPACING = 0.5
#: Steps of the table of means.
_TABLE = 1024


def share_above(m: int, beta: float) -> Floats:
    """Lower bounds on a probability at level ``beta`` where k = 0..m of m draws had it, (m + 1,)."""
    from scipy.special import betaincinv

    k = np.arange(1, m + 1)
    return np.concatenate([[0.0], betaincinv(k, m - k + 1.0, beta)])


@lru_cache(maxsize=4096)
def shares_above(m: int, beta: float) -> Floats:
    """l(k), k = 0..m: P(R >= t) >= l(k(t)) for all t at once with probability 1 - ``beta``; (m + 1,), read-only."""
    if m <= _EXACT and beta >= _TINY:
        low = share_above(m, _local_level(m, beta))
    else:
        places = _places(m)
        kept = share_above(m, beta / places.size)[places]
        low = np.concatenate([[0.0], kept])[np.searchsorted(places, np.arange(m + 1), side="right")]
    low.setflags(write=False)
    return low


def band(m: int, alpha: float) -> tuple[Floats, Floats]:
    """l(k) and u(k), k = 0..m: bounds on P(R >= t) that hold for all t at once with probability 1 - ``alpha``."""
    low = shares_above(m, alpha / 2.0)
    return low, 1.0 - low[::-1]


def _places(m: int) -> NDArray[np.int64]:
    """Ranks in 1..m about half a standard deviation of their share apart."""
    steps = max(int(math.pi * math.sqrt(m) / _SPACING), 2)
    angles = np.sin(0.5 * math.pi * np.arange(steps + 1) / steps) ** 2
    ends = np.arange(1, min(8, m) + 1)
    return np.unique(np.concatenate([ends, m + 1 - ends, np.clip(np.rint(m * angles), 1, m)]).astype(np.int64))


def _local_level(m: int, beta: float) -> float:
    """The level of each place at which any of them fails with probability at most ``beta``."""
    least, eta = beta / m, min(beta / (2.0 * math.log(m + 1.0)), 0.5)
    for _ in range(20):
        failed = any_below(share_above(m, eta)[1:])
        if 0.999 * beta <= failed <= beta:
            return eta
        # Nearly proportional. The union bound beta/m never fails; from above the factor goes below the solution.
        eta = max(eta * 0.9995 * beta / failed, least)
    return least


def any_below(levels: Floats) -> float:
    """P(some V_(k) < levels[k - 1]), for increasing levels (m,) and m ordered uniforms."""
    from scipy.special import gammaln

    m = levels.size
    lengths = m * np.diff(np.concatenate([[0.0], levels, [1.0]]))
    n = np.arange(m + 1)
    factorial = gammaln(n + 1.0)
    logs = np.log(np.maximum(lengths, 1e-300))
    jumps = np.exp(n * logs[:, None] - lengths[:, None] - factorial)  # (m + 1, m + 1): Poisson
    state = np.ones(1)
    for k in range(m):
        state = np.convolve(state, jumps[k, : k + 1])[: k + 1]
    held = float(state @ jumps[m, m - np.arange(m)]) / math.exp(m * math.log(m) - m - factorial[m])
    return 1.0 - held


@lru_cache(maxsize=4096)
def _means(m: int, beta: float) -> tuple[Floats, Floats]:
    """Probabilities p, ascending, and the mean of the lowest share ``beta`` of Bin(m, p)/m at each."""
    from scipy.special import bdtr, bdtrik

    p = np.sin(0.5 * math.pi * np.arange(1, _TABLE) / _TABLE) ** 2
    k = np.clip(np.ceil(bdtrik(beta, m, p)), 0.0, m)  # the smallest with P(B <= k) >= beta, up to rounding
    k = np.where((k > 0) & (bdtr(np.maximum(k - 1.0, 0.0), m, p) >= beta), k - 1.0, k)
    below = np.where(k > 0, bdtr(np.maximum(k - 1.0, 0.0), m, p), 0.0)
    part = np.where(k > 1, m * p * bdtr(np.maximum(k - 2.0, 0.0), max(m - 1, 1), p), 0.0)  # E[B; B < k]
    lowest = (part + k * (beta - below)) / (beta * m)
    return np.append(p, 1.0), np.append(np.maximum.accumulate(lowest), math.inf)


def mean_below(average: Floats, m: int, beta: float) -> Floats:
    """Upper bound at level ``beta`` on the mean of a law on [0, 1], from the averages of m draws (any shape)."""
    p, lowest = _means(m, beta)
    return np.asarray(p[np.searchsorted(lowest, average + 1e-12, side="right")])
