"""Ten conversations of `dev` through both engines, against the same server."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import orjson
import pytest

from crm_assets.llm import LedgerEntry
from crm_assets.records import SessionLog
from crm_assets.records.trace import SessionTrace
from crm_assets.reporting import RunInfo, compute_metrics
from crm_assets.reporting.report import render_report
from tests.atlas.loop import (
    KEY,
    Document,
    Loop,
    loop_project,
    models_at,
    offline_models,
    role_of,
    telemetry_rows,
    without_times,
)
from tests.llm.scripted_server import Recorded, ScriptedServer
from tests.projects import ProjectDatabases

from .environment import REPOSITORY, SdkProcess

pytestmark = pytest.mark.whole

COUNT = 10
JITTER = 0.06
"""What an offline judge's score may differ by for another wording of the same question: ± 0.03, since three
are asked at temperatures of 0.5 on average. It does not waver where all or nothing is right."""


@dataclass
class Run:
    """One engine's run."""

    loop: Loop
    agent: Document
    lines: list[Document]
    requests: list[Recorded]
    ledger: list[LedgerEntry]
    report: str

    def calls(self) -> Counter[str]:
        """As the server counted them, by the name of the model."""
        return Counter(role_of(request) for request in self.requests)


def run(
    process: SdkProcess, project_databases: ProjectDatabases, server: ScriptedServer, engine: str
) -> Iterator[Run]:
    documents = (REPOSITORY / "data" / "conversations" / "dev.jsonl").read_bytes().splitlines()[:COUNT]
    with loop_project(project_databases) as loop:
        files = loop.tasks([orjson.loads(line) for line in documents])
        before = len(server.requests)
        outcome = process.run(
            loop, files, loop.config(models_at(server.url)), engine=engine, learning="off"
        )
        assert outcome["total"] == COUNT
        metrics = compute_metrics(files.sessions, run=RunInfo())
        requests = server.requests[before:]
        agent = SessionLog(files.sessions).header.agent or {}
        yield Run(
            loop, agent, loop.lines(files), requests, loop.ledger(files), render_report(metrics, None, ())
        )


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(offline_models) as started:
        yield started


@pytest.fixture(scope="module")
def ours(process: SdkProcess, project_databases: ProjectDatabases, server: ScriptedServer) -> Iterator[Run]:
    yield from run(process, project_databases, server, "crm_assets")


@pytest.fixture(scope="module")
def theirs(
    process: SdkProcess, project_databases: ProjectDatabases, server: ScriptedServer
) -> Iterator[Run]:
    yield from run(process, project_databases, server, "sdk")


def facts(made: Run, name: str) -> list[Any]:
    return [line["atlas_metadata"][name] for line in made.lines]


def test_both_engines_choose_the_same_modes(ours: Run, theirs: Run) -> None:
    assert facts(ours, "execution_mode") == facts(theirs, "execution_mode") == ["paired"] * COUNT
    assert [line["execution_mode"] for line in theirs.lines] == ["paired"] * COUNT


def test_the_student_does_the_same_in_both(ours: Run, theirs: Run) -> None:
    for mine, other in zip(ours.lines, theirs.lines, strict=True):
        results = [without_times(line["conversation_result"]) for line in (mine, other)]
        assert turns(results[0]) == turns(results[1])
        assert results[0]["state_match"] == results[1]["state_match"]
        assert mine["status"] == other["status"] == "succeeded"
        assert mine["final_payload"] == other["final_payload"]
    for name in ("attempts", "first_attempt_success", "teacher_intervened", "entries_available"):
        assert facts(ours, name) == facts(theirs, name)


def turns(result: Document) -> list[Document]:
    """Turns without what has a time in it: the stamps of new rows, and the tokens that these take."""
    kept = ("turn_id", "tool_name", "arguments", "error", "agent_response_text", "success", "verification")
    return [{name: turn[name] for name in kept} for turn in result["per_turn_results"]]


def test_calls_by_role_differ_by_the_validations_of_last_attempts_alone(ours: Run, theirs: Run) -> None:
    again = sum(count == 2 for count in facts(ours, "attempts"))
    assert 0 < again < COUNT
    # Ours validates the attempt after which there is no other, too; the SDK takes that for valid.
    assert ours.calls()["teacher"] == COUNT + again
    assert theirs.calls()["teacher"] == COUNT
    assert ours.calls() - theirs.calls() == Counter(teacher=again)
    assert theirs.calls() - ours.calls() == Counter()
    assert theirs.calls()["judge"] == 3 * COUNT
    assert theirs.calls()["arbiter-judge"] == sum(facts(theirs, "reward_escalated")) > 0


