r"""What an adversary is: how to build an instance, and what the letters of a claim are on it.

The ratio of a claim is that of the smaller to the larger side: l/r for :math:`l\le r`, r/l for :math:`l\ge r`; at most
1. Where both sides contain the same large term (J and mu, say) they are measured from an *origin* o, so that the ratio
says something about the constant: as gains over o, or, where both lie below it, as *drops* from o. For an equality it
is l/r.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.formula import Formula, Special
from theory.proof import Claim
from theory.registry import theorem

__all__ = [
    "PLAIN",
    "Adversary",
    "Gauge",
    "Sides",
    "Space",
    "adversaries",
    "budget",
    "numeric",
    "objective",
    "plain",
    "registered",
    "sides",
]

Floats = NDArray[np.float64]
#: Named numbers and arrays, NumPy's or JAX's.
Named = dict[str, Any]

#: Below this share of the scale a right side counts as 0 in the ratio: rounding would decide it.
FLOOR = 1e-6
#: An excess beyond this share of the larger side, or beyond this share of the scale, is no rounding.
RELATIVE, ABSOLUTE = 1e-9, 1e-13


def _nothing(letters: Mapping[str, Any]) -> Any:
    return 0.0


def _unit(letters: Mapping[str, Any]) -> Any:
    return 1.0


@dataclass(frozen=True)
class Space:
    """A set of instances: ``build(xp, theta)`` makes one from a vector of ``box``, in the array module ``xp``."""

    name: str
    box: tuple[tuple[float, float], ...]
    build: Callable[[Any, Any], Named]

    def at(self, xp: Any, share: Any) -> Named:
        """The instance at ``share`` in [0, 1] of each side's length."""
        low, high = np.array(self.box).T
        return self.build(xp, low + (high - low) * share)

    def describe(self, share: Floats) -> Named:
        """The same in plain numbers: floats, whole numbers, strings and nested lists of them."""
        return {name: _plain(value) for name, value in self.at(np, share).items()}


@dataclass(frozen=True)
class Gauge:
    """What the sides of a claim are measured from: ``origin(letters)``, downwards if ``drop``; ``words`` say so."""

    words: str = "ratio of the sides"
    origin: Callable[[Mapping[str, Any]], Any] = _nothing
    drop: bool = False


PLAIN = Gauge()


