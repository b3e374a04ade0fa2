"""Defines a ledger's lines (an attempt each, or a note of what a session started from) and their sums."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from crm_assets.errors import InputError
from crm_assets.llm.failures import FailureKind
from crm_assets.llm.interface import ROLES, Role
from crm_assets.llm.messages import ChatReply, FunctionCall, SentParameters, Usage
from crm_assets.llm.spending import DOLLAR_DIGITS, NANO, Charge, Counted, Spending
from crm_assets.workspace.jsonl import read_lines
from crm_assets.workspace.keys import ends_like_epoch

__all__ = [
    "AnsweredBy",
    "CallError",
    "LedgerEntry",
    "LedgerNote",
    "RecordedReply",
    "SpendingSums",
    "read_ledger",
    "read_ledger_lines",
]

SCHEMA_VERSION: Literal[3] = 3
"""1: unknown tokens and costs were written as 0, and nothing was known of who answered.

2: the key of a conversation's first session was its ID, also where that ends like an epoch.
"""

_FIELDS = 12
_OFFSETS = {role: number * _FIELDS for number, role in enumerate(ROLES)}


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _OfSession(_Line):
    """A line of one session."""

    schema_version: Literal[1, 2, 3] = SCHEMA_VERSION
    session: str

    @property
    def sessions(self) -> tuple[str, ...]:
        """The keys of the sessions whose it may be: old ones of two sessions could be the same."""
        if self.schema_version == SCHEMA_VERSION or not ends_like_epoch(self.session):
            return (self.session,)
        return self.session, f"{self.session}#1"


class CallError(_Line):
    """Why an attempt gave no usable reply."""

    kind: FailureKind
    message: str
    """One line, without secrets."""


class RecordedReply(_Line):
    """The model's reply, usable or not."""

    content: str | None
    tool_calls: tuple[FunctionCall, ...] = ()
    finish_reason: str
    state: dict[str, Any] | None = None
    """Fields of the provider's message that it wants back with the conversation."""


class AnsweredBy(_Line):
    """Model that answered, by the reply's own word."""

    model: str | None = None
    system_fingerprint: str | None = None
    provider: str | None = None
    """Of a gateway: to whom it passed the request on."""


