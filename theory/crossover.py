r"""When can learning without rewards win? Never at equal base draws; against a better outside expert it can.

``garbling``. Rejection sampling from the base with the reward and dropping the labels is a function of the labelled
draws, so the best verifier-based learner (VB) is worth at least as much as the best verifier-free one (VF) on them. On
the mirrored codebook the expert's samples, too, are a garbling of VB's: of a pair {f, -f} of equal base mass output the
better one with probability :math:`(1+\varepsilon|f|)/2`, whatever was drawn (f = 0 goes through as it is). On the
family below the same holds for an expert of success :math:`p_e\le2c`: after a solved draw repeat its token with
probability :math:`p_e/c-1`, else play another; after a failed one play any other token.

**Rare-success family.** |V| = 1/c tokens, a prompt x uniform on :math:`V^M`, hypothesis j plays :math:`g_j(x)=x_j`, the
truth i gives :math:`R=H\,1\{a_1=g_i(x)\}`. The base is uniform: it solves with probability c. VB sees n labelled base
draws, VF n first tokens of an outside expert that plays :math:`g_i` with probability :math:`p_e` and every other token
equally often. With :math:`\psi_M(q)=(1-(1-q)^M)/(Mq)` and every loss counted as
:math:`(1-J/H)/(1-c)`, the chance to miss a solution that is to be had:

* VF picks the hypothesis that agrees with most tokens, ties at random, and plays it: it loses
  :math:`P_{miss}=1-\sum_kb_k[(1-q_>)^M-(1-q_\ge)^M]/(Mq_=)`, b the pmf of Bin(n, p_e), the q of Bin(n, c); for
  p_e = 1 that is :math:`1-\psi_M(c^n)`. Cloning the expert instead is worth :math:`H[c+(p_e-c)(1-P_{miss})]`.
* VB picks a random hypothesis among those that explain all labels: it loses
  :math:`E_k[1-\psi_M(q_k)]`, :math:`q_k=c^k(1-c)^{n-k}`, k ~ Bin(n, c).
* every VB loses at least :math:`S=E_k[1-\sqrt{\psi_M(q_k)}]`: for v with sum 0 on |V| tokens
  :math:`\max_av_a\le\sqrt{1-1/|V|}\,\|v\|`.

``crossover-vf-wins``: :math:`J(VF)-J(VB)\ge H(1-c)(S-P_{miss})` for every VB. For p_e = 1 it is at least
:math:`H(1-c)[(c^2+(1-c)^2)^n/4-(M-1)c^n/2]`, positive for all large n once |V| >= 3; and the labelled base draws are
then themselves a garbling of the expert's, so the best VF never loses. Sample thresholds: :math:`L/KL(p_e\|c)` for VF,
L/h(c) for VB; :math:`KL(1\|c)-h(c)=(1-c)\log((1-c)/c)`, so at c = 1/2 VF never wins.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import sympy
from numpy.typing import NDArray

from theory.chi2_ball import ANY_LAW
from theory.expectation import Random, mean
from theory.formula import Formula, Special
from theory.log_space import (
    log_binomial_pmf,
    log_of_minus_log_complement,
    loss_on_top,
    mean_reciprocal_count,
    mean_reciprocal_loss,
    truncated_root,
    xlogy_count,
)
from theory.notation import log_M
from theory.proof import Claim
from theory.relation import eq, geq, leq
from theory.symbols import H, L, M, letter
from theory.theorem import Assumption, Family, Number, Point, Theorem
from theory.verifier_free import LARGEST_SUMMED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import flint

__all__ = [
    "CROSSOVER_VF_WINS",
    "GARBLING",
    "RARE_SUCCESS",
    "Miss",
    "Region",
    "Shortfall",
    "break_even",
    "break_even_enclosure",
    "entropy",
    "kept_region",
    "log_kept_odds",
    "log_late_odds",
    "plurality_loss",
    "region",
    "region_map",
    "relative_entropy",
    "thresholds",
    "vb_least_loss",
    "vb_optimal_loss",
    "vb_random_loss",
    "vf_cloning_value",
    "vf_kept_least_loss",
    "vf_kept_loss",
    "vf_kept_optimal_loss",
    "vf_least_loss",
    "vf_loss",
    "vf_optimal_loss",
]

Floats = NDArray[np.float64]

#: Rounding of the sums, relative: one loss must exceed another by it.
_ROUNDING = 1e-9

#: Levels that an enclosure sums at most: ball arithmetic is slow.
LARGEST_ENCLOSED = 20_000


def _levels(n: int) -> Floats:
    if n > LARGEST_SUMMED:
        raise ValueError(f"n = {n}: expected at most {LARGEST_SUMMED}, the bound is a sum over n levels")
    return np.arange(n + 1, dtype=np.float64)


def _log_survival(n: int, c: float) -> Floats:
    """log q_k, k = 0..n: a wrong hypothesis explains k solved and n - k failed base draws."""
    k = _levels(n)
    return np.asarray(k * math.log(c) + xlogy_count(n - k, math.log1p(-c) if c < 1.0 else -math.inf))


def _root_loss(size: float, log_q: Floats) -> Floats:
    """1 - sqrt(psi_M(q)), without cancellation at either end."""
    loss, psi = mean_reciprocal_loss(size, log_q), mean_reciprocal_count(size, log_q)
    return np.where(psi > 0.5, loss / (1.0 + np.sqrt(psi)), 1.0 - np.sqrt(psi))


def _over(n: int, p: float, losses: Floats) -> float:
    """Mean of ``losses`` over Bin(n, p); masses that sum to 1 + 1e-16 are no gain."""
    mass = np.exp(log_binomial_pmf(n, p))
    return float(mass @ losses / mass.sum())


def _miss(size: float, n: int, c: float, p_e: float) -> float:
    if p_e == 1.0:  # every wrong hypothesis that agrees throughout ties with the truth
        return float(mean_reciprocal_loss(size, n * math.log(c)))
    _levels(n)
    return _over(n, p_e, loss_on_top(size, log_binomial_pmf(n, c)))


def _shortfall(size: float, n: int, c: float) -> float:
    return _over(n, c, _root_loss(size, _log_survival(n, c)))


def vf_loss(n: int, log2_M: float, c: float, p_e: float = 1.0) -> float:
    """P_miss: the most agreeing hypothesis, ties at random, is not the truth. Exact; any M; O(n)."""
    return _miss(log_M(log2_M), n, c, p_e)


def vf_cloning_value(n: int, log2_M: float, c: float, p_e: float = 1.0) -> float:
    """J/H of cloning the most agreeing hypothesis with the expert's noise: c + (p_e - c)(1 - P_miss)."""
    return c + (p_e - c) * (1.0 - vf_loss(n, log2_M, c, p_e))


