r"""From a symbolic expression to numbers: a float64 function and an Arb enclosure, both derived from the expression.

``Formula(expression).at(point)`` compiles the expression once (with log1p and expm1 where sympy finds them) and returns
float64. ``Formula(expression).enclose(point, bits)`` walks the same tree in ball arithmetic and returns an Arb ball
that contains the exact value at the given float64 arguments. Both take the point of a statement: names to numbers.

A letter that a point does not carry is derived: :math:`L=\log M` from ``log2_M``, :math:`s=\sigma/H`. A function
without a closed form (:class:`Special`) brings its own float64 and its own Arb implementation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy

from theory.notation import LN2

if TYPE_CHECKING:
    import flint

__all__ = ["Formula", "Special"]

Point = Mapping[str, float]


class Special(sympy.Function):  # type: ignore[misc]
    """A function of real arguments that has no closed form: subclasses give ``number`` and ``ball``."""

    is_real = True

    @staticmethod
    def number(*arguments: float) -> float:
        """The value in float64."""
        raise NotImplementedError

    @staticmethod
    def ball(*arguments: flint.arb) -> flint.arb:
        """A ball that encloses the value, at the current working precision."""
        raise NotImplementedError


def _root(x: float) -> float:
    """Square root; a negative argument that rounding or a failed assumption produced counts as 0."""
    return math.sqrt(x) if x > 0.0 else 0.0


def _log1p(node: sympy.log) -> sympy.Expr:
    """log(1 + u) as log1p(u), u left as it stands: sympy's own rule factors it, and log(1 - exp(-x)) then overflows."""
    from sympy.codegen.cfunctions import log1p

    return log1p(node.args[0] - 1)


def _exp(x: float) -> float:
    """exp, inf instead of an OverflowError."""
    return math.exp(x) if x < 709.0 else math.inf


@dataclass(frozen=True)
class Formula:
    """A number as an expression in the letters of :mod:`theory.symbols`."""

    expression: sympy.Expr

    @functools.cached_property
    def letters(self) -> tuple[sympy.Symbol, ...]:
        """Its letters by name, in alphabetical order."""
        return tuple(sorted(self.expression.free_symbols, key=lambda symbol: str(symbol.name)))

    @functools.cached_property
    def _compiled(self) -> Callable[..., float]:
        from sympy.codegen.rewriting import ReplaceOptim, expm1_opt, optimize

        log1p_opt = ReplaceOptim(lambda e: isinstance(e, sympy.log) and 1 in sympy.Add.make_args(e.args[0]), _log1p)
        special = {f.func.__name__: f.func.number for f in self.expression.atoms(Special)}
        modules: list[Any] = [special | {"sqrt": _root, "exp": _exp}, "math"]
        stable = optimize(self.expression, (log1p_opt, expm1_opt))
        function: Callable[..., float] = sympy.lambdify(self.letters, stable, modules=modules)
        return function

    def at(self, point: Point) -> float:
        """Value in float64. Raises ``KeyError`` naming a letter that the point lacks."""
        return float(self._compiled(*(_derived(symbol.name, point) for symbol in self.letters)))

    def enclose(self, point: Point, bits: int) -> flint.arb:
        """A ball around the exact value at the float64 arguments of ``point``, computed with ``bits`` of precision."""
        from theory.rigorous import enclosure

        return enclosure(self.expression, point, bits)


def _derived(name: str, point: Point) -> float:
    if name in point:
        return point[name]
    if name == "L":
        return point["log2_M"] * LN2
    if name == "s":
        return point["sigma"] / point["H"]
    raise KeyError(name)
