"""Connections to Postgres: the project's embedded server, or one that the user runs.

Three logical databases: `crm_sandbox` (case state), `atlas` (telemetry, rewards, learning) and
`dagster` (its storage).
"""

from __future__ import annotations

from crm_assets.database.embedded import embedded_address, start_embedded, stop_embedded
from crm_assets.database.lease import InUse, LeaseLost, a_command, hold
from crm_assets.database.logical import Databases, connect_creating, connect_databases, create_database
from crm_assets.database.outage import (
    DatabaseGone,
    check_answers,
    failure,
    is_gone,
    through_outage,
)
from crm_assets.database.settings import (
    DEFAULT_OUTAGE_SECONDS,
    DatabasePlace,
    ServerSettings,
    read_environment,
)
from crm_assets.database.shards import ShardClaim, ShardRow, ShardTable

__all__ = [
    "DEFAULT_OUTAGE_SECONDS",
    "DatabaseGone",
    "DatabasePlace",
    "Databases",
    "InUse",
    "LeaseLost",
    "ServerSettings",
    "ShardClaim",
    "ShardRow",
    "ShardTable",
    "a_command",
    "check_answers",
    "connect_creating",
    "connect_databases",
    "create_database",
    "embedded_address",
    "failure",
    "hold",
    "is_gone",
    "read_environment",
    "start_embedded",
    "stop_embedded",
    "through_outage",
]
