r"""Attacks on ``vf-lower``, ``vf-lower-truncated`` and ``vf-upper``.

The best verifier-free learner of a codebook has regret :math:`\varepsilon\sigma-\rho E|w|`, w the posterior mean of the
sign on a fresh prompt. It is computed two ways:

* *random codebook, two returns*: with s_j the sign and k_j the agreements of hypothesis j,
  :math:`E|w|=M^{-1}E|\sum_j s_jL(k_j)|` over M independent steps in :math:`\mathbb Z^{n+1}`, their law by convolution;
* *any symmetric law, and the parity codebook*: over all data sets, n and M small.

Where M is astronomically large one particular learner stands for the best: the maximiser of the likelihood, which then
plays the largest return. Its regret is a formula, and no smaller than the best learner's, so the ratio reported is at
most the true one.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.falsify.adversary import Adversary, Gauge, Named, Space, budget, registered
from theory.falsify.instances import BUDGET, chi2, in_ball, masses, moments, spread
from theory.notation import LN2

__all__ = ["ADVERSARIES", "mean_weight", "signs", "walk_weight"]

Floats = NDArray[np.float64]

#: (n, M) of the random codebooks whose walk is enumerated.
WALKS = ((1, 2), (1, 8), (1, 32), (1, 128), (2, 2), (2, 4), (2, 8), (2, 20), (3, 2), (3, 4), (3, 8), (4, 2), (4, 5))
#: (n, k) of the parity codebooks, (n, M) of the random ones under any law, that are enumerated data set by data set.
PARITIES = ((1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (3, 2), (1, 3), (2, 3))
#: (n, M) inside the window of the closed form.
WINDOW_WALKS = ((2, 32), (2, 40))
#: Most draws of the window that are tried.
MOST_DRAWS = 2048.0
#: Traces of the policies that are cloned.
TRACES = 3
LAWS = ((1, 2), (2, 2), (3, 2), (1, 3), (2, 3), (1, 4))


@functools.cache
def _walk(n: int, M: int) -> tuple[Floats, Floats]:
    """Net signs by number of agreements after M steps, shape (states, n + 1), and their probabilities."""
    law = np.zeros((2 * M + 1,) * (n + 1))
    law[(M,) * (n + 1)] = 1.0
    for _ in range(M):
        moved = np.zeros_like(law)
        for k, step in itertools.product(range(n + 1), (-1, 1)):
            moved += math.comb(n, k) / 2.0 ** (n + 1) * np.roll(law, step, axis=k)
        law = moved
    where = np.argwhere(law > 0.0)
    return (where - M).astype(float), law[tuple(where.T)]


@functools.lru_cache(maxsize=256)
def walk_weight(n: int, M: int, epsilon: float) -> float:
    """E|w| of the random codebook with returns mu +- sigma, exactly."""
    states, chances = _walk(n, M)
    k = np.arange(n + 1)
    likelihood = (1.0 + epsilon) ** k * (1.0 - epsilon) ** (n - k)
    return float(chances @ np.abs(states @ likelihood)) / M


@functools.cache
def signs(k: int, parity: bool) -> Floats:
    """Signs of the hypotheses on every prompt, shape (prompts, M): 2^k parities, or k independent signs."""
    bits = np.array(list(itertools.product([0, 1], repeat=k)))
    return np.asarray(1.0 - 2.0 * (bits @ bits.T % 2 if parity else bits))


def mean_weight(sign: Floats, f: Floats, base: Floats, n: int, epsilon: float) -> float:
    """E|w| over every data set of n (prompt, return) pairs: M^-1 E_base E_x |sum_j s_j(x) L_j|."""
    prompts, M = sign.shape
    once = (1.0 + epsilon * sign[:, None, :] * f[None, :, None]).reshape(-1, M)
    law = np.tile(base, prompts) / prompts
    likelihoods, chances = np.ones((1, M)), np.ones(1)
    for _ in range(n):
        likelihoods = (likelihoods[:, None, :] * once[None, :, :]).reshape(-1, M)
        chances = np.outer(chances, law).reshape(-1)
    weight = float(chances @ np.abs(likelihoods @ sign.T).mean(axis=1))
    return float(weight / M)


def best_agreement(n: int, log2_M: float, epsilon: float) -> tuple[float, float]:
    """(P(truth is picked), P(some other agrees as often)) for the most agreeing hypothesis, ties at random; any M.

    Random codebook, two returns: the truth agrees with a return with probability (1 + epsilon)/2, others with 1/2.
    """
    from scipy.stats import binom

    k = np.arange(n + 1)
    truth, level = binom.pmf(k, n, (1.0 + epsilon) / 2.0), binom.pmf(k, n, 0.5)
    least = np.minimum(np.cumsum(level[::-1])[::-1], 1.0)
    above = np.append(least[1:], 0.0)
    others = 2.0**log2_M - 1.0
    with np.errstate(divide="ignore"):
        none_above, none_level = others * np.log1p(-above), others * np.log1p(-least)
    # E[1/(1 + ties), none above] = [(1 - q_>)^M - (1 - q_>=)^M] / (M q_=), or (1 - q_>)^(M-1) where ties are rare
    rare = others * level < 1e-9
    wins = np.exp(none_above) * (1.0 - above) - np.exp(none_level) * (1.0 - least)
    picked = np.where(rare, np.exp(none_above), wins / ((others + 1.0) * np.where(rare, 1.0, level)))
    return float(truth @ picked), float(truth @ -np.expm1(none_level))


def _codebook(n: float, log2_M: float, epsilon: float, regret: float) -> Named:
    """The letters of a codebook with returns H/2 +- sigma, sigma = H/2; K is what the evaluator takes."""
    from theory.verifier_free import with_level

    sigma = BUDGET / 2.0
    known = {"n": n, "L": log2_M * LN2, "log2_M": log2_M, "epsilon": epsilon, "H": BUDGET}
    return with_level(known) | {"sigma": sigma, "rho": sigma, "lhs": sigma * regret}


def _walk_at(xp: Any, theta: Any) -> Named:
    n, M = WALKS[min(int(theta[0]), len(WALKS) - 1)]
    return {"codebook": "random", "n": n, "M": M, "epsilon": float(theta[1])}


def _parity_at(xp: Any, theta: Any) -> Named:
    n, k = PARITIES[min(int(theta[0]), len(PARITIES) - 1)]
    return {"codebook": "parity", "n": n, "M": 2**k, "epsilon": float(theta[1])}


def small_weight(instance: Named) -> float:
    """E|w| of a small codebook with returns H/2 +- sigma."""
    n, M, epsilon = int(instance["n"]), int(instance["M"]), float(instance["epsilon"])
    if instance["codebook"] == "random":
        return walk_weight(n, M, epsilon)
    sign = signs(round(math.log2(M)), parity=True)
    return mean_weight(sign, np.array([-1.0, 1.0]), np.array([0.5, 0.5]), n, epsilon)


def _small(xp: Any, instance: Named) -> Named:
    epsilon = float(instance["epsilon"])
    return _codebook(instance["n"], math.log2(instance["M"]), epsilon, epsilon - small_weight(instance))


def large_at(xp: Any, theta: Any) -> Named:
    """log2 M, n and epsilon."""
    return {"log2_M": int(theta[0]), "n": int(2.0 ** theta[1]), "epsilon": float(theta[2])}


def _large(xp: Any, instance: Named) -> Named:
    n, log2_M, epsilon = int(instance["n"]), float(instance["log2_M"]), float(instance["epsilon"])
    return _codebook(n, log2_M, epsilon, epsilon - best_agreement(n, log2_M, epsilon)[0])


def window_at(xp: Any, theta: Any, most: float = MOST_DRAWS) -> Named:
    """log2 M, n in the window of the closed form (or the first number beyond its start), epsilon^2 = L/(2n)."""
    log2_M = int(theta[0])
    L = log2_M * LN2
    start, end = math.ceil(L / 2.0), min(2.0 ** (log2_M / 2.0) * L / 8.0, most)
    n = max(start, int(math.exp(math.log(start) + theta[1] * max(math.log(end / start), 0.0))))
    return {"log2_M": log2_M, "n": n, "epsilon": math.sqrt(L / (2.0 * n))}


def _window_walk_at(xp: Any, theta: Any) -> Named:
    n, M = WINDOW_WALKS[min(int(theta[0]), len(WINDOW_WALKS) - 1)]
    return {"codebook": "random", "n": n, "M": M, "epsilon": math.sqrt(math.log(M) / (2.0 * n))}


def _tanh_at(xp: Any, theta: Any) -> Named:
    """log2 M, n, the multiple of sqrt(L/n) in the tanh."""
    return {"log2_M": int(theta[0]), "n": int(2.0 ** theta[1]), "theta": float(theta[2])}


def _tanh(xp: Any, instance: Named) -> Named:
    n, log2_M, multiple = int(instance["n"]), float(instance["log2_M"]), float(instance["theta"])
    L = log2_M * LN2
    epsilon = math.tanh(multiple * math.sqrt(L / n))
    cut = n * epsilon + 2.0 * math.sqrt(n) * L**0.25
    regret = epsilon - best_agreement(n, log2_M, epsilon)[0]
    return _codebook(n, log2_M, epsilon, regret) | {"theta": multiple, "K": math.floor((cut + n) / 2.0)}


def _law_at(xp: Any, theta: Any) -> Named:
    """Returns H/2 +- a, H/2 +- b, H/2 and a share of the largest epsilon."""
    n, M = LAWS[min(int(theta[0]), len(LAWS) - 1)]
    offsets, p = _symmetric(np, theta[1:6])
    sigma, rho = math.sqrt(float(p @ offsets**2)), float(np.max(np.abs(offsets)))
    law = {"returns": BUDGET / 2.0 + offsets, "base": p}
    return law | {"n": n, "M": M, "epsilon": float(theta[6]) * sigma / rho}


def _symmetric(xp: Any, theta: Any) -> tuple[Any, Any]:
    """Offsets from H/2 and masses of five traces, from two distances and three logits."""
    far, near = BUDGET / 2.0 * (0.01 + 0.99 * theta[0]), BUDGET / 2.0 * theta[1]
    offsets = xp.stack([-far, -near, 0.0 * far, near, far])
    return offsets, masses(xp, xp.stack([theta[2], theta[3], theta[4], theta[3], theta[2]]))


def _law(xp: Any, instance: Named) -> Named:
    offsets, p = instance["returns"] - BUDGET / 2.0, instance["base"]
    n, M, epsilon = int(instance["n"]), int(instance["M"]), float(instance["epsilon"])
    sigma, rho = math.sqrt(float(p @ offsets**2)), float(np.max(np.abs(offsets)))
    weight = mean_weight(signs(M, parity=False), offsets / sigma, p, n, epsilon)
    known = {"H": BUDGET, "n": n, "L": math.log(M), "log2_M": math.log2(M), "epsilon": epsilon}
    return known | {"sigma": sigma, "sigma_x": sigma, "rho": rho, "lhs": epsilon * sigma - rho * weight}


def _mirrored_at(xp: Any, theta: Any) -> Named:
    """A symmetric law, a share of the largest epsilon, and any policy of the ball."""
    offsets, p = _symmetric(xp, theta[:5])
    sigma = xp.sqrt(xp.sum(p * offsets**2))
    epsilon = theta[5] * sigma / xp.max(xp.abs(offsets))
    policy = in_ball(xp, p, masses(xp, theta[6:11]), epsilon)
    return {"returns": BUDGET / 2.0 + offsets, "base": p, "epsilon": epsilon, "policy": policy}


def _mirrored(xp: Any, instance: Named) -> Named:
    """Value, divergence and smallest density of the expert of sign 1; value and divergence of the policy."""
    r, p, epsilon, q = (instance[name] for name in ("returns", "base", "epsilon", "policy"))
    mu, sigma = moments(xp, p, r)
    f = (r - mu) / sigma
    density = 1.0 + epsilon * f
    known = {"H": BUDGET, "mu": mu, "sigma": sigma, "sigma_x": sigma, "epsilon": epsilon, "E_x[mu_x]": mu}
    known |= {"rho": xp.max(xp.abs(r - mu)), "J_expert": xp.sum(p * density * r), "J_any": xp.sum(q * r)}
    return known | {"density": xp.min(1.0 - epsilon * xp.abs(f)), "chi2_x": chi2(xp, q, p), "f": f}


def _as(name: str, letters: Callable[[Any, Named], Named]) -> Callable[[Any, Named], Named]:
    """The letters with this one as the left side."""

    def at(xp: Any, instance: Named) -> Named:
        known = letters(xp, instance)
        return known | {"lhs": known[name]}

    return at


def _squared(xp: Any, instance: Named) -> Named:
    known = _mirrored(xp, instance)
    return known | {"lhs": xp.sum(instance["base"] * (known["epsilon"] * known["f"]) ** 2)}


def _start_at(xp: Any, theta: Any) -> Named:
    """sigma, rho and n at or beyond the start of the window."""
    rho = BUDGET / 2.0 * theta[0]
    sigma = rho * theta[1]
    L = LN2 * theta[2]
    n = xp.ceil(L * rho**2 / (2.0 * sigma**2) * (1.0 + theta[3]))
    return {"rho": rho, "sigma": sigma, "log2_M": theta[2], "n": n}


def _start(xp: Any, instance: Named) -> Named:
    L = LN2 * instance["log2_M"]
    epsilon = xp.sqrt(L / (2.0 * instance["n"]))
    return {**instance, "L": L, "H": BUDGET, "epsilon": epsilon, "lhs": epsilon * instance["rho"]}


def _exponent_at(xp: Any, theta: Any) -> Named:
    """theta and a class large enough for it."""
    quarter = 4.0 * theta[0] / (1.0 - theta[0] ** 2 / 2.0) * (1.0 + theta[1])
    return {"theta": theta[0], "L": quarter**4}


def _exponent(xp: Any, instance: Named) -> Named:
    return dict(instance)


# vf-upper


def _pair_at(xp: Any, theta: Any) -> Named:
    """Returns, the expert's masses, and another policy on the way from it to any point of the simplex."""
    r, p = theta[:TRACES], masses(xp, theta[TRACES : 2 * TRACES])
    towards = masses(xp, theta[2 * TRACES : 3 * TRACES])
    return {"returns": r, "expert": p, "other": p + xp.exp(theta[-1]) * (towards - p)}


