"""What a value of each kind of CRM field may be.

A rule is the one place that knows a kind of field: how a value is checked and normalized when a tool
writes it, what it means as a search criterion, how it is described to a model, and which SQL compares
it. Rules sit in the `Annotated` types of the tools' argument models (see `crm.tools`).

Every refusal is a `ValueError` whose text is one sentence, the same on every server.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar
from uuid import UUID

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

__all__ = [
    "MAX_AMOUNT",
    "MAX_TEXT",
    "NO_MATCH",
    "Amount",
    "Choice",
    "Day",
    "Email",
    "FileName",
    "Identifier",
    "Probability",
    "Rule",
    "Text",
    "TextList",
    "Timestamp",
    "UnknownIdError",
    "not_found",
    "parse_uuid",
    "shown",
]

MAX_AMOUNT = Decimal(10_000_000)
MAX_VALUE = Decimal("999999999999.99")
"""Largest money that its column holds, where no rule sets a lower bound."""

MAX_TEXT = 20_000
"""Longest text of a field, in characters."""

FILE_EXTENSIONS = ("csv", "doc", "docx", "key", "pdf", "ppt", "pptx", "txt", "xlsx")

_CENT = Decimal("0.01")
_SHOWN = 80
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_FILE_NAME = re.compile(r"[A-Za-z0-9._-]+")
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")

# No stored number is beyond 10^12, so a larger one may be cut to this and is still too large.
_BEYOND_ALL = Decimal(10) ** 15


class _NoMatch:
    """A search criterion that no row can meet."""


NO_MATCH = _NoMatch()


def parse_uuid(value: object) -> UUID | None:
    """The UUID that `value` spells in the usual 36 characters, or None."""
    if isinstance(value, str) and _UUID.fullmatch(stripped := value.strip()):
        return UUID(stripped)
    return None


@dataclass(frozen=True)
class Rule(ABC):
    """One kind of field, as one field has it: `label` is how its sentences name it."""

    label: str
    description: str = ""

    cast: ClassVar[str] = "text"
    """SQL type that a parameter of this kind is sent as."""

    @abstractmethod
    def parse(self, value: object) -> object:
        """The normalized value to store.

        Raises:
            ValueError: it may not be stored; the text is one sentence.
        """

    def criterion(self, value: object) -> object:
        """The value to search for, or `NO_MATCH` if no stored value can equal it.

        Raises:
            ValueError: the value cannot be of this kind at all.
        """
        return self.parse(value)

    def condition(self, column: str) -> str:
        """SQL condition with one placeholder for the criterion."""
        return f"{column} = %s::{self.cast}"

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the kind, without the description."""
        return {"type": "string"}

    def criterion_schema(self) -> dict[str, Any]:
        """JSON Schema of a search criterion of the kind, without the description."""
        return self.schema()

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let Pydantic check values with `parse`."""
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Let Pydantic describe the field with `schema`."""
        described = self.schema()
        if self.description:
            described["description"] = self.description
        return described


def _clean_text(label: str, value: object) -> str:
    """Trimmed text that Postgres can hold."""
    if not isinstance(value, str):
        raise ValueError(f"{label} must be text.")
    if len(value) > MAX_TEXT:
        raise ValueError(f"{label} must not be longer than {MAX_TEXT:,} characters.")
    if "\x00" in value:
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
    """Whether nothing but blanks will do."""

    def parse(self, value: object) -> str:
        """Trim it; refuse what is no text, is too long or, where that matters, blank."""
        text = _clean_text(self.label, value)
        if not text and not self.blank:
            raise ValueError(f"{self.label} must not be blank.")
        return text

    def criterion(self, value: object) -> object:
        """Any text; a number stands for its digits."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = _digits(value)
        return _clean_text(self.label, value)

    def criterion_schema(self) -> dict[str, Any]:
        """Any text: a part of an address or a file's name will do."""
        return {"type": "string"}

    def condition(self, column: str) -> str:
        """Part of the column, whatever the case."""
        return f"strpos(lower({column}), lower(%s::text)) > 0"


@dataclass(frozen=True)
class Email(Text):
    """An email address."""

    def parse(self, value: object) -> str:
        """Refuse what does not look like an address."""
        text = _clean_text(self.label, value)
        if not _EMAIL.fullmatch(text):
            raise ValueError(f"{self.label} must be a valid email address.")
        return text

    def schema(self) -> dict[str, Any]:
        """Text of the `email` format."""
        return {"type": "string", "format": "email"}


