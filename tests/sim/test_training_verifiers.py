"""Verifiers obey their error bounds, and search with a verifier is what enumeration of all traces says."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import numpy as np
import pytest

from sim.ball_expert import ball_expert, return_laws
from sim.enumeration import Trace, traces
from sim.mdp import TokenMDP, returns
from sim.training.best_of_n import best_of_n, best_of_n_density, sampled_best_of_n
from sim.training.class_erm import class_erm, disagreements, disagreements_of_labels, erm_shares
from sim.training.data import draw_base, exact_counts, tally
from sim.training.logistic_verifier import logistic_verifier
from sim.training.problem import Problem, Settings, law_of_policy, returns_of_rows, value_of_law
from sim.training.search import density_policy, learned_law, searched_law, verifier_error
from sim.training.top_c import top_c, top_c_density
from theory.registry import theorem
from token_trees import random_base, tree, tree_rewards

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")


def problem_of(seed: int, members: int = 8, H: int = 3) -> Problem:
    rng = np.random.default_rng(seed)
    mdp = tree(rng, H=H)
    return Problem.of(mdp, random_base(rng, mdp), verifiers=tree_rewards(rng, mdp, members))


def all_or_nothing(seed: int, members: int = 8, H: int = 3) -> Problem:
    """The first token decides: returns are 0 or H."""
    rng = np.random.default_rng(seed)
    mdp = tree(rng, tokens=4, H=H, prompts=2)
    size = mdp.states // 2
    tables = []
    for _ in range(members):
        table = np.zeros((mdp.states, 4))
        for root in (0, size):
            for a, solves in enumerate(rng.random(4) < 0.5):
                table[root, a] = solves
                layer = [int(mdp.transitions[root, a])]
                for _ in range(H - 1):
                    table[layer] = solves
                    layer = [int(s) for node in layer for s in mdp.transitions[node] if s > node]
        tables.append(table)
    verifiers = np.stack(tables)
    base = random_base(rng, mdp)
    start = np.zeros(mdp.states)
    start[mdp.prompts] = mdp.weights
    return Problem.of(TokenMDP.of(start, mdp.transitions, verifiers[0], H), base, verifiers=verifiers)


def declared(t: Trace, verifier: Any) -> int:
    """Row of the first step declared; the last row if none is."""
    for h, (s, a) in enumerate(zip(t.states, t.tokens, strict=False)):
        if verifier[s, a]:
            return h
    return len(t.tokens)


def row(t: Trace) -> int:
    return len(t.tokens) if t.solve_time is None else t.solve_time - 1


@pytest.mark.parametrize("seed", range(10))
def test_searched_law_is_enumerated(seed: int) -> None:
    """Any density of the step declared, any verifier of 0s and 1s (bi-level or not): law and error."""
    rng = np.random.default_rng(seed)
    problem = problem_of(0)
    verifier = problem.verifiers[1] if seed % 2 else (rng.random(problem.base.shape) < 0.3).astype(float)
    steps = problem.mdp.steps
    density = rng.random((steps + 1, 2))
    law, said = np.zeros((steps + 1, 2)), np.zeros((steps + 1, 2))
    error, R = 0.0, returns(problem.mdp)
    for t in traces(problem.mdp, problem.base):
        p, first = float(t.probability), declared(t, verifier)
        law[row(t), t.prompt] += p * density[first, t.prompt]
        said[first, t.prompt] += p
        error += p * problem.mdp.weights[t.prompt] * abs(R[first] - R[row(t)])
    np.testing.assert_allclose(searched_law(problem, verifier, density), law, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(learned_law(problem, verifier), said, rtol=1e-12, atol=1e-15)
    assert float(verifier_error(problem, verifier)) == pytest.approx(error, rel=1e-12)


def test_a_shorter_horizon_is_data() -> None:
    problem = problem_of(0)
    short = dataclasses.replace(problem, mdp=problem.mdp.at(2))
    density = np.random.default_rng(1).random((4, 2))
    law, R = np.zeros((4, 2)), returns(short.mdp)
    verifier, error = problem.verifiers[1], 0.0
    for t in traces(short.mdp, problem.base):
        first, solved = (x if x < 2 else 3 for x in (declared(t, verifier), row(t)))
        law[solved, t.prompt] += float(t.probability) * density[first, t.prompt]
        error += float(t.probability) * problem.mdp.weights[t.prompt] * abs(R[first] - R[solved])
    np.testing.assert_allclose(searched_law(short, verifier, density), law, rtol=1e-12, atol=1e-15)
    assert float(verifier_error(short, verifier)) == pytest.approx(error, rel=1e-12)
    np.testing.assert_array_equal(returns_of_rows(short.mdp), R)


def test_best_of_n_is_enumerated() -> None:
    """All pairs of traces, ties at random."""
    problem = problem_of(3)
    verifier, steps = problem.verifiers[2], problem.mdp.steps
    law = np.zeros((steps + 1, 2))
    found = list(traces(problem.mdp, problem.base))
    for x in range(2):
        for pair in itertools.product([t for t in found if t.prompt == x], repeat=2):
            best = min(declared(t, verifier) for t in pair)
            winners = [t for t in pair if declared(t, verifier) == best]
            for t in winners:
                law[row(t), x] += float(pair[0].probability * pair[1].probability) / len(winners)
    np.testing.assert_allclose(best_of_n(problem, verifier, 2), law, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(best_of_n(problem, verifier, 1), law_of_policy(problem, problem.base), rtol=1e-12)


def test_top_c_keeps_the_top() -> None:
    law = np.array([[0.1, 0.5], [0.3, 0.0], [0.6, 0.5]])
    np.testing.assert_allclose(law * top_c_density(law, 0.25), [[0.4, 1], [0.6, 0], [0, 0]], rtol=1e-13)
    np.testing.assert_allclose(top_c_density(law, 1.0), [[1, 1], [1, 0], [1, 1]], rtol=1e-13)


def test_sampled_best_of_n_agrees() -> None:
    problem = problem_of(3)
    R, count = returns(problem.mdp), 4000
    exact = np.asarray(best_of_n(problem, problem.verifiers[2], 3))
    for x in range(2):
        drawn = sampled_best_of_n(problem, problem.verifiers[2], jax.random.key(x), 3, x, count)
        mean = R @ exact[:, x]
        spread = np.sqrt((R - mean) ** 2 @ exact[:, x] / count)
        assert abs(float(drawn.returned.mean()) - mean) <= 5 * spread


@pytest.mark.parametrize("density", [lambda law: best_of_n_density(law, 4), lambda law: top_c_density(law, 0.2)])
def test_searches_are_policies(density: Any) -> None:
    """Played token by token they attain the same law."""
    problem = problem_of(4)
    verifier = problem.verifiers[1]
    weights = density(np.asarray(learned_law(problem, verifier)))
    law = searched_law(problem, verifier, weights)
    policy = density_policy(problem, verifier, weights)
    np.testing.assert_allclose(law_of_policy(problem, policy), law, rtol=1e-12, atol=1e-15)


@jax.jit
def drawn_errors(problem: Problem, keys: jax.Array, n: int, eta: float) -> jax.Array:
    """Error of ERM's verifier for each data set, exact over ties."""
    errors = jax.vmap(lambda table: verifier_error(problem, table))(problem.verifiers)

    def one(key: jax.Array) -> jax.Array:
        return erm_shares(problem.verifiers, tally(draw_base(problem, key, n, 40, eta), problem.base)) @ errors

    return jax.vmap(one)(keys)


