r"""``parity-cost``: seconds to learn a parity of k bits, verifier-free against verifier-based.

* ``vf-hadamard``: maximum likelihood from :math:`n=\lceil6k\log2/\varepsilon^2\rceil` signs of expert traces, about
  three times what the channel's capacity :math:`\varepsilon^2/2` (nats, small :math:`\varepsilon`) asks for; a fast
  Walsh-Hadamard transform over all :math:`M=2^k` hypotheses, :math:`k2^k` additions of 32-bit whole numbers. Where its
  tables outgrow a cache an addition costs more, and time grows faster than their number.
* ``vb-elimination``: Gaussian elimination over GF(2) on n = 4k labels, 64 bits a word: at most :math:`k^3` in the
  limit; below it while a step of the elimination costs more than its words do.

Both are NumPy on one core (:mod:`sim.tasks.parity_learners`): nothing is compiled, and what is measured is the time
from data to hypothesis, drawing not counted. A trial is one data set; it is learned from again until a millisecond has
passed, and seconds are those of one time, after one run that is not counted. ``correct`` is whether the truth was
found: it is the cost of learning, not of trying. Times are those of this machine under its load: no second run has
the same ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.experiments.experiment import Cell, Experiment, Measurement, Samples, Settings, chosen_learners
from sim.ranges import parse_range
from sim.tasks.parity_learners import MAX_TABLE_BITS, draw_rows, draw_signs, likeliest, solution
from theory.notation import log_M
from theory.verifier import erm_success_parity

__all__ = ["EXPERIMENT", "ParityCost", "ParityCostSettings", "growth", "reach_of", "timed"]

Floats = NDArray[np.float64]

VF, VB = "vf-hadamard", "vb-elimination"
LEARNERS = (VF, VB)
MAX_ELIMINATION_BITS = 2**14
#: Traces in units of log M / epsilon^2, and labels in units of k.
TRACES, LABELS = 6, 4
#: A trial learns again until this has passed, seconds.
LEAST = 1e-3
RESAMPLES = 1000
#: The largest k enter the fits: so many of them.
FITTED = {VF: 8, VB: 4}
DAY, YEAR = 86400.0, 365.25 * 86400.0
#: Bytes a hypothesis: two tables of 32-bit numbers.
TABLES = 8
#: Seconds of one addition of the transform, of one word of elimination, and of one of its k steps.
PER_ADDITION, PER_WORD, PER_STEP = 1e-9, 1.2e-9, 1e-5


@dataclass(frozen=True)
class ParityCostSettings(Settings):
    """``seeds`` data sets at each k; ``vf_bits`` and ``vb_bits`` are ranges of k, ``epsilon`` a number in (0, 1]."""

    seeds: int = 8
    epsilon: str = "0.5"
    learners: str = "all"
    vf_bits: str = "4..24"
    vb_bits: str = "4..2048x2"

    def __post_init__(self) -> None:
        """Checks every field."""
        super().__post_init__()
        _ = self.strength, self.chosen
        for name, most in (("vf_bits", MAX_TABLE_BITS), ("vb_bits", MAX_ELIMINATION_BITS)):
            found = parse_range(getattr(self, name))
            if found[-1] > most:
                raise ValueError(f"{name} {getattr(self, name)}: expected at most {most}")

    @property
    def strength(self) -> float:
        """epsilon: a sign of an expert trace is right with probability (1 + epsilon)/2."""
        try:
            value = float(self.epsilon)
        except ValueError:
            value = math.nan
        if not 1e-3 <= value <= 1.0:
            raise ValueError(f"--epsilon {self.epsilon}: expected a number in [0.001, 1]")
        return value

    @property
    def chosen(self) -> tuple[str, ...]:
        """Learners that are timed, in their own order."""
        return chosen_learners(self.learners, LEARNERS)

    def bits(self, learner: str) -> tuple[int, ...]:
        """The k of one learner, increasing."""
        return parse_range(self.vf_bits if learner == VF else self.vb_bits)

    def traces(self, learner: str, k: int) -> int:
        """n at k."""
        return math.ceil(TRACES * log_M(k) / self.strength**2) if learner == VF else LABELS * k


class ParityCost(Experiment[ParityCostSettings]):
    """Time against k."""

    name = "parity-cost"
    question = "How long does it take to learn a parity of k bits, with labels and without?"
    axes = ("learner", "k")

    def cells(self, settings: ParityCostSettings) -> tuple[Cell, ...]:
        """Each learner has its own range of k."""
        return tuple(
            self.cell(settings, learner=learner, k=k) for learner in settings.chosen for k in settings.bits(learner)
        )

    def measure(self, settings: ParityCostSettings, cells: Sequence[Cell]) -> list[Samples]:
        """Seconds of each trial, and whether it found the truth."""
        found: list[Samples] = []
        for cell in cells:
            run = _elimination if cell["learner"] == VB else _likelihood
            timed = np.array([run(settings, cell, trial) for trial in range(settings.seeds)])
            found.append({"seconds": timed[:, 0], "correct": timed[:, 1]})
        return found

    def judge(self, settings: ParityCostSettings, cell: Cell, samples: Samples) -> list[Measurement]:
        """Time, and how often the truth is found: exact for elimination."""
        k, learner = cell["k"], cell["learner"]
        exact = erm_success_parity(LABELS * k, k) if learner == VB else math.nan
        return [
            Measurement("seconds", learner, "s", samples["seconds"], reach=(0.0, math.inf)),
            Measurement("correct", learner, "probability", samples["correct"], exact, reach=(0.0, 1.0)),
        ]

    def summarise(
        self, settings: ParityCostSettings, measured: Sequence[tuple[Cell, list[Measurement]]]
    ) -> dict[str, Any]:
        """Growth of each learner's time, with intervals over data sets, and where it leads (extrapolated)."""
        summary: dict[str, Any] = {"times": "wall seconds of this machine, of one core; another run has others"}
        for learner in settings.chosen:
            rows = [(cell["k"], row) for cell, row in measured if cell["learner"] == learner]
            if not rows:
                continue
            k = np.array([k for k, _ in rows], dtype=np.float64)
            seconds = np.stack([m.samples for _, row in rows for m in row if m.quantity == "seconds"])  # type: ignore[misc]
            correct = [m.mean for _, row in rows for m in row if m.quantity == "correct"]
            fitted = growth(learner, k, seconds, settings.seed)
            summary[learner] = {**fitted, "correct": float(np.mean(correct)), "least_correct": min(correct)}
            if learner == VF:
                summary[learner] |= reach_of(float(k[-1]), float(np.median(seconds[-1])))
        if len(summary) == 1 + len(LEARNERS):
            summary["seconds_of_elimination_at_that_k"] = _at_least(measured, summary[VF]["k_of_a_year_extrapolated"])
        return summary

    def lines(self, settings: ParityCostSettings, measured: Sequence[tuple[Cell, list[Measurement]]]) -> list[str]:
        """The table, and a line for each fit."""
        lines = super().lines(settings, measured)
        summary = self.summarise(settings, measured)
        for learner in settings.chosen:
            row = summary.get(learner)
            if row and row["growth"] is not None:
                interval = f"95% [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
                lines.append(f"{learner}: {row['of']} {row['growth']:.3f}  {interval}, theory {row['theory']:.3f}")
        if VF in summary:
            day, year = (summary[VF][f"k_of_a_{name}_extrapolated"] for name in ("day", "year"))
            lines.append(f"{VF}, extrapolated by k 2^k: a day at k = {day:.1f}, a year at k = {year:.1f}")
        return lines

    def estimated_seconds(self, settings: ParityCostSettings) -> float:
        """Additions and words, and the steps that cost more than they."""
        one = 0.0
        for learner in settings.chosen:
            for k in settings.bits(learner):
                steps = k * PER_STEP + LEAST
                work = k * 2.0**k * PER_ADDITION if learner == VF else LABELS * k**3 / 128 * PER_WORD
                one += steps + work
        return 2.0 + (settings.seeds + 1) * one


