"""tasks.jsonl: what a run is going to do, one task a conversation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.conversations import Conversation, load_conversations
from crm_assets.errors import InputError, first_line
from crm_assets.workspace.files import atomic_writer, write_jsonl

__all__ = [
    "TASK_SCHEMA_VERSION",
    "AtlasTask",
    "copy_tasks",
    "parse_task",
    "read_task_ids",
    "read_tasks",
    "task_id",
    "task_lines",
    "write_tasks",
]

TASK_SCHEMA_VERSION: Literal[1] = 1


def task_id(conversation_id: str, run_id: str) -> str:
    """Identity of a conversation's task in a run."""
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
    """Where the CRM lives."""
    use_llm_judge: bool = False
    """Whether a judge decides on calls and replies that are not equal to the expected ones."""


def write_tasks(
    dataset: Path,
    target: Path,
    *,
    dataset_revision: str,
    run_id: str,
    use_llm_judge: bool = False,
    limit: int | None = None,
) -> int:
    """Write a task for each of the first `limit` conversations of `dataset` (all for None).

    Returns how many there are.

    Raises:
        InputError: the limit is no positive number.
        DatasetError: the dataset is malformed.
        InfrastructureError: the disk refused.
    """
    if limit is not None and limit < 1:
        raise InputError("The limit must be at least one conversation.")

    def tasks() -> Iterator[dict[str, Any]]:
        for conversation in itertools.islice(load_conversations(dataset), limit):
            yield AtlasTask(
                task_id=task_id(conversation.conversation_id, run_id),
                run_id=run_id,
                conversation=conversation,
                dataset_revision=dataset_revision,
                use_llm_judge=use_llm_judge,
            ).model_dump()

    return write_jsonl(target, tasks())


def copy_tasks(source: Path, target: Path, *, limit: int | None = None) -> int:
    """Copy the first `limit` tasks of a tasks.jsonl (all for None), checked; returns how many.

    Raises:
        InputError: it cannot be read, or a line of it is no task.
        InfrastructureError: the disk refused.
    """
    count = 0
    with atomic_writer(target) as handle:
        for number, line in itertools.islice(task_lines(source), limit):
            parse_task(source, number, line)
            handle.write(line if line.endswith(b"\n") else line + b"\n")
            count += 1
    return count


def read_tasks(path: Path, *, wanted: Callable[[int], bool] | None = None) -> Iterator[AtlasTask]:
    """The tasks of a tasks.jsonl, streaming; those at the wanted positions (from 0), or all.

    Raises:
        InputError: the file cannot be read, or a line of it is no task.
    """
    for number, line in task_lines(path):
        if wanted is None or wanted(number - 1):
            yield parse_task(path, number, line)


def read_task_ids(path: Path) -> Iterator[str]:
    """Their IDs alone, without checking the rest.

    Raises:
        InputError: the file cannot be read, or a line of it has no ID.
    """
    for number, line in task_lines(path):
        try:
            yield str(orjson.loads(line)["task_id"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise _no_task(path, number, error) from error


def task_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a tasks.jsonl with their numbers (from 1).

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as handle:
            yield from enumerate(handle, start=1)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error


def parse_task(path: Path, number: int, line: bytes) -> AtlasTask:
    """The task on a line.

    Raises:
        InputError: it is none; the sentence names file and line.
    """
    try:
        return AtlasTask.model_validate(orjson.loads(line))
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise _no_task(path, number, error) from error


def _no_task(path: Path, number: int, error: Exception) -> InputError:
    return InputError(
        f"{path}, line {number} is not a task ({first_line(error)}); materialize atlas_tasks again."
    )
