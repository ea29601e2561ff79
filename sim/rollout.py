r"""Monte-Carlo on a :class:`~sim.mdp.TokenMDP` from explicit keys.

Trace number d (below 2^32) of a key draws from ``fold_in(key, d)``, and each block of its steps from a further
``fold_in``: a trace has the same bits alone or in company, and a longer horizon continues it.

Tokens come by inverting the cumulative probabilities with 53-bit uniforms: a token of probability 3e-8 is drawn as
often as it should be, one of probability 0 never, and events below 1e-16 do not occur. Where only T is wanted,
:func:`draw_solve_times` inverts its exact law instead, with one uniform a trace.

Call inside ``jax.enable_x64(True)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sim.mdp import TokenMDP, require_float64
from sim.tasks.keys import BLOCK

__all__ = ["Outcomes", "Traces", "draw_solve_times", "rollout", "rollout_traces"]

#: Traces simulated together.
CHUNK = 1024
#: The number of no block of steps.
_NO_BLOCK = 2**32 - 1


class Outcomes(NamedTuple):
    """What a trace came to, (B,) each."""

    prompt: jax.Array  # number of the prompt, 0..X-1
    solve_time: jax.Array  # T, and 0 if it never solved
    returned: jax.Array  # R, tokens


class Traces(NamedTuple):
    """Traces step by step, (B, steps) each; -1 after H."""

    states: jax.Array
    tokens: jax.Array
    rewards: jax.Array


class _Tables(NamedTuple):
    """Cumulative probabilities, 2 from the last possible entry on: what a uniform number never reaches."""

    prompts: Any  # (X,)
    tokens: Any  # (S, A) or (steps, S, A)
    successors: Any  # like transitions, if they are laws


def _cumulative(masses: Any) -> jax.Array:
    size = masses.shape[-1]
    last = size - 1 - jnp.argmax(masses[..., ::-1] > 0.0, axis=-1)
    return jnp.where(jnp.arange(size) < last[..., None], jnp.cumsum(masses, axis=-1), 2.0)


def _tables(mdp: TokenMDP, policy: Any) -> _Tables:
    successors = None if mdp.is_deterministic else _cumulative(mdp.transitions)
    return _Tables(_cumulative(mdp.weights), _cumulative(policy), successors)


def _invert(cumulative: Any, uniform: Any) -> Any:
    """The entry that ``uniform`` (B,) falls into, of each row of ``cumulative`` (B, m)."""
    return jnp.sum(cumulative <= uniform[:, None], axis=1, dtype=jnp.int32)


def _row(table: Any, axes: int, h: Any, *index: Any) -> Any:
    return table[index] if table.ndim == axes else table[(h, *index)]


def _uniforms(keys: Any, block: Any, draws: int) -> Any:
    """(draws, BLOCK, B) numbers in [0, 1) for one block of steps."""

    def one(key: Any) -> Any:
        return jax.random.uniform(jax.random.fold_in(key, block), (draws, BLOCK), dtype=jnp.float64)

    return jax.vmap(one, out_axes=2)(keys)


def _move(mdp: TokenMDP, tables: _Tables, h: Any, state: Any, uniforms: Any) -> tuple[Any, Any, Any]:
    """Token, reward and next state of every trace at step h, counted from 0."""
    token = _invert(_row(tables.tokens, 2, h, state), uniforms[0])
    reward = _row(mdp.rewards, 2, h, state, token)
    if mdp.is_deterministic:
        return token, reward, _row(mdp.transitions, 2, h, state, token)
    return token, reward, _invert(_row(tables.successors, 3, h, state, token), uniforms[1])


def _chosen(tables: _Tables, keys: Any, prompt: Any) -> Any:
    """Number of the prompt of every trace: as given, drawn where it is negative."""
    if len(tables.prompts) == 1:
        return jnp.zeros_like(prompt)
    drawn = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 0), dtype=jnp.float64))(keys)
    return jnp.where(prompt < 0, jnp.searchsorted(tables.prompts, drawn, side="right").astype(jnp.int32), prompt)


def _in_chunks(run: Callable[[Any, Any], Any], key: Any, draws: Any, prompt: Any) -> Any:
    """``run(keys, prompts)`` on all ``draws``, ``CHUNK`` at a time: what a chunk needs stays in the cache."""
    count = len(draws)
    size = min(CHUNK, count)
    chunks = -(-count // size)
    prompts = jnp.broadcast_to(jnp.asarray(-1 if prompt is None else prompt, dtype=jnp.int32), (count,))
    padded = [jnp.pad(x, (0, chunks * size - count)).reshape(chunks, size) for x in (jnp.asarray(draws), prompts)]

    def one(chunk: Any) -> Any:
        numbers, given = chunk
        return run(jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, numbers), given)

    found = jax.lax.map(one, tuple(padded))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], found)


@jax.jit
def rollout(mdp: TokenMDP, policy: Any, key: jax.Array, draws: Any, prompt: Any = None) -> Outcomes:
    """Traces numbered ``draws`` (B,) under ``policy``; ``prompt``, a number or (B,) of them, is drawn unless given."""
    require_float64()
    tables = _tables(mdp, policy)

    def run(keys: Any, given: Any) -> Outcomes:
        chosen = _chosen(tables, keys, given)

        def block(number: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            uniforms = _uniforms(keys, number + 1, 1 if mdp.is_deterministic else 2)

            def step(i: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
                state, solved = carry
                h = number * BLOCK + i
                _, reward, after = _move(mdp, tables, h, state, uniforms[:, i])
                return after, jnp.where((solved == 0) & (reward > 0.0), h + 1, solved)

            left = jnp.minimum(BLOCK, mdp.horizon - number * BLOCK)
            moved: tuple[Any, Any] = jax.lax.fori_loop(jnp.int32(0), left, step, carry)
            return moved

        blocks = (mdp.horizon + BLOCK - 1) // BLOCK
        start = (jnp.asarray(mdp.prompts)[chosen], jnp.zeros_like(chosen))
        return _outcomes(mdp, chosen, jax.lax.fori_loop(jnp.int32(0), blocks, block, start)[1])

    found: Outcomes = _in_chunks(run, key, draws, prompt)
    return found


@jax.jit
def rollout_traces(
    mdp: TokenMDP, policy: Any, key: jax.Array, draws: Any, prompt: Any = None
) -> tuple[Outcomes, Traces]:
    """The traces of :func:`rollout`, the same ones, with every state, token and reward."""
    require_float64()
    tables = _tables(mdp, policy)

    def run(keys: Any, given: Any) -> tuple[Outcomes, Traces]:
        chosen = _chosen(tables, keys, given)

        def block(carry: Any, number: Any) -> tuple[Any, Any]:
            def step(carry: tuple[Any, Any], at: tuple[Any, Any]) -> tuple[Any, Any]:
                state, solved = carry
                h, uniforms = at
                token, reward, after = _move(mdp, tables, jnp.minimum(h, mdp.steps - 1), state, uniforms)
                live = h < mdp.horizon
                solved = jnp.where(live & (solved == 0) & (reward > 0.0), h + 1, solved)
                seen = jnp.where(live, jnp.stack([state, token, reward.astype(jnp.int32)]), -1)
                return (after, solved), seen

            uniforms = _uniforms(keys, number + 1, 1 if mdp.is_deterministic else 2).swapaxes(0, 1)
            steps = number * BLOCK + jnp.arange(BLOCK, dtype=jnp.int32)
            return jax.lax.scan(step, carry, (steps, uniforms))

        start = (jnp.asarray(mdp.prompts)[chosen], jnp.zeros_like(chosen))
        blocks = jnp.arange(-(-mdp.steps // BLOCK), dtype=jnp.int32)
        (_, solved), seen = jax.lax.scan(block, start, blocks)
        seen = seen.reshape(-1, *seen.shape[2:])[: mdp.steps]  # (steps, 3, B)
        return _outcomes(mdp, chosen, solved), Traces(*(seen[:, i].T for i in range(3)))

    found: tuple[Outcomes, Traces] = _in_chunks(run, key, draws, prompt)
    return found


@jax.jit
def draw_solve_times(mdp: TokenMDP, law: Any, key: jax.Array, draws: Any, prompt: Any = None) -> Outcomes:
    """Outcomes of traces numbered ``draws`` from the exact ``law`` (steps + 1, X) of their solve time.

    The law is that of :func:`rollout`, the numbers drawn are others.
    """
    require_float64()
    table = _cumulative(law.T)
    tables = _Tables(_cumulative(jnp.asarray(mdp.weights)), None, None)

    def run(keys: Any, given: Any) -> Outcomes:
        chosen = _chosen(tables, keys, given)
        own = jax.vmap(lambda key: jax.random.fold_in(key, _NO_BLOCK))(keys)
        uniform = jax.vmap(lambda key: jax.random.uniform(key, dtype=jnp.float64))(own)
        row = _search(table, chosen, uniform)
        return _outcomes(mdp, chosen, jnp.where(row < mdp.steps, row + 1, 0))

    found: Outcomes = _in_chunks(run, key, draws, prompt)
    return found


def _outcomes(mdp: TokenMDP, prompt: Any, solved: Any) -> Outcomes:
    return Outcomes(prompt, solved, jnp.where(solved > 0, mdp.horizon - solved + 1, 0))


def _search(table: Any, rows: Any, uniform: Any) -> Any:
    """How many entries of each row are <= its number: bisection, all rows at once."""
    size = table.shape[1]

    def halve(_: Any, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = ends
        middle = (low + high) // 2
        below = table[rows, middle] <= uniform
        return jnp.where(below, middle + 1, low), jnp.where(below, high, middle)

    ends = (jnp.zeros_like(rows), jnp.full_like(rows, size - 1))  # the last entry is never <=
    return jax.lax.fori_loop(0, size.bit_length(), halve, ends)[0]
