"""Codebook, parity, rare success, two modes and random processes as token MDPs, against closed forms."""

from __future__ import annotations

import itertools
import math

import jax
import numpy as np
import pytest

from sim.cells import Cell, SweepConfig
from sim.dynamic_programming import chi2_divergence, evaluate, mean_return
from sim.tasks.random_mdp import RandomMDP
from sim.tasks.rare_success import RareSuccess
from sim.tasks.token_codebook import TokenCodebook, TokenParity
from sim.tasks.two_mode import TwoMode
from theory.crossover import vb_random_loss, vf_cloning_value, vf_loss

LAWS = [("two-point", 0.5, 16), ("symmetric-two-point", 0.25, 16), ("uniform", 0.5, 16)]

pytestmark = pytest.mark.usefixtures("quick_to_compile")


def cell(instance: str, k: int, law: str, s: float, H: int, epsilon: float) -> Cell:
    """The collapsed sampler's cell, whose numbers are closed forms."""
    config = SweepConfig.checked(
        str(H), instance=instance, law=law, s=s, log2_M=k, epsilon=f"{epsilon:.17g}", rule="n=8"
    )
    return config.cells()[0]


@pytest.mark.parametrize(("law", "s", "H"), LAWS)
@pytest.mark.parametrize("instance", ["codebook", "parity"])
def test_mirrored_tasks_match_the_collapsed_samplers(instance: str, law: str, s: float, H: int) -> None:
    """sigma^2, the chi-squared expert and J, on every sign pattern, to 1e-12."""
    k = 6 if law == "two-point" else 3
    kind = TokenParity if instance == "parity" else TokenCodebook
    config = kind(k=k, H=H, law=law, s=s, truth=2**k - 1)
    made = config.build()
    assert len(made.weights) == len(config.signs)
    epsilon = 0.5 * config.return_law.max_epsilon
    exact = cell(instance, k, law, s, H, epsilon)
    scale = 1e-12 * H
    mean, variance = made.moments()
    np.testing.assert_allclose(mean, exact.mu, rtol=0, atol=scale)
    np.testing.assert_allclose(variance, exact.sigma**2, rtol=0, atol=scale * H)
    ball = made.ball(exact.kappa)
    np.testing.assert_allclose(ball.mean, exact.expert_value, rtol=0, atol=scale)
    np.testing.assert_allclose(ball.divergence, exact.kappa, rtol=0, atol=1e-12)
    policy = config.expert(epsilon)
    with jax.enable_x64(True):
        found = evaluate(made.mdp, policy)
        value, spread = np.asarray(found.mean), np.asarray(found.variance)
        distance = np.asarray(chi2_divergence(made.mdp, policy, made.base))
    np.testing.assert_allclose(value, exact.expert_value, rtol=0, atol=scale)
    np.testing.assert_allclose(spread, exact.expert_sd**2, rtol=0, atol=scale * H)
    np.testing.assert_allclose(distance, exact.kappa, rtol=0, atol=1e-12)
    for one in made.return_laws():
        np.testing.assert_allclose(one.values, config.return_law.values, rtol=0, atol=0)
        np.testing.assert_allclose(one.probabilities, config.return_law.probabilities, rtol=0, atol=1e-14)
        assert math.isclose(one.anti_concentration(epsilon), exact.c, rel_tol=1e-12)


def test_executed_expert_is_the_closed_form() -> None:
    """What reweighting finds is pi_b(1 + eps s f) on the first token."""
    config = TokenParity(k=3, H=6, law="uniform", truth=5)
    epsilon = 0.7 * config.return_law.max_epsilon
    made = config.build()
    found, closed = made.expert(epsilon**2).base, config.expert(epsilon)
    np.testing.assert_allclose(found[0][made.mdp.prompts], closed[made.mdp.prompts], rtol=0, atol=1e-13)


@pytest.mark.parametrize("config", [TokenParity(k=4, H=4), TokenCodebook(k=2, H=4, prompts=16)])
def test_wrong_hypotheses_are_worth_the_mean(config: TokenParity | TokenCodebook) -> None:
    """Signs are pairwise independent over all prompts: expert j is worth mu + eps sigma if it is right, else mu."""
    made, law = config.build(), config.return_law
    with jax.enable_x64(True):
        for j in range(config.M):
            value = made.weights @ np.asarray(mean_return(made.mdp, config.expert(0.8, j)))
            assert math.isclose(value, law.mean + 0.8 * law.sd * (j == config.truth), rel_tol=1e-12)


def test_expert_of_a_mirrored_task_is_checked() -> None:
    config = TokenParity(k=2, H=6, law="uniform")
    with pytest.raises(ValueError, match=r"^epsilon = 0.9: expected a number in \[0, 0.666667\]\Z"):
        config.expert(0.9)
    with pytest.raises(ValueError, match=r"^hypothesis = 4: expected a whole number in 0..3\Z"):
        config.expert(0.1, 4)


