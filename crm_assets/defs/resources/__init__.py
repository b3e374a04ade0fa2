"""The assets' resources: the project's files, Postgres, the CRM sandbox, the telemetry."""

from __future__ import annotations

from crm_assets.defs.resources.artifacts import ArtifactsResource
from crm_assets.defs.resources.postgres import PostgresResource
from crm_assets.defs.resources.sandbox import EMPTY_BASE, SandboxReset, SandboxResource
from crm_assets.defs.resources.telemetry import TelemetryResource, TelemetryRow, TelemetryStatus

__all__ = [
    "EMPTY_BASE",
    "ArtifactsResource",
    "PostgresResource",
    "SandboxReset",
    "SandboxResource",
    "TelemetryResource",
    "TelemetryRow",
    "TelemetryStatus",
]
