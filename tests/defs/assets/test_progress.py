"""What a long step tells of itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from crm_assets.defs.assets.progress import describe, session_progress
from crm_assets.engine import Progress
from crm_assets.llm import Spending, Usage


def progress(done: int = 12, **more: Any) -> Progress:
    given = {"total": 60, "succeeded": 6, "infrastructure_errors": 0, "rate_per_second": 0.5, **more}
    return Progress(done=done, eta_seconds=96.0, **given)


def test_a_line_says_how_far_how_well_at_what_cost_and_how_long() -> None:
    spent = Spending(calls=40, usage=Usage(30_000, 4_000), cost_usd=0.1234)
    line = describe(progress(spent=spent))
    assert line == ("12/60 conversations, 6 right (50%), $0.1234, 34,000 tokens, 0.5/s, 96 s left")


def test_the_rate_is_among_those_with_a_verdict() -> None:
    assert "6 right (75%), 4 without a verdict" in describe(progress(infrastructure_errors=4))


def test_the_log_gets_a_line_now_and_then_not_one_a_conversation() -> None:
    told: list[str] = []
    now = 0.0
    context = SimpleNamespace(
        log=SimpleNamespace(info=told.append),
        asset_key=SimpleNamespace(to_user_string=lambda: "atlas_sessions"),
    )
    report = session_progress(cast(Any, context), clock=lambda: now)
    for second in range(61):
        now = float(second)
        report(progress(done=second + 1))
    assert len(told) == 4
    assert told[0].startswith("16/60 conversations")
