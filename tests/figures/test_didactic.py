"""Figures of the didactic experiment: drawn from stored tables, with what they show in words, marks and colours."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.image as image
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

import didactic_tables as made
from figures import didactic_gap, didactic_rl, didactic_verifier
from figures.__main__ import main
from figures.didactic_tables import Run, over_seeds, read_run
from figures.style import style

NAMES = ("return", "verifier", "gap", "rl")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three levels, horizons, data sizes and seeds; seeds move all policies alike by -1, 0 and 1 tokens."""
    recipe = made.recipe_of()
    return made.stored(tmp_path_factory.mktemp("run") / "o", recipe, made.tables_of(recipe, by_seed=1.0))


@pytest.fixture(scope="module")
def drawn(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The figures of that run."""
    out = tmp_path_factory.mktemp("figures")
    assert main(["didactic", "--results", str(results), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def run(results: Path) -> Run:
    """Its tables."""
    mpl.use("Agg")
    return read_run(results)


def test_there_are_four_figures_of_one_column(drawn: Path) -> None:
    """PNG and SVG of each, 3.4 inches at 300 dpi."""
    assert {path.name for path in drawn.iterdir()} == {f"didactic-{n}.{kind}" for n in NAMES for kind in ("png", "svg")}
    for name in NAMES:
        assert image.imread(drawn / f"didactic-{name}.png").shape[1] == pytest.approx(3.4 * 300, abs=2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "return",
            ("[tokens]", "VF, fastest quarter", "VB, best of 16 draws", "VB, RL", "expert", "base", "3 seeds, 95%"),
        ),
        (
            "verifier",
            ("AUROC", "near-miss AUROC", "chance", "counting pairs", "level 0.9", "labelled draws", "3 seeds, 95%"),
        ),
        ("gap", ("[tokens]", "nats", "half fitted on", "half judged on", "outside the window", "RMSE", "3 seeds, 95%")),
        ("rl", ("[tokens]", "nats a trace", "learnt return", "true return", "step of GRPO", "3 seeds, 95%")),
    ],
)
def test_figures_say_what_they_show(drawn: Path, name: str, words: tuple[str, ...]) -> None:
    """Units, methods and the kind of intervals are in the text."""
    text = re.sub(r"\s+", " ", (drawn / f"didactic-{name}.svg").read_text())
    assert [word for word in words if word not in text] == []


def test_the_same_tables_give_the_same_svg(results: Path, drawn: Path, tmp_path: Path) -> None:
    """Byte for byte."""
    assert main(["didactic", "--results", str(results), "--out", str(tmp_path)]) == 0
    for name in NAMES:
        assert (tmp_path / f"didactic-{name}.svg").read_bytes() == (drawn / f"didactic-{name}.svg").read_bytes()


def test_cells_are_drawn_by_half_and_by_window(run: Run) -> None:
    """In each panel as many hollow marks as cells fitted on, as many grey ones as outside the window."""
    with style():
        figure = didactic_gap.figure_of(run)
    fits = run.summary["fits"]
    assert len(fits) == 5
    for axes, fit in zip(figure.axes, fits, strict=False):
        marks = [line for line in axes.lines if line.get_marker() == "o"]
        assert len(marks) == len(fit["cells"])
        assert sum(line.get_markerfacecolor() == "white" for line in marks) == sum(c["fitted"] for c in fit["cells"])
        grey = sum(line.get_color() == "0.6" for line in marks)
        assert grey == sum(cell["inside_window"] is False for cell in fit["cells"])


def test_vacuous_cells_are_crossed(run: Run) -> None:
    """As many crosses as cells whose upper bound is above H."""
    run = dataclasses.replace(run, summary=copy.deepcopy(run.summary))
    for fit in run.summary["fits"]:
        for cell in fit["cells"]:
            cell["vacuous"] = cell["n"] == 8 and fit["form"] != "vf-lower"
    with style():
        figure = didactic_gap.figure_of(run)
    crosses = [sum(line.get_marker() == "x" for line in axes.lines) for axes in figure.axes[:5]]
    assert crosses == [sum(cell["vacuous"] for cell in fit["cells"]) for fit in run.summary["fits"]]
    assert sum(crosses) == 9 + 4 + 9


def test_paths_of_reinforcement_are_means_over_seeds(run: Run) -> None:
    """At level 0 the true return falls from 8 to 5 while the learnt one rises to 11, for every n."""
    with style():
        figure = didactic_rl.figure_of(run)
    lines = {
        style_: [line for line in figure.axes[0].lines if line.get_linestyle() == style_] for style_ in ("-", "--")
    }
    assert [len(found) for found in lines.values()] == [3, 3]
    assert all(np.array_equal(line.get_ydata(), [8.0, 7.0, 6.0, 5.0]) for line in lines["-"])
    assert all(np.array_equal(line.get_ydata(), [8.0, 9.0, 10.0, 11.0]) for line in lines["--"])


def test_verifier_errors_are_shares_of_the_horizon(run: Run) -> None:
    """epsilon_ver/H = (1 + L)/n whatever the horizon: three lines, one over the other."""
    with style():
        figure = didactic_verifier.figure_of(run)
    lines = [line for line in figure.axes[5].lines if len(line.get_xdata()) == 3]
    assert len(lines) == 3
    for line in lines:
        assert np.asarray(line.get_ydata()) == pytest.approx([1.5 / 8, 1.5 / 32, 1.5 / 128])


def test_intervals_over_seeds_are_students() -> None:
    """Mean and 95% interval of scipy's t distribution; of one value there is none."""
    mean, low, high = over_seeds([1.0, 2.0, 6.0])
    half = stats.t.ppf(0.975, 2) * stats.sem([1.0, 2.0, 6.0])
    assert (mean, low, high) == pytest.approx((3.0, 3.0 - half, 3.0 + half))
    assert [math.isnan(value) for value in over_seeds([1.0])] == [False, True, True]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_run_of_one_cell_is_drawn(tmp_path: Path, seeds: int) -> None:
    """As the smoke recipe: one level, horizon and data size."""
    recipe = made.recipe_of(levels=(0.5,), seeds=seeds, horizons=(8,), n=(16,))
    results = made.stored(tmp_path / "r", recipe, made.tables_of(recipe))
    assert main(["didactic", "--results", str(results)]) == 0
    assert len(list(results.glob("didactic-*.png"))) == 4


@pytest.mark.parametrize(
    "missing", ["returns.parquet", "summary.json", "verifier/results.parquet", "rl/results.parquet"]
)
def test_a_run_without_its_tables_is_refused(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    """Exit 2 and one line that names the table."""
    for name in ("returns.parquet", "gaps.parquet", "summary.json", "manifest.json"):
        (tmp_path / name).write_bytes((results / name).read_bytes())
    for name in ("verifier", "rl"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.parquet").write_bytes((results / name / "results.parquet").read_bytes())
    (tmp_path / missing).unlink()
    assert main(["didactic", "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert missing in error


def test_a_run_of_something_else_is_refused(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and one line that says what it is."""
    for path in results.rglob("*"):
        if path.is_file():
            (tmp_path / path.relative_to(results)).parent.mkdir(exist_ok=True)
            (tmp_path / path.relative_to(results)).write_bytes(path.read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps({"config": {"experiment": "kappa"}}))
    assert main(["didactic", "--results", str(tmp_path)]) == 2
    assert "holds results of kappa" in capsys.readouterr().err


def test_a_table_of_other_columns_is_one_line(
    results: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit 2, and the column that is missing."""
    for path in results.rglob("*"):
        if path.is_file():
            (tmp_path / path.relative_to(results)).parent.mkdir(exist_ok=True)
            (tmp_path / path.relative_to(results)).write_bytes(path.read_bytes())
    table = pq.read_table(results / "returns.parquet")
    pq.write_table(table.drop_columns(["J_low"]), tmp_path / "returns.parquet")
    assert main(["didactic", "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "J_low" in error
