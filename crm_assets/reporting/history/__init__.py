"""The history of a dataset: its finished baselines, oldest first, and what changed from one to the next.

Read from files alone: figures from metrics.json, settings from sessions.jsonl.
"""

from __future__ import annotations

from crm_assets.reporting.history.models import HISTORY_VERSION, History, HistoryRun
from crm_assets.reporting.history.page import render_history
from crm_assets.reporting.history.paths import HistoryPaths
from crm_assets.reporting.history.read import HistoryUpdate, read_history, run_entry, update_history

__all__ = [
    "HISTORY_VERSION",
    "History",
    "HistoryPaths",
    "HistoryRun",
    "HistoryUpdate",
    "read_history",
    "render_history",
    "run_entry",
    "update_history",
]
