r"""Direct preference optimisation on labelled base traces.

Every two traces of one prompt of which one is solved (w) and one is not (l) are a pair. Minimised: the mean over pairs
of :math:`-\log\mathrm{sigmoid}(\beta[\log\frac{\pi}{\pi_0}(w)-\log\frac{\pi}{\pi_0}(l)])`, :math:`\pi_0` the initial
policy and :math:`\beta` ``settings.beta``. Without a pair nothing changes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from sim.training.ascent import maximised
from sim.training.data import Data
from sim.training.policy_gradient import first_parameters
from sim.training.problem import Problem, Settings, policy_of
from sim.training.reinforce import log_ratios

__all__ = ["dpo"]


@partial(jax.jit, static_argnames="tabular")
def dpo(problem: Problem, data: Data, settings: Settings, tabular: bool = True) -> jax.Array:
    """Policy of the shape of ``problem.initial``. Memory: (size, size)."""
    won, lost = data.rows * data.solved, data.rows * (1.0 - data.solved)
    pairs = won[:, None] * lost[None, :] * (data.prompts[:, None] == data.prompts[None, :])
    count = jnp.maximum(pairs.sum(), 1.0)

    def objective(parameters: Any) -> Any:
        gain = settings.beta * log_ratios(data, policy_of(problem, parameters), problem.initial)
        return (pairs * jax.nn.log_sigmoid(gain[:, None] - gain[None, :])).sum() / count

    return policy_of(problem, maximised(objective, first_parameters(problem, tabular), settings))
