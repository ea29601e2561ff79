"""Trained learners by name: labels that exist, the same bits in any company, one compilation for every n and H."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from sim.training.data import draw_base, draw_expert
from sim.training.problem import Problem, Settings, law_of_policy, value_of_law
from sim.training.registry import BATCH, LEARNERS, VERIFIERS, values_over_keys
from theory.registry import theorems
from token_trees import ball_policies, random_base, tree, tree_rewards

SETTINGS = Settings(penalty=0.3, iterations=20, batch=16, rounds=2)

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")


@pytest.fixture(scope="module")
def problem() -> Problem:
    rng = np.random.default_rng(0)
    mdp = tree(rng)
    base = random_base(rng, mdp)
    rewards = tree_rewards(rng, mdp, 4)
    with jax.enable_x64(True):
        experts = ball_policies(mdp, base, rewards, 0.5)
        return Problem.of(mdp, base, expert=experts[0], policies=experts, verifiers=rewards)


def test_names_and_labels() -> None:
    """Every bound named is an upper bound of the theory."""
    for learner in (*LEARNERS.values(), *VERIFIERS.values()):
        assert all(theorems()[label].kind == "upper" for label in learner.bounds)
    assert all(LEARNERS[name].name == name for name in LEARNERS)
    assert {x.kind for x in LEARNERS.values()} == {"vf", "vb", "between"}
    assert LEARNERS["vf-class-mle"].bounds == ("vf-upper",)
    assert LEARNERS["vb-erm-top-c"].bounds == ("vb-upper-top-c",)
    assert LEARNERS["vb-erm-best-of-n"].bounds == ("vb-upper-best-of-n",)
    assert VERIFIERS["erm"].bounds == ("verifier-erm", "verifier-noisy")


def test_what_was_never_met_is_not_declared(problem: Problem) -> None:
    """From one trace the logistic verifier declares nothing off that trace: a half is no more than no evidence."""
    key = jax.random.key(3)
    data = draw_base(problem, key, 1, 8)
    said = np.asarray(VERIFIERS["logistic"].table(problem, SETTINGS, data, key))
    met = np.zeros(said.shape, dtype=bool)
    there = np.asarray(data.mask) > 0
    met[np.asarray(data.states)[there], np.asarray(data.tokens)[there]] = True
    assert not met.all()
    assert not said[~met].any()


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_gives_a_law(name: str, problem: Problem) -> None:
    """Shapes by abstract evaluation: nothing is compiled."""
    learner = LEARNERS[name]
    draw = draw_expert if learner.kind == "vf" else draw_base
    key = jax.random.key(0)
    law = jax.eval_shape(lambda p, k: learner.law(p, SETTINGS, draw(p, k, 5, 8), k), problem, key)
    assert law.shape == (problem.mdp.steps + 1, 2)
    assert law.dtype == np.float64


def test_same_bits_in_any_company(problem: Problem) -> None:
    """Alone, among others, and elsewhere in the batch; of this one they do depend on the size of a batch."""
    name = "vb-erm-policy-gradient-kl"
    keys = jax.random.split(jax.random.key(1), BATCH + 3)
    together = np.asarray(values_over_keys(name, problem, SETTINGS, keys, 10, 16))
    assert np.all((together >= 0) & (together <= 3))
    some = np.array([BATCH + 1, 2])
    np.testing.assert_array_equal(values_over_keys(name, problem, SETTINGS, keys[some], 10, 16), together[some])


def test_one_compilation_serves_all(problem: Problem) -> None:
    """n, H and every number of the settings that is no shape are data."""
    keys = jax.random.split(jax.random.key(2), 3)
    values_over_keys.clear_cache()
    for n, H, c in ((3, 3, 0.2), (16, 2, 0.4), (9, 1, 0.3)):
        here = dataclasses.replace(problem, mdp=problem.mdp.at(H))
        settings = dataclasses.replace(SETTINGS, c=c)
        J = values_over_keys("vb-erm-top-c", here, settings, keys, n, 16)
        base = float(value_of_law(here, law_of_policy(here, here.base)))
        assert np.all(np.asarray(J) <= H)
        assert base <= H
    assert values_over_keys._cache_size() == 1


def test_wrong_problems_are_refused(problem: Problem) -> None:
    mdp, base = problem.mdp, problem.base
    with pytest.raises(ValueError, match="observed"):
        Problem.of(mdp, base, observed=[0])
    with pytest.raises(ValueError, match="features"):
        Problem.of(mdp, base, features=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="prompt"):
        Problem.of(mdp, base, prompt=[0, 2])
    with pytest.raises(ValueError, match="policies"):
        Problem.of(mdp, base, policies=base)
    with pytest.raises(ValueError, match="verifiers: shape"):
        Problem.of(mdp, base, verifiers=base[:1])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        Problem.of(mdp, base, verifiers=2.0 * np.ones((1, *base.shape)))
