"""Runs that are stopped and gone on with: nothing is paid twice, nothing is learnt twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.engine import Progress
from crm_assets.engine.checkpoint import Checkpoint
from crm_assets.errors import InputError
from crm_assets.llm import LedgerEntry
from crm_assets.llm.request_lines import DIGITS, read_requests
from crm_assets.reporting import RunInfo, compute_metrics, render_readme
from crm_assets.workspace.baseline_files import RunFiles
from tests.atlas.loop import (
    Loop,
    differences,
    loop_project,
    models_at,
    offline_models,
    small_dataset,
    without_times,
)
from tests.atlas.play import NOW
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer, hang
from tests.projects import ProjectDatabases
from tests.waiting import eventually

DOCUMENTS = small_dataset(6)
AT_ONCE = 3
JUDGES = 3
"""Calls that one session may have under way."""
HELD = DOCUMENTS[1]["turns"][0]["user_utterance"]


def holding(request: Recorded) -> Scripted:
    """The offline models, who never answer in one conversation: its session is under way for good."""
    held = any(HELD in str(message.get("content")) for message in request.body["messages"])
    return hang() if held else offline_models(request)


def play(loop: Loop, url: str, files: RunFiles, progress: Any = None) -> Any:
    # A session is an orphan once the server has noticed that the run before is not connected any more.
    alone = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()"
    assert eventually(lambda: loop.query(alone) == [(True,)])
    return loop.run(files, loop.config(models_at(url)), concurrency=AT_ONCE, epochs=2, progress=progress)


def learnt(loop: Loop) -> list[Any]:
    rows = loop.query(
        "SELECT learning_key, student_learning, teacher_learning, metadata "
        "FROM learning_registry ORDER BY 1"
    )
    return [without_times(list(row)) for row in rows]


def calls_by_role(loop: Loop, files: RunFiles) -> Counter[tuple[str, str]]:
    """How often each session's roles were answered; judges ask their arbiter or not by a hair's breadth."""
    return Counter(
        (entry.session, entry.role)
        for entry in loop.ledger(files)
        if entry.error is None and entry.role != "judge"
    )


class Undisturbed:
    """The run as it goes when nothing happens, at a time of its own."""

    def __init__(self, loop: Loop, server: ScriptedServer) -> None:
        files = loop.tasks(DOCUMENTS)
        play(loop, server.url, files)
        self.lines = [without_times(line) for line in loop.lines(files)]
        self.learnt = learnt(loop)
        self.calls = len(server.requests)
        self.by_role = calls_by_role(loop, files)


@pytest.fixture(scope="module")
def undisturbed(project_databases: ProjectDatabases) -> Iterator[Undisturbed]:
    with (
        pytest.MonkeyPatch.context() as patch,
        loop_project(project_databases) as loop,
        ScriptedServer(offline_models) as server,
    ):
        patch.setattr("crm_assets.atlas.store._now", lambda: NOW)
        made = Undisturbed(loop, server)
    yield made


def check(loop: Loop, files: RunFiles, undisturbed: Undisturbed) -> None:
    """The run came to what it comes to undisturbed."""
    lines = [_but_for_spending(without_times(line)) for line in loop.lines(files)]
    assert differences(lines, [_but_for_spending(line) for line in undisturbed.lines]) == []
    assert learnt(loop) == undisturbed.learnt
    check_nothing_is_twice(loop, files, undisturbed)


def check_nothing_is_twice(loop: Loop, files: RunFiles, undisturbed: Undisturbed) -> None:
    running = loop.query("SELECT count(*) FROM sessions WHERE status = 'running'")
    assert running == [(0,)], "an orphan was left"
    succeeded = loop.query("SELECT count(*) FROM sessions WHERE status = 'succeeded'")
    assert succeeded == [(len(undisturbed.lines),)]
    again = Counter(_call(entry) for entry in loop.ledger(files) if entry.error is None)
    assert set(again.values()) == {1}, "a call that was answered was made again"
    asked = read_requests(files.requests, {entry.session for entry in loop.ledger(files)})
    read = {(each.session, each.role, each.request_sha256, each.ordinal) for each in asked}
    assert {(call[0], call[1], call[2][:DIGITS], call[3]) for call in again} <= read


def _call(entry: LedgerEntry) -> tuple[Any, ...]:
    return entry.session, entry.role, entry.request_sha256, entry.ordinal


def _but_for_spending(line: dict[str, Any]) -> dict[str, Any]:
    """What was cut off in the middle of a call was paid for and counts; all else is the same."""
    facts = {
        name: value
        for name, value in line["atlas_metadata"].items()
        if name not in ("token_usage", "cost_usd")
    }
    metadata = {name: value for name, value in line["session_metadata"].items() if name != "token_usage"}
    return {**line, "atlas_metadata": facts, "session_metadata": metadata}


@pytest.fixture
def same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions begin when the undisturbed run's did: offline judges' moods depend on every character."""
    monkeypatch.setattr("crm_assets.atlas.store._now", lambda: NOW)


