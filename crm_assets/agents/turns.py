"""A turn as agents over HTTP and in programs of their own are told it, and what they answer."""

from __future__ import annotations

from typing import Annotated

import msgspec

from crm_assets.agents.messages import Reply, decode

__all__ = ["TurnDocument", "Usage", "encode_turn", "read_reply"]


class TurnDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent is told in each turn."""

    session: str
    """ID of the conversation, new for each attempt."""
    turn: int
    """Number of the turn, from 1."""
    utterance: str
    """What the user says."""
    instructions: str
    """The configured system prompt, then what was learned from earlier conversations and the teacher's
    guidance."""
    tools: msgspec.Raw | None = None
    """The tools as OpenAI's API takes them."""
    endpoint: str | None = None
    """Where calls are sent."""
    mcp: str | None = None
    """Address of the MCP server with the same tools."""
    token: str | None = None
    """Opens both."""


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Usage(msgspec.Struct, forbid_unknown_fields=True):
    """What a turn took, by the agent's own word."""

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    cost_usd: float | None = None


class _Answer(msgspec.Struct):
    reply: str
    usage: Usage | None = None
    turn: int | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Answer)


def encode_turn(document: TurnDocument) -> bytes:
    """Return a turn as JSON."""
    return _encoder.encode(document)


def read_reply(data: bytes, turn: int) -> Reply:
    """Return the reply in `{"reply": …}`; an agent may add its `usage` and the number of the `turn`.

    Args:
        data: what the agent answered.
        turn: number of the turn, if the answer does not give it.

    Raises:
        ValueError: it is not of that form; says in a clause what is wrong.
    """
    try:
        answer = decode(_decoder, data)
    except ValueError as error:
        raise ValueError(f'it must answer {{"reply": "…"}}: {error}') from None
    taken = msgspec.structs.asdict(answer.usage) if answer.usage else {}
    reported: dict[str, float] = {name: amount for name, amount in taken.items() if amount is not None}
    return Reply(turn if answer.turn is None else answer.turn, answer.reply, reported)
