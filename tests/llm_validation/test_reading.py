"""Files of sampled traces: every layout gives the same traces. What cannot be used is in ``test_malformed``."""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_validation.reading import read_traces
from llm_validation.traces import Group, TraceError, Traces

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")

ROWS: list[dict[str, Any]] = [
    {"problem_id": "a", "correct": 1, "tokens": 3, "model": "m", "truncated": False, "score": 0.5},
    {"problem_id": "a", "correct": 0, "tokens": 8, "model": "m", "truncated": True, "score": 0.25},
    {"problem_id": "b", "correct": None, "tokens": 5, "model": "m", "truncated": False, "score": 0.1},
    {"problem_id": "b", "correct": 1, "tokens": None, "model": "k", "truncated": False, "score": None},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows in the format that the name says."""
    names = list(rows[0])
    if path.name.endswith(".parquet"):
        pq.write_table(pa.table({name: [row[name] for row in rows] for name in names}), path)
    elif ".jsonl" in path.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    else:
        lines = [",".join(names)]
        lines += [",".join("" if row[n] is None else str(row[n]) for n in names) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.jsonl.gz", "t.csv"])
def test_every_format_gives_the_same_traces(tmp_path: Path, name: str) -> None:
    """Four traces, two problems, two models; what is missing is NaN."""
    traces = read_traces([write(tmp_path / name, ROWS)])
    assert traces.problems == ("a", "b")
    assert traces.groups == (Group("m", ""), Group("k", ""))
    np.testing.assert_array_equal(traces.problem, [0, 0, 1, 1])
    np.testing.assert_array_equal(traces.group, [0, 0, 0, 1])
    np.testing.assert_array_equal(traces.correct, [1.0, 0.0, math.nan, 1.0])
    np.testing.assert_array_equal(traces.tokens, [3.0, 8.0, 5.0, math.nan])
    np.testing.assert_array_equal(traces.truncated, [False, True, False, False])
    np.testing.assert_array_equal(traces.score, [0.5, 0.25, 0.1, math.nan])
    assert traces.notes == ()


def test_returns_are_tokens_left() -> None:
    """R = correct (H - tokens + 1)^+; unknown where correctness is, or the trace was cut off below the budget."""
    traces = Traces(
        problem=np.zeros(6, dtype=np.int64),
        problems=("a",),
        group=np.zeros(6, dtype=np.int64),
        groups=(Group("m", ""),),
        correct=np.array([1.0, 1.0, 0.0, math.nan, 0.0, 1.0]),
        tokens=np.array([3.0, 12.0, 4.0, 4.0, 8.0, math.nan]),
        truncated=np.array([False, False, False, False, True, False]),
        score=np.full(6, math.nan),
    )
    np.testing.assert_array_equal(traces.returns(10), [8.0, 0.0, 0.0, math.nan, math.nan, math.nan])
    np.testing.assert_array_equal(traces.returns(8), [6.0, 0.0, 0.0, math.nan, 0.0, math.nan])
    bare = dataclasses.replace(traces, tokens=np.full(6, math.nan), truncated=np.zeros(6, dtype=bool))
    np.testing.assert_array_equal(bare.returns(1), [1.0, 1.0, 0.0, math.nan, 0.0, 1.0])


def test_no_tokens_at_all_are_unknown_tokens(tmp_path: Path) -> None:
    """A trace of 0 tokens is one of which nothing came back: its length is not known."""
    path = tmp_path / "t.csv"
    path.write_text("problem_id,correct,tokens\na,1,0\na,1,2\n")
    np.testing.assert_array_equal(read_traces([path]).tokens, [math.nan, 2.0])


def test_wide_and_long_are_the_same(tmp_path: Path) -> None:
    """Lists a problem spread into rows; text is counted in words where no tokens are given, and that is said."""
    wide = tmp_path / "w.jsonl"
    wide.write_text(
        json.dumps({"problem_id": 7, "correct": [1, 0], "responses": ["one two", "three"]})
        + "\n"
        + json.dumps({"problem_id": 8, "correct": [0], "responses": ["a b c d"]})
    )
    traces = read_traces([wide])
    assert traces.problems == ("7", "8")
    np.testing.assert_array_equal(traces.correct, [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(traces.tokens, [2.0, 1.0, 4.0])
    assert any("whitespace" in note for note in traces.notes)
    assert any("wide" in note for note in traces.notes)
    counted = read_traces([wide], count_tokens=len, tokenizer="characters")
    np.testing.assert_array_equal(counted.tokens, [7.0, 5.0, 7.0])


def test_answers_are_text(tmp_path: Path) -> None:
    """The final answer under any of its names, long, wide, and as the evaluation harness logs it."""
    long = tmp_path / "t.csv"
    long.write_text("problem_id,correct,pred\nx,1, 7\nx,0,\n")
    traces = read_traces([long])
    assert traces.answer is not None
    assert traces.answer.tolist() == ["7", None]
    assert traces.where(traces.correct == 1.0).answer.tolist() == ["7"]
    wide = tmp_path / "w.jsonl"
    wide.write_text(json.dumps({"problem_id": 1, "correct": [1, 0, 0], "answer": [7, "8 ", None]}))
    assert read_traces([wide]).answer.tolist() == ["7", "8", None]
    log = [{"doc_id": 1, "resps": [["so 7"]], "filtered_resps": ["7"], "exact_match": 1.0}]
    assert read_traces([write(tmp_path / "samples.jsonl", log)]).answer.tolist() == ["7"]
    assert read_traces([write(tmp_path / "a.csv", ROWS), long]).answer is None


def test_columns_are_mapped(tmp_path: Path) -> None:
    """--map takes any column; words such as yes are truths; the step of solving stands before the length."""
    path = tmp_path / "t.csv"
    path.write_text("q,ok,n,at\nx,yes,9,4\nx,no,9,\n")
    mapping = {"problem_id": "q", "correct": "ok", "tokens": "n", "solved_at": "at"}
    traces = read_traces([path], mapping)
    np.testing.assert_array_equal(traces.correct, [1.0, 0.0])
    np.testing.assert_array_equal(traces.tokens, [4.0, 9.0])


def test_several_files_are_one(tmp_path: Path) -> None:
    """Problems and runs of one name are one, whichever file they come from."""
    other = [{**row, "model": "k"} for row in ROWS]
    traces = read_traces([write(tmp_path / "a.csv", ROWS), write(tmp_path / "b.parquet", other)])
    assert traces.size == 8
    assert traces.problems == ("a", "b")
    assert [group.model for group, _ in traces.by_group()] == ["m", "k"]
    assert [part.size for _, part in traces.by_group()] == [3, 5]


def test_sample_logs_of_the_evaluation_harness(tmp_path: Path) -> None:
    """One row a document and filter: the first filter is kept, its metric is what is correct."""
    rows = [
        {"doc_id": d, "resps": [[f"r{d}"]], "filtered_resps": [f"r{d}"], "filter": f, "metrics": ["exact_match"],
         "exact_match": float(d == 0 and f == "strict")}
        for f in ("strict", "flexible") for d in (0, 1)
    ]  # fmt: skip
    traces = read_traces([write(tmp_path / "samples.jsonl", rows)])
    np.testing.assert_array_equal(traces.correct, [1.0, 0.0])
    assert any("strict" in note and "flexible" in note for note in traces.notes)
    repeated = [{**rows[0], "resps": [["one", "two"]]}]
    with pytest.raises(TraceError, match="2 responses"):
        read_traces([write(tmp_path / "repeated.jsonl", repeated)])


def test_completions_of_trl_and_generations_of_verl(tmp_path: Path) -> None:
    """The reward of 0s and 1s is what is correct, the prompt is the problem, the step is the run."""
    trl = [
        {"step": 10, "prompt": "p", "completion": "a b", "accuracy": r, "style": 0.3, "advantage": 0.0}
        for r in (1.0, 0.0)
    ]
    traces = read_traces([write(tmp_path / "completions_00010.parquet", trl)])
    np.testing.assert_array_equal(traces.correct, [1.0, 0.0])
    assert traces.groups == (Group("", "step 10"),)
    assert any("style" in note for note in traces.notes)
    verl = [{"input": "p", "output": "a b c", "gts": "7", "score": s, "step": 3} for s in (0.0, 1.0)]
    traces = read_traces([write(tmp_path / "3.jsonl", verl)])
    np.testing.assert_array_equal(traces.correct, [0.0, 1.0])
    np.testing.assert_array_equal(traces.tokens, [3.0, 3.0])


@needs_data
def test_the_real_runs_are_read() -> None:
    """45,360 traces of 126 runs; 80 rows with an error are of unknown correctness; tokens where they are given."""
    traces = read_traces([DATA / "epoch_otis_aime_samples.parquet"])
    assert (traces.size, len(traces.groups), len(traces.problems)) == (45_360, 126, 45)
    assert int(np.isnan(traces.correct).sum()) == 80
    known = sum(bool(np.isfinite(part.tokens).any()) for _, part in traces.by_group())
    assert known == 50
    assert int(traces.truncated.sum()) == 1


@needs_data
def test_the_puzzles_are_read() -> None:
    """100 puzzles, 100 samples each, tokens counted in the text."""
    traces = read_traces([DATA / "game24_gpt4_cot_100x100.jsonl.gz"])
    assert (traces.size, len(traces.problems)) == (10_000, 100)
    assert np.isfinite(traces.tokens).all()
