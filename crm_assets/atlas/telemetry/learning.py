"""The learning states in the telemetry database: reading, merging, replacing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import psycopg

from crm_assets.atlas.playbook import LearningState, Playbook, registry_key, split_registry_key
from crm_assets.atlas.telemetry.jsonb import clean_text, jsonb
from crm_assets.atlas.telemetry.registry import RegistryRow, read_row, row_metadata
from crm_assets.atlas.telemetry.statements import OWN

__all__ = [
    "Merge",
    "fetch_state",
    "merge_state",
    "read_playbooks",
    "replace_playbook",
    "taught_conversations",
    "waiting_lessons",
]

Merge = Callable[[LearningState], LearningState]
"""Returns the new learning state of a key. Pure: it may be called more than once."""

_STATE = (
    "SELECT student_learning, teacher_learning, metadata FROM learning_registry WHERE learning_key = %s"
)
_ALL = "SELECT learning_key, student_learning, teacher_learning, metadata FROM learning_registry"

# A lesson that waits for approval has taught nothing; neither has one that was forgotten since.
_TAUGHT = """
SELECT DISTINCT metadata ->> 'conversation_id' FROM sessions
WHERE metadata ->> 'learning_key' = ANY(%s) AND status = 'succeeded'
    AND (student_learning IS NOT NULL OR teacher_learning IS NOT NULL)
    AND NOT metadata ?| ARRAY['lesson', 'forgotten']
"""


def fetch_state(connection: psycopg.Connection, key: str) -> LearningState:
    """Return the learning state of a registered key, or an empty state."""
    row = connection.execute(_STATE.encode(), (clean_text(key),), prepare=True).fetchone()
    return LearningState() if row is None else read_row(*row).state


def merge_state(connection: psycopg.Connection, key: str, merge: Merge) -> LearningState:
    """Replace the learning state of a registered key by what `merge` makes of it; its row is locked."""
    before = _locked(connection, key)
    state = merge(before.state)
    if state != before.state:
        _write(connection, key, state, before)
    return state


def read_playbooks(connection: psycopg.Connection) -> dict[str, Playbook]:
    """Return every namespace's playbook, by namespace."""
    keys: dict[str, dict[str, LearningState]] = {}
    for registered, *row in connection.execute(_ALL):
        namespace, key = split_registry_key(registered)
        keys.setdefault(namespace, {})[key] = read_row(*row).state
    return {name: Playbook(namespace=name, keys=dict(sorted(keys[name].items()))) for name in sorted(keys)}


def replace_playbook(connection: psycopg.Connection, playbook: Playbook) -> None:
    """Make `playbook` the one of its namespace; an empty one forgets all. In one transaction.

    What earlier sessions noted for the learner is forgotten with an empty playbook, and not with another.
    """
    with connection.transaction():
        found = connection.execute("SELECT learning_key FROM learning_registry FOR UPDATE").fetchall()
        old = [key for (key,) in found if split_registry_key(key)[0] == playbook.namespace]
        connection.execute("DELETE FROM learning_registry WHERE learning_key = ANY(%s)", (old,))
        new = {registry_key(playbook.namespace, key): state for key, state in playbook.keys.items()}
        for key, state in new.items():
            _write(connection, key, state, _locked(connection, key))
        changed = {"keys": [*{*old, *new}], "mark": jsonb({"forgotten": True})}
        if new:
            connection.execute(
                "UPDATE sessions SET metadata = metadata - 'forgotten' "
                "WHERE metadata ->> 'learning_key' = ANY(%(keys)s) AND metadata ? 'forgotten'",
                changed,
            )
        else:
            connection.execute(
                "UPDATE sessions SET metadata = metadata || %(mark)s::jsonb "
                "WHERE metadata ->> 'learning_key' = ANY(%(keys)s)",
                changed,
            )


def taught_conversations(connection: psycopg.Connection, keys: Collection[str]) -> set[str]:
    """Return the IDs of the conversations whose sessions taught one of the registered `keys`."""
    return {name for (name,) in connection.execute(_TAUGHT, (list(keys),)) if name is not None}


def waiting_lessons(connection: psycopg.Connection, run_id: str, project: str | None) -> int:
    """Return how many sessions of a project's run taught something that waits for approval."""
    waiting = f"SELECT count(*) FROM sessions WHERE metadata ->> 'run_id' = %(run_id)s AND {OWN}"
    row = connection.execute(
        f"{waiting} AND metadata ? 'lesson'".encode(), {"run_id": clean_text(run_id), "project": project}
    ).fetchone()
    assert row is not None  # an aggregate has one row
    return int(row[0])


def _locked(connection: psycopg.Connection, key: str) -> RegistryRow:
    """Lock the row of a key; create it first if it is missing."""
    locked = f"{_STATE} FOR UPDATE".encode()
    row = connection.execute(locked, (key,), prepare=True).fetchone()
    if row is None:
        connection.execute(
            "INSERT INTO learning_registry (learning_key) VALUES (%s) ON CONFLICT DO NOTHING", (key,)
        )
        row = connection.execute(locked, (key,), prepare=True).fetchone()
    assert row is not None  # it was just made
    return read_row(*row)


def _write(connection: psycopg.Connection, key: str, state: LearningState, before: RegistryRow) -> None:
    connection.execute(
        "UPDATE learning_registry SET student_learning = %s, teacher_learning = %s, "
        "metadata = %s::jsonb, updated_at = clock_timestamp() WHERE learning_key = %s",
        (*_pamphlets(state), jsonb(row_metadata(state, before)), key),
        prepare=True,
    )


def _pamphlets(state: LearningState) -> Iterable[str | None]:
    for text in (state.student_learning, state.teacher_learning):
        yield None if text is None else clean_text(text)
