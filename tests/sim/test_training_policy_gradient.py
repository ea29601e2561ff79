"""Policy gradient ends where the theory says: at the chi-squared ball's expert, or at the exponential tilt."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from sim.ball_expert import averaged_ball_expert
from sim.dynamic_programming import chi2_divergence, kl_divergence
from sim.enumeration import traces
from sim.mdp import returns
from sim.training.policy_gradient import penalty_of_ball, policy_gradient, regularised_value
from sim.training.problem import Problem, Settings, law_of_policy, policy_of, tabular_features, value_of_law
from sim.training.reinforce import reinforce
from token_trees import random_base, tree, tree_rewards

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")


def problem_of(seed: int) -> Problem:
    """With a reward that varies on every prompt."""
    rng = np.random.default_rng(seed)
    while True:
        mdp = tree(rng)
        problem = Problem.of(mdp, random_base(rng, mdp))
        law = np.asarray(law_of_policy(problem, problem.base))
        if ((law > 0).sum(axis=0) > 2).all():
            return problem


def J(problem: Problem, policy: object) -> float:
    return float(value_of_law(problem, law_of_policy(problem, policy)))


@pytest.mark.parametrize("kappa", [0.05, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_chi2_penalty_gives_the_expert_of_the_ball(seed: int, kappa: float) -> None:
    """At the penalty of the ball the value and the divergence are the expert's."""
    problem = problem_of(seed)
    mdp, law = problem.mdp, np.asarray(law_of_policy(problem, problem.base))
    expert = averaged_ball_expert(law, returns(mdp), mdp.weights, kappa)
    penalty = penalty_of_ball(law, returns(mdp), mdp.weights, kappa)
    policy = policy_gradient(problem, mdp.rewards, Settings(penalty=penalty, iterations=1500), "chi2")
    assert J(problem, policy) == pytest.approx(mdp.weights @ expert.mean, rel=1e-3)
    attained = float(mdp.weights @ chi2_divergence(mdp, policy, problem.base))
    assert attained == pytest.approx(mdp.weights @ expert.divergence, rel=2e-2)
    best = mdp.weights @ (expert.mean - penalty * expert.divergence)
    assert float(regularised_value(problem, mdp.rewards, policy, penalty, "chi2")) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("penalty", [0.3, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_kl_penalty_gives_the_exponential_tilt(seed: int, penalty: float) -> None:
    problem = problem_of(seed)
    mdp, law = problem.mdp, np.asarray(law_of_policy(problem, problem.base))
    tilted = law * np.exp(returns(mdp) / penalty)[:, None]
    best = mdp.weights @ (penalty * np.log(tilted.sum(axis=0)))
    tilted /= tilted.sum(axis=0)
    policy = policy_gradient(problem, mdp.rewards, Settings(penalty=penalty, iterations=1500), "kl")
    assert J(problem, policy) == pytest.approx(mdp.weights @ (returns(mdp) @ tilted), rel=1e-3)
    assert float(regularised_value(problem, mdp.rewards, policy, penalty, "kl")) == pytest.approx(best, rel=1e-4)
    np.testing.assert_allclose(law_of_policy(problem, policy), tilted, atol=3e-3)
    assert float(mdp.weights @ kl_divergence(mdp, policy, problem.base)) > 0


def test_gradient_is_that_of_enumeration() -> None:
    """Against central differences of the sum over all traces."""
    problem = problem_of(1)
    mdp, rng = problem.mdp, np.random.default_rng(0)
    at, along = rng.normal(size=(2, *problem.base.shape))
    verifier = tree_rewards(rng, mdp, 2)[1]
    found = [(t.prompt, t.states[: mdp.steps], t.tokens) for t in traces(mdp, problem.base)]

    def value(parameters: np.ndarray) -> float:
        policy, total = np.asarray(policy_of(problem, parameters)), 0.0
        for x, states, tokens in found:
            p, b = policy[states, tokens].prod(), problem.base[states, tokens].prod()
            total += mdp.weights[x] * (p * verifier[states, tokens].sum() - 0.7 * (p - b) ** 2 / b)
        return total

    def exact(parameters: jax.Array) -> jax.Array:
        return regularised_value(problem, verifier, policy_of(problem, parameters), 0.7, "chi2")

    slope = float((jax.grad(exact)(at) * along).sum())
    assert slope == pytest.approx((value(at + 1e-5 * along) - value(at - 1e-5 * along)) / 2e-5, rel=1e-8)
    assert float(exact(at)) == pytest.approx(value(at), rel=1e-12)


def test_features_restrict_the_policy() -> None:
    """One parameter a token, whatever the state: better than the base, not better than a table."""
    problem = problem_of(2)
    shared = Problem.of(problem.mdp, problem.base, features=tabular_features(np.zeros(problem.mdp.states, int), 2))
    settings, reward = Settings(penalty=0.5, iterations=500), problem.mdp.rewards
    few = policy_gradient(shared, reward, settings, "kl", False)
    free = policy_gradient(problem, reward, settings, "kl", True)
    base, small, large = (
        float(regularised_value(problem, reward, policy, 0.5, "kl")) for policy in (problem.base, few, free)
    )
    assert base < small < large


@pytest.mark.parametrize("divergence", ["chi2", "kl"])
def test_reinforce_finds_the_same(divergence: str) -> None:
    problem = problem_of(0)
    reward, key = problem.mdp.rewards, jax.random.key(0)
    settings = Settings(penalty=1.0, iterations=400, batch=128)
    exact = policy_gradient(problem, reward, settings, divergence)
    sampled = reinforce(problem, reward, settings, key, divergence)
    base, best, found = (
        float(regularised_value(problem, reward, policy, 1.0, divergence)) for policy in (problem.base, exact, sampled)
    )
    assert best - 0.05 * (best - base) <= found <= best + 1e-6


def test_penalty_where_only_the_best_is_kept() -> None:
    """A ball that holds the policy of the largest return only, and one in which no return varies."""
    law, R = np.array([[0.25], [0.75]]), np.array([2.0, 0.0])
    assert penalty_of_ball(law, R, np.ones(1), 3.0) == pytest.approx(0.25)
    assert penalty_of_ball(law, R, np.ones(1), 1.0) == pytest.approx(2 * np.sqrt(0.1875) / 2)
    with pytest.raises(ValueError, match="do not vary"):
        penalty_of_ball(np.ones((1, 1)), np.zeros(1), np.ones(1), 1.0)
    with pytest.raises(ValueError, match="kappa > 0"):
        penalty_of_ball(law, R, np.ones(1), 0.0)
