r"""Learning from expert traces without rewards: how well it can go, and how well cloning does.

**The mirrored codebook.** The first token reveals the return. The base law of R|x is symmetric, with sd sigma and
half-range rho <= H/2; f = (R - mu)/sigma. Hypothesis i of M mirrors the return (R -> 2 mu - R) on the prompts where its
sign s_i(x) is -1; expert i is pi_b (1 + epsilon s_i(x) f), valid while epsilon rho <= sigma. ``random codebook``: x
uniform on {+-1}^M, s_j(x) = x_j. ``parity codebook``: x uniform on {0,1}^k, M = 2^k, s_j(x) = (-1)^<j,x>.

``vf-lower``: for all n, epsilon and every algorithm, :math:`\max_i E[J(\pi_i)-J(\hat\pi)]\ge
\varepsilon\sigma-\rho\sqrt{(1+\varepsilon^2)^n/M}`; at :math:`\varepsilon^2=L/(2n)` this is at least
:math:`\sigma\sqrt{L/(8n)}` for :math:`L/(8s^2)\le n\le s^2\sqrt M L/2`.

``vf-lower-truncated`` (R = mu +- sigma): with b_k the pmf of Bin(n, (1+epsilon)/2), :math:`E|w|\le
B=\min_K\{\sqrt{M^{-1}\sum_{k\le K}b_k(1+\varepsilon)^k(1-\varepsilon)^{n-k}}+P(\mathrm{Bin}>K)\}` and the regret is
at least :math:`\sigma(\varepsilon-B)`.

``vf-upper``: maximum likelihood over the class has :math:`|J(\pi_e)-J(\hat\pi)|\le2\sqrt2\,\sigma_e\sqrt h+2Hh` with
:math:`h\le\log((M-1)/\delta)/n` w.p. :math:`1-\delta`, and :math:`E h\le(1+L)/n`.

``mle_success_codebook`` is exact: the chance that behaviour cloning over the random codebook picks the truth.
"""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np

from theory.chi2_ball import ANY_LAW
from theory.log_space import chance_on_top, log_binomial_pmf, truncated_root, xlogy_count
from theory.notation import log_M, log_M_minus_1
from theory.theorem import Assumption, Family, Instance, Number, Point, Theorem

__all__ = [
    "MIRRORED_CODEBOOK",
    "MIRRORED_TWO_POINT",
    "VF_LOWER",
    "VF_LOWER_TRUNCATED",
    "VF_UPPER",
    "ClosedForm",
    "closed_form_window",
    "information_bound",
    "mle_success_codebook",
]


LARGEST_SUMMED = 2_000_000


def _is_mirrored(instance: Instance) -> bool:
    return instance.signs is not None and instance.law is not None and instance.law.is_symmetric


def _is_mirrored_two_point(instance: Instance) -> bool:
    return instance.signs is not None and instance.law is not None and instance.law.is_symmetric_two_point


MIRRORED_CODEBOOK = Family(
    "mirrored codebook",
    "uniform prior over M hypotheses whose signs on a fresh prompt are pairwise independent; symmetric return",
    _is_mirrored,
)
MIRRORED_TWO_POINT = Family(
    "mirrored codebook, R = mu +- sigma",
    "uniform prior over M hypotheses whose signs on a fresh prompt are pairwise independent; two-point return",
    _is_mirrored_two_point,
)


def _half_range(point: Point) -> float:
    if "rho" in point:
        return point["rho"]
    if "H" not in point:
        raise ValueError("vf-lower needs H or rho")
    return point["H"] / 2.0


class ClosedForm(TypedDict):
    """A bound in closed form and the range of n in which it is proven and says something.

    ``n_max`` is given as its binary logarithm, since sqrt(M) overflows. ``empty``: no n at all qualifies.
    """

    value: float
    n_min: float
    log2_n_max: float
    inside: bool
    empty: bool


