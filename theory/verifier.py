r"""Learning a verifier from labelled base traces.

A finite class :math:`\mathcal R\ni r` of bi-level rewards, n traces of the base policy, and :math:`\hat R` any member
that disagrees with fewest labels.

``verifier-erm`` (noiseless labels): with probability at least :math:`1-\delta`,
:math:`E|\hat R-R|\le H\log(|\mathcal R|/\delta)/n`; in expectation
:math:`E|\hat R-R|\le H\,[1-\frac n{n+1}(|\mathcal R|-1)^{-1/n}]\le H(1+\log|\mathcal R|)/n`. A member wrong with
probability t survives with probability :math:`(1-t)^n`.

``verifier-noisy`` (returns in {0, H}, labels 0/1 flipped independently with probability :math:`\eta<\frac12`): the same
divided by :math:`a=1-2\sqrt{\eta(1-\eta)}`. A member wrong with probability t beats the truth with probability at most
:math:`(1-at)^n`. At :math:`\eta=\frac12` labels teach nothing, and nothing is claimed.

On the mirrored codebooks a wrong member survives all n labels with one common probability q, and ERM with ties at
random returns the truth with probability :math:`\psi_M(q)`: ``erm_success_codebook``. On the parity codebook the
survivors are an affine space, and the probability is :math:`E\,2^{r-k}`, r the rank of n random rows:
``erm_success_parity``.
"""

from __future__ import annotations

import numpy as np
import sympy

from theory.chi2_ball import ANY_LAW
from theory.expectation import Random, mean
from theory.formula import Formula
from theory.log_space import log_binomial_pmf, mean_reciprocal_count
from theory.notation import LN2, log_M
from theory.proof import Claim
from theory.relation import Relation, eq, geq, leq
from theory.symbols import H, L, letter
from theory.theorem import Assumption, Family, Number, Point, Theorem

__all__ = [
    "VERIFIER_ERM",
    "VERIFIER_ERM_CLAIMS",
    "VERIFIER_NOISY",
    "VERIFIER_NOISY_CLAIMS",
    "erm_success_codebook",
    "erm_success_parity",
    "expected_error",
]

_n, _delta, _eta = letter("n"), letter("delta"), letter("eta")
#: Error E_b|R_hat - R| of the verifier learned from the data d, and the indicator of the event that it is wrong with
#: probability above t/a.
ERROR, FAILURE = Random("e", "d"), Random("F", "d", nonnegative=True)
#: A level of a times the probability of being wrong (a = 1 without noise).
LEVEL = sympy.Symbol("t", nonnegative=True)
#: a = 1 - 2 sqrt(eta (1 - eta)), positive as eta is not 1/2, and written so that it keeps its digits near there.
SEPARATION = sympy.Symbol("a", positive=True)
_SEPARATION = (1 - 2 * _eta) ** 2 / (1 + 2 * sympy.sqrt(_eta * (1 - _eta)))

AT_LEVEL = eq(LEVEL, (L - sympy.log(_delta)) / _n)
TWO_MEMBERS = geq(L, sympy.log(2))
INFORMATIVE = leq(_eta, sympy.Rational(1, 2))
SEPARATED = eq(SEPARATION, _SEPARATION)

#: (|R| - 1)^(-1/n)
_power = sympy.exp(-(L + sympy.log(1 - sympy.exp(-L))) / _n)
_SHARP = 1 - _power + _power / (_n + 1)


def _claims(a: sympy.Expr, where: tuple[Relation, ...]) -> tuple[Claim, ...]:
    expected, unless = mean("d", ERROR), (1 - FAILURE) * ERROR
    return (
        Claim("failure", leq(mean("d", FAILURE), _delta), "with probability at least 1 - delta", (*where, AT_LEVEL)),
        Claim("error", leq(unless, H * (L - sympy.log(_delta)) / (a * _n)), "the error is small", (*where, AT_LEVEL)),
        Claim("expectation", leq(expected, H * _SHARP / a), "and so in expectation", (*where, TWO_MEMBERS)),
        Claim("simple", leq(expected, H * (1 + L) / (a * _n)), "in a simpler form", (*where, TWO_MEMBERS)),
        Claim("few", leq(expected, H * (sympy.exp(L) - 1) / (a * (_n + 1))), "sharp for a class of two", where),
    )


