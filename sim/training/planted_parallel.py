r"""Parallel traces of the planted task, the best kept by a verifier: the chance that it solved, at many lengths.

A verifier is the gold of a map: it declares a trace solved at the step D that completes this gold, in a trace that
follows the true one and goes on after either is completed (:mod:`sim.training.planted_pairs`). Of N traces of h tokens
one of least D is kept, ties at random, any one if none is declared. With :math:`A_t=P(D\le t)` it is solved with
probability

.. math:: \sum_{t\le h}\frac{(1-A_{t-1})^N-(1-A_t)^N}{P(D=t)}\,P(D=t,T\le h)+(1-A_h)^N\,P(T\le h\mid D>h).

With u(t) the masses, by node, of traces declared at t and not solved by then, and G_m(node) the chance of being solved
at most m tokens later, :math:`P(D=t,T\le h)=P(D=t,T\le t)+u(t)\cdot G_{h-t}`: one pass for u, one for G, and a sum for
each length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.training.planted_pairs import Pairs

__all__ = ["Declarations"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Declarations:
    """Of P pairs of golds, within h tokens. Build with :meth:`of`."""

    law: Floats  # (h, P) P(D = t), t = 1..h
    solved: Floats  # (h, P) P(D = t, T <= h)
    never: Floats  # (P,) P(D > h)
    unseen: Floats  # (P,) P(D > h, T <= h)

    @classmethod
    def of(cls, pairs: Pairs, lengths: Sequence[int]) -> list[Declarations]:
        """For each of the increasing ``lengths``, tokens. The largest is the number of small matrix products."""
        reached = pairs.open.other.sum(axis=-2) > 0.0  # (P, G, N): where a trace may be when it is declared
        places = np.argsort(~reached, axis=-1, kind="stable")[..., : int(reached.sum(axis=-1).max())]
        flows = _flows(pairs, places, lengths)
        later = _later(pairs, places, lengths[-1])
        found = []
        for h, (open_mass, waiting) in zip(lengths, flows.left, strict=True):
            at_once, met = flows.at_once[:h], flows.met[:h]
            after = (met * later[:h][::-1]).sum(axis=(2, 3))
            found.append(cls(at_once + met.sum(axis=(2, 3)), at_once + after, open_mass + waiting, waiting))
        return found

    @property
    def error(self) -> Floats:
        """P(exactly one of D <= h, T <= h), (P,)."""
        return np.asarray((self.law - self.solved).sum(axis=0) + self.unseen)

    def kept(self, N: int) -> Floats:
        """P(the kept one of ``N`` traces is solved), (P,)."""
        reached = np.minimum(np.cumsum(self.law, axis=0), 1.0)
        with np.errstate(divide="ignore"):
            none = np.exp(N * np.log1p(-reached))
        first = np.concatenate([np.ones_like(none[:1]), none[:-1]]) - none
        told = np.where(self.law > 0.0, self.solved / np.where(self.law > 0.0, self.law, 1.0), 0.0)
        untold = np.where(self.never > 0.0, self.unseen / np.where(self.never > 0.0, self.never, 1.0), 0.0)
        return np.asarray((first * told).sum(axis=0) + none[-1] * untold)


@dataclass(frozen=True, slots=True)
class _Flows:
    at_once: Floats  # (t, P) declared now, solved now or before
    met: Floats  # (t, P, G, R) declared now, not solved, by where the trace is
    left: list[tuple[Floats, Floats]]  # after each length: masses (P,) that nobody, or the truth only, has completed


def _flows(pairs: Pairs, places: NDArray[np.int64], lengths: Sequence[int]) -> _Flows:
    open_, half, size = pairs.open, pairs.other_left, pairs.open.both.shape[-1]
    states = np.zeros((*open_.both.shape[:2], 1, 2 * size))  # nobody has completed; then the truth only
    states[..., 0] = pairs.weights[:, None]
    nothing = np.zeros_like(open_.neither)
    moves = np.block([[open_.neither, open_.truth], [nothing, half.stay]])
    into = np.take_along_axis(open_.other, places[..., None, :], axis=-1)
    into = np.concatenate([into, np.zeros_like(into)], axis=-2)
    out = np.concatenate([into, np.concatenate([open_.both, half.leave], axis=-1)[..., None]], axis=-1)
    passed = np.zeros((lengths[-1], *out.shape[:2], out.shape[-1]))
    left = []
    for t in range(lengths[-1]):
        passed[t] = (states @ out)[..., 0, :]
        states = states @ moves
        if t + 1 in lengths:
            mass = states.reshape(*states.shape[:2], 2, size).sum(axis=(1, 3))
            left.append((mass[:, 0], mass[:, 1]))
    return _Flows(passed[..., -1].sum(axis=-1), passed[..., :-1], left)


def _later(pairs: Pairs, places: NDArray[np.int64], longest: int) -> Floats:
    """Chance of being solved at most m = 0..longest - 1 tokens later, by place, (longest, P, G, R)."""
    found = np.zeros((longest, *places.shape))
    chance = np.zeros_like(pairs.truth_left.leave)[..., None]
    for m in range(1, longest):
        chance = pairs.truth_left.stay @ chance + pairs.truth_left.leave[..., None]
        found[m] = np.take_along_axis(chance[..., 0], places, axis=-1)
    return found
