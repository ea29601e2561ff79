r"""Learning from expert traces without rewards: how well it can go, and how well cloning does.

**The mirrored codebook.** The first token reveals the return. The base law of R|x is symmetric about mu_x, with sd
sigma_x (mean sigma over prompts) and half-range at most rho <= H/2; f = (R - mu_x)/sigma_x. Hypothesis i of M mirrors
the return (R -> 2 mu_x - R) on the prompts where its sign s_i(x) is -1; expert i is pi_b (1 + epsilon s_i(x) f), valid
while epsilon rho <= sigma_x. Signs of different hypotheses are uncorrelated on a fresh prompt; nothing else is asked.
``random codebook``: x uniform on {+-1}^M, s_j(x) = x_j. ``parity codebook``: x uniform on {0,1}^k, M = 2^k,
s_j(x) = (-1)^<j,x>.

``vf-lower``: for all n, epsilon and every algorithm, :math:`\max_i E[J(\pi_i)-J(\hat\pi)]\ge
\varepsilon\sigma-\rho\sqrt{(1+\varepsilon^2)^n/M}`; at :math:`\varepsilon^2=L/(2n)` this is at least
:math:`\sigma\sqrt{L/(8n)}` for :math:`L/(8s^2)\le n\le s^2\sqrt M L/2`, s = sigma/(2 rho).

``vf-lower-truncated`` (R = mu_x +- sigma): with b_k the pmf of Bin(n, (1+epsilon)/2), :math:`E|w|\le
B=\min_K\{\sqrt{M^{-1}\sum_{k\le K}b_k(1+\varepsilon)^k(1-\varepsilon)^{n-k}}+P(\mathrm{Bin}>K)\}` and the regret is
at least :math:`\sigma(\varepsilon-B)`. In closed form, for all n, M and :math:`\theta\ge0`:
:math:`\sigma[\tanh(\theta\sqrt{L/n})-e^{\theta L^{3/4}-L(1-\theta^2/2)/2}-e^{-2\sqrt L}]`, which tends to
:math:`\sqrt2\,\sigma\sqrt{L/n}` as M grows, then n/L, then theta to sqrt 2.

``vf-upper``: maximum likelihood over the class has :math:`|J(\pi_e)-J(\hat\pi)|\le2\sqrt2\,\sigma_e\sqrt h+2Hh` with
:math:`h\le\log((M-1)/\delta)/n` w.p. :math:`1-\delta`, and
:math:`E h\le1-\frac n{n+1}(M-1)^{-1/n}\le(1+L)/(n+1)`; the number reported takes (1+L)/n.

``mle_success_codebook`` is exact: the chance that behaviour cloning over the random codebook picks the truth.
"""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np
import sympy

from theory.chi2_ball import ANY_LAW
from theory.expectation import Random, mean
from theory.formula import Formula
from theory.log_space import chance_on_top, log_binomial_pmf
from theory.notation import log_M
from theory.proof import Claim
from theory.relation import Relation, eq, geq, leq
from theory.special import LARGEST_SUMMED, InformationBound, information_levels
from theory.symbols import H, L, letter
from theory.theorem import Assumption, Family, Instance, Number, Point, Theorem
from theory.verifier import TWO_MEMBERS

__all__ = [
    "LARGEST_SUMMED",
    "MIRRORED_CODEBOOK",
    "MIRRORED_TWO_POINT",
    "VF_LOWER",
    "VF_LOWER_CLAIMS",
    "VF_LOWER_TRUNCATED",
    "VF_LOWER_TRUNCATED_CLAIMS",
    "VF_UPPER",
    "VF_UPPER_CLAIMS",
    "ClosedForm",
    "closed_form_window",
    "information_bound",
    "mle_success_codebook",
    "with_level",
]


def _is_mirrored(instance: Instance) -> bool:
    return instance.signs is not None and instance.law is not None and instance.law.is_symmetric


def _is_mirrored_two_point(instance: Instance) -> bool:
    return instance.signs is not None and instance.law is not None and instance.law.is_symmetric_two_point


