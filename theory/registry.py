"""Every statement by its label: the module-level :class:`~theory.theorem.Theorem` objects of this package."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

import theory
from theory.proof import Claim, Derivation, Library
from theory.theorem import Theorem

__all__ = ["ORDER", "claims_of", "derivation", "derivations", "library", "room_of", "theorem", "theorems"]


@functools.cache
def theorems() -> Mapping[str, Theorem]:
    """All statements, label to object. Raises ``RuntimeError`` if two carry one label."""
    found: dict[str, Theorem] = {}
    for name in _rooms():
        for value in vars(importlib.import_module(f"theory.{name}")).values():
            if isinstance(value, Theorem) and found.setdefault(value.label, value) is not value:
                raise RuntimeError(f"two statements are labelled {value.label!r}")
    return MappingProxyType({label: found[label] for label in sorted(found, key=_place)})


def _rooms() -> list[str]:
    return [m.name for m in pkgutil.iter_modules(theory.__path__) if not (m.name.startswith("_") or m.ispkg)]


#: The order in which statements are told; a label that is not here comes last, by name.
ORDER = (
    "heterogeneity-identity",
    "chi2-expert",
    "expert-heterogeneity",
    "anti-concentration",
    "verifier-erm",
    "verifier-noisy",
    "vb-upper-top-c",
    "vb-upper-best-of-n",
    "vf-lower",
    "vf-lower-truncated",
    "vf-upper",
    "gap-regret",
    "gap-ball",
    "gap-free",
    "garbling",
    "crossover-vf-wins",
    "planted-law",
)


def _place(label: str) -> tuple[int, str]:
    return (ORDER.index(label) if label in ORDER else len(ORDER), label)


def room_of(label: str) -> str:
    """Name of the module of :mod:`theory` that states ``label``: the one that defines it, not one that imports it."""
    statement = theorem(label)
    rooms = [
        name
        for name in _rooms()
        if any(value is statement for value in vars(importlib.import_module(f"theory.{name}")).values())
    ]
    exported = [
        name
        for name in rooms
        if any(
            vars(importlib.import_module(f"theory.{name}"))[public] is statement
            for public in importlib.import_module(f"theory.{name}").__all__
        )
    ]
    return exported[0]


def theorem(label: str) -> Theorem:
    """The statement labelled ``label``. Raises ``KeyError`` whose message lists the known labels."""
    known = theorems()
    if label not in known:
        raise KeyError(f"{label!r} is no statement: expected one of {', '.join(sorted(known))}")
    return known[label]


@functools.cache
def derivations() -> Mapping[str, Derivation]:
    """All proofs by the label of their statement. Raises ``RuntimeError`` if a label has two."""
    import theory.derivations as package

    found: dict[str, Derivation] = {}
    for info in pkgutil.iter_modules(package.__path__):
        for value in vars(importlib.import_module(f"{package.__name__}.{info.name}")).values():
            if isinstance(value, Derivation) and found.setdefault(value.label, value) is not value:
                raise RuntimeError(f"two derivations are labelled {value.label!r}")
    return MappingProxyType(found)


def derivation(label: str) -> Derivation:
    """The proof of the statement labelled ``label``. Raises ``KeyError`` with the known labels."""
    theorem(label)
    if label not in derivations():
        raise KeyError(f"{label} has no derivation")
    return derivations()[label]


def library() -> Library:
    """The lemmas and the claims that a derivation may refer to."""
    from theory.lemmas import LEMMAS

    return Library(LEMMAS, {(label, claim.name): claim for label in theorems() for claim in claims_of(label)})


@functools.cache
def claims_of(label: str) -> tuple[Claim, ...]:
    """The claims of ``label``, each with what its proof is about, if there is a proof."""
    from theory.lemmas import LEMMAS

    claims, proof = theorem(label).claims, derivations().get(label)
    return claims if proof is None else tuple(proof.stated(claim, LEMMAS) for claim in claims)
