"""Every statement by its label: the module-level :class:`~theory.theorem.Theorem` objects of this package."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

import theory
from theory.theorem import Theorem

__all__ = ["theorem", "theorems"]


@functools.cache
def theorems() -> Mapping[str, Theorem]:
    """All statements, label to object. Raises ``RuntimeError`` if two carry one label."""
    found: dict[str, Theorem] = {}
    for info in pkgutil.iter_modules(theory.__path__):
        if info.name.startswith("_"):
            continue
        for value in vars(importlib.import_module(f"theory.{info.name}")).values():
            if isinstance(value, Theorem) and found.setdefault(value.label, value) is not value:
                raise RuntimeError(f"two statements are labelled {value.label!r}")
    return MappingProxyType(found)


def theorem(label: str) -> Theorem:
    """The statement labelled ``label``. Raises ``KeyError`` with the known labels."""
    known = theorems()
    if label not in known:
        raise KeyError(f"{label!r} is no statement: expected one of {', '.join(sorted(known))}")
    return known[label]
