"""The source of the lineage: the datasets under `data/conversations`."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

import warnings

import dagster as dg

from crm_assets.assets.common import GROUP
from crm_assets.files import sha256_of_file
from crm_assets.partitions import DATASET_PARTITIONS
from crm_assets.resources import ArtifactsResource

__all__ = ["conversations", "observe_conversations"]


def observe_conversations(
    context: dg.OpExecutionContext, artifacts: ArtifactsResource
) -> dg.DataVersionsByPartition:
    """The data versions of the registered datasets whose file is there."""
    name = DATASET_PARTITIONS.name
    wanted = (
        [context.partition_key]
        if context.has_partition_key
        else list(context.instance.get_dynamic_partitions(name or ""))
    )
    files = {dataset: artifacts.project.dataset_file(dataset) for dataset in wanted}
    return dg.DataVersionsByPartition(
        {dataset: sha256_of_file(file) for dataset, file in files.items() if file.is_file()}
    )


with warnings.catch_warnings():
    # Observing is beta in this (pinned) Dagster; that is our business, not that of every command's user.
    warnings.simplefilter("ignore", dg.BetaWarning)
    conversations = dg.observable_source_asset(
        name="conversations",
        group_name=GROUP,
        partitions_def=DATASET_PARTITIONS,
        description="CRM conversations with their ground truth, one a line: "
        "`data/conversations/<dataset>.jsonl`. An observation records the content's SHA-256.",
    )(observe_conversations)
