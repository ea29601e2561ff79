"""The stages by name, in the order in which they run; each names its module, its needs and its part of the recipe."""

from __future__ import annotations

from llm_validation.staged.stages import Experiment, Stage

__all__ = ["EXPERIMENT", "STAGES"]

_PACKAGE = "llm_validation.gpt2_planted"


def _stage(name: str, room: str, needs: tuple[str, ...], sections: tuple[str, ...]) -> Stage:
    return Stage(name, f"{_PACKAGE}.{room}", needs, sections)


#: Every stage after those it needs.
STAGES = (
    _stage("data", "data", (), ("seed", "task", "grid", "base")),
    _stage("base", "base", ("data",), ("network", "base", "device")),
    _stage("measure", "measure", ("data", "base"), ("measure",)),
    _stage("vf", "cloning", ("base", "measure"), ("vf",)),
    _stage("verifier", "labelling", ("base", "measure"), ("verifier",)),
    _stage("rl", "reinforcement", ("base", "verifier"), ("rl",)),
    _stage("best-of-n", "search", ("measure", "verifier"), ("best_of_n",)),
    _stage("evaluate", "evaluation", ("base", "vf", "rl", "verifier"), ("evaluate",)),
)

EXPERIMENT = Experiment(
    prog=f"python -m {_PACKAGE}",
    stages=STAGES,
    bench=f"{_PACKAGE}.bench:Bench",
    libraries=("torch", "transformers", "trl", "accelerate", "datasets", "tokenizers"),
)
