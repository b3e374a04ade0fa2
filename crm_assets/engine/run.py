"""Runs many conversations: over sandboxes, sessions at a time and worker processes, resumable."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from crm_assets.conversations import Conversation
from crm_assets.database import Databases
from crm_assets.engine.checkpoint import ResultsFile, Tally
from crm_assets.errors import InputError
from crm_assets.harness.agents import AgentSpec
from crm_assets.llm import Spending
from crm_assets.records.results import ConversationResult

__all__ = ["BatchSummary", "Item", "Limits", "Progress", "Source", "run_batch"]


@dataclass(frozen=True)
class Item:
    """One conversation of a batch."""

    key: str
    """Its identity in the results file."""
    conversation: Conversation
    context: Any = None
    """Whatever the source needs to write its record."""


class Source(Protocol):
    """Where a batch's conversations come from and how their results are written. Can be pickled."""

    def items(self, wanted: Callable[[int], bool]) -> Iterator[Item]:
        """The conversations at the wanted positions (from 0) in order, streaming."""

    def keys(self) -> Iterator[str]:
        """Their keys in order."""

    def record(self, item: Item, result: ConversationResult) -> object:
        """What to write for a finished conversation, for `files.json_line`."""


@dataclass(frozen=True)
class Limits:
    """How much is done at a time."""

    workers: int = 1
    """Processes."""
    concurrency: int = 1
    """Sessions at a time, per process."""

    def __post_init__(self) -> None:
        for name in ("workers", "concurrency"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1.")


@dataclass(frozen=True)
class Progress:
    """Where a running batch stands."""

    done: int
    total: int
    succeeded: int
    infrastructure_errors: int
    rate_per_second: float
    """Conversations finished a second since this start (not counting what was resumed)."""
    eta_seconds: float | None
    spent: Spending | None = None
    """What the run has cost so far; None where nobody is paid."""


@dataclass(frozen=True)
class BatchSummary:
    """How a batch ended."""

    total: int
    succeeded: int
    """Conversations whose every turn succeeded."""
    failed: int
    """Conversations with a verdict that did not succeed."""
    infrastructure_errors: int
    not_recorded: int
    resumed: int
    """How many were done before this start."""
    seconds: float
    sandboxes_discarded: int
    undecided: int = 0
    """Conversations that ran to their end and have no verdict."""
    not_run: int = 0
    """Conversations that the budget did not suffice for."""

    @classmethod
    def of(cls, tally: Tally, *, resumed: int, seconds: float, sandboxes_discarded: int) -> BatchSummary:
        """The summary of a batch whose results are `tally`."""
        return cls(
            total=tally.done,
            succeeded=tally.succeeded,
            failed=tally.failed,
            infrastructure_errors=tally.infrastructure_errors,
            not_recorded=tally.not_recorded,
            resumed=resumed,
            seconds=seconds,
            sandboxes_discarded=sandboxes_discarded,
            undecided=tally.undecided,
            not_run=tally.not_run,
        )


def run_batch(
    source: Source,
    output: Path,
    *,
    databases: Databases,
    agent: AgentSpec,
    identity: Mapping[str, Any],
    limits: Limits = Limits(),
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> BatchSummary:
    """Run every conversation of `source` that `output` does not hold yet.

    Args:
        source: the conversations.
        output: the results file, resumed if it is of the same run.
        databases: where the sandboxes are.
        agent: who works.
        identity: what makes this run this run, to refuse resuming another.
        limits: processes and sessions at a time.
        overwrite: begin anew even if `output` exists.
        progress: called now and then, at least at the start and the end.

    Raises:
        InputError: `output` is of another run, or the agent cannot be made.
        InfrastructureError: the database or the disk failed for good; what is done is kept.
    """
    from crm_assets.engine.workers import run_workers  # noqa: PLC0415  (imports multiprocessing)

    order = list(source.keys())
    wanted = frozenset(order)
    started = time.perf_counter()
    with ResultsFile(output, identity, overwrite=overwrite) as results:
        results.finished &= wanted
        resumed = len(results.finished)

        def report() -> None:
            if progress is not None:
                progress(_progress(results, len(order), resumed, time.perf_counter() - started))

        report()
        discarded = 0
        if resumed < len(order):
            last = 0.0
            for entries, thrown_away in run_workers(
                source,
                agent=agent,
                databases=databases,
                limits=limits,
                finished=frozenset(results.finished),
            ):
                results.append(entries)
                discarded += thrown_away
                if time.perf_counter() - last >= _REPORT_SECONDS:
                    last = time.perf_counter()
                    report()
        results.finish(order)
        report()
        tally = results.tally
    return BatchSummary.of(
        tally, resumed=resumed, seconds=time.perf_counter() - started, sandboxes_discarded=discarded
    )


_REPORT_SECONDS = 0.2


def _progress(results: ResultsFile, total: int, resumed: int, seconds: float) -> Progress:
    tally = results.tally
    here = tally.done - resumed
    rate = here / seconds if seconds > 0 else 0.0
    return Progress(
        done=tally.done,
        total=total,
        succeeded=tally.succeeded,
        infrastructure_errors=tally.infrastructure_errors,
        rate_per_second=rate,
        eta_seconds=(total - tally.done) / rate if rate else None,
    )


def default_workers() -> int:
    """One process per core that this one may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
