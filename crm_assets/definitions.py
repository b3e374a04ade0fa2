"""What Dagster loads: wiring, nothing else."""

from __future__ import annotations

import dagster as dg

from crm_assets.assets import LINEAGE, conversations
from crm_assets.checks import CHECKS
from crm_assets.jobs import baseline
from crm_assets.resources import (
    ArtifactsResource,
    PostgresResource,
    SandboxResource,
    TelemetryResource,
)

__all__ = ["defs"]

_postgres = PostgresResource()

defs = dg.Definitions(
    assets=[conversations, *LINEAGE],
    asset_checks=CHECKS,
    jobs=[baseline],
    executor=dg.in_process_executor,
    resources={
        "artifacts": ArtifactsResource(),
        "postgres": _postgres,
        "sandbox": SandboxResource(postgres=_postgres),
        "telemetry": TelemetryResource(postgres=_postgres),
    },
)
