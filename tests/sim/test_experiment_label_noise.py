"""Noisy labels: what they are worth exactly, where they stop being worth more than none, and the bounds on them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import jax
import numpy as np
import pytest

from sim.experiments.command import Result, run_experiment
from sim.experiments.experiment import Measurement
from sim.experiments.label_noise import (
    CODEBOOK,
    EXPERIMENT,
    RARE,
    LabelNoiseSettings,
    crossing,
    first_token_problem,
)
from sim.tasks.rare_success import RareSuccess
from sim.training.class_erm import disagreements
from sim.training.data import draw_base, draw_expert, tally
from sim.training.problem import law_of_policy, value_of_law
from sim.training.search import verifier_error
from theory.verifier import VERIFIER_NOISY, erm_success_codebook
from theory.verifier_free import mle_success_codebook

pytestmark = pytest.mark.usefixtures("quick_to_compile")

DRAWN = "vf-bayes,vf-mle,vb-bayes,vb-ball,vb-top-c,vb-best-of-n"
TRAINED = "vf-class-mle,vb-bayes-class,vb-erm-top-c"
CODEBOOK_ONLY = LabelNoiseSettings(seeds=256, learners=DRAWN)
RARE_ONLY = LabelNoiseSettings(
    learners=TRAINED,
    etas=(0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.45),
    rare=RareSuccess(V=4, M=16, H=3, prompts=6),
    n=256,
    p_e=0.6,
    trained_seeds=32,
)


@pytest.fixture(scope="module")
def drawn() -> Result:
    return run_experiment(EXPERIMENT, CODEBOOK_ONLY)


@pytest.fixture(scope="module")
def trained() -> Result:
    return run_experiment(EXPERIMENT, RARE_ONLY)


def regrets(result: Result, method: str) -> list[Measurement]:
    return [next(m for m in row if m.quantity == "regret" and m.method == method) for _, row in result.measured]


def errors(result: Result) -> list[Measurement]:
    return [row[-1] for _, row in result.measured]


def test_nothing_is_violated(drawn: Result, trained: Result) -> None:
    """No bound, and no order that garbling gives."""
    for result in (drawn, trained):
        assert result.exit_code == 0
        assert not result.violations
    assert len(drawn.measured) == 25
    assert len(trained.measured) == 4


def test_noise_leaves_erm_the_chance_of_a_weaker_expert(drawn: Result) -> None:
    """Samples of ERM's error agree with P(hit) of maximum likelihood at 1 - 2 eta; at 0 that is ERM's own."""
    n, H = 512, 512
    for (cell, _), found in zip(drawn.measured, errors(drawn), strict=True):
        hit = mle_success_codebook(n, 64, 1.0 - 2.0 * cell["eta"])
        assert found.exact == pytest.approx(0.5 * H * (1.0 - hit), abs=1e-12)
        assert abs(found.mean - found.exact) <= 5 * found.se + 1e-9 * H
    assert mle_success_codebook(8, 4, 1.0) == pytest.approx(erm_success_codebook(8, 4), rel=1e-12)


def test_erm_on_flipped_labels_is_enumerated() -> None:
    """Three hypotheses, three labels: all prompts, all flips, all ties; the formula says the same."""
    eta, n, M = 0.2, 3, 2
    total = 0.0
    # Of each wrong hypothesis only its agreement with the truth matters: fair and independent at every trace.
    for flips in itertools.product((0, 1), repeat=n):
        chance = math.prod(eta if flip else 1.0 - eta for flip in flips)
        for alike in itertools.product((0, 1), repeat=n):
            truth = sum(not flip for flip in flips)
            other = sum(same != flip for same, flip in zip(alike, flips, strict=True))
            total += chance * 2.0**-n * (1.0 if truth > other else 0.5 if truth == other else 0.0)
    assert mle_success_codebook(n, math.log2(M), 1.0 - 2.0 * eta) == pytest.approx(total, rel=1e-12)


def test_learners_without_labels_see_no_noise(drawn: Result, trained: Result) -> None:
    """Their numbers are the same at every eta, trial by trial; those of the others are not."""
    for result, flat, moved in ((drawn, "vf-bayes", "vb-bayes"), (trained, "vf-class-mle", "vb-erm-top-c")):
        samples = [m.samples for m in regrets(result, flat)]
        assert all(np.array_equal(samples[0], other) for other in samples[1:])
        first, *_, last = (m.mean for m in regrets(result, moved))
        assert last > first


def test_exact_regrets_are_the_means(drawn: Result) -> None:
    """Within 5 standard errors wherever an exact value is known: everything but the Bayes learners."""
    for method in ("vf-mle", "vb-ball", "vb-top-c", "vb-best-of-n"):
        for found in regrets(drawn, method):
            assert abs(found.mean - found.exact) <= 5 * found.se + 1e-9 * 512
    assert all(math.isnan(m.exact) for m in regrets(drawn, "vb-bayes"))


def test_labels_and_expert_traces_break_even(drawn: Result) -> None:
    """vb-ball has the regret of vf-mle exactly at eta = (1 - epsilon)/2, and the optimal learners cross there."""
    eta = drawn.summary["break_even_eta"]
    assert eta == pytest.approx((1.0 - math.sqrt(math.log(2.0) * 64 / 512)) / 2.0)
    rows = {(row["labels"], row["none"]): row for row in drawn.summary["crossings"]}
    assert rows["vb-ball", "vf-mle"]["eta"] == pytest.approx(eta, abs=1e-9)
    assert rows["vb-ball", "vf-mle"]["proven"] == rows["vb-bayes", "vf-bayes"]["proven"] == eta
    assert abs(rows["vb-bayes", "vf-bayes"]["eta"] - eta) <= 0.02
    # No learner from labels is as good as the best without beyond there, and leaving the ball comes near to it.
    assert rows["vb-ball", "vf-bayes"]["eta"] < rows["vb-top-c", "vf-bayes"]["eta"] <= eta


def test_the_optimal_learner_is_one(drawn: Result) -> None:
    """Knowing eta and leaving the ball, vb-bayes loses to no other learner from the same labels."""
    best = regrets(drawn, "vb-bayes")
    for method in ("vb-ball", "vb-top-c", "vb-best-of-n"):
        for one, other in zip(best, regrets(drawn, method), strict=True):
            assert one.mean <= other.mean + 5 * math.hypot(one.se, other.se) + 1e-9 * 512


def test_bounds_are_those_of_noisy_labels(drawn: Result) -> None:
    """verifier-noisy itself, and inside top-c's bound: error over c = 1/2; both valid while labels are good."""
    for (cell, row), found in zip(drawn.measured, errors(drawn), strict=True):
        bound = VERIFIER_NOISY.evaluate(H=512, n=512, log2_M=64, eta=cell["eta"]).value
        top_c = next(m for m in row if m.method == "vb-top-c").upper
        assert found.upper is not None
        assert top_c is not None
        assert found.upper.bound == bound
        assert found.upper.proven
        assert top_c.bound == pytest.approx(2.0 * bound)
        assert top_c.label == "vb-upper-top-c + verifier-noisy"
        assert top_c.valid == (2.0 * bound < 512)
    assert regrets(drawn, "vb-top-c")[0].upper.valid  # type: ignore[union-attr]
    assert not regrets(drawn, "vb-top-c")[-1].upper.valid  # type: ignore[union-attr]


