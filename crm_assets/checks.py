"""What must hold between the stages before the next one may run."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

import warnings
from collections.abc import Callable

import dagster as dg

from crm_assets.assets import atlas_sessions, atlas_tasks
from crm_assets.consistency import (
    Verdict,
    find_dataset_change,
    find_session_mismatch,
    find_task_mismatch,
)
from crm_assets.errors import InputError
from crm_assets.partitions import BASELINE_PARTITIONS, baseline_of
from crm_assets.resources import ArtifactsResource

__all__ = ["CHECKS", "dataset_unchanged", "sessions_match_tasks", "tasks_match_dataset"]


_CheckFunction = Callable[[dg.AssetCheckExecutionContext, ArtifactsResource], dg.AssetCheckResult]


def _blocking_check(
    asset: dg.AssetsDefinition,
) -> Callable[[_CheckFunction], dg.AssetChecksDefinition]:
    """`asset_check` on a partition of the lineage; what comes after `asset` waits for it."""

    def decorate(function: _CheckFunction) -> dg.AssetChecksDefinition:
        with warnings.catch_warnings():
            # Checks of a partition are a preview in this (pinned) Dagster; our business, not the user's.
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.asset_check(asset=asset, blocking=True, partitions_def=BASELINE_PARTITIONS)(function)

    return decorate


def _result(find: Callable[[], Verdict]) -> dg.AssetCheckResult:
    """What `find` found, as Dagster's check result; files that cannot be read fail the check."""
    try:
        verdict = find()
    except (InputError, OSError) as error:
        verdict = Verdict(str(error), 0)
    return dg.AssetCheckResult(
        passed=verdict.problem is None,
        description=verdict.problem,
        metadata={"compared": verdict.compared},
    )


@_blocking_check(atlas_tasks)
def dataset_unchanged(
    context: dg.AssetCheckExecutionContext, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """The dataset's content is still what the baseline's revision says."""
    paths = artifacts.baseline(baseline_of(context))
    return _result(lambda: find_dataset_change(artifacts.project, paths))


@_blocking_check(atlas_tasks)
def tasks_match_dataset(
    context: dg.AssetCheckExecutionContext, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """The tasks are the dataset's conversations, one to one, each with an ID of its own."""
    paths = artifacts.baseline(baseline_of(context))
    limit = _limit(context)
    return _result(lambda: find_task_mismatch(artifacts.project, paths, limit))


@_blocking_check(atlas_sessions)
def sessions_match_tasks(
    context: dg.AssetCheckExecutionContext, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """There is exactly one session for each task."""
    paths = artifacts.baseline(baseline_of(context))
    return _result(lambda: find_session_mismatch(paths))


def _limit(context: dg.AssetCheckExecutionContext) -> int | None:
    """The limit that the tasks of this partition were last made with."""
    latest = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=atlas_tasks.key, asset_partitions=[context.partition_key]),
        limit=1,
    ).records
    materialization = latest[0].asset_materialization if latest else None
    limit = materialization.metadata.get("limit") if materialization else None
    return limit.value if isinstance(limit, dg.IntMetadataValue) else None


CHECKS = [dataset_unchanged, tasks_match_dataset, sessions_match_tasks]
