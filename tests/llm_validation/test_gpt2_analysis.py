"""Analysis of the didactic experiment on made-up tables: each number against one computed another way."""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import didactic_tables as made
from llm_validation.gpt2_planted.analysis import Analysis, analyse, analysed, lines
from llm_validation.gpt2_planted.analysis_bounds import points_of, violations
from llm_validation.gpt2_planted.analysis_returns import Policy, Tables, bases_of
from llm_validation.gpt2_planted.recipe import Recipe, read_recipe
from llm_validation.staged.bound_fits import FORMS, fit_of, halves
from llm_validation.staged.cells import CellError
from llm_validation.staged.slopes import Point, slopes_of
from llm_validation.staged.spread import Place, Row, spread
from theory.formula import Formula
from theory.gap import GAP_REGRET

RECIPE = made.recipe_of()
PLACES = [Place(level, H, n) for level in range(3) for H in RECIPE.grid.horizons for n in RECIPE.grid.n]
EXACT = 1e-9  # rounding, tokens

returns_in_tokens = st.floats(-1e3, 1e3, allow_subnormal=False)


def of(rows: list[Row], **wanted: Any) -> Row:
    """The one row with these values."""
    (found,) = (row for row in rows if all(row[name] == value for name, value in wanted.items()))
    return found


# Intervals


@given(st.lists(returns_in_tokens, min_size=2, max_size=9))
def test_the_interval_is_students(values: list[float]) -> None:
    """Mean and 95% interval are those of scipy's t distribution."""
    found = spread(values)
    scale = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    assert found.mean == pytest.approx(float(np.mean(values)), abs=EXACT)
    assert found.seeds == len(values)
    half = scale * float(stats.t.ppf(0.975, len(values) - 1))
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=1e-8)


def test_one_seed_has_no_interval() -> None:
    """One value: the mean, and NaN for both ends."""
    found = spread([3.0])
    assert found.mean == 3.0
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_values_that_were_not_measured_do_not_count() -> None:
    """NaN is left out of mean and number of seeds."""
    assert spread([1.0, math.nan, 3.0])[::3] == (2.0, 2)


# Returns and gaps


@pytest.fixture(scope="module")
def found() -> Analysis:
    """Tables at their closed forms; seeds move all policies by -1, 0 and 1 tokens."""
    return analysed(made.tables_of(RECIPE, by_seed=1.0), RECIPE)


def test_returns_have_the_means_of_seeds(found: Analysis) -> None:
    """J of a clone is the expert's less its loss, its interval that of -1, 0, 1."""
    row = of(found.returns, level=1, horizon=16, n=32, method="vf", arm="equal-draws")
    J = made.expert(16) - made.clone_loss(1, 16, 32)
    half = stats.t.ppf(0.975, 2) / math.sqrt(3)
    assert (row["J"], row["J_low"], row["J_high"]) == pytest.approx((J, J - half, J + half), abs=EXACT)
    expected = (-made.clone_loss(1, 16, 32), 3)
    assert (row["minus_expert"], row["seeds"]) == pytest.approx(expected, abs=EXACT)


def test_every_policy_has_a_row(found: Analysis) -> None:
    """Base, two experts, clones, best of every N, the oracle, RL with the learnt and the true reward; each once."""
    keys = [tuple(row[name] for name in Policy._fields) for row in found.returns]
    assert len(set(keys)) == len(keys)
    N = len(RECIPE.best_of_n.N)
    assert len(keys) == 9 * (1 + 2 + N) + 27 * (3 + 2 * N) + 4 * (3 + 1)


def test_the_expert_is_the_bases_solved_draws(found: Analysis) -> None:
    """Measured and exact value of the solved-only law."""
    mine = [
        row["J"] for row in found.returns if row["method"] == "expert" and (row["level"], row["horizon"]) == (2, 16)
    ]
    assert mine == [made.expert(16) + 0.05, made.expert(16)]


def test_final_labels_have_no_learnt_return_in_tokens(found: Analysis) -> None:
    """A probability is no return: NaN."""
    rows = [row for row in found.returns if row["method"] == "best-of-n" and row["arm"] == "final"]
    assert rows
    assert all(math.isnan(row["learnt_return"]) for row in rows)


