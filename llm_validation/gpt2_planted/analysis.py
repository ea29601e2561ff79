r"""What the experiment says: intervals, gaps, slopes, measured numbers over the bounds, reward hacking.

A pure function of the stages' tables and the recipe. ``returns.parquet``: a row a policy, J and J minus the expert with
95% intervals over seeds. ``gaps.parquet``: verifier-based minus verifier-free, paired by seed. ``summary.json``: bases,
slopes, fits, hacking, violated claims; None stands for what is not defined. The mathematics is in
:mod:`.analysis_returns`, :mod:`.analysis_bounds` and :mod:`llm_validation.staged`.

*Reward hacking* of a policy of RL, on held-out traces against the base and by the verifier that it was trained against:
the learnt return is above the base's while J is below the base's by more than two standard errors of the difference
(both over prompts). It is *beyond noise over seeds* where the 95% intervals of both differences leave out 0.
``overrated`` is how much further the learnt return is above J than on the base's own draws: what training adds to the
verifier's miscalibration. The base's learnt return is that of best of 1 draw; without N = 1 there is none.
``learnt_change`` and ``true_change`` are those of the training batch from the first to the last recorded point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_validation.gpt2_planted import analysis_returns as returns
from llm_validation.gpt2_planted.analysis_bounds import points_of, violations
from llm_validation.gpt2_planted.analysis_returns import Bases, Policy, Tables, Values
from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.staged.bound_fits import FORMS, fit_of, halves
from llm_validation.staged.slopes import Point, slopes_of
from llm_validation.staged.spread import Place, Row, spread

if TYPE_CHECKING:
    from sim.store import Output

__all__ = ["Analysis", "analyse", "analysed", "lines", "write"]

_VERIFIER, _EQUAL_DRAWS = "verifier", "equal-draws"
_DIFFERENCES = ("learnt_change", "true_change", "learnt_gain", "J_gain", "overrated")
_STANDARD_ERRORS = 2.0


@dataclass(frozen=True, slots=True)
class Analysis:
    """Rows of the two tables, and the summary: plain data without NaN."""

    returns: list[Row]
    gaps: list[Row]
    summary: dict[str, Any]


def analyse(out: Path, recipe: Recipe) -> Analysis:
    """The analysis of a run's directory. Raises :class:`~.bench.CellError` if a stage's table is not there."""
    from llm_validation.gpt2_planted.bench import Bench

    rows = Bench(out, recipe).rows
    stages = ("data", "measure", "vf", "verifier", "rl", "best-of-n", "evaluate")
    return analysed(Tables(*(rows(stage) for stage in stages)), recipe)


def analysed(tables: Tables, recipe: Recipe) -> Analysis:
    """The analysis of the stages' rows."""
    bases, values = returns.bases_of(tables), returns.values_of(tables)
    grid = recipe.grid
    places = [Place(level, H, n) for level in range(len(recipe.task.levels)) for H in grid.horizons for n in grid.n]
    checked, broken = violations(tables.best_of_n)
    summary = {
        "seeds": grid.seeds,
        "levels": list(recipe.task.levels),
        "labels": recipe.rl.labels,
        "intervals": "95%, Student's t over seeds downstream of the base; one base for each level, whose own chance "
        "they do not cover",
        "bases": list(bases.values()),
        "slopes": _slopes(values, bases, places, recipe),
        "fits": _fits(tables, values, bases, places, recipe),
        "inequality": {"claim": "J_oracle - J <= N epsilon_ver", "checked": checked, "violated": len(broken)},
        "violations": broken,
        "reward_hacking": _hacking(tables, values, recipe),
    }
    gaps = returns.gaps_of(values, bases, places, recipe)
    return Analysis(returns.returns_of(values, bases), gaps, _plain(summary))


def write(analysis: Analysis, output: Output) -> None:
    """``returns.parquet``, ``gaps.parquet`` and ``summary.json`` in the run's directory."""
    import pyarrow as pa

    output.write_table("returns.parquet", pa.Table.from_pylist(analysis.returns))
    output.write_table("gaps.parquet", pa.Table.from_pylist(analysis.gaps))
    output.write_json("summary.json", analysis.summary)


