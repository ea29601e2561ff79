"""The proof kernel: each rule accepts what follows and refuses what does not; a derivation with a hole is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import sympy

from theory.expectation import Random, mean
from theory.lemmas import LEMMAS
from theory.proof import (
    Apply,
    Calculus,
    Cancel,
    Cases,
    Claim,
    Combination,
    Derivation,
    Enclosed,
    Given,
    Identity,
    Library,
    Monotone,
    Prose,
    Rule,
    Step,
    UnprovedError,
    Use,
    verify,
)
from theory.registry import derivations, library
from theory.relation import Relation, eq, geq, is_nonnegative, is_positive, is_zero, leq

x, y = sympy.symbols("x y", real=True)
a, b, c = sympy.symbols("a b c", nonnegative=True)
p = sympy.Symbol("p", positive=True)
f = Random("f")
EMPTY = Library({}, {})


def _follows(rule: Rule, relation: Relation, facts: Mapping[str, Relation], known: Library = EMPTY) -> bool:
    try:
        rule.check(relation, facts, known)
    except UnprovedError:
        return False
    return True


def test_identity_proves_what_is_equal() -> None:
    """(x + y)^2 = x^2 + 2xy + y^2, also after equalities are put in."""
    assert _follows(Identity(), eq((x + y) ** 2, x**2 + 2 * x * y + y**2), {})
    assert _follows(Identity(("definition",)), eq(x, 4), {"definition": eq(x, 4)})


def test_identity_refuses_what_is_not_equal() -> None:
    """A wrong coefficient, an inequality, and an inequality put in as if it were an equality are refused."""
    assert not _follows(Identity(), eq((x + y) ** 2, x**2 + 3 * x * y + y**2), {})
    assert not _follows(Identity(), leq(x, x), {})
    assert not _follows(Identity(("fact",)), eq(x, 4), {"fact": leq(x, 4)})


def test_combination_multiplies_and_adds_facts() -> None:
    """x <= 2 and y <= 3 give 2x + y <= 7, and (2 - x)(3 - y) >= 0."""
    facts = {"x": leq(x, 2), "y": leq(y, 3)}
    assert _follows(Combination(((2, "x"), (1, "y"))), leq(2 * x + y, 7), facts)
    assert _follows(Combination(((1, "x", "y"),)), geq((2 - x) * (3 - y), 0), facts)
    assert not _follows(Combination(((2, "x"), (1, "y"))), leq(2 * x + y, 6), facts)


def test_combination_refuses_a_multiplier_of_unknown_sign() -> None:
    """From x <= 2 nothing follows for y x unless y >= 0 is known; an equality may carry any multiplier."""
    assert not _follows(Combination(((y, "x"),)), leq(y * x, 2 * y), {"x": leq(x, 2)})
    assert not _follows(Combination(((-1, "x"),)), geq(x, 2), {"x": leq(x, 2)})
    assert _follows(Combination(((a, "x"),)), leq(a * x, 2 * a), {"x": leq(x, 2)})
    assert _follows(Combination(((y, "x"),)), leq(y * x, 2 * y), {"x": eq(x, 2)})


def test_monotone_maps_both_sides() -> None:
    """From a <= b follows sqrt(a) <= sqrt(b), not the reverse, and not for a decreasing function."""
    root = sympy.Lambda(a, sympy.sqrt(a))
    assert _follows(Monotone(root, "fact"), leq(sympy.sqrt(b), sympy.sqrt(c)), {"fact": leq(b, c)})
    assert not _follows(Monotone(root, "fact"), leq(sympy.sqrt(c), sympy.sqrt(b)), {"fact": leq(b, c)})
    assert not _follows(Monotone(sympy.Lambda(a, -a), "fact"), leq(-b, -c), {"fact": leq(b, c)})


def test_monotone_stays_in_its_domain() -> None:
    """x <= y does not give x^2 <= y^2: squares increase on [0, inf) only; with 0 <= x cited it does."""
    square = sympy.Lambda(a, a**2)
    assert not _follows(Monotone(square, "fact"), leq(x**2, y**2), {"fact": leq(x, y)})
    assert _follows(Monotone(square, "fact", ("sign",)), leq(x**2, y**2), {"fact": leq(x, y), "sign": geq(x, 0)})


def test_monotone_reflects_only_into_its_domain() -> None:
    """x^2 <= b^2 gives x <= b for b >= 0; x^2 <= y^2 gives nothing while the sign of y is open."""
    square = sympy.Lambda(a, a**2)
    assert _follows(Monotone(square, "fact", reflect=True), leq(x, b), {"fact": leq(x**2, b**2)})
    assert not _follows(Monotone(square, "fact", reflect=True), leq(x, y), {"fact": leq(x**2, y**2)})
    constant = sympy.Lambda(a, sympy.Integer(1))
    assert not _follows(Monotone(constant, "fact", reflect=True), leq(b, c), {"fact": leq(1, 1)})


def test_monotone_needs_a_continuous_function() -> None:
    """A step down, a jump of acot and a pole have slopes >= 0 where they have any."""
    across = {"fact": leq(-1, 1)}
    falling = sympy.Piecewise((1, x < 0), (0, True))
    assert not _follows(Monotone(sympy.Lambda(x, falling), "fact"), leq(1, 0), across)
    assert not _follows(Monotone(sympy.Lambda(x, -sympy.acot(x)), "fact"), leq(sympy.pi / 4, -sympy.pi / 4), across)
    assert not _follows(Monotone(sympy.Lambda(x, -1 / x), "fact"), leq(1, -1), across)
    whole = sympy.Symbol("k", integer=True)
    assert not _follows(Monotone(sympy.Lambda(whole, whole), "fact"), leq(-1, 1), across)


def test_mean_is_differentiated_under_the_mean() -> None:
    """d/da E[e^(fa)] is E[f e^(fa)], so e^(fa) - E[e^(fa)] does not increase; over its own noise no derivative is."""
    g = Random("g", nonnegative=True)
    assert sympy.diff(mean("b", sympy.exp(g * a)), a) == mean("b", g * sympy.exp(g * a))
    assert sympy.diff(mean("b", sympy.exp(g)), g).has(sympy.Derivative)
    gap = sympy.exp(g * a) - mean("b", sympy.exp(g * a))
    assert not _follows(Monotone(sympy.Lambda(a, gap), "fact"), leq(0, gap.subs(a, 1)), {"fact": leq(0, 1)})
    assert not _follows(Calculus(a), geq(gap, 0), {})


def test_mean_catches_no_index_and_no_random_length() -> None:
    """E[f_j sum_j g_j] keeps the two j apart; a sum of random length is left alone."""
    j, M = (sympy.Symbol(name, integer=True, positive=True) for name in "jM")
    first, second = (sympy.IndexedBase(Random(name)) for name in ("f", "g"))
    assert j in mean("b", first[j] * sympy.Sum(second[j], (j, 1, M))).free_symbols
    length = Random("K", integer=True, nonnegative=True)
    assert isinstance(mean("b", sympy.Sum(second[j], (j, 1, length))), type(mean("b", f)))


def test_calculus_proves_the_tangent_of_the_exponential() -> None:
    """1 + a <= e^a by the second derivative; 1 + 1.1 a <= e^a is refused."""
    assert _follows(Calculus(a, order=2), leq(1 + a, sympy.exp(a)), {})
    assert not _follows(Calculus(a, order=2), leq(1 + sympy.Rational(11, 10) * a, sympy.exp(a)), {})
    assert not _follows(Calculus(x, order=2), leq(1 + x, sympy.exp(x)), {})


def test_calculus_isolates_the_roots_of_a_polynomial() -> None:
    """x^2 - x + 1/4 >= 0 on [0, 1] though it touches 0; x^2 - x + 1/5 is negative there; x must be confined."""
    inside = {"low": geq(x, 0), "high": leq(x, 1)}
    interval = (sympy.Integer(0), sympy.Integer(1))
    rule = Calculus(x, interval=interval, inside=("low", "high"))
    assert _follows(rule, geq(x**2 - x + sympy.Rational(1, 4), 0), inside)
    assert not _follows(rule, geq(x**2 - x + sympy.Rational(1, 5), 0), inside)
    assert not _follows(Calculus(x, interval=interval, inside=("low",)), geq(x**2, 0), inside)
    assert not _follows(rule, geq(sympy.exp(x), 0), inside)


def test_calculus_tries_a_single_point_and_needs_continuity() -> None:
    """On [0, 0] x^2 - 1 is negative; a step from 1 to -1 has slope 0."""
    point = Calculus(x, interval=(sympy.Integer(0), sympy.Integer(0)), inside=("low", "high"))
    inside = {"low": geq(x, 0), "high": leq(x, 0)}
    assert _follows(point, geq(x**2, 0), inside)
    assert not _follows(point, geq(x**2 - 1, 0), inside)
    assert not _follows(Calculus(a), geq(sympy.Piecewise((1, a < 1), (-1, True)), 0), {})


def test_enclosed_proves_positivity_on_a_box() -> None:
    """e^x > x + 9/10 on [0, 1] by interval arithmetic; e^x > x + 1 fails (equality at 0); a box must be cited."""
    inside = {"low": geq(x, 0), "high": leq(x, 1)}
    box = {x: (sympy.Integer(0), sympy.Integer(1))}
    assert _follows(Enclosed(box, ("low", "high")), geq(sympy.exp(x), x + sympy.Rational(9, 10)), inside)
    assert not _follows(Enclosed(box, ("low", "high")), geq(sympy.exp(x), x + 1), inside)
    assert not _follows(Enclosed(box, ("high",)), geq(sympy.exp(x), x + sympy.Rational(9, 10)), inside)


def test_cancel_needs_a_positive_factor() -> None:
    """From y x >= 0 and y >= p > 0 follows x >= 0; y >= 0 is not enough."""
    facts = {"product": geq(y * x, 0), "positive": geq(y, p), "weak": geq(y, 0)}
    assert _follows(Cancel("product", "positive"), geq(x, 0), facts)
    assert not _follows(Cancel("product", "weak"), geq(x, 0), facts)
    assert not _follows(Cancel("product", "positive"), geq(x, 1), facts)


def test_cases_must_exhaust() -> None:
    """x >= 0 and x <= 0 exhaust, as do x <= 0 and x = k with k > 0; x >= 0 and x <= 1 is no split by sign."""
    facts = {"one": geq(y, 0), "other": geq(y, 0), "up": geq(x, 0), "down": leq(x, 0), "far": leq(x, 1), "k": eq(x, p)}
    assert _follows(Cases("one", "other", ("up", "down")), geq(y, 0), facts)
    assert _follows(Cases("one", "other", ("down", "k")), geq(y, 0), facts)
    assert not _follows(Cases("one", "other", ("up", "far")), geq(y, 0), facts)
    assert not _follows(Cases("one", "other", ("up", "k")), geq(y, 0), facts)
    assert not _follows(Cases("one", "other", ("up", "down")), geq(y, 1), facts)


def test_lemma_needs_its_premises() -> None:
    """E f >= 0 follows from f >= 0, and from nothing else."""
    rule = Use("positivity", {"space": "b", "f": f}, ("sign",))
    assert _follows(rule, geq(mean("b", f), 0), {"sign": geq(f, 0)}, library())
    assert not _follows(rule, geq(mean("b", f), 0), {"sign": geq(f, -1)}, library())
    assert not _follows(rule, geq(mean("b", f), 1), {"sign": geq(f, 0)}, library())
    assert not _follows(Use("wishful", {}), geq(x, 0), {}, library())


def test_lemmas_are_about_real_numbers() -> None:
    """Cauchy-Schwarz for i f and -i f would say E f^2 <= -E f^2."""
    rule = Use("cauchy-schwarz", {"space": "b", "a": sympy.I * f, "b": -sympy.I * f})
    assert not _follows(rule, leq(mean("b", f**2), sympy.sqrt(-mean("b", f**2)) ** 2), {}, library())


def test_lemma_arguments_are_not_caught_by_its_sums() -> None:
    """The union bound takes one bound for all events: not E[I_j] for the very j that it sums over."""
    j, M = (sympy.Symbol(name, integer=True, positive=True) for name in "jM")
    event, some = sympy.IndexedBase(Random("I")), Random("U")
    arguments = {"space": "b", "some": some, "events": event, "size": M}
    facts = {"covered": leq(some, sympy.Sum(event[j], (j, 1, M))), "each": leq(mean("b", event[j]), a)}
    rule = Use("union-bound", arguments | {"most": a}, ("covered", "each"))
    assert _follows(rule, leq(mean("b", some), M * a), facts, library())
    caught = Use("union-bound", arguments | {"most": mean("b", event[j])}, ("covered",))
    assert not _follows(caught, leq(mean("b", some), M * mean("b", event[j])), facts, library())


def test_application_replaces_letters_by_what_fits() -> None:
    """Real for real, whole for whole, positive for positive; nothing that an expectation of the claim catches."""
    whole = sympy.Symbol("k", integer=True)
    claims = {
        "square": leq(0, x**2),
        "whole": leq(0, whole * (whole - 1)),
        "divided": leq(0, 1 / p),
        "mean": leq(mean("b", sympy.Abs(f - x)), mean("b", sympy.Abs(f)) + sympy.Abs(x)),
    }
    known = Library({}, {("known", name): Claim(name, relation, "") for name, relation in claims.items()})

    def gives(name: str, replacing: dict[sympy.Basic, sympy.Expr]) -> bool:
        return _follows(Apply("known", name, replacing), claims[name].subs(replacing), {}, known)

    assert gives("square", {x: y})
    assert not gives("square", {x: sympy.I})
    assert gives("whole", {whole: whole + 1})
    assert not gives("whole", {whole: sympy.S.Half})
    assert gives("divided", {p: p + a})
    assert not gives("divided", {p: a})
    assert gives("mean", {x: y})
    assert gives("mean", {x: Random("g", "x")})
    assert not gives("mean", {x: Random("g")})


def test_application_needs_the_hypotheses_of_the_claim() -> None:
    """chi2-expert gives J <= mu + sigma epsilon inside the ball with sigma > 0, for other letters too; not without."""
    from theory.chi2_ball import CHI2, IN_BALL, J
    from theory.symbols import letter

    mu, sigma, epsilon = letter("mu"), letter("sigma"), letter("epsilon")
    known = replace(library(), positive=(sigma,))
    about = {given.name: given.relation for given in known.claims["chi2-expert", "value"].about}
    ties = tuple(about)
    facts = {"ball": IN_BALL, **about}
    bound = leq(J, mu + sigma * epsilon)
    assert _follows(Apply("chi2-expert", "value", {}, ("ball",), ties), bound, facts, known)
    assert not _follows(Apply("chi2-expert", "value", {}, (), ties), bound, facts, known)
    assert not _follows(Apply("chi2-expert", "value", {}, ("ball",), ties), bound, facts, library())
    moved = Apply("chi2-expert", "value", {J: x, mu: c, CHI2: a, epsilon: b}, ("ball",), ties)
    assert _follows(moved, leq(x, c + sigma * b), {n: moved.image(r) for n, r in facts.items()}, known)
    unsigned = Apply("chi2-expert", "value", {epsilon: x}, ("ball",), ties)
    assert not _follows(unsigned, leq(J, mu + sigma * x), {n: unsigned.image(r) for n, r in facts.items()}, known)


def test_application_needs_what_the_letters_mean() -> None:
    """chi2-expert does not prove 5 <= 0 of J = 5, mu = 0, sigma = 1, epsilon = 0; nor anything with one tie missing."""
    from theory.chi2_ball import CHI2, IN_BALL, J
    from theory.symbols import letter

    mu, sigma, epsilon = letter("mu"), letter("sigma"), letter("epsilon")
    numbers = {J: sympy.Integer(5), mu: sympy.Integer(0), sigma: sympy.Integer(1), epsilon: 0, CHI2: sympy.Integer(0)}
    assert not _follows(Apply("chi2-expert", "value", numbers), leq(5, 0), {}, library())
    known = replace(library(), positive=(sigma,))
    about = {given.name: given.relation for given in known.claims["chi2-expert", "value"].about}
    assert set(about) == {"mean", "variance", "mass", "value-of-u", "divergence-of-u"}
    for missing in about:
        ties = tuple(name for name in about if name != missing)
        rule = Apply("chi2-expert", "value", {}, ("ball",), ties)
        assert not _follows(rule, leq(J, mu + sigma * epsilon), {"ball": IN_BALL, **about}, known)


_applied = [
    pytest.param(proof, step, id=f"{proof.label}-{step.name}")
    for proof in derivations().values()
    for step in proof.steps
    if isinstance(step.rule, Apply)
]


@pytest.mark.parametrize(("proof", "step"), _applied)
def test_every_application_cites_each_definition(proof: Derivation, step: Step) -> None:
    """Each of the 24 applications holds, and not without any one of the definitions that it cites."""
    rule = step.rule
    assert isinstance(rule, Apply)
    provided = {given.name: given.provided for given in proof.givens if given.provided is not None}
    known = replace(library(), positive=proof.positive, provided=provided)
    facts = {given.name: given.relation for given in proof.givens} | {it.name: it.relation for it in proof.steps}
    assert _follows(rule, step.relation, facts, known)
    assert rule.ties or not known.claims[rule.label, rule.claim].about
    for missing in rule.ties:
        fewer = replace(rule, ties=tuple(name for name in rule.ties if name != missing))
        assert not _follows(fewer, step.relation, facts, known), missing


def test_there_are_as_many_applications_as_ever() -> None:
    """None is left out of the test above."""
    assert len(_applied) == 24


h = Random("h", "bx")
MEAN = Claim("mean", geq(x, 0), "", about=(Given("mean", eq(mean("b", f), x), ""), Given("sign", geq(f, 0), "")))
KNOWN = Library({}, {("known", "mean"): MEAN})


def test_application_moves_random_letters_and_spaces() -> None:
    """E_b f = x and f >= 0 of other random letters, on another space, and at each outcome of one more space."""

    def gives(put: sympy.Expr, over: str, at: sympy.Expr, spaces: Mapping[str, str], *facts: Relation) -> bool:
        cited = {str(i): fact for i, fact in enumerate(facts)}
        rule = Apply("known", "mean", {f: put, x: at}, (), tuple(cited), spaces)
        return _follows(rule, geq(at, 0), cited, KNOWN)

    on_x, on_t, g = Random("m", "x"), Random("f", "t"), Random("m", "b")
    assert gives(on_t, "t", y, {"b": "t"}, eq(mean("t", on_t), y), geq(on_t, 0))
    assert gives(on_t, "t", y, {"b": "t"}, eq(y, mean("t", on_t)), geq(on_t, 0))
    assert gives(h, "b", on_x, {}, eq(mean("b", h), on_x), geq(h, 0))
    assert not gives(h, "b", on_x, {}, eq(mean("b", h), on_x))
    assert not gives(h, "b", on_x, {}, geq(h, 0))
    assert not gives(on_t, "t", y, {}, eq(mean("t", on_t), y), geq(on_t, 0))
    assert not gives(f, "b", g, {}, eq(mean("b", f), g), geq(f, 0))
    assert not gives(on_t, "t", y, {"c": "t"}, eq(mean("t", on_t), y), geq(on_t, 0))


def test_spaces_of_the_claim_are_not_merged() -> None:
    """What holds for f on b and g on c does not hold for both on one space."""
    g = Random("g", "c")
    about = (Given("product", eq(mean("b", f) * mean("c", g), x), ""),)
    known = Library({}, {("known", "product"): Claim("product", geq(x, 0), "", about=about)})
    merged = Apply("known", "product", {g: Random("g")}, (), ("product",), {"c": "b"})
    assert not _follows(merged, geq(x, 0), {"product": merged.image(about[0].relation)}, known)


def test_conditional_definition_is_cited_under_its_own_condition() -> None:
    """A claim about "f >= 0 if y <= 0" is one about other letters where the same is known under the same condition."""
    about = (Given("sign", geq(f, 0), "", provided=leq(y, 0)),)
    claim = Claim("claim", leq(x, 1), "", about=about)
    known = Library({}, {("known", "claim"): claim})
    rule = Apply("known", "claim", {}, (), ("fact",))
    for condition, follows in ((leq(y, 0), True), (leq(y, 1), False), (None, True)):
        provided = {} if condition is None else {"fact": condition}
        assert _follows(rule, leq(x, 1), {"fact": geq(f, 0)}, replace(known, provided=provided)) is follows
    unconditional = {("known", "claim"): replace(claim, about=(replace(about[0], provided=None),))}
    assert not _follows(rule, leq(x, 1), {"fact": geq(f, 0)}, Library({}, unconditional, provided={"fact": leq(y, 0)}))


def test_function_is_replaced_everywhere_or_not_at_all() -> None:
    """G(a) may become another function of a, not where the claim speaks of G(1) too."""
    G, K = sympy.Function("G"), sympy.Function("K")
    both = (Given("law", leq(G(a), x), ""), Given("end", eq(G(1), y), ""))

    def moves(about: tuple[Given, ...]) -> bool:
        rule = Apply("known", "claim", {G(a): K(a, b)}, (), tuple(given.name for given in about))
        known = Library({}, {("known", "claim"): Claim("claim", leq(0, x), "", about=about)})
        return _follows(rule, leq(0, x), {given.name: rule.image(given.relation) for given in about}, known)

    assert moves(both[:1])
    assert not moves(both)


CLAIM = Claim("sum", leq(x + y, 5), "a sum")
PROOF = Derivation(
    "example",
    givens=(Given("x", leq(x, 2), "x"), Given("y", leq(y, 3), "y")),
    steps=(
        Step("double", leq(2 * x, 4), Combination(((2, "x"),)), "twice"),
        Step("sum", leq(x + y, 5), Combination(((sympy.Rational(1, 2), "double"), (1, "y"))), "add"),
    ),
)


CLAIM = PROOF.stated(CLAIM, LEMMAS)


def test_sound_derivation_is_verified() -> None:
    """Every step holds and the claim is established; no prose."""
    assert verify(PROOF, (CLAIM,), EMPTY) == ()


@pytest.mark.parametrize("left_out", [0, 1])
def test_deleted_step_leaves_a_hole(left_out: int) -> None:
    """Without any one step the derivation is refused."""
    steps = tuple(step for i, step in enumerate(PROOF.steps) if i != left_out)
    with pytest.raises(UnprovedError, match=r"example"):
        verify(replace(PROOF, steps=steps), (CLAIM,), EMPTY)


def test_idle_step_is_refused() -> None:
    """A step that nothing cites and that establishes no claim is refused."""
    idle = Step("idle", leq(3 * x, 6), Combination(((3, "x"),)), "of no use")
    with pytest.raises(UnprovedError, match="idle is used by no step"):
        verify(replace(PROOF, steps=(*PROOF.steps, idle)), (CLAIM,), EMPTY)


def test_claim_that_no_step_proves_is_refused() -> None:
    """x + y <= 4 is no relation of the derivation."""
    with pytest.raises(UnprovedError, match="the claim sum is the relation of no step"):
        verify(PROOF, (replace(CLAIM, relation=leq(x + y, 4)),), EMPTY)


def test_assumption_must_be_said_by_the_claim() -> None:
    """If x <= 2 is an assumption, the claim has to list it."""
    givens = (replace(PROOF.givens[0], sort="assumption"), PROOF.givens[1])
    with pytest.raises(UnprovedError, match="rests on x, which it does not assume"):
        verify(replace(PROOF, givens=givens), (CLAIM,), EMPTY)
    assert verify(replace(PROOF, givens=givens), (replace(CLAIM, where=(leq(x, 2),)),), EMPTY) == ()


@pytest.mark.parametrize("unsaid", [0, 1])
def test_claim_must_say_what_it_is_about(unsaid: int) -> None:
    """x + y <= 5 rests on what both letters mean."""
    about = (CLAIM.about[1 - unsaid],)
    with pytest.raises(UnprovedError, match=rf"rests on what {'xy'[unsaid]} says of its letters"):
        verify(PROOF, (replace(CLAIM, about=about),), EMPTY)


def test_claim_must_say_what_is_bound_beneath_it() -> None:
    """A proof that averages over b is not one for letters that vary on b."""
    claim = Claim("mean", geq(mean("b", f), 0), "")
    proof = Derivation(
        "example",
        (Given("sign", geq(f, 0), ""),),
        (Step("mean", claim.relation, Use("positivity", {"space": "b", "f": f}, ("sign",)), ""),),
    )
    stated = proof.stated(claim, LEMMAS)
    assert verify(proof, (stated,), library()) == ()
    with pytest.raises(UnprovedError, match="rests on what b says"):
        verify(proof, (replace(stated, over=frozenset()),), library())


def test_meaning_taken_by_a_lemma_is_a_definition() -> None:
    """Nothing but the meaning of P says that E P is (E f)^a: a claim that rests on it is about it."""
    P = Random("P", "d")
    claim = Claim("power", eq(mean("d", P), mean("b", f) ** a), "")
    rule = Use("independence", {"product": P, "space": "b", "factor": f, "n": a})
    proof = Derivation("example", (), (Step("power", claim.relation, rule, ""),))
    stated = proof.stated(claim, LEMMAS)
    assert [given.name for given in stated.about] == ["power"]
    assert verify(proof, (stated,), library()) == ()
    with pytest.raises(UnprovedError, match="rests on what power says"):
        verify(proof, (replace(stated, about=()),), library())


def _named(given: Given, relation: Relation, *more: Given) -> Claim:
    """x <= 5 from x = ``given`` and a <= 5, verified; what its claim is about."""
    givens = (Given("most", leq(a, 5), ""), *more, given)
    proof = Derivation("example", givens, (Step("claim", relation, Combination(((1, "most"),), ("name",)), ""),))
    stated = proof.stated(Claim("claim", relation, ""), LEMMAS)
    verify(proof, (stated,), EMPTY)
    return stated


def test_auxiliary_definition_need_not_be_said() -> None:
    """A new letter for a: the claim a <= 5 does not speak of it, the claim b <= 5 does."""
    name = Given("name", eq(b, a), "", "auxiliary")
    step = Step("named", leq(b, 5), Combination(((1, "most"),), ("name",)), "")
    back = Step("claim", leq(a, 5), Combination(((1, "named"),), ("name",)), "")
    proof = Derivation("example", (Given("most", leq(a, 5), ""), name), (step, back))
    stated = proof.stated(Claim("claim", leq(a, 5), ""), LEMMAS)
    assert [given.name for given in stated.about] == ["most"]
    assert verify(proof, (stated,), EMPTY) == ()
    assert [given.name for given in _named(name, leq(b, 5)).about] == ["most", "name"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Given("name", eq(a, b), "", "auxiliary"), "a is no new letter"),
        (Given("name", eq(b, a + b), "", "auxiliary"), "b is no new letter"),
        (Given("name", eq(p, a), "", "auxiliary"), "not proved positive"),
        (Given("name", eq(b, x), "", "auxiliary"), "not proved nonnegative"),
        (Given("name", eq(x, f), "", "auxiliary"), "f may not be a x"),
        (Given("name", eq(x, 1 / y), "", "auxiliary"), "1/y, put for x, is not proved real"),
        (Given("name", eq(2 * b, a), "", "auxiliary"), "does not name an expression by a letter"),
        (Given("name", leq(b, a), "", "auxiliary"), "does not name an expression by a letter"),
    ],
)
def test_what_is_no_name_is_not_auxiliary(given: Given, words: str) -> None:
    """An old letter, itself, a letter of another sign, a constant for what varies, a division, an inequality."""
    with pytest.raises(UnprovedError, match=words):
        _named(given, leq(a, 5))


def test_case_left_open_is_refused() -> None:
    """A claim may not rest on one half of a case split."""
    givens = (replace(PROOF.givens[0], sort="case"), PROOF.givens[1])
    with pytest.raises(UnprovedError, match="rests on x"):
        verify(replace(PROOF, givens=givens), (CLAIM,), EMPTY)


def _verifies(givens: tuple[Given, ...], steps: tuple[Step, ...], where: tuple[Relation, ...] = ()) -> None:
    """The last step's relation is the claim."""
    proof = Derivation("example", givens, steps)
    verify(proof, (proof.stated(Claim("claim", steps[-1].relation, "", where), LEMMAS),), library())


