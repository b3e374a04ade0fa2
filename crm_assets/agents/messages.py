"""The messages between the harness and an agent's process: one JSON document a line."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

__all__ = [
    "Began",
    "Begin",
    "Call",
    "CallOutcome",
    "Failed",
    "FromAgent",
    "Reply",
    "ToAgent",
    "Turn",
    "decode",
    "encode",
]


class Begin(msgspec.Struct, tag=True, frozen=True):
    """Tells the process to make the agent of a conversation."""

    tools: list[dict[str, Any]]
    instructions: str


class Turn(msgspec.Struct, tag=True, frozen=True):
    """Tells the agent what the user says."""

    user: str
    number: int
    """Of the turn, from 1."""


class CallOutcome(msgspec.Struct, tag=True, frozen=True):
    """Tells the agent what came of its call."""

    result: Any = None
    error: str | None = None


class Began(msgspec.Struct, tag=True, frozen=True):
    """Says which process the agent has; the first message of each."""

    pid: int


class Call(msgspec.Struct, tag=True, frozen=True):
    """Asks for a call of a tool."""

    name: str
    arguments: Any


class Reply(msgspec.Struct, tag=True, frozen=True):
    """Ends a turn."""

    number: int
    text: str
    reported: dict[str, float]


class Failed(msgspec.Struct, tag=True, frozen=True):
    """Says why the agent cannot go on."""

    reason: str


ToAgent = Begin | Turn | CallOutcome
FromAgent = Began | Call | Reply | Failed

_encoder = msgspec.json.Encoder()
_Document = TypeVar("_Document")


def encode(message: ToAgent | FromAgent) -> bytes:
    """Return the line of a message."""
    return _encoder.encode(message) + b"\n"


def decode(decoder: msgspec.json.Decoder[_Document], data: bytes) -> _Document:
    """Return the document in what an agent sent.

    Raises:
        ValueError: it is no such document; says in a clause what is wrong.
    """
    try:
        return decoder.decode(data)
    except RecursionError:  # not one of msgspec's errors, which are ValueErrors
        raise ValueError("JSON is nested too deeply") from None
