r"""Policy gradient against a verifier, regularised toward the base, gradients exact through the dynamic programme.

Maximised over softmax policies: :math:`E_x[E_\pi\hat R-\lambda D(\pi\|\pi_b)]`, D the :math:`\chi^2` or the KL
divergence of the law of traces given the first state. Over all laws of traces the maximiser has density
:math:`(\hat R-t_x)^+/(2\lambda)`, the best one of a ball averaged over x, or :math:`e^{\hat R/\lambda}/Z_x`; with
deterministic transitions a table by step over states that tell prompts apart attains both.
:func:`penalty_of_ball` gives the :math:`\lambda` of a ball.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sim.ball_expert import averaged_ball_expert
from sim.dynamic_programming import chi2_divergence, kl_divergence, solve_time_law
from sim.training.ascent import maximised
from sim.training.problem import Problem, Settings, policy_of, returns_of_rows

__all__ = ["Divergence", "first_parameters", "penalty_of_ball", "policy_gradient", "regularised_value"]

Divergence = Literal["chi2", "kl"]
Floats = NDArray[np.float64]


def first_parameters(problem: Problem, tabular: bool) -> jax.Array:
    """Parameters of the initial policy: a table, or one number a feature."""
    return jnp.zeros(problem.initial.shape if tabular else problem.features.shape[-1])


def regularised_value(problem: Problem, verifier: Any, policy: Any, penalty: Any, divergence: Divergence) -> jax.Array:
    """E_x [E R_hat - penalty D], tokens."""
    mdp = problem.with_verifier(verifier)
    distance = chi2_divergence if divergence == "chi2" else kl_divergence
    gain = returns_of_rows(mdp) @ solve_time_law(mdp, policy)
    return jnp.asarray(mdp.weights @ (gain - penalty * distance(mdp, policy, problem.base)))


@partial(jax.jit, static_argnames=("divergence", "tabular"))
def policy_gradient(
    problem: Problem, verifier: Any, settings: Settings, divergence: Divergence = "chi2", tabular: bool = True
) -> jax.Array:
    """Policy of the shape of ``problem.initial``, by ``settings.iterations`` steps; ``tabular`` or on features."""

    def objective(parameters: Any) -> Any:
        return regularised_value(problem, verifier, policy_of(problem, parameters), settings.penalty, divergence)

    return policy_of(problem, maximised(objective, first_parameters(problem, tabular), settings))


def penalty_of_ball(law: Floats, returns: Floats, weights: Floats, kappa: float) -> float:
    """The penalty, tokens, whose regularised maximiser is the best policy of E_x chi^2 <= kappa. On the host.

    From ``law`` (steps + 1, X) of the base. Where that policy keeps the largest return only, every small one will do,
    and the largest of these is given. Raises ``ValueError`` unless kappa > 0 and some return varies.
    """
    if not kappa > 0.0:
        raise ValueError(f"kappa = {kappa}: expected kappa > 0")
    density = averaged_ball_expert(law, returns, weights, kappa).weights
    slopes: list[float] = []
    corners: list[float] = []
    for x in range(law.shape[1]):
        met = np.flatnonzero(law[:, x] > 0.0)
        met = met[np.argsort(-returns[met], kind="stable")]
        if met.size < 2:
            continue
        gap, fall = returns[met[0]] - returns[met[1]], density[met[0], x] - density[met[1], x]
        (slopes if density[met[1], x] > 0.0 else corners).append(gap / (2.0 * fall))
    if not slopes and not corners:
        raise ValueError("law: returns do not vary, expected some that do")
    return float(slopes[0] if slopes else min(corners))
