"""A real server of a model on this machine, for tests and for ``make math-smoke``: ``transformers serve``.

``python tests/local_server.py MODEL_DIR -- COMMAND ...`` runs a command while it serves, with ``{url}`` in the command
replaced by its address, and ends with the command's exit code.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["free_port", "served"]

#: Seconds that a server may take to answer.
_START = 120.0


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    """Whether something answers there, whatever it says."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


@contextmanager
def served(model: Path, port: int | None = None) -> Iterator[str]:
    """The address (``http://127.0.0.1:PORT/v1``) of a server of the model in a directory, while the block runs."""
    port = free_port() if port is None else port
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model), "--host", "127.0.0.1"]
    with subprocess.Popen(
        [*command, "--port", str(port), "--device", "cpu"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            end = time.monotonic() + _START
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"transformers serve did not answer at port {port}")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


def main(argv: Sequence[str]) -> int:
    """Serve, run the command, and return its exit code."""
    model, mark, *command = argv
    if mark != "--" or not command:
        print("python tests/local_server.py: expected MODEL_DIR -- COMMAND ...", file=sys.stderr)
        return 2
    with served(Path(model)) as url:
        return subprocess.run([part.replace("{url}", url) for part in command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
