"""Exact Bayes learners: no learner is better on average over the prior, by enumeration of all data sets."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim.dynamic_programming import mean_return
from sim.enumeration import traces
from sim.training.bayes import best_policy, posterior_of_labels, posterior_of_traces
from sim.training.best_of_n import best_of_n_density
from sim.training.class_erm import erm_shares
from sim.training.class_mle import mle_shares
from sim.training.count_mle import count_mle
from sim.training.data import Data, draw_base, draw_expert, tally
from sim.training.dpo import dpo
from sim.training.problem import Problem, Settings
from sim.training.search import density_policy, learned_law
from sim.training.softmax_sft import softmax_sft
from sim.training.top_c import top_c_density
from token_trees import ball_policies, data_of, random_base, tree, tree_rewards

MEMBERS, N = 4, 2

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")


class Enumerated(NamedTuple):
    """All data sets of N traces; their probabilities under the expert of each hypothesis, and under the base."""

    problem: Problem
    sets: Data  # leading axis of data sets, unlabelled
    expert: np.ndarray  # (M, sets)
    base: np.ndarray  # (sets,)


@functools.cache
def enumerated(seed: int) -> Enumerated:
    rng = np.random.default_rng(seed)
    mdp = tree(rng, H=2)
    base = random_base(rng, mdp)
    rewards = tree_rewards(rng, mdp, MEMBERS)
    experts = ball_policies(mdp, base, rewards, 0.6)
    problem = Problem.of(mdp, base, expert=experts[0], policies=experts, verifiers=rewards)
    found = traces(mdp, base)
    rows = data_of(found, mdp.steps)

    def masses(policy: np.ndarray) -> np.ndarray:
        return mdp.weights[rows.prompts] * policy[rows.states, rows.tokens].prod(axis=1)

    pairs = np.array(list(itertools.product(range(len(found)), repeat=N)))
    fields = {f.name: np.asarray(getattr(rows, f.name))[pairs] for f in dataclasses.fields(Data)}
    chances = np.stack([masses(policy)[pairs].prod(axis=1) for policy in experts])
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-12)
    return Enumerated(problem, Data(**fields), chances, masses(base)[pairs].prod(axis=1))


@jax.jit
def _values(problem: Problem, policies: Any) -> Any:
    def one(reward: Any, policy: Any) -> Any:
        mdp = dataclasses.replace(problem.mdp, rewards=reward)
        return mdp.weights @ mean_return(mdp, policy)

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None))(problem.verifiers, policies)


def values(problem: Problem, policies: Any) -> np.ndarray:
    """J under each hypothesis of each policy, (M, policies)."""
    return np.asarray(_values(problem, policies))


@jax.jit
def from_traces(problem: Problem, sets: Data) -> dict[str, Any]:
    """What verifier-free learners make of each data set."""

    def one(data: Data) -> dict[str, Any]:
        counts = tally(data, problem.base)
        posterior = posterior_of_traces(problem.policies, counts)
        return {
            "shares": mle_shares(problem.policies, counts),
            "posterior": posterior,
            "bayes": best_policy(problem, posterior),
            "count-mle": count_mle(problem, counts),
            "softmax-sft": softmax_sft(problem, counts, Settings(iterations=100)),
        }

    return jax.vmap(one)(sets)


@jax.jit
def from_labels(problem: Problem, sets: Data, eta: float) -> dict[str, Any]:
    """What verifier-based learners, and DPO, make of each data set."""

    def one(data: Data) -> dict[str, Any]:
        posterior = posterior_of_labels(problem.verifiers, data, eta)
        return {
            "shares": erm_shares(problem.verifiers, tally(data, problem.base)),
            "posterior": posterior,
            "bayes": best_policy(problem, posterior),
            "dpo": dpo(problem, data, Settings(iterations=30)),
        }

    return jax.vmap(one)(sets)


def averaged_class(shares: Any, by_member: np.ndarray) -> np.ndarray:
    """Value (M, sets) of playing member j with probability ``shares`` (sets, M); ``by_member`` (M, M): of j under i."""
    return by_member @ np.asarray(shares).T


@pytest.mark.parametrize("seed", range(5))
def test_no_verifier_free_learner_beats_bayes(seed: int) -> None:
    here = enumerated(seed)
    problem, found = here.problem, from_traces(here.problem, here.sets)
    weight = here.expert / MEMBERS  # joint law of hypothesis and data
    np.testing.assert_allclose(np.asarray(found["posterior"]).T, weight / weight.sum(axis=0), atol=1e-12)
    members = values(problem, problem.policies)
    bayes = (weight * values(problem, found["bayes"])).sum()
    others = {
        "class-mle": averaged_class(found["shares"], members),
        "mixture": averaged_class(found["posterior"], members),
        "count-mle": values(problem, found["count-mle"]),
        "softmax-sft": values(problem, found["softmax-sft"]),
        "base": values(problem, problem.base[None]),
    }
    for name, worth in others.items():
        assert (weight * worth).sum() <= bayes + 1e-12, name


@pytest.mark.parametrize("eta", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_no_verifier_based_learner_beats_bayes(seed: int, eta: float) -> None:
    """Labels by each hypothesis, flipped in every way."""
    here = enumerated(seed)
    problem = here.problem
    flips = np.array(list(itertools.product([0.0, 1.0], repeat=N)))[:, None, :, None]  # (flips, sets, rows, steps)
    labels = problem.verifiers[:, here.sets.states, here.sets.tokens][:, None]  # (M, 1, sets, rows, steps)
    chance = here.base * (eta ** flips.sum(axis=(2, 3)) * (1 - eta) ** (N - flips.sum(axis=(2, 3))))  # (flips, sets)
    weight = np.broadcast_to(chance, (MEMBERS, *chance.shape)) / MEMBERS
    labels = abs(labels - flips)
    lead = labels.shape[:3]
    wide = {
        f.name: np.broadcast_to(getattr(here.sets, f.name), (*lead, *getattr(here.sets, f.name).shape[1:])).reshape(
            -1, *getattr(here.sets, f.name).shape[1:]
        )
        for f in dataclasses.fields(Data)
    }
    data = Data(**{**wide, "rewards": labels.reshape(-1, *labels.shape[3:])})
    truth = np.repeat(np.arange(MEMBERS), lead[1] * lead[2])  # of every labelled data set
    weight = weight.reshape(-1)
    assert weight.sum() == pytest.approx(1.0)

    def average(found: np.ndarray) -> float:
        return float(weight @ found[truth, np.arange(truth.size)])

    found = from_labels(problem, data, eta)
    bayes = average(values(problem, found["bayes"]))
    if eta == 0.0:  # consistent members, all alike
        np.testing.assert_allclose(found["shares"][weight > 0], found["posterior"][weight > 0], atol=1e-12)
    searches = {
        "expert of the member": problem.policies,
        "top-c": [searched(problem, reward, lambda law: top_c_density(law, 0.3)) for reward in problem.verifiers],
        "best-of-n": [searched(problem, reward, lambda law: best_of_n_density(law, 5)) for reward in problem.verifiers],
    }
    for name, policies in searches.items():
        worth = values(problem, jnp.stack(list(policies)))
        assert average(averaged_class(found["shares"], worth)) <= bayes + 1e-12, name
    assert average(values(problem, found["dpo"])) <= bayes + 1e-12


def searched(problem: Problem, reward: np.ndarray, density: Callable[[Any], Any]) -> np.ndarray:
    return density_policy(problem, reward, density(learned_law(problem, reward)))


def test_posterior_of_labels() -> None:
    """Bayes' rule written out; a trace whose labels no hypothesis can have is left with none: uniform."""
    rng = np.random.default_rng(3)
    mdp = tree(rng)
    rewards = tree_rewards(rng, mdp, 5)
    problem = Problem.of(mdp, random_base(rng, mdp), verifiers=rewards)
    data = draw_base(problem, jax.random.key(0), 6, 50, 0.2)
    weight = np.ones(5)
    for row in range(6):
        for i in range(5):
            said = rewards[i, data.states[row], data.tokens[row]]
            same, reverse = np.array_equal(said, data.rewards[row]), np.array_equal(1 - said, data.rewards[row])
            weight[i] *= 0.8 * same + 0.2 * reverse
    np.testing.assert_allclose(posterior_of_labels(rewards, data, 0.2), weight / weight.sum(), rtol=1e-12)


def test_infinite_evidence_plays_the_best() -> None:
    """A point posterior: the best policy for the truth."""
    rng = np.random.default_rng(4)
    mdp = tree(rng)
    rewards = tree_rewards(rng, mdp, 3)
    problem = Problem.of(mdp, random_base(rng, mdp), verifiers=rewards)
    policy = best_policy(problem, np.array([1.0, 0.0, 0.0]))
    best = [max(sum(t.rewards) for t in traces(mdp, problem.base) if t.prompt == x) for x in range(2)]
    np.testing.assert_allclose(mean_return(mdp, policy), best)


def test_expert_data_decode_the_hypothesis() -> None:
    rng = np.random.default_rng(6)
    mdp = tree(rng)
    rewards = tree_rewards(rng, mdp, 3)
    base = random_base(rng, mdp)
    experts = ball_policies(mdp, base, rewards, 1.0)
    problem = Problem.of(mdp, base, expert=experts[0], policies=experts, verifiers=rewards)
    data = draw_expert(problem, jax.random.key(0), 200, 200)
    assert posterior_of_traces(experts, tally(data, base))[0] > 0.99
