r"""Stage ``verifier``: the base's transformer with a scalar head, binary cross-entropy on n labelled draws of the base.

Two kinds of labels, the ``arm``: ``per-token`` gives :math:`r_h` (has it solved by token h) at every token, ``final``
only whether it solved, at the last token. The learnt return is :math:`\hat R=\sum_h\hat p_h` of the first; the second
knows no time and scores a trace by :math:`\hat p_H`. Some of the n draws are kept aside to choose among checkpoints.

Quality is measured on the pool (held-out prompts): AUROC, accuracy, Brier score and calibration error of
:math:`\hat p_H`, error of the learnt return, accuracy at tokens. The base's wrong traces differ from right ones in
style (a wandering gamma) as well as in correctness, so right traces are also held against two kinds of wrong ones:

* *near misses*: the same traces, one token of every completion of the gold replaced by another, so that they never
  solve; ``paired_near_miss`` is the chance that a trace scores above its own near miss;
* *other prompts*: solved traces of other prompts. One law of styles, but the letters are those of another gold.

None of these is told apart by a complete gold alone. So beside each AUROC stand those of two *cues* on the same traces
that never look for a whole gold: ``letters``, how many tokens are letters of the gold, and ``pairs``, how many adjacent
tokens are neighbours in it. Only what a verifier has above these shows that it reads more than letters or pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from llm_validation.gpt2_planted.bench import Bench, Cell, Drawn
from llm_validation.gpt2_planted.measure import draws_of, pool_of
from llm_validation.gpt2_planted.network import load_verifier, new_verifier, scores, sequences, with_dropout
from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.gpt2_planted.world import Floats, Ints, World, returns_of
from llm_validation.moments import Interval, bootstrap_mean
from llm_validation.staged.cells import CellError, Done
from llm_validation.staged.checkpoints import CheckpointError, seeded
from llm_validation.staged.keys import key_of, words_of
from llm_validation.staged.training import Best, fit
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
    wrong = {"near_miss": _near_misses(world, cell, pool), "other_prompt": _other_prompts(world, cell, pool)}
    at_end = {name: scores(model, world.words[t.prompt], t.tokens)[:, -1] for name, t in wrong.items()}
    at_end[""] = p[:, -1]
    accepted = {f"{name}_accepted": _mean(at_end[name] > 0.5) for name in wrong}
    seed = key_of(bench.recipe.seed, "auroc") % 2**31
    row = {
        **cell.row(),
        "labels_right": int(drawn.within(cell.horizon).sum()),
        "best_step": best,
        "validation_loss": loss,
        **_quality(bench.recipe, cell, pool, p),
        **accepted,
        **_aurocs(pool, wrong, at_end, cell.horizon, seed),
        **_cue_aurocs(world, pool, wrong, cell.horizon),
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
    loss, settings = _loss(cell.arm), recipe.verifier
    every = max(1, settings.steps // settings.checks)
    best = Best(model, lambda model: loss(model, held), every, settings.steps, settings.patience)
    seeded(seed)
    batches = _batches(world, cell, used, labels["used"])
    after = best.after if aside else None
    fit(model, batches, loss, settings.steps, settings.learning_rate, settings.weight_decay, recipe.device, after=after)
    if not aside:
        return model, settings.steps, math.nan
    best.restore()
    return model, best.step, best.least


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


def _near_misses(world: World, cell: Cell, pool: Drawn) -> Drawn:
    """The solved traces of the pool, in order, one token of every completion within H replaced until none is left."""
    found = pool.where(pool.within(cell.horizon))
    tokens, V, ell = found.tokens.copy(), world.recipe.task.V, world.recipe.task.ell
    words = words_of(world.recipe.seed, "near misses", cell.level, cell.horizon, cell.seed)
    while (rows := np.flatnonzero(times := world.solve_times(found.prompt, tokens))).size:
        place, letter = uniforms(words, 2, rows.size)
        at = times[rows] - 1 - (place * ell).astype(np.int64)
        tokens[rows, at] = (tokens[rows, at] + 1 + (letter * (V - 1)).astype(np.int64)) % V
    return Drawn(found.prompt, tokens, np.zeros_like(found.times))


def _other_prompts(world: World, cell: Cell, pool: Drawn) -> Drawn:
    """Solved traces of the pool put to other prompts of it that they do not solve; at most one for each."""
    solved = pool.where(pool.within(cell.horizon))
    if len(solved.times) < 2:
        return solved.first(0)
    words = words_of(world.recipe.seed, "other prompts", cell.level, cell.horizon, cell.seed)
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
    problem = _numbered(pool.prompt)
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


def _aurocs(pool: Drawn, wrong: Mapping[str, Drawn], score: Mapping[str, Floats], H: int, seed: int) -> dict[str, Any]:
    """AUROC against the wrong traces of the base and against each of ``wrong``, and traces against their near misses.

    ``score`` has that of the pool under the empty name. Intervals are over prompts.
    """
    right = pool.within(H)
    found = _columns("auroc", auroc(_numbered(pool.prompt), score[""], right.astype(np.float64), seed))
    for name, traces in wrong.items():
        problem = _numbered(np.concatenate([pool.prompt[right], traces.prompt]))
        label = np.repeat([1.0, 0.0], [int(right.sum()), traces.times.size])
        area = auroc(problem, np.concatenate([score[""][right], score[name]]), label, seed)
        found |= {f"{name}_traces": int(traces.times.size), **_columns(f"auroc_{name}", area)}
    above = score[""][right] - score["near_miss"]
    won = (above > 0.0) + 0.5 * (above == 0.0)
    problem = _numbered(pool.prompt[right])
    by_prompt = np.bincount(problem, won) / np.bincount(problem)
    return found | _columns("paired_near_miss", bootstrap_mean(by_prompt, seed, low=0.0, high=1.0))


def _cue_aurocs(world: World, pool: Drawn, wrong: Mapping[str, Drawn], H: int) -> dict[str, float]:
    """AUROC of the two cues on the same traces, ``auroc[_WRONG]_CUE``; of one label only, NaN."""
    right = pool.within(H)
    cues, found = _cues(world, pool), {}
    for name, traces in {"": pool.where(~right), **wrong}.items():
        for cue, count in _cues(world, traces).items():
            label = np.repeat([1.0, 0.0], [int(right.sum()), traces.times.size])
            area = auroc(np.arange(label.size), np.concatenate([cues[cue][right], count]), label, 0)
            found["_".join(filter(None, ("auroc", name, cue)))] = area.estimate
    return found


def _cues(world: World, traces: Drawn) -> dict[str, Floats]:
    """How many tokens are letters of the gold, how many neighbours are neighbours in it, (B,) each."""
    gold, tokens = world.automata.golds[traces.prompt][:, None, :], traces.tokens[:, :, None]
    pairs = (tokens[:, :-1] == gold[:, :, :-1]) & (tokens[:, 1:] == gold[:, :, 1:])
    counts = {"letters": (tokens == gold).any(axis=2).sum(axis=1), "pairs": pairs.any(axis=2).sum(axis=1)}
    return {name: count.astype(np.float64) for name, count in counts.items()}


def _mean(values: Any) -> float:
    return float(values.mean()) if values.size else math.nan


def _numbered(prompt: Ints) -> Ints:
    """Prompts as 0, 1, .. in increasing order."""
    return np.asarray(np.unique(prompt, return_inverse=True)[1], dtype=np.int64)


def _columns(name: str, found: Interval) -> dict[str, float]:
    return {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
