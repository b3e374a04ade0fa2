"""The records of a session for the telemetry: at its start and at its end.

Plain data classes, without validation: texts of models and tools may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from crm_assets.atlas.outcomes import ModeDecision, Reward, Validation
from crm_assets.atlas.playbook import LearningState
from crm_assets.atlas.telemetry.drift import Drift, Review
from crm_assets.llm.spending import Spending
from crm_assets.records.trace import EventBody

__all__ = ["EventType", "SessionEnd", "SessionStart", "Step", "StepAttempt", "TrajectoryEvent"]

EventType = Literal[
    "WORKFLOW_START",
    "WORKFLOW_END",
    "TASK_START",
    "TASK_END",
    "LLM_START",
    "LLM_END",
    "TOOL_START",
    "TOOL_END",
    "FUNCTION_START",
    "FUNCTION_END",
    "CUSTOM_START",
    "CUSTOM_END",
]
"""The SDK's kinds of events."""


_UNSEEN = Review("pending", None)


@dataclass(frozen=True)
class SessionStart:
    """A session that begins."""

    session_key: str
    """The session's key in its run; a session that is run again keeps it."""
    run_id: str
    learning_key: str
    task: str
    """The task, as text."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """Further facts: conversation, workflow, dataset, tags. No ground truth."""


@dataclass(frozen=True)
class Step:
    """A turn of the conversation, as the last attempt of the student went through it."""

    id: int
    """The turn's number."""
    description: str
    """The user's text."""
    tool: str | None
    """The tool that the student called; None for no call."""
    tool_params: Any
    """The arguments as it gave them."""
    trace: str
    """Result and error of the call, as JSON."""
    output: str | None
    """The student's reply."""
    attempts: int = 1
    """The number of times the student ran."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """The harness's verdicts."""


@dataclass(frozen=True)
class StepAttempt:
    """A turn in one run of the student."""

    step_id: int
    attempt: int
    """From 1."""
    validation: Validation | None = None
    """The teacher's verdict on the run; None if it was not asked."""
    evaluation: Mapping[str, object] = field(default_factory=dict)
    """Call, reply and verdict."""


@dataclass(frozen=True)
class TrajectoryEvent:
    """An event of a session. The SDK's readers show the last 200 of a session."""

    event_type: EventType
    name: str
    actor: str
    """Student, teacher, judge, learner, …"""
    at: float | None = None
    """Seconds since 1970; None for the time it is stored."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)
    """Input and output."""

    def document(self) -> EventBody:
        """Return the event as it is stored."""
        metadata = {**self.metadata, "actor": self.actor}
        return EventBody(self.event_type, self.name, metadata, self.at, self.data)


@dataclass(frozen=True)
class SessionEnd:
    """A session that has ended, with all that the telemetry keeps."""

    status: Literal["succeeded", "failed"]
    """`failed`: something around the agent broke."""
    final_answer: str | None
    mode: ModeDecision | None
    """None if the session failed before a mode was chosen."""
    reward: Reward | None = None
    """None if no judge was asked."""
    validation: Validation | None = None
    """Of the last attempt; None if the teacher was not asked."""
    steps: tuple[Step, ...] = ()
    attempts: tuple[StepAttempt, ...] = ()
    guidance: tuple[str, ...] = ()
    """The teacher's guidance, in order."""
    events: tuple[TrajectoryEvent, ...] = ()
    """In order."""
    student_note: str | None = None
    """The learner's note on the student."""
    teacher_note: str | None = None
    """The learner's note on the teacher."""
    spending: Mapping[str, Spending] = field(default_factory=dict)
    """By role."""
    drift: Drift | None = None
    review: Review = _UNSEEN
    focus_prompt: str | None = None
    """The focus that judges were given."""
    learning_usage: Mapping[str, object] | None = None
    """Uses of playbook entries."""
    triage_dossier: Mapping[str, object] | None = None
    learning_state: LearningState | None = None
    """The state it ran with; a merge replaces it."""
    error: str | None = None
    """The reason of a failure."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """Further facts."""
