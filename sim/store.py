"""Output directories: one manifest, Parquet tables and shards written atomically, resumption without recomputation.

``DIR/manifest.json`` holds configuration, seed, versions, code fingerprint, commit, machine and command;
``DIR/shards/*.parquet`` the finished batches; everything is written to a temporary name, flushed to disk and renamed,
so that a kill at any moment leaves either the whole file or none.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Output", "StoreError", "code_fingerprint", "provenance", "redacted"]

_TEMPORARY = ".tmp-"
_LEFTOVER = f"{_TEMPORARY}[0-9]*-*"
_PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "pyarrow", "matplotlib", "verifier-gap")
#: What an address may hold before its host, and after its path.
_USER, _QUERY = re.compile(r"(https?://)[^/\s@]*@"), re.compile(r"(https?://[^\s?]*)\?\S*")


class StoreError(ValueError):
    """An output directory that cannot be used as asked; the message is one line."""


#: Packages of this repository that make the numbers of a sweep.
_OURS = ("theory", "sim")


def code_fingerprint(packages: Sequence[str] = _OURS) -> str:
    """Digest of the sources of ``packages`` (or files): what the numbers were made by, whatever the commit says."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in packages:
        place = root / package
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git on this machine: the fingerprint still names the code
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def redacted(text: str) -> str:
    """A text with the addresses in it without user, password and query: these may be secrets."""
    return _QUERY.sub(r"\1", _USER.sub(r"\1", text))


def provenance(packages: Sequence[str] = _OURS, libraries: Sequence[str] = ()) -> dict[str, Any]:
    """Versions (of ``libraries`` too), code, commit and machine of this process."""
    versions = {name: _version(name) for name in (*_PACKAGES, *libraries)}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "code": code_fingerprint(packages),
        "commit": _commit(),
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "command": ["python", *map(redacted, sys.orig_argv[1:])],
    }


class Output:
    """An output directory opened for one configuration. Use :meth:`open`; do not share it between processes."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.finished = False  # True if a former run had ended well

    @classmethod
    def open(
        cls,
        path: Path,
        config: Mapping[str, Any],
        resume: bool,
        packages: Sequence[str] = _OURS,
        libraries: Sequence[str] = (),
    ) -> Output:
        """Create or resume ``path``. Raises :class:`StoreError`, having written nothing, if it cannot be used.

        ``packages`` (or single files) are those whose sources the numbers depend on, ``libraries`` what else does
        beside those that every sweep uses.
        """
        manifest = {"config": dict(config), **provenance(packages, libraries), "status": "running"}
        found = _entries(path)
        if found and not resume:
            raise StoreError(f"--out {path}: not empty; expected an empty or new directory, or --resume")
        output = cls(path, manifest)
        if found:
            output._continue()
        else:
            _check_writable(path)
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"--out {path}: cannot be made ({error.strerror})") from None
        for leftover in (*path.glob(_LEFTOVER), *path.glob("shards/" + _LEFTOVER)):
            leftover.unlink()
        (path / "shards").mkdir(exist_ok=True)
        output.write_json("manifest.json", manifest)
        return output

    def _continue(self) -> None:
        """Keep the first run's manifest and note this one in it. Raises :class:`StoreError` if the work is another."""
        file = self.path / "manifest.json"
        try:
            old = json.loads(file.read_text())
            if not isinstance(old, dict):
                raise ValueError("no object")
        except (OSError, ValueError):
            raise StoreError(
                f"--out {self.path}: has no readable manifest.json; expected a sweep's own output"
            ) from None
        for name in ("config", "code", "versions"):
            if old.get(name) != self.manifest[name]:
                raise StoreError(
                    f"--out {self.path}: was made by another {name} "
                    f"({_difference(old.get(name), self.manifest[name])}); remove it or choose another --out"
                )
        here = {name: self.manifest[name] for name in ("commit", "machine", "command")}
        self.finished = old.get("status") == "done"
        self.manifest = {**old, "resumed": [*old.get("resumed", []), here], "status": "running"}

    @contextmanager
    def atomic(self, name: str) -> Iterator[Path]:
        """A temporary path that becomes ``name`` when the block ends without an exception."""
        target = self.path / name
        temporary = target.with_name(f"{_TEMPORARY}{os.getpid()}-{target.name}")
        try:
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def write_json(self, name: str, value: Any) -> None:
        """Write ``value`` as JSON, atomically."""
        with self.atomic(name) as temporary:
            temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write ``table`` as Parquet, atomically; the bytes depend on nothing but the table and pyarrow's version."""
        import pyarrow.parquet as pq

        with self.atomic(name) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def read_shard(self, name: str, rows: int | None, columns: Sequence[str]) -> pa.Table | None:
        """The finished shard ``name``; ``None`` if it is absent or unreadable (said on stderr), to be recomputed.

        ``rows`` is how many it should have, if that is known.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = self.path / "shards" / name
        if not file.exists():
            return None
        try:
            table = pq.read_table(file)
        except (OSError, pa.ArrowException) as error:
            print(f"{file}: unreadable, computed again ({error})", file=sys.stderr)
            return None
        if rows not in (None, table.num_rows) or table.column_names != list(columns):
            shape = f"{rows} rows" if rows is not None else "table"
            print(f"{file}: not the {shape} of {', '.join(columns)}; computed again", file=sys.stderr)
            return None
        return table

    def finish(self, status: str, **facts: Any) -> None:
        """Record how the run ended."""
        self.manifest.update(status=status, **facts)
        self.write_json("manifest.json", self.manifest)


def _entries(path: Path) -> bool:
    """True if the directory holds anything but the first manifest of a killed start. Raises :class:`StoreError`."""
    try:
        if path.exists() and not path.is_dir():
            raise StoreError(f"--out {path}: is a file; expected a directory")
        return path.exists() and any(not _is_first_manifest(entry) for entry in path.iterdir())
    except OSError as error:
        raise StoreError(f"--out {path}: cannot be read ({error.strerror})") from None


def _is_first_manifest(entry: Path) -> bool:
    """What a kill between making the directory and naming its manifest leaves behind."""
    empty_shards = entry.name == "shards" and entry.is_dir() and not any(entry.iterdir())
    return empty_shards or (entry.is_file() and entry.match(f"{_TEMPORARY}*-manifest.json"))


def _check_writable(path: Path) -> None:
    existing = path
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise StoreError(f"--out {path}: {existing} is not a writable directory")


#: Differences that are named in one line.
_NAMED = 6


def _difference(old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        changed = list(_changed(old, new))
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        return "differs in " + ", ".join(changed[:_NAMED]) + more if changed else "fewer entries"
    return "absent" if old is None else f"{old}, now {new}"


def _changed(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What is new or another, by its path of keys."""
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            yield from (f"{key}.{name}" for name in _changed(before, value))
            if before.keys() > value.keys():
                yield key
        elif before != value:
            yield key
