r"""The planted-subsequence task: when a procedural policy first completes the gold, exactly.

The gold is a word :math:`y_1..y_\ell` over :math:`|V|` tokens; a trace solves at the token that completes it as a
contiguous run. Having matched k tokens (the longest prefix of the gold that ends what was emitted) the policy
:math:`\mu_\gamma` emits :math:`y_{k+1}` with probability :math:`q=e^\gamma/(e^\gamma+|V|-1)` and each other token with
:math:`o=1/(e^\gamma+|V|-1)`: high gamma is focused, low gamma wanders. The base policy draws gamma once a trace.

``planted-law``: with :math:`f_t(k)` the probability of being unsolved with k tokens matched after t, and
:math:`P(k\to k')` the moves of the Knuth-Morris-Pratt automaton,

* :math:`f_0(k)=1\{k=0\}` and :math:`f_t(k')=\sum_{k<\ell}f_{t-1}(k)P(k\to k')`,
* :math:`P(T=t)=q\,f_{t-1}(\ell-1)`, and :math:`R=(H-T+1)^+` is the return.

There are at most :math:`\ell` pairs k, k' >= 1 between which a wrong token leads, and every other wrong token leads to
0: a step costs :math:`O(\ell)`. Masses of T are the exit flow itself, never differences of survival, and probabilities
are only added, multiplied and divided: each mass is accurate relative to its own size, however small. The same
recursion serves float64, ``fractions.Fraction`` and Arb balls, whichever its probabilities are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from theory.expectation import Random
from theory.formula import Formula, Special
from theory.laws import ReturnLaw
from theory.proof import Claim
from theory.relation import eq
from theory.symbols import H, letter
from theory.theorem import Assumption, Family, Number, Point, Theorem

if TYPE_CHECKING:
    import flint

__all__ = [
    "PLANTED_LAW",
    "Automaton",
    "PlantedMean",
    "SolveTimeLaw",
    "automaton",
    "exit_flow",
    "failure_function",
    "mixture_law",
    "solve_time_law",
    "token_probabilities",
]

#: Entries are float64, or objects that add and multiply (fractions, Arb balls).
Array = NDArray[Any]


def failure_function(gold: Sequence[int]) -> tuple[int, ...]:
    """Length of the longest proper border (prefix and suffix at once) of y_1..y_k, for k = 1..ell."""
    borders = [0]
    for token in gold[1:]:
        k = borders[-1]
        while k and gold[k] != token:
            k = borders[k - 1]
        borders.append(k + 1 if gold[k] == token else 0)
    return tuple(borders)


@dataclass(frozen=True, slots=True, eq=False)
class Automaton:
    """Moves of the Knuth-Morris-Pratt automaton of a gold, states 0..ell-1: it stops when solved.

    The gold token takes k to k + 1. For each i one wrong token takes ``source[i]`` to ``target[i]`` >= 1 (targets in
    increasing order), and ``fallen[k]`` wrong tokens take k to 0.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    fallen: NDArray[np.int64]

    @property
    def length(self) -> int:
        """ell, the length of the gold."""
        return int(self.fallen.size)


def automaton(gold: Sequence[int], V: int) -> Automaton:
    """The automaton of ``gold``, a word over 0..V-1. Raises ``ValueError`` if it is empty or no such word, or V < 2."""
    if not len(gold) or V < 2 or not all(0 <= token < V for token in gold):
        raise ValueError(f"gold = {tuple(gold)}: expected at least one token, each in 0..{V - 1}, and V >= 2")
    borders = failure_function(gold)
    moves = [{gold[0]: 1}]  # from k by token, those to 0 left out
    edges = []
    for k, token in enumerate(gold[1:], 1):
        wrong = {a: j for a, j in moves[borders[k - 1]].items() if a != token}
        edges += [(j, k) for j in wrong.values()]
        moves.append({**wrong, token: k + 1})
    target, source = np.array(sorted(edges), dtype=np.int64).reshape(-1, 2).T
    return Automaton(source, target, V - 1 - np.bincount(source, minlength=len(gold)))


def exit_flow(moves: Automaton, gold: Array, other: Array, H: int) -> tuple[Array, Array]:
    """Masses of T = 1..H, shape (H, B), and of not being solved by then, shape (B,), for B policies at once.

    ``gold`` (B,): probability of the next gold token; ``other`` (B,): of each other token.
    """
    masses = np.zeros((H, gold.size), dtype=gold.dtype)
    if moves.length > H:
        return masses, np.ones(gold.size, dtype=gold.dtype)
    state = np.zeros((moves.length, gold.size), dtype=gold.dtype)
    state[0] = 1
    reached, first = np.unique(moves.target, return_index=True)
    for t in range(H):
        masses[t] = gold * state[-1]
        moved = np.empty_like(state)
        moved[0] = other * (moves.fallen @ state)
        moved[1:] = gold * state[:-1]
        if reached.size:
            moved[reached] += other * np.add.reduceat(state[moves.source], first, axis=0)
        state = moved
    return masses, state.sum(axis=0)


