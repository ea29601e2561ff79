"""Rollouts: the law they have, and the bits they are made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from mdps import KINDS, Floats, Kind, random_mdp, random_policy
from sim.dynamic_programming import Evaluation, evaluate, solve_time_law
from sim.mdp import TokenMDP
from sim.rollout import CHUNK, Outcomes, draw_solve_times, rollout, rollout_traces

pytestmark = pytest.mark.usefixtures("quick_to_compile")

DRAWS = 40_000
#: Both kinds of transitions; nothing, or everything, depends on the step.
CHOSEN = (KINDS[0], KINDS[7])


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def example(kind: Kind) -> tuple[TokenMDP, Floats]:
    """The first process of this kind whose return varies most of what it can."""
    rng = np.random.default_rng(21)
    while True:
        mdp = random_mdp(rng, kind)
        policy = random_policy(rng, mdp, kind.stationary)
        if int(mdp.horizon) == mdp.steps and np.all(np.asarray(evaluate(mdp, policy).variance) > 0.3):
            return mdp, policy


@pytest.fixture(scope="module", params=CHOSEN, ids=str)
def drawn(request: pytest.FixtureRequest) -> tuple[TokenMDP, Floats]:
    with jax.enable_x64(True):
        return example(request.param)


def within(sample: Floats, mean: float, variance: float) -> None:
    """The sample's mean is ``mean`` within 5 standard errors."""
    assert abs(sample.mean() - mean) <= 5.0 * np.sqrt(variance / sample.size) + 1e-12


def has_the_law(outcomes: Outcomes, mdp: TokenMDP, policy: Floats) -> None:
    """Prompts, solve times given the prompt, mean return and the variance it should have."""
    law, exact = np.asarray(solve_time_law(mdp, policy)), Evaluation(*map(np.asarray, evaluate(mdp, policy)))
    prompt, solved, returned = (np.asarray(x) for x in outcomes)
    for x, weight in enumerate(mdp.weights):
        own = prompt == x
        within(own * 1.0, weight, weight * (1.0 - weight))
        within(returned[own], float(exact.mean[x]), float(exact.variance[x]))
        for row, p in enumerate(law[:, x]):
            time = row + 1 if row < mdp.steps else 0
            within((solved[own] == time) * 1.0, p, p * (1.0 - p))


def test_rollouts_have_the_exact_law(drawn: tuple[TokenMDP, Floats]) -> None:
    """Prompts, solve times and returns agree with dynamic programming within 5 standard errors."""
    mdp, policy = drawn
    has_the_law(rollout(mdp, policy, jax.random.key(1), np.arange(DRAWS)), mdp, policy)


def test_solve_times_drawn_from_their_law_have_it(drawn: tuple[TokenMDP, Floats]) -> None:
    """Inverting the exact law gives the same law as rolling out."""
    mdp, policy = drawn
    law = solve_time_law(mdp, policy)
    has_the_law(draw_solve_times(mdp, law, jax.random.key(2), np.arange(DRAWS)), mdp, policy)


def test_traces_are_those_of_the_rollouts(drawn: tuple[TokenMDP, Floats]) -> None:
    """Same outcomes, every step possible, the reward that of state and token, T the first rewarded step."""
    mdp, policy = drawn
    key, draws = jax.random.key(3), np.arange(DRAWS)
    for horizon in {1, mdp.steps}:
        process = mdp.at(horizon)
        outcomes, seen = rollout_traces(process, policy, key, draws[:3000])
        for a, b in zip(outcomes, rollout(process, policy, key, draws), strict=True):
            np.testing.assert_array_equal(a, np.asarray(b)[:3000])
        states, tokens, rewards = (np.asarray(x) for x in seen)
        assert states.shape == (3000, mdp.steps)
        assert np.all(np.stack([states, tokens, rewards])[:, :, horizon:] == -1)
        np.testing.assert_array_equal(states[:, 0], mdp.prompts[np.asarray(outcomes.prompt)])
        axes = 2 if mdp.is_deterministic else 3
        for h in range(horizon):
            s, a = states[:, h], tokens[:, h]
            chance, kernel, reward = (
                table if table.ndim == n else table[h]
                for table, n in ((policy, 2), (mdp.transitions, axes), (mdp.rewards, 2))
            )
            assert np.all(chance[s, a] > 0)
            np.testing.assert_array_equal(rewards[:, h], reward[s, a])
            if h + 1 < horizon:
                moved = kernel[s, a] if axes == 2 else states[:, h + 1]
                np.testing.assert_array_equal(states[:, h + 1], moved)
                assert axes == 2 or np.all(kernel[s, a, states[:, h + 1]] > 0)
        first = np.where((rewards == 1).any(axis=1), (rewards == 1).argmax(axis=1) + 1, 0)
        np.testing.assert_array_equal(outcomes.solve_time, first)
        np.testing.assert_array_equal(outcomes.returned, (rewards == 1).sum(axis=1))


