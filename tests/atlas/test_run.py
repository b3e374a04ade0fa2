"""Whole runs over real Postgres and real HTTP: what they leave, and that it adds up."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from crm_assets.atlas.telemetry import TelemetryStore
from crm_assets.engine import RunSummary
from crm_assets.errors import InfrastructureError, InputError
from crm_assets.llm import ledger_totals
from crm_assets.records.trace import SessionTrace
from crm_assets.reporting.metrics import compute_metrics
from crm_assets.reporting.models import RunInfo
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.identity import known_project_id
from tests.atlas.loop import (
    Loop,
    asked,
    differences,
    loop_project,
    models_at,
    offline_models,
    small_dataset,
    without_times,
)
from tests.llm.scripted_server import Recorded, ScriptedServer
from tests.projects import ProjectDatabases

EPOCHS = 2
RUN_ID = "20260101T000000Z-one"


@dataclass(frozen=True)
class Run:
    """A run that several tests look at."""

    loop: Loop
    files: RunFiles
    config: Path
    summary: RunSummary
    lines: list[dict[str, Any]]
    requests: list[Recorded]
    server: ScriptedServer


@pytest.fixture(scope="module")
def run(project_databases: ProjectDatabases) -> Iterator[Run]:
    """Six conversations, twice each, paired, learning on."""
    with loop_project(project_databases) as loop, ScriptedServer(offline_models) as server:
        files = loop.tasks(small_dataset(6))
        config = loop.config(models_at(server.url))
        summary = loop.run(files, config, epochs=EPOCHS)
        yield Run(loop, files, config, summary, loop.lines(files), list(server.requests), server)


def facts(line: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = line["atlas_metadata"]
    return found


def test_every_session_ran_and_left_its_sandbox_clean(run: Run):
    assert (run.summary.total, run.summary.infrastructure_errors) == (12, 0)
    assert run.summary.sandboxes_discarded == 0
    assert {line["status"] for line in run.lines} == {"succeeded"}
    assert not run.files.partial.exists()


def test_tokens_and_dollars_by_role_are_the_ledgers_the_lines_and_the_metrics(run: Run):
    ledger = ledger_totals(run.files.ledger)
    assert set(ledger) == {"student", "teacher", "judge", "learner"}
    metrics = compute_metrics(run.files.sessions, run=RunInfo())
    assert set(metrics.token_usage) == set(metrics.cost_usd) == set(ledger)
    for role, spent in ledger.items():
        lines = [facts(line)["token_usage"].get(role, {}) for line in run.lines]
        for name in ("prompt_tokens", "completion_tokens", "calls", "failed_calls"):
            wanted = getattr(spent, name, None)
            wanted = getattr(spent.usage, name) if wanted is None else wanted
            assert sum(usage.get(name, 0) for usage in lines) == wanted
        told = metrics.token_usage[role]
        assert (told.prompt_tokens, told.completion_tokens) == (
            spent.usage.prompt_tokens,
            spent.usage.completion_tokens,
        )
        assert (told.calls, told.total_tokens) == (spent.calls, spent.usage.total_tokens)
        dollars = math.fsum(facts(line)["cost_usd"].get(role, 0.0) for line in run.lines)
        assert round(dollars, 9) == metrics.cost_usd[role].usd == spent.cost_usd
        assert spent.cost_usd


def test_every_request_is_in_the_ledger(run: Run):
    assert len(run.requests) == len(run.loop.ledger(run.files))
    assert all(entry.error is None for entry in run.loop.ledger(run.files))


def test_the_dollars_are_the_prices_times_the_tokens(run: Run):
    for spent in ledger_totals(run.files.ledger).values():
        wanted = (spent.usage.prompt_tokens * 0.4 + spent.usage.completion_tokens * 1.6) / 1e6
        assert spent.cost_usd == pytest.approx(wanted, abs=1e-9)


def test_the_telemetry_has_a_row_a_session_with_its_reward(run: Run):
    project = known_project_id(run.loop.project)
    with TelemetryStore(run.loop.telemetry, project=project) as store:
        assert store.count_sessions(RUN_ID) == {"succeeded": len(run.lines)}
    rows = run.loop.query(
        "SELECT metadata ->> 'session_key', (reward ->> 'score')::float, "
        "(metadata -> 'token_usage' ->> 'total_tokens')::int, final_answer, "
        "(SELECT count(*) FROM step_results AS r WHERE r.session_id = s.id) FROM sessions AS s"
    )
    stored = {key: rest for key, *rest in rows}
    assert len(stored) == len(rows) == len(run.lines)
    for line in run.lines:
        key = line["task_id"] if line["epoch"] == 1 else f"{line['task_id']}#{line['epoch']}"
        tokens = sum(usage["total_tokens"] for usage in facts(line)["token_usage"].values())
        steps = len(line["conversation_result"]["per_turn_results"])
        assert stored[key] == [line["session_reward"]["score"], tokens, line["final_answer"], steps]


def test_every_line_has_the_trace_keys(run: Run):
    for line in run.lines:
        assert {each.name for each in fields(SessionTrace)} <= line.keys()
        assert line["execution_mode"] == facts(line)["execution_mode"] == "paired"
        assert line["task"].startswith("A conversation of ")
        assert [step["step_id"] for step in line["steps"]] == [
            turn["turn_id"] for turn in line["conversation_result"]["per_turn_results"]
        ]
        assert line["session_metadata"]["run_id"] == RUN_ID
        assert line["session_metadata"]["incident_id"] == line["conversation_id"]
        assert line["learning_key"] == line["session_metadata"]["learning_key"]
        assert line["adaptive_summary"]["adaptive_mode"] == "paired"
        first, *_, last = line["trajectory_events"]
        assert (first["event_type"], last["event_type"]) == ("WORKFLOW_START", "WORKFLOW_END")


def test_every_conversation_runs_once_an_epoch(run: Run):
    tasks = [line["task_id"] for line in run.lines]
    assert tasks == tasks[:6] * EPOCHS
    assert [line["epoch"] for line in run.lines] == [1] * 6 + [2] * 6
    metrics = compute_metrics(run.files.sessions, run=RunInfo())
    assert (metrics.total_conversations, metrics.total_sessions) == (6, 12)
    keys = run.loop.query("SELECT metadata ->> 'session_key' FROM sessions")
    assert {key for (key,) in keys} == {*tasks[:6], *(f"{task}#2" for task in tasks[:6])}


def test_sessions_of_a_key_see_what_earlier_ones_taught(run: Run):
    by_key: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in run.lines:
        by_key[line["learning_key"]].append(line)
    learnt_from = 0
    for lines in by_key.values():
        assert facts(lines[0])["entries_available"] == 0
        for before, after in pairwise(lines):
            taught = before["session_metadata"]["learning_state"]["metadata"]["playbook_entries"]
            assert facts(after)["entries_available"] >= len(taught)
            learnt_from += facts(after)["entries_available"]
    assert learnt_from, "nobody learnt anything, so nothing is tested"
    [registry] = run.loop.query(
        "SELECT sum((metadata -> 'crm_assets' ->> 'sessions')::int) FROM learning_registry"
    )
    assert registry == (len(run.lines),)


def test_the_students_prompt_holds_what_was_learnt_and_nothing_before(run: Run):
    students = asked(run.requests, "student")
    with_block = [text for text in students if ">>> Student Playbook >>>" in text]
    assert with_block
    assert len(with_block) < len(students)
    assert not any("[tool:" in text for text in students if text not in with_block)


# A replay.

ALONE = """
import socket, sys
from pathlib import Path
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.run_plan import run_plan
from crm_assets.database import connect_databases
from crm_assets.workspace.project import Project

