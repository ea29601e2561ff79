"""Proof of ``vf-upper``: close policies have close values, and maximum likelihood comes close."""

from __future__ import annotations

import sympy

from theory.expectation import Random, mean
from theory.proof import Calculus, Combination, Derivation, Given, Identity, Monotone, Step, Use
from theory.relation import Relation, eq, geq, leq
from theory.symbols import H, L, M, letter
from theory.verifier import TWO_MEMBERS
from theory.verifier_free import (
    AT_DELTA,
    DELTA_J,
    FIRST_TERM,
    H_DELTA,
    H_MEAN,
    H_SHARP,
    HELLINGER,
    LOG_OTHERS,
    ROOT_FORM,
    TAIL,
    VF_UPPER_CLAIMS,
    hellinger_bound,
    t,
)

__all__ = ["VF_UPPER_PROOF"]

sigma, n = letter("sigma"), letter("n")
_r = sympy.Symbol("r", nonnegative=True)
_y = sympy.Symbol("y", real=True)
_ROOT, _EXP = sympy.Lambda(_r, sympy.sqrt(_r)), sympy.Lambda(_y, sympy.exp(_y))
_SQUARE = sympy.Lambda(_r, _r**2)
_j = sympy.Symbol("j", integer=True, positive=True)

#: Roots of the densities of expert and learner with respect to their half-sum; the return; its mean under the expert.
P, Q = Random("P", "tx", nonnegative=True), Random("Q", "dtx", nonnegative=True)
R, MU_E = Random("R", "tx"), Random("mu_e", "x", nonnegative=True)
#: On one prompt: variance of the return under the expert; squared Hellinger distance; difference of values.
SIGMA_E, H_X = Random("sigma_e", "x", nonnegative=True), Random("h_x", "dx", nonnegative=True)
_X = R - MU_E
_STEP = P - Q
#: Mean square of (R - mu_e)(P - Q), and of (R - mu_e) Q.
MOVED, WEIGHED = Random("W", "dx", nonnegative=True), Random("Z", "dx", nonnegative=True)
_delta_x = mean("t", R * P**2) - mean("t", R * Q**2)
_root_h = sympy.sqrt(2 * H_X)
_per_prompt = 2 * sympy.sqrt(2) * SIGMA_E * sympy.sqrt(H_X) + 2 * H * H_X


def _aligned(a: sympy.Expr, b: sympy.Expr) -> tuple[Relation, Use]:
    bound = leq(mean("t", a * b), sympy.sqrt(mean("t", a**2)) * sympy.sqrt(mean("t", b**2)))
    return bound, Use("cauchy-schwarz", {"space": "t", "a": a, "b": b})


def _claim(name: str) -> Relation:
    return next(c.relation for c in VF_UPPER_CLAIMS if c.name == name)


_range = (H - _X) * (H + _X) * _STEP**2
_above, _under = _per_prompt - _delta_x, _per_prompt + _delta_x
_HELLINGER_STEPS = (
    Step("under-H", geq((H - R) * P**2, 0), Combination(((P**2, "at-most"),)), "the best return"),
    Step(
        "mean-under-H",
        geq(mean("t", (H - R) * P**2), 0),
        Use("positivity", {"space": "t", "f": (H - R) * P**2}, ("under-H",)),
        "under the expert",
    ),
    Step("mean-at-most", geq(H - MU_E, 0), Combination(((1, "mean-under-H"),), ("mass", "mean")), "its value is <= H"),
    Step("centred-below", geq(H - _X, 0), Combination(((1, "at-most"), (MU_E,))), "R - mu_e <= H"),
    Step("centred-above", geq(H + _X, 0), Combination(((1, "at-least"), (1, "mean-at-most"))), "R - mu_e >= -H"),
    Step(
        "moved-little",
        geq(_range, 0),
        Combination(((_STEP**2, "centred-below", "centred-above"),)),
        "(R - mu_e)^2 <= H^2",
    ),
    Step(
        "mean-moved",
        geq(mean("t", _range), 0),
        Use("positivity", {"space": "t", "f": _range}, ("moved-little",)),
        "on average",
    ),
    Step(
        "moved-square",
        leq(MOVED, 2 * H**2 * H_X),
        Combination(((1, "mean-moved"),), ("moved", "mass", "learner-mass", "affinity")),
        "E (P - Q)^2 = 2 h",
    ),
    Step("moved-root", leq(sympy.sqrt(MOVED), H * _root_h), Monotone(_ROOT, "moved-square"), "its norm"),
    Step("turn", *_aligned(_X * P, -_X * _STEP), "Minkowski: from the expert to the learner"),
    Step(
        "weighed-square",
        leq(WEIGHED, (SIGMA_E + sympy.sqrt(MOVED)) ** 2),
        Combination(((2, "turn"),), ("weighed", "moved", "variance", "mass", "mean")),
        "the square of a sum of norms",
    ),
    Step(
        "weighed-root", leq(sympy.sqrt(WEIGHED), SIGMA_E + sympy.sqrt(MOVED)), Monotone(_ROOT, "weighed-square"), "norm"
    ),
    Step("expert-part", *_aligned(_X * P, _STEP), "the difference splits in two,"),
    Step("learner-part", *_aligned(_X * Q, _STEP), "each at most a product of norms"),
    Step("expert-part-back", *_aligned(_X * P, -_STEP), "the same"),
    Step("learner-part-back", *_aligned(_X * Q, -_STEP), "the other way"),
)

