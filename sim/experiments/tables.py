"""Tables on standard output of experiments with many methods: a row a method, a column a point of one axis."""

from __future__ import annotations

from collections.abc import Sequence

from sim.experiments.experiment import Axis, Cell, Measurement

__all__ = ["methods_against"]

Measured = Sequence[tuple[Cell, list[Measurement]]]


def methods_against(axis: str, by: str, quantity: str, measured: Measured) -> list[str]:
    """Mean and standard error of ``quantity`` against ``axis``, one table for each value of the axis ``by``."""
    lines = []
    for value in dict.fromkeys(cell[by] for cell, _ in measured):
        mine = [(cell, row) for cell, row in measured if cell[by] == value]
        found = [{m.method: m for m in row if m.quantity == quantity} for _, row in mine]
        methods = list(dict.fromkeys(name for row in found for name in row))
        width = max(map(len, [axis, *methods]))
        unit = next((m.unit for row in found for m in row.values()), "")
        lines.append(f"{by} {value}: {quantity} [{unit}], mean (standard error in units of its last digit)")
        lines.append(f"{axis:>{width}}" + "".join(f" {_short(cell[axis]):>11}" for cell, _ in mine))
        for name in methods:
            shown = (_with_error(row[name]) if name in row else "-" for row in found)
            lines.append(f"{name:>{width}}" + "".join(f" {text:>11}" for text in shown))
    return lines


def _short(value: Axis) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _with_error(measurement: Measurement) -> str:
    """3.14(2): two digits after the point; an error that rounds to nothing is left out."""
    error = round(100.0 * measurement.se)
    return f"{measurement.mean:.2f}({error})" if error else f"{measurement.mean:.2f}"
