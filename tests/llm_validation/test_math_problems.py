"""Problems of the Llama experiment: sources, layouts, orders, sides, and what is asked."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_validation.grading import Grader, Item, final_answer
from llm_validation.llama_math.problems import Problem, ProblemError, arranged, read_problems, sides
from llm_validation.llama_math.prompts import MOST_SHOTS, prompt, stop_of
from llm_validation.sampling.problems import LEVELS
from strategies import checked

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")
GSM8K = {"question": "How much is 6 times 7?", "answer": "It is 6 * 7 = <<6*7=42>>42.\n#### 42"}
MATH = {"problem": "Halve $1$.", "level": "Level 2", "type": "Algebra", "solution": r"It is $\boxed{\frac{1}{2}}$."}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as the kind of file that the name says."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz", "p.json", "p.parquet"])
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (GSM8K, ("1 steps", GSM8K["question"], "42", "gsm8k", 1)),
        (MATH, ("Level 2", MATH["problem"], r"\frac{1}{2}", "latex", 2)),
        ({**MATH, "answer": "0.5"}, ("Level 2", MATH["problem"], "0.5", "latex", 2)),
        ({**MATH, "level": "Level ?"}, ("Level ?", MATH["problem"], r"\frac{1}{2}", "latex", 9)),
    ],
)
def test_both_layouts_are_read_from_all_files(
    name: str, row: dict[str, Any], expected: tuple[Any, ...], tmp_path: Path
) -> None:
    """Level, question, answer, kind and effort of each row; the layout is seen from its columns."""
    (found,) = read_problems(str(write(tmp_path / name, [row])))
    assert (found.level, found.question, found.answer, found.kind, found.effort) == expected


def test_a_question_is_one_problem_however_it_is_spaced(tmp_path: Path) -> None:
    """The same question twice, once with other blanks, is the first of them; identities are of the content."""
    other = {**GSM8K, "question": "How  much is\n6 times 7? "}
    path = write(tmp_path / "p.jsonl", [GSM8K, other])
    (found,) = read_problems(str(path))
    assert found.problem_id == read_problems(str(write(tmp_path / "q.json", [other])))[0].problem_id
    assert found.question == GSM8K["question"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "row 1: no JSON"),
        (json.dumps(GSM8K) + "\n\n[1]\n", "row 3: [1], expected an object"),
        (json.dumps({"prompt": "x"}), "row 1: has prompt; expected question and answer, or problem and solution"),
        (json.dumps({**GSM8K, "answer": 42}), "row 1: has question, answer; expected"),
        (json.dumps({**GSM8K, "answer": "#### none"}), "row 1: no number after #### in 'none'"),
        (json.dumps({**GSM8K, "answer": "42"}), "row 1: no number after ####"),
        (json.dumps({**MATH, "solution": "so"}), "none has an answer"),
        ("\n", "is empty; expected at least one problem"),
    ],
)
def test_a_row_that_does_not_fit_is_named(content: str, expected: str, tmp_path: Path) -> None:
    """File, row and what was expected, in one line."""
    path = tmp_path / "p.jsonl"
    path.write_text(content)
    with pytest.raises(ProblemError) as caught:
        read_problems(str(path))
    assert str(caught.value).startswith(f"problems {path}")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["olympiad", "math", "math/dev", "problems.txt", "missing.jsonl"])
def test_a_source_that_is_none_is_refused(source: str) -> None:
    """One line that says what may be given, or that the file cannot be read."""
    with pytest.raises(
        ProblemError, match=r"\Aproblems (olympiad|math|math/dev|problems.txt|missing.jsonl):? "
    ) as caught:
        read_problems(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_file_that_is_cut_off_is_refused(cut: int, tmp_path: Path) -> None:
    """A gzip without its end, a Parquet file without its foot, a JSON list without its bracket: one line."""
    path = write(tmp_path / ("p.jsonl.gz", "p.parquet", "p.json")[cut], [GSM8K] * 3)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ProblemError, match="cannot be read") as caught:
        read_problems(str(path))
    assert "\n" not in str(caught.value)


def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub's client raises becomes a line that names the data set."""

    def load(*arguments: Any, **settings: Any) -> Any:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("datasets.load_dataset", load)
    with pytest.raises(
        ProblemError, match=r"\Aproblems gsm8k/train: openai/gsm8k cannot be had from the hub \(no route"
    ):
        read_problems("gsm8k/train")


def test_the_hub_is_asked_for_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """MATH is all of its subjects in the split that is asked for."""
    asked = []

    def load(name: str, part: str, split: str) -> list[dict[str, Any]]:
        asked.append((name, part, split))
        return [{**MATH, "problem": part}]

    monkeypatch.setattr("datasets.load_dataset", load)
    found = read_problems("math/test")
    assert [problem.question for problem in found] == [part for _, part, _ in asked]
    assert {(name, split) for name, _, split in asked} == {("EleutherAI/hendrycks_math", "test")}
    assert len(asked) == 7


def test_arithmetic_is_that_of_the_sampler() -> None:
    """All its problems, levels in turn, by the seed; effort is the number of the level."""
    found = read_problems("arithmetic", 3)
    assert [problem.level for problem in found[:7]] == list(LEVELS)
    assert [problem.effort for problem in found[:7]] == list(range(7))
    assert len({problem.problem_id for problem in found}) == len(found) > 13_000
    assert found[:40] != read_problems("arithmetic", 4)[:40]


