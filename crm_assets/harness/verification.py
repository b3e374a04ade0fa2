"""Judges one turn: was it the right call, did it come out right, was the reply right?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crm_assets.conversations import Conversation, Turn, normalize_reply, unreproducible_values
from crm_assets.crm import ToolError
from crm_assets.harness.agents import ToolCall
from crm_assets.harness.comparison import argument_mismatch, same_tool
from crm_assets.harness.ground_truth import error_is_expected
from crm_assets.harness.results import ResponseStatus, Verification

__all__ = ["CallVerdict", "ReplyVerdict", "judge_call", "judge_reply"]


@dataclass(frozen=True)
class CallVerdict:
    """What is to be said of a turn's call."""

    matches_tool: bool
    mismatch: str | None
    """Why the arguments are not the expected ones."""
    success: bool
    verification: Verification


@dataclass(frozen=True)
class ReplyVerdict:
    """What is to be said of a turn's reply; `success` is None without a verdict."""

    success: bool | None
    status: ResponseStatus


def judge_call(
    turn: Turn,
    expected: Mapping[str, Any],
    call: ToolCall | None,
    error: ToolError | None,
) -> CallVerdict:
    """Judge a call by what was expected of the turn and by how it came out.

    Args:
        turn: the turn.
        expected: its expected arguments, references filled.
        call: what the agent called, None for nothing.
        error: the tool's refusal, None where it succeeded.
    """
    if call is None:
        return CallVerdict(False, "No tool was called.", False, "no_tool_call")
    matches_tool = same_tool(turn.expected_tool, call.name)
    if matches_tool:
        mismatch = argument_mismatch(turn.expected_tool, expected, call.arguments)
    else:
        mismatch = f"Called {call.name} instead of {turn.expected_tool}."
    verification = _verification(turn, matches_tool, mismatch, error)
    success = verification in ("exact_match", "expected_failure")
    return CallVerdict(matches_tool, mismatch, success, verification)


def _verification(
    turn: Turn, matches_tool: bool, mismatch: str | None, error: ToolError | None
) -> Verification:
    if error is not None and error.kind == "unknown_tool" and not matches_tool:
        return "unknown_tool"
    if not turn.expect_success and error is None:
        return "unexpected_success"
    if not matches_tool:
        return "tool_mismatch"
    if mismatch is not None:
        return "argument_mismatch"
    if turn.expect_success:
        return "exact_match" if error is None else "tool_error"
    return "expected_failure" if error and error_is_expected(turn, error) else "wrong_error"


def judge_reply(conversation: Conversation, turn: Turn, reply: str | None) -> ReplyVerdict:
    """Judge what the agent told the user.

    Equal to a reference after normalizing is right. Otherwise a judge would have to say; without one, a
    reply whose reference only a judge can compare, or holds values that no run can reproduce, has no
    verdict, and neither has a reply that is not known.
    """
    expected = turn.expected_response
    if expected is None:
        return ReplyVerdict(None, "not_applicable")
    if reply is None:
        return ReplyVerdict(None, "unscored")
    references = expected.answers or (expected.text,)
    normalized = normalize_reply(reply)
    if any(reply == one or normalized == normalize_reply(one) for one in references):
        return ReplyVerdict(True, "match")
    if expected.requires_judge or any(unreproducible_values(conversation, one) for one in references):
        return ReplyVerdict(None, "unscored")
    return ReplyVerdict(False, "mismatch")
