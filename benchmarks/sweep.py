"""``python -m benchmarks.sweep``: time and memory of the horizon sweep, beside a plain NumPy version of its sampler.

Measured in one run, in this order:

* **the whole command** ``python -m sim.sweep --horizon 1..512 --out DIR`` (and 1..1024), each time in a fresh process
  and a new directory, imports, compilation, tables and figure included: wall seconds seen from outside, the sampling
  and wall seconds that its ``summary.json`` states, and the peak resident memory of its largest process, from
  ``wait4``. The figure is drawn by a second process while the first one waits, so twice that peak bounds what both
  hold. Best and median of ``REPEATS``; the two ranges take turns, so that other load on the machine meets both;
* **compilations**: entries in the cache of the batch kernel after one sweep of all horizons in this process;
* **sampling**: evidence of all trials of 1..512 from ``sim.runner`` (JAX, all cores, tables on the host included), on
  the first call ("cold", compilation included) and afterwards ("warm"), and from ``benchmarks.numpy_sweep`` (one core,
  its own tables included). Same process, taking turns, best of ``REPEATS``, nothing written to disk; ratio NumPy / JAX;
* **agreement**: means of both over horizons 64..512 must lie within ``AGREEMENT`` standard errors.

A persistent compilation cache, if the environment names one, is not used. Exit codes: 0 ok, 1 a measured command failed
or the samplers disagree, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MeasurementError", "main"]

T = TypeVar("T")

REPEATS = 3
TRIALS = 256
HORIZONS = ("1..512", "1..1024")
COMPARED = range(64, 513)  # horizons over which the two samplers' means are pooled
AGREEMENT = 5.0  # standard errors
ROOT = Path(__file__).resolve().parent.parent


class MeasurementError(RuntimeError):
    """A measured command failed, or the samplers disagree; the message is one line."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sweep",
        description="Measure time and memory of the horizon sweep, and its sampler beside a NumPy version (minutes).",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table", help="standard output (default table)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="empty or new directory for results.json")
    return parser


def _prepare(directory: Path) -> None:
    """Make ``directory`` or find it empty. Raises ``ValueError`` with one line."""
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"--out {directory}: is a file; expected a directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        used = any(directory.iterdir())
    except OSError as error:
        raise ValueError(f"--out {directory}: cannot be used as a directory ({error.strerror})") from None
    if used:
        raise ValueError(f"--out {directory}: not empty; expected an empty or new directory")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ValueError(f"--out {directory}: is not writable")


def _command_once(horizon: str) -> dict[str, float]:
    """One run of the whole command in a fresh process."""
    with tempfile.TemporaryDirectory(prefix="sweep-") as scratch:
        out = Path(scratch) / "sweep"
        command = [sys.executable, "-m", "sim.sweep", "--horizon", horizon, "--seeds", str(TRIALS), "--out", str(out)]
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise MeasurementError(
                f"python -m sim.sweep --horizon {horizon}: exit code {process.returncode}, expected 0"
            )
        summary = json.loads((out / "summary.json").read_text())
    return {
        "wall_seconds": wall,
        "stated_wall_seconds": summary["wall_seconds"],
        "sampling_seconds": summary["sampling_seconds"],
        "peak_mib": usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10),
    }


