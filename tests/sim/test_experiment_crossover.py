"""The crossover map: its simulation against enumeration, the token process and exact values; verdicts; the figure."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import matplotlib.image as image
import numpy as np
import pyarrow.parquet as pq
import pytest

import sim.experiments.crossover as crossover
from figures.crossover import draw
from sim.experiments.command import Result, run_experiment
from sim.experiments.crossover import EXPERIMENT, METHODS, CrossoverSettings
from sim.tasks.rare_success import RareSuccess
from sim.tasks.survivors import Survivors, _binomial, _binomial_above_0, _Levels
from sim.training.bayes import best_policy, posterior_of_labels, posterior_of_traces
from sim.training.data import draw_base, draw_expert, kept, tally
from sim.training.problem import Problem
from theory.crossover import thresholds, vb_least_loss
from theory.log_space import log_binomial_pmf

SMALL = CrossoverSettings(seeds=2048, tokens=(2, 4, 8, 16), traces=(1, 2, 6, 16, 32, 64, 128, 300))
Floats = np.ndarray


@pytest.fixture(scope="module")
def small() -> Result:
    return run_experiment(EXPERIMENT, SMALL)


def rows(result: Result, version: str) -> dict[tuple[int, int], dict[str, Any]]:
    return {(row["V"], row["n"]): row for row in result.summary["map"] if row["version"] == version}


# --- the collapsed simulation -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Enumerated:
    """Every data set of n draws and what learners make of it; the truth is uniform over M hypotheses."""

    V: int
    M: int
    n: int
    p_e: float

    @property
    def prompts(self) -> Floats:
        return np.array(list(itertools.product(range(self.V), repeat=self.M)))

    def draws(self, version: str) -> Floats:
        """P(one draw | hypothesis), (outcomes, M)."""
        plays = self.prompts[:, None, :] == np.arange(self.V)[None, :, None]  # (prompts, tokens, M)
        if version == "labelled":
            found = np.stack([plays, ~plays]) / self.V
        elif version == "equal-draws":  # a failed draw shows nothing but its prompt
            found = np.concatenate([plays / self.V, np.full((len(plays), 1, self.M), 1.0 - 1.0 / self.V)], axis=1)
        else:
            p_e = 1.0 if version == "outside" else self.p_e
            found = np.where(plays, p_e, (1.0 - p_e) / (self.V - 1))
        return found.reshape(-1, self.M) / len(plays)

    def value(self, version: str, worth: Callable[[Floats], Floats]) -> float:
        """Mean over all samples of ``worth`` of their likelihoods (samples, M)."""
        samples, times = np.ones((1, self.M)), np.ones(1)
        for _ in range(self.n):
            longer = (samples[:, None] * self.draws(version)).reshape(-1, self.M)
            size = longer.max(axis=1)
            possible = size > 0.0
            shapes = np.round(longer[possible] / size[possible, None], 12)
            samples, place = np.unique(shapes, axis=0, return_inverse=True)
            times = np.bincount(place.ravel(), (np.repeat(times, len(longer) // times.size) * size)[possible])
        return float(times @ worth(samples)) / self.M

    def best(self, samples: Floats) -> Floats:
        """The most likely token on a fresh prompt."""
        votes = np.stack([samples @ (self.prompts == a).T for a in range(self.V)])
        return votes.max(axis=0).mean(axis=1)

    def likeliest(self, samples: Floats, p_e: float = 1.0) -> Floats:
        """A most likely hypothesis, ties at random, played as an expert with ``p_e``."""
        top = samples.max(axis=1)
        return top * p_e + (samples.sum(axis=1) - top) / self.V

    def values(self, version: str) -> dict[str, float]:
        found = {
            "vf-optimal": self.value(version, self.best),
            "vf-mle": self.value(version, self.likeliest),
            "vb-optimal": self.value("labelled", self.best),
            "vb-consistent": self.value("labelled", self.likeliest),
        }
        if version == "outside-noisy":
            found["vf-cloning"] = self.value(version, lambda samples: self.likeliest(samples, self.p_e))
        return {**found, "difference": found["vb-optimal"] - found["vf-optimal"]}


def simulated(version: str, V: int, n: int, log2_M: int, p_e: float, trials: int) -> dict[str, Floats]:
    point = Survivors(V, n, log2_M, p_e if version == "outside-noisy" else 1.0)
    draw = {"outside": point.outside, "outside-noisy": point.noisy, "equal-draws": point.equal_draws}[version]
    return draw(np.random.default_rng(0), trials)


def assert_agree(samples: Floats, exact: float, name: str) -> None:
    error = samples.std(ddof=1) / math.sqrt(samples.size)
    assert abs(samples.mean() - exact) <= 5.0 * error + 1e-12, (name, samples.mean(), exact, error)


@pytest.mark.parametrize("version", crossover.VERSIONS)
@pytest.mark.parametrize(("V", "log2_M", "n"), [(2, 1, 1), (2, 1, 3), (3, 1, 2), (2, 2, 2), (3, 2, 1), (4, 1, 2)])
def test_simulation_agrees_with_enumeration(version: str, V: int, log2_M: int, n: int) -> None:
    """All hypotheses, prompts, tokens and labels listed: every learner's mean within 5 standard errors of 30,000."""
    here = Enumerated(V, 2**log2_M, n, p_e=0.7)
    found = simulated(version, V, n, log2_M, 0.7, 30_000)
    for name, exact in here.values(version).items():
        assert_agree(found[name], exact, name)
    assert set(found) == {*here.values(version)}


