"""Rates from frames: whole, by column, and by kind of failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_assets.reporting.figures import Rate
from crm_assets.reporting.intervals import Tally
from crm_assets.reporting.models import ConversationGroup, FailureKind, TurnGroup

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from crm_assets.reporting.frames import SessionFrames

    Numbers = NDArray[np.integer[np.typing.NBitBase]]

__all__ = ["conversation_groups", "failure_kinds", "rate", "rates_by", "turn_groups"]

_COMPLEXITIES = ("simple", "medium", "complex")


def rate(frame: pd.DataFrame, verdict: str) -> Rate:
    """Return the rate of `verdict` over the rows that have one, turns of a conversation taken together."""
    return Rate.of(_tally(frame["conversation"].to_numpy(), frame[verdict].to_numpy()))


def rates_by(frame: pd.DataFrame, verdict: str, column: str) -> dict[str, Rate]:
    """Return the same for each value of `column`; values without any verdict are left out."""
    conversations, verdicts = frame["conversation"].to_numpy(), frame[verdict].to_numpy()
    groups, names = frame[column].factorize()
    tallies = {
        str(name): _tally(conversations[groups == number], verdicts[groups == number])
        for number, name in enumerate(names)
    }
    return {name: Rate.of(tally) for name, tally in tallies.items() if tally.verdicts}


def _tally(conversations: Numbers, verdicts: Numbers) -> Tally:
    """Return the tally of verdicts, 1 or 0 (others are none), by the number of their conversation."""
    import numpy as np  # noqa: PLC0415  (heavy)

    decided = verdicts >= 0
    if not decided.any():
        return Tally()
    numbers = conversations[decided]
    counts = np.bincount(numbers)
    successes = np.bincount(numbers[verdicts[decided] == 1], minlength=len(counts))
    y, n = successes[counts > 0], counts[counts > 0]
    return Tally(len(n), *(int(total) for total in (y.sum(), n.sum(), y @ y, y @ n, n @ n)))


def conversation_groups(frames: SessionFrames, column: str) -> dict[str, ConversationGroup]:
    """Return conversations by a column that sessions and turns both have."""
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
    """Return executed turns by tool or by position."""
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
    """Return the reasons why turns failed, most frequent first."""
    turns = frames.turns
    failed = turns[turns["success"] == 0]
    found = []
    for kind, count in failed["kind"].value_counts().items():
        if not count:
            continue
        of_kind = failed[failed["kind"] == kind]
        so = ((turns["kind"] == kind) & (turns["success"] == 0)).astype("int8")
        marked = so.where(turns["success"] >= 0, -1).to_numpy()
        found.append(
            FailureKind(
                kind=str(kind),
                turns=int(count),
                share_of_turns=Rate.of(_tally(turns["conversation"].to_numpy(), marked)),
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
