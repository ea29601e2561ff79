"""What the commands of the diagnosis share: how files are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_validation.traces import Traces

__all__ = ["PROG", "add_reading", "chosen", "one_run", "read", "shown"]

PROG = "python -m llm_validation.diagnose"


def add_reading(add: Callable[..., Any]) -> None:
    """Options that say how files are read."""
    add("--map", action="append", default=[], metavar="NAME=COLUMN", help="the column that holds NAME; may be repeated")
    add("--tokenizer", metavar="NAME", help="counts tokens of text where none are given (default: white space)")
    add("--answers", action="store_true", help="leave tokens aside: H = 1, a trace returns 1 if it is right, else 0")
    add(
        "--horizon",
        type=int,
        metavar="H",
        help="token budget (default: the longest trace of each run; 1 without tokens)",
    )
    add("--seed", type=_seed, default=0, help="of every bootstrap and split (default 0)")
    add("--level", type=float, default=0.95, help="of every interval (default 0.95)")
    add("--format", choices=("table", "json"), default="table", help="what is printed on standard output")


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value}, expected a whole number of at least 0")
    return value


def _mapping(pairs: Sequence[str]) -> dict[str, str]:
    """``--map`` as a dictionary. Raises ``ValueError``."""
    found = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals or not name or not column:
            raise ValueError(f"--map {pair}: expected NAME=COLUMN")
        found[name] = column
    return found


def _counter(name: str | None) -> Callable[[str], int] | None:
    """Tokens of a text by a tokenizer of transformers. Raises ``ValueError``."""
    if name is None:
        return None
    try:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(name)
    except ImportError:
        raise ValueError(f"--tokenizer {name}: needs the extra 'llm' (pip install 'verifier-gap[llm]')") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"--tokenizer {name}: cannot be loaded ({str(error).splitlines()[0]})") from None
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def read(paths: Sequence[Path], arguments: argparse.Namespace) -> Traces:
    """Traces of all files, read as the options say. Raises ``ValueError`` with one line."""
    from llm_validation.reading import read_traces

    if arguments.answers and arguments.horizon not in (None, 1):
        raise ValueError(f"--answers: expected without --horizon {arguments.horizon}, H is 1")
    traces = read_traces(
        paths, _mapping(arguments.map), _counter(arguments.tokenizer), arguments.tokenizer or "white space"
    )
    if not arguments.answers:
        return traces
    from llm_validation.quality import with_caps

    return with_caps(traces).as_answers()


def chosen(traces: Traces, wanted: Sequence[str], option: str) -> Traces:
    """Only runs whose label contains one of ``wanted``, all if that is empty. Raises ``ValueError`` if none is left."""
    import dataclasses

    import numpy as np

    if not wanted:
        return traces
    kept = [i for i, group in enumerate(traces.groups) if any(word in str(group) for word in wanted)]
    if not kept:
        there = "; ".join(map(str, traces.groups[:3])) + ("; .." if len(traces.groups) > 3 else "")
        raise ValueError(f"{option} {', '.join(wanted)}: no such run; there are {len(traces.groups)}: {there}")
    place = np.full(len(traces.groups), -1)
    place[kept] = np.arange(len(kept))
    mine = traces.where(place[traces.group] >= 0)
    return dataclasses.replace(mine, group=place[mine.group], groups=tuple(traces.groups[i] for i in kept))


def one_run(path: Path, option: str, arguments: argparse.Namespace, label: str | None = None) -> Traces:
    """Traces of a file that holds one run, or one whose label contains ``label``. Raises ``ValueError``."""
    try:
        found = read([path], arguments)
    except ValueError as error:
        raise ValueError(f"{option} {error}") from None
    traces = chosen(found, [label] if label else [], f"{option} {path}:")
    if len(traces.groups) != 1:
        there = "; ".join(map(str, traces.groups[:4])) + ("; .." if len(traces.groups) > 4 else "")
        which = {"FIRST": "--first-run", "SECOND": "--second-run", "PILOT": "--run"}.get(option, f"{option}-run")
        raise ValueError(
            f"{option} {path}: holds {len(traces.groups)} runs ({there}), expected one: {which} says which"
        )
    return traces


def shown(interval: Mapping[str, Any] | None, digits: str = ".3g") -> str:
    """``estimate [low, high]``, with ? for what is not known."""
    if interval is None:
        return "?"
    value = [("?" if interval[k] is None else format(interval[k], digits)) for k in ("estimate", "low", "high")]
    return f"{value[0]} [{value[1]}, {value[2]}]"
