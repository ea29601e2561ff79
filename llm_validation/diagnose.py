"""``python -m llm_validation.diagnose TRACES...``: should this model be cloned or verified?

``diagnose plan TRACES`` says how many samples a wanted precision costs, ``diagnose compare FIRST SECOND`` compares two
runs on the same problems.

Exit codes: 0 ok, 1 internal, 2 usage or traces that cannot be used, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_validation.usage import PROG, add_reading, chosen, one_run, read, shown
from theory.usage import OneLineParser

if TYPE_CHECKING:
    from llm_validation.diagnosis import Options, RunDiagnosis
    from llm_validation.traces import Traces

__all__ = ["main"]

_NATS = "nats, log of the number of its members"


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog=PROG,
        description="From sampled traces: heterogeneity, anti-concentration, test-time curves, and the decision to "
        "clone good traces or to verify, with its uncertainty. Also: diagnose plan, diagnose compare (--help).",
    )
    add = parser.add_argument
    add("traces", nargs="+", type=Path, metavar="TRACES", help="Parquet, JSONL, JSONL.gz or CSV, long or wide")
    add_reading(add)
    add(
        "--run",
        action="append",
        default=[],
        metavar="LABEL",
        help="only runs whose label contains this; may be repeated",
    )
    add(
        "--n",
        type=int,
        help="training traces of either recipe, of independent problems (default: the problems of each run)",
    )
    add(
        "--draws",
        type=int,
        metavar="N",
        help="draws of best-of-N at deployment (default: 16, or the samples there are)",
    )
    add("--kappa", type=float, default=1.0, help="chi^2 radius of the expert that VF clones (default 1)")
    add("--log-policies", type=float, metavar="L", help=f"size of the policy class, {_NATS}")
    add("--log-verifiers", type=float, metavar="L", help=f"size of the verifier class, {_NATS}")
    add("--curves", type=Path, metavar="FILE", help="measured learning curves: columns method, n, H, J and se or seed")
    add("--expert", type=Path, metavar="FILE", help="traces of an outside expert that VF would clone")
    add("--expert-run", metavar="LABEL", help="the run of --expert whose label contains this")
    add("--cloned", type=Path, metavar="FILE", help="traces of the cloned model itself")
    add("--cloned-run", metavar="LABEL", help="the run of --cloned whose label contains this")
    add("--trust-prediction", action="store_true", help="count the codebook's prediction as evidence (an assumption)")
    add("--params", type=float, help="parameters of the model, for FLOPs of test-time search")
    add("--verifier-params", type=float, help="parameters of the verifier, for the same")
    add("--embeddings", metavar="MODEL", help="diversity by sentence embeddings of this model (extra 'embeddings')")
    add("--out", type=Path, metavar="DIR", help="tables, figures and a self-contained report.html here")
    add("--figures", type=int, default=16, metavar="RUNS", help="figures of the first RUNS runs (default 16)")
    add("--resume", action="store_true", help="finish an --out directory of the same call")
    return parser


def _named(option: str, read_it: Callable[[Any], Any], value: Any) -> Any:
    """What ``read_it`` makes of an option's value. Raises ``ValueError`` with one line that names the option."""
    try:
        return read_it(value)
    except ValueError as error:
        raise ValueError(f"{option} {error}") from None


def _options(arguments: argparse.Namespace) -> Options:
    from llm_validation.diagnosis import Options
    from llm_validation.diversity import sentence_embedder
    from llm_validation.learning_curves import read_curves

    for name in ("expert", "cloned"):
        if getattr(arguments, f"{name}_run") and not getattr(arguments, name):
            raise ValueError(f"--{name}-run: expected --{name} FILE with it")
    if arguments.expert and arguments.cloned:
        raise ValueError("--cloned: expected without --expert, whose clone it would be")
    return Options(
        horizon=arguments.horizon,
        n=arguments.n,
        N=arguments.draws,
        kappa=arguments.kappa,
        log_policies=arguments.log_policies,
        log_verifiers=arguments.log_verifiers,
        expert=one_run(arguments.expert, "--expert", arguments, arguments.expert_run) if arguments.expert else None,
        cloned=one_run(arguments.cloned, "--cloned", arguments, arguments.cloned_run) if arguments.cloned else None,
        curves=_named("--curves", read_curves, arguments.curves) if arguments.curves else None,
        trust_prediction=arguments.trust_prediction,
        params=arguments.params,
        verifier_params=arguments.verifier_params,
        embed=_named("--embeddings", sentence_embedder, arguments.embeddings) if arguments.embeddings else None,
        seed=arguments.seed,
        level=arguments.level,
    )


