"""``garbling``, ``crossover-vf-wins``: enumerated Bayes values, exact formulas, certified ranges, break-even, map."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import checked, checked_slowly
from theory.crossover import (
    CROSSOVER_VF_WINS,
    GARBLING,
    RARE_SUCCESS,
    break_even,
    break_even_enclosure,
    entropy,
    kept_region,
    log_kept_odds,
    log_late_odds,
    plurality_loss,
    region,
    region_map,
    relative_entropy,
    thresholds,
    vb_least_loss,
    vb_optimal_loss,
    vb_random_loss,
    vf_cloning_value,
    vf_kept_least_loss,
    vf_kept_loss,
    vf_kept_optimal_loss,
    vf_least_loss,
    vf_loss,
    vf_optimal_loss,
)
from theory.laws import symmetric_two_point
from theory.log_space import (
    chance_on_top,
    log_binomial_pmf,
    loss_on_top,
    mean_reciprocal_count,
    mean_reciprocal_loss,
)
from theory.theorem import Instance

#: Likelihoods of one draw under each hypothesis, and how many outcomes of a draw have them.
Draw = Counter[tuple[Fraction, ...]]
Likelihoods = tuple[Fraction, ...]


def _bayes(draw: Draw, n: int, worth: Callable[[Likelihoods], Fraction]) -> Fraction:
    """Mean over a uniform prior and over all samples of n draws of what the learner makes of the likelihoods."""
    M = len(next(iter(draw)))
    samples: Draw = Counter({(Fraction(1),) * M: 1})
    for _ in range(n):
        longer: Draw = Counter()
        for (so_far, times), (once, outcomes) in itertools.product(samples.items(), draw.items()):
            longer[tuple(a * b for a, b in zip(so_far, once, strict=True))] += times * outcomes
        samples = longer
    return sum((times * worth(sample) for sample, times in samples.items() if any(sample)), Fraction(0)) / M


@dataclass(frozen=True)
class RareSuccess:
    """V tokens, M hypotheses; values are J/H. Every learner is followed through every data set."""

    V: int
    M: int

    @property
    def c(self) -> Fraction:
        return Fraction(1, self.V)

    def prompts(self) -> Iterator[tuple[int, ...]]:
        return itertools.product(range(self.V), repeat=self.M)

    def labelled(self) -> Draw:
        """A prompt, a uniform token, and whether it is the hypothesis's."""
        chance = Fraction(1, self.V ** (self.M + 1))
        outcomes = itertools.product(self.prompts(), range(self.V), (True, False))
        return Counter(tuple(chance * ((xj == a) is solved) for xj in x) for x, a, solved in outcomes)

    def expert(self, p_e: Fraction) -> Draw:
        """A prompt and the token of an expert that plays the hypothesis's with p_e, the others equally often."""
        missed, chance = (1 - p_e) / (self.V - 1), Fraction(1, self.V**self.M)
        outcomes = itertools.product(self.prompts(), range(self.V))
        return Counter(tuple(chance * (p_e if xj == a else missed) for xj in x) for x, a in outcomes)

    def solved(self) -> Draw:
        """A prompt and a uniform token that is the hypothesis's, or nothing."""
        chance = Fraction(1, self.V ** (self.M + 1))
        kept: Draw = Counter(
            tuple(chance * (xj == a) for xj in x) for x, a in itertools.product(self.prompts(), range(self.V))
        )
        for _ in self.prompts():  # nothing kept: all failed tokens look alike
            kept[(chance * (self.V - 1),) * self.M] += 1
        return kept

    def best(self, sample: Likelihoods) -> Fraction:
        """The most likely token on a fresh prompt, averaged over all prompts."""
        total = Fraction(0)
        for x in self.prompts():
            votes = [Fraction(0)] * self.V
            for xj, weight in zip(x, sample, strict=True):
                votes[xj] += weight
            total += max(votes)
        return total / self.V**self.M

    def likeliest(self, sample: Likelihoods) -> Fraction:
        """A most likely hypothesis, ties at random, played: a wrong one is right with probability c."""
        top = max(sample)
        right = Fraction(top * sample.count(top), sample.count(top))
        return right + (sum(sample) - right) * self.c

    def vb(self, n: int) -> Fraction:
        return _rare_vb(self, n)

    def vb_random(self, n: int) -> Fraction:
        return _bayes(self.labelled(), n, self.likeliest)

    def vf(self, n: int, p_e: Fraction) -> Fraction:
        return _rare_vf(self, n, p_e)

    def vf_likeliest(self, n: int, p_e: Fraction) -> Fraction:
        return _bayes(self.expert(p_e), n, self.likeliest)


@functools.cache
def _rare_vb(family: RareSuccess, n: int) -> Fraction:
    return _bayes(family.labelled(), n, family.best)


@functools.cache
def _rare_vf(family: RareSuccess, n: int, p_e: Fraction) -> Fraction:
    return _bayes(family.expert(p_e), n, family.best)


def _loss(value: Fraction, family: RareSuccess) -> float:
    return float((1 - value) / (1 - family.c))


FAMILIES = tuple(RareSuccess(V, M) for V in (2, 3, 4) for M in (2, 3, 4))
SAMPLES = tuple((family, n) for family in FAMILIES for n in (1, 2, 3))
_small = pytest.mark.parametrize(
    ("family", "n"), SAMPLES, ids=lambda v: f"V{v.V}-M{v.M}" if not isinstance(v, int) else ""
)
_experts = pytest.mark.parametrize("p_e", [Fraction(1), Fraction(9, 10), Fraction(3, 5)], ids=str)


