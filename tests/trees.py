"""Finite decision processes as named strategies, in fractions, and every path of one with its probability and rewards.

``token_trees`` are trees of tokens with bi-level rewards: transitions append, a reward stays 1 once it is 1.
``processes`` have stochastic transitions and any rewards. ``paths`` enumerates: the other side of every comparison.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from theory.heterogeneity import token_tree

Array = NDArray[Any]

_weights = st.one_of(st.integers(0, 9), st.sampled_from([0, 1, 100]))


@dataclass(frozen=True)
class Process:
    """Layers of a process as :func:`theory.heterogeneity.decompose` takes them, entries fractions and whole numbers."""

    start: Array
    policy: tuple[Array, ...]
    transitions: tuple[Array, ...]
    rewards: tuple[Array, ...]

    @property
    def horizon(self) -> int:
        """H."""
        return len(self.policy)

    @property
    def layers(self) -> tuple[Array, tuple[Array, ...], tuple[Array, ...], tuple[Array, ...]]:
        """The arguments of ``decompose``."""
        return self.start, self.policy, self.transitions, self.rewards


@dataclass(frozen=True)
class Path:
    """States s_1..s_{H+1} and actions a_1..a_H met with this ``probability``, and the rewards collected."""

    probability: Fraction
    states: tuple[int, ...]
    actions: tuple[int, ...]
    rewards: tuple[int, ...]

    def to_go(self, step: int) -> int:
        """Return from step ``step`` (counted from 0) on."""
        return sum(self.rewards[step:])


def paths(process: Process) -> list[Path]:
    """Every path of positive probability."""

    def following(step: int, state: int) -> Iterator[Path]:
        if step == process.horizon:
            yield Path(Fraction(1), (state,), (), ())
            return
        for action, chance in enumerate(process.policy[step][state]):
            for after, move in _moves(process.transitions[step], state, action):
                if chance * move:
                    reward = int(process.rewards[step][state, action])
                    for rest in following(step + 1, after):
                        yield Path(
                            chance * move * rest.probability,
                            (state, *rest.states),
                            (action, *rest.actions),
                            (reward, *rest.rewards),
                        )

    return [
        Path(p * rest.probability, rest.states, rest.actions, rest.rewards)
        for state, p in enumerate(process.start)
        if p
        for rest in following(0, state)
    ]


def _moves(kernel: Array, state: int, action: int) -> Sequence[tuple[int, Fraction]]:
    if kernel.ndim == 2:
        return [(int(kernel[state, action]), Fraction(1))]
    return list(enumerate(kernel[state, action]))


@st.composite
def laws(draw: st.DrawFn, size: int) -> list[Fraction]:
    """Probabilities on ``size`` points, some of them 0, often one of them 1."""
    if draw(st.integers(0, 3)) == 0:
        certain = draw(st.integers(0, size - 1))
        return [Fraction(int(i == certain)) for i in range(size)]
    weights = draw(st.lists(_weights, min_size=size, max_size=size).filter(any))
    return [Fraction(w, sum(weights)) for w in weights]


@st.composite
def token_trees(draw: st.DrawFn, tokens: int | None = None, horizon: int | None = None) -> Process:
    """All traces of at most four tokens over a vocabulary of at most three, with a bi-level reward and any policy."""
    width = tokens or draw(st.integers(1, 3))
    steps = horizon or draw(st.integers(1, 4))
    policy, rewards = [], []
    solved = np.zeros(1, dtype=object)  # by prefix
    for step in range(steps):
        shape = (width**step, width)
        rows = [draw(laws(width)) for _ in range(shape[0])]
        policy.append(np.array(rows, dtype=object).reshape(shape))
        now = draw(st.lists(st.integers(0, 1), min_size=width ** (step + 1), max_size=width ** (step + 1)))
        rewards.append(np.maximum(solved[:, None], np.array(now, dtype=object).reshape(shape)))
        solved = rewards[-1].reshape(-1)
    return Process(np.array([Fraction(1)], dtype=object), tuple(policy), token_tree(width, steps), tuple(rewards))


@st.composite
def processes(draw: st.DrawFn) -> Process:
    """At most three steps, three states a layer and two actions; transitions, rewards and start are any."""
    steps, width = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    sizes = draw(st.lists(st.integers(1, 3), min_size=steps + 1, max_size=steps + 1))
    policy, transitions, rewards = [], [], []
    for now, after in itertools.pairwise(sizes):
        policy.append(np.array([draw(laws(width)) for _ in range(now)], dtype=object).reshape(now, width))
        kernel = [draw(laws(after)) for _ in range(now * width)]
        transitions.append(np.array(kernel, dtype=object).reshape(now, width, after))
        drawn = draw(st.lists(st.integers(-2, 3), min_size=now * width, max_size=now * width))
        rewards.append(np.array(drawn, dtype=object).reshape(now, width))
    start = np.array(draw(laws(sizes[0])), dtype=object)
    return Process(start, tuple(policy), tuple(transitions), tuple(rewards))
