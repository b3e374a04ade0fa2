"""Load a dataset, or say everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.conversations.conversation import Conversation
from crm_assets.conversations.findings import DEFAULT_FINDINGS, Findings
from crm_assets.conversations.lines import DatasetReader

__all__ = [
    "DatasetSummary",
    "check_dataset",
    "conversation_ids",
    "load_conversations",
    "reload_conversations",
]


class DatasetSummary(BaseModel):
    """A dataset that was read from end to end and found well-formed."""

    model_config = ConfigDict(frozen=True)

    path: str
    """The file, as it was given."""
    sha256: str
    """Hex SHA-256 of its bytes."""
    bytes: int
    """Its size."""
    count: int
    """How many conversations it holds."""
    turns: int
    """How many turns they hold."""


def load_conversations(path: Path | str) -> Iterator[Conversation]:
    """The conversations of a dataset, one at a time, in the order of the file.

    Memory does not grow with the file. `check_dataset` first tells all that is wrong with it; this stops at
    the first bad line.

    Raises:
        DatasetError: at the first line that is not a conversation.
        InputError: the file is not there or cannot be read.
    """
    for scanned in DatasetReader(Path(path)):
        if scanned.conversation is None:
            findings = Findings(path)
            for problem in scanned.problems:
                findings.add(scanned.number, problem.field, problem.reason)
            raise findings.error()
        yield scanned.conversation


def reload_conversations(path: Path | str, wanted: Callable[[int], bool]) -> Iterator[Conversation]:
    """The conversations at the wanted positions of a dataset that `check_dataset` found well-formed.

    The rules that span several fields are not checked a second time.

    Raises:
        DatasetError: the file has changed since; a line is no conversation any more.
        InputError: the file is not there or cannot be read.
    """
    for position, (number, line) in enumerate(DatasetReader(Path(path)).lines()):
        if wanted(position):
            try:
                yield Conversation.model_validate(orjson.loads(line))
            except (orjson.JSONDecodeError, ValidationError) as error:
                findings = Findings(path)
                findings.add(number, "", "has changed while it was used")
                raise findings.error() from error


def conversation_ids(path: Path | str) -> Iterator[str]:
    """The conversation IDs of a dataset that `check_dataset` found well-formed, in order.

    Raises:
        InputError: the file is not there, cannot be read, or is no such dataset.
    """
    for number, line in DatasetReader(Path(path)).lines():
        try:
            yield str(orjson.loads(line)["conversation_id"])
        except (orjson.JSONDecodeError, TypeError, KeyError) as error:
            findings = Findings(path)
            findings.add(number, "conversation_id", "cannot be read")
            raise findings.error() from error


def check_dataset(
    path: Path | str,
    *,
    known_tools: Collection[str] | None = None,
    limit_findings: int = DEFAULT_FINDINGS,
) -> DatasetSummary:
    """Read a dataset from end to end and report everything that is wrong with it at once.

    Memory grows by the conversation IDs only, which is what finding a repeated one takes.

    Args:
        path: the JSON Lines file.
        known_tools: the tools there are; None leaves `expected_tool` unchecked.
        limit_findings: how many findings the error keeps; the rest are counted.

    Raises:
        DatasetError: a line is malformed, an ID is there twice, or there is no conversation at all.
        InputError: the file is not there or cannot be read.
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
        findings.add(0, "", "holds no conversation; one JSON object a line is expected")
    findings.raise_if_any()
    return DatasetSummary(
        path=str(path),
        sha256=reader.sha256,
        bytes=reader.size,
        count=reader.conversations,
        turns=turns,
    )