@pytest.mark.parametrize("seed", range(3))
def test_erm_obeys_its_bound(seed: int) -> None:
    """``verifier-erm`` in expectation over data sets."""
    problem, keys = problem_of(seed), jax.random.split(jax.random.key(seed), 500)
    for n in (1, 5, 40):
        errors = np.asarray(drawn_errors(problem, keys, n, 0.0))
        bound = theorem("verifier-erm").evaluator({"H": 3.0, "n": float(n), "log2_M": 3.0}).value
        assert errors.mean() <= bound + 5 * errors.std() / np.sqrt(keys.size)


@pytest.mark.parametrize("seed", range(3))
def test_noisy_erm_obeys_its_bound(seed: int) -> None:
    """``verifier-noisy``, returns 0 or H."""
    problem, keys = all_or_nothing(seed), jax.random.split(jax.random.key(seed), 500)
    for n, eta in ((5, 0.1), (40, 0.1), (40, 0.3)):
        errors = np.asarray(drawn_errors(problem, keys, n, eta))
        bound = theorem("verifier-noisy").evaluator({"H": 3.0, "n": float(n), "log2_M": 3.0, "eta": eta}).value
        assert errors.mean() <= bound + 5 * errors.std() / np.sqrt(keys.size)


def test_erm_is_consistent() -> None:
    problem = problem_of(5)
    data = draw_base(problem, jax.random.key(0), 6, 50)
    counts = tally(data, problem.base)
    table = np.asarray(class_erm(problem.verifiers, counts, jax.random.key(1)))
    met = np.asarray(counts.visits) > 0
    np.testing.assert_array_equal(table[met], problem.mdp.rewards[met])
    said = problem.verifiers[:, data.states, data.tokens]
    np.testing.assert_array_equal(disagreements_of_labels(said, data), disagreements(problem.verifiers, counts))


