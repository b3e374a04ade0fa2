"""Runs that are divided into shards: the same sessions, each once, however often they are divided anew."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.run_plan import open_run
from crm_assets.atlas.task_run import Taking, TaskRun
from crm_assets.database import connect_databases
from crm_assets.engine import Shard
from crm_assets.errors import ConfigError, InfrastructureError, InputError, UnfinishedError
from crm_assets.llm import read_ledger
from crm_assets.workspace import shard_files
from crm_assets.workspace.baseline_files import RunFiles, sidecar_of
from crm_assets.workspace.compressed_lines import lines_before_packing, read_compressed_lines
from crm_assets.workspace.shard_files import ShardFiles, shards_of
from tests.atlas.loop import Loop, loop_project, models_at, offline_models, small_dataset
from tests.llm.scripted_server import ScriptedServer
from tests.projects import ProjectDatabases

COUNT = 8


@pytest.fixture(scope="module")
def loop(project_databases: ProjectDatabases) -> Iterator[Loop]:
    with loop_project(project_databases) as made:
        yield made


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(offline_models) as started:
        yield started


@pytest.fixture
def files(loop: Loop) -> Iterator[RunFiles]:
    made = loop.tasks(small_dataset(COUNT))
    yield made
    shutil.rmtree(made.folder)


def scripted(loop: Loop, files: RunFiles) -> TaskRun:
    return open_run(
        files,
        SessionPlan(agent="replay"),
        project=loop.project,
        databases=connect_databases(loop.project),
        dataset="dev",
    )


def student(loop: Loop, server: ScriptedServer, files: RunFiles, **plan: Any) -> TaskRun:
    config = loop.config(models_at(server.url))
    return open_run(
        files,
        SessionPlan(agent="student", config=config, **plan),
        project=loop.project,
        databases=connect_databases(loop.project),
        dataset="dev",
    )


def keys(path: Path) -> list[str]:
    return [orjson.loads(line)["task_id"] for line in path.read_bytes().splitlines()]


def test_shards_come_to_the_same_as_the_whole(loop: Loop, files: RunFiles):
    whole = scripted(loop, files).run()
    expected, header = keys(files.sessions), orjson.loads(files.run.read_bytes())
    for file in (files.sessions, files.run):
        file.unlink()
    shards = scripted(loop, files).plan(3)
    assert len(shards) == 3
    for shard in reversed(shards):
        scripted(loop, files).take(shard)
        assert not files.sessions.exists()
    summary, _ = scripted(loop, files).merge()
    assert keys(files.sessions) == expected
    assert (summary.total, summary.succeeded) == (whole.total, whole.succeeded)
    assert orjson.loads(files.run.read_bytes()) == header
    assert sorted(file.name for file in files.folder.iterdir()) == [
        "run.json",
        "sessions.jsonl",
        "tasks.jsonl",
    ]


def test_a_run_goes_on_in_another_number_of_shards_and_pays_for_nothing_twice(
    loop: Loop, server: ScriptedServer, files: RunFiles
):
    first = student(loop, server, files).plan(3)
    done = student(loop, server, files).take(first[0])
    stopped = student(loop, server, files).take(first[1], Taking(seconds=0.0))
    assert (stopped.total, stopped.left > 0) == (0, True)
    with pytest.raises(InfrastructureError, match="is missing in the results of the shards"):
        student(loop, server, files).merge()
    asked = len(server.requests)
    second = student(loop, server, files)
    shards = second.plan(2)
    assert second.division is not None
    assert (second.division.done_before, second.division.left) == (done.total, COUNT - done.total)
    assert shards_of(files) == []
    for shard in shards:
        student(loop, server, files).take(shard)
    _, spending = student(loop, server, files).merge()
    assert len(keys(files.sessions)) == len(set(keys(files.sessions))) == COUNT
    entries = list(read_ledger(files.ledger))
    assert sum(role.calls for role in spending.values()) == len(entries) == len(server.requests)
    assert asked < len(entries)
    calls = [(entry.session, entry.role, entry.request_sha256, entry.ordinal) for entry in entries]
    assert len(calls) == len(set(calls))
    assert orjson.loads(files.run.read_bytes())["answered_by"]
    recorded = [orjson.loads(line) for _, line in read_compressed_lines(files.requests)]
    assert sum(line["kind"] == "request" for line in recorded) == len(entries)
    assert not lines_before_packing(files.requests).exists()


def test_a_session_that_was_stopped_asks_nothing_again_in_another_shard(
    loop: Loop, server: ScriptedServer, files: RunFiles
):
    """Its calls are in the ledger of the run before it was divided."""
    run = student(loop, server, files)
    (shard,) = run.plan()
    run.take(shard)
    asked = len(server.requests)
    files.partial.unlink()  # as if all sessions had been stopped before their last line
    sidecar_of(files.partial).unlink()
    for part in student(loop, server, files).plan(2):
        student(loop, server, files).take(part)
    student(loop, server, files).merge()
    assert len(server.requests) == asked
    sessions = [orjson.loads(line) for line in files.sessions.read_bytes().splitlines()]
    assert all(one["tokens"] for one in sessions if "tokens" in one)


def test_merging_refuses_a_session_that_two_shards_have(loop: Loop, files: RunFiles):
    shards = scripted(loop, files).plan(2)
    for shard in shards:
        scripted(loop, files).take(shard)
    one, two = shards_of(files)
    before = two.partial.read_bytes()
    line = one.partial.read_bytes().splitlines(keepends=True)[0]
    two.partial.write_bytes(before + line)
    with pytest.raises(InfrastructureError, match="so it was run twice"):
        scripted(loop, files).merge()
    assert not files.sessions.exists()
    two.partial.write_bytes(before + line[:-10])  # torn: the other one is whole
    scripted(loop, files).merge()
    assert len(keys(files.sessions)) == COUNT


def test_another_version_of_the_code_is_refused(
    loop: Loop, files: RunFiles, monkeypatch: pytest.MonkeyPatch
):
    shards = scripted(loop, files).plan(2)
    monkeypatch.setattr("crm_assets.atlas.header.code_fingerprint", lambda _: "f" * 64)
    with pytest.raises(InputError, match="code was"):
        scripted(loop, files).take(shards[0])
    assert not ShardFiles.of(files, shards[0].name).folder.exists()


@pytest.mark.parametrize("step", ["rename", "rmtree", "replace"])
def test_merging_that_is_broken_off_goes_on(
    loop: Loop, files: RunFiles, monkeypatch: pytest.MonkeyPatch, step: str
):
    for shard in scripted(loop, files).plan(2):
        scripted(loop, files).take(shard)

    module = {"rename": Path, "rmtree": shard_files, "replace": shard_files.os}[step]
    real = getattr(module, step)

    def broken(path: Path, *more: Any, **options: Any) -> Any:
        if (step == "replace" and Path(path).parent.name != "merged") or options:
            return real(path, *more, **options)
        raise OSError(5, "the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(module, step, broken)
        with pytest.raises(InfrastructureError, match="nothing is lost"):
            scripted(loop, files).merge()
    scripted(loop, files).merge()
    assert len(keys(files.sessions)) == COUNT


def test_a_shard_of_nothing_is_none(loop: Loop, files: RunFiles):
    assert len(scripted(loop, files).plan(50)) == COUNT
    assert Shard(50, 50) not in scripted(loop, files).plan(50)


def test_sessions_of_an_agent_in_the_project_can_be_resumed_until_it_changes(loop: Loop):
    files = loop.tasks(small_dataset(1), run="own")
    module = loop.project.root / "own_agent.py"
    module.write_text("class Silent:\n    def turn(self, user, crm):\n        return 'No.'\n")
    agent = {"type": "python", "factory": "own_agent:Silent"}
    config = loop.config({**models_at("http://unused"), "agent": agent}, name="own")
    plan = SessionPlan(agent="student", config=config)

    def opened() -> TaskRun:
        return open_run(
            files, plan, project=loop.project, databases=connect_databases(loop.project), dataset="dev"
        )

    opened().run()
    opened().require_resumable()
    module.write_text("# changed\n" + module.read_text())
    with pytest.raises(InputError, match=r"cannot be resumed: agent\.source_sha256 was"):
        opened().require_resumable()
    shutil.rmtree(files.folder)


def test_a_run_without_a_key_is_not_divided(loop: Loop, files: RunFiles):
    """Else each shard would fail for the same reason."""
    config = loop.config(models_at("http://unused", api_key_env="NOBODY_HAS_IT"), name="keyless")
    run = open_run(
        files,
        SessionPlan(agent="student", config=config),
        project=loop.project,
        databases=connect_databases(loop.project),
        dataset="dev",
    )
    with pytest.raises(ConfigError, match="NOBODY_HAS_IT"):
        run.plan(2)
    assert not files.partial.exists()


def test_shards_divide_what_is_left_of_a_budget(loop: Loop, server: ScriptedServer):
    files = loop.tasks(small_dataset(24), run="budget")
    student(loop, server, files).run()
    used = sum(entry.counted.tokens for entry in read_ledger(files.ledger))
    shutil.rmtree(files.folder)
    files = loop.tasks(small_dataset(24), run="budget")
    plan = {"budget_tokens": used // 2, "concurrency": 2}
    planned = student(loop, server, files, **plan)
    shards = planned.plan(4)
    assert planned.division is not None
    for shard in shards:
        taking = Taking(budget=planned.division.budgets[shard.name])
        assert student(loop, server, files, **plan).take(shard, taking).not_run
    with suppress(UnfinishedError):  # about half of them have not run
        student(loop, server, files, **plan).merge()
    spent = sum(entry.counted.tokens for entry in read_ledger(files.ledger))
    assert 0.5 * plan["budget_tokens"] < spent <= 1.05 * plan["budget_tokens"]
    shutil.rmtree(files.folder)
