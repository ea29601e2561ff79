"""The recorded table of attacks: ``python -m theory.falsify.table`` writes ``tightness.json`` beside this module.

The same seed and effort on the same machine with the same versions repeat the table. Every row carries its instance, so
that whoever doubts a ratio computes both sides again: :func:`again`.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theory.usage import OneLineParser

if TYPE_CHECKING:
    from theory.falsify.adversary import Adversary, Sides
    from theory.proof import Claim

__all__ = ["PATH", "again", "attacker", "record", "recorded", "write"]

PATH = Path(__file__).parent / "tightness.json"
_VERSIONED = ("jax", "numpy", "scipy", "sympy")


def record(seed: int = 0, effort: int = 1) -> dict[str, Any]:
    """Attack every statement: the findings in the order of the registry, and what they were found with."""
    from theory.falsify import falsify
    from theory.registry import theorems

    findings = [finding.as_dict() for label in theorems() for finding in falsify(label, seed=seed, effort=effort)]
    versions = {name: version(name) for name in _VERSIONED}
    command = "python -m theory.falsify.table"
    return {"manifest": {"command": command, "seed": seed, "effort": effort, **versions}, "findings": findings}


def write(path: Path = PATH, seed: int = 0, effort: int = 1) -> dict[str, Any]:
    """Record the table and write it as JSON, keys sorted. Returns it."""
    table = record(seed, effort)
    path.write_text(json.dumps(table, indent=1, sort_keys=True, allow_nan=False) + "\n")
    return table


@functools.cache
def recorded() -> Mapping[str, Any]:
    """The recorded table; empty if there is none."""
    return dict(json.loads(PATH.read_text())) if PATH.is_file() else {}


def attacker(row: Mapping[str, Any]) -> Adversary:
    """The adversary that found a recorded row. Raises ``KeyError`` if it is gone."""
    from theory.falsify.adversary import adversaries

    for adversary in adversaries(row["label"]):
        if (adversary.claim, adversary.space.name) == (row["claim"], row["attack"]):
            return adversary
    raise KeyError(f"{row['label']} [{row['claim']}] has no attack {row['attack']!r}")


def again(row: Mapping[str, Any], claim: Claim | None = None) -> Sides:
    """Both sides on the recorded instance, computed now; of another claim of that name if one is given."""
    from theory.falsify.adversary import sides
    from theory.registry import theorem

    asked = claim or theorem(row["label"]).claim(row["claim"])
    return sides(attacker(row), asked, dict(row["instance"]), registered=claim is None)


def main(argv: Sequence[str] | None = None) -> int:
    """Record the table; exit code 4 if a claim is violated."""
    parser = OneLineParser(
        prog="python -m theory.falsify.table", description="Attack every statement, about two minutes."
    )
    parser.add_argument("--out", type=Path, default=PATH, metavar="FILE", help="where to (default: in the package)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed repeats the same searches (default 0)")
    parser.add_argument("--effort", type=int, default=1, help="how long to search (default 1)")
    arguments: argparse.Namespace = parser.parse_args(argv)
    table = write(arguments.out, arguments.seed, arguments.effort)
    for row in table["findings"]:
        print(f"{row['label']:24s} {row['claim']:18s} {row['ratio']:<10.6g} {row['verdict']}")
    return 4 if any(row["violated"] for row in table["findings"]) else 0


if __name__ == "__main__":
    sys.exit(main())
