"""What a unit of work is called, what it leaves, and how it fails."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

__all__ = ["Cell", "CellError", "Done"]


class Cell(Protocol):
    """One unit of work of a stage: a pure function of recipe and identity. Frozen, so that it can be a key."""

    @property
    def identity(self) -> str:
        """All of it as a name that a file may have."""

    def row(self) -> dict[str, Any]:
        """Its columns in every table."""


class Done(NamedTuple):
    """What a cell leaves: rows of its stage's table, and the digest of its file if it wrote one."""

    rows: list[dict[str, Any]]
    digest: str = ""


class CellError(RuntimeError):
    """A cell that could not be done, for a reason that one line tells."""