def test_the_lower_bound_speaks_of_all_learners_from_labels(drawn: Result) -> None:
    """Where labels are nearly coins no learner gains more than the bound allows: it is valid and almost attained."""
    last = regrets(drawn, "vb-bayes")[-1]
    assert last.lower is not None
    assert last.lower.proven
    assert last.lower.valid
    assert 0.9 * last.mean < last.lower.bound <= last.mean


def test_a_bound_too_small_would_be_noticed(drawn: Result) -> None:
    """ERM's error lies above a hundredth of its bound at some eta: the check can fail."""
    assert any(m.upper is not None and m.mean > 0.01 * m.upper.bound for m in errors(drawn))


def test_violated_orders_are_told(drawn: Result) -> None:
    """Results of two etas exchanged: the summary says which learners stand in the wrong order."""
    at = {cell["eta"]: row for cell, row in drawn.measured}
    swapped = [(cell, at.get({0.3: 0.4, 0.4: 0.3}.get(cell["eta"], cell["eta"]))) for cell, _ in drawn.measured]
    summary = EXPERIMENT.summarise(CODEBOOK_ONLY, swapped)  # type: ignore[arg-type]
    claims = EXPERIMENT.violated(summary)
    assert any("vb-ball: less regret" in claim for claim in claims)
    assert any("vb-ball and vf-mle at eta = 0.3" in claim for claim in claims)
    assert EXPERIMENT.violated(drawn.summary) == []