def test_enumeration_knows_exact_values() -> None:
    """The reference itself: M = 2, V = 2, n = 1, by hand."""
    here = Enumerated(2, 2, 1, 0.7)
    # A perfect expert's token rules the wrong one out with 1/2; else the vote of two is right with 3/4.
    assert here.values("outside")["vf-optimal"] == pytest.approx(0.5 + 0.5 * 0.75)
    # A failed draw tells as much as a solved one.
    assert here.values("outside")["vb-optimal"] == pytest.approx(0.5 + 0.5 * 0.75)
    # Kept draws: nothing is known half of the time.
    assert here.values("equal-draws")["vf-optimal"] == pytest.approx(0.5 * 0.75 + 0.5 * 0.875)


def test_simulation_agrees_with_the_token_process(float64: None, quick_to_compile: None) -> None:
    """Data sets of the token MDP with all V^M prompts, exact Bayes by posterior and backward induction: same values."""
    V, M, n, p_e, sets = 3, 4, 3, 0.8, 1500
    tasks = [RareSuccess(V=V, M=M, H=1, truth=j, prompts=V**M) for j in range(M)]
    mdp, base = tasks[0].build().mdp, tasks[0].build().base
    rewards = np.stack([np.asarray(task.build().mdp.rewards) for task in tasks])

    def problem(chance: float) -> Problem:
        experts = np.stack([tasks[0].policy(j, chance) for j in range(M)])
        return Problem.of(mdp, base, expert=experts[0], policies=experts, verifiers=rewards)

    perfect, noisy = problem(1.0), problem(p_e)

    def worth(problem: Problem, posterior: Any) -> Any:
        """Posterior mean of the chance that the best policy's token is the hypothesis's."""
        first = best_policy(problem, posterior)[0]
        return (mdp.weights @ (first * jax.numpy.tensordot(posterior, problem.verifiers, axes=1))[: V**M]).sum()

    @jax.jit
    @jax.vmap
    def one(key: Any) -> dict[str, Any]:
        keys = jax.random.split(key, 3)
        labelled = draw_base(perfect, keys[0], n, n)
        solved = kept(labelled, labelled.solved)
        return {
            "vb": worth(perfect, posterior_of_labels(perfect.verifiers, labelled, 0.0)),
            "equal-draws": worth(perfect, posterior_of_traces(perfect.policies, tally(solved, base))),
            "outside": worth(
                perfect, posterior_of_traces(perfect.policies, tally(draw_expert(perfect, keys[1], n, n), base))
            ),
            "outside-noisy": worth(
                noisy, posterior_of_traces(noisy.policies, tally(draw_expert(noisy, keys[2], n, n), base))
            ),
        }

    found = {name: np.asarray(values) for name, values in one(jax.random.split(jax.random.key(0), sets)).items()}
    for version in crossover.VERSIONS:
        seen = simulated(version, V, n, 2, p_e, 30_000)
        for name, other in (("vf-optimal", found[version]), ("vb-optimal", found["vb"])):
            error = math.hypot(*(x.std(ddof=1) / math.sqrt(x.size) for x in (seen[name], other)))
            assert abs(seen[name].mean() - other.mean()) <= 5.0 * error, (version, name)
            assert error < 0.01


