"""Dynamic programming and the experts of the ball against the enumeration of every trace."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from mdps import KINDS, Floats, Kind, random_mdp, random_policy
from sim.ball_expert import averaged_ball_expert, ball_expert, expert_policy, return_laws
from sim.dynamic_programming import (
    Evaluation,
    HorizonValues,
    chi2_divergence,
    evaluate,
    kl_divergence,
    log_solve_time_law,
    mean_return,
    occupancy,
    solve_time_law,
    state_values,
    values_by_horizon,
)
from sim.enumeration import Trace, chi2_by_enumeration, expectation, heterogeneity_by_enumeration, traces
from sim.mdp import TokenMDP, checked_policy, returns, told_apart
from theory.chi2_ball import chi2_divergence as chi2_of_masses
from theory.chi2_ball import optimal_expert
from theory.heterogeneity import decompose
from theory.planted import failure_function, token_probabilities
from theory.planted import solve_time_law as planted_law

pytestmark = pytest.mark.usefixtures("quick_to_compile")

EXACT = 1e-12
INSTANCES = 200


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@dataclass(frozen=True)
class Example:
    """A process, a policy on it, and every trace."""

    kind: Kind
    mdp: TokenMDP
    policy: Floats

    @cached_property
    def traces(self) -> list[Trace]:
        return traces(self.mdp, self.policy)

    @cached_property
    def evaluation(self) -> Evaluation:
        return evaluated(self.mdp, self.policy)

    @property
    def horizon(self) -> int:
        return int(self.mdp.horizon)

    def mean(self, value: Any) -> Floats:
        return np.array([float(e) for e in expectation(self.traces, value)])


def examples(count: int, seed: int, kinds: tuple[Kind, ...] = KINDS) -> list[Example]:
    rng = np.random.default_rng(seed)
    found = []
    for kind in itertools.islice(itertools.cycle(kinds), count):
        mdp = random_mdp(rng, kind)
        found.append(Example(kind, mdp, random_policy(rng, mdp, kind.stationary)))
    return found


@pytest.fixture(scope="module")
def tiny() -> list[Example]:
    return examples(INSTANCES, seed=0)


def evaluated(mdp: TokenMDP, policy: Floats) -> Evaluation:
    """``evaluate`` in NumPy: what is done with it compiles nothing."""
    return Evaluation(*(np.asarray(x) for x in evaluate(mdp, policy)))


def close(found: Any, exact: Any, tolerance: float = EXACT) -> None:
    found = np.asarray(found)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.asarray(exact, dtype=np.float64), rtol=0, atol=tolerance)


def test_examples_are_no_trivial_ones(tiny: list[Example]) -> None:
    """Most have a return that varies, many of either kind of transitions."""
    for deterministic in (True, False):
        spread = [float(e.evaluation.variance.max()) for e in tiny if e.kind.deterministic == deterministic]
        assert np.mean(np.array(spread) > 1e-3) > 0.5


def test_moments_of_the_return_agree_with_enumeration(tiny: list[Example]) -> None:
    """Mean and variance of R given each prompt, on 200 processes of every kind."""
    for e in tiny:
        found = e.evaluation
        mean = expectation(e.traces, lambda t: t.to_go(1))
        square = expectation(e.traces, lambda t: t.to_go(1) ** 2)
        close(found.mean, [float(m) for m in mean])
        close(found.variance, [float(s - m * m) for s, m in zip(square, mean, strict=True)])


def test_values_and_occupancy_agree_with_enumeration(tiny: list[Example]) -> None:
    """V_h(s), Q_h(s, a) and d_h(s) are conditional means and frequencies of traces; zeros after H."""
    for e in tiny:
        found = e.evaluation
        shape = (e.mdp.steps, e.mdp.states, e.mdp.tokens)
        mass, total = np.zeros(shape), np.zeros(shape)
        for t in e.traces:
            p = e.mdp.weights[t.prompt] * float(t.probability)
            for h in range(1, e.horizon + 1):
                place = (h - 1, t.states[h - 1], t.tokens[h - 1])
                mass[place] += p
                total[place] += p * t.to_go(h)
        met, at = mass > 0, mass.sum(axis=2) > 0
        close(found.occupancy, mass.sum(axis=2))
        close(found.action_values[met], total[met] / mass[met])
        close(found.state_values[:-1][at], total.sum(axis=2)[at] / mass.sum(axis=2)[at])
        assert not np.any(found.action_values[e.horizon :])
        assert not np.any(found.state_values[e.horizon :])


def test_parts_alone_are_those_of_the_whole(tiny: list[Example]) -> None:
    """mean_return, state_values and occupancy are what evaluate has of them."""
    for e in tiny:
        if e.kind in (KINDS[0], KINDS[7]):
            close(mean_return(e.mdp, e.policy), e.evaluation.mean, 1e-14)
            close(state_values(e.mdp, e.policy), e.evaluation.state_values, 1e-14)
            close(occupancy(e.mdp, e.policy), e.evaluation.occupancy, 1e-14)


def test_both_sums_of_heterogeneity_agree_with_enumeration(tiny: list[Example]) -> None:
    """E Var_a Q_h and E Var_s' V_{h+1}, step by step; the second are 0 where transitions are deterministic."""
    for e in tiny:
        found = e.evaluation
        by_tokens, by_transitions = heterogeneity_by_enumeration(e.mdp, e.policy)
        rest = [0] * (e.mdp.steps - e.horizon)
        close(found.by_actions, [*map(float, by_tokens), *rest])
        close(found.by_transitions, [*map(float, by_transitions), *rest])
        assert not (e.mdp.is_deterministic and np.any(found.by_transitions))


