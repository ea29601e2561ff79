r"""``kappa``: values of expert, cloning and searching with a verifier against the radius of the expert's ball, n fixed.

* ``codebook``: R in {0, H}, optimal learners, :math:`\kappa=\varepsilon^2` from far below to far above log M / n.
* ``rare-success``: an outside expert of success :math:`p_e=c+\sqrt{\kappa c(1-c)}`, at most 1; exact formulas.
  ``vf-clone`` imitates the expert with its noise, ``vf-deploy`` plays the token of the hypothesis found; ``vb-random``
  sees base traces.
* ``planted``: the likelihood's maximiser over a class of experts, counting, and ERM's verifier, trained.
* ``random-mdp``, and ``random-mdp-averaged`` for the ball averaged over prompts: learners on tables, trained.

Top-c keeps the mass that is proven to be enough for the ball, min_x c_x; where truncation leaves none, what has the
largest return on every prompt. Every expert is the best policy of its ball; further out it may be the same one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jax
import numpy as np

from sim.cells import MAX_LOG2_M, MAX_N
from sim.cells import Cell as CodebookCell
from sim.experiments.codebook import codebook_cell, regrets_of, sampled, values_of
from sim.experiments.experiment import Cell, Experiment, Measurement, Samples, Settings, chosen_learners, require_range
from sim.experiments.tables import methods_against
from sim.experiments.trained import (
    PlantedClass,
    Posed,
    keys_of,
    trained_samples,
    unrolled,
    verifiers_of,
)
from sim.learners.learner import learners
from sim.ranges import one_horizon
from sim.tasks.random_mdp import RandomMDP
from sim.tasks.token_task import TokenTask
from sim.training.problem import Settings as Numbers
from theory.crossover import vb_random_loss, vf_cloning_value, vf_loss
from theory.notation import log_M

__all__ = ["EXPERIMENT", "Kappa", "KappaSettings"]

CODEBOOK, RARE, PLANTED, PER_PROMPT, AVERAGED = (
    "codebook", "rare-success", "planted", "random-mdp", "random-mdp-averaged",
)  # fmt: skip
#: Learners of every task, besides its expert.
METHODS = {
    CODEBOOK: ("vf-bayes", "vf-mle", "vb-ball", "vb-top-c", "vb-best-of-n"),
    RARE: ("vf-clone", "vf-deploy", "vb-random"),
    PLANTED: ("vf-class-mle", "vf-count-mle", "vb-erm-top-c", "vb-erm-best-of-n"),
    PER_PROMPT: ("vf-count-mle", "vf-softmax-sft", "vb-logistic-top-c", "vb-logistic-best-of-n"),
    AVERAGED: ("vf-count-mle", "vf-softmax-sft", "vb-logistic-top-c", "vb-logistic-best-of-n"),
}
KNOWN = tuple(dict.fromkeys(name for names in METHODS.values() for name in names))


_RANDOM_MDP = RandomMDP(states=4, tokens=3, H=8, density=0.1, prompts=4, seed=1)


def _powers(first: float, last: float, step: float) -> tuple[float, ...]:
    """Powers of two whose exponents go from ``first`` to ``last``."""
    return tuple(float(2.0**power) for power in np.arange(first, last + step / 2.0, step))


@dataclass(frozen=True)
class KappaSettings(Settings):
    """``horizon`` and ``log2_M`` are those of the codebook, ``n`` its number of traces; other tasks have their own.

    ``trained_seeds`` at most are trained. Radii are > 0, increasing; on the codebook at most 1.
    """

    horizon: str = "256"
    log2_M: int = 64
    learners: str = "all"
    N: int = 8
    n: int = 256
    codebook_kappa: tuple[float, ...] = _powers(-10, 0, 0.5)
    rare_kappa: tuple[float, ...] = _powers(-6, 3, 0.5)
    rare_V: int = 8
    rare_log2_M: int = 32
    rare_n: int = 32
    planted: PlantedClass = field(default_factory=PlantedClass)
    planted_kappa: tuple[float, ...] = _powers(-6, 2, 1)
    planted_n: int = 64
    random_mdp: RandomMDP = _RANDOM_MDP
    random_kappa: tuple[float, ...] = _powers(-4, 6, 2)
    random_n: int = 12
    trained_seeds: int = 64
    iterations: int = 100

    def __post_init__(self) -> None:
        """Checks every field."""
        super().__post_init__()
        require_range("--log2-M", self.log2_M, 1, MAX_LOG2_M["codebook", "two-point"])
        require_range("--N", self.N, 1, 10**9)
        for name in ("n", "rare_n", "planted_n", "random_n"):
            require_range(name, getattr(self, name), 1, MAX_N)
        require_range("rare_V", self.rare_V, 2, 10_000)
        require_range("rare_log2_M", self.rare_log2_M, 1, 4096)
        _ = self.H, self.chosen
        for name in ("codebook_kappa", "rare_kappa", "planted_kappa", "random_kappa"):
            radii = getattr(self, name)
            if list(radii) != sorted(set(radii)) or not all(kappa > 0.0 for kappa in radii):
                raise ValueError(f"{name} {radii}: expected radii above 0, increasing")
        if max(self.codebook_kappa, default=1.0) > 1.0:
            raise ValueError(f"codebook_kappa {self.codebook_kappa}: expected radii of at most 1, nothing truncated")

    @property
    def H(self) -> int:
        """Horizon of the codebook, tokens."""
        return one_horizon(self.horizon)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the learners of all tasks."""
        return chosen_learners(self.learners, KNOWN)

    def of_task(self, task: str) -> tuple[str, ...]:
        """Names of the learners of one task."""
        return tuple(name for name in METHODS[task] if name in self.chosen)

    @property
    def radii(self) -> dict[str, tuple[float, ...]]:
        """Radii of every task."""
        return {
            CODEBOOK: self.codebook_kappa,
            RARE: self.rare_kappa,
            PLANTED: self.planted_kappa,
            PER_PROMPT: self.random_kappa,
            AVERAGED: self.random_kappa,
        }

    def numbers(self, posed: Posed) -> Numbers:
        """What learners are run with."""
        return Numbers(N=self.N, c=posed.c, l2=1e-4, iterations=self.iterations)


