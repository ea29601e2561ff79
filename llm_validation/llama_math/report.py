r"""What a finished run says: accuracy at budgets, gaps, slopes, fits, and the base's own heterogeneity.

``curves.parquet``: a row a method, n, budget and currency. ``gaps.parquet``: best-of-N by the learnt verifier minus the
clone, paired by problem, and whether the interval over problems leaves out 0. ``rates.parquet``: pass rates of the base
by set, split and level. ``traces.parquet``: its held-out attempts as :mod:`llm_validation.reading` reads them.
``summary.json``: pass rates, heterogeneity and anti-concentration, verifiers, slopes, fits; None stands for what is not
defined.

The bounds of :mod:`theory` are laid over accuracies, returns being 0 or 1 (H = 1 in them, rho = 1/2): sigma is the root
of the mean over problems of p(1 - p), c the mean pass rate, which is P(R >= J + epsilon sigma) at epsilon = (1 -
J)/sigma. The expert clones are held against is the right attempt that each trace ends with: accuracy 1. n of a clone is
the number of its traces, of a verifier that of graded attempts. See :mod:`llm_validation.staged.bound_fits`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.diagnosis import Options, diagnose, plain
from llm_validation.llama_math.bench import HELD_OUT, TRAIN, Attempt, Bench
from llm_validation.llama_math.compute import Shape
from llm_validation.llama_math.curves import CURRENCIES, Curves, curves_of, of_method
from llm_validation.llama_math.evaluated import VERIFIER
from llm_validation.moments import Interval, bootstrap_mean, moments, problem_moments
from llm_validation.staged.bound_fits import FORMS, fit_of, halves
from llm_validation.staged.keys import key_of
from llm_validation.staged.slopes import Point, slopes_of
from llm_validation.staged.spread import Place, Row, spread
from llm_validation.traces import Group, Traces
from llm_validation.verifier_quality import auroc
from theory.anti_concentration import smallest_mass

if TYPE_CHECKING:
    from sim.store import Output

__all__ = ["Report", "lines", "report", "write"]

Floats = NDArray[np.float64]

#: Share of orders in which a pool of attempts may be exhausted for its value to be one of the budget.
MOST_EXHAUSTED = 0.01
_BEST, _CLONES = "best-of-n", ("vf", "vf-forced")
#: What of a diagnosis is kept in the summary.
_KEPT = ("H", "unit", "traces", "problems", "samples", "estimates", "spread", "concentration", "censoring", "findings")


@dataclass(frozen=True, slots=True)
class Report:
    """Rows of the tables, the base's held-out attempts, and the summary: plain data without NaN."""

    curves: list[Row]
    gaps: list[Row]
    rates: list[Row]
    traces: list[Row]
    summary: dict[str, Any]


def report(bench: Bench) -> Report:
    """The report of a run whose stages are all done. Raises :class:`~.cells.CellError` if the base cannot be had."""
    recipe = bench.recipe
    shape = Shape.of(bench.base.model.config.to_dict())
    curves = curves_of(bench, shape)
    seed = key_of(recipe.seed, "report") % 2**31
    rates = list(_rates(bench, seed))
    gaps = list(_gaps(curves, seed))
    summary = {
        "base": recipe.model.source,
        "parameters": shape.parameters,
        "trained_on": recipe.trained.name,
        "intervals": "95%: over held-out problems (studentised bootstrap) and, where said, over seeds (Student's t)",
        "pass_rates": [row for row in rates if not row["level"]],
        "diagnosis": {found.name: _diagnosis(bench, found.name, seed) for found in recipe.sets},
        "verifiers": list(_verifiers(bench, seed)),
        "slopes": _slopes(curves),
        "fits": _fits(bench, curves),
        "separated": sum(row["better"] != "" for row in gaps),
    }
    return Report(list(_rows(curves, seed)), gaps, rates, _trace_rows(bench), plain(summary))


def write(found: Report, output: Output) -> None:
    """Tables and summary in the run's directory."""
    import pyarrow as pa

    for name in ("curves", "gaps", "rates", "traces"):
        output.write_table(f"{name}.parquet", pa.Table.from_pylist(getattr(found, name)))
    output.write_json("summary.json", found.summary)


