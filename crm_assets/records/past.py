"""Results files of past runs, CL-Bench's or our own: which calls were made, what was said, what it cost.

Read in constant memory: the file is indexed once by conversation, and each one is read when asked for.
Such files come from elsewhere: a value of another type than it should have is unknown (None), no error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from crm_assets.errors import InputError
from crm_assets.records.results import TokenUsage
from crm_assets.records.sessions import PastTurnVerdicts, PastVerdicts
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.jsonl import read_line_at, read_lines

__all__ = ["Format", "Origin", "PastResult", "PastResults", "PastTurn"]

Format = Literal["clbench", "crm_assets_results", "crm_assets_sessions"]
"""CL-Bench's results, the harness's own, or the lines of a baseline's sessions.jsonl."""

_Value = TypeVar("_Value")
_Result = TypeVar("_Result", bound=BaseModel)


def _or_unknown(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(value)
    except ValidationError:
        return None


_Known = Annotated[_Value | None, WrapValidator(_or_unknown)]


class _Past(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _Agent(_Past):
    provider: _Known[str] = None
    model: _Known[str] = None


class _ResultMetadata(_Past):
    agent: _Known[_Agent] = None


class _Counts(_Past):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: _Known[int] = None


class _CallScore(_Past):
    score: _Known[float] = None
    rationale: _Known[str] = None


class _Judge(_Past):
    call: _Known[_CallScore] = None


class PastTurn(_Past):
    """One turn of a past run."""

    turn_id: _Known[int] = None
    """From 1; None for what is no turn."""
    tool_name: _Known[str] = None
    """The tool that the agent called."""
    arguments: Any = None
    """The arguments as it gave them."""
    agent_response_text: _Known[str] = None
    """Its reply."""
    token_usage: _Known[dict[str, _Known[_Counts]]] = None
    """By role, as the file has it."""
    result: Any = None
    """What the tool returned to it then."""
    error: _Known[str] = None
    """The tool's refusal then."""
    success: _Known[bool] = None
    """That run's verdict."""
    tool_success: _Known[bool] = None
    response_success: _Known[bool] = None
    verification: _Known[str] = None
    judge_score: _Known[float] = None
    judge_rationale: _Known[str] = None
    judge: _Known[_Judge] = None

    @property
    def was_run(self) -> bool:
        """The agent was asked: CL-Bench's harness also has entries for what it could not start."""
        return self.turn_id is not None and self.verification != "pre_execution_error"

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


class _Reward(_Past):
    score: _Known[float] = None


class _Facts(_Past):
    execution_mode: _Known[str] = None
    session_reward: _Known[_Reward] = None
    cost_usd: _Known[dict[str, float]] = None
    dataset_revision: _Known[str] = None


class _Indexed(_Past):
    """As much of a result as the index needs."""

    conversation_id: str
    per_turn_results: list[Any]
    metadata: _Known[_ResultMetadata] = None


class PastResult(_Past):
    """One conversation of a past run."""

    conversation_id: str
    per_turn_results: list[_Known[PastTurn]]
    status: _Known[str] = None
    overall_success: _Known[bool] = None
    turns_executed: _Known[int] = None
    failed_at_turn: _Known[int] = None
    reward_signal: _Known[float] = None
    chain_success: _Known[bool] = None
    state_match: _Known[bool] = None
    error_message: _Known[str] = None
    atlas_metadata: _Known[_Facts] = None
    """Of a session's line: what the loop around the student said."""

    @property
    def turns(self) -> dict[int, PastTurn]:
        """The turns in which the agent was asked, by number; empty if it never was."""
        return {turn.turn_id: turn for turn in self._turns if turn.turn_id is not None and turn.was_run}

    @property
    def _turns(self) -> list[PastTurn]:
        return [turn for turn in self.per_turn_results if turn is not None]

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
        return tuple(turn.verdicts() for turn in self._turns)


@dataclass(frozen=True)
class Origin:
    """The model that was recorded."""

    provider: str | None
    model: str | None


class PastResults:
    """The conversations of one results file. The last line of a conversation counts."""

    def __init__(self, path: Path) -> None:
        """Read all of the file once.

        Raises:
            InputError: it cannot be read, a line of it is no result, or it holds none.
        """
        self.path = path
        self.lines = 0
        """Results in it; a conversation that stands there several times counts as often."""
        self.format: Format = "clbench"
        self.origin = Origin(None, None)
        self._offsets: dict[str, int] = {}
        for line in read_lines(path):
            if not line.data.strip():
                continue
            document = self._load(line.data, line.number)
            result = self._parse(_Indexed, document, line.number)
            if not self.lines:
                self.format = _format_of(document)
            if self.origin.model is None:
                self.origin = _origin(result)
            self._offsets[result.conversation_id] = line.offset
            self.lines += 1
        if not self._offsets:
            raise InputError(f"The recorded run {path} holds no conversation.")

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of the file."""
        return sha256_of_file(self.path)

    @property
    def conversations(self) -> frozenset[str]:
        """IDs of the conversations that it has a line for."""
        return frozenset(self._offsets)

    def read(self, conversation_id: str) -> PastResult | None:
        """Return the result of a conversation; None if the file has none.

        Raises:
            InputError: the file cannot be read any more.
        """
        offset = self._offsets.get(conversation_id)
        if offset is None:
            return None
        return self._parse(PastResult, self._load(read_line_at(self.path, offset), 0), 0)

    def turns(self, conversation_id: str) -> Mapping[int, PastTurn]:
        """Return the turns in which the agent was asked, by number; empty if it never was."""
        result = self.read(conversation_id)
        return result.turns if result else {}

    def _load(self, line: bytes, number: int) -> object:
        try:
            return orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InputError(f"{self.path}, line {number} is not JSON: {error}.") from error

    def _parse(self, kind: type[_Result], document: object, number: int) -> _Result:
        if isinstance(document, Mapping) and isinstance(document.get("conversation_result"), Mapping):
            # A line of sessions.jsonl.
            document = {
                **document["conversation_result"],
                "atlas_metadata": document.get("atlas_metadata"),
            }
        try:
            return kind.model_validate(document)
        except ValidationError as error:
            fields = {str(each["loc"][0]) for each in error.errors(include_input=False) if each["loc"]}
            missing = next((name for name in _Indexed.model_fields if name in fields), "conversation_id")
            raise InputError(f"{self.path}, line {number}: {missing} is missing.") from None


def _format_of(document: object) -> Format:
    if isinstance(document, Mapping) and isinstance(document.get("conversation_result"), Mapping):
        return "crm_assets_sessions"
    return (
        "crm_assets_results"
        if isinstance(document, Mapping) and "schema_version" in document
        else "clbench"
    )


def _origin(result: _Indexed) -> Origin:
    agent = result.metadata.agent if result.metadata else None
    return Origin(agent.provider, agent.model) if agent else Origin(None, None)
