"""``gap-regret``, ``gap-ball``, ``gap-free``: reference table, exponents, the interval and where it is empty."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import checked, checked_slowly
from theory.gap import GAP_BALL, GAP_FREE, GAP_REGRET
from theory.theorem import Theorem

#: log2 M, H, ball gap, free gap in tokens at sigma = H/2, n = H: the notes' table.
REFERENCE = ((16, 32, 6.2, 15.2), (32, 64, 16.4, 31.9), (64, 128, 38.2, 64.0), (64, 4096, 195, 2048))


@pytest.mark.parametrize(("log2_M", "H", "ball", "free"), REFERENCE)
def test_ball_gap_has_its_reference_value(log2_M: int, H: int, ball: float, free: float) -> None:
    """gap-ball, maximised over epsilon at sigma = H/2 and n = H, is the notes' number to one unit of its last digit."""
    assert GAP_BALL.evaluate(n=H, log2_M=log2_M, sigma=H / 2, H=H).value == pytest.approx(
        ball, abs=0.1 if ball < 100 else 1.0
    )


@pytest.mark.parametrize(("log2_M", "H", "ball", "free"), REFERENCE)
def test_free_gap_has_its_reference_value(log2_M: int, H: int, ball: float, free: float) -> None:
    """gap-free at epsilon^2 = L/(2n), sigma = H/2 and n = H is the notes' number to one unit of its last digit."""
    epsilon = math.sqrt(log2_M * math.log(2.0) / (2 * H))
    value = GAP_FREE.evaluate(n=H, log2_M=log2_M, sigma=H / 2, H=H, epsilon=epsilon).value
    assert value == pytest.approx(free, abs=0.1 if free < 100 else 1.0)


@pytest.mark.parametrize(("log2_M", "within"), [(64, 0.04), (512, 0.01)])
def test_ball_gap_grows_as_the_root_of_the_horizon(log2_M: int, within: float) -> None:
    """At n = H the ball gap's exponent in H is 1/2 within .04 (64 bits), .01 (512), fitted over H = 16 L .. 128 L."""
    horizons = [round(log2_M * math.log(2.0) * factor) for factor in (16, 32, 64, 128)]
    gaps = [GAP_BALL.evaluate(n=H, log2_M=log2_M, sigma=H / 2).value for H in horizons]
    assert np.polyfit(np.log(horizons), np.log(gaps), 1)[0] == pytest.approx(0.5, abs=within)


@pytest.mark.parametrize("log2_M", [64, 512])
def test_free_gap_grows_as_the_horizon(log2_M: int) -> None:
    """At n = H and epsilon^2 = L/(2n) the free gap's exponent in H is 1 within .001, fitted over H = 16 L .. 128 L."""
    L = log2_M * math.log(2.0)
    horizons = [round(L * factor) for factor in (16, 32, 64, 128)]
    gaps = [GAP_FREE.evaluate(n=H, log2_M=log2_M, sigma=H / 2, epsilon=math.sqrt(L / (2 * H))).value for H in horizons]
    assert np.polyfit(np.log(horizons), np.log(gaps), 1)[0] == pytest.approx(1.0, abs=0.001)


def _mean_weight(M: int, n: int, epsilon: Fraction) -> Fraction:
    """E|w| of the random codebook by its counts of agreement: M^-1 E_base E_x |sum_j s_j L_j|, in fractions."""
    total = Fraction(0)
    for counts in itertools.product(range(n + 1), repeat=M):
        likelihoods = [(1 + epsilon) ** k * (1 - epsilon) ** (n - k) for k in counts]
        weight = Fraction(math.prod(math.comb(n, k) for k in counts), 2 ** (n * M))
        for signs in itertools.product([-1, 1], repeat=M):
            total += weight * abs(sum(s * like for s, like in zip(signs, likelihoods, strict=True)))
    return total / (M * 2**M)


def _verifier_success(M: int, n: int) -> Fraction:
    """P(a random hypothesis among those that explain all n labels is the truth), in fractions."""
    q = Fraction(1, 2**n)
    return sum((math.comb(M - 1, j) * q**j * (1 - q) ** (M - 1 - j) / (1 + j) for j in range(M)), Fraction(0))


_instances = pytest.mark.parametrize(("M", "n"), [(2, 1), (2, 4), (3, 3), (4, 2), (4, 4), (5, 2)])
_radii = pytest.mark.parametrize("epsilon", [Fraction(1, 4), Fraction(3, 4), Fraction(1)])


@_instances
@_radii
def test_gap_ball_is_below_the_exact_ball_gap(M: int, n: int, epsilon: Fraction) -> None:
    """Lower: sigma (epsilon psi - E|w|), verifier-based in the ball minus the best verifier-free one, both exact."""
    exact = epsilon * _verifier_success(M, n) - _mean_weight(M, n, epsilon)
    assert GAP_BALL.evaluate(n=n, log2_M=math.log2(M), sigma=1, epsilon=float(epsilon)).value <= float(exact) + 1e-12


