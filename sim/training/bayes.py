r"""Exact Bayes learners over a finite class, uniform prior: no learner does better on average over the prior.

Hypothesis i is an expert ``policies[i]`` and a reward ``verifiers[i]``. Expert traces have likelihood
:math:`\prod\pi_i(a|s)^{\text{count}}`. Labels of base traces, flipped a trace at a time with known probability
:math:`\eta`, have :math:`\prod(1-\eta)` or :math:`\eta` by trace, and 0 where a trace's labels are neither those of
hypothesis i nor their reverse; without noise the posterior is uniform on the consistent members.

A fresh trace tells nothing of i, so the best policy maximises the posterior mean of the reward, :math:`\sum_iP_ir_i`,
by backward induction. Hypotheses share prompts and transitions, rewards are bi-level, and all of a state is seen.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sim.training.class_mle import log_likelihoods
from sim.training.data import Counts, Data
from sim.training.problem import Problem

__all__ = ["best_policy", "posterior_of_labels", "posterior_of_traces"]


@jax.jit
def posterior_of_traces(policies: Any, counts: Counts) -> jax.Array:
    """P(i | expert traces), (M,). Uniform where the traces are impossible for all."""
    return _normalised(log_likelihoods(policies, counts))


@jax.jit
def posterior_of_labels(verifiers: Any, data: Data, eta: Any) -> jax.Array:
    """P(i | labelled base traces), (M,), bi-level ``verifiers`` of 0s and 1s."""
    steps = jnp.broadcast_to(jnp.arange(data.mask.shape[1]), data.mask.shape)

    def likelihood(table: Any) -> Any:
        said = table[data.states, data.tokens] if table.ndim == 2 else table[steps, data.states, data.tokens]
        wrong = (data.mask * abs(said - data.rewards)).sum(axis=1)
        length = data.mask.sum(axis=1)
        as_given = jnp.where(wrong == 0.0, jnp.log1p(-eta), jnp.where(wrong == length, jnp.log(eta), -jnp.inf))
        return jnp.where(data.rows > 0.0, as_given, 0.0).sum()

    return _normalised(jax.lax.map(likelihood, verifiers))


def _normalised(logs: Any) -> jax.Array:
    top = logs.max()
    weights = jnp.where(jnp.isfinite(top), jnp.exp(logs - jnp.where(jnp.isfinite(top), top, 0.0)), 1.0)
    return jnp.asarray(weights / weights.sum())


@jax.jit
def best_policy(problem: Problem, posterior: Any) -> jax.Array:
    """The policy (steps, S, A) of largest posterior mean return; the first of the tokens that tie."""
    mdp = problem.mdp
    shape = (mdp.steps, mdp.states, mdp.tokens)
    reward = jnp.broadcast_to(jnp.tensordot(posterior, problem.verifiers, axes=1), shape)
    axes = 2 if mdp.is_deterministic else 3

    def step(after: Any, h: Any) -> tuple[Any, Any]:
        kernel = mdp.transitions if mdp.transitions.ndim == axes else mdp.transitions[h]
        expected = after[kernel] if mdp.is_deterministic else kernel @ after
        gain = jnp.where(h < mdp.horizon, reward[h] + expected, 0.0)
        return gain.max(axis=1), jax.nn.one_hot(gain.argmax(axis=1), mdp.tokens, dtype=jnp.float64)

    _, policy = jax.lax.scan(step, jnp.zeros(mdp.states), jnp.arange(mdp.steps), reverse=True)
    return jnp.asarray(policy)
