r"""Stage ``data``: procedural traces of every level, and the exact laws that everything is held against.

A cell is a level: it draws the base's traces of the mixture on training prompts (one file) and tabulates, for each
horizon, what ``planted-law`` says of held-out prompts: J, sigma, solve rate, and the same of solved traces only.
"""

from __future__ import annotations

from llm_validation.gpt2_planted.bench import Bench, Cell
from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.staged.cells import Done
from llm_validation.staged.keys import words_of

__all__ = ["cells", "run"]


def cells(recipe: Recipe) -> list[Cell]:
    """One for each level."""
    return [Cell(level=level) for level in range(len(recipe.task.levels))]


def run(bench: Bench, cell: Cell) -> Done:
    """Draw and keep the traces; a row for each horizon."""
    from sim.tasks.planted_traces import draw_traces

    recipe, world = bench.recipe, bench.world
    task = world.levels[cell.level]
    words = words_of(recipe.seed, "data", cell.identity)
    prompt = world.drawn(recipe.base.traces, words)
    tokens, _ = draw_traces(task, world.automata, prompt, words, recipe.task.after)
    digest = bench.keep_draws("data", cell, prompt, tokens)
    found = []
    for H in recipe.grid.horizons:
        law = world.laws(cell.level, H)
        found.append({
            **cell.at(horizon=H).row(),
            "gamma_low": task.gammas[0],
            "gamma_high": task.gammas[-1],
            "weight_low": task.weights[0],
            "J": law.J,
            "sigma": law.sigma,
            "solve_rate": law.solve_rate,
            "solved_mean": law.solved_mean,
            "solved_sigma": law.solved_sigma,
        })  # fmt: skip
    return Done(found, digest)
