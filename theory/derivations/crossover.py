"""Proofs of ``garbling`` and ``crossover-vf-wins``."""

from __future__ import annotations

import sympy

from theory.crossover import (
    ABOVE,
    AT_LEAST_BASE,
    AT_MOST_TWICE,
    CHANCE,
    CROSSOVER_CLAIMS,
    DRAWN,
    GARBLING_CLAIMS,
    J_ANY,
    J_CLONE,
    J_KEPT,
    J_LABELLED,
    J_MIRRORED,
    J_PERFECT,
    J_RANDOM,
    J_VB,
    J_VF,
    J_VF_SURE,
    J_WEAK,
    K_SURE,
    LABEL,
    LEVEL,
    OUT,
    P_DOWN,
    P_UP,
    PAIR,
    REPEAT,
    SIGN,
    SMALL_STEP,
    SURVIVAL,
    K,
    Miss,
    Shortfall,
    j,
    mirrored_kernel,
    psi,
    t,
)
from theory.expectation import Random, mean
from theory.proof import Combination, Derivation, Given, Identity, Monotone, Step, Use
from theory.relation import Relation, eq, geq, leq
from theory.symbols import H, L, M, letter

__all__ = ["CROSSOVER_VF_WINS_PROOF", "GARBLING_PROOF"]

n, c, p_e, epsilon = letter("n"), letter("c"), letter("p_e"), letter("epsilon")
#: Number of tokens other than one: |V| - 1, so that c = 1/(1 + o).
o = sympy.Symbol("o", positive=True, integer=True)
TOKENS = Given("tokens", eq(c, 1 / (1 + o)), "the base is uniform on 1/c = 1 + o tokens")


def _claim(name: str) -> Relation:
    return next(claim.relation for claim in (*GARBLING_CLAIMS, *CROSSOVER_CLAIMS) if claim.name == name)


def _sample(law: sympy.IndexedBase) -> sympy.Product:
    """Law of n independent draws at one outcome."""
    return sympy.Product(law[t], (t, 1, n))


def _blackwell(fine: sympy.Expr, coarse: sympy.Expr, law: sympy.Expr, garbled: sympy.Expr, *given: str) -> Use:
    arguments = {"value_fine": fine, "value_coarse": coarse, "law": law, "garbled": garbled}
    return Use("blackwell", arguments, given)


#: Chance of one sample after filtering; 1 if the labelled draws are filtered to that very sample.
LAW_KEPT, KEPT = sympy.Symbol("p_kept", nonnegative=True), Random("kept", "d")
#: Mass of one outcome of draw t: what the kernel gives it, and under the expert (mirrored; rare success).
MIXED, EXPERT = sympy.IndexedBase("p_mixed"), sympy.IndexedBase("p_expert")
MIXED_WEAK, EXPERT_WEAK = sympy.IndexedBase("p_mixed_weak"), sympy.IndexedBase("p_weak")
#: Indicators: the drawn token is gold; it is the one put out; the one put out is gold.
SOLVED, SAME, GOLD = sympy.IndexedBase(Random("A")), sympy.IndexedBase(Random("Z")), sympy.IndexedBase("B")
_after_solved = SAME[t] * REPEAT + (1 - SAME[t]) * (1 - REPEAT) / o
_weak_kernel = SOLVED[t] * _after_solved + (1 - SOLVED[t]) * (1 - SAME[t]) / o

