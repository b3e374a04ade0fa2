"""Examples of failures, chosen while the sessions are read."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter

from crm_assets.records import SessionSummary, TurnSummary
from crm_assets.records.summary import ResultSummary
from crm_assets.reporting.models import FailureExample, InfrastructureFailure

__all__ = ["UNNAMED_KIND", "FailureLog"]

UNNAMED_KIND = "unnamed"
_EXAMPLES = 3
_REASONS = 10
_NUMBER = re.compile(r"\d[\d,.]*\d|\d")
_LONGEST = 240
_Rank = tuple[bool, str, int]


@dataclass
class FailureLog:
    """Keeps a few examples a kind; which ones does not depend on the order of the sessions."""

    _examples: dict[str, list[tuple[_Rank, FailureExample]]] = field(default_factory=dict)
    _reasons: Counter[str] = field(default_factory=Counter)
    _reason_example: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Conversation and message, by the reason without its numbers."""
    _not_recorded: Counter[str] = field(default_factory=Counter)

    def add(self, session: SessionSummary) -> None:
        """Look at a session: its failed turns, or why it did not run."""
        if session.ran is not None:
            self._add_turns(session.conversation_id, session.ran)
        elif session.status == "failed":
            self._add_infrastructure(session)
        elif session.status == "not_recorded":
            self._add_not_recorded(session)

    def _add_turns(self, conversation_id: str, result: ResultSummary) -> None:
        failed = [turn for turn in result.per_turn_results if turn.success is False]
        if not failed:
            return
        first = result.first_failed_turn
        failed.sort(key=attrgetter("turn_id"), reverse=True)
        # The first of a kind: three turns of the same one in a conversation teach little.
        for kind, turn in {turn.verification or UNNAMED_KIND: turn for turn in failed}.items():
            rank = (turn.turn_id != first, conversation_id, turn.turn_id)
            kept = self._examples.setdefault(kind, [])
            if len(kept) < _EXAMPLES or rank < kept[-1][0]:
                kept.append((rank, _example(conversation_id, turn, first=turn.turn_id == first)))
                kept.sort(key=itemgetter(0))
                del kept[_EXAMPLES:]

    def _add_infrastructure(self, session: SessionSummary) -> None:
        result = session.conversation_result
        message = shorten(result.error_message if result else None) or "no message"
        kind = _NUMBER.sub("#", message)  # "1,234 tokens" and "987 tokens" are one reason
        self._reasons[kind] += 1
        known = self._reason_example.get(kind, (session.conversation_id, message))
        self._reason_example[kind] = min(known, (session.conversation_id, message))

    def _add_not_recorded(self, session: SessionSummary) -> None:
        result = session.conversation_result
        if result is not None and result.metadata.not_recorded is not None:  # older versions did not say
            self._not_recorded[result.metadata.not_recorded] += 1

    def not_recorded(self) -> dict[str, int]:
        """Return the number of sessions that a past run does not have, by reason."""
        return dict(sorted(self._not_recorded.items()))

    def examples(self, kind: str) -> tuple[FailureExample, ...]:
        """Return the examples of one kind, best first."""
        return tuple(example for _, example in self._examples.get(kind, ()))

    def infrastructure(self) -> tuple[InfrastructureFailure, ...]:
        """Return the most frequent reasons, most frequent first."""
        ranked = sorted(self._reasons.items(), key=lambda item: (-item[1], item[0]))
        return tuple(
            InfrastructureFailure(message=message, sessions=count, example=example)
            for (example, message), count in (
                (self._reason_example[kind], count) for kind, count in ranked[:_REASONS]
            )
        )


def _example(conversation_id: str, turn: TurnSummary, *, first: bool) -> FailureExample:
    return FailureExample(
        conversation_id=conversation_id,
        turn_id=turn.turn_id,
        first_failure=first,
        user_utterance=shorten(turn.user_utterance) or "",
        expected_tool=turn.expected_tool,
        called_tool=shorten(turn.tool_name),
        detail=shorten(turn.argument_mismatch_reason or turn.error),
    )


def shorten(text: str | None) -> str | None:
    """Return `text` on one line, shortened to 240 characters."""
    if text is None:
        return None
    line = " ".join(text[: _LONGEST * 4].split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