connect = socket.socket.connect
def refuse(self, address):
    if self.family != socket.AF_UNIX:
        raise AssertionError(f"a replay asked {address}")
    return connect(self, address)
socket.socket.connect = socket.socket.connect_ex = refuse

root, folder, config, ledger = map(Path, sys.argv[1:])
plan = SessionPlan(config=config, epochs=2, concurrency=4, replay=ledger)
project = Project(root)
run_plan(RunFiles(folder), plan, project=project, databases=connect_databases(project), dataset="dev")
assert "litellm" not in sys.modules, "a replay imported litellm"
"""


@pytest.fixture(scope="module")
def replayed(run: Run) -> RunFiles:
    """The run again in a process of its own, without a network."""
    files = run.loop.tasks(small_dataset(6), run="again")
    places = [run.loop.project.root, files.folder, run.config, run.files.ledger]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, places)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return files


def test_a_replay_gives_the_same_sessions_without_asking_anybody(run: Run, replayed: RunFiles):
    assert len(run.server.requests) == len(run.requests)
    assert (
        differences(*(list(map(without_times, lines)) for lines in (run.loop.lines(replayed), run.lines)))
        == []
    )


def test_a_replay_stores_nothing_but_files(run: Run, replayed: RunFiles):
    assert run.loop.query("SELECT count(*) FROM sessions") == [(len(run.lines),)]


def test_a_replay_costs_what_the_run_had_cost(run: Run, replayed: RunFiles):
    assert ledger_totals(replayed.ledger) == ledger_totals(run.files.ledger)


def test_a_replay_can_be_replayed(run: Run, replayed: RunFiles):
    files = run.loop.tasks(small_dataset(6), run="thrice")
    run.loop.run(files, run.config, epochs=EPOCHS, replay=replayed.ledger)
    assert list(map(without_times, run.loop.lines(files))) == list(map(without_times, run.lines))


def test_a_run_is_not_replayed_into_itself(run: Run):
    with pytest.raises(InputError, match="this run's own ledger; replay it into another run"):
        run.loop.run(run.files, run.config, epochs=EPOCHS, replay=run.files.ledger)


def test_another_prompt_is_another_run(run: Run):
    files = run.loop.tasks(small_dataset(2), run="other-prompt")
    config = run.loop.config(
        models_at(run.server.url), {"agent": {"system_prompt": "Be brief."}}, name="brief"
    )
    with pytest.raises(InfrastructureError, match="2 of 2 sessions have no verdict"):
        run.loop.run(files, config, replay=run.files.ledger)
    for line in run.loop.lines(files):
        assert "holds no such call of the student" in line["conversation_result"]["error_message"]


# Learning.


def learning_run(loop: Loop, server: ScriptedServer, run: str, **plan: Any) -> tuple[RunFiles, list[str]]:
    """A run on one learning key; its files, and the student's requests."""
    shared = {"adaptive_teaching": {"learning_key_override": "shared"}}
    config = loop.config(models_at(server.url), shared, name=run)
    files = loop.tasks(small_dataset(4), run=run)
    before = len(server.requests)
    loop.run(files, config, **plan)
    return files, asked(server.requests[before:], "student")


