"""The transcript of a session for its teacher, judges and learner.

Only this module decides what they see of the harness's result. Expected calls and replies are the ground
truth: only judges and learner see them, only with `feedback: oracle`.
"""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from crm_assets.atlas.choices import Feedback
from crm_assets.conversations import Conversation
from crm_assets.llm.prompts import JSON_FENCE, cut, json_block
from crm_assets.records import ConversationResult, TurnCall, TurnResult

__all__ = [
    "CallTranscript",
    "ExpectedTurn",
    "SessionTranscript",
    "TurnTranscript",
    "make_transcript",
    "read_transcript",
    "transcript_block",
]


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExpectedTurn(_Shown):
    """The ground truth of a turn (`feedback: oracle`)."""

    tool: str
    arguments: dict[str, object]
    succeeds: bool
    reply: str | None


class CallTranscript(_Shown):
    """One of several calls of a turn."""

    tool: str
    arguments: Any
    made: bool
    """False if the student asked for it when it could make no more."""
    result: Any = None
    """The tool's result, shortened if long."""
    error: str | None = None
    """The tool's error."""


class TurnTranscript(_Shown):
    """One turn of an attempt."""

    turn: int
    user: str
    """The user's text."""
    tool: str | None
    """The tool that the student called; null for no call."""
    arguments: Any
    """The arguments of the call."""
    result: Any = None
    """The tool's result, shortened if long."""
    error: str | None = None
    """The tool's error."""
    calls: tuple[CallTranscript, ...] | None = None
    """If the student asked for several calls, all of them, in order."""
    reply: str | None = None
    """The student's reply."""
    success: bool | None = None
    """The harness's verdict; null if missing or withheld."""
    expected: ExpectedTurn | None = None
    """The ground truth; null if withheld."""


class SessionTranscript(_Shown):
    """The turns of one attempt."""

    turns: tuple[TurnTranscript, ...]
    state_match: bool | None = None
    """True if the database's final state was the expected one; null if missing or withheld."""


def make_transcript(
    result: ConversationResult, conversation: Conversation, *, feedback: Feedback
) -> SessionTranscript:
    """Return the transcript that `feedback` allows; a teacher's is always made with `none`."""
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
        calls=tuple(map(_call, turn.calls)) if turn.calls else None,
        reply=turn.agent_response_text,
        success=None if feedback == "none" else turn.success,
        expected=_expected(turn, expected_reply) if feedback == "oracle" else None,
    )


def _call(call: TurnCall) -> CallTranscript:
    return CallTranscript(
        tool=call.tool_name,
        arguments=call.arguments,
        made=call.made,
        result=cut(call.result),
        error=call.error,
    )


def _expected(turn: TurnResult, reply: str | None) -> ExpectedTurn:
    return ExpectedTurn(
        tool=turn.expected_tool,
        arguments=dict(turn.expected_arguments),
        succeeds=turn.expect_success,
        reply=reply,
    )


def transcript_block(transcript: SessionTranscript, **more: Any) -> str:
    """Return the JSON block of a prompt: the transcript and `more` facts."""
    return json_block({**more, **transcript.model_dump(mode="json", exclude_none=True)})


def read_transcript(prompt: str) -> tuple[SessionTranscript, dict[str, object]] | None:
    """Parse the transcript and the other facts in a prompt; None without a transcript."""
    start = prompt.find(JSON_FENCE)
    end = prompt.find("\n```", start + len(JSON_FENCE))
    if start < 0 or end < 0:
        return None
    document = orjson.loads(prompt[start + len(JSON_FENCE) : end])
    known = {name: document.pop(name) for name in SessionTranscript.model_fields if name in document}
    return SessionTranscript.model_validate(known), document
