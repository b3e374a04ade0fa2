"""Progress of a long step, in Dagster's log and on a logger."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import dagster as dg

from crm_assets.database import ShardClaim, ShardRow
from crm_assets.engine import Progress
from crm_assets.llm.spending import spent_so_far
from crm_assets.reporting.formats import counted

__all__ = ["PROGRESS_LOGGER", "describe", "describe_whole", "session_progress", "tell", "whole_progress"]

PROGRESS_LOGGER = "crm_assets.progress"
"""The command line listens here: an event in Dagster's storage costs milliseconds, a line on this logger
nothing."""

_Context = dg.AssetExecutionContext | dg.OpExecutionContext

_EVENT_SECONDS = 10.0  # and the engine reports every 4 s at least: no more than 15 s without a word
_LINE_SECONDS = 1.0
_WHOLE_SECONDS = 30.0


def tell(context: _Context, message: str) -> None:
    """Write `message` to the run's log and to the progress logger."""
    context.log.info(message)
    logging.getLogger(PROGRESS_LOGGER).info("%s: %s", context.asset_key.to_user_string(), message)


def session_progress(
    context: _Context, *, clock: Callable[[], float] = time.monotonic
) -> Callable[[Progress], None]:
    """Return a callback that reports progress: each second to the logger, every 10 to Dagster's log."""
    logger = logging.getLogger(PROGRESS_LOGGER)
    stage = context.asset_key.to_user_string()
    last_line = last_event = clock()  # what is over at once needs no telling

    def report(progress: Progress) -> None:
        nonlocal last_line, last_event
        now = clock()
        message = describe(progress)
        if now - last_line >= _LINE_SECONDS:
            last_line = now
            logger.info("%s: %s", stage, message)
        if now - last_event >= _EVENT_SECONDS:
            last_event = now
            context.log.info(message)

    return report


def whole_progress(
    context: dg.OpExecutionContext, claim: ShardClaim, *, clock: Callable[[], float] = time.monotonic
) -> Callable[[], None]:
    """Return a callback that observes the asset while several shards are under way, one of them for all."""
    last_event = clock()

    def report() -> None:
        nonlocal last_event
        now = clock()
        if now - last_event < _WHOLE_SECONDS:
            return
        last_event = now
        at_work = [row.shard for row in claim.siblings if row.is_shard and row.is_at_work]
        if at_work and at_work[0] == claim.shard:
            context.log_event(
                dg.AssetObservation(
                    context.asset_key,
                    partition=str(context.partition_key),
                    description=describe_whole(claim.siblings),
                )
            )

    return report


def describe_whole(rows: Sequence[ShardRow]) -> str:
    """Return a line of progress of all shards of a run together, by what each has told last."""
    whole = next((row.status for row in rows if row.shard == ""), {})
    shards = [row.status for row in rows if row.is_shard]
    done = whole.get("done_before", 0) + sum(one.get("done", 0) for one in shards)
    total = whole.get("done_before", 0) + whole.get("left", 0)
    errors = sum(one.get("infrastructure_errors", 0) for one in shards)
    at_work = sum(row.is_shard and row.is_at_work for row in rows)
    line = f"{done:,}/{total:,} sessions, {counted(at_work, 'shard')} under way"
    return f"{line}, {errors:,} without a verdict" if errors else line


def describe(progress: Progress) -> str:
    """Return a line of progress: counts, success, tokens and cost, rate, time left."""
    line = f"{progress.done:,}/{progress.total:,} sessions, {progress.succeeded:,} right"
    decided = progress.done - progress.infrastructure_errors
    if decided > 0:
        line += f" ({progress.succeeded / decided:.0%})"
    if progress.infrastructure_errors:
        line += f", {progress.infrastructure_errors:,} without a verdict"
    if progress.spent is not None and progress.spent.calls:
        line += f", {spent_so_far(progress.spent)}"
    if progress.activity:
        line += f", {progress.activity}"
    if progress.rate_per_second:
        line += f", {progress.rate_per_second:,.1f}/s"
    if progress.eta_seconds:
        line += f", {progress.eta_seconds:,.0f} s left"
    return line