def _pair(xp: Any, instance: Named) -> Named:
    r, p, q = instance["returns"], instance["expert"], instance["other"]
    J, sigma = moments(xp, p, r)
    h = xp.sum((p - q) ** 2 / (xp.sqrt(p) + xp.sqrt(q)) ** 2) / 2.0
    return {"H": BUDGET, "sigma": sigma, "h": h, "Delta": xp.sum((q - p) * r), "J": J}


def _pair_delta(xp: Any, instance: Named) -> Named:
    """The same at the delta for which h is just allowed: two policies, one trace."""
    known = _pair(xp, instance)
    return known | {"n": 1.0, "L": LN2, "log2_M": 1.0, "delta": xp.exp(-known["h"])}


def _two_at(xp: Any, theta: Any) -> Named:
    return _pair_at(xp, theta[:-1]) | {"n": int(theta[-1])}


@functools.cache
def _counts(n: int) -> tuple[Floats, Floats]:
    """How often each of the traces is seen in n draws, shape (cases, TRACES), and the number of ways."""
    cases = [c for c in itertools.product(range(n + 1), repeat=TRACES) if sum(c) == n]
    ways = [math.factorial(n) / math.prod(math.factorial(k) for k in case) for case in cases]
    return np.array(cases, dtype=float), np.array(ways)


