"""``python -m llm_validation.diagnose compare FIRST SECOND``: two runs on the same problems, paired."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_validation.usage import PROG, add_reading, one_run, shown
from theory.usage import OneLineParser

__all__ = ["prepared"]


def prepared(argv: Sequence[str]) -> Callable[[], int]:
    """The comparison that is asked for, to be called for the exit code. Raises ``ValueError`` with one line."""
    parser = OneLineParser(
        prog=f"{PROG} compare",
        description="Compare two runs on the problems that both have: SECOND minus FIRST, at one H.",
    )
    parser.add_argument("first", type=Path, metavar="FIRST", help="traces of one run")
    parser.add_argument("second", type=Path, metavar="SECOND", help="traces of the other, perhaps the same file")
    parser.add_argument("--first-run", metavar="LABEL", help="the run of FIRST whose label contains this")
    parser.add_argument("--second-run", metavar="LABEL", help="the run of SECOND whose label contains this")
    add_reading(parser.add_argument)
    arguments = parser.parse_args(argv)
    first = one_run(arguments.first, "FIRST", arguments, arguments.first_run)
    second = one_run(arguments.second, "SECOND", arguments, arguments.second_run)
    if first.has_tokens != second.has_tokens:
        raise ValueError("SECOND: tokens are known of one file and not of the other: expected the same, or --answers")
    horizon = arguments.horizon or max(first.longest, second.longest)
    if horizon < 1:
        raise ValueError(f"--horizon {horizon}: expected a whole number of at least 1")
    if not 0.5 <= arguments.level < 1.0:
        raise ValueError(f"--level {arguments.level}: expected a number in [0.5, 1)")

    paths = (arguments.first, arguments.second)

    def job() -> int:
        from llm_validation.diagnosis import plain
        from llm_validation.paired import compare

        found = plain(compare(first, second, horizon, arguments.seed, arguments.level).as_dict())
        labels = [str(traces.groups[0]) for traces in (first, second)]
        if labels[0] == labels[1]:
            labels = [f"{label} of {path}" for label, path in zip(labels, paths, strict=True)]
        named = {"first": labels[0], "second": labels[1], **found}
        print(json.dumps(named, allow_nan=False) if arguments.format == "json" else "\n".join(_lines(named)))
        return 0

    return job


def _lines(found: Mapping[str, Any]) -> list[str]:
    unit = "tokens" if found["H"] > 1 else "answers"
    return [
        f"{found['second']}  MINUS  {found['first']}   at H = {found['H']} for both",
        f"  {found['problems']} problems in both; {found['only_first']} only in the first, "
        f"{found['only_second']} only in the second; {found['censored']} traces cut off, {found['left_out']} left out",
        f"  mean return               {shown(found['mean'])} {unit}",
        f"  share solved              {shown(found['solved'])}",
        f"  sigma^2                   {shown(found['variance'])} {unit}^2",
        f"  probability of improvement {shown(found['improvement'])}",
        f"  resamples with the second ahead {found['positive']:.3f}, behind {found['negative']:.3f}",
    ]
