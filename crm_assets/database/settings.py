"""The Postgres servers of a project, read from the environment.

`DB_HOST` (with `DB_PORT`, `DB_USER`, `DB_PASSWORD`, `DB_NAME`) selects a server; without it the project's
embedded one is used. `STORAGE__DATABASE_URL` moves the telemetry database, `DAGSTER_DATABASE_URL` that of
Dagster, each independently. `DB_OUTAGE_SECONDS` (300) is how long a run waits for one that went away. A
`.env` file in the project's folder provides values that the environment lacks.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from crm_assets.errors import ConfigError
from crm_assets.workspace.environment import read_env_file
from crm_assets.workspace.project import Project

__all__ = ["DatabasePlace", "ServerSettings", "read_environment"]

_MAX_PORT = 65535
DEFAULT_OUTAGE_SECONDS = 300.0
TELEMETRY_DATABASE = "atlas"
DAGSTER_DATABASE = "dagster"


def read_environment(project: Project) -> dict[str, str]:
    """Return the process environment over the project's `.env` file; empty values count as not set.

    Raises:
        ConfigError: the file is not UTF-8, or a line is not of the form NAME=value.
    """
    merged: dict[str, str | None] = {**read_env_file(project.root / ".env"), **os.environ}
    return {name: value for name, value in merged.items() if value}


class DatabasePlace(NamedTuple):
    """Address of a logical database."""

    host: str | None
    """A name, an address, or the folder of a unix socket; None for the project's embedded server."""
    port: str
    name: str

    def __str__(self) -> str:
        """Return host, port and name."""
        return "embedded" if self.host is None else f"{self.host}:{self.port}/{self.name}"

    @property
    def over_tcp(self) -> bool:
        """Return True if other machines can reach it, as far as its address tells."""
        return self.host is not None and not self.host.startswith("/")


@dataclass(frozen=True)
class ServerSettings:
    """The environment's settings of the databases; None means the project's default."""

    host: str | None
    port: int
    user: str
    password: str | None
    sandbox_database: str
    telemetry_url: str | None
    dagster_url: str | None
    outage_seconds: float = DEFAULT_OUTAGE_SECONDS
    """Time that a run waits for a database that went away."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServerSettings:
        """Read the `DB_*`, `STORAGE__DATABASE_URL` and `DAGSTER_DATABASE_URL` variables.

        Raises:
            ConfigError: `DB_PORT` is not a port number, or `DB_OUTAGE_SECONDS` no number of seconds.
        """
        port = environment.get("DB_PORT", "5432")
        if not port.isdecimal() or not 0 < int(port) <= _MAX_PORT:
            raise ConfigError(f"DB_PORT must be a port number from 1 to {_MAX_PORT}, not {port!r}.")
        return cls(
            host=environment.get("DB_HOST"),
            port=int(port),
            user=environment.get("DB_USER", "postgres"),
            password=environment.get("DB_PASSWORD"),
            sandbox_database=environment.get("DB_NAME", "crm_sandbox"),
            telemetry_url=environment.get("STORAGE__DATABASE_URL"),
            dagster_url=environment.get("DAGSTER_DATABASE_URL"),
            outage_seconds=_seconds(environment.get("DB_OUTAGE_SECONDS")),
        )

    @property
    def places(self) -> dict[str, DatabasePlace]:
        """Return where each logical database is; nothing is connected to.

        Raises:
            ConfigError: a URL is none.
        """
        places = {
            name: DatabasePlace(self.host, str(self.port), database)
            for name, database in (
                ("sandbox", self.sandbox_database),
                ("telemetry", TELEMETRY_DATABASE),
                ("dagster", DAGSTER_DATABASE),
            )
        }
        if self.telemetry_url is not None:
            places["telemetry"] = _place("STORAGE__DATABASE_URL", self.telemetry_url)
        if self.dagster_url is not None:
            places["dagster"] = _place("DAGSTER_DATABASE_URL", self.dagster_url)
        return places


def _place(variable: str, url: str) -> DatabasePlace:
    try:
        parts = conninfo_to_dict(url.replace("postgresql+psycopg2://", "postgresql://", 1))
    except psycopg.ProgrammingError as error:
        raise ConfigError(
            f"{variable} must be a URL like postgresql://user:password@host:5432/database."
        ) from error
    # Without a host libpq takes the unix socket.
    return DatabasePlace(
        str(parts.get("host") or "/"), str(parts.get("port") or "5432"), str(parts.get("dbname"))
    )


def _seconds(text: str | None) -> float:
    try:
        seconds = DEFAULT_OUTAGE_SECONDS if text is None else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ConfigError(f"DB_OUTAGE_SECONDS must be a number of seconds from 0, not {text!r}.")
    return seconds
