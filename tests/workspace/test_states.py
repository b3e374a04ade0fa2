"""The states of a run: each has a name, and from each one command leads to a finished baseline.

The stages here write the real files in the real order, by the rules of `prepare`, `begin` and `finish`,
and are killed at any change of the disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths, sidecar_of
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.states import RunState, prepare, status_of

KEY = BaselineKey.of("dev", "20260131T093000Z")
TASKS = ("t1", "t2", "t3")
STAGES = ("dataset_revision", "atlas_tasks", "atlas_sessions", "baseline_metrics", "baseline_readme")


class Killed(BaseException):
    """The process is gone."""


@contextmanager
def killed_at(change: int | None) -> Iterator[None]:
    """Kill what runs within before its n-th change of the disk; None for never."""
    left = [change]
    with pytest.MonkeyPatch.context() as patch:

        def counted(real: Any) -> Any:
            def act(*arguments: Any, **options: Any) -> Any:
                if left[0] is not None:
                    if left[0] == 0:
                        raise Killed
                    left[0] -= 1
                return real(*arguments, **options)

            return act

        patch.setattr(os, "replace", counted(os.replace))
        for name in ("unlink", "rename", "mkdir", "write_text"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        with suppress(Killed):
            yield


def append(path: Path, line: str) -> None:
    path.write_text((path.read_text() if path.exists() else "") + line + "\n")


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


class Stages:
    """What the lineage does to the files of a run."""

    def __init__(self, paths: BaselinePaths) -> None:
        self.paths = paths

    def dataset_revision(self, overwrite: bool) -> None:
        self.paths.folder.mkdir(parents=True, exist_ok=True)
        if prepare(self.paths, self.paths.revision, overwrite=overwrite):
            self.paths.revision.write_text("revision")

    def atlas_tasks(self, overwrite: bool) -> None:
        if prepare(self.paths, self.paths.tasks, overwrite=overwrite):
            self.paths.tasks.write_text("\n".join(TASKS))

    def atlas_sessions(self, overwrite: bool) -> None:
        paths = self.paths
        assert paths.tasks.exists()
        if not prepare(paths, paths.sessions, overwrite=overwrite):
            return
        if not paths.begun:
            paths.plan.write_text("plan")
        sidecar_of(paths.partial).write_text("run")
        for task in TASKS:
            if task not in lines(paths.partial):
                if task not in lines(paths.ledger):  # what is answered is not paid again
                    append(paths.ledger, task)
                append(paths.partial, task)
        paths.finish()

    def baseline_metrics(self, overwrite: bool) -> None:
        figures = ",".join(lines(self.paths.sessions))
        assert self.paths.run.exists()
        self.paths.unpublish()
        self.paths.metrics.write_text(figures)

    def baseline_readme(self, overwrite: bool) -> None:
        self.paths.readme.write_text(self.paths.metrics.read_text())
        self.paths.manifest.write_text("sealed")

    def run(self, first: str, *, overwrite: bool = False) -> None:
        for name in STAGES[STAGES.index(first) :]:
            getattr(self, name)(overwrite)


class AnyKills(RuleBasedStateMachine):
    """Commands on one run, each killed anywhere or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="states-"))
        self.paths = BaselinePaths.of(Project(self.root), KEY)
        self.stages = Stages(self.paths)
        self.paid = 0

    def teardown(self) -> None:
        self.go_on(None)
        assert status_of(self.paths).state is RunState.FINISHED
        assert self.paths.readme.read_text() == ",".join(TASKS)
        shutil.rmtree(self.root)

    def count_paid(self) -> int:
        return sum(len(lines(ledger)) for ledger in self.paths.folder.parent.rglob("ledger.jsonl"))

    @rule(kill=st.none() | st.integers(0, 25))
    def go_on(self, kill: int | None) -> None:
        first = status_of(self.paths).next_stage
        if first is None:
            with pytest.raises(InputError, match="is finished and protected"):
                self.stages.run(STAGES[0])
            return
        with killed_at(kill):
            self.stages.run(first)

    @rule(kill=st.none() | st.integers(0, 25))
    def materialize_all(self, kill: int | None) -> None:
        """As the UI does, which knows nothing of states."""
        if not self.paths.finished:
            with killed_at(kill):
                self.stages.run(STAGES[0])

    @rule(kill=st.none() | st.integers(0, 6))
    def rescore(self, kill: int | None) -> None:
        if self.paths.has_sessions:
            with killed_at(kill):
                self.stages.run("baseline_metrics")

    @rule(kill=st.none() | st.integers(0, 15))
    def resume(self, kill: int | None) -> None:
        if self.paths.has_sessions:
            with killed_at(kill):
                self.paths.reopen()
                self.stages.run("atlas_sessions")

    @rule(kill=st.none() | st.integers(0, 25))
    def overwrite(self, kill: int | None) -> None:
        with killed_at(kill):
            self.stages.run(STAGES[0], overwrite=True)

    @rule(kill=st.none() | st.integers(0, 3))
    def restore(self, kill: int | None) -> None:
        if self.paths.replaced:
            with killed_at(kill):
                self.paths.restore()

    @invariant()
    def nothing_paid_is_lost_or_paid_twice(self) -> None:
        now = self.count_paid()
        assert now >= self.paid
        self.paid = now
        assert len(set(lines(self.paths.ledger))) == len(lines(self.paths.ledger))
        done = [*lines(self.paths.partial), *lines(self.paths.sessions)]
        assert set(done) <= set(lines(self.paths.ledger))

    @invariant()
    def every_state_has_its_name_and_its_command(self) -> None:
        status = status_of(self.paths)
        finished = status.state is RunState.FINISHED
        assert (status.next_stage is None) == (status.command is None) == finished
        if finished:
            assert self.paths.readme.read_text() == self.paths.metrics.read_text() == ",".join(TASKS)
            assert lines(self.paths.sessions) == list(TASKS)


