"""The frozen objects of a statement, its checked points, the families it speaks of, and the registry of labels."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import checked, return_laws, symmetric_laws
from theory.laws import ReturnLaw, symmetric_two_point, uniform
from theory.notation import SYMBOLS, log_M, log_M_minus_1
from theory.registry import theorem, theorems
from theory.theorem import Instance, Theorem

LABELS = (
    "chi2-expert",
    "expert-heterogeneity",
    "anti-concentration",
    "verifier-erm",
    "vb-upper-top-c",
    "vb-upper-best-of-n",
    "vf-lower",
    "vf-lower-truncated",
    "vf-upper",
    "gap-regret",
    "gap-ball",
    "gap-free",
    "heterogeneity-identity",
    "planted-law",
    "garbling",
    "crossover-vf-wins",
)

#: A value in the domain of every symbol.
IN_DOMAIN = {
    "H": 20, "n": 50, "log2_M": 32, "mu": 10, "sigma": 4, "rho": 10, "epsilon": 0.25, "kappa": 0.0625, "c": 0.2,
    "delta": 0.1, "epsilon_ver": 0.5, "N": 4, "R_min": 0, "symmetric": 1, "psi": 0.5,
    "K": 30, "eta": 0.1, "p_e": 0.9, "V": 5, "ell": 3, "gamma": 1.5,
}  # fmt: skip

#: A value outside the domain of every symbol.
OUT_OF_DOMAIN = {
    "H": 1.5, "n": 0, "log2_M": 0, "mu": -1, "sigma": -1, "rho": 0, "epsilon": -1, "kappa": -1, "c": 0,
    "delta": 1.5, "epsilon_ver": -1, "N": 2.5, "R_min": -1, "symmetric": 0.5, "psi": 2,
    "K": 0.5, "eta": 0.6, "p_e": 0, "V": 1, "ell": 0, "gamma": math.inf,
}  # fmt: skip

_all = pytest.mark.parametrize("statement", theorems().values(), ids=lambda t: t.label)
_numbered = pytest.mark.parametrize(
    "statement", [t for t in theorems().values() if t.evaluator is not None], ids=lambda t: t.label
)
_taken = pytest.mark.parametrize(
    ("statement", "name"),
    [(t, name) for t in theorems().values() for name in t.parameters],
    ids=lambda v: str(getattr(v, "label", v)),
)


def _required(statement: Theorem) -> dict[str, float]:
    point = {name: IN_DOMAIN[name] for name in statement.required}
    return point | ({"H": IN_DOMAIN["H"]} if "H" in statement.parameters else {}) | _class_size(statement)


def _class_size(statement: Theorem) -> dict[str, float]:
    return {name: IN_DOMAIN[name] for name in ("n", "log2_M") if name in statement.parameters}


@pytest.mark.parametrize("label", LABELS)
def test_label_is_registered(label: str) -> None:
    """Every label of the notes finds the statement that carries it."""
    assert theorem(label).label == label


def test_unknown_label_is_refused_with_the_known_ones() -> None:
    """A label that is none raises KeyError and lists those there are."""
    with pytest.raises(KeyError, match=r"'vf-lowest' is no statement: expected one of .*vf-lower"):
        theorem("vf-lowest")


@_all
def test_uses_names_existing_statements(statement: Theorem) -> None:
    """No dependency dangles."""
    assert set(statement.uses) <= set(theorems())


@_all
def test_uses_has_no_cycle(statement: Theorem) -> None:
    """No statement is used, directly or not, in its own proof."""
    reached: set[str] = set()
    frontier = set(statement.uses)
    while frontier - reached:
        reached |= frontier
        frontier = {used for label in frontier for used in theorem(label).uses}
    assert statement.label not in reached


@_all
def test_statement_is_frozen(statement: Theorem) -> None:
    """No field of a statement can be set."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        statement.label = "other"  # type: ignore[misc]


def test_registry_is_read_only() -> None:
    """The mapping of labels cannot be written to."""
    with pytest.raises(TypeError):
        theorems()["new"] = theorem("vf-lower")  # type: ignore[index]


