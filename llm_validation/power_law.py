r"""Power laws :math:`J(n)=J_\infty-a\,n^{-\nu}` through a measured curve, and whether they may be continued.

:math:`0\le J_\infty\le H` and :math:`a\ge0`; :math:`\nu` is fixed by theory (1/2 for cloning, 1 for a verifier) or free
in [.1, 2]. For each :math:`\nu` the weighted least squares problem is linear with two bounds and solved exactly, so
that the minimum over :math:`\nu` is found on a grid that is refined, for all resampled curves at once.

**Judged before it is used.** The exponent is chosen (fixed unless the smaller half of the n's rejects it at 5%) and the
law fitted on the smaller half; the larger half is then predicted. With C the covariance of the predictions (parametric
bootstrap) and S that of the measurements, :math:`r^\top(C+S)^{-1}r` of the errors r is compared with
:math:`\chi^2`; at p < .01 the law is not continued. That alone cannot see a threshold which lies beyond the data: a
curve at its foot looks flat or steepens in log n, whereas a power law flattens there. So the curve must rise (p <
.0005) and flatten in log n (quadratic term negative at p < .01), its last point must not lie above the law through the
others (p >= .05), and the law must fit all points (p >= .01).

**Interval.** Percentiles of the parametric bootstrap around the fits to all points with fixed and with free
:math:`\nu`, errors scaled up where a fit is worse than they say, and never without either prediction. Where the last
step does not rise (p >= .01) the curve may have stopped rising, which no power law does: then the mean of the last two
points with its error is within the interval too. All this assumes that the curve goes on as it did: a second threshold
beyond the data cannot be seen in advance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "REACH", "Curve", "Fit", "Forecast", "fit", "forecast", "reject", "resampled_amplitudes"]

Floats = NDArray[np.float64]

#: Points needed: three to fit, two to judge.
FEWEST = 5
#: Largest factor beyond the largest n.
REACH = 4.0
#: Levels of the tests: of the fixed exponent, of the predicted half and of the fit, of the rise, of the flattening,
#: of the last point, of the last step.
_CHOICE, _JUDGED, _RISE, _FLATTENS, _STEEPENS, _STOPPED = 0.05, 0.01, 0.0005, 0.01, 0.05, 0.01
_EXPONENTS = (0.1, 2.0)
_GRID, _FINE, _REFINEMENTS = 40, 9, 3
_RESAMPLES = 500


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One measured curve, n increasing: (k,) each. ``freedom`` of the errors: inf where they are known."""

    n: Floats
    J: Floats
    se: Floats
    freedom: float
    H: float

    def part(self, keep: slice) -> Curve:
        """Some of its points."""
        return Curve(self.n[keep], self.J[keep], self.se[keep], self.freedom, self.H)

    def quantile(self, p: float) -> float:
        """Of an estimate over its error."""
        from scipy.special import stdtrit

        return float(stdtrit(min(self.freedom, 1e9), p))

    def noise(self, rng: np.random.Generator, scale: float = 1.0) -> Floats:
        """Errors of resampled curves, (resamples, k); with few degrees of freedom their scale varies as Student's."""
        drawn = rng.normal(size=(_RESAMPLES, self.n.size)) * self.se * scale
        if math.isfinite(self.freedom):
            drawn *= np.sqrt(self.freedom / rng.chisquare(self.freedom, size=(_RESAMPLES, 1)))
        return drawn


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Laws fitted to curves, (B,) each: J_inf and a n^-nu = ``drop`` (n/``last``)^-nu, tokens; chi^2 of residuals."""

    J_inf: Floats
    drop: Floats
    nu: Floats
    chi2: Floats
    last: float
    freedom: int

    def at(self, n: Floats) -> Floats:
        """Values at ``n`` (k,), (B, k)."""
        return np.asarray(self.J_inf[:, None] - self.drop[:, None] * (n / self.last) ** -self.nu[:, None])

    @property
    def amplitude(self) -> Floats:
        """a, tokens times n^nu, (B,)."""
        return np.asarray(self.drop * self.last**self.nu)


def fit(curve: Curve, J: Floats, nu: float | None) -> Fit:
    """Least squares through curves ``J`` (B, k) measured where and as well as ``curve``; ``nu`` None: free."""
    x, w, last = curve.n / curve.n[-1], curve.se**-2.0, float(curve.n[-1])
    if nu is not None:
        grid = np.full((len(J), 1), nu)
        J_inf, drop, chi2 = _solved(x, J, w, grid, curve.H)
        return Fit(J_inf[:, 0], drop[:, 0], grid[:, 0], chi2[:, 0], last, curve.n.size - 2)
    grid = np.tile(np.geomspace(*_EXPONENTS, _GRID), (len(J), 1))
    step = (_EXPONENTS[1] / _EXPONENTS[0]) ** (1.0 / (_GRID - 1))
    rows = np.arange(len(J))
    for _ in range(_REFINEMENTS):
        J_inf, drop, chi2 = _solved(x, J, w, grid, curve.H)
        best = chi2.argmin(axis=1)
        around = grid[rows, best]
        found = Fit(J_inf[rows, best], drop[rows, best], around, chi2[rows, best], last, curve.n.size - 3)
        grid = np.clip(around[:, None] * step ** np.linspace(-1.0, 1.0, _FINE), *_EXPONENTS)
        step = step ** (2.0 / (_FINE - 1))
    return found


def _solved(x: Floats, J: Floats, w: Floats, nu: Floats, H: float) -> tuple[Floats, Floats, Floats]:
    """J_inf in [0, H], drop >= 0 and chi^2 for each curve and each of its exponents ``nu`` (B, G), (B, G) each."""
    basis = x ** -nu[:, :, None]  # (B, G, k)
    s1, sy = w.sum(), (J * w).sum(axis=1)[:, None]
    sx, sxx, sxy = (basis * w).sum(axis=2), (basis**2 * w).sum(axis=2), np.einsum("bgk,bk->bg", basis, J * w)
    determinant = np.maximum(s1 * sxx - sx**2, 1e-12 * s1 * sxx)
    drop = np.maximum((sx * sy - s1 * sxy) / determinant, 0.0)
    J_inf = (sy + drop * sx) / s1
    over = J_inf > H
    drop = np.where(over, np.maximum((H * sx - sxy) / sxx, 0.0), drop)
    J_inf = np.clip(J_inf, 0.0, H)
    residual = J[:, None, :] - J_inf[:, :, None] + drop[:, :, None] * basis
    return J_inf, drop, (residual**2 * w).sum(axis=2)


def _tail(statistic: float, freedom: int) -> float:
    """P(chi^2 >= statistic); 1 without degrees of freedom."""
    from scipy.special import gammaincc

    return float(gammaincc(freedom / 2.0, statistic / 2.0)) if freedom > 0 else 1.0


def reject(curve: Curve, nu: float, rng: np.random.Generator) -> str | None:
    """Why a power law through the curve must not be continued, in words; None if nothing speaks against it."""
    if curve.n.size < FEWEST:
        return (
            f"{curve.n.size} measured n, expected at least {FEWEST} to fit a law on one half and judge it on the other"
        )
    return _shape(curve) or _half(curve, nu, rng) or _last(curve, rng) or _whole(curve)


def _shape(curve: Curve) -> str | None:
    u = np.log(curve.n / curve.n[0])
    rise = (curve.J[-1] - curve.J[0]) / math.hypot(curve.se[0], curve.se[-1])
    if rise < curve.quantile(1.0 - _RISE):
        return "the curve does not rise beyond its errors: a plateau and the foot of a threshold look alike"
    design = np.stack([np.ones_like(u), u, u**2], axis=1) / curve.se[:, None]
    inverse = np.linalg.inv(design.T @ design)
    bend = float((inverse @ design.T @ (curve.J / curve.se))[2]) / math.sqrt(inverse[2, 2])
    if bend > -curve.quantile(1.0 - _FLATTENS):
        return "the curve does not flatten in log n beyond its errors: it may be below a threshold"
    return None


def _half(curve: Curve, nu: float, rng: np.random.Generator) -> str | None:
    """The larger half of the n's against the law fitted to the smaller."""
    half = (curve.n.size + 1) // 2
    small, large = curve.part(slice(None, half)), curve.part(slice(half, None))
    fixed = fit(small, small.J[None], nu)
    chosen = nu if _tail(float(fixed.chi2[0]), fixed.freedom) >= _CHOICE else None
    found = fixed if chosen is not None else fit(small, small.J[None], None)
    resampled = fit(small, found.at(small.n) + small.noise(rng), chosen).at(large.n)
    spread = np.cov(resampled, rowvar=False).reshape(large.n.size, large.n.size)
    error = large.J - found.at(large.n)[0]
    p = _tail(float(error @ np.linalg.solve(spread + np.diag(large.se**2), error)), large.n.size)
    if p >= _JUDGED:
        return None
    which = f"nu = {nu:g}" if chosen is not None else f"free nu, {found.nu[0]:.2g}"
    return f"the law fitted to the smaller half of the n's ({which}) does not predict the larger half (p = {p:.1g})"


