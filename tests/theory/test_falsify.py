"""The attacks: they find a broken constant, they spare what is true, and the recorded table can be computed again."""

from __future__ import annotations

import functools
import itertools
import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy

from theory.falsify import Finding, falsify
from theory.falsify.adversary import Adversary, adversaries, numeric, objective
from theory.falsify.crossover import best_labelled, best_noisy, best_perfect, picked, random_consistent, vote
from theory.falsify.instances import best_in_ball, chi2, in_ball
from theory.falsify.search import attack
from theory.falsify.table import PATH, again, attacker, recorded, write
from theory.falsify.verifier_free import mean_weight, signs, walk_weight
from theory.mutation import mutants_of
from theory.proof import Claim
from theory.registry import theorem, theorems
from theory.relation import Relation

LABELS = tuple(theorems())
ROWS = tuple(recorded().get("findings", ()))
#: What the mathematics says is attained: label and claim.
ATTAINED = (
    ("chi2-expert", "value"),
    ("expert-heterogeneity", "lower"),
    ("anti-concentration", "cantelli"),
    ("anti-concentration", "heterogeneity"),
    ("vb-upper-top-c", "value"),
    ("vf-upper", "hellinger"),
)


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['label']}-{row['claim']}"


def _is_inequality(row: Mapping[str, Any]) -> bool:
    return theorem(row["label"]).claim(row["claim"]).relation.op != "="


def _broken(claim: Claim) -> Claim:
    """The right side moved by a tenth of its size in the direction that claims more."""
    relation = claim.relation
    sign = -1 if relation.op == "<=" else 1
    changed = relation.rhs + sign * sympy.Abs(relation.rhs) / 10
    return replace(claim, relation=replace(relation, rhs=changed))


@functools.cache
def _quick(label: str) -> tuple[Finding, ...]:
    return falsify(label, seed=1, effort=0)


@pytest.mark.parametrize("label", LABELS)
def test_no_theorem_is_violated(label: str) -> None:
    """At a seed of its own and little effort no attack finds a violation."""
    assert [finding.claim for finding in _quick(label) if finding.violated] == []


@pytest.mark.parametrize("label", LABELS)
def test_every_inequality_is_attacked(label: str) -> None:
    """Each inequality that a statement claims has an adversary, and every adversary a claim."""
    claims = theorem(label).claims
    attacked = {adversary.claim for adversary in adversaries(label)}
    assert {claim.name for claim in claims if claim.relation.op != "="} <= attacked <= {c.name for c in claims}


@pytest.mark.parametrize("label", LABELS)
def test_every_theorem_is_in_the_table(label: str) -> None:
    """The recorded table has a row for every attacked claim, and none is violated."""
    rows = [row for row in ROWS if row["label"] == label]
    assert {row["claim"] for row in rows} == {adversary.claim for adversary in adversaries(label)}
    assert not any(row["violated"] for row in rows)


@pytest.mark.parametrize("row", ROWS, ids=_named)
def test_recorded_sides_are_computed_again(row: Mapping[str, Any]) -> None:
    """Both sides of every row follow from its instance, now, and so does its verdict."""
    found = again(row)
    assert (found.lhs, found.rhs) == pytest.approx((row["lhs"], row["rhs"]), rel=1e-9, abs=1e-12)
    assert found.ratio == pytest.approx(row["ratio"], rel=1e-6)
    assert found.violated is row["violated"] is False


def _slack(hypothesis: Relation, letters: Mapping[str, Any]) -> float:
    """By how much it holds, 0 for an equality that does; inf if it speaks of something that is no letter."""
    try:
        slack = numeric(hypothesis.slack)(letters)
    except (KeyError, TypeError, ValueError, SyntaxError):  # a random letter, or two of one name
        return math.inf
    return -abs(slack) if hypothesis.op == "=" else slack


@pytest.mark.parametrize("row", ROWS, ids=_named)
def test_recorded_instances_lie_in_the_domain(row: Mapping[str, Any]) -> None:
    """Every hypothesis of the claim that can be computed from the letters of the recorded instance holds there."""
    instance = {name: np.asarray(v) if isinstance(v, list) else v for name, v in row["instance"].items()}
    letters = attacker(row).letters(np, instance)
    claim = theorem(row["label"]).claim(row["claim"])
    slacks = [_slack(hypothesis, letters) for hypothesis in claim.where]
    assert min(slacks, default=0.0) >= -1e-7
    assert min((letters[symbol.name] for symbol in claim.positive if symbol.name in letters), default=1.0) > 0.0


