"""`crm-assets baseline`: the whole lineage of one run over a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from crm_assets.cli.common import describe_agent, json_option, print_figures, progress_lines, relative
from crm_assets.cli.consent import confirm_cost, yes_option
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
@yes_option
@json_option
def baseline(
    *,
    dataset: str,
    run: str | None,
    plan: SessionPlan,
    limit: int | None,
    overwrite: bool,
    resume: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Run a dataset through the whole lineage.

    Without API keys, offline models are used. With --run, a stopped run goes on where it stopped, with the
    options that it began with.
    """
    project = find_project()
    if resume and (run is None or overwrite):
        raise InputError("--resume needs the --run to resume, and excludes --overwrite.")
    if run is None:
        require_dataset(project, dataset)
        describe_agent(plan, project, dataset)  # refuses a bad configuration before anything is made
        key = BaselineKey.of(dataset, claim_run(project, dataset, RunKey.now()))
    else:
        key = find_run(project, dataset, run)
    paths = BaselinePaths.of(project, key)
    options = _Options(plan, limit=limit, overwrite=overwrite, resume=resume, accept_cost=yes)

    from crm_assets.database import a_command, hold

    try:
        with hold(project, paths.folder, a_command()):
            run_id = _make(project, paths, options)
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


class _Options(NamedTuple):
    """The options of the command."""

    plan: SessionPlan
    limit: int | None
    overwrite: bool
    resume: bool
    accept_cost: bool


def _make(project: Project, paths: BaselinePaths, options: _Options) -> str:
    """Make what is missing of a baseline, under its lease; return the ID of Dagster's run, if any.

    All that can be refused is refused before anything is changed.
    """
    plan, state = options.plan, RunState.PLANNED
    if not options.overwrite:
        from crm_assets.atlas.saved_plan import limit_to_go_on_with, plan_to_go_on_with

        paths.protect(overwrite=options.resume)
        state, plan = status_of(paths).state, plan_to_go_on_with(project, paths, plan, given_options())
        options = options._replace(limit=limit_to_go_on_with(paths, options.limit))
    agent: str = plan.agent
    if options.resume or state not in (RunState.NOT_SCORED, RunState.NOT_PUBLISHED):  # runs sessions
        require_dataset(project, paths.key.dataset)
        agent = describe_agent(plan, project, paths.key.dataset)
        _confirm(project, paths, options._replace(plan=plan))
        options = options._replace(accept_cost=True)
    set_next_command(lambda: command_of(paths, plan, limit=options.limit))
    begun = "" if state in (RunState.PLANNED, RunState.FINISHED) else f"; {state.value}, and goes on"
    click.echo(f"Baseline {paths.key}, agent {agent}{begun}", err=True)
    with progress_lines():
        if paths.imported.is_file() and not (options.overwrite or options.resume):
            from crm_assets.imports import import_run

            import_run(project, paths.imported, paths.key)
            return ""
        from crm_assets.orchestration.materialize import LineageOptions, materialize

        return materialize(project, paths.key, LineageOptions(**{**options._asdict(), "plan": plan})).run_id


def _confirm(project: Project, paths: BaselinePaths, options: _Options) -> None:
    """Show what the sessions will cost, and ask if it is much."""
    if not options.plan.asks_models or (paths.has_sessions and not (options.overwrite or options.resume)):
        return
    from crm_assets.reporting.estimate.run import estimate_run

    files = None if options.overwrite else paths
    estimate = estimate_run(project, paths.key.dataset, options.plan, files=files, limit=options.limit)
    confirm_cost(estimate, yes=options.accept_cost)
