"""The loop around a conversation: tasks in, sessions out."""

from __future__ import annotations

from crm_assets.atlas.records import SESSION_SCHEMA_VERSION, SessionRecord
from crm_assets.atlas.scripted_run import run_sessions
from crm_assets.atlas.tasks import (
    TASK_SCHEMA_VERSION,
    AtlasTask,
    copy_tasks,
    read_task_ids,
    read_tasks,
    task_id,
    write_tasks,
)

__all__ = [
    "SESSION_SCHEMA_VERSION",
    "TASK_SCHEMA_VERSION",
    "AtlasTask",
    "SessionRecord",
    "copy_tasks",
    "read_task_ids",
    "read_tasks",
    "run_sessions",
    "task_id",
    "write_tasks",
]