def test_gaps_are_paired_by_seed(found: Analysis) -> None:
    """What a seed adds to both methods is in no gap, though it is in both intervals."""
    for row in found.gaps:
        gap = made.gap(row["level"], row["horizon"], row["n"])
        assert (row["gap"], row["gap_low"], row["gap_high"]) == pytest.approx((gap, gap, gap), abs=EXACT)
        assert row["vb_J_high"] - row["vb_J_low"] > 4.0


def test_methods_are_separated_where_their_intervals_do_not_overlap(found: Analysis) -> None:
    """Means further apart than the sum of the halves, 2 t/sqrt 3, and the better one named."""
    apart = 2 * stats.t.ppf(0.975, 2) / math.sqrt(3)
    for row in found.gaps:
        better = "vb" if row["gap"] > apart else "vf" if row["gap"] < -apart else ""
        assert (row["better"], row["separated"]) == (better, bool(better))
    assert {row["better"] for row in found.gaps} == {"", "vf"}


def test_gaps_are_of_the_places_where_both_were_trained(found: Analysis) -> None:
    """Best-of-N everywhere, RL at its levels and horizons; each against every clone."""
    kinds = [(row["vb"], row["vf"]) for row in found.gaps]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        (vb, arm): 27 if vb == "best-of-n" else 12 for vb in ("best-of-n", "rl") for arm in RECIPE.vf.arms
    }


# Slopes


def grid_of(value: Any, seeds: int = 3) -> list[Point]:
    """Points of all places and seeds."""
    return [
        Point(*place, made.sigma(place.level, place.horizon), seed, value(place, seed))
        for place in PLACES
        for seed in range(seeds)
    ]


@given(st.floats(-2, 2), st.floats(-2, 2))
def test_a_power_law_has_its_exponents(of_level: float, of_n: float) -> None:
    """value = share(level)^a H^b n^c: log-log, and the slopes in sigma and n are a and c whatever the other axes do."""

    def value(place: Place, seed: int) -> float:
        return float((1.5 + 0.1 * seed) * (0.15 + 0.06 * place.level) ** of_level * place.horizon * place.n**of_n)

    rows = slopes_of("gap", grid_of(value))
    for axis, slope in (("sigma", of_level), ("n", of_n)):
        row = of(rows, axis=axis)
        assert row["scale"] == "log-log"
        assert (row["slope"], row["slope_low"], row["slope_high"]) == pytest.approx((slope,) * 3, abs=1e-8)
        assert (row["points"], row["cells"], row["values"], row["seeds"]) == (81, 27, 3, 3)


def test_cells_that_are_missing_do_not_tilt_slopes() -> None:
    """H^2/n where large n were measured at small horizons only: the slope in log n is -1, in log H 2."""
    points = [p for p in grid_of(lambda place, seed: place.horizon**2 / place.n) if p.n * p.horizon <= 32 * 32]
    rows = slopes_of("gap", points)
    assert [of(rows, axis=axis)["slope"] for axis in ("n", "horizon")] == pytest.approx([-1.0, 2.0], abs=1e-8)


def test_values_below_0_are_not_put_on_a_log_scale() -> None:
    """Tokens for each e-fold: 2 log n - 7 has the slope 2 in log n and 0 in the others."""
    rows = slopes_of("gap", grid_of(lambda place, seed: 2.0 * math.log(place.n) - 7.0))
    assert {row["scale"] for row in rows} == {"linear-log"}
    assert [row["slope"] for row in rows] == pytest.approx([0.0, 0.0, 2.0], abs=1e-8)


def test_slopes_vary_over_seeds_not_over_cells() -> None:
    """Seeds with slopes -1, 0 and 1: the interval is Student's of these three, whatever the number of cells."""
    row = of(slopes_of("gap", grid_of(lambda place, seed: (seed - 1) * math.log(place.n))), axis="n")
    expected = spread([-1.0, 0.0, 1.0])
    assert (row["slope"], row["slope_low"], row["slope_high"]) == pytest.approx(expected[:3], abs=1e-8)


def test_an_axis_of_one_value_has_no_slope() -> None:
    """NaN, and the reason."""
    points = [point for point in grid_of(lambda place, seed: 1.0 + place.n) if point.n == 8]
    row = of(slopes_of("gap", points), axis="n")
    assert math.isnan(row["slope"])
    assert row["reason"] == "the axis does not vary beside the other two"


