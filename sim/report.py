"""From evidence to tables: one row per horizon and method, one per horizon and gap, violations and exponents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sim.cells import SweepConfig
from sim.learners.learner import Learner
from sim.statistics import Exponent, exponent, mean_and_error
from sim.tasks.evidence import Evidence
from sim.verdict import Side, Violation, bounds_of, wrong_sides

__all__ = ["GAPS", "MINUEND", "SIDES", "Report", "make_report"]

GAPS = ("vf_regret", "ball_gap", "free_gap")
#: The learner whose value a gap is over that of the verifier-free one, and the bounds on it (fields of CellBounds).
MINUEND = {"vf_regret": "expert", "ball_gap": "vb-ball", "free_gap": "vb-top-c"}
SIDES = {
    "vf_regret": ("vf_lower", "vf_upper"),
    "ball_gap": ("ball_gap_lower", "ball_gap_upper"),
    "free_gap": ("free_gap_lower", "free_gap_upper"),
}


@dataclass(frozen=True, slots=True)
class Report:
    """Tables and verdicts of one sweep. ``failed`` lists horizons whose numbers were not finite."""

    results: pa.Table
    gaps: pa.Table
    violations: tuple[Violation, ...]
    unresolved: tuple[Violation, ...]
    exponents: dict[str, Exponent]
    failed: tuple[int, ...]

    def summary(self) -> dict[str, Any]:
        """Plain data for ``summary.json`` and standard output."""
        return {
            "cells": len(set(self.results["horizon"].to_pylist())),
            "failed_cells": list(self.failed),
            "bound_violations": len(self.violations),
            "violations": [asdict(v) for v in self.violations],
            "unresolved": [asdict(v) for v in self.unresolved],
            "exponents": {name: asdict(e) for name, e in self.exponents.items()},
        }


def _columns(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.table({name: [row[name] for row in rows] for name in rows[0]}) if rows else pa.table({})


def _side_columns(lower: Side | None, upper: Side | None) -> dict[str, Any]:
    sides = {"lower": lower, "upper": upper}
    bounds = {f"bound_{name}": math.nan if side is None else side.bound for name, side in sides.items()}
    valid = {f"bound_{name}_valid": side is not None and side.valid for name, side in sides.items()}
    labels = {f"bound_{name}_label": "" if side is None else side.label for name, side in sides.items()}
    return {**bounds, "bound_valid": any(valid.values()), **valid, **labels}


def make_report(config: SweepConfig, chosen: Sequence[Learner], evidence: Evidence) -> Report:
    """Values, regrets, gaps, bounds and violations of every cell; ``evidence`` arrays are (cells, trials)."""
    cells = config.cells()
    known = np.isfinite(evidence.posterior_sign) & np.isfinite(evidence.mle_hit) & np.isfinite(evidence.erm_hit)
    finite = known.all(axis=1)
    rows: list[dict[str, Any]] = []
    gap_rows: list[dict[str, Any]] = []
    found: list[Violation] = []
    names = [learner.name for learner in chosen]
    cloned = next((name for name in ("vf-bayes", "vf-mle") if name in names), None)
    measured = {gap: cloned is not None and MINUEND[gap] in {*names, "expert"} for gap in GAPS}
    samples: dict[str, list[NDArray[np.float64]]] = {gap: [] for gap in GAPS}
    inside: dict[str, list[bool]] = {gap: [] for gap in GAPS}
    for index in np.flatnonzero(finite):
        cell, bounds = cells[index], bounds_of(cells[index])
        seen = Evidence(*(field[index] for field in evidence))
        values = {learner.name: learner.value(seen, cell) for learner in chosen}
        values.setdefault("expert", np.full(config.seeds, cell.expert_value))
        shared = {
            "instance": cell.instance,
            "law": cell.law,
            "rule": config.rule,
            "horizon": cell.H,
            "n": cell.n,
            "log2_M": cell.log2_M,
            "epsilon": cell.epsilon,
            "kappa": cell.kappa,
            "sigma": cell.sigma,
            "c": cell.c,
        }
        for learner in chosen:
            lower = getattr(bounds, learner.lower) if learner.lower else None
            upper = getattr(bounds, learner.upper) if learner.upper else None
            (J, J_se), (regret, se) = (
                mean_and_error(x) for x in (values[learner.name], cell.expert_value - values[learner.name])
            )
            rows.append({
                **shared,
                "method": learner.name,
                "seeds": config.seeds,
                "J_mean": float(J),
                "J_se": float(J_se),
                "J_exact": learner.exact(cell),
                "regret_mean": float(regret),
                "regret_se": float(se),
                **_side_columns(lower, upper),
            })  # fmt: skip
            reach = (cell.expert_value - float(cell.return_law.values[-1]), cell.expert_value - cell.mu)
            found += wrong_sides(cell, learner.name, cell.expert_value - values[learner.name], reach, lower, upper)
        for gap in GAPS:
            if not measured[gap] or cloned is None:
                continue
            difference = values[MINUEND[gap]] - values[cloned]
            samples[gap].append(difference)
            mean, se = mean_and_error(difference)
            lower, upper = (getattr(bounds, side) for side in SIDES[gap])
            gap_rows.append({
                **shared,
                "gap": gap,
                "cloned_by": cloned,
                "seeds": config.seeds,
                "gap_mean": float(mean),
                "gap_se": float(se),
                **_side_columns(lower, upper),
            })  # fmt: skip
            gain = cell.rho if gap == "free_gap" else cell.epsilon * cell.sigma
            found += wrong_sides(cell, gap, difference, (-cell.rho, gain), lower, upper)
            inside[gap].append(lower.valid)
    kept = [cells[i] for i in np.flatnonzero(finite)]
    H, n = (np.array([getattr(cell, name) for cell in kept], dtype=np.float64) for name in ("H", "n"))
    exponents = {
        gap: exponent(H, n, config.log2_M, np.stack(samples[gap]), np.array(inside[gap]), config.seed)
        if samples[gap]
        else Exponent(
            None, None, None, 0, 0, "needs a verifier-free learner" if cloned is None else f"needs {MINUEND[gap]}"
        )
        for gap in GAPS
    }
    failed = tuple(cells[i].H for i in np.flatnonzero(~finite))
    violated = tuple(v for v in found if v.resolved)
    unresolved = tuple(v for v in found if not v.resolved)
    return Report(_columns(rows), _columns(gap_rows), violated, unresolved, exponents, failed)
