r"""Anti-concentration of the base policy: how often it beats its own mean by a margin.

:math:`c(\varepsilon)=P_{\pi_b}[R\ge\mu+\varepsilon\sigma]`, :math:`s=\sigma/H`, :math:`p_s=(1-\sqrt{1-4s^2})/2\ge s^2`.

``anti-concentration`` (sigma > 0):
(a) :math:`c(\varepsilon)\le 1/(1+\varepsilon^2)` (Cantelli);
(b) heterogeneity implies it: :math:`c(\varepsilon)\ge p_s` for :math:`\varepsilon\le p_s/s`, and beyond, c can be 0;
(c) symmetric laws, :math:`\varepsilon\le1` (< 1 if s = 1/2):
    :math:`c(\varepsilon)\ge 2s^2(1-\varepsilon^2)/(1-4s^2\varepsilon^2)`.
"""

from __future__ import annotations

import math

from theory.chi2_ball import ANY_LAW
from theory.theorem import Assumption, Number, Point, Theorem

__all__ = ["ANTI_CONCENTRATION", "cantelli", "largest_guaranteed_epsilon", "smallest_mass"]


def smallest_mass(s: float) -> float:
    """p_s = (1 - sqrt(1 - 4 s^2))/2 for 0 <= s <= 1/2, written so that small s keeps its digits."""
    return 2.0 * s * s / (1.0 + math.sqrt(max(1.0 - 4.0 * s * s, 0.0)))


def largest_guaranteed_epsilon(s: float) -> float:
    """p_s/s, the largest epsilon at which (b) speaks; tends to s as s tends to 0."""
    return 2.0 * s / (1.0 + math.sqrt(max(1.0 - 4.0 * s * s, 0.0)))


def cantelli(epsilon: float) -> float:
    """1/(1 + epsilon^2), the largest possible c(epsilon)."""
    return 1.0 / (1.0 + epsilon * epsilon)


def _relative(point: Point) -> float:
    return min(point["sigma"] / point["H"], 0.5)


def _range(point: Point) -> tuple[float, float]:
    return 0.0, 0.0 if point.get("symmetric", 0.0) else largest_guaranteed_epsilon(_relative(point))


def _lower(point: Point) -> Number:
    s, epsilon = _relative(point), point["epsilon"]
    if point.get("symmetric", 0.0):
        if epsilon > 1.0:
            value = 0.0
        else:
            # 0/0 only at s = 1/2, epsilon = 1, where (c) says nothing.
            below = 1.0 - 4.0 * s * s * epsilon * epsilon
            value = 2.0 * s * s * (1.0 - epsilon * epsilon) / below if below > 0.0 else 0.0
    else:
        value = smallest_mass(s) if epsilon <= largest_guaranteed_epsilon(s) * (1.0 + 1e-12) else 0.0
    return Number(value, {"upper": cantelli(epsilon)})


ANTI_CONCENTRATION = Theorem(
    label="anti-concentration",
    kind="lower",
    statement=(
        r"c(\varepsilon)\le\frac1{1+\varepsilon^2};\quad c(\varepsilon)\ge p_s=\tfrac12(1-\sqrt{1-4s^2})\ "
        r"\text{for }\varepsilon\le p_s/s;\quad \text{symmetric laws: } "
        r"c(\varepsilon)\ge\frac{2s^2(1-\varepsilon^2)}{1-4s^2\varepsilon^2}"
    ),
    bounds="P[R >= mu + epsilon sigma] under the base policy (value: below; 'upper': Cantelli)",
    units="probability",
    required=("H", "sigma"),
    optional=("epsilon", "symmetric"),
    assumptions=(
        Assumption("sigma > 0", lambda p: p["sigma"], strict=True),
        Assumption("sigma <= H/2", lambda p: p["H"] / 2 - p["sigma"], lambda p: p["H"]),
        Assumption(
            "epsilon <= p_s/s (symmetric: <= 1)",
            lambda p: (1.0 if p.get("symmetric", 0.0) else largest_guaranteed_epsilon(_relative(p))) - p["epsilon"],
        ),
    ),
    family=ANY_LAW,
    evaluator=_lower,
    trivial=lambda p: 0.0,
    source="theory notes, section 4",
    epsilon_range=_range,
)
