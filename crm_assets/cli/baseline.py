"""`crm-assets baseline`: the whole lineage of one run over a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import describe_agent, progress_lines, relative
from crm_assets.cli.plan_options import PlanCommand
from crm_assets.cli.ui import DEFAULT_PORT, HOST
from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths, claim_run, release_run
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.keys import BaselineKey, RunKey
from crm_assets.workspace.project import Project, find_project

if TYPE_CHECKING:
    from crm_assets.atlas.plan import SessionPlan

__all__ = ["baseline"]

_FROM_SESSIONS = ("atlas_sessions", "baseline_metrics", "baseline_readme")


@click.command(cls=PlanCommand)
@click.option("--dataset", required=True, help="A file's stem in data/conversations.")
@click.option("--run", "run", metavar="KEY", help="YYYYMMDDTHHMMSSZ[-label]; left out, a new one.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Number of conversations, from the start of the dataset; left out, all.",
)
@click.option("--overwrite", is_flag=True, help="Make a finished baseline again, from the start.")
@click.option(
    "--resume", is_flag=True, help="Run again the sessions of a finished baseline that have no verdict."
)
def baseline(
    *,
    dataset: str,
    run: str | None,
    plan: SessionPlan,
    limit: int | None,
    overwrite: bool,
    resume: bool,
) -> None:
    """Run a dataset through the whole lineage.

    Without API keys, offline models are used. The same command with --run resumes a stopped run.
    """
    project = find_project()
    require_dataset(project, dataset)
    if resume and (run is None or overwrite):
        raise InputError("--resume needs the --run to resume, and excludes --overwrite.")
    agent_and_models = describe_agent(
        plan, project, dataset
    )  # refuses a bad configuration before anything is made
    key = _key(project, dataset, run, keep=not (overwrite or resume))
    click.echo(f"Baseline {key}, agent {agent_and_models}", err=True)

    from crm_assets.orchestration.materialize import LineageOptions, materialize

    options = LineageOptions(plan=plan, limit=limit, overwrite=overwrite, resume=resume)
    finished = BaselinePaths.of(project, key).finished
    try:
        with progress_lines():
            done = materialize(
                project, key, options, stages=_FROM_SESSIONS if resume and finished else None
            )
    finally:
        release_run(project, key)  # what failed before it wrote anything leaves no trace

    from crm_assets.reporting import read_metrics, summarize
    from crm_assets.reporting.history import HistoryPaths
    from crm_assets.reporting.terminal import show

    show(summarize(read_metrics(done.paths.metrics)))
    click.echo(f"README: {relative(done.paths.readme)}")
    click.echo(f"History: {relative(HistoryPaths.of(project, dataset).page)}")
    click.echo(f"UI: make ui (or crm-assets ui), then http://{HOST}:{DEFAULT_PORT}/runs/{done.run_id}")


def _key(project: Project, dataset: str, run: str | None, *, keep: bool) -> BaselineKey:
    """Return the key of the baseline to make: the named one unless it is protected, else a new one."""
    if run is None:
        return BaselineKey(dataset, claim_run(project, dataset, RunKey.now()))
    key = BaselineKey.of(dataset, run)
    BaselinePaths.of(project, key).protect(overwrite=not keep)
    return key