@st.composite
def rare_successes(draw: st.DrawFn) -> tuple[RareSuccess, int]:
    """A small family and a small sample."""
    return draw(st.sampled_from([f for f in FAMILIES if f.V**f.M <= 81])), draw(st.integers(1, 2))


# --- garbling ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mirrored:
    """Random codebook of M hypotheses; f = (R - mu)/sigma is +-v, half of its mass each; values are (J - mu)/sigma."""

    M: int
    levels: tuple[tuple[Fraction, Fraction], ...]

    def signs(self) -> list[tuple[int, ...]]:
        return list(itertools.product((1, -1), repeat=self.M))

    def traces(self) -> list[tuple[Fraction, Fraction]]:
        return [(side * v, mass / 2) for v, mass in self.levels for side in (1, -1)]

    def labelled(self) -> Draw:
        """A prompt, a base trace and its return under the hypothesis."""
        draw: Draw = Counter()
        for x, (f, mass) in itertools.product(self.signs(), self.traces()):
            for label in (f, -f) if f else (f,):
                draw[tuple(mass / 2**self.M * (s * f == label) for s in x)] += 1
        return draw

    def expert(self, epsilon: Fraction) -> Draw:
        """A prompt and a trace of the expert 1 + epsilon s f."""
        outcomes = itertools.product(self.signs(), self.traces())
        return Counter(tuple(mass / 2**self.M * (1 + epsilon * s * f) for s in x) for x, (f, mass) in outcomes)

    def kept(self, threshold: Fraction) -> Draw:
        """A prompt and a base trace whose return is at least the threshold, or nothing."""
        draw: Draw = Counter()
        for x in self.signs():
            dropped = [Fraction(0)] * self.M
            for f, mass in self.traces():
                kept = [s * f >= threshold for s in x]
                draw[tuple(mass / 2**self.M * k for k in kept)] += 1
                dropped = [d + mass / 2**self.M * (not k) for d, k in zip(dropped, kept, strict=True)]
            draw[tuple(dropped)] += 1
        return draw

    def best(self, sample: Likelihoods) -> Fraction:
        """The trace of largest posterior mean return on a fresh prompt, averaged over all prompts."""
        reach = max(v for v, _ in self.levels)
        votes = (sum(s * w for s, w in zip(x, sample, strict=True)) for x in self.signs())
        return sum((reach * abs(vote) for vote in votes), Fraction(0)) / 2**self.M


@st.composite
def mirrored_codebooks(draw: st.DrawFn) -> tuple[Mirrored, int]:
    """Two to four hypotheses, one or two levels of |f| (0 among them), samples of one to three draws."""
    levels = draw(st.lists(st.sampled_from([0, 1, 2, 3]), min_size=1, max_size=2, unique=True).filter(any))
    weights = draw(st.lists(st.integers(1, 4), min_size=len(levels), max_size=len(levels)))
    masses = [Fraction(w, sum(weights)) for w in weights]
    M, n = draw(st.sampled_from([(2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 1), (4, 2)]))
    return Mirrored(M, tuple(zip(map(Fraction, levels), masses, strict=True))), n


@checked_slowly
@given(instance=mirrored_codebooks(), threshold=st.fractions(-4, 4))
def test_labelled_draws_are_worth_more_than_the_kept_ones(instance: tuple[Mirrored, int], threshold: Fraction) -> None:
    """Lower: J*(VB) >= J*(VF) where VF sees the base traces above a threshold and no labels."""
    book, n = instance
    assert _bayes(book.labelled(), n, book.best) >= _bayes(book.kept(threshold), n, book.best)


@checked_slowly
@given(instance=mirrored_codebooks(), share=st.fractions(0, 1))
def test_labelled_draws_are_worth_more_than_the_experts_on_the_codebook(
    instance: tuple[Mirrored, int], share: Fraction
) -> None:
    """Lower: J*(VB) >= J*(VF) where VF sees as many traces of the chi^2 expert, epsilon rho <= sigma."""
    book, n = instance
    epsilon = share / max(v for v, _ in book.levels)
    assert _bayes(book.labelled(), n, book.best) >= _bayes(book.expert(epsilon), n, book.best)


@checked
@given(size=st.integers(1, 5), share=st.fractions(0, 1), sign=st.sampled_from([1, -1]))
def test_mirrored_kernel_makes_the_experts_trace(size: int, share: Fraction, sign: int) -> None:
    """Identity: the better of {f, -f} with (1 + epsilon |f|)/2, whatever was drawn, has the expert's law."""
    f, epsilon = Fraction(size), share / size
    better = (1 + epsilon * f) / 2
    made = {f: Fraction(0), -f: Fraction(0)}
    for drawn in (f, -f):
        label = sign * drawn
        good = drawn if label > 0 else -drawn
        made[good] += better / 2
        made[-good] += (1 - better) / 2
    assert made == {out: (1 + epsilon * sign * out) / 2 for out in (f, -f)}


@_small
def test_labelled_draws_are_worth_more_than_the_solved_ones(family: RareSuccess, n: int) -> None:
    """Lower: J*(VB) >= J*(VF) on the rare-success family where VF sees the solved draws only."""
    assert family.vb(n) >= _bayes(family.solved(), n, family.best)


