"""Random numbers from what they are drawn for, never from the order in which things run."""

from __future__ import annotations

import hashlib

import numpy as np

from sim.tasks.token_task import source, uniforms

__all__ = ["key_of", "ordered", "words_of"]


def key_of(*identity: object) -> int:
    """A 63-bit seed from what something is drawn for."""
    digest = hashlib.sha256("\0".join(map(str, identity)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def words_of(*identity: object) -> np.random.Philox:
    """Random words from what something is drawn for."""
    return source(key_of(*identity), 0)


def ordered(count: int, *identity: object) -> list[int]:
    """0..count-1 in a random order."""
    found: list[int] = np.argsort(uniforms(words_of(*identity), count), kind="stable").tolist()
    return found
