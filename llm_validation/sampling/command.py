"""Runs ``python -m llm_validation.sampling``: batches as shards, one table of traces, manifest, exit code.

The traces are numbered problem by problem; a batch is a run of consecutive numbers and one shard. Random numbers belong
to a trace (seed, model, run, problem, sample), so that batches can be done in any order, again, or in parts.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from llm_validation.sampling.backend import Backend, BackendError, Request, Sampling, request_seed
from llm_validation.sampling.models import Source, find_model
from llm_validation.sampling.problems import Problem, make_problems
from llm_validation.sampling.prompts import MOST_SHOTS, STOP, prompt, shot_questions
from llm_validation.sampling.table import COLUMNS, as_table, summary, trace_row
from llm_validation.usage import shown
from sim.store import Output

if TYPE_CHECKING:
    import pyarrow as pa

    from llm_validation.sampling.endpoint_backend import EndpointBackend

__all__ = ["Plan", "prepared"]

#: What the traces are made by: this package, whatever happens to the rest of the diagnosis.
_SOURCES = ("llm_validation/sampling",)
_LIBRARIES = ("gguf", "tokenizers", "torch", "transformers")
_MOST = {"samples": 10**6, "horizon": 10**6, "batch": 4096}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides the traces, apart from the model's weights. Build with :meth:`of`."""

    model: str
    run_id: str
    problems: tuple[Problem, ...]
    samples: int
    sampling: Sampling
    shots: int
    seed: int
    batch: int

    @classmethod
    def of(cls, arguments: argparse.Namespace, model: str) -> Plan:
        """The plan that the command line asks for. Raises ``ValueError`` with one line."""
        for name, most in _MOST.items():
            if not 1 <= getattr(arguments, name) <= most:
                raise ValueError(f"--{name} {getattr(arguments, name)}: expected 1..{most}")
        if not 0 <= arguments.shots <= MOST_SHOTS:
            raise ValueError(f"--shots {arguments.shots}: expected 0..{MOST_SHOTS}")
        if not 0.0 <= arguments.temperature < math.inf:
            raise ValueError(f"--temperature {arguments.temperature:g}: expected a number, at least 0")
        if arguments.seed < 0:
            raise ValueError(f"--seed {arguments.seed}: expected at least 0")
        named = f"temperature {arguments.temperature:g}, {arguments.shots} shots, seed {arguments.seed}"
        return cls(
            model=model,
            run_id=arguments.run_id or named,
            problems=tuple(make_problems(arguments.problems, arguments.seed, shot_questions())),
            samples=arguments.samples,
            sampling=Sampling(arguments.temperature, arguments.horizon, STOP),
            shots=arguments.shots,
            seed=arguments.seed,
            batch=arguments.batch,
        )

    @property
    def size(self) -> int:
        """Traces in all."""
        return len(self.problems) * self.samples

    def batches(self) -> list[range]:
        """Numbers of the traces of each batch."""
        return [range(start, min(start + self.batch, self.size)) for start in range(0, self.size, self.batch)]

    def cell(self, number: int) -> tuple[Problem, int]:
        """Problem and sample of a trace."""
        return self.problems[number // self.samples], number % self.samples

    def request(self, number: int) -> Request:
        """What is asked of the back end for a trace."""
        problem, sample = self.cell(number)
        seed = request_seed(self.seed, self.model, self.run_id, problem.problem_id, sample)
        return Request(prompt(problem.question, self.shots), seed)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the manifest."""
        return {
            "run_id": self.run_id,
            "problems": len(self.problems),
            "samples": self.samples,
            "horizon": self.sampling.horizon,
            "temperature": self.sampling.temperature,
            "shots": self.shots,
            "prompt": prompt("{question}", self.shots),
            "seed": self.seed,
            "batch": self.batch,
        }


def _libraries() -> dict[str, str | None]:
    """Versions of what computes the logits."""
    found: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _shard(batch: range) -> str:
    return f"{batch.start:07d}-{batch.stop:07d}.parquet"


def _stored(output: Output, batches: Sequence[range]) -> dict[range, pa.Table]:
    """Batches that were finished before; those in which traces failed are sampled again."""
    found = {}
    for batch in batches:
        table = output.read_shard(_shard(batch), len(batch), list(COLUMNS))
        if table is not None and table["error"].null_count == table.num_rows:
            found[batch] = table
    return found


def _sampled(plan: Plan, backend: Backend, batch: range) -> pa.Table:
    generations = backend.generate([plan.request(number) for number in batch], plan.sampling)
    cells = map(plan.cell, batch)
    rows = [trace_row(*cell, found, plan.model, plan.run_id) for cell, found in zip(cells, generations, strict=True)]
    return as_table(rows)


@dataclass(slots=True)
class _Run:
    """A run under way: what is done already, and what does the rest."""

    plan: Plan
    output: Output
    done: dict[range, pa.Table]
    backend: Backend | None  # None if nothing is left
    seconds: float = 0.0
    tokens: int = 0

    def sample(self) -> None:
        """All batches that are left, each stored when it is finished."""
        from rich.console import Console
        from rich.progress import Progress

        left = [batch for batch in self.plan.batches() if batch not in self.done]
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("traces", total=self.plan.size, completed=sum(map(len, self.done)))
            for batch in left:
                assert self.backend is not None
                started = time.perf_counter()
                table = _sampled(self.plan, self.backend, batch)
                self.seconds += time.perf_counter() - started
                self.tokens += sum(table["tokens"].drop_null().to_pylist())
                self.output.write_table(f"shards/{_shard(batch)}", table)
                self.done[batch] = table
                rate = self.tokens / self.seconds
                bar.update(task, advance=len(batch), description=f"traces ({rate:.0f} tokens/s)")

    def finish(self, say: Callable[[Mapping[str, Any]], None]) -> int:
        """Sample, write the table and the manifest; return the exit code."""
        import pyarrow as pa

        self.sample()
        table = pa.concat_tables([self.done[batch] for batch in self.plan.batches()])
        self.output.write_table("traces.parquet", table)
        found = _plain(summary(table, self.plan.seed))
        facts = {"tokens": self.tokens, "seconds": round(self.seconds, 3), "threads": _threads()}
        if not self.tokens:  # nothing was sampled now: keep what the run that sampled last says
            facts = self.output.manifest.get("sampling", facts)
        self.output.finish("failed cells" if found["failed"] else "done", sampling=facts, summary=found)
        say({**found, "sampling": facts, "table": str(self.output.path / "traces.parquet")})
        return 3 if found["failed"] else 0


def _threads() -> int | None:
    """Threads of torch, if it was needed."""
    import sys

    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else None


def _print_table(found: Mapping[str, Any]) -> None:
    print(f"{'level':14} {'problems':>8} {'pass rate, 95%':>22} {'never':>6} {'always':>6}  quartiles")
    for level, row in [*found["levels"].items(), ("all", found["all"])]:
        spread = " ".join(f"{q:.2f}" for q in row["quartiles"] or ())
        rate = shown(row["pass_rate"], ".3f")
        print(f"{level:14} {row['problems']:>8} {rate:>22} {row['never']:>6} {row['always']:>6}  {spread}")
    facts, mean = found["sampling"], found["mean_tokens"]
    print(
        f"traces: {found['traces']}   failed: {found['failed']}   cut off: {found['truncated']}   "
        f"without a number: {found['without_number']}   mean tokens: {'?' if mean is None else format(mean, '.2f')}"
    )
    print(f"sampled last: {facts['tokens']} tokens in {facts['seconds']:.1f} s   table: {found['table']}")


def _print_json(found: Mapping[str, Any]) -> None:
    print(json.dumps(found, allow_nan=False))


def _plain(value: Any) -> Any:
    """JSON types, NaN as null."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _dry_run(plan: Plan, config: Mapping[str, Any], as_json: bool) -> int:
    most = plan.size * plan.sampling.horizon
    if as_json:
        print(json.dumps({"traces": plan.size, "most_tokens": most, "batches": len(plan.batches()), "config": config}))
        return 0
    levels = [problem.level for problem in plan.problems]
    counts = ", ".join(f"{level} {levels.count(level)}" for level in dict.fromkeys(levels))
    print(f"{len(plan.problems)} problems ({counts}), {plan.samples} samples each: {plan.size} traces of {plan.model}")
    print(f"at most {most} tokens, in {len(plan.batches())} batches; run_id: {plan.run_id}")
    print(f"first prompt:\n{plan.request(0).prompt}")
    return 0


def _loaded(source: Source | Backend, plan: Plan, output: Output, threads: int | None) -> Backend:
    """The back end. If there is none, a directory that was made for it is as if it had not been."""
    from llm_validation.sampling.transformers_backend import load

    try:
        backend = load(source, threads) if isinstance(source, Source) else source
        backend.check([prompt(problem.question, plan.shots) for problem in plan.problems], plan.sampling)
        return backend
    except BackendError:
        if not output.manifest.get("resumed"):
            (output.path / "manifest.json").unlink()
            (output.path / "shards").rmdir()
        raise


def _server(arguments: argparse.Namespace) -> EndpointBackend:
    """The server that is asked for. Raises ``ValueError`` with one line."""
    from llm_validation.sampling.endpoint_backend import Endpoint, EndpointBackend

    limits = {name: getattr(arguments, name) for name in ("concurrency", "timeout", "retries")}
    return EndpointBackend(Endpoint(arguments.endpoint, arguments.endpoint_model, **limits))


def prepared(arguments: argparse.Namespace) -> Callable[[], int]:
    """The run that the command line asks for, to be called for the exit code. Raises ``ValueError`` with one line."""
    if arguments.threads is not None and not 1 <= arguments.threads <= 1024:
        raise ValueError(f"--threads {arguments.threads}: expected 1..1024")
    source = _server(arguments) if arguments.endpoint else find_model(arguments.model)
    if isinstance(source, Source):
        label, model = source.label, source.as_dict()
    else:  # where it runs may change, what it serves may not
        label = arguments.endpoint_model if arguments.dry_run else source.model
        model = {"label": label, "api": source.endpoint.api}
    plan = Plan.of(arguments, label)
    config = {"model": model, **plan.as_dict(), "libraries": _libraries() if isinstance(source, Source) else {}}
    as_json = arguments.format == "json"
    if arguments.dry_run:
        return lambda: _dry_run(plan, config, as_json)
    if arguments.out is None:
        raise ValueError("--out DIR: expected, unless with --dry-run")
    output = Output.open(arguments.out, config, arguments.resume, _SOURCES)
    done = _stored(output, plan.batches())
    backend = _loaded(source, plan, output, arguments.threads) if len(done) < len(plan.batches()) else None
    run = _Run(plan, output, done, backend)
    return lambda: run.finish(_print_json if as_json else _print_table)
