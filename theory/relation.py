r"""Relations between symbolic expressions, and the two questions a derivation asks of sympy.

A :class:`Relation` is :math:`l\le r`, :math:`l\ge r` or :math:`l=r`. Its *slack* is the expression that it says is
nonnegative (zero for an equality). :func:`is_zero` and :func:`is_nonnegative` answer True only if sympy proves it:
"cannot tell" is False.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import sympy

from theory.expectation import Mean, Random

__all__ = [
    "Relation",
    "bound_letters",
    "eq",
    "geq",
    "is_continuous",
    "is_nonnegative",
    "is_positive",
    "is_zero",
    "leq",
    "may_vanish",
    "put_in",
]

Operator = Literal["<=", ">=", "="]
_LATEX: Mapping[str, str] = {"<=": r"\le", ">=": r"\ge", "=": "="}


@dataclass(frozen=True, slots=True)
class Relation:
    """``lhs op rhs`` between two sympy expressions."""

    lhs: sympy.Expr
    op: Operator
    rhs: sympy.Expr

    @property
    def slack(self) -> sympy.Expr:
        """What is nonnegative (zero if ``op`` is ``=``): rhs - lhs, or lhs - rhs for ``>=``."""
        return self.lhs - self.rhs if self.op == ">=" else self.rhs - self.lhs

    def subs(self, replacements: Mapping[sympy.Basic, sympy.Expr]) -> Relation:
        """The same relation with every key replaced at once, expectations expanded anew.

        Not by sympy's ``subs``: its placeholders are constants on every space, and an expectation of one would vanish.
        """
        exchange = {key: sympy.sympify(value) for key, value in replacements.items()}
        return Relation(self.lhs.xreplace(exchange), self.op, self.rhs.xreplace(exchange))

    def same_as(self, other: Relation) -> bool:
        """Both sides are provably equal and the sign is the same."""
        if self == other:
            return True
        if self.op != other.op or _differ(self.lhs, other.lhs) or _differ(self.rhs, other.rhs):
            return False
        return is_zero(self.lhs - other.lhs) and is_zero(self.rhs - other.rhs)

    def latex(self, names: Mapping[sympy.Symbol, str] | None = None) -> str:
        """The relation in LaTeX."""
        left, right = (sympy.latex(side, symbol_names=dict(names or {})) for side in (self.lhs, self.rhs))
        return f"{left} {_LATEX[self.op]} {right}"

    def __str__(self) -> str:
        """The relation in one line of plain text."""
        return f"{self.lhs} {self.op} {self.rhs}"


def leq(lhs: sympy.Expr, rhs: sympy.Expr) -> Relation:
    """lhs <= rhs."""
    return Relation(sympy.sympify(lhs), "<=", sympy.sympify(rhs))


def geq(lhs: sympy.Expr, rhs: sympy.Expr) -> Relation:
    """lhs >= rhs."""
    return Relation(sympy.sympify(lhs), ">=", sympy.sympify(rhs))


def eq(lhs: sympy.Expr, rhs: sympy.Expr) -> Relation:
    """lhs = rhs."""
    return Relation(sympy.sympify(lhs), "=", sympy.sympify(rhs))


def is_zero(expression: sympy.Expr, where: Iterable[Relation] = ()) -> bool:
    """True if sympy proves ``expression`` zero once the cited equalities are put in (in order, left by right).

    An equality with a free index holds for every value of it, so it is put in under sums over that index too.
    """
    expression = sympy.sympify(expression)
    for equality in where:
        expression = put_in(expression, equality)
    if expression == 0 or sympy.expand(expression) == 0:
        return True
    at_a_point = _sample(expression)
    if at_a_point is not None and abs(at_a_point) > (_INTEGRATED if expression.has(sympy.Integral) else _CLEARLY):
        return False  # no proof can succeed: do not search for one
    attempts = (_powers, sympy.simplify, lambda e: sympy.simplify(_powers(e)))
    return any(attempt(expression) == 0 for attempt in attempts)


#: A value at the sample point beyond this is no rounding of zero (it is computed to twenty digits).
_CLEARLY = 1e-12
#: The same where an integral was computed by quadrature.
_INTEGRATED = 1e-5


def _differ(one: sympy.Expr, other: sympy.Expr) -> bool:
    """Their values at the sample point differ: they are certainly not equal."""
    a, b = _sample(one), _sample(other)
    rounding = _INTEGRATED if one.has(sympy.Integral) or other.has(sympy.Integral) else _CLEARLY
    return a is not None and b is not None and abs(a - b) > rounding * (1 + abs(a))


@functools.lru_cache(maxsize=65536)
def _sample(expression: sympy.Expr) -> sympy.Expr | None:
    """``expression`` at a fixed point in the domain of its letters, to twenty digits; None if it has no value there.

    Each letter gets a number from its name: a whole one in 2..6, or one in (0.05, 0.45). An expectation or a function
    without a closed form counts as a letter, an indexed letter as one for each index; sums are carried out.
    """
    try:
        value = _value(expression, {}).evalf(20)
    except _NoValueError:
        return None
    return value if value.is_number and value.is_finite and not value.has(sympy.nan, sympy.zoo) else None


class _NoValueError(Exception):
    """There is an integral, or a sum without whole limits."""


def _value(node: sympy.Basic, bound: Mapping[sympy.Basic, sympy.Basic]) -> sympy.Expr:
    if node in bound:
        return bound[node]
    if node.is_Number or node.is_NumberSymbol:
        return node
    if isinstance(node, sympy.Sum | sympy.Product):
        return _carried_out(node, bound)
    if isinstance(node, sympy.Integral):
        return _integrated(node, bound)
    if isinstance(node, sympy.Derivative | sympy.Limit):
        raise _NoValueError
    opaque = isinstance(node, sympy.Function) and not isinstance(node, _KNOWN)
    if isinstance(node, sympy.Symbol | sympy.Indexed) or opaque:
        inner = node.xreplace(dict(bound))
        number = zlib.crc32(str(inner).encode())
        return sympy.Integer(2 + number % 5) if inner.is_integer else sympy.Rational(50 + number % 397, 1000)
    value = node.func(*(_value(part, bound) for part in node.args))
    return value if value.is_Rational else value.evalf(25)


def _integrated(node: sympy.Integral, bound: Mapping[sympy.Basic, sympy.Basic]) -> sympy.Expr:
    """Gauss-Legendre quadrature, good to far more digits than :data:`_INTEGRATED` for the smooth integrands here."""
    if len(node.limits) != 1 or len(node.limits[0]) != 3:
        raise _NoValueError
    variable, *ends = node.limits[0]
    low, high = (_value(end, bound) for end in ends)
    if not (low.is_finite and high.is_finite):
        raise _NoValueError
    points, weights = _nodes()
    half = (high - low) / 2
    return sympy.Add(
        *(
            w * half * _value(node.function, {**bound, variable: low + half * (1 + x)})
            for x, w in zip(points, weights, strict=True)
        )
    )


@functools.cache
def _nodes() -> tuple[list[sympy.Float], list[sympy.Float]]:
    from sympy.integrals.quadrature import gauss_legendre

    points, weights = gauss_legendre(16, 20)
    return list(points), list(weights)


def _carried_out(node: sympy.Sum | sympy.Product, bound: Mapping[sympy.Basic, sympy.Basic]) -> sympy.Expr:
    if len(node.limits) != 1:
        raise _NoValueError
    index, low, high = node.limits[0]
    first, last = _value(low, bound), _value(high, bound)
    if not (first.is_Integer and last.is_Integer):
        raise _NoValueError
    terms = [_value(node.function, {**bound, index: sympy.Integer(i)}) for i in range(int(first), int(last) + 1)]
    return sympy.Add(*terms) if isinstance(node, sympy.Sum) else sympy.Mul(*terms)


_KNOWN = (
    sympy.exp,
    sympy.log,
    sympy.Abs,
    sympy.Max,
    sympy.Min,
    sympy.sign,
    sympy.binomial,
    sympy.factorial,
    sympy.cosh,
    sympy.sinh,
    sympy.tanh,
)
#: An expression with one of these gets no value at the sample point.
_UNSAMPLED = (
    sympy.Sum,
    sympy.Product,
    sympy.Integral,
    sympy.Derivative,
    sympy.Limit,
    sympy.Indexed,
    sympy.KroneckerDelta,
)


def put_in(expression: sympy.Expr, equality: Relation) -> sympy.Expr:
    """``expression`` with the left side of ``equality`` replaced by its right side, under sums and integrals too."""
    replaced = expression.subs(equality.lhs, equality.rhs)
    return replaced.replace(
        lambda node: isinstance(node, sympy.Sum | sympy.Product | sympy.Integral),
        lambda node: node.func(node.function.subs(equality.lhs, equality.rhs), *node.limits),
    )


def _powers(expression: sympy.Expr) -> sympy.Expr:
    """Logarithms and powers of positive symbols taken apart, roots out of denominators, one fraction."""
    apart = sympy.expand_power_base(sympy.expand_log(sympy.expand(expression)))
    return sympy.expand(sympy.radsimp(sympy.powsimp(sympy.together(sympy.powdenest(apart)))))


def is_nonnegative(expression: sympy.Expr, positive: Iterable[sympy.Symbol] = ()) -> bool:
    """True if sympy proves ``expression`` >= 0 from the signs of its symbols; those in ``positive`` are > 0."""
    return any(form.is_nonnegative is True for form in _forms(expression, positive))


def is_positive(expression: sympy.Expr, positive: Iterable[sympy.Symbol] = ()) -> bool:
    """True if sympy proves ``expression`` > 0 from the signs of its symbols; those in ``positive`` are > 0."""
    return any(form.is_positive is True for form in _forms(expression, positive))


def _forms(expression: sympy.Expr, positive: Iterable[sympy.Symbol]) -> Iterable[sympy.Expr]:
    expression = sympy.sympify(expression)
    stronger = {letter: _positive_twin(letter) for letter in positive}
    expression = expression.xreplace(stronger)
    yield expression
    yield sympy.factor(expression)
    yield sympy.simplify(expression)


def _positive_twin(letter: sympy.Symbol) -> sympy.Symbol:
    """The letter with a positive sign; a random one varies where it did."""
    signs = {"positive": True} | ({"integer": True} if letter.is_integer else {})
    if isinstance(letter, Random):
        return Random(f"{letter.name} > 0", "".join(sorted(letter.spaces)), **signs)
    return sympy.Symbol(f"{letter.name} > 0", **signs)


def may_vanish(expression: sympy.Expr, positive: Iterable[sympy.Symbol] = ()) -> frozenset[sympy.Expr]:
    """What ``expression`` divides by, or takes the logarithm of, and the signs of its letters do not keep from 0."""
    letters = tuple(positive)
    found = set()
    for node in sympy.preorder_traversal(expression):
        if isinstance(node, sympy.Pow) and not is_nonnegative(node.exp, letters):
            found.add(node.base)
        elif isinstance(node, sympy.log):
            found.add(node.args[0])
    return frozenset(part for part in found if not _never_zero(part, letters))


def _never_zero(expression: sympy.Expr, positive: Iterable[sympy.Symbol]) -> bool:
    spelled = expression.rewrite(sympy.exp) if expression.has(sympy.tanh) else expression
    return any(form.is_zero is False for form in _forms(spelled, positive))


def is_continuous(expression: sympy.Expr, letter: sympy.Symbol, positive: Iterable[sympy.Symbol] = ()) -> bool:
    """True if ``expression`` is proved a continuous function of ``letter`` on all of the domain that its sign states.

    Sums, products, extrema, exponentials and hyperbolic functions; powers and logarithms of what is proved to stay
    where they are continuous.
    """
    letters = tuple(positive)

    def continuous(node: sympy.Basic) -> bool:
        if letter not in node.free_symbols or node == letter:
            return True
        if isinstance(node, sympy.Pow):
            base, power = node.args
            if letter in power.free_symbols:
                return letter not in base.free_symbols and is_positive(base, letters) and continuous(power)
            risen = is_nonnegative(power, letters) and (power.is_integer is True or is_nonnegative(base, letters))
            return continuous(base) and (risen or is_positive(base, letters))
        if isinstance(node, sympy.log):
            return continuous(node.args[0]) and is_positive(node.args[0], letters)
        return isinstance(node, _CONTINUOUS) and all(continuous(part) for part in node.args)

    return continuous(expression)


_CONTINUOUS = (
    sympy.Add,
    sympy.Mul,
    sympy.exp,
    sympy.Abs,
    sympy.Max,
    sympy.Min,
    sympy.sinh,
    sympy.cosh,
    sympy.tanh,
)


def bound_letters(expression: sympy.Basic) -> frozenset[sympy.Symbol]:
    """Indices of sums and products, variables of integrals, names of the spaces of expectations."""
    sums = expression.atoms(sympy.Sum, sympy.Product, sympy.Integral)
    indices = {limit[0] for node in sums for limit in node.limits}
    return frozenset(indices | {node.args[0] for node in expression.atoms(Mean)})
