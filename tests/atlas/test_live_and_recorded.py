"""The same replies of a model score the same live and as a recording, however malformed they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.atlas.student import Student
from crm_assets.crm import SandboxPool
from crm_assets.harness import AgentSpec, ConversationRunner, GroundTruthStore, make_agent
from crm_assets.records import ConversationResult
from crm_assets.workspace.files import json_line
from tests.atlas.configs import config
from tests.harness.build import ACME, DEAL, Harness, answered, conversation, turn
from tests.llm.asking import spec_of, with_client
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer, broken, calls, text

NOTE = {"entity_type": "Client", "entity_id": ACME, "content": "Call back."}
RIGHT = orjson.dumps(NOTE).decode()
DELETE = ("delete_opportunity", orjson.dumps({"opportunity_id": DEAL}).decode())
FIND = ("client_search", "{}")


def encoded(value: object) -> str:
    return orjson.dumps(value).decode()


def written(**call: Any) -> Scripted:
    """A call in the reply's text."""
    return text(orjson.dumps(call).decode())


def cut(answer: Scripted) -> Scripted:
    """The answer, cut off at the most tokens allowed."""
    (choice,) = answer.body["choices"]
    return broken({**answer.body, "choices": [{**choice, "finish_reason": "length"}]})


REFUSAL = broken(
    {
        "choices": [
            {"message": {"content": None, "refusal": "I can't help with that."}, "finish_reason": "stop"}
        ]
    }
)

ANSWERS: dict[str, tuple[Scripted, str]] = {
    "right": (calls(("add_note", RIGHT)), "exact_match"),
    "encoded twice": (calls(("add_note", encoded(RIGHT))), "exact_match"),
    "arguments not encoded": (calls(("add_note", NOTE)), "exact_match"),  # type: ignore[arg-type]
    "unknown tool": (calls(("do_add_note", RIGHT)), "unknown_tool"),
    "unknown tool and no JSON": (calls(("do_add_note", '{"na')), "unknown_tool"),
    "a name that no provider takes": (calls(("add a note!", RIGHT)), "unknown_tool"),
    "empty name": (calls(("", RIGHT)), "unknown_tool"),
    "no name": (calls((None, RIGHT)), "unknown_tool"),  # type: ignore[arg-type]
    "no JSON": (calls(("add_note", '{"entity_type": "Cli')), "argument_mismatch"),
    "a list": (calls(("add_note", f"[{RIGHT}]")), "argument_mismatch"),
    "a list, not encoded": (calls(("add_note", [NOTE])), "argument_mismatch"),  # type: ignore[arg-type]
    "a number": (calls(("add_note", "7")), "argument_mismatch"),
    "encoded three times": (calls(("add_note", encoded(encoded(RIGHT)))), "argument_mismatch"),
    "blank arguments": (calls(("add_note", " ")), "argument_mismatch"),
    "no arguments": (calls(("add_note", None)), "argument_mismatch"),  # type: ignore[arg-type]
    "another tool": (calls(FIND), "tool_mismatch"),
    "words": (text("Which note do you mean?"), "no_tool_call"),
    "a call in words": (written(tool="add_note", arguments=NOTE), "exact_match"),
    "a call in words with text as arguments": (written(name="add_note", arguments=RIGHT), "exact_match"),
    "a call in words encoded twice": (
        written(name="add_note", arguments=encoded(RIGHT)), "exact_match"),
    "a call in words of no tool": (written(tool="do_add_note", arguments=NOTE), "unknown_tool"),
    "a call in words with a list": (written(tool="add_note", arguments=[NOTE]), "argument_mismatch"),
    "a call in words that is no JSON": (text('{"tool": "add_note", "arguments": {"entity'), "no_tool_call"),
    "a tagged call": (
        text(f'<tool_call>{{"name": "add_note", "arguments": {RIGHT}}}</tool_call>'), "exact_match"),
    "a tagged call that is no JSON": (text("<tool_call>add_note(Acme)</tool_call>"), "no_tool_call"),
    "a read, too": (calls(("add_note", RIGHT), FIND), "exact_match"),
    "a write, too": (calls(("add_note", RIGHT), DELETE), "further_write"),
    "an unknown tool, too": (calls(("add_note", RIGHT), ("do_it", "{}")), "exact_match"),
    "cut off arguments": (cut(calls(("add_note", '{"entity_type": "Cli'))), "length"),
    "cut off words": (cut(text("Which no")), "length"),
    "a refusal": (REFUSAL, "refusal"),
    "nothing": (text(""), "no_tool_call"),
}  # fmt: skip
ASKED_AGAIN = {"nothing"}
"""Answers that have not arrived; the others are the student's."""


