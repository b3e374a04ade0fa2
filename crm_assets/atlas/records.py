"""The records of sessions: their lines in sessions.jsonl, and what the telemetry keeps of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, replace
from statistics import fmean

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.loop import SessionRun, describe_task
from crm_assets.atlas.tasks import AtlasTask
from crm_assets.atlas.telemetry import (
    SessionEnd,
    SessionStart,
    detect_drift,
    review,
    steps_of,
    trace_of,
    usage_document,
)
from crm_assets.engine import FIRST_EPOCH, session_key
from crm_assets.llm import Role, Spending
from crm_assets.records import (
    RUN_SCHEMA_VERSION,
    ConversationResult,
    FinalPayload,
    LoopFacts,
    LoopSession,
    RoleUsage,
    SessionFacts,
    SessionRecord,
)
from crm_assets.records.summary import SessionStatus
from crm_assets.records.trace import SessionTrace

__all__ = [
    "harness_record",
    "loop_record",
    "repeated",
    "rescored_record",
    "session_end",
    "session_record",
    "session_start",
]

_STATUS: dict[str, SessionStatus] = {
    "completed": "succeeded",
    "infrastructure_error": "failed",
    "not_recorded": "not_recorded",
    "not_run": "not_run",
}
"""A session's status by its result's."""


def harness_record(
    task: AtlasTask,
    result: ConversationResult,
    *,
    epoch: int = FIRST_EPOCH,
    spent: Mapping[Role, Spending] | None = None,
) -> SessionRecord:
    """Return the line of a session that is the harness's run alone: no teacher, judges or learner.

    Args:
        task: what was run.
        result: how it went.
        epoch: which time.
        spent: by role; left out, what the turns say.
    """
    usage, costs = (_turns_usage(result), {}) if spent is None else _usage(spent)
    facts = SessionFacts(
        workflow_category=task.conversation.workflow_category,
        complexity_level=task.conversation.complexity_level,
        execution_mode="harness",
        token_usage=usage,
        cost_usd=costs,
    )
    turns = result.per_turn_results
    return SessionRecord(
        schema_version=RUN_SCHEMA_VERSION,
        conversation_id=result.conversation_id,
        task_id=task.task_id,
        epoch=epoch,
        status=_STATUS[result.status],
        final_payload=FinalPayload(
            final_answer=turns[-1].agent_response_text if turns else None,
            overall_success=result.overall_success,
            reward_signal=result.reward_signal,
            state_match=result.state_match,
        ),
        conversation_result=result,
        atlas_metadata=facts,
    )


def repeated(record: SessionRecord, replayed: str) -> SessionRecord:
    """Return the line of a session of a run that repeats the run `replayed`."""
    return replace(record, atlas_metadata=replace(record.atlas_metadata, replay_of=replayed))


def rescored_record(task: AtlasTask, result: ConversationResult, *, replayed: str) -> SessionRecord:
    """Return the line of a session whose calls the run `replayed` made."""
    return repeated(harness_record(task, result), replayed)


def loop_record(
    task: AtlasTask,
    result: ConversationResult,
    facts: LoopFacts,
    trace: SessionTrace | None = None,
    *,
    epoch: int,
    spent: Mapping[Role, Spending],
) -> LoopSession:
    """Return the line of a session of the Atlas loop.

    Args:
        task: what was run.
        result: how its last attempt went.
        facts: what the loop says of it, without what `harness_record` adds.
        trace: what happened in it; None where it did not come that far.
        epoch: which time.
        spent: by role.
    """
    record = harness_record(task, result, epoch=epoch, spent=spent)
    mode, harness = facts.execution_mode, record.atlas_metadata
    known = {**vars(facts), **vars(harness), "execution_mode": mode}
    if trace is not None:
        known |= {
            "session_reward": trace.session_reward,
            "reward_stats": trace.reward_stats,
            "adaptive_summary": trace.adaptive_summary,
        }
    own = {**vars(record), "atlas_metadata": LoopFacts(**known)}
    return LoopSession(**own, **vars(trace or SessionTrace()))


def session_start(
    task: AtlasTask, epoch: int, *, learning_key: str, dataset: str, tags: tuple[str, ...]
) -> SessionStart:
    """Return what the telemetry stores when a session begins; it contains no ground truth."""
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
    """Return what the telemetry stores when a session has ended."""
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
    task: AtlasTask, epoch: int, run: SessionRun, end: SessionEnd, *, spent: Mapping[Role, Spending]
) -> LoopSession:
    """Return a session's line: the harness's record, what Atlas made of it, and its trace."""
    reward, learnt = run.reward, run.learnt
    facts = LoopFacts(
        execution_mode=run.mode.mode if run.mode else None,
        learning_key=run.open.start.learning_key,
        reward_status=reward.status if reward else None,
        reward_escalated=reward.escalated if reward else None,
        small_judge_scores=reward.small_judge_scores if reward else None,
        attempts=len(run.attempts),
        teacher_intervened=bool(run.guidance),
        teacher_valid=end.validation.valid if end.validation else None,
        first_attempt_success=run.attempts[0].result.overall_success,
        entries_available=len(run.state.entries),
        entries_learnt=len(learnt.update.entries) if learnt and learnt.update else None,
        entries_rejected=len(learnt.update.rejected) if learnt and learnt.update else None,
        learning_error=learnt.error if learnt else None,
        drift_alert=end.drift.alert if end.drift else None,
        review_status=end.review.status,
    )
    trace = trace_of(run.open.start, end)
    return loop_record(task, run.result, facts, trace, epoch=epoch, spent=spent)


def _dossier(run: SessionRun) -> dict[str, object]:
    """Return the SDK's triage of a task, as far as a CRM conversation has one."""
    return {
        "task": run.open.start.task,
        "summary": run.open.start.task,
        "risks": [],
        "signals": [],
        "persona_references": [],
        "tags": run.open.start.metadata.get("tags", ()),
        "metadata": {},
    }


def _turns_usage(result: ConversationResult) -> dict[str, RoleUsage]:
    """Return the tokens that a past run's turns report, by role."""
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for turn in result.per_turn_results:
        for role, usage in turn.token_usage.items():
            totals[role].update(asdict(usage))
    return {role: RoleUsage(**total) for role, total in totals.items()}


def _usage(spent: Mapping[Role, Spending]) -> tuple[dict[str, RoleUsage], dict[str, float]]:
    """Return tokens and calls, and dollars, by role.

    Tokens are None, and dollars left out, where no call's are known; where only some are unknown, the
    numbers are the least that it was, and the unknown calls are counted beside them.
    """
    usage = {str(role): usage_document(spending) for role, spending in spent.items()}
    costs = {
        str(role): spending.cost_usd for role, spending in spent.items() if spending.cost_usd is not None
    }
    costs = {
        str(role): spending.cost_usd for role, spending in spent.items() if spending.cost_usd is not None
    }
    return usage, costs