@_instances
@_radii
def test_gap_free_is_below_the_exact_free_gap(M: int, n: int, epsilon: Fraction) -> None:
    """Lower: sigma (psi - E|w|), verifier-based top-1/2 minus the best verifier-free learner, both exact."""
    exact = _verifier_success(M, n) - _mean_weight(M, n, epsilon)
    assert GAP_FREE.evaluate(n=n, log2_M=math.log2(M), sigma=1, epsilon=float(epsilon)).value <= float(exact) + 1e-12


@pytest.mark.parametrize(("c", "first"), [(0.5, 3101), (0.125, 49_614)], ids=["c = 1/2", "c = s^2/2"])
def test_certified_interval_starts_where_the_notes_say(c: float, first: int) -> None:
    """At log2 M = 32, n = H, s = 1/2: VB is certified better from H_0 = 3,101 (c = 1/2), 49,614 (c = s^2/2)."""
    window = GAP_REGRET.evaluate(H=4096, n=4096, log2_M=32, sigma=2048, c=c, epsilon=0.05).extras["closed_form"]
    assert round(window["n_min"]) == first


def test_certified_interval_ends_where_the_notes_say() -> None:
    """At log2 M = 32, s = 1/2 the window of vf-lower ends at H_1 = 181,704."""
    window = GAP_REGRET.evaluate(H=4096, n=4096, log2_M=32, sigma=2048, c=0.5, epsilon=0.05).extras["closed_form"]
    assert math.floor(2.0 ** window["log2_n_max"]) == 181_704


@pytest.mark.parametrize(("n", "inside"), [(3100, False), (3101, True), (181_704, True), (181_705, False)])
def test_interval_is_closed_at_both_ends(n: int, inside: bool) -> None:
    """'inside' is H_0 <= n <= H_1, to the trace."""
    window = GAP_REGRET.evaluate(H=n, n=n, log2_M=32, sigma=n / 2, c=0.5, epsilon=0.01).extras["closed_form"]
    assert window["inside"] is inside


def test_interval_that_is_empty_is_said_to_be() -> None:
    """At log2 M = 32, s = .3 with c = p_s = .1 no n qualifies."""
    answer = GAP_REGRET.evaluate(H=1000, n=1000, log2_M=32, sigma=300)
    assert answer.extras["c"] == pytest.approx(0.1, rel=1e-12)
    assert (answer.extras["closed_form"]["empty"], answer.extras["closed_form"]["inside"]) == (True, False)


@checked
@given(
    n=st.integers(10, 10**7),
    log2_M=st.floats(16.0, 60.0),
    s=st.floats(0.05, 0.5),
    c=st.one_of(st.none(), st.floats(0.01, 0.9)),
    share=st.floats(0.0, 1.0),
)
def test_gap_regret_is_vf_lower_minus_verifier_error(
    n: int, log2_M: float, s: float, c: float | None, share: float
) -> None:
    """Equality: epsilon sigma - rho sqrt((1+epsilon^2)^n/M) - (H/c) [1 - n/(n+1) (M-1)^(-1/n)], c by default p_s."""
    H = 1000
    p_s = (1.0 - math.sqrt(1.0 - 4.0 * s * s)) / 2.0
    epsilon = share * min(1.0, p_s / s)
    given_c = {} if c is None else {"c": c}
    answer = GAP_REGRET.evaluate(H=H, n=n, log2_M=log2_M, sigma=s * H, epsilon=epsilon, **given_c)
    kept = p_s if c is None else c
    verifier = 1.0 - n / (n + 1.0) * (2.0**log2_M - 1.0) ** (-1.0 / n)
    free = min(n * math.log1p(epsilon**2) - log2_M * math.log(2.0), 1200.0) / 2.0
    expected = epsilon * s * H - H / 2 * math.exp(free) - H / kept * verifier
    assert answer.value == pytest.approx(expected, rel=1e-6, abs=1e-6 * H)


@checked
@given(log2_M=st.floats(24.0, 400.0), position=st.floats(0.0, 1.0), c=st.floats(0.05, 0.5))
def test_vb_is_certified_better_inside_the_interval(log2_M: float, position: float, c: float) -> None:
    """Lower: inside a nonempty interval, at epsilon^2 = L/(2n), the value is nonnegative and >= the closed form."""
    L = log2_M * math.log(2.0)
    first, last = math.log2(32.0 * (1.0 + L) ** 2 / (c * c * L)), math.log2(L / 8) + log2_M / 2
    n = math.ceil(2.0 ** (first + position * max(last - first, 0.0)))
    answer = GAP_REGRET.evaluate(H=100, n=n, log2_M=log2_M, sigma=50, c=c, epsilon=math.sqrt(L / (2 * n)))
    closed = 50.0 * math.sqrt(L / (8 * n)) - 100.0 / c * (1.0 + L) / n
    assert closed >= -1e-9
    assert math.log2(n) > last or answer.value >= closed * (1.0 - 1e-9)


