"""Check everything that the statements claim: every step of every derivation, every claim, every lemma.

A failure is reported by name and does not stop the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from theory.lemmas import LEMMAS
from theory.proof import UnprovedError, verify
from theory.registry import derivations, library, theorem, theorems

__all__ = ["TRIALS", "LemmaReport", "ProofReport", "check_lemmas", "check_proofs"]

#: Random instances on which a lemma's template is tried.
TRIALS = 200


@dataclass(frozen=True, slots=True)
class ProofReport:
    """One derivation: number of steps of each kind, claims established, prose left, ``error`` or ``None``."""

    label: str
    steps: dict[str, int]
    claims: int
    prose: tuple[str, ...]
    seconds: float
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the clock."""
        return {
            "label": self.label,
            "steps": self.steps,
            "claims": self.claims,
            "prose": list(self.prose),
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class LemmaReport:
    """One lemma: on how many random instances its template was tried and whether it held on all."""

    label: str
    trials: int
    held: bool


def check_proofs(labels: Iterable[str] | None = None) -> list[ProofReport]:
    """Verify the derivations of ``labels`` (all). A statement without a derivation is an error of its own."""
    known = library()
    reports = []
    for label in theorems() if labels is None else labels:
        start = time.perf_counter()
        statement, proof = theorem(label), derivations().get(label)
        if proof is None:
            reports.append(ProofReport(label, {}, len(statement.claims), (), 0.0, "has no derivation"))
            continue
        error: str | None = None
        prose: tuple[str, ...] = ()
        try:
            if not statement.claims:
                raise UnprovedError(f"{label} makes no claim")
            claims = tuple(proof.stated(claim, known.lemmas) for claim in statement.claims)
            prose = verify(proof, claims, known)
        except UnprovedError as failure:
            error = str(failure)
        seconds = time.perf_counter() - start
        reports.append(ProofReport(label, proof.counts(), len(statement.claims), prose, seconds, error))
    return reports


def check_lemmas(trials: int = TRIALS, seed: int = 0) -> list[LemmaReport]:
    """Try every lemma's template on ``trials`` random instances."""
    return [LemmaReport(lemma.label, trials, lemma.holds(trials, seed)) for lemma in LEMMAS.values()]
