"""``planted-law``: the solve time of the planted task against all traces, and against other exact solutions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from strategies import checked, checked_slowly
from theory.expectation import value_on
from theory.formula import Formula
from theory.planted import (
    CLAIMS,
    MEAN,
    PLANTED_LAW,
    SD,
    PlantedMean,
    SolveTimeLaw,
    automaton,
    exit_flow,
    failure_function,
    j,
    k,
    mixture_law,
    o,
    p_T,
    q,
    solve_time_law,
    token_probabilities,
)
from theory.proof import Claim
from theory.symbols import H as HORIZON
from theory.theorem import Instance

Gold = tuple[int, ...]


@st.composite
def golds(draw: st.DrawFn, most_tokens: int = 3, longest: int = 3) -> tuple[Gold, int]:
    """(gold, |V|): any word, overlaps with itself often, over at least two tokens."""
    V = draw(st.integers(2, most_tokens))
    length = draw(st.integers(1, longest))
    return tuple(draw(st.lists(st.integers(0, V - 1), min_size=length, max_size=length))), V


@st.composite
def distinct_golds(draw: st.DrawFn, most_tokens: int = 4) -> tuple[Gold, int]:
    """(gold, |V|): a word without a repeated token."""
    V = draw(st.integers(2, most_tokens))
    return tuple(draw(st.permutations(range(V)))[: draw(st.integers(1, V))]), V


def weights() -> st.SearchStrategy[Fraction]:
    """e^gamma: odds of the next gold token against each other one, 1 where all tokens are equally likely."""
    return st.one_of(st.sampled_from([Fraction(1), Fraction(1, 100), Fraction(100)]), st.fractions(Fraction(1, 9), 9))


def _probabilities(V: int, weight: Fraction) -> tuple[Fraction, Fraction]:
    """q and o as the definition gives them."""
    return weight / (weight + V - 1), 1 / (weight + V - 1)


def _matched(tokens: Gold, gold: Gold) -> int:
    """Length of the longest prefix of the gold that ends ``tokens``, every length tried."""
    return next(k for k in range(min(len(tokens), len(gold)), -1, -1) if tokens[len(tokens) - k :] == gold[:k])


def _enumerated(gold: Gold, V: int, weight: Fraction, H: int) -> tuple[list[Fraction], Fraction]:
    """P(T = 1..H) and P(T > H): all traces, token by token, no automaton; what follows the solution sums to 1."""
    right, other = _probabilities(V, weight)
    masses = [Fraction(0)] * H
    alive: list[tuple[Gold, Fraction]] = [((), Fraction(1))]
    for t in range(H):
        longer = []
        for trace, p in alive:
            wanted = gold[_matched(trace, gold)]
            for token in range(V):
                grown, chance = (*trace, token), p * (right if token == wanted else other)
                if grown[-len(gold) :] == gold:
                    masses[t] += chance
                else:
                    longer.append((grown, chance))
        alive = longer
    return masses, sum((p for _, p in alive), Fraction(0))


def _flow(gold: Gold, V: int, weight: Fraction, H: int) -> tuple[list[Fraction], Fraction]:
    """The library's recursion, run on fractions."""
    right, other = (np.array([p], dtype=object) for p in _probabilities(V, weight))
    masses, never = exit_flow(automaton(gold, V), right, other, H)
    return list(masses[:, 0]), never[0]


def _mean_return(masses: Sequence[Fraction]) -> Fraction:
    return sum(((len(masses) - t) * p for t, p in enumerate(masses)), Fraction(0))


def _mean_square(masses: Sequence[Fraction]) -> Fraction:
    return sum(((len(masses) - t) ** 2 * p for t, p in enumerate(masses)), Fraction(0))


def _borders(gold: Gold) -> list[int]:
    """Lengths of all words, the gold itself too, that begin and end it."""
    return [k for k in range(1, len(gold) + 1) if gold[:k] == gold[-k:]]


