"""``python -m llm_validation.trials NAME``: trials of the diagnosis on simulated traces whose law is known.

Exit codes: 0 ok, 1 internal, 2 usage, 4 a proved guarantee was violated, 130 interrupted (run again with --resume).
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from theory.usage import OneLineParser

__all__ = ["main"]

_PROG = "python -m llm_validation.trials"

#: Name of a trial -> the module whose ``prepared`` makes of its arguments what is to be run.
_TRIALS: Mapping[str, str] = {
    "coverage": "llm_validation.trials.command",
    "decisions": "llm_validation.trials.decisions_command",
}


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog=_PROG, description="Trials of the diagnosis on simulated traces whose law is known.")
    trials = parser.add_subparsers(dest="trial", required=True, metavar="TRIAL")
    says = "how often the intervals for mu, sigma^2 and c cover, and how wide they are"
    add = trials.add_parser(
        "coverage", help=says, description=f"On planted problems of known law: {says}."
    ).add_argument
    add("--repeats", type=int, default=2000, help="for each pool and number of samples (default 2000)")
    add("--problems", type=int, default=200, help="of a repeat (default 200)")
    add("--samples", default="4,16,64", metavar="RANGE", help="samples a problem (default 4,16,64)")
    add("--seed", type=int, default=0, help="root of all random numbers (default 0)")
    add("--jobs", type=int, default=1, help="processes; the numbers do not depend on it (default 1)")
    _output(add)
    says = "how many cases with a known winner are decided, and how many of these rightly"
    add = trials.add_parser(
        "decisions", help=says, description=f"On simulated learners of exact value: {says}."
    ).add_argument
    add("--cases", type=int, default=200, help="cases, kinds in turn (default 200)")
    add("--seed", type=int, default=0, help="root of all random numbers (default 0)")
    _output(add)
    return parser


def _output(add: Callable[..., Any]) -> None:
    add("--out", type=Path, metavar="DIR", required=True, help="directory for manifest, tables and summary")
    add("--resume", action="store_true", help="go on in a directory that this configuration began")
    add("--format", choices=("table", "json"), default="table", help="standard output (default table)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        prepare: Callable[[argparse.Namespace], Callable[[], int]]
        prepare = importlib.import_module(_TRIALS[arguments.trial]).prepared
        job = prepare(arguments)
    except ValueError as error:
        print(f"{_PROG} {arguments.trial}: {error}", file=sys.stderr)
        return 2
    try:
        return job()
    except KeyboardInterrupt:
        advice = "finished batches are kept, run again with --resume"
        print(f"{_PROG} {arguments.trial}: interrupted; {advice}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