def _columns(name: str, found: Interval) -> Row:
    return {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}


def _rows(curves: Curves, seed: int) -> Iterator[Row]:
    methods = dict.fromkeys((key.method, key.currency) for key in curves.values)
    for method, currency in methods:
        found = of_method(curves, method, currency)
        exhausted = {
            (key.n, key.seed): share
            for key, share in curves.exhausted.items()
            if (key.method, key.currency) == (method, currency)
        }
        for n in sorted({n for n, _ in found}):
            mine = [values for (count, _), values in found.items() if count == n]
            for i, H in enumerate(curves.horizons):
                over_seeds = spread(float(values[:, i].mean()) for values in mine)
                interval = bootstrap_mean(np.mean([values[:, i] for values in mine], axis=0), seed, low=0.0, high=1.0)
                shares = [float(share[:, i].mean()) for (count, _), share in exhausted.items() if count == n]
                yield {
                    "method": method,
                    "currency": currency,
                    "n": n,
                    "horizon": H,
                    "accuracy": interval.estimate,
                    "problems_low": interval.low,
                    "problems_high": interval.high,
                    "seeds": len(mine) if n else 0,
                    "seeds_low": over_seeds.low,
                    "seeds_high": over_seeds.high,
                    "exhausted": max(shares, default=0.0),
                    "is_of_budget": max(shares, default=0.0) <= MOST_EXHAUSTED,
                }


def _differences(curves: Curves, vf: str, currency: str) -> dict[tuple[int, int], Floats]:
    """(n, seed) -> best-of-N minus clone, (problems, budgets)."""
    one, other = of_method(curves, _BEST, currency), of_method(curves, vf, currency)
    return {key: one[key] - other[key] for key in one if key in other}


def _gaps(curves: Curves, seed: int) -> Iterator[Row]:
    for vf in _CLONES:
        for currency in CURRENCIES:
            found = _differences(curves, vf, currency)
            for n in sorted({n for n, _ in found}):
                mine = [values for (count, _), values in found.items() if count == n]
                for i, H in enumerate(curves.horizons):
                    interval = bootstrap_mean(np.mean([v[:, i] for v in mine], axis=0), seed, low=-1.0, high=1.0)
                    over_seeds = spread(float(values[:, i].mean()) for values in mine)
                    better = "vb" if interval.low > 0.0 else "vf" if interval.high < 0.0 else ""
                    yield {
                        "vf": vf,
                        "currency": currency,
                        "n": n,
                        "horizon": H,
                        **_columns("gap", interval),
                        "seeds": over_seeds.seeds,
                        "seeds_low": over_seeds.low,
                        "seeds_high": over_seeds.high,
                        "better": better,
                    }


def _traces(bench: Bench, name: str, split: str) -> Traces | None:
    """Attempts of a set as traces; None if there are none."""
    attempts = bench.attempts(name, split)
    if not attempts:
        return None
    flat: list[tuple[int, Attempt]] = [(i, one) for i, mine in enumerate(attempts.values()) for one in mine]
    answers = np.array([one.answer for _, one in flat], dtype=object)
    return Traces(
        problem=np.array([i for i, _ in flat], dtype=np.int64),
        problems=tuple(attempts),
        group=np.zeros(len(flat), dtype=np.int64),
        groups=(Group(bench.recipe.model.source, name),),
        correct=np.array([float(one.correct) for _, one in flat]),
        tokens=np.array([float(one.tokens) for _, one in flat]),
        truncated=np.array([one.truncated for _, one in flat]),
        score=np.full(len(flat), math.nan),
        text=np.array([one.text for _, one in flat], dtype=object),
        answer=answers,
    )


