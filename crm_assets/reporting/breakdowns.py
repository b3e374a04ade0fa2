"""Rates and means from frames: whole, by column, and by kind of failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_assets.reporting.figures import Mean, Rate
from crm_assets.reporting.intervals import Tally
from crm_assets.reporting.models import ConversationGroup, FailureKind, TurnGroup

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from crm_assets.reporting.frames import SessionFrames

    Numbers = NDArray[np.integer[np.typing.NBitBase]]

__all__ = [
    "conversation_groups",
    "counts_of",
    "failure_kinds",
    "mean",
    "rate",
    "rates_by",
    "session_means",
    "turn_groups",
]

_COMPLEXITIES = ("simple", "medium", "complex")


def rate(frame: pd.DataFrame, verdict: str) -> Rate:
    """Return the rate of `verdict` over the rows that have one, those of a conversation taken together."""
    return Rate.of(_tally(*_keys(frame, frame[verdict].to_numpy())))


def rates_by(frame: pd.DataFrame, verdict: str, column: str) -> dict[str, Rate]:
    """Return the same for each value of `column`; values without any verdict are left out."""
    groups, names = frame[column].factorize()
    columns = _keys(frame, frame[verdict].to_numpy())
    tallies = {}
    for number, name in enumerate(names):
        chosen = groups == number
        tallies[str(name)] = _tally(*(each[chosen] for each in columns))
    return {name: Rate.of(tally) for name, tally in tallies.items() if tally.verdicts}


def _keys(frame: pd.DataFrame, verdicts: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    return frame["conversation"].to_numpy(), frame["session"].to_numpy(), verdicts


def _tally(conversations: Numbers, sessions: Numbers, verdicts: Numbers) -> Tally:
    """Return the tally of verdicts, 1 or 0 (others are none), by the conversation of their session."""
    import numpy as np  # noqa: PLC0415  (heavy)

    decided = verdicts >= 0
    if not decided.any():
        return Tally()
    sessions = sessions[decided]
    of_session = np.bincount(sessions)
    right = np.bincount(sessions[verdicts[decided] == 1], minlength=len(of_session))
    owners = np.zeros(len(of_session), dtype=np.int64)
    owners[sessions] = conversations[decided]
    known = np.flatnonzero(of_session)
    owners = owners[known]
    repeats = np.bincount(owners)
    # Sums of whole numbers, which floats hold exactly.
    sums = [np.bincount(owners, weights=each[known]).astype(np.int64) for each in (right, of_session)]
    y, n, m = (each[repeats > 0] for each in (*sums, repeats))
    width, height = int(n.max()) + 1, int(m.max()) + 1
    kinds, counts = np.unique((y * width + n) * height + m, return_counts=True)
    return Tally.of_counts(
        {
            (kind // height // width, kind // height % width, kind % height): count
            for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True)
        }
    )


def session_means(frame: pd.DataFrame, values: pd.Series[float]) -> list[float]:
    """Return a mean for each conversation: of its sessions (rows of `frame`) that have a value."""
    import numpy as np  # noqa: PLC0415  (heavy)

    known = values.notna().to_numpy()
    numbers, owners = values.to_numpy()[known], frame["conversation"].to_numpy()[known]
    if not len(numbers):
        return []
    order = np.lexsort((numbers, owners))  # sums of floats depend on their order
    starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
    sums = np.add.reduceat(numbers[order], starts)
    means: list[float] = (sums / np.diff(starts, append=len(order))).tolist()
    return means


def mean(frame: pd.DataFrame, column: str, *, at_most: float = float("inf")) -> Mean:
    """Return the mean of `column` over the conversations of `frame`, between 0 and `at_most`."""
    values = session_means(frame, frame[column])
    missing = int(frame["conversation"].nunique()) - len(values)
    return Mean.of(values, missing=missing, at_least=0.0, at_most=at_most)


def counts_of(column: pd.Series[str]) -> dict[str, int]:
    """Return how many rows have each value of `column`, by name."""
    counts = {str(name): int(count) for name, count in column.value_counts().items() if count}
    return dict(sorted(counts.items()))


def conversation_groups(frames: SessionFrames, column: str) -> dict[str, ConversationGroup]:
    """Return conversations by a column of the sessions."""
    sessions = frames.sessions
    turns = frames.turns.assign(**{column: sessions[column].array.take(frames.turns["session"])})
    ran = sessions[sessions["status"] == "succeeded"]
    everything, finished = _conversations_by(sessions, column), _conversations_by(ran, column)
    counts = sessions[column].value_counts()
    strict = rates_by(sessions, "overall", column)
    state = rates_by(sessions, "state", column)
    tool = rates_by(turns, "tool_success", column)
    reply = rates_by(turns, "reply", column)
    none = Rate.of(Tally())
    return {
        name: ConversationGroup(
            conversations=everything[name],
            ran=finished.get(name, 0),
            sessions=int(counts[name]),
            strict_success=strict.get(name, none),
            state_match=state.get(name, none),
            turn_tool_success=tool.get(name, none),
            turn_response_success=reply.get(name, none),
        )
        for name in sorted(everything, key=_by_complexity)
    }


def _conversations_by(sessions: pd.DataFrame, column: str) -> dict[str, int]:
    """Return how many conversations there are of each value of `column`."""
    counts = sessions.groupby(column, observed=True)["conversation"].nunique()
    return {str(name): int(count) for name, count in counts.items()}


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
                share_of_turns=Rate.of(_tally(*_keys(turns, marked))),
                conversations=int(of_kind["conversation"].nunique()),
                first_failures=int(of_kind.loc[of_kind["first_failure"] == 1, "conversation"].nunique()),
                examples=frames.failures.examples(str(kind)),
            )
        )
    return tuple(sorted(found, key=lambda failure: (-failure.turns, failure.kind)))


def _by_complexity(name: str) -> tuple[int, str]:
    known = _COMPLEXITIES.index(name) if name in _COMPLEXITIES else len(_COMPLEXITIES)
    return known, name


def _by_number(name: str) -> tuple[int, str]:
    return (int(name) if name.isdigit() else 0), name
