r"""The gap between verifier-based and verifier-free learning: three comparisons, never to be mixed up.

* *VF regret*: :math:`J(\bar\pi_\kappa)-J(\mathrm{VF})`;
* *ball gap*: VB restricted to the chi-squared ball, minus VF;
* *free gap*: unrestricted VB (top-c), minus VF.

Codebook with R = mu +- sigma (c = 1/2), psi = P(the fitted verifier is the true one), B from ``vf-lower-truncated``:

``gap-ball``: :math:`\ge\sup_\varepsilon\sigma[\varepsilon\psi-B]`, exponent 1/2 in H at n = beta H; in the window of
``vf-lower`` it is at least :math:`(2\psi-1)\,\sigma\sqrt{L/(8n)}`, at least :math:`(1-2/M)\,\sigma\sqrt{L/(8n)}`
from n = 2 log2 M labels on.
``gap-free``: :math:`\ge\sigma[\psi-B]`, of order H even at n = beta H; B falls with epsilon, so it has no maximiser. At
:math:`\varepsilon^2=L/(2n)`, n >= L/2, it is at least :math:`\sigma[\psi-M^{-1/4}]`, from n = 2 log2 M on at least
:math:`\sigma[1-M^{-1}-M^{-1/4}]`, whatever n.
``gap-regret``, the general form:
:math:`\ge\varepsilon\sigma-\rho\sqrt{(1+\varepsilon^2)^n/M}-\varepsilon_{ver}/c`; at :math:`\varepsilon^2=L/(2n)` it is
at least :math:`\sigma\sqrt{L/(8n)}-(H/c)(1+L)/n`, with :math:`c=p_s` for :math:`\varepsilon\le p_s/s`: heterogeneity
alone suffices. VB is certified better for :math:`n\ge 8(1+L)^2/(c^2s^2L)` inside the window of ``vf-lower``; that
interval can be empty.

A uniform choice among the hypotheses that explain n labels is right with probability
:math:`\psi=\psi_M(2^{-n})` on the random codebook, and at least :math:`1-2^{-n}M` on any.
"""

from __future__ import annotations

import math

import sympy

from theory.anti_concentration import AT_MOST_HALF, P_S, REACH, C, cantelli, largest_guaranteed_epsilon, smallest_mass
from theory.expectation import Random, mean
from theory.formula import Formula
from theory.proof import Claim
from theory.relation import eq, geq, leq
from theory.special import MeanReciprocalCount
from theory.symbols import H, L, letter
from theory.theorem import Assumption, Number, Point, Theorem
from theory.verifier import TWO_MEMBERS
from theory.verifier_based import VB_UPPER_TOP_C
from theory.verifier_free import (
    AT_HALF,
    CLOSED_FORM,
    INFORMATION,
    MIRRORED_CODEBOOK,
    MIRRORED_TWO_POINT,
    MU_X,
    SIGMA_X,
    TRUNCATED,
    VF_LOWER,
    WINDOW_END,
    WINDOW_START,
    ClosedForm,
    alpha,
    closed_form_window,
    nu,
    scaling,
    with_level,
)

__all__ = ["GAP_BALL", "GAP_BALL_CLAIMS", "GAP_FREE", "GAP_FREE_CLAIMS", "GAP_REGRET", "GAP_REGRET_CLAIMS"]

_n, _sigma, _rho, _epsilon, _c, _psi = (letter(name) for name in ("n", "sigma", "rho", "epsilon", "c", "psi"))
_K = letter("K")

#: Top-c of the learned verifier minus any verifier-free learner, averaged over the prior.
GAP = sympy.Symbol("gap", real=True)
#: What top-c loses at most, in expectation; the same in simpler form.
LOSS = VB_UPPER_TOP_C.claim("expectation").relation.rhs
SIMPLE_LOSS = VB_UPPER_TOP_C.claim("simple").relation.rhs
#: Where the closed form of the general gap is nonnegative.
CERTIFIED = geq(_n, 8 * (1 + L) ** 2 * H**2 / (_c**2 * _sigma**2 * L))
CONCENTRATED, GUARANTEED = geq(C, _c), leq(_c, P_S)
_VALID = leq(_epsilon * _rho, SIGMA_X)

