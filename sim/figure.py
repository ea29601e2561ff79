"""Figures of a run are drawn from its stored tables by the figures command, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["draw"]


def draw(name: str, results: Path) -> None:
    """Draw the figure called ``name`` beside the tables in ``results``.

    Raises ``subprocess.CalledProcessError`` if it cannot be drawn; the reason is on stderr.
    """
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-m", "figures", name, "--results", str(results)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
