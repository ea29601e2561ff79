"""What is wrong with the traces, before anything is concluded from them.

Each check that finds something is a :class:`Finding`: what, how many, and what it does to the numbers. ``serious`` ones
can turn a decision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_validation.traces import Traces

__all__ = ["CAP_SHARE", "FEW_SAMPLES", "Finding", "at_a_cap", "quality", "with_caps"]

#: Samples of a problem below which its own spread is hardly known.
FEW_SAMPLES = 8
#: Share of a run's traces of exactly the largest length, from which on that length is taken for a cap.
CAP_SHARE = 0.01
#: How many times as many traces have that length as any of the ten below it.
PILE = 3
#: Longest text, characters, that can be a placeholder; share of the usual tokens below which a length can be one.
PLACEHOLDER, STUB = 4, 0.01
_NOTHING = ("none", "null", "nan", "n/a", "na")
#: Length of text, characters, from which on two traces are not word for word alike by chance.
LONG = 40


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: ``count`` traces (or problems, as ``says`` tells)."""

    name: str
    count: int
    says: str
    serious: bool = False


def at_a_cap(traces: Traces) -> NDArray[np.bool_]:
    """Traces (N,) of exactly the largest length of their run, where they are a pile.

    At least 1% of the run's traces, and 2, have it, and :data:`PILE` times as many as any of the ten lengths below it.
    A provider's cap shows so, whether or not it said that traces were cut off.
    """
    piled = np.zeros(traces.size, dtype=bool)
    order = np.argsort(traces.group, kind="stable")
    order = order[np.isfinite(traces.tokens[order])]
    for mine in np.split(order, np.searchsorted(traces.group[order], np.arange(1, len(traces.groups)))):
        if mine.size < 2:
            continue
        values, counts = np.unique(traces.tokens[mine], return_counts=True)
        below = counts[-11:-1].max(initial=0)
        if values.size > 1 and counts[-1] >= max(2, CAP_SHARE * mine.size, PILE * below):
            piled[mine[traces.tokens[mine] == values[-1]]] = True
    return piled


def with_caps(traces: Traces) -> Traces:
    """Wrong traces at what looks like a cap count as cut off: they failed at budgets up to it, beyond it is unknown."""
    piled = at_a_cap(traces) & (traces.correct != 1.0)
    return dataclasses.replace(traces, truncated=traces.truncated | piled) if piled.any() else traces


def quality(traces: Traces, horizon: int) -> list[Finding]:
    """Everything the checks find at budget ``horizon``, worst first."""
    found = [finding for check in _CHECKS if (finding := check(traces, horizon)) is not None]
    return sorted(found, key=lambda finding: not finding.serious)


def _unlabelled(traces: Traces, horizon: int) -> Finding | None:
    count = int(np.isnan(traces.correct).sum())
    says = "traces of unknown correctness, left out"
    return Finding("unlabelled", count, says, count > 0.05 * traces.size) if count else None


def _cut_off(traces: Traces, horizon: int) -> Finding | None:
    cut = traces.truncated & (traces.correct != 1.0)
    count, below = int(cut.sum()), int((cut & ~(traces.tokens >= horizon)).sum())
    says = f"traces cut off without a correct answer; {below} of them below the budget, of unknown return there"
    return Finding("truncated", count, says, below > 0.01 * traces.size) if count else None


def _capped(traces: Traces, horizon: int) -> Finding | None:
    silent = at_a_cap(traces) & ~traces.truncated & (traces.correct != 1.0)
    count = int(silent.sum())
    says = "wrong traces piled at the longest length of their run and not marked as cut off: probably a cap"
    return Finding("at a cap", count, says, count > 0.01 * traces.size) if count else None


def _no_tokens(traces: Traces, horizon: int) -> Finding | None:
    count = int(np.isnan(traces.tokens).sum())
    if not count or not traces.has_tokens:
        return Finding("no tokens", count, "traces without tokens: H = 1, returns are 0 or 1") if count else None
    says = "traces without tokens among others that have them; correct ones are of unknown return"
    return Finding("tokens missing", count, says, count > 0.05 * traces.size)


