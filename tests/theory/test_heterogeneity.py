"""``heterogeneity-identity``: every term against enumeration of all paths, in fractions, without rounding."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import checked, checked_slowly
from theory.expectation import value_on
from theory.heterogeneity import CLAIMS, HETEROGENEITY_IDENTITY, VARIANCE, A, B, Decomposition, decompose, token_tree
from theory.symbols import H
from trees import Path, Process, paths, processes, token_trees

#: One action, then a fair coin: the return is 0 or 1, and no action has anything to do with it.
COIN = Process(
    np.array([Fraction(1)], dtype=object),
    (np.array([[Fraction(1)]], dtype=object), np.array([[Fraction(1)], [Fraction(1)]], dtype=object)),
    (
        np.array([[[Fraction(1, 2), Fraction(1, 2)]]], dtype=object),
        np.array([[[Fraction(1)]], [[Fraction(1)]]], dtype=object),
    ),
    (np.array([[0]], dtype=object), np.array([[0], [1]], dtype=object)),
)


def _decomposed(process: Process) -> Decomposition:
    return decompose(*process.layers)


def _conditional(met: list[Path], value: Callable[[Path], Any], known: Callable[[Path], Any]) -> dict[Any, Fraction]:
    """E[value | known] by enumeration."""
    mass: dict[Any, Fraction] = defaultdict(Fraction)
    total: dict[Any, Fraction] = defaultdict(Fraction)
    for path in met:
        mass[known(path)] += path.probability
        total[known(path)] += path.probability * value(path)
    return {key: total[key] / mass[key] for key in mass}


def _values(met: list[Path], step: int) -> dict[int, Fraction]:
    return _conditional(met, lambda w: w.to_go(step), lambda w: w.states[step])


def _action_values(met: list[Path], step: int) -> dict[tuple[int, int], Fraction]:
    return _conditional(met, lambda w: w.to_go(step), lambda w: (w.states[step], w.actions[step]))


def _by_actions(met: list[Path], step: int) -> Fraction:
    """E (Q_h - V_h)^2, Q and V being conditional means of the return to go."""
    q, v = _action_values(met, step), _values(met, step)
    return sum(
        (w.probability * (q[w.states[step], w.actions[step]] - v[w.states[step]]) ** 2 for w in met), Fraction(0)
    )


def _by_transitions(met: list[Path], step: int) -> Fraction:
    """E (V_{h+1}(s_{h+1}) - E[V_{h+1}(s_{h+1}) | s_h, a_h])^2."""
    after = _values(met, step + 1)

    def moved(w: Path) -> tuple[int, int]:
        return w.states[step], w.actions[step]

    expected = _conditional(met, lambda w: after[w.states[step + 1]], moved)
    return sum((w.probability * (after[w.states[step + 1]] - expected[moved(w)]) ** 2 for w in met), Fraction(0))


def _variance(met: list[Path]) -> Fraction:
    """E_x Var(R|x), x the first state."""
    mean = _values(met, 0)
    return sum((w.probability * (w.to_go(0) - mean[w.states[0]]) ** 2 for w in met), Fraction(0))


@checked_slowly
@given(process=token_trees())
def test_heterogeneity_of_a_token_tree_is_the_variance_of_its_return(process: Process) -> None:
    """Equality: sum_h E Var_a Q_h = Var(R|x), where the next state is the trace so far."""
    assert _decomposed(process).heterogeneity == _variance(paths(process))


@checked_slowly
@given(process=token_trees())
def test_tokens_leave_nothing_to_transitions(process: Process) -> None:
    """The second sum is 0 step by step on a tree of tokens."""
    assert all(part == 0 for part in _decomposed(process).by_transitions)


@checked_slowly
@given(process=processes())
def test_both_sums_together_are_the_variance(process: Process) -> None:
    """Equality: Var(R|x) = sum_h E Var_a Q_h + sum_h E Var_s' V_{h+1} on stochastic transitions."""
    parts = _decomposed(process)
    assert parts.by_actions.sum() + parts.by_transitions.sum() == _variance(paths(process))


