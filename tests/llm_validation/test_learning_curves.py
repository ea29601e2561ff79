"""Learning curves: read with their errors, predicted within assumptions that are said, continued only where judged."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import least_squares, minimize_scalar

from llm_validation.learning_curves import (
    CurvePrediction,
    LearningCurves,
    crossover,
    effective_complexity,
    predict,
    read_curves,
)
from llm_validation.power_law import Curve, fit, forecast, reject
from llm_validation.traces import TraceError
from theory.crossover import vb_random_loss
from theory.verifier_based import VB_UPPER_TOP_C
from theory.verifier_free import VF_LOWER, VF_UPPER

H = 100
Floats = NDArray[Any]
Law = Callable[[Floats], Floats]


def curves(n: Floats, J: dict[str, Floats], se: float, freedom: float = math.inf) -> LearningCurves:
    """Curves of some sides at the same n's and one H."""
    size = len(J) * n.size
    return LearningCurves(
        method=tuple(side for side in J for _ in n),
        n=np.tile(n.astype(float), len(J)),
        H=np.full(size, H),
        J=np.concatenate(list(J.values())),
        se=np.full(size, se),
        freedom=np.full(size, freedom),
    )


def doubling(first: float, k: int) -> Floats:
    """k numbers of traces, each twice the one before."""
    return np.array([first * 2.0**i for i in range(k)])


def predicted(shown: LearningCurves, method: str, n: float, seed: int = 0, level: float = 0.95) -> CurvePrediction:
    """The prediction at H, which there is."""
    found = predict(shown, method, n, H, seed, level)
    assert found is not None
    return found


# -- reading --------------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_rows_of_one_point_are_averaged(tmp_path: Path) -> None:
    """Seeds: the error is the pooled sd over the root of their number, or the point's own where that is larger."""
    rows = [
        ("clone", 10, 8, 1.0),
        ("clone", 10, 8, 3.0),
        ("clone", 20, 8, 4.0),
        ("clone", 20, 8, 4.0),
        ("rl", 20, 8, 5),
    ]
    text = "method,n,H,J,seed,se\n" + "".join(f"{m},{n},{h},{j},{i},\n" for i, (m, n, h, j) in enumerate(rows[:4]))
    shown = read_curves(write(tmp_path / "c.csv", text + "rl,20,8,5,0,0.25\n"))
    assert shown.method == ("VF", "VF", "VB")
    np.testing.assert_array_equal(shown.n, [10.0, 20.0, 20.0])
    np.testing.assert_array_equal(shown.J, [2.0, 4.0, 5.0])
    # of n = 10: 2 (sum of squares) of 1; pooled: 2 of 2 degrees of freedom
    np.testing.assert_allclose(shown.se, [math.sqrt(2 / 2), math.sqrt(1 / 2), 0.25])
    assert shown.freedom is not None
    np.testing.assert_array_equal(shown.freedom, [2.0, 2.0, math.inf])
    assert shown.notes == ("errors of 2 points are from the spread between seeds",)


def test_spread_between_seeds_counts_beside_given_errors(tmp_path: Path) -> None:
    """An evaluation's error says nothing of chance in training: seeds that differ by more make it larger."""
    text = "method,n,H,J,se\nvf,10,8,1,0.1\nvf,10,8,3,0.1\nvf,20,8,4,0.1\nvb,10,8,4,0.3\nvb,10,8,4,0.3\n"
    shown = read_curves(write(tmp_path / "c.csv", text))
    np.testing.assert_allclose(shown.se, [1.0, math.sqrt(2.0), 0.3 / math.sqrt(2)])