VERIFIER_ERM_CLAIMS = _claims(sympy.Integer(1), ())
VERIFIER_NOISY_CLAIMS = _claims(_SEPARATION, (INFORMATIVE, SEPARATED))


class _Numbers:
    """The formulas of one statement's claims."""

    def __init__(self, claims: tuple[Claim, ...]) -> None:
        by_name = {claim.name: Formula(claim.relation.rhs) for claim in claims}
        self.error, self.expectation = by_name["error"], by_name["expectation"]
        self.simple, self.few = by_name["simple"], by_name["few"]

    def at(self, point: Point) -> tuple[Formula, dict[str, float]]:
        """The high-probability form where delta is given; fewer than two members have a form of their own."""
        if "delta" in point:
            return self.error, dict(point)
        return (self.expectation if point["log2_M"] >= 1.0 else self.few), dict(point)

    def number(self, point: Point) -> Number:
        """The value; beside the sharp expected error the simple one."""
        formula, filled = self.at(point)
        return Number(formula.at(filled), {} if "delta" in point else {"simple": self.simple.at(filled)})


_ERM, _NOISY = _Numbers(VERIFIER_ERM_CLAIMS), _Numbers(VERIFIER_NOISY_CLAIMS)


def expected_error(n: float, log2_M: float) -> float:
    """1 - n/(n+1) (M-1)^(-1/n): the expected probability of error of a consistent member, before the factor H.

    Holds for M >= 2; at M = 1 there is nothing to learn and it is 0.
    """
    return _ERM.number({"H": 1.0, "n": n, "log2_M": log2_M}).value if log2_M > 0.0 else 0.0


_CLASS = Assumption("|R| >= 2", lambda p: p["log2_M"] - 1.0)
_MEANINGS = {"log2_M": "size of the verifier class, log2 |R|", "n": "labelled traces of the base policy"}

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
    assumptions=(_CLASS,),
    family=ANY_LAW,
    evaluator=_ERM.number,
    trivial=lambda p: p["H"],
    source="theory notes, section 5",
    meanings=_MEANINGS,
    claims=VERIFIER_ERM_CLAIMS,
    formulas=_ERM.at,
)

ALL_OR_NOTHING = Family(
    "all or nothing",
    "any prompt whose return is 0 or H, one label a trace",
    lambda instance: instance.law is not None and instance.law.values[1:].size + (instance.law.values[0] != 0.0) <= 1,
)

#: Nothing is learned from fair coins: the error is at most H.
_UNLEARNED = Formula(H)


def _noisy_formulas(point: Point) -> tuple[Formula, dict[str, float]]:
    return _NOISY.at(point) if point["eta"] < 0.5 else (_UNLEARNED, dict(point))


def _noisy(point: Point) -> Number:
    return _NOISY.number(point) if point["eta"] < 0.5 else Number(_UNLEARNED.at(point))


VERIFIER_NOISY = Theorem(
    label="verifier-noisy",
    kind="upper",
    statement=(
        r"E|\hat R-R|\le\frac{H\log(|\mathcal R|/\delta)}{a\,n}\ \text{w.p. }1-\delta;\quad \text{in expectation }\le "
        r"\frac Ha\Bigl[1-\tfrac n{n+1}(|\mathcal R|-1)^{-1/n}\Bigr]\le\frac{H(1+\log|\mathcal R|)}{a\,n},\quad "
        r"a=1-2\sqrt{\eta(1-\eta)}"
    ),
    bounds="E|R_hat - R| under the base policy, R_hat fitted to labels flipped with probability eta",
    units="tokens",
    required=("H", "n", "log2_M", "eta"),
    optional=("delta",),
    assumptions=(_CLASS, Assumption("eta < 1/2", lambda p: 0.5 - p["eta"], strict=True)),
    family=ALL_OR_NOTHING,
    evaluator=_noisy,
    trivial=lambda p: p["H"],
    source="theory notes, section 5b",
    meanings=_MEANINGS,
    claims=VERIFIER_NOISY_CLAIMS,
    formulas=_noisy_formulas,
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