GARBLING_PROOF = Derivation(
    label="garbling",
    givens=(
        TOKENS,
        Given(
            "kept-law",
            eq(LAW_KEPT, mean("d", KEPT)),
            "rejection sampling with the reward and dropping labels is a function of the labelled draws",
        ),
        Given("mirrored-label", eq(LABEL[t], SIGN[t] * DRAWN[t]), "the sign mirrors the return"),
        Given(
            "mirrored-mixed",
            eq(MIXED[t], mean("b", mirrored_kernel(DRAWN[t], LABEL[t], OUT[t]))),
            "chance of a trace, given its pair, when the kernel is fed with labelled base draws",
        ),
        Given(
            "mirrored-expert",
            eq(EXPERT[t], (1 + epsilon * SIGN[t] * OUT[t]) / 2),
            "mass of a trace, given its pair, under the expert pi_b (1 + epsilon s f)",
        ),
        Given("up", eq(P_UP, mirrored_kernel(DRAWN[t], LABEL[t], PAIR)), "the kernel on |f|"),
        Given("down", eq(P_DOWN, mirrored_kernel(DRAWN[t], LABEL[t], -PAIR)), "and on -|f|"),
        Given("small-step", SMALL_STEP, "the expert is not truncated: epsilon rho <= sigma", "assumption"),
        Given("at-least-base", AT_LEAST_BASE, "the expert is no worse than the base", "assumption"),
        Given("at-most-twice", AT_MOST_TWICE, "and at most twice as good", "assumption"),
        Given("solved-and-same", eq(mean("b", SOLVED[t] * SAME[t]), c * GOLD[t]), "gold is put out only if drawn"),
        Given("solved", eq(mean("b", SOLVED[t]), c), "a base draw is gold with probability c"),
        Given("same", eq(mean("b", SAME[t]), c), "and any other given token with probability c"),
        Given("weak-mixed", eq(MIXED_WEAK[t], mean("b", _weak_kernel)), "what the kernel puts out"),
        Given(
            "weak-expert-law",
            eq(EXPERT_WEAK[t], GOLD[t] * p_e + (1 - GOLD[t]) * (1 - p_e) / o),
            "the outside expert plays gold with probability p_e and the o others equally often",
        ),
    ),
    steps=(
        Step(
            "filtered",
            _claim("filtered"),
            _blackwell(J_VB, J_KEPT, LAW_KEPT, mean("d", KEPT), "kept-law"),
            "a function of the data is a garbling of it",
        ),
        Step("mirrored-mass", _claim("mirrored-mass"), Identity(("up", "down")), "the two chances sum to 1"),
        Step("mirrored-chance", _claim("mirrored-chance"), Combination(((sympy.S.Half, "small-step"),)), "the smaller"),
        Step(
            "mirrored-draw",
            eq(EXPERT[t], MIXED[t]),
            Identity(("mirrored-mixed", "mirrored-label", "mirrored-expert")),
            "label over draw is the sign, whatever was drawn",
        ),
        Step("mirrored-sample", eq(_sample(EXPERT), _sample(MIXED)), Identity(("mirrored-draw",)), "draw by draw"),
        Step(
            "mirrored",
            _claim("mirrored"),
            _blackwell(
                J_VB, J_MIRRORED, _sample(EXPERT), _sample(MIXED), "mirrored-sample", "mirrored-mass", "mirrored-chance"
            ),
            "the expert's sample is a garbling of the labelled base sample",
        ),
        Step("repeat-low", _claim("repeat-low"), Combination(((1 / c, "at-least-base"),)), "a probability"),
        Step("repeat-high", _claim("repeat-high"), Combination(((1 / c, "at-most-twice"),)), "a probability"),
        Step(
            "weak-draw",
            eq(EXPERT_WEAK[t], MIXED_WEAK[t]),
            Identity(("weak-mixed", "weak-expert-law", "solved-and-same", "solved", "same", "tokens")),
            "gold comes out with probability p_e, the others equally often",
        ),
        Step("weak-sample", eq(_sample(EXPERT_WEAK), _sample(MIXED_WEAK)), Identity(("weak-draw",)), "draw by draw"),
        Step(
            "weak-expert",
            _claim("weak-expert"),
            _blackwell(
                J_LABELLED,
                J_WEAK,
                _sample(EXPERT_WEAK),
                _sample(MIXED_WEAK),
                "weak-sample",
                "repeat-low",
                "repeat-high",
            ),
            "so it, too, is a garbling",
        ),
    ),
)

_u, _r = sympy.Symbol("u", nonnegative=True), sympy.Symbol("r", nonnegative=True)
_ROOT = sympy.Lambda(_r, sympy.sqrt(_r))
_share = o / (1 + o)