@_numbered
def test_evaluation_is_frozen(statement: Theorem) -> None:
    """No field of an evaluation can be set."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        statement.evaluate(**_required(statement)).value = 0.0  # type: ignore[misc]


@_all
def test_parameters_are_symbols(statement: Theorem) -> None:
    """Every parameter has one meaning and one unit, in the notation."""
    assert set(statement.parameters) <= set(SYMBOLS)


@_numbered
def test_value_and_margins_are_numbers(statement: Theorem) -> None:
    """At an ordinary point every value and every margin is finite."""
    answer = statement.evaluate(**_required(statement))
    assert all(math.isfinite(number) for number in (answer.value, *(c.margin for c in answer.conditions)))


@_numbered
def test_validity_is_the_conjunction_of_required_conditions(statement: Theorem) -> None:
    """'valid' holds exactly where every required condition does, vacuity among them."""
    answer = statement.evaluate(**_required(statement))
    assert answer.valid == all(c.holds for c in answer.conditions if c.required)
    assert answer.conditions[-1].name == "not vacuous"


@_all
def test_unknown_parameter_is_refused(statement: Theorem) -> None:
    """A name that the statement does not take raises ValueError that names it."""
    with pytest.raises(ValueError, match="takes no 'nonsense'"):
        statement.evaluate(**_required(statement), nonsense=1.0)


@pytest.mark.parametrize(
    ("statement", "name"),
    [(t, name) for t in theorems().values() for name in t.required],
    ids=lambda v: str(getattr(v, "label", v)),
)
def test_missing_parameter_is_refused(statement: Theorem, name: str) -> None:
    """A required symbol that is not given raises ValueError that names it."""
    point = {key: IN_DOMAIN[key] for key in statement.required if key != name}
    with pytest.raises(ValueError, match=rf"{statement.label} needs {name}$"):
        statement.evaluate(**point)


@_taken
def test_value_outside_its_domain_is_refused(statement: Theorem, name: str) -> None:
    """A symbol outside its domain raises ValueError that names symbol, value and domain."""
    point = _required(statement) | {name: OUT_OF_DOMAIN[name]}
    with pytest.raises(ValueError, match=rf"{name} = {OUT_OF_DOMAIN[name]:g}: expected a (whole )?number in"):
        statement.evaluate(**point)


@pytest.mark.parametrize("name", SYMBOLS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_value_that_is_not_finite_is_refused(name: str, value: float) -> None:
    """nan and infinities are in no domain: ValueError names symbol and value."""
    with pytest.raises(ValueError, match=rf"{name} = -?(nan|inf): expected"):
        SYMBOLS[name].check(value)


@pytest.mark.parametrize(
    "statement", [t for t in theorems().values() if "epsilon" in t.parameters], ids=lambda t: t.label
)
def test_kappa_is_the_square_of_epsilon(statement: Theorem) -> None:
    """kappa given for epsilon, or beside it, is the same point."""
    point = {name: value for name, value in _required(statement).items() if name not in ("epsilon", "kappa")}
    by_epsilon, by_kappa, by_both = (
        statement.evaluate(**point, **radius)
        for radius in ({"epsilon": 0.25}, {"kappa": 0.0625}, {"epsilon": 0.25, "kappa": 0.0625})
    )
    assert by_epsilon.as_dict() == by_kappa.as_dict() == by_both.as_dict()


@pytest.mark.parametrize(
    "statement", [t for t in theorems().values() if "epsilon" in t.parameters], ids=lambda t: t.label
)
def test_kappa_that_contradicts_epsilon_is_refused(statement: Theorem) -> None:
    """kappa other than epsilon^2 raises ValueError that shows both."""
    with pytest.raises(ValueError, match=r"epsilon = 0\.25 and kappa = 0\.5: expected kappa = epsilon\^2"):
        statement.evaluate(**(_required(statement) | {"epsilon": 0.25, "kappa": 0.5}))


_families = ("vf-lower", "vf-lower-truncated", "gap-regret", "gap-ball", "gap-free")


@pytest.mark.parametrize("label", _families)
def test_lower_bounds_speak_of_no_instance_without_mirrored_hypotheses(label: str) -> None:
    """A planted task, a network or a user's model has signs None: there the bound is a prediction only."""
    assert not theorem(label).speaks_of(Instance("planted", signs=None, law=symmetric_two_point(10, 0.5)))


@pytest.mark.parametrize("label", _families)
def test_lower_bounds_speak_of_no_instance_of_unknown_law(label: str) -> None:
    """Where the base law is unknown its symmetry is, too."""
    assert not theorem(label).speaks_of(Instance("codebook", signs="independent"))


@pytest.mark.parametrize("label", _families)
@pytest.mark.parametrize("signs", ["independent", "pairwise-independent"])
def test_lower_bounds_speak_of_both_codebooks(label: str, signs: str) -> None:
    """Random and parity codebooks with R = mu +- sigma belong to every family."""
    assert theorem(label).speaks_of(Instance("codebook", signs=signs, law=symmetric_two_point(10, 0.3)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("label", "expected"),
    [("vf-lower", True), ("gap-regret", True), ("vf-lower-truncated", False), ("gap-ball", False), ("gap-free", False)],
)
def test_truncated_bounds_speak_of_two_points_only(label: str, expected: bool) -> None:
    """A symmetric law of more than two values belongs to vf-lower and gap-regret, not to the two-point statements."""
    assert theorem(label).speaks_of(Instance("codebook", signs="independent", law=uniform(4))) is expected


@checked
@given(law=return_laws(min_size=3))
def test_vf_lower_speaks_of_symmetric_laws_only(law: ReturnLaw) -> None:
    """The family holds exactly the symmetric laws: mirroring another would change the base."""
    mirrored = sorted(zip(2 * law.mean - law.values, law.probabilities, strict=True))
    symmetric = all(
        math.isclose(r, m, abs_tol=1e-7) and math.isclose(p, q, abs_tol=1e-7)
        for (r, p), (m, q) in zip(zip(law.values, law.probabilities, strict=True), mirrored, strict=True)
    )
    assert theorem("vf-lower").speaks_of(Instance("codebook", signs="independent", law=law)) == symmetric


@pytest.mark.parametrize("label", sorted(set(LABELS) - {*_families, "planted-law", "crossover-vf-wins"}))
@checked
@given(law=st.one_of(st.none(), return_laws(), symmetric_laws()))
def test_upper_bounds_speak_of_every_instance(label: str, law: ReturnLaw | None) -> None:
    """Statements about any law hold wherever their assumptions do."""
    assert theorem(label).speaks_of(Instance("anything", signs=None, law=law))


@checked
@given(log2_M=st.integers(1, 300))
def test_log_of_one_less_than_the_class_equals_exact_log(log2_M: int) -> None:
    """log(M-1) and log M of whole numbers M = 2^b, by Python's exact integers."""
    assert (log_M(log2_M), log_M_minus_1(log2_M)) == (
        pytest.approx(math.log(2**log2_M), rel=1e-14),
        pytest.approx(math.log(2**log2_M - 1), rel=1e-12, abs=1e-15),
    )
