"""Proofs of ``gap-regret``, ``gap-ball`` and ``gap-free``."""

from __future__ import annotations

import sympy

from theory.anti_concentration import ABOVE, ANTI_CONCENTRATION, AT_MOST_HALF, P_S, REACH, C, m
from theory.derivations import anti_concentration, verifier, verifier_based
from theory.derivations.application import Application, settings
from theory.derivations.verifier_free import VF_LOWER_PROOF, VF_LOWER_TRUNCATED_PROOF
from theory.expectation import Random, mean
from theory.gap import (
    CERTIFIED,
    CODEBOOK_PSI,
    CONCENTRATED,
    END,
    GAP,
    GAP_BALL,
    GAP_BALL_CLAIMS,
    GAP_FREE_CLAIMS,
    GAP_IN_BALL,
    GAP_REGRET_CLAIMS,
    GAP_UNRESTRICTED,
    GUARANTEED,
    HIT,
    J_IN_BALL,
    J_UNRESTRICTED,
    LOSS,
    MANY_LABELS,
    SIMPLE_LOSS,
    START,
)
from theory.proof import Calculus, Claim, Combination, Derivation, Given, Identity, Monotone, Step, Use
from theory.relation import Relation, eq, geq, leq
from theory.special import mean_reciprocal_of
from theory.symbols import H, L, M, letter
from theory.verifier import LEVEL, TWO_MEMBERS
from theory.verifier_based import CHI2_X, EPSILON_X, J_X, REACHES, TOP_LEARNED, VB_UPPER_TOP_C, R
from theory.verifier_free import (
    AT_HALF,
    CLOSED_FORM,
    INFORMATION,
    J_EXPERT,
    MU_X,
    REGRET,
    SIGMA_X,
    TRUNCATED,
    VF_LOWER,
    VF_LOWER_TRUNCATED,
    WINDOW_END,
    WINDOW_START,
    F,
)

__all__ = ["GAP_BALL_PROOF", "GAP_FREE_PROOF", "GAP_REGRET_PROOF"]

epsilon, sigma, rho, n, c, psi, K = (letter(name) for name in ("epsilon", "sigma", "rho", "n", "c", "psi", "K"))
_r = sympy.Symbol("r", nonnegative=True)
_SQUARE = sympy.Lambda(_r, _r**2)
_y = sympy.Symbol("y", real=True)
_EXP = sympy.Lambda(_y, sympy.exp(_y))

#: Values averaged over the prior: the verifier-free learner's and top-c's.
J_HAT, J_TOP_C = sympy.symbols("J_hat J_top_c", real=True)
#: Under hypothesis i: value of the best expert on a prompt, return of a trace, density of top-c, indicator of
#: R >= mu + epsilon sigma.
J_I, R_I, TOP_I = Random("J", "ix"), Random("R", "bix"), Random("q_hat", "bdix", nonnegative=True)
REACHES_I = Random("I", "bix", nonnegative=True)
_top_value = mean("x", mean("b", R_I * TOP_I))
_loss = mean("d", mean("x", J_I) - _top_value)
_IN_CODEBOOK = {
    J_X: J_I,
    R: R_I,
    TOP_LEARNED: TOP_I,
    REACHES: REACHES_I,
    CHI2_X: epsilon**2,
    EPSILON_X: epsilon,
    verifier_based.MU_X: MU_X,
    verifier_based.SIGMA_X: SIGMA_X,
    verifier.FAR: Random("K", "i", integer=True, nonnegative=True),
    verifier.TAIL(LEVEL): sympy.Function("TAIL")(LEVEL, Random("i", "i")),
}
#: What top-c loses under hypothesis i; the mass above mu + epsilon sigma, of the return as a share of H.
_TOP_C = {
    name: Application(VB_UPPER_TOP_C, verifier_based.VB_UPPER_TOP_C_PROOF, name, _IN_CODEBOOK, on="i")
    for name in ("expectation", "simple")
}
_HETEROGENEITY = Application(
    ANTI_CONCENTRATION,
    anti_concentration.ANTI_CONCENTRATION_PROOF,
    "heterogeneity",
    {
        ABOVE: REACHES_I,
        anti_concentration.Y: R_I / H,
        m: MU_X / H,
        anti_concentration.FULL: Random("B", "bix"),
    },
)
_VF = {name: Application(VF_LOWER, VF_LOWER_PROOF, name) for name in ("value", "closed-form")}


