"""``vf-mle``: behaviour cloning over the class; the maximiser of the likelihood, ties at random, is deployed as it is.

A wrong hypothesis is worth mu on average over prompts, the true one is the expert: J = mu + epsilon sigma P(hit).
"""

from __future__ import annotations

from sim.learners.learner import Learner, exact_mle_hit

LEARNER = Learner(
    name="vf-mle",
    group="verifier-free",
    value=lambda evidence, cell: cell.mu + cell.epsilon * cell.sigma * evidence.mle_hit,
    exact=lambda cell: cell.mu + cell.epsilon * cell.sigma * exact_mle_hit(cell),
    lower="vf_lower",
    upper="vf_upper",
)
