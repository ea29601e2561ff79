"""Columns into the long layout: one entry a trace, under the names used here.

Recognised unless ``--map`` says what is what: sample logs of lm-evaluation-harness, completions tables of TRL,
generations dumped by verl. Else columns are taken by their names (long), lists of samples a row are spread (wide).
Whatever is assumed on the way is noted in words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_validation.traces import TraceError

__all__ = ["FIELDS", "Long", "as_long", "brief", "plain_text"]

Columns = dict[str, list[Any]]

#: Names used here, each with what else a column that means the same is often called.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "problem_id": ("question_id", "task_id", "doc_id", "id"),
    "correct": ("is_correct", "passed"),
    "reward": (),
    "tokens": ("output_tokens", "completion_tokens", "n_tokens", "num_tokens"),
    "solved_at": (),
    "step_rewards": (),
    "score": ("verifier_score",),
    "text": ("response", "completion", "responses"),
    "answer": ("final_answer", "extracted_answer", "prediction", "pred"),
    "model": ("model_name",),
    "run_id": ("run",),
    "truncated": (),
    "error": (),
    "finish_reason": ("stop_reason", "limit"),
}


@dataclass
class Long:
    """Columns under the names of :data:`FIELDS`, notes, and the row of the file that each entry comes from."""

    columns: Columns
    notes: list[str] = field(default_factory=list)
    rows: Sequence[int] | None = None  # from 1; None: entry i is row i + 1

    def row(self, entry: int) -> str:
        """``row 7``: where the entry is in the file, counted without a header."""
        return f"row {entry + 1 if self.rows is None else self.rows[entry]}"


def as_long(columns: Columns, mapping: Mapping[str, str], where: str) -> Long:
    """The long layout of a file's columns. ``mapping`` is name used here -> column.

    Raises :class:`TraceError` with one line that begins with ``where``.
    """
    for name, column in mapping.items():
        if name not in FIELDS:
            raise TraceError(f"--map {name}={column}: expected one of {', '.join(FIELDS)} before the =")
        if column not in columns:
            raise TraceError(f"{where}: has no column {column!r} (--map {name}={column}); it has {_shown(columns)}")
    for recognised, convert in _LAYOUTS:
        if not mapping and recognised(columns):
            return convert(columns, where)
    named = _named(columns, mapping, where)
    lists = [name for name, column in named.columns.items() if name != "problem_id" and _is_lists(column, name)]
    return _widened(named, lists, where) if lists else named


def _shown(columns: Columns) -> str:
    """Names of the columns, the first twenty of them."""
    names = list(columns)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _named(columns: Columns, mapping: Mapping[str, str], where: str) -> Long:
    found: Columns = {}
    notes = []
    for name, others in FIELDS.items():
        source = mapping.get(name) or next((c for c in (name, *others) if c in columns), None)
        if source is not None:
            is_chats = name == "text" and list in set(map(type, columns[source]))
            found[name] = [plain_text(value) for value in columns[source]] if is_chats else columns[source]
            if source != name:
                notes.append(f"{name} is column {source!r}")
    if not found.keys() & {"correct", "reward", "step_rewards"}:
        raise TraceError(
            f"{where}: has no column correct, reward or step_rewards; it has {_shown(columns)} "
            "(--map correct=COLUMN says which)"
        )
    if "problem_id" not in found:
        raise TraceError(f"{where}: has no column problem_id; it has {_shown(columns)} (--map problem_id=COLUMN)")
    if "reward" in found and "correct" in found:
        notes.append("column 'reward' is not used beside correct")
    return Long(found, notes)


def _is_lists(column: list[Any], name: str) -> bool:
    """Whether rows hold lists of samples; ``step_rewards`` are a list for one sample already."""
    if list not in set(map(type, column)):
        return False
    lists = (value for value in column if isinstance(value, list))
    return name != "step_rewards" or any(isinstance(entry, list) for value in lists for entry in value)


def _widened(long: Long, lists: Sequence[str], where: str) -> Long:
    """Rows of lists, one entry a sample, become rows."""
    label = next((name for name in ("correct", "reward", "step_rewards") if name in lists), None)
    if label is None:
        raise TraceError(f"{where}: {', '.join(lists)} are lists, correct is not: expected a list for every problem")
    columns: Columns = {name: [] for name in long.columns}
    rows: list[int] = []
    for number, labels in enumerate(long.columns[label], 1):
        if not isinstance(labels, list):
            raise TraceError(f"{where}: row {number}: {label} is {brief(labels)}, expected a list as in other rows")
        for name, column in long.columns.items():
            value = column[number - 1]
            if name in lists and (not isinstance(value, list) or len(value) != len(labels)):
                size = f"{len(value)} entries" if isinstance(value, list) else "no list"
                raise TraceError(f"{where}: row {number}: {name} has {size}, {label} has {len(labels)}")
            columns[name] += value if name in lists else [value] * len(labels)
        rows += [number] * len(labels)
    notes = [*long.notes, f"wide layout: one row a problem, {', '.join(lists)} are lists"]
    if empty := len(long.columns[label]) - len(set(rows)):
        notes.append(f"{empty} rows hold no samples: their lists are empty")
    return Long(columns, notes, rows)


def brief(value: Any) -> str:
    """The value in a message, at most 40 characters of it."""
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def _is_lm_eval(columns: Columns) -> bool:
    return {"doc_id", "resps", "filtered_resps"} <= columns.keys()


def _lm_eval(columns: Columns, where: str) -> Long:
    """Sample logs: one row a document and filter, the metric's value beside them; the first filter is kept."""
    metric = _metric(columns, where)
    filters = columns.get("filter", [None] * len(columns["doc_id"]))
    first = filters[0]
    kept = [i for i, name in enumerate(filters) if name == first]
    texts = []
    for i in kept:
        responses = columns["resps"][i]
        flat = responses[0] if isinstance(responses, list) and responses else responses
        flat = flat if isinstance(flat, list) else responses
        if not isinstance(flat, list):
            raise TraceError(f"{where}: row {i + 1}: resps is {brief(responses)}, expected a list")
        if len(flat) != 1:
            raise TraceError(
                f"{where}: doc {columns['doc_id'][i]} has {len(flat)} responses and one {metric}: which of them are "
                "correct is not known; log each repeat as a row"
            )
        texts.append(flat[0])
    notes = [f"lm-evaluation-harness sample log: correct is {metric}"]
    if len(kept) < len(filters):
        notes.append(f"kept filter {first!r} of {', '.join(sorted({repr(name) for name in filters}))}")
    found = {
        "problem_id": [columns["doc_id"][i] for i in kept],
        "correct": [columns[metric][i] for i in kept],
        "text": texts,
        "answer": [_single(columns["filtered_resps"][i]) for i in kept],
    }
    return Long(found, notes, [i + 1 for i in kept])