@pytest.mark.parametrize("seed", range(20))
def test_searches_obey_their_bounds(seed: int) -> None:
    """``vb-upper-top-c`` and ``vb-upper-best-of-n`` with the measured error of any verifier."""
    rng = np.random.default_rng(seed)
    mdp = tree(rng)
    problem = Problem.of(mdp, random_base(rng, mdp))
    verifier = tree_rewards(rng, mdp, 2)[1] if seed % 3 else mdp.rewards
    law, kappa = np.asarray(law_of_policy(problem, problem.base)), float(rng.choice([0.1, 1.0]))
    laws = return_laws(law, returns(mdp))
    J_expert = mdp.weights @ ball_expert(law, returns(mdp), kappa).mean
    c = min(x.anti_concentration(np.sqrt(kappa)) for x in laws)
    if c == 0.0:  # the bounds say nothing
        return
    error = float(verifier_error(problem, verifier))
    top = float(value_of_law(problem, top_c(problem, verifier, c)))
    assert J_expert - top <= error / c + 1e-12
    cvar = mdp.weights @ [x.top_mean(c) for x in laws]
    assert cvar - top <= error / c + 1e-12
    for N in (1, 3, 10):
        kept = float(value_of_law(problem, best_of_n(problem, verifier, N)))
        reach = mdp.weights @ [x.mean + x.sd * np.sqrt(kappa) for x in laws]
        assert J_expert - kept <= reach * (1 - c) ** N + N * error + 1e-12


def test_logistic_regression_finds_the_reward() -> None:
    """On exact counts, with indicators as features and little regularisation; the penalty pulls towards one half."""
    problem = problem_of(6)
    counts = exact_counts(problem.mdp, problem.base, problem.base)
    light = np.asarray(logistic_verifier(problem, counts, Settings(l2=1e-4)))
    heavy = np.asarray(logistic_verifier(problem, counts, Settings(l2=1.0)))
    np.testing.assert_array_equal(light >= 0.5, problem.mdp.rewards == 1)
    assert np.all(abs(heavy - 0.5) < abs(light - 0.5))


def test_logistic_regression_is_stationary() -> None:
    """The gradient of the stated objective vanishes where it stops."""
    problem, settings = problem_of(7), Settings(l2=0.01, iterations=2000)
    counts = tally(draw_base(problem, jax.random.key(0), 50, 50, 0.1), problem.base)
    chances = np.asarray(logistic_verifier(problem, counts, settings))
    weights = np.log(chances / (1 - chances))  # of indicators
    slope = (np.asarray(counts.visits) * chances - counts.rewarded) / counts.visits.sum() + settings.l2 * weights
    assert abs(slope).max() < 1e-6
