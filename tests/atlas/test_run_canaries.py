"""Who sees the ground truth: a canary in each of its fields, and every request of a run read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests.atlas.loop import asked, loop_project, models_at, offline_models, role_of, telemetry_rows
from tests.harness.build import ACME, BETA, SEEDS
from tests.llm.scripted_server import Recorded, ScriptedServer
from tests.projects import ProjectDatabases

CANARY = "canary"

DOCUMENT: dict[str, Any] = {
    "conversation_id": "talk",
    "workflow_category": "Client Management",
    "complexity_level": "medium",
    "turns": [
        {
            "turn_id": 1,
            "user_utterance": "Write down on Acme that we talked.",
            "expected_tool": "add_note",
            "expected_args": {"entity_type": "Client", "entity_id": ACME, "content": "canary-argument"},
            "expected_response": {
                "text": "canary-reply",
                "answers": ["canary-answer-one", "canary-answer-two"],
                "evaluation": "canary-evaluation",
            },
            "failure_category": "canary-category-of-a-success",
        },
        {
            # What turn 1 should have written is not what it wrote, so it must not be said.
            "turn_id": 2,
            "user_utterance": "Look up the client {{turn_1.content}}.",
            "expected_tool": "client_search",
            "expected_args": {"name": "{{turn_1.content}}"},
            "expected_response": {"text": "canary-found-nothing"},
        },
        {
            "turn_id": 3,
            "user_utterance": f"Delete client {BETA}, please.",
            "expected_tool": "delete_canary_entity",
            "expected_args": {"canary-name": {"deep": ["canary-value"]}},
            "expect_success": False,
            "expected_error_substring": "canary-error",
            "failure_category": "canary-category",
        },
    ],
    "initial_entities": {"seed_data": dict(SEEDS), "author": "canary-context"},
    "final_expected_state": {"note": "canary-state"},
    "success_criteria": "canary-criteria",
    "contains_failure": True,
    "failure_turn": 3,
    "verification_mode": "canary-verification",
    "chain_id": "canary-chain",
    "segment_boundaries": [2, 3],
    "expected_outcome": "canary-outcome",
    "cumulative_context": {
        "segment_summaries": [
            {
                "segment_number": number,
                "expected_outcome": f"canary-outcome-{number}",
                "summary": f"canary-summary-{number}",
            }
            for number in (1, 2)
        ],
        "handed_on": "canary-handed-on",
    },
}
FIELDS = {text for text in orjson.dumps(DOCUMENT).decode().replace("\\", '"').split('"') if CANARY in text}


@dataclass(frozen=True)
class Played:
    """A coached run of it, twice: everybody is asked something, then again with what was learnt."""

    requests: list[Recorded]
    telemetry: str
    """All that it left in the database."""


@pytest.fixture(scope="module")
def runs(project_databases: ProjectDatabases) -> dict[str, Played]:
    """By `feedback`."""
    return {feedback: play(project_databases, feedback) for feedback in ("none", "verdicts", "oracle")}


def play(project_databases: ProjectDatabases, feedback: str) -> Played:
    with loop_project(project_databases) as loop, ScriptedServer(offline_models) as server:
        config = loop.config(models_at(server.url), {"agent": {"use_llm_judge": True}})
        files = loop.tasks([DOCUMENT])
        loop.run(files, config, feedback=feedback, mode="coach", epochs=2)
        lines = loop.lines(files)
        assert [line["status"] for line in lines] == ["succeeded"] * 2
        assert len(lines[0]["conversation_result"]["per_turn_results"]) == 3
        return Played(server.requests, telemetry_rows(loop))


@pytest.mark.parametrize("feedback", ["none", "verdicts", "oracle"])
def test_the_ground_truth_reaches_only_those_who_may_see_it(runs: dict[str, Played], feedback: str):
    requests = runs[feedback].requests
    roles = {role_of(request) for request in requests}
    assert {"student", "teacher", "judge", "learner", "turn_judge"} <= roles
    blind = {"student", "teacher"}
    if feedback != "oracle":
        blind |= {"judge", "arbiter-judge", "learner"}
    for text in asked(requests, *blind):
        assert CANARY not in text.lower()
        assert '"expect' not in _shown(text)
    # The turn judge compares with what was expected; somebody has to.
    assert "canary-argument" in "".join(asked(requests, "turn_judge"))
    for role in ("judge", "learner"):
        texts = asked(requests, role)
        shown = [canary in text for text in texts for canary in ("canary-argument", "canary-reply")]
        assert all(shown) if feedback == "oracle" else not any(shown)


@pytest.mark.parametrize(("feedback", "told"), [("none", False), ("verdicts", True)])
def test_verdicts_can_be_withheld(runs: dict[str, Played], feedback: str, told: bool):
    requests = runs[feedback].requests
    for role in ("judge", "learner"):
        for text in asked(requests, role):
            block = str(orjson.loads(text)["messages"][-1]["content"])
            assert ('"state_match"' in block) is told
            assert ('"success"' in block) is told
    for text in asked(requests, "student", "teacher"):
        assert "state_match" not in text


def test_the_oracle_tells_nothing_but_calls_and_replies(runs: dict[str, Played]):
    texts = "".join(asked(runs["oracle"].requests, "judge", "learner", "arbiter-judge"))
    seen = {canary for canary in FIELDS if canary in texts}
    assert seen == {
        "canary-argument",
        "canary-reply",
        "canary-found-nothing",
        "delete_canary_entity",
        "canary-name",
        "canary-value",
    }


def test_the_telemetry_does_not_hold_the_ground_truth(runs: dict[str, Played]):
    assert "Write down on Acme" in runs["verdicts"].telemetry
    assert CANARY not in runs["verdicts"].telemetry


def _shown(text: str) -> str:
    """What a role is shown, without its system prompt and the schemas of the tools."""
    body = orjson.loads(text)
    return " ".join(str(message.get("content")) for message in body["messages"][1:]).lower()
