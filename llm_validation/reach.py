r"""How far from the base policy search can go, and what it finds there: the kappa that is reachable.

Per problem, with returns R of the base:

* **Best of N** draws has density :math:`NF^{N-1}` where F has no atoms, so
  :math:`\chi^2=N^2/(2N-1)-1`; with atoms R is a function of an atomless draw, and the divergence of the images is at
  most that of the draws. **Top c** has density 1/c on its mass c: :math:`\chi^2=1/c-1`.
* **The ball.** By Cauchy and Schwarz a policy of density u with :math:`Eu^2\le1+\kappa` has, for every t,
  :math:`E[uR]\le t+E[u(R-t)^+]\le t+\sqrt{(1+\kappa)E[((R-t)^+)^2]}`, with equality at the best policy's density
  :math:`u\propto(R-t)^+` (``chi2-expert``). So

  .. math:: J_x(\bar\pi_\kappa)=\inf_t\Bigl\{t+\sqrt{(1+\kappa)\,E[((R-t)^+)^2]}\Bigr\}
            \le\mu_x+\sqrt\kappa\,\tfrac12\Bigl(\frac{\sigma_x^2}\lambda+\lambda\Bigr)\quad\text{for every }\lambda>0.

  The left side is concave in the law: with samples for the law it is too small in expectation (Jensen), never too
  large. The right side, from :math:`\mu+\sigma\sqrt\kappa`, has an unbiased estimate; lambda is the root mean square of
  :math:`\hat\sigma_x`, to first order no choice, as it minimises the bound. The interval for the mean of J over
  problems ends at the low end of the one and at the high end of the other.
* **The best return seen**, r, is met from :math:`\kappa=1/P(R\ge r)-1` on, by the base given that it returns r or more.
  With H = 1 that is all there is; else more may be possible that was not seen. r is chosen by the samples, so bounds
  are those that hold at all places at once; with H = 1, where r = 1, those of one place. Where nothing was solved
  :math:`P(R>0)` is bounded from above, kappa from below.
* **Margin.** The bounds on verifier-based search ask for :math:`c_x(\varepsilon)\ge c_0` at
  :math:`\varepsilon=\sqrt\kappa`: the share of the problems that vary for which it holds, and the epsilon up to which
  it holds for all of them.

Bounds of a problem fail with probability at most 1%; by so much (over the share of those that vary) a share may be off.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.concentration import Concentration, concentration, least_concentration
from llm_validation.moments import Interval, bootstrap_mean
from llm_validation.sample_bounds import share_above, shares_above
from llm_validation.traces import Traces

__all__ = ["Ball", "BestSeen", "Margin", "Reach", "best_of_divergence", "best_within", "optimum_of_samples", "reach"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Margins at which c is bounded, the c that is asked for, and the level of a problem's bounds.
EPSILONS, C0, PER_PROBLEM = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5), 0.05, 0.01
#: Entries (problems x samples) worked on at once.
_CHUNK = 2_000_000


@dataclass(frozen=True, slots=True)
class Ball:
    """The ball of radius ``kappa``: what lies in it, and the value of its best policy, tokens, mean over problems.

    Best of ``best_of`` draws and the top share ``top`` of the base are in it. ``value`` has the plug-in for an estimate
    (biased downwards); ``above`` is the upper side alone. ``met``: share of problems whose best return seen is
    met by a policy of the ball.
    """

    kappa: float
    best_of: int
    top: float
    value: Interval
    above: Interval
    met: Interval


@dataclass(frozen=True, slots=True)
class Margin:
    """``share`` of the problems that vary with c(``epsilon``) at least c0."""

    epsilon: float
    share: Interval


@dataclass(frozen=True, slots=True)
class BestSeen:
    """Quartiles over the sampled problems of the kappa that meets the best return seen: plug-in, and 99% bounds."""

    plug_in: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """All of it for one run. ``certified``: epsilon up to which every problem has c at least ``c0``, at level 99%.

    None where no epsilon asked about is certified.
    """

    H: int
    problems: int
    c0: float
    balls: tuple[Ball, ...]
    margins: tuple[Margin, ...]
    certified: float | None
    best_seen: BestSeen

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


def best_of_divergence(N: int) -> float:
    """chi^2 of best-of-N to the base for a return without atoms, an upper bound for any: N^2/(2N - 1) - 1."""
    return (N - 1) ** 2 / (2 * N - 1)


def best_within(kappa: float) -> int:
    """The largest N whose best-of-N lies in the ball: N <= 1 + kappa + sqrt(kappa (1 + kappa))."""
    N = int(1.0 + kappa + math.sqrt(kappa * (1.0 + kappa)) + 1e-9)
    return N if best_of_divergence(N) <= kappa * (1.0 + 1e-12) else N - 1


def optimum_of_samples(rows: Floats, kappa: float) -> Floats:
    """Value (x,) of the best policy of the ball around the empirical law of each ascending row (x, m).

    With the j largest kept, of mean m_j and variance v_j, it is :math:`m_j+\\sqrt{v_j(j(1+\\kappa)/m-1)}` for the j
    whose threshold lies between the values kept and dropped (:func:`theory.chi2_ball.optimal_expert`).
    """
    m = rows.shape[1]
    j = np.arange(1, m + 1)
    kept = rows[:, ::-1]
    centre = rows[:, -1:]
    first = np.cumsum(kept - centre, axis=1) / j
    variance = np.maximum(np.cumsum((kept - centre) ** 2, axis=1) / j - first**2, 0.0)
    room = j * (1.0 + kappa) / m - 1.0
    usable = room > 1e-12
    depth = np.sqrt(variance / np.where(usable, room, 1.0))
    threshold = first - depth
    least = kept - centre
    below = np.concatenate([least[:, 1:], np.full((len(rows), 1), -np.inf)], axis=1)
    off = np.where(usable, np.maximum(np.maximum(below - threshold, threshold - least), 0.0), np.inf)
    chosen = off.argmin(axis=1)[:, None]
    value = first + depth * np.where(usable, room, 0.0)
    return np.asarray(np.take_along_axis(value, chosen, axis=1)[:, 0] + rows[:, -1])


def _tables(problem: Ints, returns: Floats) -> Iterator[tuple[Ints, Floats]]:
    """Places of the problems with m samples among all in order, and their returns ascending, (x, m)."""
    order = np.lexsort((returns, problem))
    values = returns[order]
    _, start, count = np.unique(problem[order], return_index=True, return_counts=True)
    for m in np.unique(count).tolist():
        same = np.flatnonzero(count == m)
        step = max(1, _CHUNK // m)
        for piece in np.split(same, range(step, same.size, step)):
            yield piece, values[start[piece][:, None] + np.arange(m)]


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Of X problems: mean, unbiased variance, and value of the best policy on the samples, (K, X) a kappa."""

    mean: Floats
    variance: Floats
    optimum: Floats
    top_low: Floats  # bounds on P(R >= best return seen), and the share of the samples
    top_high: Floats
    top_share: Floats


