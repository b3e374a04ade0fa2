"""What the SDK's sessions do in other modes, while they learn, and when something goes wrong."""

from __future__ import annotations

import itertools
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.workspace.baseline_files import RunFiles
from tests.atlas.loop import Loop, asked, models_at, offline_models, role_of, small_dataset
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer, hang, refused, text
from tests.waiting import HANG_SECONDS, eventually

from .environment import SdkProcess

pytestmark = pytest.mark.whole

ONE_KEY = {"adaptive_teaching": {"learning_key_override": "one"}}
DATASET = small_dataset(3)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(offline_models) as started:
        yield started


def calls(server: ScriptedServer) -> Counter[str]:
    return Counter(role_of(request) for request in server.requests)


def facts(loop: Loop, files: RunFiles, name: str) -> list[Any]:
    return [line["atlas_metadata"][name] for line in loop.lines(files)]


def test_sessions_of_a_key_learn_one_after_the_other(
    process: SdkProcess, loop: Loop, server: ScriptedServer
) -> None:
    files = loop.tasks(DATASET)
    process.run(loop, files, loop.config(models_at(server.url), ONE_KEY))
    assert calls(server)["learner"] == len(DATASET)
    spans = loop.query("SELECT created_at, completed_at FROM sessions ORDER BY id")
    assert all(ended <= begun for (_, ended), (begun, _) in itertools.pairwise(spans))
    assert facts(loop, files, "learning_error") == [None] * len(DATASET)
    learnt = facts(loop, files, "entries_learnt")
    assert sum(learnt) > 0
    # Nothing is lost: what a session starts from is what those before it have left.
    assert facts(loop, files, "entries_available")[1] == learnt[0]
    ((pamphlet, state),) = loop.query("SELECT student_learning, metadata FROM learning_registry")
    assert len(state["playbook_entries"]) >= max(learnt)
    prompts = [request.body["messages"][0]["content"] for request in server.requests]
    told = [prompt for prompt in prompts if ">>> Student Playbook >>>" in prompt]
    assert any(pamphlet in prompt and "You are a CRM assistant" in prompt for prompt in told)


@pytest.mark.parametrize("learning", ["frozen", "off"])
def test_what_was_learnt_is_used_where_it_is_frozen_and_not_where_learning_is_off(
    process: SdkProcess, loop: Loop, server: ScriptedServer, learning: str
) -> None:
    config = loop.config(models_at(server.url), ONE_KEY)
    process.run(loop, loop.tasks(DATASET[:1]), config)
    before = loop.query("SELECT student_learning, metadata FROM learning_registry")
    server.requests.clear()
    process.run(loop, loop.tasks(DATASET[1:], run="two"), config, learning=learning)
    assert calls(server)["learner"] == 0
    assert loop.query("SELECT student_learning, metadata FROM learning_registry") == before
    shown = [">>> Student Playbook >>>" in body for body in asked(server.requests, "student")]
    assert set(shown) == {learning == "frozen"}


def test_a_coached_student_plans_and_works_by_the_plan_that_was_reviewed(
    process: SdkProcess, loop: Loop, server: ScriptedServer
) -> None:
    counted = {}
    for engine in ("crm_assets", "sdk"):
        server.requests.clear()
        files = loop.tasks(DATASET[:1], run=engine.replace("_", ""))
        process.run(
            loop, files, loop.config(models_at(server.url)), engine=engine, mode="coach", learning="off"
        )
        counted[engine] = calls(server)
        assert facts(loop, files, "execution_mode") == ["coach"]
        again = facts(loop, files, "attempts") == [2]
        # A review and a validation; ours validates a second attempt, too.
        assert counted[engine]["teacher"] == 2 + (again and engine == "crm_assets")
        planned = [body for body in asked(server.requests, "student") if ">>> Reviewed Plan >>>" in body]
        assert len(planned) == counted[engine]["student"] - 1
        assert all("Choose the tool whose name says just that." in body for body in planned)
    assert counted["sdk"]["student"] == counted["crm_assets"]["student"]


def test_in_mode_auto_no_teacher_is_asked_and_none_is_said_to_have_agreed(
    process: SdkProcess, loop: Loop, server: ScriptedServer
) -> None:
    files = loop.tasks(DATASET[:2])
    process.run(loop, files, loop.config(models_at(server.url)), mode="auto", learning="off")
    assert calls(server)["teacher"] == 0
    assert facts(loop, files, "execution_mode") == ["auto", "auto"]
    assert facts(loop, files, "teacher_valid") == [None, None]


def test_the_probe_is_asked_where_a_key_has_a_past(
    process: SdkProcess, loop: Loop, server: ScriptedServer
) -> None:
    adaptive = {"orchestration": {"forced_mode": None}}
    files = loop.tasks(DATASET[:2])
    process.run(loop, files, loop.config(models_at(server.url), ONE_KEY, adaptive))
    roles = Counter(entry.role for entry in loop.ledger(files))
    assert roles["probe"] == 1  # the first session has no past
    first, second = loop.lines(files)
    assert first["execution_mode"] == "paired"
    assert second["adaptive_summary"]["probe"]["mode"] == second["execution_mode"]
    assert second["atlas_metadata"]["token_usage"]["probe"]["calls"] == 1


