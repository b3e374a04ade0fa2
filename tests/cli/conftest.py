"""The command line, called in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from crm_assets.cli import cli
from crm_assets.generator import write_dataset
from crm_assets.workspace.project import Project

Run = Callable[..., Result]


@pytest.fixture
def run(project: Project, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls `crm-assets` in a project that has the dataset `small`."""
    write_dataset(project.dataset_file("small"), 6, seed=11)
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("COLUMNS", "160")  # so that tables keep their words together

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    return call
