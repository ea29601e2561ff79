"""Proofs of ``verifier-erm`` and ``verifier-noisy``.

Both count the members that are wrong with probability t/a or more (``far``) and bound the chance that one of them
explains the data by (1 - t)^n; the rest is common. Spaces: ``b`` one trace (with its prompt), ``d`` the data.
"""

from __future__ import annotations

import sympy

from theory.expectation import Random, mean
from theory.proof import Combination, Derivation, Given, Identity, Monotone, Step, Use
from theory.relation import Relation, eq, geq, leq
from theory.symbols import H, L, letter
from theory.verifier import (
    AT_LEVEL,
    ERROR,
    FAILURE,
    INFORMATIVE,
    LEVEL,
    SEPARATED,
    SEPARATION,
    TWO_MEMBERS,
    VERIFIER_ERM_CLAIMS,
    VERIFIER_NOISY_CLAIMS,
)

__all__ = ["VERIFIER_ERM_PROOF", "VERIFIER_NOISY_PROOF"]

n, delta, eta, t = letter("n"), letter("delta"), letter("eta"), LEVEL
j = sympy.Symbol("j", integer=True, positive=True)
#: Number of wrong members, and of those among them that are far.
OTHERS = sympy.Symbol("m", positive=True)
FAR = sympy.Symbol("K", integer=True, nonnegative=True)
#: Indicator that far member j is wrong on a trace; return, learned return, and indicator that they differ.
WRONG = sympy.IndexedBase(Random("w", "b", nonnegative=True))
R, LEARNED, DIFFER = Random("R"), Random("R_hat", "bd"), Random("D", "bd", nonnegative=True)
TAIL = sympy.Function("TAIL")
_r, _x = sympy.Symbol("r", nonnegative=True), sympy.Symbol("x", real=True)
_POWER = sympy.Lambda(_r, _r**n)
_LOG = sympy.Lambda(_r, sympy.log(1 + _r))
_off = sympy.Abs(LEARNED - R)
_cut = 1 - OTHERS ** (-1 / n)
_layers = OTHERS * (1 - t) ** n
_rate = mean("b", WRONG[j])
_exponent = sympy.log(1 + 1 / n) + sympy.log(OTHERS) / n


def E(f: sympy.Expr) -> sympy.Expr:
    """Mean over the traces of the base policy."""
    return mean("b", f)


def _claim(name: str, noisy: bool) -> Relation:
    return next(c.relation for c in (VERIFIER_NOISY_CLAIMS if noisy else VERIFIER_ERM_CLAIMS) if c.name == name)


_GIVENS = (
    Given("others", eq(L, sympy.log(1 + OTHERS)), "the class is the truth and m others"),
    Given("two-members", TWO_MEMBERS, "m is at least 1", "assumption"),
    Given("few-far", leq(FAR, OTHERS), "the far members are among the others"),
    Given("at-most-certain", leq(WRONG[j], 1), "w_j is the indicator that far member j is wrong"),
    Given("tail-by-definition", eq(TAIL(t), mean("d", FAILURE)), "F is the indicator of a P_b(R_hat is wrong) > t"),
    Given("tail-at-most-1", leq(TAIL(t), 1), "a probability"),
    Given("indicator", leq(FAILURE, 1), "F is 0 or 1"),
    Given("level", leq(t, 1), "levels of a probability are at most 1"),
    Given("at-level", AT_LEVEL, "t is the level at which |R| e^(-nt) is delta", "assumption"),
    Given("error-by-definition", eq(ERROR, E(_off)), "e is the error of R_hat"),
    Given("range", geq(H * DIFFER - _off, 0), "two returns differ by at most H, and by 0 where they agree"),
)


def _by_tail(a: sympy.Expr) -> Given:
    value = a * mean("d", mean("b", DIFFER))
    why = "the mean of a P_b(R_hat is wrong), a number in [0, 1], is the integral of its tail"
    return Given("mean-by-tail", eq(value, sympy.Integral(TAIL(t), (t, 0, 1))), why)


