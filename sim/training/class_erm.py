"""A verifier from a finite class by empirical risk: the member that disagrees with fewest labels, ties at random.

Every step of a trace is a label. Without noise the truth disagrees with none, and this is any consistent member
(``verifier-erm``). Where returns are 0 or H, the labels of a trace are equal, flipped together, and each member is
charged H or nothing: the traces are counted (``verifier-noisy``).
"""

from __future__ import annotations

from typing import Any

import jax

from sim.training.data import Counts, Data
from sim.training.finite_class import chosen, shares_of_best

__all__ = ["class_erm", "disagreements", "disagreements_of_labels", "erm_shares"]


def disagreements(verifiers: Any, counts: Counts) -> jax.Array:
    """Number of labels each member has wrong, (M,)."""
    wrong = (1.0 - verifiers) * counts.rewarded + verifiers * (counts.visits - counts.rewarded)
    total: jax.Array = wrong.reshape(len(verifiers), -1).sum(axis=1)
    return total


def disagreements_of_labels(said: Any, data: Data) -> jax.Array:
    """The same where members are no tables on one process, from what each says of the traces, (M, size, steps)."""
    total: jax.Array = (data.mask * abs(said - data.rewards)).sum(axis=(1, 2))
    return total


@jax.jit
def erm_shares(verifiers: Any, counts: Counts) -> jax.Array:
    """The law (M,) of the member chosen, ties at random."""
    return shares_of_best(-disagreements(verifiers, counts))


@jax.jit
def class_erm(verifiers: Any, counts: Counts, key: jax.Array) -> jax.Array:
    """The verifier chosen."""
    table: jax.Array = verifiers[chosen(erm_shares(verifiers, counts), key)]
    return table
