"""Nothing dangles: every label has claims, a proof without prose, a property test, a page and a compiled number."""

from __future__ import annotations

import json
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from theory.check import check_lemmas, check_proofs
from theory.falsify.adversary import adversaries
from theory.falsify.table import recorded
from theory.graph import layers
from theory.lemmas import LEMMAS
from theory.mutation import Report, recorded_mutants, report
from theory.pages import pages
from theory.registry import ORDER, derivations, room_of, theorems
from theory.theorem import Theorem

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "theorems"
TESTS = {path: path.read_text() for path in (ROOT / "tests" / "theory").glob("test_*.py")}

_all = pytest.mark.parametrize("statement", theorems().values(), ids=lambda t: t.label)
_numbered = pytest.mark.parametrize(
    "statement", [t for t in theorems().values() if t.evaluator is not None], ids=lambda t: t.label
)


def test_labels_are_those_of_the_theory() -> None:
    """Seventeen statements, told in one order."""
    assert tuple(theorems()) == ORDER
    assert set(derivations()) == set(ORDER)


def test_graph_has_no_cycle_and_no_dangling_label() -> None:
    """Every use is a statement and rests on what comes before it."""
    placed = [label for layer in layers({label: t.uses for label, t in theorems().items()}) for label in layer]
    assert sorted(placed) == sorted(theorems())


@_all
def test_uses_are_the_applications_of_the_proof(statement: Theorem) -> None:
    """A statement uses exactly the statements that its derivation applies."""
    assert set(statement.uses) == derivations()[statement.label].applications


@_all
def test_derivation_is_verified_and_has_no_prose(statement: Theorem) -> None:
    """Every step is checked, every claim established, nothing is left to words."""
    (proof,) = check_proofs([statement.label])
    assert proof.error is None
    assert proof.prose == ()
    assert proof.claims >= 1


@_all
def test_derivation_uses_known_lemmas(statement: Theorem) -> None:
    """No lemma is made up."""
    assert derivations()[statement.label].lemmas <= set(LEMMAS)


def test_lemmas_hold_where_check_tries_them() -> None:
    """The trials of ``python -m theory check`` hold."""
    assert all(lemma.held for lemma in check_lemmas(50))


@pytest.fixture(scope="module")
def mutants_of_all() -> dict[str, Report]:
    """The reports of all statements, computed on all cores."""
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        return dict(zip(ORDER, pool.map(report, ORDER), strict=True))


@_all
def test_no_mutant_survives_the_check(mutants_of_all: dict[str, Report], statement: Theorem) -> None:
    """Every constant of every claim and step times 0.9, 1.1 or -1, and every step left out, is noticed by the check."""
    mutants = mutants_of_all[statement.label]
    assert mutants.survived == ()
    assert mutants.steps > 0
    assert mutants.as_dict() in recorded_mutants()["statements"]


@_all
def test_statement_has_a_property_test(statement: Theorem) -> None:
    """Some test module with hypothesis properties imports the statement's room and names the statement."""
    room = room_of(statement.label)
    naming = [t for t in TESTS.values() if statement.label in t and f"theory.{room} import" in t and "@given(" in t]
    assert naming


@_numbered
def test_number_is_compiled_from_the_claims(statement: Theorem) -> None:
    """The formula that is reported and enclosed is the side of a claim, or the best of several."""
    assert statement.formulas is not None


@_all
def test_attack_is_recorded(statement: Theorem) -> None:
    """Each claim that is an inequality was attacked: a tight instance, or the words 'tightness unknown'."""
    rows = {row["claim"]: row for row in recorded()["findings"] if row["label"] == statement.label}
    assert rows
    assert all(row["verdict"] in ("tight", "tightness unknown") for row in rows.values())
    assert set(rows) == {a.claim for a in adversaries(statement.label)}


@pytest.mark.parametrize("name", sorted(pages(ROOT)))
def test_page_is_up_to_date(name: str) -> None:
    """docs/theorems is what ``python -m theory pages --out docs/theorems`` writes."""
    assert (PAGES / name).read_text() == pages(ROOT)[name]


@_all
def test_links_of_a_page_lead_somewhere(statement: Theorem) -> None:
    """Code, proof and tests that a page links to exist."""
    text = (PAGES / f"{statement.label}.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert any(link.startswith("../../tests/") for link in links)
    assert all((PAGES / link).exists() for link in links if not link.startswith("http"))


def test_table_of_attacks_carries_its_manifest() -> None:
    """Seed, versions and the command that wrote it."""
    assert {"command", "seed"} <= set(recorded()["manifest"])
    json.dumps(recorded())
