r"""The best wrong hypotheses in order, for any class size.

M - 1 wrong hypotheses carry independent uniforms U_j, small is good (U is the survival function of the agreement
count). Their order statistics come one after the other by Rényi's representation,

.. math:: -\log(1-U_{(m)})=\sum_{j\le m}E_j/(M-j),\qquad E_j\sim\mathrm{Exp}(1),

so that the best few of :math:`2^{4096}` cost the same as the best few of 16. Written for :math:`V=(M-1)U`, a rate-one
Poisson process as M grows; above :math:`2^{50}` its correction is below rounding and the limit is used.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sim.tasks.keys import BLOCK

__all__ = ["LARGEST_SPACED", "block_of_arrivals", "reciprocal_of_survivors"]

#: Class sizes above this are treated as infinite in the spacings (relative effect below 1e-13).
LARGEST_SPACED = 2.0**50


def block_of_arrivals(
    key: jax.Array, block: jax.Array | int, total: jax.Array, others: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Order statistics ``BLOCK*block .. BLOCK*(block+1)-1`` of V, shape (BLOCK,), and the running total of spacings.

    ``total`` is the running total before this block, ``others`` = min(M - 1, LARGEST_SPACED). Entries beyond M - 1
    are +inf.
    """
    rank = BLOCK * block + jnp.arange(BLOCK, dtype=jnp.float64)
    left = others - rank
    spacings = jax.random.exponential(jax.random.fold_in(key, block), (BLOCK,), dtype=jnp.float64)
    exists = left > 0.5
    sums = total + jnp.cumsum(jnp.where(exists, spacings * (others / jnp.where(exists, left, 1.0)), 0.0))
    arrivals = -jnp.expm1(-sums / others) * others
    return jnp.where(exists, arrivals, jnp.inf), sums[-1]


def reciprocal_of_survivors(key: jax.Array, others: jax.Array, log_others: jax.Array, log_q: jax.Array) -> jax.Array:
    """1/(1 + S), S ~ Bin(M - 1, q): chance that a uniform draw among the truth and S survivors is the truth.

    The first ``BLOCK`` order statistics are compared with q; beyond that S is at least ``BLOCK`` and its remainder is
    drawn from the normal law with the binomial's mean and variance (relative effect on the result below 1e-4 of it).
    """
    arrival_key, normal_key = jax.random.split(key)
    arrivals, _ = block_of_arrivals(arrival_key, 0, jnp.float64(0.0), others)
    threshold = log_others + log_q
    seen = jnp.sum(jnp.log(arrivals) <= threshold).astype(jnp.float64)
    last = arrivals[-1] / others
    share = jnp.clip((jnp.exp(log_q) - last) / jnp.maximum(1.0 - last, 1e-300), 0.0, 1.0)
    # For q far below 2^-53 of a huge class, work with the expected number beyond the last arrival directly.
    remaining = jnp.maximum(others - BLOCK, 0.0) * share
    expected = jnp.where(
        others < LARGEST_SPACED, remaining, jnp.maximum(jnp.exp(jnp.minimum(threshold, 600.0)) - arrivals[-1], 0.0)
    )
    spread = jnp.sqrt(expected * jnp.where(others < LARGEST_SPACED, 1.0 - share, -jnp.expm1(log_q)))
    beyond = jnp.maximum(expected + spread * jax.random.normal(normal_key, dtype=jnp.float64), 0.0)
    return 1.0 / (1.0 + seen + jnp.where(seen >= BLOCK, beyond, 0.0))