def vf_least_loss(n: int, log2_M: float, c: float, p_e: float = 1.0) -> float:
    r"""A loss that no VF falls below; 0 where the bound is vacuous.

    For p_e = 1 it is :math:`1-\sqrt{\psi_M(c^n)}`; else 1 - B, rounded down by 1e-9, B that of ``vf-lower-truncated``
    with the likelihood ratio :math:`(p_e/c)^k((1-p_e)/(1-c))^{n-k}`.
    """
    size = log_M(log2_M)
    if p_e == 1.0:
        return float(_root_loss(size, np.array(n * math.log(c))))
    k = _levels(n)
    ratio = k * math.log(p_e / c) + (n - k) * (math.log1p(-p_e) - math.log1p(-c))
    return max(1.0 - truncated_root(size, log_binomial_pmf(n, p_e), ratio)[0] - _ROUNDING, 0.0)


def vb_random_loss(n: int, log2_M: float, c: float) -> float:
    """E_k[1 - psi_M(q_k)]: a random hypothesis among those that explain all labels. Exact; any M; O(n)."""
    return _over(n, c, mean_reciprocal_loss(log_M(log2_M), _log_survival(n, c)))


def vb_least_loss(n: int, log2_M: float, c: float) -> float:
    """S = E_k[1 - sqrt(psi_M(q_k))]: no VB loses less. Any M; O(n)."""
    return _shortfall(log_M(log2_M), n, c)


def _log_wrong(log2_M: float) -> float:
    """log(M - 1)."""
    return log_M(log2_M) + math.log1p(-(2.0**-log2_M)) if log2_M > 0.0 else -math.inf


def log_late_odds(n: int, log2_M: float, c: float) -> float:
    """log of (c^2 + (1-c)^2)^n/4 over (M-1) c^n/2: where it is positive a perfect expert's VF wins, however small S."""
    return n * (math.log(c * c + (1.0 - c) ** 2) - math.log(c)) - math.log(2.0) - _log_wrong(log2_M)


