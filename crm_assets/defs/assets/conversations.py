"""The source of the lineage: the datasets under `data/conversations`."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

import warnings

import dagster as dg
from dagster._core.definitions.data_version import extract_data_version_from_entry

from crm_assets.defs.partitions import DATASET_PARTITIONS
from crm_assets.defs.records import DATA_VERSION
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.defs.stages import GROUP, tags
from crm_assets.workspace.datasets import available_datasets, require_dataset
from crm_assets.workspace.files import sha256_of_file

__all__ = ["conversations", "is_observed", "observation", "observe_conversations"]


def observe_conversations(
    context: dg.OpExecutionContext, artifacts: ArtifactsResource
) -> dg.DataVersionsByPartition:
    """Observe the content of each registered dataset whose file exists."""
    name = DATASET_PARTITIONS.name
    wanted = (
        [context.partition_key]
        if context.has_partition_key
        else list(context.instance.get_dynamic_partitions(name or ""))
    )
    project = artifacts.project
    there = set(available_datasets(project))
    return dg.DataVersionsByPartition(
        {
            dataset: sha256_of_file(require_dataset(project, dataset))
            for dataset in wanted
            if dataset in there
        }
    )


with warnings.catch_warnings():
    # Observing is beta in this (pinned) Dagster; that is our business, not that of every command's user.
    warnings.simplefilter("ignore", dg.BetaWarning)
    conversations = dg.observable_source_asset(
        name="conversations",
        group_name=GROUP,
        partitions_def=DATASET_PARTITIONS,
        description="CRM conversations with their ground truth, one a line: "
        "`data/conversations/<dataset>.jsonl`. An observation records the content's SHA-256; when it "
        "changes, `dataset_revision` of the dataset's runs is stale. Read by `dataset_revision` and "
        "`atlas_tasks`.",
        tags={**tags("source"), "dagster/kind/jsonl": ""},
    )(observe_conversations)


def observation(dataset: str, sha256: str) -> dg.AssetObservation:
    """Return the event that records the content of `dataset`."""
    return dg.AssetObservation(asset_key=conversations.key, partition=dataset, tags={DATA_VERSION: sha256})


def is_observed(instance: dg.DagsterInstance, dataset: str, sha256: str) -> bool:
    """Return True if the last observation of `dataset` recorded this content."""
    record = instance.get_latest_data_version_record(
        conversations.key, is_source=True, partition_key=dataset
    )
    if record is None:
        return False
    version = extract_data_version_from_entry(record.event_log_entry)
    return version is not None and version.value == sha256
