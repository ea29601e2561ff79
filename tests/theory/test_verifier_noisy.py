"""``verifier-noisy``: learning a reward from flipped labels, against enumeration of every labelled training set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import HORIZON, checked, checked_slowly
from theory.laws import symmetric_two_point, two_point, uniform
from theory.theorem import Instance
from theory.verifier import VERIFIER_ERM, VERIFIER_NOISY

#: Noise that a fraction is exact for, both ends of the domain included.
NOISE = (Fraction(0), Fraction(1, 50), Fraction(1, 10), Fraction(1, 4), Fraction(2, 5), Fraction(49, 100))


@dataclass(frozen=True)
class _Class:
    """A class of rewards in {0, HORIZON} on a few traces: which traces each member labels wrongly; the truth none."""

    masses: tuple[Fraction, ...]
    wrong: tuple[frozenset[int], ...]

    @property
    def size(self) -> int:
        """Members, the truth among them."""
        return 1 + len(self.wrong)

    def errors(self) -> dict[frozenset[int], Fraction]:
        """E_b |R' - R| of every member."""
        members = (frozenset[int](), *self.wrong)
        return {w: HORIZON * sum((self.masses[t] for t in w), Fraction(0)) for w in members}

    def outcomes(self, n: int, eta: Fraction) -> Iterator[tuple[Fraction, Fraction]]:
        """(probability, largest error of a member that contradicts fewest labels) of every labelled training set."""
        errors = self.errors()
        labelled = [(t, flip) for t in range(len(self.masses)) for flip in (False, True)]
        for sample in itertools.product(labelled, repeat=n):
            chance = math.prod((self.masses[t] * (eta if flip else 1 - eta) for t, flip in sample), start=Fraction(1))
            contradicted = {w: sum((t in w) != flip for t, flip in sample) for w in errors}
            fewest = min(contradicted.values())
            yield chance, max(errors[w] for w, count in contradicted.items() if count == fewest)


@st.composite
def _classes(draw: st.DrawFn) -> _Class:
    size = draw(st.integers(1, 3))
    weights = draw(st.lists(st.sampled_from([1, 2, 5, 20]), min_size=size, max_size=size))
    events = [frozenset(e) for k in range(1, size + 1) for e in itertools.combinations(range(size), k)]
    wrong = draw(st.lists(st.sampled_from(events), min_size=1, max_size=5, unique=True))
    return _Class(tuple(Fraction(w, sum(weights)) for w in weights), tuple(wrong))


@checked_slowly
@given(members=_classes(), n=st.integers(1, 3), eta=st.sampled_from(NOISE))
def test_expected_error_of_any_fitted_verifier_is_bounded(members: _Class, n: int, eta: Fraction) -> None:
    """Upper: E[worst best-fitting E_b|R' - R|] <= (H/a) [1 - n/(n+1) (|R|-1)^(-1/n)], over all labelled sets."""
    exact = sum(chance * error for chance, error in members.outcomes(n, eta))
    bound = VERIFIER_NOISY.evaluate(H=HORIZON, n=n, log2_M=math.log2(members.size), eta=float(eta))
    assert bound.assumptions_hold
    assert float(exact) <= bound.value * (1.0 + 1e-12)


@checked_slowly
@given(
    members=_classes(), n=st.integers(1, 3), eta=st.sampled_from(NOISE), delta=st.sampled_from([0.05, 0.3, 0.9, 1.0])
)
def test_error_exceeds_its_bound_with_probability_at_most_delta(
    members: _Class, n: int, eta: Fraction, delta: float
) -> None:
    """Upper: P[worst best-fitting E_b|R' - R| > H log(|R|/delta)/(a n)] <= delta, over all labelled sets."""
    bound = VERIFIER_NOISY.evaluate(H=HORIZON, n=n, log2_M=math.log2(members.size), eta=float(eta), delta=delta)
    beyond = sum(chance for chance, error in members.outcomes(n, eta) if float(error) > bound.value)
    assert float(beyond) <= delta * (1.0 + 1e-12)


@checked
@given(
    n=st.integers(1, 10**6),
    log2_M=st.floats(1.0, 5000.0),
    delta=st.one_of(st.none(), st.floats(1e-9, 1.0)),
)
def test_without_noise_it_is_verifier_erm(n: int, log2_M: float, delta: float | None) -> None:
    """Equality: at eta = 0 both forms are those of verifier-erm."""
    point = {"H": HORIZON, "n": n, "log2_M": log2_M} | ({} if delta is None else {"delta": delta})
    noisy, clean = VERIFIER_NOISY.evaluate(**point, eta=0.0), VERIFIER_ERM.evaluate(**point)
    assert (noisy.value, dict(noisy.extras)) == (pytest.approx(clean.value), pytest.approx(dict(clean.extras)))


@checked
@given(n=st.integers(1, 10**6), log2_M=st.floats(1.0, 5000.0), eta=st.floats(0.0, 0.4999))
def test_sharp_form_is_below_the_simple_form(n: int, log2_M: float, eta: float) -> None:
    """Upper: (H/a) [1 - n/(n+1) (M-1)^(-1/n)] <= H (1 + log M)/(a n), a = 1 - 2 sqrt(eta (1 - eta))."""
    answer = VERIFIER_NOISY.evaluate(H=HORIZON, n=n, log2_M=log2_M, eta=eta)
    a = (math.sqrt(1.0 - eta) - math.sqrt(eta)) ** 2
    assert answer.extras["simple"] == pytest.approx(HORIZON * (1.0 + log2_M * math.log(2.0)) / (a * n), rel=1e-6)
    assert answer.value <= answer.extras["simple"] * (1.0 + 1e-12)


