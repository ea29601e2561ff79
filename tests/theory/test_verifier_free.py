"""``vf-lower``, ``vf-lower-truncated``, ``vf-upper``: the codebooks enumerated, the reference numbers, the scope."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from strategies import HORIZON, ROUNDING, checked, checked_slowly, return_laws, symmetric_laws
from theory.formula import Formula
from theory.laws import ReturnLaw
from theory.symbols import L as L_
from theory.symbols import letter
from theory.theorem import Theorem
from theory.verifier_free import (
    EXPLICIT,
    KEPT_EXPONENT,
    VF_LOWER,
    VF_LOWER_TRUNCATED,
    VF_UPPER,
    information_bound,
    mle_success_codebook,
    theta,
)

Array = NDArray[np.float64]

_tiny = pytest.mark.parametrize(("M", "n"), [(2, 1), (2, 4), (3, 2), (3, 3), (4, 2), (4, 3)])
_tiny_parity = pytest.mark.parametrize(("k", "n"), [(1, 1), (1, 4), (2, 2), (2, 3), (2, 4)])
_epsilons = pytest.mark.parametrize("epsilon", [0.1, 0.6, 0.95, 1.0])


def _signs_random(M: int) -> Array:
    """Signs of the M hypotheses on every prompt of the random codebook, shape (prompts, M)."""
    return np.array(list(itertools.product([-1.0, 1.0], repeat=M)))


def _signs_parity(k: int) -> Array:
    """Signs (-1)^<j,x> of the 2^k hypotheses on every prompt of the parity codebook, shape (prompts, M)."""
    vectors = np.array(list(itertools.product([0, 1], repeat=k)))
    return 1.0 - 2.0 * (vectors @ vectors.T % 2)


def _mean_weight(signs: Array, f: Array, masses: Array, n: int, epsilon: float) -> float:
    """E|w| of the Bayes posterior under the uniform prior, over every data set of n (prompt, return) pairs.

    The data's law is M^-1 sum_i L_i times the base law, so E|w| = M^-1 E_base E_x |sum_j s_j(x) L_j|.
    """
    prompts, M = signs.shape
    single = 1.0 + epsilon * (signs[:, None, :] * f[None, :, None]).reshape(-1, M)
    base = np.repeat(masses[None, :], prompts, axis=0).reshape(-1) / prompts
    likelihoods, weights = np.ones((1, M)), np.ones(1)
    for _ in range(n):
        likelihoods = (likelihoods[:, None, :] * single[None, :, :]).reshape(-1, M)
        weights = (weights[:, None] * base[None, :]).reshape(-1)
    return float(weights @ np.abs(likelihoods @ signs.T).mean(axis=1)) / M


_TWO_POINT = np.array([-1.0, 1.0]), np.array([0.5, 0.5])


def _truncated(n: int, M: int, epsilon: float) -> float:
    return VF_LOWER_TRUNCATED.evaluate(n=n, log2_M=math.log2(M), sigma=1, epsilon=epsilon).value


def _untruncated(n: int, M: int, epsilon: float) -> float:
    return VF_LOWER.evaluate(n=n, log2_M=math.log2(M), sigma=1, rho=1, epsilon=epsilon).value


@_tiny
@_epsilons
def test_vf_lower_truncated_is_below_the_best_learner_of_the_random_codebook(M: int, n: int, epsilon: float) -> None:
    """Lower: Bayes regret sigma (epsilon - E|w|) >= the truncated bound, over all data sets."""
    regret = epsilon - _mean_weight(_signs_random(M), *_TWO_POINT, n, epsilon)
    assert regret >= _truncated(n, M, epsilon) - ROUNDING


@_tiny
@_epsilons
def test_vf_lower_is_below_the_best_learner_of_the_random_codebook(M: int, n: int, epsilon: float) -> None:
    """Lower: Bayes regret sigma (epsilon - E|w|) >= epsilon sigma - rho sqrt((1+epsilon^2)^n/M), over all data sets."""
    regret = epsilon - _mean_weight(_signs_random(M), *_TWO_POINT, n, epsilon)
    assert regret >= _untruncated(n, M, epsilon) - ROUNDING


@_tiny_parity
@_epsilons
def test_vf_lower_truncated_is_below_the_best_learner_of_the_parity_codebook(k: int, n: int, epsilon: float) -> None:
    """Lower: Bayes regret sigma (epsilon - E|w|) >= the truncated bound, over all data sets."""
    regret = epsilon - _mean_weight(_signs_parity(k), *_TWO_POINT, n, epsilon)
    assert regret >= _truncated(n, 2**k, epsilon) - ROUNDING


@_tiny_parity
@_epsilons
def test_vf_lower_is_below_the_best_learner_of_the_parity_codebook(k: int, n: int, epsilon: float) -> None:
    """Lower: Bayes regret sigma (epsilon - E|w|) >= epsilon sigma - rho sqrt((1+epsilon^2)^n/M), over all data sets."""
    regret = epsilon - _mean_weight(_signs_parity(k), *_TWO_POINT, n, epsilon)
    assert regret >= _untruncated(n, 2**k, epsilon) - ROUNDING


@_tiny
@pytest.mark.parametrize("parity", [False, True])
def test_vf_lower_holds_where_prompts_differ_in_spread(M: int, n: int, parity: bool) -> None:
    """Lower: R = mu_x +- sigma_x, sigma = E sigma_x, rho the largest: epsilon sigma - E[sigma_x |w|] >= the bound."""
    if parity and M == 3:
        return  # no parity codebook of that size
    signs = _signs_parity(M.bit_length() - 1) if parity else _signs_random(M)
    spread = np.random.default_rng(M * n).uniform(0.6, 1.0, signs.shape[0])
    epsilon = 0.6
    f, masses = _TWO_POINT
    single = 1.0 + epsilon * (signs[:, None, :] * f[None, :, None]).reshape(-1, M)
    base = np.repeat(masses[None, :], signs.shape[0], axis=0).reshape(-1) / signs.shape[0]
    gained = 0.0
    for data in itertools.product(range(single.shape[0]), repeat=n):
        weight = math.prod(base[list(data)]) * np.abs(single[list(data)].prod(axis=0) @ signs.T) / M
        gained += float(np.mean(spread * weight))
    bound = VF_LOWER.evaluate(n=n, log2_M=math.log2(M), sigma=spread.mean(), rho=spread.max(), epsilon=epsilon)
    assert epsilon * spread.max() <= spread.min()  # the experts are policies
    assert epsilon * spread.mean() - gained >= bound.value - ROUNDING


@checked_slowly
@given(law=symmetric_laws(), n=st.integers(1, 2), M=st.sampled_from([2, 3]), share=st.floats(0.01, 1.0))
def test_vf_lower_is_below_the_best_learner_on_symmetric_laws(law: ReturnLaw, n: int, M: int, share: float) -> None:
    """Lower: the best reply gains rho |w|, so the Bayes regret is epsilon sigma - rho E|w|, over all data sets."""
    epsilon = share * law.max_epsilon
    weight = _mean_weight(_signs_random(M), law.standardised, law.probabilities, n, epsilon)
    bound = VF_LOWER.evaluate(n=n, log2_M=math.log2(M), sigma=law.sd, rho=law.half_range, H=HORIZON, epsilon=epsilon)
    assert bound.assumptions_hold
    assert epsilon * law.sd - law.half_range * weight >= bound.value - ROUNDING * HORIZON


@pytest.mark.parametrize("log2_M", [1.0, 10.0, 64.0])
def test_information_bound_without_information_is_parseval(log2_M: float) -> None:
    """Equality: at epsilon = 0 nothing is learnt, and B = sqrt(E_x w^2) = M^(-1/2) for equal weights 1/M."""
    assert information_bound(7, log2_M, 0.0)[0] == pytest.approx(2.0 ** (-log2_M / 2), rel=1e-12)


def test_parity_codebook_is_harder_near_n_equal_k() -> None:
    """At k = n = 2 the two codebooks differ: parity is the harder one for verifier-free learning."""
    parity = _mean_weight(_signs_parity(2), *_TWO_POINT, 2, 0.6)
    random = _mean_weight(_signs_random(4), *_TWO_POINT, 2, 0.6)
    assert parity < random - 0.01


@checked
@given(n=st.integers(1, 40), log2_M=st.floats(1.0, 60.0), numerator=st.integers(1, 64))
def test_information_bound_is_the_least_over_truncations(n: int, log2_M: float, numerator: int) -> None:
    """Equality: B = min over K = -1..n of the truncated sum plus the tail, both in fractions."""
    up = (1 + Fraction(numerator, 64)) / 2
    epsilon = 2 * up - 1
    pmf = [math.comb(n, k) * up**k * (1 - up) ** (n - k) for k in range(n + 1)]
    kept, least = Fraction(0), 1.0
    for k in range(n + 1):
        kept += pmf[k] * (1 + epsilon) ** k * (1 - epsilon) ** (n - k)
        least = min(least, math.sqrt(kept) * 2.0 ** (-log2_M / 2) + float(sum(pmf[k + 1 :], Fraction(0))))
    assert information_bound(n, log2_M, float(epsilon))[0] == pytest.approx(least, rel=1e-9)


@checked
@given(n=st.integers(1, 300), log2_M=st.floats(1.0, 300.0), epsilon=st.floats(0.0, 1.0))
def test_truncation_never_weakens_the_bound(n: int, log2_M: float, epsilon: float) -> None:
    """Lower: on the two-point law the truncated value is at least the untruncated one."""
    truncated = VF_LOWER_TRUNCATED.evaluate(n=n, log2_M=log2_M, sigma=1, epsilon=epsilon).value
    assert truncated >= VF_LOWER.evaluate(n=n, log2_M=log2_M, sigma=1, rho=1, epsilon=epsilon).value - ROUNDING


@pytest.mark.parametrize(
    ("log2_M", "least", "largest"), [(32, 0.71, 0.87), (128, 1.06, 1.11), (512, 1.22, 1.24), (4096, 1.29, 1.34)]
)
def test_truncated_bound_has_its_reference_constants(log2_M: int, least: float, largest: float) -> None:
    """In units of sigma sqrt(L/n), for 4 L <= n <= 64 L, the maximised bound lies in the notes' range to two digits."""
    L = log2_M * math.log(2.0)
    ratios = []
    for factor in (4, 5.7, 8, 16, 32, 64):
        n = math.ceil(factor * L) if factor < 64 else math.floor(factor * L)
        ratios.append(VF_LOWER_TRUNCATED.evaluate(n=n, log2_M=log2_M, sigma=1).value / math.sqrt(L / n))
    assert least - 0.005 <= min(ratios)
    assert max(ratios) <= largest + 0.005


