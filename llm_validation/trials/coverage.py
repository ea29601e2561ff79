r"""How often the intervals of the diagnosis cover what is known: repeats on planted problems of exactly known law.

A repeat draws X problems from a pool and m samples of each, and computes what the diagnosis would:

* ``moments``: 95% intervals for the population's :math:`E_x\mu_x` and :math:`E_x\sigma_x^2`. Beside each the *oracle
  interval*, estimate :math:`\pm z_{.975}\,\mathrm{sd}/\sqrt X`, which knows the standard deviation of the problems'
  estimates exactly.
* ``concentration`` at level .05 and ``least_concentration``, against :math:`\min_xc_x(\varepsilon)` over the problems
  drawn whose samples vary. *Proved*: it is at or below with probability at least .95. Beside it the plug-in minimum,
  the smallest share of samples at or above an estimated threshold.
* ``concentration`` at level .01, against each problem's :math:`c_x(\varepsilon)`. *Proved*: a lower bound fails with
  probability at most .01, and so does an upper one; a problem whose samples do not vary has none, so none that fails.
* ``lower_quantile`` of these, against the 10% quantile of :math:`c_x(\varepsilon)`, each problem weighted by its
  probability to vary. *Proved*: it is at or below with probability at least .95.
* ``mean_concentration`` of these, against :math:`E_xc_x(\varepsilon)`, both over all problems and, as the
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

from llm_validation.concentration import (
    Concentration,
    concentration,
    least_concentration,
    lower_quantile,
    mean_concentration,
)
from llm_validation.moments import moments, problem_moments
from llm_validation.trials.population import POOLS, Pool, pool

__all__ = ["EPSILONS", "LEVEL", "Batch", "Coverage", "coverage", "judged", "measured", "quantile"]

Floats = NDArray[np.float64]
#: What one repeat found: name -> number.
Row = dict[str, float]

LEVEL = 0.95
EPSILONS = (0.0, 0.25, 0.5)
#: Level of a problem's bounds under ``mean_concentration``.
_PER_PROBLEM = 0.01
_QUANTILE, _ROUNDING = 0.1, 1e-12
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
    problem = np.repeat(np.arange(len(rows)), rows.shape[1])
    return concentration(problem, rows.reshape(-1), horizon, epsilon, alpha).take(which.reshape(-1))


def columns(epsilons: Sequence[float] = EPSILONS) -> list[str]:
    """Names of what one repeat finds."""
    names = [f"{q}_{part}" for q in ("mu", "sigma2") for part in ("estimate", "low", "high")]
    parts = (
        "low_fails",
        "high_fails",
        "least_low",
        "least_true",
        "least_plug_in",
        "quantile_low",
        "mean_estimate",
        "mean_low",
        "mean_high",
    )
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
    at_level = _sorted_apart(stacked, epsilon, H, 1.0 - LEVEL)
    each = _sorted_apart(stacked, epsilon, H, _PER_PROBLEM)
    truth = base.concentration(epsilon)
    rows: list[Row] = []
    for i, ((x, returns), seed) in enumerate(zip(draws, seeds, strict=True)):
        mine = np.arange(i * batch.X, (i + 1) * batch.X)
        found = _of_moments(returns, H, seed)
        found |= _of_least(at_level.take(mine), truth[:, x])
        found |= _of_each(each.take(mine), truth[:, x])
        found |= _of_mean(each.take(mine), seed)
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
    """The bound on the smallest c against ``truth`` (E, X); NaN if no problem varies."""
    bound, row = least_concentration(found), Row()
    for i, e in enumerate(EPSILONS):
        row[f"least_low_{e:g}"] = float(bound[i])
        for name, table in (("true", truth), ("plug_in", found.plug_in)):
            row[f"least_{name}_{e:g}"] = float(np.min(table[i, found.varies], initial=math.inf))
    return {name: value if found.varies.any() else math.nan for name, value in row.items()}


def _of_each(found: Concentration, truth: Floats) -> Row:
    """How many problems have a bound that their c is beyond; the bound on the quantile, NaN if no problem varies."""
    bound, row = lower_quantile(found, _QUANTILE, LEVEL), Row()
    for i, e in enumerate(EPSILONS):
        row[f"low_fails_{e:g}"] = float((found.low[i] > truth[i] + _ROUNDING).sum())  # NaN is beyond nothing
        row[f"quantile_low_{e:g}"] = float(bound[i])
        row[f"high_fails_{e:g}"] = float((found.high[i] < truth[i] - _ROUNDING).sum())
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
            **_least_row(e, X, found),
            **_quantile_row(e, quantile(c, weight, _QUANTILE), found),
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


def _least_row(e: float, X: int, found: Mapping[str, Floats]) -> dict[str, Any]:
    low, truth, plug_in = (found[f"least_{name}_{e:g}"] for name in ("low", "true", "plug_in"))
    seen = np.isfinite(low)
    low, truth, plug_in = low[seen], truth[seen], plug_in[seen]
    row: dict[str, Any] = {"least_repeats": int(seen.sum())}
    names = ("least_coverage", "least_positive", "plug_in_above")
    for name, hits in zip(names, (low <= truth + _ROUNDING, low > 0.0, plug_in > truth + _ROUNDING), strict=True):
        row[name], row[f"{name}_se"] = _share(hits)
    (row["least_true"], _), (row["least_low"], _) = _average(truth), _average(low)
    row["plug_in_bias"], row["plug_in_bias_se"] = _average(plug_in - truth)
    for side in ("low", "high"):
        row[f"{side}_fails"] = float(found[f"{side}_fails_{e:g}"].mean()) / X
    return row


def quantile(values: Floats, weights: Floats, q: float) -> float:
    """The smallest value that has at least a share q of the weight at or below it."""
    order = np.argsort(values)
    below = weights[order].cumsum()
    return float(values[order][np.searchsorted(below, q * below[-1] * (1.0 - 1e-12))])


def _quantile_row(e: float, truth: float, found: Mapping[str, Floats]) -> dict[str, Any]:
    low = found[f"quantile_low_{e:g}"]
    low = low[np.isfinite(low)]
    row: dict[str, Any] = {"quantile_true": truth, "quantile_low": _average(low)[0]}
    row["quantile_coverage"], row["quantile_coverage_se"] = _share(low <= truth + _ROUNDING)
    return row


def _mean_c_row(e: float, everywhere: float, varying: float, found: Mapping[str, Floats]) -> dict[str, Any]:
    estimate, low, high = (found[f"mean_{part}_{e:g}"] for part in ("estimate", "low", "high"))
    row: dict[str, Any] = {"mean_true": everywhere, "mean_true_varying": varying}
    row["mean_coverage"], row["mean_coverage_se"] = _share((low <= everywhere) & (everywhere <= high))
    row["mean_coverage_varying"], row["mean_coverage_varying_se"] = _share((low <= varying) & (varying <= high))
    row["mean_width"], _ = _average(high - low)
    row["mean_plug_in_bias"], row["mean_plug_in_bias_se"] = _average(estimate - varying)
    return row


#: A guarantee of probability p is missed where what was counted is this many of its standard errors worse than p.
_ERRORS = 5.0


def _violations(row: Mapping[str, Any]) -> Iterator[str]:
    """Proved guarantees that the repeats contradict; the standard error is that of the proved probability."""
    place = f"{row['pool']}, {row['samples']} samples, epsilon {row['epsilon']:g}"
    checks = (
        ("least_coverage", 1.0 - row["least_coverage"], 1.0 - LEVEL, row["least_repeats"]),
        ("quantile_coverage", 1.0 - row["quantile_coverage"], 1.0 - LEVEL, row["least_repeats"]),
        ("low_fails", row["low_fails"], _PER_PROBLEM, row["repeats"] * row["problems"]),
        ("high_fails", row["high_fails"], _PER_PROBLEM, row["repeats"] * row["problems"]),
    )
    for name, failed, proved, count in checks:
        if failed > proved + _ERRORS * math.sqrt(proved * (1.0 - proved) / max(count, 1)):
            yield f"{place}: {name}, failed in {failed:.5f} of {count}, proved at most {proved:g}"


def judged(means: Sequence[Mapping[str, Any]], least: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The worst numbers, and violations of what is proved."""
    reachable = [row for row in least if row["samples"] >= 64 and row["pool_least"] >= 0.25]
    return {
        "means_coverage_min": min(row["coverage"] for row in means),
        "width_ratio_max": max(row["width_ratio"] for row in means),
        "least_coverage_min": min(row["least_coverage"] for row in least),
        "least_positive_where_c_is_a_quarter": {
            f"{row['pool']}, {row['samples']} samples, epsilon {row['epsilon']:g}": row["least_positive"]
            for row in reachable
        },
        "quantile_coverage_min": min(row["quantile_coverage"] for row in least),
        "mean_coverage_min": min(row["mean_coverage_varying"] for row in least),
        "fails_max": max(max(row["low_fails"], row["high_fails"]) for row in least),
        "violations": [violation for row in least for violation in _violations(row)],
    }
