"""Made-up tables of the didactic experiment with known answers, and a run's directory that holds them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm_validation.gpt2_planted.analysis import analysed, write
from llm_validation.gpt2_planted.analysis_returns import Tables
from llm_validation.gpt2_planted.recipe import BaseRecipe, Grid, MeasureRecipe, Recipe, RlRecipe, TaskRecipe
from llm_validation.staged.spread import Place, Row
from sim.store import Output

EPSILONS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
L_PI, L_R = 30.0, 0.5
NAN = math.nan


def recipe_of(levels: tuple[float, ...] = (0.0, 0.5, 0.9), seeds: int = 3, **grid: Any) -> Recipe:
    """Three horizons and data sizes unless told otherwise."""
    H = grid.get("horizons", (8, 16, 32))
    return Recipe(
        name="made-up",
        task=TaskRecipe(V=5, ell=2, matched_at=H[len(H) // 2], levels=levels, held_out=9),
        base=BaseRecipe(horizons=H, steps=(1,) * len(H), batch=(1,) * len(H)),
        grid=Grid(**{"horizons": H, "n": (8, 32, 128), **grid, "seeds": seeds}),
        measure=MeasureRecipe(prompts=9, samples=32),
        rl=RlRecipe(levels=tuple(sorted({0, len(levels) - 1})), horizons=H[-2:], kl_horizons=H[-1:]),
    )


def sigma(level: int, H: int) -> float:
    """Of a level and horizon, tokens; no product of powers, as levels are not."""
    return (0.15 + 0.06 * level) * H


def concentration(epsilon: float) -> float:
    """c pooled of every base."""
    return 0.6 - 0.2 * epsilon


def clone_loss(level: int, H: int, n: int, L: float = L_PI) -> float:
    """sigma sqrt(L/(8n)): what a clone loses to the expert."""
    return sigma(level, H) * math.sqrt(L / (8 * n))


def verifier_error(H: int, n: int, L: float = L_R) -> float:
    """H (1 + L)/n."""
    return H * (1 + L) / n


def level_of_c(level: int, H: int) -> float:
    """The largest epsilon of the table up to p_s/s."""
    s = sigma(level, H) / H
    p = (1 - math.sqrt(1 - 4 * s * s)) / 2
    return max(epsilon for epsilon in EPSILONS if epsilon <= p / s)


def gap(level: int, H: int, n: int) -> float:
    """sigma sqrt(L_Pi/(8n)) - (H/c)(1 + L_R)/n."""
    return clone_loss(level, H, n) - verifier_error(H, n) / concentration(level_of_c(level, H))


def expert(H: int) -> float:
    """Mean return of what solved."""
    return 0.6 * H


def _cell(level: int, H: int, n: int = 0, seed: int = 0, arm: str = "", kl_weight: float = 0.0) -> Row:
    return {"level": level, "horizon": H, "n": n, "seed": seed, "arm": arm, "kl_weight": kl_weight}


def _measure(level: int, H: int) -> list[Row]:
    known = {"J": 0.4 * H, "sigma": sigma(level, H), "solve rate": 0.7, "solved mean": expert(H), "solved sigma": 1.0}
    cell = _cell(level, H, arm="pool")
    rows = [
        {**cell, "quantity": name, "at": NAN, "estimate": v, "low": v - 0.1, "high": v + 0.1, "exact": v + 0.05}
        for name, v in known.items()
    ]
    for name in ("c", "c pooled"):
        for epsilon in EPSILONS:
            c = concentration(epsilon) / (1 if name == "c pooled" else 2)
            rows.append({**cell, "quantity": name, "at": epsilon, "estimate": c, "low": 0.1, "high": 0.9, "exact": c})
    return rows


def _evaluated(cell: Row, method: str, J: float, kl: float, learnt: float = NAN) -> Row:
    rest = {"samples": 100, "J_se": 0.1, "spread": 1.0, "solve_rate": 0.8, "solve_time": 4.0, "tokens": 6.0}
    return {**cell, "method": method, "J": J, **rest, "kl": kl, "learnt_return": learnt}


def _best_of_n(cell: Row, recipe: Recipe, J: float, error: float) -> list[Row]:
    """J at the largest N, less below, overrated by 1; the oracle's lead is what the inequality allows, at most 1."""
    most = recipe.best_of_n.N[-1]
    return [
        {
            **cell,
            "N": N,
            "J": J - 0.1 * (most - N),
            "J_oracle": J - 0.1 * (most - N) + (0.0 if math.isnan(error) else min(1.0, N * error)),
            "solve_rate": 0.9,
            "learnt": J - 0.1 * (most - N) + 1.0,
            "J_se": 0.1,
            "epsilon_ver": error,
            "prompts": 3,
        }
        for N in recipe.best_of_n.N
    ]


