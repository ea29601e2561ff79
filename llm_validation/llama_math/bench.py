"""What cells of the Llama experiment share: problems, the base, its attempts; and what a cell is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from llm_validation.llama_math.model import Language, load_base, load_copy, load_verifier
from llm_validation.llama_math.problems import Problem
from llm_validation.llama_math.recipe import Recipe
from llm_validation.sampling.backend import Backend
from llm_validation.sampling.endpoint_backend import EndpointBackend
from llm_validation.sampling.transformers_backend import TransformersBackend
from llm_validation.staged import bench as staged
from llm_validation.staged.cells import CellError
from llm_validation.staged.checkpoints import CheckpointError

__all__ = ["HELD_OUT", "TRAIN", "Attempt", "Bench", "Cell"]

TRAIN, HELD_OUT = "train", "held-out"


@dataclass(frozen=True, slots=True)
class Cell:
    """Identity of a unit of work; what a stage has no use for is left at its default.

    ``part``: which of several parts of equal identity, from 0 (batches of samples).
    """

    set: str = ""
    split: str = ""
    part: int = 0
    n: int = 0
    seed: int = 0
    arm: str = ""

    @property
    def identity(self) -> str:
        """All of it as a name that a file may have."""
        return f"set={self.set},split={self.split},part={self.part},n={self.n},seed={self.seed},arm={self.arm}"

    def row(self) -> dict[str, Any]:
        """Columns of a table."""
        return dataclasses.asdict(self)

    def at(self, **changes: Any) -> Cell:
        """The cell with some of its identity changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One graded attempt of the base. ``answer`` is in one spelling of equal answers; None if it has none."""

    problem_id: str
    sample: int
    text: str
    tokens: int  # all that were written
    truncated: bool  # cut off before it ended: it has no answer
    answer: str | None
    correct: bool


@dataclass(frozen=True)
class Bench(staged.Bench):
    """One experiment's directory and recipe, as seen by a cell."""

    recipe: Recipe

    @property
    def threads(self) -> int:
        """Threads of torch for one cell."""
        return self.recipe.threads

    @cached_property
    def base(self) -> Language:
        """The base, loaded once. Raises :class:`~.cells.CellError`."""
        return load_base(self.recipe)

    @cached_property
    def backend(self) -> Backend:
        """What writes the base's attempts: a server, or the base in this process."""
        endpoint = self.recipe.endpoint
        if not endpoint.url:
            return TransformersBackend(self.base.model, self.base.words)
        try:
            return EndpointBackend(endpoint.address())
        except ValueError as error:
            raise CellError(str(error)) from None

    def clone(self, cell: Cell) -> Language:
        """The clone of n and seed. Raises :class:`~.cells.CellError`."""
        found: Language = self._copy("sft", cell, load_copy)
        return found

    def verifier(self, cell: Cell) -> Any:
        """The verifier of n and seed. Raises :class:`~.cells.CellError`."""
        return self._copy("verifier", cell, load_verifier)

    def _copy(self, stage: str, cell: Cell, load: Any) -> Any:
        """A trained copy; the last one is kept, the memory is not there for more."""
        wanted = Cell(n=cell.n, seed=cell.seed)
        if self._last.get("key") != (stage, wanted):
            self._last.clear()
            try:
                found = load(self.base, self.file(stage, wanted), self.digest(stage, wanted))
            except CheckpointError as error:
                raise CellError(str(error)) from None
            self._last.update(key=(stage, wanted), copy=found)
        return self._last["copy"]

    @cached_property
    def _last(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _batches(self) -> dict[Cell, list[dict[str, Any]]]:
        found: dict[Cell, list[dict[str, Any]]] = {}
        names = [field.name for field in dataclasses.fields(Cell)]
        for row in self.rows("sample"):
            found.setdefault(Cell(**{name: row[name] for name in names}), []).append(row)
        return found

    def sampled(self, cell: Cell) -> list[dict[str, Any]]:
        """Rows of a batch of ``sample``."""
        return self._batches[cell]

    @cached_property
    def _problems(self) -> dict[tuple[str, str], list[Problem]]:
        found: dict[tuple[str, str], list[Problem]] = {}
        names = [field.name for field in dataclasses.fields(Problem)]
        for row in self.rows("problems"):
            problem = Problem(**{name: row[name] for name in names})
            found.setdefault((row["set"], row["split"]), []).append(problem)
        return found

    def problems(self, name: str, split: str) -> list[Problem]:
        """Problems of a set, in their order."""
        return self._problems.get((name, split), [])

    @cached_property
    def _attempts(self) -> dict[tuple[str, str], dict[str, list[Attempt]]]:
        found: dict[tuple[str, str], dict[str, list[Attempt]]] = {}
        for sampled, graded in self._pairs():
            attempt = Attempt(
                problem_id=sampled["problem_id"],
                sample=sampled["sample"],
                text=sampled["text"],
                tokens=sampled["tokens"],
                truncated=sampled["truncated"],
                answer=graded["answer"],
                correct=graded["correct"],
            )
            of_set = found.setdefault((sampled["set"], sampled["split"]), {})
            of_set.setdefault(attempt.problem_id, []).append(attempt)
        return found

    def _pairs(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Every sampled attempt with its grade."""
        key = ("set", "split", "problem_id", "sample")
        graded = {tuple(row[name] for name in key): row for row in self.rows("grade")}
        return ((row, graded[tuple(row[name] for name in key)]) for row in self.rows("sample"))

    def attempts(self, name: str, split: str) -> dict[str, list[Attempt]]:
        """Problem -> its attempts, in the order of samples."""
        return self._attempts.get((name, split), {})

    def chosen(self, n: int, seed: int) -> Sequence[Problem]:
        """The n training problems of a seed: the first n of an order of its own."""
        from llm_validation.staged.keys import ordered

        problems = self.problems(self.recipe.trained.name, TRAIN)
        order = ordered(len(problems), self.recipe.seed, "training problems", seed)
        return [problems[i] for i in order[:n]]
