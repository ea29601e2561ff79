"""Which statement rests on which: the graph of ``uses``, its layers, and a drawing of it."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

__all__ = ["edges", "layers", "svg"]

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _MARGIN = 176, 34, 60, 22, 16
#: Fill of a box by the kind of statement: light, distinct in grey and to colour-blind readers.
_FILL = {"upper": "#fde0c5", "lower": "#cfe3f5", "equality": "#e8e8e8", "identity": "#e8e8e8"}


def edges(uses: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """(statement, what it rests on) for every use. Raises ``ValueError`` on a label that is none."""
    for label, used in uses.items():
        for other in used:
            if other not in uses:
                raise ValueError(f"{label} uses {other!r}, which is no statement")
    return [(label, other) for label, used in uses.items() for other in used]


def layers(uses: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
    """Statements by the length of the longest chain beneath them. Raises ``ValueError`` on a cycle."""
    edges(uses)
    depth: dict[str, int] = {}
    waiting = list(uses)
    while waiting:
        ready = [label for label in waiting if all(other in depth for other in uses[label])]
        if not ready:
            raise ValueError(f"the statements {', '.join(waiting)} use each other in a circle")
        for label in ready:
            depth[label] = 1 + max((depth[other] for other in uses[label]), default=-1)
        waiting = [label for label in waiting if label not in depth]
    return [[label for label in uses if depth[label] == level] for level in range(max(depth.values()) + 1)]


def svg(uses: Mapping[str, tuple[str, ...]], kinds: Mapping[str, str]) -> str:
    """The graph as an SVG picture: foundations on the left, an arrow from each statement to those that use it."""
    columns = layers(uses)
    tallest = max(map(len, columns))
    place: dict[str, tuple[int, int]] = {}
    for i, column in enumerate(columns):
        above = (tallest - len(column)) * (_HEIGHT + _DOWN) // 2
        for j, label in enumerate(column):
            place[label] = (_MARGIN + i * (_WIDTH + _ACROSS), _MARGIN + above + j * (_HEIGHT + _DOWN))
    width = 2 * _MARGIN + len(columns) * (_WIDTH + _ACROSS) - _ACROSS
    height = 2 * _MARGIN + tallest * (_HEIGHT + _DOWN) - _DOWN + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        "<title>Which statement rests on which</title>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for label, other in edges(uses):
        (x0, y0), (x1, y1) = place[other], place[label]
        start, end, mid = (x0 + _WIDTH, y0 + _HEIGHT // 2), (x1, y1 + _HEIGHT // 2), (x0 + _WIDTH + x1) // 2
        lines.append(
            f'<path d="M{start[0]},{start[1]} C{mid},{start[1]} {mid},{end[1]} {end[0]},{end[1]}" '
            'fill="none" stroke="#555" marker-end="url(#a)"/>'
        )
    for label, (x, y) in place.items():
        lines.append(
            f'<a href="{label}.md"><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" '
            f'fill="{_FILL[kinds[label]]}" stroke="#333"/><text x="{x + _WIDTH // 2}" y="{y + _HEIGHT // 2 + 5}" '
            f'text-anchor="middle">{escape(label)}</text></a>'
        )
    key = [("upper bound", "upper"), ("lower bound", "lower"), ("equality or identity", "equality")]
    for i, (words, kind) in enumerate(key):
        x, y = _MARGIN + i * 170, height - 26
        lines.append(f'<rect x="{x}" y="{y}" width="16" height="12" fill="{_FILL[kind]}" stroke="#333"/>')
        lines.append(f'<text x="{x + 22}" y="{y + 11}">{words}</text>')
    return "\n".join([*lines, "</svg>", ""])
