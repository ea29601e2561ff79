r"""Arithmetic problems of graded difficulty with exact answers.

A *level* is a finite list of problems, all different; a seed puts each level in an order of its own. Problems are taken
from the levels in turn, so that the first N of a seed are the same whatever N is, and any N has nearly as many of each
level (as long as the small levels last).

==================  =============================================  ========
level               problems                                       how many
==================  =============================================  ========
``sum-1``           a + b, one digit each                          81
``difference-1``    a - b, one digit each, b at most a             45
``product-1``       a * b, factors 2..9                            64
``sum-2-1``         a + b, two digits and one digit                810
``difference-2``    a - b, two digits each, b at most a            4,095
``sum-2``           a + b, two digits each                         8,100
``word``            one or two such steps in a short story         633
==================  =============================================  ========
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["LEVELS", "Problem", "level_problems", "make_problems"]

#: Distinguishes these random numbers from all others of a seed.
_STREAM = 5801


@dataclass(frozen=True, slots=True)
class Problem:
    """One question. ``problem_id`` tells its content and does not depend on any seed."""

    problem_id: str
    level: str
    question: str
    answer: int


@dataclass(frozen=True, slots=True)
class _Story:
    name: str
    text: str  # the numbers are put in as a, b, c
    solve: Callable[..., int]
    numbers: Callable[[], Iterator[tuple[int, ...]]]


def _pairs(first: range, second: range, ordered: bool = False) -> Iterator[tuple[int, ...]]:
    """All pairs; with ``ordered`` those whose second number is at most the first."""
    return ((a, b) for a, b in itertools.product(first, second) if not ordered or b <= a)


_DIGITS, _TENS, _FACTORS = range(1, 10), range(10, 100), range(2, 10)

#: Level of bare arithmetic -> its sign, what it means, its numbers.
_BARE: Mapping[str, tuple[str, Callable[[int, int], int], Callable[[], Iterator[tuple[int, ...]]]]] = {
    "sum-1": ("+", lambda a, b: a + b, lambda: _pairs(_DIGITS, _DIGITS)),
    "difference-1": ("-", lambda a, b: a - b, lambda: _pairs(_DIGITS, _DIGITS, ordered=True)),
    "product-1": ("*", lambda a, b: a * b, lambda: _pairs(_FACTORS, _FACTORS)),
    "sum-2-1": ("+", lambda a, b: a + b, lambda: _pairs(_TENS, _DIGITS)),
    "difference-2": ("-", lambda a, b: a - b, lambda: _pairs(_TENS, _TENS, ordered=True)),
    "sum-2": ("+", lambda a, b: a + b, lambda: _pairs(_TENS, _TENS)),
}

_STORIES = (
    _Story(
        "apples",
        "Tom has {0} apples and buys {1} more. How many apples does he have now?",
        lambda a, b: a + b,
        lambda: _pairs(_FACTORS, _FACTORS),
    ),
    _Story(
        "birds",
        "{0} birds sit in a tree and {1} fly away. How many birds are left?",
        lambda a, b: a - b,
        lambda: ((a, b) for a, b in _pairs(_FACTORS, _FACTORS) if b < a),
    ),
    _Story(
        "eggs",
        "A box holds {0} eggs. How many eggs do {1} boxes hold?",
        lambda a, b: a * b,
        lambda: _pairs(_FACTORS, _FACTORS),
    ),
    _Story(
        "coins",
        "Ann has {0} coins, finds {1} more and gives {2} away. How many coins does she have now?",
        lambda a, b, c: a + b - c,
        lambda: ((a, b, c) for a, b, c in itertools.product(_FACTORS, repeat=3) if c <= a + b),
    ),
)


def _bare(level: str) -> list[Problem]:
    sign, solve, numbers = _BARE[level]
    return [Problem(f"{level}:{a}{sign}{b}", level, f"What is {a} {sign} {b}?", solve(a, b)) for a, b in numbers()]


def _stories() -> list[Problem]:
    return [
        Problem(f"word:{s.name}:{':'.join(map(str, n))}", "word", s.text.format(*n), s.solve(*n))
        for s in _STORIES
        for n in s.numbers()
    ]


LEVELS = (*_BARE, "word")


def level_problems(level: str) -> list[Problem]:
    """All problems of a level, in a fixed order. Raises ``KeyError`` for an unknown level."""
    return _stories() if level == "word" else _bare(level)


def make_problems(count: int, seed: int, without: Collection[str] = ()) -> list[Problem]:
    """The first ``count`` problems of a seed, levels in turn; none whose question is in ``without``.

    Raises ``ValueError`` if there are not that many.
    """
    queues: list[Sequence[Problem]] = []
    for number, level in enumerate(LEVELS):
        pool = [problem for problem in level_problems(level) if problem.question not in without]
        order = np.random.default_rng([seed, _STREAM, number]).permutation(len(pool))
        queues.append([pool[i] for i in order])
    total = sum(map(len, queues))
    if not 1 <= count <= total:
        raise ValueError(f"--problems {count}: expected 1..{total}")
    in_turn = (problem for round_ in itertools.zip_longest(*queues) for problem in round_ if problem is not None)
    return list(itertools.islice(in_turn, count))