def token_probabilities(V: int, gamma: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """q of the next gold token and o of each other one, shapes like ``gamma``; no overflow, q + (V - 1) o = 1."""
    focus = np.asarray(gamma, dtype=np.float64)
    least = np.exp(-np.abs(focus))  # of the weights e^gamma and 1, the smaller over the larger
    up, down = np.where(focus >= 0, 1.0, least), np.where(focus >= 0, least, 1.0)
    return up / (up + (V - 1) * down), down / (up + (V - 1) * down)


@dataclass(frozen=True, slots=True, eq=False)
class SolveTimeLaw:
    """Law of the solve time: ``masses`` (H,) of T = 1..H, and ``never`` of T > H."""

    masses: NDArray[np.float64]
    never: float

    @property
    def horizon(self) -> int:
        """H, tokens."""
        return int(self.masses.size)

    @property
    def solve_rate(self) -> float:
        """P(T <= H)."""
        return float(self.masses.sum())

    @property
    def mean_return(self) -> float:
        """E R, tokens; R = (H - T + 1)^+."""
        return float(np.arange(self.horizon, 0.0, -1.0) @ self.masses)

    @property
    def sd_return(self) -> float:
        """Standard deviation of R, tokens."""
        centred = np.arange(self.horizon, 0.0, -1.0) - self.mean_return
        return math.sqrt(float(centred**2 @ self.masses) + self.never * self.mean_return**2)

    def return_law(self) -> ReturnLaw:
        """The law of R on {0, ..., H}."""
        return ReturnLaw.of(np.arange(self.horizon + 1.0), np.append(self.never, self.masses[::-1]))


def solve_time_law(gold: Sequence[int], V: int, gamma: float, H: int) -> SolveTimeLaw:
    """Law of the solve time of ``gold`` under one procedural policy. Raises ``ValueError`` as :func:`mixture_law`."""
    return mixture_law(gold, V, [gamma], [1.0], H)


def mixture_law(gold: Sequence[int], V: int, gammas: ArrayLike, weights: ArrayLike, H: int) -> SolveTimeLaw:
    """Law of the solve time where gamma is drawn once a trace, ``gammas`` (B,) with probabilities ``weights`` (B,).

    Raises ``ValueError`` if the weights are no such probabilities, H < 1, or ``gold`` is no word over 0..V-1.
    """
    focus, share = np.atleast_1d(gammas).astype(np.float64), np.atleast_1d(weights).astype(np.float64)
    if focus.shape != share.shape or focus.ndim != 1 or np.any(share < 0) or abs(share.sum() - 1.0) > 1e-9:
        raise ValueError(f"weights = {share.tolist()}: expected a probability for each of {focus.size} gammas")
    if H < 1:
        raise ValueError(f"H = {H}: expected H >= 1")
    masses, never = exit_flow(automaton(gold, V), *token_probabilities(V, focus), H)
    return SolveTimeLaw(masses @ share, float(never @ share))


def _distinct(ell: int, V: int) -> Automaton:
    """Automaton of a gold of distinct tokens: its first token is the one wrong token that does not lead to 0."""
    later = np.arange(1, ell, dtype=np.int64)
    return Automaton(later, np.ones_like(later), V - 1 - np.minimum(np.arange(ell), 1))


def _distinct_law(V: float, ell: float, gamma: float, H: float) -> SolveTimeLaw:
    """Law for a gold of distinct tokens; a longer one than H is cut, as none is completed."""
    q, o = token_probabilities(int(V), [gamma])
    masses, never = exit_flow(_distinct(int(min(ell, H + 1)), int(V)), q, o, int(H))
    return SolveTimeLaw(masses[:, 0], float(never[0]))


class PlantedMean(Special):
    """``PlantedMean(V, ell, gamma, H)``: E R for a gold of ell distinct tokens, by the recursion of this module."""

    @staticmethod
    def number(*arguments: float) -> float:
        """E R in float64, tokens."""
        return _distinct_law(*arguments).mean_return

    @staticmethod
    def ball(*arguments: flint.arb) -> flint.arb:
        """The same recursion in ball arithmetic."""
        V, ell, gamma, horizon = arguments
        gold, other = 1 / (1 + (V - 1) * (-gamma).exp()), 1 / (gamma.exp() + V - 1)
        size = _whole(horizon)
        moves = _distinct(min(_whole(ell), size + 1), _whole(V))
        masses, _ = exit_flow(moves, np.array([gold], dtype=object), np.array([other], dtype=object), size)
        return sum(((size - late) * mass for late, mass in enumerate(masses[:, 0])), 0 * gold)


def _whole(ball: flint.arb) -> int:
    """The one whole number in ``ball``."""
    found = ball.unique_fmpz()
    if found is None:
        raise ArithmeticError(f"{ball}: expected a ball around one whole number")
    return int(found)


_V, _ell, _gamma = letter("V"), letter("ell"), letter("gamma")

#: Tokens emitted and matched ones, before and after the token at t.
t = sympy.Symbol("t", integer=True, positive=True)
k, j = sympy.symbols("k j", integer=True, nonnegative=True)
#: Probability of the next gold token, and of each other token.
q, o = sympy.symbols("q o", positive=True)
#: f_t(k), P(k -> k'), P(T = t).
f, P = sympy.IndexedBase("f", nonnegative=True), sympy.IndexedBase("P", nonnegative=True)
p_T = sympy.IndexedBase("p", nonnegative=True)
#: Mean and standard deviation of the return.
MEAN, SD = sympy.symbols("mu_gamma sigma_gamma", nonnegative=True)
#: Indicators on the next token a: it takes k to j; it is the gold one; it is y_1 where y_1 is wrong.
MOVE, GOLD, FIRST = sympy.IndexedBase(Random("move", "a")), Random("gold", "a"), Random("first", "a")
_back = 1 - sympy.KroneckerDelta(k, 0)
#: In a gold of distinct tokens the longest prefix that ends y_1..y_k a is k + 1 long, or 1 if a = y_1, or empty.
DISTINCT = eq(
    MOVE[k, j],
    GOLD * sympy.KroneckerDelta(j, k + 1)
    + FIRST * _back * sympy.KroneckerDelta(j, 1)
    + (1 - GOLD - FIRST * _back) * sympy.KroneckerDelta(j, 0),
)

CLAIMS = (
    Claim("next-gold", eq(q, sympy.exp(_gamma) / (sympy.exp(_gamma) + _V - 1)), "probability of the next gold token"),
    Claim("next-other", eq(o, 1 / (sympy.exp(_gamma) + _V - 1)), "and of each other token"),
    Claim("start", eq(f[0, k], sympy.KroneckerDelta(k, 0)), "before the first token nothing is matched"),
    Claim(
        "forward",
        eq(f[t, j], sympy.Sum(f[t - 1, k] * P[k, j], (k, 0, _ell - 1))),
        "probability of being unsolved with j tokens matched after t, from those after t - 1",
    ),
    Claim("exit", eq(p_T[t], q * f[t - 1, _ell - 1]), "P(T = t): the last gold token comes when ell - 1 are matched"),
    Claim("mean", eq(MEAN, sympy.Sum((H - t + 1) * p_T[t], (t, 1, H))), "mean of the return, tokens left once solved"),
    Claim(
        "variance",
        eq(SD**2, sympy.Sum((H - t + 1) ** 2 * p_T[t], (t, 1, H)) - MEAN**2),
        "and its variance",
    ),
    Claim(
        "distinct",
        eq(
            P[k, j],
            q * sympy.KroneckerDelta(j, k + 1)
            + o * _back * sympy.KroneckerDelta(j, 1)
            + (1 - q - o * _back) * sympy.KroneckerDelta(j, 0),
        ),
        "moves for a gold of distinct tokens",
        (DISTINCT,),
    ),
    Claim(
        "value",
        eq(MEAN, PlantedMean(_V, _ell, _gamma, H)),
        "for a gold of distinct tokens: the number that this recursion gives",
        (DISTINCT,),
    ),
)
_VALUE = Formula(CLAIMS[-1].relation.rhs)


def _mean_return(point: Point) -> Number:
    law = _distinct_law(point["V"], point["ell"], point["gamma"], point["H"])
    return Number(_VALUE.at(point), {"solve_rate": law.solve_rate, "sigma": law.sd_return})


PLANTED_LAW = Theorem(
    label="planted-law",
    kind="equality",
    statement=(
        r"P(T=t)=q_\gamma\,f_{t-1}(\ell-1),\quad f_t(k')=\sum_{k<\ell}f_{t-1}(k)P(k\to k'),\quad"
        r" q_\gamma=\frac{e^\gamma}{e^\gamma+|V|-1}"
    ),
    bounds="mean return of the procedural policy on a gold of distinct tokens (beside it: solve rate, sd)",
    units="tokens",
    required=("V", "ell", "gamma", "H"),
    optional=(),
    assumptions=(
        Assumption("ell <= V (a gold of distinct tokens exists)", lambda p: p["V"] - p["ell"], lambda p: p["V"]),
    ),
    family=Family(
        "planted", "planted-subsequence task, gold of distinct tokens", lambda instance: instance.name == "planted"
    ),
    evaluator=_mean_return,
    trivial=lambda p: p["H"] * (1 + 1e-12),
    source="theory notes, section 11",
    claims=CLAIMS,
    formulas=lambda point: (_VALUE, dict(point)),
)
