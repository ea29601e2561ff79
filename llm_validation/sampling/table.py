r"""One row a trace, in the long layout that :mod:`llm_validation.reading` reads, and what the rows say in short.

==============  ==============================================================================================
column          meaning
==============  ==============================================================================================
``problem_id``  the problem, by its content; ``level``, ``question`` and ``expected`` belong to it
``sample``      number of the trace among those of its problem, from 0
``text``        what the model wrote, up to the end of the line
``answer``      the last number of the text; null if it has none or was cut off
``correct``     whether that is the expected one; null if the trace failed
``tokens``      all that were written, the one that ended the answer included: from it on the answer is given
``truncated``   whether the budget ended before the answer did
``score``       mean log-probability of the trace's tokens at temperature 1, nats a token
``error``       why there is no trace; null
``model``       and ``run_id``: traces of one pair are diagnosed together
==============  ==============================================================================================

A trace cut off at the budget H has no answer, even if its text ends in the right number, and its return at H is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm_validation.sampling.backend import Generation
from llm_validation.sampling.grading import final_number
from llm_validation.sampling.problems import Problem

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["COLUMNS", "as_table", "summary", "trace_row"]

#: Name of each column -> its type in Arrow.
COLUMNS: Mapping[str, str] = {
    "problem_id": "string",
    "level": "string",
    "question": "string",
    "expected": "string",
    "sample": "int32",
    "text": "string",
    "answer": "string",
    "correct": "bool",
    "tokens": "int32",
    "truncated": "bool",
    "score": "float64",
    "error": "string",
    "model": "string",
    "run_id": "string",
}

Row = dict[str, Any]


def trace_row(problem: Problem, sample: int, found: Generation, model: str, run_id: str) -> Row:
    """The row of one trace."""
    failed = found.error is not None
    answer = None if failed or found.truncated else final_number(found.text)
    return {
        "problem_id": problem.problem_id,
        "level": problem.level,
        "question": problem.question,
        "expected": str(problem.answer),
        "sample": sample,
        "text": None if failed else found.text,
        "answer": answer,
        "correct": None if failed else answer == str(problem.answer),
        "tokens": None if failed else found.tokens,
        "truncated": None if failed else found.truncated,
        "score": None if failed else found.score,
        "error": found.error,
        "model": model,
        "run_id": run_id,
    }


def as_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as an Arrow table with the columns of :data:`COLUMNS`."""
    import pyarrow as pa

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    return pa.Table.from_pylist(list(rows), schema=schema)


def summary(table: pa.Table, seed: int) -> dict[str, Any]:
    """Counts, and pass rates: of all problems and of each level, with intervals over problems, and their spread.

    A pass rate is the share of a problem's traces that are right within the budget; traces that failed are left out,
    and so are problems without any other.
    """
    import numpy as np

    rates: dict[str, dict[str, list[bool]]] = {}
    for level, problem, correct in zip(
        *(table[c].to_pylist() for c in ("level", "problem_id", "correct")), strict=True
    ):
        if correct is not None:
            rates.setdefault(level, {}).setdefault(problem, []).append(correct)
    levels = {
        level: np.array([sum(c) / len(c) for c in found.values()], dtype=np.float64) for level, found in rates.items()
    }
    everything = np.concatenate([*levels.values(), np.zeros(0)])
    tokens = table["tokens"].drop_null().to_numpy()
    return {
        "traces": table.num_rows,
        "failed": table["error"].drop_null().length(),
        "truncated": sum(table["truncated"].drop_null().to_pylist()),
        "without_number": sum(
            answer is None and cut is False
            for answer, cut in zip(table["answer"].to_pylist(), table["truncated"].to_pylist(), strict=True)
        ),
        "mean_tokens": float(tokens.mean()) if tokens.size else None,
        "all": _of_rates(everything, seed),
        "levels": {level: _of_rates(values, seed) for level, values in levels.items()},
    }


def _of_rates(rates: Any, seed: int) -> dict[str, Any]:
    import numpy as np

    from llm_validation.moments import bootstrap_mean

    quartiles = np.quantile(rates, [0.0, 0.25, 0.5, 0.75, 1.0]).tolist() if rates.size else None
    return {
        "problems": int(rates.size),
        "pass_rate": bootstrap_mean(rates, seed, 0.95, 0.0, 1.0).as_dict(),
        "quartiles": quartiles,  # least, 25%, 50%, 75%, largest
        "never": int((rates == 0.0).sum()),
        "always": int((rates == 1.0).sum()),
    }
