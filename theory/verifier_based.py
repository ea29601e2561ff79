r"""Policies that search against a learned verifier.

:math:`0<c\le\min_x c_x(\sqrt{\kappa_x})` and :math:`\varepsilon_{ver}=E_xE_b|\hat R-R|`.

``vb-upper-top-c``: the base policy given the top mass c of :math:`\hat R` (ties at random) has
:math:`J(\hat\pi)\ge E_x\mathrm{CVaR}^{top}_c(R|x)-\varepsilon_{ver}/c\ge J(\bar\pi_\kappa)-\varepsilon_{ver}/c`.

``vb-upper-best-of-n``: keeping the largest :math:`\hat R` of N draws, with :math:`u=\mu+\sigma\sqrt\kappa`,
:math:`J(\bar\pi_\kappa)-J(\mathrm{BoN})\le u(1-c)^N+N\varepsilon_{ver}`.

In both, :math:`\varepsilon_{ver}` is what ``verifier-erm`` guarantees unless it is given.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy

from theory.anti_concentration import cantelli
from theory.chi2_ball import ANY_LAW
from theory.expectation import Random, mean
from theory.formula import Formula
from theory.proof import Claim
from theory.relation import Relation, geq, leq
from theory.symbols import N, letter
from theory.theorem import Assumption, Number, Point, Theorem
from theory.verifier import AT_LEVEL, FAILURE, TWO_MEMBERS, VERIFIER_ERM

__all__ = ["VB_UPPER_BEST_OF_N", "VB_UPPER_BEST_OF_N_CLAIMS", "VB_UPPER_TOP_C", "VB_UPPER_TOP_C_CLAIMS"]

_c, _mu, _sigma, _epsilon, _error = (letter(name) for name in ("c", "mu", "sigma", "epsilon", "epsilon_ver"))
#: Return and learned return of a trace; densities of the top mass c of either; indicator of R >= mu_x + epsilon_x
#: sigma_x.
R, LEARNED = Random("R", "bx"), Random("R_hat", "bxd")
TOP, TOP_LEARNED = Random("q", "bx", nonnegative=True), Random("q_hat", "bxd", nonnegative=True)
REACHES = Random("I", "bx", nonnegative=True)
#: Return of the draw that best-of-N keeps (k: the N draws).
KEPT = Random("R_kept", "kxd")
#: Of a prompt: value, divergence and sqrt(kappa_x) of the best expert.
J_X, CHI2_X, EPSILON_X = (
    Random("J", "x"),
    Random("chi2", "x", nonnegative=True),
    Random("epsilon", "x", nonnegative=True),
)

J_EXPERT = mean("x", J_X)
J_TOP = mean("x", mean("b", R * TOP_LEARNED))
CVAR = mean("x", mean("b", R * TOP))
J_BEST_OF_N = mean("x", mean("k", KEPT))
#: E_x E_b |R_hat - R|, as it depends on the data d.
VERIFIER_ERROR = mean("x", mean("b", sympy.Abs(LEARNED - R)))

WITHIN = leq(VERIFIER_ERROR, _error)
IN_BALL_X = leq(CHI2_X, EPSILON_X**2)
ENOUGH = geq(mean("b", REACHES), _c)
RADIUS = leq(EPSILON_X, _epsilon)


def _learned(loss: sympy.Expr, bound: sympy.Expr, where: tuple[Relation, ...]) -> tuple[Claim, ...]:
    """A bound on a loss, linear in the verifier's error, and the same with ``verifier-erm`` put in for that error."""

    def by(name: str) -> sympy.Expr:
        return bound.xreplace({_error: VERIFIER_ERM.claim(name).relation.rhs})

    unless, expected = (1 - FAILURE) * loss, mean("d", loss)
    return (
        Claim("value", leq(loss, bound), "the loss against the best expert", (*where, WITHIN)),
        Claim("error", leq(unless, by("error")), "with probability 1 - delta", (*where, AT_LEVEL)),
        Claim("expectation", leq(expected, by("expectation")), "in expectation over the data", (*where, TWO_MEMBERS)),
        Claim("simple", leq(expected, by("simple")), "in a simpler form", (*where, TWO_MEMBERS)),
    )


