r"""Measured numbers beside the statements of :mod:`theory`: one exact inequality, and what closed forms need.

**Exact.** The draw that best-of-N keeps loses at most the errors of two distinct draws against the best of the N, hence
:math:`J(\text{oracle})-J(\text{kept})\le N\,\varepsilon_{ver}` on the very draws on which :math:`\varepsilon_{ver}` is
measured, whatever the verifier. A row beyond rounding violates a theorem: :func:`violations` names it.

**Fitted** (:mod:`llm_validation.staged.bound_fits`). c is the measured :math:`P(R\ge J+\varepsilon\sigma)`, prompts and
traces pooled, at the largest tabulated :math:`\varepsilon\le p_s/s`, up to which :math:`p_s` is guaranteed; it is an
estimate, where the theorem takes the least over prompts, and :math:`p_s` stands beside it. The verifier-based policy
that is measured is best-of-N or RL, where ``gap-regret`` speaks of top-c. The halves are drawn by the recipe's seed, of
the cells with and without RL each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from llm_validation.gpt2_planted.analysis_returns import Bases
from llm_validation.staged.bound_fits import Point
from llm_validation.staged.spread import Place, Row
from theory.anti_concentration import largest_guaranteed_epsilon, smallest_mass

__all__ = ["points_of", "violations"]

#: Rounding of means over subsets of draws, as a share of H.
_ROUNDING = 1e-9


def violations(rows: Sequence[Row]) -> tuple[int, list[Row]]:
    """How many rows of best-of-N were held against J_oracle - J <= N epsilon_ver, and those that break it.

    Rows whose verifier has no learnt return in tokens (``final`` labels, the oracle) have no epsilon_ver: left out.
    """
    checked = [row for row in rows if not math.isnan(row["epsilon_ver"])]
    broken = []
    for row in checked:
        loss, bound = row["J_oracle"] - row["J"], row["N"] * row["epsilon_ver"]
        if not loss <= bound + _ROUNDING * row["horizon"]:
            where = {name: row[name] for name in ("level", "horizon", "n", "seed", "arm", "N")}
            broken.append({"claim": "J_oracle - J <= N epsilon_ver", **where, "loss": loss, "bound": bound})
    return len(checked), broken


def points_of(bases: Bases, places: Sequence[Place], cloned: Mapping[Place, float] | None = None) -> dict[Place, Point]:
    """What the theorems need of every place: H, n, sigma, rho = H/2 and c, with the epsilon it is at and p_s.

    ``cloned``: how many traces the clone was given, mean over seeds (default: n); labelled draws of a verifier are n.
    Places whose base does not vary (sigma = 0), or where nothing was cloned, have none.
    """
    found = {}
    for place in places:
        known = bases[place.level, place.horizon]
        H, sigma = float(place.horizon), min(known["sigma"], place.horizon / 2.0)
        traces = float(place.n) if cloned is None else cloned.get(place, 0.0)
        if not (sigma > 0.0 and traces > 0.0):
            continue
        most = largest_guaranteed_epsilon(sigma / H)
        epsilon, c = max(
            (row["epsilon"], row["estimate"])
            for row in known["c_pooled"]
            if row["epsilon"] <= most and row["estimate"] > 0.0
        )
        found[place] = {
            "H": H,
            "n": float(place.n),
            "cloned": traces,
            "sigma": sigma,
            "rho": H / 2.0,
            "c": c,
            "c_epsilon": epsilon,
            "p_s": smallest_mass(sigma / H),
        }
    return found
