"""`crm-assets baseline`: the whole lineage of one run over a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.artifacts import BaselinePaths, claim_run, release_run
from crm_assets.cli.common import agent_options, agent_spec, progress_lines, relative
from crm_assets.cli.ui import DEFAULT_PORT, HOST
from crm_assets.datasets import require_dataset
from crm_assets.keys import BaselineKey, RunKey
from crm_assets.project import Project, find_project

if TYPE_CHECKING:
    from crm_assets.harness import AgentName

__all__ = ["baseline"]


@click.command()
@click.option("--dataset", required=True, help="A file's stem in data/conversations.")
@click.option("--run", "run", metavar="KEY", help="YYYYMMDDTHHMMSSZ[-label]; left out, a new one.")
@agent_options
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many conversations.")
@click.option("--overwrite", is_flag=True, help="Make a finished baseline again.")
def baseline(
    *,
    dataset: str,
    run: str | None,
    agent: AgentName,
    recorded: Path | None,
    limit: int | None,
    workers: int,
    sessions: int,
    overwrite: bool,
) -> None:
    """Run a dataset through the whole lineage, under Dagster, and show how it went.

    The same --run again goes on with a run that was stopped.
    """
    project = find_project()
    require_dataset(project, dataset)
    agent_spec(agent, recorded)  # refuses what does not fit, before anything is made
    key = _key(project, dataset, run, overwrite=overwrite)
    click.echo(f"Baseline {key}, agent {agent}", err=True)

    from crm_assets.execution import LineageOptions, materialize

    options = LineageOptions(
        agent=agent,
        recorded=recorded,
        limit=limit,
        workers=workers,
        concurrency=sessions,
        overwrite=overwrite,
    )
    try:
        with progress_lines():
            done = materialize(project, key, options)
    finally:
        release_run(project, key)  # what failed before it wrote anything leaves no trace

    from rich.console import Console

    from crm_assets.reporting import read_metrics, summary_table

    Console().print(summary_table(read_metrics(done.paths.metrics)))
    click.echo(f"README: {relative(done.paths.readme)}")
    click.echo(f"UI: make ui (or crm-assets ui), then http://{HOST}:{DEFAULT_PORT}/runs/{done.run_id}")


def _key(project: Project, dataset: str, run: str | None, *, overwrite: bool) -> BaselineKey:
    """The baseline to make: the one asked for unless it is finished, else one nobody has."""
    if run is None:
        return BaselineKey(dataset, claim_run(project, dataset, RunKey.now()))
    key = BaselineKey.of(dataset, run)
    BaselinePaths.of(project, key).protect(overwrite=overwrite)
    return key
