r"""``crossover``: map over (n, c) of which of VF and VB wins on the rare-success family (theory notes, section 10).

Three versions. ``outside``: VF sees n tokens of a perfect outside expert, VB n labelled base draws. ``outside-noisy``:
the expert solves with p_e < 1. ``equal-draws``: VF sees the solved ones of VB's n draws, without labels.

In every cell: exact values of the explicit learners (``vf-mle``, ``vf-cloning``, ``vb-consistent``), intervals that
contain the optimal learners', who provably wins, and a simulation of all of them at M = 2^log2_M
(:mod:`sim.tasks.survivors`). A simulation that contradicts a proven verdict violates the claim.

Three verdicts are kept apart: by ``bounds``, an explicit learner against the bound on every learner of the other kind;
by ``enclosures`` of both optimal learners; and ``proven``, by a garbling or else by enclosures. A garbling says for
every n and M that the optimal learner of one kind is never worse, but not how far they are apart.

Losses of VF from a noisy expert are bounded to 1e-9: beyond, cells are undecided. Differences below 1e-9 are not seen.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sim.experiments.experiment import Cell, Experiment, Measurement, Samples, Settings, chosen_learners, require_range
from sim.tasks.survivors import MAX_LOG2_M, MAX_N, MAX_TOKENS, Survivors
from sim.verdict import ROUNDING, STANDARD_ERRORS, UNSEEN_LOG_ODDS, Side
from theory.crossover import (
    CROSSOVER_VF_WINS,
    GARBLING,
    Region,
    break_even,
    kept_region,
    log_kept_odds,
    log_late_odds,
    region,
    thresholds,
    vb_random_loss,
    vf_cloning_value,
    vf_kept_least_loss,
    vf_least_loss,
)

__all__ = ["EXPERIMENT", "Crossover", "CrossoverSettings", "Known", "by_bounds", "known"]

Verdict = Literal["VF", "VB", "equal", "undecided"]

VERSIONS = ("outside", "outside-noisy", "equal-draws")
METHODS = ("vf-optimal", "vf-mle", "vf-cloning", "vb-optimal", "vb-consistent")
DIFFERENCE = "vb-optimal - vf-optimal"

#: Trials drawn with one generator; trials from which on a standard error says who wins.
BLOCK, LEAST_TRIALS = 1024, 64
#: Data sets are drawn as they come where the expert is noisy: a mean is compared with a bound there only if so many of
#: the trials are expected to differ from the value without gain or without loss, since fewer have no standard error.
FEWEST = 100

_SHORT: dict[str, Verdict] = {
    "VF provably better": "VF",
    "VB provably better": "VB",
    "equal": "equal",
    "undecided": "undecided",
}


@dataclass(frozen=True)
class CrossoverSettings(Settings):
    """``tokens`` V = 1/c, ``traces`` n of each learner, ``p_e`` of the noisy expert (where p_e < c it is left out)."""

    seeds: int = 2048
    log2_M: int = 32
    versions: tuple[str, ...] = VERSIONS
    tokens: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    traces: tuple[int, ...] = (
        1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096,
    )  # fmt: skip
    p_e: float = 0.3
    learners: str = "all"

    def __post_init__(self) -> None:
        """Checks every field."""
        super().__post_init__()
        require_range("--seeds", self.seeds, LEAST_TRIALS, 10**7)
        require_range("--log2-M", self.log2_M, 1, MAX_LOG2_M)
        for name, values, low, high in (("tokens", self.tokens, 2, MAX_TOKENS), ("traces", self.traces, 1, MAX_N)):
            for value in values:
                require_range(name, value, low, high)
            if not values or list(values) != sorted(set(values)):
                raise ValueError(f"{name} {values}: expected increasing numbers")
        if not self.versions or set(self.versions) - set(VERSIONS) or len(set(self.versions)) < len(self.versions):
            raise ValueError(f"versions {self.versions}: expected different ones of {', '.join(VERSIONS)}")
        if not 1.0 / self.tokens[-1] <= self.p_e < 1.0:
            raise ValueError(f"p_e {self.p_e}: expected 1/{self.tokens[-1]} <= p_e < 1")
        _ = self.methods

    @property
    def methods(self) -> tuple[str, ...]:
        """Learners asked for."""
        return chosen_learners(self.learners, METHODS)


@dataclass(frozen=True, slots=True)
class Known:
    """What theory says of one cell; values are J/H. ``margin`` and ``bounds_margin`` are certified differences."""

    region: Region
    cloning: float  # NaN unless the expert is noisy
    bounds: Verdict
    bounds_margin: float

    @property
    def proven(self) -> Verdict:
        """Who provably wins, by bounds or by a garbling."""
        return _SHORT[self.region.verdict] if self.region.by != "nothing" else self.enclosures

    @property
    def enclosures(self) -> Verdict:
        """Who wins by the intervals around both optimal learners alone."""
        vf, vb = self.region.vf, self.region.vb
        if vf[0] > vb[1] + ROUNDING or vb[0] > vf[1] + ROUNDING:
            return "VF" if vf[0] > vb[1] else "VB"
        return _SHORT[self.region.verdict] if self.region.margin > 0.0 else "undecided"

    def interval(self, name: str) -> tuple[float, float]:
        """Interval of one learner's J/H; of no width where it is known exactly."""
        here = self.region
        exact = {"vf-mle": here.vf_mle, "vf-cloning": self.cloning, "vb-consistent": here.vb_random}
        return (exact[name], exact[name]) if name in exact else here.vf if name == "vf-optimal" else here.vb

    @property
    def difference(self) -> tuple[float, float]:
        """Interval of J(VB) - J(VF) over H from the intervals of the two."""
        return self.region.vb[0] - self.region.vf[1], self.region.vb[1] - self.region.vf[0]


