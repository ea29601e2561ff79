"""Published solutions compared problem by problem: the mathematics by enumeration, the file, the command, the page."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_validation.model_pairs import accuracy, interaction, log_odds_interaction, paired, trend
from llm_validation.paired import compare
from llm_validation.published import PAIRS, analysed, main, read_solutions
from llm_validation.traces import Group, Traces
from strategies import checked

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "gsm8k_example_model_solutions.jsonl.gz"
STORED = ROOT / "docs" / "data" / "published"
NAMES = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
needs_data = pytest.mark.skipif(not DATA.is_file(), reason="../shared/data is absent")

columns = st.integers(1, 40).flatmap(
    lambda size: st.tuples(*[st.lists(st.booleans(), min_size=size, max_size=size).map(np.array)] * 2)
)


def row(number: int, right: tuple[bool, bool, bool, bool], steps: int = 2) -> dict[str, Any]:
    """A row of the file; wrong solutions answer one more than the truth."""
    lines = "\n".join(f"Step {i}" for i in range(steps))
    solutions = {
        name: {"is_correct": is_right, "solution": f"Some text\nA: {1000 + number + (not is_right):,}"}
        for name, is_right in zip(NAMES, right, strict=True)
    }
    return {"question": f"How many is {number}?", "ground_truth": f"{lines}\nA: {1000 + number}", **solutions}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(found) + "\n" for found in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """Forty problems of 2..9 steps with all kinds of outcomes."""
    rng = np.random.default_rng(0)
    rows = [row(i, tuple(bool(b) for b in rng.random(4) < 0.5), 2 + i % 8) for i in range(40)]  # type: ignore[arg-type]
    return write(tmp_path / "some.jsonl.gz", rows)


@pytest.mark.parametrize("X", [1, 7, 20])
def test_intervals_of_accuracies_cover_at_every_accuracy(X: int) -> None:
    """Summed over all numbers of right ones, the interval holds p with probability at least its level."""
    ends = [accuracy(np.arange(X) < k, 0.9) for k in range(X + 1)]
    for p in np.linspace(0.0, 1.0, 201):
        law = [math.comb(X, k) * p**k * (1.0 - p) ** (X - k) for k in range(X + 1)]
        covered = sum(mass for mass, end in zip(law, ends, strict=True) if end.low <= p <= end.high)
        assert covered >= 0.9 - 1e-12


@given(columns)
@checked
def test_p_value_is_the_mass_of_splits_no_likelier_than_the_one_seen(both: tuple[Any, Any]) -> None:
    """McNemar's exact test, by summing the law Bin(u + v, 1/2) over all splits."""
    first, second = both
    found = paired(first, second)
    discordant = found.only_first + found.only_second
    weights = [math.comb(discordant, u) for u in range(discordant + 1)]
    extreme = sum(weight for weight in weights if weight <= weights[found.only_second])
    assert found.p_value == pytest.approx(extreme / 2**discordant, rel=1e-9)


@given(columns)
@checked
def test_counts_of_a_pair_give_its_difference(both: tuple[Any, Any]) -> None:
    """The four counts are all problems, and (only second - only first)/X is the difference of accuracies."""
    first, second = both
    found = paired(first, second)
    assert found.both + found.only_first + found.only_second + found.neither == first.size
    assert found.difference.estimate == pytest.approx((found.only_second - found.only_first) / first.size, abs=1e-12)
    assert found.difference.estimate == pytest.approx(second.mean() - first.mean(), abs=1e-12)
    assert found.difference.low <= found.difference.estimate <= found.difference.high


def test_a_pair_is_what_comparing_two_runs_says() -> None:
    """The difference with its interval is that of ``diagnose compare`` on the same answers as traces."""
    rng = np.random.default_rng(1)
    first, second = rng.random((2, 60)) < np.array([[0.3], [0.5]])

    def run(right: Any, name: str) -> Traces:
        size = right.size
        return Traces(
            problem=np.arange(size),
            problems=tuple(map(str, range(size))),
            group=np.zeros(size, dtype=np.int64),
            groups=(Group(name, ""),),
            correct=right.astype(float),
            tokens=np.full(size, math.nan),
            truncated=np.zeros(size, dtype=np.bool_),
            score=np.full(size, math.nan),
        )

    of_runs = compare(run(first, "a"), run(second, "b"), 1, seed=3).mean
    of_pair = paired(first, second, seed=3).difference
    assert (of_pair.estimate, of_pair.low, of_pair.high) == pytest.approx((of_runs.estimate, of_runs.low, of_runs.high))


