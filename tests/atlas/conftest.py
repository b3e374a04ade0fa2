from __future__ import annotations

from collections.abc import Iterator

import pytest

from crm_assets.crm import SandboxPool
from crm_assets.database import Databases
from crm_assets.harness import GroundTruthStore
from tests.projects import ProjectDatabases

from .loop import Loop, loop_project
from .play import Stage


@pytest.fixture(scope="session")
def stage(databases: Databases) -> Iterator[Stage]:
    """Plays single sessions; every one of them must leave its sandbox clean."""
    with SandboxPool(databases.sandbox, size=4) as pool, SandboxPool(databases.sandbox) as alone:
        truths = GroundTruthStore(databases.sandbox, alone)
        yield Stage(pool, truths)
        truths.close()
        assert pool.discarded == 0, "a session left a sandbox dirty"


@pytest.fixture
def loop(project_databases: ProjectDatabases) -> Iterator[Loop]:
    """A project to run the loop in, for one test."""
    with loop_project(project_databases) as made:
        yield made
