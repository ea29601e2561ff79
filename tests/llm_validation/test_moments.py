"""Means and spreads over problems: unbiased, and covered by their intervals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from llm_validation.moments import Interval, _resampled, bootstrap_mean, moments, problem_moments
from theory.planted import solve_time_law

H = 64


def test_moments_are_unbiased() -> None:
    """Over all samples of size 3 of a law on four returns, mean and variance average to the law's."""
    returns, law = np.array([0.0, 1.0, 3.0, 8.0]), np.array([0.4, 0.3, 0.2, 0.1])
    mean = float(returns @ law)
    variance = float((returns - mean) ** 2 @ law)
    total = np.zeros(2)
    for picks in itertools.product(range(4), repeat=3):
        found = problem_moments(np.zeros(3, dtype=np.int64), returns[list(picks)])
        total += law[list(picks)].prod() * np.array([found.mean[0], found.variance[0]])
    np.testing.assert_allclose(total, [mean, variance], rtol=1e-13)


def test_problems_count_once_and_unknown_returns_not_at_all() -> None:
    """A problem sampled a hundred times weighs as one sampled twice; NaN is left out; one sample has no spread."""
    problem = np.array([0] * 100 + [1, 1, 2, 3])
    returns = np.array([1.0] * 100 + [0.0, 4.0, 5.0, math.nan])
    found = problem_moments(problem, returns)
    np.testing.assert_array_equal(found.problem, [0, 1, 2])
    np.testing.assert_array_equal(found.samples, [100, 2, 1])
    np.testing.assert_array_equal(found.mean, [1.0, 2.0, 5.0])
    np.testing.assert_array_equal(found.variance, [0.0, 8.0, math.nan])
    assert moments(found, 10, seed=0)["mu"].estimate == pytest.approx(8.0 / 3.0)
    assert moments(found, 10, seed=0)["sigma2"].estimate == 4.0


def test_spread_between_problems_is_without_the_noise_of_their_means() -> None:
    """Problems of one law: no spread between them, although their means differ."""
    rng = np.random.default_rng(1)
    problem = np.repeat(np.arange(4000), 3)
    alike = problem_moments(problem, rng.integers(0, 2, problem.size).astype(float))
    assert alike.between <= 0.01
    assert alike.mean.var() > 0.07
    spread = rng.normal(size=4000)[problem] + rng.normal(size=problem.size)
    assert problem_moments(problem, spread).between == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("samples", [4, 16])
def test_intervals_cover(samples: int) -> None:
    """Planted problems of different mixtures: 300 repeats, 95% intervals miss both means within 4 standard errors."""
    laws = np.array([[*solve_time_law((0, 1, 2), 10, g, H).masses, 0.0] for g in (2.0, 3.5)])
    laws[:, -1] = 1.0 - laws.sum(axis=1)
    gains = np.append(np.arange(H, 0, -1.0), 0.0)
    mean, square = laws @ gains, laws @ gains**2  # arcsine weights w: E w = 1/2, E w^2 = 3/8
    mu = float(mean.mean())
    second = 3 / 8 * (mean**2).sum() + 2 * (1 / 8) * mean.prod()
    sigma2 = float(square.mean()) - second
    rng, hits = np.random.default_rng(samples), np.zeros(2)
    repeats = 300
    for repeat in range(repeats):
        weight = rng.beta(0.5, 0.5, 200)
        cumulative = (np.stack([weight, 1 - weight], axis=1) @ laws).cumsum(axis=1)
        picks = (rng.random((200, samples))[:, :, None] > cumulative[:, None, :-1]).sum(axis=2)
        found = moments(problem_moments(np.repeat(np.arange(200), samples), gains[picks].reshape(-1)), H, repeat)
        hits += [q.low <= t <= q.high for q, t in ((found["mu"], mu), (found["sigma2"], sigma2))]
    assert (hits / repeats >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / repeats)).all()


def test_values_that_do_not_vary_are_not_known_for_sure() -> None:
    """Ten problems that are all solved: the mean may be lower, by what ten draws can miss with probability 5%."""
    found = bootstrap_mean(np.ones(10), seed=0, low=0.0, high=1.0)
    assert (found.estimate, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.05 ** (1 / 10))
    assert bootstrap_mean(np.ones(1), seed=0, low=0.0, high=1.0).low == pytest.approx(0.05)
    assert math.isnan(bootstrap_mean(np.zeros(0), seed=0).estimate)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_the_expansion_is_the_bootstrap_of_many_problems(power: float) -> None:
    """One problem past the change-over the resampled ends agree, but for the noise of 20,000 resamples."""
    values = np.random.default_rng(5).exponential(size=4097) ** power
    found = bootstrap_mean(values, seed=0)
    se = values.std(ddof=1) / math.sqrt(values.size)
    bottom, top = np.mean([_resampled(values, found.estimate, se, s, tail=0.025) for s in range(10)], axis=0)
    assert "expansion" in found.method
    assert found.low == pytest.approx(found.estimate - top * se, abs=0.05 * se)
    assert found.high == pytest.approx(found.estimate - bottom * se, abs=0.05 * se)
    if power == 1.0:  # skewness moves them by 0.04 standard errors
        assert (found.high + found.low) / 2 > found.estimate + 0.03 * se
    heavy = np.random.default_rng(5).exponential(size=4097) ** 8
    assert "expansion" not in bootstrap_mean(heavy, seed=0).method


