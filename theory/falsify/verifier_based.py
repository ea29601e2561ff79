r"""Attacks on ``vb-upper-top-c`` and ``vb-upper-best-of-n``: a few traces, any verifier, values by enumeration.

One prompt with a few traces: masses, returns R, judged returns R_hat. The top mass c of R_hat is filled trace by trace,
traces of one R_hat sharing what is left; best of N counts draws by rank of R_hat. The best expert is the best of all
policies in the ball (:func:`~theory.falsify.instances.best_in_ball`).

In expectation over the data the class of verifiers has groups of members that overlook solved traces, each member
independently with its own probability, so that given the number of solved draws the law of the worst survivor is a
product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from theory.falsify.adversary import Adversary, Gauge, Named, Space, budget, registered
from theory.falsify.instances import BUDGET, best_in_ball, masses, moments, spread, tail, whole
from theory.falsify.verifier import worst_of_groups

__all__ = ["ADVERSARIES"]

#: Traces under any verifier.
POINTS = 4
#: By how much a trace is judged worse than the one before it where both are judged alike.
STEP = 1e-6
#: Distance, as a share of sigma, by which a threshold stays below its atom.
CLEAR = 1e-7
#: Groups of verifiers, and labelled draws enough to enumerate how many are solved.
GROUPS, LABELS = 4, 200
#: c; log probabilities to overlook a solved trace, log2 sizes (of the first group at least one member); log2 n.
CLASS = ((0.02, 0.9), *spread((-9.0, -0.01), GROUPS), (0.0, 40.0), *spread((-1.0, 40.0), GROUPS - 1), (0.0, 7.64))

_LOG_FACTORIAL = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1.0, LABELS + 1)))))
_LOG_CHOOSE = np.array(
    [
        [_LOG_FACTORIAL[n] - _LOG_FACTORIAL[k] - _LOG_FACTORIAL[max(n - k, 0)] for k in range(LABELS + 1)]
        for n in range(LABELS + 1)
    ]
)


#: Returns, judged returns, logits of the base, share of the largest c.
ANY = (*spread((0.0, BUDGET), 2 * POINTS), *spread((-6.0, 6.0), POINTS), (0.05, 1.0))
#: Returns, the level between them at which the verifier sees both, logits of the base, share of the largest c.
CONFUSED = (*spread((0.0, BUDGET), 2), (0.0, 1.0), *spread((-6.0, 6.0), 2), (0.05, 1.0))


def _traces(xp: Any, theta: Any) -> Named:
    r, judged = theta[:POINTS], theta[POINTS : 2 * POINTS]
    return {"returns": r, "judged": judged, "base": masses(xp, theta[2 * POINTS : 3 * POINTS])}


def _confused(xp: Any, theta: Any) -> Named:
    """Two traces judged alike, the second one a little worse."""
    r = theta[:2]
    level = xp.minimum(r[0] + theta[2] * (r[1] - r[0]), BUDGET - STEP)
    return {"returns": r, "judged": level + STEP * xp.arange(1, -1, -1), "base": masses(xp, theta[3:5])}


#: Makes an instance.
Build = Callable[[Any, Any], Named]


def _any_c(xp: Any, theta: Any) -> Named:
    return _traces(xp, theta) | {"c": theta[-1]}


def _last_c(xp: Any, theta: Any) -> Named:
    made = _confused(xp, theta)
    return made | {"c": theta[-1] * made["base"][-1]}


def _ball(traces: Build) -> Build:
    def build(xp: Any, theta: Any) -> Named:
        """epsilon such that mu + epsilon sigma is just below the last trace (or the mean), a share of c there."""
        made = traces(xp, theta)
        r, p = made["returns"], made["base"]
        mu, sigma = moments(xp, p, r)
        epsilon = xp.maximum((r[-1] - mu) / sigma - CLEAR, 0.0)
        return made | {"epsilon": epsilon, "c": theta[-1] * tail(xp, p, r, mu + epsilon * sigma)}

    return build


def _draws(traces: Build) -> Build:
    return lambda xp, theta: _ball(traces)(xp, theta[:-1]) | {"N": whole(xp, xp.exp2(theta[-1]))}


def top_value(xp: Any, p: Any, r: Any, judged: Any, c: Any) -> Any:
    """Mean of r over the top mass c of ``judged``, ties in proportion to their masses."""
    above = xp.sum(xp.where(judged[None, :] > judged[:, None], p[None, :], 0.0), axis=1)
    level = xp.sum(xp.where(judged[None, :] == judged[:, None], p[None, :], 0.0), axis=1)
    taken = p * xp.clip((c - above) / level, 0.0, 1.0)
    return xp.sum(taken * r) / xp.sum(taken)


def best_of_value(xp: Any, p: Any, r: Any, judged: Any, draws: Any) -> Any:
    """Mean of r of the draw kept by best-of-N of ``judged``, ties at random."""
    below = xp.sum(xp.where(judged[None, :] < judged[:, None], p[None, :], 0.0), axis=1)
    level = xp.sum(xp.where(judged[None, :] == judged[:, None], p[None, :], 0.0), axis=1)
    kept = (xp.clip(below + level, 0.0, 1.0) ** draws - xp.clip(below, 0.0, 1.0) ** draws) / level
    return xp.sum(p * kept * r)


def _letters(xp: Any, instance: Named) -> Named:
    r, judged, p, c = (instance[name] for name in ("returns", "judged", "base", "c"))
    mu, sigma = moments(xp, p, r)
    error = xp.sum(p * xp.abs(judged - r))
    known = {"H": BUDGET, "mu": mu, "sigma": sigma, "c": c, "epsilon_ver": error}
    return known | {"CVaR": top_value(xp, p, r, r, c), "J_top_c": top_value(xp, p, r, judged, c)}


def _cvar(xp: Any, instance: Named) -> Named:
    known = _letters(xp, instance)
    return known | {"lhs": known["CVaR"] - known["J_top_c"]}


def _expert(xp: Any, instance: Named) -> Named:
    """Also the best expert of the ball, and the value kept by best of N."""
    r, judged, p = (instance[name] for name in ("returns", "judged", "base"))
    known = _letters(xp, instance) | {"epsilon": instance["epsilon"]}
    known |= {"E_x[J]": best_in_ball(xp, p, r, instance["epsilon"])}
    if "N" in instance:
        known |= {"N": instance["N"], "J_BoN": best_of_value(xp, p, r, judged, instance["N"])}
    return known


def _top_mean(xp: Any, instance: Named) -> Named:
    known = _expert(xp, instance)
    return known | {"lhs": known["CVaR"]}


def _top_loss(xp: Any, instance: Named) -> Named:
    known = _expert(xp, instance)
    return known | {"lhs": known["E_x[J]"] - known["J_top_c"]}


def _draws_loss(xp: Any, instance: Named) -> Named:
    known = _expert(xp, instance)
    return known | {"lhs": known["E_x[J]"] - known["J_BoN"]}


def _guaranteed(letters: Callable[[Any, Named], Named]) -> Callable[[Any, Named], Named]:
    """The same loss where the verifier's error is just what its bound allows: two members, n and delta to fit."""

    def at(xp: Any, instance: Named) -> Named:
        known = letters(xp, instance)
        share = xp.maximum(known["epsilon_ver"] / BUDGET, 1e-9)
        n = xp.ceil(math.log(2.0) / share)
        return known | {"n": n, "L": math.log(2.0), "log2_M": 1.0, "delta": 2.0 * xp.exp(-n * share)}

    return at


