"""The processes of a batch: one in this process, several as children that send their results back.

Each worker reads the source itself and takes its share of the items, so nothing large is handed around.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from crm_assets.concurrency import deaf_to_interrupts
from crm_assets.crm import SandboxPool
from crm_assets.database import Databases
from crm_assets.engine.affinity import pin_beside, pinned_to_core
from crm_assets.engine.batch import Item, Limits, Source
from crm_assets.errors import CrmAssetsError, InfrastructureError, InputError
from crm_assets.harness.agents import AgentSpec, make_agent
from crm_assets.harness.ground_truth import GroundTruth, GroundTruthStore
from crm_assets.harness.runner import ConversationRunner
from crm_assets.workspace.files import json_line

__all__ = ["run_workers"]

Entry = tuple[str, str, "bool | None", bytes]
Report = tuple[list[Entry], int]
"""Finished conversations, and how many sandboxes were thrown away since the last report."""

_AHEAD = 64  # ground truths fetched at a time
_REPORT_SECONDS = 0.1
_SHARE = 16  # consecutive items that go to one worker


@dataclass(frozen=True)
class _Job:
    """What a worker is to do."""

    source: Source
    agent: AgentSpec
    databases: Databases
    concurrency: int
    finished: frozenset[str]
    number: int
    """Which of the workers this is, from 0."""
    workers: int

    def items(self) -> Iterator[Item]:
        """This worker's share of what is left."""
        for item in self.source.items(self._is_mine):
            if item.key not in self.finished:
                yield item

    def _is_mine(self, position: int) -> bool:
        return position // _SHARE % self.workers == self.number


def run_workers(
    source: Source,
    *,
    agent: AgentSpec,
    databases: Databases,
    limits: Limits,
    finished: frozenset[str],
) -> Iterator[Report]:
    """Run what is left of `source`; yields results as they come.

    Closing the generator (or an interrupt) stops the workers; what they had finished is lost only as
    far as it was not yielded.
    """
    jobs = [
        _Job(source, agent, databases, limits.concurrency, finished, number, limits.workers)
        for number in range(limits.workers)
    ]
    if len(jobs) == 1:
        yield from _here(jobs[0])
    else:
        yield from _in_children(jobs)


def _here(job: _Job) -> Iterator[Report]:
    """Run a job in this process, stepping its event loop from report to report."""
    loop = asyncio.new_event_loop()
    reports = _work(job)
    try:
        while True:
            try:
                yield loop.run_until_complete(reports.__anext__())
            except StopAsyncIteration:
                return
    finally:
        _wind_down(loop, reports)


def _wind_down(loop: asyncio.AbstractEventLoop, reports: AsyncGenerator[Report, None]) -> None:
    """End what an interrupt may have left running, so that each sandbox is given back."""
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    if pending:
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    loop.run_until_complete(reports.aclose())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


async def _work(job: _Job) -> AsyncGenerator[Report, None]:
    """Run a job; yields its results every tenth of a second."""
    agent = make_agent(job.agent)
    conninfo = job.databases.sandbox
    # Only of our own server are the backends' process IDs known to be this machine's.
    ours = job.databases.embedded
    follow = pin_beside if ours else None
    pool = SandboxPool(conninfo, size=job.concurrency, on_open=follow)
    truths = SandboxPool(conninfo, on_open=follow)
    store = GroundTruthStore(conninfo, truths)
    runner = ConversationRunner(pool, agent, database_is_local=job.databases.sandbox_is_local)
    try:
        with pinned_to_core(job.number if ours else None):
            async with (
                aclosing(_results(job, store, runner)) as entries,
                aclosing(_batched(entries, pool)) as batches,
            ):
                async for report in batches:
                    yield report
    finally:
        store.close()
        truths.close()
        pool.close()


