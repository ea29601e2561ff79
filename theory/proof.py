r"""Proofs as data: a derivation is a list of steps, each of which a machine can check.

A derivation starts from *givens* (the setting: what the letters mean, the assumptions of the statement) and adds
one relation a step. The rule of a step says why its relation holds:

* :class:`Identity`: sympy proves lhs - rhs zero, after cited equalities are put in;
* :class:`Combination`: the slack *is* :math:`\sum_i m_i\prod_{f\in F_i}\mathrm{slack}(f)` with multipliers
  :math:`m_i\ge0` and cited facts f: sympy proves the identity and the signs of the multipliers;
* :class:`Monotone`: from :math:`a\le b` follows :math:`F(a)\le F(b)` where sympy proves F' >= 0 (or the reverse);
* :class:`Calculus`: a slack f with f(0) = 0 (and f'(0) = 0) and f' >= 0 (f'' >= 0), or a polynomial without a root of
  odd order in the interval;
* :class:`Cancel`: a positive factor taken off a product;
* :class:`Enclosed`: Arb proves slack > 0 on a box by bisection;
* :class:`Use`: the conclusion of a textbook lemma; :class:`Apply`: a claim of another statement, letters replaced, its
  hypotheses among the cited facts;
* :class:`Cases`: one relation shown under two cases that exhaust everything;
* :class:`Prose`: words that no tool checks. They are counted and printed.

:func:`verify` checks every step, that each claim of the statement is the relation of some step and says
every assumption that this step rests on, that no case is left open, and that no step or given is idle: so a deleted
step leaves a hole.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import sympy

from theory.relation import Relation, is_nonnegative, is_positive, is_zero, put_in

__all__ = [
    "Apply",
    "Calculus",
    "Cancel",
    "Cases",
    "Claim",
    "Combination",
    "Derivation",
    "Enclosed",
    "Given",
    "Identity",
    "Lemma",
    "Monotone",
    "Prose",
    "Rule",
    "Step",
    "UnprovedError",
    "Use",
    "Verified",
    "established",
    "verify",
    "verify_claims",
    "verify_steps",
]

StepKind = Literal["identity", "inequality", "lemma", "application", "prose"]


class UnprovedError(ValueError):
    """A step, or a claim, that the checker could not establish."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One inequality or equality that a statement makes, in symbols.

    ``says`` puts it in words. ``where`` lists the hypotheses that are no signs of symbols, ``positive`` the symbols
    that must be > 0 though their domain includes 0: whoever applies the claim must have established them.
    """

    name: str
    relation: Relation
    says: str
    where: tuple[Relation, ...] = ()
    positive: tuple[sympy.Symbol, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """Something a derivation starts from.

    A ``definition`` says what a letter means, or a fact that holds in the setting by that meaning; an ``assumption`` is
    a hypothesis of every claim that rests on it (its ``where``); a ``case`` is one half of a case split. A definition
    that makes sense only ``provided`` a relation holds may be cited only once that relation is established.
    """

    name: str
    relation: Relation
    why: str
    sort: Literal["definition", "assumption", "case"] = "definition"
    provided: Relation | None = None


class Rule(Protocol):
    """Why a relation holds."""

    @property
    def kind(self) -> StepKind:
        """What sort of step this is."""

    @property
    def cites(self) -> tuple[str, ...]:
        """Names of the givens and steps it rests on."""

    def check(self, relation: Relation, facts: Mapping[str, Relation], library: Library) -> None:
        """Raise :class:`UnprovedError` unless ``relation`` follows from the cited ``facts``."""


@dataclass(frozen=True, slots=True)
class Step:
    """One relation and the rule by which it holds; ``why`` is for the reader."""

    name: str
    relation: Relation
    rule: Rule
    why: str


@dataclass(frozen=True, slots=True)
class Lemma:
    """A textbook lemma: ``conclude(**arguments)`` gives its premises and its conclusion for those arguments.

    ``trial(rng, conclude)`` draws a random instance of the hypotheses and says whether premises and conclusion, as the
    template ``conclude`` states them, hold there by enumeration.
    """

    label: str
    statement: str
    conclude: Callable[..., tuple[tuple[Relation, ...], Relation]]
    trial: Callable[[np.random.Generator, Callable[..., tuple[tuple[Relation, ...], Relation]]], bool]

    def holds(self, trials: int, seed: int = 0) -> bool:
        """The template held on every one of ``trials`` random instances."""
        rng = np.random.default_rng(seed)
        return all(self.trial(rng, self.conclude) for _ in range(trials))


@dataclass(frozen=True, slots=True)
class Library:
    """What steps may refer to: lemmas by label, claims of other statements by (label, name)."""

    lemmas: Mapping[str, Lemma]
    claims: Mapping[tuple[str, str], Claim]
    positive: tuple[sympy.Symbol, ...] = ()


@dataclass(frozen=True, slots=True)
class Derivation:
    """The proof of all claims of the statement ``label``; ``positive`` as in :class:`Claim`."""

    label: str
    givens: tuple[Given, ...]
    steps: tuple[Step, ...]
    positive: tuple[sympy.Symbol, ...] = ()

    def counts(self) -> dict[str, int]:
        """Number of steps of each kind."""
        kinds: dict[str, int] = dict.fromkeys(("identity", "inequality", "lemma", "application", "prose"), 0)
        for step in self.steps:
            kinds[step.rule.kind] += 1
        return kinds

    @property
    def lemmas(self) -> frozenset[str]:
        """Labels of the lemmas used."""
        return frozenset(step.rule.lemma for step in self.steps if isinstance(step.rule, Use))

    @property
    def applications(self) -> frozenset[str]:
        """Labels of the statements applied."""
        return frozenset(step.rule.label for step in self.steps if isinstance(step.rule, Apply))


def _equalities(names: tuple[str, ...], facts: Mapping[str, Relation]) -> list[Relation]:
    for name in names:
        if facts[name].op != "=":
            raise UnprovedError(f"{name} is no equality")
    return [facts[name] for name in names]


@dataclass(frozen=True, slots=True)
class Identity:
    """lhs = rhs by algebra (and calculus that sympy carries out), after the equalities ``using`` are put in."""

    using: tuple[str, ...] = ()
    kind: StepKind = field(default="identity", init=False)

    @property
    def cites(self) -> tuple[str, ...]:
        """The equalities put in."""
        return self.using

    def check(self, relation: Relation, facts: Mapping[str, Relation], library: Library) -> None:
        """Prove the difference zero."""
        if relation.op != "=":
            raise UnprovedError("an identity proves equalities only")
        difference, equalities = relation.lhs - relation.rhs, _equalities(self.using, facts)
        if not any(is_zero(form, equalities) for form in dict.fromkeys((difference, difference.doit()))):
            raise UnprovedError(f"sympy does not prove {difference} zero")


@dataclass(frozen=True, slots=True)
class Combination:
    """The slack is a sum of ``terms``: (multiplier >= 0, name, name, ...), each the product of the named facts' slacks.

    A cited equality may carry a multiplier of any sign. Equalities named in ``using`` are put in before comparing.
    """

    terms: tuple[tuple[sympy.Expr | int | str, ...], ...]
    using: tuple[str, ...] = ()
    kind: StepKind = field(default="inequality", init=False)

    @property
    def cites(self) -> tuple[str, ...]:
        """All facts that are multiplied or put in."""
        return (*(str(name) for _, *names in self.terms for name in names), *self.using)

    def check(self, relation: Relation, facts: Mapping[str, Relation], library: Library) -> None:
        """Prove the identity, and that each multiplier is nonnegative."""
        total = sympy.Integer(0)
        for multiplier, *names in self.terms:
            cited = [facts[str(name)] for name in names]
            product = sympy.Mul(*(fact.slack for fact in cited))
            if not any(fact.op == "=" for fact in cited) and not is_nonnegative(multiplier, library.positive):
                raise UnprovedError(f"the multiplier {multiplier} is not proved nonnegative")
            total += sympy.sympify(multiplier) * product
        if relation.op == "=":
            raise UnprovedError("a combination proves inequalities only")
        equalities = _equalities(self.using, facts)
        if not is_zero(relation.slack - total, equalities):
            raise UnprovedError(f"{relation.slack} is not the combination {total}")


@dataclass(frozen=True, slots=True)
class Monotone:
    """From ``fact`` (a <= b) to ``function(a) <= function(b)``; ``function`` is a sympy Lambda of a signed symbol.

    a must be provably in the domain that the symbol's assumptions state (``inside`` cites facts for it); then so is b.
    With ``reflect`` the other way: from function(a) <= function(b), b in the domain, to a <= b (an a below the domain
    is below b as it is); the function must increase strictly.
    """

    function: sympy.Lambda
    fact: str
    inside: tuple[str, ...] = ()
    reflect: bool = False
    kind: StepKind = field(default="inequality", init=False)

    @property
    def cites(self) -> tuple[str, ...]:
        """The inequality that is mapped, and what puts it in the domain."""
        return (self.fact, *self.inside)

    def check(self, relation: Relation, facts: Mapping[str, Relation], library: Library) -> None:
        """Prove the sign of F' and that the relation is F of the cited one (or the reverse)."""
        if relation.op == "=" or facts[self.fact].op == "=":
            raise UnprovedError("monotonicity maps inequalities")
        low, high = _sides(facts[self.fact])
        below, above = _sides(relation)
        (t,) = self.function.variables
        slope = sympy.diff(self.function.expr, t)
        inner = sympy.Dummy("t", positive=True) if t.is_nonnegative else sympy.Dummy("t", real=True)
        inside = slope.subs(t, inner)  # F is continuous: its slope inside the domain decides
        rises = is_positive(inside, library.positive) if self.reflect else is_nonnegative(inside, library.positive)
        if not rises:
            raise UnprovedError(f"{self.function} is not proved to increase")
        arguments, images = ((below, above), (low, high)) if self.reflect else ((low, high), (below, above))
        if t.is_nonnegative:
            member = arguments[1] if self.reflect else arguments[0]
            cited = any(is_zero(facts[name].slack - member) for name in self.inside)
            if not cited and not is_nonnegative(member, library.positive):
                raise UnprovedError(f"{member} is not proved nonnegative")
        if not all(is_zero(image - self.function(a)) for a, image in zip(arguments, images, strict=True)):
            raise UnprovedError(f"{relation} is not the image of {facts[self.fact]}")