@checked
@given(n=st.integers(1, 200), log2_M=st.floats(1.0, 200.0), epsilon=st.floats(0.0, 1.0), data=st.data())
def test_every_level_gives_a_bound_and_the_default_is_the_best(
    n: int, log2_M: float, epsilon: float, data: st.DataObject
) -> None:
    """A K that is given is reported and gives no more than the K chosen in float64; one above n counts as n."""
    K = data.draw(st.integers(-1, n + 5))
    point = {"n": n, "log2_M": log2_M, "sigma": 1, "epsilon": epsilon}
    best = VF_LOWER_TRUNCATED.evaluate(**point)
    try:
        given_level = VF_LOWER_TRUNCATED.evaluate(**point, K=K)
    except ValueError:
        return  # B_K beyond floating point
    assert given_level.extras["K"] == min(K, n)
    assert given_level.value <= best.value
    assert VF_LOWER_TRUNCATED.evaluate(**point, K=best.extras["K"]).value == best.value


_EXPLICIT = Formula(EXPLICIT)


def _explicit(n: float, L: float, slope: float) -> float:
    """The closed form of the truncated bound over sigma, at theta = ``slope``."""
    return _EXPLICIT.at({"n": n, "L": L, "theta": slope})


@checked
@given(n=st.integers(1, 3000), log2_M=st.floats(1.0, 4096.0), slope=st.floats(0.0, 1.5))
def test_explicit_form_is_below_the_truncated_one(n: int, log2_M: float, slope: float) -> None:
    """Lower: at epsilon = tanh(theta sqrt(L/n)) the best truncation gives at least the closed form; any n, M, theta."""
    L = log2_M * math.log(2.0)
    epsilon = math.tanh(slope * math.sqrt(L / n))
    truncated = VF_LOWER_TRUNCATED.evaluate(n=n, log2_M=log2_M, sigma=1, epsilon=epsilon).value
    assert truncated >= _explicit(n, L, slope) - ROUNDING


