r"""Attacks on the claims: a search of each claim's whole domain for a violation, and the best ratio it found.

An :class:`~theory.falsify.adversary.Adversary` builds an instance from a vector of a box, computes the left side of one
claim exactly from that instance, by enumeration, and the right side from the claim's own expression. Two optimisers,
multi-start gradient ascent (JAX, float64) and differential evolution (SciPy), push the *ratio* of the two sides up:
1 is an instance on which the claim holds with equality, above 1 (beyond rounding) is a violation. Where the best ratio
stays below 1 the constant may or may not be improvable: tightness unknown.

The best instance is computed again in NumPy, its right side by the statement's evaluator, before it is reported. One
module per room holds its adversaries; importing this package imports neither JAX nor NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from theory.falsify.finding import Finding

if TYPE_CHECKING:
    from theory.proof import Claim

__all__ = ["Finding", "falsify"]


def falsify(
    label: str, seed: int = 0, effort: int = 1, claims: Mapping[str, Claim] | None = None
) -> tuple[Finding, ...]:
    """Attack every claim of the statement ``label`` that has an adversary; the worst finding of each claim.

    ``effort`` scales the number of starts and generations; at 0 there is a small differential evolution and no
    gradient, hence no JAX. ``claims`` replaces registered claims by others of the same name (a test breaks a constant
    this way). The same label, seed and effort repeat the same search. Raises ``KeyError`` with the known labels,
    ``ValueError`` if ``effort`` is negative.
    """
    from theory.falsify.adversary import adversaries
    from theory.falsify.search import attack
    from theory.registry import theorem

    if effort < 0:
        raise ValueError(f"effort = {effort}: expected 0 or more")
    statement = theorem(label)
    replaced = claims or {}
    found: dict[str, Finding] = {}
    for adversary in adversaries(label):
        claim = replaced.get(adversary.claim, statement.claim(adversary.claim))
        finding = attack(adversary, claim, seed=seed, effort=effort)
        found[claim.name] = finding.worse(found.get(claim.name))
    return tuple(found.values())
