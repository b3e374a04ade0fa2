"""A session's records as the JSON that others read: the telemetry's columns, and trace lines.

The forms are the Atlas SDK's; this is the only place that makes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from crm_assets.atlas.outcomes import ModeDecision, Principle, Reward, Validation
from crm_assets.atlas.playbook import LearningState
from crm_assets.atlas.telemetry.records import (
    SessionEnd,
    SessionStart,
    Step,
)
from crm_assets.atlas.telemetry.registry import state_document
from crm_assets.llm.spending import Spending
from crm_assets.records import RoleUsage
from crm_assets.records.trace import (
    AdaptiveSummary,
    ModeChoice,
    Plan,
    PlanStep,
    RewardJudge,
    RewardPrinciple,
    RewardSample,
    RewardStats,
    SessionReward,
    SessionTrace,
    TraceEvent,
    TraceStep,
)

__all__ = [
    "attempt_rows",
    "end_metadata",
    "plan_document",
    "reward_document",
    "start_metadata",
    "stats_document",
    "step_rows",
    "token_usage",
    "trace_of",
    "usage_document",
]

_JUDGE = "session_reward"


def start_metadata(start: SessionStart) -> dict[str, object]:
    """Return `sessions.metadata` of a session that begins."""
    return {
        **start.metadata,
        "run_id": start.run_id,
        "session_key": start.session_key,
        "learning_key": start.learning_key,
    }


def end_metadata(end: SessionEnd, learning_state: LearningState | None) -> dict[str, object]:
    """Return what is added to `sessions.metadata` when the session has ended, without unknown facts."""
    reward, mode = end.reward, end.mode
    facts = {
        **end.metadata,
        "execution_mode": mode.mode if mode else None,
        "adaptive_summary": _adaptive_summary(mode) if mode else None,
        "session_reward": reward_document(end),
        "reward_stats": stats_document(reward),
        "reward_status": reward.status if reward else None,
        "token_usage": token_usage(end.spending),
        "learning_usage": end.learning_usage,
        "review": {"status": end.review.status, "notes": end.review.notes},
        "drift": end.drift.document() if end.drift else None,
        "drift_alert": end.drift.alert if end.drift else None,
        "triage_dossier": end.triage_dossier,
        "session_learning_note": end.student_note,
        "learning_state": state_document(learning_state) if learning_state else None,
        "error": end.error,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _adaptive_summary(mode: ModeDecision) -> AdaptiveSummary:
    return AdaptiveSummary(
        adaptive_mode=mode.mode,
        confidence=mode.confidence,
        source=mode.source,
        reason=mode.reason,
        mode_history=(ModeChoice(mode.mode, mode.confidence, mode.reason),),
    )


def token_usage(spending: Mapping[str, Spending]) -> dict[str, object]:
    """Return `metadata.token_usage`: the spending of all roles together, and of each."""
    total = _spent(Spending.total(spending.values()))
    return {**total, "by_role": {role: _spent(spent) for role, spent in spending.items()}}


def usage_document(spending: Spending) -> RoleUsage:
    """Return tokens and calls of one role or of all; tokens are None where no call's are known."""
    unknown = spending.calls > 0 and spending.unknown_usage_calls == spending.calls
    tokens = {**asdict(spending.usage), "total_tokens": spending.usage.total_tokens}
    return RoleUsage(
        **(dict.fromkeys(tokens) if unknown else tokens),
        calls=spending.calls,
        failed_calls=spending.failed_calls,
        unknown_usage_calls=spending.unknown_usage_calls,
        unknown_cost_calls=spending.unknown_cost_calls,
    )


def _spent(spending: Spending) -> dict[str, object]:
    return {**vars(usage_document(spending)), "cost_usd": spending.cost_usd}


def reward_document(end: SessionEnd) -> SessionReward | None:
    """Return `sessions.reward`; None where there is no score, which is not a score of 0."""
    reward = end.reward
    if reward is None or reward.score is None:
        return None
    samples = tuple(
        RewardSample(
            score=sample.score,
            rationale=sample.rationale,
            principles=_principles(sample.principles),
            uncertainty=sample.uncertainty,
            temperature=sample.temperature,
        )
        for sample in reward.samples
    )
    judge = RewardJudge(
        identifier=_JUDGE,
        score=reward.score,
        rationale=reward.rationale or "",
        principles=_principles(reward.principles),
        samples=samples,
        escalated=reward.escalated,
        escalation_reason=reward.escalation_reason,
    )
    raw = {
        "score": reward.score,
        "samples": samples,
        "execution_mode": end.mode.mode if end.mode else None,
        "teacher_intervened": bool(end.guidance),
        "focus_prompt": end.focus_prompt,
    }
    return SessionReward(score=reward.score, judges=(judge,), raw=raw)


