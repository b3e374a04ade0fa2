"""A question to an offline model, and how its tokens are counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from crm_assets.llm.messages import ChatReply, FunctionCall, Message, Usage

__all__ = ["OfflineRequest", "ToolDocument", "count_tokens", "read_messages", "used"]

ToolDocument = Mapping[str, Any]
"""A tool as OpenAI's API has it: `{"type": "function", "function": {name, description, parameters}}`."""

_BYTES_A_TOKEN = 4
_MESSAGE_TOKENS = 4  # what a chat format adds to each message


@dataclass(frozen=True)
class OfflineRequest:
    """All that an offline model's reply depends on."""

    messages: tuple[Message, ...]
    tools: tuple[ToolDocument, ...] = ()
    tool_choice: Literal["auto", "required", "none"] = "auto"
    temperature: float = 0.0

    @cached_property
    def system(self) -> str:
        """The system messages' text."""
        return "\n\n".join(one.content or "" for one in self.messages if one.role == "system")

    @cached_property
    def last_user(self) -> str:
        """What was said last by the user."""
        return next((one.content or "" for one in reversed(self.messages) if one.role == "user"), "")


def read_messages(documents: Iterable[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Messages as OpenAI's API has them; content in parts is joined, a developer's are the system's."""
    return tuple(_message(document) for document in documents)


def _message(document: Mapping[str, Any]) -> Message:
    role = document.get("role")
    calls = tuple(
        FunctionCall(str(call.get("id") or ""), call["function"]["name"], call["function"]["arguments"])
        for call in document.get("tool_calls") or ()
    )
    if role == "developer":
        role = "system"
    return Message(
        role if role in ("system", "assistant", "tool") else "user",
        _text(document.get("content")),
        calls,
        document.get("tool_call_id"),
    )


def _text(content: object) -> str | None:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return None if content is None else str(content)


def count_tokens(text: str) -> int:
    """Tokens of `text`: one for every four bytes of UTF-8, rounded up.

    This is the rule of thumb that OpenAI gives for English; it is close enough for budgets, and costs
    nothing.
    """
    return -(-(len(text) if text.isascii() else len(text.encode())) // _BYTES_A_TOKEN)


def used(request: OfflineRequest, tool_tokens: int, reply: ChatReply) -> Usage:
    """The tokens of a question, its tools' `tool_tokens` included, and of its reply."""
    prompt = tool_tokens + sum(_message_tokens(m.content, m.tool_calls) for m in request.messages)
    return Usage(prompt, _message_tokens(reply.content, reply.tool_calls) - _MESSAGE_TOKENS)


def _message_tokens(content: str | None, calls: Sequence[FunctionCall]) -> int:
    own = count_tokens(content) if content else 0
    return _MESSAGE_TOKENS + own + sum(count_tokens(call.name + call.arguments) for call in calls)