def test_a_trace_has_the_same_bits_in_any_company(drawn: tuple[TokenMDP, Floats]) -> None:
    """Alone, in another order, or among more than a chunk of others: numbers, not places, decide."""
    mdp, policy = drawn
    key, draws = jax.random.key(4), np.arange(DRAWS)
    whole = rollout(mdp, policy, key, draws)
    order = np.random.default_rng(0).permutation(draws)
    for some in (order, order[:1]):
        for a, b in zip(rollout(mdp, policy, key, some), whole, strict=True):
            np.testing.assert_array_equal(a, np.asarray(b)[some])


def test_steps_of_a_trace_have_the_same_bits_in_any_company() -> None:
    """The same of states, tokens and rewards."""
    mdp, policy = example(KINDS[7])
    key, order = jax.random.key(4), np.random.default_rng(0).permutation(2 * CHUNK + 77)
    _, traces = rollout_traces(mdp, policy, key, np.arange(len(order)))
    _, few = rollout_traces(mdp, policy, key, order[:500])
    for a, b in zip(few, traces, strict=True):
        np.testing.assert_array_equal(a, np.asarray(b)[order[:500]])


def wanderer(steps: int, chance: float = 0.02) -> tuple[TokenMDP, Floats]:
    """One unsolved state, left for the solved one with this chance at every step."""
    mdp = TokenMDP.of([1.0, 0.0], [[0, 1], [1, 1]], [[0, 1], [1, 1]], steps)
    return mdp, np.array([[1.0 - chance, chance]] * 2)


def test_a_longer_horizon_continues_the_trace() -> None:
    """Solve times up to H are the same at any larger horizon, and with more steps to spare."""
    key, draws = jax.random.key(5), np.arange(2000)
    mdp, policy = wanderer(200)
    long = np.asarray(rollout(mdp, policy, key, draws).solve_time)
    for process in (mdp.at(70), mdp.at(64), wanderer(128)[0].at(65)):
        H = int(process.horizon)
        short = rollout(process, policy, key, draws)
        np.testing.assert_array_equal(short.solve_time, np.where(long <= H, long, 0))
        np.testing.assert_array_equal(short.returned, np.where((long > 0) & (long <= H), H - long + 1, 0))
    assert len(np.unique(long)) > 100


def test_keys_and_numbers_are_different_traces() -> None:
    """Other keys, other numbers and other prompts' draws share nothing: solve times are uncorrelated."""
    mdp, policy = wanderer(1000)
    samples = [
        np.asarray(draw(mdp, table, jax.random.key(k), np.arange(n, n + 4000)).solve_time, dtype=np.float64)
        for draw, table in ((rollout, policy), (draw_solve_times, solve_time_law(mdp, policy)))
        for k in (0, 1)
        for n in (0, 4000)
    ]
    correlation = np.corrcoef(np.array(samples)) - np.eye(len(samples))
    assert np.max(np.abs(correlation)) < 5.0 / np.sqrt(4000)


def test_mapped_over_keys_and_policies() -> None:
    """jax.vmap over keys and policies gives what each gives alone."""
    kind = KINDS[4]
    mdp, _ = example(kind)
    policies = np.stack([random_policy(np.random.default_rng(i), mdp) for i in range(3)])
    keys = jax.random.split(jax.random.key(6), 3)
    together = jax.vmap(rollout, in_axes=(None, 0, 0, None))(mdp, policies, keys, np.arange(300))
    for i in range(3):
        for a, b in zip(together, rollout(mdp, policies[i], keys[i], np.arange(300)), strict=True):
            np.testing.assert_array_equal(np.asarray(a)[i], b)


