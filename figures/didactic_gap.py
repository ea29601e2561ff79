"""Measured gaps, VF regrets and verifier errors over the closed forms of theory with fitted sizes of classes.

One panel a quantity: each cell's mean over seeds with its 95% interval against what the closed form predicts there. The
sizes L (nats) are fitted to the hollow half of the cells; the filled half judges. Grey cells are outside the window in
which the lower bound is proven (or its class has fewer than two members); a cross lies over a cell whose upper bound is
above H. The diagonal is equality. On a trained network lower bounds are predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from figures.didactic_tables import Row, Run, number
from figures.style import COLUMN, colours

__all__ = ["figure_of"]

_TITLES = {
    "best-of-n - equal-draws": "gap: best of {N} $-$ VF",
    "rl - equal-draws": "gap: RL $-$ VF",
    "expert - equal-draws": "VF regret, $n$ draws",
    "expert - equal-traces": "VF regret, $n$ solved",
    "epsilon_ver": r"$\varepsilon_{\mathrm{ver}}$",
}
_FORMS = {
    "gap-regret": r"$\sigma\sqrt{L_\Pi/8n}-\frac{H}{c}\,\frac{1+L_R}{n}$",
    "vf-lower": r"$\sigma\sqrt{L_\Pi/8n}$",
    "verifier-erm": r"$H\,(1+L_R)/n$",
}
_SIZES = {"L_Pi": r"L_\Pi", "L_R": "L_R"}


def _cells(axes: Any, cells: Sequence[Row], colour: str) -> None:
    for cell in cells:
        measured, low, high = (number(cell[name]) for name in ("measured", "measured_low", "measured_high"))
        edge = "0.6" if cell["inside_window"] is False else colour
        axes.errorbar(
            cell["predicted"],
            measured,
            [[measured - low], [high - measured]],
            fmt="o",
            ms=3.0,
            color=edge,
            mfc="white" if cell["fitted"] else edge,
            mew=0.6,
            elinewidth=0.5,
        )
        if cell["vacuous"]:
            axes.plot(cell["predicted"], measured, "x", ms=4.2, color="black", mew=0.5)


def _panel(axes: Any, fit: Row, title: str) -> None:
    _cells(axes, fit["cells"], colours()[0])
    ends = [cell[name] for cell in fit["cells"] for name in ("measured", "predicted")]
    axes.axline((float(np.mean(ends)),) * 2, slope=1.0, color="black", lw=0.7, zorder=0)
    axes.axhline(0.0, color="0.85", lw=0.5, zorder=0)
    axes.set_title(title, loc="left")
    axes.set_xlabel(_FORMS[fit["form"]])
    sizes = "\n".join(_size(name, value, fit["L_interval"][name]) for name, value in fit["L"].items())
    judged = fit["judged"]
    if judged is None:
        said = "nothing to judge on"
    else:
        score = "-" if judged["r2"] is None else f"{judged['r2']:.2f}"
        said = f"RMSE {judged['rmse']:.2f}, $R^2$ {score}"
    axes.annotate(f"{sizes}\n{said}", (0.03, 0.97), xycoords="axes fraction", va="top", fontsize=5.5)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.25 * (top - bottom))  # room for the words


def _size(name: str, value: float, interval: Sequence[float | None]) -> str:
    """A fitted size with its interval over seeds, if there is one."""
    low, high = interval
    return f"${_SIZES[name]}={value:.3g}$" + ("" if low is None or high is None else f" [{low:.2g}, {high:.2g}]")


def figure_of(run: Run) -> Any:
    """A panel for each fit that could be made; the last place is the key's."""
    import matplotlib.pyplot as plt

    fits = [fit for fit in run.summary["fits"] if fit["L"] is not None]
    height = -(-(len(fits) + 1) // 2)
    figure, panels = plt.subplots(height, 2, figsize=(COLUMN, 0.4 + 1.85 * height), squeeze=False, layout="constrained")
    for axes, fit in zip(panels.flat, fits, strict=False):
        _panel(axes, fit, _TITLES[fit["quantity"]].replace("{N}", str(run.most)))
    for axes in panels.flat[len(fits) :]:
        axes.set_axis_off()
    for row in panels:
        row[0].set_ylabel("measured [tokens]")
    _key(panels.flat[len(fits)])
    return figure


def _key(axes: Any) -> None:
    from matplotlib.lines import Line2D

    no_line: dict[str, Any] = {"ls": "", "ms": 3.0, "mew": 0.6}
    blue = colours()[0]
    handles = [
        Line2D([], [], marker="o", color=blue, mfc="white", label="half fitted on", **no_line),
        Line2D([], [], marker="o", color=blue, label="half judged on", **no_line),
        Line2D([], [], marker="o", color="0.6", label="outside the window of\nthe lower bound", **no_line),
        Line2D([], [], marker="x", color="black", label="upper bound above $H$:\nvacuous", **no_line),
        Line2D([], [], color="black", lw=0.7, label="measured = predicted"),
    ]
    axes.legend(
        handles=handles, loc="center left", title="abscissa: prediction [tokens],\n$L$ in nats", title_fontsize=6.5
    )
