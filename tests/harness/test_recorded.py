from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.database import Databases
from crm_assets.engine import run_harness
from crm_assets.errors import InputError
from crm_assets.harness import Agent, AgentSpec, make_agent
from crm_assets.records import ConversationResult, TokenUsage
from crm_assets.workspace.files import json_line

from .build import (
    ACME,
    DEAL,
    NEW_CLIENT,
    UNKNOWN,
    Caller,
    Document,
    Harness,
    answered,
    call,
    conversation,
    document,
    read_lines,
    refused,
    turn,
    write_dataset,
)

THEN = "aaaaaaaa-0000-4000-8000-00000000000a"
"""The ID that the past run's server gave a row."""

SEARCH = turn("client_search", {"name": "Acme"})

Write = Callable[..., AgentSpec]


@pytest.fixture
def record(tmp_path: Path) -> Write:
    """Writes a past run's file; lines are documents, or bytes as they are."""

    def write(*lines: Document | bytes) -> AgentSpec:
        path = tmp_path / "past.jsonl"
        path.write_bytes(
            b"".join(line if isinstance(line, bytes) else orjson.dumps(line) + b"\n" for line in lines)
        )
        return AgentSpec("recorded", path)

    return write


def past(*turns: Document, conversation_id: str = "c-1", **fields: Any) -> Document:
    """A line as CL-Bench writes it, as far as it is read."""
    return {
        "conversation_id": conversation_id,
        "overall_success": False,
        "metadata": {"agent": {"provider": "openai", "model": "gpt-4.1"}},
        "per_turn_results": [{"turn_id": number, **entry} for number, entry in enumerate(turns, start=1)],
        **fields,
    }


def did(tool: str | None, arguments: Any = None, **fields: Any) -> Document:
    """A turn of such a line."""
    return {"tool_name": tool, "arguments": arguments, "verification": "llm_judge", **fields}


def run(harness: Harness, record: Write, past_line: Document, *turns: Document) -> ConversationResult:
    return harness.run(conversation(*turns), make_agent(record(past_line)))


# --- what was called


def test_recorded_calls_and_replies_are_judged_anew(harness: Harness, record: Write):
    line = past(
        did(
            "client_search", {"criteria": {"name": "Acme"}}, agent_response_text="Found ACME", success=False
        ),
        did("client_search", {"name": "Beta"}, agent_response_text="Found Beta", success=True),
        did("search_clients", {}, success=True),
    )
    result = run(harness, record, line, *([answered(SEARCH, "Found Acme.")] * 3))
    assert [entry.verification for entry in result.per_turn_results] == [
        "exact_match",
        "argument_mismatch",
        "unknown_tool",
    ]
    assert [entry.response_status for entry in result.per_turn_results] == ["match", "mismatch", "unscored"]
    assert [entry.success for entry in result.per_turn_results] == [True, False, False]
    assert result.state_match is True


def test_what_a_past_run_made_is_named_by_its_id_of_today(harness: Harness, record: Write):
    """The past server gave THEN; later calls name it, alone, in lists, in objects and in text."""
    created = {"client_id": THEN, **NEW_CLIENT}
    quote = {"quote_id": UNKNOWN, "opportunity_id": DEAL, "amount": 5}
    line = past(
        did("create_new_client", NEW_CLIENT, result=created),
        did("modify_client", {"client_id": THEN, "updates": {"owner": f"Keeper of {THEN.upper()}"}}),
        did("create_quote", {"opportunity_id": DEAL, "amount": 5, "status": "Draft"}, result=quote),
        did("compare_quotes", {"quote_ids": [UNKNOWN, UNKNOWN]}),
        did("client_search", {"criteria": {"client_id": THEN}}),
    )
    result = run(
        harness,
        record,
        line,
        turn("create_new_client", NEW_CLIENT),
        turn("modify_client", {"client_id": "{{turn_1.client_id}}",
             "owner": "Keeper of {{turn_1.client_id}}"}),
        turn("create_quote", {"opportunity_id": DEAL, "amount": 5, "status": "Draft"}),
        turn("compare_quotes", {"quote_ids": ["{{turn_3.quote_id}}", "{{turn_3.quote_id}}"]}),
        turn("client_search", {"client_id": "{{turn_1.client_id}}"}),
    )  # fmt: skip
    assert [entry.verification for entry in result.per_turn_results] == ["exact_match"] * 5
    here = result.per_turn_results[0].result["client_id"]
    assert here != THEN
    assert result.per_turn_results[1].arguments == {
        "client_id": here,
        "updates": {"owner": f"Keeper of {here}"},
    }
    assert result.state_match is True


