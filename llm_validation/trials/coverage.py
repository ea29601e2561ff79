r"""How often the intervals of the diagnosis cover what is known: repeats on planted problems of exactly known law.

A repeat draws X problems from a pool and m samples of each, and computes what the diagnosis would:

* ``moments``: 95% intervals for the population's :math:`E_x\mu_x` and :math:`E_x\sigma_x^2`. Beside each the *oracle
  interval*, estimate :math:`\pm z_{.975}\,\mathrm{sd}/\sqrt X`, which knows the standard deviation of the problems'
  estimates exactly.
* ``concentration`` at level .05/X, and ``least_concentration``, against :math:`\min_xc_x(\varepsilon)` over the
  problems drawn whose samples vary. *Proved*: all X bounds hold at once with probability at least .95, and the smallest
  of them for the minimum. Beside it the plug-in minimum, the smallest share of samples above an estimated threshold.
* ``mean_concentration`` at level .01 a problem, against :math:`E_xc_x(\varepsilon)`, both over all problems and, as the
  interval leaves constant problems out, with each problem weighted by its probability to vary.

A coverage p of n repeats has the standard error :math:`\sqrt{p(1-p)/n}`. Every repeat has random numbers of its own,
whatever is computed with it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.concentration import Concentration, concentration, least_concentration, mean_concentration
from llm_validation.moments import moments, problem_moments
from llm_validation.trials.population import POOLS, Pool, pool

__all__ = ["EPSILONS", "LEVEL", "Batch", "Coverage", "coverage", "judged", "measured"]

Floats = NDArray[np.float64]
#: What one repeat found: name -> number.
Row = dict[str, float]

LEVEL = 0.95
EPSILONS = (0.0, 0.25, 0.5)
#: Level of a problem's bounds under ``mean_concentration``.
_PER_PROBLEM = 0.01
#: Repeats of a batch.
BATCH = 25


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is asked for: repeats for every pool and number of samples a problem."""

    repeats: int = 2000
    problems: int = 200
    samples: tuple[int, ...] = (4, 16, 64)
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ``ValueError`` with one line on a number out of range."""
        for name, value, low, high in (
            ("repeats", self.repeats, 2, 10**6),
            ("problems", self.problems, 2, 10**4),
            ("samples", min(self.samples), 2, 10**3),
            ("samples", max(self.samples), 2, 10**3),
            ("seed", self.seed, 0, 2**63 - 1),
        ):
            if not low <= value <= high:
                raise ValueError(f"--{name} {value}: expected {low}..{high}")

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**dataclasses.asdict(self), "samples": list(self.samples)}

    def batches(self) -> Iterator[Batch]:
        """All repeats, in pieces."""
        for name in POOLS:
            for m in self.samples:
                for start in range(0, self.repeats, BATCH):
                    yield Batch(name, m, self.problems, start, min(start + BATCH, self.repeats), self.seed)


@dataclass(frozen=True, slots=True)
class Batch:
    """Repeats ``start`` to ``stop`` - 1 with m samples of X problems of one pool."""

    pool: str
    m: int
    X: int
    start: int
    stop: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its shard."""
        return f"{self.pool}-{self.m:04d}-{self.start:06d}.parquet"


def _sorted_apart(returns: Floats, epsilon: Floats, horizon: int, alpha: float) -> Concentration:
    """``concentration`` of rows (x, m), those with the same samples worked out once."""
    rows, which = np.unique(np.sort(returns, axis=1), axis=0, return_inverse=True)
    which = which.reshape(-1)
    found = concentration(np.repeat(np.arange(len(rows)), rows.shape[1]), rows.reshape(-1), horizon, epsilon, alpha)
    return _rows(dataclasses.replace(found, problem=np.arange(len(rows))), which)


def _rows(found: Concentration, which: NDArray[Any]) -> Concentration:
    """The entries ``which`` of problems."""
    return dataclasses.replace(
        found,
        problem=np.arange(which.size),
        varies=found.varies[which],
        plug_in=found.plug_in[:, which],
        low=found.low[:, which],
        high=found.high[:, which],
    )


