"""A small project in a real UI, in a real browser; both are gone with the module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from crm_assets.generator import write_dataset
from crm_assets.workspace.project import Project

from .chromium import NAMES, Viewer, find_chromium, viewer
from .serving import own_project, served

CONVERSATIONS = 6


@dataclass(frozen=True)
class Stage:
    """What the tests look at."""

    project: Project
    view: Viewer


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser's path; without one there is nothing to see, which only CI must not accept."""
    found = find_chromium()
    if found is None:
        reason = f"no browser: none of {', '.join(NAMES)} is on the PATH; scripts/install-browser gets one"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def stage(chromium: str) -> Iterator[Stage]:
    """A project with the dataset `small`, served, and a browser on it."""
    with own_project() as project:
        write_dataset(project.dataset_file("small"), CONVERSATIONS, seed=11)
        with served(project) as address, viewer(chromium, address) as view:
            yield Stage(project, view)
