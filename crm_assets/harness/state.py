"""Compares the end states of two runs of one conversation as sets of rows.

Two runs give new rows different IDs and times. So times are ignored, and the ID of a row that the
seeds did not bring is replaced by a label made of what the row holds and what it points to; the same
in pointers, and in text that mentions it. Equal states then have equal rows. Rows that were made and
are gone by the end may still be pointed at (a note stays when its quote is deleted); their IDs are
replaced as well.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

import orjson

from crm_assets.conversations import JsonObject, turn_output
from crm_assets.crm import ENTITIES, TOOLS, Entity, Rows, ToolAction

__all__ = ["canonical_state", "created_rows", "state_difference"]

Row = JsonObject
"""Fields by name."""

NewRows = Mapping[str, tuple[Entity, Row]]
"""Rows that the seeds did not bring, by ID."""

CanonicalState = dict[str, list[Row]]
"""By table: rows without times, new IDs as labels, in a fixed order."""

_BY_TABLE: Mapping[str, Entity] = {entity.table: entity for entity in ENTITIES.values()}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_UUID_LENGTH = 36

# A label must see everything its row points to: a note points at a quote, that at an opportunity, that
# at a client. The number is fixed, so that equal rows of two states get equal labels.
_ROUNDS = 4


def canonical_state(
    rows: Rows, seed_ids: Collection[str], created: Mapping[str, Entity] | None = None
) -> CanonicalState:
    """Return `rows` without times, with new IDs replaced by labels.

    Args:
        rows: the rows as they stand.
        seed_ids: IDs that every run of the conversation has; all others of `rows` are new.
        created: IDs that rows got on the way, whether they are still there or not (`created_rows`).
    """
    new: dict[str, tuple[Entity, Row]] = {
        identifier: (entity, {"gone": True})
        for identifier, entity in (created or {}).items()
        if identifier not in seed_ids
    }
    for entity, row in _each(rows):
        if row[entity.id_field] not in seed_ids:
            new[row[entity.id_field]] = (entity, row)
    labels = _labels(new, rows) if new else {}
    state: CanonicalState = {}
    for entity, row in _each(rows):
        state.setdefault(entity.table, []).append(_without_times(entity, row, labels))
    for table in state.values():
        table.sort(key=_key)
    return state


def created_rows(calls: Iterable[tuple[str | None, object]]) -> dict[str, Entity]:
    """Return the IDs that calls gave to new rows; a call is the tool's name and what it returned."""
    created = {}
    for name, result in calls:
        tool = TOOLS.get(name or "")
        if tool is not None and tool.action in (ToolAction.CREATE, ToolAction.CLONE):
            identifier = turn_output(result).get(tool.entity.id_field)
            if isinstance(identifier, str):
                created[identifier.lower()] = tool.entity
    return created


def _each(rows: Rows) -> Iterator[tuple[Entity, Row]]:
    for table, entries in rows.items():
        entity = _BY_TABLE[table]
        for row in entries:
            yield entity, row


def _without_times(entity: Entity, row: Row, labels: Mapping[str, str]) -> Row:
    return {
        name: _relabelled(value, labels) if labels else value
        for name, value in row.items()
        if name not in entity.times
    }


def _relabelled(value: object, labels: Mapping[str, str]) -> object:
    """Return `value` with every labelled ID in it replaced."""
    if isinstance(value, str) and len(value) >= _UUID_LENGTH:
        return _UUID.sub(lambda match: labels.get(match.group().lower(), match.group()), value)
    if isinstance(value, list):
        return [_relabelled(entry, labels) for entry in value]
    return value


def _labels(new: NewRows, rows: Rows) -> dict[str, str]:
    """Return a label for every new row: the same in two states where the rows are the same."""
    labels = _refined(new, {identifier: f"new {entity.name}" for identifier, (entity, _) in new.items()})
    marks: dict[str, str] = {}
    # What hangs below a row tells twins apart, one level of it in each round.
    for _ in range(_ROUNDS):
        told_apart = _told_apart(new, rows, labels)
        if not told_apart:
            break
        marks |= told_apart
        labels = _refined(new, labels, marks)
    return labels


