"""A student's message history, in a form that every provider accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from crm_assets.atlas.student_prompt import text_outcomes
from crm_assets.harness import Outcome
from crm_assets.llm import ChatReply, FunctionCall, Message, ProviderState, calls_in_text, object_arguments

__all__ = ["AskedCall", "StudentHistory", "asked_calls", "outcome_document"]

_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")  # providers refuse a history with other names
_LONGEST_NAME = 64
_CALL_STARTS = ("{", "[", "<tool_call>", "```")


@dataclass(frozen=True)
class AskedCall:
    """A tool call that the model asks for."""

    id: str
    name: str
    arguments: Any
    """An object, or what the model wrote instead."""
    state: ProviderState | None = None
    """Provider state to return with the call."""


def asked_calls(reply: ChatReply, *, may_call: bool = True) -> tuple[AskedCall, ...]:
    """Return the calls of a reply, in order; of calls in its text, where none is expected, only bare ones.

    Args:
        reply: the model's.
        may_call: whether a call is expected.
    """
    if reply.tool_calls:
        return tuple(
            AskedCall(call.id, call.name, object_arguments(call.arguments), call.state)
            for call in reply.tool_calls
        )
    if not may_call and not (reply.content or "").lstrip().startswith(_CALL_STARTS):
        return ()  # words that mention a call
    return tuple(
        AskedCall("", call.name, object_arguments(call.arguments)) for call in calls_in_text(reply.content)
    )


class StudentHistory:
    """The messages of one conversation."""

    def __init__(self, prompt: str, *, in_text: bool) -> None:
        """Begin with the system prompt.

        Args:
            prompt: its text.
            in_text: whether calls and outcomes are written as text, for models without tools.
        """
        self.messages = [Message("system", prompt)]
        self._in_text = in_text
        self._calls = 0
        self._open: tuple[str, ...] = ()
        """IDs of the calls whose outcomes are not told yet."""

    def add_user(self, text: str) -> None:
        """Add what the user says."""
        self.messages.append(Message("user", text))

    def add_reply(self, text: str) -> None:
        """Add what the student tells the user."""
        if text:  # providers refuse empty messages
            self.messages.append(Message("assistant", text))

    def add_calls(self, reply: ChatReply, calls: Sequence[AskedCall]) -> None:
        """Add calls of a reply, whose outcomes come next."""
        if self._in_text:
            written = [{"tool": call.name, "arguments": call.arguments} for call in calls]
            self.messages.append(
                Message("assistant", "\n".join(orjson.dumps(each).decode() for each in written))
            )
            return
        made = tuple(self._made(calls))
        self._open = tuple(call.id for call in made)
        content = reply.content if reply.tool_calls else None
        self.messages.append(Message("assistant", content or None, tool_calls=made, state=reply.state))

    def add_outcomes(self, outcomes: Sequence[Mapping[str, object]], *, may_call: bool) -> None:
        """Add the outcomes of the last calls, one each, as JSON objects."""
        if self._in_text:
            self.messages.append(Message("user", text_outcomes(outcomes, may_call=may_call)))
            return
        for call_id, outcome in zip(self._open, outcomes, strict=True):
            self.messages.append(Message("tool", orjson.dumps(outcome).decode(), tool_call_id=call_id))

    def _made(self, calls: Sequence[AskedCall]) -> Iterator[FunctionCall]:
        taken = {call.id for message in self.messages for call in message.tool_calls}
        for call in calls:
            self._calls += 1
            arguments = call.arguments if isinstance(call.arguments, dict) else {}
            identifier = call.id or self._free_id(taken)
            taken.add(identifier)
            name = _NO_NAME.sub("_", call.name)[:_LONGEST_NAME] or "_"
            yield FunctionCall(identifier, name, orjson.dumps(arguments).decode(), call.state)

    def _free_id(self, taken: set[str]) -> str:
        number = self._calls
        while f"call_{number}" in taken:
            number += 1
        return f"call_{number}"


def outcome_document(outcome: Outcome, *, most_calls: int) -> Mapping[str, object]:
    """Return the outcome of a call as the student is told."""
    if not outcome.called:
        return {"error": f"Not called: a turn has at most {most_calls} calls."}
    return {"result": outcome.result} if outcome.error is None else {"error": outcome.error}
