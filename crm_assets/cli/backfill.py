"""`crm-assets backfill`: several runs of a dataset."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import describe_agent, progress_lines
from crm_assets.cli.consent import confirm_cost, yes_option
from crm_assets.cli.going_on import flags_of, set_next_command
from crm_assets.cli.names import RUN, dataset_option
from crm_assets.cli.plan_options import PlanCommand, given_options
from crm_assets.cli.runs import free_keys
from crm_assets.cli.ui import DEFAULT_PORT, HOST
from crm_assets.errors import InfrastructureError, InputError
from crm_assets.workspace.baseline_files import BaselinePaths, runs_of
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project, find_project
from crm_assets.workspace.run_names import find_run
from crm_assets.workspace.states import status_of

if TYPE_CHECKING:
    import dagster as dg

    from crm_assets.atlas.plan import SessionPlan
    from crm_assets.orchestration.backfills import Backfill
    from crm_assets.orchestration.materialize import LineageOptions

__all__ = ["backfill", "make_backfills"]

_RESCORED = ("baseline_metrics", "baseline_readme")


@click.command(cls=PlanCommand)
@dataset_option()
@click.option(
    "--runs",
    "named",
    type=RUN,
    metavar="K1,K2,…",
    help="Run keys; left out, the unfinished runs (with --rescore or --resume, the finished ones).",
)
@click.option("--new", type=click.IntRange(1, 1000), help="Number of new runs.")
@click.option("--label", default="", help="Added to the new run keys, as in 20260131T093000Z-label.")
@click.option(
    "--rescore", is_flag=True, help="Make only metrics and README again, from the stored sessions."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many conversations.")
@click.option("--overwrite", is_flag=True, help="Make finished baselines again, from the start.")
@click.option(
    "--resume", is_flag=True, help="Run again the sessions of finished baselines that have no verdict."
)
@yes_option
@click.option("--here", is_flag=True, help="Run in this process, even if Dagster's daemon is running.")
@click.option("--detach", is_flag=True, help="Do not wait for the daemon's runs.")
def backfill(
    *,
    dataset: str,
    named: str | None,
    new: int | None,
    label: str,
    rescore: bool,
    plan: SessionPlan,
    limit: int | None,
    overwrite: bool,
    resume: bool,
    yes: bool,
    here: bool,
    detach: bool,
) -> None:
    """Make several runs of a dataset, with the same options.

    If Dagster's daemon is running (crm-assets ui), it makes them as a backfill, within its limits; else
    this process makes them one after the other. A stopped backfill names the command that goes on:
    finished runs are kept, and runs that had begun keep their options.
    """
    project = find_project()
    require_dataset(project, dataset)
    if named and new:
        raise InputError("Give --runs or --new, not both.")
    if overwrite and resume:
        raise InputError("--resume continues a baseline, --overwrite discards it: give one of them.")
    describe_agent(plan, project, dataset)  # refuses a bad configuration before anything is made
    keys = _keys(project, dataset, named, new, label, done=rescore or resume)
    if not (rescore or overwrite or resume):
        keys = _unfinished(project, keys)
        if not keys:
            click.echo("All of these runs are finished; give --overwrite to make them again.")
            return
    chosen = {key: (plan, limit) if overwrite else _choice(project, key, plan, limit) for key in keys}
    if not rescore:
        _confirm(project, chosen, overwrite=overwrite, yes=yes)

    from crm_assets.orchestration.backfills import Backfill
    from crm_assets.orchestration.materialize import STAGES, LineageOptions

    stages = _RESCORED if rescore else _stages(STAGES, resume=resume)
    options = LineageOptions(
        plan, limit=limit, overwrite=overwrite, resume=resume, retries=2, accept_cost=True
    )
    wanted = [
        Backfill(
            dataset,
            [key for key in keys if chosen[key] == (each, most)],
            replace(options, plan=each, limit=most),
            stages,
        )
        for each, most in dict.fromkeys(chosen.values())
    ]
    make_backfills(
        project,
        wanted,
        here=here,
        wait=not detach,
        asks_models=not rescore and any(each.asks_models for each, _ in chosen.values()),
        go_on=lambda left: _next_command(left, options),
    )


def make_backfills(
    project: Project,
    wanted: Sequence[Backfill],
    *,
    here: bool,
    wait: bool,
    asks_models: bool,
    go_on: Callable[[Sequence[BaselinePaths]], str | None],
) -> None:
    """Make backfills: by the daemon if it is running, else in this process, one run after the other.

    Args:
        project: where the runs are.
        wanted: what to make.
        here: do not leave it to the daemon.
        wait: until the daemon is done.
        asks_models: runs may wait for a place in the pool of those that ask models.
        go_on: gives the command that goes on with the runs that are left; None for none.

    Raises:
        InputError: the pool has no place.
        InfrastructureError: runs failed.
    """
    from crm_assets.orchestration.backfills import daemon_is_running, pool_is_closed
    from crm_assets.orchestration.materialize import open_instance

    with open_instance(project) as instance:
        if here or not daemon_is_running(instance):
            _run_here(instance, project, wanted, asked_for=here, go_on=go_on)
            return
        if asks_models and pool_is_closed(instance):
            raise InputError(
                "The pool 'language_models' has the limit 0, so no run would ever start; raise it in the "
                "UI (Deployment, Concurrency)."
            )
        for each in wanted:
            _submit(instance, project, each, wait=wait)


def _choice(
    project: Project, key: BaselineKey, plan: SessionPlan, limit: int | None
) -> tuple[SessionPlan, int | None]:
    """Return the plan and the limit of a run: what it began with, else those that are given."""
    from crm_assets.atlas.saved_plan import limit_to_go_on_with, plan_to_go_on_with

    paths = BaselinePaths.of(project, key)
    return plan_to_go_on_with(project, paths, plan, given_options()), limit_to_go_on_with(paths, limit)


def _confirm(
    project: Project,
    chosen: Mapping[BaselineKey, tuple[SessionPlan, int | None]],
    *,
    overwrite: bool,
    yes: bool,
) -> None:
    """Show what all runs will cost together, and ask if it is much."""
    if not any(plan.asks_models for plan, _ in chosen.values()):
        return
    from crm_assets.reporting.estimate.run import estimate_run, sum_estimates

    estimates = [
        estimate_run(
            project,
            key.dataset,
            plan,
            files=None if overwrite else BaselinePaths.of(project, key),
            limit=limit,
        )
        for key, (plan, limit) in chosen.items()
    ]
    confirm_cost(sum_estimates(estimates), yes=yes)


def _keys(
    project: Project, dataset: str, named: str | None, new: int | None, label: str, *, done: bool
) -> list[BaselineKey]:
    if named:
        texts = [text.strip() for text in named.split(",") if text.strip()]
        return list(dict.fromkeys(find_run(project, dataset, text) for text in texts))
    if new:
        return free_keys(project, [dataset], new, label=label)
    known = runs_of(project, dataset)
    keys = [paths.key for paths in known if (paths.has_sessions if done else not paths.finished)]
    if not keys:
        what = "finished" if done else "unfinished"
        raise InputError(f"Dataset {dataset} has no {what} run; ask for some with --new N or --runs K1,K2.")
    return keys


def _unfinished(project: Project, keys: list[BaselineKey]) -> list[BaselineKey]:
    """Return `keys` without finished baselines, and without imports: they have their own command."""
    left = []
    for key in keys:
        paths = BaselinePaths.of(project, key)
        if paths.finished:
            click.echo(f"{key} is finished and is kept.", err=True)
        elif paths.imported.is_file():
            command = status_of(paths).command
            click.echo(f"{key} is an import, which goes on with: {command}", err=True)
        else:
            left.append(key)
    return left


def _stages(stages: tuple[str, ...], *, resume: bool) -> tuple[str, ...]:
    """Return the stages to make: a baseline that is resumed keeps its revision and tasks."""
    return stages[stages.index("atlas_sessions") :] if resume else stages


def _run_here(
    instance: dg.DagsterInstance,
    project: Project,
    wanted: Sequence[Backfill],
    *,
    asked_for: bool,
    go_on: Callable[[Sequence[BaselinePaths]], str | None],
) -> None:
    from crm_assets.orchestration.backfills import run_here
    from crm_assets.reporting.formats import counted

    total = sum(len(each.keys) for each in wanted)
    why = "" if asked_for else "Dagster's daemon is not running (crm-assets ui runs one): "
    click.echo(
        f"{why}{counted(total, 'run')} in this process{', one after the other' if total > 1 else ''}.",
        err=True,
    )
    left = [paths for each in wanted for paths in (BaselinePaths.of(project, key) for key in each.keys)]
    set_next_command(lambda: go_on(left))
    failed = 0
    with progress_lines():
        made = (outcome for each in wanted for outcome in run_here(instance, project, each))
        for number, (key, error) in enumerate(made, start=1):
            click.echo(f"{number}/{total} {key}: {error or 'done'}")
            failed += error is not None
            if error is None:
                left = [paths for paths in left if paths.key != key]
    if failed:
        raise InfrastructureError(f"{failed} of {total} runs failed, see above.")


def _next_command(left: Sequence[BaselinePaths], options: LineageOptions) -> str | None:
    """Return the command that goes on with the runs that are left; None for none."""
    if not left:
        return None
    words = ["crm-assets", "backfill", "--dataset", left[0].key.dataset]
    words += ["--runs", ",".join(str(paths.key.run) for paths in left)]
    if not all(paths.plan.is_file() for paths in left):
        words += flags_of(options.plan, limit=options.limit)
    return shlex.join(words)


def _submit(instance: dg.DagsterInstance, project: Project, wanted: Backfill, *, wait: bool) -> None:
    from crm_assets.orchestration.backfills import follow, submit

    backfill_id = submit(instance, project, wanted)
    keys = ", ".join(str(key.run) for key in wanted.keys)
    click.echo(f"Backfill {backfill_id} of {wanted.name}: {keys}")
    click.echo(f"UI: http://{HOST}:{DEFAULT_PORT}/runs/b/{backfill_id}")
    if not wait:
        return
    state = None
    try:
        for state in follow(instance, backfill_id):
            runs = ", ".join(f"{count} {status}" for status, count in state.runs.items()) or "no run yet"
            click.echo(f"  {state.status}: {runs}", err=True)
    except KeyboardInterrupt:
        click.echo(f"Stopped waiting; backfill {backfill_id} continues in the daemon.", err=True)
        return
    if state is None or not state.succeeded:
        reason = f" ({state.error})" if state and state.error else ""
        raise InfrastructureError(f"Backfill {backfill_id} did not go well{reason}; the UI says why.")