@checked_slowly
@given(instance=rare_successes(), share=st.fractions(0, 1, max_denominator=20))
def test_labels_are_worth_more_than_an_expert_twice_as_good(instance: tuple[RareSuccess, int], share: Fraction) -> None:
    """Lower: J*(VB) >= J*(VF) for every outside expert with c <= p_e <= 2c, for every n and M."""
    family, n = instance
    assert family.vb(n) >= family.vf(n, family.c * (1 + share))


@pytest.mark.parametrize("V", [3, 4, 5])
@checked
@given(share=st.fractions(0, 1))
def test_weak_kernel_makes_the_experts_token(V: int, share: Fraction) -> None:
    """Identity: repeat a solved token with p_e/c - 1, avoid a failed one: the law of an expert with p_e <= 2c."""
    c, others = Fraction(1, V), V - 1
    p_e = c * (1 + share)
    made = [Fraction(0)] * V  # gold is token 0
    for drawn in range(V):
        repeat = p_e / c - 1 if drawn == 0 else Fraction(0)
        for out in range(V):
            made[out] += c * (repeat if out == drawn else (1 - repeat) / others)
    assert made == [p_e] + [(1 - p_e) / others] * others


def test_without_equal_base_draws_the_claim_is_false() -> None:
    """|V| = 3, M = 3, n = 1: one token of a perfect outside expert is worth more than one labelled base draw."""
    family = RareSuccess(3, 3)
    assert family.vf(1, Fraction(1)) > family.vb(1)


@pytest.mark.parametrize("H", [1, 20])
def test_garbling_claims_zero(H: int) -> None:
    """The statement's number is 0 tokens, above the trivial -H."""
    answer = GARBLING.evaluate(H=H)
    assert (answer.value, answer.valid, answer.units) == (0.0, True, "tokens")


def test_garbling_encloses_zero() -> None:
    """In ball arithmetic it is 0, too."""
    assert GARBLING.enclose(H=3) == 0


# --- exact values of the rare-success family --------------------------------------------------------------------------


@_small
@_experts
def test_vf_loss_is_that_of_the_likeliest_hypothesis(family: RareSuccess, n: int, p_e: Fraction) -> None:
    """Equality: 1 - P_ok of the formula and of every data set, p_e = 1 and p_e < 1, ties included."""
    exact = _loss(family.vf_likeliest(n, p_e), family)
    assert vf_loss(n, math.log2(family.M), float(family.c), float(p_e)) == pytest.approx(exact, rel=1e-12)


@_small
def test_vb_random_loss_is_that_of_a_random_consistent_hypothesis(family: RareSuccess, n: int) -> None:
    """Equality: E_k[1 - psi_M(q_k)] and every labelled data set."""
    exact = _loss(family.vb_random(n), family)
    assert vb_random_loss(n, math.log2(family.M), float(family.c)) == pytest.approx(exact, rel=1e-12)


@_small
def test_every_vb_loses_the_shortfall(family: RareSuccess, n: int) -> None:
    """Lower: S <= the loss of the best VB, by its posterior on every data set."""
    assert vb_least_loss(n, math.log2(family.M), float(family.c)) <= _loss(family.vb(n), family) + 1e-12


@_small
@_experts
def test_every_vf_loses_its_bound(family: RareSuccess, n: int, p_e: Fraction) -> None:
    """Lower: 1 - sqrt(psi), or 1 - B, <= the loss of the best VF, by its posterior on every data set."""
    least = vf_least_loss(n, math.log2(family.M), float(family.c), float(p_e))
    assert least <= _loss(family.vf(n, p_e), family) + 1e-12


@_small
def test_best_learners_are_enclosed(family: RareSuccess, n: int) -> None:
    """Equality: the majority vote of the survivors is the best VB, and for p_e = 1 the best VF."""
    log2_M, c = math.log2(family.M), float(family.c)
    for (low, high), exact in (
        (vb_optimal_loss(n, log2_M, c), family.vb(n)),
        (vf_optimal_loss(n, log2_M, c), family.vf(n, Fraction(1))),
    ):
        assert low - 1e-12 <= _loss(exact, family) <= high + 1e-12
        assert high - low <= 1e-12


@_small
def test_learners_from_the_solved_draws_are_enclosed(family: RareSuccess, n: int) -> None:
    """Equality: E_k over the solved draws of the best VF's loss and of the likeliest's; the bound on every VF below."""
    log2_M, c = math.log2(family.M), float(family.c)
    best, likeliest = (_loss(_bayes(family.solved(), n, worth), family) for worth in (family.best, family.likeliest))
    low, high = vf_kept_optimal_loss(n, log2_M, c)
    assert low == pytest.approx(best, abs=1e-12)
    assert high == pytest.approx(best, abs=1e-12)
    assert vf_kept_loss(n, log2_M, c) == pytest.approx(likeliest, rel=1e-12)
    assert vf_kept_least_loss(n, log2_M, c) <= best + 1e-12