def _fair_draw(
    name: str, value: sympy.Expr, alone: sympy.Expr, ties: sympy.Expr, factor: sympy.Expr, means: tuple[Given, ...]
) -> tuple[tuple[Given, ...], tuple[Step, ...]]:
    r"""E_w[alone/(1 + ties)] = ``value``: givens and steps.

    1/(1 + T) is :math:`\int_0^1u^T\,du`; ``factor`` is what one wrong hypothesis contributes to alone * u^ties, and
    ``means`` are its means.
    """
    product = alone * _u**ties
    integral = sympy.Integral(mean("w", product), (_u, 0, 1))
    power = mean("h", factor) ** (M - 1)
    givens = (
        *means,
        Given(
            f"{name}-exchange",
            eq(mean("w", alone * sympy.Integral(_u**ties, (_u, 0, 1))), integral),
            "a mean over finitely many outcomes and an integral exchange",
        ),
    )
    expanded = power
    for it in means:
        expanded = expanded.subs(it.relation.lhs, it.relation.rhs)
    closed = sympy.Integral(expanded, (_u, 0, 1))
    steps = (
        Step(
            f"{name}-reciprocal", eq(1 / (1 + ties), sympy.Integral(_u**ties, (_u, 0, 1))), Identity(), "a power of u"
        ),
        Step(
            f"{name}-factors",
            eq(mean("w", product), power),
            Use("independence", {"product": product, "space": "h", "factor": factor, "n": M - 1, "over": "w"}),
            "the M - 1 wrong hypotheses are independent",
        ),
        Step(
            f"{name}-integral",
            eq(mean("w", alone / (1 + ties)), closed),
            Identity((f"{name}-reciprocal", f"{name}-exchange", f"{name}-factors", *(given.name for given in means))),
            "the mean under the integral",
        ),
        Step(f"{name}-power", eq(closed, value), Identity(), "the integral of a power"),
        Step(
            name,
            eq(mean("w", alone / (1 + ties)), value),
            Identity((f"{name}-integral", f"{name}-power")),
            "a fair draw among the truth and its ties picks the truth",
        ),
    )
    return givens, steps


#: What a wrong hypothesis does: agree more often than the truth, as often; explain all labels; agree throughout.
MORE, AS_OFTEN, EXPLAINS, AGREES = (Random(name, "h") for name in ("G", "E", "B", "B_1"))
#: None agrees more often than the truth; how many as often.
ALONE, TIES = Random("A", "aw", nonnegative=True), Random("T", "aw", nonnegative=True)
_sure = c**n
_on_top = _fair_draw(
    "picked",
    ((1 - ABOVE) ** M - (1 - ABOVE - LEVEL) ** M) / (M * LEVEL),
    ALONE,
    TIES,
    1 - MORE + (_u - 1) * AS_OFTEN,
    (
        Given("more", eq(mean("h", MORE), ABOVE), "a wrong hypothesis agrees more often than the truth"),
        Given("as-often", eq(mean("h", AS_OFTEN), LEVEL), "or as often"),
    ),
)
_survivors = _fair_draw(
    "psi-labels",
    psi(M, SURVIVAL),
    sympy.Integer(1),
    K,
    1 + (_u - 1) * EXPLAINS,
    (Given("explains", eq(mean("h", EXPLAINS), SURVIVAL), "a wrong hypothesis explains all labels"),),
)
_throughout = _fair_draw(
    "psi-sure",
    psi(M, _sure),
    sympy.Integer(1),
    K_SURE,
    1 + (_u - 1) * AGREES,
    (Given("agrees", eq(mean("h", AGREES), _sure), "a wrong hypothesis agrees n times with probability c each"),),
)

