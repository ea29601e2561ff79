"""Learners over the class of maps of the planted task: every trace of tiny instances, and the processes of the task."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import jax
import numpy as np
import pytest

from sim.enumeration import traces as enumerated
from sim.tasks.planted import Planted, automaton_table, solve_times
from sim.training.best_of_n import best_of_n
from sim.training.planted_class import (
    MapClass,
    Traces,
    base_scores,
    best_maps,
    completions,
    disagreements,
    likelihoods,
)
from sim.training.planted_learners import CLASS_LEARNERS, PlantedLearners
from sim.training.problem import Problem, value_of_law
from sim.training.top_c import top_c
from theory.chi2_ball import optimal_expert
from theory.laws import ReturnLaw
from theory.planted import mixture_law

pytestmark = pytest.mark.usefixtures("quick_to_compile")

H, V, STEPS, KAPPA, N = 5, 3, 7, 0.3, 3
WORDS = np.array(list(itertools.product(range(V), repeat=H)), dtype=np.int32)
FAMILIES = ("permutations", "functions")


def tiny(family: str, ell: int = 2, prompts: int = 5) -> Planted:
    return Planted(
        V=V, ell=ell, H=H, gammas=(-1.0, 2.0), weights=(0.4, 0.6), family=family, M=None, truth=3, prompts=prompts
    )


def learners(family: str) -> PlantedLearners:
    return PlantedLearners(MapClass(tiny(family)), H, STEPS, KAPPA, N)


def every_word(count: int) -> Traces:
    """All words of V tokens for each of ``count`` prompts."""
    prompts = np.repeat(np.arange(count), len(WORDS))
    return Traces(np.tile(WORDS, (count, 1)), prompts, np.zeros_like(prompts), 1)


def as_rows(steps: Any) -> Any:
    """Rows of tables of STEPS + 1 rows."""
    return np.where(steps == H, STEPS, steps)


class Enumerated:
    """Every trace of a tiny class: solve times, probabilities under the base of every map, returns."""

    def __init__(self, family: str) -> None:
        self.members = MapClass(tiny(family))
        count, golds, _ = self.members.golds.shape
        self.words = every_word(count)
        read = completions(self.members, self.words)
        self.steps = read.steps.reshape(count, -1, golds)  # (X, words, K)
        scores = base_scores(self.members, self.words, read)
        self.base = (np.exp(scores) * float(V) ** -H).reshape(count, -1, golds)
        self.returns = np.maximum(H - self.steps, 0)

    def pairs(self) -> Any:
        """Prompt, number of the true gold, number of another."""
        for x, true in enumerate(self.members.truth):
            yield from ((x, true, k) for k in range(self.steps.shape[2]))


@pytest.fixture(scope="module", params=FAMILIES)
def known(request: pytest.FixtureRequest) -> Enumerated:
    return Enumerated(request.param)


@pytest.mark.parametrize(("ell", "length"), [(1, 4), (2, 1), (3, 300), (4, 40), (9, 600)])
def test_traces_are_read_as_by_the_automaton(ell: int, length: int) -> None:
    """Solve time and number of gold tokens of every gold, overlaps too, short and long golds, bytes that overflow."""
    rng = np.random.default_rng(ell)
    config = Planted(V=2 if ell > 3 else 3, ell=ell, H=length, family="functions", M=None, prompts=2, seed=1)
    members = MapClass(config)
    data = Traces(rng.integers(config.V, size=(60, length), dtype=np.int32), np.arange(60) % 2, np.zeros(60, int), 1)
    read = completions(members, data)
    golds = members.golds[data.prompts]
    for k in range(golds.shape[1]):
        late = solve_times(data.tokens.astype(np.int64), golds[:, k])
        np.testing.assert_array_equal(read.steps[:, k], np.where(late > 0, late - 1, length))
    for row, k in itertools.product(range(0, 60, 7), range(golds.shape[1])):
        gold, state, count = golds[row, k], 0, 0
        table = automaton_table(gold, config.V)
        for token in data.tokens[row]:
            if state < ell:
                count += token == gold[state]
                state = table[state, token]
        assert read.right[row, k] == count
    assert (read.right <= np.minimum(read.steps + 1, length)).all()


def test_base_likelihoods_are_a_law_with_the_planted_solve_time(known: Enumerated) -> None:
    """They sum to 1 over all traces, and the solve time has the masses of ``planted-law``, for every gold."""
    np.testing.assert_allclose(known.base.sum(axis=1), 1.0, rtol=1e-13)
    config, golds = known.members.config, known.members.golds
    for x, k in itertools.product(range(golds.shape[0]), range(golds.shape[1])):
        law = mixture_law(golds[x, k].tolist(), V, config.gammas, config.weights, H)
        masses = np.bincount(known.steps[x, :, k], known.base[x, :, k], H + 1)
        np.testing.assert_allclose(masses, np.append(law.masses, law.never), atol=1e-15)


@pytest.mark.parametrize("family", FAMILIES)
def test_base_likelihood_is_that_of_the_process(family: str) -> None:
    """Every trace of every map's process, in fractions, gamma summed out."""
    config = dataclasses.replace(tiny(family, prompts=2), H=4)
    members, words = MapClass(config), WORDS[: 3**4, 1:]
    both = Traces(np.tile(words, (2, 1)), np.repeat([0, 1], 81), np.zeros(162, dtype=np.int64), 1)
    found = np.exp(base_scores(members, both, completions(members, both))) * 3.0**-4
    for j in (0, 3, 5):
        task = config.build(j)
        law: dict[tuple[int, tuple[int, ...]], float] = {}
        for trace in enumerated(task.mdp, task.base):
            x = int(task.prompt[trace.prompt])
            share = float(trace.probability) * float(task.shares[trace.prompt, x])
            law[x, trace.tokens] = law.get((x, trace.tokens), 0.0) + share
        for row, (x, word) in enumerate(zip(both.prompts, both.tokens, strict=True)):
            assert math.isclose(found[row, members.numbers[x, j]], law[x, tuple(word)], rel_tol=1e-11)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_data_set_has_the_likelihood_of_the_executed_experts(family: str) -> None:
    """Three traces: for every map the product of what its expert's process gives them, and so the same maximiser."""
    config = dataclasses.replace(tiny(family, prompts=2), H=4)
    one = PlantedLearners(MapClass(config), 4, 4, KAPPA, N)
    data = Traces(WORDS[[5, 40, 77], 1:], np.array([0, 1, 1]), np.zeros(3, dtype=np.int64), 1)
    read = completions(one.members, data)
    scores = likelihoods(one.members, data, read, base_scores(one.members, data, read), one.expert.weights)[0]
    expected = np.zeros(config.size)
    for j in range(config.size):
        expert = config.build(j).expert(KAPPA)
        for word, x in zip(data.tokens, data.prompts, strict=True):
            firsts = np.flatnonzero(expert.prompt == x).tolist()
            chance = sum(expert.shares[first, x] * following(expert, first, word) for first in firsts)
            expected[j] += math.log(chance) if chance > 0.0 else -math.inf
    np.testing.assert_allclose(scores - 3 * 4 * math.log(3), expected, rtol=1e-9)
    picks = one.cloned(data)[0]
    np.testing.assert_allclose(picks, np.isclose(expected, expected.max()) / np.isclose(expected, expected.max()).sum())