GAP_REGRET_CLAIMS = (
    Claim(
        "value",
        geq(GAP, _epsilon * _sigma - _rho * INFORMATION - LOSS),
        "what the verifier-free learner loses, less what the verifier-based one loses",
        (_VALID, CONCENTRATED, TWO_MEMBERS),
        (_sigma,),
    ),
    Claim(
        "heterogeneity",
        geq(GAP, _epsilon * _sigma - _rho * INFORMATION - LOSS),
        "for every c up to p_s: heterogeneity alone suffices",
        (_VALID, GUARANTEED, AT_MOST_HALF, REACH, TWO_MEMBERS),
        (_sigma,),
    ),
    Claim(
        "closed-form",
        geq(GAP, CLOSED_FORM - SIMPLE_LOSS),
        "at epsilon^2 = L/(2n), inside the window of vf-lower",
        (AT_HALF, _VALID, WINDOW_START, WINDOW_END, CONCENTRATED, TWO_MEMBERS),
        (_sigma,),
    ),
    Claim(
        "certified",
        geq(CLOSED_FORM - SIMPLE_LOSS, 0),
        "which is nonnegative from so many traces on",
        (CERTIFIED,),
        (_sigma,),
    ),
)


def _by_name(claims: tuple[Claim, ...]) -> dict[str, Claim]:
    return {claim.name: claim for claim in claims}


_REGRET = _by_name(GAP_REGRET_CLAIMS)
_GAP = Formula(_REGRET["value"].relation.rhs)
_GAP_GUARANTEED = Formula(_REGRET["heterogeneity"].relation.rhs.xreplace({_c: P_S}))
_CLOSED_GAP = Formula(_REGRET["closed-form"].relation.rhs)
_CERTIFIED_FROM = Formula(CERTIFIED.rhs)
_TOP_C_LOSS = Formula(LOSS)
_NO_SPREAD = Formula(-H)


def _relative(point: Point) -> float:
    return min(point["sigma"] / point["H"], 0.5)


def _anti_concentration(point: Point) -> float:
    """c as given, else p_s (heterogeneity implies anti-concentration)."""
    return point["c"] if "c" in point else smallest_mass(_relative(point))


def _largest_epsilon(point: Point) -> float:
    """Up to here the experts are untruncated and c is guaranteed."""
    untruncated = point["sigma"] / (point["rho"] if "rho" in point else point["H"] / 2.0)
    if "c" in point:
        return min(untruncated, math.sqrt(max(1.0 / point["c"] - 1.0, 0.0)))
    return min(untruncated, largest_guaranteed_epsilon(_relative(point)))


def _regret_formulas(point: Point) -> tuple[Formula, dict[str, float]]:
    filled = {"rho": point["H"] / 2.0, **point}
    if point["sigma"] == 0.0:
        return _NO_SPREAD, filled  # the largest loss there is
    return (_GAP if "c" in point else _GAP_GUARANTEED), filled


def _gap_regret(point: Point) -> Number:
    formula, filled = _regret_formulas(point)
    if formula is _NO_SPREAD:
        return Number(formula.at(filled), {"vf_regret": 0.0, "vb_loss": point["H"]})
    known = {**filled, "c": _anti_concentration(point)}
    lower = VF_LOWER.number({k: filled[k] for k in ("n", "log2_M", "sigma", "H", "rho", "epsilon")})
    loss = _TOP_C_LOSS.at(known)
    window = closed_form_window(known)
    starts = max(_CERTIFIED_FROM.at(known), window["n_min"])
    certified: ClosedForm = {
        "value": _CLOSED_GAP.at(known),
        "n_min": starts,
        "log2_n_max": window["log2_n_max"],
        "inside": bool(starts <= known["n"] and math.log2(known["n"]) <= window["log2_n_max"]),
        "empty": bool(math.log2(starts) > window["log2_n_max"]),
    }
    value = lower.value - loss if "clipped" in lower.extras else formula.at(filled)
    return Number(value, {"vf_regret": lower.value, "vb_loss": loss, "c": known["c"], "closed_form": certified})


GAP_REGRET = Theorem(
    label="gap-regret",
    kind="lower",
    statement=r"J(\text{top-}c)-J(\text{VF})\ge\sigma\sqrt{L/(8n)}-\frac Hc\,\frac{1+L}n",
    bounds="verifier-based top-c minus any verifier-free algorithm, averaged over the prior of the codebook",
    units="tokens",
    required=("H", "n", "log2_M", "sigma"),
    optional=("rho", "c", "epsilon"),
    assumptions=(
        Assumption("sigma > 0", lambda p: p["sigma"], strict=True),
        Assumption("sigma <= H/2", lambda p: p["H"] / 2 - p["sigma"], lambda p: p["H"]),
        Assumption("|R| >= 2", lambda p: p["log2_M"] - 1.0),
        Assumption("epsilon rho <= sigma and c guaranteed at epsilon", lambda p: _largest_epsilon(p) - p["epsilon"]),
        Assumption("c <= 1/(1 + epsilon^2)", lambda p: cantelli(p["epsilon"]) - _anti_concentration(p)),
    ),
    family=MIRRORED_CODEBOOK,
    evaluator=_gap_regret,
    trivial=lambda p: 0.0,
    source="theory notes, section 9",
    uses=("anti-concentration", "vb-upper-top-c", "vf-lower"),
    epsilon_range=lambda p: (0.0, _largest_epsilon(p)),
    meanings={
        "c": "anti-concentration at epsilon, up to the largest epsilon tried; p_s if not given",
        "log2_M": "size of both classes, in bits",
    },
    claims=GAP_REGRET_CLAIMS,
    formulas=_regret_formulas,
)

