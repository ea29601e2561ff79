"""The stages of the Llama experiment with a random Llama of a few thousand weights: what each does, kills, report."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from killed_runs import Killed
from llm_validation.grading import final_answer
from llm_validation.llama_math import cloned, evaluated, labelled
from llm_validation.llama_math.bench import HELD_OUT, TRAIN, Bench, Cell
from llm_validation.llama_math.budgets import Pool, worth
from llm_validation.llama_math.compute import Shape
from llm_validation.llama_math.curves import Curves, Key, curves_of
from llm_validation.llama_math.model import load_base, load_copy, load_verifier, padded, scores
from llm_validation.llama_math.prompts import prompt
from llm_validation.llama_math.recipe import Recipe, read_recipe
from llm_validation.llama_math.report import Report, lines, report
from llm_validation.llama_math.stages import EXPERIMENT, STAGES
from llm_validation.sampling import tiny
from llm_validation.sampling.backend import Request, Sampling, request_seed
from llm_validation.sampling.transformers_backend import TransformersBackend
from llm_validation.staged.cells import CellError
from llm_validation.staged.pipeline import Run
from sim.store import StoreError

SMALL = """
threads = 1
batch = 48
[model]
source = "{model}"
[[sets]]
name = "sums"
source = "arithmetic"
train = 8
held_out = 6
samples = 60
held_out_samples = 20
horizon = 4
shots = 0
[[sets]]
name = "others"
source = "arithmetic"
held_out = 2
held_out_samples = 2
horizon = 3
[grid]
horizons = [6, 20]
n = [4, 8]
seeds = 2
[stitch]
most = 2
joiner = "\\nNo:"
budget = 20
[sft]
epochs = 2
most_steps = 4
batch = 4
learning_rate = 1e-2
lora_rank = 2
checks = 2
[verifier]
epochs = 1
most_steps = 4
batch = 16
learning_rate = 1e-2
lora_rank = 2
checks = 2
[evaluate]
samples = 2
batch = 8
"""


@pytest.fixture(scope="module", autouse=True)
def unchanged_torch() -> Iterator[None]:
    """Cells ask torch for deterministic algorithms on one thread; other modules' tests did not."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small recipe as a file, its model beside it."""
    folder = tmp_path_factory.mktemp("recipe")
    model = tiny.write(folder / "tiny")
    path = folder / "small.toml"
    path.write_text(SMALL.format(model=model))
    return path


def run_all(out: Path, recipe: Recipe) -> list[Any]:
    """All stages in this process."""
    run = Run(EXPERIMENT, Bench(out, recipe), 1, math.inf)
    return [run.stage(found, resume=(out / found.name).exists()) for found in STAGES]


def tables(out: Path) -> dict[str, bytes]:
    """Bytes of every stage's table and of the digests of its files."""
    return {
        f"{found.name}/{name}": (out / found.name / name).read_bytes()
        for found in STAGES
        for name in ("results.parquet", "files.json")
    }


