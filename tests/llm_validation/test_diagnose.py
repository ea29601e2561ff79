"""The command of the diagnosis: what it prints, writes, refuses, and how it ends."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_validation.diagnose import main
from llm_validation.diagnosis import Options, diagnose
from llm_validation.reading import read_traces
from llm_validation.traces import TraceError
from malformed_traces import CASES, Refused

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")


def table(X: int = 30, m: int = 16, seed: int = 0, **more: Any) -> dict[str, Any]:
    """Columns of X problems with m samples each, of uneven difficulty, with tokens."""
    rng = np.random.default_rng(seed)
    p = np.repeat(rng.beta(0.8, 0.8, X), m)
    return {
        "problem_id": [f"problem {i}" for i in np.repeat(np.arange(X), m)],
        "correct": (rng.random(X * m) < p).astype(int),
        "tokens": rng.integers(5, 60, X * m),
        **more,
    }


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    path = tmp_path / "traces.parquet"
    pq.write_table(pa.table(table()), path)
    return path


def answer(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> dict[str, Any]:
    """What the command prints as JSON."""
    assert main([*map(str, argv), "--format", "json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_a_table_says_everything_in_order(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The printed table holds mu, sigma, c, the decision and what would settle it."""
    assert main([str(traces), "--horizon", "64"]) == 0
    out = capsys.readouterr().out
    for line in (r"mu +[\d.]+ \[", r"sigma +[\d.]+ \[", r"c\(0.5\) mean", "decision: UNDECIDED", "would settle it: "):
        assert re.search(line, out), line


def test_numbers_are_those_of_the_python_interface(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints what diagnose() returns."""
    printed = answer(capsys, traces, "--horizon", "64", "--seed", "3")
    (run,) = diagnose(read_traces([traces]), Options(horizon=64, seed=3))
    assert printed["runs"][0] == json.loads(json.dumps(run.data))


def test_mean_and_spread_are_those_of_the_returns(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """mu is the mean over problems of R = correct (H - tokens + 1)^+, sigma^2 the mean unbiased variance."""
    columns = pq.read_table(traces).to_pydict()
    R = (np.array(columns["correct"]) * np.maximum(65.0 - np.array(columns["tokens"]), 0.0)).reshape(30, 16)
    estimates = answer(capsys, traces, "--horizon", "64")["runs"][0]["estimates"]
    assert estimates["mu"]["estimate"] == pytest.approx(R.mean())
    assert estimates["sigma2"]["estimate"] == pytest.approx(R.var(axis=1, ddof=1).mean())
    assert estimates["s"]["estimate"] == pytest.approx(math.sqrt(R.var(axis=1, ddof=1).mean()) / 64)


def test_without_a_horizon_each_run_has_its_longest_trace(tmp_path: Path) -> None:
    """H is the largest number of tokens of the run."""
    path = tmp_path / "two.parquet"
    both = [table(seed=1, model=["a"] * 480), table(seed=2, model=["b"] * 480)]
    both[1]["tokens"] = both[1]["tokens"] * 3
    pq.write_table(pa.concat_tables([pa.table(part) for part in both]), path)
    runs = diagnose(read_traces([path]))
    assert [run.H for run in runs] == [int(max(part["tokens"])) for part in both]
    assert [run.group.model for run in runs] == ["a", "b"]


def test_runs_do_not_influence_each_other(tmp_path: Path) -> None:
    """A run diagnosed beside another gives what it gives alone."""
    parts = [table(seed=1, model=["a"] * 480), table(X=20, seed=2, model=["b"] * 320)]
    both, alone = tmp_path / "both.parquet", tmp_path / "alone.parquet"
    pq.write_table(pa.concat_tables([pa.table(part) for part in parts]), both)
    pq.write_table(pa.table(parts[1]), alone)
    beside, single = diagnose(read_traces([both]))[1].data, diagnose(read_traces([alone]))[0].data
    for name in ("estimates", "concentration", "decision", "curves"):
        assert beside[name] == single[name], name


def test_out_holds_tables_json_report_and_manifest(traces: Path, tmp_path: Path) -> None:
    """--out gets a manifest, tables, figures and one self-contained page."""
    out = tmp_path / "out"
    argv = [str(traces), "--horizon", "64", "--log-policies", "20", "--log-verifiers", "20", "--out", str(out)]
    assert main(argv) == 0
    names = {path.name for path in out.iterdir()}
    assert {"manifest.json", "diagnosis.json", "report.html", "runs.parquet", "problems.parquet"} <= names
    assert {"concentration.parquet", "curves.parquet", "prediction.parquet"} <= names
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["status"] == "done"
    assert manifest["config"]["log_policies"] == 20.0
    assert pq.read_table(out / "problems.parquet").num_rows == 30
    page = (out / "report.html").read_text()
    assert "undecided" in page.lower()
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""", page)
    assert not list(out.rglob(".tmp*"))