def log_kept_odds(n: int, log2_M: float, c: float) -> float:
    """log of (1 - c + c^2)^n/4 over (M-1)(c^2 + (1-c)^2)^n/2: where it is positive VB wins at equal draws, M >= 2.

    The first is at most the loss of every VF that sees the solved draws, for 1 - sqrt(psi_M(q)) >= q/4; the second at
    least that of a random consistent VB, for 1 - psi_M(q) <= (M-1)q/2.
    """
    return n * (math.log(1.0 - c + c * c) - math.log(c * c + (1.0 - c) ** 2)) - math.log(2.0) - _log_wrong(log2_M)


#: Survivors up to which the optimal learner's vote is computed; beyond, its loss is only bounded.
_SURVIVORS = 128


@functools.cache
def plurality_loss(V: int, most: int = _SURVIVORS) -> Floats:
    r"""Loss of the majority vote of m hypotheses, one of them the truth, m = 1..most, shape (most,).

    The optimal learner that is left with m candidates plays the token that most of them play: it solves with
    probability :math:`W(m)=E\max_aN_a/m`, N multinomial over the V tokens, and loses (1 - W)/(1 - c), which grows with
    m. P(max <= r) over u + v tokens mixes those over u and over v tokens binomially, so that V is halved.
    """

    def at_most(tokens: int) -> Floats:
        if tokens == 1:
            return np.array(np.arange(most + 1)[:, None] <= np.arange(most + 1)[None, :], dtype=np.float64)
        half = tokens // 2
        left = at_most(half)
        right = left if tokens == 2 * half else at_most(tokens - half)
        mixed: Floats = np.ones_like(left)
        for m in range(1, most + 1):
            mixed[m] = np.exp(log_binomial_pmf(m, half / tokens)) @ (left[: m + 1] * right[m::-1])
        return mixed

    largest = (1.0 - at_most(V)[1:]).sum(axis=1)
    losses: Floats = np.maximum((1.0 - largest / np.arange(1, most + 1)) / (1.0 - 1.0 / V), 0.0)
    losses.setflags(write=False)
    return losses


def _survivor_loss(log2_M: float, log_q: Floats, losses: Floats) -> tuple[Floats, Floats]:
    """Bounds on E loss(1 + K), K ~ Bin(M-1, q), for each q < 1: ``losses`` grow with 1 + K = 1, 2, .., at most to 1.

    M is rounded to a whole number.
    """
    j = np.arange(losses.size)
    with np.errstate(divide="ignore"):
        exact = np.log(np.maximum(round(2.0**log2_M) - 1.0 - j, 0.0)) if log2_M < 52 else None
    log_left = np.full(j.size, log_M(log2_M)) if exact is None else exact  # log(M - 1 - j)
    log_choose = np.concatenate(([0.0], np.cumsum(log_left - np.log(j + 1.0))[:-1]))
    log_cost = np.minimum(log_left[None, :] + log_of_minus_log_complement(log_q)[:, None], 700.0)
    pmf = np.exp(log_choose[None, :] + j[None, :] * log_q[:, None] - np.exp(log_cost))
    log_odds = log_q - np.log1p(-np.exp(log_q))
    ratio = np.exp(np.minimum(log_left[-1] + log_odds, 10.0)) / j.size  # of successive masses beyond: falling
    rare = ratio < 0.5
    beyond = np.where(rare, pmf[:, -1] * ratio / (1.0 - np.minimum(ratio, 0.5)), np.maximum(1.0 - pmf.sum(axis=1), 0.0))
    known = pmf @ losses
    return known + np.where(rare, 0.0, beyond * losses[-1]), known + beyond


def vf_optimal_loss(n: int, log2_M: float, c: float) -> tuple[float, float]:
    """(low, high) around the loss of the best VF for p_e = 1: the vote of all that agree throughout."""
    low, high = _survivor_loss(log2_M, np.array([n * math.log(c)]), plurality_loss(round(1.0 / c)))
    return float(low[0]), float(high[0])


def vb_optimal_loss(n: int, log2_M: float, c: float) -> tuple[float, float]:
    """(low, high) around the loss of the best VB: the vote of all hypotheses that explain the labels."""
    mass, log_q, losses = np.exp(log_binomial_pmf(n, c)), _log_survival(n, c), plurality_loss(round(1.0 / c))
    low = high = 0.0
    for start in range(0, n + 1, 4096):
        piece = slice(start, start + 4096)
        below, above = _survivor_loss(log2_M, log_q[piece], losses)
        low, high = low + float(mass[piece] @ below), high + float(mass[piece] @ above)
    return low, high


