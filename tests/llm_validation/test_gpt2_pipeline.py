"""The didactic experiment from end to end: kills, corrupt files, failed cells, and what the command says of them."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from commands import Command
from killed_runs import Killed, wait_for
from llm_validation.gpt2_planted import cloning, evaluation
from llm_validation.gpt2_planted.__main__ import main
from llm_validation.gpt2_planted.bench import Bench, Cell
from llm_validation.gpt2_planted.measure import refused
from llm_validation.gpt2_planted.recipe import Recipe, read_recipe
from llm_validation.gpt2_planted.stages import EXPERIMENT, STAGES
from llm_validation.staged.cells import CellError, Done
from llm_validation.staged.pipeline import Run, StageReport
from llm_validation.staged.stages import Stage
from sim.store import StoreError

ROOT = Path(__file__).resolve().parents[2]
PROG = "python -m llm_validation.gpt2_planted: "
IDENTITY = ("level", "horizon", "n", "seed", "arm", "kl_weight")
#: The smoke recipe cut down to two seconds; its base is not meant to learn.
TINY = """
minutes = 1
processes = 1
[task]
V = 3
ell = 2
gamma = 1.5
matched_at = 6
levels = [0.5]
held_out = 4
[network]
width = 16
layers = 1
heads = 2
[base]
horizons = [3, 6]
steps = [50, 150]
batch = [64, 64]
tolerance = 1.0
most_kl = 10.0
[grid]
horizons = [6]
n = [8]
seeds = 2
[measure]
prompts = 4
samples = 8
[vf]
arms = ["equal-draws", "equal-traces"]
most_steps = 4
[verifier]
steps = 6
checks = 2
[rl]
levels = [0]
horizons = [6]
steps = 3
prompts = 2
generations = 4
kl_weights = [0.0, 0.5]
kl_horizons = [6]
points = 2
[best_of_n]
N = [1, 4]
[evaluate]
samples = 60
"""


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe as a file."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module", autouse=True)
def unchanged_torch() -> Iterator[None]:
    """Cells ask torch for deterministic algorithms on one thread; other modules' tests did not."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


def run_all(out: Path, recipe: Recipe, **settings: Any) -> list[StageReport]:
    """All stages in this process."""
    run = Run(EXPERIMENT, Bench(out, recipe), 1, math.inf, **settings)
    return [run.stage(found, resume=(out / found.name).exists()) for found in STAGES]


def tables(out: Path) -> dict[str, bytes]:
    """Bytes of every stage's table and of the digests of its files."""
    return {
        f"{found.name}/{name}": (out / found.name / name).read_bytes()
        for found in STAGES
        for name in ("results.parquet", "files.json")
        if (out / found.name / name).exists()
    }


