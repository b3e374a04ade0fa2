"""The checks between the stages: each must fail for what it is there for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.atlas.tasks import write_tasks
from crm_assets.audit.integrity import find_dataset_change, find_session_mismatch, find_task_mismatch
from crm_assets.conversations import read_revision
from crm_assets.errors import InputError
from crm_assets.generator import write_dataset
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import write_json, write_jsonl
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

COUNT = 4
Lines = list[dict[str, Any]]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def paths(project: Project) -> BaselinePaths:
    """A baseline whose files agree; its sessions hold their IDs and nothing else."""
    dataset = project.dataset_file("small")
    dataset.parent.mkdir(parents=True)
    write_dataset(dataset, COUNT, seed=3)
    paths = BaselinePaths.of(project, BaselineKey.of("small", "20260131T093000Z"))
    revision = read_revision(dataset, "small", root=project.root)
    write_json(paths.revision, revision.model_dump(mode="json"))
    write_tasks(dataset, paths.tasks, dataset_revision=revision.sha256, run_id=paths.key.run_id)
    write_jsonl(paths.sessions, [_session(task) for task in _read(paths.tasks)])
    return paths


def _session(task: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "task_id": task["task_id"],
        "conversation_id": task["conversation"]["conversation_id"],
        "status": "failed",
        "atlas_metadata": {},
    }


def _read(path: Path) -> Lines:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def _edit(path: Path, edit: Callable[[Lines], Any]) -> None:
    lines = _read(path)
    edit(lines)
    write_jsonl(path, lines)


def test_files_that_agree_pass(project: Project, paths: BaselinePaths) -> None:
    assert find_dataset_change(project, paths).problem is None
    assert find_task_mismatch(project, paths, None) == (None, COUNT)
    assert find_session_mismatch(paths) == (None, COUNT)


def test_a_changed_dataset_is_found(project: Project, paths: BaselinePaths) -> None:
    with project.dataset_file("small").open("ab") as handle:
        handle.write(b"\n")
    assert "has changed" in str(find_dataset_change(project, paths).problem)


def test_a_revision_that_is_none_is_refused(project: Project, paths: BaselinePaths) -> None:
    paths.revision.write_text("{}")
    with pytest.raises(InputError, match="is not a dataset revision"):
        find_dataset_change(project, paths)


def _swap(lines: Lines) -> None:
    lines[0], lines[1] = lines[1], lines[0]


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda lines: lines.pop(), "There are 3 tasks for 4 conversations"),
        (lambda lines: lines.append(lines[-1]), "has an ID that an earlier task has"),
        (lambda lines: lines[1].update(task_id=lines[0]["task_id"]), "has an ID that an earlier task has"),
        (lambda lines: lines[1]["conversation"].update(complexity_level="other"), "is not the dataset's"),
        (lambda lines: lines.append({**lines[0], "task_id": "one too many"}), "is nothing"),
        (lambda lines: lines[2].update(dataset_revision="0" * 64), "another revision"),
        (_swap, "is not the dataset's conversation"),
    ],
)
def test_tasks_that_are_not_the_dataset_are_found(
    project: Project, paths: BaselinePaths, edit: Callable[[Lines], Any], problem: str
) -> None:
    _edit(paths.tasks, edit)
    assert problem in str(find_task_mismatch(project, paths, None).problem)


def test_a_limit_is_exact(project: Project, paths: BaselinePaths) -> None:
    _edit(paths.tasks, lambda lines: lines.pop())
    assert find_task_mismatch(project, paths, COUNT - 1).problem is None
    assert "There are 3 tasks for 2" in str(find_task_mismatch(project, paths, COUNT - 2).problem)
    assert find_task_mismatch(project, paths, COUNT).problem is not None


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda lines: lines.pop(1), "1 of 4 tasks have no session"),
        (lambda lines: lines[0].update(task_id="x::y"), "belongs to no task"),
        (lambda lines: lines[0].update(conversation_id="x"), "belongs to no task"),
    ],
)
def test_sessions_that_are_not_the_tasks_are_found(
    paths: BaselinePaths, edit: Callable[[Lines], Any], problem: str
) -> None:
    _edit(paths.sessions, edit)
    assert problem in str(find_session_mismatch(paths).problem)


def test_a_task_that_has_two_sessions_is_refused(paths: BaselinePaths) -> None:
    _edit(paths.sessions, lambda lines: lines.append(lines[0]))
    with pytest.raises(InputError, match=r"line 5: task .* already stands in line 1"):
        find_session_mismatch(paths)


def test_a_file_without_sessions_is_refused(paths: BaselinePaths) -> None:
    _edit(paths.sessions, lambda lines: lines.clear())
    with pytest.raises(InputError, match="holds no session"):
        find_session_mismatch(paths)


@pytest.mark.parametrize("line", ["not json", "[]", '{"task_id": "x"}'])
def test_a_line_that_is_no_session_is_named(paths: BaselinePaths, line: str) -> None:
    with paths.sessions.open("a") as handle:
        handle.write(line + "\n")
    with pytest.raises(InputError, match=rf"sessions\.jsonl, line {COUNT + 1} is not a session"):
        find_session_mismatch(paths)


def _epochs(paths: BaselinePaths, count: int) -> None:
    """Make the sessions those of a run of `count` epochs."""
    sessions = [
        {**session, "epoch": epoch, "atlas_metadata": {"agent": {"epochs": count}}}
        for epoch in range(1, count + 1)
        for session in _read(paths.sessions)
    ]
    write_jsonl(paths.sessions, sessions)


def test_each_task_has_a_session_in_each_epoch(paths: BaselinePaths) -> None:
    _epochs(paths, 3)
    assert find_session_mismatch(paths) == (None, 3 * COUNT)
    _edit(paths.sessions, lambda lines: lines.pop())
    assert "1 of 12 tasks have no session" in str(find_session_mismatch(paths).problem)


def test_a_session_of_a_wrong_epoch_is_found(paths: BaselinePaths) -> None:
    _epochs(paths, 3)
    _edit(paths.sessions, lambda lines: lines[-1].update(epoch=4))
    assert "is of epoch 4, and the run has 3" in str(find_session_mismatch(paths).problem)
    _edit(paths.sessions, lambda lines: lines[-1].update(epoch=1))
    with pytest.raises(InputError, match=r"line 12: task .* already stands in line 4"):
        find_session_mismatch(paths)