def test_the_offline_models_serve_the_sdk_as_well(process: SdkProcess, loop: Loop) -> None:
    offline = {
        section: {key: {"provider": "offline", "model": model}}
        for section, key, model in (("agent", "llm", "student"), ("teacher", "llm", "teacher"))
    }
    offline["rim"] = {
        name: {"provider": "offline", "model": "judge"} for name in ("small_model", "large_model")
    }
    offline["learning"] = {"llm": {"provider": "offline", "model": "learner"}}
    files = loop.tasks(DATASET[:1])
    process.run(loop, files, loop.config(offline))
    assert facts(loop, files, "reward_status") == ["scored"]


def answering(role: str, answer: Scripted) -> Any:
    """The offline models, one of which says something else."""
    return lambda request: answer if role_of(request) == role else offline_models(request)


def test_judges_that_cannot_be_understood_give_no_reward_rather_than_0(
    process: SdkProcess, loop: Loop, server: ScriptedServer
) -> None:
    server.script = answering("judge", text("I'd say it went well."))
    files = loop.tasks(DATASET[:1])
    process.run(loop, files, loop.config(models_at(server.url)), learning="off")
    (line,) = loop.lines(files)
    assert line["status"] == "succeeded"
    assert line["atlas_metadata"]["reward_status"] == "failed"
    assert (line["session_reward"], line["reward_stats"]) == (None, None)
    assert line["atlas_metadata"]["session_reward"] is None
    assert loop.query("SELECT (reward ->> 'score')::float FROM sessions") == [(0.0,)]  # the SDK's own


@pytest.mark.parametrize("score", [7, -1, "high"])
def test_a_score_that_is_none_is_no_reward(
    process: SdkProcess, loop: Loop, server: ScriptedServer, score: Any
) -> None:
    reply = orjson.dumps({"principles": [], "score": score, "rationale": "So.", "uncertainty": 0.1})
    server.script = answering("judge", text(reply.decode()))
    files = loop.tasks(DATASET[:1])
    process.run(loop, files, loop.config(models_at(server.url)), learning="off")
    assert facts(loop, files, "reward_status") == ["failed"]
    (used,) = facts(loop, files, "token_usage")
    assert used["judge"]["failed_calls"] == used["judge"]["calls"] > 3, "it is asked again, and counted"


def test_a_fenced_reply_is_understood(process: SdkProcess, loop: Loop, server: ScriptedServer) -> None:
    server.script = answering("teacher", text('```json\n{"valid": true, "guidance": null}\n```'))
    files = loop.tasks(DATASET[:1])
    process.run(loop, files, loop.config(models_at(server.url)), learning="off")
    assert facts(loop, files, "teacher_valid") == [True]


def test_a_teacher_that_cannot_be_had_is_not_held_against_the_student(
    process: SdkProcess, loop: Loop, server: ScriptedServer
) -> None:
    server.script = answering("teacher", text("Fine!"))
    files = loop.tasks(DATASET[:1])
    process.start(loop, files, loop.config(models_at(server.url)), learning="off")
    assert "1 of 1 sessions have no verdict" in process.outcome()["message"]
    (line,) = loop.lines(files)
    result = line["conversation_result"]
    assert (line["status"], result["status"]) == ("failed", "infrastructure_error")
    assert (result["overall_success"], result["per_turn_results"]) == (None, [])
    assert "teacher" in result["error_message"]
    assert line["atlas_metadata"]["token_usage"]["teacher"]["failed_calls"] > 0
    assert loop.query("SELECT status FROM sessions") == [("failed",)]


def test_a_learner_that_cannot_be_had_leaves_the_session_as_good_as_it_was(
    process: SdkProcess, loop: Loop, server: ScriptedServer
) -> None:
    server.script = answering("learner", refused(400, "no such model"))
    files = loop.tasks(DATASET[:1])
    process.run(loop, files, loop.config(models_at(server.url)))
    assert facts(loop, files, "reward_status") == ["scored"]
    assert facts(loop, files, "entries_learnt") == [None]
    assert "no such model" in facts(loop, files, "learning_error")[0]
    assert process.said() == ""


def test_a_budget_that_is_spent_in_the_middle_of_a_session_ends_the_run_cleanly(
    process: SdkProcess, loop: Loop, server: ScriptedServer
) -> None:
    files = loop.tasks(DATASET)
    limit = sum(len(one["turns"]) for one in DATASET[:1]) * 2
    config = loop.config(models_at(server.url))
    process.run(loop, files, config, learning="off", concurrency=1, budget_tokens=10**9)  # so in order
    tokens = [entry.usage.total_tokens for entry in loop.ledger(files)]
    before_the_judges = sum(tokens[: limit + 1]) - 100  # stamps of time take more tokens or less
    files = loop.tasks(DATASET, run="short")
    server.requests.clear()
    process.start(loop, files, config, learning="off", concurrency=1, budget_tokens=before_the_judges)
    assert f"before {len(DATASET)} of {len(DATASET)} sessions" in process.outcome()["message"]
    assert {line["status"] for line in loop.lines(files)} == {"not_run"}
    assert calls(server)["judge"] == 0
    ours = (
        "SELECT status, metadata -> 'failure' ->> 'reason' FROM sessions WHERE metadata ->> 'run_id' = %s"
    )
    ((status, reason),) = loop.query(ours, "20260101T000000Z-short")
    assert status == "failed"
    assert "budget" in reason
    assert process.said() == ""


