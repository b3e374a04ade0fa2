"""What goes to a chat model and what comes back, in OpenAI's terms.

These are the only shapes that the rest of crm_assets knows of a model; `llm.backend` turns them into
litellm's and back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    "Usage",
]


@dataclass(frozen=True)
class FunctionCall:
    """A tool call that a model asks for."""

    id: str
    name: str
    arguments: str
    """As the model wrote them: JSON, if it kept to the rules."""


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None
    tool_calls: tuple[FunctionCall, ...] = ()
    """Of an assistant's message."""
    tool_call_id: str | None = None
    """Of a tool's message: the call it answers."""

    def document(self) -> dict[str, Any]:
        """The message as OpenAI's API has it."""
        message: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self.tool_calls
            ]
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        return message


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
    def sha256(self) -> str:
        """Hex SHA-256 of the document."""
        return _sha256(self.document)


@dataclass(frozen=True)
class ChatRequest:
    """One question to a model."""

    model: ModelSpec
    messages: tuple[Message, ...]
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: Literal["auto", "required", "none"] = "auto"
    """Whether the model may, must or must not call one of `tools`."""
    temperature: float | None = None
    """Instead of the model's configured one."""
    max_output_tokens: int | None = None
    """Instead of the model's configured one."""
    json_object: bool = False
    """Ask the provider for a JSON object, where it knows how."""

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of all that can change the reply; no key and no address is part of it."""
        parts = {
            "model": self.model.name,
            "messages": [message.document() for message in self.messages],
            "tools": [tool.sha256 for tool in self.tools],  # of texts that are longer than all the rest
            "tool_choice": self.tool_choice if self.tools else None,
            "temperature": self.effective_temperature,
            "max_output_tokens": self.effective_max_output_tokens,
            "json_object": self.json_object,
        }
        return _sha256(parts)

    @property
    def effective_temperature(self) -> float | None:
        """What is sent; None leaves it to the provider."""
        return self.model.temperature if self.temperature is None else self.temperature

    @property
    def effective_max_output_tokens(self) -> int | None:
        """What is sent; None leaves it to the provider."""
        return self.max_output_tokens or self.model.max_output_tokens


@dataclass(frozen=True)
class Usage:
    """Tokens of one call as the provider counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
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
class ChatReply:
    """What a model answered."""

    content: str | None
    tool_calls: tuple[FunctionCall, ...] = ()
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    """US dollars; None where no price of the model is known."""


def _sha256(document: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
