"""``vb-top-c``: a verifier by ERM, and the base policy given the top mass c(epsilon) of its score, ties at random.

With the true verifier J is the mean of the top c of R; with a wrong one mu on average. Unrestricted: it leaves the
ball.
"""

from __future__ import annotations

from sim.cells import Cell
from sim.learners.learner import Learner, exact_erm_hit


def gain(cell: Cell) -> float:
    """CVaR^top_c - mu, tokens."""
    return cell.return_law.top_mean(cell.c) - cell.mu


LEARNER = Learner(
    name="vb-top-c",
    group="verifier-based",
    value=lambda evidence, cell: cell.mu + gain(cell) * evidence.erm_hit,
    exact=lambda cell: cell.mu + gain(cell) * exact_erm_hit(cell),
    upper="top_c",
)
