"""Sessions for people: all of a baseline at a glance, or one as it went."""

from __future__ import annotations

from crm_assets.reporting.sessions_view.finding import Found, SessionSummary, find_session, read_summaries
from crm_assets.reporting.sessions_view.session import render_session
from crm_assets.reporting.sessions_view.table import render_sessions

__all__ = [
    "Found",
    "SessionSummary",
    "find_session",
    "read_summaries",
    "render_session",
    "render_sessions",
]
