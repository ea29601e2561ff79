"""Recipes of the didactic experiment: those that are shipped, what is refused and in which words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_validation.gpt2_planted.recipe import RECIPES, Recipe, read_recipe
from llm_validation.gpt2_planted.stages import STAGES

#: What is refused: section ("" is the top), key, value as TOML, what the message must say was expected.
REFUSED = (
    ("", "seed", "-1", "expected a whole number of 0"),
    ("", "seed", "2147483648", "expected a whole number of 0..2.14748e+09"),
    ("", "seed", "1.5", "expected a whole number"),
    ("", "seed", "true", "expected a whole number"),
    ("", "minutes", "-0.5", "expected a number of 0 or more"),
    ("", "minutes", "nan", "expected a number of 0 or more"),
    ("", "minutes", '"long"', "expected a number"),
    ("", "processes", "0", "expected a whole number of 1..1024"),
    ("", "device", '"tpu"', "expected of cpu, cuda"),
    ("", "task", "3", "expected a section [task]"),
    ("task", "V", "1", "expected a whole number of 2..1000"),
    ("task", "V", '"ten"', "expected a whole number"),
    ("task", "ell", "0", "expected a whole number of 1..16"),
    ("task", "gamma", "inf", "expected a number of -50..50"),
    ("task", "gamma", "51", "expected a number of -50..50"),
    ("task", "matched_at", "1", "expected a whole number of 2..100000"),
    ("task", "levels", "[]", "expected increasing shares, at least one"),
    ("task", "levels", "[0.5, 0.25]", "expected increasing shares"),
    ("task", "levels", "[0.5, 1.5]", "expected a number of 0..1"),
    ("task", "levels", "0.5", "expected a list"),
    ("task", "levels", '["much"]', "expected a number"),
    ("task", "held_out", "25", "expected a whole number of 1..24"),
    ("task", "held_out", "0", "expected a whole number of 1..24"),
    ("task", "after", '"stop"', "expected of continue, uniform"),
    ("network", "width", "30", "expected a multiple of 4, twice its heads"),
    ("network", "width", "0", "expected a whole number of 4..100000"),
    ("network", "layers", "0", "expected a whole number of 1..1000"),
    ("network", "heads", "0", "expected a whole number of 1..1000"),
    ("network", "positions", '"rotary"', "expected of sinusoidal, normal"),
    ("network", "source", "1", "expected a text"),
    ("base", "batch", "[0]", "expected a whole number of 1 or more"),
    ("base", "batch", "64", "expected a list"),
    ("base", "steps", "[10, 20]", "expected 1, one for each horizon"),
    ("base", "horizons", "[16]", "expected the grid's largest, 8"),
    ("base", "horizons", "[0]", "expected a whole number of 1 or more"),
    ("base", "learning_rate", "1.5", "expected a number of 0..1"),
    ("base", "weight_decay", "-0.1", "expected a number of 0..1"),
    ("base", "beta2", "1.0", "expected a number of 0..0.9999"),
    ("base", "targets", '"soft"', "expected of exact, sampled"),
    ("base", "tolerance", "2", "expected a number of 0..1"),
    ("grid", "horizons", "[]", "expected increasing numbers, at least one"),
    ("grid", "horizons", "[8, 8]", "expected increasing numbers"),
    ("grid", "horizons", "[1]", "expected a whole number of 2 or more"),
    ("grid", "n", "[16, 4]", "expected increasing numbers"),
    ("grid", "n", "[4.0]", "expected a whole number"),
    ("grid", "seeds", "0", "expected a whole number of 1..1000"),
    ("measure", "prompts", "1", "expected a whole number of 2 or more"),
    ("measure", "samples", "1", "expected a whole number of 2 or more"),
    ("vf", "arms", '["best"]', "expected of equal-draws, equal-draws-fastest, equal-traces"),
    ("vf", "arms", "[]", "at least one"),
    ("vf", "arms", '["equal-draws", "equal-draws"]', "expected different ones of"),
    ("vf", "epochs", "0", "expected a whole number of 1 or more"),
    ("vf", "learning_rate", '"slow"', "expected a number"),
    ("verifier", "labels", '["binary"]', "expected of per-token, final"),
    ("verifier", "labels", '["final", "final"]', "expected different ones of"),
    ("verifier", "validation", "0.95", "expected a number of 0..0.9"),
    ("verifier", "checks", "21", "expected a whole number of 1..20"),
    ("verifier", "patience", "0", "expected a whole number of 1 or more"),
    ("verifier", "steps", "0", "expected a whole number of 1 or more"),
    ("rl", "levels", "[1]", "expected numbers below 1"),
    ("rl", "levels", "[-1]", "expected a whole number of 0 or more"),
    ("rl", "levels", "[]", "expected increasing numbers, at least one"),
    ("rl", "levels", "[0, 0]", "expected increasing numbers, at least one"),
    ("rl", "labels", '"binary"', "expected of per-token, final"),
    ("rl", "horizons", "[9]", "expected of grid.horizons [8]"),
    ("rl", "kl_horizons", "[16]", "expected of grid.horizons [8]"),
    ("rl", "kl_weights", "[0.0, -1.0]", "expected a number of 0..1e+06"),
    ("rl", "kl_weights", "[]", "expected different weights, at least one"),
    ("rl", "kl_weights", "[0.3, 0.3000000001]", "expected different weights, at least one"),
    ("rl", "horizons", "[8, 8]", "expected increasing numbers, at least one"),
    ("rl", "kl_horizons", "[8, 8]", "expected increasing numbers, at least one"),
    ("rl", "generations", "1", "expected a whole number of 2 or more"),
    ("rl", "points", "5", "expected a whole number of 1..4"),
    ("rl", "true_reward", "1", "expected true or false"),
    ("best_of_n", "N", "[0, 1]", "expected a whole number of 1 or more"),
    ("best_of_n", "N", "[1, 65]", "expected at most measure.samples = 64"),
    ("evaluate", "samples", "1", "expected a whole number of 2 or more"),
)


def as_toml(values: dict[str, Any]) -> str:
    """Plain data of a recipe as TOML text: top-level keys, then sections."""
    top = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in top.items()]
    for name, section in values.items():
        if isinstance(section, dict):
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    return "\n".join(lines) + "\n"


def changed_smoke(section: str, key: str, value: str) -> str:
    """The smoke recipe as TOML with one value replaced by TOML text."""
    values = read_recipe("smoke").as_dict()
    if section:
        values[section][key] = "@"
    else:
        values[key] = "@"
    return as_toml(values).replace('"@"', value)


def refusal(path: Path, text: str) -> str:
    """What reading this text is refused with."""
    path.write_text(text)
    with pytest.raises(ValueError, match="recipe") as caught:
        read_recipe(str(path))
    return str(caught.value)


def shown(value: str) -> str:
    """The part of a refused value that has to stand in the message: of a list its last entry."""
    return value.strip("[]").split(",")[-1].strip().strip('"').replace("true", "True")


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_are_read(name: str) -> None:
    """Every shipped recipe passes its own checks, is named after its file, and gives every stage something to do."""
    recipe = read_recipe(name)
    assert recipe.name == name
    assert all(stage.cells(recipe) for stage in STAGES)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_round_trips_through_toml(name: str, tmp_path: Path) -> None:
    """``as_dict`` written as TOML reads as the same recipe."""
    recipe = read_recipe(name)
    path = tmp_path / "again.toml"
    path.write_text(as_toml(recipe.as_dict()))
    assert read_recipe(str(path)) == recipe


def test_every_section_decides_a_stage() -> None:
    """All that is in a recipe, but its name and how it is run, is part of the configuration of some stage."""
    named = {section for stage in STAGES for section in stage.sections}
    assert named | {"name", "minutes", "processes"} == {field.name for field in dataclasses.fields(Recipe)}


def test_part_holds_what_is_asked_for() -> None:
    """``part`` gives the named fields as plain data, lists and not tuples."""
    recipe = read_recipe("smoke")
    found = recipe.part("seed", "grid")
    assert found == {"seed": 0, "grid": {"horizons": [8], "n": [16], "seeds": 3}}
    assert json.loads(json.dumps(recipe.as_dict())) == recipe.as_dict()


def test_recipe_from_a_file_is_named_after_it(tmp_path: Path) -> None:
    """A file needs only what differs from the defaults; its name is the file's unless it says another."""
    path = tmp_path / "mine.toml"
    path.write_text("seed = 7\n[grid]\nn = [4, 8]\n")
    recipe = read_recipe(str(path))
    assert recipe == Recipe(name="mine", seed=7, grid=dataclasses.replace(Recipe("x").grid, n=(4, 8)))
    path.write_text('name = "other"\n')
    assert read_recipe(str(path)).name == "other"