def _lines(run: Mapping[str, Any]) -> list[str]:
    """The table of one run."""
    unit, samples, estimates = run["unit"], run["samples"], run["estimates"]
    few = f"{samples['min']:g}..{samples['max']:g}"
    lines = [
        run["run"]["label"],
        f"  H = {run['H']}   {run['traces']} traces, {run['problems']} problems, {few} known returns each",
        f"  mu    {shown(estimates['mu'])} {unit}",
        f"  sigma {shown(estimates['sigma'])} {unit}   s = sigma/H {shown(estimates['s'])}",
    ]
    quartiles = ", ".join("?" if q is None else f"{q:.3g}" for q in run["spread"]["s_quartiles"])
    alike = run["spread"]["constant_problems"]
    lines.append(f"  s quartiles over problems {quartiles}   problems whose returns are all alike {alike}")
    block = run["concentration"]
    for i, epsilon in enumerate(block["epsilon"] if block else []):
        tenth, least = block["lower_quantile"]["low"][i], block["least"][i]
        certified = [f"9 in 10 problems at least {tenth:.3g}"] if tenth else []
        certified += [f"every problem at least {least:.3g}"] if least else []
        lines.append(
            f"  c({epsilon:g}) mean {shown(block['mean'][i])}   {', '.join(certified) or 'no problem certified'}"
        )
    lines += [f"  {'!' if f['serious'] else '-'} {f['name']}: {f['count']} {f['says']}" for f in run["findings"]]
    curves = (run["prediction"] or {}).get("from_curves") or {}
    for reading in curves.get("complexities", ()):
        if reading["estimate"] is not None:
            lines.append(
                f"  {reading['name']} {reading['bound']} {shown(reading)} nats, read from curves: {reading['says']}"
            )
    decision = run["decision"]
    lines.append(f"  decision: {decision['verdict'].upper()}")
    lines += [f"    because {reason}" for reason in decision["reasons"]]
    lines += [f"    {part['kind']}: {part['says']}" for part in decision["parts"]]
    lines += [f"    would settle it: {wanted}" for wanted in decision["would_settle"]]
    lines += [f"    at H = {row['H']}: {row['verdict']} ({row['why']})" for row in decision["sensitivity"]]
    return lines


def _diagnosed(traces: Traces, options: Options) -> list[RunDiagnosis]:
    """All runs, with a progress bar on stderr if that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    from llm_validation.diagnosis import diagnose

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("runs", total=len(traces.groups))
        return diagnose(traces, options, lambda done: bar.advance(task, done))


def _config(arguments: argparse.Namespace) -> dict[str, Any]:
    """What decides the numbers: options, and digests of the files."""
    import hashlib

    files = [*arguments.traces, *(p for p in (arguments.expert, arguments.cloned, arguments.curves) if p)]
    digests = {str(path): hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files}
    kept = {
        name: ([str(v) for v in value] if isinstance(value, list) else str(value) if isinstance(value, Path) else value)
        for name, value in vars(arguments).items()
        if name not in ("out", "resume", "format")
    }
    return {"diagnosis": 1, **kept, "files": digests}


def _diagnose(arguments: argparse.Namespace) -> Callable[[], int]:
    """The diagnosis that is asked for, to be called for the exit code. Raises ``ValueError``."""
    if arguments.resume and arguments.out is None:
        raise ValueError("--resume: expected --out DIR")
    if arguments.figures < 0:
        raise ValueError(f"--figures {arguments.figures}: expected a number of runs, at least 0")
    options = _options(arguments)
    traces = chosen(read(arguments.traces, arguments), arguments.run, "--run")
    output = None
    if arguments.out:
        from sim.store import Output

        packages = ("theory", "sim", "llm_validation")
        output = Output.open(arguments.out, _config(arguments), arguments.resume, packages)

    def job() -> int:
        started = time.perf_counter()
        runs = _diagnosed(traces, options)
        document: dict[str, Any] = {
            "title": ", ".join(path.name for path in arguments.traces),
            "files": [str(path) for path in arguments.traces],
            "options": {k: v for k, v in _config(arguments).items() if k != "files" and v not in (None, [], False)},
            "versions": {},
            "notes": list(traces.notes),
            "runs": [run.data for run in runs],
            "comparison": None,
        }
        if output is not None:
            from llm_validation.store import write_diagnosis

            document["versions"] = {**output.manifest["versions"], "code": output.manifest["code"]}
            write_diagnosis(output, document, arguments.figures)
            output.finish("done", seconds=round(time.perf_counter() - started, 3))
        if arguments.format == "json":
            print(json.dumps(document, allow_nan=False))
        else:
            print("\n".join([*traces.notes, *(line for run in document["runs"] for line in _lines(run))]))
            if output is not None:
                print(f"report: {output.path / 'report.html'}")
        return 0

    return job


_COMMANDS: Mapping[str, tuple[str, str]] = {
    "plan": ("llm_validation.plan_command", "prepared"),
    "compare": ("llm_validation.compare_command", "prepared"),
}


def _prepared(argv: Sequence[str]) -> Callable[[], int]:
    if argv and argv[0] in _COMMANDS and not Path(argv[0]).exists():
        import importlib

        module, name = _COMMANDS[argv[0]]
        prepare: Callable[[Sequence[str]], Callable[[], int]] = getattr(importlib.import_module(module), name)
        return prepare(argv[1:])
    return _diagnose(_parser().parse_args(argv))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    try:
        job = _prepared(sys.argv[1:] if argv is None else argv)
    except ValueError as error:
        print(f"{PROG}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _interrupted()
    try:
        return job()
    except ValueError as error:
        from llm_validation.traces import TraceError

        if not isinstance(error, TraceError):
            raise
        print(f"{PROG}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _interrupted()


def _interrupted() -> int:
    print(f"{PROG}: interrupted; nothing of the report is kept, run again with --resume", file=sys.stderr)
    return 130


if __name__ == "__main__":
    sys.exit(main())
