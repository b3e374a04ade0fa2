"""`crm-assets sweep`: agents × configurations × datasets × repeats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.cli.backfill import make_backfills
from crm_assets.cli.common import describe_agent, json_option, print_json
from crm_assets.cli.consent import confirm_cost, yes_option
from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.keys import RunKey
from crm_assets.workspace.project import Project, find_project
from crm_assets.workspace.sweep_files import SweepPaths

if TYPE_CHECKING:
    from crm_assets.atlas.sweep import SavedSweep

__all__ = ["sweep"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--run", "key", metavar="KEY", help="Sweep to go on with, by its key.")
@yes_option
@click.option("--here", is_flag=True, help="Run in this process, even if Dagster's daemon is running.")
@click.option("--detach", is_flag=True, help="Do not wait for the daemon's runs.")
@json_option
def sweep(
    *, file: Path | None, key: str | None, yes: bool, here: bool, detach: bool, as_json: bool
) -> None:
    """Run agents × configurations × datasets × repeats.

    FILE says which (docs/sweeps.md). Each combination becomes a baseline. If Dagster's daemon is running
    (crm-assets ui), it makes them as a backfill; else this process makes them one after the other. With
    --run, a sweep goes on where it stopped.
    """
    project = find_project()
    chosen = _chosen(project, file, key)
    runs = chosen.runs()
    for dataset in chosen.spec.datasets:
        require_dataset(project, dataset)
    described = {
        describe_agent(run.plan, project, run.key.dataset): None for run in runs
    }  # refuses a bad configuration before anything is made

    from crm_assets.orchestration.sweep import backfills_of, begin_sweep, estimate_left, left_of
    from crm_assets.reporting.estimate.run import sum_estimates
    from crm_assets.reporting.formats import counted

    left = left_of(project, chosen)
    click.echo(f"Sweep {chosen.run}: {counted(len(runs), 'run')}, {len(left.all):,} left", err=True)
    for agent in described:
        click.echo(f"  {agent}", err=True)
    if left.all:
        estimates = estimate_left(project, chosen, left.all)
        total = sum_estimates(list(estimates.values()))
        if total is not None and chosen.spec.budget_usd is not None:
            total = replace(total, has_budget=True)
        confirm_cost(total, yes=yes)
        expected = {str(run.key): each.cost.usd for run, each in estimates.items() if each.cost.usd}
        chosen = chosen.model_copy(update={"expected_usd": {**expected, **chosen.expected_usd}})
        begin_sweep(project, chosen)
        make_backfills(
            project,
            backfills_of(chosen, left),
            here=here,
            wait=not detach,
            asks_models=any(run.plan.asks_models for run in left.all),
            go_on=lambda runs: f"crm-assets sweep --run {chosen.run}" if runs else None,
        )
    _show(project, chosen, as_json=as_json)


def _chosen(project: Project, file: Path | None, key: str | None) -> SavedSweep:
    """Return the sweep to run: a new one, or the one that goes on.

    Raises:
        InputError: none is named, it cannot be read, or it is another one than before.
    """
    from crm_assets.atlas.sweep import SavedSweep, read_spec
    from crm_assets.atlas.sweep_budget import read_sweep

    if key is not None:
        before = read_sweep(project, RunKey.parse(key))
        now = before.spec if file is None else read_spec(file)
        if now.model_copy(update={"budget_usd": before.spec.budget_usd}) != before.spec:
            raise InputError(
                f"{file} is not what sweep {key} was begun with (only budget_usd may differ): leave it out "
                "to go on, or begin a new one."
            )
        return before.model_copy(update={"spec": now})
    if file is None:
        raise InputError("Name the sweep's file, or with --run the sweep to go on with.")
    spec = read_spec(file)
    run = RunKey.now(spec.name)
    while SweepPaths.of(project, run).folder.exists():
        run = run.next_second()
    return SavedSweep(run=str(run), spec=spec)


def _show(project: Project, chosen: SavedSweep, *, as_json: bool) -> None:
    """Print each run with its state and figures, by its files."""
    from crm_assets.reporting.document import Column, Section, Table, figures
    from crm_assets.reporting.formats import dollars
    from crm_assets.reporting.run_list import list_runs
    from crm_assets.reporting.terminal import show

    wanted = {run.key for run in chosen.runs()}
    listed = [run for name in chosen.spec.datasets for run in list_runs(project, name) if run.key in wanted]
    if as_json:
        print_json(
            [
                {
                    "dataset": run.key.dataset,
                    "run": str(run.key.run),
                    "state": run.state,
                    "agent": run.agent,
                    "strict_success": run.strict_success,
                    "cost_usd": run.cost_usd,
                    "path": str(BaselinePaths.of(project, run.key).folder),
                }
                for run in listed
            ]
        )
        return
    columns = (
        Column("Dataset"),
        Column("Run", "code"),
        Column("State"),
        *figures("Strict success", "Cost"),
    )
    rows = (
        (run.key.dataset, str(run.key.run), run.state, run.strict_success, dollars(run.cost_usd))
        for run in listed
    )
    show(Section(f"Sweep {chosen.run}", (Table.of(columns, rows),)))
    if any(not BaselinePaths.of(project, run.key).finished for run in listed):
        click.echo(f"Go on with: crm-assets sweep --run {chosen.run}")
