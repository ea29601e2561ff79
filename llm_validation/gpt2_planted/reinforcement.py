r"""Stage ``rl``: GRPO (TRL) from the base against the learnt return; the true return is only recorded.

The reward of a trace is :math:`\hat R/H` of the verifier. With the group's mean as baseline, no division by its spread,
and the sum over tokens (``dr_grpo``), what is climbed is

.. math:: (1-1/G)\,E[\hat R]/H-\beta\,KL(\pi\|\pi_b)\quad\text{a trace, nats,}

with G ``generations`` (the baseline holds the trace itself) and :math:`\beta` the cell's ``kl_weight``: 0 leaves the
:math:`\chi^2` ball at will and measures the *free* gap. TRL takes the divergence's gradient token by token: what a
token does to the divergence of later ones is left out.

By ``arm``: ``verifier``, or ``true`` for the ablation with the true return as reward, which separates what
reinforcement gives from what the learnt verifier costs.

At ``points`` steps the table tells, of the batch just drawn on training prompts: learnt and true return (reward hacking
is the first rising while the second falls), solve rate, and the divergence from the base,
:math:`E[\log\pi/\pi_b]`, nats a trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_validation.gpt2_planted.bench import Bench, Cell
from llm_validation.gpt2_planted.labelling import PER_TOKEN, learnt_return, verifier_of
from llm_validation.gpt2_planted.network import log_probabilities, scores, tokenizer
from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.gpt2_planted.world import Floats, Ints, returns_of
from llm_validation.staged.cells import Done
from llm_validation.staged.checkpoints import seeded
from llm_validation.staged.keys import key_of, words_of
from llm_validation.staged.training import arguments, checked_loss, silent, training

__all__ = ["TRUE", "VERIFIER", "cells", "run"]

VERIFIER, TRUE = "verifier", "true"


def cells(recipe: Recipe) -> list[Cell]:
    """Without a weight on the divergence: every n; with one: the largest; the true reward: once for each seed."""
    rl, grid = recipe.rl, recipe.grid
    places = [(level, H, seed) for level in rl.levels for H in rl.horizons for seed in range(grid.seeds)]
    found = [Cell(level, H, n, seed, VERIFIER) for level, H, seed in places for n in grid.n if 0.0 in rl.kl_weights]
    for level, H, seed in places:
        weights = [weight for weight in rl.kl_weights if weight > 0.0] if H in rl.kl_horizons else []
        found += [Cell(level, H, grid.n[-1], seed, VERIFIER, weight) for weight in weights]
        if rl.true_reward:
            found.append(Cell(level, H, 0, seed, TRUE))
    return found


def run(bench: Bench, cell: Cell) -> Done:
    """Train and keep the policy; a row for each point of the path."""
    reward = _Reward(bench, cell)
    model = bench.base(cell.level)
    _train(bench, cell, model, reward)
    return Done(reward.path, bench.save(model, "rl", cell))


class _Reward:
    """Reward function of TRL; it keeps the path."""

    __name__ = "learnt_return"

    def __init__(self, bench: Bench, cell: Cell) -> None:
        self.bench, self.cell = bench, cell
        self.base = bench.base(cell.level)
        self.labels = bench.recipe.rl.labels
        self.verifier: Any = None
        if cell.arm == VERIFIER:
            self.verifier = verifier_of(bench, cell.at(arm=self.labels, kl_weight=0.0))
        self.policy: Any = None
        self.step = 0
        self.path: list[dict[str, Any]] = []

    def __call__(
        self, completion_ids: Sequence[Sequence[int]], number: Sequence[int], **rest: Any
    ) -> list[float | None]:
        """Rewards of completions for prompts ``number``."""
        H, world = self.cell.horizon, self.bench.world
        prompt = np.asarray(number, dtype=np.int64)
        tokens = np.full((len(prompt), H), self.bench.recipe.task.V, dtype=np.int64)  # beyond an end there are ends
        for row, ids in enumerate(completion_ids):
            tokens[row, : len(ids)] = ids
        true = returns_of(world.solve_times(prompt, tokens), H).astype(np.float64)
        learnt, reward = true, true / H
        if self.verifier is not None:
            learnt = learnt_return(scores(self.verifier, world.words[prompt], tokens), self.labels)
            reward = learnt / H if self.labels == PER_TOKEN else learnt
        points = np.unique(np.linspace(0, self.bench.recipe.rl.steps - 1, self.bench.recipe.rl.points).round())
        if self.step in points:
            self._record(prompt, tokens, learnt, true)
        self.step += 1
        return [float(value) for value in reward]

    def _record(self, prompt: Ints, tokens: Ints, learnt: Floats, true: Floats) -> None:
        world = self.bench.world
        words = world.words[prompt]
        moved = log_probabilities(self.policy, words, tokens) - log_probabilities(self.base, words, tokens)
        self.policy.train()
        self.path.append({
            **self.cell.row(),
            "step": self.step,
            "learnt_return": float(learnt.mean()),
            "true_return": float(true.mean()),
            "solve_rate": float((true > 0).mean()),
            "kl": float(moved.sum(axis=1).mean()),
        })  # fmt: skip


def _train(bench: Bench, cell: Cell, model: Any, reward: _Reward) -> None:
    import tempfile

    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    recipe, world, rl = bench.recipe, bench.world, bench.recipe.rl
    V = recipe.task.V
    prompt = world.drawn(rl.steps * rl.prompts, words_of(recipe.seed, "rl", cell.identity))
    texts = [" ".join(map(str, word)) for word in world.words[prompt].tolist()]
    data = Dataset.from_dict({"prompt": texts, "number": prompt.tolist()})
    seed = key_of(recipe.seed, "rl", cell.identity) % 2**31
    seeded(seed)
    with training(), tempfile.TemporaryDirectory() as nowhere:
        settings = GRPOConfig(
            output_dir=nowhere,
            max_steps=rl.steps,
            per_device_train_batch_size=rl.prompts * rl.generations,
            num_generations=rl.generations,
            max_completion_length=cell.horizon,
            learning_rate=rl.learning_rate,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=2,
            weight_decay=0.0,
            beta=cell.kl_weight,
            use_bias_correction_kl=True,
            scale_rewards="none",
            loss_type="dr_grpo",
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            generation_kwargs={"suppress_tokens": [V], "min_new_tokens": cell.horizon},
            gradient_checkpointing=False,
            shuffle_dataset=False,
            seed=seed,
            data_seed=seed,
            **arguments(recipe.device),
        )
        trainer = GRPOTrainer(
            model=model, reward_funcs=reward, args=settings, train_dataset=data, processing_class=tokenizer(V)
        )
        reward.policy = trainer.model
        result = silent(trainer).train()
    checked_loss(result.training_loss)
