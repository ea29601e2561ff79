r"""Ball arithmetic: numbers that enclose the truth (Arb, through python-flint).

:func:`enclosure` walks an expression; every operation is Arb's, so the ball contains the exact value for the float64
arguments, which are exact binary fractions (``log2_M`` enters as :math:`L=\log2\cdot\log_2M`, log 2 itself enclosed).
:func:`positive_on_box` proves an expression positive on a box of rationals by bisection.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import flint
import sympy

from theory.formula import Special

__all__ = ["enclosure", "positive_on_box", "precision"]

#: Pieces of a box tried before positivity is given up.
_PIECES = 20_000


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Arb's working precision inside the block; restored afterwards."""
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


def enclosure(expression: sympy.Expr, point: Mapping[str, float], bits: int) -> flint.arb:
    """A ball around ``expression`` at ``point`` (name in code to float64, exact).

    Raises ``KeyError`` for a letter that the point lacks, ``ArithmeticError`` where nothing can be said (a division by
    a ball that contains 0).
    """
    with precision(bits):
        balls = {symbol: _argument(symbol.name, point) for symbol in expression.free_symbols}
        found = _ball(expression, balls)
        if not found.is_finite():
            raise ArithmeticError(f"{expression}: no finite enclosure at {bits} bits")
        return +found


def _argument(name: str, point: Mapping[str, float]) -> flint.arb:
    if name in point:
        return flint.arb(point[name])
    if name == "L":
        return flint.arb(point["log2_M"]) * flint.arb.const_log2()
    if name == "s":
        return flint.arb(point["sigma"]) / flint.arb(point["H"])
    raise KeyError(name)


def _ball(node: sympy.Basic, balls: Mapping[sympy.Basic, flint.arb]) -> flint.arb:
    if node in balls:
        return balls[node]
    if node.is_Number or node.is_NumberSymbol:
        return _constant(node)
    if isinstance(node, sympy.Pow):
        return _power(node, balls)
    arguments = [_ball(part, balls) for part in node.args]
    if isinstance(node, Special):
        return type(node).ball(*arguments)
    for kind, operation in _OPERATIONS.items():
        if isinstance(node, kind):
            return (
                functools.reduce(operation, arguments[1:], arguments[0])
                if len(arguments) > 1
                else operation(*arguments)
            )
    raise NotImplementedError(f"no enclosure of {type(node).__name__}")


#: How nodes are computed: sums, products and extrema two by two, functions of one argument at once.
_OPERATIONS: Mapping[type, Callable[..., flint.arb]] = {
    sympy.Add: lambda x, *more: x + more[0] if more else x,
    sympy.Mul: lambda x, *more: x * more[0] if more else x,
    sympy.Max: lambda x, *more: x.max(more[0]) if more else x,
    sympy.Min: lambda x, *more: x.min(more[0]) if more else x,
    sympy.exp: lambda x: x.exp(),
    sympy.log: lambda x: x.log(),
    sympy.Abs: abs,
}


def _constant(node: sympy.Basic) -> flint.arb:
    if isinstance(node, sympy.Rational):
        return flint.arb(flint.fmpq(int(node.p), int(node.q)))
    if node == sympy.E:
        return flint.arb(1).exp()
    if node == sympy.pi:
        return flint.arb.pi()
    raise NotImplementedError(f"no enclosure of {node}")


def _power(node: sympy.Pow, balls: Mapping[sympy.Basic, flint.arb]) -> flint.arb:
    base, exponent = node.args
    inner = _ball(base, balls)
    if exponent == sympy.Rational(1, 2):
        return _root(inner)
    if exponent == -sympy.Rational(1, 2):
        return 1 / _root(inner)
    if isinstance(exponent, sympy.Integer):
        return inner ** int(exponent)
    return inner ** _ball(exponent, balls)


def _root(ball: flint.arb) -> flint.arb:
    """Square root of a quantity known to be nonnegative: the part of the ball below 0 is cut off."""
    return ball.max(flint.arb(0)).sqrt() if ball.contains(0) else ball.sqrt()


def positive_on_box(
    expression: sympy.Expr, box: Mapping[sympy.Symbol, tuple[sympy.Rational, sympy.Rational]], bits: int = 64
) -> bool:
    """True if ``expression`` > 0 on all of ``box``, proved; False if bisection gives up or finds a piece <= 0."""
    letters = sorted(box, key=str)
    pieces = [tuple((sympy.Rational(low), sympy.Rational(high)) for low, high in (box[x] for x in letters))]
    tried = 0
    with precision(bits):
        while pieces:
            tried += 1
            if tried > _PIECES:
                return False
            piece = pieces.pop()
            balls = {x: _interval(*ends) for x, ends in zip(letters, piece, strict=True)}
            value = _ball(expression, balls)
            if value > 0:
                continue
            if value <= 0:
                return False
            widest = max(range(len(letters)), key=lambda i: piece[i][1] - piece[i][0])
            low, high = piece[widest]
            middle = (low + high) / 2
            pieces += [(*piece[:widest], half, *piece[widest + 1 :]) for half in ((low, middle), (middle, high))]
    return True


def _interval(low: sympy.Rational, high: sympy.Rational) -> flint.arb:
    ends = [flint.arb(flint.fmpq(int(end.p), int(end.q))) for end in (low, high)]
    return ends[0].union(ends[1])
