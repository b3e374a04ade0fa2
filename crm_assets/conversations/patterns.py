"""Texts with a meaning (references, placeholders, IDs, times), and walks over JSON that find them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = [
    "NUL",
    "PLACEHOLDER",
    "REFERENCE",
    "TIMESTAMP",
    "UUID",
    "UUID_PATTERN",
    "strings_in",
    "uuids_in",
]

NUL = "\0"
"""The one character that Postgres' texts and JSON cannot hold."""

REFERENCE = re.compile(r"\{\{\s*turn_([0-9]{1,9})\.([A-Za-z_]\w*)\s*\}\}", re.ASCII)
"""`{{turn_N.field}}`, blanks inside allowed."""

PLACEHOLDER = re.compile(r"\{\{[^{}]*[^{}\s][^{}]*\}\}|\{[A-Za-z_][\w .-]*\}")
"""`{{anything}}` or `{a_name}`: text that was meant to be filled (references included)."""

UUID_PATTERN = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
"""Regular expression of a UUID in the usual 36 characters."""

UUID = re.compile(rf"(?<![0-9A-Za-z]){UUID_PATTERN}(?![0-9A-Za-z])")
"""A UUID inside a text."""

TIMESTAMP = re.compile(
    r"\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?", re.ASCII
)
"""An ISO-8601 time: a date alone is not one."""


def strings_in(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value (keys left out), in document order, at any depth."""
    # A stack, not recursion: nesting is the file's choice, and Python's stack is short.
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            pending.extend(reversed(list(item.values())))
        elif isinstance(item, (list, tuple)):
            pending.extend(reversed(item))


def uuids_in(value: Any) -> set[str]:
    """Return the UUIDs in a JSON value's texts and keys, lower-case."""
    found: set[str] = set()
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            found.update(match.lower() for match in UUID.findall(item))
        elif isinstance(item, Mapping):
            pending.extend(item)
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
    return found
