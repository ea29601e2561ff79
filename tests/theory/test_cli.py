"""``python -m theory``: what it prints and how it exits."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import sympy

from theory.__main__ import main
from theory.registry import derivation, theorem, theorems

POINT = ("n=512", "log2_M=64", "sigma=256", "H=512")


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main(["evaluate", *arguments, "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    answer = json.loads(printed.out)
    assert isinstance(answer, dict)
    return answer


def test_json_has_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """An evaluation prints label, value, valid, conditions and units."""
    assert {"label", "value", "valid", "conditions", "units"} <= set(_json(capsys, "vf-lower", "--set", *POINT))


def test_every_condition_has_name_verdict_and_margin(capsys: pytest.CaptureFixture[str]) -> None:
    """Each condition prints its name, whether it holds, and by what margin."""
    conditions = _json(capsys, "vf-lower", "--set", *POINT)["conditions"]
    assert isinstance(conditions, list)
    assert len(conditions) >= 2
    assert all({"name", "holds", "margin"} <= set(condition) for condition in conditions)


@pytest.mark.parametrize("label", ["vf-lower", "vf-lower-truncated", "gap-ball"])
def test_printed_value_is_that_of_the_statement(capsys: pytest.CaptureFixture[str], label: str) -> None:
    """The number printed is the number of the library, digit by digit."""
    answer = _json(capsys, label, "--set", *POINT)
    assert answer["value"] == theorem(label).evaluate(n=512, log2_M=64, sigma=256, H=512).value


def test_maximiser_is_printed_where_epsilon_is_not_given(capsys: pytest.CaptureFixture[str]) -> None:
    """Asked without epsilon, the answer carries the epsilon it was maximised at."""
    answer = _json(capsys, "vf-lower-truncated", "--set", *POINT)
    assert answer["maximised_over"] == "epsilon"
    assert isinstance(answer["epsilon"], float)


def test_window_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """vf-lower prints the range of n in which its closed form is proven."""
    window = _json(capsys, "vf-lower", "--set", *POINT)["closed_form"]
    assert isinstance(window, dict)
    assert window["n_min"] == pytest.approx(64 * math.log(2) / 2)


@pytest.mark.parametrize("label", ["vf-lower", "vf-lower-truncated", "vf-upper"])
def test_value_is_finite_at_four_thousand_bits(capsys: pytest.CaptureFixture[str], label: str) -> None:
    """log2_M = 4096 prints a finite number."""
    arguments = ["n=10000", "log2_M=4096", "sigma=50", "H=100", *(["epsilon=0.3"] if "lower" in label else [])]
    value = _json(capsys, label, "--set", *arguments)["value"]
    assert isinstance(value, float)
    assert math.isfinite(value)


def test_vacuous_bound_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """A bound that says nothing exits 0, is marked not valid, and still shows its value."""
    answer = _json(capsys, "vf-upper", "--set", "H=96", "n=96", "log2_M=64", "sigma=48")
    assert (answer["valid"], round(float(str(answer["value"])))) == (False, 184)


def test_set_can_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """--set a --set b is --set a b."""
    once = _json(capsys, "vf-lower", "--set", *POINT)
    assert _json(capsys, "vf-lower", "--set", *POINT[:2], "--set", *POINT[2:]) == once


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (("vf-lowest", "--set", *POINT), "vf-lowest"),
        (("vf-lower", "--set", *POINT, "n=3"), "n is given twice"),
        (("vf-lower", "--set", "n"), "--set n: expected NAME=VALUE"),
        (("vf-lower", "--set", "n=many"), "--set n=many: expected a number"),
        (("vf-lower", "--set", "log2_M=64", "sigma=1", "H=4", "n=0"), "n = 0: expected a whole number in [1, inf)"),
        (("vf-lower", "--set", "log2_M=64", "sigma=1", "H=4", "n=1e999"), "n = inf"),
        (("vf-lower", "--set", *POINT, "nonsense=1"), "takes no 'nonsense'"),
        (("vf-lower", "--set", "n=512"), "needs log2_M, sigma"),
        (("vf-lower", "--set", *POINT, "epsilon=0.5", "kappa=0.5"), "expected kappa = epsilon^2"),
        (("gap-free", "--set", "n=64", "log2_M=32", "sigma=32"), "gap-free needs epsilon"),
        (("vf-lower", "--set", "n=512", "log2_M=64", "sigma=256"), "vf-lower needs"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_bad_request_exits_two_with_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], culprit: str
) -> None:
    """A wrong label, name or value exits 2, prints nothing to stdout and one line that names it to stderr."""
    assert main(["evaluate", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert culprit in printed.err


@pytest.mark.parametrize(
    "arguments",
    [[], ["evaluate"], ["prove", "vf-lower"], ["list", "--format", "xml"]],
    ids=lambda a: " ".join(a) or "none",
)
def test_bad_usage_exits_two(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """No command, no label, an unknown command or an unknown format exits 2 with one line on stderr."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    printed = capsys.readouterr()
    assert (stopped.value.code, printed.out, printed.err.count("\n")) == (2, "", 1)


