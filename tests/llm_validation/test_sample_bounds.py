"""Bounds on a share, on all shares at once, and on a mean: never fail more often than they say, counted exactly."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from llm_validation.sample_bounds import any_below, band, mean_below, share_above, shares_above


@pytest.mark.parametrize("m", [1, 3, 20, 150])
def test_ordered_uniforms_cross_the_line_of_simes_with_its_probability(m: int) -> None:
    """P(V_(k) < k a/m for some k) = a (Simes 1986), an identity for every m."""
    for a in (1e-4, 0.05, 0.7):
        assert any_below(np.arange(1, m + 1) * a / m) == pytest.approx(a, rel=1e-9)


def test_two_ordered_uniforms_cross_as_areas_say() -> None:
    """P(V_(1) >= a, V_(2) >= b) = (1 - a)^2 - (b - a)^2 for a <= b."""
    for a, b in ((0.0, 0.3), (0.1, 0.1), (0.2, 0.9)):
        assert any_below(np.array([a, b])) == pytest.approx(1.0 - (1.0 - a) ** 2 + (b - a) ** 2, abs=1e-13)


@pytest.mark.parametrize("m", [1, 2, 7, 64, 256])
@pytest.mark.parametrize("beta", [0.2, 0.01, 1e-6])
def test_a_band_spends_its_level_and_no_more(m: int, beta: float) -> None:
    """All shares at once fail with probability at most beta, and with nearly that; each at one level."""
    low = shares_above(m, beta)
    assert 0.998 * beta <= any_below(low[1:]) <= beta * (1.0 + 1e-6)
    assert np.all(np.diff(low) > 0.0)
    levels = binom.sf(np.arange(m), m, low[1:])
    np.testing.assert_allclose(levels, levels[0], rtol=1e-6)
    assert beta / m * (1.0 - 1e-9) <= levels[0] <= beta


def test_large_bands_cover() -> None:
    """For 700 samples, where places are left out: in 4,000 draws any bound fails within 4 standard errors of 5%."""
    m, beta, repeats = 700, 0.05, 4000
    low = shares_above(m, beta)
    ordered = np.sort(np.random.default_rng(0).random((repeats, m)), axis=1)
    failed = (ordered < low[1:]).any(axis=1).mean()
    assert failed <= beta + 4 * math.sqrt(beta / repeats)
    assert low[350] > 0.5 - 4.5 * 0.5 / math.sqrt(m)
    assert (low <= share_above(m, beta)).all()


def test_upper_bounds_are_those_of_the_complement() -> None:
    """u(k) = 1 - l(m - k), and l <= k/m <= u."""
    low, high = band(9, 0.1)
    np.testing.assert_array_equal(high, 1.0 - low[::-1])
    share = np.arange(10) / 9
    assert (low <= share).all()
    assert (share <= high).all()
    assert (low[0], high[-1]) == (0.0, 1.0)


@pytest.mark.parametrize(("m", "beta"), [(3, 0.3), (9, 0.05), (14, 0.2)])
def test_the_bound_of_a_mean_holds_for_laws_on_three_values(m: int, beta: float) -> None:
    """All samples of laws on {0, v, 1}: the bound lies below the mean with probability at most beta."""
    counts = np.array([(a, b, m - a - b) for a in range(m + 1) for b in range(m + 1 - a)])
    ways = np.array([math.factorial(m) / math.prod(map(math.factorial, row)) for row in counts.tolist()])
    worst = 0.0
    for v in (0.2, 0.5, 0.9):
        bound = mean_below((counts[:, 1] * v + counts[:, 2]) / m, m, beta)
        for p, q in itertools.product(np.linspace(0.0, 1.0, 21), repeat=2):
            if p + q > 1.0:
                continue
            law = np.array([1.0 - p - q, p, q])
            mass = ways * np.prod(law**counts, axis=1)
            worst = max(worst, float(mass[bound < p * v + q - 1e-9].sum()))
    assert 0.2 * beta <= worst <= beta * (1.0 + 1e-9)


def test_the_bound_of_a_mean_is_near_the_exact_one_for_two_values() -> None:
    """64 draws of 0 or 1: less than 0.035 above Clopper and Pearson's bound; with no 1 that bound, to a grid."""
    m, beta = 64, 0.03
    exact = 1.0 - share_above(m, beta)[::-1]
    ours = mean_below(np.arange(m + 1) / m, m, beta)
    assert (ours >= exact - 1e-9).all()
    assert (ours - exact).max() < 0.035
    assert ours[0] == pytest.approx(1.0 - beta ** (1.0 / m), abs=1e-3)
    assert np.all(np.diff(ours) >= 0.0)
