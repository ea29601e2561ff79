"""The didactic experiment: return of every policy, quality of verifiers, gaps over fitted bounds, reinforcement.

Tables: what ``python -m llm_validation.gpt2_planted --out DIR`` leaves. Four figures, one column wide:
``didactic-return`` (here), ``didactic-verifier``, ``didactic-gap`` and ``didactic-rl``. Means with 95% intervals over
seeds (Student's t); bases are one a level, so no interval speaks of another base. Lines join measured points and are no
fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from figures.didactic_tables import Run, marks, number, read_run, upto
from figures.style import COLUMN, colours, save, style

__all__ = ["draw"]

#: Method, arm -> name, place in the palette, mark. Base and expert are lines.
_LOOKS = {
    ("vf", "equal-draws"): ("VF, solved of $n$ draws", 0, "o"),
    ("vf", "equal-draws-fastest"): ("VF, fastest quarter of these", 9, "s"),
    ("vf", "equal-traces"): ("VF, $n$ solved draws", 4, "D"),
    ("best-of-n", "per-token"): ("VB, best of {N} draws", 1, "^"),
    ("rl", "verifier"): ("VB, RL", 2, "v"),
}


def _line(axes: Any, rows: Sequence[dict[str, Any]], axis: str, look: tuple[str, int, str]) -> None:
    rows = sorted(rows, key=lambda row: float(row[axis]))
    found = [(number(row["J"]), number(row["J_low"]), number(row["J_high"])) for row in rows]
    shift = 1.3 * (list(_LOOKS.values()).index(look) - 2)
    marks(axes, [row[axis] for row in rows], found, colours()[look[1]], look[2], shift)


def _panel(axes: Any, run: Run, axis: str, fixed: dict[str, int]) -> None:
    """J along one axis with the other two fixed; base and expert do not depend on n."""
    for (method, arm), look in _LOOKS.items():
        known = {"method": method, "arm": arm, "kl_weight": 0.0, "N": run.most if method == "best-of-n" else 0}
        mine = run.returns(**known, **fixed)
        if mine:
            _line(axes, mine, axis, look)
    still = {name: value for name, value in fixed.items() if name != "n"}
    for method, arm, dashes in (("base", "base", "--"), ("expert", "measured", ":")):
        mine = sorted(run.returns(method=method, arm=arm, **still), key=lambda row: float(row[axis]))
        x = run.n if axis == "n" else [row[axis] for row in mine]
        J = [row["J"] for row in mine] * (len(run.n) if axis == "n" else 1)
        axes.plot(x, J, color="black", ls=dashes, lw=1.0, marker="." if len(x) == 1 else "", ms=3)


def _words(run: Run, fixed: dict[str, int]) -> str:
    level = f"level {run.shares[fixed['level']]:g}" if "level" in fixed else ""
    others = [f"${name}={fixed[key]}$" for key, name in (("horizon", "H"), ("n", "n")) if key in fixed]
    return ", ".join(filter(None, [level, *others]))


def _returns(run: Run) -> Any:
    """Three axes by two settings of what is fixed: the least and the most of it."""
    import matplotlib.pyplot as plt

    H, top = run.middle, len(run.shares) - 1
    rows = (
        ("sigma", r"$\sigma$ of the base [tokens]", [{"horizon": H, "n": n} for n in (run.n[0], run.n[-1])]),
        ("horizon", "token budget $H$", [{"level": top, "n": n} for n in (run.n[0], run.n[-1])]),
        ("n", "traces $n$", [{"level": level, "horizon": H} for level in (0, top)]),
    )
    figure, panels = plt.subplots(3, 2, figsize=(COLUMN, 6.3), sharey="row", layout="constrained")
    for of_row, (axis, label, settings) in zip(panels, rows, strict=True):
        for axes, fixed in zip(of_row, settings, strict=True):
            _panel(axes, run, axis, fixed)
            axes.set_xlabel(label)
            axes.set_title(_words(run, fixed), loc="left")
            if axis != "sigma":
                upto(axes, run.horizons if axis == "horizon" else run.n)
        of_row[0].set_ylabel("return $J$ [tokens]")
    _key(figure, run)
    return figure


def _key(figure: Any, run: Run) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colours()[place], marker=mark, ms=2.6, lw=0.8, mfc="white", label=name.format(N=run.most))
        for (method, arm), (name, place, mark) in _LOOKS.items()
        if run.returns(method=method, arm=arm)
    ]
    handles += [
        Line2D([], [], color="black", ls="--", lw=1.0, label="base"),
        Line2D([], [], color="black", ls=":", lw=1.0, label="expert: base, solved"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=2.0, columnspacing=1.0)


def draw(results: Path, directory: Path) -> list[Path]:
    """Draw the four figures from the tables in ``results``; return what was written."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from figures import didactic_gap, didactic_rl, didactic_verifier

    run = read_run(results)
    makers: dict[str, Callable[[Run], Any]] = {
        "return": _returns,
        "verifier": didactic_verifier.figure_of,
        "gap": didactic_gap.figure_of,
        "rl": didactic_rl.figure_of,
    }
    written = []
    with style():
        for name, make in makers.items():
            figure = make(run)
            figure.suptitle(run.setting, fontsize=6.5)
            written += save(figure, directory, f"didactic-{name}")
            plt.close(figure)
    return written
