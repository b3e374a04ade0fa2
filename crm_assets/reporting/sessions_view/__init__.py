"""Sessions for people: all of a baseline at a glance, or one as it went."""

from __future__ import annotations

from crm_assets.reporting.sessions_view.finding import Found, SessionRow, find_session, read_rows
from crm_assets.reporting.sessions_view.session import session_blocks
from crm_assets.reporting.sessions_view.table import SessionList, list_sessions, sessions_blocks

__all__ = [
    "Found",
    "SessionList",
    "SessionRow",
    "find_session",
    "list_sessions",
    "read_rows",
    "session_blocks",
    "sessions_blocks",
]
