"""What the command line asks for: a recipe with its overrides, stages one after another, the analysis at the end."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from importlib import util
from typing import Any

from llm_validation.gpt2_planted.recipe import Recipe, read_recipe
from llm_validation.gpt2_planted.stages import STAGES, Stage, stage

__all__ = ["prepared"]

_PROG = "python -m llm_validation.gpt2_planted"
_EXTRA = ("torch", "transformers", "trl", "accelerate", "datasets")


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """The recipe with what the command line puts in its place. Raises ``ValueError`` with one line."""
    found = read_recipe(arguments.recipe)
    if arguments.model is not None:
        found = dataclasses.replace(found, network=dataclasses.replace(found.network, source=arguments.model))
    changes = {name: getattr(arguments, name) for name in ("device", "seed") if getattr(arguments, name) is not None}
    return dataclasses.replace(found, **changes)


def _stages(text: str | None) -> tuple[Stage, ...]:
    """Stages by name, in their own order. Raises ``ValueError``."""
    if text is None:
        return STAGES
    wanted = {stage(name.strip()) for name in text.split(",")}
    return tuple(found for found in STAGES if found in wanted)


def _check_libraries(recipe: Recipe) -> None:
    """Raises ``ValueError`` unless the extra is installed and the device is there."""
    missing = [name for name in _EXTRA if util.find_spec(name) is None]
    if missing:
        raise ValueError(f"needs the extra 'llm' (pip install 'verifier-gap[llm]'): {', '.join(missing)} not found")
    if recipe.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device cuda: torch finds no such device; expected one, or --device cpu")


def prepared(arguments: argparse.Namespace) -> Callable[[], int]:
    """The run, to be called for the exit code. Raises ``ValueError`` with one line on bad input."""
    recipe, stages = _recipe(arguments), _stages(arguments.stages)
    processes = recipe.processes if arguments.processes is None else arguments.processes
    if not 1 <= processes <= 1024:
        raise ValueError(f"--processes {processes}: expected 1..1024")
    minutes = math.inf if arguments.minutes is None else arguments.minutes
    if not minutes > 0.0:
        raise ValueError(f"--minutes {minutes:g}: expected a number above 0")
    if arguments.out is None and not arguments.dry_run:
        raise ValueError("--out DIR: expected, unless with --dry-run")
    if arguments.dry_run:
        return lambda: _dry_run(recipe, stages, arguments.format == "json")
    _check_libraries(recipe)

    from llm_validation.gpt2_planted.pipeline import LIBRARIES
    from sim.sources import sources_of
    from sim.store import Output

    config = {"experiment": "didactic", "recipe": recipe.as_dict()}
    own = sources_of("llm_validation.gpt2_planted.recipe")  # stages have manifests, with all their code, of their own
    output = Output.open(arguments.out, config, arguments.resume, own, LIBRARIES)
    return lambda: _run(arguments, recipe, stages, processes, time.monotonic() + 60.0 * minutes, output)


def _dry_run(recipe: Recipe, stages: Sequence[Stage], as_json: bool) -> int:
    counts = {found.name: len(found.cells(recipe)) for found in stages}
    if as_json:
        print(json.dumps({"cells": counts, "budget_minutes": recipe.minutes, "recipe": recipe.as_dict()}))
        return 0
    for name, count in counts.items():
        print(f"{name:10} {count:5} cells")
    print(f"stated budget: {recipe.minutes:g} minutes on {recipe.processes} processes, device {recipe.device}")
    return 0


def _run(
    arguments: argparse.Namespace, recipe: Recipe, stages: Sequence[Stage], processes: int, deadline: float, output: Any
) -> int:
    """All stages; the analysis if the last one is among them. The exit code."""
    from llm_validation.gpt2_planted.bench import Bench, CellError
    from llm_validation.gpt2_planted.pipeline import Run, unfinished
    from sim.store import StoreError

    bench = Bench(arguments.out, recipe)
    started = time.monotonic()
    seconds: dict[str, float] = dict(output.manifest.get("cell_seconds", {}))
    try:
        with _Progress() as progress, Run(bench, processes, deadline, progress) as run:
            for found in stages:
                trouble = _refused(bench) if _builds_on_bases(found) else []
                if trouble:
                    return _stopped(output, trouble, 0, found.name, seconds)
                report = run.stage(found, resume=(arguments.out / found.name).exists())
                seconds[found.name] = round(report.seconds, 1)
                if report.failed or report.left:
                    return _stopped(output, report.failed, report.left, found.name, seconds)
    except (StoreError, CellError) as error:
        print(f"{_PROG}: {error}", file=sys.stderr)
        output.finish("stopped", cell_seconds=seconds)
        return 2 if isinstance(error, StoreError) else 3
    trouble = _refused(bench)
    if trouble:
        return _stopped(output, trouble, 0, stages[-1].name, seconds)
    if stages[-1].name != STAGES[-1].name:
        output.finish("stages done", cell_seconds=seconds)
        return 0
    if missing := [f"{found.name} is {why}" for found in STAGES if (why := unfinished(arguments.out, found.name))]:
        print(
            f"{_PROG}: the analysis needs all stages, and {', '.join(missing)}: run that, to its end", file=sys.stderr
        )
        output.finish("stopped", cell_seconds=seconds)
        return 2
    return _analysed(arguments, recipe, output, seconds, time.monotonic() - started)


def _builds_on_bases(found: Stage) -> bool:
    """Whether a stage needs bases that have learnt their task."""
    return found.name not in ("data", "base", "measure")


def _refused(bench: Any) -> list[str]:
    """Bases that have not learnt their task, as soon as they are measured."""
    from llm_validation.gpt2_planted.measure import refused

    if not all((bench.out / name / "results.parquet").exists() for name in ("base", "measure")):
        return []
    return refused(bench.recipe, bench.rows("base"), bench.rows("measure"))


def _stopped(output: Any, trouble: Sequence[str], left: int, name: str, seconds: dict[str, float]) -> int:
    """Say why it stops here; the exit code."""
    for line in trouble:
        print(f"{_PROG}: {line}", file=sys.stderr)
    output.finish("failed cells" if trouble else "interrupted", cell_seconds=seconds)
    if trouble:
        return 3
    print(f"{_PROG}: out of time, {left} cells of {name} are left; go on with --resume", file=sys.stderr)
    return 130


def _analysed(
    arguments: argparse.Namespace, recipe: Recipe, output: Any, seconds: dict[str, float], wall: float
) -> int:
    from llm_validation.gpt2_planted.analysis import analyse, lines, write
    from sim.figure import draw

    found = analyse(arguments.out, recipe)
    write(found, output)
    draw("didactic", output.path)
    output.finish("done", cell_seconds=seconds)
    if arguments.format == "json":
        print(json.dumps({**found.summary, "cell_seconds": seconds}, allow_nan=False))
    else:
        print("\n".join(lines(found)))
        compute = sum(seconds.values()) / 60.0
        print(f"compute: {compute:.1f} core minutes in all, wall now: {wall / 60.0:.1f} min   out: {output.path}")
    return 4 if found.summary["violations"] else 0


class _Progress:
    """Cells done of each stage: a bar on a terminal, else a line at the start of every stage."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description:10}"), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, name: str, done: int, cells: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=cells)
            if not self._console.is_terminal:
                print(f"{name}: {cells} cells, {done} done before", file=sys.stderr)
        self._bar.update(self._tasks[name], completed=done)
