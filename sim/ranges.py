"""Ranges of whole numbers: ``A..B``, ``A..B:STEP``, ``A..BxFACTOR`` and comma lists of these and of numbers."""

from __future__ import annotations

import math
import re

__all__ = ["one_horizon", "parse_horizons", "parse_range"]

_SPAN = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})(?::([0-9]{1,9})|x([0-9]{1,9}(?:\.[0-9]{1,9})?))?")
_LARGEST = 10_000_000
_MOST = 100_000


def parse_range(text: str, low: int = 1) -> tuple[int, ...]:
    """The numbers that ``text`` names, increasing, each once.

    ``1..512`` is every number; ``1..512:8`` every eighth from 1; ``1..512x2`` is 1, 2, 4, ... rounded down, each
    once. Raises ``ValueError`` with one line on anything else, on a number below ``low`` and on an empty range.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        numbers.update(_part(part.strip(), text))
        if len(numbers) > _MOST:
            raise ValueError(f"{text}: more than {_MOST} numbers")
    if min(numbers) < low:
        raise ValueError(f"{text}: {min(numbers)} is below {low}")
    return tuple(sorted(numbers))


def parse_horizons(text: str) -> tuple[int, ...]:
    """Horizons that ``--horizon`` names, tokens, increasing. Raises ``ValueError`` with one line that names it."""
    try:
        return parse_range(text)
    except ValueError as error:
        raise ValueError(f"--horizon {error}") from None


def one_horizon(text: str) -> int:
    """The one horizon that ``--horizon`` names, tokens. Raises ``ValueError`` with one line unless it is one."""
    found = parse_horizons(text)
    if len(found) != 1:
        raise ValueError(f"--horizon {text}: expected one horizon")
    return found[0]


def _part(part: str, text: str) -> list[int]:
    if re.fullmatch(r"[0-9]{1,9}", part):
        return [_bounded(int(part), text)]
    match = _SPAN.fullmatch(part)
    if match is None:
        raise ValueError(f"{text}: expected A..B, A..B:STEP, A..BxFACTOR or a comma list, of whole numbers")
    first, last = _bounded(int(match[1]), text), _bounded(int(match[2]), text)
    if first > last:
        raise ValueError(f"{text}: {first} is above {last}")
    if match[4] is not None:
        return _geometric(first, last, float(match[4]), text)
    step = int(match[3] or 1)
    if step == 0:
        raise ValueError(f"{text}: expected a step of at least 1")
    span = range(first, last + 1, step)
    return list(span[: _MOST + 1])


def _geometric(first: int, last: int, factor: float, text: str) -> list[int]:
    if factor <= 1.0 or first == 0:
        raise ValueError(f"{text}: expected a factor above 1 and a start of at least 1")
    steps = math.floor(math.log(last / first) / math.log(factor) + 1e-9)
    return [math.floor(first * factor**i + 1e-9) for i in range(min(steps, _MOST) + 1)]


def _bounded(number: int, text: str) -> int:
    if number > _LARGEST:
        raise ValueError(f"{text}: {number} is above {_LARGEST}")
    return number
