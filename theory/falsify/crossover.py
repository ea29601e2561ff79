r"""Attacks on ``garbling`` and ``crossover-vf-wins``: the best learners of small families, by enumeration.

*Rare success.* Given the solved and failed draws, each wrong hypothesis explains them independently, so the number of
survivors is binomial. Of m survivors, each equally likely, the best learner plays the token that most of them play:
:math:`W(m)=E\max_aN_a/m`, N multinomial. The best verifier-free learner of a noisy expert weighs hypotheses by their
likelihood; all counts of agreement and all plays on a fresh prompt are enumerated.

*Any finite task.* Two prompts, three traces, three hypotheses that reward any set of traces: all data sets are
enumerated with and without the labels.

*Mirrored codebook.* As in :mod:`theory.falsify.verifier_free`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.falsify.adversary import PLAIN, Adversary, Gauge, Named, Space, budget, registered
from theory.falsify.instances import BUDGET, masses, spread
from theory.falsify.verifier_free import mean_weight, signs

__all__ = ["ADVERSARIES"]

Floats = NDArray[np.float64]

#: Most hypotheses of the rare-success families; |V| and n are bounded beside it in the boxes.
MOST = 40
#: |V|, log2 of M - 1, log2 n, share of p_e between c and 1.
RARE = ((2.0, 12.99), (0.0, math.log2(MOST - 1.0)), (0.0, 7.0), (0.0, 1.0))
#: The same with n so small that c^n keeps its digits beside 1.
SHORT = (*RARE[:2], (0.0, 2.5), RARE[3])
#: |V|, M and n small enough to enumerate all counts; the share of p_e between c and 2c.
SMALL = ((2.0, 4.99), (2.0, 3.99), (1.0, 4.99), (0.0, 1.0))
#: Hypotheses, prompts and traces of any finite task, of which two draws are seen.
HYPOTHESES, PROMPTS, TRACES = 3, 2, 3


@functools.cache
def _choose(n: int) -> Floats:
    return np.array([math.comb(n, k) for k in range(n + 1)], dtype=float)


def binomial(n: int, p: ArrayLike) -> Floats:
    """pmf of Bin(n, p) on the last axis, each mass from integers and powers."""
    k, chance = np.arange(n + 1), np.asarray(p, dtype=float)[..., None]
    return np.asarray(_choose(n) * chance**k * (1.0 - chance) ** (n - k))


@functools.cache
def vote(V: int, m: int) -> float:
    """W(m) = E max_a N_a / m: P(max <= r) is m! V^-m times a coefficient of (sum_{i <= r} x^i/i!)^V."""
    series = np.array([1.0 / math.factorial(i) for i in range(m + 1)])
    total = math.factorial(m) / float(V) ** m
    expected = 0.0
    for r in range(m):
        truncated = np.where(np.arange(m + 1) <= r, series, 0.0)
        power = np.array([1.0])
        for _ in range(V):
            power = np.convolve(power, truncated)[: m + 1]
        expected += 1.0 - total * float(power[m] if power.size > m else 0.0)
    return expected / m


@functools.cache
def _votes(V: int, M: int) -> Floats:
    return np.array([vote(V, m) for m in range(1, M + 1)])


def _survival(V: int, n: int) -> Floats:
    """q_k, k = 0..n."""
    k, c = np.arange(n + 1), 1.0 / V
    return np.asarray(c**k * (1.0 - c) ** (n - k))


def best_labelled(V: int, M: int, n: int) -> float:
    """J/H of the best learner on n labelled base draws: E W(1 + K), K ~ Bin(M - 1, q_k), k ~ Bin(n, c)."""
    return float(binomial(n, 1.0 / V) @ binomial(M - 1, _survival(V, n)) @ _votes(V, M))


def best_perfect(V: int, M: int, n: int) -> float:
    """J/H of the best learner on n tokens of the expert that always solves: E W(1 + K), K ~ Bin(M - 1, c^n)."""
    return float(binomial(M - 1, V ** -float(n)) @ _votes(V, M))


def picked(V: int, M: int, n: int, p_e: float) -> float:
    """P(the hypothesis that agrees with most tokens, ties at random, is the truth), over counts of ties."""
    level = binomial(n, 1.0 / V)
    below = np.concatenate(([0.0], np.cumsum(level)[:-1]))[:, None]
    j = np.arange(M)
    tied = _choose(M - 1) * level[:, None] ** j * below ** (M - 1 - j) / (1 + j)
    return float(binomial(n, p_e) @ tied.sum(axis=1))


def random_consistent(V: int, M: int, n: int) -> float:
    """P(a random one of the hypotheses that explain all labels is the truth)."""
    return float(binomial(n, 1.0 / V) @ binomial(M - 1, _survival(V, n)) @ (1.0 / np.arange(1, M + 1)))


def best_noisy(V: int, M: int, n: int, p_e: float) -> float:
    """J/H of the best learner on n tokens of an expert of success p_e: M^-1 E_base E_x max_a sum_{j: x_j = a} L_j."""
    c = 1.0 / V
    k = np.arange(n + 1)
    likelihood = (p_e / c) ** k * ((1.0 - p_e) / (1.0 - c)) ** (n - k)
    level = binomial(n, c)
    total = 0.0
    for plays, share in _plays(V, M):
        best = np.zeros((n + 1,) * M)
        for token in range(V):
            votes = sum(
                (
                    likelihood.reshape([-1 if axis == j else 1 for axis in range(M)])
                    for j in range(M)
                    if plays[j] == token
                ),
                np.zeros((1,) * M),
            )
            best = np.maximum(best, votes)
        for _ in range(M):
            best = best @ level
        total += share * float(best)
    return total / M


@functools.cache
def _plays(V: int, M: int) -> tuple[tuple[tuple[int, ...], float], ...]:
    """Plays of the M hypotheses on a fresh prompt, up to the names of the tokens, with their probabilities."""
    found: dict[tuple[int, ...], float] = {}
    for plays in itertools.product(range(V), repeat=M):
        names: dict[int, int] = {}
        pattern = tuple(names.setdefault(a, len(names)) for a in plays)
        found[pattern] = found.get(pattern, 0.0) + float(V) ** -M
    return tuple(found.items())


def _rare(xp: Any, theta: Any) -> Named:
    V, M, n = int(theta[0]), 1 + int(2.0 ** theta[1]), int(2.0 ** theta[2])
    return {"V": V, "M": M, "n": n, "p_e": 1.0 / V + theta[3] * (1.0 - 1.0 / V)}


def _small(xp: Any, theta: Any) -> Named:
    V, M, n = (int(x) for x in theta[:3])
    return {"V": V, "M": M, "n": n, "p_e": (1.0 + theta[3]) / V}


def _family(instance: Named) -> tuple[int, int, int, float, Named]:
    V, M, n = (int(instance[name]) for name in ("V", "M", "n"))
    p_e = float(instance["p_e"])
    return (
        V,
        M,
        n,
        p_e,
        {"H": BUDGET, "c": 1.0 / V, "n": n, "M": M, "L": math.log(M), "log2_M": math.log2(M), "p_e": p_e},
    )


def _vf_value(xp: Any, instance: Named) -> Named:
    V, M, n, p_e, known = _family(instance)
    right = picked(V, M, n, p_e)
    c = 1.0 / V
    return known | {"J_VF": BUDGET * (c + (1.0 - c) * right), "J_clone": BUDGET * (c + (p_e - c) * right)}


def _sure_value(xp: Any, instance: Named) -> Named:
    V, M, n, _, known = _family(instance)
    c = 1.0 / V
    chance = float(binomial(M - 1, c**n) @ (1.0 / np.arange(1, M + 1)))
    return known | {"p_e": 1.0, "J_VF1": BUDGET * (c + (1.0 - c) * chance)}


def _random_value(xp: Any, instance: Named) -> Named:
    V, M, n, _, known = _family(instance)
    c, k = 1.0 / V, np.arange(n + 1)
    weights = {"masses": {"k": binomial(n, c)}, "q": c**k * (1.0 - c) ** (n - k)}
    return known | weights | {"J_random": BUDGET * (c + (1.0 - c) * random_consistent(V, M, n))}


def _any_value(xp: Any, instance: Named) -> Named:
    V, M, n, _, known = _family(instance)
    return known | {"J_VB": BUDGET * best_labelled(V, M, n)}


def _advantage(xp: Any, instance: Named) -> Named:
    return _vf_value(np, instance) | _any_value(np, instance)


def _late(xp: Any, instance: Named) -> Named:
    return _any_value(np, instance) | _sure_value(np, instance)


def _perfect(xp: Any, instance: Named) -> Named:
    V, M, n, _, known = _family(instance)
    best = {"J_perfect": BUDGET * best_perfect(V, M, n), "J_labelled": BUDGET * best_labelled(V, M, n)}
    return known | best | {"guess": BUDGET * vote(V, M)}


def _weak(xp: Any, instance: Named) -> Named:
    V, M, n, p_e, known = _family(instance)
    best = {"J_weak": BUDGET * best_noisy(V, M, n, p_e), "J_labelled": BUDGET * best_labelled(V, M, n)}
    return known | best | {"guess": BUDGET * vote(V, M)}


def _on_top(xp: Any, instance: Named) -> Named:
    """One level of a wrong hypothesis's agreements."""
    M, above, level = int(instance["M"]), instance["above"], instance["level"]
    below = 1.0 - above - level
    tied = [math.comb(M - 1, j) * level**j * below ** (M - 1 - j) / (1 + j) for j in range(M)]
    return {"M": M, "q_above": above, "q_level": level, "P": math.fsum(tied)}


