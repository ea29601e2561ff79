"""Recipes: TOML files read into frozen dataclasses. Lists are tuples.

A section, or a key of one, that is not known is refused by name; so is a value of another kind or out of range.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from importlib import resources
from pathlib import Path
from typing import Any

__all__ = ["choices", "increasing", "number", "plain", "read_section", "section", "whole"]


def whole(name: str, value: int, low: int, high: float = math.inf) -> None:
    """Raises ``ValueError`` unless ``low`` <= value <= ``high`` and it is a whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        upper = "" if math.isinf(high) else f"..{high:g}"
        raise ValueError(f"{name} = {value}: expected a whole number of {low}{upper or ' or more'}")


def number(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raises ``ValueError`` unless ``low`` <= value <= ``high``; NaN is not."""
    if not (math.isfinite(value) and low <= value <= high):
        upper = " or more" if math.isinf(high) else f"..{high:g}"
        raise ValueError(f"{name} = {value}: expected a number of {low:g}{upper}")


def choices(name: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Raises ``ValueError`` unless they are different ones of ``known``, at least one."""
    for value in values:
        if value not in known:
            raise ValueError(f"{name}: {value}, expected of {', '.join(known)}")
    if not values or len(set(values)) < len(values):
        raise ValueError(f"{name} = {list(values)}: expected different ones of {', '.join(known)}, at least one")


def increasing(name: str, values: tuple[int, ...], low: int) -> None:
    """Raises ``ValueError`` unless they are increasing whole numbers of at least ``low``, at least one."""
    for value in values:
        whole(name, value, low)
    if not values or sorted(set(values)) != list(values):
        raise ValueError(f"{name} = {list(values)}: expected increasing numbers, at least one")


def plain(value: Any) -> Any:
    """The same with tuples as lists."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, tuple | list) else value


def _typed(name: str, kind: Any, value: Any) -> Any:
    """``value`` of TOML as a field of type ``kind``. Raises ``ValueError``."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{name} = {value}: expected a section [{name}]")
        return section(typing.cast(type, kind), value, f"{name}.")
    if isinstance(kind, types.GenericAlias):
        if not isinstance(value, list):
            raise ValueError(f"{name} = {value}: expected a list")
        entry = typing.get_args(kind)[0]
        return tuple(_typed(name, entry, item) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name} = {value!r}: expected {_KINDS[kind]}")
    return value


_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def section(kind: type, values: dict[str, Any], where: str = "") -> Any:
    """A dataclass of one section. Raises ``ValueError`` with one line."""
    types_of = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    for key in values:
        if key not in known:
            raise ValueError(f"unknown key {where}{key}: expected of {', '.join(where + name for name in known)}")
    return kind(**{key: _typed(where + key, types_of[key], value) for key, value in values.items()})


def read_section(kind: type, text: str, folder: str, known: tuple[str, ...]) -> Any:
    """The recipe of that name in ``recipes/FOLDER``, or in that file. Raises ``ValueError`` with one line."""
    if text in known:
        content = (resources.files("llm_validation") / "recipes" / folder / f"{text}.toml").read_bytes()
    else:
        try:
            content = Path(text).read_bytes()
        except OSError as error:
            names = ", ".join(known)
            raise ValueError(f"recipe {text}: expected {names} or a file that can be read ({error.strerror})") from None
    try:
        values = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe {text}: no TOML ({error})") from None
    values.setdefault("name", Path(text).name.removesuffix(".toml"))
    try:
        return section(kind, values)
    except ValueError as error:
        raise ValueError(f"recipe {text}: {error}") from None
