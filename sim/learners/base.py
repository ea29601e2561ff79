"""``base``: the base policy itself; J = mu."""

from __future__ import annotations

import numpy as np

from sim.learners.learner import Learner

LEARNER = Learner(
    name="base",
    group="reference",
    value=lambda evidence, cell: np.full(evidence.erm_hit.shape, cell.mu),
    exact=lambda cell: cell.mu,
    lower="in_ball",
)
