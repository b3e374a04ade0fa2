"""Conversations whose outcome changed, with their turns side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from crm_assets.conversations.patterns import UUID, strings_in
from crm_assets.records import SessionLog, TurnResult
from crm_assets.reporting.comparison.models import Change, ComparedCall, Flip, Measure, RunOutcome, TurnPair
from crm_assets.reporting.comparison.runs import RunOutcomes, SessionRef
from crm_assets.workspace.jsonl import read_line_at

__all__ = ["find_flips"]


class _Recorded(NamedTuple):
    """A session's turns, and every row ID that its line holds."""

    turns: tuple[TurnResult, ...]
    ids: frozenset[str]


def find_flips(
    a: RunOutcomes, b: RunOutcomes, contents: Sequence[Sequence[str]], measure: Measure
) -> tuple[Flip, ...]:
    """Find the conversations that came out differently: lost, gained, end state alone.

    With several sessions a conversation is gained or lost if its rate changed, and the turns are those of
    the first session of each run that shows it.

    Args:
        a: the reference run.
        b: the compared run.
        contents: the compared conversations, each as the IDs of its copies.
        measure: strict success, or every turn right.

    Raises:
        InputError: a session's turns cannot be read.
    """
    changed = []
    for copies in contents:
        one, other = a.outcome(copies), b.outcome(copies)
        strict = _change(one.value(measure), other.value(measure))
        state = _change(one.state_match, other.state_match)
        if strict or state:
            shown = measure if strict else "state_match"
            gained = (strict or state) == "gained"
            shown_a = _first(a.sessions(copies), shown, verdict=not gained)
            shown_b = _first(b.sessions(copies), shown, verdict=gained)
            changed.append((one, strict, state, shown_a, shown_b))
    turns_a = _read_turns(a.log, {shown.offset for *_, shown, _ in changed})
    turns_b = _read_turns(b.log, {shown.offset for *_, shown in changed})
    flips = [
        _flip(one, strict, state, (shown_a, turns_a[shown_a.offset]), (shown_b, turns_b[shown_b.offset]))
        for one, strict, state, shown_a, shown_b in changed
    ]
    order = {"lost": 0, "gained": 1, None: 2}
    return tuple(sorted(flips, key=lambda flip: (order[flip.strict_success], flip.conversation_id)))


def _change(a: float | None, b: float | None) -> Change | None:
    if a is None or b is None or a == b:
        return None
    return "gained" if b > a else "lost"


def _first(sessions: Sequence[SessionRef], measure: Measure, *, verdict: bool) -> SessionRef:
    return next(session for session in sessions if getattr(session, measure) is verdict)


def _read_turns(log: SessionLog, wanted: set[int]) -> dict[int, _Recorded]:
    """Read the sessions at the offsets `wanted`."""
    recorded = {}
    for offset in sorted(wanted):
        ids = frozenset(
            found.lower() for found in UUID.findall(read_line_at(log.sessions, offset).decode())
        )
        recorded[offset] = _Recorded(log.record(offset).conversation_result.per_turn_results, ids)
    return recorded


def _shown_call(turn: TurnResult | None) -> ComparedCall | None:
    if turn is None:
        return None
    return ComparedCall(
        tool=turn.tool_name,
        arguments=turn.arguments,
        error=turn.error,
        reply=turn.agent_response_text,
        verification=turn.verification,
        success=turn.success,
    )


def _flip(
    outcome: RunOutcome,
    strict: Change | None,
    state: Change | None,
    a: tuple[SessionRef, _Recorded],
    b: tuple[SessionRef, _Recorded],
) -> Flip:
    turns = _pair_turns(a[1], b[1])
    return Flip(
        conversation_id=outcome.conversation,
        workflow=outcome.workflow,
        complexity=outcome.complexity,
        strict_success=strict,
        state_match=state,
        epoch_a=a[0].epoch,
        epoch_b=b[0].epoch,
        first_differing_turn=next(
            (pair.turn_id for pair in turns if pair.call_differs or pair.verdict_differs), None
        ),
        turns=turns,
    )


def _pair_turns(a: _Recorded, b: _Recorded) -> tuple[TurnPair, ...]:
    of_a, of_b = ({turn.turn_id: turn for turn in session.turns} for session in (a, b))
    # An ID that both sessions know is of a row that was there before; others they made themselves.
    shared = a.ids & b.ids
    names_a, names_b = _RowNames(shared), _RowNames(shared)
    paired = []
    for turn_id in sorted({*of_a, *of_b}):
        one, other = of_a.get(turn_id), of_b.get(turn_id)
        known = one or other
        assert known is not None  # the ID came from one of them
        paired.append(
            TurnPair(
                turn_id=turn_id,
                user_utterance=known.user_utterance,
                expected_tool=known.expected_tool,
                a=_shown_call(one),
                b=_shown_call(other),
                call_differs=_call(one, names_a) != _call(other, names_b),
                verdict_differs=_verdict(one) != _verdict(other),
            )
        )
        names_a.learn(one)
        names_b.learn(other)
    return tuple(paired)


class _RowNames:
    """Names the rows that a session made by where they first appear, so that two sessions compare."""

    def __init__(self, shared: frozenset[str]) -> None:
        self._shared = shared
        self._names: dict[str, str] = {}

    def learn(self, turn: TurnResult | None) -> None:
        """Name the rows that a turn's result shows for the first time."""
        if turn is None:
            return
        for text in strings_in(turn.result):
            for found in UUID.findall(text):
                if found.lower() not in self._shared:
                    self._names.setdefault(found.lower(), f"row {len(self._names)}")

    def apply(self, value: Any) -> Any:
        """Return `value` with the names in place of the IDs."""
        if not self._names:
            return value
        if isinstance(value, str):
            return UUID.sub(lambda match: self._names.get(match[0].lower(), match[0]), value)
        if isinstance(value, Mapping):
            return {self.apply(name): self.apply(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.apply(inner) for inner in value]
        return value


def _call(turn: TurnResult | None, names: _RowNames) -> tuple[bool, str | None, Any]:
    if turn is None:
        return False, None, None
    return True, turn.tool_name, names.apply(turn.arguments)


def _verdict(turn: TurnResult | None) -> tuple[bool, str | None, bool | None]:
    return (False, None, None) if turn is None else (True, turn.verification, turn.success)
