"""The files of a project, as a Dagster resource."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from pydantic import Field

from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project, find_project

__all__ = ["ArtifactsResource"]


class ArtifactsResource(dg.ConfigurableResource[None]):
    """The project: its datasets, its baselines, and the settings of its databases."""

    root: str = Field(
        default="", description="The project's folder; left out, the one this process works in."
    )

    @property
    def project(self) -> Project:
        """Return the project."""
        return Project(Path(self.root).resolve()) if self.root else find_project()

    def baseline(self, key: BaselineKey) -> BaselinePaths:
        """Return the files of baseline `key`."""
        return BaselinePaths.of(self.project, key)
