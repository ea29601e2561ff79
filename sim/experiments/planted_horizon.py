r"""``planted-horizon``: regrets and gaps against the token budget, learners over a finite class of maps, planted task.

Two bases, fixed while H grows: ``uniform`` tokens (gamma = 0), whose traces tell of the gold only by when they solve,
and a ``mixture`` of gamma = +-1/2, whose tokens tell of it throughout. The expert is the ball's best policy at
:math:`\varepsilon^2=A\log M/n`, where ``vf-lower`` puts the hardest class of experts, or at a fixed epsilon.

Exponents are those of :mod:`sim.statistics`; beside each that of the prediction, fitted to the same horizons with the
same weights: sigma is no power of H here. Predictions are of the codebook, and proved there only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sim.cells import DataRule, EpsilonRule
from sim.experiments.experiment import Cell, Experiment, Measurement, Samples, Settings, chosen_learners, require_range
from sim.experiments.planted import (
    MAX_N,
    MAX_SEEDS,
    cyclic_prompts,
    epsilon_at,
    judged,
    learners_at,
    measured,
)
from sim.ranges import parse_horizons
from sim.statistics import FEWEST, power_of
from sim.tasks.planted import Planted
from sim.training.planted_learners import CLASS_LEARNERS, PlantedLearners
from sim.verdict import ROUNDING

__all__ = ["BASES", "EXPERIMENT", "PlantedHorizon", "PlantedHorizonSettings"]

#: Gammas of the bases, of weight one half each.
BASES = {"uniform": (0.0, 0.0), "mixture": (-0.5, 0.5)}
#: Gaps whose exponents are fitted.
FITTED = ("vf_regret", "ball_gap", "free_gap")
MAX_HORIZON, MAX_LOG2_M = 4096, 12


@dataclass(frozen=True)
class PlantedHorizonSettings(Settings):
    """``instance`` is a base or ``all``; ``V`` tokens, golds of ``ell``, ``prompts`` words, 2^log2_M permutations."""

    horizon: str = "16..512x2"
    rule: str = "n=H"
    instance: str = "all"
    log2_M: int = 6
    epsilon: str = "capacity:1"
    seeds: int = 64
    learners: str = "all"
    N: int = 4
    V: int = 16
    ell: int = 2
    prompts: int = 4

    def __post_init__(self) -> None:
        """Checks every field."""
        super().__post_init__()
        require_range("--seeds", self.seeds, 2, MAX_SEEDS)
        require_range("--N", self.N, 1, 10**6)
        require_range("--log2-M", self.log2_M, 1, MAX_LOG2_M)
        require_range("V", self.V, 8, 64)
        require_range("ell", self.ell, 1, min(self.V, 8))
        require_range("prompts", self.prompts, 1, self.V)
        if not self.ell <= self.horizons[0] <= self.horizons[-1] <= MAX_HORIZON:
            raise ValueError(f"--horizon {self.horizon}: expected horizons in {self.ell}..{MAX_HORIZON}")
        most = max(map(DataRule.parse(self.rule), self.horizons))
        if most > MAX_N:
            raise ValueError(f"--rule {self.rule}: n = {most}, expected at most {MAX_N}")
        if self.instance not in ("all", *BASES):
            raise ValueError(f"--instance {self.instance}: expected all, or one of {', '.join(BASES)}")
        EpsilonRule.parse(self.epsilon)
        if self.epsilon == "optimal":
            raise ValueError("--epsilon optimal: expected capacity:A, or a number in (0, 1]")
        chosen_learners(self.learners, CLASS_LEARNERS)

    @cached_property
    def horizons(self) -> tuple[int, ...]:
        """Horizons, tokens, increasing."""
        return parse_horizons(self.horizon)

    @property
    def bases(self) -> tuple[str, ...]:
        """The bases that are asked for."""
        return tuple(BASES) if self.instance == "all" else (self.instance,)

    def task(self, base: str) -> Planted:
        """The task at the largest horizon."""
        return Planted(
            V=self.V,
            ell=self.ell,
            H=self.horizons[-1],
            gammas=BASES[base],
            weights=(0.5, 0.5),
            M=2**self.log2_M,
            prompts=cyclic_prompts(self.V, self.ell, self.prompts),
            seed=self.seed,
        )


class PlantedHorizon(Experiment[PlantedHorizonSettings]):
    """Regrets and gaps against H."""

    name = "planted-horizon"
    question = "How do regrets and gaps grow with the horizon on the planted task?"
    axes = ("base", "horizon", "n")
    against = ("horizon", "n")

    def cells(self, settings: PlantedHorizonSettings) -> tuple[Cell, ...]:
        """Bases outermost."""
        n = DataRule.parse(settings.rule)
        return tuple(
            self.cell(settings, base=base, horizon=H, n=n(H)) for base in settings.bases for H in settings.horizons
        )

    def instance(self, settings: PlantedHorizonSettings, cell: Cell) -> PlantedLearners:
        """The learners of one cell."""
        epsilon = epsilon_at(EpsilonRule.parse(settings.epsilon), cell["n"], 2**settings.log2_M)
        return learners_at(settings.task(cell["base"]), cell["horizon"], epsilon, settings.N)

    def measure(self, settings: PlantedHorizonSettings, cells: Sequence[Cell]) -> list[Samples]:
        """J of every learner, hits, the verifier's error."""
        names = chosen_learners(settings.learners, CLASS_LEARNERS)
        return [measured(self.instance(settings, c), names, c, c["n"], settings.seeds) for c in cells]

    def judge(self, settings: PlantedHorizonSettings, cell: Cell, samples: Samples) -> list[Measurement]:
        """Regrets, values and gaps with their bounds."""
        return judged(self.instance(settings, cell), samples, cell["n"])

    def summarise(
        self, settings: PlantedHorizonSettings, measured: Sequence[tuple[Cell, list[Measurement]]]
    ) -> dict[str, Any]:
        """Exponents of the gaps, and each VF regret in units of its prediction."""
        by_base = {base: [(c, row) for c, row in measured if c["base"] == base] for base in settings.bases}
        return {
            "maps": 2**settings.log2_M,
            "exponents": [
                self._fitted(settings, base, gap, found) for base, found in by_base.items() for gap in FITTED if found
            ],
            "regret_over_prediction": {
                base: [[c["horizon"], m.mean / m.prediction] for c, row in found for m in row if _is(m, "vf_regret")]
                for base, found in by_base.items()
            },
        }

    def _fitted(
        self, settings: PlantedHorizonSettings, base: str, gap: str, found: list[tuple[Cell, list[Measurement]]]
    ) -> dict[str, Any]:
        cells = [(cell, m) for cell, row in found for m in row if _is(m, gap) and m.samples is not None]
        row: dict[str, Any] = {"base": base, "gap": gap, "exponent": None, "ci_low": None, "ci_high": None}
        row |= {"predicted": None, "horizons": len(cells), "reason": f"fewer than {FEWEST} horizons"}
        if len(cells) < FEWEST:
            return row
        H = np.array([cell["horizon"] for cell, _ in cells], dtype=np.float64)
        samples = np.stack([m.samples for _, m in cells if m.samples is not None])
        seen, nowhere = samples.mean(axis=1) > ROUNDING * H, np.zeros(len(H), dtype=bool)
        condition = "a gap above rounding"
        fit = power_of(H, samples, seen, nowhere, ROUNDING * H, settings.seed, condition)
        predicted = np.array([m.prediction for _, m in cells])
        # Errors and so weights of the samples, around the prediction.
        moved = samples + (predicted - samples.mean(axis=1))[:, None]
        line = power_of(H, moved, seen, nowhere, ROUNDING * H, settings.seed, condition)
        return row | {
            "exponent": fit.estimate,
            "ci_low": fit.ci_low,
            "ci_high": fit.ci_high,
            "predicted": line.estimate,
            "horizons": fit.horizons,
            "reason": fit.reason,
        }

    def lines(self, settings: PlantedHorizonSettings, measured: Sequence[tuple[Cell, list[Measurement]]]) -> list[str]:
        """Regrets, then the exponents."""
        lines = super().lines(settings, measured)
        for row in self.summarise(settings, measured)["exponents"]:
            if row["exponent"] is None or row["ci_low"] is None:
                lines.append(f"{row['base']}: exponent of {row['gap']}: none ({row['reason']})")
                continue
            lines.append(
                f"{row['base']}: exponent of {row['gap']}: {row['exponent']:.3f} "
                f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}], prediction {row['predicted']:.3f}, "
                f"{row['horizons']} horizons"
            )
        return lines

    def estimated_seconds(self, settings: PlantedHorizonSettings) -> float:
        """Compilation, drawing every trace to the largest horizon, and reading it with every gold."""
        cells = self.cells(settings)
        golds = float(min(2**settings.log2_M, settings.V**settings.ell))
        sizes = [(2.0 * settings.seeds * float(cell["n"]), float(cell["horizon"])) for cell in cells]
        drawn, read = sum(size for size, _ in sizes), sum(size * H * golds for size, H in sizes)
        return 8.0 + 6e-8 * drawn * float(settings.horizons[-1]) + 1.2e-9 * read


def _is(measurement: Measurement, quantity: str) -> bool:
    return measurement.quantity == quantity


EXPERIMENT = PlantedHorizon(PlantedHorizonSettings())
