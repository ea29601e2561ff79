"""``python -m figures NAME --results DIR``: draw a figure from stored tables. Exit codes: 0 ok, 2 usage."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from theory.usage import OneLineParser

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = OneLineParser(prog="python -m figures", description="Draw a figure from stored tables.")
    parser.add_argument("name", choices=("gap",), help="gap: regrets and gaps against the horizon, with their bounds")
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="output directory of the sweep")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write PNG and SVG (default: the results)")
    arguments = parser.parse_args(argv)
    for name in ("gaps.parquet", "summary.json", "manifest.json"):
        if not (arguments.results / name).is_file():
            print(f"python -m figures: {arguments.results}: has no {name}, expected a sweep's output", file=sys.stderr)
            return 2
    from figures.gap import draw

    try:
        written = draw(arguments.results, arguments.out or arguments.results)
    except OSError as error:
        print(f"python -m figures: --out {arguments.out}: cannot be written ({error.strerror})", file=sys.stderr)
        return 2
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