@pytest.fixture(scope="module")
def undisturbed(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that nothing disturbed, begun by the command."""
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert main(["--recipe", str(recipe_file), "--out", str(out), "--stages", "data"]) == 0
    assert all(report.is_done for report in run_all(out, read_recipe(str(recipe_file))))
    return out


@pytest.fixture
def copy(undisturbed: Path, recipe_file: Path, tmp_path: Path) -> Run:
    """The same, to be spoilt."""
    shutil.copytree(undisturbed, tmp_path / "out")
    return Run(EXPERIMENT, Bench(tmp_path / "out", read_recipe(str(recipe_file))), 1, math.inf)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Cell]]:
    """Cells that were begun in this process, by stage."""
    begun: list[tuple[str, Cell]] = []
    real: Callable[[Stage, Bench, Cell], Done] = Stage.run

    def noted(self: Stage, bench: Bench, cell: Cell) -> Done:
        begun.append((self.name, cell))
        return real(self, bench, cell)

    monkeypatch.setattr(Stage, "run", noted)
    return begun


def shard_files(out: Path, name: str) -> list[Path]:
    return sorted((out / name / "shards").glob("[!.]*.parquet"))


def one_line(error: pytest.ExceptionInfo[Any]) -> str:
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, run in this process."""
    return Command(main, PROG, capsys)


def test_the_smoke_recipe_runs_through(tmp_path: Path) -> None:
    """Every stage of ``smoke`` is done, its base has learnt the task, and tables hold each cell with its identity."""
    recipe = read_recipe("smoke")
    reports = run_all(tmp_path, recipe)
    assert [report.name for report in reports if not report.is_done] == []
    rows = Bench(tmp_path, recipe).rows
    assert refused(recipe, rows("base"), rows("measure")) == []
    for found in STAGES:
        table = pq.read_table(tmp_path / found.name / "results.parquet")
        assert set(IDENTITY) < set(table.column_names)
        kept = {Cell(**{name: row[name] for name in IDENTITY}) for row in table.select(IDENTITY).to_pylist()}
        if found.name in ("vf", "verifier", "rl", "best-of-n", "evaluate"):
            assert kept == set(found.cells(recipe))
        manifest = json.loads((tmp_path / found.name / "manifest.json").read_text())
        assert manifest["status"] == "done"
        assert manifest["cells"] == len(found.cells(recipe))
        assert manifest["versions"]["torch"] == metadata.version("torch")


def test_a_finished_run_is_not_done_again(copy: Run, started: list[tuple[str, Cell]]) -> None:
    """Resuming begins no cell, says that all are done, and leaves every table as it was, byte by byte."""
    before = tables(copy.bench.out)
    told: list[tuple[str, int, int]] = []
    reports = run_all(
        copy.bench.out, copy.bench.recipe, progress=lambda name, done, cells: told.append((name, done, cells))
    )
    assert all(report.is_done for report in reports)
    assert started == []
    assert told == [
        (found.name, len(found.cells(copy.bench.recipe))) * 1 + (told[i][2],) for i, found in enumerate(STAGES)
    ]
    assert all(done == cells for _, done, cells in told)
    assert tables(copy.bench.out) == before


@pytest.fixture(scope="module")
def killed(recipe_file: Path) -> Iterator[Killed]:
    """A process that forks runs."""
    module = "llm_validation.gpt2_planted"
    libraries = ("trl.trainer.grpo_trainer", "trl.trainer.sft_trainer")
    with Killed(f"{module}.stages", f"{module}.recipe", libraries, recipe_file) as found:
        yield found


def test_a_run_killed_anywhere_ends_with_the_same_tables(killed: Killed, undisturbed: Path, tmp_path: Path) -> None:
    """Killed (SIGKILL) in data, twice in training the base, amid cloning, labelling, reinforcement and evaluation,
    and resumed each time: all tables and digests are those of an undisturbed run, and what was done was kept.
    """
    out = tmp_path / "out"
    moments: list[Callable[[], bool]] = [
        lambda: (out / "data" / "manifest.json").exists(),
        lambda: (out / "base" / "manifest.json").exists(),
        lambda: time.monotonic() > begun + 1.0 and (out / "base" / "manifest.json").exists(),
        lambda: len(shard_files(out, "vf")) >= 1,
        lambda: len(shard_files(out, "verifier")) >= 2,
        lambda: len(shard_files(out, "rl")) >= 1,
        lambda: len(shard_files(out, "evaluate")) >= 3,
    ]
    kept: dict[Path, int] = {}
    for moment in moments:
        begun = time.monotonic()
        assert killed.run(out, moment) == -signal.SIGKILL
        assert not (out / "evaluate" / "results.parquet").exists()
        assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
        kept = {path: path.stat().st_mtime_ns for found in STAGES for path in shard_files(out, found.name)}
    assert killed.run(out) == 0
    assert tables(out) == tables(undisturbed)
    assert len(kept) >= 8


def test_a_killed_command_with_workers_ends_with_the_same_tables(
    copy: Run, undisturbed: Path, recipe_file: Path
) -> None:
    """A command that is killed with its two workers as soon as one of their cells is done leaves whole shards or none,
    and one process that goes on ends with the tables of an undisturbed run.
    """
    out = copy.bench.out
    shutil.rmtree(out / "measure")
    asked = ["--recipe", recipe_file, "--out", out, "--processes", "2", "--stages", "measure", "--resume"]
    with subprocess.Popen(
        [sys.executable, "-m", "llm_validation.gpt2_planted", *map(str, asked)], cwd=ROOT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        wait_for(lambda: len(shard_files(out, "measure")) >= 1)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (out / "measure" / "results.parquet").exists()
    kept = {path: path.stat().st_mtime_ns for path in shard_files(out, "measure")}
    assert copy.stage(EXPERIMENT.stage("measure"), resume=True).is_done
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    assert tables(out) == tables(undisturbed)


def test_a_corrupt_checkpoint_is_made_again(
    copy: Run, undisturbed: Path, started: list[tuple[str, Cell]], capsys: pytest.CaptureFixture[str]
) -> None:
    """One byte of the base's weights is another: it is said, the base is trained again and is what it was."""
    file = copy.bench.file("base", Cell()) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    assert copy.stage(EXPERIMENT.stage("base"), resume=True).is_done
    assert started == [("base", Cell())]
    assert f"{file.parent}: not what its shard says, done again" in capsys.readouterr().err
    assert file.read_bytes() == (undisturbed / file.relative_to(copy.bench.out)).read_bytes()
    assert tables(copy.bench.out) == tables(undisturbed)


def test_lost_draws_are_made_again(copy: Run, undisturbed: Path, started: list[tuple[str, Cell]]) -> None:
    """A file of draws that is gone is drawn again, and is what it was."""
    cell = Cell(seed=1, arm="draws")
    file = copy.bench.file("measure", cell, ".parquet")
    file.unlink()
    assert copy.stage(EXPERIMENT.stage("measure"), resume=True).is_done
    assert started == [("measure", cell)]
    assert file.read_bytes() == (undisturbed / file.relative_to(copy.bench.out)).read_bytes()
    assert tables(copy.bench.out) == tables(undisturbed)


def test_a_shard_cut_in_half_is_done_again(
    copy: Run, undisturbed: Path, started: list[tuple[str, Cell]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A shard of which half is missing is said to be unreadable, and its cell alone is done again."""
    cells = {f"{cell.identity}.parquet": cell for cell in EXPERIMENT.stage("vf").cells(copy.bench.recipe)}
    shard = shard_files(copy.bench.out, "vf")[1]
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    assert copy.stage(EXPERIMENT.stage("vf"), resume=True).is_done
    assert started == [("vf", cells[shard.name])]
    assert f"{shard}: unreadable, done again" in capsys.readouterr().err
    assert tables(copy.bench.out) == tables(undisturbed)


def test_another_recipe_is_refused(copy: Run) -> None:
    """A stage made by another recipe is refused in one line that says in what they differ, and left as it was."""
    before = tables(copy.bench.out)
    recipe = dataclasses.replace(copy.bench.recipe, vf=dataclasses.replace(copy.bench.recipe.vf, most_steps=5))
    other = Run(EXPERIMENT, Bench(copy.bench.out, recipe), 1, math.inf)
    assert other.stage(EXPERIMENT.stage("measure"), resume=True).is_done  # does not depend on [vf]
    with pytest.raises(StoreError) as caught:
        other.stage(EXPERIMENT.stage("vf"), resume=True)
    assert "made by another config (differs in recipe.vf.most_steps)" in one_line(caught)
    assert tables(copy.bench.out) == before


def test_changed_inputs_are_refused(copy: Run) -> None:
    """A stage whose inputs are no longer those it was made from is refused in one line."""
    path = copy.bench.out / "verifier" / "files.json"
    path.write_text(path.read_text().replace("0", "1"))
    with pytest.raises(StoreError) as caught:
        copy.stage(EXPERIMENT.stage("rl"), resume=True)
    assert "made by another config (differs in needs.verifier)" in one_line(caught)


def test_changed_code_is_refused(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage made by other code is refused in one line."""
    monkeypatch.setattr("sim.store.code_fingerprint", lambda packages: "0" * 16)
    with pytest.raises(StoreError) as caught:
        copy.stage(EXPERIMENT.stage("data"), resume=True)
    assert "made by another code" in one_line(caught)


@pytest.mark.parametrize("name", [found.name for found in STAGES if found.needs])
def test_a_stage_before_its_needs_is_refused(name: str, recipe_file: Path, tmp_path: Path) -> None:
    """A stage whose needs are not there says which one to run first, and writes nothing."""
    run = Run(EXPERIMENT, Bench(tmp_path / "out", read_recipe(str(recipe_file))), 1, math.inf)
    with pytest.raises(StoreError) as caught:
        run.stage(EXPERIMENT.stage(name), resume=False)
    need = EXPERIMENT.stage(name).needs[0]
    assert one_line(caught) == f"stage {name} needs all of {need}, which is not there: run that first, to its end"
    assert not (tmp_path / "out").exists()


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Cloning of seed 1 under ``equal-traces`` raises."""
    real = cloning.run

    def run(bench: Bench, cell: Cell) -> Done:
        if (cell.seed, cell.arm) == (1, "equal-traces"):
            raise error
        return real(bench, cell)

    monkeypatch.setattr(cloning, "run", run)


def test_a_failed_cell_is_listed_and_the_others_are_kept(
    copy: Run, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, started: list[tuple[str, Cell]]
) -> None:
    """The report names the cell and why; the table holds the rest; once the reason is gone only that cell is done."""
    shutil.rmtree(copy.bench.out / "vf")
    with monkeypatch.context() as patch:
        failing(patch, CellError("no luck"))
        report = copy.stage(EXPERIMENT.stage("vf"), resume=False)
    bad = Cell(horizon=6, n=8, seed=1, arm="equal-traces")
    assert report.failed == [f"vf {bad.identity}: no luck"]
    assert (report.cells, report.left, report.is_done) == (4, 0, False)
    arms = pq.read_table(copy.bench.out / "vf" / "results.parquet").select(["seed", "arm"]).to_pylist()
    assert [(row["seed"], row["arm"]) for row in arms] == [(0, "equal-draws"), (0, "equal-traces"), (1, "equal-draws")]
    assert json.loads((copy.bench.out / "vf" / "manifest.json").read_text())["status"] == "failed cells"
    started.clear()
    assert copy.stage(EXPERIMENT.stage("vf"), resume=True).is_done
    assert started == [("vf", bad)]
    assert tables(copy.bench.out) == tables(undisturbed)


ALLOCATOR = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes\nstack"


def test_running_out_of_memory_in_training_fails_the_cell(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch says when it has no memory becomes one line for each cell."""
    from trl.trainer.sft_trainer import SFTTrainer

    def train(self: Any) -> Any:
        raise RuntimeError(ALLOCATOR)

    monkeypatch.setattr(SFTTrainer, "train", train)
    shutil.rmtree(copy.bench.out / "vf")
    report = copy.stage(EXPERIMENT.stage("vf"), resume=False)
    assert len(report.failed) == 4
    assert all("out of memory (" in line and "smaller batch" in line and "\n" not in line for line in report.failed)


@pytest.mark.parametrize(
    "error",
    [RuntimeError(ALLOCATOR), torch.OutOfMemoryError("CUDA out of memory\nstack"), MemoryError()],
    ids=["cpu", "cuda", "python"],
)
def test_running_out_of_memory_in_sampling_fails_the_cell(
    error: BaseException, copy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it does outside of training, where a policy is sampled."""

    def sample(*arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(evaluation, "sample", sample)
    shutil.rmtree(copy.bench.out / "evaluate")
    report = copy.stage(EXPERIMENT.stage("evaluate"), resume=False)
    assert len(report.failed) == report.cells
    assert all("out of memory" in line and "\n" not in line for line in report.failed)


def test_a_worker_that_was_killed_is_one_line(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker process that ends without a word, as the kernel ends it when memory runs out, is said in one line."""

    class Dead:
        def submit(self, *job: Any) -> Future[Any]:
            found: Future[Any] = Future()
            found.set_exception(BrokenProcessPool("a process in the pool was terminated abruptly"))
            return found

    monkeypatch.setattr(Run, "_workers", lambda self: Dead())
    shutil.rmtree(copy.bench.out / "best-of-n")
    with pytest.raises(CellError) as caught:
        dataclasses.replace(copy, processes=2).stage(EXPERIMENT.stage("best-of-n"), resume=False)
    assert "a worker process was killed" in one_line(caught)
    assert "--resume" in str(caught.value)


def test_what_a_kill_left_half_written_is_removed(copy: Run, undisturbed: Path) -> None:
    """Files and checkpoints under temporary names are gone after the stage was opened again; all else is left."""
    (copy.bench.out / "base" / "files" / ".tmp-123-level=0").mkdir()
    (copy.bench.out / "base" / "files" / ".tmp-123-level=0" / "model.safetensors").write_bytes(b"half")
    (copy.bench.out / "measure" / "files" / ".tmp-123-level=0.parquet").write_bytes(b"half")
    for name in ("base", "measure"):
        assert copy.stage(EXPERIMENT.stage(name), resume=True).is_done
    files = [sorted(path.relative_to(out) for path in out.rglob("*")) for out in (copy.bench.out, undisturbed)]
    assert files[0] == files[1]


def test_no_cell_is_begun_after_the_deadline(copy: Run, undisturbed: Path, started: list[tuple[str, Cell]]) -> None:
    """Past the deadline all cells are left and no table is written; a later run does them."""
    shutil.rmtree(copy.bench.out / "best-of-n")
    late = dataclasses.replace(copy, deadline=time.monotonic())
    report = late.stage(EXPERIMENT.stage("best-of-n"), resume=False)
    assert (report.left, report.failed, report.is_done) == (report.cells, [], False)
    assert started == []
    assert not (copy.bench.out / "best-of-n" / "results.parquet").exists()
    assert copy.stage(EXPERIMENT.stage("best-of-n"), resume=True).is_done
    assert tables(copy.bench.out) == tables(undisturbed)


def test_the_command_refuses_a_directory_that_it_may_not_continue(
    copy: Run, recipe_file: Path, tmp_path: Path, command: Command
) -> None:
    """Without --resume, with another recipe, or with another seed: exit code 2, one line, and nothing is changed."""
    before = tables(copy.bench.out)
    other = tmp_path / "other.toml"
    other.write_text(TINY.replace("most_steps = 4", "most_steps = 5"))
    for asked, expected in (
        (["--recipe", recipe_file], "not empty; expected an empty or new directory, or --resume"),
        (["--recipe", other, "--resume"], "(differs in recipe.name, recipe.vf.most_steps)"),
        (["--recipe", recipe_file, "--seed", "1", "--resume"], "was made by another config (differs in recipe.seed)"),
    ):
        code, out, said = command(*asked, "--out", copy.bench.out, "--stages", "data")
        assert (code, out, len(said)) == (2, "", 1)
        assert said[0].startswith(f"--out {copy.bench.out}: ")
        assert expected in said[0]
    assert tables(copy.bench.out) == before


def test_the_command_lists_failed_cells(
    copy: Run, undisturbed: Path, recipe_file: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """A failed cell is exit code 3 and a line; the same command again, the reason gone, is 0 and does what is left."""
    shutil.rmtree(copy.bench.out / "vf")
    asked = ["--recipe", recipe_file, "--out", copy.bench.out, "--stages", "vf", "--resume"]
    with monkeypatch.context() as patch:
        failing(patch, CellError("no luck"))
        code, _, said = command(*asked)
    assert (code, said) == (3, ["vf level=0,H=6,n=8,seed=1,arm=equal-traces,kl=0: no luck"])
    assert len(shard_files(copy.bench.out, "vf")) == 3
    assert command(*asked)[0] == 0
    assert tables(copy.bench.out) == tables(undisturbed)


def test_an_interrupted_command_says_how_to_go_on(
    copy: Run, recipe_file: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """Ctrl-C is exit code 130 and one line; cells that were finished are kept."""
    shutil.rmtree(copy.bench.out / "vf")
    failing(monkeypatch, KeyboardInterrupt())
    code, _, said = command("--recipe", recipe_file, "--out", copy.bench.out, "--stages", "vf", "--resume")
    assert code == 130
    assert said == ["interrupted; finished cells are kept, run again with --resume"]
    assert len(shard_files(copy.bench.out, "vf")) == 3


def test_a_command_out_of_time_says_how_to_go_on(copy: Run, recipe_file: Path, command: Command) -> None:
    """Past --minutes no cell is begun: exit code 130, and one line says what is left."""
    shutil.rmtree(copy.bench.out / "best-of-n")
    asked = ["--recipe", recipe_file, "--out", copy.bench.out, "--stages", "best-of-n", "--resume"]
    code, _, said = command(*asked, "--minutes", "1e-9")
    assert (code, said) == (130, ["out of time, 6 cells of best-of-n are left; go on with --resume"])
    assert command(*asked)[0] == 0


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        ("tolerance = 0.01", "base of level 0: solves "),
        ("most_kl = 0.01", "nats a token from the exact law; expected at most base.most_kl = 0.01"),
    ],
)
def test_a_base_that_has_not_learnt_stops_the_command(
    gate: str, expected: str, tmp_path: Path, command: Command
) -> None:
    """After two steps the base is off in solve rate and in law: exit code 3, one line, and no later stage is begun.

    Nor is one when it is asked for by itself.
    """
    path = tmp_path / "hasty.toml"
    hasty = TINY.replace("steps = [50, 150]", "steps = [1, 1]")
    loose = next(line for line in TINY.splitlines() if line.startswith(gate.split()[0]))
    path.write_text(hasty.replace(loose, gate))
    for asked in (["--stages", "data,base,measure,vf"], ["--stages", "vf,verifier", "--resume"], ["--resume"]):
        code, out, said = command("--recipe", path, "--out", tmp_path / "out", *asked)
        assert (code, out, len(said)) == (3, "", 1)
        assert expected in said[0]
        assert (tmp_path / "out" / "measure" / "results.parquet").exists()
        assert not (tmp_path / "out" / "vf").exists()


def test_nothing_is_built_on_a_stage_with_failed_cells(
    copy: Run, recipe_file: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """Not by a stage that needs it, nor by the analysis: exit code 2 and one line, however often it is asked."""
    asked = ["--recipe", recipe_file, "--out", copy.bench.out, "--resume", "--stages"]
    shutil.rmtree(copy.bench.out / "vf")
    with monkeypatch.context() as patch:
        failing(patch, CellError("no luck"))
        assert command(*asked, "vf")[0] == 3
    expected = "stage evaluate needs all of vf, which is 'failed cells': run that first, to its end"
    assert [command(*asked, "evaluate") for _ in range(2)] == [(2, "", [expected])] * 2
    assert not (copy.bench.out / "returns.parquet").exists()


def test_nothing_is_said_of_a_run_with_a_stage_missing(copy: Run, recipe_file: Path, command: Command) -> None:
    """best-of-n is needed by no stage, but by the analysis: without it the last stage is exit code 2 and one line."""
    shutil.rmtree(copy.bench.out / "best-of-n")
    code, out, said = command("--recipe", recipe_file, "--out", copy.bench.out, "--resume", "--stages", "evaluate")
    expected = "the analysis needs all stages, and best-of-n is not there: run that, to its end"
    assert (code, out, said) == (2, "", [expected])
    assert not (copy.bench.out / "returns.parquet").exists()


def test_a_network_that_cannot_be_had_fails_its_cell(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """--model of a directory that is not there is one line that names it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    missing = tmp_path / "missing"
    asked = ["--recipe", recipe_file, "--out", tmp_path / "out", "--stages", "data,base", "--model", missing]
    code, _, said = command(*asked)
    assert (code, len(said)) == (3, 1)
    assert f"network.source = {missing}: cannot be loaded" in said[0]


def test_a_stage_that_is_asked_for_too_early_is_one_line(recipe_file: Path, tmp_path: Path, command: Command) -> None:
    """--stages vf in a new directory says what to run first."""
    code, out, said = command("--recipe", recipe_file, "--out", tmp_path / "out", "--stages", "vf")
    assert (code, out, said) == (2, "", ["stage vf needs all of base, which is not there: run that first, to its end"])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--processes", "0"], "--processes 0: expected 1..1024"),
        (["--minutes", "0"], "--minutes 0: expected a number above 0"),
        (["--minutes", "nan"], "--minutes nan: expected a number above 0"),
        (["--stages", "sft"], "--stages sft: expected of data, base"),
        (["--stages", "data,,base"], "--stages : expected of data, base"),
        (["--recipe", "desktop"], "recipe desktop: expected smoke, laptop, gpu or a file that can be read"),
        (["--seed", "-1"], "seed = -1: expected a whole number of 0"),
        (["--seed", "one"], "--seed"),
        (["--device", "tpu"], "--device"),
        (["--device", "cuda"], "--device cuda: torch finds no such device"),
        (["--tokens", "3"], "--tokens"),
    ],
)
def test_bad_usage_is_one_line(
    asked: list[str],
    expected: str,
    recipe_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Command,
) -> None:
    """What the command cannot do is exit code 2 and one line on standard error; nothing is written."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, out, said = command("--recipe", recipe_file, "--out", tmp_path / "out", *asked)
    assert (code, out, len(said)) == (2, "", 1), said
    assert expected in said[0]
    assert not (tmp_path / "out").exists()


def test_a_directory_is_asked_for(recipe_file: Path, command: Command) -> None:
    """Without --out there is nowhere to keep anything, except with --dry-run."""
    code, _, said = command("--recipe", recipe_file)
    assert (code, len(said)) == (2, 1)
    assert "--out" in said[0]
    assert command("--recipe", recipe_file, "--dry-run")[0] == 0


def test_a_dry_run_counts_cells_and_writes_nothing(recipe_file: Path, tmp_path: Path, command: Command) -> None:
    """--dry-run tells the cells of every stage, as a table or as JSON with the recipe, overrides in place."""
    recipe = read_recipe(str(recipe_file))
    counts = {found.name: len(found.cells(recipe)) for found in STAGES}
    asked = ["--recipe", recipe_file, "--out", tmp_path / "out", "--dry-run"]
    code, text, _ = command(*asked)
    assert code == 0
    assert {line.split()[0]: int(line.split()[1]) for line in text.splitlines()[: len(STAGES)]} == counts
    code, text, _ = command(*asked, "--format", "json", "--seed", "5", "--model", "there", "--stages", "rl, data")
    found = json.loads(text)
    assert found["cells"] == {name: counts[name] for name in ("data", "rl")}
    assert found["recipe"] == {
        **recipe.as_dict(), "seed": 5, "network": {**recipe.as_dict()["network"], "source": "there"},
    }  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("library", ["torch", "trl"])
def test_a_missing_extra_is_named(library: str, recipe_file: Path, tmp_path: Path) -> None:
    """Where a library of the extra ``llm`` is not installed: exit code 2 and one line that says what to install."""
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from llm_validation.gpt2_planted.__main__ import main\n"
        f"sys.exit(main(['--recipe', {str(recipe_file)!r}, '--out', {str(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(PROG)
    assert done.stderr.count("\n") == 1
    assert "verifier-gap[llm]" in done.stderr
    assert f"{library} not found" in done.stderr
    assert not (tmp_path / "out").exists()