@pytest.fixture(scope="module")
def bench(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    recipe = read_recipe(str(recipe_file))
    assert all(done.is_done for done in run_all(out, recipe))
    return Bench(out, recipe)


def shards(out: Path, name: str) -> list[Path]:
    return sorted((out / name / "shards").glob("[!.]*.parquet"))


def test_a_run_killed_anywhere_ends_with_the_same_tables(recipe_file: Path, bench: Bench, tmp_path: Path) -> None:
    """Killed (SIGKILL) amid every stage and resumed each time: all tables and digests are those of an undisturbed run,
    and no shard that was finished was written again.
    """
    out = tmp_path / "out"
    moments: list[Callable[[], bool]] = [
        lambda: (out / "problems" / "manifest.json").exists(),
        lambda: len(shards(out, "sample")) >= 3,
        lambda: len(shards(out, "grade")) >= 2,
        lambda: len(shards(out, "stitch")) >= 1,
        lambda: len(shards(out, "sft")) >= 1,
        lambda: len(shards(out, "verifier")) >= 2,
        lambda: len(shards(out, "evaluate")) >= 3,
    ]
    kept: dict[Path, int] = {}
    package = "llm_validation.llama_math"
    with Killed(f"{package}.stages", f"{package}.recipe", ("trl.trainer.sft_trainer", "peft"), recipe_file) as killed:
        for moment in moments:
            assert killed.run(out, moment) == -signal.SIGKILL
            assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
            kept = {path: path.stat().st_mtime_ns for found in STAGES for path in shards(out, found.name)}
        assert killed.run(out) == 0
    assert tables(out) == tables(bench.out)
    assert len(kept) >= 20


def test_every_attempt_is_there_once(bench: Bench) -> None:
    """Each problem of each split has its samples 0, 1, .., and no other."""
    for found in bench.recipe.sets:
        for split, count in ((TRAIN, found.samples), (HELD_OUT, found.held_out_samples)):
            attempts = bench.attempts(found.name, split)
            assert set(attempts) == {problem.problem_id for problem in bench.problems(found.name, split)}
            assert all([one.sample for one in mine] == list(range(count)) for mine in attempts.values())


def test_sides_share_no_problem(bench: Bench) -> None:
    """What is trained on is not evaluated on."""
    sides = [{problem.problem_id for problem in bench.problems("sums", split)} for split in (TRAIN, HELD_OUT)]
    assert [len(side) for side in sides] == [8, 6]
    assert not sides[0] & sides[1]


def test_attempts_are_those_of_the_base(bench: Bench) -> None:
    """By the prompt of the set and a seed of problem and sample alone."""
    (problem,) = bench.problems("sums", HELD_OUT)[2:3]
    backend = TransformersBackend(bench.base.model, bench.base.words)
    seed = request_seed(0, "attempt", bench.recipe.model.source, "sums", problem.problem_id, 3)
    (found,) = backend.generate([Request(prompt(problem, 0), seed)], Sampling(1.0, 4, "\n"))
    attempt = bench.attempts("sums", HELD_OUT)[problem.problem_id][3]
    assert (attempt.text, attempt.tokens, attempt.truncated) == (found.text, found.tokens, found.truncated)


def test_unfinished_attempts_are_never_answers(bench: Bench) -> None:
    """Even where the text that was cut off ends in the right number; finished ones are graded by their last number."""
    seen = Counter[bool]()
    for split in (TRAIN, HELD_OUT):
        for problem in bench.problems("sums", split):
            for one in bench.attempts("sums", split)[problem.problem_id]:
                answer = None if one.truncated else final_answer(one.text, "number")
                assert (one.answer, one.correct) == (answer, answer == problem.answer)
                seen[one.truncated] += 1
    assert min(seen.values()) > 0


def stitched(bench: Bench, n: int, seed: int) -> list[dict[str, Any]]:
    return [row for row in bench.rows("stitch") if (row["n"], row["seed"]) == (n, seed)]


def test_smaller_data_are_part_of_larger(bench: Bench) -> None:
    """The problems of n = 4 are the first of n = 8, with the same traces; another seed has another order."""
    columns = ("problem_id", "text", "tokens")
    small, large, other = (
        [tuple(row[name] for name in columns) for row in stitched(bench, *key)] for key in ((4, 0), (8, 0), (8, 1))
    )
    assert small == large[:4]
    assert [row[0] for row in large] != [row[0] for row in other]
    assert {row[0] for row in large} == {row[0] for row in other}


def test_traces_end_with_a_right_attempt_within_the_budget(bench: Bench) -> None:
    """Of each problem with a right finished attempt; its pieces are finished attempts at that problem."""
    answers = {problem.problem_id: problem.answer for problem in bench.problems("sums", TRAIN)}
    texts = 0
    for row in stitched(bench, 8, 0):
        mine = [one for one in bench.attempts("sums", TRAIN)[row["problem_id"]] if not one.truncated]
        assert (row["text"] is not None) == any(one.correct for one in mine)
        if row["text"] is None:
            continue
        texts += 1
        *wrong, right = row["text"].split(bench.recipe.stitch.joiner)
        assert final_answer(right, "number") == answers[row["problem_id"]]
        assert {*wrong, right} <= {one.text for one in mine}
        assert row["tokens"] == len(bench.base.ids(row["text"])) + 1 <= bench.recipe.stitch.budget
        assert row["wrong_stitched"] == len(wrong) <= bench.recipe.stitch.most
    assert texts >= 2


def largest(bench: Bench, name: str) -> tuple[Cell, dict[str, Any]]:
    """The cell with the most data of seed 0, and its row."""
    (row,) = (row for row in bench.rows(name) if (row["n"], row["seed"]) == (8, 0))
    return Cell(n=8, seed=0), row


def test_the_clones_loss_is_that_of_its_traces_kept_aside(bench: Bench) -> None:
    """``validation_loss``: mean negative log-likelihood of the first trace and its end, by the copy on disk."""
    cell, row = largest(bench, "sft")
    clone = load_copy(bench.base, bench.file("sft", cell), bench.digest("sft", cell))
    traces = cloned._traces(bench, cell)
    assert row["traces"] == len(traces) >= 2
    (given, learnt), *_ = traces
    ids = torch.tensor([[*given, *learnt]])
    with torch.inference_mode():
        log_p = torch.log_softmax(clone.model(input_ids=ids).logits[0, :-1].double(), dim=-1)
    each = log_p[range(len(ids[0]) - 1), ids[0, 1:]][len(given) - 1 :]
    assert learnt[-1] == bench.base.end
    assert row["validation_loss"] == pytest.approx(-float(each.mean()), rel=1e-4)


def test_fewer_than_two_traces_leave_the_base(bench: Bench, tmp_path: Path) -> None:
    """No step, and logits of the base."""
    alone = [{**row, "text": None if i else row["text"]} for i, row in enumerate(bench.rows("stitch"))]
    mine = dataclasses.replace(bench, out=tmp_path)
    for name in ("problems", "sample", "grade"):
        (tmp_path / name).symlink_to(bench.out / name)
    (tmp_path / "stitch").mkdir()
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist(alone), tmp_path / "stitch" / "results.parquet")
    cell = Cell(n=8, seed=1)
    done = cloned.run(mine, cell)
    assert (done.rows[0]["traces"], done.rows[0]["steps"]) == (0, 0)
    clone = load_copy(bench.base, mine.file("sft", cell), done.digest)
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        one, other = (words.model(input_ids=ids).logits for words in (clone, bench.base))
    torch.testing.assert_close(one, other)


