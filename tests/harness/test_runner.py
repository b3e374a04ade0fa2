from __future__ import annotations

import asyncio
import dataclasses
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import psycopg
import pytest

from crm_assets.conversations import Conversation
from crm_assets.crm import TOOLS, Sandbox, SandboxPool
from crm_assets.database import DatabaseGone
from crm_assets.errors import InfrastructureError
from crm_assets.harness import (
    Action,
    AgentSession,
    AgentSpec,
    ConversationRunner,
    NotRecordedError,
    Outcome,
    ScriptedAgent,
    ToolCall,
    make_agent,
)
from crm_assets.harness.alignment import NotRecorded
from crm_assets.llm import BudgetExhausted
from crm_assets.records import ConversationResult, TokenUsage
from crm_assets.workspace.files import json_line

from .build import (
    ACME,
    BETA,
    DEAL,
    NEW_CLIENT,
    UNKNOWN,
    Caller,
    Harness,
    Script,
    answered,
    call,
    conversation,
    refused,
    turn,
)

REPLAY, NOOP = make_agent(AgentSpec("replay")), make_agent(AgentSpec("noop"))

SEARCH = turn("client_search", {"name": "Acme"})
FIND = call("client_search", name="Acme")
FIND_MORE = call("client_search", criteria={"name": "Acme"}, status="Active")
BAD_STAGE = {"name": "x", "client_id": ACME, "amount": 5, "stage": "Nope"}


def verdicts(result: ConversationResult) -> list[str]:
    return [entry.verification for entry in result.per_turn_results]


# --- what is said of a turn


@pytest.mark.parametrize(
    ("expected", "made", "verification", "matches"),
    [
        (SEARCH, FIND, "exact_match", (True, True)),
        (SEARCH, FIND_MORE, "exact_match", (True, True)),
        (SEARCH, None, "no_tool_call", (False, False)),
        (SEARCH, call("search_clients", name="Acme"), "unknown_tool", (False, False)),
        (SEARCH, call("contact_search", name="Acme"), "tool_mismatch", (False, False)),
        (SEARCH, call("quote_details", quote_id=UNKNOWN), "tool_mismatch", (False, False)),
        (SEARCH, call("client_search", name="Beta"), "argument_mismatch", (True, False)),
        (SEARCH, call("client_search"), "argument_mismatch", (True, False)),
        (SEARCH, ToolCall("client_search", ["Acme"]), "argument_mismatch", (True, False)),
        (SEARCH, ToolCall("client_search", None), "argument_mismatch", (True, False)),
        (SEARCH, call("client_search", name="Acme", kwargs={}), "tool_error", (True, True)),
        (
            turn("view_opportunity_details", {"opportunity_id": DEAL}),
            call("opportunity_details", opportunity_id=DEAL),
            "exact_match",
            (True, True),
        ),
        (
            refused("create_new_opportunity", BAD_STAGE, "stage must be one of"),
            ToolCall("create_new_opportunity", BAD_STAGE),
            "expected_failure",
            (True, True),
        ),
        (
            refused("create_new_opportunity", BAD_STAGE, "Validation error"),
            ToolCall("create_new_opportunity", BAD_STAGE),
            "expected_failure",
            (True, True),
        ),
        (
            refused("create_new_opportunity", BAD_STAGE, "stage must be one of"),
            ToolCall("create_new_opportunity", {**BAD_STAGE, "client_id": UNKNOWN, "stage": "Proposal"}),
            "argument_mismatch",
            (True, False),
        ),
        (
            refused("delete_quote", {"quote_id": UNKNOWN}, "must be greater"),
            call("delete_quote", quote_id=UNKNOWN),
            "wrong_error",
            (True, True),
        ),
        (
            refused("create_new_opportunity", BAD_STAGE),
            ToolCall("create_new_opportunity", {**BAD_STAGE, "stage": "Proposal"}),
            "unexpected_success",
            (True, False),
        ),
        (refused("delete_quote", {"quote_id": UNKNOWN}), FIND, "unexpected_success", (False, False)),
        (
            refused("delete_quote", {"quote_id": UNKNOWN}),
            call("quote_details", quote_id=UNKNOWN),
            "tool_mismatch",
            (False, False),
        ),
        (refused("delete_quote", {"quote_id": UNKNOWN}), None, "no_tool_call", (False, False)),
        (refused("no_such_tool", {"x": 1}), call("no_such_tool", x=1), "expected_failure", (True, True)),
    ],
)  # fmt: skip
def test_the_verdict_of_a_turn(harness: Harness, expected, made, verification, matches):
    result = harness.run(conversation(expected), Caller(made))
    [entry] = result.per_turn_results
    assert entry.verification == verification
    assert (entry.matches_expected_tool, entry.matches_expected_arguments) == matches
    assert entry.success is entry.tool_success is (verification in ("exact_match", "expected_failure"))
    assert (entry.argument_mismatch_reason is None) is matches[1]
    assert entry.tool_name == (made.name if made else None)
    assert entry.arguments == (made.arguments if made else None)