@pytest.mark.parametrize("row", [row for row in ROWS if _is_inequality(row) and row["ratio"] > 0.95], ids=_named)
def test_recorded_instance_refutes_a_broken_claim(row: Mapping[str, Any]) -> None:
    """Where an instance nearly attains a claim, a constant of it off by a tenth in the unsafe direction is false there.

    Not where the right side is 0: there is no constant then.
    """
    claim = theorem(row["label"]).claim(row["claim"])
    mutants = [replace(claim, relation=mutant.relation) for mutant in mutants_of(claim.relation)]
    assert any(again(row, broken).violated for broken in (_broken(claim), *mutants)) or row["rhs"] == 0.0


def _breakable() -> list[Mapping[str, Any]]:
    """Of each label the first inequality whose recorded ratio is above 0.9 and whose right side is not 0."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in ROWS:
        if _is_inequality(row) and row["ratio"] > 0.9 and abs(row["rhs"]) > 0.0:
            found.setdefault(row["label"], row)
    return list(found.values())


@pytest.mark.parametrize("row", _breakable(), ids=_named)
def test_search_finds_a_broken_constant(row: Mapping[str, Any]) -> None:
    """From scratch, knowing no extremal instance, an attack of its kind finds that a broken constant is false.

    The ascent is called where a small evolution does not find it.
    """
    claim = theorem(row["label"]).claim(row["claim"])
    assert any(attack(attacker(row), _broken(claim), seed=2, effort=effort).violated for effort in (0, 1))


@pytest.mark.parametrize(("label", "claim"), ATTAINED)
def test_known_equalities_are_reached(label: str, claim: str) -> None:
    """Where the mathematics has an extremal instance, the recorded search reached it up to one per cent."""
    rows = [row for row in ROWS if (row["label"], row["claim"]) == (label, claim)]
    assert [row["verdict"] for row in rows] == ["tight"]
    assert rows[0]["ratio"] >= 0.99


@pytest.mark.parametrize(
    ("label", "name"),
    [("anti-concentration", "symmetric"), ("crossover-vf-wins", "advantage"), ("planted-law", "value")],
)
def test_recorded_searches_repeat(label: str, name: str) -> None:
    """The recorded seed and effort give the recorded ratio."""
    manifest = recorded()["manifest"]
    row = next(row for row in ROWS if (row["label"], row["claim"]) == (label, name))
    found = attack(attacker(row), theorem(label).claim(name), seed=manifest["seed"], effort=manifest["effort"])
    assert found.ratio == pytest.approx(row["ratio"], rel=1e-3)


def test_a_search_repeats() -> None:
    """The same seed finds the same instances, by evolution alone and after an ascent."""
    adversary = next(a for a in adversaries("expert-heterogeneity") if a.claim == "upper")
    claim = theorem(adversary.label).claim(adversary.claim)
    for effort in (0, 1):
        assert attack(adversary, claim, seed=3, effort=effort) == attack(adversary, claim, seed=3, effort=effort)


def test_seeds_differ() -> None:
    """Another seed is another search."""
    one, other = (falsify("anti-concentration", seed=seed, effort=0)[0] for seed in (0, 1))
    assert one.instance != other.instance


def test_verdicts_are_words() -> None:
    """A claim that no instance nearly attains is of unknown tightness, and the text says so with its best ratio."""
    finding = next(f for f in _quick("verifier-erm") if f.claim == "few")
    assert (finding.verdict, finding.tight) == ("tightness unknown", False)
    assert "tightness unknown, best ratio 0." in str(finding)
    assert finding.bound in str(finding)
    assert finding.as_dict()["verdict"] == finding.verdict
    loud = replace(finding, violated=True, ratio=1.5)
    assert (loud.verdict, loud.tight) == ("violated", False)
    assert loud.worse(finding) == finding.worse(loud) == replace(loud, evaluations=2 * finding.evaluations)


def test_negative_effort_and_unknown_label_are_refused() -> None:
    """ValueError and KeyError, one line each."""
    with pytest.raises(ValueError, match="effort = -1"):
        falsify("chi2-expert", effort=-1)
    with pytest.raises(KeyError, match="no-such"):
        falsify("no-such")


def test_import_costs_no_array_library() -> None:
    """`import theory.falsify` imports neither JAX nor NumPy nor sympy."""
    code = "import sys, theory.falsify; print(sorted({'jax', 'numpy', 'sympy', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=PATH.parents[2])
    assert done.stdout.strip() == "[]"


def test_small_effort_needs_no_jax() -> None:
    """At effort 0 there is evolution only."""
    code = "import sys; from theory.falsify import falsify; falsify('anti-concentration', effort=0); "
    code += "print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=PATH.parents[2])
    assert done.stdout.strip() == "False"


def test_table_is_plain_sorted_json(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is written with sorted keys and what it was made with, and reads back as it was."""
    only = {"planted-law": theorem("planted-law")}
    monkeypatch.setattr("theory.registry.theorems", lambda: only)
    table = write(tmp_path / "table.json", effort=0)
    text = (tmp_path / "table.json").read_text()
    assert json.loads(text) == table
    assert json.dumps(table, indent=1, sort_keys=True) + "\n" == text
    assert {"command", "seed", "effort", "jax", "numpy", "scipy"} <= set(table["manifest"])