def test_case_holds_at_one_outcome_only() -> None:
    """Under f >= 0 at this outcome nothing follows for E f: f E[f] >= 0 is false."""
    goal = geq(f * mean("b", f), 0)
    givens = (Given("up", geq(f, 0), "", "case"), Given("down", leq(f, 0), "", "case"))
    steps = (
        Step("mean-up", geq(mean("b", f), 0), Use("positivity", {"space": "b", "f": f}, ("up",)), ""),
        Step("negative", geq(-f, 0), Combination(((1, "down"),)), ""),
        Step("mean-down", geq(mean("b", -f), 0), Use("positivity", {"space": "b", "f": -f}, ("negative",)), ""),
        Step("goal-up", goal, Combination(((1, "mean-up", "up"),)), ""),
        Step("goal-down", goal, Combination(((1, "mean-down", "negative"),)), ""),
        Step("goal", goal, Cases("goal-up", "goal-down", ("up", "down")), ""),
    )
    with pytest.raises(UnprovedError, match="rests on up, which fixes b"):
        _verifies(givens, steps)


@pytest.mark.parametrize("sort", ["definition", "assumption"])
def test_value_of_a_letter_is_not_put_in_under_its_own_integral(sort: str) -> None:
    """x = 3 says nothing of the integral of x from 0 to 1."""
    integral = Step("integral", eq(sympy.Integral(x, (x, 0, 1)), 3), Identity(("three",)), "")
    with pytest.raises(UnprovedError, match="fixes x"):
        _verifies((Given("three", eq(x, 3), "", sort),), (integral,), (eq(x, 3),))  # type: ignore[arg-type]