def test_constant_of_the_truncated_form_rises_to_the_root_of_two() -> None:
    """At n = 16 L, over sigma sqrt(L/n): rising in M up to 2^65536, above 1.37 there, never above sqrt 2."""
    ratios = []
    for bits in (64, 256, 1024, 4096, 16_384, 65_536):
        L = bits * math.log(2.0)
        n = round(16 * L)
        points = [
            {"n": n, "log2_M": bits, "sigma": 1, "epsilon": t * math.sqrt(L / n)} for t in (1.2, 1.3, 1.35, 1.38, 1.39)
        ]
        ratios.append(max(VF_LOWER_TRUNCATED.evaluate(**p).value for p in points) / math.sqrt(L / n))
    assert ratios == sorted(ratios)
    assert 1.37 < ratios[-1] < math.sqrt(2.0)


def test_constant_of_the_explicit_form_rises_to_the_root_of_two() -> None:
    """At n = 10^4 L and theta = sqrt 2 - 3 L^(-1/4): rising in M, above 1.41 at last, never above sqrt 2."""
    ratios = []
    for power in range(4, 14):
        L = 10.0**power
        slope = math.sqrt(2.0) - 3.0 * L**-0.25
        ratios.append(_explicit(1e4 * L, L, slope) * 100.0)
    assert ratios == sorted(ratios)
    assert 1.41 < ratios[-1] < math.sqrt(2.0)


