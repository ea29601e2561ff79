"""A command that is run in a test's own process, and what it said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["Command"]


@dataclass(frozen=True)
class Command:
    """``main`` of the command that calls itself ``prog``."""

    main: Callable[[Sequence[str]], int]
    prog: str
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path) -> tuple[int, str, list[str]]:
        """Exit code, standard output, and what it says on standard error beside how many cells each stage has."""
        self.capsys.readouterr()
        try:
            code = self.main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        said = self.capsys.readouterr()
        lines = [line for line in said.err.splitlines() if not line.endswith(" done before")]
        assert all(line.startswith(self.prog) for line in lines), lines
        return code, said.out, [line.removeprefix(self.prog) for line in lines]
