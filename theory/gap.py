r"""The gap between verifier-based and verifier-free learning: three comparisons, never to be mixed up.

* *VF regret*: :math:`J(\bar\pi_\kappa)-J(\mathrm{VF})`;
* *ball gap*: VB restricted to the chi-squared ball, minus VF;
* *free gap*: unrestricted VB (top-c), minus VF.

Codebook with R = mu +- sigma (c = 1/2), psi = P(the fitted verifier is the true one), B from ``vf-lower-truncated``:

``gap-ball``: :math:`\ge\sup_\varepsilon\sigma[\varepsilon\psi-B]`, exponent 1/2 in H at n = beta H.
``gap-free``: :math:`\ge\sigma[\psi-B]`, of order H even at n = beta H; B falls with epsilon, so it has no maximiser.
``gap-regret``, the general form:
:math:`\ge\varepsilon\sigma-\rho\sqrt{(1+\varepsilon^2)^n/M}-\varepsilon_{ver}/c`; at :math:`\varepsilon^2=L/(2n)` it is
at least :math:`\sigma\sqrt{L/(8n)}-(H/c)(1+L)/n`, with :math:`c=p_s` for :math:`\varepsilon\le p_s/s`: heterogeneity
alone suffices. VB is certified better for :math:`n\ge 8(1+L)^2/(c^2s^2L)` inside the window of ``vf-lower``; that
interval can be empty.
"""

from __future__ import annotations

import math

from theory.anti_concentration import cantelli, largest_guaranteed_epsilon, smallest_mass
from theory.notation import log_M
from theory.theorem import Assumption, Number, Point, Theorem
from theory.verifier import erm_success_codebook
from theory.verifier_based import VB_UPPER_TOP_C
from theory.verifier_free import (
    MIRRORED_CODEBOOK,
    MIRRORED_TWO_POINT,
    VF_LOWER,
    ClosedForm,
    closed_form_window,
    information_bound,
)

__all__ = ["GAP_BALL", "GAP_FREE", "GAP_REGRET"]


def _relative(point: Point) -> float:
    return min(point["sigma"] / point["H"], 0.5)


def _anti_concentration(point: Point) -> float:
    """c as given, else p_s (heterogeneity implies anti-concentration)."""
    return point["c"] if "c" in point else smallest_mass(_relative(point))


def _largest_epsilon(point: Point) -> float:
    """Up to here the experts are untruncated and c is guaranteed."""
    untruncated = point["sigma"] / (point["rho"] if "rho" in point else point["H"] / 2.0)
    if "c" in point:
        return min(untruncated, math.sqrt(max(1.0 / point["c"] - 1.0, 0.0)))
    return min(untruncated, largest_guaranteed_epsilon(_relative(point)))


def _gap_regret(point: Point) -> Number:
    H, n, L, s = point["H"], point["n"], log_M(point["log2_M"]), _relative(point)
    if point["sigma"] == 0.0:
        return Number(0.0 - H, {"vf_regret": 0.0, "vb_loss": H})
    c = _anti_concentration(point)
    lower = VF_LOWER.number({k: point[k] for k in ("n", "log2_M", "sigma", "H", "rho", "epsilon") if k in point})
    loss = VB_UPPER_TOP_C.number({"H": H, "n": n, "log2_M": point["log2_M"], "c": c}).value
    window = closed_form_window(point, point["sigma"] / (2.0 * point["rho"]) if "rho" in point else s)
    starts = max(8.0 * (1.0 + L) ** 2 / (c * c * s * s * L), window["n_min"])
    certified: ClosedForm = {
        "value": window["value"] - H * (1.0 + L) / (c * n),
        "n_min": starts,
        "log2_n_max": window["log2_n_max"],
        "inside": bool(starts <= n and math.log2(n) <= window["log2_n_max"]),
        "empty": bool(math.log2(starts) > window["log2_n_max"]),
    }
    return Number(lower.value - loss, {"vf_regret": lower.value, "vb_loss": loss, "c": c, "closed_form": certified})