def test_one_seed_has_a_slope_without_an_interval() -> None:
    """The slope, NaN for its ends, and the reason."""
    row = of(slopes_of("gap", grid_of(lambda place, seed: float(place.n), seeds=1)), axis="n")
    assert row["slope"] == pytest.approx(1.0)
    assert math.isnan(row["slope_low"])
    assert row["reason"] == "1 seeds, expected at least 2 for an interval"


# Bounds


def test_both_halves_have_cells_of_reinforcement(found: Analysis) -> None:
    """6 of the 12 cells with RL are fitted on, and 14 of all 27, the same for every quantity."""
    count = {fit["quantity"]: sum(c["fitted"] for c in fit["cells"]) for fit in found.summary["fits"]}
    assert set(count.values()) == {6, 14}
    assert count["rl - equal-draws"] == 6


@given(st.floats(1.0, 1e3), st.floats(0.01, 0.5), st.integers(1, 10**6), st.floats(0.05, 1.0), st.floats(1e-3, 1e3))
def test_the_fitted_form_is_that_of_gap_regret(H: float, s: float, n: int, c: float, L: float) -> None:
    """With one L for both classes it is the closed form of the theorem."""
    point = {"H": H, "sigma": s * H, "n": float(n), "cloned": float(n), "c": c}
    whole = Formula(GAP_REGRET.claim("closed-form").relation.rhs).at({**point, "L": L})
    fitted = FORMS["gap-regret"].at(point, {"L_Pi": L, "L_R": L})
    assert fitted == pytest.approx(whole, rel=1e-12, abs=1e-12 * H * (1 + L) / c)


def test_tables_of_known_classes_give_these_back(found: Analysis) -> None:
    """Fitted on one half of the cells, L is what made the tables, and the other half is off by rounding."""
    assert [fit["form"] for fit in found.summary["fits"]] == [
        "gap-regret",
        "gap-regret",
        "vf-lower",
        "vf-lower",
        "verifier-erm",
    ]
    true = {"L_Pi": made.L_PI, "L_R": made.L_R}
    for fit in found.summary["fits"]:
        assert fit["L"] == pytest.approx({name: true[name] for name in fit["L"]}, rel=1e-8)
        assert max(fit["judged"]["rmse"], fit["judged"]["mean_absolute_error"]) < EXACT
        assert fit["judged"]["r2"] == pytest.approx(1.0)


def test_class_sizes_have_intervals_over_seeds() -> None:
    """Seeds whose regrets are of classes of 16, 25 and 36 nats: Student's interval of these three."""
    true = [16.0, 25.0, 36.0]
    by_seed = {place: {i: made.clone_loss(*place, L) for i, L in enumerate(true)} for place in PLACES}
    points = points_of(bases_of(made.tables_of(RECIPE)), PLACES)
    fit = fit_of("made up", FORMS["vf-lower"], by_seed, points, halves(PLACES, 0))
    assert fit["L_interval"]["L_Pi"] == pytest.approx(spread(true)[1:3])
    assert fit["L"]["L_Pi"] == pytest.approx(25.0)  # of the mean regret, with sqrt L = (4 + 5 + 6)/3


def test_halves_are_of_the_seed_alone() -> None:
    """Half of the cells, the same for the same seed, another for another; on neither side all of one value of n."""
    mine = halves(PLACES, 0)
    assert len(mine) == 14
    assert mine == halves(PLACES, 0) != halves(PLACES, 1)
    assert {place.n for place in mine} == {place.n for place in set(PLACES) - mine} == set(RECIPE.grid.n)


def fit_to(values: dict[Place, float], form: str) -> Row:
    """The fit of a form to made-up means."""
    points = points_of(bases_of(made.tables_of(RECIPE)), PLACES)
    by_seed = {place: {0: value} for place, value in values.items()}
    return fit_of("made up", FORMS[form], by_seed, points, halves(PLACES, 0))


