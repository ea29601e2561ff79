"""Reinforcement against the learnt verifier: learnt and true return along its steps, return against divergence.

Upper panels: means over seeds of the batch's learnt return (dashed) and true return (solid) at the recorded steps,
bands are 95% intervals, without a weight on the divergence; where dashed rises and solid falls the verifier is being
hacked. Lowest panels: J on held-out prompts of each final policy against its divergence from the base, nats a trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from figures.didactic_tables import Row, Run, chosen, marks, number, over_seeds
from figures.style import COLUMN, colours

__all__ = ["figure_of"]


def _path(axes: Any, rows: Sequence[Row], column: str, colour: str, dashes: str) -> None:
    steps = sorted({row["step"] for row in rows})
    found = [over_seeds([number(row[column]) for row in chosen(rows, step=step)]) for step in steps]
    axes.plot(steps, [mean for mean, _, _ in found], color=colour, ls=dashes, lw=0.9)
    if column == "true_return":
        axes.fill_between(
            steps, [low for _, low, _ in found], [high for _, _, high in found], color=colour, alpha=0.18, lw=0
        )


def _steps(axes: Any, run: Run, level: int, H: int) -> None:
    for i, n in enumerate(run.n):
        mine = chosen(run.rl, level=level, horizon=H, n=n, arm="verifier", kl_weight=0.0)
        if mine:
            _path(axes, mine, "true_return", colours()[i % 10], "-")
            _path(axes, mine, "learnt_return", colours()[i % 10], "--")
    true = chosen(run.rl, level=level, horizon=H, arm="true")
    if true:
        _path(axes, true, "true_return", "0.45", "-.")
    axes.set_title(f"level {run.shares[level]:g}, $H={H}$", loc="left")


def _divergence(axes: Any, run: Run, level: int, H: int) -> None:
    """Largest n: RL at each weight, the true reward, the clones, the base at 0 nats."""
    for (method, arm), (_, colour, mark) in _points().items():
        n = run.n[-1] if (method, arm) not in (("rl", "true"), ("base", "base")) else 0
        for i, row in enumerate(run.returns(level=level, horizon=H, method=method, arm=arm, n=n)):
            found = (number(row["J"]), number(row["J_low"]), number(row["J_high"]))
            marks(axes, [row["kl"]], [found], colour, mark, joined=False)
            if method == "rl" and arm == "verifier":
                place = (3, 3 - 8 * (i % 2))
                axes.annotate(
                    f"{row['kl_weight']:g}", (row["kl"], found[0]), place, textcoords="offset points", size=5.5
                )
    axes.set_title(f"level {run.shares[level]:g}, $H={H}$", loc="left")
    axes.set_xlabel(r"$E\,\log\,\pi/\pi_b$ [nats a trace]")


def _points() -> dict[tuple[str, str], tuple[str, str, str]]:
    """Method, arm -> name, colour, mark."""
    palette = colours()
    return {
        ("rl", "verifier"): ("RL, weight beside it", palette[2], "v"),
        ("rl", "true"): ("RL, true reward", "0.45", "P"),
        ("vf", "equal-draws"): ("VF, solved of $n$ draws", palette[0], "o"),
        ("vf", "equal-draws-fastest"): ("VF, fastest of these", palette[9], "s"),
        ("base", "base"): ("base", "black", "*"),
    }


def figure_of(run: Run) -> Any:
    """A row of panels for RL's least and largest horizon and one of divergence; a column for two levels."""
    import matplotlib.pyplot as plt

    rl = run.recipe["rl"]
    levels = list(dict.fromkeys((rl["levels"][0], rl["levels"][-1])))
    horizons = list(dict.fromkeys((rl["horizons"][0], rl["horizons"][-1])))
    height, weighted = len(horizons) + 1, [*rl["kl_horizons"], *horizons][0]
    figure, panels = plt.subplots(
        height,
        len(levels),
        figsize=(COLUMN, 0.9 + 1.75 * height),
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for column, level in enumerate(levels):
        for row, H in enumerate(horizons):
            _steps(panels[row, column], run, level, H)
            panels[row, column].set_xlabel("step of GRPO")
        _divergence(panels[-1, column], run, level, weighted)
    for axes in panels[:, 0]:
        axes.set_ylim(bottom=0.0)
    for row in panels[:-1, 0]:
        row.set_ylabel("return of the batch [tokens]")
    panels[-1, 0].set_ylabel(f"$J$ at $n={run.n[-1]}$ [tokens]")
    _key(figure, run)
    return figure


def _key(figure: Any, run: Run) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colours()[i % 10], lw=0.9, label=f"$n={n}$: true return") for i, n in enumerate(run.n)
    ]
    handles += [
        Line2D([], [], color="0.2", ls="--", lw=0.9, label="learnt return (same colour)"),
        Line2D([], [], color="0.45", ls="-.", lw=0.9, label="trained on the true return"),
    ]
    handles += [
        Line2D([], [], color=colour, marker=mark, ls="", ms=3, mfc="white", mew=0.5, label=name)
        for name, colour, mark in _points().values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=2.0, columnspacing=1.0)
