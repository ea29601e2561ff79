"""``read_traces``: files into :class:`~llm_validation.traces.Traces`, every value checked."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.reading.files import read_columns
from llm_validation.reading.layouts import Long, as_long
from llm_validation.traces import Group, TraceError, Traces

__all__ = ["read_traces"]

_TRUE, _FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")
_NOTHING = ("", "nan", "none", "null", "na", "n/a")
#: What servers say of a generation that hit its limit of tokens.
_CUT = ("length", "token", "tokens", "max_tokens", "model_length", "max_output_tokens")


def read_traces(
    paths: Sequence[Path | str],
    mapping: Mapping[str, str] | None = None,
    count_tokens: Callable[[str], int] | None = None,
    tokenizer: str = "whitespace",
) -> Traces:
    """Traces of all files together. ``mapping`` is name used here -> column, as ``--map`` gives it.

    Where there is text and no tokens, ``count_tokens`` counts them (default: words between white space); ``tokenizer``
    is how the notes call it. Raises :class:`TraceError` with one line on anything that cannot be used.
    """
    if not paths:
        raise TraceError("expected at least one file of traces")
    parts = []
    for path in map(Path, paths):
        long = as_long(read_columns(path), mapping or {}, str(path))
        parts.append((str(path), long))
    counter = count_tokens or (lambda text: len(text.split()))
    converted = [_converted(where, long, counter, tokenizer) for where, long in parts]
    return _joined(converted)


def _converted(where: str, long: Long, count: Callable[[str], int], tokenizer: str) -> dict[str, Any]:
    """One file's columns as arrays, with its notes under ``notes``."""
    columns, notes = long.columns, [f"{where}: {note}" for note in long.notes]
    size = len(columns["problem_id"])
    nothing: list[Any] = [None] * size
    names = [None if _is_nothing(value) else str(value) for value in columns["problem_id"]]
    if None in names:
        raise TraceError(f"{where}: row {names.index(None) + 1}: problem_id is missing")
    label = "correct" if "correct" in columns else "reward"
    correct = _numbers(columns[label], label, where, truth=True)
    wrong = np.flatnonzero(~np.isnan(correct) & ~np.isin(correct, (0.0, 1.0)))
    if wrong.size:
        raise TraceError(f"{where}: row {wrong[0] + 1}: {label} = {correct[wrong[0]]:g}, expected 0 or 1")
    if "error" in columns:
        failed = _numbers(columns["error"], "error", where, truth=True) == 1.0
        correct = np.where(failed, np.nan, correct)
    text = None if "text" not in columns else np.array([_as_text(value) for value in columns["text"]], dtype=object)
    tokens = _tokens(columns, where)
    if tokens is None and text is not None:
        tokens = np.array([math.nan if value is None else float(count(value)) for value in text])
        notes.append(f"{where}: no tokens given; counted in the text by {tokenizer}")
    truncated = _numbers(columns.get("truncated", nothing), "truncated", where, truth=True) == 1.0
    reasons = columns.get("finish_reason", nothing)
    truncated |= np.array([str(reason).lower() in _CUT for reason in reasons], dtype=bool)
    return {
        "names": names,
        "runs": list(zip(_labels(columns, "model", size), _labels(columns, "run_id", size), strict=True)),
        "correct": correct,
        "tokens": np.full(size, math.nan) if tokens is None else tokens,
        "truncated": truncated,
        "score": _numbers(columns.get("score", nothing), "score", where),
        "text": text,
        "answer": None if "answer" not in columns else np.array(list(map(_as_answer, columns["answer"])), dtype=object),
        "notes": notes,
    }


def _joined(parts: Sequence[Mapping[str, Any]]) -> Traces:
    problems: dict[str, int] = {}
    runs: dict[tuple[str, str], int] = {}
    problem = [problems.setdefault(name, len(problems)) for part in parts for name in part["names"]]
    group = [runs.setdefault(run, len(runs)) for part in parts for run in part["runs"]]
    stacked = {name: np.concatenate([p[name] for p in parts]) for name in ("correct", "tokens", "truncated", "score")}
    return Traces(
        problem=np.array(problem, dtype=np.int64),
        problems=tuple(problems),
        group=np.array(group, dtype=np.int64),
        groups=tuple(Group(*run) for run in runs),
        text=_stacked([part["text"] for part in parts]),
        answer=_stacked([part["answer"] for part in parts]),
        notes=tuple(note for part in parts for note in part["notes"]),
        **stacked,
    )


def _stacked(columns: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """One column of all files, None unless all of them have it."""
    return None if any(column is None for column in columns) else np.concatenate(list(columns))


def _tokens(columns: Mapping[str, list[Any]], where: str) -> NDArray[np.float64] | None:
    """Tokens until the answer: ``solved_at`` where it is known, else ``tokens``."""
    found = None
    for name in ("tokens", "solved_at"):
        if name in columns:
            values = _numbers(columns[name], name, where)
            bad = np.flatnonzero((values < 0.0) | np.isinf(values))
            if bad.size:
                raise TraceError(f"{where}: row {bad[0] + 1}: {name} = {values[bad[0]]:g}, expected at least 1")
            values = np.where(values < 1.0, math.nan, values)  # 0: nothing came back
            found = values if found is None else np.where(np.isnan(values), found, values)
    return found


def _labels(columns: Mapping[str, list[Any]], name: str, size: int) -> list[str]:
    return ["" if _is_nothing(value) else str(value) for value in columns.get(name, [None] * size)]


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or value == ""


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def _as_answer(value: Any) -> str | None:
    """Text of an answer, without the white space around it; None for no answer."""
    return None if _is_nothing(value) else str(value).strip() or None


def _numbers(column: list[Any], name: str, where: str, truth: bool = False) -> NDArray[np.float64]:
    """float64, NaN where there is nothing; ``truth`` admits words such as true and no."""
    try:  # nearly always they are numbers
        if not any(isinstance(value, str) for value in column):
            return np.array([math.nan if value is None else float(value) for value in column], dtype=np.float64)
    except (TypeError, ValueError):
        pass  # said below, with its row
    return np.array([_number(value, name, where, row, truth) for row, value in enumerate(column, 1)], dtype=np.float64)


def _number(value: Any, name: str, where: str, row: int, truth: bool) -> float:
    word = value.strip().lower() if isinstance(value, str) else value
    if word is None or (isinstance(word, str) and word in _NOTHING):
        return math.nan
    if truth and isinstance(word, str) and word in (*_TRUE, *_FALSE):
        return 1.0 if word in _TRUE else 0.0
    if isinstance(word, int | float) or (isinstance(word, str) and re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", word)):
        try:
            return float(word)
        except ValueError:
            pass  # 1.2.3
    shown = repr(value) if len(repr(value)) <= 40 else repr(value)[:37] + "..."
    raise TraceError(f"{where}: row {row}: {name} is {shown}, expected {'0 or 1' if truth else 'a number'}")
