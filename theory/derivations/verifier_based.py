"""Proofs of ``vb-upper-top-c`` and ``vb-upper-best-of-n``.

Spaces: ``x`` the prompt, ``b`` a base trace on it, ``k`` the N draws on it, ``d`` the verifier's training data. Every
fact without an expectation holds for each trace, prompt and data set.
"""

from __future__ import annotations

import sympy

from theory.chi2_ball import CHI2, CHI2_EXPERT, J, u
from theory.chi2_ball import R as ANY_RETURN
from theory.derivations.application import Application, settings
from theory.derivations.chi2_ball import CHI2_EXPERT_PROOF
from theory.derivations.verifier import VERIFIER_ERM_PROOF
from theory.expectation import Random, mean
from theory.proof import Cancel, Cases, Combination, Derivation, Given, Identity, Monotone, Step, Use
from theory.relation import Relation, eq, geq, leq
from theory.symbols import N, letter
from theory.verifier import AT_LEVEL, ERROR, FAILURE, TWO_MEMBERS, VERIFIER_ERM
from theory.verifier_based import (
    CHI2_X,
    ENOUGH,
    EPSILON_X,
    IN_BALL_X,
    J_BEST_OF_N,
    J_EXPERT,
    J_TOP,
    J_X,
    KEPT,
    LEARNED,
    RADIUS,
    REACHES,
    TOP,
    TOP_LEARNED,
    VB_UPPER_BEST_OF_N_CLAIMS,
    VB_UPPER_TOP_C_CLAIMS,
    VERIFIER_ERROR,
    WITHIN,
    R,
)

__all__ = ["VB_UPPER_BEST_OF_N_PROOF", "VB_UPPER_TOP_C_PROOF"]

c, mu, sigma, epsilon = letter("c"), letter("mu"), letter("sigma"), letter("epsilon")
#: Mean and standard deviation of the return on prompt x, and the latter where it is not 0.
MU_X, SIGMA_X = Random("mu", "x", nonnegative=True), Random("sigma", "x", nonnegative=True)
SPREAD = Random("k_sigma", "x", positive=True)
#: Density of the best expert with respect to the base policy.
EXPERT = Random("u", "bx", nonnegative=True)
#: Thresholds of the two top masses, and the positive parts of R and R_hat beyond them.
T, T_LEARNED = Random("tau", "x"), Random("tau_hat", "xd")
BEYOND, BEYOND_LEARNED = Random("W", "bx", nonnegative=True), Random("W_hat", "bxd", nonnegative=True)
#: Return and learned return of the best draw, learned return of the one kept, indicators that the two are one draw and
#: that no draw reaches u_x; error on draw j.
BEST, BEST_LEARNED = Random("R_best", "kx", nonnegative=True), Random("R_hat_best", "kxd")
KEPT_LEARNED = Random("R_hat_kept", "kxd")
SAME, MISS = Random("S", "kxd", nonnegative=True), Random("B", "kx", nonnegative=True)
OFF_AT = sympy.IndexedBase(Random("D", "kxd", nonnegative=True))
j = sympy.Symbol("j", integer=True, positive=True)
_r = sympy.Symbol("r", nonnegative=True)
_off = sympy.Abs(LEARNED - R)
_u = MU_X + SIGMA_X * EPSILON_X
_mass = mean("b", REACHES)
_sum = sympy.Sum(OFF_AT[j], (j, 1, N))


def E(f: sympy.Expr) -> sympy.Expr:
    """Mean over the base policy's traces on a prompt."""
    return mean("b", f)


def _average(name: str, space: str, f: sympy.Expr, pointwise: str, why: str) -> Step:
    return Step(name, geq(mean(space, f), 0), Use("positivity", {"space": space, "f": f}, (pointwise,)), why)