def test_heterogeneity_identity(tiny: list[Example]) -> None:
    """Both sums add up to the variance, prompt by prompt, and are those by step on average over prompts."""
    for e in tiny:
        found = e.evaluation
        close(found.heterogeneity + found.from_transitions, found.variance, 1e-10)
        close(e.mdp.weights @ found.heterogeneity, found.by_actions.sum())
        close(e.mdp.weights @ found.from_transitions, found.by_transitions.sum())


def random_process(rng: np.random.Generator, horizon: int) -> tuple[TokenMDP, Floats]:
    """Stochastic transitions of 40 states, about one in ten solved."""
    kernel = rng.dirichlet(np.full(40, 0.1), (40, 4))
    kernel[:4] *= np.arange(40) < 4
    reward = np.zeros((40, 4))
    reward[:4] = 1
    start = np.append(np.zeros(4), rng.dirichlet(np.ones(36)))
    mdp = TokenMDP.of(start, kernel / kernel.sum(axis=2, keepdims=True), reward, horizon)
    return mdp, checked_policy(mdp, rng.dirichlet(np.full(4, 0.3), 40))


def test_heterogeneity_identity_at_a_long_horizon() -> None:
    """Var(R|x) of 36 prompts at H = 300, stochastic transitions: the sums, second moments and the law of T agree."""
    mdp, policy = random_process(np.random.default_rng(5), 300)
    found = evaluated(mdp, policy)
    law = np.asarray(solve_time_law(mdp, policy))
    sums, scale = found.heterogeneity + found.from_transitions, found.variance
    assert np.all(np.asarray(found.from_transitions) > 0.1 * scale)
    np.testing.assert_allclose(sums, scale, rtol=1e-10)
    np.testing.assert_allclose([x.sd**2 for x in return_laws(law, returns(mdp))], scale, rtol=1e-10)
    np.testing.assert_allclose(returns(mdp) @ law, found.mean, rtol=1e-12)


