r"""``scaling-n``: regret against the number of traces at a fixed horizon.

* ``codebook``: R in {0, H}, optimal learners, expert :math:`\varepsilon^2=\log M/n`. Predicted inside the window of
  ``vf-lower``: VF regret and ball gap :math:`n^{-1/2}`, free gap :math:`n^0`. Verifier-based learners have the
  verifier once about log2 M base traces came by: the chance of not having it falls like :math:`M2^{-n}`.
* ``planted``: learners that train, expert of one fixed radius for all n, uniform base, class of all maps considered.
  The state is (prompt, last tokens); tables do not see the step, which the expert's policy depends on, so that cloning
  by counting has a limit other than the expert: its value is given, exactly. Expert iteration shares its n traces among
  its rounds. ``vf-lower`` does not speak of this task and is drawn as a prediction where it is not vacuous.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from sim.cells import MAX_LOG2_M, MAX_N, EpsilonRule
from sim.cells import Cell as CodebookCell
from sim.experiments.codebook import codebook_cell, gaps_of, regrets_of, sampled
from sim.experiments.experiment import Cell, Experiment, Measurement, Samples, Settings, chosen_learners, require_range
from sim.experiments.tables import methods_against
from sim.experiments.trained import (
    PlantedClass,
    Posed,
    keys_of,
    trained_samples,
    verifiers_of,
)
from sim.ranges import one_horizon
from sim.statistics import IDENTIFIED, power_of
from sim.training.problem import Settings as Numbers
from sim.verdict import ROUNDING
from theory.gap import GAP_BALL_CLAIMS, GAP_FREE_CLAIMS
from theory.verifier_free import VF_LOWER, VF_LOWER_CLAIMS, exponent_of

__all__ = ["EXPERIMENT", "ScalingN", "ScalingNSettings"]

CODEBOOK, PLANTED = "codebook", "planted"
OPTIMAL = ("vf-bayes", "vf-mle", "vb-ball", "vb-top-c", "vb-best-of-n")
TRAINED = (
    "vf-count-mle",
    "vf-class-mle",
    "vf-softmax-sft",
    "vb-erm-top-c",
    "vb-erm-best-of-n",
    "vb-logistic-top-c",
    "vb-logistic-best-of-n",
    "expert-iteration",
    "dpo",
)
#: What ``dpo`` is trained on at most: its pairs are as many as the square.
DPO_MOST = 64
#: Exponent in n with H and sigma fixed, n itself in the place of H.
_CLAIMS = {
    ("regret", "vf-bayes"): VF_LOWER_CLAIMS,
    ("regret", "vf-mle"): VF_LOWER_CLAIMS,
    ("ball_gap", "vb-ball - vf-bayes"): GAP_BALL_CLAIMS,
    ("free_gap", "vb-top-c - vf-bayes"): GAP_FREE_CLAIMS,
}


@dataclass(frozen=True)
class ScalingNSettings(Settings):
    """``horizon``, ``log2_M`` and ``epsilon`` are those of the codebook; ``trained_seeds`` at most are trained.

    ``codebook_n`` and ``planted_n`` are numbers of traces, increasing.
    """

    horizon: str = "512"
    log2_M: int = 128
    epsilon: str = "capacity:1"
    learners: str = "all"
    N: int = 8
    codebook_n: tuple[int, ...] = (64, 96, 128, 136, 144, *(192 * 2**i for i in range(10)))
    planted_n: tuple[int, ...] = tuple(8 * 2**i for i in range(8))
    trained_seeds: int = 64
    iterations: int = 100
    planted: PlantedClass = field(default_factory=PlantedClass)
    kappa: float = 0.1

    def __post_init__(self) -> None:
        """Checks every field."""
        super().__post_init__()
        require_range("--log2-M", self.log2_M, 1, MAX_LOG2_M["codebook", "two-point"])
        require_range("--N", self.N, 1, 10**9)
        EpsilonRule.parse(self.epsilon)
        _ = self.H, self.chosen
        for name in ("codebook_n", "planted_n"):
            ns = getattr(self, name)
            if list(ns) != sorted(set(ns)) or not all(1 <= n <= MAX_N for n in ns):
                raise ValueError(f"{name} {ns}: expected whole numbers in 1..{MAX_N}, increasing")

    @property
    def H(self) -> int:
        """Horizon of the codebook, tokens."""
        return one_horizon(self.horizon)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the learners of both tasks."""
        return chosen_learners(self.learners, (*OPTIMAL, *TRAINED))