def test_a_key_that_is_refused_ends_the_run_with_one_sentence(
    process: SdkProcess, loop: Loop, server: ScriptedServer
) -> None:
    server.script = answering("judge", refused(401, "Incorrect API key"))
    files = loop.tasks(DATASET[:1])
    process.start(loop, files, loop.config(models_at(server.url)), learning="off")
    outcome = process.outcome()
    assert outcome["error"] == "ConfigError"
    assert loop.query("SELECT status FROM sessions") == [("failed",)]
    assert not files.sessions.exists()


def test_a_student_that_takes_too_long_says_nothing_of_it(
    process: SdkProcess, loop: Loop, server: ScriptedServer
) -> None:
    server.script = answering("student", hang())
    files = loop.tasks(DATASET[:1])
    config = loop.config(models_at(server.url), {"orchestration": {"step_timeout_seconds": 0.5}})
    process.start(loop, files, config, learning="off")
    assert "1 of 1 sessions have no verdict" in process.outcome()["message"]
    (line,) = loop.lines(files)
    assert line["status"] == "failed"
    assert "step_timeout_seconds" in line["conversation_result"]["error_message"]


def test_a_run_that_was_killed_goes_on_without_paying_twice(
    loop: Loop, server: ScriptedServer, tmp_path: Path
) -> None:
    def script(request: Recorded) -> Scripted:
        return hang() if role_of(request) == "learner" else offline_models(request)

    server.script = script
    files = loop.tasks(DATASET[:1])
    config = loop.config(models_at(server.url))
    with SdkProcess(tmp_path / "first.txt") as killed:
        killed.start(loop, files, config)
        assert eventually(lambda: calls(server)["learner"])
        assert killed.popen is not None
        killed.popen.kill()
    assert loop.query("SELECT status FROM sessions") == [("running",)]
    server.script = offline_models
    paid = Counter(request.text for request in server.requests if role_of(request) != "learner")
    server.requests.clear()
    with SdkProcess(tmp_path / "second.txt") as resumed:
        resumed.run(loop, files, config)
    assert calls(server) == Counter(learner=1)
    assert paid
    assert loop.query("SELECT status FROM sessions ORDER BY id") == [("failed",), ("succeeded",)]
    (line,) = loop.lines(files)
    assert line["status"] == "succeeded"


@pytest.mark.parametrize("role", ["student", "judge", "learner"])
def test_an_interrupted_run_waits_for_answers_under_way_and_books_them(
    loop: Loop, server: ScriptedServer, tmp_path: Path, role: str
) -> None:
    def slowly(request: Recorded) -> Scripted:
        return replace(offline_models(request), delay_seconds=2.0 if role_of(request) == role else 0.0)

    server.script = slowly
    files = loop.tasks(DATASET[:1])
    config = loop.config(models_at(server.url))
    with SdkProcess(tmp_path / "first.txt") as stopped:
        stopped.start(loop, files, config)
        assert eventually(lambda: calls(server)[role])
        assert stopped.popen is not None
        stopped.popen.send_signal(signal.SIGINT)
        stopped.popen.wait(HANG_SECONDS)
    booked = loop.ledger(files)
    assert len(booked) == len(server.requests)
    assert [entry.error for entry in booked if entry.error] == []
    server.script = offline_models
    with SdkProcess(tmp_path / "second.txt") as resumed:
        resumed.run(loop, files, config)
    assert len(loop.ledger(files)) == len(server.requests)
    assert max(Counter(request.text for request in server.requests).values()) == 1


def test_a_replay_has_no_engine(process: SdkProcess, loop: Loop, server: ScriptedServer) -> None:
    files = loop.tasks(DATASET[:1])
    recorded = loop.project.root / "ledger.jsonl"
    recorded.touch()
    process.start(loop, files, loop.config(models_at(server.url)), replay=str(recorded))
    assert "engine: sdk has no effect" in process.outcome()["message"]
    assert server.requests == []


def test_what_the_sdk_does_not_take_is_named(
    process: SdkProcess, loop: Loop, server: ScriptedServer
) -> None:
    long = {"learning": {"pruning_config": {"min_sessions": 1000}}}
    files = loop.tasks(DATASET[:1])
    process.start(loop, files, loop.config(models_at(server.url), long))
    outcome = process.outcome()
    assert outcome["error"] == "ConfigError"
    assert "min_sessions" in outcome["message"]
