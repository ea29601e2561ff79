r"""Expectations as symbols: a linear operator that sympy can expand, and its value on a finite space.

A :class:`Random` symbol is a real function on one or more named spaces (``b`` the base policy's traces, ``x``
the fresh prompt, ``d`` the data, ...). ``Mean(space, f)`` is :math:`E_{space}[f]` and rewrites itself by

* linearity: :math:`E[af+bg]=aE[f]+bE[g]` for a, b that are constant on the space, also through finite sums, and
* normalisation: :math:`E[1]=1`.

Nothing else is known of it. Every further fact (mean zero, a variance, independence) is a given of a derivation or
the conclusion of a lemma. :func:`value_on` computes any expression on a finite space by enumeration, which is how
lemmas are tested.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

__all__ = ["Mean", "Random", "mean", "spaces_of", "value_on"]


class Random(sympy.Symbol):  # type: ignore[misc]
    """A random variable: a real function on the named ``spaces`` (letters of one word, ``"b"`` or ``"bx"``)."""

    __slots__ = ("spaces",)
    spaces: frozenset[str]

    def __new__(cls, name: str, spaces: str = "b", **assumptions: bool) -> Random:
        """A symbol that no expectation over one of ``spaces`` takes for a constant; real unless said otherwise."""
        made: Random = sympy.Symbol.__xnew__(cls, name, **({"real": True} | assumptions))
        made.spaces = frozenset(spaces)
        return made

    def _hashable_content(self) -> tuple[Any, ...]:
        return (*super()._hashable_content(), tuple(sorted(self.spaces)))


def spaces_of(expression: sympy.Basic) -> frozenset[str]:
    """The spaces on which ``expression`` still varies; an expectation removes its own."""
    if isinstance(expression, Random):
        return expression.spaces
    if isinstance(expression, Mean):
        return spaces_of(expression.args[1]) - {expression.args[0].name}
    found: frozenset[str] = frozenset()
    for part in expression.args:
        found |= spaces_of(part)
    return found


class Mean(sympy.Function):  # type: ignore[misc]
    """``Mean(space, f)``: the expectation of ``f`` over ``space`` (a name), linear and normalised."""

    is_real = True

    @classmethod
    def eval(cls, space: sympy.Symbol, f: sympy.Expr) -> sympy.Expr | None:
        """Pull constants out, split sums; ``None`` where nothing is left to do."""
        name = space.name
        expanded = sympy.expand(f)
        parts: list[sympy.Expr] = []
        changed = expanded != f
        for term in sympy.Add.make_args(expanded):
            factors = sympy.Mul.make_args(term)
            varying = [a for a in factors if name in spaces_of(a)]
            constant = sympy.Mul(*(a for a in factors if name not in spaces_of(a)))
            sums = [a for a in varying if isinstance(a, sympy.Sum)]
            if not varying:
                parts.append(constant)
                changed = True
            elif len(sums) == 1 and _fixed_length(name, sums[0]):  # E of a finite sum is the sum of the E
                others = sympy.Mul(*(a for a in varying if a is not sums[0]))
                inner, limits = _apart(sums[0], others.free_symbols | constant.free_symbols)
                parts.append(constant * sympy.Sum(cls(space, others * inner), *limits))
                changed = True
            else:
                changed = changed or constant != 1
                parts.append(constant * cls(space, sympy.Mul(*varying), evaluate=False))
        return sympy.Add(*parts) if changed or len(parts) > 1 else None

    def _eval_derivative(self, letter: sympy.Symbol) -> sympy.Expr:
        """Derivative and expectation exchange (spaces are finite), unless the letter varies on the space."""
        space, f = self.args
        if space.name in spaces_of(letter):
            return sympy.Derivative(self, letter, evaluate=False)
        return type(self)(space, sympy.diff(f, letter))

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        inner = rf"E_{{{self.args[0].name}}}\left[{printer.doprint(self.args[1])}\right]"
        return inner if exp is None else rf"{inner}^{{{exp}}}"

    def _sympystr(self, printer: Any) -> str:
        return f"E_{self.args[0].name}[{printer.doprint(self.args[1])}]"


def _fixed_length(space: str, total: sympy.Sum) -> bool:
    """The limits are finite and do not vary on the space."""
    ends = [end for _, *limits in total.limits for end in limits]
    return all(space not in spaces_of(end) and not end.is_infinite for end in ends)


def _apart(total: sympy.Sum, taken: set[sympy.Symbol]) -> tuple[sympy.Expr, list[tuple[sympy.Basic, ...]]]:
    """Summand and limits of ``total``, indices that are ``taken`` renamed."""
    fresh = {index: sympy.Dummy(index.name, **index.assumptions0) for index, *_ in total.limits if index in taken}
    renamed = [tuple(part.xreplace(fresh) for part in limit) for limit in total.limits]
    return total.function.xreplace(fresh), renamed


def mean(space: str, f: sympy.Expr) -> sympy.Expr:
    """:math:`E_{space}[f]`, expanded."""
    return Mean(sympy.Symbol(space), f)


#: What a value may be: a number, or an array with one axis for each space in the order of ``axes``.
Value = Any


def value_on(
    expression: sympy.Basic,
    values: Mapping[sympy.Basic, Value],
    masses: Mapping[str, Iterable[Any]] | None = None,
) -> Value:
    """``expression`` by enumeration on finite spaces.

    ``masses`` gives the probabilities of each space; ``values`` a number for each constant symbol and for each random
    one an array over its spaces in alphabetical order. Sums over an index are carried out; an indexed symbol takes the
    entry of its base's sequence (counted from 1). Returns a number, or an array where the expression varies.
    Raises ``KeyError`` for a symbol that has no value.
    """
    weights = {name: np.asarray(list(p), dtype=object) for name, p in (masses or {}).items()}
    found = _Enumeration(values, weights).walk(expression, {})
    return found.reshape(-1)[0] if isinstance(found, np.ndarray) and found.size == 1 else found


Bound = Mapping[sympy.Basic, Value]


class _Enumeration:
    """The walk of :func:`value_on`: arrays of objects with one axis for each space."""

    def __init__(self, values: Mapping[sympy.Basic, Value], weights: Mapping[str, Any]) -> None:
        self.values, self.weights, self.order = values, weights, sorted(weights)

    def walk(self, node: sympy.Basic, bound: Bound) -> Any:
        if node in bound:
            return bound[node]
        if isinstance(node, sympy.Indexed):
            item = self.values[node.base.label][int(self.walk(node.indices[0], bound)) - 1]
            return self._spread(node.base.label, item) if isinstance(node.base.label, Random) else item
        if node in self.values:
            return self._spread(node, self.values[node]) if isinstance(node, Random) else self.values[node]
        if node.is_Number or node.is_NumberSymbol:
            return _number(node)
        if isinstance(node, Mean):
            return self._mean(node, bound)
        if isinstance(node, sympy.Sum):
            return self._sum(node, bound)
        parts = [self.walk(part, bound) for part in node.args]
        if isinstance(node, sympy.Pow):
            base, power = parts
            return _each(lambda b: _power(b, power), base)
        for kind, operation in _OPERATIONS.items():
            if isinstance(node, kind) and parts:
                return functools.reduce(operation, parts[1:], parts[0]) if len(parts) > 1 else operation(parts[0])
        raise KeyError(f"{node} has no value")

    def _spread(self, symbol: Random, array: Any) -> Any:
        shape = [self.weights[name].size if name in symbol.spaces else 1 for name in self.order]
        return np.asarray(array, dtype=object).reshape(shape)

    def _mean(self, node: Mean, bound: Bound) -> Any:
        inner = np.asarray(self.walk(node.args[1], bound), dtype=object)
        if inner.ndim == 0:
            return inner[()]
        axis = self.order.index(node.args[0].name)
        shape = [1] * len(self.order)
        shape[axis] = -1
        return (inner * self.weights[node.args[0].name].reshape(shape)).sum(axis=axis, keepdims=True)

    def _sum(self, node: sympy.Sum, bound: Bound) -> Any:
        index, low, high = node.limits[0]
        first, last = int(self.walk(low, bound)), int(self.walk(high, bound))
        terms = [self.walk(node.function, {**bound, index: i}) for i in range(first, last + 1)]
        return sum(terms[1:], terms[0]) if terms else 0


#: Sums, products and extrema two by two; functions of one argument entry by entry.
_OPERATIONS: Mapping[type, Any] = {
    sympy.Add: lambda x, *more: x + more[0] if more else x,
    sympy.Mul: lambda x, *more: x * more[0] if more else x,
    sympy.Max: lambda x, *more: np.maximum(x, more[0]) if more else x,
    sympy.Min: lambda x, *more: np.minimum(x, more[0]) if more else x,
    sympy.KroneckerDelta: lambda x, y: int(x == y),
    sympy.Abs: lambda x: _each(abs, x),
    sympy.exp: lambda x: _each(lambda v: math.exp(float(v)), x),
    sympy.log: lambda x: _each(lambda v: math.log(float(v)), x),
}


def _number(node: sympy.Basic) -> Value:
    if isinstance(node, sympy.Integer):
        return int(node)
    if isinstance(node, sympy.Rational):
        return Fraction(int(node.p), int(node.q))
    return float(node)


#: A root of something this little below zero is a root of zero: its argument was rounded.
_ROUNDING = 1e-12


def _power(base: Any, power: Any) -> Any:
    if isinstance(power, int):
        return Fraction(base) ** power if isinstance(base, int) else base**power
    number = float(base)
    return (0.0 if -_ROUNDING < number < 0.0 else number) ** float(power)


def _each(f: Any, value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return f(value)
    return np.asarray([f(v) for v in value.reshape(-1)], dtype=object).reshape(value.shape)
