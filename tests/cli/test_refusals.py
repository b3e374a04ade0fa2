"""A refused command changes nothing: a run in use by somebody else, or a request that cannot be met."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from crm_assets.audit.integrity import Verdict
from crm_assets.database import a_command, connect_databases, hold
from crm_assets.definitions import defs
from crm_assets.defs.jobs import RESCORE_JOB
from crm_assets.orchestration.materialize import open_instance
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.identity import project_id
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.study_files import StudyPaths
from tests.atlas.loop import Loop, models_at, offline_models
from tests.cli.conftest import KEY, Finish, Run
from tests.llm.scripted_server import ScriptedServer, hang
from tests.waiting import eventually

RUN = ["--dataset", "small", "--run", KEY]
RUNS = ["--dataset", "small", "--runs", KEY, "--here"]

COMMANDS = {
    "baseline": ["baseline", *RUN],
    "baseline --overwrite": ["baseline", *RUN, "--agent", "replay", "--overwrite"],
    "baseline --resume": ["baseline", *RUN, "--resume"],
    "backfill --overwrite": ["backfill", *RUNS, "--agent", "replay", "--overwrite"],
    "backfill --rescore": ["backfill", *RUNS, "--rescore"],
    "backfill --resume": ["backfill", *RUNS, "--resume"],
    "tasks --overwrite": ["tasks", *RUN, "--limit", "3", "--overwrite"],
    "runs import": ["runs", "import", "past.jsonl", *RUN],
    "runs restore": ["runs", "restore", "small", KEY],
    "label import": ["label", "import", "small", KEY, "labels.csv"],
    "atlas run": ["atlas", "run", "--task-file", "tasks.jsonl", "--output-dir", "FOLDER"],
    "study": ["study", *RUN],
}
HOLDERS = {
    "a process here": (socket.gethostname(), os.getppid(), 1.0),
    "a process elsewhere": ("elsewhere", 1, 1.0),
    "a run between two stages": ("elsewhere", None, 30.0),
}


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files}


@pytest.fixture
def baseline(finish: Finish, project: Project) -> BaselinePaths:
    """A finished baseline, and what the commands read."""
    paths = finish("replay")
    for name in ("tasks.jsonl", "sessions.jsonl"):
        source = project.root / name.replace("sessions", "past")
        source.write_bytes((paths.folder / name).read_bytes())
    (project.root / "labels.csv").write_text("session,label\n")
    return paths


@contextmanager
def held_by(project: Project, folder: Path, host: str, pid: int | None, silent: float) -> Iterator[None]:
    """Let somebody else hold the lease of a folder."""
    place = (project_id(project), project.relative(folder))
    with hold(project, project.root / "other", a_command()):
        pass  # makes the table
    with psycopg.connect(connect_databases(project).leases, autocommit=True) as other:
        other.execute(
            "INSERT INTO crm_assets_leases (project, folder, holder, host, pid, heartbeat) "
            "VALUES (%s, %s, 'somebody else', %s, %s, now() - make_interval(secs => %s))",
            (*place, host, pid, silent),
        )
        yield
        other.execute("DELETE FROM crm_assets_leases WHERE project = %s AND folder = %s", place)


def test_every_command_is_refused_while_somebody_else_works_on_the_run(
    run: Run, project: Project, baseline: BaselinePaths
) -> None:
    study = StudyPaths.of(project, baseline.key).folder
    before = hashes(baseline.folder.parent)
    commands = dict(COMMANDS)
    for holder in HOLDERS.values():
        with held_by(project, baseline.folder, *holder), held_by(project, study, *holder):
            for name, words in commands.items():
                done = run(*(str(baseline.folder) if word == "FOLDER" else word for word in words))
                assert "is in use by somebody else" in done.output, (name, done.output)
                assert done.exit_code == (3 if name.startswith("backfill") else 2), name
                assert done.exception is None or isinstance(done.exception, SystemExit), name
                assert hashes(baseline.folder.parent) == before, name
        commands = {"baseline": COMMANDS["baseline"]}  # who holds it is looked at in one place
    assert not study.exists()


def test_a_run_of_the_ui_is_refused_too_and_holds_its_lease_from_stage_to_stage(
    project: Project, baseline: BaselinePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, met = defs.resolve_job_def(RESCORE_JOB), []
    before = hashes(baseline.folder)

    def look(*_: object, **__: object) -> Verdict:
        """Stand in for a check between the two stages."""
        met.extend(leases(project))
        return Verdict.good(1)

    monkeypatch.setattr("crm_assets.defs.checks.warning.find_missing_verdicts", look)
    with open_instance(project) as instance:

        def rescore() -> dg.ExecuteInProcessResult:
            key = str(baseline.key)
            return job.execute_in_process(instance=instance, partition_key=key, raise_on_error=False)

        with held_by(project, baseline.folder, *HOLDERS["a process elsewhere"]):
            (failure,) = [event.step_failure_data for event in rescore().get_step_failure_events()]
            assert failure.user_failure_data is not None
            assert " is in use by somebody else (process 1 on elsewhere" in str(
                failure.user_failure_data.description
            )
            assert hashes(baseline.folder) == before
        done = rescore()
        assert done.success
        assert met == [(f"Dagster run {done.run_id}", None)]
        assert leases(project) == []


def leases(project: Project) -> list[tuple[object, ...]]:
    with psycopg.connect(connect_databases(project).leases) as connection:
        return connection.execute("SELECT holder, pid FROM crm_assets_leases").fetchall()


def test_what_cannot_be_done_as_asked_is_refused_before_anything_is_changed(
    run: Run, project: Project, baseline: BaselinePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / "other.jsonl").write_bytes(baseline.sessions.read_bytes() + b"\n")
    before = hashes(baseline.folder.parent)
    keyless = ["--agent", "student", "--student", "openai/gpt-4.1"]
    into = ["--task-file", "tasks.jsonl", "--output-dir", str(baseline.folder)]
    for words, sentence in (
        (["baseline", *RUN], "is finished and protected"),
        (["tasks", *RUN], "is finished and protected"),
        (["baseline", *RUN, "--resume", "--agent", "noop"], "agent was replay and is now noop"),
        (["baseline", *RUN, "--overwrite", *keyless], "OPENAI_API_KEY"),
        (["baseline", *RUN, "--overwrite", "--replay", KEY, "--agent", "student"], "There is no ledger"),
        (["baseline", *RUN, "--overwrite", "--agent", "recorded", "--recorded", "none"], "is not a file"),
        (["runs", "import", "other.jsonl", *RUN], "is finished and protected"),
        (["runs", "restore", "small", KEY], "Nothing of baseline"),
        (["atlas", "run", *into], "README.md exists"),
    ):
        done = run(*words)
        assert (done.exit_code, sentence in done.output) == (2, True), (words, done.output)
        assert hashes(baseline.folder.parent) == before, words
    monkeypatch.setattr("crm_assets.atlas.header.code_fingerprint", lambda *_: "0" * 64)
    done = run("baseline", *RUN, "--resume")
    assert (done.exit_code, "cannot be resumed: code was" in done.output) == (2, True), done.output
    assert hashes(baseline.folder.parent) == before


def test_a_running_process_keeps_others_out_and_a_killed_one_lets_them_in(
    run: Run, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = BaselinePaths.of(project, BaselineKey.of("small", KEY))
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    with ScriptedServer(offline_models) as server:
        answered = 8
        server.script = lambda each: offline_models(each) if len(server.requests) <= answered else hang()
        config = Loop(project, "").config(models_at(server.url))
        student = ["--agent", "student", "--config", str(config), "--concurrency", "2"]
        words = ["baseline", *RUN, *student]
        command = [sys.executable, "-m", "crm_assets", *words]
        with subprocess.Popen(command, start_new_session=True) as other:
            try:
                assert eventually(lambda: len(server.requests) == answered + 2)  # each session hangs
                paid = hashes(paths.folder)
                for refused in (
                    ["baseline", *RUN],
                    ["baseline", *RUN, *student, "--limit", "3"],
                    ["baseline", *RUN, *student, "--overwrite"],
                    ["runs", "restore", "small", KEY],
                ):
                    done = run(*refused)
                    assert (done.exit_code, f"(process {other.pid} on " in done.output) == (2, True), (
                        done.output
                    )
            finally:
                os.killpg(other.pid, signal.SIGKILL)  # with Dagster's processes that read its output
                other.wait()
        assert hashes(paths.folder) == paid
        before = paths.ledger.read_bytes()
        assert before.count(b"\n") >= answered
        server.script = offline_models
        done = run("baseline", *RUN)
        assert done.exit_code == 0, done.output
        assert paths.ledger.read_bytes().startswith(before)
        assert paths.finished
