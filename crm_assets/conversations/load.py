"""Load a dataset, or report all its problems at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict

from crm_assets.conversations.conversation import Conversation
from crm_assets.conversations.findings import DEFAULT_FINDINGS, NO_CONVERSATION, Findings
from crm_assets.conversations.lines import DatasetReader
from crm_assets.workspace.jsonl import refuse_multiline

__all__ = [
    "DatasetSummary",
    "check_dataset",
    "conversation_ids",
    "load_conversations",
]


class DatasetSummary(BaseModel):
    """A dataset that was read from end to end and is well-formed."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Path of the file, as given."""
    sha256: str
    """Hex SHA-256 of its bytes."""
    bytes: int
    """Size of the file."""
    count: int
    """Number of conversations."""
    turns: int
    """Number of turns."""


def load_conversations(path: Path | str) -> Iterator[Conversation]:
    """Yield the conversations of a dataset, one at a time, in the order of the file.

    Memory does not grow with the file. It stops at the first bad line; `check_dataset` reports all of them.

    Raises:
        DatasetError: at the first line that is not a conversation.
        InputError: the file is missing or cannot be read.
    """
    for scanned in DatasetReader(Path(path)):
        if scanned.conversation is None:
            findings = Findings(path)
            for problem in scanned.problems:
                findings.add(scanned.number, problem.field, problem.reason)
            raise findings.error()
        yield scanned.conversation


def conversation_ids(path: Path | str) -> Iterator[str]:
    """Yield the conversation IDs of a dataset that `check_dataset` found well-formed, in order.

    Raises:
        InputError: the file is missing, cannot be read, or is not such a dataset.
    """
    for number, _, line in DatasetReader(Path(path)).lines():
        try:
            yield str(orjson.loads(line)["conversation_id"])
        except (orjson.JSONDecodeError, TypeError, KeyError) as error:
            refuse_multiline(Path(path))
            findings = Findings(path)
            findings.add(number, "conversation_id", "cannot be read")
            raise findings.error() from error


def check_dataset(
    path: Path | str,
    *,
    known_tools: Collection[str] | None = None,
    limit_findings: int = DEFAULT_FINDINGS,
) -> DatasetSummary:
    """Read a dataset from end to end; report all its problems at once.

    Memory grows with the conversation IDs only, which are kept to find repeated ones.

    Args:
        path: the JSON Lines file.
        known_tools: names of the tools; None leaves `expected_tool` unchecked.
        limit_findings: number of findings that the error keeps; the rest are counted.

    Raises:
        DatasetError: a line is malformed, an ID occurs twice, or there is no conversation.
        InputError: the file is missing or cannot be read.
    """
    reader = DatasetReader(Path(path), known_tools=known_tools)
    findings = Findings(path, limit_findings)
    first_line: dict[str, int] = {}
    turns = 0
    for scanned in reader:
        for problem in scanned.problems:
            findings.add(scanned.number, problem.field, problem.reason)
        if scanned.conversation is None:
            continue
        turns += len(scanned.conversation.turns)
        conversation_id = scanned.conversation.conversation_id
        seen = first_line.setdefault(conversation_id, scanned.number)
        if seen != scanned.number:
            findings.add(
                scanned.number,
                "conversation_id",
                f"'{conversation_id}' is already on line {seen}; IDs must be unique",
            )
    if not reader.conversations:
        findings.add(0, "", NO_CONVERSATION)
    findings.raise_if_any()
    return DatasetSummary(
        path=str(path),
        sha256=reader.sha256,
        bytes=reader.size,
        count=reader.conversations,
        turns=turns,
    )