def _sides(relation: Relation) -> tuple[sympy.Expr, sympy.Expr]:
    """The smaller and the larger side."""
    return (relation.rhs, relation.lhs) if relation.op == ">=" else (relation.lhs, relation.rhs)


@dataclass(frozen=True, slots=True)
class Calculus:
    """slack >= 0 for ``variable`` >= 0 (its sign is an assumption of the symbol) by derivatives at 0.

    ``order`` 1: slack(0) >= 0 and slack' >= 0. ``order`` 2: slack(0) >= 0, slack'(0) >= 0 and slack'' >= 0. With
    ``interval`` (rational ends; the slack a polynomial with rational coefficients): no sign change inside, by exact
    isolation of the real roots. The variable of an interval must be confined to it by the facts ``inside``.
    """

    variable: sympy.Symbol
    order: int = 1
    interval: tuple[sympy.Rational, sympy.Rational] | None = None
    inside: tuple[str, ...] = ()
    using: tuple[str, ...] = ()
    kind: StepKind = field(default="inequality", init=False)

    @property
    def cites(self) -> tuple[str, ...]:
        """What confines the variable and what is put in."""
        return (*self.inside, *self.using)

    def check(self, relation: Relation, facts: Mapping[str, Relation], library: Library) -> None:
        """Prove the signs of the derivatives, or isolate the roots."""
        if relation.op == "=":
            raise UnprovedError("calculus proves inequalities only")
        slack = relation.slack
        for equality in _equalities(self.using, facts):
            slack = put_in(slack, equality)
        if self.interval is not None:
            self._polynomial(slack, facts)
            return
        if self.variable.is_nonnegative is not True:
            raise UnprovedError(f"{self.variable} is not a nonnegative symbol")
        for power in range(self.order):
            start = sympy.limit(sympy.diff(slack, self.variable, power), self.variable, 0, "+")
            if not is_nonnegative(start, library.positive):
                raise UnprovedError(f"derivative {power} at 0 is {start}, not proved nonnegative")
        if not is_nonnegative(sympy.diff(slack, self.variable, self.order), library.positive):
            raise UnprovedError(f"derivative {self.order} is not proved nonnegative")

    def _polynomial(self, slack: sympy.Expr, facts: Mapping[str, Relation]) -> None:
        assert self.interval is not None
        low, high = self.interval
        bounds = [facts[name].slack for name in self.inside]
        if not all(any(is_zero(b - side) for b in bounds) for side in (self.variable - low, high - self.variable)):
            raise UnprovedError(f"{self.variable} is not confined to [{low}, {high}] by the cited facts")
        polynomial = sympy.Poly(slack, self.variable, domain="QQ")
        cuts = sorted({low, high, *(r for r in sympy.real_roots(polynomial) if low < r < high)})
        for left, right in itertools.pairwise(cuts):
            if polynomial.eval((left + right) / 2) < 0:
                raise UnprovedError(f"{slack} is negative inside ({left}, {right})")


