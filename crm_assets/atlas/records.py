"""sessions.jsonl: a line for each session, and what the telemetry keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.loop import SessionRun, describe_task
from crm_assets.atlas.tasks import AtlasTask
from crm_assets.atlas.telemetry import (
    SessionEnd,
    SessionStart,
    detect_drift,
    review,
    steps_of,
    trace_document,
    usage_document,
)
from crm_assets.engine import FIRST_EPOCH, session_key
from crm_assets.llm import Role, Spending
from crm_assets.records import ConversationResult

__all__ = [
    "SESSION_SCHEMA_VERSION",
    "STATUS",
    "TRACE_KEYS",
    "SessionRecord",
    "harness_record",
    "session_end",
    "session_record",
    "session_start",
]

SESSION_SCHEMA_VERSION = 1

STATUS = {
    "completed": "succeeded",
    "infrastructure_error": "failed",
    "not_recorded": "not_recorded",
    "not_run": "not_run",
}
"""A session's status by its result's."""

TRACE_KEYS = (
    "task",
    "final_answer",
    "plan",
    "steps",
    "session_metadata",
    "session_reward",
    "reward_stats",
    "execution_mode",
    "review_status",
    "learning_key",
    "adaptive_summary",
    "student_learning",
    "teacher_learning",
    "trajectory_events",
)
"""The SDK's keys, on every line of an Atlas run; null where a session has none of it."""


@dataclass(frozen=True)
class SessionRecord:
    """What every line of sessions.jsonl has, whoever worked."""

    schema_version: int
    conversation_id: str
    task_id: str
    epoch: int
    """Which time the task was worked on in this run, from 1."""
    status: str
    """`succeeded` (ran to its end), `failed` (something around the agent broke), `not_recorded`,
    `not_run` (the budget was spent)."""
    final_payload: Mapping[str, Any]
    """How it ended, in short."""
    conversation_result: ConversationResult
    """The harness's result, turn by turn."""
    atlas_metadata: Mapping[str, Any]
    """Which run, on what, by whom, in which mode, at what cost."""


