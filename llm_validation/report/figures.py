"""The figures of one run: spread of the problems, anti-concentration, search at test time, prediction.

=================  ====================================================================================================
figure             what it shows
=================  ====================================================================================================
``sigma``          histogram of s_x = sigma_x/H over problems whose samples vary; those that show no spread apart
``concentration``  c(epsilon): mean over problems, bounds on the least and on a lower quantile, Cantelli's 1/(1+eps^2)
``curves``         value of N draws by who picks one of them, against N and against tokens
``prediction``     bands of J(VF) and J(VB) against training traces n; hatched where a band says nothing
=================  ====================================================================================================

A figure is drawn only if there is something to see; otherwise the reason is given. Nothing written by a user is drawn.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llm_validation.report.access import Band, Point, Run
from llm_validation.report.markup import shown, shown_interval

__all__ = ["COLOURS", "FIGURES", "Drawn", "draw", "png", "style"]

#: Seaborn's palette "colorblind", ink and paper, and what they are called in the page's style sheet.
BLUE, ORANGE, GREEN, RED, VIOLET = "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"
INK, GREY, PAPER = "#212529", "#949494", "#ffffff"
COLOURS = {
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    RED: "var(--red)",
    VIOLET: "var(--violet)",
    INK: "var(--ink)",
    GREY: "var(--grey)",
    PAPER: "var(--paper)",
}
LOOKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "D"), (RED, "^"), (VIOLET, "v"), (GREY, "<"))

#: Inches: one column of a page, height of a panel, of a row of the legend, and what stands left, right, below.
WIDTH, PANEL, ROW, LEFT, RIGHT, BELOW = 3.4, 1.55, 0.118, 0.62, 0.1, 0.42
#: Dots per inch of PNG files.
_DPI = 200
_BIN = 0.025
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A figure (of matplotlib), its SVG, and what it shows in words."""

    name: str
    figure: Any
    svg: str
    says: str


@contextmanager
def style() -> Iterator[None]:
    """Settings of every figure; no global state is left behind."""
    import matplotlib as mpl

    settings: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 7,
        "axes.labelsize": 7,
        "axes.titlesize": 7,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "legend.fontsize": 6.5,
        "legend.frameon": False,
        "legend.handlelength": 1.8,
        "legend.columnspacing": 1.2,
        "legend.borderpad": 0.0,
        "legend.labelspacing": 0.25,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "figure.facecolor": PAPER,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "grid.color": GREY,
        "grid.linewidth": 0.3,
        "grid.alpha": 0.5,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "hatch.linewidth": 0.4,
        "svg.hashsalt": "verifier-gap",
        "svg.fonttype": "none",
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    }
    with mpl.rc_context(settings):
        yield


