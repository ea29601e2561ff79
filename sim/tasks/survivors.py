r"""The rare-success family with its M hypotheses collapsed to counts: M = 2^32 costs what M = 2 does.

A prompt is uniform on :math:`V^M`, so the M - 1 wrong hypotheses play independent uniform tokens on every prompt, old
or fresh (:mod:`sim.tasks.rare_success` builds the family with its prompts, for small M). Given the data's own counts,
the number K of wrong hypotheses that explain the data is Bin(M - 1, q), and on a fresh prompt the K + 1 candidates vote
as a multinomial over V tokens. The optimal learner plays the token with most votes and is worth their share, given data
and prompt; a random candidate is worth :math:`c+(1-c)/(K+1)`. All values are J/H.

* VF, n tokens of a perfect expert: :math:`q=c^n`. VF, the k solved ones of n base draws: :math:`q=c^k`.
* VB, n labelled base draws, k of them solved: :math:`q=c^k(1-c)^{n-k}`.

Of two learners the worse-informed has K wrong candidates and the better-informed keeps each of them with probability
q'/q: one data set serves both, and their difference has a small error.

Data sets that decide a mean may be rare. Where more than half of c..1 is gained they are those with K >= 1, of known
probability :math:`\Pi=\sum_kb_k[1-(1-q_k)^{M-1}]`: data are drawn given K >= 1 and losses weighted by :math:`\Pi`.
Elsewhere they are those with few candidates: k is drawn from the mean of its laws tilted by :math:`\psi_M(q_k)` and by
its root, and gains over c are weighted by the ratio of the laws.

**Noisy expert**, p_e < 1: the truth agrees with T ~ Bin(n, p_e) tokens, each wrong hypothesis with Bin(n, c); their
numbers by level are multinomial. A candidate at level k has the likelihood :math:`r^k`, :math:`r=p_e(V-1)/(1-p_e)`.
Levels beyond the middle 1 - 2e-13 of Bin(n, p_e) have no vote: on average the posterior gives them as much as the law
of T. VF's data, and both learners' for the difference, are drawn as they come, and VF's vote is worth 1 if it hits the
truth's token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.tasks.token_task import require_number, require_whole
from theory.log_space import (
    log_binomial_pmf,
    log_of_minus_log_complement,
    log_sum_above,
    log_sum_below,
    mean_reciprocal_count,
)

__all__ = ["MAX_LOG2_M", "MAX_N", "Survivors"]

MAX_N, MAX_LOG2_M, MAX_TOKENS = 20_000, 60, 1024

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
#: J/H of learners by name, and "difference": best VB minus best VF; each (trials,).
Values = dict[str, Floats]

#: Below this chance a binomial is drawn as a Poisson law: they differ by at most the chance, in total variation.
_RARE = 1e-9
#: Tail of the truth's level that is left out, on either side.
_TAIL = 1e-13
#: Share of the largest weight below which a level changes no vote.
_NEGLIGIBLE = 1e-18


@dataclass(frozen=True)
class Survivors:
    """V = 1/c tokens, M = 2^log2_M hypotheses, n draws; ``p_e`` < 1 is that of a noisy expert.

    Raises ``ValueError`` with one line on a field out of range.
    """

    V: int
    n: int
    log2_M: int
    p_e: float = 1.0

    def __post_init__(self) -> None:
        """Checks every field."""
        require_whole("V", self.V, 2, MAX_TOKENS)
        require_whole("n", self.n, 1, MAX_N)
        require_whole("log2_M", self.log2_M, 1, MAX_LOG2_M)
        require_number("p_e", self.p_e, 1.0 / self.V, 1.0)

    @property
    def c(self) -> float:
        """Chance that the base solves a prompt."""
        return 1.0 / self.V

    @property
    def wrong(self) -> int:
        """M - 1."""
        return int(2**self.log2_M - 1)

    def _labelled(self) -> _Candidates:
        """Of VB."""
        k, law = np.arange(self.n + 1), np.exp(log_binomial_pmf(self.n, self.c))
        return _Candidates(self, law, np.asarray(k * math.log(self.c) + (self.n - k) * math.log1p(-self.c)))

    def _kept(self) -> _Candidates:
        """Of VF that sees the k solved ones of n base draws."""
        law = np.exp(log_binomial_pmf(self.n, self.c))
        return _Candidates(self, law, np.asarray(np.arange(self.n + 1) * math.log(self.c)))

    def _perfect(self) -> _Candidates:
        """Of VF that sees n tokens of a perfect expert."""
        return _Candidates(self, np.ones(1), np.array([self.n * math.log(self.c)]))

    def outside(self, rng: np.random.Generator, trials: int) -> Values:
        """VF sees n tokens of a perfect expert; VB, which labels base draws on the same prompts, rules out no more."""
        vf, vb = self._perfect(), self._labelled()
        keep = np.asarray((self.n - np.arange(self.n + 1)) * (math.log(self.c) - math.log1p(-self.c)))
        values = {**vf.values(rng, trials, "vf-optimal", "vf-mle"), **vb.values(rng, trials, *_VB)}
        coupled = vf.mostly_gained == vb.mostly_gained
        lead = -vb.gain(rng, trials, keep) if coupled else values["vb-optimal"] - values["vf-optimal"]
        return {**values, "difference": lead}

    def equal_draws(self, rng: np.random.Generator, trials: int) -> Values:
        """VF sees the solved ones of the n base draws that VB sees labelled: the failed ones thin VF's candidates."""
        vf, vb = self._kept(), self._labelled()
        values = {**vf.values(rng, trials, "vf-optimal", "vf-mle"), **vb.values(rng, trials, *_VB)}
        coupled = vf.mostly_gained == vb.mostly_gained
        lead = vf.gain(rng, trials, vb.log_q - vf.log_q) if coupled else values["vb-optimal"] - values["vf-optimal"]
        return {**values, "difference": lead}

    def noisy(self, rng: np.random.Generator, trials: int) -> Values:
        """VF sees n tokens of an expert with p_e < 1, VB as many labelled base draws, independent of them."""
        levels, vb = _Levels.of(self), self._labelled()
        truth = np.clip(rng.binomial(self.n, self.p_e, trials), levels.low, levels.high).astype(np.int64)
        beyond, counts = levels.draw(rng, trials)
        vf = levels.vote(rng, truth, counts)
        hit = levels.chance_of_top(truth, beyond, counts)
        left = _binomial(rng, np.full(trials, self.wrong), vb.log_q[rng.binomial(self.n, self.c, trials)])
        return {
            "vf-optimal": vf,
            "vf-mle": self.c + (1.0 - self.c) * hit,
            "vf-cloning": self.c + (self.p_e - self.c) * hit,
            **vb.values(rng, trials, *_VB),
            "difference": _votes(rng, left + 1, self.V).max(axis=1) / (left + 1) - vf,
        }


