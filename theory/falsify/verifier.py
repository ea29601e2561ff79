r"""Attacks on ``verifier-erm`` and ``verifier-noisy``: classes whose survivors can be enumerated.

A wrong member disagrees with the truth on an event, where it is off by H. Two kinds of class:

* *independent*: events that are independent, in groups of m_j members with one probability t_j; the class may be
  astronomically large, and the law of the worst survivor is a product (given the number of flipped labels, with noise:
  a member then wins if it disagrees with flipped labels at least as often as with others, ties the worst way);
* *overlapping*: two events with any three masses of their Venn diagram, nested and disjoint ones included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from theory.falsify.adversary import Adversary, Named, Space, budget, registered
from theory.falsify.instances import BUDGET, masses, spread, whole

__all__ = ["ADVERSARIES"]

GROUPS, NOISY_GROUPS = 5, 3
#: log probabilities, log2 sizes (of the first group at least one member), log2 number of traces.
INDEPENDENT = (*spread((-9.0, -0.01), GROUPS), (0.0, 48.0), *spread((-1.0, 48.0), GROUPS - 1), (0.0, 12.0))
#: The same, probabilities as log multiples of the level from which a member counts as a failure, and log delta.
FAILING = (*spread((0.0, 2.0), GROUPS), *INDEPENDENT[GROUPS:], (-12.0, 0.0))
#: The same with few enough traces to enumerate flips, and the probability of a flip.
LABELS = 16
FEW = ((0.0, 16.0), *spread((-1.0, 16.0), NOISY_GROUPS - 1), (1.0, LABELS + 0.999), (0.0, 0.49))
NOISY = (*spread((-9.0, -0.01), NOISY_GROUPS), *FEW)
NOISY_FAILING = (*spread((0.0, 2.0), NOISY_GROUPS), *FEW, (-12.0, 0.0))
#: logits of the four regions, log2 number of traces.
OVERLAPPING = (*spread((-7.0, 7.0), 4), (0.0, 7.0))

_CHOOSE = np.array([[math.comb(m, k) for k in range(LABELS + 1)] for m in range(LABELS + 1)], dtype=float)


def _independent(xp: Any, theta: Any) -> Named:
    groups = (theta.shape[0] - 1) // 2
    return {
        "disagreement": xp.exp(theta[:groups]),
        "members": whole(xp, xp.exp2(theta[groups : 2 * groups])),
        "n": whole(xp, xp.exp2(theta[2 * groups])),
    }


def _log_none_survives(xp: Any, t: Any, members: Any, n: Any) -> Any:
    """log P(no member of a group survives)."""
    return members * xp.log1p(-xp.clip((1.0 - t) ** n, 0.0, 1.0 - 1e-15))


def worst_of_groups(xp: Any, t: Any, log_none: Any, slope: Any = 1.0) -> Any:
    """E[the largest t of a group that has a survivor]: ``log_none`` (..., groups), groups independent on each row.

    The loss of a group is t * ``slope``, growing with t.
    """
    order = xp.arange(t.shape[0])
    before = (t[None, :] > t[:, None]) | ((t[None, :] == t[:, None]) & (order[None, :] < order[:, None]))
    none_before = log_none @ xp.where(before, 1.0, 0.0).T
    return xp.sum(slope * t * -xp.expm1(log_none) * xp.exp(none_before), axis=-1)


def _independent_letters(xp: Any, instance: Named) -> Named:
    t, members, n = instance["disagreement"], instance["members"], instance["n"]
    return _class(xp, members, n) | {"lhs": BUDGET * worst_of_groups(xp, t, _log_none_survives(xp, t, members, n))}


def _class(xp: Any, members: Any, n: Any) -> Named:
    L = xp.log1p(xp.sum(members))
    return {"H": BUDGET, "n": n, "L": L, "log2_M": L / math.log(2.0)}


def _failing(xp: Any, theta: Any) -> Named:
    """Every member is wrong with probability log(|R|/delta)/n or a little more, where that is below 1."""
    made = _independent(xp, theta[:-1])
    delta = xp.exp(theta[-1])
    level = (xp.log1p(xp.sum(made["members"])) - theta[-1]) / made["n"]
    t = xp.minimum(level * xp.exp(theta[: made["members"].shape[0]]), 1.0 - 1e-9)
    return made | {"disagreement": t, "delta": delta}


def _threshold(xp: Any, instance: Named, a: Any) -> Named:
    """The letters of the class, and the level of a times the probability of being wrong that delta stands for."""
    known = _class(xp, instance["members"], instance["n"]) | {"delta": instance["delta"]}
    return known | {"t": (known["L"] - xp.log(instance["delta"])) / instance["n"], "a": a}


def _is_failure(known: Named, t: Any) -> Any:
    """Wrong with probability above t/a, as a limit: equality counts."""
    return known["a"] * t >= known["t"] * (1.0 - 1e-12)


def _failure_letters(xp: Any, instance: Named) -> Named:
    t, members, n = instance["disagreement"], instance["members"], instance["n"]
    known = _threshold(xp, instance, 1.0)
    log_none = xp.sum(xp.where(_is_failure(known, t), _log_none_survives(xp, t, members, n), 0.0))
    return known | {"lhs": -xp.expm1(log_none)}


def _allowed(xp: Any, theta: Any) -> Named:
    """Members of any kind, and a delta."""
    return _independent(xp, theta[:-1]) | {"delta": xp.exp(theta[-1])}


def _worst_allowed(xp: Any, known: Named, t: Any) -> Any:
    """The largest error that is not counted as a failure (equality is none)."""
    return BUDGET * xp.max(xp.where(known["a"] * t <= known["t"] * (1.0 + 1e-12), t, 0.0))


def _error_letters(xp: Any, instance: Named) -> Named:
    known = _threshold(xp, instance, 1.0)
    return known | {"lhs": _worst_allowed(xp, known, instance["disagreement"])}


def _overlapping(xp: Any, theta: Any) -> Named:
    regions = masses(xp, theta[:4])
    return {"only_first": regions[0], "only_second": regions[1], "both": regions[2], "n": whole(xp, xp.exp2(theta[4]))}


def _overlapping_letters(xp: Any, instance: Named) -> Named:
    one, other, both, n = (instance[name] for name in ("only_first", "only_second", "both", "n"))
    large, small = both + xp.maximum(one, other), both + xp.minimum(one, other)
    neither_seen = (1.0 - both - one - other) ** n
    worst = large * (1.0 - large) ** n + small * ((1.0 - small) ** n - neither_seen)
    return {"H": BUDGET, "n": n, "L": math.log(3.0), "log2_M": math.log2(3.0), "lhs": BUDGET * worst}


def _noisy(xp: Any, theta: Any) -> Named:
    made = _independent(xp, theta[:-1])
    return made | {"n": xp.floor(theta[-2]), "eta": theta[-1]}


def _binomials(xp: Any, p: Any) -> Any:
    """pmf of Bin(m, p) for m, k = 0..LABELS: shape (LABELS + 1, LABELS + 1, *p.shape)."""
    up, down = xp.log(xp.clip(p, 1e-300, 1.0)), xp.log1p(-p)
    shape = (-1,) + (1,) * xp.ndim(p)
    k = xp.arange(LABELS + 1).reshape(shape)
    powers, falls = xp.exp(k * up), xp.exp(k * down)
    fall = xp.maximum(np.arange(LABELS + 1)[:, None] - np.arange(LABELS + 1)[None, :], 0)
    return _CHOOSE.reshape(_CHOOSE.shape + (1,) * xp.ndim(p)) * powers[None] * falls[fall]


def _log_none_wins(xp: Any, t: Any, members: Any, n: Any) -> Any:
    """log P(no member of a group fits as well as the truth), given F = 0..LABELS flips among n labels: (F, groups).

    A member disagrees with the truth on each trace with probability t. It loses a label that is not flipped there and
    gains one that is; the counts are independent of those of other members, given the flips.
    """
    law = _binomials(xp, t)
    others = xp.maximum(n - np.arange(LABELS + 1), 0).astype(int)
    wins = xp.sum(law * xp.cumsum(law, axis=1)[others], axis=1)
    return members * xp.log1p(-xp.clip(wins, 0.0, 1.0 - 1e-15))


def _noisy_letters(xp: Any, instance: Named) -> Named:
    t, members, n, eta = (instance[name] for name in ("disagreement", "members", "n", "eta"))
    worst = xp.sum(_flips(xp, n, eta) * worst_of_groups(xp, t, _log_none_wins(xp, t, members, n)))
    return _class(xp, members, n) | {"eta": eta, "a": _separation(xp, eta), "lhs": BUDGET * worst}


def _flips(xp: Any, n: Any, eta: Any) -> Any:
    """pmf of the number of flipped labels."""
    return _binomials(xp, eta)[xp.asarray(n).astype(int)]


def _separation(xp: Any, eta: Any) -> Any:
    return 1.0 - 2.0 * xp.sqrt(eta * (1.0 - eta))


def _noisy_failing(xp: Any, theta: Any) -> Named:
    made, eta = _noisy(xp, theta[:-1]), theta[-2]
    level = (xp.log1p(xp.sum(made["members"])) - theta[-1]) / (made["n"] * _separation(xp, eta))
    t = xp.minimum(level * xp.exp(theta[:NOISY_GROUPS]), 1.0 - 1e-9)
    return made | {"disagreement": t, "delta": xp.exp(theta[-1])}


def _noisy_failure_letters(xp: Any, instance: Named) -> Named:
    t, members, n, eta = (instance[name] for name in ("disagreement", "members", "n", "eta"))
    known = _threshold(xp, instance, _separation(xp, eta)) | {"eta": eta}
    log_none = xp.sum(xp.where(_is_failure(known, t), _log_none_wins(xp, t, members, n), 0.0), axis=-1)
    return known | {"lhs": xp.sum(_flips(xp, n, eta) * -xp.expm1(log_none))}


def _noisy_allowed(xp: Any, theta: Any) -> Named:
    return _noisy(xp, theta[:-1]) | {"delta": xp.exp(theta[-1])}


def _noisy_error_letters(xp: Any, instance: Named) -> Named:
    known = _threshold(xp, instance, _separation(xp, instance["eta"])) | {"eta": instance["eta"]}
    return known | {"lhs": _worst_allowed(xp, known, instance["disagreement"])}


def _expectation(letters: Mapping[str, Any]) -> float:
    return registered("verifier-erm", letters, "H", "n", "log2_M")


def _with_delta(letters: Mapping[str, Any]) -> float:
    return registered("verifier-erm", letters, "H", "n", "log2_M", "delta")


def _noisy_expectation(letters: Mapping[str, Any]) -> float:
    return registered("verifier-noisy", letters, "H", "n", "log2_M", "eta")


def _noisy_with_delta(letters: Mapping[str, Any]) -> float:
    return registered("verifier-noisy", letters, "H", "n", "log2_M", "eta", "delta")


_GROUPS = Space("independent members", INDEPENDENT, _independent)
_OVERLAPPING = Space("overlapping members", OVERLAPPING, _overlapping)
_FAILING = Space("members at the level of failure", FAILING, _failing)
_ALLOWED = Space("independent members and a level", (*INDEPENDENT, FAILING[-1]), _allowed)
_NOISY = Space("independent members, flipped labels", NOISY, _noisy)
_NOISY_FAILING = Space("members at the level of failure, flipped labels", NOISY_FAILING, _noisy_failing)
_NOISY_ALLOWED = Space("independent members and a level, flipped labels", (*NOISY, FAILING[-1]), _noisy_allowed)
_ERM, _FLIPPED = "verifier-erm", "verifier-noisy"

ADVERSARIES = (
    Adversary(_ERM, "failure", _FAILING, _failure_letters),
    Adversary(_ERM, "error", _ALLOWED, _error_letters, evaluator=_with_delta, scale=budget),
    Adversary(_ERM, "expectation", _GROUPS, _independent_letters, evaluator=_expectation, scale=budget),
    Adversary(_ERM, "expectation", _OVERLAPPING, _overlapping_letters, evaluator=_expectation, scale=budget),
    Adversary(_ERM, "simple", _GROUPS, _independent_letters, scale=budget),
    Adversary(_ERM, "simple", _OVERLAPPING, _overlapping_letters, scale=budget),
    Adversary(_ERM, "few", _GROUPS, _independent_letters, scale=budget),
    Adversary(_ERM, "few", _OVERLAPPING, _overlapping_letters, scale=budget),
    Adversary(_FLIPPED, "failure", _NOISY_FAILING, _noisy_failure_letters),
    Adversary(_FLIPPED, "error", _NOISY_ALLOWED, _noisy_error_letters, evaluator=_noisy_with_delta, scale=budget),
    Adversary(_FLIPPED, "expectation", _NOISY, _noisy_letters, evaluator=_noisy_expectation, scale=budget),
    Adversary(_FLIPPED, "simple", _NOISY, _noisy_letters, scale=budget),
    Adversary(_FLIPPED, "few", _NOISY, _noisy_letters, scale=budget),
)