def _levels(xp: Any, theta: Any) -> Named:
    return {"M": int(theta[0]), "above": 0.9 * theta[1], "level": max(0.99 * (1.0 - 0.9 * theta[1]) * theta[2], 1e-3)}


def _coin(xp: Any, theta: Any) -> Named:
    return {"c": theta[0]}


def _coin_letters(xp: Any, instance: Named) -> Named:
    return {"c": instance["c"]}


def _expert_letters(xp: Any, instance: Named) -> Named:
    """The chance to repeat that makes an expert of success p_e out of solved draws."""
    return {"c": instance["c"], "p_e": instance["p_e"], "lhs": instance["p_e"] / instance["c"] - 1.0}


def _weak_expert(xp: Any, theta: Any) -> Named:
    return {"c": theta[0], "p_e": theta[0] * (1.0 + theta[1])}


def _pair(xp: Any, theta: Any) -> Named:
    """|f| of a pair, epsilon |f| at most 1, and which of its traces was drawn and which is the better one."""
    made = {"f": theta[0], "epsilon": theta[1] / theta[0]}
    return made | {"drawn": theta[0] * (1.0 if theta[2] < 0.5 else -1.0), "sign": 1.0 if theta[3] < 0.5 else -1.0}


def _pair_letters(xp: Any, instance: Named) -> Named:
    """Chances of the two outputs; the worse one has (1 - epsilon |f|)/2."""
    f, epsilon, drawn = instance["f"], instance["epsilon"], instance["drawn"]
    label = instance["sign"] * drawn
    chances = [(1.0 + epsilon * label / drawn * out) / 2.0 for out in (f, -f)]
    return {"f": f, "epsilon": epsilon, "total": sum(chances), "worse": min(chances)}


