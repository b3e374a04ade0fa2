"""tasks.jsonl by position: where each task is, and which stream it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from crm_assets.atlas.identity import learning_key
from crm_assets.atlas.tasks import AtlasTask, parse_task, task_lines
from crm_assets.errors import InputError

__all__ = ["TaskEntry", "TaskIndex"]


class TaskEntry(NamedTuple):
    """One task without its conversation."""

    task_id: str
    learning_key: str
    turns: int
    """Of its conversation."""
    offset: int
    """Where its line begins."""


class TaskIndex:
    """Reads a task when it is its turn, so that memory does not grow with the dataset."""

    def __init__(self, path: Path, *, learning_key_override: str | None = None) -> None:
        """Read the file once, checking every task.

        Raises:
            InputError: it cannot be read, a line is no task, or two tasks have one ID.
        """
        self._path = path
        self.entries: list[TaskEntry] = []
        seen: set[str] = set()
        offset = 0
        for number, line in task_lines(path):
            task = parse_task(path, number, line)
            if task.task_id in seen:
                raise InputError(f"{path}, line {number}: task {task.task_id} is there twice.")
            seen.add(task.task_id)
            key = learning_key(task.conversation, learning_key_override)
            self.entries.append(TaskEntry(task.task_id, key, len(task.conversation.turns), offset))
            offset += len(line)
        if not self.entries:
            raise InputError(f"{path} holds no task; materialize atlas_tasks again.")

    def read(self, position: int) -> AtlasTask:
        """The task at `position` (from 0)."""
        with self._path.open("rb") as handle:
            handle.seek(self.entries[position].offset)
            return parse_task(self._path, position + 1, handle.readline())
