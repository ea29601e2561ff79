from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sim.cells import SweepConfig
from sim.runner import run_cells
from sim.store import Output, StoreError

CONFIG = SweepConfig.checked("1..40", seeds=16)


def opened(path: Path, resume: bool = False, config: SweepConfig = CONFIG) -> Output:
    return Output.open(path, config.as_dict(), resume)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """A file appears under its name whole or not at all, and its temporary name is gone."""
    output = opened(tmp_path / "a")

    def half() -> None:
        with output.atomic("x.txt") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert {p.name for p in output.path.iterdir()} == {"manifest.json", "shards"}


def test_a_full_directory_is_refused_and_untouched(tmp_path: Path) -> None:
    """Without --resume a non-empty directory is refused, whatever is in it."""
    (tmp_path / "precious").write_text("x")
    with pytest.raises(StoreError, match="not empty"):
        opened(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]


def test_what_is_no_sweep_is_not_resumed(tmp_path: Path) -> None:
    """--resume on a directory of something else is refused and leaves it as it was."""
    (tmp_path / "precious").write_text("x")
    with pytest.raises(StoreError, match=r"manifest\.json"):
        opened(tmp_path, resume=True)
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("name", ["config", "code", "versions"])
def test_other_work_is_not_mixed_in(tmp_path: Path, name: str) -> None:
    """Another configuration, other code or other versions are refused, and the message says which."""
    path = opened(tmp_path / "a").path
    manifest = json.loads((path / "manifest.json").read_text())
    manifest[name] = {"other": 1}
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match=f"another {name}"):
        opened(path, resume=True)


def test_a_strangers_files_are_never_removed(tmp_path: Path) -> None:
    """Files of others, also with names like our temporary ones, are refused or kept, never deleted."""
    (tmp_path / "shards").mkdir()
    mine = tmp_path / "shards" / ".tmp-mine"
    mine.write_text("x")
    (tmp_path / ".tmp-dir").mkdir()
    with pytest.raises(StoreError, match="not empty"):
        opened(tmp_path)
    assert mine.exists()


@pytest.mark.parametrize("text", ["[]", "{", ""])
def test_a_broken_manifest_is_refused(tmp_path: Path, text: str) -> None:
    """--resume needs a manifest that is an object."""
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match="manifest"):
        opened(tmp_path, resume=True)


def test_a_name_too_long_is_refused(tmp_path: Path) -> None:
    """What the file system refuses is one line, not a traceback."""
    with pytest.raises(StoreError, match=r"\A[^\n]+\Z"):
        opened(tmp_path / ("a" * 300))


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    """--out that names a file, or lies below one, is refused."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="directory"):
            opened(path)


def test_leftovers_of_a_killed_start_do_not_count(tmp_path: Path) -> None:
    """A directory that holds only temporary files is empty, and they are removed."""
    (tmp_path / ".tmp-123-manifest.json").write_text("{")
    opened(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"manifest.json", "shards"}


@pytest.mark.parametrize("damage", ["truncate", "garbage", "remove", "fewer rows", "fewer columns"])
def test_a_damaged_shard_is_computed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    """A missing, cut, overwritten or incomplete shard gives the same numbers again; damage is said on stderr."""
    import pyarrow.parquet as pq

    output = opened(tmp_path / "a")
    whole = run_cells(CONFIG.cells(), CONFIG.seeds, output, lambda done: None)
    shard = sorted((output.path / "shards").iterdir())[0]
    if damage == "truncate":
        shard.write_bytes(shard.read_bytes()[:100])
    elif damage == "garbage":
        shard.write_bytes(b"not parquet at all")
    elif damage == "remove":
        shard.unlink()
    elif damage == "fewer rows":
        pq.write_table(pq.read_table(shard).slice(0, 5), shard)
    else:
        pq.write_table(pq.read_table(shard).drop_columns(["mle_hit"]), shard)
    capsys.readouterr()
    again = run_cells(CONFIG.cells(), CONFIG.seeds, opened(output.path, resume=True), lambda done: None)
    assert ("computed again" in capsys.readouterr().err) == (damage != "remove")
    np.testing.assert_array_equal(np.stack(whole), np.stack(again))


def test_finished_shards_are_read_not_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resuming a finished run samples nothing."""
    output = opened(tmp_path / "a")
    run_cells(CONFIG.cells(), CONFIG.seeds, output, lambda done: None)
    monkeypatch.setattr("sim.runner.collapsed_evidence", None)
    run_cells(CONFIG.cells(), CONFIG.seeds, output, lambda done: None)
