"""Measured quantities against one axis, a line a method: the plain figure of a named experiment.

Table: ``results.parquet`` of ``python -m sim.sweep --experiment NAME --out DIR``. One panel for each quantity and each
value of the other axes; means with 95% intervals of sampling, exact values as lines without them. A bound is drawn, in
its method's colour, only where it is valid: lower dashed, upper dotted. Predictions, which no theorem proves there, are
dash-dotted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from figures.style import COLUMN, MARKERS, colours, save, style

__all__ = ["CURVES", "Curves", "draw"]


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn of one experiment: the axis, the quantities, the axes that make panels of their own."""

    x: str
    x_label: str
    quantities: dict[str, tuple[str, str]]  # (several: words of one key) with label and scale of the vertical axis
    panels_by: tuple[str, ...] = ()
    x_scale: str = "linear"
    ncols: int = 1


_DIFFERENCE = ("difference in $J$ [tokens]", "linear")
_REGRET, _SMALL_REGRET = ("regret [tokens]", "symlog"), ("regret [tokens]", "linear")

#: Name of the experiment -> what is drawn of it.
CURVES = {
    "heterogeneity": Curves(
        "sigma",
        r"heterogeneity $\sigma$ [tokens]",
        {"J": ("$J$ [tokens]", "linear"), "vf_regret free_gap equal_draws_gap trained_gap": _DIFFERENCE},
    ),
    "scaling-n": Curves("n", "traces $n$", {"regret": _REGRET}, ("task",), x_scale="log"),
    "compute": Curves(
        "length",
        "length $h$ of a trace [tokens]",
        {"solved": ("probability solved", "linear")},
        ("mixture", "accounting"),
        x_scale="log",
        ncols=2,
    ),
    "kappa": Curves("kappa", r"radius $\kappa$", {"J": ("$J$ [tokens]", "linear")}, ("task",), x_scale="log", ncols=2),
    "label-noise": Curves("eta", r"labels flipped, $\eta$", {"regret": _SMALL_REGRET}, ("task",)),
    "parity-cost": Curves("k", r"$k=\log_2M$", {"seconds": ("time to learn [s]", "log")}, x_scale="log"),
    "planted-horizon": Curves(
        "horizon",
        "token budget $H$ [tokens]",
        {"J": ("$J$ [tokens]", "log"), "vf_regret ball_gap free_gap": ("difference in $J$ [tokens]", "symlog")},
        ("base",),
        x_scale="log",
        ncols=2,
    ),
}

Rows = list[dict[str, Any]]


#: Colour of a method's line, mark, and what fills it.
Look = tuple[str, str, str]


def _look(number: int) -> Look:
    """Ten colours; from the eleventh method on the marks are filled."""
    colour = colours()[number % 10]
    return colour, MARKERS[number % len(MARKERS)], "white" if number < 10 else colour


def _panels(curves: Curves, rows: Rows) -> Iterator[tuple[str, tuple[str, str], Rows]]:
    """Title, label and scale of the vertical axis, rows of each panel, in the order of the table."""
    for quantity, label in curves.quantities.items():
        of_quantity = [row for row in rows if row["quantity"] in quantity.split()]
        for values in dict.fromkeys(tuple(row[name] for name in curves.panels_by) for row in of_quantity):
            mine = [row for row in of_quantity if tuple(row[name] for name in curves.panels_by) == values]
            yield ", ".join(str(value) for value in values), label, mine


def _line(axes: Any, curves: Curves, rows: Rows, look: Look) -> None:
    colour, mark, face = look

    def column(name: str) -> Any:
        return np.array([row[name] for row in rows], dtype=np.float64)

    x, mean, se = column(curves.x), column("mean"), column("se")
    axes.errorbar(x, mean, 1.96 * se, fmt=mark, ls="-", ms=2.8, lw=0.8, color=colour, mew=0.5, mfc=face)
    for side, dashes in (("lower", "--"), ("upper", ":")):
        valid = np.array([row[f"bound_{side}_valid"] for row in rows], dtype=bool)
        if valid.any():
            axes.plot(x, np.where(valid, column(f"bound_{side}"), np.nan), color=colour, ls=dashes, lw=0.9)
    prediction = column("prediction")
    if np.isfinite(prediction).any():
        axes.plot(x, prediction, color=colour, ls="-.", lw=0.7)


