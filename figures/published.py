"""Published solutions to GSM8K: fine-tuning (VF) against verification (VB), 6B and 175B, problem by problem.

Tables: ``accuracies.parquet``, ``pairs.parquet`` and ``summary.json`` of ``python -m llm_validation.published``. Top:
accuracy, and paired differences in accuracy with the interaction of size and method; bottom: paired differences by the
number of steps of the reference solution, with the number of problems under each. Bars are intervals over problems.
Data: example model solutions of Cobbe et al. 2021, github.com/openai/grade-school-math, MIT licence.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures.didactic_tables import Row, chosen, marks
from figures.style import COLUMN, MARKERS, colours, save, style

__all__ = ["draw"]

#: Method -> name and place in the palette.
_METHODS = {"finetuning": ("fine-tuning (VF)", 0), "verification": ("verification (VB)", 1)}
_SIZES = {"6b": "6B", "175b": "175B"}
#: Comparison -> name and place in the palette.
_PAIRS = {
    "6B: verification - fine-tuning": ("6B: VB $-$ VF", 2),
    "175B: verification - fine-tuning": ("175B: VB $-$ VF", 3),
    "6B verification - 175B fine-tuning": ("6B VB $-$ 175B VF", 4),
}


def _one(rows: Sequence[Row], **wanted: str) -> Row:
    """The row with these values. Raises ``KeyError``."""
    found = chosen(rows, **wanted)
    if not found:
        raise KeyError("no row with " + ", ".join(f"{name} = {value}" for name, value in wanted.items()))
    return found[0]


def _ends(row: Row, name: str) -> tuple[float, float, float]:
    return float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"])


def _accuracies(axes: Any, rows: Sequence[Row]) -> None:
    for i, (method, (_, colour)) in enumerate(_METHODS.items()):
        found = [_ends(_one(rows, size=size, method=method, steps=""), "accuracy") for size in _SIZES]
        marks(axes, range(len(_SIZES)), found, colours()[colour], MARKERS[i], 4.0 * (i - 0.5), joined=False)
    axes.set_xticks(range(len(_SIZES)), list(_SIZES.values()))
    axes.set_xlim(-0.5, len(_SIZES) - 0.5)
    axes.set_ylim(0.0, 0.7)
    axes.set_ylabel("accuracy")
    axes.set_xlabel("parameters")


def _differences(axes: Any, rows: Sequence[Row], summary: dict[str, Any]) -> None:
    for i, (pair, (_, colour)) in enumerate(_PAIRS.items()):
        found = _ends(_one(rows, pair=pair, steps=""), "difference")
        marks(axes, [i], [found], colours()[colour], MARKERS[i + 2], joined=False)
    both = summary["interaction"]
    found = both["estimate"], both["low"], both["high"]
    marks(axes, [len(_PAIRS)], [found], "0.2", MARKERS[len(_PAIRS) + 2], joined=False)
    axes.axhline(0.0, color="0.6", lw=0.6, zorder=0)
    axes.set_xticks([])
    axes.set_xlim(-0.5, len(_PAIRS) + 0.5)
    axes.set_ylim(bottom=-0.05)
    axes.set_ylabel("accuracy gained")


def _by_steps(axes: Any, rows: Sequence[Row]) -> None:
    known = [row for row in chosen(rows, pair=next(iter(_PAIRS))) if row["steps"]]
    for i, (pair, (_, colour)) in enumerate(_PAIRS.items()):
        found = [_ends(_one(rows, pair=pair, steps=row["steps"]), "difference") for row in known]
        marks(axes, range(len(known)), found, colours()[colour], MARKERS[i + 2], 5.0 * (i - 1), joined=False)
    axes.axhline(0.0, color="0.6", lw=0.6, zorder=0)
    labels = [row["steps"].replace("+", " or more") for row in known]
    axes.set_xticks(
        range(len(known)), [f"{steps}\n{row['problems']}" for steps, row in zip(labels, known, strict=True)]
    )
    axes.set_xlim(-0.5, len(known) - 0.5)
    axes.set_xlabel("steps of the reference solution; problems")
    axes.set_ylabel("accuracy gained")


def _figure(accuracies: Sequence[Row], pairs: Sequence[Row], summary: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplot_mosaic("ad;ss", figsize=(COLUMN, 4.0), layout="constrained")
    _accuracies(panels["a"], accuracies)
    _differences(panels["d"], pairs, summary)
    _by_steps(panels["s"], pairs)
    panels["a"].set_title(f"{summary['problems']:,} problems", loc="left")
    panels["d"].set_title(f"paired, {summary['level']:.0%} intervals", loc="left")
    _key(figure)
    return figure


def _key(figure: Any) -> None:
    from matplotlib.lines import Line2D

    looks = [(name, colours()[colour]) for name, colour in (*_METHODS.values(), *_PAIRS.values())]
    looks.append(("(VB $-$ VF at 175B) $-$ (at 6B)", "0.2"))
    handles = [
        Line2D([], [], color=colour, marker=MARKERS[i], ms=2.8, lw=0.6, mfc="white", mew=0.5, label=name)
        for i, (name, colour) in enumerate(looks)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=1.6, columnspacing=0.9)


def draw(results: Path, out: Path) -> list[Path]:
    """``published.png`` and ``.svg`` in ``out`` from the tables in ``results``; the files that were written."""
    import matplotlib as mpl
    import pyarrow.parquet as pq

    mpl.use("agg")
    summary = json.loads((results / "summary.json").read_text())
    accuracies, pairs = (pq.read_table(results / f"{name}.parquet").to_pylist() for name in ("accuracies", "pairs"))
    with style():
        figure = _figure(accuracies, pairs, summary)
        try:
            return save(figure, out, "published")
        finally:
            import matplotlib.pyplot as plt

            plt.close(figure)