@dataclass(frozen=True, slots=True)
class Cancel:
    """slack >= 0, from a product a * slack >= 0 (``product``) and a >= k (``factor``) with k > 0."""

    product: str
    factor: str
    kind: StepKind = field(default="inequality", init=False)

    @property
    def cites(self) -> tuple[str, ...]:
        """The product and the bound on its first factor."""
        return (self.product, self.factor)

    def check(self, relation: Relation, facts: Mapping[str, Relation], library: Library) -> None:
        """Prove that the product is what it should be and that the other factor is positive."""
        product, factor = facts[self.product], facts[self.factor]
        if "=" in (relation.op, product.op, factor.op):
            raise UnprovedError("cancelling proves inequalities only")
        below, above = _sides(factor)
        if not is_positive(below, library.positive):
            raise UnprovedError(f"{below} is not proved positive")
        if not is_zero(product.slack - above * relation.slack):
            raise UnprovedError(f"{product} is not {above} times {relation.slack}")


@dataclass(frozen=True, slots=True)
class Enclosed:
    """slack > 0 on a compact ``box`` (letter to a pair of rationals), proved by Arb with bisection.

    The facts ``inside`` must confine each letter to its interval.
    """

    box: Mapping[sympy.Symbol, tuple[sympy.Rational, sympy.Rational]]
    inside: tuple[str, ...] = ()
    kind: StepKind = field(default="inequality", init=False)

    @property
    def cites(self) -> tuple[str, ...]:
        """What confines the letters."""
        return self.inside

    def check(self, relation: Relation, facts: Mapping[str, Relation], library: Library) -> None:
        """Prove positivity on every piece of the box."""
        from theory.rigorous import positive_on_box

        bounds = [facts[name].slack for name in self.inside]
        for letter, (low, high) in self.box.items():
            if not all(any(is_zero(b - side) for b in bounds) for side in (letter - low, high - letter)):
                raise UnprovedError(f"{letter} is not confined to [{low}, {high}] by the cited facts")
        if not positive_on_box(relation.slack, self.box):
            raise UnprovedError(f"Arb does not prove {relation.slack} positive on {self.box}")


