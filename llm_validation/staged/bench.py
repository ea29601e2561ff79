"""Where cells find what other stages left: ``OUT/STAGE/`` with a table, digests of files, and the files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llm_validation.staged.cells import Cell, CellError
from llm_validation.staged.checkpoints import save

__all__ = ["Bench"]


@dataclass(frozen=True)
class Bench:
    """One experiment's directory and recipe, as seen by a cell. Experiments add what their cells share."""

    out: Path
    recipe: Any

    @property
    def threads(self) -> int:
        """Threads of torch for one cell."""
        return 1

    def file(self, stage: str, cell: Cell, suffix: str = "") -> Path:
        """Where a cell of ``stage`` keeps its file or checkpoint."""
        return self.out / stage / "files" / (cell.identity + suffix)

    def save(self, model: Any, stage: str, cell: Cell) -> str:
        """Keep a checkpoint of the cell; its digest."""
        path = self.file(stage, cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        return save(model, path)

    def rows(self, stage: str) -> list[dict[str, Any]]:
        """The table of a stage. Raises :class:`CellError` if it is not there."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.out / stage / "results.parquet"
        try:
            found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise CellError(f"{path}: cannot be read ({str(error).splitlines()[0]}); run stage {stage} first") from None
        return found

    def digest(self, stage: str, cell: Cell) -> str:
        """Digest of the file that a finished cell left. Raises :class:`CellError` if there is none."""
        if stage not in self._digests:
            path = self.out / stage / "files.json"
            try:
                self._digests[stage] = json.loads(path.read_text())
            except (OSError, ValueError):
                raise CellError(f"{path}: cannot be read; run stage {stage} first") from None
        try:
            return self._digests[stage][cell.identity]
        except KeyError:
            raise CellError(f"stage {stage} has no {cell.identity}: run it first") from None

    @cached_property
    def _digests(self) -> dict[str, dict[str, str]]:
        return {}
