"""Sampling from a server: a real one, and one of ours that misbehaves on purpose."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_validation.sampling import tiny
from llm_validation.sampling.__main__ import main
from llm_validation.sampling.backend import BackendError, Generation, Request, Sampling
from llm_validation.sampling.endpoint_backend import Endpoint, EndpointBackend
from local_server import free_port, served
from scripted_server import Server, body, running
from sim.store import redacted
from strategies import checked

KEY = "sk-secret-0123456789"
ONE = [Request("What is 1 + 2?", 7)]
SAMPLING = Sampling(1.0, 8, "\n")
GOOD: dict[str, Any] = {
    "choices": [{"text": " 3", "finish_reason": "stop"}],
    "usage": {"completion_tokens": 2},
}


def backend(url: str, waited: list[float] | None = None, **settings: Any) -> EndpointBackend:
    """A back end that waits no time; ``waited`` is told how long it would have."""
    return EndpointBackend(
        Endpoint(url, **{"timeout": 5.0, **settings}), sleep=(waited if waited is not None else []).append
    )


def one(url: str, waited: list[float] | None = None, **settings: Any) -> Generation:
    (found,) = backend(url, waited, **settings).generate(ONE, SAMPLING)
    return found


def test_a_completion_is_asked_for_and_read() -> None:
    """Model, prompt with what is begun, budget, temperature, 31 bits of the seed and the stop text; the server's count
    of tokens, its end and the mean of its log-probabilities.
    """
    server = Server(lambda number, asked: body({
        "choices": [{"text": " 3", "finish_reason": "length", "logprobs": {"token_logprobs": [-0.5, -1.5]}}],
        "usage": {"completion_tokens": 2},
    }))  # fmt: skip
    with running(server) as url:
        request = Request("What is 1 + 2?", 2**40 + 7, horizon=5, begun=" It")
        (found,) = backend(url).generate([request], Sampling(0.7, 8, "\n"))
    assert found == Generation(" 3", 2, True, -1.0)
    expected = {"model": "m", "prompt": "What is 1 + 2? It", "max_tokens": 5, "temperature": 0.7, "seed": 7}
    assert {name: server.asked[0][name] for name in expected} == expected
    assert (server.asked[0]["stop"], server.asked[0]["path"]) == (["\n"], "/v1/completions")


def test_a_chat_is_asked_for_and_read() -> None:
    """The prompt is the user's message, what is begun the assistant's."""
    server = Server(lambda number, asked: body({
        "choices": [{"message": {"content": "3"}, "finish_reason": "stop",
                     "logprobs": {"content": [{"logprob": -0.25}]}}],
        "usage": {"completion_tokens": 1},
    }))  # fmt: skip
    with running(server) as url:
        request = Request("What is 1 + 2?", 7, begun="It is")
        (found,) = backend(url, api="chat").generate([request], Sampling(1.0, 8, "", chat=True))
    assert found == Generation("3", 1, False, -0.25)
    messages = [{"role": "user", "content": "What is 1 + 2?"}, {"role": "assistant", "content": "It is"}]
    assert (server.asked[0]["messages"], server.asked[0]["path"]) == (messages, "/v1/chat/completions")
    assert "stop" not in server.asked[0]


@pytest.mark.parametrize("code", [408, 409, 425, 429, 500, 502, 503])
def test_trouble_that_may_pass_is_tried_again(code: int) -> None:
    """Three times no, then an answer: it is taken, after waits that grow."""
    server = Server(lambda number, asked: (code, {}, b"later") if number < 3 else body(GOOD))
    waited: list[float] = []
    with running(server) as url:
        found = one(url, waited)
    assert (found.text, found.error) == (" 3", None)
    assert len(waited) == 3
    assert all(0.25 * 2**k <= seconds <= 0.5 * 2**k for k, seconds in enumerate(waited))


def test_a_server_that_says_when_is_waited_for() -> None:
    """Retry-After in seconds is the least wait, two minutes the most."""
    server = Server(
        lambda number, asked: (429, {"Retry-After": ["7", "9999"][number]}, b"") if number < 2 else body(GOOD)
    )
    waited: list[float] = []
    with running(server) as url:
        assert one(url, waited).error is None
    assert waited == [7.0, 120.0]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
def test_other_codes_are_errors_at_once(code: int) -> None:
    """One request, one line with the code and what the server says."""
    server = Server(lambda number, asked: (code, {}, b"no such\nmodel"))
    with running(server) as url:
        found = one(url)
    assert found.error == f"HTTP {code}: no such model"
    assert len(server.asked) == 1


def test_tries_are_numbered() -> None:
    """After ``retries`` tries more the trace has the last error; the other traces are not touched by it."""
    server = Server(lambda number, asked: body(GOOD) if asked["seed"] == 1 else (500, {}, b""))
    with running(server) as url:
        bad, good = backend(url, retries=2).generate([Request("x", 0), Request("x", 1)], SAMPLING)
    assert (bad.error, good.error) == ("HTTP 500", None)
    assert Counter(asked["seed"] for asked in server.asked) == {0: 3, 1: 1}


@pytest.mark.parametrize(
    ("answer", "tries", "expected"),
    [
        ((0, {}, b""), 3, "no connection (ConnectionError)"),
        ((200, {}, b"<html>"), 3, "an answer that is no JSON"),
        ((200, {}, b"[]"), 1, "an answer without list indices"),
        (body({"choices": []}), 1, "an answer without list index out of range"),
        (body({**GOOD, "usage": {}}), 1, "an answer without 'completion_tokens'; expected choices"),
        (body({**GOOD, "usage": {"completion_tokens": "2"}}), 1, "neither text nor count"),
        (body({**GOOD, "usage": {"completion_tokens": -1}}), 1, "neither text nor count"),
        (body({**GOOD, "choices": [{"text": None, "finish_reason": "stop"}]}), 1, "neither text nor count"),
    ],
)
def test_an_answer_that_is_none_is_an_error(
    answer: tuple[int, dict[str, str], bytes], tries: int, expected: str
) -> None:
    """A count that is missing is never guessed; what is no answer of the interface is one line."""
    server = Server(lambda number, asked: answer)
    with running(server) as url:
        found = one(url, retries=2)
    assert found.error is not None
    assert expected in found.error
    assert "\n" not in found.error
    assert len(server.asked) == tries


def test_an_answer_that_is_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """More bytes than a trace can have are not read to their end."""
    monkeypatch.setattr("llm_validation.sampling.endpoint_backend._LARGEST", 2**17)
    with running(Server(lambda number, asked: (200, {}, b" " * 2**20))) as url:
        assert one(url).error == f"an answer of more than {2**17} bytes"


def test_a_slow_answer_is_given_up() -> None:
    """Nothing within ``timeout``: tried again, then an error that names the seconds."""
    released = threading.Event()

    def slow(number: int, asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        released.wait(10.0)
        return body(GOOD)

    with running(Server(slow)) as url:
        began = time.monotonic()
        found = one(url, timeout=0.2, retries=1)
        took = time.monotonic() - began
        released.set()
    assert found.error == "no answer within 0.2 s"
    assert took < 5.0


def test_no_more_than_so_many_at_a_time() -> None:
    """The concurrency is a limit, and it is reached."""
    server = Server(lambda number, asked: (time.sleep(0.05), body(GOOD))[1])
    with running(server) as url:
        backend(url, concurrency=3).generate([Request("x", seed) for seed in range(12)], SAMPLING)
    assert server.most == 3


def test_the_key_is_sent_and_never_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a bearer token; a server that repeats it is quoted without it, and no representation holds it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = Server(lambda number, asked: (401, {}, f"bad key {KEY}".encode()))
    with running(server) as url:
        found = backend(url)
        (generation,) = found.generate(ONE, SAMPLING)
        assert KEY not in repr(found)
    assert server.keys == [f"Bearer {KEY}"]
    assert generation.error == "HTTP 401: bad key ***"


def test_addresses_are_shown_without_what_may_be_secret() -> None:
    """Neither user nor password nor query of an address, wherever it stands in a text."""
    text = "--endpoint=https://user:pass@host:80/v1?key=1 and http://host/v1"
    assert redacted(text) == "--endpoint=https://host:80/v1 and http://host/v1"


@given(st.text(st.characters(exclude_characters="@/? \t\n\r", exclude_categories=["Z", "C"]), max_size=20))
@checked
def test_no_credentials_survive(user: str) -> None:
    """Whatever stands before @ in an address."""
    assert redacted(f"x http://{user}@host/v1 y") == "x http://host/v1 y"


@pytest.mark.parametrize(
    ("url", "models", "model", "expected"),
    [
        (None, (), "", "no connection"),
        ("", ("a", "b"), "", "serves a, b; expected --endpoint-model NAME"),
        ("", (), "", "serves none that it lists; expected --endpoint-model NAME"),
    ],
)
def test_a_server_that_cannot_be_used_is_one_line(
    url: str | None, models: tuple[str, ...], model: str, expected: str
) -> None:
    """Not there, or several models to choose from: said before anything is asked."""
    with running(Server(lambda number, asked: body(GOOD), models)) as here:
        found = backend(here if url is not None else f"http://u:p@127.0.0.1:{free_port()}/v1", model=model)
        with pytest.raises(BackendError) as caught:
            found.generate(ONE, SAMPLING)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://host/v1", "http://", "v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """One line with the value and what was expected."""
    with pytest.raises(ValueError, match=r"expected http://HOST\[:PORT\]/v1\Z"):
        Endpoint(url)


def asked(out: Path, url: str, *more: str) -> list[str]:
    """The command line of twelve traces."""
    return ["--endpoint", url, "--out", str(out), "--problems", "3", "--samples", "4", "--horizon", "4", "--shots", "0",
            "--batch", "4", "--retries", "0", *more]  # fmt: skip


def test_a_run_goes_on_after_its_server_died(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The server breaks after five traces: exit code 3, the rest kept. Another one elsewhere: every trace is there
    once, those of finished batches were not asked for again, and no secret is in any file.
    """
    dying = Server(lambda number, asked: body(GOOD) if number < 5 else (0, {}, b""))
    with running(dying) as url:
        assert main(asked(tmp_path / "o", url.replace("http://", "http://user:secret@"))) == 3
    first = pq.read_table(tmp_path / "o" / "traces.parquet").to_pylist()
    assert sum(row["error"] is None for row in first) == 5
    well = Server(lambda number, asked: body(GOOD))
    with running(well) as url:
        assert main(asked(tmp_path / "o", url, "--resume")) == 0
    rows = pq.read_table(tmp_path / "o" / "traces.parquet").to_pylist()
    cells = [(row["problem_id"], row["sample"]) for row in rows]
    assert len(set(cells)) == len(cells) == 12
    assert {row["error"] for row in rows} == {None}
    assert len(well.asked) == 8  # whole batches: the first one was done
    assert not [path for path in (tmp_path / "o").rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    capsys.readouterr()


def test_another_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory that was begun with one served model is not gone on with by another."""
    with running(Server(lambda number, asked: body(GOOD))) as url:
        assert main(asked(tmp_path / "o", url)) == 0
    with running(Server(lambda number, asked: body(GOOD), ("other",))) as url:
        assert main(asked(tmp_path / "o", url, "--resume")) == 2
    assert "made by another config (differs in model" in capsys.readouterr().err


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and name of a random Llama at a real server."""
    model = tiny.write(tmp_path_factory.mktemp("models") / "tiny")
    with served(model) as url:
        yield url, str(model)


def test_a_real_server_is_sampled(real: tuple[str, str]) -> None:
    """Answers of at most the budget, cut ones said to be; other seeds give other answers."""
    url, model = real
    found = backend(url, model=model, timeout=60.0).generate([Request("1 + 2 =", seed) for seed in range(8)], SAMPLING)
    assert [generation.error for generation in found] == [None] * 8
    assert all(1 <= generation.tokens <= 8 for generation in found)
    assert len({generation.text for generation in found}) > 1
    assert all(generation.tokens == 8 for generation in found if generation.truncated)
    assert all(math.isnan(generation.score) for generation in found)  # this server tells none


def test_a_real_server_is_sampled_by_the_command(
    real: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve traces with the served model's name, and no error."""
    url, model = real
    assert main(asked(tmp_path / "o", url, "--endpoint-model", model, "--timeout", "60")) == 0
    rows = pq.read_table(tmp_path / "o" / "traces.parquet").to_pylist()
    assert len(rows) == 12
    assert {row["model"] for row in rows} == {model}
    capsys.readouterr()