def _closed_form_steps() -> tuple[Step, ...]:
    """The cut, the integral of the tail and its simple bound: nothing but m and n."""
    return (
        Step("log-two", geq(sympy.log(1 + OTHERS), sympy.log(2)), Combination(((1, "two-members"),), ("others",)), "L"),
        Step("two", geq(1 + OTHERS, 2), Monotone(sympy.Lambda(_x, sympy.exp(_x)), "log-two"), "its exponential"),
        Step("one-other", geq(OTHERS - 1, 0), Combination(((1, "two"),)), "at least one member is not the truth"),
        Step(
            "root",
            leq(1, OTHERS ** (1 / n)),
            Monotone(sympy.Lambda(_r, (1 + _r) ** (1 / n)), "one-other"),
            "m^(1/n) is at least 1",
        ),
        Step("cut", geq(_cut, 0), Combination(((OTHERS ** (-1 / n), "root"),)), "where m (1 - t)^n falls to 1"),
        Step(
            "integral",
            eq(_cut + sympy.Integral(_layers, (t, _cut, 1)), 1 - n / (n + 1) * OTHERS ** (-1 / n)),
            Identity(),
            "the integral of the tail beyond the cut",
        ),
        Step(
            "whole-integral",
            eq(sympy.Integral(_layers, (t, 0, 1)), OTHERS / (n + 1)),
            Identity(),
            "and from 0",
        ),
        Step(
            "log-others",
            eq(sympy.log(1 - sympy.exp(-L)), sympy.log(OTHERS) - L),
            Identity(("others",)),
            "log(|R| - 1) = L + log(1 - e^-L)",
        ),
        Step("reciprocal", geq(1 / n, 0), Combination(((1 / n,),)), "n is positive"),
        Step(
            "log-below-linear",
            leq(0, 1 / n - sympy.log(1 + 1 / n)),
            Monotone(sympy.Lambda(_r, _r - sympy.log(1 + _r)), "reciprocal"),
            "log(1 + 1/n) is at most 1/n",
        ),
        Step("log-m", leq(0, sympy.log(OTHERS)), Monotone(_LOG, "one-other"), "log m >= 0"),
        Step("one-less", leq(OTHERS - 1, OTHERS), Combination(((1,),)), "m - 1 <= m"),
        Step(
            "log-class",
            leq(sympy.log(OTHERS), sympy.log(1 + OTHERS)),
            Monotone(_LOG, "one-less", ("one-other",)),
            "log m <= L",
        ),
        Step(
            "exponent",
            geq(_exponent, 0),
            Combination(((1 / n, "log-m"), (sympy.log(1 + 1 / n),))),
            "n/(n + 1) m^(-1/n) is the exponential of its negative",
        ),
        Step(
            "convexity",
            leq(-1, sympy.exp(_exponent) * (_exponent - 1)),
            Monotone(sympy.Lambda(_r, sympy.exp(_r) * (_r - 1)), "exponent"),
            "1 - y <= e^(-y)",
        ),
    )


def _chance_steps(y: sympy.Expr) -> tuple[Step, ...]:
    """From ``rate`` (1 - y >= 0) and ``far`` (y >= t): (1 - y)^n is at most (1 - t)^n and e^(-nt)."""
    return (
        Step("beyond", leq(1 - y, 1 - t), Combination(((1, "far"),)), "far members are wrong more often"),
        Step("power", leq((1 - y) ** n, (1 - t) ** n), Monotone(_POWER, "beyond", ("rate",)), "n times"),
        Step("positive", geq(y, 0), Combination(((1, "far"), (t,))), "y is at least t >= 0"),
        Step(
            "tangent",
            leq(-1, sympy.exp(y) * (y - 1)),
            Monotone(sympy.Lambda(_r, sympy.exp(_r) * (_r - 1)), "positive"),
            "1 - y <= e^(-y),",
        ),
        Step(
            "falling",
            leq(-sympy.exp(-t), -sympy.exp(-y)),
            Monotone(sympy.Lambda(_x, -sympy.exp(-_x)), "far"),
            "which falls,",
        ),
        Step(
            "exponential",
            leq(1 - y, sympy.exp(-t)),
            Combination(((sympy.exp(-y), "tangent"), (1, "falling"))),
            "so 1 - y <= e^(-t)",
        ),
        Step(
            "exponential-power",
            leq((1 - y) ** n, sympy.exp(-n * t)),
            Monotone(_POWER, "exponential", ("rate",)),
            "n times",
        ),
    )


