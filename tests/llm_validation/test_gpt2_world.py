"""Prompts, levels of heterogeneity and exact laws of the didactic experiment, against enumeration of all traces."""

from __future__ import annotations

import dataclasses
import itertools
import math
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from llm_validation.gpt2_planted.recipe import (
    BaseRecipe,
    Grid,
    MeasureRecipe,
    Recipe,
    RlRecipe,
    TaskRecipe,
    read_recipe,
)
from llm_validation.gpt2_planted.world import World, returns_of
from llm_validation.staged.keys import key_of, words_of
from sim.tasks.planted import heterogeneity_range
from sim.tasks.planted_traces import draw_traces, predictive
from sim.tasks.token_task import uniforms

Floats = NDArray[np.float64]

STANDARD_ERRORS = 5.0
#: 3^6 = 729 traces of each of 9 prompts are few enough to list.
H = 6
SHARES = (0.0, 0.4, 0.9)
EPSILONS = (0.0, 0.25, 0.5, 1.0, 1.5)


@cache
def world() -> World:
    """Three levels over all 9 words of 2 tokens of 3, matched at H = 5, tables at H = 6; 5 prompts are held out."""
    task = TaskRecipe(V=3, ell=2, gamma=1.0, matched_at=5, levels=SHARES, held_out=5)
    return World(
        dataclasses.replace(
            read_recipe("smoke"),
            task=task,
            grid=Grid(horizons=(3, H), n=(4,), seeds=2),
            base=BaseRecipe(horizons=(H,), steps=(1,), batch=(1,)),
            rl=RlRecipe(levels=(0,), horizons=(H,), kl_horizons=(H,)),
            measure=MeasureRecipe(prompts=4, samples=16),
        )
    )


def listed(level: int, horizon: int) -> list[tuple[Floats, Floats]]:
    """For each held-out prompt the return of every trace of ``horizon`` tokens, and its probability."""
    known, tokens = world(), np.array(list(itertools.product(range(3), repeat=horizon)))
    found = []
    for x in known.held_out:
        prompt = np.full(len(tokens), x)
        law = predictive(known.levels[level], known.automata, prompt, tokens)
        chance = np.where(tokens == law.gold, law.chance, (1.0 - law.chance) / 2).prod(axis=1)
        gold = tuple(known.automata.golds[x].tolist())
        first = (
            next((t for t in range(horizon - 1) if tuple(row[t : t + 2]) == gold), None) for row in tokens.tolist()
        )
        returns = [0 if t is None else horizon - (t + 2) + 1 for t in first]  # solved at token t + 2
        found.append((np.array(returns, dtype=np.float64), chance))
    return found


def middling() -> Recipe:
    """A recipe of 216 prompts."""
    smoke = read_recipe("smoke")
    return dataclasses.replace(smoke, task=dataclasses.replace(smoke.task, V=6, ell=3, held_out=100))


@pytest.mark.parametrize("recipe", [read_recipe("smoke"), middling()], ids=["25", "216"])
def test_held_out_and_training_prompts_share_none(recipe: Recipe) -> None:
    """Together they are all prompts, each once; as many are held out as the recipe says."""
    known = World(recipe)
    task = known.recipe.task
    assert len(known.held_out) == task.held_out
    together = np.sort(np.concatenate([known.held_out, known.train]))
    np.testing.assert_array_equal(together, np.arange(task.V**task.ell))