def test_the_verifiers_loss_is_that_of_problems_kept_aside(bench: Bench) -> None:
    """Cross-entropy of its probabilities on all attempts at the first problem; it saw those at all eight."""
    cell, row = largest(bench, "verifier")
    verifier = load_verifier(bench.base, bench.file("verifier", cell), bench.digest("verifier", cell))
    (kept,) = bench.chosen(8, 0)[:1]
    attempts = bench.attempts("sums", TRAIN)[kept.problem_id]
    read = [labelled.read_by_verifier(bench.base, kept, one, False) for one in attempts]
    p = scores(verifier, read, bench.base.end, 7)
    y = np.array([float(one.correct) for one in attempts])
    assert row["validation_loss"] == pytest.approx(float(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean()), rel=1e-4)
    assert row["attempts"] == 8 * 60
    everything = [one for mine in bench.attempts("sums", TRAIN).values() for one in mine]
    assert row["right"] == sum(one.correct for one in everything) > 0


def test_scores_do_not_depend_on_the_company(bench: Bench) -> None:
    """Each sequence alone, or padded beside longer ones."""
    cell, _ = largest(bench, "verifier")
    verifier = bench.verifier(cell)
    read = [[5] * length for length in (1, 9, 4)]
    alone = [float(scores(verifier, [ids], bench.base.end, 1)[0]) for ids in read]
    assert scores(verifier, read, bench.base.end, 3).tolist() == pytest.approx(alone, rel=1e-5)


def test_padding_is_behind() -> None:
    """Sequences begin at the left; the last token of each is told."""
    found = padded([[1, 2, 3], [4]], 9)
    assert found.ids.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert found.mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert found.last.tolist() == [2, 0]


def evaluated_rows(bench: Bench, arm: str, n: int = 8, seed: int = 0) -> list[dict[str, Any]]:
    return [row for row in bench.rows("evaluate") if (row["arm"], row["n"], row["seed"]) == (arm, n, seed)]


