"""Sampling from a server with OpenAI's interface: vLLM, llama.cpp, ``transformers serve``, and others.

One request a trace to ``URL/completions`` or ``URL/chat/completions``, several at a time, each with the trace's seed
(31 bits; whether a server honours it is its own affair). Tokens are the server's count; a server that does not count
them gives errors, not guesses. No connection, no answer within ``timeout``, and the codes 408, 409, 425, 429 and 5xx
are tried again after 2^k/2 seconds (k = 0, 1, ..; at most 30, or what Retry-After says, up to 120), jittered by the
trace's seed; after ``retries`` tries, or at once for other codes, the trace has an error. A trace depends on nothing
else in its call.

The key comes from the environment and is sent as a bearer token; it is in no message, manifest or representation, nor
is what the URL holds before ``@`` or after ``?``.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from llm_validation.sampling.backend import BackendError, Generation, Request, Sampling
from sim.store import redacted

__all__ = ["APIS", "Endpoint", "EndpointBackend"]

APIS = ("completions", "chat")
_AGAIN = (408, 409, 425, 429)
_LONGEST_WAIT, _LONGEST_ASKED = 30.0, 120.0
#: Bytes of an answer at most.
_LARGEST = 64 * 2**20
#: Characters of what a server says that are repeated.
_SAID = 200


class _FailedError(RuntimeError):
    """A request that has failed; ``wait``: seconds after which it may be tried again, None for never."""

    def __init__(self, message: str, wait: float | None, code: int = 0) -> None:
        super().__init__(" ".join(message.split()))
        self.wait, self.code = wait, code  # 0: no answer of HTTP


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server: ``url`` ends in /v1. Raises ``ValueError`` with one line if it cannot be one."""

    url: str
    model: str = ""  # what the server calls it; empty: the one model that it serves
    api: str = "completions"
    concurrency: int = 8
    timeout: float = 120.0
    retries: int = 5
    key_env: str = "OPENAI_API_KEY"

    def __post_init__(self) -> None:
        """Checks every field."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"--endpoint {redacted(self.url)}: expected http://HOST[:PORT]/v1")
        if self.api not in APIS:
            raise ValueError(f"endpoint.api = {self.api}: expected of {', '.join(APIS)}")
        if self.concurrency < 1 or self.retries < 0 or not self.timeout > 0.0:
            raise ValueError(
                f"endpoint: concurrency {self.concurrency}, retries {self.retries}, timeout {self.timeout:g}: expected "
                "at least 1, at least 0 and above 0"
            )


@dataclass(slots=True)
class EndpointBackend:
    """Continues prompts by a server. ``sleep`` waits so many seconds."""

    endpoint: Endpoint
    sleep: Callable[[float], None] = time.sleep
    _model: str = field(default="", repr=False)

    @property
    def model(self) -> str:
        """What the server calls the model. Raises :class:`BackendError`."""
        if not self._model:
            self._model = self._served()
        return self._model

    def _served(self) -> str:
        """The model that is asked for, or the only one. Raises :class:`BackendError`.

        A server that lists no models, or loads what it is asked for, is not contradicted: a model that it does not have
        is an error of the first trace.
        """
        where, wanted = redacted(self.endpoint.url), self.endpoint.model
        try:
            found = self._sent("GET", "models", None)
            names = [str(entry["id"]) for entry in found["data"]]
        except _FailedError as error:
            if wanted and error.code not in (0, 401, 403):
                return wanted
            raise BackendError(f"--endpoint {where}: {error}") from None
        except (KeyError, TypeError):
            names = []
        if wanted:
            return wanted
        if len(names) != 1:
            shown = ", ".join(names[:8]) or "none that it lists"
            raise BackendError(f"--endpoint {where}: serves {shown}; expected --endpoint-model NAME")  # fmt: skip
        return names[0]

    def check(self, prompts: Sequence[str], sampling: Sampling) -> None:
        """Raises :class:`BackendError` if the server is not there or serves another model."""
        if sampling.chat and self.endpoint.api != "chat":
            raise BackendError("endpoint.api = completions: a chat needs chat")
        _ = self.model

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        """One continuation a request, in their order. Raises :class:`BackendError` if the server cannot be asked."""
        self.check([], sampling)
        with ThreadPoolExecutor(self.endpoint.concurrency) as pool:
            return list(pool.map(lambda request: self._generated(request, sampling), requests))

    def _generated(self, request: Request, sampling: Sampling) -> Generation:
        body = self._body(request, sampling)
        path = "chat/completions" if self.endpoint.api == "chat" else "completions"
        wait = iter(_waits(request.seed, self.endpoint.retries))
        while True:
            try:
                return _read(self._sent("POST", path, body))
            except _FailedError as error:
                pause = next(wait, None)
                if error.wait is None or pause is None:
                    return Generation("", 0, False, math.nan, str(error))
                self.sleep(max(pause, error.wait))

    def _body(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": sampling.horizon if request.horizon is None else request.horizon,
            "temperature": sampling.temperature,
            "seed": request.seed % 2**31,
        }
        if sampling.stop:
            body["stop"] = [sampling.stop]
        if self.endpoint.api == "chat":
            messages = [{"role": "user", "content": request.prompt}]
            if request.begun:
                messages.append({"role": "assistant", "content": request.begun})
            return body | {"messages": messages, "logprobs": True}
        return body | {"prompt": request.prompt + request.begun, "logprobs": 0}

    def _sent(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        """What the server answers, as JSON. Raises :class:`_FailedError`."""
        import requests

        url = self.endpoint.url.rstrip("/")
        base, mark, query = url.partition("?")
        where = f"{base.rstrip('/')}/{path}{mark}{query}"
        key = os.environ.get(self.endpoint.key_env, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            with requests.request(
                method, where, json=body, headers=headers, timeout=self.endpoint.timeout, stream=True
            ) as answer:
                content = _content(answer, time.monotonic() + self.endpoint.timeout)
                return _checked(answer.status_code, answer.headers.get("Retry-After", ""), content, key)
        except requests.Timeout:
            raise _FailedError(f"no answer within {self.endpoint.timeout:g} s", 0.0) from None
        except requests.RequestException as error:
            raise _FailedError(f"no connection ({type(error).__name__})", 0.0) from None


def _waits(seed: int, retries: int) -> list[float]:
    """Seconds before each new try: 2^k/2, between half and all of it by the seed."""
    found = []
    for k in range(retries):
        share = ((seed >> (8 * (k % 16))) % 256) / 255.0
        found.append(min(0.5 * 2.0**k, _LONGEST_WAIT) * (0.5 + 0.5 * share))
    return found


def _content(answer: Any, deadline: float) -> bytes:
    """What was answered. Raises :class:`_FailedError` if it is too long or takes too long."""
    found = bytearray()
    for part in answer.iter_content(2**16):
        found += part
        if len(found) > _LARGEST:
            raise _FailedError(f"an answer of more than {_LARGEST} bytes", None)
        if time.monotonic() > deadline:
            raise _FailedError("an answer that does not end in time", 0.0)
    return bytes(found)


def _checked(code: int, retry_after: str, content: bytes, key: str) -> Any:
    """The answer's JSON. Raises :class:`_FailedError` with what the server says, without the key."""
    import json

    if code in _AGAIN or code >= 500:
        asked = float(retry_after) if retry_after.isdigit() else 0.0
        raise _FailedError(f"HTTP {code}{_said(content, key)}", min(asked, _LONGEST_ASKED), code)
    if code >= 300:
        raise _FailedError(f"HTTP {code}{_said(content, key)}", None, code)
    try:
        return json.loads(content)
    except ValueError:
        raise _FailedError("an answer that is no JSON", 0.0) from None