def test_a_result_tells_what_the_tool_returned_or_why_it_refused(harness: Harness):
    result = harness.run(
        conversation(SEARCH, turn("quote_details", {"quote_id": UNKNOWN}), turn("client_search")),
        Caller(FIND, call("quote_details", quote_id=UNKNOWN), None),
    )
    found, lost, silent = result.per_turn_results
    assert [client["client_id"] for client in found.result] == [ACME]
    assert (found.error, found.error_kind) == (None, None)
    assert (lost.result, lost.error, lost.error_kind) == (
        None,
        f"Quote not found with ID '{UNKNOWN}'.",
        "not_found",
    )
    assert (silent.result, silent.error, silent.error_kind) == (None, None, None)


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (call("no_such_tool"), "unknown_tool"),
        (call("client_search", kwargs=1), "validation"),
        (ToolCall("client_search", "Acme"), "validation"),
        (call("create_new_client", name="A", email="A@ACME.example", status="Active"), "conflict"),
    ],
)
def test_every_kind_of_refusal_is_told(harness: Harness, made, kind):
    agent = Caller(made)
    [entry] = harness.run(conversation(SEARCH), agent).per_turn_results
    assert entry.error_kind == kind
    assert agent.outcomes == [Outcome(called=True, error=entry.error)]


def test_an_agent_is_told_what_became_of_its_calls(harness: Harness):
    agent = Caller(FIND, None)
    result = harness.run(conversation(SEARCH, SEARCH), agent)
    assert agent.outcomes == [Outcome(called=True, result=result.per_turn_results[0].result)]


# --- a refusal changes nothing


def test_a_refusal_leaves_seeds_and_earlier_turns_and_later_turns_go_on(harness: Harness):
    steps = conversation(
        turn("create_new_client", NEW_CLIENT),
        refused("create_new_client", NEW_CLIENT, "already exists"),
        turn("quote_details", {"quote_id": UNKNOWN}),
        turn("client_search", {}),
        turn("create_new_contact", {"first_name": "A", "last_name": "B",
             "client_id": "{{turn_1.client_id}}"}),
    )  # fmt: skip
    result = harness.run(steps, REPLAY)
    assert verdicts(result) == [
        "exact_match",
        "expected_failure",
        "tool_error",
        "exact_match",
        "exact_match",
    ]
    names = [client["name"] for client in result.per_turn_results[3].result]
    assert names == ["Acme", "Beta", "Gamma"]
    assert result.state_match is True


def test_every_conversation_starts_from_its_seeds_alone(harness: Harness):
    creates = conversation(turn("create_new_client", NEW_CLIENT))
    for _ in range(2):
        assert harness.run(creates, REPLAY).overall_success is True
    other = conversation(turn("client_search", {}), seeds={"Client": {BETA: {"name": "Only"}}})
    [entry] = harness.run(other, REPLAY).per_turn_results
    assert [client["name"] for client in entry.result] == ["Only"]


# --- replies