def traces_of(bench: Bench) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Problem and sample -> rows of a clone's trace."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in evaluated_rows(bench, evaluated.CLONE):
        found.setdefault((row["problem_id"], row["sample"]), []).append(row)
    return found


def test_every_clone_writes_every_trace_once(bench: Bench) -> None:
    """Two for each held-out problem; attempts are numbered, end later and later, and never beyond the budget."""
    found = traces_of(bench)
    ids = {problem.problem_id for problem in bench.problems("sums", HELD_OUT)}
    assert set(found) == {(name, sample) for name in ids for sample in range(2)}
    for rows in found.values():
        assert [row["attempt"] for row in rows] == list(range(len(rows)))
        assert all(a["tokens"] <= b["tokens"] for a, b in itertools.pairwise(rows))
        assert rows[-1]["tokens"] <= 20
        assert all(row["complete"] for row in rows[:-1])
        assert not any(row["correct"] or row["answer"] for row in rows if not row["complete"])


def test_a_forced_trace_begins_with_the_clones_own(bench: Bench) -> None:
    """Round 0 is what the clone writes by itself: tokens, end and attempts, from the same random numbers."""
    clone = bench.clone(Cell(n=8, seed=0))
    backend = TransformersBackend(clone.model, clone.words)
    answers = {problem.problem_id: problem for problem in bench.problems("sums", HELD_OUT)}
    ended = Counter[bool]()
    for (name, sample), rows in traces_of(bench).items():
        request = Request(prompt(answers[name], 0), request_seed(0, "clone", 8, 0, name, sample, 0))
        (own,) = backend.generate([request], Sampling(1.0, 20, ""))
        first = [row for row in rows if row["round"] == 0]
        assert len(first) == own.text.count(bench.recipe.stitch.joiner) + 1
        assert (first[-1]["tokens"], first[-1]["ended"]) == (own.tokens, not own.truncated)
        if first[-1]["ended"]:
            last = final_answer(own.text.split(bench.recipe.stitch.joiner)[-1], "number")
            assert first[-1]["correct"] == (last == answers[name].answer)
        ended[first[-1]["ended"]] += 1
    assert ended[True] > 0


def test_budgets_are_forced_to_their_end(bench: Bench) -> None:
    """A trace goes on after its end as long as the joiner and a token more fit, and stops at the budget."""
    length = len(bench.base.ids(bench.recipe.stitch.joiner))
    rounds = 0
    for rows in traces_of(bench).values():
        assert rows[-1]["tokens"] == 20 or (rows[-1]["ended"] and rows[-1]["tokens"] + length >= 20)
        rounds = max(rounds, rows[-1]["round"])
    assert rounds >= 1


def test_an_attempt_is_complete_where_its_joiner_begins(bench: Bench) -> None:
    """The least number of tokens whose text reaches beyond the attempt, by looking at all of them."""
    words, joiner = bench.base, "\nNo:"
    text = "12\nNo:3 + 4 = 7.\nNo:\nNo:5"
    ids = words.ids(text)
    pieces = text.split(joiner)
    found = list(evaluated.ends_of_attempts(words, ids, pieces, joiner))
    expected, place = [], 0
    for piece in pieces[:-1]:
        place += len(piece)
        expected.append(next(t for t in range(1, len(ids) + 1) if len(words.text(ids[:t])) > place))
        place += len(joiner)
    assert found == expected
    assert len(set(found)) == len(found) == 3


def test_equal_attempts_have_equal_scores(bench: Bench) -> None:
    """A verifier's score of every held-out attempt, a function of problem and text."""
    rows = evaluated_rows(bench, evaluated.VERIFIER)
    attempts = bench.attempts("sums", HELD_OUT)
    assert [(row["problem_id"], row["sample"]) for row in rows] == [
        (problem.problem_id, one.sample)
        for problem in bench.problems("sums", HELD_OUT)
        for one in attempts[problem.problem_id]
    ]
    verifier = bench.verifier(Cell(n=8, seed=0))
    problems = {problem.problem_id: problem for problem in bench.problems("sums", HELD_OUT)}
    for row in rows[:5]:
        one = attempts[row["problem_id"]][row["sample"]]
        ids = labelled.read_by_verifier(bench.base, problems[row["problem_id"]], one, False)
        assert row["score"] == pytest.approx(float(scores(verifier, [ids], bench.base.end, 1)[0]), rel=1e-5)


