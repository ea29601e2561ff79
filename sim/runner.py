"""Runs the cells of a sweep in batches of fixed shape; finished batches are shards that a later run finds again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from sim.cells import Cell
from sim.store import Output
from sim.tasks.codebook import CollapsedTables, collapsed_evidence, collapsed_tables, explicit_evidence
from sim.tasks.evidence import FIELDS, Evidence
from sim.tasks.parity import parity_evidence

__all__ = ["BATCH", "run_cells"]

#: Cells in one batch, and trials in one call: the shapes of the one compiled program.
BATCH = 32
TRIALS = 256


def _evidence(cells: Sequence[Cell], tables: CollapsedTables | None, support: int, trials: int) -> Evidence:
    """Evidence of one batch, arrays (cells, trials)."""
    if tables is not None:
        return _collapsed(cells, tables, trials)
    explicit = parity_evidence if cells[0].instance == "parity" else explicit_evidence
    step = min(trials, TRIALS)
    rows = []
    for cell in cells:
        parts = [explicit(cell, np.arange(start, start + step), support) for start in range(0, trials, step)]
        rows.append(np.concatenate([np.stack(part) for part in parts], axis=1)[:, :trials])
    return Evidence(*np.stack(rows, axis=1))


def _collapsed(cells: Sequence[Cell], tables: CollapsedTables, trials: int) -> Evidence:
    missing = BATCH - len(cells)
    padded = [*cells, *[cells[-1]] * missing]
    filled = CollapsedTables(*(np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for a in tables))
    step = min(trials, TRIALS)
    parts = [collapsed_evidence(padded, np.arange(start, start + step), filled) for start in range(0, trials, step)]
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
    tables = collapsed_tables(cells) if collapsed else None
    support = 1 << max(max(cell.return_law.values.size for cell in cells) - 1, 1).bit_length()
    found = []
    for start in range(0, len(cells), BATCH):
        batch = cells[start : start + BATCH]
        name = _shard_name(batch)
        table = output.read_shard(name, len(batch) * trials) if output else None
        if table is not None:
            evidence = Evidence(*(table[field].to_numpy().reshape(len(batch), trials) for field in FIELDS))
        else:
            part = CollapsedTables(*(a[start : start + BATCH] for a in tables)) if tables else None
            evidence = _evidence(batch, part, support, trials)
            if output:
                output.write_table(f"shards/{name}", _as_table(batch, evidence))
        found.append(np.stack(evidence))
        progress(len(batch))
    return Evidence(*np.concatenate(found, axis=1))
