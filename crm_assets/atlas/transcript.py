"""A session as its teacher, judges and learner are shown it.

This is the only place that decides what of the harness's result they see. Expected calls and replies are
the ground truth: they are shown with `feedback: oracle` alone, to judges and learner alone.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from crm_assets.conversations import Conversation
from crm_assets.llm.prompts import JSON_FENCE, cut, json_block
from crm_assets.records import ConversationResult, TurnResult

__all__ = [
    "ExpectedTurn",
    "Feedback",
    "SessionTranscript",
    "TurnTranscript",
    "make_transcript",
    "read_transcript",
    "transcript_block",
]

Feedback = Literal["none", "verdicts", "oracle"]
"""How much of the harness's knowledge judges and learner get."""


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ExpectedTurn(_Shown):
    """The ground truth of a turn (`feedback: oracle`)."""

    tool: str
    arguments: dict[str, object]
    succeeds: bool
    reply: str | None


class TurnTranscript(_Shown):
    """One turn as it went."""

    turn: int
    user: str
    """What the user said."""
    tool: str | None
    """What the student called; null for nothing."""
    arguments: Any
    """With which arguments."""
    result: Any = None
    """What the tool returned, long ones cut."""
    error: str | None = None
    """The tool's refusal."""
    reply: str | None = None
    """What the student told the user."""
    success: bool | None = None
    """The harness's verdict; null where there is none or it is withheld."""
    expected: ExpectedTurn | None = None
    """The ground truth, where judges and learner may see it."""


class SessionTranscript(_Shown):
    """One session's turns."""

    turns: tuple[TurnTranscript, ...]
    state_match: bool | None = None
    """Whether the database ended as it should have; null where withheld."""


def make_transcript(
    result: ConversationResult, conversation: Conversation, *, feedback: Feedback
) -> SessionTranscript:
    """What of a session may be shown with `feedback`; a teacher's is always `none`."""
    replies = {turn.turn_id: turn.expected_response for turn in conversation.turns}
    turns = []
    for turn in result.per_turn_results:
        reply = replies.get(turn.turn_id)
        turns.append(_turn(turn, reply.text if reply else None, feedback))
    return SessionTranscript(
        turns=tuple(turns), state_match=None if feedback == "none" else result.state_match
    )


def _turn(turn: TurnResult, expected_reply: str | None, feedback: Feedback) -> TurnTranscript:
    return TurnTranscript(
        turn=turn.turn_id,
        user=turn.user_utterance,
        tool=turn.tool_name,
        arguments=turn.arguments,
        result=cut(turn.result),
        error=turn.error,
        reply=turn.agent_response_text,
        success=None if feedback == "none" else turn.success,
        expected=_expected(turn, expected_reply) if feedback == "oracle" else None,
    )


def _expected(turn: TurnResult, reply: str | None) -> ExpectedTurn:
    return ExpectedTurn(
        tool=turn.expected_tool,
        arguments=dict(turn.expected_arguments),
        succeeds=turn.expect_success,
        reply=reply,
    )


def transcript_block(transcript: SessionTranscript, **more: Any) -> str:
    """The transcript (and `more` facts) as the JSON block that prompts carry."""
    return json_block({**more, **transcript.model_dump(mode="json", exclude_none=True)})


def read_transcript(prompt: str) -> tuple[SessionTranscript, dict[str, object]] | None:
    """The transcript in a prompt and the facts beside it; None where there is none."""
    start = prompt.find(JSON_FENCE)
    end = prompt.find("\n```", start + len(JSON_FENCE))
    if start < 0 or end < 0:
        return None
    document = orjson.loads(prompt[start + len(JSON_FENCE) : end])
    known = {name: document.pop(name) for name in SessionTranscript.model_fields if name in document}
    return SessionTranscript.model_validate(known), document
