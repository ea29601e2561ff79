r"""What an experiment is: settings, a grid of cells, samples of each, measurements with the bounds that speak of them.

A *cell* is a point of the grid. Its random numbers derive from its identity (experiment, axes, seed) alone, so that a
cell has the same numbers whatever else is run. ``measure`` gives, per cell, named arrays of per-trial numbers, one
entry a data set; it is the expensive part, and its results are what a run stores and resumes. ``judge`` turns them into
measurements: a mean with its standard error, an exact value where there is one, the bounds of :mod:`theory` that are
proven there, and predictions, which are drawn and never counted.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sim.experiments.tables import methods_against
from sim.verdict import ROUNDING, Side, beyond

if TYPE_CHECKING:
    import jax

__all__ = ["Axis", "Cell", "Experiment", "Measurement", "Samples", "Settings", "Violation", "chosen_learners"]

#: A coordinate of a cell.
Axis = int | float | str
#: Name of what was measured -> one number a trial, (trials,).
Samples = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Settings:
    """What an experiment is run with. Fields named like options of the sweep can be set on the command line.

    Subclasses check their fields in ``__post_init__`` and raise ``ValueError`` with one line that names the option.
    """

    seeds: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the fields every experiment has."""
        require_range("--seeds", self.seeds, 2, 10**7)
        require_range("--seed", self.seed, 0, 2**63 - 1)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for manifests."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain


def require_range(option: str, value: int, low: int, high: int) -> None:
    """Raises ``ValueError`` with one line unless ``value`` is a whole number in low..high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{option} {value}: expected a whole number in {low}..{high}")


def chosen_learners(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The names that ``--learners`` gives, in the order of ``known``; ``all`` is all of these.

    Raises ``ValueError`` with one line on a name that is not among them.
    """
    names = list(known) if text == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise ValueError(f"--learners {name}: expected all, or some of {', '.join(known)}")
    return tuple(name for name in known if name in names)


