"""The phase diagram: exponents inside the window, and what moves them."""

from __future__ import annotations

import dataclasses
import math

import pytest

from sim.experiments.command import Result, run_experiment
from sim.experiments.phase import EXPERIMENT, PhaseSettings
from sim.report import GAPS
from theory.gap import GAP_BALL_CLAIMS, GAP_FREE_CLAIMS
from theory.verifier_free import VF_LOWER_CLAIMS, exponent_of


@pytest.fixture(scope="module")
def result() -> Result:
    return run_experiment(EXPERIMENT, dataclasses.replace(EXPERIMENT.settings, seeds=64))


def test_every_exponent_is_within_a_twentieth_of_its_prediction(result: Result) -> None:
    """All 48 fits, all of their range inside the window, no bound violated."""
    rows = result.summary["exponents"]
    assert len(rows) == len(GAPS) * 16 == result.summary["fits_inside_window"]
    assert all(abs(row["exponent"] - row["predicted"]) <= 0.05 for row in rows)
    assert result.summary["largest_deviation_inside_window"] == max(abs(row["deviation"]) for row in rows)
    assert result.exit_code == 0
    assert not result.violations


def test_predictions_are_those_of_the_notes() -> None:
    """alpha - nu/2 for what stays in the ball, alpha for the free gap."""
    for alpha, nu in ((0.25, 0.0), (0.5, 1.5), (1.0, 1.0)):
        assert math.isclose(exponent_of(VF_LOWER_CLAIMS, alpha, nu), alpha - nu / 2)
        assert math.isclose(exponent_of(GAP_BALL_CLAIMS, alpha, nu), alpha - nu / 2)
        assert math.isclose(exponent_of(GAP_FREE_CLAIMS, alpha, nu), alpha)


def test_instances_follow_the_two_powers() -> None:
    """sigma = H0/2 (H/H0)^alpha and n = n0 (H/H0)^nu, rounded up, on every cell."""
    settings = EXPERIMENT.settings
    for cell in EXPERIMENT.cells(settings):
        made, growth = EXPERIMENT.instance(settings, cell), cell["horizon"] / 64
        assert math.isclose(made.sigma, 32.0 * growth ** cell["alpha"], rel_tol=1e-9)
        assert 0.0 <= made.n - 256.0 * growth ** cell["nu"] * (1.0 - 1e-12) < 1.0


def test_a_small_class_leaves_the_window() -> None:
    """At log2 M = 8 no range is covered, and no deviation is counted."""
    small = PhaseSettings(log2_M=8, n0=64, seeds=8, alphas=(1.0,), nus=(1.5,), horizon="64..1024x2")
    result = run_experiment(EXPERIMENT, small)
    assert result.summary["fits_inside_window"] < len(GAPS)
    assert result.exit_code == 0
    outside = [row for row in result.summary["exponents"] if not row["window_covers_range"]]
    assert {row["gap"] for row in outside} >= {"vf_regret"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"horizon": "64..256x2"}, "--horizon 64..256x2"),
        ({"horizon": "5..1"}, "--horizon 5..1"),
        ({"horizon": "64..65536x2"}, "--horizon 64..65536x2"),
        ({"log2_M": 0}, "--log2-M 0"),
        ({"seeds": 1}, "--seeds 1"),
        ({"alphas": (1.5,)}, "sigma/H"),
    ],
)
def test_bad_settings_are_one_line(fields: dict[str, object], named: str) -> None:
    """A setting out of range raises one line that names it."""
    with pytest.raises(ValueError, match=named) as caught:
        dataclasses.replace(EXPERIMENT.settings, **fields)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