@dataclass(frozen=True)
class _Planted:
    """What every cell of the trained part shares."""

    settings: ScalingNSettings

    @property
    def names(self) -> tuple[str, ...]:
        """Learners that are trained."""
        return tuple(name for name in self.settings.chosen if name in TRAINED)

    @property
    def size(self) -> int:
        """Padded number of traces."""
        return max(self.settings.planted_n)

    @cached_property
    def posed(self) -> Posed:
        """The task with its expert."""
        return self.settings.planted.posed(self.settings.kappa)

    @property
    def numbers(self) -> Numbers:
        """What learners are run with."""
        settings = self.settings
        return Numbers(N=settings.N, c=self.posed.c, l2=1e-4, iterations=settings.iterations, batch=self.size)

    def measure(self, cell: Cell) -> Samples:
        """J of every learner and the error of every verifier, (seeds,)."""
        import jax

        n, numbers, problem = cell["n"], self.numbers, self.posed.problem
        shared = [name for name in self.names if name not in ("expert-iteration", "dpo")]
        with jax.enable_x64(True):
            keys = keys_of(cell, min(self.settings.seeds, self.settings.trained_seeds))
            found = trained_samples(problem, shared, verifiers_of(shared), keys, n, self.size, numbers)
            if "expert-iteration" in self.names and n >= numbers.rounds:
                each = n // numbers.rounds
                found |= trained_samples(problem, ["expert-iteration"], (), keys, each, self.size, numbers)
            if "dpo" in self.names and n <= DPO_MOST:
                found |= trained_samples(problem, ["dpo"], (), keys, n, DPO_MOST, numbers)
        return found

    def judge(self, cell: Cell, samples: Samples) -> list[Measurement]:
        """Regrets with the upper bounds that speak of them, and errors of verifiers."""
        n, posed = cell["n"], self.posed
        lower = VF_LOWER.evaluate(
            H=posed.H, n=n, log2_M=math.log2(self.settings.planted.M), sigma=posed.base.heterogeneity
        )
        found = posed.regrets(self.names, n, self.numbers, samples)
        if lower.valid:
            found = [
                dataclasses.replace(m, prediction=lower.value, prediction_label=lower.label)
                if m.method.startswith("vf-")
                else m
                for m in found
            ]
        return found + posed.errors(verifiers_of(self.names), n, samples)

    def limit(self) -> float:
        """Regret of counting on infinitely many traces, tokens."""
        import jax

        from sim.training.count_mle import count_mle
        from sim.training.data import exact_counts
        from sim.training.problem import law_of_policy, value_of_law

        problem = self.posed.problem
        with jax.enable_x64(True):
            counts = exact_counts(problem.mdp, problem.expert, problem.initial)
            cloned = count_mle(problem, counts)
            return float(self.posed.value - value_of_law(problem, law_of_policy(problem, cloned)))


