r"""A token MDP with its base policy and prompts: what every task of the automaton kind builds.

A prompt is a first state, or several: where the base draws something per trace that no learner sees (the gamma of the
planted task), prompt x has one first state for each of its values, and its laws are the mixtures over them. A density
that depends on the trace only, such as the :math:`\chi^2` expert's :math:`w_x(T)`, is then applied by drawing the
hidden value with probability proportional to its share times :math:`E_b[w_x(T)|\text{value}]` and going on with the
policy reweighted from there.

Everything exact comes from :mod:`sim.dynamic_programming`; NumPy on the host.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.ball_expert import BallExpert, averaged_ball_expert, ball_expert, expert_policy, return_laws
from sim.dynamic_programming import evaluate, solve_time_law
from sim.mdp import TokenMDP, checked_policy, returns
from theory.laws import ReturnLaw

__all__ = ["TokenTask", "different", "drawn_prompts", "require_number", "require_whole", "source", "uniforms"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class TokenTask:
    """A process, the base policy on it, and to which of the X prompts each of its F first states belongs."""

    mdp: TokenMDP
    base: Floats  # (S, A) or (steps, S, A)
    prompt: NDArray[np.int32]  # (F,) in the order of mdp.prompts

    @classmethod
    def of(cls, mdp: TokenMDP, base: ArrayLike, prompt: ArrayLike | None = None) -> TokenTask:
        """Checked task; ``prompt`` (F,) is not given where every first state is a prompt.

        Raises ``ValueError`` unless ``base`` is a policy and ``prompt`` names 0..X-1, each at least once.
        """
        count = len(mdp.prompts)
        owner = np.asarray(np.arange(count) if prompt is None else prompt)
        if owner.shape != (count,) or not np.array_equal(np.unique(owner), np.arange(owner.max() + 1)):
            raise ValueError(f"prompt: expected one of 0..X-1 for each of {count} first states, none of them left out")
        return cls(mdp, checked_policy(mdp, base), owner.astype(np.int32))

    @property
    def horizon(self) -> int:
        """H, tokens."""
        return int(self.mdp.horizon)

    @property
    def weights(self) -> Floats:
        """Probabilities of the prompts, (X,)."""
        return np.asarray(np.bincount(self.prompt, np.asarray(self.mdp.weights)), dtype=np.float64)

    @property
    def shares(self) -> Floats:
        """P(first state | prompt), (F, X)."""
        joint = np.zeros((self.prompt.size, int(self.prompt.max()) + 1))
        joint[np.arange(self.prompt.size), self.prompt] = self.mdp.weights
        return np.asarray(joint / joint.sum(axis=0))

    def at(self, horizon: int) -> TokenTask:
        """The task stopped after ``horizon`` tokens. Raises ``ValueError`` unless 1 <= horizon <= steps."""
        return dataclasses.replace(self, mdp=self.mdp.at(horizon))

    def law(self) -> Floats:
        """P(T = t | x) for t = 1..steps and, last, of never, (steps + 1, X)."""
        with jax.enable_x64(True):
            by_state = np.asarray(solve_time_law(self.mdp, self.base))
        return np.asarray(by_state @ self.shares)

    def return_laws(self) -> list[ReturnLaw]:
        """Law of the return of every prompt."""
        return return_laws(self.law(), returns(self.mdp))

    def moments(self) -> tuple[Floats, Floats]:
        """Mean and variance of the return given x, (X,) each: by backward induction, not from the law."""
        with jax.enable_x64(True):
            found = evaluate(self.mdp, self.base)
            mean, variance = np.asarray(found.mean), np.asarray(found.variance)
        centre = mean @ self.shares
        return centre, (variance + (mean - centre[self.prompt]) ** 2) @ self.shares

    @property
    def value(self) -> float:
        """J of the base, tokens."""
        return float(self.weights @ self.moments()[0])

    @property
    def heterogeneity(self) -> float:
        """Root of E_x Var(R|x), tokens."""
        return math.sqrt(float(self.weights @ self.moments()[1]))

    def ball(self, kappa: float, averaged: bool = False) -> BallExpert:
        """The best law over solve times in the ball of radius kappa, of every prompt or ``averaged`` over them."""
        law, gains = self.law(), returns(self.mdp)
        return averaged_ball_expert(law, gains, self.weights, kappa) if averaged else ball_expert(law, gains, kappa)

    def expert(self, kappa: float, averaged: bool = False) -> TokenTask:
        """The task of the ball's best policy: its ``base`` is that policy, hidden values drawn as it draws them.

        Raises ``ValueError`` if kappa < 0, transitions are random, or two first states lead to one state.
        """
        return self.reweighted(self.ball(kappa, averaged).weights)

    def reweighted(self, weights: Floats) -> TokenTask:
        """The task whose traces have density ``weights`` (steps + 1, X) of T and x with respect to this one's.

        Raises ``ValueError`` if transitions are random, or two first states lead to one state.
        """
        density = weights[:, self.prompt]
        with jax.enable_x64(True):
            mass = (np.asarray(solve_time_law(self.mdp, self.base)) * density).sum(axis=0)
        drawn = np.asarray(self.mdp.weights) * mass
        mdp = dataclasses.replace(self.mdp, weights=drawn / drawn.sum())
        return TokenTask(mdp, checked_policy(mdp, expert_policy(self.mdp, self.base, density)), self.prompt)


def require_whole(name: str, value: int, low: int, high: int) -> None:
    """Raises ``ValueError`` with one line unless ``value`` is a whole number in low..high."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise ValueError(f"{name} = {value}: expected a whole number in {low}..{high}")


def require_number(name: str, value: float, low: float, high: float, above: bool = False) -> None:
    """Raises ``ValueError`` with one line unless low <= ``value`` <= high (``above``: low < value)."""
    if not low <= value <= high or (above and value == low):
        raise ValueError(f"{name} = {value:g}: expected a number in {'(' if above else '['}{low:g}, {high:g}]")


def source(seed: int, stream: int) -> np.random.Philox:
    """The random words of a key, (seed, stream): the same ones in every release, and none to compile for."""
    return np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))


def uniforms(words: np.random.Philox, *shape: int) -> Floats:
    """The next numbers in (0, 1), 53 bits each."""
    raw = np.asarray(words.random_raw(math.prod(shape)), dtype=np.uint64).reshape(shape)
    return ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def drawn_prompts(letters: int, length: int, count: int, seed: int) -> NDArray[np.int64]:
    """``count`` different words (count, length) over 0..letters-1, uniformly; all of them, in order, if that many.

    Raises ``ValueError`` if there are fewer.
    """
    total = letters**length
    if count > total:
        raise ValueError(f"prompts = {count}: expected at most {letters}^{length} = {total}")
    if count == total:
        powers = letters ** np.arange(length - 1, -1, -1)
        return np.asarray(np.arange(total)[:, None] // powers % letters)
    words = source(seed, 0)
    return different(lambda: (letters * uniforms(words, 2 * count, length)).astype(np.int64), count)


def different(draw: Callable[[], NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """The first ``count`` different rows of what ``draw`` gives, called as often as it takes."""
    rows: dict[tuple[int, ...], None] = {}
    while len(rows) < count:
        rows.update(dict.fromkeys(map(tuple, draw().tolist())))
    return np.array(list(rows)[:count], dtype=np.int64)