def test_a_clone_has_its_id_of_today_too(harness: Harness, record: Write):
    line = past(
        did("clone_opportunity", {"opportunity_id": DEAL}, result={"opportunity_id": THEN}),
        did("delete_opportunity", {"opportunity_id": THEN}),
    )
    result = run(
        harness,
        record,
        line,
        turn("clone_opportunity", {"opportunity_id": DEAL}),
        turn("delete_opportunity", {"opportunity_id": "{{turn_1.opportunity_id}}"}),
    )
    assert result.overall_success is True


def test_ids_of_rows_that_the_past_run_did_not_make_stay(harness: Harness, record: Write):
    """A view returns an ID as well, and a creation that failed then gave none."""
    line = past(
        did("view_opportunity_details", {"opportunity_id": DEAL}, result={"opportunity_id": THEN}),
        did("create_new_client", NEW_CLIENT, result={}),
        did("client_search", {"client_id": THEN}),
    )
    result = run(
        harness,
        record,
        line,
        turn("view_opportunity_details", {"opportunity_id": DEAL}),
        turn("create_new_client", NEW_CLIENT),
        turn("client_search", {"client_id": THEN}),
    )
    assert result.overall_success is True


def test_a_turn_of_a_recorded_conversation_that_is_missing_is_one_without_a_call(
    harness: Harness, record: Write
):
    line = past(did("client_search", {"name": "Acme"}), did(None))
    expected = answered(SEARCH, "Found Acme.")
    result = run(harness, record, line, expected, expected, expected)
    assert [entry.verification for entry in result.per_turn_results] == [
        "exact_match",
        "no_tool_call",
        "no_tool_call",
    ]
    assert [entry.response_status for entry in result.per_turn_results] == ["unscored"] * 3
    assert result.status == "completed"


def test_a_model_that_called_nothing_has_a_verdict(harness: Harness, record: Write):
    result = run(harness, record, past(did(None, agent_response_text="Hm."), did(None)), SEARCH, SEARCH)
    assert (result.status, result.overall_success, result.reward_signal) == ("completed", False, 0.0)


@pytest.mark.parametrize(
    "line",
    [
        past(did("client_search", {}), conversation_id="another"),
        past(),
        past({"verification": "pre_execution_error", "success": False, "error": "Seeding failed."}),
    ],
)
def test_what_the_past_run_never_started_is_not_recorded(harness: Harness, record: Write, line: Document):
    result = run(harness, record, line, SEARCH)
    assert (result.status, result.overall_success, result.reward_signal) == ("not_recorded", None, None)
    assert result.state_match is None
    assert "'c-1'" in str(result.error_message)


def test_tokens_are_kept_by_role_and_what_is_no_count_is_left_out(harness: Harness, record: Write):
    usage = {
        "agent": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14},
        "judge": {"prompt_tokens": 3, "completion_tokens": 2},
        "broken": {"prompt_tokens": "many"},
        "none": None,
    }
    line = past(
        did("client_search", {"name": "Acme"}, token_usage=usage), did("client_search", {"name": "Acme"})
    )
    result = run(harness, record, line, SEARCH, SEARCH)
    first, second = result.per_turn_results
    assert first.token_usage == {"agent": TokenUsage(10, 4, 14), "judge": TokenUsage(3, 2, 5)}
    assert second.token_usage == {}