#: VB in the ball, or free, minus any verifier-free learner, averaged over the prior; values of the two VB learners.
GAP_IN_BALL, GAP_UNRESTRICTED = sympy.symbols("gap_ball gap_free", real=True)
J_IN_BALL, J_UNRESTRICTED = sympy.symbols("J_ball J_free", real=True)
#: The chance that the truth is picked, on the random codebook.
CODEBOOK_PSI = MeanReciprocalCount(L, -_n * sympy.log(2))
_AT_CODEBOOK = eq(_psi, CODEBOOK_PSI)
_LEVELS = (leq(_epsilon, 1), leq(_K, _n))
#: Indicator of the event that the fitted verifier is the true one, as it depends on the data.
HIT = Random("I", "d")
#: The window of vf-lower at rho = sigma.
START, END = (r.subs({_rho: _sigma}) for r in (WINDOW_START, WINDOW_END))
#: At least this: no wrong hypothesis explains the labels.
_LEAST_PSI = 1 - sympy.exp(L - _n * sympy.log(2))


def _choice_claims() -> tuple[Claim, ...]:
    """What the chance of the truth is."""
    return (
        Claim(
            "random-codebook",
            eq(mean("d", HIT), CODEBOOK_PSI),
            "a uniform choice among the hypotheses that explain all labels of the random codebook is right so often",
            (),
            (_sigma,),
        ),
        Claim("any-codebook", geq(mean("d", HIT), _LEAST_PSI), "and on any codebook at least so often", (), (_sigma,)),
    )


_BALL_CLOSED = CLOSED_FORM * (2 * _psi - 1)
_FREE_CLOSED = _sigma * (_psi - sympy.exp(-L / 4))
#: From here on psi >= 1 - 1/M, and what the closed forms are then.
MANY_LABELS = geq(_n * sympy.log(2), 2 * L)
BALL_ROOT = CLOSED_FORM * (1 - 2 * sympy.exp(-L))
FREE_LINEAR = _sigma * (1 - sympy.exp(-L) - sympy.exp(-L / 4))

GAP_BALL_CLAIMS = (
    Claim(
        "verifier-based",
        eq(J_IN_BALL, mean("x", MU_X) + _epsilon * _sigma * _psi),
        "the expert of the chosen hypothesis earns its gain where the choice is right, and nothing elsewhere",
        (),
        (_sigma,),
    ),
    Claim(
        "value",
        geq(GAP_IN_BALL, _sigma * (_epsilon * _psi - TRUNCATED)),
        "for every K, on average over the prior",
        _LEVELS,
        (_sigma,),
    ),
    Claim(
        "codebook",
        geq(GAP_IN_BALL, _sigma * (_epsilon * CODEBOOK_PSI - TRUNCATED)),
        "with the chance of the random codebook put in",
        (*_LEVELS, _AT_CODEBOOK),
        (_sigma,),
    ),
    *_choice_claims(),
    Claim(
        "closed-form",
        geq(GAP_IN_BALL, _BALL_CLOSED),
        "at epsilon^2 = L/(2n), inside the window of vf-lower",
        (AT_HALF, START, END),
        (_sigma,),
    ),
    Claim(
        "root",
        geq(GAP_IN_BALL, BALL_ROOT),
        "the same with psi >= 1 - 1/M",
        (AT_HALF, START, END, MANY_LABELS),
        (_sigma,),
    ),
    Claim(
        "exponent",
        scaling(BALL_ROOT, alpha - nu / 2),
        "its exponent in H: 1/2 at sigma ~ H, n ~ H",
        (),
        (_sigma,),
    ),
)
GAP_FREE_CLAIMS = (
    Claim(
        "verifier-based",
        eq(J_UNRESTRICTED, mean("x", MU_X) + _sigma * _psi),
        "the better half of the chosen hypothesis earns sigma where the choice is right, and nothing elsewhere",
        (),
        (_sigma,),
    ),
    Claim(
        "value",
        geq(GAP_UNRESTRICTED, _sigma * (_psi - TRUNCATED)),
        "for every K and epsilon, on average over the prior",
        _LEVELS,
        (_sigma,),
    ),
    Claim(
        "codebook",
        geq(GAP_UNRESTRICTED, _sigma * (CODEBOOK_PSI - TRUNCATED)),
        "with the chance of the random codebook put in",
        (*_LEVELS, _AT_CODEBOOK),
        (_sigma,),
    ),
    Claim(
        "closed-form",
        geq(GAP_UNRESTRICTED, _FREE_CLOSED),
        "at epsilon^2 = L/(2n) from n = L/2 on",
        (AT_HALF, START),
        (_sigma,),
    ),
    Claim(
        "linear",
        geq(GAP_UNRESTRICTED, FREE_LINEAR),
        "the same with psi >= 1 - 1/M, free of n",
        (AT_HALF, START, MANY_LABELS),
        (_sigma,),
    ),
    Claim("exponent", scaling(FREE_LINEAR, alpha), "its exponent in H: 1 at sigma ~ H, whatever n", (), (_sigma,)),
)
_BALL, _FREE = _by_name(GAP_BALL_CLAIMS), _by_name(GAP_FREE_CLAIMS)
_PSI, _INFORMATION_BOUND = Formula(CODEBOOK_PSI), Formula(TRUNCATED)