_PROMPT_GIVENS = (
    Given("prompt-mean", eq(E(R), MU_X), "mu is the mean return on the prompt"),
    Given("prompt-variance", eq(E(R**2), SIGMA_X**2 + MU_X**2), "sigma its standard deviation"),
    Given("expert-mass", eq(E(EXPERT), 1), "u is the density of the best expert"),
    Given("expert-value", eq(J_X, E(R * EXPERT)), "J is its value"),
    Given("expert-divergence", eq(E(EXPERT**2), 1 + CHI2_X), "chi2 its divergence"),
    Given("in-ball", IN_BALL_X, "its divergence is at most kappa_x", "assumption"),
    Given("flat", leq(SIGMA_X, 0), "the return does not vary on x", "case"),
    Given("spread", eq(SIGMA_X, SPREAD), "it does", "case"),
    Given("flat-return", eq(R, MU_X), "a return that does not vary is its mean", provided=leq(SIGMA_X, 0)),
    Given("indicator", leq(REACHES, 1), "I is the indicator of R >= u = mu + epsilon sigma"),
    Given("enough", ENOUGH, "c is at most c_x(epsilon_x), the mass of I", "assumption"),
)
_SPREAD_VARIANCE = Step(
    "spread-variance",
    eq(E(R**2), SPREAD**2 + MU_X**2),
    Identity(("prompt-variance", "spread")),
    "its variance, where it varies",
)
_BEST = Application(
    CHI2_EXPERT,
    CHI2_EXPERT_PROOF,
    "value",
    {J: J_X, CHI2: CHI2_X, mu: MU_X, sigma: SPREAD, epsilon: EPSILON_X, ANY_RETURN: R, u: EXPERT},
)
_PROMPT_STEPS = (
    _SPREAD_VARIANCE,
    Step(
        "spread-value",
        leq(J_X, MU_X + SPREAD * EPSILON_X),
        _BEST.rule(("in-ball",), (*_PROMPT_GIVENS, _SPREAD_VARIANCE)),
        "no policy of the ball is worth more than u",
    ),
    Step("varied", leq(J_X, _u), Combination(((1, "spread-value"),), ("spread",)), "where the return varies"),
    Step(
        "constant",
        leq(J_X, _u),
        Combination(((SIGMA_X * EPSILON_X,),), ("expert-value", "flat-return", "expert-mass")),
        "where it does not, every policy is worth mu",
    ),
    Step("expert", leq(J_X, _u), Cases("constant", "varied", ("flat", "spread")), "either way"),
)


#: verifier-erm speaks of a trace with its prompt: w.
_ERM = {
    name: Application(VERIFIER_ERM, VERIFIER_ERM_PROOF, name, {ERROR: VERIFIER_ERROR}, {"b": "w"})
    for name in ("error", "expectation", "simple")
}


def _learned_steps(
    claims: dict[str, Relation], slope: sympy.Expr, loss: Relation, givens: tuple[Given, ...]
) -> tuple[Step, ...]:
    """From ``loss`` (linear in the verifier's error with ``slope``, data set by data set) to its four claims."""

    def applied(name: str, given: str) -> Step:
        why = "what verifier-erm guarantees"
        return Step(f"erm-{name}", _ERM[name].conclusion, _ERM[name].rule((given,), givens), why)

    return (
        Step("value", claims["value"], Combination(((1, "loss"), (slope, "within"))), "whatever the verifier's error"),
        applied("error", "at-level"),
        Step(
            "error",
            claims["error"],
            Combination(((1, "no-failure", "loss"), (slope, "erm-error"), *_constant(loss, slope))),
            "off the event F",
        ),
        _average("mean-loss", "d", loss.slack, "loss", "average over the data"),
        applied("expectation", "two-members"),
        Step(
            "expectation",
            claims["expectation"],
            Combination(((1, "mean-loss"), (slope, "erm-expectation"))),
            "in expectation",
        ),
        applied("simple", "two-members"),
        Step("simple", claims["simple"], Combination(((1, "mean-loss"), (slope, "erm-simple"))), "in a simpler form"),
    )


