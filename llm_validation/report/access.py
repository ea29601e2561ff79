"""What a report reads of a diagnosis: the only place that knows its keys.

A diagnosis is plain data that may come from a file, of this version or another. Nothing is taken for granted: what is
missing, None or of another kind is not known, which is None, an empty list or an empty mapping here, and never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = [
    "EXTRAS",
    "Band",
    "Concentrated",
    "Diagnosis",
    "Ends",
    "Point",
    "Run",
    "entries",
    "interval",
    "is_interval",
    "mapping",
    "number",
    "text",
]

Data = Mapping[str, Any]
T = TypeVar("T")

#: No number of draws, traces or tokens is larger.
_MOST = 1e15
#: Blocks without a place of their own in the page: key, heading.
EXTRAS = (
    ("censoring", "Censored traces"),
    ("verifier", "Quality of the verifier"),
    ("kappa", "What search can reach"),
    ("decomposition", "Where in the trace the heterogeneity arises"),
    ("diversity", "Diversity of the traces"),
)


def number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _counted(value: Any, least: float = 1.0) -> float | None:
    """A number of draws, traces or tokens; None for one that cannot be."""
    found = number(value)
    return found if found is not None and least <= found <= _MOST else None


def text(value: Any) -> str:
    """The words of a string or number, "" for what is not known."""
    return "" if value is None or isinstance(value, Mapping | list | tuple) else str(value)


def mapping(value: Any) -> Data:
    """A mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def entries(value: Any) -> Sequence[Any]:
    """A list, or an empty one."""
    return value if isinstance(value, list | tuple) else ()


def _numbers(value: Any) -> list[float | None]:
    return [number(entry) for entry in entries(value)]


@dataclass(frozen=True, slots=True)
class Ends:
    """An interval; any of it may be unknown."""

    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    method: str = ""

    @property
    def is_known(self) -> bool:
        """Whether anything is."""
        return not (self.estimate is None and self.low is None and self.high is None)


def is_interval(value: Any) -> bool:
    """Whether plain data are an interval."""
    return isinstance(value, Mapping) and {"estimate", "low", "high"} <= value.keys()


def interval(value: Any) -> Ends:
    """The interval that plain data hold; a bare number is an estimate without ends."""
    if not isinstance(value, Mapping):
        return Ends(number(value))
    low, high = number(value.get("low")), number(value.get("high"))
    return Ends(number(value.get("estimate")), low, high, number(value.get("level")), text(value.get("method")))


@dataclass(frozen=True, slots=True)
class Point:
    """One method at N draws."""

    method: str
    N: float
    value: Ends
    unit: str
    tokens: float | None
    flops: float | None
    problems: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Band:
    """J(VF) and J(VB) at n traces, tokens; ``in_window``: the lower bound on VF's regret is valid there."""

    n: float
    vf: tuple[float, float]
    vb: tuple[float, float]
    in_window: bool | None


