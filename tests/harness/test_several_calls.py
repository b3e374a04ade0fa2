"""Turns in which an agent asks for more than one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from crm_assets.harness import AgentSpec, ConversationRunner, ToolCall, make_agent
from crm_assets.harness.judge import TurnJudge
from crm_assets.llm import ModelSpec
from crm_assets.records import ConversationResult, TurnResult
from crm_assets.workspace.files import json_line
from tests.llm.asking import run
from tests.llm.scripted_models import ScriptedModels

from .build import (
    ACME,
    BETA,
    DEAL,
    UNKNOWN,
    Caller,
    Document,
    Harness,
    Rounds,
    call,
    conversation,
    refused,
    turn,
)

CONTENT = {"entity_type": "Client", "entity_id": ACME, "content": "Call back."}
NOTE = turn("add_note", CONTENT)
NO_QUOTE = refused("delete_quote", {"quote_id": UNKNOWN})
ADD = call("add_note", **CONTENT)
OTHER_ADD = call("add_note", **{**CONTENT, "entity_id": BETA})
FIND = call("client_search", name="Acme")
DELETE = call("delete_opportunity", opportunity_id=DEAL)
DELETE_NOTHING = call("delete_opportunity", opportunity_id=UNKNOWN)
NO_TOOL = call("open_the_doors")


def play(harness: Harness, step: Document, calls: Rounds, *, most: int) -> ConversationResult:
    return harness.run(conversation(step), Caller((calls, ""), most_calls=most))


def only(result: ConversationResult) -> TurnResult:
    (entry,) = result.per_turn_results
    return entry


@pytest.mark.parametrize(
    ("calls", "most", "verification", "state"),
    [
        ([(ADD, FIND)], 1, "exact_match", True),
        ([(ADD, NO_TOOL)], 1, "exact_match", True),
        ([(ADD, DELETE)], 1, "further_write", True),
        ([ADD, DELETE], 1, "further_write", True),
        ([(ADD, ADD)], 1, "further_write", True),
        ([(FIND, ADD)], 1, "tool_mismatch", False),
        ([(FIND, ADD)], 8, "exact_match", True),
        ([FIND, ADD], 8, "exact_match", True),
        ([FIND, (NO_TOOL, ADD), FIND], 8, "exact_match", True),
        ([(ADD, DELETE_NOTHING)], 8, "exact_match", True),
        ([(ADD, DELETE)], 8, "further_write", False),
        ([(DELETE, ADD)], 8, "further_write", False),
        ([ADD, ADD], 8, "further_write", False),
        ([(FIND, ADD, DELETE)], 2, "further_write", True),
        ([(FIND, ADD), FIND], 2, "exact_match", True),
        ([FIND, OTHER_ADD], 8, "argument_mismatch", False),
        ([FIND, NO_TOOL], 8, "tool_mismatch", False),
    ],
)
def test_the_expected_call_is_to_be_made_and_nothing_else_to_be_written(
    harness: Harness, calls: Rounds, most: int, verification: str, state: bool
):
    result = play(harness, NOTE, calls, most=most)
    entry = only(result)
    assert (entry.verification, result.state_match) == (verification, state)
    right = verification == "exact_match"
    assert (entry.tool_success, entry.success, result.overall_success) == (right, right, right)
    if verification == "further_write":
        assert (entry.matches_expected_tool, entry.matches_expected_arguments) == (True, True)
        assert "changes data" in str(entry.argument_mismatch_reason)


@pytest.mark.parametrize(
    ("calls", "verification"),
    [
        ([call("delete_quote", quote_id=UNKNOWN), FIND], "expected_failure"),
        ([call("delete_quote", quote_id=UNKNOWN), DELETE], "further_write"),
        ([FIND], "unexpected_success"),
    ],
)
def test_where_a_refusal_is_expected_nothing_may_be_written_either(
    harness: Harness, calls: Sequence[ToolCall], verification: str
):
    assert only(play(harness, NO_QUOTE, calls, most=8)).verification == verification


def test_the_turn_says_which_calls_were_asked_for_and_which_were_made(harness: Harness):
    entry = only(play(harness, NOTE, [(FIND, ADD), (DELETE, NO_TOOL)], most=3))
    assert entry.calls is not None
    assert [(each.tool_name, each.made, each.writes) for each in entry.calls] == [
        ("client_search", True, False),
        ("add_note", True, True),
        ("delete_opportunity", True, True),
        ("open_the_doors", False, False),
    ]
    assert entry.calls[1].result == entry.result
    assert (entry.tool_name, entry.arguments) == (ADD.name, ADD.arguments)
    assert entry.calls[2].arguments == DELETE.arguments
    refusal = only(play(harness, NOTE, [NO_TOOL, ADD], most=3)).calls
    assert refusal is not None
    assert (refusal[0].error, refusal[0].error_kind) == (
        "There is no tool named 'open_the_doors'.",
        "unknown_tool",
    )
    assert only(play(harness, NOTE, ADD, most=3)).calls == (), "one call needs no list"


def test_each_call_has_an_outcome_and_those_that_are_not_made_say_so(harness: Harness):
    agent = Caller(([(FIND, ADD)], ""), most_calls=1)
    harness.run(conversation(NOTE), agent)
    assert [outcome.called for outcome in agent.outcomes] == [True, False]


CLIENT = {"name": "Gamma", "email": "c@gamma.example", "status": "Active"}
NEW = call("create_new_client", **CLIENT)


def test_later_turns_refer_to_the_result_of_the_expected_call(harness: Harness):
    steps = conversation(
        turn("create_new_client", CLIENT),
        turn(
            "add_note",
            {**CONTENT, "entity_id": "{{turn_1.client_id}}"},
            user_utterance="For {{turn_1.client_id}}.",
        ),
    )
    agent = Caller(([FIND, NEW, FIND], ""), (None, ""), most_calls=8)
    result = harness.run(steps, agent)
    made = result.per_turn_results[0].result["client_id"]
    assert result.per_turn_results[1].user_utterance == f"For {made}."
    assert result.per_turn_results[1].expected_arguments["entity_id"] == made


def test_without_the_expected_call_they_refer_to_the_last_that_succeeded(harness: Harness):
    steps = conversation(
        turn("create_new_client", CLIENT), turn("client_search", user_utterance="For {{turn_1.client_id}}.")
    )
    agent = Caller(([call("client_search", name="Beta"), FIND, NO_TOOL], ""), (None, ""), most_calls=8)
    assert agent.heard == []
    harness.run(steps, agent)
    assert agent.heard[1] == f"For {ACME}."


def test_the_tables_show_what_every_call_has_written(harness: Harness):
    result = play(harness, NOTE, [ADD, OTHER_ADD, DELETE], most=8)
    sandbox = result.metadata["sandbox"]
    assert (sandbox["writes"], sandbox["seen"]) == (3, 3)


def recorded(path: Path, *results: ConversationResult, replace: tuple[str, str] = ("", "")) -> Any:
    path.write_bytes(
        b"".join(json_line(result).replace(*(each.encode() for each in replace)) for result in results)
    )
    return make_agent(AgentSpec("recorded", path))


def told(result: ConversationResult) -> list[Any]:
    return [
        (
            (entry.verification, entry.success, entry.tool_name, entry.arguments),
            [(each.tool_name, each.arguments, each.made) for each in entry.calls or ()],
        )
        for entry in result.per_turn_results
    ]


@pytest.mark.parametrize(
    ("calls", "most"),
    [([(FIND, ADD, DELETE)], 2), ([(ADD, DELETE)], 1), ([FIND, ADD], 8), (ADD, 1), (None, 1)],
)
def test_a_recording_is_scored_like_the_run(harness: Harness, tmp_path: Path, calls: Rounds, most: int):
    live = play(harness, NOTE, calls, most=most)
    again = harness.run(conversation(NOTE), recorded(tmp_path / "r.jsonl", live))
    assert told(again) == told(live)
    assert again.state_match == live.state_match


def test_a_recorded_call_names_the_row_that_another_of_its_turn_creates_here(
    harness: Harness, tmp_path: Path
):
    steps = conversation(turn("create_new_client", CLIENT))
    here = only(harness.run(steps, Caller(NEW))).result["client_id"]
    contact = call("create_new_contact", first_name="Ann", last_name="Ray", client_id=here)
    live = harness.run(steps, Caller(([NEW, contact], ""), most_calls=8))
    again = harness.run(steps, recorded(tmp_path / "r.jsonl", live, replace=(here, UNKNOWN)))
    calls = only(again).calls
    assert calls is not None
    assert calls[1].error is None
    assert calls[1].arguments["client_id"] == here


def judged(harness: Harness, models: ScriptedModels, calls: Rounds, *, most: int) -> TurnResult:
    steps = conversation(NOTE)
    judge = TurnJudge(models, ModelSpec(provider="openai", model="judge"), "s-1")
    agent = Caller((calls, ""), most_calls=most)
    runner = ConversationRunner(harness.pool)
    return only(run(runner.run(steps, harness.truth(steps), agent=agent, judge=judge)))


def test_a_judge_is_shown_all_calls(harness: Harness):
    models = ScriptedModels(lambda caller, request: {"goal": 1.0, "process": 1.0})
    entry = judged(harness, models, [FIND, OTHER_ADD], most=8)
    assert entry.verification == "judged_success"
    (request,) = models.requests
    shown = str(request.messages[-1].content)
    assert '"all_calls"' in shown
    assert shown.count('"made": true') == 2


@pytest.mark.parametrize("calls", [(OTHER_ADD, DELETE), (ADD, DELETE)])
def test_a_write_that_was_not_made_is_nothing_that_a_judge_could_accept(
    harness: Harness, calls: tuple[ToolCall, ...]
):
    models = ScriptedModels(lambda caller, request: {"goal": 1.0, "process": 1.0})
    assert judged(harness, models, [calls], most=1).success is False
    assert models.requests == []
