"""The sessions of a baseline at a glance, the worst first."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from crm_assets.records import SessionLog
from crm_assets.reporting.document import Block, Cell, Column, Table, figures
from crm_assets.reporting.figures import Rate
from crm_assets.reporting.formats import dollars, number, of
from crm_assets.reporting.origin import origin_of
from crm_assets.reporting.sessions_view.finding import SessionRow, read_rows
from crm_assets.reporting.sessions_view.wording import mark

__all__ = ["SessionList", "list_sessions", "sessions_blocks"]

_FIGURES = figures("Reward", "Cost", "Attempts")
_STATUS = {
    "succeeded": "finished",
    "failed": "infrastructure",
    "not_recorded": "not recorded",
    "not_run": "not run",
}


class SessionList(NamedTuple):
    """The worst sessions of a baseline."""

    rows: list[SessionRow]
    """The worst first."""
    wanted: int
    """Number of sessions that match, listed or not."""
    total: int
    """Of the baseline."""
    floor: Rate | None
    """Conversations whose end state an agent that calls nothing leaves right; None if that is unknown."""


def list_sessions(sessions: Path, *, limit: int, failed: bool) -> SessionList:
    """Return the worst sessions of a baseline.

    Args:
        sessions: a sessions.jsonl.
        limit: most rows.
        failed: only sessions without strict success.

    Raises:
        InputError: the file cannot be read, or a line of it is not a session.
    """
    counts = Counter[str]()
    noop: dict[str, bool] = {}

    def wanted() -> Iterator[SessionRow]:
        for row in read_rows(sessions):
            counts["all"] += 1
            if row.noop is not None:
                noop[row.content] = row.noop
            if not failed or row.strict is not True:
                counts["wanted"] += 1
                yield row

    shown = heapq.nsmallest(limit, wanted())  # no more of them are kept than are shown
    floor = Rate.of_conversations(sum(noop.values()), len(noop)) if noop else None
    return SessionList(shown, counts["wanted"], counts["all"], floor)


def sessions_blocks(sessions: Path, listed: SessionList, *, failed: bool) -> Iterator[Block]:
    """Yield a table with a row for each session, and how many it shows.

    Args:
        sessions: the sessions.jsonl.
        listed: what to show of it.
        failed: as for `list_sessions`.
    """
    columns = (*map(Column, ("Conversation, workflow", "Status", "Strict", "Turns", "State")), *_FIGURES)
    yield Table.of(columns, map(_cells, listed.rows))
    rest = listed.wanted - len(listed.rows)
    what = " without strict success" if failed else ""
    more = f"; {rest:,} more with --limit" if rest else ""
    yield f"{len(listed.rows):,} of {listed.total:,} sessions{what}, the worst first{more}."
    if listed.floor is not None:
        floor = of(listed.floor)
        yield f"An agent that calls nothing would match {floor} end states (the floor of state match)."
    header = SessionLog(sessions).header
    if origin := origin_of(header.agent_config, header.replay_of):
        yield f"{origin.label[:1].upper()}{origin.label[1:]}: what these sessions used was paid for there."


def _cells(row: SessionRow) -> tuple[Cell, ...]:
    again = f" #{row.epoch}" if row.epoch > 1 else ""
    return (
        f"{row.conversation_id}{again}\n{row.workflow}",
        _STATUS[row.status],
        mark(row.strict),
        mark(row.turns),
        mark(row.state),
        number(row.score, 3),
        dollars(row.cost_usd),
        row.attempts,
    )
