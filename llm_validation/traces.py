r"""Sampled traces of one or several models: what the diagnosis is computed from.

A trace answers problem x in ``tokens`` tokens and is ``correct`` or not. At token budget H its return is

.. math:: R=\text{correct}\cdot(H-\text{tokens}+1)^+\in\{0,..,H\},

the tokens left once solved. A trace cut off before it answered is *truncated* (censored): its return at a budget above
the cut is unknown, at or below the cut it is 0. Where nothing is known of tokens H = 1 and R is 0 or 1. Whatever the
unknown returns are, an increasing function of returns lies between its values at two versions of the traces: all that
are unknown failed, or all were solved at the next token.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Group", "TraceError", "Traces"]


class TraceError(ValueError):
    """Traces that cannot be used; the message is one line that names the file, the value and what was expected."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


@dataclass(frozen=True, slots=True)
class Group:
    """Traces that are diagnosed together: one run of one model."""

    model: str
    run_id: str

    def __str__(self) -> str:
        """``model/run``, or whichever is known."""
        return " ".join(part for part in (self.model, self.run_id) if part) or "all traces"


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """N traces as columns (N,). Build with :func:`llm_validation.reading.read_traces` or directly."""

    problem: NDArray[np.int64]  # number of the problem
    problems: tuple[str, ...]  # their names
    group: NDArray[np.int64]  # number of the run
    groups: tuple[Group, ...]
    correct: NDArray[np.float64]  # 1, 0, or NaN where it is not known
    tokens: NDArray[np.float64]  # until the answer, or until it was cut off; NaN where not known
    truncated: NDArray[np.bool_]
    score: NDArray[np.float64]  # of a verifier; NaN where there is none
    text: NDArray[Any] | None = None
    answer: NDArray[Any] | None = None  # the final answer as text, None where a trace has none
    notes: tuple[str, ...] = ()  # what was assumed when they were read

    def __post_init__(self) -> None:
        """Raises :class:`TraceError` if columns differ in length or hold values they cannot."""
        size = self.problem.size
        columns: dict[str, NDArray[Any]] = {
            "group": self.group,
            "correct": self.correct,
            "tokens": self.tokens,
            "truncated": self.truncated,
        }
        optional = {"text": self.text, "answer": self.answer}
        columns |= {"score": self.score, **{name: column for name, column in optional.items() if column is not None}}
        for name, column in columns.items():
            if column.shape != (size,):
                raise TraceError(f"{name}: {column.shape[0]} values, expected one for each of {size} traces")
        known = self.correct[~np.isnan(self.correct)]
        if not np.isin(known, (0.0, 1.0)).all():
            bad = known[~np.isin(known, (0.0, 1.0))][0]
            raise TraceError(f"correct = {bad:g}: expected 0 or 1")

    @property
    def size(self) -> int:
        """N."""
        return int(self.problem.size)

    @property
    def has_tokens(self) -> bool:
        """Whether the tokens of any trace are known."""
        return bool(np.isfinite(self.tokens).any())

    @property
    def longest(self) -> int:
        """Tokens of the longest trace; 1 where none are known."""
        return int(np.nanmax(self.tokens)) if self.has_tokens else 1

    def where(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Traces:
        """The traces that ``keep`` admits, (N,) or their indices; numbers of problems and runs stay."""
        changed: dict[str, Any] = {
            name: getattr(self, name)[keep] for name in ("problem", "group", "correct", "tokens", "truncated", "score")
        }
        for name in ("text", "answer"):
            column = getattr(self, name)
            changed[name] = None if column is None else column[keep]
        return dataclasses.replace(self, **changed)

    def by_group(self) -> Iterator[tuple[Group, Traces]]:
        """Every run with its traces, in order of first appearance."""
        order = np.argsort(self.group, kind="stable")
        ends = np.searchsorted(self.group[order], np.arange(len(self.groups) + 1))
        for group, start, end in zip(self.groups, ends[:-1], ends[1:], strict=True):
            yield group, self.where(order[start:end])

    def returns(self, horizon: int) -> NDArray[np.float64]:
        """R at budget ``horizon``, (N,), tokens; NaN where it is not known.

        Unknown are traces whose correctness is, correct ones whose tokens are, and truncated ones that were cut off
        below the budget. Where no tokens are known at all correct traces solve at the first.
        """
        spent = self.tokens if self.has_tokens else np.ones(self.size)
        left = np.maximum(horizon - spent + 1.0, 0.0)
        gain = np.where(self.correct == 0.0, 0.0, self.correct * left)
        cut = self.truncated & (self.correct != 1.0)
        return np.where(cut, np.where(self.tokens >= horizon, 0.0, np.nan), gain)

    def as_answers(self) -> Traces:
        """The same traces without tokens: H = 1, a right one returns 1. What was cut off stays unknown."""
        return dataclasses.replace(self, tokens=np.full(self.size, np.nan))

    def extremes(self, horizon: int) -> tuple[Traces, ...]:
        """The traces alone, or two versions where some were cut off below the budget: these failed, these solved next.

        Every trace of known label (and, if correct, of known tokens) has a known return in either version.
        """
        unknown = self.truncated & (self.correct != 1.0) & ~(self.tokens >= horizon)
        if not unknown.any():
            return (self,)
        ended = self.truncated & ~unknown
        failed = dataclasses.replace(self, correct=np.where(unknown, 0.0, self.correct), truncated=ended)
        next_token = np.where(np.isfinite(self.tokens), self.tokens + 1.0, 1.0)
        spent = np.where(unknown, next_token, self.tokens) if self.has_tokens else self.tokens
        return failed, dataclasses.replace(failed, correct=np.where(unknown, 1.0, self.correct), tokens=spent)

    def completions(self, horizon: int) -> tuple[Traces, ...]:
        """As :meth:`extremes`, and traces of unknown label or (if right) of unknown tokens: failed, or at their best.

        Which labels and lengths are missing may depend on what they would say, so that leaving them out is no bound.
        """
        unlabelled = np.isnan(self.correct)
        vague = (self.correct == 1.0) & np.isnan(self.tokens) & self.has_tokens
        versions = self.extremes(horizon)
        if not (unlabelled | vague).any():
            return versions
        low, high = versions[0], versions[-1]
        spent = np.where((unlabelled | vague) & np.isnan(high.tokens), 1.0, high.tokens)
        failed = dataclasses.replace(low, correct=np.where(unlabelled | vague, 0.0, low.correct))
        best = dataclasses.replace(
            high, correct=np.where(unlabelled, 1.0, high.correct), tokens=spent if self.has_tokens else high.tokens
        )
        return failed, best