def _of(claims: tuple[Claim, ...]) -> dict[str, Relation]:
    return {claim.name: claim.relation for claim in claims}


_REGRET, _BALL, _FREE = _of(GAP_REGRET_CLAIMS), _of(GAP_BALL_CLAIMS), _of(GAP_FREE_CLAIMS)


def _loss_steps(concentrated: str, of: str, bound: sympy.Expr, prefix: str) -> tuple[Step, ...]:
    """Top-c loses at most ``bound`` (the claim ``of`` of vb-upper-top-c) on average over the prior."""
    return (
        Step(
            f"{prefix}-enough",
            geq(mean("b", REACHES_I), c),
            Combination(((1, concentrated),), ("mass-above",)),
            "the top mass c of R lies above mu + epsilon sigma",
        ),
        Step(
            f"{prefix}-loss",
            leq(_loss, bound),
            _TOP_C[of].rule((f"{prefix}-enough", "two-members"), _REGRET_GIVENS),
            "what top-c loses under each hypothesis",
        ),
        Step(
            f"{prefix}-mean-loss",
            geq(mean("i", bound - _loss), 0),
            Use("positivity", {"space": "i", "f": bound - _loss}, (f"{prefix}-loss",)),
            "and on average over the prior",
        ),
    )


_DIFFERENCE = ("gap", "regret", "value-of-expert", "value-of-top-c")

_REGRET_GIVENS = settings(
    (
        Given("gap", eq(GAP, J_TOP_C - J_HAT), "top-c minus the verifier-free learner"),
        Given("regret", eq(REGRET, J_EXPERT - J_HAT), "what the latter loses to the expert"),
        Given("value-of-expert", eq(J_EXPERT, mean("i", mean("x", J_I))), "expert i is the best of the ball"),
        Given("value-of-top-c", eq(J_TOP_C, mean("i", mean("d", _top_value))), "averaged over the prior and the data"),
        Given("valid", leq(epsilon * rho, SIGMA_X), "the experts are policies", "assumption"),
        Given("mass-above", eq(mean("b", REACHES_I), C), "c_x(epsilon) is the mass of R >= mu + epsilon sigma"),
        Given("concentrated", CONCENTRATED, "c is at most that", "assumption"),
        Given("guaranteed", GUARANTEED, "c is at most p_s", "assumption"),
        Given("at-most-half", AT_MOST_HALF, "sigma <= H/2", "assumption"),
        Given("reach", REACH, "epsilon <= p_s/s", "assumption"),
        Given("two-members", TWO_MEMBERS, "the class has two members or more", "assumption"),
        Given("at-half", AT_HALF, "the radius of the closed form", "assumption"),
        Given("start", WINDOW_START, "the window of vf-lower: its start", "assumption"),
        Given("end", WINDOW_END, "and its end", "assumption"),
        Given("certified-from", CERTIFIED, "n is large enough for the verifier", "assumption"),
    ),
    *_VF.values(),
    *_TOP_C.values(),
    _HETEROGENEITY,
)

GAP_REGRET_PROOF = Derivation(
    label="gap-regret",
    positive=(sigma,),
    givens=_REGRET_GIVENS,
    steps=(
        Step(
            "vf",
            geq(REGRET, epsilon * sigma - rho * INFORMATION),
            _VF["value"].rule(("valid",), _REGRET_GIVENS),
            "what the verifier-free learner loses",
        ),
        *_loss_steps("concentrated", "expectation", LOSS, "given"),
        Step(
            "value", _REGRET["value"], Combination(((1, "vf"), (1, "given-mean-loss")), _DIFFERENCE), "the difference"
        ),
        Step(
            "heterogeneous",
            geq(C, P_S),
            _HETEROGENEITY.rule(("at-most-half", "reach"), _REGRET_GIVENS),
            "every law has as much",
        ),
        Step("enough-mass", geq(C, c), Combination(((1, "heterogeneous"), (1, "guaranteed"))), "hence c is guaranteed"),
        *_loss_steps("enough-mass", "expectation", LOSS, "guaranteed"),
        Step(
            "heterogeneity",
            _REGRET["heterogeneity"],
            Combination(((1, "vf"), (1, "guaranteed-mean-loss")), _DIFFERENCE),
            "the same difference",
        ),
        Step(
            "vf-closed",
            geq(REGRET, CLOSED_FORM),
            _VF["closed-form"].rule(("at-half", "valid", "start", "end"), _REGRET_GIVENS),
            "the closed form",
        ),
        *_loss_steps("concentrated", "simple", SIMPLE_LOSS, "simple"),
        Step(
            "closed-form",
            _REGRET["closed-form"],
            Combination(((1, "vf-closed"), (1, "simple-mean-loss")), _DIFFERENCE),
            "the difference of the simple forms",
        ),
        Step(
            "certified-squared",
            leq(SIMPLE_LOSS**2, CLOSED_FORM**2),
            Combination(((sigma**2 * L / (8 * n**2), "certified-from"),)),
            "squares of both",
        ),
        Step(
            "certified-root",
            leq(SIMPLE_LOSS, CLOSED_FORM),
            Monotone(_SQUARE, "certified-squared", reflect=True),
            "roots",
        ),
        Step("certified", _REGRET["certified"], Combination(((1, "certified-root"),)), "the difference is >= 0"),
    ),
)