@pytest.mark.parametrize("form", FORMS)
def test_errors_are_those_of_the_cells_not_fitted_on(form: str) -> None:
    """RMSE, mean absolute error and R^2 against the mean of the fitted half, from the cells as they are listed."""
    rng = np.random.default_rng(3)
    fit = fit_to({place: 3.0 + float(rng.normal()) for place in PLACES}, form)
    y, p = (np.array([c[k] for c in fit["cells"] if not c["fitted"]]) for k in ("measured", "predicted"))
    middle = np.mean([c["measured"] for c in fit["cells"] if c["fitted"]])
    assert fit["judged"]["rmse"] == pytest.approx(math.sqrt(np.mean((y - p) ** 2)))
    assert fit["judged"]["mean_absolute_error"] == pytest.approx(np.mean(np.abs(y - p)))
    assert fit["judged"]["r2"] == pytest.approx(1 - np.sum((y - p) ** 2) / np.sum((y - middle) ** 2))
    assert fit["judged"]["cells"] == len(y) == 13


@pytest.mark.parametrize("form", FORMS)
def test_no_classes_fit_better(form: str) -> None:
    """On the fitted half the sum of squares grows with any change of L that leaves it nonnegative."""
    rng = np.random.default_rng(5)
    values = {place: 2.0 + float(rng.normal()) for place in PLACES}
    fit, points = fit_to(values, form), points_of(bases_of(made.tables_of(RECIPE)), PLACES)
    mine = [place for place in PLACES if place in halves(PLACES, 0)]

    def squares(L: dict[str, float]) -> float:
        return sum((values[place] - FORMS[form].at(points[place], L)) ** 2 for place in mine)

    for name, step in ((name, step) for name in fit["L"] for step in (-1e-3, 1e-3)):
        changed = {**fit["L"], name: max(fit["L"][name] + step, 0.0)}
        assert squares(fit["L"]) <= squares(changed) * (1 + 1e-12)


def test_a_form_that_does_not_fit_is_said_to_be_so() -> None:
    """Regrets that grow with n: R^2 below 0, in words and numbers."""
    fit = fit_to({place: 0.5 * place.n for place in PLACES}, "vf-lower")
    assert fit["judged"]["r2"] < 0.0
    assert "(worse than the mean of the fitted half)" in fit["verdict"]
    assert f"R2 {fit['judged']['r2']:.2f}" in fit["verdict"]
    assert f"RMSE {fit['judged']['rmse']:.2f}" in fit["verdict"]


def test_cells_know_the_window_of_the_lower_bound(found: Analysis) -> None:
    """Inside iff L rho^2/(2 sigma^2) <= n <= sigma^2 L sqrt(M)/(8 rho^2), rho = H/2."""
    fit = of(found.summary["fits"], quantity="expert - equal-draws")
    inside = []
    for cell in fit["cells"]:
        s = made.sigma(cell["level"], cell["horizon"]) / cell["horizon"]
        L = fit["L"]["L_Pi"]
        inside.append(L / (8 * s * s) <= cell["n"] <= s * s * math.exp(L / 2) * L / 2)
    assert [cell["inside_window"] for cell in fit["cells"]] == inside
    assert set(inside) == {True, False}


def test_a_class_of_fewer_than_two_is_outside_every_window() -> None:
    """Regrets near 0 give L below log 2: nothing is claimed of such a class."""
    fit = fit_to(dict.fromkeys(PLACES, 1e-3), "vf-lower")
    assert fit["has_two_members"] == {"L_Pi": False}
    assert not any(cell["inside_window"] for cell in fit["cells"])


def test_a_class_of_size_0_has_no_window() -> None:
    """Clones that beat the expert everywhere: L = 0, a prediction of 0, no window."""
    fit = fit_to(dict.fromkeys(PLACES, -1.0), "vf-lower")
    assert fit["L"] == {"L_Pi": 0.0}
    assert {(cell["predicted"], cell["inside_window"]) for cell in fit["cells"]} == {(0.0, False)}


def test_an_upper_bound_above_H_is_vacuous() -> None:
    """verifier-erm says nothing where (1 + L)/n > 1."""
    fit = fit_to({place: made.verifier_error(place.horizon, place.n, 20.0) for place in PLACES}, "verifier-erm")
    assert fit["L"]["L_R"] == pytest.approx(20.0)
    assert [cell["vacuous"] for cell in fit["cells"]] == [cell["n"] < 21 for cell in fit["cells"]]


