"""A report on disk: ``report.html`` and ``figures/RUN-NAME.svg`` and ``.png``, each written whole or not at all."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llm_validation.report.access import Diagnosis, Run
from llm_validation.report.figures import COLOURS, Drawn, draw, png, style
from llm_validation.report.markup import Html
from llm_validation.report.page import page, run_section
from llm_validation.report.svg import Shared, inlined

__all__ = ["FULL", "slugs", "write_report"]

#: Runs that are shown in full: with PNG files, their problems, and opened.
FULL = 8
_LONGEST = 60


def slugs(labels: Iterable[str]) -> list[str]:
    """A name of letters a-z, digits and hyphens for each label, no two alike."""
    taken: set[str] = set()
    found = []
    for label in labels:
        ascii_only = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
        stem = re.sub(r"[^a-z0-9]+", "-", ascii_only)[:_LONGEST].strip("-") or "run"
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        found.append(name)
    return found


def _write(path: Path, contents: bytes, root: Path) -> Path:
    temporary = root / f".tmp-{os.getpid()}-{path.name}"
    temporary.write_bytes(contents)
    temporary.replace(path)
    return path


def write_report(diagnosis: Mapping[str, Any], directory: Path, drawn: int | None = None) -> list[Path]:
    """Write the page and the figures of every run to ``directory``, made if it is missing; return what was written.

    ``diagnosis`` is plain data (``diagnosis.json``). Beyond :data:`FULL` runs there are SVG files, but no PNG files.
    Figures are drawn of the first ``drawn`` runs, all if that is None: one run takes about 0.1 s.
    """
    found = Diagnosis(diagnosis)
    runs = found.runs
    (directory / "figures").mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    sections: list[Html] = []
    shared = Shared(COLOURS)
    with style():
        for run, slug in zip(runs, slugs(run.label for run in runs), strict=True):
            is_full = run.place <= FULL
            figures = draw(run) if drawn is None or run.place <= drawn else {}
            for figure in figures.values():
                if isinstance(figure, Drawn):
                    written += _files(figure, directory, slug, is_full)
            markup = {name: _markup(figure, run, shared) for name, figure in figures.items()}
            sections.append(run_section(run, markup, is_full, is_open=len(runs) <= FULL))
    whole = page(found, sections, shared, _remarks(len(runs), drawn))
    return [_write(directory / "report.html", whole.encode(), directory), *written]


def _files(figure: Drawn, directory: Path, slug: str, with_png: bool) -> list[Path]:
    stem = directory / "figures" / f"{slug}-{figure.name}"
    written = [_write(stem.with_suffix(".svg"), figure.svg.encode(), directory)]
    return [*written, _write(stem.with_suffix(".png"), png(figure), directory)] if with_png else written


def _markup(figure: Drawn | str, run: Run, shared: Shared) -> Html | str:
    if isinstance(figure, str):
        return figure
    return inlined(figure.svg, f"r{run.place}-{figure.name}", figure.says, shared)


def _remarks(count: int, drawn: int | None) -> list[str]:
    remarks = []
    if count > FULL:
        remarks.append(
            f"With {count} runs only the first {FULL} list their problems and have PNG files beside SVG; the tables "
            "beside this page hold all problems."
        )
    if drawn is not None and count > drawn:
        remarks.append(f"Figures are drawn of the first {drawn} of {count} runs.")
    return remarks
