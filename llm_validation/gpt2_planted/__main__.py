"""``python -m llm_validation.gpt2_planted``: the didactic experiment, from procedural traces to measured gaps.

Exit codes: 0 ok, 1 internal, 2 usage, 3 some cells failed or a base has not learnt its task (results are kept), 4 a
mathematical claim was violated, 130 interrupted or out of time (run again with --resume).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from theory.usage import OneLineParser

__all__ = ["main"]

_PROG = "python -m llm_validation.gpt2_planted"


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog=_PROG,
        description="Trains GPT-2 on planted-subsequence traces of controlled heterogeneity, then compares cloning its "
        "solved draws (TRL SFT) with a trained verifier that picks among draws or is optimised against (TRL GRPO). "
        "Stages: data, base, measure, vf, verifier, rl, best-of-n, evaluate; each resumable, each with a table.",
    )
    add = parser.add_argument
    add("--recipe", default="laptop", metavar="NAME_OR_FILE", help="smoke, laptop (default), gpu, or a TOML file")
    add("--out", type=Path, metavar="DIR", help="directory for tables, checkpoints and manifests")
    add("--resume", action="store_true", help="go on in a directory that this recipe began")
    add("--stages", metavar="A,B", help="only these (default: all, in their order)")
    add("--processes", type=int, metavar="N", help="worker processes of one thread (default: the recipe's)")
    add("--minutes", type=float, metavar="M", help="begin no cell after M minutes; go on with --resume (exit code 130)")
    add("--model", metavar="SOURCE", help="network.source instead of the recipe's: scratch, a directory, a hub name")
    add("--device", choices=("cpu", "cuda"), help="instead of the recipe's")
    add("--seed", type=int, help="instead of the recipe's")
    add("--format", choices=("table", "json"), default="table", help="standard output (default table)")
    add("--dry-run", action="store_true", help="say what would be done: cells of every stage, the stated budget")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        try:
            from llm_validation.gpt2_planted.command import prepared

            job = prepared(arguments)
        except ValueError as error:
            print(f"{_PROG}: {error}", file=sys.stderr)
            return 2
        return job()
    except KeyboardInterrupt:
        print(f"{_PROG}: interrupted; finished cells are kept, run again with --resume", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