def closed_form_window(point: Point, s: float) -> ClosedForm:
    """sigma sqrt(L/(8n)) and the range of n in which ``vf-lower`` proves it; s = sigma/(2 rho)."""
    L, n = log_M(point["log2_M"]), point["n"]
    n_min = L / (8.0 * s * s)
    log2_n_max = 2.0 * math.log2(s) + point["log2_M"] / 2.0 + math.log2(L) - 1.0
    return {
        "value": point["sigma"] * math.sqrt(L / (8.0 * n)),
        "n_min": n_min,
        "log2_n_max": log2_n_max,
        "inside": bool(n_min <= n and math.log2(n) <= log2_n_max),
        "empty": bool(math.log2(n_min) > log2_n_max),
    }


def _vf_lower(point: Point) -> Number:
    epsilon, rho, sigma, n = point["epsilon"], _half_range(point), point["sigma"], point["n"]
    log_root = 0.5 * (n * math.log1p(epsilon * epsilon) - log_M(point["log2_M"]))
    information = math.exp(min(log_root, 600.0))  # far beyond vacuity; keeps the number finite
    extras: dict[str, object] = {}
    if log_root > 600.0:
        extras["clipped"] = "the value is about -rho exp(" + f"{log_root:.6g}" + "); shown at exp(600)"
    if sigma > 0.0:
        extras["closed_form"] = closed_form_window(point, sigma / (2.0 * rho))
    return Number(epsilon * sigma - rho * information, extras)


VF_LOWER = Theorem(
    label="vf-lower",
    kind="lower",
    statement=(
        r"\max_i E[J(\pi_i)-J(\hat\pi)]\ge\varepsilon\sigma-\rho\sqrt{(1+\varepsilon^2)^n/M};\quad "
        r"\varepsilon^2=\tfrac L{2n}:\ \ge\sigma\sqrt{\tfrac L{8n}}\ \text{for}\ "
        r"\tfrac L{8s^2}\le n\le\tfrac{s^2\sqrt M L}2"
    ),
    bounds="regret of every verifier-free algorithm, averaged over the uniform prior of the codebook",
    units="tokens",
    required=("n", "log2_M", "sigma"),
    optional=("H", "rho", "epsilon"),
    assumptions=(
        Assumption("sigma > 0", lambda p: p["sigma"], strict=True),
        Assumption("sigma <= rho", lambda p: _half_range(p) - p["sigma"], _half_range),
        Assumption("rho <= H/2", lambda p: p["H"] / 2 - _half_range(p) if "H" in p else 0.0, _half_range),
        Assumption("epsilon rho <= sigma", lambda p: p["sigma"] - p["epsilon"] * _half_range(p), lambda p: p["sigma"]),
    ),
    family=MIRRORED_CODEBOOK,
    evaluator=_vf_lower,
    trivial=lambda p: 0.0,
    source="theory notes, section 7",
    epsilon_range=lambda p: (0.0, p["sigma"] / _half_range(p)),
    meanings={"rho": "half-range of the return; H/2 if not given, which is never too small"},
)


def information_bound(n: int, log2_M: float, epsilon: float) -> tuple[float, int]:
    """(B, K): the truncated bound on E|w| and the K that attains it. O(n); any M; 0 <= epsilon <= 1.

    K = -1 keeps nothing (B = 1). B never underflows the way the naive sum would: sums are in log space.
    """
    if n > LARGEST_SUMMED:
        raise ValueError(f"n = {n}: expected at most {LARGEST_SUMMED}, the bound is a sum over n levels")
    log_b = log_binomial_pmf(n, (1.0 + epsilon) / 2.0, (1.0 - epsilon) / 2.0)
    agreements = np.arange(n + 1)
    with np.errstate(divide="ignore"):
        log_up, log_down = math.log1p(epsilon), float(np.log1p(-epsilon))
    log_likelihood = agreements * log_up + xlogy_count(n - agreements, log_down)
    return truncated_root(log_M(log2_M), log_b, log_likelihood)


def _vf_lower_truncated(point: Point) -> Number:
    epsilon, sigma = point["epsilon"], point["sigma"]
    if epsilon > 1.0:
        return Number(0.0)  # there is no such expert: nothing is claimed
    bound, level = information_bound(int(point["n"]), point["log2_M"], epsilon)
    extras: dict[str, object] = {"B": bound, "K": level}
    if sigma > 0.0:
        extras["closed_form"] = closed_form_window(point, 0.5)
    return Number(sigma * (epsilon - bound), extras)