@checked
@given(n=st.integers(1, 200), log2_M=st.floats(1.0, 200.0), V=st.integers(2, 40))
def test_solved_draws_are_worth_less_than_all_and_less_than_an_experts(n: int, log2_M: float, V: int) -> None:
    """At any M: S <= E_k[1 - sqrt(psi_M(c^k))] <= the enclosure <= E_k[1 - psi_M(c^k)]; n expert traces lose less."""
    log2_M, c = math.log2(round(2.0**log2_M)), 1.0 / V
    low, high = vf_kept_optimal_loss(n, log2_M, c)
    mle, slack = vf_kept_loss(n, log2_M, c), 1.0 + 1e-9
    assert vb_least_loss(n, log2_M, c) <= vf_kept_least_loss(n, log2_M, c) * slack
    assert vf_kept_least_loss(n, log2_M, c) <= low * slack
    assert low <= high * slack
    assert high <= mle * slack
    assert vb_random_loss(n, log2_M, c) <= mle * slack
    assert vf_loss(n, log2_M, c) <= mle * slack


@checked
@given(n=st.integers(1, 200), log2_M=st.floats(1.0, 100.0), V=st.integers(2, 40))
def test_map_at_equal_draws(n: int, log2_M: float, V: int) -> None:
    """Labels win by garbling; intervals contain the explicit learners' and the certified margin lies between them."""
    found = kept_region(n, log2_M, 1.0 / V)
    assert (found.verdict, found.by) == ("VB provably better", "garbling")
    assert found.vb == region(n, log2_M, 1.0 / V).vb
    assert found.vf_mle <= found.vf[0] + 1e-12 <= found.vf[1] + 2e-12
    assert found.vb[1] >= found.vf[0] - 1e-12
    assert found.margin == pytest.approx(max(found.vb[0] - found.vf[1], 0.0), abs=1e-9)


@_small
@_experts
def test_advantage_is_below_the_exact_one(family: RareSuccess, n: int, p_e: Fraction) -> None:
    """Lower: H(1 - c)(S - P_miss) <= J(likeliest) - J*(VB), both by enumeration."""
    answer = CROSSOVER_VF_WINS.evaluate(H=10, n=n, log2_M=math.log2(family.M), c=float(family.c), p_e=float(p_e))
    assert answer.assumptions_hold
    assert answer.value <= 10 * float(family.vf_likeliest(n, p_e) - family.vb(n)) + 1e-11


@_small
def test_best_vf_never_loses_with_a_perfect_expert(family: RareSuccess, n: int) -> None:
    """Lower: for p_e = 1, J*(VF) >= J*(VB) for every n and M; strictly where |V| >= 3."""
    vf, vb = family.vf(n, Fraction(1)), family.vb(n)
    assert vf > vb if family.V > 2 else vf == vb


@pytest.mark.parametrize("p_e", [Fraction(1), Fraction(9, 10), Fraction(1, 2)], ids=str)
@pytest.mark.parametrize(("M", "n"), [(2, 1), (2, 3), (3, 2), (4, 2)])
def test_two_tokens_vf_never_wins(M: int, n: int, p_e: Fraction) -> None:
    """Lower: at c = 1/2 J*(VB) >= J*(VF) whatever the expert; equal for p_e = 1."""
    family = RareSuccess(2, M)
    vf, vb = family.vf(n, p_e), family.vb(n)
    assert vb == vf if p_e == 1 else vb >= vf


@pytest.mark.parametrize(("family", "n"), [(RareSuccess(3, 3), 2), (RareSuccess(2, 2), 1), (RareSuccess(4, 2), 3)])
@_experts
def test_cloning_keeps_the_experts_noise(family: RareSuccess, n: int, p_e: Fraction) -> None:
    """Equality: cloning is worth P_ok p_e + (1 - P_ok) c."""
    ok = 1 - _loss(family.vf_likeliest(n, p_e), family)
    expected = ok * float(p_e) + (1 - ok) * float(family.c)
    assert vf_cloning_value(n, math.log2(family.M), float(family.c), float(p_e)) == pytest.approx(expected, rel=1e-12)


def test_smallest_case_by_hand() -> None:
    """M = 2, n = 1, c = 1/2, p_e = 1: the wrong one ties half the time, so P_miss = 1/4 for VF and for a random VB."""
    assert (vf_loss(1, 1, 0.5), vb_random_loss(1, 1, 0.5)) == (pytest.approx(0.25), pytest.approx(0.25))


def _agreements(M: int, n: int, c: Fraction, p_e: Fraction) -> Fraction:
    """P_ok by all counts of agreement: the truth's from Bin(n, p_e), the others' from Bin(n, c)."""

    def pmf(k: int, p: Fraction) -> Fraction:
        return math.comb(n, k) * p**k * (1 - p) ** (n - k)

    total = Fraction(0)
    for truth, *others in itertools.product(range(n + 1), repeat=M):
        if max(others, default=-1) <= truth:
            chance = pmf(truth, p_e) * math.prod((pmf(k, c) for k in others), start=Fraction(1))
            total += chance / (1 + others.count(truth))
    return total


@checked
@given(
    M=st.integers(2, 4),
    n=st.integers(1, 4),
    c=st.fractions(Fraction(1, 50), Fraction(1, 2)),
    share=st.fractions(0, 1),
)
def test_p_ok_is_that_of_the_agreements(M: int, n: int, c: Fraction, share: Fraction) -> None:
    """Equality: sum_k b_k [(1-q_>)^M - (1-q_>=)^M]/(M q_=) and the enumeration of all counts, any c and p_e >= c."""
    p_e = Fraction(float(c + share * (1 - c)))
    exact = 1 - _agreements(M, n, Fraction(float(c)), p_e)
    assert vf_loss(n, math.log2(M), float(c), float(p_e)) == pytest.approx(float(exact), rel=1e-11, abs=1e-300)