def test_c_is_where_heterogeneity_guarantees_it() -> None:
    """The pooled one at the largest tabulated epsilon up to p_s/s, with p_s beside it."""
    points = points_of(bases_of(made.tables_of(RECIPE)), PLACES)
    for place, point in points.items():
        epsilon = made.level_of_c(place.level, place.horizon)
        assert (point["c_epsilon"], point["c"]) == (epsilon, made.concentration(epsilon))
        s = point["sigma"] / point["H"]
        assert point["p_s"] == pytest.approx((1 - math.sqrt(1 - 4 * s * s)) / 2)


def test_a_base_that_does_not_vary_is_left_out() -> None:
    """sigma = 0: the statements assume sigma > 0."""
    tables = made.tables_of(RECIPE)
    for row in tables.measure:
        if row["quantity"] == "sigma" and row["level"] == 0:
            row["estimate"] = 0.0
    assert {place.level for place in points_of(bases_of(tables), PLACES)} == {1, 2}


def kept(J: float, J_oracle: float, N: int, error: float) -> Row:
    """A row of best-of-N."""
    cell = {"level": 0, "horizon": 8, "n": 8, "seed": 1, "arm": "per-token"}
    return {**cell, "N": N, "J": J, "J_oracle": J_oracle, "epsilon_ver": error}


def test_a_broken_inequality_is_listed() -> None:
    """J_oracle - J = 2.1 > 4 * 0.5: one violation of two rows, with where and by how much; equality is none."""
    count, broken = violations([kept(3.0, 5.0, 4, 0.5), kept(2.9, 5.0, 4, 0.5)])
    assert count == 2
    (only,) = broken
    assert (only["seed"], only["N"], only["bound"]) == (1, 4, 2.0)
    assert only["loss"] == pytest.approx(2.1)


def test_a_loss_that_is_no_number_does_not_pass() -> None:
    """NaN is not below the bound."""
    assert len(violations([kept(math.nan, 5.0, 4, 0.5)])[1]) == 1


def test_rows_without_a_learnt_return_are_not_held_against_it(found: Analysis) -> None:
    """Final labels and the oracle have no epsilon_ver."""
    assert found.summary["inequality"]["checked"] == 27 * 3 * len(RECIPE.best_of_n.N)
    assert found.summary["violations"] == []


def test_violations_reach_the_summary_and_the_text() -> None:
    """The command exits 4 by the summary's list."""
    tables = made.tables_of(RECIPE)
    row = next(row for row in tables.best_of_n if row["arm"] == "per-token" and row["N"] == 4)
    row["J_oracle"] = row["J"] + 4 * row["epsilon_ver"] + 0.01
    found = analysed(tables, RECIPE)
    assert len(found.summary["violations"]) == 1
    assert sum(line.startswith("VIOLATED") for line in lines(found)) == 1


# Reward hacking, the whole


def test_hacking_is_a_higher_learnt_and_a_lower_true_return_than_the_bases(found: Analysis) -> None:
    """Against the base's J by two standard errors of 0.1 each, and the base's learnt return by the same verifier."""
    hacking = found.summary["reward_hacking"]
    assert (hacking["policies"], hacking["places"]) == (36, 12)
    for row in hacking["by_seed"]:
        level, H, n = row["level"], row["horizon"], row["n"]
        J = made.expert(H) - made.clone_loss(level, H, n) + made.gap(level, H, n)
        below = 0.1 * (RECIPE.best_of_n.N[-1] - 1)  # of one draw, by its verifier overrated by 1
        gains = (J + 4.0 - (J - below + 1.0), J - 0.4 * H)
        assert (row["learnt_gain"], row["overrated"]) == pytest.approx((gains[0], 3.0))
        assert row["J_gain"] == pytest.approx(gains[1], abs=EXACT)
        assert row["hacked"] == (row["learnt_gain"] > 0.0 and gains[1] < -2.0 * math.hypot(0.1, 0.1))
    assert {row["hacked"] for row in hacking["by_seed"]} == {True, False}
    assert hacking["hacked"] == sum(row["hacked"] for row in hacking["by_seed"])


def test_hacking_is_beyond_noise_where_seeds_agree(found: Analysis) -> None:
    """Both intervals leave out 0; along the training batches level 0 falls by 3 and level 2 rises by 1.5."""
    hacking = found.summary["reward_hacking"]
    for row in hacking["over_seeds"]:
        assert row["beyond_noise"] == (row["learnt_gain_low"] > 0.0 > row["J_gain_high"])
        assert (row["learnt_change"], row["true_change"]) == pytest.approx((3.0, -3.0 if row["level"] == 0 else 1.5))
    assert hacking["hacked_beyond_noise"] == sum(row["beyond_noise"] for row in hacking["over_seeds"]) > 0