MIRRORED_CODEBOOK = Family(
    "mirrored codebook",
    "uniform prior over M hypotheses whose signs on a fresh prompt are pairwise independent; symmetric return",
    _is_mirrored,
)
MIRRORED_TWO_POINT = Family(
    "mirrored codebook, R = mu +- sigma",
    "uniform prior over M hypotheses whose signs on a fresh prompt are pairwise independent; two-point return",
    _is_mirrored_two_point,
)


def _half_range(point: Point) -> float:
    if "rho" in point:
        return point["rho"]
    if "H" not in point:
        raise ValueError("vf-lower needs H or rho")
    return point["H"] / 2.0


_n, _mu, _sigma, _rho, _epsilon = (letter(name) for name in ("n", "mu", "sigma", "rho", "epsilon"))

#: What a verifier-free learner loses to the expert, averaged over the prior; the expert's value, any policy's value.
REGRET, J_EXPERT, J_ANY = sympy.symbols("regret_VF J_expert J_any", real=True)
#: On a fresh prompt: sign of hypothesis i; (R - mu_x)/sigma_x of a trace of the base policy; mu_x; sigma_x.
SIGN, F = Random("s", "ix"), Random("f", "tx")
MU_X, SIGMA_X = Random("mu_x", "x", nonnegative=True), Random("sigma_x", "x", positive=True)
#: Divergence of any policy from the base on a fresh prompt.
CHI2_X = Random("chi2_x", "x", nonnegative=True)
#: Density of expert i with respect to the base policy.
EXPERT = 1 + _epsilon * SIGN * F
#: What the data tell: (1 + epsilon^2)^n/M, under the root.
INFORMATION = sympy.exp((_n * sympy.log(1 + _epsilon**2) - L) / 2)
#: The closed form, and where it is proven.
CLOSED_FORM = _sigma * sympy.sqrt(L / (8 * _n))
AT_HALF = eq(_epsilon, sympy.sqrt(L / (2 * _n)))
WINDOW_START = geq(_n, L * _rho**2 / (2 * _sigma**2))
WINDOW_END = leq(_n, _sigma**2 * L * sympy.exp(L / 2) / (8 * _rho**2))
#: sigma = zeta H^alpha and n = beta H^nu; a factor put on H.
alpha, nu = sympy.symbols("alpha nu", real=True)
beta, zeta, scale = sympy.symbols("beta zeta lambda", positive=True)


def scaling(bound: sympy.Expr, exponent: sympy.Expr) -> Relation:
    """``bound`` grows like H to the ``exponent`` where sigma = zeta H^alpha and n = beta H^nu: exactly."""
    at, at_scaled = (bound.subs({_sigma: zeta * h**alpha, _n: beta * h**nu}) for h in (H, scale * H))
    return eq(at_scaled, scale**exponent * at)


def exponent_of(claims: tuple[Claim, ...], of_sigma: float, of_n: float) -> float:
    """The power of H that the claim called ``exponent`` says, where sigma ~ H^of_sigma and n ~ H^of_n."""
    factors = sympy.Mul.make_args(_of(claims, "exponent").relation.rhs)
    power = next(factor.as_base_exp()[1] for factor in factors if factor.as_base_exp()[0] == scale)
    return float(power.subs({alpha: of_sigma, nu: of_n}))


VF_LOWER_CLAIMS = (
    Claim(
        "expert-is-policy",
        geq(EXPERT, 0),
        "the expert is a policy where epsilon rho <= sigma_x",
        (leq(_epsilon * _rho, SIGMA_X),),
    ),
    Claim("expert-in-ball", eq(mean("t", (EXPERT - 1) ** 2), _epsilon**2), "on the boundary of the ball"),
    Claim("expert-value", eq(J_EXPERT, mean("x", MU_X) + _epsilon * _sigma), "its value, sigma the mean of sigma_x"),
    Claim("expert-is-best", leq(J_ANY, J_EXPERT), "no policy of the ball is worth more", (leq(CHI2_X, _epsilon**2),)),
    Claim(
        "value",
        geq(REGRET, _epsilon * _sigma - _rho * INFORMATION),
        "no learner does better on average over the prior, hence none does on its worst hypothesis",
        (leq(_epsilon * _rho, SIGMA_X),),
    ),
    Claim(
        "in-window",
        leq(_epsilon * _rho, _sigma),
        "the closed form's experts are policies on every prompt, if sigma_x = sigma on all",
        (AT_HALF, WINDOW_START),
        (_sigma,),
    ),
    Claim(
        "closed-form",
        geq(REGRET, CLOSED_FORM),
        "at epsilon^2 = L/(2n)",
        (AT_HALF, leq(_epsilon * _rho, SIGMA_X), WINDOW_START, WINDOW_END),
        (_sigma,),
    ),
    Claim(
        "exponent",
        scaling(CLOSED_FORM, alpha - nu / 2),
        "its exponent in H: 1/2 at sigma ~ H, n ~ H; 1 at sigma ~ H and fixed n",
    ),
)


