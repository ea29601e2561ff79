"""HTML from plain values: whatever is not :class:`Html` is text and is escaped, wherever it stands.

``tag("td", name)`` is the only way from values to elements, so that no name of a problem or of a model can become
markup. Characters that no document may hold (controls, lone surrogates, overrides of the direction of writing) are
replaced.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llm_validation.report.access import Ends, interval, is_interval, number

__all__ = [
    "UNKNOWN",
    "Html",
    "bullets",
    "cleaned",
    "described",
    "escaped",
    "join",
    "named",
    "shown",
    "shown_interval",
    "table",
    "tag",
]

#: What is written for what is not known.
UNKNOWN = "not known"

#: What HTML forbids, and marks that turn the direction of writing of all that follows.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
_VOID = {"meta", "link", "br", "hr"}
#: Entries of a list, rows of a table and levels of nesting that a block is shown with.
_ENTRIES, _ROWS, _DEPTH = 12, 40, 4


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def cleaned(value: str) -> str:
    """Text without characters that no document may hold."""
    return _FORBIDDEN.sub("\ufffd", value)


def escaped(value: object) -> Html:
    """Any value as text of a document; :class:`Html` as it is."""
    return value if isinstance(value, Html) else Html(html.escape(cleaned(str(value))))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Parts one after the other, each escaped."""
    return Html(str(escaped(between)).join(escaped(part) for part in parts))


def tag(element: str, *children: object, **attributes: str | None) -> Html:
    """An element; ``class_`` is its class, ``aria_label`` its aria-label, an attribute that is None is left out."""
    named_attributes = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    start = Html(f"<{element}{named_attributes}>")
    return start if element in _VOID else Html(f"{start}{join(children)}</{element}>")


def named(value: object) -> Html:
    """A name given by a user: its direction of writing stays its own."""
    return tag("bdi", value)


def shown(value: float | None, unit: str = "") -> str:
    """A number with three significant digits, thousands with all of theirs; whole numbers in full."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    if value == int(value) and size < 1e15:
        digits = f"{int(value):,}"
    elif size >= 1e6 or size < 1e-4:
        digits = f"{value:.3g}"
    else:
        digits = f"{value:,.0f}" if size >= 1000 else f"{value:.3g}"
    signed = "\N{MINUS SIGN}" + digits[1:] if digits.startswith("-") else digits
    return f"{signed} {unit}".rstrip()


def shown_interval(found: Ends) -> str:
    """``estimate [low, high]``; ? where one of them is not known."""
    if not found.is_known:
        return UNKNOWN
    value, low, high = ("?" if end is None else shown(end) for end in (found.estimate, found.low, found.high))
    return value if found.low is None and found.high is None else f"{value} [{low}, {high}]"


def bullets(lines: Sequence[object], class_: str | None = None) -> Html:
    """A list, nothing if it is empty."""
    return tag("ul", *(tag("li", line) for line in lines), class_=class_) if lines else Html()


def table(head: Sequence[object], rows: Iterable[Sequence[object]], caption: str, class_: str = "") -> Html:
    """A table in a box of its own that scrolls; the first cell of a row is its head."""
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in map(list, rows)
    ]
    columns = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head)))
    whole = tag("table", tag("caption", caption), columns, tag("tbody", *body), class_=class_ or None)
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def described(value: Any, depth: int = 0) -> Html:
    """Plain data of any shape: numbers, intervals, lists and mappings nested; long lists are cut, and it says so."""
    if value is None:
        return escaped(UNKNOWN)
    if isinstance(value, bool):
        return escaped("yes" if value else "no")
    if isinstance(value, int | float):
        return escaped(shown(number(value)))
    if is_interval(value):
        return escaped(shown_interval(interval(value)))
    if isinstance(value, Mapping):
        return _described_mapping(value, depth)
    if isinstance(value, list | tuple):
        return _described_list(value, depth)
    return named(value)


def _described_mapping(value: Mapping[str, Any], depth: int) -> Html:
    if depth >= _DEPTH or not value:
        return escaped(f"{len(value)} entries")
    columns = _columns(value)
    rest = [(key, entry) for key, entry in value.items() if key not in columns]
    pairs = [element for k, v in rest for element in (tag("dt", _words(k)), tag("dd", described(v, depth + 1)))]
    listed = tag("dl", *pairs) if rest else Html()
    return join([listed, _rows([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])])


def _columns(value: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of one length, at least two, that make a table."""
    lists = {key: entry for key, entry in value.items() if isinstance(entry, list | tuple) and len(entry) > 1}
    lengths = [len(entry) for entry in lists.values()]
    usual = max(set(lengths), key=lengths.count, default=0)
    return {key: entry for key, entry in lists.items() if len(entry) == usual} if lengths.count(usual) > 1 else {}


def _described_list(value: Sequence[Any], depth: int) -> Html:
    if not value:
        return escaped("none")
    if depth >= _DEPTH:
        return escaped(f"{len(value)} entries")
    if all(isinstance(entry, Mapping) and not is_interval(entry) for entry in value):
        return _rows(value)
    kept = [described(entry, depth + 1) for entry in value[:_ENTRIES]]
    if any(len(entry) > 40 for entry in kept):
        listed = bullets(kept)
        return join([listed, f"and {len(value) - _ENTRIES} more"]) if len(value) > _ENTRIES else listed
    return join([join(kept, ", "), f" and {len(value) - _ENTRIES} more" if len(value) > _ENTRIES else ""])


def _rows(rows: Sequence[Mapping[str, Any]]) -> Html:
    """A table of rows with the keys that occur."""
    if not rows:
        return Html()
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if not keys:
        return escaped(f"{len(rows)} rows of nothing")
    cells = [[described(row.get(key), _DEPTH) for key in keys] for row in rows[:_ROWS]]
    caption = f"first {_ROWS} of {len(rows)} rows" if len(rows) > _ROWS else f"{len(rows)} rows"
    return table([_words(key) for key in keys], cells, caption)


def _words(key: object) -> str:
    return str(key).replace("_", " ")