def _constant(loss: Relation, slope: sympy.Expr) -> tuple[tuple[sympy.Expr, str] | tuple[sympy.Expr], ...]:
    """What of the bound does not depend on the verifier's error, on the event F: it is >= 0."""
    rest = sympy.expand(loss.rhs - slope * VERIFIER_ERROR)
    return () if rest == 0 else ((FAILURE, "rest"),)


_WHOLE_LEARNED, _WHOLE_R = Random("R_hat", "dw"), Random("R", "w")
_LEARNED_GIVENS = (
    Given(
        "whole-trace",
        eq(VERIFIER_ERROR, mean("w", sympy.Abs(_WHOLE_LEARNED - _WHOLE_R))),
        "w is a trace with its prompt: first the prompt, then the trace",
    ),
    Given("within", WITHIN, "epsilon_ver bounds the verifier's error", "assumption"),
    Given("no-failure", leq(FAILURE, 1), "F is an indicator"),
    Given("at-level", AT_LEVEL, "of the event of probability delta of verifier-erm", "assumption"),
    Given("two-members", TWO_MEMBERS, "the class has two members or more", "assumption"),
)

_top = {claim.name: claim.relation for claim in VB_UPPER_TOP_C_CLAIMS}
_learned_best = (LEARNED - T_LEARNED) * (TOP_LEARNED - TOP)
_misjudged = _off / c - (R - LEARNED) * (TOP - TOP_LEARNED)
_true_best = (R - T) * (_mass * TOP - REACHES)
_reached = REACHES * (R - _u)
_prompt_loss = E(_off) / c - E(R * TOP) + E(R * TOP_LEARNED)
_top_loss = leq(J_EXPERT - J_TOP, VERIFIER_ERROR / c)

_TOP_C_GIVENS = settings(
    (
        *_PROMPT_GIVENS,
        Given("top-mass", eq(E(TOP), 1), "q is the density of the top mass c of R,"),
        Given("top-most", leq(TOP, 1 / c), "at most 1/c,"),
        Given("top-full", eq((R - T) * TOP, BEYOND / c), "1/c above the threshold tau and 0 below; W = (R - tau)^+"),
        Given("beyond", geq(BEYOND, R - T), "is at least R - tau"),
        Given("learned-mass", eq(E(TOP_LEARNED), 1), "the same for R_hat"),
        Given("learned-most", leq(TOP_LEARNED, 1 / c), "at most 1/c,"),
        Given(
            "learned-full", eq((LEARNED - T_LEARNED) * TOP_LEARNED, BEYOND_LEARNED / c), "1/c above tau_hat, 0 below"
        ),
        Given("learned-beyond", geq(BEYOND_LEARNED, LEARNED - T_LEARNED), "W_hat = (R_hat - tau_hat)^+"),
        Given("over", geq(_off, LEARNED - R), "an absolute value is at least the number"),
        Given("under", geq(_off, R - LEARNED), "and its negative"),
        Given("reached-by-definition", geq(_reached, 0), "on I, R >= u"),
        *_LEARNED_GIVENS,
    ),
    *_ERM.values(),
)

