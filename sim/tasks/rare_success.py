r"""The rare-success family (``crossover-vf-wins``) as a token MDP: the first token decides.

|V| = 1/c tokens, a prompt :math:`x\in V^M`, hypothesis j plays :math:`g_j(x)=x_j`. The truth's token is rewarded from
the first step on, R = H; after any other token nothing is. The base is uniform: :math:`\mu=Hc`,
:math:`\sigma=H\sqrt{c(1-c)}`. An outside expert plays the truth's token with probability p_e and the others equally
often; it is the best policy of the ball of radius kappa for :math:`p_e=c+\sqrt{\kappa c(1-c)}`.

State i is prompt number i, X + i that it failed, the last one solved; after the first token the base emits any.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.mdp import TokenMDP
from sim.tasks.token_task import TokenTask, drawn_prompts, require_number, require_whole

__all__ = ["RareSuccess"]

MAX_TOKENS, MAX_CLASS, MAX_PROMPTS, MAX_HORIZON = 10_000, 2**16, 2**20, 100_000


@dataclass(frozen=True)
class RareSuccess:
    """M hypotheses on V tokens, ``truth`` one of them; ``prompts`` of the V^M prompts, drawn (all, if that many).

    Raises ``ValueError`` with one line on a field out of range.
    """

    V: int = 8
    M: int = 64
    H: int = 64
    truth: int = 0
    prompts: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks every field."""
        require_whole("V", self.V, 2, MAX_TOKENS)
        require_whole("M", self.M, 1, MAX_CLASS)
        require_whole("H", self.H, 1, MAX_HORIZON)
        require_whole("truth", self.truth, 0, self.M - 1)
        require_whole("prompts", self.prompts, 1, min(MAX_PROMPTS, self.V**self.M))
        require_whole("seed", self.seed, 0, 2**63 - 1)

    @property
    def c(self) -> float:
        """Chance that the base solves a prompt."""
        return 1.0 / self.V

    @cached_property
    def words(self) -> NDArray[np.int64]:
        """Prompts (X, M): entry j is the token that hypothesis j plays. Each has probability 1/X."""
        return drawn_prompts(self.V, self.M, self.prompts, self.seed)

    def build(self) -> TokenTask:
        """The process and the uniform base."""
        count = self.prompts
        states, rows = 2 * count + 1, np.arange(count)
        moves = np.repeat(np.append(np.tile(count + rows, 2), 2 * count)[:, None], self.V, axis=1)
        rewards, base = np.zeros((states, self.V)), np.full((states, self.V), 1.0 / self.V)
        moves[rows, self.words[:, self.truth]] = 2 * count
        rewards[rows, self.words[:, self.truth]] = rewards[-1] = 1.0
        start = np.append(np.full(count, 1.0 / count), np.zeros(count + 1))
        return TokenTask.of(TokenMDP.of(start, moves, rewards, self.H), base)

    def policy(self, hypothesis: int | None = None, p_e: float = 1.0) -> NDArray[np.float64]:
        """Plays the token of ``hypothesis`` (default: the truth) with probability p_e, the others equally: (S, V).

        Raises ``ValueError`` unless 0 <= p_e <= 1 and there is such a hypothesis.
        """
        require_number("p_e", p_e, 0.0, 1.0)
        number = self.truth if hypothesis is None else hypothesis
        require_whole("hypothesis", number, 0, self.M - 1)
        table = np.full((2 * self.prompts + 1, self.V), 1.0 / self.V)
        table[: self.prompts] = (1.0 - p_e) / (self.V - 1)
        table[np.arange(self.prompts), self.words[:, number]] = p_e
        return table