@pytest.mark.parametrize(("V", "n"), [(8, 12), (8, 40), (64, 8), (64, 200)])
def test_noise_that_vanishes_is_none(V: int, n: int) -> None:
    """p_e -> 1 at M = 2^32: levels of agreement give what survivors of a perfect expert give, within 5 errors."""
    noisy = simulated("outside-noisy", V, n, 32, 1.0 - 1e-9, 3000)
    exact = crossover.known("outside", V, n, 32, 0.3)
    for name in ("vf-optimal", "vf-mle"):
        low, high = exact.interval(name)
        error = noisy[name].std(ddof=1) / math.sqrt(3000)
        # a loss that no trial shows has no error: fewer than 15 of the trials
        assert low - 5.0 * error - 15 / 3000 <= noisy[name].mean() <= high + 5.0 * error + 15 / 3000


def test_useless_expert_is_worth_the_vote_of_all() -> None:
    """p_e = c: every hypothesis has the same posterior, and the most frequent of M tokens hits with E max N_a/M."""
    found = simulated("outside-noisy", 4, 50, 2, 0.25, 30_000)["vf-optimal"]
    votes = [max(np.bincount(vote)) for vote in itertools.product(range(4), repeat=4)]
    assert_agree(found, float(np.mean(votes)) / 4.0, "vf-optimal")


@pytest.mark.parametrize("n", [1, 5, 20, 40, 200])
def test_at_two_tokens_a_failed_draw_tells_what_a_solved_one_tells(n: int) -> None:
    """c = 1/2, perfect expert: the same candidates are left to both in every data set, the difference is 0."""
    assert np.all(simulated("outside", 2, n, 32, 1.0, 500)["difference"] == 0.0)


@pytest.mark.parametrize(("count", "q"), [(1, 0.3), (5, 0.01), (5, 0.9), (2**32 - 1, 1e-9), (2**59, 2e-20), (7, 1.0)])
def test_binomial_above_0(count: int, q: float) -> None:
    """The law of Bin(count, q) given that it is not 0: chances of 1, 2, 3 within 5 standard errors."""
    drawn = _binomial_above_0(np.random.default_rng(1), count, np.full(40_000, math.log(q)))
    assert drawn.min() >= 1
    assert drawn.max() <= count
    none = math.exp(count * math.log1p(-q)) if q < 1.0 else 0.0
    some = -math.expm1(count * math.log1p(-q)) if q < 1.0 else 1.0
    ways, chance = 1.0, none
    for k in range(1, 4):
        ways = ways * (count - k + 1) / k
        chance = (
            ways * q**k * (1.0 - q) ** max(count - k, 0) if count < 100 else none * (count * q) ** k / math.factorial(k)
        )
        share = chance / some
        assert abs((drawn == k).mean() - share) <= 5.0 * math.sqrt(share * max(1.0 - share, 0.0) / 40_000) + 1e-12


def test_binomial_of_rare_chances() -> None:
    """Below 2^-53, where 1 - q is 1 in double precision, the mean is that of Bin(count, q)."""
    drawn = _binomial(np.random.default_rng(2), np.full(40_000, 2**59), math.log(1e-17))
    mean = 2**59 * 1e-17
    assert abs(drawn.mean() - mean) <= 5.0 * math.sqrt(mean / 40_000)


