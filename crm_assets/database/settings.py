"""Which Postgres a project talks to, read from the environment.

`DB_HOST` (with `DB_PORT`, `DB_USER`, `DB_PASSWORD`, `DB_NAME`) names a real server; without it the
project's embedded one is used. `STORAGE__DATABASE_URL` moves the telemetry database,
`DAGSTER_DATABASE_URL` Dagster's own, each independently. A `.env` file in the project's folder gives
values that the environment does not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from dotenv import dotenv_values

from crm_assets.errors import ConfigError
from crm_assets.workspace.project import Project

__all__ = ["ServerSettings", "read_environment"]

_MAX_PORT = 65535


def read_environment(project: Project) -> dict[str, str]:
    """The process environment over the project's `.env` file; empty values count as not set."""
    merged: dict[str, str | None] = {**dotenv_values(project.root / ".env"), **os.environ}
    return {name: value for name, value in merged.items() if value}


@dataclass(frozen=True)
class ServerSettings:
    """What the environment says about the databases; None means the project's default."""

    host: str | None
    port: int
    user: str
    password: str | None
    sandbox_database: str
    telemetry_url: str | None
    dagster_url: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServerSettings:
        """Read the `DB_*`, `STORAGE__DATABASE_URL` and `DAGSTER_DATABASE_URL` variables.

        Raises:
            ConfigError: `DB_PORT` is no port number.
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
        )