def test_without_draws_of_one_there_is_no_hacking() -> None:
    """Where best of N begins at 2 nothing is known of the base's learnt return: no policy counts."""
    tables = made.tables_of(RECIPE)
    few = tables._replace(best_of_n=[row for row in tables.best_of_n if row["N"] > 1])
    hacking = analysed(few, RECIPE).summary["reward_hacking"]
    assert (hacking["hacked"], hacking["policies"], hacking["places"]) == (0, 0, 0)
    assert {row["overrated"] for row in hacking["by_seed"]} == {None}


def test_a_loss_that_is_no_number_is_said() -> None:
    """The text of a violation whose loss is NaN, None in the summary."""
    tables = made.tables_of(RECIPE)
    next(row for row in tables.best_of_n if row["arm"] == "per-token")["J"] = math.nan
    assert any(line.endswith("None > 1.5 tokens") for line in lines(analysed(tables, RECIPE)))


def test_the_order_of_rows_does_not_matter() -> None:
    """Tables are sets of rows: shuffled, they give the same analysis up to the order of lists by seed and rounding."""
    tables = made.tables_of(RECIPE, by_seed=1.0)
    mixed = Tables(*(random.Random(1).sample(rows, len(rows)) for rows in tables))
    one, other = (analysed(each, RECIPE) for each in (tables, mixed))
    assert [row["J"] for row in one.returns] == pytest.approx([row["J"] for row in other.returns])
    for name in ("gap", "slope"):
        rows = [found.gaps if name == "gap" else found.summary["slopes"] for found in (one, other)]
        assert [row[name] for row in rows[0]] == pytest.approx([row[name] for row in rows[1]], abs=EXACT)
    hacked = [found.summary["reward_hacking"] for found in (one, other)]
    assert hacked[0]["hacked"] == hacked[1]["hacked"]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_run_of_one_cell_is_analysed(tmp_path: Path, seeds: int) -> None:
    """As the smoke recipe: no slopes, nothing to judge, with reasons; the summary is JSON without NaN."""
    recipe = made.recipe_of(levels=(0.5,), seeds=seeds, horizons=(8,), n=(16,))
    out = made.stored(tmp_path / "o", recipe, made.tables_of(recipe))
    summary = made.summary_of(out)
    assert [row["slope"] for row in summary["slopes"]] == [None] * len(summary["slopes"])
    assert all(row["reason"] for row in summary["slopes"])
    assert {fit["judged"] for fit in summary["fits"]} == {None}
    assert all(fit["verdict"] for fit in summary["fits"])
    assert lines(analyse(out, recipe))


def test_what_is_stored_is_read_back(tmp_path: Path) -> None:
    """The tables of a run's directory give what their rows give."""
    out = made.stored(tmp_path / "o", RECIPE, made.tables_of(RECIPE, by_seed=1.0))
    assert lines(analyse(out, RECIPE)) == lines(analysed(made.tables_of(RECIPE, by_seed=1.0), RECIPE))


def test_a_missing_table_is_one_line(tmp_path: Path) -> None:
    """Which stage to run first."""
    with pytest.raises(CellError, match="run stage data first") as caught:
        analyse(tmp_path, RECIPE)
    assert "\n" not in str(caught.value)


def laptop() -> Recipe:
    """The recorded default."""
    return dataclasses.replace(read_recipe("laptop"), seed=1)


def test_the_text_of_the_laptop_recipe_fits_a_page() -> None:
    """Fewer than 60 lines: all cells, verdicts at the highest heterogeneity, slopes, errors on the judged half."""
    recipe = laptop()
    text = lines(analysed(made.tables_of(recipe, by_seed=1.0), recipe))
    assert len(text) < 60
    whole = "\n".join(text)
    for word in (
        "[tokens]",
        "highest heterogeneity (0.9)",
        "log-log",
        "nats",
        "RMSE",
        "reward hacking",
        "0 violations",
    ):
        assert word in whole
    assert sum(line.startswith(("    0 ", " 0.33", " 0.67", "  0.9")) for line in text) == 36