@pytest.fixture(scope="module")
def harness(shared_pool: SandboxPool, sandbox_conninfo: str) -> Iterator[Harness]:
    with SandboxPool(sandbox_conninfo) as pool:
        store = GroundTruthStore(sandbox_conninfo, pool)
        yield Harness(shared_pool, store)
        store.close()


def answer(request: Recorded) -> Scripted:
    """What the model says to the user's last words; "Done." once it has an outcome."""
    last = request.body["messages"][-1]
    if last["role"] == "tool" or str(last["content"]).startswith("Outcome of the tool"):
        return text("Done.")
    return ANSWERS[last["content"]][0]


def told(result: ConversationResult) -> dict[str, Any]:
    """All that is said of the agent, but for results, whose times differ."""
    return {
        entry.user_utterance: (
            (entry.verification, entry.success, entry.tool_success, entry.response_status, entry.ended_by),
            (entry.tool_name, entry.arguments, entry.error, entry.error_kind, entry.agent_response_text),
            (entry.matches_expected_tool, entry.matches_expected_arguments, entry.argument_mismatch_reason),
            [(call.tool_name, call.arguments, call.made, call.error) for call in entry.calls or ()],
        )
        for entry in result.per_turn_results
    }


@pytest.mark.parametrize("mode", ["native", "text"])
@pytest.mark.parametrize("calls_per_turn", ["one", "many"])
def test_every_kind_of_answer_scores_the_same_live_and_recorded(
    harness: Harness, tmp_path: Path, mode: str, calls_per_turn: str
):
    steps = conversation(
        *(answered(turn("add_note", NOTE, user_utterance=kind), "Done.") for kind in ANSWERS)
    )
    truth = harness.truth(steps)
    with ScriptedServer(answer) as server:
        agent = {"llm": spec_of(server).model_dump(), "tool_mode": mode, "calls_per_turn": calls_per_turn}
        setting = config(agent=agent)
        live = with_client(
            lambda client: ConversationRunner(harness.pool).run(
                steps, truth, agent=Student(client, "s-1", setting)
            )
        )
        requests = [request.body for request in server.requests]
    assert live.status == "completed", live.error_message
    assert {entry.user_utterance: entry.verification for entry in live.per_turn_results} == {
        kind: verification for kind, (_, verification) in ANSWERS.items()
    }
    path = tmp_path / "live.jsonl"
    path.write_bytes(json_line(live))
    again = harness.run(steps, make_agent(AgentSpec("recorded", path)))
    assert told(again) == told(live)
    assert (again.state_match, again.state_diff) == (live.state_match, live.state_diff)

    asked = [body["messages"][-1]["content"] for body in requests]
    assert {kind for kind in ANSWERS if asked.count(kind) > 1} == ASKED_AGAIN
    for body in requests:
        check_history(body["messages"])


def check_history(messages: list[dict[str, Any]]) -> None:
    """Providers refuse a history with other names or arguments, or a call without its outcome."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert waiting == []
        for call in message.get("tool_calls", ()):
            assert isinstance(orjson.loads(call["function"]["arguments"]), dict)
            assert call["function"]["name"].replace("_", "").isalnum() or call["function"]["name"] == "_"
            waiting.append(call["id"])
        assert len(set(waiting)) == len(waiting)
