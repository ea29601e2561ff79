"""Printed tables: widths, digits, what is left out."""

from __future__ import annotations

import numpy as np

from sim.experiments.experiment import Cell, Measurement
from sim.experiments.tables import WIDTH, methods_against


def measured(means: list[float], spread: float) -> list[tuple[Cell, list[Measurement]]]:
    """One cell a mean, a method of four trials around it; every other cell has an exact one besides."""
    found = []
    for i, mean in enumerate(means):
        row = [Measurement("J", "sampled", "tokens", mean + spread * np.array([-1.0, 1.0, -1.0, 1.0]))]
        row += [Measurement("J", "exact", "tokens", exact=mean)] if i % 2 else []
        found.append((Cell("e", {"task": "a", "n": i + 1}, 0), row))
    return found


def test_digits_follow_the_largest_mean() -> None:
    """Two decimals beside hundreds, four beside shares; the error in units of the last digit; 0 for rounding."""
    lines = methods_against(["n"], ["task"], "J", measured([312.5, 1e-13], 3.0))
    assert lines[0].startswith("task a: J [tokens], mean")
    assert lines[2].split() == ["sampled", "312.50(173)", "0.00(173)"]
    assert lines[3].split() == ["exact", "-", "0.00"]
    shares = methods_against(["n"], ["task"], "J", measured([0.25, 5e-5], 0.0))
    assert shares[2].split() == ["sampled", "0.2500", "5.00e-05"]


def test_wide_tables_are_split() -> None:
    """No line is wider than a terminal, and no column is lost."""
    lines = methods_against(["n"], ["task"], "J", measured([float(i) for i in range(100, 150)], 0.5))
    assert max(map(len, lines)) <= WIDTH
    shown = [text for line in lines if line.strip().startswith("n ") for text in line.split()[1:]]
    assert shown == [str(i + 1) for i in range(50)]


def test_a_quantity_nobody_measured_has_no_table() -> None:
    """Nothing is printed of what is not there."""
    assert methods_against(["n"], ["task"], "regret", measured([1.0], 0.0)) == []