@dataclass(frozen=True)
class FileName(Text):
    """Name of a document's file, with one of the allowed extensions."""

    def parse(self, value: object) -> str:
        """Refuse unsafe characters and unknown extensions."""
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
class Identifier(Rule):
    """ID of an entity: `entity` names whose."""

    entity: str = ""
    generated: bool = False
    """Whether this is the entity's own ID (to be given to a new row), not a pointer to another."""

    cast: ClassVar[str] = "uuid"

    def parse(self, value: object) -> UUID | str:
        """A new row's ID must be a UUID; a pointer that is none points at nothing.

        Where another argument names the entity (`entity_type`) the text is handed on as it is, for
        the tool to say what was not found.
        """
        if not isinstance(value, str):
            raise ValueError(f"{self.label} must be text.")
        identifier = parse_uuid(value)
        if identifier is not None:
            return identifier
        if self.generated:
            raise ValueError(f"{self.label} must be a valid UUID.")
        if self.entity:
            raise UnknownIdError(not_found(self.entity, value))
        return value

    def criterion(self, value: object) -> object:
        """What is no UUID equals no ID."""
        if not isinstance(value, str):
            raise ValueError(f"{self.label} must be text.")
        return parse_uuid(value) or NO_MATCH

    def schema(self) -> dict[str, Any]:
        """Text of the `uuid` format."""
        return {"type": "string", "format": "uuid"}


class UnknownIdError(ValueError):
    """An ID that cannot be anything's."""


def not_found(entity: str, identifier: object) -> str:
    """The sentence for an ID that nothing has; a lookup in vain and an ID that is none give the same."""
    return f"{entity} not found with ID '{shown(identifier)}'."


def shown(value: object) -> str:
    """What a caller gave, as a sentence may show it: not too long, and text that can be written."""
    text = str(value)
    short = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return short.encode(errors="replace").decode()


@dataclass(frozen=True)
class Choice(Rule):
    """One of a few exact values."""

    values: tuple[str, ...] = ()

    def parse(self, value: object) -> str:
        """Case and blanks count."""
        if isinstance(value, str) and value in self.values:
            return value
        raise ValueError(f"{self.label} must be one of: {', '.join(self.values)}.")

    def criterion(self, value: object) -> object:
        """A value outside the list is nobody's."""
        if not isinstance(value, str):
            raise ValueError(f"{self.label} must be one of: {', '.join(self.values)}.")
        return value if value in self.values else NO_MATCH

    def schema(self) -> dict[str, Any]:
        """Text with its `enum`."""
        return {"type": "string", "enum": list(self.values)}


