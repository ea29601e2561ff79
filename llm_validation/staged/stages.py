"""An experiment as data: its stages, each after those it needs, and where their code is."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_validation.staged.bench import Bench
    from llm_validation.staged.cells import Cell, Done

__all__ = ["Experiment", "Stage"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage; ``sections`` of the recipe decide its numbers, beside those of the stages that it needs.

    ``module`` has ``cells(recipe)``, in the order of the stage's table, and ``run(bench, cell)``.
    """

    name: str
    module: str
    needs: tuple[str, ...]
    sections: tuple[str, ...]

    def cells(self, recipe: Any) -> Sequence[Cell]:
        """Its cells, in the order of its table."""
        found: Sequence[Cell] = importlib.import_module(self.module).cells(recipe)
        return found

    def run(self, bench: Bench, cell: Cell) -> Done:
        """Do one cell. Raises :class:`~.cells.CellError`."""
        done: Done = importlib.import_module(self.module).run(bench, cell)
        return done


@dataclass(frozen=True, slots=True)
class Experiment:
    """Stages in order; ``bench`` is ``MODULE:CLASS``; versions of ``libraries`` belong to its numbers."""

    prog: str
    stages: tuple[Stage, ...]
    bench: str
    libraries: tuple[str, ...] = ()

    def stage(self, name: str) -> Stage:
        """The stage of that name. Raises ``ValueError`` with one line."""
        for found in self.stages:
            if found.name == name:
                return found
        raise ValueError(f"--stages {name}: expected of {', '.join(found.name for found in self.stages)}")

    def chosen(self, text: str | None) -> tuple[Stage, ...]:
        """Stages of a comma list (None: all), in their own order. Raises ``ValueError``."""
        if text is None:
            return self.stages
        wanted = {self.stage(name.strip()) for name in text.split(",")}
        return tuple(found for found in self.stages if found in wanted)

    def bench_of(self, out: Path, recipe: Any) -> Bench:
        """What its cells see of a directory."""
        module, _, name = self.bench.partition(":")
        made: Bench = getattr(importlib.import_module(module), name)(out, recipe)
        return made
