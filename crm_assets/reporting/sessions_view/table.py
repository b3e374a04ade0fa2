"""The sessions of a baseline at a glance, those that went worst first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crm_assets.reporting.formats import NOTHING, dollars, plain
from crm_assets.reporting.sessions_view.finding import SessionRow, read_rows
from crm_assets.reporting.sessions_view.wording import mark

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["render_sessions"]

_STATUS = {
    "succeeded": "ran",
    "failed": "infrastructure",
    "not_recorded": "not recorded",
    "not_run": "not run",
}


def render_sessions(sessions: Path, *, limit: int, failed: bool) -> Iterator[RenderableType]:
    """A row a session.

    Args:
        sessions: a sessions.jsonl.
        limit: most rows.
        failed: only sessions that are not right in every turn.

    Raises:
        InputError: the file cannot be read, or a line of it is no session.
    """
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    counts = {"all": 0, "wanted": 0}

    def wanted() -> Iterator[SessionRow]:
        for row in read_rows(sessions):
            counts["all"] += 1
            if not failed or row.strict is not True:
                counts["wanted"] += 1
                yield row

    shown = heapq.nsmallest(limit, wanted())  # no more of them are kept than are shown
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("Conversation, workflow", overflow="fold")
    for name in ("Status", "Right", "State", "Reward", "Cost", "Tries"):
        side: Literal["left", "right"] = "right" if name in ("Reward", "Cost", "Tries") else "left"
        table.add_column(name, justify=side, no_wrap=True)
    for row in shown:
        # Text, not str: names come from files, and rich would read [brackets] in them as markup.
        table.add_row(*map(Text, _cells(row)))
    yield table
    rest = counts["wanted"] - len(shown)
    what = " that are not right in every turn" if failed else ""
    more = f"; {rest:,} more with --limit" if rest else ""
    yield Text(f"{len(shown):,} of {counts['all']:,} sessions{what}, the worst first{more}.")


def _cells(row: SessionRow) -> tuple[str, ...]:
    again = f" #{row.epoch}" if row.epoch > 1 else ""
    return (
        f"{plain(row.conversation_id)}{again}\n{plain(row.workflow)}",
        _STATUS[row.status],
        mark(row.strict),
        mark(row.state),
        NOTHING if row.score is None else f"{row.score:.3f}",
        dollars(row.cost_usd),
        NOTHING if row.attempts is None else str(row.attempts),
    )
