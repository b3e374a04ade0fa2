"""Puts a conversation's result together from its turns and the rows it left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from crm_assets.conversations import Conversation
from crm_assets.crm import Rows
from crm_assets.harness.ground_truth import GroundTruth
from crm_assets.harness.observed_writes import observed_writes
from crm_assets.harness.protocol import Facts
from crm_assets.harness.state import canonical_state, created_rows, state_difference
from crm_assets.records.results import (
    RESULT_SCHEMA_VERSION,
    ConversationResult,
    ConversationStatus,
    SegmentResult,
    TurnResult,
    all_right,
)

__all__ = ["SandboxEnd", "assemble", "without_verdict"]


class SandboxEnd(NamedTuple):
    """A sandbox when a conversation has ended in it."""

    rows: Rows
    """As they were before they were rolled back."""
    seed_ids: frozenset[str]
    """IDs of the rows that it began with."""
    restored: bool
    """True if it returned to its base."""


def assemble(
    conversation: Conversation,
    truth: GroundTruth,
    turns: Sequence[TurnResult],
    end: SandboxEnd,
    facts: Facts,
) -> ConversationResult:
    """Return the result of a conversation that ran to its end, its state compared with the ground truth's.

    Args:
        conversation: what was run.
        truth: where the right actions lead.
        turns: each with its verdict.
        end: what the sandbox held.
        facts: what else the metadata is to say.
    """
    created = created_rows((call.tool_name, call.result) for turn in turns for call in turn.made_calls)
    reached = canonical_state(end.rows, end.seed_ids, created)
    difference = state_difference(truth.end_state, reached)
    decided = [turn.success for turn in turns if turn.success is not None]
    segments = _segments(conversation, turns)
    turns_right = all_right(turn.success for turn in turns)
    return ConversationResult(
        schema_version=RESULT_SCHEMA_VERSION,
        conversation_id=conversation.conversation_id,
        status="completed",
        overall_success=all_right((turns_right, not difference)),
        turns_executed=len(turns),
        failed_at_turn=_first_failure(turns),
        per_turn_results=tuple(turns),
        reward_signal=sum(decided) / len(decided) if decided else None,
        error_message=None,
        metadata={
            **_identity(conversation),
            **_tallies(turns),
            **facts,
            "sandbox": {**observed_writes(turns, end.rows)._asdict(), "restored": end.restored},
            **_problems(truth),
        },
        per_segment_results=segments,
        chain_success=all_right(part.success for part in segments) if _is_chain(conversation) else None,
        state_match=not difference,
        state_diff=difference,
        turns_right=turns_right,
        noop_state_match=truth.noop_state_match,
        work_hash=conversation.work_hash,
    )


def without_verdict(
    conversation: Conversation, status: ConversationStatus, reason: str, facts: Facts
) -> ConversationResult:
    """Return the result of a conversation that tells nothing about the agent."""
    return ConversationResult(
        schema_version=RESULT_SCHEMA_VERSION,
        conversation_id=conversation.conversation_id,
        status=status,
        overall_success=None,
        turns_executed=0,
        failed_at_turn=None,
        per_turn_results=(),
        reward_signal=None,
        error_message=reason,
        metadata={**_identity(conversation), **facts},
        per_segment_results=(),
        chain_success=None,
        state_match=None,
        state_diff={},
        work_hash=conversation.work_hash,
    )


def _identity(conversation: Conversation) -> Facts:
    return {
        "workflow_category": conversation.workflow_category,
        "complexity_level": conversation.complexity_level,
        "chain_id": conversation.chain_id,
        "total_turns": len(conversation.turns),
        "expected_failure_turns": sum(not turn.expect_success for turn in conversation.turns),
    }


def _tallies(turns: Sequence[TurnResult]) -> Facts:
    scored = [turn.response_success for turn in turns if turn.response_success is not None]
    return {
        "successful_turns": sum(turn.success is True for turn in turns),
        "undecided_turns": sum(turn.success is None for turn in turns),
        "tool_successes": sum(turn.tool_success is True for turn in turns),
        "response_successes": sum(scored),
        "responses_scored": len(scored),
    }


def _problems(truth: GroundTruth) -> Facts:
    if not truth.problems:
        return {}
    return {"ground_truth_problems": [{"turn_id": turn, "reason": why} for turn, why in truth.problems]}


def _first_failure(turns: Sequence[TurnResult]) -> int | None:
    return next((turn.turn_id for turn in turns if turn.success is False), None)


def _is_chain(conversation: Conversation) -> bool:
    return bool(conversation.segment_boundaries)


def _segments(conversation: Conversation, turns: Sequence[TurnResult]) -> tuple[SegmentResult, ...]:
    grouped: dict[int, list[TurnResult]] = {}
    for turn in turns:
        grouped.setdefault(turn.segment_number, []).append(turn)
    return tuple(
        _segment(number, members, _expected_outcome(conversation, number))
        for number, members in sorted(grouped.items())
    )


def _segment(number: int, turns: Sequence[TurnResult], expected_outcome: str) -> SegmentResult:
    success = all_right(turn.success for turn in turns)
    return SegmentResult(
        segment_number=number,
        start_turn=turns[0].turn_id,
        end_turn=turns[-1].turn_id,
        turns_attempted=len(turns),
        successful_turns=sum(turn.success is True for turn in turns),
        success=success,
        actual_outcome="undecided" if success is None else "success" if success else "failure",
        expected_outcome=expected_outcome,
        expected_failure=any(not turn.expect_success for turn in turns),
        failed_at_turn=_first_failure(turns),
        turn_ids=tuple(turn.turn_id for turn in turns),
    )


def _expected_outcome(conversation: Conversation, number: int) -> str:
    summaries = conversation.cumulative_context.get("segment_summaries")
    for summary in summaries if isinstance(summaries, list) else ():
        if isinstance(summary, Mapping) and summary.get("segment_number") == number:
            outcome = summary.get("expected_outcome")
            if isinstance(outcome, str):
                return outcome
    return "success"
