"""The harness by itself: a dataset in, one result line a conversation out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from crm_assets.conversations import Conversation, DatasetError, Finding, check_dataset
from crm_assets.conversations.lines import DatasetReader
from crm_assets.crm import tool_names
from crm_assets.database import Databases
from crm_assets.engine.progress import OnProgress
from crm_assets.engine.run import Limits, RunSummary, run_work
from crm_assets.engine.scripted import ScriptedRunners
from crm_assets.engine.work import Work, WorkItem
from crm_assets.errors import InputError
from crm_assets.harness.agents import AgentSpec, make_agent
from crm_assets.harness.code_identity import SCORING_CODE, code_fingerprint
from crm_assets.records.results import ConversationResult

__all__ = ["run_harness"]


class _DatasetTask(NamedTuple):
    """A conversation that is run without a task."""

    conversation: Conversation


@dataclass(frozen=True)
class DatasetSource:
    """A dataset file that `check_dataset` found well-formed."""

    path: Path

    def items(self) -> Iterator[WorkItem]:
        """Yield an item for each conversation, in the file's order.

        Raises:
            InputError: the file cannot be read.
        """
        for number, offset, line in DatasetReader(self.path).lines():
            try:
                document = orjson.loads(line)
                yield WorkItem.skim(document["conversation_id"], document, line=number, offset=offset)
            except (ValueError, LookupError, TypeError) as error:
                raise self._changed(number) from error

    def parse(self, item: WorkItem, line: bytes) -> _DatasetTask:
        """Return the conversation on an item's line.

        Raises:
            DatasetError: the file has changed since; the line is no conversation any more.
        """
        try:
            return _DatasetTask(Conversation.model_validate(orjson.loads(line)))
        except ValueError as error:
            raise self._changed(item.line) from error

    def _changed(self, line: int) -> DatasetError:
        finding = Finding(str(self.path), line, "", "has changed while it was used")
        return DatasetError(self.path, (finding,), total=1)


def run_harness(
    dataset: Path,
    output: Path,
    *,
    databases: Databases,
    agent: AgentSpec,
    sample: int | None = None,
    seed: int = 0,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    overwrite: bool = False,
    progress: OnProgress | None = None,
) -> RunSummary:
    """Run the conversations of `dataset` with `agent`; results go to `output`.

    Args:
        dataset: a conversations file.
        output: a results file; one of the same run is resumed.
        databases: whose sandbox to use.
        agent: the agent to run.
        sample: how many conversations to draw; None for all.
        seed: of the draw.
        limits: processes and sessions at a time.
        overwrite: start over even if `output` exists.
        progress: called a few times a second.

    Raises:
        DatasetError: the dataset is malformed; every malformed line is named and nothing is run.
        InputError: an option makes no sense, or `output` is of another run.
        InfrastructureError: the database or the disk failed for good; what is done is kept.
    """
    summary = check_dataset(dataset, known_tools=tool_names())
    source = DatasetSource(dataset)
    items = list(source.items())
    return run_work(
        Work(
            items if sample is None else _draw(items, sample, seed),
            source,
            ScriptedRunners(agent, _result, databases.sandbox_is_local),
        ),
        output,
        databases=databases,
        identity={
            "dataset_sha256": summary.sha256,
            "agent": dict(make_agent(agent).describe()),
            "sample": sample,
            "seed": seed if sample is not None else None,
            "code": code_fingerprint(SCORING_CODE),
        },
        limits=limits,
        overwrite=overwrite,
        progress=progress,
    )


def _result(task: _DatasetTask, result: ConversationResult) -> ConversationResult:
    """Return the record of a conversation without a task: its result."""
    return result


def _draw(items: list[WorkItem], sample: int, seed: int) -> list[WorkItem]:
    """Draw a sample, in the file's order."""
    if sample < 1:
        raise InputError("A sample must hold at least one conversation.")
    generator = random.Random(seed)  # noqa: S311  (a reproducible draw, no secret)
    drawn = generator.sample(range(len(items)), min(sample, len(items)))
    return [items[position] for position in sorted(drawn)]