@dataclass(frozen=True, slots=True)
class Concentrated:
    """c at each epsilon: its mean, the bounds on the least and on the q-quantile over problems; all (E,)."""

    epsilon: list[float]
    mean: list[Ends]
    least: list[float | None]
    quantile: list[float | None]
    q: float | None
    constant: float | None
    problems: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a diagnosis; ``place`` is its place among the runs, from 1."""

    data: Data
    place: int

    @property
    def label(self) -> str:
        """The name of the run."""
        named = mapping(self.data.get("run"))
        parts = [text(named.get(key)) for key in ("model", "run_id")]
        return text(named.get("label")) or " ".join(part for part in parts if part) or f"run {self.place}"

    @property
    def horizon(self) -> float | None:
        """The budget H."""
        return number(self.data.get("H"))

    @property
    def unit(self) -> str:
        """What a return counts."""
        return text(self.data.get("unit")) or "tokens"

    def count(self, key: str) -> float | None:
        """``traces`` or ``problems``."""
        return number(self.data.get(key))

    @property
    def samples(self) -> tuple[float | None, float | None, float | None]:
        """Known returns of a problem: least, median, most."""
        found = mapping(self.data.get("samples"))
        return number(found.get("min")), number(found.get("median")), number(found.get("max"))

    @property
    def findings(self) -> list[Data]:
        """Findings of quality, serious ones first: ``name``, ``count``, ``says``, ``serious``."""
        found = [mapping(entry) for entry in entries(self.data.get("findings"))]
        return sorted(found, key=lambda entry: not entry.get("serious"))

    def estimate(self, name: str) -> Ends:
        """``mu``, ``sigma2``, ``sigma`` or ``s``."""
        return interval(mapping(self.data.get("estimates")).get(name))

    def spread(self, name: str) -> float | None:
        """``within``, ``between`` or ``constant_problems``."""
        return number(mapping(self.data.get("spread")).get(name))

    @property
    def s_quartiles(self) -> list[float | None]:
        """Quartiles of s over problems."""
        return _numbers(mapping(self.data.get("spread")).get("s_quartiles"))

    @property
    def problems(self) -> list[tuple[str, float | None, float | None, float | None, float | None, bool | None]]:
        """Of each problem: name, samples, mean, sd, s, and whether its samples vary (None where that is unknown)."""
        block = mapping(self.data.get("per_problem"))
        names = [text(name) for name in entries(block.get("name"))]
        keys = ("samples", "mu", "sigma", "s")
        columns = [_filled(_numbers(block.get(key)), len(names)) for key in keys]
        varies = _filled([v if isinstance(v, bool) else None for v in entries(block.get("varies"))], len(names))
        return list(zip(names, *columns, varies, strict=True))

    @property
    def spreads(self) -> tuple[list[float], int, int]:
        """s of problems whose samples vary, and numbers of the problems that show no spread and of unknown spread."""
        block = mapping(self.data.get("per_problem"))
        values = _numbers(block.get("s"))
        varies = _filled(list(entries(block.get("varies"))), len(values))
        known = [(s, s > 0.0 if v is None else bool(v)) for s, v in zip(values, varies, strict=True) if s is not None]
        moving = [s for s, v in known if v]
        return moving, len(known) - len(moving), len(values) - len(known)

    @property
    def concentration(self) -> Concentrated | None:
        """c(epsilon), None where no problem varies."""
        block = mapping(self.data.get("concentration"))
        grid = _numbers(block.get("epsilon"))
        if not grid or any(e is None for e in grid):
            return None
        size, quantile = len(grid), mapping(block.get("lower_quantile"))
        return Concentrated(
            [e for e in grid if e is not None],
            _filled([interval(entry) for entry in entries(block.get("mean"))], size, Ends()),
            _filled(_numbers(block.get("least")), size),
            _filled(_numbers(quantile.get("low")), size),
            number(quantile.get("q")),
            number(block.get("constant")),
            number(block.get("problems")),
        )

    @property
    def curves(self) -> list[Point]:
        """Points of test-time search, those with a known N."""
        found = []
        for entry in map(mapping, entries(self.data.get("curves"))):
            N = _counted(entry.get("N"))
            if N is not None:
                tokens = _counted(entry.get("tokens"), 1e-6)
                flops, problems = number(entry.get("flops")), number(entry.get("problems"))
                value, method = interval(entry.get("value")), text(entry.get("method"))
                unit, note = text(entry.get("unit")), text(entry.get("note"))
                found.append(Point(method, N, value, unit, tokens, flops, problems, note))
        return found

    @property
    def prediction(self) -> Data:
        """Settings of the prediction: ``n``, ``assumptions``, ``crossover``, ``ceiling`` and others."""
        return mapping(self.data.get("prediction"))

    @property
    def asked(self) -> float | None:
        """Training traces n that are asked for."""
        return _counted(self.prediction.get("n"))

    @property
    def crossover(self) -> float | None:
        """Training traces n* from which on the bounds decide."""
        return _counted(self.prediction.get("crossover"))

    @property
    def bands(self) -> list[Band]:
        """Bands of both values, n increasing; only where all four ends are known."""
        found = []
        for entry in map(mapping, entries(self.prediction.get("bands"))):
            n = _counted(entry.get("n"))
            ends = [number(entry.get(key)) for key in ("vf_low", "vf_high", "vb_low", "vb_high")]
            known = [end for end in ends if end is not None]
            if n is not None and len(known) == 4:
                window = entry.get("vf_lower_in_window")
                pairs = (known[0], known[1]), (known[2], known[3])
                found.append(Band(n, *pairs, window if isinstance(window, bool) else None))
        return sorted(found, key=lambda band: band.n)

    @property
    def decision(self) -> Data:
        """The decision, with all that it rests on."""
        return mapping(self.data.get("decision"))

    @property
    def verdict(self) -> str:
        """``clone``, ``verify``, ``undecided``, or ``not known``."""
        found = text(self.decision.get("verdict"))
        return found if found in ("clone", "verify", "undecided") else "not known"

    @property
    def evidence(self) -> list[tuple[str, Ends, str, str]]:
        """Name, J(VB) - J(VF), what it says, and a note; of each piece of evidence."""
        found = [mapping(entry) for entry in entries(self.decision.get("evidence"))]
        rows = [(text(e.get("name")), interval(e), text(e.get("says")), text(e.get("note"))) for e in found]
        difference = interval(self.decision.get("difference"))
        return [*rows, ("together", difference, "", difference.method)] if difference.is_known else rows

    def words(self, key: str) -> list[str]:
        """``reasons`` or ``would_settle`` of the decision."""
        return [text(entry) for entry in entries(self.decision.get(key))]

    @property
    def reach_of_bounds(self) -> list[str]:
        """How far the bounds are from deciding, in words: n* and the largest class."""
        lines = []
        if "n_star" in self.decision:
            n_star = number(self.decision["n_star"])
            where = "at no n up to 2^40" if n_star is None else f"from n = {n_star:,.0f} training traces on"
            lines.append(f"The bounds decide {where}.")
        if "largest_log_class" in self.decision:
            size = number(self.decision["largest_log_class"])
            where = "no size of both classes" if size is None else f"both classes up to {size:g} nats"
            lines.append(f"At the n asked for they decide with {where}.")
        return lines

    @property
    def parts(self) -> list[tuple[str, str]]:
        """Kind (theorem, estimate, assumption) and words of what the decision rests on."""
        found = [mapping(entry) for entry in entries(self.decision.get("parts"))]
        return [(text(entry.get("kind")), text(entry.get("says"))) for entry in found]

    @property
    def sensitivity(self) -> list[tuple[float | None, str, str]]:
        """H, verdict and why, at each budget tried."""
        found = [mapping(entry) for entry in entries(self.decision.get("sensitivity"))]
        return [(number(e.get("H")), text(e.get("verdict")), text(e.get("why"))) for e in found]

    @property
    def extras(self) -> list[tuple[str, Any]]:
        """Heading and contents of the blocks of :data:`EXTRAS`."""
        return [(heading, self.data.get(key)) for key, heading in EXTRAS]


def _filled(values: list[T], size: int, missing: Any = None) -> list[T]:
    """The first ``size`` values; where there are fewer, ``missing`` after them."""
    return [*values[:size], *[missing] * (size - len(values))]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All runs, and where they come from."""

    data: Data

    @property
    def title(self) -> str:
        """The heading."""
        return text(self.data.get("title")) or "traces"

    @property
    def runs(self) -> list[Run]:
        """The runs, in the order of the diagnosis."""
        return [Run(mapping(entry), place) for place, entry in enumerate(entries(self.data.get("runs")), 1)]

    @property
    def notes(self) -> list[str]:
        """What was assumed when the traces were read."""
        return [text(note) for note in entries(self.data.get("notes"))]

    @property
    def comparison(self) -> Any:
        """The comparison of two runs, None without one."""
        return self.data.get("comparison")

    @property
    def provenance(self) -> dict[str, Any]:
        """Files, options (the seed among them) and versions."""
        return {key: self.data.get(key) for key in ("files", "options", "versions")}