def test_limits_of_the_explicit_form() -> None:
    """sympy: the exponent over L tends to theta^2/4 - 1/2, and for theta < sqrt 2 all but the tanh vanishes."""
    per_nat = sympy.limit(KEPT_EXPONENT / L_, L_, sympy.oo)
    assert sympy.simplify(per_nat - (theta**2 / 4 - sympy.Rational(1, 2))) == 0
    assert sympy.limit(sympy.exp(KEPT_EXPONENT.subs(theta, sympy.Rational(7, 5))), L_, sympy.oo) == 0
    e = sympy.Symbol("e", positive=True)
    entropy = (1 + e) * sympy.log(1 + e) + (1 - e) * sympy.log(1 - e)
    assert sympy.series(entropy, e, 0, 5).removeO() == e**2 + e**4 / 6  # n/2 of it is theta^2 L/2 at e^2 = theta^2 L/n


def test_exponents_of_the_closed_form() -> None:
    """sympy: d log/d log H of sigma sqrt(L/(8n)) is 1/2 at sigma = s H, n = b H, and 1 at fixed n."""
    H, s, b = sympy.symbols("H s b", positive=True)
    closed = VF_LOWER.claim("closed-form").relation.rhs
    for n, exponent in ((b * H, sympy.Rational(1, 2)), (b, 1), (b * H**2, 0)):
        grown = closed.subs({letter("sigma"): s * H, letter("n"): n})
        assert sympy.simplify(H * sympy.diff(sympy.log(grown), H)) == exponent


@pytest.mark.parametrize("epsilon", [0.03, 0.05, 0.0533])
def test_truncated_bound_is_finite_at_a_million_traces_and_four_thousand_bits(epsilon: float) -> None:
    """At n = 10^6 and M = 2^4096 the value is finite, below epsilon sigma and above the untruncated one."""
    point = {"n": 10**6, "log2_M": 4096, "sigma": 1, "rho": 1, "epsilon": epsilon}
    value = VF_LOWER_TRUNCATED.evaluate(**point).value
    assert max(VF_LOWER.evaluate(**point).value, epsilon - 1.0) - ROUNDING <= value <= epsilon


@checked
@given(
    log2_M=st.floats(16.0, 4096.0),
    s=st.floats(0.05, 0.5),
    position=st.floats(0.0, 1.0),
)
def test_closed_form_is_proven_inside_its_window(log2_M: float, s: float, position: float) -> None:
    """Lower: for L/(8 s^2) <= n <= s^2 sqrt(M) L/2 the value at epsilon^2 = L/(2n) is >= sigma sqrt(L/(8n))."""
    L = log2_M * math.log(2.0)
    first, last = math.log2(L / (8 * s * s)), math.log2(s * s * L / 2) + log2_M / 2
    assume(last > first + 1)
    n = math.ceil(2.0 ** min(first + position * (last - first), 900.0))
    assume(math.log2(n) <= last)
    point = {"n": n, "log2_M": log2_M, "sigma": s * 100, "H": 100}
    answer = VF_LOWER.evaluate(**point, epsilon=math.sqrt(L / (2 * n)))
    assert answer.assumptions_hold
    assert answer.value >= s * 100 * math.sqrt(L / (8 * n)) * (1 - 1e-9)


