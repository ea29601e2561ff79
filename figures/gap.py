"""Regrets and gaps against the horizon, with intervals, bounds as bands and vacuous regions hatched.

Table: ``gaps.parquet`` of ``python -m sim.sweep --out DIR``. One panel a gap: means with 95% intervals; the band lies
between the lower and the upper bound where they are valid. Hatching marks horizons where the lower bound says nothing; above the
last valid upper bound the band is open and reaches the trivial bound H. Means that are zero or negative do not fit
a logarithmic axis: they are marked at its foot.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figures.style import COLUMN, HATCH, colours, save, style

__all__ = ["draw"]

_TITLES = {
    "vf_regret": r"VF regret  $J(\bar\pi_\kappa)-J(\mathrm{VF})$",
    "ball_gap": r"ball gap  $J(\mathrm{VB\ in\ ball})-J(\mathrm{VF})$",
    "free_gap": r"free gap  $J(\mathrm{VB\ top}\text{-}c)-J(\mathrm{VF})$",
}
_PER_DECADE = 28


def _thinned(H: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices that leave a readable number of points on a logarithmic axis."""
    slots = np.round(np.log10(H) * _PER_DECADE)
    return np.unique(slots, return_index=True)[1]


def _exponent_text(found: dict[str, Any]) -> str:
    if found["estimate"] is None:
        return "no exponent"
    return f"$H^{{{found['estimate']:.2f}}}$, 95% [{found['ci_low']:.2f}, {found['ci_high']:.2f}]"


def _spans(flags: NDArray[np.bool_], H: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Intervals of H over which ``flags`` holds, each reaching half way (in logs) to its neighbours."""
    edges = np.concatenate(([H[0]], np.sqrt(H[1:] * H[:-1]), [H[-1]]))
    change = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(int), [0]))))
    return [(float(edges[a]), float(edges[b])) for a, b in change.reshape(-1, 2)]


def _panel(axes: Any, name: str, rows: dict[str, NDArray[Any]], found: dict[str, Any], colour: str) -> None:
    H, mean, se = rows["horizon"].astype(float), rows["gap_mean"], rows["gap_se"]
    lower_ok, upper_ok = rows["bound_lower_valid"], rows["bound_upper_valid"]
    positive = mean > 0.0
    smallest = float(mean[positive].min()) if positive.any() else 0.1
    floor = 10.0 ** np.floor(np.log10(max(smallest / 2.0, 1e-3)))
    ceiling = 2.0 * float(H[-1])
    low = np.where(lower_ok, np.maximum(rows["bound_lower"], floor), floor)
    high = np.where(upper_ok, rows["bound_upper"], H)
    axes.fill_between(H, low, high, where=lower_ok & upper_ok, color=colour, alpha=0.25, lw=0, label="between the bounds")
    axes.fill_between(
        H, low, high, where=lower_ok & ~upper_ok, color=colour, alpha=0.10, lw=0, label="above the lower bound ($\\leq H$)"
    )
    axes.plot(H, np.where(lower_ok, rows["bound_lower"], np.nan), color=colour, lw=0.8, ls="--", label="lower bound")
    axes.plot(H, np.where(upper_ok, rows["bound_upper"], np.nan), color=colour, lw=0.8, ls=":", label="upper bound")
    label = "lower bound vacuous"
    for left, right in _spans(~lower_ok, H):
        axes.fill_between([left, right], floor, ceiling, facecolor="none", edgecolor="0.6", hatch=HATCH, lw=0, label=label)
        label = "_"
    shown = _thinned(H)
    up = shown[positive[shown]]
    spread = np.vstack([np.minimum(1.96 * se[up], mean[up] * (1 - 1e-9)), 1.96 * se[up]])
    text = f"measured, 95%: {_exponent_text(found)}"
    axes.errorbar(H[up], mean[up], spread, fmt="o", ms=2.2, lw=0.7, color="black", mfc=colour, mew=0.4, label=text)
    down = shown[~positive[shown]]
    if down.size:
        axes.plot(H[down], np.full(down.size, floor * 1.3), "v", ms=3, color="black", mfc="white", mew=0.5, label=r"mean $\leq 0$")
    axes.set(xscale="log", yscale="log", ylim=(floor, ceiling), xlim=(max(H[0] * 0.9, 0.9), H[-1] * 1.1))
    axes.set_ylabel("tokens")
    axes.set_title(_TITLES[name], loc="left")
    axes.legend(loc="upper left", handlelength=1.6, labelspacing=0.25, borderaxespad=0.2)


def draw(results: Path, directory: Path) -> list[Path]:
    """Draw ``gap.png`` and ``gap.svg`` from the tables in ``results``; return what was written."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import pyarrow.parquet as pq

    table = pq.read_table(results / "gaps.parquet")
    summary = json.loads((results / "summary.json").read_text())
    config = json.loads((results / "manifest.json").read_text())["config"]
    gaps = np.asarray(table["gap"])
    names = [name for name in _TITLES if name in gaps]
    with style():
        figure, panels = plt.subplots(
            len(names), 1, figsize=(COLUMN, 0.45 + 2.15 * len(names)), sharex=True, squeeze=False, layout="constrained"
        )
        for axes, name, colour in zip(panels[:, 0], names, colours(), strict=False):
            keep = table.filter(gaps == name)
            rows = {column: np.asarray(keep[column]) for column in keep.column_names}
            _panel(axes, name, rows, summary["exponents"][name], colour)
        panels[-1, 0].set_xlabel("token budget $H$ [tokens]")
        spread = f", s = {config['s']:g}" if config["law"] == "symmetric-two-point" else ""
        rule = config["rule"].replace("*", r" ")
        figure.suptitle(
            f"{config['instance']}, {config['law']}{spread}, {rule}, log2 M = {config['log2_M']}, "
            f"$\\varepsilon$: {config['epsilon']}, {config['seeds']} data sets each",
            fontsize=6.5,
        )
        written = save(figure, directory, "gap")
        plt.close(figure)
    return written
