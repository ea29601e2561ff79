"""Proofs of ``vf-lower`` and ``vf-lower-truncated``."""

from __future__ import annotations

import sympy

from theory.chi2_ball import CHI2, CHI2_EXPERT, J
from theory.chi2_ball import R as ANY_RETURN
from theory.chi2_ball import u as ANY_DENSITY
from theory.derivations.application import Application
from theory.derivations.chi2_ball import CHI2_EXPERT_PROOF
from theory.expectation import Random, mean
from theory.proof import Calculus, Combination, Derivation, Given, Identity, Monotone, Step, Use
from theory.relation import Relation, eq, geq, leq
from theory.special import information_bound_of, level_mass
from theory.symbols import L, M, letter
from theory.verifier_free import (
    AT_HALF,
    AT_TANH,
    CHI2_X,
    CLOSED_FORM,
    CUT_ABOVE,
    CUT_BELOW,
    EXPERT,
    INFORMATION,
    J_ANY,
    J_EXPERT,
    LARGE_CLASS,
    MU_X,
    REGRET,
    SIGMA_X,
    SIGN,
    VF_LOWER,
    VF_LOWER_CLAIMS,
    VF_LOWER_TRUNCATED_CLAIMS,
    WINDOW_END,
    WINDOW_START,
    F,
    theta,
)

__all__ = ["VF_LOWER_PROOF", "VF_LOWER_TRUNCATED_PROOF"]

mu, sigma, rho, epsilon, n = (letter(name) for name in ("mu", "sigma", "rho", "epsilon", "n"))
_r = sympy.Symbol("r", nonnegative=True)
_ROOT = sympy.Lambda(_r, sympy.sqrt(_r))
_SQUARE = sympy.Lambda(_r, _r**2)
_y = sympy.Symbol("y", real=True)
_EXP = sympy.Lambda(_y, sympy.exp(_y))
_i, _j = sympy.symbols("i j", integer=True, positive=True)

#: Value of the learner averaged over the prior; density of its policy, which depends on the data, on a fresh prompt.
J_HAT = sympy.Symbol("J_hat", real=True)
u = Random("u", "dtx", nonnegative=True)
#: Density of the data under hypothesis i with respect to base data, and its second moment over the prior.
LIKELIHOOD = Random("Lambda", "di", nonnegative=True)
V = Random("V", "d", nonnegative=True)
#: Sign times f of one trace in the data: +1 or -1 under the two-point law.
A = Random("a", "iz")
#: The same signs and likelihoods, numbered.
SIGNS, WEIGHTS = sympy.IndexedBase(Random("s", "x")), sympy.IndexedBase(Random("Lambda", "d"))
#: What the learner's reply earns above mu_x per unit of posterior weight; and that weight, times the data's density.
REPLY = SIGMA_X * mean("t", u * F)
WEIGHT = mean("i", SIGN * LIKELIHOOD)


def _claim(name: str) -> Relation:
    return next(c.relation for c in VF_LOWER_CLAIMS if c.name == name)


def _truncated(name: str) -> Relation:
    return next(c.relation for c in VF_LOWER_TRUNCATED_CLAIMS if c.name == name)


#: Under one hypothesis: value, return and density of any policy on a prompt.
_J_X, RETURN, DENSITY = Random("J_x", "x"), Random("R", "tx"), Random("u_any", "tx")
_gain = rho * sympy.sqrt(V / M) - mean("x", WEIGHT * REPLY)
_numbered = sympy.Sum(SIGNS[_j] * WEIGHTS[_j], (_j, 1, M))

_BEST = Application(
    CHI2_EXPERT,
    CHI2_EXPERT_PROOF,
    "value",
    {J: _J_X, mu: MU_X, sigma: SIGMA_X, CHI2: CHI2_X, ANY_RETURN: RETURN, ANY_DENSITY: DENSITY},
    {"b": "t"},
)
_ANY_POLICY = (
    Given("return-mean", eq(mean("t", RETURN), MU_X), "the return under the hypothesis has mean mu_x"),
    Given("return-variance", eq(mean("t", RETURN**2), SIGMA_X**2 + MU_X**2), "and standard deviation sigma_x"),
    Given("any-mass", eq(mean("t", DENSITY), 1), "density of a policy,"),
    Given("any-value", eq(mean("t", DENSITY * RETURN), _J_X), "its value on a prompt,"),
    Given("any-divergence", eq(mean("t", DENSITY**2), 1 + CHI2_X), "its divergence"),
)