def test_theory_decomposes_alike(tiny: list[Example]) -> None:
    """theory.heterogeneity.decompose gives the same values, occupancies and sums."""
    for e in tiny:
        H, start = e.horizon, np.zeros(e.mdp.states)
        start[e.mdp.prompts] = e.mdp.weights
        axes = 2 if e.mdp.is_deterministic else 3
        tables = ((e.policy, 2), (e.mdp.transitions, axes), (e.mdp.rewards, 2))
        policy, kernel, reward = (list(x[:H]) if x.ndim > n else [x] * H for x, n in tables)
        if e.mdp.is_deterministic:  # given as laws, so that layers have the same states
            kernel = [np.eye(e.mdp.states)[k] for k in kernel]
        other = decompose(start, policy, kernel, reward)
        found = e.evaluation
        close(found.by_actions[:H], other.by_actions)
        close(found.by_transitions[:H], other.by_transitions)
        close(found.action_values[:H], other.action_values)
        close(found.state_values[: H + 1], other.state_values)
        close(found.occupancy[:H], other.occupancy[:H])
        close(e.mdp.weights @ found.mean, other.mean)
        close(e.mdp.weights @ found.variance, other.variance)


def test_solve_time_law_agrees_with_enumeration(tiny: list[Example]) -> None:
    """P(T = h | x), P(never | x), zeros between H and never."""
    for e in tiny:
        found = np.asarray(solve_time_law(e.mdp, e.policy))
        exact = [e.mean(lambda t, h=h: t.solve_time == h) for h in range(1, e.mdp.steps + 1)]
        close(found, [*exact, e.mean(lambda t: t.solve_time is None)])
        assert not np.any(found[e.horizon : -1])


def test_return_law_agrees_with_enumeration(tiny: list[Example]) -> None:
    """The law of R as theory takes it."""
    for e in tiny:
        laws = return_laws(np.asarray(solve_time_law(e.mdp, e.policy)), returns(e.mdp))
        for value in range(e.horizon + 1):
            found = [float(law.probabilities[law.values == value].sum()) for law in laws]
            close(found, e.mean(lambda t, r=value: t.to_go(1) == r))


def test_logarithmic_law_is_the_logarithm() -> None:
    """Relative error 1e-13 wherever float64 has the mass, -inf exactly where it is impossible."""
    for e in examples(80, seed=9, kinds=(KINDS[0], KINDS[3], KINDS[4], KINDS[7])):
        found = np.asarray(log_solve_time_law(e.mdp, e.policy))
        law = np.asarray(solve_time_law(e.mdp, e.policy))
        np.testing.assert_array_equal(np.isneginf(found), law == 0)
        np.testing.assert_allclose(found[law > 0], np.log(law[law > 0]), rtol=0, atol=1e-12)


def chain(length: int, by_step: bool) -> tuple[TokenMDP, Floats]:
    """Token 0, of probability 1/10, advances; the last of ``length`` in a row solves; any other is the end."""
    lost, solved = length, length + 1
    forward = np.append(np.arange(1, length), solved)
    kernel = np.stack([np.append(forward, [lost, solved]), np.append(np.full(length + 1, lost), solved)], axis=1)
    reward = np.zeros((length + 2, 2))
    reward[length - 1, 0] = 1
    reward[solved] = 1
    start = np.eye(length + 2)[0] * 0.5 + np.eye(length + 2)[length - 1] * 0.5
    mdp = TokenMDP.of(start, kernel, reward, length + 5)
    policy = np.tile([0.1, 0.9], (length + 2, 1))
    return mdp, np.tile(policy, (length + 5, 1, 1)) if by_step else policy


@pytest.mark.parametrize("length", [12, 400])
@pytest.mark.parametrize("by_step", [False, True])
def test_solve_times_far_below_the_smallest_float(length: int, by_step: bool) -> None:
    """0.1^400 has its logarithm, with a matrix (13 states) and without one."""
    mdp, policy = chain(length, by_step)
    found = np.asarray(log_solve_time_law(mdp, policy))
    assert found[length - 1, 0] == pytest.approx(length * math.log(0.1), rel=1e-12)
    assert found[0, 1] == pytest.approx(math.log(0.1), rel=1e-12)
    assert np.sum(np.isfinite(found[:-1])) == 2
    close(found[-1], [0.1**length, 0.1] if length < 300 else [0.0, math.log(0.9)], 2.0)
    law = np.asarray(solve_time_law(mdp, policy))
    np.testing.assert_allclose(law[length - 1, 0], 0.1**length, rtol=1e-12)