@checked_slowly
@given(task=golds(), weight=weights(), H=st.integers(1, 6))
def test_law_is_that_of_all_traces(task: tuple[Gold, int], weight: Fraction, H: int) -> None:
    """Equality of fractions: P(T = t) for every t <= H and P(T > H), golds that overlap themselves included."""
    assert _flow(*task, weight, H) == _enumerated(*task, weight, H)


@checked
@given(task=golds(most_tokens=4, longest=6), weight=weights(), H=st.integers(1, 30))
def test_masses_sum_to_one(task: tuple[Gold, int], weight: Fraction, H: int) -> None:
    """P(T = 1) + ... + P(T = H) + P(T > H) = 1 without rounding."""
    masses, never = _flow(*task, weight, H)
    assert sum(masses) + never == 1


@checked
@given(V=st.integers(2, 50), weight=weights(), H=st.integers(1, 20))
def test_gold_of_one_token_is_geometric(V: int, weight: Fraction, H: int) -> None:
    """ell = 1: P(T = t) = q (1 - q)^(t - 1)."""
    right, _ = _probabilities(V, weight)
    assert _flow((V - 1,), V, weight, H)[0] == [right * (1 - right) ** t for t in range(H)]


@checked
@given(task=golds(), weight=weights())
def test_one_step_solves_gold_of_one_token_only(task: tuple[Gold, int], weight: Fraction) -> None:
    """H = 1: P(T = 1) = q if ell = 1, else 0."""
    gold, V = task
    assert _flow(gold, V, weight, 1)[0] == [_probabilities(V, weight)[0] if len(gold) == 1 else 0]


@checked
@given(task=golds(longest=6), weight=weights())
def test_gold_longer_than_the_budget_is_never_completed(task: tuple[Gold, int], weight: Fraction) -> None:
    """ell > H: P(T > H) = 1; and at H = ell the only way is q^ell."""
    gold, V = task
    if len(gold) > 1:
        masses, never = _flow(gold, V, weight, len(gold) - 1)
        assert (sum(masses), never) == (0, 1)
    assert _flow(gold, V, weight, len(gold))[0][-1] == _probabilities(V, weight)[0] ** len(gold)


@checked
@given(task=golds(most_tokens=4, longest=6))
def test_uniform_tokens_wait_as_long_as_the_borders_say(task: tuple[Gold, int]) -> None:
    """gamma = 0, Conway: E T = sum of |V|^k over the borders of the gold, itself included."""
    gold, V = task
    moves = automaton(gold, V)
    size = moves.length
    step = flint.fmpq_mat(size, size)  # I - P: the expected waits w from each state solve (I - P) w = 1
    for state in range(size):
        step[state, 0] -= flint.fmpq(int(moves.fallen[state]), V)
        step[state, state] += 1
        if state + 1 < size:
            step[state, state + 1] -= flint.fmpq(1, V)
    for source, target in zip(moves.source, moves.target, strict=True):
        step[int(source), int(target)] -= flint.fmpq(1, V)
    waits = step.solve(flint.fmpq_mat(size, 1, [1] * size))
    assert waits[0, 0] == sum(V**k for k in _borders(gold))


@checked
@given(task=golds(most_tokens=4, longest=6))
def test_uniform_tokens_follow_the_autocorrelation(task: tuple[Gold, int]) -> None:
    """gamma = 0: the sum of |V|^t P(T = t) z^t is z^ell/(z^ell + (1 - |V|z) c(z)), c = sum of z^(ell - border)."""
    gold, V = task
    H, size = 40, len(gold)
    overlap = [Fraction(0)] * (size + 1)
    for border in _borders(gold):
        overlap[size - border] += 1
    below = [a - V * (overlap[i - 1] if i else 0) for i, a in enumerate(overlap)]
    below[size] += 1
    series: list[Fraction] = []
    for t in range(H + 1):
        rest = sum((below[i] * series[t - i] for i in range(1, min(t, size) + 1)), Fraction(0))
        series.append((Fraction(int(t == size)) - rest) / below[0])
    assert _flow(gold, V, Fraction(1), H)[0] == [a / Fraction(V) ** t for t, a in enumerate(series)][1:]


