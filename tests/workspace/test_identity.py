"""The identity of a project: made once, whoever asks, and kept where the baselines are."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crm_assets.errors import InputError
from crm_assets.workspace.identity import known_project_id, project_id
from crm_assets.workspace.project import Project


def test_it_is_made_once_and_goes_where_the_baselines_go(tmp_path: Path) -> None:
    project = Project(tmp_path / "one")
    assert known_project_id(project) is None
    with ThreadPoolExecutor(8) as threads:
        (made,) = set(threads.map(lambda _: project_id(project), range(32)))
    assert known_project_id(project) == made
    shutil.copytree(project.baselines.parent, tmp_path / "copy" / "artifacts")
    assert project_id(Project(tmp_path / "copy")) == made
    assert project_id(Project(tmp_path / "two")) != made


def test_a_file_that_a_crash_left_empty_is_written_again(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.identity.parent.mkdir()
    project.identity.touch()
    assert known_project_id(project) is None
    assert project_id(project) == known_project_id(project)


def test_a_crash_leaves_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    project = Project(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)  # the last thing that happens
        with pytest.raises(KeyboardInterrupt):
            project_id(project)
    assert not project.identity.exists()
    assert project_id(project) == known_project_id(project)


def test_a_damaged_file_is_refused_and_not_replaced(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.identity.parent.mkdir()
    project.identity.write_text('{"projec')
    with pytest.raises(InputError, match="does not hold the project's identity"):
        project_id(project)
    assert project.identity.read_text() == '{"projec'
