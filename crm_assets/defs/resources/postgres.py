"""The project's Postgres, as a Dagster resource."""

# No postponed annotations here: Dagster reads the resource dependency off the class as it stands.

import dagster as dg
from pydantic import Field

from crm_assets.database import Databases, connect_databases
from crm_assets.defs.resources.artifacts import ArtifactsResource
from crm_assets.workspace.project import Project

__all__ = ["PostgresResource"]


class PostgresResource(dg.ConfigurableResource[None]):
    """The databases of the project; its embedded server is started when it is first needed."""

    artifacts: dg.ResourceDependency[ArtifactsResource]
    sandbox_url: str = Field(
        default="",
        description="The sandbox database, postgresql://user:password@host:5432/crm_sandbox; left out, "
        "DB_HOST and the other DB_ variables of the environment, or the embedded server.",
    )
    telemetry_url: str = Field(
        default="",
        description="The telemetry database, postgresql://user:password@host:5432/atlas; left out, "
        "STORAGE__DATABASE_URL of the environment, the run's configuration, or the sandbox's server.",
    )

    @classmethod
    def of(cls, project: Project) -> "PostgresResource":
        """Return the resource of `project`, for use outside of Dagster."""
        return cls(artifacts=ArtifactsResource(root=str(project.root)))

    def databases(self) -> Databases:
        """Return the databases; missing ones are created.

        Raises:
            ConfigError: an address is not valid.
            InfrastructureError: a server does not answer, or a database cannot be created.
        """
        return connect_databases(
            self.artifacts.project, sandbox_url=self.sandbox_url, telemetry_url=self.telemetry_url
        )
