r"""Laws of the return R of one prompt under the base policy: finite, with every functional the statements need.

A law is a finite set of values r_1 < ... < r_m in [0, H] (tokens) with probabilities p_i > 0. Written here:

* mean :math:`\mu=\sum p_i r_i`, standard deviation :math:`\sigma`, half-range :math:`\rho=(r_m-r_1)/2`;
* anti-concentration :math:`c(\varepsilon)=P[R\ge\mu+\varepsilon\sigma]`;
* top-c mean :math:`\mathrm{CVaR}^{top}_c=\frac1c\int_0^c F^{-1}(1-u)\,du`;
* mean of the best of N draws :math:`\sum_i r_i\,(F(r_i)^N-F(r_{i-1})^N)`.

``two_point`` is {0, H}, ``symmetric_two_point`` is mu +- sigma around H/2, ``uniform`` is {0, ..., H}. Returns are
integers in a token MDP; mu +- sigma with a fractional s H is the same algebra without a bi-level reward behind it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ReturnLaw", "symmetric_two_point", "two_point", "uniform"]

#: Values closer to a threshold than this share of the range count as on it (mu + epsilon sigma is computed).
_ON_THRESHOLD = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class ReturnLaw:
    """A finite law of the return. ``values`` (m,) increasing, in tokens; ``probabilities`` (m,), positive, sum 1."""

    values: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    @classmethod
    def of(cls, values: ArrayLike, probabilities: ArrayLike) -> ReturnLaw:
        """Checked law: sorts values, merges equal ones, drops zero masses, normalises rounding.

        Raises ``ValueError`` if shapes differ, a mass is negative, or the masses do not sum to 1 within 1e-9.
        """
        raw = np.atleast_1d(np.asarray(values, dtype=np.float64))
        mass = np.atleast_1d(np.asarray(probabilities, dtype=np.float64))
        if raw.shape != mass.shape or raw.ndim != 1:
            raise ValueError(f"law: {raw.shape} values and {mass.shape} probabilities, expected two equal lengths")
        if not (np.all(np.isfinite(raw)) and np.all(mass >= 0) and abs(mass.sum() - 1.0) < 1e-9):
            raise ValueError(f"law: masses sum to {mass.sum()}, expected finite values and nonnegative masses of sum 1")
        support, index = np.unique(raw[mass > 0], return_inverse=True)
        merged = np.zeros(support.size)
        np.add.at(merged, index, mass[mass > 0])
        merged /= merged.sum()
        support.setflags(write=False)
        merged.setflags(write=False)
        return cls(support, merged)

    @property
    def mean(self) -> float:
        """mu, tokens."""
        return float(self.probabilities @ self.values)

    @property
    def sd(self) -> float:
        """sigma, tokens (the heterogeneity of the prompt)."""
        centred = self.values - self.mean
        return math.sqrt(float(self.probabilities @ centred**2))

    @property
    def half_range(self) -> float:
        """rho, tokens."""
        return float(self.values[-1] - self.values[0]) / 2.0

    @property
    def standardised(self) -> NDArray[np.float64]:
        """f = (R - mu)/sigma on the support, shape (m,). Raises ``ValueError`` at sigma = 0."""
        if self.sd == 0.0:
            raise ValueError("law: sigma = 0 has no standardised return")
        return (self.values - self.mean) / self.sd

    @property
    def is_symmetric(self) -> bool:
        """R and 2 mu - R have one law (to rounding)."""
        scale = 1e-9 * max(self.half_range, 1e-300)
        mirrored = bool(np.allclose(self.values + self.values[::-1], 2 * self.mean, rtol=0, atol=scale))
        return mirrored and bool(np.allclose(self.probabilities, self.probabilities[::-1], rtol=1e-9, atol=0))

    @property
    def is_symmetric_two_point(self) -> bool:
        """R = mu +- sigma with probability one half each."""
        return self.values.size == 2 and self.is_symmetric

    @property
    def max_epsilon(self) -> float:
        """sigma/rho <= 1: the largest epsilon at which a mirrored chi-squared expert is not truncated."""
        return min(self.sd / self.half_range, 1.0)

    def anti_concentration(self, epsilon: float) -> float:
        """c(epsilon) = P[R >= mu + epsilon sigma]; a value on the threshold counts."""
        threshold = self.mean + epsilon * self.sd
        slack = _ON_THRESHOLD * max(abs(threshold), self.half_range)
        return float(self.probabilities[self.values >= threshold - slack].sum())

    def top_mean(self, c: float) -> float:
        """CVaR^top_c: mean of the top mass c of R, ties split, tokens. Raises ``ValueError`` unless 0 < c <= 1."""
        if not 0.0 < c <= 1.0:
            raise ValueError(f"c = {c}: expected 0 < c <= 1")
        mass = self.probabilities[::-1]
        before = np.concatenate(([0.0], np.cumsum(mass)[:-1]))
        taken = np.clip(c - before, 0.0, mass)
        return float(taken @ self.values[::-1]) / float(taken.sum())

    def best_of(self, draws: int) -> float:
        """Mean of the largest of ``draws`` independent returns, tokens."""
        below = np.concatenate(([0.0], np.minimum(np.cumsum(self.probabilities), 1.0)))
        below[-1] = 1.0
        return float(np.diff(below**draws) @ self.values)

    def tilted(self, epsilon: float) -> ReturnLaw:
        """The untruncated chi-squared expert pi_b (1 + epsilon f), 0 <= epsilon.

        Raises ``ValueError`` where a mass would be negative (epsilon (mu - R_min) > sigma).
        """
        mass = self.probabilities * (1.0 + epsilon * self.standardised)
        if mass.min() < -1e-12:
            raise ValueError(f"epsilon = {epsilon}: the expert is truncated, expected at most sigma/(mu - R_min)")
        return ReturnLaw.of(self.values, np.maximum(mass, 0.0))


def two_point(H: int) -> ReturnLaw:
    """R in {0, H} with probability one half each: s = 1/2."""
    return ReturnLaw.of([0.0, float(H)], [0.5, 0.5])


def symmetric_two_point(H: int, s: float) -> ReturnLaw:
    """R = H/2 +- s H with probability one half each. Raises ``ValueError`` unless 0 < s <= 1/2."""
    if not 0.0 < s <= 0.5:
        raise ValueError(f"s = {s}: expected 0 < s <= 0.5")
    return ReturnLaw.of([H * (0.5 - s), H * (0.5 + s)], [0.5, 0.5])


def uniform(H: int) -> ReturnLaw:
    """R uniform on {0, 1, ..., H}."""
    return ReturnLaw.of(np.arange(H + 1, dtype=np.float64), np.full(H + 1, 1.0 / (H + 1)))
