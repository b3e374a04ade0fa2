"""The trajectory of a session: the events that telemetry stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from crm_assets.atlas.learning import LearningOutcome
from crm_assets.atlas.outcomes import ModeDecision, PlanReview, Reward, Validation
from crm_assets.atlas.telemetry import EventType, TrajectoryEvent
from crm_assets.records import ConversationResult

__all__ = ["Trajectory"]


class Trajectory:
    """Collects the events of one session, in order."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.events: list[TrajectoryEvent] = []

    def begin(self, task: str) -> None:
        """Record the start of the session."""
        self._add("WORKFLOW_START", "session", "atlas", {"task": task})

    def mode(self, decision: ModeDecision) -> None:
        """Record the choice of its mode."""
        self._add("TASK_END", "mode", "atlas", decision.model_dump(mode="json"))

    def plan(self, review: PlanReview) -> None:
        """Record the teacher's review of the plan."""
        self._add("TASK_END", "plan_review", "teacher", review.model_dump(mode="json"))

    def attempt(self, number: int, result: ConversationResult) -> None:
        """Record an attempt of the student: an event for each turn and one for the attempt."""
        for turn in result.per_turn_results:
            self._add(
                "TOOL_END",
                turn.tool_name or "no_tool",
                "student",
                {"arguments": turn.arguments, "error": turn.error, "success": turn.success},
                attempt=number,
                turn=turn.turn_id,
            )
        self._add(
            "TASK_END",
            "attempt",
            "student",
            {"status": result.status, "error": result.error_message, "success": result.overall_success},
            attempt=number,
        )

    def validation(self, number: int, validation: Validation) -> None:
        """Record the teacher's validation of an attempt."""
        document = validation.model_dump(mode="json")
        self._add("TASK_END", "validation", "teacher", document, attempt=number)

    def reward(self, reward: Reward) -> None:
        """Record the reward."""
        document = reward.model_dump(mode="json", include={"status", "score", "escalated", "rationale"})
        self._add("TASK_END", "reward", "judge", document)

    def learning(self, learnt: LearningOutcome) -> None:
        """Record the learner's result."""
        document: dict[str, object] = {"error": learnt.error}
        if learnt.update is not None:
            document["entries"] = [entry.id for entry in learnt.update.entries]
            document["rejected"] = [entry.model_dump(mode="json") for entry in learnt.update.rejected]
        self._add("TASK_END", "learning", "learner", document)

    def end(self, status: str) -> None:
        """Record the end of the session."""
        self._add("WORKFLOW_END", "session", "atlas", {"status": status})

    def _add(
        self, kind: EventType, name: str, actor: str, data: Mapping[str, object], **metadata: Any
    ) -> None:
        event = TrajectoryEvent(kind, name, actor, self._clock().timestamp(), metadata, data)
        self.events.append(event)
