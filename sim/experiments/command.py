"""Runs one experiment for ``python -m sim.sweep --experiment NAME``: shards, tables, summary, figure, exit code."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from sim.cost import HOUR
from sim.experiments.experiment import Cell, Experiment, Measurement, Samples, Settings, Violation
from sim.experiments.registry import experiment
from sim.figure import draw
from sim.store import Output

__all__ = ["Result", "prepared", "run_experiment", "settings_of"]

_COLUMNS = ("cell", "name", "trial", "value")


@dataclass(frozen=True)
class Result:
    """Measurements of all cells that did not fail, in the order of the grid, and what is to be said of them."""

    measured: list[tuple[Cell, list[Measurement]]]
    failed: list[dict[str, Any]] = field(default_factory=list)
    summary: Mapping[str, Any] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)  # about the whole grid, violated

    @property
    def resolved(self) -> list[Violation]:
        """Violations that rare events cannot explain."""
        return [violation for violation in self.violations if violation.resolved]

    @property
    def exit_code(self) -> int:
        """4 if a claim was violated, 3 if cells failed, else 0."""
        return 4 if self.resolved or self.claims else 3 if self.failed else 0

    def table(self) -> pa.Table:
        """One row per cell, quantity and method."""
        rows = [{**cell.axes, **m.row()} for cell, found in self.measured for m in found]
        return pa.table({name: [row[name] for row in rows] for name in rows[0]}) if rows else pa.table({})

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``summary.json`` and standard output."""
        return {
            "cells": len(self.measured),
            "failed_cells": self.failed,
            "bound_violations": len(self.resolved),
            "violations": [asdict(v) for v in self.resolved],
            "unresolved": [asdict(v) for v in self.violations if not v.resolved],
            "claims_violated": self.claims,
            **self.summary,
        }


def settings_of(found: Experiment[Any], options: Mapping[str, Any]) -> Settings:
    """The experiment's settings with ``options`` put in. Raises ``ValueError`` with one line."""
    known = [f.name for f in dataclasses.fields(found.settings)]
    for name, value in options.items():
        if name not in known:
            taken = ", ".join("--" + n.replace("_", "-") for n in known if n in _OPTIONS)
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option} {value}: experiment {found.name} has its own; it takes {taken}")
    settings: Settings = dataclasses.replace(found.settings, **options)
    return settings


#: Options of the sweep that an experiment may take as settings of the same name.
_OPTIONS = (
    "horizon", "rule", "instance", "law", "s", "log2_M", "epsilon", "seeds", "seed", "learners", "N",
)  # fmt: skip


def _shard_name(cells: Sequence[Cell]) -> str:
    return hashlib.sha256("\n".join(cell.identity for cell in cells).encode()).hexdigest()[:24] + ".parquet"


def _as_table(found: Sequence[Samples]) -> pa.Table:
    rows = [(i, name, values) for i, samples in enumerate(found) for name, values in samples.items()]
    sizes = [values.size for _, _, values in rows]
    return pa.table({
        "cell": np.repeat([i for i, _, _ in rows], sizes).astype(np.int32),
        "name": pa.array(np.repeat(np.array([name for _, name, _ in rows], dtype=np.str_), sizes), pa.string()),
        "trial": np.concatenate([np.arange(size, dtype=np.int32) for size in sizes] or [np.zeros(0, np.int32)]),
        "value": np.concatenate([values for _, _, values in rows] or [np.zeros(0)]).astype(np.float64),
    })  # fmt: skip


def _as_samples(table: pa.Table, count: int) -> list[Samples]:
    cells, names, values = (table[name].to_numpy(zero_copy_only=False) for name in ("cell", "name", "value"))
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    if not cells.size:
        return list(found)
    changes = (cells[1:] != cells[:-1]) | (names[1:] != names[:-1])
    edges = np.flatnonzero(np.append(True, changes))
    for start, stop in zip(edges, np.append(edges[1:], cells.size), strict=True):
        found[cells[start]][names[start]] = values[start:stop]
    return list(found)


def _measured(
    found: Experiment[Any], settings: Settings, output: Output | None, progress: Callable[[int], None]
) -> tuple[list[tuple[Cell, Samples]], list[dict[str, Any]]]:
    """Samples of every cell that did not fail, and those that did with the reason."""
    cells = found.cells(settings)
    kept: list[tuple[Cell, Samples]] = []
    failed: list[dict[str, Any]] = []
    for start in range(0, len(cells), found.batch):
        batch = cells[start : start + found.batch]
        name = _shard_name(batch)
        table = output.read_shard(name, None, _COLUMNS) if output else None
        try:
            samples = found.measure(settings, batch) if table is None else _as_samples(table, len(batch))
        except ArithmeticError as error:
            failed += [{**cell.axes, "reason": str(error)} for cell in batch]
            continue
        finally:
            progress(len(batch))
        if output and table is None:
            output.write_table(f"shards/{name}", _as_table(samples))
        kept += zip(batch, samples, strict=True)
    return kept, failed


