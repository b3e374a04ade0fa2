"""Connections to Postgres: the project's embedded server, or one that the user runs.

Three logical databases: `crm_sandbox` (case state), `atlas` (telemetry, rewards, learning) and
`dagster` (its storage).
"""

from __future__ import annotations

from crm_assets.database.embedded import embedded_address, start_embedded, stop_embedded
from crm_assets.database.logical import Databases, connect_databases
from crm_assets.database.settings import ServerSettings, read_environment

__all__ = [
    "Databases",
    "ServerSettings",
    "connect_databases",
    "embedded_address",
    "read_environment",
    "start_embedded",
    "stop_embedded",
]