@checked
@given(log2_M=st.floats(16.0, 60.0), s=st.floats(0.05, 0.5), n=st.integers(1, 10**9))
def test_window_is_printed_with_every_evaluation(log2_M: float, s: float, n: int) -> None:
    """The closed form beside the value is 'inside' exactly for L/(8 s^2) <= n <= s^2 sqrt(M) L/2."""
    L = log2_M * math.log(2.0)
    first, last = L / (8 * s * s), s * s * math.sqrt(2.0**log2_M) * L / 2
    assume(min(abs(n / first - 1), abs(n / last - 1)) > 1e-9)
    window = VF_LOWER.evaluate(n=n, log2_M=log2_M, sigma=s * 100, H=100, epsilon=0.01).extras["closed_form"]
    assert (window["inside"], window["empty"]) == (first <= n <= last, first > last)


def _best_agreement_success(n: int, M: int, up: Fraction) -> Fraction:
    """P(the hypothesis that agrees most, ties at random, is the truth): over counts of agreement, in fractions."""
    truth = [math.comb(n, k) * up**k * (1 - up) ** (n - k) for k in range(n + 1)]
    other = [Fraction(math.comb(n, k), 2**n) for k in range(n + 1)]
    return sum(
        (
            truth[k] * math.comb(M - 1, j) * other[k] ** j * sum(other[:k], Fraction(0)) ** (M - 1 - j) / (j + 1)
            for k in range(n + 1)
            for j in range(M)
        ),
        Fraction(0),
    )


def test_for_all_n_is_false() -> None:
    """At M = 16, n = 16, epsilon = .6 the learner that decodes and plays the best reply beats the expert."""
    assert _best_agreement_success(16, 16, Fraction(8, 10)) > Fraction(6, 10)


def test_far_beyond_its_window_the_bound_is_vacuous() -> None:
    """Vacuous: at M = 16 and n = 64 the maximised bound is not positive, and the closed form is outside its window."""
    answer = VF_LOWER_TRUNCATED.evaluate(n=64, log2_M=4, sigma=1)
    assert (answer.value <= 0.0, answer.valid, answer.extras["closed_form"]["inside"]) == (True, False, False)


@pytest.mark.parametrize("theorem", [VF_LOWER, VF_LOWER_TRUNCATED], ids=lambda t: t.label)
@pytest.mark.parametrize(("n", "log2_M"), [(20, 16), (200, 32), (2000, 128)])
def test_without_epsilon_the_value_is_at_least_that_of_a_grid(theorem: Theorem, n: int, log2_M: int) -> None:
    """Asked without epsilon, the value is at least that at each of 200 epsilons in the range."""
    point = {"n": n, "log2_M": log2_M, "sigma": 10, "rho": 10, "H": 20}
    best = theorem.evaluate(**point).value
    grid = np.linspace(0.0, 1.0, 201)[1:]
    values = [theorem.evaluate(**point, epsilon=e).value for e in grid]
    assert best >= max(values) - ROUNDING


@pytest.mark.parametrize("theorem", [VF_LOWER, VF_LOWER_TRUNCATED], ids=lambda t: t.label)
def test_reported_maximiser_attains_the_value(theorem: Theorem) -> None:
    """Asked without epsilon, the epsilon reported gives the value reported."""
    point = {"n": 100, "log2_M": 32, "sigma": 10, "rho": 10}
    answer = theorem.evaluate(**point)
    again = theorem.evaluate(**point, epsilon=answer.extras["epsilon"])
    assert (answer.extras["maximised_over"], answer.value) == ("epsilon", again.value)


def test_half_range_is_half_the_budget_unless_given() -> None:
    """vf-lower with H alone takes rho = H/2, the largest there is."""
    point = {"n": 100, "log2_M": 32, "sigma": 3, "H": 10, "epsilon": 0.3}
    assert VF_LOWER.evaluate(**point).value == VF_LOWER.evaluate(**point, rho=5).value