@checked_slowly
@given(process=st.one_of(token_trees(), processes()))
def test_variance_is_that_of_the_enumerated_return(process: Process) -> None:
    """The variance, which is computed from second moments, is that over all paths."""
    assert _decomposed(process).variance == _variance(paths(process))


@checked_slowly
@given(process=st.one_of(token_trees(), processes()))
def test_each_step_explains_what_enumeration_says(process: Process) -> None:
    """E Var_a Q_h and E Var_s' V_{h+1} of every step, Q and V being conditional means of the return to go."""
    parts, met = _decomposed(process), paths(process)
    steps = range(process.horizon)
    assert list(parts.by_actions) == [_by_actions(met, h) for h in steps]
    assert list(parts.by_transitions) == [_by_transitions(met, h) for h in steps]


@checked_slowly
@given(process=st.one_of(token_trees(), processes()))
def test_values_are_conditional_means(process: Process) -> None:
    """V_h(s) = E[R_h + ... + R_H | s_h = s] and Q_h(s, a) likewise, wherever the policy goes."""
    parts, met = _decomposed(process), paths(process)
    for h in range(process.horizon):
        assert all(parts.state_values[h][s] == v for s, v in _values(met, h).items())
        assert all(parts.action_values[h][sa] == q for sa, q in _action_values(met, h).items())


@checked_slowly
@given(process=st.one_of(token_trees(), processes()))
def test_occupancy_and_mean_are_those_of_the_paths(process: Process) -> None:
    """d_h is the law of s_h, and J the mean of the return."""
    parts, met = _decomposed(process), paths(process)
    for h, occupancy in enumerate(parts.occupancy):
        for state, mass in enumerate(occupancy):
            assert mass == sum((w.probability for w in met if w.states[h] == state), Fraction(0))
    assert parts.mean == sum((w.probability * w.to_go(0) for w in met), Fraction(0))


@checked
@given(process=token_trees(horizon=1))
def test_one_step_has_the_variance_of_its_reward(process: Process) -> None:
    """H = 1: the heterogeneity is p (1 - p), p the probability of reward 1."""
    p = (process.policy[0] * process.rewards[0]).sum()
    assert _decomposed(process).heterogeneity == p * (1 - p)


@checked
@given(process=token_trees())
def test_deterministic_policy_has_no_heterogeneity(process: Process) -> None:
    """sigma = 0 where the policy never varies."""
    first = tuple(np.array([[Fraction(int(a == 0)) for a in range(pi.shape[1])] for _ in pi]) for pi in process.policy)
    parts = decompose(process.start, first, process.transitions, process.rewards)
    assert parts.heterogeneity == parts.variance == 0


@checked
@given(process=token_trees())
def test_ties_have_no_heterogeneity(process: Process) -> None:
    """sigma = 0 where all traces have one return, whatever the policy."""
    equal = tuple(np.ones_like(reward) for reward in process.rewards)
    parts = decompose(process.start, process.policy, process.transitions, equal)
    assert parts.heterogeneity == parts.variance == 0


@checked_slowly
@given(process=processes())
def test_heterogeneity_is_at_most_the_variance(process: Process) -> None:
    """sigma^2 <= Var(R|x), with equality exactly where the transitions add nothing."""
    parts = _decomposed(process)
    assert parts.heterogeneity <= parts.variance
    assert (parts.heterogeneity == parts.variance) == (parts.by_transitions.sum() == 0)


def test_assumption_of_deterministic_transitions_is_needed() -> None:
    """A coin tossed by the transition: the heterogeneity is 0 and the variance 1/4."""
    parts = _decomposed(COIN)
    assert parts.heterogeneity == 0
    assert parts.variance == parts.by_transitions.sum() == Fraction(1, 4)


@checked_slowly
@given(process=st.one_of(token_trees(), processes()))
def test_claim_holds_in_its_own_symbols(process: Process) -> None:
    """The symbolic claim, its letters replaced by the computed terms, is an equality of fractions."""
    parts = _decomposed(process)
    values = {VARIANCE: _variance(paths(process)), A.label: parts.by_actions, B.label: parts.by_transitions}
    relation = CLAIMS[0].relation
    assert value_on(relation.lhs, values) == value_on(relation.rhs, values | {H: process.horizon})


