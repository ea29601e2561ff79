r"""Scores of a verifier as probabilities that a trace is correct.

Scores in [0, 1] are taken as they are. Others (logits, ranks) pass through an isotonic regression of the labels on the
scores, fitted on other problems than those it is applied to (five folds of the problems), each problem weighing the
same: the map is the best increasing one, and what is measured with it is not measured on what it was fitted to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_validation.traces import Traces

__all__ = ["Probabilities", "probabilities"]

Floats = NDArray[np.float64]

_FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Probabilities:
    """Of N traces, NaN where there is no score or nothing to fit it on; ``how`` they were made."""

    values: Floats
    how: str
    is_fitted: bool


def probabilities(traces: Traces, seed: int) -> Probabilities:
    """The scores of one run's traces as probabilities; folds are drawn with ``seed``."""
    score = traces.score
    known = np.isfinite(score)
    if known.any() and score[known].min() >= 0.0 and score[known].max() <= 1.0:
        return Probabilities(np.where(known, score, math.nan), "scores lie in [0, 1]: taken as probabilities", False)
    how = f"scores are no probabilities: isotonic regression, fitted on other problems ({_FOLDS} folds)"
    found = np.full(traces.size, math.nan)
    usable = known & np.isfinite(traces.correct) & ~(traces.truncated & (traces.correct != 1.0))
    _, inverse, count = np.unique(traces.problem[usable], return_inverse=True, return_counts=True)
    fold_of = np.full(len(traces.problems), 0)
    rng = np.random.default_rng([seed, 0xCA1B])
    present = np.unique(traces.problem[known])
    fold_of[present] = rng.permutation(present.size) % _FOLDS
    weight = np.zeros(traces.size)
    weight[usable] = 1.0 / count[inverse]
    for fold in range(_FOLDS):
        mine = fold_of[traces.problem] == fold
        train = usable & ~mine
        if train.any() and (known & mine).any():
            found[known & mine] = _fitted(score[train], traces.correct[train], weight[train], score[known & mine])
    return Probabilities(found, how, True)


def _fitted(score: Floats, correct: Floats, weight: Floats, at: Floats) -> Floats:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, correct, sample_weight=weight)
    return np.asarray(model.predict(at), dtype=np.float64)
