"""The effect of each tool on the database: one statement in the ordinary case.

A statement that has no effect returns no row, and only then a second one is sent to find out why.
Values always travel as parameters; names in the SQL come from `crm.entities` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any, Protocol
from uuid import UUID

import orjson
import psycopg

from crm_assets.crm.clock import NOW
from crm_assets.crm.entities import (
    CLIENT,
    CLOSED_STAGES,
    DOCUMENT,
    ENTITIES,
    NOTE,
    OPPORTUNITY,
    QUOTE,
    Entity,
)
from crm_assets.crm.errors import ToolError
from crm_assets.crm.fields import NO_MATCH, Values, not_found
from crm_assets.crm.tool import Tool, ToolAction, ToolArguments

__all__ = ["Runner", "perform", "row_as_json"]

_LOCKED_WHEN_CLOSED = ("stage", "amount", "probability", "close_date")
_DEFAULTS: Mapping[str, Mapping[str, str]] = {"create_contract": {"status": "Pending"}}


class Runner(Protocol):
    """The part of a session that operations use."""

    def fetch(self, query: str, parameters: Sequence[object]) -> str | None:
        """Return the first column of the first row; None if there is no row or it is null."""

    def new_id(self) -> UUID:
        """Return the ID for a row whose caller gave none."""

    def today(self) -> date:
        """Return the day that close dates are compared with."""


def perform(runner: Runner, tool: Tool, arguments: ToolArguments) -> Any:
    """Execute `tool`; return its result as plain JSON values.

    Raises:
        ToolError: the tool refuses; the caller undoes a statement that was begun.
    """
    return _OPERATIONS[tool.action](runner, tool, arguments.given())


@cache
def row_as_json(entity: Entity) -> str:
    """Return an SQL expression: a row of the entity's table as a JSON object in the fields' order."""
    pairs = ", ".join(f"'{name}', {name}" for name in entity.fields)
    return f"json_build_object({pairs})"


def _guarded(
    runner: Runner, query: str, parameters: Sequence[object], given: Values, entity: Entity
) -> str | None:
    """Run a write; report a violated constraint as a refusal of the tool."""
    try:
        return runner.fetch(query, parameters)
    except psycopg.errors.ForeignKeyViolation as error:
        pointer = _pointer_of(entity, error.diag.constraint_name or "")
        raise ToolError("not_found", not_found(entity.pointers[pointer], given.get(pointer))) from None
    except psycopg.errors.UniqueViolation:
        raise ToolError(
            "conflict",
            f"{entity.name} already exists with ID '{given.get(entity.id_field)}'.",
        ) from None


def _pointer_of(entity: Entity, constraint: str) -> str:
    """Return the field whose foreign key is called `constraint` (`<table>_<field>_fkey`)."""
    return constraint.removeprefix(f"{entity.table}_").removesuffix("_fkey")


def _create(runner: Runner, tool: Tool, given: Values) -> Any:
    entity = tool.entity
    values = {**_DEFAULTS.get(tool.name, {}), **given}
    values.setdefault(entity.id_field, runner.new_id())
    if entity is OPPORTUNITY:
        _refuse_past_close_date(runner, values)
    parameters = [values.get(name) for name in entity.fields]
    query, extra = _insert_statement(tool.name, entity, values.get("entity_type"))
    parameters += [values[name] for name in extra]
    missing = _entity_sentence(entity, values)
    if missing is not None and not isinstance(values["entity_id"], UUID):
        raise ToolError("not_found", missing)
    row = _guarded(runner, query, parameters, values, entity)
    if row is None:
        raise _why_not_created(entity, values, missing)
    return orjson.loads(row)


def _entity_sentence(entity: Entity, values: Values) -> str | None:
    """Return the refusal of a document or note whose entity does not exist; None for other entities."""
    if entity not in (DOCUMENT, NOTE):
        return None
    return not_found(values["entity_type"], values["entity_id"])


def _why_not_created(entity: Entity, values: Values, missing: str | None) -> ToolError:
    if missing is not None:
        return ToolError("not_found", missing)
    if entity is CLIENT:
        return ToolError("conflict", f"Client already exists with email '{values['email']}'.")
    return ToolError("not_found", not_found("Opportunity", values["opportunity_id"]))


@cache
def _insert_statement(tool: str, entity: Entity, entity_type: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the INSERT of a tool, and the arguments that follow those of the columns."""
    selected = {name: f"%s::{rule.cast}" for name, rule in entity.fields.items()}
    if entity.stamp:
        selected[entity.stamp] = f"coalesce({selected[entity.stamp]}, {NOW})"
    source = ""
    extra: tuple[str, ...] = ()
    if tool == "create_new_client":
        # Two clients may share an address in seed data, so this is the tool's rule, not the table's.
        source = " WHERE NOT EXISTS (SELECT FROM clients WHERE lower(email) = lower(%s::text))"
        extra = ("email",)
    elif tool == "create_quote":
        selected["name"] = f"coalesce({selected['name']}, o.name || ' Quote')"
        source = " FROM opportunities AS o WHERE o.opportunity_id = %s::uuid"
        extra = ("opportunity_id",)
    elif entity_type is not None:
        target = ENTITIES[entity_type]
        source = f" WHERE EXISTS (SELECT FROM {target.table} WHERE {target.id_field} = %s::uuid)"
        extra = ("entity_id",)
    return (
        f"INSERT INTO {entity.table} ({entity.columns}) SELECT {', '.join(selected.values())}"
        f"{source} RETURNING {row_as_json(entity)}::text",
        extra,
    )


