"""The parts of a sessions.jsonl line that a person is shown."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["Event", "Recorded", "ShownSession", "ShownTurn"]


class _Shown(BaseModel):
    # Whatever a line holds beside this is for others.
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class _Score(_Shown):
    score: float
    success: bool
    rationale: str = ""


class _TurnJudge(_Shown):
    call: _Score | None = None
    reply: _Score | None = None
    error: str | None = None


class ShownTurn(_Shown):
    """One turn as it went and as it was judged."""

    turn_id: int
    user_utterance: str = ""
    tool_name: str | None = None
    arguments: Any = None
    expected_tool: str | None = None
    expected_arguments: Any = None
    expect_success: bool = True
    argument_mismatch_reason: str | None = None
    result: Any = None
    error: str | None = None
    agent_response_text: str | None = None
    tool_success: bool | None = None
    response_status: str | None = None
    success: bool | None = None
    verification: str | None = None
    judge: _TurnJudge | None = None


class _Result(_Shown):
    overall_success: bool | None = None
    state_match: bool | None = None
    state_diff: dict[str, dict[str, list[Any]]] = {}
    error_message: str | None = None
    per_turn_results: tuple[ShownTurn, ...] = ()


class _Sample(_Shown):
    score: float
    uncertainty: float | None = None
    temperature: float | None = None
    rationale: str | None = None


class _Principle(_Shown):
    name: str
    weight: float | None = None
    description: str = ""


class _SessionJudge(_Shown):
    rationale: str | None = None
    principles: tuple[_Principle, ...] = ()
    samples: tuple[_Sample, ...] = ()
    escalated: bool = False
    escalation_reason: str | None = None


class _Reward(_Shown):
    score: float | None = None
    judges: tuple[_SessionJudge, ...] = ()


class _Usage(_Shown):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    calls: int | None = None
    failed_calls: int | None = None


class Recorded(_Shown):
    """What an imported results file says itself of a session, or of a turn."""

    turn_id: int | None = None
    recorded_overall_success: bool | None = None
    recorded_success: bool | None = None
    recorded_tool_success: bool | None = None
    recorded_response_success: bool | None = None
    recorded_verification: str | None = None
    recorded_error: str | None = None
    recorded_error_message: str | None = None
    recorded_judge_score: float | None = None
    recorded_judge_rationale: str | None = None
    recorded_reward: float | None = None


class _Imported(_Shown):
    file: str
    model: str | None = None
    recorded: Recorded | None = None
    recorded_turns: tuple[Recorded, ...] = ()


class _Metadata(_Shown):
    agent: dict[str, Any] = {}
    workflow_category: str | None = None
    complexity_level: str | None = None
    execution_mode: str | None = None
    session_reward: _Reward | None = None
    reward_status: str | None = None
    token_usage: dict[str, _Usage] | None = None
    cost_usd: dict[str, float] | None = None
    attempts: int | None = None
    entries_available: int | None = None
    learning_error: str | None = None
    drift_alert: bool | None = None
    review_status: str | None = None
    imported: _Imported | None = None


class Event(_Shown):
    """Something that happened in a session of the Atlas loop."""

    name: str = ""
    actor: str = ""
    event: dict[str, Any] = {}

    @property
    def data(self) -> dict[str, Any]:
        """What is told of it."""
        found = self.event.get("data")
        return found if isinstance(found, dict) else {}

    @property
    def attempt(self) -> int | None:
        """Which of the student's attempts it belongs to."""
        metadata = self.event.get("metadata")
        found = metadata.get("attempt") if isinstance(metadata, dict) else None
        return found if isinstance(found, int) else None


class ShownSession(_Shown):
    """One session."""

    conversation_id: str
    epoch: int = 1
    status: str
    task: str | None = None
    conversation_result: _Result = _Result()
    atlas_metadata: _Metadata = _Metadata()
    trajectory_events: tuple[Event, ...] = ()
    student_learning: str | None = None
    teacher_learning: str | None = None

    def events(self, name: str) -> list[Event]:
        """What happened under this name, in order."""
        return [event for event in self.trajectory_events if event.name == name]