def padded(mdp: TokenMDP, policy: Floats, states: int) -> tuple[TokenMDP, Floats]:
    """The same process among unreachable states that lead to it."""
    more = states - mdp.states
    start = np.zeros(states)
    start[mdp.prompts] = mdp.weights
    kernel, lead = np.asarray(mdp.transitions), np.asarray(mdp.transitions).shape[:-2]
    wide = np.concatenate([kernel, np.zeros((*lead, more, mdp.tokens), dtype=kernel.dtype)], axis=-2)
    reward = np.concatenate([mdp.rewards, np.zeros((*mdp.rewards.shape[:-2], more, mdp.tokens))], axis=-2)
    idle = np.full((*policy.shape[:-2], more, mdp.tokens), 1.0 / mdp.tokens)
    return TokenMDP.of(start, wide, reward, int(mdp.horizon), mdp.steps), np.concatenate([policy, idle], axis=-2)


@pytest.mark.parametrize("states", [20, 80])
def test_many_states_are_computed_as_few(states: int) -> None:
    """Among unreachable states, so many that moves are no written-out products (20) or no matrix (80): same numbers."""
    for e in examples(12, seed=12, kinds=(KINDS[0], KINDS[3])):
        mdp, policy = padded(e.mdp, e.policy, states)
        few, many = e.evaluation, evaluated(mdp, policy)
        for name in ("mean", "heterogeneity", "variance", "by_actions"):
            close(getattr(many, name), getattr(few, name))
        close(many.occupancy[:, : e.mdp.states], few.occupancy)
        close(solve_time_law(mdp, policy), solve_time_law(e.mdp, e.policy))
        close(np.exp(np.asarray(log_solve_time_law(mdp, policy))), solve_time_law(e.mdp, e.policy))


def planted(gold: tuple[int, ...], V: int, gamma: float, H: int) -> tuple[TokenMDP, Floats]:
    """The automaton of a gold, state by state and token by token, with the solved state."""
    ell, borders = len(gold), failure_function(gold)
    after = np.full((ell + 1, V), ell)
    for k, token in itertools.product(range(ell), range(V)):
        j = k
        while j and gold[j] != token:
            j = borders[j - 1]
        after[k, token] = j + 1 if gold[j] == token else 0
    reward = (after == ell) * 1
    q, o = token_probabilities(V, gamma)
    policy = np.full((ell + 1, V), float(o))
    policy[np.arange(ell), gold] = float(q)
    policy[ell] = 1 / V
    return TokenMDP.of(np.eye(ell + 1)[0], after, reward, H), policy


@pytest.mark.parametrize("gold", [(1, 2, 3, 4, 5), (1, 1, 1, 1, 1), (1, 2, 1, 2, 1)])
def test_planted_automaton_has_the_planted_law(gold: tuple[int, ...]) -> None:
    """At |V| = 30, gamma = 4, H = 512 every mass agrees with theory.planted to 1e-12 of itself."""
    mdp, policy = planted(gold, 30, 4.0, 512)
    exact = planted_law(gold, 30, 4.0, 512)
    law = np.asarray(solve_time_law(mdp, policy))[:, 0]
    np.testing.assert_allclose(law[:-1], exact.masses, rtol=1e-12)
    assert np.asarray(mean_return(mdp, policy)).item() == pytest.approx(exact.mean_return, rel=1e-12)
    assert math.sqrt(evaluated(mdp, policy).heterogeneity[0]) == pytest.approx(exact.sd_return, rel=1e-10)


def test_one_pass_serves_every_horizon() -> None:
    """values_by_horizon has for every H what evaluate has at H, and 0 at H = 0."""
    for e in examples(24, seed=3, kinds=tuple(k for k in KINDS if k.homogeneous and k.stationary)):
        every = HorizonValues(*(np.asarray(x) for x in values_by_horizon(e.mdp, e.policy)))
        assert not any(np.any(x[0]) for x in every)
        for h in range(1, e.mdp.steps + 1):
            found = evaluated(e.mdp.at(h), e.policy)
            for name in every._fields:
                close(getattr(every, name)[h], getattr(found, name))


