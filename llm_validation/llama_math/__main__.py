"""``python -m llm_validation.llama_math``: stitched-trace fine-tuning against best-of-N with a trained verifier.

Exit codes: 0 ok, 1 internal, 2 usage, 3 some cells failed (results are kept), 130 interrupted or out of time (run again
with --resume).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from theory.usage import OneLineParser

__all__ = ["main"]

_PROG = "python -m llm_validation.llama_math"


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog=_PROG,
        description="Samples a model's attempts at mathematics problems, grades them, fine-tunes one copy on stitched "
        "traces (TRL SFT) and trains another as a verifier, and compares them on held-out problems at equal tokens and "
        "FLOPs. Stages: problems, sample, grade, stitch, sft, verifier, evaluate; each resumable, each with a table.",
    )
    add = parser.add_argument
    add("--recipe", default="smollm2", metavar="NAME_OR_FILE", help="smoke, smollm2 (default), llama-3.2-3b, "
        "llama-3.1-8b, or a TOML file")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="directory for tables, checkpoints and manifests")
    add("--resume", action="store_true", help="go on in a directory that this recipe began")
    add("--stages", metavar="A,B", help="only these (default: all, in their order)")
    add("--minutes", type=float, metavar="M", help="begin no cell after M minutes; go on with --resume (exit code 130)")
    add("--model", metavar="SOURCE", help="model.source instead of the recipe's: a .gguf file, a directory, a hub name")
    add("--problems", metavar="PATH", help="a file of problems (MATH's or GSM8K's layout) to train on and evaluate, "
        "instead of the recipe's source")  # fmt: skip
    add("--set", action="append", default=[], metavar="NAME=PATH", help="where one of the recipe's sets is read from "
        "instead, may be given again: gsm8k=gsm8k_test.jsonl.gz where there is no hub")  # fmt: skip
    add("--endpoint", metavar="URL", help="an OpenAI-compatible server (.../v1) that writes the base's attempts")
    add("--endpoint-model", metavar="NAME", help="what that server calls the model")
    add("--device", choices=("cpu", "cuda"), help="instead of the recipe's")
    add("--seed", type=int, help="instead of the recipe's")
    add("--format", choices=("table", "json"), default="table", help="standard output (default table)")
    add("--dry-run", action="store_true", help="stages, cells, tokens, FLOPs and memory; nothing is loaded or written")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        try:
            from llm_validation.llama_math.command import prepared

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
