"""The progress of a run: counts, rate, time left, cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from crm_assets.engine.checkpoint import Tally
from crm_assets.llm import Spending

__all__ = ["OnProgress", "Progress", "ProgressReporter"]

_REPORT_SECONDS = 0.2


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
    """What is under way with the models, and what went wrong last; None where no model is asked."""


OnProgress = Callable[[Progress], None]


class ProgressReporter:
    """Reports a run's progress a few times a second."""

    def __init__(
        self,
        tally: Tally,
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
        self._started = self._reported = time.perf_counter()

    def report(self, *, now: bool = False) -> None:
        """Report if it is time to, or `now`."""
        seconds = time.perf_counter() - self._started
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
