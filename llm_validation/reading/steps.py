r"""Rewards of every step of a trace: 0 until it is solved, 1 from then on (*bi-level*).

With c ones among L entries the trace is solved at step L - c + 1, and not at all if c = 0; whether it is solved is the
last entry. Lists that are anything else (rewards of a process model, 1 for the last step only and 0 after it) have no
time of solving and are refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.reading.layouts import Long, brief
from llm_validation.traces import TraceError

__all__ = ["Steps", "read_steps"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Of N traces, (N,) each, NaN where a trace has no list."""

    until_solved: Floats  # all of them if it never is
    length: Floats
    correct: Floats  # 1 or 0: the last entry


def read_steps(long: Long, where: str) -> Steps | None:
    """The column ``step_rewards``: lists, or JSON of them; None without it. Raises :class:`TraceError`."""
    if "step_rewards" not in long.columns:
        return None
    column = long.columns["step_rewards"]
    length, ones = (np.full(len(column), math.nan) for _ in range(2))
    for entry, value in enumerate(column):
        rewards = _as_list(value, f"{where}: {long.row(entry)}")
        if rewards:
            length[entry] = len(rewards)
            ones[entry] = _ones(rewards, f"{where}: {long.row(entry)}")
    return Steps(np.where(ones > 0.0, length - ones + 1.0, length), length, np.where(ones > 0.0, 1.0, ones))


def _as_list(value: Any, place: str) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise TraceError(f"{place}: step_rewards is {brief(value)}, expected a list") from None
    if value is None:
        return []
    if not isinstance(value, list):
        raise TraceError(f"{place}: step_rewards is {brief(value)}, expected a list")
    return value


def _ones(rewards: Sequence[Any], place: str) -> int:
    """How many ones, all of them at the end."""
    if not all(isinstance(reward, int | float) and reward in (0, 1) for reward in rewards):
        bad = next(r for r in rewards if not (isinstance(r, int | float) and r in (0, 1)))
        raise TraceError(f"{place}: step_rewards holds {brief(bad)}, expected 0s and then 1s")
    ones = int(sum(rewards))
    if not all(rewards[len(rewards) - ones :]):
        raise TraceError(f"{place}: step_rewards fall from 1 to 0, expected 0s and then 1s")
    return ones
