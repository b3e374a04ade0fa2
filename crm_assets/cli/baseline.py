"""`crm-assets baseline`: the whole lineage of one run over a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import describe_agent, json_option, print_figures, progress_lines, relative
from crm_assets.cli.going_on import command_of, set_next_command
from crm_assets.cli.names import dataset_option, run_option
from crm_assets.cli.plan_options import PlanCommand, given_options
from crm_assets.cli.ui import DEFAULT_PORT, HOST
from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths, claim_run, release_run
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.keys import BaselineKey, RunKey
from crm_assets.workspace.project import Project, find_project
from crm_assets.workspace.run_names import find_run
from crm_assets.workspace.states import RunState, status_of

if TYPE_CHECKING:
    from crm_assets.atlas.plan import SessionPlan

__all__ = ["baseline"]


@click.command(cls=PlanCommand)
@dataset_option()
@run_option()
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Number of conversations, from the start of the dataset; left out, all.",
)
@click.option("--overwrite", is_flag=True, help="Make a finished baseline again, from the start.")
@click.option(
    "--resume", is_flag=True, help="Run again the sessions of a finished baseline that have no verdict."
)
@json_option
def baseline(
    *,
    dataset: str,
    run: str | None,
    plan: SessionPlan,
    limit: int | None,
    overwrite: bool,
    resume: bool,
    as_json: bool,
) -> None:
    """Run a dataset through the whole lineage.

    Without API keys, offline models are used. With --run, a stopped run goes on where it stopped, with the
    options that it began with.
    """
    project = find_project()
    if resume and (run is None or overwrite):
        raise InputError("--resume needs the --run to resume, and excludes --overwrite.")
    state = RunState.PLANNED
    if run is not None and not overwrite:
        from crm_assets.atlas.saved_plan import plan_to_go_on_with

        begun = BaselinePaths.of(project, find_run(project, dataset, run))
        begun.protect(overwrite=resume)
        state, plan = status_of(begun).state, plan_to_go_on_with(project, begun, plan, given_options())
    agent: str = plan.agent
    if resume or state not in (RunState.NOT_SCORED, RunState.NOT_PUBLISHED):  # sessions are to be run
        require_dataset(project, dataset)
        agent = describe_agent(plan, project, dataset)  # refuses a bad configuration first
    if run is None:
        key = BaselineKey.of(dataset, claim_run(project, dataset, RunKey.now()))
    else:
        key = find_run(project, dataset, run)
    paths = BaselinePaths.of(project, key)
    set_next_command(lambda: command_of(paths, plan, limit=limit))
    click.echo(f"Baseline {key}, agent {agent}{_stood(state)}", err=True)
    try:
        with progress_lines():
            run_id = _make(project, paths, plan, limit=limit, overwrite=overwrite, resume=resume)
    finally:
        if run is None:
            release_run(project, key)  # what failed before it wrote anything leaves no trace

    from crm_assets.reporting.history import HistoryPaths

    print_figures(paths, as_json=as_json)
    page = f"runs/{run_id}" if run_id else "runs"
    for line in (
        f"README: {relative(paths.readme)}",
        f"History: {relative(HistoryPaths.of(project, dataset).page)}",
        f"UI: make ui (or crm-assets ui), then http://{HOST}:{DEFAULT_PORT}/{page}",
    ):
        click.echo(line, err=as_json)


def _stood(state: RunState) -> str:
    return "" if state in (RunState.PLANNED, RunState.FINISHED) else f"; {state.value}, and goes on"


def _make(
    project: Project,
    paths: BaselinePaths,
    plan: SessionPlan,
    *,
    limit: int | None,
    overwrite: bool,
    resume: bool,
) -> str:
    """Make what is missing of a baseline; returns the ID of Dagster's run, empty for an import."""
    if paths.imported.is_file() and not (overwrite or resume):
        from crm_assets.imports import import_run

        import_run(project, paths.imported, paths.key)
        return ""
    from crm_assets.orchestration.materialize import LineageOptions, materialize

    options = LineageOptions(plan=plan, limit=limit, overwrite=overwrite, resume=resume)
    return materialize(project, paths.key, options).run_id
