"""Supervised fine-tuning: cross-entropy of the traces' tokens under a softmax policy, linear in features.

It starts from the initial policy and is fitted by gradient ascent; with indicators as features its optimum is the
table of :mod:`~sim.training.count_mle` wherever that is positive.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sim.training.ascent import maximised
from sim.training.data import Counts
from sim.training.problem import Problem, Settings, policy_of

__all__ = ["softmax_sft"]


@jax.jit
def softmax_sft(problem: Problem, counts: Counts, settings: Settings) -> jax.Array:
    """Policy of the shape of ``problem.initial``, which the counts must have too."""
    tokens = jnp.maximum(counts.visits.sum(), 1.0)
    met = counts.visits > 0.0

    def likelihood(parameters: Any) -> Any:
        policy = policy_of(problem, parameters)
        possible = met & (policy > 0.0)
        return jnp.where(possible, counts.visits * jnp.log(jnp.where(possible, policy, 1.0)), 0.0).sum() / tokens

    start = jnp.zeros(problem.features.shape[-1])
    return policy_of(problem, maximised(likelihood, start, settings))
