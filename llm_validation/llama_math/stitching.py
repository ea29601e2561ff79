r"""Stitched traces: wrong attempts and then a right one, as one text.

Of one problem's attempts :math:`a_1..a_m`, finished ones only, a trace is

.. math:: a_{w_1}\,j\,a_{w_2}\,j\cdots a_{w_k}\,j\,a_r,\qquad a_{w_i}\text{ wrong},\ a_r\text{ right},

with the joiner j between attempts, no attempt twice, and at most ``budget`` tokens, the end of the text included. The
right attempt is drawn among those that fit, the number k uniformly from ``least..most``; wrong ones are taken in their
order as long as they fit. A problem without a right attempt that fits, or with fewer than ``least`` wrong ones beside
it, gives no trace. Tokens are those of the whole text, counted after each attempt is added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Piece", "Stitched", "stitch"]


@dataclass(frozen=True, slots=True)
class Piece:
    """An attempt to stitch: its number, its text, and whether it is right."""

    number: int
    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class Stitched:
    """A trace: its text, tokens (with the end of the text), and the numbers of its attempts, the right one last."""

    text: str
    tokens: int
    attempts: tuple[int, ...]


def stitch(
    pieces: Sequence[Piece],
    joiner: str,
    budget: int,
    wrong: tuple[int, int],
    order: str,
    uniforms: NDArray[np.float64],
    count: Callable[[str], int],
) -> Stitched | None:
    """A trace of these finished attempts, or None if they give none.

    ``wrong``: least and most wrong attempts; ``order`` of :data:`~.recipe.ORDERS`; ``uniforms``: numbers in (0, 1), two
    and one for every attempt; ``count``: tokens of a text. Raises ``ValueError`` if the order is not known.
    """
    fitting = [piece for piece in pieces if piece.right and count(piece.text) + 1 <= budget]
    if not fitting:
        return None
    last = fitting[int(uniforms[0] * len(fitting))]
    least, most = wrong
    k = least + int(uniforms[1] * (most - least + 1))
    text, used = last.text, [last.number]
    taken: list[str] = []
    for piece in _ordered([piece for piece in pieces if not piece.right], order, uniforms[2:]):
        if len(taken) == k:
            break
        longer = joiner.join([*taken, piece.text, last.text])
        if count(longer) + 1 <= budget:
            text = longer
            taken.append(piece.text)
            used.insert(-1, piece.number)
    if len(taken) < least:
        return None
    return Stitched(text, count(text) + 1, tuple(used))


def _ordered(pieces: list[Piece], order: str, uniforms: NDArray[np.float64]) -> list[Piece]:
    keys: dict[str, Callable[[tuple[int, Piece]], float]] = {
        "drawn": lambda found: found[1].number,
        "shortest": lambda found: len(found[1].text),
        "longest": lambda found: -len(found[1].text),
        "random": lambda found: float(uniforms[found[0]]),
    }
    if order not in keys:
        raise ValueError(f"order {order}: expected of {', '.join(keys)}")
    return [piece for _, piece in sorted(enumerate(pieces), key=keys[order])]
