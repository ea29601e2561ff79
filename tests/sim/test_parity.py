"""The parity codebook against exact enumeration and dense linear algebra."""

from __future__ import annotations

import itertools
import math

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from sampling import assert_mean, assert_same_mean, collapsed
from sim.cells import SweepConfig
from sim.tasks import parity
from sim.tasks.evidence import Evidence
from sim.tasks.parity import parity_evidence, walsh_hadamard
from theory.verifier import erm_success_parity


def signs(k: int) -> NDArray[np.float64]:
    """(2^k, 2^k) matrix of (-1)^<j,x>."""
    index = np.arange(2**k)
    return np.array([[(-1.0) ** bin(j & x).count("1") for x in index] for j in index])


def sampled(k: int, n: int, epsilon: float, trials: int, law: str = "two-point", H: int = 8) -> Evidence:
    """Evidence of the parity sampler, arrays (trials,)."""
    config = SweepConfig.checked(str(H), instance="parity", log2_M=k, epsilon=str(epsilon), rule=f"n={n}", law=law)
    return parity_evidence(config.cells()[0], np.arange(trials), 16)


@pytest.mark.parametrize("k", [1, 2, 3, 6, 7])
def test_transform_is_the_dense_one(k: int) -> None:
    """The two-factor Walsh-Hadamard transform is multiplication by the matrix of signs."""
    values = np.random.default_rng(k).standard_normal((3, 2**k))
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            np.asarray(walsh_hadamard(jax.numpy.asarray(values), k)), values @ signs(k), atol=1e-12
        )


def exact(k: int, n: int, epsilon: float) -> tuple[float, float]:
    """(E|w|, P(maximum likelihood hits)) for truth 0 by enumerating every data set (x_t, f_t) and its posterior."""
    s = signs(k)
    size = 2**k
    sign = hit = 0.0
    for data in itertools.product(itertools.product(range(size), (1, -1)), repeat=n):
        factors = np.prod([1 + epsilon * s[:, x] * f for x, f in data], axis=0)
        probability = factors[0] / (2 * size) ** n
        if probability == 0.0:
            continue
        sign += probability * np.mean(np.abs(s @ (factors / factors.sum())))
        best = np.isclose(factors, factors.max(), rtol=1e-9)
        hit += probability * best[0] / best.sum()
    return float(sign), float(hit)


@pytest.mark.parametrize(("k", "n", "epsilon"), [(1, 3, 0.6), (2, 3, 0.7), (2, 4, 1.0), (3, 3, 0.5)])
def test_posterior_agrees_with_enumeration_of_all_data(k: int, n: int, epsilon: float) -> None:
    """E|w| and the chance of behaviour cloning are those of the enumerated posterior."""
    sign, hit = exact(k, n, epsilon)
    evidence = sampled(k, n, epsilon, 16384)
    assert_mean(evidence.posterior_sign, sign)
    assert_mean(evidence.mle_hit, hit)


@pytest.mark.parametrize(("k", "n", "epsilon"), [(8, 8, 0.6), (8, 16, 0.6), (6, 12, 0.9)])
def test_posterior_agrees_with_dense_posterior(k: int, n: int, epsilon: float) -> None:
    """At k = 8, products of likelihoods over all 2^k hypotheses and prompts give the same E|w|."""
    rng = np.random.default_rng(11)
    s, reference = signs(k), np.empty(2048)
    for t in range(reference.size):
        truth, x = rng.integers(2**k), rng.integers(2**k, size=n)
        f = np.where(rng.random(n) < (1 + epsilon * s[truth, x]) / 2, 1, -1)
        likelihood = np.prod(1 + epsilon * s[:, x] * f, axis=1)
        reference[t] = np.mean(np.abs(s @ (likelihood / likelihood.sum())))
    assert_same_mean(sampled(k, n, epsilon, 8192).posterior_sign, reference)


def test_instances_differ_near_n_equal_k_and_agree_later() -> None:
    """k = 8, epsilon = .6: E|w| is .125 on parity and .167 on the random codebook at n = 8; one value by n = 3k."""
    near, far = (sampled(8, n, 0.6, 16384).posterior_sign for n in (8, 24))
    near_codebook, far_codebook = (collapsed("8", 16384, log2_M=8, epsilon="0.6", rule=f"n={n}") for n in (8, 24))
    for sample, stated in ((near, 0.125), (near_codebook.posterior_sign, 0.167)):
        error = sample.std(ddof=1) / math.sqrt(sample.size)
        assert abs(sample.mean() - stated) <= 5 * error + 0.0005  # three digits are stated
    assert_same_mean(far, far_codebook.posterior_sign)


@pytest.mark.parametrize(
    ("k", "n", "law", "H"),
    [(8, 6, "two-point", 8), (8, 9, "two-point", 8), (5, 7, "uniform", 4), (12, 80, "two-point", 8)],
)
def test_verifier_by_transform_and_by_elimination(k: int, n: int, law: str, H: int) -> None:
    """Counting consistent hypotheses and Gaussian elimination both succeed with probability E 2^(rank - k)."""
    evidence = sampled(k, n, 0.5, 8192, law, H)
    informative = 1.0 - (1.0 / (H + 1) if law == "uniform" else 0.0)
    success = erm_success_parity(n, k, informative)
    assert_mean(evidence.erm_hit, success)
    assert_mean(evidence.elimination_hit, success)


def test_elimination_finds_the_truth_exactly_when_it_is_identified() -> None:
    """Trial by trial: where one hypothesis is consistent, elimination outputs it; else it guesses fairly."""
    evidence = sampled(6, 7, 0.5, 4096)
    identified = evidence.erm_hit == 1.0
    assert identified.any()
    assert not identified.all()
    assert np.all(evidence.elimination_hit[identified] == 1.0)
    difference = evidence.elimination_hit - evidence.erm_hit
    assert abs(difference.mean()) <= 5 * difference.std() / math.sqrt(difference.size)


def test_elimination_guesses_free_bits() -> None:
    """An under-determined system is solved by every consistent hypothesis, one for each choice of the free bits."""
    with jax.enable_x64(True):
        basis = jax.numpy.zeros(4, jax.numpy.uint32).at[2].set(jax.numpy.uint32(0b0110 | 1 << 4))
        found = {int(parity._solution(basis, jax.numpy.uint32(free), 4)) for free in range(16)}
    assert found == {j for j in range(16) if bin(j & 0b0110).count("1") % 2 == 1}
