"""The partitions of the lineage: dataset × run."""

from __future__ import annotations

import warnings

import dagster as dg
from dagster._core.storage.tags import BACKFILL_ID_TAG

from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import datasets_with_run
from crm_assets.workspace.keys import DATASET_DIMENSION, RUN_DIMENSION, BaselineKey
from crm_assets.workspace.project import Project

__all__ = [
    "BASELINE_PARTITIONS",
    "DATASET_PARTITIONS",
    "RUNS_OF_DATASET",
    "RUN_PARTITIONS",
    "baseline_of",
    "multi_partition",
    "register",
    "register_dataset",
    "require_planned",
]

DATASET_PARTITIONS = dg.DynamicPartitionsDefinition(name="crm_dataset")
RUN_PARTITIONS = dg.DynamicPartitionsDefinition(name="crm_run")
BASELINE_PARTITIONS = dg.MultiPartitionsDefinition(
    {DATASET_DIMENSION: DATASET_PARTITIONS, RUN_DIMENSION: RUN_PARTITIONS}
)
with warnings.catch_warnings():
    # This mapping is beta in this (pinned) Dagster.
    warnings.simplefilter("ignore", dg.BetaWarning)
    RUNS_OF_DATASET = dg.MultiToSingleDimensionPartitionMapping(DATASET_DIMENSION)
    """All runs of a dataset, for assets that are partitioned by dataset alone."""


def baseline_of(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext,
) -> BaselineKey:
    """Return the key of the baseline that this step works on.

    Raises:
        InputError: the partition's key is not a baseline's.
    """
    return BaselineKey.parse(str(context.partition_key))


def require_planned(run: dg.DagsterRun, project: Project, key: BaselineKey) -> None:
    """Refuse a run of a Dagster backfill that was only planned for other datasets.

    The grid of partitions is dataset × run, so "Materialize missing" also selects the runs of all other
    datasets. A run that was launched by itself was chosen by itself.

    Raises:
        InputError: nobody planned the run for this dataset; the message says how to plan it.
    """
    datasets = datasets_with_run(project, key.run)
    if BACKFILL_ID_TAG not in run.tags or not datasets or key.dataset in datasets:
        return
    raise InputError(
        f"Run {key.run} was planned for {', '.join(datasets)}, not for {key.dataset} (a backfill selects "
        f"the runs of all datasets): plan it with `crm-assets runs new --dataset {key.dataset} --run "
        f"{key.run}` and launch it again, or leave it out."
    )


def register_dataset(instance: dg.DagsterInstance, dataset: str) -> None:
    """Register a dataset's key in Dagster."""
    _add(instance, DATASET_PARTITIONS, dataset)


def register(instance: dg.DagsterInstance, key: BaselineKey) -> dg.MultiPartitionKey:
    """Register both dimensions of `key` in Dagster and return it as a partition key."""
    _add(instance, DATASET_PARTITIONS, key.dataset)
    _add(instance, RUN_PARTITIONS, str(key.run))
    return multi_partition(key)


def multi_partition(key: BaselineKey) -> dg.MultiPartitionKey:
    """Return `key` as Dagster's partition key."""
    return dg.MultiPartitionKey({DATASET_DIMENSION: key.dataset, RUN_DIMENSION: str(key.run)})


def _add(instance: dg.DagsterInstance, definition: dg.DynamicPartitionsDefinition, name: str) -> None:
    if definition.name is not None:
        instance.add_dynamic_partitions(definition.name, [name])
