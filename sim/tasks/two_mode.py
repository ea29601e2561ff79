r"""Two modes: a short and a long correct solution of one prompt.

Two words over |V| tokens; a trace solves at the token that completes either. The longest prefix of either word that
ends what was emitted is the state (Aho-Corasick; none is the root). At the root the base emits the first token of the
short word with probability ``enter_short``, of the long one with ``enter_long``, of the others each equally often.
Inside a word it goes on with probability ``keep_short`` or ``keep_long``, every other token equally often. Without
``retries`` the first token that leaves a word, or enters none, ends all hope.

Both solve: the return differs only by how early. With certain words (keep = 1), no retries or r the chance that a token
at the root enters neither, the law of T is

* without retries :math:`P(T=\ell)=p`, for (length, enter) of each word;
* with them :math:`P(T=t)=p_{short}r^{t-\ell_{short}}+p_{long}r^{t-\ell_{long}}`, terms with a negative power left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.mdp import TokenMDP
from sim.tasks.token_task import TokenTask, require_number, require_whole

__all__ = ["TwoMode"]

Floats = NDArray[np.float64]

MAX_TOKENS, MAX_LENGTH, MAX_HORIZON = 10_000, 256, 100_000


@dataclass(frozen=True)
class TwoMode:
    """Words of ``short`` and ``long`` tokens, all different: the short word is 0..short-1, the long one follows it.

    Raises ``ValueError`` with one line on a field out of range.
    """

    V: int = 12
    H: int = 64
    short: int = 2
    long: int = 8
    enter_short: float = 0.05
    enter_long: float = 0.4
    keep_short: float = 0.9
    keep_long: float = 0.9
    retries: bool = True

    def __post_init__(self) -> None:
        """Checks every field."""
        require_whole("V", self.V, 3, MAX_TOKENS)
        require_whole("H", self.H, 1, MAX_HORIZON)
        require_whole("long", self.long, 2, MAX_LENGTH)
        require_whole("short", self.short, 1, self.long - 1)
        if self.short + self.long >= self.V:
            raise ValueError(f"V = {self.V}: expected more than short + long = {self.short + self.long} tokens")
        for name in ("enter_short", "enter_long", "keep_short", "keep_long"):
            require_number(name, getattr(self, name), 0.0, 1.0)
        if self.enter_short + self.enter_long > 1.0:
            raise ValueError(f"enter_long = {self.enter_long:g}: expected at most 1 - enter_short")
        if not isinstance(self.retries, bool):
            raise ValueError(f"retries = {self.retries}: expected True or False")

    @property
    def golds(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The two words."""
        return tuple(range(self.short)), tuple(range(self.short, self.short + self.long))

    def build(self) -> TokenTask:
        """The process and the base policy.

        State 0 is the root, 1..short-1 are inside the short word, the next long-1 inside the long one, then lost (all
        hope is ended) and, last, solved.
        """
        inside = self.short + self.long - 2
        lost, solved = inside + 1, inside + 2
        states = inside + 3
        moves = np.full((states, self.V), 0 if self.retries else lost)
        rewards, base = np.zeros((states, self.V)), np.full((states, self.V), 1.0 / self.V)
        enter = (self.enter_short, self.enter_long)
        base[0] = (1.0 - sum(enter)) / (self.V - 2)
        roots = []
        for word, place, chance, keep in zip(
            self.golds, (1, self.short), enter, (self.keep_short, self.keep_long), strict=True
        ):
            path = [0, *range(place, place + len(word) - 1), solved]
            roots.append((word[0], path[1]))
            moves[path[:-1], word] = path[1:]
            rewards[path[-2], word[-1]] = 1.0
            base[0, word[0]] = chance
            base[path[1:-1]] = (1.0 - keep) / (self.V - 1)
            base[path[1:-1], word[1:]] = keep
        if self.retries:
            for token, after in roots:  # a first token enters its word from anywhere
                moves[1 : inside + 1, token] = after
                rewards[1 : inside + 1, token] = after == solved
        moves[lost], moves[solved] = lost, solved
        rewards[solved] = 1.0
        start = np.zeros(states)
        start[0] = 1.0
        return TokenTask.of(TokenMDP.of(start, moves, rewards, self.H), base)

    def closed_form(self) -> Floats:
        """P(T = t) for t = 1..H and, last, of never, (H + 1,).

        Raises ``ValueError`` where there is none: with retries, words that may be left.
        """
        words = ((self.enter_short, self.keep_short, self.short), (self.enter_long, self.keep_long, self.long))
        t, masses = np.arange(1, self.H + 1), np.zeros(self.H)
        neither = max(1.0 - self.enter_short - self.enter_long, 0.0)
        for enter, keep, length in words:
            if not self.retries:
                masses[length - 1 : length] += enter * keep ** (length - 1)
            elif keep < 1.0 and length > 1:
                raise ValueError(f"keep_short = {self.keep_short:g}, keep_long = {self.keep_long:g}: expected both 1")
            else:
                masses += np.where(t >= length, enter * neither ** np.maximum(t - length, 0), 0.0)
        return np.append(masses, max(1.0 - math.fsum(masses), 0.0))
