"""The run engine: work items, scheduler, worker, checkpoint, progress."""

from __future__ import annotations

from crm_assets.engine.checkpoint import SessionCounts, finished_sessions, require_same_run, tally_of
from crm_assets.engine.dataset_run import run_harness
from crm_assets.engine.identity import FIRST_EPOCH, learning_key, ledger_key, session_key
from crm_assets.engine.progress import OnProgress, Progress, ProgressReporter
from crm_assets.engine.run import Limits, RunSummary, run_work
from crm_assets.engine.scripted import ScriptedRunners
from crm_assets.engine.work import Finished, SessionRunner, Work, WorkItem, repeat

__all__ = [
    "FIRST_EPOCH",
    "Finished",
    "Limits",
    "OnProgress",
    "Progress",
    "ProgressReporter",
    "RunSummary",
    "ScriptedRunners",
    "SessionCounts",
    "SessionRunner",
    "Work",
    "WorkItem",
    "finished_sessions",
    "learning_key",
    "ledger_key",
    "repeat",
    "require_same_run",
    "run_harness",
    "run_work",
    "session_key",
    "tally_of",
]
