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
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import sympy
from sympy.core.function import AppliedUndef

from theory.expectation import Mean, spaces_of
from theory.relation import (
    Relation,
    bound_letters,
    is_continuous,
    is_nonnegative,
    is_positive,
    is_zero,
    may_vanish,
    put_in,
)

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
class Given:
    """Something a derivation starts from.

    A ``definition`` says what a letter means, or a fact that holds in the setting by that meaning: claims that rest on
    it are *about* it. An ``auxiliary`` definition only names an expression by a letter that no given before it
    mentions, so that there always is such a letter: a claim that does not speak of the letter need not mention it. An
    ``assumption`` is a hypothesis of every claim that rests on it (its ``where``); a ``case`` is one half of a case
    split. A definition that makes sense only ``provided`` a relation holds may be cited only once that relation is
    established.
    """

    name: str
    relation: Relation
    why: str
    sort: Literal["definition", "auxiliary", "assumption", "case"] = "definition"
    provided: Relation | None = None

    @property
    def defines(self) -> bool:
        """It is no hypothesis."""
        return self.sort in ("definition", "auxiliary")


@dataclass(frozen=True, slots=True)
class Claim:
    """One inequality or equality that a statement makes, in symbols.

    ``says`` puts it in words. ``where`` lists the hypotheses that are no signs of symbols, ``positive`` the symbols
    that must be > 0 though their domain includes 0: whoever applies the claim must have established them. ``about``
    lists all definitions beneath its proof, what a lemma takes from the meaning of its letters among them: they say
    what the letters mean, so whoever puts others in their place must have established the same of those. ``over``
    are the letters and spaces over which the proof sums, integrates or averages. :meth:`Derivation.stated` finds
    both, :func:`verify` checks them.
    """

    name: str
    relation: Relation
    says: str
    where: tuple[Relation, ...] = ()
    positive: tuple[sympy.Symbol, ...] = ()
    about: tuple[Given, ...] = ()
    over: frozenset[sympy.Basic] = frozenset()

    @property
    def spoken(self) -> tuple[Relation, ...]:
        """All relations of the claim: its own, its hypotheses, what it is about."""
        provided = (given.provided for given in self.about if given.provided is not None)
        return (self.relation, *self.where, *(given.relation for given in self.about), *provided)


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
    template ``conclude`` states them, hold there by enumeration. A lemma ``by_meaning`` holds for letters of a certain
    meaning that its premises do not say: its conclusion is one of the definitions beneath a proof that uses it.
    """

    label: str
    statement: str
    conclude: Callable[..., tuple[tuple[Relation, ...], Relation]]
    trial: Callable[[np.random.Generator, Callable[..., tuple[tuple[Relation, ...], Relation]]], bool]
    by_meaning: bool = False

    def holds(self, trials: int, seed: int = 0) -> bool:
        """The template held on every one of ``trials`` random instances."""
        rng = np.random.default_rng(seed)
        return all(self.trial(rng, self.conclude) for _ in range(trials))


@dataclass(frozen=True, slots=True)
class Library:
    """What steps may refer to: lemmas by label, claims of other statements by (label, name).

    ``positive`` and ``provided`` belong to the derivation that is checked: symbols > 0, and the conditions under which
    its conditional definitions hold, by name.
    """

    lemmas: Mapping[str, Lemma]
    claims: Mapping[tuple[str, str], Claim]
    positive: tuple[sympy.Symbol, ...] = ()
    provided: Mapping[str, Relation] = field(default_factory=dict)


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

    def stated(self, claim: Claim, lemmas: Mapping[str, Lemma]) -> Claim:
        """``claim`` with what its proof is ``about`` and ``over``; as it is if no step has its relation.

        A walk along what steps cite: nothing is checked here (:func:`verify` does, from its own records).
        """
        same = [step for step in self.steps if step.relation == claim.relation]
        same = same or [step for step in self.steps if step.relation.same_as(claim.relation)]
        if not same:
            return claim
        walk = _Walk(self, lemmas)
        names = walk.beneath(same[-1].name)
        meanings = {step.name: _meaning(step) for step in self.steps if walk.means(step)}
        known = {given.name: given for given in self.givens if given.defines} | meanings
        about = _spoken_of(claim, [known[name] for name in known if name in names], self.positive)
        return replace(claim, about=about, over=walk.bound(same[-1].name))

    @property
    def lemmas(self) -> frozenset[str]:
        """Labels of the lemmas used."""
        return frozenset(step.rule.lemma for step in self.steps if isinstance(step.rule, Use))

    @property
    def applications(self) -> frozenset[str]:
        """Labels of the statements applied."""
        return frozenset(step.rule.label for step in self.steps if isinstance(step.rule, Apply))


class _Walk:
    """What is beneath each fact of a derivation, by what steps cite."""

    def __init__(self, derivation: Derivation, lemmas: Mapping[str, Lemma]) -> None:
        self.givens = {given.name: given for given in derivation.givens}
        self.steps = {step.name: step for step in derivation.steps}
        self.relations = {given.name: given.relation for given in derivation.givens}
        self.relations |= {step.name: step.relation for step in derivation.steps}
        self.lemmas = lemmas
        self._known: dict[str, frozenset[str]] = {}

    def means(self, step: Step) -> bool:
        """The step takes something from the meaning of its letters."""
        return isinstance(step.rule, Use) and step.rule.lemma in self.lemmas and self.lemmas[step.rule.lemma].by_meaning

    def grounds(self, step: Step) -> list[str]:
        """What the step rests on directly, conditions of conditional definitions included."""
        demanding = (self.givens.get(name) for name in _unconditional(step.rule))
        needs = [given.provided for given in demanding if given is not None and given.provided is not None]
        found = [next((n for n, r in self.relations.items() if r.same_as(need)), None) for need in needs]
        return [*step.rule.cites, *(name for name in found if name is not None)]

    def beneath(self, name: str) -> frozenset[str]:
        """Givens, and steps by the meaning of their letters, beneath the fact ``name``."""
        step = self.steps.get(name)
        if step is None:
            return frozenset({name}) & self.givens.keys()
        if name not in self._known:
            self._known[name] = frozenset({name} if self.means(step) else ())  # a circle is refused elsewhere
            below = frozenset[str]().union(*(self.beneath(other) for other in self.grounds(step)))
            self._known[name] |= below
        return self._known[name]

    def bound(self, name: str, seen: set[str] | None = None) -> frozenset[sympy.Basic]:
        """Letters and spaces bound by a step beneath ``name``."""
        seen = set() if seen is None else seen
        step = self.steps.get(name)
        if step is None or name in seen:
            return frozenset()
        seen.add(name)
        return _bound(step.relation).union(*(self.bound(other, seen) for other in self.grounds(step)))


def _meaning(step: Step) -> Given:
    """What a lemma takes from the meaning of its letters, as a definition."""
    return Given(step.name, step.relation, step.why)


def _unconditional(rule: Rule) -> tuple[str, ...]:
    """The cited facts of which the rule uses the relation itself."""
    return rule.given if isinstance(rule, Apply) else rule.cites


def _spoken_of(claim: Claim, definitions: Iterable[Given], positive: tuple[sympy.Symbol, ...]) -> tuple[Given, ...]:
    """``definitions``, in order, but for auxiliary ones whose letter neither the claim nor another one speaks of."""
    listed = list(definitions)
    plain = [given for given in listed if given.sort != "auxiliary"]
    spoken = frozenset[sympy.Basic](positive).union(
        *(
            _letters(r)
            for r in (claim.relation, *claim.where, *(r for g in plain for r in (g.relation, g.provided) if r))
        )
    )
    kept = {given.name for given in plain}
    for given in reversed(listed):
        if given.sort == "auxiliary" and given.relation.lhs in spoken:
            kept.add(given.name)
            spoken |= _letters(given.relation)
    return tuple(given for given in listed if given.name in kept)


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
        if t.is_real is not True or t.is_integer or t.is_nonpositive or (t.is_zero is False and not t.is_positive):
            raise UnprovedError(f"the domain of {t} is neither all numbers nor those >= 0 nor those > 0")
        inner = sympy.Dummy("t", positive=True) if t.is_nonnegative else sympy.Dummy("t", real=True)
        function = self.function.expr.xreplace({t: inner})
        if not is_continuous(function, inner, library.positive):  # at 0 it is, or it divides by 0 there
            raise UnprovedError(f"{self.function} is not proved continuous")
        inside = sympy.diff(function, inner)  # F is continuous: its slope inside the domain decides
        rises = is_positive(inside, library.positive) if self.reflect else is_nonnegative(inside, library.positive)
        if not rises:
            raise UnprovedError(f"{self.function} is not proved to increase")
        arguments, images = ((below, above), (low, high)) if self.reflect else ((low, high), (below, above))
        if t.is_nonnegative:
            member = arguments[1] if self.reflect else arguments[0]
            cited = not t.is_positive and any(is_zero(facts[name].slack - member) for name in self.inside)
            proved = is_positive if t.is_positive else is_nonnegative
            if not cited and not proved(member, library.positive):
                raise UnprovedError(f"{member} is not proved {'positive' if t.is_positive else 'nonnegative'}")
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
        closed = sympy.Dummy(self.variable.name, nonnegative=True)
        for power in range(self.order):
            derivative = sympy.diff(slack, self.variable, power)
            if not is_continuous(derivative.xreplace({self.variable: closed}), closed, library.positive):
                raise UnprovedError(f"derivative {power} is not proved continuous")
            start = derivative.subs(self.variable, 0)
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
        try:
            polynomial = sympy.Poly(slack, self.variable, domain="QQ")
        except sympy.polys.polyerrors.BasePolynomialError as error:
            raise UnprovedError(f"{slack} is no polynomial in {self.variable} alone") from error
        if min(polynomial.eval(low), polynomial.eval(high)) < 0:
            raise UnprovedError(f"{slack} is negative at an end of [{low}, {high}]")
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
        arguments = [argument for argument in self.arguments.values() if isinstance(argument, sympy.Basic)]
        if any(argument.has(sympy.I) or argument.is_real is False for argument in arguments):
            raise UnprovedError(f"{self.lemma} is about real numbers")
        own = _bound(*premises, conclusion).difference(*(bound_letters(argument) for argument in arguments))
        caught = own.intersection(letter for argument in arguments for letter in argument.free_symbols)
        if caught:
            raise UnprovedError(f"{self.lemma} sums over {caught}, of which an argument speaks")
        _find(premises, self.given, facts, library)
        if not relation.same_as(conclusion):
            raise UnprovedError(f"{self.lemma} concludes {conclusion}, not {relation}")


@dataclass(frozen=True, slots=True)
class Apply:
    """The claim ``claim`` of the statement ``label`` with letters replaced.

    Its hypotheses are among the facts ``given``, and what it is about among these and ``ties``, all with the letters
    replaced. ``replacing`` may map letters, random ones too (the base of indexed ones), ``spaces`` the names of spaces.
    What is put for a letter varies on the space of the letter, and may on spaces of which the claim knows nothing: it
    then holds at each outcome. A conditional definition may be cited in ``ties`` for one of the same condition.
    """

    label: str
    claim: str
    replacing: Mapping[sympy.Basic, sympy.Expr] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    ties: tuple[str, ...] = ()
    spaces: Mapping[str, str] = field(default_factory=dict)
    kind: StepKind = field(default="application", init=False)

    @property
    def cites(self) -> tuple[str, ...]:
        """The facts that are its hypotheses, and those that say what its letters mean."""
        return (*self.given, *self.ties)

    def image(self, relation: Relation) -> Relation:
        """``relation`` with letters and spaces replaced."""
        moved = {sympy.Symbol(old): sympy.Symbol(new) for old, new in self.spaces.items() if old != new}
        return relation.subs({**moved, **self.replacing})

    def check(self, relation: Relation, facts: Mapping[str, Relation], library: Library) -> None:
        """Replace, check what is put in, find each hypothesis and each definition, compare."""
        if (self.label, self.claim) not in library.claims:
            raise UnprovedError(f"{self.label} has no claim {self.claim!r}")
        claim = library.claims[self.label, self.claim]
        self._replaces_freely(claim, library.positive)
        for letter in claim.positive:
            value = sympy.sympify(self.replacing.get(letter, letter))
            if not is_positive(value, library.positive):
                raise UnprovedError(f"{value}, put for {letter}, is not proved positive")
        _find(tuple(self.image(r) for r in claim.where), self.given, facts, library)
        for given in claim.about:
            self._find_definition(given, facts, library)
        conclusion = self.image(claim.relation)
        if not relation.same_as(conclusion):
            raise UnprovedError(f"{self.label} gives {conclusion}, not {relation}")

    def _replaces_freely(self, claim: Claim, positive: tuple[sympy.Symbol, ...]) -> None:
        """What is put in fits its letter, and nothing of the claim or of its proof catches it."""
        known = {space for r in claim.spoken for space in _spaces(r)} | {str(it) for it in claim.over}
        renamed = {self.spaces.get(space, space) for space in known}
        if len(renamed) < len(known) or not set(self.spaces) <= known:
            raise UnprovedError(f"the spaces {dict(self.spaces)} are none of the claim's, or are merged")
        ranging = claim.over | _ranging(*claim.spoken)
        for letter, put in self.replacing.items():
            value = sympy.sympify(put)
            _fits(letter, value, positive)
            own = {self.spaces.get(space, space) for space in spaces_of(letter)}
            caught = ranging & {letter, *(_plain(value) - letter.free_symbols)} or (spaces_of(value) - own) & renamed
            if letter in map(sympy.Symbol, known) or caught or not _everywhere(letter, claim):
                raise UnprovedError(f"{value}, put for {letter}, is caught by a sum or an expectation of the claim")

    def _find_definition(self, given: Given, facts: Mapping[str, Relation], library: Library) -> None:
        """Its image is trivial or a cited fact; one that is conditional only under the same condition."""
        image = self.image(given.relation)
        need = None if given.provided is None else self.image(given.provided)

        def fits(name: str) -> bool:
            condition = library.provided.get(name) if name not in self.given else None
            if condition is not None and (need is None or not condition.same_as(need)):
                return False
            turned = Relation(image.rhs, "=", image.lhs)
            return any(it.same_as(facts[name]) for it in ((image, turned) if image.op == "=" else (image,))) or (
                image.op != "=" and _weaker(facts[name], image)
            )

        trivial = is_zero(image.slack) if image.op == "=" else is_nonnegative(image.slack, library.positive)
        if not trivial and not any(fits(name) for name in self.cites):
            raise UnprovedError(f"{self.label} is about {given.name}: {image} is not among the cited facts")


def _plain(value: sympy.Expr) -> frozenset[sympy.Basic]:
    """Letters of ``value`` that are no names of spaces."""
    return frozenset(value.free_symbols - {node.args[0] for node in value.atoms(Mean)})


def _everywhere(letter: sympy.Basic, claim: Claim) -> bool:
    """A letter, or a function wherever the claim speaks of it: always of the same distinct letters."""
    if not isinstance(letter, AppliedUndef):
        return isinstance(letter, sympy.Symbol)
    nodes = {node for r in claim.spoken for side in (r.lhs, r.rhs) for node in side.atoms(AppliedUndef)}
    plain = len(set(letter.args)) == len(letter.args) and all(part.is_Symbol for part in letter.args)
    return plain and {node for node in nodes if node.func == letter.func} <= {letter}


def _spaces(relation: Relation) -> frozenset[str]:
    """All spaces of which ``relation`` speaks."""
    sides = (relation.lhs, relation.rhs)
    named = {space for side in sides for letter in side.free_symbols for space in spaces_of(letter)}
    return frozenset(named | {node.args[0].name for side in sides for node in side.atoms(Mean)})


def _ranging(*relations: Relation) -> frozenset[sympy.Basic]:
    """Letters that are bound, and indices and arguments: what is said of them is said of all their values."""
    nodes = {n for r in relations for side in (r.lhs, r.rhs) for n in side.atoms(sympy.Indexed, AppliedUndef)}
    parts = {part for n in nodes for part in (n.indices if isinstance(n, sympy.Indexed) else n.args)}
    return _bound(*relations).union(*(part.free_symbols for part in parts))


def _fits(letter: sympy.Basic, value: sympy.Expr, positive: tuple[sympy.Symbol, ...]) -> None:
    """What is put in for a letter has its sign, is a number as it is, and whole if it is."""
    if letter.is_positive and not is_positive(value, positive):
        raise UnprovedError(f"{value}, put for {letter}, is not proved positive")
    if letter.is_nonnegative and not is_nonnegative(value, positive):
        raise UnprovedError(f"{value}, put for {letter}, is not proved nonnegative")
    if letter.is_real and not value.is_real and not is_nonnegative(value, positive):
        raise UnprovedError(f"{value}, put for {letter}, is not proved real")
    if letter.is_integer and not value.is_integer:
        raise UnprovedError(f"{value}, put for {letter}, is not proved whole")


def _bound(*relations: Relation) -> frozenset[sympy.Basic]:
    return frozenset[sympy.Basic]().union(*(bound_letters(side) for r in relations for side in (r.lhs, r.rhs)))


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
        if not (_opposite(one, other) or _fresh(one, other, relation)):
            raise UnprovedError(f"{one} and {other} do not exhaust the cases")
        for name in self.cites:
            if not relation.same_as(facts[name]):
                raise UnprovedError(f"{name} shows {facts[name]}, not {relation}")


def _opposite(one: Relation, other: Relation) -> bool:
    return "=" not in (one.op, other.op) and is_zero(one.slack + other.slack)


def _fresh(one: Relation, other: Relation, relation: Relation) -> list[sympy.Symbol]:
    """The letters k with ``one`` c <= 0 and ``other`` c = k for some k > 0."""
    if one.op == "=" or other.op != "=":
        return []
    positive = [k for k in other.rhs.free_symbols - _letters(relation) if k.is_positive]
    return [k for k in positive if any(is_zero(one.slack + c) for c in sympy.solve(other.lhs - other.rhs, k))]


def _letters(relation: Relation) -> frozenset[sympy.Basic]:
    return frozenset(relation.lhs.free_symbols | relation.rhs.free_symbols)


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
    unsaid_of = {name: _unsaid_meaning(claim, state, name) for name in proving}
    proving = [name for name in proving if not unsaid_of[name]]
    if not proving:
        missing = next(iter(unsaid_of.values()))
        raise UnprovedError(f"{where} rests on what {', '.join(missing)} says of its letters, which it is not about")
    said = _may_vanish(claim.relation, *claim.where, positive=derivation.positive)
    for name in proving:
        unsaid = state.unsaid_division(name, said)
        if not unsaid:
            return name
    raise UnprovedError(f"{where} rests on a division by {', '.join(map(str, unsaid))}, which may be 0")


def _unsaid_meaning(claim: Claim, state: Verified, name: str) -> list[str]:
    """Definitions beneath the fact ``name`` that the claim is not about; letters that its ``over`` leaves out."""
    beneath = [given for given in state.givens.values() if given.defines and given.name in state.beneath[name]]
    needed = _spoken_of(claim, beneath, state.derivation.positive)
    listed = {(given.relation, given.provided) for given in claim.about}
    unsaid = [given.name for given in needed if (given.relation, given.provided) not in listed]
    return unsaid or sorted(map(str, state.binds[name] - claim.over))


def _may_vanish(*relations: Relation, positive: tuple[sympy.Symbol, ...]) -> frozenset[sympy.Expr]:
    return frozenset[sympy.Expr]().union(*(may_vanish(side, positive) for r in relations for side in (r.lhs, r.rhs)))


def _pinned(given: Given) -> frozenset[sympy.Basic]:
    """Letters and spaces over which nothing that rests on ``given`` may be summed or averaged.

    A case holds at one outcome and one index only. An assumption speaks of one value of its letters, though of every
    value of an index, and so does what defines a letter; any other definition holds whatever its letters are.
    """
    sides = (given.relation.lhs, given.relation.rhs)
    letters = {symbol for symbol in _letters(given.relation) if isinstance(symbol, sympy.Symbol)}
    letters -= {node.args[0] for side in sides for node in side.atoms(Mean)}
    if given.sort == "case":
        return frozenset(letters | {sympy.Symbol(space) for side in sides for space in spaces_of(side)})
    if given.defines and not (given.relation.op == "=" and any(side.is_Symbol for side in sides)):
        return frozenset()
    indexed = {node for side in sides for node in side.atoms(sympy.Indexed, AppliedUndef)}
    return frozenset(letters - {symbol for node in indexed for symbol in node.free_symbols})


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
        provided = {given.name: given.provided for given in derivation.givens if given.provided is not None}
        self.library = Library(library.lemmas, library.claims, derivation.positive, provided)
        self.facts: dict[str, Relation] = {}
        self.givens: dict[str, Given] = {}
        self.rests_on: dict[str, frozenset[str]] = {}
        #: All givens beneath a fact, definitions too, and steps by the meaning of their letters.
        self.beneath: dict[str, frozenset[str]] = {}
        #: Letters and spaces bound by a step beneath a fact.
        self.binds: defaultdict[str, frozenset[sympy.Basic]] = defaultdict(frozenset)
        #: What a fact that is no definition, and the steps beneath it, divide by and no sign keeps from 0.
        self.divides: defaultdict[str, frozenset[sympy.Expr]] = defaultdict(frozenset)
        self.cited: set[str] = set()
        self.grounds: dict[str, frozenset[str]] = {}

    def add_given(self, given: Given) -> None:
        """Take a given for granted. Raises :class:`UnprovedError` if it calls itself auxiliary and is not."""
        if given.sort == "auxiliary":
            self._names_freely(given)
        self._add(given.name, given.relation)
        self.givens[given.name] = given
        self.beneath[given.name] = frozenset({given.name})
        self.rests_on[given.name] = frozenset() if given.defines else frozenset({given.name})
        if not given.defines:
            self.divides[given.name] = _may_vanish(given.relation, positive=self.derivation.positive)

    def add_step(self, step: Step) -> None:
        """Check a step and add its relation. Raises :class:`UnprovedError`."""
        where = f"{self.label}, step {step.name}"
        names = (*step.rule.cites, *(step.rule.on if isinstance(step.rule, Cases) else ()))
        unknown = [name for name in names if name not in self.facts]
        if unknown:
            raise UnprovedError(f"{where}: cites {', '.join(unknown)}, not established before")
        try:
            grounds = [*step.rule.cites, *self._provisos(_unconditional(step.rule))]
            self._binds_nothing_fixed(step)
            step.rule.check(step.relation, self.facts, self.library)
            if isinstance(step.rule, Apply) and step.rule.label == self.label:
                raise UnprovedError("a statement may not be applied in its own proof")
            if isinstance(step.rule, Cases):
                self._splits_freshly(step.rule, step.relation)
        except UnprovedError as error:
            raise UnprovedError(f"{where}: {error}") from error
        self._add(step.name, step.relation)
        self.grounds[step.name] = frozenset((*names, *grounds))
        self.cited |= self.grounds[step.name]
        beneath = frozenset[str]().union(*(self.beneath[name] for name in grounds))
        if isinstance(step.rule, Cases):
            one, other = step.rule.on
            beneath = (self.beneath[step.rule.first] - {one}) | (self.beneath[step.rule.second] - {other})
        if isinstance(step.rule, Use) and self.library.lemmas[step.rule.lemma].by_meaning:
            self.givens[step.name] = _meaning(step)
            beneath |= {step.name}
        self.beneath[step.name] = beneath
        self.rests_on[step.name] = frozenset(name for name in beneath if not self.givens[name].defines)
        self.divides[step.name] = self._divided_by(step).union(*(self.divides[name] for name in grounds))
        self.binds[step.name] = _bound(step.relation).union(*(self.binds[name] for name in grounds))

    def _names_freely(self, given: Given) -> None:
        """There always is a letter of this meaning: it is new, and the expression has its sign and its spaces."""
        letter, value = given.relation.lhs, given.relation.rhs
        where = f"{self.label}: {given.name}"
        known = [it.relation for it in self.givens.values()]
        if given.relation.op != "=" or not isinstance(letter, sympy.Symbol) or given.provided is not None:
            raise UnprovedError(f"{where} is no auxiliary definition: it does not name an expression by a letter")
        if letter in value.free_symbols or any(letter in _letters(relation) for relation in known):
            raise UnprovedError(f"{where} is no auxiliary definition: {letter} is no new letter")
        positive = self.derivation.positive
        _fits(letter, value, positive)
        unfit = letter in positive and not is_positive(value, positive)
        if unfit or not spaces_of(value) <= spaces_of(letter) or may_vanish(value, positive):
            raise UnprovedError(f"{where} is no auxiliary definition: {value} may not be a {letter}")

    def _divided_by(self, step: Step) -> frozenset[sympy.Expr]:
        """What a step divides by and no sign keeps from 0."""
        positive = self.derivation.positive
        found = _may_vanish(step.relation, positive=positive)
        if isinstance(step.rule, Combination):
            found |= frozenset().union(*(may_vanish(sympy.sympify(m), positive) for m, *_ in step.rule.terms))
        return found

    def unsaid_division(self, name: str, said: frozenset[sympy.Expr]) -> frozenset[sympy.Expr]:
        """What the fact ``name`` divides by though no sign, and no definition beneath it, keeps that from 0.

        What a definition divides by is not 0, or it means nothing; a letter is spelled out by its definition.
        """
        positive = self.derivation.positive
        beneath = [it.relation for it in self.givens.values() if it.defines and it.name in self.beneath[name]]
        unsaid = self.divides[name] - said - _may_vanish(*beneath, positive=positive)
        spelled = [relation for relation in beneath if relation.op == "=" and relation.lhs.is_Symbol]
        for relation in spelled if unsaid else ():
            unsaid = frozenset(base for base in unsaid if may_vanish(1 / put_in(base, relation), positive))
        return unsaid

    def _binds_nothing_fixed(self, step: Step) -> None:
        """What is put in under a sum or an expectation, or averaged by a lemma, holds for all that it ranges over."""
        rule = step.rule
        if isinstance(rule, Identity | Combination):
            carried = rule.using
        elif isinstance(rule, Use | Apply):
            carried = rule.cites
        else:
            return
        bound = _bound(step.relation, *(self.facts[name] for name in rule.cites))
        if isinstance(rule, Apply) and (rule.label, rule.claim) in self.library.claims:
            claim = self.library.claims[rule.label, rule.claim]
            spaces = {sympy.Symbol(rule.spaces.get(space, space)) for r in claim.spoken for space in _spaces(r)}
            renamed = {sympy.Symbol(old): sympy.Symbol(new) for old, new in rule.spaces.items()}
            bound |= spaces | {renamed.get(it, it) for it in claim.over | _ranging(*claim.spoken)}
        for name in (*carried, *self._provisos(_unconditional(rule))):
            for given in self.beneath[name]:
                if fixed := bound & _pinned(self.givens[given]):
                    raise UnprovedError(
                        f"{name} rests on {given}, which fixes {', '.join(map(str, fixed))}: bound here"
                    )

    def _splits_freshly(self, rule: Cases, relation: Relation) -> None:
        """The letter k of a case c = k is one of which nothing else is known."""
        one, other = (self.facts[name] for name in rule.on)
        if _opposite(one, other):
            return
        taken = {letter for name, it in self.givens.items() if name != rule.on[1] for letter in _letters(it.relation)}
        for step in self.derivation.steps:
            if isinstance(step.rule, Apply) and (step.rule.label, step.rule.claim) in self.library.claims:
                claim = self.library.claims[step.rule.label, step.rule.claim]
                spoken = frozenset[sympy.Basic]().union(*(_letters(r) for r in claim.spoken))
                taken |= spoken - set(step.rule.replacing)
        if not set(_fresh(one, other, relation)) - taken:
            raise UnprovedError(f"{other} names a letter of which more is known")

    def _add(self, name: str, relation: Relation) -> None:
        if name in self.facts:
            raise UnprovedError(f"{self.label}: two facts are called {name!r}")
        self.facts[name] = relation

    def _provisos(self, names: tuple[str, ...]) -> list[str]:
        """Facts that establish what conditional definitions among ``names`` need."""
        found = []
        for name in names:
            need = self.givens[name].provided if name in self.givens else None
            if need is None:
                continue
            by = [other for other, fact in self.facts.items() if fact.same_as(need)]
            if not by:
                raise UnprovedError(f"{name} holds only if {need}, which is not established")
            found.append(min(by, key=lambda other: len(self.rests_on[other])))
        return found
