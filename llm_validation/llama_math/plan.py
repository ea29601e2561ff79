"""What a recipe would cost: cells, tokens, FLOPs and memory, at most, before anything is loaded or sampled.

Attempts are counted at their full horizon, prompts at a token for three characters, and questions from the hub, which
is not asked, at 120 tokens. Memory is that of weights, gradients, optimiser and cache, not of activations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from llm_validation.llama_math.compute import Shape
from llm_validation.llama_math.problems import HUB, Problem, arranged, read_problems
from llm_validation.llama_math.prompts import prompt
from llm_validation.llama_math.recipe import ProblemSet, Recipe
from llm_validation.staged.stages import Stage

__all__ = ["lines", "planned"]

#: Characters a token, where there is no tokenizer.
_CHARACTERS = 3
#: Tokens of a question where the problems are not at hand.
_QUESTION = 120


def planned(recipe: Recipe, stages: Sequence[Stage]) -> dict[str, Any]:
    """Plain data. Raises ``ValueError`` if nothing is known of the model."""
    shape, from_where = _shape(recipe)
    shown = {found.name: _prompt_tokens(recipe, found, found.shots) for found in recipe.sets}
    bare = _prompt_tokens(recipe, recipe.trained, 0)
    parts = {
        "sample": _sample(recipe, shape, shown),
        "sft": _training(recipe, shape, bare + recipe.stitch.budget, recipe.grid.n, recipe.sft),
        "verifier": _training(
            recipe, shape, bare + recipe.trained.horizon, [n * recipe.trained.samples for n in recipe.grid.n],
            recipe.verifier,
        ),
        "evaluate": _evaluate(recipe, shape, bare),
    }  # fmt: skip
    longest = max(shown[found.name] + found.horizon for found in recipe.sets)
    dtype = recipe.model.dtype
    base = shape.sampling_bytes(0, 0, dtype)  # it stays beside its copy
    return {
        "recipe": recipe.as_dict(),
        "parameters": shape.parameters,
        "sizes_from": from_where,
        "stages": {found.name: {"cells": _cells(found, recipe), **parts.get(found.name, {})} for found in stages},
        "gigabytes": {
            "sampling": shape.sampling_bytes(recipe.batch, longest, dtype) / 1e9,
            "fine-tuning": (base + shape.training_bytes(recipe.sft.lora_rank, dtype)) / 1e9,
            "verifier": (base + shape.training_bytes(recipe.verifier.lora_rank, dtype)) / 1e9,
        },
        "budget_minutes": recipe.minutes,
        "threads": recipe.threads,
        "device": recipe.device,
    }


def _cells(found: Stage, recipe: Recipe) -> int:
    return len(found.cells(recipe))


def _shape(recipe: Recipe) -> tuple[Shape, str]:
    """Sizes, from the recipe or from the model's own configuration."""
    if recipe.shape.is_known:
        return Shape.of(dataclasses.asdict(recipe.shape)), "recipe"
    from llm_validation.sampling.models import find_model

    found = find_model(recipe.model.source)
    try:
        from transformers import AutoConfig

        where = {"gguf_file": found.gguf} if found.gguf else {"revision": found.revision or "main"}
        return Shape.of(AutoConfig.from_pretrained(found.location, **where).to_dict()), "model"
    except Exception as error:  # whatever a loader makes of what is not there
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"model.source = {recipe.model.source}: sizes cannot be had ({reason}); expected the model or [shape]"
        ) from None


def _prompt_tokens(recipe: Recipe, found: ProblemSet, shots: int) -> int:
    """Mean tokens of a prompt, about. Raises ``ValueError`` if a file of problems cannot be read."""
    if found.source.partition("/")[0] in HUB:  # not asked for: a question of usual length
        problems = [Problem("", "", "x" * _QUESTION * _CHARACTERS, "0", "latex", 0, 0)]
    else:
        problems = arranged(read_problems(found.source, recipe.seed), found.order, recipe.seed)[:32]
    return sum(len(prompt(problem, shots)) for problem in problems) // (_CHARACTERS * len(problems))


def _sample(recipe: Recipe, shape: Shape, shown: dict[str, int]) -> dict[str, float]:
    tokens, flops = 0, 0
    for found in recipe.sets:
        count = found.train * found.samples + found.held_out * found.held_out_samples
        tokens += count * found.horizon
        flops += (found.train + found.held_out) * shape.read(shown[found.name])
        flops += count * shape.written(shown[found.name], found.horizon)
    return {"tokens": tokens, "flops": flops}


def _training(recipe: Recipe, shape: Shape, length: int, sizes: Sequence[int], tuning: Any) -> dict[str, float]:
    from llm_validation.llama_math.cloned import steps_of

    rows = recipe.grid.seeds * sum(tuning.batch * steps_of(tuning, size) for size in sizes)
    return {"tokens": rows * length, "flops": rows * shape.trained(length, tuning.lora_rank, tuning is recipe.verifier)}


def _evaluate(recipe: Recipe, shape: Shape, bare: int) -> dict[str, float]:
    trained, copies = recipe.trained, recipe.grid.seeds * len(recipe.grid.n)
    H = recipe.grid.horizons[-1]
    written = copies * trained.held_out * recipe.evaluate.samples
    judged = copies * trained.held_out * trained.held_out_samples
    flops = written * (shape.read(bare) + shape.written(bare, H)) + judged * shape.judged(bare + trained.horizon)
    return {"tokens": written * H + judged * trained.horizon, "flops": flops}


def lines(found: dict[str, Any]) -> list[str]:
    """A line a stage, then memory and the stated budget."""
    said = [f"{found['parameters'] / 1e6:.1f} million parameters (sizes from the {found['sizes_from']})"]
    said.append(f"{'stage':10} {'cells':>6} {'tokens, at most':>16} {'FLOPs, at most':>15}")
    for name, part in found["stages"].items():
        tokens = f"{part['tokens']:,}" if "tokens" in part else "-"
        flops = f"{part['flops']:.2e}" if "flops" in part else "-"
        said.append(f"{name:10} {part['cells']:>6} {tokens:>16} {flops:>15}")
    memory = ", ".join(f"{name} {size:.1f} GB" for name, size in found["gigabytes"].items())
    said.append(f"memory without activations: {memory}")
    said.append(
        f"stated budget: {found['budget_minutes']:g} minutes on {found['threads']} threads, device {found['device']}"
    )
    return said
