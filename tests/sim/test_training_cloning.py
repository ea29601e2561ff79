"""Behaviour cloning: infinite data give the expert, the class learner obeys its bound, softmax agrees with counting."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest

from sim.dynamic_programming import evaluate
from sim.mdp import TokenMDP
from sim.training.class_mle import class_mle, mle_shares
from sim.training.count_mle import count_mle
from sim.training.data import Counts, draw_expert, exact_counts, tally
from sim.training.finite_class import chosen, shares_of_best
from sim.training.problem import Problem, Settings, law_of_policy, value_of_law
from sim.training.registry import values_over_keys
from sim.training.softmax_sft import softmax_sft
from theory.registry import theorem
from token_trees import ball_policies, random_base, tree, tree_rewards

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")


def problem_of(seed: int, kappa: float = 0.5, members: int = 8, by_step: bool = False) -> Problem:
    rng = np.random.default_rng(seed)
    mdp = tree(rng)
    base = random_base(rng, mdp)
    rewards = tree_rewards(rng, mdp, members)
    experts = ball_policies(mdp, base, rewards, kappa)
    return Problem.of(mdp, base, expert=experts[0], policies=experts, verifiers=rewards, by_step=by_step)


@pytest.mark.parametrize("by_step", [False, True])
def test_infinite_data_give_the_expert(by_step: bool) -> None:
    problem = problem_of(0, by_step=by_step)
    counts = exact_counts(problem.mdp, problem.expert, problem.initial)
    clone = np.asarray(count_mle(problem, counts))
    met = np.asarray(counts.visits).sum(axis=-1) > 0
    np.testing.assert_allclose(clone[met], np.broadcast_to(problem.expert, clone.shape)[met], rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(clone[~met], problem.initial[~met])
    value, best = (float(value_of_law(problem, law_of_policy(problem, p))) for p in (clone, problem.expert))
    assert value == pytest.approx(best, rel=1e-13)


def test_unmet_states_keep_the_base() -> None:
    problem = problem_of(1)
    empty = Counts(np.zeros_like(problem.base), np.zeros_like(problem.base))
    np.testing.assert_array_equal(count_mle(problem, empty), problem.base)


def test_states_that_look_alike_are_counted_together() -> None:
    """A hidden value, drawn once a trace: what is cloned is the mixture, and it is the start of every learner."""
    kernel = np.array([[0, 0], [1, 1]])
    mdp = TokenMDP.of([0.25, 0.75], kernel, np.zeros((2, 2)), 3)
    base = np.array([[0.9, 0.1], [0.2, 0.8]])
    problem = Problem.of(mdp, base, prompt=[0, 0], observed=[0, 0])
    mixture = np.array([0.25 * 0.9 + 0.75 * 0.2, 0.25 * 0.1 + 0.75 * 0.8])
    np.testing.assert_allclose(problem.initial, [mixture, mixture], rtol=1e-13)
    np.testing.assert_allclose(problem.shares, [[0.25], [0.75]], rtol=1e-13)
    np.testing.assert_allclose(
        count_mle(problem, exact_counts(mdp, base, base), np.full((2, 2), 0.5)), [mixture, mixture], rtol=1e-13
    )


def test_ties_are_broken_at_random() -> None:
    shares = shares_of_best(np.array([1.0, 3.0, 3.0 + 1e-12, -np.inf]))
    np.testing.assert_array_equal(shares, [0, 0.5, 0.5, 0])
    np.testing.assert_array_equal(shares_of_best(np.full(2, -np.inf)), [0.5, 0.5])
    drawn = jax.vmap(lambda key: chosen(shares, key))(jax.random.split(jax.random.key(0), 400))
    assert set(np.asarray(drawn).tolist()) == {1, 2}
    assert abs(np.mean(np.asarray(drawn) == 1) - 0.5) < 5 * 0.025


def test_class_mle_is_the_likeliest() -> None:
    problem = problem_of(2)
    data = draw_expert(problem, jax.random.key(0), 30, 50)
    logs = np.zeros(len(problem.policies))
    for row in range(30):
        with np.errstate(divide="ignore"):
            logs += np.log(problem.policies[:, data.states[row], data.tokens[row]]).sum(axis=1)
    counts = tally(data, problem.base)
    best = int(np.argmax(logs))
    assert int(np.argmax(mle_shares(problem.policies, counts))) == best
    np.testing.assert_array_equal(class_mle(problem.policies, counts, jax.random.key(1)), problem.policies[best])


@pytest.mark.parametrize("seed", range(6))
def test_class_mle_obeys_its_bound(seed: int) -> None:
    """``vf-upper`` in expectation over data sets."""
    problem = problem_of(seed, kappa=(0.05, 0.5, 2.0)[seed % 3])
    found = evaluate(problem.mdp, problem.expert)
    weights = problem.mdp.weights
    J, sigma = float(weights @ found.mean), math.sqrt(max(float(weights @ found.variance), 0.0))
    keys = jax.random.split(jax.random.key(seed), 1000)
    for n in (1, 8, 64):
        regret = J - np.asarray(values_over_keys("vf-class-mle", problem, Settings(), keys, n, 64))
        point = {"H": 3.0, "n": float(n), "log2_M": 3.0, "sigma": sigma}
        bound = theorem("vf-upper").evaluator(point).value
        assert abs(regret.mean()) <= bound + 5 * regret.std() / np.sqrt(keys.size)


@pytest.mark.parametrize("exact", [False, True])
def test_tabular_softmax_is_counting(exact: bool) -> None:
    problem = problem_of(3)
    if exact:
        counts = exact_counts(problem.mdp, problem.expert, problem.base)
    else:
        counts = tally(draw_expert(problem, jax.random.key(7), 200, 200), problem.base)
    clone = np.asarray(count_mle(problem, counts))
    fitted = np.asarray(softmax_sft(problem, counts, Settings(iterations=3000)))
    met = np.asarray(counts.visits) > 0
    np.testing.assert_allclose(fitted[met], clone[met], atol=2e-3)
    unmet = np.asarray(counts.visits).sum(axis=1) == 0
    np.testing.assert_array_equal(fitted[unmet], problem.base[unmet])
