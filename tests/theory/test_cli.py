"""``python -m theory``: what it prints and how it exits."""

from __future__ import annotations

import json
import math

import pytest

from theory.__main__ import main
from theory.registry import theorem, theorems

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
