r"""``heterogeneity``: the gap against the spread of the returns, on the planted task at one H, n and mean return.

The base of least spread emits uniform tokens (gamma = 0). The dial mixes gamma = +-d with weights that keep the mean:
sigma grows to where half the traces are always right and half never. What else the dial moves is reported beside it:
c(epsilon), the expert's value, and how much the tokens of a trace tell of the gold (``hit``: how often a learner's pick
plays as the truth).

The class is all permutations of V tokens. ``vf-lower`` speaks of the codebook, where nothing but the spread changes:
its :math:`\sigma\sqrt{L/(8n)}` is drawn as a prediction. Slopes and rank correlations are measurements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.cells import DataRule, EpsilonRule
from sim.experiments.experiment import Cell, Experiment, Measurement, Samples, Settings, chosen_learners, require_range
from sim.experiments.planted import (
    GAPS,
    MAX_N,
    MAX_SEEDS,
    TRAINERS,
    cyclic_prompts,
    epsilon_at,
    judged,
    learners_at,
    measured,
)
from sim.ranges import parse_range
from sim.tasks.planted import Planted, heterogeneity_dial, heterogeneity_range
from sim.training.planted_learners import CLASS_LEARNERS, PlantedLearners
from sim.verdict import ROUNDING

__all__ = ["EXPERIMENT", "Heterogeneity", "HeterogeneitySettings", "trend"]

Floats = NDArray[np.float64]

KNOWN = (*CLASS_LEARNERS, *TRAINERS)
MAX_HORIZON, MAX_V = 256, 8
RESAMPLES = 1000


@dataclass(frozen=True)
class HeterogeneitySettings(Settings):
    """One horizon and one n; ``points`` spreads, dense where they are small; V tokens, golds of ``ell``, N draws."""

    horizon: str = "32"
    rule: str = "n=64"
    epsilon: str = "0.25"
    learners: str = "all"
    N: int = 4
    points: int = 11
    V: int = 6
    ell: int = 2

    def __post_init__(self) -> None:
        """Checks every field."""
        super().__post_init__()
        require_range("--seeds", self.seeds, 2, MAX_SEEDS)
        require_range("--N", self.N, 1, 10**6)
        require_range("points", self.points, 3, 1000)
        require_range("V", self.V, 3, MAX_V)
        require_range("ell", self.ell, 1, self.V)
        if not self.ell <= self.H <= MAX_HORIZON:
            raise ValueError(f"--horizon {self.horizon}: expected one number in {self.ell}..{MAX_HORIZON}")
        if self.n > MAX_N:
            raise ValueError(f"--rule {self.rule}: n = {self.n}, expected at most {MAX_N}")
        EpsilonRule.parse(self.epsilon)
        if self.epsilon == "optimal":
            raise ValueError("--epsilon optimal: expected capacity:A, or a number in (0, 1]")
        chosen_learners(self.learners, KNOWN)

    @property
    def H(self) -> int:
        """The horizon, tokens."""
        try:
            (found,) = parse_range(self.horizon)
        except ValueError:
            raise ValueError(f"--horizon {self.horizon}: expected one whole number") from None
        return found

    @property
    def n(self) -> int:
        """Traces a data set."""
        return DataRule.parse(self.rule)(self.H)

    @property
    def task(self) -> Planted:
        """The task of least spread: uniform tokens."""
        prompts = cyclic_prompts(self.V, self.ell, self.V)
        return Planted(V=self.V, ell=self.ell, H=self.H, gammas=(0.0,), M=None, prompts=prompts)


@lru_cache(maxsize=4)
def _mixtures(task: Planted, points: int) -> dict[float, Planted]:
    """The dial's tasks by their sigma."""
    least, most = heterogeneity_range(task)
    sigmas = [least + (most - least) * (i / (points - 1)) ** 2 for i in range(points)]
    return dict(zip(sigmas, heterogeneity_dial(task, sigmas), strict=True))


