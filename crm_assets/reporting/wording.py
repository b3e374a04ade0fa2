"""Words that several pages, tables and pictures share."""

from __future__ import annotations

from collections.abc import Mapping

from crm_assets.records.results import StrictFormula
from crm_assets.reporting.figures import Rate
from crm_assets.reporting.formats import of, plain
from crm_assets.reporting.models import Metrics

__all__ = [
    "STRICT_MEANING",
    "describe_floor",
    "describe_kind",
    "describe_not_recorded",
    "headline_rates",
    "unit_of",
]

STRICT_MEANING: Mapping[StrictFormula, str] = {
    "turns": "every turn correct",
    "turns_and_state": "every turn and the end state correct",
}
"""Meaning of strict success, by its formula."""

_STRICT_NAMES: Mapping[StrictFormula, str] = {
    "turns": "every turn correct",
    "turns_and_state": "every turn and end state",
}

_KINDS: Mapping[str, str] = {
    "tool_mismatch": "Wrong tool",
    "argument_mismatch": "Right tool, wrong arguments",
    "response_mismatch": "Right action, wrong reply",
    "no_tool_call": "No tool call",
    "length": "Reply cut off at the most tokens allowed",
    "refusal": "Refused by the model",
    "context_overflow": "Conversation longer than the model's context",
    "agent_error": "The agent raised an error, ended or took too long",
    "unknown_tool": "Unknown tool",
    "tool_error": "Tool call rejected",
    "further_write": "Expected call, and another one that changes data",
    "unexpected_success": "Should have failed, but succeeded",
    "wrong_error": "Should have failed with a different error",
    "judged_failure": "Different call, rejected by a judge",
}
_NOT_RECORDED: Mapping[str, str] = {
    "not_in_file": "not in the file",
    "not_started": "never started",
    "ended_in_error": "ended in an error",
    "other_turns": "with other turns than the dataset's",
}


def describe_kind(kind: str) -> str:
    """Return the harness's name of a failure in words."""
    return _KINDS.get(kind, plain(kind).replace("_", " ").capitalize())


def describe_not_recorded(reasons: Mapping[str, int]) -> str:
    """Return why conversations of a recorded run were not scored: `24 never started, 1 not in the file`."""
    return ", ".join(
        f"{count:,} {_NOT_RECORDED.get(reason, plain(reason))}" for reason, count in reasons.items()
    )


def describe_floor(floor: Rate | None) -> str:
    """Return the floor of state match in words; empty where it is not known."""
    return f"floor {of(floor)}" if floor is not None else ""


def unit_of(metrics: Metrics) -> str:
    """Return what rates count: with several sessions of a conversation, these."""
    return "session" if metrics.total_sessions > metrics.total_conversations else "conversation"


def headline_rates(metrics: Metrics) -> dict[str, Rate]:
    """Return the rates of a baseline by name, most important first."""
    formula, floor = metrics.strict_success_formula, describe_floor(metrics.state_match_floor)
    turns_right = {} if formula == "turns" else {"Every turn correct": metrics.turns_right}
    return {
        f"Strict success ({_STRICT_NAMES[formula]})": metrics.strict_success,
        **turns_right,
        f"State match ({floor})" if floor else "State match": metrics.state_match,
        "Chains with every segment correct": metrics.chain_success,
        "Conversations with ≥ 1 tool success": metrics.conversations_with_tool_success,
        "Conversations with ≥ 1 response success": metrics.conversations_with_response_success,
        "Turn success (tool and reply)": metrics.turn_success,
        "Turn-level tool success": metrics.turn_tool_success,
        "Turn-level response success": metrics.turn_response_success,
        "Expected failures that failed as expected": metrics.expected_failures,
    }