@checked
@given(n=st.integers(1, 40), log2_M=st.floats(0.5, 500.0), c=st.floats(0.01, 0.5))
def test_perfect_expert_is_the_limit_of_good_ones(n: int, log2_M: float, c: float) -> None:
    """Equality: P_miss at p_e = 1 - 1e-12 is 1 - psi_M(c^n) to n 1e-12."""
    assert vf_loss(n, log2_M, c, 1 - 1e-12) == pytest.approx(vf_loss(n, log2_M, c), abs=1e-10)


# --- the fair draw in log space ---------------------------------------------------------------------------------------


@checked
@given(M=st.integers(2, 10**6), log2_q=st.floats(-300.0, 0.0))
def test_reciprocal_loss_is_what_is_missing_to_1(M: int, log2_q: float) -> None:
    """Equality: 1 - psi_M(q) in fractions, at any smallness."""
    q = Fraction(2.0**log2_q)
    if M * q < 1e-3:  # E[K/(1+K)] = (M-1) q/2 - (M-1)(M-2) q^2/6 + ..., alternating
        terms = [
            Fraction((-1) ** (i - 1), i + 1) * math.prod(range(M - i, M)) * q**i / math.factorial(i)
            for i in range(1, 9)
        ]
        exact = float(sum(terms))
    else:
        exact = 1.0 - (-math.expm1(M * math.log1p(-float(q))) / (M * float(q)) if q < 1 else 1.0 / M)
    found = float(mean_reciprocal_loss(math.log(M), log2_q * math.log(2.0)))
    assert found == pytest.approx(exact, rel=1e-9 if M * q > 1e-3 else 1e-11)


@checked
@given(log_M=st.floats(0.01, 300.0), log_q=st.floats(-600.0, 0.0))
def test_reciprocal_count_and_loss_sum_to_1(log_M: float, log_q: float) -> None:
    """Identity: psi + (1 - psi) = 1."""
    total = mean_reciprocal_count(log_M, log_q) + mean_reciprocal_loss(log_M, log_q)
    assert float(total) == pytest.approx(1.0, rel=1e-13)


@checked
@given(n=st.integers(1, 60), log_M=st.floats(0.01, 300.0), c=st.floats(0.001, 0.999))
def test_chance_and_loss_on_top_sum_to_1(n: int, log_M: float, c: float) -> None:
    """Identity: what a fair draw at the top hits and what it misses."""
    levels = log_binomial_pmf(n, c)
    assert chance_on_top(log_M, levels) + loss_on_top(log_M, levels) == pytest.approx(np.ones(n + 1), rel=1e-12)


# --- how values move --------------------------------------------------------------------------------------------------

_points = given(
    n=st.integers(1, 60),
    log2_M=st.floats(1.0, 200.0),
    V=st.integers(2, 40),
    share=st.one_of(st.just(1.0), st.floats(0.0, 1.0)),
)


@checked
@_points
def test_more_data_never_hurts(n: int, log2_M: float, V: int, share: float) -> None:
    """Every loss falls in n."""
    c = 1.0 / V
    p_e = c + share * (1.0 - c)
    for loss in (
        lambda n: vf_loss(n, log2_M, c, p_e),
        lambda n: vb_random_loss(n, log2_M, c),
        lambda n: vb_least_loss(n, log2_M, c),
    ):
        assert loss(n + 1) <= loss(n) * (1.0 + 1e-9)


@checked
@_points
def test_more_hypotheses_never_help(n: int, log2_M: float, V: int, share: float) -> None:
    """Every loss grows in M: psi_M(q) falls."""
    c = 1.0 / V
    p_e = c + share * (1.0 - c)
    for loss in (
        lambda b: vf_loss(n, b, c, p_e),
        lambda b: vb_random_loss(n, b, c),
        lambda b: vb_least_loss(n, b, c),
    ):
        assert loss(log2_M + 1.0) >= loss(log2_M) * (1.0 - 1e-9)


@checked
@_points
def test_bounds_are_in_order(n: int, log2_M: float, V: int, share: float) -> None:
    """S <= the best VB's loss <= a random one's; the bound on every VF <= that of the likeliest."""
    c = 1.0 / V
    p_e = c + share * (1.0 - c)
    log2_M = math.log2(round(2.0**log2_M))
    low, high = vb_optimal_loss(n, log2_M, c)
    assert vb_least_loss(n, log2_M, c) <= high * (1 + 1e-9)
    assert low <= vb_random_loss(n, log2_M, c) * (1 + 1e-9)
    assert vf_least_loss(n, log2_M, c, p_e) <= vf_loss(n, log2_M, c, p_e) * (1 + 1e-9)


@checked
@given(entries=st.lists(st.integers(-50, 50), min_size=2, max_size=6))
def test_largest_entry_of_a_vector_of_sum_0(entries: list[int]) -> None:
    """Upper: V max_a v_a^2 <= (V - 1) sum_a v_a^2 for v of sum 0, in whole numbers."""
    V = len(entries)
    v = [V * entry - sum(entries) for entry in entries]
    assert V * max(v) ** 2 <= (V - 1) * sum(x * x for x in v)


@pytest.mark.parametrize("V", [2, 3, 4, 10])
def test_largest_entry_is_tight(V: int) -> None:
    """Equality at (V - 1, -1, ..., -1): the constant (V - 1)/V cannot be improved."""
    v = [V - 1] + [-1] * (V - 1)
    assert V * max(v) ** 2 == (V - 1) * sum(x * x for x in v)


