r"""Means, standard errors, and exponents of a gap in H.

The exponent of a gap :math:`g(H)\propto H^p` is the slope of a weighted least-squares line through
:math:`(\log H,\log\hat g(H))`, over the horizons with :math:`n\ge1.5\log_2M` and :math:`\hat g>0`, with weights
:math:`1/(SE^2+(10^{-9}H)^2)`, SE in tokens. Its interval is the percentile bootstrap over trials, weights kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.verdict import ROUNDING

__all__ = ["Exponent", "exponent", "mean_and_error", "power_of"]

IDENTIFIED = 1.5  # horizons with n >= 1.5 log2 M enter
FEWEST = 5
RESAMPLES = 1000


def mean_and_error(samples: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and its standard error over the last axis."""
    return samples.mean(axis=-1), samples.std(axis=-1, ddof=1) / np.sqrt(samples.shape[-1])


@dataclass(frozen=True, slots=True)
class Exponent:
    """Slope with its 95% interval; ``horizons`` it rests on, and how many of them lie inside the validity window of the
    lower bound on that gap (a slope outside says nothing about the theorem); ``reason`` where there is none."""

    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    horizons: int
    horizons_inside_window: int
    reason: str | None = None


def _slopes(x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted slopes of each row of ``y`` on ``x``; rows may switch horizons off by zero weights."""
    total = weights.sum(axis=-1, keepdims=True)
    x_centred = x - (weights * x).sum(axis=-1, keepdims=True) / total
    y_centred = y - (weights * y).sum(axis=-1, keepdims=True) / total
    slopes: NDArray[np.float64] = (weights * x_centred * y_centred).sum(axis=-1) / (weights * x_centred**2).sum(axis=-1)
    return slopes


def exponent(
    H: NDArray[np.float64],
    n: NDArray[np.float64],
    log2_M: float,
    gaps: NDArray[np.float64],
    inside: NDArray[np.bool_],
    seed: int,
) -> Exponent:
    """Exponent of ``gaps`` (horizons, trials), tokens, against ``H`` (horizons,); ``inside`` the window of validity."""
    reason = f"n >= {IDENTIFIED} log2 M and a positive gap"
    return power_of(H, gaps, n >= IDENTIFIED * log2_M, inside, ROUNDING * H, seed, reason)


def power_of(
    x: NDArray[np.float64],
    samples: NDArray[np.float64],
    enters: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    rounding: NDArray[np.float64],
    seed: int,
    condition: str,
) -> Exponent:
    """Exponent of ``samples`` (points, trials) against ``x`` (points,), over the points that ``enters`` admits.

    ``rounding`` (points,) is added to the squared error; ``condition`` says in words what admits a point.
    """
    mean, se = mean_and_error(samples)
    use = enters & (mean > 0.0)
    count, valid = int(use.sum()), int((use & inside).sum())
    if count < FEWEST:
        return Exponent(
            None, None, None, count, valid, f"{count} horizons with {condition}, expected at least {FEWEST}"
        )
    logs, kept = np.log(x[use]), samples[use]
    weights = 1.0 / (se[use] ** 2 + rounding[use] ** 2)
    weights /= weights.sum()
    estimate = _slopes(logs, np.log(mean[use]), weights)
    rng = np.random.default_rng([seed, 0x5EED])
    trials = samples.shape[1]
    draws = rng.multinomial(trials, np.full(trials, 1.0 / trials), size=RESAMPLES) / trials
    means = draws @ kept.T
    positive = means > 0.0
    enough = positive.sum(axis=1) >= 2
    log_means, weighted = np.log(np.where(positive, means, 1.0)), np.where(positive, weights, 0.0)
    resampled = _slopes(logs, log_means[enough], weighted[enough])
    if resampled.size < RESAMPLES // 2:
        reason = f"{RESAMPLES - resampled.size} of {RESAMPLES} resamples have no two positive gaps: no interval"
        return Exponent(float(estimate), None, None, count, valid, reason)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Exponent(float(estimate), float(low), float(high), count, valid)
