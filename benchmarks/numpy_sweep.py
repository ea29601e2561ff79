r"""The collapsed codebook sampler of :mod:`sim.tasks.codebook` in plain NumPy: the yardstick of ``benchmarks.sweep``.

Same estimator, its own tables and its own random numbers, no JAX. Vectorised over the trials of a cell, cells in a
loop; for laws :math:`R=\mu\pm\sigma` and classes above 2^12. One trial is:

1. the best ``LISTED`` of the M - 1 wrong hypotheses in order by Rényi's spacings, each with the level of agreement that
   its rank has under Bin(n, 1/2), and a fair sign on a fresh prompt;
2. the others as one normal pair (sum of likelihoods, signed sum), with the mean and the variances they have given that
   they rank below the last one listed;
3. the mean over the truth's :math:`K\sim\mathrm{Bin}(n,(1+\varepsilon)/2)`, with likelihood
   :math:`\ell(K)=(1+\varepsilon)^K(1-\varepsilon)^{n-K}`, taken exactly;
4. ``posterior_sign``, ``mle_hit`` and ``erm_hit`` as :mod:`sim.tasks.evidence` defines them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.cells import Cell
from theory.log_space import log_binomial_pmf, log_sum_above, log_sum_below, xlogy_count
from theory.notation import LN2, log_M_minus_1

__all__ = ["LISTED", "MEASURED", "sample"]

Floats = NDArray[np.float64]

#: Wrong hypotheses drawn one by one, the best first.
LISTED = 64
#: Class sizes above this are infinite in the spacings: the correction is below rounding.
INFINITE = 2.0**50
#: What :func:`sample` returns, in order.
MEASURED = ("posterior_sign", "mle_hit", "erm_hit")


class _Levels(NamedTuple):
    """Tables of one cell over the levels of agreement k = 0..n."""

    log_likelihood: Floats  # log l(k)
    truth_pmf: Floats  # P(truth's K = k)
    log_at_least: Floats  # log of the expected number of wrong hypotheses at level k or above
    log_first_moment: Floats  # log sum over levels below k of P(level) l
    log_second_moment: Floats  # log sum over levels below k of P(level) l^2


def _levels(cell: Cell) -> _Levels:
    n, epsilon = cell.n, cell.epsilon
    k = np.arange(n + 1)
    log_down = math.log1p(-epsilon) if epsilon < 1.0 else -math.inf
    log_likelihood = k * math.log1p(epsilon) + xlogy_count(n - k, log_down)
    log_truth = log_binomial_pmf(n, (1.0 + epsilon) / 2.0, (1.0 - epsilon) / 2.0)  # = log P(level) + log l
    return _Levels(
        log_likelihood,
        np.exp(log_truth),
        log_M_minus_1(cell.log2_M) + log_sum_above(log_binomial_pmf(n, 0.5))[:-1],
        log_sum_below(log_truth)[:-1],
        log_sum_below(log_truth + log_likelihood)[:-1],
    )


def _arrivals(rng: np.random.Generator, trials: int, others: float) -> Floats:
    """The ``LISTED`` smallest of ``others`` independent uniforms, in order, times ``others``; (trials, LISTED)."""
    spacings = rng.standard_exponential((trials, LISTED)) * (others / (others - np.arange(LISTED)))
    return -np.expm1(-np.cumsum(spacings, axis=1) / others) * others


def _erm_hit(rng: np.random.Generator, trials: int, others: float, log_others: float, n: int) -> Floats:
    """1/(1 + S), S ~ Bin(M - 1, 2^-n) wrong verifiers that agree with every label."""
    arrivals = _arrivals(rng, trials, others)
    log_expected = log_others - n * LN2
    survivors = np.sum(np.log(arrivals) <= log_expected, axis=1, dtype=np.float64)
    # All of the listed ones survive: add what survives among the others, which are uniform beyond the last of them.
    last = arrivals[:, -1]
    if others < INFINITE:
        chance = np.clip((0.5**n - last / others) / (1.0 - last / others), 0.0, 1.0)
        mean = (others - LISTED) * chance
        variance = mean * (1.0 - chance)
    else:
        mean = np.maximum(math.exp(min(log_expected, 600.0)) - last, 0.0)
        variance = mean * -math.expm1(-n * LN2)
    unlisted = np.maximum(mean + np.sqrt(variance) * rng.standard_normal(trials), 0.0)
    return 1.0 / (1.0 + survivors + np.where(survivors >= LISTED, unlisted, 0.0))


def _sample_cell(cell: Cell, trials: int) -> Floats:
    """Evidence of the trials of one cell, shape (3, trials)."""
    if cell.instance != "codebook" or not cell.return_law.is_symmetric_two_point or 2**cell.log2_M <= 2**12:
        raise ValueError(f"{cell.identity}: expected a codebook of more than 2^12 with R = mu +- sigma")
    rng = np.random.default_rng(cell.key_words)
    levels = _levels(cell)
    log_others = log_M_minus_1(cell.log2_M)
    others = math.exp(log_others) if cell.log2_M < 50 else INFINITE

    # 1. The best wrong hypotheses: arrival v is at the highest level that v or more are expected to reach.
    arrivals = _arrivals(rng, trials, others)
    level = cell.n - np.searchsorted(levels.log_at_least[::-1], np.log(arrivals), side="left")
    level = np.maximum(level, 0)
    log_listed = levels.log_likelihood[level]
    heads = rng.random((trials, LISTED)) < 0.5

    # 2. The others: uniform ranks above u = last/others, so moments of l over what is left of the last arrival's level
    #    (log_left of them expected) and over the levels below it, divided by 1 - u.
    last, last_level = arrivals[:, -1], level[:, -1]
    log_at_last = levels.log_at_least[last_level]
    log_left = log_at_last + np.log1p(-np.exp(np.minimum(np.log(last) - log_at_last, 0.0)))
    log_l, log_used = levels.log_likelihood[last_level], np.log1p(-last / others)
    log_mean = np.logaddexp(levels.log_first_moment[last_level], log_left - log_others + log_l) - log_used
    log_square = np.logaddexp(levels.log_second_moment[last_level], log_left - log_others + 2.0 * log_l) - log_used
    log_count = math.log(others - LISTED) if others < INFINITE else log_others

    # Everything relative to the largest term.
    reference = np.maximum(log_listed[:, 0], log_count + log_mean)
    reference = np.where(np.isfinite(reference), reference, levels.log_likelihood[-1])
    weight = np.exp(log_listed - reference[:, None])
    spread = np.exp(0.5 * (log_count + log_square) - reference)
    # Variance of l over its mean square; 0 where nothing below has a likelihood (epsilon = 1).
    drop = np.subtract(2.0 * log_mean, log_square, out=np.zeros(trials), where=np.isfinite(log_square))
    centred = -np.expm1(np.minimum(drop, 0.0))
    normal = rng.standard_normal((3, trials))
    signed_rest = normal[0] * spread
    total_rest = np.exp(log_count + log_mean - reference) + normal[1] * spread * np.sqrt(centred)

    # 3. What the learners see, averaged over the truth's level; (trials, levels that matter).
    signed = np.where(heads, weight, -weight).sum(axis=1) + signed_rest
    total = weight.sum(axis=1) + np.maximum(total_rest, np.abs(signed_rest))
    matter = np.flatnonzero(levels.truth_pmf >= 1e-18)
    own = np.exp(np.minimum(levels.log_likelihood[matter] - reference[:, None], 600.0))
    sign = np.abs(own + signed[:, None]) / np.maximum(own + total[:, None], np.finfo(float).tiny)
    posterior_sign = np.minimum(sign, 1.0) @ levels.truth_pmf[matter]
    best = level[:, 0]
    hidden = np.where(last_level == best, np.exp(np.minimum(log_left, 600.0)), 0.0)  # level with the best, unlisted
    hidden = np.maximum(hidden + normal[2] * np.sqrt(hidden), 0.0)
    ties = np.sum(level == best[:, None], axis=1) + hidden
    above = np.append(np.cumsum(levels.truth_pmf[::-1])[::-1], 0.0)[1:]
    mle_hit = above[best] + levels.truth_pmf[best] / (1.0 + ties)
    return np.stack([posterior_sign, mle_hit, _erm_hit(rng, trials, others, log_others, cell.n)])


def sample(cells: Sequence[Cell], trials: int) -> Floats:
    """Evidence of ``trials`` data sets of each cell, shape (3, cells, trials), rows as in ``MEASURED``.

    Raises ``ValueError`` for a cell outside the sampler's domain.
    """
    with np.errstate(divide="ignore", under="ignore"):  # log 0 of impossible levels
        return np.stack([_sample_cell(cell, trials) for cell in cells], axis=1)
