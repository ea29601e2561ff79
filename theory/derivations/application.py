"""Applying a claim of another statement: what it is about, said of the letters that are put into it.

A claim may be applied to other letters if its definitions hold of them. An :class:`Application` knows the images of
these definitions: a derivation takes those that it does not derive for its own givens (:func:`settings`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import sympy

from theory.expectation import Random
from theory.lemmas import LEMMAS
from theory.proof import Apply, Claim, Derivation, Given, Step
from theory.relation import Relation, is_nonnegative, is_zero
from theory.theorem import Theorem

__all__ = ["Application", "settings"]


@dataclass(frozen=True)
class Application:
    """The claim ``name`` of ``statement``, proved by ``proof``, for other letters (see :class:`~theory.proof.Apply`).

    Random letters that ``replacing`` does not name move along with the ``spaces``, and vary on the spaces ``on`` too.
    """

    statement: Theorem
    proof: Derivation
    name: str
    replacing: Mapping[sympy.Basic, sympy.Expr] = field(default_factory=dict)
    spaces: Mapping[str, str] = field(default_factory=dict)
    on: str = ""

    @property
    def claim(self) -> Claim:
        """The claim with what it is about."""
        return self.proof.stated(self.statement.claim(self.name), LEMMAS)

    def rule(self, given: tuple[str, ...], facts: Iterable[Given | Step]) -> Apply:
        """The rule by which the claim is applied; ``facts`` are where its definitions are found."""
        known = tuple(facts)
        images = [self._image(definition) for definition in self._nontrivial()]
        ties = (next((fact.name for fact in known if _agree(fact, image)), None) for image in images)
        return replace(self._bare(), given=given, ties=tuple(dict.fromkeys(name for name in ties if name is not None)))

    @property
    def conclusion(self) -> Relation:
        """What follows."""
        return self._bare().image(self.statement.claim(self.name).relation)

    def definitions(self) -> tuple[Given, ...]:
        """What the claim is about, with the letters replaced, but for what is trivial then."""
        return tuple(self._image(given) for given in self._nontrivial())

    def _nontrivial(self) -> list[Given]:
        return [given for given in self.claim.about if not _trivial(self._bare().image(given.relation))]

    def _image(self, given: Given) -> Given:
        bare = self._bare()
        need = None if given.provided is None else bare.image(given.provided)
        name = f"{self.statement.label}-{given.name}"
        return Given(name, bare.image(given.relation), given.why, "definition", need)

    def _bare(self) -> Apply:
        letters = {
            letter: _moved(letter, self.spaces, self.on)
            for relation in self.claim.spoken
            for side in (relation.lhs, relation.rhs)
            for letter in side.atoms(Random)
            if letter not in self.replacing
        }
        changed = {letter: value for letter, value in letters.items() if letter != value}
        return Apply(self.statement.label, self.name, {**changed, **self.replacing}, spaces=self.spaces)


def settings(own: tuple[Given, ...], *applications: Application, derived: Iterable[Step] = ()) -> tuple[Given, ...]:
    """The givens ``own``, and what the applications need beside them and the steps ``derived``."""
    found, steps = list(own), tuple(derived)
    for application in applications:
        for definition in application.definitions():
            stated = any(_agree(given, definition) for given in found)
            if not stated and not any(_agree(step, definition) for step in steps):
                found.append(definition)
    return tuple(found)


def _agree(fact: Given | Step, definition: Given) -> bool:
    """The fact says the same, under no other condition."""
    provided = fact.provided if isinstance(fact, Given) else None
    one, other = fact.relation, definition.relation
    turned = one.op == other.op == "=" and (one.lhs, one.rhs) == (other.rhs, other.lhs)
    return (one == other or turned) and provided in (None, definition.provided)


def _trivial(relation: Relation) -> bool:
    return is_zero(relation.slack) if relation.op == "=" else is_nonnegative(relation.slack)


def _moved(letter: Random, spaces: Mapping[str, str], on: str) -> Random:
    moved = {spaces.get(space, space) for space in letter.spaces} | set(on)
    return Random(letter.name, "".join(sorted(moved)), **letter.assumptions0)
