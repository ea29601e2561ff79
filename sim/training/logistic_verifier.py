r"""A verifier by logistic regression of the labels on features, every step of a trace a label.

Minimised: the mean over labels of the log loss, plus half of ``settings.l2`` times
:math:`|w|^2`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sim.training.ascent import maximised
from sim.training.data import Counts
from sim.training.problem import Problem, Settings

__all__ = ["logistic_verifier"]


@jax.jit
def logistic_verifier(problem: Problem, counts: Counts, settings: Settings) -> jax.Array:
    """Chances (S, A) that a token solves; to be searched against, declare those above one half. Counts (S, A).

    A token never met, of features never met, has one half: it is not declared.
    """
    labels = jnp.maximum(counts.visits.sum(), 1.0)

    def objective(weights: Any) -> Any:
        logits = problem.features @ weights
        loss = (counts.visits * jax.nn.softplus(logits) - counts.rewarded * logits).sum() / labels
        return -loss - 0.5 * settings.l2 * (weights @ weights)

    found = maximised(objective, jnp.zeros(problem.features.shape[-1]), settings)
    return jax.nn.sigmoid(problem.features @ found)
