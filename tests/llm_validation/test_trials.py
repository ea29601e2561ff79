"""Trials on simulated traces: the laws are those of enumeration, and what is counted is what was asked."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from llm_validation.concentration import Concentration, concentration, lower_quantile
from llm_validation.trials import coverage as trials
from llm_validation.trials.__main__ import main
from llm_validation.trials.coverage import EPSILONS, Batch, Coverage, columns, coverage, judged, measured, quantile
from llm_validation.trials.population import ELL, POOLS, Pool, V, pool, problem_laws

SMALL = ("coverage", "--repeats", "4", "--problems", "12", "--samples", "2,8")


def tiny() -> Pool:
    """Three problems with returns in 0..3."""
    return Pool("even", np.array([[0.5, 0.2, 0.2, 0.1], [0.1, 0.0, 0.6, 0.3], [0.25, 0.25, 0.25, 0.25]]))


def test_laws_of_problems_are_those_of_all_traces() -> None:
    """V = 3, H = 6: every token sequence under every mixture, matched by hand, overlaps and all."""
    H, letters = 6, 3
    golds = np.array([[0, 0], [2, 2], [0, 1], [1, 0]])
    gammas, weights = (
        np.array([-1.0, 0.7, 2.0]),
        np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.0, 0.4, 0.6], [0.5, 0.5, 0]]),
    )
    expected = np.zeros((4, H + 1))
    for row, gold in enumerate(golds):
        for gamma, weight in zip(gammas, weights[row], strict=True):
            right = math.exp(gamma) / (math.exp(gamma) + letters - 1)
            for trace in itertools.product(range(letters), repeat=H):
                chance, solved = float(weight), 0
                for h, token in enumerate(trace):
                    wanted = gold[1] if h and trace[h - 1] == gold[0] else gold[0]
                    chance *= right if token == wanted else (1.0 - right) / (letters - 1)
                    if h and (trace[h - 1], token) == tuple(gold) and not solved:
                        solved = h + 1
                expected[row, H - solved + 1 if solved else 0] += chance
    np.testing.assert_allclose(problem_laws(golds, gammas, weights, letters, H), expected, atol=1e-13)


@pytest.mark.parametrize("m", [2, 3])
def test_spreads_of_estimates_are_those_of_all_samples(m: int) -> None:
    """All sets of m samples of three problems: sd of mean and of unbiased variance, and how often samples vary."""
    base = tiny()
    estimates, chances = [], []
    varies = np.zeros(base.size)
    for x, law in enumerate(base.law):
        for picks in itertools.product(range(4), repeat=m):
            chance = law[list(picks)].prod()
            estimates.append((np.mean(picks), np.var(picks, ddof=1)))
            chances.append(chance / base.size)
            varies[x] += chance * (len(set(picks)) > 1)
    values, weight = np.array(estimates), np.array(chances)
    mean = weight @ values
    spread = np.sqrt(weight @ (values - mean) ** 2)
    np.testing.assert_allclose(mean, [base.mean.mean(), base.variance.mean()], rtol=1e-12)
    np.testing.assert_allclose(spread, [base.sd_of_mean(m), base.sd_of_variance(m)], rtol=1e-12)
    np.testing.assert_allclose(base.varies(m), varies, rtol=1e-12)


def test_concentration_of_known_laws() -> None:
    """Shares at and above mu + epsilon sigma, summed by hand; a threshold that is a return counts."""
    fair = Pool("even", np.array([[0.5, 0.0, 0.5], [0.75, 0.0, 0.25], [0.02, 0.0, 0.98]]))
    c = fair.concentration(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(c, [[0.5, 0.25, 0.98], [0.5, 0.25, 0.0], [0.5, 0.25, 0.0]], rtol=1e-12)


def test_draws_follow_the_laws() -> None:
    """Problems are drawn uniformly, and returns of each with the probabilities of its law, within 5 standard errors."""
    base, draws = tiny(), 60_000
    x, returns = base.drawn(np.random.default_rng(0), draws, 2)
    for number, law in enumerate(base.law):
        mine = returns[x == number]
        assert abs(len(mine) / draws - 1 / 3) <= 5 * math.sqrt(2 / 9 / draws)
        for value, p in enumerate(law):
            error = math.sqrt(max(p * (1 - p), 1e-12) / mine.size)
            assert abs((mine == value).mean() - p) <= 5 * error
            both = (mine == value).all(axis=1).mean()
            assert abs(both - p * p) <= 5 * math.sqrt(max(p * p * (1 - p * p), 1e-12) / len(mine))


@pytest.mark.parametrize("name", POOLS)
def test_pools_are_laws_of_different_problems(name: str) -> None:
    """Laws sum to 1, golds overlap in many ways, nothing solves before ell tokens, difficulty differs."""
    base = pool(name)
    assert base.law.min() >= 0.0
    np.testing.assert_allclose(base.law.sum(axis=1), 1.0, atol=1e-12)
    assert len(set(base.patterns)) == 15  # all ways in which four letters can be equal: Bell's number
    assert (base.law[:, base.horizon - ELL + 2 :] == 0.0).all()
    assert (base.law[:, base.horizon - ELL + 1] > 0.0).all()
    assert base.mean.std() > 1.0
    assert V == 4


def test_the_even_pool_is_the_one_with_c_above_a_quarter() -> None:
    """Every problem of it has c >= 1/4 at every margin; the wide pool has problems with c = 0."""
    epsilon = np.array(EPSILONS)
    assert pool("even").concentration(epsilon).min() >= 0.25
    assert pool("wide").concentration(epsilon)[1:].min() == 0.0


@pytest.mark.parametrize("name", POOLS)
def test_the_oracle_interval_covers(name: str) -> None:
    """2,000 repeats of 200 problems with 4 samples: estimate +- 1.96 sd/sqrt(X) covers in 95%, 5 standard errors."""
    base, X, repeats = pool(name), 200, 2000
    _, returns = base.drawn(np.random.default_rng(3), X * repeats, 4)
    for values, truth, sd in (
        (returns.mean(axis=1), base.mean.mean(), base.sd_of_mean(4)),
        (returns.var(axis=1, ddof=1), base.variance.mean(), base.sd_of_variance(4)),
    ):
        off = abs(values.reshape(repeats, X).mean(axis=1) - truth) * math.sqrt(X) / sd
        assert abs((off <= 1.959964).mean() - 0.95) <= 5 * math.sqrt(0.95 * 0.05 / repeats)


def test_a_repeat_is_the_same_in_any_batch() -> None:
    """Repeats 0..4 at once or in two pieces; another seed or another pool gives others."""
    whole = measured(Batch("even", 4, 12, 0, 5, 0))
    parts = [measured(Batch("even", 4, 12, *ends, 0)) for ends in ((0, 2), (2, 5))]
    for name in columns():
        np.testing.assert_array_equal(whole[name], np.concatenate([part[name] for part in parts]))
    assert len(np.unique(whole["mu_low"])) == 5
    for other in (Batch("even", 4, 12, 0, 5, 1), Batch("wide", 4, 12, 0, 5, 0)):
        assert not np.isin(measured(other)["mu_estimate"], whole["mu_estimate"]).any()


def test_bounds_are_laid_beside_the_problems_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The truth is the smallest c of problems drawn that vary; levels are .05 for the least and .01 for each."""
    drawn: list[tuple[np.ndarray, np.ndarray]] = []
    levels = []

    class Recorded(Pool):
        def drawn(self, rng: np.random.Generator, problems: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
            drawn.append(super().drawn(rng, problems, samples))
            return drawn[-1]

    def recorded(*arguments: Any) -> Concentration:
        levels.append(arguments[-1])
        return concentration(*arguments)

    asked = []

    def quantile_asked(*arguments: Any) -> np.ndarray:
        asked.append(arguments[1:])
        return lower_quantile(*arguments)

    monkeypatch.setattr(trials, "concentration", recorded)
    monkeypatch.setattr(trials, "lower_quantile", quantile_asked)
    base = Recorded("even", np.array([[0.9, 0.1, 0, 0], [0, 0.4, 0.6, 0], [0, 0, 0.7, 0.3]]))
    found = measured(Batch("even", 6, 3, 0, 20, 0), base)
    assert levels == [pytest.approx(0.05), 0.01]
    assert set(asked) == {(0.1, 0.95)}
    c = np.array([0.1, 0.6, 0.3])
    expected = [c[x][np.ptp(returns, axis=1) > 0] for x, returns in drawn]
    np.testing.assert_allclose(found["least_true_0"], [min(seen, default=math.nan) for seen in expected], rtol=1e-12)
    assert any(seen.size < 3 for seen in expected)
    means = [returns.mean() for _, returns in drawn]
    np.testing.assert_allclose(found["mu_estimate"], means, rtol=1e-12)


def test_equal_samples_are_worked_out_once_with_the_same_answer() -> None:
    """Bounds of distinct rows, put back in place, are the bounds of all rows."""
    _, returns = pool("even").drawn(np.random.default_rng(1), 60, 4)
    found = trials._sorted_apart(returns, np.array(EPSILONS), 64, 0.05)
    direct = concentration(np.repeat(np.arange(60), 4), returns.reshape(-1), 64, np.array(EPSILONS), 0.05)
    assert len(np.unique(np.sort(returns, axis=1), axis=0)) < 60
    for name in ("varies", "firm", "plug_in", "low", "high"):
        np.testing.assert_array_equal(getattr(found, name), getattr(direct, name))


def test_batches_are_all_repeats_once() -> None:
    """Every repeat of every pool and number of samples is in one batch, each batch in a shard of its own."""
    config = Coverage(repeats=60, samples=(4, 16))
    batches = list(config.batches())
    repeats = [(b.pool, b.m, i) for b in batches for i in range(b.start, b.stop)]
    assert sorted(repeats) == sorted((name, m, i) for name in POOLS for m in (4, 16) for i in range(60))
    assert len({batch.name for batch in batches}) == len(batches)


def made_up(repeats: int = 4) -> dict[str, np.ndarray]:
    """Findings of which every count is known."""
    found = {name: np.zeros(repeats) for name in columns()}
    base = tiny()
    mu, sigma2 = base.mean.mean(), base.variance.mean()
    found |= {
        "mu_estimate": np.full(repeats, mu),
        "mu_low": mu - np.array([1.0, 1.0, -0.1, 1.0]),
        "mu_high": np.full(repeats, mu + 1.0),
    }
    found |= {
        "sigma2_estimate": np.full(repeats, sigma2 + 99.0),
        "sigma2_low": np.full(repeats, sigma2),
        "sigma2_high": np.full(repeats, sigma2),
    }
    c, weight = base.concentration(np.array(EPSILONS)), base.varies(3)
    all_c, varying_c = c.mean(axis=1), c @ weight / weight.sum()
    for i, e in enumerate(EPSILONS):
        found[f"low_fails_{e:g}"] = np.array([0.0, 1.0, 2.0, 0.0])
        found[f"quantile_low_{e:g}"] = np.array([c[i].min(), c[i].min() + 1e-6, 0.0, math.nan])
        found[f"high_fails_{e:g}"] = np.array([0.0, 0.0, 0.0, 1.0])
        found[f"least_low_{e:g}"] = np.array([0.1, 0.0, 0.4, math.nan])
        found[f"least_true_{e:g}"] = np.array([0.3, 0.3, 0.3, math.nan])
        found[f"least_plug_in_{e:g}"] = np.array([0.2, 0.1, 0.6, math.nan])
        found[f"mean_low_{e:g}"] = np.array([0.0, 0.0, (all_c[i] + varying_c[i]) / 2, 0.9])
        found[f"mean_high_{e:g}"] = np.full(repeats, 1.0)
        found[f"mean_estimate_{e:g}"] = np.array([0.5, 0.5, 0.5, math.nan])
    return found


def test_counts_are_what_their_names_say() -> None:
    """Coverage 3 of 4, width ratios, the bound, the plug-in and its bias of made-up findings."""
    base = tiny()
    means, least = coverage(base, 3, 100, made_up())
    mu, sigma2 = means
    assert mu["coverage"] == 0.75
    assert mu["coverage_se"] == pytest.approx(math.sqrt(0.75 * 0.25 / 4))
    assert mu["width"] == pytest.approx((3 * 2.0 + 0.9) / 4)
    assert mu["oracle_width"] == pytest.approx(2 * 1.959963984540054 * base.sd_of_mean(3) / 10)
    assert mu["width_ratio"] == mu["width"] / mu["oracle_width"]
    assert (mu["oracle_coverage"], sigma2["oracle_coverage"]) == (1.0, 0.0)
    assert (sigma2["coverage"], sigma2["width"]) == (1.0, 0.0)
    for row, c in zip(least, base.concentration(np.array(EPSILONS)), strict=True):
        assert row["least_repeats"] == 3
        assert row["pool_least"] == c.min()
        assert row["least_coverage"] == pytest.approx(2 / 3)
        assert (row["low_fails"], row["high_fails"]) == (3 / 400, 1 / 400)
        assert row["least_positive"] == pytest.approx(2 / 3)
        assert row["quantile_true"] == c.min()  # the least of three has more than a tenth of the weight
        assert row["quantile_coverage"] == pytest.approx(2 / 3)
        assert row["plug_in_above"] == pytest.approx(1 / 3)
        assert row["plug_in_bias"] == pytest.approx(0.0)
        between = row["mean_true"] > row["mean_true_varying"]  # the third interval begins between them
        assert row["mean_true"] != row["mean_true_varying"]
        assert (row["mean_coverage"], row["mean_coverage_varying"]) == ((0.75, 0.5) if between else (0.5, 0.75))
        assert row["mean_true_varying"] == pytest.approx(c @ base.varies(3) / base.varies(3).sum())
        assert row["mean_plug_in_bias"] == pytest.approx(0.5 - row["mean_true_varying"])


def test_a_broken_guarantee_is_told_from_chance() -> None:
    """More than 5 standard errors beyond what is proved is a violation, less is not."""
    means, rows = coverage(tiny(), 64, 100, made_up())
    fine = {"repeats": 2000, "least_repeats": 2000, "least_coverage": 0.95, "low_fails": 0.01, "high_fails": 0.01}
    fine["quantile_coverage"] = 0.95
    for name, sign, proved, count in (
        ("least_coverage", -1, 0.95, 2000),
        ("quantile_coverage", -1, 0.95, 2000),
        ("low_fails", 1, 0.01, 2000 * 100),
        ("high_fails", 1, 0.01, 2000 * 100),
    ):
        edge = proved + sign * 5 * math.sqrt(proved * (1 - proved) / count)
        least = [{**row, **fine} for row in rows]
        least[1][name] = edge - sign * 1e-9
        assert judged(means, least)["violations"] == []
        least[1][name] = edge + sign * 1e-9
        (violation,) = judged(means, least)["violations"]
        assert name in violation
        assert "epsilon 0.25" in violation


def test_quantiles_count_weights() -> None:
    """The smallest value with a share q at or below it; exactly q is enough."""
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([0.5, 0.1, 0.4])
    assert [quantile(values, weights, q) for q in (0.05, 0.1, 0.11, 0.5, 0.51, 1.0)] == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]


