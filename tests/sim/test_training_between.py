"""Rejection fine-tuning and DPO on a small planted task: both solve more often than the base they start from."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim.mdp import TokenMDP
from sim.tasks.planted import Planted
from sim.training.count_mle import count_mle
from sim.training.data import Data, draw_base, exact_counts, kept, tally
from sim.training.dpo import dpo
from sim.training.expert_iteration import expert_iteration
from sim.training.problem import Problem, Settings, law_of_policy, policy_of
from sim.training.reinforce import log_ratios

SIZE, SEEDS = 60, 20

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")


@pytest.fixture(scope="module")
def problem() -> Problem:
    """Two prompts, two gammas; learners see the prompt and what is matched, not gamma."""
    config = Planted(V=4, ell=2, H=6, gammas=(0.0, 2.0), weights=(0.6, 0.4), prompts=((0, 1), (2, 2)), M=4)
    task = config.build()
    prompt, gamma, matched = np.unravel_index(np.arange(task.mdp.states - 1), (2, 2, 2))
    seen = np.append(prompt * 2 + matched, 4)
    assert set(gamma) == {0, 1}
    return Problem.of(task.mdp, task.base, prompt=task.prompt, observed=seen)


def solve_rate(problem: Problem, policy: object) -> jax.Array:
    return (law_of_policy(problem, policy)[:-1].sum(axis=0) * problem.weights).sum()


def test_the_start_hides_gamma(problem: Problem) -> None:
    """Its tokens come as often as the base's, and states that look alike agree."""
    for number in range(4):
        rows = problem.initial[problem.observed == number]
        np.testing.assert_array_equal(rows, np.broadcast_to(rows[0], rows.shape))
    own, base = (exact_counts(problem.mdp, p, problem.base).visits for p in (problem.initial, problem.base))
    np.testing.assert_allclose(own.sum(), base.sum(), rtol=1e-13)
    assert np.allclose(problem.weights, 0.5)


def test_expert_iteration_solves_more_and_more(problem: Problem) -> None:
    settings = Settings(batch=SIZE, rounds=3)
    keys = jax.random.split(jax.random.key(0), SEEDS)
    policies = jax.vmap(lambda key: expert_iteration(problem, settings, key, SIZE))(keys)
    rates = np.asarray(jax.jit(jax.vmap(jax.vmap(lambda p: solve_rate(problem, p))))(policies))
    np.testing.assert_allclose(rates[:, 0], float(solve_rate(problem, problem.initial)), rtol=1e-12)
    for r in range(3):
        gain = rates[:, r + 1] - rates[:, r]
        assert gain.mean() > 5 * gain.std() / np.sqrt(SEEDS)


def test_without_traces_nothing_is_learnt(problem: Problem) -> None:
    policies = expert_iteration(problem, Settings(batch=SIZE, rounds=3), jax.random.key(5), 0)
    np.testing.assert_array_equal(policies, np.broadcast_to(problem.initial, policies.shape))


def test_dpo_solves_more(problem: Problem) -> None:
    settings = Settings(beta=0.5, iterations=100)

    def rate(key: jax.Array) -> jax.Array:
        return solve_rate(problem, dpo(problem, draw_base(problem, key, SIZE, SIZE), settings))

    rates = np.asarray(jax.jit(jax.vmap(rate))(jax.random.split(jax.random.key(1), SEEDS)))
    gain = rates - float(solve_rate(problem, problem.initial))
    assert gain.mean() > 5 * gain.std() / np.sqrt(SEEDS)


def by_hand() -> tuple[Problem, Data]:
    """One state, two tokens, H = 1: token 0 solves."""
    mdp = TokenMDP.of([1.0], np.zeros((1, 2), dtype=int), np.array([[1.0, 0.0]]), 1)
    problem = Problem.of(mdp, np.array([[0.3, 0.7]]))
    tokens = np.array([[0], [1], [1], [0]])
    data = Data(np.zeros(4, int), np.zeros((4, 1), int), tokens, 1.0 - tokens, np.array([[1.0], [1.0], [1.0], [0.0]]))
    return problem, data


def test_dpo_by_hand() -> None:
    """Two pairs, both of odds beta times the change of the logit: the gradient never vanishes, so odds grow."""
    problem, data = by_hand()
    short, long = (dpo(problem, data, Settings(iterations=i)) for i in (10, 100))
    assert 0.3 < float(short[0, 0]) < float(long[0, 0]) < 1.0
    none = kept(data, np.array([1.0, 0.0, 0.0, 0.0]))
    np.testing.assert_allclose(dpo(problem, none, Settings(iterations=10)), problem.base, rtol=1e-15)


def test_log_ratios_by_hand() -> None:
    problem, data = by_hand()
    policy = policy_of(problem, jnp.array([[1.0, 0.0]]))
    ratios = np.log(np.asarray(policy) / problem.base)[0]
    np.testing.assert_allclose(log_ratios(data, policy, problem.base), [*ratios[[0, 1, 1]], 0.0], rtol=1e-13)


def test_rejection_is_cloning_of_the_solved(problem: Problem) -> None:
    """What a round fits is the count table of the rows labelled solved."""
    data = draw_base(problem, jax.random.key(3), SIZE, SIZE)
    solved = np.asarray(data.solved) == 1
    assert 0 < solved.sum() < SIZE
    visits = np.zeros_like(problem.base)
    for row in np.flatnonzero(solved):
        for s, a in zip(data.states[row], data.tokens[row], strict=True):
            visits[problem.observed == problem.observed[s], a] += 1
    total = visits.sum(axis=1, keepdims=True)
    expected = np.where(total > 0, visits / np.where(total > 0, total, 1), problem.initial)
    np.testing.assert_allclose(count_mle(problem, tally(kept(data, data.solved), problem.base)), expected, rtol=1e-13)
