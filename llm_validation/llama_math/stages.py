"""The stages by name, in the order in which they run; each names its module, its needs and its part of the recipe."""

from __future__ import annotations

from llm_validation.staged.stages import Experiment, Stage

__all__ = ["EXPERIMENT", "STAGES"]

_PACKAGE = "llm_validation.llama_math"


def _stage(name: str, room: str, needs: tuple[str, ...], sections: tuple[str, ...]) -> Stage:
    return Stage(name, f"{_PACKAGE}.{room}", needs, sections)


#: Every stage after those it needs.
STAGES = (
    _stage("problems", "problem_sets", (), ("seed", "sets")),
    _stage("sample", "sampled", ("problems",), ("model", "endpoint", "device", "threads", "batch")),
    _stage("grade", "graded", ("problems", "sample"), ("grading_timeout",)),
    _stage("stitch", "stitched", ("problems", "sample", "grade"), ("grid", "stitch")),
    _stage("sft", "cloned", ("problems", "stitch"), ("model", "device", "threads", "sft")),
    _stage("verifier", "labelled", ("problems", "sample", "grade"), ("model", "device", "threads", "grid", "verifier")),
    _stage("evaluate", "evaluated", ("problems", "sample", "grade", "sft", "verifier"), ("evaluate",)),
)

EXPERIMENT = Experiment(
    prog=f"python -m {_PACKAGE}",
    stages=STAGES,
    bench=f"{_PACKAGE}.bench:Bench",
    libraries=("torch", "transformers", "trl", "accelerate", "datasets", "tokenizers", "peft", "gguf", "math-verify"),
)
