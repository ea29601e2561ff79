"""Attacks on ``heterogeneity-identity``: any process of three steps, trajectory by trajectory; any tree of tokens."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from theory.falsify.adversary import Adversary, Named, Space
from theory.falsify.instances import spread

__all__ = ["ADVERSARIES"]

STEPS, STATES, ACTIONS = 3, 2, 2
#: P(action 0) and, for each action, P(next state 0) and the reward, for each step and state.
PROCESS = spread((0.0, 1.0), STEPS * STATES * (1 + 2 * ACTIONS))
#: P(token 0) and a threshold that decides whether the trace is solved here, for each prefix of up to four tokens.
DEPTH = 4
PREFIXES = [prefix for length in range(DEPTH) for prefix in itertools.product((0, 1), repeat=length)]
TREE = spread((0.0, 1.0), 3 * len(PREFIXES))


def _process(xp: Any, theta: Any) -> Named:
    table = theta.reshape(STEPS, STATES, 1 + 2 * ACTIONS)
    return {"first_action": table[..., 0], "first_state": table[..., 1:3], "rewards": table[..., 3:]}


def _process_letters(xp: Any, instance: Named) -> Named:
    """The variance over all trajectories from state 0; A_h and B_h from values that are sums over trajectories."""
    policy = np.stack([instance["first_action"], 1.0 - instance["first_action"]], axis=-1)
    moves = np.stack([instance["first_state"], 1.0 - instance["first_state"]], axis=-1)
    rewards = instance["rewards"]
    variance = _variance(_trajectories(policy, moves, rewards, 0, 0))
    A, B = np.zeros(STEPS + 1), np.zeros(STEPS + 1)
    reached = np.array([1.0, 0.0])
    for h in range(STEPS):
        after = np.array([_mean(_trajectories(policy, moves, rewards, h + 1, s)) for s in range(STATES)])
        for s in range(STATES):
            q = rewards[h, s] + moves[h, s] @ after
            A[h + 1] += reached[s] * policy[h, s] @ (q - policy[h, s] @ q) ** 2
            B[h + 1] += reached[s] * policy[h, s] @ [m @ (after - m @ after) ** 2 for m in moves[h, s]]
        reached = np.einsum("s,sa,sat->t", reached, policy[h], moves[h])
    return {"H": STEPS, "A": A, "B": B, "Var_R": variance}


def _trajectories(policy: Any, moves: Any, rewards: Any, h: int, state: int) -> list[tuple[float, float]]:
    """(probability, return to go) of every trajectory from ``state`` at step h."""
    if h == STEPS:
        return [(1.0, 0.0)]
    found = []
    for action, after in itertools.product(range(ACTIONS), range(STATES)):
        chance = policy[h, state, action] * moves[h, state, action, after]
        rest = _trajectories(policy, moves, rewards, h + 1, after)
        found += [(chance * p, rewards[h, state, action] + g) for p, g in rest]
    return found


def _mean(outcomes: list[tuple[float, float]]) -> float:
    return sum(p * g for p, g in outcomes)


def _variance(outcomes: list[tuple[float, float]]) -> float:
    mean = _mean(outcomes)
    return sum(p * (g - mean) ** 2 for p, g in outcomes)


def _tree(xp: Any, theta: Any) -> Named:
    """Solved after a token if its number is below 1/2; once solved, solved."""
    table = theta.reshape(len(PREFIXES), 3)
    return {"first_token": table[:, 0], "solves": (table[:, 1:] < 0.5).astype(int)}


def _tree_letters(xp: Any, instance: Named) -> Named:
    first, solves = instance["first_token"], instance["solves"]
    where = {prefix: i for i, prefix in enumerate(PREFIXES)}

    def traces(prefix: tuple[int, ...], solved: bool) -> list[tuple[float, float]]:
        if len(prefix) == DEPTH:
            return [(1.0, 0.0)]
        found = []
        for token in (0, 1):
            now = solved or bool(solves[where[prefix], token])
            p = first[where[prefix]] if token == 0 else 1.0 - first[where[prefix]]
            found += [(p * chance, now + rest) for chance, rest in traces((*prefix, token), now)]
        return found

    def spreads(prefix: tuple[int, ...], solved: bool) -> float:
        """Var_a Q here, plus its mean over the next tokens of the same."""
        if len(prefix) == DEPTH:
            return 0.0
        p = np.array([first[where[prefix]], 1.0 - first[where[prefix]]])
        now = [solved or bool(solves[where[prefix], token]) for token in (0, 1)]
        q = np.array([now[a] + _mean(traces((*prefix, a), now[a])) for a in (0, 1)])
        later = [spreads((*prefix, a), now[a]) for a in (0, 1)]
        return float(p @ (q - p @ q) ** 2 + p @ later)

    return {"H": DEPTH, "sigma_pi": np.sqrt(spreads((), False)), "Var_R": _variance(traces((), False))}


_LABEL = "heterogeneity-identity"

ADVERSARIES = (
    Adversary(_LABEL, "decomposition", Space("processes", PROCESS, _process), _process_letters, gradient=False),
    Adversary(_LABEL, "deterministic", Space("trees of tokens", TREE, _tree), _tree_letters, gradient=False),
)
