"""Statements and derivations as text, LaTeX, Markdown or plain data; nothing here decides anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from theory.lemmas import LEMMAS
from theory.notation import SYMBOLS
from theory.proof import Apply, Claim, Combination, Derivation, Step, Use
from theory.registry import claims_of, theorems
from theory.relation import Relation
from theory.symbols import latex_of
from theory.theorem import Theorem

__all__ = ["FORMATS", "derivation_data", "in_cell", "listing", "shown_derivation", "shown_theorem", "theorem_data"]

FORMATS = ("text", "latex", "markdown", "json")
#: How a letter is set, by its name in code.
LETTER_LATEX = {name: symbol.latex for name, symbol in SYMBOLS.items()}


def _relation_data(relation: Relation) -> dict[str, str]:
    return {"text": str(relation), "latex": relation.latex(latex_of())}


def _claims(statement: Theorem) -> tuple[Claim, ...]:
    """The claims, with what they are about where the statement is one of the registry's."""
    known = theorems().get(statement.label) is statement
    return claims_of(statement.label) if known else statement.claims


def theorem_data(statement: Theorem) -> dict[str, Any]:
    """A statement as plain data."""
    return {
        "label": statement.label,
        "kind": statement.kind,
        "statement": statement.statement,
        "bounds": statement.bounds,
        "units": statement.units,
        "family": {"name": statement.family.name, "description": statement.family.description},
        "required": list(statement.required),
        "optional": list(statement.optional),
        "symbols": {
            name: {
                "latex": SYMBOLS[name].latex,
                "meaning": statement.meanings.get(name, SYMBOLS[name].meaning),
                "unit": SYMBOLS[name].unit,
                "domain": SYMBOLS[name].domain,
            }
            for name in statement.parameters
        },
        "assumptions": [{"name": a.name, "required": a.required} for a in statement.assumptions],
        "claims": [
            {
                "name": claim.name,
                "says": claim.says,
                **_relation_data(claim.relation),
                "where": [_relation_data(r) for r in claim.where],
                "positive": [str(symbol) for symbol in claim.positive],
                "about": [{"name": given.name, **_relation_data(given.relation)} for given in claim.about],
            }
            for claim in _claims(statement)
        ],
        "uses": list(statement.uses),
        "source": statement.source,
        "has_number": statement.evaluator is not None,
    }


def derivation_data(proof: Derivation) -> dict[str, Any]:
    """A derivation as plain data."""
    return {
        "label": proof.label,
        "givens": [
            {"name": g.name, "sort": g.sort, "why": g.why, **_relation_data(g.relation)}
            | ({"provided": _relation_data(g.provided)} if g.provided is not None else {})
            for g in proof.givens
        ],
        "steps": [
            {
                "name": step.name,
                "kind": step.rule.kind,
                "rule": type(step.rule).__name__,
                "by": _by(step),
                "cites": list(dict.fromkeys(step.rule.cites)),
                "why": step.why,
                **_relation_data(step.relation),
            }
            for step in proof.steps
        ],
        "counts": proof.counts(),
    }


def _by(step: Step) -> str:
    """The rule in words, without what it cites."""
    rule = step.rule
    if isinstance(rule, Use):
        return f"lemma {rule.lemma}"
    if isinstance(rule, Apply):
        return f"{rule.label} ({rule.claim})"
    if isinstance(rule, Combination):
        return "combination " + " + ".join(_term(*term) for term in rule.terms)
    return {
        "Identity": "identity",
        "Monotone": "monotone function",
        "Calculus": "calculus",
        "Cancel": "positive factor",
        "Enclosed": "interval arithmetic",
        "Cases": "cases",
        "Prose": "PROSE, not checked",
    }.get(type(rule).__name__, type(rule).__name__.lower())


def in_cell(text: str) -> str:
    """``text`` for a cell of a Markdown table."""
    return text.replace("|", r"\|")


def _term(multiplier: object, *names: object) -> str:
    """One term of a combination: the multiplier in brackets, then the facts whose slacks it multiplies."""
    return "(" + ") (".join(map(str, (multiplier, *names))) + ")"


