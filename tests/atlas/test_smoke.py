"""The checklist of a smoke run, and its log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.atlas.smoke import (
    append_smoke_log,
    read_smoke_log,
    smoke_checks,
    smoke_log,
    smoke_metrics_check,
)
from crm_assets.errors import InputError
from crm_assets.records import ConversationResult
from crm_assets.records.results import TurnResult
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

TURN = TurnResult(
    turn_id=1,
    segment_number=1,
    user_utterance="List the quote prefixes.",
    tool_name="quote_prefixes",
    arguments={},
    expected_tool="quote_prefixes",
    expected_arguments={},
    expect_success=True,
    matches_expected_tool=True,
    matches_expected_arguments=True,
    argument_mismatch_reason=None,
    result=[],
    error=None,
    error_kind=None,
    tool_success=True,
    response_success=None,
    response_status="not_applicable",
    agent_response_text="There are none.",
    success=True,
    verification="exact_match",
)

RESULT = ConversationResult(
    schema_version=1,
    conversation_id="c-1",
    status="completed",
    overall_success=True,
    turns_executed=0,
    failed_at_turn=None,
    per_turn_results=(TURN,),
    reward_signal=None,
    error_message=None,
    metadata={},
    per_segment_results=(),
    chain_success=None,
    state_match=True,
    state_diff={},
)

Change = Callable[[dict[str, Any]], None]


def good_session() -> dict[str, Any]:
    """As much of a session's line as the checklist looks at."""
    return {
        "schema_version": 1,
        "conversation_id": "c-1",
        "task_id": "c-1::20260131T093000Z-smoke",
        "epoch": 1,
        "status": "succeeded",
        "final_payload": {},
        "conversation_result": {
            **vars(RESULT),
            "error_message": None,
            "metadata": {"sandbox": {"writes": 2, "seen": 2, "restored": True}},
        },
        "atlas_metadata": {
            "execution_mode": "paired",
            "config_path": "configs/atlas/crm_harness.dev.yaml",
            "agent": {"name": "crm-student", "models": {"student": "offline/student"}},
            "token_usage": {role: {"total_tokens": 7} for role in ("student", "teacher", "judge")},
            "cost_usd": {"student": 0.25, "judge": 0.5},
        },
        "session_reward": {"score": 0.5, "judges": [{"rationale": "Half of it was right."}]},
        "adaptive_summary": {"adaptive_mode": "paired", "source": "forced"},
    }


@pytest.fixture
def paths(tmp_path: Path) -> BaselinePaths:
    """A smoke run's files."""
    paths = BaselinePaths.of(Project(tmp_path), BaselineKey.of("dev", "20260131T093000Z-smoke"))
    paths.folder.mkdir(parents=True)
    write(paths, good_session())
    return paths


def write(paths: BaselinePaths, *sessions: dict[str, Any]) -> None:
    paths.sessions.write_bytes(b"".join(orjson.dumps(session) + b"\n" for session in sessions))


def test_a_good_run_passes_every_line(paths: BaselinePaths) -> None:
    checks = smoke_checks(paths)
    assert [check.name for check in checks] == [
        "session_ran",
        "tools_called",
        "execution_mode_paired",
        "reward_or_rationale",
        "tokens_per_role",
        "adaptive_summary",
        "tool_calls_in_tables",
        "sandbox_restored",
    ]
    assert all(check.passed and check.description for check in checks)


def zero_without_reason(session: dict[str, Any]) -> None:
    session["session_reward"] = {"score": 0.0, "judges": [{"rationale": "bad"}]}


def no_call(session: dict[str, Any]) -> None:
    session["conversation_result"]["per_turn_results"] = (replace(TURN, tool_name=None),)


FAULTS: list[tuple[str, Change]] = [
    ("tools_called", no_call),
    ("tools_called", lambda s: s["conversation_result"].update(per_turn_results=[])),
    ("session_ran", lambda s: s.update(status="failed")),
    ("execution_mode_paired", lambda s: s["atlas_metadata"].update(execution_mode="auto")),
    ("reward_or_rationale", lambda s: s.pop("session_reward")),
    ("reward_or_rationale", zero_without_reason),
    ("tokens_per_role", lambda s: s["atlas_metadata"]["token_usage"].pop("teacher")),
    ("tokens_per_role", lambda s: s["atlas_metadata"]["token_usage"]["judge"].update(total_tokens=0)),
    ("adaptive_summary", lambda s: s.pop("adaptive_summary")),
    ("tool_calls_in_tables", lambda s: s["conversation_result"]["metadata"]["sandbox"].update(seen=1)),
    ("tool_calls_in_tables", lambda s: s["conversation_result"]["metadata"].pop("sandbox")),
    ("sandbox_restored", lambda s: s["conversation_result"]["metadata"]["sandbox"].update(restored=False)),
]


@pytest.mark.parametrize(("name", "spoil"), FAULTS)
def test_each_line_fails_for_its_own_fault(paths: BaselinePaths, name: str, spoil: Change) -> None:
    session = good_session()
    spoil(session)
    write(paths, session)
    failed = {check.name: check.description for check in smoke_checks(paths) if not check.passed}
    assert name in failed
    assert failed[name]


def test_a_reward_of_zero_with_a_reason_is_fine(paths: BaselinePaths) -> None:
    session = good_session()
    session["session_reward"] = {"score": 0.0, "judges": [{"rationale": "Not one of the calls was right."}]}
    write(paths, session)
    assert all(check.passed for check in smoke_checks(paths))


def test_a_smoke_run_is_one_session(paths: BaselinePaths) -> None:
    write(paths, good_session(), good_session())
    with pytest.raises(InputError, match="holds several sessions"):
        smoke_checks(paths)
    paths.sessions.unlink()
    with pytest.raises(InputError, match="Cannot read"):
        smoke_checks(paths)


def test_every_smoke_run_is_logged_after_those_before(paths: BaselinePaths, tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert list(read_smoke_log(project)) == []
    first = append_smoke_log(project, paths, smoke_checks(paths))
    session = good_session()
    session.pop("session_reward")
    write(paths, session)
    second = append_smoke_log(project, paths, smoke_checks(paths))
    assert list(read_smoke_log(project)) == [first, second]
    assert (first.dataset, first.run, first.config) == (
        "dev", "20260131T093000Z-smoke", "configs/atlas/crm_harness.dev.yaml",
    )  # fmt: skip
    assert (first.reward, first.cost_usd, first.passed) == (0.5, 0.75, True)
    assert (second.reward, second.passed) == (None, False)
    assert first.timestamp.endswith("+00:00")
    assert smoke_log(project).name == "smoke_log.jsonl"


@pytest.mark.parametrize(
    "missing", ["execution_mode", "adaptive_summary", "session_reward", "reward_stats"]
)
def test_what_metrics_lack_is_named(paths: BaselinePaths, missing: str) -> None:
    names = ("execution_mode", "adaptive_summary", "session_reward", "reward_stats")
    paths.metrics.write_bytes(orjson.dumps({name: {"sessions": 1} for name in names}))
    assert smoke_metrics_check(paths).passed
    paths.metrics.write_bytes(orjson.dumps({name: None if name == missing else "x" for name in names}))
    check = smoke_metrics_check(paths)
    assert (check.passed, missing in check.description) == (False, True)
    paths.metrics.unlink()
    with pytest.raises(InputError, match="materialize baseline_metrics"):
        smoke_metrics_check(paths)
