"""Map over (n, c) of who wins on the rare-success family: what is proved, and what the simulated optimal learners do.

Files: ``results.parquet``, ``summary.json``, ``manifest.json`` of ``python -m sim.sweep --experiment crossover``. One
panel a version. Strong colour and hatch: bounds say who wins, on an explicit learner or on the optimal ones. Pale: a
garbling says who is never worse, and nothing how far they are apart. White: undecided. Marks: simulated difference of
the optimal learners beyond 5 standard errors; a mark is the larger the larger the difference. Lines: traces with which
either learner can tell M hypotheses apart, log M/KL(p_e, c) for VF and log M/h(c) for VB.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figures.style import COLUMN, colours, save, style

__all__ = ["draw"]

_TITLES = {
    "outside": "VF: $n$ traces of a perfect expert",
    "outside-noisy": "VF: $n$ traces of an expert with $p_e$ = {p_e:g}",
    "equal-draws": "VF: the solved ones of VB's $n$ draws",
}
_HATCH = {"VF": "/////", "VB": "\\\\\\\\\\", "equal": "....."}
_MARK = {"VF": "^", "VB": "o"}


def _paint() -> dict[str, str]:
    shades = colours()
    return {"VF": shades[1], "VB": shades[0], "equal": "0.6"}


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Borders of cells around increasing positive ``values`` on a logarithmic axis."""
    logs = np.log2(values)
    steps = np.diff(logs) if logs.size > 1 else np.ones(1)
    middle = logs[:-1] + np.diff(logs) / 2.0
    return np.asarray(2.0 ** np.concatenate(([logs[0] - steps[0] / 2.0], middle, [logs[-1] + steps[-1] / 2.0])))


def _area(difference: float) -> float:
    """Area of a mark, points^2: four decades of the difference are told apart."""
    return 1.5 + 2.6 * (math.log10(max(abs(difference), 1e-4)) + 4.0)


def _cells(axes: Any, cells: list[dict[str, Any]], edges: dict[str, dict[float, tuple[float, float]]]) -> None:
    from matplotlib.patches import Rectangle

    paint = _paint()
    for cell in cells:
        (left, right), (low, high) = edges["n"][cell["n"]], edges["V"][cell["V"]]
        certified = cell["bounds"] if cell["bounds"] != "undecided" else cell["enclosures"]
        who = certified if certified != "undecided" else cell["proven"]
        if who == "undecided":
            continue
        sure = certified != "undecided" or who == "equal"
        box = Rectangle(
            (left, low),
            right - left,
            high - low,
            facecolor=paint[who],
            alpha=0.55 if sure else 0.18,
            lw=0,
        )
        axes.add_patch(box)
        if sure:
            lines = Rectangle((left, low), right - left, high - low, facecolor="none", edgecolor="white", lw=0)
            lines.set_hatch(_HATCH[who])
            axes.add_patch(lines)


def _panel(
    axes: Any,
    cells: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    measured: dict[tuple[int, int], float],
    edges: dict[str, dict[float, tuple[float, float]]],
) -> None:
    _cells(axes, cells, edges)
    for who, mark in _MARK.items():
        seen = [cell for cell in cells if cell["simulated"] == who]
        axes.scatter(
            [cell["n"] for cell in seen],
            [cell["V"] for cell in seen],
            s=[_area(measured[cell["V"], cell["n"]]) for cell in seen],
            marker=mark,
            color="black",
            lw=0,
            zorder=3,
        )
    for name, dashes in (("threshold_vf", "--"), ("threshold_vb", "-")):
        line = [(row[name], row["V"]) for row in rows if row[name] is not None]
        if line:
            axes.plot(*zip(*line, strict=True), color="black", ls=dashes, lw=0.9, zorder=2)
    told = {cell["V"] for cell in cells}
    for V, (low, high) in edges["V"].items():
        if V not in told:
            axes.text(0.5, np.sqrt(low * high), "$p_e < c$: no better expert", ha="center", va="center", fontsize=7,
                      transform=axes.get_yaxis_transform())  # fmt: skip


def _key(figure: Any) -> None:
    """What colours, marks and lines mean, once for all panels, below them."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    paint = _paint()
    handles = [
        *(
            Patch(facecolor=paint[who], alpha=0.55, edgecolor="white", hatch=_HATCH[who], lw=0, label=label)
            for who, label in (("VF", "VF better, proved"), ("VB", "VB better, proved"))
        ),
        *(
            Patch(facecolor=paint[who], alpha=0.18, lw=0, label=label)
            for who, label in (("VF", "VF never worse"), ("VB", "VB never worse"))
        ),
        Patch(facecolor=paint["equal"], alpha=0.55, edgecolor="white", hatch=_HATCH["equal"], lw=0, label="equal"),
        Patch(facecolor="white", edgecolor="0.6", lw=0.5, label="undecided"),
        Line2D([], [], marker="^", ls="", ms=3.5, color="black", label="simulated (5 SE): VF"),
        Line2D([], [], marker="o", ls="", ms=3.5, color="black", label="simulated (5 SE): VB"),
        Line2D([], [], color="black", ls="--", lw=0.9, label="VF learns: log $M$/KL"),
        Line2D([], [], color="black", ls="-", lw=0.9, label="VB learns: log $M$/$h(c)$"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=1.8, columnspacing=1.0, fontsize=7)


def draw(results: Path, directory: Path) -> list[Path]:
    """Draw ``crossover.png`` and ``crossover.svg`` from the files in ``results``; return what was written."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import pyarrow.parquet as pq

    summary = json.loads((results / "summary.json").read_text())
    config = json.loads((results / "manifest.json").read_text())["config"]
    table = pq.read_table(results / "results.parquet", columns=["version", "V", "n", "quantity", "mean"]).to_pylist()
    borders = {"n": _edges(np.array(config["traces"], dtype=float)), "V": _edges(np.array(config["tokens"], float))}
    edges = {
        name: dict(zip(config[option], zip(borders[name], borders[name][1:], strict=False), strict=True))
        for name, option in (("n", "traces"), ("V", "tokens"))
    }
    versions = [version for version in _TITLES if version in config["versions"]]
    with style():
        figure, panels = plt.subplots(
            len(versions), 1, figsize=(COLUMN, 1.5 + 1.55 * len(versions)), sharex=True, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for axes, version in zip(panels[:, 0], versions, strict=True):
            measured = {
                (row["V"], row["n"]): row["mean"]
                for row in table
                if row["version"] == version and row["quantity"] == "difference"
            }
            cells, rows = ([x for x in summary[name] if x["version"] == version] for name in ("map", "rows"))
            axes.set(xscale="log", yscale="log", xlim=borders["n"][[0, -1]], ylim=borders["V"][[0, -1]])
            _panel(axes, cells, rows, measured, edges)
            axes.set_yticks(config["tokens"], [f"1/{V}" for V in config["tokens"]])
            axes.minorticks_off()
            axes.set_title(_TITLES[version].format(**config), loc="left")
            axes.set_ylabel("$c$ [solved per base draw]")
        panels[-1, 0].set_xlabel("$n$ [traces of each; at the bottom base draws]")
        _key(figure)
        figure.suptitle(
            f"rare success, log2 M = {config['log2_M']}, {config['seeds']} data sets a cell",
            fontsize=7,
        )
        written = save(figure, directory, "crossover")
        plt.close(figure)
    return written
