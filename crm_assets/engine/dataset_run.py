"""The harness by itself: a dataset in, one result line a conversation out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crm_assets.conversations import check_dataset, conversation_ids, reload_conversations
from crm_assets.crm import tool_names
from crm_assets.database import Databases
from crm_assets.engine.batch import BatchSummary, Item, Limits, Progress, run_batch
from crm_assets.errors import InputError
from crm_assets.harness.agents import AgentSpec, make_agent
from crm_assets.harness.ground_truth import code_fingerprint
from crm_assets.records.results import ConversationResult

__all__ = ["run_harness"]


@dataclass(frozen=True)
class DatasetSource:
    """The conversations of a dataset file, or a sample of them."""

    path: Path
    chosen: frozenset[int] | None = None
    """Positions (from 0) to take; None for all."""

    def items(self, wanted: Callable[[int], bool]) -> Iterator[Item]:
        """The conversations in the file's order."""

        def taken(position: int) -> bool:
            return wanted(position) and (self.chosen is None or position in self.chosen)

        for conversation in reload_conversations(self.path, taken):
            yield Item(conversation.conversation_id, conversation)

    def keys(self) -> Iterator[str]:
        """Their IDs."""
        for position, identifier in enumerate(conversation_ids(self.path)):
            if self.chosen is None or position in self.chosen:
                yield identifier

    def record(self, item: Item, result: ConversationResult) -> object:
        """The result itself."""
        return result


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
    progress: Callable[[Progress], None] | None = None,
) -> BatchSummary:
    """Run the conversations of `dataset` with `agent`; results go to `output`.

    Args:
        dataset: a conversations file.
        output: a results file; one of the same run is resumed.
        databases: whose sandbox to use.
        agent: who works.
        sample: how many conversations to draw; None for all.
        seed: of the draw.
        limits: processes and sessions at a time.
        overwrite: begin anew even if `output` exists.
        progress: called now and then.

    Raises:
        DatasetError: the dataset is malformed; every malformed line is named and nothing is run.
        InputError: an option makes no sense, or `output` is of another run.
        InfrastructureError: the database or the disk failed for good; what is done is kept.
    """
    summary = check_dataset(dataset, known_tools=tool_names())
    identity = {
        "dataset_sha256": summary.sha256,
        "agent": dict(make_agent(agent).describe()),
        "sample": sample,
        "seed": seed if sample is not None else None,
        "code": code_fingerprint(),
    }
    return run_batch(
        DatasetSource(dataset, _draw(summary.count, sample, seed)),
        output,
        databases=databases,
        agent=agent,
        identity=identity,
        limits=limits,
        overwrite=overwrite,
        progress=progress,
    )


def _draw(count: int, sample: int | None, seed: int) -> frozenset[int] | None:
    if sample is None:
        return None
    if sample < 1:
        raise InputError("A sample must hold at least one conversation.")
    generator = random.Random(seed)  # noqa: S311  (a reproducible draw, no secret)
    return frozenset(generator.sample(range(count), min(sample, count)))
