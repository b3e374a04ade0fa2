"""Progress that cannot be reported ends the run, whoever reports it."""

from __future__ import annotations

import asyncio

import pytest

from crm_assets.engine import Progress, ProgressReporter, SessionCounts
from crm_assets.errors import InfrastructureError
from tests.waiting import HANG_SECONDS


def test_a_report_that_fails_between_two_sessions_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crm_assets.engine.progress._WATCH_SECONDS", 0.0)
    monkeypatch.setattr("crm_assets.engine.progress._REPORT_SECONDS", 0.0)

    def fail(_: Progress) -> None:
        raise InfrastructureError("Nobody can be told.")

    async def run() -> None:
        reporter = ProgressReporter(
            SessionCounts(), 1, callback=fail, spent=lambda: None, activity=lambda: None
        )
        async with reporter.watching():
            await asyncio.sleep(HANG_SECONDS)

    with pytest.raises(InfrastructureError, match="Nobody can be told"):
        asyncio.run(run())
