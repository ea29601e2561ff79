r"""Problems with their expected answers: made here, from the hub, or from files in the layout of MATH or GSM8K.

================  ====================================================================================================
source            what it is
================  ====================================================================================================
``arithmetic``    :mod:`llm_validation.sampling.problems`: levels in turn, in the order of a seed
``gsm8k/SPLIT``   GSM8K from the hub, ``train`` or ``test``
``math/SPLIT``    MATH (Hendrycks and others) from the hub, ``train`` or ``test``
a file            ``.jsonl``, ``.jsonl.gz``, ``.json`` or ``.parquet``: rows with ``question`` and ``answer`` (the
                  number after ``####``) are GSM8K's, with ``problem`` and ``solution`` MATH's (``answer``, or what the
                  solution boxes; rows of MATH that box nothing, there are two, are left out)
================  ====================================================================================================

*Easiest first* is by ``effort`` (arithmetic: number of the level; GSM8K: steps of the reference solution; MATH: the
level, unknown ones last), then by the length of that solution, then by the question. Of an ordered list the problems at
even places may be held out and those at odd places trained on: two problems of one question are one problem, no problem
is on both sides, and the first ones of a side stay the same when more are asked for.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_validation.grading import final_answer
from llm_validation.staged.keys import ordered

__all__ = ["HUB", "Problem", "ProblemError", "arranged", "check_source", "read_problems", "sides"]

#: Source -> name of the data set on the hub, its configurations.
HUB: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "gsm8k": ("openai/gsm8k", ("main",)),
    "math": (
        "EleutherAI/hendrycks_math",
        (
            "algebra",
            "counting_and_probability",
            "geometry",
            "intermediate_algebra",
            "number_theory",
            "prealgebra",
            "precalculus",
        ),
    ),
}
_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet")
#: Effort of a MATH problem whose level is not known.
_UNKNOWN = 9
_COMPUTED = re.compile(r"<<[^<>]*>>")


class ProblemError(ValueError):
    """Problems that cannot be had; one line that names the source."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


@dataclass(frozen=True, slots=True)
class Problem:
    """One question. ``problem_id`` is of its content; ``kind`` is what the grader reads answers as."""

    problem_id: str
    level: str
    question: str
    answer: str
    kind: str
    effort: int
    length: int  # characters of the reference solution


def _id(source: str, question: str) -> str:
    return f"{source}:{hashlib.sha256(' '.join(question.split()).encode()).hexdigest()[:16]}"


def _is_on_hub(source: str) -> bool:
    name, _, split = source.partition("/")
    return name in HUB and split in ("train", "test")


def check_source(source: str) -> None:
    """Raises :class:`ProblemError` if it is none, or a file that is not there."""
    if source == "arithmetic" or _is_on_hub(source):
        return
    if not source.endswith(_SUFFIXES):
        known = ", ".join(("arithmetic", *(f"{name}/train, {name}/test" for name in HUB)))
        raise ProblemError(f"problems {source}: expected {known}, or a file that ends in {', '.join(_SUFFIXES)}")
    if not Path(source).is_file():
        raise ProblemError(f"problems {source}: cannot be read (no such file)")


def read_problems(source: str, seed: int = 0, say: Callable[[str], None] = lambda line: None) -> list[Problem]:
    """All problems of a source, each question once; ``say`` is told what was left out. Raises :class:`ProblemError`."""
    check_source(source)
    if source == "arithmetic":
        return _arithmetic(seed)
    rows = _from_hub(*source.split("/")) if _is_on_hub(source) else _from_file(Path(source))
    found: dict[str, Problem] = {}
    unanswered = 0
    for where, row in rows:
        problem = _problem(where, row)
        if problem is None:
            unanswered += 1
        else:
            found.setdefault(problem.problem_id, problem)
    if not found:
        raise ProblemError(f"problems {source}: none has an answer")
    if unanswered:
        say(f"problems {source}: {unanswered} without an answer left out")
    return list(found.values())