@pytest.mark.parametrize("gold", [(0, 1, 2), (0, 1, 0, 1, 0), (1,)])
@pytest.mark.parametrize("gamma", [-30.0, 0.0, 5.0])
def test_double_precision_is_accurate_relative_to_each_mass(gold: Gold, gamma: float) -> None:
    """512 steps over 30 tokens: every mass that is no subnormal number is right to 1e-12 of itself."""
    H, V = 512, 30
    law = solve_time_law(gold, V, gamma, H)
    exact = (np.array([Fraction(float(p[0]))], dtype=object) for p in token_probabilities(V, [gamma]))
    masses, never = exit_flow(automaton(gold, V), *exact, H)
    np.testing.assert_allclose(law.masses, masses[:, 0].astype(float), rtol=1e-12, atol=1e-308)
    assert law.never == pytest.approx(float(never[0]), rel=1e-12)


def test_differences_of_survival_would_lose_tiny_masses() -> None:
    """At gamma = -30 all masses are below 1e-40: 1 - P(T > H) has no digit of them, their sum has all."""
    law = solve_time_law((0, 1, 2), 30, -30.0, 512)
    assert 0.0 < law.solve_rate < 1e-40
    assert abs(1.0 - law.never - law.solve_rate) > 0.5 * law.solve_rate


@checked
@given(V=st.integers(2, 10**6), gamma=st.floats(-800.0, 800.0))
def test_tokens_have_the_probabilities_of_their_weights(V: int, gamma: float) -> None:
    """q/o = e^gamma and q + (|V| - 1) o = 1, without overflow; and q, o are the claims' own formulas."""
    right, other = (float(p[0]) for p in token_probabilities(V, [gamma]))
    assert right + (V - 1) * other == pytest.approx(1.0, rel=1e-14)
    if abs(gamma) < 600.0:
        assert math.log(right) - math.log(other) == pytest.approx(gamma, rel=1e-13, abs=1e-13)
        point = {"V": float(V), "gamma": gamma}
        assert right == pytest.approx(Formula(_claim("next-gold").relation.rhs).at(point), rel=1e-12)
        assert other == pytest.approx(Formula(_claim("next-other").relation.rhs).at(point), rel=1e-12)


def _claim(name: str) -> Claim:
    return PLANTED_LAW.claim(name)


@checked_slowly
@given(task=golds(), weight=weights(), H=st.integers(1, 5))
def test_moments_claimed_are_those_of_all_traces(task: tuple[Gold, int], weight: Fraction, H: int) -> None:
    """The symbolic claims 'mean' and 'variance' hold with enumerated masses, in fractions."""
    masses, _ = _enumerated(*task, weight, H)
    values: dict[Any, Any] = {p_T.label: masses, HORIZON: H, MEAN: _mean_return(masses)}
    assert value_on(_claim("mean").relation.rhs, values) == _mean_return(masses)
    variance = value_on(_claim("variance").relation.rhs, values)
    assert variance == _mean_square(masses) - _mean_return(masses) ** 2
    assert _claim("variance").relation.lhs == SD**2


@checked_slowly
@given(task=distinct_golds(most_tokens=3), weight=weights(), H=st.integers(1, 6))
def test_evaluated_moments_are_those_of_all_traces(task: tuple[Gold, int], weight: Fraction, H: int) -> None:
    """E R, solve rate and sd that the statement reports for a gold of distinct tokens."""
    gold, V = task
    answer = PLANTED_LAW.evaluate(V=V, ell=len(gold), gamma=math.log(weight), H=H)
    masses, _ = _enumerated(gold, V, weight, H)
    assert answer.valid
    assert answer.value == pytest.approx(float(_mean_return(masses)), rel=1e-12)
    assert answer.extras["solve_rate"] == pytest.approx(float(sum(masses)), rel=1e-12)
    variance = _mean_square(masses) - _mean_return(masses) ** 2
    assert answer.extras["sigma"] == pytest.approx(math.sqrt(variance), rel=1e-9)


