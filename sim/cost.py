r"""Time a sweep will take, before anything runs.

Seconds per unit of work, measured on two cores of a 2.6 GHz server processor (``benchmarks/README.md``). The estimate
is meant to tell seconds from hours: within about a factor of two there.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim.cells import Cell

__all__ = ["HOUR", "estimated_seconds"]

HOUR = 3600.0
START = 8.0  # imports, compilation, figure
PER_CELL = 3e-3  # bounds and rows of one horizon
PER_ARRIVAL = 5e-8  # one ordered wrong hypothesis of the collapsed sampler
PER_LEVEL = 4e-7  # one agreement level in the host's tables and in the bounds
PER_SIGN = 4e-10  # one sign of one hypothesis on one trace, explicit
PER_TRACE = 2e-7  # one trace of the parity sampler (prompt, return, scatter), and one row of elimination
PER_TRANSFORM = 2.5e-10  # one multiply-add of the two-factor Walsh-Hadamard transform


def _cell_seconds(cell: Cell, trials: int) -> float:
    M = 2.0 ** min(cell.log2_M, 64)
    tables = PER_LEVEL * cell.n
    if cell.instance == "parity":
        low = cell.log2_M // 2
        transforms = 3 * M * (2.0**low + 2.0 ** (cell.log2_M - low)) * PER_TRANSFORM
        return tables + trials * (2 * cell.n * PER_TRACE + cell.log2_M * 64 * PER_TRACE + transforms)
    if cell.law == "uniform":
        return tables + trials * (M * cell.n * PER_SIGN + 1e-5)
    listed = max(min(M, 4096), 64) if M <= 4096 else 128
    return tables + trials * listed * PER_ARRIVAL


def estimated_seconds(cells: Sequence[Cell], trials: int) -> float:
    """Estimated wall seconds for all ``cells`` with ``trials`` trials each."""
    return START + sum(PER_CELL + _cell_seconds(cell, trials) for cell in cells)