#: The levels: all sigma_x are sigma, which is rho too.
_ON_LEVELS = {
    "expert-value": Application(VF_LOWER, VF_LOWER_PROOF, "expert-value", {SIGMA_X: sigma}),
    "truncated": Application(VF_LOWER_TRUNCATED, VF_LOWER_TRUNCATED_PROOF, "value", {SIGMA_X: sigma}),
}
_UNTRUNCATED = {
    name: Application(VF_LOWER, VF_LOWER_PROOF, name, {rho: sigma, SIGMA_X: sigma})
    for name in ("value", "in-window", "closed-form")
}

#: Signs of the true and of the chosen hypothesis on a fresh prompt; their product on a prompt of the data.
TRUE, CHOSEN, AGREES = Random("s", "x"), Random("s_hat", "dx"), Random("a", "z")
#: A wrong hypothesis explains all labels, by number; how many do; the same event as a draw of its own.
EXPLAINS, OTHERS, ONE = sympy.IndexedBase(Random("E", "d")), Random("Z", "d"), Random("B", "w")
T, q = sympy.Symbol("T", nonnegative=True), sympy.Symbol("q", positive=True)
_j = sympy.Symbol("j", integer=True, positive=True)
_HALVES = sympy.exp(-n * sympy.log(2))
_SURVIVES = mean("d", EXPLAINS[_j])
_generating = (1 - q + q * T) ** (M - 1)
_psi_integral = sympy.Integral(_generating, (T, 0, 1))


def _value_givens(value: sympy.Symbol, gap: sympy.Symbol, density: sympy.Expr, why: str) -> tuple[Given, ...]:
    """The setting of the two-point codebook: a verifier-based learner of that density against a verifier-free one."""
    return (
        Given("gap", eq(gap, value - J_HAT), "the verifier-based minus the verifier-free learner"),
        Given("regret", eq(REGRET, J_EXPERT - J_HAT), "what the latter loses to the expert"),
        Given(
            "value-of-choice",
            eq(value, mean("d", mean("x", mean("t", density * (MU_X + TRUE * sigma * F))))),
            why,
        ),
        Given("centred", eq(mean("t", F), 0), "R = mu_x + sigma f, f = +1 or -1:"),
        Given("standard", eq(mean("t", F**2), 1), "mean 0, variance 1"),
        Given(
            "codebook",
            eq(mean("x", CHOSEN * TRUE), HIT),
            "signs agree everywhere if the choice is the truth and are uncorrelated else",
        ),
        Given("chance", eq(mean("d", HIT), psi), "psi is the chance of the truth"),
        Given("is-policy", leq(epsilon, 1), "the experts are policies", "assumption"),
        Given("levels", leq(K, n), "K is a number of agreements", "assumption"),
        Given("at-codebook", eq(psi, CODEBOOK_PSI), "psi of the random codebook", "assumption"),
        Given("at-half", AT_HALF, "the radius of the closed form", "assumption"),
        Given("start", START, "n is large enough for experts of that radius", "assumption"),
        Given("many-labels", MANY_LABELS, "n >= 2 log2 M", "assumption"),
    )


def _chance_steps() -> tuple[Step, ...]:
    """psi >= 1 - 1/M, from any-codebook."""
    return (
        Step("few-left", leq(L - n * sympy.log(2), -L), Combination(((1, "many-labels"),)), "M 2^-n <= 1/M"),
        Step("few", leq(sympy.exp(L - n * sympy.log(2)), sympy.exp(-L)), Monotone(_EXP, "few-left"), "exponentiated"),
        Step(
            "sure",
            geq(psi, 1 - sympy.exp(-L)),
            Combination(((1, "any-codebook"), (1, "few")), ("chance",)),
            "the truth is chosen but for 1/M",
        ),
    )