_VB = ("vb-optimal", "vb-consistent")


@dataclass(frozen=True)
class _Candidates:
    """Hypotheses that explain a learner's data: the truth and Bin(M - 1, q_k) others, k with masses ``law``."""

    point: Survivors
    law: Floats
    log_q: Floats

    def _psi(self, log_keep: Floats | float = 0.0) -> Floats:
        """Chance by k that a random one of the candidates that are kept is the truth."""
        return mean_reciprocal_count(self.point.log2_M * math.log(2.0), self.log_q + log_keep)

    @property
    def mostly_gained(self) -> bool:
        """A random candidate is worth more than (1 + c)/2."""
        return float(self.law @ self._psi()) > 0.5

    def _drawn(
        self, rng: np.random.Generator, trials: int, log_keep: Floats
    ) -> tuple[float, Floats, NDArray[np.intp], Counts]:
        """(J/H of reference, weights of what differs from it, k, wrong candidates)."""
        point, tilts = self.point, np.stack([self._psi(), self._psi(log_keep)])
        if not self.mostly_gained:
            tilts = np.concatenate([tilts, np.sqrt(tilts)]) * self.law
            masses = (tilts / tilts.sum(axis=1, keepdims=True)).mean(axis=0)
            k = _places(rng, masses, trials)
            return point.c, self.law[k] / masses[k], k, _binomial(rng, np.full(trials, point.wrong), self.log_q[k])
        lost = np.exp(np.minimum(math.log(point.wrong) + log_of_minus_log_complement(self.log_q), 700.0))
        masses = -np.expm1(-lost) * self.law
        some = float(masses.sum())  # Pi
        if some < 1e-290:
            return 1.0, np.zeros(trials), np.zeros(trials, dtype=np.intp), np.zeros(trials, dtype=np.int64)
        k = _places(rng, masses, trials)
        return 1.0, np.full(trials, some), k, _binomial_above_0(rng, point.wrong, self.log_q[k])

    def values(self, rng: np.random.Generator, trials: int, optimal: str, random: str) -> Values:
        """J/H of the vote and of a random one of the candidates."""
        c = self.point.c
        start, weight, _, left = self._drawn(rng, trials, np.zeros_like(self.log_q))
        share = _votes(rng, left + 1, self.point.V).max(axis=1) / (left + 1)
        chance = 1.0 / (left + 1)
        hit = np.where(rng.random(trials) < chance, 1.0, 0.0) if self.mostly_gained else chance
        return {optimal: start + weight * (share - start), random: start + weight * (c + (1.0 - c) * hit - start)}

    def gain(self, rng: np.random.Generator, trials: int, log_keep: Floats) -> Floats:
        """What the vote gains if each wrong candidate is kept with these chances by k only, J/H."""
        _, weight, k, left = self._drawn(rng, trials, log_keep)
        kept = _binomial(rng, left, log_keep[k])
        few = _votes(rng, kept + 1, self.point.V)
        many = few + _votes(rng, left - kept, self.point.V)
        return np.asarray(weight * (few.max(axis=1) / (kept + 1) - many.max(axis=1) / (left + 1)))