VF_LOWER_TRUNCATED = Theorem(
    label="vf-lower-truncated",
    kind="lower",
    statement=(
        r"\text{VF regret}\ge\varepsilon\sigma-\sigma\min_K\Bigl\{\sqrt{M^{-1}\sum_{k\le K}"
        r"b_k(1+\varepsilon)^k(1-\varepsilon)^{n-k}}+P(\mathrm{Bin}(n,\tfrac{1+\varepsilon}2)>K)\Bigr\}"
    ),
    bounds="regret of every verifier-free algorithm on the codebook with R = mu +- sigma, averaged over the prior",
    units="tokens",
    required=("n", "log2_M", "sigma"),
    optional=("H", "rho", "epsilon"),
    assumptions=(
        Assumption("sigma > 0", lambda p: p["sigma"], strict=True),
        Assumption("epsilon <= 1", lambda p: 1.0 - p["epsilon"]),
        Assumption("sigma <= H/2", lambda p: p["H"] / 2 - p["sigma"] if "H" in p else 0.0, lambda p: p["sigma"]),
        Assumption(
            "rho = sigma (two-point law)",
            lambda p: 0.0 - abs(p.get("rho", p["sigma"]) - p["sigma"]),
            lambda p: p["sigma"],
        ),
    ),
    family=MIRRORED_TWO_POINT,
    evaluator=_vf_lower_truncated,
    trivial=lambda p: 0.0,
    source="theory notes, section 7",
    uses=("vf-lower",),
    epsilon_range=lambda p: (0.0, 1.0),
    meanings={"rho": "half-range of the return; sigma for this law"},
)


def _vf_upper(point: Point) -> Number:
    H, n, log2_M = point["H"], point["n"], point["log2_M"]
    if "delta" in point:
        h = max(log_M_minus_1(log2_M) - math.log(point["delta"]), 0.0) / n
    else:
        h = (1.0 + log_M(log2_M)) / n
    return Number(2.0 * math.sqrt(2.0) * point["sigma"] * math.sqrt(h) + 2.0 * H * h, {"h": h})


VF_UPPER = Theorem(
    label="vf-upper",
    kind="upper",
    statement=r"|J(\pi_e)-J(\hat\pi)|\le2\sqrt2\,\sigma_e\sqrt h+2Hh,\quad h\le\log((M-1)/\delta)/n,\ E h\le(1+L)/n",
    bounds="regret of maximum likelihood (behaviour cloning) over a class that contains the expert",
    units="tokens",
    required=("H", "n", "log2_M", "sigma"),
    optional=("delta",),
    assumptions=(
        Assumption("M >= 2", lambda p: p["log2_M"] - 1.0),
        Assumption("sigma_e <= H/2", lambda p: p["H"] / 2 - p["sigma"], lambda p: p["H"]),
    ),
    family=ANY_LAW,
    evaluator=_vf_upper,
    trivial=lambda p: p["H"],
    source="theory notes, section 8",
    meanings={"sigma": "sigma_e, root mean square over prompts of the sd of the return under the expert"},
)


def mle_success_codebook(n: int, log2_M: float, epsilon: float) -> float:
    """Probability that the likelihood's maximiser, ties at random, is the truth (random codebook, R = mu +- sigma).

    :math:`\\sum_k b_k[(1-q_>)^M-(1-q_\\ge)^M]/(M q_=)`, b_k the pmf of Bin(n, (1+epsilon)/2), q's from Bin(n, 1/2).
    Exact; any M; O(n). 0 < epsilon <= 1.
    """
    log_b = log_binomial_pmf(n, (1.0 + epsilon) / 2.0, (1.0 - epsilon) / 2.0)
    return min(float(np.exp(log_b) @ chance_on_top(log_M(log2_M), log_binomial_pmf(n, 0.5))), 1.0)
