r"""Right or wrong on the same problems: two models against each other, and two methods at two sizes.

Problems are X independent draws from a population. On problem x model a is right or not, :math:`y_{ax}\in\{0,1\}`, and
:math:`p_a=E\,y_{ax}` is its accuracy.

* **Accuracy.** The number of right ones is Bin(X, p): the Clopper-Pearson interval covers at least at its level.
* **Two models** a, b on the same problems: :math:`D=p_b-p_a=E\,d_x`, :math:`d_x=y_{bx}-y_{ax}`, is the mean of
  independent values in {-1, 0, 1} (:func:`llm_validation.moments.bootstrap_mean`). Only problems that one alone solves
  count: u by b, v by a. If D = 0, given u + v, u is Bin(u + v, 1/2): McNemar's exact test, two-sided.
* **Two methods at two sizes.** Does the method gain more at the large size? On the scale of accuracy
  :math:`I=(p_{11}-p_{10})-(p_{01}-p_{00})`, size first, a mean of paired values again. On the scale of
  :math:`\lambda(p)=\log p/(1-p)` the same contrast of :math:`\lambda`, linearised: each problem has the value
  :math:`\hat I+\sum\pm(y_{ax}-\hat p_a)/\hat p_a(1-\hat p_a)`, whose mean is the estimate. The two may differ in sign.
* **By difficulty.** The least-squares slope of :math:`d_x` in :math:`s_x`, the steps of the problem, linearised
  likewise: :math:`\hat b+(s_x-\bar s)(d_x-\bar d-\hat b(s_x-\bar s))/\widehat{Var}(s)`; no constant spread is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_validation.moments import Interval, bootstrap_mean

__all__ = ["Pair", "accuracy", "interaction", "log_odds_interaction", "paired", "trend"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models on the same problems: counts, second minus first in accuracy, exact two-sided p-value."""

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: Interval
    p_value: float


def accuracy(right: Bools, level: float = 0.95) -> Interval:
    """Share of ``right`` (X,) with its Clopper-Pearson interval. Raises ``ValueError`` if X = 0."""
    from llm_validation.sample_bounds import share_above

    X, k = _size(right), int(right.sum())
    low = share_above(X, (1.0 - level) / 2.0)
    return Interval(k / X, float(low[k]), 1.0 - float(low[X - k]), level, "Clopper-Pearson")


def paired(first: Bools, second: Bools, seed: int = 0, level: float = 0.95) -> Pair:
    """Compare (X,) with (X,), problem by problem. Raises ``ValueError`` if they are empty or differ in length."""
    from scipy.stats import binomtest

    _size(first, second)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return Pair(
        both=int((first & second).sum()),
        only_first=only_first,
        only_second=only_second,
        neither=int((~first & ~second).sum()),
        difference=bootstrap_mean(second.astype(np.float64) - first, seed, level, -1.0, 1.0),
        p_value=float(binomtest(only_second, discordant, 0.5).pvalue) if discordant else 1.0,
    )


def interaction(right: Bools, seed: int = 0, level: float = 0.95) -> Interval:
    """Gain of method 1 over 0 at size 1 minus that at size 0, in accuracy; ``right`` is (size, method, X) = (2, 2, X).

    Raises ``ValueError`` for another shape.
    """
    y = _square(right)
    return bootstrap_mean(y[1, 1] - y[1, 0] - y[0, 1] + y[0, 0], seed, level, -2.0, 2.0)


def log_odds_interaction(right: Bools, seed: int = 0, level: float = 0.95) -> Interval | None:
    """The same in log odds [nats]; None where one is always or never right. Raises as :func:`interaction`."""
    y = _square(right)
    p = y.mean(axis=2, keepdims=True)
    if ((p <= 0.0) | (p >= 1.0)).any():
        return None
    influence = np.log(p / (1.0 - p)) + (y - p) / (p * (1.0 - p))
    return bootstrap_mean(influence[1, 1] - influence[1, 0] - influence[0, 1] + influence[0, 0], seed, level)


def trend(difference: Floats, steps: NDArray[np.int64], seed: int = 0, level: float = 0.95) -> Interval:
    """Least-squares slope of ``difference`` (X,) in ``steps`` (X,), a step. Raises ``ValueError`` if all are alike."""
    _size(difference, steps)
    away = steps - steps.mean()
    spread = float((away**2).mean())
    if not spread > 0.0:
        raise ValueError(f"all {steps.size} problems have {steps[0]} steps: expected at least two numbers of steps")
    centred = difference - difference.mean()
    slope = float((away * centred).mean()) / spread
    return bootstrap_mean(slope + away * (centred - slope * away) / spread, seed, level)


def _size(*columns: NDArray[np.generic]) -> int:
    sizes = [column.size for column in columns]
    if len(set(sizes)) != 1 or not sizes[0]:
        raise ValueError(f"problems: {' and '.join(map(str, sizes))}, expected the same number and at least 1")
    return sizes[0]


def _square(right: Bools) -> Floats:
    if right.ndim != 3 or right.shape[:2] != (2, 2) or not right.shape[2]:
        raise ValueError(f"shape {right.shape}: expected (2 sizes, 2 methods, problems)")
    return right.astype(np.float64)
