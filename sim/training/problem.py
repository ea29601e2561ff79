r"""What every learner is given: a process, the base policy, what it sees of a state, features, finite classes.

A state may carry what no learner sees (a value drawn once a trace by the base policy): ``observed`` numbers what it
does see, and tables of learners agree on states of one number. ``initial`` is where they start and what they fall back
on: the base policy as seen through ``observed``, that is, cloned from infinitely many of its traces.

Policies and verifiers are tables (S, A) or (steps, S, A). A verifier gives the chance that a token is declared to
solve; once declared a trace stays declared, so its learnt return is :math:`\hat R=(H-\hat T+1)^+` with
:math:`\hat T` the first step declared, and a table need not be bi-level to be searched against.

Everything here is a pytree; to be used inside ``jax.enable_x64(True)``. Horizon, number of traces, N, c and the like
are data: one compilation serves all of them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.dynamic_programming import occupancy, solve_time_law
from sim.mdp import TokenMDP, checked_policy

__all__ = [
    "Problem",
    "Settings",
    "law_of_policy",
    "policy_of",
    "pooled",
    "returns_of_rows",
    "tabular_features",
    "value_of_law",
]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """F first states belong to X prompts. Build with :meth:`of`; JAX arrays inside a compiled program."""

    mdp: TokenMDP
    base: Any  # (S, A) or (steps, S, A)
    expert: Any  # the policy whose traces are cloned, (S, A) or (steps, S, A)
    expert_weights: Any  # (F,) law of the first state under the expert
    prompt: Any  # (F,) whole numbers
    shares: Any  # (F, X) P(first state | prompt) under the base
    observed: Any  # (S,) whole numbers below S
    initial: Any  # (S, A), or (steps, S, A) where learners' tables depend on the step
    features: Any  # (S, A, d)
    policies: Any  # (M, S, A) or (M, steps, S, A)
    verifiers: Any  # (M', S, A) or (M', steps, S, A)

    @classmethod
    def of(
        cls,
        mdp: TokenMDP,
        base: ArrayLike,
        *,
        expert: ArrayLike | None = None,
        expert_weights: ArrayLike | None = None,
        prompt: ArrayLike | None = None,
        observed: ArrayLike | None = None,
        features: ArrayLike | None = None,
        policies: ArrayLike | None = None,
        verifiers: ArrayLike | None = None,
        by_step: bool = False,
    ) -> Problem:
        """Checked problem. Not given: the expert is the base; a first state is a prompt; all of a state is seen;
        features are the indicators of (what is seen, token); classes are the expert and the true reward alone.

        Raises ``ValueError`` unless policies are policies, verifiers lie in [0, 1] and shapes agree.
        """
        known = checked_policy(mdp, base)
        seen = np.arange(mdp.states) if observed is None else np.asarray(observed)
        if seen.shape != (mdp.states,) or seen.min() < 0 or seen.max() >= mdp.states:
            raise ValueError(f"observed: expected a number in 0..{mdp.states - 1} for each of {mdp.states} states")
        phi = tabular_features(seen, mdp.tokens) if features is None else np.asarray(features, dtype=np.float64)
        if phi.ndim != 3 or phi.shape[:2] != (mdp.states, mdp.tokens):
            raise ValueError(f"features: shape {phi.shape}, expected ({mdp.states}, {mdp.tokens}, d)")
        owner = np.asarray(np.arange(len(mdp.prompts)) if prompt is None else prompt, dtype=np.int32)
        if owner.shape != mdp.prompts.shape or not np.array_equal(np.unique(owner), np.arange(owner.max() + 1)):
            raise ValueError(f"prompt: expected one of 0..X-1 for each of {len(mdp.prompts)} first states")
        joint = np.zeros((owner.size, int(owner.max()) + 1))
        joint[np.arange(owner.size), owner] = mdp.weights
        cloned = known if expert is None else checked_policy(mdp, expert)
        return cls(
            mdp=mdp,
            base=known,
            expert=cloned,
            expert_weights=np.asarray(mdp.weights if expert_weights is None else expert_weights, dtype=np.float64),
            prompt=owner,
            shares=joint / joint.sum(axis=0),
            observed=seen.astype(np.int32),
            initial=_seen_policy(mdp, known, seen, by_step),
            features=phi,
            policies=_checked_class(mdp, cloned[None] if policies is None else policies),
            verifiers=_checked_verifiers(mdp, mdp.rewards[None] if verifiers is None else verifiers),
        )

    @property
    def weights(self) -> Any:
        """Probabilities of the prompts, (X,)."""
        return jnp.zeros(self.shares.shape[1]).at[self.prompt].add(self.mdp.weights)

    def with_verifier(self, verifier: Any) -> TokenMDP:
        """The process rewarded by ``verifier``."""
        return dataclasses.replace(self.mdp, rewards=verifier)


@dataclass(frozen=True, slots=True)
class Settings:
    """Numbers that learners are run with; those of the first group are data, the others change what is compiled."""

    N: Any = 8  # candidates of best-of-N
    c: Any = 0.25  # mass kept by top-c
    penalty: Any = 1.0  # of the divergence, tokens (per unit of chi^2, per nat)
    beta: Any = 0.5  # of DPO
    l2: Any = 1e-3  # half the weight of |w|^2 beside the mean loss of logistic regression is l2/2
    eta: Any = 0.0  # probability that a label is flipped, as far as exact Bayes knows
    rate: Any = 0.1  # learning rate of Adam, falling to 0 as a cosine
    iterations: int = 1000
    batch: int = 256  # traces per gradient of REINFORCE, and per round of expert iteration
    rounds: int = 4  # of expert iteration


jax.tree_util.register_dataclass(
    Problem, data_fields=[field.name for field in dataclasses.fields(Problem)], meta_fields=[]
)
jax.tree_util.register_dataclass(
    Settings,
    data_fields=["N", "c", "penalty", "beta", "l2", "eta", "rate"],
    meta_fields=["iterations", "batch", "rounds"],
)


def tabular_features(observed: ArrayLike, tokens: int) -> NDArray[np.float64]:
    """Indicators of (number observed, token), shape (S, A, numbers x A): softmax in them is a free table."""
    seen = np.asarray(observed)
    count = int(seen.max()) + 1
    return np.eye(count * tokens)[seen[:, None] * tokens + np.arange(tokens)]


def pooled(problem: Problem, table: Any) -> Any:
    """Sums of ``table`` (..., S, A) over the states that look alike, given to each of them."""
    sums = jnp.zeros_like(table).at[..., problem.observed, :].add(table)
    return sums[..., problem.observed, :]


def policy_of(problem: Problem, parameters: Any) -> jax.Array:
    """Softmax policy of the initial one: parameters (d,) on features, or a table like ``initial``.

    Its logits are log initial + features . parameters, or log initial + parameters of what is observed.
    """
    possible = problem.initial > 0.0
    added = problem.features @ parameters if parameters.ndim == 1 else parameters[..., problem.observed, :]
    logits = jnp.log(jnp.where(possible, problem.initial, 1.0)) + added
    return jax.nn.softmax(jnp.where(possible, logits, -jnp.inf), axis=-1)


def law_of_policy(problem: Problem, policy: Any) -> jax.Array:
    """P(T = t | x) for t = 1..steps and, last, of never, (steps + 1, X), under the true reward."""
    return jnp.asarray(solve_time_law(problem.mdp, policy) @ problem.shares)


def returns_of_rows(mdp: TokenMDP) -> jax.Array:
    """R for T = 1..steps and never, (steps + 1,), tokens."""
    early = jnp.maximum(mdp.horizon - jnp.arange(mdp.steps, dtype=jnp.float64), 0.0)
    return jnp.append(early, 0.0)


def value_of_law(problem: Problem, law: Any) -> jax.Array:
    """J of a law (steps + 1, X) of the solve time, tokens."""
    return jnp.asarray(problem.weights @ (returns_of_rows(problem.mdp) @ law))


def _seen_policy(mdp: TokenMDP, base: Any, observed: Any, by_step: bool) -> NDArray[np.float64]:
    """The base cloned from infinitely many of its traces; where it never comes, its mean over what looks alike."""
    if np.unique(observed).size == mdp.states and base.ndim == 2:
        return np.array(np.broadcast_to(base, (mdp.steps, *base.shape)) if by_step else base)
    with jax.enable_x64(True):
        visits = np.asarray(occupancy(mdp, base))[:, :, None] * base
    wide = np.broadcast_to(base, visits.shape)
    looks = np.eye(mdp.states)[observed]  # (S, number)
    alike = looks @ looks.T
    axis = () if by_step else (0,)
    met, all_states = (np.asarray(alike @ table.sum(axis=axis)) for table in (visits, wide))
    chosen = np.where(met.sum(axis=-1, keepdims=True) > 0.0, met, all_states)
    return np.asarray(chosen / chosen.sum(axis=-1, keepdims=True))


def _checked_class(mdp: TokenMDP, policies: ArrayLike) -> NDArray[np.float64]:
    members = np.asarray(policies, dtype=np.float64)
    if members.ndim not in (3, 4) or not len(members):
        raise ValueError(f"policies: shape {members.shape}, expected (M, S, A) or (M, steps, S, A)")
    return np.stack([checked_policy(mdp, member) for member in members])


def _checked_verifiers(mdp: TokenMDP, verifiers: ArrayLike) -> NDArray[np.float64]:
    members, shape = np.asarray(verifiers, dtype=np.float64), (mdp.states, mdp.tokens)
    if members.shape[1:] not in (shape, (mdp.steps, *shape)) or not len(members):
        raise ValueError(f"verifiers: shape {members.shape}, expected (M, S, A) or (M, steps, S, A)")
    if not np.all((members >= 0.0) & (members <= 1.0)):
        raise ValueError("verifiers: expected chances in [0, 1]")
    return members
