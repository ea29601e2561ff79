r"""The chi-squared ball around the base policy and its best expert.

:math:`\Pi_\kappa=\{\pi:\chi^2(\pi(\cdot|x)\,\|\,\pi_b(\cdot|x))\le\kappa\}`, one prompt x,
:math:`\varepsilon=\sqrt\kappa`.

``chi2-expert`` (sigma > 0): :math:`J_x(\pi)\le\mu+\sigma\sqrt\kappa` on the ball. The maximiser is
:math:`\bar\pi_\kappa\propto\pi_b\,(R-t)^+`; if :math:`\sqrt\kappa(\mu-R_{\min})\le\sigma` nothing is truncated,
:math:`\bar\pi_\kappa=\pi_b(1+\sqrt\kappa(R-\mu)/\sigma)`, and equality holds. For
:math:`\kappa\ge 1/P_b(R=R_{\max})-1` its value is :math:`R_{\max}`.

``expert-heterogeneity``: for :math:`\pi_e\in\Pi_\kappa`,
:math:`-\sqrt\kappa\,\sigma\sqrt{H^2-4\sigma^2}-\kappa\sigma^2\le\sigma_e^2-\sigma^2\le\sqrt\kappa\,\sigma\sqrt{H^2-4\sigma^2}`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from theory.laws import ReturnLaw
from theory.theorem import Assumption, Family, Number, Point, Theorem

__all__ = ["CHI2_EXPERT", "EXPERT_HETEROGENEITY", "chi2_divergence", "optimal_expert"]

ANY_LAW = Family("any law", "any prompt whose return lies in [0, H]", lambda instance: True)


def chi2_divergence(expert: NDArray[np.float64], base: NDArray[np.float64]) -> float:
    """chi^2(expert || base) = sum base (expert/base - 1)^2 for two mass vectors on one support."""
    return float(np.sum((expert - base) ** 2 / base))


def optimal_expert(law: ReturnLaw, kappa: float) -> NDArray[np.float64]:
    r"""Masses of the best policy in the chi-squared ball, on ``law.values``, shape (m,).

    With the top j support points kept (mass P_j, mean m_j, variance v_j), the masses p_i (r_i - t)/Z have
    :math:`1+\chi^2=(1+v_j/(m_j-t)^2)/P_j`, so :math:`t=m_j-\sqrt{v_j/(P_j(1+\kappa)-1)}` for the one j whose t
    lies between the last value kept and the first one dropped. Raises ``ValueError`` if kappa < 0.
    """
    if kappa < 0.0:
        raise ValueError(f"kappa = {kappa}: expected kappa >= 0")
    values, base = law.values, law.probabilities
    if kappa == 0.0 or values.size == 1:
        return base.copy()
    if (1.0 + kappa) * base[-1] >= 1.0:
        return np.where(np.arange(values.size) == values.size - 1, 1.0, 0.0)
    best, least_off = base, math.inf
    for first in range(values.size):
        kept_mass, kept_values = base[first:], values[first:]
        mass, dropped = float(kept_mass.sum()), float(base[:first].sum())
        room = mass * kappa - dropped  # mass (1 + kappa) - 1, without cancellation
        if room <= 0.0:
            break
        mean = float(kept_mass @ kept_values) / mass
        variance = float(kept_mass @ (kept_values - mean) ** 2) / mass
        threshold = mean - math.sqrt(variance / room)
        below = values[first - 1] if first else -math.inf
        off = max(below - threshold, threshold - kept_values[0], 0.0)  # 0 for the one level, up to rounding
        if off < least_off:
            best, least_off = np.zeros_like(base), off
            best[first:] = kept_mass * np.maximum(kept_values - threshold, 0.0)
    return np.asarray(best / best.sum())


def _expert_value(point: Point) -> Number:
    return Number(point["mu"] + point["sigma"] * point["epsilon"])


CHI2_EXPERT = Theorem(
    label="chi2-expert",
    kind="upper",
    statement=r"J_x(\pi) \le \mu_x + \sigma_x \sqrt{\kappa} \quad \text{for every } \pi \in \Pi_\kappa",
    bounds="value of every policy in the chi-squared ball; equality for the best one where nothing is truncated",
    units="tokens",
    required=("mu", "sigma", "epsilon", "H"),
    optional=("R_min",),
    assumptions=(
        Assumption("sigma > 0", lambda p: p["sigma"], strict=True),
        Assumption(
            "sigma^2 <= mu (H - mu)", lambda p: p["mu"] * (p["H"] - p["mu"]) - p["sigma"] ** 2, lambda p: p["H"] ** 2
        ),
        Assumption(
            "no truncation: epsilon (mu - R_min) <= sigma (then equality)",
            lambda p: p["sigma"] - p["epsilon"] * (p["mu"] - p.get("R_min", 0.0)),
            lambda p: p["H"],
            required=False,
        ),
    ),
    family=ANY_LAW,
    evaluator=_expert_value,
    trivial=lambda p: p["H"] * (1.0 + 1e-12),
    source="theory notes, section 2",
)


def _heterogeneity_sides(point: Point) -> Number:
    H, sigma, epsilon = point["H"], point["sigma"], point["epsilon"]
    shift = epsilon * sigma * math.sqrt(max(H * H - 4.0 * sigma * sigma, 0.0))
    upper = math.sqrt(sigma**2 + shift)
    lower = math.sqrt(max(sigma**2 * (1.0 - epsilon**2) - shift, 0.0))
    far = H * min(epsilon, 0.5)
    return Number(min(upper, sigma + far, H / 2), {"lower": max(lower, sigma - far, 0.0)})


EXPERT_HETEROGENEITY = Theorem(
    label="expert-heterogeneity",
    kind="upper",
    statement=(
        r"-\sqrt{\kappa}\,\sigma_b\sqrt{H^2-4\sigma_b^2}-\kappa\sigma_b^2 \le \sigma_e^2-\sigma_b^2 \le "
        r"\sqrt{\kappa}\,\sigma_b\sqrt{H^2-4\sigma_b^2}"
    ),
    bounds="standard deviation sigma_e of the return under any expert in the ball (value: above; 'lower': below)",
    units="tokens",
    required=("H", "sigma", "epsilon"),
    optional=(),
    assumptions=(Assumption("sigma <= H/2", lambda p: p["H"] / 2 - p["sigma"], lambda p: p["H"]),),
    family=ANY_LAW,
    evaluator=_heterogeneity_sides,
    trivial=lambda p: p["H"] / 2,
    source="theory notes, section 3",
)