@dataclass(frozen=True)
class Cell:
    """A point of an experiment's grid."""

    experiment: str
    axes: Mapping[str, Axis]
    seed: int

    def __getitem__(self, name: str) -> Any:
        """The coordinate called ``name``."""
        return self.axes[name]

    @cached_property
    def identity(self) -> str:
        """Canonical text of all that the random numbers depend on."""
        return json.dumps({"experiment": self.experiment, "axes": dict(self.axes), "seed": self.seed}, sort_keys=True)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the identity."""
        return hashlib.sha256(self.identity.encode()).digest()

    def key(self, stream: int = 0) -> jax.Array:
        """A JAX key of this cell; ``stream`` numbers independent ones. To be called inside ``jax.enable_x64``."""
        import jax

        key = jax.random.key(0, impl="threefry2x32")
        for start in range(0, 16, 4):
            key = jax.random.fold_in(key, np.uint32(int.from_bytes(self.digest[start : start + 4], "big")))
        return jax.random.fold_in(key, stream)

    def generator(self, trial: int = 0, stream: int = 0) -> np.random.Generator:
        """A NumPy generator of one trial of this cell, on the host."""
        words = np.frombuffer(self.digest[:16], dtype="<u8")
        counter = np.array([0, 0, trial, stream], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=words.astype(np.uint64), counter=counter))


@dataclass(frozen=True, slots=True)
class Measurement:
    """One quantity of one method in one cell.

    ``samples`` (trials,) or, where the value is known exactly and nothing was sampled, ``None`` and ``exact``.
    ``reach`` is the interval that one trial cannot leave; ``scale`` the size of the numbers that were subtracted (H for
    values in tokens): rounding is 1e-9 of it. ``prediction`` is drawn, never counted.
    """

    quantity: str
    method: str
    unit: str
    samples: NDArray[np.float64] | None = None
    exact: float = math.nan
    lower: Side | None = None
    upper: Side | None = None
    reach: tuple[float, float] = (-math.inf, math.inf)
    scale: float = 1.0
    prediction: float = math.nan
    prediction_label: str = ""

    @property
    def mean(self) -> float:
        """Mean over trials; the exact value where nothing was sampled."""
        return self.exact if self.samples is None else float(self.samples.mean())

    @property
    def se(self) -> float:
        """Standard error of the mean."""
        if self.samples is None:
            return 0.0
        return float(self.samples.std(ddof=1) / math.sqrt(self.samples.size))

    @property
    def trials(self) -> int:
        """Number of trials; 0 where nothing was sampled."""
        return 0 if self.samples is None else int(self.samples.size)

    @property
    def finite(self) -> bool:
        """All numbers measured are."""
        return bool(np.isfinite(self.exact) if self.samples is None else np.isfinite(self.samples).all())

    def row(self) -> dict[str, Any]:
        """Columns of the results table, after the axes."""
        sides = {"lower": self.lower, "upper": self.upper}
        valid = {f"bound_{name}_valid": side is not None and side.valid for name, side in sides.items()}
        return {
            "quantity": self.quantity,
            "method": self.method,
            "unit": self.unit,
            "seeds": self.trials,
            "mean": self.mean,
            "se": self.se,
            "exact": self.exact,
            **{f"bound_{name}": math.nan if side is None else side.bound for name, side in sides.items()},
            "bound_valid": any(valid.values()),
            **valid,
            **{f"bound_{name}_label": "" if side is None else side.label for name, side in sides.items()},
            "prediction": self.prediction,
            "prediction_label": self.prediction_label,
        }

    def violations(self, cell: Cell) -> list[Violation]:
        """Proven bounds that this lies beyond by more than the stated slack."""
        # Without an interval that trials cannot leave, what was not seen could explain nothing away.
        low, high = (edge if math.isfinite(edge) else self.mean for edge in self.reach)
        rounding = ROUNDING * self.scale
        found = beyond(self.mean, self.se, self.trials, (low, high), rounding, self.lower, self.upper)
        return [
            Violation(dict(cell.axes), self.quantity, self.method, side.label, side.bound, self.mean, self.se, resolved)
            for side, resolved in found
        ]


@dataclass(frozen=True, slots=True)
class Violation:
    """A measurement beyond a proven bound; ``resolved`` is False where events too rare to be seen could explain it."""

    cell: Mapping[str, Axis]
    quantity: str
    method: str
    theorem: str
    bound: float
    measured: float
    standard_error: float
    resolved: bool


S = TypeVar("S", bound=Settings)


class Experiment(abc.ABC, Generic[S]):
    """One named experiment. ``settings`` are its frozen defaults, ``axes`` the names of a cell's coordinates."""

    name: ClassVar[str]
    question: ClassVar[str]  # in one line
    axes: ClassVar[tuple[str, ...]]
    against: ClassVar[tuple[str, ...]] = ()  # axes whose values are the columns of the printed table, if not the last
    batch: ClassVar[int] = 1  # cells measured in one call and stored as one shard
    settings: S

    def __init__(self, settings: S) -> None:
        """``settings`` are the defaults."""
        self.settings = settings

    def cell(self, settings: S, **axes: Axis) -> Cell:
        """The cell at these coordinates. Raises ``ValueError`` unless they are those of the experiment, in order."""
        if tuple(axes) != self.axes:
            raise ValueError(f"{self.name}: cells have {', '.join(self.axes)}, got {', '.join(axes)}")
        return Cell(self.name, axes, settings.seed)

    @abc.abstractmethod
    def cells(self, settings: S) -> tuple[Cell, ...]:
        """The grid, in the order of the table."""

    @abc.abstractmethod
    def measure(self, settings: S, cells: Sequence[Cell]) -> list[Samples]:
        """Samples of each of at most ``batch`` cells: a function of their identities and the settings alone."""

    @abc.abstractmethod
    def judge(self, settings: S, cell: Cell, samples: Samples) -> list[Measurement]:
        """Measurements of one cell, in the order of the table."""

    @abc.abstractmethod
    def estimated_seconds(self, settings: S) -> float:
        """Wall seconds a run will take on two cores, compilation included: to tell seconds from hours."""

    def summarise(self, settings: S, measured: Sequence[tuple[Cell, list[Measurement]]]) -> dict[str, Any]:
        """What the whole grid says (exponents, counts): plain data for ``summary.json``."""
        return {}

    def violated(self, summary: Mapping[str, Any]) -> list[str]:
        """Claims about the whole grid that :meth:`summarise` found violated, one line each."""
        return []

    def lines(self, settings: S, measured: Sequence[tuple[Cell, list[Measurement]]]) -> list[str]:
        """The table on standard output: by default of the first quantity, against the last axis."""
        if not measured or not measured[0][1]:
            return []
        against = self.against or self.axes[-1:]
        by = [name for name in self.axes if name not in against]
        return methods_against(against, by, measured[0][1][0].quantity, measured)