def test_the_seed_decides_what_is_held_out() -> None:
    """The same recipe holds out the same prompts, another seed others."""
    recipe = middling()
    first, same, other = (World(dataclasses.replace(recipe, seed=seed)).held_out for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert set(first.tolist()) != set(other.tolist())


def test_prompts_are_all_words() -> None:
    """Prompts are the V^ell words, each once, and their golds one permutation of the tokens away."""
    known = world()
    assert sorted(map(tuple, known.words.tolist())) == list(itertools.product(range(3), repeat=2))
    pairs = set(zip(known.words.ravel().tolist(), known.automata.golds.ravel().tolist(), strict=True))
    assert sorted(a for a, _ in pairs) == sorted(b for _, b in pairs) == [0, 1, 2]


def test_training_prompts_only_are_drawn() -> None:
    """Prompts drawn for training are none of the held-out, all others occur, and one key gives one draw."""
    known = world()
    drawn = known.drawn(400, words_of("test"))
    assert set(drawn.tolist()) == set(known.train.tolist())
    np.testing.assert_array_equal(drawn, known.drawn(400, words_of("test")))


def test_levels_have_one_mean_return() -> None:
    """At H = matched_at every level has the mean return of the single gamma, over all prompts."""
    known = world()
    task = known.recipe.task
    means = [dataclasses.replace(level, H=task.matched_at).moments()[0] for level in known.levels]
    alone = dataclasses.replace(known.levels[0], H=task.matched_at, gammas=(task.gamma,), weights=(1.0,)).moments()[0]
    assert means == pytest.approx([alone] * 3, rel=1e-9)


def test_levels_have_the_sigma_they_are_named_after() -> None:
    """At H = matched_at level i has sigma least + share_i (most - least) of the dial: increasing."""
    known = world()
    task = known.recipe.task
    alone = dataclasses.replace(known.levels[0], H=task.matched_at, gammas=(task.gamma,), weights=(1.0,))
    least, most = heterogeneity_range(alone)
    sigmas = [dataclasses.replace(level, H=task.matched_at).moments()[1] for level in known.levels]
    assert sigmas == pytest.approx([least + share * (most - least) for share in SHARES], rel=1e-6)
    assert sigmas[0] < sigmas[1] < sigmas[2]


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("horizon", [3, H])
def test_laws_are_those_of_all_traces(level: int, horizon: int) -> None:
    """P(T = t | x), J, sigma, solve rate: sums over all traces of all held-out prompts."""
    law, found = world().laws(level, horizon), listed(level, horizon)
    for i, (returns, chance) in enumerate(found):
        exact = [chance[returns == horizon - t + 1].sum() for t in range(1, horizon + 1)]
        np.testing.assert_allclose(law.by_prompt[i], exact, rtol=1e-9, atol=1e-15)
    means = np.array([returns @ chance for returns, chance in found])
    variances = [chance @ (returns - mean) ** 2 for (returns, chance), mean in zip(found, means, strict=True)]
    assert math.isclose(law.J, means.mean(), rel_tol=1e-9)
    assert math.isclose(law.sigma, math.sqrt(np.mean(variances)), rel_tol=1e-9)
    assert law.solve_rate == pytest.approx(np.mean([chance[returns > 0].sum() for returns, chance in found]), rel=1e-9)
    assert law.masses.sum() == pytest.approx(law.solve_rate, rel=1e-12)


@pytest.mark.parametrize("level", range(3))
def test_solved_only_moments_are_those_of_solved_traces(level: int) -> None:
    """Mean of R over solved traces, and the root of the mean over solved traces of Var(R | x, solved)."""
    law, found = world().laws(level, H), listed(level, H)
    mass = sum(chance[returns > 0].sum() for returns, chance in found)
    mean = sum((chance * returns).sum() for returns, chance in found) / mass
    within = 0.0
    for returns, chance in found:
        solved = returns > 0
        centre = (chance * returns).sum() / chance[solved].sum()
        within += (chance[solved] * (returns[solved] - centre) ** 2).sum()
    assert law.solved_mean == pytest.approx(mean, rel=1e-9)
    assert law.solved_sigma == pytest.approx(math.sqrt(within / mass), rel=1e-9)


@pytest.mark.parametrize("level", range(3))
def test_concentration_is_that_of_all_traces(level: int) -> None:
    """E_x P(R >= mu_x + epsilon sigma_x | x): sums over all traces of all held-out prompts."""
    exact = []
    for epsilon in EPSILONS:
        parts = []
        for returns, chance in listed(level, H):
            mean = returns @ chance
            sigma = math.sqrt(chance @ (returns - mean) ** 2)
            parts.append(chance[returns >= mean + epsilon * sigma].sum())
        exact.append(np.mean(parts))
    np.testing.assert_allclose(world().laws(level, H).concentration(EPSILONS), exact, rtol=1e-9)


def test_concentration_agrees_with_draws() -> None:
    """The share of 40000 drawn traces at mu_x + epsilon sigma_x or more is E_x c_x within 5 standard errors."""
    known, level, draws = world(), 2, 40_000
    prompt = np.resize(known.held_out, draws)  # prompts equally often
    tokens, _ = draw_traces(known.levels[level], known.automata, prompt, words_of("draws"))
    returns = returns_of(known.solve_times(prompt, tokens), H)
    law = known.laws(level, H)
    gain = np.arange(H, 0.0, -1.0)
    mean = law.by_prompt @ gain
    sigma = np.sqrt(law.by_prompt @ gain**2 - mean**2)
    place = np.arange(draws) % len(known.held_out)
    for epsilon, exact in zip(EPSILONS, law.concentration(EPSILONS), strict=True):
        share = (returns >= (mean + epsilon * sigma)[place]).mean()
        assert abs(share - exact) <= STANDARD_ERRORS * math.sqrt(exact * (1.0 - exact) / draws), epsilon


def test_a_prompt_that_never_solves_counts_with_its_returns_of_zero() -> None:
    """At a horizon below ell nothing solves: every moment is 0, and R = 0 is the mean or more with certainty."""
    law = world().laws(0, 1)
    assert (law.J, law.sigma, law.solve_rate, law.solved_mean, law.solved_sigma) == (0.0, 0.0, 0.0, 0.0, 0.0)
    np.testing.assert_array_equal(law.concentration(EPSILONS), 1.0)


def test_returns_count_the_tokens_from_the_solution_on() -> None:
    """R = H - T + 1 where 1 <= T <= H, 0 where T is 0 (never) or beyond H."""
    times = np.array([0, 1, 2, 7, 8, 9, 100])
    np.testing.assert_array_equal(returns_of(times, 8), [0, 8, 7, 2, 1, 0, 0])


def test_keys_tell_identities_apart() -> None:
    """Different identities have different 63-bit keys, the same one the same key, however it is put together."""
    identities = [("a", "b"), ("ab",), ("a", "b", ""), ("a", 1), ("a", 11), ("a", 1, 1), ("a", "1 1")]
    keys = [key_of(*identity) for identity in identities]
    assert len(set(keys)) == len(keys)
    assert keys == [key_of(*identity) for identity in identities]
    assert all(0 <= key < 2**63 for key in keys)
    assert uniforms(words_of("a", 1), 1) == uniforms(words_of("a", 1), 1)


def test_recipes_of_one_task_share_their_world() -> None:
    """What the network is does not move prompts or levels."""
    recipe = read_recipe("smoke")
    wider: Recipe = dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, width=64))
    assert World(recipe).levels == World(wider).levels
    np.testing.assert_array_equal(World(recipe).held_out, World(wider).held_out)
