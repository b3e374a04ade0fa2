"""Results files of past runs: whose they are, and what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crm_assets.errors import InputError
from crm_assets.imports import ResultsFile
from crm_assets.imports.source import recorded_verdicts
from crm_assets.workspace.files import sha256_of_file


def result(name: str, *turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"conversation_id": name, "overall_success": False, "per_turn_results": list(turns), **more}


def write(path: Path, *documents: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


@pytest.mark.parametrize(
    ("more", "wrapped", "expected"),
    [
        ({}, False, "clbench"),
        ({"schema_version": 1}, False, "crm_assets_results"),
        ({}, True, "crm_assets_sessions"),
    ],
)
def test_the_three_formats_are_told_apart(
    tmp_path: Path, more: dict[str, Any], wrapped: bool, expected: str
) -> None:
    document = result("c-1", {"turn_id": 1, "tool_name": "client_search"}, **more)
    path = write(tmp_path / "r.jsonl", {"conversation_result": document} if wrapped else document)
    source = ResultsFile(path)
    assert (source.format, source.lines, source.sha256) == (expected, 1, sha256_of_file(path))
    assert source.conversations == {"c-1"}


def test_the_last_line_of_a_conversation_counts_and_all_are_counted(tmp_path: Path) -> None:
    source = ResultsFile(
        write(tmp_path / "r.jsonl", result("c-1", at=1), result("c-2"), result("c-1", at=2))
    )
    line = source.line("c-1")
    assert line is not None
    assert (line["at"], source.lines, len(source.conversations)) == (2, 3, 2)
    assert source.line("c-3") is None


def test_conversations_that_were_never_begun_are_known(tmp_path: Path) -> None:
    never = result("c-1", {"turn_id": 1, "verification": "pre_execution_error"})
    source = ResultsFile(write(tmp_path / "r.jsonl", never, result("c-2", {"turn_id": 1})))
    assert (source.was_run("c-1"), source.was_run("c-2"), source.was_run("c-3")) == (False, True, False)


def test_a_file_that_holds_no_results_is_refused(tmp_path: Path) -> None:
    for text, sentence in (("", "no conversation"), ("{}\n", "line 1"), ("nonsense\n", "not JSON")):
        path = tmp_path / "r.jsonl"
        path.write_text(text)
        with pytest.raises(InputError, match=sentence):
            ResultsFile(path)


def test_verdicts_keep_what_the_file_says_and_nothing_else() -> None:
    clbench = result(
        "c-1",
        {
            "turn_id": 1,
            "success": False,
            "tool_success": True,
            "verification": "llm_judge",
            "judge_score": 0.9,
            "judge_rationale": "Close.",
            "expected_arguments": {"name": "tech"},
        },
        reward_signal=0.0,
    )
    assert recorded_verdicts(clbench) == {
        "session": {"recorded_overall_success": False, "recorded_reward_signal": 0.0},
        "turns": [
            {
                "turn_id": 1,
                "recorded_success": False,
                "recorded_tool_success": True,
                "recorded_verification": "llm_judge",
                "recorded_judge_score": 0.9,
                "recorded_judge_rationale": "Close.",
            }
        ],
    }


def test_reward_mode_and_judge_of_our_own_sessions_are_kept() -> None:
    turn = {"turn_id": 1, "success": True, "judge": {"call": {"score": 0.8, "rationale": "Fine."}}}
    ours = {
        "conversation_result": result("c-1", turn, state_match=True),
        "atlas_metadata": {
            "execution_mode": "paired",
            "session_reward": {"score": 0.7},
            "cost_usd": {"student": 0.1},
            "dataset_revision": "5e",
        },
    }
    verdicts = recorded_verdicts(ours)
    assert verdicts["session"] == {
        "recorded_overall_success": False,
        "recorded_state_match": True,
        "recorded_execution_mode": "paired",
        "recorded_reward": 0.7,
        "recorded_cost_usd": {"student": 0.1},
        "recorded_dataset_revision": "5e",
    }
    assert verdicts["turns"][0]["recorded_judge_score"] == 0.8