def vf_kept_loss(n: int, log2_M: float, c: float) -> float:
    """E_k[1 - psi_M(c^k)], k ~ Bin(n, c): VF that sees the solved ones of n base draws. Exact; any M; O(n)."""
    return _over(n, c, mean_reciprocal_loss(log_M(log2_M), _levels(n) * math.log(c)))


def vf_kept_least_loss(n: int, log2_M: float, c: float) -> float:
    """E_k[1 - sqrt(psi_M(c^k))]: no VF that sees the solved ones of n base draws loses less. Any M; O(n)."""
    return _over(n, c, _root_loss(log_M(log2_M), _levels(n) * math.log(c)))


def vf_kept_optimal_loss(n: int, log2_M: float, c: float) -> tuple[float, float]:
    """(low, high) around the loss of the best VF that sees the solved ones of n base draws; M is rounded."""
    size, log_q, losses = log_M(log2_M), _levels(n) * math.log(c), plurality_loss(round(1.0 / c))
    least, most = _root_loss(size, log_q), np.asarray(mean_reciprocal_loss(size, log_q))
    if size <= math.log(losses.size) + _ROUNDING:  # without a solved draw all M are left
        least[0] = most[0] = losses[round(2.0**log2_M) - 1]
    for start in range(1, n + 1, 4096):
        piece = slice(start, start + 4096)
        below, above = _survivor_loss(log2_M, log_q[piece], losses)
        least[piece], most[piece] = np.maximum(least[piece], below), np.minimum(most[piece], above)
    return _over(n, c, least), _over(n, c, most)


def entropy(c: float) -> float:
    """h(c) in nats: what one label of a base draw tells at most."""
    return -c * math.log(c) - (1.0 - c) * math.log1p(-c) if c < 1.0 else 0.0


def relative_entropy(p: float, c: float) -> float:
    """KL(p || c) of two coins in nats: what one token of the expert tells; 0 log 0 = 0."""
    if p == c:
        return 0.0
    failed = (1.0 - p) * (math.log1p(-p) - math.log1p(-c)) if p < 1.0 else 0.0
    return p * math.log(p / c) + failed


def thresholds(log2_M: float, c: float, p_e: float = 1.0) -> tuple[float, float]:
    """Numbers of traces (VF, VB) about which learning sets in: L/KL(p_e || c) and L/h(c); inf where nothing is told."""
    token, label = (log_M(log2_M) / told if told > 0.0 else math.inf for told in (relative_entropy(p_e, c), entropy(c)))
    return token, label


def break_even(c: float) -> float:
    """The p_e > c with KL(p_e || c) = h(c), 0 < c <= 1/2: a better expert's tokens tell more than labels do.

    Raises ``ValueError`` for c > 1/2, where no expert reaches it.
    """
    if not 0.0 < c <= 0.5:
        raise ValueError(f"c = {c}: expected 0 < c <= 1/2")
    if c == 0.5:
        return 1.0
    from scipy.optimize import brentq

    return float(brentq(lambda p: relative_entropy(p, c) - entropy(c), c, 1.0, xtol=1e-300, rtol=1e-15))


def break_even_enclosure(c: float, bits: int = 128) -> flint.arb:
    """A ball that contains :func:`break_even` of the float64 number c < 1/2, proved: KL(. || c) rises on (c, 1).

    Raises ``ArithmeticError`` if the signs at the ends are not proved with ``bits`` of precision.
    """
    import flint

    from theory.rigorous import precision

    found = break_even(c)
    with precision(bits):
        base, other = flint.arb(c), 1 - flint.arb(c)
        label = -base * base.log() - other * other.log()

        def excess(p: flint.arb) -> flint.arb:
            return p * (p / base).log() + (1 - p) * ((1 - p) / other).log() - label

        ends = [flint.arb(found * (1.0 - 1e-13)), flint.arb(min(found * (1.0 + 1e-13), math.nextafter(1.0, 0.0)))]
        if not (excess(ends[0]) < 0 < excess(ends[1])):
            raise ArithmeticError(f"c = {c}: no change of sign around {found} proved at {bits} bits")
        return ends[0].union(ends[1])


@dataclass(frozen=True, slots=True)
class Region:
    """What is known at one point (c, n, log2 M, p_e); values are J/H.

    ``verdict`` compares the best learners and says what makes it sure (``by``): a garbling, which orders them for every
    n and M, or the bounds; ``margin`` is the difference that the bounds certify (0 if they do not). ``vf`` and ``vb``
    enclose the best learners' values, ``vf_mle`` and ``vb_random`` are those of the two explicit ones.
    """

    verdict: Literal["VB provably better", "VF provably better", "equal", "undecided"]
    by: Literal["garbling", "bounds", "nothing"]
    margin: float
    vf: tuple[float, float]
    vb: tuple[float, float]
    vf_mle: float
    vb_random: float


