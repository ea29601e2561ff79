"""Runs ``python -m llm_validation.trials decisions``: a table of cases, a summary by kind and winner."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from llm_validation.trials.decisions import KINDS, MARGIN, cases, judged
from sim.store import Output

__all__ = ["prepared", "summary"]

Rows = list[dict[str, Any]]

#: Cases worked on and stored together.
_BATCH = 20


def _counts(rows: Rows) -> dict[str, float]:
    from scipy.stats import beta

    decided, right = sum(row["decided"] for row in rows), sum(row["right"] for row in rows)
    low = float(beta.ppf(0.05, right, decided - right + 1)) if right else 0.0
    return {
        "cases": len(rows),
        "decided": decided,
        "right": right,
        "share_decided": decided / len(rows) if rows else 0.0,
        "share_right": right / decided if decided else 0.0,
        "share_right_low": low,  # Clopper-Pearson, one-sided 95%
    }


def summary(rows: Rows) -> dict[str, Any]:
    """Counts over all cases, and by kind and winner."""
    groups = [
        {"kind": kind, "winner": winner, **_counts(mine)}
        for kind in KINDS
        for winner in ("clone", "verify")
        if (mine := [row for row in rows if (row["kind"], row["winner"]) == (kind, winner)])
    ]
    return {**_counts(rows), "groups": groups}


def _rows(output: Output, count: int, seed: int) -> Rows:
    """What was judged of every case; finished batches are read again."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    rows: Rows = []
    batch: Rows = []
    stored = {
        start: table.to_pylist()
        for start in range(0, count, _BATCH)
        if (table := output.read_shard(f"{start:06}.parquet", None, _columns())) is not None
    }
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("cases", total=count)
        for i, case in enumerate(cases(count, seed)):
            start = i - i % _BATCH
            if start in stored:
                rows.append(stored[start][i - start])
            else:
                batch.append({"case": i, **judged(case)})
                if len(batch) == _BATCH or i == count - 1:
                    output.write_table(f"shards/{start:06}.parquet", pa.Table.from_pylist(batch))
                    rows, batch = rows + batch, []
            bar.advance(task)
    return rows


def _columns() -> Sequence[str]:
    return ("case", "kind", "H", "n", "J_VF", "J_VB", "winner", "verdict", "decided", "right", "by", "settings")


def _table(found: Mapping[str, Any]) -> str:
    lines = [f"{'kind':10} {'winner':8} {'cases':>6} {'decided':>8} {'right':>6}"]
    lines += [
        f"{g['kind']:10} {g['winner']:8} {g['cases']:>6} {g['decided']:>8} {g['right']:>6}" for g in found["groups"]
    ]
    lines.append(
        f"decided: {found['share_decided']:.3f}   right of those decided: {found['share_right']:.3f} "
        f"(95% one-sided: at least {found['share_right_low']:.3f})"
    )
    return "\n".join(lines)


def prepared(arguments: argparse.Namespace) -> Callable[[], int]:
    """The trial that the command line asks for, to be called for the exit code. Raises ``ValueError`` with one line."""
    if not 1 <= arguments.cases <= 100_000:
        raise ValueError(f"--cases {arguments.cases}: expected 1..100000")
    if arguments.seed < 0:
        raise ValueError(f"--seed {arguments.seed}: expected a whole number of at least 0")
    recorded = {"trial": "decisions", "cases": arguments.cases, "seed": arguments.seed, "margin": MARGIN}
    output = Output.open(arguments.out, recorded, arguments.resume, ("theory", "sim", "llm_validation"))

    def job() -> int:
        started = time.perf_counter()
        rows = _rows(output, arguments.cases, arguments.seed)
        seconds = round(time.perf_counter() - started, 3)
        if output.finished:
            seconds = output.manifest["wall_seconds"]
        found = {**summary(rows), "wall_seconds": seconds}
        output.write_table("cases.parquet", pa.Table.from_pylist(rows))
        output.write_json("summary.json", found)
        output.finish("done", wall_seconds=seconds)
        print(json.dumps(found, allow_nan=False) if arguments.format == "json" else _table(found))
        if arguments.format != "json":
            print(f"wall: {seconds:.1f} s   table: {output.path / 'cases.parquet'}")
        return 0

    return job
