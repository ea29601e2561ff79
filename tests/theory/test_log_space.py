"""Arithmetic in log space, against exact fractions and many-digit arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import checked
from theory.log_space import (
    log_binomial_pmf,
    log_of_minus_log_complement,
    log_sum_above,
    log_sum_below,
    mean_reciprocal_count,
    xlogy_count,
)
from theory.notation import LN2


def _exact_pmf(n: int, p: Fraction) -> list[Fraction]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


@checked
@given(n=st.integers(1, 60), numerator=st.integers(1, 63))
def test_binomial_pmf_equals_exact_fractions(n: int, numerator: int) -> None:
    """exp(log b_k) = C(n,k) p^k (1-p)^(n-k) for every k, p a multiple of 1/64 so that nothing is rounded on entry."""
    p = Fraction(numerator, 64)
    expected = [float(b) for b in _exact_pmf(n, p)]
    np.testing.assert_allclose(np.exp(log_binomial_pmf(n, float(p))), expected, rtol=2e-13)


@pytest.mark.parametrize("p", [0.5, 0.5078125, 0.25, 0.9375])
@pytest.mark.parametrize("deviations", [-30.0, -3.0, 0.0, 2.0, 30.0])
def test_binomial_pmf_keeps_eleven_digits_at_a_million(p: float, deviations: float) -> None:
    """At n = 10^6 and within 30 standard deviations of the mean, b_k has relative error below 1e-11."""
    n = 10**6
    k = round(n * p + deviations * math.sqrt(n * p * (1 - p)))
    with mpmath.workdps(50):
        exact = (
            mpmath.loggamma(n + 1)
            - mpmath.loggamma(k + 1)
            - mpmath.loggamma(n - k + 1)
            + k * mpmath.log(mpmath.mpf(p))
            + (n - k) * mpmath.log(1 - mpmath.mpf(p))
        )
        error = abs(mpmath.mpf(float(log_binomial_pmf(n, p)[k])) - exact)
    assert error < 1e-11


@pytest.mark.parametrize("k", [0, 1, 17, 1000, 999_999, 1_000_000])
def test_binomial_log_pmf_is_accurate_far_in_the_tails(k: int) -> None:
    """At n = 10^6 the logarithm of b_k itself, some -7e5 in the tails, has relative error below 1e-14."""
    n, p = 10**6, 0.375
    with mpmath.workdps(50):
        exact = mpmath.log(mpmath.binomial(n, k)) + k * mpmath.log(p) + (n - k) * mpmath.log(1 - mpmath.mpf(p))
        relative = abs((mpmath.mpf(float(log_binomial_pmf(n, p)[k])) - exact) / exact)
    assert relative < 1e-14


def test_binomial_pmf_of_a_certain_event_is_a_point_mass() -> None:
    """Bin(n, 0) is 0 and Bin(n, 1) is n."""
    certain = [log_binomial_pmf(3, 0.0), log_binomial_pmf(3, 1.0)[::-1]]
    np.testing.assert_array_equal(certain, [[0.0, -np.inf, -np.inf, -np.inf]] * 2)


def test_complement_given_exactly_keeps_its_digits() -> None:
    """With q = 1e-30 given beside p = 1 - q = 1.0, P(Bin(n,p) = n-1) is n q and not 0."""
    assert math.exp(log_binomial_pmf(5, 1.0, 1e-30)[4]) == pytest.approx(5e-30, rel=1e-12)


def test_mass_sums_to_one_at_a_million() -> None:
    """The pmf of Bin(10^6, p) sums to 1 within 1e-11, summed without rounding."""
    assert math.fsum(np.exp(log_binomial_pmf(10**6, 0.3))) == pytest.approx(1.0, abs=1e-11)


@checked
@given(n=st.integers(1, 40), numerator=st.integers(1, 15))
def test_sums_from_below_equal_exact_distribution_function(n: int, numerator: int) -> None:
    """Entry k of the sums from below is log P(Bin < k)."""
    pmf = _exact_pmf(n, Fraction(numerator, 16))
    expected = [float(sum(pmf[:k], Fraction(0))) for k in range(n + 2)]
    np.testing.assert_allclose(np.exp(log_sum_below(log_binomial_pmf(n, numerator / 16))), expected, rtol=1e-12)


@checked
@given(n=st.integers(1, 40), numerator=st.integers(1, 15))
def test_sums_from_above_equal_exact_survival_function(n: int, numerator: int) -> None:
    """Entry k of the sums from above is log P(Bin >= k)."""
    pmf = _exact_pmf(n, Fraction(numerator, 16))
    expected = [float(sum(pmf[k:], Fraction(0))) for k in range(n + 2)]
    np.testing.assert_allclose(np.exp(log_sum_above(log_binomial_pmf(n, numerator / 16))), expected, rtol=1e-12)


def test_tail_sums_do_not_underflow() -> None:
    """log P(Bin(20000, 1/2) >= 20000) = -20000 log 2, where the probability itself is below 1e-6000."""
    assert log_sum_above(log_binomial_pmf(20_000, 0.5))[20_000] == pytest.approx(-20_000 * LN2, rel=1e-13)


def test_zero_count_of_an_impossible_factor_is_one() -> None:
    """0 * log 0 = 0 and k * log 0 = -inf for k > 0."""
    np.testing.assert_array_equal(xlogy_count([0, 1, 2], -math.inf), [0.0, -math.inf, -math.inf])


@checked
@given(M=st.integers(1, 40), numerator=st.integers(1, 63))
def test_mean_reciprocal_count_equals_enumeration(M: int, numerator: int) -> None:
    """psi_M(q) = E[1/(1 + Bin(M-1, q))], the expectation summed in fractions."""
    q = Fraction(numerator, 64)
    expected = sum(mass / (1 + j) for j, mass in enumerate(_exact_pmf(M - 1, q)))
    assert float(mean_reciprocal_count(math.log(M), math.log(q))) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("M", [1, 2, 1000])
def test_mean_reciprocal_count_without_survivors_is_one(M: int) -> None:
    """psi_M(0) = 1."""
    assert float(mean_reciprocal_count(math.log(M), -math.inf)) == 1.0


@pytest.mark.parametrize("M", [1, 2, 1000])
def test_mean_reciprocal_count_of_certain_survivors_is_one_in_M(M: int) -> None:
    """psi_M(1) = 1/M."""
    assert float(mean_reciprocal_count(math.log(M), 0.0)) == pytest.approx(1.0 / M, rel=1e-14)


@pytest.mark.parametrize("n", [4090, 4096, 4100])
def test_mean_reciprocal_count_at_four_thousand_bits(n: int) -> None:
    """psi_M(2^-n) at M = 2^4096 agrees with many-digit arithmetic, where neither M nor q is a double."""
    with mpmath.workdps(2600):
        q = mpmath.mpf(2) ** -n
        expected = float(-mpmath.expm1(mpmath.mpf(2) ** 4096 * mpmath.log1p(-q)) / mpmath.mpf(2) ** (4096 - n))
    assert float(mean_reciprocal_count(4096 * LN2, -n * LN2)) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("log2_q", [0.0, -1.0, -3000.0, -4096.0, -1e6])
def test_mean_reciprocal_count_stays_a_probability_at_four_thousand_bits(log2_q: float) -> None:
    """0 <= psi_M(q) <= 1 and finite at M = 2^4096, whatever q."""
    assert 0.0 <= float(mean_reciprocal_count(4096 * LN2, log2_q * LN2)) <= 1.0


@checked
@given(exponent=st.one_of(st.floats(-25.0, -0.01), st.floats(-700.0, -25.0)))
def test_log_of_minus_log_complement_equals_many_digit_arithmetic(exponent: float) -> None:
    """log(-log(1-q)) with q = e^exponent: absolute error below 1e-13 or relative error below 1e-15."""
    with mpmath.workdps(400):
        expected = float(mpmath.log(-mpmath.log1p(-mpmath.exp(exponent))))
    found = float(log_of_minus_log_complement(np.array(exponent)))
    assert found == pytest.approx(expected, abs=1e-13, rel=1e-15)


def test_log_of_minus_log_complement_limits() -> None:
    """log(-log(1-0)) = -inf and log(-log(1-1)) = inf."""
    np.testing.assert_array_equal(log_of_minus_log_complement(np.array([-np.inf, 0.0])), [-np.inf, np.inf])


def test_power_of_complement_at_its_scale_is_one_in_e() -> None:
    """(1 - 1/M)^M is 1/e to 12 digits at M = 2^4096, by its double logarithm."""
    cost = 4096 * LN2 + float(log_of_minus_log_complement(np.array(-4096 * LN2)))
    assert math.exp(-math.exp(cost)) == pytest.approx(math.exp(-1.0), rel=1e-12)
