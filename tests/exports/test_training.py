"""Sessions as chats, and which part of two attempts is a preference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crm_assets.errors import InputError
from crm_assets.exports.training_attempts import Attempt, TrainingRun
from crm_assets.exports.training_card import read_license
from crm_assets.exports.training_messages import RunChat
from crm_assets.exports.training_rows import preference_of
from crm_assets.records import (
    ConversationResult,
    FinalPayload,
    LoopFacts,
    LoopSession,
    RunHeader,
    SessionLog,
    TurnResult,
)
from crm_assets.records.results import TurnCall
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

ONE, MANY = RunChat("Be brief.", 1), RunChat("Be brief.", 3)


def turn(number: int = 1, **changes: Any) -> TurnResult:
    made = TurnResult(
        turn_id=number,
        segment_number=1,
        user_utterance=f"Step {number}.",
        tool_name="client_search",
        arguments={"name": "Acme"},
        expected_tool="client_search",
        expected_arguments={"name": "Acme"},
        expect_success=True,
        matches_expected_tool=True,
        matches_expected_arguments=True,
        argument_mismatch_reason=None,
        result=[{"client_id": "c-1"}],
        error=None,
        error_kind=None,
        tool_success=True,
        response_success=None,
        response_status="not_applicable",
        agent_response_text="Done.",
        success=True,
        verification="exact_match",
    )
    return replace(made, **changes)


def attempt(*turns: TurnResult, strict: bool = True) -> Attempt:
    result = ConversationResult(
        schema_version=2,
        conversation_id="c-1",
        status="completed",
        overall_success=strict,
        turns_executed=len(turns),
        failed_at_turn=None,
        per_turn_results=turns,
        reward_signal=1.0,
        error_message=None,
        metadata={},
        per_segment_results=(),
        chain_success=None,
        state_match=strict,
        state_diff={},
    )
    session = LoopSession(2, "c-1", "c-1::r", 1, "succeeded", FinalPayload(), result, LoopFacts())
    paths = BaselinePaths.of(Project(Path()), BaselineKey.of("dev", "20260131T093000Z"))
    run = TrainingRun(paths, SessionLog(paths.sessions), RunHeader(), ONE)
    return Attempt(run, 0, session, result, "aa", None)


def test_a_turn_is_asked_called_answered_and_replied_to() -> None:
    (messages,) = ONE.turns((turn(),))
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "client_search", "arguments": {"name": "Acme"}},
    }
    assert messages == [
        {"role": "user", "content": "Step 1."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {
            "role": "tool",
            "content": '{"result":[{"client_id":"c-1"}]}',
            "name": "client_search",
            "tool_call_id": "call_1",
        },
        {"role": "assistant", "content": "Done."},
    ]


def test_what_was_refused_and_what_was_not_called_is_told_as_the_student_was_told() -> None:
    calls = (
        TurnCall("client_search", {}, made=True, writes=False, error="No such client."),
        TurnCall("create_note", "no object", made=False, writes=True),
    )
    (many,) = MANY.turns((turn(calls=calls),))
    assert [message["content"] for message in many if message["role"] == "tool"] == [
        '{"error":"No such client."}',
        '{"error":"Not called: a turn has at most 3 calls."}',
    ]
    assert [call["function"]["arguments"] for call in many[1]["tool_calls"]] == [{}, {}]
    (one,) = ONE.turns((turn(calls=calls),))
    assert len(one[1]["tool_calls"]) == 1  # as if it had asked for no other


def test_silence_is_a_message_and_calls_are_numbered_through_the_session() -> None:
    silent = turn(2, tool_name=None, arguments=None, agent_response_text=None)
    turns = list(ONE.turns((turn(1), silent, turn(3))))
    assert turns[1] == [{"role": "user", "content": "Step 2."}, {"role": "assistant", "content": ""}]
    assert turns[2][1]["tool_calls"][0]["id"] == "call_2"


def test_a_preference_begins_in_the_first_turn_that_differs() -> None:
    better = attempt(turn(1), turn(2), turn(3))
    worse = attempt(turn(1), turn(2, arguments={"name": "Acne"}), turn(3), strict=False)
    row = preference_of(better, worse, "teach")
    assert row is not None
    assert [message["content"] for message in row["prompt"] if message["role"] == "user"] == [
        "Step 1.",
        "Step 2.",
    ]
    assert row["prompt"][0]["role"] == "system" and row["prompt"][-1]["content"] == "Step 2."
    assert row["chosen"][0]["tool_calls"][0]["function"]["arguments"] == {"name": "Acme"}
    assert row["rejected"][0]["tool_calls"][0]["function"]["arguments"] == {"name": "Acne"}
    assert [message["content"] for message in row["chosen"]][-1] == "Done."


def test_ids_that_a_session_made_stand_in_its_own_messages_alone() -> None:
    """Both made the row with another ID, and the user then names it."""

    def session(made: str, reply: str) -> Attempt:
        return attempt(
            turn(1, result={"client_id": made}),
            turn(2, user_utterance=f"Now change {made}.", agent_response_text=reply),
        )

    row = preference_of(session("c-7", "Changed."), session("c-8", "No."), None)
    assert row is not None
    assert [message["content"] for message in row["prompt"]] == ["Be brief.", "Step 1."]
    assert "c-8" not in str(row["chosen"]) and "c-7" not in str(row["rejected"])


def test_an_attempt_that_ended_earlier_differs_in_its_last_turn() -> None:
    row = preference_of(attempt(turn(1), turn(2)), attempt(turn(1)), None)
    assert row is not None
    assert row["prompt"][-1]["content"] == "Step 1."
    assert row["chosen"][: len(row["rejected"])] == row["rejected"]
    assert preference_of(attempt(turn(1)), attempt(turn(1)), None) is None


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("---\nlicense: mit\n---\n# Mine\n", "mit"),
        ("---\npretty_name: Mine\n---\n", None),
        ("# Mine\n\nlicense: mit\n", None),
        ("", None),
    ],
)
def test_a_license_is_what_the_header_states(tmp_path: Path, text: str, stated: str | None) -> None:
    project = Project(tmp_path)
    project.conversations.mkdir(parents=True)
    assert read_license(project, "dev") is None
    (project.conversations / "dev.md").write_text(text)
    assert read_license(project, "dev") == stated


def test_a_header_that_is_no_yaml_is_told(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.conversations.mkdir(parents=True)
    (project.conversations / "dev.md").write_text("---\nlicense: [mit\n---\n")
    with pytest.raises(InputError, match=r"dev\.md is no YAML"):
        read_license(project, "dev")
