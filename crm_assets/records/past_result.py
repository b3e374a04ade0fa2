"""One conversation of a past run's results file, CL-Bench's or our own.

Such files come from elsewhere: a verdict or count of another type than it should have is unknown (None), no
error.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from crm_assets.conversations import JsonObject
from crm_assets.llm import calls_in_text, object_arguments
from crm_assets.records.results import TokenUsage
from crm_assets.records.sessions import PastTurnVerdicts, PastVerdicts

__all__ = ["Known", "PastCall", "PastModel", "PastResult", "PastTurn", "TurnKey"]

_Value = TypeVar("_Value")


def _or_unknown(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(value)
    except ValidationError:
        return None


Known = Annotated[_Value | None, WrapValidator(_or_unknown)]
"""A value, or None for one of another type."""


class PastModel(BaseModel):
    """A part of a results file."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _Counts(PastModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: Known[int] = None


class _CallScore(PastModel):
    score: Known[float] = None
    rationale: Known[str] = None


class _PastJudge(PastModel):
    call: Known[_CallScore] = None


def _whole_number(value: object) -> object:
    """Return a whole number that is written as a text or a float as that number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and (written := _WHOLE_NUMBER.fullmatch(value.strip())):
        return int(written[1])
    return value


_WHOLE_NUMBER = re.compile(r"(-?[0-9]{1,9})(?:\.0*)?")
_Arguments = Annotated[Any, BeforeValidator(object_arguments)]


class TurnKey(PastModel):
    """The number of a turn."""

    turn_id: Annotated[Known[int], BeforeValidator(_whole_number)] = None
    """From 1; None for what could not be started."""
    verification: Known[str] = None
    """The kind of that run's verdict."""

    @property
    def was_run(self) -> bool:
        """The agent was asked: CL-Bench's harness also has entries for what it could not start."""
        return self.verification != "pre_execution_error"


class PastCall(PastModel):
    """A call of a past run."""

    tool_name: str
    arguments: _Arguments = None
    """The arguments: an object, or what the agent gave instead."""
    made: bool = True
    """False for a call that was asked for and not made."""
    result: Any = None
    """The tool's result at that time."""


class PastTurn(TurnKey):
    """One turn of a past run."""

    user_utterance: Known[str] = None
    """The user's request."""
    expected_tool: Known[str] = None
    """The tool of the dataset's ground truth then."""
    expected_arguments: Annotated[Known[JsonObject], BeforeValidator(object_arguments)] = None
    """Its arguments."""
    tool_name: Known[str] = None
    """The tool that the agent called."""
    arguments: _Arguments = None
    """The arguments: an object, or what the agent gave instead."""
    agent_response_text: Known[str] = None
    """Its reply."""
    token_usage: Known[dict[str, Known[_Counts]]] = None
    """By role, as the file has it."""
    result: Any = None
    """The tool's result at that time."""
    error: Known[str] = None
    """The tool's refusal then."""
    calls: Known[list[PastCall]] = None
    """Of a turn with several calls, all of them."""
    ended_by: Known[Literal["length", "refusal", "context_overflow", "agent_error"]] = None
    """Reason that the agent was cut short."""
    success: Known[bool] = None
    """That run's verdict."""
    tool_success: Known[bool] = None
    response_success: Known[bool] = None
    judge_score: Known[float] = None
    judge_rationale: Known[str] = None
    judge: Known[_PastJudge] = None

    @model_validator(mode="before")
    @classmethod
    def _read_call_in_text(cls, document: object) -> object:
        """Read calls that the server left in the reply's text, as they are read of a live model."""
        if not isinstance(document, dict) or document.get("tool_name"):
            return document
        text = document.get("agent_response_text")
        calls = calls_in_text(text) if isinstance(text, str) else ()
        if not calls:
            return document
        first, *others = ({"tool_name": call.name, "arguments": call.arguments} for call in calls)
        further = [{**call, "made": False} for call in others]  # one call a turn
        return {
            **document,
            **first,
            "agent_response_text": None,
            "calls": [first, *further] if further else None,
        }

    @property
    def usage(self) -> dict[str, TokenUsage]:
        """Token counts by role."""
        return {
            role: TokenUsage(
                counts.prompt_tokens,
                counts.completion_tokens,
                counts.prompt_tokens + counts.completion_tokens
                if counts.total_tokens is None
                else counts.total_tokens,
            )
            for role, counts in (self.token_usage or {}).items()
            if counts is not None
        }

    @property
    def made_calls(self) -> tuple[PastCall, ...]:
        """The calls that were made, in order."""
        if self.calls:
            return tuple(call for call in self.calls if call.made)
        if self.tool_name is None:
            return ()
        return (PastCall(tool_name=self.tool_name, arguments=self.arguments, result=self.result),)

    @property
    def dropped_calls(self) -> tuple[PastCall, ...]:
        """The calls that were asked for and not made."""
        return tuple(call for call in self.calls or () if not call.made)

    def verdicts(self) -> PastTurnVerdicts:
        """Return what the file says of the turn."""
        call = self.judge.call if self.judge else None  # our own form
        return PastTurnVerdicts(
            turn_id=self.turn_id,
            recorded_success=self.success,
            recorded_tool_success=self.tool_success,
            recorded_response_success=self.response_success,
            recorded_verification=self.verification,
            recorded_error=self.error,
            recorded_judge_score=call.score if call else self.judge_score,
            recorded_judge_rationale=call.rationale if call else self.judge_rationale,
        )


