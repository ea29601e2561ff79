"""Gradient ascent by Adam (optax), the learning rate falling to 0 as a cosine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sim.training.problem import Settings

__all__ = ["ascend", "maximised"]


def ascend(gradient: Callable[[Any, Any], Any], start: Any, settings: Settings) -> Any:
    """Parameters after ``settings.iterations`` steps along ``gradient(parameters, step)``."""
    adam = optax.scale_by_adam()

    def step(carry: tuple[Any, Any], number: Any) -> tuple[tuple[Any, Any], None]:
        parameters, state = carry
        direction, state = adam.update(gradient(parameters, number), state, parameters)
        rate = settings.rate * 0.5 * (1.0 + jnp.cos(jnp.pi * number / settings.iterations))
        return (parameters + rate * direction, state), None

    (found, _), _ = jax.lax.scan(step, (start, adam.init(start)), jnp.arange(settings.iterations))
    return found


def maximised(objective: Callable[[Any], Any], start: Any, settings: Settings) -> Any:
    """Parameters that make ``objective`` large."""
    slope = jax.grad(objective)
    return ascend(lambda parameters, _: slope(parameters), start, settings)