#: psi_M(q_k) and its value for p_e = 1.
PSI, PSI_SURE = Random("psi", "k", nonnegative=True), sympy.Symbol("psi_1", real=True)
#: Entries v_a = sum_j P_j (1{x_j = a} - c) of the posterior over tokens; the played one; another one; sum of squares.
v, PLAYED, OTHER = sympy.IndexedBase(Random("v", "kwx")), Random("v_played", "kwx"), Random("v_other", "kwxz")
SQUARES = Random("S", "kwx")
#: Posterior; (1{x_j = 1} - c)/sqrt(c (1 - c)) of the first token.
POSTERIOR, STANDARD = sympy.IndexedBase(Random("P", "kw")), sympy.IndexedBase(Random("X", "x"))
i, a = sympy.symbols("i a", integer=True, positive=True)
_combined = sympy.Sum(STANDARD[j] * POSTERIOR[j], (j, 1, M))
_collision = sympy.Sum(POSTERIOR[j] ** 2, (j, 1, M))
_gain = mean("x", PLAYED)
_loss = o / sympy.sqrt(1 + K) - (1 + o) * _gain
#: The label of one base draw; one given wrong hypothesis explains the labels; how many of the others do.
Y, ONE, REST = Random("Y", "y"), Random("B", "kw"), Random("R", "kw", nonnegative=True)
_label_root = Y / sympy.sqrt(c) + (1 - Y) / sympy.sqrt(1 - c)
_label_square = Y * c + (1 - Y) * (1 - c)
_short, _miss = Shortfall(L, n, c), Miss(L, n, c, p_e)
_wrong = 1 - 1 / (1 + K) - ONE / 2
_few = K_SURE / 2 - (1 - 1 / (1 + K_SURE))
_missing = 1 - sympy.sqrt(PSI) - SURVIVAL / 4
#: A perfect expert played the token a; the labelled base draw (a, y): a is gold; y.
MATCH, IS_GOLD, OUTCOME = sympy.IndexedBase(Random("A", "e")), sympy.IndexedBase("B"), sympy.IndexedBase("y")
LAW_LABELLED, MIXED_SURE = sympy.IndexedBase("p_labelled"), sympy.IndexedBase("p_mixed")


def _labelled(gold: sympy.Expr) -> sympy.Expr:
    """Mass of (a, y) if a is gold (1) or not (0): tokens are uniform and y tells whether a is gold."""
    return c * (OUTCOME[t] * gold + (1 - OUTCOME[t]) * (1 - gold))


_VB_GIVENS = (
    Given(
        "value-of-any",
        eq(J_ANY, H * (c + mean("k", mean("w", _gain)))),
        "the played token is right with posterior probability c + v_played, averaged over labels, prompts and data",
    ),
    Given("others-mean", eq(mean("z", OTHER), -PLAYED / o), "the v_a sum to 0: the others are -v_played/o on average"),
    Given("others-square", eq(mean("z", OTHER**2), (SQUARES - PLAYED**2) / o), "and their squares are the rest of S"),
    Given("squares", eq(SQUARES, sympy.Sum(v[a] ** 2, (a, 1, 1 + o))), "S sums the squares over all 1 + o tokens"),
    Given(
        "same-law",
        eq(mean("x", v[a] ** 2), mean("x", v[1] ** 2)),
        "no token is special: x is uniform and the posterior does not depend on it",
    ),
    Given("entry", eq(v[1], sympy.sqrt(c * (1 - c)) * _combined), "v_1, its coordinates standardised"),
    Given(
        "orthonormal",
        eq(mean("x", STANDARD[i] * STANDARD[j]), sympy.KroneckerDelta(i, j)),
        "the x_j of a fresh prompt are independent, each the first token with probability c",
    ),
    Given(
        "uniform-posterior",
        eq(_collision, (1 + K) * (1 / (1 + K)) ** 2),
        "the posterior is uniform on the truth and the K wrong hypotheses that explain all labels",
    ),
    Given("psi-of-k", eq(PSI, mean("w", 1 / (1 + K))), "psi is the chance that a random one of them is the truth"),
    Given("shortfall", eq(mean("k", sympy.sqrt(PSI)), 1 - _short), "S is the mean of 1 - sqrt(psi) over the labels"),
)

