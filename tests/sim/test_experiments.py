"""What all named experiments share: options, shards, verdicts, exit codes."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from sim.experiments.command import run_experiment
from sim.experiments.experiment import Cell, Experiment, Measurement, Samples, Settings
from sim.experiments.phase import EXPERIMENT as PHASE
from sim.experiments.registry import EXPERIMENTS, experiment
from sim.store import Output
from sim.sweep import main
from sim.verdict import Side

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--experiment", "phase", "--horizon", "64..1024x2", "--seeds", "8")


class Coins(Experiment[Settings]):
    """Means of coins with a bound above them, in tokens: small enough to see through."""

    name = "coins"
    question = "How often heads?"
    axes = ("p",)
    batch = 2
    bound = 1.0
    broken: float | None = None

    def cells(self, settings: Settings) -> tuple[Cell, ...]:
        return tuple(self.cell(settings, p=p) for p in (0.25, 0.5, 0.75))

    def measure(self, settings: Settings, cells: Sequence[Cell]) -> list[Samples]:
        if any(cell["p"] == self.broken for cell in cells):
            raise ArithmeticError("no coin")
        return [{"heads": (cell.generator().random(settings.seeds) < cell["p"]).astype(float)} for cell in cells]

    def judge(self, settings: Settings, cell: Cell, samples: Samples) -> list[Measurement]:
        upper = Side("coin", self.bound * cell["p"], proven=True, valid=True)
        found = Measurement("J", "coin", "tokens", samples["heads"], cell["p"], upper=upper, reach=(0.0, 1.0))
        return [found, Measurement("J", "exact", "tokens", exact=cell["p"], upper=upper)]

    def estimated_seconds(self, settings: Settings) -> float:
        return 0.0


def test_names_lead_to_experiments() -> None:
    """Every name has a module whose experiment carries it, asks a question and has a grid of different cells."""
    for name in EXPERIMENTS:
        found = experiment(name)
        assert found.name == name
        assert found.question.endswith("?")
        cells = found.cells(found.settings)
        assert len({cell.identity for cell in cells}) == len(cells) > 1
        assert all(tuple(cell.axes) == found.axes for cell in cells)
        assert 0.0 < found.estimated_seconds(found.settings) < 600.0


def test_defaults_are_settings_of_the_command_line() -> None:
    """Settings survive a journey through JSON, and seeds and seed can be set everywhere."""
    for name in EXPERIMENTS:
        settings = experiment(name).settings
        assert json.loads(json.dumps(settings.as_dict())) == settings.as_dict()
        other = dataclasses.replace(settings, seeds=settings.seeds + 1, seed=3)
        assert (other.seeds, other.seed) == (settings.seeds + 1, 3)


def test_a_cell_has_its_numbers_in_any_company() -> None:
    """Alone, in another order, or after other cells: the same samples; another seed, others."""
    settings = Settings(seeds=64)
    whole = {cell["p"]: row[0].samples for cell, row in run_experiment(Coins(settings), settings).measured}
    for cell in reversed(Coins(settings).cells(settings)):
        (alone,) = Coins(settings).measure(settings, [cell])
        assert np.array_equal(alone["heads"], whole[cell["p"]])
    other = Settings(seeds=64, seed=1)
    again = run_experiment(Coins(other), other).measured[0][1][0].samples
    assert not np.array_equal(again, whole[0.25])


def test_trials_and_streams_have_numbers_of_their_own() -> None:
    """A learner's coins are none of the numbers its data were drawn from, nor another trial's."""
    cell = Cell("coins", {"p": 0.25}, 0)
    places = [(trial, stream) for trial in range(4) for stream in range(3)]
    drawn = {place: cell.generator(*place).integers(0, 2**64, 64, dtype=np.uint64) for place in places}
    assert len(np.unique(np.concatenate([*drawn.values()]))) == 64 * len(places)
    assert np.array_equal(cell.generator(3, 2).integers(0, 2**64, 64, dtype=np.uint64), drawn[3, 2])
    with jax.enable_x64(True):
        keys = [tuple(jax.random.key_data(cell.key(stream)).tolist()) for stream in range(8)]
    assert len(set(keys)) == len(keys)


def test_a_violated_bound_is_exit_4() -> None:
    """A bound 20% below the truth is violated by the mean and by the exact value, one a fifth above it by neither."""
    settings, coins = Settings(seeds=4096), Coins(Settings())
    coins.bound = 1.2
    assert run_experiment(coins, settings).exit_code == 0
    coins.bound = 0.8
    result = run_experiment(coins, settings)
    assert result.exit_code == 4
    assert {v.method for v in result.resolved} == {"coin", "exact"}
    assert all(v.measured > v.bound for v in result.resolved)
    assert len(result.resolved) == 6


def test_what_few_trials_cannot_tell_is_unresolved() -> None:
    """Eight trials that all agree have no error; events they may have missed explain what is beyond the bound."""
    seen = Measurement(
        "J", "m", "tokens", np.zeros(8), lower=Side("bound", 0.01, proven=True, valid=True), reach=(0.0, 1.0)
    )
    (found,) = seen.violations(Cell("coins", {"p": 0.5}, 0))
    assert not found.resolved
    certain = dataclasses.replace(seen, samples=None, exact=0.0)
    assert [v.resolved for v in certain.violations(Cell("coins", {"p": 0.5}, 0))] == [True]
    unproven = dataclasses.replace(seen, lower=Side("bound", 0.01, proven=False, valid=False))
    assert unproven.violations(Cell("coins", {"p": 0.5}, 0)) == []


def test_cells_that_fail_are_kept_apart() -> None:
    """A batch that breaks is listed with its reason, exit 3; the others are measured."""
    settings, coins = Settings(seeds=16), Coins(Settings())
    coins.broken = 0.75
    result = run_experiment(coins, settings)
    assert [cell["p"] for cell, _ in result.measured] == [0.25, 0.5]
    assert result.failed == [{"p": 0.75, "reason": "no coin"}]
    assert result.exit_code == 3


def test_cells_that_are_not_finite_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """One NaN among the samples of a cell fails that cell alone."""
    settings, coins = Settings(seeds=16), Coins(Settings())
    measure = coins.measure

    def spoiled(settings: Settings, cells: Sequence[Cell]) -> list[Samples]:
        found = measure(settings, cells)
        return [
            {"heads": np.append(x["heads"][1:], math.nan if c["p"] == 0.5 else 0.0)}
            for c, x in zip(cells, found, strict=True)
        ]

    monkeypatch.setattr(coins, "measure", spoiled)
    result = run_experiment(coins, settings)
    assert [cell["p"] for cell, _ in result.measured] == [0.25, 0.75]
    assert result.failed == [{"p": 0.5, "reason": "heads: not finite"}]


def test_finished_batches_are_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run reads its shards: the same table, and nothing is measured; a shard cut short is measured again."""
    settings, coins = Settings(seeds=32), Coins(Settings())

    def table(resume: bool) -> str:  # as text: a table that holds NaN is not equal to itself
        return str(run_experiment(coins, settings, Output.open(tmp_path / "o", {}, resume)).table().to_pylist())

    first = table(resume=False)
    shards = sorted((tmp_path / "o" / "shards").iterdir())
    assert len(shards) == 2
    calls: list[float] = []
    measure = coins.measure
    monkeypatch.setattr(coins, "measure", lambda s, cells: calls.extend(c["p"] for c in cells) or measure(s, cells))
    assert table(resume=True) == first
    assert calls == []
    shards[0].write_bytes(shards[0].read_bytes()[:100])
    assert table(resume=True) == first
    assert calls in ([0.25, 0.5], [0.75])


