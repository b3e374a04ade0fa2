"""Define what the Atlas loop adds to a session, in the Atlas SDK's names: reward, plan, steps, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "AdaptiveSummary",
    "EventBody",
    "ModeChoice",
    "Plan",
    "PlanStep",
    "RewardJudge",
    "RewardPrinciple",
    "RewardSample",
    "RewardStats",
    "SessionReward",
    "SessionTrace",
    "TraceEvent",
    "TraceStep",
]


@dataclass(frozen=True)
class RewardPrinciple:
    """One thing that a judge judged by."""

    name: str
    weight: float | None = None
    description: str = ""


@dataclass(frozen=True)
class RewardSample:
    """One judgement."""

    score: float
    """0–1."""
    rationale: str | None = None
    principles: tuple[RewardPrinciple, ...] = ()
    uncertainty: float | None = None
    """0–1."""
    temperature: float | None = None
    """That the judge was asked at."""


@dataclass(frozen=True)
class RewardJudge:
    """The judges' word on a session, with all judgements that count."""

    identifier: str = ""
    score: float | None = None
    """0–1, the mean of the samples."""
    rationale: str | None = None
    """Of the least uncertain judgement."""
    principles: tuple[RewardPrinciple, ...] = ()
    samples: tuple[RewardSample, ...] = ()
    """The small model's judgements, or the large one's alone."""
    escalated: bool = False
    """The large model had the last word."""
    escalation_reason: str | None = None


@dataclass(frozen=True)
class SessionReward:
    """The reward of a session."""

    score: float | None = None
    """0–1."""
    rationale: str | None = None
    judges: tuple[RewardJudge, ...] = ()
    raw: Mapping[str, object] | None = None
    """The SDK's copy: score, samples, mode, teacher's intervention, focus prompt."""


@dataclass(frozen=True)
class RewardStats:
    """The spread of the judgements behind a score."""

    score: float
    score_mean: float | None = None
    score_stddev: float | None = None
    """Of the population."""
    sample_count: int | None = None
    uncertainty_mean: float | None = None
    uncertainty_stddev: float | None = None
    best_uncertainty: float | None = None
    timestamp: str | None = None
    """ISO 8601, UTC."""


@dataclass(frozen=True)
class ModeChoice:
    """A mode that was chosen, and why."""

    mode: str | None = None
    confidence: float | None = None
    """0–1."""
    reason: str | None = None


@dataclass(frozen=True)
class AdaptiveSummary:
    """The mode of a session and its source."""

    adaptive_mode: str | None = None
    confidence: float | None = None
    """0–1."""
    source: str | None = None
    """`forced`, `probe`, `no_history`, …"""
    reason: str | None = None
    mode_history: tuple[ModeChoice, ...] = ()
    probe: Mapping[str, object] | None = None
    """The probe's reply, in the SDK's own sessions."""


@dataclass(frozen=True)
class PlanStep:
    """A turn of the conversation as a step of a plan."""

    id: int
    description: str = ""
    """The user's utterance."""
    tool: str | None = None
    """The tool that the student called."""
    tool_params: Mapping[str, object] | None = None
    depends_on: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The turns of a session, each after the one before."""

    steps: tuple[PlanStep, ...] = ()
    execution_mode: str = "stepwise"


@dataclass(frozen=True)
class TraceStep:
    """A turn as the student's last attempt went through it."""

    step_id: int
    description: str = ""
    trace: str = ""
    """The call's outcome, as JSON."""
    output: str = ""
    """The student's reply."""
    reward: Mapping[str, object] = field(default_factory=dict)
    """The session's reward; empty without one."""
    tool: str | None = None
    tool_params: Mapping[str, object] | None = None
    validation: Mapping[str, object] = field(default_factory=dict)
    """The teacher's; empty where it was not asked."""
    attempts: Any = 1
    """Number of times that the student ran; the SDK's own lines hold a list."""
    guidance: tuple[Any, ...] = ()
    """The teacher's guidance for the student, in order, on the first step."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """The harness's verdicts."""
    depends_on: tuple[int, ...] = ()


@dataclass(frozen=True)
class EventBody:
    """An event as the SDK keeps it."""

    event_type: str | None = None
    name: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    """Actor, attempt and the like."""
    event_timestamp: float | None = None
    """Seconds since 1970."""
    data: Mapping[str, object] = field(default_factory=dict)
    """Input and output."""


@dataclass(frozen=True)
class TraceEvent:
    """One event of a session."""

    event_type: str | None = None
    name: str | None = None
    actor: str = ""
    """Student, teacher, judge, learner, …"""
    event: EventBody = EventBody()

    @property
    def data(self) -> Mapping[str, object]:
        """Its input and output."""
        return self.event.data

    @property
    def attempt(self) -> int | None:
        """The student's attempt that it belongs to, from 1."""
        found = self.event.metadata.get("attempt")
        return found if isinstance(found, int) else None


@dataclass(frozen=True)
class SessionTrace:
    """A session as the Atlas SDK's exporter writes it; None for what a session does not have."""

    task: str | None = None
    """The task, as text. It is the first key of the trace: readers of summaries stop here."""
    final_answer: str | None = None
    plan: Plan | None = None
    steps: tuple[TraceStep, ...] | None = None
    session_metadata: Mapping[str, object] | None = None
    """The session's metadata in the telemetry database."""
    session_reward: SessionReward | None = None
    reward_stats: RewardStats | None = None
    execution_mode: str | None = None
    review_status: str | None = None
    learning_key: str | None = None
    adaptive_summary: AdaptiveSummary | None = None
    student_learning: str | None = None
    """The lesson for the student."""
    teacher_learning: str | None = None
    """The lesson for the teacher."""
    trajectory_events: tuple[TraceEvent, ...] | None = None
    review_notes: str | None = None
    triage_dossier: Mapping[str, object] | None = None
    drift: Mapping[str, object] | None = None
    """The reward's distance from those before it."""
    drift_alert: bool | None = None

    def events(self, name: str) -> list[TraceEvent]:
        """Return the events of this name, in order."""
        return [event for event in self.trajectory_events or () if event.name == name]
