"""What an attack reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

__all__ = ["TIGHT", "Finding"]

#: From this ratio on a claim counts as tight: an instance attains it up to one per cent.
TIGHT = 0.99

Method = Literal["gradient", "evolution"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The worst instance found for one claim.

    ``attack`` names the kind of instances searched, ``bound`` is the claim. ``lhs`` and ``rhs`` are its two sides;
    ``ratio`` is how close they are, ``measured`` as it says: 1 is equality. ``excess`` is by how much the claim fails
    there (negative: holds with room), in its unit. ``instance`` is in plain numbers, ``evaluations`` counts instances
    tried, ``method`` is the optimiser that found it.
    """

    label: str
    claim: str
    attack: str
    bound: str
    ratio: float
    measured: str
    lhs: float
    rhs: float
    excess: float
    instance: Mapping[str, Any]
    evaluations: int
    method: Method
    violated: bool

    @property
    def tight(self) -> bool:
        """An instance attains the claim, up to one per cent, without violating it."""
        return not self.violated and self.ratio >= TIGHT

    @property
    def verdict(self) -> str:
        """``violated``, ``tight`` or ``tightness unknown``."""
        if self.violated:
            return "violated"
        return "tight" if self.tight else "tightness unknown"

    def worse(self, other: Finding | None) -> Finding:
        """The worse of two findings of one claim, with the evaluations of both."""
        if other is None:
            return self
        worst = max((other, self), key=lambda finding: (finding.violated, finding.ratio))
        return replace(worst, evaluations=self.evaluations + other.evaluations)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "tight": self.tight, "verdict": self.verdict}

    def __str__(self) -> str:
        """Bound, verdict, ratio and instance."""
        instance = ", ".join(f"{name} = {_shown(value)}" for name, value in self.instance.items())
        return (
            f"{self.label} [{self.claim}]: {self.bound}\n"
            f"  {self.verdict}, best ratio {self.ratio:.6g} ({self.measured}; "
            f"{self.evaluations} instances, found by {self.method} among {self.attack})\n"
            f"  at {instance}: {self.lhs:.8g} against {self.rhs:.8g}"
        )


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(_shown(v) for v in value) + ")"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
