r"""Stage ``base``: GPT-2 trained on the procedural traces of a level, every trace seen once.

With ``targets = "exact"`` the loss of a token is the cross-entropy to its exact law given those before it
(:func:`sim.tasks.planted_traces.predictive`): what the sampled token would give on average, without its noise. The
least loss is that law's entropy; the difference, a Kullback-Leibler divergence in nats a token, is what is left to
learn, and is measured on fresh traces of held-out prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from llm_validation.gpt2_planted.bench import Bench, Cell, Drawn
from llm_validation.gpt2_planted.network import log_probabilities, new_network, sequences
from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.gpt2_planted.world import Ints, World
from llm_validation.staged.cells import Done
from llm_validation.staged.checkpoints import seeded
from llm_validation.staged.keys import key_of, words_of
from llm_validation.staged.training import fit
from sim.tasks.planted_traces import draw_traces, predictive

__all__ = ["cells", "divergence", "run"]

#: Fresh traces on which the divergence from the exact law is measured.
_FRESH = 2000


def cells(recipe: Recipe) -> list[Cell]:
    """One for each level."""
    return [Cell(level=level) for level in range(len(recipe.task.levels))]


def run(bench: Bench, cell: Cell) -> Done:
    """Train and keep the base of a level."""
    recipe, world = bench.recipe, bench.world
    H = recipe.grid.horizons[-1]
    drawn = bench.draws("data", cell, H)
    seed = key_of(recipe.seed, "base", cell.identity)
    model = new_network(recipe.network, recipe.task.V, recipe.task.ell + H, seed).to(recipe.device)
    seeded(seed)
    batches, base = _batches(world, cell.level, drawn), recipe.base
    fit(model, batches, _loss, sum(base.steps), base.learning_rate, base.weight_decay, recipe.device, base.beta2)
    digest = bench.save(model, "base", cell)
    row = {
        **cell.at(horizon=H).row(),
        "steps": sum(base.steps),
        "tokens": base.tokens,
        "parameters": sum(p.numel() for p in model.parameters()),
        "kl_per_token": divergence(world, cell, model, H),
        **_aids(recipe),
    }
    return Done([row], digest)


def _aids(recipe: Recipe) -> dict[str, Any]:
    """What the base was given beside GPT-2 and sampled traces."""
    fresh = recipe.network.source == "scratch"
    return {
        "network": recipe.network.source,
        "positions": recipe.network.positions if fresh else "its own",
        "targets": recipe.base.targets,
    }


def _batches(world: World, level: int, drawn: Drawn) -> Any:
    """Batches of sequences and, for each token of the trace, its gold token and chance: phase after phase."""
    import torch

    base = world.recipe.base

    class Batches(torch.utils.data.IterableDataset[dict[str, Any]]):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            begun = 0
            for horizon, steps, size in zip(base.horizons, base.steps, base.batch, strict=True):
                rows = slice(begun, begun + steps * size)
                known = _lessons(world, level, drawn.prompt[rows], drawn.tokens[rows, :horizon])
                for step in range(steps):
                    yield {name: values[step * size : (step + 1) * size] for name, values in known.items()}
                begun = rows.stop

    return Batches()


def _lessons(world: World, level: int, prompt: Ints, tokens: Ints) -> dict[str, Any]:
    """Sequences with the law of each token of the trace, as tensors."""
    import torch

    recipe = world.recipe
    gold, chance = tokens, np.ones(tokens.shape)
    if recipe.base.targets == "exact":
        gold, chance = predictive(world.levels[level], world.automata, prompt, tokens, recipe.task.after)
    return {
        "input_ids": sequences(world.words[prompt], tokens),
        "gold": torch.from_numpy(gold),
        "chance": torch.from_numpy(chance.astype(np.float32)),
    }


def _loss(model: Any, inputs: Any) -> Any:
    """Cross-entropy to the law that gives ``chance`` to ``gold`` and shares the rest, nats a token.

    The token after the task's, which is never drawn, has no share: it is pushed out by the normalisation.
    """
    import torch

    ids, gold, chance = inputs["input_ids"], inputs["gold"], inputs["chance"]
    H, V = gold.shape[1], model.config.vocab_size - 1
    log_p = torch.log_softmax(model(input_ids=ids[:, :-1]).logits[:, -H:].float(), dim=-1)
    at_gold = log_p.gather(2, gold[..., None])[..., 0]
    others = log_p[..., :V].sum(dim=-1) - at_gold
    return -(chance * at_gold + (1.0 - chance) / (V - 1) * others).mean()


def divergence(world: World, cell: Cell, model: Any, H: int) -> float:
    """Mean KL of the network's law of a token from the exact one, on fresh traces of held-out prompts, nats a token.

    The estimate is the mean of log p - log q at drawn tokens.
    """
    recipe = world.recipe
    words = words_of(recipe.seed, "divergence", cell.identity)
    prompt = np.resize(world.held_out, _FRESH)
    task = world.levels[cell.level]
    tokens, _ = draw_traces(task, world.automata, prompt, words, recipe.task.after)
    known = predictive(task, world.automata, prompt, tokens, recipe.task.after)
    gold = tokens == known.gold
    exact = np.log(np.where(gold, known.chance, (1.0 - known.chance) / (recipe.task.V - 1)))
    return float((exact - log_probabilities(model, world.words[prompt], tokens))[:, :H].mean())
