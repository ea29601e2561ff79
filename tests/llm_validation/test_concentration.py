"""Anti-concentration of sampled problems: no law of the band lies below the bound, and the band covers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from llm_validation.concentration import band, concentration, least_concentration, mean_concentration

H = 32


def share_above_threshold(values: np.ndarray, law: np.ndarray, epsilon: float) -> float:
    """c(epsilon) of a law on increasing ``values``."""
    mean = values @ law
    return float(law[values >= mean + epsilon * math.sqrt(max((values - mean) ** 2 @ law, 0.0)) - 1e-9].sum())


@pytest.mark.parametrize("m", [2, 7, 30])
def test_the_band_covers_every_share(m: int) -> None:
    """At each of the m places a bound fails with probability at most alpha/m, whatever the share there."""
    alpha = 0.1
    low, high = band(m, alpha)
    assert np.all(np.diff(low) >= 0)
    assert np.all(np.diff(high) >= 0)
    for share in np.linspace(0.0, 1.0, 41):
        mass = binom.pmf(np.arange(m + 1), m, share)
        assert mass[(low > share + 1e-12)].sum() <= alpha / (2 * m) + 1e-12
        assert mass[(high < share - 1e-12)].sum() <= alpha / (2 * m) + 1e-12


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("m", [12, 60])
def test_no_law_of_the_band_lies_below_the_bound(epsilon: float, m: int) -> None:
    """Random laws between the edges of the band, most of them pushed to one edge or the other at some place."""
    rng = np.random.default_rng(m)
    alpha, values = 0.2, np.arange(H + 1.0)
    low, high = band(m, alpha)
    closest = math.inf
    for _ in range(20):
        rows = np.sort(rng.choice(values, size=m, p=rng.dirichlet(np.full(H + 1, 0.1))))
        if rows[0] == rows[-1]:
            continue
        found = concentration(np.zeros(m, dtype=np.int64), rows, H, np.array([epsilon]), alpha)
        count = (rows[None, :] >= values[:, None]).sum(axis=1)
        for _ in range(300):
            place, mix = rng.integers(0, H + 1), rng.uniform(size=3)
            weight = (
                np.where(values < place, mix[0], mix[1] * (mix[2] < 0.5)) if mix[2] < 0.8 else rng.uniform(size=H + 1)
            )
            survival = low[count] + weight * (high[count] - low[count])
            survival[0] = 1.0
            survival = np.minimum.accumulate(np.clip(survival, low[count], high[count]))
            law = survival - np.append(survival[1:], 0.0)
            share = share_above_threshold(values, law, epsilon)
            closest = min(closest, share - found.low[0, 0])
            assert share >= found.low[0, 0] - 1e-9
            assert share <= found.high[0, 0] + 1e-9
    assert closest < 0.5


def test_bounds_hold_for_all_problems_at_once() -> None:
    """100 problems, three epsilons: in 60 repeats at level 0.2 in all, any bound fails in at most a quarter of them."""
    rng, values, epsilon = np.random.default_rng(0), np.arange(H + 1.0), np.array([0.0, 0.25, 0.5])
    failures = positive = 0
    for _ in range(60):
        laws = rng.dirichlet(np.full(H + 1, 0.3), size=20)
        truth = np.array([[share_above_threshold(values, law, e) for law in laws] for e in epsilon])
        returns = np.stack([rng.choice(values, size=64, p=law) for law in laws])
        found = concentration(np.repeat(np.arange(20), 64), returns.reshape(-1), H, epsilon, 0.2 / 20)
        failures += bool((found.low > truth + 1e-9).any() or (found.high < truth - 1e-9).any())
        least = least_concentration(found)
        assert np.array_equal(least, found.low.min(axis=1))
        positive += least[0] > 0.0
    assert failures <= 15
    assert positive >= 30


def test_problems_without_spread_are_counted_apart() -> None:
    """A problem whose samples are all equal has no c; one sample is no problem at all."""
    problem = np.array([0] * 8 + [1] * 8 + [2])
    returns = np.array([5.0] * 8 + [0.0, 8.0] * 4 + [3.0])
    found = concentration(problem, returns, 8, np.array([0.0, 0.5]), 0.1)
    np.testing.assert_array_equal(found.problem, [0, 1])
    np.testing.assert_array_equal(found.varies, [False, True])
    assert np.isnan(found.plug_in[:, 0]).all()
    assert found.plug_in[0, 1] == 0.5
    constant = concentration(problem[:8], returns[:8], 8, np.array([0.0]), 0.1)
    assert np.isnan(least_concentration(constant)).all()


def test_the_interval_of_the_mean_covers() -> None:
    """Mean c over problems lies in its interval in every one of 20 repeats at level 95%."""
    rng, values = np.random.default_rng(1), np.arange(H + 1.0)
    for repeat in range(20):
        laws = rng.dirichlet(np.full(H + 1, 0.3), size=60)
        returns = np.stack([rng.choice(values, size=48, p=law) for law in laws])
        found = concentration(np.repeat(np.arange(60), 48), returns.reshape(-1), H, np.array([0.25]), 0.01)
        (interval,) = mean_concentration(found, repeat)
        truth = np.mean([share_above_threshold(values, law, 0.25) for law in laws])
        assert interval.low <= truth <= interval.high
        assert interval.low > 0.0
