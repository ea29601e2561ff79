"""Attacks on ``planted-law``: every word of H tokens, the matched prefix of the gold found by comparing strings."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.falsify.adversary import Adversary, Named, Space, registered

__all__ = ["ADVERSARIES"]

#: (|V|, gold, H): golds of distinct tokens, and golds that overlap themselves.
DISTINCT = (
    (2, (0,), 6),
    (2, (0, 1), 7),
    (3, (1,), 4),
    (3, (0, 2), 5),
    (3, (2, 0, 1), 6),
    (4, (3, 1), 4),
    (4, (0, 1, 2, 3), 5),
)
OVERLAPPING = (*DISTINCT, (2, (0, 0), 7), (2, (0, 1, 0), 8), (2, (0, 0, 1, 0), 8), (3, (1, 1, 1), 5), (3, (0, 1, 0), 5))


def _matched(word: tuple[int, ...], gold: tuple[int, ...]) -> int:
    """Length of the longest prefix of the gold, shorter than all of it, that ends ``word``."""
    lengths = range(min(len(gold) - 1, len(word)), 0, -1)
    return next((k for k in lengths if word[len(word) - k :] == gold[:k]), 0)


@functools.cache
def _counts(V: int, gold: tuple[int, ...], H: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of words by length t, gold tokens emitted and state: unsolved in state k, and solved exactly at t.

    Shapes (H + 1, H + 1, ell) and (H + 1, H + 1). Every word is followed token by token.
    """
    unsolved = np.zeros((H + 1, H + 1, len(gold)), dtype=np.int64)
    solved = np.zeros((H + 1, H + 1), dtype=np.int64)
    words: list[tuple[tuple[int, ...], int]] = [((), 0)]
    unsolved[0, 0, 0] = 1
    for t in range(1, H + 1):
        longer = []
        for (word, hits), token in itertools.product(words, range(V)):
            grown = (*word, token)
            right = hits + (token == gold[_matched(word, gold)])
            if grown[-len(gold) :] == gold:
                solved[t, right] += 1
            else:
                unsolved[t, right, _matched(grown, gold)] += 1
                longer.append((grown, right))
        words = longer
    return unsolved, solved


def _build(cases: tuple[tuple[int, tuple[int, ...], int], ...]) -> Callable[[Any, Any], Named]:
    def build(xp: Any, theta: Any) -> Named:
        V, gold, H = cases[min(int(theta[0]), len(cases) - 1)]
        t = 1 + min(int(theta[2] * H), H - 1)
        return {"V": V, "gold": list(gold), "H": H, "gamma": float(theta[1]), "t": t, "j": int(theta[3] * len(gold))}

    return build


def _letters(xp: Any, instance: Named) -> Named:
    V, gold, H, gamma = instance["V"], tuple(int(a) for a in instance["gold"]), instance["H"], instance["gamma"]
    other = 1.0 / (math.exp(gamma) + V - 1)
    q = math.exp(gamma) * other
    unsolved, solved = _counts(V, gold, H)
    t, hits = np.arange(H + 1)[:, None], np.arange(H + 1)[None, :]
    chance = np.where(hits <= t, q**hits * other ** np.maximum(t - hits, 0), 0.0)
    p = (solved * chance).sum(axis=1)
    after = np.arange(H, -1, -1.0) + 1.0
    mean = float(after[1:] @ p[1:])
    sd = math.sqrt(float(p[1:] @ (after[1:] - mean) ** 2) + (1.0 - p.sum()) * mean**2)
    known = {"V": V, "ell": len(gold), "gamma": gamma, "H": H, "gold": gold, "q": q, "o": other, "p": p}
    known |= {"t": instance["t"], "j": min(instance["j"], len(gold) - 1), "mu_gamma": mean, "sigma_gamma": sd}
    return known | {"f": (unsolved * chance[:, :, None]).sum(axis=1), "P": _moves(V, gold, q, other)}


def _moves(V: int, gold: tuple[int, ...], q: float, other: float) -> NDArray[np.float64]:
    """P(k -> j) for unsolved j, by trying every token after y_1..y_k."""
    moves = np.zeros((len(gold), len(gold)))
    for k, token in itertools.product(range(len(gold)), range(V)):
        word = (*gold[:k], token)
        if word != gold:
            moves[k, _matched(word, gold)] += q if token == gold[k] else other
    return moves


def _mean_return(letters: Mapping[str, Any]) -> float:
    return registered("planted-law", letters, "V", "ell", "gamma", "H")


def _from_law(name: str) -> Callable[[Mapping[str, Any]], float]:
    """The same number from the law of the solve time that the package computes."""

    def number(letters: Mapping[str, Any]) -> float:
        from theory.planted import solve_time_law

        law = solve_time_law(letters["gold"], letters["V"], letters["gamma"], letters["H"])
        found = {"exit": law.masses[letters["t"] - 1], "mean": law.mean_return, "variance": law.sd_return**2}
        return float(found[name])

    return number


def _space(name: str, cases: tuple[tuple[int, tuple[int, ...], int], ...]) -> Space:
    return Space(name, ((0.0, float(len(cases))), (-3.0, 5.0), (0.0, 1.0), (0.0, 1.0)), _build(cases))


_LABEL = "planted-law"
_ANY, _APART = _space("golds, overlapping or not", OVERLAPPING), _space("golds of distinct tokens", DISTINCT)

ADVERSARIES = (
    Adversary(_LABEL, "forward", _ANY, _letters, gradient=False),
    *(
        Adversary(_LABEL, name, _ANY, _letters, evaluator=_from_law(name), gradient=False)
        for name in ("exit", "mean", "variance")
    ),
    Adversary(_LABEL, "value", _APART, _letters, evaluator=_mean_return, gradient=False),
)