TestAnyKills = AnyKills.TestCase
TestAnyKills.settings = settings(max_examples=60, stateful_step_count=8, deadline=None)


@pytest.fixture
def paths(tmp_path: Path) -> BaselinePaths:
    made = BaselinePaths.of(Project(tmp_path), KEY)
    made.folder.mkdir(parents=True)
    return made


def test_each_kill_of_a_first_run_leaves_the_next_state(paths: BaselinePaths) -> None:
    met = []
    for change in range(60):
        shutil.rmtree(paths.folder, ignore_errors=True)
        with killed_at(change):
            Stages(paths).run(STAGES[0])
        if not met or met[-1] is not status_of(paths).state:
            met.append(status_of(paths).state)
    assert met == list(RunState)


def test_an_import_goes_on_by_its_own_command_until_it_is_marked(paths: BaselinePaths) -> None:
    for file in (paths.imported, paths.sessions, paths.metrics):
        file.write_text("")
    status = status_of(paths)
    assert status.state is RunState.NOT_SCORED
    assert f"crm-assets runs import {paths.imported}" in str(status.command)
    paths.coverage.write_text("{}")
    assert status_of(paths).state is RunState.NOT_PUBLISHED


def test_a_baseline_from_before_manifests_is_finished(paths: BaselinePaths) -> None:
    for file in (paths.sessions, paths.run, paths.metrics, paths.readme):
        file.write_text("")
    status = status_of(paths)
    assert (status.state, status.note) == (RunState.FINISHED, "made by a version without manifests")
    paths.unpublish()
    assert status_of(paths).state is RunState.NOT_PUBLISHED


def test_what_is_replaced_can_be_restored_and_that_undone(paths: BaselinePaths) -> None:
    Stages(paths).run(STAGES[0])
    paths.metrics.write_text("the first")
    Stages(paths).run(STAGES[0], overwrite=True)
    assert lines(paths.metrics) == [",".join(TASKS)]
    paths.restore()
    assert lines(paths.metrics) == ["the first"]
    assert paths.finished
    paths.restore()
    assert lines(paths.metrics) == [",".join(TASKS)]