VF_LOWER_PROOF = Derivation(
    label="vf-lower",
    positive=(),
    givens=(
        Given("size", eq(M, sympy.exp(L)), "L = log M"),
        Given("centred", eq(mean("t", F), 0), "f is R - mu_x in units of sigma_x:"),
        Given("standard", eq(mean("t", F**2), 1), "its mean and its variance under the base policy"),
        Given("sign", eq(SIGN**2, 1), "signs are +1 or -1:"),
        Given("sign-above", geq(1 + SIGN, 0), "at least -1"),
        Given("sign-below", geq(1 - SIGN, 0), "at most +1"),
        Given("range-above", geq(rho - SIGMA_X * F, 0), "rho is at least the half-range of the return,"),
        Given("range-below", geq(rho + SIGMA_X * F, 0), "which is symmetric about mu_x"),
        Given("valid", leq(epsilon * rho, SIGMA_X), "the experts are policies", "assumption"),
        Given("mean-spread", eq(mean("x", SIGMA_X), sigma), "sigma is the mean of sigma_x"),
        Given(
            "value-of-expert",
            eq(J_EXPERT, mean("x", mean("t", EXPERT * (MU_X + SIGN * SIGMA_X * F)))),
            "under hypothesis i returns are mirrored where s_i = -1",
        ),
        *_ANY_POLICY,
        Given("value-of-any", eq(J_ANY, mean("x", _J_X)), "value of a policy: the mean over prompts"),
        Given("in-ball", leq(CHI2_X, epsilon**2), "it lies in the ball", "assumption"),
        Given("regret", eq(REGRET, J_EXPERT - J_HAT), "what the learner loses"),
        Given(
            "value-of-learner",
            eq(
                J_HAT,
                mean("d", mean("x", mean("t", mean("i", LIKELIHOOD * u * (MU_X + SIGN * SIGMA_X * F))))),
            ),
            "its value averaged over the prior, the data, a fresh prompt and a trace",
        ),
        Given("mass", eq(mean("t", u), 1), "u is a density"),
        Given("data-mass", eq(mean("d", mean("i", LIKELIHOOD)), 1), "so is that of the data"),
        Given("numbered", eq(WEIGHT, _numbered / M), "the prior is uniform on M hypotheses"),
        Given("second-moment", eq(V, sympy.Sum(WEIGHTS[_j] ** 2, (_j, 1, M)) / M), "V is the mean square likelihood"),
        Given("exchange", eq(mean("d", V), mean("i", mean("d", LIKELIHOOD**2))), "a finite mean and another exchanged"),
        Given(
            "codebook",
            eq(mean("x", SIGNS[_i] * SIGNS[_j]), sympy.KroneckerDelta(_i, _j)),
            "signs of different hypotheses are uncorrelated on a fresh prompt",
        ),
        Given("draw-centred", eq(mean("z", A), 0), "a = s_i f of one trace has mean 0 under the base policy"),
        Given("draw-standard", eq(mean("z", A**2), 1), "and variance 1"),
        Given("at-half", AT_HALF, "the radius of the closed form", "assumption"),
        Given("start", WINDOW_START, "n is large enough for experts of that radius", "assumption"),
        Given("end", WINDOW_END, "n is small enough for the data to say little", "assumption"),
    ),
    steps=(
        Step(
            "mirrored-range",
            geq(rho + SIGN * SIGMA_X * F, 0),
            Combination(
                (
                    (sympy.Rational(1, 2), "sign-above", "range-below"),
                    (sympy.Rational(1, 2), "sign-below", "range-above"),
                )
            ),
            "whichever the sign",
        ),
        Step(
            "expert-is-policy",
            _claim("expert-is-policy"),
            Combination(((1 / SIGMA_X, "valid"), (epsilon / SIGMA_X, "mirrored-range"))),
            "1 + epsilon s f >= 1 - epsilon rho/sigma_x",
        ),
        Step("expert-in-ball", _claim("expert-in-ball"), Identity(("standard", "sign")), "s^2 = 1 and E f^2 = 1"),
        Step(
            "expert-value",
            _claim("expert-value"),
            Identity(("value-of-expert", "centred", "standard", "sign", "mean-spread")),
            "the mirrored return has the sign of the density",
        ),
        Step(
            "value-in-ball",
            leq(_J_X, MU_X + SIGMA_X * epsilon),
            _BEST.rule(("in-ball",), _ANY_POLICY),
            "on each prompt",
        ),
        Step(
            "value-on-average",
            geq(mean("x", MU_X + SIGMA_X * epsilon - _J_X), 0),
            Use("positivity", {"space": "x", "f": MU_X + SIGMA_X * epsilon - _J_X}, ("value-in-ball",)),
            "and on average",
        ),
        Step(
            "expert-is-best",
            _claim("expert-is-best"),
            Combination(((1, "value-on-average"),), ("value-of-any", "expert-value", "mean-spread")),
            "which the expert attains",
        ),
        Step("rest-above", geq((rho - SIGMA_X * F) * u, 0), Combination(((u, "range-above"),)), "the best return"),
        Step(
            "mean-above",
            geq(mean("t", (rho - SIGMA_X * F) * u), 0),
            Use("positivity", {"space": "t", "f": (rho - SIGMA_X * F) * u}, ("rest-above",)),
            "under the learner's policy",
        ),
        Step("reply-above", geq(rho - REPLY, 0), Combination(((1, "mean-above"),), ("mass",)), "earns at most rho"),
        Step("rest-below", geq((rho + SIGMA_X * F) * u, 0), Combination(((u, "range-below"),)), "the worst return"),
        Step(
            "mean-below",
            geq(mean("t", (rho + SIGMA_X * F) * u), 0),
            Use("positivity", {"space": "t", "f": (rho + SIGMA_X * F) * u}, ("rest-below",)),
            "under the learner's policy",
        ),
        Step("reply-below", geq(rho + REPLY, 0), Combination(((1, "mean-below"),), ("mass",)), "loses at most rho"),
        Step("reply", geq(rho**2 - REPLY**2, 0), Combination(((1, "reply-above", "reply-below"),)), "|reply| <= rho"),
        Step(
            "mean-reply",
            geq(mean("x", rho**2 - REPLY**2), 0),
            Use("positivity", {"space": "x", "f": rho**2 - REPLY**2}, ("reply",)),
            "on average over prompts",
        ),
        Step("mean-square", leq(mean("x", REPLY**2), rho**2), Combination(((1, "mean-reply"),)), "its mean square"),
        Step(
            "mean-square-real",
            geq(mean("x", REPLY**2), 0),
            Use("positivity", {"space": "x", "f": REPLY**2}),
            "a mean of squares",
        ),
        Step(
            "norm",
            leq(sympy.sqrt(mean("x", REPLY**2)), rho),
            Monotone(_ROOT, "mean-square", ("mean-square-real",)),
            "and its norm",
        ),
        Step(
            "parseval",
            eq(mean("x", _numbered**2), sympy.Sum(WEIGHTS[_j] ** 2, (_j, 1, M))),
            Use("parseval", {"space": "x", "signs": SIGNS, "weights": WEIGHTS, "size": M}, ("codebook",)),
            "uncorrelated signs",
        ),
        Step(
            "spread",
            eq(mean("x", WEIGHT**2), V / M),
            Identity(("numbered", "parseval", "second-moment")),
            "so the weight of +1 against -1 is small on most prompts",
        ),
        Step(
            "alignment",
            leq(mean("x", WEIGHT * REPLY), sympy.sqrt(mean("x", WEIGHT**2)) * sympy.sqrt(mean("x", REPLY**2))),
            Use("cauchy-schwarz", {"space": "x", "a": WEIGHT, "b": REPLY}),
            "a reply gains no more than it aligns with the weight",
        ),
        Step(
            "gain",
            geq(_gain, 0),
            Combination(((1, "alignment"), (sympy.sqrt(V / M), "norm")), ("spread",)),
            "for given data",
        ),
        Step(
            "mean-gain",
            geq(mean("d", _gain), 0),
            Use("positivity", {"space": "d", "f": _gain}, ("gain",)),
            "on average",
        ),
        Step(
            "root-out",
            leq(mean("d", sympy.sqrt(V)), sympy.sqrt(mean("d", V))),
            Use("jensen", {"space": "d", "f": V}),
            "a mean of roots",
        ),
        Step(
            "product",
            eq(mean("d", LIKELIHOOD**2), mean("z", (1 + epsilon * A) ** 2) ** n),
            Use("independence", {"product": LIKELIHOOD**2, "space": "z", "factor": (1 + epsilon * A) ** 2, "n": n}),
            "a likelihood is a product over n independent traces",
        ),
        Step(
            "mean-second-moment",
            eq(mean("d", V), (1 + epsilon**2) ** n),
            Identity(("exchange", "product", "draw-centred", "draw-standard")),
            "each factor has second moment 1 + epsilon^2",
        ),
        Step(
            "value",
            _claim("value"),
            Combination(
                ((1, "mean-gain"), (rho / sympy.sqrt(M), "root-out")),
                (
                    "regret",
                    "expert-value",
                    "value-of-learner",
                    "mass",
                    "data-mass",
                    "mean-second-moment",
                    "size",
                ),
            ),
            "J_expert - J_hat",
        ),
        Step(
            "in-window-squared",
            leq((epsilon * rho) ** 2, sigma**2),
            Combination(((sigma**2 / n, "start"),), ("at-half",)),
            "epsilon^2 rho^2 = L rho^2/(2n)",
        ),
        Step("in-window", _claim("in-window"), Monotone(_SQUARE, "in-window-squared", reflect=True), "roots"),
        Step("log", leq(sympy.log(1 + epsilon**2), epsilon**2), Calculus(epsilon), "log(1 + x) <= x"),
        Step(
            "exponent-quarter",
            leq((n * sympy.log(1 + epsilon**2) - L) / 2, -L / 4),
            Combination(((n / 2, "log"),), ("at-half",)),
            "n epsilon^2 = L/2",
        ),
        Step("information", leq(INFORMATION, sympy.exp(-L / 4)), Monotone(_EXP, "exponent-quarter"), "half the bits"),
        Step(
            "end-squared",
            leq((rho * sympy.exp(-L / 4)) ** 2, sigma**2 * L / (8 * n)),
            Combination(((rho**2 * sympy.exp(-L / 2) / n, "end"),)),
            "what they are worth",
        ),
        Step(
            "end-root",
            leq(rho * sympy.exp(-L / 4), CLOSED_FORM),
            Monotone(_SQUARE, "end-squared", reflect=True),
            "is at most half of epsilon sigma",
        ),
        Step(
            "closed-form",
            _claim("closed-form"),
            Combination(((1, "value"), (rho, "information"), (1, "end-root")), ("at-half",)),
            "and the other half remains",
        ),
        Step("exponent", _claim("exponent"), Identity(), "powers of the factor"),
    ),
)


