"""sessions.jsonl: the line of a session that the SDK has driven."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from crm_assets.atlas.records import TRACE_KEYS, harness_record
from crm_assets.atlas.sdk.session import SdkSession
from crm_assets.atlas.tasks import AtlasTask
from crm_assets.llm import Role, Spending, cut

__all__ = ["has_reward", "sdk_record"]

_NO_SAMPLE = "No valid reward sample produced."
"""What the SDK says of the 0.0 that it makes where no judge could be understood."""

_BESIDES = ("review_notes", "drift", "drift_alert", "triage_dossier")
"""Keys of the exporter's that lines of ours have, too, where there is something to say."""

_TWICE = ("trajectory_events", "reward_audit")
"""What the exporter repeats in the metadata."""

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
    facts: Mapping[str, Any],
    spent: Mapping[Role, Spending],
) -> dict[str, Any]:
    """A session's line: the harness's record, what the SDK made of it, and its trace.

    Args:
        task: what was worked on.
        epoch: which time.
        session: as it went.
        trace: the session as the SDK's exporter writes it.
        facts: what all sessions of the run have in common.
        spent: by role, from the ledger.
    """
    shown = _trace(trace)
    record = harness_record(
        task,
        session.attempts[-1],
        facts,
        epoch=epoch,
        spent=spent,
        metadata=_atlas_facts(session, shown),
    )
    return {**vars(record), **shown}


def has_reward(trace: Mapping[str, Any]) -> bool:
    """Whether the judges gave a score.

    The 0.0 that the SDK makes of replies that it could not read is none, nor is one that is not of 0–1,
    which it does not check.
    """
    reward = trace.get("session_reward") or {}
    score = reward.get("score")
    if not isinstance(score, (int, float)) or not math.isfinite(score) or not 0.0 <= score <= 1.0:
        return False
    return _judge(reward).get("rationale") != _NO_SAMPLE


def _judge(reward: Mapping[str, Any]) -> Mapping[str, Any]:
    judges = reward.get("judges")
    return _mapping(judges[0]) if isinstance(judges, list) and judges else {}


def _trace(trace: Mapping[str, Any]) -> dict[str, Any]:
    """The exporter's keys that all lines have; the whole of it stays in the telemetry database."""
    shown: dict[str, Any] = dict.fromkeys(TRACE_KEYS)
    shown |= {name: trace[name] for name in (*TRACE_KEYS, *_BESIDES) if name in trace}
    shown["steps"] = [_step(step) for step in trace.get("steps") or ()]
    shown["trajectory_events"] = [_event(event) for event in trace.get("trajectory_events") or ()]
    metadata = trace.get("session_metadata") or {}
    shown["session_metadata"] = {name: value for name, value in metadata.items() if name not in _TWICE}
    if not has_reward(trace):
        shown["session_reward"] = shown["reward_stats"] = None
    return shown


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: step[name] for name in _STEP_KEYS if name in step}
    validation = step.get("validation") or {}
    shown["validation"] = {
        name: value for name, value in validation.items() if name != "validation_request"
    }
    return shown


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    """An event in the form of our own lines.

    Those from inside the student's graph hold the transcript over and over, and are named alone.
    """
    payload = _mapping(_mapping(row.get("event")).get("payload"))
    inside = _mapping(payload.get("metadata"))
    name, kind, actor = payload.get("name"), payload.get("event_type"), inside.get("actor") or "atlas"
    data = {part: cut(value) for part, value in _mapping(payload.get("data")).items() if value is not None}
    return {
        "event_type": kind,
        "name": name,
        "actor": actor,
        "event": {
            "event_type": kind,
            "name": name,
            "metadata": {"actor": actor},
            "event_timestamp": payload.get("event_timestamp"),
            "data": {} if inside else data,
        },
    }


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _atlas_facts(session: SdkSession, trace: Mapping[str, Any]) -> dict[str, Any]:
    """What the metrics of an Atlas run are made of."""
    reward = trace["session_reward"]
    learnt, rejected, error = _learning(session)
    return {
        "execution_mode": trace["execution_mode"],
        "use_llm_judge": session.judge is not None,
        "learning_key": trace["learning_key"],
        "session_reward": reward,
        "reward_stats": trace["reward_stats"],
        "reward_status": "failed" if reward is None else "scored",
        "reward_escalated": None if reward is None else bool(_judge(reward).get("escalated")),
        "attempts": len(session.attempts),
        "teacher_intervened": bool(session.guidance),
        "teacher_valid": _teacher_valid(session),
        "first_attempt_success": session.attempts[0].overall_success,
        "entries_available": session.entries_available,
        "entries_learnt": learnt,
        "entries_rejected": rejected,
        "learning_error": error,
        "drift_alert": trace.get("drift_alert"),
        "review_status": trace["review_status"],
    }


def _teacher_valid(session: SdkSession) -> bool | None:
    """What the teacher said of the last attempt; the SDK says yes where it did not ask."""
    steps = session.memory.get("steps") or {}
    attempts = next((step.get("attempts") for step in steps.values()), None) or [{}]
    validation = attempts[-1].get("evaluation", {}).get("validation", {})
    return bool(validation["valid"]) if "validation_request" in validation else None


def _learning(session: SdkSession) -> tuple[int | None, int | None, str | None]:
    """Entries that were let in and refused, and why the learner said nothing of use."""
    if not session.asked["learner"]:
        return None, None, None
    if not session.memory.get("session_learning_audit"):
        return None, None, session.failures.get("learner", "The learner's reply was no JSON object.")
    state = session.memory.get("learning_state") or {}
    evaluation = (state.get("metadata") or {}).get("last_evaluation") or {}
    count = len(evaluation.get("candidates") or ())
    accepted = bool((evaluation.get("summary") or {}).get("accepted"))
    return (count, 0, None) if accepted else (0, count, None)
