"""What the assets stand on: the baseline's files, Postgres, the CRM sandbox, the telemetry."""

from __future__ import annotations

from crm_assets.defs.resources.artifacts import ArtifactsResource
from crm_assets.defs.resources.postgres import PostgresResource
from crm_assets.defs.resources.sandbox import SandboxResource
from crm_assets.defs.resources.telemetry import TelemetryResource, TelemetryStatus

__all__ = [
    "ArtifactsResource",
    "PostgresResource",
    "SandboxResource",
    "TelemetryResource",
    "TelemetryStatus",
]
