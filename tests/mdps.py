"""Random small token MDPs with bi-level rewards, and policies on them, as NumPy draws them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.mdp import TokenMDP, checked_policy

Floats = NDArray[np.float64]

_UNIT = 2.0**30


@dataclass(frozen=True)
class Kind:
    """What a random process is like; all of one kind compile to one program."""

    deterministic: bool = True
    homogeneous: bool = True
    stationary: bool = True  # the policy does not depend on the step
    states: int = 5
    tokens: int = 3
    steps: int = 4
    prompts: int = 2


#: Small enough to enumerate: at most 3^4 and (2 x 4)^3 traces a prompt.
KINDS = tuple(
    Kind(deterministic, homogeneous, stationary, *sizes)
    for deterministic, sizes in ((True, (5, 3, 4)), (False, (4, 2, 3)))
    for homogeneous in (True, False)
    for stationary in (True, False)
)


def laws(rng: np.random.Generator, *shape: int) -> Floats:
    """Random laws on the last axis: spread out, with zeros, concentrated by a factor of a million, or certain.

    Multiples of 2^-30, whose sums are exactly 1.
    """
    weights = rng.exponential(size=shape) * 10.0 ** (-6.0 * rng.random(shape) * (rng.random((*shape[:-1], 1)) < 0.2))
    weights *= rng.random(shape) > rng.choice([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4, 0.9], size=(*shape[:-1], 1))
    weights[..., 0] += weights.sum(axis=-1) == 0.0
    return _rounded(weights)


def _rounded(weights: Floats) -> Floats:
    whole = np.floor(weights / weights.sum(axis=-1, keepdims=True) * _UNIT)
    most = whole.argmax(axis=-1)[..., None]
    rest = _UNIT - whole.sum(axis=-1, keepdims=True)
    np.put_along_axis(whole, most, np.take_along_axis(whole, most, axis=-1) + rest, axis=-1)
    return np.asarray(whole / _UNIT)


def random_mdp(rng: np.random.Generator, kind: Kind) -> TokenMDP:
    """A process of this kind: in solved states (at each step some, perhaps none) every token is rewarded.

    A rewarded token leads to solved states only; after the last step anywhere.
    """
    S, A, layers = kind.states, kind.tokens, 1 if kind.homogeneous else kind.steps
    solved = rng.random((layers, S)) < rng.choice([0.05, 0.25, 0.25, 0.25, 0.5])
    for h in range(1, layers):
        solved[h, 0] |= solved[h - 1].any() and not solved[h].any()
    rewarded = solved[:, :, None] | (rng.random((layers, S, A)) < rng.choice([0.1, 0.3, 0.5]))
    kernel = laws(rng, layers, S, A, S)
    following = np.roll(solved, -1, axis=0)
    for h in range(layers):
        if kind.homogeneous or h + 1 < layers:
            rewarded[h] &= following[h].any() | (kind.homogeneous & (kind.steps == 1))
            solving = np.where(following[h], kernel[h] + 1e-3, 0.0)
            kernel[h] = np.where(rewarded[h][:, :, None], solving, kernel[h])
    kernel = _rounded(kernel)
    transitions = kernel.argmax(axis=-1) if kind.deterministic else kernel
    horizon = int(rng.integers(1, kind.steps + 1)) if rng.random() < 0.3 else kind.steps
    start = np.zeros(S)
    start[rng.choice(S, kind.prompts, replace=False)] = rng.dirichlet(np.ones(kind.prompts)) + 0.01
    return TokenMDP.of(
        _rounded(start),
        transitions[0] if kind.homogeneous else transitions,
        rewarded[0] if kind.homogeneous else rewarded,
        horizon,
        kind.steps,
    )


def random_policy(rng: np.random.Generator, mdp: TokenMDP, stationary: bool = True) -> Floats:
    """A policy, of the step too unless ``stationary``; some tokens are impossible, some nearly."""
    lead = () if stationary else (mdp.steps,)
    return checked_policy(mdp, laws(rng, *lead, mdp.states, mdp.tokens))
