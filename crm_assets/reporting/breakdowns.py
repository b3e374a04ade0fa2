"""Rates from frames: whole, by column, and by kind of failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_assets.reporting.figures import Rate
from crm_assets.reporting.intervals import Tally
from crm_assets.reporting.models import ConversationGroup, FailureKind, TurnGroup

if TYPE_CHECKING:
    import pandas as pd

    from crm_assets.reporting.frames import SessionFrames

__all__ = ["conversation_groups", "failure_kinds", "rate", "rates_by", "turn_groups"]

_ALL = "all"
_COMPLEXITIES = ("simple", "medium", "complex")


def rate(frame: pd.DataFrame, verdict: str) -> Rate:
    """The rate of `verdict` over the rows that have one, turns of a conversation taken together."""
    return rates_by(frame.assign(**{_ALL: _ALL}), verdict, _ALL).get(_ALL, Rate.of(Tally()))


def rates_by(frame: pd.DataFrame, verdict: str, column: str) -> dict[str, Rate]:
    """The same for each value of `column`; values without any verdict are left out."""
    decided = frame.loc[frame[verdict] >= 0, [column, "conversation", verdict]]
    grouped = decided.groupby([column, "conversation"], observed=True, sort=False)[verdict]
    # Verdicts are kept in a byte each; their sums and products need room.
    sums = grouped.agg(y="sum", n="count").astype("int64").reset_index()
    sums = sums.assign(k=1, yy=sums.y * sums.y, yn=sums.y * sums.n, nn=sums.n * sums.n)
    totals = sums.groupby(column, observed=True)[["k", "y", "n", "yy", "yn", "nn"]].sum()
    return {
        str(row[0]): Rate.of(Tally(*(int(value) for value in row[1:])))
        for row in totals.itertuples(name=None)
    }


def conversation_groups(frames: SessionFrames, column: str) -> dict[str, ConversationGroup]:
    """Conversations by a column that sessions and turns both have."""
    sessions, turns = frames.sessions, frames.turns
    everything = sessions[column].value_counts()
    ran = sessions.loc[sessions["status"] == "succeeded", column].value_counts()
    strict = rates_by(sessions, "overall", column)
    state = rates_by(sessions, "state", column)
    tool = rates_by(turns, "tool_success", column)
    reply = rates_by(turns, "reply", column)
    none = Rate.of(Tally())
    return {
        name: ConversationGroup(
            conversations=int(everything[name]),
            ran=int(ran.get(name, 0)),
            strict_success=strict.get(name, none),
            state_match=state.get(name, none),
            turn_tool_success=tool.get(name, none),
            turn_response_success=reply.get(name, none),
        )
        for name in sorted(map(str, everything.index), key=_by_complexity)
    }


def turn_groups(turns: pd.DataFrame, column: str) -> dict[str, TurnGroup]:
    """Executed turns by tool or by position."""
    counts = {str(name): int(count) for name, count in turns[column].value_counts().items()}
    success = rates_by(turns, "success", column)
    tool = rates_by(turns, "tool_success", column)
    reply = rates_by(turns, "reply", column)
    none = Rate.of(Tally())
    return {
        name: TurnGroup(
            turns=counts[name],
            turn_success=success.get(name, none),
            turn_tool_success=tool.get(name, none),
            turn_response_success=reply.get(name, none),
        )
        for name in sorted(counts, key=_by_number)
        if counts[name]
    }


def failure_kinds(frames: SessionFrames) -> tuple[FailureKind, ...]:
    """Why turns failed, most frequent first."""
    turns = frames.turns
    failed = turns[turns["success"] == 0]
    found = []
    for kind, count in failed["kind"].value_counts().items():
        if not count:
            continue
        of_kind = failed[failed["kind"] == kind]
        so = ((turns["kind"] == kind) & (turns["success"] == 0)).astype("int8")
        marked = turns.assign(failed=so.where(turns["success"] >= 0, -1))
        found.append(
            FailureKind(
                kind=str(kind),
                turns=int(count),
                share_of_turns=rate(marked, "failed"),
                conversations=int(of_kind["conversation"].nunique()),
                first_failures=int((of_kind["first_failure"] == 1).sum()),
                examples=frames.failures.examples(str(kind)),
            )
        )
    return tuple(sorted(found, key=lambda failure: (-failure.turns, failure.kind)))


def _by_complexity(name: str) -> tuple[int, str]:
    known = _COMPLEXITIES.index(name) if name in _COMPLEXITIES else len(_COMPLEXITIES)
    return known, name


def _by_number(name: str) -> tuple[int, str]:
    return (int(name) if name.isdigit() else 0), name
