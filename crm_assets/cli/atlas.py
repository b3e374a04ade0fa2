"""`crm-assets atlas`: the Atlas loop over a task file, and its smoke run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import (
    describe_agent,
    json_option,
    live_progress,
    print_figures,
    print_json,
    progress_lines,
    relative,
)
from crm_assets.cli.consent import confirm_cost, yes_option
from crm_assets.cli.going_on import flags_of, set_next_command
from crm_assets.cli.names import dataset_option
from crm_assets.cli.plan_options import PlanCommand
from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths, RunFiles, claim_run, release_run
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.keys import BaselineKey, RunKey
from crm_assets.workspace.project import find_project

if TYPE_CHECKING:
    from crm_assets.atlas.plan import SessionPlan
    from crm_assets.atlas.smoke import SmokeCheck
    from crm_assets.reporting.estimate.run import RunEstimate
    from crm_assets.workspace.project import Project

__all__ = ["atlas"]


@click.group()
def atlas() -> None:
    """Run tasks, smoke-test the loop, print its keys.

    In a session a student works, a teacher validates, judges reward and a learner learns.
    """


@atlas.command("run", cls=PlanCommand, agents=("atlas", "student"))
@click.option(
    "--task-file", type=click.Path(path_type=Path), required=True, help="Task file (tasks.jsonl) to run."
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for tasks.jsonl (a copy), sessions.jsonl, ledger.jsonl, metrics.json and the pages.",
)
@dataset_option(
    required=False, help="Name of the dataset; left out, the one in revision.json beside the tasks."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many tasks.")
@yes_option
@json_option
def run(
    *,
    task_file: Path,
    output_dir: Path,
    dataset: str | None,
    plan: SessionPlan,
    limit: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Run a task file as a baseline does, without Dagster.

    The same command resumes a stopped run.
    """
    project = find_project()
    files = RunFiles(output_dir)
    name = dataset or _dataset_beside(task_file)

    from crm_assets.database import a_command, hold
    from crm_assets.reporting.estimate.run import estimate_run

    with hold(project, output_dir, a_command()):
        if files.readme.exists():
            raise InputError(f"{files.readme} exists: this run is finished; choose another --output-dir.")
        click.echo(f"{name}, agent {describe_agent(plan, project, name)}", err=True)
        if not files.sessions.exists():
            begun = files.partial.exists()
            tasks = files.tasks if begun else task_file
            estimate = estimate_run(project, name, plan, files=files, tasks=tasks, limit=limit)
            confirm_cost(estimate, yes=yes)
        words = ["--task-file", str(task_file), "--output-dir", str(output_dir), "--dataset", name]
        words += flags_of(plan, limit=limit)
        set_next_command(lambda: shlex.join(["crm-assets", "atlas", "run", *words]))
        _run(project, files, plan, task_file=task_file, dataset=name, limit=limit, estimate=estimate)
    print_figures(files, as_json=as_json)
    click.echo(f"README: {relative(files.readme)}", err=as_json)


def _run(
    project: Project,
    files: RunFiles,
    plan: SessionPlan,
    *,
    task_file: Path,
    dataset: str,
    limit: int | None,
    estimate: RunEstimate | None,
) -> None:
    """Make what is missing of a run's files."""
    from crm_assets.atlas.run_plan import run_plan
    from crm_assets.atlas.tasks import copy_tasks
    from crm_assets.database import connect_databases
    from crm_assets.reporting import RunInfo, compute_metrics, write_metrics, write_pages

    if not files.sessions.exists():
        copy_tasks(task_file, files.tasks, limit=limit)
        with live_progress(dataset) as progress:
            run_plan(
                files,
                plan,
                project=project,
                databases=connect_databases(project),
                dataset=dataset,
                progress=progress,
                estimate=None if estimate is None else estimate.cost,
            )
    metrics = compute_metrics(files.sessions, run=RunInfo())
    write_metrics(files.metrics, metrics)
    write_pages(files, metrics, ())


def _dataset_beside(task_file: Path) -> str:
    """Return the dataset that a baseline's tasks were made from."""
    from crm_assets.conversations.revision import read_revision_file

    revision = task_file.with_name("revision.json")
    return read_revision_file(revision).dataset if revision.is_file() else task_file.stem


@atlas.command("smoke", cls=PlanCommand, agents=("atlas",))
@dataset_option(required=False, default="dev")
@yes_option
@json_option
def smoke(*, dataset: str, plan: SessionPlan, yes: bool, as_json: bool) -> None:
    """Run one conversation through the loop; check every output.

    It becomes a baseline of its own, labelled `smoke`. Exit code 1 if a line of the checklist fails.
    """
    project = find_project()
    require_dataset(project, dataset)
    plan = plan.model_copy(update={"mode": plan.mode or "paired"})
    described = describe_agent(plan, project, dataset)

    from crm_assets.reporting.estimate.run import estimate_run

    confirm_cost(estimate_run(project, dataset, plan, limit=1), yes=yes)
    key = BaselineKey(dataset, claim_run(project, dataset, RunKey.now("smoke")))
    click.echo(f"Smoke run {key}, {described}", err=True)

    from crm_assets.atlas.smoke import smoke_checks, smoke_log, smoke_metrics_check
    from crm_assets.defs.checks import SMOKE_JOB
    from crm_assets.orchestration.materialize import CheckFailed, LineageOptions, materialize

    paths, options = BaselinePaths.of(project, key), LineageOptions(plan, limit=1, accept_cost=True)
    try:
        with progress_lines():
            try:
                materialize(project, key, options, job=SMOKE_JOB)
            except CheckFailed:
                if not paths.has_sessions:
                    raise
                materialize(project, key, options)  # a failed line stops the job, but the session is whole
    finally:
        release_run(project, key)
    checks = (*smoke_checks(paths), smoke_metrics_check(paths))
    if as_json:
        print_json(checks)
    else:
        _tell(checks)
    click.echo(f"Log: {relative(smoke_log(project))}", err=as_json)
    if not all(check.passed for check in checks):
        click.get_current_context().exit(1)


def _tell(checks: tuple[SmokeCheck, ...]) -> None:
    for check in checks:
        mark = click.style("ok    ", fg="green") if check.passed else click.style("failed", fg="red")
        click.echo(f"{mark}  {check.name}: {check.description}")


@atlas.command("keys")
def keys() -> None:
    """Print every configuration key (docs/atlas_config.md)."""
    from crm_assets.atlas.documentation import config_markdown

    click.echo(config_markdown(), nl=False)