@dataclass(frozen=True, slots=True)
class Use:
    """The conclusion of ``lemma`` for ``arguments``; its premises are among the facts ``given``."""

    lemma: str
    arguments: Mapping[str, object]
    given: tuple[str, ...] = ()
    kind: StepKind = field(default="lemma", init=False)

    @property
    def cites(self) -> tuple[str, ...]:
        """The facts that are its premises."""
        return self.given

    def check(self, relation: Relation, facts: Mapping[str, Relation], library: Library) -> None:
        """Instantiate the lemma, find each premise among the facts, compare the conclusion."""
        if self.lemma not in library.lemmas:
            raise UnprovedError(f"{self.lemma} is no lemma")
        premises, conclusion = library.lemmas[self.lemma].conclude(**self.arguments)
        _find(premises, self.given, facts, library)
        if not relation.same_as(conclusion):
            raise UnprovedError(f"{self.lemma} concludes {conclusion}, not {relation}")


@dataclass(frozen=True, slots=True)
class Apply:
    """The claim ``claim`` of the statement ``label`` with letters replaced; its hypotheses are among ``given``."""

    label: str
    claim: str
    replacing: Mapping[sympy.Basic, sympy.Expr] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    kind: StepKind = field(default="application", init=False)

    @property
    def cites(self) -> tuple[str, ...]:
        """The facts that are its hypotheses."""
        return self.given

    def check(self, relation: Relation, facts: Mapping[str, Relation], library: Library) -> None:
        """Replace, check the signs of what is put in, find each hypothesis, compare."""
        if (self.label, self.claim) not in library.claims:
            raise UnprovedError(f"{self.label} has no claim {self.claim!r}")
        claim = library.claims[self.label, self.claim]
        for letter, value in self.replacing.items():
            if letter.is_nonnegative and not is_nonnegative(value, library.positive):
                raise UnprovedError(f"{value}, put for {letter}, is not proved nonnegative")
        for letter in claim.positive:
            value = sympy.sympify(self.replacing.get(letter, letter))
            if not is_positive(value, library.positive):
                raise UnprovedError(f"{value}, put for {letter}, is not proved positive")
        _find(tuple(r.subs(self.replacing) for r in claim.where), self.given, facts, library)
        conclusion = claim.relation.subs(self.replacing)
        if not relation.same_as(conclusion):
            raise UnprovedError(f"{self.label} gives {conclusion}, not {relation}")


