"""tasks.jsonl: the tasks of a run, one a conversation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict

from crm_assets.conversations import Conversation, load_conversations
from crm_assets.conversations.split import Subset
from crm_assets.engine import WorkItem
from crm_assets.errors import InputError, first_line
from crm_assets.workspace.files import atomic_writer, write_jsonl
from crm_assets.workspace.jsonl import Line, read_lines, refuse_multiline

__all__ = [
    "TASK_SCHEMA_VERSION",
    "AtlasTask",
    "TaskSource",
    "copy_tasks",
    "read_task_ids",
    "read_tasks",
    "task_id",
    "write_tasks",
]

TASK_SCHEMA_VERSION: Literal[1] = 1


def task_id(conversation_id: str, run_id: str) -> str:
    """Return the ID of a conversation's task in a run."""
    return f"{conversation_id}::{run_id}"


class AtlasTask(BaseModel):
    """One conversation to be worked on in one run."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = TASK_SCHEMA_VERSION
    """Version of this record's form."""
    task_id: str
    """`<conversation_id>::<run_id>`."""
    run_id: str
    """`<timestamp>-<suffix>`: which run."""
    conversation: Conversation
    """The conversation, ground truth included: for the harness, never for the agent."""
    dataset_revision: str
    """SHA-256 of the dataset it was taken from."""
    backend: Literal["postgres"] = "postgres"
    """The CRM's database."""
    use_llm_judge: bool = False
    """True if a judge decides on calls and replies that are not equal to the expected ones."""
    subset: Subset | None = None
    """The part of the dataset that the run's tasks are; None for the dataset, or the first of it."""


def write_tasks(
    dataset: Path,
    target: Path,
    *,
    dataset_revision: str,
    run_id: str,
    use_llm_judge: bool = False,
    limit: int | None = None,
    subset: Subset | None = None,
) -> int:
    """Write a task for each of the first `limit` conversations of `dataset` (None: all); returns how many.

    With a `subset`, the tasks are those of its conversations, and its split has the limit.

    Raises:
        InputError: the limit is no positive number.
        DatasetError: the dataset is malformed.
        InfrastructureError: the disk refused.
    """
    if limit is not None and limit < 1:
        raise InputError("The limit must be at least one conversation.")

    def tasks() -> Iterator[object]:
        conversations = load_conversations(dataset)
        chosen = itertools.islice(conversations, limit) if subset is None else subset.of(conversations)
        for conversation in chosen:
            yield AtlasTask(
                task_id=task_id(conversation.conversation_id, run_id),
                run_id=run_id,
                conversation=conversation,
                dataset_revision=dataset_revision,
                use_llm_judge=use_llm_judge,
                subset=subset,
            ).model_dump(exclude={"subset"} if subset is None else None)

    return write_jsonl(target, tasks())


def copy_tasks(source: Path, target: Path, *, limit: int | None = None) -> int:
    """Copy the first `limit` tasks of a tasks.jsonl (all for None), checked; returns how many.

    Raises:
        InputError: it cannot be read, or a line of it is not a task.
        InfrastructureError: the disk refused.
    """
    count = 0
    with atomic_writer(target) as handle:
        for line in itertools.islice(read_lines(source), limit):
            _parse(source, line)
            handle.write(line.data + b"\n" if line.is_torn else line.data)
            count += 1
    return count


def read_tasks(path: Path) -> Iterator[AtlasTask]:
    """Yield the tasks of a tasks.jsonl, in constant memory.

    Raises:
        InputError: the file cannot be read, or a line of it is not a task.
    """
    for line in read_lines(path):
        yield _parse(path, line)


def read_task_ids(path: Path) -> Iterator[str]:
    """Yield the IDs of the tasks, without validating the rest.

    Raises:
        InputError: the file cannot be read, or a line of it has no ID.
    """
    for line in read_lines(path):
        try:
            yield str(orjson.loads(line.data)["task_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise _no_task(path, line.number, error) from error


@dataclass(frozen=True)
class TaskSource:
    """The work items of a tasks.jsonl."""

    path: Path

    def items(self, *, check: bool = False) -> list[WorkItem]:
        """Return an item for each task, in order.

        Args:
            check: validate all of every task now, not only when it is run.

        Raises:
            InputError: the file is missing or cannot be read, a line is not a task, two tasks have one ID,
                or there is no task.
        """
        items: dict[str, WorkItem] = {}
        for item in self.stream(check=check):
            if item.task_id in items:
                raise InputError(f"{self.path}, line {item.line}: task {item.task_id} is there twice.")
            items[item.task_id] = item
        return list(items.values())

    def stream(self, *, check: bool = False) -> Iterator[WorkItem]:
        """Yield an item for each task, in order and in constant memory.

        Args:
            check: validate all of every task now, not only when it is run.

        Raises:
            InputError: the file is missing or cannot be read, a line is not a task, or there is none.
        """
        if not self.path.is_file():
            raise InputError(f"There are no tasks at {self.path}; materialize atlas_tasks first.")
        found = False
        for line in read_lines(self.path):
            try:
                document = orjson.loads(line.data)
                if check:
                    AtlasTask.model_validate(document)
                found = True
                yield WorkItem.skim(
                    document["task_id"], document["conversation"], line=line.number, offset=line.offset
                )
            except (ValueError, LookupError, TypeError) as error:
                raise _no_task(self.path, line.number, error) from error
        if not found:
            raise InputError(f"{self.path} holds no task; materialize atlas_tasks again.")

    def parse(self, item: WorkItem, line: bytes) -> AtlasTask:
        """Return the task on an item's line.

        Raises:
            InputError: it is not a task.
        """
        return _parse(self.path, Line(item.line, item.offset, line))


def _parse(path: Path, line: Line) -> AtlasTask:
    """Return the task on a line of `path`.

    Raises:
        InputError: it is not a task; the sentence names file and line.
    """
    try:
        return AtlasTask.model_validate(orjson.loads(line.data))
    except ValueError as error:
        raise _no_task(path, line.number, error) from error


def _no_task(path: Path, number: int, error: Exception) -> InputError:
    if number == 1:
        refuse_multiline(path)
    return InputError(
        f"{path}, line {number} is not a task ({first_line(error)}); materialize atlas_tasks again."
    )
