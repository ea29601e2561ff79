r"""Exact dynamic programming on a :class:`~sim.mdp.TokenMDP`, float64.

With :math:`Q_h(s,a)=r_h(s,a)+E_{s'}V_{h+1}(s')` and :math:`V_h(s)=E_{a\sim\pi}Q_h(s,a)`:

* ``heterogeneity-identity``, both sums and, without them, the variance from second moments (:func:`evaluate`);
* the law of the solve time, from the flow f that is still unsolved: :math:`P(T=h)=\sum_{s,a}f_h(s)\pi(a|s)r_h(s,a)` and
  :math:`f_{h+1}(s')=\sum_{s,a}f_h(s)\pi(a|s)(1-r_h(s,a))P(s'|s,a)`. Nothing is subtracted: every mass is accurate
  relative to its own size (:func:`solve_time_law`), and one below 1e-308 by its logarithm (:func:`log_solve_time_law`);
* divergences between laws of traces, :math:`\chi^2` by :math:`C_h(s)=\sum_a(\pi-b)^2/b+\sum_a(\pi^2/b)E_{s'}C_{h+1}`.

Functions are pure and compiled: to be called, mapped (``jax.vmap``) and differentiated inside ``jax.enable_x64(True)``,
and refusing to run elsewhere. Arrays have a leading axis of ``steps`` with zeros from step H + 1 on, and H is data: one
compilation serves all horizons. ``policy`` is (S, A) or (steps, S, A), see :func:`~sim.mdp.checked_policy`. Whatever a
policy maps to is by prompt, X values, unless said otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sim.mdp import TokenMDP, require_float64

__all__ = [
    "Evaluation",
    "HorizonValues",
    "chi2_divergence",
    "evaluate",
    "kl_divergence",
    "log_solve_time_law",
    "mean_return",
    "occupancy",
    "reweighted_policy",
    "solve_time_law",
    "state_values",
    "values_by_horizon",
]

#: Deterministic moves of up to this many states are added up into a matrix: a step is then one product.
DENSE_STATES = 64
#: Products with matrices up to this size are written out: mapped over a thousand policies, ten times faster.
WRITTEN_OUT = 16
#: Weights below this are not divided by: a quotient of subnormal numbers has no digits.
_LEAST = 1e-290


class Evaluation(NamedTuple):
    """Values of a policy and the parts of the variance of its return. Variances in tokens squared."""

    state_values: jax.Array  # (steps + 1, S) V_h, h = 1..
    action_values: jax.Array  # (steps, S, A) Q_h
    occupancy: jax.Array  # (steps, S) law of s_h, x drawn from the start
    by_actions: jax.Array  # (steps,) E_x E Var_a Q_h
    by_transitions: jax.Array  # (steps,) E_x E Var_s' V_{h+1}
    mean: jax.Array  # (X,) E[R|x], tokens
    heterogeneity: jax.Array  # (X,) sigma^2 of the policy: sum over h of E Var_a Q_h
    from_transitions: jax.Array  # (X,) sum over h of E Var_s' V_{h+1}
    variance: jax.Array  # (X,) Var(R|x) by second moments


class HorizonValues(NamedTuple):
    """What :class:`Evaluation` has by prompt, for horizons 0..steps: arrays (steps + 1, X)."""

    mean: jax.Array
    heterogeneity: jax.Array
    from_transitions: jax.Array
    variance: jax.Array


class _Sparse(NamedTuple):
    """An operator that takes state s to ``after[s, a]`` with weight ``weights[s, a]``."""

    weights: Any  # (S, A)
    after: Any  # (S, A)


class _Chain(NamedTuple):
    """One step under the policy: weights of its moves, of those rewarded and of those not, operators on states."""

    reward: Any  # (S,) E_a r
    moves: Any
    rewarded: Any
    unsolved: Any


def _operator(weights: Any, kernel: Any) -> Any:
    """f -> sum_a weights(s, a) E_s' f(s'): a matrix (S, S), or sparse."""
    if kernel.ndim == 3:
        return jnp.einsum("sa,sat->st", weights, kernel)
    states = kernel.shape[0]
    if states > DENSE_STATES:
        return _Sparse(weights, kernel)
    return jnp.zeros((states, states)).at[jnp.arange(states)[:, None], kernel].add(weights)


def _product(matrix: Any, values: Any) -> Any:
    """``matrix @ values``, (S, S) and (S, ...)."""
    if len(values) > WRITTEN_OUT:
        return matrix @ values
    columns = matrix.reshape(matrix.shape + (1,) * (values.ndim - 1))
    return functools.reduce(jnp.add, (columns[:, j] * values[j] for j in range(len(values))))


def _pull(operator: Any, after: Any) -> Any:
    """Operator applied to a function of the next state, (S, ...)."""
    if isinstance(operator, _Sparse):
        return jnp.einsum("sa,sa...->s...", operator.weights, after[operator.after])
    return _product(operator, after)


def _push(operator: Any, flow: Any) -> Any:
    """Its transpose applied to masses of the states before, (S, ...)."""
    if isinstance(operator, _Sparse):
        weights = operator.weights.reshape(operator.weights.shape + (1,) * (flow.ndim - 1))
        return jnp.zeros_like(flow).at[operator.after].add(weights * flow[:, None])
    return _product(operator.T, flow)


def _log_pull(operator: Any, after: Any) -> Any:
    """:func:`_pull` on logarithms, (S,)."""
    if isinstance(operator, _Sparse):
        return jax.nn.logsumexp(after[operator.after], axis=1, b=operator.weights)
    return jax.nn.logsumexp(after[None, :], axis=1, b=operator)


def _log_push(operator: Any, flow: Any) -> Any:
    """:func:`_push` on logarithms, (S, X)."""
    if not isinstance(operator, _Sparse):
        return jax.nn.logsumexp(flow[:, None, :], axis=0, b=operator[:, :, None])
    terms = jnp.log(operator.weights)[:, :, None] + flow[:, None, :]
    top = jnp.full_like(flow, -jnp.inf).at[operator.after].max(terms)
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    return top + jnp.log(jnp.zeros_like(flow).at[operator.after].add(jnp.exp(terms - top[operator.after])))


def _at(table: Any, h: Any, axes: int) -> Any:
    return table if table.ndim == axes else table[h]


def _kernel_axes(mdp: TokenMDP) -> int:
    return 2 if mdp.is_deterministic else 3


def _layer(mdp: TokenMDP, policy: Any, h: Any) -> tuple[Any, Any, Any]:
    """Policy, transitions and rewards at step h, counted from 0."""
    return _at(policy, h, 2), _at(mdp.transitions, h, _kernel_axes(mdp)), _at(mdp.rewards, h, 2)


def _chains(mdp: TokenMDP, policy: Any) -> Callable[[Any], _Chain]:
    """The chain at each step; where no step differs, it is built once and outside the loop."""

    def chain(h: Any) -> _Chain:
        pi, kernel, reward = _layer(mdp, policy, h)
        operators = (_operator(w, kernel) for w in (pi, pi * reward, pi * (1.0 - reward)))
        return _Chain((pi * reward).sum(axis=1), *operators)

    if mdp.is_homogeneous and policy.ndim == 2:
        same = chain(0)
        return lambda h: same
    return chain


def _live(mdp: TokenMDP) -> jax.Array:
    """1 for steps up to H, then 0, shape (steps,)."""
    return jnp.where(jnp.arange(mdp.steps) < mdp.horizon, 1.0, 0.0)


def _backward(step: Callable[[Any, Any], Any], last: Any, mdp: TokenMDP) -> Any:
    """f_h = step(h, f_{h+1}) for h = H..1, and ``last`` from H + 1 on; leading axis steps + 1."""

    def body(after: Any, h: Any) -> tuple[Any, Any]:
        here = jnp.where(h < mdp.horizon, step(h, after), last)
        return here, here

    _, stack = jax.lax.scan(body, last, jnp.arange(mdp.steps), reverse=True)
    return jnp.concatenate([stack, last[None]])


def _values(mdp: TokenMDP, policy: Any) -> jax.Array:
    chain = _chains(mdp, policy)

    def step(h: Any, after: Any) -> Any:
        now = chain(h)
        return now.reward + _pull(now.moves, after)

    return jnp.asarray(_backward(step, jnp.zeros(mdp.states), mdp))


def _action_values(mdp: TokenMDP, values: Any) -> jax.Array:
    after, axes = values[1:], _kernel_axes(mdp)
    if mdp.is_deterministic:
        rows = jnp.arange(mdp.steps)[:, None, None]
        expected = after[rows, mdp.transitions]
    else:
        by_step = "" if mdp.transitions.ndim == axes else "h"
        expected = jnp.einsum(f"{by_step}sat,ht->hsa", mdp.transitions, after)
    return jnp.asarray(_live(mdp)[:, None, None] * (mdp.rewards + expected))


def _transition_spread(mdp: TokenMDP, policy: Any, values: Any) -> jax.Array:
    """E_a Var_s' V_{h+1}(s'), (steps, S); step by step, since a centred square needs (S, A, S) numbers."""
    if mdp.is_deterministic:
        return jnp.zeros((mdp.steps, mdp.states))

    def one(h: Any) -> Any:
        pi, kernel, _ = _layer(mdp, policy, h)
        centred = values[h + 1] - (kernel @ values[h + 1])[:, :, None]
        return jnp.einsum("sa,sa->s", pi, jnp.sum(kernel * centred**2, axis=2))

    return jnp.asarray(jax.lax.map(one, jnp.arange(mdp.steps)))


class _Parts(NamedTuple):
    values: Any  # (steps + 1, S)
    action_values: Any  # (steps, S, A)
    action_spread: Any  # (steps, S) Var_a Q_h
    transition_spread: Any  # (steps, S)
    sums: Any  # (steps + 1, S, 2) of both spreads, from step h on
    variance: Any  # (steps + 1, S) of the return from step h on


def _parts(mdp: TokenMDP, policy: Any) -> _Parts:
    chain = _chains(mdp, policy)
    values = _values(mdp, policy)
    action_values = _action_values(mdp, values)
    action_spread = (policy * (action_values - values[:-1, :, None]) ** 2).sum(axis=2)
    transition_spread = _transition_spread(mdp, policy, values)
    # Moments of the return to go, of rewards less mean/H, so that little cancels.
    share = mdp.weights @ values[0, mdp.prompts] / mdp.horizon

    def step(h: Any, after: Any) -> Any:
        pi, _, reward = _layer(mdp, policy, h)
        now = chain(h)
        carried = _pull(now.moves, after)
        gain, once = reward - share, after[:, 0]
        crossed = _pull(now.rewarded, once) - share * carried[:, 0]
        added = [
            (pi * gain).sum(axis=1),
            (pi * gain**2).sum(axis=1) + 2.0 * crossed,
            action_spread[h],
            transition_spread[h],
        ]
        return carried + jnp.stack(added, axis=1)

    found = _backward(step, jnp.zeros((mdp.states, 4)), mdp)
    variance = found[:, :, 1] - found[:, :, 0] ** 2
    return _Parts(values, action_values, action_spread, transition_spread, found[:, :, 2:], variance)


@jax.jit
def state_values(mdp: TokenMDP, policy: Any) -> jax.Array:
    """V_h(s), h = 1.., shape (steps + 1, S), tokens."""
    require_float64()
    return _values(mdp, policy)


@jax.jit
def mean_return(mdp: TokenMDP, policy: Any) -> jax.Array:
    """E[R|x] by prompt, (X,), tokens; J is its mean under ``mdp.weights``."""
    require_float64()
    return jnp.asarray(_values(mdp, policy)[0, mdp.prompts])


@jax.jit
def occupancy(mdp: TokenMDP, policy: Any) -> jax.Array:
    """Law of s_h, h = 1.., shape (steps, S), the prompt drawn from the start."""
    require_float64()
    return _occupancy(mdp, policy)


def _occupancy(mdp: TokenMDP, policy: Any) -> jax.Array:
    chain = _chains(mdp, policy)
    start = jnp.zeros(mdp.states).at[mdp.prompts].add(mdp.weights)
    _, laws = jax.lax.scan(lambda law, h: (_push(chain(h).moves, law), law), start, jnp.arange(mdp.steps))
    return jnp.asarray(_live(mdp)[:, None] * laws)


@jax.jit
def evaluate(mdp: TokenMDP, policy: Any) -> Evaluation:
    """Values, occupancy and the parts of the variance of the return."""
    require_float64()
    parts = _parts(mdp, policy)
    law = _occupancy(mdp, policy)
    return Evaluation(
        state_values=parts.values,
        action_values=parts.action_values,
        occupancy=law,
        by_actions=(law * parts.action_spread).sum(axis=1),
        by_transitions=(law * parts.transition_spread).sum(axis=1),
        mean=parts.values[0, mdp.prompts],
        heterogeneity=parts.sums[0, mdp.prompts, 0],
        from_transitions=parts.sums[0, mdp.prompts, 1],
        variance=parts.variance[0, mdp.prompts],
    )


@jax.jit
def values_by_horizon(mdp: TokenMDP, policy: Any) -> HorizonValues:
    """Mean and variances of the return for every horizon 0..steps, in one backward pass; ``mdp.horizon`` is ignored.

    Raises ``ValueError`` if the process or the policy depends on the step.
    """
    require_float64()
    if not (mdp.is_homogeneous and policy.ndim == 2):
        raise ValueError("policy and process: expected ones that do not depend on the step")
    parts = _parts(_with_horizon(mdp), policy)
    found = (parts.values, parts.sums[:, :, 0], parts.sums[:, :, 1], parts.variance)
    return HorizonValues(*(x[::-1, mdp.prompts] for x in found))


def _with_horizon(mdp: TokenMDP) -> TokenMDP:
    return TokenMDP(
        mdp.prompts, mdp.weights, mdp.transitions, mdp.rewards, jnp.asarray(mdp.steps, dtype=jnp.int32), mdp.steps
    )


@jax.jit
def solve_time_law(mdp: TokenMDP, policy: Any) -> jax.Array:
    """P(T = h | x) for h = 1..steps and, last, P(never by H | x), shape (steps + 1, X).

    Where nothing depends on the step, the cost does not depend on X (the flow runs backward from every state).
    """
    require_float64()
    chain, count = _chains(mdp, policy), len(mdp.prompts)
    if mdp.is_homogeneous and policy.ndim == 2:
        now = chain(0)

        def back(after: Any, _: Any) -> tuple[Any, Any]:
            return _pull(now.unsolved, after), after[mdp.prompts]

        both = jnp.stack([now.reward, jnp.ones(mdp.states)], axis=1)  # P(T = t), P(T > t - 1) from every state
        end, stack = jax.lax.scan(back, both, None, length=mdp.steps)
        survival = jnp.concatenate([stack[:, :, 1], end[None, mdp.prompts, 1]])
        return jnp.concatenate([_live(mdp)[:, None] * stack[:, :, 0], survival[mdp.horizon][None]])

    def forward(flow: Any, h: Any) -> tuple[Any, Any]:
        now, live = chain(h), h < mdp.horizon
        solved = jnp.where(live, now.reward @ flow, 0.0)
        return jnp.where(live, _push(now.unsolved, flow), flow), solved

    start = jnp.zeros((mdp.states, count)).at[mdp.prompts, jnp.arange(count)].set(1.0)
    left, masses = jax.lax.scan(forward, start, jnp.arange(mdp.steps))
    return jnp.concatenate([masses, left.sum(axis=0)[None]])


@jax.jit
def log_solve_time_law(mdp: TokenMDP, policy: Any) -> jax.Array:
    """Logarithms of :func:`solve_time_law`, right also below 1e-308 and -inf where impossible; slower."""
    require_float64()
    chain, count = _chains(mdp, policy), len(mdp.prompts)
    live = jnp.arange(mdp.steps)[:, None] < mdp.horizon
    if mdp.is_homogeneous and policy.ndim == 2:
        now = chain(0)

        def back(after: Any, _: Any) -> tuple[Any, Any]:
            return jax.vmap(_log_pull, in_axes=(None, 1), out_axes=1)(now.unsolved, after), after[mdp.prompts]

        both = jnp.stack([jnp.log(now.reward), jnp.zeros(mdp.states)], axis=1)
        end, stack = jax.lax.scan(back, both, None, length=mdp.steps)
        survival = jnp.concatenate([stack[:, :, 1], end[None, mdp.prompts, 1]])
        return jnp.concatenate([jnp.where(live, stack[:, :, 0], -jnp.inf), survival[mdp.horizon][None]])

    def forward(flow: Any, h: Any) -> tuple[Any, Any]:
        now = chain(h)
        solved = jax.nn.logsumexp(flow, axis=0, b=now.reward[:, None])
        return jnp.where(h < mdp.horizon, _log_push(now.unsolved, flow), flow), solved

    start = jnp.full((mdp.states, count), -jnp.inf).at[mdp.prompts, jnp.arange(count)].set(0.0)
    left, masses = jax.lax.scan(forward, start, jnp.arange(mdp.steps))
    return jnp.concatenate([jnp.where(live, masses, -jnp.inf), jax.nn.logsumexp(left, axis=0)[None]])


@jax.jit
def chi2_divergence(mdp: TokenMDP, policy: Any, base: Any) -> jax.Array:
    """chi^2 of the law of traces under ``policy`` from that under ``base``, given x, (X,); may be infinite."""
    require_float64()

    def terms(pi: Any, b: Any, known: Any) -> tuple[Any, Any]:
        return (pi - b) ** 2 / known, pi**2 / known

    return _divergence(mdp, policy, base, terms)


@jax.jit
def kl_divergence(mdp: TokenMDP, policy: Any, base: Any) -> jax.Array:
    """KL of the law of traces under ``policy`` from that under ``base``, given x, (X,), nats; may be infinite."""
    require_float64()

    def terms(pi: Any, b: Any, known: Any) -> tuple[Any, Any]:
        used = jnp.where(pi > 0.0, pi, known)
        return jnp.where(pi > 0.0, pi * jnp.log(used / known), 0.0), pi

    return _divergence(mdp, policy, base, terms)


def _divergence(mdp: TokenMDP, policy: Any, base: Any, terms: Callable[[Any, Any, Any], tuple[Any, Any]]) -> jax.Array:
    """D_h = sum_a own + sum_a weight E_s' D_{h+1}; infinite where the base may be left."""

    def step(h: Any, after: Any) -> Any:
        pi, kernel, _ = _layer(mdp, policy, h)
        b = _at(base, h, 2)
        allowed = b > 0.0
        own, weight = (jnp.where(allowed, x, 0.0) for x in terms(pi, b, jnp.where(allowed, b, 1.0)))
        left = jnp.where(allowed, 0.0, pi).sum(axis=1)  # probability of leaving, now or later
        return jnp.stack(
            [
                own.sum(axis=1) + _pull(_operator(weight, kernel), after[:, 0]),
                left + _pull(_operator(jnp.where(allowed, pi, 0.0), kernel), after[:, 1]),
            ],
            axis=1,
        )

    found = _backward(step, jnp.zeros((mdp.states, 2)), mdp)[0, mdp.prompts]
    return jnp.where(found[:, 1] > 0.0, jnp.inf, found[:, 0])


