"""Choosing from a finite class: who is best, ties at random."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["chosen", "shares_of_best"]

#: Scores this close, relative to the best, are a tie: what is equal is summed in different orders.
_TIE = 1e-9


def shares_of_best(scores: Any) -> jax.Array:
    """The law (M,) of a member of the largest score, ties at random; all tie if every score is -inf."""
    best = scores.max()
    slack = _TIE * jnp.maximum(1.0, abs(best))
    ties = jnp.where(jnp.isfinite(best), scores >= best - slack, jnp.ones_like(scores, dtype=bool))
    return ties / ties.sum()


def chosen(shares: Any, key: jax.Array) -> jax.Array:
    """A member drawn from the law ``shares`` (M,)."""
    uniform = jax.random.uniform(key, dtype=jnp.float64)
    cumulative = jnp.cumsum(shares)
    last = shares.size - 1 - jnp.argmax(shares[::-1] > 0.0)
    return jnp.minimum(jnp.sum(cumulative <= uniform), last)
