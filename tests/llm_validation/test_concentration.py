"""Anti-concentration of sampled problems: its bounds fail no more often than they say, counted exactly."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import binom

from llm_validation import concentration as module
from llm_validation.concentration import (
    Concentration,
    concentration,
    firmness,
    least_concentration,
    lower_quantile,
    mean_concentration,
)
from llm_validation.sample_bounds import band, share_above
from llm_validation.trials.population import pool

H = 32
EPSILON = np.array([0.0, 0.25, 0.5, 1.0])
Floats = NDArray[np.float64]


def share_above_threshold(values: Floats, law: Floats, epsilon: float) -> float:
    """c(epsilon) of a law on increasing ``values``."""
    mean = values @ law
    return float(law[values >= mean + epsilon * np.sqrt(max((values - mean) ** 2 @ law, 0.0)) - 1e-9].sum())


def every_sample(m: int, values: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
    """How often each of three values occurs in every sample of size m, the logarithm of its orders, and the returns."""
    counts = np.array([(a, b, m - a - b) for a in range(m + 1) for b in range(m + 1 - a)])
    ways = gammaln(m + 1) - gammaln(counts + 1).sum(axis=1)
    returns = np.concatenate([np.repeat(values, row) for row in counts])
    return counts, ways, returns


@pytest.mark.parametrize(("m", "middle"), [(5, 16.0), (24, 3.0), (24, 29.0), (48, 16.0)])
def test_bounds_fail_as_rarely_as_they_say(m: int, middle: float) -> None:
    """Every sample of laws on {0, v, H} weighed by its probability: each side at each epsilon; given variation, too."""
    alpha, values = 0.2, np.array([0.0, middle, float(H)])
    counts, ways, returns = every_sample(m, values)
    found = concentration(np.repeat(np.arange(len(counts)), m), returns, H, EPSILON, alpha)
    assert found.problem.size == len(counts)
    grid = [0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97]
    laws = [np.array([1 - p - q, p, q]) for p in grid for q in grid if p + q < 0.999]
    worst = np.zeros(3)
    for law in laws:
        mass = np.exp(ways + counts @ np.log(law))
        for i, e in enumerate(EPSILON):
            c = share_above_threshold(values, law, e)
            late = np.where(found.firm, found.low[i], 0.0)[found.varies] > c + 1e-9
            fails = (
                mass[found.low[i] > c + 1e-9].sum(),
                mass[found.high[i] < c - 1e-9].sum(),
                mass[found.varies][late].sum() / mass[found.varies].sum(),
            )
            worst = np.maximum(worst, fails)
    assert (worst <= alpha).all()
    assert m < 24 or worst[0] > 0.02


def test_bounds_are_of_use() -> None:
    """64 samples of R = 0 or H with 40% at H: c(1/2) is at least 0.2, at level 5%, in most of 200 problems."""
    rng = np.random.default_rng(0)
    returns = H * (rng.random((200, 64)) < 0.4).astype(float)
    found = concentration(np.repeat(np.arange(200), 64), returns.reshape(-1), H, np.array([0.5]), 0.05)
    assert (found.low[0] > 0.2).mean() > 0.7
    assert (found.high[0] < 0.65).mean() > 0.9


def test_parts_share_the_level() -> None:
    """Levels of the band's two sides, of the moments and of the share make up at most the whole."""
    assert module._UPPER + module._LOWER + module._MOMENTS + module._SHARE <= 1.0


def test_nearly_solved_problems_need_the_moments() -> None:
    """c(1/2) is above 0 up to 42 of 64 at H; where P(R = 0) <= 1/5 it is 0, which an exact test excludes up to 44."""
    at_top = np.arange(1, 64)
    returns = np.where(np.arange(64) < at_top[:, None], float(H), 0.0)
    found = concentration(np.repeat(at_top, 64), returns.reshape(-1), H, np.array([0.5]), 0.05)
    np.testing.assert_array_equal(found.low[0] > 0.0, at_top <= 42)
    assert binom.sf(64 - 44 - 1, 64, 0.2) <= 0.05 * module._SPENT < binom.sf(64 - 45 - 1, 64, 0.2)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("m", [12, 60])
