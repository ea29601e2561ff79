"""Which files a module is made of, against what Python loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sim.sources import sources_of

ROOT = Path(__file__).resolve().parents[2]
#: Imports a module, and prints the files of ours that are then loaded.
_LOADED = """
import importlib, json, sys
from pathlib import Path
importlib.import_module(sys.argv[1])
root = Path.cwd()
files = [Path(m.__file__) for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
ours = ("theory", "sim", "llm_validation", "figures")
print(json.dumps(sorted(str(f.relative_to(root)) for f in files
                        if f.is_relative_to(root) and f.relative_to(root).parts[0] in ours)))
"""


def loaded(module: str) -> set[str]:
    """Files of this repository that importing ``module`` loads in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _LOADED, module], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_contains_the_module_itself() -> None:
    """A module is one of its own sources."""
    assert "sim/sources.py" in sources_of("sim.sources")


def test_a_module_that_imports_nothing_of_ours_is_alone() -> None:
    """``sim.sources`` imports the standard library only."""
    assert sources_of("sim.sources") == ("sim/sources.py",)


def test_imports_of_imports_are_found() -> None:
    """The planted traces import the planted task, which imports its law, which imports statements."""
    found = sources_of("sim.tasks.planted_traces")
    assert {"sim/tasks/planted.py", "theory/planted.py", "theory/theorem.py"} <= set(found)
    assert "from sim.tasks.planted import" in (ROOT / "sim/tasks/planted_traces.py").read_text()
    assert "theory.theorem" not in (ROOT / "sim/tasks/planted_traces.py").read_text()


def test_what_is_not_imported_is_not_found() -> None:
    """The planted traces know of no experiment, no sweep and nothing above ``sim``."""
    found = sources_of("sim.tasks.planted_traces")
    assert not [path for path in found if path.startswith(("llm_validation/", "figures/", "sim/experiments/"))]
    assert "sim/sweep.py" not in found


def test_imports_inside_functions_are_found() -> None:
    """The sweep's report is imported when it runs, not before: it is a source all the same."""
    assert "sim/report.py" in set(sources_of("sim.sweep")) - loaded("sim.sweep")


def test_several_modules_are_the_union_in_order() -> None:
    """Sources of two modules are those of either, each once, sorted."""
    both = sources_of("sim.store", "theory.planted")
    assert set(both) == set(sources_of("sim.store")) | set(sources_of("theory.planted"))
    assert list(both) == sorted(set(both))


def test_every_source_is_a_file() -> None:
    """Paths are from the root of the repository, and there."""
    assert all((ROOT / path).is_file() for path in sources_of("llm_validation.gpt2_planted.evaluation"))


def is_only_docstring(path: str) -> bool:
    """Whether a file holds nothing that runs: a docstring, and ``from __future__ import`` at most."""
    docstring, *rest = ast.parse((ROOT / path).read_text()).body
    is_text = isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)
    return is_text and all(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in rest)


@pytest.mark.parametrize(
    "module", ["theory.planted", "sim.tasks.planted_traces", "llm_validation.gpt2_planted.evaluation"]
)
def test_everything_that_python_loads_is_found(module: str) -> None:
    """All files that an import loads are sources, except ``__init__`` files that are a docstring and nothing else."""
    missing = loaded(module) - set(sources_of(module))
    assert [path for path in missing if not path.endswith("__init__.py") or not is_only_docstring(path)] == []


@pytest.mark.parametrize("module", ["numpy", "sim.nothing", "os.path", "sim.sources.sources_of"])
def test_a_module_that_is_not_ours_is_refused(module: str) -> None:
    """Modules of others, and names that are no module, are refused with one line."""
    with pytest.raises(ValueError, match=rf"module {module}: expected one of this repository\Z"):
        sources_of(module)
