"""``python -m sim.sweep``: VF regret, ball gap and free gap against the horizon, beside their bounds.

With ``--experiment NAME`` one of the named experiments of :mod:`sim.experiments`; every other option then replaces the
setting of that name, if the experiment has it.

Exit codes: 0 ok, 1 internal, 2 usage, 3 some cells failed (results kept), 4 a bound was violated, 130 interrupted
(run again with --resume).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.experiments.registry import EXPERIMENTS
from theory.usage import OneLineParser

if TYPE_CHECKING:
    from sim.cells import SweepConfig
    from sim.learners.learner import Learner
    from sim.report import Report
    from sim.store import Output
    from sim.tasks.evidence import Evidence

__all__ = ["main"]

_IMPORTED = time.perf_counter()

#: The options that decide numbers, with what they are in a sweep of the horizon.
_DEFAULTS: Mapping[str, Any] = {
    "horizon": "1..512",
    "rule": "n=H",
    "instance": "codebook",
    "law": "two-point",
    "s": 0.5,
    "log2_M": 64,
    "epsilon": "capacity:1",
    "seeds": 256,
    "seed": 0,
    "learners": "all",
    "N": 16,
}


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m sim.sweep",
        description="Sweep the horizon: optimal verifier-free and verifier-based learners on the codebook instances, "
        "with lower and upper bounds, fitted exponents and a figure.",
    )
    add = parser.add_argument
    add("--experiment", metavar="NAME", help=f"{', '.join(EXPERIMENTS)}; options replace its frozen settings")
    add("--horizon", metavar="RANGE", help="A..B, A..B:STEP, A..BxFACTOR or a comma list (default 1..512)")
    add("--rule", help="traces at each horizon: n=C, n=C*H or n=C*H^p, rounded up (default n=H)")
    add("--instance", metavar="NAME", help="codebook (default) or parity")
    add("--law", metavar="NAME", help="two-point (default), symmetric-two-point or uniform")
    add("--s", type=float, help="sigma/H of symmetric-two-point, in [1e-6, 0.5] (default 0.5)")
    add("--log2-M", type=int, metavar="BITS", help="size of the classes in bits (default 64)")
    add(
        "--epsilon",
        metavar="RULE",
        help="optimal, capacity:A (epsilon^2 = A log M / n, default capacity:1) or a number",
    )
    add("--seeds", type=int, help="independent data sets a horizon (default 256)")
    add("--seed", type=int, help="root of all random numbers (default 0)")
    add("--learners", metavar="LIST", help="comma list (default all)")
    add("--N", type=int, help="draws of best-of-N (default 16)")
    add("--out", type=Path, metavar="DIR", help="directory for manifest, tables, summary and figure")
    add("--resume", action="store_true", help="go on in a directory that this configuration began")
    add("--format", choices=("table", "json"), default="table", help="standard output (default table)")
    add("--dry-run", action="store_true", help="say what would run and how long it would take")
    add("--yes", action="store_true", help="run even if the estimate is above an hour")
    return parser


def _seconds_since_start() -> float:
    """Wall seconds since the process started (Linux); since this module was imported elsewhere."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError):
        return time.perf_counter() - _IMPORTED


def _configuration(arguments: argparse.Namespace) -> tuple[SweepConfig, list[Learner]]:
    """Checked configuration and learners. Raises ``ValueError`` with one line."""
    from sim.cells import SweepConfig
    from sim.learners.learner import learners

    known = {name: x for name, x in learners().items() if arguments.instance in x.instances}
    names = list(known) if arguments.learners == "all" else [name.strip() for name in arguments.learners.split(",")]
    plain = ("rule", "instance", "law", "s", "log2_M", "epsilon", "seeds", "seed", "N")
    values = {name: getattr(arguments, name) for name in plain}
    config = SweepConfig.checked(arguments.horizon, **values, learners=tuple(name for name in known if name in names))
    for name in names:
        if name not in known:
            raise ValueError(f"--learners {name}: expected all, or some of {', '.join(known)}")
    return config, [known[name] for name in config.learners]