@pytest.mark.parametrize("V", [2, 3, 4])
def test_majority_vote_is_the_enumerated_one(V: int) -> None:
    """Equality: E max_a N_a / m over all V^m votes, m up to 6."""
    for m in range(1, 7):
        votes = itertools.product(range(V), repeat=m)
        solved = Fraction(sum(max(Counter(vote).values()) for vote in votes), m * V**m)
        assert plurality_loss(V)[m - 1] == pytest.approx(float((1 - solved) / (1 - Fraction(1, V))), abs=1e-13)


@pytest.mark.parametrize("V", [2, 3, 7, 64])
def test_majority_vote_loses_more_with_more_candidates(V: int) -> None:
    """The loss of the vote grows with the number of candidates and stays below 1 - 1/sqrt(m) and 1 - 1/m."""
    losses, m = plurality_loss(V), np.arange(1, 129)
    assert np.all(np.diff(losses) >= -1e-12)
    assert np.all((1.0 - 1.0 / np.sqrt(m) <= losses + 1e-12) & (losses <= 1.0 - 1.0 / m + 1e-12))


@pytest.mark.parametrize("log2_M", [5, 7, 7.5, 8, 8.5])
@pytest.mark.parametrize(("V", "n"), [(2, 1), (2, 2), (3, 1), (4, 2), (8, 1)])
def test_votes_of_many_candidates_are_enclosed(V: int, n: int, log2_M: float) -> None:
    """Equality where all of Bin(M-1, q) is summed: loss(m) to m = M, M about as large as the table of votes."""
    M = round(2.0**log2_M)
    votes, c = plurality_loss(V, M), 1.0 / V
    exact = float(np.exp(log_binomial_pmf(M - 1, c**n)) @ votes)
    low, high = vf_optimal_loss(n, log2_M, c)
    assert low - 1e-12 <= exact <= high + 1e-12
    kept = [votes[-1], *(float(np.exp(log_binomial_pmf(M - 1, c**k)) @ votes) for k in range(1, n + 1))]
    low, high = vf_kept_optimal_loss(n, log2_M, c)
    assert low - 1e-12 <= np.exp(log_binomial_pmf(n, c)) @ kept <= high + 1e-12


# --- certified ranges -------------------------------------------------------------------------------------------------

#: c, log2 M, first and last n of the notes, which use the constant sqrt(1 - c).
RANGES = ((1 / 4, 16, 6, 22), (1 / 8, 32, 7, 78), (1 / 64, 32, 3, 594))
_ranges = pytest.mark.parametrize(("c", "log2_M", "first", "last"), RANGES, ids=["1/4", "1/8", "1/64"])


@_ranges
def test_range_with_the_weaker_constant(c: float, log2_M: int, first: int, last: int) -> None:
    """With c + sqrt(1 - c) E sqrt(psi) for every VB, VF wins exactly from the first to the last n of the notes."""
    wins = [
        n
        for n in range(1, 2 * last)
        if 1.0 - (1.0 - c) * vf_loss(n, log2_M, c) > c + math.sqrt(1.0 - c) * (1.0 - vb_least_loss(n, log2_M, c))
    ]
    assert wins == list(range(first, last + 1))


def _late(n: int, log2_M: int, c: float) -> bool:
    """(c^2 + (1-c)^2)^n/4 > (M-1) c^n/2, in whole fractions."""
    share = Fraction(c)
    return (share**2 + (1 - share) ** 2) ** n > 2 * (2**log2_M - 1) * share**n


@_ranges
def test_range_with_the_proved_constant_has_no_end(c: float, log2_M: int, first: int, last: int) -> None:
    """With c + (1 - c) E sqrt(psi) VF wins for *every* n from the first on: by Arb, and by the closed form beyond."""
    closed = next(n for n in itertools.count(1) if _late(n, log2_M, c))
    assert first < closed < 20  # and from there on, since c^2 + (1-c)^2 > c
    signs = {n: CROSSOVER_VF_WINS.enclose(bits=256, H=1, n=n, log2_M=log2_M, c=c) for n in range(1, closed + 1)}
    assert [n for n in signs if signs[n] > 0] == list(range(first, closed + 1))
    assert all(signs[n] < 0 for n in range(1, first))


@checked
@given(n=st.integers(1, 400), log2_M=st.integers(1, 64), V=st.integers(3, 64))
def test_closed_form_is_below_the_advantage(n: int, log2_M: int, V: int) -> None:
    """Lower: H(1-c)[(c^2+(1-c)^2)^n/4 - (M-1) c^n/2] <= H(1-c)(S - P_miss) for p_e = 1."""
    c = 1.0 / V
    answer = CROSSOVER_VF_WINS.evaluate(H=1, n=n, log2_M=log2_M, c=c)
    closed = (1.0 - c) * ((c * c + (1 - c) ** 2) ** n / 4 - (2.0**log2_M - 1.0) * c**n / 2)
    assert closed <= answer.value + 1e-12 * max(1.0, abs(closed)) * min(1.0, answer.extras["S"])


