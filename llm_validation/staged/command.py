"""A staged experiment on the command line: stages one after another, what is said when one stops, exit codes.

0 ok, 2 usage, 3 some cells failed (the rest is kept), 130 out of time (go on with ``--resume``).
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from importlib import util
from typing import TYPE_CHECKING, Any

from llm_validation.staged.stages import Experiment, Stage

if TYPE_CHECKING:
    from llm_validation.staged.bench import Bench
    from sim.store import Output

__all__ = ["Job", "check_libraries", "check_limits"]

#: What is wrong with what a stage (None: the analysis) would be built on, a line each.
Gate = Callable[["Bench", Stage | None], Sequence[str]]


def check_libraries(device: str, needed: Sequence[str]) -> None:
    """Raises ``ValueError`` unless the extra ``llm`` is installed and the device is there."""
    missing = [name for name in needed if util.find_spec(name) is None]
    if missing:
        raise ValueError(f"needs the extra 'llm' (pip install 'verifier-gap[llm]'): {', '.join(missing)} not found")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device cuda: torch finds no such device; expected one, or --device cpu")


def check_limits(processes: int, minutes: float | None) -> float:
    """Seconds that a run may take. Raises ``ValueError`` if ``--processes`` or ``--minutes`` can be nothing."""
    if not 1 <= processes <= 1024:
        raise ValueError(f"--processes {processes}: expected 1..1024")
    limit = math.inf if minutes is None else minutes
    if not limit > 0.0:
        raise ValueError(f"--minutes {limit:g}: expected a number above 0")
    return 60.0 * limit


class Job:
    """Some stages of an experiment in one directory. ``seconds``: of compute by stage, whenever its cells ran."""

    def __init__(self, experiment: Experiment, bench: Bench, output: Output, gate: Gate) -> None:
        self.experiment, self.bench, self.output, self._gate = experiment, bench, output, gate
        self.seconds: dict[str, float] = dict(output.manifest.get("cell_seconds", {}))

    def run(self, stages: Sequence[Stage], processes: int, deadline: float) -> int | None:
        """The exit code where it stops; None where the analysis can follow, with the last stage and all others done."""
        from llm_validation.staged.cells import CellError
        from sim.store import StoreError

        try:
            code = self._stages(stages, processes, deadline)
        except (StoreError, CellError) as error:
            return self._said([str(error)], "stopped", 2 if isinstance(error, StoreError) else 3)
        if code is None:
            code = self._end(stages)
        return code

    def _stages(self, stages: Sequence[Stage], processes: int, deadline: float) -> int | None:
        from llm_validation.staged.pipeline import Run

        with _Progress() as progress, Run(self.experiment, self.bench, processes, deadline, progress) as run:
            for found in stages:
                if trouble := self._gate(self.bench, found):
                    return self._said(trouble, "failed cells", 3)
                report = run.stage(found, resume=(self.bench.out / found.name).exists())
                self.seconds[found.name] = round(report.seconds, 1)
                if report.failed:
                    return self._said(report.failed, "failed cells", 3)
                if report.left:
                    said = f"out of time, {report.left} cells of {found.name} are left; go on with --resume"
                    return self._said([said], "interrupted", 130)
        return None

    def _end(self, stages: Sequence[Stage]) -> int | None:
        from llm_validation.staged.pipeline import unfinished

        if trouble := self._gate(self.bench, None):
            return self._said(trouble, "failed cells", 3)
        if stages[-1] != self.experiment.stages[-1]:
            self.finish("stages done")
            return 0
        of_all = [(found.name, unfinished(self.bench.out, found.name)) for found in self.experiment.stages]
        if missing := [f"{name} is {why}" for name, why in of_all if why]:
            said = f"the analysis needs all stages, and {', '.join(missing)}: run that, to its end"
            return self._said([said], "stopped", 2)
        return None

    def _said(self, lines: Sequence[str], status: str, code: int) -> int:
        for line in lines:
            print(f"{self.experiment.prog}: {line}", file=sys.stderr)
        self.finish(status)
        return code

    def finish(self, status: str, **facts: Any) -> None:
        """Record in the manifest how the run ended."""
        self.output.finish(status, cell_seconds=self.seconds, **facts)

    def compute(self, started: float) -> str:
        """Core minutes in all, minutes on the wall since ``started`` (of :func:`time.monotonic`), and where it is."""
        minutes, wall = sum(self.seconds.values()) / 60.0, (time.monotonic() - started) / 60.0
        return f"compute: {minutes:.1f} core minutes in all, wall now: {wall:.1f} min   out: {self.output.path}"


class _Progress:
    """Cells done of each stage: a bar on a terminal, else a line at the start of every stage."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description:10}"), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, name: str, done: int, cells: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=cells)
            if not self._console.is_terminal:
                print(f"{name}: {cells} cells, {done} done before", file=sys.stderr)
        self._bar.update(self._tasks[name], completed=done)
