"""What is told of a session: when it starts, and when it is over.

Plain data classes: the texts of models and tools in them may be anything, and nothing is to be refused
here.
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
    """Which session of the run it is; one that is run again has the same."""
    run_id: str
    learning_key: str
    task: str
    """What is to be done, as text."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What else its caller says of it: conversation, workflow, dataset, tags. No ground truth."""


@dataclass(frozen=True)
class Step:
    """A turn of the conversation, as the last attempt of the student went through it."""

    id: int
    """The turn's number."""
    description: str
    """What the user said."""
    tool: str | None
    """What the student called; None for nothing."""
    tool_params: Any
    """With which arguments, as it gave them."""
    trace: str
    """What came of the call, as JSON."""
    output: str | None
    """The student's reply."""
    attempts: int = 1
    """How often the student ran."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The harness's verdicts."""


@dataclass(frozen=True)
class StepAttempt:
    """A turn in one run of the student."""

    step_id: int
    attempt: int
    """From 1."""
    validation: Validation | None = None
    """What the teacher said of the run; None where none was asked."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """What happened in it."""


@dataclass(frozen=True)
class TrajectoryEvent:
    """Something that happened in a session. The SDK's readers show the last 200 of a session."""

    event_type: EventType
    name: str
    actor: str
    """Who did it: student, teacher, judge, learner, …"""
    at: float | None = None
    """Seconds since 1970; None for the time it is stored."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    """Input and output."""

    def document(self) -> EventBody:
        """Return the event as it is stored."""
        metadata = {**self.metadata, "actor": self.actor}
        return EventBody(self.event_type, self.name, metadata, self.at, self.data)


@dataclass(frozen=True)
class SessionEnd:
    """A session that is over, with all that is kept of it."""

    status: Literal["succeeded", "failed"]
    """`failed`: something around the agent broke."""
    final_answer: str | None
    mode: ModeDecision | None
    """None where it failed before there was one."""
    reward: Reward | None = None
    """None where none was asked for."""
    validation: Validation | None = None
    """Of the last attempt; None where the teacher was not asked."""
    steps: tuple[Step, ...] = ()
    attempts: tuple[StepAttempt, ...] = ()
    guidance: tuple[str, ...] = ()
    """What the teacher told the student, in order."""
    events: tuple[TrajectoryEvent, ...] = ()
    """In order."""
    student_note: str | None = None
    """What the student was found to have learnt in this session."""
    teacher_note: str | None = None
    """What the teacher was."""
    spending: Mapping[str, Spending] = field(default_factory=dict)
    """By role."""
    drift: Drift | None = None
    review: Review = _UNSEEN
    focus_prompt: str | None = None
    """What judges were told to look at."""
    learning_usage: Mapping[str, Any] | None = None
    """Where entries of the playbook came up and were followed."""
    triage_dossier: Mapping[str, Any] | None = None
    learning_state: LearningState | None = None
    """What it ran with; a merge replaces it by what came of it."""
    error: str | None = None
    """Why it failed."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What else there is to say."""
