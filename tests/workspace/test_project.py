from __future__ import annotations

from pathlib import Path

import pytest

from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project, find_project
from crm_assets.workspace.study_files import StudyPaths
from crm_assets.workspace.sweep_files import SweepPaths


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of a project with folders in it."""
    root = tmp_path / "project"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "workspace.yaml").touch()
    return root


@pytest.mark.parametrize("inside", [".", "deep", "deep/er"])
def test_the_project_is_the_nearest_folder_with_a_workspace(
    project: Path, monkeypatch: pytest.MonkeyPatch, inside: str
):
    monkeypatch.chdir(project / inside)
    assert find_project() == Project(project)


def test_a_project_within_a_project_is_its_own(project: Path, monkeypatch: pytest.MonkeyPatch):
    (project / "deep" / "workspace.yaml").touch()
    monkeypatch.chdir(project / "deep" / "er")
    assert find_project().root == project / "deep"


def test_a_folder_called_like_the_file_makes_no_project(project: Path, monkeypatch: pytest.MonkeyPatch):
    (project / "deep" / "workspace.yaml").mkdir()
    monkeypatch.chdir(project / "deep")
    assert find_project().root == project


def test_the_environment_names_another_project(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(project)
    monkeypatch.setenv("CRM_ASSETS_HOME", str(tmp_path / "elsewhere"))
    assert find_project().root == tmp_path / "elsewhere"
    monkeypatch.setenv("CRM_ASSETS_HOME", "deep/../deep")
    assert find_project().root == project / "deep"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CRM_ASSETS_HOME", "~/mine")
    assert find_project().root == tmp_path / "mine"
    monkeypatch.setenv("CRM_ASSETS_HOME", "")
    assert find_project().root == project


def test_without_any_project_it_is_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert find_project().root == tmp_path


def test_everything_has_its_place_in_the_project(project: Path):
    here = Project(project)
    assert here.dataset_file("dev") == project / "data" / "conversations" / "dev.jsonl"
    assert here.baselines == project / "artifacts" / "baselines"
    assert here.state == project / ".crm_assets"
    assert here.dagster_home == project / "dagster_home"
    assert here.configs == project / "configs" / "atlas"


def test_all_that_runs_leave_is_in_the_named_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_ASSETS_ARTIFACTS", str(tmp_path / "shared"))
    project, key = Project(tmp_path / "here"), BaselineKey.of("dev", "20260131T093000Z")
    folders = (
        BaselinePaths.of(project, key).folder,
        StudyPaths.of(project, key).folder,
        SweepPaths.of(project, key.run).folder,
    )
    assert all(folder.is_relative_to(tmp_path / "shared") for folder in folders)
