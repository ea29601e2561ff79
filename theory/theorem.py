"""What a statement is made of: frozen objects, and the one way to evaluate any of them.

A statement bounds a number by a value at a *point* (an assignment of symbols). An evaluation carries

* the value, with its unit, even where it says nothing (a negative lower bound is shown, not hidden);
* every named assumption, whether it holds there, and by what margin;
* whether the number is *valid*: all required assumptions hold and the bound is not vacuous.

A lower bound that holds for every epsilon is maximised over epsilon when none is given. The maximiser is
reported; the value at it is a proven bound whether or not the search found the global maximum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from theory.formula import Formula
from theory.laws import ReturnLaw
from theory.notation import SYMBOLS
from theory.proof import Claim

if TYPE_CHECKING:
    import flint

__all__ = ["Assumption", "Condition", "Evaluation", "Family", "Instance", "Number", "Point", "Theorem"]

Point = Mapping[str, float]
Kind = Literal["upper", "lower", "equality", "identity"]

#: Relative rounding error forgiven when an assumption is met with equality (epsilon * rho = sigma, say).
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Condition:
    """A named condition at a point. ``margin`` >= 0 where it holds, in the unit that its name implies.

    A condition that is not ``required`` informs (tightness, the scope of an asymptotic claim) and does not
    enter ``valid``.
    """

    name: str
    holds: bool
    margin: float
    required: bool = True


@dataclass(frozen=True, slots=True)
class Assumption:
    """A named predicate: it holds where ``margin(point)`` >= 0 (> 0 if ``strict``), up to rounding of ``scale``."""

    name: str
    margin: Callable[[Point], float]
    scale: Callable[[Point], float] = lambda point: 1.0
    strict: bool = False
    required: bool = True

    def at(self, point: Point) -> Condition:
        """The condition at ``point``."""
        margin = float(self.margin(point))
        slack = ROUNDING * abs(float(self.scale(point)))
        holds = margin > 0.0 if self.strict else margin >= -slack
        return Condition(self.name, holds, margin, self.required)


@dataclass(frozen=True, slots=True)
class Instance:
    """A family of problems with its prior, as far as a statement can see it.

    ``signs`` names how the M hypotheses mirror the return: ``"independent"`` (random codebook),
    ``"pairwise-independent"`` (parity), or ``None`` (no mirrored hypotheses at all: a planted task, a
    network, a user's model). ``law`` is the base law of the return, ``None`` if unknown.
    """

    name: str
    signs: Literal["independent", "pairwise-independent"] | None = None
    law: ReturnLaw | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """The family of instances a statement speaks of; anywhere else its number is only a prediction."""

    name: str
    description: str
    contains: Callable[[Instance], bool]


@dataclass(frozen=True, slots=True)
class Number:
    """What an evaluator returns: the value and anything worth reporting beside it."""

    value: float
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A statement evaluated at a point."""

    label: str
    kind: Kind
    value: float
    valid: bool
    conditions: tuple[Condition, ...]
    units: str
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def assumptions_hold(self) -> bool:
        """All required assumptions hold, vacuous or not: the inequality is proven here."""
        return all(c.holds for c in self.conditions if c.required and c.name != VACUITY)

    def as_dict(self) -> dict[str, Any]:
        """Plain data in the order of the command line's JSON."""
        conditions = [
            {"name": c.name, "holds": c.holds, "margin": c.margin, "required": c.required} for c in self.conditions
        ]
        return {
            "label": self.label,
            "value": self.value,
            "valid": self.valid,
            "conditions": conditions,
            "units": self.units,
            "kind": self.kind,
            **self.extras,
        }


VACUITY = "not vacuous"


@dataclass(frozen=True, slots=True)
class Theorem:
    """A statement with its label, its assumptions, the family it speaks of and its evaluator.

    ``required`` and ``optional`` name the symbols of :mod:`theory.notation` that the evaluator takes;
    ``meanings`` refines a symbol where the statement uses it in a narrower sense. ``bounds`` says in words
    what is bounded. ``evaluator`` maps a point to a :class:`Number`. ``trivial`` is the value beyond which
    the bound says nothing (0 for most lower bounds, H for most upper bounds). ``epsilon_range`` is given by
    lower bounds that hold for each epsilon in it and are maximised over it when none is asked for. ``claims`` are the
    inequalities of the statement in symbols, from which the evaluator's numbers are compiled. ``evaluator`` is ``None``
    for a statement that has no number. ``formulas`` gives the formula whose value is reported at a point, and the point
    with its defaults filled in: what :meth:`enclose` computes in ball arithmetic.
    """

    label: str
    kind: Kind
    statement: str
    bounds: str
    units: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    assumptions: tuple[Assumption, ...]
    family: Family
    evaluator: Callable[[Point], Number] | None
    trivial: Callable[[Point], float]
    source: str
    uses: tuple[str, ...] = ()
    epsilon_range: Callable[[Point], tuple[float, float]] | None = None
    meanings: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    formulas: Callable[[Point], tuple[Formula, dict[str, float]]] | None = None

    def claim(self, name: str) -> Claim:
        """The claim called ``name``. Raises ``KeyError`` with the names there are."""
        for claim in self.claims:
            if claim.name == name:
                return claim
        raise KeyError(f"{self.label} has no claim {name!r}: expected one of {', '.join(c.name for c in self.claims)}")

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all symbols that :meth:`evaluate` takes."""
        names = (*self.required, *self.optional)
        return (*names, "kappa") if "epsilon" in names and "kappa" not in names else names

    def speaks_of(self, instance: Instance) -> bool:
        """True if ``instance`` belongs to the family on which the statement is proven."""
        return self.family.contains(instance)

    def point(self, values: Mapping[str, float]) -> dict[str, float]:
        """Checked point: known names, values in their domains, kappa and epsilon reconciled, none missing.

        Raises ``ValueError`` with one line that names the value and what was expected.
        """
        for name in values:
            if name not in self.parameters:
                raise ValueError(f"{self.label} takes no {name!r}: expected {', '.join(self.parameters)}")
        point = {name: SYMBOLS[name].check(value) for name, value in values.items()}
        if 1.0 < point.get("epsilon", 0.0) <= 1.0 + ROUNDING:
            point["epsilon"] = 1.0  # sigma/rho of a two-point law, computed
        if "epsilon" in self.parameters and "kappa" in point:
            root = math.sqrt(point.pop("kappa"))
            if not math.isclose(point.setdefault("epsilon", root), root, rel_tol=1e-12, abs_tol=1e-150):
                raise ValueError(
                    f"epsilon = {values['epsilon']} and kappa = {values['kappa']}: expected kappa = epsilon^2"
                )
        missing = [name for name in self.required if name not in point]
        if missing:
            raise ValueError(f"{self.label} needs {', '.join(missing)}")
        return point

    def evaluate(self, **values: float) -> Evaluation:
        """Value, conditions and validity at the given symbols (units of :mod:`theory.notation`).

        Raises ``ValueError`` on an unknown or missing symbol or a value outside its domain.
        """
        point = self.point(values)
        try:
            found = self._evaluate(point)
        except ArithmeticError as error:
            raise ValueError(f"{self.label}: beyond floating point at {_shown(values)} ({error})") from error
        if not all(map(math.isfinite, (found.value, *(c.margin for c in found.conditions)))):
            raise ValueError(f"{self.label}: beyond floating point at {_shown(values)}")
        return found

    def number(self, point: Point) -> Number:
        """What the evaluator gives at a checked point. Raises ``ValueError`` if the statement has no number."""
        if self.evaluator is None:
            raise ValueError(
                f"{self.label} has no number: it is an {self.kind}, see: python -m theory show {self.label}"
            )
        return self.evaluator(point)

    def enclose(self, bits: int = 40, **values: float) -> flint.arb:
        """An Arb ball that contains the value of the statement at the given symbols, exact float64 numbers.

        ``bits`` is the working precision. The default is coarser than float64 on purpose: a float64 result outside
        that ball is wrong, not rounded. Raises ``ValueError`` where epsilon is missing (a maximiser is no given number)
        or the statement has no number.
        """
        if self.evaluator is None or self.formulas is None:
            raise ValueError(f"{self.label} has no number to enclose")
        point = self.point(values)
        if self.epsilon_range is not None and "epsilon" not in point:
            raise ValueError(f"{self.label}: expected epsilon, a rigorous number is one at a given epsilon")
        formula, filled = self.formulas(point)
        try:
            return formula.enclose(filled, bits)
        except ArithmeticError as error:
            raise ValueError(f"{self.label}: no enclosure at {_shown(values)} ({error})") from error

    def _evaluate(self, point: dict[str, float]) -> Evaluation:
        maximised: dict[str, Any] = {}
        if self.epsilon_range is not None and "epsilon" not in point:
            low, high = self.epsilon_range(point)
            point["epsilon"] = _maximise(lambda eps: self.number({**point, "epsilon": eps}).value, low, high)
            maximised = {"epsilon": point["epsilon"], "maximised_over": "epsilon"}
        number = self.number(point)
        gain = number.value - self.trivial(point)
        margin = gain if self.kind == "lower" else -gain
        conditions = (*(a.at(point) for a in self.assumptions), Condition(VACUITY, margin > 0.0, margin))
        return Evaluation(
            label=self.label,
            kind=self.kind,
            value=number.value,
            valid=all(c.holds for c in conditions if c.required),
            conditions=conditions,
            units=self.units,
            extras={**maximised, **number.extras},
        )


def _shown(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in values.items())


def _maximise(f: Callable[[float], float], low: float, high: float) -> float:
    """A maximiser of ``f`` on [low, high]: a grid (even and geometric), then bounded Brent around its best point.

    Ties go to the largest epsilon, so that a constant function reports the end of its range.
    """
    if high <= low:
        return high
    from scipy.optimize import minimize_scalar

    steps = 24
    even = [low + (high - low) * i / steps for i in range(steps + 1)]
    fine = [low + (high - low) * 2.0 ** (-i / 2) for i in range(2, 24)]
    grid = sorted({*even, *fine})
    values = [f(x) for x in grid]
    best = max(range(len(grid)), key=lambda i: (values[i], grid[i]))
    left, right = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(lambda x: -f(x), bounds=(left, right), method="bounded", options={"xatol": 1e-10 * high})
    return float(found.x) if -found.fun > values[best] else grid[best]
