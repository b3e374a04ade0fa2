"""A project's runs: each is claimed once, released if it is empty, and listed when it is finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_assets.errors import InfrastructureError
from crm_assets.workspace.baseline_files import BaselinePaths, claim_run, finished_runs, release_run
from crm_assets.workspace.keys import BaselineKey, RunKey
from crm_assets.workspace.project import Project


def test_two_runs_asked_for_in_one_second_are_two_runs(tmp_path: Path) -> None:
    project = Project(tmp_path)
    asked = RunKey.parse("20260131T235959Z-a")
    assert [str(claim_run(project, "dev", asked)) for _ in range(2)] == [
        "20260131T235959Z-a",
        "20260201T000000Z-a",
    ]
    release_run(project, BaselineKey("dev", asked))
    assert claim_run(project, "dev", asked) == asked


def test_a_run_that_holds_something_is_not_given_back(tmp_path: Path) -> None:
    project = Project(tmp_path)
    key = BaselineKey("dev", claim_run(project, "dev", RunKey.now()))
    paths = BaselinePaths.of(project, key)
    paths.folder.mkdir()
    paths.revision.write_text("{}")
    release_run(project, key)
    assert paths.revision.exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.baselines.parent.mkdir()
    project.baselines.write_text("in the way")
    with pytest.raises(InfrastructureError, match="Could not create"):
        claim_run(project, "dev", RunKey.now())


def test_finished_runs_are_those_that_are_whole(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for run, finished in (
        ("20260131T093000Z", True),
        ("20260130T093000Z-a", True),
        ("20260129T093000Z", False),
    ):
        paths = BaselinePaths.of(project, BaselineKey.of("dev", run))
        paths.folder.mkdir(parents=True)
        paths.sessions.write_text("")
        for file in (paths.metrics, paths.readme) if finished else ():
            file.write_text("")
    (project.baselines / "dev" / "notes").mkdir()
    assert [str(paths.key.run) for paths in finished_runs(project, "dev")] == [
        "20260130T093000Z-a",
        "20260131T093000Z",
    ]
    assert list(finished_runs(project, "demo")) == []
