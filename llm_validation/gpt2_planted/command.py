"""What the command line asks for: a recipe with its overrides, stages one after another, the analysis at the end."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from llm_validation.gpt2_planted.recipe import Recipe, read_recipe
from llm_validation.gpt2_planted.stages import EXPERIMENT
from llm_validation.staged.command import Job, check_libraries, check_limits
from llm_validation.staged.stages import Stage

__all__ = ["prepared"]

_EXTRA = ("torch", "transformers", "trl", "accelerate", "datasets")
#: Stages that come before a base is known to have learnt its task.
_BEFORE = ("data", "base", "measure")


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """The recipe with what the command line puts in its place. Raises ``ValueError`` with one line."""
    found = read_recipe(arguments.recipe)
    if arguments.model is not None:
        found = dataclasses.replace(found, network=dataclasses.replace(found.network, source=arguments.model))
    changes = {name: getattr(arguments, name) for name in ("device", "seed") if getattr(arguments, name) is not None}
    return dataclasses.replace(found, **changes)


def prepared(arguments: argparse.Namespace) -> Callable[[], int]:
    """The run, to be called for the exit code. Raises ``ValueError`` with one line on bad input."""
    recipe, stages = _recipe(arguments), EXPERIMENT.chosen(arguments.stages)
    processes = recipe.processes if arguments.processes is None else arguments.processes
    seconds = check_limits(processes, arguments.minutes)
    if arguments.out is None and not arguments.dry_run:
        raise ValueError("--out DIR: expected, unless with --dry-run")
    if arguments.dry_run:
        return lambda: _dry_run(recipe, stages, arguments.format == "json")
    check_libraries(recipe.device, _EXTRA)

    from sim.sources import sources_of
    from sim.store import Output

    config = {"experiment": "didactic", "recipe": recipe.as_dict()}
    own = sources_of("llm_validation.gpt2_planted.recipe")  # stages have manifests, with all their code, of their own
    output = Output.open(arguments.out, config, arguments.resume, own, EXPERIMENT.libraries)
    job = Job(EXPERIMENT, EXPERIMENT.bench_of(arguments.out, recipe), output, _gate)
    return lambda: _run(job, stages, processes, time.monotonic() + seconds, arguments.format == "json")


def _dry_run(recipe: Recipe, stages: Sequence[Stage], as_json: bool) -> int:
    counts = {found.name: len(found.cells(recipe)) for found in stages}
    if as_json:
        print(json.dumps({"cells": counts, "budget_minutes": recipe.minutes, "recipe": recipe.as_dict()}))
        return 0
    for name, count in counts.items():
        print(f"{name:10} {count:5} cells")
    print(f"stated budget: {recipe.minutes:g} minutes on {recipe.processes} processes, device {recipe.device}")
    return 0


def _gate(bench: Any, found: Stage | None) -> list[str]:
    """Bases that have not learnt their task, as soon as they are measured."""
    from llm_validation.gpt2_planted.measure import refused

    early = found is not None and found.name in _BEFORE
    if early or not all((bench.out / name / "results.parquet").exists() for name in ("base", "measure")):
        return []
    return refused(bench.recipe, bench.rows("base"), bench.rows("measure"))


def _run(job: Job, stages: Sequence[Stage], processes: int, deadline: float, as_json: bool) -> int:
    """All stages; the analysis if the last one is among them. The exit code."""
    started = time.monotonic()
    code = job.run(stages, processes, deadline)
    if code is not None:
        return code

    from llm_validation.gpt2_planted.analysis import analyse, lines, write
    from sim.figure import draw

    found = analyse(job.bench.out, job.bench.recipe)
    write(found, job.output)
    draw("didactic", job.output.path)
    job.finish("done")
    if as_json:
        print(json.dumps({**found.summary, "cell_seconds": job.seconds}, allow_nan=False))
    else:
        print("\n".join([*lines(found), job.compute(started)]))
    return 4 if found.summary["violations"] else 0
