"""Proof of ``heterogeneity-identity``."""

from __future__ import annotations

import sympy

from theory.expectation import Random, mean
from theory.heterogeneity import CLAIMS, DETERMINISTIC, NEXT, SIGMA_PI, VARIANCE, A, B, Q, h
from theory.proof import Derivation, Given, Identity, Step
from theory.relation import Relation, eq
from theory.symbols import H

__all__ = ["HETEROGENEITY_IDENTITY_PROOF"]

#: Reward r_h(s_h, a_h), value V_h(s_h), and the returns from step h on and from step h + 1 on.
r, V = sympy.IndexedBase(Random("r", "as")), sympy.IndexedBase(Random("V", "s"))
G, REST = sympy.IndexedBase(Random("G", "afst")), sympy.IndexedBase(Random("Gnext", "afst"))
#: The three differences of one step: Q_h - V_h, V_{h+1} - E V_{h+1}, and what later steps add.
X, Y = sympy.IndexedBase(Random("X", "as")), sympy.IndexedBase(Random("Y", "ast"))
Z = sympy.IndexedBase(Random("Z", "afst"))
#: U_h = E (G_h - V_h)^2: the variance left from step h on.
U = sympy.IndexedBase("U", nonnegative=True)


def E(f: sympy.Expr) -> sympy.Expr:
    """Mean over the past, the action, the transition and what follows, the last first."""
    for space in "ftas":
        f = mean(space, f)
    return f


def _claim(name: str) -> Relation:
    return next(c.relation for c in CLAIMS if c.name == name)


HETEROGENEITY_IDENTITY_PROOF = Derivation(
    label="heterogeneity-identity",
    givens=(
        Given("value", eq(mean("a", Q[h]), V[h]), "V_h(s) = E_a Q_h(s, a)"),
        Given("action-value", eq(Q[h], r[h] + mean("t", NEXT[h])), "Q_h(s, a) = r_h + E_s' V_{h+1}(s')"),
        Given("value-of-rest", eq(mean("f", REST[h]), NEXT[h]), "V_{h+1}(s_{h+1}) is the mean of what follows"),
        Given("return-to-go", eq(G[h], r[h] + REST[h]), "G_h = r_h + G_{h+1}"),
        Given("by-action", eq(X[h], Q[h] - V[h]), "what the action adds"),
        Given("by-transition", eq(Y[h], NEXT[h] - mean("t", NEXT[h])), "what the transition adds"),
        Given("by-rest", eq(Z[h], REST[h] - NEXT[h]), "what later steps add"),
        Given("action-variance", eq(A[h], E(X[h] ** 2)), "A_h = E Var_a Q_h, V_h being the mean of Q_h over a"),
        Given("transition-variance", eq(B[h], E(Y[h] ** 2)), "B_h = E Var_s' V_{h+1}"),
        Given("left", eq(U[h], E((G[h] - V[h]) ** 2)), "U_h = E (G_h - V_h)^2"),
        Given("left-after", eq(E(Z[h] ** 2), U[h + 1]), "which at the next step is E (G_{h+1} - V_{h+1})^2"),
        Given("all", eq(U[1], VARIANCE), "from the prompt on, all of the return is to go"),
        Given("nothing", eq(U[H + 1], 0), "after H steps, none"),
        Given("heterogeneity", eq(SIGMA_PI**2, sympy.Sum(A[h], (h, 1, H))), "definition of the heterogeneity"),
        Given("deterministic-transitions", DETERMINISTIC, "the action fixes the next state", "assumption"),
    ),
    steps=(
        Step(
            "per-step",
            eq(G[h], V[h] + X[h] + Y[h] + Z[h]),
            Identity(("return-to-go", "by-action", "by-transition", "by-rest", "action-value")),
            "r_h + V_{h+1} - V_h = (Q_h - V_h) + (V_{h+1} - E V_{h+1})",
        ),
        Step("centred-action", eq(mean("a", X[h]), 0), Identity(("by-action", "value")), "V_h is the mean of Q_h"),
        Step("centred-transition", eq(mean("t", Y[h]), 0), Identity(("by-transition",)), "its own mean is subtracted"),
        Step("centred-rest", eq(mean("f", Z[h]), 0), Identity(("by-rest", "value-of-rest")), "V_{h+1} is the mean"),
        Step(
            "orthogonality",
            eq(E((X[h] + Y[h] + Z[h]) ** 2), E(X[h] ** 2) + E(Y[h] ** 2) + E(Z[h] ** 2)),
            Identity(("centred-rest", "centred-transition", "centred-action")),
            "each difference has mean 0 given the earlier ones: no product survives",
        ),
        Step(
            "one-step",
            eq(A[h] + B[h], U[h] - U[h + 1]),
            Identity(("left", "per-step", "orthogonality", "left-after", "action-variance", "transition-variance")),
            "so one step takes A_h + B_h off the variance that is left",
        ),
        Step(
            "telescope",
            eq(sympy.Sum(U[h] - U[h + 1], (h, 1, H)), U[1] - U[H + 1]),
            Identity(),
            "inner terms cancel",
        ),
        Step(
            "total",
            eq(VARIANCE, sympy.Sum(A[h] + B[h], (h, 1, H))),
            Identity(("one-step", "telescope", "all", "nothing")),
            "summed over the steps",
        ),
        Step(
            "no-transition-variance",
            eq(B[h], 0),
            Identity(("transition-variance", "by-transition", "deterministic-transitions")),
            "V_{h+1} - E V_{h+1} is 0",
        ),
        Step(
            "deterministic",
            _claim("deterministic"),
            Identity(("heterogeneity", "total", "no-transition-variance")),
            "the second sum is 0",
        ),
    ),
)
