"""Where cells find what other stages left, and what a cell is.

A cell is one unit of work of a stage, a pure function of recipe and identity; it leaves rows for the stage's table and
files (checkpoints, draws) under ``OUT/STAGE/files/``, named and digested in its rows.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from llm_validation.gpt2_planted.network import load
from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.gpt2_planted.world import Ints, World
from llm_validation.staged import bench as staged
from llm_validation.staged.cells import CellError
from llm_validation.staged.checkpoints import CheckpointError

__all__ = ["Bench", "Cell", "Drawn"]


@dataclass(frozen=True, slots=True)
class Cell:
    """Identity of a unit of work; what a stage has no use for is left at its default."""

    level: int = 0
    horizon: int = 0
    n: int = 0
    seed: int = 0
    arm: str = ""
    kl_weight: float = 0.0

    @property
    def identity(self) -> str:
        """All of it as a name that a file may have."""
        return f"level={self.level},H={self.horizon},n={self.n},seed={self.seed},arm={self.arm},kl={self.kl_weight:g}"

    def row(self) -> dict[str, Any]:
        """Columns of a table."""
        return dataclasses.asdict(self)

    def at(self, **changes: Any) -> Cell:
        """The cell with some of its identity changed."""
        return dataclasses.replace(self, **changes)


class Drawn(NamedTuple):
    """Traces of one level: prompts by number (B,), tokens (B, H of the level), solve times (B,), 0 for never."""

    prompt: Ints
    tokens: Ints
    times: Ints

    def first(self, count: int) -> Drawn:
        """The first ``count`` of them."""
        return Drawn(*(values[:count] for values in self))

    def where(self, chosen: Any) -> Drawn:
        """Some of them."""
        return Drawn(*(values[chosen] for values in self))

    def within(self, H: int) -> Any:
        """Which are solved within H tokens, (B,)."""
        return (self.times > 0) & (self.times <= H)


@dataclass(frozen=True)
class Bench(staged.Bench):
    """One experiment's directory and recipe, as seen by a cell."""

    recipe: Recipe

    @cached_property
    def world(self) -> World:
        """Prompts and levels."""
        return World(self.recipe)

    def base(self, level: int) -> Any:
        """The trained base of a level."""
        return self.network("base", Cell(level=level))

    def network(self, stage: str, cell: Cell) -> Any:
        """The language model that a cell left. Raises :class:`CellError`."""
        try:
            return load(self.file(stage, cell), self.digest(stage, cell), self.recipe.device)
        except CheckpointError as error:
            raise CellError(str(error)) from None

    def keep_draws(self, stage: str, cell: Cell, prompt: Ints, tokens: Ints) -> str:
        """Write traces to the cell's file, whole or not at all; its digest."""
        import hashlib
        import os

        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.file(stage, cell, ".parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        flat = pa.array(tokens.astype(np.uint16).reshape(-1))
        columns = {
            "prompt": pa.array(prompt.astype(np.int32)),
            "tokens": pa.FixedSizeListArray.from_arrays(flat, tokens.shape[1]),
        }
        temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
        try:
            pq.write_table(pa.table(columns), temporary, compression="zstd")
            with temporary.open("rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()[:32]
                os.fsync(handle.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return digest

    def draws(self, stage: str, cell: Cell, H: int) -> Drawn:
        """Traces that a cell kept, cut to H tokens. Raises :class:`CellError` if they are not what its table says."""
        import hashlib

        import pyarrow.parquet as pq

        path = self.file(stage, cell, ".parquet")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CellError(f"{path}: cannot be read ({error.strerror}); run again with --resume") from None
        if hashlib.sha256(content).hexdigest()[:32] != self.digest(stage, cell):
            raise CellError(f"{path}: corrupt, its digest is another; remove it and run again with --resume")
        import pyarrow as pa

        table = pq.read_table(pa.BufferReader(content))
        prompt = table["prompt"].to_numpy().astype(np.int64)
        flat = table["tokens"].combine_chunks().flatten().to_numpy()
        tokens = flat.reshape(prompt.size, -1)[:, :H].astype(np.int64)
        return Drawn(prompt, tokens, self.world.solve_times(prompt, tokens))
