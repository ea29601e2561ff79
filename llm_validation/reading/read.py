"""``read_traces``: files into :class:`~llm_validation.traces.Traces`, every value checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.reading.files import read_columns
from llm_validation.reading.layouts import Long, as_long, brief, plain_text
from llm_validation.reading.steps import Steps, read_steps
from llm_validation.traces import Group, TraceError, Traces

__all__ = ["read_traces"]

Floats = NDArray[np.float64]

#: More tokens than any trace has.
_MOST_TOKENS = 1e9
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
    unnamed = [where for (where, _), part in zip(parts, converted, strict=True) if ("", "") in part["runs"]]
    if len(unnamed) > 1:
        converted[0]["notes"].append(f"{', '.join(unnamed)}: without model and run_id, taken together for one run")
    return _joined(converted)


def _converted(where: str, long: Long, count: Callable[[str], int], tokenizer: str) -> dict[str, Any]:
    """One file's columns as arrays, with its notes under ``notes``."""
    columns, notes = long.columns, [f"{where}: {note}" for note in long.notes]
    size = len(columns["problem_id"])
    if not size:
        raise TraceError(f"{where}: no traces in it")
    names = _labels(columns, "problem_id", size)
    if "" in names:
        raise TraceError(f"{where}: {long.row(names.index(''))}: problem_id is missing")
    column = _Column(long, where)
    steps = read_steps(long, where)
    correct = _correct(column, steps)
    text = None if "text" not in columns else _texts(columns["text"])
    answer = None if "answer" not in columns else _answers(columns["answer"])
    if answer is not None and _is_reference(names, answer, correct):
        answer = None
        notes.append(f"{where}: answer is the same in all traces of each problem, right or wrong: not theirs, not used")
    tokens = _tokens(column, steps, notes)
    if tokens is None and text is not None:
        tokens = np.array([float(count(value) or math.nan) if value else math.nan for value in text])
        notes.append(f"{where}: no tokens given; counted in the text by {tokenizer}")
    truncated = column.numbers("truncated", truth=True) == 1.0
    reasons = columns.get("finish_reason")
    if reasons is not None:
        truncated |= np.array([str(reason).lower() in _CUT for reason in reasons], dtype=bool)
    score = column.numbers("score")
    column.check("score", score, ~np.isinf(score), "a finite number")
    return {
        "names": names,
        "runs": list(zip(_labels(columns, "model", size), _labels(columns, "run_id", size), strict=True)),
        "correct": correct,
        "tokens": np.full(size, math.nan) if tokens is None else tokens,
        "truncated": truncated,
        "score": score,
        "text": text,
        "answer": answer,
        "notes": notes,
    }


def _correct(column: _Column, steps: Steps | None) -> Floats:
    """1, 0, or NaN where it is not known, or the trace ended in an error."""
    label = next((name for name in ("correct", "reward") if name in column.long.columns), None)
    if label is None and steps is not None:
        correct = steps.correct
    else:
        label = label or "correct"
        correct = column.numbers(label, truth=True)
        column.check(label, correct, np.isin(correct, (0.0, 1.0)), "0 or 1")
        if steps is not None:
            agrees = np.isnan(steps.correct) | (steps.correct == correct)
            column.check(label, correct, agrees, "what the last of step_rewards is")
    if "error" in column.long.columns:
        failed = np.array([_is_error(value) for value in column.long.columns["error"]], dtype=bool)
        correct = np.where(failed, math.nan, correct)
    return correct


def _is_error(value: Any) -> bool:
    """True, 1, or a message."""
    if isinstance(value, str):
        return value.strip().lower() not in (*_FALSE, *_NOTHING)
    return not _is_nothing(value) and bool(value)


def _is_reference(names: Sequence[str], answer: NDArray[Any], correct: Floats) -> bool:
    """Whether no two traces of a problem differ in the answer although some do in being correct."""
    rows = [row for row in zip(names, answer.tolist(), correct.tolist(), strict=True) if row[1] is not None]
    rows = [row for row in rows if not math.isnan(row[2])]
    problems = len({name for name, _, _ in rows})
    return len({(name, a) for name, a, _ in rows}) == problems < len({(name, label) for name, _, label in rows})


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


