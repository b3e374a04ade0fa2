"""`crm-assets runs note`, and where notes are shown."""

from __future__ import annotations

import json

from crm_assets.reporting.history import HistoryPaths
from crm_assets.workspace.files import read_json
from crm_assets.workspace.project import Project

from .conftest import KEY, Finish, Run


def test_notes_are_shown_and_leave_the_baseline_as_it_was(
    run: Run, finish: Finish, project: Project
) -> None:
    paths = finish("replay")
    before = {file: file.read_bytes() for file in paths.folder.rglob("*") if file.is_file()}
    noted = run("runs", "note", "small", "latest", "The upper bound.", "--tag", "bound", "--author", "Ada")
    assert noted.exit_code == 0, noted.output
    assert noted.stdout.startswith(f"{KEY}: bound\n") and "Ada: The upper bound." in noted.stdout
    assert {file: file.read_bytes() for file in paths.folder.rglob("*") if file.is_file()} == before
    verified = run("lineage", "small", KEY, "--verify")
    assert verified.exit_code == 0, verified.output

    page = HistoryPaths.of(project, "small").page.read_text()
    assert "| bound | The upper bound. | Ada " in page
    assert read_json(HistoryPaths.of(project, "small").document)["runs"][0]["tags"] == ["bound"]
    assert "bound: The upper bound." in run("runs", "list", "--dataset", "small").stdout
    (listed,) = json.loads(run("runs", "list", "--dataset", "small", "--tag", "bound", "--json").stdout)
    assert (listed["tags"], listed["notes"][0]["text"]) == (["bound"], "The upper bound.")
    other = run("runs", "list", "--dataset", "small", "--tag", "other")
    assert other.exit_code == 2 and "No run of small has the tag 'other'; tags: bound." in other.stderr

    gone = run("runs", "note", "small", KEY, "--untag", "bound", "--author", "Ada", "--json")
    assert json.loads(gone.stdout)["tags"] == []
    assert "| bound |" not in HistoryPaths.of(project, "small").page.read_text()


def test_a_run_that_is_not_there_is_refused_in_a_sentence(run: Run) -> None:
    result = run("runs", "note", "small", KEY, "Nothing.", "--author", "Ada")
    assert result.exit_code == 2
    assert f"There is no run {KEY} of dataset small" in result.stderr