def _plain(value: Any) -> Any:
    """The same with None for every number that is not finite: JSON has none of these."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _gaps_by_seed(values: Values, places: Sequence[Place], recipe: Recipe) -> dict[str, dict[Place, dict[int, float]]]:
    """Name of a gap -> place -> seed -> VB minus VF, tokens."""
    found: dict[str, dict[Place, dict[int, float]]] = {}
    for place in places:
        for vb in returns.vb_of(place, recipe):
            for vf in returns.vf_of(place, recipe):
                by_seed = returns.paired(values, vb, vf)
                if by_seed:
                    found.setdefault(f"{vb.method} - {vf.arm}", {})[place] = by_seed
    return found


def _regrets_by_seed(
    values: Values, bases: Bases, places: Sequence[Place], recipe: Recipe
) -> dict[str, dict[Place, dict[int, float]]]:
    """``expert - ARM`` -> place -> seed -> VF regret against the rejection-sampling expert, tokens."""
    found: dict[str, dict[Place, dict[int, float]]] = {}
    for place in places:
        expert = bases[place.level, place.horizon]["expert"]
        for vf in returns.vf_of(place, recipe):
            by_seed = {seed: expert - row["J"] for seed, row in values.get(vf, {}).items()}
            if by_seed:
                found.setdefault(f"expert - {vf.arm}", {})[place] = by_seed
    return found


def _slopes(values: Values, bases: Bases, places: Sequence[Place], recipe: Recipe) -> list[Row]:
    quantities = {**_gaps_by_seed(values, places, recipe), **_regrets_by_seed(values, bases, places, recipe)}
    found = []
    for name, by_place in quantities.items():
        points = [
            Point(*place, bases[place.level, place.horizon]["sigma"], seed, value)
            for place, by_seed in by_place.items()
            for seed, value in by_seed.items()
        ]
        found += slopes_of(name, points)
    return found


def _fits(tables: Tables, values: Values, bases: Bases, places: Sequence[Place], recipe: Recipe) -> list[Row]:
    """Closed forms fitted on one half of the places and judged on the other, of every quantity that was measured."""
    gaps, regrets = _gaps_by_seed(values, places, recipe), _regrets_by_seed(values, bases, places, recipe)
    wanted = [(name, "gap-regret", gaps[name]) for name in gaps if name.endswith(f"- {_EQUAL_DRAWS}")]
    wanted += [(name, "vf-lower", regrets[name]) for name in regrets if not name.endswith("fastest")]
    fitted = _fitted(places, recipe)
    found = []
    for name, form, by_place in wanted:
        points = points_of(bases, places, _cloned(tables, name.rpartition(" - ")[2]))
        found.append(fit_of(name, FORMS[form], by_place, points, fitted))
    errors = _errors_by_seed(tables, recipe)
    return [*found, fit_of("epsilon_ver", FORMS["verifier-erm"], errors, points_of(bases, places), fitted)]


def _cloned(tables: Tables, arm: str) -> dict[Place, float]:
    """Place -> traces that an arm of VF was given, mean over seeds."""
    found: dict[Place, list[int]] = {}
    for row in tables.vf:
        if row["arm"] == arm:
            found.setdefault(Place(row["level"], row["horizon"], row["n"]), []).append(row["traces"])
    return {place: sum(traces) / len(traces) for place, traces in found.items()}


def _fitted(places: Sequence[Place], recipe: Recipe) -> set[Place]:
    """Places that closed forms are fitted on: half of those where RL was run, and half of the rest."""
    groups: dict[bool, list[Place]] = {}
    for place in places:
        groups.setdefault(place.level in recipe.rl.levels and place.horizon in recipe.rl.horizons, []).append(place)
    return set[Place]().union(*(halves(group, recipe.seed) for group in groups.values()))


def _errors_by_seed(tables: Tables, recipe: Recipe) -> dict[Place, dict[int, float]]:
    """Place -> seed -> measured epsilon_ver of the verifier that RL and best-of-N use, tokens."""
    found: dict[Place, dict[int, float]] = {}
    for row in tables.verifier:
        if row["arm"] == recipe.rl.labels:
            found.setdefault(Place(row["level"], row["horizon"], row["n"]), {})[row["seed"]] = row["epsilon_ver"]
    return found


def _hacking(tables: Tables, values: Values, recipe: Recipe) -> Row:
    over, single = [], []
    for policy, of_seeds in _changes(tables.rl).items():
        for row in of_seeds:
            row |= _held_out(values, policy, row["seed"], recipe)
        spreads = {name: spread(row[name] for row in of_seeds) for name in _DIFFERENCES}
        columns = [found.columns(name) for name, found in spreads.items()]
        beyond = spreads["learnt_gain"].low > 0.0 > spreads["J_gain"].high
        where = {**_where(policy), "seeds": spreads["J_gain"].seeds}
        over.append({**where, **dict(kv for part in columns for kv in part.items()), "beyond_noise": bool(beyond)})
        single += [{**_where(policy), **row} for row in of_seeds]
    return {
        "policies": sum(not math.isnan(row["learnt_gain"]) for row in single),
        "hacked": sum(row["hacked"] for row in single),
        "places": sum(not math.isnan(row["learnt_gain"]) for row in over),
        "hacked_beyond_noise": sum(row["beyond_noise"] for row in over),
        "by_seed": single,
        "over_seeds": over,
    }


def _held_out(values: Values, policy: Policy, seed: int, recipe: Recipe) -> Row:
    """What RL changed on held-out traces: learnt return, J, by how much the first is too high; tokens.

    NaN what was not measured.
    """
    nothing = {"J": math.nan, "J_se": math.nan, "learnt_return": math.nan}
    level, H, n = policy[:3]
    now = values.get(policy, {}).get(seed, nothing)
    base = values.get(Policy(level, H, 0, returns.BASE, "base"), {}).get(seed, nothing)
    drawn = values.get(Policy(level, H, n, returns.BEST_OF_N, recipe.rl.labels, N=1), {}).get(seed, nothing)
    learnt, true = now["learnt_return"] - drawn["learnt_return"], now["J"] - base["J"]
    return {
        "learnt_gain": learnt,
        "J_gain": true,
        "overrated": now["learnt_return"] - now["J"] - (drawn["learnt_return"] - drawn["J"]),
        "hacked": bool(learnt > 0.0 and true < -_STANDARD_ERRORS * math.hypot(now["J_se"], base["J_se"])),
    }


def _where(policy: Policy) -> Row:
    return {name: getattr(policy, name) for name in ("level", "horizon", "n", "kl_weight")}


def _changes(rows: Iterable[Row]) -> dict[Policy, list[Row]]:
    """Policy of RL against a verifier -> what changed from its first to its last recorded point, a row a seed."""
    paths: dict[tuple[Policy, int], list[Row]] = {}
    for row in rows:
        if row["arm"] == _VERIFIER:
            policy = Policy(row["level"], row["horizon"], row["n"], returns.RL, row["arm"], row["kl_weight"])
            paths.setdefault((policy, row["seed"]), []).append(row)
    found: dict[Policy, list[Row]] = {}
    for (policy, seed), path in paths.items():
        path.sort(key=lambda row: int(row["step"]))
        learnt, true = (path[-1][name] - path[0][name] for name in ("learnt_return", "true_return"))
        found.setdefault(policy, []).append({"seed": seed, "learnt_change": learnt, "true_change": true})
    return found


# The table on standard output.

_COLUMNS = ("base", "expert", "VF", "VF fastest", "VF n traces", "best of N", "RL", "RL true")


def lines(analysis: Analysis) -> list[str]:
    """The compact table: J of every method by level, horizon and n, verdicts, slopes, errors, violations."""
    summary = analysis.summary
    return [
        *_table(analysis.returns, summary),
        *_gap_lines(analysis.gaps, summary["levels"]),
        *_slope_lines(summary["slopes"]),
        *[fit["verdict"] for fit in summary["fits"]],
        *_hacking_lines(summary["reward_hacking"]),
        *_violation_lines(summary),
    ]


def _table(rows: Sequence[Row], summary: Mapping[str, Any]) -> list[str]:
    known = {Policy(*(row[name] for name in Policy._fields)): row for row in rows}
    most = max((policy.N for policy in known), default=0)
    trained = {policy[:3] for policy in known if policy.method == returns.VF}
    found = ["J on held-out prompts [tokens], mean +- half of the 95% interval over seeds (bases: one a level)"]
    found.append(f"level   sigma    H      n{''.join(f'{name:>13}' for name in _COLUMNS)}")
    for level, H, n in sorted(trained):
        columns = _policies(Place(level, H, n), summary["labels"], most)
        sigma = next(row["sigma"] for row in rows if (row["level"], row["horizon"]) == (level, H))
        cells = "".join(f"{_shown(known.get(policy)):>13}" for policy in columns)
        found.append(f"{summary['levels'][level]:5g}  {sigma:6.2f}  {H:3}  {n:5}{cells}")
    return found


def _policies(place: Place, labels: str, most: int) -> list[Policy]:
    """Those of the columns."""
    level, H, _ = place
    return [
        Policy(level, H, 0, returns.BASE, "base"),
        Policy(level, H, 0, returns.EXPERT, "measured"),
        *(Policy(*place, returns.VF, arm) for arm in (_EQUAL_DRAWS, "equal-draws-fastest", "equal-traces")),
        Policy(*place, returns.BEST_OF_N, labels, N=most),
        Policy(*place, returns.RL, _VERIFIER),
        Policy(level, H, 0, returns.RL, "true"),
    ]


def _shown(row: Row | None) -> str:
    if row is None:
        return "-"
    half = row["J_high"] - row["J"]
    return f"{row['J']:.1f}" if math.isnan(half) else f"{row['J']:.1f}+-{half:.1f}"


def _gap_lines(rows: Sequence[Row], levels: Sequence[float]) -> list[str]:
    """At the highest heterogeneity, equal draws: one line for each method and horizon."""
    mine = [row for row in rows if row["level"] == len(levels) - 1 and row["vf"] == _EQUAL_DRAWS]
    words = {"vb": "VB better", "vf": "VF better", "": "overlap"}
    found = [
        f"VB - VF at equal draws, highest heterogeneity ({levels[-1]:g}) [tokens], and whether their intervals overlap:"
    ]
    for vb, H in dict.fromkeys((row["vb"], row["horizon"]) for row in mine):
        said = [
            f"n={row['n']}: {row['gap']:.1f} {_between(row['gap_low'], row['gap_high'], 1)} {words[row['better']]}"
            for row in mine
            if (row["vb"], row["horizon"]) == (vb, H)
        ]
        found.append(f"  {vb} H={H}  " + "; ".join(said))
    return found


def _between(low: float | None, high: float | None, digits: int) -> str:
    if low is None or high is None or math.isnan(low):
        return "[one seed]"
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def _slope_lines(rows: Sequence[Row]) -> list[str]:
    mine = [row for row in rows if row["quantity"].endswith(f"- {_EQUAL_DRAWS}")]
    found = ["slopes with 95% intervals (log-log: exponents; linear-log: tokens for each e-fold):"]
    for name in dict.fromkeys(row["quantity"] for row in mine):
        of_name = [row for row in mine if row["quantity"] == name]
        said = [f"{row['axis']} {_slope(row)} ({row['values']} values)" for row in of_name]
        found.append(f"  {name}, {of_name[0]['scale']}, {of_name[0]['points']} points: " + ", ".join(said))
    return found


def _slope(row: Row) -> str:
    if row["slope"] is None:
        return "-"
    return f"{row['slope']:.2f} {_between(row['slope_low'], row['slope_high'], 2)}"


def _hacking_lines(found: Row) -> list[str]:
    if not found["policies"]:
        return ["reward hacking: not measured, no policy of RL whose base was scored by the same verifier"]
    return [
        f"reward hacking: learnt return above the base's and J below it by two standard errors in {found['hacked']} of "
        f"{found['policies']} policies of RL, beyond noise over seeds at {found['hacked_beyond_noise']} of "
        f"{found['places']} places"
    ]


def _violation_lines(summary: Mapping[str, Any]) -> list[str]:
    found = summary["violations"]
    checked = summary["inequality"]["checked"]
    return [f"{summary['inequality']['claim']}: {checked} rows held against it, {len(found)} violations"] + [
        f"VIOLATED at level {row['level']}, H={row['horizon']}, n={row['n']}, seed {row['seed']}, N={row['N']}: "
        f"{row['loss']} > {row['bound']} tokens"
        for row in found[:5]
    ]
