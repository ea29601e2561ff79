"""A diagnosis on disk: ``diagnosis.json``, Parquet tables with one row a run, problem, margin or point, and the report.

==========================  ==========================================================================
table                       one row for each
==========================  ==========================================================================
``runs.parquet``            run: estimates with intervals, quartiles of s, the decision
``problems.parquet``        run and problem: samples, mean, sd, plug-in and bounds of c
``concentration.parquet``   run and margin epsilon
``curves.parquet``          run, method and N of test-time search
``prediction.parquet``      run and number of training traces n: bands of J(VF) and J(VB)
==========================  ==========================================================================

Tables are built from the plain data of the diagnosis; what is not known is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.store import Output

__all__ = ["tables", "write_diagnosis"]

Row = dict[str, Any]


def _ends(name: str, interval: Mapping[str, Any] | None) -> Row:
    """Three columns of an interval."""
    found = interval or {}
    return {name: found.get("estimate"), f"{name}_low": found.get("low"), f"{name}_high": found.get("high")}


def _named(run: Mapping[str, Any]) -> Row:
    return {"model": run["run"]["model"], "run_id": run["run"]["run_id"], "H": run["H"]}


def _run_row(run: Mapping[str, Any]) -> Row:
    estimates, decision = run["estimates"], run["decision"]
    q25, q50, q75 = run["spread"]["s_quartiles"]
    ends: Row = {}
    for name in ("mu", "sigma2", "sigma", "s"):
        ends |= _ends(name, estimates[name])
    return {
        **_named(run),
        "traces": run["traces"],
        "problems": run["problems"],
        **ends,
        "s_q25": q25,
        "s_q50": q50,
        "s_q75": q75,
        "constant_problems": run["spread"]["constant_problems"],
        "serious_findings": sum(finding["serious"] for finding in run["findings"]),
        "verdict": decision["verdict"],
        "n_star": decision["n_star"],
    }


def _problem_rows(run: Mapping[str, Any]) -> Iterator[Row]:
    columns = run["per_problem"]
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        yield {**_named(run), "problem_id": row.pop("name"), **row}


def _concentration_rows(run: Mapping[str, Any]) -> Iterator[Row]:
    block = run["concentration"]
    if block is None:
        return
    for i, epsilon in enumerate(block["epsilon"]):
        yield {
            **_named(run),
            "epsilon": epsilon,
            **_ends("c", block["mean"][i]),
            "least_low": block["least"][i],
            "least_plug_in": block["plug_in_least"][i],
            "quantile": block["lower_quantile"]["q"],
            "quantile_low": block["lower_quantile"]["low"][i],
        }


def _curve_rows(run: Mapping[str, Any]) -> Iterator[Row]:
    for point in run["curves"]:
        rest = {name: value for name, value in point.items() if name != "value"}
        yield {**_named(run), **rest, **_ends("value", point["value"])}


def _prediction_rows(run: Mapping[str, Any]) -> Iterator[Row]:
    for band in (run["prediction"] or {}).get("bands", ()):
        yield {**_named(run), **band}


def tables(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Row]]:
    """Name of each table -> its rows."""
    found: dict[str, list[Row]] = {"runs": [_run_row(run) for run in runs]}
    parts = {
        "problems": _problem_rows,
        "concentration": _concentration_rows,
        "curves": _curve_rows,
        "prediction": _prediction_rows,
    }
    for name, rows in parts.items():
        found[name] = [row for run in runs for row in rows(run)]
    return found


def write_diagnosis(output: Output, document: Mapping[str, Any], drawn: int | None = None) -> None:
    """All files of a diagnosis, each written whole or not at all; figures of the first ``drawn`` runs, None: of all."""
    import pyarrow as pa

    from llm_validation.report import write_report

    for name, rows in tables(document["runs"]).items():
        if rows:
            output.write_table(f"{name}.parquet", pa.Table.from_pylist(rows))
    output.write_json("diagnosis.json", document)
    write_report(document, output.path, drawn)