def test_no_law_of_the_band_lies_below_the_bound(epsilon: float, m: int) -> None:
    """Random laws between the edges, most pushed to one edge or the other at some place; the bound is nearly met."""
    rng = np.random.default_rng(m)
    values = np.arange(H + 1.0)
    low, high = band(m, 0.2)
    levels = np.append(share_above(m, 0.1), 1.0)
    closest = math.inf
    for _ in range(20):
        rows = np.sort(rng.choice(values, size=m, p=rng.dirichlet(np.full(H + 1, 0.1))))[None, :]
        if rows[0, 0] == rows[0, -1]:
            continue
        law_band = module._Band.of(rows, float(H), low, high)
        bound = module._least_share(law_band, levels, epsilon, rows.mean(axis=1), rows.std(axis=1))[0]
        count = (rows >= values[:, None]).sum(axis=1)
        for _ in range(300):
            place, mix = rng.integers(0, H + 1), rng.uniform(size=3)
            weight = (
                np.where(values < place, mix[0], mix[1] * (mix[2] < 0.5)) if mix[2] < 0.8 else rng.uniform(size=H + 1)
            )
            survival = low[count] + weight * (high[count] - low[count])
            survival[0] = 1.0
            survival = np.minimum.accumulate(np.clip(survival, low[count], high[count]))
            law = survival - np.append(survival[1:], 0.0)
            mean = values @ law
            threshold = mean + epsilon * math.sqrt(max((values - mean) ** 2 @ law, 0.0)) - 1e-9
            share = float(law[values >= threshold].sum())
            if share >= levels[(rows >= threshold).sum()]:
                closest = min(closest, share - bound)
                assert share >= bound - 1e-9
    assert closest < 0.1


def test_a_band_of_one_law_gives_its_share() -> None:
    """Where the band is a single law the bound is c of that law, to a level of the share at one place."""
    m = 40
    rows = np.sort(np.random.default_rng(1).choice([0.0, 5.0, 20.0, 32.0], size=m))[None, :]
    shares = np.arange(m + 1) / m
    law_band = module._Band.of(rows, float(H), shares, shares)
    for epsilon in (0.0, 0.4, 0.9):
        bound = module._least_share(law_band, np.append(shares, 1.0), epsilon, rows.mean(axis=1), rows.std(axis=1))[0]
        found = (rows >= rows.mean() + epsilon * rows.std()).mean()
        assert bound == pytest.approx(found, abs=1.0 / m + 1e-9)
        assert bound <= found + 1e-9


@pytest.mark.parametrize("m", [4, 16, 64])
@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.001])
def test_firmness_is_enough_and_needed(m: int, alpha: float) -> None:
    """r apart fail given variation at most alpha of the time for every probability of the rest; r - 1 would not."""
    r = firmness(m, alpha)
    rest = np.linspace(1e-4, 0.9999, 20_000)
    varies = 1.0 - (1.0 - rest) ** (m - 1)

    def worst(r: int) -> float:
        return float((np.minimum(0.8 * alpha, binom.sf(r - 1, m, rest)) / varies).max())

    assert 2 <= r <= m + 1
    assert worst(r) <= alpha * (1.0 + 1e-9)
    assert r == 2 or worst(r - 1) > alpha * 0.8


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
    assert np.isnan(lower_quantile(constant)).all()


def test_the_order_of_traces_does_not_matter_and_units_do_not_either() -> None:
    """Shuffled traces, and returns in units of H, give the same bounds; unknown returns are left out."""
    rng = np.random.default_rng(3)
    problem, returns = np.repeat(np.arange(6), 20), rng.integers(0, H + 1, 120).astype(float)
    first = concentration(problem, returns, H, EPSILON, 0.05)
    order = rng.permutation(120)
    second = concentration(problem[order], returns[order] / H, 1, EPSILON, 0.05)
    third = concentration(np.append(problem, 3), np.append(returns, math.nan), H, EPSILON, 0.05)
    for name in ("plug_in", "low", "high", "firm"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=1e-6)
        np.testing.assert_array_equal(getattr(first, name), getattr(third, name))
    some = first.take(np.array([4, 1]))
    np.testing.assert_array_equal(some.low, first.low[:, [4, 1]])
    np.testing.assert_array_equal(some.problem, [4, 1])


