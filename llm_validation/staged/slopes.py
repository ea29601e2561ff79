r"""How gaps and regrets go with heterogeneity, horizon and data: slopes over all cells and seeds.

For each axis :math:`x\in\{\log\sigma,\log H,\log n\}` ordinary least squares with one constant for every value of each
of the other two axes: :math:`y=\beta x+a_i+b_j`. With :math:`\tilde x` what those constants leave of x,
:math:`\hat\beta=\tilde x^\top y/\tilde x^\top\tilde x` (Frisch and Waugh). It is computed for each seed alone; the
estimate is the mean over seeds, the 95% interval Student's over them: cells of one seed share their draws and are never
counted as independent. y is the log of the quantity where it is positive in every cell and seed (the slope is then an
exponent), else the quantity itself (tokens for each e-fold of the axis).

Three values of an axis show no power law: what is reported is a slope, its interval and how many points it rests on.
The interval is of sampling; that the line is straight is assumed. Along H the sigma of the base moves too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm_validation.staged.spread import Row, spread

__all__ = ["AXES", "Point", "slopes_of"]

#: Axis -> the others, whose every value has a constant of its own.
AXES = {"sigma": ("horizon", "n"), "horizon": ("level", "n"), "n": ("level", "horizon")}


class Point(NamedTuple):
    """A quantity (tokens) of one seed at one level, horizon and n; sigma of the base there, tokens."""

    level: int
    horizon: int
    n: int
    sigma: float
    seed: int
    value: float


def slopes_of(quantity: str, points: Iterable[Point]) -> list[Row]:
    """One row an axis; slope and interval are NaN with a ``reason`` where there is none.

    ``scale`` is ``log-log`` or ``linear-log``; ``values`` how many different ones of the axis there are.
    """
    usable = [point for point in points if math.isfinite(point.value) and point.sigma > 0.0]
    in_logs = bool(usable) and all(point.value > 0.0 for point in usable)
    return [_slope(quantity, axis, usable, in_logs) for axis in AXES]


def _slope(quantity: str, axis: str, points: Sequence[Point], in_logs: bool) -> Row:
    found, reason = [], ""
    for seed in sorted({point.seed for point in points}):
        slope = _of_one_seed(axis, [point for point in points if point.seed == seed], in_logs)
        if math.isnan(slope):
            reason = "the axis does not vary beside the other two"
        found.append(slope)
    over = spread(found)
    if not reason and over.seeds < 2:
        reason = f"{over.seeds} seeds, expected at least 2 for an interval"
    return {
        "quantity": quantity,
        "axis": axis,
        "scale": "log-log" if in_logs else "linear-log",
        **over.columns("slope"),
        "seeds": over.seeds,
        "points": len(points),
        "cells": len({(point.level, point.horizon, point.n) for point in points}),
        "values": len({point.level if axis == "sigma" else getattr(point, axis) for point in points}),
        "reason": reason,
    }


def _of_one_seed(axis: str, points: Sequence[Point], in_logs: bool) -> float:
    x = np.log(np.array([getattr(point, axis) for point in points], dtype=np.float64))
    y = np.array([point.value for point in points], dtype=np.float64)
    constants = np.concatenate([_dummies([getattr(point, other) for point in points]) for other in AXES[axis]], axis=1)
    left = x - constants @ np.linalg.lstsq(constants, x, rcond=None)[0]
    square = float(left @ left)
    if square <= 1e-12 * max(float(x @ x), 1e-300):
        return math.nan
    return float(left @ (np.log(y) if in_logs else y)) / square


def _dummies(labels: Sequence[Any]) -> NDArray[np.float64]:
    """(points, different labels) of 0 and 1."""
    return np.array([[float(label == other) for other in sorted(set(labels))] for label in labels])