@checked
@given(task=distinct_golds(), gamma=st.floats(-20.0, 20.0), H=st.integers(1, 60))
def test_statement_and_law_agree(task: tuple[Gold, int], gamma: float, H: int) -> None:
    """The statement's number for ell distinct tokens is the mean of the law of any such gold."""
    gold, V = task
    value = PLANTED_LAW.evaluate(V=V, ell=len(gold), gamma=gamma, H=H).value
    assert value == pytest.approx(solve_time_law(gold, V, gamma, H).mean_return, rel=1e-12, abs=1e-300)


@checked
@given(V=st.integers(2, 50), ell=st.integers(1, 6), gamma=st.floats(-20.0, 20.0), H=st.integers(1, 128))
def test_ball_contains_the_evaluated_number(V: int, ell: int, gamma: float, H: int) -> None:
    """The Arb enclosure holds the float64 value and is narrow."""
    point = {"V": V, "ell": ell, "gamma": gamma, "H": H}
    ball = PLANTED_LAW.enclose(**point)
    assert ball.contains(flint.arb(PLANTED_LAW.evaluate(**point).value))
    assert ball == 0 or ball.rel_accuracy_bits() >= 20


@checked
@given(task=golds(), gammas=st.lists(st.floats(-5.0, 5.0), min_size=1, max_size=4), data=st.data())
def test_mixture_is_linear(task: tuple[Gold, int], gammas: list[float], data: st.DataObject) -> None:
    """The law of a mixture is the mixture of the laws, T and 'never' alike."""
    shares = data.draw(st.lists(st.integers(0, 9), min_size=len(gammas), max_size=len(gammas)).filter(any))
    weight = [w / sum(shares) for w in shares]
    mixed = mixture_law(*task, gammas, weight, 20)
    laws = [solve_time_law(*task, gamma, 20) for gamma in gammas]
    expected = sum((w * law.masses for w, law in zip(weight, laws, strict=True)), np.zeros(20))
    np.testing.assert_allclose(mixed.masses, expected, rtol=1e-12)
    assert mixed.never == pytest.approx(sum(w * law.never for w, law in zip(weight, laws, strict=True)), rel=1e-12)


@checked
@given(task=golds(), gamma=st.floats(-5.0, 5.0), H=st.integers(1, 40))
def test_return_law_has_the_same_moments(task: tuple[Gold, int], gamma: float, H: int) -> None:
    """R = (H - T + 1)^+ as a ReturnLaw: mean, sd and mass above 0 are those of T."""
    law = solve_time_law(*task, gamma, H)
    returns = law.return_law()
    assert returns.mean == pytest.approx(law.mean_return, rel=1e-9, abs=1e-300)
    assert returns.sd == pytest.approx(law.sd_return, rel=1e-9, abs=1e-12)
    assert float(returns.probabilities[returns.values > 0].sum()) == pytest.approx(law.solve_rate, rel=1e-9)


def test_sure_solution_has_the_full_return_at_once() -> None:
    """gamma = 800: q = 1 in float64, so T = ell, R = H - ell + 1, sd 0."""
    law = solve_time_law((0, 1, 2), 10, 800.0, 20)
    assert (law.solve_rate, law.mean_return, law.sd_return, law.never) == (1.0, 18.0, 0.0, 0.0)


@checked
@given(task=golds(longest=8))
def test_failure_function_is_the_longest_proper_border(task: tuple[Gold, int]) -> None:
    """By trying every length."""
    gold, _ = task
    expected = tuple(max([0, *(b for b in _borders(gold[:k]) if b < k)]) for k in range(1, len(gold) + 1))
    assert failure_function(gold) == expected


@checked
@given(task=golds(most_tokens=4, longest=8))
def test_automaton_moves_to_the_longest_matching_prefix(task: tuple[Gold, int]) -> None:
    """Wrong tokens from every state lead where trying every length says, as often as counted."""
    gold, V = task
    moves = automaton(gold, V)
    expected = sorted(
        (_matched((*gold[:k], token), gold), k) for k in range(len(gold)) for token in range(V) if token != gold[k]
    )
    assert list(zip(moves.target, moves.source, strict=True)) == [pair for pair in expected if pair[0] > 0]
    assert list(moves.fallen) == [sum(pair == (0, k) for pair in expected) for k in range(len(gold))]