def test_what_nobody_validated_is_not_said_to_be_valid(ours: Run, theirs: Run) -> None:
    said = zip(facts(ours, "teacher_valid"), facts(theirs, "teacher_valid"), strict=True)
    for (mine, other), attempts in zip(said, facts(theirs, "attempts"), strict=True):
        assert other is (None if attempts == 2 else mine)
    unseen = [line for line in theirs.lines if line["atlas_metadata"]["attempts"] == 2]
    assert {line["steps"][0]["validation"]["valid"] for line in unseen} == {True}  # as the SDK has it


def test_rewards_agree(ours: Run, theirs: Run) -> None:
    assert facts(theirs, "reward_status") == ["scored"] * COUNT
    assert facts(theirs, "reward_escalated") == facts(ours, "reward_escalated")
    for mine, other in zip(ours.lines, theirs.lines, strict=True):
        scores = [line["session_reward"]["score"] for line in (mine, other)]
        assert scores[0] == pytest.approx(scores[1], abs=JITTER)
        if mine["final_payload"]["overall_success"]:
            assert scores == [1.0, 1.0]
        assert other["reward_stats"]["score"] == scores[1]
        assert (
            other["session_reward"]["judges"][0]["rationale"]
            == (other["atlas_metadata"]["session_reward"]["judges"][0]["rationale"])
        )


def test_every_call_of_the_sdk_is_in_the_ledger_with_its_tokens(theirs: Run) -> None:
    counted = theirs.calls()
    noted = Counter(entry.role for entry in theirs.ledger)
    assert noted["teacher"] == counted["teacher"]
    assert noted["judge"] == counted["judge"] + counted["arbiter-judge"]
    assert noted["student"] == counted["student"]
    assert all(entry.prompt_tokens and entry.completion_tokens for entry in theirs.ledger)
    for role in ("student", "teacher", "judge"):
        told = [line["atlas_metadata"]["token_usage"][role] for line in theirs.lines]
        assert sum(usage["calls"] for usage in told) == noted[role]
        assert sum(usage["prompt_tokens"] for usage in told) == sum(
            entry.prompt_tokens for entry in theirs.ledger if entry.role == role
        )
        assert all(line["atlas_metadata"]["cost_usd"][role] > 0 for line in theirs.lines)


def test_the_same_models_are_asked_in_the_same_way(ours: Run, theirs: Run) -> None:
    def settings(made: Run) -> set[tuple[str, Any, Any]]:
        bodies = [request.body for request in made.requests]
        return {(body["model"], body.get("temperature"), body.get("max_tokens")) for body in bodies}

    assert settings(theirs) == settings(ours)


def test_lines_have_the_trace_as_the_sdk_has_stored_it(theirs: Run) -> None:
    for line in theirs.lines:
        assert [each.name for each in fields(SessionTrace) if each.name not in line] == []
        ((task, answer, reward, status, key),) = theirs.loop.query(
            "SELECT task, final_answer, reward, status, metadata ->> 'learning_key' FROM sessions "
            "WHERE metadata ->> 'task_id' = %s",
            line["task_id"],
        )
        assert (line["task"], line["final_answer"], line["learning_key"]) == (task, answer, key)
        assert (line["session_reward"], status) == (reward, "succeeded")
        assert line["plan"]["execution_mode"] == "single_shot"
        assert [step["step_id"] for step in line["steps"]] == [1]
        kinds = [event["event_type"] for event in line["trajectory_events"]]
        assert (kinds[0], kinds[-1]) == ("WORKFLOW_START", "WORKFLOW_END")
    assert max(len(orjson.dumps(line)) for line in theirs.lines) < 300_000


def test_the_run_says_who_drove_it(ours: Run, theirs: Run) -> None:
    assert theirs.agent["engine"] == "arc-atlas 0.1.16"
    assert theirs.agent["config_sha256"] != ours.agent["config_sha256"]
    assert "arc-atlas 0.1.16" in theirs.report


def test_neither_student_nor_teacher_sees_a_verdict(theirs: Run) -> None:
    for request in theirs.requests:
        if role_of(request) in ("student", "teacher"):
            assert "state_match" not in request.text
            assert r"\"success\"" not in request.text
    judged = [request for request in theirs.requests if role_of(request) == "judge"]
    assert all("state_match" in request.text for request in judged)


def test_no_key_is_left_anywhere(theirs: Run, process: SdkProcess) -> None:
    assert any(KEY in request.headers["Authorization"] for request in theirs.requests)
    left = [telemetry_rows(theirs.loop), process.said()]
    files = [path for path in theirs.loop.project.baselines.rglob("*") if path.is_file()]
    left += [gzip.decompress(path.read_bytes()).decode() for path in files if path.suffix == ".gz"]
    left += [path.read_text() for path in files if path.suffix != ".gz"]
    assert not any(KEY in text for text in left)
    assert process.said() == ""
