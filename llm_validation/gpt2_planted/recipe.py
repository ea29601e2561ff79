"""Recipes of the didactic experiment: TOML files read into frozen dataclasses, every field checked.

A recipe is all that decides the numbers: task and levels of heterogeneity, network and how it is trained, the grid of
horizons, data sizes and seeds, and what every stage does. Lists are tuples. A section, or a key of one, that is not
known is refused by name; so is a value out of range.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from llm_validation.staged.fields import choices, increasing, number, plain, read_section, whole

__all__ = [
    "RECIPES",
    "BaseRecipe",
    "CloningRecipe",
    "EvaluationRecipe",
    "Grid",
    "MeasureRecipe",
    "NetworkRecipe",
    "Recipe",
    "RlRecipe",
    "SearchRecipe",
    "TaskRecipe",
    "VerifierRecipe",
    "read_recipe",
]

RECIPES = ("smoke", "laptop", "gpu")

CLONING_ARMS = ("equal-draws", "equal-draws-fastest", "equal-traces")
LABELS = ("per-token", "final")
TARGETS = ("exact", "sampled")
POSITIONS = ("sinusoidal", "normal")
AFTER = ("continue", "uniform")


@dataclass(frozen=True, slots=True)
class TaskRecipe:
    """The planted task: |V| tokens, prompts of ``ell``; levels of heterogeneity at one mean return.

    Level i is the mixture of two gammas with the mean return of ``gamma`` alone at H = ``matched_at`` and sigma a share
    ``levels[i]`` of the way from the least to the largest that the dial gives there. ``held_out`` prompts are used for
    evaluation only. ``after``: what a trace does once it has solved, see :mod:`sim.tasks.planted_traces`.
    """

    V: int = 10
    ell: int = 4
    gamma: float = 2.5
    matched_at: int = 32
    levels: tuple[float, ...] = (0.0, 0.33, 0.67, 0.9)
    held_out: int = 2000
    after: str = "continue"

    def __post_init__(self) -> None:
        """Checks every field."""
        whole("task.V", self.V, 2, 1000)
        whole("task.ell", self.ell, 1, 16)
        number("task.gamma", self.gamma, -50.0, 50.0)
        whole("task.matched_at", self.matched_at, self.ell, 100_000)
        if not self.levels or sorted(set(self.levels)) != list(self.levels):
            raise ValueError(f"task.levels = {list(self.levels)}: expected increasing shares, at least one")
        for level in self.levels:
            number("task.levels", level, 0.0, 1.0)
        if self.V**self.ell > 10_000:
            raise ValueError(f"task.V^task.ell = {self.V**self.ell} prompts: expected at most 10000")
        whole("task.held_out", self.held_out, 1, self.V**self.ell - 1)
        choices("task.after", (self.after,), AFTER)


@dataclass(frozen=True, slots=True)
class NetworkRecipe:
    """GPT-2: ``source`` is ``scratch``, a directory or a name on the hub; sizes are of ``scratch`` only.

    ``positions``: how position embeddings of ``scratch`` begin (the architecture is GPT-2's either way); a sinusoid
    lets neighbouring positions be told from the first step.
    """

    source: str = "scratch"
    width: int = 64
    layers: int = 2
    heads: int = 4
    positions: str = "sinusoidal"

    def __post_init__(self) -> None:
        """Checks every field."""
        whole("network.width", self.width, 4, 100_000)
        whole("network.layers", self.layers, 1, 1000)
        whole("network.heads", self.heads, 1, 1000)
        if self.width % (2 * self.heads):
            raise ValueError(f"network.width = {self.width}: expected a multiple of {2 * self.heads}, twice its heads")
        choices("network.positions", (self.positions,), POSITIONS)


@dataclass(frozen=True, slots=True)
class BaseRecipe:
    """Training of the base on procedural traces, each seen once, one learning-rate cycle over all steps.

    In phases: ``steps[i]`` steps on ``batch[i]`` traces each, cut to their first ``horizons[i]`` tokens. Short traces
    first: what a token depends on is near, and more prompts are seen for the same work. The last phase is the largest
    horizon of the grid. ``targets``: the exact law of each token given those before it, or the token that was drawn.
    Nothing is built on a base that has not learnt the task: whose divergence from the exact law is above ``most_kl``
    nats a token, or whose solve rate is further than ``tolerance`` from the procedural mixture's at a horizon, both on
    held-out prompts.
    """

    horizons: tuple[int, ...] = (16, 32, 64)
    steps: tuple[int, ...] = (1500, 400, 1000)
    batch: tuple[int, ...] = (128, 128, 64)
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    beta2: float = 0.95
    targets: str = "exact"
    tolerance: float = 0.05
    most_kl: float = 0.02

    def __post_init__(self) -> None:
        """Checks every field."""
        increasing("base.horizons", self.horizons, 1)
        for name in ("steps", "batch"):
            values = getattr(self, name)
            if len(values) != len(self.horizons):
                raise ValueError(f"base.{name} = {list(values)}: expected {len(self.horizons)}, one for each horizon")
            for value in values:
                whole(f"base.{name}", value, 1)
        number("base.learning_rate", self.learning_rate, 0.0, 1.0)
        number("base.weight_decay", self.weight_decay, 0.0, 1.0)
        number("base.beta2", self.beta2, 0.0, 0.9999)
        choices("base.targets", (self.targets,), TARGETS)
        number("base.tolerance", self.tolerance, 0.0, 1.0)
        number("base.most_kl", self.most_kl, 0.0, 10.0)

    @property
    def traces(self) -> int:
        """Traces in all phases."""
        return sum(steps * batch for steps, batch in zip(self.steps, self.batch, strict=True))

    @property
    def tokens(self) -> int:
        """Tokens of traces in all phases."""
        phases = zip(self.horizons, self.steps, self.batch, strict=True)
        return sum(horizon * steps * batch for horizon, steps, batch in phases)


@dataclass(frozen=True, slots=True)
class Grid:
    """Horizons (tokens), data sizes (traces) and how many seeds downstream of the base."""

    horizons: tuple[int, ...] = (16, 32, 64)
    n: tuple[int, ...] = (16, 128, 1024)
    seeds: int = 3

    def __post_init__(self) -> None:
        """Checks every field."""
        increasing("grid.horizons", self.horizons, 2)
        increasing("grid.n", self.n, 1)
        whole("grid.seeds", self.seeds, 1, 1000)


@dataclass(frozen=True, slots=True)
class MeasureRecipe:
    """Draws of the trained base on ``prompts`` held-out prompts, ``samples`` each: the pool of best-of-N too."""

    prompts: int = 500
    samples: int = 16

    def __post_init__(self) -> None:
        """Checks every field."""
        whole("measure.prompts", self.prompts, 2)
        whole("measure.samples", self.samples, 2)


@dataclass(frozen=True, slots=True)
class CloningRecipe:
    """Supervised fine-tuning of the base on solved draws.

    Arms: ``equal-draws`` clones those of n draws that solved, ``equal-draws-fastest`` the fastest quarter of these,
    ``equal-traces`` n solved draws, however many draws it takes. ``epochs`` passes, at most ``most_steps`` steps; the
    learning rate falls linearly to 0. ``dropout`` of the clone in training.
    """

    arms: tuple[str, ...] = CLONING_ARMS
    epochs: int = 4
    most_steps: int = 200
    batch: int = 32
    learning_rate: float = 5e-4
    dropout: float = 0.0
    validation: float = 0.2
    checks: int = 10
    patience: int = 4

    def __post_init__(self) -> None:
        """Checks every field."""
        choices("vf.arms", self.arms, CLONING_ARMS)
        whole("vf.epochs", self.epochs, 1)
        whole("vf.most_steps", self.most_steps, 1)
        whole("vf.batch", self.batch, 1)
        number("vf.learning_rate", self.learning_rate, 0.0, 1.0)
        number("vf.dropout", self.dropout, 0.0, 0.9)
        number("vf.validation", self.validation, 0.0, 0.9)
        whole("vf.checks", self.checks, 1)
        whole("vf.patience", self.patience, 1)


@dataclass(frozen=True, slots=True)
class VerifierRecipe:
    """The base with a scalar head, binary cross-entropy on n labelled draws.

    ``labels``: ``per-token`` is r_h at every token, ``final`` whether the trace solved, at its last token only.
    At most ``steps`` steps. Of the n draws a share ``validation`` is kept aside: the loss on them is checked ``checks``
    times, the best checkpoint is kept, and training ends after ``patience`` checks without a better one.
    """

    labels: tuple[str, ...] = LABELS
    steps: int = 300
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    dropout: float = 0.0
    validation: float = 0.2
    checks: int = 20
    patience: int = 5

    def __post_init__(self) -> None:
        """Checks every field."""
        choices("verifier.labels", self.labels, LABELS)
        whole("verifier.steps", self.steps, 1)
        whole("verifier.batch", self.batch, 1)
        number("verifier.learning_rate", self.learning_rate, 0.0, 1.0)
        number("verifier.weight_decay", self.weight_decay, 0.0, 1.0)
        number("verifier.dropout", self.dropout, 0.0, 0.9)
        number("verifier.validation", self.validation, 0.0, 0.9)
        whole("verifier.checks", self.checks, 1, self.steps)
        whole("verifier.patience", self.patience, 1)


@dataclass(frozen=True, slots=True)
class RlRecipe:
    """GRPO from the base, at some levels and horizons of the grid, for every n and seed.

    The reward is the learnt return of the ``per-token`` verifier over H; ``true_reward`` adds the ablation with the
    true one. ``kl_weights`` beyond 0 are run at the horizons ``kl_horizons`` and the largest n.
    """

    levels: tuple[int, ...] = (0, 3)
    horizons: tuple[int, ...] = (32, 64)
    labels: str = "per-token"
    steps: int = 40
    prompts: int = 16
    generations: int = 8
    learning_rate: float = 1e-3
    kl_weights: tuple[float, ...] = (0.0, 0.3, 1.0)
    kl_horizons: tuple[int, ...] = (32,)
    true_reward: bool = True
    points: int = 10

    def __post_init__(self) -> None:
        """Checks every field."""
        increasing("rl.levels", self.levels, 0)
        increasing("rl.horizons", self.horizons, 1)
        if self.kl_horizons:
            increasing("rl.kl_horizons", self.kl_horizons, 1)
        choices("rl.labels", (self.labels,), LABELS)
        whole("rl.steps", self.steps, 1)
        whole("rl.prompts", self.prompts, 1)
        whole("rl.generations", self.generations, 2)
        number("rl.learning_rate", self.learning_rate, 0.0, 1.0)
        for weight in self.kl_weights:
            number("rl.kl_weights", weight, 0.0, 1e6)
        if not self.kl_weights or len({f"{weight:g}" for weight in self.kl_weights}) < len(self.kl_weights):
            raise ValueError(f"rl.kl_weights = {list(self.kl_weights)}: expected different weights, at least one")
        whole("rl.points", self.points, 1, self.steps)


@dataclass(frozen=True, slots=True)
class SearchRecipe:
    """Numbers of draws of which best-of-N keeps one."""

    N: tuple[int, ...] = (1, 2, 4, 8, 16)

    def __post_init__(self) -> None:
        """Checks every field."""
        increasing("best_of_n.N", self.N, 1)


@dataclass(frozen=True, slots=True)
class EvaluationRecipe:
    """Traces drawn from each policy, one on each of as many held-out prompts (again from the first, if too few)."""

    samples: int = 2000

    def __post_init__(self) -> None:
        """Checks every field."""
        whole("evaluate.samples", self.samples, 2)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The whole experiment. ``minutes`` is the stated budget of compute, all stages, minutes of ``processes`` cores."""

    name: str
    seed: int = 0
    minutes: float = 180.0
    processes: int = 2
    device: str = "cpu"
    task: TaskRecipe = TaskRecipe()
    network: NetworkRecipe = NetworkRecipe()
    base: BaseRecipe = BaseRecipe()
    grid: Grid = Grid()
    measure: MeasureRecipe = MeasureRecipe()
    vf: CloningRecipe = CloningRecipe()
    verifier: VerifierRecipe = VerifierRecipe()
    rl: RlRecipe = RlRecipe()
    best_of_n: SearchRecipe = SearchRecipe()
    evaluate: EvaluationRecipe = EvaluationRecipe()

    def __post_init__(self) -> None:
        """Checks what concerns several sections."""
        whole("seed", self.seed, 0, 2**31 - 1)
        number("minutes", self.minutes, 0.0)
        whole("processes", self.processes, 1, 1024)
        choices("device", (self.device,), ("cpu", "cuda"))
        if self.grid.horizons[0] < self.task.ell:
            raise ValueError(f"grid.horizons: {self.grid.horizons[0]}, expected at least task.ell = {self.task.ell}")
        if self.base.horizons[-1] != self.grid.horizons[-1]:
            largest = self.grid.horizons[-1]
            raise ValueError(
                f"base.horizons: ends with {self.base.horizons[-1]}, expected the grid's largest, {largest}"
            )
        self._check_rl()
        self._check_pool()

    def _check_rl(self) -> None:
        if self.rl.levels[-1] >= len(self.task.levels):
            raise ValueError(f"rl.levels: {self.rl.levels[-1]}, expected numbers below {len(self.task.levels)}")
        for name in ("horizons", "kl_horizons"):
            for horizon in getattr(self.rl, name):
                if horizon not in self.grid.horizons:
                    raise ValueError(f"rl.{name}: {horizon}, expected of grid.horizons {list(self.grid.horizons)}")
        if self.rl.labels not in self.verifier.labels:
            raise ValueError(f"rl.labels = {self.rl.labels}: expected of verifier.labels {list(self.verifier.labels)}")

    def _check_pool(self) -> None:
        if self.measure.prompts < 2 * self.grid.seeds:
            least = 2 * self.grid.seeds
            raise ValueError(f"measure.prompts = {self.measure.prompts}: expected at least two a seed, {least}")
        if self.best_of_n.N[-1] > self.measure.samples:
            most = self.measure.samples
            raise ValueError(f"best_of_n.N: {self.best_of_n.N[-1]}, expected at most measure.samples = {most}")
        if self.measure.prompts > self.task.held_out:
            most = self.task.held_out
            raise ValueError(f"measure.prompts = {self.measure.prompts}: expected at most task.held_out = {most}")

    def as_dict(self) -> dict[str, Any]:
        """Plain data, tuples as lists."""
        found: dict[str, Any] = plain(dataclasses.asdict(self))
        return found

    def part(self, *sections: str) -> dict[str, Any]:
        """Plain data of some fields."""
        whole = self.as_dict()
        return {name: whole[name] for name in sections}


def read_recipe(text: str) -> Recipe:
    """The recipe of that name, or in that file. Raises ``ValueError`` with one line."""
    found: Recipe = read_section(Recipe, text, "gpt2_planted", RECIPES)
    return found