def harness_record(
    task: AtlasTask,
    result: ConversationResult,
    facts: Mapping[str, Any],
    *,
    epoch: int = FIRST_EPOCH,
    spent: Mapping[Role, Spending] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> SessionRecord:
    """The line of a session that is the harness's run alone, with no teacher, judge or learner.

    Args:
        task: what was worked on.
        result: how it went.
        facts: what all sessions of the run have in common.
        epoch: which time.
        spent: by role; left out, what the turns say.
        metadata: what an Atlas session knows beyond that.
    """
    return SessionRecord(
        schema_version=SESSION_SCHEMA_VERSION,
        conversation_id=result.conversation_id,
        task_id=task.task_id,
        epoch=epoch,
        status=STATUS[result.status],
        final_payload=_final_payload(result),
        conversation_result=result,
        atlas_metadata={
            **facts,
            "run_id": task.run_id,
            "dataset_revision": task.dataset_revision,
            "workflow_category": task.conversation.workflow_category,
            "complexity_level": task.conversation.complexity_level,
            "execution_mode": "harness",
            "session_reward": None,
            "reward_stats": None,
            **(_turns_usage(result) if spent is None else _usage(spent)),
            "backend": task.backend,
            "use_llm_judge": task.use_llm_judge,
            **(metadata or {}),
        },
    )


def session_start(
    task: AtlasTask, epoch: int, *, learning_key: str, dataset: str, tags: tuple[str, ...]
) -> SessionStart:
    """What the telemetry is told of a session that begins; no ground truth is in it."""
    conversation = task.conversation
    return SessionStart(
        session_key=session_key(task.task_id, epoch),
        run_id=task.run_id,
        learning_key=learning_key,
        task=describe_task(conversation),
        metadata={
            "conversation_id": conversation.conversation_id,
            "incident_id": conversation.conversation_id,
            "task_id": task.task_id,
            "epoch": epoch,
            "dataset": dataset,
            "dataset_revision": task.dataset_revision,
            "workflow_category": conversation.workflow_category,
            "complexity_level": conversation.complexity_level,
            "source": "crm_assets",
            "tags": [*tags, conversation.workflow_category, conversation.complexity_level],
        },
    )


def session_end(run: SessionRun, config: AtlasConfig, spent: Mapping[Role, Spending]) -> SessionEnd:
    """What the telemetry keeps of a session that is over."""
    results = [attempt.result for attempt in run.attempts]
    validations = [attempt.validation for attempt in run.attempts]
    steps, attempts = steps_of(results, validations)
    turns = run.result.per_turn_results
    drift = None
    if run.reward is not None and run.reward.score is not None:
        uncertainty = fmean(sample.uncertainty for sample in run.reward.samples)
        drift = detect_drift(
            run.open.context.window, run.reward.score, uncertainty, config.runtime_safety.drift
        )
    update = run.learnt.update if run.learnt else None
    return SessionEnd(
        status="succeeded" if run.result.status == "completed" else "failed",
        final_answer=turns[-1].agent_response_text if turns else None,
        mode=run.mode,
        reward=run.reward,
        validation=validations[-1],
        steps=steps,
        attempts=attempts,
        guidance=tuple(run.guidance),
        events=tuple(run.trajectory.events),
        student_note=update.session_student_learning if update else None,
        teacher_note=update.session_teacher_learning if update else None,
        spending={str(role): spending for role, spending in spent.items()},
        drift=drift,
        review=review(drift, config.runtime_safety.review.require_approval),
        focus_prompt=config.adaptive_teaching.focus_prompt,
        learning_usage=run.usage.document() if run.usage else None,
        triage_dossier=_dossier(run),
        learning_state=run.open.context.learning,
        error=run.result.error_message,
        metadata={
            "overall_success": run.result.overall_success,
            "state_match": run.result.state_match,
        },
    )


def session_record(
    task: AtlasTask,
    epoch: int,
    run: SessionRun,
    end: SessionEnd,
    *,
    facts: Mapping[str, Any],
    spent: Mapping[Role, Spending],
) -> dict[str, Any]:
    """A session's line: the harness's record, what Atlas made of it, and the SDK's trace keys."""
    trace = trace_document(run.open.start, end)
    record = harness_record(
        task, run.result, facts, epoch=epoch, spent=spent, metadata=_atlas_facts(run, end, trace)
    )
    return {**vars(record), **dict.fromkeys(TRACE_KEYS), **trace}


def _atlas_facts(run: SessionRun, end: SessionEnd, trace: Mapping[str, Any]) -> dict[str, Any]:
    """What the metrics of an Atlas run are made of."""
    reward, learnt = run.reward, run.learnt
    return {
        "execution_mode": run.mode.mode if run.mode else None,
        "use_llm_judge": run.judge is not None,
        "learning_key": run.open.start.learning_key,
        "session_reward": trace.get("session_reward"),
        "reward_stats": trace.get("reward_stats"),
        "reward_status": reward.status if reward else None,
        "reward_escalated": reward.escalated if reward else None,
        "attempts": len(run.attempts),
        "teacher_intervened": bool(run.guidance),
        "teacher_valid": end.validation.valid if end.validation else None,
        "first_attempt_success": run.attempts[0].result.overall_success,
        "entries_available": len(run.state.entries),
        "entries_learnt": len(learnt.update.entries) if learnt and learnt.update else None,
        "entries_rejected": len(learnt.update.rejected) if learnt and learnt.update else None,
        "learning_error": learnt.error if learnt else None,
        "drift_alert": end.drift.alert if end.drift else None,
        "review_status": end.review.status,
    }


def _dossier(run: SessionRun) -> dict[str, Any]:
    """The SDK's triage of a task, as far as a CRM conversation has one."""
    return {
        "task": run.open.start.task,
        "summary": run.open.start.task,
        "risks": [],
        "signals": [],
        "persona_references": [],
        "tags": list(run.open.start.metadata.get("tags", ())),
        "metadata": {},
    }


def _final_payload(result: ConversationResult) -> dict[str, Any]:
    turns = result.per_turn_results
    return {
        "final_answer": turns[-1].agent_response_text if turns else None,
        "overall_success": result.overall_success,
        "reward_signal": result.reward_signal,
        "state_match": result.state_match,
    }


def _turns_usage(result: ConversationResult) -> dict[str, Any]:
    totals: dict[str, dict[str, int]] = {}
    for turn in result.per_turn_results:
        for role, usage in turn.token_usage.items():
            total = totals.setdefault(role, {})
            for name, count in asdict(usage).items():
                total[name] = total.get(name, 0) + count
    return {"token_usage": totals}


def _usage(spent: Mapping[Role, Spending]) -> dict[str, Any]:
    """Return tokens, calls and dollars by role.

    Tokens are null, and dollars left out, where no call's are known; where only some are unknown, the
    numbers are the least that it was, and the unknown calls are counted beside them.
    """
    return {
        "token_usage": {role: usage_document(spending) for role, spending in spent.items()},
        "cost_usd": {
            role: spending.cost_usd for role, spending in spent.items() if spending.cost_usd is not None
        },
    }
