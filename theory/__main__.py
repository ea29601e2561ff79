"""``python -m theory``: list the statements, and evaluate one at a point.

Exit codes: 0 done (also where a bound is vacuous or an assumption fails: the answer says so), 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from theory.usage import OneLineParser

if TYPE_CHECKING:
    from theory.theorem import Theorem

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="python -m theory", description="Statements of the VF/VB comparison.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="all statements: label, kind, what is bounded")
    evaluate = commands.add_parser(
        "evaluate",
        help="value, validity and conditions of one statement at a point",
        description="A lower bound asked for without epsilon is maximised over it and the maximiser is reported.",
    )
    evaluate.add_argument("label", help="such as vf-lower; see: python -m theory list")
    evaluate.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="H=512 n=512 ...")
    for command in (listing, evaluate):
        command.add_argument("--format", choices=("table", "json"), default="table")
    return parser


def _assignments(pairs: Sequence[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"--set {pair}: expected NAME=VALUE")
        if name in values:
            raise ValueError(f"--set {pair}: {name} is given twice")
        try:
            values[name] = float(text)
        except ValueError:
            raise ValueError(f"--set {pair}: expected a number after {name}=") from None
    return values


def _show(answer: dict[str, Any]) -> str:
    lines = [f"{answer['label']} ({answer['kind']}): {answer['value']:.10g} {answer['units']}"]
    lines.append("valid: " + ("yes" if answer["valid"] else "no"))
    for condition in answer["conditions"]:
        verdict = "holds" if condition["holds"] else "fails"
        note = "" if condition["required"] else " (informs only)"
        lines.append(f"  {verdict}  {condition['name']}  margin {condition['margin']:.6g}{note}")
    known = {"label", "value", "valid", "conditions", "units", "kind"}
    lines += [f"{name}: {_shown(value)}" for name, value in answer.items() if name not in known]
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _listing(theorems: Sequence[Theorem], form: str) -> str:
    if form == "table":
        return "\n".join(f"{t.label:20s} {t.kind:9s} {t.bounds}" for t in theorems)
    rows = [
        {
            "label": t.label,
            "kind": t.kind,
            "statement": t.statement,
            "bounds": t.bounds,
            "units": t.units,
            "required": t.required,
            "optional": t.optional,
            "family": t.family.description,
            "uses": t.uses,
        }
        for t in theorems
    ]
    return json.dumps(rows, indent=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = _parser().parse_args(argv)
    from theory.registry import theorem, theorems

    if arguments.command == "list":
        print(_listing(list(theorems().values()), arguments.format))
        return 0
    try:
        answer = theorem(arguments.label).evaluate(**_assignments(arguments.set)).as_dict()
        text = json.dumps(answer, allow_nan=False) if arguments.format == "json" else _show(answer)
    except (KeyError, ValueError) as error:
        print(f"python -m theory evaluate: {error.args[0]}", file=sys.stderr)
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
