"""tasks.jsonl: what a run is going to do, one task a conversation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.conversations import Conversation, load_conversations
from crm_assets.errors import InputError
from crm_assets.files import write_jsonl

__all__ = ["TASK_SCHEMA_VERSION", "AtlasTask", "read_tasks", "task_id", "write_tasks"]

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


def read_tasks(path: Path, *, wanted: Callable[[int], bool] | None = None) -> Iterator[AtlasTask]:
    """The tasks of a tasks.jsonl, streaming; those at the wanted positions (from 0), or all.

    Raises:
        InputError: the file cannot be read, or a line of it is no task.
    """
    yield from _read(path, AtlasTask.model_validate, wanted)


def read_task_ids(path: Path) -> Iterator[str]:
    """Their IDs alone, without checking the rest.

    Raises:
        InputError: the file cannot be read, or a line of it has no ID.
    """
    yield from _read(path, lambda document: str(document["task_id"]))


def _read(
    path: Path, parse: Callable[[Any], Any], wanted: Callable[[int], bool] | None = None
) -> Iterator[Any]:
    try:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                if wanted is not None and not wanted(number - 1):
                    continue
                try:
                    yield parse(orjson.loads(line))
                except (orjson.JSONDecodeError, ValidationError, KeyError, TypeError) as error:
                    reason = str(error).splitlines()[0]
                    raise InputError(
                        f"{path}, line {number} is not a task ({reason}); materialize atlas_tasks again."
                    ) from error
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
