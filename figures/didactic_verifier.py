"""Quality of the learnt verifiers against the number of labelled draws, by kind of labels and level.

AUROC of the final score among traces of the base, and among right traces of the base and *near misses*, the same traces
with one token of every completion replaced. Dotted in the colour of a level: the AUROC on the same traces of counting
neighbours of the gold, which never looks for a whole one; only what is above shows more. epsilon_ver is the mean error
of the learnt return, which only per-token labels have: at one horizon by level, and at the highest level by horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from figures.didactic_tables import Row, Run, chosen, marks, number, over_seeds, upto
from figures.style import COLUMN, MARKERS, colours

__all__ = ["figure_of"]

_LABELS = {"per-token": "labels $r_h$ at every token", "final": "one final label"}


def _line(axes: Any, rows: Sequence[Row], column: str, place: int, scale: float = 1.0) -> None:
    n = sorted({row["n"] for row in rows})
    found = [over_seeds([number(row[column]) / scale for row in chosen(rows, n=count)]) for count in n]
    marks(axes, n, found, colours()[place % 10], MARKERS[place % len(MARKERS)], 1.5 * (place % 4 - 1.5))


def _scores(axes: Any, run: Run, labels: str, column: str) -> None:
    for level in range(len(run.shares)):
        mine = chosen(run.verifier, level=level, horizon=run.middle, arm=labels)
        if mine:
            _line(axes, mine, column, level)
            cue = over_seeds([number(row[f"{column}_pairs"]) for row in mine])[0]
            axes.axhline(cue, color=colours()[level], lw=0.8, ls=":", zorder=0)
    axes.axhline(0.5, color="0.6", lw=0.6, zorder=0)
    axes.set_title(_LABELS[labels], loc="left")


def figure_of(run: Run) -> Any:
    """Rows: AUROC, AUROC against near misses, epsilon_ver over H by level and by horizon."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(3, 2, figsize=(COLUMN, 6.0), sharey="row", sharex=True, layout="constrained")
    names = (("auroc", f"AUROC, $H={run.middle}$"), ("auroc_near_miss", f"near-miss AUROC, $H={run.middle}$"))
    for of_row, (column, label) in zip(panels, names, strict=False):
        for axes, labels in zip(of_row, _LABELS, strict=True):
            _scores(axes, run, labels, column)
            axes.set_ylim(-0.02, 1.02)
        of_row[0].set_ylabel(label)
    by_level, by_horizon = panels[2]
    for level in range(len(run.shares)):
        mine = chosen(run.verifier, level=level, horizon=run.middle, arm="per-token")
        _line(by_level, mine, "epsilon_ver", level, run.middle)
    for i, H in enumerate(run.horizons):
        mine = chosen(run.verifier, level=len(run.shares) - 1, horizon=H, arm="per-token")
        _line(by_horizon, mine, "epsilon_ver", len(run.shares) + i, H)
    by_level.set_ylabel(r"error $\varepsilon_{\mathrm{ver}}/H$ of $\hat R$")
    by_level.set_ylim(bottom=0.0)
    by_level.set_title(f"labels $r_h$, $H={run.middle}$", loc="left")
    by_horizon.set_title(f"labels $r_h$, level {run.shares[-1]:g}", loc="left")
    for axes in panels[2]:
        axes.set_xlabel("labelled draws $n$")
        upto(axes, run.n)
    _key(figure, run)
    return figure


def _key(figure: Any, run: Run) -> None:
    from matplotlib.lines import Line2D

    names = [(level, f"level {share:g}") for level, share in enumerate(run.shares)]
    names += [(len(run.shares) + i, f"$H={H}$") for i, H in enumerate(run.horizons)]
    handles = [
        Line2D(
            [], [], color=colours()[i % 10], marker=MARKERS[i % len(MARKERS)], ms=2.6, lw=0.8, mfc="white", label=name
        )
        for i, name in names
    ]
    handles.append(Line2D([], [], color="0.6", lw=0.6, label="chance"))
    handles.append(Line2D([], [], color="0.2", lw=0.8, ls=":", label="counting pairs"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=1.6, columnspacing=0.9)