def test_division_by_what_may_vanish_is_refused() -> None:
    """x y = 0 does not give y <= 0, nor z = x y and z = 0 that y = 0; for positive p in place of x they do."""
    z = sympy.Symbol("z", real=True)

    def product(factor: sympy.Expr) -> None:
        step = Step("divided", leq(y, 0), Combination(((1 / factor, "product"),)), "")
        _verifies((Given("product", eq(factor * y, 0), ""),), (step,))

    def quotient(factor: sympy.Expr) -> None:
        givens = (Given("product", eq(z, factor * y), ""), Given("zero", eq(z, 0), ""))
        divided = Step("divided", eq(y, z / factor), Identity(("product",)), "")
        _verifies(givens, (divided, Step("gone", eq(y, 0), Identity(("divided", "zero")), "")))

    for derive in (product, quotient):
        derive(p)
        with pytest.raises(UnprovedError, match="a division by x, which may be 0"):
            derive(x)


def test_claim_may_divide_by_what_it_says_itself() -> None:
    """A claim speaks where it is defined, and a letter whose definition keeps it from 0 may divide."""
    quotient = Step("quotient", eq(y, y**2 / y), Identity(), "")
    _verifies((), (Step("same", eq(a / x, 2 * a / x / 2), Identity(), ""),))
    _verifies(
        (Given("spelled", eq(x, 1 + a), ""),),
        (Step("sign", leq(0, 1 / x), Combination(((1 / (1 + a),),), ("spelled",)), ""),),
    )
    _verifies((), (quotient,))


