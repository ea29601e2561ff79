"""Stage ``sft``: a copy of the base fine-tuned on the stitched traces of n training problems (verifier-free).

The loss is the mean negative log-likelihood of a trace's tokens, wrong attempts included, and of the end of the text;
the question's are given. A share of the traces, at least one, is kept aside: of the checkpoints the one with the least
loss on them is the clone, and the base is one of them. With fewer than two traces the clone is the base.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llm_validation.llama_math.bench import TRAIN, Bench, Cell
from llm_validation.llama_math.model import new_copy, padded
from llm_validation.llama_math.prompts import prompt
from llm_validation.llama_math.recipe import Recipe, TuningRecipe
from llm_validation.staged.cells import Done
from llm_validation.staged.keys import key_of
from llm_validation.staged.training import Best, FineTuning, fine_tune

__all__ = ["cells", "run", "steps_of"]

#: Tokens of the question, tokens that are learnt.
Trace = tuple[list[int], list[int]]


def cells(recipe: Recipe) -> list[Cell]:
    """Every n and seed."""
    return [Cell(n=n, seed=seed) for n in recipe.grid.n for seed in range(recipe.grid.seeds)]


def run(bench: Bench, cell: Cell) -> Done:
    """Clone, and keep the copy."""
    recipe, tuning = bench.recipe, bench.recipe.sft
    traces = _traces(bench, cell)
    seed = key_of(recipe.seed, "sft", cell.identity) % 2**31
    model = new_copy(bench.base, tuning, seed)
    steps, best_step, loss = 0, 0, math.nan
    if len(traces) > 1:
        aside = max(1, int(tuning.validation * len(traces)))
        steps = steps_of(tuning, len(traces) - aside)
        settings = FineTuning(steps, tuning.batch, tuning.learning_rate, tuning.weight_decay, seed, recipe.device)
        kept = _loss(traces[:aside], bench.base.end, tuning.batch)
        best = Best(model, kept, max(1, steps // tuning.checks), steps, tuning.patience)
        fine_tune(model, bench.base.words, traces[aside:], settings, best)
        best_step, loss = best.step, best.least
    row = {
        **cell.row(),
        "traces": len(traces),
        "trace_tokens": sum(len(learnt) for _, learnt in traces),
        "steps": steps,
        "best_step": best_step,
        "validation_loss": loss,
    }
    return Done([row], bench.save(model, "sft", cell))


def steps_of(tuning: TuningRecipe, rows: int) -> int:
    """Steps of ``epochs`` passes over so many rows, cut at the most that the recipe allows."""
    return min(tuning.epochs * -(-rows // tuning.batch), tuning.most_steps)


def _traces(bench: Bench, cell: Cell) -> list[Trace]:
    """The stitched traces of the cell, in the order of its problems."""
    trained, words = bench.recipe.trained, bench.base
    problems = {problem.problem_id: problem for problem in bench.problems(trained.name, TRAIN)}
    found = []
    for row in bench.rows("stitch"):
        if (row["n"], row["seed"]) == (cell.n, cell.seed) and row["text"] is not None:
            asked = prompt(problems[row["problem_id"]], 0)
            found.append((words.prompt_ids(asked, trained.chat), [*words.ids(row["text"]), words.end]))
    return found


def _loss(traces: Sequence[Trace], fill: int, batch: int) -> Any:
    """Mean negative log-likelihood of the learnt tokens, nats a token."""

    def loss(model: Any) -> float:
        import torch

        total, count = 0.0, 0
        for start in range(0, len(traces), batch):
            rows = traces[start : start + batch]
            part = padded([given + learnt for given, learnt in rows], fill, model.device)
            logits = model(input_ids=part.ids, attention_mask=part.mask).logits[:, :-1].float()
            terms = torch.log_softmax(logits, dim=-1).gather(2, part.ids[:, 1:, None])[..., 0].double()
            for row, (given, learnt) in enumerate(rows):
                total -= float(terms[row, len(given) - 1 : len(given) + len(learnt) - 1].sum())
                count += len(learnt)
        return total / count

    return loss
