"""The Atlas telemetry database, as a Dagster resource."""

# No postponed annotations here: Dagster reads the resource dependency off the class as it stands.

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import dagster as dg
import psycopg

from crm_assets.database import connect_creating
from crm_assets.defs.resources.postgres import PostgresResource
from crm_assets.errors import InfrastructureError, last_line
from crm_assets.workspace.identity import known_project_id

__all__ = ["TelemetryResource", "TelemetryRow", "TelemetryStatus"]

_CONNECT_TIMEOUT = 10


class TelemetryStatus(NamedTuple):
    """The server that answers at the telemetry's address."""

    database: str
    server_version: str


class TelemetryRow(NamedTuple):
    """A session's row of the table `sessions`."""

    id: int
    session_key: str
    status: str
    execution_mode: str | None
    reward: float | None
    """0 to 1; None if the judges gave none."""
    created_at: str
    """ISO 8601, as `completed_at`."""
    completed_at: str | None


class TelemetryResource(dg.ConfigurableResource[None]):
    """Connections to the database that sessions, rewards and learning are written to."""

    postgres: dg.ResourceDependency[PostgresResource]

    @contextmanager
    def connect(self, configured: str | None = None) -> Iterator[psycopg.Connection]:
        """Yield a connection; its transaction is committed unless the block raises.

        Args:
            configured: an address that counts where STORAGE__DATABASE_URL is not set.

        Raises:
            InfrastructureError: the database does not answer.
        """
        address = self.postgres.databases().telemetry_for(configured)
        try:
            connection = connect_creating(
                address, lambda: psycopg.connect(address, connect_timeout=_CONNECT_TIMEOUT)
            )
        except psycopg.OperationalError as error:
            raise InfrastructureError(
                f"The telemetry database does not answer ({last_line(error)}); correct "
                "STORAGE__DATABASE_URL or start its server."
            ) from error
        with connection:
            yield connection

    def statuses(self, run_id: str, configured: str | None = None) -> dict[str, str]:
        """Return the status of each session of a run by its key; of those that were rerun, the last.

        Args:
            run_id: of the baseline.
            configured: the address in the run's configuration, which counts where the environment has none.

        Raises:
            InfrastructureError: the database does not answer.
        """
        return {row.session_key: row.status for row in self.rows(run_id, configured)}

    def rows(self, run_id: str, configured: str | None = None) -> list[TelemetryRow]:
        """Return the row of each session of a run, ordered by session key; of reruns, the last.

        Args:
            run_id: of the baseline.
            configured: the address in the run's configuration, which counts where the environment has none.

        Raises:
            InfrastructureError: the database does not answer.
        """
        from crm_assets.atlas.telemetry.statements import SESSION_ROWS  # noqa: PLC0415

        wanted = {"run_id": run_id, "project": known_project_id(self.postgres.artifacts.project)}
        with self.connect(configured) as connection:
            if connection.execute("SELECT to_regclass('sessions')").fetchone() == (None,):
                return []
            return [TelemetryRow(*row) for row in connection.execute(SESSION_ROWS, wanted)]

    def check(self) -> TelemetryStatus:
        """Return the server that answers.

        Raises:
            InfrastructureError: none does.
        """
        with self.connect() as connection:
            row = connection.execute(
                "SELECT current_database(), current_setting('server_version')"
            ).fetchone()
        if row is None:
            raise InfrastructureError("The telemetry database gave no answer; look at its log.")
        return TelemetryStatus(*row)