@pytest.mark.parametrize("draw", [rollout, draw_solve_times])
def test_prompts_may_be_given(draw: Any) -> None:
    """One prompt for all or one for each; those given do not change what is drawn after them."""
    mdp, policy = example(KINDS[0])
    table = policy if draw is rollout else solve_time_law(mdp, policy)
    key, draws = jax.random.key(7), np.arange(DRAWS)
    drawn = draw(mdp, table, key, draws)
    assert set(np.asarray(drawn.prompt).tolist()) == {0, 1}
    for a, b in zip(draw(mdp, table, key, draws, np.asarray(drawn.prompt)), drawn, strict=True):
        np.testing.assert_array_equal(a, b)
    for x in (0, 1):
        fixed, own = draw(mdp, table, key, draws, np.full(DRAWS, x)), np.asarray(drawn.prompt) == x
        assert np.all(np.asarray(fixed.prompt) == x)
        np.testing.assert_array_equal(np.asarray(fixed.solve_time)[own], np.asarray(drawn.solve_time)[own])


def test_tokens_rarer_than_single_precision_can_draw() -> None:
    """A token of probability 1e-7, below the spacing of 24-bit uniforms at 1, is drawn as often as it should be."""
    mdp, policy = wanderer(4096, chance=1e-7)
    draws = 12 * CHUNK
    solved = np.asarray(rollout(mdp, policy, jax.random.key(8), np.arange(draws)).solve_time) > 0
    expected = draws * 4096 * 1e-7
    assert abs(solved.sum() - expected) < 5.0 * np.sqrt(expected)
    assert solved.sum() > 0


def test_impossible_tokens_are_never_drawn() -> None:
    """Not even where sums stop short of 1 (here by far more than rounding): what is left goes to the last possible."""
    mdp = TokenMDP.of([1.0, 0.0], [[0] * 10 + [1], [1] * 11], [[0] * 10 + [1], [1] * 11], 64)
    policy = np.array([[0.099] * 10 + [0.0]] * 2)
    assert not np.any(np.asarray(rollout(mdp, policy, jax.random.key(9), np.arange(1000)).solve_time))


def test_one_compilation_for_all_horizons() -> None:
    """H is data."""
    mdp, policy = wanderer(100)
    before = rollout._cache_size()
    for h in (1, 50, 100):
        rollout(mdp.at(h), policy, jax.random.key(0), np.arange(10))
    assert rollout._cache_size() == before + 1


@pytest.mark.parametrize("draw", [rollout, rollout_traces, draw_solve_times])
def test_single_precision_is_refused(draw: Any) -> None:
    """Outside jax.enable_x64 nothing is drawn."""
    mdp, policy = wanderer(3)
    with jax.enable_x64(False), pytest.raises(RuntimeError, match="float64 is off"):
        draw(mdp, policy, jax.random.key(0), np.arange(4))


def test_planted_traces_agree_with_the_law() -> None:
    """50,000 rollouts of the planted automaton (|V| = 30, ell = 5, gamma = 4, H = 512) have its law of T.

    Every tenth of the range within 5 standard errors.
    """
    after = np.zeros((6, 30), dtype=int)
    after[:, 0] = 1
    after[np.arange(5), np.arange(5)] = np.arange(1, 6)
    after[5] = 5
    policy = np.full((6, 30), 1 / (np.exp(4.0) + 29))
    policy[np.arange(5), np.arange(5)] = np.exp(4.0) / (np.exp(4.0) + 29)
    policy[5] = 1 / 30
    mdp = TokenMDP.of(np.eye(6)[0], after, (after == 5) * 1, 512)
    law = np.asarray(solve_time_law(mdp, policy))[:, 0]
    solved = np.asarray(rollout(mdp, policy, jax.random.key(10), np.arange(50_000)).solve_time)
    for low in range(0, 512, 52):
        p = law[low : low + 52].sum()
        within(((solved > low) & (solved <= low + 52)) * 1.0, p, p * (1 - p))
    within((solved == 0) * 1.0, law[-1], law[-1] * (1 - law[-1]))
