"""Grading: hand-checked pairs, hangs that are cut, and final answers found in texts."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading_pairs import PAIRS
from llm_validation.grading import Grader, Item, Verdict, final_answer
from strategies import checked

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
#: Pairs on which the grader is known to differ from the hand.
DIFFERENT: set[tuple[str, str]] = set()
#: Seconds a comparison may take where it is to be cut.
TIMEOUT = 1.0


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    """One for the whole module, so that its worker starts once."""
    with Grader(timeout=20.0) as found:
        yield found


def test_the_pairs_are_enough_and_of_both_kinds() -> None:
    """Two hundred at least, all different, right and wrong ones of every category."""
    assert len({(pair.expected, pair.answer) for pair in PAIRS}) == len(PAIRS) >= 200
    kinds = {pair.category: {other.right for other in PAIRS if other.category == pair.category} for pair in PAIRS}
    assert all(found == {True, False} for found in kinds.values())


def test_the_grader_agrees_with_the_hand(grader: Grader, record_property: pytest.RecordProperty) -> None:
    """On all pairs but those that are listed; the share of each category is recorded."""
    verdicts = grader.grade([Item(pair.expected, pair.answer, "latex") for pair in PAIRS])
    agree, all_of = Counter[str](), Counter(pair.category for pair in PAIRS)
    different = set()
    for pair, verdict in zip(PAIRS, verdicts, strict=True):
        agree[pair.category] += verdict.correct == pair.right
        if verdict.correct != pair.right:
            different.add((pair.expected, pair.answer))
    for category, count in all_of.items():
        record_property(category, f"{agree[category]} of {count}")
    assert different == DIFFERENT


def test_a_verdict_depends_on_nothing_else(grader: Grader) -> None:
    """Alone, in another order, or twice in a row: the same verdicts."""
    items = [Item(pair.expected, pair.answer, "latex") for pair in PAIRS[::9]]
    before = grader.grade(items)
    with Grader(timeout=20.0) as other:
        assert other.grade(items[::-1] + items) == before[::-1] + before


@pytest.mark.parametrize(
    "answer",
    [
        "10^{10^{10}}",
        "(1+x)^{5000}",
        r"\sum_{n=1}^{10^9} \frac{1}{n}",
        "{" * 5000,
    ],
)
def test_what_hangs_is_cut(answer: str) -> None:
    """An answer that takes for ever is wrong by "timeout", at most 2 s after the timeout; the next is compared."""
    before = set(multiprocessing.active_children())
    with Grader(timeout=TIMEOUT) as found:
        found.grade([Item("5", "6", "latex")])
        began = time.monotonic()
        (verdict,) = found.grade([Item("5", answer, "latex")])
        assert time.monotonic() - began < TIMEOUT + 2.0
        assert verdict == Verdict(False, None, "timeout")
        assert found.grade([Item("5", "5.0", "latex")])[0].correct
    assert set(multiprocessing.active_children()) == before


def test_ten_megabytes_are_not_read(grader: Grader) -> None:
    """An answer of 10 MB is wrong by "too long", at once."""
    began = time.monotonic()
    assert grader.grade([Item("5", "a" * 10_000_000, "latex")]) == [Verdict(False, None, "too long")]
    assert time.monotonic() - began < 0.5


def test_a_worker_that_dies_is_replaced(grader: Grader) -> None:
    """Killed from outside, its answer is wrong by "crashed", and the next comparison is made."""
    with Grader(timeout=20.0) as found:
        found.grade([Item("5", "6", "latex")])
        (worker,) = set(multiprocessing.active_children()) - _others(grader)
        worker.kill()
        worker.join()
        assert found.grade([Item("5", "5.0", "latex")])[0].reason == "crashed"
        assert found.grade([Item("5", "5.00", "latex")])[0].correct


def _others(grader: Grader) -> set[object]:
    """The module's worker."""
    return {grader._worker._process} if grader._worker is not None else set()


def test_no_process_is_left_behind(grader: Grader) -> None:
    """Also where the block ends by an exception."""
    before = set(multiprocessing.active_children())

    def interrupted() -> None:
        with Grader(timeout=20.0) as found:
            found.grade([Item("5", "6", "latex")])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert set(multiprocessing.active_children()) == before


