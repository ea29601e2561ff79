"""What the tests of samplers share: comparisons of means in standard errors."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sim.cells import SweepConfig
from sim.tasks.codebook import collapsed_evidence, collapsed_tables
from sim.tasks.evidence import Evidence

STANDARD_ERRORS = 5.0


def assert_same_mean(a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
    """Two independent samples have one mean, within 5 standard errors of the difference."""
    error = math.hypot(a.std(ddof=1) / math.sqrt(a.size), b.std(ddof=1) / math.sqrt(b.size))
    assert abs(a.mean() - b.mean()) <= STANDARD_ERRORS * error, (a.mean(), b.mean(), error)


def assert_mean(sample: NDArray[np.float64], exact: float) -> None:
    """A sample in [0, 1] has mean ``exact`` within 5 standard errors.

    The variance used is the largest a law on [0, 1] of that mean can have, so that rare events need not have occurred.
    """
    error = math.sqrt(exact * (1.0 - exact) / sample.size)
    assert abs(sample.mean() - exact) <= STANDARD_ERRORS * error + 1e-12, (sample.mean(), exact, error)


def collapsed(horizon: str, trials: int, **values: object) -> Evidence:
    """Evidence of the collapsed sampler, arrays (trials,) of the first cell."""
    cells = SweepConfig.checked(horizon, **values).cells()
    return Evidence(*(x[0] for x in collapsed_evidence(cells[:1], np.arange(trials), collapsed_tables(cells[:1]))))
