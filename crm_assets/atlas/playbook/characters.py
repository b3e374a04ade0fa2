"""Character sets as bit masks: the characters that a part of a regular expression can match.

A mask has one bit for each ASCII character and one for each kind of other characters. It contains every
character that the part matches, ignoring case; it may contain more. So two parts whose masks share no bit
never match the same character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["ANY", "SIZE", "mask"]

_ASCII = 128
_DIGIT, _WORD, _SPACE, _OTHER = (1 << (_ASCII + kind) for kind in range(4))
_FOREIGN = _DIGIT | _WORD | _SPACE | _OTHER
SIZE = _ASCII + 4
"""Number of bits of a mask."""
ANY = (1 << SIZE) - 1
"""Every character."""


def _matching(pattern: str) -> int:
    """Return the mask of the ASCII characters that `pattern` matches."""
    return sum(1 << code for code in range(_ASCII) if re.fullmatch(pattern, chr(code)))


_CATEGORIES = {
    "CATEGORY_DIGIT": _matching(r"\d") | _DIGIT,
    "CATEGORY_WORD": _matching(r"\w") | _DIGIT | _WORD,
    "CATEGORY_SPACE": _matching(r"\s") | _SPACE,
}
_CATEGORIES |= {name.replace("_", "_NOT_", 1): ANY & ~bits for name, bits in _CATEGORIES.items()}

_LOWER = sum(1 << code for code in range(ord("a"), ord("z") + 1))
_UPPER = sum(1 << code for code in range(ord("A"), ord("Z") + 1))
_SHIFT = ord("a") - ord("A")
# Ignoring case, the Kelvin sign matches k, the long s matches s, and two Turkish letters match i.
_FOREIGN_IN_ASCII = sum(1 << ord(letter) for letter in "kKsSiI")


def mask(name: str, value: Any) -> int:
    """Return the mask of one item of a parsed pattern.

    Args:
        name: its opcode: LITERAL, NOT_LITERAL, ANY or IN.
        value: its argument from the parser.
    """
    if name == "LITERAL":
        return _any_case(_character(value))
    if name == "NOT_LITERAL":
        return _any_case(ANY & ~_wholly(value))
    if name == "IN":
        return _any_case(_set(value))
    return ANY


def _set(members: Iterable[Any]) -> int:
    negated = False
    some = 0
    whole = 0
    for opcode, value in members:
        kind = str(opcode)
        if kind == "NEGATE":
            negated = True
        elif kind == "LITERAL":
            some |= _character(value)
            whole |= _wholly(value)
        elif kind == "RANGE":
            low, high = value
            ascii_part = sum(1 << code for code in range(low, min(high, _ASCII - 1) + 1))
            some |= ascii_part | (_FOREIGN if high >= _ASCII else 0)
            whole |= ascii_part
        else:
            some |= _CATEGORIES[str(value)]
            whole |= _CATEGORIES[str(value)]
    return ANY & ~whole if negated else some


def _character(code: int) -> int:
    if code < _ASCII:
        return 1 << code
    letter = chr(code)
    if letter.isdecimal():
        return _DIGIT
    if letter.isalnum():
        return _WORD
    return _SPACE if letter.isspace() else _OTHER


def _wholly(code: int) -> int:
    """Return the bits that excluding one character clears: none for a kind, which has many."""
    return 1 << code if code < _ASCII else 0


def _any_case(bits: int) -> int:
    bits |= (bits & _LOWER) >> _SHIFT | (bits & _UPPER) << _SHIFT
    return bits | _FOREIGN_IN_ASCII if bits & _WORD else bits
