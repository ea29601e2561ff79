"""Runs stages: cells in worker processes each, every finished one a shard, then one table a stage.

``OUT/STAGE/`` holds ``manifest.json`` (recipe, digests of the stages it was made from, code, versions, machine),
``shards/``, ``files/`` (checkpoints and draws), ``files.json`` (their digests) and ``results.parquet``. A cell that a
kill interrupted is done again from its beginning, with the same numbers; a file that is not what its shard says is made
again. A stage whose code, recipe or inputs have changed is refused, not mixed.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_validation.staged.bench import Bench
from llm_validation.staged.cells import Cell, CellError, Done
from llm_validation.staged.checkpoints import CheckpointError, digest_of
from llm_validation.staged.stages import Experiment, Stage
from llm_validation.staged.training import within_memory
from sim.sources import sources_of
from sim.store import Output, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Run", "StageReport", "open_stage", "unfinished"]

_DIGEST, _SECONDS = "_digest", "_seconds"


@dataclass(slots=True)
class StageReport:
    """How a stage went."""

    name: str
    cells: int
    left: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0  # of compute, all cells, whenever they ran

    @property
    def is_done(self) -> bool:
        """Whether its table is whole."""
        return not self.left and not self.failed


@lru_cache(maxsize=1)
def _bench(experiment: Experiment, out: Path, recipe: Any) -> Bench:
    """One bench for all cells that a process does: what they share is made once."""
    return experiment.bench_of(out, recipe)


def _end_with_parent() -> None:
    """In a worker: end as soon as the process that began it is gone, killed perhaps."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _work(experiment: Experiment, out: Path, recipe: Any, found: Stage, cell: Cell) -> tuple[Done | str, float]:
    """:func:`_outcome` in a worker process."""
    return _outcome(_bench(experiment, out, recipe), found, cell)


def _outcome(bench: Bench, stage: Stage, cell: Cell) -> tuple[Done | str, float]:
    """What a cell leaves, or why it could not be done, and the seconds it took."""
    import torch

    torch.set_num_threads(bench.threads)
    torch.use_deterministic_algorithms(bench.recipe.device == "cpu")
    started = time.perf_counter()
    found: Done | str
    try:
        with within_memory():
            found = stage.run(bench, cell)
    except CellError as error:
        found = str(error)
    return found, time.perf_counter() - started


def _digest(path: Path) -> str:
    """Digest of a checkpoint (a directory) or of a file of draws; empty if it is not there."""
    try:
        return digest_of(path) if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    except (OSError, CheckpointError):
        return ""


def open_stage(experiment: Experiment, found: Stage, bench: Bench, resume: bool) -> Output:
    """The stage's directory. Raises ``StoreError`` if it was another's, or needs are not done."""
    needs = {}
    for name in found.needs:
        inputs = [bench.out / name / "results.parquet", bench.out / name / "files.json"]
        if status := unfinished(bench.out, name):
            raise StoreError(f"stage {found.name} needs all of {name}, which is {status}: run that first, to its end")
        needs[name] = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()[:16]
    config = {"stage": found.name, "recipe": bench.recipe.part(*found.sections), "needs": needs}
    output = Output.open(bench.out / found.name, config, resume, sources_of(found.module), experiment.libraries)
    for leftover in (output.path / "files").glob(".tmp-*"):  # of a kill while it was written
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    return output


def unfinished(out: Path, name: str) -> str:
    """Why nothing may be built on a stage: the status of its manifest; empty if every cell of it is done."""
    try:
        status = str(json.loads((out / name / "manifest.json").read_text())["status"])
    except (OSError, ValueError, KeyError, TypeError):
        return "not there"
    tables = all((out / name / table).is_file() for table in ("results.parquet", "files.json"))
    return "" if status == "done" and tables else f"{status!r}" if status != "done" else "without its table"


