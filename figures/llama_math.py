"""The Llama experiment: accuracy against test-time budget, against data, and the gap at equal tokens and FLOPs.

Tables: ``curves.parquet`` and ``gaps.parquet`` of ``python -m llm_validation.llama_math --out DIR``. Top: accuracy
against the token budget H at the least and the most data, with 95% intervals over problems; hollow marks are budgets
that the pool of attempts does not reach. Middle: against the number n of training problems at two budgets, intervals
over seeds. Bottom: best-of-N by the learnt verifier minus the clone with budget forcing, by currency of the budget.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures.didactic_tables import chosen, marks, number, upto
from figures.style import COLUMN, MARKERS, colours, save, style

__all__ = ["draw"]

Row = dict[str, Any]
#: Method -> name, place in the palette and among the marks.
_LOOKS = {
    "vf": ("VF", 0),
    "vf-forced": ("VF, budget forcing", 9),
    "best-of-n": ("VB, learnt verifier", 1),
    "weighted-vote": ("VB, weighted vote", 4),
    "majority": ("majority vote", 2),
    "oracle": ("oracle", 7),
}
_TRAINED = ("vf", "vf-forced", "best-of-n", "weighted-vote")


def _found(rows: Sequence[Row], name: str, low: str, high: str) -> list[tuple[float, float, float]]:
    return [(number(row[name]), number(row[low]), number(row[high])) for row in rows]


def _against_budget(axes: Any, rows: Sequence[Row], n: int) -> None:
    for i, (method, (_, colour)) in enumerate(_LOOKS.items()):
        mine = chosen(rows, method=method, n=n if method in _TRAINED else 0, currency="tokens")
        mine.sort(key=lambda row: float(row["horizon"]))
        found = _found(mine, "accuracy", "problems_low", "problems_high")
        marks(axes, [row["horizon"] for row in mine], found, colours()[colour], MARKERS[i], 1.2 * (i - 2.5))
        beyond = [row for row in mine if not row["is_of_budget"]]
        if beyond:
            x, y = [row["horizon"] for row in beyond], [row["accuracy"] for row in beyond]
            axes.plot(x, y, "x", color="0.3", ms=3, mew=0.6, zorder=5)
    axes.set_title(f"$n={n}$", loc="left")
    axes.set_xlabel("token budget $H$")
    upto(axes, sorted({row["horizon"] for row in rows}))


def _against_data(axes: Any, rows: Sequence[Row], H: int) -> None:
    for i, method in enumerate(_TRAINED):
        mine = chosen(rows, method=method, horizon=H, currency="tokens")
        mine.sort(key=lambda row: float(row["n"]))
        found = _found(mine, "accuracy", "seeds_low", "seeds_high")
        marks(axes, [row["n"] for row in mine], found, colours()[_LOOKS[method][1]], MARKERS[i], 1.2 * (i - 1.5))
    axes.set_title(f"$H={H}$", loc="left")
    axes.set_xlabel("training problems $n$")
    upto(axes, sorted({row["n"] for row in rows if row["n"]}))


def _gap(axes: Any, rows: Sequence[Row], currency: str) -> None:
    mine = chosen(rows, vf="vf-forced", currency=currency)
    counts = sorted({row["n"] for row in mine})
    for i, n in enumerate(counts):
        of_n = sorted(chosen(mine, n=n), key=lambda row: float(row["horizon"]))
        found = _found(of_n, "gap", "gap_low", "gap_high")
        horizons = [row["horizon"] for row in of_n]
        marks(axes, horizons, found, str(0.6 - 0.6 * i / max(len(counts) - 1, 1)), MARKERS[i], 1.5 * (i - 1))
    axes.axhline(0.0, color="0.6", lw=0.6, zorder=0)
    axes.set_title(f"equal {'FLOPs' if currency == 'flops' else currency}", loc="left")
    axes.set_xlabel("token budget $H$ of VF")
    upto(axes, sorted({row["horizon"] for row in mine}))


def _figure(curves: Sequence[Row], gaps: Sequence[Row]) -> Any:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(3, 2, figsize=(COLUMN, 6.6), sharey="row", layout="constrained")
    counts = sorted({row["n"] for row in curves if row["n"]})
    horizons = sorted({row["horizon"] for row in curves})
    for axes, n in zip(panels[0], (counts[0], counts[-1]), strict=True):
        _against_budget(axes, curves, n)
    for axes, H in zip(panels[1], (horizons[(len(horizons) - 1) // 2], horizons[-1]), strict=True):
        _against_data(axes, curves, H)
    for axes, currency in zip(panels[2], ("tokens", "flops"), strict=True):
        _gap(axes, gaps, currency)
    for of_row, label in zip(panels, ("accuracy", "accuracy", "accuracy, VB minus VF"), strict=True):
        of_row[0].set_ylabel(label)
    _key(figure, counts)
    return figure


def _key(figure: Any, counts: Sequence[int]) -> None:
    from matplotlib.lines import Line2D

    def handle(colour: str, mark: str, name: str, line: str = "-") -> Line2D:
        return Line2D([], [], color=colour, marker=mark, ms=2.6, lw=0.8, ls=line, mfc="white", label=name)

    handles = [handle(colours()[colour], MARKERS[i], name) for i, (name, colour) in enumerate(_LOOKS.values())]
    handles += [
        handle(str(0.6 - 0.6 * i / max(len(counts) - 1, 1)), MARKERS[i], f"gap, $n={n}$") for i, n in enumerate(counts)
    ]
    handles.append(handle("0.3", "x", "pool too small", "none"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=1.6, columnspacing=0.9)


def draw(results: Path, out: Path) -> list[Path]:
    """``llama-math.png`` and ``.svg`` in ``out`` from the tables in ``results``; the files that were written."""
    import matplotlib as mpl
    import pyarrow.parquet as pq

    mpl.use("agg")
    json.loads((results / "manifest.json").read_text())
    curves, gaps = (pq.read_table(results / f"{name}.parquet").to_pylist() for name in ("curves", "gaps"))
    with style():
        figure = _figure(curves, gaps)
        try:
            return save(figure, out, "llama-math")
        finally:
            import matplotlib.pyplot as plt

            plt.close(figure)