@checked_slowly
@given(process=st.one_of(token_trees(), processes()))
def test_double_precision_agrees_with_fractions(process: Process) -> None:
    """Every part in float64 is the exact one to rounding."""
    exact = _decomposed(process)
    rounded = decompose(
        process.start.astype(float),
        [pi.astype(float) for pi in process.policy],
        [kernel if kernel.ndim == 2 else kernel.astype(float) for kernel in process.transitions],
        [reward.astype(float) for reward in process.rewards],
    )
    for name in ("by_actions", "by_transitions", "variance", "mean", "heterogeneity"):
        np.testing.assert_allclose(getattr(rounded, name), np.asarray(getattr(exact, name), dtype=float), atol=1e-13)


@checked_slowly
@given(process=token_trees())
def test_next_states_and_certain_kernels_are_one_thing(process: Process) -> None:
    """Transitions given as whole numbers or as probabilities 0 and 1 decompose alike."""
    kernels = tuple(
        np.array([[[Fraction(int(s == after)) for s in range(kernel.size)] for after in row] for row in kernel])
        for kernel in process.transitions
    )
    by_number, by_kernel = _decomposed(process), decompose(process.start, process.policy, kernels, process.rewards)
    assert list(by_number.by_actions) == list(by_kernel.by_actions)
    assert by_number.variance == by_kernel.variance
    assert by_kernel.by_transitions.sum() == 0


@pytest.mark.parametrize("horizon", [1, 7, 400])
def test_independent_rewards_add_their_variances(horizon: int) -> None:
    """One state that every action keeps, reward 1 with probability p: sigma^2 = H p (1 - p), at any length."""
    p = 0.3
    one = (np.array([[p, 1 - p]]), np.zeros((1, 2), dtype=int), np.array([[1.0, 0.0]]))
    parts = decompose(np.ones(1), *([layer] * horizon for layer in one))
    assert parts.heterogeneity == pytest.approx(horizon * p * (1 - p), rel=1e-12)
    assert parts.variance == pytest.approx(horizon * p * (1 - p), rel=1e-10)


def test_tree_numbers_prefixes_in_lexicographic_order() -> None:
    """State number of a prefix = its tokens read as a number in base |V|."""
    for step, kernel in enumerate(token_tree(3, 3)):
        prefixes = list(itertools.product(range(3), repeat=step))
        longer = list(itertools.product(range(3), repeat=step + 1))
        assert all(longer[kernel[i, a]] == (*w, a) for i, w in enumerate(prefixes) for a in range(3))


def test_identity_has_no_number() -> None:
    """It relates two quantities of a process: there is nothing to evaluate at a point."""
    with pytest.raises(ValueError, match="heterogeneity-identity has no number"):
        HETEROGENEITY_IDENTITY.evaluate()


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"start": np.ones(2) / 2}, r"start: shape \(2,\), expected \(1,\)"),
        ({"start": np.array([0.5])}, "start: expected probabilities"),
        ({"policy": []}, "expected one number >= 1"),
        ({"policy": [np.array([[0.5, 0.6]])]}, "policy at step 1: expected probabilities"),
        ({"rewards": [np.zeros((1, 3))]}, r"step 1: policy \(1, 2\), .* rewards \(1, 3\)"),
        ({"transitions": [np.full((1, 2, 2), 0.6)]}, "transitions at step 1: expected probabilities"),
    ],
)
def test_ill_formed_process_is_refused(replaced: dict[str, Any], message: str) -> None:
    """Shapes that disagree and laws that are none raise ValueError that names the step."""
    fine: dict[str, Any] = {
        "start": np.ones(1),
        "policy": [np.array([[0.5, 0.5]])],
        "transitions": [np.array([[0, 0]])],
        "rewards": [np.array([[0.0, 1.0]])],
    }
    with pytest.raises(ValueError, match=message):
        decompose(**(fine | replaced))
