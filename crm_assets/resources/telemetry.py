"""The Atlas telemetry database, as a Dagster resource."""

# No postponed annotations here: Dagster reads the resource dependency off the class as it stands.

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import dagster as dg
import psycopg

from crm_assets.errors import InfrastructureError
from crm_assets.resources.postgres import PostgresResource

__all__ = ["TelemetryResource", "TelemetryStatus"]

_CONNECT_TIMEOUT = 10


class TelemetryStatus(NamedTuple):
    """What answers at the telemetry's address."""

    database: str
    server_version: str


class TelemetryResource(dg.ConfigurableResource[None]):
    """Connections to the database that sessions, rewards and learning are written to."""

    postgres: dg.ResourceDependency[PostgresResource]

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection]:
        """A connection whose transaction is committed when the block ends well.

        Raises:
            InfrastructureError: the database does not answer.
        """
        try:
            connection = psycopg.connect(
                self.postgres.databases().telemetry, connect_timeout=_CONNECT_TIMEOUT
            )
        except psycopg.OperationalError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InfrastructureError(
                f"The telemetry database does not answer ({reason}); correct STORAGE__DATABASE_URL "
                "or start its server."
            ) from error
        with connection:
            yield connection

    def check(self) -> TelemetryStatus:
        """What answers there.

        Raises:
            InfrastructureError: nothing does.
        """
        with self.connect() as connection:
            row = connection.execute(
                "SELECT current_database(), current_setting('server_version')"
            ).fetchone()
        if row is None:
            raise InfrastructureError("The telemetry database gave no answer; look at its log.")
        return TelemetryStatus(*row)