def _find(
    premises: tuple[Relation, ...], names: tuple[str, ...], facts: Mapping[str, Relation], library: Library
) -> None:
    for premise in premises:
        known = any(
            premise.same_as(facts[name]) or (premise.op != "=" and _weaker(facts[name], premise)) for name in names
        )
        if not known and not (premise.op != "=" and is_nonnegative(premise.slack, library.positive)):
            raise UnprovedError(f"the premise {premise} is not among the cited facts")


def _weaker(fact: Relation, premise: Relation) -> bool:
    """``premise`` is the same inequality as ``fact``, or follows from it as an equality."""
    if is_zero(fact.slack - premise.slack):
        return True
    return fact.op == "=" and is_zero(fact.slack + premise.slack)


@dataclass(frozen=True, slots=True)
class Cases:
    """The relation was shown under one case (step ``first``) and under the other (step ``second``).

    The cases ``on`` are c >= 0 and -c >= 0, or c <= 0 and c = k with k a positive symbol that the relation does not
    mention.
    """

    first: str
    second: str
    on: tuple[str, str]
    kind: StepKind = field(default="inequality", init=False)

    @property
    def cites(self) -> tuple[str, ...]:
        """The two steps."""
        return (self.first, self.second)

    def check(self, relation: Relation, facts: Mapping[str, Relation], library: Library) -> None:
        """The cases exhaust everything and both steps have this relation."""
        one, other = (facts[name] for name in self.on)
        if not (_opposite(one, other) or _signs(one, other, relation)):
            raise UnprovedError(f"{one} and {other} do not exhaust the cases")
        for name in self.cites:
            if not relation.same_as(facts[name]):
                raise UnprovedError(f"{name} shows {facts[name]}, not {relation}")


def _opposite(one: Relation, other: Relation) -> bool:
    return "=" not in (one.op, other.op) and is_zero(one.slack + other.slack)


def _signs(one: Relation, other: Relation, relation: Relation) -> bool:
    """c <= 0, or c = k for some k > 0."""
    if one.op == "=" or other.op != "=":
        return False
    fresh = [k for k in other.rhs.free_symbols - relation.lhs.free_symbols - relation.rhs.free_symbols if k.is_positive]
    return any(is_zero(one.slack + c) for k in fresh for c in sympy.solve(other.lhs - other.rhs, k))


@dataclass(frozen=True, slots=True)
class Prose:
    """Words. No tool checks them; ``python -m theory check`` prints and counts them."""

    given: tuple[str, ...] = ()
    kind: StepKind = field(default="prose", init=False)

    @property
    def cites(self) -> tuple[str, ...]:
        """What the words rest on."""
        return self.given

    def check(self, relation: Relation, facts: Mapping[str, Relation], library: Library) -> None:
        """Nothing can be checked."""


def established(claim: Claim, state: Verified) -> str:
    """Name of the step that proves ``claim`` from no more than it assumes. Raises :class:`UnprovedError`."""
    derivation, facts, rests_on = state.derivation, state.facts, state.rests_on
    where = f"{derivation.label}: the claim {claim.name}"
    if not set(derivation.positive) <= set(claim.positive):
        raise UnprovedError(f"{where} does not say that {derivation.positive} are positive")
    exact = [step.name for step in derivation.steps if step.relation == claim.relation]
    found = exact or [step.name for step in derivation.steps if step.relation.same_as(claim.relation)]
    if not found:
        raise UnprovedError(f"{where} is the relation of no step")
    extra = {
        name: [n for n in sorted(rests_on[name]) if not any(facts[n].same_as(h) for h in claim.where)] for name in found
    }
    proving = [name for name in found if not extra[name]]
    if not proving:
        raise UnprovedError(f"{where} rests on {', '.join(extra[found[-1]])}, which it does not assume")
    return proving[0]