def test_one_pass_needs_a_process_that_does_not_know_the_step() -> None:
    """Otherwise horizons differ in more than length."""
    mdp, policy = planted((1, 2), 3, 1.0, 4)
    with pytest.raises(ValueError, match="do not depend on the step"):
        values_by_horizon(mdp, np.tile(policy, (4, 1, 1)))


def test_one_compilation_for_all_horizons() -> None:
    """512 horizons add one entry to each cache; mapped over the horizon they are the same numbers."""
    mdp, policy = planted((0, 1, 2), 4, 2.0, 512)
    functions = (mean_return, evaluate, solve_time_law)
    before = [f._cache_size() for f in functions]
    values = [np.asarray(mean_return(mdp.at(h), policy))[0] for h in range(1, 513)]
    for f, h in itertools.product(functions[1:], (1, 100, 512)):
        f(mdp.at(h), policy)
    assert [f._cache_size() - b for f, b in zip(functions, before, strict=True)] == [1, 1, 1]
    close(np.asarray(values_by_horizon(mdp, policy).mean)[1:, 0], values, 1e-9)
    at = jax.vmap(lambda h: mean_return(dataclasses.replace(mdp, horizon=h), policy)[0])
    close(at(jnp.arange(1, 513, dtype=jnp.int32)), values, 1e-9)


def test_policies_are_mapped_over() -> None:
    """jax.vmap over policies, leading or last axis, gives what each gives alone."""
    e = examples(1, seed=1)[0]
    policies = np.stack([random_policy(np.random.default_rng(i), e.mdp) for i in range(5)])
    for function in (mean_return, solve_time_law):
        alone = np.stack([np.asarray(function(e.mdp, p)) for p in policies])
        close(jax.vmap(function, in_axes=(None, 0))(e.mdp, policies), alone, 1e-14)
        last = jax.vmap(function, in_axes=(None, -1), out_axes=-1)(e.mdp, np.moveaxis(policies, 0, -1))
        close(last, np.moveaxis(alone, 0, -1), 1e-14)


def test_gradient_is_the_policy_gradient() -> None:
    """dJ/dpi_h(a|s) = d_h(s) Q_h(s, a): reverse differentiation goes through."""
    slope = jax.jit(jax.grad(lambda policy, mdp: mdp.weights @ mean_return(mdp, policy)))
    for e in examples(8, seed=2, kinds=(KINDS[1], KINDS[5])):
        table = np.broadcast_to(e.policy, (e.mdp.steps, e.mdp.states, e.mdp.tokens))
        gradient = slope(table, e.mdp)
        found = e.evaluation
        close(gradient, found.occupancy[:, :, None] * found.action_values)


def test_divergences_agree_with_enumeration() -> None:
    """chi^2 and KL between laws of traces, random transitions included; infinite where the base never goes."""
    infinite = 0
    for e in examples(60, seed=4, kinds=(KINDS[0], KINDS[3], KINDS[4], KINDS[7])):
        base = random_policy(np.random.default_rng(11), e.mdp, e.kind.stationary)
        exact = np.array([float(x) for x in chi2_by_enumeration(e.mdp, e.policy, base)])
        under = {(t.prompt, t.states, t.tokens): t.probability for t in traces(e.mdp, base)}
        finite, kl = np.isfinite(exact), np.zeros(len(exact))
        infinite += int(np.sum(~finite))
        for t in e.traces:
            if finite[t.prompt]:
                ratio = float(t.probability / under[t.prompt, t.states, t.tokens])
                kl[t.prompt] += float(t.probability) * math.log(ratio)
        for found, reference in ((chi2_divergence, exact), (kl_divergence, kl)):
            value = np.asarray(found(e.mdp, e.policy, base))
            np.testing.assert_array_equal(np.isinf(value), ~finite)
            np.testing.assert_allclose(value[finite], reference[finite], rtol=1e-10, atol=1e-12)
    assert infinite > 5


