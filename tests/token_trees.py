"""Token MDPs whose states are what was written so far: every set of solving prefixes is a bi-level reward."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.ball_expert import ball_expert, expert_policy
from sim.dynamic_programming import solve_time_law
from sim.mdp import TokenMDP, returns
from sim.training.data import Data

Floats = NDArray[np.float64]


def tree(rng: np.random.Generator, tokens: int = 2, H: int = 3, prompts: int = 2, solving: float = 0.3) -> TokenMDP:
    """A random reward on the full tree of ``tokens`` ** H traces of each prompt."""
    size = sum(tokens**h for h in range(H))
    kernel = np.zeros((prompts, size, tokens), dtype=int)
    for s in range(size):
        for a in range(tokens):
            child = s * tokens + 1 + a
            kernel[:, s, a] = np.arange(prompts) * size + (child if child < size else 0)
    start = np.zeros(prompts * size)
    start[np.arange(prompts) * size] = rng.dirichlet(np.full(prompts, 5.0))
    flat = kernel.reshape(-1, tokens)
    return TokenMDP.of(start, flat, tree_reward(rng, flat, size, solving), H)


def tree_reward(rng: np.random.Generator, kernel: NDArray[np.int64], size: int, solving: float) -> Floats:
    """1 from a random set of prefixes on."""
    reward = (rng.random(kernel.shape) < solving).astype(float)
    for s in range(len(kernel)):  # parents come first
        for a, after in enumerate(kernel[s]):
            if after > s and reward[s, a]:
                reward[after] = 1.0
    return reward


def tree_rewards(rng: np.random.Generator, mdp: TokenMDP, count: int, solving: float = 0.3) -> Floats:
    """The true reward and ``count`` - 1 others, (count, S, A)."""
    kernel = np.asarray(mdp.transitions)
    size = len(kernel) // len(mdp.prompts)
    others = [tree_reward(rng, kernel, size, solving) for _ in range(count - 1)]
    return np.stack([np.asarray(mdp.rewards), *others])


def random_base(rng: np.random.Generator, mdp: TokenMDP) -> Floats:
    """A policy of full support."""
    return rng.dirichlet(np.full(mdp.tokens, 3.0), size=mdp.states)


def ball_policies(mdp: TokenMDP, base: Floats, rewards: Floats, kappa: float) -> Floats:
    """The best policy of the ball for each of ``rewards``, (M, S, A); a state of a tree tells its step."""
    found = []
    for reward in rewards:
        here = dataclasses.replace(mdp, rewards=reward)
        weights = ball_expert(np.asarray(solve_time_law(here, base)), returns(here), kappa).weights
        found.append(flattened(here, expert_policy(here, base, weights)))
    return np.stack(found)


def depths(mdp: TokenMDP) -> NDArray[np.int64]:
    """Step at which a state of a tree is met, counted from 0."""
    size = mdp.states // len(mdp.prompts)
    first = np.cumsum([0] + [mdp.tokens**h for h in range(mdp.steps)])
    return np.searchsorted(first, np.arange(mdp.states) % size, side="right") - 1


def flattened(mdp: TokenMDP, policy: Floats) -> Floats:
    """A policy by step as one by state."""
    return policy[depths(mdp), np.arange(mdp.states)]


def data_of(found: list[Any], steps: int) -> Data:
    """Traces of :mod:`sim.enumeration` as rows."""
    states = np.array([t.states[:steps] for t in found])
    tokens = np.array([t.tokens for t in found])
    rewards = np.array([t.rewards for t in found], dtype=float)
    return Data(np.array([t.prompt for t in found]), states, tokens, rewards, np.ones(tokens.shape))