@checked
@given(n=st.integers(1, 60), log2_M=st.integers(1, 64), V=st.integers(2, 64))
def test_kept_odds_compare_bounds_on_both_losses(n: int, log2_M: int, V: int) -> None:
    """Lower and upper: both closed forms lie on their sides of the exact losses; exp of the log odds is their ratio."""
    c, slack = 1.0 / V, 1.0 + 1e-9
    kept, labelled = (1.0 - c + c * c) ** n / 4, (2.0**log2_M - 1.0) * (c * c + (1 - c) ** 2) ** n / 2
    assert kept <= vf_kept_least_loss(n, log2_M, c) * slack
    assert vb_random_loss(n, log2_M, c) <= labelled * slack
    assert log_kept_odds(n, log2_M, c) == pytest.approx(math.log(kept / labelled), rel=1e-9, abs=1e-9)


@checked
@given(n=st.integers(1, 60), log2_M=st.integers(0, 64), V=st.integers(2, 64))
def test_late_odds_say_where_the_closed_form_is_positive(n: int, log2_M: int, V: int) -> None:
    """Equality: exp of the log odds and both sides of the closed form in whole fractions; M = 1 has no rival."""
    share = Fraction(1, V)
    gained, lost = (share**2 + (1 - share) ** 2) ** n / 4, (2**log2_M - 1) * share**n / 2
    found = log_late_odds(n, log2_M, 1.0 / V)
    if not lost:
        assert found == math.inf
    else:
        assert found == pytest.approx(math.log(gained / lost), rel=1e-9, abs=1e-9)


@checked
@given(n=st.integers(1, 200), log2_M=st.floats(1.0, 100.0))
def test_no_advantage_is_certified_at_two_tokens(n: int, log2_M: float) -> None:
    """At c = 1/2 the certified advantage is never positive, for any expert."""
    for p_e in (1.0, 0.9, 0.6):
        assert CROSSOVER_VF_WINS.evaluate(H=1, n=n, log2_M=log2_M, c=0.5, p_e=p_e).value <= 0.0


@pytest.mark.parametrize("p_e", [1.0, 0.9, 0.3])
@pytest.mark.parametrize(
    ("n", "log2_M", "c"), [(1, 1, 0.5), (7, 16, 0.25), (50, 32, 0.2), (300, 40, 0.125), (40, 4096, 0.01)]
)
def test_number_is_inside_its_enclosure(n: int, log2_M: float, c: float, p_e: float) -> None:
    """The float64 advantage lies in the 40-bit ball, and agrees with 200 bits to 1e-9 of the larger loss."""
    point = {"H": 100, "n": n, "log2_M": log2_M, "c": c, "p_e": p_e}
    answer = CROSSOVER_VF_WINS.evaluate(**point)
    coarse, fine = (CROSSOVER_VF_WINS.enclose(bits=bits, **point) for bits in (40, 200))
    assert coarse.contains(fine)
    scale = 100 * max(answer.extras["S"], answer.extras["P_miss"])
    assert abs(float(fine.mid()) - answer.value) <= 1e-9 * scale
    assert float(fine.rad()) <= 1e-30 * scale


def test_enclosure_of_too_many_levels_is_refused() -> None:
    """Ball arithmetic over more than 20,000 levels raises a ValueError that says so."""
    with pytest.raises(ValueError, match=r"n = 30000: ball arithmetic sums at most 20000 levels"):
        CROSSOVER_VF_WINS.enclose(H=1, n=30_000, log2_M=32, c=0.125)


def test_number_of_too_many_levels_is_refused() -> None:
    """More levels than are summed raise a ValueError that names n."""
    with pytest.raises(ValueError, match=r"n = 3000000: expected at most 2000000"):
        CROSSOVER_VF_WINS.evaluate(H=1, n=3_000_000, log2_M=32, c=0.125)


@pytest.mark.parametrize(
    ("c", "p_e", "holds"), [(0.3, 1.0, False), (1.0, 1.0, False), (0.2, 0.1, False), (1 / 3, 0.5, True)]
)
def test_family_needs_whole_vocabulary_and_an_expert(c: float, p_e: float, holds: bool) -> None:
    """1/c is a whole number >= 2 and the expert is no worse than the base."""
    answer = CROSSOVER_VF_WINS.evaluate(H=10, n=5, log2_M=8, c=c, p_e=p_e)
    assert answer.assumptions_hold is holds


def test_statement_speaks_of_its_family_only() -> None:
    """A codebook is not the rare-success family."""
    assert RARE_SUCCESS.contains(Instance("rare success"))
    assert not CROSSOVER_VF_WINS.speaks_of(Instance("codebook", signs="independent", law=symmetric_two_point(10, 0.5)))


# --- thresholds and break-even ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("c", "expected"), [(1 / 8, 0.48), (1 / 64, 0.087)])
def test_break_even_has_its_reference_value(c: float, expected: float) -> None:
    """KL(p_e || c) = h(c) at the notes' p_e, to their last digit."""
    assert break_even(c) == pytest.approx(expected, abs=10.0 ** -len(str(expected).partition(".")[2]))


@checked
@given(c=st.floats(1e-4, 0.49))
def test_break_even_is_proved_by_arb(c: float) -> None:
    """The enclosure contains the root and is no wider than 1e-12 of it."""
    ball = break_even_enclosure(c)
    assert ball.contains(break_even(c))
    assert float(ball.rad()) <= 1e-12 * break_even(c)


@checked
@given(c=st.floats(1e-6, 0.5))
def test_break_even_is_where_tokens_tell_what_labels_tell(c: float) -> None:
    """Equality: KL(break_even || c) = h(c), so that both thresholds agree."""
    vf, vb = thresholds(32, c, break_even(c))
    assert vf == pytest.approx(vb, rel=1e-9)


