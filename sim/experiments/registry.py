"""Experiments by name; imports nothing until one is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.experiments.experiment import Experiment

__all__ = ["EXPERIMENTS", "experiment"]

#: Names, in the order in which they are listed; each is a module of this package with dashes for underscores.
EXPERIMENTS = (
    "heterogeneity",
    "phase",
    "crossover",
    "scaling-n",
    "compute",
    "kappa",
    "label-noise",
    "parity-cost",
    "planted-horizon",
)


def experiment(name: str) -> Experiment[Any]:
    """The experiment called ``name``. Raises ``ValueError`` with one line if there is none."""
    if name not in EXPERIMENTS:
        raise ValueError(f"--experiment {name}: expected one of {', '.join(EXPERIMENTS)}")
    module = importlib.import_module(f"sim.experiments.{name.replace('-', '_')}")
    found: Experiment[Any] = module.EXPERIMENT
    return found
