r"""Stage ``vf``: verifier-free learning, supervised fine-tuning (TRL) of the base on solved draws of the base.

What is cloned, by ``arm``, for a data budget n and horizon H:

* ``equal-draws``: those of the first n training draws that solve within H. The comparison with a verifier trained on
  the same n draws is the one of ``garbling``: dropping the labels cannot help the best learner;
* ``equal-draws-fastest``: the fastest quarter of these (at least one): the labels say when a trace solved;
* ``equal-traces``: the first n draws that solve, however many it took: the accounting in which cloning is given n
  expert traces.

The loss is the mean negative log-likelihood of the trace's H tokens, the prompt's are given. As for verifiers, some of
the traces, at least one, are kept aside: of the checkpoints the one with the least loss on them is the clone, and the
base is one of them. With fewer than two traces the policy is the base.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from llm_validation.gpt2_planted.bench import Bench, Cell, Drawn
from llm_validation.gpt2_planted.measure import draws_of
from llm_validation.gpt2_planted.network import log_probabilities, tokenizer, with_dropout
from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.gpt2_planted.world import World
from llm_validation.staged.cells import Done
from llm_validation.staged.keys import key_of
from llm_validation.staged.training import Best, FineTuning, fine_tune

__all__ = ["cells", "chosen", "run"]


def cells(recipe: Recipe) -> list[Cell]:
    """Every level, horizon, n, seed and arm."""
    grid = recipe.grid
    return [
        Cell(level, H, n, seed, arm)
        for level in range(len(recipe.task.levels))
        for H in grid.horizons
        for n in grid.n
        for seed in range(grid.seeds)
        for arm in recipe.vf.arms
    ]


def chosen(drawn: Drawn, cell: Cell) -> Drawn:
    """The traces that the arm clones."""
    if cell.arm == "equal-traces":
        return drawn.where(np.flatnonzero(drawn.within(cell.horizon))[: cell.n])
    solved = drawn.first(cell.n)
    solved = solved.where(solved.within(cell.horizon))
    if cell.arm == "equal-draws-fastest":
        fastest = np.argsort(solved.times, kind="stable")[: max(1, len(solved.times) // 4)]
        return solved.where(np.sort(fastest))  # in the order of the draws: any part of them is like any other
    return solved


def run(bench: Bench, cell: Cell) -> Done:
    """Clone, and keep the policy."""
    recipe = bench.recipe
    drawn = draws_of(bench, cell.level, cell.seed, cell.horizon)
    mine = chosen(drawn, cell)
    model = with_dropout(bench.base(cell.level), recipe.vf.dropout)
    steps, best, loss = 0, 0, math.nan
    if len(mine.times) > 1:
        aside = max(1, int(recipe.vf.validation * len(mine.times)))
        steps = _steps(recipe, len(mine.times) - aside)
        best, loss = _fine_tune(bench.world, cell, model, (mine.first(aside), mine.where(slice(aside, None))), steps)
    used = cell.n
    if cell.arm == "equal-traces":  # all draws up to the last that was taken
        used = int(np.flatnonzero(drawn.within(cell.horizon))[: cell.n].max(initial=-1)) + 1
    row = {**cell.row(), "draws": used, "traces": len(mine.times)}
    row |= {"steps": steps, "best_step": best, "validation_loss": loss}
    return Done([row], bench.save(model, "vf", cell))


def _steps(recipe: Recipe, traces: int) -> int:
    """Steps of ``epochs`` passes over the traces, cut at the most that the recipe allows."""
    return min(recipe.vf.epochs * -(-traces // recipe.vf.batch), recipe.vf.most_steps)


def _fine_tune(world: World, cell: Cell, model: Any, traces: tuple[Drawn, Drawn], steps: int) -> tuple[int, float]:
    """At most ``steps`` steps on the second part; the step of the best checkpoint on the first, and its loss."""
    recipe = world.recipe
    vf, (kept, mine) = recipe.vf, traces
    best = Best(model, _loss(world, kept), max(1, steps // vf.checks), steps, vf.patience)
    seed = key_of(recipe.seed, "vf", cell.identity) % 2**31
    settings = FineTuning(steps, vf.batch, vf.learning_rate, recipe.base.weight_decay, seed, recipe.device)
    ids = list(zip(world.words[mine.prompt].tolist(), mine.tokens.tolist(), strict=True))
    fine_tune(model, tokenizer(recipe.task.V), ids, settings, best)
    return best.step, best.least


def _loss(world: World, kept: Drawn) -> Any:
    """Mean negative log-likelihood of the tokens of ``kept``, nats a token."""

    def loss(model: Any) -> float:
        return -float(log_probabilities(model, world.words[kept.prompt], kept.tokens).mean())

    return loss
