"""Whatever a file holds, reading it gives one line that says what is wrong, or traces whose flaws are stated."""

from __future__ import annotations

import gzip
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_validation.quality import quality
from llm_validation.reading import read_traces
from llm_validation.reading.layouts import FIELDS
from llm_validation.test_time import curves
from llm_validation.traces import TraceError, Traces
from llm_validation.verifier_quality import verifier_quality
from malformed_traces import CASES, GOOD, Make, Read, Refused

REFUSED = [(name, make, expected) for name, (make, expected) in CASES.items() if isinstance(expected, Refused)]
READ = [(name, make, expected) for name, (make, expected) in CASES.items() if isinstance(expected, Read)]


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_used_is_one_line(tmp_path: Path, make: Make, expected: Refused) -> None:
    """It names the file, where in it, the value and what was expected; it is never long."""
    path = make(tmp_path)
    with pytest.raises(TraceError) as caught:
        read_traces([path], expected.mapping)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert len(line) - len(str(path)) < 300
    for said in (*expected.says, *(() if "--map corect" in line else (path.name,))):
        assert said in line


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_what_can_be_used_states_its_flaws(tmp_path: Path, make: Make, expected: Read) -> None:
    """All traces are there; findings of quality and notes name what is odd."""
    traces = read_traces([make(tmp_path)])
    assert traces.size == expected.traces
    longest = int(np.nanmax(traces.tokens)) if traces.has_tokens else 1
    found = {finding.name for finding in quality(traces, expected.horizon or longest)}
    assert set(expected.findings) <= found
    for note in expected.notes:
        assert any(note in said for said in traces.notes)
    measured(traces)
    texts = [] if traces.text is None else [text for text in traces.text if text is not None]
    "".join([*traces.problems, *texts]).encode()  # raises on half of a surrogate pair


def measured(traces: Traces) -> None:
    """Whatever was read can be searched and judged: estimates lie in their intervals, and those in their range."""
    for _, mine in traces.by_group():
        if not mine.size:
            continue
        horizon = int(np.nanmax(mine.tokens)) if mine.has_tokens else 1
        for point in curves(mine, horizon, 0):
            top = 1.0 if point.unit == "probability" else horizon
            assert 0.0 <= point.value.low <= point.value.estimate * (1 + 1e-12) + 1e-12
            assert point.value.estimate * (1 - 1e-12) - 1e-12 <= point.value.high <= top
        found = verifier_quality(mine, horizon, 0)
        assert (found is None) == (not np.isfinite(mine.score + mine.returns(horizon)).any())


def test_there_are_thirty_kinds_and_more() -> None:
    """Of each outcome."""
    assert len(REFUSED) >= 30
    assert len(READ) >= 15


def outcome(path: Path) -> Traces | str:
    """The traces, or the line; anything else fails the test."""
    line = ""
    try:
        return read_traces([path])
    except TraceError as error:
        line = str(error)
    assert len(line.splitlines()) == 1
    return line


