"""Seeds: the rows that a conversation starts from, made valid.

Real seed data is incomplete, and existing runs depend on these defaults:

- client: status → Active, industry → Technology, owner → «Unassigned Owner»;
- contact, opportunity and contract without an existing client → the first client;
- opportunity: a stage that is missing, unknown or closed → Qualification; probability clamped to 1–99;
- quote: status → Draft, name → «Quote <first 8 of the ID>»;
- contract: status → Active, value → 75000;
- fields an entity does not have are ignored (the dataset's audit counts them);
- a row whose ID a turn of the same conversation creates is left out: the turn could not create it, and
  such rows are traces of the run that the dataset was recorded from.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

from crm_assets.conversations import Conversation
from crm_assets.crm.amounts import Amount, Probability
from crm_assets.crm.clock import NOW
from crm_assets.crm.entities import (
    CLIENT,
    CLOSED_STAGES,
    CONTACT,
    CONTRACT,
    ENTITIES,
    OPPORTUNITY,
    QUOTE,
    SEED_ORDER,
    Entity,
)
from crm_assets.crm.errors import SeedError
from crm_assets.crm.fields import Rule, Values, parse_uuid
from crm_assets.crm.texts import Email, Text
from crm_assets.crm.tool import ToolAction
from crm_assets.crm.tools import TOOLS

__all__ = ["SeedRows", "created_ids", "make_seed_rows", "seed_fields", "seed_statement"]

SeedRows = dict[str, list[Values]]
"""Rows to insert, by entity name, in the order of insertion; the values are JSON values."""

_FIRST_CLIENT = ((CONTACT, "client_id"), (OPPORTUNITY, "client_id"), (CONTRACT, "client_id"))


def seed_fields() -> dict[str, frozenset[str]]:
    """Return {entity: names of its fields}, for every entity."""
    return {name: frozenset(entity.fields) for name, entity in ENTITIES.items()}


def created_ids(conversation: Conversation) -> dict[tuple[str, str], int]:
    """Return {(entity, ID): turn} of the rows that the conversation's own calls create."""
    found: dict[tuple[str, str], int] = {}
    for turn in conversation.turns:
        tool = TOOLS.get(turn.expected_tool)
        if tool is not None and tool.action is ToolAction.CREATE and turn.expect_success:
            identifier = parse_uuid(turn.expected_args.get(tool.entity.id_field))
            if identifier is not None:
                found.setdefault((tool.entity.name, str(identifier)), turn.turn_id)
    return found


def make_seed_rows(conversation: Conversation) -> SeedRows:
    """Return the rows that `conversation` starts from, valid and in the order of insertion.

    Raises:
        SeedError: a row cannot become valid; the message names conversation, entity, ID and field.
    """
    seeds = conversation.seed_data
    for name in seeds:
        if name not in ENTITIES:
            raise SeedError(
                f"Conversation {conversation.conversation_id!r}: unknown entity {name!r} in the "
                f"seeds; use one of {', '.join(ENTITIES)}."
            )
    later = created_ids(conversation)
    rows = _ValidRows(conversation.conversation_id)
    for entity in SEED_ORDER:
        for identifier, fields in seeds.get(entity.name, {}).items():
            if (entity.name, str(parse_uuid(identifier))) not in later:
                rows.add(entity, identifier, fields)
    return rows.rows


