"""Expert iteration (rejection fine-tuning in rounds).

Round r draws traces of the policy as it is, keeps those the reward calls solved, and clones them by counting; where no
solved trace came by, the policy stays as it is. The first round draws from the initial policy.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sim.training.count_mle import count_mle
from sim.training.data import draw_traces, kept, tally
from sim.training.problem import Problem, Settings

__all__ = ["expert_iteration"]


@jax.jit
def expert_iteration(problem: Problem, settings: Settings, key: jax.Array, n: Any) -> jax.Array:
    """Policies after 0, 1, .. ``settings.rounds`` rounds of ``n`` <= ``settings.batch`` traces, (rounds + 1, ...)."""

    def one(policy: Any, number: Any) -> tuple[Any, Any]:
        drawn = draw_traces(problem, problem.mdp, policy, jax.random.fold_in(key, number), n, settings.batch)
        fitted = count_mle(problem, tally(kept(drawn, drawn.solved), policy), policy)
        return fitted, fitted

    _, policies = jax.lax.scan(one, problem.initial, jnp.arange(settings.rounds))
    return jnp.concatenate([problem.initial[None], policies])