@checked_slowly
@given(n=st.integers(100, 10**6), s=st.floats(0.05, 0.5))
def test_heterogeneity_alone_suffices(n: int, s: float) -> None:
    """Without c the maximiser stays within p_s/s, where c = p_s is guaranteed, and all its assumptions hold."""
    answer = GAP_REGRET.evaluate(H=1000, n=n, log2_M=64, sigma=1000 * s)
    p_s = (1.0 - math.sqrt(1.0 - 4.0 * s * s)) / 2.0
    assert answer.extras["epsilon"] <= p_s / s * (1.0 + 1e-9)
    assert answer.assumptions_hold


def test_epsilon_beyond_the_guaranteed_range_is_out_of_scope() -> None:
    """With c = p_s an epsilon above p_s/s fails its condition: beyond, c can be 0."""
    answer = GAP_REGRET.evaluate(H=1000, n=1000, log2_M=64, sigma=300, epsilon=0.4)
    assert next(c.name for c in answer.conditions if not c.holds) == "epsilon rho <= sigma and c guaranteed at epsilon"


def test_free_gap_without_epsilon_is_refused() -> None:
    """gap-free has no maximiser: asked without epsilon it raises a ValueError that names it."""
    with pytest.raises(ValueError, match="gap-free needs epsilon"):
        GAP_FREE.evaluate(n=64, log2_M=32, sigma=32)


def test_free_gap_falls_as_epsilon_grows() -> None:
    """gap-free decreases in epsilon, so that maximising it would only report epsilon = 0."""
    values = [GAP_FREE.evaluate(n=64, log2_M=32, sigma=32, epsilon=e).value for e in np.linspace(0.0, 1.0, 21)]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(values))


@pytest.mark.parametrize("theorem", [GAP_BALL, GAP_FREE], ids=lambda t: t.label)
def test_given_probability_of_the_truth_replaces_that_of_the_codebook(theorem: Theorem) -> None:
    """With psi given (parity: 1 - 2^(k-n)) the value changes by sigma psi' - sigma psi, times epsilon in the ball."""
    point = {"n": 40, "log2_M": 32, "sigma": 10, "epsilon": 0.5}
    values = [theorem.evaluate(**point, psi=psi).value for psi in (0.4, 0.9)]
    assert values[1] - values[0] == pytest.approx(10 * 0.5 * (0.5 if theorem is GAP_BALL else 1.0), rel=1e-12)


def test_small_class_informs_only() -> None:
    """log2 M >= 32 is for the exponent: at 16 bits its condition fails, and the inequality stays valid."""
    answer = GAP_BALL.evaluate(n=32, log2_M=16, sigma=16)
    assert [(c.required, c.margin) for c in answer.conditions if not c.holds] == [(False, -16.0)]
    assert answer.valid


@pytest.mark.parametrize("theorem", [GAP_BALL, GAP_FREE], ids=lambda t: t.label)
@checked
@given(n=st.integers(1, 200), log2_M=st.floats(1.0, 100.0), epsilon=st.floats(0.0, 1.0), data=st.data())
def test_given_level_is_no_better(theorem: Theorem, n: int, log2_M: float, epsilon: float, data: st.DataObject) -> None:
    """Any K gives a bound, at most that of the K chosen in float64, which is reported."""
    K = data.draw(st.integers(-1, n))
    point = {"n": n, "log2_M": log2_M, "sigma": 1, "epsilon": epsilon}
    best = theorem.evaluate(**point)
    try:
        assert theorem.evaluate(**point, K=K).value <= best.value
    except ValueError:
        return  # B_K beyond floating point
    assert theorem.evaluate(**point, K=best.extras["K"]).value == best.value


@checked
@given(log2_M=st.floats(1.0, 400.0), extra=st.floats(0.0, 1.0))
def test_closed_forms_are_below_the_gaps(log2_M: float, extra: float) -> None:
    """Lower, epsilon^2 = L/(2n), n >= 2 log2 M: ball (1 - 2/M) sqrt(L/(8n)) in the window, free 1 - 1/M - M^(-1/4)."""
    L = log2_M * math.log(2.0)
    last = log2_M / 2.0 + math.log2(L / 8.0)
    n = math.ceil(2.0 ** min(math.log2(2.0 * log2_M) + extra * 8.0, 17.0))
    point = {"n": n, "log2_M": log2_M, "sigma": 1, "epsilon": math.sqrt(L / (2.0 * n))}
    psi = GAP_FREE.evaluate(**point).extras["psi"]
    assert psi >= 1.0 - 2.0**-log2_M - 1e-12
    assert GAP_FREE.evaluate(**point).value >= 1.0 - math.exp(-L) - math.exp(-L / 4.0) - 1e-12
    if math.log2(n) <= last:
        closed = (1.0 - 2.0 * math.exp(-L)) * math.sqrt(L / (8.0 * n))
        assert GAP_BALL.evaluate(**point).value >= closed * (1.0 - 1e-12)


@_instances
def test_chance_of_the_truth_is_at_least_that_of_no_survivor(M: int, n: int) -> None:
    """psi >= 1 - M 2^-n, in fractions."""
    assert _verifier_success(M, n) >= 1 - Fraction(M, 2**n)
