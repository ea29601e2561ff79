"""What a back end does: it continues prompts. Which samples there are, and what they are worth, it does not know."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Backend", "BackendError", "Generation", "Request", "Sampling", "request_seed"]


class BackendError(ValueError):
    """A model that cannot be loaded or cannot do what is asked; the message is one line."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How every prompt is continued."""

    temperature: float  # 0: the likeliest token always
    horizon: int  # tokens at most
    stop: str  # the text that ends an answer and is no part of it; empty: only the model's end of text does
    chat: bool = False  # prompts are messages of a user, shown as the model's template says


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt, and the seed of all random numbers of its continuation."""

    prompt: str
    seed: int
    horizon: int | None = None  # tokens at most, if fewer than the others may have
    begun: str = ""  # what is written already: of a chat, the beginning of the answer


@dataclass(frozen=True, slots=True)
class Generation:
    """What came back. ``tokens`` counts all that were written, the one that ended the answer included."""

    text: str
    tokens: int
    truncated: bool  # the budget ended before the answer did
    score: float  # mean log-probability of its tokens at temperature 1, nats a token
    error: str | None = None  # why there is no answer; the other fields then mean nothing
    ids: tuple[int, ...] = ()  # the tokens, where they are known


class Backend(Protocol):
    """Continues prompts. What it returns for a request must not depend on the other requests of the call."""

    def check(self, prompts: Sequence[str], sampling: Sampling) -> None:
        """Raises :class:`BackendError` if these prompts cannot be continued so."""

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        """One continuation a request, in their order. What fails is returned as an error, not raised."""


def request_seed(seed: int, *identity: str | int) -> int:
    """A seed of 128 bits for whatever ``identity`` names: different ones share no random number."""
    text = "\0".join(map(str, (seed, *identity)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
