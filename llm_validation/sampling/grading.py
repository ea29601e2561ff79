"""The answer of a text: its last number, in one spelling, so that equal answers are equal texts.

Digits are never made into a machine number: an answer of any length is read. A minus sign counts if nothing that it
could be subtracted from stands before it. ``1/2`` is two numbers.
"""

from __future__ import annotations

import re

__all__ = ["final_number", "first_number"]

_NUMBER = re.compile(r"(?:(?<![\w)\].])[-\u2212])?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?")


def final_number(text: str) -> str | None:
    """The last number of ``text`` as a plain decimal (``-7``, ``1234``, ``0.5``); None if there is none."""
    last = None
    for last in _NUMBER.finditer(text):  # noqa: B007
        pass
    return _plain(last.group()) if last else None


def first_number(text: str) -> str | None:
    """The first number of ``text`` as a plain decimal; None if there is none."""
    found = _NUMBER.search(text)
    return _plain(found.group()) if found else None


def _plain(number: str) -> str:
    digits = number.replace("\u2212", "-").replace(",", "")
    negative = digits.startswith("-")
    whole, _, fraction = digits.lstrip("-").partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    value = f"{whole}.{fraction}" if fraction else whole
    return f"-{value}" if negative and value != "0" else value
