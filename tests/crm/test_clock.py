"""Sessions whose clock stands still: what they do shows the same stamps when it is done again."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from crm_assets.crm import Sandbox, ToolError

CLIENT = "11111111-1111-4111-8111-111111111111"
DEAL = "33333333-3333-4333-8333-333333333333"
SEEDS: dict[str, Any] = {
    "Client": [{"client_id": CLIENT, "name": "Acme", "status": "Active"}],
    "Opportunity": [
        {"opportunity_id": DEAL, "client_id": CLIENT, "name": "Deal", "stage": "Proposal", "amount": 10}
    ],
}
NOW = datetime(2031, 5, 6, 23, 30, 15, 123456, tzinfo=timezone(timedelta(hours=-3)))
STAMP = "2031-05-07T02:30:15.123456+00:00"


def stamps(sandbox: Sandbox, now: datetime | None) -> list[str]:
    """The stamps of a seed, a note, a new deal and a copy."""
    note = {"entity_type": "Client", "entity_id": CLIENT, "content": "Called."}
    deal = {"client_id": CLIENT, "name": "New", "stage": "Proposal", "amount": 5}
    with sandbox.begin(SEEDS, now=now) as session:
        seed = session.call("view_opportunity_details", {"opportunity_id": DEAL})
        return [
            str(row["created_at"])
            for row in (
                seed,
                session.call("add_note", note),
                session.call("create_new_opportunity", deal),
                session.call("clone_opportunity", {"opportunity_id": DEAL}),
            )
        ]


def test_new_rows_bear_the_sessions_time(sandbox: Sandbox):
    assert stamps(sandbox, NOW) == [STAMP] * 4


def test_the_next_session_has_its_own_time_again(sandbox: Sandbox):
    before = datetime.now(timezone.utc)
    assert stamps(sandbox, NOW) == [STAMP] * 4
    for stamp in stamps(sandbox, None):
        assert abs(datetime.fromisoformat(stamp) - before) < timedelta(minutes=5)


@pytest.mark.parametrize(("close_date", "refused"), [("2031-05-06", True), ("2031-05-07", False)])
def test_dates_are_held_against_the_sessions_day(sandbox: Sandbox, close_date: str, refused: bool):
    change = {"opportunity_id": DEAL, "close_date": close_date}
    with sandbox.begin(SEEDS, now=NOW) as session:
        if refused:
            with pytest.raises(ToolError, match="today or later"):
                session.call("modify_opportunity", change)
        else:
            assert session.call("modify_opportunity", change)["close_date"] == close_date
