"""`crm-assets harness`: a dataset file against an agent, without Dagster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import live_progress, relative
from crm_assets.cli.plan_options import PlanCommand
from crm_assets.errors import InputError
from crm_assets.workspace.project import find_project

if TYPE_CHECKING:
    from rich.table import Table

    from crm_assets.atlas.plan import SessionPlan
    from crm_assets.engine import RunSummary

__all__ = ["harness"]


@click.command(cls=PlanCommand, agents=("replay", "noop", "recorded"))
@click.option(
    "--dataset",
    type=click.Path(path_type=Path),
    required=True,
    help="The conversations: a JSON Lines file.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Where results go, one JSON line a conversation; a stopped run goes on there.",
)
@click.option("--sample", type=click.IntRange(min=1), help="Only so many, drawn with --seed.")
@click.option("--seed", type=int, default=0, show_default=True, help="What --sample draws with.")
@click.option("--overwrite", is_flag=True, help="Begin anew although the output is there.")
def harness(
    *,
    dataset: Path,
    output: Path,
    plan: SessionPlan,
    sample: int | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Run every conversation of a file and verify it turn by turn."""
    if not dataset.is_file():
        raise InputError(f"{dataset} is not a file: give --dataset a JSON Lines file.")
    project = find_project()

    from rich.console import Console

    from crm_assets.atlas.run_plan import scripted_agent
    from crm_assets.database import connect_databases
    from crm_assets.engine import Limits, run_harness

    with live_progress(f"{dataset.stem}, {plan.agent}") as progress:
        summary = run_harness(
            dataset,
            output,
            databases=connect_databases(project),
            agent=scripted_agent(plan, project),
            sample=sample,
            seed=seed,
            limits=Limits(workers=plan.workers, concurrency=plan.sessions_at_a_time),
            overwrite=overwrite,
            progress=progress,
        )
    Console().print(_table(summary, title=f"{plan.agent} on {dataset.name}"))
    click.echo(f"Results: {relative(output)}")


def _table(summary: RunSummary, *, title: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    here = summary.total - summary.resumed
    table = Table(title=Text(title), show_header=False)
    for label, value in (
        ("conversations", f"{summary.total:,}"),
        ("all turns right", f"{summary.succeeded:,}"),
        ("not all right", f"{summary.failed:,}"),
        ("not recorded", f"{summary.not_recorded:,}"),
        ("infrastructure errors", f"{summary.infrastructure_errors:,}"),
        ("done before", f"{summary.resumed:,}"),
        ("seconds", f"{summary.seconds:,.1f}"),
        ("conversations a second", f"{here / summary.seconds:,.0f}" if summary.seconds else "–"),
    ):
        table.add_row(label, value)
    return table