def test_a_result_says_whose_run_it_was(harness: Harness, record: Write):
    result = run(harness, record, past(did("client_search", {"name": "Acme"})), SEARCH)
    agent = result.metadata["agent"]
    assert {key: agent[key] for key in ("name", "recorded", "provider", "model")} == {
        "name": "recorded",
        "recorded": "past.jsonl",
        "provider": "openai",
        "model": "gpt-4.1",
    }
    assert len(agent["recorded_sha256"]) == 64


@pytest.mark.parametrize("metadata", [None, [], "gpt-4.1", {"agent": "gpt-4.1"}, {"agent": {"model": 4}}])
def test_a_past_run_that_does_not_say_who_it_was_is_used_all_the_same(
    harness: Harness, record: Write, metadata: Any
):
    line = past(did("client_search", {"name": "Acme"}), metadata=metadata)
    result = run(harness, record, line, SEARCH)
    assert result.overall_success is True
    assert result.metadata["agent"]["model"] is None


@pytest.mark.parametrize("times", [1, 2])
def test_arguments_may_be_json_text(harness: Harness, record: Write, times: int):
    arguments: Any = {"name": "Acme"}
    for _ in range(times):
        arguments = orjson.dumps(arguments).decode()
    result = run(harness, record, past(did("client_search", arguments), did("quote_prefixes", "")), SEARCH,
                 turn("quote_prefixes"))  # fmt: skip
    assert result.overall_success is True
    assert result.per_turn_results[0].arguments == {"name": "Acme"}


def test_a_call_that_a_server_left_in_the_text_is_made(harness: Harness, record: Write):
    text = '<tool_call>{"name": "client_search", "arguments": {"name": "Acme"}}</tool_call>'
    result = run(harness, record, past(did(None, agent_response_text=text)), SEARCH)
    assert result.overall_success is True


@pytest.mark.parametrize("arguments", ["Acme", "[1]", '"Acme"', "{", 5])
def test_other_arguments_stay_as_they_are(harness: Harness, record: Write, arguments: Any):
    result = run(harness, record, past(did("client_search", arguments)), SEARCH)
    assert result.overall_success is False
    assert result.per_turn_results[0].arguments == arguments


@pytest.mark.parametrize(
    "line",
    [
        {"conversation_result": None, "final_payload": {"status": "error", "error": "connection lost"}},
        {"conversation_result": None, "error": "connection lost"},
        {"error_message": "connection lost"},
    ],
)
def test_a_session_that_ended_in_an_error_is_not_recorded_and_the_others_are_scored(
    harness: Harness, record: Write, line: Document
):
    good = {"conversation_id": "c-2", "conversation_result": past(did("client_search", {"name": "Acme"}),
            conversation_id="c-2")}  # fmt: skip
    agent = make_agent(record({"conversation_id": "c-1", **line}, good))
    failed, scored = (
        harness.run(conversation(SEARCH, conversation_id=name), agent) for name in ("c-1", "c-2")
    )
    assert (failed.status, failed.metadata["not_recorded"]) == ("not_recorded", "ended_in_error")
    assert "connection lost" in str(failed.error_message)
    assert scored.overall_success is True


# --- the same turns

CLONE = turn("clone_opportunity", {"opportunity_id": DEAL})
DELETE = turn("delete_opportunity", {"opportunity_id": "{{turn_1.opportunity_id}}"})


def asked(turn: Document, **fields: Any) -> Document:
    """The turn's own call, as a results file says what was asked for."""
    return did(
        turn["expected_tool"],
        {**turn["expected_args"]},
        user_utterance=turn["user_utterance"],
        expected_tool=turn["expected_tool"],
        expected_arguments=turn["expected_args"],
        **fields,
    )


