"""The reviews of sessions: what waits for approval, and what an approval or a rejection does.

A session that waits keeps its lesson to itself: approval merges it into the playbook of its learning key,
rejection (`quarantined`, as the SDK calls it) never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import psycopg

from crm_assets.atlas.playbook import Lesson
from crm_assets.atlas.telemetry.jsonb import clean_text, jsonb
from crm_assets.atlas.telemetry.learning import merge_state
from crm_assets.atlas.telemetry.statements import OWN
from crm_assets.errors import InputError

__all__ = ["Decision", "ReviewedSession", "decide", "list_sessions", "review_statuses"]

Decision = Literal["approved", "quarantined"]

_SESSIONS = f"""
SELECT id, metadata ->> 'dataset', metadata ->> 'run_id', metadata ->> 'conversation_id', review_status,
    review_notes,
    CASE WHEN jsonb_typeof(reward_stats -> 'score') = 'number' THEN (reward_stats ->> 'score')::float END,
    coalesce(jsonb_array_length(metadata #> '{{lesson,update,entries}}'), 0),
    metadata ? 'lesson'
FROM sessions
WHERE status = 'succeeded' AND metadata ? 'run_id'
    AND (%(status)s::text IS NULL OR review_status = %(status)s)
    AND (%(dataset)s::text IS NULL OR metadata ->> 'dataset' = %(dataset)s)
    AND (%(run_id)s::text IS NULL OR metadata ->> 'run_id' = %(run_id)s)
    AND {OWN}
ORDER BY id
"""

_STATUSES = f"""
SELECT metadata ->> 'conversation_id', coalesce((metadata ->> 'epoch')::int, 1), review_status
FROM sessions WHERE status = 'succeeded' AND metadata ->> 'run_id' = %(run_id)s AND {OWN}
ORDER BY id
"""

_CLAIM = (
    "SELECT metadata ->> 'learning_key', metadata -> 'lesson' FROM sessions "
    "WHERE id = %s AND status = 'succeeded' FOR UPDATE"
)

_DECIDE = """
UPDATE sessions SET review_status = %(status)s, review_notes = coalesce(%(notes)s, review_notes),
    metadata = (metadata - %(drop)s::text)
        || jsonb_build_object('review', coalesce(metadata -> 'review', '{}') || %(review)s::jsonb)
WHERE id = %(id)s
"""


class ReviewedSession(NamedTuple):
    """A stored session, as its reviewer sees it."""

    id: int
    dataset: str | None
    run_id: str | None
    conversation_id: str | None
    status: str
    notes: str | None
    reward: float | None
    """0 to 1; None if the judges gave none."""
    entries: int
    """Playbook entries that wait with it."""
    waits: bool
    """It taught something that waits for approval."""


def list_sessions(
    connection: psycopg.Connection,
    *,
    project: str | None,
    status: str | None,
    dataset: str | None = None,
    run_id: str | None = None,
) -> list[ReviewedSession]:
    """Return a project's succeeded sessions of a review status (any for None), oldest first."""
    wanted = {"project": project, "status": status, "dataset": dataset, "run_id": run_id}
    return [ReviewedSession(*row) for row in connection.execute(_SESSIONS.encode(), wanted)]


def review_statuses(
    connection: psycopg.Connection, *, project: str | None, run_id: str
) -> dict[tuple[str, int], str]:
    """Return the review status of each succeeded session of a run, by conversation and epoch."""
    rows = connection.execute(_STATUSES.encode(), {"project": project, "run_id": run_id})
    return {(conversation, epoch): status for conversation, epoch, status in rows}


def decide(
    connection: psycopg.Connection, ids: Sequence[int], decision: Decision, notes: str | None = None
) -> int:
    """Approve or reject sessions, all of them or none; return how many lessons were merged.

    A rejected session keeps its lesson, so that it can still be approved.

    Raises:
        InputError: one of them is not stored, or did not succeed.
    """
    merged = 0
    with connection.transaction():
        for session_id in sorted(ids):  # as they were taught
            row = connection.execute(_CLAIM, (session_id,)).fetchone()
            if row is None:
                raise InputError(
                    f"There is no finished session {session_id}; `crm-assets review list` shows them."
                )
            key, lesson = row
            teaches = decision == "approved" and lesson is not None
            if teaches:
                merge_state(connection, key, Lesson.model_validate(lesson).merged_into)
                merged += 1
            connection.execute(_DECIDE.encode(), _parameters(session_id, decision, notes, drop=teaches))
    return merged


def _parameters(session_id: int, decision: Decision, notes: str | None, *, drop: bool) -> dict[str, Any]:
    said = None if notes is None else clean_text(notes)
    review = {"status": decision} if said is None else {"status": decision, "notes": said}
    return {
        "id": session_id,
        "status": decision,
        "notes": said,
        "review": jsonb(review),
        "drop": "lesson" if drop else "",
    }