def region(n: int, log2_M: float, c: float, p_e: float = 1.0) -> Region:
    """Who provably wins with n traces each, and what the best and the explicit learners are worth there.

    M is rounded to a whole number.
    Raises ``ValueError`` unless 1/c is a whole number >= 2 and c <= p_e <= 1.
    """
    V = round(1.0 / c)
    if V < 2 or abs(1.0 / c - V) > 1e-9 * V or not c <= p_e <= 1.0:
        raise ValueError(f"c = {c}, p_e = {p_e}: expected 1/c a whole number >= 2 and c <= p_e <= 1")
    log2_M = math.log2(round(2.0**log2_M)) if log2_M < 52 else log2_M
    mle, random = vf_loss(n, log2_M, c, p_e), vb_random_loss(n, log2_M, c)
    vf = vf_optimal_loss(n, log2_M, c) if p_e == 1.0 else (0.0, 1.0)
    vf = max(vf[0], vf_least_loss(n, log2_M, c, p_e)), min(vf[1], mle)
    vb = vb_optimal_loss(n, log2_M, c)
    vb = max(vb[0], vb_least_loss(n, log2_M, c)), min(vb[1], random)
    for_vb, for_vf = (low - high if high < low * (1.0 - _ROUNDING) else 0.0 for low, high in _pairs(vf, vb))
    verdict, by = _verdict(V, p_e, for_vb, for_vf)
    worth = [1.0 - (1.0 - c) * loss for loss in (*vf, *vb, mle, random)]
    return Region(
        verdict, by, (1.0 - c) * max(for_vb, for_vf), (worth[1], worth[0]), (worth[3], worth[2]), worth[4], worth[5]
    )


def kept_region(n: int, log2_M: float, c: float) -> Region:
    """:func:`region` at equal base draws: VF sees the solved ones of the n draws that VB sees labelled.

    A garbling orders the best learners; ``margin`` is how much the enclosures certify. M is rounded to a whole number.
    Raises ``ValueError`` unless 1/c is a whole number >= 2.
    """
    labelled = region(n, log2_M, c)
    log2_M = math.log2(round(2.0**log2_M)) if log2_M < 52 else log2_M
    low, high = vf_kept_optimal_loss(n, log2_M, c)
    worst = (1.0 - labelled.vb[0]) / (1.0 - c)
    margin = low - worst if worst < low * (1.0 - _ROUNDING) else 0.0
    vf = 1.0 - (1.0 - c) * high, 1.0 - (1.0 - c) * low
    mle = 1.0 - (1.0 - c) * vf_kept_loss(n, log2_M, c)
    return Region("VB provably better", "garbling", (1.0 - c) * margin, vf, labelled.vb, mle, labelled.vb_random)