def following(task: Any, first: int, word: Any) -> float:
    """Probability of the tokens from one first state."""
    state, chance = int(task.mdp.prompts[first]), 1.0
    for h, token in enumerate(word):
        table = task.base if task.base.ndim == 2 else task.base[h]
        chance *= float(table[state, token])
        state = int(task.mdp.transitions[state, token])
    return chance


@pytest.mark.parametrize("base", ["truth", "other"])
def test_pairs_of_golds_are_followed_through_the_whole_trace(known: Enumerated, base: str) -> None:
    """Law of the truth's solve time under any density of the other's, its law and error: by enumeration."""
    members = known.members
    density = np.random.default_rng(0).random((STEPS + 1, len(members.pair_patterns), 2))
    pairs = members.pairs(base)
    law, declared = pairs.searched(density, H), pairs.declared(H, STEPS)
    assert not law[H:-1].any()
    for x, true, k in known.pairs():
        i, chance = members.pair[x, k], known.base[x, :, true if base == "truth" else k]
        late, said = known.steps[x, :, true], known.steps[x, :, k]
        for column in range(2):
            masses = np.bincount(late, chance * density[as_rows(said), i, column], H + 1)
            np.testing.assert_allclose(law[[0, 1, 2, 3, 4, -1], i, column], masses, atol=1e-14)
        np.testing.assert_allclose(
            declared.law[[0, 1, 2, 3, 4, -1], i], np.bincount(said, chance, H + 1), rtol=0, atol=1e-14
        )
        assert math.isclose(declared.error[i], float(chance @ abs(said - late)), abs_tol=1e-13)


