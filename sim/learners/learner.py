"""What a learner is here: a map from what the data tell (:class:`~sim.tasks.evidence.Evidence`) to its value J.

``expert`` and ``base`` are references; ``vf-*`` see expert traces, ``vb-*`` labelled base traces. The value is the
expectation over the fresh prompt and the learner's own coin flips, given the data; trials are independent data sets.
"""

from __future__ import annotations

import functools
import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import sim.learners
from sim.cells import INSTANCES, Cell
from sim.tasks.evidence import Evidence
from theory.verifier import erm_success_codebook, erm_success_parity
from theory.verifier_free import mle_success_codebook

__all__ = ["Learner", "exact_erm_hit", "exact_mle_hit", "learners"]

_ORDER = ("reference", "verifier-free", "verifier-based")


@dataclass(frozen=True, slots=True)
class Learner:
    """A method. ``value(evidence, cell)`` is J in tokens per trial; ``exact(cell)`` its mean, NaN where unknown.

    ``lower`` and ``upper`` name the bounds on its regret (fields of :class:`sim.verdict.CellBounds`), if a theorem
    speaks of it.
    """

    name: str
    group: Literal["reference", "verifier-free", "verifier-based"]
    value: Callable[[Evidence, Cell], NDArray[np.float64]]
    exact: Callable[[Cell], float] = lambda cell: math.nan
    lower: str | None = None
    upper: str | None = None
    instances: tuple[str, ...] = INSTANCES


def exact_mle_hit(cell: Cell) -> float:
    """P(the likelihood's maximiser is the truth): random codebook with R = mu +- sigma; NaN elsewhere."""
    if cell.instance == "codebook" and cell.return_law.is_symmetric_two_point and cell.epsilon > 0.0:
        return mle_success_codebook(cell.n, cell.log2_M, cell.epsilon)
    return math.nan


def exact_erm_hit(cell: Cell) -> float:
    """P(ERM's verifier is the true one) on either codebook."""
    success = erm_success_codebook if cell.instance == "codebook" else erm_success_parity
    return success(cell.n, cell.log2_M, 1.0 - cell.uninformative)


@functools.cache
def learners() -> Mapping[str, Learner]:
    """All learners by name: references, then verifier-free, then verifier-based."""
    modules = (importlib.import_module(f"sim.learners.{m.name}") for m in pkgutil.iter_modules(sim.learners.__path__))
    found = [module.LEARNER for module in modules if hasattr(module, "LEARNER")]
    return MappingProxyType({x.name: x for x in sorted(found, key=lambda x: (_ORDER.index(x.group), x.name))})
