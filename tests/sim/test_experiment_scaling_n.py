"""Regret against n: exponents and rates on the codebook, bounds and data sets of learners that train."""

from __future__ import annotations

import dataclasses
import math

import jax
import numpy as np
import pytest

from sim.experiments.command import Result, run_experiment
from sim.experiments.experiment import Cell, chosen_learners
from sim.experiments.scaling_n import CODEBOOK, DPO_MOST, EXPERIMENT, OPTIMAL, PLANTED, TRAINED, ScalingNSettings
from sim.experiments.trained import (
    PlantedClass,
    Posed,
    anti_concentration,
    keys_of,
    trained_samples,
    trained_values,
    unrolled,
    verifiers_of,
)
from sim.tasks.random_mdp import RandomMDP
from sim.training.data import draw_base
from sim.training.problem import Settings as Numbers
from sim.training.problem import law_of_policy, value_of_law
from sim.training.registry import LEARNERS, VERIFIERS, values_over_keys
from sim.training.search import verifier_error
from sim.verdict import ROUNDING
from theory.verifier import VERIFIER_ERM
from theory.verifier_free import VF_UPPER

pytestmark = pytest.mark.usefixtures("quick_to_compile")

SMALL = PlantedClass(V=4, ell=2, H=6, M=8, prompts=3)
TINY = ScalingNSettings(
    planted=SMALL, planted_n=(2, 16, 2 * DPO_MOST), trained_seeds=16, iterations=20, learners=",".join(TRAINED), N=3
)
CELL = Cell("test", {"n": 1}, 0)


@pytest.fixture(scope="module")
def codebook() -> Result:
    return run_experiment(
        EXPERIMENT, dataclasses.replace(EXPERIMENT.settings, seeds=64, learners=",".join(OPTIMAL), N=4)
    )


@pytest.fixture(scope="module")
def planted() -> Result:
    return run_experiment(EXPERIMENT, TINY)


@pytest.fixture(scope="module")
def posed() -> Posed:
    return SMALL.posed(0.1)


def test_exponents_in_n_are_those_predicted(codebook: Result) -> None:
    """VF regret and ball gap fall like n^-1/2, the free gap stays: within a twentieth, inside the window throughout."""
    rows = {(row["quantity"], row["method"]): row for row in codebook.summary["exponents"]}
    assert {key: row["predicted"] for key, row in rows.items()} == {
        ("regret", "vf-bayes"): -0.5,
        ("regret", "vf-mle"): -0.5,
        ("ball_gap", "vb-ball - vf-bayes"): -0.5,
        ("free_gap", "vb-top-c - vf-bayes"): 0.0,
    }
    assert all(row["window_covers_range"] and row["points"] == 10 for row in rows.values())
    assert all(abs(row["exponent"] - row["predicted"]) <= 0.05 for row in rows.values())
    assert codebook.summary["largest_deviation_inside_window"] <= 0.05
    assert codebook.exit_code == 0
    assert not codebook.violations


def test_base_traces_halve_the_chance_to_miss_the_verifier(codebook: Result) -> None:
    """The chance that ERM has a wrong verifier falls like M 2^-n: by log 2 a trace once n > log2 M."""
    assert math.isclose(codebook.summary["vb_log_miss_per_trace"], -math.log(2.0), rel_tol=1e-2)
    regret = {cell["n"]: m.exact for cell, row in codebook.measured for m in row if m.method == "vb-ball"}
    assert regret[64] > 255.0
    assert all(value < 1e-9 for n, value in regret.items() if n >= 192)


def test_sampled_regrets_agree_with_exact_ones(codebook: Result) -> None:
    """Wherever there is a closed form: within 5 standard errors, rare events not seen included."""
    compared = 0
    for cell, row in codebook.measured:
        for m in row:
            if m.quantity == "regret" and math.isfinite(m.exact):
                unseen = 15.0 / m.trials * (m.reach[1] - m.reach[0])
                assert abs(m.mean - m.exact) <= 5.0 * m.se + unseen, (cell, m.method)
                compared += 1
    assert compared == 4 * len(codebook.measured)


def test_learners_that_train_keep_to_their_bounds(planted: Result) -> None:
    """No bound is violated; those that theorems give are proven, and lower bounds are never counted."""
    assert planted.exit_code == 0
    assert not planted.violations
    proven = {m.method for _, row in planted.measured for m in row if m.upper is not None and m.upper.proven}
    searching = {name for name in TRAINED if name.startswith("vb-")}
    assert proven == {"vf-class-mle", "erm", *searching}
    assert all(m.lower is None for _, row in planted.measured for m in row)


