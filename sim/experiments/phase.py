r"""``phase``: exponents in H of the three gaps where :math:`\sigma\sim H^\alpha`, :math:`n\sim H^\nu`.

Codebook with R = mu +- sigma at expert :math:`\varepsilon^2=\log M/n`. From the first horizon :math:`H_0` on,
:math:`\sigma=\frac{H_0}2(H/H_0)^\alpha` and :math:`n=n_0(H/H_0)^\nu`, rounded up. Predicted inside the window of
``vf-lower``: VF regret and ball gap :math:`H^{\alpha-\nu/2}`, free gap :math:`H^\alpha` (theory notes, section 9).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.cells import MAX_N, MIN_S
from sim.cells import Cell as CodebookCell
from sim.experiments.codebook import BATCH, codebook_cell, gaps_of, sampled
from sim.experiments.experiment import Cell, Experiment, Measurement, Samples, Settings, require_range
from sim.ranges import parse_horizons
from sim.report import GAPS
from sim.statistics import FEWEST, IDENTIFIED, power_of
from sim.verdict import ROUNDING
from theory.gap import GAP_BALL_CLAIMS, GAP_FREE_CLAIMS
from theory.verifier_free import VF_LOWER_CLAIMS, exponent_of

__all__ = ["EXPERIMENT", "Phase", "PhaseSettings"]

#: The claims whose exponent is laid beside that of each gap.
_CLAIMS = {"vf_regret": VF_LOWER_CLAIMS, "ball_gap": GAP_BALL_CLAIMS, "free_gap": GAP_FREE_CLAIMS}


@dataclass(frozen=True)
class PhaseSettings(Settings):
    """Exponents ``alphas`` of sigma, in (-inf, 1], and ``nus`` of n; ``n0`` traces at the first horizon."""

    horizon: str = "64..4096x2"
    log2_M: int = 128
    alphas: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    nus: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5)
    n0: int = 256

    def __post_init__(self) -> None:
        """Checks every field."""
        super().__post_init__()
        require_range("--log2-M", self.log2_M, 1, 4096)
        H = self.horizons
        if len(H) < FEWEST:
            raise ValueError(f"--horizon {self.horizon}: expected at least {FEWEST} horizons to fit an exponent")
        growth = H[-1] / H[0]
        if self.n0 * growth ** max(self.nus) > MAX_N:
            raise ValueError(f"--horizon {self.horizon}: n grows beyond {MAX_N} at nu = {max(self.nus)}")
        if max(self.alphas) > 1.0 or 0.5 * growth ** (min(self.alphas) - 1.0) < MIN_S:
            raise ValueError(f"--horizon {self.horizon}: expected {MIN_S:g} <= sigma/H <= 1/2 at each alpha")

    @property
    def horizons(self) -> tuple[int, ...]:
        """Horizons, tokens, increasing."""
        return parse_horizons(self.horizon)


class Phase(Experiment[PhaseSettings]):
    """Exponents on a grid of (alpha, nu)."""

    name = "phase"
    question = "Which power of H does each gap follow where sigma ~ H^alpha and n ~ H^nu?"
    axes = ("alpha", "nu", "horizon")
    batch = BATCH

    def cells(self, settings: PhaseSettings) -> tuple[Cell, ...]:
        """Grid, horizons innermost."""
        return tuple(
            self.cell(settings, alpha=alpha, nu=nu, horizon=H)
            for alpha in settings.alphas
            for nu in settings.nus
            for H in settings.horizons
        )

    def instance(self, settings: PhaseSettings, cell: Cell) -> CodebookCell:
        """The codebook of one cell."""
        growth = cell["horizon"] / settings.horizons[0]
        n = math.ceil(settings.n0 * growth ** cell["nu"] * (1.0 - 1e-12))
        return codebook_cell(
            cell["horizon"], n, settings.log2_M, 0.5 * growth ** (cell["alpha"] - 1.0), seed=settings.seed
        )

    def measure(self, settings: PhaseSettings, cells: Sequence[Cell]) -> list[Samples]:
        """Evidence of the collapsed sampler."""
        growth = settings.horizons[-1] / settings.horizons[0]
        largest = math.ceil(settings.n0 * growth ** max(settings.nus))
        return sampled([self.instance(settings, cell) for cell in cells], settings.seeds, largest)

    def judge(self, settings: PhaseSettings, cell: Cell, samples: Samples) -> list[Measurement]:
        """The three gaps with their bounds."""
        return gaps_of(self.instance(settings, cell), samples)

    def summarise(self, settings: PhaseSettings, measured: Sequence[tuple[Cell, list[Measurement]]]) -> dict[str, Any]:
        """For every (alpha, nu) and gap: exponent, interval, prediction, whether the window covers all of the range."""
        rows = []
        for alpha in settings.alphas:
            for nu in settings.nus:
                found = [(c, row) for c, row in measured if (c["alpha"], c["nu"]) == (alpha, nu)]
                rows += [self._fitted(settings, alpha, nu, gap, found) for gap in GAPS] if found else []
        covered = [row["deviation"] for row in rows if row["window_covers_range"] and row["deviation"] is not None]
        return {
            "exponents": rows,
            "largest_deviation_inside_window": max(map(abs, covered), default=None),
            "fits_inside_window": len(covered),
        }

    def _fitted(
        self, settings: PhaseSettings, alpha: float, nu: float, gap: str, found: list[tuple[Cell, list[Measurement]]]
    ) -> dict[str, Any]:
        picked = [next(m for m in row if m.quantity == gap) for _, row in found]
        H = np.array([cell["horizon"] for cell, _ in found], dtype=np.float64)
        n = np.array([self.instance(settings, cell).n for cell, _ in found])
        inside = np.array([m.lower is not None and m.lower.valid for m in picked])
        samples = np.stack([m.samples for m in picked if m.samples is not None])
        fit = power_of(
            H,
            samples,
            n >= IDENTIFIED * settings.log2_M,
            inside,
            ROUNDING * H,
            settings.seed,
            f"n >= {IDENTIFIED} log2 M and a positive gap",
        )
        predicted = exponent_of(_CLAIMS[gap], alpha, nu)
        return {
            "gap": gap,
            "alpha": alpha,
            "nu": nu,
            "exponent": fit.estimate,
            "ci_low": fit.ci_low,
            "ci_high": fit.ci_high,
            "predicted": predicted,
            "deviation": None if fit.estimate is None else fit.estimate - predicted,
            "window_covers_range": fit.horizons == fit.horizons_inside_window == len(found),
            "reason": fit.reason,
        }

    def lines(self, settings: PhaseSettings, measured: Sequence[tuple[Cell, list[Measurement]]]) -> list[str]:
        """One line a fit."""
        head = (
            f"{'gap':>10} {'alpha':>6} {'nu':>5} {'exponent':>9} {'95% interval':>18} {'predicted':>10} inside window"
        )
        lines = [head]
        for row in self.summarise(settings, measured)["exponents"]:
            if row["ci_low"] is None:
                lines.append(f"{row['gap']:>10} {row['alpha']:>6} {row['nu']:>5} none: {row['reason']}")
                continue
            interval = f"[{row['ci_low']:.4f}, {row['ci_high']:.4f}]"
            inside = "yes" if row["window_covers_range"] else "not throughout"
            lines.append(
                f"{row['gap']:>10} {row['alpha']:>6} {row['nu']:>5} {row['exponent']:>9.4f} {interval:>18} "
                f"{row['predicted']:>10.4f} {inside}"
            )
        return lines

    def estimated_seconds(self, settings: PhaseSettings) -> float:
        """A few milliseconds a cell, and the bounds' sums over n."""
        cells = self.cells(settings)
        return 8.0 + sum(0.01 + 1e-6 * self.instance(settings, cell).n for cell in cells) * max(
            1.0, settings.seeds / 256
        )


EXPERIMENT = Phase(PhaseSettings())
