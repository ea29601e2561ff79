"""The report of a diagnosis: one page that needs nothing else, and no text of a user is markup."""

from __future__ import annotations

import copy
import html
import itertools
import math
import re
import subprocess
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import diagnoses
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_validation.report import write_report
from llm_validation.report.access import Run, interval, number
from llm_validation.report.figures import COLOURS, draw, style
from llm_validation.report.markup import UNKNOWN, Html, described, escaped, shown, shown_interval, table, tag
from llm_validation.report.svg import Shared, inlined
from llm_validation.report.write import FULL, slugs

VOID = {"meta"}
FETCHING = {"src", "srcset", "data", "action", "formaction", "poster", "background", "ping", "cite", "manifest"}


class Page(HTMLParser):
    """A document: elements with attributes and depth, text by element; raises where tags do not balance."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.css = ""
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}>: an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> outside of a figure"
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.css += data
        else:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of that kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Page, list[Path]]]:
    """Page and files of every case; of the many runs only nine, two of them with figures, of those with tokens one."""
    found = {}
    for name, make in (diagnoses.CASES | {"many": lambda: diagnoses.many(9)}).items():
        drawn = {"many": 2, "tokens": 1}.get(name)
        written = write_report(make(), tmp_path_factory.mktemp(name), drawn)
        found[name] = Page(written[0].read_text(encoding="utf-8")), written
    return found


@pytest.fixture(params=list(diagnoses.CASES))
def page(request: pytest.FixtureRequest, pages: dict[str, tuple[Page, list[Path]]]) -> Page:
    return pages[request.param][0]


def test_tags_balance_and_ids_are_unique(page: Page) -> None:
    """Every element is closed where it was opened; no identifier occurs twice; whatever is referred to is there."""
    ids = [str(attributes["id"]) for _, attributes in page.elements if "id" in attributes]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    wanted = {str(a["href"]).removeprefix("#") for _, a in page.elements if str(a.get("href", "")).startswith("#")}
    for _, attributes in page.elements:
        wanted.update(name for value in attributes.values() for name in re.findall(r"url\(#([^)]+)\)", value or ""))
    assert wanted <= set(ids)


def test_nothing_is_fetched_or_run(page: Page) -> None:
    """No script, no handler of an event, no address outside the document in attributes or style."""
    names = {name for name, _ in page.elements}
    assert names.isdisjoint(
        {"script", "link", "iframe", "object", "embed", "img", "image", "base", "form", "foreignobject"}
    )
    for name, attributes in page.elements:
        for key, value in attributes.items():
            assert not key.startswith("on"), (name, key)
            assert key not in FETCHING, (name, key)
            if key.endswith("href"):
                assert (value or "").startswith("#"), (name, value)
            if key not in ("aria-label", "content"):
                assert "//" not in (value or ""), (name, key, value)
            assert re.findall(r"url\((?!#)", value or "") == []
    assert re.findall(r"url\(|@import|//|expression", page.css) == []


def test_a_name_never_becomes_markup(pages: dict[str, tuple[Page, list[Path]]]) -> None:
    """Names with tags, quotes and formulas are on the page as text, wherever they come from."""
    page, written = pages["hostile"]
    raw = written[0].read_text(encoding="utf-8")
    assert "<script" not in raw
    assert "alert(&#x27;x&#x27;)" in raw
    visible = diagnoses.HOSTILE.replace("\x00", "\ufffd").replace("\u202e", "\ufffd").replace("\ud800", "\ufffd")
    assert page.text.count(visible) > 60  # title, notes, runs, problems, findings, reasons, curves, options
    assert {"\x00", "\u202e"}.isdisjoint(raw)


def test_figures_hold_no_text_of_a_user(pages: dict[str, tuple[Page, list[Path]]]) -> None:
    """Names of files are made of a-z, 0-9 and hyphens; files of figures are well-formed and fetch nothing."""
    _, written = pages["hostile"]
    assert len(written) == 1 + 2 * 4 * 2
    for path in written[1:]:
        assert re.fullmatch(r"[a-z0-9-]+\.(svg|png)", path.name)
        if path.suffix == ".svg":
            root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
            links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
            assert all(link.startswith("#") for link in links)
        else:
            assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(("name", "figures"), [("plain", 3), ("tokens", 4)])
def test_every_part_of_a_run_is_on_the_page(name: str, figures: int, pages: dict[str, tuple[Page, list[Path]]]) -> None:
    """Reasons, what would settle it, parts with their kinds, findings, sensitivity, estimates, blocks, provenance."""
    page, _ = pages[name]
    for run in diagnoses.CASES[name]()["runs"]:
        decision = run["decision"]
        wanted = [*decision["reasons"], *decision["would_settle"], *(f["says"] for f in run["findings"])]
        wanted += [word for part in decision["parts"] for word in (part["says"], part["kind"])]
        wanted += [word for row in decision["sensitivity"] for word in (shown(row["H"]), row["verdict"], row["why"])]
        wanted += [shown_interval(interval(e)) for e in decision["evidence"]]
        wanted += [shown_interval(interval(found)) for found in run["estimates"].values()]
        wanted += [shown_interval(interval(point["value"])) for point in run["curves"]]
        wanted += [shown_interval(interval(found)) for found in run["concentration"]["mean"]]
        wanted += [
            shown(low) for low in (*run["concentration"]["least"], *run["concentration"]["lower_quantile"]["low"])
        ]
        wanted += [f"[{shown(band['vb_low'])}, {shown(band['vb_high'])}]" for band in run["prediction"]["bands"]]
        wanted += [run["run"]["label"], "rank correlation", "seed", "python", "traces.parquet"]
        wanted += ["epsilon ver"] if run["verifier"] else []
        assert [word for word in wanted if word not in page.text] == []
    assert len(page.all("figure")) == figures


def test_serious_findings_come_first() -> None:
    """The order of findings is that of what they can do."""
    names = [finding["name"] for finding in Run(diagnoses.run(), 1).findings]
    assert names == ["truncated", "constant problems"]


def test_what_is_not_known_is_said(pages: dict[str, tuple[Page, list[Path]]]) -> None:
    """Runs without any block give a page that says so, and no figure."""
    page, written = pages["bare"]
    assert len(written) == 1
    assert page.all("figure") == []
    assert len([a for a in page.all("details") if a.get("class") == "run"]) == 3
    assert page.text.count(UNKNOWN) > 20
    assert f"{UNKNOWN}, {UNKNOWN}" not in page.text
    assert page.text.count("no figure") == 3 * 4
    assert "nan" not in page.text.lower().split()
    assert "None" not in page.text


def test_many_runs_are_said_to_be_cut(pages: dict[str, tuple[Page, list[Path]]]) -> None:
    """Beyond eight runs PNG files and problems end, and the page says so; the overview lists all."""
    page, written = pages["many"]
    runs = [a for a in page.all("details") if a.get("class") == "run"]
    assert len(runs) == 9
    assert all("open" not in run for run in runs)
    assert f"only the first {FULL}" in page.text
    assert "first 2 of 9 runs" in page.text
    assert len({a["href"] for a in page.all("a")} & {f"#run-{i}" for i in range(1, 10)}) == 9
    assert sum(path.suffix == ".svg" for path in written) == 4 + 3
    assert page.text.count("problems with the largest spread") == FULL


@pytest.mark.parametrize("key", sorted(diagnoses.run(H=64)))
@pytest.mark.parametrize("value", [None, "x", 7, [None], {"estimate": None}], ids=str)
def test_any_block_may_be_missing_or_of_another_kind(key: str, value: Any, tmp_path: Path) -> None:
    """One block replaced by anything: the page is still whole."""
    run = {**diagnoses.run(H=64), key: value}
    written = write_report(diagnoses.document([run]), tmp_path, drawn=0)
    Page(written[0].read_text(encoding="utf-8"))
    if value is None:
        without = {name: block for name, block in run.items() if name != key}
        again = write_report(diagnoses.document([without]), tmp_path, drawn=0)
        Page(again[0].read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("per_problem", "fewer than two problems"),
        ("concentration", "no problem whose samples vary"),
        ("curves", "no method has more than one draw"),
        ("prediction", "too few numbers of training traces"),
    ],
)
def test_a_figure_without_data_is_not_drawn(block: str, reason: str) -> None:
    """Its place is taken by the reason."""
    with style():
        found = draw(Run({**diagnoses.run(H=64), block: None}, 1))
    assert [reason in figure for figure in found.values() if isinstance(figure, str)] == [True]


def test_vacuous_bands_are_not_drawn() -> None:
    """Without sizes of classes the bands say nothing of n, and there is no figure of them."""
    with style():
        found = draw(Run(diagnoses.run(H=1), 1))
    assert "no size of a class" in str(found["prediction"])


def test_histogram_counts_every_problem_once() -> None:
    """Bars count problems whose samples vary, one apart those that show no spread; unknown spread is in neither."""
    run = diagnoses.run(problems=40)
    s = [0.5, 0.0, 0.0, None, 0.024, 0.025, 0.7071, 0.3]
    run["per_problem"] |= {
        "name": list("abcdefgh"),
        "s": s,
        "varies": [True, False, False, True, True, True, True, True],
    }
    with style():
        drawn = draw(Run(run, 1), ["sigma"])["sigma"]
    assert not isinstance(drawn, str)
    moving, still = ([(bar.get_x(), bar.get_height()) for bar in bars] for bars in drawn.figure.axes[0].containers)
    heights = {int(x / 0.025): height for x, height in moving if height}
    assert heights == {0: 1, 1: 1, 12: 1, 20: 1, 28: 1}
    assert [height for _, height in still] == [2]
    assert "samples of 5 vary, 2 show no spread; 1 of unknown spread" in drawn.says


def test_figures_of_one_page_do_not_share_identifiers() -> None:
    """The same figure twice: identifiers differ, every reference stays inside its figure, colours are the page's."""
    with style():
        found = [figure for figure in draw(Run(diagnoses.run(H=64), 1)).values() if not isinstance(figure, str)]
    shared = Shared(COLOURS)
    for figure in found:
        ids = []
        for prefix in ("a", "b"):
            root = ElementTree.fromstring(inlined(figure.svg, prefix, 'says "<&>"', shared))
            assert root.get("aria-label") == 'says "<&>"'
            own = {e.get("id") for e in root.iter() if e.get("id")}
            used = {e.get("href", "#")[1:] for e in root.iter("use")}
            used |= {n for e in root.iter() for v in e.attrib.values() for n in re.findall(r"url\(#([^)]+)\)", v)}
            assert used <= own
            ids.append(own)
        assert ids[0].isdisjoint(ids[1])
        assert ids[0]
    assert re.findall(r"#[0-9a-f]{6}", shared.css()) == []
    assert {"var(--ink)", "var(--blue)"} <= set(re.findall(r"var\(--\w+\)", shared.css()))