def _rates(bench: Bench, seed: int) -> Iterator[Row]:
    """Pass rates of the base by set, split and level; an empty level stands for all."""
    for found in bench.recipe.sets:
        for split in (TRAIN, HELD_OUT):
            attempts = bench.attempts(found.name, split)
            problems = bench.problems(found.name, split)
            for level in ("", *sorted({problem.level for problem in problems})):
                mine = [attempts[p.problem_id] for p in problems if level in ("", p.level)]
                if not mine:
                    continue
                rates = np.array([sum(one.correct for one in of_problem) / len(of_problem) for of_problem in mine])
                flat = [one for of_problem in mine for one in of_problem]
                yield {
                    "set": found.name,
                    "split": split,
                    "level": level,
                    "problems": len(mine),
                    "attempts": len(flat),
                    **_columns("pass_rate", bootstrap_mean(rates, seed, low=0.0, high=1.0)),
                    "never": int((rates == 0.0).sum()),
                    "always": int((rates == 1.0).sum()),
                    "unfinished": sum(one.truncated for one in flat),
                    "without_answer": sum(one.answer is None and not one.truncated for one in flat),
                    "tokens": float(np.mean([one.tokens for one in flat])),
                }


def _diagnosis(bench: Bench, name: str, seed: int) -> dict[str, Any]:
    """Heterogeneity and anti-concentration of held-out attempts: in tokens left of the horizon, and right or not."""
    traces = _traces(bench, name, HELD_OUT)
    if traces is None:
        return {}
    found = {}
    for unit, mine, H in (("tokens", traces, bench.recipe.set(name).horizon), ("answers", traces.as_answers(), 1)):
        (run,) = diagnose(mine, Options(horizon=H, seed=seed, detail=False))
        found[unit] = {key: run.data[key] for key in _KEPT}
    return found


def _trace_rows(bench: Bench) -> list[Row]:
    return [
        {
            "problem_id": one.problem_id,
            "sample": one.sample,
            "text": one.text,
            "answer": one.answer,
            "correct": one.correct,
            "tokens": one.tokens,
            "truncated": one.truncated,
            "model": bench.recipe.model.source,
            "run_id": found.name,
        }
        for found in bench.recipe.sets
        for of_problem in bench.attempts(found.name, HELD_OUT).values()
        for one in of_problem
    ]


def _verifiers(bench: Bench, seed: int) -> Iterator[Row]:
    """AUROC and accuracy of each verifier on held-out attempts, unfinished ones being wrong."""
    found: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for row in bench.rows("evaluate"):
        if row["arm"] == VERIFIER:
            found.setdefault((row["n"], row["seed"]), []).append(row)
    for (n, of_seed), rows in found.items():
        names = {name: i for i, name in enumerate(dict.fromkeys(row["problem_id"] for row in rows))}
        problem = np.array([names[row["problem_id"]] for row in rows], dtype=np.int64)
        score = np.array([row["score"] for row in rows], dtype=np.float64)
        right = np.array([float(row["correct"]) for row in rows])
        yield {
            "n": n,
            "seed": of_seed,
            **_columns("auroc", auroc(problem, score, right, seed)),
            "accuracy": float(((score > 0.5) == (right > 0.5)).mean()),
            "brier": float(((score - right) ** 2).mean()),
            "share_right": float(right.mean()),
        }


def _slopes(curves: Curves) -> list[Row]:
    """Of gaps and of the clone's regret, at equal tokens, in log H and log n."""
    quantities = {f"{_BEST} - {vf}": _differences(curves, vf, "tokens") for vf in _CLONES}
    quantities["1 - vf-forced"] = {key: 1.0 - v for key, v in of_method(curves, "vf-forced", "tokens").items()}
    found = []
    for name, of_cells in quantities.items():
        points = [
            Point(0, H, n, 1.0, seed, float(values[:, i].mean()))
            for (n, seed), values in of_cells.items()
            for i, H in enumerate(curves.horizons)
        ]
        found += [row for row in slopes_of(name, points) if row["axis"] != "sigma"]
    return found


