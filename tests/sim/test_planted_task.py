"""The planted task: automata against the law of theory, its two forms against each other, its class, its dial."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from fractions import Fraction

import jax
import numpy as np
import pytest

from sim.dynamic_programming import mean_return
from sim.enumeration import traces
from sim.rollout import rollout, rollout_traces
from sim.tasks.planted import Planted, automaton_table, heterogeneity_dial, heterogeneity_range, solve_times
from sim.tasks.token_task import TokenTask
from theory.planted import mixture_law, token_probabilities

GOLDS = ((1, 1, 1, 1, 1), (1, 2, 1, 2, 1), (0, 1, 2, 3, 4), (0, 1, 0, 0, 1))
#: Traces rolled out at once.
BATCH = 65_536


def test_law_is_the_one_of_theory() -> None:
    """Dynamic programming over (gamma, matched) gives ``planted-law``'s mixtures, overlapping golds too."""
    config = Planted(V=5, H=60, gammas=(-2.0, 0.5, 3.0), weights=(0.2, 0.5, 0.3), M=None, prompts=GOLDS)
    np.testing.assert_array_equal(config.golds(0), GOLDS)
    law = config.build().law()
    for i, gold in enumerate(GOLDS):
        exact = mixture_law(gold, 5, config.gammas, config.weights, 60)
        np.testing.assert_allclose(law[:, i], np.append(exact.masses, exact.never), rtol=1e-12, atol=1e-15)
    found = config.solve_time_laws()
    assert [one.solve_rate for one in found] == pytest.approx((1.0 - law[-1]).tolist(), rel=1e-12)
    value, sigma = config.moments()
    made = config.build()
    assert math.isclose(made.value, value, rel_tol=1e-12)
    assert math.isclose(made.heterogeneity, sigma, rel_tol=1e-12)