def _refuse_past_close_date(runner: Runner, values: Values) -> None:
    close_date = values.get("close_date")
    if close_date is not None and close_date < runner.today():
        raise ToolError("validation", "Close date must be today or later.")


def _modify(runner: Runner, tool: Tool, given: Values) -> Any:
    entity = tool.entity
    identifier = given.pop(entity.id_field)
    cleared = given.pop("cleared", ())
    for name in cleared:
        if name in entity.required:
            raise ToolError("validation", f"{entity.fields[name].label} must not be empty.")
    if entity is OPPORTUNITY:
        _refuse_past_close_date(runner, given)
    changes = {**given, **dict.fromkeys(cleared)}
    if not changes:
        return _view(runner, tool, {entity.id_field: identifier})
    locked = entity is OPPORTUNITY and any(name in changes for name in _LOCKED_WHEN_CLOSED)
    query = _update_statement(entity, tuple(changes), locked=locked)
    row = _guarded(runner, query, [*changes.values(), identifier], given, entity)
    if row is None:
        current = _view(runner, tool, {entity.id_field: identifier})  # raises if the row does not exist
        raise _closed(current["stage"], changes)
    return orjson.loads(row)


def _closed(stage: str, changes: Values) -> ToolError:
    blocked = ", ".join(name for name in _LOCKED_WHEN_CLOSED if name in changes)
    return ToolError(
        "validation", f"Cannot modify {blocked} of a closed opportunity (its stage is {stage})."
    )


@cache
def _update_statement(entity: Entity, names: tuple[str, ...], *, locked: bool) -> str:
    assignments = ", ".join(f"{name} = %s::{entity.fields[name].cast}" for name in names)
    stages = ", ".join(f"'{stage}'" for stage in CLOSED_STAGES)
    still_open = f" AND stage NOT IN ({stages})" if locked else ""
    return (
        f"UPDATE {entity.table} SET {assignments} WHERE {entity.id_field} = %s::uuid{still_open} "
        f"RETURNING {row_as_json(entity)}::text"
    )


def _clone(runner: Runner, tool: Tool, given: Values) -> Any:
    copied = {name: name for name in OPPORTUNITY.fields}
    copied |= {
        "opportunity_id": "%s::uuid",
        "name": "name || ' (Clone)'",
        "created_at": NOW,
    }
    query = (
        f"INSERT INTO opportunities ({OPPORTUNITY.columns}) SELECT {', '.join(copied.values())} "
        f"FROM opportunities WHERE opportunity_id = %s::uuid RETURNING {row_as_json(OPPORTUNITY)}"
        "::text"
    )
    row = runner.fetch(query, [runner.new_id(), given["opportunity_id"]])
    return _found(row, OPPORTUNITY, given)


def _cancel(runner: Runner, tool: Tool, given: Values) -> Any:
    query = (
        "UPDATE quotes SET status = 'Canceled' WHERE quote_id = %s::uuid "
        f"RETURNING {row_as_json(QUOTE)}::text"
    )
    return _found(runner.fetch(query, [given["quote_id"]]), QUOTE, given)