@pytest.mark.parametrize("n", [1000, 2000, 4096])
def test_small_losses_keep_their_relative_error(n: int) -> None:
    """Perfect expert, c = 1/64, M = 2^32: VB's losses of 4e-6, 2e-18 and 6e-47 are measured to 3 per cent."""
    lost = -Survivors(64, n, 32).outside(np.random.default_rng(3), 4000)["difference"]
    told, error = crossover.known("outside", 64, n, 32, 0.3).region, lost.std(ddof=1) / math.sqrt(lost.size)
    assert error < 0.03 * lost.mean()
    assert abs(lost.mean() - told.margin) < 5.0 * error


def test_wrong_hypotheses_by_level() -> None:
    """Means of the numbers at levels 3..6 of 9, and beyond, are those of a multinomial over Bin(9, 1/4)."""
    point = Survivors(4, 9, 12, 0.5)
    log_b = log_binomial_pmf(9, 0.25)
    beyond, counts = _Levels(point, 3, 6, log_b).draw(np.random.default_rng(4), 20_000)
    masses = np.exp(log_b)
    for found, chance in zip([beyond, *counts], [masses[7:].sum(), *masses[3:7]], strict=True):
        assert abs(found.mean() - 4095 * chance) <= 5.0 * math.sqrt(4095 * chance * (1.0 - chance) / 20_000)
    assert np.cov(counts)[0, 1] == pytest.approx(-4095 * masses[3] * masses[4], rel=0.1)


@pytest.mark.parametrize(("V", "n"), [(8, 50), (64, 250)])
def test_difference_with_a_noisy_expert_is_that_of_the_values(V: int, n: int) -> None:
    """VB's data of the difference, drawn as they come, give what its value says: means within 5 standard errors."""
    found = simulated("outside-noisy", V, n, 32, 0.3, 6000)
    apart = found["difference"].mean() - (found["vb-optimal"].mean() - found["vf-optimal"].mean())
    # vf-optimal cancels: what is left is VB's own error, twice
    plain = found["difference"] + found["vf-optimal"]
    error = math.hypot(plain.std(ddof=1), found["vb-optimal"].std(ddof=1)) / math.sqrt(6000)
    assert abs(apart) <= 5.0 * error
    assert error < 0.01


@pytest.mark.parametrize("log2_M", [1, 7, 8, 60])
@pytest.mark.parametrize("version", crossover.VERSIONS)
def test_every_size_of_class_is_sampled(version: str, log2_M: int) -> None:
    """M = 2 to 2^60: finite values, inside what theory allows, by the experiment's own rules."""
    settings = CrossoverSettings(
        seeds=512, log2_M=log2_M, versions=(version,), tokens=(2, 5, 64), traces=(1, 3, 40, 700), p_e=0.5
    )
    result = run_experiment(EXPERIMENT, settings)
    assert result.exit_code == 0
    assert (result.failed, result.violations, result.claims) == ([], [], [])


# --- the map ----------------------------------------------------------------------------------------------------------


def test_nothing_is_violated(small: Result) -> None:
    """No measured mean beyond its bounds, none unresolved, no verdict against another, over the whole grid."""
    assert len(small.measured) == 8 * (3 * 4 - 1)
    assert (small.exit_code, small.violations, small.claims, small.summary["disagreements"]) == (0, [], [], 0)


@pytest.mark.parametrize("seeds", [64, 128])
def test_few_trials_decide_little_but_nothing_wrong(seeds: int) -> None:
    """Where a noisy expert's hits are too rare to be seen, no winner is; ten seeds, no violation."""
    for seed in range(10):
        settings = CrossoverSettings(seeds=seeds, seed=seed, tokens=(4, 8, 32), traces=(1, 6, 24, 96))
        result = run_experiment(EXPERIMENT, settings)
        assert (result.resolved, result.claims) == ([], [])


