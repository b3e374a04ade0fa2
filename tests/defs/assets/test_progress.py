"""What a long step tells of itself."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest

from crm_assets.cli.common import live_progress
from crm_assets.database import ShardRow
from crm_assets.defs.assets.progress import describe, session_progress, whole_progress
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


def shard(name: str, *, pid: int = os.getpid(), **status: Any) -> ShardRow:
    return ShardRow(name, "owner", socket.gethostname(), pid, True, False, status)


def test_one_shard_tells_of_all_of_them_every_half_minute() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    siblings = [
        shard("", done_before=10, left=50),
        shard("plan of a run"),
        shard("shard_1_of_3", pid=gone.pid, done=5, infrastructure_errors=2),
        shard("shard_2_of_3", done=7),
        shard("shard_3_of_3"),
    ]
    now = 0.0

    def told_by(name: str) -> list[str | None]:
        nonlocal now
        told: list[str | None] = []
        context = SimpleNamespace(
            log_event=lambda event: told.append(event.description),
            asset_key=dg.AssetKey("atlas_sessions"),
            partition_key="dev|run",
        )
        claim = SimpleNamespace(siblings=siblings, shard=name)
        report = whole_progress(cast(Any, context), cast(Any, claim), clock=lambda: now)
        for _ in range(61):
            now += 1.0
            report()
        return told

    line = "22/60 sessions, 2 shards under way, 2 without a verdict"
    assert told_by("shard_2_of_3") == [line, line]  # the first of those at work
    assert told_by("shard_1_of_3") == told_by("shard_3_of_3") == []


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
