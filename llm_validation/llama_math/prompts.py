r"""What the base is asked, and where an attempt ends.

Arithmetic is asked as in :mod:`llm_validation.sampling.prompts`: an attempt is one line. GSM8K and MATH are asked to
reason and to end with ``####`` and the number, or with the answer in ``\boxed``; worked examples, if any, are our own.
An attempt ends where the model ends its text, or begins a question of its own. The trained copies are shown the same
without examples.
"""

from __future__ import annotations

from collections.abc import Sequence

from llm_validation.llama_math.problems import Problem
from llm_validation.sampling import prompts as arithmetic

__all__ = ["MOST_SHOTS", "prompt", "stop_of"]

#: Kind -> what is asked for.
_ASKED = {
    "gsm8k": "Solve the problem step by step. End with #### and the number.",
    "latex": r"Solve the problem step by step. End with the answer in \boxed{}.",
}
_SHOTS: dict[str, Sequence[tuple[str, str]]] = {
    "gsm8k": (
        (
            "A baker fills 3 trays with 12 rolls each and sells 20 rolls. How many rolls are left?",
            "3 trays of 12 rolls are 3 * 12 = 36 rolls. After 20 are sold, 36 - 20 = 16 are left.\n#### 16",
        ),
        (
            "Mia reads 15 pages a day. Her book has 90 pages. In how many days has she read half of it?",
            "Half of the book is 90 / 2 = 45 pages. At 15 pages a day that takes 45 / 15 = 3 days.\n#### 3",
        ),
        (
            "Two tickets cost $18 together. How much do 5 tickets cost?",
            "One ticket costs 18 / 2 = 9 dollars. Five cost 5 * 9 = 45 dollars.\n#### 45",
        ),
        (
            "A tank holds 50 litres. It is half full, and 8 litres are taken out. How many litres are in it?",
            "Half of 50 litres is 50 / 2 = 25 litres. Without 8 of them, 25 - 8 = 17 litres are left.\n#### 17",
        ),
    ),
    "latex": (
        (
            "What is the value of $2^4 - 3^2$?",
            r"We have $2^4 = 16$ and $3^2 = 9$, so $2^4 - 3^2 = 16 - 9 = \boxed{7}$.",
        ),
        (
            "Solve $3x + 5 = 20$ for $x$.",
            r"Subtracting 5 gives $3x = 15$, and dividing by 3 gives $x = \boxed{5}$.",
        ),
        (
            r"Simplify $\frac{18}{24}$.",
            r"Both are divisible by 6, so $\frac{18}{24} = \boxed{\frac{3}{4}}$.",
        ),
        (
            "What is the area of a rectangle with sides 7 and 3?",
            r"The area is the product of the sides, $7 \cdot 3 = \boxed{21}$.",
        ),
    ),
}
#: Examples there are, by kind.
MOST_SHOTS = {"number": arithmetic.MOST_SHOTS, **{kind: len(shots) for kind, shots in _SHOTS.items()}}
_NEXT = "\n\nProblem:"


def prompt(problem: Problem, shots: int) -> str:
    """Examples and the question, up to where an attempt begins; no more examples than there are of the kind."""
    if problem.kind == "number":
        return arithmetic.prompt(problem.question, min(shots, arithmetic.MOST_SHOTS))
    shown = "".join(f"Problem: {asked}\nSolution: {answer}\n\n" for asked, answer in _SHOTS[problem.kind][:shots])
    return f"{_ASKED[problem.kind]}\n\n{shown}Problem: {problem.question}\nSolution:"


def stop_of(kind: str) -> str:
    """The text that ends an attempt beside the model's own end of text."""
    return arithmetic.STOP if kind == "number" else _NEXT
