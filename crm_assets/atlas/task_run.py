"""A run over tasks in its phases: planned into shards, which any process may take, and merged at the end.

A run of one shard is taken on the run's own files; each of several shards has results and a ledger of its
own, until they are merged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import orjson

from crm_assets.atlas.finishing import finish_run, require_verdicts
from crm_assets.atlas.tasks import TaskSource
from crm_assets.concurrency import Stop
from crm_assets.database import Databases
from crm_assets.engine import (
    FIRST_EPOCH,
    WHOLE,
    OnProgress,
    RunSummary,
    Shard,
    WorkItem,
    items_of,
    merge_shards,
    repeat,
    require_same_run,
    shards_left,
    tally_of,
)
from crm_assets.engine.checkpoint import Checkpoint, finished_sessions
from crm_assets.errors import InfrastructureError
from crm_assets.llm import Role, Spending
from crm_assets.llm.spending import Charge
from crm_assets.records import RunHeader, SessionLog
from crm_assets.workspace.baseline_files import RunFiles, sidecar_of
from crm_assets.workspace.project import Project
from crm_assets.workspace.shard_files import ShardFiles

__all__ = ["BudgetPart", "Division", "Taking", "TaskRun"]


class BudgetPart(NamedTuple):
    """Part of a shard in what was left of the budget when the run was divided."""

    share: float
    spent_tokens: float
    """By all sessions, until then."""
    spent_nano: float
    """In nanodollars."""


@dataclass(frozen=True)
class Taking:
    """Limits and callbacks of one start of a shard."""

    seconds: float | None = None
    """After so long no further session begins; None for no limit."""
    progress: OnProgress | None = None
    """Called a few times a second."""
    stop: Stop = field(default_factory=Stop)
    """Ends the sessions from another thread."""
    budget: BudgetPart | None = None
    """Of the run's budget, where it is divided."""
    claim: Callable[[Sequence[str]], object] | None = None
    """Called with the keys of all its sessions before the first begins."""


@dataclass(frozen=True)
class Division:
    """State of a run when it was divided."""

    done_before: int
    left: int
    """Sessions."""
    budgets: Mapping[str, BudgetPart]
    """By shard, in proportion to its sessions."""


