"""``python -m llm_validation.diagnose plan [PILOT]``: what a wanted precision costs in problems and samples."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_validation.usage import PROG, add_reading, one_run
from sim.ranges import parse_range
from theory.usage import OneLineParser

if TYPE_CHECKING:
    from llm_validation.plan import Plan

__all__ = ["prepared"]

_TARGETS = ("mu", "sigma", "sigma2", "s", "c", "difference")


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog=f"{PROG} plan",
        description="How many problems and samples an interval of the wanted full width needs: from a pilot of one "
        "run, or without one at the worst case over returns in 0..H.",
    )
    add = parser.add_argument
    add("pilot", nargs="?", type=Path, metavar="PILOT", help="traces of one run")
    add("--target", choices=_TARGETS, required=True, metavar="TARGET", help=", ".join(_TARGETS))
    add(
        "--width",
        type=float,
        required=True,
        help="full width wanted: tokens (mu, sigma, difference; answers at H = 1), else a number",
    )
    add("--samples", default="4,8,16,32,64", metavar="RANGE", help="samples of a problem to consider")
    add("--epsilon", type=float, default=0.25, help="margin of c (default 0.25)")
    add("--second", type=Path, metavar="FILE", help="pilot of the other run, for a difference")
    add("--run", metavar="LABEL", help="the run of PILOT whose label contains this")
    add("--second-run", metavar="LABEL", help="the run of --second whose label contains this")
    add("--most-problems", type=int, metavar="X", help="no plan may take more problems")
    add("--mu", type=float, help="without a pilot: the mean return, tokens")
    add("--sigma", type=float, help="without a pilot: the heterogeneity, tokens")
    add("--spread", type=float, help="without a pilot: sd over problems of what is estimated for each")
    add_reading(add)
    return parser


def prepared(argv: Sequence[str]) -> Callable[[], int]:
    """The plan that is asked for, to be called for the exit code. Raises ``ValueError`` with one line."""
    arguments = _parser().parse_args(argv)
    assumed = {name: getattr(arguments, name) for name in ("mu", "sigma", "spread")}
    if arguments.pilot is None:
        if arguments.horizon is None or arguments.horizon < 1:
            raise ValueError("--horizon: expected a whole number of at least 1 where there is no PILOT")
    elif any(value is not None for value in assumed.values()):
        raise ValueError("--mu, --sigma, --spread: expected without a pilot, which shows them")
    try:
        samples = tuple(parse_range(arguments.samples, 1))
    except ValueError as error:
        raise ValueError(f"--samples {error}") from None
    found = _planned(arguments, samples, assumed)

    def job() -> int:
        from llm_validation.diagnosis import plain

        print(json.dumps(plain(found.as_dict()), allow_nan=False) if arguments.format == "json" else _table(found))
        return 0

    return job


def _planned(arguments: argparse.Namespace, samples: Sequence[int], assumed: Mapping[str, float | None]) -> Plan:
    from llm_validation.plan import plan, plan_assumed

    target: Any = arguments.target
    if arguments.pilot is None:
        return plan_assumed(
            arguments.horizon,
            target,
            arguments.width,
            arguments.level,
            samples_options=samples,
            most_problems=arguments.most_problems,
            **assumed,
        )
    pilot = one_run(arguments.pilot, "PILOT", arguments, arguments.run)
    second = one_run(arguments.second, "--second", arguments, arguments.second_run) if arguments.second else None
    return plan(
        pilot,
        arguments.horizon or pilot.longest,
        target,
        arguments.width,
        arguments.level,
        arguments.seed,
        epsilon=arguments.epsilon,
        samples_options=samples,
        second=second,
        most_problems=arguments.most_problems,
    )


def _table(found: Plan) -> str:
    best = found.cheapest
    margin = "" if found.epsilon is None else f"({found.epsilon:g})"
    wanted = (
        f"{found.target}{margin} at H = {found.H}: {found.level:.0%} interval of width {found.width:g} {found.unit}"
    )
    lines = [wanted, f"{'samples':>8} {'problems':>10} {'pilot leaves':>17} {'traces':>10} {'tokens':>10} {'floor':>8}"]
    for row in found.options:
        reach = "" if row.problems_low is None else f"{row.problems_low}..{row.problems_high or 'none'}"
        tokens = "?" if row.tokens is None else f"{row.tokens:.3g}"
        mark = "  <- fewest traces" if best is not None and row.samples == best.samples else ""
        shown = [f"{'none' if v is None else v:>10}" for v in (row.problems, row.traces)]
        lines.append(f"{row.samples:>8} {shown[0]} {reach:>17} {shown[1]} {tokens:>10} {row.floor:>8.3g}{mark}")
        lines += [f"         {row.says}"] if row.problems is None else []
    return "\n".join([*lines, *found.notes])