def test_case_letter_must_be_new() -> None:
    """x <= 0 and x = p exhaust nothing once p is 1."""
    goal = geq(1 - x, 0)
    givens = (
        Given("one", eq(p, 1), ""),
        Given("down", leq(x, 0), "", "case"),
        Given("up", eq(x, p), "", "case"),
    )
    steps = (
        Step("low", goal, Combination(((1, "down"), (1,))), ""),
        Step("high", goal, Combination(((1, "up"),), ("one",)), ""),
        Step("goal", goal, Cases("low", "high", ("down", "up")), ""),
    )
    with pytest.raises(UnprovedError, match="names a letter of which more is known"):
        _verifies(givens, steps)


def test_statement_may_not_be_applied_in_its_own_proof() -> None:
    """x >= 1 because x >= 1."""
    claim = Claim("claim", geq(x, 1), "")
    proof = Derivation("example", (), (Step("claim", claim.relation, Apply("example", "claim"), ""),))
    with pytest.raises(UnprovedError, match="applied in its own proof"):
        verify(proof, (claim,), Library({}, {("example", "claim"): claim}))


def test_conditional_definition_waits_for_its_condition() -> None:
    """A definition that makes sense only if y <= 9 may be cited only once that is established."""
    givens = (replace(PROOF.givens[0], provided=leq(y, 9)), PROOF.givens[1])
    with pytest.raises(UnprovedError, match="x holds only if"):
        verify(replace(PROOF, givens=givens), (CLAIM,), EMPTY)