def test_vf_lower_without_any_range_is_refused() -> None:
    """With neither H nor rho there is no bound: a ValueError says that one of them is needed."""
    with pytest.raises(ValueError, match="vf-lower needs"):
        VF_LOWER.evaluate(n=100, log2_M=32, sigma=3)


def test_truncated_expert_is_out_of_scope() -> None:
    """epsilon rho > sigma would make masses of the experts negative: the condition fails, by that excess."""
    answer = VF_LOWER.evaluate(n=100, log2_M=32, sigma=3, rho=5, epsilon=0.8)
    failing = [(c.name, c.margin) for c in answer.conditions if not c.holds and c.required]
    assert failing[0] == ("epsilon rho <= sigma", pytest.approx(-1.0))


def test_truncated_form_speaks_of_two_points_only() -> None:
    """rho > sigma is no two-point law: the condition fails and the evaluation is not valid."""
    answer = VF_LOWER_TRUNCATED.evaluate(n=100, log2_M=32, sigma=3, rho=5, epsilon=0.3)
    assert not answer.valid
    assert [c.name for c in answer.conditions if not c.holds] == ["rho = sigma (two-point law)"]


def test_vf_upper_has_its_reference_value() -> None:
    """At log2 M = 64, H = n = 96, sigma_e = 48 the bound is 184, beyond H: vacuous and marked so."""
    answer = VF_UPPER.evaluate(H=96, n=96, log2_M=64, sigma=48)
    assert (round(answer.value), answer.valid, answer.assumptions_hold) == (184, False, True)


def _hellinger(p: Array, q: Array) -> float:
    return 0.5 * math.fsum((np.sqrt(p) - np.sqrt(q)) ** 2)


def _upper_at(h: float, sigma: float) -> float:
    """The value of vf-upper at the n and M whose h = (1 + log M)/n is the one asked for."""
    n = math.ceil(2.0 / h)
    answer = VF_UPPER.evaluate(H=HORIZON, n=n, log2_M=(h * n - 1.0) / math.log(2.0), sigma=sigma)
    assert answer.extras["h"] == pytest.approx(h, rel=1e-9)
    return answer.value


_masses = st.lists(st.integers(0, 30), min_size=5, max_size=5).filter(any)


@checked
@given(expert=_masses, other=_masses)
def test_vf_upper_is_a_hellinger_inequality(expert: list[int], other: list[int]) -> None:
    """Upper: |J(p) - J(q)| <= 2 sqrt2 sigma_p sqrt(h) + 2 H h, h = 1 - sum sqrt(pq), on random pairs of laws."""
    values = np.array([0, 3, 6, 11, HORIZON], dtype=float)
    p, q = np.array(expert) / sum(expert), np.array(other) / sum(other)
    h = _hellinger(p, q)
    assume(h > 1e-9)
    sigma = math.sqrt(math.fsum(p * (values - p @ values) ** 2))
    assert abs(math.fsum((p - q) * values)) <= _upper_at(h, sigma) * (1.0 + 1e-9)


@checked
@given(law=return_laws(max_size=2), relative=st.floats(1e-4, 1e-3))
def test_constant_of_the_root_is_tight(law: ReturnLaw, relative: float) -> None:
    """Tight: moving little mass between two points, |J(p) - J(q)| is 2 sqrt2 sigma sqrt(h) to first order."""
    p = law.probabilities
    q = p + np.array([-1.0, 1.0]) * relative * p.min()
    gap = abs(float((p - q) @ law.values))
    assert gap == pytest.approx(2.0 * math.sqrt(2.0 * _hellinger(p, q)) * law.sd, rel=2.0 * relative)


@checked
@given(moved=st.floats(1e-6, 1e-3))
def test_constant_of_the_linear_term_is_tight(moved: float) -> None:
    """Tight: an expert that never scores (sigma_e = 0) against a policy that scores H with mass d has |dJ| = 2Hh."""
    p, q = np.array([1.0, 0.0]), np.array([1.0 - moved, moved])
    assert moved * HORIZON == pytest.approx(_upper_at(_hellinger(p, q), 0.0), rel=moved)


