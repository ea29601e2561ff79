r"""Token MDPs as arrays: states, tokens, a first state for every prompt, a bi-level reward.

A prompt x *is* its first state: :math:`s_1=x` is drawn from :math:`\mathcal D` on the states ``prompts``. At step
h = 1..H the policy emits a token a, collects :math:`r_h(s_h,a)\in\{0,1\}` and moves on, to one state (transitions are
numbers of states) or to a random one (transitions are laws). After the first step that is rewarded every step is: the
solve time T is the first h with :math:`r_h=1`, and :math:`R=(H-T+1)^+`. So a state met after solving is one in which
every token is rewarded: whether a trace is solved is a function of its state, and a policy over (step, state) is a
policy over (step, state, reward so far).

Two prompts may lead to one state. A policy that is to use the prompt needs them apart (:func:`told_apart`).

:meth:`TokenMDP.of` checks everything on the host. The result is a pytree: ``horizon`` is data, so one compiled program
serves every horizon up to the static ``steps``; replaced arrays (a learnt reward) are not checked again.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["TokenMDP", "checked_policy", "owners", "require_float64", "returns", "told_apart"]

#: Sums of probabilities may be off 1 by this much; they are divided out.
_SLACK = 1e-9

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class TokenMDP:
    """S states, A tokens, X prompts. Arrays with a leading axis ``steps`` depend on the step, others do not.

    NumPy arrays on the host, JAX arrays inside a compiled program. Build it with :meth:`of`.
    """

    prompts: Any  # (X,) first states, distinct
    weights: Any  # (X,) their probabilities, > 0
    transitions: Any  # whole numbers (S, A) or (steps, S, A), or laws (S, A, S) or (steps, S, A, S)
    rewards: Any  # (S, A) or (steps, S, A), float64
    horizon: Any  # () H, tokens
    steps: int  # the largest H these arrays serve

    @classmethod
    def of(
        cls, start: ArrayLike, transitions: ArrayLike, rewards: ArrayLike, horizon: int, steps: int | None = None
    ) -> TokenMDP:
        """Checked process of ``horizon`` steps; ``start`` (S,) is the law of the first state.

        ``steps`` (default: as many as the arrays have, else ``horizon``) is the largest horizon :meth:`at` may set.
        Raises ``ValueError`` unless shapes agree, probabilities are >= 0 of sum 1, next states are in 0..S-1, and
        rewards are 0 or 1 and stay 1 on every path of positive probability, whatever its tokens, for ``steps`` steps.
        """
        reward, law = np.asarray(rewards), np.asarray(start, dtype=np.float64)
        if reward.ndim not in (2, 3) or 0 in reward.shape:
            raise ValueError(f"rewards: shape {reward.shape}, expected (S, A) or (steps, S, A)")
        if not np.all((reward == 0) | (reward == 1)):
            raise ValueError("rewards: expected every one to be 0 or 1")
        states, tokens = reward.shape[-2:]
        kernel = _checked_transitions(np.asarray(transitions), states, tokens)
        lengths = {len(reward)} if reward.ndim == 3 else set()
        lengths |= {len(kernel)} if _by_step(kernel) else set()
        lengths = lengths if steps is None else lengths | {steps}
        if len(lengths) > 1:
            raise ValueError(f"steps: {sorted(lengths)} of transitions, rewards and steps, expected one number")
        most = lengths.pop() if lengths else horizon
        length = _checked_horizon(horizon, most)
        if law.shape != (states,):
            raise ValueError(f"start: shape {law.shape}, expected ({states},)")
        law = _checked_laws("start", law)
        prompts = np.flatnonzero(law)
        _check_bi_level(kernel, reward == 1, prompts, most)
        return cls(
            prompts=_frozen(prompts.astype(np.int32)),
            weights=_frozen(law[prompts]),
            transitions=_frozen(kernel),
            rewards=_frozen(reward.astype(np.float64)),
            horizon=length,
            steps=int(most),
        )

    @property
    def states(self) -> int:
        """S."""
        return int(self.rewards.shape[-2])

    @property
    def tokens(self) -> int:
        """A, the size of the vocabulary."""
        return int(self.rewards.shape[-1])

    @property
    def is_deterministic(self) -> bool:
        """Transitions are numbers of states, as for tokens that are appended."""
        return bool(np.issubdtype(self.transitions.dtype, np.integer))

    @property
    def is_homogeneous(self) -> bool:
        """Neither transitions nor rewards depend on the step."""
        return not _by_step(self.transitions) and self.rewards.ndim == 2

    def at(self, horizon: int) -> TokenMDP:
        """The same process stopped after ``horizon`` steps. Raises ``ValueError`` unless 1 <= horizon <= steps."""
        return dataclasses.replace(self, horizon=_checked_horizon(horizon, self.steps))


jax.tree_util.register_dataclass(
    TokenMDP,
    data_fields=["prompts", "weights", "transitions", "rewards", "horizon"],
    meta_fields=["steps"],
)


def returns(mdp: TokenMDP) -> Floats:
    """R for T = 1..steps and, last, for a trace that never solves, shape (steps + 1,), tokens. ``mdp`` on the host."""
    late = np.append(np.arange(mdp.steps, dtype=np.float64), np.inf)
    return np.maximum(float(mdp.horizon) - late, 0.0)


def checked_policy(mdp: TokenMDP, policy: ArrayLike) -> Floats:
    """``policy`` as float64 probabilities, (S, A) or (steps, S, A). Raises ``ValueError`` if it is no such thing."""
    table = np.asarray(policy, dtype=np.float64)
    shape = (mdp.states, mdp.tokens)
    if table.shape not in (shape, (mdp.steps, *shape)):
        raise ValueError(f"policy: shape {table.shape}, expected {shape} or {(mdp.steps, *shape)}")
    return _frozen(_checked_laws("policy", table))


def told_apart(mdp: TokenMDP) -> TokenMDP:
    """The process in which every prompt has states of its own: state s met from the i-th prompt is i S + s.

    A policy on the old states becomes one on the new by repeating it X times along the axis of states.
    """
    copies, states = len(mdp.prompts), mdp.states
    first = np.arange(copies, dtype=np.int32) * states
    kernel, lead = np.asarray(mdp.transitions), np.asarray(mdp.transitions).shape[:-2]
    if mdp.is_deterministic:
        apart = (first[:, None, None] + kernel[..., None, :, :]).reshape(*lead, copies * states, mdp.tokens)
    else:
        lead = kernel.shape[:-3]
        wide = np.zeros((*lead, copies, states, mdp.tokens, copies, states))
        for i in range(copies):
            wide[..., i, :, :, i, :] = kernel
        apart = wide.reshape(*lead, copies * states, mdp.tokens, copies * states)
    return dataclasses.replace(
        mdp,
        prompts=_frozen(first + np.asarray(mdp.prompts)),
        transitions=_frozen(apart),
        rewards=_frozen(np.concatenate([np.asarray(mdp.rewards)] * copies, axis=-2)),
    )


def owners(mdp: TokenMDP, policy: Floats) -> NDArray[np.int32]:
    """From which prompt a state is met unsolved, shape (steps + 1, S), entry h - 1 before step h; 0 where it is not.

    ``policy`` is checked. Raises ``ValueError`` if transitions are random, or if two prompts meet in a state.
    """
    if not mdp.is_deterministic:
        raise ValueError("transitions: random ones are not reweighted by a policy, expected deterministic ones")
    horizon, count = int(mdp.horizon), len(mdp.prompts)
    lowest = np.full((mdp.steps + 1, mdp.states), count, dtype=np.int32)
    highest = np.full((mdp.steps + 1, mdp.states), -1, dtype=np.int32)
    lowest[0, mdp.prompts] = highest[0, mdp.prompts] = np.arange(count)
    for h in range(horizon):
        state, token = np.nonzero((_at(policy, h, 2) > 0) & (_at(mdp.rewards, h, 2) == 0) & (highest[h] >= 0)[:, None])
        after = _at(mdp.transitions, h, 2)[state, token]
        np.minimum.at(lowest[h + 1], after, lowest[h, state])
        np.maximum.at(highest[h + 1], after, highest[h, state])
    shared = np.argwhere((highest >= 0) & (lowest != highest))
    if shared.size:
        h, state = shared[0]
        raise ValueError(f"state {state}: two prompts lead to it by step {h + 1}, expected prompts that are told apart")
    return np.where(highest >= 0, highest, 0).astype(np.int32)


def require_float64() -> None:
    """Raises ``RuntimeError`` where JAX would round to 32 bits. Call inside ``with jax.enable_x64(True):``."""
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise RuntimeError("float64 is off: expected a call inside `with jax.enable_x64(True):`")


def _by_step(kernel: Any) -> bool:
    """A leading axis of steps, told by type: numbers of states have two axes without it, laws three."""
    return bool(kernel.ndim == (3 if np.issubdtype(kernel.dtype, np.integer) else 4))


def _at(table: Any, h: int, axes: int) -> Any:
    return table if table.ndim == axes else table[h]


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


def _checked_horizon(horizon: int, steps: int) -> NDArray[np.int32]:
    if not (1 <= horizon <= steps and int(horizon) == horizon):
        raise ValueError(f"horizon = {horizon}: expected a whole number in 1..{steps}")
    return _frozen(np.array(horizon, dtype=np.int32))


def _checked_laws(name: str, masses: Floats) -> Floats:
    totals = masses.sum(axis=-1, keepdims=True)
    if not (np.all(masses >= 0) and np.all(abs(totals - 1) <= _SLACK)):
        raise ValueError(f"{name}: expected probabilities >= 0 of sum 1")
    return np.asarray(masses / totals)


def _checked_transitions(kernel: NDArray[Any], states: int, tokens: int) -> NDArray[Any]:
    if np.issubdtype(kernel.dtype, np.integer):
        if kernel.ndim not in (2, 3) or kernel.shape[-2:] != (states, tokens):
            raise ValueError(f"transitions: shape {kernel.shape}, expected ({states}, {tokens}), or steps of these")
        if kernel.size and not (kernel.min() >= 0 and kernel.max() < states):
            raise ValueError(f"transitions: {kernel.min()}..{kernel.max()}, expected next states in 0..{states - 1}")
        return kernel.astype(np.int32)
    if kernel.ndim not in (3, 4) or kernel.shape[-3:] != (states, tokens, states):
        expected = f"({states}, {tokens}, {states})"
        raise ValueError(f"transitions: shape {kernel.shape}, expected {expected}, or steps of these")
    return _checked_laws("transitions", kernel.astype(np.float64))


def _successors(kernel: NDArray[Any], chosen: Flags) -> Flags:
    """States that (state, token) pairs ``chosen`` (S, A) may lead to."""
    if np.issubdtype(kernel.dtype, np.integer):
        found = np.zeros(len(kernel), dtype=bool)
        found[kernel[chosen]] = True
        return found
    return np.asarray((kernel[chosen] > 0).any(axis=0))


def _check_bi_level(kernel: NDArray[Any], rewarded: Flags, prompts: NDArray[np.int64], steps: int) -> None:
    """Every state that follows a rewarded token on a path from ``prompts`` must reward every token."""
    axes = 2 if np.issubdtype(kernel.dtype, np.integer) else 3
    homogeneous = kernel.ndim == axes and rewarded.ndim == 2
    reached = np.zeros(rewarded.shape[-2], dtype=bool)
    reached[prompts] = True
    for h in range(steps - 1):
        move, now, after = _at(kernel, h, axes), _at(rewarded, h, 2), _at(rewarded, h + 1, 2)
        broken = _successors(move, now & reached[:, None]) & ~after.all(axis=1)
        if broken.any():
            state = int(np.argmax(broken))
            raise ValueError(
                f"rewards: state {state} at step {h + 2} follows a rewarded token and token "
                f"{int(np.argmin(after[state]))} is not rewarded there, expected rewards that stay 1"
            )
        following = _successors(move, np.broadcast_to(reached[:, None], now.shape))
        if homogeneous:  # all states met so far, until there are no new ones
            following |= reached
            if np.array_equal(following, reached):
                return
        reached = following
