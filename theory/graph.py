"""Which statement rests on which: the graph of ``uses``, its layers, and a drawing of it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
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


def _columns(uses: Mapping[str, tuple[str, ...]]) -> tuple[list[list[str]], list[list[str]]]:
    """Columns of boxes and of waypoints, and for each use the chain of places that its arrow visits.

    An arrow that spans several columns gets a waypoint in each one between, so that it runs behind no box. A column is
    ordered by the mean place of what its members are reached from.
    """
    columns = [list(column) for column in layers(uses)]
    level = {label: i for i, column in enumerate(columns) for label in column}
    chains = []
    for label, other in edges(uses):
        way = [f"{other} > {label} {i}" for i in range(level[other] + 1, level[label])]
        for i, waypoint in enumerate(way, level[other] + 1):
            columns[i].append(waypoint)
        chains.append([other, *way, label])
    used = {other for _, other in edges(uses)}
    columns[0].sort(key=lambda label: label not in used)
    for i, column in enumerate(columns[1:], 1):
        before = columns[i - 1]
        reached = {
            b: [before.index(a) for c in chains for a, b2 in pairwise(c) if b2 == b and a in before] for b in column
        }
        column.sort(key=lambda b: sum(reached[b]) / max(len(reached[b]), 1))
    return columns, chains


def svg(uses: Mapping[str, tuple[str, ...]], kinds: Mapping[str, str]) -> str:
    """The graph as an SVG picture: foundations on the left, an arrow from each statement to those that use it."""
    columns, chains = _columns(uses)
    tallest = max(map(len, columns))
    place: dict[str, tuple[int, int]] = {}
    for i, column in enumerate(columns):
        for j, name in enumerate(column):
            place[name] = (_MARGIN + i * (_WIDTH + _ACROSS), _MARGIN + j * (_HEIGHT + _DOWN))
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
    for chain in chains:
        x, y = place[chain[0]]
        path = f"M{x + _WIDTH},{y + _HEIGHT // 2}"
        for name in chain[1:]:
            (left, top), before = place[name], x + _WIDTH
            mid, height_there = (before + left) // 2, top + _HEIGHT // 2
            path += f" C{mid},{y + _HEIGHT // 2} {mid},{height_there} {left},{height_there}"
            path += f" L{left + _WIDTH},{height_there}" if name != chain[-1] else ""
            x, y = left, top
        lines.append(f'<path d="{path}" fill="none" stroke="#555" marker-end="url(#a)"/>')
    for label in uses:
        x, y = place[label]
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
