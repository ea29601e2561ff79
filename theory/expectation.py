r"""Expectations as symbols: a linear operator that sympy can expand, and its value on a finite space.

A :class:`Random` symbol is a real function on one or more named spaces (``b`` the base policy's traces, ``x``
the fresh prompt, ``d`` the data, ...). ``Mean(space, f)`` is :math:`E_{space}[f]` and rewrites itself by

* linearity: :math:`E[af+bg]=aE[f]+bE[g]` for a, b that are constant on the space, and
* normalisation: :math:`E[1]=1`.

Nothing else is known of it. Every further fact (mean zero, a variance, independence) is a given of a derivation or
the conclusion of a lemma. :func:`value_on` computes any expression on a finite space by enumeration, which is how
lemmas are tested.
"""

from __future__ import annotations

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
            if not varying:
                parts.append(constant)
                changed = True
            else:
                changed = changed or constant != 1
                parts.append(constant * cls(space, sympy.Mul(*varying), evaluate=False))
        return sympy.Add(*parts) if changed or len(parts) > 1 else None

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        inner = rf"E_{{{self.args[0].name}}}\left[{printer.doprint(self.args[1])}\right]"
        return inner if exp is None else rf"{inner}^{{{exp}}}"

    def _sympystr(self, printer: Any) -> str:
        return f"E_{self.args[0].name}[{printer.doprint(self.args[1])}]"


def mean(space: str, f: sympy.Expr) -> sympy.Expr:
    """:math:`E_{space}[f]`, expanded."""
    return Mean(sympy.Symbol(space), f)


#: What a value may be: a number, or an array with one axis for each space in the order of ``axes``.
Value = Any


def value_on(
    expression: sympy.Basic,
    values: Mapping[sympy.Basic, Value],
    masses: Mapping[str, Iterable[float]] | None = None,
) -> Value:
    """``expression`` by enumeration on finite spaces.

    ``masses`` gives the probabilities of each space; ``values`` a number for each constant symbol and for each random
    one an array over its spaces in alphabetical order. Sums over an index are carried out; an indexed symbol takes the
    entry of its base's sequence (counted from 1). Returns a number, or an array where the expression varies.
    Raises ``KeyError`` for a symbol that has no value.
    """
    weights = {name: np.asarray(list(p), dtype=object) for name, p in (masses or {}).items()}
    order = sorted(weights)

    def spread(symbol: Random, array: Any) -> Any:
        shape = [weights[name].size if name in symbol.spaces else 1 for name in order]
        return np.asarray(array, dtype=object).reshape(shape)

    def walk(node: sympy.Basic, bound: Mapping[sympy.Basic, Value]) -> Any:
        if node in bound:
            return bound[node]
        if isinstance(node, sympy.Indexed):
            item = values[node.base.label][int(walk(node.indices[0], bound)) - 1]
            return spread(node.base.label, item) if isinstance(node.base.label, Random) else item
        if node in values:
            return spread(node, values[node]) if isinstance(node, Random) else values[node]
        if isinstance(node, Mean):
            name = node.args[0].name
            inner = np.asarray(walk(node.args[1], bound), dtype=object)
            axis = order.index(name)
            if inner.ndim == 0:
                return inner[()]
            shape = [1] * len(order)
            shape[axis] = -1
            return (inner * weights[name].reshape(shape)).sum(axis=axis, keepdims=True)
        if isinstance(node, sympy.Sum):
            index, low, high = node.limits[0]
            first, last = int(walk(low, bound)), int(walk(high, bound))
            terms = [walk(node.function, {**bound, index: i}) for i in range(first, last + 1)]
            return sum(terms[1:], terms[0]) if terms else 0
        if isinstance(node, sympy.Add):
            parts = [walk(a, bound) for a in node.args]
            return sum(parts[1:], parts[0])
        if isinstance(node, sympy.Mul):
            product = walk(node.args[0], bound)
            for a in node.args[1:]:
                product = product * walk(a, bound)
            return product
        if isinstance(node, sympy.Pow):
            base, power = walk(node.args[0], bound), walk(node.args[1], bound)
            return _each(lambda b: _power(b, power), base)
        if isinstance(node, sympy.Abs):
            return _each(abs, walk(node.args[0], bound))
        if isinstance(node, sympy.Max | sympy.Min):
            parts = [walk(a, bound) for a in node.args]
            pick = np.maximum if isinstance(node, sympy.Max) else np.minimum
            out = parts[0]
            for part in parts[1:]:
                out = pick(out, part)
            return out
        if isinstance(node, sympy.exp | sympy.log):
            f = math.exp if isinstance(node, sympy.exp) else math.log
            return _each(lambda v: f(float(v)), walk(node.args[0], bound))
        if isinstance(node, sympy.Integer):
            return int(node)
        if isinstance(node, sympy.Rational):
            return Fraction(int(node.p), int(node.q))
        if node.is_number:
            return float(node)
        raise KeyError(f"{node} has no value")

    found = walk(expression, {})
    return found.reshape(-1)[0] if isinstance(found, np.ndarray) and found.size == 1 else found


def _power(base: Any, power: Any) -> Any:
    if isinstance(power, int):
        return Fraction(base) ** power if isinstance(base, int) else base**power
    return float(base) ** float(power)


def _each(f: Any, value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return f(value)
    return np.asarray([f(v) for v in value.reshape(-1)], dtype=object).reshape(value.shape)
