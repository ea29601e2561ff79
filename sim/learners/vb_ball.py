"""``vb-ball``: a verifier by ERM on labelled base traces, and the best policy of the chi-squared ball for it.

With the true verifier this is the expert, with a wrong one mu on average: J = mu + epsilon sigma P(hit).
"""

from __future__ import annotations

from sim.learners.learner import Learner, exact_erm_hit

LEARNER = Learner(
    name="vb-ball",
    group="verifier-based",
    value=lambda evidence, cell: cell.mu + cell.epsilon * cell.sigma * evidence.erm_hit,
    exact=lambda cell: cell.mu + cell.epsilon * cell.sigma * exact_erm_hit(cell),
    lower="in_ball",
)
