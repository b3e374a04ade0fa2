"""The SQL of the store: one statement stores a whole session."""

from __future__ import annotations

from crm_assets.atlas.playbook import LearningState
from crm_assets.atlas.telemetry.documents import (
    attempt_rows,
    end_metadata,
    plan_document,
    reward_document,
    start_metadata,
    stats_document,
    step_rows,
)
from crm_assets.atlas.telemetry.jsonb import clean_text, jsonb
from crm_assets.atlas.telemetry.records import SessionEnd, SessionStart
from crm_assets.atlas.telemetry.writer import LOCK_SPACE, WriterIdentity

__all__ = [
    "BEGIN",
    "CLAIM",
    "CLOSE_ORPHANS",
    "FAIL",
    "FAIL_EARLIER",
    "OWN",
    "PAST_SESSIONS",
    "PERSIST",
    "REWARD_WINDOW",
    "SESSIONS_OF_RUN",
    "SESSION_ROWS",
    "STORED_SESSION",
    "begin_parameters",
    "failure",
    "persist_parameters",
]

Parameters = dict[str, str | int | None]
"""Of a statement, by name."""

BEGIN = (
    "INSERT INTO sessions (task, status, metadata) VALUES (%(task)s, 'running', %(metadata)s::jsonb) "
    "RETURNING id"
)

# A session that was closed as lost or failed can still be stored.
CLAIM = (
    "SELECT metadata ->> 'learning_key' FROM sessions WHERE id = %s AND (status = 'running' "
    "OR metadata ? 'failure') FOR UPDATE"
)

PERSIST = """
WITH closed AS (
    UPDATE sessions SET
        status = %(status)s, final_answer = %(final_answer)s,
        reward = %(reward)s::jsonb, reward_stats = %(reward_stats)s::jsonb,
        reward_audit = %(reward_audit)s::jsonb,
        student_learning = %(student_learning)s, teacher_learning = %(teacher_learning)s,
        review_status = %(review_status)s, review_notes = %(review_notes)s,
        metadata = (coalesce(metadata, '{}') - 'failure') || %(metadata)s::jsonb,
        completed_at = clock_timestamp()
    WHERE id = %(id)s
), planned AS (
    INSERT INTO plans (session_id, plan) VALUES (%(id)s, %(plan)s::jsonb)
), stepped AS (
    INSERT INTO step_results (session_id, step_id, trace, output, evaluation, attempts, metadata)
    SELECT %(id)s, step_id, trace, output, evaluation, attempts, metadata
    FROM jsonb_to_recordset(%(steps)s::jsonb) AS step (
        step_id integer, trace text, output text, evaluation jsonb, attempts integer, metadata jsonb)
), attempted AS (
    INSERT INTO step_attempts (session_id, step_id, attempt, evaluation)
    SELECT %(id)s, step_id, attempt, evaluation
    FROM jsonb_to_recordset(%(attempts)s::jsonb) AS attempt (
        step_id integer, attempt integer, evaluation jsonb)
), guided AS (
    INSERT INTO guidance_notes (session_id, step_id, sequence, note)
    SELECT %(id)s, %(first_step)s, position, note
    FROM jsonb_array_elements_text(%(guidance)s::jsonb) WITH ORDINALITY AS guidance (note, position)
)
INSERT INTO trajectory_events (session_id, event, created_at)
SELECT %(id)s, event, coalesce(to_timestamp((event ->> 'event_timestamp')::float), clock_timestamp())
FROM jsonb_array_elements(%(events)s::jsonb) WITH ORDINALITY AS happened (event, position)
ORDER BY position
"""

FAIL = (
    "UPDATE sessions SET status = 'failed', completed_at = clock_timestamp(), "
    "metadata = coalesce(metadata, '{}') || %(failure)s::jsonb WHERE id = %(id)s AND status = 'running'"
)

OWN = "(metadata ->> 'project' IS NULL OR metadata ->> 'project' = %(project)s::text)"
"""Sessions of a project, and of older versions that recorded none: several may share a database."""

FAIL_EARLIER = (
    "UPDATE sessions SET status = 'failed', completed_at = clock_timestamp(), "
    "metadata = coalesce(metadata, '{}') || %(failure)s::jsonb WHERE status = 'running' "
    f"AND metadata ->> 'run_id' = %(run_id)s AND metadata ->> 'session_key' = %(session_key)s AND {OWN}"
)