@checked
@given(c=st.floats(1e-6, 0.999))
def test_perfect_expert_tells_more_exactly_below_one_half(c: float) -> None:
    """Equality: KL(1 || c) - h(c) = (1 - c) log((1 - c)/c)."""
    gain = relative_entropy(1.0, c) - entropy(c)
    assert gain == pytest.approx((1.0 - c) * math.log((1.0 - c) / c), rel=1e-9, abs=1e-14)


def test_no_crossing_at_two_tokens() -> None:
    """KL(1 || 1/2) = log 2 = h(1/2): only a perfect expert breaks even."""
    assert (relative_entropy(1.0, 0.5), entropy(0.5), break_even(0.5)) == (
        math.log(2.0),
        pytest.approx(math.log(2.0)),
        1.0,
    )


@pytest.mark.parametrize("c", [0.0, 0.6, 1.0])
def test_break_even_outside_its_range_is_refused(c: float) -> None:
    """Beyond c = 1/2 no expert breaks even: ValueError."""
    with pytest.raises(ValueError, match=rf"c = {c}: expected 0 < c <= 1/2"):
        break_even(c)


def test_useless_expert_needs_infinitely_many_traces() -> None:
    """At p_e = c a token tells nothing, and the evaluation shows no threshold of VF."""
    assert thresholds(32, 0.25, 0.25)[0] == math.inf
    extras = CROSSOVER_VF_WINS.evaluate(H=10, n=5, log2_M=32, c=0.25, p_e=0.25).extras
    assert set(extras) == {"P_miss", "S", "vb_threshold"}


@pytest.mark.parametrize(("c", "log2_M"), [(0.125, 512), (0.25, 512), (1 / 64, 512)])
def test_learning_sets_in_at_the_thresholds(c: float, log2_M: float) -> None:
    """At a large class half the loss is gone within 15 % of L/KL(p_e || c) for VF and of L/h(c) for VB."""
    vf, vb = thresholds(log2_M, c, 0.7)
    assert vf_loss(round(0.85 * vf), log2_M, c, 0.7) > 0.5 > vf_loss(round(1.15 * vf), log2_M, c, 0.7)
    assert vb_random_loss(round(0.85 * vb), log2_M, c) > 0.5 > vb_random_loss(round(1.15 * vb), log2_M, c)


# --- the map ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "c", "p_e", "verdict", "by"),
    [
        (20, 0.5, 1.0, "equal", "garbling"),
        (20, 0.5, 0.9, "VB provably better", "garbling"),
        (20, 0.125, 0.25, "VB provably better", "garbling"),
        (20, 0.125, 1.0, "VF provably better", "garbling"),
        (40, 0.125, 0.6, "VF provably better", "bounds"),
        (60, 0.125, 0.4, "VB provably better", "bounds"),
        (5, 0.125, 0.6, "undecided", "nothing"),
    ],
)
def test_map_has_all_regions(n: int, c: float, p_e: float, verdict: str, by: str) -> None:
    """At 32 bits: labels win against weak experts, good experts win, and between them the bounds decide or do not."""
    found = region(n, 32, c, p_e)
    assert (found.verdict, found.by) == (verdict, by)
    assert (found.margin > 0.0) or by != "bounds"


@checked_slowly
@given(instance=rare_successes(), share=st.fractions(0, 1, max_denominator=30))
def test_map_agrees_with_the_exact_values(instance: tuple[RareSuccess, int], share: Fraction) -> None:
    """On small instances the intervals contain the exact best values and no verdict is wrong."""
    family, n = instance
    p_e = family.c + share * (1 - family.c)
    found = region(n, math.log2(family.M), float(family.c), max(float(p_e), float(family.c)))
    vf, vb = float(family.vf(n, p_e)), float(family.vb(n))
    assert found.vf[0] - 1e-9 <= vf <= found.vf[1] + 1e-9
    assert found.vb[0] - 1e-9 <= vb <= found.vb[1] + 1e-9
    if found.verdict != "undecided":
        sign = {"VB provably better": 1, "VF provably better": -1, "equal": 0}[found.verdict]
        assert sign * (vb - vf) >= found.margin - 1e-9
        assert sign or vb == pytest.approx(vf, abs=1e-12)


@pytest.mark.parametrize(("c", "p_e"), [(0.3, 0.5), (0.25, 0.2), (0.25, 1.5), (1.0, 1.0)])
def test_map_refuses_what_is_no_instance(c: float, p_e: float) -> None:
    """1/c a whole number >= 2 and c <= p_e <= 1, else ValueError."""
    with pytest.raises(ValueError, match=rf"c = {c}, p_e = {p_e}: expected 1/c a whole number >= 2"):
        region(5, 8, c, p_e)


def test_map_walks_its_grid_in_order() -> None:
    """Every point with p_e >= c once, in the order of the arguments."""
    points = [point for point, _ in region_map((0.5, 0.25), (1, 4), (8,), (0.3, 1.0))]
    assert points == [
        (0.5, 1, 8, 1.0), (0.5, 4, 8, 1.0), (0.25, 1, 8, 0.3), (0.25, 1, 8, 1.0), (0.25, 4, 8, 0.3), (0.25, 4, 8, 1.0),
    ]  # fmt: skip
