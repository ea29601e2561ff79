"""Training data: the same traces whatever the padding, counts as counted by hand, labels flipped by the trace."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from sim.enumeration import traces
from sim.training.data import draw_base, draw_traces, exact_counts, flipped, kept, tally
from sim.training.problem import Problem
from token_trees import random_base, tree

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")


@pytest.fixture(scope="module")
def problem() -> Problem:
    rng = np.random.default_rng(5)
    mdp = tree(rng)
    return Problem.of(mdp, random_base(rng, mdp))


def test_padding_changes_no_bit(problem: Problem) -> None:
    key = jax.random.key(1)
    wide, narrow = draw_base(problem, key, 5, 50, 0.3), draw_base(problem, key, 5, 5, 0.3)
    for name in ("prompts", "states", "tokens", "rewards", "mask"):
        np.testing.assert_array_equal(np.asarray(getattr(wide, name))[:5], getattr(narrow, name))
    assert wide.mask[5:].sum() == 0
    assert float(wide.rows.sum()) == 5


def test_n_and_horizon_are_data(problem: Problem) -> None:
    """Neither compiles anything again."""
    program = jax.jit(lambda key, n, mdp: draw_traces(problem, mdp, problem.base, key, n, 8))
    key = jax.random.key(2)
    whole = program(key, 8, problem.mdp)
    for n, horizon in ((3, 1), (7, 2)):
        part = program(key, n, problem.mdp.at(horizon))
        np.testing.assert_array_equal(part.tokens[:n, :horizon], whole.tokens[:n, :horizon])
        assert part.mask.sum() == n * horizon
    assert program._cache_size() == 1


def test_counts(problem: Problem) -> None:
    data = draw_base(problem, jax.random.key(3), 40, 50)
    flat, by_step = tally(data, problem.base), tally(data, np.zeros((problem.mdp.steps, *problem.base.shape)))
    visits = np.zeros_like(problem.base)
    for row in range(40):
        for h in range(problem.mdp.steps):
            visits[data.states[row, h], data.tokens[row, h]] += 1
    np.testing.assert_array_equal(flat.visits, visits)
    np.testing.assert_array_equal(flat.rewarded, visits * problem.mdp.rewards)
    np.testing.assert_array_equal(by_step.visits.sum(axis=0), visits)
    none = tally(kept(data, np.zeros(50)), problem.base)
    assert none.visits.sum() == 0


def test_exact_counts_are_expectations(problem: Problem) -> None:
    """Of enumerated traces."""
    visits = np.zeros_like(problem.base)
    for t in traces(problem.mdp, problem.base):
        for s, a in zip(t.states, t.tokens, strict=False):
            visits[s, a] += float(t.probability) * problem.mdp.weights[t.prompt]
    found = exact_counts(problem.mdp, problem.base, problem.base)
    np.testing.assert_allclose(found.visits, visits, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(found.rewarded, visits * problem.mdp.rewards, rtol=1e-13, atol=1e-15)


def test_labels_flip_by_the_trace(problem: Problem) -> None:
    data = draw_base(problem, jax.random.key(4), 2000, 2000)
    noisy = flipped(data, jax.random.key(5), 0.2)
    wrong = np.asarray(abs(noisy.rewards - data.rewards))
    assert set(wrong.sum(axis=1)) == {0.0, float(problem.mdp.steps)}
    assert abs((wrong[:, 0]).mean() - 0.2) < 5 * np.sqrt(0.16 / 2000)
    np.testing.assert_array_equal(flipped(data, jax.random.key(5), 0.0).rewards, data.rewards)
