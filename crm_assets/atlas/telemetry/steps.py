"""The student's attempts as the telemetry's steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from crm_assets.atlas.outcomes import Validation
from crm_assets.atlas.telemetry.jsonb import jsonb
from crm_assets.atlas.telemetry.records import Step, StepAttempt
from crm_assets.records import ConversationResult, TurnResult

__all__ = ["steps_of"]

_VERDICTS = (
    "segment_number",
    "success",
    "tool_success",
    "response_success",
    "response_status",
    "verification",
    "error_kind",
)
"""The fields of a turn's result in its step; none of them contains ground truth."""


def steps_of(
    attempts: Sequence[ConversationResult], validations: Sequence[Validation | None]
) -> tuple[tuple[Step, ...], tuple[StepAttempt, ...]]:
    """Convert the student's attempts, in order, and their validations to steps and step attempts."""
    last = attempts[-1].per_turn_results if attempts else ()
    steps = tuple(_step(turn, len(attempts)) for turn in last)
    tries = tuple(
        StepAttempt(turn.turn_id, number, validation, _attempt_facts(turn))
        for number, (result, validation) in enumerate(zip(attempts, validations, strict=True), start=1)
        for turn in result.per_turn_results
    )
    return steps, tries


def _step(turn: TurnResult, attempts: int) -> Step:
    return Step(
        id=turn.turn_id,
        description=turn.user_utterance,
        tool=turn.tool_name,
        tool_params=turn.arguments,
        trace=jsonb({"result": turn.result, "error": turn.error, **_several(turn)}),
        output=turn.agent_response_text,
        attempts=attempts,
        metadata={name: getattr(turn, name) for name in _VERDICTS},
    )


def _attempt_facts(turn: TurnResult) -> dict[str, object]:
    return {
        "tool": turn.tool_name,
        "tool_params": turn.arguments,
        "error": turn.error,
        "output": turn.agent_response_text,
        "success": turn.success,
        **_several(turn),
    }


def _several(turn: TurnResult) -> dict[str, object]:
    """Return all calls of a turn that asked for more than one."""
    return {"calls": [asdict(call) for call in turn.calls]} if turn.calls else {}
