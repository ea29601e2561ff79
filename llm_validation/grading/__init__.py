"""Whether a final answer is the expected one: ``answers`` finds it in a text, ``grader`` compares it in a worker."""

from __future__ import annotations

from llm_validation.grading.answers import KINDS, final_answer
from llm_validation.grading.grader import Grader, Item, Verdict

__all__ = ["KINDS", "Grader", "Item", "Verdict", "final_answer"]