_VB_STEPS = (
    Step("spread", geq((OTHER + PLAYED / o) ** 2, 0), Combination((((OTHER + PLAYED / o) ** 2,),)), "a square"),
    Step(
        "mean-spread",
        geq(mean("z", (OTHER + PLAYED / o) ** 2), 0),
        Use("positivity", {"space": "z", "f": (OTHER + PLAYED / o) ** 2}, ("spread",)),
        "averaged over the other tokens",
    ),
    Step(
        "largest-entry",
        leq(PLAYED**2, _share * SQUARES),
        Combination(((o**2 / (1 + o), "mean-spread"),), ("others-mean", "others-square")),
        "an entry of a vector of sum 0 is at most sqrt((|V| - 1)/|V|) of its norm",
    ),
    Step(
        "mean-largest",
        geq(mean("x", _share * SQUARES - PLAYED**2), 0),
        Use("positivity", {"space": "x", "f": _share * SQUARES - PLAYED**2}, ("largest-entry",)),
        "on a fresh prompt",
    ),
    Step(
        "parseval",
        eq(mean("x", _combined**2), _collision),
        Use("parseval", {"space": "x", "signs": STANDARD, "weights": POSTERIOR, "size": M}, ("orthonormal",)),
        "the standardised coordinates are orthonormal",
    ),
    Step(
        "entry-square",
        eq(mean("x", v[a] ** 2), c * (1 - c) * _collision),
        Identity(("same-law", "entry", "parseval")),
        "the same for every token",
    ),
    Step(
        "norm",
        eq(mean("x", SQUARES), _share / (1 + K)),
        Identity(("squares", "entry-square", "uniform-posterior", "tokens")),
        "summed over 1/c tokens: (1 - c) sum_j P_j^2",
    ),
    Step(
        "mean-square",
        leq(mean("x", PLAYED**2), _share**2 / (1 + K)),
        Combination(((1, "mean-largest"),), ("norm",)),
        "so the played entry's mean square",
    ),
    Step("square", geq(PLAYED**2, 0), Combination(((PLAYED**2,),)), "a square"),
    Step(
        "mean-square-exists",
        geq(mean("x", PLAYED**2), 0),
        Use("positivity", {"space": "x", "f": PLAYED**2}, ("square",)),
        "its mean",
    ),
    Step(
        "root-mean-square",
        leq(sympy.sqrt(mean("x", PLAYED**2)), _share / sympy.sqrt(1 + K)),
        Monotone(_ROOT, "mean-square", ("mean-square-exists",)),
        "roots",
    ),
    Step(
        "cauchy-schwarz",
        leq(_gain, sympy.sqrt(mean("x", PLAYED**2))),
        Use("cauchy-schwarz", {"space": "x", "a": PLAYED, "b": sympy.Integer(1)}),
        "a mean is at most the root of the mean square",
    ),
    Step(
        "gain-given-data",
        geq(_loss, 0),
        Combination(((1 + o, "root-mean-square"), (1 + o, "cauchy-schwarz"))),
        "what the posterior can gain over c",
    ),
    Step("gain", geq(mean("w", _loss), 0), Use("positivity", {"space": "w", "f": _loss}, ("gain-given-data",)), "mean"),
    Step(
        "jensen",
        leq(mean("w", sympy.sqrt(1 / (1 + K))), sympy.sqrt(mean("w", 1 / (1 + K)))),
        Use("jensen", {"space": "w", "f": 1 / (1 + K)}),
        "over the number of survivors",
    ),
    Step(
        "gain-given-labels",
        geq(_share * sympy.sqrt(PSI) - mean("w", _gain), 0),
        Combination(((1 / (1 + o), "gain"), (_share, "jensen")), ("psi-of-k",)),
        "at k solved draws",
    ),
    Step(
        "gain-over-labels",
        geq(mean("k", _share * sympy.sqrt(PSI) - mean("w", _gain)), 0),
        Use("positivity", {"space": "k", "f": _share * sympy.sqrt(PSI) - mean("w", _gain)}, ("gain-given-labels",)),
        "over the labels",
    ),
    Step(
        "vb-upper",
        _claim("vb-upper"),
        Combination(((H, "gain-over-labels"),), ("value-of-any", "shortfall", "tokens")),
        "c + (1 - c) E sqrt(psi)",
    ),
)

