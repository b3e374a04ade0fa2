"""Define the harness's output: one JSON line per conversation.

Field names are CL-Bench's where it has them. Null means "no verdict": it is counted, never averaged in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

__all__ = [
    "RESULT_SCHEMA_VERSION",
    "CallResult",
    "CallScore",
    "ConversationResult",
    "ConversationStatus",
    "JudgeVerdict",
    "ReplyScore",
    "ResponseStatus",
    "SegmentResult",
    "StrictFormula",
    "TokenUsage",
    "TurnCall",
    "TurnResult",
    "Verification",
    "all_right",
]

RESULT_SCHEMA_VERSION = 2
"""Version 1 has no `turns_right`, since its `overall_success` is that."""

StrictFormula = Literal["turns", "turns_and_state"]
"""Formula of strict success: every turn right (results of version 1), or the end state, too."""
ConversationStatus = Literal["completed", "infrastructure_error", "not_recorded", "not_run"]
ResponseStatus = Literal["match", "mismatch", "unscored", "not_applicable"]
Verification = Literal[
    "exact_match",
    "expected_failure",
    "unexpected_success",
    "wrong_error",
    "no_tool_call",
    "length",
    "refusal",
    "context_overflow",
    "agent_error",
    "unknown_tool",
    "tool_mismatch",
    "argument_mismatch",
    "tool_error",
    "further_write",
    "response_mismatch",
    "judged_success",
    "judged_failure",
    "undecided",
]


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one role in one turn."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class CallScore:
    """A judge's verdict on a call that is not the expected one."""

    goal: float
    """Degree to which the user got what they asked for, 0–1."""
    process: float
    """Soundness of the way there, 0–1."""
    score: float
    """Both, weighed."""
    success: bool
    """True if the score is enough."""
    rationale: str


@dataclass(frozen=True)
class ReplyScore:
    """A judge's verdict on a reply that is not the reference."""

    score: float
    """0–1."""
    success: bool
    """True if the score is enough."""
    rationale: str


@dataclass(frozen=True)
class JudgeVerdict:
    """A judge's verdict on a turn; None for what it was not asked or could not say."""

    call: CallScore | None = None
    reply: ReplyScore | None = None
    error: str | None = None
    """Why it could not say."""


@dataclass(frozen=True)
class TurnCall:
    """One of several calls that the agent asked for in a turn."""

    tool_name: str
    arguments: Any
    """As the agent gave them."""
    made: bool
    """False for a call beyond the most of a turn."""
    writes: bool
    """True if its tool can change the database."""
    result: Any = None
    """The tool's result; None if it refused or was not called."""
    error: str | None = None
    """The tool's refusal, one sentence."""
    error_kind: str | None = None


class CallResult(NamedTuple):
    """A call that was made, and what came of it."""

    tool_name: str
    arguments: Any
    result: Any
    error: str | None


@dataclass(frozen=True)
class TurnResult:
    """One turn: what was asked, called, answered, and how it was judged."""

    turn_id: int
    segment_number: int
    user_utterance: str
    """As the agent saw it, references filled."""
    tool_name: str | None
    """The tool the agent called; None if it called none. Of several calls, here and below, the expected
    one, else the first of the expected tool, else the first."""
    arguments: Any
    """The arguments it gave, as it gave them."""
    expected_tool: str
    expected_arguments: Mapping[str, Any]
    """References filled from this conversation's own results."""
    expect_success: bool
    matches_expected_tool: bool
    matches_expected_arguments: bool
    argument_mismatch_reason: str | None
    result: Any
    """The tool's result; None if it refused or was not called."""
    error: str | None
    """The tool's refusal, one sentence."""
    error_kind: str | None
    tool_success: bool | None
    """The right call with the right outcome, an expected refusal included; None if undecided."""
    response_success: bool | None
    """None where the reply has no verdict (see `response_status`)."""
    response_status: ResponseStatus
    agent_response_text: str | None
    success: bool | None
    """`tool_success`, and the reply not found wrong; None if a judge was needed and failed."""
    verification: Verification
    token_usage: Mapping[str, TokenUsage] = field(default_factory=dict)
    """By role."""
    judge: JudgeVerdict | None = None
    """None where no judge was asked."""
    ended_by: str | None = None
    """Reason that the agent was cut short (see `harness.TurnEnd`); None if it was not."""
    calls: tuple[TurnCall, ...] | None = None
    """All calls of a turn that asked for more than one, in order; empty where it did not, None if that was
    not recorded."""

    @property
    def made_calls(self) -> tuple[CallResult, ...]:
        """The calls that were made, in order."""
        if self.calls:
            return tuple(
                CallResult(call.tool_name, call.arguments, call.result, call.error)
                for call in self.calls
                if call.made
            )
        if self.tool_name is None:
            return ()
        return (CallResult(self.tool_name, self.arguments, self.result, self.error),)

    @property
    def asked_calls(self) -> tuple[TurnCall, ...]:
        """The calls that the agent asked for, made or not, in order."""
        if self.calls:
            return self.calls
        if self.tool_name is None:
            return ()
        only = TurnCall(
            self.tool_name,
            self.arguments,
            made=True,
            writes=False,  # not recorded of an only call
            result=self.result,
            error=self.error,
            error_kind=self.error_kind,
        )
        return (only,)

    @property
    def dropped_calls(self) -> tuple[TurnCall, ...]:
        """The calls that were asked for and not made."""
        return tuple(call for call in self.calls or () if not call.made)


@dataclass(frozen=True)
class SegmentResult:
    """One segment of a chain; a conversation without segments is one segment."""

    segment_number: int
    start_turn: int
    end_turn: int
    turns_attempted: int
    successful_turns: int
    success: bool | None
    actual_outcome: Literal["success", "failure", "undecided"]
    expected_outcome: str
    expected_failure: bool
    failed_at_turn: int | None
    turn_ids: tuple[int, ...]


@dataclass(frozen=True)
class ConversationResult:
    """One conversation as it went."""

    schema_version: int
    conversation_id: str
    status: ConversationStatus
    overall_success: bool | None
    """Strict success: every turn succeeded and the end state is the expected one; None where neither is
    known to be wrong and a turn is undecided."""
    turns_executed: int
    failed_at_turn: int | None
    per_turn_results: tuple[TurnResult, ...]
    reward_signal: float | None
    """Share of the decided turns that succeeded; None without any."""
    error_message: str | None
    """Infrastructure error; the agent's own failures are in the turns."""
    metadata: Mapping[str, Any]
    per_segment_results: tuple[SegmentResult, ...]
    chain_success: bool | None
    """Every segment succeeded; None for conversations that are no chain."""
    state_match: bool | None
    """True if the end state is the one that the ground truth leaves."""
    state_diff: Mapping[str, Any]
    """By table: rows missing, unexpected and changed; {} where the states match."""
    turns_right: bool | None = None
    """Every turn succeeded; None where none failed and one is undecided."""
    noop_state_match: bool | None = None
    """True if an agent that calls nothing leaves the expected end state; None where that is not known."""
    work_hash: str | None = None
    """Hex SHA-256 of the conversation's seeds and turns, which copies under another ID share; None in
    older results."""

    @property
    def every_turn(self) -> bool | None:
        """Every turn succeeded, in results of any version."""
        return self.overall_success if self.schema_version == 1 else self.turns_right


def all_right(verdicts: Iterable[bool | None]) -> bool | None:
    """Combine verdicts: False if any is False, else None if any is None, else True."""
    found = set(verdicts)
    return False if False in found else None if None in found else True