def _said(content: bytes, key: str) -> str:
    text = " ".join(content[: 4 * _SAID].decode(errors="replace").split())
    if key:
        text = text.replace(key, "***")
    return f": {text[:_SAID]}" if text else ""


def _read(answer: Any) -> Generation:
    """A completion of either interface. Raises :class:`_FailedError` if it lacks text, an end or a count of tokens."""
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        reason, tokens = choice["finish_reason"], answer["usage"]["completion_tokens"]
    except (KeyError, IndexError, TypeError) as error:
        raise _FailedError(f"an answer without {error}; expected choices, finish_reason and usage", None) from None
    if not isinstance(text, str) or not isinstance(tokens, int) or tokens < 0:
        raise _FailedError("an answer whose text or completion_tokens is neither text nor count", None)
    return Generation(text, tokens, reason == "length", _score(choice))


def _score(choice: Mapping[str, Any]) -> float:
    """Mean log-probability of the tokens, nats a token; NaN if the server does not tell."""
    told = choice.get("logprobs")
    if not isinstance(told, dict):
        return math.nan
    of_chat = [entry.get("logprob") for entry in told.get("content") or [] if isinstance(entry, dict)]
    found = [value for value in (told.get("token_logprobs") or of_chat) if isinstance(value, int | float)]
    return math.fsum(found) / len(found) if found else math.nan
