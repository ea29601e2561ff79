r"""Heterogeneity of a policy, and the variance of its return that it explains.

In a Markov decision process of H steps let :math:`Q_h(s,a)=r_h(s,a)+E_{s'}V_{h+1}(s')`,
:math:`V_h(s)=E_{a\sim\pi}Q_h(s,a)` and :math:`V_{H+1}=0`; x is the first state and :math:`d_h` the law of :math:`s_h`.
The *heterogeneity* is :math:`\sigma^2_{\pi,x}=\sum_h E_{d_h}\mathrm{Var}_{a\sim\pi}Q_h(s_h,a)`.

``heterogeneity-identity``:
:math:`\mathrm{Var}_\pi(R|x)=\sum_h E\,\mathrm{Var}_aQ_h+\sum_h E\,\mathrm{Var}_{s'}V_{h+1}`.
Where transitions are deterministic, as for tokens, the second sum is 0 and
:math:`\sigma^2_{\pi,x}=\mathrm{Var}_\pi(R|x)`.

:func:`decompose` computes every term on a finite process, layer by layer, in whatever arithmetic its arrays carry
(float64, or ``fractions.Fraction`` in arrays of objects: then exactly).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from theory.expectation import Random, mean
from theory.proof import Claim
from theory.relation import eq
from theory.symbols import H
from theory.theorem import Family, Theorem

__all__ = ["HETEROGENEITY_IDENTITY", "Decomposition", "decompose", "token_tree"]

#: Entries are float64, or objects that add and multiply (fractions).
Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Decomposition:
    """Values of a policy and the parts of the variance of its return; steps h = 1..H are entries 0..H-1.

    ``occupancy[h]`` (S_h,) is the law of s_h and ``state_values[h]`` (S_h,) is V_h, both with one layer more than there
    are steps; ``action_values[h]`` (S_h, A) is Q_h. ``by_actions`` (H,) is E Var_a Q_h and ``by_transitions`` (H,) is
    E Var_s' V_{h+1}, tokens squared. ``variance`` is E_x Var(R|x), x drawn from the start, computed without them.
    """

    occupancy: tuple[Array, ...]
    state_values: tuple[Array, ...]
    action_values: tuple[Array, ...]
    by_actions: Array
    by_transitions: Array
    variance: Any

    @property
    def heterogeneity(self) -> Any:
        """sigma^2 of the policy, averaged over the start: the sum of ``by_actions``, tokens squared."""
        return self.by_actions.sum()

    @property
    def mean(self) -> Any:
        """J of the policy, tokens."""
        return self.occupancy[0] @ self.state_values[0]


def token_tree(tokens: int, horizon: int) -> tuple[NDArray[np.int64], ...]:
    """Transitions of the tree of all traces: prefix number s at step h, extended by token a, is prefix s*tokens + a."""
    return tuple(np.arange(tokens**h * tokens).reshape(tokens**h, tokens) for h in range(horizon))


def decompose(
    start: Array, policy: Sequence[Array], transitions: Sequence[Array], rewards: Sequence[Array]
) -> Decomposition:
    """Decomposition of the variance of the return, given layer by layer for h = 1..H.

    ``start`` (S_1,) is the law of the first state, ``policy[h]`` (S_h, A) are probabilities of actions, and
    ``rewards[h]`` is (S_h, A). ``transitions[h]`` are probabilities (S_h, A, S_{h+1}), or whole numbers (S_h, A): the
    next state itself. After the last step any next states do, nothing is collected there. A process whose layers agree
    passes ``[P] * H``. Raises ``ValueError`` if shapes or lengths disagree or a law does not sum to 1.
    """
    sizes = _layer_sizes(start, policy, transitions, rewards)
    occupancy = [start]
    for pi, kernel, size in zip(policy, transitions, sizes[1:], strict=True):
        occupancy.append(_forward(kernel, occupancy[-1][:, None] * pi, size))
    zero = np.zeros(sizes[-1], dtype=occupancy[-1].dtype)
    values, action_values = _backward(policy, transitions, rewards, zero)
    by_actions = [
        (d[:, None] * pi * (q - v[:, None]) ** 2).sum()
        for d, pi, q, v in zip(occupancy, policy, action_values, values, strict=False)
    ]
    by_transitions = [
        (d[:, None] * pi * _spread(kernel, after)).sum()
        for d, pi, kernel, after in zip(occupancy, policy, transitions, values[1:], strict=False)
    ]
    share = start @ values[0] / len(policy)
    twice, once = zero, zero  # moments of the return to go; rewards less mean/H, so that little cancels
    for pi, kernel, reward in zip(reversed(policy), reversed(transitions), reversed(rewards), strict=True):
        gain = reward - share
        twice = (pi * (gain**2 + 2 * gain * _expected(kernel, once) + _expected(kernel, twice))).sum(axis=1)
        once = (pi * (gain + _expected(kernel, once))).sum(axis=1)
    return Decomposition(
        occupancy=tuple(occupancy),
        state_values=tuple(values),
        action_values=tuple(action_values),
        by_actions=np.asarray(by_actions),
        by_transitions=np.asarray(by_transitions),
        variance=start @ (twice - once**2),
    )


def _backward(
    policy: Sequence[Array], transitions: Sequence[Array], rewards: Sequence[Array], last: Array
) -> tuple[list[Array], list[Array]]:
    """V_1..V_{H+1} and Q_1..Q_H."""
    values, action_values = [last], list[Array]()
    for pi, kernel, reward in zip(reversed(policy), reversed(transitions), reversed(rewards), strict=True):
        action_values.append(reward + _expected(kernel, values[-1]))
        values.append((pi * action_values[-1]).sum(axis=1))
    return values[::-1], action_values[::-1]


def _expected(kernel: Array, after: Array) -> Array:
    """E_s' f(s') for each state and action, (S, A)."""
    return np.asarray(after[kernel] if kernel.ndim == 2 else kernel @ after)


def _spread(kernel: Array, after: Array) -> Array:
    """Var_s' f(s') for each state and action, (S, A)."""
    if kernel.ndim == 2:
        return np.zeros(kernel.shape, dtype=after.dtype)
    centred = after - _expected(kernel, after)[..., None]
    return np.asarray((kernel * centred**2).sum(axis=-1))


def _forward(kernel: Array, joint: Array, size: int) -> Array:
    """Law of the next state, given the joint law of state and action."""
    if kernel.ndim == 3:
        return np.asarray(joint.reshape(-1) @ kernel.reshape(-1, size))
    law = np.zeros(size, dtype=joint.dtype)
    np.add.at(law, kernel, joint)
    return law


def _layer_sizes(
    start: Array, policy: Sequence[Array], transitions: Sequence[Array], rewards: Sequence[Array]
) -> list[int]:
    """Number of states of each of the H + 1 layers, everything checked."""
    lengths = sorted({len(policy), len(transitions), len(rewards)})
    if len(lengths) != 1 or lengths == [0]:
        raise ValueError(f"layers: {lengths} of policy, transitions and rewards, expected one number >= 1")
    end = transitions[-1]
    sizes = [*(pi.shape[0] for pi in policy), end.shape[2] if end.ndim == 3 else int(end.max()) + 1]
    if start.shape != (sizes[0],):
        raise ValueError(f"start: shape {start.shape}, expected ({sizes[0]},)")
    _check_law("start", start)
    for step, (pi, kernel, reward) in enumerate(zip(policy, transitions, rewards, strict=True), 1):
        fits = kernel.shape[2:] == (sizes[step],) if kernel.ndim == 3 else kernel.max() < sizes[step]
        if pi.ndim != 2 or kernel.shape[:2] != pi.shape or reward.shape != pi.shape or not fits:
            raise ValueError(
                f"step {step}: policy {pi.shape}, transitions {kernel.shape}, rewards {reward.shape}, "
                f"expected (S, A), (S, A) or (S, A, {sizes[step]}), and (S, A)"
            )
        _check_law(f"policy at step {step}", pi)
        if kernel.ndim == 3:
            _check_law(f"transitions at step {step}", kernel)
    return sizes


def _check_law(name: str, masses: Array) -> None:
    totals = np.asarray(masses.sum(axis=-1))
    if np.any(masses < 0) or np.any(abs(totals - 1) > 1e-9):
        raise ValueError(f"{name}: expected probabilities >= 0 of sum 1")


#: Step h, and the noise it is seen on: s the past (it fixes s_h), a the action, t the transition, f what follows.
h = sympy.Symbol("h", integer=True, positive=True)
#: Q_h(s_h, a_h); V_{h+1}(s_{h+1}).
Q, NEXT = sympy.IndexedBase(Random("Q", "as")), sympy.IndexedBase(Random("Vnext", "ast"))
#: A_h = E Var_a Q_h(s_h, a) and B_h = E Var_s' V_{h+1}(s').
A, B = sympy.IndexedBase("A", nonnegative=True), sympy.IndexedBase("B", nonnegative=True)
#: Var(R|x) and the heterogeneity sigma_pi, the root of the sum of the A_h.
VARIANCE, SIGMA_PI = sympy.symbols("Var_R sigma_pi", nonnegative=True)
#: The next state, so its value, does not vary once the action is known.
DETERMINISTIC = eq(NEXT[h], mean("t", NEXT[h]))

CLAIMS = (
    Claim(
        "decomposition",
        eq(VARIANCE, sympy.Sum(A[h], (h, 1, H)) + sympy.Sum(B[h], (h, 1, H))),
        "the variance is what actions (A_h = E Var_a Q_h) and transitions (B_h = E Var_s' V_{h+1}) add, step by step",
    ),
    Claim(
        "deterministic",
        eq(SIGMA_PI**2, VARIANCE),
        "with deterministic transitions the heterogeneity, the sum of the A_h, is the variance of the return",
        (DETERMINISTIC,),
    ),
)

HETEROGENEITY_IDENTITY = Theorem(
    label="heterogeneity-identity",
    kind="identity",
    statement=(
        r"\mathrm{Var}_\pi(R|x) = \sum_{h=1}^H E\,\mathrm{Var}_{a\sim\pi}Q_h(s_h,a)"
        r" + \sum_{h=1}^H E\,\mathrm{Var}_{s'}V_{h+1}(s')"
    ),
    bounds="variance of the return of a policy: what its actions and the transitions add at each step",
    units="tokens^2",
    required=(),
    optional=(),
    assumptions=(),
    family=Family("any process", "any Markov decision process of H steps, any policy", lambda instance: True),
    evaluator=None,
    trivial=lambda p: 0.0,
    source="theory notes, section 1",
    claims=CLAIMS,
)