def made(count: int) -> list[Problem]:
    """Problems with efforts and lengths that repeat."""
    return [Problem(f"p:{i}", "", f"q{i}", "1", "gsm8k", i % 3, i % 5) for i in range(count)]


def test_the_easiest_come_first() -> None:
    """By effort, then by length of the solution, then by the question."""
    found = arranged(made(30), "easiest", 0)
    assert [(p.effort, p.length, p.question) for p in found] == sorted((p.effort, p.length, p.question) for p in found)


def test_a_drawn_order_is_of_the_seed_and_the_content() -> None:
    """The order in which problems are read does not matter, the seed does."""
    problems = made(30)
    one = arranged(problems, "drawn", 1)
    assert one == arranged(problems[::-1], "drawn", 1) != arranged(problems, "drawn", 2)
    assert sorted(one, key=lambda p: p.problem_id) == sorted(problems, key=lambda p: p.problem_id)


@given(st.integers(2, 40), st.data())
@checked
def test_sides_share_nothing_and_grow(count: int, data: st.DataObject) -> None:
    """No problem is on both; the first of each stay when more are asked for of either."""
    problems = made(count)
    sizes = [data.draw(st.integers(0, half)) for half in (count // 2, (count + 1) // 2)]
    train, held_out = sides(problems, *sizes)
    assert [len(train), len(held_out)] == sizes
    assert not {p.problem_id for p in train} & {p.problem_id for p in held_out}
    all_train, all_held_out = sides(problems, count // 2, (count + 1) // 2)
    assert all_train[: sizes[0]] == train
    assert all_held_out[: sizes[1]] == held_out


def test_too_few_problems_are_refused() -> None:
    """By the side that lacks them."""
    with pytest.raises(ProblemError, match=r"\Asets.train = 3: the source has 2 for it\Z"):
        sides(made(5), 3, 1)
    with pytest.raises(ProblemError, match=r"\Asets.held_out = 4: the source has 3 for it\Z"):
        sides(made(5), 1, 4)


KINDS = [Problem("p:1", "", "How much?", "1", kind, 1, 1) for kind in ("number", "gsm8k", "latex")]


@pytest.mark.parametrize("problem", KINDS, ids=lambda problem: problem.kind)
def test_examples_come_before_the_question(problem: Problem) -> None:
    """k examples more are k stop texts more; the question stands last, and the prompt ends where an attempt begins."""
    asked = [prompt(problem, shots) for shots in range(MOST_SHOTS[problem.kind] + 2)]
    assert all("How much?" in text.split("\n\n")[-1] for text in asked)
    assert all(text.endswith(("Answer:", "Solution:")) for text in asked)
    assert asked[-1] == asked[-2] != asked[-3]
    assert len({len(text) for text in asked[:-1]}) == len(asked) - 1


@pytest.mark.parametrize("kind", ["gsm8k", "latex"])
def test_examples_end_with_the_answer_they_state(kind: str) -> None:
    """Every worked example's final answer is found by the grader's reader, and is right by it."""
    problem = next(found for found in KINDS if found.kind == kind)
    text = prompt(problem, MOST_SHOTS[kind]).partition("Problem: ")[2]
    shots = text.split("Problem: ")[:-1]
    known = {"gsm8k": ["16", "3", "45", "17"], "latex": ["7", "5", r"\frac{3}{4}", "21"]}[kind]
    found = [final_answer(shot.partition("Solution:")[2], kind) for shot in shots]
    with Grader(timeout=20.0) as grader:
        verdicts = grader.grade([Item(*pair, kind) for pair in zip(known, found, strict=True)])
    assert all(verdict.correct for verdict in verdicts)


def test_attempts_end_where_the_next_question_would_begin() -> None:
    """The stop text of a kind is what separates examples in its prompts, and is in no answer of an example."""
    assert stop_of("number") == "\n"
    for kind in ("gsm8k", "latex"):
        text = prompt(next(found for found in KINDS if found.kind == kind), 2)
        assert text.count(stop_of(kind)) == 3


@needs_data
def test_math_and_gsm8k_are_read_whole() -> None:
    """All rows of the published files but, in MATH, two that box nothing and one that is there twice."""
    sizes = {"math_train": 7497, "math_test": 5000, "gsm8k_train": 7473, "gsm8k_test": 1319}
    said: list[str] = []
    for name, size in sizes.items():
        found = read_problems(str(DATA / f"{name}.jsonl.gz"), say=said.append)
        assert len(found) == size
        assert all(problem.answer for problem in found)
    assert said == [f"problems {DATA / 'math_train.jsonl.gz'}: 2 without an answer left out"]


@needs_data
def test_no_example_is_a_problem_of_a_data_set() -> None:
    """Our worked examples are in none of the published files."""
    names = [f"{data}_{part}.jsonl.gz" for data in ("math", "gsm8k") for part in ("train", "test")]
    published = {problem.question for name in names for problem in read_problems(str(DATA / name))}
    for problem in KINDS[1:]:
        shots = prompt(problem, 9).split("Problem: ")[1:-1]
        assert not {shot.partition("\nSolution:")[0] for shot in shots} & published
