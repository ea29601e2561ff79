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
import sympy
from numpy.typing import NDArray

from theory.expectation import Random
from theory.formula import Formula
from theory.laws import ReturnLaw
from theory.proof import Claim
from theory.relation import eq, geq, leq
from theory.symbols import H, letter
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


_mu, _sigma, _epsilon = letter("mu"), letter("sigma"), letter("epsilon")

#: Return of a base trace; density u = d pi / d pi_b of a policy; (R - t)^+, of mean Z.
R, u, D = Random("R"), Random("u"), Random("D")
#: Value of a policy, of the tilted and the thresholded policy, and of the one on the largest return only.
J, J_TILT, J_BEST, J_TOP = sympy.symbols("J J_tilt J_best J_top", real=True)
#: chi^2 divergence of a policy and of the tilted one from the base.
CHI2, CHI2_TILT, CHI2_TOP = sympy.symbols("chi2 chi2_tilt chi2_top", nonnegative=True)
R_MIN = letter("R_min")
R_MAX, P_MAX = sympy.Symbol("R_max", real=True), sympy.Symbol("P_max", positive=True)
#: The tilted density 1 + epsilon (R - mu)/sigma.
TILT = 1 + _epsilon * (R - _mu) / _sigma

IN_BALL = leq(CHI2, _epsilon**2)
UNTRUNCATED = leq(_epsilon * (_mu - R_MIN), _sigma)
REACHES_TOP = geq(_epsilon**2, 1 / P_MAX - 1)

CHI2_EXPERT_CLAIMS = (
    Claim("value", leq(J, _mu + _sigma * _epsilon), "no policy of the ball is worth more", (IN_BALL,), (_sigma,)),
    Claim("tilt-value", eq(J_TILT, _mu + _sigma * _epsilon), "the tilted policy attains it", (), (_sigma,)),
    Claim(
        "tilt-in-ball", eq(CHI2_TILT, _epsilon**2), "the tilted policy is on the boundary of the ball", (), (_sigma,)
    ),
    Claim("tilt-is-policy", geq(TILT, 0), "where nothing is truncated its masses are >= 0", (UNTRUNCATED,), (_sigma,)),
    Claim(
        "best", leq(J, J_BEST), "the policy of density (R - t)^+/Z on the boundary is the best", (IN_BALL,), (_sigma,)
    ),
    Claim(
        "top-in-ball",
        leq(CHI2_TOP, _epsilon**2),
        "all mass on R_max is in the ball from there on",
        (REACHES_TOP,),
        (_sigma,),
    ),
    Claim("top-value", eq(J_TOP, R_MAX), "and worth R_max", (), (_sigma,)),
)
_VALUE = Formula(CHI2_EXPERT_CLAIMS[0].relation.rhs)


def _expert_value(point: Point) -> Number:
    return Number(_VALUE.at(point))


def _expert_formulas(point: Point) -> tuple[Formula, dict[str, float]]:
    return _VALUE, dict(point)


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
    claims=CHI2_EXPERT_CLAIMS,
    formulas=_expert_formulas,
)


#: Standard deviation of the return under an expert of the ball; the two-point law with mass p on H.
SIGMA_E = sympy.Symbol("sigma_e", nonnegative=True)
_SHIFT = _epsilon * _sigma * sympy.sqrt(H**2 - 4 * _sigma**2)
#: The law on {0, H} with P(R = H) = (1 - v)/2, 0 <= v < 1, and its expert towards 0: variances.
v = sympy.Symbol("v", nonnegative=True)
_p = (1 - v) / 2
_p_e = _p - _epsilon * sympy.sqrt(_p * (1 - _p))
TWO_POINT, TWO_POINT_EXPERT = H**2 * _p * (1 - _p), H**2 * _p_e * (1 - _p_e)

EXPERT_HETEROGENEITY_CLAIMS = (
    Claim("upper", leq(SIGMA_E**2 - _sigma**2, _SHIFT), "the expert's variance is at most so much larger", (IN_BALL,)),
    Claim(
        "lower",
        geq(SIGMA_E**2 - _sigma**2, -_SHIFT - _epsilon**2 * _sigma**2),
        "and at most so much smaller",
        (IN_BALL,),
    ),
    Claim(
        "linear-upper", leq(SIGMA_E, _sigma + H * _epsilon / 2), "so sigma_e grows linearly in the radius", (IN_BALL,)
    ),
    Claim("linear-lower", geq(SIGMA_E, _sigma - H * _epsilon), "and falls linearly", (IN_BALL,)),
    Claim(
        "two-point",
        eq(
            TWO_POINT_EXPERT - TWO_POINT,
            -_epsilon * sympy.sqrt(TWO_POINT) * sympy.sqrt(H**2 - 4 * TWO_POINT) - _epsilon**2 * TWO_POINT,
        ),
        "two-point laws attain the lower side",
    ),
)
#: The best of what the claims say, and of sigma_e in [0, H/2].
_ABOVE = Formula(
    sympy.Min(
        sympy.sqrt(_sigma**2 + EXPERT_HETEROGENEITY_CLAIMS[0].relation.rhs),
        EXPERT_HETEROGENEITY_CLAIMS[2].relation.rhs,
        H / 2,
    )
)
_BELOW = Formula(
    sympy.Max(
        sympy.sqrt(sympy.Max(_sigma**2 + EXPERT_HETEROGENEITY_CLAIMS[1].relation.rhs, 0)),
        EXPERT_HETEROGENEITY_CLAIMS[3].relation.rhs,
    )
)


def _heterogeneity_formulas(point: Point) -> tuple[Formula, dict[str, float]]:
    return _ABOVE, dict(point)


def _heterogeneity_sides(point: Point) -> Number:
    return Number(_ABOVE.at(point), {"lower": _BELOW.at(point)})


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
    claims=EXPERT_HETEROGENEITY_CLAIMS,
    formulas=_heterogeneity_formulas,
)