@pytest.mark.parametrize(
    ("said", "reference", "fields", "verdict"),
    [
        ("Found Acme.", "Found Acme.", {}, ("match", True)),
        ("  found   ACME!", "Found Acme.", {}, ("match", True)),
        ("Acme it is", "Found Acme.", {"answers": ["Here: Acme", "Acme it is."]}, ("match", True)),
        ("Found Acme.", "Found Acme.", {"requires_judge": True}, ("match", True)),
        ("Found Beta.", "Found Acme.", {}, ("mismatch", False)),
        ("", "Found Acme.", {}, ("mismatch", False)),
        ("Found Acme.", "Found Acme.", {"answers": ["Here: Acme"]}, ("mismatch", False)),
        ("Found Beta.", "Found Acme.", {"requires_judge": True}, ("unscored", None)),
        ("Found it.", f"Found {UNKNOWN}.", {}, ("unscored", None)),
        ("Found it.", f"Found {ACME}.", {}, ("mismatch", False)),
        ("Found it.", "Made at 2025-11-12T01:46:06.450949+00:00.", {}, ("unscored", None)),
        ("Found it.", "Closes on 2025-11-12.", {}, ("mismatch", False)),
        ("Found it.", "Found Acme.", {"answers": ["Acme", f"Acme ({UNKNOWN})"]}, ("unscored", None)),
        (None, "Found Acme.", {}, ("unscored", None)),
    ],
)
def test_the_verdict_of_a_reply(harness: Harness, said, reference, fields, verdict):
    success = verdict[1]
    result = harness.run(conversation(answered(SEARCH, reference, **fields)), Caller((FIND, said)))
    [entry] = result.per_turn_results
    assert (entry.response_status, entry.response_success) == verdict
    assert entry.tool_success is True
    assert entry.success is (success is not False)
    assert entry.verification == ("response_mismatch" if success is False else "exact_match")
    assert entry.agent_response_text == said


def test_where_no_reply_is_expected_none_is_judged(harness: Harness):
    [entry] = harness.run(conversation(SEARCH), Caller((FIND, "whatever"))).per_turn_results
    assert (entry.response_status, entry.response_success) == ("not_applicable", None)
    assert entry.success is True


def test_a_right_reply_does_not_make_up_for_a_wrong_call(harness: Harness):
    [entry] = harness.run(
        conversation(answered(SEARCH, "Found Acme.")), Caller((None, "Found Acme."))
    ).per_turn_results
    assert (entry.response_success, entry.success, entry.verification) == (True, False, "no_tool_call")


def test_a_wrong_reply_to_an_expected_refusal_fails_the_turn(harness: Harness):
    expected = answered(refused("delete_quote", {"quote_id": UNKNOWN}), "There is no such quote.")
    [entry] = harness.run(
        conversation(expected), Caller((call("delete_quote", quote_id=UNKNOWN), "Deleted."))
    ).per_turn_results
    assert (entry.tool_success, entry.success, entry.verification) == (True, False, "response_mismatch")


def test_unscored_replies_are_counted_and_never_averaged_in(harness: Harness):
    result = harness.run(
        conversation(
            answered(SEARCH, "Found Acme."),
            answered(SEARCH, f"Found {UNKNOWN}."),
            answered(SEARCH, "Found Acme."),
            SEARCH,
        ),
        Caller((FIND, "Found Acme"), (FIND, "Found it"), (FIND, "No"), (FIND, "")),
    )
    assert result.metadata["responses_scored"] == 2
    assert result.metadata["response_successes"] == 1
    assert (result.metadata["tool_successes"], result.metadata["successful_turns"]) == (4, 3)


# --- the conversation as a whole


def test_a_conversation_succeeds_when_every_turn_does(harness: Harness):
    result = harness.run(conversation(SEARCH, refused("delete_quote", {"quote_id": UNKNOWN})), REPLAY)
    assert (result.status, result.overall_success, result.failed_at_turn) == ("completed", True, None)
    assert (result.reward_signal, result.turns_executed, result.error_message) == (1.0, 2, None)
    assert result.metadata["expected_failure_turns"] == 1
    assert result.metadata["total_turns"] == 2
    assert result.metadata["agent"] == {"name": "replay"}


def test_the_first_failure_is_told_and_later_turns_still_count(harness: Harness):
    result = harness.run(conversation(SEARCH, SEARCH, SEARCH, SEARCH), Caller(FIND, None, FIND, None))
    assert (result.overall_success, result.failed_at_turn) == (False, 2)
    assert (result.reward_signal, result.turns_executed) == (0.5, 4)


def test_the_agent_that_does_nothing_scores_nothing(harness: Harness):
    result = harness.run(
        conversation(
            answered(SEARCH, "Found Acme."),
            turn("create_new_client", NEW_CLIENT),
            refused("delete_quote", {"quote_id": UNKNOWN}),
        ),
        NOOP,
    )
    assert (result.reward_signal, result.overall_success, result.failed_at_turn) == (0.0, False, 1)
    assert verdicts(result) == ["no_tool_call"] * 3
    assert result.per_turn_results[0].response_success is False
    assert result.state_match is False


