"""What the command line asks for: a recipe with its overrides, stages one after another, the report at the end."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from llm_validation.llama_math.problems import check_source
from llm_validation.llama_math.recipe import Recipe, read_recipe
from llm_validation.llama_math.stages import EXPERIMENT
from llm_validation.staged.command import Job, check_libraries, check_limits
from llm_validation.staged.stages import Stage

__all__ = ["prepared"]

_EXTRA = ("torch", "transformers", "trl", "accelerate", "datasets", "peft", "math_verify")


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """The recipe with what the command line puts in its place. Raises ``ValueError`` with one line."""
    found = read_recipe(arguments.recipe)
    changes: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("device", "seed") if getattr(arguments, name) is not None
    }
    if arguments.model is not None:
        changes["model"] = dataclasses.replace(found.model, source=arguments.model)
    places = _places(found, arguments)
    changes["sets"] = tuple(
        dataclasses.replace(problems, source=places[problems.name], held_out_source="")
        if problems.name in places
        else problems
        for problems in found.sets
    )
    server = {"url": arguments.endpoint, "model": arguments.endpoint_model}
    server = {name: value for name, value in server.items() if value is not None}
    if server:
        changes["endpoint"] = dataclasses.replace(found.endpoint, **server)
    recipe = dataclasses.replace(found, **changes)
    _check_places(recipe)
    return recipe


def _places(recipe: Recipe, arguments: argparse.Namespace) -> dict[str, str]:
    """Set -> where it is read from instead. Raises ``ValueError`` with one line."""
    found = {} if arguments.problems is None else {recipe.trained.name: arguments.problems}
    names = [problems.name for problems in recipe.sets]
    for text in arguments.set:
        name, mark, source = text.partition("=")
        if not mark or not source or name not in names:
            raise ValueError(f"--set {text}: expected NAME=PATH with NAME of {', '.join(names)}")
        if name in found:
            raise ValueError(f"--set {text}: {name} is read from {found[name]} already")
        found[name] = source
    return found


def _check_places(recipe: Recipe) -> None:
    """Raises ``ValueError`` if the server's address is none, or the problems have none."""
    if recipe.endpoint.url:
        recipe.endpoint.address()
    for problems in recipe.sets:
        for source in (problems.source, problems.held_out_source):
            if source:
                check_source(source)


def prepared(arguments: argparse.Namespace) -> Callable[[], int]:
    """The run, to be called for the exit code. Raises ``ValueError`` with one line on bad input."""
    recipe, stages = _recipe(arguments), EXPERIMENT.chosen(arguments.stages)
    seconds = check_limits(1, arguments.minutes)
    if arguments.dry_run:
        return lambda: _dry_run(recipe, stages, arguments.format == "json")
    if arguments.out is None:
        raise ValueError("--out DIR: expected, unless with --dry-run")
    check_libraries(recipe.device, _EXTRA)

    from sim.sources import sources_of
    from sim.store import Output

    config = {"experiment": "llama-math", "recipe": recipe.as_dict()}
    own = sources_of("llm_validation.llama_math.recipe")  # stages have manifests, with all their code, of their own
    output = Output.open(arguments.out, config, arguments.resume, own, EXPERIMENT.libraries)
    bench = EXPERIMENT.bench_of(arguments.out, recipe)
    job = Job(EXPERIMENT, bench, output, lambda bench, found: ())
    return lambda: _run(job, bench, stages, time.monotonic() + seconds, arguments.format == "json")


def _run(job: Job, bench: Any, stages: Sequence[Stage], deadline: float, as_json: bool) -> int:
    """All stages; the report if the last one is among them. The exit code."""
    started = time.monotonic()
    code = job.run(stages, 1, deadline)
    if code is not None:
        return code

    from llm_validation.llama_math.report import lines, report, write
    from sim.figure import draw

    found = report(bench)
    write(found, job.output)
    draw("llama-math", job.output.path)
    job.finish("done")
    if as_json:
        print(json.dumps({**found.summary, "cell_seconds": job.seconds}, allow_nan=False))
    else:
        print("\n".join([*lines(found), job.compute(started)]))
    return 0


def _dry_run(recipe: Recipe, stages: Sequence[Stage], as_json: bool) -> int:
    from llm_validation.llama_math.plan import lines, planned

    found = planned(recipe, stages)
    print(json.dumps(found) if as_json else "\n".join(lines(found)))
    return 0