class LedgerEntry(_OfSession):
    """One request that was sent, and what came of it."""

    kind: Literal["call"] = "call"
    role: Role
    model: str
    """`provider/model` that was asked."""
    request_sha256: str
    ordinal: int = Field(ge=1)
    """The n-th time that this session asked this in this role."""
    attempt: int = Field(ge=1)
    started_at: str
    """ISO 8601, UTC."""
    latency_seconds: float
    prompt_tokens: int | None = None
    """Null, like the other counts, where they are unknown."""
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None
    """US dollars; null where it is unknown."""
    estimated_tokens: int | None = None
    """Tokens that a budget counts where their number is unknown."""
    estimated_usd: float | None = None
    """US dollars that a budget counts where the cost is unknown; null where the price is, too."""
    error: CallError | None = None
    reply: RecordedReply | None = None
    sent: SentParameters | None = None
    server: str | None = None
    """Address without secrets; null in ledgers of version 1."""
    answered_by: AnsweredBy | None = None
    note: str | None = None
    """Inconsistency in the provider's counts."""

    @property
    def usage(self) -> Usage | None:
        """The tokens of the attempt, None where they are unknown."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return Usage(
            self.prompt_tokens, self.completion_tokens, self.cached_tokens or 0, self.reasoning_tokens or 0
        )

    @property
    def counted(self) -> Charge:
        """Return what budgets count for the attempt."""
        tokens = self.usage.total_tokens if self.usage else self.estimated_tokens or 0
        dollars = self.estimated_usd or 0.0 if self.cost_usd is None else self.cost_usd
        return Charge(tokens, round(dollars * NANO))

    @property
    def answered(self) -> tuple[str, str] | None:
        """The model that was asked, and the one that answered with its server; None if it is not known."""
        if self.answered_by is None or self.answered_by.model is None:
            return None
        through = f" through {self.answered_by.provider}" if self.answered_by.provider else ""
        return self.model, f"{self.answered_by.model}{through} at {self.server}"

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
            state=self.reply.state,
            sent=self.sent,
        )


class LedgerNote(_OfSession):
    """Something that a session started from, so that it can start from it again."""

    kind: Literal["note"] = "note"
    name: str
    """Description."""
    document: dict[str, Any]


_LINE: TypeAdapter[LedgerEntry | LedgerNote] = TypeAdapter(
    Annotated[LedgerEntry | LedgerNote, Field(discriminator="kind")]
)


class SpendingSums:
    """Adds up spending by role.

    In whole numbers, exact in whatever order calls end, and small enough to keep one for each session.
    """

    __slots__ = ("_answered", "_sums")

    def __init__(self) -> None:
        self._sums = array("q", bytes(8 * _FIELDS * len(ROLES)))
        self._answered: dict[Role, frozenset[tuple[str, str]]] = {}

    def add(self, entry: LedgerEntry) -> None:
        """Count one attempt."""
        sums, at = self._sums, _OFFSETS[entry.role]
        sums[at] += 1
        sums[at + 1] += entry.error is not None
        if (answered := entry.answered) is not None:
            known = self._answered.get(entry.role, frozenset())
            if answered not in known:
                self._answered[entry.role] = known | {answered}
        if entry.prompt_tokens is None or entry.completion_tokens is None:
            sums[at + 6] += 1
            sums[at + 7] += entry.estimated_tokens or 0
        else:
            sums[at + 2] += entry.prompt_tokens
            sums[at + 3] += entry.completion_tokens
            sums[at + 4] += entry.cached_tokens or 0
            sums[at + 5] += entry.reasoning_tokens or 0
        if entry.cost_usd is not None:
            sums[at + 8] += round(entry.cost_usd * NANO)
            return
        sums[at + 9] += 1
        if entry.estimated_usd is None:
            sums[at + 11] += 1
        else:
            sums[at + 10] += round(entry.estimated_usd * NANO)

    def by_role(self) -> dict[Role, Spending]:
        """Return the sums of the roles that have called at all."""
        return {role: self._read(role) for role in ROLES if self._sums[_OFFSETS[role]]}

    def total(self) -> Spending:
        """Return the sum over all roles."""
        return Spending.total(self.by_role().values())

    def counted(self, role: Role | None = None) -> Counted:
        """Return what budgets count, of one role or of all."""
        calls = tokens = nano = estimated_tokens = estimated_nano = unpriced = 0
        sums = self._sums
        for at in _OFFSETS.values() if role is None else (_OFFSETS[role],):
            calls += sums[at]
            tokens += sums[at + 2] + sums[at + 3]
            estimated_tokens += sums[at + 7]
            nano += sums[at + 8]
            estimated_nano += sums[at + 10]
            unpriced += sums[at + 11]
        estimated = Charge(estimated_tokens, estimated_nano)
        return Counted(calls, Charge(tokens, nano) + estimated, estimated, unpriced)

    def _read(self, role: Role) -> Spending:
        at = _OFFSETS[role]
        values = self._sums[at : at + _FIELDS]
        calls, failed, prompt, completion, cached, reasoning, no_usage, tokens = values[:8]
        dollars, no_cost, estimated, no_estimate = values[8:]
        return Spending(
            calls=calls,
            failed_calls=failed,
            usage=Usage(prompt, completion, cached, reasoning),
            # Refused calls cost nothing; beside unknown ones that says nothing of the sum.
            cost_usd=round(dollars / NANO, DOLLAR_DIGITS) if dollars or not no_cost else None,
            unknown_usage_calls=no_usage,
            unknown_cost_calls=no_cost,
            estimated_tokens=tokens,
            estimated_usd=None if no_estimate else round(estimated / NANO, DOLLAR_DIGITS),
            answered_by=self._answered.get(role, frozenset()),
        )


def read_ledger_lines(
    path: Path, sessions: Collection[str] | None = None
) -> Iterator[tuple[int, int, LedgerEntry | LedgerNote]]:
    """Read the lines of a ledger, each with where it begins and how long it is, in bytes.

    A last line without its end was torn by a crash before anybody saw it, and is left out.

    Args:
        path: the ledger.
        sessions: keys of those whose lines are wanted; None for all.

    Raises:
        InputError: there is no such file, or a line is not a ledger's entry; names file and line.
    """
    for line in read_lines(path):
        if not line.is_torn and (sessions is None or _session_of(line.data) in sessions):
            yield line.offset, len(line.data), _parse(path, line.number, line.data)


def _session_of(line: bytes) -> object:
    """Return the session of a line, without the cost of validating all of it."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return document.get("session") if isinstance(document, dict) else None


def read_ledger(path: Path) -> Iterator[LedgerEntry]:
    """The calls that a ledger holds, in the order in which they ended.

    Raises:
        InputError: there is no such file, or a line is not a ledger's entry; names file and line.
    """
    for _, _, line in read_ledger_lines(path):
        if isinstance(line, LedgerEntry):
            yield line


def _parse(path: Path, number: int, line: bytes) -> LedgerEntry | LedgerNote:
    try:
        return _LINE.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = ": ".join([*(str(part) for part in first["loc"]), first["msg"]])
        raise InputError(f"{path}, line {number}: not a line of a ledger ({reason}).") from None
