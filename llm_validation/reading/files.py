"""Files into columns: Parquet, JSON lines (also gzipped), CSV. Nothing is interpreted here."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from llm_validation.traces import TraceError

__all__ = ["SUFFIXES", "read_columns"]

Columns = dict[str, list[Any]]

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".ndjson", ".csv", ".csv.gz")


def read_columns(path: Path) -> Columns:
    """Columns of a file, each a list with one entry a row; ``None`` where there is nothing.

    Raises :class:`TraceError` with one line if it is absent, of no known kind, unreadable or empty.
    """
    try:
        exists, is_directory = path.exists(), path.is_dir()
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({_first_line(error)})") from None
    if not exists:
        raise TraceError(f"{path}: no such file")
    if is_directory:
        raise TraceError(f"{path}: is a directory, expected a file ({', '.join(SUFFIXES)})")
    for suffix, reader in _READERS.items():
        if path.name.lower().endswith(suffix):
            columns = reader(path)
            break
    else:
        raise TraceError(f"{path}: unknown kind of file, expected one of {', '.join(SUFFIXES)}")
    if not columns or not next(iter(columns.values())):
        raise TraceError(f"{path}: no traces in it")
    return columns


def _parquet(path: Path) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_names(names, path)
            table = file.read()
        return {name: table[name].to_pylist() for name in names}
    except TraceError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TraceError(f"{path}: no readable Parquet ({_first_line(error)})") from None


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Text of a file, gunzipped if need be; what is wrong with its bytes becomes one line."""
    try:
        with path.open("rb") as file:
            raw = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not UTF-8 at byte {error.start} ({error.reason})") from None
    except EOFError:
        raise TraceError(f"{path}: gzip cut short") from None
    except (gzip.BadGzipFile, zlib.error, OSError) as error:
        raise TraceError(f"{path}: cannot be read ({_first_line(error)})") from None


def _json_lines(path: Path) -> Columns:
    columns: Columns = {}
    size = 0
    with _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            for name, value in _json_row(line, number, path).items():
                column = columns.get(name)
                if column is None:
                    column = columns[name] = []
                if len(column) < size:  # rows before had no such name
                    column += [None] * (size - len(column))
                column.append(value)
            size += 1
    for column in columns.values():
        column += [None] * (size - len(column))
    return columns


def _json_row(line: str, number: int, path: Path) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_distinct)
    except _TwiceError as error:
        raise TraceError(f"{path}: line {number} has {error.args[0]!r} twice") from None
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{path}: line {number} is no JSON ({_first_line(error)})") from None
    if not isinstance(row, dict):
        raise TraceError(f"{path}: line {number} is {type(row).__name__}, expected an object")
    return row


class _TwiceError(Exception):
    """A name occurs twice in an object."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return row


def _check_names(names: Sequence[str], path: Path) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TraceError(f"{path}: column {twice!r} occurs twice")


@contextmanager
def _long_fields() -> Iterator[None]:
    """Texts of any length, also beyond the 131,072 characters that the csv module admits at first."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _csv(path: Path) -> Columns:
    with _opened(path) as lines, _long_fields():
        reader = csv.reader(lines)
        try:
            names = [name.strip() for name in next(reader, [])]
            _check_names(names, path)
            rows = []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise TraceError(f"{path}: line {reader.line_num} has {len(row)} fields, expected {len(names)}")
                rows.append(row)
        except csv.Error as error:
            raise TraceError(f"{path}: line {reader.line_num} is no CSV ({error})") from None
    return {name: [row[i] if row[i] != "" else None for row in rows] for i, name in enumerate(names)}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


_READERS: dict[str, Callable[[Path], Columns]] = {
    ".parquet": _parquet,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".jsonl.gz": _json_lines,
    ".csv": _csv,
    ".csv.gz": _csv,
}