def test_step_may_not_cite_what_comes_later() -> None:
    """No circle: a step rests on what was established before it."""
    with pytest.raises(UnprovedError, match="cites double, not established before"):
        verify(replace(PROOF, steps=PROOF.steps[::-1]), (CLAIM,), EMPTY)


def test_two_facts_of_one_name_are_refused() -> None:
    """Names are unique."""
    with pytest.raises(UnprovedError, match="two facts are called 'x'"):
        verify(replace(PROOF, givens=(PROOF.givens[0], PROOF.givens[0])), (CLAIM,), EMPTY)


def test_prose_is_named() -> None:
    """A step in words passes and is returned by name."""
    words = Step("words", leq(2 * x, 4), Prose(("x",)), "obvious")
    steps = (words, replace(PROOF.steps[1], rule=Combination(((sympy.Rational(1, 2), "words"), (1, "y")))))
    assert verify(replace(PROOF, steps=steps), (CLAIM,), EMPTY) == ("words",)


@pytest.mark.parametrize(
    ("expression", "zero"),
    [
        (sympy.sqrt(a**2) - a, True),
        (sympy.sqrt(x**2) - x, False),
        (sympy.log(p * (1 + p)) - sympy.log(p) - sympy.log(1 + p), True),
        ((p**2 - 1) / (p - 1) - p - 1, True),
        (sympy.exp(p) - 1 - p, False),
        (mean("b", (f - 1) ** 2) - mean("b", f**2) + 2 * mean("b", f) - 1, True),
        (mean("b", f**2) - mean("b", f) ** 2, False),
    ],
)
def test_zero_is_proved_or_refused(expression: sympy.Expr, zero: bool) -> None:
    """sqrt(x^2) is x only for x >= 0; E is linear and not multiplicative."""
    assert is_zero(expression) is zero


def test_signs_come_from_the_symbols() -> None:
    """a >= 0 is no a > 0, unless the derivation assumes it."""
    assert is_nonnegative(a)
    assert not is_positive(a)
    assert is_positive(a, (a,))
    assert not is_nonnegative(mean("b", f) - f, (f,))
    assert not is_nonnegative(a - b)
