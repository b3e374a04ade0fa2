"""The clock of a session, in SQL: the time that new rows are stamped with.

It is the server's clock, unless the session was given a time of its own: then a replay stamps the same
times again.
"""

from __future__ import annotations

from datetime import datetime

__all__ = ["NOW", "begin_at"]

_SETTING = "crm_assets.now"

NOW = f"coalesce(nullif(current_setting('{_SETTING}', true), '')::timestamptz, now())"
"""The time, in SQL. After the transaction that set it, the setting is an empty text."""


def begin_at(now: datetime) -> bytes:
    """Return the commands that begin a transaction in which `NOW` is fixed.

    Args:
        now: the time, with its time zone.
    """
    return f"BEGIN; SET LOCAL {_SETTING} TO '{now.isoformat()}'".encode()