class _TwoPoint:
    """The numbers of one of the two gaps of the two-point codebook: psi as given, or that of the random codebook."""

    def __init__(self, claims: dict[str, Claim]) -> None:
        self.given, self.codebook = (Formula(claims[name].relation.rhs) for name in ("value", "codebook"))

    def at(self, point: Point) -> tuple[Formula, dict[str, float]]:
        """Beyond epsilon = 1 there is no such expert, and nothing is kept."""
        filled = with_level(point if point["epsilon"] <= 1.0 else {**point, "K": -1.0})
        return (self.given if "psi" in point else self.codebook), filled

    def number(self, point: Point) -> Number:
        """The value; beside it psi, B and K."""
        formula, filled = self.at(point)
        psi = point["psi"] if "psi" in point else _PSI.at(filled)
        extras = {"psi": psi, "B": _INFORMATION_BOUND.at(filled), "K": int(filled["K"])}
        return Number(formula.at(filled), extras)


_BALL_NUMBERS, _FREE_NUMBERS = _TwoPoint(_BALL), _TwoPoint(_FREE)


_TWO_POINT_ASSUMPTIONS = (
    Assumption("sigma > 0", lambda p: p["sigma"], strict=True),
    Assumption("epsilon <= 1", lambda p: 1.0 - p["epsilon"]),
    Assumption("sigma <= H/2", lambda p: p["H"] / 2 - p["sigma"] if "H" in p else 0.0, lambda p: p["sigma"]),
    Assumption("log2 M >= 32 (for the exponent, not for the inequality)", lambda p: p["log2_M"] - 32.0, required=False),
)
_MEANINGS = {
    "psi": "P(fitted verifier is the true one); psi_M(2^-n) of the random codebook if not given",
    "K": "most agreements kept, any number; the best one in float64 if not given",
}

GAP_BALL = Theorem(
    label="gap-ball",
    kind="lower",
    statement=r"\text{ball gap}\ge\sup_\varepsilon\sigma\,[\varepsilon\,\psi_M(2^{-n})-B]",
    bounds="verifier-based learning in the ball minus any verifier-free algorithm, codebook with R = mu +- sigma",
    units="tokens",
    required=("n", "log2_M", "sigma"),
    optional=("H", "epsilon", "psi", "K"),
    assumptions=_TWO_POINT_ASSUMPTIONS,
    family=MIRRORED_TWO_POINT,
    evaluator=_BALL_NUMBERS.number,
    trivial=lambda p: 0.0,
    source="theory notes, section 9",
    uses=("vf-lower", "vf-lower-truncated"),
    epsilon_range=lambda p: (0.0, 1.0),
    meanings=_MEANINGS,
    claims=GAP_BALL_CLAIMS,
    formulas=_BALL_NUMBERS.at,
)

GAP_FREE = Theorem(
    label="gap-free",
    kind="lower",
    statement=r"\text{free gap}\ge\sigma\,[\psi_M(2^{-n})-B]",
    bounds="unrestricted verifier-based learning minus any verifier-free algorithm, codebook with R = mu +- sigma",
    units="tokens",
    required=("n", "log2_M", "sigma", "epsilon"),
    optional=("H", "psi", "K"),
    assumptions=_TWO_POINT_ASSUMPTIONS,
    family=MIRRORED_TWO_POINT,
    evaluator=_FREE_NUMBERS.number,
    trivial=lambda p: 0.0,
    source="theory notes, section 9",
    uses=("gap-ball", "vf-lower", "vf-lower-truncated"),
    meanings=_MEANINGS,
    claims=GAP_FREE_CLAIMS,
    formulas=_FREE_NUMBERS.at,
)
