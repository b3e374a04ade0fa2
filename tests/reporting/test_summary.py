from __future__ import annotations

import io
import re

from rich.console import Console

from crm_assets.reporting import Metrics, summarize
from crm_assets.reporting.terminal import show

from .conftest import Measure, failed_turn, session, turn, unrun


def shown(metrics: Metrics) -> str:
    terminal = io.StringIO()
    show(summarize(metrics), console=Console(width=120, file=terminal))
    return terminal.getvalue()


def test_the_table_says_how_it_went_and_what_failed_most(measure: Measure) -> None:
    spent = {
        "agent": {"name": "[red]me"},
        "token_usage": {"student": {"total_tokens": 4321}},
        "cost_usd": {"student": 0.25},
    }
    text = shown(
        measure(
            session("c-1", [turn(1), turn(2)], meta=spent),
            session("c-2", [turn(1), failed_turn(2, "no_tool_call")], meta=spent),
            unrun("c-3", agent={"name": "[red]me"}),
        )
    )
    assert "[red]me on dev" in text  # a name, not markup
    rows = {
        cells[0]: cells[1:]
        for line in text.splitlines()
        if len(cells := re.split(r"  +", line.strip())) == 4
    }
    assert rows["Strict success (every turn correct)"] == ["50.0%", "9.5–90.5%", "1 of 2"]
    assert rows["Turn-level tool success"][::2] == ["75.0%", "3 of 4"]
    assert rows["Turn-level response success"] == ["–", "–", "–"]
    assert rows["Most common failure: no tool call"][::2] == ["25.0%", "1 of 4"]
    assert rows["Ended by an infrastructure failure"] == ["–", "–", "1 of 3"]
    assert rows["Tokens per conversation"] == ["4,321", "–", "2"]
    assert rows["Cost per conversation"] == ["$0.2500", "–", "2"]


def test_repeated_conversations_show_how_often_all_runs_were_right(measure: Measure) -> None:
    records = [
        session(name, result={"overall_success": right}, epoch=epoch)
        for name, verdicts in (("a", (True, True)), ("b", (True, False)))
        for epoch, right in enumerate(verdicts, start=1)
    ]
    rows = [re.split(r"  +", line.strip()) for line in shown(measure(*records)).splitlines()]
    found = {row[0]: (row[1], row[3]) for row in rows if len(row) == 4}
    assert found["All 2 times right (pass^2)"] == ("50.0%", "2")
    assert found["Right at least once (pass@2)"] == ("100.0%", "2")


def test_what_did_not_happen_has_no_row(measure: Measure) -> None:
    text = shown(measure(session("c-1")))
    for absent in ("Most common", "infrastructure", "recorded", "verdict", "Tokens", "Cost"):
        assert absent not in text