def _columns(problem: Ints, returns: Floats, binary: bool, kappas: Sequence[float]) -> _Columns:
    size = int(np.unique(problem).size)
    mean, variance, top_low, top_high, top_share = (np.full(size, math.nan) for _ in range(5))
    optimum = np.empty((len(kappas), size))
    for at, rows in _tables(problem, returns):
        m = rows.shape[1]
        mean[at] = rows.mean(axis=1)
        if m > 1:
            variance[at] = rows.var(axis=1, ddof=1)
        for i, kappa in enumerate(kappas):
            optimum[i, at] = optimum_of_samples(rows, kappa)
        best = rows[:, -1]
        count = np.where(best > 0.0, (rows >= best[:, None]).sum(axis=1), 0)
        once = share_above(m, PER_PROBLEM)
        levels = once if binary else shares_above(m, PER_PROBLEM)
        top_low[at], top_share[at] = levels[count], count / m
        top_high[at] = 1.0 - np.where(count > 0, levels[m - count], once[m])  # P(R > 0) is at one place
    return _Columns(mean, variance, optimum, top_low, top_high, top_share)


def reach(
    traces: Traces,
    horizon: int,
    seed: int,
    kappas: Sequence[float] = (0.25, 1.0, 4.0),
    bounds: Concentration | None = None,
) -> Reach | None:
    """What lies within reach of one run at budget ``horizon``; None if no problem has two traces of known return.

    Traces of unknown return are left out. ``bounds`` are those of c at level 0.01 a problem, if they are at hand; their
    epsilons, in increasing order, are the margins. Raises ``ValueError`` unless every kappa is positive.
    """
    if not all(0.0 < kappa < math.inf for kappa in kappas):
        raise ValueError(f"kappas = {tuple(kappas)}: expected positive numbers")
    returns = traces.returns(horizon)
    known = np.isfinite(returns)
    problem, returns = traces.problem[known], returns[known]
    found = _columns(problem, returns, horizon == 1, kappas) if problem.size else None
    if found is None or not np.isfinite(found.variance).any():
        return None
    if bounds is None:
        bounds = concentration(problem, returns, horizon, np.array(EPSILONS), PER_PROBLEM)
    least = np.minimum.accumulate(least_concentration(bounds))  # c decreases in epsilon
    met = [e for e, low in zip(bounds.epsilon.tolist(), least.tolist(), strict=True) if low >= C0]
    balls = tuple(_ball(found, i, kappa, float(horizon), seed) for i, kappa in enumerate(kappas))
    margins = tuple(_margin(bounds, row, seed) for row in range(bounds.epsilon.size))
    return Reach(horizon, int(found.mean.size), C0, balls, margins, max(met, default=None), _best_seen(found))


