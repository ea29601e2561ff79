"""Bounds of :mod:`theory` laid over measured values, and what counts as a violation.

A bound is checked where its theorem speaks of the instance and of the learner and its assumptions hold, also where it
is vacuous; it is
*valid* where it also says something. A violation is a mean more than 5 standard errors, plus 1e-9 H of rounding, on the
wrong side, and by more than events too rare to be seen in that many trials could explain (else it is *unresolved*).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.cells import Cell
from theory.chi2_ball import CHI2_EXPERT
from theory.gap import GAP_BALL, GAP_FREE, GAP_REGRET
from theory.theorem import Evaluation
from theory.verifier import erm_success_parity
from theory.verifier_based import VB_UPPER_BEST_OF_N, VB_UPPER_TOP_C
from theory.verifier_free import VF_UPPER

__all__ = ["ROUNDING", "STANDARD_ERRORS", "CellBounds", "Side", "Violation", "beyond", "bounds_of", "wrong_sides"]

STANDARD_ERRORS = 5.0
ROUNDING = 1e-9  # of H
UNSEEN_LOG_ODDS = 15.0  # -log of the one-sided probability of 5 standard errors


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a measured difference: theorem, bound (tokens), whether it is proven here and says something."""

    label: str
    bound: float
    proven: bool
    valid: bool

    @classmethod
    def of(cls, evaluation: Evaluation, speaks: bool, bound: float | None = None, label: str = "") -> Side:
        """The side an evaluation gives; ``speaks``: the theorem speaks of this instance."""
        value = evaluation.value if bound is None else bound
        proven = speaks and evaluation.assumptions_hold
        return cls(label or evaluation.label, value, proven, proven and evaluation.valid)


@dataclass(frozen=True, slots=True)
class CellBounds:
    """Every bound of one cell on regrets and gaps, tokens."""

    in_ball: Side
    vf_lower: Side
    vf_upper: Side
    top_c: Side
    best_of_n: Side
    ball_gap_lower: Side
    ball_gap_upper: Side
    free_gap_lower: Side
    free_gap_upper: Side


def bounds_of(cell: Cell) -> CellBounds:
    """Evaluate the statements at the cell."""
    seen, H, n, log2_M, sigma, epsilon, c = (
        cell.described, cell.H, cell.n, cell.log2_M, cell.sigma, cell.epsilon, cell.c,
    )  # fmt: skip
    ball = CHI2_EXPERT.evaluate(mu=cell.mu, sigma=sigma, epsilon=epsilon, H=H)
    lower = cell.vf_lower.evaluate(H=H, n=n, log2_M=log2_M, sigma=sigma, rho=cell.rho, epsilon=epsilon)
    upper = VF_UPPER.evaluate(H=H, n=n, log2_M=log2_M, sigma=cell.expert_sd)
    top_c = VB_UPPER_TOP_C.evaluate(H=H, n=n, log2_M=log2_M, c=c, epsilon=epsilon)
    best = VB_UPPER_BEST_OF_N.evaluate(H=H, n=n, log2_M=log2_M, c=c, epsilon=epsilon, mu=cell.mu, sigma=sigma, N=cell.N)
    vf_upper = Side.of(upper, VF_UPPER.speaks_of(seen))
    # Top-c has density at most 1/c, so it lies in the ball of radius 1/c - 1 and chi2-expert bounds it.
    beyond = sigma * math.sqrt(1.0 / c - 1.0) - epsilon * sigma
    free_bound = max(beyond, 0.0) + upper.value
    vacuous = free_bound >= H
    return CellBounds(
        in_ball=Side.of(ball, CHI2_EXPERT.speaks_of(seen), cell.expert_value - ball.value),
        vf_lower=Side.of(lower, cell.vf_lower.speaks_of(seen)),
        vf_upper=vf_upper,
        top_c=Side.of(top_c, VB_UPPER_TOP_C.speaks_of(seen)),
        best_of_n=Side.of(best, VB_UPPER_BEST_OF_N.speaks_of(seen)),
        ball_gap_lower=_gap_side(cell, free=False),
        ball_gap_upper=vf_upper,
        free_gap_lower=_gap_side(cell, free=True),
        free_gap_upper=Side("vf-upper + chi2-expert", free_bound, vf_upper.proven, vf_upper.proven and not vacuous),
    )


def _gap_side(cell: Cell, free: bool) -> Side:
    """``gap-free``/``gap-ball`` where the return is mu +- sigma; else ``gap-regret``, of the free gap only."""
    shared: dict[str, Any] = {
        "H": cell.H,
        "n": cell.n,
        "log2_M": cell.log2_M,
        "sigma": cell.sigma,
        "epsilon": cell.epsilon,
    }
    if cell.return_law.is_symmetric_two_point:
        psi = {"psi": erm_success_parity(cell.n, cell.log2_M)} if cell.instance == "parity" else {}
        theorem = GAP_FREE if free else GAP_BALL
        return Side.of(theorem.evaluate(**shared, **psi), theorem.speaks_of(cell.described))
    if not free:
        return Side("none", math.nan, False, False)
    found = GAP_REGRET.evaluate(**shared, rho=cell.rho, c=cell.c)
    return Side.of(found, GAP_REGRET.speaks_of(cell.described))


@dataclass(frozen=True, slots=True)
class Violation:
    """A measured difference on the wrong side of a bound that speaks of it (tokens).

    ``resolved`` is False where events too rare for this number of trials could explain it: then it is no violation,
    and it is reported as unresolved.
    """

    horizon: int
    quantity: str
    theorem: str
    bound: float
    measured: float
    standard_error: float
    resolved: bool


def wrong_sides(
    cell: Cell,
    quantity: str,
    samples: NDArray[np.float64],
    reach: tuple[float, float],
    lower: Side | None,
    upper: Side | None,
) -> list[Violation]:
    """Bounds on whose wrong side the mean of ``samples`` (trials,), tokens, lies beyond the stated slack.

    ``reach`` is the interval that one trial's value cannot leave. A sample of S trials can miss an event of
    probability p with probability (1-p)^S; the standard error knows nothing of what was missed. Events unseen at the
    level of 5 standard errors (e^-15) move the mean by at most 15/S of the way to the end of the reach.
    """
    mean, se = float(samples.mean()), float(samples.std(ddof=1) / math.sqrt(samples.size))
    found = beyond(mean, se, samples.size, reach, ROUNDING * cell.H, lower, upper)
    return [Violation(cell.H, quantity, side.label, side.bound, mean, se, resolved) for side, resolved in found]


def beyond(
    mean: float,
    se: float,
    trials: int,
    reach: tuple[float, float],
    rounding: float,
    lower: Side | None,
    upper: Side | None,
) -> list[tuple[Side, bool]]:
    """Proven sides that a mean lies beyond, each with whether that is resolved; ``trials`` = 0: the mean is exact."""
    slack = STANDARD_ERRORS * se + rounding
    unseen = min(UNSEEN_LOG_ODDS / trials, 1.0) if trials else 0.0
    found = []
    if lower is not None and lower.proven and mean < lower.bound - slack:
        found.append((lower, mean + unseen * (reach[1] - mean) < lower.bound - slack))
    if upper is not None and upper.proven and mean > upper.bound + slack:
        found.append((upper, mean - unseen * (mean - reach[0]) > upper.bound + slack))
    return found