K = letter("K")
#: Draws in the data on which hypothesis i agrees with the return; indicators that they are at most K, and more.
AGREE = Random("A", "di")
KEEP, DROP = Random("T", "di", nonnegative=True), Random("U", "di", nonnegative=True)
#: The lesser of A and K; the greater of A and K + 1.
LOW, HIGH = Random("A_low", "di"), Random("A_high", "di")
#: Kept likelihoods, numbered, their second moment; y = artanh epsilon; the slope of the tail's exponent; the
#: likelihood of k agreements.
KEPT, V_KEPT = sympy.IndexedBase(Random("Lambda_kept", "d")), Random("V_kept", "d", nonnegative=True)
y, v = sympy.symbols("y v", nonnegative=True)
_k = sympy.Symbol("k", integer=True, nonnegative=True)
_kept_sum = sympy.Sum(SIGNS[_j] * KEPT[_j], (_j, 1, M))
_TWO_REPLY = sigma * mean("t", u * F)
_KEPT_WEIGHT, _CUT_WEIGHT = mean("i", SIGN * LIKELIHOOD * KEEP), mean("i", SIGN * LIKELIHOOD * DROP)
_cut = LIKELIHOOD * DROP * (sigma - SIGN * _TWO_REPLY)
_cut_gain = sigma * mean("i", LIKELIHOOD * DROP) - mean("x", _CUT_WEIGHT * _TWO_REPLY)
_kept_gain = sigma * sympy.sqrt(V_KEPT / M) - mean("x", _KEPT_WEIGHT * _TWO_REPLY)
_ratio = (1 + epsilon) ** _k * (1 - epsilon) ** (n - _k)