def columns(epsilons: Sequence[float] = EPSILONS) -> list[str]:
    """Names of what one repeat finds."""
    names = [f"{q}_{part}" for q in ("mu", "sigma2") for part in ("estimate", "low", "high")]
    parts = ("all_hold", "least_low", "least_true", "least_plug_in", "mean_estimate", "mean_low", "mean_high")
    return names + [f"{part}_{e:g}" for e in epsilons for part in parts]


def measured(batch: Batch, base: Pool | None = None) -> dict[str, Floats]:
    """What each repeat of the batch found, by name, (repeats,) each; ``base`` if not the pool of its name."""
    base = base or pool(batch.pool)
    epsilon, H, m = np.array(EPSILONS), base.horizon, batch.m
    draws, seeds = [], []
    for repeat in range(batch.start, batch.stop):
        rng = np.random.default_rng([batch.seed, 0xC07E2, [*POOLS].index(batch.pool), m, repeat])
        draws.append(base.drawn(rng, batch.X, m))
        seeds.append(int(rng.integers(2**62)))
    stacked = np.concatenate([returns for _, returns in draws])
    at_once = _sorted_apart(stacked, epsilon, H, (1.0 - LEVEL) / batch.X)
    each = _sorted_apart(stacked, epsilon, H, _PER_PROBLEM)
    truth = base.concentration(epsilon)
    rows: list[Row] = []
    for i, ((x, returns), seed) in enumerate(zip(draws, seeds, strict=True)):
        mine = np.arange(i * batch.X, (i + 1) * batch.X)
        found = _of_moments(returns, H, seed)
        found |= _of_least(_rows(at_once, mine), truth[:, x])
        found |= _of_mean(_rows(each, mine), seed)
        rows.append(found)
    return {name: np.array([row[name] for row in rows]) for name in columns()}


def _of_moments(returns: Floats, H: int, seed: int) -> Row:
    X, m = returns.shape
    found = moments(problem_moments(np.repeat(np.arange(X), m), returns.reshape(-1)), H, seed, LEVEL)
    return {
        f"{name}_{part}": getattr(found[name], part)
        for name in ("mu", "sigma2")
        for part in ("estimate", "low", "high")
    }


def _of_least(found: Concentration, truth: Floats) -> Row:
    """Bounds of all problems at once against ``truth`` (E, X); NaN if none varies."""
    bound, seen, row = least_concentration(found), found.varies, Row()
    for i, e in enumerate(EPSILONS):
        low, c, plug_in = (
            table[i, seen] if seen.any() else np.array([math.nan]) for table in (found.low, truth, found.plug_in)
        )
        row[f"all_hold_{e:g}"] = float((low <= c + 1e-12).all()) if seen.any() else math.nan
        row[f"least_low_{e:g}"] = float(bound[i])
        row[f"least_true_{e:g}"], row[f"least_plug_in_{e:g}"] = float(c.min()), float(plug_in.min())
    return row


def _of_mean(found: Concentration, seed: int) -> Row:
    intervals = mean_concentration(found, seed, LEVEL)
    return {
        f"mean_{part}_{e:g}": getattr(interval, part)
        for e, interval in zip(EPSILONS, intervals, strict=True)
        for part in ("estimate", "low", "high")
    }


def _share(hits: NDArray[np.bool_]) -> tuple[float, float]:
    """Share of repeats, and its standard error; NaN of none."""
    if not hits.size:
        return math.nan, math.nan
    p = float(hits.mean())
    return p, math.sqrt(p * (1.0 - p) / hits.size)


def _average(values: Floats) -> tuple[float, float]:
    """Mean of what is known, and its standard error; NaN of fewer than two."""
    values = values[np.isfinite(values)]
    if values.size < 2:
        return math.nan, math.nan
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size)