def test_explicit_learners_have_their_exact_values(small: Result) -> None:
    """Every mean of an explicit learner lies within 5 standard errors of the formula, and most are informative."""
    informative = 0
    for cell, row in small.measured:
        for m in row:
            if m.method in ("vf-mle", "vf-cloning", "vb-consistent"):
                assert m.samples is not None
                unseen = (
                    15.0 / SMALL.seeds if cell["version"] == "outside-noisy" and m.method != "vb-consistent" else 0.0
                )
                assert abs(m.mean - m.exact) <= 5.0 * m.se + unseen + 1e-9, (cell.axes, m.method)
                informative += 1 / cell["V"] + 0.01 < m.exact < 0.99 and m.se > 0.0
    assert informative >= 20


def test_labels_never_lose_at_equal_draws(small: Result) -> None:
    """Garbling: VB - VF >= 0 in every cell, beyond 5 standard errors in most, and VF never wins."""
    found = rows(small, "equal-draws")
    assert all(row["difference"] >= -5.0 * row["se"] for row in found.values())
    assert {row["proven"] for row in found.values()} == {"VB"}
    assert sum(row["simulated"] == "VB" for row in found.values()) > 0.8 * len(found)
    for (cell, row), m in (((c, r), r[-1]) for c, r in small.measured if c["version"] == "equal-draws"):
        assert m.quantity == "difference"
        assert m.lower is not None
        assert (m.lower.label, m.lower.bound, m.lower.proven) == ("garbling", 0.0, True), cell.axes
        assert len(row) == 5


def test_perfect_expert_wins_wherever_there_are_three_tokens(small: Result) -> None:
    """VF is never worse at p_e = 1, equal at c = 1/2, and seen to be better until both know all."""
    found = rows(small, "outside")
    for (V, n), row in found.items():
        assert row["proven"] == ("equal" if V == 2 else "VF")
        assert row["simulated"] == ("undecided" if V == 2 or (V, n) in {(4, 128), (4, 300), (8, 300)} else "VF"), (V, n)


def test_winner_changes_with_c_for_a_noisy_expert(small: Result) -> None:
    """p_e = .3 lies between the break-even values of 1/8 and 1/16: VB wins above, VF below; by bounds and simulated."""
    found = rows(small, "outside-noisy")
    even = {row["V"]: row["break_even_p_e"] for row in small.summary["rows"]}
    assert even[16] < SMALL.p_e < even[8]
    assert {V for V, _ in found} == {4, 8, 16}
    for V, n in itertools.product((4, 8, 16), (64, 128)):
        winner = "VF" if SMALL.p_e > even[V] else "VB"
        assert (found[V, n]["bounds"], found[V, n]["simulated"]) == (winner, winner)