def _delete(runner: Runner, tool: Tool, given: Values) -> Any:
    entity = tool.entity
    query = f"DELETE FROM {entity.table} WHERE {entity.id_field} = %s::uuid RETURNING 'true'::text"
    return _found(runner.fetch(query, [given[entity.id_field]]), entity, given)


def _view(runner: Runner, tool: Tool, given: Values) -> Any:
    entity = tool.entity
    query = f"SELECT {row_as_json(entity)}::text FROM {entity.table} WHERE {entity.id_field} = %s::uuid"
    return _found(runner.fetch(query, [given[entity.id_field]]), entity, given)


def _found(row: str | None, entity: Entity, given: Values) -> Any:
    if row is None:
        raise ToolError("not_found", not_found(entity.name, given[entity.id_field]))
    return orjson.loads(row)


def _compare(runner: Runner, tool: Tool, given: Values) -> Any:
    wanted = given["quote_ids"]
    query = f"SELECT json_agg({row_as_json(QUOTE)})::text FROM quotes WHERE quote_id = ANY(%s::uuid[])"
    row = runner.fetch(query, [[str(identifier) for identifier in wanted]])
    by_id = {quote["quote_id"]: quote for quote in orjson.loads(row or "[]")}
    for identifier in wanted:
        if str(identifier) not in by_id:
            raise ToolError("not_found", not_found("Quote", identifier))
    return [by_id[str(identifier)] for identifier in wanted]


def _compare_details(runner: Runner, tool: Tool, given: Values) -> Any:
    quotes = _compare(runner, tool, given)
    amounts = [quote["amount"] for quote in quotes]
    return {
        "quotes": quotes,
        "amounts": amounts,
        "statuses": [quote["status"] for quote in quotes],
        "total_amount": round(sum(amounts), 2),
    }


def _search(runner: Runner, tool: Tool, given: Values) -> Any:
    if any(value is NO_MATCH for value in given.values()):
        return []
    query = _search_statement(tool.entity, tuple(given))
    return orjson.loads(runner.fetch(query, list(given.values())) or "[]")


@cache
def _search_statement(entity: Entity, names: tuple[str, ...]) -> str:
    return (
        f"SELECT json_agg({row_as_json(entity)} ORDER BY seq)::text FROM {entity.table}"
        f"{_where(entity, names)}"
    )


def _where(entity: Entity, names: Sequence[str]) -> str:
    conditions = [entity.fields[name].condition(name) for name in names]
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _summarize(runner: Runner, tool: Tool, given: Values) -> Any:
    opportunities = _search(runner, tool, given)
    summary: Values = {
        "total_count": len(opportunities),
        "total_amount": round(sum(entry["amount"] for entry in opportunities), 2),
        "by_stage": {},
        "by_owner": {},
    }
    for entry in opportunities:
        for key, group in (("stage", "by_stage"), ("owner", "by_owner")):
            if entry[key] is not None:
                summary[group][entry[key]] = summary[group].get(entry[key], 0) + 1
    return summary


def _prefixes(runner: Runner, tool: Tool, given: Values) -> Any:
    # Collation "C": the same order on every server, whatever its locale.
    query = (
        'SELECT json_agg(quote_prefix ORDER BY quote_prefix COLLATE "C")::text FROM '
        "(SELECT DISTINCT quote_prefix FROM quotes WHERE quote_prefix <> '') AS prefixes"
    )
    return orjson.loads(runner.fetch(query, []) or "[]")


_OPERATIONS: Mapping[ToolAction, Callable[[Runner, Tool, Values], Any]] = {
    ToolAction.CREATE: _create,
    ToolAction.MODIFY: _modify,
    ToolAction.CLONE: _clone,
    ToolAction.CANCEL: _cancel,
    ToolAction.DELETE: _delete,
    ToolAction.VIEW: _view,
    ToolAction.COMPARE: _compare,
    ToolAction.COMPARE_DETAILS: _compare_details,
    ToolAction.SEARCH: _search,
    ToolAction.SUMMARIZE: _summarize,
    ToolAction.PREFIXES: _prefixes,
}
