"""Checks that stop a run before the next stage."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

import dagster as dg

from crm_assets.audit.integrity import find_dataset_change, find_session_mismatch, find_task_mismatch
from crm_assets.defs.assets import atlas_sessions, atlas_tasks
from crm_assets.defs.checks.common import last_metadata, partition_check, result
from crm_assets.defs.partitions import baseline_of
from crm_assets.defs.resources import ArtifactsResource

__all__ = ["BLOCKING", "dataset_unchanged", "sessions_match_tasks", "tasks_match_dataset"]


@partition_check(atlas_tasks, blocking=True)
def dataset_unchanged(
    context: dg.AssetCheckExecutionContext, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """The dataset's content is still what the baseline's revision says.

    If not: start a new run for the new content, or put the old content back.
    """
    paths = artifacts.baseline(baseline_of(context))
    return result(lambda: find_dataset_change(artifacts.project, paths))


@partition_check(atlas_tasks, blocking=True)
def tasks_match_dataset(
    context: dg.AssetCheckExecutionContext, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """The tasks are the dataset's conversations, one to one, each with an ID of its own.

    If not: materialize `dataset_revision` and `atlas_tasks` of this partition again.
    """
    paths = artifacts.baseline(baseline_of(context))
    limit = (last_metadata(context, artifacts.project, atlas_tasks) or {}).get("limit")
    return result(lambda: find_task_mismatch(artifacts.project, paths, limit))


@partition_check(atlas_sessions, blocking=True)
def sessions_match_tasks(
    context: dg.AssetCheckExecutionContext, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """There is exactly one session for each task (and epoch).

    If not: materialize `atlas_sessions` again with overwrite; nothing may be computed from a part.
    """
    paths = artifacts.baseline(baseline_of(context))
    return result(lambda: find_session_mismatch(paths))


BLOCKING = [dataset_unchanged, tasks_match_dataset, sessions_match_tasks]
