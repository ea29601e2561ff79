"""Runs ``python -m llm_validation.trials coverage``: shards, tables, summary, exit code."""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from llm_validation.trials.coverage import EPSILONS, LEVEL, Batch, Coverage, columns, coverage, judged, measured
from llm_validation.trials.population import POOLS, pool
from sim.ranges import parse_range
from sim.store import Output

__all__ = ["prepared"]

_PACKAGES = ("theory", "sim", "llm_validation")
_MOST_JOBS = 256


def _measured(batch: Batch) -> tuple[Batch, dict[str, Any]]:
    return batch, measured(batch)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers


@contextmanager
def _workers(batches: Sequence[Batch], jobs: int) -> Iterator[Iterator[tuple[Batch, dict[str, Any]]]]:
    """What was measured of each batch, as it is ready."""
    if jobs == 1 or len(batches) < 2:
        yield map(_measured, batches)
        return
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(min(jobs, len(batches)), _ignore_interrupts) as processes:
        yield processes.imap_unordered(_measured, batches)


def _run(output: Output, config: Coverage, jobs: int) -> dict[tuple[str, int], dict[str, Any]]:
    """What all repeats found, (repeats,) a name, for each pool and number of samples."""
    from rich.console import Console
    from rich.progress import Progress

    names, batches = columns(), list(config.batches())
    found: dict[Batch, dict[str, Any]] = {}
    for batch in batches:
        table = output.read_shard(batch.name, batch.stop - batch.start, names)
        if table is not None:
            found[batch] = {name: table[name].to_numpy() for name in names}
    left = [batch for batch in batches if batch not in found]
    console = Console(stderr=True)
    with (
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
        _workers(left, jobs) as done,
    ):
        task = bar.add_task("batches", total=len(batches), completed=len(found))
        for batch, values in done:
            output.write_table(f"shards/{batch.name}", pa.table(values))
            found[batch] = values
            bar.advance(task)
    return {
        (name, m): {
            column: np.concatenate([found[b][column] for b in batches if (b.pool, b.m) == (name, m)])
            for column in names
        }
        for name in POOLS
        for m in config.samples
    }


def _plain(value: Any) -> Any:
    """JSON types, NaN as null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _shown(means: Sequence[Mapping[str, Any]], least: Sequence[Mapping[str, Any]], verdict: Mapping[str, Any]) -> str:
    lines = [f"{'pool':6} {'m':>4} {'':8} {'coverage':>16} {'width/oracle':>16} {'oracle covers':>14}"]
    lines += [
        f"{row['pool']:6} {row['samples']:>4} {row['quantity']:8} {row['coverage']:>7.4f} +- {row['coverage_se']:.4f} "
        f"{row['width_ratio']:>6.3f} +- {row['width_ratio_se']:.4f} {row['oracle_coverage']:>14.4f}"
        for row in means
    ]
    lines.append(
        f"{'pool':6} {'m':>4} {'epsilon':>8} {'min c covers':>16} {'positive':>9} {'true min':>9} "
        f"{'bound':>7} {'plug-in bias':>19} {'10% covers':>10} {'mean c covers':>16} {'fail, low':>9} {'high':>8}"
    )
    lines += [
        f"{row['pool']:6} {row['samples']:>4} {row['epsilon']:>8g} "
        f"{row['least_coverage']:>6.4f} +- {row['least_coverage_se']:.4f} "
        f"{row['least_positive']:>9.4f} {row['least_true']:>9.4f} {row['least_low']:>7.4f} "
        f"{row['plug_in_bias']:>+9.4f} +- {row['plug_in_bias_se']:.4f} "
        f"{row['quantile_coverage']:>10.4f} "
        f"{row['mean_coverage_varying']:>6.4f} +- {row['mean_coverage_varying_se']:.4f} "
        f"{row['low_fails']:>9.6f} {row['high_fails']:>8.6f}"
        for row in least
    ]
    lines += [f"{name}: {value:.4f}" for name, value in verdict.items() if isinstance(value, float)]
    lines += [f"violation: {violation}" for violation in verdict["violations"]]
    return "\n".join(lines)


def _finish(output: Output, config: Coverage, arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    found = _run(output, config, arguments.jobs)
    pools = {name: pool(name) for name in POOLS}
    means: list[dict[str, Any]] = []
    least: list[dict[str, Any]] = []
    for (name, m), values in found.items():
        two = coverage(pools[name], m, config.problems, values)
        means, least = means + two[0], least + two[1]
    verdict = judged(means, least)
    seconds = round(time.perf_counter() - started, 3)
    if output.finished:  # nothing was measured now: keep the time of the run that did
        seconds = output.manifest["wall_seconds"]
    summary = _plain({**verdict, "means": means, "concentration": least, "wall_seconds": seconds})
    output.write_table("means.parquet", pa.Table.from_pylist(_plain(means)))
    output.write_table("concentration.parquet", pa.Table.from_pylist(_plain(least)))
    output.write_json("summary.json", summary)
    output.finish("done", wall_seconds=seconds)
    if arguments.format == "json":
        print(json.dumps(summary, allow_nan=False))
    else:
        print(_shown(means, least, verdict))
        print(
            f"wall: {seconds:.1f} s   tables: {output.path / 'means.parquet'}, {output.path / 'concentration.parquet'}"
        )
    return 4 if verdict["violations"] else 0


def prepared(arguments: argparse.Namespace) -> Callable[[], int]:
    """The trial that the command line asks for, to be called for the exit code. Raises ``ValueError`` with one line."""
    try:
        samples = parse_range(arguments.samples, 2)
    except ValueError as error:
        raise ValueError(f"--samples {error}") from None
    config = Coverage(arguments.repeats, arguments.problems, samples, arguments.seed)
    if not 1 <= arguments.jobs <= _MOST_JOBS:
        raise ValueError(f"--jobs {arguments.jobs}: expected 1..{_MOST_JOBS}")
    recorded = {
        "trial": "coverage",
        **config.as_dict(),
        "pools": list(POOLS),
        "epsilon": list(EPSILONS),
        "level": LEVEL,
    }
    output = Output.open(arguments.out, recorded, arguments.resume, _PACKAGES)
    return lambda: _finish(output, config, arguments)