@dataclass
class TaskRun(ABC):
    """A run over the tasks in its files, whoever the agent is."""

    files: RunFiles
    project: Project
    """Project with the keys and the dataset."""
    databases: Databases
    """Addresses of the sandboxes and the telemetry."""
    dataset: str
    """Its name."""
    division: Division | None = field(default=None, init=False)
    """Set where the run was divided."""

    checked: ClassVar[bool] = False
    """All tasks are validated before the first session, since sessions cost money."""

    @property
    def epochs(self) -> int:
        """Return the number of times that each task is run."""
        return FIRST_EPOCH

    @property
    def in_order(self) -> bool:
        """Tell whether sessions of one learning key wait for each other."""
        return False

    @abstractmethod
    def header(self) -> RunHeader:
        """Return what all sessions have in common."""

    def prepare(self) -> None:  # noqa: B027  (not every run has something to do)
        """Do what comes once, before the first session."""

    def settle(self) -> None:  # noqa: B027  (likewise)
        """Find out, before the run is divided, what all shards must have in common."""

    def join(self, begun: RunHeader) -> None:  # noqa: B027  (likewise)
        """Take over what was settled when the run began."""

    def require_models(self) -> None:  # noqa: B027  (likewise)
        """Check that its models can be asked; none is.

        Raises:
            ConfigError: one cannot.
        """

    @abstractmethod
    def take_items(self, files: RunFiles, items: Sequence[WorkItem], taking: Taking) -> RunSummary:
        """Run the sessions of some items that `files` do not hold yet."""

    def complete(self) -> Mapping[Role, Spending]:
        """Note what is known once all sessions are there; returns their cost by role."""
        return {}

    def spent(self) -> Charge:
        """Return what the run has cost so far, as budgets count it; nothing where there is no budget."""
        return Charge()

    def source(self) -> TaskSource:
        """Return the tasks."""
        return TaskSource(self.files.tasks)

    def items(self) -> Iterator[WorkItem]:
        """Yield the items of the run, epoch by epoch, in constant memory.

        Raises:
            InputError: the tasks cannot be read.
        """
        for epoch in range(FIRST_EPOCH, self.epochs + 1):
            for item in self.source().stream():
                yield self.with_key(item._replace(epoch=epoch))

    def with_key(self, item: WorkItem) -> WorkItem:
        """Return an item with the learning key under which what it learns is kept."""
        return item

    def plan(self, count: int = 1) -> list[Shard]:
        """Begin or go on with the run; returns its shards that have sessions left, longest first.

        What shards of an earlier start have finished is kept, however many they were.

        Args:
            count: shards to divide it into.

        Raises:
            ConfigError: a model cannot be asked.
            InputError: the tasks cannot be read, or the sessions so far are of another run.
            InfrastructureError: a database or the disk failed; what is done is kept.
        """
        merge_shards(self.files)
        self.prepare()
        if count == 1:
            return [WHOLE]
        self.settle()
        header = self.header()
        with Checkpoint(self.files.partial, header.identity(), header.facts()) as checkpoint:
            done = checkpoint.finished
        left = shards_left(self.items, count, whole_keys=self.in_order, finished=done)
        total, spent = sum(left.values()), self.spent()
        budgets = {shard.name: BudgetPart(one / total, *spent) for shard, one in left.items()}
        self.division = Division(len(done), total, budgets)
        return list(left)

    def require_resumable(self) -> None:
        """Check that finished sessions can be resumed; nothing is changed, and no model is asked.

        Raises:
            ConfigError: a model cannot be asked.
            InputError: the sessions are of another run.
        """
        self.require_models()
        sessions = self.files.sessions
        self._require_same(sessions, SessionLog(sessions).header.model_dump())

    def take(self, shard: Shard = WHOLE, taking: Taking = Taking()) -> RunSummary:
        """Run the sessions of a shard that are not done; of the whole run where it is not divided.

        Raises:
            ConfigError: a model cannot be asked.
            InputError: the tasks cannot be read, or the sessions so far are of another run, also where this
                process has another version of the code than the one that planned it.
            InfrastructureError: a database or the disk failed for good, or most sessions were lost to such
                failures; what is done is kept.
            UnfinishedError: the budget of an undivided run was spent before most sessions had run.
        """
        files = self.files
        if shard.of == 1:
            items = self.whole()
        else:
            done = self._done_before()
            mine = items_of(shard, self.items, whole_keys=self.in_order)
            items = [item for item in mine if item.key not in done]
            files = ShardFiles.of(self.files, shard.name)
        if taking.claim is not None:
            taking.claim([item.key for item in items])
        summary = self.take_items(files, items, taking)
        if shard.of == 1 or not summary.not_run:  # other shards may have run enough within the budget
            require_verdicts(files, summary)
        return summary

    def whole(self) -> list[WorkItem]:
        """Return all items.

        Raises:
            InputError: the tasks cannot be read, or two have one ID.
        """
        return repeat(map(self.with_key, self.source().items(check=self.checked)), self.epochs)

    def merge(self, summary: RunSummary | None = None) -> tuple[RunSummary, Mapping[Role, Spending]]:
        """Finish the run: `sessions.jsonl` appears, all sessions in order; returns counts and costs.

        Args:
            summary: of the whole run, where it was not divided and the summary is known.

        Raises:
            InfrastructureError: sessions are missing or doubled, or most were lost; what is done is kept.
            UnfinishedError: the budget was spent before most sessions had run.
        """
        counts = merge_shards(self.files, (item.key for item in self.items()))
        if counts is None:
            counts = summary or tally_of(self.files.partial)
            missing = sum(1 for _ in self.items()) - counts.total if summary is None else summary.left
            if missing:
                raise InfrastructureError(
                    f"{missing:,} sessions have not run, so the run is not finished; what is done is kept: "
                    "go on with it."
                )
        spending = self.complete()
        finish_run(self.files, counts)
        if not isinstance(counts, RunSummary):
            counts = RunSummary(**vars(counts))
        return counts, spending

    def run(self, taking: Taking = Taking()) -> RunSummary:
        """Take the run from its beginning, or where it stands, to its end; raises what its phases raise."""
        self.plan()
        return self.merge(self.take(taking=taking))[0]

    def _done_before(self) -> Collection[str]:
        """Return the keys of the sessions that were done when the run was divided.

        Raises:
            InputError: this process would run something else than was planned.
        """
        whole = self.files
        self._require_same(whole.partial, orjson.loads(sidecar_of(whole.partial).read_bytes()))
        return finished_sessions(whole.partial)

    def _require_same(self, path: Path, before: Mapping[str, Any]) -> None:
        self.join(RunHeader.model_validate(before))
        header = self.header()
        require_same_run(path, before, header.identity(), header.facts())