def test_a_full_directory_is_refused_and_resumed(
    traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --resume or with other options a non-empty --out is refused with one line; the same call is finished."""
    out = tmp_path / "out"
    argv = [str(traces), "--horizon", "64", "--out", str(out)]
    assert main(argv) == 0
    first = (out / "diagnosis.json").read_bytes()
    capsys.readouterr()
    assert main(argv) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*argv, "--kappa", "2", "--resume"]) == 2
    assert (out / "diagnosis.json").read_bytes() == first
    assert main([*argv, "--resume"]) == 0
    assert (out / "diagnosis.json").read_bytes() == first


@pytest.mark.parametrize(
    "options",
    [
        ("--horizon", "0"),
        ("--seed", "-1"),
        ("--expert-run", "x"),
        ("--log-verifiers", "1e308"),
        ("--horizon", "x"),
        ("--n", "0"),
        ("--draws", "0"),
        ("--kappa", "-1"),
        ("--kappa", "nan"),
        ("--log-policies", "0"),
        ("--log-verifiers", "inf"),
        ("--level", "1"),
        ("--map", "nonsense"),
        ("--map", "tokens=nowhere"),
        ("--run", "nowhere"),
        ("--resume",),
        ("--params", "-3"),
        ("--curves", "/nowhere.csv"),
        ("--expert", "/nowhere.csv"),
        ("--tokenizer", "/nowhere"),
        ("--embeddings", "/nowhere"),
    ],
    ids=" ".join,
)
def test_bad_options_give_one_line_and_exit_2(
    traces: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad option is named in one line on stderr; nothing is printed."""
    try:
        code = main([str(traces), *options])
    except SystemExit as stop:
        code = int(str(stop.code))
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert options[0] in captured.err


@pytest.mark.parametrize("name", CASES)
def test_malformed_files_give_one_line_or_a_stated_report(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every malformed file ends in exit 2 with one line that names it, or in a report; never in a traceback."""
    make, expected = CASES[name]
    path = make(tmp_path)
    mapping = expected.mapping if isinstance(expected, Refused) else {}
    options = [f"--map={used}={column}" for used, column in mapping.items()]
    code = main([str(path), *options, "--format", "json"])
    captured = capsys.readouterr()
    if isinstance(expected, Refused) or code == 2:
        assert code == 2
        assert captured.err.count("\n") == 1
        assert captured.out == ""
    else:
        assert code == 0
        runs = json.loads(captured.out)["runs"]
        assert runs
        found = {finding["name"] for run in runs for finding in run["findings"]}
        assert expected.horizon is not None or set(expected.findings) <= found


def test_one_sample_a_problem_has_no_heterogeneity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With one sample of each problem sigma is unknown, said as a finding, and nothing is decided."""
    path = tmp_path / "one.parquet"
    pq.write_table(pa.table(table(X=100, m=1)), path)
    run = answer(capsys, path, "--log-policies", "5", "--log-verifiers", "5")["runs"][0]
    assert run["estimates"]["sigma"]["estimate"] is None
    assert any(f["name"] == "few samples" and f["serious"] for f in run["findings"])
    assert run["decision"]["verdict"] == "undecided"


@pytest.mark.parametrize("value", [0, 1])
def test_all_alike_is_no_heterogeneity_and_no_anti_concentration(
    value: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no problem varies c is not reported at all, and all problems count as constant."""
    path = tmp_path / "alike.parquet"
    pq.write_table(pa.table({**table(), "correct": np.full(480, value), "tokens": np.full(480, 7)}), path)
    run = answer(capsys, path, "--horizon", "64")["runs"][0]
    assert run["concentration"] is None
    assert run["spread"]["constant_problems"] == 30


def test_compare_is_paired_and_antisymmetric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """compare A B and compare B A differ in sign only."""
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for seed, path in enumerate(paths):
        pq.write_table(pa.table(table(seed=seed)), path)
    there = answer(capsys, "compare", *paths, "--horizon", "64")
    back = answer(capsys, "compare", *reversed(paths), "--horizon", "64")
    assert there["mean"]["estimate"] == pytest.approx(-back["mean"]["estimate"])
    assert there["improvement"]["estimate"] == pytest.approx(1.0 - back["improvement"]["estimate"])
    assert main(["compare", *map(str, paths)]) == 0
    assert "probability of improvement" in capsys.readouterr().out


def test_plan_needs_fewer_problems_for_wider_intervals(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice the width takes about a quarter of the problems."""
    narrow, wide = (
        answer(capsys, "plan", traces, "--horizon", "64", "--target", "mu", "--width", width, "--samples", "16")
        for width in ("1", "2")
    )
    ratio = narrow["options"][0]["problems"] / wide["options"][0]["problems"]
    assert 3.5 < ratio < 4.5
    assert main(["plan", "--horizon", "64", "--target", "sigma", "--width", "5"]) == 0
    assert "no pilot" in capsys.readouterr().out


@pytest.mark.parametrize("command", [("plan",), ("compare",), ()])
def test_help_is_quick_and_imports_nothing_heavy(command: tuple[str, ...]) -> None:
    """--help of every command takes under .3 s (the best of three) without numpy."""
    code = "import sys; from llm_validation.diagnose import main\ntry: main(sys.argv[1:])\nfinally: "
    code += "assert not {'numpy', 'scipy', 'matplotlib', 'torch', 'jax', 'pyarrow'} & set(sys.modules)"
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        times.append(time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
    assert min(times) < 0.3


def test_an_interrupt_leaves_nothing_half_written(
    traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while tables are written: exit 130, no report, and the same call with --resume finishes it."""
    import llm_validation.report

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    argv = [str(traces), "--horizon", "64", "--out", str(out)]
    with monkeypatch.context() as patched:
        patched.setattr(llm_validation.report, "write_report", interrupted)
        assert main(argv) == 130
    assert not (out / "report.html").exists()
    assert json.loads((out / "manifest.json").read_text())["status"] == "running"
    assert main([*argv, "--resume"]) == 0
    assert (out / "report.html").exists()


def test_traces_without_any_label_are_refused(traces: Path) -> None:
    """No label at all raises TraceError."""
    import dataclasses

    unlabelled = dataclasses.replace(read_traces([traces]), correct=np.full(480, math.nan))
    with pytest.raises(TraceError, match="label"):
        diagnose(unlabelled)


def test_a_folder_called_plan_is_read_as_traces(traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is called like a subcommand is read."""
    shutil.copy(traces, tmp_path / "plan")
    monkeypatch.chdir(tmp_path)
    assert main(["plan"]) == 2  # read as a file: its name has no known ending


@needs_data
def test_all_runs_of_the_shared_samples_are_diagnosed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """45,360 rows of 126 runs end to end; without class sizes, scores or curves all verdicts are undecided."""
    out = tmp_path / "otis"
    assert main([str(DATA / "epoch_otis_aime_samples.parquet"), "--out", str(out)]) == 0
    capsys.readouterr()
    runs = pq.read_table(out / "runs.parquet").to_pylist()
    assert len(runs) == 126
    assert sum(run["traces"] for run in runs) == 45_360
    assert {run["verdict"] for run in runs} == {"undecided"}


def test_an_unmarked_cap_censors_beyond_it(tmp_path: Path) -> None:
    """Wrong traces piled at the longest length have return 0 up to it; twice as far their return is unknown."""
    columns = table(X=40, m=16)
    cut = np.arange(640) % 5 == 0
    columns["tokens"] = np.where(cut, 60, columns["tokens"])
    columns["correct"] = np.where(cut, 0, columns["correct"])
    path = tmp_path / "cap.parquet"
    pq.write_table(pa.table(columns), path)
    at, beyond = (diagnose(read_traces([path]), Options(horizon=H))[0].data for H in (60, 120))
    assert at["samples"]["min"] == 16
    assert beyond["samples"]["max"] == 13
    assert any(finding["name"] == "at a cap" for finding in beyond["findings"])


def test_tokens_in_one_file_only_are_refused(traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An expert without tokens beside a base with them is refused with one line; --answers compares both."""
    columns = table(seed=4)
    del columns["tokens"]
    path = tmp_path / "expert.parquet"
    pq.write_table(pa.table(columns), path)
    assert main([str(traces), "--expert", str(path)]) == 2
    assert "--answers" in capsys.readouterr().err
    assert main([str(traces), "--expert", str(path), "--answers"]) == 0
    assert main(["compare", str(traces), str(path)]) == 2


def test_an_experts_file_is_checked_and_sets_the_budget(traces: Path, tmp_path: Path) -> None:
    """H is the longest trace of both files, and flaws of the expert's are found under its name."""
    columns = table(seed=4)
    columns["tokens"] = columns["tokens"] * 4
    path = tmp_path / "expert.parquet"
    pq.write_table(pa.table({**columns, "correct": [None] * 100 + list(columns["correct"][100:])}), path)
    (run,) = diagnose(read_traces([traces]), Options(expert=read_traces([path])))
    assert int(max(columns["tokens"])) == run.H
    assert any(finding["name"] == "expert: unlabelled" for finding in run.data["findings"])


def test_learning_curves_tell_where_they_cross_and_what_they_imply(
    traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Curves that cross between n = 100 and 400 decide at a measured n, and class sizes are read from them."""
    path = tmp_path / "curves.csv"
    J = {"VF": (10, 14, 16, 17), "VB": (5, 20, 24, 25)}
    rows = [f"{m},{n},64,{value},0.3" for m in J for n, value in zip((100, 400, 1600, 6400), J[m], strict=True)]
    path.write_text("\n".join(["method,n,H,J,se", *rows]))
    run = answer(capsys, traces, "--horizon", "64", "--n", "6400", "--curves", path)["runs"][0]
    assert run["decision"]["verdict"] == "verify"
    found = run["prediction"]["from_curves"]
    assert (found["crossing"]["n_low"], found["crossing"]["n_high"]) == (100, 400)
    assert {reading["bound"] for reading in found["complexities"]} == {"at most", "at least"}