def test_problems_that_hardly_vary_hardly_count_in_the_quantile() -> None:
    """c is .01 in one of two problems; two samples of it differ too rarely for a tenth of those that vary."""
    base = Pool("even", np.array([[0.99, 0.01], [0.5, 0.5]]))
    _, least = coverage(base, 2, 100, made_up())
    assert least[0]["quantile_true"] == 0.5
    assert least[0]["pool_least"] == pytest.approx(0.01)


def run(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    """Exit code and standard output of the command."""
    code = main(options)
    return code, capsys.readouterr().out


def tables(path: Path) -> list[bytes]:
    return [(path / name).read_bytes() for name in ("means.parquet", "concentration.parquet")]


def test_the_command_writes_tables_and_goes_on_where_it_was_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the second batch it is exit 130; resumed, or with two processes, the tables are the same bytes."""
    monkeypatch.setattr(trials, "BATCH", 2)
    code, shown = run(capsys, *SMALL, "--out", str(tmp_path / "whole"), "--format", "json")
    assert code == 0
    summary = json.loads(shown)
    rows = pq.read_table(tmp_path / "whole" / "concentration.parquet").to_pylist()
    assert summary["violations"] == []
    assert len(summary["means"]) == len(POOLS) * 2 * 2
    assert len(rows) == len(summary["concentration"]) == len(POOLS) * 2 * len(EPSILONS)
    manifest = json.loads((tmp_path / "whole" / "manifest.json").read_text())
    assert manifest["status"] == "done"
    assert manifest["config"]["samples"] == [2, 8]
    import llm_validation.trials.command as command

    calls = itertools.count()

    def interrupted(batch: Batch) -> dict[str, np.ndarray]:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return measured(batch)

    monkeypatch.setattr(command, "measured", interrupted)
    stopped = (*SMALL, "--out", str(tmp_path / "stopped"))
    assert run(capsys, *stopped)[0] == 130
    assert len(list((tmp_path / "stopped" / "shards").iterdir())) == 1
    assert main(stopped) == 2  # not empty
    assert run(capsys, *stopped, "--resume")[0] == 0
    assert tables(tmp_path / "stopped") == tables(tmp_path / "whole")
    monkeypatch.undo()
    assert run(capsys, *SMALL, "--out", str(tmp_path / "two"), "--jobs", "2")[0] == 0
    assert tables(tmp_path / "two") == tables(tmp_path / "whole")


def test_a_bound_that_does_not_hold_is_exit_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lower bound that is the plug-in, where few samples scatter, is found out."""

    def plug_in(*arguments: object) -> Concentration:
        found = concentration(*arguments)  # type: ignore[arg-type]
        return dataclasses.replace(found, low=found.plug_in, firm=found.varies)

    monkeypatch.setattr(trials, "concentration", plug_in)
    small = ("coverage", "--repeats", "60", "--problems", "20", "--samples", "4")
    code, shown = run(capsys, *small, "--out", str(tmp_path))
    assert code == 4
    assert "violation: wide, 4 samples" in shown


@pytest.mark.parametrize(
    "options",
    [
        ("coverage",),
        ("coverage", "--out"),
        ("nothing", "--out", "{}"),
        ("coverage", "--repeats", "1", "--out", "{}"),
        ("coverage", "--repeats", "many", "--out", "{}"),
        ("coverage", "--problems", "1", "--out", "{}"),
        ("coverage", "--samples", "1,4", "--out", "{}"),
        ("coverage", "--samples", "4;16", "--out", "{}"),
        ("coverage", "--samples", "2000", "--out", "{}"),
        ("coverage", "--seed", "-1", "--out", "{}"),
        ("coverage", "--jobs", "0", "--out", "{}"),
        ("coverage", "--out", "{}/file/below"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_exit_2(
    options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written, and the line names what was expected."""
    (tmp_path / "file").write_text("x")
    filled = [option.format(tmp_path / "new" if option == "{}" else tmp_path) for option in options]
    try:
        code = main(filled)
    except SystemExit as stop:
        code = int(str(stop.code))
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.err.startswith("python -m llm_validation.trials")
    assert not (tmp_path / "new").exists()


def test_a_number_that_no_repeat_has_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two problems of two samples: in some repeats no problem varies, and nothing of it is counted as held."""
    found = measured(Batch("wide", 2, 2, 0, 60, 0))
    unseen = np.isnan(found["least_low_0"])
    assert 0 < unseen.sum() < 60
    _, least = coverage(pool("wide"), 2, 2, found)
    assert least[0]["least_repeats"] == 60 - unseen.sum()
    _, none = coverage(pool("wide"), 2, 2, {name: values[unseen] for name, values in found.items()})
    assert math.isnan(none[0]["least_coverage"])


def test_the_page_repeats_the_stored_tables() -> None:
    """Every row of coverage and of c in docs/trials.md is one of the tables, and nothing was violated in that run."""
    docs = Path(__file__).resolve().parents[2] / "docs"
    stored, page = docs / "data" / "trials" / "coverage", (docs / "trials.md").read_text()
    manifest, summary = (json.loads((stored / f"{name}.json").read_text()) for name in ("manifest", "summary"))
    assert (manifest["status"], summary["violations"]) == ("done", [])
    assert manifest["commit"]
    assert "dirty" not in manifest["commit"]
    asked = {**Coverage().as_dict(), "pools": list(POOLS), "epsilon": list(EPSILONS), "level": trials.LEVEL}
    assert manifest["config"] == {"trial": "coverage", **asked}
    names = {"mu": "μ", "sigma2": "σ²"}
    for row in pq.read_table(stored / "means.parquet").to_pylist():
        place = f"| {row['pool']} | {row['samples']} | {names[row['quantity']]} |"
        assert f"{place} {row['coverage']:.4f} ± {row['coverage_se']:.4f} | {row['width_ratio']:.3f} ±" in page
    for row in pq.read_table(stored / "concentration.parquet").to_pylist():
        place = f"| {row['pool']} | {row['samples']} | {row['epsilon']:g} |"
        least = f"{row['least_true']:.3f} | {row['least_low']:.3f} | {row['least_coverage']:.4f}"
        assert f"{place} {least} | {row['least_positive']:.4f} | {row['plug_in_bias']:+.4f} ±" in page
        assert (
            f"{place} {row['quantile_true']:.3f} | {row['quantile_low']:.3f} | {row['quantile_coverage']:.4f}" in page
        )


def test_simulated_cases_are_decided_rightly_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 40 cases a third at least is decided, all rightly; a resumed run repeats the table; bad counts are refused."""
    from llm_validation.trials.__main__ import main

    argv = ["decisions", "--cases", "40", "--seed", "5", "--out", str(tmp_path / "d"), "--format", "json"]
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["decided"] >= 13
    assert found["right"] == found["decided"]
    assert {group["winner"] for group in found["groups"]} == {"clone", "verify"}
    first = (tmp_path / "d" / "cases.parquet").read_bytes()
    assert main([*argv, "--resume"]) == 0
    assert (tmp_path / "d" / "cases.parquet").read_bytes() == first
    assert main(["decisions", "--cases", "0", "--out", str(tmp_path / "e")]) == 2