def _value_steps(claims: dict[str, Relation], givens: tuple[Given, ...]) -> tuple[Step, ...]:
    """The value of the verifier-based learner and the gap, on levels."""
    return (
        Step(
            "verifier-based",
            claims["verifier-based"],
            Identity(("value-of-choice", "centred", "standard", "codebook", "chance")),
            "E s_hat s is 1 or 0",
        ),
        Step(
            "expert-value",
            eq(J_EXPERT, mean("x", MU_X) + epsilon * sigma),
            _ON_LEVELS["expert-value"].rule((), givens),
            "the expert's value",
        ),
        Step(
            "vf",
            geq(REGRET, sigma * (epsilon - TRUNCATED)),
            _ON_LEVELS["truncated"].rule(("is-policy", "levels"), givens),
            "what the verifier-free learner loses",
        ),
        Step(
            "value",
            claims["value"],
            Combination(((1, "vf"),), ("gap", "regret", "expert-value", "verifier-based")),
            "the difference",
        ),
        Step(
            "on-random-codebook",
            claims["codebook"],
            Combination(((1, "value"),), ("at-codebook",)),
            "psi put in",
        ),
    )


_BALL_GIVENS = settings(
    (
        *_value_givens(
            J_IN_BALL,
            GAP_IN_BALL,
            1 + epsilon * CHOSEN * F,
            "it deploys the expert of a hypothesis chosen among those that explain the labels",
        ),
        Given("end", END, "n is small enough for the data to say little", "assumption"),
        Given("size", eq(M, sympy.exp(L)), "L = log M"),
        Given("uncorrelated", eq(mean("z", AGREES), 0), "signs of two hypotheses are uncorrelated on a prompt"),
        Given(
            "explained",
            leq(1 - HIT, sympy.Sum(EXPLAINS[_j], (_j, 1, M - 1))),
            "if no wrong hypothesis explains the labels the choice is right",
        ),
        Given("picked", eq(mean("d", HIT), mean("d", 1 / (1 + OTHERS))), "one of Z + 1 is chosen uniformly"),
        Given(
            "reciprocal",
            eq(mean("d", 1 / (1 + OTHERS)), sympy.Integral(mean("d", T**OTHERS), (T, 0, 1))),
            "1/(1 + Z) is the integral of T^Z; mean and integral exchanged",
        ),
        Given(
            "one",
            eq(mean("w", T**ONE), 1 - _SURVIVES + _SURVIVES * T),
            "B indicates that one wrong hypothesis explains all labels",
        ),
        Given("q", eq(q, _HALVES), "q = 2^-n", "auxiliary"),
        Given("reciprocal-count", mean_reciprocal_of(L, -n * sympy.log(2)), "what psi_M stands for"),
    ),
    *_ON_LEVELS.values(),
    _UNTRUNCATED["closed-form"],
)

