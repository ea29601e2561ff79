"""Stage ``verifier``: a copy of the base with a scalar head, binary cross-entropy on graded attempts.

It is given all attempts at the same n training problems as the clone, right or wrong by their final answer; unfinished
ones are wrong. A share of the problems, at least one, is kept aside with its attempts: of the checkpoints the one with
the least loss on them is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llm_validation.llama_math.bench import TRAIN, Attempt, Bench, Cell
from llm_validation.llama_math.cloned import cells, steps_of
from llm_validation.llama_math.model import Language, new_verifier, padded
from llm_validation.llama_math.problems import Problem
from llm_validation.llama_math.prompts import prompt
from llm_validation.staged.cells import Done
from llm_validation.staged.keys import key_of, ordered
from llm_validation.staged.training import Best, fit

__all__ = ["cells", "read_by_verifier", "run"]

#: Tokens of a question and an attempt at it, and whether the attempt is right.
Labelled = tuple[list[int], float]


def read_by_verifier(words: Language, problem: Problem, attempt: Attempt, chat: bool) -> list[int]:
    """What the verifier reads: the question without examples, the attempt, and the end of the text."""
    return [*words.prompt_ids(prompt(problem, 0), chat), *words.ids(attempt.text), words.end]


def run(bench: Bench, cell: Cell) -> Done:
    """Train on the attempts at n problems, and keep the verifier."""
    recipe, tuning = bench.recipe, bench.recipe.verifier
    problems = bench.chosen(cell.n, cell.seed)
    aside = max(1, int(tuning.validation * len(problems))) if len(problems) > 1 else 0
    kept, used = _labelled(bench, problems[:aside]), _labelled(bench, problems[aside:])
    seed = key_of(recipe.seed, "verifier", cell.identity) % 2**31
    model = new_verifier(bench.base, tuning, seed)
    steps = steps_of(tuning, len(used))
    fill = bench.base.end
    best = Best(model, _held(kept, fill, tuning.batch), max(1, steps // tuning.checks), steps, tuning.patience)
    after = best.after if kept else None
    batches = _batches(used, fill, tuning.batch, recipe.device, (recipe.seed, "verifier batches", cell.identity))
    fit(model, batches, _loss, steps, tuning.learning_rate, tuning.weight_decay, recipe.device, after=after)
    if kept:
        best.restore()
    row = {
        **cell.row(),
        "attempts": len(used) + len(kept),
        "right": int(sum(label for _, label in [*used, *kept])),
        "steps": steps,
        "best_step": best.step if kept else steps,
        "validation_loss": best.least if kept else math.nan,
    }
    return Done([row], bench.save(model, "verifier", cell))


def _labelled(bench: Bench, problems: Sequence[Problem]) -> list[Labelled]:
    """All attempts at these problems."""
    trained = bench.recipe.trained
    attempts = bench.attempts(trained.name, TRAIN)
    return [
        (read_by_verifier(bench.base, problem, attempt, trained.chat), float(attempt.correct))
        for problem in problems
        for attempt in attempts[problem.problem_id]
    ]


def _batch(rows: Sequence[Labelled], fill: int, device: Any) -> dict[str, Any]:
    import torch

    part = padded([ids for ids, _ in rows], fill, device)
    labels = torch.tensor([label for _, label in rows], dtype=torch.float32, device=device)
    return {"input_ids": part.ids, "attention_mask": part.mask, "labels": labels}


def _batches(rows: Sequence[Labelled], fill: int, size: int, device: str, identity: tuple[object, ...]) -> Any:
    """Batches without end, drawn anew in every pass."""
    import torch

    class Batches(torch.utils.data.IterableDataset[dict[str, Any]]):
        def __iter__(self) -> Any:
            turn = 0
            while True:
                order = ordered(len(rows), *identity, turn)
                for start in range(0, len(rows), size):
                    yield _batch([rows[i] for i in order[start : start + size]], fill, device)
                turn += 1

    return Batches()


def _loss(model: Any, inputs: Any) -> Any:
    """Binary cross-entropy at the last token of each attempt, nats."""
    import torch

    mask = inputs["attention_mask"]
    logits = model(input_ids=inputs["input_ids"], attention_mask=mask).logits[..., 0].float()
    last = logits.gather(1, mask.sum(dim=1, keepdim=True) - 1)[:, 0]
    return torch.nn.functional.binary_cross_entropy_with_logits(last, inputs["labels"])


def _held(rows: Sequence[Labelled], fill: int, size: int) -> Any:
    """The loss on all of ``rows``, nats an attempt."""

    def loss(model: Any) -> float:
        device = next(model.parameters()).device
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return math.fsum(float(_loss(model, _batch(part, fill, device))) * len(part) for part in parts) / len(rows)

    return loss