def _of(claims: tuple[Claim, ...], name: str) -> Claim:
    return next(claim for claim in claims if claim.name == name)


class ClosedForm(TypedDict):
    """A bound in closed form and the range of n in which it is proven and says something.

    ``n_max`` is given as its binary logarithm, since sqrt(M) overflows. ``empty``: no n at all qualifies.
    """

    value: float
    n_min: float
    log2_n_max: float
    inside: bool
    empty: bool


_LOWER = Formula(_of(VF_LOWER_CLAIMS, "value").relation.rhs)
_LOG_INFORMATION = Formula(sympy.log(INFORMATION))
_CLOSED = Formula(CLOSED_FORM)
_START = Formula(WINDOW_START.rhs)
_LOG2_END = Formula(sympy.expand_log(sympy.log(WINDOW_END.rhs), force=True) / sympy.log(2))


def closed_form_window(point: Point) -> ClosedForm:
    """sigma sqrt(L/(8n)) and the range of n in which ``vf-lower`` proves it, at a point with sigma > 0 and rho."""
    n, n_min, log2_n_max = point["n"], _START.at(point), _LOG2_END.at(point)
    return {
        "value": _CLOSED.at(point),
        "n_min": n_min,
        "log2_n_max": log2_n_max,
        "inside": bool(n_min <= n and math.log2(n) <= log2_n_max),
        "empty": bool(math.log2(n_min) > log2_n_max),
    }


def _lower_formulas(point: Point) -> tuple[Formula, dict[str, float]]:
    return _LOWER, {**point, "rho": _half_range(point)}


#: An information term above exp of this is shown at it: far beyond vacuity, and the number stays finite.
_LARGEST_EXPONENT = 600.0


def _vf_lower(point: Point) -> Number:
    formula, filled = _lower_formulas(point)
    log_root = _LOG_INFORMATION.at(filled)
    extras: dict[str, object] = {}
    if log_root > _LARGEST_EXPONENT:
        extras["clipped"] = f"the value is about -rho exp({log_root:.6g}); shown at exp(600)"
        value = filled["epsilon"] * filled["sigma"] - filled["rho"] * math.exp(_LARGEST_EXPONENT)
    else:
        value = formula.at(filled)
    if filled["sigma"] > 0.0:
        extras["closed_form"] = closed_form_window(filled)
    return Number(value, extras)


VF_LOWER = Theorem(
    label="vf-lower",
    kind="lower",
    statement=(
        r"\max_i E[J(\pi_i)-J(\hat\pi)]\ge\varepsilon\sigma-\rho\sqrt{(1+\varepsilon^2)^n/M};\quad "
        r"\varepsilon^2=\tfrac L{2n}:\ \ge\sigma\sqrt{\tfrac L{8n}}\ \text{for}\ "
        r"\tfrac L{8s^2}\le n\le\tfrac{s^2\sqrt M L}2"
    ),
    bounds="regret of every verifier-free algorithm, averaged over the uniform prior of the codebook",
    units="tokens",
    required=("n", "log2_M", "sigma"),
    optional=("H", "rho", "epsilon"),
    assumptions=(
        Assumption("sigma > 0", lambda p: p["sigma"], strict=True),
        Assumption("sigma <= rho", lambda p: _half_range(p) - p["sigma"], _half_range),
        Assumption("rho <= H/2", lambda p: p["H"] / 2 - _half_range(p) if "H" in p else 0.0, _half_range),
        Assumption("epsilon rho <= sigma", lambda p: p["sigma"] - p["epsilon"] * _half_range(p), lambda p: p["sigma"]),
    ),
    family=MIRRORED_CODEBOOK,
    evaluator=_vf_lower,
    trivial=lambda p: 0.0,
    source="theory notes, section 7",
    uses=("chi2-expert",),
    claims=VF_LOWER_CLAIMS,
    formulas=_lower_formulas,
    epsilon_range=lambda p: (0.0, p["sigma"] / _half_range(p)),
    meanings={"rho": "half-range of the return; H/2 if not given, which is never too small"},
)