def _canvas(panels: int, handles: Sequence[tuple[Any, str]], columns: int = 2) -> tuple[Any, list[Any]]:
    """A figure of stacked panels under its legend."""
    from matplotlib.figure import Figure

    top = ROW * -(-len(handles) // columns) + 0.13
    height = top + panels * (PANEL + BELOW)
    figure = Figure(figsize=(WIDTH, height))
    width = WIDTH - LEFT - RIGHT
    axes = []
    for panel in range(panels):
        bottom = height - top - PANEL - panel * (PANEL + BELOW)
        axes.append(figure.add_axes((LEFT / WIDTH, bottom / height, width / WIDTH, PANEL / height)))
        # Fixed places of the labels: to look for free ones takes as long as all the rest.
        axes[-1].xaxis.set_label_coords(0.5, -0.2 / PANEL)
        axes[-1].yaxis.set_label_coords(-0.5 / width, 0.5)
    artists, labels = [artist for artist, _ in handles], [label for _, label in handles]
    figure.legend(
        artists, labels, loc="upper left", bbox_to_anchor=(0.04, 1.0 - 0.03 / height), ncols=columns, borderaxespad=0.0
    )
    return figure, axes


def _line(**look: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **look)


def _box(**look: Any) -> Any:
    from matplotlib.patches import Patch

    return Patch(**look)


def _cut(value: str, size: int = 34) -> str:
    """Words of a diagnosis that any font has, and that are no formula."""
    plain = re.sub(r"[^ -~]", "?", value).replace("$", r"\$")
    return plain if len(plain) <= size else plain[: size - 2] + ".."


def _powers(low: float, high: float) -> tuple[list[float], list[str]]:
    """Ticks of a logarithmic axis and their labels: about five, at powers of ten or at 1, 2, 5 of each."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [mantissa * 10.0**k for k in decades for mantissa in (1, 2, 5)]
    ticks = [tick for tick in fine if low <= tick <= high]
    if len(ticks) > 6:
        step = max(1, round(math.log10(high / low) / 5))
        ticks = [10.0**k for k in decades if k % step == 0 and low <= 10.0**k <= high]
    return ticks, [_short(tick) for tick in ticks]


def _short(value: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}" if value < 1e15 else f"{value:.0e}"
    return f"{value:g}"


def _log_axis(axes: Any, low: float, high: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks, labels = _powers(low, high)
    axes.set_xticks(ticks, labels)
    axes.minorticks_off()


def sigma(run: Run) -> Drawn | str:
    """Histogram of s over problems."""
    moving, still, unknown = run.spreads
    if len(moving) + still < 2:
        return "fewer than two problems have two samples of known return"
    mean = run.estimate("s")
    bins = math.ceil(min(max([0.5, *moving]), 1.0) / _BIN - _NOTHING)
    counts = [0] * bins
    for s in moving:
        counts[min(max(int(min(s, 1.0) / _BIN + _NOTHING), 0), bins - 1)] += 1
    handles = [(_box(color=BLUE), f"samples vary ({len(moving)})"), (_box(color=ORANGE), f"no spread seen ({still})")]
    if mean.estimate is not None:
        handles.append((_line(color=INK, lw=1.0), "root mean square of s and its interval"))
    figure, (axes,) = _canvas(1, handles)
    axes.bar([(i + 0.5) * _BIN for i in range(bins)], counts, width=0.92 * _BIN, color=BLUE)
    axes.bar([-1.5 * _BIN], [still], width=0.92 * _BIN, color=ORANGE)
    if mean.estimate is not None:
        if mean.low is not None and mean.high is not None:
            axes.axvspan(mean.low, mean.high, color=INK, alpha=0.15, lw=0)
        axes.axvline(mean.estimate, color=INK, lw=1.0)
    axes.set_xlim(-2.4 * _BIN, (bins + 0.4) * _BIN)
    axes.set_ylim(0, 1.08 * max([still, *counts]))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="relative heterogeneity s = σ/H [of the budget]", ylabel="problems")
    left_out = f"; {unknown} of unknown spread are left out" if unknown else ""
    says = (
        f"Histogram of s over problems: samples of {len(moving)} vary, {still} show no spread{left_out}. "
        f"Root mean square {shown_interval(mean)}."
    )
    return _drawn("sigma", figure, says)


def _whiskers(axes: Any, x: Sequence[float], points: Sequence[Any], **look: Any) -> None:
    """Points with their intervals, whichever ends are known."""
    known = [(at, p) for at, p in zip(x, points, strict=True) if p.estimate is not None]
    axes.plot([at for at, _ in known], [p.estimate for _, p in known], **look)
    ends = [[p.estimate if end is None else end for end in (p.low, p.high)] for _, p in known]
    low, high = [end[0] for end in ends], [end[1] for end in ends]
    axes.vlines([at for at, _ in known], low, high, color=look["color"], lw=0.8)


def concentration(run: Run) -> Drawn | str:
    """Curves of c against epsilon."""
    found = run.concentration
    if found is None or not any(entry.is_known for entry in found.mean):
        return "no problem whose samples vary"
    share = "lower quantile" if found.q is None else f"{shown(100 * found.q)}% of problems may be below"
    handles = [
        (_line(color=BLUE, marker="o", ms=3, lw=1.0), "mean over problems"),
        (_line(color=GREEN, marker="D", ms=2.5, lw=0.8, ls="--"), share),
        (_line(color=RED, marker="^", ms=3, lw=0.8, ls="-."), "every problem at least"),
        (_line(color=INK, lw=0.8, ls=":"), "Cantelli: at most 1/(1+ε²)"),
    ]
    figure, (axes,) = _canvas(1, handles)
    last = max(found.epsilon)
    grid = [last * i / 64 for i in range(65)]
    axes.plot(grid, [1.0 / (1.0 + e * e) for e in grid], color=INK, lw=0.8, ls=":")
    _whiskers(axes, found.epsilon, found.mean, color=BLUE, marker="o", ms=3, lw=1.0)
    for values, look in ((found.quantile, ("D", GREEN, "--", 2.5)), (found.least, ("^", RED, "-.", 3))):
        pairs = [(e, v) for e, v in zip(found.epsilon, values, strict=True) if v is not None]
        marker, colour, dashes, size = look
        axes.plot([e for e, _ in pairs], [v for _, v in pairs], color=colour, marker=marker, ms=size, lw=0.8, ls=dashes)
    axes.set_ylim(-0.02, 1.02)
    axes.set(xlabel="margin ε [standard deviations above the mean]", ylabel="c(ε) [probability]")
    ends = ", ".join(f"{shown_interval(m)} at ε = {shown(e)}" for e, m in zip(found.epsilon, found.mean, strict=True))
    return _drawn("concentration", figure, f"Anti-concentration c(ε), mean over problems: {ends}.")


def _curve_panels(points: Sequence[Point]) -> list[tuple[str, bool]]:
    """Unit of each panel, and whether it is drawn against tokens."""
    units = [unit for unit in dict.fromkeys(p.unit for p in points) if any(p.unit == unit and p.N > 1 for p in points)]
    with_tokens = {p.unit for p in points if p.tokens is not None and p.tokens > 0.0}
    return [(unit, by) for unit in units for by in (False, True) if not by or unit in with_tokens]


def curves(run: Run) -> Drawn | str:
    """Value of N draws against N and tokens."""
    points = [p for p in run.curves if p.value.estimate is not None]
    panels = _curve_panels(points)
    if not panels:
        return "no method has more than one draw"
    methods = list(dict.fromkeys(p.method for p in points))
    looks = {method: LOOKS[i % len(LOOKS)] for i, method in enumerate(methods)}
    handles = [(_line(color=c, marker=m, ms=3, lw=1.0), _cut(method)) for method, (c, m) in looks.items()]
    figure, grid = _canvas(len(panels), handles)
    for axes, (unit, by_tokens) in zip(grid, panels, strict=True):
        _curve_panel(axes, [p for p in points if p.unit == unit], looks, run, by_tokens)
    most = max(points, key=lambda p: p.N).N
    last = (f"{p.method} {shown_interval(p.value)} {p.unit}" for p in points if most == p.N)
    return _drawn("curves", figure, f"Search at test time; at N = {shown(most)}: {'; '.join(last)}.")


def _curve_panel(axes: Any, points: Sequence[Point], looks: dict[str, Any], run: Run, by_tokens: bool) -> None:
    cost = {p: (p.tokens or 0.0) if by_tokens else p.N for p in points}
    points = sorted((p for p in points if cost[p] > 0.0), key=lambda p: p.N)
    for place, (method, (colour, marker)) in enumerate(looks.items()):
        mine = [p for p in points if p.method == method]
        apart = 1.025 ** (place - (len(looks) - 1) / 2)
        look = {"color": colour, "marker": marker, "ms": 3, "lw": 1.0}
        _whiskers(axes, [apart * cost[p] for p in mine], [p.value for p in mine], **look)
    counts = sorted({cost[p] for p in points})
    _log_axis(axes, counts[0] / 1.15, counts[-1] * 1.15)
    if not by_tokens:
        ticks = counts[:: -(-len(counts) // 9)]
        axes.set_xticks(ticks, [_short(N) for N in ticks])
    axes.set_xlabel("tokens spent" if by_tokens else "draws N")
    if points[0].unit == "probability":
        axes.set(ylim=(0.0, 1.02), ylabel="right [probability]")
        return
    top = max(end for p in points for end in (p.value.estimate, p.value.high) if end is not None)
    axes.set(ylim=(0.0, max(1.08 * top, 1e-9)), ylabel=f"return [{_cut(points[0].unit, 12) or '?'}]")
    _thousands(axes)


def _thousands(axes: Any) -> None:
    axes.yaxis.set_major_formatter(lambda value, position: _short(value) if value >= 0 else "")


_SIDES: tuple[tuple[str, str, Callable[[Band], tuple[float, float]]], ...] = (
    ("VF, cloning", ORANGE, lambda b: b.vf),
    ("VB, verifying", BLUE, lambda b: b.vb),
)


def prediction(run: Run) -> Drawn | str:
    """Bands of both values against n."""
    bands, ceiling = run.bands, run.horizon or 0.0
    if len({b.n for b in bands}) < 2:
        return "too few numbers of training traces"
    if all(_vacuous(b.vf, ceiling) for b in bands) and all(b.vb[0] <= 0.0 for b in bands):
        return "no size of a class is given, so that the bands do not depend on n"
    n, handles = [b.n for b in bands], [(_box(facecolor=look, alpha=0.45), label) for label, look, _ in _SIDES]
    if ceiling:
        handles.append((_line(color=INK, lw=0.8, ls=":"), f"H = {shown(ceiling)}"))
    if any(_vacuous(side(b), ceiling) for b in bands for _, _, side in _SIDES):
        handles.append((_box(facecolor="none", edgecolor=GREY, hatch="////", lw=0), "band is all of [0, H]"))
    marks = ((run.asked, "n = {} asked for", INK, "-"), (run.crossover, "bounds decide from n = {}", RED, "--"))
    inside = [(at, words, look, dash) for at, words, look, dash in marks if at is not None and n[0] <= at <= n[-1]]
    handles += [(_line(color=look, lw=1.0, ls=dash), words.format(shown(at))) for at, words, look, dash in inside]
    outside = [b.in_window is False for b in bands]
    if any(outside):
        handles.append((_box(facecolor=GREY, alpha=0.35), "lower bound on VF's loss not valid"))
    figure, (axes,) = _canvas(1, handles)
    for _, look, side in _SIDES:
        _band(axes, n, [side(b) for b in bands], look, ceiling)
    axes.fill_between(n, 0, 1, where=outside, transform=axes.get_xaxis_transform(), color=GREY, alpha=0.25, lw=0)
    for at, _, look, dash in inside:
        axes.axvline(at, lw=1.0, color=look, ls=dash)
    if ceiling:
        axes.axhline(ceiling, color=INK, lw=0.8, ls=":")
    _log_axis(axes, n[0], n[-1])
    axes.set_ylim(0.0, 1.05 * max([ceiling, *(end for b in bands for end in (*b.vf, *b.vb))]) or 1.0)
    _thousands(axes)
    axes.set(xlabel="training traces n", ylabel=f"value J [{_cut(run.unit, 12)}]")
    near = min(bands, key=lambda b: abs(math.log(b.n / (run.asked or n[0]))))
    ends = [f"{label} in [{shown(side(near)[0])}, {shown(side(near)[1])}] {run.unit}" for label, _, side in _SIDES]
    return _drawn("prediction", figure, f"Bands of both values against n; at n = {shown(near.n)}: {', '.join(ends)}.")


def _band(axes: Any, n: Sequence[float], ends: Sequence[tuple[float, float]], look: str, ceiling: float) -> None:
    """One side's band, hatched where it says nothing."""
    low, high = [end[0] for end in ends], [end[1] for end in ends]
    axes.fill_between(n, low, high, color=look, alpha=0.35, lw=0)
    axes.plot(n, low, color=look, lw=0.9)
    axes.plot(n, high, color=look, lw=0.9)
    empty = [_vacuous(end, ceiling) for end in ends]
    axes.fill_between(n, low, high, where=empty, facecolor="none", edgecolor=GREY, hatch="////", lw=0)


def _vacuous(band: tuple[float, float], ceiling: float) -> bool:
    return band[0] <= _NOTHING and band[1] >= ceiling * (1.0 - _NOTHING)


FIGURES: dict[str, tuple[str, Callable[[Run], Drawn | str]]] = {
    "sigma": ("Spread of the problems", sigma),
    "concentration": ("Anti-concentration", concentration),
    "curves": ("Search at test time", curves),
    "prediction": ("Values against training traces", prediction),
}


def _drawn(name: str, figure: Any, says: str) -> Drawn:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return Drawn(name, figure, buffer.getvalue(), says)


def draw(run: Run, names: Iterable[str] = tuple(FIGURES)) -> dict[str, Drawn | str]:
    """The figures of a run, or why there is none; inside :func:`style`."""
    return {name: FIGURES[name][1](run) for name in names}


def png(drawn: Drawn) -> bytes:
    """The figure as PNG; inside :func:`style`."""
    buffer = io.BytesIO()
    drawn.figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
