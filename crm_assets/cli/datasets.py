"""`crm-assets datasets`: list, audit and generate datasets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import json_option, print_json, relative
from crm_assets.errors import CrmAssetsError, InputError
from crm_assets.workspace.baseline_files import finished_runs
from crm_assets.workspace.datasets import available_datasets, require_dataset
from crm_assets.workspace.project import Project, find_project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm_assets.conversations import AuditFact, AuditReport
    from crm_assets.reporting.document import Section, Table

__all__ = ["datasets"]

_SHORT = 12  # characters of a hash


@click.group()
def datasets() -> None:
    """List, audit and generate datasets of conversations."""


@dataclass(frozen=True)
class _Listed:
    """A dataset, and the finished baselines made of it."""

    dataset: str
    conversations: int
    bytes: int
    sha256: str
    baselines: int
    last_run: str | None


@datasets.command(name="list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the project's datasets and the baselines made of them."""
    project = find_project()
    found = [_listed(project, name) for name in available_datasets(project)]
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo(f"No dataset in {relative(project.conversations)}: put a <name>.jsonl there.")
        return

    from crm_assets.reporting.document import Column, Table, figures
    from crm_assets.reporting.terminal import show

    columns = (
        Column("Dataset", "code"),
        *figures("Conversations", "Baselines"),
        Column("Last run", "code"),
        Column("SHA-256", "code"),
    )
    rows = (
        (each.dataset, each.conversations, each.baselines, each.last_run, each.sha256[:_SHORT])
        for each in found
    )
    show(Table.of(columns, rows))


def _listed(project: Project, name: str) -> _Listed:
    from crm_assets.conversations import read_revision

    revision = read_revision(require_dataset(project, name), name)
    runs = [str(paths.key.run) for paths in finished_runs(project, name)]
    return _Listed(
        name,
        revision.conversations,
        revision.bytes,
        revision.sha256,
        len(runs),
        runs[-1] if runs else None,
    )


@datasets.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--all", "all_examples", is_flag=True, help="Every example of each finding, not only the first."
)
@json_option
def audit(file: Path, all_examples: bool, as_json: bool) -> None:
    """Count what FILE holds and what is wrong with it.

    The ground truth is replayed on the sandbox; exit code 1 if that of a conversation does not replay.
    """
    if not file.is_file():
        raise InputError(f"{file} is not a file: give the path of a JSON Lines dataset.")

    from crm_assets.conversations.audit import EXAMPLES
    from crm_assets.database import connect_databases
    from crm_assets.harness import audit_dataset
    from crm_assets.reporting.formats import counted

    databases = connect_databases(find_project())
    report = audit_dataset(file, databases=databases, examples=None if all_examples else EXAMPLES)
    if as_json:
        print_json(report)
    else:
        from crm_assets.reporting.terminal import show

        show(*_audit_tables(report), *(_all_examples(report) if all_examples else ()))
    if broken := report.ground_truth_failures.conversations:
        whom, more = ("it" if broken == 1 else "them"), ("" if all_examples else "; --all names every one")
        raise CrmAssetsError(
            f"The ground truth of {counted(broken, 'conversation')} does not replay, so no agent can "
            f"succeed on {whom}: correct the file{more}."
        )


def _findings(report: AuditReport) -> dict[str, AuditFact]:
    return {
        "unfillable placeholders": report.unfillable_placeholders,
        "unreproducible reference replies": report.unreproducible_replies,
        "duplicate conversation IDs": report.duplicate_ids,
        "copies of another conversation": report.copies,
        "misspelled keys": report.misspelled_keys,
        "seeds that are not read": report.unread_seeds,
        "ignored seed fields": report.ignored_seed_fields,
        "seeds that a turn creates": report.seeds_created_later,
        "ground truth that does not replay": report.ground_truth_failures,
    }


def _all_examples(report: AuditReport) -> Iterator[Section]:
    """Yield the examples of each kind of finding, one a line."""
    from crm_assets.reporting.document import Points, Section

    for name, fact in _findings(report).items():
        if fact.examples:
            yield Section(name[0].upper() + name[1:], (Points(tuple(fact.examples)),))


def _audit_tables(report: AuditReport) -> Iterator[Table]:
    """Yield what the dataset holds, what is wrong with it, and its conversations and turns by kind."""
    from crm_assets.reporting.document import Column, Table, figures

    counts = {
        "conversations": report.conversations,
        "turns": report.turns,
        "chains": report.chains,
        "expected failures": report.expected_failures,
        "reference replies": report.expected_responses,
        "references to earlier turns": report.references,
    }
    yield Table.of((Column("Contents"), *figures("Count")), counts.items())
    yield Table.of(
        (Column("Finding"), *figures("Count", "Conversations"), Column("First example")),
        (
            (name, fact.total, fact.conversations, fact.examples[0] if fact.examples else "")
            for name, fact in _findings(report).items()
        ),
    )
    for title, groups in (
        ("Workflow", report.by_workflow),
        ("Complexity", report.by_complexity),
        ("Tool", report.by_tool),
    ):
        yield Table.of((Column(title), *figures("Count")), groups.items())


@datasets.command()
@click.option("--count", type=click.IntRange(min=1), required=True, help="Number of conversations.")
@click.option(
    "--seed", type=int, required=True, help="Seed of the generator; the same seed gives the same file."
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="File to write.")
def generate(count: int, seed: int, output: Path) -> None:
    """Write COUNT conversations, the same ones for the same seed."""
    import sys

    from crm_assets.generator import write_dataset
    from crm_assets.reporting.formats import counted

    with click.progressbar(length=count, file=sys.stderr, label="Generating") as bar:
        write_dataset(output, count, seed, progress=lambda done: bar.update(done - bar.pos))
    click.echo(f"{counted(count, 'conversation')}: {relative(output)}")