def _union_steps(
    space: str, some: sympy.Expr, events: sympy.IndexedBase, using: tuple[str, ...], chance: tuple[str, ...]
) -> tuple[Step, ...]:
    """From ``survives`` (chance of an event at most (1 - y)^n): what all far members together can do."""
    single, low, high = mean(space, events[j]), (1 - t) ** n, sympy.exp(-n * t)
    union = {"space": space, "some": some, "events": events, "size": FAR}
    return (
        Step("each", leq(single, low), Combination(((1, "power"), *((1, c) for c in chance)), using), "one far member"),
        Step(
            "each-exponential",
            leq(single, high),
            Combination(((1, "exponential-power"), *((1, c) for c in chance)), using),
            "or",
        ),
        Step(
            "union",
            leq(mean(space, some), FAR * low),
            Use("union-bound", union | {"most": low}, ("explained", "each")),
            "all far members",
        ),
        Step(
            "union-exponential",
            leq(mean(space, some), FAR * high),
            Use("union-bound", union | {"most": high}, ("explained", "each-exponential")),
            "or",
        ),
        Step("room", geq(1 - t, 0), Combination(((1, "level"),)), "below 1"),
        Step("low-power", leq(0, low), Monotone(_POWER, "room"), "powers"),
    )


def _error_steps(noisy: bool, a: sympy.Expr, bridge: tuple[str, ...], separated: tuple[str, ...]) -> tuple[Step, ...]:
    """From the union bounds to the claims."""
    wrong = mean("b", DIFFER)
    value = a * mean("d", wrong)
    difference = H * wrong - E(_off)
    closed = (*separated, "error-by-definition", "integral", "log-others")
    return (
        Step(
            "tail",
            leq(TAIL(t), _layers),
            Combination(((1, "union"), (1, "few-far", "low-power")), ("tail-by-definition", *bridge)),
            "P(a P_b(R_hat is wrong) > t) <= m (1 - t)^n",
        ),
        Step(
            "failure",
            _claim("failure", noisy),
            Combination(
                ((1, "union-exponential"), (sympy.exp(-n * t), "few-far"), (sympy.exp(-n * t),)),
                (*bridge, "at-level", "others"),
            ),
            "m e^(-nt) <= (1 + m) e^(-nt) = delta",
        ),
        Step(
            "error-by-rate",
            geq(difference, 0),
            Use("positivity", {"space": "b", "f": H * DIFFER - _off}, ("range",)),
            "the error is at most H times the probability of being wrong",
        ),
        Step(
            "error",
            _claim("error", noisy),
            Combination(
                ((H / a, "otherwise"), (1, "indicator", "error-by-rate"), (H * t / a * FAILURE,)),
                ("error-by-definition", "at-level", *separated),
            ),
            "unless F, which is at most t/a",
        ),
        Step(
            "mean-error",
            geq(mean("d", difference), 0),
            Use("positivity", {"space": "d", "f": difference}, ("error-by-rate",)),
            "so on average over the data",
        ),
        Step(
            "layers",
            leq(value, _cut + sympy.Integral(_layers, (t, _cut, 1))),
            Use(
                "layer-cake",
                {"value": value, "tail": sympy.Lambda(t, _layers), "cut": _cut},
                ("mean-by-tail", "tail-at-most-1", "tail", "cut"),
            ),
            "integrate the tail beyond the cut",
        ),
        Step(
            "expectation",
            _claim("expectation", noisy),
            Combination(((H / a, "layers"), (1, "mean-error")), closed),
            "times H/a",
        ),
        Step(
            "simple",
            _claim("simple", noisy),
            Combination(
                (
                    (1, "expectation"),
                    (H / (a * n), "log-class"),
                    (H / a, "log-below-linear"),
                    (H / a * sympy.exp(-_exponent), "convexity"),
                ),
                (*separated, "log-others", "others"),
            ),
            "1 - e^(-y) <= y <= (1 + L)/n",
        ),
        Step(
            "all-layers",
            leq(value, sympy.Integral(_layers, (t, 0, 1))),
            Use(
                "layer-cake",
                {"value": value, "tail": sympy.Lambda(t, _layers), "cut": 0},
                ("mean-by-tail", "tail-at-most-1", "tail"),
            ),
            "integrate the tail from 0",
        ),
        Step(
            "few",
            _claim("few", noisy),
            Combination(
                ((H / a, "all-layers"), (1, "mean-error")),
                (*separated, "error-by-definition", "whole-integral", "others"),
            ),
            "times H/a",
        ),
    )


