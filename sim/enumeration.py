"""Every trace of a tiny token MDP, one by one in fractions: the reference for what is computed otherwise.

Shares no code with :mod:`sim.dynamic_programming`; the cost grows like (tokens x successors)^H. Probabilities are those
of the arrays, floats taken as the fractions they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.mdp import TokenMDP

__all__ = ["Trace", "chi2_by_enumeration", "expectation", "heterogeneity_by_enumeration", "traces"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trace:
    """States s_1..s_{H+1}, tokens a_1..a_H and rewards met with ``probability`` from the prompt numbered ``prompt``."""

    prompt: int
    states: tuple[int, ...]
    tokens: tuple[int, ...]
    rewards: tuple[int, ...]
    probability: Fraction

    @property
    def solve_time(self) -> int | None:
        """T, or None if the trace never solves."""
        return self.rewards.index(1) + 1 if 1 in self.rewards else None

    def to_go(self, h: int) -> int:
        """What is collected from step h (counted from 1) on, tokens."""
        return sum(self.rewards[h - 1 :])


def traces(mdp: TokenMDP, policy: Floats) -> list[Trace]:
    """Every trace of positive probability, prompt by prompt."""
    horizon = int(mdp.horizon)

    def following(h: int, state: int) -> Iterator[Trace]:
        if h == horizon:
            yield Trace(0, (state,), (), (), Fraction(1))
            return
        table, rewards = _layer(policy, h, 2), _layer(mdp.rewards, h, 2)
        for token, chance in enumerate(table[state]):
            for after, move in _moves(mdp, h, state, token):
                if chance > 0 and move > 0:
                    weight, reward = Fraction(float(chance)) * move, int(rewards[state, token])
                    for rest in following(h + 1, after):
                        yield Trace(
                            0,
                            (state, *rest.states),
                            (token, *rest.tokens),
                            (reward, *rest.rewards),
                            weight * rest.probability,
                        )

    return [
        Trace(i, t.states, t.tokens, t.rewards, t.probability)
        for i, first in enumerate(mdp.prompts)
        for t in following(0, int(first))
    ]


def expectation(found: Iterable[Trace], value: Callable[[Trace], Any]) -> list[Fraction]:
    """E[value | x] of every prompt, in order."""
    total: dict[int, Fraction] = defaultdict(Fraction)
    for trace in found:
        total[trace.prompt] += trace.probability * value(trace)
    return [total[i] for i in sorted(total)]


def chi2_by_enumeration(mdp: TokenMDP, policy: Floats, base: Floats) -> list[Fraction | float]:
    """chi^2 between the laws of traces, for every prompt; infinite where ``policy`` does what ``base`` never does."""
    under = {(t.prompt, t.states, t.tokens): t.probability for t in traces(mdp, base)}
    total: list[Fraction | float] = [Fraction(-1)] * len(mdp.prompts)
    for t in traces(mdp, policy):
        other = under.get((t.prompt, t.states, t.tokens))
        total[t.prompt] += t.probability**2 / other if other else np.inf
    return total


def heterogeneity_by_enumeration(mdp: TokenMDP, policy: Floats) -> tuple[list[Fraction], list[Fraction]]:
    """E_x E Var_a Q_h and E_x E Var_s' V_{h+1} for h = 1..H, from conditional means of what traces collect."""
    weight = [Fraction(float(w)) for w in mdp.weights]
    found = [(weight[t.prompt] * t.probability, t) for t in traces(mdp, policy)]
    by_tokens, by_transitions = [], []
    for h in range(1, int(mdp.horizon) + 1):

        def state(t: Trace, h: int = h) -> Hashable:
            return t.states[h - 1]

        def token(t: Trace, h: int = h) -> Hashable:
            return t.states[h - 1], t.tokens[h - 1]

        def after(t: Trace, h: int = h) -> Hashable:
            return t.states[h - 1], t.tokens[h - 1], t.states[h]

        def collected(t: Trace, h: int = h) -> int:
            return t.to_go(h)

        by_tokens.append(_spread(found, token, state, collected))
        by_transitions.append(_spread(found, after, token, collected))
    return by_tokens, by_transitions


def _spread(
    found: list[tuple[Fraction, Trace]],
    fine: Callable[[Trace], Hashable],
    coarse: Callable[[Trace], Hashable],
    value: Callable[[Trace], int],
) -> Fraction:
    """E (E[value | fine] - E[value | coarse])^2."""
    inside, outside = _conditional(found, fine, value), _conditional(found, coarse, value)
    return sum((p * (inside[fine(t)] - outside[coarse(t)]) ** 2 for p, t in found), Fraction(0))


def _conditional(
    found: list[tuple[Fraction, Trace]], label: Callable[[Trace], Hashable], value: Callable[[Trace], int]
) -> dict[Hashable, Fraction]:
    mass: dict[Hashable, Fraction] = defaultdict(Fraction)
    total: dict[Hashable, Fraction] = defaultdict(Fraction)
    for p, t in found:
        mass[label(t)] += p
        total[label(t)] += p * value(t)
    return {key: total[key] / mass[key] for key in mass}


def _layer(table: Any, h: int, axes: int) -> Any:
    return table if table.ndim == axes else table[h]


def _moves(mdp: TokenMDP, h: int, state: int, token: int) -> list[tuple[int, Fraction]]:
    if mdp.is_deterministic:
        return [(int(_layer(mdp.transitions, h, 2)[state, token]), Fraction(1))]
    row = _layer(mdp.transitions, h, 3)[state, token]
    return [(after, Fraction(float(p))) for after, p in enumerate(row)]