def run_experiment(
    found: Experiment[Any],
    settings: Settings,
    output: Output | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Result:
    """Measure and judge every cell. Finished batches are read from ``output`` and added to it."""
    kept, failed = _measured(found, settings, output, progress)
    measured: list[tuple[Cell, list[Measurement]]] = []
    for cell, samples in kept:
        if all(np.isfinite(values).all() for values in samples.values()):
            measured.append((cell, found.judge(settings, cell, samples)))
        else:
            bad = ", ".join(name for name, values in samples.items() if not np.isfinite(values).all())
            failed.append({**cell.axes, "reason": f"{bad}: not finite"})
    summary = found.summarise(settings, measured) if measured else {}
    violations = [violation for cell, row in measured for m in row for violation in m.violations(cell)]
    return Result(measured, failed, summary, violations, found.violated(summary))


def _shown(found: Experiment[Any], settings: Settings, result: Result, wall: str) -> str:
    lines = [found.question, *found.lines(settings, result.measured)] if result.measured else [found.question]
    for name, value in result.summary.items():
        if not isinstance(value, list | dict):  # tables are in summary.json
            lines.append(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
    unresolved = len(result.violations) - len(result.resolved)
    counts = f"bound violations: {len(result.resolved)}   unresolved: {unresolved}"
    lines.append(f"cells: {len(result.measured)}   {counts}   wall: {wall}")
    lines += [f"violated: {claim}" for claim in result.claims]
    lines += [f"violation: {violation}" for violation in result.resolved]
    lines += [f"unresolved: {violation}" for violation in result.violations if not violation.resolved]
    lines += [f"failed: {json.dumps(cell)}" for cell in result.failed]
    return "\n".join(lines)


def _finish(arguments: argparse.Namespace, found: Experiment[Any], settings: Settings, output: Output | None) -> int:
    from rich.console import Console
    from rich.progress import Progress

    started = time.perf_counter()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("cells", total=len(found.cells(settings)))
        result = run_experiment(found, settings, output, lambda done: bar.advance(task, done))
    timing = {"wall_seconds": round(time.perf_counter() - started, 3)}
    if output and output.finished:  # nothing was measured now: keep the time of the run that did
        timing = {name: output.manifest[name] for name in timing}
    summary = {"experiment": found.name, **result.as_dict(), **timing}
    if output:
        output.write_table("results.parquet", result.table())
        output.write_json("summary.json", summary)
        if result.measured:
            draw(found.name, output.path)
        output.finish("failed cells" if result.failed else "done", **timing)
    if arguments.format == "json":
        print(json.dumps(summary, allow_nan=False))
    else:
        again = " (when it was measured)" if output and output.finished else ""
        print(_shown(found, settings, result, f"{timing['wall_seconds']:.1f} s{again}"))
        if output:
            figure = f"   figure: {output.path / (found.name + '.png')}" if result.measured else ""
            print(f"table: {output.path / 'results.parquet'}{figure}")
    return result.exit_code


def prepared(arguments: argparse.Namespace, options: Mapping[str, Any]) -> Callable[[], int]:
    """What the command line with ``--experiment`` asks for, to be called for the exit code.

    ``options`` are those of the sweep that were given. Raises ``ValueError`` with one line on bad input.
    """
    found = experiment(arguments.experiment)
    settings = settings_of(found, options)
    cells, estimate = found.cells(settings), found.estimated_seconds(settings)
    config = {"experiment": found.name, **settings.as_dict()}
    if arguments.dry_run:
        plan = {"cells": len(cells), "estimated_seconds": round(estimate, 1), "config": config}
        text = f"{len(cells)} cells, about {estimate:.0f} s"
        return lambda: print(json.dumps(plan) if arguments.format == "json" else text) or 0
    if estimate > HOUR and not arguments.yes:
        raise ValueError(f"estimated time {estimate / HOUR:.1f} h: expected at most an hour, or --yes")
    output = Output.open(arguments.out, config, arguments.resume) if arguments.out else None
    return lambda: _finish(arguments, found, settings, output)