@checked_slowly
@given(task=distinct_golds(), weight=weights())
def test_moves_claimed_for_distinct_tokens_are_those_of_the_automaton(task: tuple[Gold, int], weight: Fraction) -> None:
    """The claim 'distinct' at numbers: P(k -> j) from every state, found by trying every length."""
    gold, V = task
    chances = _probabilities(V, weight)
    rational = {letter: sympy.Rational(p.numerator, p.denominator) for letter, p in zip((q, o), chances, strict=True)}
    right = _claim("distinct").relation.rhs.subs(rational)
    for state, target in itertools.product(range(len(gold)), range(len(gold) + 1)):
        tokens = [a for a in range(V) if _matched((*gold[:state], a), gold) == target]
        expected = sum((chances[0] if a == gold[state] else chances[1] for a in tokens), Fraction(0))
        assert right.subs({k: state, j: target}) == sympy.Rational(expected.numerator, expected.denominator)


@checked
@given(task=golds(most_tokens=6, longest=30))
def test_automaton_has_at_most_as_many_moves_back_as_tokens(task: tuple[Gold, int]) -> None:
    """Moves of wrong tokens to states >= 1 number at most ell, so that a step of the recursion costs O(ell)."""
    assert automaton(*task).source.size <= len(task[0])


def test_assumption_of_distinct_tokens_is_needed() -> None:
    """(0, 0) waits longer than (0, 1) for uniform tokens: the statement's number is that of the latter only."""
    value = PLANTED_LAW.evaluate(V=2, ell=2, gamma=0.0, H=10).value
    assert value == pytest.approx(solve_time_law((0, 1), 2, 0.0, 10).mean_return, rel=1e-12)
    assert solve_time_law((0, 0), 2, 0.0, 10).mean_return < value - 0.5


def test_more_distinct_tokens_than_there_are_is_marked() -> None:
    """ell > |V|: the assumption fails by name and the number is not valid."""
    answer = PLANTED_LAW.evaluate(V=2, ell=3, gamma=1.0, H=20)
    assert not answer.valid
    assert [c.name for c in answer.conditions if not c.holds] == ["ell <= V (a gold of distinct tokens exists)"]


def test_law_speaks_of_the_planted_task_only() -> None:
    """A prediction anywhere else."""
    assert PLANTED_LAW.speaks_of(Instance("planted"))
    assert not PLANTED_LAW.speaks_of(Instance("codebook", "independent"))


def test_last_claim_is_the_number() -> None:
    """What is evaluated is the right side of the claim 'value'."""
    assert CLAIMS[-1] is _claim("value")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), 3, [0.0], [1.0], 5), r"gold = \(\): expected at least one token"),
        (((0, 3), 3, [0.0], [1.0], 5), r"gold = \(0, 3\): expected .* each in 0\.\.2"),
        (((0,), 3, [0.0, 1.0], [1.0], 5), "expected a probability for each of 2 gammas"),
        (((0,), 3, [0.0, 1.0], [0.4, 0.4], 5), r"weights = \[0\.4, 0\.4\]"),
        (((0,), 3, [0.0, 1.0], [1.5, -0.5], 5), r"weights = \[1\.5, -0\.5\]"),
        (((0,), 3, [0.0], [1.0], 0), "H = 0: expected H >= 1"),
    ],
)
def test_ill_formed_task_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    """Golds, weights and budgets that are none raise ValueError that shows them."""
    with pytest.raises(ValueError, match=message):
        mixture_law(*arguments)


def test_ball_of_no_whole_number_has_no_enclosure() -> None:
    """A budget that is not known to be one whole number raises ArithmeticError."""
    with pytest.raises(ArithmeticError, match="expected a ball around one whole number"):
        PlantedMean.ball(*map(flint.arb, (4, 2, 0.0, 2.5)))


def test_law_knows_its_horizon() -> None:
    """H is the number of masses."""
    assert SolveTimeLaw(np.array([0.25, 0.5]), 0.25).horizon == 2
