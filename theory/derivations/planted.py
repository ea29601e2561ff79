"""Proof of ``planted-law``."""

from __future__ import annotations

import sympy

from theory.expectation import Random, mean
from theory.planted import CLAIMS, DISTINCT, FIRST, GOLD, MEAN, MOVE, SD, P, PlantedMean, f, j, k, o, p_T, q, t
from theory.proof import Derivation, Given, Identity, Step, Use
from theory.relation import Relation, eq
from theory.symbols import H, letter

__all__ = ["PLANTED_LAW_PROOF"]

V, ell, gamma = letter("V"), letter("ell"), letter("gamma")

#: Indicators: after the tokens w, unsolved with k matched; with the next token a, unsolved with j matched, or solved.
BEFORE = sympy.IndexedBase(Random("I", "w"))
AFTER, SOLVES = sympy.IndexedBase(Random("Inext", "aw")), sympy.IndexedBase(Random("S", "aw"))
#: Of no token at all: k are matched.
EMPTY = sympy.IndexedBase(Random("I0", "w"))
#: Indicator of T = t and the return, on whole traces.
HIT, R = sympy.IndexedBase(Random("hit", "w")), Random("R", "w")
_reached = sympy.Sum(BEFORE[t - 1, k] * MOVE[k, j], (k, 0, ell - 1))


def _claim(name: str) -> Relation:
    return next(c.relation for c in CLAIMS if c.name == name)


def E(g: sympy.Expr) -> sympy.Expr:
    """Mean over the tokens so far of the mean over the next one."""
    return mean("w", mean("a", g))


PLANTED_LAW_PROOF = Derivation(
    label="planted-law",
    givens=(
        Given("focus", eq(gamma, sympy.log(q / o)), "gamma is the log odds of the gold token against another"),
        Given("others", eq(V, 1 + (1 - q) / o), "the |V| - 1 others share what is left equally"),
        Given("empty", eq(EMPTY[k], sympy.KroneckerDelta(k, 0)), "of no token the empty prefix matches"),
        Given("state-at-start", eq(f[0, k], mean("w", EMPTY[k])), "definition of f_0"),
        Given("state", eq(mean("w", BEFORE[t - 1, k]), f[t - 1, k]), "definition of f_{t-1}"),
        Given("last-state", eq(mean("w", BEFORE[t - 1, ell - 1]), f[t - 1, ell - 1]), "at k = ell - 1"),
        Given("next-state", eq(f[t, j], E(AFTER[t, j])), "and of f_t, the token at t apart"),
        Given("moves", eq(P[k, j], mean("a", MOVE[k, j])), "P(k -> j): how often the next token takes k to j"),
        Given(
            "gold-token", eq(mean("a", GOLD), q), "in every state the policy emits the gold token with probability q"
        ),
        Given("first-token", eq(mean("a", FIRST), o), "and y_1, where that is another token, with probability o"),
        Given(
            "solving", eq(SOLVES[t], BEFORE[t - 1, ell - 1] * GOLD), "y ends wa iff y_1..y_{ell-1} ends w and a = y_ell"
        ),
        Given("solve-time", eq(p_T[t], E(SOLVES[t])), "T = t: solved by the token at t and not before"),
        Given("hit", eq(mean("w", HIT[t]), p_T[t]), "the same on whole traces"),
        Given("return", eq(R, sympy.Sum((H - t + 1) * HIT[t], (t, 1, H))), "R = H - t + 1 where T = t <= H, else 0"),
        Given("square", eq(R**2, sympy.Sum((H - t + 1) ** 2 * HIT[t], (t, 1, H))), "so its square is (H - t + 1)^2"),
        Given("mean-return", eq(MEAN, mean("w", R)), "definition of the mean"),
        Given("sd-return", eq(SD**2, mean("w", R**2) - MEAN**2), "and of the standard deviation"),
        Given("distinct-tokens", DISTINCT, "the automaton of a gold of distinct tokens", "assumption"),
        Given(
            "recursion",
            eq(PlantedMean(V, ell, gamma, H), sympy.Sum((H - t + 1) * q * f[t - 1, ell - 1], (t, 1, H))),
            "what the function computes, by start, forward and distinct",
            provided=_claim("distinct"),
        ),
    ),
    steps=(
        Step("next-gold", _claim("next-gold"), Identity(("focus", "others")), "q = e^gamma o and q + (|V| - 1) o = 1"),
        Step("next-other", _claim("next-other"), Identity(("focus", "others")), "likewise"),
        Step("start", _claim("start"), Identity(("state-at-start", "empty")), "nothing is emitted"),
        Step(
            "automaton",
            eq(AFTER[t, j], _reached),
            Use("knuth-morris-pratt", {"after": AFTER[t, j], "from_state": _reached}),
            "what matches after wa depends on w by its longest match only",
        ),
        Step(
            "forward",
            _claim("forward"),
            Identity(("next-state", "automaton", "moves", "state")),
            "the next token is drawn given the state",
        ),
        Step("exit", _claim("exit"), Identity(("solve-time", "solving", "gold-token", "last-state")), "its last token"),
        Step("mean", _claim("mean"), Identity(("mean-return", "return", "hit")), "sum over the solve times"),
        Step("variance", _claim("variance"), Identity(("sd-return", "square", "hit")), "likewise"),
        Step(
            "distinct",
            _claim("distinct"),
            Identity(("moves", "distinct-tokens", "gold-token", "first-token")),
            "means of the indicators",
        ),
        Step("value", _claim("value"), Identity(("mean", "exit", "recursion")), "what is computed"),
    ),
)
