"""Recipes of the Llama experiment: TOML files read into frozen dataclasses, every field checked.

A recipe is all that decides the numbers: the model, sets of problems, how attempts are sampled and stitched, how the
two copies are trained, the grid of budgets, data sizes and seeds.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from llm_validation.sampling.endpoint_backend import Endpoint
from llm_validation.staged.fields import choices, increasing, number, plain, read_section, whole

__all__ = [
    "RECIPES",
    "EndpointRecipe",
    "EvaluationRecipe",
    "Grid",
    "ModelRecipe",
    "ProblemSet",
    "Recipe",
    "ShapeRecipe",
    "StitchRecipe",
    "TuningRecipe",
    "read_recipe",
]

RECIPES = ("smoke", "smollm2", "llama-3.2-3b", "llama-3.1-8b")

ORDERS = ("drawn", "shortest", "longest", "random")
DTYPES = ("float32", "bfloat16")
APIS = ("completions", "chat")


@dataclass(frozen=True, slots=True)
class ModelRecipe:
    """The base: ``source`` is ``smollm2``, a .gguf file, a directory, or NAME[@REVISION] on the hub.

    ``tiny`` is a random Llama of a few thousand weights that ends its lines by chance: for tests of the whole path.
    """

    source: str = "smollm2"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Checks every field."""
        if not self.source:
            raise ValueError("model.source: expected smollm2, tiny, a .gguf file, a directory or a name on the hub")
        choices("model.dtype", (self.dtype,), DTYPES)


@dataclass(frozen=True, slots=True)
class ShapeRecipe:
    """Sizes of a Llama that a dry run counts with where the model is not at hand; all 0: they are read from it."""

    hidden_size: int = 0
    intermediate_size: int = 0
    num_hidden_layers: int = 0
    num_attention_heads: int = 0
    num_key_value_heads: int = 0
    vocab_size: int = 0
    tie_word_embeddings: bool = False

    def __post_init__(self) -> None:
        """Checks every field."""
        for name in self.sizes:
            whole(f"shape.{name}", getattr(self, name), 0)
        if self.is_known and not all(getattr(self, name) for name in self.sizes):
            missing = [name for name in self.sizes if not getattr(self, name)]
            raise ValueError(f"shape.{missing[0]} = 0: expected a size, as the others are given")

    @property
    def sizes(self) -> tuple[str, ...]:
        """Names of the sizes."""
        return tuple(field.name for field in dataclasses.fields(self) if field.name != "tie_word_embeddings")

    @property
    def is_known(self) -> bool:
        """Whether any is given."""
        return any(getattr(self, name) for name in self.sizes)


@dataclass(frozen=True, slots=True)
class EndpointRecipe:
    """An OpenAI-compatible server that writes the base's attempts; without ``url`` they are written in this process.

    Training needs the weights all the same: ``model.source`` must be what the server serves.
    """

    url: str = ""
    model: str = ""
    api: str = "completions"
    concurrency: int = 8
    timeout: float = 120.0
    retries: int = 5

    def __post_init__(self) -> None:
        """Checks every field."""
        choices("endpoint.api", (self.api,), APIS)
        whole("endpoint.concurrency", self.concurrency, 1, 1024)
        number("endpoint.timeout", self.timeout, 0.001)
        whole("endpoint.retries", self.retries, 0, 100)

    def address(self) -> Endpoint:
        """The server. Raises ``ValueError`` with one line if ``url`` cannot be one's."""
        return Endpoint(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """Problems from one source, with attempts of the base at each.

    ``source``: see :mod:`.problems`; ``held_out_source``: another for what is held out (default: the same). ``order``:
    ``drawn`` by the recipe's seed, or ``easiest`` first. ``train`` problems are for training, ``held_out`` others for
    evaluation; of a set with ``train = 0`` only pass rates are measured. ``horizon``: tokens an attempt may have.
    """

    name: str
    source: str
    held_out_source: str = ""
    train: int = 0
    held_out: int = 64
    order: str = "drawn"
    samples: int = 16
    held_out_samples: int = 32
    horizon: int = 24
    temperature: float = 1.0
    shots: int = 8
    chat: bool = False

    def __post_init__(self) -> None:
        """Checks every field."""
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"sets.name = {self.name}: expected letters, digits, - and _")
        for name, low in (("train", 0), ("held_out", 2), ("samples", 1), ("held_out_samples", 1), ("horizon", 1)):
            whole(f"sets.{name}", getattr(self, name), low, 10**7)
        choices("sets.order", (self.order,), ("drawn", "easiest"))
        number("sets.temperature", self.temperature, 0.0)
        whole("sets.shots", self.shots, 0, 64)


@dataclass(frozen=True, slots=True)
class Grid:
    """Token budgets, numbers of training problems, and seeds (of the choice of problems and of training)."""

    horizons: tuple[int, ...] = (12, 24, 48, 96)
    n: tuple[int, ...] = (8, 32, 128)
    seeds: int = 3

    def __post_init__(self) -> None:
        """Checks every field."""
        increasing("grid.horizons", self.horizons, 1)
        increasing("grid.n", self.n, 1)
        whole("grid.seeds", self.seeds, 1, 1000)