def _cloning_losses(chances: list[Fraction], n: int) -> list[tuple[float, float]]:
    """(probability, |J(pi_e) - J(MLE)|) for policies with R in {0, H}, P(H) as listed, the first the expert."""
    outcomes = []
    for k in range(n + 1):
        likelihoods = [p**k * (1 - p) ** (n - k) for p in chances]
        best = [p for p, likelihood in zip(chances, likelihoods, strict=True) if likelihood == max(likelihoods)]
        loss = max(abs(p - chances[0]) for p in best) * HORIZON
        outcomes.append((float(math.comb(n, k) * likelihoods[0]), float(loss)))
    return outcomes


_policies = st.lists(st.fractions(Fraction(1, 20), Fraction(19, 20), max_denominator=20), min_size=2, max_size=6)


@checked_slowly
@given(chances=_policies, n=st.integers(20, 120))
def test_cloning_loses_at_most_vf_upper_in_expectation(chances: list[Fraction], n: int) -> None:
    """Upper: E|J(pi_e) - J(MLE)| over a class of two-point policies, every data set counted, ties the worst way."""
    sigma = HORIZON * math.sqrt(chances[0] * (1 - chances[0]))
    bound = VF_UPPER.evaluate(H=HORIZON, n=n, log2_M=math.log2(len(chances)), sigma=sigma)
    assert math.fsum(weight * loss for weight, loss in _cloning_losses(chances, n)) <= bound.extras["sharp"]
    assert bound.extras["sharp"] <= bound.value


@checked_slowly
@given(chances=_policies, n=st.integers(20, 120), delta=st.sampled_from([0.05, 0.5]))
def test_cloning_exceeds_vf_upper_with_probability_at_most_delta(chances: list[Fraction], n: int, delta: float) -> None:
    """Upper: P[|J(pi_e) - J(MLE)| > 2 sqrt2 sigma_e sqrt(h) + 2 H h] <= delta, h = log((M-1)/delta)/n."""
    sigma = HORIZON * math.sqrt(chances[0] * (1 - chances[0]))
    bound = VF_UPPER.evaluate(H=HORIZON, n=n, log2_M=math.log2(len(chances)), sigma=sigma, delta=delta)
    assert math.fsum(weight for weight, loss in _cloning_losses(chances, n) if loss > bound.value) <= delta


def _enumerated_mle_success(n: int, M: int, up: Fraction) -> Fraction:
    """Over all patterns of agreement of M hypotheses with n returns, the first hypothesis being the truth."""
    total = Fraction(0)
    for pattern in itertools.product([0, 1], repeat=n * M):
        counts = [sum(pattern[j * n : (j + 1) * n]) for j in range(M)]
        if counts[0] == max(counts):
            weight = up ** counts[0] * (1 - up) ** (n - counts[0]) / 2 ** (n * (M - 1))
            total += weight / counts.count(counts[0])
    return total


@pytest.mark.parametrize(("n", "M"), [(1, 2), (1, 5), (2, 2), (2, 4), (3, 3), (5, 2)])
@pytest.mark.parametrize("epsilon", [Fraction(1, 4), Fraction(3, 4), Fraction(1)])
def test_mle_success_equals_enumeration(n: int, M: int, epsilon: Fraction) -> None:
    """Equality: P(MLE, ties at random, is the truth) on the random codebook, over all patterns of agreement."""
    expected = float(_enumerated_mle_success(n, M, (1 + epsilon) / 2))
    assert mle_success_codebook(n, math.log2(M), float(epsilon)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "M"), [(16, 16), (30, 50)])
def test_mle_success_equals_sum_over_counts(n: int, M: int) -> None:
    """Equality: the same at sizes where patterns are too many, over counts of agreement in fractions."""
    expected = float(_best_agreement_success(n, M, Fraction(8, 10)))
    assert mle_success_codebook(n, math.log2(M), 0.6) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("log2_M", [1, 4, 32, 128, 4096])
@pytest.mark.parametrize("n", [1200, 5000, 20_000])
def test_mle_success_is_a_probability_at_any_size(n: int, log2_M: int) -> None:
    """0 <= P <= 1 and no warning, also where 2^-n and 1/M are no doubles."""
    assert 0.0 <= mle_success_codebook(n, log2_M, 0.3) <= 1.0 + 1e-12
