"""Conversations whose outcome changed, with their turns side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from crm_assets.conversations.patterns import UUID, strings_in
from crm_assets.records import SessionLog, TurnResult
from crm_assets.reporting.comparison.alignment import PairedRuns, PairedSide
from crm_assets.reporting.comparison.models import (
    Change,
    ChangeCounts,
    ComparedCall,
    Flip,
    Measure,
    TurnPair,
)
from crm_assets.workspace.jsonl import read_line_at

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["find_flips"]

_MOST: Final = 100  # of each kind: a page of more is not read
_CHANGES: Final[dict[float, Change]] = {-1.0: "lost", 1.0: "gained"}


class _Recorded(NamedTuple):
    """A session's turns, and every row ID that its line holds."""

    turns: tuple[TurnResult, ...]
    ids: frozenset[str]


class _Changed(NamedTuple):
    """A conversation with different outcomes, and the sessions that show it."""

    number: int
    """Position among the compared conversations."""
    strict: Change | None
    state: Change | None
    a: _ShownSession
    b: _ShownSession


class _ShownSession(NamedTuple):
    offset: int
    """Bytes before its line."""
    epoch: int


def find_flips(pairs: PairedRuns, measure: Measure) -> tuple[ChangeCounts, tuple[Flip, ...]]:
    """Find the conversations that came out differently: lost, gained, end state alone.

    With several sessions a conversation is gained or lost if its rate changed, and the turns are those of
    the first session of each run that shows it.

    Args:
        pairs: the compared conversations.
        measure: strict success, or every turn right.

    Returns:
        How many there are, and the first ones of each kind with their turns.

    Raises:
        InputError: a session's turns cannot be read.
    """
    import numpy as np  # noqa: PLC0415  (heavy)

    strict, state = (np.sign(pairs.b.means[m] - pairs.a.means[m]) for m in (measure, "state_match"))
    same = ~((strict < 0) | (strict > 0))  # NaN without a verdict
    kinds = [np.flatnonzero(chosen) for chosen in (strict < 0, strict > 0, same & (np.abs(state) > 0))]
    lost, gained, alone = (len(kind) for kind in kinds)
    counts = ChangeCounts(
        lost=lost,
        gained=gained,
        state_alone=alone,
        state_lost=int((state < 0).sum()),
        state_gained=int((state > 0).sum()),
    )
    chosen = np.concatenate([kind[:_MOST] for kind in kinds])
    sessions_a, sessions_b = (_sessions(side, chosen) for side in (pairs.a, pairs.b))
    changed = []
    for number in chosen.tolist():
        strictly, by_state = _CHANGES.get(strict[number]), _CHANGES.get(state[number])
        shown: Measure = measure if strictly else "state_match"
        gain = (strictly or by_state) == "gained"
        one = _first(sessions_a.get_group(number), shown, 0.0 if gain else 1.0)
        other = _first(sessions_b.get_group(number), shown, 1.0 if gain else 0.0)
        changed.append(_Changed(number, strictly, by_state, one, other))
    turns_a = _read_turns(pairs.a.run.log, {each.a.offset for each in changed})
    turns_b = _read_turns(pairs.b.run.log, {each.b.offset for each in changed})
    return counts, tuple(
        _flip(pairs, each, turns_a[each.a.offset], turns_b[each.b.offset]) for each in changed
    )


def _sessions(side: PairedSide, chosen: NDArray[np.int64]) -> Any:
    """Return the sessions of the `chosen` conversations, grouped: by ID of the copies, and epoch."""
    sessions = side.run.sessions.assign(owner=side.owners[side.run.sessions["conversation"]])
    sessions = sessions[sessions["owner"].isin(chosen)]
    names = side.run.conversations.index[sessions["conversation"]]
    return sessions.assign(name=names).sort_values(["name", "epoch"]).groupby("owner")


def _first(sessions: pd.DataFrame, measure: Measure, verdict: float) -> _ShownSession:
    row = sessions[sessions[measure] == verdict].iloc[0]
    return _ShownSession(offset=int(row["offset"]), epoch=int(row["epoch"]))


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


def _flip(pairs: PairedRuns, changed: _Changed, a: _Recorded, b: _Recorded) -> Flip:
    turns, name = _pair_turns(a, b), pairs.ids[changed.number]
    facts = pairs.a.run.conversations.loc[name]
    return Flip(
        conversation_id=name,
        workflow=facts["workflow"],
        complexity=facts["complexity"],
        strict_success=changed.strict,
        state_match=changed.state,
        epoch_a=changed.a.epoch,
        epoch_b=changed.b.epoch,
        first_differing_turn=next((pair.turn_id for pair in turns if pair.differs), None),
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
                further_calls_differ=_further(one, names_a) != _further(other, names_b),
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
        """Name the rows that a turn's results show for the first time."""
        for call in turn.made_calls if turn else ():
            for text in strings_in(call.result):
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


def _further(turn: TurnResult | None, names: _RowNames) -> list[tuple[str, Any]]:
    """Return the calls of a turn that made several."""
    calls = turn.made_calls if turn else ()
    return [(call.tool_name, names.apply(call.arguments)) for call in calls] if len(calls) > 1 else []


def _verdict(turn: TurnResult | None) -> tuple[bool, str | None, bool | None]:
    return (False, None, None) if turn is None else (True, turn.verification, turn.success)
