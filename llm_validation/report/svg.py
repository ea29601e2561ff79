"""Figures of one document side by side: identifiers that do not collide, styles stored once, colours of the page.

Matplotlib numbers identifiers anew in every figure and writes the style of every line where it is used. Here
identifiers that something refers to get the figure's prefix and others are dropped; styles become classes that all
figures of the document share; hexadecimal colours become properties of the page's style sheet, so that figures follow
its light and dark scheme.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

from llm_validation.report.markup import Html, cleaned

__all__ = ["Shared", "inlined"]

_NAMESPACE = re.compile(r"^\{[^}]*\}")
_LINK = "{http://www.w3.org/1999/xlink}href"
_DIGITS = re.compile(r"-?\d+\.\d{3,}")
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
#: What does not belong into a page: metadata hold addresses, a style sheet would speak of all of it.
_LEFT_OUT = ("metadata", "style", "title")


@dataclass(slots=True)
class Shared:
    """What the figures of one document have in common; ``colours``: hexadecimal -> value in the page."""

    colours: Mapping[str, str]
    styles: dict[str, str] = field(default_factory=dict)  # style -> class

    def css(self) -> str:
        """Rules of all styles."""
        return "\n".join(f".{name} {{{style}}}" for style, name in self.styles.items())

    def coloured(self, value: str) -> str:
        """With colours of the page."""
        return _COLOUR.sub(lambda match: self.colours.get(match[0], match[0]), value)

    def style(self, value: str) -> str:
        """The class for a style."""
        return self.styles.setdefault(self.coloured(value), f"f{len(self.styles)}")


def inlined(document: str, prefix: str, label: str, shared: Shared) -> Html:
    """A figure as an element of a page; ``label`` says what it shows."""
    root = ElementTree.fromstring(document)
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        element.text, element.tail = (element.text if element.tag == "text" else None), None
    used = {name for element in root.iter() for name in _references(element)}
    for element in root.iter():
        given = dict(element.attrib)
        element.attrib.clear()
        element.attrib.update(_attributes(given, prefix, used, shared))
    _simplify(root)
    width, view = float(root.get("width", "0pt").removesuffix("pt")), root.get("viewBox", "")
    root.attrib.clear()
    # Type of 7 points is at most as large as small print.
    look = f"max-width:{1.9 * width:.0f}px"
    root.attrib.update({"viewBox": view, "role": "img", "aria-label": cleaned(label), "style": look})
    return Html(ElementTree.tostring(root, encoding="unicode"))


def _references(element: ElementTree.Element) -> set[str]:
    found = {name for value in element.attrib.values() for name in _REFERENCE.findall(value)}
    return found | ({element.get(_LINK, "")[1:]} if element.get(_LINK) else set())


def _attributes(given: dict[str, str], prefix: str, used: set[str], shared: Shared) -> dict[str, str]:
    """Attributes of an element in the page."""
    kept = {}
    for key, value in given.items():
        if key == _LINK:
            kept["href"] = f"#{prefix}-{value[1:]}"
        elif key == "id":
            kept |= {"id": f"{prefix}-{value}"} if value in used else {}
        elif key == "style" and "url(" not in value:
            kept["class"] = shared.style(value)
        elif key in ("d", "x", "y"):
            kept[key] = _short(value)
        elif key == "transform":
            kept |= {} if value.startswith("rotate(-0 ") else {key: value}
        else:
            kept[key] = shared.coloured(_REFERENCE.sub(rf"url(#{prefix}-\1)", value))
    return kept


def _short(value: str) -> str:
    """Coordinates to a hundredth of a point."""
    return " ".join(_DIGITS.sub(lambda match: f"{float(match[0]):.2f}", value).split())


def _simplify(parent: ElementTree.Element) -> None:
    """Without what does not belong into a page, empty definitions, and groups that say nothing."""
    children = []
    for child in list(parent):
        _simplify(child)
        if child.tag in _LEFT_OUT or (child.tag in ("defs", "g") and not len(child)):
            continue
        children += list(child) if child.tag == "g" and not child.attrib else [child]
    parent[:] = children
