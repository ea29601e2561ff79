r"""Behaviour cloning over a finite class: the policy under which the traces are likeliest, ties at random.

The likelihood of traces is :math:`\prod\pi(a|s)^{\text{count}}`, transitions being the same for all. ``vf-upper``
speaks of it where the expert is a member.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sim.training.data import Counts
from sim.training.finite_class import chosen, shares_of_best

__all__ = ["class_mle", "log_likelihoods", "mle_shares"]


def log_likelihoods(policies: Any, counts: Counts) -> jax.Array:
    """Of each member, (M,), nats; -inf where it never does what was seen."""
    met = counts.visits > 0.0
    terms = jnp.where(met, counts.visits * jnp.log(jnp.where(met, policies, 1.0)), 0.0)
    return terms.reshape(len(policies), -1).sum(axis=1)


@jax.jit
def mle_shares(policies: Any, counts: Counts) -> jax.Array:
    """The law (M,) of the member chosen, ties at random."""
    return shares_of_best(log_likelihoods(policies, counts))


@jax.jit
def class_mle(policies: Any, counts: Counts, key: jax.Array) -> jax.Array:
    """The policy chosen."""
    policy: jax.Array = policies[chosen(mle_shares(policies, counts), key)]
    return policy