def _log_likelihood(agreements: sympy.Expr) -> sympy.Expr:
    return agreements * sympy.log(1 + epsilon) + (n - agreements) * sympy.log(1 - epsilon)


#: log cosh y, and its value at y + v.
_cosh, _shifted = sympy.log(sympy.cosh(y)), sympy.log(sympy.cosh(y + v))
_quarter = sympy.Rational(1, 4)
_CAP = sympy.exp(theta**2 * L / 2 + 2 * theta * L ** (3 * _quarter))
_tail = 2 * v * AGREE - v * (2 * K + 2)
_tail_high = 2 * v * HIGH - v * (2 * K + 2)
_beyond = LIKELIHOOD * sympy.exp(_tail) - LIKELIHOOD * DROP
_within = LIKELIHOOD * _CAP - LIKELIHOOD**2 * KEEP
_tail_exponent = n * (v + _shifted - _cosh) - v * (2 * K + 2)
_factor = (1 + epsilon * A) * sympy.exp(v * (1 + A))

_EXPERT_VALUE = Application(VF_LOWER, VF_LOWER_PROOF, "expert-value")
_EXPERT_GIVENS = _EXPERT_VALUE.definitions()

VF_LOWER_TRUNCATED_PROOF = Derivation(
    label="vf-lower-truncated",
    givens=(
        *_EXPERT_GIVENS,
        Given("size", eq(M, sympy.exp(L)), "L = log M"),
        Given("regret", eq(REGRET, J_EXPERT - J_HAT), "what the learner loses"),
        Given(
            "value-of-learner",
            eq(J_HAT, mean("d", mean("x", mean("t", mean("i", LIKELIHOOD * u * (MU_X + SIGN * sigma * F)))))),
            "its value averaged over the prior, the data, a fresh prompt and a trace",
        ),
        Given("mass", eq(mean("t", u), 1), "u is a density"),
        Given("each-data-mass", eq(mean("d", LIKELIHOOD), 1), "so is that of the data under each hypothesis"),
        Given("data-mass", eq(mean("d", mean("i", LIKELIHOOD)), 1), "and on average over the prior"),
        Given("at-most-one", geq(1 - F, 0), "R = mu_x +- sigma:"),
        Given("at-least-one", geq(1 + F, 0), "f is +1 or -1"),
        Given("sign-above", geq(1 + SIGN, 0), "signs are at least -1"),
        Given("sign-below", geq(1 - SIGN, 0), "and at most +1"),
        Given("either", eq(KEEP, 1 - DROP), "T and U are indicators of A <= K and of A > K:"),
        Given("numbered", eq(_KEPT_WEIGHT, _kept_sum / M), "the prior is uniform on M hypotheses"),
        Given(
            "second-moment",
            eq(V_KEPT, sympy.Sum(KEPT[_j] ** 2, (_j, 1, M)) / M),
            "V_kept is the mean square kept likelihood",
        ),
        Given(
            "codebook",
            eq(mean("x", SIGNS[_i] * SIGNS[_j]), sympy.KroneckerDelta(_i, _j)),
            "signs of different hypotheses are uncorrelated on a fresh prompt",
        ),
        Given(
            "exchange",
            eq(mean("d", V_KEPT), mean("i", mean("d", LIKELIHOOD**2 * KEEP))),
            "T^2 = T; a finite mean and another exchanged",
        ),
        Given(
            "exchange-cut",
            eq(mean("d", mean("i", LIKELIHOOD * DROP)), mean("i", mean("d", LIKELIHOOD * DROP))),
            "the same of what is cut",
        ),
        Given("levels", leq(K, n), "K is a number of agreements", "assumption"),
        Given(
            "kept-levels",
            eq(mean("d", LIKELIHOOD**2 * KEEP), sympy.Sum(level_mass(n, epsilon, _k) * _ratio, (_k, 0, K))),
            "A is Bin(n, (1 + epsilon)/2) under the expert's law, whose density is the likelihood:"
            " (1 + epsilon)^A (1 - epsilon)^(n - A)",
            provided=leq(K, n),
        ),
        Given(
            "cut-levels",
            eq(mean("d", LIKELIHOOD * DROP), sympy.Sum(level_mass(n, epsilon, _k), (_k, K + 1, n))),
            "for the same reason",
            provided=leq(K, n),
        ),
        Given("bound", information_bound_of(n, L, epsilon, K), "what B_K stands for"),
        Given("radius", AT_TANH, "the radius of the explicit form", "assumption"),
        Given("large-class", LARGE_CLASS, "the class is large for theta", "assumption"),
        Given("y", eq(y, theta * sympy.sqrt(L / n)), "so epsilon = tanh y", "auxiliary"),
        Given("cut-below", CUT_BELOW, "K agreements do not exceed the cut", "assumption"),
        Given("cut-above", CUT_ABOVE, "and K + 1 do", "assumption"),
        Given("low", leq(LOW, K), "A_low is the lesser of A and K,"),
        Given(
            "kept-likelihood",
            eq(LIKELIHOOD**2 * KEEP, LIKELIHOOD * KEEP * sympy.exp(_log_likelihood(LOW))),
            "which is A where T = 1, and there the likelihood is (1 + epsilon)^A (1 - epsilon)^(n - A)",
        ),
        Given("slope", eq(v, 2 * L**_quarter / sympy.sqrt(n)), "the best slope for the tail"),
        Given("high", geq(HIGH, K + 1), "A_high is the greater of A and K + 1,"),
        Given("cut-agreements", eq(DROP * sympy.exp(_tail), DROP * sympy.exp(_tail_high)), "which is A where U = 1"),
        Given(
            "coin",
            eq(mean("z", sympy.exp(v * A)), sympy.cosh(v)),
            "a = +1 or -1 with probability 1/2 each under the base law",
        ),
        Given("signed-coin", eq(mean("z", A * sympy.exp(v * A)), sympy.sinh(v)), "for the same reason"),
    ),
    steps=(
        Step(
            "expert-value",
            eq(J_EXPERT, mean("x", MU_X) + epsilon * sigma),
            _EXPERT_VALUE.rule((), _EXPERT_GIVENS),
            "all sigma_x equal",
        ),
        Step("rest-above", geq((1 - F) * u, 0), Combination(((u, "at-most-one"),)), "the best return"),
        Step(
            "mean-above",
            geq(mean("t", (1 - F) * u), 0),
            Use("positivity", {"space": "t", "f": (1 - F) * u}, ("rest-above",)),
            "under the learner's policy",
        ),
        Step(
            "reply-above", geq(sigma - _TWO_REPLY, 0), Combination(((sigma, "mean-above"),), ("mass",)), "at most sigma"
        ),
        Step("rest-below", geq((1 + F) * u, 0), Combination(((u, "at-least-one"),)), "the worst return"),
        Step(
            "mean-below",
            geq(mean("t", (1 + F) * u), 0),
            Use("positivity", {"space": "t", "f": (1 + F) * u}, ("rest-below",)),
            "under the learner's policy",
        ),
        Step(
            "reply-below", geq(sigma + _TWO_REPLY, 0), Combination(((sigma, "mean-below"),), ("mass",)), "loses sigma"
        ),
        Step(
            "reply",
            geq(sigma**2 - _TWO_REPLY**2, 0),
            Combination(((1, "reply-above", "reply-below"),)),
            "|reply| <= sigma",
        ),
        Step(
            "mean-reply",
            geq(mean("x", sigma**2 - _TWO_REPLY**2), 0),
            Use("positivity", {"space": "x", "f": sigma**2 - _TWO_REPLY**2}, ("reply",)),
            "on average over prompts",
        ),
        Step(
            "mean-square", leq(mean("x", _TWO_REPLY**2), sigma**2), Combination(((1, "mean-reply"),)), "its mean square"
        ),
        Step(
            "mean-square-real",
            geq(mean("x", _TWO_REPLY**2), 0),
            Use("positivity", {"space": "x", "f": _TWO_REPLY**2}),
            "a mean of squares",
        ),
        Step(
            "norm",
            leq(sympy.sqrt(mean("x", _TWO_REPLY**2)), sigma),
            Monotone(_ROOT, "mean-square", ("mean-square-real",)),
            "and its norm",
        ),
        Step(
            "parseval",
            eq(mean("x", _kept_sum**2), sympy.Sum(KEPT[_j] ** 2, (_j, 1, M))),
            Use("parseval", {"space": "x", "signs": SIGNS, "weights": KEPT, "size": M}, ("codebook",)),
            "uncorrelated signs",
        ),
        Step(
            "spread",
            eq(mean("x", _KEPT_WEIGHT**2), V_KEPT / M),
            Identity(("numbered", "parseval", "second-moment")),
            "what is kept weighs little on most prompts",
        ),
        Step(
            "alignment",
            leq(
                mean("x", _KEPT_WEIGHT * _TWO_REPLY),
                sympy.sqrt(mean("x", _KEPT_WEIGHT**2)) * sympy.sqrt(mean("x", _TWO_REPLY**2)),
            ),
            Use("cauchy-schwarz", {"space": "x", "a": _KEPT_WEIGHT, "b": _TWO_REPLY}),
            "a reply gains no more than it aligns with the weight",
        ),
        Step(
            "kept-gain",
            geq(_kept_gain, 0),
            Combination(((1, "alignment"), (sympy.sqrt(V_KEPT / M), "norm")), ("spread",)),
            "from what is kept, for given data",
        ),
        Step(
            "mean-kept-gain",
            geq(mean("d", _kept_gain), 0),
            Use("positivity", {"space": "d", "f": _kept_gain}, ("kept-gain",)),
            "on average",
        ),
        Step(
            "root-out",
            leq(mean("d", sympy.sqrt(V_KEPT)), sympy.sqrt(mean("d", V_KEPT))),
            Use("jensen", {"space": "d", "f": V_KEPT}),
            "a mean of roots",
        ),
        Step(
            "cut-pointwise",
            geq(_cut, 0),
            Combination(
                (
                    (LIKELIHOOD * DROP / 2, "sign-above", "reply-above"),
                    (LIKELIHOOD * DROP / 2, "sign-below", "reply-below"),
                )
            ),
            "what is cut gains at most sigma,",
        ),
        Step(
            "cut-prior",
            geq(mean("i", _cut), 0),
            Use("positivity", {"space": "i", "f": _cut}, ("cut-pointwise",)),
            "over the",
        ),
        Step(
            "cut-prompt",
            geq(mean("x", mean("i", _cut)), 0),
            Use("positivity", {"space": "x", "f": mean("i", _cut)}, ("cut-prior",)),
            "prior and the prompt",
        ),
        Step(
            "mean-cut-gain",
            geq(mean("d", _cut_gain), 0),
            Use("positivity", {"space": "d", "f": _cut_gain}, ("cut-prompt",)),
            "and the data",
        ),
        Step(
            "split",
            geq(
                REGRET,
                epsilon * sigma
                - sigma * sympy.sqrt(mean("d", V_KEPT) / M)
                - sigma * mean("d", mean("i", LIKELIHOOD * DROP)),
            ),
            Combination(
                (
                    (1, "mean-kept-gain"),
                    (1, "mean-cut-gain"),
                    (sigma / sympy.sqrt(M), "root-out"),
                ),
                ("regret", "expert-value", "value-of-learner", "mass", "data-mass", "either"),
            ),
            "J_expert - J_hat",
        ),
        Step(
            "value-on-levels",
            _truncated("value"),
            Combination(((1, "split"),), ("exchange", "exchange-cut", "kept-levels", "cut-levels", "bound", "size")),
            "by the level",
        ),
        Step("quotient", eq(sympy.tanh(y), sympy.sinh(y) / sympy.cosh(y)), Identity(), "hyperbolic functions"),
        Step("up", eq(sympy.exp(y), sympy.cosh(y) + sympy.sinh(y)), Identity(), "in exponentials"),
        Step("down", eq(sympy.exp(-y), sympy.cosh(y) - sympy.sinh(y)), Identity(), "in exponentials"),
        Step(
            "tanh",
            eq(1 + sympy.tanh(y), sympy.exp(y) / sympy.cosh(y)),
            Identity(("quotient", "up")),
            "mass of +1 in the expert",
        ),
        Step(
            "tanh-down",
            eq(1 - sympy.tanh(y), sympy.exp(-y) / sympy.cosh(y)),
            Identity(("quotient", "down")),
            "and of -1",
        ),
        Step("log-up", eq(sympy.log(1 + sympy.tanh(y)), y - _cosh), Identity(("tanh",)), "their logs"),
        Step("log-down", eq(sympy.log(1 - sympy.tanh(y)), -y - _cosh), Identity(("tanh-down",)), "their logs"),
        Step("radius-y", eq(epsilon, sympy.tanh(y)), Identity(("radius", "y")), "epsilon = tanh y"),
        Step(
            "entropy",
            leq(y * sympy.tanh(y) - _cosh, y**2 / 2),
            Calculus(y),
            "its slack grows like y tanh(y)^2",
        ),
        Step(
            "kept-exponent",
            leq(_log_likelihood(LOW), theta**2 * L / 2 + 2 * theta * L ** (3 * _quarter)),
            Combination(
                ((2 * y, "low"), (y, "cut-below"), (n, "entropy")),
                ("radius-y", "log-up", "log-down", "y"),
            ),
            "a kept likelihood is at most that of the cut",
        ),
        Step("cap", leq(sympy.exp(_log_likelihood(LOW)), _CAP), Monotone(_EXP, "kept-exponent"), "exponentiated"),
        Step("at-most-all", geq(DROP, 0), Combination(((DROP,),)), "indicators are >= 0"),
        Step(
            "within",
            geq(_within, 0),
            Combination(
                ((LIKELIHOOD * KEEP, "cap"), (LIKELIHOOD * _CAP, "at-most-all")), ("kept-likelihood", "either")
            ),
            "L^2 T <= L cap",
        ),
        Step(
            "mean-within",
            geq(mean("d", _within), 0),
            Use("positivity", {"space": "d", "f": _within}, ("within",)),
            "on average",
        ),
        Step(
            "prior-within",
            geq(mean("i", mean("d", _within)), 0),
            Use("positivity", {"space": "i", "f": mean("d", _within)}, ("mean-within",)),
            "over the prior",
        ),
        Step(
            "second-moment-capped",
            leq(mean("d", V_KEPT), _CAP),
            Combination(((1, "prior-within"),), ("exchange", "each-data-mass")),
            "second moment of what is kept",
        ),
        Step(
            "second-moment-real",
            geq(mean("d", V_KEPT), 0),
            Use("positivity", {"space": "d", "f": V_KEPT}),
            "a mean of squares",
        ),
        Step(
            "root-capped",
            leq(sympy.sqrt(mean("d", V_KEPT)), sympy.sqrt(_CAP)),
            Monotone(_ROOT, "second-moment-capped", ("second-moment-real",)),
            "and its root",
        ),
        Step(
            "high-exponent",
            geq(_tail_high, 0),
            Combination(((2 * v, "high"),)),
            "beyond the cut the exponent is >= 0",
        ),
        Step("one-beyond", geq(sympy.exp(_tail_high), 1), Monotone(_EXP, "high-exponent"), "its exponential >= 1"),
        Step(
            "beyond-cut",
            geq(DROP * (sympy.exp(_tail_high) - 1), 0),
            Combination(((DROP, "one-beyond"),)),
            "where the cut is passed",
        ),
        Step(
            "indicator",
            geq(DROP * sympy.exp(_tail) - DROP, 0),
            Combination(((1, "beyond-cut"),), ("cut-agreements",)),
            "there A_high is A",
        ),
        Step(
            "beyond",
            geq(_beyond, 0),
            Combination(((LIKELIHOOD, "indicator"), (LIKELIHOOD * KEEP * sympy.exp(_tail),)), ("either",)),
            "an indicator is at most an exponential",
        ),
        Step(
            "mean-beyond",
            geq(mean("d", _beyond), 0),
            Use("positivity", {"space": "d", "f": _beyond}, ("beyond",)),
            "on average",
        ),
        Step(
            "product",
            eq(mean("d", LIKELIHOOD * sympy.exp(2 * v * AGREE)), mean("z", _factor) ** n),
            Use(
                "independence",
                {"product": LIKELIHOOD * sympy.exp(2 * v * AGREE), "space": "z", "factor": _factor, "n": n},
            ),
            "a product over n independent traces",
        ),
        Step(
            "shift",
            leq(_shifted - _cosh, v * sympy.tanh(y) + v**2 / 2),
            Calculus(v, order=2),
            "Hoeffding: log cosh has second derivative at most 1",
        ),
        Step(
            "prior-beyond",
            geq(mean("i", mean("d", _beyond)), 0),
            Use("positivity", {"space": "i", "f": mean("d", _beyond)}, ("mean-beyond",)),
            "over the prior",
        ),
        Step(
            "addition",
            eq(sympy.cosh(y + v), sympy.cosh(y) * sympy.cosh(v) + sympy.sinh(y) * sympy.sinh(v)),
            Identity(),
            "addition theorem",
        ),
        Step(
            "coin-cosh",
            eq(mean("z", _factor), sympy.exp(v + _shifted - _cosh)),
            Identity(("coin", "signed-coin", "radius-y", "quotient", "addition")),
            "one factor: e^v cosh(y + v)/cosh(y)",
        ),
        Step(
            "cut-mass",
            leq(mean("d", mean("i", LIKELIHOOD * DROP)), sympy.exp(_tail_exponent)),
            Combination(((1, "prior-beyond"),), ("exchange-cut", "product", "coin-cosh")),
            "Chernoff's bound",
        ),
        Step(
            "tail-exponent",
            leq(_tail_exponent, -2 * sympy.sqrt(L)),
            Combination(((v, "cut-above"), (n, "shift")), ("radius-y", "slope")),
            "at the best slope",
        ),
        Step(
            "cut-small",
            leq(sympy.exp(_tail_exponent), sympy.exp(-2 * sympy.sqrt(L))),
            Monotone(_EXP, "tail-exponent"),
            "exponentiated",
        ),
        Step(
            "explicit",
            _truncated("explicit"),
            Combination(
                (
                    (1, "split"),
                    (sigma / sympy.sqrt(M), "root-capped"),
                    (sigma, "cut-mass"),
                    (sigma, "cut-small"),
                ),
                ("size", "radius"),
            ),
            "kept and cut together",
        ),
        Step(
            "vanishing",
            _truncated("vanishing"),
            Combination(((L ** (3 * _quarter) / 4, "large-class"),)),
            "theta L^(3/4) is at most half of L (1 - theta^2/2)/2",
        ),
        Step("limit", _truncated("limit"), Identity(), "sympy takes the limit"),
    ),
)
