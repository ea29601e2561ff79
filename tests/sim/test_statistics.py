from __future__ import annotations

import numpy as np
import pytest

from sim.statistics import Exponent, exponent, mean_and_error


def fit(power: float, noise: float, seed: int = 0, low: int = 10) -> Exponent:
    H = np.arange(1.0, 201.0)
    rng = np.random.default_rng(seed)
    gaps = H[:, None] ** power * (1 + noise * rng.standard_normal((200, 64)))
    return exponent(H, H, low / 1.5, gaps, np.ones(200, bool), 0)


@pytest.mark.parametrize("power", [0.5, 1.0, -0.3])
def test_an_exact_power_is_recovered(power: float) -> None:
    """Without noise the slope is the power, over the horizons with n >= 1.5 log2 M."""
    found = fit(power, 1e-12)
    assert found.estimate == pytest.approx(power, abs=1e-10)
    assert found.horizons == 191


def test_the_interval_covers_at_its_rate() -> None:
    """Over 200 data sets the 95% bootstrap interval covers the true exponent about 95 times in 100.

    The allowance is 5 binomial standard errors around 0.93 (weights are estimated, which costs about 0.02).
    """
    found = [fit(0.5, 0.3, seed) for seed in range(200)]
    covered = np.mean([e.ci_low <= 0.5 <= e.ci_high for e in found if e.ci_low is not None and e.ci_high is not None])
    assert abs(covered - 0.93) <= 5 * np.sqrt(0.95 * 0.05 / 200)


def test_weights_are_inverse_squared_standard_errors() -> None:
    """A horizon with an enormous standard error does not move the slope."""
    H = np.arange(1.0, 21.0)
    gaps = np.repeat(H[:, None] ** 0.5, 32, axis=1) * (1 + 1e-3 * np.random.default_rng(0).standard_normal((20, 32)))
    spoiled = gaps.copy()
    spoiled[-1] = 1000.0 * (1 + np.random.default_rng(1).standard_normal(32) * 20)
    inside = np.ones(20, bool)
    a, b = (exponent(H, H, 0.5, g, inside, 0).estimate for g in (gaps, spoiled))
    assert a is not None
    assert b == pytest.approx(a, abs=1e-3)


def test_too_few_horizons_give_no_exponent_but_a_reason() -> None:
    """Fewer than five horizons, or gaps that are not positive, give null with the reason."""
    H = np.arange(1.0, 5.0)
    few = exponent(H, H, 0.5, np.ones((4, 8)) * H[:, None], np.ones(4, bool), 0)
    assert few.estimate is None
    assert few.reason is not None
    assert "4 horizons" in few.reason
    H = np.arange(1.0, 50.0)
    negative = exponent(H, H, 0.5, -np.ones((49, 8)), np.ones(49, bool), 0)
    assert (negative.estimate, negative.horizons) == (None, 0)


def test_horizons_inside_the_window_are_counted() -> None:
    """The slope says how many of its horizons lie where the theorem speaks."""
    H = np.arange(1.0, 41.0)
    found = exponent(H, H, 0.5, np.repeat(H[:, None], 8, axis=1), H <= 12, 0)
    assert (found.horizons, found.horizons_inside_window) == (40, 12)


def test_standard_error_of_two_trials() -> None:
    """Two trials a, b have mean (a+b)/2 and standard error |a-b|/2: the sample variance divides by one less."""
    mean, error = mean_and_error(np.array([1.0, 4.0]))
    assert (mean, error) == (2.5, pytest.approx(1.5, rel=1e-12))


def test_the_slope_is_the_stated_weighted_least_squares() -> None:
    """Weights are 1/(SE^2 + (1e-9 H)^2): the slope is numpy's polyfit with their roots."""
    H = np.array([2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
    rng = np.random.default_rng(4)
    gaps = np.array([3.0, 5.0, 6.0, 11.0, 13.0, 20.0])[:, None] + rng.standard_normal((6, 16)) * H[:, None] * 0.05
    se = gaps.std(axis=1, ddof=1) / 4
    expected = np.polyfit(np.log(H), np.log(gaps.mean(axis=1)), 1, w=1 / np.sqrt(se**2 + (1e-9 * H) ** 2))[0]
    assert exponent(H, H, 0.5, gaps, np.ones(6, bool), 0).estimate == pytest.approx(expected, rel=1e-9)
