"""`crm-assets tasks`: the tasks of a run, without running them."""

from __future__ import annotations

import click

from crm_assets.cli.common import progress_lines, relative
from crm_assets.cli.names import dataset_option, run_option
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import find_run

__all__ = ["tasks"]


@click.command()
@dataset_option()
@run_option(required=True, help="YYYYMMDDTHHMMSSZ[-label], the start of a run's key, or latest.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Number of conversations, from the start of the dataset; left out, all.",
)
@click.option("--overwrite", is_flag=True, help="Make the tasks of a finished baseline again.")
def tasks(dataset: str, run: str, limit: int | None, overwrite: bool) -> None:
    """Write a run's revision and tasks without running them.

    `crm-assets baseline` with the same --run (and --limit) then runs them.
    """
    project = find_project()
    require_dataset(project, dataset)
    key = find_run(project, dataset, run)
    BaselinePaths.of(project, key).protect(overwrite=overwrite)

    from crm_assets.orchestration.materialize import LineageOptions, materialize

    with progress_lines():
        done = materialize(
            project,
            key,
            LineageOptions(limit=limit, overwrite=overwrite),
            stages=("dataset_revision", "atlas_tasks"),
        )
    click.echo(f"Tasks: {relative(done.paths.tasks)}")