@functools.cache
def known(version: str, V: int, n: int, log2_M: int, p_e: float) -> Known:
    """All that theory says of one cell; ``p_e`` is that of the noisy expert, in whatever version."""
    c = 1.0 / V
    bounds, margin = by_bounds(version, V, n, log2_M, p_e)
    if version == "equal-draws":
        return Known(kept_region(n, log2_M, c), math.nan, bounds, margin)
    expert = 1.0 if version == "outside" else p_e
    cloning = vf_cloning_value(n, log2_M, c, expert) if expert < 1.0 else math.nan
    return Known(region(n, log2_M, c, expert), cloning, bounds, margin)


@functools.cache
def by_bounds(version: str, V: int, n: int, log2_M: int, p_e: float) -> tuple[Verdict, float]:
    """Who wins by bounds alone, and by how much at least; 0 where that underflows."""
    c = 1.0 / V
    random = vb_random_loss(n, log2_M, c)
    if version == "equal-draws":
        verdict, margin = _winner(0.0, 1.0, vf_kept_least_loss(n, log2_M, c), random)
        return "VB" if log_kept_odds(n, log2_M, c) > 0.0 else verdict, (1.0 - c) * margin
    expert = 1.0 if version == "outside" else p_e
    extras = CROSSOVER_VF_WINS.evaluate(H=1, n=n, log2_M=log2_M, c=c, p_e=expert).extras
    verdict, margin = _winner(extras["S"], extras["P_miss"], vf_least_loss(n, log2_M, c, expert), random)
    late = expert == 1.0 and V > 2 and log_late_odds(n, log2_M, c) > 0.0
    return "VF" if late else verdict, (1.0 - c) * margin


def _winner(vb_least: float, vf_explicit: float, vf_least: float, vb_explicit: float) -> tuple[Verdict, float]:
    """Who wins because every learner of the other kind loses more than an explicit one, and by how much."""
    if vf_explicit < vb_least * (1.0 - ROUNDING):
        return "VF", vb_least - vf_explicit
    if vb_explicit < vf_least * (1.0 - ROUNDING):
        return "VB", vf_least - vb_explicit
    return "undecided", 0.0