# Locks are read after the sessions that were there when the statement began, and a writer takes its lock
# before its first session: one that is seen here without its lock has no writer any more.
CLOSE_ORPHANS = f"""
UPDATE sessions SET status = 'failed', completed_at = clock_timestamp(),
    metadata = metadata || %(failure)s::jsonb
WHERE status = 'running' AND metadata -> 'writer' ? 'lock'
    AND (metadata -> 'writer' ->> 'lock')::bigint <> ALL (ARRAY(
        SELECT objid::bigint FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND classid = {LOCK_SPACE} AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))
"""

# Mode and score are measured; what a session noted is taught, and waits for approval.
PAST_SESSIONS = """
SELECT metadata ->> 'execution_mode', reward_stats -> 'score',
    CASE WHEN teaches THEN student_learning END, CASE WHEN teaches THEN teacher_learning END,
    to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
FROM sessions, LATERAL (
    SELECT review_status <> 'quarantined' AND NOT metadata ?| ARRAY['lesson', 'forgotten'] AS teaches
) AS review
WHERE metadata ->> 'learning_key' = %s AND status = 'succeeded'
ORDER BY id DESC LIMIT %s
"""

REWARD_WINDOW = """
SELECT (reward_stats ->> 'score')::float, (reward_stats ->> 'uncertainty_mean')::float
FROM sessions WHERE metadata ->> 'learning_key' = %s AND status = 'succeeded'
    AND jsonb_typeof(reward_stats -> 'score') = 'number'
    AND jsonb_typeof(reward_stats -> 'uncertainty_mean') = 'number'
ORDER BY id DESC LIMIT %s
"""

SESSIONS_OF_RUN = f"""
SELECT DISTINCT ON (metadata ->> 'session_key') metadata ->> 'session_key', id, status
FROM sessions WHERE metadata ->> 'run_id' = %(run_id)s AND metadata ->> 'session_key' IS NOT NULL
    AND {OWN}
ORDER BY metadata ->> 'session_key', id DESC
"""

_MOMENT = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""

SESSION_ROWS = f"""
SELECT DISTINCT ON (metadata ->> 'session_key') id, metadata ->> 'session_key', status,
    metadata ->> 'execution_mode',
    CASE WHEN jsonb_typeof(reward_stats -> 'score') = 'number' THEN (reward_stats ->> 'score')::float END,
    {_MOMENT.format("created_at")}, {_MOMENT.format("completed_at")}
FROM sessions WHERE metadata ->> 'run_id' = %(run_id)s AND metadata ->> 'session_key' IS NOT NULL
    AND {OWN}
ORDER BY metadata ->> 'session_key', id DESC
"""

STORED_SESSION = f"""
SELECT id FROM sessions WHERE metadata ->> 'run_id' = %(run_id)s
AND metadata ->> 'session_key' = %(session_key)s AND {OWN}
AND status = 'succeeded' ORDER BY id DESC LIMIT 1
"""


def begin_parameters(start: SessionStart, writer: WriterIdentity, project: str | None) -> Parameters:
    """Return the parameters of `BEGIN`; `project` is the identity of the session's."""
    metadata = {**start_metadata(start), "writer": writer}
    if project is not None:
        metadata["project"] = project
    return {"task": clean_text(start.task), "metadata": jsonb(metadata)}


def persist_parameters(
    session_id: int, end: SessionEnd, learning_state: LearningState | None
) -> Parameters:
    """Return the parameters of `PERSIST`."""
    reward, stats = reward_document(end), stats_document(end.reward)
    return {
        "id": session_id,
        "status": end.status,
        "final_answer": clean_text(end.final_answer or ""),
        "reward": None if reward is None else jsonb(reward),
        "reward_stats": None if stats is None else jsonb(stats),
        "reward_audit": jsonb(end.reward.audit) if end.reward and end.reward.audit else None,
        "student_learning": _clean(end.student_note),
        "teacher_learning": _clean(end.teacher_note),
        "review_status": end.review.status,
        "review_notes": _clean(end.review.notes),
        "metadata": jsonb(end_metadata(end, learning_state)),
        "plan": jsonb(plan_document(end)),
        "steps": jsonb(step_rows(end)),
        "attempts": jsonb(attempt_rows(end)),
        "first_step": end.steps[0].id if end.steps else 1,
        "guidance": jsonb(end.guidance),
        "events": jsonb([event.document() for event in end.events]),
    }


def _clean(text: str | None) -> str | None:
    return None if text is None else clean_text(text)


def failure(kind: str, reason: str) -> str:
    """Return the metadata, as JSON, of a session that ended without a result."""
    return jsonb({"failure": {"kind": kind, "reason": reason}})