def test_search_loses_at_most_the_error_over_c_on_every_data_set(posed: Posed) -> None:
    """vb-upper-top-c and vb-upper-best-of-n trial by trial, with the error of that trial's verifier."""
    numbers = Numbers(N=3, c=posed.c, iterations=20, l2=1e-4)
    names = ("vb-erm-top-c", "vb-erm-best-of-n", "vb-logistic-top-c", "vb-logistic-best-of-n")
    with jax.enable_x64(True):
        found = trained_samples(posed.problem, names, verifiers_of(names), keys_of(CELL, 16), 2, 16, numbers)
    missed = (posed.base.value + posed.base.heterogeneity * posed.epsilon) * (1.0 - posed.c) ** 3
    for name in ("erm", "logistic"):
        error = found[f"error {name}"]
        assert error.max() > 0.0
        assert np.all(posed.value - found[f"J vb-{name}-top-c"] <= error / posed.c + ROUNDING)
        assert np.all(posed.value - found[f"J vb-{name}-best-of-n"] <= missed + 3.0 * error + ROUNDING)


def test_expert_iteration_shares_its_traces_and_dpo_stops(planted: Result) -> None:
    """Two traces are too few for four rounds; the pairs of dpo are not formed beyond its limit."""
    seen = {cell["n"]: {m.method for m in row if m.quantity == "regret"} for cell, row in planted.measured}
    assert seen[2] == set(TRAINED) - {"expert-iteration"}
    assert seen[16] == set(TRAINED)
    assert seen[2 * DPO_MOST] == set(TRAINED) - {"dpo"}
    made = EXPERIMENT.planted(TINY)
    cell, row = next((cell, row) for cell, row in planted.measured if cell["n"] == 16)
    with jax.enable_x64(True):
        keys = keys_of(cell, TINY.trained_seeds)
        quarter = trained_samples(made.posed.problem, ["expert-iteration"], (), keys, 4, made.size, made.numbers)
    (regret,) = [m.samples for m in row if m.method == "expert-iteration"]
    np.testing.assert_array_equal(made.posed.value - quarter["J expert-iteration"], regret)


def test_counting_tends_to_its_limit(planted: Result) -> None:
    """The exact regret of infinitely many traces lies within 5 standard errors of that of many, and above 0."""
    limit = planted.summary["vf_count_mle_regret_in_the_limit"]
    made = EXPERIMENT.planted(TINY)
    with jax.enable_x64(True):
        J = trained_values(made.posed.problem, ["vf-count-mle"], keys_of(CELL, 64), 4096, 4096)["vf-count-mle"]
    regret = made.posed.value - J
    assert limit > 5.0 * regret.std() / 8.0
    assert abs(regret.mean() - limit) <= 5.0 * regret.std() / 8.0


def test_the_class_has_the_expert_and_the_truth_first(posed: Posed) -> None:
    """Policies 0 is the expert wherever it comes, verifiers 0 the reward; others differ; the base is uniform."""
    problem = posed.problem
    assert len(problem.policies) == len(problem.verifiers) == SMALL.M
    with jax.enable_x64(True):
        values = [float(value_of_law(problem, law_of_policy(problem, policy))) for policy in problem.policies]
    assert math.isclose(values[0], posed.value, rel_tol=1e-12)
    assert max(values[1:]) < posed.value
    np.testing.assert_array_equal(problem.verifiers[0], problem.mdp.rewards)
    np.testing.assert_allclose(problem.base, 1.0 / SMALL.V, rtol=1e-15)


def test_a_trial_is_the_same_in_any_company(posed: Posed) -> None:
    """Fewer trials, fewer learners and more padding change no number; another stream does."""
    numbers = Numbers(iterations=5)
    with jax.enable_x64(True):
        keys = keys_of(CELL, 11)
        np.testing.assert_array_equal(jax.random.key_data(keys)[:3], jax.random.key_data(keys_of(CELL, 3)))
        assert np.all(jax.random.key_data(keys) != jax.random.key_data(keys_of(CELL, 11, stream=1)))
        names = ["vf-count-mle", "vb-erm-top-c"]
        together = trained_samples(posed.problem, names, (), keys, 5, 8, numbers)
        alone = trained_values(posed.problem, ["vb-erm-top-c"], keys[:3], 5, 16, numbers)["vb-erm-top-c"]
        np.testing.assert_allclose(alone, together["J vb-erm-top-c"][:3], rtol=1e-12)
        as_registered = values_over_keys("vf-count-mle", posed.problem, numbers, keys, 5, 8)
        np.testing.assert_allclose(as_registered, together["J vf-count-mle"], rtol=1e-12)


def test_errors_are_of_the_verifier_that_is_searched_with(posed: Posed) -> None:
    """The table learnt from a trial's key by hand has the error, and its top-c the value, of that trial."""
    numbers = Numbers(c=posed.c)
    with jax.enable_x64(True):
        keys = keys_of(CELL, 4)
        found = trained_samples(posed.problem, ["vb-erm-top-c"], ["erm"], keys, 1, 1, numbers)
        for i, key in enumerate(keys):
            drawn, coins = jax.random.split(key)
            data = draw_base(posed.problem, drawn, 1, 1)
            table = VERIFIERS["erm"].table(posed.problem, numbers, data, jax.random.split(coins)[0])
            law = LEARNERS["vb-erm-top-c"].law(posed.problem, numbers, data, coins)
            assert math.isclose(found["error erm"][i], float(verifier_error(posed.problem, table)), abs_tol=1e-12)
            assert math.isclose(found["J vb-erm-top-c"][i], float(value_of_law(posed.problem, law)), rel_tol=1e-12)
    assert len(set(found["error erm"].tolist())) > 1