def _class(xp: Any, theta: Any) -> Named:
    """Returns 0 and H, H with probability c; groups of members that overlook a solved trace; n labelled draws."""
    return {
        "c": theta[0],
        "overlooked": xp.exp(theta[1 : 1 + GROUPS]),
        "members": whole(xp, xp.exp2(theta[1 + GROUPS : 1 + 2 * GROUPS])),
        "n": whole(xp, xp.exp2(theta[1 + 2 * GROUPS])),
    }


def _class_with_draws(xp: Any, theta: Any) -> Named:
    return _class(xp, theta[:-1]) | {"N": whole(xp, xp.exp2(theta[-1]))}


def _solved(xp: Any, n: Any, c: Any) -> Any:
    """pmf of the number of solved draws, 0..LABELS."""
    k = np.arange(LABELS + 1)
    left = xp.maximum(n - k, 0)
    choose = xp.take(_LOG_CHOOSE, xp.asarray(n).astype(int), axis=0)
    return xp.where(k <= n, xp.exp(choose + k * xp.log(c) + left * xp.log1p(-c)), 0.0)


def _expected(xp: Any, instance: Named, losses: Any) -> Any:
    """E[the loss of the worst member that explains all labels], ``losses`` by group, growing with what it overlooks."""
    overlooked, members, n = instance["overlooked"], instance["members"], instance["n"]
    survives = xp.clip((1.0 - overlooked) ** np.arange(LABELS + 1.0)[:, None], 0.0, 1.0 - 1e-15)
    log_none = members * xp.log1p(-survives)
    none = xp.exp(xp.sum(log_none, axis=1))
    scale = losses / overlooked
    worst = worst_of_groups(xp, overlooked, log_none, scale)
    return xp.sum(_solved(xp, n, instance["c"]) * worst), xp.sum(_solved(xp, n, instance["c"]) * none)