# What the left sides are made of, against plainer enumerations.


def test_objective_orders_instances() -> None:
    """The ratio where the claim says something; below 0 where it says nothing; above 1 once it fails."""
    assert objective(np, "<=", 1.0, 2.0, 0.0, False, 1.0) == 0.5
    assert objective(np, ">=", 2.0, 1.0, 0.0, False, 1.0) == 0.5
    assert objective(np, ">=", 2.0, -1.0, 0.0, False, 1.0) == -0.5
    assert objective(np, ">=", -2.0, -1.0, 0.0, False, 1.0) == 2.0
    assert objective(np, "<=", 0.5, 0.0, 0.0, False, 1.0) == 1.5
    assert objective(np, ">=", -1.0, -2.0, 0.0, True, 1.0) == 0.5
    assert objective(np, "=", 1.0, 1.0, 0.0, False, 1.0) == 1.0


def test_policies_lie_in_the_ball_and_none_beats_the_best() -> None:
    """On random laws: chi^2 at most kappa, masses a law, value at most that of the best expert."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        p, q, r, epsilon = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4)), rng.uniform(0, 8, 4), rng.uniform(0, 3)
        policy = in_ball(np, p, q, epsilon)
        assert policy.sum() == pytest.approx(1.0)
        assert policy.min() >= 0.0
        assert chi2(np, policy, p) <= epsilon**2 * (1 + 1e-9)
        assert policy @ r <= best_in_ball(np, p, r, epsilon) + 1e-9


@pytest.mark.parametrize(("n", "M"), [(1, 2), (2, 2), (2, 3), (3, 2), (1, 4)])
def test_walk_is_the_sum_over_data_sets(n: int, M: int) -> None:
    """E|w| by convolution of signs and agreements is E|w| over all data sets."""
    f, base = np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    assert walk_weight(n, M, 0.7) == pytest.approx(mean_weight(signs(M, parity=False), f, base, n, 0.7), rel=1e-12)


def _rare_success(V: int, M: int, n: int, p_e: float, labelled: bool) -> float:
    """J/H of the best learner over every data set: prompts, tokens and, if labelled, whether each solves."""
    prompts = list(itertools.product(range(V), repeat=M))
    joint: dict[Any, list[float]] = {}
    for sample in itertools.product(itertools.product(prompts, range(V)), repeat=n):
        for i in range(M):
            labels = tuple(x[i] == a for x, a in sample)
            tokens = (1.0 / V,) * n if labelled else [p_e if hit else (1 - p_e) / (V - 1) for hit in labels]
            seen = (sample, labels) if labelled else sample
            joint.setdefault(seen, [0.0] * M)[i] += math.prod(tokens) / (len(prompts) ** n * M)
    fresh = [[sum(w for w, play in zip(ws, x, strict=True) if play == a) for a in range(V)]
             for ws in joint.values() for x in prompts]  # fmt: skip
    return sum(max(votes) for votes in fresh) / len(prompts)


@pytest.mark.parametrize(("V", "M", "n"), [(2, 2, 1), (2, 2, 2), (2, 3, 1), (3, 2, 1)])
def test_best_learners_of_rare_success_are_enumerated(V: int, M: int, n: int) -> None:
    """Votes of binomially many survivors, and weighted votes, against every data set."""
    assert best_labelled(V, M, n) == pytest.approx(_rare_success(V, M, n, 1.0, labelled=True), rel=1e-12)
    assert best_perfect(V, M, n) == pytest.approx(_rare_success(V, M, n, 1.0, labelled=False), rel=1e-12)
    p_e = 1.5 / V
    assert best_noisy(V, M, n, p_e) == pytest.approx(_rare_success(V, M, n, p_e, labelled=False), rel=1e-12)


@pytest.mark.parametrize(("V", "m"), [(2, 1), (2, 3), (3, 4), (5, 3)])
def test_vote_is_the_mean_largest_count(V: int, m: int) -> None:
    """W(m) over all plays of m hypotheses."""
    plays = list(itertools.product(range(V), repeat=m))
    expected = sum(max(play.count(a) for a in range(V)) for play in plays) / (m * len(plays))
    assert vote(V, m) == pytest.approx(expected, rel=1e-12)


def test_explicit_learners_of_rare_success_agree_where_they_must() -> None:
    """A perfect expert's tokens leave a uniform choice among those that agree with all; no draws leave all M."""
    V, M, n = 3, 4, 2
    assert picked(V, M, n, 1.0) == pytest.approx((1 - (1 - V**-n) ** M) / (M * V ** -float(n)), rel=1e-12)
    assert random_consistent(V, M, 0) == pytest.approx(1.0 / M, rel=1e-12)


