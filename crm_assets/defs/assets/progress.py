"""Progress of a long step, in Dagster's log and on a logger."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import dagster as dg

from crm_assets.engine import Progress
from crm_assets.llm.spending import spent_so_far

__all__ = ["PROGRESS_LOGGER", "describe", "session_progress", "tell"]

PROGRESS_LOGGER = "crm_assets.progress"
"""The command line listens here: an event in Dagster's storage costs milliseconds, a line on this logger
nothing."""

_EVENT_SECONDS = 10.0  # and the engine reports every 4 s at least: no more than 15 s without a word
_LINE_SECONDS = 1.0


def tell(context: dg.AssetExecutionContext, message: str) -> None:
    """Write `message` to the run's log and to the progress logger."""
    context.log.info(message)
    logging.getLogger(PROGRESS_LOGGER).info("%s: %s", context.asset_key.to_user_string(), message)


def session_progress(
    context: dg.AssetExecutionContext, *, clock: Callable[[], float] = time.monotonic
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
