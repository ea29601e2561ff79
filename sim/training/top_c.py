"""Top-c: the base policy given the top mass c of the learnt return, prompt by prompt, ties at random.

``vb-upper-top-c`` holds with the error of whatever verifier is searched against.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sim.training.problem import Problem
from sim.training.search import learned_law, searched_law

__all__ = ["top_c", "top_c_density"]


def top_c_density(law: Any, c: Any) -> jax.Array:
    """Density (steps + 1, X) with respect to the base, of the step declared; ``law`` is that step's."""
    above = jnp.cumsum(law, axis=0) - law
    taken = jnp.clip(c - above, 0.0, law)
    density = jnp.where(law > 0.0, taken / jnp.where(law > 0.0, law, 1.0), 0.0)
    return jnp.asarray(density / (law * density).sum(axis=0))


@jax.jit
def top_c(problem: Problem, verifier: Any, c: Any) -> jax.Array:
    """Law (steps + 1, X) of the solve time."""
    law: jax.Array = searched_law(problem, verifier, top_c_density(learned_law(problem, verifier), c))
    return law