#: Indicator that far member j agrees with all n labels.
SURVIVES = sympy.IndexedBase(Random("S", "d", nonnegative=True))

VERIFIER_ERM_PROOF = Derivation(
    label="verifier-erm",
    givens=(
        *_GIVENS,
        Given("far", geq(_rate, t), "far members are wrong with probability t or more"),
        Given(
            "explained",
            leq(FAILURE, sympy.Sum(SURVIVES[j], (j, 1, FAR))),
            "S_j is the indicator that far member j agrees with all labels: R_hat does, and is far if F",
        ),
        Given("otherwise", geq((1 - FAILURE) * (t - mean("b", DIFFER)), 0), "off F it is wrong with probability <= t"),
        _by_tail(sympy.Integer(1)),
    ),
    steps=(
        *_closed_form_steps(),
        Step(
            "rate",
            geq(mean("b", 1 - WRONG[j]), 0),
            Use("positivity", {"space": "b", "f": 1 - WRONG[j]}, ("at-most-certain",)),
            "probabilities are at most 1",
        ),
        *_chance_steps(_rate),
        Step(
            "survives",
            eq(mean("d", SURVIVES[j]), mean("b", 1 - WRONG[j]) ** n),
            Use("independence", {"product": SURVIVES[j], "space": "b", "factor": 1 - WRONG[j], "n": n}),
            "it is right on n independent traces",
        ),
        *_union_steps("d", FAILURE, SURVIVES, ("survives",), ()),
        *_error_steps(False, sympy.Integer(1), (), ()),
    ),
)

#: Data o: n traces, each with a fair coin for "label flipped". With respect to it the real labels have density P_0,
#: and labels of which member j were the truth have density P_j; Z_j = sqrt(P_0 P_j). On the event A_j far member j
#: contradicts k_j >= 0 labels fewer than the truth; C_j is the product of the factors that P_0 and P_j then share;
#: V_j = A_j P_0.
TRUE_DENSITY = Random("P_0", "o", nonnegative=True)
DENSITY, ROOT, BEATS, BEATEN, SHARED = (
    sympy.IndexedBase(Random(name, "o", nonnegative=True)) for name in ("P", "Z", "A", "V", "C")
)
FEWER = sympy.IndexedBase(Random("k", "o", nonnegative=True, integer=True))
#: The event F on the data o; the coin of one trace.
FAILURE_O, FLIPPED = Random("F_o", "o", nonnegative=True), Random("f", nonnegative=True)
_root = sympy.sqrt(eta * (1 - eta))
_single = 2 * ((1 - eta) * (1 - FLIPPED) + eta * FLIPPED)
_factor = (1 - WRONG[j]) * _single + WRONG[j] * 2 * _root
_y = SEPARATION * _rate

