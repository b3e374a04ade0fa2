"""Kinds of CRM fields, and the rules for their values.

A rule is the one place that knows a kind of field: it checks and normalizes a value that a tool writes,
interprets a search criterion, describes the field to a model, and gives the SQL that compares it. Rules
for text are in `crm.texts`, for numbers in `crm.amounts`. They sit in the `Annotated` types of the tools'
argument models (see `crm.tools`).

Every refusal is a `ValueError` whose text is one sentence, the same on every server.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any, ClassVar
from uuid import UUID

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from crm_assets.conversations.patterns import UUID_PATTERN

__all__ = [
    "NO_MATCH",
    "UUID_PATTERN",
    "Choice",
    "Day",
    "IdList",
    "Identifier",
    "JsonSchema",
    "NoMatch",
    "Rule",
    "Timestamp",
    "UnknownIdError",
    "Values",
    "not_found",
    "parse_uuid",
    "shown",
]

JsonSchema = dict[str, Any]
"""A JSON Schema: a document of OpenAI's and Pydantic's making, not of ours."""

Values = dict[str, Any]
"""Values by the name of a field or argument; of the types that the fields' rules return."""

_SHOWN = 80
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_UUID = re.compile(UUID_PATTERN)


class NoMatch:
    """A search criterion that no row can meet."""


NO_MATCH = NoMatch()


def parse_uuid(value: object) -> UUID | None:
    """Return the UUID that `value` spells in the usual 36 characters, or None."""
    if isinstance(value, str) and _UUID.fullmatch(stripped := value.strip()):
        return UUID(stripped)
    return None


@dataclass(frozen=True)
class Rule(ABC):
    """One kind of field, as one field has it: `label` is its name in error messages."""

    label: str
    description: str = ""

    cast: ClassVar[str] = "text"
    """SQL type that a parameter of this kind is sent as."""

    @abstractmethod
    def parse(self, value: object) -> object:
        """Return the normalized value to store.

        Raises:
            ValueError: the value may not be stored; the text is one sentence.
        """

    def criterion(self, value: object) -> object:
        """Return the value to search for, or `NO_MATCH` if no stored value can equal it.

        Raises:
            ValueError: the value is not of this kind.
        """
        return self.parse(value)

    def condition(self, column: str) -> str:
        """Return an SQL condition with one placeholder for the criterion."""
        return f"{column} = %s::{self.cast}"

    def schema(self) -> JsonSchema:
        """Return the JSON Schema of the kind, without the description."""
        return {"type": "string"}

    def criterion_schema(self) -> JsonSchema:
        """Return the JSON Schema of a search criterion of the kind, without the description."""
        return self.schema()

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Make Pydantic check values with `parse`."""
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        """Make Pydantic describe the field with `schema`."""
        described = self.schema()
        if self.description:
            described["description"] = self.description
        return described


@dataclass(frozen=True)
class Identifier(Rule):
    """ID of a row; `entity` names its entity."""

    entity: str = ""
    generated: bool = False
    """True for the entity's own ID (given to a new row), False for a pointer to another row."""

    cast: ClassVar[str] = "uuid"

    def parse(self, value: object) -> UUID | str:
        """Return the UUID; the text itself where another argument (`entity_type`) names the entity.

        Raises:
            ValueError: a new row's ID is not a UUID.
            UnknownIdError: a pointer is not a UUID, so that no row can have it.
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
        """Return the UUID, or `NO_MATCH` for a text that is not a UUID."""
        if not isinstance(value, str):
            raise ValueError(f"{self.label} must be text.")
        return parse_uuid(value) or NO_MATCH

    def schema(self) -> JsonSchema:
        """Return a text of the `uuid` format."""
        return {"type": "string", "format": "uuid"}


@dataclass(frozen=True)
class IdList(Rule):
    """A list of IDs of existing entities."""

    entity: str = ""

    def parse(self, value: object) -> list[UUID | str]:
        """Return the UUIDs; an entry that is not a UUID is not found."""
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{self.label} must be a list.")
        rule = Identifier(self.label, entity=self.entity)
        return [rule.parse(entry) for entry in value]

    def schema(self) -> JsonSchema:
        """Return an array of UUIDs."""
        return {"type": "array", "items": {"type": "string", "format": "uuid"}}


class UnknownIdError(ValueError):
    """An ID that no row can have."""


def not_found(entity: str, identifier: object) -> str:
    """Return the sentence for an unknown ID; a malformed one gets the same."""
    return f"{entity} not found with ID '{shown(identifier)}'."


def shown(value: object) -> str:
    """Return a caller's value for an error message: at most 80 characters, encodable as UTF-8."""
    text = str(value)
    short = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return short.encode(errors="replace").decode()


@dataclass(frozen=True)
class Choice(Rule):
    """One of a few exact values."""

    values: tuple[str, ...] = ()

    def parse(self, value: object) -> str:
        """Return `value` if it is one of `values`, case and blanks included."""
        if isinstance(value, str) and value in self.values:
            return value
        raise ValueError(f"{self.label} must be one of: {', '.join(self.values)}.")

    def criterion(self, value: object) -> object:
        """Return the text, or `NO_MATCH` for one that is not in `values`."""
        if not isinstance(value, str):
            raise ValueError(f"{self.label} must be one of: {', '.join(self.values)}.")
        return value if value in self.values else NO_MATCH

    def schema(self) -> JsonSchema:
        """Return a text with its `enum`."""
        return {"type": "string", "enum": list(self.values)}


@dataclass(frozen=True)
class Day(Rule):
    """A calendar date."""

    cast: ClassVar[str] = "date"

    def parse(self, value: object) -> date:
        """Read `YYYY-MM-DD`, the only form accepted."""
        if isinstance(value, str) and _ISO_DAY.fullmatch(stripped := value.strip()):
            try:
                return date.fromisoformat(stripped)
            except ValueError:
                pass  # February 31: the sentence below covers it
        raise ValueError(f"{self.label} must be a valid ISO-8601 date (YYYY-MM-DD).")

    def schema(self) -> JsonSchema:
        """Return a text of the `date` format."""
        return {"type": "string", "format": "date"}


@dataclass(frozen=True)
class Timestamp(Rule):
    """A point in time; one without an offset is UTC."""

    cast: ClassVar[str] = "timestamptz"

    def parse(self, value: object) -> datetime:
        """Read ISO-8601, with or without a time; return it in UTC."""
        if isinstance(value, str):
            text = value.strip()
            try:  # Python 3.10 does not read Z
                moment = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] == "Z" else text)
                if moment.tzinfo is None:
                    return moment.replace(tzinfo=timezone.utc)
                return moment.astimezone(timezone.utc)
            except (ValueError, OverflowError):
                pass  # the sentence below covers it
        raise ValueError(f"{self.label} must be a valid ISO-8601 date and time.")

    def schema(self) -> JsonSchema:
        """Return a text of the `date-time` format."""
        return {"type": "string", "format": "date-time"}
