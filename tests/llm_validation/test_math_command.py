"""The command of the Llama experiment: what it plans, what it refuses and how, kills, servers that die, the figure."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from commands import Command
from figures import __main__ as figures
from llm_validation.llama_math.__main__ import main
from llm_validation.llama_math.recipe import RECIPES, Recipe, read_recipe
from llm_validation.llama_math.stages import STAGES
from llm_validation.sampling import tiny
from llm_validation.staged.stages import Stage
from local_server import served
from scripted_server import Server, body, running

ROOT = Path(__file__).resolve().parents[2]
PROG = "python -m llm_validation.llama_math: "
LEAST = """
threads = 1
batch = 16
[model]
source = "{model}"
[endpoint]
concurrency = 4
retries = 0
timeout = 30.0
[[sets]]
name = "sums"
source = "arithmetic"
train = 6
held_out = 4
samples = 8
held_out_samples = 8
horizon = 4
shots = 0
[grid]
horizons = [6, 12]
n = [4, 6]
seeds = 2
[stitch]
most = 1
joiner = "\\nNo:"
budget = 12
[sft]
epochs = 1
most_steps = 2
batch = 4
lora_rank = 2
checks = 1
[verifier]
epochs = 1
most_steps = 2
batch = 8
lora_rank = 2
checks = 1
[evaluate]
samples = 1
batch = 8
"""
#: What is refused: section ("" is the top), key, value as TOML, what the message must say was expected.
REFUSED = (
    ("", "seed", "-1", "expected a whole number of 0"),
    ("", "minutes", "-0.5", "expected a number of 0 or more"),
    ("", "threads", "0", "expected a whole number of 1..1024"),
    ("", "batch", "5000", "expected a whole number of 1..4096"),
    ("", "device", '"tpu"', "expected of cpu, cuda"),
    ("", "grading_timeout", "0", "expected a number of 0.01 or more"),
    ("model", "source", '""', "expected smollm2, tiny, a .gguf file"),
    ("model", "dtype", '"int8"', "expected of float32, bfloat16"),
    ("shape", "hidden_size", "8", "expected a size, as the others are given"),
    ("shape", "vocab_size", "-1", "expected a whole number of 0 or more"),
    ("endpoint", "api", '"grpc"', "expected of completions, chat"),
    ("endpoint", "concurrency", "0", "expected a whole number of 1..1024"),
    ("endpoint", "timeout", "0", "expected a number of 0.001 or more"),
    ("endpoint", "retries", "101", "expected a whole number of 0..100"),
    ("sets", "name", '"a b"', "expected letters, digits, - and _"),
    ("sets", "held_out", "1", "expected a whole number of 2"),
    ("sets", "samples", "0", "expected a whole number of 1"),
    ("sets", "order", '"hardest"', "expected of drawn, easiest"),
    ("sets", "temperature", "-1.0", "expected a number of 0 or more"),
    ("sets", "shots", "65", "expected a whole number of 0..64"),
    ("sets", "train", "0", "0 have training problems, expected one"),
    ("grid", "horizons", "[8, 8]", "expected increasing numbers"),
    ("grid", "n", "[]", "expected increasing numbers, at least one"),
    ("grid", "n", "[4, 1000]", "1000, expected at most sets.train = 16"),
    ("grid", "seeds", "0", "expected a whole number of 1..1000"),
    ("stitch", "most", "-1", "expected a whole number of 0"),
    ("stitch", "order", '"best"', "expected of drawn, shortest, longest, random"),
    ("stitch", "joiner", '" "', "expected a text that no attempt holds"),
    ("stitch", "budget", "100", "expected at most the grid's largest, 24"),
    ("sft", "epochs", "0", "expected a whole number of 1 or more"),
    ("sft", "validation", "0.95", "expected a number of 0..0.9"),
    ("verifier", "lora_rank", "5000", "expected a whole number of 0..4096"),
    ("verifier", "learning_rate", '"slow"', "expected a number"),
    ("evaluate", "samples", "0", "expected a whole number of 1..10000"),
    ("evaluate", "forcing", "1", "expected true or false"),
)


def as_toml(values: dict[str, Any]) -> str:
    """Plain data of a recipe as TOML text: top-level keys, then sections, then lists of sections."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict | list)]
    for name, section in values.items():
        for one in section if isinstance(section, list) else [section] if isinstance(section, dict) else []:
            lines.append(f"[[{name}]]" if isinstance(section, list) else f"[{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in one.items()]
    return "\n".join(lines) + "\n"


def refusal(path: Path, text: str) -> str:
    """What reading this text is refused with, one line."""
    path.write_text(text)
    with pytest.raises(ValueError, match="recipe") as caught:
        read_recipe(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_are_read(name: str, tmp_path: Path) -> None:
    """Each is named after its file, gives every stage something to do, and reads the same from its plain data."""
    recipe = read_recipe(name)
    assert recipe.name == name
    assert all(stage.cells(recipe) for stage in STAGES)
    path = tmp_path / "again.toml"
    path.write_text(as_toml(recipe.as_dict()))
    assert read_recipe(str(path)) == recipe


def test_every_section_decides_a_stage() -> None:
    """All that is in a recipe, but its name, its size where no model is at hand and its budget, decides some stage."""
    named = {section for stage in STAGES for section in stage.sections}
    assert named | {"name", "minutes", "shape"} == {field.name for field in dataclasses.fields(Recipe)}


@pytest.mark.parametrize(("section", "key", "value", "expected"), REFUSED)
def test_a_bad_value_is_refused_in_one_line(section: str, key: str, value: str, expected: str, tmp_path: Path) -> None:
    """The line names the recipe, the section and what was expected."""
    values = read_recipe("smoke").as_dict()
    where = values[section] if section else values
    (where[0] if isinstance(where, list) else where)[key] = "@"
    message = refusal(tmp_path / "bad.toml", as_toml(values).replace('"@"', value))
    assert message.startswith(f"recipe {tmp_path / 'bad.toml'}: ")
    assert (section or key) in message
    assert expected in message


@pytest.mark.parametrize(
    ("text", "unknown", "known"),
    [
        ("sed = 1\n", "sed", ("seed", "sets", "evaluate")),
        ("[stich]\nmost = 3\n", "stich", ("stitch", "sft")),
        ("[stitch]\nmuch = 3\n", "stitch.much", ("stitch.most", "stitch.joiner")),
        ('[[sets]]\nname = "a"\nsource = "arithmetic"\ntrains = 3\n', "trains", ("train", "held_out_samples")),
    ],
)
def test_an_unknown_name_is_refused_in_one_line(
    text: str, unknown: str, known: tuple[str, ...], tmp_path: Path
) -> None:
    """A section or key that is not known is named, beside those that are."""
    message = refusal(tmp_path / "bad.toml", text)
    assert f"{unknown}: expected of " in message
    assert all(name in message.partition("expected of ")[2] for name in known)


@pytest.fixture(scope="module", autouse=True)
def unchanged_torch() -> Iterator[None]:
    """Cells ask torch for deterministic algorithms on one thread; other modules' tests did not."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, run in this process."""
    return Command(main, PROG, capsys)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama."""
    return tiny.write(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def recipe_file(model: Path) -> Path:
    """The least recipe as a file, beside its model."""
    path = model.parent / "least.toml"
    path.write_text(LEAST.format(model=model))
    return path


@pytest.mark.parametrize(("name", "billions"), [("llama-3.2-3b", 3.213), ("llama-3.1-8b", 8.030)])
def test_a_dry_run_needs_no_model(name: str, billions: float, command: Command, tmp_path: Path) -> None:
    """The paper's sizes: cells of every stage, tokens, FLOPs and memory, nothing loaded and nothing written."""
    code, text, _ = command("--recipe", name, "--dry-run", "--format", "json", "--out", tmp_path / "out")
    found = json.loads(text)
    recipe = read_recipe(name)
    assert code == 0
    assert found["parameters"] / 1e9 == pytest.approx(billions, abs=5e-4)
    assert {stage.name: len(stage.cells(recipe)) for stage in STAGES} == {
        stage: of_stage["cells"] for stage, of_stage in found["stages"].items()
    }
    for stage in ("sample", "sft", "verifier", "evaluate"):
        assert found["stages"][stage]["flops"] > 2 * found["parameters"] * found["stages"][stage]["tokens"] / 2
    assert min(found["gigabytes"].values()) > 2 * billions  # two bytes a weight
    assert not (tmp_path / "out").exists()


def test_a_dry_run_puts_overrides_in_place(model: Path, recipe_file: Path, command: Command, tmp_path: Path) -> None:
    """Model, seed, problems and stages of the command line; the text has a line for each stage."""
    problems = tmp_path / "p.jsonl"
    problems.write_text(json.dumps({"question": "How much is 6 times 7?", "answer": "#### 42"}) + "\n")
    asked = ["--recipe", recipe_file, "--dry-run", "--seed", "5", "--problems", problems, "--stages", "sample,sft"]
    code, text, _ = command(*asked, "--format", "json", "--model", model)
    found = json.loads(text)
    assert code == 0
    assert (found["recipe"]["seed"], found["recipe"]["sets"][0]["source"]) == (5, str(problems))
    assert (found["recipe"]["model"]["source"], list(found["stages"])) == (str(model), ["sample", "sft"])
    code, text, _ = command("--recipe", "llama-3.2-3b", "--dry-run", "--format", "json", "--set", f"gsm8k={problems}")
    sets = {
        of_set["name"]: (of_set["source"], of_set["held_out_source"]) for of_set in json.loads(text)["recipe"]["sets"]
    }
    assert sets == {"math": ("math/train", "math/test"), "gsm8k": (str(problems), "")}
    code, text, _ = command(*asked)
    assert {line.split()[0] for line in text.splitlines()[2:4]} == {"sample", "sft"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--minutes", "0"], "--minutes 0: expected a number above 0"),
        (["--stages", "rl"], "--stages rl: expected of problems, sample"),
        (["--recipe", "llama"], "recipe llama: expected smoke, smollm2, llama-3.2-3b, llama-3.1-8b or a file"),
        (["--seed", "-1"], "seed = -1: expected a whole number of 0"),
        (["--device", "tpu"], "--device"),
        (["--device", "cuda"], "--device cuda: torch finds no such device"),
        (["--problems", "none.jsonl"], "problems none.jsonl: cannot be read (no such file)"),
        (["--problems", "olympiad"], "problems olympiad: expected arithmetic, gsm8k/train"),
        (["--set", "sums"], "--set sums: expected NAME=PATH with NAME of sums"),
        (["--set", "math=arithmetic"], "--set math=arithmetic: expected NAME=PATH with NAME of sums"),
        (["--set", "sums="], "--set sums=: expected NAME=PATH"),
        (["--set", "sums=a.json"], "problems a.json: cannot be read (no such file)"),
        (["--set", "sums=arithmetic", "--set", "sums=b"], "--set sums=b: sums is read from arithmetic already"),
        (["--problems", "arithmetic", "--set", "sums=b"], "--set sums=b: sums is read from arithmetic already"),
        (["--endpoint", "localhost:8000"], "--endpoint localhost:8000: expected http://HOST[:PORT]/v1"),
        (["--processes", "2"], "--processes"),
    ],
)
def test_bad_usage_is_one_line(
    asked: list[str], expected: str, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    command: Command,
) -> None:  # fmt: skip
    """What the command cannot do is exit code 2 and one line on standard error; nothing is written."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, out, said = command("--recipe", recipe_file, "--out", tmp_path / "out", *asked)
    assert (code, out, len(said)) == (2, "", 1), said
    assert expected in said[0]
    assert not (tmp_path / "out").exists()


def test_a_directory_is_asked_for(recipe_file: Path, command: Command) -> None:
    """Without --out there is nowhere to keep anything, except with --dry-run."""
    code, _, said = command("--recipe", recipe_file)
    assert (code, said) == (2, ["--out DIR: expected, unless with --dry-run"])


@pytest.mark.parametrize("library", ["torch", "peft", "math_verify"])
def test_a_missing_extra_is_named(library: str, recipe_file: Path, tmp_path: Path) -> None:
    """Where a library of the extra ``llm`` is not installed: exit code 2 and one line that says what to install."""
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from llm_validation.llama_math.__main__ import main\n"
        f"sys.exit(main(['--recipe', {str(recipe_file)!r}, '--out', {str(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        rf"{re.escape(PROG)}needs the extra 'llm' .*verifier-gap\[llm\].* {library} not found\n", done.stderr
    )
    assert not (tmp_path / "out").exists()


def results(out: Path) -> dict[str, bytes]:
    """Bytes of every stage's table and of the report's."""
    stages = {f"{stage.name}/results.parquet" for stage in STAGES}
    return {
        name: (out / name).read_bytes()
        for name in {*stages, "curves.parquet", "gaps.parquet", "rates.parquet", "traces.parquet", "summary.json"}
    }


@pytest.fixture(scope="module")
def done(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command in this process."""
    out = tmp_path_factory.mktemp("runs") / "done"
    assert main(["--recipe", str(recipe_file), "--out", str(out), "--format", "json"]) == 0
    return out


def test_a_run_in_pieces_ends_with_the_same_results(
    done: Path, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """Out of time before the first cell (130, one line), interrupted amid sampling (130), the base lost amid training
    (3, one line), each gone on with by --resume: tables, curves and summary are those of a run at one go.
    """
    out = tmp_path / "out"
    asked = ["--recipe", recipe_file, "--out", out]
    code, _, said = command(*asked, "--minutes", "1e-9")
    assert (code, said) == (130, ["out of time, 1 cells of problems are left; go on with --resume"])
    real = Stage.run
    begun: Counter[str] = Counter()

    def run(self: Stage, bench: Any, cell: Any) -> Any:
        begun[self.name] += 1
        if (self.name, begun["sample"]) == ("sample", 3):
            raise KeyboardInterrupt
        if (self.name, begun["sft"]) == ("sft", 2):
            raise MemoryError
        return real(self, bench, cell)

    monkeypatch.setattr(Stage, "run", run)
    code, _, said = command(*asked, "--resume")
    assert (code, said) == (130, ["interrupted; finished cells are kept, run again with --resume"])
    code, _, said = command(*asked, "--resume")
    assert (code, len(said)) == (3, 1)
    assert "sft" in said[0]
    code, text, said = command(*asked, "--resume")
    assert (code, said) == (0, [])
    assert results(out) == results(done)
    assert "best-of-n by the learnt verifier - vf-forced at equal tokens" in text
    assert begun["sample"] == len(STAGES[1].cells(read_recipe(str(recipe_file)))) + 1  # the interrupted one twice


def test_a_directory_of_another_recipe_is_refused(done: Path, recipe_file: Path, command: Command) -> None:
    """Without --resume, or with another seed: exit code 2, one line, and nothing is changed."""
    before = results(done)
    code, _, said = command("--recipe", recipe_file, "--out", done)
    assert (code, len(said)) == (2, 1)
    code, _, said = command("--recipe", recipe_file, "--out", done, "--resume", "--seed", "1")
    assert (code, len(said)) == (2, 1)
    assert "(differs in recipe.seed)" in said[0]
    assert results(done) == before


def test_a_model_that_is_not_there_fails_its_cells(recipe_file: Path, tmp_path: Path, command: Command) -> None:
    """--model of a directory that is not there is exit code 3; every line names it."""
    code, out, said = command("--recipe", recipe_file, "--out", tmp_path / "out", "--model", tmp_path / "none")
    assert (code, out) == (3, "")
    assert said
    assert all(str(tmp_path / "none") in line for line in said)


SECRET = "hunter2"


def asked_of(url: str, recipe: Path, out: Path) -> list[str | Path]:
    """The command with a server whose address holds a secret."""
    return ["--recipe", recipe, "--out", out, "--endpoint", url.replace("://", f"://me:{SECRET}@"),
            "--endpoint-model", "m", "--resume"]  # fmt: skip


def counting(most: int) -> Server:
    """A server that writes a number and ends the line, ``most`` times; then it hangs up."""

    def answer(number: int, asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if number >= most:
            return 0, {}, b""
        choice = {"text": f" {asked['seed'] % 7}", "finish_reason": "stop"}
        return body({"choices": [choice], "usage": {"completion_tokens": 3}})

    return Server(answer)


def test_a_server_that_dies_loses_and_repeats_no_sample(recipe_file: Path, tmp_path: Path, command: Command) -> None:
    """It hangs up amid sampling: exit code 3 and lines that say so; with another one at another address, --resume asks
    only for batches that were not finished, ends as a run with one server does, and no file tells the secret.
    """
    out, whole = tmp_path / "out", tmp_path / "whole"
    dying, well, only = counting(40), counting(10**6), counting(10**6)
    with running(dying) as url:
        code, _, said = command(*asked_of(url, recipe_file, out), "--stages", "problems,sample")
    assert code == 3
    assert said
    assert all("no connection" in line for line in said)
    first = {path: path.read_bytes() for path in (out / "sample" / "shards").glob("[!.]*.parquet")}
    with running(well) as url:
        assert command(*asked_of(url, recipe_file, out))[0] == 0
    with running(only) as url:
        assert command(*asked_of(url, recipe_file, whole))[0] == 0
    assert first
    assert all(path.read_bytes() == content for path, content in first.items())
    attempts = pq.read_table(out / "sample" / "results.parquet").to_pylist()
    times = Counter((row["split"], row["problem_id"], row["sample"]) for row in attempts)
    assert (len(attempts), set(times.values())) == (80, {1})
    assert len(well.asked) == 80 - sum(pq.read_metadata(path).num_rows for path in first)
    assert results(out) == results(whole)
    texts = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in text for text in texts)


def test_a_server_of_another_model_is_refused(done: Path, recipe_file: Path, command: Command) -> None:
    """A run that was begun in this process is not gone on with by a server that calls its model something else."""
    with running(counting(10)) as url:
        code, _, said = command(*asked_of(url, recipe_file, done))
    assert (code, len(said)) == (2, 1)
    assert "(differs in recipe.endpoint.model)" in said[0]


def test_a_real_server_writes_the_attempts(model: Path, recipe_file: Path, tmp_path: Path, command: Command) -> None:
    """``transformers serve`` with the base: all stages are done, every attempt is there, and no stage but ``sample``
    asks the server.
    """
    out = tmp_path / "out"
    asked = ["--recipe", recipe_file, "--out", out, "--endpoint-model", str(model)]
    with served(model) as url:
        assert command(*asked, "--endpoint", url, "--stages", "problems,sample")[0] == 0
    code, text, said = command(*asked, "--resume", "--endpoint", "http://127.0.0.1:9/v1", "--format", "json")
    assert (code, said) == (0, [])
    assert json.loads(text)["pass_rates"]
    attempts = pq.read_table(out / "sample" / "results.parquet").to_pylist()
    assert len({(row["split"], row["problem_id"], row["sample"]) for row in attempts}) == len(attempts) == 80
    assert all(1 <= row["tokens"] <= 4 for row in attempts)


def test_the_figure_is_drawn_from_the_tables(done: Path, tmp_path: Path) -> None:
    """``python -m figures llama-math`` from the tables alone, as a PNG and an SVG with words for both axes."""
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("curves.parquet", "gaps.parquet", "manifest.json"):
        (kept / name).write_bytes((done / name).read_bytes())
    assert figures.main(["llama-math", "--results", str(kept), "--out", str(tmp_path / "drawn")]) == 0
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"llama-math.png", "llama-math.svg"}
    text = (tmp_path / "drawn" / "llama-math.svg").read_text()
    assert all(words in text for words in ("accuracy", "token budget", "training problems", "budget forcing"))