class Heterogeneity(Experiment[HeterogeneitySettings]):
    """Regrets and gaps along the dial."""

    name = "heterogeneity"
    question = "Does the gap grow with the heterogeneity of the base, at fixed horizon, traces and mean return?"
    axes = ("sigma",)

    def cells(self, settings: HeterogeneitySettings) -> tuple[Cell, ...]:
        """One a spread, increasing."""
        return tuple(self.cell(settings, sigma=sigma) for sigma in _mixtures(settings.task, settings.points))

    def instance(self, settings: HeterogeneitySettings, cell: Cell) -> PlantedLearners:
        """The learners of one cell."""
        config = _mixtures(settings.task, settings.points)[cell["sigma"]]
        epsilon = epsilon_at(EpsilonRule.parse(settings.epsilon), settings.n, config.size)
        return learners_at(config, settings.H, epsilon, settings.N)

    def measure(self, settings: HeterogeneitySettings, cells: Sequence[Cell]) -> list[Samples]:
        """J of every learner, hits, the verifier's error."""
        names = chosen_learners(settings.learners, KNOWN)
        return [measured(self.instance(settings, c), names, c, settings.n, settings.seeds) for c in cells]

    def judge(self, settings: HeterogeneitySettings, cell: Cell, samples: Samples) -> list[Measurement]:
        """Regrets, values and gaps with their bounds."""
        return judged(self.instance(settings, cell), samples, settings.n)

    def summarise(
        self, settings: HeterogeneitySettings, measured: Sequence[tuple[Cell, list[Measurement]]]
    ) -> dict[str, Any]:
        """The dial, point by point; slope and rank correlation of every gap with sigma."""
        sigma = np.array([cell["sigma"] for cell, _ in measured])
        trends = {}
        for gap in GAPS:
            samples = [m.samples for _, row in measured for m in row if m.quantity == gap and m.samples is not None]
            if len(samples) == len(sigma) >= 3:
                trends[gap] = trend(sigma, np.stack(samples), settings.seed, ROUNDING * settings.H)
        return {
            "horizon": settings.H,
            "n": settings.n,
            "maps": settings.task.size,
            "dial": [self._point(settings, cell, row) for cell, row in measured],
            "trends": trends,
        }

    def _point(self, settings: HeterogeneitySettings, cell: Cell, row: list[Measurement]) -> dict[str, Any]:
        found = self.instance(settings, cell)
        return {
            "sigma": cell["sigma"],
            "sigma_over_H": cell["sigma"] / settings.H,
            "gammas": list(found.config.gammas),
            "weights": list(found.config.weights),
            "mean_return": found.moments[0],
            "expert_return": found.expert_moments[0],
            "c": found.c,
            "solve_rate": 1.0 - float(found.laws[-1][found.own].mean()),
            **{f"hit {m.method}": m.mean for m in row if m.quantity == "hit"},
            **{m.quantity: m.mean for m in row if m.quantity in GAPS},
        }

    def lines(self, settings: HeterogeneitySettings, measured: Sequence[tuple[Cell, list[Measurement]]]) -> list[str]:
        """Regrets, then the trend of each gap."""
        lines = super().lines(settings, measured)
        for gap, found in self.summarise(settings, measured)["trends"].items():
            low, high = found["slope_interval"]
            first, last = found["rank_interval"]
            lines.append(
                f"{gap}: slope {found['slope']:+.3f} [{low:+.3f}, {high:+.3f}] tokens a token of sigma, "
                f"rank correlation {found['rank']:+.2f} [{first:+.2f}, {last:+.2f}], "
                f"smallest at {found['smallest_at']:.4g}, largest at {found['largest_at']:.4g}"
            )
        return lines

    def estimated_seconds(self, settings: HeterogeneitySettings) -> float:
        """Compilation, and what every trace costs."""
        golds = math.perm(settings.V, settings.ell)
        traces = settings.points * settings.seeds * settings.n
        return 16.0 + traces * settings.H * (1e-7 + 2e-9 * golds) + 2e-8 * settings.points * math.factorial(settings.V)


def trend(x: Floats, samples: Floats, seed: int, rounding: float) -> dict[str, Any]:
    """Least-squares slope and Spearman's rank correlation of the means of ``samples`` (points, trials) with ``x``.

    Means are multiples of ``rounding``, so that what differs by less ties. Intervals: 95% percentile bootstrap over
    trials, each point resampled by itself.
    """
    means = samples.mean(axis=1)
    rng = np.random.default_rng([seed, 0x7E])
    trials = samples.shape[1]
    resampled = np.stack(
        [rng.multinomial(trials, np.full(trials, 1.0 / trials), size=RESAMPLES) @ row / trials for row in samples]
    ).T
    found: dict[str, Any] = {}
    for name, statistic in (("slope", _slope), ("rank", _rank_correlation)):
        one, many = (statistic(x, rounding * np.round(rows / rounding)) for rows in (means[None], resampled))
        found[name] = float(one[0])
        found[f"{name}_interval"] = [float(v) for v in np.quantile(many, [0.025, 0.975])]
    return {**found, "smallest_at": float(x[means.argmin()]), "largest_at": float(x[means.argmax()])}


def _slope(x: Floats, rows: Floats) -> Floats:
    centred = x - x.mean()
    return np.asarray(rows @ centred / (centred @ centred))


def _rank_correlation(x: Floats, rows: Floats) -> Floats:
    """Of each row with ``x``; ties share their mean rank; 0 where a row is constant."""
    from scipy.stats import rankdata

    ranks = rankdata(rows, axis=1)
    own = rankdata(x) - (len(x) + 1) / 2
    centred = ranks - (len(x) + 1) / 2
    size = np.sqrt((centred**2).sum(axis=1) * (own @ own))
    return np.where(size > 0.0, centred @ own / np.where(size > 0.0, size, 1.0), 0.0)


EXPERIMENT = Heterogeneity(HeterogeneitySettings())
