"""Values against the radius of the ball: references in closed form, bounds, and where regrets are largest."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from sim.experiments.command import Result, run_experiment
from sim.experiments.experiment import Cell, Measurement
from sim.experiments.kappa import AVERAGED, CODEBOOK, EXPERIMENT, METHODS, PER_PROMPT, PLANTED, RARE, KappaSettings
from sim.experiments.trained import PlantedClass
from sim.mdp import returns
from sim.tasks.random_mdp import RandomMDP
from theory.chi2_ball import optimal_expert
from theory.notation import log_M

pytestmark = pytest.mark.usefixtures("quick_to_compile")

SETTINGS = KappaSettings(
    seeds=64,
    codebook_kappa=(0.01, 0.1, 0.1733, 0.35, 0.6, 1.0),
    rare_kappa=(0.1, 1.0, 3.0, 8.0),
    rare_V=4,
    rare_log2_M=1,
    rare_n=2,
    planted=PlantedClass(V=4, ell=2, H=6, M=8, prompts=3),
    planted_kappa=(0.1, 0.5),
    planted_n=16,
    random_mdp=RandomMDP(states=3, tokens=3, H=5, density=0.15, prompts=3, seed=1),
    random_kappa=(0.1, 1.0, 40.0),
    random_n=8,
    trained_seeds=8,
    iterations=20,
)
Found = dict[tuple[str, float, str, str], Measurement]


@pytest.fixture(scope="module")
def result() -> Result:
    return run_experiment(EXPERIMENT, SETTINGS)


@pytest.fixture(scope="module")
def found(result: Result) -> Found:
    return {(c["task"], c["kappa"], m.quantity, m.method): m for c, row in result.measured for m in row}


def test_no_bound_is_violated(result: Result, found: Found) -> None:
    """Upper bounds are proven where theorems speak, minimax lower bounds on the codebook only."""
    assert result.exit_code == 0
    assert not result.violations
    lower = {task for (task, _, _, _), m in found.items() if m.lower is not None and m.lower.proven}
    upper = {task for (task, _, _, _), m in found.items() if m.upper is not None and m.upper.proven}
    assert lower == {CODEBOOK}
    assert upper == {CODEBOOK, PLANTED, PER_PROMPT, AVERAGED}
    assert not any(m.upper or m.lower for (task, _, _, _), m in found.items() if task == RARE)


def test_every_task_has_expert_base_and_its_learners(found: Found) -> None:
    """J and regret of each learner in each cell, and regret = J of the expert - J."""
    for task, radii in SETTINGS.radii.items():
        for kappa in radii:
            expert = found[task, kappa, "J", "expert"].mean
            assert found[task, kappa, "J", "base"].mean < expert
            for name in METHODS[task]:
                J, regret = (found[task, kappa, quantity, name].mean for quantity in ("J", "regret"))
                assert math.isclose(J + regret, expert, rel_tol=1e-12, abs_tol=1e-9), (task, kappa, name)


def test_expert_of_the_codebook_gains_epsilon_sigma(found: Found) -> None:
    """J = H/2 + sqrt(kappa) H/2 and the ball's learner loses nothing once it has the verifier."""
    for kappa in SETTINGS.codebook_kappa:
        J = found[CODEBOOK, kappa, "J", "expert"].mean
        assert math.isclose(J, 128.0 * (1.0 + math.sqrt(kappa)), rel_tol=1e-12)
        assert abs(found[CODEBOOK, kappa, "regret", "vb-ball"].mean) < 1e-9


def test_regret_on_the_codebook_peaks_near_capacity(result: Result, found: Found) -> None:
    """Too near: little to lose. Near log M / n: nothing is learnt and eps sigma lost. Far: cloned, and beaten."""
    regret = {kappa: found[CODEBOOK, kappa, "regret", "vf-bayes"].mean for kappa in SETTINGS.codebook_kappa}
    assert max(regret, key=regret.__getitem__) == 0.1733
    assert 0.9 * 128.0 * math.sqrt(0.1733) < regret[0.1733] <= 128.0 * math.sqrt(0.1733)
    assert math.isclose(regret[0.01], 12.8, rel_tol=1e-3)
    assert regret[0.6] < -10.0
    assert abs(regret[1.0]) < 1e-6
    summary = result.summary
    assert summary["codebook_vf_bayes_kappa_of_largest_regret"] == 0.1733
    assert summary["codebook_vf_bayes_largest_regret"] == regret[0.1733]
    assert summary["codebook_vf_bayes_regret_at_largest_kappa"] == regret[1.0]
    assert summary["codebook_log_M_over_n"] == log_M(64) / 256


