r"""The textbook lemmas that derivations may use: at most fourteen, each stated precisely and tested on its own.

A lemma is a template: ``conclude`` builds its premises and its conclusion for given arguments, in the symbols of
:mod:`theory.expectation`. ``trial`` draws a random instance that satisfies the hypotheses, computes both sides of *that
very template* by enumeration (whole numbers and fractions wherever no root is taken), and says whether it held. A
constant changed in a template makes its trial fail.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import sympy

from theory.expectation import Random, mean, spaces_of, value_on
from theory.proof import Lemma, UnprovedError
from theory.relation import Relation, eq, geq, leq

__all__ = ["LEMMAS", "MOST", "holds_on"]

#: No more textbook lemmas than this.
MOST = 14

#: Relative rounding forgiven where a template takes roots.
_ROUNDING = 1e-12

Concluded = tuple[tuple[Relation, ...], Relation]
Conclude = Callable[..., Concluded]


def holds_on(relation: Relation, values: Mapping[sympy.Basic, Any], masses: Mapping[str, Any]) -> bool:
    """``relation`` computed on a finite space, pointwise where it varies; exact unless a root or a log is taken."""
    left, right = (value_on(side, values, masses) for side in (relation.lhs, relation.rhs))
    gap = np.asarray(right - left if relation.op != ">=" else left - right, dtype=object).reshape(-1)
    scale = max(1, *(abs(v) for v in np.asarray(left, dtype=object).reshape(-1)))
    exact = all(isinstance(v, int | Fraction) for v in gap)
    slack = 0 if exact else _ROUNDING * float(scale)
    return all(abs(v) <= slack if relation.op == "=" else v >= -slack for v in gap)


def _masses(rng: np.random.Generator, size: int) -> list[Fraction]:
    weights = [int(w) for w in rng.integers(1, 10, size)]
    return [Fraction(w, sum(weights)) for w in weights]


def _integers(rng: np.random.Generator, *shape: int, low: int = -6, high: int = 7) -> Any:
    drawn = rng.integers(low, high, shape)
    return np.vectorize(int, otypes=[object])(drawn)


def _cauchy_schwarz(space: str, a: sympy.Expr, b: sympy.Expr) -> Concluded:
    return (), leq(mean(space, a * b), sympy.sqrt(mean(space, a**2)) * sympy.sqrt(mean(space, b**2)))


def _cauchy_schwarz_trial(rng: Any, conclude: Conclude) -> bool:
    a, b = Random("A"), Random("B")
    size = int(rng.integers(1, 5))
    left = _integers(rng, size)
    right = left * int(rng.integers(-2, 3)) if rng.integers(3) == 0 else _integers(rng, size)
    return holds_on(conclude("b", a, b)[1], {a: left, b: right}, {"b": _masses(rng, size)})


def _positivity(space: str, f: sympy.Expr) -> Concluded:
    return (geq(f, 0),), geq(mean(space, f), 0)


def _positivity_trial(rng: Any, conclude: Conclude) -> bool:
    f = Random("f")
    size = int(rng.integers(1, 5))
    return _holds(conclude("b", f), {f: _integers(rng, size, low=0)}, {"b": _masses(rng, size)})


def _jensen(space: str, f: sympy.Expr) -> Concluded:
    return (geq(f, 0),), leq(mean(space, sympy.sqrt(f)), sympy.sqrt(mean(space, f)))


def _jensen_trial(rng: Any, conclude: Conclude) -> bool:
    f = Random("f", nonnegative=True)
    size = int(rng.integers(1, 5))
    drawn = _integers(rng, size, low=0) if rng.integers(3) else np.full(size, int(rng.integers(0, 9)), dtype=object)
    return _holds(conclude("b", f), {f: drawn}, {"b": _masses(rng, size)})


_i, _j = sympy.symbols("i j", integer=True, positive=True)


def _parseval(space: str, signs: sympy.IndexedBase, weights: sympy.IndexedBase, size: sympy.Expr) -> Concluded:
    if space in spaces_of(weights):
        raise UnprovedError(f"parseval: the weights {weights} vary on the space {space!r} of the signs")
    orthonormal = eq(mean(space, signs[_i] * signs[_j]), sympy.KroneckerDelta(_i, _j))
    total = sympy.Sum(signs[_j] * weights[_j], (_j, 1, size))
    return (orthonormal,), eq(mean(space, total**2), sympy.Sum(weights[_j] ** 2, (_j, 1, size)))


def _parseval_trial(rng: Any, conclude: Conclude) -> bool:
    s, w, M = Random("s", "x"), Random("w", "d"), sympy.Symbol("M", integer=True, positive=True)
    k = int(rng.integers(1, 3))
    points = list(itertools.product([0, 1], repeat=k))
    size = int(rng.integers(1, 2**k + 1))  # characters of {0,1}^k: pairwise orthonormal, not independent
    rows = [[(-1) ** sum(a * b for a, b in zip(j, x, strict=True)) for x in points] for j in points[:size]]
    outcomes = int(rng.integers(1, 4))
    values: dict[sympy.Basic, Any] = {s: rows, w: [_integers(rng, outcomes) for _ in rows], M: size}
    masses = {"x": [Fraction(1, len(points))] * len(points), "d": _masses(rng, outcomes)}
    premises, conclusion = conclude("x", sympy.IndexedBase(s), sympy.IndexedBase(w), M)
    pairs = itertools.product(range(1, size + 1), repeat=2)
    premised = all(holds_on(p, {**values, _i: i, _j: j}, masses) for i, j in pairs for p in premises)
    return premised and holds_on(conclusion, values, masses)


def _union_bound(
    space: str,
    some: sympy.Expr,
    events: sympy.IndexedBase,
    size: sympy.Expr,
    most: sympy.Expr | None = None,
) -> Concluded:
    """With ``most``, a common bound of all the probabilities, the conclusion is ``size`` times it."""
    covered = leq(some, sympy.Sum(events[_j], (_j, 1, size)))
    if most is None:
        return (covered,), leq(mean(space, some), sympy.Sum(mean(space, events[_j]), (_j, 1, size)))
    return (covered, leq(mean(space, events[_j]), most)), leq(mean(space, some), size * most)


def _union_bound_trial(rng: Any, conclude: Conclude) -> bool:
    some, event, M = Random("U", "d"), Random("I", "d"), sympy.Symbol("M", integer=True, positive=True)
    most = sympy.Symbol("q", nonnegative=True)
    size, outcomes = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    rows = [_integers(rng, outcomes, low=0, high=2) for _ in range(size)]
    if rng.integers(2):  # disjoint events: equality
        rows = [np.asarray([int(y % size == i) for y in range(outcomes)], dtype=object) for i in range(size)]
    chance = {"d": _masses(rng, outcomes)}
    largest = max(sum((p * row[y] for y, p in enumerate(chance["d"])), Fraction(0)) for row in rows)
    values = {some: np.maximum.reduce(rows), event: rows, M: size, most: largest}
    each = all(
        holds_on(premise, {**values, _j: i}, chance)
        for i in range(1, size + 1)
        for premise in conclude("d", some, sympy.IndexedBase(event), M, most)[0]
    )
    common = holds_on(conclude("d", some, sympy.IndexedBase(event), M, most)[1], values, chance)
    return each and common and _holds(conclude("d", some, sympy.IndexedBase(event), M), values, chance)


_TAIL, _t = sympy.Function("TAIL"), sympy.Symbol("t", nonnegative=True)


def _layer_cake(value: sympy.Expr, tail: sympy.Lambda, cut: sympy.Expr) -> Concluded:
    law = (eq(value, sympy.Integral(_TAIL(_t), (_t, 0, 1))), leq(_TAIL(_t), 1), leq(_TAIL(_t), tail(_t)))
    return (*law, geq(cut, 0), leq(cut, 1)), leq(value, cut + sympy.Integral(tail(_t), (_t, cut, 1)))


def _layer_cake_trial(rng: Any, conclude: Conclude) -> bool:
    """T on a grid of [0, 1) under the least m (1 - t)^n above its tail; and the law whose tail *is* (1 - t)^n."""
    power, steps = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    masses = _masses(rng, steps)
    value = sum((Fraction(i, steps) * p for i, p in enumerate(masses)), Fraction(0))
    tails = [sum(masses[i + 1 :], Fraction(0)) for i in range(steps)]  # P(T > t) on [i/steps, (i+1)/steps)
    over = [p / (1 - Fraction(i + 1, steps)) ** power for i, p in enumerate(tails[:-1])]
    least = max([Fraction(0), *over])
    cut = Fraction(int(rng.integers(0, 9)), 8)
    for mean_T, m, start in ((value, least, cut), (Fraction(1, power + 1), Fraction(1), Fraction(0))):
        tail = sympy.Lambda(_t, _rational(m) * (1 - _t) ** power)
        (law, *_), conclusion = conclude(_rational(mean_T), tail, _rational(start))
        if m == 1 and mean_T != value and sympy.simplify(law.slack.replace(_TAIL, tail).doit()) != 0:
            return False
        if not sympy.simplify(conclusion.slack.doit()) >= 0:
            return False
    return True


def _rational(q: Fraction) -> sympy.Rational:
    return sympy.Rational(q.numerator, q.denominator)


def _chernoff(space: str, event: sympy.Expr, exponent: sympy.Expr) -> Concluded:
    return (eq(event**2, event), geq(event * exponent, 0)), leq(mean(space, event), mean(space, sympy.exp(exponent)))


def _chernoff_trial(rng: Any, conclude: Conclude) -> bool:
    event, S = Random("I"), Random("S")
    size = int(rng.integers(1, 5))
    drawn = _integers(rng, size, low=-3, high=2)
    values = {S: drawn, event: np.asarray([int(v >= 0) for v in drawn], dtype=object)}
    return _holds(conclude("b", event, S), values, {"b": _masses(rng, size)})


def _independence(product: sympy.Expr, space: str, factor: sympy.Expr, n: sympy.Expr, over: str = "d") -> Concluded:
    """``over`` is the space of the n draws together, ``space`` that of one."""
    return (), eq(mean(over, product), mean(space, factor) ** n)


def _independence_trial(rng: Any, conclude: Conclude) -> bool:
    P, f, n = Random("P", "d"), Random("f"), sympy.Symbol("n", integer=True, positive=True)
    size, draws = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    drawn, masses = _integers(rng, size), _masses(rng, size)
    samples = list(itertools.product(range(size), repeat=draws))
    product = [math.prod(drawn[i] for i in sample) for sample in samples]
    chance = [math.prod((masses[i] for i in sample), start=Fraction(1)) for sample in samples]
    values = {P: product, f: drawn, n: draws}
    return _holds(conclude(P, "b", f, n), values, {"b": masses, "d": chance})


def _blackwell(value_fine: sympy.Expr, value_coarse: sympy.Expr, law: sympy.Expr, garbled: sympy.Expr) -> Concluded:
    return (eq(law, garbled),), geq(value_fine, value_coarse)


def _blackwell_trial(rng: Any, conclude: Conclude) -> bool:
    """Bayes values of a random experiment and of a random garbling of it, by enumeration."""
    hypotheses, signals, coarse, actions = (int(k) for k in rng.integers(1, 4, 4))
    prior = _masses(rng, hypotheses)
    fine = [_masses(rng, signals) for _ in range(hypotheses)]
    kernel = [_masses(rng, coarse) for _ in range(signals)]
    gain = _integers(rng, hypotheses, actions)
    blurred = [
        [sum((row[y] * kernel[y][z] for y in range(signals)), Fraction(0)) for z in range(coarse)] for row in fine
    ]

    def value(experiment: list[list[Fraction]]) -> Fraction:
        best = Fraction(0)
        for y in range(len(experiment[0])):
            best += max(
                sum((prior[h] * experiment[h][y] * gain[h, a] for h in range(hypotheses)), Fraction(0))
                for a in range(actions)
            )
        return best

    a, b, law = sympy.Symbol("a"), sympy.Symbol("b"), sympy.Symbol("law")
    return _holds(conclude(a, b, law, law), {a: value(fine), b: value(blurred), law: blurred[0][0]}, {})


def _knuth_morris_pratt(after: sympy.Expr, from_state: sympy.Expr) -> Concluded:
    return (), eq(after, from_state)


def _knuth_morris_pratt_trial(rng: Any, conclude: Conclude) -> bool:
    """Random gold and random words, the longest matching suffix found by trying every length."""
    gold = [int(a) for a in rng.integers(0, 2, int(rng.integers(1, 6)))]
    word = [int(a) for a in rng.integers(0, 2, int(rng.integers(0, 9)))]
    token = int(rng.integers(0, 3))

    def longest(tokens: list[int]) -> int:
        most = min(len(tokens), len(gold))
        return next(k for k in range(most, -1, -1) if tokens[len(tokens) - k :] == gold[:k])

    kept = longest(word)
    if kept == len(gold):  # solved: the automaton stops
        return True
    a, b = sympy.Symbol("a"), sympy.Symbol("b")
    values = {a: longest([*word, token]), b: longest([*gold[:kept], token])}
    return _holds(conclude(a, b), values, {})


def _holds(concluded: Concluded, values: Mapping[sympy.Basic, Any], masses: Mapping[str, Any]) -> bool:
    """Premises and conclusion on the instance; an instance that misses its premises is a fault of the trial."""
    premises, conclusion = concluded
    return all(holds_on(p, values, masses) for p in premises) and holds_on(conclusion, values, masses)


LEMMAS: Mapping[str, Lemma] = MappingProxyType(
    {
        lemma.label: lemma
        for lemma in (
            Lemma(
                "cauchy-schwarz",
                r"$E[AB]\le\sqrt{E[A^2]}\sqrt{E[B^2]}$ for square-integrable $A, B$ on one space",
                _cauchy_schwarz,
                _cauchy_schwarz_trial,
            ),
            Lemma("positivity", r"$f\ge0$ pointwise implies $E[f]\ge0$", _positivity, _positivity_trial),
            Lemma("jensen", r"$E[\sqrt f]\le\sqrt{E[f]}$ for $f\ge0$", _jensen, _jensen_trial),
            Lemma(
                "parseval",
                r"$E_x(\sum_j s_jw_j)^2=\sum_j w_j^2$ if $E_x[s_is_j]=\delta_{ij}$ and w is constant in x",
                _parseval,
                _parseval_trial,
            ),
            Lemma(
                "union-bound",
                r"$E[U]\le\sum_{j\le M}E[I_j]\le Mq$ if $U\le\sum_j I_j$ pointwise and every $E[I_j]\le q$;"
                r" for indicators, the probability of a union",
                _union_bound,
                _union_bound_trial,
            ),
            Lemma(
                "layer-cake",
                r"$E[T]\le u+\int_u^1 G(t)\,dt$ if $E[T]=\int_0^1P(T>t)\,dt$, $P(T>t)\le1$ and $P(T>t)\le G(t)$, and"
                r" $u\in[0,1]$",
                _layer_cake,
                _layer_cake_trial,
            ),
            Lemma(
                "chernoff",
                r"$P(A)\le E[e^S]$ for an event A on which $S\ge0$",
                _chernoff,
                _chernoff_trial,
            ),
            Lemma(
                "independence",
                r"$E\prod_{t=1}^n f(Z_t)=(E f)^n$ for n independent draws $Z_t$",
                _independence,
                _independence_trial,
                by_meaning=True,
            ),
            Lemma(
                "blackwell",
                r"an experiment is worth at least as much as any garbling of it, for every prior and every gain",
                _blackwell,
                _blackwell_trial,
                by_meaning=True,
            ),
            Lemma(
                "knuth-morris-pratt",
                r"if $y_1..y_k$ is the longest prefix of y that ends w, then the longest prefix of y that ends wa"
                r" is the longest that ends $y_1..y_ka$",
                _knuth_morris_pratt,
                _knuth_morris_pratt_trial,
                by_meaning=True,
            ),
        )
    }
)
