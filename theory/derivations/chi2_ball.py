"""Proofs of ``chi2-expert`` and ``expert-heterogeneity``."""

from __future__ import annotations

import sympy

from theory.chi2_ball import (
    CHI2,
    CHI2_EXPERT_CLAIMS,
    CHI2_TILT,
    CHI2_TOP,
    EXPERT_HETEROGENEITY_CLAIMS,
    IN_BALL,
    J_BEST,
    J_TILT,
    J_TOP,
    P_MAX,
    R_MAX,
    R_MIN,
    REACHES_TOP,
    SIGMA_E,
    TILT,
    UNTRUNCATED,
    D,
    J,
    R,
    u,
)
from theory.expectation import Random, mean
from theory.proof import Cases, Combination, Derivation, Given, Identity, Monotone, Step, Use
from theory.relation import Relation, eq, geq, leq
from theory.symbols import H, letter

__all__ = ["CHI2_EXPERT_PROOF", "EXPERT_HETEROGENEITY_PROOF"]

mu, sigma, epsilon = letter("mu"), letter("sigma"), letter("epsilon")
t = sympy.Symbol("t", real=True)
Z = sympy.Symbol("Z", positive=True)
#: Indicator of the event R = R_max.
TOP = Random("I")
_r = sympy.Symbol("r", nonnegative=True)
_ROOT = sympy.Lambda(_r, sympy.sqrt(_r))


def E(f: sympy.Expr) -> sympy.Expr:
    """Mean over the base policy's traces."""
    return mean("b", f)


def _claim(name: str) -> Relation:
    return next(c.relation for c in (*CHI2_EXPERT_CLAIMS, *EXPERT_HETEROGENEITY_CLAIMS) if c.name == name)


X = R - mu
_gain = (D / Z - u) * (R - t) - (D / Z - u) * D

CHI2_EXPERT_PROOF = Derivation(
    label="chi2-expert",
    positive=(sigma,),
    givens=(
        Given("mean", eq(E(R), mu), "mu is the mean return of the base policy"),
        Given("variance", eq(E(R**2), sigma**2 + mu**2), "sigma is its standard deviation"),
        Given("mass", eq(E(u), 1), "u is the density of a policy"),
        Given("value-of-u", eq(E(u * R), J), "J is that policy's value"),
        Given("divergence-of-u", eq(E(u**2), 1 + CHI2), "chi2 is its divergence from the base"),
        Given("density", geq(u, 0), "densities are >= 0"),
        Given("in-ball", IN_BALL, "the policy is in the ball", "assumption"),
        Given("value-of-tilt", eq(J_TILT, E(TILT * R)), "value of the tilted policy"),
        Given("divergence-of-tilt", eq(CHI2_TILT, E((TILT - 1) ** 2)), "its divergence"),
        Given("least-return", geq(R, R_MIN), "R_min is the least return of the support"),
        Given("untruncated", UNTRUNCATED, "epsilon is small enough", "assumption"),
        Given("above", geq(D, R - t), "D = (R - t)^+ is at least R - t,"),
        Given("complementary", eq(D * (R - t), D**2), "and R - t where it is not 0"),
        Given("normaliser", eq(E(D), Z), "Z makes D/Z a density"),
        Given("boundary", eq(E(D**2), Z**2 * (1 + epsilon**2)), "t puts it on the boundary of the ball"),
        Given("value-of-best", eq(J_BEST, E(D / Z * R)), "its value"),
        Given("top-value-by-definition", eq(J_TOP, E(TOP / P_MAX * R)), "the policy of density I/P_max,"),
        Given("top-divergence", eq(CHI2_TOP, E((TOP / P_MAX) ** 2) - 1), "its divergence,"),
        Given("top-mass", eq(E(TOP**2), P_MAX), "I being the indicator of R = R_max, of base mass P_max,"),
        Given("top-return", eq(E(TOP * R), R_MAX * P_MAX), "where the return is R_max"),
        Given("reaches-top", REACHES_TOP, "kappa >= 1/P_max - 1", "assumption"),
    ),
    steps=(
        Step(
            "cauchy-schwarz",
            leq(E((u - 1) * (R - mu)), sympy.sqrt(E((u - 1) ** 2)) * sympy.sqrt(E((R - mu) ** 2))),
            Use("cauchy-schwarz", {"space": "b", "a": u - 1, "b": R - mu}),
            "what the change of density gains",
        ),
        Step("radius", leq(sympy.sqrt(CHI2), epsilon), Monotone(_ROOT, "in-ball"), "the root of the radius"),
        Step(
            "value",
            _claim("value"),
            Combination(
                ((1, "cauchy-schwarz"), (sigma, "radius")),
                ("divergence-of-u", "value-of-u", "mass", "variance", "mean"),
            ),
            "J - mu = E[(u - 1)(R - mu)], since both factors have mean 0",
        ),
        Step(
            "tilt-value",
            _claim("tilt-value"),
            Identity(("value-of-tilt", "variance", "mean")),
            "equality in Cauchy-Schwarz",
        ),
        Step(
            "tilt-in-ball",
            _claim("tilt-in-ball"),
            Identity(("divergence-of-tilt", "variance", "mean")),
            "its divergence",
        ),
        Step(
            "tilt-is-policy",
            _claim("tilt-is-policy"),
            Combination(((1 / sigma, "untruncated"), (epsilon / sigma, "least-return"))),
            "least at R_min",
        ),
        Step(
            "pointwise",
            geq(_gain, 0),
            Combination(((1, "density", "above"), (-1 / Z, "complementary"))),
            "replacing R - t by its positive part favours u and costs D/Z nothing",
        ),
        Step("gain", geq(E(_gain), 0), Use("positivity", {"space": "b", "f": _gain}, ("pointwise",)), "on average"),
        Step(
            "alignment",
            leq(E(u * D), sympy.sqrt(E(u**2)) * sympy.sqrt(E(D**2))),
            Use("cauchy-schwarz", {"space": "b", "a": u, "b": D}),
            "no density of the same norm is better aligned with D than D itself",
        ),
        Step(
            "norm",
            leq(sympy.sqrt(1 + CHI2), sympy.sqrt(1 + epsilon**2)),
            Monotone(sympy.Lambda(_r, sympy.sqrt(1 + _r)), "in-ball"),
            "norms of the two densities",
        ),
        Step(
            "best",
            _claim("best"),
            Combination(
                ((1, "gain"), (1, "alignment"), (Z * sympy.sqrt(1 + epsilon**2), "norm")),
                ("value-of-best", "divergence-of-u", "value-of-u", "boundary", "normaliser", "mass"),
            ),
            "J_best - J = E[gain] + E[D^2]/Z - E[uD]",
        ),
        Step(
            "top-in-ball",
            _claim("top-in-ball"),
            Combination(((1, "reaches-top"),), ("top-divergence", "top-mass")),
            "its divergence is 1/P_max - 1",
        ),
        Step(
            "top-value",
            _claim("top-value"),
            Identity(("top-value-by-definition", "top-return")),
            "all mass is on R_max",
        ),
    ),
)