def _task_values(task: Mapping[str, Any]) -> tuple[float, float]:
    """Best values on two labelled draws and on the kept ones, over every data set."""
    prompts, base, rewarded = task["prompts"], task["base"], task["rewarded"]
    sizes, size = range(rewarded.shape[0]), base.shape
    labelled: dict[Any, Any] = {}
    kept: dict[Any, Any] = {}
    for sample in itertools.product(itertools.product(range(size[0]), range(size[1])), repeat=2):
        for i in sizes:
            labels = tuple(int(rewarded[i, x, a]) for x, a in sample)
            solved = tuple(draw for draw, label in zip(sample, labels, strict=True) if label)
            for table, seen in ((labelled, (sample, labels)), (kept, solved)):
                chance = math.prod(prompts[x] * base[x, a] for x, a in sample) / len(sizes)
                table.setdefault(seen, np.zeros(len(sizes)))[i] += chance
    rewards = 8.0 * rewarded
    return tuple(
        sum(prompts @ np.tensordot(joint, rewards, axes=1).max(axis=1) for joint in table.values())
        for table in (labelled, kept)
    )  # type: ignore[return-value]


def test_finite_tasks_are_enumerated() -> None:
    """Best values with and without labels, against every data set, on random tasks."""
    adversary = next(a for a in adversaries("garbling") if a.claim == "filtered")
    rng = np.random.default_rng(5)
    for _ in range(20):
        task = adversary.space.at(np, rng.uniform(size=len(adversary.space.box)))
        found = adversary.letters(np, task)
        assert (found["J_VB"], found["J_kept"]) == pytest.approx(_task_values(task), rel=1e-12)


def _gradients(adversary: Adversary) -> bool:
    return adversary.differentiable(theorem(adversary.label).claim(adversary.claim))


@pytest.mark.parametrize("label", ["chi2-expert", "verifier-noisy"])
def test_jax_and_numpy_see_the_same_objective(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled objective of a batch equals NumPy's, in float64."""
    from theory.falsify.search import _ascend, _numpy_batch

    rng = np.random.default_rng(3)
    adversary = next(a for a in adversaries(label) if _gradients(a))
    claim = theorem(label).claim(adversary.claim)
    shares = rng.uniform(size=(40, len(adversary.space.box)))
    monkeypatch.setattr("theory.falsify.search.STEPS", 1)
    _, _, _, batch = _ascend(adversary, claim, rng, 1)
    assert batch(shares) == pytest.approx(_numpy_batch(adversary, claim)(shares), rel=1e-7, abs=1e-9)
