r"""Stage ``evaluate``: what clones write and what verifiers think, on held-out problems.

``arm = clone``: traces of at most H tokens, H the largest budget, from the question without examples. A trace is cut at
the joiners into attempts; one is complete at the token that begins the next joiner, the last one where the text ends. A
row for each complete attempt, and one for what was cut off by the budget. Where *budget forcing* is asked for, a text
that ends before H goes on after a joiner, in ``round`` 1, 2, ..; joiners count as written. So the rows with ``round =
0`` are the clone's own, and all of them the forced trace: of the same random numbers, one is the other's beginning.

``arm = verifier``: a row for each attempt of the base with the probability that it is right (``score``).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_validation.grading import Grader, Item, final_answer
from llm_validation.llama_math.bench import HELD_OUT, Bench, Cell
from llm_validation.llama_math.labelled import read_by_verifier
from llm_validation.llama_math.model import Language, scores
from llm_validation.llama_math.problems import Problem
from llm_validation.llama_math.prompts import prompt
from llm_validation.llama_math.recipe import Recipe
from llm_validation.sampling.backend import Generation, Request, Sampling, request_seed
from llm_validation.sampling.transformers_backend import TransformersBackend
from llm_validation.staged.cells import CellError, Done

__all__ = ["CLONE", "VERIFIER", "cells", "ends_of_attempts", "run"]

CLONE, VERIFIER = "clone", "verifier"


def cells(recipe: Recipe) -> list[Cell]:
    """Batches of traces of every clone, then every verifier."""
    traces = recipe.trained.held_out * recipe.evaluate.samples
    trained = [(n, seed) for n in recipe.grid.n for seed in range(recipe.grid.seeds)]
    parts = range(-(-traces // recipe.evaluate.batch))
    return [
        *(Cell(n=n, seed=seed, part=part, arm=CLONE) for n, seed in trained for part in parts),
        *(Cell(n=n, seed=seed, arm=VERIFIER) for n, seed in trained),
    ]


def run(bench: Bench, cell: Cell) -> Done:
    """Write or score. Raises :class:`CellError`."""
    return Done(_scored(bench, cell) if cell.arm == VERIFIER else _written(bench, cell))


def _scored(bench: Bench, cell: Cell) -> list[dict[str, Any]]:
    """Equal attempts at a problem are read once."""
    trained = bench.recipe.trained
    attempts = bench.attempts(trained.name, HELD_OUT)
    rows: list[dict[str, Any]] = []
    read: list[list[int]] = []
    places: list[int] = []
    known: dict[tuple[int, ...], int] = {}
    for problem in bench.problems(trained.name, HELD_OUT):
        for attempt in attempts[problem.problem_id]:
            ids = read_by_verifier(bench.base, problem, attempt, trained.chat)
            place = known.setdefault(tuple(ids), len(known))
            if place == len(read):
                read.append(ids)
            places.append(place)
            rows.append(_row(cell, problem, attempt.sample, tokens=attempt.tokens, answer=attempt.answer,
                             correct=attempt.correct, complete=not attempt.truncated))  # fmt: skip
    found = scores(bench.verifier(cell), read, bench.base.end, bench.recipe.evaluate.batch)
    return [{**row, "score": float(found[place])} for row, place in zip(rows, places, strict=True)]


def _row(cell: Cell, problem: Problem, sample: int, **values: Any) -> dict[str, Any]:
    known = {"round": 0, "attempt": 0, "tokens": 0, "answer": None, "correct": False, "complete": False, "ended": False}
    return {**cell.row(), "problem_id": problem.problem_id, "sample": sample, **known, "score": math.nan, **values}


@dataclass(slots=True)
class _Trace:
    """A trace that is being written: its text after the question, tokens so far, and attempts."""

    problem: Problem
    sample: int
    asked: str
    text: str = ""
    tokens: int = 0
    attempts: list[dict[str, Any]] = field(default_factory=list)  # text, tokens, round, complete, ended


def _written(bench: Bench, cell: Cell) -> list[dict[str, Any]]:
    recipe, trained = bench.recipe, bench.recipe.trained
    problems = bench.problems(trained.name, HELD_OUT)
    start, each = cell.part * recipe.evaluate.batch, recipe.evaluate.samples
    numbers = range(start, min(start + recipe.evaluate.batch, len(problems) * each))
    traces = [_Trace(problems[i // each], i % each, prompt(problems[i // each], 0)) for i in numbers]
    clone = bench.clone(cell)
    _write(clone, recipe, cell, traces)
    with Grader(timeout=recipe.grading_timeout) as grader:
        return [row for trace in traces for row in _rows(cell, trace, grader)]


def _write(clone: Language, recipe: Recipe, cell: Cell, traces: Sequence[_Trace]) -> None:
    """Round after round until every trace is at the budget, or has ended where nothing is forced."""
    H, trained = recipe.grid.horizons[-1], recipe.trained
    backend = TransformersBackend(clone.model, clone.words)
    joiner = recipe.stitch.joiner
    length = len(clone.ids(joiner))
    sampling = Sampling(recipe.evaluate.temperature, H, "", chat=trained.chat)
    going, turn = list(traces), 0
    while going:
        requests = [
            Request(
                trace.asked,
                request_seed(recipe.seed, "clone", cell.n, cell.seed, trace.problem.problem_id, trace.sample, turn),
                horizon=H - trace.tokens,
                begun=trace.text,
            )
            for trace in going
        ]
        for trace, found in zip(going, backend.generate(requests, sampling), strict=True):
            _add(clone, trace, found, turn, joiner)
        going = [trace for trace in going if recipe.evaluate.forcing and trace.tokens + length < H]
        for trace in going:
            trace.text += joiner
            trace.tokens += length
        turn += 1


def _add(clone: Language, trace: _Trace, found: Generation, turn: int, joiner: str) -> None:
    """Cut what was written into attempts. Raises :class:`CellError` if it failed."""
    if found.error is not None:
        raise CellError(f"problem {trace.problem.problem_id}, sample {trace.sample}: {found.error}")
    pieces = found.text.split(joiner)
    ends = [*ends_of_attempts(clone, found.ids, pieces, joiner), found.tokens]
    for number, (piece, end) in enumerate(zip(pieces, ends, strict=True)):
        is_last = number == len(pieces) - 1
        complete = not (is_last and found.truncated)
        trace.attempts.append({
            "text": piece,
            "tokens": trace.tokens + end,
            "round": turn,
            "complete": complete,
            "ended": is_last and complete,
        })  # fmt: skip
    trace.text += found.text
    trace.tokens += found.tokens


def ends_of_attempts(clone: Language, ids: Sequence[int], pieces: Sequence[str], joiner: str) -> Iterator[int]:
    """Tokens after which each attempt but the last is complete: those whose text reaches into the joiner after it."""
    place = 0
    for piece in pieces[:-1]:
        place += len(piece)
        yield bisect.bisect_right(range(1, len(ids)), place, key=lambda t: len(clone.text(ids[:t]))) + 1
        place += len(joiner)


def _rows(cell: Cell, trace: _Trace, grader: Grader) -> Iterator[dict[str, Any]]:
    kind = trace.problem.kind
    items = [
        Item(trace.problem.answer, final_answer(found["text"], kind) if found["complete"] else None, kind)
        for found in trace.attempts
    ]
    for number, (found, verdict) in enumerate(zip(trace.attempts, grader.grade(items), strict=True)):
        rest = {name: found[name] for name in ("round", "tokens", "complete", "ended")}
        yield _row(
            cell, trace.problem, trace.sample, attempt=number, answer=verdict.canonical, correct=verdict.correct, **rest
        )
