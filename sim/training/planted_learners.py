r"""What every pick of a map comes to on the planted task: values of all maps for all learners, exactly.

``vf-class-mle`` and ``vf-rejection`` play the picked map's policy, the base of that map reweighted by a density of its
solve time (the expert of the ball; the base given solved). ``vb-erm-*`` play the true base reweighted by a density of
the picked map's solve time (:data:`PLAYS`). A map's value is the mean over prompts of a number that the joint pattern
of its gold and the true one has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
from numpy.typing import NDArray

from sim.ball_expert import BallExpert, ball_expert, return_laws
from sim.tasks.planted import Planted
from sim.training.best_of_n import best_of_n_density
from sim.training.planted_class import (
    Completions,
    MapClass,
    Traces,
    base_scores,
    best_maps,
    completions,
    disagreements,
    likelihoods,
)
from sim.training.top_c import top_c_density

__all__ = ["CLASS_LEARNERS", "PlantedLearners"]

Floats = NDArray[np.float64]

_CLONES = ("vf-class-mle", "vf-rejection")
_SEARCHES = ("vb-erm-ball", "vb-erm-top-c", "vb-erm-best-of-n")
#: Learners of this module.
CLASS_LEARNERS = (*_CLONES, *_SEARCHES)


@dataclass(frozen=True, eq=False)
class PlantedLearners:
    """The learners at horizon ``H``, in tables of ``steps`` >= H rows, for the ball of radius ``kappa``.

    Top-c keeps the mass :attr:`c`, best-of-N draws ``N``.
    """

    members: MapClass
    H: int
    steps: int
    kappa: float
    N: int

    @property
    def config(self) -> Planted:
        """The task, whose own horizon is not used."""
        return self.members.config

    @cached_property
    def returns(self) -> Floats:
        """R by row, (steps + 1,), tokens."""
        return np.maximum(float(self.H) - np.append(np.arange(self.steps, dtype=np.float64), np.inf), 0.0)

    @cached_property
    def laws(self) -> Floats:
        """Law (steps + 1, ..) of the solve time by pattern."""
        return self.members.laws(self.H, self.steps)

    @cached_property
    def expert(self) -> BallExpert:
        """The best policy of the ball, by pattern."""
        return ball_expert(self.laws, self.returns, self.kappa)

    @cached_property
    def given_solved(self) -> Floats:
        """Density (steps + 1, ..) of the base given solved, by pattern; 1 where it never solves."""
        solved = 1.0 - self.laws[-1]
        inside = np.where(np.isfinite(self.returns) & (self.returns > 0.0), 1.0, 0.0)[:, None]
        return np.where(solved > 0.0, inside / np.where(solved > 0.0, solved, 1.0), 1.0)

    @cached_property
    def own(self) -> NDArray[np.int64]:
        """Pattern of the true gold of each prompt, (X,)."""
        return self.members.pattern[np.arange(len(self.members.truth)), self.members.truth]

    @cached_property
    def moments(self) -> tuple[float, float]:
        """J of the base and the root of E_x Var(R|x), tokens."""
        return self._moments(self.laws)

    @cached_property
    def expert_moments(self) -> tuple[float, float]:
        """J of the ball's best policy and sigma_e, the root of E_x Var(R|x), tokens."""
        return self._moments(self.expert.law)

    @cached_property
    def solved_moments(self) -> tuple[float, float]:
        """The same of the base given solved."""
        return self._moments(self.laws * self.given_solved)

    def _moments(self, laws: Floats) -> tuple[float, float]:
        mean = self.returns @ laws
        variance = ((self.returns[:, None] - mean) ** 2 * laws).sum(axis=0)
        return float(mean[self.own].mean()), math.sqrt(float(variance[self.own].mean()))

    @cached_property
    def radius(self) -> float:
        """Largest root of kappa_x."""
        return math.sqrt(float(self.expert.divergence[self.own].max()))

    @cached_property
    def c(self) -> float:
        """Least c_x at the root of kappa_x, over the prompts; 0 where no return reaches that far."""
        laws = return_laws(self.laws[:, self.own], self.returns)
        return min(
            law.anti_concentration(math.sqrt(float(kappa)))
            for law, kappa in zip(laws, self.expert.divergence[self.own], strict=True)
        )

    @cached_property
    def kept(self) -> float:
        """Mass that top-c keeps: :attr:`c`; 1/(1 + kappa), the most that Cantelli allows, where that is 0."""
        return self.c if self.c > 0.0 else 1.0 / (1.0 + self.kappa)

    @cached_property
    def _declared(self) -> tuple[Floats, Floats]:
        found = self.members.pairs("truth").declared(self.H, self.steps)
        return found.law, found.error

    @cached_property
    def values(self) -> dict[str, Floats]:
        """J (M,) of every map picked, by learner, tokens."""
        other = self.members.other_pattern
        clones = np.stack([self.expert.weights[:, other], self.given_solved[:, other]], axis=-1)
        law = self._declared[0]
        with jax.enable_x64(True):
            searches = [
                ball_expert(law, self.returns, self.kappa).weights,
                np.asarray(top_c_density(law, self.kept)),
                np.asarray(best_of_n_density(law, float(self.N))),
            ]
        played = {
            **dict(zip(_CLONES, self._played("other", clones), strict=True)),
            **dict(zip(_SEARCHES, self._played("truth", np.stack(searches, axis=-1)), strict=True)),
        }
        return {name: self.members.of_maps(value) for name, value in played.items()}

    def _played(self, base: str, density: Floats) -> Floats:
        """Mean return (C, P) of each density."""
        return np.asarray(np.einsum("t,tpc->cp", self.returns, self.members.pairs(base).searched(density, self.H)))

    @cached_property
    def errors(self) -> Floats:
        """E_x E_b|R_j - R| (M,) of every map, tokens."""
        return self.members.of_maps(self._declared[1])

    def cloned(self, traces: Traces) -> Floats:
        """Law (trials, M) of the map that ``vf-class-mle`` picks from traces of the expert."""
        found = completions(self.members, traces)
        base = base_scores(self.members, traces, found)
        return best_maps(likelihoods(self.members, traces, found, base, self.expert.weights))

    def rejected(self, traces: Traces, found: Completions) -> Floats:
        """Law (trials, M) of the map that ``vf-rejection`` picks: those base traces that are solved are cloned."""
        solved = self.true_steps(traces, found) < traces.tokens.shape[1]
        kept = Traces(traces.tokens[solved], traces.prompts[solved], traces.trials[solved], traces.sets)
        read = Completions(found.steps[solved], found.right[solved])
        base = base_scores(self.members, kept, read)
        return best_maps(likelihoods(self.members, kept, read, base, self.given_solved))

    def verified(self, traces: Traces, found: Completions) -> Floats:
        """Law (trials, M) of the map whose verifier ``vb-erm-*`` search with, from labelled base traces."""
        return best_maps(-disagreements(self.members, traces, found))

    def true_steps(self, traces: Traces, found: Completions) -> NDArray[np.int64]:
        """Row of the true solve time, (B,)."""
        return np.asarray(found.steps[np.arange(len(traces.prompts)), self.members.truth[traces.prompts]])