@pytest.mark.parametrize("name", ["c.csv", "c.jsonl"])
def test_formats_and_names_of_methods(tmp_path: Path, name: str) -> None:
    """CSV and JSON lines give the same curves; names of methods are mapped whatever their case and hyphens."""
    rows = [("SFT", 8, 32, 4.5, 0.5), ("Best of_N", 8, 32, 6.0, 0.25), ("Best of_N", 16, 64, 7.0, 0.5)]
    names = ("method", "n", "H", "J", "se")
    text = (
        ",".join(names) + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
        if name.endswith("csv")
        else "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    )
    shown = read_curves(write(tmp_path / name, text))
    assert shown.method == ("VF", "VB", "VB")
    assert (shown.horizons("VF"), shown.horizons("VB")) == ([32], [32, 64])
    np.testing.assert_array_equal(shown.J, [4.5, 6.0, 7.0])
    assert json.loads(json.dumps(shown.as_dict()))["H"] == [32, 32, 64]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("method,n,H\nvf,1,8\n", "has no column J; it has method, n, H"),
        ("method,n,H,J\nvf,1,8,2\n", "has no column se or seed, expected one of them: J without an error says nothing"),
        ("method,n,H,J,se\nmagic,1,8,2,1\n", "row 1: method is 'magic', expected one of vf, verifier-free, clone"),
        ("method,n,H,J,se\nsft,1,8,2,1\nclone,2,8,2,1\n", "row 2: 'sft' and 'clone' are both VF, expected one method"),
        ("method,n,H,J,se\nvf,x,8,2,1\n", "row 1: n is 'x', expected a number of at least 1"),
        ("method,n,H,J,se\nvf,0,8,2,1\n", "row 1: n is '0', expected a number of at least 1"),
        ("method,n,H,J,se\nvf,1,8.5,2,1\n", "row 1: H is 8.5, expected a whole number"),
        ("method,n,H,J,se\nvf,1,8,,1\n", "row 1: J is None, expected a number of at least 0"),
        ("method,n,H,J,se\nvf,1,8,nan,1\n", "row 1: J is 'nan', expected a number of at least 0"),
        ("method,n,H,J,se\nvf,1,8,9,1\n", "row 1: J is 9, expected at most H = 8"),
        ("method,n,H,J,se\nvf,1,8,2,-1\n", "row 1: se is '-1', expected a number of at least 0"),
        ("method,n,H,J,seed\nvf,1,8,2,1\nvf,1,8,3,1\n", "VF at n = 1, H = 8: a seed occurs twice"),
        ("method,n,H,J,seed\nvf,1,8,2,1\nvf,2,8,3,1\n", "VF at n = 1, H = 8: one J without se, and no n with several"),
        ("method,n,H,J,se\n", "no traces in it"),
    ],
)
def test_files_that_cannot_be_used_give_one_line(tmp_path: Path, text: str, line: str) -> None:
    """One line that begins with the file and says the row, the value and what was expected."""
    path = write(tmp_path / "c.csv", text)
    with pytest.raises(TraceError) as caught:
        read_curves(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


def test_points_that_are_no_curve_are_refused() -> None:
    """Columns of other lengths, values that are not finite, an n twice."""
    with pytest.raises(TraceError, match="J: 1 values, expected one for each of 2 points"):
        LearningCurves(("VF", "VF"), np.ones(2), np.ones(2, int), np.ones(1), np.ones(2))
    with pytest.raises(TraceError, match="se: expected finite numbers of at least 0"):
        LearningCurves(("VF",), np.ones(1), np.ones(1, int), np.ones(1), np.array([math.nan]))
    with pytest.raises(TraceError, match="method 'RL': expected VF or VB"):
        LearningCurves(("RL",), np.ones(1), np.ones(1, int), np.ones(1), np.ones(1))
    with pytest.raises(TraceError, match="VF at H = 1: an n occurs twice"):
        predict(LearningCurves(("VF", "VF"), np.ones(2), np.ones(2, int), np.ones(2), np.ones(2)), "VF", 1.0, 1)


# -- within the data ------------------------------------------------------------------------------------------------


def test_a_measured_point_has_its_own_interval() -> None:
    """J and the normal quantile of its error; Student's where the error has few degrees of freedom; cut to [0, H]."""
    n = np.array([10, 20, 40])
    shown = curves(n, {"VF": np.array([30.0, 50.0, 99.0])}, 2.0)
    found = predicted(shown, "VF", 20)
    assert (found.how, found.estimate) == ("measured", 50.0)
    assert (found.low, found.high) == pytest.approx((50 - 2 * 1.959964, 50 + 2 * 1.959964))
    assert predicted(shown, "VF", 40).high == 100.0
    few = predicted(curves(n, {"VF": np.array([30.0, 50.0, 99.0])}, 2.0, 3.0), "VF", 20)
    assert few.high == pytest.approx(50 + 2 * 3.182446)


def test_between_two_points_the_band_holds_every_monotone_curve() -> None:
    """From the lower of both lower ends to the upper of both upper ends, each at half the error, falling or rising."""
    shown = curves(np.array([10, 40, 90]), {"VB": np.array([60.0, 50.0, 70.0])}, 1.0)
    found = predicted(shown, "VB", 20)
    z = 2.241403
    assert found.how == "between"
    assert found.estimate == pytest.approx(55.0)
    assert (found.low, found.high) == pytest.approx((50 - z, 60 + z))
    assert found.reasons == ("assumes that the curve is monotone between n = 10 and 40",)
    assert predicted(shown, "VB", 60).low == pytest.approx(50 - z)


def test_bands_between_points_cover() -> None:
    """Random monotone curves, 2,000 repeats: the truth between two measured n's lies in the 95% band."""
    rng, n, held = np.random.default_rng(0), np.array([10, 40]), 0
    for _ in range(2000):
        ends, share, se = np.sort(rng.uniform(20, 80, 2))[:: rng.choice([-1, 1])], rng.choice([0.0, 0.5, 1.0]), 3.0
        found = predicted(curves(n, {"VF": ends + rng.normal(0, se, 2)}, se), "VF", 20)
        held += found.low <= ends[0] + share * (ends[1] - ends[0]) <= found.high
    assert held >= 0.95 * 2000 - 4 * math.sqrt(2000 * 0.05 * 0.95)


def test_what_is_outside_of_the_data_is_refused() -> None:
    """Below the smallest n, beyond 4 times the largest, at another H, with too few points; None without the method."""
    shown = curves(np.array([10, 20]), {"VF": np.array([30.0, 50.0])}, 1.0)
    for n, reason in (
        (5, "n = 5 is below the smallest measured, 10"),
        (81, "n = 81 is more than 4 times the largest measured, 20"),
        (30, "n = 30 is beyond the largest measured, 20, and 2 measured n, expected at least 5"),
    ):
        found = predicted(shown, "VF", n)
        assert (found.how, found.low, found.high) == ("refused", 0.0, 100.0)
        assert math.isnan(found.estimate)
        assert found.reasons[0].startswith(reason)
    other = predict(shown, "VF", 10, 50)
    assert other is not None
    assert other.reasons == ("measured at H = 100, not at 50; no exponent in H is fitted",)
    assert predict(shown, "VB", 10, H) is None


# -- power laws -----------------------------------------------------------------------------------------------------


def test_a_law_is_found_again() -> None:
    """Without noise the fit returns J_inf, a and nu of the law, with free and with fixed nu."""
    n = doubling(8, 8)
    for J_inf, a, nu in ((80.0, 100.0, 0.5), (60.0, 300.0, 1.0), (95.0, 60.0, 0.23)):
        curve = Curve(n, J_inf - a * n**-nu, np.full(8, 0.1), math.inf, 100.0)
        for exponent in (nu, None):
            found = fit(curve, curve.J[None], exponent)
            assert found.J_inf[0] == pytest.approx(J_inf, rel=2e-3)
            assert found.amplitude[0] == pytest.approx(a, rel=1e-2)
            assert found.nu[0] == pytest.approx(nu, rel=1e-2)
            assert found.chi2[0] < 1e-1


@pytest.mark.parametrize("nu", [0.5, None])
def test_the_fit_is_the_least_squares_fit(nu: float | None) -> None:
    """Noisy curves near every bound: chi^2 is that of scipy's bounded least squares from the best of its starts."""
    rng, n = np.random.default_rng(1), doubling(8, 7)
    x = n / n[-1]
    for top, a, noise in ((60, 30, 1.0), (99.5, 30, 2.0), (50, 0, 1.0), (80, -10, 1.0), (1.0, 0, 1.0), (112, 110, 1.0)):
        curve = Curve(
            n, top - a * (n / 8) ** -0.5 + rng.normal(size=7) * noise, rng.uniform(0.5, 2, 7), math.inf, 100.0
        )

        def residual(p: Floats, curve: Curve = curve) -> Floats:
            power = p[2] if nu is None else nu
            return np.asarray((curve.J - p[0] + p[1] * x**-power) / curve.se)

        ends = ([0.0, 0.0, 0.1], [100.0, 200.0, 2.0]) if nu is None else ([0.0, 0.0], [100.0, 200.0])
        starts = itertools.product((10.0, 90.0), (0.1, 20.0), (0.2, 1.5)[: 2 if nu is None else 1])
        best = min(
            2 * least_squares(residual, start[: len(ends[0])], bounds=ends, xtol=1e-12, ftol=1e-12).cost
            for start in starts
        )
        found = fit(curve, curve.J[None], nu)
        assert found.chi2[0] == pytest.approx(best, rel=1e-3, abs=1e-3)
        assert 0.0 <= found.J_inf[0] <= 100.0
        assert found.drop[0] >= 0.0


def test_an_extrapolated_power_law_covers_and_holds_both_exponents() -> None:
    """J = 80 - 150 n^-1/2: extrapolated, with the truth inside and the fixed and the free fit's values too."""
    n = doubling(16, 7)
    J = 80 - 150 / np.sqrt(n) + np.random.default_rng(3).normal(0, 0.3, 7)
    found = predicted(curves(n, {"VF": J}, 0.3), "VF", 4096)
    assert found.how == "extrapolated"
    assert found.low <= 80 - 150 / 64 <= found.high
    assert found.high - found.low < 4.0
    assert "assumes" in found.reasons[0]
    curve = Curve(n, J, np.full(7, 0.3), math.inf, 100.0)
    for exponent in (0.5, None):
        assert found.low <= fit(curve, J[None], exponent).at(np.array([4096.0]))[0, 0] <= found.high
    assert found.nu == pytest.approx(0.5, abs=0.2)
    assert found == predicted(curves(n, {"VF": J}, 0.3), "VF", 4096)


@pytest.mark.parametrize(
    ("J", "reason"),
    [
        ([50.0] * 8, "does not rise"),
        ([60, 55, 50, 45, 40, 38, 37, 36], "does not rise"),
        ([5, 5, 5, 5, 6, 10, 25, 60], "does not flatten"),
        ([5, 15, 25, 35, 45, 55, 65, 75], "does not flatten"),
        ([10, 30, 40, 45, 47.5, 48.7, 49.4, 56], "does not flatten|does not predict|steepening"),
        ([10, 30, 40, 45, 47.5, 40, 55, 49], "no power law|does not predict|steepening"),
    ],
)
def test_curves_that_may_hide_a_threshold_are_not_continued(J: list[float], reason: str) -> None:
    """Flat, falling, steepening, linear in log n, with a second rise, erratic: refused, with the reason."""
    n = 8.0 * 2 ** np.arange(len(J))
    found = predicted(curves(n, {"VB": np.array(J, dtype=float)}, 0.5), "VB", 1500)
    assert found.how == "refused"
    assert any(part in found.reasons[0] for part in reason.split("|")), found.reasons


def test_the_larger_half_judges_the_law() -> None:
    """A power law with the exponent of theory on the smaller half, a plateau beyond: the larger half refuses it."""
    n = doubling(8, 10)
    J = 90 - 200 / np.sqrt(n)
    J[5:] = J[4] + 0.5 * np.arange(1, 6)
    found = predicted(curves(n, {"VF": J}, 0.2), "VF", 8000)
    assert found.how == "refused"
    assert "does not predict the larger half" in found.reasons[0]
    assert "nu = 0.5" in found.reasons[0]


def test_the_last_point_alone_can_refuse() -> None:
    """A second threshold that begins at the last n, where the larger half as a whole is still within its errors."""
    J = np.array([24.6, 34.4, 40.4, 44.1, 46.5, 48.1, 49.8, 53.3, 58.5])
    reason = reject(Curve(doubling(8, 9), J, np.full(9, 2.0), math.inf, 100.0), 0.5, np.random.default_rng(0))
    assert reason is not None
    assert reason.endswith("above the law through the others: the curve may be steepening")
    J[-1] = 51.0
    assert reject(Curve(doubling(8, 9), J, np.full(9, 2.0), math.inf, 100.0), 0.5, np.random.default_rng(0)) is None


def test_a_curve_that_stopped_rising_stays_within() -> None:
    """No power law reaches its limit: where the last step does not rise the mean of the last two points is inside."""
    J = np.array([50.2, 81.6, 95.0, 95.0, 95.0, 95.0, 95.0, 95.0])
    found = forecast(
        Curve(doubling(8, 8), J, np.full(8, 1.0), math.inf, 100.0), 1.0, 4096.0, 0.95, np.random.default_rng(0)
    )
    assert found.low == pytest.approx(95.0 - 1.959964 / math.sqrt(2), abs=0.3)
    assert found.low <= 95.0 - 1.95 / math.sqrt(2)
    assert found.high >= 95.0 + 1.95 / math.sqrt(2)


def random_curve(kind: str, rng: np.random.Generator) -> Law:
    """A true curve of one kind on n >= 8: where a threshold lies is random, within the data and beyond."""
    top = float(rng.uniform(20, 100))
    size = top * float(rng.uniform(0.2, 1.0))
    if kind in ("power", "free power"):
        nu = 0.5 if kind == "power" else float(rng.uniform(0.15, 1.8))
        return lambda n: top - size * (n / 8) ** -nu
    if kind == "flat":
        return lambda n: np.full_like(n, top)
    if kind == "exponential":
        scale = float(rng.uniform(8, 8 * 2**10))
        return lambda n: top - size * np.exp(-n / scale)
    if kind == "logistic":
        place, width = rng.uniform(np.log(8), np.log(8 * 2**12)), float(rng.uniform(0.15, 1.2))
        return lambda n: top - size / (1 + np.exp((np.log(n) - place) / width))
    log2_M, c = float(rng.choice([8, 16, 32, 64, 128, 256, 512])), float(rng.choice([0.5, 0.25, 0.125]))
    return lambda n: np.array([100 * (1 - (1 - c) * vb_random_loss(round(k), log2_M, c)) for k in n])


def outcome(kind: str, seed: int) -> tuple[bool, bool]:
    """Whether one random curve is extrapolated, and whether the 95% interval covers it."""
    rng = np.random.default_rng([seed, 0x1EA2])
    law, k = random_curve(kind, rng), int(rng.integers(5, 11))
    n, se = doubling(8, k), 100.0 * float(rng.choice([0.002, 0.005, 0.01, 0.02]))
    at = float(n[-1] * rng.choice([1.5, 2.0, 4.0]))
    side = "VF" if kind == "power" or rng.random() < 0.5 else "VB"
    shown = curves(n, {side: law(n) + rng.normal(0, se, k)}, se)
    found = predicted(shown, side, at, seed)
    truth = float(law(np.array([at]))[0])
    return found.how == "extrapolated", found.low - 1e-6 <= truth <= found.high + 1e-6


@pytest.mark.parametrize(
    ("kind", "kept_at_least", "kept_at_most"),
    [
        ("power", 0.7, 1.0),
        ("free power", 0.6, 1.0),
        ("flat", 0.0, 0.02),
        ("logistic", 0.0, 0.15),
        ("exponential", 0.0, 0.15),
        ("random consistent", 0.0, 0.1),
    ],
)
def test_random_curves_are_refused_or_covered(kind: str, kept_at_least: float, kept_at_most: float) -> None:
    """100 random curves of each kind, 5-10 n's: power laws are mostly continued, thresholds seldom; all covered."""
    kept, held = np.array([outcome(kind, seed) for seed in range(100)]).T
    assert kept_at_least * 100 <= kept.sum() <= kept_at_most * 100, kept.sum()
    missed = int((kept & ~held).sum())
    assert missed <= max(1, round(0.08 * kept.sum())), (missed, kept.sum())


def test_errors_from_few_seeds_widen_the_prediction() -> None:
    """Student's factor enters the resampling: with 4 degrees of freedom the interval is wider than otherwise."""
    n = doubling(16, 8)
    J = 80 - 150 / np.sqrt(n)
    known, few = (
        forecast(Curve(n, J, np.full(8, 0.1), freedom, 100.0), 0.5, 8192.0, 0.95, np.random.default_rng(0))
        for freedom in (math.inf, 4.0)
    )
    assert few.high - few.low > 1.2 * (known.high - known.low)
    assert reject(Curve(n, J, np.full(8, 0.3), math.inf, 100.0), 0.5, np.random.default_rng(0)) is None


# -- both recipes ---------------------------------------------------------------------------------------------------


def test_a_crossover_is_where_the_sign_is_certain_on_both_sides() -> None:
    """Between the last certain n before and the first after; the estimate is the root in log n."""
    n = np.array([10, 20, 40, 80, 160])
    J = {"VF": np.full(5, 50.0), "VB": np.array([30.0, 49.9, 50.1, 54.0, 80.0])}
    found = crossover(curves(n, J, 1.0), H)
    assert found is not None
    assert (found.n_low, found.n_high, found.after, found.changes) == (10.0, 80.0, "VB", 1)
    assert found.estimate == pytest.approx(math.sqrt(800.0))
    sharp = crossover(curves(n, J, 0.02), H)
    assert sharp is not None
    assert (sharp.n_low, sharp.n_high) == (20.0, 40.0)
    assert crossover(curves(n, J, 10.0), H) is None
    doubtful = {"VF": J["VF"], "VB": np.array([50 - 2.4 * math.sqrt(2), 50.0, 50.0, 50.0, 80.0])}
    assert crossover(curves(n, doubtful, 1.0), H) is None
    assert crossover(curves(n, doubtful, 0.9), H) is not None
    assert crossover(curves(n, {"VF": J["VF"]}, 1.0), H) is None
    back = crossover(curves(n, {"VB": J["VF"], "VF": J["VB"]}, 0.02), H)
    assert back is not None
    assert back.after == "VF"
    twice = crossover(curves(n, {"VF": J["VF"], "VB": np.array([30.0, 70, 30, 70, 90])}, 1.0), H)
    assert twice is not None
    assert (twice.n_low, twice.n_high, twice.changes) == (10.0, 20.0, 3)


def test_a_crossover_that_is_none_is_seldom_found() -> None:
    """Equal curves: in 400 repeats a change of sign is found in at most 5% of them, 4 standard errors allowed."""
    rng, n = np.random.default_rng(5), doubling(8, 6)
    found = [
        crossover(curves(n, {side: 50 + rng.normal(0, 1.0, 6) for side in ("VF", "VB")}, 1.0), H) for _ in range(400)
    ]
    assert sum(place is not None for place in found) <= 20 + 4 * math.sqrt(400 * 0.05 * 0.95)
    true = [
        crossover(
            curves(n, {"VF": 50 + rng.normal(0, 2, 6), "VB": 30 + 8 * np.arange(6) + rng.normal(0, 2, 6)}, 2.0), H
        )
        for _ in range(400)
    ]
    inside = [place.n_low <= 8 * 2**2.5 <= place.n_high for place in true if place is not None]
    assert len(inside) > 350
    assert np.mean(inside) >= 0.95


def test_complexities_are_read_through_the_bounds() -> None:
    """A curve that loses what a bound says for L nats reads L again; one that loses less than any class could: None."""
    n, k, sigma, c, L = 1024.0 * 4.0 ** np.arange(7), doubling(32768, 6), 30.0, 0.25, 400.0
    log2 = L / math.log(2)
    a = VF_LOWER.evaluate(n=4096, log2_M=log2, sigma=sigma, H=H).extras["closed_form"]["value"] * 64.0
    b = VB_UPPER_TOP_C.evaluate(H=H, c=c, n=round(k[-1]), log2_M=log2).value * k[-1]
    shown = LearningCurves(
        method=("VF",) * 7 + ("VB",) * 6,
        n=np.concatenate([n, k]),
        H=np.full(13, H),
        J=np.concatenate([90 - a / np.sqrt(n), 95 - b / k]),
        se=np.repeat([0.01, 0.001], [7, 6]),
    )
    at_most, at_least, verifiers = effective_complexity(shown, sigma, c, H)
    assert (at_most.name, at_most.bound, at_least.bound) == ("log|Pi|", "at most", "at least")
    assert at_most.estimate == pytest.approx(L, rel=1e-6)
    assert at_most.low is not None
    assert at_most.high is not None
    assert at_most.low < L < at_most.high
    loss = a / math.sqrt(n[-1])
    assert at_least.estimate is not None
    assert VF_UPPER.evaluate(
        H=H, n=round(n[-1]), log2_M=at_least.estimate / math.log(2), sigma=sigma
    ).value == pytest.approx(loss, rel=1e-6)
    assert at_least.estimate < L
    assert (verifiers.name, verifiers.bound) == ("log|R|", "at least")
    assert verifiers.estimate == pytest.approx(L, rel=1e-6)
    small = effective_complexity(curves(n, {"VF": 90 - 2 / np.sqrt(n)}, 0.001), sigma, c, H)
    assert small[1].estimate is None
    assert "VB was not measured" in small[2].says
    with pytest.raises(TraceError, match="expected 0 < sigma <= 50 and 0 < c <= 1"):
        effective_complexity(shown, 0.0, c, H)


def test_a_prediction_is_plain_data() -> None:
    """as_dict is JSON; minimum over a law by another road agrees (nu at its bound)."""
    n = doubling(16, 7)
    found = predicted(curves(n, {"VF": 80 - 150 / np.sqrt(n)}, 0.3), "VF", 4096)
    data = json.loads(json.dumps(found.as_dict()))
    assert data["how"] == "extrapolated"
    assert data["low"] <= data["estimate"] <= data["high"]
    curve = Curve(n, 80 - 1000 * n**-3.0, np.full(7, 0.1), math.inf, 100.0)
    free = minimize_scalar(lambda nu: fit(curve, curve.J[None], nu).chi2[0], bounds=(0.1, 2.0), method="bounded")
    assert fit(curve, curve.J[None], None).nu[0] == pytest.approx(free.x, abs=0.02)
