"""Random keys from identities: the same trial draws the same numbers wherever and whenever it runs."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from sim.cells import Cell

__all__ = ["BLOCK", "QUICK_COMPILE", "identity_words", "trial_key"]

#: Draws of unknown number are made in blocks of this many, each from its own key, so that padding changes nothing.
BLOCK = 64

#: The whole default sweep runs for less than a second: half the compiler's effort saves more than it costs.
QUICK_COMPILE = {"xla_backend_optimization_level": 1}


def identity_words(cells: Sequence[Cell]) -> jax.Array:
    """Digests of the cells' identities, shape (cells, 4), uint32."""
    return jnp.asarray([cell.key_words for cell in cells], dtype=jnp.uint32)


def trial_key(words: jax.Array, trial: jax.Array) -> jax.Array:
    """The key of one trial of one cell: digest words (4,) folded in, then the trial's number."""
    key = jax.random.key(0, impl="threefry2x32")
    for i in range(4):
        key = jax.random.fold_in(key, words[i])
    return jax.random.fold_in(key, trial)