VB_UPPER_TOP_C_CLAIMS = (
    Claim("cvar", leq(CVAR - J_TOP, _error / _c), "the loss against the top mass c of R", (WITHIN,)),
    Claim("top-mean", geq(CVAR, J_EXPERT), "which no expert of the ball beats", (IN_BALL_X, ENOUGH)),
    *_learned(J_EXPERT - J_TOP, _error / _c, (IN_BALL_X, ENOUGH)),
)
VB_UPPER_BEST_OF_N_CLAIMS = _learned(
    J_EXPERT - J_BEST_OF_N, (_mu + _sigma * _epsilon) * (1 - _c) ** N + N * _error, (IN_BALL_X, ENOUGH, RADIUS)
)


def _bound(claims: tuple[Claim, ...]) -> Formula:
    return next(Formula(claim.relation.rhs) for claim in claims if claim.name == "value")


_TOP_C, _BEST_OF_N = _bound(VB_UPPER_TOP_C_CLAIMS), _bound(VB_UPPER_BEST_OF_N_CLAIMS)
_GIVEN_ERROR, _MISS = Formula(_error), Formula((1 - _c) ** N)


def _verifier_error(point: Point) -> Formula:
    """epsilon_ver in tokens: as given, else by ``verifier-erm``. Raises ``ValueError`` if neither can be had."""
    if "epsilon_ver" in point:
        return _GIVEN_ERROR
    missing = [name for name in ("H", "n", "log2_M") if name not in point]
    if missing:
        raise ValueError(f"vb-upper needs epsilon_ver, or {', '.join(missing)} to put verifier-erm in for it")
    assert VERIFIER_ERM.formulas is not None
    return VERIFIER_ERM.formulas(point)[0]


def _put_in(bound: Formula) -> Callable[[Point], tuple[Formula, dict[str, float]]]:
    """The bound with what stands for the verifier's error put in."""
    return lambda p: (Formula(bound.expression.xreplace({_error: _verifier_error(p).expression})), dict(p))


def _top_c(point: Point) -> Number:
    error = _verifier_error(point).at(point)
    return Number(_TOP_C.at({**point, "epsilon_ver": error}), {"epsilon_ver": error})


def _best_of_n(point: Point) -> Number:
    error = _verifier_error(point).at(point)
    value = _BEST_OF_N.at({**point, "epsilon_ver": error})
    return Number(value, {"epsilon_ver": error, "miss": _MISS.at(point)})


_REACHABLE = Assumption(
    "c <= 1/(1 + epsilon^2) (Cantelli: no larger c exists)",
    lambda p: cantelli(p.get("epsilon", 0.0)) - p["c"],
)
_CLASS = Assumption("|R| >= 2 or epsilon_ver given", lambda p: 0.0 if "epsilon_ver" in p else p["log2_M"] - 1.0)


VB_UPPER_TOP_C = Theorem(
    label="vb-upper-top-c",
    kind="upper",
    statement=r"J(\bar\pi_\kappa)-J(\hat\pi_{\text{top-}c})\le\varepsilon_{\mathrm{ver}}/c",
    bounds="loss of the top-c policy of the learned verifier against the best expert of the ball",
    units="tokens",
    required=("H", "c"),
    optional=("n", "log2_M", "delta", "epsilon_ver", "epsilon"),
    assumptions=(_REACHABLE, _CLASS),
    family=ANY_LAW,
    evaluator=_top_c,
    trivial=lambda p: p["H"],
    source="theory notes, section 6",
    uses=("chi2-expert", "verifier-erm"),
    meanings={"c": "mass kept, at most min_x c_x(sqrt(kappa_x))"},
    claims=VB_UPPER_TOP_C_CLAIMS,
    formulas=_put_in(_TOP_C),
)

VB_UPPER_BEST_OF_N = Theorem(
    label="vb-upper-best-of-n",
    kind="upper",
    statement=r"J(\bar\pi_\kappa)-J(\mathrm{BoN})\le u(1-c)^N+N\varepsilon_{\mathrm{ver}},\ u=\mu+\sigma\sqrt\kappa",
    bounds="loss of best-of-N under the learned verifier against the best expert of the ball",
    units="tokens",
    required=("mu", "sigma", "epsilon", "c", "N"),
    optional=("H", "n", "log2_M", "delta", "epsilon_ver"),
    assumptions=(_REACHABLE, _CLASS),
    family=ANY_LAW,
    evaluator=_best_of_n,
    trivial=lambda p: p["mu"] + p["sigma"] * p["epsilon"],
    source="theory notes, section 6",
    uses=("chi2-expert", "verifier-erm"),
    meanings={"c": "anti-concentration of every prompt, at most min_x c_x(sqrt(kappa_x))"},
    claims=VB_UPPER_BEST_OF_N_CLAIMS,
    formulas=_put_in(_BEST_OF_N),
)