def _class_letters(xp: Any, instance: Named) -> Named:
    c = instance["c"]
    L = xp.log1p(xp.sum(instance["members"]))
    known = {"H": BUDGET, "c": c, "n": instance["n"], "L": L, "log2_M": L / math.log(2.0)}
    # All mass on H is the best policy of the ball of radius 1/c - 1: u = H.
    return known | {"mu": BUDGET * c, "sigma": BUDGET * xp.sqrt(c * (1.0 - c)), "epsilon": xp.sqrt(1.0 / c - 1.0)}


def _class_top(xp: Any, instance: Named) -> Named:
    """The top c under a member: what it sees solved, then any of the rest."""
    c, a = instance["c"], instance["overlooked"]
    losses = BUDGET * a * (1.0 - c) / (1.0 - c + c * a)
    expected, _ = _expected(xp, instance, losses)
    return _class_letters(xp, instance) | {"lhs": expected}


def _class_draws(xp: Any, instance: Named) -> Named:
    """Best of N under a member fails if it sees none solved and then keeps one that is not; the truth if none is."""
    c, a, N = instance["c"], instance["overlooked"], instance["N"]
    unseen = 1.0 - c + c * a
    losses = BUDGET * unseen ** (N - 1.0) * (1.0 - c)
    expected, truth = _expected(xp, instance, losses)
    return _class_letters(xp, instance) | {"N": N, "lhs": expected + truth * BUDGET * (1.0 - c) ** N}


def _mu(letters: Mapping[str, Any]) -> Any:
    return letters["mu"]


def _value_top(letters: Mapping[str, Any]) -> float:
    return registered("vb-upper-top-c", letters, "H", "c", "epsilon", "epsilon_ver")


def _learned_top(letters: Mapping[str, Any]) -> float:
    return registered("vb-upper-top-c", letters, "H", "c", "n", "log2_M")


def _error_top(letters: Mapping[str, Any]) -> float:
    return registered("vb-upper-top-c", letters, "H", "c", "n", "log2_M", "delta")


def _value_draws(letters: Mapping[str, Any]) -> float:
    return registered("vb-upper-best-of-n", letters, "mu", "sigma", "epsilon", "c", "N", "epsilon_ver")


def _learned_draws(letters: Mapping[str, Any]) -> float:
    return registered("vb-upper-best-of-n", letters, "mu", "sigma", "epsilon", "c", "N", "H", "n", "log2_M")


def _error_draws(letters: Mapping[str, Any]) -> float:
    return registered("vb-upper-best-of-n", letters, "mu", "sigma", "epsilon", "c", "N", "H", "n", "log2_M", "delta")


_TOP, _DRAWS = "vb-upper-top-c", "vb-upper-best-of-n"
_OVER_MU = Gauge("gains over mu", _mu)


def _attacks(some: Space, traces: Build) -> tuple[Adversary, ...]:
    words, box = some.name, some.box
    ball = Space(words + ", a ball", box, _ball(traces))
    draws = Space(words + ", draws", (*box, (0.0, 6.0)), _draws(traces))
    return (
        Adversary(_TOP, "cvar", some, _cvar, scale=budget),
        Adversary(_TOP, "top-mean", ball, _top_mean, scale=budget, gauge=_OVER_MU),
        Adversary(_TOP, "value", ball, _top_loss, evaluator=_value_top, scale=budget),
        Adversary(_TOP, "error", ball, _guaranteed(_top_loss), evaluator=_error_top, scale=budget),
        Adversary(_DRAWS, "value", draws, _draws_loss, evaluator=_value_draws, scale=budget),
        Adversary(_DRAWS, "error", draws, _guaranteed(_draws_loss), evaluator=_error_draws, scale=budget),
    )


_CLASSES = Space("members that overlook solved traces", CLASS, _class)
_CLASSES_DRAWS = Space("members that overlook solved traces, draws", (*CLASS, (0.0, 6.0)), _class_with_draws)

ADVERSARIES = (
    *_attacks(Space("two traces, a verifier that confuses them", CONFUSED, _last_c), _confused),
    *_attacks(Space("four traces, any verifier", ANY, _any_c), _traces),
    Adversary(_TOP, "expectation", _CLASSES, _class_top, evaluator=_learned_top, scale=budget),
    Adversary(_TOP, "simple", _CLASSES, _class_top, scale=budget),
    Adversary(_DRAWS, "expectation", _CLASSES_DRAWS, _class_draws, evaluator=_learned_draws, scale=budget),
    Adversary(_DRAWS, "simple", _CLASSES_DRAWS, _class_draws, scale=budget),
)