def listing(statements: Sequence[Theorem], form: str) -> str:
    """All statements: label, kind, what is bounded."""
    if form == "json":
        return json.dumps([theorem_data(t) for t in statements], indent=1)
    if form == "markdown":
        rows = [f"| [{t.label}]({t.label}.md) | {t.kind} | {in_cell(t.bounds)} | {t.units} |" for t in statements]
        return "\n".join(["| label | kind | what is bounded | unit |", "|---|---|---|---|", *rows])
    if form == "latex":
        items = [rf"\item[\texttt{{{t.label}}}] ({t.kind}) \({t.statement}\)" for t in statements]
        return "\n".join([r"\begin{description}", *items, r"\end{description}"])
    return "\n".join(f"{t.label:22s} {t.kind:9s} {t.bounds}" for t in statements)


def shown_theorem(statement: Theorem, form: str, tightness: str = "") -> str:
    """One statement with its assumptions, symbols and claims."""
    data = theorem_data(statement)
    if form == "json":
        return json.dumps(data | ({"tightness": tightness} if tightness else {}), indent=1)
    if form == "latex":
        claims = "\n".join(rf"\[ {c['latex']} {_where_latex(c)}\]  % {c['name']}: {c['says']}" for c in data["claims"])
        return f"% {data['label']} ({data['kind']}): {data['bounds']}\n\\[ {data['statement']} \\]\n{claims}"
    if form == "markdown":
        return _theorem_markdown(data, tightness)
    lines = [f"{data['label']} ({data['kind']}, {data['units']}): {data['bounds']}", f"  {data['statement']}"]
    lines.append(f"family: {data['family']['name']}: {data['family']['description']}")
    lines += [f"assumes{'' if a['required'] else ' (informs only)'}: {a['name']}" for a in data["assumptions"]]
    for name, symbol in data["symbols"].items():
        need = "" if name in data["required"] else " (optional)"
        lines.append(f"symbol {name}{need}: {symbol['meaning']} [{symbol['unit']}], {symbol['domain']}")
    for claim in data["claims"]:
        lines.append(f"claim {claim['name']}: {claim['text']}   ({claim['says']})")
        lines += [f"  where {r['text']}" for r in claim["where"]]
        lines += [f"  where {', '.join(claim['positive'])} > 0"] if claim["positive"] else []
        lines += [f"  about {_names(claim)}"] if claim["about"] else []
    lines.append(f"uses: {', '.join(data['uses']) or 'nothing'}")
    lines += [f"tightness: {tightness}"] if tightness else []
    return "\n".join([*lines, f"source: {data['source']}"])


def _names(claim: Mapping[str, Any]) -> str:
    """Names of the definitions that a claim is about; the proof states them."""
    return ", ".join(given["name"] for given in claim["about"])


def _theorem_markdown(data: Mapping[str, Any], tightness: str) -> str:
    lines = [f"# `{data['label']}`", "", f"*{data['kind']}*: {data['bounds']} ({data['units']}).", ""]
    lines += ["$$", data["statement"], "$$", "", "## Assumptions", ""]
    lines += [f"* {a['name']}{'' if a['required'] else ' (informs only)'}" for a in data["assumptions"]]
    lines += [f"* family: {data['family']['name']} ({data['family']['description']})", "", "## Symbols", ""]
    lines += ["| in code | symbol | meaning | unit | values |", "|---|---|---|---|---|"]
    for name, symbol in data["symbols"].items():
        need = "" if name in data["required"] else " (optional)"
        cells = (symbol["latex"].join("$$"), symbol["meaning"], symbol["unit"], symbol["domain"])
        lines.append(f"| `{name}`{need} | " + " | ".join(map(in_cell, cells)) + " |")
    lines += ["", "## Claims", "", "What is proved, in the symbols that the number is compiled from;"]
    lines += ["*about* names the definitions beneath it, which the proof lists.", ""]
    for claim in data["claims"]:
        lines += [f"* **{claim['name']}**: {claim['says']}", "", "  $$", f"  {claim['latex']}", "  $$"]
        conditions = [f"${r['latex']}$" for r in claim["where"]]
        conditions += [f"${LETTER_LATEX.get(symbol, symbol)} > 0$" for symbol in claim["positive"]]
        lines += ["", f"  where {', '.join(conditions)}"] if conditions else []
        lines += ["", f"  about: {_names(claim)}"] if claim["about"] else []
        lines.append("")
    if tightness:
        lines += ["## Tightness", "", tightness, ""]
    return "\n".join(lines)


