r"""Stage ``evaluate``: every trained policy and the base, by fresh traces on held-out prompts.

One trace of each policy on each of ``evaluate.samples`` held-out prompts: J and its standard error, spread of the
return, solve rate, mean T of what solved, tokens spent until solved (H where never), divergence from the base (mean log
ratio, nats a trace), and for policies trained against a verifier what that verifier makes of the same traces.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from llm_validation.gpt2_planted import cloning, reinforcement
from llm_validation.gpt2_planted.bench import Bench, Cell
from llm_validation.gpt2_planted.labelling import learnt_return, verifier_of
from llm_validation.gpt2_planted.network import log_probabilities, sample, scores
from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.gpt2_planted.world import Ints, returns_of
from llm_validation.staged.cells import Done
from llm_validation.staged.keys import words_of

__all__ = ["BASE", "cells", "run"]

BASE = "base"


def cells(recipe: Recipe) -> list[Cell]:
    """The base of every level, horizon and seed (of the traces), then every policy of ``vf`` and ``rl``."""
    grid = recipe.grid
    bases = [
        Cell(level=level, horizon=H, seed=seed, arm=BASE)
        for level in range(len(recipe.task.levels))
        for H in grid.horizons
        for seed in range(grid.seeds)
    ]
    return [*bases, *cloning.cells(recipe), *reinforcement.cells(recipe)]


def run(bench: Bench, cell: Cell) -> Done:
    """Draw and measure."""
    recipe, world, H = bench.recipe, bench.world, cell.horizon
    base = bench.base(cell.level)
    method = _method(cell)
    policy = base if method == BASE else bench.network(method, cell)
    prompt = np.resize(world.held_out, recipe.evaluate.samples)
    tokens = sample(policy, world.words[prompt], H, words_of(recipe.seed, "evaluate", cell.identity))
    moved = 0.0
    if method != BASE:
        words = world.words[prompt]
        ratio = log_probabilities(policy, words, tokens) - log_probabilities(base, words, tokens)
        moved = float(ratio.sum(axis=1).mean())
    row = {
        **cell.row(),
        "method": method,
        **_summary(world.solve_times(prompt, tokens), H),
        "kl": moved,
        "learnt_return": _learnt(bench, cell, prompt, tokens),
    }
    return Done([row])


def _method(cell: Cell) -> str:
    if cell.arm == BASE:
        return BASE
    return "rl" if cell.arm in (reinforcement.VERIFIER, reinforcement.TRUE) else "vf"


def _learnt(bench: Bench, cell: Cell, prompt: Ints, tokens: Ints) -> float:
    """Mean return by the verifier that the policy was trained against; NaN without one."""
    if cell.arm != reinforcement.VERIFIER:
        return math.nan
    labels = bench.recipe.rl.labels
    verifier = verifier_of(bench, cell.at(arm=labels, kl_weight=0.0))
    return float(learnt_return(scores(verifier, bench.world.words[prompt], tokens), labels).mean())


def _summary(times: Ints, H: int) -> dict[str, Any]:
    returns = returns_of(times, H).astype(np.float64)
    solved = times[(times > 0) & (times <= H)]
    return {
        "samples": int(times.size),
        "J": float(returns.mean()),
        "J_se": float(returns.std(ddof=1)) / math.sqrt(times.size),
        "spread": float(returns.std(ddof=1)),
        "solve_rate": solved.size / times.size,
        "solve_time": float(solved.mean()) if solved.size else math.nan,
        "tokens": float(np.where(returns > 0, times, H).mean()),
    }