def _panel(
    axes: Any, curves: Curves, title: str, vertical: tuple[str, str], rows: Rows, looks: dict[str, Look]
) -> None:
    for method, look in looks.items():
        mine = sorted((row for row in rows if row["method"] == method), key=lambda row: float(row[curves.x]))
        if mine:
            _line(axes, curves, mine, look)
    axes.set_xscale(curves.x_scale)
    if vertical[1] == "symlog":
        largest = float(np.abs([row["mean"] for row in rows]).max(initial=0.0))
        axes.set_yscale("symlog", linthresh=10.0 ** np.ceil(np.log10(max(largest, 1e-9) * 1e-3)), linscale=0.5)
    else:
        axes.set_yscale(vertical[1])
    if curves.x_scale == "log":
        _plain_ticks(axes, sorted({float(row[curves.x]) for row in rows if row[curves.x] > 0}))
    axes.set(xlabel=curves.x_label, ylabel=vertical[0])
    if title:
        axes.set_title(title, loc="left")


def _plain_ticks(axes: Any, values: list[float]) -> None:
    """Ticks of a logarithmic axis at values that occur, about six of them, written out."""
    if not values or max(values) / min(values) > 1e4:
        return  # powers of ten read better
    wanted = np.geomspace(values[0], values[-1], 6)
    kept = sorted({min(values, key=lambda value: abs(np.log(value / target))) for target in wanted})
    axes.set_xticks(kept, [f"{value:.3g}" if value < 1_000 else f"{value:,.0f}" for value in kept])
    axes.minorticks_off()


def _key(figure: Any, looks: dict[str, Look], rows: Rows) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=mark, ms=2.8, lw=0.8, mfc=face, label=method)
        for method, (colour, mark, face) in looks.items()
    ]
    drawn = {
        "lower bound": ("--", any(row["bound_lower_valid"] for row in rows)),
        "upper bound": (":", any(row["bound_upper_valid"] for row in rows)),
        "prediction, not proved here": ("-.", any(np.isfinite(row["prediction"]) for row in rows)),
    }
    handles += [Line2D([], [], color="0.35", ls=ls, lw=0.9, label=name) for name, (ls, used) in drawn.items() if used]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=2.2, columnspacing=1.0)


def _setting(name: str, config: dict[str, Any]) -> str:
    """The experiment, and of its settings those that are one for all panels."""
    keys = ("horizon",) if "task" in CURVES[name].panels_by else ("horizon", "rule", "log2_M")
    names = {"horizon": "H = ", "rule": "", "log2_M": "log2 M = "}
    known = [names[key] + str(config[key]) for key in keys if key in config]
    return ", ".join([name, *known, f"{config['seeds']} data sets", f"seed {config['seed']}"])


def draw(name: str, results: Path, directory: Path) -> list[Path]:
    """Draw ``NAME.png`` and ``NAME.svg`` from the table in ``results``; return what was written."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import pyarrow.parquet as pq

    curves = CURVES[name]
    rows = [
        row
        for row in pq.read_table(results / "results.parquet").to_pylist()
        if row["quantity"] in " ".join(curves.quantities).split()
    ]
    config = json.loads((results / "manifest.json").read_text())["config"]
    methods = dict.fromkeys(row["method"] for row in rows)
    looks = {m: _look(i) for i, m in enumerate(methods)}
    panels = list(_panels(curves, rows))
    height = -(-len(panels) // curves.ncols)
    with style():
        figure, grid = plt.subplots(
            height,
            curves.ncols,
            figsize=(COLUMN * curves.ncols, 0.6 + 0.09 * len(looks) + 2.0 * height),
            squeeze=False,
            layout="constrained",
        )
        for axes, (title, vertical, mine) in zip(grid.flat, panels, strict=False):
            _panel(axes, curves, title, vertical, mine, looks)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        _key(figure, looks, rows)
        figure.suptitle(_setting(name, config), fontsize=7)
        written = save(figure, directory, name)
        plt.close(figure)
    return written
