"""What the documents say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sim.learners.learner import learners
from theory.notation import SYMBOLS
from theory.registry import theorem, theorems

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])


def test_notation_page_repeats_the_module() -> None:
    """Every symbol is in the table with its meaning and unit."""
    page = (ROOT / "docs" / "notation.md").read_text()
    for symbol in SYMBOLS.values():
        assert f"| `{symbol.name}` | ${symbol.latex}$ | {symbol.meaning} | {symbol.unit} |" in page


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_resolve(path: Path) -> None:
    """No relative link dangles."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_sweep_page_names_every_learner() -> None:
    """Each learner of the registry is explained."""
    page = (ROOT / "docs" / "sweep.md").read_text()
    assert all(f"`{name}`" in page for name in learners())


def test_labels_in_the_sweep_page_exist() -> None:
    """Every gap-, vf- or vb-upper label written in the table of bounds is a statement."""
    page = (ROOT / "docs" / "sweep.md").read_text()
    written = set(re.findall(r"`((?:gap|vf-lower|vf-upper|vb-upper)[a-z-]*)`", page))
    assert written
    assert written <= set(theorems())


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_document_has_a_placeholder(path: Path) -> None:
    """Nothing is left to be filled in."""
    assert not re.search(r"TEST_LINE|TODO|FIXME|XXX", path.read_text())


def test_readme_example_prints_what_it_says() -> None:
    """The Python snippet of the README gives the printed line."""
    answer = theorem("gap-ball").evaluate(n=4096, log2_M=64, sigma=2048)
    line = f"# {answer.value:.1f} {answer.units}, valid: {answer.valid}, at epsilon = {answer.extras['epsilon']:.3f}"
    assert line in (ROOT / "README.md").read_text()


def test_table_of_real_models_repeats_the_stored_tables() -> None:
    """H, mean, s, decision and n* of every row of docs/diagnose.md are those of docs/data/real."""
    import pyarrow.parquet as pq

    page = (ROOT / "docs" / "diagnose.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if re.match(r"\| (Game of 24|arithmetic|AIME), ", line)]
    stored = [
        run
        for path in sorted((ROOT / "docs" / "data" / "real").glob("*/runs.parquet"))
        for run in pq.read_table(path).to_pylist()
    ]
    assert len(rows) == len(stored) == 21
    shown = {(row[1], row[2], row[3], row[4], row[8], row[9].removesuffix(" |")) for row in rows}

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.3g}"

    for run in stored:
        interval = f"{number(run['s'])} [{number(run['s_low'])}, {number(run['s_high'])}]"
        quartiles = ", ".join(number(run[name]) for name in ("s_q25", "s_q50", "s_q75"))
        place = (
            str(run["H"]),
            number(run["mu"] / run["H"]),
            interval,
            quartiles,
            run["verdict"],
            number(run["n_star"]),
        )
        assert place in shown, place


def test_share_of_right_decisions_is_the_stored_one() -> None:
    """The table of decisions in docs/trials.md is that of the stored summary."""
    import json

    page = (ROOT / "docs" / "trials.md").read_text()
    summary = json.loads((ROOT / "docs" / "data" / "trials" / "decisions" / "summary.json").read_text())
    for group in summary["groups"]:
        counts = " | ".join(str(group[name]) for name in ("winner", "cases", "decided", "right"))
        assert re.search(rf"\| {group['kind']} \| [^|]+ \| {re.escape(counts)} \|", page), group
    assert f"{summary['decided']} of {summary['cases']} are decided" in page
