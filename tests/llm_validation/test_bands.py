"""Bands of both recipes: numbers of the theory, and the claims they stand for on small enumerated laws."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_validation.bands import best_of_n_loss, cloning_band, expert_sd, predicted_gap, verifier_error
from theory.chi2_ball import optimal_expert
from theory.gap import GAP_REGRET
from theory.laws import ReturnLaw
from theory.notation import LN2

returns = st.lists(st.integers(0, 8), min_size=2, max_size=4)
weights = st.lists(st.integers(1, 6), min_size=4, max_size=4)
learned = st.lists(st.integers(0, 8), min_size=4, max_size=4)


@given(returns, weights, learned, st.integers(1, 3))
def test_the_kept_draw_loses_at_most_n_errors(R: list[int], w: list[int], R_hat: list[int], N: int) -> None:
    """On every law, best of N under R_hat loses at most N E|R_hat - R| to the best of the same N draws (enumerated)."""
    value, guess = np.array(R, float), np.array(R_hat[: len(R)], float)
    p = np.array(w[: len(R)], float) / sum(w[: len(R)])
    best = kept = 0.0
    for draws in itertools.product(range(len(R)), repeat=N):
        chance = float(np.prod(p[list(draws)]))
        top = max(guess[list(draws)])
        ties = [value[i] for i in draws if guess[i] == top]
        best += chance * max(value[list(draws)])
        kept += chance * sum(ties) / len(ties)
    error = float(p @ np.abs(guess - value))
    assert best - kept <= best_of_n_loss(10**6, N, error) + 1e-9


def test_cloning_band_is_vf_upper_cut_at_the_budget() -> None:
    """The band is 2 sqrt(2) sigma_e sqrt(h) + 2 H h with h = (1 + L)/n, and H where that is more."""
    h = (1.0 + 20.0) / 10_000
    assert cloning_band(64, 10_000, 20.0, 10.0) == pytest.approx(2 * math.sqrt(2) * 10 * math.sqrt(h) + 128 * h)
    assert cloning_band(64, 10, 20.0, 10.0) == 64.0


def test_verifier_error_falls_like_its_class_over_n() -> None:
    """The bound is at most H (1 + L)/n, H at worst."""
    assert verifier_error(64, 5_000, 20.0) <= 64 * 21.0 / 5_000
    assert verifier_error(64, 1, 200.0) <= 64.0


@given(returns, weights, st.floats(0.05, 4.0))
def test_no_expert_of_the_ball_is_more_spread_than_said(R: list[int], w: list[int], kappa: float) -> None:
    """The best expert's sd of the return is at most expert_sd, on every law."""
    law = ReturnLaw.of(np.array(R, float), np.array(w[: len(R)], float) / sum(w[: len(R)]))
    if law.sd == 0.0:
        return
    expert = optimal_expert(law, kappa)
    mean = float(expert @ law.values)
    sd = math.sqrt(max(float(expert @ law.values**2) - mean**2, 0.0))
    assert sd <= expert_sd(8, law.sd, kappa) + 1e-9


def test_the_prediction_is_gap_regret_where_both_classes_are_alike() -> None:
    """With equal classes gain - loss is gap-regret's number at the same epsilon."""
    found = predicted_gap(512, 5_000, 200.0, 0.3, 1.0, 64 * LN2, 64 * LN2)
    assert found is not None
    same = GAP_REGRET.evaluate(H=512, n=5_000, log2_M=64, sigma=200.0, c=0.3, epsilon=found.epsilon)
    assert found.gap == pytest.approx(same.value, rel=1e-9)


def test_nothing_is_predicted_without_anti_concentration() -> None:
    """c = 0 or sigma = 0 gives no prediction."""
    assert predicted_gap(512, 5_000, 200.0, 0.0, 1.0, 20.0, 20.0) is None
    assert predicted_gap(512, 5_000, 0.0, 0.3, 1.0, 20.0, 20.0) is None