def _tokens(column: _Column, steps: Steps | None, notes: list[str]) -> Floats | None:
    """Tokens until the answer: ``solved_at``, else the first 1 of ``step_rewards``, else ``tokens``."""
    found = None
    if "tokens" in column.long.columns:
        found = column.numbers("tokens")
        possible = (found == 0.0) | ((found >= 1.0) & (found <= _MOST_TOKENS))
        column.check("tokens", found, possible, "at least 1, and a number of tokens")
        found = np.where(found == 0.0, math.nan, found)  # nothing came back
    if steps is not None:
        found = _stepwise(found, steps, column.where, notes)
    if "solved_at" in column.long.columns:
        solved = column.numbers("solved_at")
        column.check("solved_at", solved, (solved >= 1.0) & (solved <= _MOST_TOKENS), "at least 1, the first token")
        found = solved if found is None else np.where(np.isnan(solved), found, solved)
    return found


def _stepwise(tokens: Floats | None, steps: Steps, where: str, notes: list[str]) -> Floats:
    if tokens is None:
        notes.append(f"{where}: no tokens given; counted in steps of step_rewards")
        return steps.until_solved
    both = np.isfinite(tokens) & np.isfinite(steps.length)
    if (tokens[both] != steps.length[both]).any():
        notes.append(f"{where}: step_rewards are not one a token: the time of solving is not taken from them")
        return tokens
    return np.where(np.isnan(steps.until_solved), tokens, steps.until_solved)


def _labels(columns: Mapping[str, list[Any]], name: str, size: int) -> list[str]:
    """Text, "" for nothing."""
    column = columns.get(name)
    if column is None:
        return [""] * size
    try:
        distinct: Iterable[Any] = set(column)
    except TypeError:  # lists, or objects
        return ["" if _is_nothing(value) else _clean(value) for value in column]
    texts = {value: "" if _is_nothing(value) else _clean(value) for value in distinct}
    return [texts[value] for value in column]


def _clean(value: Any) -> str:
    """Text that can be written as UTF-8: half of a surrogate pair becomes a question mark."""
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _texts(column: Sequence[Any]) -> NDArray[Any]:
    found = np.empty(len(column), dtype=object)
    found[:] = [
        value if value is None or (type(value) is str and value.isascii()) else _clean(plain_text(value))
        for value in column
    ]
    return found


def _answers(column: list[Any]) -> NDArray[Any]:
    """Without the white space around them; None for no answer."""
    found = np.empty(len(column), dtype=object)
    found[:] = [name.strip() or None for name in _labels({"answer": column}, "answer", len(column))]
    return found


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or value == ""


@dataclass(frozen=True, slots=True)
class _Column:
    """Columns of one file as numbers; what cannot be one is told with its row."""

    long: Long
    where: str

    def numbers(self, name: str, truth: bool = False) -> Floats:
        """float64, NaN where there is nothing or no such column; ``truth`` admits words such as true and no."""
        column = self.long.columns.get(name)
        if column is None:
            return np.full(len(self.long.columns["problem_id"]), math.nan)
        try:  # nearly always they are numbers, or text of numbers
            return np.array([math.nan if value is None else float(value) for value in column], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            pass  # words, or said below with its row
        words: dict[str, float] = {}
        found = np.empty(len(column))
        for entry, value in enumerate(column):
            if not isinstance(value, str):
                found[entry] = self._number(value, name, entry, truth)
            elif (number := words.get(value)) is not None:
                found[entry] = number
            else:
                found[entry] = words[value] = self._number(value, name, entry, truth)
        return found

    def _number(self, value: Any, name: str, entry: int, truth: bool) -> float:
        found = _number(value, truth)
        if found is None:
            expected = "0 or 1" if truth else "a number"
            raise TraceError(f"{self.where}: {self.long.row(entry)}: {name} is {brief(value)}, expected {expected}")
        return found

    def check(self, name: str, values: Floats, holds: NDArray[np.bool_], expected: str) -> None:
        """Raises :class:`TraceError` at the first value that is known and for which ``holds`` is false."""
        wrong = np.flatnonzero(~np.isnan(values) & ~holds)
        if wrong.size:
            at = int(wrong[0])
            raise TraceError(f"{self.where}: {self.long.row(at)}: {name} = {values[at]:g}, expected {expected}")


def _number(value: Any, truth: bool) -> float | None:
    """NaN for nothing, None for what is no number."""
    word = value.strip().lower() if isinstance(value, str) else value
    if word is None or (isinstance(word, str) and word in _NOTHING):
        return math.nan
    if truth and isinstance(word, str) and word in (*_TRUE, *_FALSE):
        return 1.0 if word in _TRUE else 0.0
    if isinstance(word, str | int | float):
        try:
            return float(word)
        except (ValueError, OverflowError):
            pass  # other words, 1.2.3, or a whole number beyond any float
    return None