_CLOSED_GIVENS = (
    Given("survival", leq(SURVIVAL, 1), "q_k is a probability"),
    Given("label", eq(mean("y", Y), c), "a base draw is solved with probability c"),
)
_root_survival = 1 / sympy.sqrt(SURVIVAL)
_CLOSED_STEPS = (
    Step("none", geq(1 - SURVIVAL, 0), Combination(((1, "survival"),)), "a probability"),
    Step(
        "none-at-all",
        leq(0, (1 - SURVIVAL) ** M),
        Monotone(sympy.Lambda(_r, _r**M), "none"),
        "and its power",
    ),
    Step(
        "psi-at-most",
        leq(PSI, 1 / (M * SURVIVAL)),
        Combination(((1 / (M * SURVIVAL), "none-at-all"),), ("psi-of-k", "psi-labels")),
        "psi <= 1/(Mq)",
    ),
    Step(
        "root-psi",
        leq(sympy.sqrt(PSI), _root_survival / sympy.sqrt(M)),
        Monotone(_ROOT, "psi-at-most"),
        "roots",
    ),
    Step(
        "mean-root-psi",
        geq(mean("k", _root_survival / sympy.sqrt(M) - sympy.sqrt(PSI)), 0),
        Use("positivity", {"space": "k", "f": _root_survival / sympy.sqrt(M) - sympy.sqrt(PSI)}, ("root-psi",)),
        "over the labels",
    ),
    Step(
        "labels-root",
        eq(mean("k", _root_survival), mean("y", _label_root) ** n),
        Use("independence", {"product": _root_survival, "space": "y", "factor": _label_root, "n": n, "over": "k"}),
        "q_k is the product of c for each solved and 1 - c for each failed draw",
    ),
    Step(
        "label-root",
        eq(mean("y", _label_root), sympy.sqrt(c) + sympy.sqrt(1 - c)),
        Identity(("label",)),
        "one label: the binomial theorem",
    ),
    Step(
        "labels-root-value",
        eq(mean("k", _root_survival), (sympy.sqrt(c) + sympy.sqrt(1 - c)) ** n),
        Identity(("labels-root", "label-root")),
        "all labels",
    ),
    Step(
        "vb-closed",
        _claim("vb-closed"),
        Combination(((1, "vb-upper"), (H * _share, "mean-root-psi")), ("shortfall", "labels-root-value", "tokens")),
        "E sqrt(psi) <= M^(-1/2) (sqrt(c) + sqrt(1 - c))^n",
    ),
)

_VF_GIVENS = (
    Given("chance", eq(CHANCE, mean("w", ALONE / (1 + TIES))), "the truth is picked: none above it, a fair draw"),
    Given("miss", eq(mean("a", CHANCE), 1 - _miss), "P_miss, over the truth's agreements"),
    Given(
        "value-of-vf",
        eq(J_VF, H * mean("a", CHANCE + (1 - CHANCE) * c)),
        "the truth solves; a wrong hypothesis plays an independent token, right with probability c",
    ),
    Given(
        "value-of-clone", eq(J_CLONE, H * mean("a", CHANCE * p_e + (1 - CHANCE) * c)), "the expert's noise around it"
    ),
    Given(
        "value-of-sure",
        eq(J_VF_SURE, H * (PSI_SURE + (1 - PSI_SURE) * c)),
        "for p_e = 1 the truth agrees throughout: a random one of those that do is played",
    ),
    Given("psi-of-sure", eq(PSI_SURE, mean("w", 1 / (1 + K_SURE))), "and is the truth with this probability"),
    Given(
        "value-of-random",
        eq(J_RANDOM, H * (c + (1 - c) * mean("k", PSI))),
        "VB that plays a random survivor of its labels: right if it is the truth, else with probability c",
    ),
)
_VF_STEPS = (
    Step("on-top", _claim("on-top"), Identity(("chance", "picked")), "none above, a fair draw among ties"),
    Step("vf-value", _claim("vf-value"), Identity(("value-of-vf", "miss")), "1 - J/H = (1 - c) P_miss"),
    Step("cloning-value", _claim("cloning-value"), Identity(("value-of-clone", "miss")), "likewise"),
    Step("vf-perfect", _claim("vf-perfect"), Identity(("value-of-sure", "psi-of-sure", "psi-sure")), "likewise"),
    Step("vb-random", _claim("vb-random"), Identity(("value-of-random", "psi-of-k", "psi-labels")), "psi at q_k"),
    Step("advantage", _claim("advantage"), Combination(((1, "vb-upper"),), ("vf-value",)), "the two losses compared"),
)

