"""Kinds of fields that hold text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from crm_assets.conversations.patterns import NUL
from crm_assets.crm.amounts import digits
from crm_assets.crm.fields import JsonSchema, Rule

__all__ = ["MAX_TEXT", "Email", "FileName", "Text", "TextList"]

MAX_TEXT = 20_000
"""Longest text of a field, in characters."""

FILE_EXTENSIONS = ("csv", "doc", "docx", "key", "pdf", "ppt", "pptx", "txt", "xlsx")

_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_FILE_NAME = re.compile(r"[A-Za-z0-9._-]+")


def _clean_text(label: str, value: object) -> str:
    """Return the trimmed text; raise ValueError for a value that Postgres cannot hold."""
    if not isinstance(value, str):
        raise ValueError(f"{label} must be text.")
    if len(value) > MAX_TEXT:
        raise ValueError(f"{label} must not be longer than {MAX_TEXT:,} characters.")
    if NUL in value:
        raise ValueError(f"{label} must not hold NUL characters.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{label} must be valid Unicode text.") from None
    return value.strip()


@dataclass(frozen=True)
class Text(Rule):
    """Free text, trimmed; searched for as a case-insensitive part."""

    blank: bool = True
    """True if a blank text is accepted."""

    def parse(self, value: object) -> str:
        """Return the trimmed text; it may be blank only if `blank` is set."""
        text = _clean_text(self.label, value)
        if not text and not self.blank:
            raise ValueError(f"{self.label} must not be blank.")
        return text

    def criterion(self, value: object) -> object:
        """Return any text; a number stands for its digits."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = digits(value)
        return _clean_text(self.label, value)

    def criterion_schema(self) -> JsonSchema:
        """Return a plain text: a part of an email address or file name is enough."""
        return {"type": "string"}

    def condition(self, column: str) -> str:
        """Match a part of the column, case-insensitively."""
        return f"strpos(lower({column}), lower(%s::text)) > 0"


@dataclass(frozen=True)
class Email(Text):
    """An email address."""

    def parse(self, value: object) -> str:
        """Return the trimmed address; it must look like one."""
        text = _clean_text(self.label, value)
        if not _EMAIL.fullmatch(text):
            raise ValueError(f"{self.label} must be a valid email address.")
        return text

    def schema(self) -> JsonSchema:
        """Return a text of the `email` format."""
        return {"type": "string", "format": "email"}


@dataclass(frozen=True)
class FileName(Text):
    """Name of a document's file, with one of the allowed extensions."""

    def parse(self, value: object) -> str:
        """Return the trimmed name; unsafe characters and unknown extensions are refused."""
        text = _clean_text(self.label, value)
        if not text:
            raise ValueError(f"{self.label} must not be blank.")
        if not _FILE_NAME.fullmatch(text):
            raise ValueError(f"{self.label} may only hold letters, digits, '.', '_' and '-'.")
        stem, dot, extension = text.rpartition(".")
        if not (stem and dot and extension):
            raise ValueError(f"{self.label} must have an extension.")
        if extension.lower() not in FILE_EXTENSIONS:
            raise ValueError(
                f"Document file extension '.{extension}' is not supported "
                f"(allowed: {', '.join(FILE_EXTENSIONS)})."
            )
        return text


@dataclass(frozen=True)
class TextList(Rule):
    """A list of texts; searched for by a part of any of them."""

    cast: ClassVar[str] = "text[]"

    def parse(self, value: object) -> list[str]:
        """Return the entries, each trimmed."""
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{self.label} must be a list of texts.")
        return [_clean_text(self.label, entry) for entry in value]

    def criterion(self, value: object) -> object:
        """Return one text."""
        return _clean_text(self.label, value)

    def criterion_schema(self) -> JsonSchema:
        """Return one text."""
        return {"type": "string"}

    def condition(self, column: str) -> str:
        """Match a part of any entry, case-insensitively."""
        return (
            f"EXISTS (SELECT FROM unnest({column}) AS entry "
            "WHERE strpos(lower(entry), lower(%s::text)) > 0)"
        )

    def schema(self) -> JsonSchema:
        """Return an array of texts."""
        return {"type": "array", "items": {"type": "string"}}
