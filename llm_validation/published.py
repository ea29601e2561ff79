"""``python -m llm_validation.published``: published solutions, fine-tuning against verification, problem by problem.

The file is GSM8K's example model solutions: on each test problem one solution, and whether it is right, of a 6B and a
175B model, fine-tuned (VF) or picked by a verifier among samples of a fine-tuned one (VB).

* ``accuracies.parquet``: a row a size, method and number of steps of the reference solution;
* ``pairs.parquet``: a row a comparison and number of steps, second minus first;
* ``summary.json``: interactions of size and method, trends in the number of steps.

An empty ``steps`` stands for all problems. The mathematics is that of :mod:`llm_validation.model_pairs`.

Exit codes: 0 ok, 1 internal, 2 usage or a file that cannot be used, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theory.usage import OneLineParser

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llm_validation.moments import Interval
    from sim.store import Output

__all__ = ["SOURCE", "Solutions", "analysed", "main", "read_solutions"]

_PROG = "python -m llm_validation.published"

SOURCE = {
    "title": "GSM8K, example model solutions",
    "work": "Cobbe et al. 2021, Training Verifiers to Solve Math Word Problems, arXiv 2110.14168",
    "from": "https://github.com/openai/grade-school-math",
    "licence": "MIT",
}
SIZES = ("6b", "175b")
METHODS = ("finetuning", "verification")
#: Name -> (size, method) of what is first and what is second.
PAIRS = {
    "6B: verification - fine-tuning": (("6b", "finetuning"), ("6b", "verification")),
    "175B: verification - fine-tuning": (("175b", "finetuning"), ("175b", "verification")),
    "6B verification - 175B fine-tuning": (("175b", "finetuning"), ("6b", "verification")),
    "fine-tuning: 175B - 6B": (("6b", "finetuning"), ("175b", "finetuning")),
    "verification: 175B - 6B": (("6b", "verification"), ("175b", "verification")),
}
#: Problems of so many steps or more are one group.
MOST_STEPS = 7

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Solutions:
    """X problems: steps of the reference solution (X,), and by size and method right or not, (2, 2, X) as in the names.

    ``disagree`` and ``unanswered`` count, by size and method, labels that are not what comparing the texts of the final
    answers says, and solutions without one.
    """

    steps: NDArray[np.int64]
    right: NDArray[np.bool_]
    disagree: Mapping[str, int]
    unanswered: Mapping[str, int]


def read_solutions(path: Path) -> Solutions:
    """Read a JSONL or JSONL.gz file. Raises ``ValueError`` with one line that names the file and the row."""
    import numpy as np

    names = [f"{size}_{method}" for size in SIZES for method in METHODS]
    seen: dict[str, int] = {}
    steps: list[int] = []
    labels: list[list[bool]] = []
    disagree, unanswered = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for number, row in _rows(path):
        _check(f"{path} row {number}", row, names)
        if (first := seen.setdefault(row["question"], number)) != number:
            raise ValueError(f"{path} row {number}: question of row {first} again, expected each problem once")
        truth = _stated(row["ground_truth"])
        steps.append(len(row["ground_truth"].strip().splitlines()) - 1)
        labels.append([row[name]["is_correct"] for name in names])
        for name in names:
            answer = _stated(row[name]["solution"])
            unanswered[name] += answer is None
            disagree[name] += (answer is not None and answer == truth) != row[name]["is_correct"]
    if not steps:
        raise ValueError(f"{path}: holds no problem")
    right = np.array(labels, dtype=np.bool_).T.reshape(len(SIZES), len(METHODS), len(steps))
    return Solutions(np.array(steps, dtype=np.int64), right, disagree, unanswered)


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    import gzip

    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _parsed(f"{path} row {number}", line)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{path}: cannot be read ({reason})") from None


def _parsed(where: str, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: no JSON ({error})") from None


def _check(where: str, row: Any, names: Sequence[str]) -> None:
    """Raises ``ValueError`` unless the row has what is read of it."""
    texts = isinstance(row, dict) and all(isinstance(row.get(name), str) for name in ("question", "ground_truth"))
    if not texts:
        raise ValueError(f"{where}: expected an object with question and ground_truth as texts")
    for name in names:
        found = row.get(name)
        is_labelled = isinstance(found, dict) and isinstance(found.get("is_correct"), bool)
        if not is_labelled or not isinstance(found.get("solution"), str):
            raise ValueError(f"{where}: {name} expected with solution (text) and is_correct (true or false)")
    if len(row["ground_truth"].strip().splitlines()) < 2 or _stated(row["ground_truth"]) is None:
        raise ValueError(f"{where}: ground_truth expected to be steps, one a line, and a last line that begins with A:")


def _stated(text: str) -> str | None:
    """The final answer, on the last line after ``A:``, without thousands separators; None if there is none."""
    last = text.strip().rpartition("\n")[2]
    return last[2:].replace(",", "").strip() or None if last.startswith("A:") else None


# Analysis: plain rows.


def _groups(steps: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Label -> the problems of it; the empty one holds all."""
    import numpy as np

    found = {"": np.ones(steps.size, dtype=np.bool_)}
    for count in range(int(steps.min()), min(int(steps.max()) + 1, MOST_STEPS)):
        found[str(count)] = steps == count
    found[f"{MOST_STEPS}+"] = steps >= MOST_STEPS
    return {label: mine for label, mine in found.items() if mine.any()}


def _columns(name: str, found: Interval) -> Row:
    return {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}


