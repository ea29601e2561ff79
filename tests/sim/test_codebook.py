"""The samplers of the random codebook against independent simulation, exact curves and explicit enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from sampling import assert_mean, assert_same_mean, collapsed
from sim.cells import SweepConfig
from sim.runner import run_cells
from sim.tasks import codebook
from sim.tasks.codebook import collapsed_evidence, collapsed_tables, explicit_evidence
from theory.verifier import erm_success_codebook
from theory.verifier_free import mle_success_codebook


def all_levels(n: int, log2_M: int, epsilon: float, trials: int, seed: int) -> NDArray[np.float64]:
    """|w| by an independent sampler: the number of wrong hypotheses at every agreement level 0..n, and their signs.

    Counts are Poisson (normal above 1e9, where the two agree to 1e-5 of a standard deviation): no windows, no order
    statistics, no remainder.
    """
    rng = np.random.default_rng(seed)
    k = np.arange(n + 1)
    rate = 2.0**log2_M * binom.pmf(k, n, 0.5)
    slope = math.log1p(epsilon) - math.log1p(-epsilon)
    likelihood = np.exp(slope * (k - n * (1 + epsilon) / 2))
    truth = np.exp(slope * (rng.binomial(n, (1 + epsilon) / 2, trials) - n * (1 + epsilon) / 2))
    shape = (trials, n + 1)
    counts = np.where(
        rate < 1e9, rng.poisson(np.minimum(rate, 1e9), shape), rate + np.sqrt(rate) * rng.standard_normal(shape)
    )
    small = np.minimum(counts, 1e9).astype(np.int64)
    signs = np.where(
        counts < 1e9, 2.0 * rng.binomial(small, 0.5) - small, np.sqrt(np.abs(counts)) * rng.standard_normal(shape)
    )
    return np.abs(truth + signs @ likelihood) / (truth + counts @ likelihood)


@pytest.mark.parametrize(("capacity", "expected"), [(1, None), (1.5, 0.26)])
def test_bayes_agrees_with_all_levels(capacity: float, expected: float | None) -> None:
    """At log2 M = 64, n = H = 128 a windowless Monte-Carlo over all levels has the same E|w| (.26 at capacity 1.5)."""
    sampled = collapsed("128", 16384, epsilon=f"capacity:{capacity}").posterior_sign
    epsilon = math.sqrt(capacity * 64 * math.log(2) / 128)
    reference = all_levels(128, 64, epsilon, 8192, seed=17)
    assert_same_mean(sampled, reference)
    if expected is not None:
        error = reference.std(ddof=1) / math.sqrt(reference.size)
        assert abs(reference.mean() - expected) <= 5 * error + 0.005  # two digits are stated


def enumerated(
    n: int, M: int, epsilon: float, trials: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(|w|, P(likelihood's maximiser is the truth)) with every hypothesis and every prompt written out."""
    rng = np.random.default_rng(seed)
    signs, hits = np.empty(trials), np.empty(trials)
    for t in range(trials):
        prompts = 2 * rng.integers(0, 2, (n, M)) - 1
        token = np.where(rng.random(n) < (1 + epsilon * prompts[:, 0]) / 2, 1, -1)
        agreements = np.sum(prompts == token[:, None], axis=0)
        likelihood = (1 + epsilon) ** agreements * (1 - epsilon) ** (n - agreements)
        signs[t] = abs(likelihood @ (2 * rng.integers(0, 2, M) - 1)) / likelihood.sum()
        best = agreements == agreements.max()
        hits[t] = best[0] / best.sum()
    return signs, hits


