"""Tables on standard output: a row a method, a column a point, split where a line would be too wide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.experiments.experiment import Axis, Cell, Measurement

    Measured = Sequence[tuple[Cell, list[Measurement]]]

__all__ = ["WIDTH", "methods_against"]

#: Columns of characters that a line may take.
WIDTH = 120


def methods_against(against: Sequence[str], by: Sequence[str], quantity: str, measured: Measured) -> list[str]:
    """Mean and standard error of ``quantity`` against the axes ``against``, one table for each value of ``by``."""
    lines = []
    for values in dict.fromkeys(tuple(cell[name] for name in by) for cell, _ in measured):
        mine = [(cell, row) for cell, row in measured if tuple(cell[name] for name in by) == values]
        if any(m.quantity == quantity for _, row in mine for m in row):
            where = ", ".join(f"{name} {_short(value)}" for name, value in zip(by, values, strict=True))
            lines += _table(against, where, quantity, mine)
    return lines


def _table(against: Sequence[str], where: str, quantity: str, mine: Measured) -> list[str]:
    found = [{m.method: m for m in row if m.quantity == quantity} for _, row in mine]
    methods = list(dict.fromkeys(name for row in found for name in row))
    unit = next((m.unit for row in found for m in row.values()), "")
    largest = max((abs(m.mean) for row in found for m in row.values()), default=1.0)
    columns = [
        [*(_short(cell[name]) for name in against), *(_with_error(row.get(name), largest) for name in methods)]
        for (cell, _), row in zip(mine, found, strict=True)
    ]
    names = [*against, *methods]
    label = max(map(len, names))
    width = max(len(text) for column in columns for text in column)
    at_once = max(1, (WIDTH - label) // (width + 1))
    title = f"{quantity} [{unit}], mean (standard error in units of its last digit)"
    lines = [f"{where}: {title}" if where else title]
    for start in range(0, len(columns), at_once):
        piece = columns[start : start + at_once]
        lines += [
            f"{name:>{label}}" + "".join(f" {column[i]:>{width}}" for column in piece) for i, name in enumerate(names)
        ]
    return lines


def _short(value: Axis) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _with_error(measurement: Measurement | None, largest: float) -> str:
    """3.14(2): four digits of the ``largest`` mean, at least two decimals; an error that rounds to nothing is left out.

    Means too small for these decimals are written with an exponent, rounding of the largest as 0.
    """
    if measurement is None:
        return "-"
    decimals = max(2, 3 - math.floor(math.log10(largest))) if largest > 0.0 else 2
    size = abs(measurement.mean)
    if 1e-9 * largest < size < 10.0 ** (1 - decimals) and 2.0 * measurement.se < 10.0**-decimals:
        return f"{measurement.mean:.2e}"  # its error would round to nothing
    error = round(10.0**decimals * measurement.se)
    mean = round(measurement.mean, decimals) + 0.0
    return f"{mean:.{decimals}f}" + (f"({error})" if error else "")