def _ball(found: _Columns, row: int, kappa: float, H: float, seed: int) -> Ball:
    plug_in = bootstrap_mean(found.optimum[row], seed, low=0.0, high=H)
    spread = np.isfinite(found.variance)
    variance = found.variance[spread]
    scale = max(math.sqrt(float(variance.mean())), 1e-9 * H)
    reached = found.mean[spread] + math.sqrt(kappa) * 0.5 * (variance / scale + scale)
    above = bootstrap_mean(reached, seed, low=0.0, high=H)
    method = "plug-in, biased downwards, to mean + sd sqrt(kappa)"
    value = Interval(plug_in.estimate, plug_in.low, max(above.high, plug_in.high), plug_in.level, method)
    share = 1.0 / (1.0 + kappa)
    met = _share(found.top_share >= share - 1e-12, found.top_low >= share, found.top_high >= share, PER_PROBLEM, seed)
    return Ball(kappa, best_within(kappa), share, value, above, met)


def _share(plug_in: NDArray[Any], surely: NDArray[Any], possibly: NDArray[Any], allowed: float, seed: int) -> Interval:
    """Share of problems with some property, between those that surely and those that possibly have it."""
    low = bootstrap_mean(surely.astype(np.float64), seed, low=0.0, high=1.0)
    high = bootstrap_mean(possibly.astype(np.float64), seed, low=0.0, high=1.0)
    estimate = float(plug_in.mean()) if plug_in.size else math.nan
    return Interval(
        estimate, max(low.low - allowed, 0.0), min(high.high + allowed, 1.0), low.level, "bounds of problems, averaged"
    )


def _margin(bounds: Concentration, row: int, seed: int) -> Margin:
    varies = bounds.varies
    allowed = PER_PROBLEM / max(float(varies.mean()), 1e-300) if varies.size else 1.0
    low = bounds.low[: row + 1, varies].min(axis=0)
    plug_in, high = bounds.plug_in[row, varies], bounds.high[row, varies]
    return Margin(float(bounds.epsilon[row]), _share(plug_in >= C0, low >= C0, high >= C0, allowed, seed))


def _best_seen(found: _Columns) -> BestSeen:
    """Quartiles as order statistics (the middle one of few is the lower): no interpolation towards infinity."""

    def quartiles(share: Floats) -> tuple[float, ...]:
        with np.errstate(divide="ignore"):
            kappa = 1.0 / share - 1.0
        return tuple(float(q) for q in np.quantile(kappa, [0.25, 0.5, 0.75], method="lower"))

    return BestSeen(quartiles(found.top_share), quartiles(found.top_high), quartiles(found.top_low))
