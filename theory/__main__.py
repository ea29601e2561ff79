"""``python -m theory``: the statements, their proofs, their numbers, and attacks on them.

Exit codes: 0 done (also where a bound is vacuous or an assumption fails: the answer says so), 2 usage,
4 a step, a lemma or a claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theory.usage import OneLineParser

if TYPE_CHECKING:
    import flint

    from theory.check import LemmaReport, ProofReport
    from theory.theorem import Theorem

__all__ = ["main"]

_FORMATS = ("text", "latex", "markdown", "json")
_VIOLATED = 4


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="python -m theory", description="Statements of the VF/VB comparison.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, words: str, label: str | None, formats: Sequence[str], more: str = "") -> OneLineParser:
        made = commands.add_parser(name, help=words, description=more or words)
        if label == "one":
            made.add_argument("label", help="such as vf-lower; see: python -m theory list")
        elif label == "any":
            made.add_argument("labels", nargs="*", metavar="LABEL", help="all statements if none is named")
        made.add_argument(
            "--format", choices=(*formats, "table"), default="text", help="table is another word for text"
        )
        return made

    command("list", "all statements: label, kind, what is bounded", None, _FORMATS)
    command("show", "one statement: assumptions, symbols, claims, tightness", "one", _FORMATS)
    command("derive", "the whole derivation of one statement", "one", _FORMATS)
    evaluate = command(
        "evaluate",
        "value, validity and conditions of one statement at a point",
        "one",
        ("text", "json"),
        "A lower bound asked for without epsilon is maximised over it and the maximiser is reported.",
    )
    evaluate.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="H=512 n=512 ...")
    evaluate.add_argument(
        "--rigorous", action="store_true", help="enclose the value in an Arb ball, at a given epsilon"
    )
    evaluate.add_argument("--bits", type=int, metavar="B", help="working precision of the ball (default 40)")
    check = command("check", "verify every step of every derivation, and every lemma", "any", ("text", "json"))
    check.add_argument("--trials", type=int, default=200, help="random instances a lemma is tried on (default 200)")
    falsify = command("falsify", "search the whole domain of a statement for a violation", "one", ("text", "json"))
    falsify.add_argument("--seed", type=int, default=0, help="the same seed repeats the same search (default 0)")
    falsify.add_argument("--effort", type=int, default=1, help="how long to search, 0 is quick (default 1)")
    mutate = command("mutate", "change every constant of claims and steps: is it noticed?", "any", ("text", "json"))
    mutate.add_argument("--record", action="store_true", help="keep the counts of all statements in the package")
    command("graph", "which statement rests on which", None, ("text", "json", "svg"))
    pages = commands.add_parser("pages", help="write the documentation of every statement", description="Overwrites.")
    pages.add_argument("--out", type=Path, required=True, metavar="DIR", help="such as docs/theorems")
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


def _ball(ball: flint.arb, bits: int, value: float) -> dict[str, Any]:
    """The ball as digits that Arb proves, and whether the float64 value lies in it."""
    return {
        "ball": ball.str(max(int(bits * 0.30103), 3)),
        "midpoint": float(ball.mid()),
        "radius": float(ball.rad()),
        "bits": bits,
        "holds_float64": bool(ball.contains(value)),
    }


def _evaluate(statement: Theorem, arguments: argparse.Namespace) -> str:
    if arguments.bits is not None and not arguments.rigorous:
        raise ValueError("--bits goes with --rigorous")
    bits = 40 if arguments.bits is None else arguments.bits
    if not 10 <= bits <= 100_000:
        raise ValueError(f"--bits {bits}: expected 10..100000")
    values = _assignments(arguments.set)
    answer = statement.evaluate(**values).as_dict()
    if arguments.rigorous:
        answer["rigorous"] = _ball(statement.enclose(bits, **values), bits, answer["value"])
    return json.dumps(answer, allow_nan=False) if arguments.format == "json" else _show(answer)


def _print_check(proofs: Sequence[ProofReport], lemmas: Sequence[LemmaReport]) -> None:
    for p in proofs:
        steps = ", ".join(f"{count} {kind}" for kind, count in p.steps.items() if count)
        verdict = "FAILS" if p.error else "holds"
        print(f"{verdict}  {p.label:22s} {p.claims} claims; steps: {steps} ({p.seconds:.1f} s)")
        if p.error:
            print(f"       {p.error}")
        for name in p.prose:
            print(f"       prose, not checked: {name}")
    for it in lemmas:
        print(f"{'holds' if it.held else 'FAILS'}  lemma {it.label} on {it.trials} random instances")


def _check(arguments: argparse.Namespace) -> int:
    from theory.check import check_lemmas, check_proofs
    from theory.registry import theorem

    if arguments.trials < 1:
        raise ValueError(f"--trials {arguments.trials}: expected at least 1")
    for label in arguments.labels:
        theorem(label)
    proofs = check_proofs(arguments.labels or None)
    lemmas = check_lemmas(arguments.trials)
    kinds = ("identity", "inequality", "lemma", "application", "prose")
    total = {kind: sum(p.steps.get(kind, 0) for p in proofs) for kind in kinds}
    failed = [p.label for p in proofs if p.error] + [it.label for it in lemmas if not it.held]
    if arguments.format == "json":
        rows = {
            "statements": [p.as_dict() for p in proofs],
            "lemmas": [{"label": it.label, "trials": it.trials, "held": it.held} for it in lemmas],
            "steps": total,
            "failed": failed,
        }
        print(json.dumps(rows, indent=1))
    else:
        _print_check(proofs, lemmas)
        counted = ", ".join(f"{count} {kind}" for kind, count in total.items())
        steps = f"{sum(total.values())} steps ({counted})"
        print(f"{len(proofs)} statements, {steps}, {len(lemmas)} lemmas, {len(failed)} failed")
    return _VIOLATED if failed else 0


def _mutate(arguments: argparse.Namespace) -> int:
    from theory.mutation import record, report
    from theory.registry import theorem, theorems

    if arguments.record and arguments.labels:
        raise ValueError("--record is for all statements: expected no LABEL")
    for label in arguments.labels:
        theorem(label)
    reports = [report(label) for label in arguments.labels or theorems()]
    if arguments.record:
        record(reports)
    survivors = [f"{r.label}: {name}" for r in reports for name in r.survived]
    if arguments.format == "json":
        print(json.dumps([r.as_dict() for r in reports], indent=1))
    else:
        for r in reports:
            tried = f"claims {r.claims}, steps {r.steps}, left out {r.deletions}"
            told = f"{r.false} of {r.unsafe} unsafe mutants of claims are false on the recorded instance"
            print(f"{r.label:22s} {tried}: {len(r.survived)} survived the check; {told}")
        for name in survivors:
            print(f"SURVIVED  {name}")
        total = sum(r.claims + r.steps + r.deletions for r in reports)
        unsafe, false = sum(r.unsafe for r in reports), sum(r.false for r in reports)
        print(
            f"{total} mutants, {len(survivors)} survived the check; numbers alone show {false} of {unsafe} to be false"
        )
    return _VIOLATED if survivors else 0


def _falsify(arguments: argparse.Namespace) -> int:
    from theory.falsify import falsify
    from theory.registry import theorem

    theorem(arguments.label)
    findings = falsify(arguments.label, seed=arguments.seed, effort=arguments.effort)
    if arguments.format == "json":
        print(json.dumps([finding.as_dict() for finding in findings], indent=1, allow_nan=False))
    else:
        for finding in findings:
            print(finding)
    return _VIOLATED if any(finding.violated for finding in findings) else 0


def _graph(form: str) -> str:
    from theory.graph import edges, layers, svg
    from theory.registry import theorems

    uses = {label: t.uses for label, t in theorems().items()}
    if form == "svg":
        return svg(uses, {label: t.kind for label, t in theorems().items()})
    if form == "json":
        return json.dumps({"layers": layers(uses), "edges": edges(uses)}, indent=1)
    return "\n".join(f"{label}: {', '.join(used) or 'rests on lemmas only'}" for label, used in uses.items())


def _run(arguments: argparse.Namespace) -> int:
    from theory.registry import derivation, theorem, theorems

    if arguments.command == "check":
        return _check(arguments)
    if arguments.command == "falsify":
        return _falsify(arguments)
    if arguments.command == "mutate":
        return _mutate(arguments)
    if arguments.command == "graph":
        print(_graph(arguments.format))
        return 0
    if arguments.command == "pages":
        from theory.pages import write

        write(arguments.out)
        return 0
    if arguments.command == "evaluate":
        print(_evaluate(theorem(arguments.label), arguments))
        return 0
    from theory import render

    if arguments.command == "list":
        print(render.listing(list(theorems().values()), arguments.format))
    elif arguments.command == "show":
        from theory.pages import tightness

        print(render.shown_theorem(theorem(arguments.label), arguments.format, tightness(arguments.label)))
    else:
        print(render.shown_derivation(derivation(arguments.label), arguments.format))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = _parser().parse_args(argv)
    if getattr(arguments, "format", None) == "table":
        arguments.format = "text"
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has seen enough; nothing more can be written, at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyError, ValueError) as error:
        print(f"python -m theory {arguments.command}: {error.args[0]}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