@pytest.fixture(autouse=True)
def room_for_held_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow a busy machine is, several calls go on at a time: one that is held stops no other."""
    monkeypatch.setattr("crm_assets.llm.limits._TOO_SLOW", float("inf"))


@pytest.fixture
def eager_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told after every session."""
    monkeypatch.setattr("crm_assets.engine.progress._REPORT_SECONDS", 0.0)


def stop_after(count: int) -> Callable[[Progress], None]:
    def stop(where: Progress) -> None:
        if where.done >= count:
            raise KeyboardInterrupt

    return stop


@pytest.mark.usefixtures("eager_reports")
def test_an_interrupted_run_goes_on_without_paying_twice(loop: Loop, undisturbed: Undisturbed):
    # Time goes by between the starts: what the CRM stamps must not change with it.
    with ScriptedServer(holding) as server:
        files = loop.tasks(DOCUMENTS)
        for stop in (1, 5):
            with pytest.raises(KeyboardInterrupt):
                play(loop, server.url, files, stop_after(stop))
            assert not files.sessions.exists()
        server.script = offline_models
        kept = len(files.partial.read_bytes().splitlines())
        assert 5 <= kept < len(undisturbed.lines)
        assert play(loop, server.url, files).resumed == kept
        check_nothing_is_twice(loop, files, undisturbed)
        assert calls_by_role(loop, files) == undisturbed.by_role
        cut_off = [entry.error.kind for entry in loop.ledger(files) if entry.error is not None]
        assert cut_off
        assert set(cut_off) == {"cancelled"}
        assert len(server.requests) <= len(loop.ledger(files))


@pytest.mark.usefixtures("eager_reports", "same_time")
def test_and_comes_to_what_it_comes_to_undisturbed(loop: Loop, undisturbed: Undisturbed):
    with ScriptedServer(holding) as server:
        files = loop.tasks(DOCUMENTS)
        with pytest.raises(KeyboardInterrupt):
            play(loop, server.url, files, stop_after(4))
        server.script = offline_models
        play(loop, server.url, files)
        check(loop, files, undisturbed)


CHILD = """
import datetime, sys
from crm_assets.llm import limits
from pathlib import Path
from crm_assets.reporting import RunInfo, compute_metrics, render_readme
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.atlas import store
from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.run_plan import run_plan
from crm_assets.database import connect_databases
from crm_assets.workspace.project import Project

limits._TOO_SLOW = float("inf")
now = datetime.datetime.fromisoformat(sys.argv[4])
store._now = lambda: now
root, folder, config = map(Path, sys.argv[1:4])
plan = SessionPlan(config=config, concurrency=3, epochs=2)
project = Project(root)
run_plan(RunFiles(folder), plan, project=project, databases=connect_databases(project), dataset="dev")
"""


def kill_after(files: RunFiles, sessions: int, command: list[str]) -> None:
    """Kill a run the hard way once so many of its sessions are through."""
    child = subprocess.Popen(command, cwd=Path(__file__).parents[2])

    def is_far_enough() -> bool:
        assert child.poll() is None, "the run ended before it could be killed"
        return files.partial.exists() and len(files.partial.read_bytes().splitlines()) >= sessions

    try:
        assert eventually(is_far_enough)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()


@pytest.mark.usefixtures("same_time")
def test_a_killed_run_goes_on_without_paying_twice(loop: Loop, undisturbed: Undisturbed):
    with ScriptedServer(holding) as server:
        files = loop.tasks(DOCUMENTS)
        config = loop.config(models_at(server.url))
        places = map(str, (loop.project.root, files.folder, config, NOW.isoformat()))
        kill_after(files, 3, [sys.executable, "-c", CHILD, *places])
        before = len(server.requests)
        server.script = offline_models
        [(orphans,)] = loop.query("SELECT count(*) FROM sessions WHERE status = 'running'")
        assert orphans, "it was killed between sessions, so nothing is tested"
        play(loop, server.url, files)
        check(loop, files, undisturbed)
        closed = loop.query(
            "SELECT count(*) FROM sessions WHERE metadata -> 'failure' ->> 'kind' = 'orphaned'"
        )
        assert closed == [(orphans,)]
        # What was under way when it was killed is not in the ledger, and nothing else is asked again.
        lost = len(server.requests) - undisturbed.calls
        assert 0 <= lost <= AT_ONCE * JUDGES
        assert before + lost > AT_ONCE * JUDGES


