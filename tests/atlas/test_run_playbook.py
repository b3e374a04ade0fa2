"""What runs learn stays in their namespace, and each run records the playbook before and after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from crm_assets.atlas.playbook import RunPlaybook
from crm_assets.atlas.run_playbook import read_run_playbook
from crm_assets.errors import ConfigError
from crm_assets.records import PlaybookUse, SessionLog
from crm_assets.workspace.baseline_files import RunFiles
from tests.atlas.loop import Loop, loop_project, models_at, offline_models, small_dataset
from tests.llm.scripted_server import ScriptedServer
from tests.projects import ProjectDatabases

COUNT = 4


@dataclass(frozen=True)
class Runs:
    """Runs over the same conversations: of `demo`, then twice of `dev`, the second one frozen."""

    loop: Loop
    demo: RunFiles
    first: RunFiles
    frozen: RunFiles


@pytest.fixture(scope="module")
def runs(project_databases: ProjectDatabases) -> Iterator[Runs]:
    with loop_project(project_databases) as loop, ScriptedServer(offline_models) as server:
        config, documents = loop.config(models_at(server.url)), small_dataset(COUNT)
        made = {}
        for dataset, run, learning in (("demo", "d", "on"), ("dev", "one", "on"), ("dev", "two", "frozen")):
            files = loop.tasks(documents, dataset=dataset, run=run)
            loop.run(files, config, dataset=dataset, learning=learning)
            made[dataset, run] = files
        yield Runs(loop, *made.values())


def use(files: RunFiles) -> PlaybookUse:
    found = SessionLog(files.sessions).header.playbook
    assert found is not None
    return found


def document(files: RunFiles) -> RunPlaybook:
    return read_run_playbook(files)


def test_one_dataset_does_not_teach_another(runs: Runs):
    assert use(runs.demo).entries_after > 0
    assert (use(runs.first).namespace, use(runs.first).entries, use(runs.first).taught_by) == ("dev", 0, 0)
    first = next(iter(SessionLog(runs.first.sessions).summaries())).session
    assert first.atlas_metadata.entries_available == 0
    keys = {key for (key,) in runs.loop.query("SELECT learning_key FROM learning_registry")}
    assert {key.partition("::")[0] for key in keys} == {"demo", "dev"}


def test_a_run_keeps_the_playbook_before_and_after(runs: Runs):
    first, frozen = document(runs.first), document(runs.frozen)
    assert first.before.keys == {}
    assert first.after is not None
    assert first.after.entries == use(runs.first).entries_after > 0
    assert first.after.sha256 == use(runs.first).sha256_after != first.before.sha256
    assert (frozen.learning, frozen.before) == ("frozen", first.after)
    assert frozen.after == frozen.before  # it was read, and not written


def test_conversations_that_taught_the_playbook_before_are_counted(runs: Runs):
    assert use(runs.frozen).taught_by == COUNT


def test_another_namespace_starts_empty(runs: Runs):
    files = runs.loop.tasks(small_dataset(1), run="apart")
    with ScriptedServer(offline_models) as server:
        config = runs.loop.config(models_at(server.url), name="apart")
        runs.loop.run(files, config, learning="frozen", namespace="trial")
    assert (use(files).namespace, use(files).entries, use(files).taught_by) == ("trial", 0, 0)


def test_the_sdk_does_not_teach_what_nobody_approved(runs: Runs):
    files = runs.loop.tasks(small_dataset(1), run="sdk")
    strict = {"engine": "sdk", "runtime_safety": {"review": {"require_approval": True}}}
    config = runs.loop.config(models_at("http://127.0.0.1:9/v1"), strict, name="strict")
    with pytest.raises(ConfigError, match="merges what a session taught before anybody can approve it"):
        runs.loop.run(files, config)
    assert not files.playbook.exists()