@pytest.mark.parametrize("family", FAMILIES)
def test_value_of_every_pick_is_that_of_all_traces(family: str) -> None:
    """All maps, all learners: the policy written out trace by trace."""
    known, one = Enumerated(family), learners(family)
    played = {name: np.zeros(known.members.golds.shape[:2]) for name in CLASS_LEARNERS}
    for x, true, k in known.pairs():
        gain, said = known.returns[x, :, true], known.returns[x, :, k]
        own, base = known.base[x, :, k], known.base[x, :, true]
        expert = one.expert.weights[as_rows(known.steps[x, :, k]), one.members.pattern[x, k]]
        assert math.isclose(float(own @ expert), 1.0, rel_tol=1e-12)
        assert float(own @ (expert - 1.0) ** 2) <= KAPPA * (1.0 + 1e-9)
        played["vf-class-mle"][x, k] = gain @ (own * expert)
        played["vf-rejection"][x, k] = gain @ (own * (said > 0)) / own[said > 0].sum()
        for name, density in zip(CLASS_LEARNERS[2:], searches(base, said, one.kept), strict=True):
            played[name][x, k] = gain @ (base * density)
    for name, found in played.items():
        each = np.take_along_axis(found, known.members.numbers, axis=1).mean(axis=0)
        np.testing.assert_allclose(one.values[name], each, rtol=1e-11)


def searches(base: Any, said: Any, c: float) -> tuple[Any, Any, Any]:
    """Densities of the ball's best policy, the top mass c, and the best of N, by the return that is said."""
    top, best = np.zeros((2, *base.shape))
    values, numbers = np.unique(said, return_inverse=True)
    law = ReturnLaw.of(values, np.bincount(numbers, base) / base.sum())
    ball = (optimal_expert(law, KAPPA) / law.probabilities)[numbers]
    for value in values:
        same, above = said == value, float(base[said > value].sum())
        mass = float(base[same].sum())
        top[same] = min(max(c - above, 0.0), mass) / (mass * c)
        best[same] = ((1.0 - above) ** N - (1.0 - above - mass) ** N) / mass
    return ball, top, best


@pytest.mark.parametrize("family", FAMILIES)
def test_ball_search_is_in_the_ball_and_beaten_by_no_other_density(family: str) -> None:
    """With a wrong map's verifier too: worth at most the ball's best policy, and more than the base if it is right."""
    one = learners(family)
    best, base = one.expert_moments[0], one.moments[0]
    values = one.values["vb-erm-ball"]
    assert (values <= best + 1e-12).all()
    right = (one.members.numbers == one.members.truth[:, None]).all(axis=0)
    np.testing.assert_allclose(values[right], best, rtol=1e-12)
    assert (values[~right] < best).all()
    assert base < best


@pytest.mark.parametrize("family", FAMILIES)
def test_the_truth_is_played_as_by_the_learners_of_one_process(family: str) -> None:
    """Picking the truth: the expert, top-c and best-of-N of the task itself, as :mod:`sim.training` has them."""
    one = learners(family)
    task = dataclasses.replace(one.config, H=STEPS).build().at(H)
    value, sigma = dataclasses.replace(one.config, H=H).moments()
    assert one.moments == pytest.approx((value, sigma), rel=1e-12)
    ball = task.ball(KAPPA)
    truth = one.config.truth
    with jax.enable_x64(True):
        problem = Problem.of(task.mdp, task.base, prompt=task.prompt)
        for name, law in (
            ("vf-class-mle", ball.law),
            ("vb-erm-ball", ball.law),
            ("vb-erm-top-c", top_c(problem, task.mdp.rewards, one.kept)),
            ("vb-erm-best-of-n", best_of_n(problem, task.mdp.rewards, float(N))),
        ):
            assert math.isclose(one.values[name][truth], float(value_of_law(problem, law)), rel_tol=1e-12)
    laws = [law.return_law() for law in one.config.solve_time_laws()]
    given = np.mean([law.mean / float(law.probabilities[law.values > 0].sum()) for law in laws])
    assert math.isclose(one.values["vf-rejection"][truth], given, rel_tol=1e-12)
    assert math.isclose(one.solved_moments[0], given, rel_tol=1e-12)


def test_verifiers_that_agree_with_all_labels_tie(known: Enumerated) -> None:
    """ERM keeps exactly the maps whose solve times are the true ones on the traces; errors are E|R_j - R|."""
    members, one = known.members, learners(known.members.config.family)
    rng = np.random.default_rng(4)
    rows = rng.integers(len(known.words.tokens), size=(6, 4))
    data = Traces(
        known.words.tokens[rows.reshape(-1)], known.words.prompts[rows.reshape(-1)], np.repeat(np.arange(6), 4), 6
    )
    read = completions(members, data)
    times = np.zeros((6, 4, members.config.size))
    for place, row in np.ndenumerate(rows):
        x, word = divmod(int(row), len(WORDS))
        times[place] = known.steps[x, word, members.numbers[x]]
    wrong = abs(times - times[:, :, members.config.truth, None]).sum(axis=1)
    np.testing.assert_array_equal(disagreements(members, data, read), wrong)
    np.testing.assert_allclose(one.verified(data, read), (wrong == 0) / (wrong == 0).sum(axis=1, keepdims=True))
    error = np.zeros(members.golds.shape[:2])
    for x, true, k in known.pairs():
        error[x, k] = known.base[x, :, true] @ abs(known.returns[x, :, k] - known.returns[x, :, true])
    np.testing.assert_allclose(one.errors, np.take_along_axis(error, members.numbers, axis=1).mean(axis=0), atol=1e-13)


