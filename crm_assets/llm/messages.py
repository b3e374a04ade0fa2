"""Defines what goes to a chat model and what comes back, in OpenAI's terms.

These are the only shapes that the rest of crm_assets knows of a model; the backends turn them into a
provider's and back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import orjson

from crm_assets.llm.spec import ModelSpec

__all__ = [
    "ChatReply",
    "ChatRequest",
    "FunctionCall",
    "FunctionTool",
    "Message",
    "ProviderState",
    "SentParameters",
    "ToolChoice",
    "Usage",
    "request_sha256",
]

ToolChoice = Literal["auto", "required", "none"]
"""Policy: a model may, must or must not call a tool."""

ProviderState = Mapping[str, Any]
"""Fields of a provider's message or call that we do not know (thoughts, signatures) and that it wants back
with the conversation."""


@dataclass(frozen=True)
class FunctionCall:
    """A tool call that a model asks for."""

    id: str
    name: str
    arguments: str
    """As the model wrote them: JSON, if it kept to the rules."""
    state: ProviderState | None = None

    def document(self) -> dict[str, Any]:
        """Return the call as OpenAI's API has it."""
        function = {"name": self.name, "arguments": self.arguments}
        return {**(self.state or {}), "id": self.id, "type": "function", "function": function}


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None
    tool_calls: tuple[FunctionCall, ...] = ()
    """Of an assistant's message."""
    tool_call_id: str | None = None
    """Of a tool's message: the call it answers."""
    state: ProviderState | None = None
    """Of an assistant's message: what the provider wants back with it."""

    def document(self) -> dict[str, Any]:
        """Return the message as OpenAI's API has it."""
        message: dict[str, Any] = {**(self.state or {}), "role": self.role, "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = [call.document() for call in self.tool_calls]
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        return message

    @cached_property
    def encoded(self) -> bytes:
        """The message as JSON; content is never null, which llama-cpp-python answers with 500."""
        document = self.document()
        return orjson.dumps(document if self.content is not None else {**document, "content": ""})

    @cached_property
    def canonical(self) -> bytes:
        """The document as JSON with sorted keys: later requests of a session hash it again."""
        return _canonical(self.document())


@dataclass(frozen=True)
class FunctionTool:
    """A tool that a model may call."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema (object) of its arguments."""

    @cached_property
    def document(self) -> dict[str, Any]:
        """The tool as OpenAI's API has it."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": dict(self.parameters),
            },
        }

    @cached_property
    def encoded(self) -> bytes:
        """The document as JSON, written once: tools are most of a request."""
        return orjson.dumps(self.document)

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of the document."""
        return hashlib.sha256(_canonical(self.document)).hexdigest()


@dataclass(frozen=True)
class ChatRequest:
    """One question to a model."""

    model: ModelSpec
    messages: tuple[Message, ...]
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = "auto"
    """Policy: the model may, must or must not call one of `tools`."""
    parallel_tool_calls: bool = False
    """True if it may call several of them in one reply; not every server heeds it."""
    temperature: float | None = None
    """Instead of the model's configured one."""
    max_output_tokens: int | None = None
    """Instead of the model's configured one."""
    json_object: bool = False
    """Ask the provider for a JSON object, where it knows how; a reply of another form is answered with what
    was wrong with it."""
    json_schema: Mapping[str, Any] | None = None
    """The object's JSON Schema, sent where the server takes it; follows from who asks, as `check` does."""

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of all that can change the reply; no key and no address is part of it."""
        return request_sha256(
            model=self.model.name,
            messages=[message.canonical for message in self.messages],
            tools=[tool.sha256 for tool in self.tools],
            tool_choice=self.tool_choice if self.tools else None,
            temperature=self.effective_temperature,
            max_output_tokens=self.effective_max_output_tokens,
            json_object=self.json_object,
            parallel_tool_calls=self.parallel_tool_calls and bool(self.tools),
        )

    @property
    def effective_temperature(self) -> float | None:
        """Requested value; None leaves it to the provider."""
        return self.model.temperature if self.temperature is None else self.temperature

    @property
    def effective_max_output_tokens(self) -> int | None:
        """Requested value; None leaves it to the provider."""
        return self.max_output_tokens or self.model.max_output_tokens

    @cached_property
    def characters(self) -> int:
        """Length of all texts that are sent, tools included."""
        return sum(len(message.encoded) for message in self.messages) + self.tool_characters

    @property
    def tool_characters(self) -> int:
        """Length of the tools that are sent."""
        return sum(len(tool.encoded) for tool in self.tools)


@dataclass(frozen=True)
class Usage:
    """Tokens of one call as the provider counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Reasoning included, also where the provider counts it beside."""
    cached_tokens: int = 0
    """Of the prompt's, those read from the provider's cache."""
    reasoning_tokens: int = 0
    """Of the completion's, those spent on reasoning."""

    @property
    def total_tokens(self) -> int:
        """Prompt and completion."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True)
class SentParameters:
    """Parameters of a call as they were sent, which may be fewer than were asked for."""

    temperature: float | None = None
    """None: the provider's default, because none was asked for or the model takes none."""
    max_output_tokens: int | None = None
    response_format: Literal["json_schema", "json_object"] | None = None


@dataclass(frozen=True)
class ChatReply:
    """A model's answer."""

    content: str | None
    """Without thoughts that stood before it."""
    tool_calls: tuple[FunctionCall, ...] = ()
    finish_reason: str = "stop"
    """`stop`, `tool_calls`, `length` (cut off), `content_filter`, `refusal`, or the provider's own word."""
    usage: Usage | None = None
    """None where the provider did not report it."""
    cost_usd: float | None = None
    """US dollars; None where no price of the model, or no usage, is known."""
    state: ProviderState | None = None
    """Provider state to return with this message."""
    sent: SentParameters | None = None
    """The parameters it was asked with; None where they were not recorded."""


def request_sha256(
    *,
    model: str,
    messages: Iterable[bytes],
    tools: Iterable[str],
    tool_choice: str | None,
    temperature: float | None,
    max_output_tokens: int | None,
    json_object: bool,
    parallel_tool_calls: bool,
) -> str:
    """Return the hex SHA-256 of a request.

    Args:
        model: `provider/model`.
        messages: each as JSON with sorted keys.
        tools: hashes of the tools, whose texts are longer than all the rest.
        tool_choice: None without tools.
        temperature: None leaves it to the provider, as with the next.
        max_output_tokens: most tokens of the reply.
        json_object: a JSON object is asked for.
        parallel_tool_calls: several calls of tools are allowed.
    """
    parts: dict[str, Any] = {
        "model": model,
        "messages": [orjson.Fragment(message) for message in messages],
        "tools": list(tools),
        "tool_choice": tool_choice,
        "temperature": temperature,
        "max_output_tokens": max_output_tokens,
        "json_object": json_object,
    }
    if parallel_tool_calls:
        parts["parallel_tool_calls"] = True
    return hashlib.sha256(_canonical(parts)).hexdigest()


def _canonical(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
