"""Judges one turn: were the calls right, did they come out right, was the reply right?

First by comparison. What that leaves open, and what it finds different, a `Judge` may decide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from crm_assets.conversations import Conversation, JsonObject, Turn, normalize_reply, unreproducible_values
from crm_assets.crm import ToolError
from crm_assets.harness.comparison import argument_mismatch, same_tool
from crm_assets.harness.ground_truth import error_is_expected
from crm_assets.harness.protocol import Facts, MadeCall, TakenTurn
from crm_assets.records.results import (
    JudgeVerdict,
    ResponseStatus,
    TokenUsage,
    TurnResult,
    Verification,
    all_right,
)

__all__ = [
    "JUDGE_ROLE",
    "CallVerdict",
    "Judge",
    "ReplyVerdict",
    "TurnQuestion",
    "judge_calls",
    "judge_reply",
    "judged",
    "open_question",
]

JUDGE_ROLE: Final = "turn_judge"
"""The role under which a judge's tokens are counted."""


@dataclass(frozen=True)
class CallVerdict:
    """The verdict on a turn's calls."""

    decisive: MadeCall | None
    """The expected call, else the first of the expected tool, else the first; None if none was made."""
    matches_tool: bool
    matches_arguments: bool
    reason: str | None
    """Difference between the calls and the expected one."""
    success: bool
    verification: Verification

    @property
    def found(self) -> bool:
        """The expected call is among them, and came out as expected."""
        return self.success or self.verification == "further_write"


@dataclass(frozen=True)
class ReplyVerdict:
    """The verdict on a turn's reply; `success` is None if there is none."""

    success: bool | None
    status: ResponseStatus


def judge_calls(turn: Turn, expected: JsonObject, taken: TakenTurn) -> CallVerdict:
    """Judge the calls of a turn by what was expected of it and by how they came out.

    The expected call must be among those made, and nothing else may have written: reads are free, and a
    write that was refused has changed nothing. A write that was asked for and not made counts as well.

    Args:
        turn: the turn.
        expected: its expected arguments, references filled.
        taken: what the agent did.
    """
    if not taken.made:
        return CallVerdict(None, False, False, "No tool was called.", False, "no_tool_call")
    verdicts = (_judge_call(turn, expected, made) for made in taken.made)
    verdict = max(verdicts, key=lambda each: (each.success, each.matches_tool))  # the first of these
    further = _further_write(taken, verdict.decisive) if verdict.success else None
    if further is None:
        return verdict
    return replace(verdict, reason=further, success=False, verification="further_write")


def _judge_call(turn: Turn, expected: JsonObject, made: MadeCall) -> CallVerdict:
    call = made.call
    matches_tool = same_tool(turn.expected_tool, call.name)
    if matches_tool:
        mismatch = argument_mismatch(turn.expected_tool, expected, call.arguments)
    else:
        mismatch = f"Called {call.name} instead of {turn.expected_tool}."
    verification = _verification(turn, matches_tool, mismatch, made.refusal)
    success = verification in ("exact_match", "expected_failure")
    return CallVerdict(made, matches_tool, mismatch is None, mismatch, success, verification)


def _further_write(taken: TakenTurn, decisive: MadeCall | None) -> str | None:
    """Return which other call has written, or would have; None for none."""
    for made in taken.made:
        if made is not decisive and made.refusal is None and made.call.writes:
            return f"Called {made.call.name}, too, which changes data."
    for call in taken.dropped:
        if call.writes:
            return f"Asked for {call.name}, too, which changes data; that call was not made."
    return None


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
    references = _references(turn)
    if reply in references or normalize_reply(reply) in map(normalize_reply, references):
        return ReplyVerdict(True, "match")
    if expected.requires_judge or any(unreproducible_values(conversation, one) for one in references):
        return ReplyVerdict(None, "unscored")
    return ReplyVerdict(False, "mismatch")


def _references(turn: Turn) -> tuple[str, ...]:
    """Return the wordings that count as right."""
    expected = turn.expected_response
    return (expected.answers or (expected.text,)) if expected else ()


@dataclass(frozen=True)
class TurnQuestion:
    """A question to a judge about a turn. Holds the ground truth: agent and teacher must not see it."""

    turn: TurnResult
    """The turn as comparison left it."""
    call: bool
    """True if its call is to be judged: not the expected one, but it worked."""
    reply: bool
    """True if its reply is to be judged: different, or nothing that comparison can decide."""
    references: tuple[str, ...]
    """Wordings of the reply that count as right."""
    earlier: tuple[TurnResult, ...]
    """The turns before it."""


class Judge(Protocol):
    """Decides what comparison cannot."""

    async def judge(self, question: TurnQuestion) -> tuple[JudgeVerdict, TokenUsage]:
        """Return the verdict and the tokens it took; a part that is not to be had is None, with the reason.

        Raises:
            BudgetExhausted: the run's budget is spent.
        """

    def describe(self) -> Facts:
        """Return what identifies it in results."""


def open_question(turn: Turn, result: TurnResult, earlier: tuple[TurnResult, ...]) -> TurnQuestion | None:
    """Return what a judge could decide of a turn; None if comparison has settled it."""
    differs = result.verification in ("tool_mismatch", "argument_mismatch")
    # A write that was asked for and not made has left nothing that a judge could look at.
    call = differs and result.error is None and not any(each.writes for each in result.dropped_calls)
    unsettled = result.response_status in ("unscored", "mismatch")
    reply = unsettled and result.agent_response_text is not None
    return TurnQuestion(result, call, reply, _references(turn), earlier) if call or reply else None


def judged(question: TurnQuestion, verdict: JudgeVerdict, usage: TokenUsage) -> TurnResult:
    """Return the turn with a judge's verdict: what the judge could not decide is undecided, never wrong."""
    turn = question.turn
    tool, reply, status = turn.tool_success, turn.response_success, turn.response_status
    if question.call:
        tool = verdict.call.success if verdict.call else None
    if question.reply:
        reply = verdict.reply.success if verdict.reply else None
        status = "unscored" if reply is None else "match" if reply else "mismatch"
    # A reply that was not put to the judge and has no verdict does not hold the turn up.
    success = all_right((tool, reply) if question.reply or reply is not None else (tool,))
    spent = {JUDGE_ROLE: usage} if usage.total_tokens else {}
    return replace(
        turn,
        tool_success=tool,
        response_success=reply,
        response_status=status,
        success=success,
        verification=_judged_verification(question, tool, success),
        token_usage={**turn.token_usage, **spent},
        judge=verdict,
    )


def _judged_verification(question: TurnQuestion, tool: bool | None, success: bool | None) -> Verification:
    if success is None:
        return "undecided"
    if tool is not False and not success:
        return "response_mismatch"
    if question.call:
        return "judged_success" if tool else "judged_failure"
    compared = question.turn.verification
    if compared == "response_mismatch":  # which the judge has taken back
        return "exact_match" if question.turn.expect_success else "expected_failure"
    return compared
