"""Assumptions of the statements as named strategies, and the exact arithmetic that their left sides are computed with.

Every law drawn here has whole-number returns and rational masses, so that :func:`exact` recovers it without rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from theory.laws import ReturnLaw

#: Token budget of every law drawn here: the statements scale with it.
HORIZON = 12

#: Relative rounding forgiven where both sides are computed in double precision.
ROUNDING = 1e-9

#: One setting for every property: reproducible, no clock.
checked = settings(deadline=None, derandomize=True, max_examples=80)
#: The same for properties whose exact left side is an enumeration of some milliseconds.
checked_slowly = settings(deadline=None, derandomize=True, max_examples=25)

Masses = NDArray[np.float64]
ExactLaw = tuple[tuple[Fraction, Fraction], ...]

_LARGEST_DENOMINATOR = 10**5
_weights = st.one_of(st.integers(1, 9), st.sampled_from([1, 100, 1000]))


def exact(law: ReturnLaw) -> ExactLaw:
    """(value, probability) pairs of a law drawn here, as fractions of sum exactly 1."""
    pairs = tuple(
        (Fraction(float(r)), Fraction(float(p)).limit_denominator(_LARGEST_DENOMINATOR))
        for r, p in zip(law.values, law.probabilities, strict=True)
    )
    assert sum(p for _, p in pairs) == 1
    return pairs


def exact_mean(law: ReturnLaw) -> Fraction:
    """mu without rounding."""
    return sum((r * p for r, p in exact(law)), Fraction(0))


def exact_variance(law: ReturnLaw) -> Fraction:
    """sigma^2 without rounding."""
    mu = exact_mean(law)
    return sum((p * (r - mu) ** 2 for r, p in exact(law)), Fraction(0))


def exact_tail(law: ReturnLaw, epsilon: Fraction) -> Fraction:
    """P[R >= mu + epsilon sigma], epsilon >= 0, without rounding: compares squares, since sigma is a root."""
    mu, variance = exact_mean(law), exact_variance(law)
    return sum((p for r, p in exact(law) if r >= mu and (r - mu) ** 2 >= epsilon**2 * variance), Fraction(0))


def best_ball_value(law: ReturnLaw, kappa: float) -> float:
    """Largest mean in the chi-squared ball, by bisection on the threshold t of p (r - t)^+; no closed form used."""
    p, r = law.probabilities, law.values
    if kappa <= 0.0:
        return float(p @ r)
    if kappa >= 1.0 / p[-1] - 1.0:
        return float(r[-1])
    low, high = float(r[0]) - 1.0, float(r[-1])
    while _divergence_at(p, r, low) > kappa:
        low -= 2.0 * (high - low)
    for _ in range(200):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _divergence_at(p, r, middle) <= kappa else (low, middle)
    q = p * np.maximum(r - low, 0.0)
    return float(q @ r) / float(q.sum())


def _divergence_at(p: Masses, r: Masses, threshold: float) -> float:
    q = p * np.maximum(r - threshold, 0.0)
    if q.sum() == 0.0:
        return math.inf
    q = q / q.sum()
    return float(np.sum(q * q / p)) - 1.0


@st.composite
def return_laws(draw: st.DrawFn, min_size: int = 2, max_size: int = 5) -> ReturnLaw:
    """Any law on {0, ..., HORIZON} with sigma > 0."""
    inner = st.integers(0, HORIZON)
    values = draw(st.lists(inner, min_size=min_size, max_size=max_size, unique=True))
    return _law(values, draw(st.lists(_weights, min_size=len(values), max_size=len(values))))


@st.composite
def symmetric_laws(draw: st.DrawFn) -> ReturnLaw:
    """Laws on {0, ..., HORIZON}, sigma > 0, that mirroring at the mean HORIZON/2 leaves unchanged."""
    half = HORIZON // 2
    steps = draw(st.lists(st.integers(1, half), min_size=1, max_size=2, unique=True))
    masses = draw(st.lists(_weights, min_size=len(steps), max_size=len(steps)))
    centre = draw(st.sampled_from([0, 0, 1, 5, 50]))
    values = [half - d for d in steps] + [half + d for d in steps] + ([half] if centre else [])
    return _law(values, masses + masses + ([centre] if centre else []))


@st.composite
def two_point_laws(draw: st.DrawFn) -> ReturnLaw:
    """Laws on {0, HORIZON}, both values possible."""
    denominator = draw(st.integers(2, 60))
    up = draw(st.integers(1, denominator - 1))
    return _law([0, HORIZON], [denominator - up, up])


def _law(values: Sequence[int], weights: Sequence[int]) -> ReturnLaw:
    total = sum(weights)
    return ReturnLaw.of(values, [w / total for w in weights])


def kappas() -> st.SearchStrategy[float]:
    """Radii of the ball: inside, at 0, and beyond every truncation."""
    return st.one_of(st.sampled_from([0.0, 0.25, 1.0]), st.floats(1e-6, 4.0), st.floats(4.0, 2000.0))


def shares() -> st.SearchStrategy[float]:
    """Numbers in [0, 1], the ends often."""
    return st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0))


@st.composite
def chi2_ball_experts(draw: st.DrawFn, law: ReturnLaw, kappa: float) -> Masses:
    """Masses of policies in the chi-squared ball around ``law``, its boundary and the simplex's included."""
    size = law.values.size
    towards = np.array(draw(st.lists(st.integers(0, 9), min_size=size, max_size=size).filter(any)), dtype=float)
    direction = towards / towards.sum() - law.probabilities
    if draw(st.booleans()):
        direction = -direction
    length = float(np.sum(direction**2 / law.probabilities))
    if length < 1e-20:
        return law.probabilities.copy()
    falling = direction < 0.0
    to_simplex = float(np.min(law.probabilities[falling] / -direction[falling]))
    step = min(math.sqrt(kappa / length), to_simplex) * draw(shares())
    return np.maximum(law.probabilities + step * direction, 0.0)


@dataclass(frozen=True)
class JudgedTraces:
    """Traces of one prompt with their base mass, their return and what a wrong verifier says it is."""

    masses: tuple[Fraction, ...]
    returns: tuple[int, ...]
    judged: tuple[int | Fraction, ...]

    @property
    def law(self) -> ReturnLaw:
        """The base law of the return."""
        return ReturnLaw.of(self.returns, [float(p) for p in self.masses])

    @property
    def error(self) -> Fraction:
        """E_b |R_hat - R|."""
        return sum(
            (p * abs(a - b) for p, a, b in zip(self.masses, self.returns, self.judged, strict=True)), Fraction(0)
        )


@st.composite
def judged_traces(draw: st.DrawFn) -> JudgedTraces:
    """Two to five traces, sigma > 0, under any verifier at all: right, slightly wrong, adversarial, constant."""
    size = draw(st.integers(2, 5))
    tokens = st.integers(0, HORIZON)
    returns = draw(st.lists(tokens, min_size=size, max_size=size).filter(lambda r: len(set(r)) > 1))
    slips = draw(
        st.lists(
            st.one_of(st.just(0), st.integers(-2, 2), st.integers(-HORIZON, HORIZON)), min_size=size, max_size=size
        )
    )
    judged = tuple(min(max(r + e, 0), HORIZON) for r, e in zip(returns, slips, strict=True))
    weights = draw(st.lists(st.integers(1, 9), min_size=size, max_size=size))
    return JudgedTraces(tuple(Fraction(w, sum(weights)) for w in weights), tuple(returns), judged)
