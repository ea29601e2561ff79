"""Values of learners against policies written out token by token."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.cells import Cell, SweepConfig
from sim.learners.learner import learners
from sim.tasks.evidence import Evidence
from sim.tasks.parity import parity_evidence
from theory.chi2_ball import chi2_divergence


def cell(law: str, epsilon: str, N: int = 3, H: int = 5) -> Cell:
    return SweepConfig.checked(str(H), law=law, log2_M=4, epsilon=epsilon, N=N).cells()[0]


def hit(value: float) -> Evidence:
    """Evidence of one trial in which every learner's chance of the truth, and |w|, is ``value``."""
    return Evidence(*(np.array([value]) for _ in range(4)))


def tokens(cell: Cell) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First tokens: the return of each where the sign is +1, and the base's probability of it."""
    return cell.return_law.values, cell.return_law.probabilities


def expected(policy: NDArray[np.float64], cell: Cell, sign: int) -> float:
    """J of a law over first tokens on a prompt with this sign: returns are mirrored where it is -1."""
    returns = tokens(cell)[0]
    return float(policy @ (returns if sign > 0 else 2 * cell.mu - returns))


def top_c(cell: Cell, believed: int) -> NDArray[np.float64]:
    """The base given the top mass c of the believed returns, ties at random, one token at a time."""
    returns, base = tokens(cell)
    score = believed * returns
    policy, room = np.zeros_like(base), cell.c
    for level in sorted(set(score), reverse=True):
        members = score == level
        mass = base[members].sum()
        policy[members] = base[members] * min(1.0, room / mass)
        room -= min(room, mass)
    return policy / policy.sum()


def best_of_n(cell: Cell, believed: int) -> NDArray[np.float64]:
    """The best of N base draws by the believed return, by enumeration of all N-tuples of tokens."""
    returns, base = tokens(cell)
    policy = np.zeros_like(base)
    for draw in itertools.product(range(base.size), repeat=cell.N):
        policy[max(draw, key=lambda token: believed * returns[token])] += np.prod(base[list(draw)])
    return policy


def tilt(cell: Cell, believed: int) -> NDArray[np.float64]:
    """The chi-squared ball's best policy for the believed sign."""
    returns, base = tokens(cell)
    policy = base * (1 + believed * cell.epsilon * (returns - cell.mu) / cell.sigma)
    assert chi2_divergence(policy, base) == pytest.approx(cell.kappa)
    return policy


POLICIES = {"vf-mle": tilt, "vb-ball": tilt, "expert": tilt, "vb-top-c": top_c, "vb-best-of-n": best_of_n}
CELLS = [("two-point", "0.6"), ("two-point", "1"), ("uniform", "0.5"), ("uniform", "0.2")]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(("law", "epsilon"), CELLS)
def test_value_with_the_truth_is_that_of_the_policy(name: str, law: str, epsilon: str) -> None:
    """With the true hypothesis a learner's J is that of its policy, on prompts of either sign."""
    here = cell(law, epsilon)
    J = learners()[name].value(hit(1.0), here)[0]
    for sign in (1, -1):
        assert pytest.approx(expected(POLICIES[name](here, sign), here, sign), rel=1e-12) == J


@pytest.mark.parametrize("name", ["vf-mle", "vb-ball", "vb-top-c", "vb-best-of-n"])
@pytest.mark.parametrize(("law", "epsilon"), CELLS)
def test_value_with_a_wrong_hypothesis_is_the_base(name: str, law: str, epsilon: str) -> None:
    """With a wrong hypothesis, right on half of the prompts, J is mu."""
    here = cell(law, epsilon)
    average = np.mean([expected(POLICIES[name](here, believed), here, 1) for believed in (1, -1)])
    assert learners()[name].value(hit(0.0), here)[0] == pytest.approx(average, rel=1e-12)
    assert average == pytest.approx(here.mu, rel=1e-12)


@pytest.mark.parametrize(("law", "epsilon"), CELLS)
@pytest.mark.parametrize("w", [-0.7, 0.2, 1.0])
def test_bayes_plays_the_best_reply_to_its_posterior(law: str, epsilon: str, w: float) -> None:
    """Of all first tokens, the best under posterior sign w gains rho |w| over mu."""
    here = cell(law, epsilon)
    best = max(here.mu + w * (r - here.mu) for r in tokens(here)[0])
    assert learners()["vf-bayes"].value(hit(abs(w)), here)[0] == pytest.approx(best, rel=1e-12)


def test_elimination_is_worth_what_erm_is() -> None:
    """On parity, the verifier found by elimination makes the same top-c learner as ERM, on average over its guesses."""
    here = SweepConfig.checked("9", instance="parity", log2_M=8, epsilon="0.5", rule="n=8").cells()[0]
    evidence = parity_evidence(here, np.arange(8192), 2)
    by_erm, by_elimination = (learners()[name].value(evidence, here) for name in ("vb-top-c", "vb-elimination"))
    difference = by_elimination - by_erm
    assert difference.std() > 0
    assert abs(difference.mean()) <= 5 * difference.std() / np.sqrt(difference.size)


def test_no_verifier_free_learner_beats_bayes() -> None:
    """On average over the prior, behaviour cloning is worth no more than the Bayes learner."""
    here = SweepConfig.checked("20", instance="parity", log2_M=6, epsilon="0.6").cells()[0]
    evidence = parity_evidence(here, np.arange(4096), 2)
    bayes, mle = (learners()[name].value(evidence, here) for name in ("vf-bayes", "vf-mle"))
    assert bayes.mean() >= mle.mean() - 5 * (bayes - mle).std() / np.sqrt(4096)