def _summarised(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Best (for memory: largest), median and every run of each quantity."""
    found: dict[str, Any] = {}
    for name in runs[0]:
        values = [round(run[name], 3) for run in runs]
        extreme = {"largest": max(values)} if name == "peak_mib" else {"best": min(values)}
        found[name] = {**extreme, "median": statistics.median(values), "runs": values}
    return found


def _measure_command() -> dict[str, Any]:
    """The whole command for both ranges, by turns; call before anything large is imported.

    A child's peak counts what its parent held at the fork, so this process must still be small.
    """
    runs: dict[str, list[dict[str, float]]] = {horizon: [] for horizon in HORIZONS}
    for i in range(REPEATS):
        for horizon in HORIZONS:
            print(f"python -m sim.sweep --horizon {horizon}, {i + 1} of {REPEATS}", file=sys.stderr)
            runs[horizon].append(_command_once(horizon))
    found = {horizon: _summarised(measured) for horizon, measured in runs.items()}
    short, long = (found[horizon]["wall_seconds"] for horizon in HORIZONS)
    doubling = {name: round(long[name] / short[name], 3) for name in ("best", "median")}
    return {"command": found, "doubling_wall_ratio": doubling}


def _timed(function: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    value = function()
    return time.perf_counter() - started, value


def _mean_and_se(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean over (cells, trials) and its standard error; each cell has its own variance."""
    cells, trials = values.shape
    return float(values.mean()), float((values.var(axis=1, ddof=1).sum() / trials) ** 0.5 / cells)


def _agreement(
    ours: NDArray[np.float64], twin: NDArray[np.float64], names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Pooled means of both samplers, field by field. Raises :class:`MeasurementError` where they differ."""
    found = {}
    for name, a, b in zip(names, ours, twin, strict=True):
        (jax_mean, jax_se), (numpy_mean, numpy_se) = _mean_and_se(a), _mean_and_se(b)
        difference, se = jax_mean - numpy_mean, (jax_se**2 + numpy_se**2) ** 0.5
        if not abs(difference) <= AGREEMENT * se + 1e-12:
            raise MeasurementError(
                f"{name}: JAX {jax_mean:.6g} +- {jax_se:.2g}, NumPy {numpy_mean:.6g} +- {numpy_se:.2g}, "
                f"expected a difference of at most {AGREEMENT:g} standard errors"
            )
        standardised = round(difference / se, 3) if se else 0.0
        found[name] = {"jax_mean": jax_mean, "numpy_mean": numpy_mean, "difference_in_se": standardised}
    return found


def _measure_sampling() -> dict[str, Any]:
    """Both samplers on all trials of 1..512 in this process."""
    import numpy as np

    from benchmarks.numpy_sweep import MEASURED, sample
    from sim.cells import SweepConfig
    from sim.runner import run_cells
    from sim.tasks.codebook import _collapsed_batch, collapsed_tables

    cells = SweepConfig.checked(HORIZONS[0], seeds=TRIALS).cells()
    for cell in cells:
        _ = cell.epsilon  # derived once and kept: not part of the sampling of either

    def ours() -> NDArray[np.float64]:
        evidence = run_cells(cells, TRIALS, None, lambda _: None)
        return np.stack([getattr(evidence, name) for name in MEASURED])

    cold, found = _timed(ours)
    compilations = _collapsed_batch._cache_size()  # type: ignore[attr-defined]
    warm, plain, tables = [], [], []
    for _ in range(REPEATS):
        warm.append(_timed(ours)[0])
        seconds, twin = _timed(lambda: sample(cells, TRIALS))
        plain.append(seconds)
        tables.append(_timed(lambda: collapsed_tables(cells))[0])
    compared = [i for i, cell in enumerate(cells) if cell.H in COMPARED]
    return {
        "kernel_compilations": compilations,
        "sampling": {
            "trials": len(cells) * TRIALS,
            "jax_cold_seconds": round(cold, 3),
            "jax_warm_seconds": round(min(warm), 3),
            "jax_tables_seconds": round(min(tables), 3),
            "numpy_seconds": round(min(plain), 3),
            "numpy_over_jax_warm": round(min(plain) / min(warm), 3),
            "numpy_over_jax_cold": round(min(plain) / cold, 3),
        },
        "agreement": _agreement(found[:, compared], twin[:, compared], MEASURED),
    }


def _table(results: dict[str, Any]) -> str:
    machine, versions = results["manifest"]["machine"], results["manifest"]["versions"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores; JAX {versions['jax']}, NumPy {versions['numpy']}, "
        f"Python {versions['python']}; {results['date']}; load average before {results['load_average_before']:g}",
        "",
        f"{'python -m sim.sweep --horizon':<36}" + "".join(f"{horizon:>20}" for horizon in HORIZONS),
    ]
    command = results["command"]

    def row(label: str, name: str, extreme: str = "best") -> None:
        values = (command[horizon][name] for horizon in HORIZONS)
        texts = (f"{v[extreme]:.4g} ({v['median']:.4g})" for v in values)
        lines.append(f"{label:<36}" + "".join(f"{text:>20}" for text in texts))

    row("wall, s: best (median)", "wall_seconds")
    row("of it sampling, s: best (median)", "sampling_seconds")
    row("peak, MiB: largest (median)", "peak_mib", "largest")
    ratio = results["doubling_wall_ratio"]
    lines += [
        f"wall of 1..1024 over 1..512: {ratio['best']:.2f} (medians {ratio['median']:.2f})",
        f"compilations of the batch kernel over 1..512: {results['kernel_compilations']}",
        "",
    ]
    sampling = results["sampling"]
    lines += [
        f"sampling of {sampling['trials']} trials in one process, s: JAX cold {sampling['jax_cold_seconds']:.3g}, "
        f"JAX warm {sampling['jax_warm_seconds']:.3g} (of it tables {sampling['jax_tables_seconds']:.2g}), "
        f"NumPy {sampling['numpy_seconds']:.3g}",
        f"NumPy / JAX: {sampling['numpy_over_jax_warm']:.2f} warm, {sampling['numpy_over_jax_cold']:.2f} cold",
    ]
    for name, pooled in results["agreement"].items():
        means = f"JAX {pooled['jax_mean']:.5f}, NumPy {pooled['numpy_mean']:.5f}"
        lines.append(f"mean {name} over H = 64..512: {means}, {pooled['difference_in_se']:+.2f} standard errors apart")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.out is not None:
            _prepare(arguments.out)
    except ValueError as error:
        print(f"python -m benchmarks.sweep: {error}", file=sys.stderr)
        return 2
    from sim.store import provenance

    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    try:
        results = {
            "manifest": provenance(),
            "date": time.strftime("%Y-%m-%d"),
            "load_average_before": round(os.getloadavg()[0], 2),
            "repeats": REPEATS,
        }
        results |= _measure_command()
        results |= _measure_sampling()
    except MeasurementError as error:
        print(f"python -m benchmarks.sweep: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("python -m benchmarks.sweep: interrupted", file=sys.stderr)
        return 130
    text = json.dumps(results, indent=1, allow_nan=False)
    if arguments.out is not None:
        temporary = arguments.out / ".tmp-results.json"
        temporary.write_text(text + "\n")
        temporary.replace(arguments.out / "results.json")
    print(text if arguments.format == "json" else _table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
