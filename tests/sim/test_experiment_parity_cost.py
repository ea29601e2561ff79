"""Learners of parities against brute force, and what their times are taken to say."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.experiments.command import Result, run_experiment
from sim.experiments.parity_cost import EXPERIMENT, VB, VF, ParityCostSettings, growth, reach_of, timed
from sim.tasks.parity_learners import (
    LabelledRows,
    draw_rows,
    draw_signs,
    fast_walsh_hadamard,
    likeliest,
    packed,
    solution,
)
from theory.verifier import erm_success_parity

SMALL = ParityCostSettings(seeds=6, vf_bits="2..11", vb_bits="2..128x2")


def signs(k: int) -> NDArray[np.int64]:
    index = np.arange(2**k)
    return 1 - 2 * (np.bitwise_count(index[:, None] & index) & 1).astype(np.int64)


def unpacked(words: NDArray[np.uint64], k: int) -> NDArray[np.int64]:
    """The first k bits of each row."""
    return np.unpackbits(words.astype("<u8").view(np.uint8), axis=-1, bitorder="little")[..., :k].astype(np.int64)


def system(bits: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.uint64]:
    return packed(np.column_stack([bits, labels]).astype(np.uint8))


@pytest.fixture(scope="module")
def result() -> Result:
    return run_experiment(EXPERIMENT, SMALL)


@pytest.mark.parametrize("k", range(10))
def test_transform_is_the_dense_one(k: int) -> None:
    """k passes of butterflies are multiplication by the matrix of signs, in its order, and spare their argument."""
    values = np.random.default_rng(k).integers(-9, 10, 2**k).astype(np.int32)
    kept = values.copy()
    np.testing.assert_array_equal(fast_walsh_hadamard(values), signs(k) @ values)
    np.testing.assert_array_equal(values, kept)


@pytest.mark.parametrize("size", [0, 3, 12])
def test_transform_wants_a_power_of_two(size: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        fast_walsh_hadamard(np.zeros(size, dtype=np.int32))


@pytest.mark.parametrize("seed", range(20))
def test_likeliest_agrees_with_most_signs(seed: int) -> None:
    """Whatever the data: nobody agrees with more signs than the hypothesis returned."""
    rng = np.random.default_rng(seed)
    k, n = 5, 9
    data = draw_signs(rng, k, n, 0.4)
    agreement = signs(k)[:, data.prompts] @ data.signs
    assert agreement[likeliest(data.prompts, data.signs, k, rng)] == agreement.max()


def test_likelihood_breaks_ties_evenly() -> None:
    """Two traces of one prompt that contradict each other leave all eight hypotheses alike."""
    rng = np.random.default_rng(0)
    found = [likeliest(np.array([3, 3]), np.array([1, -1], dtype=np.int32), 3, rng) for _ in range(4000)]
    counts = np.bincount(found, minlength=8)
    assert np.abs(counts - 500).max() <= 5 * math.sqrt(500 * 7 / 8)


def test_likelihood_finds_a_drowned_truth() -> None:
    """At k = 10 and three quarters of the signs right, 200 traces tell the truth nearly always, 5 hardly ever."""
    rng = np.random.default_rng(1)

    def hits(n: int) -> int:
        found = [draw_signs(rng, 10, n, 0.5) for _ in range(100)]
        return sum(likeliest(data.prompts, data.signs, 10, rng) == data.truth for data in found)

    assert hits(200) >= 95
    assert hits(5) <= 10


@pytest.mark.parametrize("epsilon", [0.2, 0.5, 1.0])
def test_signs_are_as_noisy_as_said(epsilon: float) -> None:
    """The share of signs that agree with the truth, prompts being uniform."""
    data = draw_signs(np.random.default_rng(2), 6, 40_000, epsilon)
    right = np.mean(data.signs == signs(6)[data.truth, data.prompts])
    p = (1 + epsilon) / 2
    assert abs(right - p) <= 5 * math.sqrt(p * (1 - p) / 40_000)
    counts = np.bincount(data.prompts, minlength=64)
    assert ((counts - 625) ** 2 / 625).sum() <= 63 + 5 * math.sqrt(126)


@pytest.mark.parametrize("seed", range(30))
def test_solution_is_one_of_the_solutions(seed: int) -> None:
    """Systems of any rank: the answer solves every equation, and the rows given are left as they are."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 9))
    bits = rng.integers(0, 2, (int(rng.integers(0, 12)), k))
    bits[:, rng.random(k) < 0.3] = 0
    truth = rng.integers(0, 2, k)
    rows = system(bits, bits @ truth % 2)
    kept = rows.copy()
    found = solution(rows, k, rng)
    np.testing.assert_array_equal(bits @ unpacked(found, k) % 2, bits @ truth % 2)
    np.testing.assert_array_equal(rows, kept)
    assert int(found[-1]) < 2 ** (k % 64)


