r"""Anti-concentration of the base policy: how often it beats its own mean by a margin.

:math:`c(\varepsilon)=P_{\pi_b}[R\ge\mu+\varepsilon\sigma]`, :math:`s=\sigma/H`, :math:`p_s=(1-\sqrt{1-4s^2})/2\ge s^2`.

``anti-concentration`` (sigma > 0):
(a) :math:`c(\varepsilon)\le 1/(1+\varepsilon^2)` (Cantelli);
(b) heterogeneity implies it: :math:`c(\varepsilon)\ge p_s` for :math:`\varepsilon\le p_s/s`, and beyond, c can be 0;
(c) symmetric laws, :math:`\varepsilon\le1` (< 1 if s = 1/2):
    :math:`c(\varepsilon)\ge 2s^2(1-\varepsilon^2)/(1-4s^2\varepsilon^2)`.
"""

from __future__ import annotations

import sympy

from theory.chi2_ball import ANY_LAW
from theory.expectation import Random, mean
from theory.formula import Formula
from theory.proof import Claim
from theory.relation import eq, geq, leq
from theory.symbols import letter, s
from theory.theorem import Assumption, Number, Point, Theorem

__all__ = ["ANTI_CONCENTRATION", "ANTI_CONCENTRATION_CLAIMS", "cantelli", "largest_guaranteed_epsilon", "smallest_mass"]


_epsilon = letter("epsilon")
#: c(epsilon), and p_s, written so that small s keeps its digits.
C = sympy.Symbol("c_epsilon", nonnegative=True)
P_S = 2 * s**2 / (1 + sympy.sqrt(1 - 4 * s**2))
#: The positive excess of epsilon s over p_s, and the positive value of 1 - 4 s^2 epsilon^2.
EXCESS, CURVATURE = sympy.Symbol("k", positive=True), sympy.Symbol("zeta", positive=True)

AT_MOST_HALF = leq(4 * s**2, 1)
REACH = leq(_epsilon * s, P_S)
BEYOND = eq(_epsilon * s, P_S + EXCESS)
#: Return in shares of H about its mean m; indicators of R >= mu + epsilon sigma and of its mirror image.
X, ABOVE, MIRRORED = Random("X"), Random("I"), Random("I_minus")
m = sympy.Symbol("m", real=True)
#: The law is symmetric: the mirrored event has the same mass, mirrored returns lie in [0, H] too.
SYMMETRIC = (eq(mean("b", MIRRORED), C), geq(m - X, 0), geq(1 - m + X, 0))
CURVED = eq(1 - 4 * s**2 * _epsilon**2, CURVATURE)

ANTI_CONCENTRATION_CLAIMS = (
    Claim("cantelli", leq(C, 1 / (1 + _epsilon**2)), "(a): no law has more", (), (s,)),
    Claim("heterogeneity", geq(C, P_S), "(b): every law has as much", (AT_MOST_HALF, REACH)),
    Claim("at-least-square", geq(P_S, s**2), "p_s is at least s^2", (AT_MOST_HALF,)),
    Claim("two-point-spread", eq(P_S * (1 - P_S), s**2), "mass p_s at 0 and the rest at H: sd s H", (AT_MOST_HALF,)),
    Claim(
        "two-point-threshold",
        eq(1 - P_S + _epsilon * s, 1 + EXCESS),
        "beyond p_s/s its threshold lies above H: c = 0",
        (BEYOND,),
    ),
    Claim(
        "symmetric",
        geq(C, 2 * s**2 * (1 - _epsilon**2) / (1 - 4 * s**2 * _epsilon**2)),
        "(c): every symmetric law has as much",
        (CURVED, *SYMMETRIC),
    ),
)
_CANTELLI, _P_S = Formula(ANTI_CONCENTRATION_CLAIMS[0].relation.rhs), Formula(P_S)
_REACH, _SYMMETRIC = Formula(sympy.simplify(P_S / s)), Formula(ANTI_CONCENTRATION_CLAIMS[-1].relation.rhs)


def smallest_mass(s: float) -> float:
    """p_s = (1 - sqrt(1 - 4 s^2))/2 for 0 <= s <= 1/2."""
    return _P_S.at({"s": s})


def largest_guaranteed_epsilon(s: float) -> float:
    """p_s/s, the largest epsilon at which (b) speaks; tends to s as s tends to 0."""
    return _REACH.at({"s": s})


def cantelli(epsilon: float) -> float:
    """1/(1 + epsilon^2), the largest possible c(epsilon)."""
    return _CANTELLI.at({"epsilon": epsilon})


def _relative(point: Point) -> float:
    return min(point["sigma"] / point["H"], 0.5)


def _range(point: Point) -> tuple[float, float]:
    return 0.0, 0.0 if point.get("symmetric", 0.0) else largest_guaranteed_epsilon(_relative(point))


#: Nothing is claimed here.
_NOTHING = Formula(sympy.Integer(0))


def _formulas(point: Point) -> tuple[Formula, dict[str, float]]:
    s, epsilon = _relative(point), point["epsilon"]
    filled = {"s": s, "epsilon": epsilon}
    if point.get("symmetric", 0.0):
        # 0/0 only at s = 1/2, epsilon = 1, where (c) says nothing.
        speaks = epsilon <= 1.0 and 4.0 * s * s * epsilon * epsilon < 1.0
        return (_SYMMETRIC if speaks else _NOTHING), filled
    return (_P_S if epsilon <= largest_guaranteed_epsilon(s) * (1.0 + 1e-12) else _NOTHING), filled


def _lower(point: Point) -> Number:
    formula, filled = _formulas(point)
    return Number(formula.at(filled), {"upper": cantelli(point["epsilon"])})


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
    claims=ANTI_CONCENTRATION_CLAIMS,
    formulas=_formulas,
)
