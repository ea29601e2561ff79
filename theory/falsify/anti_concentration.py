r"""Attacks on ``anti-concentration``: thresholds on an atom (Cantelli), just above one (symmetric laws), anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.falsify.adversary import Adversary, Named, Space, registered
from theory.falsify.instances import BUDGET, masses, moments, spread, tail

__all__ = ["ADVERSARIES"]

POINTS = 4
LAW = (*spread((0.0, BUDGET), POINTS), *spread((-8.0, 8.0), POINTS))
#: Distance, as a share of sigma, by which a threshold clears the atom below it: c there is exact in floating point.
CLEAR = 1e-7


def _relative(xp: Any, sigma: Any) -> Any:
    return xp.minimum(sigma / BUDGET, 0.5)


def _smallest_mass(xp: Any, s: Any) -> Any:
    return (1.0 - xp.sqrt(xp.maximum(1.0 - 4.0 * s**2, 0.0))) / 2.0


def _on_atom(xp: Any, theta: Any) -> Named:
    """The threshold is on the third trace of four, if that is above the mean: the largest epsilon of that c.

    The first and the last return are 0 and H: the claim does not change when returns are shifted and scaled.
    """
    inner = theta[: POINTS - 2]
    r = xp.concatenate([xp.zeros(1), inner, xp.full(1, float(BUDGET))])
    return {"returns": r, "base": masses(xp, theta[POINTS - 2 :])}


def _on_atom_letters(xp: Any, instance: Named) -> Named:
    r, p = instance["returns"], instance["base"]
    mu, sigma = moments(xp, p, r)
    threshold = xp.maximum(r[2], mu)
    lifted = xp.where(r >= threshold - CLEAR * sigma, p, 0.0)
    epsilon = xp.maximum((threshold - mu) / sigma - CLEAR, 0.0)
    return {"H": BUDGET, "sigma": sigma, "s": _relative(xp, sigma), "epsilon": epsilon, "c_epsilon": xp.sum(lifted)}


def _anywhere(xp: Any, theta: Any) -> Named:
    """Any law, epsilon a share of the largest at which (b) speaks."""
    r, p = theta[:POINTS], masses(xp, theta[POINTS : 2 * POINTS])
    s = _relative(xp, moments(xp, p, r)[1])
    return {"returns": r, "base": p, "epsilon": theta[-1] * _smallest_mass(xp, s) / s}


def _anywhere_letters(xp: Any, instance: Named) -> Named:
    r, p, epsilon = instance["returns"], instance["base"], instance["epsilon"]
    mu, sigma = moments(xp, p, r)
    c = tail(xp, p, r, mu + epsilon * sigma)
    return {"H": BUDGET, "sigma": sigma, "s": _relative(xp, sigma), "epsilon": epsilon, "c_epsilon": c}


def _symmetric(xp: Any, theta: Any) -> Named:
    """Atoms at H/2, H/2 +- d, H/2 +- (d + e): epsilon sigma clears d by a share of e."""
    near = theta[0] * BUDGET / 2
    far = near + theta[1] * (BUDGET / 2 - near)
    p = masses(xp, xp.stack([theta[2], theta[3], theta[4], theta[3], theta[2]]))
    offsets = xp.stack([-far, -near, 0.0 * near, near, far])
    sigma = xp.sqrt(xp.sum(p * offsets**2))
    threshold = near + CLEAR * sigma + theta[5] * xp.maximum(far - near - CLEAR * sigma, 0.0)
    return {"returns": BUDGET / 2 + offsets, "base": p, "epsilon": xp.minimum(threshold / sigma, 1.0 - CLEAR)}


def _symmetric_letters(xp: Any, instance: Named) -> Named:
    letters = _anywhere_letters(xp, instance)
    return letters | {"zeta": 1.0 - 4.0 * letters["s"] ** 2 * letters["epsilon"] ** 2}


def _upper(letters: Mapping[str, Any]) -> float:
    from theory.anti_concentration import cantelli

    return cantelli(float(letters["epsilon"]))


def _lower(letters: Mapping[str, Any]) -> float:
    return registered("anti-concentration", letters, "H", "sigma", "epsilon")


def _lower_symmetric(letters: Mapping[str, Any]) -> float:
    return registered("anti-concentration", letters, "H", "sigma", "epsilon", symmetric=1.0)


def _mass(xp: Any, theta: Any) -> Named:
    return {"s": theta[0]}


def _mass_letters(xp: Any, instance: Named) -> Named:
    return {"s": instance["s"], "lhs": _smallest_mass(xp, instance["s"])}


def _two_point_letters(xp: Any, instance: Named) -> Named:
    """Variance, in units of H^2, of the law with mass p_s on 0 and the rest on H."""
    p = _smallest_mass(xp, instance["s"])
    return {"s": instance["s"], "lhs": p * (1.0 - p) ** 2 + (1.0 - p) * p**2}


#: Near s = 1/2 the root of 1 - 4 s^2 keeps half the digits.
_NEAR_HALF = 1e-7
_LABEL = "anti-concentration"
_ATOMS = Space("thresholds on an atom", LAW[2:], _on_atom)
_LAWS = Space("any law", (*LAW, (0.0, 1.0)), _anywhere)
_SYMMETRIC = Space("symmetric laws", (*spread((0.0, 1.0), 2), *spread((-8.0, 8.0), 3), (0.0, 1.0)), _symmetric)
_SPREADS = Space("heterogeneities", ((1e-3, 0.5),), _mass)

ADVERSARIES = (
    Adversary(_LABEL, "cantelli", _ATOMS, _on_atom_letters, evaluator=_upper),
    Adversary(_LABEL, "heterogeneity", _LAWS, _anywhere_letters, evaluator=_lower, rounding=_NEAR_HALF),
    Adversary(_LABEL, "at-least-square", _SPREADS, _mass_letters),
    Adversary(_LABEL, "two-point-spread", _SPREADS, _two_point_letters),
    Adversary(_LABEL, "symmetric", _SYMMETRIC, _symmetric_letters, evaluator=_lower_symmetric, rounding=_NEAR_HALF),
)
