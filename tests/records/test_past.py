"""Results files of past runs: whose they are, and what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crm_assets.errors import InputError
from crm_assets.records import PastTurnVerdicts, PastVerdicts
from crm_assets.records.past import PastResult, PastResults
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
    source = PastResults(path)
    assert (source.format, source.lines, source.sha256) == (expected, 1, sha256_of_file(path))
    assert source.conversations == {"c-1"}


def test_the_last_line_of_a_conversation_counts_and_all_are_counted(tmp_path: Path) -> None:
    source = PastResults(
        write(tmp_path / "r.jsonl", result("c-1", status="a"), result("c-2"), result("c-1", status="b"))
    )
    last = source.read("c-1")
    assert last is not None
    assert (last.status, source.lines, len(source.conversations)) == ("b", 3, 2)
    assert source.read("c-3") is None


def test_conversations_that_were_never_begun_are_known(tmp_path: Path) -> None:
    never = result("c-1", {"turn_id": 1, "verification": "pre_execution_error"})
    source = PastResults(write(tmp_path / "r.jsonl", never, result("c-2", {"turn_id": 1})))
    assert [bool(source.turns(name)) for name in ("c-1", "c-2", "c-3")] == [False, True, False]


def test_a_file_that_holds_no_results_is_refused(tmp_path: Path) -> None:
    for text, sentence in (("", "no conversation"), ("{}\n", "line 1"), ("nonsense\n", "not JSON")):
        path = tmp_path / "r.jsonl"
        path.write_text(text)
        with pytest.raises(InputError, match=sentence):
            PastResults(path)


def read(path: Path, document: dict[str, Any]) -> PastResult:
    found = PastResults(write(path / "r.jsonl", document)).read("c-1")
    assert found is not None
    return found


def test_verdicts_keep_what_the_file_says_and_nothing_else(tmp_path: Path) -> None:
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
        turns_executed="many",
    )
    found = read(tmp_path, clbench)
    assert found.verdicts() == PastVerdicts(recorded_overall_success=False, recorded_reward_signal=0.0)
    assert found.turn_verdicts() == (
        PastTurnVerdicts(
            turn_id=1,
            recorded_success=False,
            recorded_tool_success=True,
            recorded_verification="llm_judge",
            recorded_judge_score=0.9,
            recorded_judge_rationale="Close.",
        ),
    )


def test_reward_mode_and_judge_of_our_own_sessions_are_kept(tmp_path: Path) -> None:
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
    found = read(tmp_path, ours)
    assert found.verdicts() == PastVerdicts(
        recorded_overall_success=False,
        recorded_state_match=True,
        recorded_execution_mode="paired",
        recorded_reward=0.7,
        recorded_cost_usd={"student": 0.1},
        recorded_dataset_revision="5e",
    )
    assert found.turn_verdicts()[0].recorded_judge_score == 0.8


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "client_search", "arguments": {"name": "Acme"}}\n</tool_call>',
        '{"name": "client_search", "parameters": {"name": "Acme"}}',
        '```json\n{"tool": "client_search", "arguments": {"name": "Acme"}}\n```',
        '{"name": "client_search", "arguments": {"name": "Acme"}}\n{"name": "fly", "arguments": {}}',
        'Hm.</think>{"function": {"name": "client_search", "arguments": "{\\"name\\": \\"Acme\\"}"}}',
    ],
)
def test_a_call_that_was_left_in_the_text_is_a_call(tmp_path: Path, text: str) -> None:
    past = read(tmp_path, result("c-1", {"turn_id": 1, "tool_name": None, "agent_response_text": text}))
    turn = past.turns[1]
    assert (turn.tool_name, turn.arguments, turn.agent_response_text) == (
        "client_search",
        {"name": "Acme"},
        None,
    )


def test_of_several_calls_in_the_text_the_others_were_asked_for(tmp_path: Path) -> None:
    text = '{"name": "quote_prefixes", "arguments": {}}\n{"name": "fly", "arguments": {}}'
    past = read(tmp_path, result("c-1", {"turn_id": 1, "tool_name": None, "agent_response_text": text}))
    turn = past.turns[1]
    assert [call.tool_name for call in turn.made_calls] == ["quote_prefixes"]
    assert [call.tool_name for call in turn.dropped_calls] == ["fly"]


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        (None, "I would call client_search."),
        (None, '{"name": "Acme"}'),
        ("quote_prefixes", '{"name": "client_search", "arguments": {}}'),
    ],
)
def test_other_text_stays_text(tmp_path: Path, tool: str | None, text: str) -> None:
    past = read(tmp_path, result("c-1", {"turn_id": 1, "tool_name": tool, "agent_response_text": text}))
    assert (past.turns[1].tool_name, past.turns[1].agent_response_text) == (tool, text)