async def _batched(entries: AsyncIterator[Entry], pool: SandboxPool) -> AsyncGenerator[Report, None]:
    held: list[Entry] = []
    thrown_away, last = 0, time.perf_counter()
    async for entry in entries:
        held.append(entry)
        if time.perf_counter() - last >= _REPORT_SECONDS:
            yield held, pool.discarded - thrown_away
            held, thrown_away, last = [], pool.discarded, time.perf_counter()
    yield held, pool.discarded - thrown_away


async def _results(
    job: _Job, store: GroundTruthStore, runner: ConversationRunner
) -> AsyncGenerator[Entry, None]:
    """Run the items, `concurrency` at a time; yields each as it ends."""

    async def run(item: Item, truth: GroundTruth | Exception) -> Entry:
        result = await runner.run(item.conversation, truth)
        line = json_line(job.source.record(item, result))
        return item.key, result.status, result.overall_success, line

    if job.concurrency == 1:
        for item, truth in _with_truths(job.items(), store):
            yield await run(item, truth)
        return
    running: set[asyncio.Task[Entry]] = set()
    try:
        for item, truth in _with_truths(job.items(), store):
            if len(running) >= job.concurrency:
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    yield task.result()
            running.add(asyncio.create_task(run(item, truth)))
        for finished in asyncio.as_completed(running):
            yield await finished
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _with_truths(
    items: Iterator[Item], store: GroundTruthStore
) -> Iterator[tuple[Item, GroundTruth | Exception]]:
    """Items with their ground truths, fetched some ahead."""
    while chunk := list(itertools.islice(items, _AHEAD)):
        truths = store.get_many([item.conversation for item in chunk])
        yield from zip(chunk, truths, strict=True)


def _in_children(jobs: list[_Job]) -> Iterator[Report]:
    """Run each job in a process of its own."""
    # Not fork: this process may hold database connections and threads (Dagster's, for one).
    context = multiprocessing.get_context("spawn")
    children: list[Any] = []
    receivers: dict[Connection, int] = {}
    try:
        for job in jobs:
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(
                target=_child, args=(job, sender), name=f"crm-assets-{job.number}", daemon=True
            )
            with deaf_to_interrupts():
                child.start()
            sender.close()
            children.append(child)
            receivers[receiver] = job.number
        while receivers:
            for ready in wait(list(receivers)):
                assert isinstance(ready, Connection)
                report = _receive(ready, children[receivers[ready]])
                if report is None:
                    ready.close()
                    del receivers[ready]
                else:
                    yield report
    finally:
        _stop(children)
        for receiver in receivers:
            receiver.close()


def _receive(receiver: Connection, child: Any) -> Report | None:
    """One report; None when the worker is through.

    Raises:
        CrmAssetsError: what the worker died of.
    """
    try:
        message = receiver.recv()
    except (EOFError, OSError):  # at the end of a message, or in the middle of one
        child.join()
        raise InfrastructureError(
            f"A worker process ended unexpectedly (exit code {child.exitcode}); what is finished is "
            "kept, run it again to go on."
        ) from None
    if isinstance(message, BaseException):
        raise message
    report: Report | None = message
    return report


def _stop(children: list[Any]) -> None:
    """End workers that still run; each rolls back by losing its connections."""
    for child in children:
        if child.is_alive():
            child.terminate()
    for child in children:
        child.join(10)
        if child.is_alive():
            child.kill()
            child.join()


def _child(job: _Job, sender: Connection) -> None:
    """Body of a worker process."""
    try:
        _send(sender.send, _here(job))
        sender.send(None)
    except InputError as error:
        sender.send(InputError(str(error)))  # one of its subclasses might not survive the way
    except CrmAssetsError as error:
        sender.send(InfrastructureError(str(error)))
    except BrokenPipeError:
        pass  # the parent is gone; there is nobody to tell
    except Exception as error:
        with suppress(Exception):  # an error that cannot be pickled is at least printed below
            sender.send(error)
        raise
    finally:
        sender.close()


def _send(send: Callable[[Report], None], reports: Iterator[Report]) -> None:
    for report in reports:
        send(report)
