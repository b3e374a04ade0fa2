"""The progress of a run: counts, rate, time left, cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from crm_assets.engine.checkpoint import SessionCounts
from crm_assets.llm import Spending

__all__ = ["OnProgress", "Progress", "ProgressReporter"]

_REPORT_SECONDS = 0.2
_WATCH_SECONDS = 4.0
"""Progress is reported at least as often, even while no session ends: users are to see it within 15 s."""


@dataclass(frozen=True)
class Progress:
    """The state of a run that is under way."""

    done: int
    total: int
    succeeded: int
    infrastructure_errors: int
    rate_per_second: float
    """Sessions finished per second since this start, resumed ones not counted."""
    eta_seconds: float | None
    """None until the first session has finished."""
    spent: Spending | None = None
    """Cost of the run so far; None where no model is asked."""
    activity: str | None = None
    """Model calls in progress, and the last error; None if no model is called."""


OnProgress = Callable[[Progress], None]


class ProgressReporter:
    """Reports a run's progress a few times a second."""

    def __init__(
        self,
        tally: SessionCounts,
        total: int,
        *,
        callback: OnProgress | None,
        spent: Callable[[], Spending | None],
        activity: Callable[[], str | None],
    ) -> None:
        """Start the clock; what `tally` counts by now was done before."""
        self._tally = tally
        self._total = total
        self._callback = callback
        self._spent = spent
        self._activity = activity
        self._resumed = tally.total
        self._started = self._reported = time.monotonic()

    def report(self, *, now: bool = False) -> None:
        """Report if it is time to, or `now`."""
        seconds = time.monotonic() - self._started
        if self._callback is None or not (
            now or self._started + seconds - self._reported >= _REPORT_SECONDS
        ):
            return
        self._reported = self._started + seconds
        rate = (self._tally.total - self._resumed) / seconds if seconds > 0 else 0.0
        self._callback(
            Progress(
                done=self._tally.total,
                total=self._total,
                succeeded=self._tally.succeeded,
                infrastructure_errors=self._tally.infrastructure_errors,
                rate_per_second=rate,
                eta_seconds=(self._total - self._tally.total) / rate if rate else None,
                spent=self._spent(),
                activity=self._activity(),
            )
        )

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Report every few seconds while the context lasts, even if no session ends.

        An error of the callback ends the context.
        """
        watched, failures = asyncio.current_task(), list[Exception]()

        async def watch() -> None:
            try:
                while True:
                    await asyncio.sleep(_WATCH_SECONDS)
                    self.report()
            except Exception as error:  # as if the report had failed where a session ended
                failures.append(error)
                if watched is not None:
                    watched.cancel()

        watcher = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if failures:
                raise failures[0] from None
            raise
        finally:
            watcher.cancel()