def test_small_divergences_keep_their_digits() -> None:
    """A policy within 1e-7 of the base has chi^2 and twice the KL near 1e-14 within 1e-6 of each other."""
    mdp, base = planted((0, 1), 3, 1.0, 20)
    policy = base.copy()
    policy[:, 0] += 1e-7
    policy[:, 1] -= 1e-7
    chi2, kl = (
        np.asarray(chi2_divergence(mdp, policy, base)).item(),
        np.asarray(kl_divergence(mdp, policy, base)).item(),
    )
    visits = np.asarray(occupancy(mdp, base)).sum(axis=0)
    exact = float(visits @ (1e-14 / base[:, 0] + 1e-14 / base[:, 1]))
    assert chi2 == pytest.approx(exact, rel=1e-5)
    assert 2 * kl == pytest.approx(exact, rel=1e-2)  # pi log(pi/b) sums terms of 1e-7


def apart(e: Example) -> Example:
    """The example with its prompts told apart."""
    return Example(e.kind, told_apart(e.mdp), np.concatenate([e.policy] * len(e.mdp.prompts), axis=-2))


KAPPAS = (0.0, 1e-3, 0.3, 1.0, 3.0, 50.0)


@pytest.fixture(scope="module")
def separated() -> list[Example]:
    return [apart(e) for e in examples(96, seed=6, kinds=(KINDS[0], KINDS[3]))]


