r"""Constants changed one at a time: what the derivations must notice, and what the numbers notice.

A *site* is a place in a relation where a number stands: a numeral anywhere in it (an exponent too), or the coefficient
1 of a term of a sum or of a whole side (unless the other side is 0). A mutant multiplies the number at one site by
9/10, 11/10 or -1. The check of a derivation must fail for every mutant of a claim, in either direction, for every
mutant of a step, and for every step left out.

A mutant of a claim is *unsafe* if on the recorded instance it claims more than the original does. Whether it is then
*false* is another question: the extremal instance of the recorded attack answers it where the claim is nearly tight;
a loose bound's mutant can stay true.

``python -m theory mutate`` prints both counts.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sympy

from theory.proof import (
    Claim,
    Derivation,
    Library,
    Step,
    UnprovedError,
    Verified,
    established,
    verify_claims,
    verify_steps,
)
from theory.registry import claims_of, derivations, library
from theory.relation import Relation

__all__ = [
    "FACTORS",
    "Mutant",
    "Report",
    "mutants_of",
    "record",
    "recorded_mutants",
    "report",
    "surviving_claims",
    "surviving_deletions",
    "surviving_steps",
]

FACTORS = (sympy.Rational(9, 10), sympy.Rational(11, 10), sympy.Integer(-1))


@dataclass(frozen=True, slots=True)
class Mutant:
    """A relation with one number changed: where, and by what factor."""

    relation: Relation
    site: str
    factor: sympy.Rational


def _numerals(expression: sympy.Expr, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Paths of the nonzero numbers, and of the terms of sums that show no number of their own."""
    if expression.is_Number:
        if expression != 0:
            yield path
        return
    if isinstance(expression, sympy.Indexed):
        return
    parts = expression.args[:1] if isinstance(expression, sympy.Sum | sympy.Integral) else expression.args
    for i, part in enumerate(parts):
        here = (*path, i)
        if expression.is_Add and not part.is_Number and not (part.is_Mul and part.args[0].is_Number):
            yield here
        yield from _numerals(part, here)


def _at(expression: sympy.Expr, path: tuple[int, ...]) -> sympy.Expr:
    for i in path:
        expression = expression.args[i]
    return expression


def _changed(expression: sympy.Expr, path: tuple[int, ...], factor: sympy.Rational) -> sympy.Expr:
    if not path:
        return expression * factor
    parts = list(expression.args)
    parts[path[0]] = _changed(parts[path[0]], path[1:], factor)
    return expression.func(*parts)


def mutants_of(relation: Relation) -> Iterator[Mutant]:
    """Every mutant of both sides that is not the relation itself."""
    for side in ("lhs", "rhs"):
        expression = getattr(relation, side)
        other = relation.rhs if side == "lhs" else relation.lhs
        whole = [] if expression.is_Number or other == 0 else [()]
        for path in dict.fromkeys((*whole, *_numerals(expression))):
            place = f"{side}: {_at(expression, path)}"
            for factor in FACTORS:
                mutated = replace(relation, **{side: _changed(expression, path, factor)})
                if mutated != relation:
                    yield Mutant(mutated, place, factor)


def surviving_claims(state: Verified, claims: tuple[Claim, ...]) -> Iterator[tuple[Claim, Mutant, bool]]:
    """(claim, mutant, survived): does a verified step establish the claim so changed, whatever it may be about?"""
    everything = tuple(given for given in state.givens.values() if given.defines)
    over = frozenset[sympy.Basic]().union(*state.binds.values())
    for claim in claims:
        for mutant in mutants_of(claim.relation):
            try:
                established(replace(claim, relation=mutant.relation, about=everything, over=over), state)
            except UnprovedError:
                yield claim, mutant, False
            else:
                yield claim, mutant, True


def surviving_steps(derivation: Derivation, state: Verified) -> Iterator[tuple[Step, Mutant, bool]]:
    """(step, mutant, survived): the step alone is tried; if it passes (it is weaker), so must all that cite it."""
    for index, step in enumerate(derivation.steps):
        for mutant in mutants_of(step.relation):
            facts = dict(state.facts) | {step.name: mutant.relation}
            later = [other for other in derivation.steps[index + 1 :] if step.name in other.rule.cites]
            changed = replace(step, relation=mutant.relation)
            survived = bool(later) and all(_passes(other, facts, state) for other in (changed, *later))
            yield step, mutant, survived