_K = letter("K")

#: The bound with K kept levels.
TRUNCATED = InformationBound(_n, L, _epsilon, _K)
#: epsilon = theta sqrt(L/n) up to a tanh; the cut in agreements minus disagreements; the bound in closed form.
theta = sympy.Symbol("theta", nonnegative=True)
AT_TANH = eq(_epsilon, sympy.tanh(theta * sympy.sqrt(L / _n)))
CUT = _n * _epsilon + 2 * sympy.sqrt(_n) * L ** sympy.Rational(1, 4)
CUT_BELOW, CUT_ABOVE = leq(2 * _K - _n, CUT), geq(2 * _K + 2 - _n, CUT)
KEPT_EXPONENT = theta * L ** sympy.Rational(3, 4) - L * (1 - theta**2 / 2) / 2
_LOST = sympy.exp(KEPT_EXPONENT) + sympy.exp(-2 * sympy.sqrt(L))
EXPLICIT = sympy.tanh(theta * sympy.sqrt(L / _n)) - _LOST
#: Where the class is large enough for theta < sqrt 2.
LARGE_CLASS = geq(L ** sympy.Rational(1, 4) * (1 - theta**2 / 2), 4 * theta)
#: The root of L/n.
root = sympy.Symbol("x", positive=True)

VF_LOWER_TRUNCATED_CLAIMS = (
    Claim(
        "value",
        geq(REGRET, _sigma * (_epsilon - TRUNCATED)),
        "for every K, on average over the prior",
        (leq(_epsilon, 1), leq(_K, _n)),
    ),
    Claim(
        "explicit",
        geq(REGRET, _sigma * EXPLICIT),
        "for all n, M and theta, K the last whole number below the cut",
        (AT_TANH, CUT_BELOW, CUT_ABOVE),
    ),
    Claim(
        "vanishing",
        leq(KEPT_EXPONENT, -L * (1 - theta**2 / 2) / 4),
        "for every theta < sqrt 2 what is subtracted from the tanh vanishes as M grows, whatever n,",
        (LARGE_CLASS,),
    ),
    Claim(
        "limit",
        eq(sympy.Limit(sympy.tanh(theta * root) / root, root, 0), theta),
        "and the tanh is theta sqrt(L/n) for n much larger than L: the limit of the family is sqrt 2",
    ),
)
_TRUNCATED = Formula(_of(VF_LOWER_TRUNCATED_CLAIMS, "value").relation.rhs)
_INFORMATION_BOUND = Formula(TRUNCATED)
#: Nothing is claimed here.
_NOTHING = Formula(sympy.Integer(0))


def information_bound(n: int, log2_M: float, epsilon: float) -> tuple[float, int]:
    """(B, K): the truncated bound on E|w| and the K that attains it. O(n); any M; 0 <= epsilon <= 1.

    K = -1 keeps nothing (B = 1). B never underflows the way the naive sum would: sums are in log space.
    """
    levels = information_levels(n, log_M(log2_M), epsilon)
    best = int(np.argmin(levels))
    return float(levels[best]), best - 1


def with_level(point: Point) -> dict[str, float]:
    """The point with K: as given, at most n, or the best one in float64; any K gives a valid bound."""
    n = int(point["n"])
    level = point["K"] if "K" in point else information_bound(n, point["log2_M"], point["epsilon"])[1]
    return {**point, "K": float(min(level, n))}


def _truncated_formulas(point: Point) -> tuple[Formula, dict[str, float]]:
    if point["epsilon"] > 1.0:
        return _NOTHING, dict(point)  # there is no such expert
    return _TRUNCATED, with_level(point)