def test_reports_are_reproducible(tmp_path: Path) -> None:
    """The same diagnosis gives the same bytes, in another place and over an older report."""
    first = write_report(diagnoses.plain(), tmp_path / "a")
    second = write_report(diagnoses.plain(), tmp_path / "b")
    third = write_report(diagnoses.plain(), tmp_path / "a")
    assert [p.relative_to(tmp_path / "a") for p in first] == [p.relative_to(tmp_path / "b") for p in second]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
    assert third == first
    assert not list((tmp_path / "a").rglob(".tmp-*"))


def test_one_run_takes_little() -> None:
    """126 runs fit into a minute: the figures of a run of the largest kind take less than 60/126 s (best of three)."""
    run, seconds = Run(diagnoses.run(H=65_536), 1), []
    for _ in range(3):
        start = time.process_time()
        with style():
            for figure in draw(run).values():
                assert not isinstance(figure, str)
                inlined(figure.svg, "a", figure.says, Shared(COLOURS))
        seconds.append(time.process_time() - start)
    assert min(seconds) < 60 / 126


@given(st.lists(st.text(max_size=80), max_size=12))
def test_slugs_are_safe_and_unique(labels: list[str]) -> None:
    """One short name for each label, in order, of a-z, 0-9 and single hyphens."""
    found = slugs(labels)
    assert len(found) == len(labels) == len(set(found))
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) and len(slug) <= 64 for slug in found)