def _total(xp: Any, instance: Named) -> Named:
    letters = _pair_letters(xp, instance)
    return letters | {"lhs": letters["total"]}


def _worse(xp: Any, instance: Named) -> Named:
    letters = _pair_letters(xp, instance)
    return letters | {"lhs": letters["worse"]}


def _task(xp: Any, theta: Any) -> Named:
    size = PROMPTS * TRACES
    base = np.stack([masses(np, row) for row in theta[:size].reshape(PROMPTS, TRACES)])
    rewards = theta[size : size + HYPOTHESES * size].reshape(HYPOTHESES, PROMPTS, TRACES)
    return {"prompts": masses(np, theta[-PROMPTS:]), "base": base, "rewarded": (rewards > 0.5).astype(int)}


def _task_letters(xp: Any, instance: Named) -> Named:
    """Best values on two labelled draws, and on those of them kept by the reward, labels and number dropped."""
    prompts, base = instance["prompts"], instance["base"]
    solves = np.asarray(instance["rewarded"], dtype=float).reshape(HYPOTHESES, -1)
    draw = (prompts[:, None] * base).reshape(-1)
    pairs = np.outer(draw, draw).reshape(-1)

    def value(joint: Floats) -> Floats:
        """E_x max_a of the posterior reward, for rows of masses of the hypotheses."""
        votes = (joint @ solves).reshape(*joint.shape[:-1], PROMPTS, TRACES)
        return np.asarray(BUDGET * (votes.max(axis=-1) @ prompts))

    labels = (2 * solves[:, :, None] + solves[:, None, :]).reshape(HYPOTHESES, -1)
    alike = (labels[:, None, :] == labels[None, :, :]).astype(float)
    labelled = (value(np.moveaxis(alike, 2, 0)) / alike.sum(axis=1).T).sum(axis=1) @ pairs / HYPOTHESES
    failed = 1.0 - solves @ draw
    none, one = failed**2, 2.0 * draw[:, None] * (solves * failed[:, None]).T
    both = pairs[:, None] * (solves[:, :, None] * solves[:, None, :]).reshape(HYPOTHESES, -1).T
    kept = value(np.concatenate([none[None, :], one, both]) / HYPOTHESES).sum()
    guess = value(np.full(HYPOTHESES, 1.0 / HYPOTHESES))
    return {"H": BUDGET, "J_VB": float(labelled), "J_kept": float(kept), "guess": float(guess)}