def _vf_lower_truncated(point: Point) -> Number:
    formula, filled = _truncated_formulas(point)
    if formula is _NOTHING:
        return Number(0.0)
    extras: dict[str, object] = {"B": _INFORMATION_BOUND.at(filled), "K": int(filled["K"])}
    if filled["sigma"] > 0.0:
        extras["closed_form"] = closed_form_window({**filled, "rho": filled["sigma"]})
    return Number(formula.at(filled), extras)


VF_LOWER_TRUNCATED = Theorem(
    label="vf-lower-truncated",
    kind="lower",
    statement=(
        r"\text{VF regret}\ge\varepsilon\sigma-\sigma\min_K\Bigl\{\sqrt{M^{-1}\sum_{k\le K}"
        r"b_k(1+\varepsilon)^k(1-\varepsilon)^{n-k}}+P(\mathrm{Bin}(n,\tfrac{1+\varepsilon}2)>K)\Bigr\};\quad "
        r"\varepsilon=\tanh\bigl(\theta\sqrt{L/n}\bigr):\ \ge\sigma\bigl[\varepsilon"
        r"-e^{\theta L^{3/4}-L(1-\theta^2/2)/2}-e^{-2\sqrt L}\bigr]"
    ),
    bounds="regret of every verifier-free algorithm on the codebook with R = mu +- sigma, averaged over the prior",
    units="tokens",
    required=("n", "log2_M", "sigma"),
    optional=("H", "rho", "epsilon", "K"),
    assumptions=(
        Assumption("sigma > 0", lambda p: p["sigma"], strict=True),
        Assumption("epsilon <= 1", lambda p: 1.0 - p["epsilon"]),
        Assumption("sigma <= H/2", lambda p: p["H"] / 2 - p["sigma"] if "H" in p else 0.0, lambda p: p["sigma"]),
        Assumption(
            "rho = sigma (two-point law)",
            lambda p: 0.0 - abs(p.get("rho", p["sigma"]) - p["sigma"]),
            lambda p: p["sigma"],
        ),
    ),
    family=MIRRORED_TWO_POINT,
    evaluator=_vf_lower_truncated,
    trivial=lambda p: 0.0,
    source="theory notes, section 7",
    uses=("vf-lower",),
    epsilon_range=lambda p: (0.0, 1.0),
    meanings={
        "rho": "half-range of the return; sigma for this law",
        "K": "most agreements kept, any number; the best one in float64 if not given",
    },
    claims=VF_LOWER_TRUNCATED_CLAIMS,
    formulas=_truncated_formulas,
)


_delta = letter("delta")

#: J(pi_e) - J(pi_hat) and the mean squared Hellinger distance h, both of the data; P(h > t).
DELTA_J, HELLINGER = Random("Delta", "d"), Random("h", "d", nonnegative=True)
TAIL, t = sympy.Function("TAIL"), sympy.Symbol("t", nonnegative=True)
#: log(M - 1), and what it guarantees about h: with probability 1 - delta; in expectation.
LOG_OTHERS = L + sympy.log(1 - sympy.exp(-L))
H_DELTA = (LOG_OTHERS - sympy.log(_delta)) / _n
H_MEAN = (1 + L) / _n
H_SHARP = 1 - sympy.exp(-sympy.log(1 + 1 / _n) - LOG_OTHERS / _n)
AT_DELTA = eq(t, H_DELTA)


def hellinger_bound(h: sympy.Expr) -> sympy.Expr:
    """2 sqrt(2) sigma_e sqrt(h) + 2 H h."""
    return 2 * sympy.sqrt(2) * _sigma * sympy.sqrt(h) + 2 * H * h


#: Where the first term is the larger one, and both together there.
FIRST_TERM = geq(_n, H**2 * (1 + L) / (2 * _sigma**2))
ROOT_FORM = 4 * sympy.sqrt(2) * _sigma * sympy.sqrt((1 + L) / _n)

