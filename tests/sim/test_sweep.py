"""The command ``python -m sim.sweep``: what it shows, what it refuses, and that it can be killed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sim.learners.learner import learners
from sim.sweep import main
from theory.theorem import Number, Theorem
from theory.verifier_free import VF_LOWER_TRUNCATED

ROOT = Path(__file__).resolve().parents[2]


def swept(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a sweep in this process and return its JSON."""
    assert main([*arguments, "--format", "json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_default_sweep_shows_the_claim(capsys: pytest.CaptureFixture[str]) -> None:
    """Codebook, n = H, log2 M = 64: no violation in 512 cells; exponents one half, one half, one."""
    found = swept(capsys, "--horizon", "1..512")
    assert (found["cells"], found["bound_violations"], found["unresolved"]) == (512, 0, [])
    exponents = {name: e["estimate"] for name, e in found["exponents"].items()}
    assert 0.47 <= exponents["vf_regret"] <= 0.53
    assert 0.47 <= exponents["ball_gap"] <= 0.53
    assert 0.97 <= exponents["free_gap"] <= 1.03


def test_fixed_data_budget_has_exponent_one(capsys: pytest.CaptureFixture[str]) -> None:
    """At n = 256 the VF regret grows linearly in H."""
    found = swept(capsys, "--rule", "n=256")
    assert 0.97 <= found["exponents"]["vf_regret"]["estimate"] <= 1.03
    assert found["bound_violations"] == 0


def test_the_ball_gap_is_small_before_the_verifier_is_identified(tmp_path: Path) -> None:
    """Below n = log2 M the verifier is not identified and the ball gap is nothing; beyond it is the whole regret."""
    assert main(["--horizon", "40,128", "--out", str(tmp_path / "o")]) == 0
    rows = {(r["horizon"], r["gap"]): r["gap_mean"] for r in pq.read_table(tmp_path / "o" / "gaps.parquet").to_pylist()}
    assert rows[40, "ball_gap"] < 0.01 * rows[40, "vf_regret"]
    assert rows[128, "ball_gap"] > 0.99 * rows[128, "vf_regret"]


def test_outside_the_window_the_learner_beats_the_expert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At log2 M = 4, n = 16 H the VF regret is negative, the bound is not valid there, and it is no violation."""
    found = swept(capsys, "--horizon", "1..64", "--log2-M", "4", "--rule", "n=16*H", "--out", str(tmp_path / "o"))
    assert found["bound_violations"] == 0
    rows = pq.read_table(tmp_path / "o" / "results.parquet").to_pylist()
    bayes = [row for row in rows if row["method"] == "vf-bayes" and row["horizon"] >= 4]
    assert all(row["regret_mean"] < 0 and not row["bound_lower_valid"] for row in bayes)
    assert found["exponents"]["vf_regret"]["estimate"] is None


@pytest.mark.parametrize(("bits", "rule"), [(4, "n=16*H"), (64, "n=H"), (1, "n=H"), (4096, "n=9*H"), (20, "n=100000")])
def test_exact_values_are_known_on_the_whole_two_point_codebook(tmp_path: Path, bits: int, rule: str) -> None:
    """Every learner but the Bayes learner has a finite exact value between 0 and H at every size."""
    arguments = ["--horizon", "1..512x8", "--log2-M", str(bits), "--rule", rule, "--seeds", "8"]
    assert main([*arguments, "--out", str(tmp_path / "o")]) == 0
    for row in pq.read_table(tmp_path / "o" / "results.parquet").to_pylist():
        if row["method"] != "vf-bayes":
            assert 0.0 <= row["J_exact"] <= row["horizon"], row
            share = row["J_exact"] / row["horizon"]
            assert abs(row["J_mean"] / row["horizon"] - share) <= 5 * (share * (1 - share) / row["seeds"]) ** 0.5 + 1e-9


@pytest.mark.parametrize(
    "arguments",
    [
        ("--instance", "parity", "--log2-M", "6", "--horizon", "1..24"),
        ("--instance", "parity", "--log2-M", "5", "--law", "uniform", "--horizon", "1..12"),
        ("--law", "uniform", "--log2-M", "6", "--horizon", "1..16"),
        ("--law", "symmetric-two-point", "--s", "0.2", "--log2-M", "128", "--horizon", "1..256x2"),
        ("--epsilon", "optimal", "--log2-M", "256", "--horizon", "1..1024x4"),
        ("--epsilon", "0.4", "--rule", "n=3*H^1.5", "--horizon", "1..200x3"),
        ("--epsilon", "capacity:1.5", "--rule", "n=H", "--horizon", "32..256:16"),
        ("--log2-M", "4096", "--horizon", "4096,8192"),
    ],
)
def test_no_bound_is_violated_anywhere(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """Every instance, law and rule: all learners lie on the right side of every bound that speaks of them."""
    assert swept(capsys, *arguments)["bound_violations"] == 0


def test_a_wrong_bound_is_caught(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """If the lower bound claimed 5% more than it does, the sweep would say so with exit code 4."""

    def inflated(point: Any) -> Number:
        number = VF_LOWER_TRUNCATED.evaluator(point)
        return dataclasses.replace(number, value=1.05 * number.value)

    wrong: Theorem = dataclasses.replace(VF_LOWER_TRUNCATED, evaluator=inflated)
    monkeypatch.setattr("theory.verifier_free.VF_LOWER_TRUNCATED", wrong)
    found = swept(capsys, "--horizon", "100..140", code=4)
    assert found["bound_violations"] > 0
    assert {v["theorem"] for v in found["violations"]} == {"vf-lower-truncated"}


def test_cells_that_are_not_finite_are_kept_apart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell with a NaN is listed as failed with exit code 3; the others are reported."""
    import sim.runner

    whole = sim.runner.run_cells

    def spoiled(*arguments: Any) -> Any:
        evidence = whole(*arguments)
        evidence.posterior_sign[1, 3] = float("nan")
        return evidence

    monkeypatch.setattr(sim.runner, "run_cells", spoiled)
    found = swept(capsys, "--horizon", "10,20,30", code=3)
    assert (found["cells"], found["failed_cells"]) == (2, [20])


def exit_code(*arguments: str) -> object:
    """The exit code of the command, also where argparse leaves by SystemExit."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return stop.code


BAD = [
    (("--horizon", "0..5"), "0..5"),
    (("--horizon", "5..1"), "5..1"),
    (("--log2-M", "-1"), "-1"),
    (("--log2-M", "5000"), "5000"),
    (("--rule", "n=Q"), "n=Q"),
    (("--rule", "n=1e9"), "n=1e9"),
    (("--epsilon", "2"), "2"),
    (("--law", "uniform", "--log2-M", "8", "--epsilon", "0.9"), "0.9"),
    (("--instance", "parity", "--log2-M", "21"), "21"),
    (("--instance", "parity", "--log2-M", "20"), "--yes"),
    (("--learners", "vf-oracle"), "vf-oracle"),
    (("--learners", "vb-elimination"), "vb-elimination"),
    (("--instance", "maze"), "maze"),
    (("--law", "cauchy"), "cauchy"),
    (("--law", "symmetric-two-point", "--s", "0.7"), "0.7"),
    (("--s", "0.2"), "0.2"),
    (("--seeds", "1"), "1"),
    (("--N", "0"), "0"),
    (("--seed", "-1"), "-1"),
    (("--seeds", "x"), "x"),
    (("--no-such-option",), "--no-such-option"),
    (("--format", "xml"), "xml"),
    (("--law", "symmetric-two-point", "--s", "1e-9"), "1e-09"),
    (("--rule", "n=1e999999999"), "n=1e999999999"),
    (("--horizon", "1..9999999", "--rule", "n=1"), "1..9999999"),
    (("--horizon", "²"), "²"),
]


@pytest.mark.parametrize(("arguments", "named"), BAD)
def test_bad_input_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], named: str
) -> None:
    """Bad input: exit 2, one line that names the value, nothing written."""
    assert exit_code(*arguments, "--out", str(tmp_path / "o")) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    assert named in streams.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["/dev/null/x", "/proc/nowhere"])
def test_an_unwritable_directory_is_exit_2(capsys: pytest.CaptureFixture[str], out: str) -> None:
    """A directory that cannot be made is refused before anything runs."""
    assert main(["--horizon", "1..4", "--out", out]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_dry_run_writes_and_samples_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--dry-run says cells and seconds and leaves no trace, also where the job would need --yes."""
    found = swept(capsys, "--dry-run", "--instance", "parity", "--log2-M", "20", "--out", str(tmp_path / "o"))
    assert found["cells"] == 512
    assert found["estimated_seconds"] > 3600
    assert list(tmp_path.iterdir()) == []


COLUMNS = {
    "instance", "law", "rule", "horizon", "n", "log2_M", "epsilon", "kappa", "sigma", "c", "method", "seeds",
    "J_mean", "J_se", "regret_mean", "regret_se", "bound_lower", "bound_upper", "bound_valid",
}  # fmt: skip


def test_an_output_is_complete(tmp_path: Path) -> None:
    """All files are there; one row per horizon and method; sampled values agree with the exact ones beside them."""
    out = tmp_path / "o"
    assert main(["--horizon", "1..128x2", "--out", str(out)]) == 0
    assert {p.name for p in out.iterdir()} == {
        "manifest.json", "results.parquet", "gaps.parquet", "summary.json", "gap.png", "gap.svg", "shards",
    }  # fmt: skip
    table = pq.read_table(out / "results.parquet")
    assert set(table.column_names) >= COLUMNS
    methods = [name for name, x in learners().items() if "codebook" in x.instances]
    assert table.num_rows == 8 * len(methods)
    for row in table.to_pylist():
        if row["J_exact"] == row["J_exact"]:
            largest = (row["J_exact"] / row["horizon"] * (1 - row["J_exact"] / row["horizon"]) / row["seeds"]) ** 0.5
            assert abs(row["J_mean"] - row["J_exact"]) <= (5 * largest + 1e-9) * row["horizon"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["status"] == "done"
    assert {"config", "versions", "code", "commit", "machine", "command"} <= set(manifest)


def command(out: Path, horizons: str, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "sim.sweep",
        "--horizon",
        horizons,
        "--learners",
        "vf-bayes",
        "--out",
        str(out),
        *more,
    ]


def test_same_seed_same_bits(tmp_path: Path) -> None:
    """A re-run and another order of horizons give results.parquet byte for byte; another seed does not."""
    orders = ("1..96", ",".join(str(H) for H in reversed(range(1, 97))), "1..96")
    for i, horizons in enumerate(orders):
        more = ("--seed", "1") if i == 2 else ()
        assert main([*command(tmp_path / str(i), horizons)[3:], *more]) == 0
    first, other_order, other_seed = ((tmp_path / str(i) / "results.parquet").read_bytes() for i in range(3))
    assert first == other_order
    assert first != other_seed


def test_kill_9_and_resume_give_the_same_bits(tmp_path: Path) -> None:
    """Killed after some shards are written and resumed, a sweep ends with the bytes of one that was left alone."""
    more = ("--seeds", "1024")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        command(killed, "1..256", *more), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(list((killed / "shards").glob("[!.]*.parquet"))) < 2:
        assert process.poll() is None, "finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "results.parquet").exists()
    kept = {p.name: p.stat().st_mtime_ns for p in (killed / "shards").glob("[!.]*.parquet")}
    for out, flags in ((killed, ("--resume",)), (whole, ())):
        subprocess.run(command(out, "1..256", *more, *flags), cwd=ROOT, check=True, capture_output=True)
    assert (killed / "results.parquet").read_bytes() == (whole / "results.parquet").read_bytes()
    after = {p.name: p.stat().st_mtime_ns for p in (killed / "shards").iterdir()}
    assert kept.items() <= after.items(), "a finished shard was computed again"


def test_a_finished_sweep_is_reported_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--resume of a finished sweep samples nothing, keeps its times and provenance, and gives the same bytes."""
    arguments = ("--horizon", "1..40", "--out", str(tmp_path / "o"))
    first = swept(capsys, *arguments)
    bytes_before = (tmp_path / "o" / "results.parquet").read_bytes()
    assert swept(capsys, *arguments, "--resume") == first
    assert (tmp_path / "o" / "results.parquet").read_bytes() == bytes_before
    manifest = json.loads((tmp_path / "o" / "manifest.json").read_text())
    assert manifest["status"] == "done"
    assert len(manifest["resumed"]) == 1


def test_interruption_is_exit_130_and_resumable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C keeps what is finished and says how to go on."""

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sim.runner.run_cells", interrupted)
        assert main(["--horizon", "1..8", "--out", str(tmp_path / "o")]) == 130
    assert "--resume" in capsys.readouterr().err
    assert main(["--horizon", "1..8", "--out", str(tmp_path / "o"), "--resume"]) == 0