@pytest.mark.parametrize(
    ("n", "bits", "epsilon"),
    [(5, 1, 0.5), (12, 2, 1.0), (6, 4, 0.6), (9, 6, 0.5), (10, 7, 1.0), (12, 8, 0.7), (20, 12, 0.8)],
)
def test_collapsed_agrees_with_explicit_enumeration(n: int, bits: int, epsilon: float) -> None:
    """For log2 M <= 12, writing out every hypothesis gives the same E|w| and the same chance for behaviour cloning."""
    sampled = collapsed(str(n), 16384, log2_M=bits, epsilon=str(epsilon))
    signs, hits = enumerated(n, 2**bits, epsilon, 2048, seed=5)
    assert_same_mean(sampled.posterior_sign, signs)
    assert_same_mean(sampled.mle_hit, hits)


@pytest.mark.parametrize(("n", "epsilon"), [(2, 0.3), (4, 0.3), (8, 0.3), (3, 0.9), (10, 0.8)])
def test_bayes_agrees_with_all_levels_where_the_rest_carries_the_sign(n: int, epsilon: float) -> None:
    """At log2 M = 13 and n <= 10 nearly all hypotheses lie below the listed ones; all levels give the same E|w|."""
    sampled = collapsed(str(n), 16384, log2_M=13, epsilon=str(epsilon)).posterior_sign
    assert_same_mean(sampled, all_levels(n, 13, epsilon, 8192, seed=23))


@pytest.mark.parametrize(("n", "epsilon"), [(2, 0.9), (3, 0.9), (5, 0.9), (7, 0.9), (4, 0.3)])
def test_cloning_with_many_unlisted_ties(n: int, epsilon: float) -> None:
    """At log2 M = 13, n <= 7, most ties are not listed: behaviour cloning still has its exact success.

    Within 5 standard errors, plus 1e-3 of it: unlisted ties come from a normal law of the right mean and variance.
    """
    sampled = collapsed(str(n), 16384, log2_M=13, epsilon=str(epsilon)).mle_hit
    exact, error = mle_success_codebook(n, 13, epsilon), sampled.std(ddof=1) / math.sqrt(sampled.size)
    assert abs(sampled.mean() - exact) <= 5 * error + 1e-3 * exact


@pytest.mark.parametrize(("n", "bits"), [(2, 13), (4, 13), (6, 13), (40, 64), (52, 64), (57, 64), (10, 4096)])
def test_erm_with_many_unlisted_survivors(n: int, bits: int) -> None:
    """Far below n = log2 M, where hundreds of verifiers survive, ERM has its exact success.

    Within 5 standard errors, plus 1e-3 of it (the normal law of the unlisted); below 1e-250 both are as good as zero.
    """
    sampled = collapsed(str(n), 4096, log2_M=bits, epsilon="0.5").erm_hit
    exact, error = erm_success_codebook(n, bits), sampled.std(ddof=1) / math.sqrt(sampled.size)
    assert abs(sampled.mean() - exact) <= 5 * error + 1e-3 * exact + 1e-250


@pytest.mark.parametrize(
    ("n", "bits"), [(40, 14), (24, 13), (128, 64), (512, 64), (64, 64), (48, 20), (200, 128), (2000, 64)]
)
def test_exact_curves_are_oracles(n: int, bits: int) -> None:
    """Sampled behaviour cloning and ERM agree with their exact success probabilities."""
    sampled = collapsed(str(n), 16384, log2_M=bits, epsilon="capacity:1.8")
    cell = SweepConfig.checked(str(n), log2_M=bits, epsilon="capacity:1.8").cells()[0]
    assert_mean(sampled.mle_hit, mle_success_codebook(n, bits, cell.epsilon))
    assert_mean(sampled.erm_hit, erm_success_codebook(n, bits))


@pytest.mark.parametrize(("n", "bits"), [(1, 4096), (5000, 4096), (1_000_000, 64), (1, 1), (4100, 4096)])
def test_extreme_sizes_stay_finite(n: int, bits: int) -> None:
    """No overflow, underflow or NaN: every quantity lies in [0, 1]."""
    sampled = collapsed("512", 64, log2_M=bits, rule=f"n={n}")
    for values in sampled[:3]:
        assert np.all((values >= 0) & (values <= 1))


