"""The textbook lemmas: each template holds on random instances, and none of its constants can be made better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from strategies import checked_slowly
from theory.lemmas import LEMMAS, MOST
from theory.proof import Lemma
from theory.registry import derivations
from theory.relation import Relation

_all = pytest.mark.parametrize("lemma", LEMMAS.values(), ids=lambda lemma: lemma.label)


def test_no_more_lemmas_than_agreed() -> None:
    """At most fourteen."""
    assert len(LEMMAS) <= MOST == 14


@_all
@checked_slowly
@given(seed=st.integers(0, 2**32))
def test_lemma_holds(lemma: Lemma, seed: int) -> None:
    """Premises and conclusion, computed by enumeration from the template itself, hold on random instances."""
    assert lemma.holds(8, seed)


@_all
def test_lemma_is_used(lemma: Lemma) -> None:
    """Some derivation needs it."""
    assert any(lemma.label in proof.lemmas for proof in derivations().values())


def _scaled(conclude: Callable[..., Any], side: str, factor: sympy.Rational) -> Callable[..., Any]:
    def changed(*args: Any, **given: Any) -> tuple[tuple[Relation, ...], Relation]:
        premises, conclusion = conclude(*args, **given)
        return premises, replace(conclusion, **{side: getattr(conclusion, side) * factor})

    return changed


@pytest.mark.parametrize("side", ["lhs", "rhs"])
@_all
def test_lemma_cannot_be_sharpened(lemma: Lemma, side: str) -> None:
    """With the larger side times 9/10, or the smaller times 11/10, the template fails on some instance."""
    if lemma.label == "positivity":
        flipped = replace(lemma, conclude=lambda *a: (lemma.conclude(*a)[0], replace(lemma.conclude(*a)[1], op="<=")))
        assert not flipped.holds(200)
        return
    for factor in (sympy.Rational(9, 10), sympy.Rational(11, 10)):
        operators = _operators(lemma)
        larger = (side == "rhs") == (operators == "<=")
        if operators != "=" and larger == (factor > 1):
            continue  # a weaker statement stays true
        assert not replace(lemma, conclude=_scaled(lemma.conclude, side, factor)).holds(300)


def _operators(lemma: Lemma) -> str:
    """The sign of the conclusion, as a trial of it builds it."""
    import numpy as np

    seen: list[str] = []

    def watching(*args: Any, **given: Any) -> tuple[tuple[Relation, ...], Relation]:
        premises, conclusion = lemma.conclude(*args, **given)
        seen.append(conclusion.op)
        return premises, conclusion

    rng = np.random.default_rng(0)
    while not seen:
        lemma.trial(rng, watching)
    return seen[0]