def test_nobody_is_better_than_bayes(trained: Result) -> None:
    """ERM's regrets put in the place of Bayes's and the other way round: the summary says so."""

    def exchanged(m: Measurement) -> Measurement:
        pair = {"vb-erm-top-c": "vb-bayes-class", "vb-bayes-class": "vb-erm-top-c"}
        return dataclasses.replace(m, method=pair.get(m.method, m.method))

    means = [[m.mean for m in regrets(trained, name)] for name in ("vb-bayes-class", "vb-erm-top-c")]
    assert any(one < other - 0.1 for one, other in zip(*means, strict=True))
    assert EXPERIMENT.violated(trained.summary) == []
    certain = [
        (cell, [exchanged(dataclasses.replace(m, samples=None, exact=m.mean)) for m in row])
        for cell, row in trained.measured
    ]
    claims = EXPERIMENT.violated(EXPERIMENT.summarise(RARE_ONLY, certain))
    assert any("vb-erm-top-c" in claim and "less regret than vb-bayes-class" in claim for claim in claims)


def test_few_trials_decide_no_order(drawn: Result) -> None:
    """A handful of data sets has no standard error to speak of: no violation. From 256 on Bayes's place is checked."""
    for seed in range(100, 108):
        few = dataclasses.replace(CODEBOOK_ONLY, seeds=2, seed=seed, learners="vb-bayes,vb-top-c,vb-best-of-n")
        assert run_experiment(EXPERIMENT, few).exit_code == 0

    def worse(m: Measurement) -> Measurement:
        return m if m.method != "vb-bayes" or m.samples is None else dataclasses.replace(m, samples=m.samples + 20.0)

    moved = [(cell, [worse(m) for m in row]) for cell, row in drawn.measured]
    claims = EXPERIMENT.violated(EXPERIMENT.summarise(CODEBOOK_ONLY, moved))
    assert any("vb-top-c at eta = 0.3: less regret than vb-bayes" in claim for claim in claims)


def test_cloning_is_bounded_at_the_spread_of_its_expert(trained: Result) -> None:
    """The expert solves with probability p_e: sigma_e = H sqrt(p_e (1 - p_e)), h = (1 + log M)/n."""
    h = (1.0 + math.log(16)) / 256
    expected = 2.0 * math.sqrt(2.0) * 3 * math.sqrt(0.6 * 0.4) * math.sqrt(h) + 2.0 * 3 * h
    for m in regrets(trained, "vf-class-mle"):
        assert m.upper is not None
        assert m.upper.proven
        assert m.upper.bound == pytest.approx(expected, rel=1e-12)


def test_crossings_are_interpolated() -> None:
    assert crossing([0.0, 0.1, 0.2], [-1.0, -1.0, 3.0]) == (pytest.approx(0.125), "")
    assert crossing([0.0, 0.1], [1.0, 2.0])[0] is None
    assert crossing([0.0, 0.1], [-2.0, 0.0])[0] is None
    assert crossing([0.0, 0.1], [1.0, 2.0])[1] != crossing([0.0, 0.1], [-2.0, 0.0])[1]


def test_first_tokens_decide() -> None:
    """The base solves with probability c, the expert p_e; other members with what their tokens share with the truth."""
    rare = RareSuccess(V=4, M=5, H=3, prompts=6, truth=2)
    problem = first_token_problem(rare, 0.6)
    with jax.enable_x64(True):

        def value(policy: Any) -> float:
            return float(value_of_law(problem, law_of_policy(problem, policy)))

        assert value(problem.base) == pytest.approx(3 * 0.25)
        assert value(problem.expert) == pytest.approx(3 * 0.6)
        for j in range(5):
            shared = np.mean(rare.words[:, j] == rare.words[:, 2])
            assert value(problem.policies[j]) == pytest.approx(3 * (0.6 * shared + 0.4 / 3 * (1 - shared)))
            assert float(verifier_error(problem, problem.verifiers[j])) == pytest.approx(3 * 2 / 4 * (1 - shared))