def _likelihood(settings: ParityCostSettings, cell: Cell, trial: int) -> tuple[float, float]:
    k = cell["k"]
    data = draw_signs(cell.generator(trial), k, settings.traces(VF, k), settings.strength)
    seconds, answer = timed(lambda coins: likeliest(data.prompts, data.signs, k, coins), cell, trial)
    return seconds, float(answer == data.truth)


def _elimination(settings: ParityCostSettings, cell: Cell, trial: int) -> tuple[float, float]:
    k = cell["k"]
    data = draw_rows(cell.generator(trial), k, settings.traces(VB, k))
    seconds, answer = timed(lambda coins: solution(data.rows, k, coins), cell, trial)
    return seconds, float(np.array_equal(answer, data.truth))


def timed(learn: Callable[[np.random.Generator], Any], cell: Cell, trial: int) -> tuple[float, Any]:
    """Seconds of one call and its answer. The first call of a cell is not counted, nor is the drawing of coins."""
    if trial == 0:
        learn(cell.generator(trial, stream=1))
    spent, times, answer = 0.0, 0, None
    while spent < LEAST:
        coins = cell.generator(trial, stream=1)
        start = time.perf_counter()
        answer = learn(coins)
        spent += time.perf_counter() - start
        times += 1
    return spent / times, answer