def test_interactions_are_contrasts_of_accuracies_and_of_their_log_odds() -> None:
    """Both estimates are what the four accuracies alone give."""
    right = np.random.default_rng(2).random((2, 2, 200)) < np.array([[0.2, 0.4], [0.35, 0.6]])[:, :, None]
    p = right.mean(axis=2)
    odds = np.log(p / (1.0 - p))
    in_odds = log_odds_interaction(right)
    assert interaction(right).estimate == pytest.approx(p[1, 1] - p[1, 0] - p[0, 1] + p[0, 0])
    assert in_odds is not None
    assert in_odds.estimate == pytest.approx(odds[1, 1] - odds[1, 0] - odds[0, 1] + odds[0, 0])


def test_linearised_log_odds_have_the_textbook_spread() -> None:
    """For independent models the interval's half width is near 1.96 root of the sum of 1/(X p (1 - p)), Woolf's."""
    X = 1319
    right = np.random.default_rng(3).random((2, 2, X)) < np.array([[0.22, 0.39], [0.35, 0.56]])[:, :, None]
    p = right.mean(axis=2)
    found = log_odds_interaction(right)
    assert found is not None
    assert found.width / 2.0 == pytest.approx(1.96 * math.sqrt((1.0 / (X * p * (1.0 - p))).sum()), rel=0.1)


def test_log_odds_of_a_model_that_is_always_right_are_not_told() -> None:
    """None, not infinity."""
    right = np.zeros((2, 2, 6), dtype=np.bool_)
    right[:, :, :3] = True
    assert log_odds_interaction(right) is not None
    right[1, 1] = True
    assert log_odds_interaction(right) is None


