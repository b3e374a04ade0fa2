"""Character sets as bit masks: the characters that a part of a regular expression can match.

A mask has one bit for each ASCII character and one for each kind of other characters. It contains every
character that the part matches, ignoring case; it may contain more. So two parts whose masks share no bit
never match the same character.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

if sys.version_info >= (3, 11):
    from re import _compiler as compiler
    from re import _parser as parser
else:
    import sre_compile as compiler
    import sre_parse as parser

__all__ = ["ANY", "SIZE", "mask", "parser"]

_ASCII = 128
_KINDS = "é٣\u00a0€"  # a letter, a digit, a space and another character
_ALPHABET = "".join(map(chr, range(_ASCII))) + _KINDS
SIZE = len(_ALPHABET)
"""Number of bits of a mask."""
ANY = (1 << SIZE) - 1
"""Every character."""
_FOREIGN = ANY >> _ASCII << _ASCII
_LETTER = 1 << _ASCII
# Ignoring case, the Kelvin sign matches k, the long s matches s, and two Turkish letters match i.
_FOREIGN_IN_ASCII = sum(1 << ord(letter) for letter in "kKsSiI")


def mask(item: Any) -> int:
    """Return the mask of one item of a parsed pattern: LITERAL, NOT_LITERAL, ANY or IN."""
    single = parser.SubPattern(parser.State(), [item])
    matcher = compiler.compile(single, re.IGNORECASE | re.DOTALL | re.UNICODE)
    bits = sum(1 << bit for bit, character in enumerate(_ALPHABET) if matcher.match(character))
    foreign = [chr(code) for code in _codes(item[1]) if code >= _ASCII]
    if any(opcode in str(item) for opcode in ("NOT_LITERAL", "NEGATE", "RANGE")) and foreign:
        bits |= _FOREIGN
    for character in foreign:
        bits |= _kind(character)
    return bits | _FOREIGN_IN_ASCII if bits & _LETTER else bits


def _codes(value: Any) -> Iterator[int]:
    """Yield the characters in an item's argument; its opcodes are numbers below 128."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _codes(part)


def _kind(character: str) -> int:
    if character.isdecimal():
        return _LETTER << 1
    if character.isalnum():
        return _LETTER
    return _LETTER << 2 if character.isspace() else _LETTER << 3
