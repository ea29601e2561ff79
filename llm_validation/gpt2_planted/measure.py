r"""Stage ``measure``: what the trained base is, from its own samples, beside the exact law of the procedural mixture.

Two kinds of cells, by ``arm``:

* ``pool``: ``measure.samples`` draws on each of ``measure.prompts`` held-out prompts. For every horizon: J, sigma
  (the root of :math:`E_x\mathrm{Var}(R|x)`), solve rate, :math:`c_x(\varepsilon)` averaged over prompts (proved bands,
  wide with few samples a prompt), ``c pooled`` :math:`P(R\ge J+\varepsilon\sigma)` over prompts and traces (threshold
  taken as it was estimated) and P(T <= t), each with a 95% interval over prompts, and the exact value under the
  mixture. Best-of-N picks among these draws.
* ``draws``: the training draws of one seed on training prompts, for all that follows: enough that the largest n is
  there in all and, at the smallest horizon, solved.

A base that is further than ``base.most_kl`` from the exact law, or whose solve rate is further than ``base.tolerance``
from the mixture's at a horizon, has not learnt the task: :func:`refused` names it, and nothing is built on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_validation.concentration import concentration, mean_concentration
from llm_validation.gpt2_planted.bench import Bench, Cell, Drawn
from llm_validation.gpt2_planted.network import sample
from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.gpt2_planted.world import Floats, Laws, returns_of
from llm_validation.moments import Interval, bootstrap_mean, moments, problem_moments
from llm_validation.staged.cells import Done
from llm_validation.staged.keys import key_of, words_of

__all__ = ["POOL", "cells", "draws_of", "pool_of", "refused", "run"]

POOL, DRAWS = "pool", "draws"
EPSILONS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
_BLOCK = 1024
#: Draws of one seed, as a multiple of the largest n, after which solved ones are no longer waited for.
_PATIENCE = 16


def cells(recipe: Recipe) -> list[Cell]:
    """A pool for each level, draws for each level and seed."""
    levels = range(len(recipe.task.levels))
    pools = [Cell(level=level, arm=POOL) for level in levels]
    return pools + [Cell(level=level, seed=s, arm=DRAWS) for level in levels for s in range(recipe.grid.seeds)]


def pool_of(bench: Bench, level: int, H: int) -> Drawn:
    """The pool of a level: draws of one prompt lie together."""
    return bench.draws("measure", Cell(level=level, arm=POOL), H)


def draws_of(bench: Bench, level: int, seed: int, H: int) -> Drawn:
    """Training draws of a level and seed."""
    return bench.draws("measure", Cell(level=level, seed=seed, arm=DRAWS), H)


def run(bench: Bench, cell: Cell) -> Done:
    """Draw, keep, and measure."""
    return _pool(bench, cell) if cell.arm == POOL else _draws(bench, cell)


def _row(cell: Cell, H: int, quantity: str, found: Interval, exact: float, at: float = math.nan) -> dict[str, Any]:
    interval = {"estimate": found.estimate, "low": found.low, "high": found.high}
    return {**cell.at(horizon=H).row(), "quantity": quantity, "at": at, **interval, "exact": exact}


def _point(value: float) -> Interval:
    return Interval(value, value, value, method="count")


def _draws(bench: Bench, cell: Cell) -> Done:
    recipe, world = bench.recipe, bench.world
    H, n = recipe.grid.horizons, recipe.grid.n[-1]
    model = bench.base(cell.level)
    words = words_of(recipe.seed, "draws", cell.identity)
    prompts, tokens, times = [], [], []
    count = solved = 0
    while count < n or (solved < n and count < _PATIENCE * n):
        prompts.append(world.drawn(_BLOCK, words))
        tokens.append(sample(model, world.words[prompts[-1]], H[-1], words))
        times.append(world.solve_times(prompts[-1], tokens[-1]))
        count += _BLOCK
        solved += int(((times[-1] > 0) & (times[-1] <= H[0])).sum())
    digest = bench.keep_draws("measure", cell, np.concatenate(prompts), np.concatenate(tokens))
    rows = [_row(cell, h, "draws", _point(float(count)), math.nan) for h in H[-1:]] + [
        _row(cell, h, "solved draws", _point(float(sum(int(((t > 0) & (t <= h)).sum()) for t in times))), math.nan)
        for h in H
    ]
    return Done(rows, digest)


def _pool(bench: Bench, cell: Cell) -> Done:
    recipe, world = bench.recipe, bench.world
    prompt = np.repeat(world.held_out[: recipe.measure.prompts], recipe.measure.samples)
    words = words_of(recipe.seed, "pool", cell.identity)
    tokens = sample(bench.base(cell.level), world.words[prompt], recipe.grid.horizons[-1], words)
    times = world.solve_times(prompt, tokens)
    digest = bench.keep_draws("measure", cell, prompt, tokens)
    rows: list[dict[str, Any]] = []
    for H in recipe.grid.horizons:
        rows += _measured(cell, H, prompt, times, world.laws(cell.level, H), key_of(recipe.seed, "pool") % 2**31)
    return Done(rows, digest)


def _measured(cell: Cell, H: int, prompt: Any, times: Any, law: Laws, seed: int) -> list[dict[str, Any]]:
    returns = returns_of(times, H).astype(np.float64)
    numbers, problem = np.unique(prompt, return_inverse=True)
    known = moments(problem_moments(problem, returns), H, seed)
    solved = (times > 0) & (times <= H)
    rows = [
        _row(cell, H, "J", known["mu"], law.J),
        _row(cell, H, "sigma", known["sigma"], law.sigma),
        _row(cell, H, "solve rate", _rate(problem, solved, numbers.size, seed), law.solve_rate),
        _row(
            cell, H, "solved mean", _point(float(returns[solved].mean()) if solved.any() else math.nan), law.solved_mean
        ),
        _row(cell, H, "solved sigma", _point(_solved_sigma(problem[solved], returns[solved])), law.solved_sigma),
    ]
    found = concentration(problem, returns, float(H), np.array(EPSILONS), 0.01)
    exact = law.concentration(EPSILONS)
    for epsilon, interval, value in zip(EPSILONS, mean_concentration(found, seed), exact, strict=True):
        rows.append(_row(cell, H, "c", interval, float(value), epsilon))
    level = known["mu"].estimate + known["sigma"].estimate * np.array(EPSILONS) - 1e-9 * H
    for epsilon, threshold, value in zip(EPSILONS, level, law.pooled(EPSILONS), strict=True):
        share = _rate(problem, returns >= threshold, numbers.size, seed)
        rows.append(_row(cell, H, "c pooled", share, float(value), epsilon))
    reached = np.cumsum(law.masses)
    for t in _times(H):
        early = _rate(problem, (times > 0) & (times <= t), numbers.size, seed)
        rows.append(_row(cell, H, "P(T<=t)", early, float(reached[t - 1]), t))
    return rows


def _rate(problem: Any, event: Any, count: int, seed: int) -> Interval:
    share = np.bincount(problem, event, minlength=count) / np.bincount(problem, minlength=count)
    return bootstrap_mean(share.astype(np.float64), seed, low=0.0, high=1.0)


def _solved_sigma(problem: Any, returns: Floats) -> float:
    """Root of the variance within prompts of what solved, each trace counting once."""
    found = problem_moments(problem, returns)
    usable = found.samples >= 2
    if not usable.any():
        return math.nan
    freedom = found.samples[usable] - 1
    return math.sqrt(float((freedom * found.variance[usable]).sum() / freedom.sum()))


def _times(H: int) -> list[int]:
    """Steps at which the law of T is tabulated: every one up to 64, else 64 of them."""
    return sorted({int(t) for t in np.linspace(1, H, min(H, 64)).round()})


def refused(recipe: Recipe, bases: Sequence[dict[str, Any]], measured: Sequence[dict[str, Any]]) -> list[str]:
    """What is wrong with bases that have not learnt the task, a line each; rows of ``base`` and of ``measure``."""
    off, most = recipe.base.tolerance, recipe.base.most_kl
    unlike = [
        f"base of level {row['level']}: {row['kl_per_token']:.3g} nats a token from the exact law; expected at most "
        f"base.most_kl = {most:g}: train longer"
        for row in bases
        if not row["kl_per_token"] <= most
    ]
    return unlike + [
        f"base of level {row['level']}: solves {row['estimate']:.3f} within {row['horizon']} tokens, the mixture "
        f"{row['exact']:.3f}; expected within base.tolerance = {off:g}: train longer"
        for row in measured
        if row["quantity"] == "solve rate" and not abs(row["estimate"] - row["exact"]) <= off
    ]
