"""Helpers of the checks: their form, and the last run's metadata and plan."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import dagster as dg

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.saved_plan import begun_plan
from crm_assets.audit.integrity import Verdict
from crm_assets.defs.assets import atlas_sessions
from crm_assets.defs.partitions import BASELINE_PARTITIONS
from crm_assets.defs.records import DATA_VERSION, materializations_of
from crm_assets.defs.sessions_config import SessionsConfig
from crm_assets.errors import InfrastructureError, InputError
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.identity import known_project_id
from crm_assets.workspace.project import Project

__all__ = ["last_metadata", "partition_check", "result", "session_plan"]

_Decorator = Callable[[Callable[..., dg.AssetCheckResult]], dg.AssetChecksDefinition]


def partition_check(asset: dg.AssetsDefinition, *, blocking: bool) -> _Decorator:
    """Return the decorator of a check on a partition of `asset`; blocking ones stop the next stages.

    Results name their partition, since the UI shows the latest evaluation as that of the whole asset.
    """

    def decorate(function: Callable[..., dg.AssetCheckResult]) -> dg.AssetChecksDefinition:
        @wraps(function)
        def named(context: dg.AssetCheckExecutionContext, **given: Any) -> dg.AssetCheckResult:
            found, key = function(context, **given), str(context.partition_key)
            return found._replace(
                description=f"{key}: {found.description}" if found.description else key,
                metadata={"partition": dg.MetadataValue.text(key), **found.metadata},
            )

        with warnings.catch_warnings():
            # Checks of a partition are a preview in this (pinned) Dagster; users need not see that.
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.asset_check(asset=asset, blocking=blocking, partitions_def=BASELINE_PARTITIONS)(named)

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
    context: dg.AssetCheckExecutionContext, project: Project, asset: dg.AssetsDefinition
) -> dict[str, Any] | None:
    """Return the metadata of this partition's last materialization of `asset`; None if there is none.

    Where that kept what was there, earlier ones of the same data add what only they know.
    """
    version: str | None = None
    known: dict[str, Any] = {}
    for record in _all(context, project, asset):
        materialization = record.asset_materialization
        if materialization is None:
            continue
        of_record = (materialization.tags or {}).get(DATA_VERSION)
        if known and (version is None or of_record != version):
            break
        version = of_record
        known = {**{name: value.value for name, value in materialization.metadata.items()}, **known}
    return known or None


def session_plan(
    context: dg.AssetCheckExecutionContext, project: Project, paths: BaselinePaths
) -> SessionPlan:
    """Return the plan that this partition's sessions were made with; of older versions, Dagster knows it.

    Raises:
        InputError: plan.json is damaged, or missing while Dagster has no run that made the sessions.
    """
    if (plan := begun_plan(paths)) is not None:
        return plan
    latest = next(_all(context, project, atlas_sessions), None)
    run = context.instance.get_run_by_id(latest.run_id) if latest else None
    if run is None:
        raise InputError("Dagster holds no run that made these sessions, so their options are unknown.")
    ops = run.run_config.get("ops") or {}
    return SessionsConfig(**(ops.get(atlas_sessions.node_def.name) or {}).get("config", {})).plan()


def _all(
    context: dg.AssetCheckExecutionContext, project: Project, asset: dg.AssetsDefinition
) -> Iterator[dg.EventLogRecord]:
    """Yield this partition's materializations of `asset`, newest first."""
    identity = known_project_id(project)
    return materializations_of(context.instance, asset.key, context.partition_key, identity)