def test_two_members_one_trace_and_no_noise() -> None:
    """Upper: |R| = 2, n = 1, eta = 0 gives H/2; the worst such class, wrong with probability 1/2, has H/4."""
    half = _Class((Fraction(1, 2), Fraction(1, 2)), (frozenset({0}),))
    exact = sum(chance * error for chance, error in half.outcomes(1, Fraction(0)))
    assert float(exact) == HORIZON / 4
    assert VERIFIER_NOISY.evaluate(H=HORIZON, n=1, log2_M=1, eta=0).value == pytest.approx(HORIZON / 2, rel=1e-14)


def _beaten(n: int, t: Fraction, eta: Fraction) -> Fraction:
    """P(a member wrong with probability t contradicts no more labels than the truth), by its two binomial counts."""
    total = Fraction(0)
    for hit, missed in itertools.product(range(n + 1), repeat=2):  # wrong on right labels, wrong on flipped ones
        if hit <= missed and hit + missed <= n:
            ways = math.comb(n, hit) * math.comb(n - hit, missed)
            total += ways * (t * (1 - eta)) ** hit * (t * eta) ** missed * (1 - t) ** (n - hit - missed)
    return total


@checked
@given(
    n=st.integers(1, 12),
    t=st.fractions(0, 1, max_denominator=20),
    eta=st.fractions(0, Fraction(1, 2), max_denominator=30),
)
def test_chance_of_beating_the_truth_is_bounded(n: int, t: Fraction, eta: Fraction) -> None:
    """Upper: a member wrong with probability t beats the truth with probability <= (1 - a t)^n, ties lost."""
    a = (math.sqrt(1 - eta) - math.sqrt(eta)) ** 2
    assert float(_beaten(n, t, eta)) <= (1.0 - a * float(t)) ** n * (1.0 + 1e-9) + 1e-300


@pytest.mark.parametrize("t", [Fraction(1, 10), Fraction(1, 2), Fraction(1)])
@pytest.mark.parametrize("eta", [Fraction(1, 20), Fraction(3, 10)])
def test_rate_of_beating_the_truth_is_exact(t: Fraction, eta: Fraction) -> None:
    """Tight: from n = 60 to n = 120 the chance falls as (1 - a t)^n up to the root of n it always loses."""
    a = (math.sqrt(1 - eta) - math.sqrt(eta)) ** 2
    fall = math.log(_beaten(60, t, eta) / _beaten(120, t, eta)) / 60
    rate = -math.log1p(-a * float(t))
    assert rate <= fall * (1.0 + 1e-9)
    assert fall <= rate + math.log(2.0) / 60


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_fair_coins_teach_nothing(n: int) -> None:
    """Counterexample at eta = 1/2: of two opposite rewards, fitting picks the wrong one half of the time at every n."""
    opposite = _Class((Fraction(1),), (frozenset({0}),))
    half = Fraction(1, 2)
    lost = sum(chance for chance, error in opposite.outcomes(n, half) if error > 0)  # ties lost
    won = sum(chance for chance, error in opposite.outcomes(n, half) if error == 0)
    tied = Fraction(math.comb(n, n // 2), 2**n) if n % 2 == 0 else Fraction(0)
    assert lost - tied == won
    assert lost - tied / 2 == half


def test_fair_coins_are_out_of_scope() -> None:
    """eta = 1/2 fails the strict assumption; the number shown is the trivial H, and it is not valid."""
    answer = VERIFIER_NOISY.evaluate(H=10, n=10**6, log2_M=4, eta=0.5)
    failing = [c.name for c in answer.conditions if not c.holds]
    assert (answer.value, answer.valid, failing) == (10.0, False, ["eta < 1/2", "not vacuous"])


def test_noise_needs_its_factor() -> None:
    """Without the factor 1/a the bound fails: at eta = .45 two opposite rewards beat the noiseless one at n = 3."""
    opposite = _Class((Fraction(1),), (frozenset({0}),))
    exact = float(sum(chance * error for chance, error in opposite.outcomes(3, Fraction(9, 20))))
    assert exact > VERIFIER_ERM.evaluate(H=HORIZON, n=3, log2_M=1).value
    assert exact <= VERIFIER_NOISY.evaluate(H=HORIZON, n=3, log2_M=1, eta=0.45).value


@checked
@given(
    n=st.integers(1, 10**9),
    log2_M=st.floats(1.0, 5000.0),
    eta=st.floats(0.0, 0.499999),
    delta=st.one_of(st.none(), st.floats(1e-12, 1.0)),
)
def test_value_lies_in_its_enclosure(n: int, log2_M: float, eta: float, delta: float | None) -> None:
    """The float64 value is inside the Arb ball of the claim."""
    point = {"H": 100, "n": n, "log2_M": log2_M, "eta": eta} | ({} if delta is None else {"delta": delta})
    assert VERIFIER_NOISY.enclose(**point).contains(VERIFIER_NOISY.evaluate(**point).value)


def test_class_of_fewer_than_two_is_out_of_scope() -> None:
    """|R| >= 2 is an assumption here too."""
    answer = VERIFIER_NOISY.evaluate(H=10, n=100, log2_M=0.5, eta=0.1)
    assert (answer.conditions[0].holds, answer.valid) == (False, False)


def test_it_speaks_of_returns_that_are_all_or_nothing() -> None:
    """Laws on {0, H} are in its family; a middle return, two positive returns or an unknown law are not."""
    laws = (two_point(HORIZON), uniform(HORIZON), symmetric_two_point(HORIZON, 0.25), None)
    assert [VERIFIER_NOISY.speaks_of(Instance("law", law=law)) for law in laws] == [True, False, False, False]
