r"""What is fixed before any network: prompts, levels of heterogeneity with their exact laws, and the key of every draw.

All :math:`V^\ell` words are prompts; ``held_out`` of them, drawn by the recipe's seed, are never trained on. Level i is
a mixture of two gammas of one mean return, see :func:`sim.tasks.planted.heterogeneity_dial`. The law of T on a set of
prompts is the mean of their exact laws (``planted-law``), sigma the root of :math:`E_x\mathrm{Var}(R|x)`, and the
*solved-only* law that of R given T <= H: what rejection sampling hands to cloning.

A draw's random words come from the identity of what it is drawn for: never from the order in which things run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.staged.keys import words_of
from sim.tasks.planted import Planted, heterogeneity_dial, heterogeneity_range, solve_times
from sim.tasks.planted_traces import Automata
from sim.tasks.token_task import uniforms

__all__ = ["Floats", "Ints", "Laws", "World", "returns_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def returns_of(times: Ints, H: int) -> Ints:
    """R = H - T + 1, tokens, where 1 <= T <= H; 0 where it was not solved by then (T = 0: never)."""
    return np.where((times > 0) & (times <= H), H - times + 1, 0)


class Laws(NamedTuple):
    """The laws of T on X prompts, T = 1..H, and moments of the return, tokens, prompts being equally likely."""

    by_prompt: Floats  # (X, H) P(T = t | x)
    J: float
    sigma: float  # root of E_x Var(R|x)
    solve_rate: float
    solved_mean: float  # of R given that it was solved
    solved_sigma: float  # root of the mean of Var(R|x, solved) over solved traces

    @property
    def masses(self) -> Floats:
        """P(T = t), (H,)."""
        return np.asarray(self.by_prompt.mean(axis=0))

    def concentration(self, epsilons: Sequence[float]) -> Floats:
        """E_x c_x(epsilon) for each of ``epsilons``, c_x = P(R >= mu_x + epsilon sigma_x)."""
        H = self.by_prompt.shape[1]
        gain = np.arange(H, 0.0, -1.0)
        mean = self.by_prompt @ gain
        sigma = np.sqrt(np.maximum(self.by_prompt @ gain**2 - mean**2, 0.0))
        never = 1.0 - self.by_prompt.sum(axis=1)
        found = []
        for epsilon in epsilons:
            level = mean + epsilon * sigma - 1e-9 * H
            found.append(((self.by_prompt * (gain >= level[:, None])).sum(axis=1) + never * (level <= 0.0)).mean())
        return np.array(found)

    def pooled(self, epsilons: Sequence[float]) -> Floats:
        """P(R >= J + epsilon sigma) over prompts and traces, for each of ``epsilons``."""
        H = self.by_prompt.shape[1]
        gain, never = np.arange(H, 0.0, -1.0), 1.0 - self.solve_rate
        levels = [self.J + epsilon * self.sigma - 1e-9 * H for epsilon in epsilons]
        return np.array([self.masses[gain >= level].sum() + never * (level <= 0.0) for level in levels])


@dataclass(frozen=True)
class World:
    """Prompts and levels of one recipe."""

    recipe: Recipe

    @cached_property
    def levels(self) -> tuple[Planted, ...]:
        """The task of every level at the largest horizon, over all prompts."""
        task, grid = self.recipe.task, self.recipe.grid
        centre = Planted(
            V=task.V,
            ell=task.ell,
            H=task.matched_at,
            gammas=(task.gamma,),
            family="permutations",
            M=1,
            prompts=task.V**task.ell,
            seed=self.recipe.seed,
        )
        least, most = heterogeneity_range(centre)
        sigmas = [least + share * (most - least) for share in task.levels]
        found = heterogeneity_dial(centre, sigmas)
        return tuple(dataclasses.replace(mixture, H=grid.horizons[-1]) for mixture in found)

    @cached_property
    def automata(self) -> Automata:
        """Of every prompt."""
        return Automata.of(self.levels[0])

    @property
    def words(self) -> Ints:
        """All prompts, (V^ell, ell)."""
        return self.levels[0].words

    @cached_property
    def _shuffled(self) -> Ints:
        order = uniforms(words_of(self.recipe.seed, "held out"), len(self.words))
        return np.argsort(order, kind="stable")

    @property
    def held_out(self) -> Ints:
        """Numbers of the prompts kept for evaluation."""
        return self._shuffled[: self.recipe.task.held_out]

    @property
    def train(self) -> Ints:
        """Numbers of all other prompts."""
        return self._shuffled[self.recipe.task.held_out :]

    def drawn(self, count: int, words: np.random.Philox) -> Ints:
        """``count`` training prompts, with replacement."""
        return self.train[(uniforms(words, count) * len(self.train)).astype(np.int64)]

    def solve_times(self, prompt: Ints, tokens: Ints) -> Ints:
        """T of each trace, ``tokens`` (B, H); 0 if it never solves."""
        return solve_times(tokens, self.automata.golds[prompt])

    def laws(self, level: int, H: int) -> Laws:
        """The exact law on the held-out prompts under the procedural mixture of ``level``."""
        prompts = tuple(tuple(word) for word in self.words[self.held_out].tolist())
        mixture = dataclasses.replace(self.levels[level], H=H, prompts=prompts)
        masses = np.stack([law.masses for law in mixture.solve_time_laws()])  # (X, H)
        gain = np.arange(H, 0.0, -1.0)
        solved = masses.sum(axis=1)
        first, second = masses @ gain, masses @ gain**2
        # per prompt; a prompt that never solves by H has no solved-only law
        reached = solved > 0.0
        mean = np.divide(first, solved, out=np.zeros_like(first), where=reached)
        variance = np.divide(second, solved, out=np.zeros_like(second), where=reached) - mean**2
        share = solved / solved.sum() if reached.any() else solved
        return Laws(
            by_prompt=masses,
            J=float(first.mean()),
            sigma=math.sqrt(float((second - first**2).mean())),
            solve_rate=float(solved.mean()),
            solved_mean=float(share @ mean),
            solved_sigma=math.sqrt(float(share @ np.maximum(variance, 0.0))),
        )
