r"""Learning a parity, timed: likelihood over all 2^k hypotheses against elimination over GF(2).

Prompt x uniform on {0,1}^k, truth i, sign :math:`s_i(x)=(-1)^{\langle i,x\rangle}`.

* *Verifier-free*: n expert traces show :math:`s_i(x_t)`, right with probability :math:`(1+\varepsilon)/2`: learning
  parity with noise. The log likelihood of j is, up to a constant and a positive factor, :math:`\sum_ts_j(x_t)g_t`,
  the Walsh-Hadamard transform of the histogram of signs: :func:`likeliest`, :math:`O(n+k2^k)`. No learner finds the
  truth more often. (Others trade traces for time, Blum-Kalai-Wasserman in :math:`2^{O(k/\log k)}` of both; none is
  known to be polynomial.)
* *Verifier-based*: n labels tell the sign itself, n linear equations in the bits of i: :func:`solution`, Gaussian
  elimination on rows packed 64 bits a word, :math:`O(nk^2/64)`.

Both break ties at random: hypotheses of equal likelihood, bits that no equation decides. NumPy; signs and scores are
whole numbers, so that ties are exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LabelledRows",
    "SignedPrompts",
    "draw_rows",
    "draw_signs",
    "fast_walsh_hadamard",
    "likeliest",
    "packed",
    "solution",
]

Signs = NDArray[np.int32]
Words = NDArray[np.uint64]

MAX_TABLE_BITS = 30
WORD = 64


class SignedPrompts(NamedTuple):
    """What n expert traces show."""

    prompts: NDArray[np.int64]  # (n,) the bits of x as a number
    signs: Signs  # (n,) +-1
    truth: int


class LabelledRows(NamedTuple):
    """What n labelled base traces show."""

    rows: Words  # (n, words): bits of x, then the bit <i, x>; bit b is bit b mod 64 of word b // 64
    truth: Words  # (words,)


def draw_signs(rng: np.random.Generator, k: int, n: int, epsilon: float) -> SignedPrompts:
    """``n`` signs of a uniform truth of k bits, each right with probability (1 + epsilon)/2."""
    truth, *prompts = rng.integers(0, 2**k, n + 1).tolist()
    x = np.array(prompts, dtype=np.int64)
    odd = np.bitwise_count(x & truth) & 1
    wrong = rng.random(n) >= (1.0 + epsilon) / 2.0
    return SignedPrompts(x, np.where(odd ^ wrong, -1, 1).astype(np.int32), truth)


def draw_rows(rng: np.random.Generator, k: int, n: int) -> LabelledRows:
    """``n`` labels of a uniform truth of k bits."""
    drawn = rng.integers(0, 2**64, (n + 1, k // WORD + 1), dtype=np.uint64)
    drawn[:, -1] &= np.uint64(2 ** (k % WORD) - 1)
    rows, truth = drawn[:-1], drawn[-1]
    odd = np.bitwise_count(rows & truth).sum(axis=1, dtype=np.uint64) & np.uint64(1)
    rows[:, -1] |= odd << np.uint64(k % WORD)
    return LabelledRows(rows, truth)


def packed(bits: NDArray[np.uint8]) -> Words:
    """Rows of 0s and 1s (n, columns) in words (n, ceil(columns / 64)), bit b in bit b mod 64 of word b // 64."""
    padded = np.zeros((len(bits), -(-bits.shape[1] // WORD) * WORD), dtype=np.uint8)
    padded[:, : bits.shape[1]] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)


def fast_walsh_hadamard(values: Signs) -> Signs:
    """sum_x values[x] (-1)^<j,x> for every j, shape (2^k,), by k passes of butterflies: k 2^k additions.

    Each pass transforms the lowest bit of the index and makes it the highest, so that k of them restore the order and
    all of them run through memory in one direction. Raises ``ValueError`` unless the length is a power of two.
    """
    size = values.size
    if values.ndim != 1 or size & (size - 1) or not size:
        raise ValueError(f"values: shape {values.shape}, expected (2^k,)")
    half, now, after = size // 2, values.copy(), np.empty_like(values)
    for _ in range(size.bit_length() - 1):
        even, odd = now[0::2], now[1::2]
        np.add(even, odd, out=after[:half])
        np.subtract(even, odd, out=after[half:])
        now, after = after, now
    return now


def likeliest(prompts: NDArray[np.int64], signs: Signs, k: int, rng: np.random.Generator) -> int:
    """The hypothesis of largest likelihood under any 0 < epsilon < 1, ties at random.

    Raises ``ValueError`` unless 1 <= k <= 30.
    """
    if not 1 <= k <= MAX_TABLE_BITS:
        raise ValueError(f"k = {k}: a table of 2^k scores, expected 1..{MAX_TABLE_BITS}")
    histogram = np.zeros(2**k, dtype=np.int32)
    np.add.at(histogram, prompts, signs)
    scores = fast_walsh_hadamard(histogram)
    return int(rng.choice(np.flatnonzero(scores == scores.max())))


def solution(rows: Words, k: int, rng: np.random.Generator) -> Words:
    """A uniform solution i (words,) of <i, x> = label for all ``rows`` (n, words), which are left as they are.

    Raises ``ValueError`` if there is none.
    """
    work = rows.copy()
    columns = _eliminated(work, k)
    label, bit = k // WORD, np.uint64(k % WORD)
    if np.any((work[len(columns) :, label] >> bit) & np.uint64(1)):
        raise ValueError("labels contradict each other: expected labels without noise")
    answer = rng.integers(0, 2**64, (work.shape[1],), dtype=np.uint64)  # bits that nothing decides
    answer[label] = (answer[label] & ((np.uint64(1) << bit) - np.uint64(1))) | np.uint64(1) << bit
    for number in reversed(range(len(columns))):
        word, place = columns[number] // WORD, np.uint64(columns[number] % WORD)
        answer[word] &= ~(np.uint64(1) << place)
        odd = np.bitwise_count(work[number] & answer).sum(dtype=np.uint64) & np.uint64(1)  # with the label's bit
        answer[word] |= odd << place
    answer[label] &= (np.uint64(1) << bit) - np.uint64(1)
    return answer


def _eliminated(work: Words, k: int) -> list[int]:
    """Brings ``work`` to row echelon form in place; the column of each of its leading rows."""
    columns: list[int] = []
    for column in range(k):
        word, place = column // WORD, np.uint64(column % WORD)
        below = work[len(columns) :, word:]  # words before are 0 there
        has = np.flatnonzero((below[:, 0] >> place) & np.uint64(1))
        if not has.size:
            continue
        first = has[0]
        pivot = below[first].copy()
        below[first] = below[0]
        below[0] = pivot
        below[has[1:]] ^= pivot
        columns.append(column)
        if len(columns) == len(work):
            break
    return columns
