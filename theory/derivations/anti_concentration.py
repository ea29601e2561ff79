"""Proof of ``anti-concentration``: Cantelli above, heterogeneity below, and the sharper form for symmetric laws."""

from __future__ import annotations

import sympy

from theory.anti_concentration import (
    ABOVE,
    ANTI_CONCENTRATION_CLAIMS,
    AT_MOST_HALF,
    BEYOND,
    CURVATURE,
    CURVED,
    MIRRORED,
    P_S,
    REACH,
    SYMMETRIC,
    C,
    X,
    m,
)
from theory.expectation import Random, mean
from theory.proof import Cancel, Cases, Combination, Derivation, Given, Identity, Monotone, Step, Use
from theory.relation import Relation, eq, geq, leq
from theory.symbols import H, letter, s

__all__ = ["ANTI_CONCENTRATION_PROOF"]

epsilon = letter("epsilon")
#: Standardised return (R - mu)/sigma; return in shares of H (X is Y - m).
f, Y = Random("f"), Random("Y")
#: Indicators of either of the two mirrored events, and of R = H.
EITHER, FULL = Random("A"), Random("B")
#: sqrt(1 - 4 s^2), and the positive value of 1 - p_s - m where it has one.
v = sympy.Symbol("v", nonnegative=True)
k = sympy.Symbol("k_m", positive=True)
_r = sympy.Symbol("r", nonnegative=True)
_u = m + epsilon * s


def E(g: sympy.Expr) -> sympy.Expr:
    """Mean over the base policy's traces."""
    return mean("b", g)


def _claim(name: str) -> Relation:
    return next(claim.relation for claim in ANTI_CONCENTRATION_CLAIMS if claim.name == name)


def _average(name: str, g: sympy.Expr, pointwise: str, why: str) -> Step:
    return Step(name, geq(E(g), 0), Use("positivity", {"space": "b", "f": g}, (pointwise,)), why)


_squares = (1 + epsilon * f) ** 2 - ABOVE * (1 + epsilon**2) ** 2
_second = _u * Y + (1 - _u) * ABOVE - Y**2
_range = Y * (1 - Y)
_full = ABOVE - Y + H * Y * (1 - Y)
_both = epsilon**2 * s**2 * (1 - EITHER) + EITHER / 4 - X**2
_halves = ABOVE + MIRRORED - EITHER
_symmetric = _claim("symmetric").rhs

