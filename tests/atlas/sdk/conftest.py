"""One process with the SDK for all runs of these tests, and a project to run in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.atlas.loop import Loop, loop_project
from tests.projects import ProjectDatabases

from .environment import SdkProcess


@pytest.fixture(scope="package")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkProcess]:
    """Importing the SDK takes seconds."""
    with SdkProcess(tmp_path_factory.mktemp("sdk") / "said.txt") as started:
        yield started


@pytest.fixture
def loop(project_databases: ProjectDatabases) -> Iterator[Loop]:
    """A project of its own."""
    with loop_project(project_databases) as made:
        yield made
