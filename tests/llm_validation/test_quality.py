"""What is wrong with traces is found, and counted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_validation.quality import Finding, at_a_cap, quality
from llm_validation.reading import read_traces
from llm_validation.traces import Group, Traces

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def made(**columns: Any) -> Traces:
    """Clean traces of four problems with twelve samples each, columns replaced."""
    size = 48
    fields: dict[str, Any] = {
        "problem": np.repeat(np.arange(4), 12),
        "problems": ("a", "b", "c", "d"),
        "group": np.zeros(size, dtype=np.int64),
        "groups": (Group("m", "r"),),
        "correct": np.tile([1.0, 0.0], 24),
        "tokens": np.arange(1.0, size + 1),
        "truncated": np.zeros(size, dtype=bool),
        "score": np.full(size, math.nan),
    }
    return Traces(**{**fields, **columns})


def found(traces: Traces, horizon: int = 100) -> dict[str, Finding]:
    return {finding.name: finding for finding in quality(traces, horizon)}


def test_clean_traces_have_no_findings() -> None:
    """Nothing is said where nothing is wrong."""
    assert found(made()) == {}


def changed(values: Any, at: Any, to: Any) -> Any:
    copy = np.array(values)
    copy[at] = to
    return copy


CASES = [
    ("unlabelled", {"correct": changed(np.tile([1.0, 0.0], 24), slice(6), math.nan)}, 6, True),
    ("truncated", {"truncated": changed(np.zeros(48, bool), [1, 3], True)}, 2, True),
    ("at a cap", {"tokens": np.minimum(np.arange(1.0, 49), 44.0)}, 3, True),
    ("no tokens", {"tokens": np.full(48, math.nan)}, 48, False),
    ("tokens missing", {"tokens": changed(np.arange(1.0, 49), slice(3), math.nan)}, 3, True),
    ("over budget", {"tokens": np.arange(60.0, 108.0)}, 7, False),
    ("constant problems", {"correct": changed(np.tile([1.0, 0.0], 24), slice(12), 0.0)}, 1, False),
    ("duplicates", {"text": np.array(["the same text of forty characters or more"] * 48, dtype=object)}, 44, True),
    ("placeholders", {"text": np.array([f"text {i}" if i else "..." for i in range(48)], dtype=object)}, 1, False),
    ("placeholder lengths", {"tokens": changed(np.full(48, 1000.0), [1, 3], 3.0)}, 2, False),
    ("several runs", {"group": np.arange(48) % 2, "groups": (Group("m", "1"), Group("m", "2"))}, 2, False),
]


@pytest.mark.parametrize(("name", "columns", "count", "serious"), CASES, ids=[case[0] for case in CASES])
def test_each_fault_is_found(name: str, columns: dict[str, Any], count: int, serious: bool) -> None:
    """Of each kind of fault, how many there are, and whether it can turn a decision."""
    finding = found(made(**columns))[name]
    assert (finding.count, finding.serious) == (count, serious)


def test_a_correct_trace_at_the_limit_is_no_fault() -> None:
    """What was solved before it was cut off is known; a cut at or above the budget has return 0."""
    right = made(truncated=changed(np.zeros(48, bool), [0, 2], True))
    assert "truncated" not in found(right)
    above = made(truncated=changed(np.zeros(48, bool), [45, 47], True))
    assert not found(above, horizon=40)["truncated"].serious
    assert found(above, horizon=100)["truncated"].serious


def test_one_length_for_all_is_no_cap() -> None:
    """A run in which every trace has the same length tells nothing of a cap."""
    assert not at_a_cap(made(tokens=np.full(48, 7.0))).any()


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")
def test_the_caps_of_real_runs_are_found() -> None:
    """Some runs pile up at 65,536 or 128,000 tokens without saying that they were cut off."""
    traces = read_traces([DATA / "epoch_otis_aime_samples.parquet"])
    assert {65_536.0, 128_000.0} & set(traces.tokens[at_a_cap(traces)].tolist())
    names = found(traces, horizon=65_536)
    assert {"unlabelled", "tokens missing", "constant problems", "several runs"} <= names.keys()
    assert names["unlabelled"].count == 80


def test_short_answers_are_alike_by_chance() -> None:
    """Equal answers of a few characters are counted, and turn no decision; a short answer is no placeholder."""
    texts = found(made(text=np.array([" 8"] * 48, dtype=object)))
    assert texts["duplicates"].count == 44
    assert not texts["duplicates"].serious
    assert "placeholders" not in texts


def test_even_lengths_end_without_a_cap() -> None:
    """Where the longest length is as frequent as those below it nothing was cut off."""
    assert "at a cap" not in found(made(tokens=np.repeat(np.arange(40.0, 52.0), 4)))
