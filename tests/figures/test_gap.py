from __future__ import annotations

import re
from pathlib import Path

import matplotlib.image as image
import pytest

from figures.__main__ import main
from sim.sweep import main as sweep


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sweep with a vacuous region, a negative region and an identified one."""
    out = tmp_path_factory.mktemp("sweep") / "o"
    assert sweep(["--horizon", "1..128x1.3", "--seeds", "32", "--out", str(out)]) == 0
    return out


def test_the_figure_is_drawn_from_stored_tables(results: Path, tmp_path: Path) -> None:
    """PNG and SVG are written where asked, one column wide at 300 dpi."""
    assert main(["gap", "--results", str(results), "--out", str(tmp_path / "fig")]) == 0
    assert image.imread(tmp_path / "fig" / "gap.png").shape[1] == pytest.approx(3.4 * 300, abs=2)
    assert {p.name for p in (tmp_path / "fig").iterdir()} == {"gap.png", "gap.svg"}


def test_the_figure_says_what_it_shows(results: Path) -> None:
    """Units, all three gaps, the fitted exponents and both kinds of vacuity are in the text."""
    text = re.sub(r"\s+", " ", (results / "gap.svg").read_text())
    for words in (
        "tokens",
        "VF regret",
        "ball gap",
        "free gap",
        "lower bound vacuous",
        "upper bound vacuous",
        "log2 M = 64",
    ):
        assert words in text, words


def test_drawing_twice_gives_the_same_bits(results: Path, tmp_path: Path) -> None:
    """The SVG carries no date and no random identifiers."""
    assert main(["gap", "--results", str(results), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "gap.svg").read_bytes() == (results / "gap.svg").read_bytes()


def test_a_directory_without_results_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and one line that names what is missing."""
    assert main(["gap", "--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"config": 1}', '{"config": {"experiment": "phase"}}'])
def test_results_of_something_else_are_refused(
    manifest: str, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 and one line, not the failure of a drawing on a table of other columns."""
    for name in ("gaps.parquet", "summary.json"):
        (tmp_path / name).write_bytes((results / name).read_bytes())
    (tmp_path / "manifest.json").write_text(manifest)
    assert main(["gap", "--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "gap.png").exists()


def test_a_damaged_table_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not a table is said in one line, exit 2."""
    (tmp_path / "results.parquet").write_bytes(b"PAR1 cut")
    (tmp_path / "summary.json").write_text("{}")
    (tmp_path / "manifest.json").write_text('{"config": {"experiment": "kappa", "seed": 0}}')
    assert main(["kappa", "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot be read" in error