def coverage(
    base: Pool, m: int, X: int, found: Mapping[str, Floats]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows on the means of mu and sigma^2, and rows on c at each epsilon, of all repeats of a pool at m samples."""
    at = {"pool": base.name, "samples": m, "problems": X, "repeats": int(found["mu_low"].size)}
    means = [{**at, **_mean_row(base, name, m, X, found)} for name in ("mu", "sigma2")]
    truth, weight = base.concentration(np.array(EPSILONS)), base.varies(m)
    least = [
        {
            **at,
            "epsilon": e,
            "pool_least": float(c.min()),
            **_least_row(e, found),
            **_mean_c_row(e, float(c.mean()), float(c @ weight / weight.sum()), found),
        }
        for e, c in zip(EPSILONS, truth, strict=True)
    ]
    return means, least


def _mean_row(base: Pool, name: str, m: int, X: int, found: Mapping[str, Floats]) -> dict[str, Any]:
    from scipy.stats import norm

    truth, sd, unit = {
        "mu": (base.mean.mean(), base.sd_of_mean(m), "tokens"),
        "sigma2": (base.variance.mean(), base.sd_of_variance(m), "tokens^2"),
    }[name]
    estimate, low, high = (found[f"{name}_{part}"] for part in ("estimate", "low", "high"))
    half = float(norm.ppf(0.5 + LEVEL / 2)) * sd / math.sqrt(X)
    covered, error = _share((low <= truth) & (truth <= high))
    width, width_error = _average(high - low)
    oracle, _ = _share(abs(estimate - truth) <= half)
    return {
        "quantity": name,
        "unit": unit,
        "truth": float(truth),
        "coverage": covered,
        "coverage_se": error,
        "width": width,
        "oracle_width": 2.0 * half,
        "width_ratio": width / (2.0 * half),
        "width_ratio_se": width_error / (2.0 * half),
        "oracle_coverage": oracle,
    }


def _least_row(e: float, found: Mapping[str, Floats]) -> dict[str, Any]:
    low, truth, plug_in, hold = (
        found[f"{name}_{e:g}"] for name in ("least_low", "least_true", "least_plug_in", "all_hold")
    )
    seen = np.isfinite(low)
    low, truth, plug_in, hold = low[seen], truth[seen], plug_in[seen], hold[seen]
    row: dict[str, Any] = {"least_repeats": int(seen.sum())}
    names = ("least_coverage", "all_hold", "least_positive", "plug_in_above")
    for name, hits in zip(names, (low <= truth + 1e-12, hold == 1.0, low > 0.0, plug_in > truth + 1e-12), strict=True):
        row[name], row[f"{name}_se"] = _share(hits)
    (row["least_true"], _), (row["least_low"], _) = _average(truth), _average(low)
    row["plug_in_bias"], row["plug_in_bias_se"] = _average(plug_in - truth)
    return row


def _mean_c_row(e: float, everywhere: float, varying: float, found: Mapping[str, Floats]) -> dict[str, Any]:
    estimate, low, high = (found[f"mean_{part}_{e:g}"] for part in ("estimate", "low", "high"))
    row: dict[str, Any] = {"mean_true": everywhere, "mean_true_varying": varying}
    row["mean_coverage"], row["mean_coverage_se"] = _share((low <= everywhere) & (everywhere <= high))
    row["mean_coverage_varying"], row["mean_coverage_varying_se"] = _share((low <= varying) & (varying <= high))
    row["mean_width"], _ = _average(high - low)
    row["mean_plug_in_bias"], row["mean_plug_in_bias_se"] = _average(estimate - varying)
    return row


def judged(means: Sequence[Mapping[str, Any]], least: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The worst numbers against what is asked for, and violations: proved guarantees missed by 5 standard errors.

    The standard error is that of a coverage of .95 exactly.
    """
    reachable = [row for row in least if row["samples"] >= 64 and row["pool_least"] >= 0.25]
    violations = [
        f"{row['pool']}, {row['samples']} samples, epsilon {row['epsilon']:g}: {name} in {row[name]:.4f} of "
        f"{row['least_repeats']} repeats, proved {LEVEL}"
        for row in least
        for name in ("least_coverage", "all_hold")
        if row[name] < LEVEL - 5.0 * math.sqrt(LEVEL * (1.0 - LEVEL) / max(row["least_repeats"], 1))
    ]
    return {
        "means_coverage_min": min(row["coverage"] for row in means),
        "width_ratio_max": max(row["width_ratio"] for row in means),
        "least_coverage_min": min(row["least_coverage"] for row in least),
        "all_hold_min": min(row["all_hold"] for row in least),
        "least_positive_where_c_is_a_quarter": {
            f"{row['pool']}, {row['samples']} samples, epsilon {row['epsilon']:g}": row["least_positive"]
            for row in reachable
        },
        "mean_coverage_min": min(row["mean_coverage_varying"] for row in least),
        "violations": violations,
    }