_LATE_GIVENS = (
    Given("whole", geq(K_SURE * (K_SURE - 1), 0), "K_1 is a whole number"),
    Given("count-sure", eq(mean("w", K_SURE), (M - 1) * _sure), "each of M - 1 agrees throughout with probability c^n"),
    Given("count", eq(K, ONE + REST), "a class has at least two members: one wrong one, and the others"),
    Given("indicator", eq(ONE**2, ONE), "an indicator"),
    Given("one-explains", eq(mean("w", ONE), SURVIVAL), "it explains all labels with probability q_k"),
)
_LATE_STEPS = (
    Step("few", geq(_few, 0), Combination(((1 / (2 * (1 + K_SURE)), "whole"),)), "K/(1 + K) <= K/2"),
    Step("mean-few", geq(mean("w", _few), 0), Use("positivity", {"space": "w", "f": _few}, ("few",)), "on average"),
    Step(
        "wrong",
        geq(_wrong, 0),
        Combination(
            (
                (REST * (1 + (1 - ONE) ** 2) / (2 * (1 + K)),),
                ((1 + REST) / (2 * (1 + K)), "indicator"),
            ),
            ("count",),
        ),
        "K/(1 + K) is at least 1/2 where one wrong hypothesis explains all labels",
    ),
    Step("mean-wrong", geq(mean("w", _wrong), 0), Use("positivity", {"space": "w", "f": _wrong}, ("wrong",)), "mean"),
    Step(
        "missing",
        geq(_missing, 0),
        Combination(((sympy.S.Half, "mean-wrong"), ((1 - sympy.sqrt(PSI)) ** 2 / 2,)), ("psi-of-k", "one-explains")),
        "1 - sqrt(psi) >= (1 - psi)/2 >= q/4",
    ),
    Step(
        "mean-missing",
        geq(mean("k", _missing), 0),
        Use("positivity", {"space": "k", "f": _missing}, ("missing",)),
        "over the labels",
    ),
    Step(
        "labels-square",
        eq(mean("k", SURVIVAL), mean("y", _label_square) ** n),
        Use("independence", {"product": SURVIVAL, "space": "y", "factor": _label_square, "n": n, "over": "k"}),
        "q_k as a product over the labels again",
    ),
    Step(
        "label-square",
        eq(mean("y", _label_square), c**2 + (1 - c) ** 2),
        Identity(("label",)),
        "one label",
    ),
    Step(
        "labels-square-value",
        eq(mean("k", SURVIVAL), (c**2 + (1 - c) ** 2) ** n),
        Identity(("labels-square", "label-square")),
        "all labels",
    ),
    Step(
        "late",
        _claim("late"),
        Combination(
            ((1, "vb-upper"), (H * _share, "mean-missing"), (H * _share, "mean-few")),
            ("value-of-sure", "psi-of-sure", "count-sure", "shortfall", "labels-square-value", "tokens"),
        ),
        "VB's loss is at least E q_k/4, VF's at most (M - 1) c^n/2",
    ),
)

_PERFECT_GIVENS = (
    Given("labelled", eq(LAW_LABELLED[t], _labelled(IS_GOLD[t])), "law of a labelled base draw"),
    Given(
        "relabelled",
        eq(MIXED_SURE[t], mean("e", _labelled(MATCH[t]))),
        "draw a uniform token, label it by whether it is the one that the expert played",
    ),
    Given("plays-gold", eq(mean("e", MATCH[t]), IS_GOLD[t]), "a perfect expert plays gold"),
)
_PERFECT_STEPS = (
    Step(
        "perfect-draw",
        eq(LAW_LABELLED[t], MIXED_SURE[t]),
        Identity(("labelled", "relabelled", "plays-gold")),
        "the label needs no more than the gold token",
    ),
    Step("perfect-sample", eq(_sample(LAW_LABELLED), _sample(MIXED_SURE)), Identity(("perfect-draw",)), "draw by draw"),
    Step(
        "perfect-expert",
        _claim("perfect-expert"),
        _blackwell(J_PERFECT, J_LABELLED, _sample(LAW_LABELLED), _sample(MIXED_SURE), "perfect-sample"),
        "labelled base draws are a garbling of a perfect expert's tokens",
    ),
    Step("break-even", _claim("break-even"), Identity(), "algebra"),
)

CROSSOVER_VF_WINS_PROOF = Derivation(
    label="crossover-vf-wins",
    givens=(
        TOKENS,
        *_on_top[0],
        *_survivors[0],
        *_throughout[0],
        *_VB_GIVENS,
        *_CLOSED_GIVENS,
        *_VF_GIVENS,
        *_LATE_GIVENS,
        *_PERFECT_GIVENS,
    ),
    steps=(
        *_on_top[1],
        *_survivors[1],
        *_throughout[1],
        *_VB_STEPS,
        *_CLOSED_STEPS,
        *_VF_STEPS,
        *_LATE_STEPS,
        *_PERFECT_STEPS,
    ),
)
