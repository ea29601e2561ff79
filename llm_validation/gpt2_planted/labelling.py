r"""Stage ``verifier``: the base's transformer with a scalar head, binary cross-entropy on n labelled draws of the base.

Two kinds of labels, the ``arm``: ``per-token`` gives :math:`r_h` (has it solved by token h) at every token, ``final``
only whether it solved, at the last token. The learnt return is :math:`\hat R=\sum_h\hat p_h` of the first; the second
knows no time and scores a trace by :math:`\hat p_H`. Some of the n draws are kept aside to choose among checkpoints.

Quality is measured on the pool (held-out prompts): AUROC, accuracy, Brier score and calibration error of
:math:`\hat p_H`, error of the learnt return, accuracy at tokens. *Style-matched* wrong traces are solved traces of
other prompts, put to prompts whose gold they do not hold: right and wrong ones come from one law of styles, so that
what tells them apart is correctness.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from llm_validation.gpt2_planted.bench import Bench, Cell, CellError, Done, Drawn
from llm_validation.gpt2_planted.measure import draws_of, pool_of
from llm_validation.gpt2_planted.network import (
    CheckpointError,
    load_verifier,
    new_verifier,
    scores,
    seeded,
    sequences,
    with_dropout,
)
from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.gpt2_planted.training import fit
from llm_validation.gpt2_planted.world import Floats, Ints, World, key_of, returns_of, words_of
from llm_validation.moments import bootstrap_mean
from llm_validation.verifier_quality import auroc
from sim.tasks.token_task import uniforms

__all__ = ["PER_TOKEN", "cells", "learnt_return", "mine_of_pool", "rewards_of", "run", "verifier_of"]

PER_TOKEN = "per-token"
#: Draws of each prompt of the pool on which quality is measured.
_JUDGED = 4
_BINS = 10


def cells(recipe: Recipe) -> list[Cell]:
    """Every level, horizon, n, seed and kind of labels."""
    grid = recipe.grid
    return [
        Cell(level, H, n, seed, labels)
        for level in range(len(recipe.task.levels))
        for H in grid.horizons
        for n in grid.n
        for seed in range(grid.seeds)
        for labels in recipe.verifier.labels
    ]


def verifier_of(bench: Bench, cell: Cell) -> Any:
    """The verifier that a cell left. Raises :class:`CellError`."""
    try:
        return load_verifier(bench.file("verifier", cell), bench.digest("verifier", cell), bench.recipe.device)
    except CheckpointError as error:
        raise CellError(str(error)) from None


def mine_of_pool(bench: Bench, cell: Cell, samples: int) -> Drawn:
    """The part of the pool that judges this seed: every ``seeds``-th prompt, ``samples`` draws of each."""
    pool, seeds, each = pool_of(bench, cell.level, cell.horizon), bench.recipe.grid.seeds, bench.recipe.measure.samples
    number = np.arange(len(pool.times))
    return pool.where((number // each % seeds == cell.seed) & (number % each < samples))


def rewards_of(times: Ints, H: int) -> Floats:
    """r_h for h = 1..H, (B, H)."""
    return np.asarray((times[:, None] > 0) & (np.arange(1, H + 1) >= times[:, None]), dtype=np.float64)


def learnt_return(p: Floats, labels: str) -> Floats:
    """Score of each trace from ``p`` (B, H): tokens for ``per-token`` labels, a probability for ``final`` ones."""
    return np.asarray(p.sum(axis=1) if labels == PER_TOKEN else p[:, -1])


def run(bench: Bench, cell: Cell) -> Done:
    """Train, keep and judge the verifier."""
    drawn = draws_of(bench, cell.level, cell.seed, cell.horizon).first(cell.n)
    model, best, loss = _trained(bench, cell, drawn)
    pool = mine_of_pool(bench, cell, _JUDGED)
    world = bench.world
    p = scores(model, world.words[pool.prompt], pool.tokens)
    matched = _style_matched(world, cell, pool)
    p_matched = scores(model, world.words[matched.prompt], matched.tokens)[:, -1]
    row = {
        **cell.row(),
        "labels_right": int(drawn.within(cell.horizon).sum()),
        "best_step": best,
        "validation_loss": loss,
        **_quality(bench.recipe, cell, pool, p),
        **_against(pool, p[:, -1], p_matched, cell, key_of(bench.recipe.seed, "auroc") % 2**31),
    }
    return Done([row], bench.save(model, "verifier", cell))


def _trained(bench: Bench, cell: Cell, drawn: Drawn) -> tuple[Any, int, float]:
    """The verifier with the least loss on draws kept aside, the step it is from, and that loss (NaN without)."""
    import torch

    recipe, world = bench.recipe, bench.world
    seed = key_of(recipe.seed, "verifier", cell.identity)
    model = with_dropout(new_verifier(bench.base(cell.level), seed), recipe.verifier.dropout).to(recipe.device)
    aside = int(recipe.verifier.validation * cell.n)
    kept, used = drawn.first(aside), drawn.where(slice(aside, None))
    labels = {"used": rewards_of(used.times, cell.horizon), "kept": rewards_of(kept.times, cell.horizon)}
    ids = sequences(world.words[kept.prompt], kept.tokens).to(recipe.device)
    held = {"input_ids": ids, "labels": torch.from_numpy(labels["kept"].astype(np.float32)).to(recipe.device)}
    loss = _loss(cell.arm)
    found: dict[str, Any] = {"step": recipe.verifier.steps, "loss": math.nan, "weights": None}
    every = max(1, recipe.verifier.steps // recipe.verifier.checks)

    def after(step: int) -> bool:
        if not aside or (step % every and step != recipe.verifier.steps):
            return False
        model.eval()
        with torch.inference_mode():
            value = float(loss(model, held))
        model.train()
        if not value >= found["loss"]:  # the first, or less than before
            found.update(step=step, loss=value, weights=copy.deepcopy(model.state_dict()))
        return bool(step >= found["step"] + recipe.verifier.patience * every)

    seeded(seed)
    batches = _batches(world, cell, used, labels["used"])
    settings = recipe.verifier
    fit(model, batches, loss, settings.steps, settings.learning_rate, settings.weight_decay, recipe.device, after=after)
    if found["weights"] is not None:
        model.load_state_dict(found["weights"])
    return model, found["step"], found["loss"]


def _batches(world: World, cell: Cell, used: Drawn, labels: Floats) -> Any:
    """Batches of traces and labels without end, drawn anew in every pass."""
    import torch

    recipe = world.recipe
    ids = sequences(world.words[used.prompt], used.tokens)
    wanted = torch.from_numpy(labels.astype(np.float32))
    size = min(recipe.verifier.batch, len(ids))

    class Batches(torch.utils.data.IterableDataset[dict[str, Any]]):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            words = words_of(recipe.seed, "verifier batches", cell.identity)
            while True:
                order = torch.from_numpy(np.argsort(uniforms(words, len(ids)), kind="stable"))
                for start in range(0, len(ids) - size + 1, size):
                    rows = order[start : start + size]
                    yield {"input_ids": ids[rows], "labels": wanted[rows]}

    return Batches()


def _loss(labels: str) -> Any:
    """Binary cross-entropy at every token of the trace, or at its last."""
    import torch

    def loss(model: Any, inputs: Any) -> Any:
        wanted = inputs["labels"]
        logits = model(input_ids=inputs["input_ids"]).logits[:, -wanted.shape[1] :, 0].float()
        if labels != PER_TOKEN:
            logits, wanted = logits[:, -1], wanted[:, -1]
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)

    return loss


def _style_matched(world: World, cell: Cell, pool: Drawn) -> Drawn:
    """Solved traces of the pool put to other prompts of it that they do not solve; at most one for each."""
    solved = pool.where(pool.within(cell.horizon))
    if len(solved.times) < 2:
        return solved.first(0)
    words = words_of(world.recipe.seed, "style", cell.level, cell.horizon, cell.seed)
    other = np.roll(solved.prompt, 1 + int(uniforms(words, 1)[0] * (len(solved.prompt) - 1)))
    times = world.solve_times(other, solved.tokens)
    return Drawn(other, solved.tokens, times).where((times == 0) | (times > cell.horizon))


def _quality(recipe: Recipe, cell: Cell, pool: Drawn, p: Floats) -> dict[str, Any]:
    H = cell.horizon
    right = pool.within(H).astype(np.float64)
    true = returns_of(pool.times, H).astype(np.float64)
    last = p[:, -1]
    per_token = cell.arm == PER_TOKEN
    error = np.abs(learnt_return(p, cell.arm) - true) if per_token else np.full(right.size, math.nan)
    tokens = ((p > 0.5) == (rewards_of(pool.times, H) > 0.5)).mean() if per_token else math.nan
    _, problem = np.unique(pool.prompt, return_inverse=True)
    by_prompt = np.bincount(problem, error) / np.bincount(problem)
    epsilon = bootstrap_mean(by_prompt, key_of(recipe.seed, "error") % 2**31) if per_token else None
    return {
        "accuracy": float(((last > 0.5) == (right > 0.5)).mean()),
        "brier": float(((last - right) ** 2).mean()),
        "ece": _ece(last, right),
        "token_accuracy": float(tokens),
        "epsilon_ver": epsilon.estimate if epsilon else math.nan,
        "epsilon_ver_low": epsilon.low if epsilon else math.nan,
        "epsilon_ver_high": epsilon.high if epsilon else math.nan,
    }


def _ece(p: Floats, right: Floats) -> float:
    """Calibration error over ten bins of equally many traces."""
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, _BINS) if part.size]
    return float(sum(part.size * abs(p[part].mean() - right[part].mean()) for part in parts) / p.size)


def _against(pool: Drawn, last: Floats, matched: Floats, cell: Cell, seed: int) -> dict[str, Any]:
    """AUROC against the wrong traces of the base, and against style-matched ones."""
    right = pool.within(cell.horizon).astype(np.float64)
    _, problem = np.unique(pool.prompt, return_inverse=True)
    plain = auroc(problem, last, right, seed)
    mine = last[right == 1.0]
    both = np.concatenate([mine, matched])
    label = np.concatenate([np.ones(mine.size), np.zeros(matched.size)])
    style = auroc(np.arange(both.size), both, label, seed)
    return {
        "auroc": plain.estimate,
        "auroc_low": plain.low,
        "auroc_high": plain.high,
        "auroc_style": style.estimate,
        "style_matched": int(matched.size),
        "style_accepted": float((matched > 0.5).mean()) if matched.size else math.nan,
    }
