"""The two dimensions of the lineage: which dataset, which run."""

from __future__ import annotations

import dagster as dg

from crm_assets.keys import DATASET_DIMENSION, RUN_DIMENSION, BaselineKey

__all__ = [
    "BASELINE_PARTITIONS",
    "DATASET_PARTITIONS",
    "RUN_PARTITIONS",
    "baseline_of",
    "register",
]

DATASET_PARTITIONS = dg.DynamicPartitionsDefinition(name="crm_dataset")
RUN_PARTITIONS = dg.DynamicPartitionsDefinition(name="crm_run")
BASELINE_PARTITIONS = dg.MultiPartitionsDefinition(
    {DATASET_DIMENSION: DATASET_PARTITIONS, RUN_DIMENSION: RUN_PARTITIONS}
)


def baseline_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> BaselineKey:
    """The baseline that this step belongs to.

    Raises:
        InputError: the partition was registered with a key that is none of ours.
    """
    return BaselineKey.parse(str(context.partition_key))


def register(instance: dg.DagsterInstance, key: BaselineKey) -> dg.MultiPartitionKey:
    """Make `key` known to Dagster (its dimensions are dynamic) and return it as Dagster wants it."""
    for definition, name in ((DATASET_PARTITIONS, key.dataset), (RUN_PARTITIONS, str(key.run))):
        if definition.name is not None:
            instance.add_dynamic_partitions(definition.name, [name])
    return dg.MultiPartitionKey({DATASET_DIMENSION: key.dataset, RUN_DIMENSION: str(key.run)})
