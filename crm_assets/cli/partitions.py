"""`crm-assets partitions`: the keys that Dagster knows."""

from __future__ import annotations

import click

from crm_assets.cli.names import dataset_option, run_option
from crm_assets.cli.runs import free_keys, plan_keys
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import find_project

__all__ = ["partitions"]


@click.group()
def partitions() -> None:
    """Register partition keys in Dagster."""


@partitions.command()
@dataset_option()
@run_option(help="YYYYMMDDTHHMMSSZ[-label]; left out, the current second.")
def add(dataset: str, run: str | None) -> None:
    """Register a baseline's keys and print its partition key.

    The UI and `dagster asset` then offer it. `crm-assets runs new` plans several at once.
    """
    project = find_project()
    require_dataset(project, dataset)
    keys = [BaselineKey.of(dataset, run)] if run else free_keys(project, [dataset], 1)
    plan_keys(project, keys)
    click.echo(keys[0])
