"""Finds values in a user's text: IDs, addresses, dates, amounts, files, quotations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from crm_assets.crm.entities import SEED_ORDER
from crm_assets.crm.fields import UUID_PATTERN

__all__ = [
    "ENTITIES",
    "PLURALS",
    "SINGULARS",
    "Kind",
    "Mention",
    "entity_before",
    "mask",
    "mentions",
    "without_quotations",
]

Kind = Literal["quoted", "uuid", "url", "email", "date", "phone", "file", "number"]

PLURALS = {entity.name.lower(): entity.table for entity in SEED_ORDER}
"""{singular: plural} of the CRM's entities, lower-case."""

ENTITIES = tuple(PLURALS)
SINGULARS = {plural: singular for singular, plural in PLURALS.items()}

_PATTERNS: dict[Kind, str] = {
    "quoted": r'"[^"]*"',
    "uuid": rf"\b{UUID_PATTERN}\b",
    "url": r"https?://[^\s,;\"]*[^\s,;.\"]",
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "date": r"\b\d{4}-\d{2}-\d{2}\b",
    "phone": r"\+\d[\d-]{6,}\d",
    "file": r"\b[\w-]+(?:\.[\w-]+)*\.[a-z]{2,4}\b",
    "number": r"(?<![\w.])-?\$?\d(?:[\d,]*\d)?(?:\.\d+)?(?:\s?(?:USD|%|percent\b))?(?![\w])",
}
_ANY = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _PATTERNS.items()))
_ENTITY = re.compile(rf"\b({'|'.join([*PLURALS.values(), *ENTITIES])})\b", re.IGNORECASE)
_REACH = 70
"""Characters before a value in which an entity can belong to it."""
_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True)
class Mention:
    """A value in a text."""

    kind: Kind
    text: str
    """Without quotes."""
    start: int
    end: int

    @property
    def number(self) -> int | float:
        """Return its number, without currency, separators and unit."""
        value = float(re.sub(r"[^\d.-]", "", self.text))
        return int(value) if value.is_integer() else value


def mentions(text: str) -> list[Mention]:
    """Return the values in `text`, in order, without overlaps."""
    found = []
    for match in _ANY.finditer(text):
        kind: Kind = match.lastgroup  # type: ignore[assignment]
        value = match.group()
        found.append(Mention(kind, value.strip('"') if kind == "quoted" else value, *match.span()))
    return found


def mask(text: str, found: list[Mention]) -> str:
    """Return `text` with its values replaced by as many blanks."""
    characters = list(text)
    for mention in found:
        characters[mention.start : mention.end] = " " * (mention.end - mention.start)
    return "".join(characters)


def entity_before(masked: str, position: int) -> str | None:
    """Return the entity that is named last in the 70 characters before `position`; None if none is."""
    names = _ENTITY.findall(masked, max(0, position - _REACH), position)
    if not names:
        return None
    name = str(names[-1]).lower()
    return SINGULARS.get(name, name)


def without_quotations(text: str) -> str:
    """Return `text` with empty quotations."""
    return _QUOTED.sub('""', text)
