"""Stage ``problems``: which problems of every set are trained on and which are held out, in their order."""

from __future__ import annotations

import dataclasses
import sys

from llm_validation.llama_math.bench import HELD_OUT, TRAIN, Bench, Cell
from llm_validation.llama_math.problems import ProblemError, arranged, read_problems, sides
from llm_validation.llama_math.recipe import Recipe
from llm_validation.staged.cells import CellError, Done

__all__ = ["cells", "run"]


def cells(recipe: Recipe) -> list[Cell]:
    """One for every set."""
    return [Cell(set=problems.name) for problems in recipe.sets]


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def run(bench: Bench, cell: Cell) -> Done:
    """Read, order and part. Raises :class:`CellError`."""
    recipe = bench.recipe
    wanted = recipe.set(cell.set)
    try:
        everything = read_problems(wanted.source, recipe.seed, _say)
        if wanted.held_out_source:
            train = arranged(everything, wanted.order, recipe.seed)[: wanted.train]
            shown = {problem.problem_id for problem in train}
            others = [p for p in read_problems(wanted.held_out_source, recipe.seed, _say) if p.problem_id not in shown]
            held_out = arranged(others, wanted.order, recipe.seed)[: wanted.held_out]
            if len(train) < wanted.train or len(held_out) < wanted.held_out:
                raise ProblemError(f"{len(train)} and {len(held_out)} problems, expected {wanted.train} to train on "
                                   f"and {wanted.held_out} held out")  # fmt: skip
        else:
            train, held_out = sides(arranged(everything, wanted.order, recipe.seed), wanted.train, wanted.held_out)
    except ProblemError as error:
        raise CellError(f"set {cell.set}: {error}") from None
    return Done([
        {**cell.at(split=split).row(), "number": number, **dataclasses.asdict(problem)}
        for split, side in ((TRAIN, train), (HELD_OUT, held_out))
        for number, problem in enumerate(side)
    ])  # fmt: skip
