r"""Attacks on ``vf-lower``, ``vf-lower-truncated`` and ``vf-upper``.

The best verifier-free learner of a codebook has regret :math:`\varepsilon\sigma-\rho E|w|`, w the posterior mean of the
sign on a fresh prompt. It is computed two ways:

* *random codebook, two returns*: with s_j the sign and k_j the agreements of hypothesis j,
  :math:`E|w|=M^{-1}E|\sum_j s_jL(k_j)|` over M independent steps in :math:`\mathbb Z^{n+1}`, their law by convolution;
* *any symmetric law, and the parity codebook*: over all data sets, n and M small.

Where M is astronomically large one particular learner stands for the best: the maximiser of the likelihood, which then
plays the largest return. Its regret is a formula, and no smaller than the best learner's, so the ratio reported is at
most the true one.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["ADVERSARIES", "mean_weight", "signs", "walk_weight"]

Floats = NDArray[np.float64]

#: (n, M) of the random codebooks whose walk is enumerated.
WALKS = ((1, 2), (1, 8), (1, 32), (1, 128), (2, 2), (2, 4), (2, 8), (2, 20), (3, 2), (3, 4), (3, 8), (4, 2), (4, 5))
#: (n, k) of the parity codebooks, (n, M) of the random ones under any law, that are enumerated data set by data set.
PARITIES = ((1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (3, 2), (1, 3), (2, 3))
LAWS = ((1, 2), (2, 2), (3, 2), (1, 3), (2, 3), (1, 4))


@functools.cache
def _walk(n: int, M: int) -> tuple[Floats, Floats]:
    """Net signs by number of agreements after M steps, shape (states, n + 1), and their probabilities."""
    law = np.zeros((2 * M + 1,) * (n + 1))
    law[(M,) * (n + 1)] = 1.0
    for _ in range(M):
        moved = np.zeros_like(law)
        for k, step in itertools.product(range(n + 1), (-1, 1)):
            moved += math.comb(n, k) / 2.0 ** (n + 1) * np.roll(law, step, axis=k)
        law = moved
    where = np.argwhere(law > 0.0)
    return (where - M).astype(float), law[tuple(where.T)]


def walk_weight(n: int, M: int, epsilon: float) -> float:
    """E|w| of the random codebook with returns mu +- sigma, exactly."""
    states, chances = _walk(n, M)
    k = np.arange(n + 1)
    likelihood = (1.0 + epsilon) ** k * (1.0 - epsilon) ** (n - k)
    return float(chances @ np.abs(states @ likelihood)) / M


@functools.cache
def signs(k: int, parity: bool) -> Floats:
    """Signs of the hypotheses on every prompt, shape (prompts, M): 2^k parities, or k independent signs."""
    bits = np.array(list(itertools.product([0, 1], repeat=k)))
    return np.asarray(1.0 - 2.0 * (bits @ bits.T % 2 if parity else bits))


def mean_weight(sign: Floats, f: Floats, base: Floats, n: int, epsilon: float) -> float:
    """E|w| over every data set of n (prompt, return) pairs: M^-1 E_base E_x |sum_j s_j(x) L_j|."""
    prompts, M = sign.shape
    once = (1.0 + epsilon * sign[:, None, :] * f[None, :, None]).reshape(-1, M)
    law = np.tile(base, prompts) / prompts
    likelihoods, chances = np.ones((1, M)), np.ones(1)
    for _ in range(n):
        likelihoods = (likelihoods[:, None, :] * once[None, :, :]).reshape(-1, M)
        chances = np.outer(chances, law).reshape(-1)
    weight = float(chances @ np.abs(likelihoods @ sign.T).mean(axis=1))
    return float(weight / M)


ADVERSARIES = ()