@cache
def _random_task(config: RandomMDP) -> TokenTask:
    return unrolled(config.build())


@cache
def _posed(settings: KappaSettings, task: str, kappa: float) -> Posed:
    """The token task with the expert of this radius."""
    if task == PLANTED:
        return settings.planted.posed(kappa)
    return Posed.of(_random_task(settings.random_mdp), kappa, task == AVERAGED)


class Kappa(Experiment[KappaSettings]):
    """Values against the radius of the ball."""

    name = "kappa"
    question = "How do expert, cloning and search with a verifier compare as the expert moves away from the base?"
    axes = ("task", "kappa")
    batch = 8

    def cells(self, settings: KappaSettings) -> tuple[Cell, ...]:
        """Task by task, those with learners."""
        return tuple(
            self.cell(settings, task=task, kappa=kappa)
            for task, radii in settings.radii.items()
            if settings.of_task(task)
            for kappa in radii
        )

    def instance(self, settings: KappaSettings, cell: Cell) -> CodebookCell:
        """The codebook of one cell."""
        epsilon = math.sqrt(cell["kappa"])
        return codebook_cell(settings.H, settings.n, settings.log2_M, epsilon=epsilon, seed=settings.seed, N=settings.N)

    def measure(self, settings: KappaSettings, cells: Sequence[Cell]) -> list[Samples]:
        """Evidence of the collapsed sampler; values of trained learners; nothing where formulas are exact."""
        instances = [self.instance(settings, cell) for cell in cells if cell["task"] == CODEBOOK]
        seen = iter(sampled(instances, settings.seeds, settings.n) if instances else ())
        found: list[Samples] = []
        for cell in cells:
            if cell["task"] == CODEBOOK:
                found.append(next(seen))
            else:
                found.append({} if cell["task"] == RARE else self._trained(settings, cell))
        return found

    def _trained(self, settings: KappaSettings, cell: Cell) -> Samples:
        names, posed = settings.of_task(cell["task"]), _posed(settings, cell["task"], cell["kappa"])
        n = settings.planted_n if cell["task"] == PLANTED else settings.random_n
        with jax.enable_x64(True):
            keys = keys_of(cell, min(settings.seeds, settings.trained_seeds))
            return trained_samples(posed.problem, names, verifiers_of(names), keys, n, n, settings.numbers(posed))

    def judge(self, settings: KappaSettings, cell: Cell, samples: Samples) -> list[Measurement]:
        """J of expert, base and learners, then regrets with their bounds."""
        if cell["task"] == CODEBOOK:
            return self._of_codebook(settings, cell, samples)
        if cell["task"] == RARE:
            return self._of_rare_success(settings, cell)
        names, posed = settings.of_task(cell["task"]), _posed(settings, cell["task"], cell["kappa"])
        n = settings.planted_n if cell["task"] == PLANTED else settings.random_n
        expert = Measurement("J", "expert", "tokens", exact=posed.value, upper=posed.expert_bound, scale=posed.H)
        values = [
            Measurement("J", name, "tokens", samples[f"J {name}"], reach=(0.0, posed.H), scale=posed.H)
            for name in names
        ]
        base = Measurement("J", "base", "tokens", exact=posed.base.value, scale=posed.H)
        regrets = posed.regrets(names, n, settings.numbers(posed), samples)
        return [expert, base, *values, *regrets, *posed.errors(verifiers_of(names), n, samples)]

    def _of_codebook(self, settings: KappaSettings, cell: Cell, samples: Samples) -> list[Measurement]:
        made, names, known = self.instance(settings, cell), settings.of_task(CODEBOOK), learners()
        references = [
            Measurement("J", name, "tokens", exact=value, scale=made.H)
            for name, value in (("expert", made.expert_value), ("base", made.mu))
        ]
        values = [
            Measurement("J", name, "tokens", J, known[name].exact(made), reach=(0.0, made.H), scale=made.H)
            for name, J in values_of(made, samples, names).items()
        ]
        return [*references, *values, *regrets_of(made, samples, names)]

    def _of_rare_success(self, settings: KappaSettings, cell: Cell) -> list[Measurement]:
        H, n, log2_M, c = settings.H, settings.rare_n, settings.rare_log2_M, 1.0 / settings.rare_V
        p_e = min(c + math.sqrt(cell["kappa"] * c * (1.0 - c)), 1.0)
        values = {
            "vf-clone": vf_cloning_value(n, log2_M, c, p_e),
            "vf-deploy": c + (1.0 - c) * (1.0 - vf_loss(n, log2_M, c, p_e)),
            "vb-random": c + (1.0 - c) * (1.0 - vb_random_loss(n, log2_M, c)),
        }
        names = settings.of_task(RARE)
        shown = {"expert": p_e, "base": c, **{name: values[name] for name in names}}
        found = [Measurement("J", name, "tokens", exact=H * J, scale=H) for name, J in shown.items()]
        return found + [
            Measurement("regret", name, "tokens", exact=H * (p_e - values[name]), scale=H) for name in names
        ]

    def summarise(self, settings: KappaSettings, measured: Sequence[tuple[Cell, list[Measurement]]]) -> dict[str, Any]:
        """Where the regret of every verifier-free learner is largest, and what it is at the largest radius, by task."""
        peaks = [
            {"task": task, "method": name, **_peak([row for row in measured if row[0]["task"] == task], name)}
            for task in dict.fromkeys(cell["task"] for cell, _ in measured)
            for name in settings.of_task(task)
            if name.startswith("vf-")
        ]
        found: dict[str, Any] = {"peaks": peaks}
        for row in peaks:
            if (row["task"], row["method"]) == (CODEBOOK, "vf-bayes"):
                found |= {f"codebook_vf_bayes_{name}": row[name] for name in _HEADLINE}
        if any(row["task"] == CODEBOOK for row in peaks):
            found["codebook_log_M_over_n"] = log_M(settings.log2_M) / settings.n
        return found

    def lines(self, settings: KappaSettings, measured: Sequence[tuple[Cell, list[Measurement]]]) -> list[str]:
        """Values, then regrets, a column a radius; then where regrets are largest."""
        lines = [*super().lines(settings, measured), *methods_against(["kappa"], ["task"], "regret", measured)]
        for row in self.summarise(settings, measured)["peaks"]:
            most, where = (f"{row[name]:.4g}" for name in ("largest_regret", "kappa_of_largest_regret"))
            last = f"{row['regret_at_largest_kappa']:.4g} at {row['largest_kappa']:g}"
            lines.append(f"{row['task']}, {row['method']}: largest regret {most} at kappa {where}, {last}")
        return lines

    def estimated_seconds(self, settings: KappaSettings) -> float:
        """Compilation of what is trained, and the sampler's batches."""
        cells = self.cells(settings)
        tasks = {cell["task"] for cell in cells}
        trained = sum(cell["task"] in (PLANTED, PER_PROMPT, AVERAGED) for cell in cells)
        share = min(settings.seeds, settings.trained_seeds) / 64
        start = 6.0 * (CODEBOOK in tasks) + 6.0 * (PLANTED in tasks) + 8.0 * bool({PER_PROMPT, AVERAGED} & tasks)
        codebook = sum(cell["task"] == CODEBOOK for cell in cells)
        return float(start + 0.6 * trained * share + 0.1 * codebook * max(1.0, settings.seeds / 256))


#: What is said of the codebook's best verifier-free learner.
_HEADLINE = ("kappa_of_largest_regret", "largest_regret", "regret_at_largest_kappa")


def _peak(measured: Sequence[tuple[Cell, list[Measurement]]], name: str) -> dict[str, float]:
    """Of one learner of one task: regrets, and the most that its J falls from one radius to a larger one."""

    def of(quantity: str) -> list[Measurement]:
        return [next(m for m in row if (m.quantity, m.method) == (quantity, name)) for _, row in measured]

    kappa, regret, J = [float(cell["kappa"]) for cell, _ in measured], of("regret"), [m.mean for m in of("J")]
    top = int(np.argmax([m.mean for m in regret]))
    return {
        "kappa_of_largest_regret": kappa[top],
        "largest_regret": regret[top].mean,
        "largest_regret_se": regret[top].se,
        "largest_kappa": kappa[-1],
        "regret_at_largest_kappa": regret[-1].mean,
        "regret_at_largest_kappa_se": regret[-1].se,
        "largest_fall_of_J": float(np.max(np.maximum.accumulate(J) - J)),
    }


EXPERIMENT = Kappa(KappaSettings())
