"""Session records as a run writes them, a few words each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from crm_assets.reporting import Metrics, RunInfo, compute_metrics, markdown
from crm_assets.reporting.readme import baseline_document

Record = dict[str, Any]
Write = Callable[[Sequence[Record]], Path]
Measure = Callable[..., Metrics]

RUN_ID = "20250102T030405Z-abc123"
REVISION = "5e" * 32
RUN = RunInfo(software={"crm-assets": "0.1.0", "postgresql": "18.1"})


def turn(turn_id: int = 1, **changes: Any) -> Record:
    """A turn that succeeded, but for `changes`."""
    record: Record = {
        "turn_id": turn_id,
        "segment_number": 1,
        "user_utterance": f"Please do step {turn_id}.",
        "tool_name": "client_search",
        "arguments": {"name": "Acme"},
        "expected_tool": "client_search",
        "expected_arguments": {"name": "Acme"},
        "expect_success": True,
        "matches_expected_tool": True,
        "matches_expected_arguments": True,
        "argument_mismatch_reason": None,
        "result": [{"client_id": "c-1"}],
        "error": None,
        "error_kind": None,
        "tool_success": True,
        "response_success": None,
        "response_status": "not_applicable",
        "agent_response_text": None,
        "success": True,
        "verification": "exact_match",
        "token_usage": {},
    }
    return {**record, **changes}


def failed_turn(turn_id: int = 1, verification: str = "tool_mismatch", **changes: Any) -> Record:
    """A turn whose tool call was wrong."""
    return turn(
        turn_id,
        **{"success": False, "tool_success": False, "verification": verification, **changes},
    )


def replied(turn_id: int, status: str, **changes: Any) -> Record:
    """A turn whose tool call was right and whose reply was `status`."""
    verdict = {"match": True, "mismatch": False}.get(status)
    base: Record = {"response_status": status, "response_success": verdict}
    if status == "mismatch":
        base |= {"success": False, "verification": "response_mismatch"}
    return turn(turn_id, **{**base, **changes})


def session(
    conversation_id: str = "c-001",
    turns: Sequence[Record] = (),
    *,
    result: Record | None = None,
    meta: Record | None = None,
    **changes: Any,
) -> Record:
    """A session that ran to its end; its verdicts follow from `turns`."""
    turns = list(turns) or [turn()]
    failed = [each["turn_id"] for each in turns if not each["success"]]
    record: Record = {
        "schema_version": 1,
        "conversation_id": conversation_id,
        "task_id": f"{conversation_id}::{RUN_ID}",
        "epoch": 1,
        "status": "succeeded",
        "final_payload": {"final_answer": None, "overall_success": not failed},
        "conversation_result": {
            "schema_version": 1,
            "conversation_id": conversation_id,
            "status": "completed",
            "overall_success": not failed,
            "turns_executed": len(turns),
            "failed_at_turn": failed[0] if failed else None,
            "per_turn_results": turns,
            "reward_signal": (len(turns) - len(failed)) / len(turns),
            "error_message": None,
            "metadata": {"total_turns": len(turns), "duration_seconds": 0.5},
            "per_segment_results": [],
            "chain_success": None,
            "state_match": not failed,
            "state_diff": {},
            **(result or {}),
        },
        "atlas_metadata": {
            "run_id": RUN_ID,
            "dataset": "dev",
            "dataset_revision": REVISION,
            "workflow_category": "Client Management",
            "complexity_level": "simple",
            "execution_mode": "harness",
            "agent": {"name": "replay"},
            "session_reward": None,
            "reward_stats": None,
            "token_usage": {},
            "backend": "postgres",
            "use_llm_judge": False,
            "config_path": None,
            "conversations_path": "data/conversations/dev.jsonl",
            "tasks_path": f"artifacts/baselines/dev/{RUN_ID}/atlas/tasks.jsonl",
            **(meta or {}),
        },
    }
    return {**record, **changes}


def whole_page(metrics: Metrics, revision: Mapping[str, Any] | None = None) -> str:
    """All that README and report say, as Markdown."""
    return markdown.render(baseline_document(metrics, revision or {}))


def unrun(
    conversation_id: str, status: str = "failed", message: str = "connection lost", **meta: Any
) -> Record:
    """A session without a verdict: ended by the infrastructure, or never recorded."""
    inner = {"failed": "infrastructure_error"}.get(status, status)
    verdicts = dict.fromkeys(
        ("overall_success", "failed_at_turn", "reward_signal", "chain_success", "state_match")
    )
    return session(
        conversation_id,
        result={
            **verdicts,
            "status": inner,
            "per_turn_results": [],
            "error_message": message if status == "failed" else None,
        },
        meta=meta,
        status=status,
    )


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write records to a sessions.jsonl."""

    def write_records(records: Sequence[Record]) -> Path:
        path = tmp_path / "sessions.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path

    return write_records


@pytest.fixture
def measure(write: Write) -> Measure:
    """The metrics of records."""

    def measure_records(*records: Record, run: RunInfo = RUN) -> Metrics:
        return compute_metrics(write(records), run=run)

    return measure_records