def analysed(found: Solutions, seed: int = 0, level: float = 0.95) -> tuple[list[Row], list[Row], dict[str, Any]]:
    """Rows of accuracies, rows of pairs, and the summary."""
    from llm_validation.model_pairs import interaction, log_odds_interaction, trend

    in_odds = log_odds_interaction(found.right, seed, level)
    several = bool((found.steps != found.steps[0]).any())
    trends = {
        name: trend(_of(found, second).astype(float) - _of(found, first), found.steps, seed, level).as_dict()
        for name, (first, second) in PAIRS.items()
        if several
    }
    summary = {
        "source": SOURCE,
        "problems": int(found.steps.size),
        "level": level,
        "interaction": interaction(found.right, seed, level).as_dict(),
        "interaction_log_odds": in_odds and in_odds.as_dict(),
        "trend_by_step": trends,
        "labels_that_disagree_with_the_answers": dict(found.disagree),
        "solutions_without_answer": dict(found.unanswered),
    }
    return list(_accuracy_rows(found, level)), list(_pair_rows(found, seed, level)), summary


def _of(found: Solutions, which: tuple[str, str]) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = found.right[SIZES.index(which[0]), METHODS.index(which[1])]
    return right


def _accuracy_rows(found: Solutions, level: float) -> Iterator[Row]:
    from llm_validation.model_pairs import accuracy

    for label, mine in _groups(found.steps).items():
        for size in SIZES:
            for method in METHODS:
                right = _of(found, (size, method))[mine]
                place = {"size": size, "method": method, "steps": label, "problems": int(mine.sum())}
                yield {**place, "right": int(right.sum()), **_columns("accuracy", accuracy(right, level))}


def _pair_rows(found: Solutions, seed: int, level: float) -> Iterator[Row]:
    from llm_validation.model_pairs import paired

    for name, (first, second) in PAIRS.items():
        for label, mine in _groups(found.steps).items():
            pair = paired(_of(found, first)[mine], _of(found, second)[mine], seed, level)
            yield {
                "pair": name,
                "first": "_".join(first),
                "second": "_".join(second),
                "steps": label,
                "problems": int(mine.sum()),
                "both": pair.both,
                "only_first": pair.only_first,
                "only_second": pair.only_second,
                "neither": pair.neither,
                **_columns("difference", pair.difference),
                "p_value": pair.p_value,
            }


def _lines(accuracies: Sequence[Row], pairs: Sequence[Row], summary: Mapping[str, Any]) -> list[str]:
    said = [
        f"{SOURCE['title']} ({SOURCE['licence']}): {summary['problems']} problems, {summary['level']:.0%} intervals"
    ]
    for row in accuracies:
        if not row["steps"]:
            ends = f"{row['accuracy']:.3f} [{row['accuracy_low']:.3f}, {row['accuracy_high']:.3f}]"
            said.append(f"  {row['size']:>4} {row['method']:12} {ends}   {row['right']} right")
    for row in pairs:
        if not row["steps"]:
            ends = f"{row['difference']:+.3f} [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]"
            alone = f"{row['only_first']} by the first alone, {row['only_second']} by the second"
            said.append(f"  {row['pair']:35} {ends}   {alone}, p = {row['p_value']:.2g}")
    for name, unit in (("interaction", "accuracy"), ("interaction_log_odds", "log odds")):
        if (found := summary[name]) is not None:
            ends = f"{found['estimate']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
            said.append(f"  gain of verification at 175B minus that at 6B, {unit}: {ends}")
    return said


# The command.


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog=_PROG,
        description="Compares the published solutions to GSM8K, problem by problem: fine-tuning against verification, "
        "6B and 175B.",
    )
    add = parser.add_argument
    add("--solutions", type=Path, required=True, metavar="FILE", help="example_model_solutions.jsonl of GSM8K, or .gz")
    add("--out", type=Path, required=True, metavar="DIR", help="empty or new directory for tables and manifest")
    add("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    add("--level", type=float, default=0.95, help="of every interval (default 0.95)")
    add("--format", choices=("table", "json"), default="table", help="standard output (default table)")
    return parser


def _prepared(arguments: argparse.Namespace) -> Callable[[], int]:
    """The analysis that is asked for, to be called for the exit code. Raises ``ValueError``, having written nothing."""
    import hashlib

    if arguments.seed < 0:
        raise ValueError(f"--seed {arguments.seed}: expected a whole number of at least 0")
    if not 0.5 <= arguments.level < 1.0:
        raise ValueError(f"--level {arguments.level}: expected a number in [0.5, 1)")
    found = read_solutions(arguments.solutions)
    from sim.store import Output

    config = {
        "experiment": "published",
        "solutions": arguments.solutions.name,
        "sha256": hashlib.sha256(arguments.solutions.read_bytes()).hexdigest(),
        "source": SOURCE,
        "seed": arguments.seed,
        "level": arguments.level,
    }
    made_by = [f"llm_validation/{name}.py" for name in ("published", "model_pairs", "moments", "sample_bounds")]
    output = Output.open(arguments.out, config, resume=False, packages=made_by)
    return lambda: _run(output, found, arguments)


def _run(output: Output, found: Solutions, arguments: argparse.Namespace) -> int:
    import pyarrow as pa

    accuracies, pairs, summary = analysed(found, arguments.seed, arguments.level)
    for name, rows in (("accuracies", accuracies), ("pairs", pairs)):
        output.write_table(f"{name}.parquet", pa.Table.from_pylist(rows))
    output.write_json("summary.json", summary)
    output.finish("done")
    if arguments.format == "json":
        print(json.dumps({"accuracies": accuracies, "pairs": pairs, **summary}, allow_nan=False))
    else:
        print("\n".join(_lines(accuracies, pairs, summary)))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        try:
            job = _prepared(arguments)
        except ValueError as error:
            print(f"{_PROG}: {' '.join(str(error).splitlines())}", file=sys.stderr)
            return 2
        return job()
    except KeyboardInterrupt:
        print(f"{_PROG}: interrupted; run again with an empty --out", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