def _over_budget(traces: Traces, horizon: int) -> Finding | None:
    count = int((traces.tokens > horizon).sum())
    return Finding("over budget", count, f"traces longer than H = {horizon}: their return is 0") if count else None


def _few(traces: Traces, horizon: int) -> Finding | None:
    counts = np.array(list(_per_problem(traces).values()))
    single, few = int((counts < 2).sum()), int((counts < FEW_SAMPLES).sum())
    if not few:
        return None
    says = f"of {counts.size} problems (per run) have fewer than {FEW_SAMPLES} labelled samples, {single} fewer than 2"
    return Finding("few samples", few, says, few > 0.5 * counts.size)


def _per_problem(traces: Traces) -> dict[tuple[int, int], int]:
    """Labelled samples of each problem in each run in which it occurs."""
    keys, inverse = np.unique(_cells(traces), return_inverse=True)
    counts = np.bincount(inverse, weights=~np.isnan(traces.correct), minlength=keys.size).astype(np.int64)
    problems = max(len(traces.problems), 1)
    return dict(
        zip(zip((keys // problems).tolist(), (keys % problems).tolist(), strict=True), counts.tolist(), strict=True)
    )


def _cells(traces: Traces) -> NDArray[np.int64]:
    """One number for each pair of run and problem, (N,)."""
    return traces.group * max(len(traces.problems), 1) + traces.problem


def _constant(traces: Traces, horizon: int) -> Finding | None:
    labelled = ~np.isnan(traces.correct)
    if not labelled.any():
        return None
    inverse = np.unique(_cells(traces)[labelled], return_inverse=True)[1]
    rates = np.bincount(inverse, weights=traces.correct[labelled]) / np.bincount(inverse)
    never, always = int((rates == 0.0).sum()), int((rates == 1.0).sum())
    says = f"of {rates.size} problems (per run) are answered alike by all samples: {never} never, {always} always right"
    return Finding("constant problems", never + always, says) if never + always else None


def _duplicates(traces: Traces, horizon: int) -> Finding | None:
    if traces.text is None:
        return None
    seen: set[tuple[int, int, str]] = set()
    count = long = 0
    for key in zip(traces.group.tolist(), traces.problem.tolist(), traces.text, strict=True):
        if key in seen and key[2] is not None:
            count, long = count + 1, long + (len(key[2]) >= LONG)
        seen.add(key)
    if not count:
        return None
    says = f"traces word for word like another of their problem, {long} of them of {LONG} characters or more: "
    says += "samples may not be independent" if long else "short answers repeat by chance"
    return Finding("duplicates", count, says, long > 0.2 * traces.size)


def _placeholders(traces: Traces, horizon: int) -> Finding | None:
    if traces.text is None:
        return None
    count = sum(value is None or _is_empty(value.strip()) for value in traces.text)
    return (
        Finding("placeholders", count, "texts without a letter or digit, or that say only none or n/a")
        if count
        else None
    )


def _is_empty(text: str) -> bool:
    return len(text) <= PLACEHOLDER and (text.lower() in _NOTHING or not any(map(str.isalnum, text)))


def _stub_lengths(traces: Traces, horizon: int) -> Finding | None:
    """Lengths that no trace of the run has: far below the usual one, and never right."""
    count = 0
    for number in range(len(traces.groups)):
        mine = (traces.group == number) & np.isfinite(traces.tokens)
        usual = float(np.median(traces.tokens[mine])) if mine.any() else 0.0
        short = mine & (traces.tokens < STUB * usual)
        count += 0 if (traces.correct[short] == 1.0).any() else int(short.sum())
    says = f"traces of under {STUB:.0%} of the usual length of their run, none of them right: perhaps placeholders"
    return Finding("placeholder lengths", count, says, count > 0.05 * traces.size) if count else None


def _mixed(traces: Traces, horizon: int) -> Finding | None:
    count = len(traces.groups)
    return (
        Finding("several runs", count, "models or runs in the traces: each is diagnosed on its own")
        if count > 1
        else None
    )


_CHECKS: tuple[Callable[[Traces, int], Finding | None], ...] = (
    _unlabelled,
    _cut_off,
    _capped,
    _no_tokens,
    _over_budget,
    _few,
    _constant,
    _duplicates,
    _placeholders,
    _stub_lengths,
    _mixed,
)
