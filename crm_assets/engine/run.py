"""Runs sessions: in this process or across several, resumable, within limits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crm_assets.concurrency import Stop, run_interruptible
from crm_assets.database import Databases
from crm_assets.engine.checkpoint import Checkpoint, SessionCounts, SessionLine
from crm_assets.engine.progress import OnProgress, ProgressReporter
from crm_assets.engine.work import TaskT, Work, WorkItem
from crm_assets.engine.worker import Job, run_job
from crm_assets.errors import InputError

__all__ = ["Limits", "RunSummary", "run_work"]

_BLOCK = 16  # consecutive items that go to one process


@dataclass(frozen=True)
class Limits:
    """The number of processes and sessions at a time."""

    workers: int = 1
    """Processes."""
    concurrency: int = 1
    """Sessions at a time, per process."""
    seconds: float | None = None
    """After so long no further session begins; those under way are finished."""

    def __post_init__(self) -> None:
        for name in ("workers", "concurrency"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1.")


@dataclass
class RunSummary(SessionCounts):
    """The counts of a run that has ended."""

    resumed: int = 0
    """Sessions that were done before this start."""
    seconds: float = 0.0
    sandboxes_discarded: int = 0
    left: int = 0
    """Sessions that were not begun, since the time was over."""


def run_work(
    work: Work[TaskT],
    output: Path,
    *,
    databases: Databases,
    identity: Mapping[str, Any],
    facts: Mapping[str, Any] | None = None,
    limits: Limits = Limits(),
    overwrite: bool = False,
    progress: OnProgress | None = None,
    stop: Stop | None = None,
) -> RunSummary:
    """Run the sessions of `work` that `output` does not hold yet.

    Args:
        work: the sessions, and how they go.
        output: a JSON Lines file of their records, resumed if it is of the same run.
        databases: where the sandboxes are.
        identity: what makes this run this run, to refuse resuming another.
        facts: what else all its sessions have in common, to be kept beside them.
        limits: processes and sessions at a time, and how long.
        overwrite: start over even if `output` exists.
        progress: called a few times a second, and at the start and the end.
        stop: ends the sessions from another thread, as Ctrl-C does.

    Raises:
        InputError: a task cannot be read, or `output` is of another run.
        InfrastructureError: the database or the disk failed for good; what is done is kept.
    """
    order = [item.key for item in work.items]
    started = time.perf_counter()
    with Checkpoint(output, identity, facts, overwrite=overwrite) as checkpoint:
        left = [item for item in work.items if item.key not in checkpoint.finished]
        run = _WorkRun(
            checkpoint,
            ProgressReporter(
                checkpoint.tally,
                len(order),
                callback=progress,
                spent=work.runners.spent,
                activity=work.runners.activity,
            ),
            stop or Stop(),
        )
        run.progress.report(now=True)
        discarded = run.take(replace(work, items=left), databases, limits) if left else 0
        checkpoint.finish(order)
        run.progress.report(now=True)
        return RunSummary(
            **vars(checkpoint.tally),
            resumed=len(order) - len(left),
            seconds=time.perf_counter() - started,
            sandboxes_discarded=discarded,
            left=len(order) - checkpoint.tally.total,
        )


@dataclass(frozen=True)
class _WorkRun:
    """One start of a run: its records go to the checkpoint, and progress is reported."""

    checkpoint: Checkpoint
    progress: ProgressReporter
    stop: Stop

    def take(self, work: Work[TaskT], databases: Databases, limits: Limits) -> int:
        """Run the items of `work`; returns how many sandboxes were discarded."""
        until = None if limits.seconds is None else time.monotonic() + limits.seconds
        if limits.workers == 1:
            job = Job(work, databases, limits.concurrency, until=until)

            def stopping() -> None:
                work.runners.stop()
                self.progress.report(now=True)

            return run_interruptible(self._run_watched(job), stopping, self.stop)
        from crm_assets.engine.processes import run_in_processes  # noqa: PLC0415  (multiprocessing)

        jobs = [
            Job(replace(work, items=items), databases, limits.concurrency, number, until)
            for number, items in enumerate(_shares(work, limits.workers))
        ]
        discarded = 0
        for message in run_in_processes(jobs):
            self.stop.raise_if_asked()
            if isinstance(message, int):
                discarded += message
            else:
                self.put(message)
        return discarded

    async def _run_watched(self, job: Job[TaskT]) -> int:
        async with self.progress.watching():
            return await run_job(job, self.put)

    def put(self, entries: list[SessionLine]) -> None:
        """Keep records."""
        self.checkpoint.append(entries)
        self.progress.report()


def _shares(work: Work[TaskT], count: int) -> list[list[WorkItem]]:
    """Divide the items among up to `count` processes, in blocks."""
    assert not work.in_order  # sessions of different processes cannot wait for each other
    shares: list[list[WorkItem]] = [[] for _ in range(count)]
    for position, item in enumerate(work.items):
        shares[position // _BLOCK % count].append(item)
    return [share for share in shares if share]
