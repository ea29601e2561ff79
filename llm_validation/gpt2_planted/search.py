r"""Stage ``best-of-n``: the verifier of the same n labelled draws picks among N draws of the base, held-out prompts.

Of each prompt's draws in the pool every subset of N is averaged over (:func:`llm_validation.test_time.kept_of_draws`):
unbiased for N independent draws. The ``oracle`` arm picks by the true return: what a perfect verifier would give. Value
and standard error are over prompts; different seeds judge different prompts.

The draw that is kept loses at most the errors of two distinct draws against the best of the N, so on the very draws of
the pool :math:`J(\text{oracle})-J(\text{kept})\le N\,\varepsilon_{ver}`, with :math:`\varepsilon_{ver}` the mean of
:math:`|\hat R-R|` over all of them (the same number on each prompt): ``J_oracle`` and ``epsilon_ver`` stand beside J.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from llm_validation.gpt2_planted.bench import Bench, Cell, Drawn
from llm_validation.gpt2_planted.labelling import PER_TOKEN, learnt_return, mine_of_pool, verifier_of
from llm_validation.gpt2_planted.labelling import cells as verifier_cells
from llm_validation.gpt2_planted.network import scores
from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.gpt2_planted.world import Floats, returns_of
from llm_validation.staged.cells import Done
from llm_validation.test_time import kept_of_draws

__all__ = ["ORACLE", "cells", "run"]

ORACLE = "oracle"


def cells(recipe: Recipe) -> list[Cell]:
    """One for each verifier, and the oracle for each level, horizon and seed."""
    grid, levels = recipe.grid, range(len(recipe.task.levels))
    oracles = [
        Cell(level=level, horizon=H, seed=seed, arm=ORACLE)
        for level in levels
        for H in grid.horizons
        for seed in range(grid.seeds)
    ]
    return [*verifier_cells(recipe), *oracles]


def run(bench: Bench, cell: Cell) -> Done:
    """A row for each N."""
    pool = mine_of_pool(bench, cell, bench.recipe.measure.samples)
    returns = returns_of(pool.times, cell.horizon).astype(np.float64)
    keys, error = returns, math.nan
    if cell.arm != ORACLE:
        p = scores(verifier_of(bench, cell), bench.world.words[pool.prompt], pool.tokens)
        keys = learnt_return(p, cell.arm)
    if cell.arm == PER_TOKEN:
        error = float(np.abs(keys - returns).mean())
    return Done(_rows(bench, cell, pool, returns, keys, error))


def _rows(bench: Bench, cell: Cell, pool: Drawn, returns: Floats, keys: Floats, error: float) -> list[dict[str, Any]]:
    N = bench.recipe.best_of_n.N
    _, problem = np.unique(pool.prompt, return_inverse=True)
    solved = (returns > 0).astype(np.float64)
    columns = {
        name: kept_of_draws(problem, values, by, N)[1]
        for name, values, by in (
            ("J", returns, keys),
            ("J_oracle", returns, returns),
            ("solve_rate", solved, keys),
            ("learnt", keys, keys),
        )
    }
    size = len(columns["J"])
    return [
        {
            **cell.row(),
            "N": count,
            **{name: float(values[:, i].mean()) for name, values in columns.items()},
            "J_se": float(columns["J"][:, i].std(ddof=1)) / math.sqrt(size),
            "epsilon_ver": error,
            "prompts": size,
        }
        for i, count in enumerate(N)
    ]