def _fits(bench: Bench, curves: Curves) -> list[Row]:
    recipe = bench.recipe
    traces = _traces(bench, recipe.trained.name, HELD_OUT)
    if traces is None:
        return []
    known = moments(problem_moments(traces.problem, traces.as_answers().returns(1)), 1, 0)
    sigma, J = min(known["sigma"].estimate, 0.5), known["mu"].estimate
    if not (sigma > 0.0 and J > 0.0):
        return []
    places = [Place(0, H, n) for n in recipe.grid.n for H in recipe.grid.horizons]
    sizes = {name: _mean_by_n(bench.rows(name), column) for name, column in (("sft", "traces"), (VERIFIER, "attempts"))}
    points = {
        place: {
            "H": 1.0,
            "n": sizes[VERIFIER][place.n],
            "cloned": sizes["sft"][place.n],
            "sigma": sigma,
            "rho": 0.5,
            "c": J,
            "c_epsilon": (1.0 - J) / sigma,
            "p_s": smallest_mass(sigma),
        }
        for place in places
        if sizes["sft"][place.n] > 0.0
    }
    fitted = halves(places, recipe.seed)
    quantities = {
        ("gap-regret", f"{_BEST} - vf-forced"): _differences(curves, "vf-forced", "tokens"),
        ("vf-lower", "1 - vf-forced"): {k: 1.0 - v for k, v in of_method(curves, "vf-forced", "tokens").items()},
    }
    return [
        fit_of(name, FORMS[form], _by_place(curves, found), points, fitted)
        for (form, name), found in quantities.items()
    ]


def _by_place(curves: Curves, found: Mapping[tuple[int, int], Floats]) -> dict[Place, dict[int, float]]:
    by_place: dict[Place, dict[int, float]] = {}
    for (n, seed), values in found.items():
        for i, H in enumerate(curves.horizons):
            by_place.setdefault(Place(0, H, n), {})[seed] = float(values[:, i].mean())
    return by_place


def _mean_by_n(rows: Sequence[Mapping[str, Any]], column: str) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for row in rows:
        found.setdefault(row["n"], []).append(float(row[column]))
    return {n: sum(values) / len(values) for n, values in found.items()}


# The text on standard output.


def lines(found: Report) -> list[str]:
    """Pass rates, accuracy at budgets, gaps, slopes and fits, a line each."""
    said = ["pass rates of the base, 95% over problems:", *map(_rate_line, found.summary["pass_rates"])]
    said += _accuracy_lines(found.curves)
    said += _gap_lines(found.gaps)
    slopes = found.summary["slopes"]
    said += [f"slope of {row['quantity']} in log {row['axis']} ({row['scale']}): {_slope(row)}" for row in slopes]
    return said + [fit["verdict"].replace(" tokens", "") for fit in found.summary["fits"]]


def _rate_line(row: Row) -> str:
    each = row["attempts"] // row["problems"]
    return (
        f"  {row['set']:12} {row['split']:9} {row['problems']:4} problems x {each:3}: "
        f"{row['pass_rate']:.3f} [{row['pass_rate_low']:.3f}, {row['pass_rate_high']:.3f}], "
        f"never {row['never']}, always {row['always']}, unfinished {row['unfinished']}"
    )


def _accuracy_lines(rows: Sequence[Row]) -> list[str]:
    mine = [row for row in rows if row["currency"] == "tokens"]
    horizons = sorted({row["horizon"] for row in mine})
    said = ["accuracy on held-out problems at H tokens (* the pool of attempts does not reach so far):"]
    said.append(f"  {'method':14} {'n':>5}" + "".join(f"{H:>8}" for H in horizons))
    for method, n in dict.fromkeys((row["method"], row["n"]) for row in mine):
        of_row = {row["horizon"]: row for row in mine if (row["method"], row["n"]) == (method, n)}
        shown = "".join(f"{of_row[H]['accuracy']:>7.3f}{' ' if of_row[H]['is_of_budget'] else '*'}" for H in horizons)
        said.append(f"  {method:14} {n or '-':>5}{shown}")
    return said


def _gap_lines(rows: Sequence[Row]) -> list[str]:
    words = {"vb": "VB better", "vf": "VF better", "": "no difference seen"}
    said = []
    for vf, currency in dict.fromkeys((row["vf"], row["currency"]) for row in rows):
        mine = [row for row in rows if (row["vf"], row["currency"]) == (vf, currency)]
        counts = {better: sum(row["better"] == better for row in mine) for better in words}
        told = ", ".join(f"{words[better]} in {count}" for better, count in counts.items())
        said.append(f"{_BEST} by the learnt verifier - {vf} at equal {currency}: {told} of {len(mine)} places")
    return said


def _slope(row: Row) -> str:
    if row["slope"] is None:
        return f"none ({row['reason']})"
    low, high = row["slope_low"], row["slope_high"]
    return f"{row['slope']:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]")