#: Members of the class farther than t from the expert, at most M - 1: their number, the distance of one, the event that
#: the data are at least as likely under it, the log of the likelihood ratio, the root of that ratio for one trace.
COUNT, FAR = sympy.Symbol("m_t", integer=True, nonnegative=True), sympy.Symbol("h_j", nonnegative=True)
BEATS, RATIO = sympy.IndexedBase(Random("B", "d")), sympy.IndexedBase(Random("S", "d"))
GEOMETRIC = sympy.IndexedBase(Random("g", "z"))
#: Indicator of h > t; log(M - 1).
EXCEEDS = Random("I", "d")
ELL = sympy.Symbol("ell", real=True)
_POWER = sympy.Lambda(_r, _r**n)
_LOG = sympy.Lambda(_r, sympy.log(_r))
_BOUND = sympy.Lambda(_r, hellinger_bound(_r))
_cut_at = 1 - sympy.exp(-ELL / n)
_tail_law = sympy.Lambda(t, sympy.exp(ELL) * (1 - t) ** n)
_slack_of_bound = hellinger_bound(HELLINGER) - sympy.Abs(DELTA_J)
_mean_h = mean("d", HELLINGER)
_beaten = leq(mean("d", BEATS[_j]), mean("d", sympy.exp(RATIO[_j] / 2)))