@dataclass(frozen=True)
class _Levels:
    """Levels low..high, agreements with a noisy expert's tokens, at which hypotheses have a vote."""

    point: Survivors
    low: int
    high: int
    log_b: Floats  # (n + 1,) log pmf of a wrong hypothesis's level

    @classmethod
    def of(cls, point: Survivors) -> _Levels:
        """The levels at which the truth may be."""
        truth = log_binomial_pmf(point.n, point.p_e)
        below, above = np.exp(log_sum_below(truth)), np.exp(log_sum_above(truth))
        low = int(np.flatnonzero(below <= _TAIL)[-1])  # P(T < low)
        high = int(np.flatnonzero(above[1:] <= _TAIL)[0])  # P(T > high)
        return cls(point, low, high, log_binomial_pmf(point.n, point.c))

    def draw(self, rng: np.random.Generator, trials: int) -> tuple[Counts, Counts]:
        """Numbers of wrong hypotheses beyond ``high`` (trials,), and at low..high (levels, trials)."""
        log_above, log_up_to = log_sum_above(self.log_b), log_sum_below(self.log_b)[1:]
        beyond = _binomial(rng, np.full(trials, self.point.wrong), float(log_above[self.high + 1]))
        left, found = self.point.wrong - beyond, []
        for k in range(self.high, self.low - 1, -1):
            found.append(_binomial(rng, left, float(self.log_b[k] - log_up_to[k])))
            left = left - found[-1]
        return beyond, np.stack(found[::-1])

    def chance_of_top(self, truth: Counts, beyond: Counts, counts: Counts) -> Floats:
        """Chance that a fair draw among the hypotheses at the highest level is the truth, (trials,)."""
        above = beyond + np.where(np.arange(self.low, self.high + 1)[:, None] > truth, counts, 0).sum(axis=0)
        return np.asarray((above == 0) / (1.0 + counts[truth - self.low, np.arange(truth.size)]))

    def vote(self, rng: np.random.Generator, truth: Counts, counts: Counts) -> Floats:
        """1 where the token with the largest posterior is the truth's, (trials,); ties are shared."""
        point, trials = self.point, truth.size
        log_r = math.log(point.p_e) + math.log(point.V - 1) - math.log1p(-point.p_e)
        rows = np.arange(self.low, self.high + 1)
        top = np.maximum(np.where(counts > 0, rows[:, None], self.low).max(axis=0), truth)
        votes = np.zeros((trials, point.V))
        for k, here in zip(rows, counts, strict=True):
            weight = np.exp(np.minimum((k - top) * log_r, 0.0))
            who = np.flatnonzero(((here > 0) & (here * weight > _NEGLIGIBLE)) | (truth == k))
            tokens = _votes(rng, here[who], point.V)
            tokens[:, 0] += truth[who] == k  # the truth plays token 0
            votes[who] += weight[who, None] * tokens
        largest = votes.max(axis=1)
        return np.asarray((votes[:, 0] == largest) / (votes == largest[:, None]).sum(axis=1))


def _places(rng: np.random.Generator, masses: Floats, trials: int) -> NDArray[np.intp]:
    """Indices drawn in proportion to ``masses``, (trials,)."""
    cumulative = np.cumsum(masses / masses.sum())
    return np.searchsorted(cumulative / cumulative[-1], rng.random(trials), side="right")


def _binomial(rng: np.random.Generator, count: Counts, log_q: Floats | float) -> Counts:
    """Bin(count, q), shape of ``count``. NumPy's own loses 1 - q where q is below its rounding."""
    q = np.broadcast_to(np.exp(np.minimum(log_q, 0.0)), count.shape)
    usual = rng.binomial(count, np.where(q < _RARE, 0.0, q))
    rare = rng.poisson(np.where(q < _RARE, count * q, 0.0))
    return np.asarray(np.minimum(np.where(q < _RARE, rare, usual), count))


def _binomial_above_0(rng: np.random.Generator, count: int, log_q: Floats) -> Counts:
    """Bin(count, q) given that it is not 0, shape of ``log_q``: the place of the first, then the rest."""
    log_miss = -np.exp(np.minimum(log_of_minus_log_complement(log_q), 300.0))  # log(1 - q)
    place = np.log1p(np.expm1(count * log_miss) * rng.random(log_q.shape)) / log_miss
    first = np.minimum(place.astype(np.int64), count - 1)
    return 1 + _binomial(rng, count - 1 - first, log_q)


def _votes(rng: np.random.Generator, voters: Counts, V: int) -> Counts:
    """Uniform tokens of so many voters, counted, (trials, V)."""
    return np.asarray(rng.multinomial(voters, np.full(V, 1.0 / V)))
