"""The documentation of every statement, written from the registry: a page each, lemmas, attacks, the graph.

``python -m theory pages --out docs/theorems`` writes the pages; a test compares what is in the repository with what
would be written. The attacks are read from ``theory/falsify/tightness.json``, which ``python -m theory.falsify.table``
records.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from theory import render
from theory.falsify.table import recorded
from theory.graph import svg
from theory.lemmas import LEMMAS, MOST
from theory.mutation import recorded_mutants
from theory.registry import derivations, room_of, theorem, theorems
from theory.theorem import Theorem

__all__ = ["EXAMPLE", "pages", "tightness", "write"]

#: A point at which the pages evaluate every statement that takes these symbols.
EXAMPLE: dict[str, float] = {
    "H": 512, "n": 512, "log2_M": 64, "mu": 256, "sigma": 256, "epsilon": 0.25, "c": 0.25, "N": 16, "R_min": 0,
    "eta": 0.1, "p_e": 1, "V": 10, "ell": 3, "gamma": 3,
}  # fmt: skip

#: Where another point says more.
_ELSEWHERE: dict[str, dict[str, float]] = {
    "expert-heterogeneity": {"sigma": 100},
    "vb-upper-best-of-n": {"log2_M": 4, "n": 4096, "N": 8},
    "gap-regret": {"H": 8192, "n": 8192, "log2_M": 32, "sigma": 4096, "c": 0.5},
    "crossover-vf-wins": {"c": 0.015625, "log2_M": 32, "n": 64},
}

#: Optional symbols worth giving in the example.
_WORTH = ("H", "n", "log2_M")


def _findings(label: str) -> list[dict[str, Any]]:
    return [row for row in recorded().get("findings", []) if row["label"] == label]


def tightness(label: str) -> str:
    """For each attacked claim whether it is tight and the best ratio found. Empty if nothing is recorded."""
    rows = _findings(label)
    return "; ".join(f"{row['claim']}: {row['verdict']}, best ratio {row['ratio']:.4g}" for row in rows)


def _tests_of(label: str, root: Path) -> list[str]:
    """Test modules of the theory that name the statement."""
    return [path.name for path in sorted((root / "tests" / "theory").glob("test_*.py")) if label in path.read_text()]


def _example(statement: Theorem) -> list[str]:
    if statement.evaluator is None:
        return ["It has no number of its own: it equates functionals of a tree of tokens.", ""]
    names = (*statement.required, *(name for name in _WORTH if name in statement.optional))
    point = {name: EXAMPLE[name] for name in names} | _ELSEWHERE.get(statement.label, {})
    words = " ".join(f"{name}={value:g}" for name, value in point.items())
    answer = statement.evaluate(**point)
    lines = [f"`python -m theory evaluate {statement.label} --set {words}`:", ""]
    lines.append(f"**{answer.value:.6g} {answer.units}**, valid: {'yes' if answer.valid else 'no'}.")
    if "maximised_over" in answer.extras:
        lines[-1] += f" Maximised over epsilon, at {answer.extras['epsilon']:.4g}."
    window = answer.extras.get("closed_form")
    if isinstance(window, dict):
        largest = f"2^{window['log2_n_max']:.4g}"
        empty = "; the interval is empty" if window["empty"] else ""
        lines[-1] += f" Closed form {window['value']:.6g}, proven for n from {window['n_min']:.6g} to {largest}{empty}."
    lines += ["", "| condition | holds | margin |", "|---|---|---|"]
    lines += [
        f"| {render.in_cell(c.name)} | {'yes' if c.holds else 'no'} | {c.margin:.4g} |" for c in answer.conditions
    ]
    return [*lines, ""]


def _page(statement: Theorem, root: Path) -> str:
    label, room = statement.label, room_of(statement.label)
    lines = [render.shown_theorem(statement, "markdown"), "## Number", "", *_example(statement), "## Tightness", ""]
    lines += _tightness_table(_findings(label)) or ["Not attacked: see the proof.", ""]
    lines.append(render.shown_derivation(derivations()[label], "markdown"))
    uses = ", ".join(f"[`{other}`]({other}.md)" for other in statement.uses) or "lemmas only"
    used_by = ", ".join(f"[`{t.label}`]({t.label}.md)" for t in theorems().values() if label in t.uses) or "none"
    tests = ", ".join(f"[{name}](../../tests/theory/{name})" for name in _tests_of(label, root))
    lines += ["## Links", "", f"* Rests on: {uses}. Used by: {used_by}."]
    lines.append(f"* Code: [theory/{room}.py](../../theory/{room}.py), {_proof_link(label)}.")
    lines += [f"* Tests: {tests}.", f"* Source: {statement.source}.", ""]
    return "\n".join(lines)


def _proof_link(label: str) -> str:
    import theory.derivations as package

    for name in sorted(path.stem for path in Path(package.__path__[0]).glob("*.py") if path.stem != "__init__"):
        module = __import__(f"theory.derivations.{name}", fromlist=["__all__"])
        if any(vars(module)[public] is derivations()[label] for public in module.__all__):
            return f"[theory/derivations/{name}.py](../../theory/derivations/{name}.py)"
    raise KeyError(f"{label}: no module of theory.derivations exports its proof")


def _tightness_table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = ["| claim | verdict | best ratio | sides there | extremal instance |", "|---|---|---|---|---|"]
    for row in rows:
        instance = ", ".join(f"{name} = {_plain(value)}" for name, value in row["instance"].items())
        sides = f"{row['lhs']:.6g} against {row['rhs']:.6g}"
        lines.append(
            f"| {row['claim']} | {row['verdict']} | {row['ratio']:.4g} ({row['measured']}) | {sides} | {instance} |"
        )
    return [*lines, ""]


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "(" + ", ".join(_plain(v) for v in value) + ")"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _index() -> str:
    lines = [
        "# Statements",
        "",
        "Written by `python -m theory pages --out docs/theorems`; a test compares. See also the",
        "",
    ]
    lines[-2] += " [lemmas](lemmas.md), the [attacks](tightness.md), the [mutants](mutants.md) and the"
    lines[-1] = "[notation](../notation.md)."
    lines.append("")
    lines += [render.listing(list(theorems().values()), "markdown"), ""]
    lines += ["![Which statement rests on which](graph.svg)", ""]
    lines += [
        "| statement | claims | identity | inequality | lemma | application | prose |",
        "|---|---|---|---|---|---|---|",
    ]
    total = [0] * 6
    for label, statement in theorems().items():
        counts = [len(statement.claims), *derivations()[label].counts().values()]
        total = [a + b for a, b in zip(total, counts, strict=True)]
        lines.append(f"| `{label}` | " + " | ".join(map(str, counts)) + " |")
    lines.append("| all | " + " | ".join(map(str, total)) + " |")
    return "\n".join([*lines, ""])


def _lemmas() -> str:
    lines = [
        "# Lemmas",
        "",
        f"The textbook lemmas that the proofs use, {len(LEMMAS)} of at most {MOST}. Each is a template",
    ]
    lines += ["whose premises and conclusion `python -m theory check` computes on random instances.", ""]
    for lemma in LEMMAS.values():
        users = [label for label, proof in derivations().items() if lemma.label in proof.lemmas]
        links = ", ".join(f"[`{label}`]({label}.md)" for label in theorems() if label in users) or "none"
        lines.append(f"* **{lemma.label}**: {lemma.statement}. Used by {links}.")
    return "\n".join([*lines, ""])


def _attacks() -> str:
    lines = [
        "# Attacks",
        "",
        "A search of the whole domain of every claim for a violation, and the best ratio it found. 1 is",
    ]
    lines += ["equality; a claim whose best ratio stays below 0.99 is of unknown tightness. Recorded by", ""]
    manifest = recorded().get("manifest", {})
    lines[-1] = f"`{manifest.get('command', 'python -m theory.falsify.table')}` (" + ", ".join(
        f"{name} {value}" for name, value in manifest.items() if name != "command"
    )
    lines[-1] += "); `python -m theory falsify LABEL` attacks one statement again."
    for label in theorems():
        lines += ["", f"## `{label}`", "", *_tightness_table(_findings(label))]
    return "\n".join([*lines, ""])


def _mutants() -> str:
    table = recorded_mutants()
    lines = [
        "# Mutants",
        "",
        "Every number of every claim and of every step times 0.9, 1.1 and -1, and every step left",
    ]
    lines += [f"out, one at a time. Recorded by `{table['manifest']['command']}` (sympy {table['manifest']['sympy']})."]
    lines += [
        "",
        "*Survived*: the check of the derivation let the mutant pass. *Unsafe*: the mutant of a claim claims more",
    ]
    lines += [
        "than the claim does, on the recorded extremal instance. *False there*: that instance violates it. A loose"
    ]
    lines += ["bound's mutant can stay true, so numbers alone find fewer.", ""]
    lines += [
        "| statement | claims | steps | left out | survived | unsafe | false there |",
        "|---|---|---|---|---|---|---|",
    ]
    names = ("claims", "steps", "deletions", "survived", "unsafe", "false")
    total = [0] * len(names)
    for row in table["statements"]:
        counts = [len(row[name]) if name == "survived" else row[name] for name in names]
        total = [a + b for a, b in zip(total, counts, strict=True)]
        lines.append(f"| `{row['label']}` | " + " | ".join(map(str, counts)) + " |")
    return "\n".join([*lines, "| all | " + " | ".join(map(str, total)) + " |", ""])


def pages(root: Path) -> dict[str, str]:
    """File name to text of every page. ``root`` is the repository, whose tests the pages link to."""
    written = {f"{label}.md": _page(theorem(label), root) for label in theorems()}
    uses = {label: t.uses for label, t in theorems().items()}
    kinds = {label: t.kind for label, t in theorems().items()}
    extra = {"index.md": _index(), "lemmas.md": _lemmas(), "tightness.md": _attacks(), "graph.svg": svg(uses, kinds)}
    extra |= {"mutants.md": _mutants()} if recorded_mutants() else {}
    return {name: text.rstrip("\n") + "\n" for name, text in (written | extra).items()}


def write(directory: Path) -> None:
    """Write every page into ``directory``, made if it is missing."""
    found = pages(Path(__file__).resolve().parents[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in found.items():
        (directory / name).write_text(text)
