"""sessions.jsonl: the line of a session that the SDK has driven."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from crm_assets.atlas.records import loop_record
from crm_assets.atlas.sdk.session import SdkSession
from crm_assets.atlas.tasks import AtlasTask
from crm_assets.llm import Role, Spending, cut
from crm_assets.records import LoopFacts, LoopSession
from crm_assets.records.trace import (
    AdaptiveSummary,
    EventBody,
    Plan,
    RewardStats,
    SessionReward,
    SessionTrace,
    TraceEvent,
    TraceStep,
)

__all__ = ["has_reward", "sdk_record"]

_Part = TypeVar("_Part")

_NO_SAMPLE = "No valid reward sample produced."
"""The SDK's rationale of the 0.0 that it makes if no judge's reply could be read."""

_AS_THEY_ARE = (
    "task",
    "final_answer",
    "execution_mode",
    "review_status",
    "review_notes",
    "learning_key",
    "student_learning",
    "teacher_learning",
    "triage_dossier",
    "drift",
    "drift_alert",
)
"""Keys of the exporter's that our lines have, too."""

_TWICE = ("trajectory_events", "reward_audit")
"""Keys that the exporter repeats in the metadata."""

_STEP_KEYS = (
    "step_id",
    "description",
    "trace",
    "output",
    "reward",
    "tool",
    "tool_params",
    "validation",
    "attempts",
    "guidance",
    "depends_on",
)


def sdk_record(
    task: AtlasTask,
    epoch: int,
    session: SdkSession,
    trace: Mapping[str, Any],
    *,
    spent: Mapping[Role, Spending],
) -> LoopSession:
    """Return a session's line: the harness's record, what the SDK made of it, and its trace.

    Args:
        task: what was run.
        epoch: which time.
        session: as it went.
        trace: the session as the SDK's exporter writes it.
        spent: by role, from the ledger.
    """
    shown = _trace(trace)
    return loop_record(
        task, session.attempts[-1], _loop_facts(session, shown), shown, epoch=epoch, spent=spent
    )


def has_reward(trace: Mapping[str, Any]) -> bool:
    """Return True if the judges gave a score of 0–1.

    The SDK does not check the range, and makes a 0.0 of replies that it could not read: that is no score.
    """
    reward = trace.get("session_reward") or {}
    score = reward.get("score")
    if not isinstance(score, (int, float)) or not math.isfinite(score) or not 0.0 <= score <= 1.0:
        return False
    return _judge(reward).get("rationale") != _NO_SAMPLE


def _judge(reward: Mapping[str, Any]) -> Mapping[str, Any]:
    judges = reward.get("judges")
    return _mapping(judges[0]) if isinstance(judges, list) and judges else {}


def _trace(trace: Mapping[str, Any]) -> SessionTrace:
    """Return the exporter's keys that our lines have; the whole of it stays in the telemetry database."""
    is_scored = has_reward(trace)
    metadata = trace.get("session_metadata") or {}
    return SessionTrace(
        **{name: trace.get(name) for name in _AS_THEY_ARE},
        plan=_form(Plan, trace.get("plan")),
        steps=tuple(_step(step) for step in trace.get("steps") or ()),
        session_metadata={name: value for name, value in metadata.items() if name not in _TWICE},
        session_reward=_form(SessionReward, trace.get("session_reward")) if is_scored else None,
        reward_stats=_form(RewardStats, trace.get("reward_stats")) if is_scored else None,
        adaptive_summary=_form(AdaptiveSummary, trace.get("adaptive_summary")),
        trajectory_events=tuple(_event(event) for event in trace.get("trajectory_events") or ()),
    )


def _form(kind: type[_Part], value: object) -> _Part | None:
    """Return a part of a trace in our form; None where the SDK stored something else."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return None


def _step(step: Mapping[str, Any]) -> TraceStep:
    validation = step.get("validation") or {}
    known = {name: step[name] for name in _STEP_KEYS if step.get(name) is not None}
    known["validation"] = {
        name: value for name, value in validation.items() if name != "validation_request"
    }
    return TraceStep(**known)


def _event(row: Mapping[str, Any]) -> TraceEvent:
    """Return an event in the form of our own lines.

    Those from inside the student's graph hold the transcript over and over, and are named alone.
    """
    payload = _mapping(_mapping(row.get("event")).get("payload"))
    inside = _mapping(payload.get("metadata"))
    name, kind, actor = payload.get("name"), payload.get("event_type"), inside.get("actor") or "atlas"
    data = {part: cut(value) for part, value in _mapping(payload.get("data")).items() if value is not None}
    body = EventBody(kind, name, {"actor": actor}, payload.get("event_timestamp"), {} if inside else data)
    return TraceEvent(kind, name, actor, body)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _loop_facts(session: SdkSession, trace: SessionTrace) -> LoopFacts:
    reward = trace.session_reward
    learnt, rejected, error = _learning(session)
    return LoopFacts(
        execution_mode=trace.execution_mode,
        learning_key=trace.learning_key,
        reward_status="failed" if reward is None else "scored",
        reward_escalated=None if reward is None else bool(reward.judges and reward.judges[0].escalated),
        attempts=len(session.attempts),
        teacher_intervened=bool(session.guidance),
        teacher_valid=_teacher_valid(session),
        first_attempt_success=session.attempts[0].overall_success,
        entries_available=session.entries_available,
        entries_learnt=learnt,
        entries_rejected=rejected,
        learning_error=error,
        drift_alert=trace.drift_alert,
        review_status=trace.review_status,
    )


def _teacher_valid(session: SdkSession) -> bool | None:
    """Return the teacher's verdict on the last attempt; the SDK stores a yes where it did not ask."""
    steps = session.memory.get("steps") or {}
    attempts = next((step.get("attempts") for step in steps.values()), None) or [{}]
    validation = attempts[-1].get("evaluation", {}).get("validation", {})
    return bool(validation["valid"]) if "validation_request" in validation else None


def _learning(session: SdkSession) -> tuple[int | None, int | None, str | None]:
    """Return how many entries were accepted and rejected, and why the learner's reply was unusable."""
    if not session.asked["learner"]:
        return None, None, None
    if not session.memory.get("session_learning_audit"):
        return None, None, session.failures.get("learner", "The learner's reply was no JSON object.")
    state = session.memory.get("learning_state") or {}
    evaluation = (state.get("metadata") or {}).get("last_evaluation") or {}
    count = len(evaluation.get("candidates") or ())
    accepted = bool((evaluation.get("summary") or {}).get("accepted"))
    return (count, 0, None) if accepted else (0, count, None)