def _mirrored(xp: Any, theta: Any) -> Named:
    """Returns H/2 +- rho, H/2 +- a share of rho, H/2; the expert's epsilon; M = 2 or 3, n = 1 or 2."""
    half = BUDGET / 2.0
    offsets = half * np.array([-1.0, -theta[0], 0.0, theta[0], 1.0])
    p = masses(np, np.array([theta[1], theta[2], theta[3], theta[2], theta[1]]))
    f = offsets / math.sqrt(float(p @ offsets**2))
    sizes = {"M": int(theta[5]), "n": int(theta[6])}
    return {"returns": half + offsets, "base": p, "epsilon": theta[4] / float(f.max())} | sizes


def _mirrored_letters(xp: Any, instance: Named) -> Named:
    """The best reply gains rho |w|; labelled base draws reveal the sign wherever R is not H/2."""
    offsets, p, epsilon = instance["returns"] - BUDGET / 2.0, instance["base"], float(instance["epsilon"])
    f = offsets / math.sqrt(float(p @ offsets**2))
    M, n = int(instance["M"]), int(instance["n"])
    weak = mean_weight(signs(M, parity=False), f, p, n, epsilon)
    told = float(p @ (np.abs(offsets) > 1e-12))
    strong = 0.0
    for k, chance in enumerate(binomial(n, told)):
        survivors = binomial(M - 1, 2.0**-k)
        strong += chance * float(survivors @ [_mean_absolute_sum(m) / m for m in range(1, M + 1)])
    half = BUDGET / 2.0
    known = {"H": BUDGET, "epsilon": epsilon, "f": float(np.abs(f).max())}
    return known | {"J_mirrored": half + half * weak, "J_VB": half + half * strong, "guess": half}


def _mean_absolute_sum(m: int) -> float:
    """E|s_1 + ... + s_m| for fair signs."""
    return float(binomial(m, 0.5) @ np.abs(2 * np.arange(m + 1) - m))


def _guess(letters: Mapping[str, Any]) -> Any:
    return letters["guess"]


