"""Record what a conversation's calls left in the CRM's tables, before the rollback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from crm_assets.conversations import JsonObject
from crm_assets.crm import TOOLS, Rows, ToolAction
from crm_assets.records.results import TurnResult

__all__ = ["ObservedWrites", "observed_writes"]

_IDS = {tool.entity.table: tool.entity.id_field for tool in TOOLS.values()}


class ObservedWrites(NamedTuple):
    """Calls that changed the database, and how many of them its tables showed."""

    writes: int
    """Entities that successful calls created, changed or deleted."""
    seen: int
    """Of these, those that the tables showed as the last call on them left them."""


def observed_writes(turns: Iterable[TurnResult], rows: Rows) -> ObservedWrites:
    """Compare what successful calls returned with the rows that were there at the end.

    Only the last call on an entity counts. One that is gone since then because another was deleted, which
    takes along what belongs to it, is not looked for.
    """
    last: dict[tuple[str, str], JsonObject | None] = {}
    deleted = False
    for call in (call for turn in turns for call in turn.made_calls):
        tool = TOOLS.get(call.tool_name)
        if tool is None or call.error is not None or not tool.action.writes:
            continue
        id_field = tool.entity.id_field
        if tool.action is ToolAction.DELETE:
            deleted = True
            last[tool.entity.table, str(call.arguments[id_field]).lower()] = None
        elif isinstance(call.result, dict):
            last[tool.entity.table, str(call.result[id_field])] = call.result
    present = {(table, str(row[_IDS[table]])): row for table, entries in rows.items() for row in entries}
    seen = 0
    for key, left in last.items():
        row = present.get(key)
        seen += row is None if left is None else _shows(row, left, excused=deleted)
    return ObservedWrites(len(last), seen)


def _shows(row: JsonObject | None, left: JsonObject, *, excused: bool) -> bool:
    if row is None:
        return excused
    # Deleting what it pointed at clears a reference; all else must be as the call left it.
    return all(
        row.get(name) == value or (excused and row.get(name) is None) for name, value in left.items()
    )
