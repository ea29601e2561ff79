"""Runs the cells of a sweep in batches of fixed shape; finished batches are shards that a later run finds again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from sim.cells import Cell
from sim.store import Output
from sim.tasks.codebook import collapsed_evidence, collapsed_tables, explicit_evidence, table_width
from sim.tasks.evidence import FIELDS, Evidence
from sim.tasks.parity import parity_evidence

__all__ = ["BATCH", "collapsed_batch", "run_cells"]

#: Cells in one batch, and trials in one call: the shapes of the one compiled program.
BATCH = 32
TRIALS = 256
COLUMNS = ("horizon", "trial", *FIELDS)


def _explicit(cells: Sequence[Cell], support: int, trials: int) -> Evidence:
    """Evidence of one batch, arrays (cells, trials), cell by cell."""
    explicit = parity_evidence if cells[0].instance == "parity" else explicit_evidence
    step = min(trials, TRIALS)
    rows = []
    for cell in cells:
        parts = [explicit(cell, np.arange(start, start + step), support) for start in range(0, trials, step)]
        rows.append(np.concatenate([np.stack(part) for part in parts], axis=1)[:, :trials])
    return Evidence(*np.stack(rows, axis=1))


def collapsed_batch(cells: Sequence[Cell], width: int, trials: int) -> Evidence:
    """Evidence of at most ``BATCH`` cells, arrays (cells, trials), in one call a block of trials; missing: padding."""
    padded = [*cells, *[cells[-1]] * (BATCH - len(cells))]
    tables = collapsed_tables(padded, width)
    step = min(trials, TRIALS)
    parts = [collapsed_evidence(padded, np.arange(start, start + step), tables) for start in range(0, trials, step)]
    whole = np.concatenate([np.stack(part) for part in parts], axis=2)
    return Evidence(*whole[:, : len(cells), :trials])


def _shard_name(cells: Sequence[Cell]) -> str:
    text = "\n".join(cell.identity for cell in cells)
    return hashlib.sha256(text.encode()).hexdigest()[:24] + ".parquet"


def _as_table(cells: Sequence[Cell], evidence: Evidence) -> pa.Table:
    trials = evidence.erm_hit.shape[1]
    columns = {
        "horizon": np.repeat([cell.H for cell in cells], trials).astype(np.int32),
        "trial": np.tile(np.arange(trials, dtype=np.int32), len(cells)),
    }
    return pa.table(columns | {name: values.reshape(-1) for name, values in zip(FIELDS, evidence, strict=True)})


def run_cells(cells: Sequence[Cell], trials: int, output: Output | None, progress: Callable[[int], None]) -> Evidence:
    """Evidence of all ``cells``, arrays (cells, trials). ``progress`` is told how many cells each batch finished."""
    collapsed = cells[0].instance == "codebook" and cells[0].law != "uniform"
    width = table_width(max(cell.n for cell in cells)) if collapsed else 0
    support = 1 << max(max(cell.return_law.values.size for cell in cells) - 1, 1).bit_length()
    found = []
    for start in range(0, len(cells), BATCH):
        batch = cells[start : start + BATCH]
        name = _shard_name(batch)
        table = output.read_shard(name, len(batch) * trials, COLUMNS) if output else None
        if table is not None:
            evidence = Evidence(*(table[field].to_numpy().reshape(len(batch), trials) for field in FIELDS))
        else:
            evidence = collapsed_batch(batch, width, trials) if collapsed else _explicit(batch, support, trials)
            if output:
                output.write_table(f"shards/{name}", _as_table(batch, evidence))
        found.append(np.stack(evidence))
        progress(len(batch))
    return Evidence(*np.concatenate(found, axis=1))