def _single(value: Any) -> Any:
    """The entry of a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _metric(columns: Columns, where: str) -> str:
    declared = columns.get("metrics", [None])[0]
    for name in [*(declared if isinstance(declared, list) else []), "exact_match", "acc"]:
        if isinstance(name, str) and name in columns:
            return name
    raise TraceError(
        f"{where}: a sample log without exact_match, acc or a metric that it names; it has {_shown(columns)}"
    )


def _is_trl(columns: Columns) -> bool:
    return {"step", "prompt", "completion", "advantage"} <= columns.keys()


def _trl(columns: Columns, where: str) -> Long:
    """Completions of one training step: every reward function has a column, the prompt is the problem."""
    fixed = ("step", "prompt", "completion", "advantage")
    rewards = [
        name
        for name in columns
        if name not in fixed and all(isinstance(v, int | float) and not isinstance(v, bool) for v in columns[name])
    ]
    binary = [name for name in rewards if _is_binary(columns[name])]
    if not binary:
        raise TraceError(f"{where}: TRL completions without a reward of 0s and 1s among {', '.join(rewards) or 'none'}")
    notes = [f"TRL completions: correct is {binary[0]}, the problem is the prompt, the run is the step"]
    if len(rewards) > 1:
        notes.append(f"other rewards, not used: {', '.join(name for name in rewards if name != binary[0])}")
    found = {
        "problem_id": [plain_text(prompt) for prompt in columns["prompt"]],
        "correct": columns[binary[0]],
        "text": [plain_text(completion) for completion in columns["completion"]],
        "run_id": [f"step {step}" for step in columns["step"]],
    }
    return Long(found, notes)


def _is_binary(column: list[Any]) -> bool:
    return all(isinstance(value, int | float) and value in (0, 1) for value in column)


def _is_verl(columns: Columns) -> bool:
    return {"input", "output", "score"} <= columns.keys()


def _verl(columns: Columns, where: str) -> Long:
    """Dumped generations: ``score`` is the reward, ``acc`` beside it if the reward is not 0 or 1."""
    label = next((name for name in ("acc", "score") if name in columns and _is_binary(columns[name])), None)
    if label is None:
        raise TraceError(f"{where}: verl generations whose score is not 0 or 1, expected that or a column acc")
    found = {
        "problem_id": [plain_text(prompt) for prompt in columns["input"]],
        "correct": columns[label],
        "text": [plain_text(text) for text in columns["output"]],
    }
    if "step" in columns:
        found["run_id"] = [f"step {step}" for step in columns["step"]]
    return Long(found, [f"verl generations: correct is {label}, the problem is the input"])


def plain_text(value: Any) -> Any:
    """The text of a chat, or of a plain string."""
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        return "\n".join(str(turn.get("content", "")) for turn in value)
    return value


_LAYOUTS: tuple[tuple[Callable[[Columns], bool], Callable[[Columns, str], Long]], ...] = (
    (_is_lm_eval, _lm_eval),
    (_is_trl, _trl),
    (_is_verl, _verl),
)
