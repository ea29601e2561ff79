r"""Random layered token MDPs, Garnet-like, with a bi-level reward.

``depth`` layers of ``states`` states and one solved state for all; layer h is what is met before step h, so H = depth
and transitions and rewards depend on the step. From an unsolved state each token leads to ``branching`` states of the
next layer, drawn without replacement, with a Dirichlet(1) law (one: a deterministic move), unless the token is one
that solves, with probability ``density``, independently: it is rewarded and leads to the solved state. The base policy
is Dirichlet(``concentration``) in every state and step. Prompts are the first ``prompts`` states of layer 1, told
apart: prompt i has states i (states + 1) + 0..states, so that a policy can use x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.mdp import TokenMDP, told_apart
from sim.tasks.token_task import TokenTask, require_number, require_whole, source, uniforms

__all__ = ["RandomMDP"]

MAX_STATES, MAX_TOKENS, MAX_DEPTH = 2_000, 2_000, 100_000
#: Entries that one table may have.
MAX_TABLE = 2**26


@dataclass(frozen=True)
class RandomMDP:
    """A random layered process; everything random comes from ``seed``.

    Raises ``ValueError`` with one line on a field out of range.
    """

    states: int = 8
    tokens: int = 4
    H: int = 16
    branching: int = 1
    density: float = 0.1
    concentration: float = 1.0
    prompts: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks every field."""
        require_whole("states", self.states, 1, MAX_STATES)
        require_whole("tokens", self.tokens, 1, MAX_TOKENS)
        require_whole("H", self.H, 1, MAX_DEPTH)
        require_whole("branching", self.branching, 1, self.states)
        require_number("density", self.density, 0.0, 1.0)
        require_number("concentration", self.concentration, 1e-3, 1e6)
        require_whole("prompts", self.prompts, 1, self.states)
        require_whole("seed", self.seed, 0, 2**63 - 1)
        rows = self.prompts * (self.states + 1)
        entries = self.H * rows * self.tokens * (rows if self.branching > 1 else 1)
        if entries > MAX_TABLE:
            raise ValueError(f"H = {self.H}: a table of {entries} entries for these sizes, at most {MAX_TABLE} serve")

    def build(self) -> TokenTask:
        """The process and the base policy."""
        count = self.states + 1
        words = source(self.seed, 0)
        shape = (self.H, self.states, self.tokens)
        if self.branching == 1:
            successors = (self.states * uniforms(words, *shape, 1)).astype(np.int64)
        else:
            successors = np.argsort(uniforms(words, *shape, self.states), axis=-1)[..., : self.branching]
        laws = _dirichlet(words, 1.0, (*shape, self.branching))
        solves = uniforms(words, *shape) < self.density
        base = _dirichlet(words, self.concentration, (self.H, count, self.tokens))
        rewards = np.ones((self.H, count, self.tokens))
        rewards[:, :-1] = solves
        moves: NDArray[Any]
        if self.branching == 1:
            moves = np.full((self.H, count, self.tokens), self.states, dtype=np.int64)
            moves[:, :-1] = np.where(solves, self.states, successors[..., 0])
        else:
            moves = np.zeros((self.H, count, self.tokens, count))
            np.put_along_axis(moves[:, :-1], successors, np.where(solves[..., None], 0.0, laws), axis=3)
            moves[:, :-1, :, -1] = solves
            moves[:, -1, :, -1] = 1.0
        start = np.zeros(count)
        start[: self.prompts] = 1.0 / self.prompts
        mdp = told_apart(TokenMDP.of(start, moves, rewards, self.H))
        return TokenTask.of(mdp, np.tile(base, (1, self.prompts, 1)))


def _dirichlet(words: np.random.Philox, concentration: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Dirichlet laws on the last axis, from gammas by inversion: G(a) = G(a + 1) U^(1/a), in logarithms."""
    from scipy.special import gammaincinv, softmax

    wider, power = uniforms(words, 2, *shape)
    found = softmax(np.log(gammaincinv(concentration + 1.0, wider)) + np.log(power) / concentration, axis=-1)
    return np.asarray(found, dtype=np.float64)