@pytest.mark.parametrize("seed", range(3))
def test_trends_are_least_squares_slopes(seed: int) -> None:
    """The estimate is that of numpy's polynomial fit."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(2, 9, 50)
    difference = rng.integers(-1, 2, 50).astype(float)
    assert trend(difference, steps).estimate == pytest.approx(np.polyfit(steps, difference, 1)[0], abs=1e-9)


def test_trend_intervals_cover_where_the_spread_depends_on_the_steps() -> None:
    """In 400 draws with sd proportional to steps, 95% intervals hold the slope within 4 binomial standard errors."""
    rng = np.random.default_rng(4)
    covered = 0
    for repeat in range(400):
        steps = rng.integers(2, 9, 120)
        found = trend(0.5 - 0.05 * steps + 0.1 * steps * rng.standard_normal(120), steps, seed=repeat)
        covered += found.low <= -0.05 <= found.high
    assert abs(covered / 400 - 0.95) <= 4.0 * math.sqrt(0.95 * 0.05 / 400)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: accuracy(np.zeros(0, dtype=np.bool_)), "at least 1"),
        (lambda: paired(np.zeros(2, dtype=np.bool_), np.zeros(3, dtype=np.bool_)), "2 and 3"),
        (lambda: interaction(np.zeros((2, 3, 4), dtype=np.bool_)), "(2, 3, 4)"),
        (lambda: trend(np.zeros(3), np.array([2, 2, 2])), "2 steps"),
    ],
)
def test_unfit_arrays_are_named(call: Callable[[], object], says: str) -> None:
    """Empty, unequal, of another shape, without variation: a line that holds the value."""
    with pytest.raises(ValueError, match="expected") as error:
        call()
    assert says in str(error.value)


def test_solutions_are_read_by_size_and_method(tmp_path: Path) -> None:
    """Labels stand where size and method say, steps are lines before the answer, plain and compressed files alike."""
    rows = [row(1, (True, False, False, True), 2), row(2, (False, False, True, True), 5)]
    for name in ("a.jsonl", "a.jsonl.gz"):
        found = read_solutions(write(tmp_path / name, rows))
        assert found.steps.tolist() == [2, 5]
        assert found.right.tolist() == [[[True, False], [False, False]], [[False, True], [True, True]]]
        assert set(found.disagree.values()) == {0}


def test_labels_that_contradict_the_answers_are_counted(tmp_path: Path) -> None:
    """A label turned round, and a solution without an answer that is labelled right, count; the label stands."""
    rows = [row(i, (False, False, False, False)) for i in range(3)]
    rows[0]["6b_finetuning"]["is_correct"] = True
    rows[1]["175b_verification"] = {"is_correct": True, "solution": "So it goes on and"}
    found = read_solutions(write(tmp_path / "a.jsonl", rows))
    assert found.disagree == {"6b_finetuning": 1, "6b_verification": 0, "175b_finetuning": 0, "175b_verification": 1}
    assert found.unanswered["175b_verification"] == 1
    assert found.right.sum() == 2


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in row(9, (True,) * 4).items() if key != name}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("{", "row 2: no JSON"),
        ("[]", "row 2: expected an object"),
        (json.dumps(without("question")), "row 2: expected an object with question"),
        (json.dumps(without("175b_finetuning")), "row 2: 175b_finetuning expected"),
        (json.dumps({**row(9, (True,) * 4), "6b_finetuning": {"is_correct": 1, "solution": ""}}), "6b_finetuning"),
        (json.dumps({**row(9, (True,) * 4), "ground_truth": "A: 7"}), "row 2: ground_truth expected"),
        (json.dumps(row(0, (True,) * 4)), "row 2: question of row 1 again"),
    ],
)
def test_bad_rows_are_named_in_one_line(
    bad: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, file and row in one line, nothing written."""
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(row(0, (True,) * 4)) + "\n" + bad + "\n")
    assert main(["--solutions", str(path), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert says in error
    assert str(path) in error
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("content", [None, b"", b"not compressed", gzip.compress(b"x" * 1000)[:20]])
def test_unreadable_files_are_named_in_one_line(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Absent, empty, of another format, cut off: exit code 2 and one line."""
    path = tmp_path / "s.jsonl.gz"
    if content is not None:
        path.write_bytes(content)
    assert main(["--solutions", str(path), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(path) in error


@pytest.mark.parametrize("options", [["--seed", "-1"], ["--level", "1"], ["--level", "nan"]])
def test_options_out_of_range_are_refused(
    options: list[str], some: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and one line that names the option."""
    assert main(["--solutions", str(some), "--out", str(tmp_path / "o"), *options]) == 2
    assert capsys.readouterr().err.count(options[0]) == 1


def test_the_groups_by_steps_add_up_to_all_problems(some: Path) -> None:
    """Counts of every pair and every method over the numbers of steps are those of the row of all."""
    accuracies, pairs, _ = analysed(read_solutions(some))
    for rows, keys, counts in (
        (accuracies, ("size", "method"), ("problems", "right")),
        (pairs, ("pair",), ("problems", "both", "only_first", "only_second", "neither")),
    ):
        for place in {tuple(found[key] for key in keys) for found in rows}:
            mine = [found for found in rows if tuple(found[key] for key in keys) == place]
            for count in counts:
                whole = [found[count] for found in mine if not found["steps"]]
                assert [sum(found[count] for found in mine if found["steps"])] == whole
    assert {found["steps"] for found in pairs} == {"", "2", "3", "4", "5", "6", "7+"}


def test_the_command_writes_the_same_tables_twice_and_only_into_an_empty_directory(
    some: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables and summary have the same bytes; a second run into the first's directory is refused."""
    for name in ("a", "b"):
        assert main(["--solutions", str(some), "--out", str(tmp_path / name), "--format", "json"]) == 0
    for name in ("accuracies.parquet", "pairs.parquet", "summary.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    first = capsys.readouterr().out.splitlines()[0]
    assert json.loads(first)["problems"] == 40
    assert main(["--solutions", str(some), "--out", str(tmp_path / "a")]) == 2
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["status"] == "done"
    assert manifest["config"]["source"]["licence"] == "MIT"


def test_problems_of_one_number_of_steps_have_no_trend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command goes on without trends, and without log odds where a method is always right."""
    path = write(tmp_path / "a.jsonl", [row(i, (True, i % 2 == 0, False, i < 3)) for i in range(6)])
    assert main(["--solutions", str(path), "--out", str(tmp_path / "o")]) == 0
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert summary["trend_by_step"] == {}
    assert summary["interaction_log_odds"] is None
    assert "log odds" not in capsys.readouterr().out


@needs_data
def test_labels_of_the_published_file_are_what_its_answers_say() -> None:
    """All 5,276 labels agree with comparing the final answers as texts; counts of right ones are the published ones."""
    found = read_solutions(DATA)
    assert found.disagree == dict.fromkeys(NAMES, 0)
    assert found.right.sum(axis=2).tolist() == [[286, 515], [458, 742]]


@needs_data
def test_stored_tables_are_what_the_command_makes(tmp_path: Path) -> None:
    """Every number of docs/data/published, made again from the file whose digest the manifest names."""
    assert main(["--solutions", str(DATA), "--out", str(tmp_path / "o")]) == 0
    configs = [json.loads((place / "manifest.json").read_text())["config"] for place in (STORED, tmp_path / "o")]
    assert configs[0] == configs[1]
    for name in ("accuracies", "pairs"):
        old, new = (pq.read_table(place / f"{name}.parquet").to_pylist() for place in (STORED, tmp_path / "o"))
        assert [list(one) for one in old] == [list(one) for one in new]
        for one, other in zip(old, new, strict=True):
            assert one == {key: pytest.approx(value, abs=1e-12) for key, value in other.items()}


# The page says what is stored.

PAGE = ROOT / "docs" / "published.md"


def test_page_repeats_the_stored_pairs() -> None:
    """Each comparison's row of the page: counts, difference, interval and p-value are those of pairs.parquet."""
    page = PAGE.read_text()
    stored = [found for found in pq.read_table(STORED / "pairs.parquet").to_pylist() if not found["steps"]]
    assert {found["pair"] for found in stored} == set(PAIRS)
    for found in stored:
        counts = " | ".join(str(found[name]) for name in ("both", "only_first", "only_second", "neither"))
        ends = f"{found['difference']:.3f} [{found['difference_low']:.3f}, {found['difference_high']:.3f}]"
        name = found["pair"].replace(" - ", " − ")
        assert f"| {name} | {counts} | {ends} | {found['p_value']:.1e} |" in page


def test_page_repeats_the_stored_accuracies_and_steps() -> None:
    """Accuracies with intervals, and by steps the accuracies and both gains with intervals, are the stored ones."""
    page = PAGE.read_text()
    accuracies = pq.read_table(STORED / "accuracies.parquet").to_pylist()
    pairs = pq.read_table(STORED / "pairs.parquet").to_pylist()
    for found in (one for one in accuracies if not one["steps"]):
        ends = f"{found['accuracy']:.3f} [{found['accuracy_low']:.3f}, {found['accuracy_high']:.3f}]"
        method = {"finetuning": "fine-tuning", "verification": "verification"}[found["method"]]
        assert f"| {found['size'].upper()} {method} | {found['right']} | {ends} |" in page
    for steps in {one["steps"] for one in accuracies} - {""}:
        shares = [f"{one['accuracy']:.3f}" for one in accuracies if one["steps"] == steps]
        gains = [one for one in pairs if one["steps"] == steps and one["pair"].endswith(": verification - fine-tuning")]
        told = [f"{g['difference']:.3f} [{g['difference_low']:.3f}, {g['difference_high']:.3f}]" for g in gains]
        told = [ends.replace("-", "−") for ends in told]
        label = steps.replace("7+", "7 or more")
        assert f"| {label} | {gains[0]['problems']} | {' | '.join(shares)} | {' | '.join(told)} |" in page


def test_page_repeats_the_stored_summary() -> None:
    """Interactions on both scales and both trends, with intervals."""
    page = PAGE.read_text()
    summary = json.loads((STORED / "summary.json").read_text())
    trends = summary["trend_by_step"]
    for found in (
        summary["interaction"],
        summary["interaction_log_odds"],
        trends["6B: verification - fine-tuning"],
        trends["175B: verification - fine-tuning"],
    ):
        assert f"{found['estimate']:.3f} [{found['low']:.3f}, {found['high']:.3f}]".replace("-", "−") in page