def test_rare_success_agrees_with_enumeration(found: Found) -> None:
    """Two hypotheses, two expert tokens or labels, four tokens: every data set of every prompt, summed."""
    H, V = SETTINGS.H, 4
    c = 1.0 / V
    # On a fresh prompt the wrong hypothesis plays the truth's token with probability c; J/H = c + (1 - c) P(truth).
    for kappa in SETTINGS.rare_kappa:
        p_e = min(c + math.sqrt(kappa * c * (1.0 - c)), 1.0)
        cloned, labelled = 0.0, 0.0
        for draws in itertools.product(itertools.product(range(V), repeat=2), repeat=2):  # (token, wrong one's token)
            weight = math.prod((p_e if token == 0 else (1.0 - p_e) / (V - 1)) / V for token, _ in draws)
            right, wrong = sum(t == 0 for t, _ in draws), sum(t == other for t, other in draws)
            cloned += weight * (0.5 if right == wrong else float(right > wrong))
            consistent = all((token == 0) == (token == other) for token, other in draws)
            labelled += V**-4.0 * (0.5 if consistent else 1.0)
        J = {name: found[RARE, kappa, "J", name].mean / H for name in ("expert", *METHODS[RARE])}
        assert math.isclose(J["expert"], p_e, rel_tol=1e-12)
        assert math.isclose(J["vf-clone"], c + (p_e - c) * cloned, rel_tol=1e-12)
        assert math.isclose(J["vf-deploy"], c + (1.0 - c) * cloned, rel_tol=1e-12)
        assert math.isclose(J["vb-random"], c + (1.0 - c) * labelled, rel_tol=1e-12)


def test_experts_of_the_random_mdp_are_those_of_their_balls(found: Found) -> None:
    """Prompt by prompt, chi2-expert from the law of the return; averaged over prompts no less is to be had."""
    task = SETTINGS.random_mdp.build()
    laws, law, gains = task.return_laws(), task.law(), returns(task.mdp)
    tops = [gains[column > 0.0].max() for column in law.T]
    for kappa in SETTINGS.random_kappa:
        best = np.mean([optimal_expert(one, kappa) @ one.values for one in laws])
        expert = found[PER_PROMPT, kappa, "J", "expert"]
        assert math.isclose(expert.mean, best, rel_tol=1e-9)
        assert expert.upper is not None
        assert expert.upper.proven
        assert expert.upper.bound >= best - 1e-9
        averaged = found[AVERAGED, kappa, "J", "expert"].mean
        assert best - 1e-9 <= averaged <= np.mean(tops) + 1e-9
    assert found[AVERAGED, 1.0, "J", "expert"].mean > found[PER_PROMPT, 1.0, "J", "expert"].mean + 1e-3


def test_summary_says_where_regrets_are_largest() -> None:
    """On made-up numbers: largest regret, where, at the end, and the most that J falls."""
    cells = [Cell("kappa", {"task": RARE, "kappa": kappa}, 0) for kappa in (1.0, 2.0, 4.0)]
    rows = [
        [
            Measurement("J", "vf-clone", "tokens", exact=J),
            Measurement("regret", "vf-clone", "tokens", exact=regret),
        ]
        for J, regret in ((5.0, 1.0), (3.0, 9.0), (4.0, 2.0))
    ]
    chosen = dataclasses.replace(SETTINGS, learners="vf-clone")
    (peak,) = EXPERIMENT.summarise(chosen, list(zip(cells, rows, strict=True)))["peaks"]
    assert peak == {
        "task": RARE,
        "method": "vf-clone",
        "kappa_of_largest_regret": 2.0,
        "largest_regret": 9.0,
        "largest_regret_se": 0.0,
        "largest_kappa": 4.0,
        "regret_at_largest_kappa": 2.0,
        "regret_at_largest_kappa_se": 0.0,
        "largest_fall_of_J": 2.0,
    }


def test_cells_are_those_of_the_chosen_learners() -> None:
    """Every task by default; those alone whose learners are asked for otherwise."""
    assert {cell["task"] for cell in EXPERIMENT.cells(SETTINGS)} == set(METHODS)
    some = dataclasses.replace(SETTINGS, learners="vf-softmax-sft,vb-random")
    assert {cell["task"] for cell in EXPERIMENT.cells(some)} == {RARE, PER_PROMPT, AVERAGED}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"horizon": "64,128"}, "--horizon 64,128"),
        ({"horizon": "x"}, "--horizon x"),
        ({"log2_M": 5000}, "--log2-M 5000"),
        ({"N": 0}, "--N 0"),
        ({"learners": "nobody"}, "--learners nobody"),
        ({"n": 0}, "n 0"),
        ({"codebook_kappa": (0.5, 2.0)}, "codebook_kappa"),
        ({"random_kappa": (2.0, 1.0)}, "random_kappa"),
        ({"rare_kappa": (0.0, 1.0)}, "rare_kappa"),
    ],
)
def test_bad_settings_are_one_line(fields: dict[str, object], named: str) -> None:
    """A setting out of range raises one line that names it."""
    with pytest.raises(ValueError, match=named) as caught:
        dataclasses.replace(SETTINGS, **fields)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