class Crossover(Experiment[CrossoverSettings]):
    """Who wins, cell by cell."""

    name = "crossover"
    question = "Where does cloning a better outside expert beat labelling base draws?"
    axes = ("version", "V", "n")
    batch = 24

    def cells(self, settings: CrossoverSettings) -> tuple[Cell, ...]:
        """Grid, n innermost; no cells for a noisy expert worse than the base."""
        return tuple(
            self.cell(settings, version=version, V=V, n=n)
            for version, V, n in itertools.product(settings.versions, settings.tokens, settings.traces)
            if version != "outside-noisy" or settings.p_e * V >= 1.0
        )

    def measure(self, settings: CrossoverSettings, cells: Sequence[Cell]) -> list[Samples]:
        """J/H of every learner and the difference of the optimal ones."""
        return [_sampled(settings, cell) for cell in cells]

    def judge(self, settings: CrossoverSettings, cell: Cell, samples: Samples) -> list[Measurement]:
        """Learners against their exact values and intervals; the difference against intervals and garblings."""
        told, as_drawn = _known(settings, cell), cell["version"] == "outside-noisy"
        here = _Judged(samples, 1.0 / cell["V"], settings.p_e, FEWEST / settings.seeds if as_drawn else 0.0)
        found = [here.value(name, told) for name in METHODS if name in settings.methods and name in samples]
        if {"vf-optimal", "vb-optimal"} <= set(settings.methods):
            found.append(here.difference(told))
        return found

    def summarise(
        self, settings: CrossoverSettings, measured: Sequence[tuple[Cell, list[Measurement]]]
    ) -> dict[str, Any]:
        """Verdicts of all cells, counts of them, ranges of n where each wins, and disagreements."""
        cells = [_as_row(settings, cell, row) for cell, row in measured]
        disagreeing = [row for row in cells if _disagree(row)]
        return {
            "disagreements": len(disagreeing),
            "disagreeing_cells": disagreeing,
            "p_e": settings.p_e,
            "counts": {
                version: {
                    kind: dict(Counter(row[kind] for row in cells if row["version"] == version))
                    for kind in ("bounds", "enclosures", "proven", "simulated")
                }
                for version in settings.versions
            },
            "rows": [
                self._row(settings, version, V, [r for r in cells if (r["version"], r["V"]) == (version, V)])
                for version, V in itertools.product(settings.versions, settings.tokens)
            ],
            "map": cells,
        }

    def _row(
        self, settings: CrossoverSettings, version: str, V: int, cells: Sequence[dict[str, Any]]
    ) -> dict[str, Any]:
        """Thresholds and ranges of n at one c; certified ranges are exact between the grid's ends."""
        needed = _thresholds(settings, version, V)
        ns = [row["n"] for row in cells]
        found: dict[str, Any] = {
            "version": version,
            "V": V,
            "break_even_p_e": break_even(1.0 / V),
            "threshold_vf": needed[0],
            "threshold_vb": needed[1],
        }
        for who in ("VF", "VB"):

            def certified(n: int, who: str = who) -> bool:
                return by_bounds(version, V, n, settings.log2_M, settings.p_e)[0] == who

            flags = [row["bounds"] == who for row in cells]
            found[f"{who}_by_bounds"] = [
                [_first(certified, ns[a - 1], ns[a]) if a else ns[0], _last(certified, ns[b], ns[b + 1:][:1])]
                for a, b in _runs(flags)
            ]  # fmt: skip
            found[f"{who}_simulated"] = [[ns[a], ns[b]] for a, b in _runs([row["simulated"] == who for row in cells])]
        return found

    def violated(self, summary: Mapping[str, Any]) -> list[str]:
        """Cells where two verdicts contradict one another."""
        return [
            f"{row['version']}, c = 1/{row['V']}, n = {row['n']}: bounds say {row['bounds']}, enclosures "
            f"{row['enclosures']}, proven {row['proven']} by {row['by']}, simulated {row['simulated']} "
            f"(VB - VF = {row['difference']:.3g} +- {row['se']:.2g})"
            for row in summary.get("disagreeing_cells", [])
        ]

    def lines(self, settings: CrossoverSettings, measured: Sequence[tuple[Cell, list[Measurement]]]) -> list[str]:
        """A map a version: who wins by bounds, and by simulation."""
        lines = [
            "proved (bounds, enclosures), then simulated: F = VF wins, B = VB wins, . = undecided, no difference;",
            "lower case: never worse, by a garbling; = equal",
        ]
        rows = {(c["version"], c["V"], c["n"]): _as_row(settings, c, row) for c, row in measured}
        for version in settings.versions:
            expert = f", p_e = {settings.p_e:g}" if version == "outside-noisy" else ""
            lines.append(f"{version}{expert}")
            lines.append(f"{'c':>6}  " + " ".join(f"{n:>4}" for n in settings.traces) + "  traces n")
            lines += [
                f"{f'1/{V}':>6}  " + " ".join(f"{_mark(rows.get((version, V, n))):>4}" for n in settings.traces)
                for V in settings.tokens
            ]
        return lines

    def estimated_seconds(self, settings: CrossoverSettings) -> float:
        """Votes over V tokens by level of a noisy expert, and the bounds' sums over n."""
        seconds = 2.0
        for cell in self.cells(settings):
            levels = 20.0 if cell["version"] == "outside-noisy" else 2.0
            seconds += 0.01 + 5e-6 * cell["n"]
            seconds += settings.seeds * (1e-6 + 2.5e-8 * cell["V"]) * levels / 2.0
        return seconds


