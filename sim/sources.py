"""Which files of this repository a module is made of: itself and all it imports, anywhere in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ["sources_of"]

_ROOT = Path(__file__).resolve().parent.parent
_OURS = ("theory", "sim", "llm_validation", "figures", "benchmarks")


def _file_of(module: str) -> Path | None:
    """The file of a module of ours."""
    if module.partition(".")[0] not in _OURS:
        return None
    place = _ROOT.joinpath(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imported(path: Path) -> Iterator[str]:
    """Names of modules that a file imports; ``from a import b`` may mean module a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def sources_of(*modules: str) -> tuple[str, ...]:
    """Files of ``modules`` and of all of ours that they import, paths from the root of the repository, in order.

    Raises ``ValueError`` if one is no module of ours. A module that is only looked up by name is not found.
    """
    found: set[Path] = set()
    left: list[Path] = []
    for module in modules:
        path = _file_of(module)
        if path is None:
            raise ValueError(f"module {module}: expected one of this repository")
        left.append(path)
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += [other for name in _imported(path) if (other := _file_of(name)) is not None]
    return tuple(sorted(str(path.relative_to(_ROOT)) for path in found))