VF_UPPER_CLAIMS = (
    Claim("hellinger", leq(sympy.Abs(DELTA_J), hellinger_bound(HELLINGER)), "close policies have close values"),
    Claim(
        "tail",
        leq(TAIL(t), (sympy.exp(L) - 1) * (1 - t) ** _n),
        "maximum likelihood is rarely far from the expert",
        (leq(t, 1),),
    ),
    Claim("tail-at-delta", leq(TAIL(t), _delta), "h exceeds t with probability at most delta", (AT_DELTA,)),
    Claim(
        "with-probability",
        leq(sympy.Abs(DELTA_J), hellinger_bound(H_DELTA)),
        "so this holds with probability at least 1 - delta",
        (leq(HELLINGER, H_DELTA),),
    ),
    Claim("error-sharp", leq(mean("d", HELLINGER), H_SHARP), "h on average over the data", (TWO_MEMBERS,)),
    Claim(
        "error",
        leq(mean("d", HELLINGER), (1 + L) / (_n + 1)),
        "the same, simpler",
        (TWO_MEMBERS,),
    ),
    Claim(
        "in-expectation-sharp",
        leq(mean("d", sympy.Abs(DELTA_J)), hellinger_bound(H_SHARP)),
        "on average over the data",
        (TWO_MEMBERS,),
    ),
    Claim(
        "in-expectation",
        leq(mean("d", sympy.Abs(DELTA_J)), hellinger_bound(H_MEAN)),
        "the same, simpler",
        (TWO_MEMBERS,),
    ),
    Claim(
        "root",
        leq(mean("d", sympy.Abs(DELTA_J)), ROOT_FORM),
        "its second term is below the first from so many traces on",
        (TWO_MEMBERS, FIRST_TERM),
        (_sigma,),
    ),
    Claim("exponent", scaling(ROOT_FORM, alpha - nu / 2), "its exponent in H, that of vf-lower"),
)
_IN_EXPECTATION = Formula(_of(VF_UPPER_CLAIMS, "in-expectation").relation.rhs)
_WITH_PROBABILITY = Formula(_of(VF_UPPER_CLAIMS, "with-probability").relation.rhs)
_SHARP = Formula(_of(VF_UPPER_CLAIMS, "in-expectation-sharp").relation.rhs)
_H_DELTA, _H_MEAN = Formula(H_DELTA), Formula(H_MEAN)


def _upper_formulas(point: Point) -> tuple[Formula, dict[str, float]]:
    return (_WITH_PROBABILITY if "delta" in point else _IN_EXPECTATION), dict(point)


def _vf_upper(point: Point) -> Number:
    formula, filled = _upper_formulas(point)
    if "delta" in point:
        return Number(formula.at(filled), {"h": _H_DELTA.at(filled)})
    return Number(formula.at(filled), {"h": _H_MEAN.at(filled), "sharp": _SHARP.at(filled)})


VF_UPPER = Theorem(
    label="vf-upper",
    kind="upper",
    statement=r"|J(\pi_e)-J(\hat\pi)|\le2\sqrt2\,\sigma_e\sqrt h+2Hh,\quad h\le\log((M-1)/\delta)/n,\ E h\le(1+L)/n",
    bounds="regret of maximum likelihood (behaviour cloning) over a class that contains the expert",
    units="tokens",
    required=("H", "n", "log2_M", "sigma"),
    optional=("delta",),
    assumptions=(
        Assumption("M >= 2", lambda p: p["log2_M"] - 1.0),
        Assumption("sigma_e <= H/2", lambda p: p["H"] / 2 - p["sigma"], lambda p: p["H"]),
    ),
    family=ANY_LAW,
    evaluator=_vf_upper,
    trivial=lambda p: p["H"],
    source="theory notes, section 8",
    meanings={"sigma": "sigma_e, root mean square over prompts of the sd of the return under the expert"},
    claims=VF_UPPER_CLAIMS,
    formulas=_upper_formulas,
)


def mle_success_codebook(n: int, log2_M: float, epsilon: float) -> float:
    """Probability that the likelihood's maximiser, ties at random, is the truth (random codebook, R = mu +- sigma).

    :math:`\\sum_k b_k[(1-q_>)^M-(1-q_\\ge)^M]/(M q_=)`, b_k the pmf of Bin(n, (1+epsilon)/2), q's from Bin(n, 1/2).
    Exact; any M; O(n). 0 < epsilon <= 1.
    """
    log_b = log_binomial_pmf(n, (1.0 + epsilon) / 2.0, (1.0 - epsilon) / 2.0)
    return min(float(np.exp(log_b) @ chance_on_top(log_M(log2_M), log_binomial_pmf(n, 0.5))), 1.0)
