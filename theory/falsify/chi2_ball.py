r"""Attacks on ``chi2-expert`` and ``expert-heterogeneity``: laws on a few points, policies anywhere in the ball.

A policy of the ball is where the ray from the base through an arbitrary point of the simplex leaves the ball, or the
simplex if that comes first: every direction is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from theory.falsify.adversary import Adversary, Gauge, Named, Space, budget, registered
from theory.falsify.instances import BUDGET, best_in_ball, chi2, in_ball, masses, moments, spread
from theory.laws import ReturnLaw

__all__ = ["ADVERSARIES"]

POINTS = 4
#: returns, logits of the base, logits of the point aimed at, log epsilon.
BOX = (*spread((0.0, BUDGET), POINTS), *spread((-7.0, 7.0), 2 * POINTS), (-8.0, 1.0))
#: inner returns, logits of the base, a share of epsilon.
_SHARES = (*spread((0.0, BUDGET), POINTS - 2), *spread((-7.0, 7.0), POINTS), (1e-3, 1.0))


def _policy(xp: Any, theta: Any) -> Named:
    r, p = theta[:POINTS], masses(xp, theta[POINTS : 2 * POINTS])
    epsilon = xp.exp(theta[-1])
    policy = in_ball(xp, p, masses(xp, theta[2 * POINTS : 3 * POINTS]), epsilon)
    return {"returns": r, "base": p, "policy": policy, "epsilon": epsilon}


def _letters(xp: Any, instance: Named) -> Named:
    r, p, q = instance["returns"], instance["base"], instance["policy"]
    mu, sigma = moments(xp, p, r)
    J, sigma_e = moments(xp, q, r)
    known = {"H": BUDGET, "mu": mu, "sigma": sigma, "epsilon": instance["epsilon"], "J": J, "sigma_e": sigma_e}
    return known | {"chi2": chi2(xp, q, p)}


def _law(instance: Mapping[str, Any]) -> tuple[ReturnLaw, float]:
    return ReturnLaw.of(instance["returns"], instance["base"]), float(instance["epsilon"])


def _with_best(xp: Any, instance: Named) -> Named:
    """J_best by the package's own maximiser, which is what is attacked: J comes from the enumeration of the ball."""
    from theory.chi2_ball import optimal_expert

    law, epsilon = _law(instance)
    best = float(optimal_expert(law, epsilon**2) @ law.values)
    J = float(best_in_ball(np, instance["base"], instance["returns"], epsilon))
    letters = _letters(np, instance)
    return letters | {"J_best": best, "J": max(J, letters["J"])}


def _mu(letters: Mapping[str, Any]) -> Any:
    return letters["mu"]


def _sigma(letters: Mapping[str, Any]) -> Any:
    return letters["sigma"]


def _returns(xp: Any, theta: Any) -> Any:
    """0, whatever lies between, H: these claims do not change when returns are shifted and scaled."""
    return xp.concatenate([xp.zeros(1), theta[: POINTS - 2], xp.full(1, float(BUDGET))])


def _tilted(xp: Any, theta: Any) -> Named:
    """The tilted density at a share of the largest epsilon that truncates nothing; returns from 0 to H."""
    r, p = _returns(xp, theta), masses(xp, theta[-POINTS - 1 : -1])
    mu, sigma = moments(xp, p, r)
    return {"returns": r, "base": p, "epsilon": theta[-1] * sigma / xp.maximum(mu - xp.min(r), 1e-9)}


def _tilted_letters(xp: Any, instance: Named) -> Named:
    r, p, epsilon = instance["returns"], instance["base"], instance["epsilon"]
    mu, sigma = moments(xp, p, r)
    density = 1.0 + epsilon * (r - mu) / sigma
    known = {"H": BUDGET, "mu": mu, "sigma": sigma, "epsilon": epsilon, "R_min": xp.min(r), "lhs": xp.min(density)}
    return known | {"J_tilt": xp.sum(p * density * r), "chi2_tilt": chi2(xp, p * density, p)}


def _only_tilt(name: str) -> Any:
    return lambda xp, instance: _tilted_letters(xp, instance) | {"lhs": _tilted_letters(xp, instance)[name]}


def _top(xp: Any, theta: Any) -> Named:
    """All mass on the largest return, and a ball at least as large as that needs."""
    r, p = _returns(xp, theta), masses(xp, theta[-POINTS - 1 : -1])
    needed = 1.0 / xp.sum(xp.where(r >= xp.max(r), p, 0.0)) - 1.0
    return {"returns": r, "base": p, "epsilon": xp.sqrt(needed) * (1.0 + theta[-1])}


def _top_letters(xp: Any, instance: Named) -> Named:
    r, p = instance["returns"], instance["base"]
    top = r >= xp.max(r)
    policy = xp.where(top, p, 0.0) / xp.sum(xp.where(top, p, 0.0))
    known = {"H": BUDGET, "R_max": xp.max(r), "P_max": xp.sum(xp.where(top, p, 0.0)), "epsilon": instance["epsilon"]}
    return known | {"chi2_top": chi2(xp, policy, p), "J_top": xp.sum(policy * r)}


def _sharp(values: Mapping[str, Any]) -> float:
    return registered("chi2-expert", values, "mu", "sigma", "epsilon", "H")


_POLICIES = Space("policies of the ball", BOX, _policy)
_TILTS = Space(
    "untruncated tilts", (*spread((0.0, BUDGET), POINTS), *spread((-7.0, 7.0), POINTS), (1e-3, 1.0)), _tilted
)
_TOPS = Space("balls that reach the top", _SHARES, _top)
_GAIN = Gauge("gain over mu against the gain allowed", _mu)
_RISE = Gauge("rise of the sd against the rise allowed", _sigma)
_FALL = Gauge("fall of the sd against the fall allowed", _sigma, drop=True)
_LESS = Gauge("fall of the variance against the fall allowed", drop=True)
_BELOW = Gauge("largest drop of the density below 1 against 1", lambda letters: 1.0, drop=True)
_BEST, _SPREAD = "chi2-expert", "expert-heterogeneity"

ADVERSARIES = (
    Adversary(_BEST, "value", _POLICIES, _letters, evaluator=_sharp, gauge=_GAIN, scale=budget),
    Adversary(_BEST, "best", _POLICIES, _with_best, gauge=_GAIN, scale=budget, gradient=False),
    Adversary(_BEST, "tilt-value", _TILTS, _only_tilt("J_tilt"), evaluator=_sharp, scale=budget),
    Adversary(_BEST, "tilt-in-ball", _TILTS, _only_tilt("chi2_tilt")),
    Adversary(_BEST, "tilt-is-policy", _TILTS, _tilted_letters, gauge=_BELOW),
    Adversary(_BEST, "top-in-ball", _TOPS, _top_letters),
    Adversary(_BEST, "top-value", _TOPS, _top_letters, scale=budget),
    Adversary(_SPREAD, "upper", _POLICIES, _letters, scale=budget),
    Adversary(_SPREAD, "lower", _POLICIES, _letters, gauge=_LESS, scale=budget),
    Adversary(_SPREAD, "linear-upper", _POLICIES, _letters, gauge=_RISE, scale=budget),
    Adversary(_SPREAD, "linear-lower", _POLICIES, _letters, gauge=_FALL, scale=budget),
)