def test_what_references_stood_for_is_not_compared(harness: Harness, record: Write):
    said = {**DELETE, "user_utterance": "Delete {{turn_1.opportunity_id}} ({{turn_1.name}}), please."}
    then = {
        "user_utterance": f"Delete {THEN} (Deal),  please.",
        "expected_arguments": {"opportunity_id": THEN},
    }
    line = past(
        asked(CLONE, result={"opportunity_id": THEN}),
        {**asked(DELETE), "arguments": {"opportunity_id": THEN}, **then},
    )
    assert run(harness, record, line, CLONE, said).overall_success is True


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"user_utterance": "Delete something else."}, "the user says something else"),
        (
            {"expected_tool": "view_opportunity_details"},
            "it expects view_opportunity_details, not clone_opp",
        ),
        ({"expected_arguments": {"opportunity_id": UNKNOWN}}, "it expects other arguments"),
        ({"expected_arguments": {}}, "it expects other arguments"),
        ({"expected_arguments": {"opportunity_id": DEAL, "name": "x"}}, "it expects other arguments"),
        ({"turn_id": 3}, "the dataset has 2 turns"),
    ],
)
def test_a_turn_of_another_request_is_not_scored(
    harness: Harness, record: Write, changes: Document, difference: str
):
    line = past({**asked(CLONE), **changes})
    result = run(harness, record, line, CLONE, DELETE)
    assert (result.status, result.metadata["not_recorded"]) == ("not_recorded", "other_turns")
    assert difference in str(result.error_message)


def test_swapped_turns_are_not_scored(harness: Harness, record: Write):
    first, second = turn("client_search", {"name": "Acme"}), turn("quote_prefixes")
    second["user_utterance"] = "Show the prefixes."
    line = past(asked(first), asked(second))
    assert run(harness, record, line, first, second).overall_success is True
    assert run(harness, record, line, second, first).status == "not_recorded"


# --- our own results


@pytest.fixture
def agents() -> list[Agent]:
    """Agents that do right, nothing, and wrong."""
    return [
        make_agent(AgentSpec("replay")),
        make_agent(AgentSpec("noop")),
        Caller(
            (call("create_new_client", **{**NEW_CLIENT, "owner": "Ann"}), "Made it."),
            (call("add_note", entity_type="Client", entity_id=ACME, content="y"), ""),
            (call("quote_prefixes"), "None."),
            None,
            tokens={"student": TokenUsage(7, 2, 9)},
        ),
    ]


def test_scoring_our_own_results_again_gives_the_same_verdicts(
    harness: Harness, record: Write, agents: list[Agent]
):
    """As results, and as the sessions of a baseline."""
    steps = conversation(
        answered(turn("create_new_client", NEW_CLIENT), "Made {{client}}."),
        turn("add_note", {"entity_type": "Client", "entity_id": "{{turn_1.client_id}}", "content": "x"}),
        answered(refused("delete_quote", {"quote_id": UNKNOWN}), "None."),
        turn("modify_client", {"client_id": "{{turn_1.client_id}}", "updates": {"status": "Inactive"}}),
    )
    for agent in agents:
        before = harness.run(steps, agent)
        document = orjson.loads(json_line(before))
        for line in (
            document,
            {"task_id": "c-1::r", "conversation_id": "c-1", "conversation_result": document},
        ):
            after = harness.run(steps, make_agent(record(line)))
            assert _verdicts(after) == _verdicts(before)


def _verdicts(result: ConversationResult) -> object:
    return (
        result.status,
        result.overall_success,
        result.reward_signal,
        result.state_match,
        result.failed_at_turn,
        [
            (
                entry.tool_name,
                entry.verification,
                entry.success,
                entry.tool_success,
                entry.response_status,
                entry.agent_response_text,
                entry.token_usage,
            )
            for entry in result.per_turn_results
        ],
    )


def test_a_results_file_can_be_scored_again(databases: Databases, tmp_path: Path):
    bad = document(SEARCH, conversation_id="bad", seeds={"Client": {"nope": {}}})
    dataset = write_dataset(
        tmp_path / "d.jsonl", [document(turn("create_new_client", NEW_CLIENT), SEARCH), bad]
    )
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    run_harness(dataset, first, databases=databases, agent=AgentSpec("replay"))
    summary = run_harness(dataset, second, databases=databases, agent=AgentSpec("recorded", first))
    assert (summary.succeeded, summary.infrastructure_errors, summary.not_recorded) == (1, 1, 0)
    assert read_lines(second)[0]["state_match"] is True


