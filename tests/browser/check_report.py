"""Open reports in headless Chromium, 1280 and 390 pixels wide, light and dark: nothing may be logged, fetched or cut.

    python tests/browser/check_report.py [REPORT.html ...] [--browser chromium] [--screenshots DIR]

Without a report those of made-up diagnoses are written and checked. The browser is driven over a pipe by its own
protocol; nothing but Python is needed. Exit codes: 0 all checks hold, 1 some do not, 2 no browser or no such file.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTHS, SCHEMES = (1280, 390), ("light", "dark")
_TALLEST = 16_000  # pixels of a screenshot
_PATIENCE = 60.0  # seconds that one answer of the browser may take

#: Opens everything; what sticks out of the page, whatever scrolls in a box of its own left out; contrast of text.
_PROBE = """
(() => {
  document.querySelectorAll("details").forEach(d => { d.open = true; });
  const width = document.documentElement.clientWidth, out = [];
  const inBox = e => e.parentElement && e.parentElement.closest(".scroll");
  for (const e of document.body.querySelectorAll("*")) {
    const box = e.getBoundingClientRect();
    if (box.width > 0 && !inBox(e) && (box.right > width + 1 || box.left < -1))
      out.push(e.tagName.toLowerCase() + "." + (e.getAttribute("class") || "") + " to " + Math.round(box.right));
  }
  const small = [...document.querySelectorAll("figure svg")].filter(e => e.getBoundingClientRect().height < 60).length;
  const uses = [...document.querySelectorAll("use")];
  const broken = uses.filter(e => !document.querySelector(e.getAttribute("href"))).length;
  const page = document.documentElement;
  return JSON.stringify({
    scroll: page.scrollWidth, height: page.scrollHeight, inner: window.innerWidth, out: out.slice(0, 5), small, broken,
    figures: document.querySelectorAll("figure svg").length, runs: document.querySelectorAll("details.run").length,
    text: document.body.innerText.length, paper: getComputedStyle(document.body).backgroundColor,
  });
})()
"""


class Browser:
    """Headless Chromium and one page in it; use as a context."""

    def __init__(self, executable: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="report-check-")
        to_child, self._write = os.pipe()
        self._read, from_child = os.pipe()
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={self._profile.name}", "about:blank"]
        # The protocol's pipes are file descriptors 3 and 4.
        command = ["bash", "-c", f'exec "$@" 3<&{to_child} 4>&{from_child}', "browser", executable, *options]
        self._process = subprocess.Popen(
            command, pass_fds=(to_child, from_child), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_child)
        os.close(from_child)
        self._buffer = b""
        self._last = 0
        self.events: list[dict[str, Any]] = []
        self._session = ""

    def __enter__(self) -> Browser:
        """With a page attached and its messages on."""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the browser and removes its profile."""
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        try:
            self._profile.cleanup()
        except OSError:  # the last helper of the browser is still leaving
            shutil.rmtree(self._profile.name, ignore_errors=True)

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command. Raises ``RuntimeError`` if there is none, or an error."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        for answer in self._messages(_PATIENCE):
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                found: dict[str, Any] = answer["result"]
                return found
        raise RuntimeError(f"{method}: no answer within {_PATIENCE:g} s")

    def _messages(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Messages until the time is over; events are kept."""
        end = time.monotonic() + seconds
        while True:
            whole, found, rest = self._buffer.partition(b"\0")
            if found:
                self._buffer = rest
                message = json.loads(whole)
                if "method" in message:
                    self.events.append(message)
                yield message
                continue
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                return
            chunk = os.read(self._read, 1 << 20)
            if not chunk:
                raise RuntimeError("the browser has ended")
            self._buffer += chunk

    def wait_for(self, event: str) -> None:
        """Until that event was seen."""
        if any(message["method"] == event for message in self.events):
            return
        for message in self._messages(_PATIENCE):
            if message.get("method") == event:
                return
        raise RuntimeError(f"{event}: not seen within {_PATIENCE:g} s")


def _complaints(events: Sequence[dict[str, Any]], address: str) -> list[str]:
    """What the page logged, threw, asked for or did not get."""
    found = []
    for event in events:
        method, given = event["method"], event["params"]
        if method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            found.append(f"{given['entry']['level']}: {given['entry']['text']}")
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            found.append(f"console.{given['type']}: {[entry.get('value') for entry in given['args']]}")
        elif method == "Runtime.exceptionThrown":
            found.append(f"exception: {given['exceptionDetails'].get('text')}")
        elif method == "Network.loadingFailed":
            found.append(f"failed: {given.get('errorText')} ({given.get('type')})")
        elif method == "Network.requestWillBeSent" and given["request"]["url"] != address:
            found.append(f"asks for {given['request']['url'][:120]}")
    return found


def check(browser: Browser, report: Path, width: int, scheme: str, screenshots: Path | None) -> list[tuple[bool, str]]:
    """Whether each check holds, and its line."""
    address = report.resolve().as_uri()
    browser("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    for url in ("about:blank", address):
        browser.events.clear()
        browser("Page.navigate", url=url)
        browser.wait_for("Page.loadEventFired")
    answer = browser("Runtime.evaluate", expression=_PROBE)
    if "exceptionDetails" in answer:
        raise RuntimeError(f"the probe failed: {answer['exceptionDetails']}")
    seen = json.loads(answer["result"]["value"])
    if screenshots is not None:
        clip = {"x": 0, "y": 0, "width": width, "height": min(seen["height"], _TALLEST), "scale": 1}
        image = browser("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        screenshots.mkdir(parents=True, exist_ok=True)
        name = f"{report.resolve().parent.name}-{report.stem}-{width}-{scheme}.png"
        (screenshots / name).write_bytes(base64.b64decode(image))
    complaints = _complaints(browser.events, address)
    opaque = re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", seen["paper"])
    is_dark = opaque is not None and sum(map(int, opaque.groups())) < 3 * 128
    return [
        (not complaints, f"no message, failure or request: {complaints[:5] or 'none'}"),
        (seen["inner"] == width and seen["scroll"] <= width, f"page {seen['scroll']} px wide"),
        (not seen["out"], f"nothing sticks out: {seen['out'] or 'none'}"),
        (seen["text"] > 200 and seen["runs"] > 0, f"{seen['runs']} runs, {seen['text']} characters"),
        (not seen["small"] and not seen["broken"], f"{seen['figures']} figures whole"),
        (opaque is not None and is_dark == (scheme == "dark"), f"background {seen['paper']}"),
    ]


@contextmanager
def _samples() -> Iterator[list[Path]]:
    """Reports of made-up diagnoses."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from diagnoses import CASES

    from llm_validation.report import write_report

    with tempfile.TemporaryDirectory() as directory:
        yield [write_report(make(), Path(directory) / name)[0] for name, make in CASES.items()]


@contextmanager
def _given(reports: list[Path]) -> Iterator[list[Path]]:
    yield reports


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reports", nargs="*", type=Path, metavar="REPORT.html")
    parser.add_argument("--browser", help=f"executable (default: the first of {', '.join(BROWSERS)})")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="also write what is seen to DIR")
    arguments = parser.parse_args(argv)
    wanted = (arguments.browser,) if arguments.browser else BROWSERS
    executable = next((path for name in wanted if (path := shutil.which(name))), None)
    if executable is None:
        print(f"check_report: no browser: expected {' or '.join(wanted)}", file=sys.stderr)
        return 2
    absent = [path for path in arguments.reports if not path.is_file()]
    if absent:
        print(f"check_report: {absent[0]}: no such file", file=sys.stderr)
        return 2
    holds = True
    with _given(arguments.reports) if arguments.reports else _samples() as reports, Browser(executable) as browser:
        for report in reports:
            for width in WIDTHS:
                for scheme in SCHEMES:
                    for good, line in check(browser, report, width, scheme, arguments.screenshots):
                        holds &= good
                        verdict = "ok  " if good else "FAIL"
                        print(f"{verdict} {report.parent.name}/{report.name} {width} px {scheme}: {line}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
