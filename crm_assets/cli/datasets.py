"""`crm-assets datasets`: what there is to run, what is in it, and more of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import relative
from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import finished_runs
from crm_assets.workspace.datasets import available_datasets
from crm_assets.workspace.project import find_project

if TYPE_CHECKING:
    from rich.table import Table

    from crm_assets.conversations import AuditReport

__all__ = ["datasets"]


@click.group()
def datasets() -> None:
    """The conversations there are to run."""


@datasets.command(name="list")
def list_() -> None:
    """List the project's datasets and the baselines made of them."""
    from rich.console import Console
    from rich.table import Table

    from crm_assets.conversations import read_revision

    project = find_project()
    names = available_datasets(project)
    if not names:
        click.echo(f"No dataset in {relative(project.conversations)}: put a <name>.jsonl there.")
        return
    table = Table("dataset", "conversations", "bytes", "sha256", "baselines", "last run")
    for name in names:
        revision = read_revision(project.dataset_file(name), name)
        runs = [str(paths.key.run) for paths in finished_runs(project, name)]
        table.add_row(
            name,
            f"{revision.conversations:,}",
            f"{revision.bytes:,}",
            revision.sha256[:12],
            str(len(runs)),
            runs[-1] if runs else "–",
        )
    Console().print(table)


@datasets.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
def audit(file: Path, as_json: bool) -> None:
    """Tell what is in FILE and what is wrong with it, its ground truth replayed."""
    if not file.is_file():
        raise InputError(f"{file} is not a file: give the path of a JSON Lines dataset.")

    from crm_assets.database import connect_databases
    from crm_assets.harness import audit_dataset

    report = audit_dataset(file, databases=connect_databases(find_project()))
    if as_json:
        click.echo(report.model_dump_json(indent=2))
        return

    from rich.console import Console

    console = Console()
    console.print(_facts_table(report))
    console.print(_counts_table(report))


def _counts_table(report: AuditReport) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("by", "what", "count")
    for title, counts in (
        ("workflow", report.by_workflow),
        ("complexity", report.by_complexity),
        ("tool", report.by_tool),
    ):
        for index, (name, count) in enumerate(counts.items()):
            table.add_row("" if index else title, Text(name), f"{count:,}")
        table.add_section()
    return table


def _facts_table(report: AuditReport) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("found", "count", "conversations", "first example")
    for label, count in (
        ("conversations", report.conversations),
        ("turns", report.turns),
        ("chains", report.chains),
        ("expected failures", report.expected_failures),
        ("reference replies", report.expected_responses),
        ("references to earlier turns", report.references),
    ):
        table.add_row(label, f"{count:,}", "", "")
    table.add_section()
    for label, fact in (
        ("unfillable placeholders", report.unfillable_placeholders),
        ("unreproducible reference replies", report.unreproducible_replies),
        ("duplicate conversation IDs", report.duplicate_ids),
        ("copies of another conversation", report.copies),
        ("ignored seed fields", report.ignored_seed_fields),
        ("seeds that a turn creates", report.seeds_created_later),
        ("ground truth that does not replay", report.ground_truth_failures),
    ):
        example = fact.examples[0] if fact.examples else ""
        # Text, because rich would read [brackets] of a dataset as its own markup.
        table.add_row(label, f"{fact.total:,}", f"{fact.conversations:,}", Text(example))
    return table


@datasets.command()
@click.option("--count", type=click.IntRange(min=1), required=True, help="How many conversations.")
@click.option("--seed", type=int, required=True, help="The same seed gives the same file.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Where to.")
def generate(count: int, seed: int, output: Path) -> None:
    """Write COUNT conversations, the same ones for the same seed."""
    import sys

    from crm_assets.generator import write_dataset
    from crm_assets.reporting.formats import counted

    with click.progressbar(length=count, file=sys.stderr, label="Generating") as bar:
        write_dataset(output, count, seed, progress=lambda done: bar.update(done - bar.pos))
    click.echo(f"{counted(count, 'conversation')}: {relative(output)}")
