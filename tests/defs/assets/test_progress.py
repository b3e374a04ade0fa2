"""What a long step tells of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from crm_assets.cli.common import live_progress
from crm_assets.defs.assets.progress import describe, session_progress
from crm_assets.engine import Progress, ProgressReporter, SessionCounts
from crm_assets.llm import Spending, Usage
from tests.llm.virtual_time import run_in_virtual_time


def progress(done: int = 12, **more: Any) -> Progress:
    given = {"total": 60, "succeeded": 6, "infrastructure_errors": 0, "rate_per_second": 0.5, **more}
    return Progress(done=done, eta_seconds=96.0, **given)


def as_dagsters_log(
    told: Callable[[str], object], clock: Callable[[], float]
) -> Callable[[Progress], None]:
    context = SimpleNamespace(
        log=SimpleNamespace(info=told), asset_key=SimpleNamespace(to_user_string=lambda: "atlas_sessions")
    )
    return session_progress(cast(Any, context), clock=clock)


def test_a_line_says_how_far_how_well_at_what_cost_and_how_long() -> None:
    spent = Spending(calls=40, usage=Usage(30_000, 4_000), cost_usd=0.1234)
    line = describe(progress(spent=spent))
    assert line == ("12/60 sessions, 6 right (50%), $0.1234, 34,000 tokens, 0.5/s, 96 s left")


def test_the_rate_is_among_those_with_a_verdict() -> None:
    assert "6 right (75%), 4 without a verdict" in describe(progress(infrastructure_errors=4))


def test_the_log_gets_a_line_now_and_then_not_one_a_conversation() -> None:
    told: list[str] = []
    now = 0.0
    report = as_dagsters_log(told.append, lambda: now)
    for second in range(61):
        now = float(second)
        report(progress(done=second + 1))
    assert len(told) == 6
    assert told[0].startswith("11/60 sessions")


@pytest.mark.parametrize("ending", [(), (1.0, 2.5, 7.3, 9.9, 14.8, 0.3)])
@pytest.mark.parametrize("where", ["baseline and smoke", "atlas run"])
def test_no_more_than_fifteen_seconds_go_by_without_a_word(
    monkeypatch: pytest.MonkeyPatch, where: str, ending: tuple[float, ...]
) -> None:
    """However long sessions take, and whenever (`ending`, seconds) some of them end."""

    async def watch(now: Callable[[], float]) -> tuple[list[float], float]:
        told: list[float] = []

        def tell(line: str, **_: object) -> None:
            assert "3 open calls, 2 retried" in line
            told.append(now())

        with ExitStack() as stack:
            monkeypatch.setattr("crm_assets.cli.common.click.echo", tell)
            callback = (
                stack.enter_context(live_progress("dev"))
                if where == "atlas run"
                else as_dagsters_log(tell, now)
            )
            reporter = ProgressReporter(
                SessionCounts(),
                60,
                callback=callback,
                spent=lambda: None,
                activity=lambda: "3 open calls, 2 retried",
            )
            async with reporter.watching():
                for seconds in (*ending, 100.0):
                    await asyncio.sleep(seconds)
                    reporter.report()
        return told, now()

    told, end = run_in_virtual_time(watch, "crm_assets.engine.progress", "crm_assets.cli.common")
    gaps = [after - before for before, after in pairwise([0.0, *told, end])]
    assert max(gaps) <= 15
    assert min(gaps[:-1]) >= 9, "the log is flooded"