ANTI_CONCENTRATION_PROOF = Derivation(
    label="anti-concentration",
    givens=(
        Given("mass", eq(E(ABOVE), C), "c(epsilon) is the mass of the event I"),
        Given("indicator", geq(ABOVE, 0), "indicators are 0"),
        Given("indicator-at-most-1", geq(1 - ABOVE, 0), "or 1"),
        Given("standard-mean", eq(E(f), 0), "f is the standardised return"),
        Given("standard-variance", eq(E(f**2), 1), "of variance 1 (sigma > 0)"),
        Given("reached", geq(ABOVE * (f - epsilon), 0), "on I, f >= epsilon"),
        Given("at-most-half", AT_MOST_HALF, "s <= 1/2", "assumption"),
        Given("root", eq(s**2, (1 - v**2) / 4), "v stands for the root of 1 - 4 s^2", provided=AT_MOST_HALF),
        Given("reach", REACH, "epsilon s <= p_s", "assumption"),
        Given("beyond", BEYOND, "epsilon s = p_s + k", "assumption"),
        Given("share-mean", eq(E(Y), m), "m = mu/H"),
        Given("share-variance", eq(E(Y**2), s**2 + m**2), "s = sigma/H"),
        Given("share", geq(Y, 0), "returns are in [0,"),
        Given("share-at-most-1", geq(1 - Y, 0), "H]"),
        Given("above", geq(ABOVE * (Y - _u), 0), "on I the return is at least mu + epsilon sigma,"),
        Given("below", geq((1 - ABOVE) * (_u - Y), 0), "off it at most that"),
        Given("generic", eq(m, 1 - P_S - k), "the mean is below (1 - p_s) H", "case"),
        Given("extreme", leq(1 - P_S - m, 0), "the mean is at least (1 - p_s) H", "case"),
        Given("whole", geq(FULL - Y + H * Y * (1 - Y), 0), "R is whole: if R < H then H - R >= 1"),
        Given("full", geq(ABOVE - FULL, 0), "where R = H, R >= mu + epsilon sigma", provided=leq(_u, 1)),
        Given("curved", CURVED, "epsilon <= 1, and < 1 if s = 1/2", "assumption"),
        Given("symmetric", SYMMETRIC[0], "the mirrored return has the same law", "assumption"),
        Given("either", geq(_halves, 0), "|X| >= epsilon s means X or -X >= epsilon s"),
        Given("either-indicator", geq(EITHER, 0), "an indicator"),
        Given("neither", geq((1 - EITHER) * (epsilon**2 * s**2 - X**2), 0), "off A, |X| < epsilon s"),
        Given("deviation", eq(E(X**2), s**2), "X has standard deviation s"),
        Given("left", geq(m + X, 0), "R >= 0,"),
        Given("right", geq(1 - m - X, 0), "R <= H,"),
        Given("mirrored-left", SYMMETRIC[1], "and so for its mirror image", "assumption"),
        Given("mirrored-right", SYMMETRIC[2], "on both sides", "assumption"),
    ),
    steps=(
        Step(
            "squares",
            geq(_squares, 0),
            Combination(
                (
                    ((1 + epsilon * f) ** 2, "indicator-at-most-1"),
                    (epsilon**2 * (f - epsilon) ** 2, "indicator"),
                    (2 * epsilon * (1 + epsilon**2), "reached"),
                )
            ),
            "off I a square; on I both factors of a difference of squares are >= 0",
        ),
        _average("mean-squares", _squares, "squares", "1 + epsilon^2 >= c (1 + epsilon^2)^2"),
        Step(
            "cantelli",
            _claim("cantelli"),
            Combination(((1 / (1 + epsilon**2) ** 2, "mean-squares"),), ("mass", "standard-variance", "standard-mean")),
            "divide",
        ),
        Step(
            "second",
            geq(_second, 0),
            Combination(((1, "below", "share"), (1, "above", "share-at-most-1"), (1, "indicator", "share-at-most-1"))),
            "R^2 <= uR below u, and on I the rest is (1 - Y)(1 + Y - u)",
        ),
        _average("mean-second", _second, "second", "(1 - u) c >= s^2 - epsilon s m"),
        Step("range", geq(_range, 0), Combination(((1, "share", "share-at-most-1"),)), "on [0, 1]"),
        _average("bhatia-davis", _range, "range", "m (1 - m) >= s^2: Bhatia-Davis"),
        Step(
            "mean-at-least",
            geq(m, P_S),
            Combination(((1 / k, "bhatia-davis"),), ("share-variance", "share-mean", "generic", "root")),
            "(m - p_s)(1 - p_s - m) >= 0",
        ),
        Step(
            "product",
            geq((1 - _u) * (C - P_S), 0),
            Combination(
                ((1, "mean-second"), (1, "reach", "mean-at-least")),
                ("mass", "share-variance", "share-mean", "root"),
            ),
            "s^2 - e m - p_s (1 - m - e) = (p_s - e)(m - p_s)",
        ),
        Step(
            "room",
            geq(1 - _u, k),
            Combination(((1, "reach"),), ("generic", "root")),
            "1 - u = (1 - p_s - m) + (p_s - e)",
        ),
        Step("generic-mass", _claim("heterogeneity"), Cancel("product", "room"), "divide by 1 - u > 0"),
        Step(
            "excess-squared",
            leq((m - 1 + P_S) ** 2, 0),
            Combination(((1, "bhatia-davis"), (v, "extreme")), ("share-variance", "share-mean", "root")),
            "if m >= 1 - p_s, then 0 <= (m - p_s)(1 - p_s - m)",
        ),
        Step(
            "no-excess",
            leq(m - 1 + P_S, 0),
            Monotone(sympy.Lambda(_r, _r**2), "excess-squared", reflect=True),
            "so m = 1 - p_s",
        ),
        Step("threshold", leq(_u, 1), Combination(((1, "no-excess"), (1, "reach"))), "the threshold is at most H"),
        Step("full-or-between", geq(_full, 0), Combination(((1, "full"), (1, "whole"))), "ABOVE >= Y - H Y (1 - Y)"),
        _average("mean-full", _full, "full-or-between", "c >= m - H (m (1 - m) - s^2)"),
        Step(
            "extreme-mass",
            _claim("heterogeneity"),
            Combination(
                ((1, "mean-full"), (1, "extreme"), (v,), (H * v, "extreme"), (H, "extreme", "extreme")),
                ("mass", "share-variance", "share-mean", "root"),
            ),
            "where c >= m >= p_s",
        ),
        Step(
            "heterogeneity",
            _claim("heterogeneity"),
            Cases("extreme-mass", "generic-mass", ("extreme", "generic")),
            "either way",
        ),
        Step(
            "at-least-square",
            _claim("at-least-square"),
            Combination((((1 - v) ** 2 / 4,),), ("root",)),
            "p_s - s^2 = p_s^2",
        ),
        Step("two-point-spread", _claim("two-point-spread"), Identity(("root",)), "p (1 - p) = s^2"),
        Step("two-point-threshold", _claim("two-point-threshold"), Identity(("beyond",)), "its mean is (1 - p_s) H"),
        Step(
            "quarter",
            geq(sympy.Rational(1, 4) - X**2, 0),
            Combination(
                tuple(
                    (sympy.Rational(1, 4), one, other)
                    for one in ("left", "mirrored-right")
                    for other in ("right", "mirrored-left")
                )
            ),
            "a symmetric law in [0, H] deviates by at most H/2",
        ),
        Step(
            "layers",
            geq(_both, 0),
            Combination(((1, "neither"), (1, "either-indicator", "quarter"))),
            "X^2 is at most epsilon^2 s^2 off A and 1/4 on A",
        ),
        _average("mean-layers", _both, "layers", "s^2 <= epsilon^2 s^2 (1 - P) + P/4"),
        _average("mean-halves", _halves, "either", "P <= 2 c"),
        Step(
            "symmetric-product",
            geq((1 - 4 * s**2 * epsilon**2) * (C - _symmetric), 0),
            Combination(
                ((2, "mean-layers"), (CURVATURE / 2, "mean-halves"), (E(EITHER) / 2 - C, "curved")),
                ("mass", "symmetric", "deviation"),
            ),
            "put together",
        ),
        Step(
            "curvature", geq(1 - 4 * s**2 * epsilon**2, CURVATURE), Combination(((-1, "curved"),)), "the factor is > 0"
        ),
        Step("symmetric-mass", _claim("symmetric"), Cancel("symmetric-product", "curvature"), "divide"),
    ),
)