def verify(derivation: Derivation, claims: tuple[Claim, ...], library: Library) -> tuple[str, ...]:
    """Check every step and every claim; return the names of the steps of kind prose.

    Raises :class:`UnprovedError` naming the step or claim that does not hold up.
    """
    verify_claims(verify_steps(derivation, library), claims)
    return tuple(step.name for step in derivation.steps if step.rule.kind == "prose")


def verify_steps(derivation: Derivation, library: Library) -> Verified:
    """Check every step in order. Raises :class:`UnprovedError` naming the step that does not hold up."""
    state = Verified(derivation, library)
    for given in derivation.givens:
        state.add_given(given)
    for step in derivation.steps:
        state.add_step(step)
    return state


def verify_claims(state: Verified, claims: tuple[Claim, ...]) -> None:
    """Check that verified steps establish every claim, and that none is idle. Raises :class:`UnprovedError`."""
    label = state.derivation.label
    proving = {established(claim, state) for claim in claims}
    idle = [name for name in state.facts if name not in state.cited and name not in proving]
    if idle:
        raise UnprovedError(f"{label}: {', '.join(idle)} is used by no step and establishes no claim")


class Verified:
    """Facts known so far, what each step was built on, the assumptions and open cases beneath each fact."""

    def __init__(self, derivation: Derivation, library: Library) -> None:
        self.derivation, self.label = derivation, derivation.label
        self.library = Library(library.lemmas, library.claims, derivation.positive)
        self.facts: dict[str, Relation] = {}
        self.rests_on: dict[str, frozenset[str]] = {}
        self.provided: dict[str, Relation] = {}
        self.cited: set[str] = set()
        self.grounds: dict[str, frozenset[str]] = {}

    def add_given(self, given: Given) -> None:
        """Take a given for granted."""
        self._add(given.name, given.relation)
        self.rests_on[given.name] = frozenset() if given.sort == "definition" else frozenset({given.name})
        if given.provided is not None:
            self.provided[given.name] = given.provided

    def add_step(self, step: Step) -> None:
        """Check a step and add its relation. Raises :class:`UnprovedError`."""
        where = f"{self.label}, step {step.name}"
        names = (*step.rule.cites, *(step.rule.on if isinstance(step.rule, Cases) else ()))
        unknown = [name for name in names if name not in self.facts]
        if unknown:
            raise UnprovedError(f"{where}: cites {', '.join(unknown)}, not established before")
        try:
            grounds = [*step.rule.cites, *self._provisos(step.rule.cites)]
            step.rule.check(step.relation, self.facts, self.library)
        except UnprovedError as error:
            raise UnprovedError(f"{where}: {error}") from error
        self._add(step.name, step.relation)
        self.grounds[step.name] = frozenset((*names, *grounds))
        self.cited |= self.grounds[step.name]
        assumed = frozenset[str]().union(*(self.rests_on[name] for name in grounds))
        if isinstance(step.rule, Cases):
            one, other = step.rule.on
            assumed = (self.rests_on[step.rule.first] - {one}) | (self.rests_on[step.rule.second] - {other})
        self.rests_on[step.name] = assumed

    def _add(self, name: str, relation: Relation) -> None:
        if name in self.facts:
            raise UnprovedError(f"{self.label}: two facts are called {name!r}")
        self.facts[name] = relation

    def _provisos(self, names: tuple[str, ...]) -> list[str]:
        """Facts that establish what conditional definitions among ``names`` need."""
        found = []
        for name in names:
            if name not in self.provided:
                continue
            need = self.provided[name]
            by = [other for other, fact in self.facts.items() if fact.same_as(need)]
            if not by:
                raise UnprovedError(f"{name} holds only if {need}, which is not established")
            found.append(min(by, key=lambda other: len(self.rests_on[other])))
        return found