def test_a_whole_number_may_stand_for_a_real_one(tmp_path: Path) -> None:
    """``gamma = 2`` is 2.0, as TOML has no other way to say so without a point."""
    path = tmp_path / "mine.toml"
    path.write_text("[task]\ngamma = 2\n")
    gamma = read_recipe(str(path)).task.gamma
    assert isinstance(gamma, float)
    assert gamma == 2.0


@pytest.mark.parametrize(("section", "key", "value", "expected"), REFUSED)
def test_a_bad_value_is_refused_in_one_line(section: str, key: str, value: str, expected: str, tmp_path: Path) -> None:
    """The line names the recipe, the key with its section, the value that was found, and what was expected."""
    message = refusal(tmp_path / "bad.toml", changed_smoke(section, key, value))
    assert "\n" not in message
    assert message.startswith(f"recipe {tmp_path / 'bad.toml'}: ")
    assert (f"{section}.{key}" if section else key) in message
    assert expected in message
    assert shown(value) in message.partition(f"{key}")[2], message


@pytest.mark.parametrize(
    ("text", "unknown", "known"),
    [
        ("sed = 1\n", "sed", ("seed", "minutes", "task")),
        ("[tasks]\nV = 3\n", "tasks", ("task", "network")),
        ("[task]\nv = 3\n", "task.v", ("task.V", "task.ell")),
        ("[rl]\nkl = [0.0]\n", "rl.kl", ("rl.kl_weights", "rl.points")),
        ("[best_of_n]\nn = [1]\n", "best_of_n.n", ("best_of_n.N",)),
    ],
)
def test_an_unknown_name_is_refused_in_one_line(text: str, unknown: str, known: Sequence[str], tmp_path: Path) -> None:
    """A section or key that is not known is named, beside those that are."""
    message = refusal(tmp_path / "bad.toml", text)
    assert "\n" not in message
    assert f"unknown key {unknown}: expected of " in message
    assert all(name in message.partition("expected of ")[2].split(", ") for name in known)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"grid": {"horizons": [2, 8]}, "task": {"ell": 3, "held_out": 9}}, ("grid.horizons", "task.ell = 3")),
        ({"measure": {"prompts": 10}}, ("measure.prompts = 10", "task.held_out = 9")),
        ({"measure": {"prompts": 5}}, ("measure.prompts = 5", "two a seed, 6")),
        ({"verifier": {"labels": ["final"]}}, ("rl.labels = per-token", "verifier.labels ['final']")),
        ({"task": {"V": 30, "ell": 4, "held_out": 9}}, ("task.V^task.ell = 810000", "at most 10000")),
    ],
)
def test_sections_that_do_not_fit_are_refused(changes: dict[str, Any], named: Sequence[str], tmp_path: Path) -> None:
    """What concerns two fields is refused with both of them named, in one line."""
    values = read_recipe("smoke").as_dict()
    for section, fields in changes.items():
        values[section].update(fields)
    message = refusal(tmp_path / "bad.toml", as_toml(values))
    assert "\n" not in message
    assert all(part in message for part in named), message


@pytest.mark.parametrize("content", [b"seed = = 1\n", b"[task\n", b"\xff\xfe\n", b"seed = 1\nseed = 2\n"])
def test_what_is_no_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    """A file that is no TOML is refused in one line."""
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"recipe .*bad\.toml: no TOML \(.*\)\Z") as caught:
        read_recipe(str(path))
    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_recipe_is_refused(tmp_path: Path) -> None:
    """A name that is neither shipped nor a file, or a directory, is refused and the shipped ones are listed."""
    for text in ("smokey", str(tmp_path)):
        with pytest.raises(ValueError, match=r"expected smoke, laptop, gpu or a file that can be read \(.*\)\Z"):
            read_recipe(text)
