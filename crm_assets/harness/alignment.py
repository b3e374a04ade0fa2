"""Holds a past run's result against the dataset, so that no call is scored against another request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from crm_assets.conversations import Conversation, Turn
from crm_assets.conversations.patterns import PLACEHOLDER
from crm_assets.records.past import PastResult, PastTurn

__all__ = ["NotRecorded", "NotRecordedReason", "turns_to_score"]

NotRecordedReason = Literal["not_in_file", "ended_in_error", "not_started", "other_turns"]
"""Why a past run holds nothing to score: no result, only an error, no turn, or turns of other requests."""


class NotRecorded(NamedTuple):
    """Why a past run's conversation cannot be scored."""

    reason: NotRecordedReason
    sentence: str


def turns_to_score(
    conversation: Conversation, past: PastResult | None
) -> Mapping[int, PastTurn] | NotRecorded:
    """Return the turns of a past run of `conversation` by number, or why they cannot be scored.

    Turns are held against the dataset's by utterance and expected call, where the file has them. What
    stands in place of a reference (`{{turn_N.field}}`) is not compared.
    """
    name = repr(conversation.conversation_id)
    if past is None:
        return NotRecorded("not_in_file", f"The recorded run does not contain conversation {name}.")
    if past.ended_in_error:
        error = past.error_message or "no reason is recorded"
        return NotRecorded("ended_in_error", f"The recorded run of conversation {name} failed: {error}")
    turns = past.turns
    if not turns:
        return NotRecorded("not_started", f"The recorded run holds no turn of conversation {name}.")
    for number, turn in turns.items():
        difference = _difference(conversation.turns, number, turn)
        if difference:
            return NotRecorded(
                "other_turns",
                f"Recorded turn {number} of conversation {name} is not the dataset's: {difference}; use "
                "the dataset that was run.",
            )
    return turns


def _difference(turns: tuple[Turn, ...], number: int, past: PastTurn) -> str | None:
    if number > len(turns):
        return f"the dataset has {len(turns)} turns"
    turn = turns[number - 1]
    if past.user_utterance and not _same_text(turn.user_utterance, past.user_utterance):
        return "the user says something else"
    if past.expected_tool and past.expected_tool != turn.expected_tool:
        return f"it expects {past.expected_tool[:80]}, not {turn.expected_tool[:80]}"
    if past.expected_arguments is not None and not _same(turn.expected_args, past.expected_arguments):
        return "it expects other arguments"
    return None


def _same(value: Any, past: Any) -> bool:
    if isinstance(value, str):
        if PLACEHOLDER.fullmatch(value.strip()):
            return True  # a reference alone takes the value with its type
        return isinstance(past, str) and _same_text(value, past)
    if isinstance(value, Mapping):
        return isinstance(past, Mapping) and _same_fields(value, past)
    if isinstance(value, (list, tuple)):
        return isinstance(past, list) and len(value) == len(past) and all(map(_same, value, past))
    return bool(value == past)


def _same_fields(value: Mapping[str, Any], past: Mapping[str, Any]) -> bool:
    names = {name for fields in (value, past) for name in fields if fields[name] is not None}
    return all(_same(value.get(name), past.get(name)) for name in names)


def _same_text(text: str, past: str) -> bool:
    """Tell whether `past` is `text` with something in place of its references."""
    text, past = " ".join(text.split()), " ".join(past.split())
    first, *rest = PLACEHOLDER.split(text)
    if text == past or not rest:
        return text == past
    *middle, last = rest
    start, end = len(first), len(past) - len(last)
    if not (past.startswith(first) and past.endswith(last) and start <= end):
        return False
    for piece in middle:
        found = past.find(piece, start, end)
        if found < 0:
            return False
        start = found + len(piece)
    return True