class ScalingN(Experiment[ScalingNSettings]):
    """Regrets against n."""

    name = "scaling-n"
    question = "How does the regret fall with the number of traces n at a fixed horizon?"
    axes = ("task", "n")
    batch = 8

    def __init__(self, settings: ScalingNSettings) -> None:
        """Nothing is built before it is needed."""
        super().__init__(settings)
        self._planted: dict[ScalingNSettings, _Planted] = {}

    def planted(self, settings: ScalingNSettings) -> _Planted:
        """The trained part under these settings, built once."""
        return self._planted.setdefault(settings, _Planted(settings))

    def cells(self, settings: ScalingNSettings) -> tuple[Cell, ...]:
        """The codebook's, then the planted task's; those with learners."""
        found = []
        if any(name in OPTIMAL for name in settings.chosen):
            found += [self.cell(settings, task=CODEBOOK, n=n) for n in settings.codebook_n]
        if self.planted(settings).names:
            found += [self.cell(settings, task=PLANTED, n=n) for n in settings.planted_n]
        return tuple(found)

    def instance(self, settings: ScalingNSettings, cell: Cell) -> CodebookCell:
        """The codebook of one cell."""
        return codebook_cell(
            settings.H, cell["n"], settings.log2_M, epsilon=settings.epsilon, seed=settings.seed, N=settings.N
        )

    def measure(self, settings: ScalingNSettings, cells: Sequence[Cell]) -> list[Samples]:
        """Evidence of the collapsed sampler; values of trained learners."""
        of_codebook = [cell for cell in cells if cell["task"] == CODEBOOK]
        instances = [self.instance(settings, cell) for cell in of_codebook]
        seen = iter(sampled(instances, settings.seeds, max(settings.codebook_n)) if instances else ())
        return [next(seen) if cell["task"] == CODEBOOK else self.planted(settings).measure(cell) for cell in cells]

    def judge(self, settings: ScalingNSettings, cell: Cell, samples: Samples) -> list[Measurement]:
        """Regrets, and on the codebook the gaps."""
        if cell["task"] == PLANTED:
            return self.planted(settings).judge(cell, samples)
        instance = self.instance(settings, cell)
        names = [name for name in settings.chosen if name in OPTIMAL]
        gaps = ("ball_gap", "free_gap") if "vf-bayes" in names else ()
        return regrets_of(instance, samples, names) + gaps_of(instance, samples, names=gaps)

    def summarise(
        self, settings: ScalingNSettings, measured: Sequence[tuple[Cell, list[Measurement]]]
    ) -> dict[str, Any]:
        """Exponents in n on the codebook, the rate at which ERM finds the verifier, the limit of counting."""
        of_codebook = [(cell, row) for cell, row in measured if cell["task"] == CODEBOOK]
        fits = [self._fitted(settings, key, of_codebook) for key in _CLAIMS]
        exponents = [row for row in fits if row is not None]
        found: dict[str, Any] = {"exponents": exponents}
        covered = [row["deviation"] for row in exponents if row["window_covers_range"] and row["deviation"] is not None]
        if of_codebook:
            found["largest_deviation_inside_window"] = max(map(abs, covered), default=None)
        if of_codebook and "vb-ball" in settings.chosen:
            found["vb_log_miss_per_trace"] = self._identification(settings, of_codebook)
            found["vb_log_miss_per_trace_predicted"] = -math.log(2.0)
        if len(of_codebook) < len(measured):
            trained = self.planted(settings)
            found["planted_expert_value"] = trained.posed.value
            found["planted_c"] = trained.posed.c
            if "vf-count-mle" in settings.chosen:
                found["vf_count_mle_regret_in_the_limit"] = trained.limit()
        return found

    def _fitted(
        self,
        settings: ScalingNSettings,
        key: tuple[str, str],
        measured: Sequence[tuple[Cell, list[Measurement]]],
    ) -> dict[str, Any] | None:
        """Exponent of one quantity over the cells with n >= 1.5 log2 M; None where it was not measured."""
        picked = [(c["n"], m) for c, row in measured for m in row if (m.quantity, m.method) == key]
        if not picked:
            return None
        n = np.array([number for number, _ in picked], dtype=np.float64)
        enters = n >= IDENTIFIED * settings.log2_M
        inside = np.array([m.lower is not None and m.lower.valid for _, m in picked])
        samples = np.stack([m.samples for _, m in picked if m.samples is not None])
        rounding = np.full(n.size, ROUNDING * settings.H)
        condition = f"n >= {IDENTIFIED} log2 M and a positive regret or gap"
        fit = power_of(n, samples, enters, inside, rounding, settings.seed, condition)
        predicted = exponent_of(_CLAIMS[key], 0.0, 1.0)
        return {
            "quantity": key[0],
            "method": key[1],
            "exponent": fit.estimate,
            "ci_low": fit.ci_low,
            "ci_high": fit.ci_high,
            "predicted": predicted,
            "deviation": None if fit.estimate is None else fit.estimate - predicted,
            "points": fit.horizons,
            "window_covers_range": fit.horizons == fit.horizons_inside_window == int(enters.sum()),
            "reason": fit.reason,
        }

    def _identification(
        self, settings: ScalingNSettings, measured: Sequence[tuple[Cell, list[Measurement]]]
    ) -> float | None:
        """Slope in n of log(exact regret of vb-ball, in units of the most it can be), once n > log2 M; nats a trace."""
        points: list[tuple[int, float]] = []
        for cell, row in measured:
            exact = next(m.exact for m in row if m.method == "vb-ball")
            made = self.instance(settings, cell)
            if cell["n"] > settings.log2_M and exact > ROUNDING * settings.H:
                points.append((cell["n"], math.log(exact / (made.epsilon * made.sigma))))
        if len(points) < 2:
            return None
        (first, high), (last, low) = points[0], points[-1]
        return (low - high) / (last - first)

    def lines(self, settings: ScalingNSettings, measured: Sequence[tuple[Cell, list[Measurement]]]) -> list[str]:
        """Regrets, a column an n; then the fits."""
        lines = methods_against(["n"], ["task"], "regret", measured)
        lines += methods_against(["n"], ["task"], "verifier_error", [x for x in measured if x[0]["task"] == PLANTED])
        for row in self.summarise(settings, measured)["exponents"]:
            if row["ci_low"] is None:
                lines.append(f"exponent of {row['quantity']}, {row['method']}: none, {row['reason']}")
                continue
            inside = "inside the window" if row["window_covers_range"] else "not throughout inside the window"
            lines.append(
                f"exponent of {row['quantity']}, {row['method']}: {row['exponent']:.4f} "
                f"[{row['ci_low']:.4f}, {row['ci_high']:.4f}], predicted {row['predicted']:g}, {inside}"
            )
        return lines

    def estimated_seconds(self, settings: ScalingNSettings) -> float:
        """Compilation, a few seconds a trained learner; then time in proportion to seeds, n and iterations."""
        codebook = [cell for cell in self.cells(settings) if cell["task"] == CODEBOOK]
        trained = self.planted(settings).names
        seeds = min(settings.seeds, settings.trained_seeds)
        work = len(trained) * len(settings.planted_n) * seeds * (max(settings.planted_n) + settings.iterations) / 2e6
        start = (8.0 if codebook else 0.0) + (4.0 + 1.5 * len(trained) if trained else 0.0)
        return start + work + 0.1 * len(codebook) * max(1.0, settings.seeds / 256)


EXPERIMENT = ScalingN(ScalingNSettings())