def _decimal(value: object) -> Decimal | None:
    """The finite number that `value` is, or None; truth values and text are no numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    # An int of more digits than Python turns into text is far beyond every bound here anyway.
    if isinstance(value, int) and abs(value) > _BEYOND_ALL:
        return _BEYOND_ALL.copy_sign(-1 if value < 0 else 1)
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        return None
    # The same for exponents: arithmetic on the largest ones overflows.
    if number and number.adjusted() > _BEYOND_ALL.adjusted():
        return _BEYOND_ALL.copy_sign(number)
    return number


def _digits(number: float) -> str:
    """`number` as text."""
    # Python refuses to spell very long integers; nothing stored is as long as this one.
    return str(number) if isinstance(number, float) or abs(number) <= _BEYOND_ALL else f"{_BEYOND_ALL:f}"


def _number_criterion(label: str, value: object) -> Decimal | _NoMatch:
    number = _decimal(value)
    if number is None and isinstance(value, str):
        try:
            number = _decimal(Decimal(value.strip()))
        except InvalidOperation:
            number = None
    if number is None:
        raise ValueError(f"{label} must be a number.")
    # All that is stored has two decimals at most; Postgres could not even read some longer numbers.
    cents = number.quantize(_CENT)
    return cents if cents == number else NO_MATCH


@dataclass(frozen=True)
class Amount(Rule):
    """Money with two decimals; `bounded` ones are above zero and at most 10,000,000."""

    bounded: bool = True

    cast: ClassVar[str] = "numeric"

    @property
    def maximum(self) -> Decimal:
        """The largest amount allowed."""
        return MAX_AMOUNT if self.bounded else MAX_VALUE

    def parse(self, value: object) -> Decimal:
        """Round to cents, then check the bounds."""
        number = _decimal(value)
        if number is None:
            raise ValueError(f"{self.label} must be a number.")
        if abs(number) <= self.maximum:
            number = number.quantize(_CENT)
        if self.bounded and number <= 0:
            raise ValueError(f"{self.label} must be greater than zero.")
        if number < 0:
            raise ValueError(f"{self.label} must not be negative.")
        if number > self.maximum:
            raise ValueError(f"{self.label} must not exceed {self.maximum:,}.")
        return number

    def criterion(self, value: object) -> object:
        """Any number, as a number or as its digits."""
        return _number_criterion(self.label, value)

    def schema(self) -> dict[str, Any]:
        """A number with its bounds."""
        if self.bounded:
            return {"type": "number", "exclusiveMinimum": 0, "maximum": int(MAX_AMOUNT)}
        return {"type": "number", "minimum": 0}


@dataclass(frozen=True)
class Probability(Rule):
    """A whole number of per cent."""

    low: ClassVar[int] = 1
    high: ClassVar[int] = 99
    cast: ClassVar[str] = "integer"

    def parse(self, value: object) -> int:
        """Whole and from 1 to 99; 75.0 is 75."""
        number = _decimal(value)
        if number is None or number != number.to_integral_value():
            raise ValueError(f"{self.label} must be a whole number from {self.low} to {self.high}.")
        if not self.low <= number <= self.high:
            raise ValueError(f"{self.label} must be a whole number from {self.low} to {self.high}.")
        return int(number)

    def criterion(self, value: object) -> object:
        """Any number; one that is not a whole per cent equals none."""
        return _number_criterion(self.label, value)

    def condition(self, column: str) -> str:
        """Compared as numbers: 50.5 is a question with the answer no, not an error."""
        return f"{column} = %s::numeric"

    def schema(self) -> dict[str, Any]:
        """An integer with its bounds."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Day(Rule):
    """A calendar date."""

    cast: ClassVar[str] = "date"

    def parse(self, value: object) -> date:
        """`YYYY-MM-DD`, nothing else."""
        if isinstance(value, str) and _ISO_DAY.fullmatch(stripped := value.strip()):
            try:
                return date.fromisoformat(stripped)
            except ValueError:
                pass  # the 31st of February: the sentence below is meant for it
        raise ValueError(f"{self.label} must be a valid ISO-8601 date (YYYY-MM-DD).")

    def schema(self) -> dict[str, Any]:
        """Text of the `date` format."""
        return {"type": "string", "format": "date"}


@dataclass(frozen=True)
class Timestamp(Rule):
    """A moment; one without an offset is UTC."""

    cast: ClassVar[str] = "timestamptz"

    def parse(self, value: object) -> datetime:
        """ISO-8601, with or without a time."""
        if isinstance(value, str):
            text = value.strip()
            try:  # Python 3.10 does not know the Z
                moment = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] == "Z" else text)
                if moment.tzinfo is None:
                    return moment.replace(tzinfo=timezone.utc)
                return moment.astimezone(timezone.utc)
            except (ValueError, OverflowError):
                pass  # the sentence below is meant for it
        raise ValueError(f"{self.label} must be a valid ISO-8601 date and time.")

    def schema(self) -> dict[str, Any]:
        """Text of the `date-time` format."""
        return {"type": "string", "format": "date-time"}


@dataclass(frozen=True)
class TextList(Rule):
    """A list of texts; searched for by a part of any of them."""

    cast: ClassVar[str] = "text[]"

    def parse(self, value: object) -> list[str]:
        """Every entry is text."""
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{self.label} must be a list of texts.")
        return [_clean_text(self.label, entry) for entry in value]

    def criterion(self, value: object) -> object:
        """One text."""
        return _clean_text(self.label, value)

    def criterion_schema(self) -> dict[str, Any]:
        """One text."""
        return {"type": "string"}

    def condition(self, column: str) -> str:
        """Part of any entry, whatever the case."""
        return (
            f"EXISTS (SELECT FROM unnest({column}) AS entry "
            "WHERE strpos(lower(entry), lower(%s::text)) > 0)"
        )

    def schema(self) -> dict[str, Any]:
        """An array of texts."""
        return {"type": "array", "items": {"type": "string"}}
