"""One process's worker: takes work items to their records, several at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from itertools import count
from typing import Generic

from crm_assets.concurrency import in_thread, run_all
from crm_assets.crm import SandboxPool
from crm_assets.database import Databases, check_answers, through_outage
from crm_assets.engine.affinity import pin_beside, pinned_to_core
from crm_assets.engine.checkpoint import SessionLine
from crm_assets.engine.collector import rare_collections
from crm_assets.engine.scheduler import Scheduler
from crm_assets.engine.work import Finished, SessionRunner, TaskT, Work, WorkItem
from crm_assets.harness.assembly import without_verdict
from crm_assets.harness.ground_truth import GroundTruth, GroundTruthStore
from crm_assets.llm import BudgetExhausted
from crm_assets.workspace.files import json_line
from crm_assets.workspace.jsonl import read_line_at, read_lines_at

__all__ = ["Job", "run_job"]

_AHEAD = 64  # tasks and ground truths that are fetched together
_FEW_AHEAD = 16
_DELIVER_SECONDS = 0.1

Deliver = Callable[[list[SessionLine]], None]


@dataclass(frozen=True)
class Job(Generic[TaskT]):
    """The work of one process. Can be pickled if its work can."""

    work: Work[TaskT]
    databases: Databases
    concurrency: int
    """Sessions at a time."""
    number: int = 0
    """Of the process, from 0."""
    until: float | None = None
    """On the clock `time.monotonic`, which processes share: no session begins after it."""


async def run_job(job: Job[TaskT], deliver: Deliver) -> int:
    """Run the items of a job, handing records to `deliver`; returns how many sandboxes were discarded.

    Records of sessions that were paid for are handed over at once, others a few times a second.

    Raises:
        InputError: a task cannot be read.
        InfrastructureError: what all sessions stand on failed for good.
    """
    conninfo = job.databases.sandbox
    # Only on our own server are the backends' process IDs known to be this machine's; and a run that asks
    # models also works in threads, which would have to share the core.
    pinned = job.databases.embedded and not job.work.runners.asks_models
    follow = pin_beside if pinned else None
    with (
        rare_collections(),
        SandboxPool(conninfo, size=job.concurrency, on_open=follow) as pool,
        SandboxPool(conninfo, on_open=follow) as alone,
        closing(GroundTruthStore(conninfo, alone)) as store,
        pinned_to_core(job.number if pinned else None),
    ):
        async with job.work.runners.open(pool) as runner:
            scheduler = Scheduler(
                job.work.items, in_order=job.work.in_order, longest_first=job.work.longest_first
            )
            outbox = _Outbox(deliver, 0.0 if job.work.runners.asks_models else _DELIVER_SECONDS)
            worker = _Worker(job, runner, _Loader(job, scheduler, store), outbox)
            at_once = min(job.concurrency, len(job.work.items))
            try:
                await run_all(worker.work(scheduler) for _ in range(at_once))
            finally:
                outbox.send()
        return pool.discarded


class _Worker(Generic[TaskT]):
    def __init__(
        self,
        job: Job[TaskT],
        runner: SessionRunner[TaskT],
        loader: _Loader[TaskT],
        outbox: _Outbox,
    ) -> None:
        self._databases = job.databases
        self._until = job.until
        self._work = job.work
        self._runner = runner
        self._loader = loader
        self._outbox = outbox
        self._exhausted: str | None = None
        """Why no model is asked any more."""

    async def work(self, scheduler: Scheduler) -> None:
        """Run sessions until none is left, or the time is over."""
        async with aclosing(scheduler.next()) as items:
            async for item in items:
                if self._until is not None and time.monotonic() >= self._until:
                    return
                if self._outbox.put(await self._run(item)):
                    await asyncio.sleep(0)  # let an interrupt through, even if no session ever waits

    async def _run(self, item: WorkItem) -> SessionLine:
        finished = None
        if self._exhausted is None:
            try:
                finished = await self._finish(item)
            except BudgetExhausted as error:
                self._exhausted = str(error)
        if finished is None:
            task = self._work.source.parse(item, read_line_at(self._work.source.path, item.offset))
            result = without_verdict(task.conversation, "not_run", str(self._exhausted), {})
            finished = self._runner.record(item, task, result)
        return SessionLine(item.key, finished.status, finished.success, json_line(finished.record))

    async def _finish(self, item: WorkItem) -> Finished:
        """Run a session to its end; from its beginning again where a database went away meanwhile."""
        databases, tries = self._databases, count()

        async def attempt() -> Finished:
            if next(tries):
                await in_thread(lambda: check_answers(databases.sandbox))
            task, truth = await self._loader.load(item)
            return await self._runner.run(item, task, truth)

        return await through_outage(attempt, databases.outage_seconds)


class _Outbox:
    """Holds records for some time, since a delivery wakes up another process or writes to the disk."""

    def __init__(self, deliver: Deliver, seconds: float) -> None:
        self._deliver = deliver
        self._seconds = seconds
        self._held: list[SessionLine] = []
        self._sent = time.perf_counter()

    def put(self, entry: SessionLine) -> bool:
        """Add a record; returns whether it was time to send all that are held."""
        self._held.append(entry)
        due = time.perf_counter() - self._sent >= self._seconds
        if due:
            self.send()
        return due

    def send(self) -> None:
        """Deliver the records that are held, each once even if that fails."""
        held, self._held = self._held, []
        if held:
            self._deliver(held)
        self._sent = time.perf_counter()


class _Loader(Generic[TaskT]):
    """Loads tasks with their ground truths; those of upcoming items along with them, in one query."""

    def __init__(self, job: Job[TaskT], scheduler: Scheduler, store: GroundTruthStore) -> None:
        self._source = job.work.source
        self._scheduler = scheduler
        self._store = store
        # A local database answers in microseconds, but no call of a model should wait even for these.
        self._at_once = job.databases.sandbox_is_local and not job.work.runners.asks_models
        # Nor should a session wait for many others' ground truths.
        self._ahead = _AHEAD if self._at_once else min(_FEW_AHEAD, job.concurrency)
        self._loaded: dict[WorkItem, tuple[TaskT, GroundTruth | Exception]] = {}
        self._alone = asyncio.Lock()  # the store is not for two at once

    async def load(self, item: WorkItem) -> tuple[TaskT, GroundTruth | Exception]:
        """Return an item's task with its ground truth, or what kept that from being computed."""
        if item not in self._loaded:
            async with self._alone:
                if item not in self._loaded:  # nor fetched meanwhile for another session
                    upcoming = self._scheduler.upcoming(self._ahead - 1)
                    await self._fetch([item, *(one for one in upcoming if one not in self._loaded)])
        return self._loaded.pop(item)

    async def _fetch(self, items: Sequence[WorkItem]) -> None:
        lines = read_lines_at(self._source.path, [item.offset for item in items])
        tasks = [self._source.parse(item, line) for item, line in zip(items, lines, strict=True)]
        conversations = [task.conversation for task in tasks]
        if self._at_once:
            truths = self._store.get_many(conversations)
        else:
            truths = await in_thread(lambda: self._store.get_many(conversations))
        self._loaded.update(zip(items, zip(tasks, truths, strict=True), strict=True))