def test_the_bound_on_the_minimum_covers_and_is_positive() -> None:
    """200 planted problems with c above 1/4, 64 samples each: in 40 repeats below the minimum, and positive in all."""
    base, epsilon = pool("even", 512), np.array([0.0, 0.25, 0.5])
    problem = np.repeat(np.arange(200), 64)
    truth = base.concentration(epsilon)
    assert truth.min() > 0.25
    bounds, misses = [], 0
    for repeat in range(40):
        x, returns = base.drawn(np.random.default_rng(repeat), 200, 64)
        bounds.append(least_concentration(concentration(problem, returns.reshape(-1), base.horizon, epsilon, 0.05)))
        misses += bool((bounds[-1] > truth[:, x].min(axis=1)).any())
    assert np.min(bounds) > 0.02
    assert misses <= 2


def test_the_bound_on_the_minimum_is_not_that_of_the_plug_in() -> None:
    """A problem that hardly varies takes the minimum to 0; the smallest plug-in share is no bound."""
    problem = np.repeat([0, 1], 20)
    returns = np.concatenate([np.tile([0.0, 9.0], 10), np.append(np.full(19, 9.0), 0.0)])
    found = concentration(problem, returns, 9, np.array([0.0]), 0.05)
    np.testing.assert_array_equal(found.firm, [True, False])
    assert least_concentration(found)[0] == 0.0
    assert found.low[0].min() > 0.0


def made(low: Floats) -> Concentration:
    """Bounds at one epsilon of problems that all vary."""
    size, yes = low.size, np.ones(low.size, dtype=bool)
    return Concentration(np.zeros(1), np.arange(size), yes, low[None], low[None], low[None], yes)


def test_the_lower_quantile_is_an_order_statistic() -> None:
    """The j-th smallest bound, j the largest that Bin(X, q - 0.01) stays below with probability at most 5%."""
    low = np.random.default_rng(0).permutation(np.arange(400) / 400.0)
    j = round(float(lower_quantile(made(low))[0]) * 400) + 1
    assert binom.cdf(j - 1, 400, 0.09) <= 0.05 < binom.cdf(j, 400, 0.09)
    assert lower_quantile(made(low[:20]))[0] == 0.0
    apart = dataclasses.replace(made(low), firm=np.zeros(400, dtype=bool))
    assert lower_quantile(apart)[0] == 0.0
    with pytest.raises(ValueError, match=r"q = 0\.01"):
        lower_quantile(made(low), q=0.01)


def test_the_lower_quantile_covers() -> None:
    """c uniform on [0, 1], 1% of the bounds at 1 instead of below: 2,000 repeats fail within 4 errors of 5%."""
    rng, repeats, missed = np.random.default_rng(5), 2000, 0
    for _ in range(repeats):
        c = rng.random(150)
        low = np.where(rng.random(150) < 0.01, 1.0, c)
        missed += lower_quantile(made(low), q=0.2)[0] > 0.2
    assert missed / repeats <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / repeats)


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


def test_constant_problems_widen_the_interval_of_the_mean() -> None:
    """What bounds of all problems may fail is a larger share of the few that vary."""
    rng = np.random.default_rng(2)
    found = concentration(
        np.repeat(np.arange(30), 64), rng.integers(0, 2, 30 * 64).astype(float), 1, np.array([0.0]), 0.01
    )
    apart = dataclasses.replace(
        found.take(np.concatenate([np.arange(30), np.zeros(120, dtype=np.int64)])),
        varies=np.arange(150) < 30,
    )
    (first,), (second,) = mean_concentration(found, 0), mean_concentration(apart, 0)
    assert first.low - second.low == pytest.approx(0.04, abs=1e-9)
