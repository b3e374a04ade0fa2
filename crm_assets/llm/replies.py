"""Reads replies in OpenAI's form: a reply that is of no use is a failure, never a crash."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from crm_assets.llm.entries import AnsweredBy
from crm_assets.llm.failures import Failure, failure_of_response
from crm_assets.llm.messages import ChatReply, ChatRequest, FunctionCall, SentParameters, Usage
from crm_assets.llm.pricing import Price
from crm_assets.llm.reading import calls_in_text, plain_arguments, without_thoughts

__all__ = ["Completion", "read_completion", "read_usage"]

_UNWRITABLE = re.compile("[\ud800-\udfff\x00]")
"""Half characters cannot be encoded, and Postgres' JSON takes no NUL."""

_REASONS = {"max_tokens": "length", "max_output_tokens": "length", "safety": "content_filter"}
_MESSAGE_FIELDS = frozenset(
    {"role", "content", "tool_calls", "function_call", "refusal", "annotations", "audio"}
)
_CALL_FIELDS = frozenset({"id", "type", "function", "index"})


@dataclass(frozen=True)
class Completion:
    """The outcome of one request."""

    reply: ChatReply | None = None
    failure: Failure | None = None
    """None where there is a reply of use."""
    usage: Usage | None = None
    """None where the tokens are unknown."""
    cost_usd: float | None = None
    """US dollars; None where they are unknown."""
    sent: SentParameters | None = None
    server: str | None = None
    answered_by: AnsweredBy | None = None
    note: str | None = None
    """Inconsistency in the provider's counts."""

    @classmethod
    def refused(cls, failure: Failure) -> Completion:
        """Return what came of a request that the server answered with an error: it is not charged."""
        return cls(failure=failure, usage=Usage(), cost_usd=0.0)


def read_completion(
    document: object,
    request: ChatRequest,
    price_for: Callable[[str | None], Price],
    redact: Callable[[str], str],
    *,
    worked_out: float | None = None,
) -> Completion:
    """Read a response of the chat completions API.

    Args:
        document: the response's JSON.
        request: what was asked.
        price_for: the price of the model that answered, by the name that the response gives it.
        redact: takes secrets out of a text.
        worked_out: the cost, where a library worked it out.
    """
    if not isinstance(document, dict):
        return Completion(failure=Failure("malformed", "the reply is no JSON object"))
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    if error := document.get("error") or choice.get("error"):
        return Completion.refused(failure_of_response(200, {}, {"error": error}, redact))
    usage, note = read_usage(document.get("usage"))
    answered = _word(document.get("model"))
    cost = price_for(answered).cost_usd(usage, worked_out)
    by = AnsweredBy(
        model=answered,
        system_fingerprint=_word(document.get("system_fingerprint")),
        provider=_word(document.get("provider")),
    )
    reply, failure = None, None
    try:
        reply = _reply(choice, request, usage, cost)
    except ValueError as error_:
        failure = Failure("malformed", str(error_))
    if reply is not None and reply.finish_reason == "content_filter" and not reply.tool_calls:
        failure = Failure(
            "content_filter", "the provider withheld the reply (finish_reason content_filter)"
        )
    return Completion(reply, failure, usage, cost, answered_by=by, note=note)


def _reply(
    choice: Mapping[str, Any], request: ChatRequest, usage: Usage | None, cost: float | None
) -> ChatReply:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ValueError("the reply has no message" if choice else "the reply has no choices")
    content = _text(message.get("content"))
    reason = str(choice.get("finish_reason") or "stop").lower()
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal and not content:
        content, reason = _writable(refusal), "refusal"
    if content is not None:
        content = without_thoughts(content)
    calls = _calls(message, request)
    if not calls and content and request.tools and request.tool_choice != "none":
        calls = _written_calls(content, request)
        content = None if calls else content
    return ChatReply(
        content, calls, _REASONS.get(reason, reason), usage, cost, state=_state(message, _MESSAGE_FIELDS)
    )


def _text(content: object) -> str | None:
    """Return a message's text; of content in parts, its text parts."""
    if isinstance(content, list) and content and all(isinstance(part, dict) for part in content):
        parts = [part.get("text") for part in content if part.get("type") == "text"]
        content = "".join(part for part in parts if isinstance(part, str))
    if content is None:
        return None
    if not isinstance(content, str):
        raise ValueError(f"the reply's content is a {type(content).__name__}, not a text")
    return _writable(content)


