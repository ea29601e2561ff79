"""Where things are measured, and means over seeds with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Place", "Row", "Spread", "spread"]

Row = dict[str, Any]


class Place(NamedTuple):
    """Where policies are compared: level, horizon (tokens), n (traces)."""

    level: int
    horizon: int
    n: int


class Spread(NamedTuple):
    """Mean over so many ``seeds`` with its 95% interval (Student's t; NaN with one seed)."""

    mean: float
    low: float
    high: float
    seeds: int

    def columns(self, name: str) -> Row:
        """Columns ``name``, ``name_low``, ``name_high``."""
        return {name: self.mean, f"{name}_low": self.low, f"{name}_high": self.high}


def spread(values: Iterable[float]) -> Spread:
    """Mean and interval over those of ``values`` that are not NaN; all NaN if none is."""
    found = [value for value in values if not math.isnan(value)]
    k = len(found)
    if not k:
        return Spread(math.nan, math.nan, math.nan, 0)
    mean = math.fsum(found) / k
    if k == 1:
        return Spread(mean, math.nan, math.nan, 1)
    from scipy.special import stdtrit

    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in found) / (k - 1))
    half = float(stdtrit(k - 1, 0.975)) * deviation / math.sqrt(k)
    return Spread(mean, mean - half, mean + half, k)
