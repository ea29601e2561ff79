r"""Policy gradient from rollouts (REINFORCE), the sampled form of :mod:`~sim.training.policy_gradient`.

Every step draws traces :math:`\tau` of the policy as it is and moves along the mean of
:math:`(g(\tau)-\bar g)\nabla\log\pi(\tau)`, where :math:`\bar g` is the mean of the other traces and
:math:`g=\hat R-2\lambda\,\pi/\pi_b` for the :math:`\chi^2` penalty, :math:`\hat R-\lambda\log(\pi/\pi_b)` for KL.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from sim.training.ascent import ascend
from sim.training.data import Data, draw_traces
from sim.training.policy_gradient import Divergence, first_parameters
from sim.training.problem import Problem, Settings, policy_of

__all__ = ["log_ratios", "reinforce"]


def log_ratios(data: Data, policy: Any, base: Any) -> jax.Array:
    """log pi/pi_b of every trace, (size,), for policies that may emit its tokens."""
    terms = _entries(data, _logs(policy)) - _entries(data, _logs(base))
    return jnp.asarray((data.mask * terms).sum(axis=1))


def _logs(policy: Any) -> Any:
    return jnp.log(jnp.where(policy > 0.0, policy, 1.0))


def _entries(data: Data, table: Any) -> Any:
    if table.ndim == 2:
        return table[data.states, data.tokens]
    return table[jnp.broadcast_to(jnp.arange(data.mask.shape[1]), data.mask.shape), data.states, data.tokens]


@partial(jax.jit, static_argnames=("divergence", "tabular"))
def reinforce(
    problem: Problem,
    verifier: Any,
    settings: Settings,
    key: jax.Array,
    divergence: Divergence = "chi2",
    tabular: bool = True,
) -> jax.Array:
    """Policy of the shape of ``problem.initial``: ``settings.iterations`` steps of ``settings.batch`` traces each.

    What ``verifier`` gives at least one half counts as declared.
    """
    mdp, size = problem.with_verifier(verifier), settings.batch

    def gradient(parameters: Any, step: Any) -> Any:
        policy = policy_of(problem, parameters)
        data = draw_traces(problem, mdp, policy, jax.random.fold_in(key, step), size, size)
        declared = jax.lax.cummax(jnp.where(_entries(data, verifier) >= 0.5, data.mask, 0.0), axis=1)
        apart = log_ratios(data, policy, problem.base)
        cost = 2.0 * jnp.exp(apart) if divergence == "chi2" else apart
        score = (data.mask * declared).sum(axis=1) - settings.penalty * cost
        score = (score - score.mean()) * size / (size - 1.0)

        def surrogate(moved: Any) -> Any:
            return (score * log_ratios(data, policy_of(problem, moved), problem.base)).mean()

        return jax.grad(surrogate)(parameters)

    return policy_of(problem, ascend(gradient, first_parameters(problem, tabular), settings))