# Curves and report


@pytest.fixture(scope="module")
def curves(bench: Bench) -> Curves:
    """All curves."""
    return curves_of(bench, Shape.of(bench.base.model.config.to_dict()))


def test_a_clones_accuracy_is_counted_by_hand(bench: Bench, curves: Curves) -> None:
    """At each budget: the own end within it with a right last attempt; forced, the last complete attempt right."""
    names = [problem.problem_id for problem in bench.problems("sums", HELD_OUT)]
    for i, H in enumerate(curves.horizons):
        own, forced = np.zeros(6), np.zeros(6)
        for (name, _), rows in traces_of(bench).items():
            ends = [row for row in rows if row["round"] == 0 and row["ended"] and row["tokens"] <= H]
            own[names.index(name)] += 0.5 * bool(ends and ends[0]["correct"])
            complete = [row for row in rows if row["complete"] and row["tokens"] <= H]
            forced[names.index(name)] += 0.5 * bool(complete and complete[-1]["correct"])
        for currency in ("tokens", "flops"):
            np.testing.assert_allclose(curves.values[Key("vf", 8, 0, currency)][:, i], own)
            np.testing.assert_allclose(curves.values[Key("vf-forced", 8, 0, currency)][:, i], forced)


def test_search_is_worth_what_its_pool_is(bench: Bench, curves: Curves) -> None:
    """At equal tokens an attempt costs its tokens, at equal FLOPs the writing and, if one is asked, the verifier."""
    shape = Shape.of(bench.base.model.config.to_dict())
    (problem,) = bench.problems("sums", HELD_OUT)[1:2]
    attempts = bench.attempts("sums", HELD_OUT)[problem.problem_id]
    score = np.array(
        [row["score"] for row in evaluated_rows(bench, "verifier") if row["problem_id"] == problem.problem_id]
    )
    names: dict[str | None, int] = {None: -1}
    answer = np.array([names.setdefault(one.answer, len(names) - 1) for one in attempts])
    right = np.array([float(one.correct) for one in attempts])
    asked = len(bench.base.ids(prompt(problem, 0)))
    written = [shape.written(asked, one.tokens) for one in attempts]
    judged = [shape.judged(asked + len(bench.base.ids(one.text)) + 1) for one in attempts]
    budgets = [float(shape.written(asked, H)) for H in curves.horizons]
    cases = {
        ("best-of-n", "tokens", "score"): ([one.tokens for one in attempts], [6.0, 20.0]),
        ("best-of-n", "flops", "score"): (np.add(written, judged), budgets),
        ("oracle", "flops", "oracle"): (written, budgets),
    }
    for (method, currency, rule), (cost, of_budget) in cases.items():
        pool = Pool(np.array(cost, dtype=np.float64), right, score, answer)
        key = Key(method, 0 if method == "oracle" else 8, 0, currency)
        np.testing.assert_allclose(curves.values[key][1], worth(pool, of_budget, rule, seed=1).value)


@pytest.fixture(scope="module")
def found(bench: Bench) -> Report:
    """The report."""
    return report(bench)


def test_the_report_has_every_curve_at_every_budget(found: Report) -> None:
    """Four trained methods at two n, two untaught ones, two currencies and budgets; each once."""
    keys = [(row["method"], row["currency"], row["n"], row["horizon"]) for row in found.curves]
    assert len(set(keys)) == len(keys) == (4 * 2 + 2) * 2 * 2
    assert all(row["problems_low"] <= row["accuracy"] <= row["problems_high"] for row in found.curves)


def test_gaps_are_differences_of_accuracies(found: Report) -> None:
    """Best-of-N minus clone at the same place; better where the interval leaves out 0."""
    accuracy = {(r["method"], r["currency"], r["n"], r["horizon"]): r["accuracy"] for r in found.curves}
    for row in found.gaps:
        place = (row["currency"], row["n"], row["horizon"])
        assert row["gap"] == pytest.approx(accuracy["best-of-n", *place] - accuracy[row["vf"], *place], abs=1e-12)
        assert row["better"] == ("vb" if row["gap_low"] > 0 else "vf" if row["gap_high"] < 0 else "")


