from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import matplotlib.image as image
import pyarrow.parquet as pq
import pytest

from figures.__main__ import main

STORED = Path(__file__).resolve().parents[2] / "docs" / "data" / "published"


def drawn(results: Path, out: Path) -> str:
    """The text of the SVG."""
    assert main(["published", "--results", str(results), "--out", str(out)]) == 0
    return (out / "published.svg").read_text()


def test_the_figure_is_one_column_wide(tmp_path: Path) -> None:
    """PNG and SVG of the stored tables, 3.4 inches at 300 dpi, no other file."""
    drawn(STORED, tmp_path)
    assert image.imread(tmp_path / "published.png").shape[1] == pytest.approx(3.4 * 300, abs=2)
    assert {path.name for path in tmp_path.iterdir()} == {"published.png", "published.svg"}


def test_the_figure_says_what_it_shows(tmp_path: Path) -> None:
    """Numbers of problems, of all and by steps, the level of the intervals, and what the marks stand for."""
    text = re.sub(r"\s+", " ", drawn(STORED, tmp_path))
    counts = {str(row["problems"]) for row in pq.read_table(STORED / "pairs.parquet").to_pylist() if row["steps"]}
    assert len(counts) == 6
    for words in (*counts, "1,319 problems", "95% intervals", "fine-tuning (VF)", "verification (VB)", "steps of"):
        assert words in text, words


def test_drawing_twice_gives_the_same_bits(tmp_path: Path) -> None:
    """The SVG carries no date and no random identifiers."""
    assert drawn(STORED, tmp_path / "a") == drawn(STORED, tmp_path / "b")


def test_another_number_gives_another_figure(tmp_path: Path) -> None:
    """The interaction is drawn from the summary."""
    shutil.copytree(STORED, tmp_path / "o")
    file = tmp_path / "o" / "summary.json"
    summary = json.loads(file.read_text())
    summary["interaction"]["high"] += 0.05
    file.write_text(json.dumps(summary))
    assert drawn(tmp_path / "o", tmp_path / "a") != drawn(STORED, tmp_path / "b")


def test_tables_without_a_comparison_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2."""
    shutil.copytree(STORED, tmp_path / "o")
    file = tmp_path / "o" / "pairs.parquet"
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    assert main(["published", "--results", str(tmp_path / "o")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
