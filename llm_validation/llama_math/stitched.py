"""Stage ``stitch``: of each of n training problems a stitched trace, where its attempts give one.

The problems of a seed are the first n of an order of its own, and a problem's trace does not depend on n: the traces of
a smaller n are among those of a larger one.
"""

from __future__ import annotations

from llm_validation.llama_math.bench import TRAIN, Bench, Cell
from llm_validation.llama_math.recipe import Recipe
from llm_validation.llama_math.stitching import Piece, stitch
from llm_validation.staged.cells import Done
from llm_validation.staged.keys import words_of
from sim.tasks.token_task import uniforms

__all__ = ["cells", "run"]


def cells(recipe: Recipe) -> list[Cell]:
    """Every n and seed."""
    return [Cell(n=n, seed=seed) for n in recipe.grid.n for seed in range(recipe.grid.seeds)]


def run(bench: Bench, cell: Cell) -> Done:
    """A row for each problem; ``text`` is None where there is no trace."""
    recipe, words = bench.recipe, bench.base
    attempts = bench.attempts(recipe.trained.name, TRAIN)
    rows = []
    for problem in bench.chosen(cell.n, cell.seed):
        mine = attempts[problem.problem_id]
        pieces = [Piece(a.sample, a.text, a.correct) for a in mine if not a.truncated]
        drawn = uniforms(words_of(recipe.seed, "stitch", cell.seed, problem.problem_id), 2 + len(pieces))
        found = stitch(
            pieces,
            recipe.stitch.joiner,
            recipe.stitch.budget,
            (recipe.stitch.least, recipe.stitch.most),
            recipe.stitch.order,
            drawn,
            lambda text: len(words.ids(text)),
        )
        rows.append({
            **cell.row(),
            "problem_id": problem.problem_id,
            "attempts": len(mine),
            "right": sum(attempt.correct for attempt in mine),
            "text": found.text if found else None,
            "tokens": found.tokens if found else 0,
            "wrong_stitched": len(found.attempts) - 1 if found else 0,
        })  # fmt: skip
    return Done(rows)