def _two(xp: Any, instance: Named) -> Named:
    """A class of two: the other policy is chosen if it is at least as likely; over all counts of traces."""
    p, q, n = instance["expert"], instance["other"], int(instance["n"])
    counts, ways = _counts(n)
    chances = ways * np.prod(p**counts, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.where(counts > 0, counts * (np.log(q) - np.log(p)), 0.0).sum(axis=1)
    wrong = float(chances @ (excess >= -1e-12))
    return _pair(np, instance) | {"n": n, "L": LN2, "log2_M": 1.0, "wrong": wrong}


def _cloned(xp: Any, instance: Named) -> Named:
    """The random codebook: the hypothesis that agrees most is cloned, ties the worst way; n traces, 2^log2_M experts.

    Two experts differ on half of the prompts, where the affinity of their returns is sqrt(1 - epsilon^2).
    """
    n, log2_M, epsilon = int(instance["n"]), float(instance["log2_M"]), float(instance["epsilon"])
    half = BUDGET / 2.0
    h = epsilon**2 / (1.0 + math.sqrt(1.0 - epsilon**2)) / 2.0
    known = {"H": BUDGET, "n": n, "L": log2_M * LN2, "log2_M": log2_M, "h": h, "Delta": half * epsilon}
    wrong = best_agreement(n, log2_M, epsilon)[1]
    return known | {"sigma": half * math.sqrt(1.0 - epsilon**2), "wrong": wrong}


def _traces_for_root_at(xp: Any, theta: Any) -> Named:
    """log2 M, epsilon, and n from where the first term of the bound is the larger one."""
    log2_M, epsilon = int(theta[0]), float(theta[1])
    n = math.ceil((1.0 + log2_M * LN2) * 2.0 / (1.0 - epsilon**2) * (1.0 + theta[2]))
    return {"log2_M": log2_M, "n": n, "epsilon": epsilon}


def _tail(letters: Callable[[Any, Named], Named]) -> Callable[[Any, Named], Named]:
    """P(h > t) at t just below the distance of the other policies, and the delta that this t stands for."""

    def at(xp: Any, instance: Named) -> Named:
        known = letters(xp, instance)
        others = math.log1p(-math.exp(-known["L"])) + known["L"]
        return known | {"t": known["h"], "delta": math.exp(others - known["n"] * known["h"]), "lhs": known["wrong"]}

    return at


def _mean(name: str, letters: Callable[[Any, Named], Named]) -> Callable[[Any, Named], Named]:
    """E h, or E|Delta|, over the data."""

    def at(xp: Any, instance: Named) -> Named:
        known = letters(xp, instance)
        return known | {"lhs": abs(known[name]) * known["wrong"]}

    return at


def _lower(letters: Mapping[str, Any]) -> float:
    return registered("vf-lower", letters, "n", "log2_M", "sigma", "H", "rho", "epsilon")


def _truncated(letters: Mapping[str, Any]) -> float:
    return registered("vf-lower-truncated", letters, "n", "log2_M", "sigma", "H", "rho", "epsilon", "K")


def _in_expectation(letters: Mapping[str, Any]) -> float:
    return registered("vf-upper", letters, "H", "n", "log2_M", "sigma")


def _with_probability(letters: Mapping[str, Any]) -> float:
    return registered("vf-upper", letters, "H", "n", "log2_M", "sigma", "delta")


def _one(letters: Mapping[str, Any]) -> Any:
    return 1.0


def _mu(letters: Mapping[str, Any]) -> Any:
    return letters["mu"]


def _regret(label: str, claim: str, space: Space, letters: Any, **more: Any) -> Adversary:
    return Adversary(label, claim, space, letters, scale=budget, gradient=False, **more)


WALKED = Space("random codebooks, every data set", ((0.0, float(len(WALKS))), (0.01, 1.0)), _walk_at)
PARITY = Space("parity codebooks, every data set", ((0.0, float(len(PARITIES))), (0.01, 1.0)), _parity_at)
LARGE = Space("large random codebooks, most agreeing hypothesis", ((1.0, 400.0), (0.0, 11.0), (0.01, 1.0)), large_at)
WINDOW = Space("the window of the closed form, most agreeing hypothesis", ((8.0, 400.0), (0.0, 1.0)), window_at)
WINDOW_WALKED = Space(
    "the window of the closed form, every data set", ((0.0, float(len(WINDOW_WALKS))),), _window_walk_at
)
_SYMMETRIC = Space(
    "symmetric laws, every data set",
    ((0.0, float(len(LAWS))), *spread((0.0, 1.0), 2), *spread((-6.0, 6.0), 3), (0.01, 1.0)),
    _law_at,
)
_MIRRORED = Space(
    "symmetric laws, policies of the ball",
    (*spread((0.0, 1.0), 2), *spread((-6.0, 6.0), 3), (0.01, 1.0), *spread((-7.0, 7.0), 5)),
    _mirrored_at,
)
_TANH = Space("large random codebooks, epsilon a tanh", ((1.0, 400.0), (0.0, 11.0), (0.0, 1.5)), _tanh_at)
_STARTS = Space("starts of the window", ((0.05, 1.0), (0.05, 1.0), (1.0, 64.0), (0.0, 1.0)), _start_at)
_CLASSES = Space("classes large enough", ((0.05, 1.4), (0.0, 1.0)), _exponent_at)
#: Returns, logits of the expert, logits of a point, log of the way to it.
_PAIR_BOX = (*spread((0.0, BUDGET), TRACES), *spread((-9.0, 9.0), 2 * TRACES), (-8.0, 0.0))
_PAIRS = Space("pairs of policies", _PAIR_BOX, _pair_at)
_TWO = Space("classes of two policies, every data set", (*_PAIR_BOX, (1.0, 9.99)), _two_at)
_CLONED = Space("random codebooks, ties the worst way", ((1.0, 100.0), (0.0, 11.0), (0.01, 1.0)), large_at)
_ROOT = Space("random codebooks, many traces", ((1.0, 100.0), (0.01, 0.99), (0.0, 4.0)), _traces_for_root_at)

_DENSITY = Gauge("largest drop of the density below 1 against 1", _one, drop=True)
_GAIN = Gauge("gain over mu against the gain allowed", _mu)
_SIZE = Gauge("sizes, both negative", drop=True)
_LOWER, _TRUNCATED, _UPPER = "vf-lower", "vf-lower-truncated", "vf-upper"


def _both(claim: str, wrap: Callable[[Any], Any], evaluator: Any = None) -> tuple[Adversary, ...]:
    """Attacks on a claim about cloning by classes of two and by codebooks."""
    options: dict[str, Any] = {"scale": budget, "gradient": False, "evaluator": evaluator}
    return (
        Adversary(_UPPER, claim, _TWO, wrap(_two), **options),
        Adversary(_UPPER, claim, _CLONED, wrap(_cloned), **options),
    )


ADVERSARIES = (
    Adversary(_LOWER, "expert-is-policy", _MIRRORED, _as("density", _mirrored), gauge=_DENSITY),
    Adversary(_LOWER, "expert-in-ball", _MIRRORED, _squared),
    Adversary(_LOWER, "expert-value", _MIRRORED, _mirrored, scale=budget),
    Adversary(_LOWER, "expert-is-best", _MIRRORED, _mirrored, gauge=_GAIN, scale=budget),
    _regret(_LOWER, "value", WALKED, _small, evaluator=_lower),
    _regret(_LOWER, "value", PARITY, _small, evaluator=_lower),
    _regret(_LOWER, "value", _SYMMETRIC, _law, evaluator=_lower),
    _regret(_LOWER, "value", LARGE, _large, evaluator=_lower),
    Adversary(_LOWER, "in-window", _STARTS, _start, scale=budget),
    _regret(_LOWER, "closed-form", WINDOW_WALKED, _small),
    _regret(_LOWER, "closed-form", WINDOW, _large),
    _regret(_TRUNCATED, "value", WALKED, _small, evaluator=_truncated),
    _regret(_TRUNCATED, "value", PARITY, _small, evaluator=_truncated),
    _regret(_TRUNCATED, "value", LARGE, _large, evaluator=_truncated),
    _regret(_TRUNCATED, "explicit", _TANH, _tanh),
    Adversary(_TRUNCATED, "vanishing", _CLASSES, _exponent, gauge=_SIZE),
    Adversary(_UPPER, "hellinger", _PAIRS, _pair, scale=budget),
    Adversary(_UPPER, "with-probability", _PAIRS, _pair_delta, evaluator=_with_probability, scale=budget),
    *_both("tail", _tail),
    *_both("tail-at-delta", _tail),
    *_both("error-sharp", functools.partial(_mean, "h")),
    *_both("error", functools.partial(_mean, "h")),
    *_both("in-expectation-sharp", functools.partial(_mean, "Delta")),
    *_both("in-expectation", functools.partial(_mean, "Delta"), _in_expectation),
    Adversary(_UPPER, "root", _ROOT, _mean("Delta", _cloned), scale=budget, gradient=False),
)
