"""Finds values in what a user says: IDs, addresses, dates, amounts, files, quoted text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["ENTITIES", "Kind", "Mention", "entity_before", "mask", "mentions"]

Kind = Literal["quoted", "uuid", "url", "email", "date", "phone", "file", "number"]

ENTITIES = ("client", "contact", "opportunity", "quote", "contract", "company", "document", "note")
"""What a CRM keeps, as people call it."""

_PATTERNS: dict[Kind, str] = {
    "quoted": r'"[^"]*"',
    "uuid": r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b",
    "url": r"https?://[^\s,;\"]*[^\s,;.\"]",
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "date": r"\b\d{4}-\d{2}-\d{2}\b",
    "phone": r"\+\d[\d-]{6,}\d",
    "file": r"\b[\w-]+(?:\.[\w-]+)*\.[a-z]{2,4}\b",
    "number": r"(?<![\w.])-?\$?\d(?:[\d,]*\d)?(?:\.\d+)?(?:\s?(?:USD|%|percent\b))?(?![\w])",
}
_ANY = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _PATTERNS.items()))
_ENTITY = re.compile(
    r"\b(client|contact|opportunit|quote|contract|compan|document|note)(?:s|y|ies)?\b", re.IGNORECASE
)
_NEAR = 70


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
        """The number that it is."""
        value = float(re.sub(r"[^\d.-]", "", self.text))
        return int(value) if value.is_integer() else value


def mentions(text: str) -> list[Mention]:
    """The values in `text`, in order, none inside another."""
    found = []
    for match in _ANY.finditer(text):
        kind: Kind = match.lastgroup  # type: ignore[assignment]
        value = match.group()
        found.append(Mention(kind, value.strip('"') if kind == "quoted" else value, *match.span()))
    return found


def mask(text: str, found: list[Mention]) -> str:
    """`text` with its values blanked out, at its old length."""
    characters = list(text)
    for mention in found:
        characters[mention.start : mention.end] = " " * (mention.end - mention.start)
    return "".join(characters)


def entity_before(masked: str, position: int) -> str | None:
    """The entity that is named last before `position`, not too far away."""
    names = _ENTITY.findall(masked, max(0, position - _NEAR), position)
    if not names:
        return None
    name = str(names[-1]).lower()
    return f"{name}y" if name in ("compan", "opportunit") else name