@pytest.mark.usefixtures("same_time")
def test_what_was_stored_and_not_written_is_neither_learnt_nor_paid_for_twice(
    loop: Loop, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
):
    append = Checkpoint.append
    calls = []

    def stop_at_the_fourth(checkpoint: Checkpoint, entries: Any) -> None:
        calls.append(entries)
        if len(calls) == 4:
            raise KeyboardInterrupt  # in the gap between the database and the file
        append(checkpoint, entries)

    with ScriptedServer(offline_models) as server:
        files = loop.tasks(DOCUMENTS)
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "append", stop_at_the_fourth)
            with pytest.raises(KeyboardInterrupt):
                play(loop, server.url, files)
        stored = loop.query("SELECT count(*) FROM sessions WHERE status = 'succeeded'")[0][0]
        written = len(files.partial.read_bytes().splitlines())
        assert written == 3 < stored  # and those that were being stored when it stopped
        play(loop, server.url, files)
        check(loop, files, undisturbed)


def test_a_run_is_not_gone_on_with_by_another(loop: Loop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("crm_assets.engine.progress._REPORT_SECONDS", 0.0)
    with ScriptedServer(offline_models) as server:
        files = loop.tasks(DOCUMENTS)
        with pytest.raises(KeyboardInterrupt):
            play(loop, server.url, files, stop_after(2))
        other = loop.config(models_at(server.url), {"feedback": "none"}, name="other")
        with pytest.raises(InputError, match=r"cannot be resumed: agent\.feedback was"):
            loop.run(files, other, epochs=2)
        with pytest.raises(InputError, match=r"cannot be resumed: agent\.epochs was"):
            loop.run(files, loop.config(models_at(server.url)), epochs=3)
        warmer = loop.config(models_at(server.url), {"agent": {"llm": {"temperature": 0.7}}}, name="warmer")
        with pytest.raises(InputError, match=r"settings\.agent\.llm\.temperature was .* and is now 0\.7"):
            loop.run(files, warmer, epochs=2)
    # With another address and more patience it is the same run, of which its files say so.
    with ScriptedServer(offline_models) as elsewhere:
        patient = {"agent": {"llm": {"timeout_seconds": 55}}, "limits": {"openai": {"max_connections": 3}}}
        config = loop.config(models_at(elsewhere.url), patient)
        assert loop.run(files, config, epochs=2).resumed >= 2
    answered = orjson.loads(files.run.read_bytes())["answered_by"]
    assert any(
        f"at {server.url}" in " ".join(by) and f"at {elsewhere.url}" in " ".join(by)
        for by in answered.values()
    )
    metrics = compute_metrics(files.sessions, run=RunInfo())
    assert set(metrics.answered_by) == set(answered)
    assert "Mixed: results of different models or servers" in render_readme(metrics)


def test_a_student_alone_goes_on_and_can_be_replayed(loop: Loop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("crm_assets.engine.progress._REPORT_SECONDS", 0.0)
    with ScriptedServer(holding) as server:
        config = loop.config(models_at(server.url))
        files = loop.tasks(DOCUMENTS)
        with pytest.raises(KeyboardInterrupt):
            loop.run(files, config, agent="student", progress=stop_after(2))
        server.script = offline_models
        loop.run(files, config, agent="student")
        again = Counter(_call(entry) for entry in loop.ledger(files) if entry.error is None)
        assert set(again.values()) == {1}
        assert {entry.role for entry in loop.ledger(files)} == {"student"}
        asked = len(server.requests)
        replayed = loop.tasks(DOCUMENTS, run="again")
        loop.run(replayed, config, agent="student", replay=files.ledger)
        assert len(server.requests) == asked
    assert [without_times(line) for line in loop.lines(replayed)] == [
        without_times(line) for line in loop.lines(files)
    ]
    assert loop.query("SELECT count(*) FROM sessions") == [(0,)]  # no telemetry either