def _arithmetic(seed: int) -> list[Problem]:
    from llm_validation.sampling.problems import LEVELS, level_problems, make_problems
    from llm_validation.sampling.prompts import shot_questions

    shown = shot_questions()
    size = sum(found.question not in shown for level in LEVELS for found in level_problems(level))
    return [
        Problem(
            problem_id=found.problem_id,
            level=found.level,
            question=found.question,
            answer=str(found.answer),
            kind="number",
            effort=LEVELS.index(found.level),
            length=len(str(found.answer)),
        )
        for found in make_problems(size, seed, shown)
    ]


def _from_hub(name: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    from datasets import load_dataset

    where, parts = HUB[name]
    for part in parts:
        try:
            rows = load_dataset(where, part, split=split)
        except Exception as error:  # whatever the hub's client makes of no network, no such set, no disk
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ProblemError(f"problems {name}/{split}: {where} cannot be had from the hub ({reason})") from None
        yield from ((f"{where} {part} row {number}", dict(row)) for number, row in enumerate(rows, 1))


def _from_file(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with where they stand. Raises :class:`ProblemError`."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            rows = list(enumerate(pq.read_table(path).to_pylist(), 1))
        elif path.suffix == ".json":
            rows = list(enumerate(json.loads(path.read_text()), 1))
        else:
            rows = list(_lines(path))
    except (OSError, ValueError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ProblemError(f"problems {path}: cannot be read ({reason})") from None
    if not rows:
        raise ProblemError(f"problems {path}: is empty; expected at least one problem")
    for number, row in rows:
        if not isinstance(row, dict):
            raise ProblemError(f"problems {path} row {number}: {str(row)[:40]}, expected an object")
        yield f"{path} row {number}", row


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    raise ProblemError(f"problems {path} row {number}: no JSON ({error})") from None


def _problem(where: str, row: Mapping[str, Any]) -> Problem | None:
    """A row of either layout; None if it has no answer. Raises :class:`ProblemError`."""
    if isinstance(row.get("problem"), str) and isinstance(row.get("solution"), str):
        return _of_math(row)
    if isinstance(row.get("question"), str) and isinstance(row.get("answer"), str):
        return _of_gsm8k(where, row)
    raise ProblemError(f"problems {where}: has {', '.join(map(str, row))}; expected question and answer, or problem "
                       "and solution, as texts")  # fmt: skip


def _of_math(row: Mapping[str, Any]) -> Problem | None:
    answer = row.get("answer")
    if not isinstance(answer, str) or not answer.strip():
        answer = final_answer(row["solution"], "latex")
    if answer is None:
        return None
    level = str(row.get("level", "Level ?"))
    digits = "".join(filter(str.isdigit, level))
    question = row["problem"].strip()
    effort = int(digits) if digits else _UNKNOWN
    return Problem(_id("math", question), level, question, answer.strip(), "latex", effort, len(row["solution"]))


def _of_gsm8k(where: str, row: Mapping[str, Any]) -> Problem:
    solution, mark, after = row["answer"].rpartition("####")
    answer = final_answer(row["answer"], "gsm8k") if mark else None
    if answer is None:
        raise ProblemError(f"problems {where}: no number after #### in {after.strip()[:40]!r}")
    steps = len(_COMPUTED.findall(solution)) or len(solution.strip().splitlines())
    question = row["question"].strip()
    return Problem(_id("gsm8k", question), f"{steps} steps", question, answer, "gsm8k", steps, len(solution))


def arranged(problems: Sequence[Problem], order: str, seed: int) -> list[Problem]:
    """Problems in the order of a set: ``easiest`` first, ``drawn`` by the seed; arithmetic is drawn already."""
    if order == "easiest":
        return sorted(problems, key=lambda found: (found.effort, found.length, found.question))
    if problems and problems[0].kind == "number":
        return list(problems)
    by_id = sorted(problems, key=lambda found: found.problem_id)
    return [by_id[i] for i in ordered(len(by_id), seed, "problems")]


def sides(problems: Sequence[Problem], train: int, held_out: int) -> tuple[list[Problem], list[Problem]]:
    """So many problems to train on and others held out. Raises :class:`ProblemError` if there are too few."""
    of_train, of_held_out = list(problems[1::2]), list(problems[::2])
    for name, count, side in (("train", train, of_train), ("held_out", held_out, of_held_out)):
        if len(side) < count:
            raise ProblemError(f"sets.{name} = {count}: the source has {len(side)} for it")
    return of_train[:train], of_held_out[:held_out]
