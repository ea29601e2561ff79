"""Files of traces that are wrong or odd, each with what must come of it: one line, or traces with a stated flaw.

``CASES`` maps a name to a function that writes the file into a folder and returns its path, and to what is expected.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["CASES", "Make", "Read", "Refused"]

Make = Callable[[Path], Path]


@dataclass(frozen=True)
class Refused:
    """One line that names the file (not its content) and holds all of ``says``."""

    says: tuple[str, ...]
    mapping: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Read:
    """So many traces, all of ``findings`` among those of quality, and a note that holds each of ``notes``."""

    traces: int
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    horizon: int | None = None  # of the checks; None: the longest trace


Case = tuple[Make, Refused | Read]


def _bytes(name: str, content: bytes) -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return make


def _csv(*lines: str) -> Make:
    return _bytes("t.csv", "".join(f"{line}\n" for line in lines).encode())


def _jsonl(*rows: Any) -> Make:
    return _bytes("t.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows).encode())


def _columns(size: int, **columns: Any) -> Make:
    """CSV from columns, each a function of the row or one value."""
    values = {name: [c(i) for i in range(size)] if callable(c) else [c] * size for name, c in columns.items()}
    return _csv(",".join(values), *(",".join(map(str, row)) for row in zip(*values.values(), strict=True)))


def _parquet(arrays: Sequence[Any], names: Sequence[str], cut: int | None = None) -> Make:
    def make(folder: Path) -> Path:
        path = folder / "t.parquet"
        pq.write_table(pa.Table.from_arrays([pa.array(a) for a in arrays], names=list(names)), path)
        path.write_bytes(path.read_bytes()[:cut])
        return path

    return make


def _directory(folder: Path) -> Path:
    (folder / "t.csv").mkdir()
    return folder / "t.csv"


GOOD = "problem_id,correct,tokens\n" + "".join(f"p{i % 4},{i % 2},{5 + i}\n" for i in range(48))
_NOISE = np.random.default_rng(0).bytes(4000).hex()  # so that gzip has something to cut

#: Name -> how the file is made, and what is expected of reading it.
CASES: Mapping[str, Case] = {
    # nothing there
    "empty file": (_bytes("t.csv", b""), Refused(("no traces in it",))),
    "empty JSONL": (_bytes("t.jsonl", b"\n\n"), Refused(("no traces in it",))),
    "only a header": (_csv("problem_id,correct,tokens"), Refused(("no traces in it",))),
    "Parquet without rows": (
        _parquet([pa.array([], pa.string())] * 2, ["problem_id", "correct"]),
        Refused(("no traces",)),
    ),
    "only empty lists": (_jsonl({"problem_id": 1, "correct": []}), Refused(("no traces in it",))),
    "absent": (lambda folder: folder / "t.csv", Refused(("no such file",))),
    "a directory": (_directory, Refused(("is a directory",))),
    "unknown kind": (_bytes("t.xlsx", GOOD.encode()), Refused(("unknown kind", ".parquet"))),
    # bytes
    "not UTF-8": (_bytes("t.csv", "problem_id,correct\né,1\n".encode("latin-1")), Refused(("not UTF-8 at byte",))),
    "UTF-16": (_bytes("t.csv", GOOD.encode("utf-16")), Refused(("not UTF-8 at byte 0",))),
    "byte order mark": (_bytes("t.csv", b"\xef\xbb\xbf" + GOOD.encode()), Read(48)),
    "null bytes": (_bytes("t.csv", b"problem_id,correct\na,1\nb,\x00\n"), Refused(("row 2", "correct", "x00"))),
    "gz cut short": (
        _bytes("t.csv.gz", gzip.compress((GOOD + _NOISE).encode())[:-900]),
        Refused(("gzip cut short",)),
    ),
    "gz with a wrong checksum": (
        _bytes("t.csv.gz", gzip.compress(GOOD.encode())[:-8] + b"12345678"),
        Refused(("cannot be read",)),
    ),
    "gz that is none": (_bytes("t.jsonl.gz", b'{"problem_id": 1, "correct": 1}\n'), Refused(("cannot be read",))),
    "Parquet cut short": (
        _parquet([["a"] * 99, [1] * 99], ["problem_id", "correct"], 200),
        Refused(("no readable Parquet",)),
    ),
    "Parquet that is none": (_bytes("t.parquet", b"PAR1 not really PAR1"), Refused(("no readable Parquet",))),
    "half a surrogate pair": (
        _bytes("t.jsonl", b'{"problem_id": "\\ud800", "correct": 1, "text": "a \\udc00"}\n'),
        Read(1, ("few samples",)),
    ),
    # columns
    "no header": (_csv("a,1,3", "a,0,4"), Refused(("no column correct", "--map"))),
    "no labels": (_csv("problem_id,tokens", "a,3"), Refused(("no column correct", "problem_id, tokens"))),
    "no problems": (_csv("correct,tokens", "1,3"), Refused(("no column problem_id",))),
    "another separator": (_csv("problem_id;correct", "a;1"), Refused(("problem_id;correct",))),
    "a column twice": (_csv("problem_id,correct,correct", "a,1,0"), Refused(("column 'correct' occurs twice",))),
    "a column twice in Parquet": (
        _parquet([["a"], [1], [0]], ["problem_id", "correct", "correct"]),
        Refused(("column 'correct' occurs twice",)),
    ),
    "a key twice": (
        _bytes("t.jsonl", b'{"problem_id": 1, "correct": 1}\n{"problem_id": 1, "correct": 1, "correct": 0}\n'),
        Refused(("line 2", "'correct' twice")),
    ),
    "a map to no column": (_csv("problem_id,correct", "a,1"), Refused(("right",), {"correct": "right"})),
    "a map of no name": (_csv("problem_id,correct", "a,1"), Refused(("--map corect=correct",), {"corect": "correct"})),
    "spaces in the header": (_csv("problem_id, correct", "a,1"), Read(1, ("no tokens",))),
    "a line break in a column's name": (_csv('"problem\nid",correct', "a,1"), Refused(("problem id", "problem_id"))),
    "a thousand other columns": (
        _csv(",".join(f"c{i}" for i in range(1000)), ",".join("1" * 1000)),
        Refused(("c19 and 980 more",)),
    ),
    "a short row": (_csv("problem_id,correct,tokens", "a,1,3", "a,1"), Refused(("line 3 has 2 fields, expected 3",))),
    "an open quote": (_csv("problem_id,correct", 'a,"1', "a,0"), Refused(("row 1", "correct is '1"))),
    # JSON
    "broken JSON": (
        _bytes("t.jsonl", b'{"problem_id": 1, "correct": 1}\n{"problem_id": 1,\n'),
        Refused(("line 2 is no JSON",)),
    ),
    "JSON of lists": (_jsonl([1, 2]), Refused(("line 1 is list, expected an object",))),
    "JSON of numbers": (_jsonl({"problem_id": 1, "correct": 1}, 3), Refused(("line 2 is int",))),
    "JSON nested too deeply": (_bytes("t.jsonl", b"[" * 200_000), Refused(("line 1 is no JSON",))),
    "one JSON document": (_bytes("t.jsonl", b'[\n {"problem_id": 1, "correct": 1}\n]\n'), Refused(("line 1",))),
    "keys that come late": (
        _jsonl(*({"problem_id": 1, "correct": 0} | more for more in ({}, {"tokens": 4}, {}))),
        Read(3, ("tokens missing",)),
    ),
    # labels
    "NaN labels": (
        _columns(48, problem_id="a", correct=lambda i: "nan" if i < 10 else i % 2),
        Read(48, ("unlabelled",)),
    ),
    "only NaN labels": (_csv("problem_id,correct", "a,", "b,"), Read(2, ("unlabelled", "few samples"))),
    "booleans as words": (_csv("problem_id,correct", "a,True", "a,no", "b,FALSE", "b,yes"), Read(4, ("few samples",))),
    "perhaps": (_csv("problem_id,correct", "a,1", "a,maybe"), Refused(("row 2", "'maybe'"))),
    "a label of three parts": (_csv("problem_id,correct", "a,1.2.3"), Refused(("row 1", "correct is '1.2.3'"))),
    "a label of 2": (_csv("problem_id,correct", "a,1", "a,2"), Refused(("row 2", "correct = 2"))),
    "half a reward": (_jsonl({"problem_id": 1, "reward": 0.5}), Refused(("row 1", "reward = 0.5"))),
    "an infinite label": (
        _bytes("t.jsonl", b'{"problem_id": 1, "correct": Infinity}\n'),
        Refused(("row 1", "correct = inf")),
    ),
    "mixed types": (
        _jsonl(*({"problem_id": i, "correct": v} for i, v in enumerate([1, "0", True, None, 0.0]))),
        Read(5, ("unlabelled",)),
    ),
    "types that do not mix": (
        _jsonl({"problem_id": 1, "correct": 1}, {"problem_id": 1, "correct": {"x": 1}}),
        Refused(("row 2", "correct is {'x': 1}")),
    ),
    "dates for labels": (
        _parquet([["a"], pa.array([0], pa.timestamp("s"))], ["problem_id", "correct"]),
        Refused(("row 1", "correct is datetime")),
    ),
    "all correct": (_columns(48, problem_id=lambda i: i % 4, correct=1), Read(48, ("constant problems",))),
    "none correct": (_columns(48, problem_id=lambda i: i % 4, correct=0), Read(48, ("constant problems",))),
    "errors told in words": (
        _jsonl(*({"problem_id": 1, "correct": 0, "error": e} for e in ("timeout", None, "", False, True))),
        Read(5, ("unlabelled",)),
    ),
    # problems
    "a null problem": (_csv("problem_id,correct", "a,1", ",0"), Refused(("row 2: problem_id is missing",))),
    "a null problem in Parquet": (
        _parquet([["a", None], [1, 0]], ["problem_id", "correct"]),
        Refused(("row 2: problem_id is missing",)),
    ),
    "one sample a problem": (
        _columns(40, problem_id=lambda i: i, correct=lambda i: i % 2, tokens=lambda i: i + 1),
        Read(40, ("few samples", "constant problems")),
    ),
    "100,000 problems with one sample": (
        _columns(100_000, problem_id=lambda i: i, correct=lambda i: i % 2, tokens=lambda i: i % 50 + 1),
        Read(100_000, ("few samples",)),
    ),
    # tokens
    "negative tokens": (_csv("problem_id,correct,tokens", "a,1,3", "a,1,-3"), Refused(("row 2", "tokens = -3"))),
    "half a token": (_csv("problem_id,correct,tokens", "a,1,0.5"), Refused(("row 1", "tokens = 0.5"))),
    "no tokens in a trace": (_csv("problem_id,correct,tokens", "a,1,0", "a,0,7"), Read(2, ("tokens missing",))),
    "infinitely many tokens": (_csv("problem_id,correct,tokens", "a,1,1e999"), Refused(("row 1", "tokens = inf"))),
    "tokens in words": (_csv("problem_id,correct,tokens", "a,1,many"), Refused(("row 1", "'many'"))),
    "a number of 400 digits": (
        _bytes("t.jsonl", b'{"problem_id": 1, "correct": 1, "tokens": ' + b"9" * 400 + b"}\n"),
        Refused(("row 1", "tokens is 999")),
    ),
    "a number of 5,000 digits": (
        _bytes("t.jsonl", b'{"problem_id": 1, "correct": 1, "tokens": ' + b"9" * 5000 + b"}\n"),
        Refused(("line 1 is no JSON",)),
    ),
    "more tokens than there are": (_csv("problem_id,correct,tokens", "a,1,1e12"), Refused(("row 1", "tokens = 1e+12"))),
    "tokens over the budget": (_bytes("t.csv", GOOD.encode()), Read(48, ("over budget",), horizon=30)),
    "solved at token 0": (_csv("problem_id,correct,solved_at", "a,1,0"), Refused(("row 1", "solved_at = 0", "first"))),
    "all cut off": (
        _columns(48, problem_id=lambda i: i % 4, correct=0, tokens=lambda i: i % 9 + 1, truncated="true"),
        Read(48, ("truncated",), horizon=9),
    ),
    "piled at a cap": (
        _columns(48, problem_id=lambda i: i % 4, correct=0, tokens=lambda i: min(i + 1, 40)),
        Read(48, ("at a cap",)),
    ),
    # scores and texts
    "an infinite score": (_csv("problem_id,correct,score", "a,1,0.5", "a,1,inf"), Refused(("row 2", "score = inf"))),
    "a score in words": (_csv("problem_id,correct,score", "a,1,high"), Refused(("row 1", "'high'"))),
    "placeholders for texts": (
        _columns(48, problem_id=lambda i: i % 4, correct=lambda i: i % 2, text="..."),
        Read(48, ("placeholders", "duplicates"), ("counted in the text",)),
    ),
    "a text of 300,000 characters": (
        _csv("problem_id,correct,text", "a,1," + "so " * 100_000),
        Read(1, ("few samples",), ("counted in the text",)),
    ),
    "an empty text": (
        _jsonl({"problem_id": 1, "correct": 1, "text": " "}, {"problem_id": 1, "correct": 1, "text": "so it is 7"}),
        Read(2, ("tokens missing",)),
    ),
    "the reference for an answer": (
        _csv("problem_id,correct,answer", "a,1,7", "a,0,7", "b,0,8", "b,0,8"),
        Read(4, (), ("not theirs, not used",)),
    ),
    # wide
    "ragged lists": (
        _jsonl(
            {"problem_id": 1, "correct": [1]} | {"responses": ["x"]},
            {"problem_id": 2, "correct": [1, 0], "responses": ["a"]},
        ),
        Refused(("row 2: text has 1 entries, correct has 2",)),
    ),
    "lists in some rows": (
        _jsonl({"problem_id": 1, "correct": [1]}, {"problem_id": 2, "correct": 1}),
        Refused(("row 2: correct is 1, expected a list",)),
    ),
    "lists of tokens only": (_jsonl({"problem_id": 1, "correct": 1, "tokens": [2, 3]}), Refused(("tokens are lists",))),
    "an empty list among others": (
        _jsonl({"problem_id": 1, "correct": [1, 0]}, {"problem_id": 2, "correct": []}),
        Read(2, ("few samples",), ("1 rows hold no samples",)),
    ),
    "lists of lists": (_jsonl({"problem_id": 1, "correct": [[1, 0]]}), Refused(("row 1", "correct is [1, 0]"))),
    "a bad entry of the second list": (
        _jsonl({"problem_id": 1, "correct": [1, 0, 1]}, {"problem_id": 2, "correct": [1, 7]}),
        Refused(("row 2", "correct = 7")),
    ),
    # rewards of every step
    "rewards of a process model": (
        _jsonl({"problem_id": 1, "step_rewards": [0, 1]}, {"problem_id": 1, "step_rewards": [0.2, 0.9]}),
        Refused(("row 2", "step_rewards holds 0.2")),
    ),
    "rewards that fall": (_csv("problem_id,step_rewards", 'a,"[0, 1, 0]"'), Refused(("row 1", "fall from 1 to 0"))),
    "rewards that are no list": (_csv("problem_id,step_rewards", "a,0 1 1"), Refused(("row 1", "'0 1 1'"))),
    "rewards against the label": (
        _jsonl({"problem_id": 1, "correct": 1, "step_rewards": [0, 0]}),
        Refused(("row 1", "correct = 1", "the last of step_rewards")),
    ),
    # logs of other tools
    "several responses, one metric": (
        _jsonl({"doc_id": 1, "resps": [["a", "b"]], "filtered_resps": ["a"], "exact_match": 1.0}),
        Refused(("doc 1 has 2 responses",)),
    ),
    "a log without responses": (
        _jsonl({"doc_id": 1, "resps": None, "filtered_resps": None, "exact_match": 1.0}),
        Refused(("row 1: resps is None",)),
    ),
    "a log without a metric": (
        _jsonl({"doc_id": 1, "resps": [["a"]], "filtered_resps": ["a"], "metrics": [{"x": 1}]}),
        Refused(("without exact_match",)),
    ),
    "a log of two filters": (
        _jsonl(
            *(
                {"doc_id": d, "resps": [["a"]], "filtered_resps": ["a"], "filter": f, "exact_match": float(3 * d)}
                for d in (0, 1)
                for f in ("strict", "flexible")
            )
        ),
        Refused(("row 3", "correct = 3")),
    ),
    "a log of fractions": (
        _jsonl({"doc_id": 1, "resps": [["a"]], "filtered_resps": ["a"], "exact_match": 0.25}),
        Refused(("row 1", "correct = 0.25")),
    ),
    "completions without a binary reward": (
        _jsonl({"step": 1, "prompt": "p", "completion": "c", "style": 0.3, "advantage": 0.0}),
        Refused(("without a reward of 0s and 1s among style",)),
    ),
    "generations whose score is a list": (
        _jsonl({"input": "p", "output": "c", "score": [0, 1]}),
        Refused(("score is not 0 or 1",)),
    ),
}
