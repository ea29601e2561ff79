r"""The final answer of a solution, as text.

========== ==========================================================================================================
kind       the final answer
========== ==========================================================================================================
``number`` the last number of the text (:mod:`llm_validation.sampling.grading`)
``gsm8k``  the first number after the last ``####``; without one the first after the last "answer is"; without either
           the last number of the text
``latex``  what the last ``\boxed`` or ``\fbox`` holds; without one what stands after the last "answer is", to the end
           of its sentence; without either the last ``$..$``
========== ==========================================================================================================

A box whose braces are not closed holds nothing.
"""

from __future__ import annotations

import re

from llm_validation.sampling.grading import final_number, first_number

__all__ = ["KINDS", "final_answer"]

KINDS = ("number", "gsm8k", "latex")

_BOX = re.compile(r"\\(?:boxed|fbox)\s*")
_STATED = re.compile(r"answer\s+is:?\s*", re.IGNORECASE)
_INLINE = re.compile(r"\$([^$]+)\$")
#: Ends the sentence of a stated answer: a full stop that is no decimal point, or the end of the line.
_SENTENCE = re.compile(r"\.(?=\s|$)|\n")


def final_answer(text: str, kind: str) -> str | None:
    """The stated final answer of a solution; None if there is none. Raises ``KeyError`` for an unknown kind."""
    return _READERS[kind](text)


def _gsm8k(text: str) -> str | None:
    _, mark, after = text.rpartition("####")
    if mark:
        return first_number(after)
    stated = _after_stated(text)
    return first_number(stated) if stated is not None else final_number(text)


def _latex(text: str) -> str | None:
    boxes = list(_BOX.finditer(text))
    if boxes:
        return _held(text, boxes[-1].end())
    stated = _after_stated(text)
    if stated is not None:
        found = _SENTENCE.split(stated, maxsplit=1)[0].strip().strip("$").strip()
        return found or None
    inline = _INLINE.findall(text)
    return inline[-1].strip() or None if inline else None


def _held(text: str, start: int) -> str | None:
    """What the braces that open at ``start`` hold; a box without braces holds the next token."""
    if text[start : start + 1] != "{":
        word = text[start:].split(maxsplit=1)
        return word[0].strip("$.,") or None if word else None
    depth = 0
    for place in range(start, len(text)):
        if text[place] in "{}" and text[place - 1 : place] != "\\":
            depth += 1 if text[place] == "{" else -1
            if not depth:
                return text[start + 1 : place].strip() or None
    return None


def _after_stated(text: str) -> str | None:
    found = None
    for found in _STATED.finditer(text):  # noqa: B007
        pass
    return text[found.end() :] if found else None


_READERS = {"number": final_number, "gsm8k": _gsm8k, "latex": _latex}
