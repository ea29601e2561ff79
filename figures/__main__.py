"""``python -m figures NAME --results DIR``: draw a figure from stored tables. Exit codes: 0 ok, 2 usage."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from theory.usage import OneLineParser

__all__ = ["FIGURES", "main"]

#: Name of a figure -> the module that draws it and the files it reads.
FIGURES = {
    "gap": ("figures.gap", ("gaps.parquet", "summary.json", "manifest.json")),
    "phase": ("figures.phase", ("summary.json", "manifest.json")),
    "crossover": ("figures.crossover", ("results.parquet", "summary.json", "manifest.json")),
    "didactic": (
        "figures.didactic",
        (
            "returns.parquet",
            "gaps.parquet",
            "summary.json",
            "manifest.json",
            "verifier/results.parquet",
            "rl/results.parquet",
        ),
    ),
    "llama-math": ("figures.llama_math", ("curves.parquet", "gaps.parquet", "manifest.json")),
    "published": ("figures.published", ("accuracies.parquet", "pairs.parquet", "summary.json", "manifest.json")),
    **dict.fromkeys(
        ("heterogeneity", "scaling-n", "compute", "kappa", "label-noise", "parity-cost", "planted-horizon"),
        ("figures.curves", ("results.parquet", "manifest.json")),
    ),
}


def _drawer(name: str) -> Callable[[Path, Path], list[Path]]:
    module = importlib.import_module(FIGURES[name][0])
    draw: Callable[[Path, Path], list[Path]] = module.draw
    return partial(module.draw, name) if FIGURES[name][0] == "figures.curves" else draw


def _made_by(results: Path) -> str | None:
    """The figure that results are drawn as, by their manifest; None if that cannot be read."""
    try:
        found = json.loads((results / "manifest.json").read_text())["config"].get("experiment", "gap")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return str(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = OneLineParser(prog="python -m figures", description="Draw a figure from stored tables.")
    parser.add_argument(
        "name",
        choices=tuple(FIGURES),
        metavar="NAME",
        help=f"gap: regrets and gaps of a sweep against the horizon; or an experiment: {', '.join([*FIGURES][1:])}",
    )
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="output directory of the sweep")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write PNG and SVG (default: the results)")
    arguments = parser.parse_args(argv)
    for name in FIGURES[arguments.name][1]:
        if not (arguments.results / name).is_file():
            print(f"python -m figures: {arguments.results}: has no {name}, expected a sweep's output", file=sys.stderr)
            return 2
    made = _made_by(arguments.results)
    if made != arguments.name:
        found = "has no readable manifest.json" if made is None else f"holds results of {made}"
        print(f"python -m figures: {arguments.results}: {found}, expected those of {arguments.name}", file=sys.stderr)
        return 2
    from pyarrow import ArrowException

    try:
        written = _drawer(arguments.name)(arguments.results, arguments.out or arguments.results)
    except OSError as error:
        print(f"python -m figures: --out {arguments.out}: cannot be written ({error.strerror})", file=sys.stderr)
        return 2
    except (ArrowException, json.JSONDecodeError, KeyError) as error:  # not the tables that a run writes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        print(f"python -m figures: {arguments.results}: tables cannot be read ({reason})", file=sys.stderr)
        return 2
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