def _sampled(settings: CrossoverSettings, cell: Cell) -> Samples:
    noisy = cell["version"] == "outside-noisy"
    point = Survivors(cell["V"], cell["n"], settings.log2_M, settings.p_e if noisy else 1.0)
    draw = {"outside": point.outside, "outside-noisy": point.noisy, "equal-draws": point.equal_draws}[cell["version"]]
    blocks = [
        draw(cell.generator(block), min(BLOCK, settings.seeds - block * BLOCK))
        for block in range(math.ceil(settings.seeds / BLOCK))
    ]
    return {name: np.concatenate([values[name] for values in blocks]) for name in blocks[0]}


def _known(settings: CrossoverSettings, cell: Cell) -> Known:
    return known(cell["version"], cell["V"], cell["n"], settings.log2_M, settings.p_e)


@dataclass(frozen=True)
class _Judged:
    """Samples of a cell beside what is known. ``seen``: share of the trials that must differ for a bound to be laid."""

    samples: Samples
    c: float
    p_e: float
    seen: float

    def value(self, name: str, told: Known) -> Measurement:
        """J/H of one learner."""
        low, high = told.interval(name)
        least, most = self.c, self.p_e if name == "vf-cloning" else 1.0  # without gain, without loss
        as_drawn = self.seen > 0.0 and name.startswith("vf")
        seen, weight = self.seen * (most - least) if as_drawn else 0.0, self._weight(told, name[:2])
        return Measurement(
            "J",
            name,
            "of H",
            self.samples[name],
            low if high - low <= ROUNDING else math.nan,
            Side(CROSSOVER_VF_WINS.label, low, True, low > least + ROUNDING) if low - least >= seen else None,
            Side(CROSSOVER_VF_WINS.label, high, True, high < most - ROUNDING) if most - high >= seen else None,
            (0.0, most) if as_drawn else (1.0 - weight, 1.0 if math.isfinite(weight) else math.inf),
        )

    def _weight(self, told: Known, *kinds: str) -> float:
        """No trial loses more, if its losses are weighted by Pi; infinite where gains are weighted instead.

        A random one of at least two candidates misses at least half of the time: its exact loss is above Pi(1-c)/2.
        """
        random = min({"vf": told.region.vf_mle, "vb": told.region.vb_random}[kind] for kind in kinds)
        return 2.0 * (1.0 - random) / (1.0 - self.c) if random > (1.0 + self.c) / 2.0 else math.inf

    def difference(self, told: Known) -> Measurement:
        """Optimal VB minus optimal VF, in units of H; a garbling says its sign."""
        low, high = told.difference
        ordered = {"VB": (True, False), "VF": (False, True), "equal": (True, True)}
        sides = ordered.get(told.proven, (False, False)) if told.region.by == "garbling" else (False, False)
        bounds = [
            Side(GARBLING.label, 0.0, True, True) if sided else Side(CROSSOVER_VF_WINS.label, bound, True, informative)
            for sided, bound, informative in zip(
                sides, (low, high), (low > self.c - 1.0 + ROUNDING, high < 1.0 - self.c - ROUNDING), strict=True
            )
        ]
        weight = 1.0 if self.seen else self._weight(told, "vf", "vb")
        return Measurement(
            "difference",
            DIFFERENCE,
            "of H",
            self.samples["difference"],
            0.0 if told.proven == "equal" else math.nan,
            bounds[0] if not 0.0 < bounds[0].bound < self.seen else None,
            bounds[1] if not -self.seen < bounds[1].bound < 0.0 else None,
            (-weight, weight),
        )


