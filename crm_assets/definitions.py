"""Wire the Definitions that Dagster loads, nothing else."""

from __future__ import annotations

import warnings

import dagster as dg

from crm_assets.defs.assets import (
    LINEAGE,
    baseline_history,
    conversations,
    leaderboard,
    learning_study,
    playbook,
)
from crm_assets.defs.checks import CHECKS
from crm_assets.defs.executors import make_executor
from crm_assets.defs.jobs import JOBS
from crm_assets.defs.resources import (
    ArtifactsResource,
    PostgresResource,
    SandboxResource,
    TelemetryResource,
)
from crm_assets.defs.schedules import SCHEDULES
from crm_assets.defs.sensors import SENSORS
from crm_assets.defs.source_links import with_source_links

__all__ = ["defs"]

# Configured at launch, so that what the launchpad sets of one reaches the others that stand on it.
_artifacts = ArtifactsResource.configure_at_launch()
_postgres = PostgresResource.configure_at_launch(artifacts=_artifacts)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)  # code references, in this (pinned) Dagster
    _assets = with_source_links(
        [conversations, playbook, *LINEAGE, baseline_history, leaderboard, learning_study]
    )

defs = dg.Definitions(
    assets=_assets,
    asset_checks=CHECKS,
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=SENSORS,
    executor=make_executor(),
    resources={
        "artifacts": _artifacts,
        "postgres": _postgres,
        "sandbox": SandboxResource(postgres=_postgres),
        "telemetry": TelemetryResource(postgres=_postgres),
    },
)