def surviving_deletions(
    derivation: Derivation, claims: tuple[Claim, ...], state: Verified
) -> Iterator[tuple[Step, bool]]:
    """(step, survived): with the step left out, does anything miss it?"""
    for step in derivation.steps:
        cited = any(step.name in grounds for grounds in state.grounds.values())
        without = replace(derivation, steps=tuple(other for other in derivation.steps if other is not step))
        yield step, not cited and _stands(_without(state, without, step.name), claims)


def _without(state: Verified, derivation: Derivation, name: str) -> Verified:
    left = Verified(derivation, state.library)
    left.facts = {known: relation for known, relation in state.facts.items() if known != name}
    left.rests_on, left.cited = dict(state.rests_on), set(state.cited)
    left.givens, left.beneath, left.binds = state.givens, state.beneath, state.binds
    return left


def _stands(state: Verified, claims: tuple[Claim, ...]) -> bool:
    try:
        verify_claims(state, claims)
    except UnprovedError:
        return False
    return True


def _passes(step: Step, facts: dict[str, Relation], state: Verified) -> bool:
    try:
        step.rule.check(step.relation, facts, state.library)
    except UnprovedError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Report:
    """Mutants of the inequalities of one statement.

    ``claims``, ``steps`` and ``deletions`` count mutants; ``survived`` names those that the check let pass. Of the
    mutants of claims, ``unsafe`` ones claim more than the original on the recorded instance, which violates ``false``.
    """

    label: str
    claims: int
    steps: int
    deletions: int
    unsafe: int
    false: int
    survived: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {name: getattr(self, name) for name in ("label", "claims", "steps", "deletions", "unsafe", "false")} | {
            "survived": list(self.survived)
        }


PATH = Path(__file__).parent / "falsify" / "mutants.json"


def record(reports: list[Report]) -> None:
    """Keep the counts beside the recorded attacks that they were made with."""
    manifest = {"command": "python -m theory mutate --record", "sympy": version("sympy")}
    table = {"manifest": manifest, "statements": [found.as_dict() for found in reports]}
    PATH.write_text(json.dumps(table, indent=1) + "\n")


@functools.cache
def recorded_mutants() -> Mapping[str, Any]:
    """The recorded counts; empty if there are none."""
    return dict(json.loads(PATH.read_text())) if PATH.is_file() else {}


def report(label: str, known: Library | None = None) -> Report:
    """Try every mutant of ``label``."""
    claims, proof = claims_of(label), derivations()[label]
    state = verify_steps(proof, known or library())
    survived: list[str] = []
    counts = {"claims": 0, "steps": 0, "deletions": 0, "unsafe": 0, "false": 0}
    for claim, mutant, stands in surviving_claims(state, claims):
        counts["claims"] += 1
        unsafe, false = _truth(label, claim, mutant)
        counts["unsafe"] += unsafe
        counts["false"] += false
        if stands:
            survived.append(f"claim {claim.name}, {mutant.site} times {mutant.factor}")
    for step, mutant, stands in surviving_steps(proof, state):
        counts["steps"] += 1
        if stands:
            survived.append(f"step {step.name}, {mutant.site} times {mutant.factor}")
    for step, stands in surviving_deletions(proof, claims, state):
        counts["deletions"] += 1
        if stands:
            survived.append(f"step {step.name} left out")
    return Report(label, survived=tuple(survived), **counts)


def _truth(label: str, claim: Claim, mutant: Mutant) -> tuple[bool, bool]:
    """(unsafe, false) on the recorded extremal instances of the claim; (False, False) where there is none."""
    from theory.falsify.table import again, recorded

    rows = [row for row in recorded().get("findings", ()) if (row["label"], row["claim"]) == (label, claim.name)]
    if claim.relation.op == "=":
        return False, False
    changed = replace(claim, relation=mutant.relation)
    pairs = []
    for row in rows:
        try:
            pairs.append((again(row, claim), again(row, changed)))
        except (ArithmeticError, TypeError, ValueError):
            continue  # the mutant has no real value there: a root or a logarithm of a negative number
    unsafe = any(after.larger - after.smaller < before.larger - before.smaller for before, after in pairs)
    return unsafe, any(after.violated for _, after in pairs)