@dataclass(frozen=True, slots=True)
class StitchRecipe:
    """Question, ``least``..``most`` wrong attempts in this order, the right one: what fits in ``budget`` tokens."""

    least: int = 0
    most: int = 8
    order: str = "drawn"
    joiner: str = "\nWait, that may be wrong. Once more:"
    budget: int = 96

    def __post_init__(self) -> None:
        """Checks every field."""
        whole("stitch.least", self.least, 0, 10_000)
        whole("stitch.most", self.most, self.least, 10_000)
        choices("stitch.order", (self.order,), ORDERS)
        whole("stitch.budget", self.budget, 1)
        if not self.joiner.strip():
            raise ValueError(f"stitch.joiner = {self.joiner!r}: expected a text that no attempt holds")


@dataclass(frozen=True, slots=True)
class TuningRecipe:
    """Fine-tuning of a copy: all weights (``lora_rank = 0``) or low-rank updates of its linear maps.

    A share of the problems is kept aside; of ``checks`` checkpoints the one with the least loss on them is kept, the
    untrained copy among them, and ``patience`` worse ones in a row end the training.
    """

    epochs: int = 3
    most_steps: int = 1000
    batch: int = 16
    learning_rate: float = 5e-4
    weight_decay: float = 0.0
    lora_rank: int = 16
    validation: float = 0.2
    checks: int = 6
    patience: int = 3

    def check(self, name: str) -> None:
        """Checks every field of the section ``name``. Raises ``ValueError``."""
        for field in ("epochs", "most_steps", "batch", "checks", "patience"):
            whole(f"{name}.{field}", getattr(self, field), 1)
        whole(f"{name}.lora_rank", self.lora_rank, 0, 4096)
        number(f"{name}.learning_rate", self.learning_rate, 0.0, 1.0)
        number(f"{name}.weight_decay", self.weight_decay, 0.0, 10.0)
        number(f"{name}.validation", self.validation, 0.0, 0.9)


@dataclass(frozen=True, slots=True)
class EvaluationRecipe:
    """Traces of a clone for each held-out problem, with and without budget forcing; rows of a batch."""

    samples: int = 2
    temperature: float = 1.0
    batch: int = 32
    forcing: bool = True

    def __post_init__(self) -> None:
        """Checks every field."""
        whole("evaluate.samples", self.samples, 1, 10_000)
        number("evaluate.temperature", self.temperature, 0.0)
        whole("evaluate.batch", self.batch, 1, 4096)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The whole experiment. ``minutes`` is the stated budget of compute, all stages, of ``threads`` cores.

    The first of ``sets`` with training problems is the one that is trained on; of the others pass rates are measured.
    """

    name: str
    seed: int = 0
    minutes: float = 180.0
    threads: int = 2
    device: str = "cpu"
    batch: int = 32
    grading_timeout: float = 5.0
    model: ModelRecipe = ModelRecipe()
    shape: ShapeRecipe = ShapeRecipe()
    endpoint: EndpointRecipe = EndpointRecipe()
    sets: tuple[ProblemSet, ...] = (ProblemSet("arithmetic", "arithmetic", "", train=256, held_out=100),)
    grid: Grid = Grid()
    stitch: StitchRecipe = StitchRecipe()
    sft: TuningRecipe = TuningRecipe()
    verifier: TuningRecipe = TuningRecipe()
    evaluate: EvaluationRecipe = EvaluationRecipe()

    def __post_init__(self) -> None:
        """Checks what concerns several sections."""
        whole("seed", self.seed, 0, 2**31 - 1)
        number("minutes", self.minutes, 0.0)
        whole("threads", self.threads, 1, 1024)
        whole("batch", self.batch, 1, 4096)
        choices("device", (self.device,), ("cpu", "cuda"))
        number("grading_timeout", self.grading_timeout, 0.01)
        self.sft.check("sft")
        self.verifier.check("verifier")
        names = tuple(found.name for found in self.sets)
        choices("sets.name", names, names)
        trained = [found.name for found in self.sets if found.train]
        if len(trained) != 1:
            raise ValueError(f"sets: {len(trained)} have training problems, expected one")
        if self.grid.n[-1] > self.trained.train:
            raise ValueError(f"grid.n: {self.grid.n[-1]}, expected at most sets.train = {self.trained.train}")
        if self.stitch.budget > self.grid.horizons[-1]:
            most = self.grid.horizons[-1]
            raise ValueError(f"stitch.budget = {self.stitch.budget}: expected at most the grid's largest, {most}")

    @property
    def trained(self) -> ProblemSet:
        """The set that is trained on."""
        return next(found for found in self.sets if found.train)

    def set(self, name: str) -> ProblemSet:
        """The set of that name."""
        return next(found for found in self.sets if found.name == name)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, tuples as lists, without the address of a server."""
        found: dict[str, Any] = plain(dataclasses.asdict(self))
        del found["endpoint"]["url"]  # where a server runs decides nothing, and may hold a secret
        return found

    def part(self, *sections: str) -> dict[str, Any]:
        """Plain data of some fields."""
        whole = self.as_dict()
        return {name: whole[name] for name in sections}


def read_recipe(text: str) -> Recipe:
    """The recipe of that name, or in that file. Raises ``ValueError`` with one line."""
    found: Recipe = read_section(Recipe, text, "llama_math", RECIPES)
    return found