def test_the_same_seed_gives_the_same_interval() -> None:
    """Seeded: equal for one seed, different for another; an increasing map moves all three numbers."""
    values = np.random.default_rng(2).exponential(size=50)
    first = bootstrap_mean(values, seed=3)
    assert first == bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)
    assert first.mapped(lambda x: 2 * x) == Interval(
        2 * first.estimate, 2 * first.low, 2 * first.high, first.level, first.method
    )


def test_two_problems_have_the_interval_of_student() -> None:
    """Two values a and b: their mean +- 12.7 |a - b|/2, cut to what is possible; never a point."""
    found = bootstrap_mean(np.array([0.4, 0.6]), seed=0)
    assert found.high - found.estimate == pytest.approx(12.7062 * 0.1, rel=1e-4)
    assert found.estimate - found.low == pytest.approx(12.7062 * 0.1, rel=1e-4)
    cut = bootstrap_mean(np.array([0.4, 0.6]), seed=0, low=0.0, high=1.0)
    assert (cut.low, cut.high) == (0.0, 1.0)


def test_few_problems_cover() -> None:
    """Means of 2 to 8 uniform values: at least 90% of 2,000 intervals hold 1/2, and more from 5 on."""
    rng = np.random.default_rng(7)
    for size in (2, 3, 4, 5, 8):
        found = [bootstrap_mean(rng.random(size), seed=0) for _ in range(2000)]
        assert np.mean([interval.low <= 0.5 <= interval.high for interval in found]) >= (0.9 if size < 5 else 0.94)


def test_resamples_are_those_of_the_definition() -> None:
    """Quantiles of (mean* - mean)/se* over resamples drawn one by one."""
    values, size = np.random.default_rng(4).exponential(size=12), 12
    drawn = values[np.random.default_rng([9, 0xB007]).integers(0, size, size=(2000, size))]
    ratios = (drawn.mean(axis=1) - values.mean()) / (drawn.std(axis=1, ddof=1) / math.sqrt(size))
    se = values.std(ddof=1) / math.sqrt(size)
    found = bootstrap_mean(values, seed=9)
    assert found.low == pytest.approx(values.mean() - np.quantile(ratios, 0.975, method="higher") * se, rel=1e-12)
    assert found.high == pytest.approx(values.mean() - np.quantile(ratios, 0.025, method="lower") * se, rel=1e-12)


def test_rare_values_of_very_many_problems_are_drawn_together() -> None:
    """8 of 20,000 problems at 1: the interval is that of resamples of all, to their noise, and takes little time."""
    values = np.zeros(20_000)
    values[:8] = 1.0
    found = bootstrap_mean(values, seed=0, low=0.0, high=1.0)
    count = np.random.default_rng(1).binomial(20_000, 8 / 20_000, 20_000).astype(float)
    spread = np.sqrt(np.maximum(count * (1 - count / 20_000), 1e-300) / 19_999 * 20_000)
    ratios = ((count - 8.0) / spread)[count > 0]
    se = values.std(ddof=1) / math.sqrt(20_000)
    expected = values.mean() - np.quantile(ratios, 0.025) * se
    assert found.method == "bootstrap-t over problems"
    assert found.high == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("X", "p"), [(10, 0.8), (45, 0.95), (45, 0.05), (100, 0.98)])
def test_means_of_zeros_and_ones_cover_near_the_ends(X: int, p: float) -> None:
    """For 0/1 values that are nearly all alike the 95% interval covers in at least 93% of 400 repeats."""
    rng = np.random.default_rng(5)
    repeats = [bootstrap_mean((rng.random(X) < p).astype(float), 0, 0.95, 0.0, 1.0) for _ in range(400)]
    assert np.mean([found.low <= p <= found.high for found in repeats]) >= 0.93


def test_one_odd_value_leaves_room_on_its_side() -> None:
    """44 ones and a zero: the low end is the bound of any law on [0, 1] from 45 draws, near Clopper-Pearson's .882."""
    found = bootstrap_mean(np.append(np.ones(44), 0.0), 0, 0.95, 0.0, 1.0)
    assert 0.85 < found.low < 0.89
    assert found.high > 0.98


def test_without_a_second_sample_nothing_is_known_of_sigma() -> None:
    """sigma and s go from 0 to their largest values H/2 and 1/2."""
    found = problem_moments(np.arange(5), np.full(5, 3.0))
    known = moments(found, 64, 0)
    assert (known["sigma"].low, known["sigma"].high) == (0.0, 32.0)
    assert (known["s"].low, known["s"].high) == (0.0, 0.5)
