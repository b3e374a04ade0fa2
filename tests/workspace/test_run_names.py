"""Which run a person means: its key, the start of one, or `latest`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.run_names import find_finished, find_run

OLD, MIDDLE, NEW = "20260131T093000Z", "20260131T093000Z-trial", "20260201T093000Z"
FUTURE = "22000101T000000Z"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with two finished runs and a newer one that is not."""
    made = Project(tmp_path)
    for run in (OLD, MIDDLE, NEW):
        make(made, run, finished=run != NEW)
    return made


def make(project: Project, run: str, *, finished: bool) -> None:
    paths = BaselinePaths.of(project, BaselineKey.of("dev", run))
    paths.folder.mkdir(parents=True)
    paths.sessions.write_text("")
    if finished:
        for file in (paths.metrics, paths.readme, paths.manifest):
            file.write_text("")


def named(project: Project, name: str) -> str:
    return str(find_run(project, "dev", name).run)


def finished(project: Project, name: str) -> str:
    return str(find_finished(project, "dev", name).key.run)


def test_a_whole_key_is_that_run_even_where_others_start_with_it_or_there_is_none(project: Project) -> None:
    assert named(project, OLD) == finished(project, OLD) == OLD
    assert named(project, "20270101T000000Z") == "20270101T000000Z", "a new run"


def test_the_start_of_one_key_is_enough(project: Project) -> None:
    assert named(project, "202602") == NEW
    assert finished(project, "20260131T093000Z-t") == MIDDLE


def test_latest_is_the_newest_run_and_where_it_must_be_finished_of_those(
    project: Project,
) -> None:
    assert named(project, "latest") == NEW
    assert finished(project, "latest") == MIDDLE


def test_a_key_in_the_future_is_not_the_newest_for_ever(project: Project) -> None:
    make(project, FUTURE, finished=True)
    os.utime(BaselinePaths.of(project, BaselineKey.of("dev", FUTURE)).sessions, (0, 0))
    assert named(project, "latest") == NEW


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("2026", f"3 runs begin with '2026': {OLD}, {MIDDLE}, {NEW}; give more"),
        (
            "2027",
            r"'2027' is not a run key, nor the start of one of dataset dev: .*'latest'",
        ),
        ("", "is not a run key"),
        ("../dev", "is not a run key"),
    ],
)
def test_what_names_no_run_or_several_is_a_sentence(project: Project, name: str, sentence: str) -> None:
    for find in (find_run, find_finished):
        with pytest.raises(InputError, match=sentence):
            find(project, "dev", name)


def test_who_wants_a_finished_run_is_told_which_there_are_and_how_to_finish_it(project: Project) -> None:
    with pytest.raises(InputError, match=rf"\(not scored\): choose one of {OLD}, .*`crm-assets baseline"):
        find_finished(project, "dev", NEW)
    with pytest.raises(InputError, match=r"Dataset new has no run yet; make one with `crm-assets baseline"):
        find_finished(project, "new", "latest")
