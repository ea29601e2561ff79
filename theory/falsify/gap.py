r"""Attacks on ``gap-regret``, ``gap-ball`` and ``gap-free``: both learners of a codebook of two returns, exactly.

The verifier-based learner picks a random one of the hypotheses that explain its labels and is right with chance psi,
computed over the number of survivors (random codebook) or over all sets of prompts (parity). The verifier-free one is
the best there is on small codebooks, and the most agreeing hypothesis on large ones, as in
:mod:`theory.falsify.verifier_free`: there the gap is at most the one computed, and the ratio at least the one reported.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from theory.falsify.adversary import Adversary, Gauge, Named, Space, budget, registered
from theory.falsify.instances import BUDGET
from theory.falsify.verifier_free import (
    LARGE,
    MOST_DRAWS,
    PARITY,
    WALKED,
    WINDOW,
    WINDOW_WALKED,
    best_agreement,
    small_weight,
    window_at,
)
from theory.notation import LN2

__all__ = ["ADVERSARIES", "parity_pick", "random_pick"]

Letters = Callable[[Any, Named], Named]


def random_pick(M: float, q: float) -> float:
    """E[1/(1 + K)], K ~ Bin(M - 1, q): over the number of survivors; in closed form where M is large."""
    if M > 1024:
        exponent = M * math.log1p(-q) if q < 1.0 else -math.inf
        return -math.expm1(exponent) / (M * q) if M * q > 1e-12 else 1.0
    size = int(M)
    chances = [math.comb(size - 1, k) * q**k * (1.0 - q) ** (size - 1 - k) / (1 + k) for k in range(size)]
    return math.fsum(chances)


@functools.cache
def parity_pick(n: int, k: int) -> float:
    """E[1/number of parities that agree with the truth on n uniform prompts], over all of them."""
    words = np.array(list(itertools.product([0, 1], repeat=k)))
    alike = (words @ words.T % 2) == 0  # hypothesis, prompt: the difference to the truth is invisible there
    counts = [alike[:, list(prompts)].all(axis=1).sum() for prompts in itertools.product(range(2**k), repeat=n)]
    return float(np.mean(1.0 / np.array(counts)))


def _small(xp: Any, instance: Named) -> Named:
    """Psi and E|w| of a small codebook."""
    n, M, epsilon = int(instance["n"]), int(instance["M"]), float(instance["epsilon"])
    parity = instance["codebook"] == "parity"
    psi = parity_pick(n, round(math.log2(M))) if parity else random_pick(M, 2.0**-n)
    return _letters(n, math.log2(M), epsilon) | {"psi": psi, "weight": small_weight(instance)}


def _large(xp: Any, instance: Named) -> Named:
    """The same with the most agreeing hypothesis as the verifier-free learner."""
    n, log2_M, epsilon = int(instance["n"]), float(instance["log2_M"]), float(instance["epsilon"])
    weight = best_agreement(n, log2_M, epsilon)[0]
    return _letters(n, log2_M, epsilon) | {"psi": random_pick(2.0**log2_M, 2.0 ** -float(n)), "weight": weight}


def _letters(n: int, log2_M: float, epsilon: float) -> Named:
    """The letters of a codebook with returns H/2 +- sigma, sigma = H/2, and the K that the evaluator takes."""
    from theory.verifier_free import with_level

    sigma = BUDGET / 2.0
    known = {"n": n, "L": log2_M * LN2, "log2_M": log2_M, "epsilon": epsilon, "H": BUDGET}
    return with_level(known) | {"sigma": sigma, "rho": sigma, "sigma_x": sigma, "c": 0.5, "c_epsilon": 0.5, "s": 0.5}


def _ball(letters: Letters) -> Letters:
    """VB plays the expert of its pick: it gains epsilon sigma psi over mu, VF sigma E|w|."""

    def at(xp: Any, instance: Named) -> Named:
        known = letters(xp, instance)
        return known | {"lhs": known["sigma"] * (known["epsilon"] * known["psi"] - known["weight"])}

    return at


def _free(letters: Letters) -> Letters:
    """VB plays the better half of its pick: it gains sigma psi over mu, VF sigma E|w|. Top-c with c = 1/2 is that."""

    def at(xp: Any, instance: Named) -> Named:
        known = letters(xp, instance)
        return known | {"lhs": known["sigma"] * (known["psi"] - known["weight"])}

    return at


def _pick(letters: Letters) -> Letters:
    def at(xp: Any, instance: Named) -> Named:
        known = letters(xp, instance)
        return known | {"lhs": known["psi"]}

    return at


def _many_at(xp: Any, theta: Any) -> Named:
    """n of at least 2 log2 M and in the window, epsilon^2 = L/(2n)."""
    log2_M = int(theta[0])
    start = 2 * log2_M
    end = min(2.0 ** (log2_M / 2.0) * log2_M * LN2 / 8.0, MOST_DRAWS)
    n = max(start, int(start * (end / start) ** theta[1]))
    return {"log2_M": log2_M, "n": n, "epsilon": math.sqrt(log2_M * LN2 / (2.0 * n))}


def _certified_at(xp: Any, theta: Any) -> Named:
    """sigma, c, log2 M, and n from where the closed form of the general gap is nonnegative."""
    L, sigma = LN2 * theta[1], BUDGET / 2.0 * theta[0]
    n = xp.ceil(8.0 * (1.0 + L) ** 2 * BUDGET**2 / (theta[2] ** 2 * sigma**2 * L) * (1.0 + theta[3]))
    return {"sigma": sigma, "c": theta[2], "log2_M": theta[1], "n": n}


def _certified(xp: Any, instance: Named) -> Named:
    """What the verifier-free learner loses, and what top-c loses at most; both in closed form."""
    L = LN2 * instance["log2_M"]
    won = instance["sigma"] * xp.sqrt(L / (8.0 * instance["n"]))
    lost = BUDGET / instance["c"] * (1.0 + L) / instance["n"]
    return {**instance, "H": BUDGET, "L": L, "won": won, "lhs": won - lost}


def _won(letters: Mapping[str, Any]) -> Any:
    return letters["won"]


def _one(letters: Mapping[str, Any]) -> Any:
    return 1.0


def _general(letters: Mapping[str, Any]) -> float:
    return registered("gap-regret", letters, "H", "n", "log2_M", "sigma", "rho", "c", "epsilon")


def _guaranteed(letters: Mapping[str, Any]) -> float:
    return registered("gap-regret", letters, "H", "n", "log2_M", "sigma", "rho", "epsilon")


def _given(label: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda letters: registered(label, letters, "H", "n", "log2_M", "sigma", "epsilon", "K", "psi")


def _put_in(label: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda letters: registered(label, letters, "H", "n", "log2_M", "sigma", "epsilon", "K")


def _gap(label: str, claim: str, space: Space, letters: Letters, evaluator: Any = None) -> Adversary:
    return Adversary(label, claim, space, letters, evaluator=evaluator, scale=budget, gradient=False)


_LATE = Space(
    "the window of the closed form, late", ((16.0, 64.0), (0.5, 1.0)), functools.partial(window_at, most=10000.0)
)
_MANY = Space("many labels, most agreeing hypothesis", ((16.0, 400.0), (0.0, 1.0)), _many_at)
_CERTIFIED = Space(
    "where the closed form is certified", ((0.05, 1.0), (1.0, 64.0), (0.01, 0.5), (0.0, 1.0)), _certified_at
)
_MISSES = Gauge("chances of a wrong pick", _one, drop=True)
_LOSSES = Gauge("what is lost against what is won", _won, drop=True)
_REGRET, _BALL, _FREE = "gap-regret", "gap-ball", "gap-free"


def _both(label: str, kind: Callable[[Letters], Letters]) -> tuple[Adversary, ...]:
    """Attacks on the two forms of the ball's or the free gap."""
    return (
        _gap(label, "value", WALKED, kind(_small), _given(label)),
        _gap(label, "value", PARITY, kind(_small), _given(label)),
        _gap(label, "value", LARGE, kind(_large), _given(label)),
        _gap(label, "codebook", WALKED, kind(_small), _put_in(label)),
        _gap(label, "codebook", LARGE, kind(_large), _put_in(label)),
        _gap(label, "closed-form", WINDOW_WALKED, kind(_small)),
        _gap(label, "closed-form", WINDOW, kind(_large)),
    )


ADVERSARIES = (
    _gap(_REGRET, "value", LARGE, _free(_large), _general),
    _gap(_REGRET, "heterogeneity", LARGE, _free(_large), _guaranteed),
    _gap(_REGRET, "closed-form", _LATE, _free(_large)),
    Adversary(_REGRET, "certified", _CERTIFIED, _certified, gauge=_LOSSES, scale=budget),
    *_both(_BALL, _ball),
    Adversary(_BALL, "any-codebook", WALKED, _pick(_small), gauge=_MISSES, gradient=False),
    Adversary(_BALL, "any-codebook", PARITY, _pick(_small), gauge=_MISSES, gradient=False),
    Adversary(_BALL, "random-codebook", WALKED, _pick(_small), gradient=False),
    _gap(_BALL, "root", _MANY, _ball(_large)),
    *_both(_FREE, _free),
    _gap(_FREE, "linear", _MANY, _free(_large)),
)
