"""One style for every figure: sizes, fonts, colour-blind-safe colours, and how vacuity is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["COLUMN", "LOWER_HATCH", "MARKERS", "UPPER_HATCH", "colours", "save", "style"]

COLUMN = 3.4  # inches, one column of a two-column page
LOWER_HATCH = "////"  # where a lower bound says nothing
UPPER_HATCH = "....."  # where an upper bound says nothing
MARKERS = "osD^v<>Pphd"  # beside colours, for whoever cannot tell them


def colours() -> list[str]:
    """Seaborn's colour-blind-safe palette as hex codes."""
    import seaborn

    return list(seaborn.color_palette("colorblind").as_hex())


@contextmanager
def style() -> Iterator[None]:
    """Settings of every figure; no global state is left behind."""
    import matplotlib as mpl
    import seaborn

    settings = {
        **seaborn.axes_style("ticks"),
        "font.size": 8,
        "axes.labelsize": 8,
        "axes.titlesize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 6.5,
        "legend.frameon": False,
        "hatch.linewidth": 0.4,
        "svg.hashsalt": "verifier-gap",
        "svg.fonttype": "none",
    }
    with mpl.rc_context(settings):
        yield


def save(figure: object, directory: Path, name: str) -> list[Path]:
    """Write ``name.png`` (300 dpi) and ``name.svg``; each is renamed into place when whole."""
    from matplotlib.figure import Figure

    if not isinstance(figure, Figure):
        raise TypeError(f"expected a matplotlib figure, got {type(figure).__name__}")
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        target = directory / f"{name}.{suffix}"
        temporary = target.with_name(f".tmp-{target.name}")
        figure.savefig(temporary, format=suffix, dpi=300, metadata=metadata)
        temporary.replace(target)
        written.append(target)
    return written