def growth(learner: str, k: Floats, seconds: Floats, seed: int) -> dict[str, Any]:
    """How the median of ``seconds`` (points, trials) grows over the largest ``k`` (points,).

    Verifier-free: bits of time for each bit of k, against those of k 2^k over the same points. Verifier-based: the
    power of k, against 3. The interval is the bootstrap's over data sets: neither that the power itself grows with k,
    nor the machine's moods between points, is in it.
    """
    last = slice(-min(FITTED[learner], k.size), None)
    of = "bits of seconds for each bit of k" if learner == VF else "power of k"
    if k.size < 2:
        return {"of": of, "growth": None, "ci_low": None, "ci_high": None, "theory": None, "reason": "one k only"}
    x = k[last] if learner == VF else np.log2(k[last])
    centred = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    theory = float(centred @ (k[last] + np.log2(k[last]))) if learner == VF else 3.0
    rng = np.random.default_rng([seed, 0xC057])
    shape = (RESAMPLES, *seconds[last].shape)
    resampled = np.take_along_axis(seconds[last][None], rng.integers(0, seconds.shape[1], shape), axis=2)
    slopes = np.log2(np.median(resampled, axis=2)) @ centred
    low, high = np.quantile(slopes, [0.025, 0.975])
    return {
        "of": of,
        "growth": float(centred @ np.log2(np.median(seconds[last], axis=1))),
        "ci_low": float(low),
        "ci_high": float(high),
        "theory": theory,
        "from_k": int(k[last][0]),
        "to_k": int(k[-1]),
    }


def reach_of(k: float, seconds: float) -> dict[str, float]:
    """Where time grown as k 2^k from ``seconds`` at ``k`` comes to a day and a year, and the bytes of the tables."""

    def at(limit: float) -> float:
        low, high = k - 64.0, k + 64.0
        for _ in range(100):
            middle = 0.5 * (low + high)
            more = math.log2(seconds) + (middle - k) + math.log2(max(middle, 1e-9) / k) > math.log2(limit)
            low, high = (low, middle) if more else (middle, high)
        return low

    day, year = at(DAY), at(YEAR)
    return {
        "k_of_a_day_extrapolated": day,
        "k_of_a_year_extrapolated": year,
        "bytes_at_a_day_extrapolated": TABLES * 2.0**day,
        "bytes_at_a_year_extrapolated": TABLES * 2.0**year,
    }


def _at_least(measured: Sequence[tuple[Cell, list[Measurement]]], k: float) -> dict[str, float] | None:
    """Median seconds of elimination at the first measured k that is not smaller."""
    for cell, row in measured:
        if cell["learner"] == VB and cell["k"] >= k:
            samples = next(m.samples for m in row if m.quantity == "seconds")
            assert samples is not None  # times are never exact
            return {"k": cell["k"], "seconds": float(np.median(samples))}
    return None


EXPERIMENT = ParityCost(ParityCostSettings())