VF_UPPER_PROOF = Derivation(
    label="vf-upper",
    givens=(
        Given("size", eq(M, sympy.exp(L)), "L = log M"),
        Given("at-most", geq(H - R, 0), "returns are at most H"),
        Given("at-least", geq(R, 0), "and at least 0"),
        Given("mass", eq(mean("t", P**2), 1), "P^2 is the expert's density,"),
        Given("learner-mass", eq(mean("t", Q**2), 1), "Q^2 the learner's"),
        Given("affinity", eq(mean("t", P * Q), 1 - H_X), "squared Hellinger distance on a prompt"),
        Given("mean", eq(mean("t", R * P**2), MU_E), "mean return of the expert"),
        Given("variance", eq(mean("t", R**2 * P**2), SIGMA_E**2 + MU_E**2), "its variance"),
        Given("moved", eq(MOVED, mean("t", (_X * _STEP) ** 2)), "W by definition"),
        Given("weighed", eq(WEIGHED, mean("t", (_X * Q) ** 2)), "Z by definition"),
        Given("difference", eq(DELTA_J, mean("x", _delta_x)), "difference of the two values"),
        Given("mean-variance", eq(mean("x", SIGMA_E**2), sigma**2), "sigma is sigma_e, root mean square over prompts"),
        Given("mean-distance", eq(mean("x", H_X), HELLINGER), "h is the mean over prompts"),
        Given("exceeds", eq(TAIL(t), mean("d", EXCEEDS)), "TAIL(t) = P(h > t),"),
        Given("tail-at-most-1", leq(TAIL(t), 1), "a probability,"),
        Given("mean-by-tail", eq(_mean_h, sympy.Integral(TAIL(t), (t, 0, 1))), "whose integral is the mean of h,"),
        Given("share", leq(t, 1), "t in [0, 1]: h is at most 1"),
        Given(
            "likeliest",
            leq(EXCEEDS, sympy.Sum(BEATS[_j], (_j, 1, COUNT))),
            "if h > t the maximiser is a far member at least as likely as the expert",
        ),
        Given("others", leq(COUNT, M - 1), "the expert itself is not far"),
        Given("far", geq(FAR, t), "far members are farther than t"),
        Given("far-at-most", leq(FAR, 1), "and at distance at most 1"),
        Given("indicator", eq(BEATS[_j] ** 2, BEATS[_j]), "an event:"),
        Given("beats", geq(BEATS[_j] * RATIO[_j] / 2, 0), "that the log ratio is >= 0"),
        Given(
            "root-ratio",
            eq(mean("z", GEOMETRIC[_j]), 1 - FAR),
            "E sqrt(pi_j/pi_e) = 1 - h_j for one trace of the expert",
        ),
        Given("at-delta", AT_DELTA, "the t that leaves probability delta", "assumption"),
        Given("within", leq(HELLINGER, H_DELTA), "h does not exceed it", "assumption"),
        Given("log-others", eq(ELL, LOG_OTHERS), "ell = log(M - 1)"),
        Given("first-term", FIRST_TERM, "n is so large that the first term is the larger one", "assumption"),
        Given("two", TWO_MEMBERS, "the class has at least two members", "assumption"),
    ),
    steps=(
        *_HELLINGER_STEPS,
        Step(
            "prompt-above",
            geq(_above, 0),
            Combination(
                (
                    (1, "expert-part"),
                    (1, "learner-part"),
                    (_root_h, "weighed-root"),
                    (_root_h, "moved-root"),
                ),
                ("weighed", "variance", "mean", "mass", "learner-mass", "affinity"),
            ),
            "P^2 - Q^2 = (P + Q)(P - Q)",
        ),
        Step(
            "prompt-under",
            geq(_under, 0),
            Combination(
                (
                    (1, "expert-part-back"),
                    (1, "learner-part-back"),
                    (_root_h, "weighed-root"),
                    (_root_h, "moved-root"),
                ),
                ("weighed", "variance", "mean", "mass", "learner-mass", "affinity"),
            ),
            "and its negative",
        ),
        Step(
            "mean-above",
            geq(mean("x", _above), 0),
            Use("positivity", {"space": "x", "f": _above}, ("prompt-above",)),
            "over",
        ),
        Step(
            "mean-under",
            geq(mean("x", _under), 0),
            Use("positivity", {"space": "x", "f": _under}, ("prompt-under",)),
            "prompts",
        ),
        Step(
            "prompts",
            leq(
                mean("x", SIGMA_E * sympy.sqrt(H_X)),
                sympy.sqrt(mean("x", SIGMA_E**2)) * sympy.sqrt(mean("x", H_X)),
            ),
            Use("cauchy-schwarz", {"space": "x", "a": SIGMA_E, "b": sympy.sqrt(H_X)}),
            "over prompts",
        ),
        *(
            Step(
                name,
                leq(sign * DELTA_J, hellinger_bound(HELLINGER)),
                Combination(
                    ((1, cited), (2 * sympy.sqrt(2), "prompts")),
                    ("difference", "mean", "mean-variance", "mean-distance"),
                ),
                why,
            )
            for name, sign, cited, why in (
                ("difference-above", 1, "mean-above", "one sign"),
                ("difference-under", -1, "mean-under", "the other"),
            )
        ),
        Step(
            "difference-squared",
            leq(DELTA_J**2, hellinger_bound(HELLINGER) ** 2),
            Combination(((1, "difference-above", "difference-under"),)),
            "both",
        ),
        Step("hellinger", _claim("hellinger"), Monotone(_ROOT, "difference-squared"), "roots"),
        Step(
            "chernoff",
            _beaten,
            Use("chernoff", {"space": "d", "event": BEATS[_j], "exponent": RATIO[_j] / 2}, ("indicator", "beats")),
            "at exponent 1/2",
        ),
        Step(
            "product",
            eq(mean("d", sympy.exp(RATIO[_j] / 2)), mean("z", GEOMETRIC[_j]) ** n),
            Use(
                "independence",
                {"product": sympy.exp(RATIO[_j] / 2), "space": "z", "factor": GEOMETRIC[_j], "n": n},
            ),
            "a likelihood ratio is a product over n independent traces",
        ),
        Step("rest", geq(1 - FAR, 0), Combination(((1, "far-at-most"),)), "a share"),
        Step("closer", leq(1 - FAR, 1 - t), Combination(((1, "far"),)), "less than that of t"),
        Step("power", leq((1 - FAR) ** n, (1 - t) ** n), Monotone(_POWER, "closer", ("rest",)), "to the power n"),
        Step(
            "each",
            leq(mean("d", BEATS[_j]), (1 - t) ** n),
            Combination(((1, "chernoff"), (1, "power")), ("product", "root-ratio")),
            "a far member is seldom likelier",
        ),
        Step(
            "union",
            leq(mean("d", EXCEEDS), COUNT * (1 - t) ** n),
            Use(
                "union-bound",
                {"space": "d", "some": EXCEEDS, "events": BEATS, "size": COUNT, "most": (1 - t) ** n},
                ("likeliest", "each"),
            ),
            "nor is any of them",
        ),
        Step("share-left", leq(0, 1 - t), Combination(((1, "share"),)), "what is left"),
        Step("share-power", leq(0, (1 - t) ** n), Monotone(_POWER, "share-left"), "to the power n"),
        Step(
            "tail",
            _claim("tail"),
            Combination(((1, "union"), (1, "others", "share-power")), ("exceeds", "size")),
            "at most M - 1 of them",
        ),
        Step("exponential", leq(1 - FAR, sympy.exp(-FAR)), Calculus(FAR, order=2), "1 - x <= exp(-x)"),
        Step(
            "exponential-power",
            leq((1 - FAR) ** n, sympy.exp(-FAR) ** n),
            Monotone(_POWER, "exponential", ("rest",)),
            "to the power n",
        ),
        Step("farther", leq(-n * FAR, -n * t), Combination(((n, "far"),)), "farther than t"),
        Step(
            "exponential-at-t", leq(sympy.exp(-n * FAR), sympy.exp(-n * t)), Monotone(_EXP, "farther"), "exponentiated"
        ),
        Step(
            "each-exponential",
            leq(mean("d", BEATS[_j]), sympy.exp(-n * t)),
            Combination(
                ((1, "chernoff"), (1, "exponential-power"), (1, "exponential-at-t")),
                ("product", "root-ratio"),
            ),
            "a far member is seldom likelier",
        ),
        Step(
            "union-exponential",
            leq(mean("d", EXCEEDS), COUNT * sympy.exp(-n * t)),
            Use(
                "union-bound",
                {"space": "d", "some": EXCEEDS, "events": BEATS, "size": COUNT, "most": sympy.exp(-n * t)},
                ("likeliest", "each-exponential"),
            ),
            "nor is any of them",
        ),
        Step(
            "tail-at-delta",
            _claim("tail-at-delta"),
            Combination(((1, "union-exponential"), (sympy.exp(-n * t), "others")), ("exceeds", "size", "at-delta")),
            "(M - 1) exp(-n t) = delta",
        ),
        Step(
            "with",
            leq(hellinger_bound(HELLINGER), hellinger_bound(H_DELTA)),
            Monotone(_BOUND, "within"),
            "the bound grows in h",
        ),
        Step(
            "with-probability", _claim("with-probability"), Combination(((1, "hellinger"), (1, "with"))), "in the event"
        ),
        Step("two-or-more", leq(2, sympy.exp(L)), Monotone(_EXP, "two"), "M >= 2"),
        Step(
            "half",
            leq(sympy.exp(-L), 1 - sympy.exp(-L)),
            Combination(((sympy.exp(-L), "two-or-more"),)),
            "1/M <= 1 - 1/M",
        ),
        Step("log-half", leq(-L, sympy.log(1 - sympy.exp(-L))), Monotone(_LOG, "half"), "in logs"),
        Step("nonempty", leq(-ELL / n, 0), Combination(((1 / n, "log-half"),), ("log-others",)), "M - 1 >= 1"),
        Step("cut-root", leq(sympy.exp(-ELL / n), 1), Monotone(_EXP, "nonempty"), "so"),
        Step("cut", geq(_cut_at, 0), Combination(((1, "cut-root"),)), "the cut lies in [0, 1]"),
        Step("size-of-others", eq(sympy.exp(ELL), sympy.exp(L) - 1), Identity(("log-others",)), "exp(ell) = M - 1"),
        Step(
            "tail-law",
            leq(TAIL(t), _tail_law(t)),
            Combination(((1, "tail"),), ("size-of-others",)),
            "the tail again",
        ),
        Step(
            "layer-cake",
            leq(_mean_h, _cut_at + sympy.Integral(_tail_law(t), (t, _cut_at, 1))),
            Use(
                "layer-cake",
                {"value": _mean_h, "tail": _tail_law, "cut": _cut_at},
                ("mean-by-tail", "tail-at-most-1", "tail-law", "cut"),
            ),
            "integrate the tail from where it is below 1",
        ),
        Step(
            "integral",
            eq(
                _cut_at + sympy.Integral(_tail_law(t), (t, _cut_at, 1)),
                1 - n * sympy.exp(-ELL / n) / (n + 1),
            ),
            Identity(),
            "sympy integrates",
        ),
        Step(
            "error-sharp",
            _claim("error-sharp"),
            Combination(((1, "layer-cake"),), ("integral", "log-others")),
            "in terms of log(M - 1)",
        ),
        Step("some-left", geq(1 - sympy.exp(-L), 0), Combination(((1, "half"), (sympy.exp(-L),))), "1 - 1/M >= 0"),
        Step("not-all", leq(1 - sympy.exp(-L), 1), Combination(((sympy.exp(-L),),)), "and <= 1"),
        Step("fewer", leq(sympy.log(1 - sympy.exp(-L)), 0), Monotone(_LOG, "not-all", ("some-left",)), "M - 1 <= M"),
        Step("fewer-nats", leq(-L / n, -ELL / n), Combination(((1 / n, "fewer"),), ("log-others",)), "in logs"),
        Step("fewer-root", leq(sympy.exp(-L / n), sympy.exp(-ELL / n)), Monotone(_EXP, "fewer-nats"), "and back"),
        Step("linear", leq(1 - L / n, sympy.exp(-L / n)), Calculus(L, order=2), "1 - x <= exp(-x)"),
        Step(
            "error",
            _claim("error"),
            Combination(
                ((1, "layer-cake"), (n / (n + 1), "fewer-root"), (n / (n + 1), "linear")),
                ("integral",),
            ),
            "1 - (n - L)/(n + 1) = (1 + L)/(n + 1)",
        ),
        Step(
            "mean-hellinger",
            geq(mean("d", _slack_of_bound), 0),
            Use("positivity", {"space": "d", "f": _slack_of_bound}, ("hellinger",)),
            "on average over the data",
        ),
        Step(
            "mean-root",
            leq(mean("d", sympy.sqrt(HELLINGER)), sympy.sqrt(_mean_h)),
            Use("jensen", {"space": "d", "f": HELLINGER}),
            "a mean of roots",
        ),
        Step("mean-h", geq(_mean_h, 0), Use("positivity", {"space": "d", "f": HELLINGER}), "a mean of distances"),
        Step(
            "sharp-in-bound",
            leq(hellinger_bound(_mean_h), hellinger_bound(H_SHARP)),
            Monotone(_BOUND, "error-sharp", ("mean-h",)),
            "the bound grows in h",
        ),
        Step(
            "in-expectation-sharp",
            _claim("in-expectation-sharp"),
            Combination(((1, "mean-hellinger"), (2 * sympy.sqrt(2) * sigma, "mean-root"), (1, "sharp-in-bound"))),
            "together",
        ),
        Step(
            "error-simple",
            leq(_mean_h, H_MEAN),
            Combination(((1, "error"), ((1 + L) / (n * (n + 1)),))),
            "1/(n + 1) <= 1/n",
        ),
        Step(
            "simple-in-bound",
            leq(hellinger_bound(_mean_h), hellinger_bound(H_MEAN)),
            Monotone(_BOUND, "error-simple", ("mean-h",)),
            "the bound grows in h",
        ),
        Step(
            "in-expectation",
            _claim("in-expectation"),
            Combination(((1, "mean-hellinger"), (2 * sympy.sqrt(2) * sigma, "mean-root"), (1, "simple-in-bound"))),
            "together",
        ),
        Step(
            "first-term-squared",
            leq((2 * H * H_MEAN) ** 2, (ROOT_FORM / 2) ** 2),
            Combination(((8 * sigma**2 * (1 + L) / n**2, "first-term"),)),
            "squares of both terms",
        ),
        Step(
            "first-term-root",
            leq(2 * H * H_MEAN, ROOT_FORM / 2),
            Monotone(_SQUARE, "first-term-squared", reflect=True),
            "roots",
        ),
        Step(
            "root",
            _claim("root"),
            Combination(((1, "in-expectation"), (1, "first-term-root"))),
            "so twice the first is enough",
        ),
        Step("exponent", _claim("exponent"), Identity(), "powers of the factor"),
    ),
)
