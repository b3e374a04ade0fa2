"""`crm-assets harness`: a dataset file against an agent, without Dagster."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import json_option, live_progress, print_json, relative
from crm_assets.cli.going_on import flags_of, set_next_command
from crm_assets.cli.plan_options import PlanCommand
from crm_assets.errors import InputError
from crm_assets.workspace.project import find_project

if TYPE_CHECKING:
    from crm_assets.atlas.plan import SessionPlan
    from crm_assets.engine import RunSummary
    from crm_assets.reporting.document import Table

__all__ = ["harness"]


@click.command(cls=PlanCommand, agents=("replay", "noop", "recorded"))
@click.option(
    "--dataset",
    type=click.Path(path_type=Path),
    required=True,
    help="Dataset file (JSON Lines).",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Results file, one JSON line per conversation; a stopped run resumes there.",
)
@click.option(
    "--sample", type=click.IntRange(min=1), help="Number of conversations to draw at random; left out, all."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of --sample.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output file.")
@json_option
def harness(
    *,
    dataset: Path,
    output: Path,
    plan: SessionPlan,
    sample: int | None,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Run every conversation of a file and verify its turns."""
    if not dataset.is_file():
        raise InputError(f"{dataset} is not a file: give --dataset a JSON Lines file.")
    project = find_project()

    from crm_assets.atlas.run_plan import scripted_agent
    from crm_assets.database import connect_databases
    from crm_assets.engine import Limits, run_harness
    from crm_assets.reporting.document import Section
    from crm_assets.reporting.terminal import show

    words = ["--dataset", str(dataset), "--output", str(output), "--seed", str(seed)]
    words += ["--sample", str(sample)] if sample else []
    words += flags_of(plan)
    set_next_command(lambda: shlex.join(["crm-assets", "harness", *words]))
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
    if as_json:
        print_json(summary)
        return
    show(Section(f"{plan.agent} on {dataset.name}", (_table(summary),)))
    if summary.not_recorded:
        for line in _not_recorded(output):
            click.echo(line)
    click.echo(f"Results: {relative(output)}")


def _not_recorded(output: Path) -> list[str]:
    """Return why conversations were not scored, with an example of each reason."""
    import orjson

    from crm_assets.reporting.wording import describe_not_recorded
    from crm_assets.workspace.jsonl import read_lines

    reasons: dict[str, int] = {}
    examples: dict[str, str] = {}
    for line in read_lines(output):
        result = orjson.loads(line.data)
        if result["status"] == "not_recorded":
            reason = result["metadata"].get("not_recorded", "for an unknown reason")
            reasons[reason] = reasons.get(reason, 0) + 1
            examples.setdefault(reason, result["error_message"])
    return [
        f"Not recorded: {describe_not_recorded(reasons)}.",
        *(f"  For example: {sentence}" for sentence in examples.values()),
    ]


def _table(summary: RunSummary) -> Table:
    from crm_assets.reporting.document import Cell, Table

    here = summary.total - summary.resumed
    rows: dict[str, Cell] = {
        "conversations": summary.total,
        "strict success": summary.succeeded,
        "no strict success": summary.failed,
        "not recorded": summary.not_recorded,
        "infrastructure errors": summary.infrastructure_errors,
        "finished before": summary.resumed,
        "seconds": f"{summary.seconds:,.1f}",
        "conversations per second": f"{here / summary.seconds:,.0f}" if summary.seconds else None,
    }
    return Table.pairs(rows.items())
