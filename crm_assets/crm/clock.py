"""The clock of a session, in SQL: what new rows are stamped with.

It is the server's, unless the session was given a time of its own: then whatever it does shows the same
stamps again when it is done again.
"""

from __future__ import annotations

from datetime import datetime

__all__ = ["NOW", "begin_at"]

_SETTING = "crm_assets.now"

NOW = f"coalesce(nullif(current_setting('{_SETTING}', true), '')::timestamptz, now())"
"""The time. A setting that was set in an earlier transaction of the connection is an empty text."""


def begin_at(now: datetime) -> bytes:
    """Begin a transaction whose `NOW` stands still.

    Args:
        now: with its time zone.
    """
    return f"BEGIN; SET LOCAL {_SETTING} TO '{now.isoformat()}'".encode()
