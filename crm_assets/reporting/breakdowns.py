"""Rates and means from frames: whole, by column, and by kind of failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

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
    "sums_by",
    "turn_groups",
]

_COMPLEXITIES = ("simple", "medium", "complex")


def rate(frame: pd.DataFrame, verdict: str) -> Rate:
    """Return the rate of `verdict` over the rows that have one, those of a conversation taken together."""
    return Rate.of(_tally(*_keys(frame), frame[verdict].to_numpy()))


def rates_by(frame: pd.DataFrame, verdicts: Sequence[str], column: str) -> dict[str, dict[str, Rate]]:
    """Return, by value of `column`, the same for each of the `verdicts`."""
    import numpy as np  # noqa: PLC0415  (heavy)

    groups, names = frame[column].factorize()
    order = np.argsort(groups.astype(np.min_scalar_type(len(names))), kind="stable")  # a radix sort
    ends = np.cumsum(np.bincount(groups, minlength=len(names))).tolist()
    parts = {
        str(name): slice(start, end) for name, start, end in zip(names, [0, *ends], ends, strict=False)
    }
    conversations, sessions = (keys[order] for keys in _keys(frame))
    columns = {verdict: frame[verdict].to_numpy()[order] for verdict in verdicts}
    return {
        name: {
            verdict: Rate.of(_tally(conversations[part], sessions[part], values[part]))
            for verdict, values in columns.items()
        }
        for name, part in parts.items()
    }


def _keys(frame: pd.DataFrame) -> tuple[Numbers, Numbers]:
    return frame["conversation"].to_numpy(), frame["session"].to_numpy()


def _tally(conversations: Numbers, sessions: Numbers, verdicts: Numbers) -> Tally:
    """Return the tally of verdicts, 1 or 0 (others are none), by the conversation of their session.

    Rows stand in the order of their sessions.
    """
    import numpy as np  # noqa: PLC0415  (heavy)

    decided = verdicts >= 0
    if not decided.any():
        return Tally()
    sessions, right = sessions[decided], (verdicts[decided] == 1).astype(np.int64)
    starts = np.flatnonzero(np.diff(sessions, prepend=-1))
    _, owners = np.unique(conversations[decided][starts], return_inverse=True)
    m = np.bincount(owners)
    # Sums of whole numbers, which floats hold exactly.
    of_sessions = (np.add.reduceat(right, starts), np.diff(starts, append=len(sessions)))
    y, n = (np.bincount(owners, weights=each).astype(np.int64) for each in of_sessions)
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
    known = values.notna().to_numpy()
    sums = sums_by(frame["conversation"].to_numpy()[known], values.to_numpy()[known])
    means: list[float] = (sums.sums / sums.counts).tolist()
    return means


class Sums(NamedTuple):
    """Sums of numbers by their owners."""

    owners: Numbers
    """Each once, in their order."""
    sums: NDArray[np.float64]
    counts: Numbers
    """Number of numbers of each owner."""


def sums_by(owners: Numbers, numbers: NDArray[np.float64]) -> Sums:
    """Return the sums of `numbers` by their `owners`, the same in whatever order they stand."""
    import numpy as np  # noqa: PLC0415  (heavy)

    order = np.lexsort((numbers, owners))  # sums of floats depend on their order
    owners = owners[order]
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    sums = np.add.reduceat(numbers[order], starts) if len(order) else np.empty(0)
    return Sums(owners[starts], sums, np.diff(starts, append=len(order)))


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
    of_sessions = rates_by(sessions, ("overall", "state"), column)
    of_turns = rates_by(turns, ("tool_success", "reply"), column)
    none = Rate.of(Tally())
    without_turns = {"tool_success": none, "reply": none}
    return {
        name: ConversationGroup(
            conversations=everything[name],
            ran=finished.get(name, 0),
            sessions=int(counts[name]),
            strict_success=of_sessions[name]["overall"],
            state_match=of_sessions[name]["state"],
            turn_tool_success=of_turns.get(name, without_turns)["tool_success"],
            turn_response_success=of_turns.get(name, without_turns)["reply"],
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
    rates = rates_by(turns, ("success", "tool_success", "reply"), column)
    return {
        name: TurnGroup(
            turns=counts[name],
            turn_success=rates[name]["success"],
            turn_tool_success=rates[name]["tool_success"],
            turn_response_success=rates[name]["reply"],
        )
        for name in sorted(rates, key=_by_number)
    }


def failure_kinds(frames: SessionFrames) -> tuple[FailureKind, ...]:
    """Return the reasons why turns failed, most frequent first."""
    columns = ["session", "conversation", "kind", "success", "first_failure"]
    decided = frames.turns.loc[frames.turns["success"] >= 0, columns]
    of_kinds: Any = decided[decided["success"] == 0].groupby("kind", observed=True)
    found = []
    for kind, failed in of_kinds:
        decided["failed"] = ((decided["kind"] == kind) & (decided["success"] == 0)).astype("int8")
        found.append(
            FailureKind(
                kind=str(kind),
                turns=len(failed),
                share_of_turns=rate(decided, "failed"),
                conversations=int(failed["conversation"].nunique()),
                first_failures=int(failed.loc[failed["first_failure"], "conversation"].nunique()),
                examples=frames.failures.examples(str(kind)),
            )
        )
    return tuple(sorted(found, key=lambda failure: (-failure.turns, failure.kind)))


def _by_complexity(name: str) -> tuple[int, str]:
    known = _COMPLEXITIES.index(name) if name in _COMPLEXITIES else len(_COMPLEXITIES)
    return known, name


def _by_number(name: str) -> tuple[int, str]:
    return (int(name) if name.isdigit() else 0), name
