"""What the figures of the didactic experiment read, and what they share: selection, intervals over seeds, axes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Row", "Run", "chosen", "marks", "number", "over_seeds", "read_run", "upto"]

Row = dict[str, Any]


def number(value: Any) -> float:
    """A float; NaN for what JSON or a table leaves out."""
    return math.nan if value is None else float(value)


def chosen(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """The rows with these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def over_seeds(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of ``values`` and its 95% interval (Student's t, one value a seed; NaN with fewer than two)."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan, math.nan, math.nan
    mean = sum(known) / len(known)
    if len(known) < 2:
        return mean, math.nan, math.nan
    from scipy.special import stdtrit

    deviation = math.sqrt(sum((value - mean) ** 2 for value in known) / (len(known) - 1))
    half = float(stdtrit(len(known) - 1, 0.975)) * deviation / math.sqrt(len(known))
    return mean, mean - half, mean + half


def marks(
    axes: Any,
    x: Sequence[float],
    found: Sequence[tuple[float, float, float]],
    colour: str,
    mark: str,
    shift: float = 0.0,
    joined: bool = True,
) -> None:
    """Means with their intervals (mean, low, high), moved ``shift`` points to the right to be told apart."""
    from matplotlib.transforms import ScaledTranslation

    mean = [middle for middle, _, _ in found]
    spread = [[middle - low for middle, low, _ in found], [high - middle for middle, _, high in found]]
    axes.errorbar(
        x,
        mean,
        spread,
        fmt=mark,
        ls="-" if joined else "",
        ms=2.8,
        lw=0.8,
        color=colour,
        mew=0.5,
        mfc="white",
        elinewidth=0.6,
        transform=axes.transData + ScaledTranslation(shift / 72.0, 0.0, axes.figure.dpi_scale_trans),
    )
    ends = [(at, value) for at, values in zip(x, found, strict=True) for value in values if math.isfinite(value)]
    if ends:  # moved marks do not count for the limits by themselves
        axes.update_datalim(ends)
        axes.autoscale_view()


def upto(axes: Any, values: Sequence[float]) -> None:
    """A logarithmic horizontal axis with a tick at each of ``values``."""
    axes.set_xscale("log")
    axes.set_xticks(list(values), [f"{value:g}" for value in values])
    axes.minorticks_off()


@dataclass(frozen=True, slots=True)
class Run:
    """Tables of one run."""

    recipe: dict[str, Any]
    summary: dict[str, Any]
    policies: list[Row]
    gaps: list[Row]
    verifier: list[Row]
    rl: list[Row]

    def returns(self, **wanted: Any) -> list[Row]:
        """Rows of returns.parquet with these values."""
        return chosen(self.policies, **wanted)

    @property
    def shares(self) -> list[float]:
        """Levels of heterogeneity, shares of the dial."""
        return list(self.recipe["task"]["levels"])

    @property
    def horizons(self) -> list[int]:
        """Token budgets."""
        return list(self.recipe["grid"]["horizons"])

    @property
    def n(self) -> list[int]:
        """Data sizes, traces."""
        return list(self.recipe["grid"]["n"])

    @property
    def middle(self) -> int:
        """The horizon nearest (in logs) to that at which levels have one mean return."""
        matched = math.log(self.recipe["task"]["matched_at"])
        return min(self.horizons, key=lambda H: abs(math.log(H) - matched))

    @property
    def most(self) -> int:
        """The largest number of draws of which one is kept."""
        return int(self.recipe["best_of_n"]["N"][-1])

    @property
    def setting(self) -> str:
        """One line for the head of a figure."""
        task, grid = self.recipe["task"], self.recipe["grid"]
        of_task = f"|V| = {task['V']}, $\\ell$ = {task['ell']}"
        return f"recipe {self.recipe['name']}: {of_task}; {grid['seeds']} seeds, 95% intervals"


def read_run(results: Path) -> Run:
    """Tables of the run in ``results``. Raises ``OSError``, ``pyarrow.ArrowException`` or ``KeyError``."""
    import pyarrow.parquet as pq

    def rows(name: str) -> list[Row]:
        found: list[Row] = pq.read_table(results / name).to_pylist()
        return found

    return Run(
        recipe=json.loads((results / "manifest.json").read_text())["config"]["recipe"],
        summary=json.loads((results / "summary.json").read_text()),
        policies=rows("returns.parquet"),
        gaps=rows("gaps.parquet"),
        verifier=rows("verifier/results.parquet"),
        rl=rows("rl/results.parquet"),
    )
