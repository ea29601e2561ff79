from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ranges import parse_range


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1..5", (1, 2, 3, 4, 5)),
        ("1..9:4", (1, 5, 9)),
        ("1..20x2", (1, 2, 4, 8, 16)),
        ("2..16x1.5", (2, 3, 4, 6, 10, 15)),
        ("7", (7,)),
        ("5,1..3,3", (1, 2, 3, 5)),
        ("1..1000x10", (1, 10, 100, 1000)),
    ],
)
def test_a_range_names_its_numbers_in_order_once(text: str, numbers: tuple[int, ...]) -> None:
    """Every form of range names exactly these numbers, increasing, each once."""
    assert parse_range(text) == numbers


@given(st.lists(st.integers(1, 500), min_size=1, max_size=20))
def test_order_of_a_list_does_not_matter(numbers: list[int]) -> None:
    """A comma list names the set of its numbers."""
    assert parse_range(",".join(map(str, numbers))) == tuple(sorted(set(numbers)))


@pytest.mark.parametrize(
    "text", ["", "0..5", "5..1", "1..", "a", "1..5:0", "1..5x1", "1..5x0.5", "-3", "1,,2", "1.5", "99999999"]
)
def test_anything_else_is_refused_with_its_text(text: str) -> None:
    """A malformed, empty or out-of-range text raises one line that names it."""
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        parse_range(text)
    assert text in str(caught.value)