@pytest.mark.parametrize(("V", "log2_M", "first", "last"), [(4, 16, 6, 22), (8, 32, 7, 78), (64, 32, 3, 594)])
def test_ranges_of_the_notes(V: int, log2_M: int, first: int, last: int) -> None:
    """VF provably wins for n in 6-22, 7-78, 3-594 and is seen to; not by bounds before. With the notes' weaker constant
    sqrt(1 - c) it ends there; with the proved one it does not."""
    ns, c = (1, first - 1, first, (first + last) // 2, last, last + 1, 3 * last), 1.0 / V
    settings = CrossoverSettings(seeds=512, log2_M=log2_M, versions=("outside",), tokens=(V,), traces=ns, p_e=0.3)
    result = run_experiment(EXPERIMENT, settings)
    found = rows(result, "outside")
    assert [found[V, n]["bounds"] for n in ns] == ["undecided"] * 2 + ["VF"] * 5
    assert [found[V, n]["simulated"] for n in ns[:5]] == ["VF"] * 5
    assert result.summary["rows"][0]["VF_by_bounds"] == [[first, None]]
    exact = {cell["n"]: next(m.exact for m in row if m.method == "vf-mle") for cell, row in result.measured}
    every_vb = {n: c + math.sqrt(1.0 - c) * (1.0 - vb_least_loss(n, log2_M, c)) for n in ns}
    assert [n for n in ns if exact[n] > every_vb[n]] == list(ns[2:5])


def test_ends_of_certified_ranges_are_exact() -> None:
    """On a coarse grid the summary still finds the first and the last n, by bisection between grid points."""
    coarse = CrossoverSettings(seeds=64, versions=("outside-noisy",), tokens=(16,), traces=(1, 100, 2000))
    (row,) = run_experiment(EXPERIMENT, coarse).summary["rows"]
    ((first, last),) = row["VF_by_bounds"]
    wins = [n for n in range(1, 300) if crossover.by_bounds("outside-noisy", 16, n, 32, 0.3)[0] == "VF"]
    assert wins == list(range(first, last + 1))


@pytest.mark.parametrize(("version", "V", "winner"), [("outside", 4, "VF"), ("equal-draws", 2, "VB")])
def test_winner_is_known_where_losses_underflow(version: str, V: int, winner: str) -> None:
    """n = 4096: both losses are below 1e-308, and closed forms still say who wins, by an unknown margin."""
    assert crossover.by_bounds(version, V, 4096, 32, 0.3) == (winner, 0.0)


def test_thresholds_mark_where_learning_sets_in(small: Result) -> None:
    """The summary's L/KL and L/h(c): the optimal learner gains less than half well before and more well after them."""
    found = {(row["version"], row["V"]): row for row in small.summary["rows"]}
    assert found["outside", 8]["threshold_vf"] == pytest.approx(32 / 3)
    assert found["outside", 8]["threshold_vb"] == thresholds(32, 1 / 8)[1]
    assert found["equal-draws", 8]["threshold_vf"] == pytest.approx(8 * 32 / 3)
    assert found["outside-noisy", 2]["threshold_vf"] is None
    J = {
        (cell["version"], cell["V"], cell["n"], m.method): (m.mean - 1 / cell["V"]) / (1.0 - 1 / cell["V"])
        for cell, row in small.measured
        for m in row
    }
    for version, method in itertools.product(("outside", "equal-draws"), ("vf", "vb")):
        for V in (4, 8, 16):
            needed = found[version, V][f"threshold_{method}"]
            for n in SMALL.traces:
                gained = J[version, V, n, f"{method}-optimal"]
                assert gained < 0.5 or n > 0.5 * needed
                assert gained > 0.5 or n < 2.0 * needed


# --- the experiment ---------------------------------------------------------------------------------------------------


def test_a_cell_has_its_numbers_in_any_company() -> None:
    """Alone or in a batch, with fewer learners or all: the same samples; another seed, others."""
    settings = dataclasses.replace(SMALL, seeds=2048)  # two blocks
    cells = EXPERIMENT.cells(settings)[10:14]
    batch = EXPERIMENT.measure(settings, cells)
    few = dataclasses.replace(settings, learners="vf-mle")
    for cell, found in zip(reversed(cells), reversed(batch), strict=True):
        (alone,) = EXPERIMENT.measure(few, [cell])
        assert all(np.array_equal(alone[name], found[name]) for name in found)
        assert all(values.shape == (2048,) for values in found.values())
        assert not np.array_equal(found["vb-optimal"][:1024], found["vb-optimal"][1024:])
    other = dataclasses.replace(settings, seed=1)
    (again,) = EXPERIMENT.measure(other, [EXPERIMENT.cells(other)[10]])
    assert not np.array_equal(again["vf-optimal"], batch[0]["vf-optimal"])


def test_learners_asked_for_are_measured() -> None:
    """--learners: rows of those only; without both optimal learners no difference and no simulated verdict."""
    settings = CrossoverSettings(seeds=64, tokens=(8,), traces=(4, 40), learners="vb-consistent, vf-cloning")
    result = run_experiment(EXPERIMENT, settings)
    by_version = {cell["version"]: [m.method for m in row] for cell, row in result.measured}
    assert by_version["outside"] == ["vb-consistent"]
    assert by_version["outside-noisy"] == ["vf-cloning", "vb-consistent"]
    assert all(row["difference"] is None and row["simulated"] == "undecided" for row in result.summary["map"])
    json.dumps(result.as_dict(), allow_nan=False)


@pytest.mark.parametrize("version", ["outside", "equal-draws"])
def test_a_winner_that_should_lose_is_exit_4(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampler that swaps the learners contradicts proven verdicts and bounds: claims violated, one line a cell."""
    settings = CrossoverSettings(seeds=256, versions=(version,), tokens=(8,), traces=(32, 40))
    name = version.replace("-", "_")
    honest = getattr(Survivors, name)

    def swapped(self: Survivors, rng: np.random.Generator, trials: int) -> dict[str, Floats]:
        found = honest(self, rng, trials)
        return {**found, "vf-optimal": found["vb-optimal"], "difference": -found["difference"]}

    monkeypatch.setattr(Survivors, name, swapped)
    result = run_experiment(EXPERIMENT, settings)
    assert result.exit_code == 4
    assert len(result.claims) == 2
    assert "c = 1/8, n = 32" in result.claims[0]
    assert {v.method for v in result.resolved} == {"vf-optimal", crossover.DIFFERENCE}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"log2_M": 0}, "--log2-M 0"),
        ({"log2_M": 61}, "--log2-M 61"),
        ({"learners": "vf-bayes"}, "--learners vf-bayes"),
        ({"tokens": (1, 2)}, "tokens 1"),
        ({"tokens": (4, 2)}, "tokens"),
        ({"traces": ()}, "traces"),
        ({"traces": (1, 10**6)}, "traces 1000000"),
        ({"versions": ("inside",)}, "versions"),
        ({"p_e": 1.0}, "p_e 1.0"),
        ({"p_e": 0.01}, "p_e 0.01"),
        ({"seeds": 63}, "--seeds 63"),
    ],
)
def test_settings_out_of_range_are_refused(fields: dict[str, Any], named: str) -> None:
    """One line that names what is wrong."""
    with pytest.raises(ValueError, match=r"^[^\n]*$") as found:
        CrossoverSettings(**fields)
    assert str(found.value).startswith(named)


@pytest.mark.parametrize("fields", [{"V": 1}, {"n": 0}, {"log2_M": 61}, {"p_e": 0.1}])
def test_points_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    """The sampler checks what it is given."""
    with pytest.raises(ValueError, match="expected"):
        Survivors(**{"V": 4, "n": 3, "log2_M": 8, "p_e": 0.5, **fields})


def test_lines_show_both_verdicts(small: Result) -> None:
    """A map a version; noisy experts worse than the base have no cells."""
    text = EXPERIMENT.lines(SMALL, small.measured)
    assert sum(line.startswith(crossover.VERSIONS) for line in text) == 3
    noisy = text.index("outside-noisy, p_e = 0.3")
    assert text[noisy + 2].split() == ["1/2"]
    assert text[noisy + 5].split() == ["1/16", "..", "..", "..", "F.", "F.", "FF", "FF", ".."]
    assert text[-4].split()[:3] == ["1/2", "bB", "bB"]


def test_figure_is_drawn_from_stored_tables(small: Result, tmp_path: Path) -> None:
    """PNG one column wide and SVG that say what is shown, with units, from results, summary and manifest."""
    pq.write_table(small.table(), tmp_path / "results.parquet")
    (tmp_path / "summary.json").write_text(json.dumps(small.as_dict(), allow_nan=False))
    (tmp_path / "manifest.json").write_text(json.dumps({"config": SMALL.as_dict()}))
    written = draw(tmp_path, tmp_path / "figures")
    assert {path.name for path in written} == {"crossover.png", "crossover.svg"}
    assert image.imread(written[0]).shape[1] == pytest.approx(3.4 * 300, abs=2)
    text = written[1].read_text()
    for words in (
        "perfect expert",
        "base draws",
        "VF better, proved",
        "VB never worse",
        "undecided",
        "simulated",
        "1/16",
    ):
        assert words in text, words


def test_methods_are_listed_once() -> None:
    """The default asks for all learners."""
    assert CrossoverSettings().methods == METHODS
