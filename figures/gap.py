"""Regrets and gaps against the horizon, with intervals, bounds as bands and vacuous regions hatched.

Table: ``gaps.parquet`` of ``python -m sim.sweep --out DIR``. One panel a gap: means with 95% intervals; the band lies
between the lower and the upper bound where both are valid. Where the upper bound says nothing the band reaches the
trivial H and is dotted; where the lower bound says nothing the whole height is hatched. Means that are zero or
negative do not fit a logarithmic axis: they are marked at its foot.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figures.style import COLUMN, LOWER_HATCH, UPPER_HATCH, colours, save, style

__all__ = ["draw"]

_TITLES = {
    "vf_regret": r"VF regret: best expert of the ball $-$ optimal VF",
    "ball_gap": r"ball gap: VB in the ball $-$ optimal VF",
    "free_gap": r"free gap: VB top-$c$, unrestricted $-$ optimal VF",
}
_PER_DECADE = 18
IDENTIFIED = 1.5  # the fit uses horizons with n >= 1.5 log2 M


def _thinned(H: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices that leave a readable number of points on a logarithmic axis."""
    slots = np.round(np.log10(H) * _PER_DECADE)
    return np.unique(slots, return_index=True)[1]


def _exponent_text(found: dict[str, Any]) -> str:
    if found["estimate"] is None or found["ci_low"] is None:
        return "no exponent (too few horizons)"
    return f"fitted $H^{{{found['estimate']:.3f}}}$, 95% [{found['ci_low']:.3f}, {found['ci_high']:.3f}]"


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
    high = np.where(upper_ok, rows["bound_upper"], H)  # H is the trivial bound
    axes.fill_between(H, low, high, where=lower_ok & upper_ok, color=colour, alpha=0.28, lw=0)
    axes.fill_between(
        H, low, H, where=lower_ok & ~upper_ok, facecolor=colour, alpha=0.22, edgecolor="0.25", hatch=UPPER_HATCH, lw=0
    )
    axes.plot(H, np.where(lower_ok, rows["bound_lower"], np.nan), color=colour, lw=0.9, ls="--")
    axes.plot(H, np.where(upper_ok, rows["bound_upper"], np.nan), color=colour, lw=0.9, ls=":")
    for left, right in _spans(~lower_ok, H):
        axes.fill_between([left, right], floor, ceiling, facecolor="none", edgecolor="0.65", hatch=LOWER_HATCH, lw=0)
    shown = _thinned(H)
    up = shown[positive[shown]]
    spread = np.vstack([np.minimum(1.96 * se[up], mean[up] * (1 - 1e-9)), 1.96 * se[up]])
    axes.errorbar(
        H[up],
        mean[up],
        spread,
        fmt="o",
        ms=2.2,
        lw=0.7,
        color="black",
        mfc=colour,
        mew=0.4,
        label=_exponent_text(found),
    )
    if found["estimate"] is not None:
        fitted = positive & (rows["n"] >= IDENTIFIED * rows["log2_M"])
        middle, level = (float(np.exp(np.mean(np.log(x[fitted])))) for x in (H, mean))
        axes.plot(H[fitted], level * (H[fitted] / middle) ** found["estimate"], color="black", lw=0.7, zorder=1)
    down = shown[~positive[shown]]
    axes.plot(H[down], np.full(down.size, floor * 1.4), "v", ms=3, color="black", mfc="white", mew=0.5)
    axes.set(xscale="log", yscale="log", ylim=(floor, ceiling), xlim=(max(H[0] * 0.9, 0.9), H[-1] * 1.1))
    axes.set_ylabel("difference in $J$ [tokens]")
    axes.set_title(_TITLES[name], loc="left")
    axes.legend(loc="upper left", handlelength=1.2, frameon=True, framealpha=1.0, edgecolor="none", borderaxespad=0.3)


def _key(figure: Any) -> None:
    """What marks and bands mean, once for all panels, below them."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    grey = "0.35"
    handles = [
        Line2D([], [], marker="o", ls="", ms=3, color="black", mfc=grey, label="measured (thinned), 95%"),
        Line2D([], [], marker="v", ls="", ms=3, color="black", mfc="white", label="measured mean below 0"),
        Line2D([], [], color="black", lw=0.9, label="fitted power of H"),
        Line2D([], [], color=grey, ls="--", lw=0.9, label="lower bound"),
        Line2D([], [], color=grey, ls=":", lw=0.9, label="upper bound"),
        Patch(facecolor="0.8", label="between the bounds"),
        Patch(facecolor="0.9", edgecolor="0.25", hatch=UPPER_HATCH, lw=0, label="upper bound vacuous"),
        Patch(facecolor="none", edgecolor="0.65", hatch=LOWER_HATCH, lw=0, label="lower bound vacuous"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=1.8, columnspacing=1.0)


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
            len(names), 1, figsize=(COLUMN, 1.0 + 1.75 * len(names)), sharex=True, squeeze=False, layout="constrained"
        )
        for axes, name, colour in zip(panels[:, 0], names, colours(), strict=False):
            keep = table.filter(gaps == name)
            rows = {column: np.asarray(keep[column]) for column in keep.column_names}
            _panel(axes, name, rows, summary["exponents"][name], colour)
        panels[-1, 0].set_xlabel("token budget $H$ [tokens]")
        spread = f", s = {config['s']:g}" if config["law"] == "symmetric-two-point" else ""
        rule = config["rule"].replace("*", r" ")
        _key(figure)
        figure.suptitle(
            f"{config['instance']}, {config['law']}{spread}, {rule}, log2 M = {config['log2_M']}, "
            f"$\\varepsilon$: {config['epsilon']}, {config['seeds']} data sets each",
            fontsize=6.5,
        )
        written = save(figure, directory, "gap")
        plt.close(figure)
    return written