def shown_derivation(proof: Derivation, form: str) -> str:
    """The whole derivation, step by step."""
    data = derivation_data(proof)
    if form == "json":
        return json.dumps(data, indent=1)
    if form == "latex":
        return _derivation_latex(data)
    if form == "markdown":
        return _derivation_markdown(data)
    lines = [f"{data['label']}: " + ", ".join(f"{count} {kind}" for kind, count in data["counts"].items() if count)]
    lines += [f"  {g['sort']:10s} {g['name']}: {g['text']}   ({g['why']})" for g in data["givens"]]
    for i, step in enumerate(data["steps"], 1):
        grounds = f" of {', '.join(step['cites'])}" if step["cites"] else ""
        lines.append(f"  {i:2d}. {step['name']}: {step['text']}\n      by {step['by']}{grounds}   ({step['why']})")
    return "\n".join(lines)


def _where_latex(claim: Mapping[str, Any]) -> str:
    """The hypotheses of a claim, to stand behind it in a formula."""
    conditions = [r["latex"] for r in claim["where"]]
    conditions += [f"{LETTER_LATEX.get(symbol, symbol)} > 0" for symbol in claim["positive"]]
    together = r",\ ".join(conditions)
    return rf"\quad\text{{where }} {together} " if conditions else ""


_SPECIAL = {"_": r"\_", "^": r"\^{}", "&": r"\&", "%": r"\%", "#": r"\#", "{": r"\{", "}": r"\}", "~": r"\~{}"}


def _escaped(text: str) -> str:
    """``text`` in LaTeX's text mode."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text.replace("**", "^"))


def _derivation_latex(data: Mapping[str, Any]) -> str:
    """Two lists: what is given, and the steps with what each rests on."""
    lines = [f"% {data['label']}", r"\begin{itemize}"]
    for given in data["givens"]:
        only = rf", if \({given['provided']['latex']}\)" if "provided" in given else ""
        lines.append(rf"\item[{_escaped(given['name'])}] \({given['latex']}\){only} ({_escaped(given['why'])})")
    lines += [r"\end{itemize}", r"\begin{enumerate}"]
    for step in data["steps"]:
        cites = f" of {', '.join(step['cites'])}" if step["cites"] else ""
        lines.append(rf"\item \textbf{{{_escaped(step['name'])}}} ({_escaped(step['why'])}):")
        lines.append(rf"\[ {step['latex']} \] by {_escaped(step['by'] + cites)}")
    return "\n".join([*lines, r"\end{enumerate}"])


def _derivation_markdown(data: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count} {kind}" for kind, count in data["counts"].items() if count)
    lines = ["## Proof", "", f"Every step is checked by `python -m theory check {data['label']}`: {counts}.", ""]
    lines += ["Given:", ""]
    for given in data["givens"]:
        only = f", if ${given['provided']['latex']}$" if "provided" in given else ""
        lines.append(f"* *{given['sort']}* **{given['name']}**: ${given['latex']}${only} ({given['why']})")
    lines += ["", "Steps:", ""]
    for i, step in enumerate(data["steps"], 1):
        cites = ", ".join(step["cites"])
        by = f"{step['by']}{' of ' + cites if cites else ''}"
        lines += [f"{i}. **{step['name']}** ({step['why']})", "", f"    ${step['latex']}$", "", f"    by {by}", ""]
    used = sorted({s["by"].removeprefix("lemma ") for s in data["steps"] if s["kind"] == "lemma"})
    if used:
        lines += ["Lemmas:", ""]
        lines += [f"* [{label}](lemmas.md): {LEMMAS[label].statement}" for label in used]
        lines.append("")
    return "\n".join(lines)
