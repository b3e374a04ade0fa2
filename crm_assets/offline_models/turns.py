"""A finished conversation as prompts show it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson

from crm_assets.offline_models.requests import Document
from crm_assets.offline_models.text import Mention, mentions

__all__ = ["SeenTurn", "read_turns", "unused_values"]

_DIGITS = re.compile(r"[^\d.-]")


@dataclass(frozen=True)
class SeenTurn:
    """One turn of a transcript; parts that the prompt leaves out are None."""

    number: int
    user: str
    tool: str | None
    arguments: object
    result: object
    error: str | None
    reply: str | None
    success: bool | None
    expected: Document | None


def read_turns(document: Document) -> list[SeenTurn]:
    """Return the turns in a prompt's JSON block; other entries are left out."""
    turns = document.get("turns")
    listed = turns if isinstance(turns, list) else []
    return [_turn(position, entry) for position, entry in enumerate(listed, 1) if isinstance(entry, dict)]


def _turn(position: int, entry: Document) -> SeenTurn:
    number, expected = entry.get("turn"), entry.get("expected")
    success = entry.get("success")
    return SeenTurn(
        number if isinstance(number, int) else position,
        str(entry.get("user") or ""),
        entry.get("tool"),
        entry.get("arguments"),
        entry.get("result"),
        entry.get("error"),
        entry.get("reply"),
        success if isinstance(success, bool) else None,
        expected if isinstance(expected, dict) else None,
    )


def unused_values(turn: SeenTurn) -> list[Mention]:
    """Return the IDs, addresses, dates and numbers that the user gave and the call lacks."""
    given = orjson.dumps(turn.arguments).decode().lower()
    numbers = {_number(text) for text in re.findall(r"-?\d+(?:\.\d+)?", given)}
    unused = []
    for mention in mentions(turn.user):
        if mention.kind == "number":
            if mention.number not in numbers:
                unused.append(mention)
        elif mention.kind in ("uuid", "email", "url", "date") and mention.text.lower() not in given:
            unused.append(mention)
    return unused


def _number(text: str) -> float:
    return float(_DIGITS.sub("", text))