def test_a_conversation_without_segments_is_one_and_no_chain(harness: Harness):
    result = harness.run(conversation(SEARCH, SEARCH), REPLAY)
    assert result.chain_success is None
    [segment] = result.per_segment_results
    assert (segment.segment_number, segment.start_turn, segment.end_turn) == (1, 1, 2)


def test_segments_are_judged_on_their_own_and_a_chain_needs_all_of_them(harness: Harness):
    chain = conversation(
        SEARCH,
        SEARCH,
        refused("delete_quote", {"quote_id": UNKNOWN}),
        SEARCH,
        SEARCH,
        chain_id="CHAIN-1",
        segment_boundaries=[2, 3, 5],
        cumulative_context={
            "segment_summaries": [
                {"segment_number": 1, "expected_outcome": "success"},
                {"segment_number": 2, "expected_outcome": "failure"},
            ]
        },
    )
    result = harness.run(chain, Caller(FIND, None, call("delete_quote", quote_id=UNKNOWN), FIND, None))
    first, second, third = result.per_segment_results
    assert (first.start_turn, first.end_turn, first.turn_ids) == (1, 2, (1, 2))
    assert (first.success, first.actual_outcome, first.failed_at_turn) == (False, "failure", 2)
    assert (first.turns_attempted, first.successful_turns, first.expected_failure) == (2, 1, False)
    # The refusal that was foreseen is the segment's success.
    assert (second.success, second.failed_at_turn) == (True, None)
    assert (second.expected_failure, second.expected_outcome) == (True, "failure")
    assert (third.success, third.failed_at_turn, third.expected_outcome) == (False, 5, "success")
    assert result.chain_success is False
    assert [entry.segment_number for entry in result.per_turn_results] == [1, 1, 2, 3, 3]
    assert result.metadata["chain_id"] == "CHAIN-1"
    assert harness.run(chain, REPLAY).chain_success is True


# --- the state


def test_the_state_is_judged_apart_from_the_turns(harness: Harness):
    """A wrong call can leave the right state, and right calls with one too many the wrong one."""
    notes = {"entity_type": "Client", "entity_id": ACME, "content": "Call back"}
    created = conversation(turn("add_note", notes), SEARCH)
    roundabout = harness.run(created, Caller(FIND, ToolCall("add_note", notes)))
    assert (roundabout.overall_success, roundabout.state_match, roundabout.state_diff) == (False, True, {})
    twice = harness.run(created, Caller(ToolCall("add_note", notes), ToolCall("add_note", notes)))
    assert twice.state_match is False
    assert set(twice.state_diff) == {"notes"}
    assert [row["content"] for row in twice.state_diff["notes"]["unexpected"]] == ["Call back"]
    assert twice.state_diff["notes"]["missing"] == twice.state_diff["notes"]["changed"] == []


def test_arguments_that_nobody_asked_for_are_no_strict_success(harness: Harness):
    """An extra field leaves the call an exact match, and another state."""
    create = conversation(turn("create_new_client", NEW_CLIENT))
    result = harness.run(create, Caller(ToolCall("create_new_client", {**NEW_CLIENT, "industry": "Toys"})))
    assert verdicts(result) == ["exact_match"]
    assert (result.turns_right, result.state_match, result.overall_success) == (True, False, False)
    right = harness.run(create, REPLAY)
    assert (right.turns_right, right.state_match, right.overall_success) == (True, True, True)


@pytest.mark.parametrize("agent", [NOOP, REPLAY])
def test_the_floor_is_what_an_agent_that_calls_nothing_reaches(harness: Harness, agent: ScriptedAgent):
    for steps, floor in (
        (conversation(SEARCH), True),
        (conversation(refused("create_new_opportunity", BAD_STAGE, "stage must be one of")), True),
        (conversation(turn("create_new_client", NEW_CLIENT), SEARCH), False),
    ):
        result = harness.run(steps, agent)
        assert result.noop_state_match is floor
        if agent is NOOP:
            assert result.state_match is floor


