"""The stages by name, in the order in which they run; each names its module, its needs and its part of the recipe."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_validation.gpt2_planted.bench import Bench, Cell, Done
    from llm_validation.gpt2_planted.recipe import Recipe

__all__ = ["STAGES", "Stage", "stage"]

_PACKAGE = "llm_validation.gpt2_planted"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage; ``sections`` of the recipe decide its numbers, beside those of the stages that it needs."""

    name: str
    room: str  # its module in this package
    needs: tuple[str, ...]
    sections: tuple[str, ...]

    @property
    def module(self) -> str:
        """Full name of its module."""
        return f"{_PACKAGE}.{self.room}"

    def cells(self, recipe: Recipe) -> list[Cell]:
        """Its cells, in the order of its table."""
        found: list[Cell] = importlib.import_module(self.module).cells(recipe)
        return found

    def run(self, bench: Bench, cell: Cell) -> Done:
        """Do one cell."""
        done: Done = importlib.import_module(self.module).run(bench, cell)
        return done


#: Every stage after those it needs.
STAGES = (
    Stage("data", "data", (), ("seed", "task", "grid", "base")),
    Stage("base", "base", ("data",), ("network", "base", "device")),
    Stage("measure", "measure", ("data", "base"), ("measure",)),
    Stage("vf", "cloning", ("base", "measure"), ("vf",)),
    Stage("verifier", "labelling", ("base", "measure"), ("verifier",)),
    Stage("rl", "reinforcement", ("base", "verifier"), ("rl",)),
    Stage("best-of-n", "search", ("measure", "verifier"), ("best_of_n",)),
    Stage("evaluate", "evaluation", ("base", "vf", "rl", "verifier"), ("evaluate",)),
)


def stage(name: str) -> Stage:
    """The stage of that name. Raises ``ValueError`` with one line."""
    for found in STAGES:
        if found.name == name:
            return found
    raise ValueError(f"--stages {name}: expected of {', '.join(found.name for found in STAGES)}")
