"""How a long step tells how far it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import dagster as dg

from crm_assets.engine import Progress
from crm_assets.llm.spending import spent_so_far

__all__ = ["PROGRESS_LOGGER", "describe", "session_progress", "tell"]

PROGRESS_LOGGER = "crm_assets.progress"
"""Whoever runs the lineage in their own process can listen here; an event on Dagster's storage costs
milliseconds, a line on this logger nothing."""

_EVENT_SECONDS = 15.0
_LINE_SECONDS = 1.0


def tell(context: dg.AssetExecutionContext, message: str) -> None:
    """Say `message` in the run's log and to whoever listens."""
    context.log.info(message)
    logging.getLogger(PROGRESS_LOGGER).info("%s: %s", context.asset_key.to_user_string(), message)


def session_progress(
    context: dg.AssetExecutionContext, *, clock: Callable[[], float] = time.monotonic
) -> Callable[[Progress], None]:
    """A callback that passes progress on: often to listeners, now and then to Dagster's log."""
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
    """One line of progress: how far, how well, at what cost, for how much longer."""
    line = f"{progress.done:,}/{progress.total:,} conversations, {progress.succeeded:,} right"
    decided = progress.done - progress.infrastructure_errors
    if decided > 0:
        line += f" ({progress.succeeded / decided:.0%})"
    if progress.infrastructure_errors:
        line += f", {progress.infrastructure_errors:,} without a verdict"
    if progress.spent is not None and progress.spent.calls:
        line += f", {spent_so_far(progress.spent)}"
    if progress.rate_per_second:
        line += f", {progress.rate_per_second:,.1f}/s"
    if progress.eta_seconds:
        line += f", {progress.eta_seconds:,.0f} s to go"
    return line
