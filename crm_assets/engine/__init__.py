"""The run engine: work items, scheduler, worker, checkpoint, progress."""

from __future__ import annotations

from crm_assets.engine.checkpoint import SessionCounts, finished_sessions, require_same_run, tally_of
from crm_assets.engine.dataset_run import run_harness
from crm_assets.engine.identity import FIRST_EPOCH, learning_key, ledger_key, session_key
from crm_assets.engine.merging import merge_shards
from crm_assets.engine.progress import OnProgress, Progress, ProgressReporter
from crm_assets.engine.run import Limits, RunSummary, run_work
from crm_assets.engine.scripted import ScriptedRunners
from crm_assets.engine.shards import MOST_SHARDS, WHOLE, Shard, items_of, shards_left
from crm_assets.engine.work import Finished, SessionRunner, Work, WorkItem, repeat

__all__ = [
    "FIRST_EPOCH",
    "MOST_SHARDS",
    "WHOLE",
    "Finished",
    "Limits",
    "OnProgress",
    "Progress",
    "ProgressReporter",
    "RunSummary",
    "ScriptedRunners",
    "SessionCounts",
    "SessionRunner",
    "Shard",
    "Work",
    "WorkItem",
    "finished_sessions",
    "items_of",
    "learning_key",
    "ledger_key",
    "merge_shards",
    "repeat",
    "require_same_run",
    "run_harness",
    "run_work",
    "session_key",
    "shards_left",
    "tally_of",
]
