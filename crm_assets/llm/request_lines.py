"""Defines the lines of `requests.jsonl.gz`, and reads what models were asked.

A line for each call holds the messages that are new since the session's previous call in the same role.
System prompts, tools and settings stand in lines of their own, once for each role, under the hash of their
content. Secrets are redacted; a request in which none were yields the hash that the ledger has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from crm_assets.errors import InputError
from crm_assets.llm.interface import Role
from crm_assets.llm.messages import request_sha256
from crm_assets.workspace.compressed_lines import read_compressed_lines

__all__ = [
    "DIGITS",
    "SCHEMA_VERSION",
    "CallSettings",
    "RecordedRequest",
    "SystemPrompt",
    "ToolText",
    "in_common",
    "read_prompts",
    "read_requests",
]

SCHEMA_VERSION: Literal[1] = 1

DIGITS: Final = 16
"""Digits of the hash under which the ledger has a request: enough to tell those of one session apart."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    role: Role
    """Role that was asked."""


class _Shared(_Line):
    sha256: str
    """Hex SHA-256 of the content as it was sent."""


class SystemPrompt(_Shared):
    """A system prompt of a role."""

    kind: Literal["prompt"] = "prompt"
    content: str


class ToolText(_Shared):
    """A tool that a role may call, as OpenAI's API has it."""

    kind: Literal["tool"] = "tool"
    document: dict[str, Any]


class CallSettings(_Shared):
    """All of a request that can change its reply, but for its messages."""

    kind: Literal["settings"] = "settings"
    model: str
    """`provider/model`."""
    tools: tuple[str, ...] = ()
    """Hashes of the tools."""
    tool_choice: str | None = None
    parallel_tool_calls: bool = False
    temperature: float | None = None
    max_output_tokens: int | None = None
    json_object: bool = False


class _Asked(_Line):
    """One call."""

    kind: Literal["request"] = "request"
    session: str
    request_sha256: str
    """The first digits of the hash under which the ledger has it."""
    ordinal: int = Field(ge=1)
    settings: str
    """Hash of its settings."""
    keep: int = Field(ge=0)
    """Messages that it has in common with the session's previous call in this role, from the first on."""
    messages: tuple[dict[str, Any], ...]
    """Those that follow, as OpenAI's API has them; a system prompt's content is `{"sha256": …}`."""


_LINE: TypeAdapter[SystemPrompt | ToolText | CallSettings | _Asked] = TypeAdapter(
    Annotated[SystemPrompt | ToolText | CallSettings | _Asked, Field(discriminator="kind")]
)


@dataclass(frozen=True)
class RecordedRequest:
    """A request as it was sent, but for secrets."""

    session: str
    """Key of the session in the ledger."""
    role: Role
    ordinal: int
    """The n-th time that this session asked this in this role."""
    request_sha256: str
    """The first digits of the hash under which the ledger has it."""
    settings: CallSettings
    messages: tuple[Mapping[str, Any], ...]
    """As OpenAI's API has them."""
    tools: tuple[Mapping[str, Any], ...]
    """As OpenAI's API has them."""

    @property
    def is_unaltered(self) -> bool:
        """Tell if it is what the ledger's hash is of: not with a secret redacted, nor after a change."""
        settings = self.settings
        sha256 = request_sha256(
            model=settings.model,
            messages=[orjson.dumps(message, option=orjson.OPT_SORT_KEYS) for message in self.messages],
            tools=settings.tools,
            tool_choice=settings.tool_choice,
            temperature=settings.temperature,
            max_output_tokens=settings.max_output_tokens,
            json_object=settings.json_object,
            parallel_tool_calls=settings.parallel_tool_calls,
        )
        return sha256.startswith(self.request_sha256)


def in_common(before: Sequence[object], now: Sequence[object]) -> int:
    """Return how many messages two requests begin with alike."""
    if now[: len(before)] == before:
        return len(before)
    pairs = zip(before, now, strict=False)
    differ = (count for count, (one, other) in enumerate(pairs) if one != other)
    return next(differ, min(len(before), len(now)))


def read_requests(path: Path, sessions: Collection[str]) -> Iterator[RecordedRequest]:
    """Yield the requests of some sessions, in the order in which they were made.

    Args:
        path: the file of a finished run.
        sessions: their keys in the ledger.

    Raises:
        InputError: the file is missing or damaged, or a line is not one of such a file.
    """
    prompts: dict[tuple[Role, str], str] = {}
    tools: dict[tuple[Role, str], Mapping[str, Any]] = {}
    settings: dict[tuple[Role, str], CallSettings] = {}
    last: dict[tuple[str, Role], tuple[Mapping[str, Any], ...]] = {}

    def full(role: Role, message: Mapping[str, Any]) -> Mapping[str, Any]:
        content = message["content"]
        if not isinstance(content, Mapping):
            return message
        return {**message, "content": prompts[role, content["sha256"]]}

    for number, line in _lines(path, lambda line: line["kind"] != "request" or line["session"] in sessions):
        if isinstance(line, SystemPrompt):
            prompts[line.role, line.sha256] = line.content
        elif isinstance(line, ToolText):
            tools[line.role, line.sha256] = line.document
        elif isinstance(line, CallSettings):
            settings[line.role, line.sha256] = line
        else:
            key = line.session, line.role
            try:
                new = tuple(full(line.role, message) for message in line.messages)
                of_call = settings[line.role, line.settings]
                called = tuple(tools[line.role, sha256] for sha256 in of_call.tools)
            except KeyError as error:
                raise InputError(
                    f"{path}, line {number}: names {error.args[0][1]!r} before it stands there."
                ) from None
            before = last.get(key, ())
            if line.keep > len(before):
                raise InputError(f"{path}, line {number}: the request that it goes on from is missing.")
            last[key] = messages = (*before[: line.keep], *new)
            yield RecordedRequest(
                *(line.session, line.role, line.ordinal, line.request_sha256, of_call, messages, called)
            )


def read_prompts(path: Path) -> tuple[list[SystemPrompt], list[ToolText]]:
    """Return the system prompts and the tools of all roles, each once, in the order of their first use.

    Raises:
        InputError: the file is missing or damaged, or a line is not one of such a file.
    """
    prompts: dict[tuple[Role, str], SystemPrompt] = {}
    tools: dict[tuple[Role, str], ToolText] = {}
    for _, line in _lines(path, lambda line: line["kind"] in ("prompt", "tool")):
        if isinstance(line, SystemPrompt):
            prompts.setdefault((line.role, line.sha256), line)
        elif isinstance(line, ToolText):
            tools.setdefault((line.role, line.sha256), line)
    return list(prompts.values()), list(tools.values())


def _lines(
    path: Path, wanted: Callable[[Mapping[str, Any]], bool]
) -> Iterator[tuple[int, SystemPrompt | ToolText | CallSettings | _Asked]]:
    for number, data in read_compressed_lines(path):
        try:
            document = orjson.loads(data)
            line = _LINE.validate_python(document) if wanted(document) else None
        except (orjson.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}, line {number}: no line of recorded requests ({reason}).") from None
        if line is not None:
            yield number, line