def test_undecided_bits_are_uniform_over_all_solutions() -> None:
    """Rank 3 of 5: each of the four solutions comes as often as the others, and nothing else comes."""
    rng = np.random.default_rng(3)
    bits = np.array([[1, 1, 0, 0, 1], [0, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]])
    truth = np.array([1, 0, 1, 1, 0])
    labels = bits @ truth % 2
    solves = {x for x in itertools.product((0, 1), repeat=5) if np.array_equal(bits @ np.array(x) % 2, labels)}
    rows = system(bits, labels)
    found = [tuple(unpacked(solution(rows, 5, rng), 5).tolist()) for _ in range(4000)]
    assert set(found) == solves
    assert len(solves) == 4
    assert max(abs(found.count(x) - 1000) for x in solves) <= 5 * math.sqrt(1000 * 3 / 4)


@pytest.mark.parametrize("k", [1, 63, 64, 65, 127, 128, 200])
def test_words_have_no_edges(k: int) -> None:
    """Truths of any number of bits are found, and rows say of them what they should."""
    rng = np.random.default_rng(k)
    data = draw_rows(rng, k, k + 70)
    assert data.rows.shape == (k + 70, k // 64 + 1)
    bits, truth = unpacked(data.rows, k + 1), unpacked(data.truth, k)
    np.testing.assert_array_equal(bits[:, :k] @ truth % 2, bits[:, k])
    np.testing.assert_array_equal(packed(bits.astype(np.uint8)), data.rows)
    np.testing.assert_array_equal(solution(data.rows, k, rng), data.truth)


def test_contradictions_are_refused() -> None:
    """Elimination is for labels without noise: a system without a solution raises, it does not answer."""
    rows = system(np.array([[1, 0], [0, 1], [1, 1]]), np.array([1, 1, 1]))
    with pytest.raises(ValueError, match="contradict"):
        solution(rows, 2, np.random.default_rng(0))


def test_elimination_hits_as_often_as_the_rank_says() -> None:
    """P(truth) = E 2^(rank - k): few equations, free bits at random."""
    rng, k, n, trials = np.random.default_rng(4), 5, 4, 4000

    def hit(data: LabelledRows) -> bool:
        return np.array_equal(solution(data.rows, k, rng), data.truth)

    share = np.mean([hit(draw_rows(rng, k, n)) for _ in range(trials)])
    p = erm_success_parity(n, k)
    assert abs(share - p) <= 5 * math.sqrt(p * (1 - p) / trials)


def test_both_learners_learn(result: Result) -> None:
    """Every cell has a positive time; the truth is found nearly always, where it is known exactly as often as that."""
    assert result.exit_code == 0
    for cell, (seconds, correct) in result.measured:
        assert seconds.samples is not None
        assert (seconds.samples > 0.0).all()
        assert 0.0 <= correct.mean <= 1.0
        assert correct.mean >= 0.6 or cell["k"] < 6
        if cell["learner"] == VB:
            assert correct.exact == erm_success_parity(4 * cell["k"], cell["k"])
    assert result.summary[VF]["correct"] > 0.8
    assert result.summary[VB]["correct"] > 0.9


def test_data_are_those_of_the_cell_times_are_not() -> None:
    """Answers repeat, data being drawn by the cell's own generator, and another seed has other data."""
    hits = []
    for seed in (0, 0, 1):
        settings = ParityCostSettings(seeds=40, seed=seed, vf_bits="3", learners=VF)
        (found,) = EXPERIMENT.measure(settings, EXPERIMENT.cells(settings))
        hits.append(found["correct"])
    assert np.array_equal(hits[0], hits[1])
    assert not np.array_equal(hits[0], hits[2])


def test_a_time_is_that_of_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of 0.3 ms: four of them make a millisecond, 0.3 ms is what is told, and the cell's first is not counted."""
    ticks, calls = itertools.count(), []
    clock = lambda: 0.0003 * ((tick := next(ticks)) // 2 * 10 + tick % 2)  # noqa: E731
    monkeypatch.setattr("sim.experiments.parity_cost.time.perf_counter", clock)
    cell = EXPERIMENT.cells(SMALL)[0]
    for trial, runs in ((0, 5), (1, 4)):
        calls.clear()
        seconds, answer = timed(lambda coins: calls.append(coins.random()) or len(calls), cell, trial)
        assert seconds == pytest.approx(0.0003)
        assert answer == len(calls) == runs
        assert len(set(calls)) == 1


def test_growth_is_that_of_the_model() -> None:
    """Times made of k 2^k and of k^3 are read as such; noise widens the interval around them."""
    k = np.arange(4.0, 25.0)
    clean = np.repeat(1e-9 * (k * 2**k)[:, None], 5, axis=1)
    found = growth(VF, k, clean, 0)
    assert found["growth"] == pytest.approx(found["theory"], rel=1e-12)
    assert found["theory"] == pytest.approx(1 + 1 / (20.5 * math.log(2)), rel=1e-2)
    assert found["ci_low"] == pytest.approx(found["ci_high"])
    powers = 2.0 ** np.arange(2, 12)
    assert growth(VB, powers, 1e-9 * powers[:, None] ** 3 * np.ones(5), 0)["growth"] == pytest.approx(3.0)
    noisy = clean * np.exp(0.2 * np.random.default_rng(5).standard_normal(clean.shape))
    wide = growth(VF, k, noisy, 0)
    assert wide["ci_low"] < wide["theory"] < wide["ci_high"]
    assert wide["ci_high"] - wide["ci_low"] > 0.01
    alone = growth(VF, k[:1], clean[:1], 0)
    assert alone["growth"] is None
    json.dumps(alone, allow_nan=False)


def test_extrapolation_solves_its_equation() -> None:
    """At the k found, k 2^k additions of the time of one take a day and a year."""
    found = reach_of(24.0, 0.4)
    for name, limit in (("day", 86400.0), ("year", 365.25 * 86400.0)):
        k = found[f"k_of_a_{name}_extrapolated"]
        assert 0.4 * (k * 2**k) / (24 * 2**24) == pytest.approx(limit, rel=1e-9)
        assert found[f"bytes_at_a_{name}_extrapolated"] == 8 * 2**k


def test_elimination_at_a_year_is_read_from_the_table() -> None:
    """The summary gives elimination's measured time at the first k beyond the one that takes VF a year."""
    settings = ParityCostSettings(seeds=3, vf_bits="8..12", vb_bits="16..128x2")
    result = run_experiment(EXPERIMENT, settings)
    year = result.summary[VF]["k_of_a_year_extrapolated"]
    there = result.summary["seconds_of_elimination_at_that_k"]
    assert there["k"] == min(k for k in (16, 32, 64, 128) if k >= year)
    times = next(row[0].samples for cell, row in result.measured if (cell["learner"], cell["k"]) == (VB, there["k"]))
    assert times is not None
    assert there["seconds"] == float(np.median(times))


def test_learners_can_be_chosen() -> None:
    """One learner alone: its cells, its fit, nothing said of the other."""
    settings = dataclasses.replace(SMALL, learners=VB, vb_bits="4..16x2")
    result = run_experiment(EXPERIMENT, settings)
    assert {cell["learner"] for cell, _ in result.measured} == {VB}
    assert VF not in result.summary
    assert any(line.startswith(f"{VB}: power of k") for line in EXPERIMENT.lines(settings, result.measured))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"epsilon": "0"}, "--epsilon 0"),
        ({"epsilon": "capacity:1"}, "--epsilon capacity:1"),
        ({"learners": "vb-ball"}, "--learners vb-ball"),
        ({"seeds": 1}, "--seeds 1"),
        ({"vf_bits": "4..31"}, "vf_bits 4..31"),
        ({"vb_bits": "32768"}, "vb_bits 32768"),
    ],
)
def test_bad_settings_are_one_line(fields: dict[str, object], named: str) -> None:
    """A setting out of range raises one line that names it."""
    with pytest.raises(ValueError, match=named) as caught:
        dataclasses.replace(SMALL, **fields)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
