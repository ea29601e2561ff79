"""What attempts are worth at a budget, against enumeration of all orders written out step by step."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_validation.llama_math.budgets import RULES, Pool, worth
from strategies import checked

EXACT = 1e-12
STANDARD_ERRORS = 5.0


@st.composite
def pools(draw: st.DrawFn, most: int = 5) -> Pool:
    """Up to five attempts: small whole costs, few scores (ties), answers of which some are right, some none."""
    m = draw(st.integers(1, most))
    right_answer = draw(st.integers(0, 2))
    answer = draw(st.lists(st.integers(-1, 2), min_size=m, max_size=m))
    cost = draw(st.lists(st.integers(1, 4), min_size=m, max_size=m))
    score = draw(st.lists(st.sampled_from([0.25, 0.5, 0.75]), min_size=m, max_size=m))
    right = [float(found == right_answer) for found in answer]
    return Pool(np.array(cost, dtype=np.float64), np.array(right), np.array(score), np.array(answer))


def by_hand(pool: Pool, budget: float, rule: str) -> tuple[Fraction, Fraction, Fraction]:
    """P(right), mean cost, P(exhausted) over all orders, each taken one attempt at a time."""
    value, spent, exhausted, orders = Fraction(0), Fraction(0), Fraction(0), 0
    for order in itertools.permutations(range(pool.cost.size)):
        taken: list[int] = []
        left = budget
        for i in order:
            if pool.cost[i] > left:
                break
            left -= float(pool.cost[i])
            taken.append(i)
        orders += 1
        everything = len(taken) == pool.cost.size
        exhausted += everything
        spent += Fraction(float(pool.cost.sum()) if everything else budget)
        value += picked(pool, [i for i in taken if pool.answer[i] >= 0], rule)
    return value / orders, spent / orders, exhausted / orders


def picked(pool: Pool, known: list[int], rule: str) -> Fraction:
    if not known:
        return Fraction(0)
    if rule == "oracle":
        return Fraction(int(any(pool.right[i] for i in known)))
    if rule == "score":
        best = [i for i in known if pool.score[i] == max(pool.score[j] for j in known)]
        return Fraction(int(sum(pool.right[i] for i in best)), len(best))
    votes: dict[int, float] = {}
    for i in known:
        votes[int(pool.answer[i])] = votes.get(int(pool.answer[i]), 0.0) + (pool.score[i] if rule == "weighted" else 1)
    top = [answer for answer, count in votes.items() if count == max(votes.values())]
    right = {int(a) for a, r in zip(pool.answer, pool.right, strict=True) if r}
    return Fraction(sum(answer in right for answer in top), len(top))


@pytest.mark.parametrize("rule", RULES)
@given(pools(), st.lists(st.integers(0, 20), min_size=1, max_size=4))
@checked
def test_worth_is_the_mean_over_all_orders(rule: str, pool: Pool, budgets: list[int]) -> None:
    """Value, spending and exhaustion at every budget are those of enumeration."""
    found = worth(pool, [float(B) for B in budgets], rule)
    assert found.exact
    for i, budget in enumerate(budgets):
        exact = by_hand(pool, budget, rule)
        assert (found.value[i], found.spent[i], found.exhausted[i]) == pytest.approx(
            tuple(map(float, exact)), abs=EXACT
        )


@pytest.mark.parametrize("rule", RULES)
def test_many_attempts_are_taken_in_drawn_orders(rule: str) -> None:
    """Eight attempts, 1,024 of 40,320 orders: within five standard errors of enumeration, and said to be no more."""
    rng = np.random.default_rng(4)
    answer = rng.integers(-1, 3, 8)
    pool = Pool(rng.integers(1, 4, 8).astype(float), (answer == 1).astype(float), rng.random(8), answer)
    found = worth(pool, [5.0], rule, seed=3)
    assert (found.exact, found.orders) == (False, 1024)
    exact = float(by_hand(pool, 5, rule)[0])
    assert 0.0 < found.se[0] <= 0.016
    assert abs(found.value[0] - exact) <= STANDARD_ERRORS * found.se[0]


def test_a_budget_below_0_buys_nothing() -> None:
    """No attempt, no cost, no answer."""
    pool = Pool(np.ones(2), np.ones(2), np.ones(2), np.zeros(2, dtype=np.int64))
    found = worth(pool, [-3.0], "score")
    assert (found.value[0], found.spent[0], found.exhausted[0]) == (0.0, 0.0, 0.0)


def test_the_seed_decides_the_orders() -> None:
    """The same seed gives the same numbers."""
    rng = np.random.default_rng(5)
    answer = rng.integers(0, 3, 9)
    pool = Pool(rng.integers(1, 4, 9).astype(float), (answer == 1).astype(float), rng.random(9), answer)
    one, two, other = (worth(pool, [6.0, 9.0], "score", seed).value.tolist() for seed in (1, 1, 2))
    assert one == two != other


@given(pools())
@checked
def test_the_oracle_is_worth_most_and_grows_with_the_budget(pool: Pool) -> None:
    """No rule is worth more at any budget; more budget is worth no less to the oracle."""
    budgets = [float(B) for B in range(21)]
    values = {rule: worth(pool, budgets, rule).value for rule in RULES}
    assert all((values["oracle"] >= found - EXACT).all() for found in values.values())
    assert (np.diff(values["oracle"]) >= -EXACT).all()


@given(pools())
@checked
def test_a_perfect_verifier_is_the_oracle(pool: Pool) -> None:
    """Scores of 1 for right and 0 for wrong ones pick a right one wherever there is one."""
    perfect = Pool(pool.cost, pool.right, pool.right, pool.answer)
    budgets = [float(B) for B in range(21)]
    for one, other in zip(worth(perfect, budgets, "score").value, worth(pool, budgets, "oracle").value, strict=True):
        assert one == pytest.approx(other, abs=EXACT)


def test_what_is_cut_by_the_budget_is_no_answer() -> None:
    """One right attempt of cost 3: worth 1 at 3 tokens, nothing at 2.999."""
    pool = Pool(np.array([3.0]), np.ones(1), np.ones(1), np.zeros(1, dtype=np.int64))
    assert worth(pool, [2.999, 3.0], "score").value.tolist() == [0.0, 1.0]


def test_what_cannot_be_is_refused() -> None:
    """A cost of 0, a right attempt without an answer, an unknown rule: one line each."""
    one, none = np.ones(1), np.full(1, -1)
    with pytest.raises(ValueError, match=r"\Acost = 0: expected above 0\Z"):
        Pool(np.zeros(1), one, one, none)
    with pytest.raises(ValueError, match=r"\Ascore = nan: expected a finite number\Z"):
        Pool(one, one, np.full(1, np.nan), np.zeros(1, dtype=np.int64))
    with pytest.raises(ValueError, match="without an answer is called right"):
        Pool(one, one, one, none)
    with pytest.raises(ValueError, match=r"\Arule best: expected of score, majority, weighted, oracle\Z"):
        worth(Pool(one, np.zeros(1), one, none), [1.0], "best")
