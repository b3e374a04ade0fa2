"""A small dataset, and a Dagster instance that is gone with the test."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from crm_assets.generator import write_dataset
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

CONVERSATIONS = 6


@pytest.fixture
def key(project: Project) -> BaselineKey:
    """A baseline of a small dataset that is there."""
    write_dataset(project.dataset_file("small"), CONVERSATIONS, seed=11)
    return BaselineKey.of("small", "20260131T093000Z")


@pytest.fixture
def paths(project: Project, key: BaselineKey) -> BaselinePaths:
    """Its files."""
    return BaselinePaths.of(project, key)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance
