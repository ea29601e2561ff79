r"""Time a sweep will take, before anything runs.

Seconds per unit of work, measured on two cores of a 2.6 GHz server processor (``benchmarks/README.md``). The estimate
is meant to tell seconds from hours: within about a factor of two there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sim.cells import Cell

__all__ = ["HOUR", "estimated_seconds"]

HOUR = 3600.0
START = 6.0  # imports, compilation, figure
PER_CELL = 3e-3  # bounds and rows of one horizon
PER_REPORTED = 6e-6  # one trial of one horizon in the tables and the bootstrap
PER_LEVEL = 4e-7  # one agreement level in the host's tables and in the bounds
COLLAPSED = 5e-6  # one trial of the collapsed sampler,
PER_COLUMN = 1.1e-8  # and each level of its tables,
PER_ARRIVAL = 4e-8  # and each wrong hypothesis listed beyond the first block
PER_SIGN = 3e-9  # one sign of one hypothesis on one trace, explicit
PER_TRACE = 1e-8  # one trace of the parity sampler, and one bit of one row of elimination
PER_TRANSFORM = 1e-10  # one multiply-add of the two-factor Walsh-Hadamard transform


def _trial_seconds(cell: Cell) -> float:
    M = 2.0 ** min(cell.log2_M, 64)
    if cell.instance == "parity":
        low = cell.log2_M // 2
        transforms = 3 * M * (2.0**low + 2.0 ** (cell.log2_M - low)) * PER_TRANSFORM
        return (2 * cell.n + 64 * cell.log2_M) * PER_TRACE + transforms
    if cell.law == "uniform":
        return M * cell.n * PER_SIGN + 1e-5
    columns = max(256.0, 14.0 * math.sqrt(cell.n))
    return COLLAPSED + PER_COLUMN * columns + (PER_ARRIVAL * M if M <= 4096 else 0.0)


def estimated_seconds(cells: Sequence[Cell], trials: int) -> float:
    """Estimated wall seconds for all ``cells`` with ``trials`` trials each."""
    sampled = sum(PER_LEVEL * cell.n + max(trials, 256) * _trial_seconds(cell) for cell in cells)
    return START + sampled + len(cells) * (PER_CELL + trials * PER_REPORTED)