def test_a_cell_does_not_depend_on_its_company() -> None:
    """Alone or among others, a cell's numbers are the same bits: batches have one shape."""
    alone = run_cells(SweepConfig.checked("70").cells(), 256, None, lambda done: None)
    company = run_cells(SweepConfig.checked("1,70,500").cells(), 256, None, lambda done: None)
    for one, among in zip(alone[:3], company[:3], strict=True):
        np.testing.assert_array_equal(one[0], among[1])


def test_more_seeds_extend_the_sample() -> None:
    """Trial j of a cell draws the same numbers however many trials are asked for (other shapes round differently)."""
    cells = SweepConfig.checked("90").cells()
    few = collapsed_evidence(cells, np.arange(8), collapsed_tables(cells))
    many = collapsed_evidence(cells, np.arange(40), collapsed_tables(cells))
    np.testing.assert_allclose(few.posterior_sign[0], many.posterior_sign[0, :8], rtol=1e-10)


def test_trials_are_different_data_sets() -> None:
    """No two trials, and no two horizons, share their random numbers."""
    cells = SweepConfig.checked("100,101").cells()
    values = collapsed_evidence(cells, np.arange(256), collapsed_tables(cells)).posterior_sign
    assert np.unique(values).size == values.size


def test_one_compilation_for_all_horizons() -> None:
    """Horizons, sizes of class and epsilon are data: a sweep adds one entry to the compilation cache."""
    codebook._collapsed_batch.clear_cache()
    run_cells(SweepConfig.checked("1..400:3", seeds=256).cells(), 256, None, lambda done: None)
    assert codebook._collapsed_batch._cache_size() == 1


def uniform_enumerated(
    H: int, n: int, M: int, epsilon: float, trials: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """|w| and ERM's chance for R uniform on {0..H}, likelihoods as products, every hypothesis written out."""
    rng = np.random.default_rng(3)
    R = np.arange(H + 1.0)
    f = (R - R.mean()) / R.std()
    signs, erm = np.empty(trials), np.empty(trials)
    for t in range(trials):
        prompts = 2 * rng.integers(0, 2, (n, M)) - 1
        expert = np.maximum(1 + epsilon * prompts[:, :1] * f, 0) / (H + 1)
        token = np.array([rng.choice(f, p=p / p.sum()) for p in expert])
        likelihood = np.prod(1 + epsilon * prompts * token[:, None], axis=0)
        signs[t] = abs(likelihood @ (2 * rng.integers(0, 2, M) - 1)) / likelihood.sum()
        base = rng.choice(f, size=n)
        consistent = np.all((prompts * base[:, None]) == (prompts[:, :1] * base[:, None]), axis=0)
        erm[t] = 1 / consistent.sum()
    return signs, erm


def test_uniform_returns_agree_with_enumeration() -> None:
    """R uniform on {0..8}, M = 16: same E|w| and same ERM success as with products of likelihoods."""
    cell = SweepConfig.checked("8", law="uniform", log2_M=4, epsilon="0.6", rule="n=6").cells()[0]
    sampled = explicit_evidence(cell, np.arange(16384), 16)
    signs, erm = uniform_enumerated(8, 6, 16, 0.6, 4096)
    assert_same_mean(sampled.posterior_sign, signs)
    assert_same_mean(sampled.erm_hit, erm)


def test_explicit_and_collapsed_agree() -> None:
    """On a two-point law the explicit and the collapsed sampler have one law."""
    cell = SweepConfig.checked("14", log2_M=9, epsilon="0.7").cells()[0]
    explicit = explicit_evidence(cell, np.arange(8192), 2)
    other = collapsed("14", 8192, log2_M=9, epsilon="0.7")
    assert_same_mean(explicit.posterior_sign, other.posterior_sign)
    assert_same_mean(explicit.mle_hit, other.mle_hit)
    assert_same_mean(explicit.erm_hit, other.erm_hit)