def test_copies_under_other_ids_have_one_work_hash(harness: Harness):
    first, other = conversation(SEARCH), conversation(SEARCH, SEARCH)
    copy = first.model_copy(update={"conversation_id": "copy", "workflow_category": "Another"})
    hashes = [harness.run(steps, NOOP).work_hash for steps in (first, copy, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_id_that_the_agent_chose_itself_does_not_matter_to_the_state(harness: Harness):
    create = turn("create_new_client", {**NEW_CLIENT, "client_id": UNKNOWN})
    result = harness.run(conversation(create), Caller(ToolCall("create_new_client", NEW_CLIENT)))
    assert verdicts(result) == ["argument_mismatch"]
    assert result.state_match is True


def test_a_difference_names_the_fields_that_differ(harness: Harness):
    wanted = turn("modify_opportunity", {"opportunity_id": DEAL, "updates": {"stage": "Negotiation"}})
    result = harness.run(
        conversation(wanted),
        Caller(call("modify_opportunity", opportunity_id=DEAL, stage="Qualification", owner="Ann")),
    )
    [change] = result.state_diff["opportunities"]["changed"]
    assert change == {
        "id": DEAL,
        "fields": {
            "stage": {"expected": "Negotiation", "actual": "Qualification"},
            "owner": {"expected": None, "actual": "Ann"},
        },
    }


def test_what_is_said_of_a_row_that_is_gone_does_not_spoil_the_state(harness: Harness):
    steps = conversation(
        turn("create_quote", {"opportunity_id": DEAL, "amount": 5, "status": "Draft"}),
        turn("add_note", {"entity_type": "Quote", "entity_id": "{{turn_1.quote_id}}", "content": "x"}),
        turn("delete_quote", {"quote_id": "{{turn_1.quote_id}}"}),
    )
    result = harness.run(steps, REPLAY)
    assert result.overall_success is True
    assert (result.state_match, result.state_diff) == (True, {})


# --- what the user says


def test_references_in_what_is_said_are_filled_from_this_run(harness: Harness):
    steps = conversation(
        turn("create_new_client", NEW_CLIENT),
        turn("client_search", {"client_id": "{{turn_1.client_id}}"},
             user_utterance="Show {{turn_1.name}} ({{ turn_1.client_id }})."),
    )  # fmt: skip
    agent = Caller(call("create_new_client", **{**NEW_CLIENT, "name": "Own Name"}), None)
    result = harness.run(steps, agent)
    identifier = result.per_turn_results[0].result["client_id"]
    assert agent.heard[1] == f"Show Own Name ({identifier})."
    assert result.per_turn_results[1].user_utterance == agent.heard[1]
    assert result.per_turn_results[1].expected_arguments == {"client_id": identifier}


def test_where_this_run_has_nothing_only_the_id_of_a_seed_row_is_said(harness: Harness):
    steps = conversation(
        SEARCH,
        turn("create_new_client", {**NEW_CLIENT, "owner": "Secret Owner"}),
        turn("client_search", {}, user_utterance="A {{turn_1.client_id}} {{turn_1.name}} {{turn_1.email}}"),
        turn("client_search", {}, user_utterance="B {{turn_2.client_id}} {{turn_2.owner}} {{ turn_2.x }}"),
    )
    agent = Caller(None, call("create_new_client", name="Broken"), None, None)
    harness.run(steps, agent)
    assert agent.heard[2] == f"A {ACME} [no name from turn 1] [no email from turn 1]"
    assert agent.heard[3] == "B [no client_id from turn 2] [no owner from turn 2] [no x from turn 2]"


def test_values_of_every_kind_can_be_said_or_are_missing(harness: Harness):
    steps = conversation(
        turn("company_search", {}),
        turn("company_search", {}, user_utterance="Call {{turn_1.contacts}}"),
        seeds={"Company": {ACME: {"name": "C", "type": "Vendor", "contacts": ["Bob", "Eve"]}}},
    )
    for agent, heard in (
        (Caller(call("company_search"), None), 'Call ["Bob","Eve"]'),
        (Caller(None, None), "Call [no contacts from turn 1]"),
    ):
        harness.run(steps, agent)
        assert agent.heard[1] == heard


def test_text_in_the_crm_that_looks_like_a_reference_is_said_as_it_is(harness: Harness):
    steps = conversation(
        turn("add_note", {"entity_type": "Client", "entity_id": ACME, "content": "{{turn_9.name}}"}),
        turn("client_search", {}, user_utterance="The note says {{turn_1.content}}"),
    )
    agent = Caller(call("add_note", entity_type="Client", entity_id=ACME, content="{{turn_9.name}}"), None)
    harness.run(steps, agent)
    assert agent.heard[1] == "The note says {{turn_9.name}}"


def test_placeholders_that_no_turn_can_fill_stay_as_they_are(harness: Harness):
    agent = Caller(None)
    harness.run(conversation(turn("client_search", {}, user_utterance="{{name}} in {stage}")), agent)
    assert agent.heard == ["{{name}} in {stage}"]


def test_expected_arguments_refer_to_this_run_and_else_to_the_ground_truth(harness: Harness):
    steps = conversation(
        turn("create_new_client", NEW_CLIENT),
        turn("client_search", {"name": "{{turn_1.name}}", "owner": "{{turn_1.owner}}"}),
    )
    made = harness.run(steps, Caller(call("create_new_client", **{**NEW_CLIENT, "name": "Own"}), None))
    assert made.per_turn_results[1].expected_arguments["name"] == "Own"
    not_made = harness.run(steps, Caller(None, call("client_search", name="Gamma")))
    assert not_made.per_turn_results[1].expected_arguments["name"] == "Gamma"


# --- nothing of the ground truth reaches an agent that is not scripted

CANARY = "canary"


def _with_canaries() -> Conversation:
    def planted(place: str) -> str:
        return f"{CANARY} {place}"

    return conversation(
        answered(
            turn("create_new_client", {**NEW_CLIENT, "owner": planted("arguments")},
                 failure_category=planted("category")),
            planted("reply"), answers=[planted("answer")], evaluation=planted("evaluation"),
        ),
        refused("create_quote", {"opportunity_id": DEAL, "amount": 5, "status": "Draft",
                "name": planted("arguments")}, planted("error")),
        turn("client_search", {"owner": "{{turn_1.owner}}"},
             user_utterance="Whose is it? {{turn_1.owner}} {{turn_2.name}} {{turn_1.client_id}}"),
        {**refused(f"{CANARY}_tool", {}), "user_utterance": "And the last one?"},
        conversation_id="plain-id",
        workflow_category=planted("workflow"),
        complexity_level=planted("complexity"),
        success_criteria=planted("criteria"),
        expected_outcome=planted("outcome"),
        chain_id=planted("chain"),
        segment_boundaries=[2, 4],
        final_expected_state={CANARY: planted("state")},
        cumulative_context={CANARY: planted("context"), "segment_summaries": [
            {"segment_number": 1, "expected_outcome": planted("segment")}]},
        initial_entities={"seed_data": {"Client": {ACME: {"name": "Acme"}},
                          "Opportunity": {DEAL: {"name": "Deal", "client_id": ACME, "amount": 9}}},
                          CANARY: planted("entities")},
    )  # fmt: skip


class _Witness(Caller):
    """Does nothing, or calls like the ground truth does without its words; writes down all it is given."""

    def __init__(self, *steps: Any) -> None:
        super().__init__(*steps)
        self.given: list[object] = []

    def begin(self, *arguments: Any, **named: Any) -> AgentSession:
        self.given.append((arguments, named))
        session = super().begin(*arguments, **named)
        witness = self

        class Session(AgentSession):
            async def act(self, *arguments: Any, **named: Any) -> Action:
                witness.given.append((arguments, named))
                return await session.act(*arguments, **named)

            async def proceed(self, *arguments: Any, **named: Any) -> Action:
                (outcomes,) = arguments
                witness.given.append((tuple(outcomes), named))
                return await session.proceed(*arguments, **named)

        return Session()


@pytest.mark.parametrize(
    "steps",
    [
        (None, None, None, None),
        (
            ToolCall("create_new_client", NEW_CLIENT),
            call("create_quote", opportunity_id=DEAL, amount=0, status="Draft"),
            call("client_search"),
            call("no_such_tool"),
        ),
        (
            call("create_new_client", name=""),
            call("create_quote", opportunity_id=DEAL, amount=5, status="Draft"),
            call("client_search", owner="Ann"),
            call("quote_prefixes"),
        ),
    ],
)
def test_no_ground_truth_reaches_an_agent(harness: Harness, steps):
    witness = _Witness(*steps)
    secret = _with_canaries()
    result = harness.run(secret, witness)
    assert result.status == "completed"
    assert len(witness.given) == 1 + len(secret.turns) + sum(step is not None for step in steps)
    told = repr([_open(entry) for entry in witness.given])
    assert CANARY not in told
    assert "{{" not in told
    # The canaries are where they should be: in the result, which is not for the agent.
    assert CANARY in repr(result)


def _open(given: object) -> object:
    """What is inside of what was given, as far as text can show it."""
    arguments, named = given  # type: ignore[misc]
    for entry in (*arguments, *named.values()):
        assert isinstance(entry, (str, Outcome, bool)), f"an agent was given a {type(entry).__name__}"
    return [dataclasses.asdict(entry) if isinstance(entry, Outcome) else entry for entry in arguments]


def test_only_scripted_agents_are_given_the_conversation(harness: Harness):
    given: list[Conversation] = []

    def write(conversation: Conversation) -> AgentSession:
        given.append(conversation)
        return Caller(FIND).begin("")

    steps = conversation(SEARCH)
    harness.run(steps, Script(write))
    assert given == [steps]
    with pytest.raises(TypeError):
        Script(write).begin("c-1")


# --- what is not the agent's fault


def _has_no_verdict(result: ConversationResult, status: str) -> bool:
    return (
        result.status == status
        and result.overall_success is None
        and result.reward_signal is None
        and result.state_match is None
        and result.chain_success is None
        and result.failed_at_turn is None
        and result.per_turn_results == result.per_segment_results == ()
        and bool(result.error_message)
    )


def test_seeds_that_cannot_be_made_valid_are_no_failure_of_the_agent(harness: Harness):
    result = harness.run(conversation(SEARCH, seeds={"Client": {"nope": {"name": "x"}}}), REPLAY)
    assert _has_no_verdict(result, "infrastructure_error")
    assert "'nope'" in str(result.error_message)


def test_a_script_that_is_not_there_is_no_failure_of_the_agent(harness: Harness):
    def write(conversation: Conversation) -> AgentSession:
        raise NotRecordedError(NotRecorded("not_started", "Nothing there."))

    result = harness.run(conversation(SEARCH), Script(write))
    assert _has_no_verdict(result, "not_recorded")
    assert result.error_message == "Nothing there."


class _Severed(AgentSession):
    """Makes a call, but the sandbox's connection is cut at a moment of its choice."""

    def __init__(self, cut: Any, moment: str) -> None:
        self._cut = cut
        self._moment = moment

    async def act(self, utterance: str) -> Action:
        if self._moment == "act":
            self._cut()
        return Action((FIND,))

    async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
        if self._moment == "reply":
            self._cut()
        return Action(reply="")


@pytest.mark.parametrize("moment", ["act", "reply"])
def test_a_lost_database_is_no_failure_of_the_agent_and_the_next_conversation_runs(
    sandbox_conninfo: str, harness: Harness, moment: str
):
    """The connection is lost before a call, and before the end state is read."""
    steps = conversation(SEARCH)
    truth = harness.truth(steps)
    with SandboxPool(sandbox_conninfo) as pool:
        with pool.lease() as sandbox:
            backend = sandbox.backend_pid

        def cut() -> None:
            with psycopg.connect(sandbox_conninfo, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))

        runner = ConversationRunner(pool)
        severed = Script(lambda _: _Severed(cut, moment))
        with pytest.raises(DatabaseGone):
            asyncio.run(runner.run(steps, truth, agent=severed))
        assert pool.discarded == 1
        after = asyncio.run(runner.run(steps, truth, agent=REPLAY))
        assert after.overall_success is True


def test_a_database_that_cannot_be_reached_is_no_failure_of_the_agent(harness: Harness):
    with SandboxPool("host=127.0.0.1 port=1 connect_timeout=2") as pool:
        steps = conversation(SEARCH)
        runner = ConversationRunner(pool)
        with pytest.raises(DatabaseGone, match="doctor"):
            asyncio.run(runner.run(steps, harness.truth(steps), agent=REPLAY))


def test_a_ground_truth_that_could_not_be_computed_is_no_failure_of_the_agent(harness: Harness):
    result = harness.run(conversation(SEARCH), REPLAY, InfrastructureError("The disk is gone."))
    assert _has_no_verdict(result, "infrastructure_error")
    assert result.error_message == "The disk is gone."


def test_a_spent_budget_is_no_failure_of_the_agent_nor_of_the_infrastructure(harness: Harness):
    class Spent(AgentSession):
        async def act(self, utterance: str) -> Action:
            raise BudgetExhausted("The budget of 1 dollar is spent.")

        async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
            raise AssertionError("not reached")

    result = harness.run(conversation(SEARCH), Script(lambda _: Spent()))
    assert _has_no_verdict(result, "not_run")
    assert result.error_message == "The budget of 1 dollar is spent."


def test_each_run_has_its_own_agent(harness: Harness):
    steps = conversation(SEARCH)
    truth = harness.truth(steps)
    runner = ConversationRunner(harness.pool)
    other = asyncio.run(runner.run(steps, truth, agent=Caller(FIND)))
    assert (other.overall_success, other.metadata["agent"]) == (True, {"name": "caller"})
    own = asyncio.run(runner.run(steps, truth, agent=NOOP))
    assert (own.overall_success, own.metadata["agent"]) == (False, {"name": "noop"})


def test_a_bug_in_an_agent_is_shown_and_the_sandbox_comes_back_clean(harness: Harness):
    class Broken(AgentSession):
        async def act(self, utterance: str) -> Action:
            raise ZeroDivisionError

        async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
            raise AssertionError("not reached")

    discarded = harness.pool.discarded
    with pytest.raises(ZeroDivisionError):
        harness.run(conversation(SEARCH), Script(lambda _: Broken()))
    assert harness.pool.discarded == discarded
    assert harness.run(conversation(SEARCH), REPLAY).overall_success is True


def test_problems_of_the_ground_truth_are_told_with_the_result(harness: Harness):
    result = harness.run(conversation(refused("client_search", {})), REPLAY)
    assert result.metadata["ground_truth_problems"] == [
        {"turn_id": 1, "reason": "Succeeded, though it is expected to fail."}
    ]


# --- the line that is written


def test_tokens_are_kept_by_turn_and_role(harness: Harness):
    tokens = {"student": TokenUsage(10, 5, 15), "judge": TokenUsage(1, 1, 2)}
    result = harness.run(conversation(SEARCH, SEARCH), Caller(FIND, FIND, tokens=tokens))
    assert [entry.token_usage for entry in result.per_turn_results] == [tokens, tokens]


def test_the_line_has_the_fields_that_readers_rely_on(harness: Harness):
    line = json_line(harness.run(conversation(SEARCH), REPLAY))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    written = orjson.loads(line)
    assert set(written) == {
        "schema_version", "conversation_id", "status", "overall_success", "turns_executed",
        "failed_at_turn", "per_turn_results", "reward_signal", "error_message", "metadata",
        "per_segment_results", "chain_success", "state_match", "state_diff", "turns_right",
        "noop_state_match", "work_hash",
    }  # fmt: skip
    assert written["schema_version"] == 2
    assert set(written["per_turn_results"][0]) == {
        "turn_id", "segment_number", "user_utterance", "tool_name", "arguments", "expected_tool",
        "expected_arguments", "expect_success", "matches_expected_tool", "matches_expected_arguments",
        "argument_mismatch_reason", "result", "error", "error_kind", "tool_success", "response_success",
        "response_status", "agent_response_text", "success", "verification", "token_usage", "judge",
        "ended_by", "calls",
    }  # fmt: skip
    assert {"workflow_category", "complexity_level", "chain_id", "agent", "total_turns",
            "expected_failure_turns", "duration_seconds"} <= set(written["metadata"])  # fmt: skip


def test_a_distant_database_gives_the_same_result_as_a_near_one(harness: Harness):
    steps = conversation(SEARCH, turn("create_new_client", NEW_CLIENT), refused("client_search", {"x": 1}))
    truth = harness.truth(steps)

    def run(*, is_local: bool) -> Mapping[str, Any]:
        runner = ConversationRunner(harness.pool, database_is_local=is_local)
        result = dataclasses.asdict(asyncio.run(runner.run(steps, truth, agent=REPLAY)))
        assert math.isfinite(result["metadata"].pop("duration_seconds"))
        for entry in result["per_turn_results"]:
            entry["result"] = _without_times(entry["result"])
        return result

    assert run(is_local=True) == run(is_local=False)


def _without_times(value: Any) -> Any:
    times = {name for tool in TOOLS.values() for name in tool.entity.times}
    if isinstance(value, list):
        return [_without_times(entry) for entry in value]
    if isinstance(value, dict):
        return {name: entry for name, entry in value.items() if name not in times}
    return value


def test_a_sandbox_is_opened_without_holding_up_other_sessions(sandbox_conninfo: str, harness: Harness):
    opened_by: list[threading.Thread] = []

    class Watched(SandboxPool):
        def acquire(self) -> Sandbox:
            opened_by.append(threading.current_thread())
            return super().acquire()

    with Watched(sandbox_conninfo) as pool:
        for _ in range(2):
            Harness(pool, harness.store).run(conversation(SEARCH), Caller(FIND))
    assert len(opened_by) == 1
    assert threading.main_thread() not in opened_by
