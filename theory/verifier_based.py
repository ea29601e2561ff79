r"""Policies that search against a learned verifier.

:math:`0<c\le\min_x c_x(\sqrt{\kappa_x})` and :math:`\varepsilon_{ver}=E_xE_b|\hat R-R|`.

``vb-upper-top-c``: the base policy given the top mass c of :math:`\hat R` (ties at random) has
:math:`J(\hat\pi)\ge E_x\mathrm{CVaR}^{top}_c(R|x)-\varepsilon_{ver}/c\ge J(\bar\pi_\kappa)-\varepsilon_{ver}/c`.

``vb-upper-best-of-n``: keeping the largest :math:`\hat R` of N draws, with :math:`u=\mu+\sigma\sqrt\kappa`,
:math:`J(\bar\pi_\kappa)-J(\mathrm{BoN})\le u(1-c)^N+N\varepsilon_{ver}`.

In both, :math:`\varepsilon_{ver}` is what ``verifier-erm`` guarantees unless it is given.
"""

from __future__ import annotations

import math

from theory.anti_concentration import cantelli
from theory.chi2_ball import ANY_LAW
from theory.theorem import Assumption, Number, Point, Theorem
from theory.verifier import VERIFIER_ERM

__all__ = ["VB_UPPER_BEST_OF_N", "VB_UPPER_TOP_C"]


def _verifier_error(point: Point) -> float:
    """epsilon_ver in tokens: as given, else by ``verifier-erm``. Raises ``ValueError`` if neither can be had."""
    if "epsilon_ver" in point:
        return point["epsilon_ver"]
    missing = [name for name in ("H", "n", "log2_M") if name not in point]
    if missing:
        raise ValueError(f"vb-upper needs epsilon_ver, or {', '.join(missing)} to put verifier-erm in for it")
    arguments = {name: point[name] for name in ("H", "n", "log2_M", "delta") if name in point}
    return VERIFIER_ERM.number(arguments).value


def _top_c(point: Point) -> Number:
    error = _verifier_error(point)
    return Number(error / point["c"], {"epsilon_ver": error})


def _best_of_n(point: Point) -> Number:
    error = _verifier_error(point)
    u, c, N = point["mu"] + point["sigma"] * point["epsilon"], point["c"], point["N"]
    miss = math.exp(N * math.log1p(-c)) if c < 1.0 else 0.0
    return Number(u * miss + N * error, {"epsilon_ver": error, "miss": miss})


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
    uses=("verifier-erm", "anti-concentration"),
    meanings={"c": "mass kept, at most min_x c_x(sqrt(kappa_x))"},
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
    uses=("verifier-erm", "anti-concentration"),
    meanings={"c": "anti-concentration of every prompt, at most min_x c_x(sqrt(kappa_x))"},
)
