"""Stage ``grade``: whether each attempt's final answer is the expected one; an unfinished attempt has none.

Equal answers of a problem get one spelling, by which votes are counted.
"""

from __future__ import annotations

from llm_validation.grading import Grader, Item, final_answer
from llm_validation.llama_math import sampled
from llm_validation.llama_math.bench import Bench, Cell
from llm_validation.llama_math.recipe import Recipe
from llm_validation.staged.cells import Done

__all__ = ["cells", "run"]


def cells(recipe: Recipe) -> list[Cell]:
    """The batches of ``sample``."""
    return sampled.cells(recipe)


def run(bench: Bench, cell: Cell) -> Done:
    """Grade a batch."""
    problems = {problem.problem_id: problem for problem in bench.problems(cell.set, cell.split)}
    rows = bench.sampled(cell)
    items = []
    for row in rows:
        problem = problems[row["problem_id"]]
        answer = None if row["truncated"] else final_answer(row["text"], problem.kind)
        items.append(Item(problem.answer, answer, problem.kind))
    with Grader(timeout=bench.recipe.grading_timeout) as grader:
        verdicts = grader.grade(items)
    return Done([
        {
            **cell.row(),
            "problem_id": row["problem_id"],
            "sample": row["sample"],
            "answer": verdict.canonical,
            "correct": verdict.correct,
            "reason": verdict.reason,
        }
        for row, verdict in zip(rows, verdicts, strict=True)
    ])  # fmt: skip