# --- files that are none


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json\n", "line 2 is not JSON"),
        (b'{"conversation_id": "b", "per_turn\n', "line 2 is not JSON"),
        (b"[]\n", "line 2 is not a JSON object"),
        (b"{}\n", "line 2: conversation_id is missing"),
        (b'{"conversation_id": 5, "per_turn_results": []}\n', "line 2: conversation_id is missing"),
        (b'{"conversation_id": "b"}\n', "line 2: per_turn_results is missing"),
        (b'{"conversation_id": "b", "per_turn_results": {}}\n', "line 2: per_turn_results is missing"),
        (b"\xff\xfe\n", "line 2 is not JSON"),
    ],
)
def test_a_bad_line_is_named(record: Write, line: bytes, reason: str):
    spec = record(past(did("client_search", {})), line)
    with pytest.raises(InputError) as refusal:
        make_agent(spec)
    assert reason in str(refusal.value)
    assert "past.jsonl" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_blank_lines_are_passed_over(harness: Harness, record: Write):
    line = past(did("client_search", {"name": "Acme"}))
    result = harness.run(conversation(SEARCH), make_agent(record(b"\n", line, b"  \n")))
    assert result.overall_success is True


@pytest.mark.parametrize("number", ["1", 1.0, " 1 ", "1.0"])
def test_a_turn_number_may_be_a_text_or_a_float(harness: Harness, record: Write, number: Any):
    line = past({**did("client_search", {"name": "Acme"}), "turn_id": number})
    result = run(harness, record, line, SEARCH)
    assert result.overall_success is True


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"turn_id": "one"}, r"per_turn_results\[1\].turn_id must be a whole number"),
        ({"turn_id": 1.5}, r"per_turn_results\[1\].turn_id must be a whole number"),
        ({"turn_id": True}, r"per_turn_results\[1\].turn_id must be a whole number"),
        ({"turn_id": None}, r"per_turn_results\[1\].turn_id must be a whole number"),
        ({"turn_id": 0}, r"per_turn_results\[1\].turn_id is 0, but turns are numbered from 1"),
        ({"turn_id": "1"}, r"per_turn_results\[1\].turn_id is 1, as that of an earlier entry"),
        ("x", r"per_turn_results\[1\] must be an object"),
        (None, r"per_turn_results\[1\] must be an object"),
    ],
)
def test_a_turn_without_its_number_is_refused_by_line_and_field(record: Write, entry: Any, reason: str):
    line = past(did("client_search", {"name": "Acme"}))
    line["per_turn_results"].append(entry)
    with pytest.raises(InputError, match=rf"past\.jsonl, line 2: {reason}"):
        make_agent(record(past(did("client_search", {}), conversation_id="a"), line))


def test_one_document_over_many_lines_is_one_sentence(record: Write):
    pretty = orjson.dumps(past(did("client_search", {})), option=orjson.OPT_INDENT_2)
    with pytest.raises(InputError, match="is one JSON document, not one a line"):
        make_agent(record(pretty))


def test_a_byte_order_mark_is_no_mistake(harness: Harness, record: Write):
    line = orjson.dumps(past(did("client_search", {"name": "Acme"})))
    result = harness.run(conversation(SEARCH), make_agent(record(b"\xef\xbb\xbf" + line + b"\n")))
    assert result.overall_success is True


def test_a_file_without_a_conversation_is_refused(record: Write):
    with pytest.raises(InputError, match="holds no conversation"):
        make_agent(record(b"\n"))


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path: Path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(InputError, match="Cannot read"):
            make_agent(AgentSpec("recorded", path))


def test_agent_and_file_have_to_fit(tmp_path: Path):
    with pytest.raises(InputError, match="needs the results file"):
        AgentSpec("recorded")
    with pytest.raises(InputError, match="Only the agent 'recorded'"):
        AgentSpec("noop", tmp_path)
    with pytest.raises(InputError, match="no agent 'student'"):
        make_agent(AgentSpec("student"))  # type: ignore[arg-type]
