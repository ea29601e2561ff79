"""A server of ours with OpenAI's interface that answers as a test says: to misbehave, to die, to count."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Server", "body", "running"]


@dataclass
class Server:
    """What a server of ours is asked, and how it answers: ``answer`` gives code, headers and body of each request."""

    answer: Callable[[int, dict[str, Any]], tuple[int, dict[str, str], bytes]]
    models: tuple[str, ...] = ("m",)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    most: int = 0  # requests at a time
    _now: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def body(value: Any) -> tuple[int, dict[str, str], bytes]:
    """An answer with this content as JSON."""
    return 200, {}, json.dumps(value).encode()


@contextmanager
def running(server: Server, port: int = 0) -> Iterator[str]:
    """The address of ``server`` while the block runs."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self.reply(*body({"data": [{"id": name} for name in server.models]}))

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                number = len(server.asked)
                server.asked.append({**asked, "path": self.path})
                server.keys.append(self.headers.get("Authorization", ""))
                server._now += 1
                server.most = max(server.most, server._now)
            try:
                self.reply(*server.answer(number, asked))
            finally:
                with server.lock:
                    server._now -= 1

        def reply(self, code: int, headers: dict[str, str], content: bytes) -> None:
            if code == 0:  # hang up
                self.close_connection = True
                return
            self.send_response(code)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    found = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{found.server_address[1]}/v1"
    finally:
        found.shutdown()
        found.server_close()
        thread.join()
