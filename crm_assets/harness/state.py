"""Compares the end states of two runs of one conversation as sets of rows.

Two runs give new rows different IDs and times. So times are ignored, and the ID of a row that the
seeds did not bring is replaced by a label made of what the row holds and what it points to; the same
in pointers, and in text that mentions it. Equal states then have equal rows.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import orjson

from crm_assets.crm import ENTITIES, Entity, Rows

__all__ = ["canonical_state", "state_difference"]

CanonicalState = dict[str, list[dict[str, Any]]]
"""By table: rows without times, new IDs as labels, in a fixed order."""

_BY_TABLE: Mapping[str, Entity] = {entity.table: entity for entity in ENTITIES.values()}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUID_LENGTH = 36

# A label must see everything its row points to: a note points at a quote, that at an opportunity, that
# at a client. The number is fixed, so that equal rows of two states get equal labels.
_ROUNDS = 4


def canonical_state(rows: Rows, seed_ids: Collection[str]) -> CanonicalState:
    """`rows` without times, with IDs that are not in `seed_ids` replaced by labels."""
    new = {
        row[entity.id_field]: (entity, row)
        for entity, row in _each(rows)
        if row[entity.id_field] not in seed_ids
    }
    labels = _labels(new, rows) if new else {}
    state: CanonicalState = {}
    for entity, row in _each(rows):
        state.setdefault(entity.table, []).append(_without_times(entity, row, labels))
    for table in state.values():
        table.sort(key=_key)
    return state


def _each(rows: Rows) -> Iterator[tuple[Entity, dict[str, Any]]]:
    for table, entries in rows.items():
        entity = _BY_TABLE[table]
        for row in entries:
            yield entity, row


def _without_times(entity: Entity, row: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: _relabelled(value, labels) if labels else value
        for name, value in row.items()
        if name not in entity.times
    }


def _relabelled(value: Any, labels: Mapping[str, str]) -> Any:
    """`value` with every labelled ID in it replaced."""
    if isinstance(value, str) and len(value) >= _UUID_LENGTH:
        return _UUID.sub(lambda match: labels.get(match.group(), match.group()), value)
    if isinstance(value, list):
        return [_relabelled(entry, labels) for entry in value]
    return value


def _labels(new: Mapping[str, tuple[Entity, dict[str, Any]]], rows: Rows) -> dict[str, str]:
    """A label for every new row: the same in two states where the rows are the same."""
    labels = {identifier: f"new {entity.name}" for identifier, (entity, _) in new.items()}
    labels = _refined(new, labels)
    if len(set(labels.values())) < len(labels):
        # Twins by their content may differ by what points at them.
        pointed = _pointers_at(new, rows, labels)
        twins = {
            identifier: _digest(new[identifier][0], [label, pointed[identifier]])
            for identifier, label in labels.items()
        }
        labels = _refined(new, twins, keep=twins)
    return labels


def _refined(
    new: Mapping[str, tuple[Entity, dict[str, Any]]],
    labels: Mapping[str, str],
    keep: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Labels that follow pointers `_ROUNDS` deep, starting from `labels`."""
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
                    keep[identifier] if keep else None,
                ],
            )
            for identifier, (entity, row) in new.items()
        }
    return current


def _pointers_at(
    new: Mapping[str, tuple[Entity, dict[str, Any]]], rows: Rows, labels: Mapping[str, str]
) -> dict[str, list[str]]:
    """For every new row, the rows that hold its ID, as text in a fixed order."""
    found: dict[str, list[str]] = {identifier: [] for identifier in new}
    for entity, row in _each(rows):
        shown = _key(_without_times(entity, row, labels)).decode()
        for name, value in row.items():
            if name != entity.id_field and isinstance(value, str) and len(value) >= _UUID_LENGTH:
                for identifier in _UUID.findall(value):
                    if identifier in found:
                        found[identifier].append(f"{entity.table}.{name} {shown}")
    for entries in found.values():
        entries.sort()
    return found


def _digest(entity: Entity, content: object) -> str:
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"new {entity.name} {digest[:16]}"


def _key(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_SORT_KEYS)


def state_difference(expected: CanonicalState, actual: CanonicalState) -> dict[str, Any]:
    """What differs, by table: rows missing, unexpected and changed; {} where nothing does."""
    difference: dict[str, Any] = {}
    for table in _BY_TABLE:
        wanted, got = expected.get(table, []), actual.get(table, [])
        if wanted != got:
            difference[table] = _table_difference(_BY_TABLE[table], wanted, got)
    return difference


def _table_difference(
    entity: Entity, wanted: list[dict[str, Any]], got: list[dict[str, Any]]
) -> dict[str, list[Any]]:
    missing, unexpected = _subtract(wanted, got), _subtract(got, wanted)
    changed = []
    for row in list(missing):
        other = _partner(entity, row, missing, unexpected)
        if other is not None:
            missing.remove(row)
            unexpected.remove(other)
            changed.append(_changes(entity, row, other))
    return {"missing": missing, "unexpected": unexpected, "changed": changed}


def _subtract(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`rows` less `others`, as multisets."""
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
    row: Mapping[str, Any],
    missing: list[dict[str, Any]],
    unexpected: list[dict[str, Any]],
) -> dict[str, Any] | None:
    """The row that `row` became: the one of its ID, or the only new one for the only new one."""
    for other in unexpected:
        if other[entity.id_field] == row[entity.id_field]:
            return other
    new = [other for other in unexpected if str(other[entity.id_field]).startswith("new ")]
    own = [other for other in missing if str(other[entity.id_field]).startswith("new ")]
    return new[0] if len(new) == 1 and len(own) == 1 and own[0] == row else None


def _changes(entity: Entity, row: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    identifier = row[entity.id_field]
    return {
        "id": identifier,
        "fields": {
            name: {"expected": row[name], "actual": other[name]}
            for name in row
            if row[name] != other[name] and name != entity.id_field
        },
    }
