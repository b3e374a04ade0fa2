"""What is warned of: the arithmetic of it."""

from __future__ import annotations

import pytest

from crm_assets.audit.quality_thresholds import find_audit_findings, find_missing_tool_calls
from crm_assets.reporting import read_metrics
from crm_assets.workspace.baseline_files import BaselinePaths

CLEAN = {"duplicate_ids": 0, "unfillable_placeholders": 0}


def test_a_clean_audit_says_nothing() -> None:
    assert find_audit_findings(CLEAN, conversations=7, replayed=True) == (None, 7)


@pytest.mark.parametrize(
    ("findings", "replayed", "said"),
    [
        ({**CLEAN, "unfillable_placeholders": 1200}, True, "1,200 unfillable placeholders"),
        (CLEAN, False, "the ground truth was not replayed"),
    ],
)
def test_findings_are_named(findings: dict[str, int], replayed: bool, said: str) -> None:
    assert said in str(find_audit_findings(findings, conversations=7, replayed=replayed).problem)


def test_an_agent_that_calls_nothing_is_told_of_the_tool_mode(paths: BaselinePaths) -> None:
    metrics = read_metrics(paths.metrics)  # of nobody's run
    problem = str(find_missing_tool_calls(metrics, most=0.9).problem)
    assert f"called no tool in {metrics.turns_executed} of {metrics.turns_executed} turns" in problem
    assert "set agent.tool_mode to text, or to auto" in problem
    assert find_missing_tool_calls(metrics, most=1.0) == (None, metrics.turns_executed)
