r"""What independent attempts are worth at a budget, whoever picks one of them.

A problem has m attempts with costs :math:`c_i>0` (tokens or FLOPs). At budget B they are taken in a uniformly random
order :math:`\pi` as long as they fit: the first :math:`K=\max\{k:c_{\pi_1}+\cdots+c_{\pi_k}\le B\}` are complete, the
next one is cut by the budget and is no answer. Of the complete ones that ended by themselves one answer is picked:

============ ========================================================================================================
``score``    that of the largest score, ties at random
``majority`` that of most votes, ties at random
``weighted`` that of the largest sum of scores, ties at random
``oracle``   a right one if there is any
============ ========================================================================================================

The value is P(right) over orders; 0 where no attempt is complete. Averaged over orders it is unbiased for independent
attempts as long as the pool is not *exhausted*: where K = m the next attempt is not known. The share of orders in which
that happens is told (``exhausted``), and the value then is one of m attempts, not of the budget. Where all m! orders
are few they are all taken, else 1,024 drawn by a seed: the standard error of a problem's value is told (at most .016).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RULES", "Pool", "Worth", "worth"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RULES = ("score", "majority", "weighted", "oracle")
#: Orders at most: all of them up to m = 6, else so many drawn.
_MOST = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """m attempts at one problem: costs, whether right, scores, and answers by number, -1 for none; (m,) each."""

    cost: Floats
    right: Floats
    score: Floats
    answer: Ints

    def __post_init__(self) -> None:
        """Raises ``ValueError`` unless costs are positive, scores finite, and right ones have an answer."""
        if not (self.cost > 0.0).all():
            raise ValueError(f"cost = {self.cost.min():g}: expected above 0")
        if not np.isfinite(self.score).all():
            raise ValueError(f"score = {self.score[~np.isfinite(self.score)][0]:g}: expected a finite number")
        if ((self.answer < 0) & (self.right > 0.0)).any():
            raise ValueError("an attempt without an answer is called right")


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """Of one problem at each budget, (B,): P(right), its standard error over drawn orders (0 if all were taken), mean
    cost of what was begun, P(pool exhausted); orders taken.
    """

    value: Floats
    se: Floats
    spent: Floats
    exhausted: Floats
    orders: int
    exact: bool


def _orders(m: int, seed: int) -> tuple[Ints, bool]:
    """Orders of 0..m-1, (S, m), and whether they are all."""
    if math.factorial(m) <= _MOST:
        return np.array(list(itertools.permutations(range(m))), dtype=np.int64), True
    rng = np.random.default_rng([seed, m])
    return np.argsort(rng.random((_MOST, m)), axis=1), False


def worth(pool: Pool, budgets: Sequence[float], rule: str, seed: int = 0) -> Worth:
    """The worth of the attempts at each budget. Raises ``ValueError`` for an unknown rule."""
    if rule not in RULES:
        raise ValueError(f"rule {rule}: expected of {', '.join(RULES)}")
    orders, exact = _orders(pool.cost.size, seed)
    total = pool.cost[orders].cumsum(axis=1)  # (S, m)
    values, errors, spent, exhausted = [], [], [], []
    for budget in budgets:
        K = (total <= budget).sum(axis=1)
        value = _picked(pool, orders, K, rule)
        values.append(float(value.mean()))
        errors.append(0.0 if exact else float(value.std(ddof=1)) / math.sqrt(len(orders)))
        cut = pool.cost.size > K
        spent.append(float(np.where(cut, max(budget, 0.0), total[:, -1]).mean()))
        exhausted.append(float((~cut).mean()))
    columns = np.array(values), np.array(errors), np.array(spent), np.array(exhausted)
    return Worth(*columns, len(orders), exact)


def _picked(pool: Pool, orders: Ints, K: Ints, rule: str) -> Floats:
    """P(right) in each order, (S,), of the first K attempts."""
    m = pool.cost.size
    known = (np.arange(m) < K[:, None]) & (pool.answer[orders] >= 0)  # (S, m)
    if rule == "oracle":
        return np.asarray((known & (pool.right[orders] > 0.0)).any(axis=1), dtype=np.float64)
    if rule == "score":
        weight = np.where(known, pool.score[orders], -np.inf)
        best = known & (weight == weight.max(axis=1, keepdims=True))
        return np.asarray((best * pool.right[orders]).sum(axis=1) / np.maximum(best.sum(axis=1), 1))
    votes = np.ones(m) if rule == "majority" else pool.score
    return _elected(pool, orders, known, votes)


def _elected(pool: Pool, orders: Ints, known: NDArray[np.bool_], votes: Floats) -> Floats:
    size = int(pool.answer.max(initial=0)) + 1
    right = np.zeros(size)
    for answer in range(size):
        mine = pool.answer == answer
        right[answer] = pool.right[mine].mean() if mine.any() else 0.0
    ballots = (pool.answer[orders][:, :, None] == np.arange(size)) & known[:, :, None]  # (S, m, A)
    sums = (ballots * votes[orders][:, :, None]).sum(axis=1)
    heard = ballots.any(axis=1)
    top = np.where(heard, sums, -np.inf).max(axis=1, keepdims=True)
    tied = heard & (sums >= top - 1e-9 * np.abs(np.where(np.isfinite(top), top, 0.0)))
    return np.asarray((tied * right).sum(axis=1) / np.maximum(tied.sum(axis=1), 1))