VERIFIER_NOISY_PROOF = Derivation(
    label="verifier-noisy",
    givens=(
        *_GIVENS,
        Given("informative", INFORMATIVE, "labels are right more often than not", "assumption"),
        Given("separated", SEPARATED, "and not just as often", "assumption"),
        Given("far", geq(_y, t), "far members are wrong with probability t/a or more"),
        Given("otherwise", geq((1 - FAILURE) * (t - SEPARATION * mean("b", DIFFER)), 0), "off F, R_hat is not far"),
        _by_tail(SEPARATION),
        Given("coin", eq(E(FLIPPED), sympy.Rational(1, 2)), "the coin is fair"),
        Given("independent-coin", eq(E(FLIPPED * WRONG[j]), _rate / 2), "and independent of the trace"),
        Given(
            "change-of-measure",
            eq(mean("d", FAILURE), mean("o", TRUE_DENSITY * FAILURE_O)),
            "P_0 is the density of the real labels with respect to fair ones",
        ),
        Given("beats", eq(BEATS[j] ** 2, BEATS[j]), "A_j: member j contradicts no more labels than the truth,"),
        Given("beats-at-most-1", leq(BEATS[j], 1), "an indicator"),
        Given(
            "likelihoods",
            eq(
                BEATS[j] * (DENSITY[j] - TRUE_DENSITY), BEATS[j] * SHARED[j] * ((1 - eta) ** FEWER[j] - eta ** FEWER[j])
            ),
            "k_j fewer: P_j has k_j factors 2 (1 - eta) where P_0 has 2 eta (C_j takes the 2), and they share the rest",
        ),
        Given("root-density", eq(ROOT[j] ** 2, TRUE_DENSITY * DENSITY[j]), "Z_j is the root of P_0 P_j"),
        Given("beaten", eq(BEATEN[j], BEATS[j] * TRUE_DENSITY), "V_j is the density of the real labels on A_j"),
        Given(
            "explained",
            leq(TRUE_DENSITY * FAILURE_O, sympy.Sum(BEATEN[j], (j, 1, FAR))),
            "R_hat contradicts no more labels than the truth, and is far if F",
        ),
    ),
    steps=(
        *_closed_form_steps(),
        Step(
            "certain",
            geq(mean("b", 1 - WRONG[j]), 0),
            Use("positivity", {"space": "b", "f": 1 - WRONG[j]}, ("at-most-certain",)),
            "probabilities are at most 1",
        ),
        Step("rate-positive", geq(_rate, 0), Use("positivity", {"space": "b", "f": WRONG[j]}), "and at least 0"),
        Step(
            "variance", geq(4 * eta * (1 - eta), 0), Combination(((4 * eta, "informative"), (2 * eta,))), "eta <= 1/2"
        ),
        Step("overlap", leq(0, 2 * _root), Monotone(sympy.Lambda(_r, sympy.sqrt(_r)), "variance"), "a is at most 1"),
        Step(
            "rate",
            geq(1 - _y, 0),
            Combination(((1, "certain"), (1, "overlap", "rate-positive")), ("separated",)),
            "1 - a tau = (1 - tau) + 2 sqrt(eta (1 - eta)) tau",
        ),
        *_chance_steps(_y),
        Step("likelier", leq(eta, 1 - eta), Combination(((2, "informative"),)), "eta <= 1 - eta"),
        Step(
            "likelier-powers",
            leq(eta ** FEWER[j], (1 - eta) ** FEWER[j]),
            Monotone(sympy.Lambda(_r, _r ** FEWER[j]), "likelier"),
            "fewer contradictions are likelier",
        ),
        Step(
            "squares",
            leq((BEATS[j] * TRUE_DENSITY) ** 2, ROOT[j] ** 2),
            Combination(
                (
                    (-1, "root-density"),
                    (TRUE_DENSITY * DENSITY[j], "beats-at-most-1"),
                    (-TRUE_DENSITY, "likelihoods"),
                    (BEATS[j] * TRUE_DENSITY * SHARED[j], "likelier-powers"),
                    (TRUE_DENSITY**2, "beats"),
                )
            ),
            "A_j P_0^2 <= A_j P_0 P_j <= P_0 P_j",
        ),
        Step(
            "beaten-at-most",
            leq(BEATS[j] * TRUE_DENSITY, ROOT[j]),
            Monotone(sympy.Lambda(_r, _r**2), "squares", reflect=True),
            "roots",
        ),
        Step("excess", geq(ROOT[j] - BEATEN[j], 0), Combination(((1, "beaten-at-most"),), ("beaten",)), "V_j <= Z_j"),
        Step(
            "mean-excess",
            geq(mean("o", ROOT[j] - BEATEN[j]), 0),
            Use("positivity", {"space": "o", "f": ROOT[j] - BEATEN[j]}, ("excess",)),
            "on average",
        ),
        Step(
            "affinity",
            eq(mean("o", ROOT[j]), E(_factor) ** n),
            Use("independence", {"product": ROOT[j], "space": "b", "factor": _factor, "n": n, "over": "o"}),
            "Z_j is a product over traces: P_0 and P_j agree where j is right, elsewhere P_0 P_j is 4 eta (1 - eta)",
        ),
        Step(
            "single-affinity",
            eq(E(_factor), 1 - _y),
            Identity(("independent-coin", "coin", "separated")),
            "1 - tau + 2 sqrt(eta (1 - eta)) tau",
        ),
        *_union_steps("o", TRUE_DENSITY * FAILURE_O, BEATEN, ("affinity", "single-affinity"), ("mean-excess",)),
        *_error_steps(True, SEPARATION, ("change-of-measure",), ("separated",)),
    ),
)