@pytest.mark.parametrize("V", [2, 64])
def test_rare_success_has_the_moments_of_section_10(V: int) -> None:
    """mu = Hc, sigma = H sqrt(c(1-c)), c(eps) = c above the mean, and the ball's expert plays p_e."""
    config = RareSuccess(V=V, M=5, H=20, prompts=30, truth=3)
    made, c = config.build(), 1.0 / V
    mean, variance = made.moments()
    np.testing.assert_allclose(mean, 20 * c, rtol=1e-12)
    np.testing.assert_allclose(variance, 400 * c * (1 - c), rtol=1e-12)
    for p_e in (c, min(2 * c, 1.0), 0.5 * (1 + c), 1.0):
        policy = config.policy(p_e=p_e)
        kappa = (p_e - c) ** 2 / (c * (1 - c))
        with jax.enable_x64(True):
            np.testing.assert_allclose(np.asarray(evaluate(made.mdp, policy).mean), 20 * p_e, rtol=1e-12)
            np.testing.assert_allclose(np.asarray(chi2_divergence(made.mdp, policy, made.base)), kappa, atol=1e-12 * V)
        np.testing.assert_allclose(made.ball(kappa).mean, 20 * p_e, rtol=1e-12)
    assert made.return_laws()[0].anti_concentration(0.5) == pytest.approx(c, rel=1e-12)


@pytest.mark.parametrize(("V", "M", "n", "p_e"), [(2, 2, 3, 1.0), (3, 2, 2, 0.8), (2, 3, 2, 0.7), (3, 2, 3, 1.0)])
def test_rare_success_learners_are_worth_what_crossover_says(V: int, M: int, n: int, p_e: float) -> None:
    """Every data set of n traces, every hypothesis valued on the process: the losses of ``crossover-vf-wins``."""
    config = RareSuccess(V=V, M=M, H=7, prompts=V**M, truth=M - 1)
    made, c = config.build(), 1.0 / V
    with jax.enable_x64(True):
        worth = [made.weights @ np.asarray(mean_return(made.mdp, config.policy(j))) for j in range(M)]
        noisy = [made.weights @ np.asarray(mean_return(made.mdp, config.policy(j, p_e))) for j in range(M)]
    vf = cloned = vb = 0.0
    for data in itertools.product(itertools.product(range(V**M), range(V)), repeat=n):
        agreed = np.array([[config.words[x, j] == a for j in range(M)] for x, a in data])
        right = agreed[:, config.truth]
        expert = np.prod(np.where(right, p_e, (1 - p_e) / (V - 1))) / V ** (M * n)
        best = agreed.sum(axis=0) == agreed.sum(axis=0).max()
        vf += expert * best @ worth / best.sum()
        cloned += expert * best @ noisy / best.sum()
        consistent = (agreed == right[:, None]).all(axis=0)
        vb += consistent @ worth / consistent.sum() / V ** (M * n + n)
    log2_M = math.log2(M)
    assert math.isclose(vf, 7 * (1 - (1 - c) * vf_loss(n, log2_M, c, p_e)), rel_tol=1e-12)
    assert math.isclose(cloned, 7 * vf_cloning_value(n, log2_M, c, p_e), rel_tol=1e-12)
    assert math.isclose(vb, 7 * (1 - (1 - c) * vb_random_loss(n, log2_M, c)), rel_tol=1e-12)


@pytest.mark.parametrize(
    "config",
    [
        TwoMode(H=40, keep_short=1.0, keep_long=1.0),
        TwoMode(H=40, short=1, long=3, enter_short=0.01, enter_long=0.99, keep_long=1.0),
        TwoMode(H=40, retries=False),
        TwoMode(H=5, retries=False),
        TwoMode(H=5, keep_short=1.0, keep_long=1.0, enter_short=0.0),
    ],
)
def test_two_modes_have_their_closed_form(config: TwoMode) -> None:
    np.testing.assert_allclose(config.build().law()[:, 0], config.closed_form(), rtol=0, atol=1e-14)


def test_two_modes_without_closed_form_say_so() -> None:
    with pytest.raises(ValueError, match=r"^keep_short = 0.9, keep_long = 0.9: expected both 1\Z"):
        TwoMode().closed_form()


def test_two_modes_solve_by_either_word() -> None:
    """Any word over four tokens solves where a scan first finds one of the two."""
    config = TwoMode(V=6, short=2, long=3, H=6)
    mdp = config.build().mdp
    for word in itertools.product(range(6), repeat=5):
        state, late = int(mdp.prompts[0]), 0
        for t, token in enumerate(word, 1):
            late = late or (t if mdp.rewards[state, token] else 0)
            state = int(mdp.transitions[state, token])
        scan = next((t for t in range(2, 6) if any(word[max(t - len(y), 0) : t] == y for y in config.golds)), 0)
        assert late == scan


@pytest.mark.parametrize("branching", [1, 3])
def test_random_processes_are_layered_and_reproducible(branching: int) -> None:
    """Each token leads to ``branching`` states, or solves; the same seed gives the same process, another another."""
    config = RandomMDP(states=6, tokens=5, H=40, branching=branching, density=0.2, concentration=0.5, prompts=2)
    made, again, other = config.build(), config.build(), RandomMDP(**{**vars(config), "seed": 1}).build()
    np.testing.assert_array_equal(made.base, again.base)
    np.testing.assert_array_equal(made.mdp.transitions, again.mdp.transitions)
    assert not np.array_equal(made.base, other.base)
    assert made.mdp.is_deterministic == (branching == 1)
    solves = made.mdp.rewards[:, :6] == 1
    assert abs(solves.mean() - 0.2) < 5 * math.sqrt(0.16 / solves.size)
    if branching > 1:
        reached = (made.mdp.transitions[:, :6] > 0).sum(axis=-1)
        assert set(reached[~solves].tolist()) == {branching}
        assert set(reached[solves].tolist()) == {1}
    squares = (made.base[:, :7] ** 2).sum(axis=-1)  # Dirichlet(a, .., a): E sum p^2 = (1 + a)/(1 + 5 a)
    assert abs(squares.mean() - 1.5 / 3.5) < 5 * squares.std() / math.sqrt(squares.size)
