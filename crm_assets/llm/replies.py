"""litellm's responses as our replies: what is of no use for that is a failure, never a crash."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from crm_assets.llm.failures import Failure
from crm_assets.llm.messages import ChatReply, FunctionCall, Usage
from crm_assets.llm.pricing import Price

__all__ = ["Completion", "read_response"]

_UNWRITABLE = re.compile("[\ud800-\udfff\x00]")
"""Half characters cannot be encoded, and Postgres' JSON takes no NUL."""


@dataclass(frozen=True)
class Completion:
    """What came of one request."""

    reply: ChatReply | None = None
    failure: Failure | None = None
    """None where there is a reply."""
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = 0.0
    """US dollars; None where the price is unknown."""


def read_response(response: Any, price: Price) -> Completion:
    """The reply in a `litellm.ModelResponse`, its tokens and its cost."""
    usage = _usage(getattr(response, "usage", None))
    hidden = getattr(response, "_hidden_params", None) or {}
    cost = price.cost_usd(usage, hidden.get("response_cost"))
    try:
        content, calls, finish_reason = _message(response)
    except ValueError as error:
        return Completion(failure=Failure("malformed", str(error)), usage=usage, cost_usd=cost)
    return Completion(ChatReply(content, calls, finish_reason, usage, cost), None, usage, cost)


def _message(response: Any) -> tuple[str | None, tuple[FunctionCall, ...], str]:
    choices = getattr(response, "choices", None)
    if not isinstance(choices, list) or not choices:
        raise ValueError("the reply has no choices")
    message = getattr(choices[0], "message", None)
    if message is None:
        raise ValueError("the reply has no message")
    content = getattr(message, "content", None)
    if content is not None and not isinstance(content, str):
        raise ValueError(f"the reply's content is a {type(content).__name__}, not a text")
    calls = getattr(message, "tool_calls", None) or ()
    if not isinstance(calls, (list, tuple)):
        raise ValueError("the reply's tool calls are no list")
    finish_reason = getattr(choices[0], "finish_reason", None) or "stop"
    return (
        None if content is None else _writable(content),
        tuple(_call(call, number) for number, call in enumerate(calls)),
        str(finish_reason),
    )


def _call(call: Any, number: int) -> FunctionCall:
    function = getattr(call, "function", None)
    name, arguments = getattr(function, "name", None), getattr(function, "arguments", None)
    if not isinstance(name, str) or not isinstance(arguments, str):
        raise ValueError("a tool call of the reply lacks its name or arguments")
    given = getattr(call, "id", None)
    identifier = given if isinstance(given, str) and given else f"call_{number}"
    return FunctionCall(_writable(identifier), _writable(name), _writable(arguments))


def _writable(text: str) -> str:
    """The text with what no file or database takes replaced by U+FFFD."""
    return _UNWRITABLE.sub("\ufffd", text)


def _usage(usage: Any) -> Usage:
    prompt = getattr(usage, "prompt_tokens_details", None)
    completion = getattr(usage, "completion_tokens_details", None)
    prompt_tokens = _count(getattr(usage, "prompt_tokens", None))
    completion_tokens = _count(getattr(usage, "completion_tokens", None))
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_tokens=min(prompt_tokens, _count(getattr(prompt, "cached_tokens", None))),
        reasoning_tokens=min(completion_tokens, _count(getattr(completion, "reasoning_tokens", None))),
    )


def _count(number: Any) -> int:
    return max(0, number) if isinstance(number, int) else 0
