"""Staged experiments in processes that a test kills: forks of one that has imported everything already."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Killed", "wait_for"]

ROOT = Path(__file__).resolve().parents[1]
#: Imports everything, and forks one that runs the stages in a process group of its own when told.
_FORKS = """
import importlib, json, math, os, sys
from pathlib import Path
stages, recipes, *libraries = sys.argv[1:]
for name in libraries:
    importlib.import_module(name)
from llm_validation.staged.pipeline import Run
experiment = importlib.import_module(stages).EXPERIMENT
read_recipe = importlib.import_module(recipes).read_recipe
print("ready", flush=True)
for line in sys.stdin:
    recipe, out = json.loads(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 1
        try:
            run = Run(experiment, experiment.bench_of(Path(out), read_recipe(recipe)), 1, math.inf)
            done = [run.stage(found, (Path(out) / found.name).exists()).is_done for found in experiment.stages]
            code = 0 if all(done) else 3
        finally:
            os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def wait_for(condition: Callable[[], bool]) -> None:
    """Returns when it holds. Raises ``TimeoutError`` after a minute."""
    end = time.monotonic() + 60.0
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("what the kill was to wait for did not come")
        time.sleep(0.002)


class Killed:
    """Runs of a recipe: ``stages`` and ``recipes`` are modules with EXPERIMENT and read_recipe."""

    def __init__(self, stages: str, recipes: str, libraries: Sequence[str], recipe: Path) -> None:
        self.recipe = recipe
        self.process = subprocess.Popen(
            [sys.executable, "-c", _FORKS, stages, recipes, *libraries], cwd=ROOT, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self._said() == "ready"

    def __enter__(self) -> Self:
        """Ready to fork."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def _said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def run(self, out: Path, until: Callable[[], bool] | None = None) -> int:
        """Run in ``out``; kill it with SIGKILL as soon as ``until`` is so. The exit code, -9 if it was killed."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([str(self.recipe), str(out)]) + "\n")
        self.process.stdin.flush()
        child = int(self._said())
        if until is not None:
            wait_for(until)
            os.killpg(child, signal.SIGKILL)
        return int(self._said())
