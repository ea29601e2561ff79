r"""Best of N: of N base traces of a prompt keep one of the largest learnt return, ties at random.

Its density with respect to the base is a function of the step declared,
:math:`[(1-A)^N-(1-A-p)^N]/p`, where p is the mass of that step and A that of earlier ones: exact, nothing is sampled
(:func:`best_of_n`). :func:`sampled_best_of_n` does it trace by trace. ``vb-upper-best-of-n`` holds with the error of
whatever verifier is searched against.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sim.rollout import Outcomes, rollout_traces
from sim.training.problem import Problem
from sim.training.search import learned_law, searched_law

__all__ = ["best_of_n", "best_of_n_density", "sampled_best_of_n"]


def best_of_n_density(law: Any, N: Any) -> jax.Array:
    """Density (steps + 1, X) with respect to the base, of the step declared; ``law`` is that step's."""
    reached = jnp.minimum(jnp.cumsum(law, axis=0), 1.0)
    reached = reached.at[-1].set(1.0)
    none = jnp.exp(N * jnp.log1p(-reached))
    kept = jnp.concatenate([jnp.ones_like(none[:1]), none[:-1]]) - none
    density = jnp.where(law > 0.0, kept / jnp.where(law > 0.0, law, 1.0), 0.0)
    return jnp.asarray(density / (law * density).sum(axis=0))


@jax.jit
def best_of_n(problem: Problem, verifier: Any, N: Any) -> jax.Array:
    """Law (steps + 1, X) of the solve time."""
    law: jax.Array = searched_law(problem, verifier, best_of_n_density(learned_law(problem, verifier), N))
    return law


def sampled_best_of_n(problem: Problem, verifier: Any, key: jax.Array, N: int, first: int, count: int) -> Outcomes:
    """``count`` times the best of N traces, all from first state number ``first`` and a verifier of 0s and 1s."""
    draws = jnp.arange(count * N, dtype=jnp.int32).reshape(count, N)
    found: Outcomes = _sampled(problem, verifier, key, draws, first)
    return found


@jax.jit
def _sampled(problem: Problem, verifier: Any, key: jax.Array, draws: Any, first: Any) -> Outcomes:
    mdp, rows = problem.mdp, jnp.arange(len(draws))
    outcomes, traces = rollout_traces(mdp, problem.base, key, draws.reshape(-1), first)
    steps = jnp.arange(mdp.steps)
    place = (jnp.maximum(traces.states, 0), jnp.maximum(traces.tokens, 0))
    said = verifier[place] if verifier.ndim == 2 else verifier[(jnp.broadcast_to(steps, place[0].shape), *place)]
    declared = (said >= 0.5) & (traces.tokens >= 0)
    time = jnp.where(declared.any(axis=1), jnp.argmax(declared, axis=1), mdp.steps).reshape(draws.shape)
    coins = jax.random.uniform(jax.random.fold_in(key, draws.size), draws.shape, dtype=jnp.float64)
    best = jnp.argmin(time + coins, axis=1)  # steps are whole numbers: coins decide ties only
    return Outcomes(*(x.reshape(draws.shape)[rows, best] for x in outcomes))