def _pairs(vf: tuple[float, float], vb: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """(least loss of the one, largest of the other): where the first exceeds the second, the other one wins."""
    return (vf[0], vb[1]), (vb[0], vf[1])


def _verdict(
    V: int, p_e: float, for_vb: float, for_vf: float
) -> tuple[
    Literal["VB provably better", "VF provably better", "equal", "undecided"],
    Literal["garbling", "bounds", "nothing"],
]:
    if V == 2 and p_e == 1.0:
        return "equal", "garbling"
    if p_e * V <= 2.0:
        return "VB provably better", "garbling"
    if p_e == 1.0:
        return "VF provably better", "garbling"
    if for_vb > 0.0:
        return "VB provably better", "bounds"
    return ("VF provably better", "bounds") if for_vf > 0.0 else ("undecided", "nothing")


def region_map(
    cs: Iterable[float], ns: Iterable[int], log2_Ms: Iterable[float], p_es: Iterable[float]
) -> Iterator[tuple[tuple[float, int, float, float], Region]]:
    """((c, n, log2 M, p_e), its region) over the grid, in the order of the arguments; p_e < c is left out."""
    for c, n, log2_M, p_e in itertools.product(cs, ns, log2_Ms, p_es):
        if p_e >= c:
            yield (c, n, log2_M, p_e), region(n, log2_M, c, p_e)


def _series(x: flint.arb, coefficients: list[flint.arb]) -> flint.arb:
    """sum_i a_i x^i, |x| < 1/8, the terms left out being x^len times something in [0, 1]."""
    import flint

    total = flint.arb(0).union(flint.arb(1))
    for coefficient in reversed(coefficients):
        total = coefficient + x * total
    return total


def _ball_psi(size: flint.arb, q: flint.arb, log_rest: flint.arb) -> tuple[flint.arb, flint.arb]:
    """(1 - psi_M(q), psi_M(q)) from M = ``size`` and log(1 - q) = ``log_rest``: by series where Mq and q are small."""
    import flint

    hits = size * q
    if not (hits < 0.1 and q < 0.1):
        psi = -(size * log_rest).expm1() / hits
        return 1 - psi, psi
    powers = range(2, flint.ctx.prec // 3 + 6)
    x = -size * log_rest
    tail = _series(q, [flint.arb(1) / p for p in powers])  # (-log(1-q) - q)/q^2
    curve = _series(-x, [1 / flint.arb.fac_ui(p) for p in powers])  # (e^-x - 1 + x)/x^2
    loss = hits * curve * (x / hits) ** 2 - q * tail
    return loss, 1 - loss


def _ball_levels(n: flint.arb) -> int:
    count = int(float(n))
    if count > LARGEST_ENCLOSED:
        raise ArithmeticError(f"n = {count}: ball arithmetic sums at most {LARGEST_ENCLOSED} levels")
    return count


def _ball_pmf(n: int, p: flint.arb) -> list[flint.arb]:
    import flint

    return [flint.arb.bin_uiui(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


class Shortfall(Special):
    """S(L, n, c) = E_k[1 - sqrt(psi_M(q_k))]: the loss that no VB falls below."""

    nargs = 3

    @staticmethod
    def number(*arguments: float) -> float:
        """The sum over k in float64."""
        size, n, c = arguments
        return _shortfall(size, int(n), c)

    @staticmethod
    def ball(*arguments: flint.arb) -> flint.arb:
        """The sum over k in balls."""
        L, n, c = arguments
        count, size, total = _ball_levels(n), L.exp(), 0 * L
        for k, mass in enumerate(_ball_pmf(count, c)):
            q = c**k * (1 - c) ** (count - k)
            loss, psi = _ball_psi(size, q, (-q).log1p())
            total += mass * (loss / (1 + psi.sqrt()) if psi > 0.5 else 1 - psi.sqrt())
        return total


class Miss(Special):
    """P_miss(L, n, c, p_e): the hypothesis that agrees with most tokens, ties at random, is not the truth."""

    nargs = 4

    @staticmethod
    def number(*arguments: float) -> float:
        """The sum over the truth's agreements in float64."""
        size, n, c, p_e = arguments
        return _miss(size, int(n), c, p_e)

    @staticmethod
    def ball(*arguments: flint.arb) -> flint.arb:
        """The sum over the truth's agreements in balls."""
        L, n, c, p_e = arguments
        count, size = _ball_levels(n), L.exp()
        if p_e == 1:
            q = c**count
            return _ball_psi(size, q, (-q).log1p())[0]
        level = _ball_pmf(count, c)
        below = [0 * L, *itertools.accumulate(level)]
        above = [0 * L, *itertools.accumulate(reversed(level))][-2::-1]
        total = 0 * L
        for k, mass in enumerate(_ball_pmf(count, p_e)):
            log_alone = (size - 1) * ((-above[k]).log1p() if above[k] < 0.5 else below[k + 1].log())
            tied, fewer = level[k] / below[k + 1], below[k] / below[k + 1]
            log_fewer = (-tied).log1p() if tied < 0.5 or not k else fewer.log()
            loss = _ball_psi(size, tied, log_fewer)[0] if k else 1 - 1 / size
            total += mass * (log_alone.exp() * loss - log_alone.expm1())
        return total


_n, _c, _p_e, _epsilon = letter("n"), letter("c"), letter("p_e"), letter("epsilon")

#: Values of the best learners: VB on labelled base draws (any task; rare success), VF on what is kept of them, on the
#: mirrored codebook's expert, on an outside expert with p_e <= 2c and with p_e = 1.
J_VB, J_KEPT, J_MIRRORED, J_LABELLED, J_WEAK, J_PERFECT = sympy.symbols(
    "J_VB J_kept J_mirrored J_labelled J_weak J_perfect", real=True
)
#: Index of a draw, and of a hypothesis or token.
t, j = sympy.symbols("t j", integer=True, positive=True)
#: |f| of a pair, one of its two traces as output, the hypothesis's sign.
PAIR, OUT = sympy.Symbol("f", positive=True), sympy.IndexedBase("z", real=True)
SIGN = sympy.IndexedBase("s", real=True)
#: What was drawn, and its label (R - mu)/sigma.
DRAWN, LABEL = sympy.IndexedBase(Random("D")), sympy.IndexedBase(Random("Y"))

#: Chances that the kernel puts out |f|, and -|f|.
P_UP, P_DOWN = sympy.symbols("p_up p_down", real=True)


def mirrored_kernel(drawn: sympy.Expr, label: sympy.Expr, out: sympy.Expr) -> sympy.Expr:
    """Chance to output ``out`` of the pair to which ``drawn`` belongs: the better one with (1 + epsilon |f|)/2."""
    return (1 + _epsilon * label / drawn * out) / 2


#: Chance to repeat the token of a solved draw; after a failed one any other token.
REPEAT = _p_e / _c - 1
SMALL_STEP = leq(_epsilon * PAIR, 1)
AT_LEAST_BASE, AT_MOST_TWICE = geq(_p_e, _c), leq(_p_e, 2 * _c)

GARBLING_CLAIMS = (
    Claim("filtered", geq(J_VB, J_KEPT), "base traces kept by the reward, labels dropped, are worth no more"),
    Claim(
        "mirrored-mass",
        eq(P_UP + P_DOWN, 1),
        "what the kernel outputs is one trace of the pair",
    ),
    Claim(
        "mirrored-chance",
        geq(mirrored_kernel(PAIR, PAIR, -PAIR), 0),
        "with chances that are >= 0 where epsilon |f| <= 1",
        (SMALL_STEP,),
    ),
    Claim(
        "mirrored", geq(J_VB, J_MIRRORED), "on the mirrored codebook neither are samples of the expert", (SMALL_STEP,)
    ),
    Claim("repeat-low", geq(REPEAT, 0), "the chance to repeat is one for p_e >= c", (AT_LEAST_BASE,)),
    Claim("repeat-high", leq(REPEAT, 1), "and p_e <= 2c", (AT_MOST_TWICE,)),
    Claim(
        "weak-expert",
        geq(J_LABELLED, J_WEAK),
        "rare success: nor are those of an outside expert at most twice as good as the base",
        (AT_LEAST_BASE, AT_MOST_TWICE),
    ),
)
_NOTHING = Formula(sympy.Integer(0))


def _no_gain(point: Point) -> Number:
    return Number(_NOTHING.at(point))


GARBLING = Theorem(
    label="garbling",
    kind="lower",
    statement=r"J^*(\text{VB})-J^*(\text{VF})\ge0\quad\text{at equal base draws}",
    bounds="the best verifier-based minus the best verifier-free learner whose traces are made from base draws",
    units="tokens",
    required=("H",),
    optional=(),
    assumptions=(),
    family=ANY_LAW,
    evaluator=_no_gain,
    trivial=lambda p: -p["H"],
    source="theory notes, section 10",
    claims=GARBLING_CLAIMS,
    formulas=lambda p: (_NOTHING, dict(p)),
)

RARE_SUCCESS = Family(
    "rare success",
    "uniform prior over M hypotheses that play independent uniform tokens on a prompt; R = H for the truth's, else 0",
    lambda instance: instance.name == "rare success",
)

#: Values: VF that plays the most agreeing hypothesis, that clones it, the same for p_e = 1; any VB; a random one.
J_VF, J_CLONE, J_VF_SURE, J_ANY, J_RANDOM = sympy.symbols("J_VF J_clone J_VF1 J_VB J_random", real=True)
#: Tail and point masses of a wrong hypothesis's agreements: beyond, and at, those of the truth.
ABOVE, LEVEL = Random("q_above", "a", nonnegative=True), Random("q_level", "a", positive=True)
#: P(truth is picked | its agreements); how many wrong hypotheses explain all labels, and with what probability each.
CHANCE, K, SURVIVAL = Random("P", "a"), Random("K", "kw", nonnegative=True), Random("q", "k", positive=True)
#: Wrong hypotheses that agree with all tokens of a perfect expert.
K_SURE = Random("K_1", "w", nonnegative=True)
_sure = _c**_n
_MISS, _SHORT = Miss(L, _n, _c, _p_e), Shortfall(L, _n, _c)


def psi(size: sympy.Expr, q: sympy.Expr) -> sympy.Expr:
    """psi_M(q)."""
    return (1 - (1 - q) ** size) / (size * q)


CROSSOVER_CLAIMS = (
    Claim("vf-value", eq(J_VF, H * (1 - (1 - _c) * _MISS)), "VF that plays the most agreeing hypothesis"),
    Claim("cloning-value", eq(J_CLONE, H * (_c + (_p_e - _c) * (1 - _MISS))), "and that clones it, noise included"),
    Claim(
        "on-top",
        eq(CHANCE, ((1 - ABOVE) ** M - (1 - ABOVE - LEVEL) ** M) / (M * LEVEL)),
        "none of the others agrees more, and a fair draw among ties",
    ),
    Claim("vf-perfect", eq(J_VF_SURE, H * (_c + (1 - _c) * psi(M, _sure))), "against a perfect expert, p_e = 1"),
    Claim(
        "vb-random",
        eq(J_RANDOM, H * (_c + (1 - _c) * mean("k", psi(M, SURVIVAL)))),
        "VB that plays a random hypothesis among those that explain the labels",
    ),
    Claim("vb-upper", leq(J_ANY, H * (1 - (1 - _c) * _SHORT)), "no VB is worth more"),
    Claim(
        "vb-closed",
        leq(J_ANY, H * (_c + (1 - _c) * (sympy.sqrt(_c) + sympy.sqrt(1 - _c)) ** _n / sympy.sqrt(M))),
        "the same in closed form",
    ),
    Claim("advantage", geq(J_VF - J_ANY, H * (1 - _c) * (_SHORT - _MISS)), "VF minus any VB"),
    Claim(
        "late",
        geq(
            J_VF_SURE - J_ANY,
            H * (1 - _c) * ((_c**2 + (1 - _c) ** 2) ** _n / 4 - (M - 1) * _sure / 2),
        ),
        "with a perfect expert VF wins for all large n if |V| >= 3",
    ),
    Claim(
        "perfect-expert",
        geq(J_PERFECT, J_LABELLED),
        "and the best VF never loses then: labelled base draws are a garbling of the expert's",
    ),
    Claim(
        "break-even",
        eq(
            -sympy.log(_c) - (-_c * sympy.log(_c) - (1 - _c) * sympy.log(1 - _c)),
            (1 - _c) * sympy.log((1 - _c) / _c),
        ),
        "KL(1 || c) - h(c): a perfect expert's token tells more than a label exactly if c < 1/2",
    ),
)
_ADVANTAGE = Formula(CROSSOVER_CLAIMS[7].relation.rhs)


def _whole(point: Point) -> float:
    inverse = 1.0 / point["c"]
    return 0.0 - abs(inverse - max(round(inverse), 2))


def _filled(point: Point) -> dict[str, float]:
    return {"p_e": 1.0, **point}


def _advantage(point: Point) -> Number:
    filled = _filled(point)
    n, log2_M, c, p_e = int(filled["n"]), filled["log2_M"], filled["c"], filled["p_e"]
    miss, least = vf_loss(n, log2_M, c, p_e), vb_least_loss(n, log2_M, c)
    needed = zip(("vf_threshold", "vb_threshold"), thresholds(log2_M, c, p_e), strict=True)
    extras = {"P_miss": miss, "S": least} | {name: traces for name, traces in needed if math.isfinite(traces)}
    return Number(_ADVANTAGE.at(filled), extras)


CROSSOVER_VF_WINS = Theorem(
    label="crossover-vf-wins",
    kind="lower",
    statement=(
        r"J(\text{VF})-J(\text{VB})\ge H(1-c)\Bigl(E_k\bigl[1-\sqrt{\psi_M(c^k(1-c)^{n-k})}\bigr]-P_{miss}\Bigr),"
        r"\quad k\sim\mathrm{Bin}(n,c)"
    ),
    bounds="VF with n tokens of an outside expert minus any VB with n labelled base draws, on the rare-success family",
    units="tokens",
    required=("H", "n", "log2_M", "c"),
    optional=("p_e",),
    assumptions=(
        Assumption("1/c = |V| is a whole number >= 2", _whole, lambda p: 1.0 / p["c"]),
        Assumption("p_e >= c", lambda p: p.get("p_e", 1.0) - p["c"]),
    ),
    family=RARE_SUCCESS,
    evaluator=_advantage,
    trivial=lambda p: 0.0,
    source="theory notes, section 10",
    meanings={
        "c": "chance that the base solves a prompt, 1/|V|",
        "p_e": "chance that the outside expert solves a prompt; 1 if not given",
        "n": "traces of each learner",
    },
    claims=CROSSOVER_CLAIMS,
    formulas=lambda p: (_ADVANTAGE, _filled(p)),
)