class _PastReward(PastModel):
    score: Known[float] = None


class _Facts(PastModel):
    execution_mode: Known[str] = None
    session_reward: Known[_PastReward] = None
    cost_usd: Known[dict[str, float]] = None
    dataset_revision: Known[str] = None


class PastResult(PastModel):
    """One conversation of a past run."""

    conversation_id: str
    per_turn_results: list[PastTurn]
    status: Known[str] = None
    schema_version: Known[int] = None
    """Of our own results; of version 2 on, `overall_success` asks for the end state, too."""
    overall_success: Known[bool] = None
    turns_right: Known[bool] = None
    turns_executed: Known[int] = None
    failed_at_turn: Known[int] = None
    reward_signal: Known[float] = None
    chain_success: Known[bool] = None
    state_match: Known[bool] = None
    error_message: Known[str] = None
    atlas_metadata: Known[_Facts] = None
    """Of a session's line: what the loop around the student said."""

    @property
    def turns(self) -> dict[int, PastTurn]:
        """The turns in which the agent was asked, by number; empty if it never was."""
        return {
            turn.turn_id: turn
            for turn in self.per_turn_results
            if turn.turn_id is not None and turn.was_run
        }

    @property
    def every_turn(self) -> bool | None:
        """Every turn succeeded, as the file says."""
        return self.overall_success if (self.schema_version or 1) == 1 else self.turns_right

    @property
    def ended_in_error(self) -> bool:
        """It has no turn because something around the agent failed."""
        return not self.per_turn_results and self.status in ("error", "infrastructure_error")

    def verdicts(self) -> PastVerdicts:
        """Return what the file says of the conversation, with reward, mode and cost where a loop ran."""
        facts = self.atlas_metadata or _Facts()
        return PastVerdicts(
            recorded_status=self.status,
            recorded_overall_success=self.overall_success,
            recorded_turns_executed=self.turns_executed,
            recorded_failed_at_turn=self.failed_at_turn,
            recorded_reward_signal=self.reward_signal,
            recorded_chain_success=self.chain_success,
            recorded_state_match=self.state_match,
            recorded_error_message=self.error_message,
            recorded_execution_mode=facts.execution_mode,
            recorded_reward=facts.session_reward.score if facts.session_reward else None,
            recorded_cost_usd=facts.cost_usd,
            recorded_dataset_revision=facts.dataset_revision,
        )

    def turn_verdicts(self) -> tuple[PastTurnVerdicts, ...]:
        """Return what the file says of each turn."""
        return tuple(turn.verdicts() for turn in self.per_turn_results)
