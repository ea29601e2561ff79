"""``expert``: the best policy of the chi-squared ball, untruncated; J = mu + epsilon sigma (``chi2-expert``)."""

from __future__ import annotations

import numpy as np

from sim.learners.learner import Learner

LEARNER = Learner(
    name="expert",
    group="reference",
    value=lambda evidence, cell: np.full(evidence.erm_hit.shape, cell.expert_value),
    exact=lambda cell: cell.expert_value,
    lower="in_ball",
)
