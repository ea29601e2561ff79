r"""Codebook and parity as token MDPs: the first token reveals the return, the rest of the trace waits for it.

Base law of the return R with values :math:`r_0<..<r_{m-1}`, symmetric about its mean; |V| = m. On a prompt where the
truth's sign is +1 the first token a means return :math:`r_a`, where it is -1 the mirrored :math:`r_{m-1-a}`; whatever
tokens follow, the one at :math:`T=H-R+1` is the first to be rewarded. Prompts are sign patterns:

* ``codebook``: :math:`x\in\{\pm1\}^M`, hypothesis j has the sign :math:`x_j`;
* ``parity``: :math:`x\in\{0,1\}^k`, M = 2^k, hypothesis j has the sign :math:`(-1)^{\langle j,x\rangle}`.

Expert j is :math:`\pi_b(1+\varepsilon s_j(x)f(a))` on the first token, f the standardised return.

States: i W for prompt i, then i W + 1 + d where d tokens are left before the first rewarded one, and i W + W - 1 where
none ever is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.mdp import TokenMDP
from sim.tasks.token_task import TokenTask, drawn_prompts, require_number, require_whole
from theory.laws import ReturnLaw, symmetric_two_point, two_point, uniform

__all__ = ["TokenCodebook", "TokenParity"]

Floats = NDArray[np.float64]

LAWS = ("two-point", "symmetric-two-point", "uniform")
MAX_BITS, MAX_HORIZON, MAX_PROMPTS = 6, 100_000, 2**16


@dataclass(frozen=True)
class _Mirrored:
    """What both have: M = 2^k hypotheses, a base law, the truth's number."""

    k: int = 4
    H: int = 64
    law: str = "two-point"
    s: float = 0.5
    truth: int = 0

    def __post_init__(self) -> None:
        """Checks every field."""
        require_whole("k", self.k, 1, MAX_BITS)
        require_whole("H", self.H, 1, MAX_HORIZON)
        require_whole("truth", self.truth, 0, self.M - 1)
        require_number("s", self.s, 0.0, 0.5, above=True)
        if self.law not in LAWS:
            raise ValueError(f"law = {self.law}: expected one of {', '.join(LAWS)}")
        if self.law != "symmetric-two-point" and self.s != 0.5:
            raise ValueError(f"s = {self.s:g}: only law symmetric-two-point takes a spread, {self.law} has its own")
        values = self.return_law.values
        if not np.array_equal(values, np.rint(values)):
            raise ValueError(f"s = {self.s:g}: returns {values[0]:g} and {values[-1]:g}, expected whole tokens")

    @property
    def M(self) -> int:
        """Number of hypotheses."""
        return int(2**self.k)

    @cached_property
    def return_law(self) -> ReturnLaw:
        """Base law of the return, tokens."""
        if self.law == "two-point":
            return two_point(self.H)
        return symmetric_two_point(self.H, self.s) if self.law == "symmetric-two-point" else uniform(self.H)

    @cached_property
    def signs(self) -> NDArray[np.int64]:
        """s_j(x) = +-1, (X, M); every prompt has probability 1/X."""
        raise NotImplementedError

    @property
    def _width(self) -> int:
        """W, the number of states of a prompt."""
        values = self.return_law.values
        return 3 + max(self.H - 1 - int(values[values > 0].min()), 0)

    def build(self) -> TokenTask:
        """The process and the base policy, the same on every prompt."""
        values, width = self.return_law.values.astype(np.int64), self._width
        count, size = len(self.signs), values.size
        returned = np.where(self.signs[:, self.truth, None] > 0, values, values[::-1])
        after = np.tile(np.arange(width), (count, size, 1)).swapaxes(1, 2) - 1  # d falls by one
        after[:, 1] = 1
        after[:, -1] = width - 1
        after[:, 0] = np.where(returned > 0, 1 + np.maximum(self.H - 1 - returned, 0), width - 1)
        rewards = np.zeros((count, width, size))
        rewards[:, 0] = returned == self.H
        rewards[:, 1] = 1.0
        start = np.zeros((count, width))
        start[:, 0] = 1.0 / count
        moves = np.arange(count)[:, None, None] * width + after
        shape = (count * width, size)
        mdp = TokenMDP.of(start.ravel(), moves.reshape(shape), rewards.reshape(shape), self.H)
        return TokenTask.of(mdp, self._policy(self.return_law.probabilities))

    def _policy(self, first: Floats) -> Floats:
        """A law of the first token, (m,) or (X, m), and any token later."""
        count, size = len(self.signs), self.return_law.values.size
        table = np.full((count, self._width, size), 1.0 / size)
        table[:, 0] = first
        return table.reshape(-1, size)

    def expert(self, epsilon: float, hypothesis: int | None = None) -> Floats:
        """pi_b(1 + epsilon s_j f) for hypothesis j (default: the truth), (S, A).

        Raises ``ValueError`` where it would be truncated, or there is no such hypothesis.
        """
        law = self.return_law
        number = self.truth if hypothesis is None else hypothesis
        require_whole("hypothesis", number, 0, self.M - 1)
        require_number("epsilon", epsilon, 0.0, law.max_epsilon * (1.0 + 1e-12))
        tilt = epsilon * self.signs[:, number, None] * law.standardised
        return self._policy(law.probabilities * np.maximum(1.0 + tilt, 0.0))


@dataclass(frozen=True)
class TokenCodebook(_Mirrored):
    """Random codebook, M = 2^k: ``prompts`` of the 2^M sign patterns, drawn (all, if that many).

    Raises ``ValueError`` with one line on a field out of range.
    """

    prompts: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks every field."""
        super().__post_init__()
        require_whole("prompts", self.prompts, 1, min(MAX_PROMPTS, 2**self.M))
        require_whole("seed", self.seed, 0, 2**63 - 1)

    @cached_property
    def signs(self) -> NDArray[np.int64]:
        """s_j(x) = x_j, (X, M)."""
        return 1 - 2 * drawn_prompts(2, self.M, self.prompts, self.seed)


@dataclass(frozen=True)
class TokenParity(_Mirrored):
    """Parity codebook, all 2^k prompts. Raises ``ValueError`` with one line on a field out of range."""

    @cached_property
    def signs(self) -> NDArray[np.int64]:
        """s_j(x) = (-1)^<j,x>, (X, M)."""
        index = np.arange(self.M, dtype=np.uint32)
        return np.asarray(1 - 2 * (np.bitwise_count(index[:, None] & index).astype(np.int64) & 1))
