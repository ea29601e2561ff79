r"""Learning a verifier from labelled base traces.

A finite class :math:`\mathcal R\ni r` of bi-level rewards, n traces of the base policy with noiseless labels, and
:math:`\hat R` any member that agrees with all labels. A member wrong with probability t survives with
probability :math:`(1-t)^n`.

``verifier-erm``: with probability at least :math:`1-\delta`, :math:`E|\hat R-R|\le H\log(|\mathcal R|/\delta)/n`; in
expectation :math:`E|\hat R-R|\le H\,[1-\frac n{n+1}(|\mathcal R|-1)^{-1/n}]\le H(1+\log|\mathcal R|)/n`.

On the mirrored codebooks a wrong member survives all n labels with one common probability q, and ERM with ties at
random returns the truth with probability :math:`\psi_M(q)`: ``erm_success_codebook``. On the parity codebook the
survivors are an affine space, and the probability is :math:`E\,2^{r-k}`, r the rank of n random rows:
``erm_success_parity``.
"""

from __future__ import annotations

import math

import numpy as np

from theory.chi2_ball import ANY_LAW
from theory.log_space import log_binomial_pmf, mean_reciprocal_count
from theory.notation import LN2, log_M, log_M_minus_1
from theory.theorem import Assumption, Number, Point, Theorem

__all__ = ["VERIFIER_ERM", "erm_success_codebook", "erm_success_parity", "expected_error"]


def expected_error(n: float, log2_M: float) -> float:
    """1 - n/(n+1) (M-1)^(-1/n): the expected probability of error of a consistent member, before the factor H.

    Holds for M >= 2; at M = 1 there is nothing to learn and it is 0.
    """
    log_others = log_M_minus_1(log2_M)
    if log_others < 0.0:  # fewer than one other member: the integral's kink is outside [0, 1]
        return math.exp(log_others) / (n + 1.0) if log_others > -math.inf else 0.0
    return -math.expm1(-math.log1p(1.0 / n) - log_others / n)


def _error(point: Point) -> Number:
    H, n, log2_M = point["H"], point["n"], point["log2_M"]
    if "delta" in point:
        return Number(H * (log_M(log2_M) - math.log(point["delta"])) / n)
    return Number(H * expected_error(n, log2_M), {"simple": H * (1.0 + log_M(log2_M)) / n})


VERIFIER_ERM = Theorem(
    label="verifier-erm",
    kind="upper",
    statement=(
        r"E|\hat R-R|\le H\log(|\mathcal R|/\delta)/n\ \text{w.p. }1-\delta;\quad \text{in expectation }\le "
        r"H\Bigl[1-\tfrac n{n+1}(|\mathcal R|-1)^{-1/n}\Bigr]\le H\,\frac{1+\log|\mathcal R|}n"
    ),
    bounds="E|R_hat - R| under the base policy (in expectation over data, or with probability 1 - delta)",
    units="tokens",
    required=("H", "n", "log2_M"),
    optional=("delta",),
    assumptions=(Assumption("|R| >= 2", lambda p: p["log2_M"] - 1.0),),
    family=ANY_LAW,
    evaluator=_error,
    trivial=lambda p: p["H"],
    source="theory notes, section 5",
    meanings={"log2_M": "size of the verifier class, log2 |R|", "n": "labelled traces of the base policy"},
)


def erm_success_codebook(n: int, log2_M: float, informative: float = 1.0) -> float:
    """Probability that ERM, ties at random, returns the truth on the random codebook: E psi_M(2^-n').

    n' ~ Bin(n, informative) labels reveal a sign; a wrong member explains each of them with probability 1/2.
    ``psi_M(2^-n)`` where every label does. Exact, any M.
    """
    if informative >= 1.0:
        return float(mean_reciprocal_count(log_M(log2_M), -n * LN2))
    told = np.exp(log_binomial_pmf(n, informative))
    return float(told @ mean_reciprocal_count(log_M(log2_M), -np.arange(n + 1) * LN2))


def erm_success_parity(n: int, k: int, informative: float = 1.0) -> float:
    """E 2^(r-k), r the rank over GF(2) of the informative ones among n uniform rows of k bits.

    ``informative`` is the probability that a label reveals its row. Exact, O(nk).
    """
    rank = np.zeros(k + 1)
    rank[0] = 1.0
    stay = 2.0 ** (np.arange(k + 1) - k)
    for _ in range(int(n)):
        grown = informative * (1.0 - stay[:-1]) * rank[:-1]
        rank[:-1] -= grown
        rank[1:] += grown
    return float(rank @ stay)