def test_pass_rates_are_means_over_problems(bench: Bench, found: Report) -> None:
    """Of every set and split, all levels and each; counts of unfinished attempts and of answers that are none."""
    (row,) = (r for r in found.rates if (r["set"], r["split"], r["level"]) == ("sums", TRAIN, ""))
    attempts = bench.attempts("sums", TRAIN).values()
    assert row["pass_rate"] == pytest.approx(np.mean([np.mean([one.correct for one in mine]) for mine in attempts]))
    assert row["unfinished"] == sum(one.truncated for mine in attempts for one in mine)
    assert sum(r["problems"] for r in found.rates if (r["set"], r["split"]) == ("sums", TRAIN)) == 2 * row["problems"]


def test_the_summary_is_plain_data(found: Report) -> None:
    """JSON without NaN: the base's diagnosis in tokens and answers, a row a verifier, slopes, fits."""
    text = json.dumps(found.summary, allow_nan=False)
    assert json.loads(text)["diagnosis"]["sums"]["tokens"]["H"] == 4
    assert found.summary["diagnosis"]["others"]["answers"]["problems"] == 2
    assert [(row["n"], row["seed"]) for row in found.summary["verifiers"]] == [(4, 0), (4, 1), (8, 0), (8, 1)]
    assert {row["axis"] for row in found.summary["slopes"]} == {"horizon", "n"}


def test_the_text_says_what_was_found(found: Report) -> None:
    """Pass rates of every set, a line a curve, verdicts, slopes."""
    text = "\n".join(lines(found))
    for word in ("sums", "others", "best-of-n", "vf-forced", "oracle", "no difference seen", "slope of"):
        assert word in text


# What cannot be


def test_another_recipe_is_refused(bench: Bench, tmp_path: Path) -> None:
    """A stage made with other settings is refused in one line; stages that do not depend on them are gone on with."""
    shutil.copytree(bench.out, tmp_path / "o")
    changed = dataclasses.replace(bench.recipe, sft=dataclasses.replace(bench.recipe.sft, epochs=3))
    run = Run(EXPERIMENT, Bench(tmp_path / "o", changed), 1, math.inf)
    assert run.stage(EXPERIMENT.stage("verifier"), resume=True).is_done
    with pytest.raises(StoreError, match=r"made by another config \(differs in recipe\.sft\.epochs\)"):
        run.stage(EXPERIMENT.stage("sft"), resume=True)


def test_a_model_that_is_none_is_one_line(bench: Bench) -> None:
    """A directory without a model, a name that is none."""
    for source in (str(bench.out), "no such thing"):
        recipe = dataclasses.replace(bench.recipe, model=dataclasses.replace(bench.recipe.model, source=source))
        with pytest.raises(CellError, match=r"\Amodel.source = .*: cannot be loaded") as caught:
            load_base(recipe)
        assert "\n" not in str(caught.value)


def test_a_corrupt_copy_is_one_line(bench: Bench, tmp_path: Path) -> None:
    """A byte of the weights is another: said with the file, not used."""
    shutil.copytree(bench.out, tmp_path / "o")
    mine = Bench(tmp_path / "o", bench.recipe)
    cell = Cell(n=8, seed=0)
    file = next(mine.file("sft", cell).glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(CellError, match="corrupt checkpoint") as caught:
        mine.clone(cell)
    assert "\n" not in str(caught.value)


def test_too_few_problems_fail_their_set(bench: Bench, tmp_path: Path) -> None:
    """The cell of the set says how many there are."""
    path = tmp_path / "few.json"
    path.write_text(json.dumps([{"question": f"{i}?", "answer": f"#### {i}"} for i in range(5)]))
    sets = tuple(dataclasses.replace(one, source=str(path)) if one.train else one for one in bench.recipe.sets)
    mine = Bench(tmp_path / "o", dataclasses.replace(bench.recipe, sets=sets))
    report_of = Run(EXPERIMENT, mine, 1, math.inf).stage(EXPERIMENT.stage("problems"), resume=False)
    (line,) = report_of.failed
    assert "set sums: sets.train = 8: the source has 2 for it" in line
