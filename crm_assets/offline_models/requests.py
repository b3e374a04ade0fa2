"""A request to an offline model, and the count of its tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from crm_assets.llm.json_replies import COMPLAINT
from crm_assets.llm.messages import ChatReply, FunctionCall, Message, Usage

__all__ = ["Document", "OfflineRequest", "count_tokens", "read_messages", "request_of", "usage_of"]

Document = Mapping[str, Any]
"""A JSON object of a prompt, a tool or an API: models of language take and make any."""

_BYTES_A_TOKEN = 4
_MESSAGE_TOKENS = 4  # added to each message by the chat format


@dataclass(frozen=True)
class OfflineRequest:
    """Everything that an offline model's reply depends on."""

    messages: tuple[Message, ...]
    tools: tuple[Document, ...] = ()
    """As OpenAI's API has them: `{"type": "function", "function": {name, description, parameters}}`."""
    tool_choice: Literal["auto", "required", "none"] = "auto"
    temperature: float = 0.0

    @cached_property
    def system(self) -> str:
        """Return the text of the system messages, joined by blank lines."""
        return "\n\n".join(one.content or "" for one in self.messages if one.role == "system")

    @cached_property
    def last_user(self) -> str:
        """Return the text of the last user message that is no complaint about a reply's form, or ""."""
        said = (one.content or "" for one in reversed(self.messages) if one.role == "user")
        return next((text for text in said if not text.startswith(COMPLAINT)), "")


def request_of(body: Document) -> OfflineRequest:
    """Read the body of a call of OpenAI's API."""
    choice: Any = body.get("tool_choice") or "auto"
    temperature = body.get("temperature")
    return OfflineRequest(
        read_messages(body.get("messages") or ()),
        tuple(body.get("tools") or ()),
        choice if choice in ("auto", "required", "none") else "required",
        float(temperature) if temperature is not None else 0.0,
    )


def read_messages(documents: Iterable[Document]) -> tuple[Message, ...]:
    """Read messages of OpenAI's API; content in parts is joined, `developer` counts as `system`."""
    return tuple(_message(document) for document in documents)


def _message(document: Document) -> Message:
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
    """Return the tokens of `text`: one for every four bytes of UTF-8, rounded up.

    This is OpenAI's rule of thumb for English text.
    """
    return -(-(len(text) if text.isascii() else len(text.encode())) // _BYTES_A_TOKEN)


def usage_of(request: OfflineRequest, tool_tokens: int, reply: ChatReply) -> Usage:
    """Return the tokens of a request, its tools' `tool_tokens` included, and of its reply."""
    prompt = tool_tokens + sum(_message_tokens(m.content, m.tool_calls) for m in request.messages)
    return Usage(prompt, _message_tokens(reply.content, reply.tool_calls) - _MESSAGE_TOKENS)


def _message_tokens(content: str | None, calls: Sequence[FunctionCall]) -> int:
    own = count_tokens(content) if content else 0
    return _MESSAGE_TOKENS + own + sum(count_tokens(call.name + call.arguments) for call in calls)
