r"""Training data: traces step by step, and the counts that most learners need of them.

Row i of a data set draws from ``fold_in(key, i)``: it has the same bits whatever the padding ``size``. Rows from n on
and steps from H + 1 on are masked, so that n and H are data.

Counts (S, A) or (steps, S, A): how often a token was met, and how often it was labelled as solved. In place of them
:func:`exact_counts` gives their expectations, which is what infinitely many traces come to.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sim.dynamic_programming import occupancy
from sim.mdp import TokenMDP
from sim.rollout import rollout_traces
from sim.training.problem import Problem

__all__ = ["Counts", "Data", "draw_base", "draw_expert", "draw_traces", "exact_counts", "flipped", "kept", "tally"]


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Traces (size, steps) with labels; entries that are masked mean nothing and count nowhere."""

    prompts: Any  # (size,) 0..X-1
    states: Any
    tokens: Any
    rewards: Any  # float64, 0 or 1; flipped where labels are noisy
    mask: Any  # float64, 1 where there is a token

    @property
    def rows(self) -> Any:
        """1 for rows that are there, (size,)."""
        return self.mask[:, 0]

    @property
    def solved(self) -> Any:
        """1 for traces labelled as solved at their end, (size,)."""
        return (self.mask * self.rewards).max(axis=1)


jax.tree_util.register_dataclass(Data, data_fields=[f.name for f in dataclasses.fields(Data)], meta_fields=[])


class Counts(NamedTuple):
    """How often tokens were met and how often labelled 1; (S, A) or (steps, S, A)."""

    visits: Any
    rewarded: Any


def draw_traces(problem: Problem, mdp: TokenMDP, policy: Any, key: jax.Array, n: Any, size: int) -> Data:
    """The first ``n`` of ``size`` traces of ``policy`` on ``mdp``, which is the problem's but for weights."""
    outcomes, traces = rollout_traces(mdp, policy, key, jnp.arange(size, dtype=jnp.int32))
    there = (traces.tokens >= 0) & (jnp.arange(size) < n)[:, None]
    return Data(
        prompts=jnp.asarray(problem.prompt)[outcomes.prompt],
        states=jnp.maximum(traces.states, 0),
        tokens=jnp.maximum(traces.tokens, 0),
        rewards=jnp.where(there, traces.rewards, 0).astype(jnp.float64),
        mask=there.astype(jnp.float64),
    )


def draw_expert(problem: Problem, key: jax.Array, n: Any, size: int) -> Data:
    """``n`` traces of the expert. Their rewards are there to be looked at; verifier-free learners do not."""
    mdp = dataclasses.replace(problem.mdp, weights=problem.expert_weights)
    return draw_traces(problem, mdp, problem.expert, key, n, size)


def draw_base(problem: Problem, key: jax.Array, n: Any, size: int, eta: Any = 0.0) -> Data:
    """``n`` labelled traces of the base policy, labels flipped with probability ``eta``."""
    traces, flips = jax.random.split(key)
    return flipped(draw_traces(problem, problem.mdp, problem.base, traces, n, size), flips, eta)


def flipped(data: Data, key: jax.Array, eta: Any) -> Data:
    """The labels of a trace are flipped together, with probability ``eta``: one coin a trace."""
    rows = jnp.arange(data.mask.shape[0], dtype=jnp.int32)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)
    coins = jax.vmap(lambda k: jax.random.uniform(k, dtype=jnp.float64))(keys) < eta
    return dataclasses.replace(data, rewards=jnp.where(coins[:, None], data.mask - data.rewards, data.rewards))


def kept(data: Data, rows: Any) -> Data:
    """Only the rows where ``rows`` (size,) is 1."""
    return dataclasses.replace(data, mask=data.mask * rows[:, None])


def tally(data: Data, like: Any) -> Counts:
    """Counts by step if ``like``, a policy or verifier, is (steps, S, A), over all steps if it is (S, A)."""
    steps = jnp.broadcast_to(jnp.arange(data.mask.shape[1]), data.mask.shape)
    place = (data.states, data.tokens) if like.ndim == 2 else (steps, data.states, data.tokens)
    empty = jnp.zeros(like.shape)
    return Counts(empty.at[place].add(data.mask), empty.at[place].add(data.mask * data.rewards))


def exact_counts(mdp: TokenMDP, policy: Any, like: Any) -> Counts:
    """What :func:`tally` expects of one trace of ``policy``."""
    visits = occupancy(mdp, policy)[:, :, None] * policy
    rewarded = visits * mdp.rewards
    return Counts(visits, rewarded) if like.ndim == 3 else Counts(visits.sum(axis=0), rewarded.sum(axis=0))