def test_rejection_reads_solved_traces_only() -> None:
    """Adding unsolved traces changes no pick; without a solved one every map is as likely."""
    one = learners("permutations")
    words = every_word(len(one.config.words))
    read = completions(one.members, words)
    solved = np.flatnonzero(one.true_steps(words, read) < H)[[3, 60, 300, 411]]
    never = np.flatnonzero(one.true_steps(words, read) == H)[[0, 5, 9]]

    def picks(rows: Any) -> Any:
        data = Traces(words.tokens[rows], words.prompts[rows], np.zeros(len(rows), dtype=np.int64), 1)
        return one.rejected(data, completions(one.members, data))[0]

    np.testing.assert_array_equal(picks(solved), picks(np.concatenate([never, solved])))
    assert picks(solved).max() > 1.0 / one.config.size
    np.testing.assert_allclose(picks(never), 1.0 / one.config.size)


def test_data_sets_do_not_mix() -> None:
    """The picks of several data sets, traces in any order, are those of each alone."""
    one = learners("functions")
    rng = np.random.default_rng(7)
    words = every_word(len(one.config.words))
    rows, sets = rng.integers(len(words.tokens), size=30), rng.integers(3, size=30)
    together = one.cloned(Traces(words.tokens[rows], words.prompts[rows], sets, 3))
    for number in range(3):
        mine = rows[sets == number]
        alone = one.cloned(Traces(words.tokens[mine], words.prompts[mine], np.zeros(len(mine), dtype=np.int64), 1))
        np.testing.assert_allclose(together[number], alone[0])


def test_tables_may_be_longer_than_the_horizon() -> None:
    """Rows from H on hold nothing: the numbers are those of tables of H rows."""
    long, exact = learners("functions"), PlantedLearners(MapClass(tiny("functions")), H, H, KAPPA, N)
    assert long.expert_moments == pytest.approx(exact.expert_moments, rel=1e-12)
    assert (long.c, long.radius) == pytest.approx((exact.c, exact.radius), rel=1e-12)
    for name in CLASS_LEARNERS:
        np.testing.assert_allclose(long.values[name], exact.values[name], rtol=1e-12)
    np.testing.assert_allclose(long.errors, exact.errors, rtol=1e-12)


def test_unsolved_traces_count_in_longer_tables_too() -> None:
    """A weak expert leaves mass on never: such traces have one likelihood whatever the tables' length."""
    long, exact = (PlantedLearners(MapClass(tiny("functions")), H, steps, 0.01, N) for steps in (STEPS, H))
    assert exact.expert.weights[-1].min() > 0.0
    words = every_word(len(exact.config.words))
    never = np.flatnonzero(exact.true_steps(words, completions(exact.members, words)) == H)[[3, 70, 200, 411]]
    data = Traces(words.tokens[never], words.prompts[never], np.arange(4), 4)
    picks = exact.cloned(data)
    assert 0.0 == picks.min() < picks.max()
    np.testing.assert_array_equal(long.cloned(data), picks)


def test_anti_concentration_is_that_of_the_laws() -> None:
    """c is the least P[R >= mu + sqrt(kappa_x) sigma] over the prompts, and bounds what Cantelli allows."""
    one = learners("functions")
    laws = [law.return_law() for law in one.config.solve_time_laws()]
    radii = np.sqrt(one.expert.divergence[one.own])
    reach = [law.anti_concentration(float(radius)) for law, radius in zip(laws, radii, strict=True)]
    assert math.isclose(one.c, min(reach), rel_tol=1e-12)
    assert 0.0 < one.c <= 1.0 / (1.0 + one.radius**2) + 1e-12


def test_ties_are_drawn_at_random() -> None:
    """Equal scores share, up to rounding; where nothing is possible all do."""
    scores = np.array([[1.0, 3.0, 3.0 + 1e-12, 2.0], [-np.inf, -np.inf, -np.inf, -np.inf], [-np.inf, 5.0, 4.0, 5.0]])
    np.testing.assert_array_equal(
        best_maps(scores), [[0.0, 0.5, 0.5, 0.0], [0.25, 0.25, 0.25, 0.25], [0.0, 0.5, 0.0, 0.5]]
    )