def test_sides_are_those_of_the_theory(posed: Posed) -> None:
    """Numbers of vf-upper and verifier-erm at the class's size; a mass that is not reached proves nothing."""
    samples = {"J vf-class-mle": np.array([1.0, 2.0]), "error erm": np.array([0.5, 1.5])}
    numbers = Numbers(N=3)
    upper = posed.upper("vf-class-mle", 50, numbers, samples)
    assert upper is not None
    expected = VF_UPPER.evaluate(H=6, n=50, log2_M=3.0, sigma=posed.expert.heterogeneity)
    assert upper.bound == expected.value
    assert upper.proven
    (error,) = posed.errors(["erm"], 50, samples)
    assert error.upper is not None
    assert error.upper.bound == VERIFIER_ERM.evaluate(H=6, n=50, log2_M=3.0).value
    top = posed.upper("vb-erm-top-c", 50, numbers, samples)
    assert top is not None
    assert math.isclose(top.bound, 1.0 / posed.c)
    best = posed.upper("vb-erm-best-of-n", 50, numbers, samples)
    assert best is not None
    reached = posed.base.value + posed.base.heterogeneity * posed.epsilon
    assert math.isclose(best.bound, reached * (1.0 - posed.reached) ** 3 + 3 * 1.0)
    far = Posed.of(posed.base, 30.0)
    assert far.reached == 0.0 < far.c
    assert posed.c == posed.reached > 0.0
    for name in ("vb-erm-top-c", "vb-erm-best-of-n"):
        near, beyond = posed.upper(name, 50, numbers, samples), far.upper(name, 50, numbers, samples)
        assert near is not None
        assert beyond is not None
        assert near.proven
        assert not beyond.proven


def test_anti_concentration_is_the_least_over_prompts() -> None:
    """By direct summation over the law of every prompt."""
    task = RandomMDP(states=3, H=5, prompts=3, density=0.2, seed=4).build()
    divergence = np.array([0.1, 0.3, 0.02])
    law, gain = task.law(), np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    mean = gain @ law
    sd = np.sqrt(((gain[:, None] - mean) ** 2 * law).sum(axis=0))
    reached = gain[:, None] >= mean + sd * np.sqrt(divergence) - 1e-9
    assert math.isclose(anti_concentration(task, divergence), (law * reached).sum(axis=0).min(), rel_tol=1e-12)


def test_unrolled_states_tell_the_step() -> None:
    """The same law of the solve time and the same experts, on tables that do not depend on the step."""
    task = RandomMDP(states=4, tokens=3, H=6, prompts=3, density=0.1, seed=2).build()
    flat = unrolled(task)
    assert flat.mdp.is_homogeneous
    assert flat.base.ndim == 2
    np.testing.assert_allclose(flat.law(), task.law(), atol=1e-14)
    for averaged in (False, True):
        expected = task.expert(0.4, averaged)
        np.testing.assert_allclose(flat.expert(0.4, averaged).law(), expected.law(), atol=1e-13)
    with pytest.raises(ValueError, match="transitions: random"):
        unrolled(RandomMDP(states=4, branching=2).build())


def test_learners_are_chosen_by_name() -> None:
    """Cells exist where learners do; a name that is none is refused in one line."""
    assert chosen_learners("c, a", ("a", "b", "c")) == ("a", "c")
    assert {cell["task"] for cell in EXPERIMENT.cells(EXPERIMENT.settings)} == {CODEBOOK, PLANTED}
    one = dataclasses.replace(EXPERIMENT.settings, learners="dpo")
    assert {cell["task"] for cell in EXPERIMENT.cells(one)} == {PLANTED}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"horizon": "64..256x2"}, "--horizon 64..256x2"),
        ({"horizon": "x"}, "--horizon x"),
        ({"log2_M": 0}, "--log2-M 0"),
        ({"N": 0}, "--N 0"),
        ({"epsilon": "capacity"}, "--epsilon capacity"),
        ({"learners": "vf-bayes,nobody"}, "--learners nobody"),
        ({"codebook_n": (8, 4)}, "codebook_n"),
        ({"planted_n": (0, 4)}, "planted_n"),
    ],
)
def test_bad_settings_are_one_line(fields: dict[str, object], named: str) -> None:
    """A setting out of range raises one line that names it."""
    with pytest.raises(ValueError, match=named) as caught:
        dataclasses.replace(EXPERIMENT.settings, **fields)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