@dataclass(frozen=True)
class Adversary:
    """An attack on one claim with the instances of a space, which lie in the claim's domain.

    ``letters(xp, instance)`` computes every letter of the claim by name, each exactly, in NumPy (and in JAX if
    ``gradient``). A left side that is no expression in numbers is given as the letter ``"lhs"``. ``evaluator(letters)``
    is the right side by the statement's own evaluator. A relative excess of ``rounding``, and one of 1e-13 of the size
    ``scale(letters)`` of the numbers involved, is rounding.
    """

    label: str
    claim: str
    space: Space
    letters: Callable[[Any, Named], Named]
    evaluator: Callable[[Mapping[str, Any]], float] | None = None
    gauge: Gauge = PLAIN
    scale: Callable[[Mapping[str, Any]], Any] = _unit
    gradient: bool = True
    rounding: float = RELATIVE

    def differentiable(self, claim: Claim) -> bool:
        """True if a gradient can be had: no function without a closed form on the right side."""
        return self.gradient and not claim.relation.rhs.atoms(Special)


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides of a claim on an instance, as numbers."""

    op: str
    lhs: float
    rhs: float
    origin: float
    drop: bool
    scale: float
    rounding: float = RELATIVE

    @property
    def smaller(self) -> float:
        """What the claim says is the smaller one, measured from the origin."""
        return self._compared[0]

    @property
    def larger(self) -> float:
        """What the claim says is the larger one, measured from the origin."""
        return self._compared[1]

    @property
    def _compared(self) -> tuple[float, float]:
        return compared(self.op, self.lhs, self.rhs, self.origin, self.drop)

    @property
    def excess(self) -> float:
        """By how much the claim fails; negative where it holds with room. For an equality, the deviation."""
        return abs(self.lhs - self.rhs) if self.op == "=" else self.smaller - self.larger

    @property
    def violated(self) -> bool:
        """The claim fails by more than rounding; a number that is not finite fails too."""
        allowed = self.rounding * max(abs(self.lhs), abs(self.rhs)) + ABSOLUTE * self.scale
        return not self.excess <= allowed

    @property
    def ratio(self) -> float:
        """1 where the claim holds with equality, above 1 where it fails, 0 where it says nothing."""
        if self.op == "=":
            return self.lhs / self.rhs if abs(self.rhs) > FLOOR * self.scale else 1.0 + (self.lhs - self.rhs)
        return max(float(objective(np, self.op, self.lhs, self.rhs, self.origin, self.drop, self.scale)), 0.0)


def compared(op: str, lhs: Any, rhs: Any, origin: Any, drop: bool) -> tuple[Any, Any]:
    """(smaller, larger) of a claim, measured from ``origin``."""
    smaller, larger = (lhs, rhs) if op == "<=" else (rhs, lhs)
    return (origin - larger, origin - smaller) if drop else (smaller - origin, larger - origin)


def objective(xp: Any, op: str, lhs: Any, rhs: Any, origin: Any, drop: bool, scale: Any) -> Any:
    """What a search maximises: the ratio; where the larger side is 0 or less, the excess, beyond 1 once it is > 0."""
    if op == "=":
        return 1.0 + xp.abs(lhs - rhs) / (xp.abs(rhs) + scale)
    smaller, larger = compared(op, lhs, rhs, origin, drop)
    excess = (smaller - larger) / scale
    says = larger > FLOOR * scale
    quotient = smaller / xp.where(says, larger, 1.0)
    return xp.where(says, quotient, xp.where(excess > FLOOR, 1.0 + excess, xp.minimum(excess, 0.0)))


def plain(expression: Any) -> Any:
    """The expression with each expectation replaced by a symbol of that name: ``E_x[J]`` is a letter like any other."""
    import sympy

    from theory.expectation import Mean

    return expression.replace(lambda node: isinstance(node, Mean), lambda node: sympy.Symbol(str(node)))


@functools.lru_cache(maxsize=512)
def numeric(expression: Any) -> Callable[[Mapping[str, Any]], Any]:
    """An expression as a NumPy function of its letters by name.

    An indexed letter is an array, ``f[t, k]`` its entry. Where the letter ``masses`` maps spaces to probabilities,
    expectations are summed over them and a random letter is an array; otherwise ``E_x[J]`` itself is a letter.
    """
    import sympy

    bases = sorted(expression.atoms(sympy.IndexedBase), key=str)
    if bases:
        labels = {base.label for base in bases}
        scalars = [x for x in expression.free_symbols if not isinstance(x, sympy.Indexed) and x not in labels]
        arguments = [*sorted(scalars, key=str), *bases]
        function = sympy.lambdify(arguments, expression, modules="numpy")
        return lambda letters: float(function(*(letters[str(a)] for a in arguments)))
    symbols = expression.atoms(sympy.Symbol)
    formula = Formula(plain(expression))

    def at(letters: Mapping[str, Any]) -> float:
        if "masses" not in letters:
            return formula.at(letters)
        from theory.expectation import value_on

        return float(
            value_on(expression, {x: letters[x.name] for x in symbols if x.name in letters}, letters["masses"])
        )

    return at


def sides(adversary: Adversary, claim: Claim, instance: Named, registered: bool) -> Sides:
    """Both sides in NumPy; the right one by the statement's evaluator if ``registered`` and there is one."""
    letters = adversary.letters(np, {name: _numeric(value) for name, value in instance.items()})
    rhs = numeric(claim.relation.rhs)(letters)
    if registered and adversary.evaluator is not None:
        evaluated = float(adversary.evaluator(letters))
        if abs(evaluated - rhs) > RELATIVE * (abs(rhs) + float(adversary.scale(letters))):
            raise ValueError(f"{adversary.label} [{claim.name}]: claim {rhs!r}, evaluator {evaluated!r}")
        rhs = evaluated
    return Sides(
        op=claim.relation.op,
        lhs=float(letters["lhs"]) if "lhs" in letters else numeric(claim.relation.lhs)(letters),
        rhs=rhs,
        origin=float(adversary.gauge.origin(letters)),
        drop=adversary.gauge.drop,
        scale=float(adversary.scale(letters)),
        rounding=adversary.rounding,
    )


def budget(letters: Mapping[str, Any]) -> Any:
    """The token budget, as the scale of a claim in tokens."""
    return letters["H"]


def registered(label: str, letters: Mapping[str, Any], *names: str, **values: float) -> float:
    """The value of a statement by its own evaluator. Raises ``ValueError`` where one of its assumptions fails."""
    found = theorem(label).evaluate(**{name: float(letters[name]) for name in names}, **values)
    if not found.assumptions_hold:
        failing = [c.name for c in found.conditions if c.required and not c.holds]
        raise ValueError(f"{label}: the instance leaves the domain: {'; '.join(failing)}")
    return found.value


@functools.cache
def _all() -> tuple[Adversary, ...]:
    import theory.falsify as package

    found: list[Adversary] = []
    for info in pkgutil.iter_modules(package.__path__):
        if not info.name.startswith("_"):
            found += getattr(importlib.import_module(f"{package.__name__}.{info.name}"), "ADVERSARIES", ())
    return tuple(found)


def adversaries(label: str | None = None) -> tuple[Adversary, ...]:
    """All adversaries, or those of one statement. Raises ``KeyError`` with the known labels."""
    if label is None:
        return _all()
    theorem(label)
    return tuple(a for a in _all() if a.label == label)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    return array.tolist()


def _numeric(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, list) else value