def test_no_answer_is_wrong(grader: Grader) -> None:
    """None is "no answer", of every kind, and casts no vote."""
    verdicts = grader.grade([Item("5", None, kind) for kind in ("number", "gsm8k", "latex")])
    assert verdicts == [Verdict(False, None, "no answer")] * 3


def test_an_expected_answer_must_be_readable(grader: Grader) -> None:
    """One that cannot be compared with anything is a mistake in the problems, said in one line."""
    for item in (Item("", "5", "latex"), Item("five", "5", "number")):
        with pytest.raises(ValueError, match=r"\Aexpected answer '(five)?': ") as caught:
            grader.grade([item])
        assert "\n" not in str(caught.value)


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
@checked
def test_numbers_are_right_if_they_are_equal(a: int, b: int) -> None:
    """With or without thousands separators and zeros behind the point; without any worker."""
    with Grader() as found:
        verdicts = found.grade([Item(str(a), text, "number") for text in (str(a), f"{a:,}", f"{a}.00", str(b))])
        assert [verdict.correct for verdict in verdicts] == [True, True, True, a == b]
        assert verdicts[0].canonical == verdicts[1].canonical == verdicts[2].canonical == str(a)
        assert found._worker is None


@pytest.mark.parametrize(
    ("one", "other"),
    [(r"\frac{1}{2}", "0.5"), ("x(x+2)", "x^2+2x"), ("2^3", "8"), (r"\{1,2\}", r"\{2,1\}"), ("1,234", "1234")],
)
def test_equal_answers_vote_together(grader: Grader, one: str, other: str) -> None:
    """Equal answers in two spellings have one canonical spelling."""
    verdicts = grader.grade([Item("7", answer, "latex") for answer in (one, other)])
    assert verdicts[0].canonical == verdicts[1].canonical is not None


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("number", "3 + 4 = 7", "7"),
        ("number", "none", None),
        ("gsm8k", "She has 3 + 4 = 7.\n#### 7", "7"),
        ("gsm8k", "#### 1,200 dollars", "1200"),
        ("gsm8k", "#### 5\n#### 6", "6"),
        ("gsm8k", "The answer is 18. That was on day 3.", "18"),
        ("gsm8k", "so 18 eggs", "18"),
        ("gsm8k", "#### none", None),
        ("latex", r"so \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        ("latex", r"\boxed{1} or rather \boxed{2}", "2"),
        ("latex", r"\fbox{3}", "3"),
        ("latex", r"\boxed 7", "7"),
        ("latex", r"\boxed{\text{\}}}", r"\text{\}}"),
        ("latex", r"\boxed{\frac{1}{2}", None),
        ("latex", r"\boxed{}", None),
        ("latex", "The answer is $x=5$. Or so.", "x=5"),
        ("latex", "the answer is 3.5.", "3.5"),
        ("latex", "first $1$ then $2$", "2"),
        ("latex", "nothing", None),
    ],
)
def test_final_answers_are_found(kind: str, text: str, expected: str | None) -> None:
    """As the table of the module says."""
    assert final_answer(text, kind) == expected


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")
def test_answers_of_math_are_right_for_themselves_and_wrong_for_others(grader: Grader) -> None:
    """Of 150 of MATH's test problems: the boxed answer of the solution is right, the next problem's only if equal."""
    with gzip.open(DATA / "math_test.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines][::33][:150]
    own = grader.grade([Item(row["answer"], final_answer(row["solution"], "latex"), "latex") for row in rows])
    assert [row["answer"] for row, verdict in zip(rows, own, strict=True) if not verdict.correct] == []
    pairs = [(row["answer"], other["answer"]) for row, other in zip(rows, rows[1:] + rows[:1], strict=True)]
    other = grader.grade([Item(*pair, "latex") for pair in pairs])
    equal = [pair for pair, verdict in zip(pairs, other, strict=True) if verdict.correct]
    assert all(one == two for one, two in equal), equal


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")
def test_answers_of_gsm8k_are_right_for_themselves() -> None:
    """Every solution of GSM8K's test problems states its own answer."""
    with gzip.open(DATA / "gsm8k_test.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    with Grader() as found:
        items = [
            Item(row["answer"].rpartition("####")[2], final_answer(row["answer"], "gsm8k"), "gsm8k") for row in rows
        ]
        assert all(verdict.correct for verdict in found.grade(items))
