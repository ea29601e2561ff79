"""What may import what, and what a command's help may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("theory", "sim", "llm_validation", "figures")
ALLOWED = {
    "theory": {"theory"},
    "sim": {"sim", "theory"},
    "llm_validation": {"llm_validation", "theory", "sim"},
    "figures": {"figures", "theory"},
}
COMMANDS = (
    "theory",
    "sim.sweep",
    "figures",
    "llm_validation.gpt2_planted",
    "llm_validation.published",
    "llm_validation.sampling",
    "llm_validation.trials",
)
HEAVY = ("jax", "sympy", "matplotlib", "torch", "scipy", "numpy", "pandas", "seaborn", "pyarrow")


def imported(path: Path) -> set[str]:
    """Top-level names of everything a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    """theory knows only mathematics, sim uses theory, figures reads results: never the other way."""
    for path in (ROOT / package).rglob("*.py"):
        ours = imported(path) & set(PACKAGES)
        assert ours <= ALLOWED[package], f"{path} imports {ours - ALLOWED[package]}"


def test_theory_knows_no_jax() -> None:
    """No module of theory imports jax, matplotlib or torch, except that the attacks of theory.falsify run in jax."""
    for path in (ROOT / "theory").rglob("*.py"):
        forbidden = {"jax", "matplotlib", "torch", "seaborn", "pyarrow"}
        if path.parent.name == "falsify":
            forbidden.remove("jax")
        assert not imported(path) & forbidden, path


def test_attacks_import_jax_only_inside_functions() -> None:
    """Importing theory.falsify costs no import of jax."""
    for path in (ROOT / "theory" / "falsify").glob("*.py"):
        top = ast.Module(
            [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)], []
        )
        names = {alias.name for node in ast.walk(top) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in ast.walk(top) if isinstance(node, ast.ImportFrom)}
        assert not any(name.partition(".")[0] == "jax" for name in names), path


@pytest.mark.parametrize("module", COMMANDS)
def test_help_is_immediate(module: str) -> None:
    """--help answers in less than 0.3 s (best of five)."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3


@pytest.mark.parametrize("module", COMMANDS)
def test_help_imports_nothing_heavy(module: str) -> None:
    """--help imports none of the numerical or plotting libraries."""
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{module!r}, '--help']\n"
        "try:\n"
        f"    runpy.run_module({module!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert stop.code == 0\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_subpackage_is_installed(package: str) -> None:
    """Packages are listed explicitly: none that has modules is missing from pyproject.toml."""
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    present = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / package).rglob("*.py")}
    assert present <= set(listed)
