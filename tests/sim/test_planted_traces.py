"""Traces of the planted base as arrays: their law of T, and the law of each next token against enumeration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.tasks.planted import Planted, solve_times
from sim.tasks.planted_traces import AFTER, Automata, draw_traces, predictive
from sim.tasks.token_task import source
from strategies import ROUNDING, checked, checked_slowly

#: The first completes itself again from a border of 2 tokens, the second from one of 1.
GOLDS = ((1, 1, 1), (0, 1, 0), (0, 1, 2))
STANDARD_ERRORS = 5.0


def mixture(**changes: Any) -> Planted:
    """Three golds of 3 tokens out of 4, two of them overlapping themselves; the true map is the identity."""
    fields: dict[str, Any] = {"V": 4, "ell": 3, "H": 20, "gammas": (-0.5, 2.5), "weights": (0.4, 0.6)}
    return Planted(**{**fields, "M": None, "prompts": GOLDS, **changes})


def chances(task: Planted, gold: Sequence[int], seen: Sequence[int], gamma: float, after: str) -> list[float]:
    """P(next token | gamma, seen) of mu_gamma, by looking at everything that was emitted: no automaton."""
    ell = len(gold)
    has_solved = any(tuple(seen[i : i + ell]) == tuple(gold) for i in range(len(seen) - ell + 1))
    if after == "uniform" and has_solved:
        return [1.0 / task.V] * task.V
    matched = max(k for k in range(ell) if k <= len(seen) and tuple(seen[len(seen) - k :]) == tuple(gold[:k]))
    right = math.exp(gamma) / (math.exp(gamma) + task.V - 1)
    return [right if v == gold[matched] else (1.0 - right) / (task.V - 1) for v in range(task.V)]


def joint(task: Planted, gold: Sequence[int], trace: Sequence[int], after: str) -> float:
    """P(the trace's tokens) when gamma is drawn once a trace: a sum over gamma of products over tokens."""
    total = 0.0
    for gamma, weight in zip(task.gammas, task.weights, strict=True):
        product = weight
        for h, token in enumerate(trace):
            product *= chances(task, gold, trace[:h], gamma, after)[token]
        total += product
    return total


@st.composite
def small_mixtures(draw: st.DrawFn) -> Planted:
    """|V| = 2 or 3, one prompt of 1..3 tokens, H = 4, one to three gammas of any weights; any gold is possible."""
    V, ell = draw(st.integers(2, 3)), draw(st.integers(1, 3))
    word = tuple(draw(st.lists(st.integers(0, V - 1), min_size=ell, max_size=ell)))
    gammas = tuple(draw(st.lists(st.floats(-4.0, 4.0), min_size=1, max_size=3)))
    parts = np.array(draw(st.lists(st.integers(1, 100), min_size=len(gammas), max_size=len(gammas))), dtype=np.float64)
    weights = tuple((parts / parts.sum()).tolist())
    return Planted(V=V, ell=ell, H=4, gammas=gammas, weights=weights, M=None, prompts=(word,))


@pytest.mark.parametrize("after", AFTER)
def test_solve_times_follow_the_exact_law(after: str) -> None:
    """P(T = t | x) of 30000 traces a prompt is that of ``planted-law`` within 5 standard errors, never too."""
    task, each = mixture(), 30_000
    automata, prompt = Automata.of(task), np.repeat(np.arange(3), each)
    tokens, _ = draw_traces(task, automata, prompt, source(11, 0), after)
    times = solve_times(tokens, automata.golds[prompt])
    for x, law in enumerate(task.solve_time_laws()):
        seen = np.bincount(times[prompt == x], minlength=task.H + 1) / each
        exact = np.concatenate([[law.never], law.masses])
        often = exact * each >= 25.0
        assert often.sum() >= 15
        error = np.sqrt(exact * (1.0 - exact) / each)
        assert (abs(seen - exact)[often] <= STANDARD_ERRORS * error[often]).all()
        np.testing.assert_array_equal(seen[exact == 0.0], 0.0)


@pytest.mark.parametrize("after", AFTER)
def test_traces_have_the_law_of_the_mixture(after: str) -> None:
    """Whole traces of 4 tokens, all 81 of them, occur as often as the mixture says, within 5 standard errors.

    After 0 1 0 the next gold token is 1: what is left of the gold is its border.
    """
    task, draws = mixture(V=3, H=4, prompts=((0, 1, 0),)), 60_000
    tokens, _ = draw_traces(task, Automata.of(task), np.zeros(draws, dtype=np.int64), source(5, 0), after)
    seen = np.bincount(tokens @ 3 ** np.arange(4), minlength=81) / draws
    for trace in itertools.product(range(3), repeat=4):
        exact = joint(task, (0, 1, 0), trace, after)
        share = seen[int(np.array(trace) @ 3 ** np.arange(4))]
        assert abs(share - exact) <= STANDARD_ERRORS * math.sqrt(exact * (1.0 - exact) / draws), trace


def test_gammas_are_drawn_with_their_weights() -> None:
    """The number of a trace's gamma has the mixture's weights within 5 standard errors."""
    task, draws = mixture(gammas=(0.0, 1.0, 2.0), weights=(0.5, 0.2, 0.3)), 20_000
    _, component = draw_traces(task, Automata.of(task), np.zeros(draws, dtype=np.int64), source(2, 0))
    weights = np.array(task.weights)
    seen = np.bincount(component, minlength=3) / draws
    assert (abs(seen - weights) <= STANDARD_ERRORS * np.sqrt(weights * (1.0 - weights) / draws)).all()


def test_what_follows_a_solution_tells_the_two_apart() -> None:
    """A focused trace completes 1 1 1 again at once under ``continue``, by chance only (1 of 4) under ``uniform``."""
    task = mixture(gammas=(3.0,), weights=(1.0,))
    automata, prompt = Automata.of(task), np.zeros(4000, dtype=np.int64)
    again = {}
    for after in AFTER:
        tokens, _ = draw_traces(task, automata, prompt, source(4, 0), after)
        times = solve_times(tokens, automata.golds[prompt])
        usable = np.flatnonzero((times > 0) & (times < task.H))
        again[after] = tokens[usable, times[usable]] == 1
    right = math.exp(3.0) / (math.exp(3.0) + 3.0)
    for after, exact in (("continue", right), ("uniform", 0.25)):
        error = math.sqrt(exact * (1.0 - exact) / again[after].size)
        assert abs(again[after].mean() - exact) <= STANDARD_ERRORS * error


@given(small_mixtures(), st.sampled_from(AFTER))
@checked_slowly
def test_predictive_chains_to_the_probability_of_the_trace(task: Planted, after: str) -> None:
    """The product of the chances of a trace's tokens is P(trace), for all V^H traces; these add up to 1."""
    tokens = np.array(list(itertools.product(range(task.V), repeat=task.H)))
    known = predictive(task, Automata.of(task), np.zeros(len(tokens), dtype=np.int64), tokens, after)
    taken = np.where(tokens == known.gold, known.chance, (1.0 - known.chance) / (task.V - 1))
    exact = np.array([joint(task, task.words[0].tolist(), trace, after) for trace in tokens.tolist()])
    np.testing.assert_allclose(taken.prod(axis=1), exact, rtol=ROUNDING, atol=0.0)
    assert math.isclose(exact.sum(), 1.0, rel_tol=ROUNDING)


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("gold", list(itertools.product(range(2), repeat=3)), ids=str)
def test_predictive_goes_on_from_any_border(gold: tuple[int, ...], after: str) -> None:
    """For each gold of 3 tokens of 2, whatever it overlaps itself by: P(trace) of all 64 traces of 6 tokens."""
    task = mixture(V=2, H=6, prompts=(gold,))
    tokens = np.array(list(itertools.product(range(2), repeat=6)))
    known = predictive(task, Automata.of(task), np.zeros(64, dtype=np.int64), tokens, after)
    taken = np.where(tokens == known.gold, known.chance, 1.0 - known.chance)
    exact = [joint(task, gold, trace, after) for trace in tokens.tolist()]
    np.testing.assert_allclose(taken.prod(axis=1), exact, rtol=ROUNDING, atol=0.0)


@given(small_mixtures(), st.sampled_from(AFTER), st.data())
@checked
def test_predictive_is_the_ratio_of_prefixes(task: Planted, after: str, data: st.DataObject) -> None:
    """P(gold token | seen) = P(seen, gold token)/P(seen), at every place of a trace, as far as rounding goes."""
    trace = data.draw(st.lists(st.integers(0, task.V - 1), min_size=task.H, max_size=task.H))
    known = predictive(task, Automata.of(task), np.zeros(1, dtype=np.int64), np.array([trace]), after)
    gold = task.words[0].tolist()
    for h in range(task.H):
        seen = trace[:h]
        ratio = joint(task, gold, [*seen, int(known.gold[0, h])], after) / joint(task, gold, seen, after)
        assert math.isclose(known.chance[0, h], ratio, rel_tol=ROUNDING), (h, known.chance[0, h], ratio)


@pytest.mark.parametrize("after", AFTER)
def test_drawn_tokens_are_gold_as_often_as_predicted(after: str) -> None:
    """Gold tokens at each step number the sum of their chances within 5 standard errors, 10000 traces."""
    task, count = mixture(), 10_000
    automata, prompt = Automata.of(task), np.arange(count) % 3
    tokens, _ = draw_traces(task, automata, prompt, source(8, 0), after)
    known = predictive(task, automata, prompt, tokens, after)
    surplus = (tokens == known.gold) - known.chance  # mean 0 whatever was seen
    error = np.sqrt((known.chance * (1.0 - known.chance)).sum(axis=0))
    assert (abs(surplus.sum(axis=0)) <= STANDARD_ERRORS * error).all()


def test_other_tokens_are_equally_likely() -> None:
    """Of the tokens that are not the gold one each is drawn equally often, within 5 standard errors."""
    task, count = mixture(gammas=(0.0,), weights=(1.0,)), 3000
    automata, prompt = Automata.of(task), np.zeros(count, dtype=np.int64)
    tokens, _ = draw_traces(task, automata, prompt, source(9, 0))
    known = predictive(task, automata, prompt, tokens)
    others = tokens[tokens != known.gold]
    seen = np.bincount(others, minlength=4)[[0, 2, 3]]  # every token of the gold is 1
    assert seen.sum() == others.size
    assert (abs(seen - others.size / 3) <= STANDARD_ERRORS * math.sqrt(others.size * 2 / 9)).all()


@given(small_mixtures())
@checked_slowly
def test_entropy_is_that_of_the_law_of_a_token(task: Planted) -> None:
    """``entropy`` is -sum p log p over the tokens, nats."""
    tokens = np.array(list(itertools.product(range(task.V), repeat=task.H)))
    known = predictive(task, Automata.of(task), np.zeros(len(tokens), dtype=np.int64), tokens)
    rest = (1.0 - known.chance) / (task.V - 1)
    law = np.stack([known.chance, *[rest] * (task.V - 1)])
    np.testing.assert_allclose(known.entropy(task.V), -(law * np.log(law)).sum(axis=0), rtol=ROUNDING, atol=1e-12)


@pytest.mark.parametrize("after", AFTER)
def test_one_key_gives_one_set_of_traces(after: str) -> None:
    """The same key draws the same tokens and gammas, another key others."""
    task, prompt = mixture(), np.arange(60) % 3
    automata = Automata.of(task)
    first, same, other = (draw_traces(task, automata, prompt, source(seed, 0), after) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], same[0])
    np.testing.assert_array_equal(first[1], same[1])
    assert (first[0] != other[0]).any()


def test_after_is_checked() -> None:
    """An unknown ``after`` is refused with one line that names what is known."""
    task = mixture()
    automata, prompt = Automata.of(task), np.zeros(2, dtype=np.int64)
    expected = r"after = never: expected one of continue, uniform\Z"
    with pytest.raises(ValueError, match=expected):
        draw_traces(task, automata, prompt, source(0, 0), "never")
    with pytest.raises(ValueError, match=expected):
        predictive(task, automata, prompt, np.zeros((2, 20), dtype=np.int64), "never")
