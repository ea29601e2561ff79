"""Grading in a worker process: what hangs is cut, what eats the memory is cut, and the rest goes on.

A worker is asked for one comparison at a time. If it has not answered within ``timeout`` seconds, or has died, it is
killed, the answer is wrong for that reason, and the next comparison has a new worker. Numbers are compared here. Equal
comparisons are made once. A verdict depends on the two answers alone.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

__all__ = ["Grader", "Item", "Verdict"]

#: Bytes of address space that a worker may have.
_MEMORY = 4 * 2**30
#: Seconds that a new worker may take to be ready.
_START = 120.0


class Item(NamedTuple):
    """An expected answer and a given one (None: there is none) of a kind of :data:`~.answers.KINDS`."""

    expected: str
    answer: str | None
    kind: str


class Verdict(NamedTuple):
    """Whether it is right; one spelling of equal answers; why there was no comparison ("" if there was).

    ``reason``: "no answer", "too long", "unparsable", "timeout" or "crashed" (the worker died or had no memory left).
    An answer without a ``canonical`` spelling casts no vote.
    """

    correct: bool
    canonical: str | None
    reason: str


class Grader:
    """Compares answers; to be used in a ``with`` block, whose end leaves no process behind.

    ``timeout``: seconds a comparison; ``longest``: characters of an answer that is still read.
    """

    def __init__(self, timeout: float = 5.0, longest: int = 20_000) -> None:
        if not timeout > 0.0:
            raise ValueError(f"timeout = {timeout}: expected seconds above 0")
        self._timeout, self._longest = timeout, longest
        self._worker: _Worker | None = None
        self._known: dict[Item, Verdict] = {}

    def __enter__(self) -> Self:
        """A worker begins with the first comparison that needs one."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Kill the worker."""
        self._stop()

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def grade(self, items: Sequence[Item]) -> list[Verdict]:
        """A verdict for each. Raises ``ValueError`` if an expected answer cannot be read."""
        for item in items:
            if item not in self._known:
                self._known[item] = self._verdict(item)
        return [self._known[item] for item in items]

    def _verdict(self, item: Item) -> Verdict:
        if item.answer is None:
            return Verdict(False, None, "no answer")
        if len(item.answer) > self._longest:
            return Verdict(False, None, "too long")
        if item.kind != "latex":
            return _of_numbers(item.expected, item.answer)
        if self._worker is None:
            self._worker = _Worker()
        found = self._worker.ask(item.expected, item.answer, self._timeout)
        if isinstance(found, Verdict):
            if found.reason in ("timeout", "crashed"):
                self._stop()
            return found
        raise ValueError(found)


def _of_numbers(expected: str, answer: str) -> Verdict:
    """By their plain decimals. Raises ``ValueError`` if nothing of the sort is expected."""
    from llm_validation.sampling.grading import final_number

    wanted, given = final_number(expected), final_number(answer)
    if wanted is None:
        raise ValueError(f"expected answer {expected[:80]!r}: no number")
    return Verdict(given == wanted, given, "" if given is not None else "unparsable")


class _Worker:
    """A process that compares."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        try:
            ready = self._pipe.poll(_START) and self._pipe.recv() == "ready"
        except (EOFError, OSError):
            ready = False
        if not ready:
            self.kill()
            raise RuntimeError("a grading worker did not start; is math-verify (extra 'llm') installed?")

    def ask(self, expected: str, answer: str, timeout: float) -> Verdict | str:
        """The verdict, or what is wrong with the expected answer."""
        try:
            self._pipe.send((expected, answer))
            if not self._pipe.poll(timeout):
                return Verdict(False, None, "timeout")
            found: Verdict | str = self._pipe.recv()
        except (EOFError, OSError):
            return Verdict(False, None, "crashed")
        return found

    def kill(self) -> None:
        """End the process, and wait until it has."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Any) -> None:
    """The worker's loop: ends with its parent."""
    import resource
    import signal

    from llm_validation.grading.compare import compared

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent kills it
    compared("1", r"\frac{2}{2}")  # the first comparison loads what all need
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    pipe.send("ready")
    while True:
        try:
            expected, answer = pipe.recv()
        except EOFError:
            return
        pipe.send(_compared(compared, expected, answer))


def _compared(compare: Any, expected: str, answer: str) -> Verdict | str:
    try:
        return Verdict(*compare(expected, answer))
    except ValueError as error:
        if str(error).startswith("expected answer"):
            return str(error)
        return Verdict(False, None, "unparsable")
    except MemoryError:
        return Verdict(False, None, "crashed")
    except (ArithmeticError, AttributeError, KeyError, NotImplementedError, RecursionError, TypeError):
        return Verdict(False, None, "unparsable")  # whatever a parser of LaTeX makes of what is none
