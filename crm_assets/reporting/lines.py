"""The part of a sessions.jsonl line that metrics are made of, checked line by line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crm_assets.errors import InputError

__all__ = ["SessionLine", "TurnLine", "UsageLine", "read_lines"]

_REMEDY = "make it again by materializing atlas_sessions"

# JSON knows no largest number; a column of them does.
Whole = Annotated[int, Field(ge=0, le=2**53)]
Ordinal = Annotated[int, Field(ge=1, le=2**31 - 1)]


class _Line(BaseModel):
    # Strict, because "5" for 5 or "false" for false is a broken writer, not a value.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class UsageLine(_Line):
    """Tokens that one role used."""

    prompt_tokens: Whole | None = None
    completion_tokens: Whole | None = None
    total_tokens: Whole | None = None
    cached_tokens: Whole | None = None
    reasoning_tokens: Whole | None = None
    calls: Whole | None = None
    failed_calls: Whole | None = None

    @property
    def total(self) -> int:
        """The reported total, or the sum of what was reported."""
        if self.total_tokens is not None:
            return self.total_tokens
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)


class TurnLine(_Line):
    """One executed turn."""

    turn_id: Ordinal
    user_utterance: str = ""
    tool_name: str | None = None
    expected_tool: str | None = None
    expect_success: bool = True
    argument_mismatch_reason: str | None = None
    error: str | None = None
    tool_success: bool | None
    """None where a judge was needed and failed."""
    response_success: bool | None = None
    response_status: Literal["match", "mismatch", "unscored", "not_applicable"]
    success: bool | None
    """None where a judge was needed and failed."""
    verification: str | None = None
    token_usage: dict[str, UsageLine] = {}

    @property
    def reply_verdict(self) -> bool | None:
        """Whether the reply was right; None where nobody could say."""
        return self.response_success if self.response_status in ("match", "mismatch") else None


class ResultMetadataLine(_Line):
    """What the harness adds about a conversation."""

    total_turns: Whole | None = None
    duration_seconds: Annotated[float, Field(ge=0)] | None = None


class ResultLine(_Line):
    """The harness's verdict on one conversation."""

    status: Literal["completed", "infrastructure_error", "not_recorded", "not_run"]
    overall_success: bool | None = None
    failed_at_turn: Ordinal | None = None
    per_turn_results: tuple[TurnLine, ...] = ()
    reward_signal: float | None = None
    chain_success: bool | None = None
    state_match: bool | None = None
    error_message: str | None = None
    metadata: ResultMetadataLine = ResultMetadataLine()

    @property
    def first_failed_turn(self) -> int | None:
        """Where it first went wrong."""
        if self.failed_at_turn is not None:
            return self.failed_at_turn
        return min((t.turn_id for t in self.per_turn_results if t.success is False), default=None)


class RewardLine(_Line):
    """What the judges made of a session."""

    score: float | None = None


class MetadataLine(_Line):
    """What the run says about a session, and about itself."""

    run_id: str | None = None
    dataset: str | None = None
    dataset_revision: str | None = None
    agent: dict[str, Any] | None = None
    backend: str | None = None
    use_llm_judge: bool | None = None
    config_path: str | None = None
    conversations_path: str | None = None
    tasks_path: str | None = None
    software: dict[str, str] | None = None
    workflow_category: str | None = None
    complexity_level: str | None = None
    execution_mode: str | None = None
    learning_key: str | None = None
    reward_status: Literal["scored", "failed"] | None = None
    reward_escalated: bool | None = None
    attempts: Whole | None = None
    teacher_intervened: bool | None = None
    teacher_valid: bool | None = None
    first_attempt_success: bool | None = None
    entries_available: Whole | None = None
    entries_learnt: Whole | None = None
    entries_rejected: Whole | None = None
    learning_error: str | None = None
    session_reward: RewardLine | None = None
    token_usage: dict[str, UsageLine] | None = None
    cost_usd: dict[str, Annotated[float, Field(ge=0)]] | None = None


class SessionLine(_Line):
    """One session."""

    schema_version: int
    conversation_id: str
    task_id: str
    epoch: Ordinal = 1
    status: Literal["succeeded", "failed", "not_recorded", "not_run"]
    conversation_result: ResultLine | None = None
    atlas_metadata: MetadataLine


def read_lines(path: Path) -> Iterator[tuple[int, SessionLine]]:
    """The sessions of `path` with their line numbers, one at a time.

    Raises:
        InputError: the file is missing or empty, or a line is not a session; names file and line.
    """
    seen: dict[tuple[str, int], int] = {}
    try:
        with path.open("rb") as handle:
            for number, raw in enumerate(handle, 1):
                session = _parse(raw.rstrip(b"\r\n"), path, number)
                earlier = seen.setdefault((session.task_id, session.epoch), number)
                if earlier != number:
                    raise InputError(
                        f"{path}, line {number}: task {session.task_id!r} already stands in line "
                        f"{earlier} and would count twice; {_REMEDY}."
                    )
                yield number, session
    except OSError as error:
        raise InputError(f"Could not read {path}: {error.strerror or error}; {_REMEDY}.") from error
    if not seen:
        raise InputError(f"{path} holds no session, so there is nothing to measure; {_REMEDY}.")


def _parse(raw: bytes, path: Path, number: int) -> SessionLine:
    try:
        session = SessionLine.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].replace(" at line 1 column ", " at column ")
        reason = f"{field}: {message}" if field else message
        raise InputError(f"{path}, line {number} is not a session ({reason}); {_REMEDY}.") from None
    if session.schema_version != 1:
        raise InputError(
            f"{path}, line {number} has schema_version {session.schema_version}, and this "
            f"version of crm_assets reads 1; {_REMEDY}, or use the version that wrote it."
        )
    result = session.conversation_result
    if session.status == "succeeded" and (result is None or result.status != "completed"):
        held = "no conversation_result" if result is None else f"a result that is {result.status!r}"
        raise InputError(f"{path}, line {number} is a session that succeeded, yet holds {held}; {_REMEDY}.")
    return session
