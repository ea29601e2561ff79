"""Figures of the named experiments: what is in the table is drawn, with bounds only where they are valid."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from figures.__main__ import main
from figures.curves import CURVES

AXES = {"task": "a", "mixture": "m", "accounting": "tokens", "base": "b", "learner": "l"}


def rows(name: str, methods: int = 3) -> list[dict[str, Any]]:
    """Five points of every quantity that is drawn; the first method has bounds, the second a prediction."""
    curves = CURVES[name]
    return [
        {
            **{axis: AXES[axis] for axis in curves.panels_by},
            curves.x: 2.0**i,
            "quantity": quantity,
            "method": f"method-{method}",
            "mean": 1.0 + i + method,
            "se": 0.1,
            "bound_lower": 0.5,
            "bound_upper": 9.0 + i,
            "bound_lower_valid": method == 0 and i < 3,
            "bound_upper_valid": method == 0,
            "prediction": 2.0 if method == 1 else math.nan,
        }
        for quantity in " ".join(curves.quantities).split()
        for method in range(methods)
        for i in range(5)
    ]


def stored(directory: Path, name: str, table: list[dict[str, Any]]) -> Path:
    """A directory as an experiment leaves it, as far as the figure reads it."""
    directory.mkdir()
    pq.write_table(pa.table({key: [row[key] for row in table] for key in table[0]}), directory / "results.parquet")
    config = {"experiment": name, "seed": 3, "seeds": 64, "horizon": "16..64"}
    (directory / "manifest.json").write_text(json.dumps({"config": config}))
    return directory


@pytest.mark.parametrize("name", CURVES)
def test_every_experiment_has_its_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """PNG and SVG with every method, the bounds, the prediction and the setting; settings of matplotlib left alone."""
    before = dict(mpl.rcParams)
    results = stored(tmp_path / "r", name, rows(name))
    assert main([name, "--results", str(results), "--out", str(tmp_path / "o")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "o" / f"{name}.{kind}") for kind in ("png", "svg")]
    text = (tmp_path / "o" / f"{name}.svg").read_text()
    for word in ("method-0", "method-2", "lower bound", "upper bound", "prediction, not proved here", "64 data sets"):
        assert word in text
    changed = {key for key in before if before[key] != mpl.rcParams[key]}
    assert changed <= {"backend", "backend_fallback", "interactive"}


def test_what_is_not_drawn_is_not_in_the_key(tmp_path: Path) -> None:
    """Without valid bounds or predictions the key does not speak of them."""
    table = [
        {**row, "bound_lower_valid": False, "bound_upper_valid": False, "prediction": math.nan} for row in rows("kappa")
    ]
    results = stored(tmp_path / "r", "kappa", table)
    assert main(["kappa", "--results", str(results)]) == 0
    text = (results / "kappa.svg").read_text()
    assert "method-1" in text
    assert "bound" not in text
    assert "prediction" not in text


def test_many_methods_look_different(tmp_path: Path) -> None:
    """Twenty methods are told apart by colour, mark and filling."""
    from figures.curves import _look

    assert len({_look(number) for number in range(20)}) == 20
    results = stored(tmp_path / "r", "kappa", rows("kappa", methods=20))
    assert main(["kappa", "--results", str(results)]) == 0
    assert "method-19" in (results / "kappa.svg").read_text()


def test_the_same_table_gives_the_same_svg(tmp_path: Path) -> None:
    """Byte for byte."""
    drawn = []
    for number in range(2):
        results = stored(tmp_path / str(number), "label-noise", rows("label-noise"))
        assert main(["label-noise", "--results", str(results)]) == 0
        drawn.append((results / "label-noise.svg").read_bytes())
    assert drawn[0] == drawn[1]