def _path(cell: Row, falls: bool) -> list[Row]:
    """Learnt return rises by 3; the true one falls by 3 or rises by 1.5."""
    slope = -1.0 if falls else 0.5
    return [
        {
            **cell,
            "step": 10 * i,
            "learnt_return": 8.0 + i,
            "true_return": 8.0 + slope * i,
            "solve_rate": 0.5,
            "kl": 1.0 * i,
        }
        for i in range(4)
    ]


def tables_of(recipe: Recipe, by_seed: float = 0.0) -> Tables:
    """Everything at its closed form; seed k of three adds (k - 1) ``by_seed`` tokens to all policies alike."""
    found = Tables([], [], [], [], [], [], [])
    for level in range(len(recipe.task.levels)):
        for H in recipe.grid.horizons:
            gammas = {"gamma_low": 0.5, "gamma_high": 2.5, "weight_low": 0.3}
            found.data.append({**_cell(level, H), **gammas, "J": 0.4 * H, "sigma": sigma(level, H)})
            found.measure.extend(_measure(level, H))
            for seed in range(recipe.grid.seeds):
                shift = (seed - 1) * by_seed
                found.evaluate.append(_evaluated(_cell(level, H, seed=seed, arm="base"), "base", 0.4 * H + shift, 0.0))
                found.best_of_n.extend(_best_of_n(_cell(level, H, seed=seed, arm="oracle"), recipe, 0.9 * H, NAN))
                for n in recipe.grid.n:
                    _add(found, recipe, Place(level, H, n), seed, shift)
    return found


def _add(found: Tables, recipe: Recipe, place: Place, seed: int, shift: float) -> None:
    level, H, n = place
    clone = expert(H) - clone_loss(*place) + shift
    for arm in recipe.vf.arms:
        found.vf.append({**_cell(*place, seed, arm), "draws": n, "traces": n, "steps": 1})
        found.evaluate.append(_evaluated(_cell(*place, seed, arm), "vf", clone, 0.5))
    error = verifier_error(H, n)
    for arm in recipe.verifier.labels:
        cell, e = _cell(*place, seed, arm), error if arm == "per-token" else NAN
        quality = {"auroc": 0.5 + 0.1 * level, "auroc_near_miss": 0.6, "epsilon_ver": e}
        quality |= {"auroc_pairs": 0.8, "auroc_near_miss_pairs": 0.7 + 0.1 * level}
        found.verifier.append({**cell, **quality})
        found.best_of_n.extend(_best_of_n(cell, recipe, clone + gap(*place), e))
    if level in recipe.rl.levels and H in recipe.rl.horizons:
        cell = _cell(*place, seed, "verifier")
        found.rl.extend(_path(cell, falls=level == 0))
        found.evaluate.append(_evaluated(cell, "rl", clone + gap(*place), 2.0, clone + gap(*place) + 4.0))
        if n == recipe.grid.n[-1]:
            true = _cell(level, H, 0, seed, "true")
            found.rl.extend(_path(true, falls=False))
            found.evaluate.append(_evaluated(true, "rl", 0.95 * H, 3.0))


def stored(directory: Path, recipe: Recipe, tables: Tables) -> Path:
    """A directory as a run leaves it, as far as figures read it."""
    output = Output.open(directory, {"experiment": "didactic", "recipe": recipe.as_dict()}, False)
    write(analysed(tables, recipe), output)
    for name, rows in tables._asdict().items():
        place = directory / name.replace("_", "-")
        place.mkdir()
        pq.write_table(pa.Table.from_pylist(rows), place / "results.parquet")
    return directory


def summary_of(directory: Path) -> dict[str, Any]:
    """The summary; ``ValueError`` if it holds NaN or an infinity."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    found: dict[str, Any] = json.loads((directory / "summary.json").read_text(), parse_constant=refuse)
    return found
