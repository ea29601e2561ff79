"""Functionals of a finite law of the return, against enumeration in fractions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from strategies import (
    HORIZON,
    ExactLaw,
    checked,
    exact,
    exact_mean,
    exact_tail,
    exact_variance,
    return_laws,
    symmetric_laws,
    two_point_laws,
)
from theory.laws import ReturnLaw, symmetric_two_point, two_point, uniform


def _enumerated_best_of(pairs: ExactLaw, draws: int) -> Fraction:
    return sum(
        (max(r for r, _ in drawn) * math.prod(p for _, p in drawn) for drawn in itertools.product(pairs, repeat=draws)),
        Fraction(0),
    )


def _enumerated_top_mean(pairs: ExactLaw, c: Fraction) -> Fraction:
    left, total = c, Fraction(0)
    for r, p in sorted(pairs, reverse=True):
        taken = min(p, left)
        total, left = total + taken * r, left - taken
    return total / c


@checked
@given(law=return_laws())
def test_mean_equals_exact_sum(law: ReturnLaw) -> None:
    """mu = sum p r."""
    assert law.mean == pytest.approx(float(exact_mean(law)), rel=1e-14)


@checked
@given(law=return_laws())
def test_sd_equals_exact_root(law: ReturnLaw) -> None:
    """sigma^2 = sum p (r - mu)^2."""
    assert law.sd == pytest.approx(math.sqrt(exact_variance(law)), rel=1e-12)


@checked
@given(law=return_laws(), epsilon=st.fractions(0, 5, max_denominator=50))
def test_anti_concentration_equals_exact_tail(law: ReturnLaw, epsilon: Fraction) -> None:
    """c(epsilon) = P[R >= mu + epsilon sigma], the event decided without rounding."""
    assert law.anti_concentration(float(epsilon)) == pytest.approx(float(exact_tail(law, epsilon)), abs=1e-14)


@checked
@given(law=two_point_laws())
def test_value_on_the_threshold_counts(law: ReturnLaw) -> None:
    """At epsilon = (R_max - mu)/sigma, computed in floating point, c is the mass of R_max and not 0."""
    epsilon = (law.values[-1] - law.mean) / law.sd
    assert law.anti_concentration(epsilon) == law.probabilities[-1]


@checked
@given(law=return_laws(), c=st.fractions(Fraction(1, 100), 1, max_denominator=100))
def test_top_mean_equals_greedy_enumeration(law: ReturnLaw, c: Fraction) -> None:
    """CVaR^top_c is the mean of the top mass c, the last value split."""
    assert law.top_mean(float(c)) == pytest.approx(float(_enumerated_top_mean(exact(law), c)), rel=1e-12, abs=1e-12)


@checked
@given(law=return_laws(max_size=4), draws=st.integers(1, 4))
def test_best_of_equals_enumeration_of_all_tuples(law: ReturnLaw, draws: int) -> None:
    """The mean of the largest of N draws is the sum over all N-tuples of their maximum times their probability."""
    assert law.best_of(draws) == pytest.approx(float(_enumerated_best_of(exact(law), draws)), rel=1e-12)


@checked
@given(law=symmetric_laws(), share=st.fractions(0, 1, max_denominator=20))
def test_tilted_masses_are_the_chi2_expert(law: ReturnLaw, share: Fraction) -> None:
    """pi_e(r) = pi_b(r) (1 + epsilon (r - mu)/sigma): with epsilon = share sigma/rho the root cancels."""
    mu, rho = exact_mean(law), Fraction(law.half_range)
    expected = {r: p * (1 + share * (r - mu) / rho) for r, p in exact(law)}
    tilted = law.tilted(float(share) * law.max_epsilon)
    np.testing.assert_allclose(
        tilted.probabilities, [float(expected[Fraction(float(r))]) for r in tilted.values], rtol=1e-9, atol=1e-12
    )


@checked
@given(law=return_laws(), share=st.floats(0.0, 1.0))
def test_tilting_moves_the_mean_by_epsilon_sd(law: ReturnLaw, share: float) -> None:
    """Equality: the untruncated chi-squared expert has mean mu + epsilon sigma."""
    epsilon = share * law.sd / (law.mean - law.values[0])
    assert law.tilted(epsilon).mean == pytest.approx(float(exact_mean(law)) + epsilon * law.sd, rel=1e-9)


def test_tilting_beyond_truncation_is_refused() -> None:
    """An epsilon that would make a mass negative raises ValueError that names it."""
    with pytest.raises(ValueError, match=r"epsilon = 1\.5"):
        two_point(10).tilted(1.5)


@checked
@given(law=symmetric_laws())
def test_mirrored_law_is_symmetric(law: ReturnLaw) -> None:
    """A law that mirroring leaves unchanged is recognised."""
    assert law.is_symmetric


@checked
@given(law=return_laws())
def test_symmetry_is_recognised_only_where_exact(law: ReturnLaw) -> None:
    """A law is called symmetric exactly where R and 2 mu - R have one law in fractions."""
    mu = exact_mean(law)
    assert law.is_symmetric == (sorted(exact(law)) == sorted((2 * mu - r, p) for r, p in exact(law)))


@checked
@given(law=symmetric_laws())
def test_max_epsilon_is_where_a_mass_vanishes(law: ReturnLaw) -> None:
    """At epsilon = sigma/rho the untruncated expert gives the smallest return mass 0."""
    assert law.tilted(law.max_epsilon).values[0] > law.values[0] or law.tilted(law.max_epsilon).probabilities[0] < 1e-12


@checked
@given(law=return_laws(min_size=3), order=st.randoms(use_true_random=False))
def test_law_does_not_depend_on_order(law: ReturnLaw, order: object) -> None:
    """Atoms in any order, and one atom split in two, give the same law."""
    atoms = [*zip(law.values[1:], law.probabilities[1:], strict=True)]
    atoms += [(law.values[0], law.probabilities[0] / 2)] * 2
    order.shuffle(atoms)  # type: ignore[attr-defined]
    again = ReturnLaw.of([r for r, _ in atoms], [p for _, p in atoms])
    np.testing.assert_allclose([again.values, again.probabilities], [law.values, law.probabilities], rtol=1e-14)


@pytest.mark.parametrize(
    ("values", "probabilities"),
    [([0, 1], [0.5, 0.6]), ([0, 1], [1.0]), ([0, 1], [1.5, -0.5]), ([0, math.inf], [0.5, 0.5])],
    ids=["sum", "shape", "negative", "infinite"],
)
def test_what_is_no_law_is_refused(values: list[float], probabilities: list[float]) -> None:
    """Masses that do not sum to 1, unequal lengths, negative masses and infinite values raise ValueError."""
    with pytest.raises(ValueError, match="law: "):
        ReturnLaw.of(values, probabilities)


@pytest.mark.parametrize("c", [0.0, -0.1, 1.1])
def test_top_mean_outside_its_domain_is_refused(c: float) -> None:
    """CVaR^top_c exists for 0 < c <= 1 only; the message names c."""
    with pytest.raises(ValueError, match=f"c = {c}"):
        two_point(10).top_mean(c)


def test_law_is_frozen() -> None:
    """The arrays of a law cannot be written to."""
    with pytest.raises(ValueError, match="read-only"):
        two_point(10).values[0] = 1.0


@pytest.mark.parametrize("H", [1, 2, 9])
def test_uniform_law_has_textbook_sd(H: int) -> None:
    """R uniform on {0..H} has sigma^2 = ((H+1)^2 - 1)/12."""
    assert uniform(H).sd ** 2 == pytest.approx(((H + 1) ** 2 - 1) / 12, rel=1e-14)


@checked
@given(s=st.floats(0.01, 0.5))
def test_symmetric_two_point_law_has_its_sd(s: float) -> None:
    """R = H/2 +- sH has sigma = sH."""
    assert symmetric_two_point(HORIZON, s).sd == pytest.approx(s * HORIZON, rel=1e-12)


@checked
@given(law=return_laws())
def test_half_range_bounds_sd(law: ReturnLaw) -> None:
    """sigma <= rho, with equality exactly for two points of equal mass."""
    assume(law.values.size > 2)
    assert law.sd < law.half_range