values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6),
        st.sampled_from(["0", "1", "yes", "nan", "[0, 1]", "1e400", 0, 1, 10**400, -1, "\ud800"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
NAMES = sorted({*FIELDS, *(name for others in FIELDS.values() for name in others)})
LOGS = ["resps", "filtered_resps", "exact_match", "filter", "metrics", "step", "prompt", "completion", "advantage",
        "input", "output", "score", "acc", "doc_id"]  # fmt: skip
rows = st.dictionaries(st.sampled_from([*NAMES, *LOGS]), values, max_size=12)
labelled = st.fixed_dictionaries({"problem_id": values, "correct": st.sampled_from([0, 1, None]) | values})


@given(content=st.lists(rows | labelled.flatmap(lambda base: rows.map(lambda row: row | base)), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_any_json_is_read_or_refused(content: list[dict[str, Any]]) -> None:
    """Rows with known names and any values."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
        found = outcome(path)
    if isinstance(found, Traces):
        assert found.size >= 1
        assert np.all((found.tokens >= 1.0) | np.isnan(found.tokens))
        assert not np.isinf(found.score).any()
        measured(found)


@given(lines=st.lists(st.text(alphabet='01a,"\n\r\t .-é\x00', max_size=12), max_size=4))
@settings(max_examples=200, deadline=None)
def test_any_csv_is_read_or_refused(lines: list[str]) -> None:
    """Any text under a header that fits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text("problem_id,correct,tokens\n" + "\n".join(lines), newline="")
        outcome(path)


def files() -> dict[str, bytes]:
    """Good files, as bytes."""
    columns = {"problem_id": ["a", "b"] * 20, "correct": [1, 0] * 20, "answer": [["x"], None] * 20}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        pq.write_table(pa.table(columns), path)
        return {
            "t.parquet": path.read_bytes(),
            "t.csv.gz": gzip.compress(GOOD.encode()),
            "t.jsonl": b'{"problem_id": "a", "correct": [1, 0], "step_rewards": [[0, 1], [0]]}\n' * 3,
        }


FILES = files()


@given(name=st.sampled_from(sorted(FILES)), data=st.data())
@settings(max_examples=400, deadline=None)
def test_damaged_files_are_read_or_refused(name: str, data: st.DataObject) -> None:
    """Good files with bytes changed, or cut short."""
    content = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
        outcome(path)


def test_solve_times_come_from_step_rewards(tmp_path: Path) -> None:
    """The first 1 is the time of solving, the last entry the label; all steps are spent where it is never solved."""
    path = tmp_path / "t.jsonl"
    given_rows = [[0, 0, 1, 1], [0, 0], [1], None, []]
    path.write_text("".join(json.dumps({"problem_id": 1, "step_rewards": r}) + "\n" for r in given_rows))
    traces = read_traces([path])
    np.testing.assert_array_equal(traces.tokens, [3, 2, 1, math.nan, math.nan])
    np.testing.assert_array_equal(traces.correct, [1, 0, 1, math.nan, math.nan])
    assert any("counted in steps" in note for note in traces.notes)
    csv = tmp_path / "t.csv"
    csv.write_text('problem_id,tokens,step_rewards,correct\na,4,"[0, 0, 1, 1]",1\na,2,"[0, 0]",\nb,5,,0\n')
    traces = read_traces([csv])
    np.testing.assert_array_equal(traces.tokens, [3, 2, 5])
    np.testing.assert_array_equal(traces.correct, [1, math.nan, 0])
    assert traces.notes == ()
    wide = tmp_path / "w.jsonl"
    wide.write_text(json.dumps({"problem_id": 1, "step_rewards": [[0, 1], [0, 0, 0]], "solved_at": [1, None]}))
    np.testing.assert_array_equal(read_traces([wide]).tokens, [1, 3])
    np.testing.assert_array_equal(read_traces([wide]).correct, [1, 0])


def test_steps_that_are_no_tokens_leave_tokens_alone(tmp_path: Path) -> None:
    """Two steps of a trace of 900 tokens say whether it is solved, not at which token, and that is told."""
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"problem_id": 1, "step_rewards": [0, 1], "tokens": 900}))
    traces = read_traces([path])
    np.testing.assert_array_equal(traces.tokens, [900])
    np.testing.assert_array_equal(traces.correct, [1])
    assert any("not one a token" in note for note in traces.notes)


def test_an_answer_that_is_always_the_same_but_never_wrong_is_theirs(tmp_path: Path) -> None:
    """A model that always says 7 may be right always: answers are dropped only where labels differ."""
    path = tmp_path / "t.csv"
    path.write_text("problem_id,correct,answer\na,1,7\na,1,7\nb,0,8\nb,0,8\n")
    answer = read_traces([path]).answer
    assert answer is not None
    assert answer.tolist() == ["7", "7", "8", "8"]


def test_columns_of_a_partitioned_path_are_not_read(tmp_path: Path) -> None:
    """A folder called correct=1 adds no column."""
    folder = tmp_path / "correct=1"
    folder.mkdir()
    pq.write_table(pa.table({"problem_id": ["a"], "tokens": [3]}), folder / "t.parquet")
    with pytest.raises(TraceError, match="no column correct"):
        read_traces([folder / "t.parquet"])