VB_UPPER_TOP_C_PROOF = Derivation(
    label="vb-upper-top-c",
    givens=_TOP_C_GIVENS,
    steps=(
        *_PROMPT_STEPS,
        Step(
            "learned-top",
            geq(_learned_best, 0),
            Combination(
                (
                    (-1, "learned-full"),
                    (BEYOND_LEARNED, "top-most"),
                    (TOP, "learned-beyond"),
                )
            ),
            "q_hat puts as much as it may above tau_hat, and nothing below",
        ),
        _average("mean-learned-top", "b", _learned_best, "learned-top", "E[R_hat q_hat] >= E[R_hat q]"),
        Step(
            "bilinear",
            geq(_misjudged, 0),
            Combination(
                (
                    (sympy.Rational(1, 2), "under", "learned-most"),
                    (TOP / 2, "under"),
                    (sympy.Rational(1, 2), "over", "top-most"),
                    (TOP_LEARNED / 2, "over"),
                )
            ),
            "|q - q_hat| is at most 1/c",
        ),
        _average("mean-bilinear", "b", _misjudged, "bilinear", "E[(R - R_hat)(q - q_hat)] <= E|R_hat - R|/c"),
        Step(
            "prompt-loss",
            geq(_prompt_loss, 0),
            Combination(((1, "mean-learned-top"), (1, "mean-bilinear")), ("top-mass", "learned-mass")),
            "E[R (q - q_hat)] = E[(R - R_hat)(q - q_hat)] + E[R_hat (q - q_hat)]",
        ),
        _average("cvar-loss", "x", _prompt_loss, "prompt-loss", "average over prompts"),
        Step("cvar", _top["cvar"], Combination(((1, "cvar-loss"), (1 / c, "within"))), "and put in epsilon_ver"),
        Step(
            "true-top",
            geq(_true_best, 0),
            Combination(
                (
                    (-_mass, "top-full"),
                    (BEYOND / c, "enough"),
                    (BEYOND, "indicator"),
                    (REACHES, "beyond"),
                )
            ),
            "nor does any other density below 1/c beat q: not I/P(I)",
        ),
        _average("mean-true-top", "b", _true_best, "true-top", "P(I) E[Rq] >= E[RI]"),
        _average("mean-reached", "b", _reached, "reached-by-definition", "E[RI] >= u P(I)"),
        Step(
            "scaled",
            geq(_mass * (E(R * TOP) - _u), 0),
            Combination(((1, "mean-true-top"), (1, "mean-reached")), ("top-mass",)),
            "together",
        ),
        Step("top-above", geq(E(R * TOP), _u), Cancel("scaled", "enough"), "divide by P(I) >= c"),
        Step(
            "prompt-top-mean",
            geq(E(R * TOP) - J_X, 0),
            Combination(((1, "top-above"), (1, "expert"))),
            "the top mass c of R is worth at least u",
        ),
        _average("mean-top-mean", "x", E(R * TOP) - J_X, "prompt-top-mean", "average over prompts"),
        Step("top-mean", _top["top-mean"], Combination(((1, "mean-top-mean"),)), "which is what is claimed"),
        Step(
            "loss",
            _top_loss,
            Combination(((1, "cvar-loss"), (1, "top-mean"))),
            "for every data set",
        ),
        *_learned_steps(_top, 1 / c, _top_loss, _TOP_C_GIVENS),
    ),
)

_best = {claim.name: claim.relation for claim in VB_UPPER_BEST_OF_N_CLAIMS}
_confused = _sum - (BEST - KEPT)
_reaching = BEST - _u * (1 - MISS)
_miss = (1 - c) ** N
_draw_loss = _u * _miss + N * E(_off) - J_X + mean("k", KEPT)
_within_radius = SIGMA_X * (epsilon - EPSILON_X)
_rest = (mu + sigma * epsilon) * _miss
_best_loss = leq(J_EXPERT - J_BEST_OF_N, _rest + N * VERIFIER_ERROR)

_BEST_OF_N_GIVENS = settings(
    (
        *_PROMPT_GIVENS,
        Given("radius", RADIUS, "the ball has one radius for all prompts", "assumption"),
        Given("mean", eq(mean("x", MU_X), mu), "mu averages the prompts' means"),
        Given("deviation", eq(mean("x", SIGMA_X), sigma), "sigma their standard deviations"),
        Given("chosen", geq(KEPT_LEARNED, BEST_LEARNED), "the largest R_hat is kept"),
        Given("same-draw", eq(SAME * (BEST - KEPT), 0), "S: the draw kept is the best one"),
        Given("same-indicator", leq(SAME, 1), "an indicator"),
        Given(
            "two-draws",
            leq((1 - SAME) * (sympy.Abs(BEST - BEST_LEARNED) + sympy.Abs(KEPT_LEARNED - KEPT)), _sum),
            "else they are two of the N draws, off by two of the errors D_j",
        ),
        Given("off-best", geq(sympy.Abs(BEST - BEST_LEARNED), BEST - BEST_LEARNED), "absolute values"),
        Given("off-kept", geq(sympy.Abs(KEPT_LEARNED - KEPT), KEPT_LEARNED - KEPT), "absolute values"),
        Given("drawn", eq(mean("k", OFF_AT[j]), E(_off)), "each draw is a base trace"),
        Given(
            "reached", geq((1 - MISS) * (BEST - _u), 0), "off B, the indicator that no draw has R >= u, the best has"
        ),
        *_LEARNED_GIVENS,
    ),
    *_ERM.values(),
)