def _last(curve: Curve, rng: np.random.Generator) -> str | None:
    """The last point against the law through the others."""
    others, end = curve.part(slice(None, -1)), curve.n[-1:]
    found = fit(others, others.J[None], None)
    spread = float(fit(others, found.at(others.n) + others.noise(rng), None).at(end).std())
    above = (curve.J[-1] - float(found.at(end)[0, 0])) / math.hypot(spread, curve.se[-1])
    if above <= curve.quantile(1.0 - _STEEPENS):
        return None
    return f"the last point lies {above:.1f} errors above the law through the others: the curve may be steepening"


def _whole(curve: Curve) -> str | None:
    found = fit(curve, curve.J[None], None)
    p = _tail(float(found.chi2[0]), found.freedom)
    return None if p >= _JUDGED else f"no power law fits all points (p = {p:.1g})"


@dataclass(frozen=True, slots=True)
class Forecast:
    """J at an n beyond the data, tokens; ``nu`` of the free fit."""

    low: float
    estimate: float
    high: float
    nu: float


def forecast(curve: Curve, nu: float, n: float, level: float, rng: np.random.Generator) -> Forecast:
    """Prediction at ``n`` from all points; the estimate is that of the free exponent unless the fixed one fits."""
    at, tail = np.array([n]), 0.5 * (1.0 - level)
    ends, values, free_nu = [], [], math.nan
    for exponent in (nu, None):
        found = fit(curve, curve.J[None], exponent)
        value = float(found.at(at)[0, 0])
        p = _tail(float(found.chi2[0]), found.freedom)
        values.append((p >= _CHOICE, value))
        ends += [value]
        if exponent is None:
            free_nu = float(found.nu[0])
        if exponent is None or p >= _JUDGED:
            scale = math.sqrt(max(float(found.chi2[0]) / max(found.freedom, 1), 1.0))
            drawn = fit(curve, found.at(curve.n) + curve.noise(rng, scale), exponent).at(at)[:, 0]
            ends += [float(q) for q in np.quantile(drawn, [tail, 1.0 - tail])]
    ends += _stopped(curve, tail)
    estimate = values[0][1] if values[0][0] else values[1][1]
    return Forecast(max(min(ends), 0.0), estimate, min(max(ends), curve.H), free_nu)


def _stopped(curve: Curve, tail: float) -> list[float]:
    """Interval of the mean of the last two points if the last step does not rise, else nothing."""
    J, se = curve.J[-2:], curve.se[-2:]
    if (J[1] - J[0]) / math.hypot(*se) >= curve.quantile(1.0 - _STOPPED):
        return []
    half = curve.quantile(1.0 - tail) * 0.5 * math.hypot(*se)
    return [float(J.mean()) - half, float(J.mean()) + half]


def resampled_amplitudes(curve: Curve, nu: float, rng: np.random.Generator) -> tuple[float, Floats, str | None]:
    """What a law of exponent ``nu`` loses to its limit at the largest n, tokens, resampled; and why it does not fit."""
    found = fit(curve, curve.J[None], nu)
    p = _tail(float(found.chi2[0]), found.freedom)
    drawn = fit(curve, found.at(curve.n) + curve.noise(rng), nu).drop
    return float(found.drop[0]), drawn, None if p >= _JUDGED else f"nu = {nu:g} does not fit (p = {p:.1g})"
