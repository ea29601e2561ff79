r"""Accuracy at token and FLOP budgets of everything that was trained, problem by problem.

At budget H tokens (``currency = tokens``) a clone's trace is right if the attempt that counts at H is: its last one if
the text ended by then (``vf``), or the last that was complete by then (``vf-forced``). The base's attempts are worth
what :mod:`.budgets` says of H tokens: picked by a learnt verifier (``best-of-n``, ``weighted-vote``), by their answers
(``majority``) or by the truth (``oracle``).

With ``currency = flops`` the base gets what a clone's trace of H tokens takes at most on that problem: the question
read, H tokens written. Of it the base reads its longer prompt once for all attempts, writes, and a verifier reads every
attempt with its question, which is what the attempt costs. The tokens of a clone are the same in either currency.

A row is the mean over held-out problems; its interval is over problems, of means over seeds (``problems_low``,
``problems_high``), and over seeds (``seeds_low``, ``seeds_high``, Student's) where training is by seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.llama_math.bench import HELD_OUT, Attempt, Bench
from llm_validation.llama_math.budgets import Pool, worth
from llm_validation.llama_math.compute import Shape
from llm_validation.llama_math.evaluated import CLONE, VERIFIER
from llm_validation.llama_math.prompts import prompt

__all__ = ["CURRENCIES", "LEARNT", "Curves", "Key", "curves_of", "of_method"]

Floats = NDArray[np.float64]
CURRENCIES = ("tokens", "flops")
#: Method -> the rule by which a verifier picks.
LEARNT = {"best-of-n": "score", "weighted-vote": "weighted"}
_UNTAUGHT = ("majority", "oracle")


@dataclass(frozen=True, slots=True)
class Key:
    """A curve: method, number of training problems and seed (0 where nothing is trained), currency of the budget."""

    method: str
    n: int
    seed: int
    currency: str


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Values by curve, (problems, budgets); ``exhausted`` likewise, where a pool of attempts is picked from."""

    horizons: tuple[int, ...]
    values: Mapping[Key, Floats]
    exhausted: Mapping[Key, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """Of one held-out problem: attempts, tokens of the base's prompt and of the bare question, tokens of attempts."""

    attempts: Sequence[Attempt]
    shown: int
    bare: int
    lengths: Sequence[int]  # of the attempts as the verifier reads them


def curves_of(bench: Bench, shape: Shape) -> Curves:
    """All curves of a finished run."""
    recipe = bench.recipe
    horizons = recipe.grid.horizons
    problems = bench.problems(recipe.trained.name, HELD_OUT)
    number = {problem.problem_id: i for i, problem in enumerate(problems)}
    values = dict(_clones(bench.rows("evaluate"), number, horizons))
    exhausted: dict[Key, Floats] = {}
    asked = _asked(bench)
    scores = _scores(bench.rows("evaluate"), number)
    for currency in CURRENCIES:
        for rule in _UNTAUGHT:
            key = Key(rule, 0, 0, currency)
            values[key], exhausted[key] = _worth(asked, None, rule, currency, horizons, shape)
        for (n, seed), of_problem in scores.items():
            for method, rule in LEARNT.items():
                key = Key(method, n, seed, currency)
                values[key], exhausted[key] = _worth(asked, of_problem, rule, currency, horizons, shape)
    return Curves(horizons, values, exhausted)


def _asked(bench: Bench) -> list[_Asked]:
    trained, words = bench.recipe.trained, bench.base
    attempts = bench.attempts(trained.name, HELD_OUT)
    found = []
    for problem in bench.problems(trained.name, HELD_OUT):
        shown, bare = (len(words.prompt_ids(prompt(problem, shots), trained.chat)) for shots in (trained.shots, 0))
        mine = attempts[problem.problem_id]
        found.append(_Asked(mine, shown, bare, [bare + len(words.ids(attempt.text)) + 1 for attempt in mine]))
    return found


def _worth(
    asked: Sequence[_Asked],
    scores: Sequence[Floats] | None,
    rule: str,
    currency: str,
    horizons: Sequence[int],
    shape: Shape,
) -> tuple[Floats, Floats]:
    values, exhausted = [], []
    for i, problem in enumerate(asked):
        score = np.zeros(len(problem.attempts)) if scores is None else scores[i]
        cost = np.array([float(attempt.tokens) for attempt in problem.attempts])
        budgets = [float(H) for H in horizons]
        if currency == "flops":
            cost = np.array([float(shape.written(problem.shown, attempt.tokens)) for attempt in problem.attempts])
            if scores is not None:
                cost += np.array([float(shape.judged(length)) for length in problem.lengths])
            first = shape.read(problem.shown)
            budgets = [float(shape.read(problem.bare) + shape.written(problem.bare, H) - first) for H in horizons]
        names: dict[str | None, int] = {None: -1}
        answer = [names.setdefault(attempt.answer, len(names) - 1) for attempt in problem.attempts]
        right = np.array([float(attempt.correct) for attempt in problem.attempts])
        found = worth(Pool(cost, right, score, np.array(answer, dtype=np.int64)), budgets, rule, seed=i)
        values.append(found.value)
        exhausted.append(found.exhausted)
    return np.array(values), np.array(exhausted)


def _scores(rows: Sequence[Mapping[str, Any]], number: Mapping[str, int]) -> dict[tuple[int, int], list[Floats]]:
    """(n, seed) -> scores of each problem's attempts, in the order of samples."""
    found: dict[tuple[int, int], list[list[float]]] = {}
    for row in rows:
        if row["arm"] == VERIFIER:
            of_problem = found.setdefault((row["n"], row["seed"]), [[] for _ in number])
            of_problem[number[row["problem_id"]]].append(row["score"])
    return {key: [np.array(scores) for scores in of_problem] for key, of_problem in found.items()}


def _clones(
    rows: Sequence[Mapping[str, Any]], number: Mapping[str, int], horizons: Sequence[int]
) -> Iterator[tuple[Key, Floats]]:
    """Share of a problem's traces that are right at each budget, (problems, budgets)."""
    traces: dict[tuple[int, int], dict[tuple[int, int], list[Mapping[str, Any]]]] = {}
    for row in rows:
        if row["arm"] == CLONE:
            of_clone = traces.setdefault((row["n"], row["seed"]), {})
            of_clone.setdefault((number[row["problem_id"]], row["sample"]), []).append(row)
    for (n, seed), of_clone in traces.items():
        for method, right_at in (("vf", _right_at_end), ("vf-forced", _right_if_forced)):
            sums, counts = np.zeros((len(number), len(horizons))), np.zeros(len(number))
            for (problem, _), attempts in of_clone.items():
                sums[problem] += [right_at(attempts, H) for H in horizons]
                counts[problem] += 1
            for currency in CURRENCIES:
                yield Key(method, n, seed, currency), sums / counts[:, None]


def _right_at_end(attempts: Sequence[Mapping[str, Any]], H: int) -> float:
    """Whether the text ended by itself within H tokens, its last attempt right."""
    return float(any(row["ended"] and row["round"] == 0 and row["tokens"] <= H and row["correct"] for row in attempts))


def _right_if_forced(attempts: Sequence[Mapping[str, Any]], H: int) -> float:
    """Whether the last attempt that is complete within H tokens is right."""
    complete = [row for row in attempts if row["complete"] and row["tokens"] <= H]
    return float(bool(complete) and max(complete, key=lambda row: row["attempt"])["correct"])


def of_method(curves: Curves, method: str, currency: str) -> dict[tuple[int, int], Floats]:
    """(n, seed) -> values of a method, (problems, budgets)."""
    return {
        (key.n, key.seed): found
        for key, found in curves.values.items()
        if (key.method, key.currency) == (method, currency)
    }