class _ValidRows:
    """Valid rows as they are added; later ones may point at earlier ones."""

    def __init__(self, conversation_id: str) -> None:
        self.rows: SeedRows = {}
        self._conversation = conversation_id
        self._ids: dict[str, dict[str, None]] = {}

    def add(self, entity: Entity, identifier: str, given: Mapping[str, object]) -> None:
        """Make one row valid and add it."""
        key = parse_uuid(identifier)
        if key is None:
            raise self._error(entity, identifier, entity.id_field, "must be a valid UUID")
        if str(key) in self._ids.get(entity.name, {}):
            raise self._error(entity, identifier, entity.id_field, "occurs twice")
        if not isinstance(given, Mapping):
            raise self._error(entity, identifier, entity.id_field, "must come with an object of fields")
        fields = {
            name: value for name, value in given.items() if name in entity.fields and value is not None
        }
        fields[entity.id_field] = str(key)
        self._fill(entity, str(key), fields)
        row = {name: self._valid(entity, identifier, name, fields.get(name)) for name in fields}
        for name in entity.required:
            if name not in row:
                raise self._error(entity, identifier, name, "is missing")
        self._check_pointers(entity, identifier, row)
        self.rows.setdefault(entity.name, []).append(row)
        self._ids.setdefault(entity.name, {})[str(key)] = None

    def _fill(self, entity: Entity, identifier: str, fields: Values) -> None:
        """Fill the gaps with the defaults that existing runs depend on."""
        for owner, pointer in _FIRST_CLIENT:
            clients = self._ids.get("Client", {})
            if entity is owner and clients and not _points_into(fields.get(pointer), clients):
                fields[pointer] = next(iter(clients))
        if entity is CLIENT:
            _default_choice(entity, fields, "status", "Active")
            fields.setdefault("industry", "Technology")
            fields.setdefault("owner", "Unassigned Owner")
        elif entity is OPPORTUNITY:
            _default_choice(entity, fields, "stage", "Qualification", CLOSED_STAGES)
            _clamp_probability(fields)
        elif entity is QUOTE:
            _default_choice(entity, fields, "status", "Draft")
            fields.setdefault("name", f"Quote {identifier[:8]}")
        elif entity is CONTRACT:
            _default_choice(entity, fields, "status", "Active")
            fields.setdefault("value", 75_000)

    def _valid(self, entity: Entity, identifier: str, name: str, value: Any) -> Any:
        """Return the value as JSON; the field's rule decides, with less strict form."""
        rule = _seed_rule(entity.fields[name])
        if isinstance(rule, (Amount, Probability)):
            value = _as_number(value)
        try:
            parsed = rule.parse(value)
        except ValueError as error:
            reason = str(error).rstrip(".")
            raise self._error(entity, identifier, name, f"is not valid ({reason})") from None
        return parsed if isinstance(parsed, (int, str, list)) else str(parsed)

    def _check_pointers(self, entity: Entity, identifier: str, row: Values) -> None:
        pointers = dict(entity.pointers)
        if "entity_type" in entity.fields:
            pointers["entity_id"] = row["entity_type"]
        for name, target in pointers.items():
            if name in row and not _points_into(row[name], self._ids.get(target, {})):
                raise self._error(
                    entity,
                    identifier,
                    name,
                    f"points at {target} '{row[name]}', which is not a seed",
                )

    def _error(self, entity: Entity, identifier: str, field: str, reason: str) -> SeedError:
        return SeedError(
            f"Conversation {self._conversation!r}: seed {entity.name} '{identifier}': {field} {reason}."
        )


def _points_into(value: object, identifiers: Mapping[str, None]) -> bool:
    identifier = parse_uuid(value)
    return identifier is not None and str(identifier) in identifiers


def _default_choice(
    entity: Entity,
    fields: Values,
    name: str,
    default: str,
    not_at_start: tuple[str, ...] = (),
) -> None:
    """Replace a choice that is missing, unknown, or not a state to start from."""
    allowed = entity.fields[name].schema()["enum"]
    if fields.get(name) not in allowed or fields[name] in not_at_start:
        fields[name] = default


def _clamp_probability(fields: Values) -> None:
    number = _as_number(fields.get("probability"))
    if isinstance(number, (int, float, Decimal)) and not isinstance(number, bool):
        fields["probability"] = int(max(Probability.low, min(Probability.high, number)))


def _as_number(value: Any) -> Any:
    """Return numbers that recorded data spells as text as numbers."""
    if isinstance(value, str):
        try:
            number = Decimal(value.strip())
        except InvalidOperation:
            return value
        return value if number.is_nan() else number  # NaN is not a number, and cannot be compared
    return value


@cache
def _seed_rule(rule: Rule) -> Rule:
    """Return the rule for a seed: emails may be malformed, which only the tools refuse."""
    return Text(rule.label, rule.description) if isinstance(rule, Email) else rule


@cache
def seed_statement(entities: tuple[str, ...]) -> str:
    """Return the statement that inserts the rows of several entities, a JSON array of rows each.

    Foreign keys are checked at its end, so the order of its parts does not matter.
    """
    parts = []
    for number, name in enumerate(entities):
        entity = ENTITIES[name]
        selected = [
            f"coalesce({column}, {NOW})"
            if column == entity.stamp
            else f"coalesce({column}, '{{}}')"
            if column == "contacts"
            else column
            for column in entity.fields
        ]
        parts.append(
            f"seeded_{number} AS (INSERT INTO {entity.table} ({entity.columns}) "
            f"SELECT {', '.join(selected)} "
            f"FROM json_populate_recordset(NULL::{entity.table}, %s::json))"
        )
    return f"WITH {', '.join(parts)} SELECT 1"
