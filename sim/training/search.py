r"""What searching among base traces with a verifier comes to, exactly.

A density :math:`w_x(\hat T)` with respect to the base, a function of the step at which the verifier declares a trace
solved, has a law of the true solve time: one pass backward for :math:`E_b[w(\hat T)|s_h]` where truth came first, one
forward for the masses that neither, or the verifier only, has declared (:func:`searched_law`). Cost O(steps S A F).

:math:`|\hat R-R|` counts the steps at which exactly one of the two has declared (:func:`verifier_error`).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sim.ball_expert import expert_policy
from sim.dynamic_programming import solve_time_law
from sim.training.problem import Problem

__all__ = ["density_policy", "learned_law", "searched_law", "verifier_error"]


def learned_law(problem: Problem, verifier: Any) -> jax.Array:
    """Law (steps + 1, X) of the step at which ``verifier`` declares base traces solved."""
    return jnp.asarray(solve_time_law(problem.with_verifier(verifier), problem.base) @ problem.shares)


def _at(table: Any, h: Any, axes: int) -> Any:
    return table if table.ndim == axes else table[h]


def _matrix(problem: Problem, weights: Any, h: Any) -> jax.Array:
    """(S, S): sum over tokens of ``weights`` (S, A) times the chance of the next state."""
    kernel = problem.mdp.transitions
    if not problem.mdp.is_deterministic:
        return jnp.einsum("sa,sat->st", weights, _at(kernel, h, 3))
    states = weights.shape[0]
    return jnp.zeros((states, states)).at[jnp.arange(states)[:, None], _at(kernel, h, 2)].add(weights)


def _weights(problem: Problem, verifier: Any, h: Any) -> tuple[Any, Any, Any, Any]:
    """Base masses of tokens declared by neither, by truth only, by the verifier only, by both; (S, A) each."""
    base, true, said = (_at(x, h, 2) for x in (problem.base, problem.mdp.rewards, verifier))
    return base * (1 - true) * (1 - said), base * true * (1 - said), base * (1 - true) * said, base * true * said


@jax.jit
def searched_law(problem: Problem, verifier: Any, density: Any) -> jax.Array:
    """Law (steps + 1, X) of the true solve time under the base reweighted by ``density`` (steps + 1, X).

    Rows of ``density``: declared at 1..steps and never.
    """
    mdp, owned = problem.mdp, density[:, problem.prompt]  # (steps + 1, F)
    count = owned.shape[1]

    def expected(after: Any, h: Any) -> tuple[Any, Any]:
        neither, true, said, both = _weights(problem, verifier, h)
        found = (said + both).sum(axis=1)[:, None] * owned[h] + _matrix(problem, neither + true, h) @ after
        here = jnp.where(h < mdp.horizon, found, jnp.broadcast_to(owned[-1], found.shape))
        return here, after

    last = jnp.broadcast_to(owned[-1], (mdp.states, count))
    _, to_go = jax.lax.scan(expected, last, jnp.arange(mdp.steps), reverse=True)  # entry h: after step h

    def forward(flow: tuple[Any, Any], at: tuple[Any, Any]) -> tuple[tuple[Any, Any], Any]:
        unsaid, said_before = flow  # masses (S, F) truth has not declared; the second weighted by the density
        h, after = at
        neither, true, said, both = _weights(problem, verifier, h)
        solved = (unsaid * (_matrix(problem, true, h) @ after)).sum(axis=0)
        solved += owned[h] * (both.sum(axis=1) @ unsaid) + (true + both).sum(axis=1) @ said_before
        moved = (
            _matrix(problem, neither, h).T @ unsaid,
            _matrix(problem, neither + said, h).T @ said_before + owned[h] * (_matrix(problem, said, h).T @ unsaid),
        )
        live = h < mdp.horizon
        kept = (jnp.where(live, new, old) for new, old in zip(moved, flow, strict=True))
        return (*kept,), jnp.where(live, solved, 0.0)  # type: ignore[return-value]

    start = jnp.zeros((mdp.states, count)).at[mdp.prompts, jnp.arange(count)].set(1.0)
    steps = jnp.arange(mdp.steps)
    (unsaid, said_before), solved = jax.lax.scan(forward, (start, jnp.zeros_like(start)), (steps, to_go))
    never = said_before.sum(axis=0) + owned[-1] * unsaid.sum(axis=0)
    return jnp.asarray(jnp.concatenate([solved, never[None]]) @ problem.shares)


@jax.jit
def verifier_error(problem: Problem, verifier: Any) -> jax.Array:
    """E_x E_b |R_hat - R|, tokens."""
    mdp = problem.mdp

    def forward(flow: Any, h: Any) -> tuple[Any, Any]:
        neither, true, said, _ = _weights(problem, verifier, h)
        first = _matrix(problem, neither, h).T @ flow[0]
        only_true = _matrix(problem, true, h).T @ flow[0] + _matrix(problem, neither + true, h).T @ flow[1]
        only_said = _matrix(problem, said, h).T @ flow[0] + _matrix(problem, neither + said, h).T @ flow[2]
        return jnp.stack([first, only_true, only_said]), jnp.where(h < mdp.horizon, (only_true + only_said).sum(), 0.0)

    start = jnp.zeros((3, mdp.states)).at[0, mdp.prompts].add(mdp.weights)
    _, apart = jax.lax.scan(forward, start, jnp.arange(mdp.steps))
    return jnp.asarray(apart.sum())


def density_policy(problem: Problem, verifier: Any, density: Any) -> NDArray[np.float64]:
    """The policy (steps, S, A) whose traces have this density: what the search plays, token by token. On the host.

    Raises ``ValueError`` if transitions are random, or two first states meet while the verifier has not declared.
    """
    owned = np.asarray(density)[:, problem.prompt]
    return expert_policy(problem.with_verifier(np.asarray(verifier)), problem.base, owned)