GAP_REGRET = Theorem(
    label="gap-regret",
    kind="lower",
    statement=r"J(\text{top-}c)-J(\text{VF})\ge\sigma\sqrt{L/(8n)}-\frac Hc\,\frac{1+L}n",
    bounds="verifier-based top-c minus any verifier-free algorithm, averaged over the prior of the codebook",
    units="tokens",
    required=("H", "n", "log2_M", "sigma"),
    optional=("rho", "c", "epsilon"),
    assumptions=(
        Assumption("sigma > 0", lambda p: p["sigma"], strict=True),
        Assumption("sigma <= H/2", lambda p: p["H"] / 2 - p["sigma"], lambda p: p["H"]),
        Assumption("|R| >= 2", lambda p: p["log2_M"] - 1.0),
        Assumption("epsilon rho <= sigma and c guaranteed at epsilon", lambda p: _largest_epsilon(p) - p["epsilon"]),
        Assumption("c <= 1/(1 + epsilon^2)", lambda p: cantelli(p["epsilon"]) - _anti_concentration(p)),
    ),
    family=MIRRORED_CODEBOOK,
    evaluator=_gap_regret,
    trivial=lambda p: 0.0,
    source="theory notes, section 9",
    uses=("anti-concentration", "verifier-erm", "vb-upper-top-c", "vf-lower"),
    epsilon_range=lambda p: (0.0, _largest_epsilon(p)),
    meanings={
        "c": "anti-concentration at epsilon, up to the largest epsilon tried; p_s if not given",
        "log2_M": "size of both classes, in bits",
    },
)


def _psi(point: Point) -> float:
    return point["psi"] if "psi" in point else erm_success_codebook(int(point["n"]), point["log2_M"])


def _information(point: Point) -> float:
    return information_bound(int(point["n"]), point["log2_M"], point["epsilon"])[0] if point["epsilon"] <= 1.0 else 1.0


def _gap_ball(point: Point) -> Number:
    psi, B = _psi(point), _information(point)
    return Number(point["sigma"] * (point["epsilon"] * psi - B), {"psi": psi, "B": B})


def _gap_free(point: Point) -> Number:
    psi, B = _psi(point), _information(point)
    return Number(point["sigma"] * (psi - B), {"psi": psi, "B": B})


_TWO_POINT_ASSUMPTIONS = (
    Assumption("sigma > 0", lambda p: p["sigma"], strict=True),
    Assumption("epsilon <= 1", lambda p: 1.0 - p["epsilon"]),
    Assumption("sigma <= H/2", lambda p: p["H"] / 2 - p["sigma"] if "H" in p else 0.0, lambda p: p["sigma"]),
    Assumption("log2 M >= 32 (for the exponent, not for the inequality)", lambda p: p["log2_M"] - 32.0, required=False),
)
_PSI_MEANING = {"psi": "P(fitted verifier is the true one); psi_M(2^-n) of the random codebook if not given"}

GAP_BALL = Theorem(
    label="gap-ball",
    kind="lower",
    statement=r"\text{ball gap}\ge\sup_\varepsilon\sigma\,[\varepsilon\,\psi_M(2^{-n})-B]",
    bounds="verifier-based learning in the ball minus any verifier-free algorithm, codebook with R = mu +- sigma",
    units="tokens",
    required=("n", "log2_M", "sigma"),
    optional=("H", "epsilon", "psi"),
    assumptions=_TWO_POINT_ASSUMPTIONS,
    family=MIRRORED_TWO_POINT,
    evaluator=_gap_ball,
    trivial=lambda p: 0.0,
    source="theory notes, section 9",
    uses=("vf-lower-truncated", "verifier-erm"),
    epsilon_range=lambda p: (0.0, 1.0),
    meanings=_PSI_MEANING,
)

GAP_FREE = Theorem(
    label="gap-free",
    kind="lower",
    statement=r"\text{free gap}\ge\sigma\,[\psi_M(2^{-n})-B]",
    bounds="unrestricted verifier-based learning minus any verifier-free algorithm, codebook with R = mu +- sigma",
    units="tokens",
    required=("n", "log2_M", "sigma", "epsilon"),
    optional=("H", "psi"),
    assumptions=_TWO_POINT_ASSUMPTIONS,
    family=MIRRORED_TWO_POINT,
    evaluator=_gap_free,
    trivial=lambda p: 0.0,
    source="theory notes, section 9",
    uses=("vf-lower-truncated", "verifier-erm"),
    meanings=_PSI_MEANING,
)
