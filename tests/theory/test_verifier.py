"""``verifier-erm``: learning a reward from labelled traces, against enumeration of every training set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from strategies import HORIZON, checked, checked_slowly
from theory.verifier import VERIFIER_ERM, erm_success_codebook, erm_success_parity, expected_error


@dataclass(frozen=True)
class _Rewards:
    """A class of rewards on a few traces; ``returns[0]`` is the truth."""

    masses: tuple[Fraction, ...]
    returns: tuple[tuple[int, ...], ...]

    def worst_error(self, seen: frozenset[int]) -> Fraction:
        """Largest E_b |R' - R| among members that agree with the truth on the traces seen."""
        truth = self.returns[0]
        return max(
            sum((p * abs(a - b) for p, a, b in zip(self.masses, member, truth, strict=True)), Fraction(0))
            for member in self.returns
            if all(member[t] == truth[t] for t in seen)
        )

    def outcomes(self, n: int) -> Iterator[tuple[Fraction, Fraction]]:
        """(probability, worst consistent error) of every training set of n traces."""
        for traces in itertools.product(range(len(self.masses)), repeat=n):
            yield math.prod(self.masses[t] for t in traces), self.worst_error(frozenset(traces))


@st.composite
def _reward_classes(draw: st.DrawFn) -> _Rewards:
    size = draw(st.integers(2, 4))
    weights = draw(st.lists(st.sampled_from([1, 2, 5, 20]), min_size=size, max_size=size))
    tokens = st.sampled_from([0, HORIZON // 2, HORIZON])
    members = draw(st.lists(st.tuples(*[tokens] * size), min_size=2, max_size=8, unique=True))
    return _Rewards(tuple(Fraction(w, sum(weights)) for w in weights), tuple(members))


@checked_slowly
@given(rewards=_reward_classes(), n=st.integers(1, 4))
def test_expected_error_of_any_consistent_verifier_is_bounded(rewards: _Rewards, n: int) -> None:
    """Upper: E[worst consistent E_b|R' - R|] <= H [1 - n/(n+1) (|R|-1)^(-1/n)], over all training sets."""
    exact = sum(weight * error for weight, error in rewards.outcomes(n))
    bound = VERIFIER_ERM.evaluate(H=HORIZON, n=n, log2_M=math.log2(len(rewards.returns)))
    assert float(exact) <= bound.value * (1.0 + 1e-12)


@checked_slowly
@given(rewards=_reward_classes(), n=st.integers(1, 4), delta=st.sampled_from([0.05, 0.3, 0.9]))
def test_error_exceeds_its_bound_with_probability_at_most_delta(rewards: _Rewards, n: int, delta: float) -> None:
    """Upper: P[worst consistent E_b|R' - R| > H log(|R|/delta)/n] <= delta, over all training sets."""
    bound = VERIFIER_ERM.evaluate(H=HORIZON, n=n, log2_M=math.log2(len(rewards.returns)), delta=delta)
    assert float(sum(weight for weight, error in rewards.outcomes(n) if float(error) > bound.value)) <= delta


def test_delta_form_is_nearly_attained() -> None:
    """Tight: a class of 2 whose wrong member errs with probability t = log(1/delta)/n survives with almost delta."""
    n, delta = 10_000, 0.1
    t = VERIFIER_ERM.evaluate(H=1, n=n, log2_M=1.0, delta=delta).value - math.log(2.0) / n
    assert (1.0 - t) ** n == pytest.approx(delta, rel=1e-3)


@checked
@given(n=st.integers(1, 10**6), others=st.one_of(st.integers(1, 10), st.integers(1, 10**12)))
def test_expected_error_equals_integral_of_the_tail(n: int, others: int) -> None:
    """Equality: 1 - n/(n+1) (M-1)^(-1/n) = integral over [0,1] of min(1, (M-1)(1-t)^n)."""
    kink = -math.expm1(-math.log(others) / n)
    rest, _ = quad(lambda t: others * (1.0 - t) ** n, kink, min(1.0, kink + 60.0 / n), epsrel=1e-10)
    integral = kink + rest
    assert expected_error(n, math.log2(others + 1)) == pytest.approx(integral, rel=1e-7)


def test_expected_error_equals_the_mean_of_a_simulated_worst_rate() -> None:
    """E[t*] with P(t* > t) = min(1, (M-1)(1-t)^n), sampled by inversion, agrees within 5 standard errors."""
    n, M, draws = 40, 1000, 200_000
    uniforms = np.random.default_rng(7).random(draws)
    worst = 1.0 - (uniforms / (M - 1)) ** (1.0 / n)
    error = worst.std(ddof=1) / math.sqrt(draws)
    assert abs(worst.mean() - expected_error(n, math.log2(M))) < 5.0 * error


@checked
@given(n=st.integers(1, 10**6), log2_M=st.floats(1.0, 5000.0))
def test_exact_form_is_below_the_simple_form(n: int, log2_M: float) -> None:
    """Upper: H [1 - n/(n+1) (M-1)^(-1/n)] <= H (1 + log M)/n for M >= 2."""
    answer = VERIFIER_ERM.evaluate(H=HORIZON, n=n, log2_M=log2_M)
    assert answer.value <= HORIZON * (1.0 + log2_M * math.log(2.0)) / n * (1.0 + 1e-12)
    assert answer.extras["simple"] == pytest.approx(HORIZON * (1.0 + log2_M * math.log(2.0)) / n, rel=1e-12)


def test_exact_form_of_two_rewards_is_one_in_n_plus_one() -> None:
    """Equality: |R| = 2 gives H/(n+1)."""
    assert VERIFIER_ERM.evaluate(H=12, n=5, log2_M=1).value == pytest.approx(2.0, rel=1e-14)


@checked
@given(t=st.fractions(0, 1, max_denominator=50), n=st.integers(1, 30))
def test_worst_class_of_two_stays_below_its_bound(t: Fraction, n: int) -> None:
    """Upper: |R| = 2, wrong with probability t: the expected error is H t (1 - t)^n, and H/(n+1) bounds it."""
    bound = VERIFIER_ERM.evaluate(H=HORIZON, n=n, log2_M=1)
    assert float(HORIZON * t * (1 - t) ** n) <= bound.value * (1.0 + 1e-12)


@pytest.mark.parametrize("wrong", [Fraction(0), Fraction(1)], ids=["never wrong", "always wrong"])
def test_class_whose_members_agree_or_never_do_has_no_error(wrong: Fraction) -> None:
    """Degenerate: a member that is never wrong costs nothing, one that always is never survives, at n = 1 too."""
    masses = (1 - wrong, wrong) if wrong else (Fraction(1), Fraction(0))
    rewards = _Rewards(masses, ((0, 0), (0, HORIZON)))
    assert sum(weight * error for weight, error in rewards.outcomes(1)) == 0


@checked
@given(n=st.integers(1, 10**9), log2_M=st.floats(1.0, 5000.0), delta=st.one_of(st.none(), st.floats(1e-12, 1.0)))
def test_value_lies_in_its_enclosure(n: int, log2_M: float, delta: float | None) -> None:
    """The float64 value is inside the Arb ball of the claim."""
    point = {"H": 100, "n": n, "log2_M": log2_M} | ({} if delta is None else {"delta": delta})
    assert VERIFIER_ERM.enclose(**point).contains(VERIFIER_ERM.evaluate(**point).value)


def test_class_of_one_has_nothing_to_learn() -> None:
    """At M = 1 the expected error is 0."""
    assert expected_error(3, 0.0) == 0.0


def test_class_of_fewer_than_two_is_out_of_scope() -> None:
    """|R| >= 2 is an assumption: at log2 M = 1/2 it fails by half a bit and the evaluation is not valid."""
    answer = VERIFIER_ERM.evaluate(H=10, n=100, log2_M=0.5)
    assert (answer.conditions[0].holds, answer.conditions[0].margin, answer.valid) == (False, -0.5, False)


def test_error_bound_beyond_the_budget_is_vacuous() -> None:
    """Vacuous: with log(|R|/delta) > n the bound exceeds H and is marked so, its assumptions holding."""
    answer = VERIFIER_ERM.evaluate(H=10, n=5, log2_M=64, delta=0.1)
    assert answer.value > 10.0
    assert (answer.valid, answer.assumptions_hold) == (False, True)


def _enumerated_codebook_success(n: int, M: int, informative: Fraction) -> Fraction:
    """Over all signs of n prompts and all choices of informative labels: one over the number of survivors."""
    total = Fraction(0)
    for told in itertools.product([0, 1], repeat=n):
        weight = math.prod(informative if t else 1 - informative for t in told)
        for agrees in itertools.product([0, 1], repeat=n * (M - 1)):
            rows = [agrees[j * n : (j + 1) * n] for j in range(M - 1)]
            survivors = 1 + sum(all(a or not t for a, t in zip(row, told, strict=True)) for row in rows)
            total += weight * Fraction(1, survivors * 2 ** (n * (M - 1)))
    return total


@pytest.mark.parametrize("informative", [Fraction(1), Fraction(3, 8), Fraction(0)])
@pytest.mark.parametrize(("n", "M"), [(1, 2), (1, 5), (2, 3), (3, 2), (3, 3), (2, 4)])
def test_success_on_the_random_codebook_equals_enumeration(n: int, M: int, informative: Fraction) -> None:
    """Equality: P(ERM, ties at random, returns the truth), over all sign tables and informative labels."""
    expected = float(_enumerated_codebook_success(n, M, informative))
    assert erm_success_codebook(n, math.log2(M), float(informative)) == pytest.approx(expected, rel=1e-12)


def _enumerated_parity_success(n: int, k: int, informative: Fraction) -> Fraction:
    """Over all n x k matrices over GF(2): one over the number of j with <j, x_t> = 0 at every informative row."""
    members = list(itertools.product([0, 1], repeat=k))
    total = Fraction(0)
    for told in itertools.product([0, 1], repeat=n):
        weight = math.prod(informative if t else 1 - informative for t in told)
        for rows in itertools.product(members, repeat=n):
            kept = [row for row, t in zip(rows, told, strict=True) if t]
            survivors = sum(all(np.dot(j, row) % 2 == 0 for row in kept) for j in members)
            total += weight * Fraction(1, survivors * 2 ** (n * k))
    return total


@pytest.mark.parametrize("informative", [Fraction(1), Fraction(3, 8)])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (2, 3)])
def test_success_on_the_parity_codebook_equals_enumeration(n: int, k: int, informative: Fraction) -> None:
    """Equality: P(ERM, ties at random, returns the truth), over all matrices of prompts over GF(2)."""
    expected = float(_enumerated_parity_success(n, k, informative))
    assert erm_success_parity(n, k, float(informative)) == pytest.approx(expected, rel=1e-12)


@checked
@given(k=st.integers(1, 40), extra=st.integers(0, 60))
def test_parity_success_is_at_least_its_union_bound(k: int, extra: int) -> None:
    """Lower: E 2^(r-k) >= 1 - 2^(k-n)."""
    assert erm_success_parity(k + extra, k) >= 1.0 - 2.0**-extra - 1e-15


@pytest.mark.parametrize("n", [4000, 4096, 4200])
def test_codebook_success_is_a_probability_at_four_thousand_bits(n: int) -> None:
    """Finite in (0, 1] at M = 2^4096: 2^(n-4096) below the capacity, then 1."""
    assert erm_success_codebook(n, 4096) == pytest.approx(min(2.0 ** (n - 4096), 1.0), rel=0.4)