def _principles(principles: Iterable[Principle]) -> tuple[RewardPrinciple, ...]:
    return tuple(RewardPrinciple(each.name, each.weight, each.description) for each in principles)


def stats_document(reward: Reward | None) -> RewardStats | None:
    """Return `sessions.reward_stats`; None where there is no score."""
    if reward is None or reward.score is None or reward.stats is None:
        return None
    return RewardStats(**reward.stats.model_dump())


def _validation(validation: Validation | None) -> dict[str, object]:
    return validation.model_dump(exclude_none=True) if validation else {}


def plan_document(end: SessionEnd) -> Plan:
    """Return `plans.plan`: a step for each turn, each after the one before."""
    befores: list[tuple[int, ...]] = [(), *((step.id,) for step in end.steps)]
    return Plan(
        steps=tuple(
            PlanStep(step.id, step.description, step.tool, _parameters(step), before)
            for before, step in zip(befores, end.steps, strict=False)
        )
    )


def _parameters(step: Step) -> dict[str, object] | None:
    """Return arguments as the SDK's plan needs them: an object, even if the student gave something else."""
    given = step.tool_params
    return given if given is None or isinstance(given, dict) else {"arguments": given}


def step_rows(end: SessionEnd) -> list[dict[str, object]]:
    """Return the rows of `step_results`, without the session's ID."""
    evaluation = {"validation": _validation(end.validation), "reward": reward_document(end) or {}}
    return [
        {
            "step_id": step.id,
            "trace": step.trace,
            "output": step.output or "",
            "evaluation": evaluation,
            "attempts": step.attempts,
            "metadata": step.metadata,
        }
        for step in end.steps
    ]


def attempt_rows(end: SessionEnd) -> list[dict[str, object]]:
    """Return the rows of `step_attempts`, without the session's ID."""
    return [
        {
            "step_id": attempt.step_id,
            "attempt": attempt.attempt,
            "evaluation": {**attempt.evaluation, "validation": _validation(attempt.validation)},
        }
        for attempt in end.attempts
    ]


def trace_of(
    start: SessionStart, end: SessionEnd, learning_state: LearningState | None = None
) -> SessionTrace:
    """Return the session as the SDK's exporter writes it.

    Args:
        start: as it began.
        end: as it ended.
        learning_state: what came of a merge; left out, what it ran with.
    """
    drift = end.drift.document() if end.drift else None
    return SessionTrace(
        task=start.task,
        final_answer=end.final_answer or "",
        plan=plan_document(end),
        steps=_trace_steps(end),
        session_metadata={
            **start_metadata(start),
            **end_metadata(end, learning_state or end.learning_state),
        },
        session_reward=reward_document(end),
        reward_stats=stats_document(end.reward),
        execution_mode=end.mode.mode if end.mode else None,
        review_status=end.review.status,
        review_notes=end.review.notes,
        learning_key=start.learning_key,
        adaptive_summary=_adaptive_summary(end.mode) if end.mode else None,
        triage_dossier=end.triage_dossier,
        drift=drift,
        drift_alert=end.drift.alert if end.drift else None,
        student_learning=end.student_note,
        teacher_learning=end.teacher_note,
        trajectory_events=tuple(
            TraceEvent(event.event_type, event.name, event.actor, event.document()) for event in end.events
        ),
    )


def _trace_steps(end: SessionEnd) -> tuple[TraceStep, ...]:
    reward = reward_document(end)
    shown = {} if reward is None else asdict(reward)
    return tuple(
        TraceStep(
            step_id=step.id,
            description=step.description,
            trace=step.trace,
            output=step.output or "",
            reward=shown,
            tool=step.tool,
            tool_params=_parameters(step) or {},
            validation=_validation(end.validation),
            attempts=step.attempts,
            guidance=end.guidance if position == 0 else (),
            metadata=step.metadata,
            depends_on=planned.depends_on,
        )
        for position, (step, planned) in enumerate(zip(end.steps, plan_document(end).steps, strict=True))
    )
