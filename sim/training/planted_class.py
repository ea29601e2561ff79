r"""Learners over the finite class of maps of the planted task (``planted-law``), on whole traces of H tokens.

Map j makes the gold :math:`y_j(x)` of a prompt. Its base draws gamma once a trace, follows :math:`\mu_\gamma` on
:math:`y_j(x)` and emits any token once that is completed. With :math:`T_j` the step at which a trace completes
:math:`y_j(x)`, :math:`t=\min(T_j,H)`, and :math:`m_j` how many of its first t tokens were the next gold ones, the base
likelihood is

.. math:: \sum_\gamma w_\gamma\,q_\gamma^{m_j}\,o_\gamma^{\,t-m_j}\,|V|^{-(H-t)}.

The law of :math:`T_j` under the base of map j depends on the pattern of :math:`y_j(x)` only, and so does a policy that
reweights that base by a density of :math:`T_j`: the expert of map j has the base likelihood times
:math:`w_{y_j(x)}(T_j)`.

* Verifier-free: n traces of the expert, tokens and prompts only. The map of largest expert likelihood, ties at random;
  that map's expert is played (``vf-upper``: the class contains the expert).
* Verifier-based: n labelled traces of the true base. The map whose :math:`T_j` disagree with fewest labels, a label a
  step, ties at random (``verifier-erm``); the true base is reweighted by a density of that map's T
  (``vb-upper-top-c``, ``vb-upper-best-of-n``).

What playing a gold comes to is exact (:mod:`sim.training.planted_pairs`), and depends on the joint pattern of it and
the true one only. Given the data, the mean over ties is exact too. Solve times are rows: T = 1..steps and never.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.tasks.planted import Planted, pattern_of
from sim.training.planted_pairs import Pairs
from theory.planted import mixture_law, token_probabilities

__all__ = [
    "Completions",
    "MapClass",
    "Traces",
    "base_scores",
    "best_maps",
    "completions",
    "disagreements",
    "likelihoods",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Pairs of a trace and a gold that are read together: what a step needs stays in the cache.
_ENTRIES = 2**16
#: Steps that are counted in a byte.
_MOST_COUNTED = 255
#: Scores this close, relative to the best, are a tie: what is equal is summed in different orders.
_TIE = 1e-9


class Traces(NamedTuple):
    """B traces of so many data ``sets``."""

    tokens: NDArray[np.int32]  # (B, H)
    prompts: Ints  # (B,)
    trials: Ints  # (B,) number of the data set
    sets: int


class Completions(NamedTuple):
    """Each trace read with every gold of its prompt, (B, K) each."""

    steps: Ints  # min(T, H) - 1 where it is completed, else H
    right: Ints  # gold tokens among the first min(T, H)


@dataclass(frozen=True, eq=False)
class MapClass:
    """What the class of a planted task makes of its prompts; K is the largest number of golds that a prompt has."""

    config: Planted

    @cached_property
    def golds(self) -> Ints:
        """The different golds of each prompt, (X, K, ell); where there are fewer, the first is repeated."""
        return self._golds[0]

    @cached_property
    def numbers(self) -> Ints:
        """Which of the golds of a prompt each map makes, (X, M)."""
        return self._golds[1]

    @cached_property
    def _golds(self) -> tuple[Ints, Ints]:
        made = self.config.maps[:, self.config.words].swapaxes(0, 1)  # (X, M, ell)
        found = [np.unique(of_prompt, axis=0, return_inverse=True) for of_prompt in made]
        most = max(len(golds) for golds, _ in found)
        padded = [np.concatenate([golds, np.repeat(golds[:1], most - len(golds), axis=0)]) for golds, _ in found]
        return np.stack(padded), np.stack([inverse.reshape(-1) for _, inverse in found])

    @cached_property
    def truth(self) -> Ints:
        """Number of the true gold of each prompt, (X,)."""
        return np.asarray(self.numbers[:, self.config.truth])

    @cached_property
    def patterns(self) -> tuple[tuple[int, ...], ...]:
        """The patterns of the golds."""
        return self._patterns[0]

    @cached_property
    def pattern(self) -> Ints:
        """Which pattern each gold has, (X, K)."""
        return self._patterns[1]

    @cached_property
    def _patterns(self) -> tuple[tuple[tuple[int, ...], ...], Ints]:
        return _numbered(self.golds.reshape(-1, self.config.ell), self.golds.shape[:2])

    @cached_property
    def pair_patterns(self) -> tuple[tuple[int, ...], ...]:
        """The joint patterns of the true gold and another, 2 ell letters each."""
        return self._pairs[0]

    @cached_property
    def pair(self) -> Ints:
        """Which joint pattern the truth and each gold have, (X, K)."""
        return self._pairs[1]

    @cached_property
    def _pairs(self) -> tuple[tuple[tuple[int, ...], ...], Ints]:
        true = np.broadcast_to(self.config.golds()[:, None, :], self.golds.shape)
        both = np.concatenate([true, self.golds], axis=2)
        return _numbered(both.reshape(-1, 2 * self.config.ell), self.golds.shape[:2])

    @cached_property
    def other_pattern(self) -> Ints:
        """Pattern of the other gold of each pair, (P,)."""
        found = np.zeros(len(self.pair_patterns), dtype=np.int64)
        found[self.pair] = self.pattern
        return found

    def laws(self, H: int, steps: int) -> Floats:
        """Law (steps + 1, ..) of the solve time of each pattern under the base of a map that makes it."""
        found = np.zeros((steps + 1, len(self.patterns)))
        for i, pattern in enumerate(self.patterns):
            law = mixture_law(pattern, self.config.V, self.config.gammas, self.config.weights, H)
            found[:H, i], found[-1, i] = law.masses, law.never
        return found

    def pairs(self, base: str) -> Pairs:
        """The process of each pair under the base of the ``"truth"`` or of the ``"other"``."""
        words = np.array(self.pair_patterns).reshape(-1, 2, self.config.ell)
        return Pairs.of(
            words, self.config.V, self.config.gammas, self.config.weights, "truth" if base == "truth" else "other"
        )

    def of_maps(self, of_pairs: Floats) -> Floats:
        """Mean over prompts of a number (P,) that the pair of golds has, for every map: (M,)."""
        each = of_pairs[self.pair]  # (X, K)
        return np.asarray(np.take_along_axis(each, self.numbers, axis=1).mean(axis=0))

    def summed(self, scores: Floats, traces: Traces) -> Floats:
        """Sums (trials, M) over the traces of a data set of ``scores`` (B, K), one for each gold of the prompt."""
        count, most, _ = self.golds.shape
        sums = np.zeros((traces.sets * count, most))
        group = traces.trials * count + traces.prompts
        order = np.argsort(group, kind="stable")
        met, first = np.unique(group[order], return_index=True)
        if met.size:
            sums[met] = np.add.reduceat(scores[order], first, axis=0)
        found = np.zeros((traces.sets, self.numbers.shape[1]))
        for x, numbers in enumerate(self.numbers):
            found += sums[x::count, numbers]
        return found


def _numbered(words: Ints, shape: tuple[int, ...]) -> tuple[tuple[tuple[int, ...], ...], Ints]:
    """The patterns of ``words`` in the order in which they occur, and which of them each word has."""
    known: dict[tuple[int, ...], int] = {}
    numbers = [known.setdefault(pattern_of(word), len(known)) for word in words]
    return tuple(known), np.array(numbers, dtype=np.int64).reshape(shape)


def completions(members: MapClass, traces: Traces) -> Completions:
    """Reads every trace with every gold of its prompt."""
    size = max(_ENTRIES // members.golds.shape[1], 1)
    parts = [
        _read(members.golds, traces.tokens[i : i + size], traces.prompts[i : i + size], members.config.V)
        for i in range(0, max(len(traces.tokens), 1), size)
    ]
    return Completions(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _read(golds: Ints, tokens: NDArray[np.int32], prompts: Ints, V: int) -> tuple[Ints, Ints]:
    """All golds of a trace at once. Bit i of ``places`` says that the first i tokens of a gold end what was emitted."""
    count, most, ell = golds.shape
    kind = np.dtype(np.uint8 if ell <= 8 else np.uint64)
    one, last = kind.type(1), kind.type(ell - 1)
    bits = (golds[:, None, :, :] == np.arange(V)[:, None, None]) @ (one << np.arange(ell).astype(kind))
    table = bits.astype(kind).reshape(count * V, most)  # which places of a gold a token fits
    rows = np.ascontiguousarray((prompts[:, None] * V + tokens).T)
    places, fits = np.ones((2, len(tokens), most), dtype=kind)
    left, more = np.ones((2, len(tokens), most), dtype=np.uint8)  # left: 1 until completed
    totals = np.zeros((2, len(tokens), most), dtype=np.int64)
    recent = np.zeros((2, len(tokens), most), dtype=np.uint8)
    for h, row in enumerate(rows, 1):
        np.take(table, row, axis=0, out=fits, mode="clip")
        fits &= places
        places ^= fits
        np.greater(fits, places, out=more.view(np.bool_))  # the longest of the prefixes goes on
        more &= left
        recent[1] += more
        np.right_shift(fits, last, out=places)
        np.greater(left, places, out=left.view(np.bool_))  # 1 - 0 stays
        recent[0] += left
        np.left_shift(fits, one, out=places)
        places |= one
        if h % _MOST_COUNTED == 0 or h == len(rows):
            totals += recent
            recent[:] = 0
    return totals[0], totals[1]


def base_scores(members: MapClass, traces: Traces, found: Completions) -> Floats:
    """Log likelihood (B, K) of each trace under the base of a map that makes the gold, minus that of uniform tokens."""
    config = members.config
    right, wrong = token_probabilities(config.V, config.gammas)
    others = np.minimum(found.steps + 1, traces.tokens.shape[1]) - found.right
    score = np.full(found.steps.shape, -np.inf)
    for share, q, o in zip(config.weights, right, wrong, strict=True):
        score = np.logaddexp(score, math.log(share) + _times(found.right, q * config.V) + _times(others, o * config.V))
    return score


def _times(count: Ints, chance: float) -> Floats:
    """``count`` times log ``chance``; nothing where there are none."""
    return np.asarray(count * math.log(chance) if chance > 0.0 else np.where(count > 0, -np.inf, 0.0))


def likelihoods(members: MapClass, traces: Traces, found: Completions, base: Floats, density: Floats) -> Floats:
    """Log likelihood (trials, M) of the data under the expert of each map, minus that of uniform tokens.

    ``density`` (steps + 1, ..) by pattern, ``base`` from :func:`base_scores`; -inf where the expert never does it.
    """
    with np.errstate(divide="ignore"):
        log_density = np.log(density)
    never = found.steps >= traces.tokens.shape[1]
    row = np.where(never, len(density) - 1, found.steps)
    return members.summed(base + log_density[row, members.pattern[traces.prompts]], traces)


def disagreements(members: MapClass, traces: Traces, found: Completions) -> Floats:
    """Number (trials, M) of labels, a step a label, that each map has wrong."""
    true = np.take_along_axis(found.steps, members.truth[traces.prompts][:, None], axis=1)
    return members.summed(np.abs(found.steps - true).astype(np.float64), traces)


def best_maps(scores: Floats) -> Floats:
    """The law (.., M) of a map of the largest score, ties at random; all tie if every score is -inf."""
    best = scores.max(axis=-1, keepdims=True)
    slack = _TIE * np.maximum(1.0, np.abs(best))
    ties = np.where(np.isfinite(best), scores >= best - np.where(np.isfinite(best), slack, 0.0), True)
    return np.asarray(ties / ties.sum(axis=-1, keepdims=True))
