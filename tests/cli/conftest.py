"""The command line, called in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from crm_assets.cli import cli
from crm_assets.generator import write_dataset
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.projects import Snapshots

Run = Callable[..., Result]
Finish = Callable[[str], BaselinePaths]

KEY = "20260131T093000Z"


@pytest.fixture
def run(project: Project, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls `crm-assets` in a project that has the dataset `small`."""
    write_dataset(project.dataset_file("small"), 6, seed=11)
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("COLUMNS", "160")  # so that tables keep their words together

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    return call


@pytest.fixture
def finish(run: Run, project: Project, snapshots: Snapshots) -> Finish:
    """Brings a fresh project into the state in which run `KEY` of `small` by some agent is finished."""

    def finish_by(agent: str) -> BaselinePaths:
        def make() -> None:
            made = run("baseline", "--agent", agent, "--dataset", "small", "--run", KEY)
            assert made.exit_code == 0, made.output

        snapshots.bring(project, f"small by {agent}", make)
        return BaselinePaths.of(project, BaselineKey.of("small", KEY))

    return finish_by
