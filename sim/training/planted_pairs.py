r"""Two golds on one prompt of the planted task: the law of one's solve time where the other's reweights the base.

A whole trace of H tokens is followed, past the solve time of either gold: a map that is wrong may complete its gold
after the truth completed its own. States are those of the union of the two automata (:meth:`Planted.joint` has them),
kept apart by who has completed: nobody, the truth, the other. The base follows one of the two golds until that is
completed and then emits any token.

For a density :math:`w(T')` of the other's solve time T', one pass backward gives :math:`E[w(T')\mid\text{node}]` where
the truth came first, one forward the masses :math:`E[w(T');T=t]`: O(H) small matrix products for all pairs and
densities at once. Laws are (steps + 1, ..): rows T = 1..steps and never. NumPy on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.tasks.planted import union_automaton
from theory.planted import token_probabilities

__all__ = ["Declared", "Pairs"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Declared(NamedTuple):
    """What the other gold declares of base traces."""

    law: Floats  # (steps + 1, P) of its solve time
    error: Floats  # (P,) E|R' - R|, tokens


class _Open(NamedTuple):
    """Moves while nobody has completed: masses (P, G, N, N) by who does now, and of both at once (P, G, N)."""

    neither: Floats
    truth: Floats
    other: Floats
    both: Floats


class _Half(NamedTuple):
    """Moves while one is left: (P, G, N, N) where it does not complete now, (P, G, N) where it does."""

    stay: Floats
    leave: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """P pairs (gold of the truth, gold of the other) under the base of one of the two. Build with :meth:`of`."""

    open: _Open
    truth_left: _Half  # the other has completed
    other_left: _Half
    weights: Floats  # (G,)

    @classmethod
    def of(
        cls,
        words: Ints,
        V: int,
        gammas: Sequence[float],
        weights: Sequence[float],
        base: Literal["truth", "other"],
    ) -> Pairs:
        """``words`` (P, 2, ell); the base is the mixture of ``gammas`` that follows the gold of ``base``."""
        focus = token_probabilities(V, gammas)
        size = 2 * words.shape[2] - 1
        parts = [_moves(pair, V, focus, int(base == "other"), size) for pair in words]
        stacked = [np.stack(part) for part in zip(*parts, strict=True)]
        return cls(_Open(*stacked[:4]), _Half(*stacked[4:6]), _Half(*stacked[6:]), np.asarray(weights))

    def declared(self, H: int, steps: int) -> Declared:
        """Law of the other's solve time and the error of its return, at horizon H <= ``steps``."""
        unsolved, waiting, missed = self._start(), self._nothing(), self._nothing()
        law, error = np.zeros((steps + 1, len(unsolved))), np.zeros(len(unsolved))
        for h in range(H):
            now = _moved(unsolved, self.open.other).sum(axis=-1) + (unsolved * self.open.both).sum(axis=-1)
            law[h] = (now + (waiting * self.other_left.leave).sum(axis=-1)) @ self.weights
            waiting = _moved(waiting, self.other_left.stay) + _moved(unsolved, self.open.truth)
            missed = _moved(missed, self.truth_left.stay) + _moved(unsolved, self.open.other)
            unsolved = _moved(unsolved, self.open.neither)
            error += (waiting + missed).sum(axis=-1) @ self.weights
        law[-1] = (unsolved + waiting).sum(axis=-1) @ self.weights
        return Declared(law, error)

    def searched(self, density: Floats, H: int) -> Floats:
        """Law (steps + 1, P, C) of the truth's solve time under the base reweighted by ``density`` (steps + 1, P, C).

        Densities are functions of the step at which the other declares, with respect to the base of this object.
        """
        to_go = self._expected(density, H)
        unsolved = self._start()
        before = np.zeros((*unsolved.shape, density.shape[2]))  # weighted masses that the other has declared
        law = np.zeros_like(density)
        for h in range(H):
            first = (_moved(unsolved, self.open.truth)[..., None] * to_go[h]).sum(axis=-2)
            both = (unsolved * self.open.both).sum(axis=-1)
            later = (before * self.truth_left.leave[..., None]).sum(axis=-2)
            law[h] = np.einsum("g,pgc->pc", self.weights, first + both[..., None] * density[h][:, None, :] + later)
            said = _moved(unsolved, self.open.other)[..., None] * density[h][:, None, None, :]
            before = self.truth_left.stay.swapaxes(-1, -2) @ before + said
            unsolved = _moved(unsolved, self.open.neither)
        never = unsolved.sum(axis=-1)[..., None] * density[-1][:, None, :] + before.sum(axis=-2)
        law[-1] = np.einsum("g,pgc->pc", self.weights, never)
        return law

    def _expected(self, density: Floats, H: int) -> list[Floats]:
        """Entry h: E[w] (P, G, N, C) after step h + 1, where the truth has completed and the other has not."""
        after = np.broadcast_to(density[-1][:, None, None, :], (*self.open.both.shape, density.shape[2]))
        found = [after]
        for h in range(H - 1, 0, -1):
            after = self.other_left.stay @ after + self.other_left.leave[..., None] * density[h][:, None, None, :]
            found.append(after)
        return found[::-1]

    def _start(self) -> Floats:
        masses = np.zeros_like(self.open.both)
        masses[..., 0] = 1.0
        return masses

    def _nothing(self) -> Floats:
        return np.zeros_like(self.open.both)


def _moved(masses: Floats, matrix: Floats) -> Floats:
    """(P, G, N) times (P, G, N, N)."""
    return np.asarray((masses[..., None, :] @ matrix)[..., 0, :])


def _moves(words: Ints, V: int, focus: tuple[Floats, Floats], base: int, size: int) -> tuple[Floats, ...]:
    """The arrays of one pair, nodes filled up to ``size``: those of `_Open`, then of `_Half`, the truth left first."""
    after, matched = union_automaton(words, V)
    nodes = len(after)
    right, wrong = (x[:, None, None] for x in focus)
    gold = words[np.arange(2)[:, None], matched][..., None] == np.arange(V)  # (2, N, V)
    closes = gold & (matched == words.shape[1] - 1)[..., None]
    own = np.where(gold[base], right, wrong)  # (G, N, V)
    uniform = np.full_like(own, 1.0 / V)
    left_to_truth, left_to_other = (own if base == who else uniform for who in (0, 1))
    to = np.eye(size)[after]  # (N, V, size)

    def matrix(tokens: Floats, which: NDArray[np.bool_]) -> Floats:
        found = np.zeros((len(tokens), size, size))
        found[:, :nodes] = np.einsum("gnv,nvm->gnm", tokens * which, to)
        return found

    def mass(tokens: Floats, which: NDArray[np.bool_]) -> Floats:
        found = np.zeros((len(tokens), size))
        found[:, :nodes] = (tokens * which).sum(axis=-1)
        return found

    truth, other = closes
    return (
        matrix(own, ~truth & ~other),
        matrix(own, truth & ~other),
        matrix(own, ~truth & other),
        mass(own, truth & other),
        matrix(left_to_truth, ~truth),
        mass(left_to_truth, truth),
        matrix(left_to_other, ~other),
        mass(left_to_other, other),
    )