def _half(letters: Mapping[str, Any]) -> Any:
    return 0.5


def _one(letters: Mapping[str, Any]) -> Any:
    return 1.0


def _blind(letters: Mapping[str, Any]) -> Any:
    return letters["H"] * letters["c"]


def _registered_advantage(letters: Mapping[str, Any]) -> float:
    return registered("crossover-vf-wins", letters, "H", "n", "log2_M", "c", "p_e")


def _learners(label: str, claim: str, space: Space, letters: Any, gauge: Gauge = PLAIN, **more: Any) -> Adversary:
    """An attack on values of learners, in tokens, by enumeration."""
    return Adversary(label, claim, space, letters, gauge=gauge, scale=budget, gradient=False, **more)


_TASKS = Space(
    "finite tasks",
    (
        *spread((-4.0, 4.0), PROMPTS * TRACES),
        *spread((0.0, 1.0), HYPOTHESES * PROMPTS * TRACES),
        *spread((-4.0, 4.0), PROMPTS),
    ),
    _task,
)
_CODEBOOKS = Space(
    "mirrored codebooks", ((0.0, 1.0), *spread((-4.0, 4.0), 3), (0.0, 1.0), (2.0, 3.99), (1.0, 2.99)), _mirrored
)
_RARE, _SHORT = Space("rare success", RARE, _rare), Space("rare success, few draws", SHORT, _rare)
_SMALL = Space("rare success, weak expert", SMALL, _small)
_PAIRS = Space("pairs", ((0.1, 3.0), *spread((0.0, 1.0), 3)), _pair)
_EXPERTS = Space("experts", ((0.05, 1.0), (0.0, 1.0)), _weak_expert)
_LEVELS = Space("levels of agreement", ((2.0, 9.99), (0.0, 1.0), (0.0, 1.0)), _levels)
_COINS = Space("coins", ((1e-3, 0.999),), _coin)

_OVER_GUESS = Gauge("gains over the best guess without data", _guess)
_OVER_CHANCE = Gauge("gain over chance against the gain allowed", _blind)
_LOSS = Gauge("losses against H", budget, drop=True)
_BELOW_EVEN = Gauge("drop below the even chance", _half, drop=True)
_BELOW_ONE = Gauge("drop below 1", _one, drop=True)
_GARBLING, _WINS = "garbling", "crossover-vf-wins"

ADVERSARIES = (
    _learners(_GARBLING, "filtered", _TASKS, _task_letters, _OVER_GUESS),
    _learners(_GARBLING, "mirrored", _CODEBOOKS, _mirrored_letters, _OVER_GUESS),
    _learners(_GARBLING, "weak-expert", _SMALL, _weak, _OVER_GUESS),
    Adversary(_GARBLING, "mirrored-mass", _PAIRS, _total, gradient=False),
    Adversary(_GARBLING, "mirrored-chance", _PAIRS, _worse, gauge=_BELOW_EVEN, gradient=False),
    Adversary(_GARBLING, "repeat-low", _EXPERTS, _expert_letters, gauge=_BELOW_ONE),
    Adversary(_GARBLING, "repeat-high", _EXPERTS, _expert_letters),
    _learners(_WINS, "vf-value", _RARE, _vf_value),
    _learners(_WINS, "cloning-value", _RARE, _vf_value),
    Adversary(_WINS, "on-top", _LEVELS, _on_top, gradient=False),
    _learners(_WINS, "vf-perfect", _SHORT, _sure_value),
    _learners(_WINS, "vb-random", _SHORT, _random_value),
    _learners(_WINS, "vb-upper", _RARE, _any_value, _LOSS),
    _learners(_WINS, "vb-closed", _RARE, _any_value, _OVER_CHANCE),
    _learners(_WINS, "advantage", _RARE, _advantage, evaluator=_registered_advantage),
    _learners(_WINS, "late", _RARE, _late),
    _learners(_WINS, "perfect-expert", _RARE, _perfect, _LOSS),
    Adversary(_WINS, "break-even", _COINS, _coin_letters),
)