GAP_BALL_PROOF = Derivation(
    label="gap-ball",
    positive=(sigma,),
    givens=_BALL_GIVENS,
    steps=(
        *_value_steps(_BALL, _BALL_GIVENS),
        Step(
            "labels",
            eq(_SURVIVES, mean("z", (1 + AGREES) / 2) ** n),
            Use(
                "independence",
                {"product": EXPLAINS[_j], "space": "z", "factor": (1 + AGREES) / 2, "n": n},
            ),
            "it must agree on n independent prompts",
        ),
        Step("survival", eq(_SURVIVES, _HALVES), Identity(("labels", "uncorrelated")), "each with probability 1/2"),
        Step(
            "union",
            leq(mean("d", 1 - HIT), (M - 1) * _HALVES),
            Use(
                "union-bound",
                {"space": "d", "some": 1 - HIT, "events": EXPLAINS, "size": M - 1, "most": _HALVES},
                ("explained", "survival"),
            ),
            "M - 1 wrong hypotheses",
        ),
        Step(
            "any-codebook",
            _BALL["any-codebook"],
            Combination(((1, "union"), (_HALVES,)), ("size",)),
            "so the truth is chosen with the rest",
        ),
        Step(
            "generating",
            eq(mean("d", T**OTHERS), mean("w", T**ONE) ** (M - 1)),
            Use("independence", {"product": T**OTHERS, "space": "w", "factor": T**ONE, "n": M - 1}),
            "on the random codebook wrong hypotheses explain the labels independently",
        ),
        Step(
            "psi-integral",
            eq(mean("d", HIT), _psi_integral),
            Identity(("picked", "reciprocal", "generating", "one", "survival", "q")),
            "the generating function of Bin(M - 1, q), integrated",
        ),
        Step(
            "psi-closed",
            eq(_psi_integral, (1 - (1 - q) ** M) / (M * q)),
            Identity(),
            "sympy integrates",
        ),
        Step(
            "random-codebook",
            _BALL["random-codebook"],
            Identity(("psi-integral", "psi-closed", "q", "size", "reciprocal-count")),
            "psi_M(2^-n)",
        ),
        Step(
            "valid",
            leq(epsilon * sigma, sigma),
            _UNTRUNCATED["in-window"].rule(("at-half", "start"), _BALL_GIVENS),
            "in its window the experts are policies",
        ),
        Step(
            "vf-closed",
            geq(REGRET, CLOSED_FORM),
            _UNTRUNCATED["closed-form"].rule(("at-half", "valid", "start", "end"), _BALL_GIVENS),
            "the closed form at rho = sigma",
        ),
        Step(
            "closed-form",
            _BALL["closed-form"],
            Combination(
                ((1, "vf-closed"),),
                ("gap", "regret", "expert-value", "verifier-based", "at-half"),
            ),
            "epsilon sigma is twice the closed form",
        ),
        *_chance_steps(),
        Step(
            "root",
            _BALL["root"],
            Combination(((1, "closed-form"), (2 * CLOSED_FORM, "sure"))),
            "2 psi - 1 >= 1 - 2/M",
        ),
        Step("exponent", _BALL["exponent"], Identity(), "powers of the factor"),
    ),
)

_ANY_CODEBOOK = Application(GAP_BALL, GAP_BALL_PROOF, "any-codebook")
_FREE_GIVENS = settings(
    _value_givens(
        J_UNRESTRICTED,
        GAP_UNRESTRICTED,
        1 + CHOSEN * F,
        "it deploys the better half of a hypothesis chosen among those that explain the labels: density 2 where it says"
        " R = mu_x + sigma, else 0",
    ),
    *_ON_LEVELS.values(),
    _UNTRUNCATED["value"],
    _ANY_CODEBOOK,
)

GAP_FREE_PROOF = Derivation(
    label="gap-free",
    positive=(sigma,),
    givens=_FREE_GIVENS,
    steps=(
        *_value_steps(_FREE, _FREE_GIVENS),
        Step("radius-squared", leq(epsilon**2, 1), Combination(((1 / n, "start"),), ("at-half",)), "L/(2n) <= 1"),
        Step("radius", leq(epsilon, 1), Monotone(_SQUARE, "radius-squared", reflect=True), "roots"),
        Step("valid", leq(epsilon * sigma, sigma), Combination(((sigma, "radius"),)), "in tokens"),
        Step(
            "vf-untruncated",
            geq(REGRET, epsilon * sigma - sigma * INFORMATION),
            _UNTRUNCATED["value"].rule(("valid",), _FREE_GIVENS),
            "what the verifier-free learner loses",
        ),
        Step("log", leq(sympy.log(1 + epsilon**2), epsilon**2), Calculus(epsilon), "log(1 + x) <= x"),
        Step(
            "exponent-quarter",
            leq((n * sympy.log(1 + epsilon**2) - L) / 2, -L / 4),
            Combination(((n / 2, "log"),), ("at-half",)),
            "n epsilon^2 = L/2",
        ),
        Step("information", leq(INFORMATION, sympy.exp(-L / 4)), Monotone(_EXP, "exponent-quarter"), "half the bits"),
        Step(
            "closed-form",
            _FREE["closed-form"],
            Combination(
                ((1, "vf-untruncated"), (sigma, "information")),
                ("gap", "regret", "expert-value", "verifier-based"),
            ),
            "sigma psi remains of the verifier-based value",
        ),
        Step(
            "any-codebook",
            _BALL["any-codebook"],
            _ANY_CODEBOOK.rule((), _FREE_GIVENS),
            "no wrong hypothesis explains the labels",
        ),
        *_chance_steps(),
        Step("linear", _FREE["linear"], Combination(((1, "closed-form"), (sigma, "sure"))), "1 - 1/M of psi"),
        Step("exponent", _FREE["exponent"], Identity(), "powers of the factor"),
    ),
)
