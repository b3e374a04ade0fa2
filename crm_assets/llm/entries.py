"""What a ledger holds: one line an attempt, and notes of what sessions started from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from crm_assets.errors import InputError
from crm_assets.llm.interface import Role
from crm_assets.llm.messages import ChatReply, FunctionCall, Usage
from crm_assets.llm.retries import FailureKind
from crm_assets.llm.spending import Spending

__all__ = [
    "CallError",
    "LedgerEntry",
    "LedgerNote",
    "RecordedReply",
    "read_ledger",
    "read_lines",
]

SCHEMA_VERSION: Literal[1] = 1


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class CallError(_Line):
    """Why an attempt gave no usable reply."""

    kind: FailureKind
    message: str
    """One line, without secrets."""


class RecordedReply(_Line):
    """What the model answered, whether of use or not."""

    content: str | None
    tool_calls: tuple[FunctionCall, ...] = ()
    finish_reason: str


class LedgerEntry(_Line):
    """One request that was sent, and what came of it."""

    kind: Literal["call"] = "call"
    schema_version: Literal[1] = SCHEMA_VERSION
    session: str
    role: Role
    model: str
    """`provider/model`."""
    request_sha256: str
    ordinal: int = Field(ge=1)
    """The n-th time that this session asked this in this role."""
    attempt: int = Field(ge=1)
    started_at: str
    """ISO 8601, UTC."""
    latency_seconds: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None
    """US dollars; null where the price is unknown."""
    error: CallError | None = None
    reply: RecordedReply | None = None

    @property
    def usage(self) -> Usage:
        """The tokens of the attempt."""
        return Usage(self.prompt_tokens, self.completion_tokens, self.cached_tokens, self.reasoning_tokens)

    @property
    def spending(self) -> Spending:
        """What the attempt adds to the sums."""
        return Spending(1, int(self.error is not None), self.usage, self.cost_usd)

    @property
    def chat_reply(self) -> ChatReply | None:
        """The reply as it was handed on."""
        if self.reply is None:
            return None
        return ChatReply(
            content=self.reply.content,
            tool_calls=self.reply.tool_calls,
            finish_reason=self.reply.finish_reason,
            usage=self.usage,
            cost_usd=self.cost_usd,
        )


class LedgerNote(_Line):
    """Something that a session started from, so that it can start from it again."""

    kind: Literal["note"] = "note"
    schema_version: Literal[1] = SCHEMA_VERSION
    session: str
    name: str
    """What it is."""
    document: dict[str, Any]


_LINE: TypeAdapter[LedgerEntry | LedgerNote] = TypeAdapter(
    Annotated[LedgerEntry | LedgerNote, Field(discriminator="kind")]
)


def read_lines(path: Path) -> Iterator[tuple[int, int, LedgerEntry | LedgerNote]]:
    """The lines of a ledger, each with where it begins and how long it is.

    A last line without its end was torn by a crash before anybody saw it, and is left out.

    Raises:
        InputError: there is no such file, or a line of it is none of a ledger's; names file and line.
    """
    try:
        with path.open("rb") as handle:
            start = 0
            for number, line in enumerate(handle, 1):
                if not line.endswith(b"\n"):
                    return
                yield start, len(line), _parse(path, number, line)
                start += len(line)
    except OSError as error:
        raise InputError(f"Could not read the ledger {path}: {error.strerror or error}.") from error


def read_ledger(path: Path) -> Iterator[LedgerEntry]:
    """The calls that a ledger holds, in the order in which they ended.

    Raises:
        InputError: there is no such file, or a line of it is none of a ledger's; names file and line.
    """
    for _, _, line in read_lines(path):
        if isinstance(line, LedgerEntry):
            yield line


def _parse(path: Path, number: int, line: bytes) -> LedgerEntry | LedgerNote:
    try:
        return _LINE.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = ": ".join([*(str(part) for part in first["loc"]), first["msg"]])
        raise InputError(f"{path}, line {number}: not a line of a ledger ({reason}).") from None
