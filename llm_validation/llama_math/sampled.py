"""Stage ``sample``: attempts of the base, by batches; each attempt has random numbers of its own.

The base runs in this process, or a server writes (``endpoint.url``). An attempt that could not be had fails its batch,
which is sampled again by ``--resume``; finished batches are kept.
"""

from __future__ import annotations

from typing import Any

from llm_validation.llama_math.bench import HELD_OUT, TRAIN, Bench, Cell
from llm_validation.llama_math.problems import Problem
from llm_validation.llama_math.prompts import prompt, stop_of
from llm_validation.llama_math.recipe import ProblemSet, Recipe
from llm_validation.sampling.backend import Backend, BackendError, Request, Sampling, request_seed
from llm_validation.staged.cells import CellError, Done

__all__ = ["cells", "run"]


def _samples(problems: ProblemSet, split: str) -> int:
    return problems.samples if split == TRAIN else problems.held_out_samples


def _size(problems: ProblemSet, split: str) -> int:
    """Attempts at all problems of a split."""
    count = problems.train if split == TRAIN else problems.held_out
    return count * _samples(problems, split)


def cells(recipe: Recipe) -> list[Cell]:
    """Every batch of every split of every set."""
    return [
        Cell(set=problems.name, split=split, part=part)
        for problems in recipe.sets
        for split in (TRAIN, HELD_OUT)
        for part in range(-(-_size(problems, split) // recipe.batch))
    ]


def run(bench: Bench, cell: Cell) -> Done:
    """Attempts ``part * batch`` and on, problem by problem. Raises :class:`CellError`."""
    recipe = bench.recipe
    problems = recipe.set(cell.set)
    each, start = _samples(problems, cell.split), cell.part * recipe.batch
    numbers = range(start, min(start + recipe.batch, _size(problems, cell.split)))
    of_split = bench.problems(cell.set, cell.split)
    wanted = [(of_split[number // each], number % each) for number in numbers]
    backend = bench.backend
    sampling = Sampling(problems.temperature, problems.horizon, stop_of(of_split[0].kind), chat=problems.chat)
    requests = [_request(recipe, problems, *attempt) for attempt in wanted]
    found = _generated(backend, requests, sampling)
    return Done([
        {
            **cell.row(),
            "problem_id": problem.problem_id,
            "sample": sample,
            "text": generation.text,
            "tokens": generation.tokens,
            "truncated": generation.truncated,
            "log_probability": generation.score,
        }
        for (problem, sample), generation in zip(wanted, found, strict=True)
    ])  # fmt: skip


def _request(recipe: Recipe, problems: ProblemSet, problem: Problem, sample: int) -> Request:
    seed = request_seed(recipe.seed, "attempt", recipe.model.source, problems.name, problem.problem_id, sample)
    return Request(prompt(problem, problems.shots), seed)


def _generated(backend: Backend, requests: list[Request], sampling: Sampling) -> list[Any]:
    try:
        found = backend.generate(requests, sampling)
    except BackendError as error:
        raise CellError(str(error)) from None
    failed = [generation.error for generation in found if generation.error is not None]
    if failed:
        raise CellError(f"{len(failed)} of {len(found)} attempts failed; the first: {failed[0]}")
    return found