def _told_apart(new: NewRows, rows: Rows, labels: Mapping[str, str]) -> dict[str, str]:
    """Return marks for rows that share a label but are not pointed at in the same way."""
    groups: dict[str, list[str]] = {}
    for identifier, label in labels.items():
        groups.setdefault(label, []).append(identifier)
    twins = {identifier for group in groups.values() if len(group) > 1 for identifier in group}
    if not twins:
        return {}
    pointed = _pointers_at(twins, rows, labels)
    return {
        identifier: _digest(new[identifier][0], [label, pointed[identifier]])
        for label, group in groups.items()
        if len(group) > 1 and any(pointed[identifier] != pointed[group[0]] for identifier in group)
        for identifier in group
    }


def _refined(
    new: NewRows,
    labels: Mapping[str, str],
    marks: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return labels that follow pointers `_ROUNDS` deep from `labels`; marked rows keep their mark."""
    current = dict(labels)
    for _ in range(_ROUNDS):
        current = {
            identifier: _digest(
                entity,
                [
                    {
                        name: _relabelled(value, current)
                        for name, value in row.items()
                        if name != entity.id_field and name not in entity.times
                    },
                    marks.get(identifier) if marks else None,
                ],
            )
            for identifier, (entity, row) in new.items()
        }
    return current


def _pointers_at(
    identifiers: Collection[str], rows: Rows, labels: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return for each ID the rows that mention it, as text in a fixed order."""
    found: dict[str, list[str]] = {identifier: [] for identifier in identifiers}
    for entity, row in _each(rows):
        shown: str | None = None
        for name, value in row.items():
            if name == entity.id_field:
                continue
            for identifier in _mentioned(value):
                if identifier in found:
                    shown = shown or _key(_without_times(entity, row, labels)).decode()
                    found[identifier].append(f"{entity.table}.{name} {shown}")
    for entries in found.values():
        entries.sort()
    return found


def _mentioned(value: object) -> Iterator[str]:
    """Yield the IDs in a field's value."""
    if isinstance(value, str) and len(value) >= _UUID_LENGTH:
        for match in _UUID.finditer(value):
            yield match.group().lower()
    elif isinstance(value, list):
        for entry in value:
            yield from _mentioned(entry)


def _digest(entity: Entity, content: object) -> str:
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"new {entity.name} {digest[:16]}"


def _key(row: Row) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_SORT_KEYS)


def state_difference(expected: CanonicalState, actual: CanonicalState) -> Row:
    """Return what differs, by table: rows missing, unexpected and changed; {} where nothing does."""
    difference: Row = {}
    for table in _BY_TABLE:
        wanted, got = expected.get(table, []), actual.get(table, [])
        if wanted != got:
            difference[table] = _table_difference(_BY_TABLE[table], wanted, got)
    return difference


def _table_difference(entity: Entity, wanted: list[Row], got: list[Row]) -> dict[str, list[Row]]:
    missing, unexpected = _subtract(wanted, got), _subtract(got, wanted)
    changed = []
    for row in list(missing):
        other = _partner(entity, row, missing, unexpected)
        if other is not None:
            missing.remove(row)
            unexpected.remove(other)
            changed.append(_changes(entity, row, other))
    return {"missing": missing, "unexpected": unexpected, "changed": changed}


def _subtract(rows: list[Row], others: list[Row]) -> list[Row]:
    """Return `rows` without `others`, as multisets."""
    left = Counter(_key(row) for row in others)
    kept = []
    for row in rows:
        key = _key(row)
        if left[key]:
            left[key] -= 1
        else:
            kept.append(row)
    return kept


def _partner(
    entity: Entity,
    row: Row,
    missing: list[Row],
    unexpected: list[Row],
) -> Row | None:
    """Return the row that `row` became: the one of its ID, or the only new one for the only new one."""
    for other in unexpected:
        if other[entity.id_field] == row[entity.id_field]:
            return other
    new = [other for other in unexpected if str(other[entity.id_field]).startswith("new ")]
    own = [other for other in missing if str(other[entity.id_field]).startswith("new ")]
    return new[0] if len(new) == 1 and len(own) == 1 and own[0] == row else None


def _changes(entity: Entity, row: Row, other: Row) -> Row:
    identifier = row[entity.id_field]
    return {
        "id": identifier,
        "fields": {
            name: {"expected": row[name], "actual": other[name]}
            for name in row
            if row[name] != other[name] and name != entity.id_field
        },
    }