@dataclass(slots=True)
class Run:
    """Stages of one experiment, one after another, until ``deadline`` (of :func:`time.monotonic`).

    Used in a ``with`` block, whose end stops the worker processes.
    """

    experiment: Experiment
    bench: Bench
    processes: int
    deadline: float
    progress: Callable[[str, int, int], None] = lambda name, done, cells: None
    _pool: concurrent.futures.ProcessPoolExecutor | None = None

    def __enter__(self) -> Run:
        """Workers start when there is work for two."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the workers; cells that are running end first."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _workers(self) -> concurrent.futures.ProcessPoolExecutor:
        """The worker processes, the same ones for all stages."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = concurrent.futures.ProcessPoolExecutor(self.processes, context, _end_with_parent)
        return self._pool

    def stage(self, found: Stage, resume: bool) -> StageReport:
        """Do the cells that are left, write the table if none is. Raises ``StoreError``, or ``CellError``."""
        output = open_stage(self.experiment, found, self.bench, resume)
        cells = found.cells(self.bench.recipe)
        shards = {cell: shard for cell in cells if (shard := self._stored(output, found, cell)) is not None}
        left = [cell for cell in cells if cell not in shards]
        report = StageReport(found.name, len(cells))
        self.progress(found.name, len(shards), len(cells))
        for cell, done, seconds in self._done(found, left):
            if isinstance(done, str):
                report.failed.append(f"{found.name} {cell.identity}: {done}")
                continue
            shards[cell] = _as_shard(done, seconds)
            output.write_table(f"shards/{cell.identity}.parquet", shards[cell])
            self.progress(found.name, len(shards), len(cells))
        report.left = len(cells) - len(shards) - len(report.failed)
        report.seconds = sum(shard[_SECONDS][0].as_py() for shard in shards.values())
        self._finish(output, [(cell, shards[cell]) for cell in cells if cell in shards], report)
        return report

    def _stored(self, output: Output, found: Stage, cell: Cell) -> pa.Table | None:
        """A finished cell's shard, if its file is as the shard says."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = output.path / "shards" / f"{cell.identity}.parquet"
        if not path.exists():
            return None
        try:
            shard = pq.read_table(path)
            wanted = shard[_DIGEST][0].as_py()
        except (OSError, pa.ArrowException, KeyError, IndexError) as error:
            print(f"{path}: unreadable, done again ({_line(error)})", file=sys.stderr)
            return None
        file = self.bench.file(found.name, cell)
        if wanted and wanted not in (_digest(file), _digest(file.with_name(file.name + ".parquet"))):
            print(f"{file}: not what its shard says, done again", file=sys.stderr)
            return None
        return shard

    def _done(self, found: Stage, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Done | str, float]]:
        """Every cell with what it leaves, as they finish; none is begun after the deadline."""
        job = (self.experiment, self.bench.out, self.bench.recipe, found)
        if self.processes == 1 or len(cells) == 1:
            for cell in cells:
                if time.monotonic() >= self.deadline:
                    return
                yield cell, *_outcome(self.bench, found, cell)
            return
        waiting = list(reversed(cells))
        running: dict[concurrent.futures.Future[tuple[Done | str, float]], Cell] = {}
        while waiting or running:
            while waiting and len(running) < self.processes and time.monotonic() < self.deadline:
                cell = waiting.pop()
                running[self._workers().submit(_work, *job, cell)] = cell
            if not running:
                return
            finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in finished:
                cell = running.pop(future)
                yield cell, *_result(future)

    def _finish(self, output: Output, shards: Sequence[tuple[Cell, pa.Table]], report: StageReport) -> None:
        """The stage's table and digests, if any cell is done; its manifest."""
        import pyarrow as pa

        facts = {"cells": report.cells, "cell_seconds": round(report.seconds, 1)}
        if report.left or not shards:
            output.finish("interrupted" if report.left else "failed cells", **facts)
            return
        output.write_json(
            "files.json", {cell.identity: digest for cell, shard in shards if (digest := shard[_DIGEST][0].as_py())}
        )
        parts = [shard.drop_columns([_DIGEST, _SECONDS]) for _, shard in shards]
        # a column that is empty in a whole shard has no type of its own
        output.write_table("results.parquet", pa.concat_tables(parts, promote_options="default"))
        output.finish("failed cells" if report.failed else "done", **facts)


def _result(future: concurrent.futures.Future[tuple[Done | str, float]]) -> tuple[Done | str, float]:
    try:
        return future.result()
    except BrokenProcessPool:
        raise CellError(
            "a worker process was killed, out of memory perhaps: fewer --processes, then --resume"
        ) from None


def _as_shard(done: Done, seconds: float) -> pa.Table:
    import pyarrow as pa

    names = list(done.rows[0])
    columns = {name: [row[name] for row in done.rows] for name in names}
    extra = {_DIGEST: [done.digest] * len(done.rows), _SECONDS: [seconds] * len(done.rows)}
    return pa.table({**columns, **extra})


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