@pytest.mark.parametrize("averaged", [False, True])
def test_expert_is_executed_as_its_law_says(separated: list[Example], averaged: bool) -> None:
    """By enumeration of its traces, the expert's policy has the value, divergence and solve times of its law."""
    for e, kappa in zip(separated, itertools.cycle(KAPPAS), strict=False):
        law, R = np.asarray(solve_time_law(e.mdp, e.policy)), returns(e.mdp)
        expert = averaged_ball_expert(law, R, e.mdp.weights, kappa) if averaged else ball_expert(law, R, kappa)
        policy = checked_policy(e.mdp, expert_policy(e.mdp, e.policy, expert.weights))
        run = Example(e.kind, e.mdp, policy)
        divergence = [float(x) for x in chi2_by_enumeration(e.mdp, policy, e.policy)]
        close(expert.mean, run.mean(lambda t: t.to_go(1)))
        np.testing.assert_allclose(expert.divergence, divergence, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(chi2_divergence(e.mdp, policy, e.policy), divergence, rtol=1e-11, atol=1e-12)
        close(solve_time_law(e.mdp, policy), expert.law)


def test_expert_is_the_base_once_solved(separated: list[Example]) -> None:
    """Where every token is rewarded the expert's policy is the base's."""
    for e in separated[:24]:
        expert = ball_expert(np.asarray(solve_time_law(e.mdp, e.policy)), returns(e.mdp), 1.0)
        policy = expert_policy(e.mdp, e.policy, expert.weights)
        solved = np.broadcast_to(np.all(e.mdp.rewards == 1, axis=-1), policy.shape[:2])
        close(policy[solved], np.broadcast_to(e.policy, policy.shape)[solved], 1e-14)


def test_expert_of_each_prompt_is_that_of_the_theory(separated: list[Example]) -> None:
    """Divergence kappa unless all mass is on the largest return; value that of theory.chi2_ball."""
    for e, kappa in zip(separated, itertools.cycle(KAPPAS), strict=False):
        law, R = np.asarray(solve_time_law(e.mdp, e.policy)), returns(e.mdp)
        expert = ball_expert(law, R, kappa)
        for x, base in enumerate(return_laws(law, R)):
            masses = optimal_expert(base, kappa)
            close(expert.mean[x], masses @ base.values)
            np.testing.assert_allclose(expert.divergence[x], chi2_of_masses(masses, base.probabilities), atol=1e-11)
            full = (1 + kappa) * base.probabilities[-1] >= 1
            assert expert.divergence[x] == pytest.approx(1 / base.probabilities[-1] - 1 if full else kappa, abs=1e-10)


def best_by_search(law: Floats, R: Floats, weights: Floats, kappa: float) -> float:
    """max E_x E[R] over densities with E_x chi^2 <= kappa, by sequential quadratic programming."""
    rows, count = law.shape

    def density(u: Floats) -> Floats:
        return u.reshape(rows, count)

    limits = [
        {"type": "ineq", "fun": lambda u: kappa - weights @ (law * (density(u) - 1) ** 2).sum(axis=0)},
        {"type": "eq", "fun": lambda u: (law * density(u)).sum(axis=0) - 1},
    ]
    found = minimize(
        lambda u: -float(weights @ (R @ (law * density(u)))),
        np.ones(rows * count),
        method="SLSQP",
        bounds=[(0, None)] * (rows * count),
        constraints=limits,
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert found.success
    return -float(found.fun)


@pytest.mark.parametrize("kappa", [0.02, 0.2, 1.0, 2.5, 6.0])
def test_averaged_expert_is_the_best_in_the_averaged_ball(kappa: float) -> None:
    """No search over all densities finds more, and it finds as much to 1e-5; the mean divergence is kappa."""
    rng = np.random.default_rng(8)
    for _ in range(4):
        law, R = rng.dirichlet(np.ones(5), 3).T, np.array([4.0, 3.0, 2.0, 1.0, 0.0])
        weights = rng.dirichlet(np.ones(3))
        expert = averaged_ball_expert(law, R, weights, kappa)
        most = weights @ (1 / law[0] - 1)
        assert weights @ expert.divergence == pytest.approx(min(kappa, most), rel=1e-9)
        assert weights @ expert.mean == pytest.approx(best_by_search(law, R, weights, kappa), abs=1e-5)


def test_averaged_ball_contains_the_ball(separated: list[Example]) -> None:
    """Its expert is worth at least as much, with mean divergence at most kappa; alone on a prompt both agree."""
    for e, kappa in zip(separated, itertools.cycle(KAPPAS), strict=False):
        law, R, weights = np.asarray(solve_time_law(e.mdp, e.policy)), returns(e.mdp), e.mdp.weights
        one, averaged = ball_expert(law, R, kappa), averaged_ball_expert(law, R, weights, kappa)
        assert weights @ averaged.mean >= weights @ one.mean - EXACT
        assert weights @ averaged.divergence <= kappa * (1 + 1e-9) + EXACT
        alone = averaged_ball_expert(law[:, :1], R, np.ones(1), kappa)
        close(alone.mean, one.mean[:1], 1e-9)


def test_averaged_expert_of_rare_prompts_and_certain_ones() -> None:
    """Masses of 1e-12, a prompt that always and one that never solves: divergence kappa, densities of mean 1."""
    law = np.array([[1e-12, 1.0, 0.0], [0.5, 0.0, 0.0], [0.5 - 1e-12, 0.0, 1.0]])
    R, weights = np.array([2.0, 1.0, 0.0]), np.array([0.2, 0.3, 0.5])
    for kappa in (1e-6, 0.1, 0.2, 1.0, 1e3, 1e9, 1e12):
        expert = averaged_ball_expert(law, R, weights, kappa)
        close((law * expert.weights).sum(axis=0), np.ones(3))
        assert weights @ expert.divergence == pytest.approx(min(kappa, 0.2 * (1e12 - 1)), rel=1e-6)
        np.testing.assert_array_equal(expert.divergence[1:], 0)


@pytest.mark.parametrize("expert", [ball_expert, lambda law, R, kappa: averaged_ball_expert(law, R, np.ones(1), kappa)])
def test_experts_refuse_negative_radii(expert: Any) -> None:
    """There is no ball of radius -1."""
    with pytest.raises(ValueError, match="expected kappa >= 0"):
        expert(np.array([[0.5], [0.5]]), np.array([1.0, 0.0]), -1.0)


def test_expert_policy_needs_prompts_apart_and_deterministic_transitions() -> None:
    """Where two prompts share a state, or transitions are random, there is no such policy of the state alone."""
    together = TokenMDP.of([0.5, 0.5, 0], [[2, 2], [2, 2], [2, 2]], np.zeros((3, 2)), 2)
    uniform = np.full((3, 2), 0.5)
    with pytest.raises(ValueError, match="state 2: two prompts lead to it by step 2"):
        expert_policy(together, uniform, np.ones((3, 2)))
    random = TokenMDP.of([1.0, 0, 0], np.full((3, 2, 3), 1 / 3), np.zeros((3, 2)), 2)
    with pytest.raises(ValueError, match="random"):
        expert_policy(random, uniform, np.ones((3, 1)))


def test_expert_at_a_long_horizon() -> None:
    """Planted, H = 512: the policy's solve times are those of the law, its divergence kappa, its value theory's."""
    mdp, base = planted((1, 2, 3), 10, 1.5, 512)
    law = np.asarray(solve_time_law(mdp, base))
    for kappa in (0.1, 1.0, 100.0):
        expert = ball_expert(law, returns(mdp), kappa)
        policy = expert_policy(mdp, base, expert.weights)
        close(solve_time_law(mdp, policy), expert.law, 1e-12)
        largest = 1 / return_laws(law, returns(mdp))[0].probabilities[-1] - 1
        assert np.asarray(chi2_divergence(mdp, policy, base)).item() == pytest.approx(min(kappa, largest), rel=1e-9)
        assert np.asarray(mean_return(mdp, policy)).item() == pytest.approx(float(expert.mean[0]), rel=1e-11)


@pytest.mark.parametrize("by_step", [False, True])
@pytest.mark.parametrize("reward", [0, 1])
def test_one_state_one_step(reward: int, by_step: bool) -> None:
    """H = 1 in one state: solved at once or never; nothing varies, and the expert is the base."""
    tables = ([[[0, 0]]], [[[reward, reward]]]) if by_step else ([[0, 0]], [[reward, reward]])
    mdp = TokenMDP.of([1.0], *tables, 1)
    policy = checked_policy(mdp, [[0.25, 0.75]])
    found = evaluated(mdp, policy)
    close(found.mean, [reward])
    close(found.variance, [0.0])
    law = np.asarray(solve_time_law(mdp, policy))
    close(law, [[reward], [1 - reward]])
    close(np.exp(np.asarray(log_solve_time_law(mdp, policy))), law)
    expert = ball_expert(law, returns(mdp), 1.0)
    close(expert_policy(mdp, policy, expert.weights), [policy])


def test_one_state_that_chooses() -> None:
    """One state, one step, token 0 solves: sigma^2 = p(1 - p), and the expert plays p + sqrt(kappa p (1 - p))."""
    mdp = TokenMDP.of([1.0], [[[0, 0]]], [[[1, 0]]], 1)
    policy = np.array([[0.2, 0.8]])
    close(evaluated(mdp, policy).heterogeneity, [0.16])
    expert = ball_expert(np.asarray(solve_time_law(mdp, policy)), returns(mdp), 0.25)
    close(expert_policy(mdp, policy, expert.weights)[0], [[0.4, 0.6]])


def test_solved_at_the_start() -> None:
    """A prompt in which every token is rewarded has T = 1 and R = H whatever is done."""
    mdp = TokenMDP.of([0.5, 0.5], [[0, 1], [1, 1]], [[0, 1], [1, 1]], 7)
    law = np.asarray(solve_time_law(mdp, np.full((2, 2), 0.5)))
    close(law[:, 1], np.eye(8)[0])
    close(law[:, 0], [*0.5 ** np.arange(1, 8), 0.5**7])
    close(np.asarray(mean_return(mdp, np.full((2, 2), 0.5)))[1], 7.0)


@pytest.mark.parametrize("function", [mean_return, evaluate, solve_time_law, log_solve_time_law, occupancy])
def test_single_precision_is_refused(function: Any) -> None:
    """Outside jax.enable_x64 nothing is computed, even after it was inside."""
    mdp, policy = planted((0, 1), 2, 1.0, 2)
    function(mdp, policy)
    with jax.enable_x64(False), pytest.raises(RuntimeError, match="float64 is off"):
        function(mdp, policy)
