"""Stitched traces: what they hold, against a search over all of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from llm_validation.llama_math.recipe import ORDERS
from llm_validation.llama_math.stitching import Piece, Stitched, stitch
from strategies import checked

JOINER = "|"
Uniforms = NDArray[np.float64]


def count(text: str) -> int:
    """A token is a character."""
    return len(text)


@st.composite
def attempts(draw: st.DrawFn) -> tuple[list[Piece], Uniforms]:
    """Up to six attempts of one to four letters, each with a number of its own, and the numbers that draw."""
    texts = draw(st.lists(st.text("ab", min_size=1, max_size=4), max_size=6))
    rights = draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
    numbers = draw(st.permutations(range(len(texts))))
    drawn = draw(st.lists(st.floats(0.001, 0.999), min_size=2 + len(texts), max_size=2 + len(texts)))
    pieces = [Piece(*found) for found in zip(numbers, texts, rights, strict=True)]
    return pieces, np.array(drawn)


@st.composite
def limits(draw: st.DrawFn) -> tuple[int, tuple[int, int], str]:
    """A budget, least and most wrong attempts, an order."""
    least = draw(st.integers(0, 3))
    return draw(st.integers(1, 25)), (least, draw(st.integers(least, 4))), draw(st.sampled_from(ORDERS))


def text_of(found: Stitched, pieces: list[Piece]) -> str:
    known = {piece.number: piece.text for piece in pieces}
    return JOINER.join(known[number] for number in found.attempts)


@given(attempts(), limits())
@checked
def test_a_trace_is_wrong_attempts_and_then_a_right_one(
    made: tuple[list[Piece], Uniforms], limit: tuple[int, tuple[int, int], str]
) -> None:
    """Its text is its attempts with the joiner between them, none twice, the last alone right, within the budget."""
    (pieces, drawn), (budget, wrong, order) = made, limit
    found = stitch(pieces, JOINER, budget, wrong, order, drawn, count)
    if found is None:
        return
    right = {piece.number: piece.right for piece in pieces}
    assert found.text == text_of(found, pieces)
    assert found.tokens == count(found.text) + 1 <= budget
    assert len(set(found.attempts)) == len(found.attempts)
    assert [right[number] for number in found.attempts] == [False] * (len(found.attempts) - 1) + [True]
    assert wrong[0] <= len(found.attempts) - 1 <= wrong[1]


@given(attempts(), st.integers(1, 25), st.sampled_from(ORDERS))
@checked
def test_a_right_attempt_that_fits_gives_a_trace(made: tuple[list[Piece], Uniforms], budget: int, order: str) -> None:
    """With no wrong attempts asked for, a trace there is if and only if one right attempt fits with its end."""
    pieces, drawn = made
    fits = any(piece.right and count(piece.text) + 1 <= budget for piece in pieces)
    assert (stitch(pieces, JOINER, budget, (0, 0), order, drawn, count) is not None) == fits


@given(attempts(), st.integers(1, 25), st.sampled_from(ORDERS))
@checked
def test_no_wrong_attempt_is_left_out_that_would_fit(
    made: tuple[list[Piece], Uniforms], budget: int, order: str
) -> None:
    """With as many as there are asked for, none of those left out fits at its place in the order beside the taken."""
    pieces, drawn = made
    many = len(pieces)
    found = stitch(pieces, JOINER, budget, (0, many), order, np.array([drawn[0], 0.999999, *drawn[2:]]), count)
    if found is None:
        return
    known = {piece.number: piece for piece in pieces}
    taken = [known[number].text for number in found.attempts]
    for piece in pieces:
        if not piece.right and piece.number not in found.attempts:
            assert count(JOINER.join([*taken, piece.text])) + 1 > budget


@given(attempts(), limits())
@checked
def test_none_is_only_said_where_there_is_none(
    made: tuple[list[Piece], Uniforms], limit: tuple[int, tuple[int, int], str]
) -> None:
    """Where no trace is found with ``shortest`` wrong ones first, no choice of that many wrong ones fits beside the
    right attempt that was drawn.
    """
    (pieces, drawn), (budget, (least, most), _) = made, limit
    if stitch(pieces, JOINER, budget, (least, most), "shortest", drawn, count) is not None:
        return
    right = [piece for piece in pieces if piece.right and count(piece.text) + 1 <= budget]
    if not right:
        return
    last = right[int(drawn[0] * len(right))]
    wrong = [piece.text for piece in pieces if not piece.right]
    for chosen in itertools.combinations(wrong, least):
        assert count(JOINER.join([*chosen, last.text])) + 1 > budget


@pytest.mark.parametrize(
    ("order", "expected"), [("drawn", "dddd|a|bb|R"), ("shortest", "a|bb|dddd|R"), ("longest", "dddd|bb|a|R")]
)
def test_wrong_attempts_come_in_their_order(order: str, expected: str) -> None:
    """As they were drawn, the shortest first, or the longest first."""
    pieces = [Piece(2, "a", False), Piece(5, "bb", False), Piece(1, "dddd", False), Piece(3, "R", True)]
    drawn = np.array([0.5, 0.999, 0.1, 0.2, 0.3, 0.4])
    found = stitch(pieces, JOINER, 100, (0, 3), order, drawn, count)
    assert found is not None
    assert found.text == expected


def test_a_random_order_is_that_of_its_numbers() -> None:
    """Wrong attempts in the order of their uniform numbers."""
    pieces = [Piece(i, text, False) for i, text in enumerate("abc")] + [Piece(3, "R", True)]
    found = stitch(pieces, JOINER, 100, (3, 3), "random", np.array([0.5, 0.5, 0.9, 0.1, 0.5, 0.5]), count)
    assert found is not None
    assert found.text == "b|c|a|R"


def test_right_attempts_and_numbers_of_wrong_ones_are_drawn_evenly() -> None:
    """Over a grid of numbers each right attempt is as frequent as another, and so is each number of wrong ones."""
    pieces = [Piece(0, "r", True), Piece(1, "R", True), *(Piece(2 + i, "a", False) for i in range(3))]
    grid = (np.arange(12) + 0.5) / 12
    seen: dict[tuple[str, int], int] = {}
    for x, y in itertools.product(grid, grid):
        found = stitch(pieces, JOINER, 100, (0, 2), "drawn", np.array([x, y, 0.1, 0.2, 0.3, 0.4, 0.5]), count)
        assert found is not None
        key = (found.text[-1], len(found.attempts) - 1)
        seen[key] = seen.get(key, 0) + 1
    assert seen == {(last, k): 24 for last in "rR" for k in range(3)}


def test_an_unknown_order_is_refused() -> None:
    """By name."""
    with pytest.raises(ValueError, match=r"\Aorder best: expected of drawn"):
        stitch([Piece(0, "r", True), Piece(1, "a", False)], JOINER, 9, (0, 1), "best", np.full(4, 0.9), count)
