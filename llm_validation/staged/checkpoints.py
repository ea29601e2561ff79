"""Networks on disk: directories of ``save_pretrained``, known by the digest of their files, written whole or not."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["CheckpointError", "checked", "digest_of", "first_line", "quiet", "save", "seeded"]


class CheckpointError(ValueError):
    """A checkpoint that is not what its table says; the message is one line."""


def first_line(error: BaseException) -> str:
    """Of a message that may have several."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no advice of the libraries, inside."""
    from datasets.utils import logging as of_datasets
    from transformers.utils import logging as of_transformers

    quieter: Any = of_transformers
    shown, counted = quieter.is_progress_bar_enabled(), of_datasets.is_progress_bar_enabled()
    verbosity = quieter.get_verbosity()
    quieter.disable_progress_bar()
    of_datasets.disable_progress_bar()
    quieter.set_verbosity_error()
    try:
        yield
    finally:
        quieter.set_verbosity(verbosity)
        if shown:
            quieter.enable_progress_bar()
        if counted:
            of_datasets.enable_progress_bar()


def seeded(seed: int) -> None:
    """Every generator that training draws from (dropout, new weights, rollouts of TRL) begins at ``seed``."""
    from transformers import set_seed

    set_seed(seed % 2**32)


def digest_of(directory: Path) -> str:
    """Digest of a checkpoint's files. Raises :class:`CheckpointError` if there are none."""
    digest = hashlib.sha256()
    files = sorted(path for path in directory.glob("*") if path.suffix in (".json", ".safetensors"))
    if not any(path.suffix == ".safetensors" for path in files):
        raise CheckpointError(f"{directory}: no checkpoint there, expected config.json and model.safetensors")
    for path in files:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def save(model: Any, directory: Path) -> str:
    """Write a checkpoint, all of it or nothing, and return its digest."""
    temporary = directory.with_name(f".tmp-{os.getpid()}-{directory.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with quiet():
            model.save_pretrained(temporary)
        found = digest_of(temporary)
        for path in temporary.iterdir():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
        shutil.rmtree(directory, ignore_errors=True)
        temporary.replace(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return found


def checked(directory: Path, digest: str, load: Callable[[Path], Any]) -> Any:
    """What ``load`` makes of a checkpoint. Raises :class:`CheckpointError` if it is not the one of ``digest``."""
    advice = "remove it and run again with --resume"
    found = digest_of(directory)
    if found != digest:
        raise CheckpointError(f"{directory}: corrupt checkpoint, digest {found} and not {digest}; {advice}")
    try:
        with quiet():
            return load(directory)
    except Exception as error:  # whatever a loader makes of files that are not its own
        raise CheckpointError(f"{directory}: corrupt checkpoint ({first_line(error)}); {advice}") from None