def registry(loop: Loop) -> list[Any]:
    return loop.query("SELECT to_jsonb(r)::text FROM learning_registry AS r ORDER BY learning_key")


def test_frozen_uses_and_never_writes_and_off_does_neither(loop: Loop):
    with ScriptedServer(offline_models) as server:
        learning_run(loop, server, "on")
        learnt = registry(loop)
        assert learnt
        files, students = learning_run(loop, server, "frozen", learning="frozen")
        assert all(">>> Student Playbook >>>" in text for text in students)
        assert all(facts(line)["entries_available"] for line in loop.lines(files))
        assert registry(loop) == learnt
        files, students = learning_run(loop, server, "off", learning="off")
        assert not any("Playbook" in text for text in students)
        assert not any(facts(line)["entries_available"] for line in loop.lines(files))
        assert registry(loop) == learnt
        assert len(asked(server.requests, "learner")) == 4  # of the first run alone


def test_two_runs_at_once_lose_nothing(loop: Loop):
    with ScriptedServer(offline_models, latency_seconds=0.005) as server:
        failures: list[BaseException] = []

        def work(name: str) -> None:
            try:
                learning_run(loop, server, name)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in ("left", "right")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
    [(sessions, entries)] = loop.query(
        "SELECT (metadata -> 'crm_assets' ->> 'sessions')::int, metadata -> 'playbook_entries' "
        "FROM learning_registry"
    )
    assert sessions == 8
    learnt = {
        name
        for run in ("left", "right")
        for line in loop.lines(RunFiles(loop.project.baselines / "dev" / run / "atlas"))
        for event in line["trajectory_events"]
        if event["name"] == "learning"
        for name in event["event"]["data"]["entries"]
    }
    assert learnt
    assert {entry["id"] for entry in entries} == learnt