def test_slugs_of_equal_and_numbered_labels_differ() -> None:
    """A number that is added does not meet a label that has it."""
    assert slugs(["a", "a-2", "a", "A", "", "数"]) == ["a", "a-2", "a-3", "a-4", "run", "run-2"]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@example([{}])
@given(PLAIN)
def test_any_plain_data_is_described(value: Any) -> None:
    """Whatever JSON may hold becomes balanced markup that can be encoded, without elements of its own."""
    page = Page(f"<div>{described(value)}</div>")
    allowed = {"div", "dl", "dt", "dd", "ul", "li", "table", "caption", "thead", "tbody", "tr", "th", "td", "bdi"}
    assert {name for name, _ in page.elements} <= allowed
    described(value).encode()


@settings(max_examples=12)
@given(st.dictionaries(st.sampled_from(sorted(diagnoses.run(H=64))), PLAIN, max_size=3))
def test_runs_of_any_shape_are_drawn_or_not(changes: dict[str, Any]) -> None:
    """No replacement of blocks by plain data stops the figures of the others."""
    with style():
        found = draw(Run({**diagnoses.run(problems=3), **changes}, 1))
    assert set(found) == {"sigma", "concentration", "curves", "prediction"}


@pytest.mark.parametrize("block", ["per_problem", "concentration", "curves", "prediction"])
def test_odd_numbers_do_not_stop_a_figure(block: str) -> None:
    """A number of a block replaced by one that cannot be: the figure is drawn, without a warning, or left out."""
    run = diagnoses.run(H=64, problems=6, samples=4)
    odd = itertools.cycle([None, -1.0, 1e300, 1e-300, "x", True, math.nan, math.inf, 0])
    paths = _numbers(run[block])
    for path in paths[:: max(1, len(paths) // 10)]:
        broken = copy.deepcopy(run)
        place: Any = broken[block]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = next(odd)
        with style():
            assert draw(Run(broken, 1), [block.replace("per_problem", "sigma")])


def _numbers(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Places of all numbers in plain data."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if isinstance(value, int | float):
        return [path]
    return [found for key, entry in entries for found in _numbers(entry, (*path, key))]


@given(st.text(st.characters()))
def test_text_survives_escaping(value: str) -> None:
    """A reader sees what was written, up to characters that no document may hold."""
    seen = html.unescape(escaped(value))
    assert len(seen) == len(value)
    assert all(a == b or b == "\ufffd" for a, b in zip(value, seen, strict=True))
    assert not set("<>\"'") & set(re.sub(r"&#?\w+;", "", escaped(value)))


def test_only_markup_stays_markup() -> None:
    """Attributes and contents are escaped unless they were made by tag."""
    made = tag("p", "<b>", tag("i", "&"), class_='"x"', title=None)
    assert made == '<p class="&quot;x&quot;">&lt;b&gt;<i>&amp;</i></p>'
    assert isinstance(made, Html)
    assert "<script>" not in table(["<script>"], [["<script>", "<script>"]], "<script>")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "not known"),
        (0.0, "0"),
        (0.12345, "0.123"),
        (-0.5, "\N{MINUS SIGN}0.5"),
        (65536, "65,536"),
        (1234.5, "1,234"),
        (2.5e8 + 0.5, "2.5e+08"),
        (1e-9, "1e-09"),
    ],
)
def test_numbers_are_shown_with_three_digits(value: float | None, words: str) -> None:
    """Whole numbers in full; what is not known is not 0."""
    assert shown(value) == words


def test_intervals_show_which_end_is_unknown() -> None:
    """An open end is a question mark, no interval at all is not known."""
    assert shown_interval(interval({"estimate": 1.5, "low": 1.0, "high": None})) == "1.5 [1, ?]"
    assert shown_interval(interval({"estimate": None, "low": None, "high": None})) == UNKNOWN
    assert shown_interval(interval(None)) == UNKNOWN
    assert shown_interval(interval(2)) == "2"


def test_only_finite_numbers_are_numbers() -> None:
    """True, strings, NaN, infinities and integers beyond floats are not known."""
    assert [number(v) for v in (True, "1", float("nan"), float("inf"), 10**400, None, [1])] == [None] * 7
    assert [number(v) for v in (0, 1.5, -3)] == [0.0, 1.5, -3.0]


def test_check_without_browser_or_file_is_told(tmp_path: Path) -> None:
    """The check of a report in a browser ends with 2 and one line where there is no browser."""
    script = Path(__file__).resolve().parents[1] / "browser" / "check_report.py"
    command = [sys.executable, str(script), "--browser", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no browser" in done.stderr