def test_a_million_rollouts_agree_with_the_law() -> None:
    """|V| = 30, ell = 5, gamma = 4, H = 512, token by token."""
    made = Planted(V=30, ell=5, H=512, gammas=(4.0,)).build()
    law, draws = made.law()[:, 0], 10**6
    late, left = np.zeros(-(-draws // BATCH) * BATCH, dtype=np.int64), np.arange(draws)
    with jax.enable_x64(True):
        for horizon in (32, 128, 512):  # a trace has the same tokens whatever the horizon: the unsolved ones go on
            for first in range(0, left.size, BATCH):
                batch = np.resize(left[first : first + BATCH], BATCH)
                out = rollout(made.at(horizon).mdp, made.base, jax.random.key(30), batch)
                late[batch] = np.asarray(out.solve_time)
            left = left[late[left] == 0]
    late = late[:draws]
    seen = np.bincount(np.where(late > 0, late, 513), minlength=514)[1:]
    assert seen.sum() == draws
    often = law * draws >= 25.0
    assert often.sum() > 100
    deviation = (seen - draws * law) / np.sqrt(draws * law * (1.0 - law) + 1e-300)
    assert abs(deviation[often]).max() <= 5.0
    rest, mass = seen[~often].sum(), law[~often].sum()
    assert abs(rest - draws * mass) <= 5.0 * math.sqrt(draws * mass)
    square = float((deviation[often] ** 2).sum())  # chi-squared, nearly
    assert abs(square - often.sum()) <= 5.0 * math.sqrt(2.0 * often.sum())


@pytest.mark.parametrize("gold", GOLDS[:2])
def test_overlapping_gold_is_completed_when_it_first_appears(gold: tuple[int, ...]) -> None:
    """Every word over three tokens: the automaton says solved exactly when a scan finds the gold."""
    table = automaton_table(gold, 3)
    words = np.array(list(itertools.product(range(3), repeat=8)))
    late = solve_times(words, np.tile(gold, (len(words), 1)))
    for word, expected in zip(words, late, strict=True):
        k, found = 0, 0
        for t, token in enumerate(word, 1):
            k = table[k, token]
            found = found or (t if k == 5 else 0)
        scan = next((t for t in range(5, 9) if tuple(word[t - 5 : t]) == gold), 0)
        assert found == scan == expected


def test_rollouts_are_scanned_alike() -> None:
    """Traces of the process, read as words, complete the gold of their prompt at the reported step."""
    config = Planted(V=4, ell=3, H=20, gammas=(0.0, 2.0), weights=(0.5, 0.5), M=24, truth=7, prompts=5, seed=2)
    made = config.build()
    with jax.enable_x64(True):
        out, steps = rollout_traces(made.mdp, made.base, jax.random.key(1), np.arange(2000))
        x = made.prompt[np.asarray(out.prompt)]
        tokens, late = np.asarray(steps.tokens), np.asarray(out.solve_time)
    np.testing.assert_array_equal(solve_times(tokens, config.golds()[x]), late)
    assert (solve_times(tokens[:, :2], config.golds()[x]) == 0).all()


def trace_law(made: TokenTask) -> dict[tuple[int, tuple[int, ...]], Fraction]:
    """Exact probability of every word of tokens given the prompt, up to where it solves."""
    law: dict[tuple[int, tuple[int, ...]], Fraction] = defaultdict(Fraction)
    for t in traces(made.mdp, made.base):
        x = int(made.prompt[t.prompt])
        word = t.tokens[: t.solve_time]
        law[x, word] += t.probability * Fraction(float(made.shares[t.prompt, x]))
    return law


def test_marginal_policy_gives_every_trace_its_probability() -> None:
    """Drawing gamma and following it, or following the posterior mixture: one law of words."""
    config = Planted(
        V=3, ell=3, H=6, gammas=(-1.0, 1.0, 3.0), weights=(0.25, 0.5, 0.25), M=None, prompts=((0, 1, 0), (2, 2, 2))
    )
    hidden, seen = trace_law(config.build()), trace_law(config.marginal())
    assert hidden.keys() == seen.keys()
    for word, probability in hidden.items():
        assert math.isclose(float(probability), float(seen[word]), rel_tol=1e-12)


@pytest.mark.parametrize("gammas", [(-1.0, 3.0), (-700.0, 700.0), (2.0, 2.0)])
def test_marginal_policy_has_the_law(gammas: tuple[float, float]) -> None:
    """The same solve times, and the same best expert, also where a gamma never or always is right."""
    config = Planted(
        V=4, ell=5, H=24, gammas=gammas, weights=(0.5, 0.5), M=None, prompts=((1, 1, 1, 1, 1), (1, 2, 1, 2, 1))
    )
    made, marginal = config.build(), config.marginal()
    np.testing.assert_allclose(marginal.law(), made.law(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(marginal.expert(0.3).law(), made.expert(0.3).law(), rtol=0, atol=1e-12)


def test_marginal_of_a_large_task_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^H = 512: a table of 78812160 entries, at most 67108864 serve\Z"):
        Planted(prompts=2).marginal()


def matched(word: tuple[int, ...], gold: tuple[int, ...]) -> int:
    """Length of the longest proper prefix of ``gold`` that ends ``word``."""
    return next(k for k in range(min(len(gold) - 1, len(word)), -1, -1) if word[len(word) - k :] == gold[:k])


def test_joint_states_follow_every_gold() -> None:
    """After every word that has not solved, each map's state is the longest prefix of its gold, found by comparing."""
    config = Planted(
        V=3,
        ell=4,
        H=8,
        gammas=(0.0, 1.0),
        weights=(0.5, 0.5),
        M=None,
        family="functions",
        truth=5,
        prompts=((0, 1, 0, 1), (2, 2, 2, 2)),
    )
    joint = config.joint()
    mdp, verifiers, policies = joint.task.mdp, joint.verifiers(), joint.policies(2.0)
    assert set(joint.observed[mdp.prompts].tolist()) == {int(mdp.prompts[0]), int(mdp.prompts[2])}
    for first, x in zip(mdp.prompts, joint.task.prompt, strict=True):
        golds = [tuple(gold) for gold in joint.golds[:, x].tolist()]
        for word in itertools.product(range(3), repeat=6):
            state = int(first)
            for t, token in enumerate(word):
                known = [matched(word[:t], gold) for gold in golds]
                assert joint.matched[:, state].tolist() == known
                declared = [k == 3 and gold[3] == token for k, gold in zip(known, golds, strict=True)]
                assert (verifiers[:, state, token] == 1).tolist() == declared
                golden = [gold[k] == token for k, gold in zip(known, golds, strict=True)]
                assert (policies[:, state, token] > 0.5).tolist() == golden
                assert mdp.rewards[state, token] == declared[config.truth]
                if declared[config.truth]:
                    assert int(mdp.transitions[state, token]) == mdp.states - 1
                    break
                state = int(mdp.transitions[state, token])
    np.testing.assert_allclose(policies.sum(axis=2), 1.0, rtol=1e-12)


def test_policy_of_another_map_is_worth_what_its_words_are() -> None:
    """Summed over all words of five tokens, each with the probability that the wrong map gives it."""
    config = Planted(V=3, ell=2, H=5, gammas=(1.5,), M=None, truth=0, prompts=((0, 1), (2, 2)))
    joint = config.joint((0, 3, 5))
    (q,), (o,) = token_probabilities(3, [1.5])
    with jax.enable_x64(True):
        found = [np.asarray(mean_return(joint.task.mdp, table)) for table in joint.policies(1.5)]
    for number, hypothesis in enumerate((0, 3, 5)):
        for x, gold in enumerate(map(tuple, config.golds(hypothesis).tolist())):
            exact = 0.0
            for word in itertools.product(range(3), repeat=5):
                chances = [q if gold[matched(word[:t], gold)] == a else o for t, a in enumerate(word)]
                late = solve_times(np.array([word]), config.golds()[[x]])[0]
                exact += math.prod(chances) * (6 - late if late else 0)
            assert math.isclose(found[number][x], exact, rel_tol=1e-12)
    assert math.isclose(joint.task.value, config.build().value, rel_tol=1e-12)
    np.testing.assert_allclose(joint.task.law(), config.build().law(), rtol=0, atol=1e-14)


def test_joint_states_execute_the_expert_of_the_task() -> None:
    """A table of the task's own states is one of the joint states, wherever the task has not solved."""
    config = Planted(V=4, ell=3, H=12, gammas=(0.0, 2.0), weights=(0.5, 0.5), M=24, truth=2, prompts=3)
    expert, joint = config.build().expert(0.5), config.joint()
    with jax.enable_x64(True):
        own = np.asarray(mean_return(expert.mdp, expert.base))
        here = np.asarray(mean_return(joint.task.mdp, expert.base[:, joint.seen(2)]))
    np.testing.assert_allclose(here, own, rtol=1e-12)
    seen = config.observed
    assert len(np.unique(seen)) == 3 * 3 + 1
    np.testing.assert_array_equal(seen[seen], seen)
    with pytest.raises(ValueError, match=r"^hypothesis = 24: expected a whole number in 0..23\Z"):
        config.joint((24,))


def test_classes_of_maps() -> None:
    """Whole families in order, parts of them drawn, all different and of their kind."""
    every = Planted(V=4, ell=2, M=None).maps
    assert [tuple(row) for row in every] == list(itertools.permutations(range(4)))
    functions = Planted(V=3, ell=2, M=None, family="functions").maps
    assert [tuple(row) for row in functions] == list(itertools.product(range(3), repeat=3))
    np.testing.assert_array_equal(Planted(V=3, ell=2, M=None, family="shifts").maps, [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    for family in ("permutations", "functions", "shifts"):
        config = Planted(V=30, M=20, family=family, prompts=50, seed=5)
        maps = config.maps
        assert maps.shape == (20, 30)
        assert len({tuple(row) for row in maps}) == 20
        if family != "functions":
            assert (np.sort(maps, axis=1) == np.arange(30)).all()
        np.testing.assert_array_equal(config.golds(3), maps[3][config.words])
        assert len({tuple(word) for word in config.words}) == 50
        again = Planted(V=30, M=20, family=family, prompts=50, seed=5)
        np.testing.assert_array_equal(again.maps, maps)
        assert not np.array_equal(Planted(V=30, M=20, family=family, seed=6).maps, maps)
    assert Planted(V=2, ell=3, M=2, prompts=8).words.tolist() == [list(w) for w in itertools.product((0, 1), repeat=3)]


@pytest.mark.parametrize("prompts", [1, ((1, 1, 1), (0, 1, 2), (0, 1, 0))])
def test_dial_keeps_the_mean_and_sets_sigma(prompts: int | tuple[tuple[int, ...], ...]) -> None:
    """Mixtures of one mean whose heterogeneity is what was asked for, by the law of theory."""
    config = Planted(V=10, ell=3, H=96, gammas=(2.0,), prompts=prompts, M=2)
    mean, _ = config.moments()
    least, most = heterogeneity_range(config)
    sigmas = np.linspace(least, most, 6)
    found = heterogeneity_dial(config, sigmas.tolist())
    for one, sigma in zip(found, sigmas, strict=True):
        laws = one.solve_time_laws()
        assert math.isclose(sum(law.mean_return for law in laws) / len(laws), mean, rel_tol=1e-10)
        spread = math.sqrt(sum(law.sd_return**2 for law in laws) / len(laws))
        assert math.isclose(spread, sigma, rel_tol=1e-9)
    if prompts == 1:
        assert math.isclose(most, math.sqrt(mean * (96 - 3 + 1 - mean)), rel_tol=1e-6)
    with pytest.raises(ValueError, match=r"^sigma = .*: expected .*\.\..* tokens at a mean of .*\Z"):
        heterogeneity_dial(config, [most * 1.01])