VB_UPPER_BEST_OF_N_PROOF = Derivation(
    label="vb-upper-best-of-n",
    givens=_BEST_OF_N_GIVENS,
    steps=(
        *_PROMPT_STEPS,
        Step(
            "confused",
            geq(_confused, 0),
            Combination(
                (
                    (1, "two-draws"),
                    (1, "same-indicator", "off-best"),
                    (1, "same-indicator", "off-kept"),
                    (1, "same-indicator", "chosen"),
                    (1, "same-draw"),
                )
            ),
            "best - kept <= |error of the best| + |error of the kept|",
        ),
        _average("mean-confused", "k", _confused, "confused", "average over draws"),
        Step("total", eq(mean("k", _sum), N * E(_off)), Identity(("drawn",)), "N errors of one trace"),
        Step(
            "reaching",
            geq(_reaching, 0),
            Combination(((1, "reached"), (MISS * BEST,))),
            "R >= 0 on B",
        ),
        _average("mean-reaching", "k", _reaching, "reaching", "E max R >= u (1 - P(B))"),
        Step(
            "misses",
            eq(mean("k", MISS), E(1 - REACHES) ** N),
            Use("independence", {"product": MISS, "space": "b", "factor": 1 - REACHES, "n": N, "over": "k"}),
            "no draw reaches u: N independent misses",
        ),
        _average("miss-rate", "b", 1 - REACHES, "indicator", "a probability"),
        Step("less-often", leq(1 - _mass, 1 - c), Combination(((1, "enough"),)), "at most 1 - c"),
        Step(
            "miss-power",
            leq((1 - _mass) ** N, _miss),
            Monotone(sympy.Lambda(_r, _r**N), "less-often", ("miss-rate",)),
            "N times",
        ),
        Step(
            "draw-loss",
            geq(_draw_loss, 0),
            Combination(
                ((1, "expert"), (1, "mean-reaching"), (1, "mean-confused"), (_u, "miss-power")), ("total", "misses")
            ),
            "J - E[kept] = (J - u) + (u - E[best]) + E[best - kept]",
        ),
        _average("mean-draw-loss", "x", _draw_loss, "draw-loss", "average over prompts"),
        Step("within-radius", geq(_within_radius, 0), Combination(((SIGMA_X, "radius"),)), "sigma_x sqrt(kappa_x)"),
        _average("mean-radius", "x", _within_radius, "within-radius", "is on average at most sigma sqrt(kappa)"),
        Step("room", leq(0, 1 - c), Combination(((1, "less-often"), (1, "miss-rate"))), "c is at most 1"),
        Step("miss-positive", leq(0, _miss), Monotone(sympy.Lambda(_r, _r**N), "room"), "powers"),
        Step(
            "loss",
            _best_loss,
            Combination(((1, "mean-draw-loss"), (1, "miss-positive", "mean-radius")), ("mean", "deviation")),
            "for every data set",
        ),
        Step("rest", geq(_rest, 0), Combination(((mu + sigma * epsilon, "miss-positive"),)), "u (1 - c)^N >= 0"),
        *_learned_steps(_best, N, _best_loss, _BEST_OF_N_GIVENS),
    ),
)
