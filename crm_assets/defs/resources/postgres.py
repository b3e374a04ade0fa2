"""The project's Postgres, as a Dagster resource."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from pydantic import Field

from crm_assets.database import Databases, connect_databases
from crm_assets.workspace.project import Project, find_project

__all__ = ["PostgresResource"]


class PostgresResource(dg.ConfigurableResource[None]):
    """The three logical databases; the embedded server is started by whoever asks first."""

    root: str = Field(
        default="", description="The project's folder; left out, the one this process works in."
    )

    @property
    def project(self) -> Project:
        """The project whose Postgres this is."""
        return Project(Path(self.root).resolve()) if self.root else find_project()

    def databases(self) -> Databases:
        """Addresses of the databases, all of them there and answering.

        Raises:
            InfrastructureError: a server does not answer or a database cannot be made.
        """
        return connect_databases(self.project)
