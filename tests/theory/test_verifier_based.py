"""``vb-upper-top-c`` and ``vb-upper-best-of-n``: search against a wrong verifier, its value enumerated exactly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import (
    HORIZON,
    ROUNDING,
    JudgedTraces,
    best_ball_value,
    checked,
    checked_slowly,
    exact_tail,
    judged_traces,
    shares,
)
from theory.theorem import Theorem
from theory.verifier_based import VB_UPPER_BEST_OF_N, VB_UPPER_TOP_C


def _reachable_epsilon(prompts: list[JudgedTraces], share: float) -> Fraction:
    """An epsilon at which every prompt still has mass above mu + epsilon sigma."""
    laws = [prompt.law for prompt in prompts]
    return Fraction(share * (1.0 - 1e-9) * min((law.values[-1] - law.mean) / law.sd for law in laws))


def _top_c_value(prompt: JudgedTraces, c: Fraction) -> Fraction:
    """Value of the base given the top mass c of the verifier: its ties share what is left of c by their mass."""
    left, gained = c, Fraction(0)
    for level in sorted(set(prompt.judged), reverse=True):
        tied = [i for i, judged in enumerate(prompt.judged) if judged == level]
        mass = sum((prompt.masses[i] for i in tied), Fraction(0))
        taken = min(mass, left)
        gained += taken * sum((prompt.masses[i] * prompt.returns[i] for i in tied), Fraction(0)) / mass
        left -= taken
    return gained / c


def _top_return_mean(prompt: JudgedTraces, c: Fraction) -> Fraction:
    """Mean of the top mass c of the true return."""
    return _top_c_value(JudgedTraces(prompt.masses, prompt.returns, prompt.returns), c)


def _best_of_value(prompt: JudgedTraces, draws: int) -> Fraction:
    """Value of keeping the largest verdict of N draws, over all N-tuples, ties at random."""
    total = Fraction(0)
    for drawn in itertools.product(range(len(prompt.masses)), repeat=draws):
        best = max(prompt.judged[i] for i in drawn)
        kept = [prompt.returns[i] for i in drawn if prompt.judged[i] == best]
        total += math.prod(prompt.masses[i] for i in drawn) * Fraction(sum(kept), len(kept))
    return total


@checked
@given(prompts=st.lists(judged_traces(), min_size=1, max_size=3), share=shares())
def test_top_c_loses_at_most_error_over_c(prompts: list[JudgedTraces], share: float) -> None:
    """Upper: J(best of the ball) - J(top-c) <= epsilon_ver/c, prompts averaged, c = min_x c_x(sqrt(kappa))."""
    epsilon = _reachable_epsilon(prompts, share)
    c = min(exact_tail(prompt.law, epsilon) for prompt in prompts)
    error = float(sum(prompt.error for prompt in prompts)) / len(prompts)
    best = sum(best_ball_value(prompt.law, float(epsilon) ** 2) for prompt in prompts)
    loss = (best - float(sum(_top_c_value(prompt, c) for prompt in prompts))) / len(prompts)
    bound = VB_UPPER_TOP_C.evaluate(H=HORIZON, c=float(c), epsilon_ver=error, epsilon=float(epsilon))
    assert bound.assumptions_hold
    assert loss <= bound.value + ROUNDING * HORIZON


@checked
@given(prompt=judged_traces(), c=st.fractions(Fraction(1, 50), 1, max_denominator=50))
def test_top_c_loses_at_most_error_over_c_against_the_top_mean(prompt: JudgedTraces, c: Fraction) -> None:
    """Upper: CVaR^top_c(R) - J(top-c) <= epsilon_ver/c for every c, in fractions."""
    bound = VB_UPPER_TOP_C.evaluate(H=HORIZON, c=float(c), epsilon_ver=float(prompt.error))
    assert float(_top_return_mean(prompt, c) - _top_c_value(prompt, c)) <= bound.value + ROUNDING * HORIZON


@checked
@given(prompt=judged_traces(), share=shares())
def test_top_mean_is_at_least_the_best_of_the_ball(prompt: JudgedTraces, share: float) -> None:
    """Lower: CVaR^top_c(R) >= J(best of the ball) for c = c(sqrt(kappa))."""
    epsilon = _reachable_epsilon([prompt], share)
    c = exact_tail(prompt.law, epsilon)
    assert float(_top_return_mean(prompt, c)) >= best_ball_value(prompt.law, float(epsilon) ** 2) - ROUNDING * HORIZON


@st.composite
def _flat_traces(draw: st.DrawFn) -> JudgedTraces:
    """A prompt on which every trace has one return, sigma = 0, under any verifier."""
    size, level = draw(st.integers(1, 3)), draw(st.integers(0, HORIZON))
    judged = draw(st.lists(st.integers(0, HORIZON), min_size=size, max_size=size))
    return JudgedTraces((Fraction(1, size),) * size, (level,) * size, tuple(judged))


@st.composite
def _tied_traces(draw: st.DrawFn) -> JudgedTraces:
    """A prompt whose verifier knows two verdicts, or one: the rest is ties."""
    prompt = draw(judged_traces())
    verdicts = st.sampled_from(draw(st.sampled_from([(HORIZON // 2,), (0, HORIZON)])))
    size = len(prompt.masses)
    judged = draw(st.lists(verdicts, min_size=size, max_size=size))
    return JudgedTraces(prompt.masses, prompt.returns, tuple(judged))


@checked
@given(flat=_flat_traces(), prompt=judged_traces(), share=shares())
def test_prompt_without_spread_is_covered(flat: JudgedTraces, prompt: JudgedTraces, share: float) -> None:
    """Degenerate: a prompt of sigma = 0 (c_x = 1) loses nothing; the average over it and another obeys the bound."""
    epsilon = _reachable_epsilon([prompt], share)
    c = exact_tail(prompt.law, epsilon)
    assert _top_c_value(flat, c) == flat.returns[0] == best_ball_value(flat.law, float(epsilon) ** 2)
    best = (best_ball_value(prompt.law, float(epsilon) ** 2) + flat.returns[0]) / 2
    error = float(prompt.error + flat.error) / 2
    loss = best - float(_top_c_value(prompt, c) + flat.returns[0]) / 2
    assert loss <= VB_UPPER_TOP_C.evaluate(H=HORIZON, c=float(c), epsilon_ver=error).value + ROUNDING * HORIZON


@checked
@given(prompt=_tied_traces(), share=shares())
def test_top_c_loses_at_most_error_over_c_under_ties(prompt: JudgedTraces, share: float) -> None:
    """Upper: J(best of the ball) - J(top-c) <= epsilon_ver/c where most verdicts are equal."""
    epsilon = _reachable_epsilon([prompt], share)
    c = exact_tail(prompt.law, epsilon)
    bound = VB_UPPER_TOP_C.evaluate(H=HORIZON, c=float(c), epsilon_ver=float(prompt.error))
    loss = best_ball_value(prompt.law, float(epsilon) ** 2) - float(_top_c_value(prompt, c))
    assert loss <= bound.value + ROUNDING * HORIZON


@checked_slowly
@given(prompt=_tied_traces(), share=shares(), draws=st.integers(1, 4))
def test_best_of_n_loses_at_most_its_bound_under_ties(prompt: JudgedTraces, share: float, draws: int) -> None:
    """Upper: J(best of the ball) - J(BoN) <= u (1-c)^N + N epsilon_ver where most verdicts are equal."""
    epsilon = _reachable_epsilon([prompt], share)
    bound = VB_UPPER_BEST_OF_N.evaluate(
        mu=prompt.law.mean,
        sigma=prompt.law.sd,
        epsilon=float(epsilon),
        c=float(exact_tail(prompt.law, epsilon)),
        N=draws,
        epsilon_ver=float(prompt.error),
    )
    loss = best_ball_value(prompt.law, float(epsilon) ** 2) - float(_best_of_value(prompt, draws))
    assert loss <= bound.value + ROUNDING * HORIZON


@checked
@given(prompt=judged_traces())
def test_everything_kept_is_the_base_policy(prompt: JudgedTraces) -> None:
    """Degenerate: at c = 1, which needs epsilon = 0 or a flat law, the loss against the top mean is 0."""
    assert _top_c_value(prompt, Fraction(1)) == _top_return_mean(prompt, Fraction(1))
    answer = VB_UPPER_TOP_C.evaluate(H=HORIZON, c=1, epsilon=0, epsilon_ver=float(prompt.error))
    assert answer.assumptions_hold
    assert answer.value == pytest.approx(float(prompt.error))


@checked
@given(flat=_flat_traces(), draws=st.integers(1, 4))
def test_best_of_n_bound_without_spread_is_the_verifiers_share(flat: JudgedTraces, draws: int) -> None:
    """Degenerate: at sigma = 0, c = 1 the first term is 0 and the bound is N epsilon_ver."""
    answer = VB_UPPER_BEST_OF_N.evaluate(
        mu=flat.returns[0], sigma=0, epsilon=0, c=1, N=draws, epsilon_ver=float(flat.error)
    )
    assert (answer.value, answer.extras["miss"]) == (pytest.approx(draws * float(flat.error)), 0.0)
    assert _best_of_value(flat, draws) == flat.returns[0]


@st.composite
def _reward_classes(draw: st.DrawFn) -> tuple[tuple[Fraction, ...], tuple[tuple[int, ...], ...]]:
    """Masses of a few traces of one prompt, and rewards of them; the first is the truth and not constant."""
    size = draw(st.integers(2, 3))
    weights = draw(st.lists(st.integers(1, 9), min_size=size, max_size=size))
    reward = st.tuples(*[st.sampled_from([0, HORIZON // 2, HORIZON])] * size)
    truth = draw(reward.filter(lambda r: len(set(r)) > 1))
    others = draw(st.lists(reward.filter(lambda r: r != truth), min_size=1, max_size=5, unique=True))
    return tuple(Fraction(w, sum(weights)) for w in weights), (truth, *others)


def _worst_fitted(
    masses: tuple[Fraction, ...],
    members: tuple[tuple[int, ...], ...],
    n: int,
    value: Callable[[JudgedTraces], Fraction],
) -> Fraction:
    """Expectation over all training sets of the least value of a member that agrees with the labels of n traces."""
    truth, total = members[0], Fraction(0)
    for traces in itertools.product(range(len(masses)), repeat=n):
        fitted = [m for m in members if all(m[t] == truth[t] for t in traces)]
        worst = min(value(JudgedTraces(masses, truth, m)) for m in fitted)
        total += math.prod(masses[t] for t in traces) * worst
    return total


@checked_slowly
@given(rewards=_reward_classes(), n=st.integers(1, 3), share=shares())
def test_top_c_of_a_learned_verifier_loses_at_most_its_bound(
    rewards: tuple[tuple[Fraction, ...], tuple[tuple[int, ...], ...]], n: int, share: float
) -> None:
    """Upper: in expectation over the labels, J(best) - J(top-c) <= (H/c) [1 - n/(n+1) (|R|-1)^(-1/n)]."""
    masses, members = rewards
    truth = JudgedTraces(masses, members[0], members[0])
    epsilon = _reachable_epsilon([truth], share)
    c = exact_tail(truth.law, epsilon)
    learned = _worst_fitted(masses, members, n, lambda judged: _top_c_value(judged, c))
    bound = VB_UPPER_TOP_C.evaluate(H=HORIZON, c=float(c), n=n, log2_M=math.log2(len(members)), epsilon=float(epsilon))
    assert bound.assumptions_hold
    assert best_ball_value(truth.law, float(epsilon) ** 2) - float(learned) <= bound.value + ROUNDING * HORIZON


@checked_slowly
@given(rewards=_reward_classes(), n=st.integers(1, 2), share=shares(), draws=st.integers(1, 3))
def test_best_of_n_of_a_learned_verifier_loses_at_most_its_bound(
    rewards: tuple[tuple[Fraction, ...], tuple[tuple[int, ...], ...]], n: int, share: float, draws: int
) -> None:
    """Upper: in expectation over the labels, the same for u (1-c)^N + N H [1 - n/(n+1) (|R|-1)^(-1/n)]."""
    masses, members = rewards
    truth = JudgedTraces(masses, members[0], members[0])
    epsilon = _reachable_epsilon([truth], share)
    learned = _worst_fitted(masses, members, n, lambda judged: _best_of_value(judged, draws))
    bound = VB_UPPER_BEST_OF_N.evaluate(
        mu=truth.law.mean,
        sigma=truth.law.sd,
        epsilon=float(epsilon),
        c=float(exact_tail(truth.law, epsilon)),
        N=draws,
        H=HORIZON,
        n=n,
        log2_M=math.log2(len(members)),
    )
    assert best_ball_value(truth.law, float(epsilon) ** 2) - float(learned) <= bound.value + ROUNDING * HORIZON


def test_one_label_and_two_members_lose_half_the_budget_over_c() -> None:
    """Equality: at n = 1, |R| = 2 the top-c bound is H/(2c)."""
    assert VB_UPPER_TOP_C.evaluate(H=12, n=1, log2_M=1, c=0.75).value == pytest.approx(8.0, rel=1e-14)


@checked
@given(c=st.fractions(Fraction(1, 100), Fraction(49, 100), max_denominator=100))
def test_top_c_bound_is_nearly_attained(c: Fraction) -> None:
    """Tight: judged a hair better, a worthless trace of mass c displaces a perfect one; the loss H is epsilon_ver/c."""
    hair = Fraction(1, 10**6)
    prompt = JudgedTraces((c, c, 1 - 2 * c), (HORIZON, 0, 0), (HORIZON // 2, HORIZON // 2 + hair, 0))
    loss = _top_return_mean(prompt, c) - _top_c_value(prompt, c)
    bound = VB_UPPER_TOP_C.evaluate(H=HORIZON, c=float(c), epsilon_ver=float(prompt.error))
    assert float(loss) == pytest.approx(bound.value, rel=1e-6)


@checked_slowly
@given(prompts=st.lists(judged_traces(), min_size=1, max_size=2), share=shares(), draws=st.integers(1, 4))
def test_best_of_n_loses_at_most_its_bound(prompts: list[JudgedTraces], share: float, draws: int) -> None:
    """Upper: J(best of the ball) - J(BoN) <= u (1-c)^N + N epsilon_ver, averaged over prompts, c = min_x c_x."""
    epsilon = _reachable_epsilon(prompts, share)
    c = min(exact_tail(prompt.law, epsilon) for prompt in prompts)
    values = [
        best_ball_value(prompt.law, float(epsilon) ** 2) - float(_best_of_value(prompt, draws)) for prompt in prompts
    ]
    bound = VB_UPPER_BEST_OF_N.evaluate(
        mu=sum(prompt.law.mean for prompt in prompts) / len(prompts),
        sigma=sum(prompt.law.sd for prompt in prompts) / len(prompts),
        epsilon=float(epsilon),
        c=float(c),
        N=draws,
        epsilon_ver=float(sum(prompt.error for prompt in prompts)) / len(prompts),
    )
    assert sum(values) / len(prompts) <= bound.value + ROUNDING * HORIZON


@checked
@given(up=st.fractions(Fraction(1, 50), Fraction(49, 50), max_denominator=50), draws=st.integers(1, 4))
def test_best_of_n_bound_is_attained_by_a_true_verifier_on_two_points(up: Fraction, draws: int) -> None:
    """Tight: on {0, H}, epsilon_ver = 0 and u = H, the loss is H (1-c)^N."""
    prompt = JudgedTraces((1 - up, up), (0, HORIZON), (0, HORIZON))
    law = prompt.law
    bound = VB_UPPER_BEST_OF_N.evaluate(
        mu=law.mean, sigma=law.sd, kappa=float(1 / up - 1), c=float(up), N=draws, epsilon_ver=0
    )
    assert float(HORIZON - _best_of_value(prompt, draws)) == pytest.approx(bound.value, rel=1e-9)


@pytest.mark.parametrize("draws", [2, 3, 4])
def test_best_of_n_bound_is_nearly_attained_by_a_rare_false_verdict(draws: int) -> None:
    """Tight: a worthless trace of mass d judged best is kept if drawn at all, and the loss is N d H = N epsilon_ver."""
    rare = Fraction(1, 10**4)
    prompt = JudgedTraces((rare, 1 - rare), (0, HORIZON), (HORIZON + Fraction(1, 10**6), HORIZON))
    bound = VB_UPPER_BEST_OF_N.evaluate(
        mu=prompt.law.mean,
        sigma=prompt.law.sd,
        kappa=float(rare / (1 - rare)),
        c=float(1 - rare),
        N=draws,
        epsilon_ver=float(prompt.error),
    )
    assert float(HORIZON - _best_of_value(prompt, draws)) == pytest.approx(bound.value, rel=1e-3)


@pytest.mark.parametrize("theorem", [VB_UPPER_TOP_C, VB_UPPER_BEST_OF_N], ids=lambda t: t.label)
def test_without_a_given_error_verifier_erm_is_put_in(theorem: Theorem) -> None:
    """epsilon_ver is H [1 - n/(n+1) (M-1)^(-1/n)] where only n and M are given."""
    point = {"H": 10, "n": 50, "log2_M": 4, "c": 0.5}
    if theorem is VB_UPPER_BEST_OF_N:
        point |= {"mu": 5.0, "sigma": 2.0, "epsilon": 0.5, "N": 3}
    expected = 10.0 * (1.0 - 50.0 / 51.0 * 15.0 ** (-1.0 / 50.0))
    assert theorem.evaluate(**point).extras["epsilon_ver"] == pytest.approx(expected, rel=1e-12)


@checked
@given(
    c=st.one_of(st.just(1.0), st.floats(1e-6, 0.9)),
    N=st.integers(1, 250),
    given_error=st.one_of(st.none(), st.floats(0.0, 10.0, allow_subnormal=False)),  # normal: digits to compare
    delta=st.one_of(st.none(), st.floats(1e-12, 1.0)),
    log2_M=st.floats(1.0, 5000.0),
)
def test_values_lie_in_their_enclosures(
    c: float, N: int, given_error: float | None, delta: float | None, log2_M: float
) -> None:
    """The float64 values are inside the Arb balls of the claims, whatever stands for the verifier's error."""
    point = {"H": 100, "n": 50, "log2_M": log2_M, "c": c}
    point |= {} if given_error is None else {"epsilon_ver": given_error}
    point |= {} if delta is None else {"delta": delta}
    best = point | {"mu": 30.0, "sigma": 20.0, "epsilon": 0.5, "N": N}
    assert VB_UPPER_TOP_C.enclose(**point).contains(VB_UPPER_TOP_C.evaluate(**point).value)
    assert VB_UPPER_BEST_OF_N.enclose(**best).contains(VB_UPPER_BEST_OF_N.evaluate(**best).value)


def test_error_that_cannot_be_had_is_refused() -> None:
    """Without epsilon_ver and without n, a ValueError says what is missing."""
    with pytest.raises(ValueError, match=r"epsilon_ver, or n to"):
        VB_UPPER_TOP_C.evaluate(H=10, log2_M=4, c=0.5)


def test_impossible_anti_concentration_is_announced() -> None:
    """c > 1/(1 + epsilon^2) exists for no law: the condition fails and the evaluation is not valid."""
    answer = VB_UPPER_TOP_C.evaluate(H=10, c=0.9, epsilon=1.0, epsilon_ver=0.1)
    assert (answer.conditions[0].holds, answer.valid) == (False, False)


def test_loss_bound_beyond_the_budget_is_vacuous() -> None:
    """Vacuous: epsilon_ver/c > H says nothing and is marked so, its assumptions holding."""
    answer = VB_UPPER_TOP_C.evaluate(H=10, c=0.1, epsilon_ver=2.0)
    assert (answer.value, answer.valid, answer.assumptions_hold) == (pytest.approx(20.0), False, True)