def _as_row(settings: CrossoverSettings, cell: Cell, row: Sequence[Measurement]) -> dict[str, Any]:
    told = _known(settings, cell)
    seen = next((m for m in row if m.quantity == "difference"), None)
    mean, se = (seen.mean, seen.se) if seen else (math.nan, math.nan)
    # Hits too rare to be seen in data drawn as they come may move the mean, as for bounds.
    unseen = min(UNSEEN_LOG_ODDS / settings.seeds, 1.0) if cell["version"] == "outside-noisy" else 0.0
    sure = abs(mean) - unseen > STANDARD_ERRORS * se + ROUNDING
    return {
        **cell.axes,
        "bounds": told.bounds,
        "bounds_margin": told.bounds_margin,
        "enclosures": told.enclosures,
        "proven": told.proven,
        "by": told.region.by,
        "margin": told.region.margin,
        "difference_low": told.difference[0],
        "difference_high": told.difference[1],
        "simulated": ("VB" if mean > 0.0 else "VF") if sure else "undecided",
        "difference": mean if seen else None,
        "se": se if seen else None,
    }


def _disagree(row: dict[str, Any]) -> bool:
    """Two verdicts on one cell exclude one another."""
    said = {row[kind] for kind in ("bounds", "enclosures", "proven", "simulated")} - {"undecided"}
    return len(said) > 1


def _mark(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    letter = {"VF": "F", "VB": "B", "equal": "=", "undecided": "."}
    certified = row["bounds"] if row["bounds"] != "undecided" else row["enclosures"]
    proven = letter[certified] if certified != "undecided" else letter[row["proven"]].lower()
    return proven + letter[row["simulated"]]


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], np.asarray(flags, dtype=int), [0]))))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The number in low+1..high from which on ``holds``, by bisection; it does not at ``low`` and does at ``high``."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _last(holds: Callable[[int], bool], low: int, beyond: Sequence[int]) -> int | None:
    """The last number for which it ``holds``, as in :func:`_first`; None if there is none ``beyond`` without."""
    return _first(lambda n: not holds(n), low, beyond[0]) - 1 if beyond else None


def _thresholds(settings: CrossoverSettings, version: str, V: int) -> tuple[float | None, float | None]:
    """Traces at which VF and VB set in, L/KL and L/h; of base draws c in 1 is kept. None where there is none."""
    noisy = version == "outside-noisy"
    if noisy and settings.p_e * V < 1.0:
        return None, None
    vf, vb = thresholds(settings.log2_M, 1.0 / V, settings.p_e if noisy else 1.0)
    needed = vf * V if version == "equal-draws" else vf
    return needed if math.isfinite(needed) else None, vb


EXPERIMENT = Crossover(CrossoverSettings())
