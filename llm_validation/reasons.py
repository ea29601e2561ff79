"""A decision in words: what each piece of evidence says, what it does not say, and what the answer will cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llm_validation.evidence import Evidence, Question, Sampled

__all__ = ["reasons"]


def reasons(
    counted: Sequence[Evidence],
    evidence: Sequence[Evidence],
    question: Question,
    found: Sampled | None,
    tokens: float,
    unit: str,
) -> list[str]:
    """One line each. ``counted`` may decide, ``evidence`` is all; ``tokens`` is the mean length, or NaN."""
    said = {e.verdict for e in counted} - {None}
    lines = [_headline(e, question, unit) for e in counted if e.verdict is not None and len(said) == 1][:1]
    lines += [f"{e.name}: {_reach(e, unit)}{'' if e in counted else ' (a prediction, not counted)'}" for e in evidence]
    if len(said) > 1:
        lines.append("pieces of evidence contradict each other: some assumption is wrong")
    if not evidence:
        lines.append("no scores, class sizes or learning curves: nothing is known of what either recipe would lose")
    if found is not None:
        lines += _measurements(counted, found, unit)
    if question.own_expert:
        lines.append(
            "VF would clone traces of the base itself: whoever sees the same n traces with their rewards can do at "
            "least as well (garbling), which does not say that a verifier trained in practice does"
        )
    if said:
        lines.append(_cost(question, tokens))
    return lines


def _headline(e: Evidence, question: Question, unit: str) -> str:
    whose = (
        f"the clone of an expert within chi^2 {question.kappa:g} of the base" if question.own_expert else "the clone"
    )
    search = f"best-of-{question.N}"
    if e.name == "curves":
        whose, search = "VF", "VB"
    if e.verdict == "verify":
        return f"{search} is worth at least {e.low:.3g} {unit} a problem more than {whose} ({e.name})"
    return f"{whose} is worth at least {-e.high:.3g} {unit} a problem more than {search} ({e.name})"


def _reach(e: Evidence, unit: str) -> str:
    """The interval and what it says."""
    low, high = math.isfinite(e.low), math.isfinite(e.high)
    where = f"in [{e.low:.4g}, {e.high:.4g}]" if low and high else f"at least {e.low:.4g}" if low else "not bounded"
    return f"J(VB) - J(VF) {where} {unit}: {e.verdict or 'does not decide'}"


def _measurements(counted: Sequence[Evidence], found: Sampled, unit: str) -> list[str]:
    """Where what was measured does not show what bounds say."""
    by_bounds = any(e.name == "bounds" and e.verdict == "verify" for e in counted)
    lines = []
    if by_bounds and found.scored is not None:
        top = next((c for c in found.contrasts if c.N == found.scored.N), None)
        less = math.nan if top is None else top.difference.estimate - found.scored.difference.estimate
        lines.append(
            "the scores in the file are not the verifier that bounds speak of, one learned from n labels: under them "
            f"best-of-{found.scored.N} is worth about {less:.3g} {unit} less than under the true return"
        )
    if by_bounds and any(e.name == "measured" and e.verdict is None for e in counted):
        lines.append("what was measured of the clone and of the scores does not show it yet")
    return lines


def _cost(question: Question, tokens: float) -> str:
    spent = f", about {question.N * tokens:,.0f} tokens against {tokens:,.0f}" if math.isfinite(tokens) else ""
    return f"an answer of VB takes {question.N} draws{spent}: compared are equal training traces, not equal compute"
