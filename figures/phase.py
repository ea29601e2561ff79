r"""The phase diagram: fitted exponents in H of the three gaps over (alpha, nu), with what theory predicts.

Table: ``summary.json`` of ``python -m sim.sweep --experiment phase --out DIR``. One panel a gap: the exponent against
nu, one colour and mark for each alpha with its 95% interval, lines for :math:`\alpha-\nu/2` and :math:`\alpha`. A fit
whose range the window of the lower bound does not cover is hollow; what cannot be fitted is left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from figures.style import COLUMN, MARKERS, colours, save, style

__all__ = ["draw"]

_TITLES = {
    "vf_regret": r"VF regret, predicted $\alpha-\nu/2$",
    "ball_gap": r"ball gap, predicted $\alpha-\nu/2$",
    "free_gap": r"free gap, predicted $\alpha$",
}


def _panel(axes: Any, rows: list[dict[str, Any]]) -> None:
    for alpha, colour, mark in zip(sorted({row["alpha"] for row in rows}), colours(), MARKERS, strict=False):
        mine = sorted((row for row in rows if row["alpha"] == alpha), key=lambda row: row["nu"])
        axes.plot([r["nu"] for r in mine], [r["predicted"] for r in mine], color=colour, lw=0.9)
        for row in mine:
            if row["ci_low"] is None:
                continue
            around = [[row["exponent"] - row["ci_low"]], [row["ci_high"] - row["exponent"]]]
            face = colour if row["window_covers_range"] else "white"
            axes.errorbar(
                [row["nu"]], [row["exponent"]], around, fmt=mark, ms=3.6, mec=colour, mfc=face, ecolor=colour, lw=0.8
            )
    axes.set_ylabel("exponent in $H$")


def _key(figure: Any, alphas: list[float]) -> None:
    from matplotlib.lines import Line2D

    pairs = zip(alphas, colours(), MARKERS, strict=False)
    handles = [
        Line2D([], [], marker=m, ls="-", lw=0.9, ms=3.6, color=c, label=rf"$\sigma\sim H^{{{a:g}}}$")
        for a, c, m in pairs
    ]
    handles.append(Line2D([], [], marker="o", ls="", ms=3.6, color="0.35", mfc="white", label="window left in part"))
    handles.append(Line2D([], [], ls="-", lw=0.9, color="0.35", label="predicted"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=1.6, columnspacing=1.0)


def draw(results: Path, directory: Path) -> list[Path]:
    """Draw ``phase.png`` and ``phase.svg`` from the summary in ``results``; return what was written."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    fits = json.loads((results / "summary.json").read_text())["exponents"]
    config = json.loads((results / "manifest.json").read_text())["config"]
    with style():
        figure, panels = plt.subplots(3, 1, figsize=(COLUMN, 5.6), sharex=True, layout="constrained")
        for axes, (gap, title) in zip(panels, _TITLES.items(), strict=True):
            _panel(axes, [row for row in fits if row["gap"] == gap])
            axes.set_title(title, loc="left")
        panels[-1].set_xlabel(r"$\nu$, the power of $H$ in $n$")
        _key(figure, sorted({row["alpha"] for row in fits}))
        figure.suptitle(
            f"codebook, H = {config['horizon']}, log2 M = {config['log2_M']}, {config['seeds']} data sets a cell",
            fontsize=7,
        )
        written = save(figure, directory, "phase")
        plt.close(figure)
    return written