def test_an_output_is_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Manifest, table, summary and figure; a table row for every measurement, bounds and validity beside it."""
    out = tmp_path / "o"
    assert main([*SMALL, "--out", str(out), "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "summary.json").read_text())
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["status"] == "done"
    assert manifest["config"]["experiment"] == "phase"
    assert manifest["config"]["seeds"] == 8
    table = pq.read_table(out / "results.parquet")
    assert table.num_rows == 5 * 16 * 3
    assert {"alpha", "nu", "horizon", "quantity", "method", "unit", "mean", "se", "exact", "prediction"} <= set(
        table.column_names
    )
    assert {"bound_lower", "bound_upper", "bound_lower_valid", "bound_upper_label"} <= set(table.column_names)
    assert {p.suffix for p in out.glob("phase.*")} == {".png", ".svg"}
    bytes_before = (out / "results.parquet").read_bytes()
    assert main([*SMALL, "--out", str(out), "--format", "json", "--resume"]) == 0
    assert json.loads(capsys.readouterr().out) == printed
    assert (out / "results.parquet").read_bytes() == bytes_before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--experiment", "maze"), "--experiment maze"),
        (("--experiment", "phase", "--law", "uniform"), "--law uniform"),
        (("--experiment", "phase", "--rule", "n=H"), "--rule n=H"),
        (("--experiment", "phase", "--horizon", "1..4"), "--horizon 1..4"),
        (("--experiment", "phase", "--seeds", "1"), "--seeds 1"),
        (("--experiment", "phase", "--seed", "-1"), "--seed -1"),
        (("--experiment", "phase", "--resume"), "--resume"),
        (("--experiment", "phase", "--seeds", "10000000"), "--yes"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], named: str
) -> None:
    """Exit 2, one line that names the value, nothing written."""
    out = () if "--resume" in arguments else ("--out", str(tmp_path / "o"))
    assert main([*arguments, *out]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    assert named in streams.err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_measures_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--dry-run says how many cells and seconds, and the settings in full."""
    assert main([*SMALL, "--dry-run", "--format", "json", "--out", str(tmp_path / "o")]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["cells"] == 80
    assert plan["config"]["seeds"] == 8
    assert list(tmp_path.iterdir()) == []


def test_another_configuration_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory is resumed by its own experiment and settings only."""
    out = ("--out", str(tmp_path / "o"))
    assert main([*SMALL, *out]) == 0
    assert main([*SMALL, *out]) == 2
    assert main([*SMALL, *out, "--resume", "--seed", "1"]) == 2
    assert "config" in capsys.readouterr().err


def test_interruption_is_exit_130_and_resumable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C keeps what is finished and says how to go on."""
    out, measure = ("--out", str(tmp_path / "o")), PHASE.measure
    calls: list[int] = []

    def interrupted(settings: Any, cells: Sequence[Cell]) -> list[Samples]:
        if calls:
            raise KeyboardInterrupt
        calls.append(len(cells))
        return measure(settings, cells)

    with monkeypatch.context() as patch:
        patch.setattr(PHASE, "measure", interrupted)
        assert main([*SMALL, *out]) == 130
    assert "--resume" in capsys.readouterr().err
    assert len(list((tmp_path / "o" / "shards").iterdir())) == 1
    assert main([*SMALL, *out, "--resume"]) == 0


def test_kill_9_and_resume_give_the_same_bytes(tmp_path: Path) -> None:
    """Killed after a shard is written and resumed, an experiment ends with the bytes of one that was left alone."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "sim.sweep", "--experiment", "crossover", "--seeds", "64"]
    process = subprocess.Popen(
        [*command, "--out", str(killed)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((killed / "shards").glob("[!.]*.parquet")):
        assert process.poll() is None, "finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "results.parquet").exists()
    for out, flags in ((killed, ("--resume",)), (whole, ())):
        subprocess.run([*command, "--out", str(out), *flags], cwd=ROOT, check=True, capture_output=True)
    assert (killed / "results.parquet").read_bytes() == (whole / "results.parquet").read_bytes()
