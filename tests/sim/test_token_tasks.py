"""What every task of the automaton kind has in common: dynamic programming, rollouts, enumeration, bounds agree."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import numpy as np
import pytest

from sim.dynamic_programming import chi2_divergence, evaluate
from sim.enumeration import expectation, traces
from sim.mdp import returns
from sim.rollout import rollout
from sim.tasks.registry import TASKS, task_config
from sim.tasks.token_task import TokenTask
from theory.anti_concentration import ANTI_CONCENTRATION, cantelli
from theory.chi2_ball import CHI2_EXPERT, EXPERT_HETEROGENEITY

#: Rounding of sums of probabilities and of tokens.
ROUNDING = 1e-12

#: One of each kind; small, all different.
CONFIGS: dict[str, dict[str, Any]] = {
    "codebook": {"k": 2, "H": 12, "law": "uniform"},
    "parity": {"k": 4, "H": 12, "law": "symmetric-two-point", "s": 0.25},
    "planted": {"V": 6, "ell": 3, "H": 24, "gammas": (1.0, 3.0), "weights": (0.4, 0.6), "prompts": 3},
    "planted overlapping": {
        "V": 4,
        "ell": 5,
        "H": 24,
        "gammas": (-1.0, 2.0),
        "weights": (0.5, 0.5),
        "M": None,
        "prompts": ((1, 1, 1, 1, 1), (1, 2, 1, 2, 1)),
    },
    "random-mdp": {"H": 12, "seed": 3},
    "random-mdp stochastic": {"H": 8, "branching": 3, "states": 5, "seed": 5},
    "rare-success": {"V": 4, "M": 3, "H": 10, "prompts": 16},
    "two-mode": {"H": 24},
    "two-mode once": {"H": 16, "retries": False, "enter_short": 0.2},
}
#: Small enough that every trace is listed.
TINY: dict[str, dict[str, Any]] = {
    "codebook": {"k": 1, "H": 3, "law": "uniform", "prompts": 4},
    "parity": {"k": 2, "H": 6, "truth": 3},
    "planted": {
        "V": 3,
        "ell": 3,
        "H": 6,
        "gammas": (0.0, 2.0),
        "weights": (0.25, 0.75),
        "M": 2,
        "prompts": ((0, 1, 0),),
    },
    "random-mdp": {"states": 2, "tokens": 2, "H": 5, "prompts": 2, "density": 0.3, "seed": 1},
    "random-mdp stochastic": {
        "states": 3,
        "tokens": 2,
        "H": 4,
        "branching": 2,
        "prompts": 1,
        "density": 0.2,
        "seed": 4,
    },
    "rare-success": {"V": 3, "M": 2, "H": 4, "prompts": 9, "truth": 1},
    "two-mode": {"V": 4, "short": 1, "long": 2, "H": 5},
    "two-mode once": {"V": 4, "short": 1, "long": 2, "H": 5, "retries": False},
}
KAPPAS = (0.0, 0.05, 0.5, 3.0, 100.0)

pytestmark = pytest.mark.usefixtures("quick_to_compile")


@functools.cache
def task(name: str) -> TokenTask:
    return task_config(name.split()[0], **CONFIGS[name]).build()


def test_every_task_is_tried() -> None:
    assert {name.split()[0] for name in CONFIGS} == set(TASKS)
    assert {name.split()[0] for name in TINY} == set(TASKS)


@pytest.mark.parametrize("name", CONFIGS)
def test_moments_of_the_law_are_those_of_backward_induction(name: str) -> None:
    """The law of T comes from a flow, the moments from values: they share only the process."""
    made = task(name)
    law, gains = made.law(), returns(made.mdp)
    mean, variance = made.moments()
    np.testing.assert_allclose(law.sum(axis=0), 1.0, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(mean, gains @ law, rtol=0, atol=ROUNDING * made.horizon)
    spread = (law * (gains[:, None] - mean) ** 2).sum(axis=0)
    np.testing.assert_allclose(variance, spread, rtol=0, atol=ROUNDING * made.horizon**2)
    assert math.isclose(made.value, float(made.weights @ mean), rel_tol=1e-14)
    assert math.isclose(made.heterogeneity**2, float(made.weights @ variance), rel_tol=1e-12)
    with jax.enable_x64(True):
        found = evaluate(made.mdp, made.base)
        by_tokens, by_moves, total = (
            np.asarray(x) for x in (found.heterogeneity, found.from_transitions, found.variance)
        )
    np.testing.assert_allclose(by_tokens + by_moves, total, rtol=0, atol=1e-10)
    assert made.mdp.is_deterministic == (by_moves.max() == 0.0) == (name != "random-mdp stochastic")


@pytest.mark.parametrize("name", CONFIGS)
def test_rollouts_agree_with_the_law(name: str) -> None:
    """Every value of T and every prompt as often as it should be, within 5 standard errors."""
    made, draws = task(name), 20_000
    with jax.enable_x64(True):
        out = rollout(made.mdp, made.base, jax.random.key(7), np.arange(draws))
        first, late = np.asarray(out.prompt), np.asarray(out.solve_time)
    law = made.law() * made.weights
    seen = np.zeros(law.shape)
    np.add.at(seen, (np.where(late > 0, late, len(law)) - 1, made.prompt[first]), 1.0 / draws)
    for got, expected in ((seen, law), (seen.sum(axis=1), law.sum(axis=1)), (seen.sum(axis=0), law.sum(axis=0))):
        error = np.sqrt(expected * (1.0 - np.minimum(expected, 1.0)) / draws)
        often = expected * draws >= 10.0
        assert np.all(abs(got - expected)[often] <= 5.0 * error[often] + ROUNDING)
        assert np.all(got[~often] * draws <= 10.0 + 5.0 * math.sqrt(10.0))
        assert np.all(got[expected == 0.0] == 0.0)
    gain = np.asarray(out.returned, dtype=np.float64)
    assert abs(gain.mean() - made.value) <= 5.0 * gain.std() / math.sqrt(draws)


@pytest.mark.parametrize("name", TINY)
def test_enumeration_of_all_traces_agrees(name: str) -> None:
    """The law of T is a sum over the traces."""
    made = task_config(name.split()[0], **TINY[name]).build()
    found = traces(made.mdp, made.base)
    steps = made.horizon
    by_first = [expectation(found, lambda t, h=h: (t.solve_time or steps + 1) == h) for h in range(1, steps + 2)]
    law = np.array([[float(p) for p in row] for row in by_first]) @ made.shares
    np.testing.assert_allclose(made.law(), law, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "random-mdp stochastic"])
def test_expert_is_executed(name: str) -> None:
    """The policy of the ball's best expert has the expert's law and divergence."""
    made, kappa = task(name), 0.5
    ball, expert = made.ball(kappa), made.expert(kappa)
    np.testing.assert_allclose(expert.law(), ball.law, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(expert.weights, made.weights, rtol=0, atol=ROUNDING)
    with jax.enable_x64(True):  # of traces, hidden values and all
        inside = np.asarray(chi2_divergence(made.mdp, expert.base, made.base))
    ratio = expert.shares / made.shares.max(axis=1, keepdims=True)
    total = (made.shares * ratio**2 * (1.0 + inside)[:, None]).sum(axis=0) - 1.0
    np.testing.assert_allclose(total, ball.divergence, rtol=1e-9, atol=1e-12)


def test_random_transitions_are_not_reweighted() -> None:
    with pytest.raises(ValueError, match=r"^transitions: random ones .*\Z"):
        task("random-mdp stochastic").expert(0.5)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_upper_bounds_hold(name: str, averaged: bool) -> None:
    """Best expert, heterogeneity of experts and anti-concentration, on every prompt: no violation."""
    made, checked = task(name), 0
    H, gains, laws = made.horizon, returns(made.mdp), made.return_laws()
    for kappa in KAPPAS:
        ball = made.ball(kappa, averaged)
        assert made.weights @ ball.divergence <= kappa * (1.0 + 1e-9) + 1e-9
        for x, base in enumerate(laws):
            sigma = min(base.sd, H / 2)
            if sigma <= 1e-9:
                continue
            epsilon = math.sqrt(ball.divergence[x] if averaged else kappa)
            value = CHI2_EXPERT.evaluate(mu=base.mean, sigma=sigma, epsilon=epsilon, H=H)
            assert value.assumptions_hold
            assert ball.mean[x] <= value.value + 1e-9 * H
            sd = math.sqrt(ball.law[:, x] @ (gains - ball.mean[x]) ** 2)
            sides = EXPERT_HETEROGENEITY.evaluate(H=H, sigma=sigma, epsilon=epsilon)
            assert sides.extras["lower"] - 1e-6 * H <= sd <= sides.value + 1e-6 * H
            least = ANTI_CONCENTRATION.evaluate(H=H, sigma=sigma, epsilon=epsilon)
            assert base.anti_concentration(epsilon) <= cantelli(epsilon) + 1e-9
            if least.assumptions_hold:
                assert base.anti_concentration(epsilon) >= least.value - 1e-9
            checked += 1
    assert checked >= len(KAPPAS)


BAD = [
    ("codebook", {"k": 7}, "k = 7: expected a whole number in 1..6"),
    ("codebook", {"prompts": 0}, "prompts = 0: expected a whole number in 1..65536"),
    ("codebook", {"law": "normal"}, "law = normal: expected one of two-point, symmetric-two-point, uniform"),
    (
        "parity",
        {"law": "uniform", "s": 0.1},
        "s = 0.1: only law symmetric-two-point takes a spread, uniform has its own",
    ),
    (
        "parity",
        {"H": 10, "law": "symmetric-two-point", "s": 0.25},
        "s = 0.25: returns 2.5 and 7.5, expected whole tokens",
    ),
    ("parity", {"k": 2, "truth": 4}, "truth = 4: expected a whole number in 0..3"),
    ("planted", {"V": 1}, "V = 1: expected a whole number in 2..10000"),
    ("planted", {"ell": 0}, "ell = 0: expected a whole number in 1..64"),
    ("planted", {"H": 1.5}, "H = 1.5: expected a whole number in 1..100000"),
    ("planted", {"weights": (0.5, 0.5)}, "weights = (0.5, 0.5): expected 1 probabilities above 0 of sum 1"),
    ("planted", {"weights": (0.9,)}, "weights = (0.9,): expected 1 probabilities above 0 of sum 1"),
    ("planted", {"gammas": (math.nan,)}, "gammas = (nan,): expected at least one number in [-700, 700]"),
    ("planted", {"family": "words"}, "family = words: expected one of permutations, functions, shifts"),
    ("planted", {"family": "shifts"}, "M = 64: expected a whole number in 1..30"),
    ("planted", {"M": None}, "M = None: permutations on 30 tokens are more than 1048576, expected a number"),
    ("planted", {"prompts": ((1, 2),)}, "prompts: (1, 2), expected words of 5 tokens in 0..29"),
    ("planted", {"prompts": ((1,), (1,)), "ell": 1}, "prompts: expected 1..10000 different words, found 1 different"),
    ("planted", {"seed": -1}, f"seed = -1: expected a whole number in 0..{2**63 - 1}"),
    ("random-mdp", {"branching": 9}, "branching = 9: expected a whole number in 1..8"),
    ("random-mdp", {"density": 1.1}, "density = 1.1: expected a number in [0, 1]"),
    ("random-mdp", {"prompts": 9}, "prompts = 9: expected a whole number in 1..8"),
    (
        "random-mdp",
        {"states": 2000, "branching": 2},
        "H = 16: a table of 4100097024 entries for these sizes, at most 67108864 serve",
    ),
    ("rare-success", {"V": 2, "M": 3}, "prompts = 64: expected a whole number in 1..8"),
    ("two-mode", {"short": 8}, "short = 8: expected a whole number in 1..7"),
    ("two-mode", {"V": 10}, "V = 10: expected more than short + long = 10 tokens"),
    ("two-mode", {"enter_long": 0.99}, "enter_long = 0.99: expected at most 1 - enter_short"),
    ("two-mode", {"keep_long": math.nan}, "keep_long = nan: expected a number in [0, 1]"),
    ("two-mode", {"retries": 2}, "retries = 2: expected True or False"),
    (
        "two-mode",
        {"depth": 2},
        "task two-mode takes no depth: expected V, H, short, long, enter_short, "
        "enter_long, keep_short, keep_long, retries",
    ),
    ("chess", {}, "task chess: expected one of codebook, parity, planted, random-mdp, rare-success, two-mode"),
]


@pytest.mark.parametrize(("name", "fields", "message"), BAD)
def test_bad_configurations_say_so_in_one_line(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        task_config(name, **fields)
    assert str(error.value) == message


def test_first_states_belong_to_prompts() -> None:
    made = task("planted")
    for owner in ([0], [0, 0, 1, 1, 3, 3], [1, 1, 2, 2, 3, 3]):
        with pytest.raises(ValueError, match=r"^prompt: expected one of 0..X-1 for each of 6 first states.*\Z"):
            TokenTask.of(made.mdp, made.base, owner)