#: X = +-(R - mu), the sign chosen so that its range [-(H/2 - d), H/2 + d] reaches further up than down; g = u - 1.
X, g = Random("X"), Random("g")
d = sympy.Symbol("d", nonnegative=True)
#: Variance of X^2.
V = sympy.Symbol("V", nonnegative=True)
_a, _b = H / 2 - d, H / 2 + d
_square = sympy.Lambda(_r, _r**2)
_q = sympy.sqrt(H**2 - 4 * sigma**2)
_p1 = X**2 * (X + _a) * (_b - X)
_p2 = (_b - X) * (X + sigma**2 / _b) ** 2
_p0 = (X + _a) * (_b - X)


def _cauchy_schwarz(a: sympy.Expr, b: sympy.Expr) -> tuple[Relation, Use]:
    right = sympy.sqrt(E(a**2)) * sympy.sqrt(E(b**2))
    return leq(E(a * b), right), Use("cauchy-schwarz", {"space": "b", "a": a, "b": b})


_MOMENTS = ("fourth-moment", "second-moment", "centred", "divergence-of-u", "mass-of-g")

EXPERT_HETEROGENEITY_PROOF = Derivation(
    label="expert-heterogeneity",
    givens=(
        Given("centred", eq(E(X), 0), "X is the return about its mean"),
        Given("second-moment", eq(E(X**2), sigma**2), "sigma is its standard deviation"),
        Given("fourth-moment", eq(E(X**4), V + sigma**4), "V is the variance of X^2"),
        Given("left", geq(X + _a, 0), "returns lie in an interval of length H: mu = H/2 -+ d,"),
        Given("right", geq(_b - X, 0), "and the sign of X makes the right end the far one"),
        Given("mass-of-g", eq(E(g), 0), "g = u - 1 is the change of density"),
        Given("divergence-of-u", eq(E(g**2), CHI2), "of squared norm chi2"),
        Given("in-ball", IN_BALL, "the expert is in the ball", "assumption"),
        Given(
            "expert-variance",
            eq(SIGMA_E**2, E((1 + g) * X**2) - E((1 + g) * X) ** 2),
            "variance under the density 1 + g, free of the sign of X",
        ),
        Given("far", geq(H * epsilon - sigma, 0), "H epsilon >= sigma", "case"),
        Given("near", geq(sigma - H * epsilon, 0), "H epsilon <= sigma", "case"),
    ),
    steps=(
        Step("quartic", geq(_p1, 0), Combination(((X**2, "left", "right"),)), "a polynomial >= 0 on the range"),
        Step("mean-quartic", geq(E(_p1), 0), Use("positivity", {"space": "b", "f": _p1}, ("quartic",)), "on average"),
        Step("cubic", geq(_p2, 0), Combination((((X + sigma**2 / _b) ** 2, "right"),)), "another"),
        Step("mean-cubic", geq(E(_p2), 0), Use("positivity", {"space": "b", "f": _p2}, ("cubic",)), "on average"),
        Step("quadratic", geq(_p0, 0), Combination(((1, "left", "right"),)), "another"),
        Step(
            "bhatia-davis",
            geq(E(_p0), 0),
            Use("positivity", {"space": "b", "f": _p0}, ("quadratic",)),
            "sigma^2 <= ab: Bhatia-Davis",
        ),
        Step(
            "spread-of-squares",
            leq(V, sigma**2 * (H**2 - 4 * sigma**2)),
            Combination(
                (
                    (1, "mean-quartic"),
                    (2 * d, "mean-cubic"),
                    (sigma**2 * (H + _b) / _b, "bhatia-davis"),
                ),
                ("fourth-moment", "second-moment", "centred"),
            ),
            "E[X^4] <= ab sigma^2 + (b - a) E[X^3], E[X^3] <= b sigma^2 - sigma^4/b, and ab >= sigma^2",
        ),
        Step(
            "sd-of-squares",
            leq(sympy.sqrt(V), sigma * _q),
            Monotone(_ROOT, "spread-of-squares"),
            "its standard deviation",
        ),
        Step("radius", leq(sympy.sqrt(CHI2), epsilon), Monotone(_ROOT, "in-ball"), "the root of the radius"),
        Step("up", *_cauchy_schwarz(g, X**2 - sigma**2), "how far the change of density moves E[X^2] up"),
        Step("down", *_cauchy_schwarz(g, sigma**2 - X**2), "and down"),
        Step("shift-up", *_cauchy_schwarz(g, X), "how far it moves the mean up"),
        Step("shift-down", *_cauchy_schwarz(g, -X), "and down"),
        Step(
            "upper",
            _claim("upper"),
            Combination(
                ((1, "up"), (epsilon, "sd-of-squares"), (sympy.sqrt(V), "radius"), (E(g * X) ** 2,)),
                ("expert-variance", *_MOMENTS),
            ),
            "sigma_e^2 - sigma^2 = E[g (X^2 - sigma^2)] - E[gX]^2",
        ),
        Step(
            "lower",
            _claim("lower"),
            Combination(
                (
                    (1, "down"),
                    (epsilon, "sd-of-squares"),
                    (sympy.sqrt(V), "radius"),
                    (1, "shift-up", "shift-down"),
                    (sigma**2, "in-ball"),
                ),
                ("expert-variance", *_MOMENTS),
            ),
            "and E[gX]^2 <= kappa sigma^2",
        ),
        Step(
            "half",
            geq(H**2 - 4 * sigma**2, 0),
            Combination(((4, "bhatia-davis"), (4 * d**2,)), ("second-moment", "centred")),
            "sigma <= H/2",
        ),
        Step("root-exists", leq(H**2 - 4 * sigma**2, H**2), Combination(((4 * sigma**2,),)), "as sigma^2 >= 0"),
        Step(
            "at-most-H",
            leq(_q, H),
            Monotone(_ROOT, "root-exists", ("half",)),
            "the root is at most H",
        ),
        Step(
            "squared-upper",
            leq(SIGMA_E**2, (sigma + H * epsilon / 2) ** 2),
            Combination(((1, "upper"), (epsilon * sigma, "at-most-H"), (H**2 * epsilon**2 / 4,))),
            "completing the square",
        ),
        Step(
            "linear-upper",
            _claim("linear-upper"),
            Monotone(_square, "squared-upper", reflect=True),
            "roots of both sides",
        ),
        Step(
            "squared-root",
            leq(_q**2, (H - 2 * sigma**2 / H) ** 2),
            Combination(((4 * sigma**4 / H**2,),)),
            "completing the square",
        ),
        Step("short", geq(H - 2 * sigma**2 / H, 0), Combination(((1 / (2 * H), "half"), (H / 2,))), "by sigma <= H/2"),
        Step(
            "sharper",
            leq(_q, H - 2 * sigma**2 / H),
            Monotone(_square, "squared-root", ("short",), reflect=True),
            "the root again",
        ),
        Step(
            "squared-lower",
            leq((sigma - H * epsilon) ** 2, SIGMA_E**2),
            Combination(
                (
                    (1, "lower"),
                    (epsilon * H, "near"),
                    (epsilon * sigma, "sharper"),
                    (epsilon * sigma**2 / H, "near"),
                    (epsilon * sigma**3 / H,),
                )
            ),
            "where H epsilon <= sigma",
        ),
        Step("near-lower", _claim("linear-lower"), Monotone(_square, "squared-lower", reflect=True), "roots"),
        Step("far-lower", _claim("linear-lower"), Combination(((1, "far"), (SIGMA_E,))), "else it says nothing"),
        Step("linear-lower", _claim("linear-lower"), Cases("near-lower", "far-lower", ("near", "far")), "either way"),
        Step("two-point", _claim("two-point"), Identity(), "p_e = p - epsilon sqrt(p (1 - p))"),
    ),
)
