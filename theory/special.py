r"""Two functions of the statements that need an evaluation of their own.

* :class:`MeanReciprocalCount`: :math:`\psi_M(q)=(1-(1-q)^M)/(Mq)` in terms of L = log M and log q, for any M;
* :class:`InformationBound`: the truncated bound
  :math:`B_K=\sqrt{M^{-1}\sum_{k\le K}b_k(1+\varepsilon)^k(1-\varepsilon)^{n-k}}+\sum_{k>K}b_k`, b_k the pmf of
  Bin(n, (1+epsilon)/2), which bounds what n expert traces tell about M mirrored hypotheses.

Both bring a float64 value in log space (0 where it is below every double) and an Arb ball, neither of which the plain
expression gives at any M; :func:`information_bound_of` and :func:`mean_reciprocal_of` write out what they mean.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numpy.typing import NDArray

from theory.formula import Special
from theory.log_space import log_binomial_pmf, log_sum_above, log_sum_below, mean_reciprocal_count, xlogy_count
from theory.relation import Relation, eq

if TYPE_CHECKING:
    import flint

__all__ = [
    "LARGEST_SUMMED",
    "InformationBound",
    "MeanReciprocalCount",
    "information_bound_of",
    "information_levels",
    "level_mass",
    "mean_reciprocal_of",
]

#: Most levels that are summed.
LARGEST_SUMMED = 2_000_000

#: Bits beyond the working precision that a sum over levels carries.
_GUARD = 64


class MeanReciprocalCount(Special):
    """psi_M(q) of L = log M and log q <= 0: E[1/(1 + Bin(M - 1, q))]."""

    nargs = (2,)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        size, log_q = self.args
        inner = rf"\psi_{{e^{{{printer.doprint(size)}}}}}\left({printer.doprint(sympy.exp(log_q))}\right)"
        return inner if exp is None else rf"{inner}^{{{exp}}}"

    @staticmethod
    def number(*arguments: float) -> float:
        """The value in float64, for any M."""
        size, log_q = arguments
        return float(mean_reciprocal_count(size, log_q))

    @staticmethod
    def ball(*arguments: flint.arb) -> flint.arb:
        """-expm1(M log1p(-q))/(M q); 1/M at q = 1."""
        size, log_q = arguments
        if log_q == 0:
            return (-size).exp()
        survivors = (size + log_q).exp()
        return -(size.exp() * (-log_q.exp()).log1p()).expm1() / survivors


class InformationBound(Special):
    """B_K of n, L = log M, epsilon <= 1 and K >= -1."""

    nargs = (4,)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        n, size, epsilon, level = (printer.doprint(a) for a in self.args)
        inner = rf"B_{{{level}}}\left({n}, e^{{{size}}}, {epsilon}\right)"
        return inner if exp is None else rf"{inner}^{{{exp}}}"

    @staticmethod
    def number(*arguments: float) -> float:
        """The value in float64, from sums in log space; inf where it is no double."""
        n, size, epsilon, level = arguments
        if level < 0.0:
            return 1.0
        return float(information_levels(int(n), size, epsilon)[min(int(level), int(n)) + 1])

    @staticmethod
    def ball(*arguments: flint.arb) -> flint.arb:
        """One pass over the levels from n down, by the recurrence of the binomial law."""
        from theory.rigorous import precision

        n, size, epsilon, level = arguments
        found = _descend(_whole(n), size, epsilon, min(_whole(level), _whole(n)), precision)
        return +found


def _whole(ball: flint.arb) -> int:
    exact = ball.unique_fmpz()
    if exact is None:
        raise ArithmeticError(f"{ball} is no whole number")
    return int(exact)


def _descend(n: int, size: flint.arb, epsilon: flint.arb, level: int, precision: Any) -> flint.arb:
    """B_K at ``_GUARD`` bits beyond the working precision."""
    import flint

    if level < 0:
        return flint.arb(1)
    with precision(flint.ctx.prec + _GUARD):
        up, down = (1 + epsilon) / 2, (1 - epsilon) / 2
        term, beyond = up**n, flint.arb(0)  # b_n
        odds = down / up
        for k in range(n, level, -1):
            beyond += term
            term = term * odds * k / (n - k + 1)
        term = term * (2 * up) ** level * (2 * down) ** (n - level)  # b_K (1+e)^K (1-e)^(n-K)
        kept, odds = flint.arb(0), odds * odds
        for k in range(level, -1, -1):
            kept += term
            term = term * odds * k / (n - k + 1)
        return (kept * (-size).exp()).sqrt() + beyond


@functools.lru_cache(maxsize=2)
def information_levels(n: int, log_size: float, epsilon: float) -> NDArray[np.float64]:
    """B_K for K = -1..n, shape (n+2,), read-only. O(n); any M; 0 <= epsilon <= 1; sums in log space."""
    if n > LARGEST_SUMMED:
        raise ValueError(f"n = {n}: expected at most {LARGEST_SUMMED}, the bound is a sum over n levels")
    log_b = log_binomial_pmf(n, (1.0 + epsilon) / 2.0, (1.0 - epsilon) / 2.0)
    agreements = np.arange(n + 1)
    log_down = math.log1p(-epsilon) if epsilon < 1.0 else -math.inf
    log_likelihood = agreements * math.log1p(epsilon) + xlogy_count(n - agreements, log_down)
    log_kept = log_sum_below(log_b + log_likelihood)
    with np.errstate(over="ignore"):
        bounds: NDArray[np.float64] = np.exp(0.5 * (log_kept - log_size)) + np.exp(log_sum_above(log_b))
    bounds[0] = 1.0
    bounds.setflags(write=False)
    return bounds


def level_mass(n: sympy.Expr, epsilon: sympy.Expr, k: sympy.Symbol) -> sympy.Expr:
    """b_k: the pmf of Bin(n, (1 + epsilon)/2) at k."""
    return sympy.binomial(n, k) * ((1 + epsilon) / 2) ** k * ((1 - epsilon) / 2) ** (n - k)


def information_bound_of(n: sympy.Expr, size: sympy.Expr, epsilon: sympy.Expr, level: sympy.Expr) -> Relation:
    """What :class:`InformationBound` stands for."""
    k = sympy.Symbol("k", integer=True, nonnegative=True)
    b = level_mass(n, epsilon, k)
    kept = sympy.Sum(b * (1 + epsilon) ** k * (1 - epsilon) ** (n - k), (k, 0, level))
    return eq(
        InformationBound(n, size, epsilon, level),
        sympy.sqrt(kept * sympy.exp(-size)) + sympy.Sum(b, (k, level + 1, n)),
    )


def mean_reciprocal_of(size: sympy.Expr, log_q: sympy.Expr) -> Relation:
    """What :class:`MeanReciprocalCount` stands for, q > 0."""
    M, q = sympy.exp(size), sympy.exp(log_q)
    return eq(MeanReciprocalCount(size, log_q), (1 - (1 - q) ** M) / (M * q))
