"""Behaviour cloning by counting: the maximum-likelihood table.

Where a state was met, the shares of the tokens met there (states that look alike are counted together). Where none
was, the policy it started from: without a demonstration nothing is changed.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sim.training.data import Counts
from sim.training.problem import Problem, pooled

__all__ = ["count_mle"]


@jax.jit
def count_mle(problem: Problem, counts: Counts, fallback: Any = None) -> jax.Array:
    """Policy of the shape of the counts; ``fallback`` (default: ``problem.initial``) where a state was not met."""
    rest = problem.initial if fallback is None else fallback
    visits = pooled(problem, counts.visits)
    total = visits.sum(axis=-1, keepdims=True)
    return jnp.where(total > 0.0, visits / jnp.where(total > 0.0, total, 1.0), rest)
