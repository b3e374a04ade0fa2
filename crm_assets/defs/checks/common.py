"""Helpers of the checks: their form, and the last run's metadata and plan."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import dagster as dg

from crm_assets.atlas.plan import SessionPlan
from crm_assets.audit.integrity import Verdict
from crm_assets.defs.assets import atlas_sessions
from crm_assets.defs.partitions import BASELINE_PARTITIONS
from crm_assets.defs.sessions_config import SessionsConfig
from crm_assets.errors import InfrastructureError, InputError

__all__ = ["last_metadata", "partition_check", "result", "session_plan"]

_Decorator = Callable[[Callable[..., dg.AssetCheckResult]], dg.AssetChecksDefinition]


def partition_check(asset: dg.AssetsDefinition, *, blocking: bool) -> _Decorator:
    """Return the decorator of a check on a partition of `asset`; blocking ones stop the next stages."""

    def decorate(function: Callable[..., dg.AssetCheckResult]) -> dg.AssetChecksDefinition:
        with warnings.catch_warnings():
            # Checks of a partition are a preview in this (pinned) Dagster; users need not see that.
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.asset_check(asset=asset, blocking=blocking, partitions_def=BASELINE_PARTITIONS)(
                function
            )

    return decorate


def result(
    find: Callable[[], Verdict],
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    **metadata: Any,
) -> dg.AssetCheckResult:
    """Return the verdict of `find` as Dagster's check result; an error of `find` fails the check."""
    try:
        verdict = find()
    except (InputError, InfrastructureError, OSError) as error:
        verdict = Verdict(str(error), 0)
    return dg.AssetCheckResult(
        passed=verdict.problem is None,
        severity=severity,
        description=verdict.problem or (None if verdict.compared else "There was nothing to compare."),
        metadata={"compared": verdict.compared, **metadata},
    )


def last_metadata(
    context: dg.AssetCheckExecutionContext, asset: dg.AssetsDefinition
) -> dict[str, Any] | None:
    """Return the metadata of this partition's last materialization of `asset`; None if there is none."""
    latest = _last(context, asset)
    materialization = latest.asset_materialization if latest else None
    if materialization is None:
        return None
    return {name: value.value for name, value in materialization.metadata.items()}


def session_plan(context: dg.AssetCheckExecutionContext) -> SessionPlan:
    """Return the plan that this partition's sessions were made with.

    Raises:
        InputError: Dagster has no run that made them.
    """
    latest = _last(context, atlas_sessions)
    run = context.instance.get_run_by_id(latest.run_id) if latest else None
    if run is None:
        raise InputError("Dagster holds no run that made these sessions, so their options are unknown.")
    ops = run.run_config.get("ops") or {}
    return SessionsConfig(**(ops.get(atlas_sessions.op.name) or {}).get("config", {})).plan()


def _last(context: dg.AssetCheckExecutionContext, asset: dg.AssetsDefinition) -> dg.EventLogRecord | None:
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset.key, asset_partitions=[context.partition_key]), limit=1
    ).records
    return records[0] if records else None