def _table(report: Report, wall: float, note: str) -> str:
    from sim.report import GAPS

    lines = [f"{'H':>6} {'n':>8} {'epsilon':>8}" + "".join(f" {name + ' [tokens]':>24}" for name in GAPS)]
    gaps: dict[int, dict[str, Any]] = {}
    for row in report.gaps.to_pylist():
        mark = " " if row["bound_lower_valid"] else "*"
        shown_mean = f"{row['gap_mean']:.4g} +- {row['gap_se']:.2g}{mark}"
        gaps.setdefault(row["horizon"], {"row": row})[row["gap"]] = shown_mean
    shown = [H for i, H in enumerate(gaps) if len(gaps) <= 24 or H & (H - 1) == 0 or i == len(gaps) - 1]
    for H in shown:
        row = gaps[H]["row"]
        cells = "".join(f" {gaps[H].get(name, '-'):>24}" for name in GAPS)
        lines.append(f"{H:>6} {row['n']:>8} {row['epsilon']:>8.4f}{cells}")
    if not all(report.gaps["bound_lower_valid"].to_pylist() if report.gaps.num_rows else [True]):
        lines.append("* outside the window: the lower bound says nothing there (rows not shown included)")
    for name, e in report.exponents.items():
        if e.estimate is None or e.ci_low is None:
            lines.append(f"exponent of {name}: none ({e.reason})")
        else:
            support = f"{e.horizons} horizons, {e.horizons_inside_window} inside the window"
            lines.append(f"exponent of {name}: {e.estimate:.4f}  95% [{e.ci_low:.4f}, {e.ci_high:.4f}], {support}")
    summary = report.summary()
    counts = f"bound violations: {summary['bound_violations']}   unresolved: {len(report.unresolved)}"
    lines.append(f"cells: {summary['cells']}   {counts}   wall: {wall:.1f} s{note}")
    lines += [f"violation: {violation}" for violation in report.violations]
    lines += [f"unresolved by {report.results['seeds'][0]} trials: {violation}" for violation in report.unresolved]
    lines += [f"failed: H = {H}" for H in report.failed]
    return "\n".join(lines)


def _sampled(config: SweepConfig, output: Output | None) -> Evidence:
    """Evidence of all cells, with a progress bar on stderr if that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    from sim.runner import run_cells

    cells = config.cells()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("cells", total=len(cells))
        return run_cells(cells, config.seeds, output, lambda done: bar.advance(task, done))


def _run(arguments: argparse.Namespace, config: SweepConfig, chosen: list[Learner], output: Output | None) -> int:
    from sim.figure import draw
    from sim.report import make_report

    started = time.perf_counter()
    evidence = _sampled(config, output)
    timing = {"sampling_seconds": round(time.perf_counter() - started, 3)}
    report = make_report(config, chosen, evidence)
    if output:
        output.write_table("results.parquet", report.results)
        output.write_table("gaps.parquet", report.gaps)
        output.write_json("summary.json", report.summary())
        if report.gaps.num_rows:
            draw("gap", output.path)
    timing["wall_seconds"] = round(_seconds_since_start(), 3)
    if output and output.finished:  # nothing was sampled now: keep the times of the run that did
        timing = {name: output.manifest[name] for name in timing}
    summary = {**report.summary(), **timing}
    if output:
        output.write_json("summary.json", summary)
        output.finish("failed cells" if report.failed else "done", **timing)
    if arguments.format == "json":
        print(json.dumps(summary, allow_nan=False))
    else:
        print(_table(report, timing["wall_seconds"], " (when it was sampled)" if output and output.finished else ""))
        if output:
            figure = f"   figure: {output.path / 'gap.png'}" if report.gaps.num_rows else ""
            print(f"table: {output.path / 'results.parquet'}{figure}")
    return 4 if report.violations else 3 if report.failed else 0


def _sweep(arguments: argparse.Namespace, given: Mapping[str, Any]) -> Callable[[], int]:
    """The sweep of the horizon that is asked for, to be called for the exit code. Raises ``ValueError``."""
    from sim.cost import HOUR, estimated_seconds
    from sim.store import Output

    config, chosen = _configuration(argparse.Namespace(**{**_DEFAULTS, **given}))
    cells = config.cells()
    estimate = estimated_seconds(cells, config.seeds)
    if arguments.dry_run:
        plan = {"cells": len(cells), "estimated_seconds": round(estimate, 1), "config": config.as_dict()}
        text = f"{len(cells)} cells, {config.seeds} data sets each, about {estimate:.0f} s"
        return lambda: print(json.dumps(plan) if arguments.format == "json" else text) or 0
    if estimate > HOUR and not arguments.yes:
        raise ValueError(f"estimated time {estimate / HOUR:.1f} h: expected at most an hour, or --yes")
    output = Output.open(arguments.out, config.as_dict(), arguments.resume) if arguments.out else None
    return lambda: _run(arguments, config, chosen, output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = _parser().parse_args(argv)
    given = {name: value for name in _DEFAULTS if (value := getattr(arguments, name)) is not None}
    try:
        if arguments.resume and arguments.out is None:
            raise ValueError("--resume: expected --out DIR")
        if arguments.experiment is None:
            job = _sweep(arguments, given)
        else:
            from sim.experiments.command import prepared

            job = prepared(arguments, given)
    except ValueError as error:
        print(f"python -m sim.sweep: {error}", file=sys.stderr)
        return 2
    try:
        return job()
    except KeyboardInterrupt:
        advice = "; finished batches are kept, run again with --resume" if arguments.out else ""
        print(f"python -m sim.sweep: interrupted{advice}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