def _calls(message: Mapping[str, Any], request: ChatRequest) -> tuple[FunctionCall, ...]:
    calls = message.get("tool_calls") or ()
    if not calls and isinstance(message.get("function_call"), dict):
        calls = [{"function": message["function_call"]}]
    if not isinstance(calls, (list, tuple)):
        raise ValueError("the reply's tool calls are no list")
    taken = _Identifiers(request)
    return tuple(_call(call, taken) for call in calls)


def _call(call: object, taken: _Identifiers) -> FunctionCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        raise ValueError("a tool call of the reply lacks its name or arguments")
    # Whatever the model wrote is its call; what is wrong with it is for the tool to say.
    name, arguments = function.get("name"), function.get("arguments")
    name = name if isinstance(name, str) else ""
    if arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):
        arguments = orjson.dumps(arguments).decode()
    identifier = taken.unique(call.get("id"))
    return FunctionCall(
        identifier, _writable(name), plain_arguments(_writable(arguments)), _state(call, _CALL_FIELDS)
    )


def _written_calls(content: str, request: ChatRequest) -> tuple[FunctionCall, ...]:
    """Return the calls of a server that leaves them in the text, if they are of the request's tools."""
    found = calls_in_text(content)
    names = {tool.name for tool in request.tools}
    if not found or not all(call.name in names for call in found):
        return ()
    taken = _Identifiers(request)
    return tuple(
        FunctionCall(
            taken.unique(None),
            call.name,
            call.arguments if isinstance(call.arguments, str) else orjson.dumps(call.arguments).decode(),
        )
        for call in found
    )


class _Identifiers:
    """Makes call IDs unique within a conversation: some servers repeat theirs, some give none."""

    def __init__(self, request: ChatRequest) -> None:
        self._taken = {call.id for message in request.messages for call in message.tool_calls}

    def unique(self, given: object) -> str:
        base = _writable(given) if isinstance(given, str) and given else "call"
        identifier = base if base != "call" else "call_0"
        number = 0
        while identifier in self._taken:
            number += 1
            identifier = f"{base}_{number}"
        self._taken.add(identifier)
        return identifier


def _state(document: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any] | None:
    """Return the fields that we do not know: the provider may want them back."""
    state = {name: value for name, value in document.items() if name not in known and value is not None}
    try:
        return orjson.loads(_UNWRITABLE.sub("\ufffd", orjson.dumps(state).decode())) if state else None
    except orjson.JSONEncodeError:
        return None


def read_usage(usage: object) -> tuple[Usage | None, str | None]:
    """Read the tokens of a call, and what does not add up in them.

    Where total = prompt + completion + reasoning, the provider counts reasoning beside the completion; here
    it is part of it. None where prompt or completion is missing.
    """
    if not isinstance(usage, dict):
        return None, None
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    total = _count(usage.get("total_tokens"))
    if completion is None and prompt is not None and total is not None:
        completion = total - prompt
    if prompt is None or completion is None:
        return None, None
    details = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    cached = _detail(details[0], "cached_tokens") or _count(usage.get("prompt_cache_hit_tokens")) or 0
    reasoning = _detail(details[1], "reasoning_tokens") or 0
    note = None
    if total is not None and total != prompt + completion:
        if total == prompt + completion + reasoning:
            completion += reasoning
        else:
            note = f"total_tokens is {total}, not prompt {prompt} + completion {completion}"
    elif total is None and reasoning > completion:
        completion += reasoning
    if reasoning > completion:
        note = f"{reasoning} reasoning tokens in a completion of {completion}"
    if cached > prompt:
        note = f"{cached} cached tokens in a prompt of {prompt}"
    return Usage(prompt, completion, cached, reasoning), note


def _detail(details: object, name: str) -> int | None:
    return _count(details.get(name)) if isinstance(details, dict) else None


def _count(number: object) -> int | None:
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return None
    return int(number) if number >= 0 and number == int(number) else None


def _word(value: object) -> str | None:
    return _writable(value) if isinstance(value, str) and value else None


def _writable(text: str) -> str:
    """Return the text with what no file or database takes replaced by U+FFFD."""
    return _UNWRITABLE.sub("\ufffd", text)