@jax.jit
def reweighted_policy(mdp: TokenMDP, base: Any, weights: Any, owner: Any) -> jax.Array:
    r"""The policy whose traces have density ``weights``\[T, x] with respect to the base's, shape (steps, S, A).

    ``weights`` (steps + 1, X): of T = 1..steps and, last, of never. Unsolved in s before step h it emits a with
    probability proportional to :math:`\pi_b(a|s)\,E_b[w(T)|s_h=s,a]`; once solved, and where no weight is left, it is
    the base. ``owner`` are :func:`sim.mdp.owners`: prompts must be told apart and transitions deterministic.
    """
    require_float64()

    def weight(h: Any, after: Any) -> Any:
        _, kernel, reward = _layer(mdp, base, h)
        solving = weights[h][owner[h]][:, None]
        return jnp.where(reward > 0.0, solving, after[kernel])

    last = weights[-1][jax.lax.dynamic_index_in_dim(owner, mdp.horizon, keepdims=False)]
    found = _backward(lambda h, after: (_at(base, h, 2) * weight(h, after)).sum(axis=1), last, mdp)

    def choose(h: Any) -> Any:
        b, after = _at(base, h, 2), found[h + 1]
        chosen, total = b * weight(h, after), found[h][:, None]
        use = (total > _LEAST) & (h < mdp.horizon)
        return jnp.where(use, chosen / jnp.where(use, total, 1.0), b)

    return jnp.asarray(jax.vmap(choose)(jnp.arange(mdp.steps)))
