"""``vb-elimination`` (parity): the verifier by Gaussian elimination over GF(2) on the same labels, then top-c.

Polynomial time, k^3, where the optimal verifier-free learner scans 2^k hypotheses. Free bits are guessed, so a
trial's J is that of the one solution it outputs.
"""

from __future__ import annotations

from sim.learners.learner import Learner, exact_erm_hit
from sim.learners.vb_top_c import gain

LEARNER = Learner(
    name="vb-elimination",
    group="verifier-based",
    value=lambda evidence, cell: cell.mu + gain(cell) * evidence.elimination_hit,
    exact=lambda cell: cell.mu + gain(cell) * exact_erm_hit(cell),
    upper="top_c",
    instances=("parity",),
)
