"""``vb-best-of-n``: a verifier by ERM, and the best of N base draws under it.

With the true verifier J is the mean of the largest of N returns; with a wrong one mu on average.
"""

from __future__ import annotations

from sim.cells import Cell
from sim.learners.learner import Learner, exact_erm_hit


def gain(cell: Cell) -> float:
    """E max(R_1..R_N) - mu, tokens."""
    return cell.return_law.best_of(cell.N) - cell.mu


LEARNER = Learner(
    name="vb-best-of-n",
    group="verifier-based",
    value=lambda evidence, cell: cell.mu + gain(cell) * evidence.erm_hit,
    exact=lambda cell: cell.mu + gain(cell) * exact_erm_hit(cell),
    upper="best_of_n",
)
