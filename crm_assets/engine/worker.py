"""Runs the tasks of a baseline with language models: sessions side by side, resumable, within a budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from crm_assets.atlas.identity import FIRST_EPOCH
from crm_assets.atlas.lanes import Lanes, Slot
from crm_assets.atlas.task_index import TaskIndex
from crm_assets.atlas.tasks import AtlasTask
from crm_assets.concurrency import in_thread, run_all
from crm_assets.crm import SandboxPool
from crm_assets.database import Databases
from crm_assets.engine import BatchSummary, Progress
from crm_assets.engine.checkpoint import ResultsFile
from crm_assets.errors import InputError
from crm_assets.harness import GroundTruth, GroundTruthStore
from crm_assets.llm import BudgetExhausted, Spending
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.files import json_line

__all__ = ["Finished", "RunOptions", "SessionFlow", "run_tasks"]

_REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class RunOptions:
    """How much is done, and how much at a time."""

    concurrency: int = 16
    """Sessions at a time."""
    epochs: int = 1
    """How often every conversation is run."""
    budget_usd: float | None = None
    budget_tokens: int | None = None
    model_processes: int | None = None
    """Processes that litellm runs in, 0 for the run's own; None for what suits the number of sessions."""

    @property
    def has_budget(self) -> bool:
        """Whether the run may end before all is done."""
        return self.budget_usd is not None or self.budget_tokens is not None

    def __post_init__(self) -> None:
        for name in ("concurrency", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1.")
        for name in ("budget_usd", "budget_tokens"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"{name} must be above 0.")


@dataclass(frozen=True)
class Finished:
    """A session that is over."""

    status: str
    """Its result's."""
    success: bool | None
    record: Mapping[str, Any]
    """Its line of sessions.jsonl."""


class SessionFlow(Protocol):
    """How one session goes."""

    async def run(self, task: AtlasTask, slot: Slot, truth: GroundTruth | Exception) -> Finished:
        """Take a session to its end.

        Raises:
            BudgetExhausted: the run's budget is spent.
            InfrastructureError: what all sessions stand on failed for good.
        """

    def not_run(self, task: AtlasTask, slot: Slot, reason: str) -> Finished:
        """A session that the budget did not suffice for."""

    def spent(self) -> Spending:
        """What the run has cost so far."""


MakeFlow = Callable[[SandboxPool, AsyncExitStack], SessionFlow]
"""Makes the flow over a pool of sandboxes; what it opens is closed with the stack."""


class _Run:
    """One start of a run."""

    def __init__(
        self, index: TaskIndex, results: ResultsFile, flow: SessionFlow, truths: _Truths, report: _Report
    ) -> None:
        self._index = index
        self._results = results
        self._flow = flow
        self._truths = truths
        self._report = report
        self._exhausted: str | None = None
        """Why nothing is asked any more."""

    async def work(self, lanes: Lanes) -> None:
        """Take sessions until none is left."""
        async with aclosing(lanes.next()) as slots:
            async for slot in slots:
                task = self._index.read(slot.position)
                finished = await self._session(task, slot)
                line = json_line(finished.record)
                self._results.append([(slot.key, finished.status, finished.success, line)])
                self._report()

    async def _session(self, task: AtlasTask, slot: Slot) -> Finished:
        if self._exhausted is None:
            try:
                truth = await self._truths.get(task)
                return await self._flow.run(task, slot, truth)
            except BudgetExhausted as error:
                self._exhausted = str(error)
        return self._flow.not_run(task, slot, self._exhausted)


class _Truths:
    """Ground truths, one at a time: their store is not for two at once."""

    def __init__(self, store: GroundTruthStore, *, is_local: bool) -> None:
        self._store = store
        self._is_local = is_local
        self._alone = asyncio.Lock()

    async def get(self, task: AtlasTask) -> GroundTruth | Exception:
        """The ground truth of a task, or what kept it from being computed."""
        if self._is_local:
            return self._store.get_many([task.conversation])[0]
        async with self._alone:
            found = await in_thread(lambda: self._store.get_many([task.conversation]))
        return found[0]


def run_tasks(
    files: RunFiles,
    make_flow: MakeFlow,
    *,
    databases: Databases,
    identity: Mapping[str, Any],
    options: RunOptions,
    in_order: bool,
    learning_key_override: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> BatchSummary:
    """Work off the tasks; the sessions appear when every one is through or the budget is spent.

    Until then finished sessions are kept beside it, and a second call goes on from there.

    Args:
        files: of the run.
        make_flow: makes what takes a session to its end.
        databases: where the sandboxes are.
        identity: what makes this run this run, to refuse resuming another.
        options: how much, and how much at a time.
        in_order: whether sessions of one learning key wait for each other.
        learning_key_override: one key for all tasks.
        progress: called now and then, at least at the start and the end.

    Raises:
        InputError: the tasks cannot be read, or what is there is of another run.
        InfrastructureError: the database or the disk failed for good; what is done is kept.
    """
    index = TaskIndex(files.tasks, learning_key_override=learning_key_override)
    with ResultsFile(files.partial, identity) as results:
        summary = asyncio.run(
            _run(index, results, make_flow, databases, options, in_order=in_order, progress=progress)
        )
    files.finish()
    return summary


async def _run(
    index: TaskIndex,
    results: ResultsFile,
    make_flow: MakeFlow,
    databases: Databases,
    options: RunOptions,
    *,
    in_order: bool,
    progress: Callable[[Progress], None] | None,
) -> BatchSummary:
    order = [
        Slot(position, entry.task_id, epoch).key
        for epoch in range(FIRST_EPOCH, options.epochs + 1)
        for position, entry in enumerate(index.entries)
    ]
    results.finished &= set(order)
    resumed, started = len(results.finished), time.perf_counter()
    lanes = Lanes(
        [(entry.task_id, entry.learning_key) for entry in index.entries],
        epochs=options.epochs,
        in_order=in_order,
        # Not where a budget may end the run: what was done by then would be the long ones.
        lengths=None if options.has_budget else [entry.turns for entry in index.entries],
        is_done=results.finished.copy().__contains__,
    )
    async with AsyncExitStack() as stack, _sandboxes(databases, options.concurrency) as (pool, truths):
        flow = make_flow(pool, stack)
        report = _Report(results, flow, len(order), resumed, progress)
        report(last=True)
        run = _Run(index, results, flow, truths, report)
        await run_all(run.work(lanes) for _ in range(min(options.concurrency, len(order) - resumed)))
        results.finish(order)
        report(last=True)
        discarded = pool.discarded
    return BatchSummary.of(
        results.tally,
        resumed=resumed,
        seconds=time.perf_counter() - started,
        sandboxes_discarded=discarded,
    )


@asynccontextmanager
async def _sandboxes(databases: Databases, size: int) -> AsyncIterator[tuple[SandboxPool, _Truths]]:
    pool = SandboxPool(databases.sandbox, size=size)
    alone = SandboxPool(databases.sandbox)
    try:
        store = GroundTruthStore(databases.sandbox, alone)
        try:
            yield pool, _Truths(store, is_local=databases.sandbox_is_local)
        finally:
            store.close()
    finally:
        alone.close()
        pool.close()


class _Report:
    """Tells now and then how far a run is."""

    def __init__(
        self,
        results: ResultsFile,
        flow: SessionFlow,
        total: int,
        resumed: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._results = results
        self._flow = flow
        self._total = total
        self._resumed = resumed
        self._progress = progress
        self._started = self._told = time.perf_counter()

    def __call__(self, *, last: bool = False) -> None:
        now = time.perf_counter()
        if self._progress is None or not (last or now - self._told >= _REPORT_SECONDS):
            return
        self._told = now
        tally, spent = self._results.tally, self._flow.spent()
        here = tally.done - self._resumed
        rate = here / (now - self._started) if now > self._started else 0.0
        self._progress(
            Progress(
                done=tally.done,
                total=self._total,
                succeeded=tally.succeeded,
                infrastructure_errors=tally.infrastructure_errors,
                rate_per_second=rate,
                eta_seconds=(self._total - tally.done) / rate if rate else None,
                spent=spent,
            )
        )
