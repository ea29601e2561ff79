"""What the model is shown: solved examples, then the question. An answer ends at the end of its line."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["MOST_SHOTS", "STOP", "prompt", "shot_questions"]

#: An answer is what comes before it.
STOP = "\n"

#: Question, answer. Stories are answered with their computation, so that the answer is the last number of the line.
_SHOTS: Sequence[tuple[str, str]] = (
    ("What is 2 + 5?", "7"),
    ("Lea has 4 pens and gets 2 more. How many pens does she have now?", "4 + 2 = 6"),
    ("What is 8 - 3?", "5"),
    ("What is 14 + 3?", "17"),
    ("What is 4 * 2?", "8"),
    ("A bag holds 5 balls. How many balls do 3 bags hold?", "5 * 3 = 15"),
    ("What is 47 - 12?", "35"),
    ("What is 31 + 25?", "56"),
)

MOST_SHOTS = len(_SHOTS)


def shot_questions() -> frozenset[str]:
    """Questions of the examples: no problem may be one of them."""
    return frozenset(question for question, _ in _SHOTS)


def prompt(question: str, shots: int) -> str:
    """The first ``shots`` examples and the question, up to where the answer begins."""
    solved = "".join(f"Question: {asked}\nAnswer: {answer}\n\n" for asked, answer in _SHOTS[:shots])
    return f"{solved}Question: {question}\nAnswer:"