def test_members_are_charged_for_a_trace_as_a_whole() -> None:
    """Of every noisy trace each verifier has all H labels wrong, or none; the truth those that are flipped."""
    rare = RareSuccess(V=4, M=5, H=3, prompts=6)
    problem = first_token_problem(rare, 0.6)
    with jax.enable_x64(True):

        @jax.jit
        def wrong(key: jax.Array) -> jax.Array:
            data = draw_base(problem, key, 1, 1, 0.4)
            return disagreements(problem.verifiers, tally(data, problem.verifiers[0]))

        charged = np.array([wrong(jax.random.key(i)) for i in range(40)])
        expert = draw_expert(problem, jax.random.key(1), 2000, 2000)
        rate = float(expert.solved.mean())
    assert set(charged.ravel().tolist()) == {0.0, 3.0}
    assert 5 <= np.sum(charged[:, 0] > 0.0) <= 28  # two fifths of the labels are flipped
    assert abs(rate - 0.6) <= 5 * math.sqrt(0.24 / 2000)


def test_trained_learners_learn_and_unlearn(trained: Result) -> None:
    """At eta = 0 ERM and Bayes are perfect; at .45 ERM has lost to cloning, which never saw a label."""
    H, p_e = 3, 0.6
    for method in ("vb-erm-top-c", "vb-bayes-class"):
        means = [m.mean for m in regrets(trained, method)]
        assert means[0] == pytest.approx(H * (p_e - 1.0), abs=1e-9)
        assert means[-1] > -0.1
    assert means[-1] <= regrets(trained, "vb-erm-top-c")[-1].mean
    assert regrets(trained, "vb-erm-top-c")[-1].mean > 0.1
    assert regrets(trained, "vf-class-mle")[0].mean == pytest.approx(0.0, abs=1e-9)
    rows = {(row["labels"], row["none"]): row["eta"] for row in trained.summary["crossings"]}
    assert 0.1 < rows["vb-erm-top-c", "vf-class-mle"] < 0.45


def test_verifier_noisy_bounds_trained_erm(trained: Result) -> None:
    """The measured error of ERM's verifier lies under verifier-noisy, and the bound says something."""
    assert [cell["eta"] for cell, _ in trained.measured] == [0.0, 0.1, 0.3, 0.45]
    for found in errors(trained):
        assert found.quantity == "verifier_error"
        assert found.upper is not None
        assert found.upper.proven
        assert found.mean <= found.upper.bound
    assert [m.upper.valid for m in errors(trained)][:3] == [True] * 3  # type: ignore[union-attr]
    assert errors(trained)[-1].mean > 0.1


def test_a_cell_has_its_numbers_in_any_company(drawn: Result) -> None:
    """Measured alone, in reverse and together: the same samples."""
    cells = EXPERIMENT.cells(CODEBOOK_ONLY)
    picked = [cells[3], cells[17]]
    (last, first) = EXPERIMENT.measure(CODEBOOK_ONLY, picked[::-1])
    (alone,) = EXPERIMENT.measure(CODEBOOK_ONLY, picked[1:])
    for name in first:
        assert np.array_equal(last[name], alone[name])
    assert not np.array_equal(first["vb_erm_hit"], last["vb_erm_hit"])


def test_learners_can_be_chosen() -> None:
    """One method of one task: no cells of the other, no crossings without a partner."""
    settings = dataclasses.replace(CODEBOOK_ONLY, learners="vb-ball", etas=(0.1,))
    result = run_experiment(EXPERIMENT, settings)
    assert {cell["task"] for cell, _ in result.measured} == {CODEBOOK}
    assert result.summary["crossings"] == []
    only = dataclasses.replace(CODEBOOK_ONLY, learners="vb-erm-top-c")
    assert {cell["task"] for cell in EXPERIMENT.cells(only)} == {RARE}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"learners": "vb-elimination"}, "--learners vb-elimination"),
        ({"horizon": "1..4"}, "--horizon 1..4"),
        ({"horizon": "0"}, "--horizon 0"),
        ({"rule": "n=-1"}, "--rule n=-1"),
        ({"epsilon": "2"}, "--epsilon 2"),
        ({"log2_M": 5000}, "--log2-M 5000"),
        ({"N": 0}, "--N 0"),
        ({"etas": (0.1, 0.5)}, "etas"),
        ({"etas": (0.2, 0.1)}, "etas"),
        ({"p_e": 0.1}, "p_e 0.1"),
        ({"trained_seeds": 1}, "trained_seeds 1"),
        ({"n": 0}, "n 0"),
    ],
)
def test_bad_settings_are_one_line(fields: dict[str, Any], named: str) -> None:
    """A setting out of range raises one line that names it."""
    with pytest.raises(ValueError, match=named) as caught:
        dataclasses.replace(CODEBOOK_ONLY, **fields)
    assert "\n" not in str(caught.value)
