r"""Traces of the planted task's base as arrays of tokens, and the law of each next token given what is seen.

The base draws gamma once a trace with its weights. At step h, with k gold tokens matched, it emits :math:`y_{k+1}` with
probability :math:`q_\gamma`, every other token with :math:`o_\gamma`. What it does once it has solved is a choice that
decides how hard correctness is to read off a trace:

* ``continue``: it goes on from the gold's longest proper border (Knuth-Morris-Pratt), and may complete the gold again:
  what follows looks like what went before;
* ``uniform``: it emits any token, as :class:`sim.tasks.planted.Planted` does: what follows tells that it has solved.

The law of T is that of ``planted-law`` either way. With m gold tokens among the first h, seen tokens tell of gamma no
more than :math:`P(\gamma|h,m)\propto w_\gamma q_\gamma^mo_\gamma^{h-m}`, so the next token is the gold one with
probability :math:`\sum_\gamma P(\gamma|h,m)\,q_\gamma`, and each other one equally likely: :func:`predictive`.

Random numbers come from a Philox key; NumPy on the host, all traces side by side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.tasks.planted import Planted, automaton_table
from sim.tasks.token_task import uniforms
from theory.planted import failure_function, token_probabilities

__all__ = ["AFTER", "Automata", "Predictive", "draw_traces", "predictive"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AFTER = ("continue", "uniform")


class Automata(NamedTuple):
    """Knuth-Morris-Pratt automata of all X prompts; ``border``: how much is matched right after completing the gold."""

    golds: Ints  # (X, ell)
    moves: Ints  # (X, ell + 1, V)
    border: Ints  # (X,)

    @classmethod
    def of(cls, task: Planted) -> Automata:
        """Of every prompt of ``task`` under its true map."""
        golds = task.golds()
        moves = np.stack([automaton_table(gold, task.V) for gold in golds])
        return cls(golds, moves, np.array([failure_function(list(gold))[-1] for gold in golds], dtype=np.int64))

    def step(self, prompt: Ints, matched: Ints, token: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """What is matched after ``token``, and whether that completed the gold, (B,) each; completed goes on."""
        state = self.moves[prompt, matched, token]
        solved = state == self.golds.shape[1]
        return np.where(solved, self.border[prompt], state), solved


def draw_traces(
    task: Planted, automata: Automata, prompt: Ints, words: np.random.Philox, after: str = "continue"
) -> tuple[Ints, Ints]:
    """A trace for each entry of ``prompt`` (B,), numbers of prompts: tokens (B, H) and the number of its gamma (B,).

    Raises ``ValueError`` if ``after`` is none of ``AFTER``.
    """
    _check_after(after)
    count = len(prompt)
    right, _ = token_probabilities(task.V, task.gammas)
    edges = np.cumsum(task.weights)
    component = np.minimum(np.searchsorted(edges, uniforms(words, count), side="right"), len(edges) - 1)
    gold_chance = right[component]
    tokens = np.empty((count, task.H), dtype=np.int64)
    matched, done = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_)
    for h in range(task.H):
        gold = automata.golds[prompt, matched]
        chance = np.where(done, 1.0 / task.V, gold_chance) if after == "uniform" else gold_chance
        hit, other = uniforms(words, 2, count)
        wrong = (other * (task.V - 1)).astype(np.int64)
        tokens[:, h] = np.where(hit < chance, gold, wrong + (wrong >= gold))
        matched, solved = automata.step(prompt, matched, tokens[:, h])
        done |= solved
    return tokens, component


class Predictive(NamedTuple):
    """Law of every token of a trace given those before it: ``chance`` of ``gold``, the others share the rest."""

    gold: Ints  # (B, H)
    chance: Floats  # (B, H), probability

    def entropy(self, V: int) -> Floats:
        """Of each token, nats, (B, H)."""
        rest = 1.0 - self.chance
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = self.chance * np.log(self.chance), rest * np.log(rest / (V - 1))
        return np.asarray(-sum(np.where(np.isfinite(term), term, 0.0) for term in terms))


def predictive(task: Planted, automata: Automata, prompt: Ints, tokens: Ints, after: str = "continue") -> Predictive:
    """The exact law of each of ``tokens`` (B, H) of prompts ``prompt`` (B,) given those before it.

    Raises ``ValueError`` if ``after`` is none of ``AFTER``.
    """
    _check_after(after)
    count, horizon = tokens.shape
    right, wrong = token_probabilities(task.V, task.gammas)
    with np.errstate(divide="ignore"):
        log_right, log_wrong = np.log(right), np.log(wrong)
    score = np.tile(np.log(task.weights), (count, 1))
    gold, chance = np.empty((count, horizon), dtype=np.int64), np.empty((count, horizon))
    matched, done = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_)
    for h in range(horizon):
        gold[:, h] = automata.golds[prompt, matched]
        weight = np.exp(score - score.max(axis=1, keepdims=True))
        chance[:, h] = (weight @ right) / weight.sum(axis=1)
        if after == "uniform":
            chance[done, h] = 1.0 / task.V
        score += np.where((tokens[:, h] == gold[:, h])[:, None], log_right, log_wrong)
        matched, solved = automata.step(prompt, matched, tokens[:, h])
        done |= solved
    return Predictive(gold, chance)


def _check_after(after: str) -> None:
    if after not in AFTER:
        raise ValueError(f"after = {after}: expected one of {', '.join(AFTER)}")
