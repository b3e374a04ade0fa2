"""`crm-assets tasks`: the tasks of a run, without running them."""

from __future__ import annotations

import click

from crm_assets.cli.common import progress_lines, relative
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import find_project

__all__ = ["tasks"]


@click.command()
@click.option("--dataset", required=True, help="A file's stem in data/conversations.")
@click.option("--run", "run", metavar="KEY", required=True, help="YYYYMMDDTHHMMSSZ[-label].")
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
    key = BaselineKey.of(dataset, run)
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