def test_table_shows_value_and_every_condition(capsys: pytest.CaptureFixture[str]) -> None:
    """The table form has the label first and one line for each condition."""
    assert main(["evaluate", "vf-lower", "--set", *POINT, "epsilon=0.2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("vf-lower (lower): ")
    assert sum(line.startswith(("  holds", "  fails")) for line in lines) == len(theorem("vf-lower").assumptions) + 1


def test_list_names_every_statement(capsys: pytest.CaptureFixture[str]) -> None:
    """`list` prints one line for each statement, its label first."""
    assert main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(theorems())


def test_list_as_json_has_the_same_labels(capsys: pytest.CaptureFixture[str]) -> None:
    """`list --format json` is a list of objects with the same labels."""
    assert main(["list", "--format", "json"]) == 0
    assert [row["label"] for row in json.loads(capsys.readouterr().out)] == list(theorems())


LABELS = tuple(theorems())
FORMATS = ("text", "latex", "markdown", "json")


def _out(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("label", LABELS)
def test_every_statement_is_shown(capsys: pytest.CaptureFixture[str], label: str, form: str) -> None:
    """show prints the label, every claim and every assumption, in each format."""
    printed = _out(capsys, "show", label, "--format", form)
    assert label in printed
    if form != "latex":
        assert all(claim.says in printed for claim in theorem(label).claims)
    if form == "json":
        assert {claim["name"] for claim in json.loads(printed)["claims"]} == {c.name for c in theorem(label).claims}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("label", LABELS)
def test_every_derivation_is_printed(capsys: pytest.CaptureFixture[str], label: str, form: str) -> None:
    """derive prints every step by name, in each format."""
    printed = _out(capsys, "derive", label, "--format", form)
    assert all(step.name in printed for step in derivation(label).steps)
    if form == "json":
        assert len(json.loads(printed)["steps"]) == len(derivation(label).steps)


@pytest.mark.parametrize("form", FORMATS)
def test_list_names_every_label(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """list prints all labels, in each format."""
    printed = _out(capsys, "list", "--format", form)
    assert all(label in printed for label in LABELS)


def test_check_prints_the_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """check counts statements, steps by kind, lemmas and failures."""
    answer = json.loads(_out(capsys, "check", "chi2-expert", "--trials", "5", "--format", "json"))
    assert answer["failed"] == []
    assert answer["steps"]["prose"] == 0
    assert answer["steps"]["inequality"] > 0
    assert "0 failed" in _out(capsys, "check", "chi2-expert", "--trials", "5")


def test_check_exits_with_4_when_a_constant_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that the steps do not establish makes check say so and exit with 4."""
    from theory import check

    true = theorem("chi2-expert")
    relation = replace(true.claims[0].relation, rhs=true.claims[0].relation.rhs * sympy.Rational(9, 10))
    wrong = replace(true, claims=(replace(true.claims[0], relation=relation), *true.claims[1:]))
    monkeypatch.setattr(check, "theorem", lambda label: wrong)
    assert main(["check", "chi2-expert", "--trials", "1"]) == 4
    assert "FAILS  chi2-expert" in capsys.readouterr().out


def test_mutate_prints_what_survived(capsys: pytest.CaptureFixture[str]) -> None:
    """mutate counts the mutants of a statement and says that none survived."""
    (answer,) = json.loads(_out(capsys, "mutate", "garbling", "--format", "json"))
    assert answer["survived"] == []
    assert answer["claims"] > 0
    assert "0 survived the check" in _out(capsys, "mutate", "garbling")


@pytest.mark.parametrize("form", ["text", "json", "svg"])
def test_graph_names_every_statement(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """graph prints every label."""
    printed = _out(capsys, "graph", "--format", form)
    assert all(label in printed for label in LABELS)


def test_rigorous_evaluation_encloses_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    """--rigorous adds an Arb ball, which holds the float64 value at 40 bits and is tighter at more."""
    coarse = _json(capsys, "vf-lower", "--set", *POINT, "epsilon=0.1", "--rigorous")["rigorous"]
    fine = _json(capsys, "vf-lower", "--set", *POINT, "epsilon=0.1", "--rigorous", "--bits", "120")["rigorous"]
    assert isinstance(coarse, dict)
    assert isinstance(fine, dict)
    assert coarse["holds_float64"] is True
    assert fine["radius"] < 1e-20 < coarse["radius"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "no-such"], "'no-such' is no statement"),
        (["derive", "no-such"], "'no-such' is no statement"),
        (["check", "no-such"], "'no-such' is no statement"),
        (["mutate", "no-such"], "'no-such' is no statement"),
        (["falsify", "no-such"], "'no-such' is no statement"),
        (["falsify", "chi2-expert", "--effort", "-1"], "effort"),
        (["check", "chi2-expert", "--trials", "0"], "--trials 0: expected at least 1"),
        (["evaluate", "vf-lower", "--set", *POINT, "--rigorous"], "expected epsilon"),
        (["evaluate", "vf-lower", "--set", *POINT, "--bits", "60"], "--bits goes with --rigorous"),
        (["evaluate", "vf-lower", "--set", *POINT, "epsilon=.1", "--rigorous", "--bits", "1"], "--bits 1"),
        (["evaluate", "heterogeneity-identity"], "has no number"),
    ],
)
def test_bad_requests_get_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    """Exit 2, nothing on stdout, one line on stderr that names what was wrong."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert words in printed.err


def test_pages_are_written_anew(tmp_path: Path) -> None:
    """pages writes one page for each statement, the lemmas, the attacks, the index and the graph."""
    assert main(["pages", "--out", str(tmp_path / "new")]) == 0
    written = {path.name for path in (tmp_path / "new").iterdir()}
    assert written == {
        *(f"{label}.md" for label in LABELS),
        "index.md",
        "lemmas.md",
        "tightness.md",
        "mutants.md",
        "graph.svg",
    }
